// The histograms of usage: their ranks against sorted numbers, at each precision.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "replay/histogram.h"

#include "base/banned.h"

#define NUMBERS 5000u

// splitmix64, from its published description.
static uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void assert_ranks(const struct histogram_pool *p, const struct histogram *h,
                         uint64_t *numbers, uint32_t count)
{
    uint32_t error = histogram_error(p);
    qsort(numbers, count, sizeof(numbers[0]), ascending);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t about = histogram_at(p, h, i + 1);
        uint64_t off = about > numbers[i] ? about - numbers[i] : numbers[i] - about;
        assert_true(off <= numbers[i] / error);
    }
}

// Numbers of all sizes, from 0 and the least to the greatest.
static void fill(struct histogram_pool *p, struct histogram *h, uint64_t *state, uint64_t *numbers)
{
    for (uint32_t i = 0; i < NUMBERS; i++) {
        uint64_t number = next_random(state);
        number >>= next_random(state) % 64;
        if (i == 0) number = 0;
        if (i == 1) number = UINT64_MAX;
        numbers[i] = number;
        histogram_add(p, h, number);
    }
}

static void every_rank_is_near(void **state)
{
    (void)state;
    static uint64_t numbers[NUMBERS];
    struct histogram_pool p;
    struct histogram h = {0};
    uint64_t random = 1;
    histogram_pool_init(&p, 0, NUMBERS);
    fill(&p, &h, &random, numbers);
    assert_int_equal(p.bits, HISTOGRAM_BITS);
    assert_int_equal(histogram_error(&p), 64);
    assert_ranks(&p, &h, numbers, NUMBERS);
    histogram_pool_release(&p);
}

static void small_numbers_are_exact(void **state)
{
    (void)state;
    struct histogram_pool p;
    struct histogram h = {0};
    histogram_pool_init(&p, 0, NUMBERS);
    for (uint64_t i = 0; i < 64; i++)
        histogram_add(&p, &h, 63 - i);
    for (uint64_t i = 0; i < 64; i++)
        assert_int_equal(histogram_at(&p, &h, i + 1), i);
    histogram_pool_release(&p);
}

// Beyond the budget all become coarser, and are as near as is said then.
static void a_budget_is_kept(void **state)
{
    (void)state;
    enum { HISTOGRAMS = 3 };
    static uint64_t numbers[HISTOGRAMS][NUMBERS];
    uint32_t seen = HISTOGRAM_BITS;
    for (uint64_t budget = 4000; budget >= 250; budget /= 2) {
        struct histogram_pool p;
        struct histogram h[HISTOGRAMS] = {0};
        uint64_t random = budget;
        histogram_pool_init(&p, budget, budget);
        for (uint32_t i = 0; i < HISTOGRAMS; i++)
            fill(&p, &h[i], &random, numbers[i]);
        assert_false(p.is_exact);
        assert_true(p.capacity <= budget);
        assert_true(p.bits < seen);
        seen = p.bits;
        for (uint32_t i = 0; i < HISTOGRAMS; i++)
            assert_ranks(&p, &h[i], numbers[i], NUMBERS);
        histogram_pool_release(&p);
    }
    assert_in_range(seen, 0, 1);
}

// Few numbers are kept as they are, however near they are and whosever; one more, and all of them
// are counted.
static void few_numbers_are_exact(void **state)
{
    (void)state;
    enum { HISTOGRAMS = 2 };
    static uint64_t numbers[HISTOGRAMS][NUMBERS + 1];
    struct histogram_pool p;
    struct histogram h[HISTOGRAMS] = {0};
    uint64_t random = 7;
    histogram_pool_init(&p, HISTOGRAMS * NUMBERS, NUMBERS);
    for (uint32_t i = 0; i < HISTOGRAMS; i++) {
        fill(&p, &h[i], &random, numbers[i]);
        qsort(numbers[i], NUMBERS, sizeof(numbers[i][0]), ascending);
    }
    assert_true(p.is_exact);
    for (uint32_t i = 0; i < HISTOGRAMS; i++) {
        for (uint32_t n = 0; n < NUMBERS; n += n < NUMBERS - 100 ? 97 : 1)
            assert_int_equal(histogram_at(&p, &h[i], n + 1), numbers[i][n]);
    }
    numbers[1][NUMBERS] = 12345;
    histogram_add(&p, &h[1], 12345);
    assert_false(p.is_exact);
    assert_ranks(&p, &h[0], numbers[0], NUMBERS);
    assert_ranks(&p, &h[1], numbers[1], NUMBERS + 1);
    histogram_pool_release(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rank_is_near),
        cmocka_unit_test(small_numbers_are_exact),
        cmocka_unit_test(a_budget_is_kept),
        cmocka_unit_test(few_numbers_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
