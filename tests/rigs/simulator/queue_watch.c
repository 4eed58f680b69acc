// The queues' tickets, kept from the log alone: who came when, and who has not polled for its TTL.
#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "tests/rigs/simulator/simulator.h"

#include "base/banned.h"

static uint64_t key_of(struct text type, struct text state, struct text id)
{
    uint64_t key = hash64(type.data, type.size, 1);
    key = hash64(state.data, state.size, key);
    key = hash64(id.data, id.size, key);
    return key == 0 ? 1 : key;
}

// The place of the key, or the empty one where it belongs.
static struct ticket *place_of(struct tickets *t, uint64_t key)
{
    uint32_t at = (uint32_t)key & (t->capacity - 1);
    while (t->list[at].key != 0 && t->list[at].key != key)
        at = (at + 1) & (t->capacity - 1);
    return &t->list[at];
}

static void grow(struct tickets *t)
{
    struct tickets larger = {.capacity = t->capacity == 0 ? 64 : t->capacity * 2,
                             .count = t->count};
    larger.list = must_calloc(larger.capacity, sizeof(larger.list[0]));
    for (uint32_t i = 0; i < t->capacity; i++) {
        if (t->list[i].key != 0) *place_of(&larger, t->list[i].key) = t->list[i];
    }
    free(t->list);
    *t = larger;
}

static void take_out(struct tickets *t, struct ticket *ticket)
{
    uint32_t at = (uint32_t)(ticket - t->list);
    ticket->key = 0;
    t->count--;
    // What was pushed aside moves back.
    for (;;) {
        at = (at + 1) & (t->capacity - 1);
        struct ticket moved = t->list[at];
        if (moved.key == 0) return;
        t->list[at].key = 0;
        *place_of(t, moved.key) = moved;
    }
}

static void poll(struct sim *s, const struct command *c, bool is_granted)
{
    struct tickets *t = &s->tickets;
    if ((t->count + 1) * 2 > t->capacity) grow(t);
    struct ticket *ticket =
        place_of(t, key_of(c->as.acquire.type, c->as.acquire.state, c->as.acquire.request_id));
    bool is_there = ticket->key != 0;
    if (is_granted) {
        if (is_there) take_out(t, ticket);
        return;
    }
    if (!is_there || ticket->deadline_ns < c->time_ns) {
        ticket->seq = c->seq;
        t->count += !is_there;
    }
    ticket->key = key_of(c->as.acquire.type, c->as.acquire.state, c->as.acquire.request_id);
    ticket->deadline_ns = c->time_ns + (uint64_t)s->model->request_ttl_ns;
}

static void renew(struct sim *s, const struct command *c, uint64_t before_ns)
{
    for (uint32_t i = 0; i < s->tickets.capacity; i++) {
        struct ticket *ticket = &s->tickets.list[i];
        if (ticket->key != 0 && ticket->deadline_ns >= before_ns)
            ticket->deadline_ns = c->time_ns + (uint64_t)s->model->request_ttl_ns;
    }
}

void tickets_record(struct sim *s, const struct command *c, const struct sm_result *r,
                    uint64_t before_ns)
{
    if (c->kind == COMMAND_CLOCK || c->kind == COMMAND_STARTED || c->kind == COMMAND_REPAIRED)
        renew(s, c, before_ns);
    if (c->kind != COMMAND_ACQUIRE || c->as.acquire.request_id.size == 0) return;
    if (r->reason == SM_QUEUE_FULL || r->reason == SM_QUEUES_FULL) return;
    if (r->is_repeat || r->reason == SM_KEY_MISMATCH) return;
    poll(s, c, r->reason == SM_OK);
}

// ---- ranks ------------------------------------------------------------------

struct walk {
    struct sim *sim;
    struct buffer queue; // type and state of the one before
    uint32_t rank;
    uint64_t seq, live;
};

static bool check_entry(void *context, const struct sm_queue_entry *e)
{
    struct walk *w = context;
    struct text before = buffer_as_text(&w->queue);
    struct buffer queue;
    buffer_init(&queue);
    buffer_format(&queue, "%.*s %.*s", TEXT_ARG(e->type), TEXT_ARG(e->state));
    if (!text_equal(before, buffer_as_text(&queue))) w->rank = 0, w->seq = 0;
    buffer_release(&w->queue);
    w->queue = queue;
    const struct ticket *ticket =
        place_of(&w->sim->tickets, key_of(e->type, e->state, e->request_id));
    w->live++;
    if (ticket->key == 0 || ticket->deadline_ns != e->deadline_ns)
        return sim_fail(w->sim, "%.*s is queued, and should not be, or for longer",
                        TEXT_ARG(e->request_id));
    if (e->rank != ++w->rank || ticket->seq <= w->seq)
        return sim_fail(w->sim, "%.*s came with record %" PRIu64 " and has rank %u after %" PRIu64,
                        TEXT_ARG(e->request_id), ticket->seq, e->rank, w->seq);
    w->seq = ticket->seq;
    return true;
}

// The dead are dropped here too: they matter to nobody.
static uint64_t live_tickets(struct sim *s)
{
    struct tickets *t = &s->tickets;
    struct tickets live = {.capacity = t->capacity};
    if (t->capacity == 0) return 0;
    live.list = must_calloc(live.capacity, sizeof(live.list[0]));
    for (uint32_t i = 0; i < t->capacity; i++) {
        if (t->list[i].key == 0 || t->list[i].deadline_ns < s->time_ns) continue;
        *place_of(&live, t->list[i].key) = t->list[i];
        live.count++;
    }
    free(t->list);
    *t = live;
    return live.count;
}

bool tickets_check(struct sim *s)
{
    uint64_t live = live_tickets(s);
    struct walk w = {.sim = s};
    if (s->tickets.capacity == 0) return true;
    buffer_init(&w.queue);
    sm_queues(s->engine->sm, s->time_ns, check_entry, &w);
    buffer_release(&w.queue);
    if (!s->has_failed && w.live != live)
        return sim_fail(s, "%" PRIu64 " requests wait, %" PRIu64 " should", w.live, live);
    return !s->has_failed;
}
