#include "config/text_table.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"

#include "base/banned.h"

#define TEXT_TABLE_SIZE_MIN 64u

void config_table_init(struct text_table *t)
{
    *t = (struct text_table){0};
}

void config_table_release(struct text_table *t)
{
    free(t->slots);
    *t = (struct text_table){0};
}

// Where the text is, or where it belongs. The table must have a free slot.
static struct text **slot_of(const struct text_table *t, struct text key)
{
    size_t at = hash64(key.data, key.size, 0) & (t->size - 1);
    while (t->slots[at] != NULL && !text_equal(*t->slots[at], key))
        at = (at + 1) & (t->size - 1);
    return &t->slots[at];
}

static void grow(struct text_table *t)
{
    struct text_table bigger = {.size = t->size == 0 ? TEXT_TABLE_SIZE_MIN : t->size * 2,
                                .used = t->used};
    bigger.slots = must_calloc(bigger.size, sizeof(struct text *));
    for (size_t i = 0; i < t->size; i++)
        if (t->slots[i] != NULL) *slot_of(&bigger, *t->slots[i]) = t->slots[i];
    free(t->slots);
    *t = bigger;
}

void *config_table_find(const struct text_table *t, struct text key)
{
    return t->size == 0 ? NULL : *slot_of(t, key);
}

void *config_table_put(struct text_table *t, struct text *item)
{
    // Half full at most, so that runs stay short and a free slot ends every search.
    if (t->used >= t->size / 2) grow(t);
    struct text **slot = slot_of(t, *item);
    if (*slot == NULL) {
        *slot = item;
        t->used++;
    }
    return *slot;
}
