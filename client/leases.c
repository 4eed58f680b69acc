// What is held and what is in doubt, and the thread that sees to both.
//
// The lock is held for moments only, never while a request is under way. A lease of which a
// heartbeat is under way is marked busy, and whoever takes it off the list waits for that: so no
// heartbeat comes behind a release.
#include "client/client.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "base/assert.h"

#include "base/banned.h"

#define SETTLE_FIRST_MS 500
#define SETTLE_MOST_MS 30000
#define IDLE_MS 3600000

void leases_init(struct boskos_client *c)
{
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&c->leases.lock, NULL);
    (void)pthread_cond_init(&c->leases.changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
}

static void lock(struct boskos_client *c)
{
    (void)pthread_mutex_lock(&c->leases.lock);
}

static void unlock(struct boskos_client *c)
{
    (void)pthread_mutex_unlock(&c->leases.lock);
}

static void announce(struct boskos_client *c)
{
    (void)pthread_cond_broadcast(&c->leases.changed);
}

// Until something changes or the time has come, by the monotonic clock.
static void wait_until(struct boskos_client *c, int64_t at_ms)
{
    struct timespec at = {.tv_sec = at_ms / 1000, .tv_nsec = at_ms % 1000 * 1000000};
    (void)pthread_cond_timedwait(&c->leases.changed, &c->leases.lock, &at);
}

// ---- the list -------------------------------------------------------------------

void lease_release(struct lease *l)
{
    boskos_resource_free(l->resource);
    for (size_t i = 0; i < l->leased_count; i++)
        free(l->leased[i]);
    free(l->leased);
    *l = (struct lease){0};
}

static struct lease *find(struct boskos_client *c, const char *name)
{
    for (size_t i = 0; i < c->leases.held_count; i++) {
        if (strcmp(c->leases.held[i].resource->name, name) == 0) return &c->leases.held[i];
    }
    return NULL;
}

static void *grown(void *items, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity) return items;
    *capacity = *capacity == 0 ? 8 : *capacity * 2;
    return must_realloc(items, *capacity * size);
}

static bool start_thread(struct boskos_client *c);

static void pending_release(struct pending *p)
{
    free(p->type);
    free(p->state);
    free(p->dest);
    free(p->key);
    free(p->name);
}

// With the lock held.
static void drop_pending(struct boskos_client *c, enum pending_kind kind, const char *name)
{
    for (size_t i = c->leases.pending_count; i > 0; i--) {
        struct pending *p = &c->leases.pending[i - 1];
        if (p->kind != kind || strcmp(p->name, name) != 0) continue;
        pending_release(p);
        *p = c->leases.pending[--c->leases.pending_count];
    }
    struct leases *l = &c->leases;
    if (l->in_hand != NULL && l->in_hand_kind == kind && strcmp(l->in_hand, name) == 0)
        l->in_hand_is_dropped = true;
}

void leases_add(struct boskos_client *c, const struct boskos_resource *r,
                const struct boskos_names *names)
{
    struct lease new = {.resource = boskos_resource_copy(r)};
    if (names != NULL && names->count > 0) {
        new.leased = must_calloc(names->count, sizeof(char *));
        for (; new.leased_count < names->count; new.leased_count++)
            new.leased[new.leased_count] = client_strdup(names->items[new.leased_count]);
    }
    lock(c);
    struct lease *there = find(c, r->name);
    // What was given to us anew was released, whatever we know of it.
    drop_pending(c, PENDING_TAKEN, r->name);
    drop_pending(c, PENDING_RELEASE, r->name);
    new.due_ms = client_now_ms() + c->leases.period_ms;
    if (there != NULL) {
        new.is_busy = new.is_renewed = there->is_busy;
        lease_release(there);
        *there = new;
    } else if (c->leases.held_count < CLIENT_HELD_MAX) {
        c->leases.held = grown(c->leases.held, c->leases.held_count, &c->leases.held_capacity,
                               sizeof(struct lease));
        c->leases.held[c->leases.held_count++] = new;
    } else {
        lease_release(&new);
    }
    if (c->leases.period_ms > 0) (void)start_thread(c);
    announce(c);
    unlock(c);
}

