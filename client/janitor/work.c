// Takes, cleans, gives back.
//
// How a lease ends is in client/give_back.h.
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "client/give_back.h"
#include "client/janitor/janitor.h"

#include "base/banned.h"

#define ACQUIRE_MS 20000
#define RELEASE_MS 10000 // what failed by then is tried again by the client itself

static void lock(struct janitor *j)
{
    (void)pthread_mutex_lock(&j->lock);
}

static void unlock(struct janitor *j)
{
    (void)pthread_mutex_unlock(&j->lock);
}

// ---- one cleaning ---------------------------------------------------------------

static void log_cleaning(const struct slot *s, enum outcome outcome, const char *why,
                         const struct subprocess_result *r)
{
    static const char *const lines[OUTCOMES] = {
        "cleaned", "cleaning failed", "cleaning took too long", "the lease was lost while cleaning",
        "cleaning was ended, for the janitor ends"};
    log_event(&s->janitor->program.log, outcome == OUTCOME_CLEANED ? LOG_INFO : LOG_WARNING,
              lines[outcome], LOG_F_STRING("type", s->resource->type),
              LOG_F_STRING("name", s->resource->name), LOG_F_STRING("result", why),
              LOG_F_DURATION("took", r->took_ms * (int64_t)NS_PER_MS),
              LOG_F_TEXT("output", buffer_as_text(&r->tail)));
}

static enum outcome judge(const struct slot *s, const struct subprocess_result *r, bool is_lost)
{
    if (is_lost) return OUTCOME_LOST;
    if (subprocess_is_good(r)) return OUTCOME_CLEANED;
    if (r->end == SUBPROCESS_LATE) return OUTCOME_LATE;
    // What the signal did to the program itself, when a terminal sent it, looks like a failure.
    return program_is_ending(&s->janitor->program) ? OUTCOME_STOPPED : OUTCOME_FAILED;
}

static void clean(struct slot *s, struct subprocess_result *r)
{
    struct janitor *j = s->janitor;
    struct buffer flag;
    const char **argv = must_calloc(j->arguments_count + 3, sizeof(char *));
    buffer_init(&flag);
    buffer_format(&flag, "--%s=%s", s->kind->word, s->resource->name);
    buffer_char(&flag, '\0');
    argv[0] = j->path;
    argv[1] = flag.data;
    for (size_t i = 0; i < j->arguments_count; i++)
        argv[i + 2] = j->arguments[i];
    const struct subprocess what = {.argv = argv,
                                    .limit_ms = j->limit_ns / (int64_t)NS_PER_MS,
                                    .grace_ms = j->grace_ns / (int64_t)NS_PER_MS,
                                    .mask = &j->program.signals_before,
                                    .stop = j->program.stop,
                                    .lost = s->lost};
    subprocess_run(&what, r);
    buffer_release(&flag);
    free(argv);
}

static void note(struct slot *s, enum outcome outcome, int64_t took_ms)
{
    struct janitor *j = s->janitor;
    struct kind *kind = s->kind;
    struct program_list *list = &kind->setbacks;
    lock(j);
    kind->counts[outcome]++;
    kind->took_ms += took_ms;
    bool is_setback = outcome == OUTCOME_FAILED || outcome == OUTCOME_LATE;
    if (is_setback && list->count < JANITOR_SETBACKS_MAX) {
        size_t size = strlen(s->resource->name) + 1;
        list->items = must_realloc(list->items, (list->count + 1) * sizeof(char *));
        list->items[list->count] = must_malloc(size);
        memcpy(list->items[list->count++], s->resource->name, size);
    }
    unlock(j);
}

static void *run_slot(void *context)
{
    struct slot *s = context;
    struct janitor *j = s->janitor;
    struct subprocess_result r;
    uint64_t one = 1;
    bool is_doubted;
    clean(s, &r);
    enum outcome outcome = judge(s, &r, boskos_cancel_is_set(s->lost) != 0);
    // Logged before it is released: then somebody else's line may come.
    log_cleaning(s, outcome, r.why, &r);
    note(s, outcome, r.took_ms);
    subprocess_release(&r);
    (void)give_back(&j->program, s->resource, outcome == OUTCOME_CLEANED ? "free" : "dirty",
                    RELEASE_MS, &is_doubted);
    lock(j);
    s->state = SLOT_ENDED;
    unlock(j);
    ssize_t ignored = write(j->wake_fd, &one, sizeof(one));
    (void)ignored;
    return NULL;
}

// From the client's thread.
static void on_lost(void *context, const struct boskos_resource *resource, int code)
{
    struct janitor *j = context;
    (void)code; // the client has logged it
    lock(j);
    for (size_t i = 0; i < j->pool_size; i++) {
        struct slot *s = &j->slots[i];
        if (s->state == SLOT_RUNNING && strcmp(s->resource->name, resource->name) == 0)
            boskos_cancel(s->lost);
    }
    unlock(j);
}

// ---- the pool -------------------------------------------------------------------

