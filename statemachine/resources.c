#include "base/assert.h"
#include "statemachine/state.h"

#include <stdlib.h>

static bool resource_is(const void *item, const void *key)
{
    return text_equal(resource_name(item), *(const struct text *)key);
}

struct resource *resource_find_in(const struct sm *sm, const struct table *some, struct text name)
{
    return table_find(some, sm_hash(sm, name), resource_is, &name);
}

struct resource *resource_find(const struct sm *sm, struct text name)
{
    return resource_find_in(sm, &sm->resources, name);
}

uint64_t name_key(struct text name)
{
    uint64_t key = 0;
    for (uint32_t i = 0; i < 8; i++) {
        key = key << 8 | (i < name.size ? (uint8_t)name.data[i] : 0u);
    }
    return key;
}

static void retype_check(struct sm *sm, const struct resource *r);

void resource_place(struct sm *sm, struct resource *r, struct type *t, struct symbol *state)
{
    struct pool *p = pool_take(sm, t, state);
    r->pool = p;
    order_insert(r->owner != NULL ? &p->owned : &p->unowned, r->lastupdate_ns, r);
    t->count++;
    if (r->owner != NULL) {
        holder_add(sm, t, r->owner);
    } else {
        t->unowned++;
    }
    if (!r->is_static) t->dynamic++;
    struct order *order = type_order_of(sm, r);
    if (order != NULL) order_insert(order, name_key(resource_name(r)), r);
    if (order == &t->live && r->expires_ns != 0) order_insert(&sm->expiring, r->expires_ns, r);
    type_touch(sm, t);
    digest_resource(sm, r, true);
    if (sm->trace.is_wanted) trace_placed(sm, r);
    retype_check(sm, r);
}

void resource_unplace(struct sm *sm, struct resource *r)
{
    struct pool *p = r->pool;
    struct type *t = p->type;
    if (sm->trace.is_wanted) trace_before(sm, r);
    digest_resource(sm, r, false);
    struct order *order = type_order_of(sm, r);
    if (order == &t->live && r->expires_ns != 0) order_remove(&sm->expiring, r->expires_ns, r);
    if (order != NULL) order_remove(order, name_key(resource_name(r)), r);
    if (!r->is_static) t->dynamic--;
    if (r->owner != NULL) {
        holder_remove(sm, t, r->owner);
    } else {
        t->unowned--;
    }
    t->count--;
    type_touch(sm, t);
    order_remove(r->owner != NULL ? &p->owned : &p->unowned, r->lastupdate_ns, r);
    r->pool = NULL;
    pool_drop_if_empty(sm, p);
}

struct resource *resource_make(struct sm *sm, struct text name)
{
    ASSERT(name.size <= SM_NAME_BYTES_MAX);
    struct resource *r = must_calloc(1, sizeof(*r) + name.size);
    r->item.hash = sm_hash(sm, name);
    r->name_size = (uint8_t)name.size;
    if (name.size > 0) memcpy(r->name, name.data, name.size);
    r->lastupdate_ns = sm->time_ns;
    order_insert(&sm->names, name_key(name), r);
    return r;
}

struct resource *resource_new(struct sm *sm, struct text name)
{
    struct resource *r = resource_make(sm, name);
    table_add(&sm->resources, r);
    return r;
}

struct resource *resource_add(struct sm *sm, struct type *t, struct symbol *state, struct text name,
                              bool is_static)
{
    struct resource *r = resource_new(sm, name);
    r->is_static = is_static;
    resource_place(sm, r, t, state);
    return r;
}

void resource_delete(struct sm *sm, struct resource *r)
{
    resource_unplace(sm, r);
    order_remove(&sm->names, name_key(resource_name(r)), r);
    table_remove(&sm->resources, r);
    lease_end(sm, r);
    bury(sm, r->userdata);
    bury(sm, r);
}

void resource_move(struct sm *sm, struct resource *r, struct symbol *owner, struct symbol *state)
{
    // Shared before the old ones are dropped: they may be the same.
    struct type *t = resource_type(r);
    symbol_share(state);
    if (owner != NULL) symbol_share(owner);
    resource_unplace(sm, r);
    lease_end(sm, r);
    r->owner = owner;
    r->lastupdate_ns = sm->time_ns;
    resource_place(sm, r, t, state);
    symbol_drop(sm, state);
}

static bool retype_is(const void *item, const void *key)
{
    return text_equal(symbol_text(((const struct retype *)item)->name), *(const struct text *)key);
}

// Notes that a static name waiting for another type may be changed now.
static void retype_check(struct sm *sm, const struct resource *r)
{
    if (!r->is_static || r->owner != NULL || sm->retypes.count == 0) return;
    struct text name = resource_name(r);
    struct retype *w = table_find(&sm->retypes, r->item.hash, retype_is, &name);
    if (w == NULL || w->is_due) return;
    w->is_due = true;
    w->next_due = sm->first_due;
    sm->first_due = w;
}

void resource_view(const struct resource *r, struct sm_resource *ret_view)
{
    *ret_view = (struct sm_resource){
        .type = symbol_text(resource_type(r)->name),
        .name = resource_name(r),
        .state = symbol_text(resource_state(r)),
        .owner = symbol_text(r->owner),
        .lastupdate_ns = r->lastupdate_ns,
        .has_expiration = r->expires_ns != 0,
        .expiration_ns = r->expires_ns,
        .userdata = r->userdata != NULL ? r->userdata->pairs : NULL,
        .userdata_count = r->userdata != NULL ? r->userdata->count : 0,
    };
}

void picked_clear(struct sm *sm)
{
    sm->picked_count = 0;
}

void picked_add(struct sm *sm, struct resource *r)
{
    if (sm->picked_count == sm->picked_capacity) {
        sm->picked_capacity = sm->picked_capacity == 0 ? 64 : sm->picked_capacity * 2;
        sm->picked = must_realloc(sm->picked, sm->picked_capacity * sizeof(struct resource *));
    }
    sm->picked[sm->picked_count++] = r;
}

static int by_name(const void *a, const void *b)
{
    return text_compare(resource_name(*(struct resource *const *)a),
                        resource_name(*(struct resource *const *)b));
}

static int by_age(const void *a, const void *b)
{
    const struct resource *x = *(struct resource *const *)a;
    const struct resource *y = *(struct resource *const *)b;
    if (x->lastupdate_ns != y->lastupdate_ns) return x->lastupdate_ns < y->lastupdate_ns ? -1 : 1;
    return by_name(a, b);
}

// Names are unique, so the order is total and does not depend on how qsort breaks ties.
void picked_sort_by_name(struct sm *sm)
{
    if (sm->picked_count > 1) qsort(sm->picked, sm->picked_count, sizeof(sm->picked[0]), by_name);
}

void picked_sort_by_age(struct sm *sm)
{
    if (sm->picked_count > 1) qsort(sm->picked, sm->picked_count, sizeof(sm->picked[0]), by_age);
}

void resources_release(struct sm *sm)
{
    uint32_t at = 0;
    for (struct resource *r; (r = table_next(&sm->resources, &at)) != NULL;) {
        free(r->userdata);
        free(r);
    }
    table_release(&sm->resources);
    order_release(&sm->names);
    order_release(&sm->expiring);
}