// Off the list, while the lock is held.
static void remove_lease(struct boskos_client *c, struct lease *l, struct lease *ret_lease)
{
    *ret_lease = *l;
    *l = c->leases.held[--c->leases.held_count];
}

bool leases_take(struct boskos_client *c, const char *name, struct lease *ret_lease)
{
    struct lease *l;
    lock(c);
    while ((l = find(c, name)) != NULL && l->is_busy)
        wait_until(c, client_now_ms() + IDLE_MS);
    if (l != NULL) remove_lease(c, l, ret_lease);
    unlock(c);
    return l != NULL;
}

char *leases_state(struct boskos_client *c, const char *name)
{
    lock(c);
    const struct lease *l = find(c, name);
    char *state = l != NULL ? client_strdup(l->resource->state) : NULL;
    unlock(c);
    return state;
}

struct boskos_resources *boskos_held(struct boskos_client *c)
{
    struct boskos_resources *list = must_calloc(1, sizeof(*list));
    lock(c);
    list->items = must_calloc(c->leases.held_count + 1, sizeof(struct boskos_resource *));
    for (size_t i = 0; i < c->leases.held_count; i++)
        list->items[list->count++] = boskos_resource_copy(c->leases.held[i].resource);
    unlock(c);
    return list;
}

int boskos_hold(struct boskos_client *c, const struct boskos_resource *r)
{
    if (r == NULL || r->name == NULL || r->state == NULL) return BOSKOS_ERR_ARGUMENT;
    leases_add(c, r, NULL);
    return 0;
}

int boskos_forget(struct boskos_client *c, const char *name)
{
    struct lease l;
    if (!leases_take(c, name, &l)) return BOSKOS_ERR_NO_RESOURCE;
    lease_release(&l);
    return 0;
}

// ---- what is in doubt -----------------------------------------------------------

static void add_pending(struct boskos_client *c, struct pending new)
{
    new.pause_ms = SETTLE_FIRST_MS;
    new.due_ms = client_now_ms() + new.pause_ms;
    lock(c);
    bool has_room = c->leases.pending_count < CLIENT_PENDING_MAX && start_thread(c);
    if (has_room) {
        c->leases.pending = grown(c->leases.pending, c->leases.pending_count,
                                  &c->leases.pending_capacity, sizeof(struct pending));
        c->leases.pending[c->leases.pending_count++] = new;
        announce(c);
    }
    unlock(c);
    if (has_room) return;
    client_log(c, BOSKOS_LOG_ERROR, "%s is left in doubt: a reaper must see to it",
               new.name != NULL ? new.name : new.type);
    pending_release(&new);
}

void leases_doubt_acquire(struct boskos_client *c, const char *type, const char *state,
                          const char *dest, const char *key)
{
    add_pending(c, (struct pending){.kind = PENDING_ACQUIRE,
                                    .type = client_strdup(type),
                                    .state = client_strdup(state),
                                    .dest = client_strdup(dest),
                                    .key = client_strdup(key),
                                    .began_ms = client_now_ms()});
}

void leases_asked_begin(struct boskos_client *c, struct asked *asked)
{
    lock(c);
    asked->next = c->leases.asked;
    c->leases.asked = asked;
    unlock(c);
}

void leases_asked_end(struct boskos_client *c, const struct asked *asked)
{
    lock(c);
    struct asked **at = &c->leases.asked;
    while (*at != asked)
        at = &(*at)->next;
    *at = asked->next;
    unlock(c);
}

static bool is_asked(struct boskos_client *c, const char *name)
{
    bool is_one = false;
    lock(c);
    for (const struct asked *a = c->leases.asked; a != NULL && !is_one; a = a->next)
        for (size_t i = 0; i < a->count && !is_one; i++)
            is_one = strcmp(a->names[i], name) == 0;
    unlock(c);
    return is_one;
}

