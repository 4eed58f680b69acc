// How boskos-cleaner ends the life of a resource: what was leased for it goes to dirty, then it
// becomes a tombstone. What cannot be done is put back as it was, and is tried in the next round.
#include <stdlib.h>

#include "base/assert.h"
#include "client/cleaner/cleaner.h"

#include "base/banned.h"

#define ROUND_MAX 100000u // resources of a type in one round
#define FINISH_MS 10000   // for what is still done after SIGTERM

// A call that SIGTERM does not end: it puts something back.
static struct boskos_call finishing_call(void)
{
    struct boskos_call call;
    boskos_call_init(&call);
    call.timeout_ms = FINISH_MS;
    return call;
}

static void owe(struct cleaner *c, const char *name, const char *dest)
{
    (void)pthread_mutex_lock(&c->lock);
    if (c->owed_count < CLEANER_OWED_MAX) {
        c->owed = must_realloc(c->owed, (c->owed_count + 1) * sizeof(c->owed[0]));
        struct owed *o = &c->owed[c->owed_count++];
        o->name = strdup(name);
        o->dest = dest;
        if (o->name == NULL) out_of_memory();
    }
    (void)pthread_mutex_unlock(&c->lock);
}

// What the server failed to do is repeated by the client; what it refused, though the resource may
// still be ours, is owed.
static bool release(struct cleaner *c, const char *name, const char *dest)
{
    struct boskos_call call = finishing_call();
    int err = boskos_release(c->program.client, name, dest, &call);
    if (err == 0) return true;
    program_log(&c->program, LOG_WARNING, "could not release %s as %s: %s", name, dest, call.text);
    bool is_gone = err == BOSKOS_ERR_OWNER || err == BOSKOS_ERR_NO_RESOURCE;
    if (!call.is_doubted && !is_gone) owe(c, name, dest);
    return false;
}

bool cleaner_pay(struct cleaner *c)
{
    struct owed *owed = c->owed; // no other thread runs now
    size_t count = c->owed_count;
    bool is_good = true;
    c->owed = NULL;
    c->owed_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (!release(c, owed[i].name, owed[i].dest)) is_good = false;
        free(owed[i].name);
    }
    free(owed);
    return is_good;
}

// One that was leased for `holder` goes to dirty. False: the server failed, and it is to be tried
// again. One by one: the original server keeps what it took when another one of the names is
// missing.
static bool free_leased(struct cleaner *c, const char *holder, const char *name)
{
    const struct program *p = &c->program;
    struct boskos_call call = program_call(p);
    struct boskos_resources *got;
    const char *const names[] = {name};
    int err = boskos_acquire_by_state(p->client, holder, "cleaning", names, 1, 0, &got, &call);
    if (err == 0) {
        boskos_resources_free(got);
        if (!release(c, name, "dirty")) return false;
        program_log(p, LOG_INFO, "resource %s released as dirty", name);
        return true;
    }
    if (call.is_doubted) { // it may be ours: then this gives it back, else it is refused
        call = finishing_call();
        return boskos_release(p->client, name, "dirty", &call) == 0;
    }
    if (err == BOSKOS_ERR_NONE || err == BOSKOS_ERR_NO_TYPE || err == BOSKOS_ERR_NO_RESOURCE) {
        program_log(p, LOG_WARNING, "%s has no leased resource %s any more", holder, name);
        return true;
    }
    if (err != BOSKOS_ERR_CANCELLED)
        program_log(p, LOG_WARNING, "could not acquire the leased resource %s of %s: %s", name,
                    holder, call.text);
    return false;
}

static bool free_all_leased(struct cleaner *c, const struct boskos_resource *r)
{
    const struct program *p = &c->program;
    struct boskos_names *names;
    bool is_done = true;
    if (boskos_resource_leased(r, &names) != 0) {
        program_log(p, LOG_WARNING,
                    "the leasedResources of %s are no list of names: what was leased for it is "
                    "not known",
                    r->name);
        return true;
    }
    for (size_t i = 0; i < names->count; i++)
        if (program_is_ending(p) || !free_leased(c, r->name, names->items[i])) is_done = false;
    boskos_names_free(names);
    return is_done;
}

