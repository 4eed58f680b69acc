// What is done at each stage of a job.
//
// How a lease ends is in client/give_back.h.
//
// What a resource was made of is unowned in the state that is the resource's name, and is named in
// its userdata. The names are stored before they are released to that state and forgotten only
// after they left it, so that whoever takes the resource next finds them, whenever we are killed.
//
// They are released before the resource is. The original mason frees the resource first: who takes
// it in between finds nothing that belongs to it; and when the mason ends in between it stays free
// while a reaper and a janitor take back what it is made of. This way round, a mason that ends in
// between leaves a resource that was never free, which the next mason recycles with all its parts.
#include <stdlib.h>

#include "base/clock.h"
#include "client/give_back.h"
#include "client/mason/mason.h"

#include "base/banned.h"

#define POLL_MOST_MS 10000 // less than the TTL of a place in the server's queues
#define SETTLE_MS 1000
#define DOUBT_MS 5000

static int64_t pause_ms(const struct mason *m)
{
    int64_t ms = program_ms(m->period_ns);
    return ms < POLL_MOST_MS ? ms : POLL_MOST_MS;
}

static const char *name_of(const struct job *job)
{
    return job->whole.resource->name;
}

static int part_with(const struct mason *m, const struct part *part, const char *dest,
                     bool *ret_is_doubted)
{
    return give_back(&m->program, part->resource, &part->is_lost, dest, ret_is_doubted);
}

// ---- what it was made of before -------------------------------------------------

// The server may have given it to us though it failed to say so. When it did not, this is refused:
// unless it is another job's by now, which the caller rules out.
static void release_doubted(const struct mason *m, const char *name)
{
    struct boskos_call call;
    boskos_call_init(&call); // not cancelled by what ends the program
    call.timeout_ms = DOUBT_MS;
    (void)boskos_release(m->program.client, name, "dirty", &call);
}

// One that may be there still. False when the server did not say.
static bool recycle_one(struct mason *m, const struct job *job, const char *name)
{
    struct boskos_resources *taken = NULL;
    struct boskos_call call = program_call(&m->program);
    bool is_doubted;
    int err = boskos_acquire_by_state(m->program.client, name_of(job), "leased", &name, 1, 0,
                                      &taken, &call);
    for (size_t i = 0; err == 0 && i < taken->count; i++)
        (void)give_back(&m->program, taken->items[i], NULL, "dirty", &is_doubted);
    if (err == 0) {
        boskos_resources_free(taken);
        return true;
    }
    if (call.is_doubted && !mason_has_leased(m, name)) release_doubted(m, name);
    bool is_gone = err == BOSKOS_ERR_NONE || err == BOSKOS_ERR_NO_TYPE ||
                   err == BOSKOS_ERR_NO_RESOURCE || err == BOSKOS_ERR_ARGUMENT;
    program_log(&m->program, is_gone ? LOG_INFO : LOG_WARNING, "%s: %s %s: %s", name_of(job), name,
                is_gone ? "does not belong to it any more" : "is not recycled", call.text);
    return is_gone;
}

static bool store(struct mason *m, const struct job *job, const struct boskos_pair *pairs,
                  size_t count)
{
    struct boskos_call call = program_call(&m->program);
    int err = boskos_update(m->program.client, name_of(job), "cleaning", pairs, count, &call);
    if (err != 0)
        program_log(&m->program, LOG_WARNING, "%s: its userdata is not stored: %s", name_of(job),
                    call.text);
    return err == 0;
}

static bool store_names(struct mason *m, const struct job *job, struct text names)
{
    char key[] = MASON_LEASED_KEY;
    const struct boskos_pair pair = {key, (char *)(uintptr_t)names.data, names.size};
    return store(m, job, &pair, 1);
}

static enum stage recycle(struct mason *m, struct job *job)
{
    struct boskos_names *names = NULL;
    if (boskos_resource_userdata(job->whole.resource, MASON_LEASED_KEY) == NULL)
        return STAGE_FULFILL;
    if (boskos_resource_leased(job->whole.resource, &names) != 0)
        program_log(&m->program, LOG_WARNING, "%s: its " MASON_LEASED_KEY " is no list of names",
                    name_of(job));
    bool is_good = true;
    for (size_t i = 0; names != NULL && i < names->count && is_good; i++)
        is_good = recycle_one(m, job, names->items[i]);
    boskos_names_free(names);
    is_good = is_good && store_names(m, job, TEXT(""));
    return is_good ? STAGE_FULFILL : STAGE_FAIL;
}

// ---- what it is made of ---------------------------------------------------------

