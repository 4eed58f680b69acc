// Tests of base/log.h.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/log.h"
#include "tests/test_base.h"

#define LINE_BYTES_MAX 65536

static const char *buffer_c(struct buffer *b)
{
    buffer_char(b, '\0');
    b->size--;
    return b->data;
}

static uint64_t wall_fixed(void *context)
{
    return *(const uint64_t *)context;
}

static uint64_t mono_fixed(void *context)
{
    return *(const uint64_t *)context + 1;
}

struct log_fixture {
    struct log log;
    int ends[2];
    uint64_t now_ns;
    char line[LINE_BYTES_MAX];
};

static int log_setup(void **state)
{
    struct log_fixture *f = must_calloc(1, sizeof(*f));
    if (pipe(f->ends) != 0) return -1;
    f->now_ns = UINT64_C(1700000000123400000);
    f->log =
        (struct log){f->ends[1], LOG_INFO, LOG_FORMAT_TEXT, {wall_fixed, mono_fixed, &f->now_ns}};
    *state = f;
    return 0;
}

static int log_teardown(void **state)
{
    struct log_fixture *f = *state;
    close(f->ends[0]);
    close(f->ends[1]);
    free(f);
    return 0;
}

// What the pipe holds, as a string. One read gets one line, for each is written before.
static const char *logged(struct log_fixture *f)
{
    ssize_t size = read(f->ends[0], f->line, sizeof(f->line) - 1);
    assert_true(size > 0);
    f->line[size] = '\0';
    return f->line;
}

static void test_log_text(void **state)
{
    struct log_fixture *f = *state;
    const struct log *log = &f->log;

    log_event(log, LOG_INFO, "ready");
    assert_string_equal(logged(f), "time=\"2023-11-14T22:13:20.123Z\" level=info msg=ready\n");

    log_event(log, LOG_WARNING, "a \"b\" \\ c\nd", LOG_F_U64("seq", UINT64_MAX),
              LOG_F_I64("left", INT64_MIN), LOG_F_DURATION("took", 1500000000),
              LOG_F_DURATION("few", 1500), LOG_F_STRING("path", "/a/b.c"),
              LOG_F_STRING("quoted", "two words"));
    assert_string_equal(
        logged(f),
        "time=\"2023-11-14T22:13:20.123Z\" level=warning "
        "msg=\"a \\\"b\\\" \\\\ c\\nd\" seq=18446744073709551615 left=-9223372036854775808 "
        "took=1.5s few=\"1.5µs\" "
        "path=/a/b.c quoted=\"two words\"\n");

    log_event(log, LOG_ERROR, "x", LOG_F_STRING("empty", ""), LOG_F_STRING("none", NULL),
              LOG_F_TEXT("odd", TEXT("\"\\\n\r\t\0\x1b[2J\x7f\xff\xC3\xA4")),
              LOG_F_STRING("turn", "\xE2\x80\xAE \xE2\x80\xA8 \xC2\x85"));
    assert_string_equal(logged(f),
                        "time=\"2023-11-14T22:13:20.123Z\" level=error msg=x empty=\"\" none=\"\" "
                        "odd=\"\\\"\\\\\\n\\r\\t\\u0000\\u001b[2J\\u007f\\xff\xC3\xA4\" "
                        "turn=\"\\u202e \\u2028 \\u0085\"\n");
}