void leases_doubt_taken(struct boskos_client *c, const char *const *names, size_t count,
                        const char *state, const char *dest, const struct attempt *a)
{
    for (size_t i = 0; i < count; i++) {
        char *held = leases_state(c, names[i]);
        if (held == NULL) // else it was ours before
            add_pending(c, (struct pending){.kind = PENDING_TAKEN,
                                            .name = client_strdup(names[i]),
                                            .state = client_strdup(state),
                                            .dest = client_strdup(dest),
                                            .began_ms = a->began_ms});
        free(held);
    }
}

void leases_undoubt_taken(struct boskos_client *c, const char *name)
{
    lock(c);
    drop_pending(c, PENDING_TAKEN, name);
    unlock(c);
}

void leases_doubt_release(struct boskos_client *c, const char *name, const char *dest,
                          const struct attempt *a)
{
    add_pending(c, (struct pending){.kind = PENDING_RELEASE,
                                    .name = client_strdup(name),
                                    .dest = client_strdup(dest),
                                    .is_doubted = a->is_doubted,
                                    .began_ms = a->began_ms});
}

// A lease of which only boskosd knew: back to where it was.
static void turn_to_release(struct boskos_client *c, struct pending *p, const char *name)
{
    client_log(c, BOSKOS_LOG_INFO, "%s was acquired by a request whose reply was lost", name);
    struct pending turned = {.kind = PENDING_RELEASE,
                             .name = client_strdup(name),
                             .dest = client_strdup(p->state),
                             .began_ms = client_now_ms()};
    pending_release(p);
    *p = turned;
}

static int settle_acquire(struct boskos_client *c, struct pending *p, struct attempt *a)
{
    struct boskos_resource *r = NULL;
    struct reply reply;
    reply_init(&reply);
    int err = acquire_once(a, p->type, p->state, p->dest, NULL, p->key, &reply, &r);
    reply_release(&reply);
    if (err != 0) return boskos_code_is_transient(err) ? err : 0;
    turn_to_release(c, p, r->name);
    boskos_resource_free(r);
    return BOSKOS_ERR_LOST; // there is the release to come
}

static int settle_taken(struct boskos_client *c, struct pending *p, struct attempt *a)
{
    ASSERT(p->name != NULL);
    enum seen seen = guard_look(c, p->name, p->dest, p->began_ms, &a->limits);
    if (is_asked(c, p->name)) return BOSKOS_ERR_LOST; // what was seen may be of that
    switch (seen) {
    case SEEN_OURS:
    case SEEN_UNCLEAR: turn_to_release(c, p, p->name); return BOSKOS_ERR_LOST;
    case SEEN_FAILED: return BOSKOS_ERR_LOST;
    case SEEN_UNKNOWN:
        client_log(c, BOSKOS_LOG_ERROR, "%s is left in doubt: a reaper must see to it", p->name);
        break;
    case SEEN_SAME:
    case SEEN_OTHER: break;
    }
    return 0;
}

static int settle_release(struct boskos_client *c, struct pending *p, struct attempt *a)
{
    a->began_ms = p->began_ms;
    a->is_doubted = p->is_doubted;
    int err = release_once(c, a, p->name, p->dest);
    p->is_doubted = a->is_doubted;
    if (err == 0) client_log(c, BOSKOS_LOG_INFO, "%s is released now", p->name);
    if (err == 0 || boskos_code_is_transient(err) || err == BOSKOS_ERR_CANCELLED) return err;
    client_log(c, BOSKOS_LOG_ERROR, "%s is not released: %s", p->name, a->call->text);
    return 0;
}

