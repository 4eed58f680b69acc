#include "statemachine/table.h"

#include <stdlib.h>

#include "base/assert.h"

#define CAPACITY_MIN 16u

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
        struct table_item *item = t->slots[i];
        if (item == NULL) return NULL;
        if (item->hash == hash && equal(item, key)) return item;
    }
}

static void put(struct table *t, struct table_item *item)
{
    uint32_t mask = t->capacity - 1;
    uint32_t i = item->hash & mask;
    while (t->slots[i] != NULL) {
        i = (i + 1) & mask;
    }
    t->slots[i] = item;
}

static void resize(struct table *t, uint32_t capacity)
{
    struct table old = *t;
    t->slots = must_calloc(capacity, sizeof(struct table_item *));
    t->capacity = capacity;
    for (uint32_t i = 0; i < old.capacity; i++) {
        if (old.slots[i] != NULL) put(t, old.slots[i]);
    }
    free(old.slots);
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
    while (t->slots[hole] != item) {
        ASSERT(t->slots[hole] != NULL);
        hole = (hole + 1) & mask;
    }
    // What follows moves up into the hole unless that would put it before its own place.
    for (uint32_t i = (hole + 1) & mask; t->slots[i] != NULL; i = (i + 1) & mask) {
        uint32_t home = t->slots[i]->hash & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            t->slots[hole] = t->slots[i];
            hole = i;
        }
    }
    t->slots[hole] = NULL;
    t->count--;
    // A quarter of the least load: far enough from growing again.
    if (t->capacity > CAPACITY_MIN && t->count < t->capacity / 8) resize(t, t->capacity / 2);
}

void *table_next(const struct table *t, uint32_t *at)
{
    while (*at < t->capacity) {
        struct table_item *item = t->slots[(*at)++];
        if (item != NULL) return item;
    }
    return NULL;
}
