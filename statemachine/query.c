#include "base/assert.h"
#include "statemachine/state.h"

#include <stdlib.h>

uint64_t sm_seq(const struct sm *sm)
{
    return sm->seq;
}

uint64_t sm_time_ns(const struct sm *sm)
{
    return sm->time_ns;
}

uint32_t sm_salt(const struct sm *sm)
{
    return sm->salt;
}

struct hash128 sm_digest(const struct sm *sm)
{
    return sm->digest;
}

uint64_t sm_resources_count(const struct sm *sm)
{
    return sm->resources.count;
}

bool sm_has_config(const struct sm *sm)
{
    return sm->config.size > 0;
}

struct text sm_config_bytes(const struct sm *sm)
{
    return buffer_as_text(&sm->config);
}

struct text sm_imported_bytes(const struct sm *sm)
{
    return buffer_as_text(&sm->imported);
}

int64_t sm_request_ttl_ns(const struct sm *sm)
{
    return sm->request_ttl_ns;
}

bool sm_cleaner_enabled(const struct sm *sm)
{
    return sm->cleaner_enabled;
}

uint64_t sm_expiry_due_ns(const struct sm *sm)
{
    if (sm->expiring.size == 0 || import_waits(sm)) return SM_NEVER;
    return order_at(&sm->expiring, 0).key;
}

uint64_t sm_queue_due_ns(const struct sm *sm)
{
    return sm->first_request != NULL ? sm->first_request->deadline_ns : SM_NEVER;
}

uint64_t sm_queue_entries(const struct sm *sm)
{
    return sm->requests.count;
}

uint64_t sm_queue_length(const struct sm *sm, struct text type, struct text state)
{
    const struct queue *q = queue_find(sm, type, state);
    return q != NULL ? q->entries.size : 0;
}

int sm_find(struct sm *sm, struct text name, struct sm_resource *ret_resource)
{
    const struct resource *r = resource_find(sm, name);
    if (r == NULL) return BOSKOS_E_NOT_FOUND;
    resource_view(r, ret_resource);
    return 0;
}

bool sm_same_userdata(const struct sm_resource *a, const struct sm_resource *b)
{
    if (a->userdata_count != b->userdata_count) return false;
    for (uint32_t i = 0; i < a->userdata_count; i++) {
        if (!text_equal(a->userdata[i].key, b->userdata[i].key) ||
            !text_equal(a->userdata[i].value, b->userdata[i].value)) {
            return false;
        }
    }
    return true;
}

bool sm_same_resource(const struct sm_resource *a, const struct sm_resource *b)
{
    return text_equal(a->type, b->type) && text_equal(a->state, b->state) &&
           text_equal(a->owner, b->owner) && a->lastupdate_ns == b->lastupdate_ns &&
           a->has_expiration == b->has_expiration &&
           (!a->has_expiration || a->expiration_ns == b->expiration_ns) && sm_same_userdata(a, b);
}

// ---- lists ------------------------------------------------------------------

static bool any_of(const struct text *list, uint32_t count, struct text t)
{
    for (uint32_t i = 0; i < count; i++) {
        if (text_equal(list[i], t)) return true;
    }
    return count == 0;
}

static bool fits(const struct sm_filter *f, const struct resource *r)
{
    return any_of(f->owners, f->owners_count, symbol_text(r->owner)) &&
           any_of(f->states, f->states_count, symbol_text(resource_state(r))) &&
           any_of(f->types, f->types_count, symbol_text(resource_type(r)->name)) &&
           text_compare(resource_name(r), f->after) > 0;
}

static void pick_run(struct sm *sm, const struct sm_filter *f, const struct order *o)
{
    uint32_t count;
    for (uint32_t rank = 0; rank < o->size; rank += count) {
        const struct order_entry *run = order_run(o, rank, &count);
        for (uint32_t i = 0; i < count; i++) {
            if (fits(f, run[i].item)) picked_add(sm, run[i].item);
        }
    }
}

static bool has_holder(const struct sm_filter *f, const struct type *t)
{
    for (const struct holder *h = t->holders; h != NULL; h = h->after) {
        if (any_of(f->owners, f->owners_count, symbol_text(h->owner))) return true;
    }
    return false;
}

