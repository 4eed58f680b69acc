// Tests of base/cli.h.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cli.h"
#include "tests/test_base.h"

#define WORDS_MAX 16
#define WHY_BYTES 256

enum { NAME = 1, LOUD, QUICK, HELP };

static const struct cli_flag flags[] = {
    {"name", CLI_VALUE, NAME},  {"name-more", CLI_VALUE, NAME}, {"loud", CLI_BOOL, LOUD},
    {"quick", CLI_BOOL, QUICK}, {"h", CLI_ALONE, HELP},         {"help", CLI_ALONE, HELP},
    {NULL, CLI_ALONE, 0},
};

static bool is_number(const char *argument)
{
    return argument[1] >= '0' && argument[1] <= '9';
}

// Reads a line, whose words are parted by a blank, and says what it gave: name=value, a word in
// quotes, and at last what is wrong.
static void expect(const char *line, bool (*is_word)(const char *), const char *expected)
{
    char copy[WHY_BYTES], why[WHY_BYTES] = "", *words[WORDS_MAX + 1] = {"program"};
    int count = 1;
    (void)snprintf(copy, sizeof(copy), "%s", line);
    for (char *at = copy; *line != '\0' && at != NULL;) {
        assert_true(count < WORDS_MAX);
        words[count++] = at;
        at = strchr(at, ' ');
        if (at != NULL) *at++ = '\0';
    }
    struct cli c = {.argc = count,
                    .argv = words,
                    .flags = flags,
                    .unknown = "there is no such flag",
                    .is_word = is_word,
                    .why = why,
                    .why_size = sizeof(why)};
    struct buffer got;
    buffer_init(&got);
    struct cli_argument a;
    enum cli_step step;
    while ((step = cli_next(&c, &a)) == CLI_FLAG || step == CLI_WORD) {
        if (got.size > 0) buffer_char(&got, ' ');
        if (step == CLI_WORD)
            buffer_format(&got, "'%s'", a.text);
        else
            buffer_format(&got, "%s%s%s", a.flag->name, a.value != NULL ? "=" : "",
                          a.value != NULL ? a.value : "");
        assert_true((step == CLI_WORD) == (a.flag == NULL));
    }
    buffer_format(&got, "%s%s", why[0] != '\0' && got.size > 0 ? " " : "", why);
    assert_int_equal(step == CLI_WRONG, why[0] != '\0');
    buffer_char(&got, '\0');
    assert_string_equal(got.data, expected);
    buffer_release(&got);
}

static void test_cli_flags(void **state)
{
    (void)state;
    expect("", NULL, "");
    expect("--name x -name y --name=z -name=", NULL, "name=x name=y name=z name=");
    expect("--name=a=b --name --loud", NULL, "name=a=b name=--loud");
    expect("--name-more x --name y", NULL, "name-more=x name=y");
    expect("--loud -quick --loud=false -quick=", NULL, "loud quick loud=false quick=");
    expect("--loud false", NULL, "loud 'false'");
    expect("-h --help -help", NULL, "h help help");
    expect("one --loud two - three", NULL, "'one' loud 'two' '-' 'three'");
    expect("--loud -- --quick -- x", NULL, "loud '--quick' '--' 'x'");
    expect("--name -- --quick", NULL, "name=-- quick");
    expect("--", NULL, "");
    expect(" --loud", NULL, "'' loud");
    expect("-10m --name -10m -5", is_number, "'-10m' name=-10m '-5'");
}

static void test_cli_wrong(void **state)
{
    (void)state;
    expect("--loud --nope=1 --quick", NULL, "loud --nope=1: there is no such flag");
    expect("--nam x", NULL, "--nam: there is no such flag");
    expect("--name-m=x", NULL, "--name-m=x: there is no such flag");
    expect("--Name x", NULL, "--Name: there is no such flag");
    expect("---name x", NULL, "---name: there is no such flag");
    expect("--=x", NULL, "--=x: there is no such flag");
    expect("-=", NULL, "-=: there is no such flag");
    expect("-10m", NULL, "-10m: there is no such flag");
    expect("-x", is_number, "-x: there is no such flag");
    expect("--help=1", NULL, "--help=1: there is no such flag");
    expect("--loud --name", NULL, "loud --name: a value is missing");
    expect("-name", NULL, "-name: a value is missing");
}