// Deals with the one at the end of `p`, which is off the list, once. Back on it if it is not done.
static void settle(struct boskos_client *c, struct pending p)
{
    struct boskos_call call;
    struct attempt a;
    boskos_call_init(&call);
    enum pending_kind kind = p.kind;
    attempt_init(&a, c, kind == PENDING_ACQUIRE ? CALL_ACQUIRE : CALL_RELEASE, &call);
    a.limits.stop = c->stop;
    int err = kind == PENDING_ACQUIRE ? settle_acquire(c, &p, &a)
              : kind == PENDING_TAKEN ? settle_taken(c, &p, &a)
                                      : settle_release(c, &p, &a);
    bool turned = kind != p.kind;
    lock(c);
    c->leases.is_settling_one = false;
    free(c->leases.in_hand);
    c->leases.in_hand = NULL;
    if (c->leases.in_hand_is_dropped) err = 0;
    if (err != 0) {
        p.pause_ms = turned ? 0 : p.pause_ms * 2;
        if (p.pause_ms > SETTLE_MOST_MS) p.pause_ms = SETTLE_MOST_MS;
        p.due_ms = client_now_ms() + p.pause_ms;
        if (turned) p.pause_ms = SETTLE_FIRST_MS;
        c->leases.pending = grown(c->leases.pending, c->leases.pending_count,
                                  &c->leases.pending_capacity, sizeof(struct pending));
        c->leases.pending[c->leases.pending_count++] = p;
    }
    announce(c);
    unlock(c);
    if (err == 0) pending_release(&p);
}

int boskos_settle(struct boskos_client *c, int64_t timeout_ms)
{
    int64_t end = client_now_ms() + timeout_ms;
    lock(c);
    for (size_t i = 0; i < c->leases.pending_count; i++) {
        c->leases.pending[i].due_ms = 0;
        c->leases.pending[i].pause_ms = SETTLE_FIRST_MS / 2;
    }
    announce(c);
    while ((c->leases.pending_count > 0 || c->leases.is_settling_one) && client_now_ms() < end)
        wait_until(c, end);
    bool is_done = c->leases.pending_count == 0 && !c->leases.is_settling_one;
    unlock(c);
    return is_done ? 0 : BOSKOS_ERR_TIMEOUT;
}

// ---- heartbeats -----------------------------------------------------------------

static void tell_lost(struct boskos_client *c, struct lease *l, int code, const char *why)
{
    client_log(c, BOSKOS_LOG_WARNING, "%s is lost: %s", l->resource->name, why);
    lock(c);
    boskos_lost_function *lost = c->leases.lost;
    void *context = c->leases.lost_context;
    c->leases.is_telling = true;
    unlock(c);
    if (lost != NULL) lost(context, l->resource, code);
    lock(c);
    c->leases.is_telling = false;
    announce(c);
    unlock(c);
    lease_release(l);
}

// One heartbeat of a lease that is marked busy.
static void beat(struct boskos_client *c, const char *name, const char *state, int64_t period_ms)
{
    struct boskos_call call;
    struct attempt a;
    struct request q;
    struct reply reply;
    boskos_call_init(&call);
    attempt_init(&a, c, CALL_UPDATE, &call);
    a.limits.stop = c->stop;
    request_init(&q, "POST", "/update");
    request_parameter(&q, "name", name);
    request_parameter(&q, "owner", c->options.owner);
    request_parameter(&q, "state", state);
    reply_init(&reply);
    int err = attempt_send(&a, &q, &reply);
    reply_release(&reply);
    request_release(&q);
    bool is_lost =
        err == BOSKOS_ERR_OWNER || err == BOSKOS_ERR_STATE || err == BOSKOS_ERR_NO_RESOURCE;
    if (err != 0 && err != BOSKOS_ERR_CANCELLED && !is_lost)
        client_log(c, BOSKOS_LOG_WARNING, "no heartbeat of %s: %s", name, call.text);
    int64_t sooner =
        period_ms / 4 < c->options.backoff_most_ms ? period_ms / 4 : c->options.backoff_most_ms;
    lock(c);
    struct lease *l = find(c, name), taken;
    is_lost = is_lost && l != NULL && !l->is_renewed;
    if (is_lost) {
        remove_lease(c, l, &taken);
    } else if (l != NULL) {
        l->is_busy = l->is_renewed = false;
        l->due_ms = client_now_ms() + (err == 0 ? period_ms : sooner > 0 ? sooner : 1);
    }
    announce(c);
    unlock(c);
    if (is_lost) tell_lost(c, &taken, err, call.text);
}