// Goes through the pools that can have what fits, and picks from them if asked. Returns how many
// resources they have.
static uint64_t walk_pools(struct sm *sm, const struct sm_filter *f, bool pick)
{
    uint64_t size = 0;
    bool wants_unowned = any_of(f->owners, f->owners_count, TEXT_NONE);
    for (uint32_t i = 0; i < sm->types_count; i++) {
        const struct type *t = sm->types[i];
        if (!any_of(f->types, f->types_count, symbol_text(t->name))) continue;
        bool wants_owned = has_holder(f, t);
        for (const struct pool *p = t->pools; p != NULL; p = p->after) {
            if (!any_of(f->states, f->states_count, symbol_text(p->state))) continue;
            size += (wants_unowned ? p->unowned.size : 0) + (wants_owned ? p->owned.size : 0);
            if (pick && wants_unowned) pick_run(sm, f, &p->unowned);
            if (pick && wants_owned) pick_run(sm, f, &p->owned);
        }
    }
    return size;
}

// Picks the next names that fit, at most one more than the limit.
static void pick_names(struct sm *sm, const struct sm_filter *f)
{
    uint32_t rank = order_below(&sm->names, name_key(f->after), f->after);
    uint32_t count;
    for (; rank < sm->names.size; rank += count) {
        const struct order_entry *run = order_run(&sm->names, rank, &count);
        for (uint32_t i = 0; i < count; i++) {
            if (f->limit > 0 && sm->picked_count > f->limit) return;
            if (fits(f, run[i].item)) picked_add(sm, run[i].item);
        }
    }
}

// Two ways: all of the pools that can fit, sorted by name; or by name until there are enough, which
// with `size` of them among all takes about all * limit / size steps. The shorter one is taken.
static void pick_filtered(struct sm *sm, const struct sm_filter *f)
{
    uint64_t all = sm->names.size;
    uint64_t size = walk_pools(sm, f, false);
    picked_clear(sm);
    if (size * size >= all * (f->limit > 0 ? f->limit : all)) {
        pick_names(sm, f);
    } else {
        walk_pools(sm, f, true);
        picked_sort_by_name(sm);
    }
}

bool sm_list(struct sm *sm, const struct sm_filter *filter,
             bool (*each)(void *context, const struct sm_resource *r), void *context)
{
    pick_filtered(sm, filter);
    uint32_t count = sm->picked_count;
    if (filter->limit > 0 && count > filter->limit) count = filter->limit;
    for (uint32_t i = 0; i < count; i++) {
        struct sm_resource view;
        resource_view(sm->picked[i], &view);
        if (!each(context, &view)) break;
    }
    return count < sm->picked_count;
}

void sm_unowned(struct sm *sm, struct text type, struct text state,
                bool (*each)(void *context, const struct sm_resource *r), void *context)
{
    const struct type *t = type_find(sm, type);
    const struct pool *p = t == NULL ? NULL : pool_find(sm, t, symbol_find(sm, state));
    uint32_t size = p == NULL ? 0 : p->unowned.size;
    uint32_t count;
    for (uint32_t rank = 0; rank < size; rank += count) {
        const struct order_entry *run = order_run(&p->unowned, rank, &count);
        for (uint32_t i = 0; i < count; i++) {
            struct sm_resource view;
            resource_view(run[i].item, &view);
            if (!each(context, &view)) return;
        }
    }
}

// ---- counts -----------------------------------------------------------------

static int by_key(const void *a, const void *b)
{
    return text_compare(((const struct sm_count *)a)->key, ((const struct sm_count *)b)->key);
}

static void add_count(struct sm *sm, struct text key, uint64_t count)
{
    struct sm_count c = {key, count};
    buffer_append(&sm->answer, &c, sizeof(c));
}

int sm_metric(struct sm *sm, struct text type, struct sm_metric *ret_metric)
{
    const struct type *t = type_find(sm, type);
    if (t == NULL || t->count == 0) return BOSKOS_E_NOT_FOUND;
    buffer_clear(&sm->answer);
    uint32_t states = 0;
    for (const struct pool *p = t->pools; p != NULL; p = p->after) {
        add_count(sm, symbol_text(p->state), (uint64_t)p->unowned.size + p->owned.size);
        states++;
    }
    uint32_t owners = 0;
    if (t->unowned > 0) {
        add_count(sm, TEXT(""), t->unowned);
        owners++;
    }
    for (const struct holder *h = t->holders; h != NULL; h = h->after) {
        add_count(sm, symbol_text(h->owner), h->count);
        owners++;
    }
    struct sm_count *counts = (struct sm_count *)(void *)sm->answer.data;
    qsort(counts, states, sizeof(*counts), by_key);
    qsort(counts + states, owners, sizeof(*counts), by_key);
    *ret_metric = (struct sm_metric){.states = counts,
                                     .owners = counts + states,
                                     .states_count = states,
                                     .owners_count = owners};
    return 0;
}

