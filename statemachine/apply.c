#include "base/assert.h"
#include "base/duration.h"
#include "statemachine/canonical.h"
#include "statemachine/state.h"

#include <stdlib.h>

#define EXPECTED_AHEAD 8u // acquires

static struct sm_result refuse(enum sm_reason reason)
{
    return (struct sm_result){.reason = reason};
}

static struct sm_result done(void)
{
    return (struct sm_result){.reason = SM_OK};
}

// A result that shows the picked resources, in their order.
static struct sm_result granted(struct sm *sm)
{
    if (sm->picked_count > sm->views_capacity) {
        sm->views_capacity = sm->picked_count;
        sm->views = must_realloc(sm->views, sm->views_capacity * sizeof(sm->views[0]));
    }
    for (uint32_t i = 0; i < sm->picked_count; i++) {
        resource_view(sm->picked[i], &sm->views[i]);
    }
    return (struct sm_result){
        .reason = SM_OK, .resources = sm->views, .resources_count = sm->picked_count};
}

// Hands a resource to `owner` in the state `dest`.
static void lease(struct sm *sm, struct resource *r, struct text owner, struct text dest)
{
    struct symbol *o = symbol_take(sm, owner);
    struct symbol *s = symbol_take(sm, dest);
    resource_move(sm, r, o, s);
    symbol_drop(sm, o);
    symbol_drop(sm, s);
}

// ---- acquire ----------------------------------------------------------------

// The caller's place in the queue: its entry, if it has one, and how many live entries are ahead.
struct place {
    struct request *request; // NULL: new, or without id
    uint32_t queued;         // entries of the queue
    uint32_t ahead;
};

// A dead entry has lost its place: sweeping the queue first leaves only live ones.
static struct place place_of(struct sm *sm, const struct command_acquire *c)
{
    struct place place = {0};
    struct queue *q = queue_find(sm, c->type, c->state);
    if (q == NULL) return place;
    queue_sweep(sm, q, sm->time_ns);
    q = queue_find(sm, c->type, c->state);
    if (q == NULL) return place;
    place.queued = q->entries.size;
    if (!text_is_empty(c->request_id)) place.request = request_find(sm, q, c->request_id);
    place.ahead = place.request != NULL ? request_rank(place.request) : place.queued;
    return place;
}

static struct sm_result grant(struct sm *sm, const struct command_acquire *c,
                              const struct place *place, struct resource *r)
{
    uint64_t waited_ns = 0;
    if (place->request != NULL) {
        waited_ns = sm->time_ns - place->request->first_poll_ns;
        request_remove(sm, place->request);
    }
    lease(sm, r, c->owner, c->dest);
    if (!text_is_empty(c->key)) lease_key_add(sm, r, c->key, c->state);
    picked_clear(sm);
    picked_add(sm, r);
    struct sm_result result = granted(sm);
    result.waited_ns = waited_ns;
    return result;
}

// Nothing is handed out: queue up, and let the type's life cycle make a resource for a new request.
static void wait_in_queue(struct sm *sm, const struct command_acquire *c, const struct place *place,
                          struct type *t)
{
    uint64_t deadline_ns = instant_add(sm->time_ns, sm->request_ttl_ns);
    if (place->request != NULL) {
        request_poll(sm, place->request, deadline_ns);
        return;
    }
    request_add(sm, c->type, c->state, c->request_id, sm->seq, sm->time_ns, deadline_ns);
    if (t != NULL && t->cycle != NULL && t->count < (uint64_t)t->cycle->max_count) {
        make_dynamic(sm, t);
    }
}

// The reply to a client that does not know that it has the lease: the resource as it is now.
// Nothing changes.
static struct sm_result repeat(struct sm *sm, const struct command_acquire *c,
                               const struct lease_key *k)
{
    struct resource *r = k->resource;
    bool is_same = text_equal(symbol_text(resource_type(r)->name), c->type) &&
                   text_equal(symbol_text(k->state), c->state) &&
                   text_equal(symbol_text(resource_state(r)), c->dest);
    if (!is_same) return refuse(SM_KEY_MISMATCH);
    picked_clear(sm);
    picked_add(sm, r);
    struct sm_result result = granted(sm);
    result.is_repeat = true;
    return result;
}

// The unowned resource with `ahead` before it. Those behind it are the next acquires': one of them
// is brought near.
static struct resource *pick_unowned(const struct pool *p, uint32_t ahead)
{
    uint32_t count;
    const struct order_entry *run = order_run(&p->unowned, ahead, &count);
    __builtin_prefetch(run[count > EXPECTED_AHEAD ? EXPECTED_AHEAD : count - 1].item);
    return run[0].item;
}

