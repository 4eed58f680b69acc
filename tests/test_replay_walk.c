// Tests of the walk through an exported file: where results may be missing.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "journal/slice.h"
#include "replay/walk.h"

#define COMMANDS 4u
#define START_NS (UINT64_C(1772357400) * NS_PER_S)

// A file of a `started` and some `expire`, without the result of the command `missing` (0: with
// all).
static void file_make(const char *path, uint64_t missing)
{
    struct slice_about about = {.created_by = TEXT("test")};
    struct slice_writer *w = NULL;
    struct sm *sm = sm_new(1);
    struct buffer payload, row_bytes;
    buffer_init(&payload);
    buffer_init(&row_bytes);
    assert_int_equal(slice_begin(path, &about, &w, NULL), 0);
    for (uint64_t seq = 1; seq <= COMMANDS; seq++) {
        struct command c = {.kind = seq == 1 ? COMMAND_STARTED : COMMAND_EXPIRE,
                            .seq = seq,
                            .time_ns = START_NS + seq};
        if (seq == 1) {
            c.as.started = (struct command_started){.version = TEXT("1"),
                                                    .host = TEXT("h"),
                                                    .request_ttl_ns = SM_REQUEST_TTL_DEFAULT_NS};
        }
        struct sm_result result;
        buffer_clear(&payload);
        buffer_clear(&row_bytes);
        command_encode(&c, &payload);
        sm_apply(sm, &c, &result);
        sm_result_encode(&result, &row_bytes);
        struct record r = {.seq = seq,
                           .time_ns = c.time_ns,
                           .kind = (uint16_t)c.kind,
                           .semantics = SM_SEMANTICS,
                           .payload = buffer_as_text(&payload)};
        struct journal_row row = {seq == missing ? 0 : seq, buffer_as_text(&row_bytes)};
        assert_int_equal(slice_add(w, &r, &row), 0);
    }
    assert_int_equal(slice_commit(w, NULL), 0);
    buffer_release(&payload);
    buffer_release(&row_bytes);
    sm_free(sm);
}

// What a walk to the end says of the results.
static int rows_checked(uint64_t missing, struct journal_problem *problem)
{
    char folder[] = "/tmp/boskosd-test-walk-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/file", folder);
    file_make(path, missing);
    struct source *s = NULL;
    struct walk *w = NULL;
    assert_int_equal(source_open(&(struct source_options){.file = path}, &s, problem), 0);
    assert_int_equal(walk_open(s, COMMANDS, NULL, &w, problem), 0);
    int err = walk_check_rows(w, problem);
    if (err != 0) assert_non_null(strstr(problem->text, path));
    walk_close(w);
    source_close(s);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
    return err;
}

static void results_may_be_missing_at_the_end_only(void **state)
{
    (void)state;
    struct journal_problem problem = {0};
    assert_int_equal(rows_checked(0, &problem), 0);
    assert_int_equal(rows_checked(COMMANDS, &problem), 0);
    assert_int_equal(rows_checked(2, &problem), BOSKOS_E_CORRUPT);
    assert_int_equal(problem.seq, 2);
    assert_non_null(strstr(problem.text, "the result of command 2 is missing"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_may_be_missing_at_the_end_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
