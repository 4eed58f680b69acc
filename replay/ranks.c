#include "replay/ranks.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"
#include "statemachine/table.h"

#include "base/banned.h"

#define HASH_SEED 1u // any: nobody aims at the tables of a tool

struct rank {
    struct table_item item;
    uint32_t number;
    bool stays, is_mark;
    bool is_plain;          // nothing is put in front
    const struct rank *low; // else this and a dash; NULL: 0 and a dash
    uint32_t size;
    char data[];
};

struct ranks {
    const char *word;
    struct table table;
    struct rank *marks[RANKS_MARKS_MAX];
    uint32_t marks_count;
    int digits;
    bool between_marks;
};

struct ranks *ranks_new(const char *word)
{
    ASSERT(strlen(word) <= RANKS_WORD_BYTES_MAX);
    struct ranks *r = must_calloc(1, sizeof(*r));
    r->word = word;
    return r;
}

void ranks_free(struct ranks *r)
{
    if (r == NULL) return;
    uint32_t at = 0;
    for (struct rank *k; (k = table_next(&r->table, &at)) != NULL;)
        free(k);
    table_release(&r->table);
    for (uint32_t i = 0; i < r->marks_count; i++)
        free(r->marks[i]);
    free(r);
}

static uint32_t hash_of(struct text t)
{
    return (uint32_t)hash64(t.data, t.size, HASH_SEED);
}

static struct text text_of_rank(const struct rank *k)
{
    return text_of(k->data, k->size);
}

static bool rank_is(const void *item, const void *key)
{
    return text_equal(text_of_rank(item), *(const struct text *)key);
}

static struct rank *rank_new(struct text t)
{
    struct rank *k = must_calloc(1, sizeof(*k) + t.size);
    k->item.hash = hash_of(t);
    k->size = t.size;
    if (t.size > 0) memcpy(k->data, t.data, t.size);
    return k;
}

void ranks_add(struct ranks *r, struct text t)
{
    if (table_find(&r->table, hash_of(t), rank_is, &t) == NULL) table_add(&r->table, rank_new(t));
}

void ranks_mark(struct ranks *r, struct text t)
{
    ASSERT(r->marks_count < RANKS_MARKS_MAX && t.size <= RANKS_KEPT_BYTES_MAX);
    struct rank *k = rank_new(t);
    k->is_mark = true;
    r->marks[r->marks_count++] = k;
}

// A mark before a text of the set that is the same.
static int by_text(const void *a, const void *b)
{
    const struct rank *x = *(struct rank *const *)a, *y = *(struct rank *const *)b;
    int order = text_compare(text_of_rank(x), text_of_rank(y));
    return order != 0 ? order : (int)y->is_mark - (int)x->is_mark;
}

// Does every text that begins with the word, and goes on with a digit, lie between the two?
static bool word_fits(const struct ranks *r, const struct rank *low, const struct rank *high)
{
    char beyond[RANKS_WORD_BYTES_MAX + 2];
    int size = snprintf(beyond, sizeof(beyond), "%s~", r->word);
    return (low == NULL || text_compare(text_of_rank(low), text_from(r->word)) < 0) &&
           (high == NULL || text_compare(text_of(beyond, (size_t)size), text_of_rank(high)) < 0);
}

static bool is_kept(const struct rank *k)
{
    return k->stays || k->is_mark;
}

// Numbers what lies between one that is kept and the next.
static void number_all(struct ranks *r, struct rank **all, uint32_t count)
{
    const struct rank *low = NULL;
    uint32_t number = 0, marks = 0;
    r->between_marks = false;
    for (uint32_t i = 0; i < count;) {
        uint32_t end = i;
        while (end < count && !is_kept(all[end]))
            end++;
        const struct rank *high = end < count ? all[end] : NULL;
        bool is_plain = word_fits(r, low, high);
        if (end > i && marks > 0 && marks < r->marks_count) r->between_marks = true;
        for (; i < end; i++) {
            all[i]->number = ++number;
            all[i]->is_plain = is_plain;
            all[i]->low = low;
        }
        if (high != NULL) marks += high->is_mark;
        low = high;
        i = end + 1;
    }
    r->digits = snprintf(NULL, 0, "%" PRIu32, number);
}

void ranks_settle(struct ranks *r, bool (*stays)(const void *context, struct text t),
                  const void *context)
{
    uint32_t at = 0, count = 0;
    struct rank **all = must_malloc(((size_t)r->table.count + RANKS_MARKS_MAX) * sizeof(*all));
    for (struct rank *k; (k = table_next(&r->table, &at)) != NULL;) {
        k->stays = stays(context, text_of_rank(k));
        ASSERT(!k->stays || k->size <= RANKS_KEPT_BYTES_MAX);
        all[count++] = k;
    }
    for (uint32_t i = 0; i < r->marks_count; i++)
        all[count++] = r->marks[i];
    if (count > 1) qsort(all, count, sizeof(*all), by_text);
    number_all(r, all, count);
    free(all);
}

bool ranks_between_marks(const struct ranks *r)
{
    return r->between_marks;
}

struct text ranks_find(const struct ranks *r, struct text t, char bytes[RANKS_TEXT_BYTES_MAX])
{
    const struct rank *k = table_find(&r->table, hash_of(t), rank_is, &t);
    if (k == NULL) return TEXT_NONE;
    if (k->stays) return t;
    struct text low = k->low != NULL ? text_of_rank(k->low) : TEXT("0");
    if (k->is_plain) low = TEXT_NONE;
    int size = snprintf(bytes, RANKS_TEXT_BYTES_MAX, "%.*s%s%s%0*" PRIu32, TEXT_ARG(low),
                        k->is_plain ? "" : "-", r->word, r->digits, k->number);
    return text_of(bytes, (size_t)size);
}
