#include "base/assert.h"
#include "statemachine/state.h"

#include <stdlib.h>

static struct text name_of(const void *item)
{
    return resource_name(item);
}

// ---- types ------------------------------------------------------------------

// The place of the first type that is not below `name`.
static uint32_t type_place(const struct sm *sm, struct text name)
{
    uint32_t low = 0;
    uint32_t high = sm->types_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (text_compare(symbol_text(sm->types[middle]->name), name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct type *type_find(const struct sm *sm, struct text name)
{
    uint32_t place = type_place(sm, name);
    if (place == sm->types_count) return NULL;
    struct type *t = sm->types[place];
    return text_equal(symbol_text(t->name), name) ? t : NULL;
}

struct type *type_take(struct sm *sm, struct text name)
{
    uint32_t place = type_place(sm, name);
    if (place < sm->types_count && text_equal(symbol_text(sm->types[place]->name), name)) {
        return sm->types[place];
    }
    struct type *t = must_calloc(1, sizeof(*t));
    t->name = symbol_take(sm, name);
    t->item.hash = t->name->item.hash;
    order_init(&t->live, name_of);
    order_init(&t->doomed, name_of);
    order_init(&t->tombstones, name_of);
    if (sm->types_count == sm->types_capacity) {
        sm->types_capacity = sm->types_capacity == 0 ? 16 : sm->types_capacity * 2;
        sm->types = must_realloc(sm->types, sm->types_capacity * sizeof(sm->types[0]));
    }
    memmove(sm->types + place + 1, sm->types + place,
            (sm->types_count - place) * sizeof(sm->types[0]));
    sm->types[place] = t;
    sm->types_count++;
    return t;
}

void type_drop_if_empty(struct sm *sm, struct type *t)
{
    if (t->count > 0 || t->cycle != NULL || t->in_config) return;
    uint32_t place = type_place(sm, symbol_text(t->name));
    sm->types_count--;
    memmove(sm->types + place, sm->types + place + 1,
            (sm->types_count - place) * sizeof(sm->types[0]));
    symbol_drop(sm, t->name);
    bury(sm, t);
}

void type_touch(struct sm *sm, struct type *t)
{
    if (t->is_touched) return;
    t->is_touched = true;
    if (sm->touched_count == sm->touched_capacity) {
        sm->touched_capacity = sm->touched_capacity == 0 ? 16 : sm->touched_capacity * 2;
        sm->touched = must_realloc(sm->touched, sm->touched_capacity * sizeof(sm->touched[0]));
    }
    sm->touched[sm->touched_count++] = t;
}

void type_set_cycle(struct sm *sm, struct type *t, struct life_cycle *cycle)
{
    if (t->cycle != NULL) {
        digest_cycle(sm, t, false);
        symbol_drop(sm, t->cycle->state);
        free(t->cycle);
    }
    t->cycle = cycle;
    if (cycle != NULL) digest_cycle(sm, t, true);
    type_touch(sm, t);
}

struct order *type_order_of(struct sm *sm, struct resource *r)
{
    struct type *t = resource_type(r);
    if (r->is_static || r->owner != NULL) return NULL;
    if (resource_state(r) == sm->to_be_deleted) return &t->doomed;
    if (resource_state(r) == sm->tombstone) return &t->tombstones;
    return &t->live;
}

// ---- pools ------------------------------------------------------------------

struct pair_key {
    const void *type, *text;
};

static uint32_t pair_hash(const struct type *t, const struct symbol *s)
{
    return t->item.hash * UINT32_C(0x9e3779b1) ^ s->item.hash;
}

static bool pool_is(const void *item, const void *key)
{
    const struct pool *p = item;
    const struct pair_key *k = key;
    return p->type == k->type && p->state == k->text;
}

struct pool *pool_find(const struct sm *sm, const struct type *t, const struct symbol *state)
{
    struct pair_key key = {t, state};
    return state == NULL ? NULL : table_find(&sm->pools, pair_hash(t, state), pool_is, &key);
}

struct pool *pool_take(struct sm *sm, struct type *t, struct symbol *state)
{
    struct pool *p = pool_find(sm, t, state);
    if (p != NULL) return p;
    p = must_malloc(sizeof(*p));
    *p = (struct pool){
        .item = {pair_hash(t, state)}, .type = t, .state = symbol_share(state), .after = t->pools};
    order_init(&p->unowned, name_of);
    order_init(&p->owned, name_of);
    if (t->pools != NULL) t->pools->before = p;
    t->pools = p;
    table_add(&sm->pools, p);
    return p;
}

void pool_drop_if_empty(struct sm *sm, struct pool *p)
{
    if (p->unowned.size > 0 || p->owned.size > 0) return;
    if (p->before != NULL) {
        p->before->after = p->after;
    } else {
        p->type->pools = p->after;
    }
    if (p->after != NULL) p->after->before = p->before;
    table_remove(&sm->pools, p);
    symbol_drop(sm, p->state);
    bury(sm, p);
}

// ---- holders ----------------------------------------------------------------

static bool holder_is(const void *item, const void *key)
{
    const struct holder *h = item;
    const struct pair_key *k = key;
    return h->type == k->type && h->owner == k->text;
}

static struct holder *holder_find(const struct sm *sm, const struct type *t,
                                  const struct symbol *owner)
{
    struct pair_key key = {t, owner};
    return table_find(&sm->holders, pair_hash(t, owner), holder_is, &key);
}

void holder_add(struct sm *sm, struct type *t, struct symbol *owner)
{
    struct holder *h = holder_find(sm, t, owner);
    if (h == NULL) {
        h = must_malloc(sizeof(*h));
        *h = (struct holder){.item = {pair_hash(t, owner)},
                             .type = t,
                             .owner = symbol_share(owner),
                             .after = t->holders};
        if (t->holders != NULL) t->holders->before = h;
        t->holders = h;
        table_add(&sm->holders, h);
    }
    h->count++;
}

void holder_remove(struct sm *sm, struct type *t, struct symbol *owner)
{
    struct holder *h = holder_find(sm, t, owner);
    ASSERT(h != NULL);
    if (--h->count > 0) return;
    if (h->before != NULL) {
        h->before->after = h->after;
    } else {
        t->holders = h->after;
    }
    if (h->after != NULL) h->after->before = h->before;
    table_remove(&sm->holders, h);
    symbol_drop(sm, h->owner);
    free(h);
}

void types_release(struct sm *sm)
{
    for (uint32_t i = 0; i < sm->types_count; i++) {
        struct type *t = sm->types[i];
        order_release(&t->live);
        order_release(&t->doomed);
        order_release(&t->tombstones);
        free(t->cycle);
        free(t);
    }
    free(sm->types);
    free(sm->touched);
    uint32_t at = 0;
    for (struct pool *p; (p = table_next(&sm->pools, &at)) != NULL;) {
        order_release(&p->unowned);
        order_release(&p->owned);
        free(p);
    }
    table_release(&sm->pools);
    at = 0;
    for (struct holder *h; (h = table_next(&sm->holders, &at)) != NULL;) {
        free(h);
    }
    table_release(&sm->holders);
}