static struct sm_result apply_acquire(struct sm *sm, const struct command_acquire *c)
{
    const struct lease_key *key =
        text_is_empty(c->key) ? NULL : lease_key_find(sm, c->owner, c->key);
    if (key != NULL) return repeat(sm, c, key);

    struct place place = place_of(sm, c);
    bool is_new = place.request == NULL && !text_is_empty(c->request_id);
    if (is_new && place.queued >= SM_QUEUE_ENTRIES_MAX) return refuse(SM_QUEUE_FULL);
    if (is_new && sm->requests.count >= SM_QUEUE_ENTRIES_TOTAL_MAX) {
        queues_sweep(sm, sm->time_ns); // dead entries do not count
        if (sm->requests.count >= SM_QUEUE_ENTRIES_TOTAL_MAX) return refuse(SM_QUEUES_FULL);
    }

    struct type *t = type_find(sm, c->type);
    bool has_any = t != NULL && t->count > 0;
    struct symbol *state = symbol_find(sm, c->state);
    struct pool *p = has_any ? pool_find(sm, t, state) : NULL;
    if (p != NULL && place.ahead < p->unowned.size) {
        return grant(sm, c, &place, pick_unowned(p, place.ahead));
    }
    if (!text_is_empty(c->request_id)) wait_in_queue(sm, c, &place, t);
    return refuse(has_any ? SM_NO_AVAILABLE : SM_NO_SUCH_TYPE);
}

// ---- acquirebystate ---------------------------------------------------------

enum named { NAMED_ALL, NAMED_ALL_BUT_EMPTY, NAMED_TOO_FEW };

// Picks the named resources that are unowned and in the state, each once.
static enum named pick_named(struct sm *sm, struct text names, const struct symbol *state)
{
    enum named found = NAMED_ALL;
    picked_clear(sm);
    struct text name;
    for (uint32_t at = 0; command_next_name(names, &at, &name);) {
        if (text_is_empty(name)) {
            found = NAMED_ALL_BUT_EMPTY;
            continue;
        }
        struct resource *r = resource_find(sm, name);
        if (r == NULL || r->owner != NULL || resource_state(r) != state) return NAMED_TOO_FEW;
        picked_add(sm, r);
    }
    picked_sort_by_name(sm);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < sm->picked_count; i++) {
        if (i == 0 || sm->picked[i] != sm->picked[kept - 1]) sm->picked[kept++] = sm->picked[i];
    }
    sm->picked_count = kept;
    return found;
}

// All or nothing, with one exception that a running Boskos shows: an empty name matches nothing, so
// that the answer is a refusal, but it does not keep the others from being handed out.
static struct sm_result apply_acquirebystate(struct sm *sm, const struct command_acquirebystate *c)
{
    const struct symbol *state = symbol_find(sm, c->state);
    if (state == NULL) return refuse(SM_NO_AVAILABLE);
    enum named found = pick_named(sm, c->names, state);
    if (found == NAMED_TOO_FEW) return refuse(SM_NO_AVAILABLE);
    picked_sort_by_age(sm);
    for (uint32_t i = 0; i < sm->picked_count; i++) {
        lease(sm, sm->picked[i], c->owner, c->dest);
    }
    return found == NAMED_ALL ? granted(sm) : refuse(SM_NO_AVAILABLE);
}

// ---- release, update --------------------------------------------------------

// The resource that `owner` holds, or why not.
static struct resource *held_by(struct sm *sm, struct text name, struct text owner,
                                struct sm_result *ret_refusal)
{
    struct resource *r = resource_find(sm, name);
    if (r == NULL) {
        *ret_refusal = refuse(SM_NO_SUCH_RESOURCE);
        return NULL;
    }
    if (r->owner == NULL || !text_equal(symbol_text(r->owner), owner)) {
        *ret_refusal = refuse(SM_OWNER_MISMATCH);
        ret_refusal->current_owner = symbol_text(r->owner);
        return NULL;
    }
    return r;
}

static struct sm_result apply_release(struct sm *sm, const struct command_release *c)
{
    struct sm_result refusal;
    struct resource *r = held_by(sm, c->name, c->owner, &refusal);
    if (r == NULL) return refusal;

    struct type *t = resource_type(r);
    struct symbol *dest = symbol_take(sm, c->dest);
    resource_unplace(sm, r);
    lease_end(sm, r);
    r->lastupdate_ns = sm->time_ns;
    if (t->cycle == NULL) {
        r->expires_ns = 0;
    } else if (t->cycle->has_lifespan) {
        r->expires_ns = instant_add(sm->time_ns, t->cycle->lifespan_ns);
    }
    resource_place(sm, r, t, dest);
    symbol_drop(sm, dest);
    return done();
}

