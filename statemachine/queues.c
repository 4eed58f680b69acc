#include "base/assert.h"
#include "statemachine/state.h"

#include <stdlib.h>

struct queue_key {
    const struct symbol *type, *state;
};

static uint32_t queue_hash(const struct symbol *type, const struct symbol *state)
{
    return type->item.hash * UINT32_C(0x85ebca6b) ^ state->item.hash;
}

static bool queue_is(const void *item, const void *key)
{
    const struct queue *q = item;
    const struct queue_key *k = key;
    return q->type == k->type && q->state == k->state;
}

static struct queue *queue_find_symbols(const struct sm *sm, const struct symbol *type,
                                        const struct symbol *state)
{
    struct queue_key key = {type, state};
    return table_find(&sm->queues, queue_hash(type, state), queue_is, &key);
}

struct queue *queue_find(const struct sm *sm, struct text type, struct text state)
{
    if (sm->queues.count == 0) return NULL;
    const struct symbol *t = symbol_find(sm, type);
    const struct symbol *s = t == NULL ? NULL : symbol_find(sm, state);
    return s == NULL ? NULL : queue_find_symbols(sm, t, s);
}

static struct queue *queue_take(struct sm *sm, struct text type, struct text state)
{
    struct symbol *t = symbol_take(sm, type);
    struct symbol *s = symbol_take(sm, state);
    struct queue *q = queue_find_symbols(sm, t, s);
    if (q != NULL) {
        symbol_drop(sm, t);
        symbol_drop(sm, s);
        return q;
    }
    q = must_calloc(1, sizeof(*q));
    *q = (struct queue){.item = {queue_hash(t, s)}, .type = t, .state = s};
    order_init(&q->entries, NULL); // tickets are unique
    table_add(&sm->queues, q);
    return q;
}

static void queue_drop(struct sm *sm, struct queue *q)
{
    table_remove(&sm->queues, q);
    symbol_drop(sm, q->type);
    symbol_drop(sm, q->state);
    free(q);
}

// ---- requests ---------------------------------------------------------------

struct request_key {
    const struct queue *queue;
    struct text id;
};

static uint32_t request_hash(const struct sm *sm, const struct queue *q, struct text id)
{
    return sm_hash(sm, id) ^ q->item.hash;
}

static bool request_is(const void *item, const void *key)
{
    const struct request *r = item;
    const struct request_key *k = key;
    return r->queue == k->queue && text_equal(text_of(r->id, r->id_size), k->id);
}

struct request *request_find(const struct sm *sm, const struct queue *q, struct text id)
{
    struct request_key key = {q, id};
    return q == NULL ? NULL : table_find(&sm->requests, request_hash(sm, q, id), request_is, &key);
}

// Puts a request at the end of both lists by last poll: time never goes back and the TTL is the
// same for all, so that they are in order of deadline too.
static void link_last(struct sm *sm, struct request *r)
{
    struct queue *q = r->queue;
    r->queue_before = q->last;
    r->queue_after = NULL;
    *(q->last != NULL ? &q->last->queue_after : &q->first) = r;
    q->last = r;
    r->all_before = sm->last_request;
    r->all_after = NULL;
    *(sm->last_request != NULL ? &sm->last_request->all_after : &sm->first_request) = r;
    sm->last_request = r;
}

static void unlink_both(struct sm *sm, struct request *r)
{
    struct queue *q = r->queue;
    *(r->queue_before != NULL ? &r->queue_before->queue_after : &q->first) = r->queue_after;
    *(r->queue_after != NULL ? &r->queue_after->queue_before : &q->last) = r->queue_before;
    *(r->all_before != NULL ? &r->all_before->all_after : &sm->first_request) = r->all_after;
    *(r->all_after != NULL ? &r->all_after->all_before : &sm->last_request) = r->all_before;
}

struct request *request_add(struct sm *sm, struct text type, struct text state, struct text id,
                            uint64_t ticket, uint64_t first_poll_ns, uint64_t deadline_ns)
{
    struct queue *q = queue_take(sm, type, state);
    struct request *r = must_malloc(sizeof(*r) + id.size);
    *r = (struct request){.item = {request_hash(sm, q, id)},
                          .queue = q,
                          .ticket = ticket,
                          .first_poll_ns = first_poll_ns,
                          .deadline_ns = deadline_ns,
                          .id_size = id.size};
    memcpy(r->id, id.data, id.size);
    order_insert(&q->entries, ticket, r);
    table_add(&sm->requests, r);
    link_last(sm, r);
    digest_request(sm, r, true);
    return r;
}

void request_poll(struct sm *sm, struct request *r, uint64_t deadline_ns)
{
    digest_request(sm, r, false);
    unlink_both(sm, r);
    r->deadline_ns = deadline_ns;
    link_last(sm, r);
    digest_request(sm, r, true);
}

void request_remove(struct sm *sm, struct request *r)
{
    struct queue *q = r->queue;
    digest_request(sm, r, false);
    unlink_both(sm, r);
    order_remove(&q->entries, r->ticket, r);
    table_remove(&sm->requests, r);
    free(r);
    if (q->entries.size == 0) queue_drop(sm, q);
}

uint32_t request_rank(const struct request *r)
{
    return order_below(&r->queue->entries, r->ticket, TEXT_NONE);
}

// An entry is dead when now is after its deadline.
void queue_sweep(struct sm *sm, struct queue *q, uint64_t now_ns)
{
    struct request *next;
    for (struct request *r = q->first; r != NULL && now_ns > r->deadline_ns; r = next) {
        next = r->queue_after; // the queue goes with its last request
        request_remove(sm, r);
    }
}

void queues_sweep(struct sm *sm, uint64_t now_ns)
{
    while (sm->first_request != NULL && now_ns > sm->first_request->deadline_ns) {
        request_remove(sm, sm->first_request);
    }
}

void queues_renew(struct sm *sm, uint64_t alive_at_ns, uint64_t deadline_ns)
{
    queues_sweep(sm, alive_at_ns);
    // All get the same deadline, so their order by last poll may stay.
    for (struct request *r = sm->first_request; r != NULL; r = r->all_after) {
        digest_request(sm, r, false);
        r->deadline_ns = deadline_ns;
        digest_request(sm, r, true);
    }
}

void queues_release(struct sm *sm)
{
    uint32_t at = 0;
    for (struct request *r; (r = table_next(&sm->requests, &at)) != NULL;) {
        free(r);
    }
    table_release(&sm->requests);
    at = 0;
    for (struct queue *q; (q = table_next(&sm->queues, &at)) != NULL;) {
        order_release(&q->entries);
        free(q);
    }
    table_release(&sm->queues);
}