static void forget_leased(const struct program *p, const struct boskos_resource *r)
{
    struct boskos_call call = finishing_call();
    char key[] = "leasedResources", nothing[] = "";
    struct boskos_pair removal = {.key = key, .value = nothing};
    if (boskos_resource_userdata(r, key) == NULL) return;
    if (boskos_update(p->client, r->name, r->state, &removal, 1, &call) != 0)
        program_log(p, LOG_WARNING, "could not remove the leasedResources of %s: %s", r->name,
                    call.text);
}

struct job {
    struct cleaner *cleaner;
    struct boskos_resource *resource; // held
    bool is_good;
    bool has_thread;
    pthread_t thread;
};

static void *clean_one(void *context)
{
    struct job *job = context;
    const struct program *p = &job->cleaner->program;
    const struct boskos_resource *r = job->resource;
    program_log(p, LOG_INFO, "Resource %s is being recycled", r->name);
    if (!free_all_leased(job->cleaner, r)) {
        program_log(p, LOG_WARNING, "%s goes back to " CLEANER_STATE ", to be tried again",
                    r->name);
        (void)release(job->cleaner, r->name, CLEANER_STATE);
        job->is_good = false;
        return NULL;
    }
    forget_leased(p, r);
    job->is_good = release(job->cleaner, r->name, "tombstone");
    if (job->is_good) program_log(p, LOG_INFO, "Released %s as tombstone", r->name);
    return NULL;
}

// All jobs at the same time, the first one by this thread.
static bool clean_all(struct job *jobs, size_t count)
{
    bool is_good = true;
    for (size_t i = 1; i < count; i++)
        jobs[i].has_thread = pthread_create(&jobs[i].thread, NULL, clean_one, &jobs[i]) == 0;
    for (size_t i = 0; i < count; i++) {
        if (jobs[i].has_thread)
            (void)pthread_join(jobs[i].thread, NULL);
        else
            (void)clean_one(&jobs[i]);
        if (!jobs[i].is_good) is_good = false;
        boskos_resource_free(jobs[i].resource);
    }
    return is_good;
}

struct round {
    const char *type;
    char *static_name; // the first of the config's names that came
    bool is_over;      // nothing is left of the type
    bool has_failed;
    size_t taken;
};

// One of the config's names in this state is somebody's doing, and no tombstone would ever become
// of it: it is put back, which makes it the last to come. When it comes again it was all.
static void put_back(struct cleaner *c, struct round *round, const struct boskos_resource *r)
{
    if (!release(c, r->name, CLEANER_STATE)) round->has_failed = round->is_over = true;
    if (round->static_name == NULL) {
        program_log(&c->program, LOG_WARNING,
                    "%s is in " CLEANER_STATE ", and in the config by its name: it is left alone",
                    r->name);
        round->static_name = strdup(r->name);
        round->is_over |= round->static_name == NULL;
    } else if (strcmp(round->static_name, r->name) == 0) {
        round->is_over = true;
    }
}

static size_t take(struct cleaner *c, struct round *round, struct job *jobs)
{
    size_t count = 0;
    while (count < c->count && !round->is_over && !program_is_ending(&c->program)) {
        struct boskos_call call = program_call(&c->program);
        struct boskos_resource *r;
        int err =
            boskos_acquire(c->program.client, round->type, CLEANER_STATE, "cleaning", 0, &r, &call);
        if (err == 0) {
            round->is_over = ++round->taken >= ROUND_MAX;
            if (!cleaner_is_static(c, r->name)) {
                jobs[count++] = (struct job){.cleaner = c, .resource = r};
                continue;
            }
            put_back(c, round, r);
            boskos_resource_free(r);
            continue;
        }
        round->is_over = true;
        if (err == BOSKOS_ERR_NONE || err == BOSKOS_ERR_NO_TYPE || err == BOSKOS_ERR_CANCELLED)
            continue;
        round->has_failed = true;
        program_log(&c->program, LOG_WARNING, "could not acquire a resource of type %s: %s",
                    round->type, call.text);
    }
    return count;
}

bool cleaner_clean(struct cleaner *c, const char *type)
{
    struct round round = {.type = type};
    struct job jobs[CLEANER_COUNT_MAX];
    while (!round.is_over) {
        size_t count = take(c, &round, jobs);
        if (count == 0) break;
        if (!clean_all(jobs, count)) round.has_failed = round.is_over = true;
    }
    free(round.static_name);
    return !round.has_failed;
}
