// Tests of what is kept of the past: which snapshots go, and where the log is trimmed.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "engine/retention.h"

#include "base/banned.h"

#define HOUR_NS UINT64_C(3600000000000)
#define NO_LIMIT (UINT64_C(1) << 50)

// Snapshots after every 100 records, an hour apart, of `bytes` each; the log ends 50 records after
// the last, at which time it is that hour.
static uint64_t choose(struct retained *list, size_t count, uint64_t bytes, uint64_t span_ns,
                       uint64_t most, uint64_t log_bytes)
{
    for (size_t i = 0; i < count; i++) {
        list[i] = (struct retained){
            .seq = (i + 1) * 100, .time_ns = (i + 1) * HOUR_NS, .bytes = bytes, .is_kept = true};
    }
    struct retention r = {.span_ns = span_ns, .bytes = most};
    struct retention_log log = {
        .first = 1, .end = count * 100 + 51, .bytes = log_bytes, .now_ns = count * HOUR_NS};
    return retention_choose(&r, &log, list, count);
}

// The kept ones as a string of digits and dots.
static const char *kept(const struct retained *list, size_t count, char text[32])
{
    for (size_t i = 0; i < count; i++)
        text[i] = list[i].is_kept ? (char)('0' + (i + 1) % 10) : '.';
    text[count] = '\0';
    return text;
}

static void all_is_kept_within_the_limits(void **state)
{
    (void)state;
    struct retained list[10];
    char text[32];
    assert_int_equal(choose(list, 10, 10, 100 * HOUR_NS, NO_LIMIT, 1000), 0);
    assert_string_equal(kept(list, 10, text), "1234567890");
    assert_int_equal(choose(list, 0, 10, HOUR_NS, 1, 1000), 0);
    assert_int_equal(choose(list, 1, 10, 0, 1, 1000), 0); // the only one is no place to trim
    assert_string_equal(kept(list, 1, text), "1");
}

static void what_is_too_old_goes(void **state)
{
    (void)state;
    struct retained list[10];
    char text[32];
    // Three hours before hour 10 the newest snapshot is that of hour 7.
    assert_int_equal(choose(list, 10, 10, 3 * HOUR_NS, NO_LIMIT, 1000), 701);
    assert_string_equal(kept(list, 10, text), "......7890");
    assert_int_equal(choose(list, 10, 10, 3 * HOUR_NS + 1, NO_LIMIT, 1000), 601);
    assert_string_equal(kept(list, 10, text), ".....67890");
    // The newest two always stay.
    assert_int_equal(choose(list, 10, 10, 1, NO_LIMIT, 1000), 901);
    assert_string_equal(kept(list, 10, text), "........90");
}

static void snapshots_are_thinned_to_their_share(void **state)
{
    (void)state;
    struct retained list[10];
    char text[32];
    // Ten of 10 bytes, of which 400 / 4 may stay: all of them.
    assert_int_equal(choose(list, 10, 10, 100 * HOUR_NS, 400, 0), 0);
    assert_string_equal(kept(list, 10, text), "1234567890");
    // A quarter of 240: six. The oldest and the newest two are among them, the rest is spread.
    assert_int_equal(choose(list, 10, 10, 100 * HOUR_NS, 240, 0), 0);
    assert_string_equal(kept(list, 10, text), "1.3.5.7.90");
    // However small the share is, three stay while the log is small.
    assert_int_equal(choose(list, 10, 10, 100 * HOUR_NS, 40, 0), 0);
    assert_string_equal(kept(list, 10, text), "1.......90");
}

static void the_base_moves_on_while_it_is_too_much(void **state)
{
    (void)state;
    struct retained list[10];
    char text[32];
    // 1050 records of 1 byte and 10 snapshots of 1 byte: 1060.
    assert_int_equal(choose(list, 10, 1, 100 * HOUR_NS, 1060, 1050), 0);
    assert_string_equal(kept(list, 10, text), "1234567890");
    // One byte less: the log before the oldest snapshot goes, the snapshot stays.
    assert_int_equal(choose(list, 10, 1, 100 * HOUR_NS, 1059, 1050), 101);
    assert_string_equal(kept(list, 10, text), "1234567890");
    assert_int_equal(choose(list, 10, 1, 100 * HOUR_NS, 500, 1050), 601);
    assert_string_equal(kept(list, 10, text), ".....67890");
    // The newest two stay, and the log after them.
    assert_int_equal(choose(list, 10, 1, 100 * HOUR_NS, 1, 1050), 901);
    assert_string_equal(kept(list, 10, text), "........90");
}

static void a_trimmed_log_is_not_trimmed_again(void **state)
{
    (void)state;
    struct retained list[3] = {{.seq = 700, .time_ns = 7 * HOUR_NS, .bytes = 1},
                               {.seq = 800, .time_ns = 8 * HOUR_NS, .bytes = 1},
                               {.seq = 900, .time_ns = 9 * HOUR_NS, .bytes = 1}};
    struct retention r = {.span_ns = 2 * HOUR_NS, .bytes = NO_LIMIT};
    struct retention_log log = {.first = 701, .end = 901, .bytes = 200, .now_ns = 9 * HOUR_NS};
    assert_int_equal(retention_choose(&r, &log, list, 3), 0);
    assert_true(list[0].is_kept && list[1].is_kept && list[2].is_kept);
    // Trimming that a crash has interrupted goes on.
    log.first = 650;
    assert_int_equal(retention_choose(&r, &log, list, 3), 701);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_is_kept_within_the_limits),
        cmocka_unit_test(what_is_too_old_goes),
        cmocka_unit_test(snapshots_are_thinned_to_their_share),
        cmocka_unit_test(the_base_moves_on_while_it_is_too_much),
        cmocka_unit_test(a_trimmed_log_is_not_trimmed_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
