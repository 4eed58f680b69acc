#include "statemachine/table.h"

#include <stdlib.h>

#include "base/assert.h"

#define CAPACITY_MIN 16u
#define CAPACITY_KEPT 4096u // up to here a table does not shrink: it would only grow again

// A slot is the item's address with the top bits of its hash in the bits that are zero in every
// such address, so that an item of another hash is seldom touched: it would be far from the
// processor. 0: free.
#define TAG_BITS 3
#define TAG_MASK (((uintptr_t)1 << TAG_BITS) - 1)

static uintptr_t tag_of(uint32_t hash)
{
    return hash >> (32 - TAG_BITS);
}

static struct table_item *item_of(uintptr_t slot)
{
    return (struct table_item *)(slot & ~TAG_MASK); // NOLINT(performance-no-int-to-ptr)
}

void table_release(struct table *t)
{
    free(t->slots);
    *t = (struct table){0};
}

void *table_find(const struct table *t, uint32_t hash,
                 bool (*equal)(const void *item, const void *key), const void *key)
{
    if (t->capacity == 0) return NULL;
    uint32_t mask = t->capacity - 1;
    for (uint32_t i = hash & mask;; i = (i + 1) & mask) {
        if (t->slots[i] == 0) return NULL;
        if ((t->slots[i] & TAG_MASK) != tag_of(hash)) continue;
        struct table_item *item = item_of(t->slots[i]);
        if (item->hash == hash && equal(item, key)) return item;
    }
}

void table_expect_slot(const struct table *t, uint32_t hash)
{
    if (t->capacity > 0) __builtin_prefetch(&t->slots[hash & (t->capacity - 1)]);
}

void table_expect_item(const struct table *t, uint32_t hash)
{
    if (t->capacity == 0) return;
    uint32_t mask = t->capacity - 1;
    for (uint32_t i = hash & mask; t->slots[i] != 0; i = (i + 1) & mask) {
        if ((t->slots[i] & TAG_MASK) != tag_of(hash)) continue;
        __builtin_prefetch(item_of(t->slots[i]));
        return;
    }
}

static void put(struct table *t, const struct table_item *item)
{
    ASSERT(((uintptr_t)item & TAG_MASK) == 0);
    uint32_t mask = t->capacity - 1;
    uint32_t i = item->hash & mask;
    while (t->slots[i] != 0) {
        i = (i + 1) & mask;
    }
    t->slots[i] = (uintptr_t)item | tag_of(item->hash);
}

static void resize(struct table *t, uint32_t capacity)
{
    struct table old = *t;
    t->slots = must_calloc(capacity, sizeof(t->slots[0]));
    t->capacity = capacity;
    for (uint32_t i = 0; i < old.capacity; i++) {
        if (old.slots[i] != 0) put(t, item_of(old.slots[i]));
    }
    free(old.slots);
}

void table_reserve(struct table *t, uint32_t count)
{
    uint32_t capacity = t->capacity == 0 ? CAPACITY_MIN : t->capacity;
    ASSERT(count < UINT32_C(1) << 30);
    while (count > capacity / 4 * 3)
        capacity *= 2;
    if (capacity > t->capacity) resize(t, capacity);
}

void table_add(struct table *t, void *item)
{
    if (t->count + 1 > t->capacity / 4 * 3) {
        ASSERT(t->capacity < UINT32_C(1) << 31);
        resize(t, t->capacity == 0 ? CAPACITY_MIN : t->capacity * 2);
    }
    put(t, item);
    t->count++;
}

void table_remove(struct table *t, const void *item)
{
    uint32_t mask = t->capacity - 1;
    uint32_t hole = ((const struct table_item *)item)->hash & mask;
    while (item_of(t->slots[hole]) != item) {
        ASSERT(t->slots[hole] != 0);
        hole = (hole + 1) & mask;
    }
    // What follows moves up into the hole unless that would put it before its own place.
    for (uint32_t i = (hole + 1) & mask; t->slots[i] != 0; i = (i + 1) & mask) {
        uint32_t home = item_of(t->slots[i])->hash & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            t->slots[hole] = t->slots[i];
            hole = i;
        }
    }
    t->slots[hole] = 0;
    t->count--;
    // A quarter of the least load: far enough from growing again.
    if (t->capacity > CAPACITY_KEPT && t->count < t->capacity / 8) resize(t, t->capacity / 2);
}

void *table_next(const struct table *t, uint32_t *at)
{
    while (*at < t->capacity) {
        struct table_item *item = item_of(t->slots[(*at)++]);
        if (item != NULL) return item;
    }
    return NULL;
}