static void test_log_json(void **state)
{
    struct log_fixture *f = *state;
    f->log.format = LOG_FORMAT_JSON;

    log_event(&f->log, LOG_INFO, "ready");
    assert_string_equal(logged(f), "{\"level\":\"info\",\"msg\":\"ready\","
                                   "\"time\":\"2023-11-14T22:13:20.1234Z\"}\n");

    log_event(&f->log, LOG_WARNING, "a \"b\"\n", LOG_F_U64("seq", 17), LOG_F_I64("left", -1),
              LOG_F_DURATION("took", -300000000000),
              LOG_F_TEXT("odd", TEXT("\"\\\n\0\x1b\xff\xC3\xA4<")));
    json_error_t why;
    json_t *line = json_loads(logged(f), JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &why);
    assert_non_null(line);
    assert_string_equal(json_string_value(json_object_get(line, "level")), "warning");
    assert_string_equal(json_string_value(json_object_get(line, "msg")), "a \"b\"\n");
    assert_int_equal(json_integer_value(json_object_get(line, "seq")), 17);
    assert_int_equal(json_integer_value(json_object_get(line, "left")), -1);
    assert_string_equal(json_string_value(json_object_get(line, "took")), "-5m0s");
    const char odd[] = "\"\\\n\0\x1b\xEF\xBF\xBD\xC3\xA4<";
    const json_t *got = json_object_get(line, "odd");
    assert_int_equal(json_string_length(got), sizeof(odd) - 1);
    assert_memory_equal(json_string_value(got), odd, sizeof(odd) - 1);
    json_decref(line);
}

static void test_log_cuts(void **state)
{
    struct log_fixture *f = *state;
    static char longer[5000];
    memset(longer, 'a', sizeof(longer));

    struct buffer expected;
    buffer_init(&expected);
    buffer_format(&expected,
                  "time=\"2023-11-14T22:13:20.123Z\" level=info msg=x t=\"%.4096s...\"\n", longer);
    log_event(&f->log, LOG_INFO, "x", LOG_F_TEXT("t", text_of(longer, sizeof(longer))));
    assert_string_equal(logged(f), buffer_c(&expected));

    // A character over the cut goes altogether.
    longer[4094] = '\xE2';
    longer[4095] = '\x82';
    longer[4096] = '\xAC';
    buffer_clear(&expected);
    buffer_format(&expected,
                  "time=\"2023-11-14T22:13:20.123Z\" level=info msg=x t=\"%.4094s...\"\n", longer);
    log_event(&f->log, LOG_INFO, "x", LOG_F_TEXT("t", text_of(longer, sizeof(longer))));
    assert_string_equal(logged(f), buffer_c(&expected));
    buffer_release(&expected);
}

static void test_log_drops(void **state)
{
    struct log_fixture *f = *state;
    log_event((const struct log *)NULL, LOG_PANIC, "nobody");
    log_event(&f->log, LOG_DEBUG, "too fine");
    f->log.level = LOG_ERROR;
    log_event(&f->log, LOG_WARNING, "too fine");
    errno = EXDEV;
    log_event(&f->log, LOG_FATAL, "last");
    assert_int_equal(errno, EXDEV);
    assert_string_equal(logged(f), "time=\"2023-11-14T22:13:20.123Z\" level=fatal msg=last\n");

    f->log.fd = -1;
    errno = EXDEV;
    log_event(&f->log, LOG_FATAL, "nowhere");
    assert_int_equal(errno, EXDEV);
}

static void test_log_levels(void **state)
{
    (void)state;
    enum log_level level;
    assert_int_equal(log_level_parse("panic", &level), 0);
    assert_int_equal(level, LOG_PANIC);
    assert_int_equal(log_level_parse("info", &level), 0);
    assert_int_equal(level, LOG_INFO);
    assert_int_equal(log_level_parse("trace", &level), 0);
    assert_int_equal(level, LOG_TRACE);
    assert_int_equal(log_level_parse("WARN", &level), 0);
    assert_int_equal(level, LOG_WARNING);
    assert_int_equal(log_level_parse("", &level), BOSKOS_E_MALFORMED);
    assert_int_equal(log_level_parse("infos", &level), BOSKOS_E_MALFORMED);
    assert_int_equal(log_level_parse(NULL, &level), BOSKOS_E_MALFORMED);
    assert_int_equal(level, LOG_WARNING);
}

int test_base_log(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_log_text, log_setup, log_teardown),
        cmocka_unit_test_setup_teardown(test_log_json, log_setup, log_teardown),
        cmocka_unit_test_setup_teardown(test_log_cuts, log_setup, log_teardown),
        cmocka_unit_test_setup_teardown(test_log_drops, log_setup, log_teardown),
        cmocka_unit_test(test_log_levels),
    };
    return cmocka_run_group_tests_name("base_log", tests, NULL, NULL);
}