static void test_cli_values(void **state)
{
    (void)state;
    char why[WHY_BYTES];
    struct cli c = {.why = why, .why_size = sizeof(why)};
    bool is_on = false;
    int64_t ns = 7;
    uint64_t number = 7;
    assert_true(cli_bool(&c, "loud", NULL, &is_on) && is_on);
    assert_true(cli_bool(&c, "loud", "F", &is_on) && !is_on);
    assert_true(cli_bool(&c, "loud", "True", &is_on) && is_on);
    assert_false(cli_bool(&c, "loud", "", &is_on));
    assert_string_equal(why, "--loud: \"\" is neither true nor false");
    assert_false(cli_bool(&c, "loud", "yes", &is_on));
    assert_true(cli_span(&c, "every", "1m30s", &ns));
    assert_int_equal(ns, INT64_C(90000000000));
    assert_false(cli_span(&c, "every", "0s", &ns));
    assert_string_equal(why, "--every: \"0s\" is not above zero");
    assert_false(cli_span(&c, "every", "30", &ns));
    assert_non_null(strstr(why, "--every: "));
    assert_int_equal(ns, INT64_C(90000000000));
    assert_true(cli_number("65535", 65535, &number));
    assert_int_equal(number, 65535);
    static const char *const bad[] = {"", "65536", "-1", "+1", "1x", " 1", "99999999999999999999"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(cli_number(bad[i], 65535, &number));
    assert_true(cli_number("18446744073709551615", UINT64_MAX, &number));
}

// Runs it with stdout and stderr in a file, and gives what came there.
static const char *said(int (*run)(void), int expected, char out[WHY_BYTES])
{
    int saved[2] = {dup(STDOUT_FILENO), dup(STDERR_FILENO)};
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(fflush(stdout), 0);
    assert_true(dup2(fileno(file), STDOUT_FILENO) >= 0 && dup2(fileno(file), STDERR_FILENO) >= 0);
    int code = run();
    (void)dup2(saved[0], STDOUT_FILENO);
    (void)dup2(saved[1], STDERR_FILENO);
    (void)close(saved[0]);
    (void)close(saved[1]);
    rewind(file);
    size_t size = fread(out, 1, WHY_BYTES - 1, file);
    (void)fclose(file);
    out[size] = '\0';
    assert_int_equal(code, expected);
    return out;
}

static int complain_oddly(void)
{
    cli_complain("test", "\"%s\" is none", "a\033[2J\n\t\x9b\xc2\x9b\xe2\x80\xae\xc3\xa9");
    return 0;
}

static int complain_long(void)
{
    char text[5000];
    memset(text, '\n', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    cli_complain("test", "%s", text);
    return 0;
}

static int print_help(void)
{
    return cli_print("test", TEXT("help\n"));
}

static int print_nowhere(void)
{
    int fd = open("/dev/full", O_WRONLY);
    assert_true(fd >= 0 && dup2(fd, STDOUT_FILENO) >= 0);
    (void)close(fd);
    int code = cli_print("test", TEXT("help\n"));
    clearerr(stdout);
    return code;
}

static void test_cli_says(void **state)
{
    (void)state;
    char out[WHY_BYTES];
    assert_string_equal(said(complain_oddly, 0, out),
                        "test: \"a\\u001b[2J\\n\\t\\x9b\\u009b\\u202e\xc3\xa9\" is none\n");
    assert_non_null(strstr(said(complain_long, 0, out), "test: \\n\\n"));
    assert_string_equal(said(print_help, 0, out), "help\n");
    assert_string_equal(said(print_nowhere, 1, out),
                        "test: cannot write to stdout: No space left on device\n");
}

int test_base_cli(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_flags),
        cmocka_unit_test(test_cli_wrong),
        cmocka_unit_test(test_cli_values),
        cmocka_unit_test(test_cli_says),
    };
    return cmocka_run_group_tests_name("base_cli", tests, NULL, NULL);
}
