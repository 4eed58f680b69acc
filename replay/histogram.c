#include "replay/histogram.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#include "base/banned.h"

#define COUNT_BITS 48u
#define COUNT_MASK ((UINT64_C(1) << COUNT_BITS) - 1)
#define CAPACITY_LEAST 4u

// Numbers below 2^bits have a part each. From there on the top bits + 1 bits of a number, of which
// the first is always set, and where it is, make the part.
static uint32_t part_of(uint64_t number, uint32_t bits)
{
    if (number >> bits == 0) return (uint32_t)number;
    uint32_t shift = 63u - (uint32_t)__builtin_clzll(number) - bits;
    return ((shift + 1) << bits) + (uint32_t)((number >> shift) - (UINT64_C(1) << bits));
}

static uint64_t least_of(uint32_t part, uint32_t bits)
{
    if (part >> bits == 0) return part;
    uint32_t shift = (part >> bits) - 1;
    uint64_t top = (UINT64_C(1) << bits) + (part & ((1u << bits) - 1));
    return top << shift;
}

static uint64_t most_of(uint32_t part, uint32_t bits)
{
    uint32_t shift = part >> bits == 0 ? 0 : (part >> bits) - 1;
    return least_of(part, bits) + ((UINT64_C(1) << shift) - 1);
}

static uint32_t part_at(const struct histogram *h, uint32_t i)
{
    return (uint32_t)(h->parts[i] >> COUNT_BITS);
}

void histogram_pool_init(struct histogram_pool *p, uint64_t exact_most, uint64_t budget)
{
    *p = (struct histogram_pool){
        .is_exact = true, .exact_left = exact_most, .bits = HISTOGRAM_BITS, .budget = budget};
}

void histogram_pool_release(struct histogram_pool *p)
{
    for (struct histogram *h = p->first; h != NULL; h = h->next) {
        free(h->parts);
        h->parts = NULL;
    }
    p->first = NULL;
}

static void set_capacity(struct histogram_pool *p, struct histogram *h, uint32_t capacity)
{
    h->parts = must_realloc(h->parts, capacity * sizeof(h->parts[0]));
    p->capacity = p->capacity - h->capacity + capacity;
    h->capacity = capacity;
}

// One bit less of precision: parts that have become one are added up.
static void coarsen(struct histogram_pool *p)
{
    p->bits--;
    for (struct histogram *h = p->first; h != NULL; h = h->next) {
        uint32_t kept = 0;
        for (uint32_t i = 0; i < h->count; i++) {
            uint64_t part = part_of(least_of(part_at(h, i), p->bits + 1), p->bits);
            if (kept > 0 && part_at(h, kept - 1) == part)
                h->parts[kept - 1] += h->parts[i] & COUNT_MASK;
            else
                h->parts[kept++] = part << COUNT_BITS | (h->parts[i] & COUNT_MASK);
        }
        h->count = kept;
        set_capacity(p, h, kept > CAPACITY_LEAST ? kept : CAPACITY_LEAST);
    }
}

static void keep_budget(struct histogram_pool *p)
{
    while (p->capacity > p->budget && p->bits > 0)
        coarsen(p);
}

// Room for one more part, or number.
static void make_room(struct histogram_pool *p, struct histogram *h)
{
    if (h->count < h->capacity) return;
    set_capacity(p, h, h->capacity + h->capacity / 2);
    if (!p->is_exact) keep_budget(p);
    if (h->count == h->capacity) set_capacity(p, h, h->capacity + h->capacity / 2);
}

// The index of the first part that is not below.
static uint32_t find(const struct histogram *h, uint64_t part)
{
    uint32_t low = 0, high = h->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (part_at(h, middle) < part)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void count(struct histogram_pool *p, struct histogram *h, uint64_t number)
{
    make_room(p, h);
    uint64_t part = part_of(number, p->bits);
    uint32_t at = find(h, part);
    if (at < h->count && part_at(h, at) == part) {
        h->parts[at]++;
        return;
    }
    memmove(&h->parts[at + 1], &h->parts[at], (h->count - at) * sizeof(h->parts[0]));
    h->parts[at] = part << COUNT_BITS | 1;
    h->count++;
}

// There are too many numbers to keep: from now on they are counted.
static void count_all(struct histogram_pool *p)
{
    for (struct histogram *h = p->first; h != NULL; h = h->next) {
        uint64_t *numbers = h->parts;
        uint32_t numbers_count = h->count;
        p->capacity -= h->capacity;
        h->parts = NULL;
        h->count = h->capacity = 0;
        set_capacity(p, h, CAPACITY_LEAST);
        for (uint32_t i = 0; i < numbers_count; i++)
            count(p, h, numbers[i]);
        free(numbers);
    }
    p->is_exact = false; // all have parts: from now on they become coarser
    keep_budget(p);
}

void histogram_add(struct histogram_pool *p, struct histogram *h, uint64_t number)
{
    if (h->parts == NULL) {
        h->next = p->first;
        p->first = h;
        set_capacity(p, h, CAPACITY_LEAST);
    }
    if (p->is_exact && p->exact_left == 0) count_all(p);
    if (!p->is_exact) {
        count(p, h, number);
        return;
    }
    p->exact_left--;
    make_room(p, h);
    h->parts[h->count++] = number;
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

uint64_t histogram_at(const struct histogram_pool *p, const struct histogram *h, uint64_t rank)
{
    uint64_t seen = 0;
    if (p->is_exact) {
        ASSERT(rank > 0 && rank <= h->count);
        qsort(h->parts, h->count, sizeof(h->parts[0]), ascending);
        return h->parts[rank - 1];
    }
    for (uint32_t i = 0; i < h->count; i++) {
        seen += h->parts[i] & COUNT_MASK;
        if (seen >= rank) return most_of(part_at(h, i), p->bits);
    }
    ASSERT(false && "a rank that exists");
    return 0;
}

uint32_t histogram_error(const struct histogram_pool *p)
{
    return 1u << p->bits;
}
