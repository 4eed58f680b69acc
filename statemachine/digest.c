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
    ELEMENT_KEY = 5,
    ELEMENT_IMPORT = 6
};

// An element's bytes, written into room that is there.
struct bytes {
    uint8_t *begin, *at;
};

// Of an element, without its texts: the core with all its gaps is the longest.
#define FIELDS_BYTES_MAX (256u + 16u * SM_GAPS_MAX)

static void put_flag(struct bytes *b, bool flag)
{
    *b->at++ = (uint8_t)flag;
}

static void put_u64(struct bytes *b, uint64_t value)
{
    bytes_put_u64(b->at, value);
    b->at += sizeof(value);
}

// A short text in two moves that may overlap: most are short, and each change copies eight of them.
static inline void bytes_copy(uint8_t *to, const char *from, size_t size)
{
    if (size > 16) {
        memcpy(to, from, size);
    } else if (size >= 8) {
        uint64_t first, last;
        memcpy(&first, from, 8);
        memcpy(&last, from + size - 8, 8);
        memcpy(to, &first, 8);
        memcpy(to + size - 8, &last, 8);
    } else if (size >= 4) {
        uint32_t first, last;
        memcpy(&first, from, 4);
        memcpy(&last, from + size - 4, 4);
        memcpy(to, &first, 4);
        memcpy(to + size - 4, &last, 4);
    } else {
        for (size_t i = 0; i < size; i++) {
            to[i] = (uint8_t)from[i];
        }
    }
}

static void put_text(struct bytes *b, struct text t)
{
    put_u64(b, t.size);
    bytes_copy(b->at, t.data, t.size);
    b->at += t.size;
}

static void put_hash(struct bytes *b, struct hash128 h)
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

static struct bytes start(struct sm *sm, enum element element, size_t texts_bytes)
{
    buffer_clear(&sm->scratch);
    uint8_t *begin = (uint8_t *)buffer_reserve(&sm->scratch, FIELDS_BYTES_MAX + texts_bytes);
    *begin = (uint8_t)element;
    return (struct bytes){begin, begin + 1};
}

static struct hash128 finish(const struct bytes *b)
{
    return hash128(b->begin, (size_t)(b->at - b->begin));
}

void digest_resource(struct sm *sm, const struct resource *r, bool add)
{
    struct text type = symbol_text(resource_type(r)->name), state = symbol_text(resource_state(r)),
                owner = symbol_text(r->owner);
    struct bytes b =
        start(sm, ELEMENT_RESOURCE, (size_t)r->name_size + type.size + state.size + owner.size);
    put_u64(&b, r->lastupdate_ns);
    put_u64(&b, r->expires_ns);
    put_flag(&b, r->is_static);
    put_text(&b, resource_name(r));
    put_text(&b, type);
    put_text(&b, state);
    put_text(&b, owner);
    if (r->userdata != NULL) put_hash(&b, r->userdata->digest);
    account(sm, finish(&b), add);
}

void digest_request(struct sm *sm, const struct request *r, bool add)
{
    struct text type = symbol_text(r->queue->type), state = symbol_text(r->queue->state);
    struct bytes b = start(sm, ELEMENT_REQUEST, (size_t)type.size + state.size + r->id_size);
    put_u64(&b, r->ticket);
    put_u64(&b, r->first_poll_ns);
    put_u64(&b, r->deadline_ns);
    put_text(&b, type);
    put_text(&b, state);
    put_text(&b, text_of(r->id, r->id_size));
    account(sm, finish(&b), add);
}

void digest_key(struct sm *sm, const struct lease_key *k, bool add)
{
    struct text name = resource_name(k->resource), state = symbol_text(k->state);
    struct bytes b = start(sm, ELEMENT_KEY, (size_t)name.size + k->size + state.size);
    put_text(&b, name);
    put_text(&b, lease_key_text(k));
    put_text(&b, state);
    account(sm, finish(&b), add);
}

void digest_cycle(struct sm *sm, const struct type *t, bool add)
{
    const struct life_cycle *c = t->cycle;
    struct text name = symbol_text(t->name), state = symbol_text(c->state);
    struct bytes b = start(sm, ELEMENT_CYCLE, (size_t)name.size + state.size);
    put_u64(&b, (uint64_t)c->min_count);
    put_u64(&b, (uint64_t)c->max_count);
    put_u64(&b, (uint64_t)c->lifespan_ns);
    put_flag(&b, c->has_lifespan);
    put_flag(&b, c->is_fading);
    put_text(&b, name);
    put_text(&b, state);
    account(sm, finish(&b), add);
}

void digest_import(struct sm *sm, bool add)
{
    struct hash128 imported = hash128(sm->imported.data, sm->imported.size);
    struct bytes b = start(sm, ELEMENT_IMPORT, 0);
    put_hash(&b, imported);
    account(sm, finish(&b), add);
}

void digest_core(struct sm *sm)
{
    struct bytes b = start(sm, ELEMENT_CORE, 0);
    put_flag(&b, sm->has_started);
    put_u64(&b, sm->salt);
    put_u64(&b, (uint64_t)sm->request_ttl_ns);
    put_hash(&b, sm->config_hash);
    put_u64(&b, sm->reaped_ns);
    put_u64(&b, sm->grace_ns);
    for (uint32_t i = 0; i < sm->gaps_count; i++) {
        put_u64(&b, sm->gaps[i].end_ns);
        put_u64(&b, sm->gaps[i].length_ns);
    }
    struct hash128 h = finish(&b);
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
    if (import_waits(sm)) digest_import(sm, true);
    struct hash128 digest = sm->digest;
    sm->digest = kept;
    sm->effect = effect;
    return digest;
}
