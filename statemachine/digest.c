#include "base/bytes.h"
#include "statemachine/canonical.h"
#include "statemachine/state.h"

// The whole-state digest is the sum modulo 2^128 of the hashes of the state's elements, each of
// them the canonical bytes below (docs/FORMAT.md, `State digest`): a change takes the old element's
// hash out and puts the new one's in. Interned numbers, addresses and hash seeds never enter it.

enum element {
    ELEMENT_RESOURCE = 1,
    ELEMENT_REQUEST = 2,
    ELEMENT_CYCLE = 3,
    ELEMENT_CORE = 4,
    ELEMENT_KEY = 5
};

static void put_u64(struct buffer *b, uint64_t value)
{
    bytes_put_u64((uint8_t *)buffer_reserve(b, 8), value);
    b->size += 8;
}

static void put_text(struct buffer *b, struct text t)
{
    put_u64(b, t.size);
    buffer_append(b, t.data, t.size);
}

static void put_hash(struct buffer *b, struct hash128 h)
{
    put_u64(b, h.high);
    put_u64(b, h.low);
}

// The effect hash is a sum too, of numbers made from the elements that went and came: a change and
// its reverse do not cancel.
static uint64_t mix(uint64_t value, uint64_t salt)
{
    value = (value ^ salt) * UINT64_C(0x9e3779b97f4a7c15);
    return value ^ value >> 29;
}

static void account(struct sm *sm, struct hash128 h, bool add)
{
    sm->digest = add ? hash128_add(sm->digest, h) : hash128_subtract(sm->digest, h);
    sm->effect += mix(h.high ^ h.low, add ? UINT64_C(0xa5a5a5a5a5a5a5a5) : 0x3c);
}

static struct buffer *start(struct sm *sm, enum element element)
{
    buffer_clear(&sm->scratch);
    buffer_char(&sm->scratch, (char)element);
    return &sm->scratch;
}

static struct hash128 finish(const struct buffer *b)
{
    return hash128(b->data, b->size);
}

void digest_resource(struct sm *sm, const struct resource *r, bool add)
{
    struct buffer *b = start(sm, ELEMENT_RESOURCE);
    put_u64(b, r->lastupdate_ns);
    put_u64(b, r->expires_ns);
    buffer_char(b, (char)r->is_static);
    put_text(b, resource_name(r));
    put_text(b, symbol_text(resource_type(r)->name));
    put_text(b, symbol_text(resource_state(r)));
    put_text(b, symbol_text(r->owner));
    if (r->userdata != NULL) put_hash(b, r->userdata->digest);
    account(sm, finish(b), add);
}

void digest_request(struct sm *sm, const struct request *r, bool add)
{
    struct buffer *b = start(sm, ELEMENT_REQUEST);
    put_u64(b, r->ticket);
    put_u64(b, r->first_poll_ns);
    put_u64(b, r->deadline_ns);
    put_text(b, symbol_text(r->queue->type));
    put_text(b, symbol_text(r->queue->state));
    put_text(b, text_of(r->id, r->id_size));
    account(sm, finish(b), add);
}

void digest_key(struct sm *sm, const struct lease_key *k, bool add)
{
    struct buffer *b = start(sm, ELEMENT_KEY);
    put_text(b, resource_name(k->resource));
    put_text(b, lease_key_text(k));
    put_text(b, symbol_text(k->state));
    account(sm, finish(b), add);
}

void digest_cycle(struct sm *sm, const struct type *t, bool add)
{
    const struct life_cycle *c = t->cycle;
    struct buffer *b = start(sm, ELEMENT_CYCLE);
    put_u64(b, (uint64_t)c->min_count);
    put_u64(b, (uint64_t)c->max_count);
    put_u64(b, (uint64_t)c->lifespan_ns);
    buffer_char(b, (char)c->has_lifespan);
    buffer_char(b, (char)c->is_fading);
    put_text(b, symbol_text(t->name));
    put_text(b, symbol_text(c->state));
    account(sm, finish(b), add);
}

void digest_core(struct sm *sm)
{
    struct buffer *b = start(sm, ELEMENT_CORE);
    buffer_char(b, (char)sm->has_started);
    put_u64(b, sm->salt);
    put_u64(b, (uint64_t)sm->request_ttl_ns);
    put_hash(b, sm->config_hash);
    put_u64(b, sm->reaped_ns);
    put_u64(b, sm->grace_ns);
    for (uint32_t i = 0; i < sm->gaps_count; i++) {
        put_u64(b, sm->gaps[i].end_ns);
        put_u64(b, sm->gaps[i].length_ns);
    }
    struct hash128 h = finish(b);
    if (hash128_equal(h, sm->core_hash)) return;
    account(sm, sm->core_hash, false);
    account(sm, h, true);
    sm->core_hash = h;
}

struct hash128 sm_digest_from_scratch(struct sm *sm)
{
    struct hash128 kept = sm->digest;
    uint64_t effect = sm->effect;
    sm->digest = sm->core_hash;
    uint32_t count;
    for (uint32_t rank = 0; rank < sm->names.size; rank += count) {
        const struct order_entry *run = order_run(&sm->names, rank, &count);
        for (uint32_t i = 0; i < count; i++) {
            digest_resource(sm, run[i].item, true);
            const struct lease_key *k = lease_key_of(sm, run[i].item);
            if (k != NULL) digest_key(sm, k, true);
        }
    }
    for (const struct request *r = sm->first_request; r != NULL; r = r->all_after) {
        digest_request(sm, r, true);
    }
    for (uint32_t i = 0; i < sm->types_count; i++) {
        if (sm->types[i]->cycle != NULL) digest_cycle(sm, sm->types[i], true);
    }
    struct hash128 digest = sm->digest;
    sm->digest = kept;
    sm->effect = effect;
    return digest;
}
