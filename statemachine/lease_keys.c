#include "base/assert.h"
#include "statemachine/state.h"

#include <stddef.h>
#include <stdlib.h>

// Each key is in two tables: by its owner and itself for who repeats an acquire, by its resource
// for the lease's end.

struct owned_key {
    const struct symbol *owner;
    struct text key;
};

static uint32_t key_hash(const struct sm *sm, const struct symbol *owner, struct text key)
{
    return owner->item.hash * UINT32_C(0x85ebca6b) ^ sm_hash(sm, key);
}

static bool key_is(const void *item, const void *key)
{
    const struct lease_key *k = item;
    const struct owned_key *wanted = key;
    return k->resource->owner == wanted->owner && text_equal(lease_key_text(k), wanted->key);
}

struct lease_key *lease_key_find(const struct sm *sm, struct text owner, struct text key)
{
    if (sm->keys.count == 0) return NULL;
    struct owned_key wanted = {symbol_find(sm, owner), key};
    if (wanted.owner == NULL) return NULL;
    return table_find(&sm->keys, key_hash(sm, wanted.owner, key), key_is, &wanted);
}

static struct lease_key *of_holder(const void *holder)
{
    return (struct lease_key *)((uintptr_t)holder - offsetof(struct lease_key, holder));
}

static bool is_holder_of(const void *item, const void *key)
{
    return of_holder(item)->resource == key;
}

struct lease_key *lease_key_of(const struct sm *sm, const struct resource *r)
{
    if (sm->keys.count == 0 || r->owner == NULL) return NULL;
    const void *holder = table_find(&sm->key_holders, r->item.hash, is_holder_of, r);
    return holder == NULL ? NULL : of_holder(holder);
}

void lease_key_add(struct sm *sm, struct resource *r, struct text key, struct text state)
{
    ASSERT(r->owner != NULL && key.size > 0 && key.size <= SM_KEY_BYTES_MAX);
    struct lease_key *k = must_malloc(sizeof(*k) + key.size);
    *k = (struct lease_key){.item = {key_hash(sm, r->owner, key)},
                            .holder = r->item,
                            .resource = r,
                            .state = symbol_take(sm, state),
                            .size = (uint8_t)key.size};
    memcpy(k->key, key.data, key.size);
    table_add(&sm->keys, k);
    table_add(&sm->key_holders, &k->holder);
    digest_key(sm, k, true);
}

void lease_end(struct sm *sm, struct resource *r)
{
    struct lease_key *k = lease_key_of(sm, r);
    if (k != NULL) {
        digest_key(sm, k, false);
        table_remove(&sm->keys, k);
        table_remove(&sm->key_holders, &k->holder);
        symbol_drop(sm, k->state);
        free(k);
    }
    symbol_drop(sm, r->owner);
    r->owner = NULL;
}

int sm_find_lease(struct sm *sm, struct text owner, struct text key,
                  struct sm_resource *ret_resource, struct text *ret_state)
{
    const struct lease_key *k = lease_key_find(sm, owner, key);
    if (k == NULL) return BOSKOS_E_NOT_FOUND;
    resource_view(k->resource, ret_resource);
    *ret_state = symbol_text(k->state);
    return 0;
}

void lease_keys_release(struct sm *sm)
{
    uint32_t at = 0;
    for (struct lease_key *k; (k = table_next(&sm->keys, &at)) != NULL;) {
        free(k);
    }
    table_release(&sm->keys);
    table_release(&sm->key_holders);
}
