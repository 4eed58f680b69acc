// config/text_table.h
//
// A hash table of things that start with their text: `struct thing { struct text name; ... }`. It
// borrows the things and owns none of them.
//
// Private to this folder. Not thread-safe; each table has one owner.
#ifndef CONFIG_TEXT_TABLE_H
#define CONFIG_TEXT_TABLE_H

#include "base/text.h"

struct text_table {
    struct text **slots; // NULL where free
    size_t size;         // 0 or a power of two
    size_t used;
};

void config_table_init(struct text_table *t);
void config_table_release(struct text_table *t);

// What the table has under this text, or NULL.
void *config_table_find(const struct text_table *t, struct text key);

// Adds `item`, borrowed as long as the table lives, unless its text is there already. Returns what
// the table has under that text now.
void *config_table_put(struct text_table *t, struct text *item);

#endif