void sm_types(struct sm *sm, const struct text **ret_types, uint32_t *ret_count)
{
    buffer_clear(&sm->answer);
    uint32_t count = 0;
    for (uint32_t i = 0; i < sm->types_count; i++) {
        if (sm->types[i]->count == 0) continue;
        struct text name = symbol_text(sm->types[i]->name);
        buffer_append(&sm->answer, &name, sizeof(name));
        count++;
    }
    *ret_types = (const struct text *)(const void *)sm->answer.data;
    *ret_count = count;
}

uint64_t sm_count_in_state(const struct sm *sm, struct text type, struct text state)
{
    const struct type *t = type_find(sm, type);
    const struct pool *p = t == NULL ? NULL : pool_find(sm, t, symbol_find(sm, state));
    return p == NULL ? 0 : (uint64_t)p->unowned.size + p->owned.size;
}

uint64_t sm_count_of_type(const struct sm *sm, struct text type)
{
    const struct type *t = type_find(sm, type);
    return t == NULL ? 0 : t->count;
}

// ---- queues, life cycles ----------------------------------------------------

static int by_type_and_state(const void *a, const void *b)
{
    const struct queue *x = *(struct queue *const *)a;
    const struct queue *y = *(struct queue *const *)b;
    int order = text_compare(symbol_text(x->type), symbol_text(y->type));
    return order != 0 ? order : text_compare(symbol_text(x->state), symbol_text(y->state));
}

struct queue **queues_sorted(struct sm *sm)
{
    buffer_clear(&sm->answer);
    uint32_t at = 0;
    for (struct queue *q; (q = table_next(&sm->queues, &at)) != NULL;) {
        buffer_append(&sm->answer, &q, sizeof(struct queue *));
    }
    struct queue **queues = (struct queue **)(void *)sm->answer.data;
    if (sm->queues.count > 1) qsort(queues, sm->queues.count, sizeof(*queues), by_type_and_state);
    return queues;
}

// Shows the live entries of a queue. False when `each` had enough.
static bool show_queue(const struct queue *q, uint64_t now_ns,
                       bool (*each)(void *context, const struct sm_queue_entry *e), void *context)
{
    uint32_t live = 0;
    uint32_t count;
    for (uint32_t rank = 0; rank < q->entries.size; rank += count) {
        const struct order_entry *run = order_run(&q->entries, rank, &count);
        for (uint32_t i = 0; i < count; i++) {
            const struct request *r = run[i].item;
            if (now_ns > r->deadline_ns) continue;
            struct sm_queue_entry e = {.type = symbol_text(q->type),
                                       .state = symbol_text(q->state),
                                       .request_id = text_of(r->id, r->id_size),
                                       .rank = ++live,
                                       .first_poll_ns = r->first_poll_ns,
                                       .deadline_ns = r->deadline_ns,
                                       .seq = r->ticket};
            if (!each(context, &e)) return false;
        }
    }
    return true;
}

void sm_queues(struct sm *sm, uint64_t now_ns,
               bool (*each)(void *context, const struct sm_queue_entry *e), void *context)
{
    struct queue **queues = queues_sorted(sm);
    for (uint32_t i = 0; i < sm->queues.count; i++) {
        if (!show_queue(queues[i], now_ns, each, context)) return;
    }
}

void sm_life_cycles(struct sm *sm, const struct sm_life_cycle **ret_cycles, uint32_t *ret_count)
{
    buffer_clear(&sm->answer);
    uint32_t count = 0;
    for (uint32_t i = 0; i < sm->types_count; i++) {
        const struct life_cycle *c = sm->types[i]->cycle;
        if (c == NULL) continue;
        struct sm_life_cycle view = {.type = symbol_text(sm->types[i]->name),
                                     .state = symbol_text(c->state),
                                     .min_count = c->min_count,
                                     .max_count = c->max_count,
                                     .has_lifespan = c->has_lifespan,
                                     .lifespan_ns = c->lifespan_ns,
                                     .is_fading = c->is_fading};
        buffer_append(&sm->answer, &view, sizeof(view));
        count++;
    }
    *ret_cycles = (const struct sm_life_cycle *)(const void *)sm->answer.data;
    *ret_count = count;
}
