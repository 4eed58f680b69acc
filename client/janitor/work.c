// Takes what is dirty, and keeps the pool of cleanings.
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "client/give_back.h"
#include "client/janitor/janitor.h"

#include "base/banned.h"

static void lock(struct janitor *j)
{
    (void)pthread_mutex_lock(&j->lock);
}

static void unlock(struct janitor *j)
{
    (void)pthread_mutex_unlock(&j->lock);
}

// The lease of that name that was taken at that time is lost; NULL: whenever it was. With the lock
// held.
static void lose(struct janitor *j, const char *name, const char *lastupdate)
{
    for (size_t i = 0; i < j->pool_size; i++) {
        struct slot *s = &j->slots[i];
        if (s->state != SLOT_RUNNING || strcmp(s->resource->name, name) != 0) continue;
        if (lastupdate != NULL && strcmp(s->resource->lastupdate, lastupdate) != 0) continue;
        atomic_store(&s->is_lost, true);
        boskos_cancel(s->lost);
    }
}

// From the client's thread, which has logged it.
static void on_lost(void *context, const struct boskos_resource *resource, int code)
{
    struct janitor *j = context;
    (void)code;
    lock(j);
    lose(j, resource->name, resource->lastupdate);
    unlock(j);
}

// ---- the pool -------------------------------------------------------------------

// Takes the resource over. False when there is no thread to be had.
static bool start(struct janitor *j, struct kind *kind, struct boskos_resource *resource,
                  bool is_to_clean)
{
    struct slot *s = NULL;
    lock(j);
    // Heartbeats would not tell: to the server it is the same owner who has it again.
    lose(j, resource->name, NULL);
    for (size_t i = 0; i < j->pool_size && s == NULL; i++) {
        if (j->slots[i].state == SLOT_FREE) s = &j->slots[i];
    }
    ASSERT(s != NULL);
    s->janitor = j;
    s->kind = kind;
    s->round = kind->round;
    s->resource = resource;
    s->is_to_clean = is_to_clean;
    atomic_store(&s->is_lost, false);
    s->lost = boskos_cancel_new();
    bool is_started = s->lost != NULL && pthread_create(&s->thread, NULL, janitor_clean, s) == 0;
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
    lock(j);
    bool was_one = program_list_has(&kind->setbacks, text_from(name));
    unlock(j);
    return was_one;
}

static void refused(struct janitor *j, struct kind *kind, int err, const struct boskos_call *call)
{
    janitor_rest(j, kind);
    if (err == BOSKOS_ERR_NONE || err == BOSKOS_ERR_CANCELLED) return;
    if (err == BOSKOS_ERR_NO_TYPE) {
        // Usual of dynamic types, a slip of the pen otherwise: said once.
        program_log(&j->program, kind->is_unknown ? LOG_DEBUG : LOG_INFO, "type %s: %s", kind->type,
                    call->text);
        kind->is_unknown = true;
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
    int err =
        boskos_acquire(j->program.client, kind->type, "dirty", "cleaning", 0, &resource, &call);
    if (err != 0) {
        refused(j, kind, err, &call);
        return;
    }
    kind->is_unknown = false;
    bool is_doubted;
    // One that failed comes again when all others had their turn since.
    bool is_to_clean = is_of_type(&j->program, resource, kind->type) &&
                       !was_setback(j, kind, resource->name) && !program_is_ending(&j->program);
    if (!is_to_clean) janitor_rest(j, kind);
    if (start(j, kind, resource, is_to_clean)) return;
    program_log(&j->program, LOG_ERROR, "%s is not cleaned: no thread or descriptor",
                resource->name);
    janitor_rest(j, kind);
    (void)give_back(&j->program, resource, NULL, "dirty", &is_doubted);
    boskos_resource_free(resource);
}

int janitor_work(struct janitor *j)
{
    int64_t wait_ms;
    int err = boskos_heartbeat(j->program.client, program_ms(j->update_ns), on_lost, j);
    if (err != 0) return program_fail(&j->program, "no heartbeats: %s", boskos_code_text(err));
    j->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (j->wake_fd < 0) return program_fail(&j->program, "no descriptor: %s", strerror(errno));
    program_log(&j->program, LOG_INFO, "boskos-janitor is ready");
    while (!program_is_ending(&j->program)) {
        collect(j);
        (void)janitor_follow_types(j); // what was read before stays
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