int boskos_heartbeat(struct boskos_client *c, int64_t period_ms, boskos_lost_function *lost,
                     void *context)
{
    if (period_ms < 0) return BOSKOS_ERR_ARGUMENT;
    lock(c);
    // In the callback itself there is nobody to wait for.
    while (c->leases.is_telling && pthread_equal(pthread_self(), c->leases.thread) == 0)
        wait_until(c, client_now_ms() + IDLE_MS);
    c->leases.period_ms = period_ms;
    c->leases.lost = lost;
    c->leases.lost_context = context;
    for (size_t i = 0; i < c->leases.held_count; i++)
        c->leases.held[i].due_ms = client_now_ms() + period_ms;
    bool is_good = period_ms == 0 || start_thread(c);
    announce(c);
    unlock(c);
    return is_good ? 0 : BOSKOS_ERR_SYSTEM;
}

// ---- the thread -----------------------------------------------------------------

// The next thing to do, or when: with the lock held.
static struct lease *next_beat(struct boskos_client *c, int64_t *at_ms)
{
    struct lease *next = NULL;
    if (c->leases.period_ms == 0) return NULL;
    for (size_t i = 0; i < c->leases.held_count; i++) {
        struct lease *l = &c->leases.held[i];
        if (l->due_ms >= *at_ms) continue;
        *at_ms = l->due_ms;
        next = l;
    }
    return next;
}

static struct pending *next_pending(struct boskos_client *c, int64_t *at_ms)
{
    struct pending *next = NULL;
    for (size_t i = 0; i < c->leases.pending_count; i++) {
        struct pending *p = &c->leases.pending[i];
        if (p->due_ms >= *at_ms) continue;
        *at_ms = p->due_ms;
        next = p;
    }
    return next;
}

static void do_beat(struct boskos_client *c, struct lease *l)
{
    char *name = client_strdup(l->resource->name), *state = client_strdup(l->resource->state);
    int64_t period_ms = c->leases.period_ms;
    l->is_busy = true;
    unlock(c);
    beat(c, name, state, period_ms);
    free(name);
    free(state);
    lock(c);
}

static void do_pending(struct boskos_client *c, struct pending *p)
{
    struct pending taken = *p;
    *p = c->leases.pending[--c->leases.pending_count];
    c->leases.is_settling_one = true;
    c->leases.in_hand = taken.name != NULL ? client_strdup(taken.name) : NULL;
    c->leases.in_hand_kind = taken.kind;
    c->leases.in_hand_is_dropped = false;
    unlock(c);
    settle(c, taken);
    lock(c);
}

static void *run(void *context)
{
    struct boskos_client *c = context;
    lock(c);
    while (!c->leases.is_ending) {
        int64_t now = client_now_ms(), at = now + IDLE_MS;
        struct lease *beat_next = next_beat(c, &at);
        struct pending *pending_next = next_pending(c, &at);
        if (at > now)
            wait_until(c, at);
        else if (pending_next != NULL)
            do_pending(c, pending_next);
        else if (beat_next != NULL)
            do_beat(c, beat_next);
    }
    unlock(c);
    return NULL;
}

// With the lock held. Signals are the other threads' business.
static bool start_thread(struct boskos_client *c)
{
    sigset_t all, before;
    if (c->leases.has_thread) return true;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    c->leases.has_thread = pthread_create(&c->leases.thread, NULL, run, c) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!c->leases.has_thread) client_log(c, BOSKOS_LOG_ERROR, "no thread can be had");
    return c->leases.has_thread;
}

void leases_end(struct boskos_client *c)
{
    lock(c);
    c->leases.is_ending = true;
    announce(c);
    unlock(c);
    boskos_cancel(c->stop);
    if (c->leases.has_thread) (void)pthread_join(c->leases.thread, NULL);
    for (size_t i = 0; i < c->leases.pending_count; i++) {
        struct pending *p = &c->leases.pending[i];
        client_log(c, BOSKOS_LOG_ERROR, "%s is left in doubt: a reaper must see to it",
                   p->name != NULL ? p->name : p->type);
        pending_release(p);
    }
    for (size_t i = 0; i < c->leases.held_count; i++)
        lease_release(&c->leases.held[i]);
    free(c->leases.pending);
    free(c->leases.held);
    (void)pthread_cond_destroy(&c->leases.changed);
    (void)pthread_mutex_destroy(&c->leases.lock);
}
