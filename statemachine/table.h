// statemachine/table.h
//
// An open-addressing hash table of pointers. Each item begins with its 32-bit hash (struct
// table_item), so that the table can move it without knowing what it is; its address is one that
// malloc gives, or is as well aligned. Walking a table gives an
// order that depends on the hash seed: only for freeing, never for anything that shows.
#ifndef STATEMACHINE_TABLE_H
#define STATEMACHINE_TABLE_H

#include <stdbool.h>
#include <stdint.h>

struct table_item {
    uint32_t hash;
};

struct table {
    uintptr_t *slots;  // table.c
    uint32_t capacity; // 0, or a power of two
    uint32_t count;
};

void table_release(struct table *t); // not the items

// The item of that hash for which `equal(item, key)` holds, or NULL.
void *table_find(const struct table *t, uint32_t hash,
                 bool (*equal)(const void *item, const void *key), const void *key);

// Hints that an item of that hash will be looked for, or added, soon: the processor brings the slot
// near, and, once that is near, the item.
void table_expect_slot(const struct table *t, uint32_t hash);
void table_expect_item(const struct table *t, uint32_t hash);

// Makes room for so many items at once.
void table_reserve(struct table *t, uint32_t count);

// Adds an item that is not there.
void table_add(struct table *t, void *item);

// Removes an item that is there.
void table_remove(struct table *t, const void *item);

// Walks: *at starts at 0; NULL at the end. The table must not change meanwhile.
void *table_next(const struct table *t, uint32_t *at);

#endif
