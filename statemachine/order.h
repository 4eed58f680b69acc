// statemachine/order.h
//
// An ordered set that knows ranks: a B+ tree of (key, item) with counts. It finds the n-th entry
// and the number of entries below one in O(log n). Entries with equal keys are ordered by the
// item's name.
//
// The set does not own its items. A key and a name must not change while an item is in the set.
#ifndef STATEMACHINE_ORDER_H
#define STATEMACHINE_ORDER_H

#include "base/text.h"

struct order_entry {
    uint64_t key;
    void *item;
};

struct order {
    struct text (*name)(const void *item); // breaks ties; NULL where keys are unique
    void *root;                            // NULL while empty
    uint32_t height;                       // inner levels above the leaves
    uint32_t size;
};

void order_init(struct order *o, struct text (*name)(const void *item));
void order_release(struct order *o);

// Adds an entry. Adding one that is there is a programmer error.
void order_insert(struct order *o, uint64_t key, void *item);

// Removes an entry. Removing one that is not there is a programmer error.
void order_remove(struct order *o, uint64_t key, void *item);

// The number of entries below (key, name), whether or not that is in the set.
uint32_t order_below(const struct order *o, uint64_t key, struct text name);

// The entry with `rank` entries below it; rank must be below size.
struct order_entry order_at(const struct order *o, uint32_t rank);

// A run of entries from `rank` on that lie side by side, at least one when rank is below size, else
// none: for walking a set in order. Borrowed until the set changes.
const struct order_entry *order_run(const struct order *o, uint32_t rank, uint32_t *ret_count);

#endif