static struct sm_result apply_update(struct sm *sm, const struct command_update *c)
{
    struct sm_result refusal;
    struct resource *r = held_by(sm, c->name, c->owner, &refusal);
    if (r == NULL) return refusal;
    if (!text_equal(symbol_text(resource_state(r)), c->state)) {
        refusal = refuse(SM_STATE_MISMATCH);
        refusal.current_state = symbol_text(resource_state(r));
        return refusal;
    }
    struct userdata *merged = NULL;
    if (c->pairs_count > 0) {
        uint64_t bytes;
        merged = userdata_merge(r->userdata, c->pairs, c->pairs_count, &bytes);
        if (bytes > SM_USERDATA_BYTES_MAX) return refuse(SM_USERDATA_TOO_LARGE);
    }
    struct type *t = resource_type(r);
    struct symbol *state = symbol_share(resource_state(r));
    resource_unplace(sm, r);
    if (c->pairs_count > 0) {
        bury(sm, r->userdata);
        r->userdata = merged;
    }
    r->lastupdate_ns = sm->time_ns;
    resource_place(sm, r, t, state);
    symbol_drop(sm, state);
    return done();
}

// ---- reset ------------------------------------------------------------------

// Picks the owned resources of a pool that are at least `expire_ns` old; a negative age takes all.
static void pick_older(struct sm *sm, const struct pool *p, int64_t expire_ns)
{
    uint32_t count;
    for (uint32_t rank = 0; rank < p->owned.size; rank += count) {
        const struct order_entry *run = order_run(&p->owned, rank, &count);
        for (uint32_t i = 0; i < count; i++) {
            if (expire_ns > 0 && sm->time_ns - run[i].key < (uint64_t)expire_ns) return;
            picked_add(sm, run[i].item);
        }
    }
}

static struct sm_result apply_reset(struct sm *sm, const struct command_reset *c)
{
    int64_t expire_ns = 0;
    int err = duration_parse(c->expire, &expire_ns, NULL);
    ASSERT(err == 0); // wire and command_decode see to it
    struct type *t = type_find(sm, c->type);
    struct pool *p = t == NULL ? NULL : pool_find(sm, t, symbol_find(sm, c->state));
    picked_clear(sm);
    if (p != NULL) pick_older(sm, p, expire_ns);
    picked_sort_by_name(sm);

    struct sm_result result = done();
    struct symbol *dest = symbol_take(sm, c->dest);
    buffer_clear(&sm->answer);
    for (uint32_t i = 0; i < sm->picked_count; i++) {
        struct resource *r = sm->picked[i];
        // It stays until the next command even when this was its last use.
        buffer_append(&sm->answer, &r->owner, sizeof(r->owner));
        resource_move(sm, r, NULL, dest);
    }
    symbol_drop(sm, dest);
    result.reset = sm->picked;
    result.reset_owners = (const struct symbol *const *)(const void *)sm->answer.data;
    result.reset_count = sm->picked_count;
    return result;
}

struct sm_reset sm_reset(const struct sm_result *r, uint32_t number)
{
    ASSERT(number < r->reset_count);
    return (struct sm_reset){resource_name(r->reset[number]), symbol_text(r->reset_owners[number])};
}

// ---- what no client asks for ------------------------------------------------

static struct sm_result apply_expire(struct sm *sm)
{
    queues_sweep(sm, sm->time_ns); // resources are marked by upkeep, as after every command
    return done();
}

// Renews what was alive at the previous stamp. No more was slept through than the stamps are apart.
static void give_grace(struct sm *sm, uint64_t before_ns, uint64_t slept_ns)
{
    uint64_t step_ns = sm->time_ns - before_ns;
    queues_renew(sm, before_ns, instant_add(sm->time_ns, sm->request_ttl_ns));
    slept(sm, slept_ns < step_ns ? slept_ns : step_ns);
    digest_core(sm);
}

static struct sm_result apply_started(struct sm *sm, const struct command_started *c,
                                      uint64_t before_ns)
{
    if (!sm->has_started) sm->salt = c->salt;
    sm->has_started = true;
    sm->request_ttl_ns = c->request_ttl_ns;
    give_grace(sm, before_ns, c->downtime_ns);
    return done();
}

