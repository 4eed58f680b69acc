// What the programs around the server share: lists, types, a config file that is followed.
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/watched.h"

enum { TYPES = 1, FILE_FLAG = 2 };

static const struct cli_flag flags[] = {{"resource-type", CLI_VALUE, TYPES},
                                        {"from", CLI_VALUE, FILE_FLAG},
                                        PROGRAM_DAEMON_FLAGS,
                                        {NULL, CLI_ALONE, 0}};

static bool argument(struct program *p, const struct cli_argument *a, void *context)
{
    struct program_types *types = context;
    if (a->flag == NULL) return cli_wrong(&p->cli, "\"%s\": takes no words", a->text);
    if (a->flag->number == TYPES)
        return program_list_add(p, a->flag->name, a->value, &types->given);
    types->file.path = a->value;
    return true;
}

static char path[] = "/tmp/boskosd-test-program-XXXXXX";

static void put(const char *text)
{
    char fresh[64];
    (void)snprintf(fresh, sizeof(fresh), "%s.fresh", path);
    FILE *f = fopen(fresh, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(rename(fresh, path), 0);
}

static void check_types(struct program *p, struct program_types *types, const char *wanted)
{
    char joined[256] = "";
    assert_int_equal(program_types_refresh(p, types), 0);
    for (size_t i = 0; i < types->all.count; i++) {
        size_t at = strlen(joined);
        (void)snprintf(joined + at, sizeof(joined) - at, "%s%s", i > 0 ? "," : "",
                       types->all.items[i]);
    }
    assert_string_equal(joined, wanted);
}

static void init(struct program *p, int fd)
{
    program_init(p, "boskos-test", "test", "help\n");
    p->log.fd = fd;
}

static void test_types_follow_the_file(void **state)
{
    (void)state;
    struct program p;
    struct program_types types = {0};
    int code = -1, quiet = open("/dev/null", O_WRONLY);
    init(&p, quiet);
    char *argv[] = {"x",  "--resource-type",   "b,,a",         "-resource-type=c,b", "--from",
                    path, "--log-level=error", "--boskos-url", "http://x",           NULL};
    assert_true(program_read(&p, 9, argv, flags, argument, &types, &code));
    assert_string_equal(p.url, "http://x");
    assert_int_equal(p.log.level, LOG_ERROR);

    assert_int_equal(unlink(path), 0);
    assert_int_equal(program_types_refresh(&p, &types), PROGRAM_FAILED);
    put("resources:\n- {type: z, names: [n1]}\n- {type: a, names: [n2]}\n");
    check_types(&p, &types, "b,a,c,z");
    check_types(&p, &types, "b,a,c,z");
    put("resources: {");
    check_types(&p, &types, "b,a,c,z");
    assert_true(types.file.is_bad);
    assert_int_equal(unlink(path), 0);
    check_types(&p, &types, "b,a,c,z");
    put("resources:\n- {type: y, names: [n1]}\n");
    check_types(&p, &types, "b,a,c,y");
    assert_false(types.file.is_bad);
    program_types_free(&types);
    assert_int_equal(close(quiet), 0);
}

static void test_wrong_command_lines(void **state)
{
    (void)state;
    static char *const wrong[][3] = {{"x", "--bogus", NULL},
                                     {"x", "word", NULL},
                                     {"x", "--log-level=loud", NULL},
                                     {"x", "--log-format=xml", NULL},
                                     {"x", "--username", NULL}};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct program p;
        struct program_types types = {0};
        int code = -1;
        init(&p, 2);
        assert_false(
            program_read(&p, 2, (char **)(uintptr_t)wrong[i], flags, argument, &types, &code));
        assert_int_equal(code, PROGRAM_USAGE);
        program_types_free(&types);
    }
}

static void test_a_client_that_cannot_be_made(void **state)
{
    (void)state;
    struct program p;
    init(&p, 2);
    p.url = "nonsense";
    assert_int_equal(program_end(&p, program_start(&p)), PROGRAM_USAGE);
    init(&p, 2);
    p.token_file = "/nonexistent";
    assert_int_equal(program_end(&p, program_start(&p)), PROGRAM_FAILED);
}

static void test_a_signal_ends_it(void **state)
{
    (void)state;
    struct program p;
    init(&p, 2);
    p.end_within_ms = 60000;
    assert_int_equal(program_start(&p), 0);
    assert_true(program_sleep(&p, 1));
    assert_true(program_time_left_ms(&p) == INT64_MAX);
    assert_int_equal(kill(getpid(), SIGTERM), 0);
    assert_false(program_sleep(&p, 60000));
    assert_true(program_is_ending(&p));
    assert_int_equal(program_signal(&p), SIGTERM);
    assert_in_range(program_time_left_ms(&p), 1, 60000);
    p.end_within_ms = 0;
    assert_int_equal(program_time_left_ms(&p), 0);
    struct boskos_call call = program_call(&p);
    struct boskos_metric *metric;
    assert_int_equal(boskos_metric(p.client, "t", &metric, &call), BOSKOS_ERR_CANCELLED);
    assert_int_equal(program_end(&p, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types_follow_the_file),
        cmocka_unit_test(test_wrong_command_lines),
        cmocka_unit_test(test_a_client_that_cannot_be_made),
        cmocka_unit_test(test_a_signal_ends_it),
    };
    int fd = mkstemp(path);
    if (fd < 0) return 1;
    (void)close(fd);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)unlink(path);
    return failed;
}