// Asks for one. False when there is none now.
static bool ask(struct mason *m, struct job *job, const struct need *need)
{
    struct boskos_resource *got = NULL;
    struct buffer id;
    struct boskos_call call = program_call(&m->program);
    buffer_init(&id);
    buffer_format(&id, "%s/%s", m->program.owner, name_of(job)); // a place in the queue
    buffer_char(&id, '\0');
    call.request_id = id.data;
    int err = boskos_acquire(m->program.client, need->type, "free", "leased", 0, &got, &call);
    buffer_release(&id);
    if (err != 0) {
        if (err != BOSKOS_ERR_CANCELLED)
            program_log(&m->program, err == BOSKOS_ERR_NONE ? LOG_DEBUG : LOG_WARNING,
                        "%s waits for a resource of type %s: %s", name_of(job), need->type,
                        call.text);
        return false;
    }
    if (is_of_type(&m->program, got, need->type)) {
        mason_add_leased(m, job, got);
        return true;
    }
    bool is_doubted;
    (void)give_back(&m->program, got, NULL, "dirty", &is_doubted);
    boskos_resource_free(got);
    return false;
}

static enum stage fulfill(struct mason *m, struct job *job)
{
    size_t wanted = 0;
    for (size_t i = 0; i < job->plan.needs_count; i++) {
        const struct need *need = &job->plan.needs[i];
        wanted += need->count;
        // Ends: may_ask says no when it has them all.
        while (mason_may_ask(m, job, need)) {
            if (!ask(m, job, need)) break;
        }
    }
    if (job->leased_count == wanted) return wanted == 0 ? STAGE_BUILD : STAGE_STORE;
    job->due_ms = program_now_ms() + pause_ms(m);
    return STAGE_FULFILL;
}

// A name that YAML could take for something else than a text is quoted.
static bool is_plain(const char *name)
{
    bool starts_well = (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z');
    return starts_well && strlen(name) > strlen("false") &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") ==
               strlen(name);
}

static enum stage store_leased(struct mason *m, struct job *job)
{
    struct buffer list;
    buffer_init(&list);
    for (size_t i = 0; i < job->leased_count; i++) {
        const char *name = job->leased[i].resource->name;
        buffer_string(&list, is_plain(name) ? "- " : "- '");
        for (const char *c = name; *c != '\0'; c++) {
            if (*c == '\'') buffer_char(&list, '\'');
            buffer_char(&list, *c);
        }
        buffer_string(&list, is_plain(name) ? "\n" : "'\n");
    }
    size_t size = list.size;
    buffer_char(&list, '\0');
    bool is_good = store_names(m, job, text_of(list.data, size));
    buffer_release(&list);
    return is_good ? STAGE_BUILD : STAGE_FAIL;
}

// ---- the end --------------------------------------------------------------------

// All is released to where it belongs: the rest of it, when it waited for a doubt to be settled.
static enum stage release_all(struct mason *m, struct job *job)
{
    bool is_doubted;
    if (job->is_waiting) {
        if (boskos_settle(m->program.client, SETTLE_MS) != 0) {
            job->due_ms = program_now_ms() + SETTLE_MS;
            return STAGE_SYNC;
        }
        job->is_waiting = false;
    }
    while (job->released < job->leased_count) {
        int err = part_with(m, &job->leased[job->released], name_of(job), &is_doubted);
        if (err != 0 && !is_doubted) return STAGE_FAIL;
        job->released++;
        if (!is_doubted) continue;
        // The client goes on trying. A free resource must not be there before its parts are.
        job->is_waiting = true;
        return STAGE_SYNC;
    }
    int err = part_with(m, &job->whole, "free", &is_doubted);
    return err == 0 || is_doubted ? STAGE_DONE : STAGE_FAIL;
}

static enum stage sync_all(struct mason *m, struct job *job)
{
    if (job->made != NULL && job->made->count > 0 &&
        !store(m, job, job->made->items, job->made->count))
        return STAGE_FAIL;
    boskos_pairs_free(job->made);
    job->made = NULL;
    return release_all(m, job);
}

static enum stage fail(struct mason *m, struct job *job)
{
    bool is_doubted;
    for (size_t i = job->released; i < job->leased_count; i++)
        (void)part_with(m, &job->leased[i], "dirty", &is_doubted);
    (void)part_with(m, &job->whole, "dirty", &is_doubted);
    return STAGE_DONE;
}

enum stage mason_step(struct mason *m, struct job *job, enum stage stage)
{
    switch (stage) {
    case STAGE_RECYCLE: return recycle(m, job);
    case STAGE_FULFILL: return fulfill(m, job);
    case STAGE_STORE: return store_leased(m, job);
    case STAGE_BUILD: return mason_build(m, job, &job->made) ? STAGE_SYNC : STAGE_FAIL;
    case STAGE_SYNC: return sync_all(m, job);
    case STAGE_FAIL: return fail(m, job);
    case STAGE_DONE: break;
    }
    return STAGE_DONE;
}