// Kept out of line: its result lies in memory by the time it is copied. Copied right after its
// fields were written one by one, it would keep the processor waiting.
__attribute__((noinline)) static struct sm_result dispatch(struct sm *sm, const struct command *c,
                                                           uint64_t before_ns)
{
    switch (c->kind) {
    case COMMAND_ACQUIRE: return apply_acquire(sm, &c->as.acquire);
    case COMMAND_ACQUIREBYSTATE: return apply_acquirebystate(sm, &c->as.acquirebystate);
    case COMMAND_RELEASE: return apply_release(sm, &c->as.release);
    case COMMAND_UPDATE: return apply_update(sm, &c->as.update);
    case COMMAND_RESET: return apply_reset(sm, &c->as.reset);
    case COMMAND_CONFIG: apply_config(sm, c); return done();
    case COMMAND_EXPIRE: return apply_expire(sm);
    case COMMAND_REAP: apply_reap(sm); return done();
    case COMMAND_CLEAN: apply_clean(sm, &c->as.clean); return done();
    case COMMAND_CLOCK: give_grace(sm, before_ns, c->as.clock.ahead_ns); return done();
    case COMMAND_STARTED: return apply_started(sm, &c->as.started, before_ns);
    case COMMAND_REPAIRED: give_grace(sm, before_ns, c->as.repaired.downtime_ns); return done();
    case COMMAND_IMPORT: apply_import(sm, &c->as.import); return done();
    }
    ASSERT(false && "a kind of command that exists");
    return done();
}

void sm_apply(struct sm *sm, const struct command *c, struct sm_result *ret_result)
{
    ASSERT(c->seq == sm->seq + 1 && c->time_ns >= sm->time_ns);
    free_buried(sm);
    if (sm->trace.is_wanted) trace_clear(sm);
    uint64_t before_ns = sm->time_ns;
    sm->seq = c->seq;
    sm->time_ns = c->time_ns;
    sm->effect = 0;
    struct sm_result result = dispatch(sm, c, before_ns);
    upkeep(sm);
    *ret_result = result;
    ret_result->effect = sm->effect;
    ret_result->digest = sm->digest;
}

void sm_expect(const struct sm *sm, uint32_t kind, struct text payload, bool is_close)
{
    if (kind != COMMAND_RELEASE && kind != COMMAND_UPDATE) return;
    struct canonical_reader r = canonical_reader_of(payload);
    (void)canonical_read_array(&r);
    uint32_t hash = sm_hash(sm, canonical_read_text(&r)); // the name is the first in both
    if (is_close)
        table_expect_item(&sm->resources, hash);
    else
        table_expect_slot(&sm->resources, hash);
}

// ---- a state's life ---------------------------------------------------------

static struct text item_name(const void *item)
{
    return resource_name(item);
}

struct sm *sm_new(uint64_t hash_seed)
{
    struct sm *sm = must_calloc(1, sizeof(*sm));
    sm->hash_seed = hash_seed;
    sm->request_ttl_ns = SM_REQUEST_TTL_DEFAULT_NS;
    order_init(&sm->names, item_name);
    order_init(&sm->expiring, item_name);
    buffer_init(&sm->config);
    buffer_init(&sm->imported);
    buffer_init(&sm->scratch);
    buffer_init(&sm->answer);
    sm->dirty = symbol_take(sm, TEXT("dirty"));
    sm->to_be_deleted = symbol_take(sm, TEXT("toBeDeleted"));
    sm->tombstone = symbol_take(sm, TEXT("tombstone"));
    digest_core(sm);
    return sm;
}

void sm_free(struct sm *sm)
{
    if (sm == NULL) return;
    queues_release(sm);
    config_release(sm);
    lease_keys_release(sm);
    resources_release(sm);
    types_release(sm);
    free_buried(sm);
    trace_release(sm);
    uint32_t at = 0;
    for (struct symbol *s; (s = table_next(&sm->symbols, &at)) != NULL;) {
        free(s);
    }
    table_release(&sm->symbols);
    buffer_release(&sm->imported);
    buffer_release(&sm->scratch);
    buffer_release(&sm->answer);
    free(sm->graveyard);
    free(sm->views);
    free(sm->picked);
    free(sm->made);
    free(sm);
}

uint32_t sm_reason_status(enum sm_reason reason)
{
    switch (reason) {
    case SM_OK: return 200;
    case SM_NO_AVAILABLE:
    case SM_NO_SUCH_TYPE:
    case SM_NO_SUCH_RESOURCE: return 404;
    case SM_OWNER_MISMATCH: return 401;
    case SM_STATE_MISMATCH:
    case SM_KEY_MISMATCH: return 409;
    case SM_QUEUE_FULL:
    case SM_QUEUES_FULL: return 503;
    case SM_USERDATA_TOO_LARGE: return 413;
    }
    ASSERT(false && "a reason that exists");
    return 500;
}

void sm_result_encode(const struct sm_result *r, struct buffer *out)
{
    canonical_array(out, 5);
    canonical_u64(out, sm_reason_status(r->reason));
    canonical_u64(out, r->reason);
    canonical_text(out, r->resources_count > 0 ? r->resources[0].name : TEXT_NONE);
    canonical_u64(out, r->effect);
    canonical_hash(out, r->digest);
}