// Takes the resource over. False when there is no thread to be had.
static bool start(struct janitor *j, struct kind *kind, struct boskos_resource *resource)
{
    struct slot *s = NULL;
    lock(j);
    for (size_t i = 0; i < j->pool_size && s == NULL; i++) {
        if (j->slots[i].state == SLOT_FREE) s = &j->slots[i];
    }
    ASSERT(s != NULL);
    s->janitor = j;
    s->kind = kind;
    s->resource = resource;
    s->lost = boskos_cancel_new();
    bool is_started = s->lost != NULL && pthread_create(&s->thread, NULL, run_slot, s) == 0;
    if (is_started) {
        s->state = SLOT_RUNNING;
        j->running++;
        kind->running++;
    } else {
        boskos_cancel_free(s->lost);
    }
    unlock(j);
    return is_started;
}

static void collect(struct janitor *j)
{
    for (size_t i = 0; i < j->pool_size; i++) {
        struct slot *s = &j->slots[i];
        lock(j);
        bool has_ended = s->state == SLOT_ENDED;
        if (has_ended) {
            j->running--;
            s->kind->running--;
            s->state = SLOT_FREE;
        }
        unlock(j);
        if (!has_ended) continue;
        (void)pthread_join(s->thread, NULL);
        boskos_resource_free(s->resource);
        boskos_cancel_free(s->lost);
    }
}

static void wait_for_news(struct janitor *j, int64_t ms)
{
    uint64_t count;
    struct pollfd fds[2] = {
        {.fd = j->wake_fd, .events = POLLIN},
        {.fd = program_is_ending(&j->program) ? -1 : boskos_cancel_fd(j->program.stop),
         .events = POLLIN}};
    (void)poll(fds, 2, (int)ms);
    ssize_t ignored = read(j->wake_fd, &count, sizeof(count));
    (void)ignored;
}

// ---- taking ---------------------------------------------------------------------

static bool was_setback(struct janitor *j, const struct kind *kind, const char *name)
{
    bool is_one = false;
    lock(j);
    for (size_t i = 0; i < kind->setbacks.count && !is_one; i++)
        is_one = strcmp(kind->setbacks.items[i], name) == 0;
    unlock(j);
    return is_one;
}

static void refused(struct janitor *j, struct kind *kind, int err, const struct boskos_call *call)
{
    janitor_rest(j, kind);
    if (err == BOSKOS_ERR_NONE || err == BOSKOS_ERR_CANCELLED) return;
    if (err == BOSKOS_ERR_NO_TYPE) {
        program_log(&j->program, LOG_DEBUG, "type %s: %s", kind->type, call->text);
        return;
    }
    program_log(&j->program, LOG_WARNING, "type %s: nothing acquired: %s", kind->type, call->text);
    lock(j);
    kind->refusals++;
    unlock(j);
}

// Asks for one resource of the type, and starts on it.
static void take(struct janitor *j, struct kind *kind)
{
    struct boskos_resource *resource = NULL;
    struct boskos_call call = program_call(&j->program);
    call.timeout_ms = ACQUIRE_MS;
    int err =
        boskos_acquire(j->program.client, kind->type, "dirty", "cleaning", 0, &resource, &call);
    if (err != 0) {
        refused(j, kind, err, &call);
        return;
    }
    bool is_doubted, is_again = was_setback(j, kind, resource->name);
    bool is_sane = strcmp(resource->type, kind->type) == 0;
    if (!is_sane)
        program_log(&j->program, LOG_ERROR, "asked for type %s, and was given %s of type %s",
                    kind->type, resource->name, resource->type);
    if (is_sane && !is_again && !program_is_ending(&j->program)) {
        if (start(j, kind, resource)) return;
        program_log(&j->program, LOG_ERROR, "%s is not cleaned: no thread or descriptor",
                    resource->name);
    }
    // All others had their turn since it failed.
    janitor_rest(j, kind);
    (void)give_back(&j->program, resource, "dirty", RELEASE_MS, &is_doubted);
    boskos_resource_free(resource);
}

int janitor_work(struct janitor *j)
{
    int64_t wait_ms;
    j->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (j->wake_fd < 0) return program_fail(&j->program, "no descriptor: %s", strerror(errno));
    int err = boskos_heartbeat(j->program.client, j->update_ns / (int64_t)NS_PER_MS, on_lost, j);
    if (err != 0) return program_fail(&j->program, "no heartbeats: %s", boskos_code_text(err));
    program_log(&j->program, LOG_INFO, "boskos-janitor is ready");
    while (!program_is_ending(&j->program)) {
        collect(j);
        janitor_follow_config(j);
        struct kind *kind = janitor_turn(j, &wait_ms);
        if (kind != NULL)
            take(j, kind);
        else
            wait_for_news(j, wait_ms);
    }
    program_log(&j->program, LOG_INFO, "ending: %zu cleanings are under way", j->running);
    for (collect(j); j->running > 0; collect(j))
        wait_for_news(j, 1000);
    (void)boskos_heartbeat(j->program.client, 0, NULL, NULL);
    (void)close(j->wake_fd);
    return 0;
}
