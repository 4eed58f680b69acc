// The ordered set against a sorted array.
#include "tests/test_statemachine.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "statemachine/order.h"

#include "base/banned.h"

#define ITEMS_MAX 6000u

struct item {
    uint64_t key;
    uint32_t name_size;
    char name[12];
    bool is_in;
};

struct both {
    struct order order;
    struct item items[ITEMS_MAX];
    struct item *sorted[ITEMS_MAX];
    uint32_t count;
    uint64_t random;
};

static struct text item_name(const void *item)
{
    const struct item *i = item;
    return text_of(i->name, i->name_size);
}

static uint64_t random_below(struct both *b, uint64_t bound)
{
    b->random = b->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (b->random >> 33) % bound;
}

static struct both *both_new(uint64_t keys)
{
    struct both *b = must_calloc(1, sizeof(*b));
    b->random = keys;
    order_init(&b->order, item_name);
    for (uint32_t i = 0; i < ITEMS_MAX; i++) {
        b->items[i].key = random_below(b, keys);
        b->items[i].name_size =
            (uint32_t)snprintf(b->items[i].name, sizeof(b->items[i].name), "%x", i * 7919);
    }
    return b;
}

static void both_free(struct both *b)
{
    order_release(&b->order);
    free(b);
}

static bool is_below(const struct item *i, uint64_t key, struct text name)
{
    return i->key != key ? i->key < key : text_compare(item_name(i), name) < 0;
}

// The number of entries below; the array is sorted, so that it is a place too.
static uint32_t place_of(const struct both *b, uint64_t key, struct text name)
{
    uint32_t low = 0, high = b->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (is_below(b->sorted[middle], key, name))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void put(struct both *b, struct item *i)
{
    uint32_t place = place_of(b, i->key, item_name(i));
    memmove(b->sorted + place + 1, b->sorted + place, (b->count - place) * sizeof(struct item *));
    b->sorted[place] = i;
    b->count++;
    i->is_in = true;
    order_insert(&b->order, i->key, i);
}

static void take(struct both *b, struct item *i)
{
    uint32_t place = place_of(b, i->key, item_name(i));
    assert_ptr_equal(b->sorted[place], i);
    b->count--;
    memmove(b->sorted + place, b->sorted + place + 1, (b->count - place) * sizeof(struct item *));
    i->is_in = false;
    order_remove(&b->order, i->key, i);
}

// Ranks and neighbours at one place, whether or not the item is in the set.
static void check_place(struct both *b, const struct item *i)
{
    assert_int_equal(b->order.size, b->count);
    assert_int_equal(order_below(&b->order, i->key, item_name(i)),
                     place_of(b, i->key, item_name(i)));
    if (b->count == 0) return;
    uint32_t rank = (uint32_t)random_below(b, b->count);
    assert_ptr_equal(order_at(&b->order, rank).item, b->sorted[rank]);
    assert_int_equal(order_at(&b->order, rank).key, b->sorted[rank]->key);
}

static void check_all(const struct both *b)
{
    uint32_t count = 0, rank = 0;
    for (; rank < b->order.size; rank += count) {
        const struct order_entry *run = order_run(&b->order, rank, &count);
        assert_true(count > 0);
        for (uint32_t i = 0; i < count; i++)
            assert_ptr_equal(run[i].item, b->sorted[rank + i]);
    }
    assert_int_equal(rank, b->count);
    assert_null(order_run(&b->order, rank, &count));
    assert_int_equal(count, 0);
}

// Grows and shrinks the set in waves, so that nodes split and join at every height.
static void churn(uint64_t keys, uint32_t items)
{
    struct both *b = both_new(keys);
    for (uint32_t wave = 0; wave < 6; wave++) {
        uint64_t percent = wave % 2 == 0 ? 80 : 15;
        for (uint32_t step = 0; step < items * 2; step++) {
            struct item *i = &b->items[random_below(b, items)];
            if (i->is_in == (random_below(b, 100) < percent)) continue;
            if (i->is_in)
                take(b, i);
            else
                put(b, i);
            check_place(b, &b->items[random_below(b, items)]);
        }
        check_all(b);
    }
    while (b->count > 0)
        take(b, b->sorted[random_below(b, b->count)]);
    assert_null(b->order.root);
    both_free(b);
}

void test_order_random(void **unused)
{
    (void)unused;
    churn(3, 300); // few keys: names decide
    churn(40, ITEMS_MAX);
    churn(UINT64_C(1) << 31, ITEMS_MAX);
    churn(1, 2);
}

// As by lastupdate: what is taken out comes back at the end, with a higher key.
void test_order_first_in_first_out(void **unused)
{
    (void)unused;
    struct both *b = both_new(1);
    uint64_t now = 1;
    for (uint32_t i = 0; i < ITEMS_MAX; i++) {
        b->items[i].key = now++;
        put(b, &b->items[i]);
    }
    check_all(b);
    for (uint32_t step = 0; step < ITEMS_MAX * 4; step++) {
        struct item *i = b->sorted[random_below(b, step % 3 == 0 ? b->count : 4)];
        take(b, i);
        i->key = now++;
        put(b, i);
        check_place(b, i);
    }
    check_all(b);
    assert_true(b->order.height <= 3); // it stays low
    while (b->count > 0)
        take(b, b->sorted[0]);
    both_free(b);
}
