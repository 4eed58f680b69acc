// Tests of base/, those of its log lines aside. The folder with the recorded durations is
// $BOSKOS_TESTS/conformance.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/duration.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"
#include "base/time.h"
#include "tests/test_base.h"

#define LINE_BYTES_MAX 65536
#define RECORDED_LINES_MAX 10000

static const char *buffer_c(struct buffer *b)
{
    buffer_char(b, '\0');
    b->size--;
    return b->data;
}

// assert.h

// Runs `end` in a child whose stderr is closed off, and returns how the child ended.
static int status_of(void (*end)(void))
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(STDERR_FILENO);
        // cmocka's handlers for SIGABRT are not for the child.
        signal(SIGABRT, SIG_DFL);
        end();
        _exit(99);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void end_by_assert(void)
{
    ASSERT(1 + 1 == 3);
}

static void end_by_realloc_of_nothing(void)
{
    free(must_realloc(NULL, 0));
}

static void test_assert(void **state)
{
    (void)state;
    ASSERT(1 + 1 == 2);
    int status = status_of(end_by_assert);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    status = status_of(end_by_realloc_of_nothing);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    status = status_of(out_of_memory);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 5);
}

static void test_must_allocate(void **state)
{
    (void)state;
    void *nothing = must_malloc(0);
    assert_non_null(nothing);
    free(nothing);
    nothing = must_calloc(0, 8);
    assert_non_null(nothing);
    free(nothing);

    char *zeros = must_calloc(3, 5);
    for (int i = 0; i < 15; i++)
        assert_int_equal(zeros[i], 0);
    zeros = must_realloc(zeros, 1000);
    zeros[999] = 1;
    free(zeros);
}

// buffer.h

static void test_buffer(void **state)
{
    (void)state;
    struct buffer b;
    buffer_init(&b);
    assert_null(b.data);
    assert_null(buffer_as_text(&b).data);

    buffer_append(&b, NULL, 0);
    buffer_text(&b, TEXT_NONE);
    assert_int_equal(b.size, 0);

    buffer_string(&b, "one ");
    buffer_text(&b, TEXT("two "));
    buffer_char(&b, '3');
    buffer_format(&b, " %s %d", "four", 5);
    assert_true(text_equal(buffer_as_text(&b), TEXT("one two 3 four 5")));

    size_t capacity = b.capacity;
    buffer_clear(&b);
    assert_int_equal(b.size, 0);
    assert_int_equal(b.capacity, capacity);

    buffer_release(&b);
    assert_null(b.data);
    assert_int_equal(b.capacity, 0);
}

static void test_buffer_grows(void **state)
{
    (void)state;
    struct buffer b;
    buffer_init(&b);
    for (unsigned i = 0; i < 100000; i++)
        buffer_char(&b, (char)('a' + i % 26));
    assert_int_equal(b.size, 100000);
    for (unsigned i = 0; i < 100000; i++)
        assert_int_equal(b.data[i], 'a' + i % 26);

    char *room = buffer_reserve(&b, 300000);
    memset(room, 'x', 300000);
    assert_int_equal(b.size, 100000);
    assert_true(b.capacity >= 400000);
    buffer_release(&b);

    assert_non_null(buffer_reserve(&b, 0));
    buffer_release(&b);
}

// Texts as long as the room, one less and one more: vsnprintf wants a place for its NUL.
static void test_buffer_format_at_the_edge(void **state)
{
    (void)state;
    char digits[401];
    for (int size = 0; size <= 400; size++) {
        memset(digits, '7', sizeof(digits));
        digits[size] = '\0';
        struct buffer b;
        buffer_init(&b);
        buffer_char(&b, '<');
        buffer_format(&b, "%s", digits);
        buffer_char(&b, '>');
        assert_int_equal(b.size, size + 2);
        assert_memory_equal(b.data + 1, digits, (size_t)size);
        assert_int_equal(b.data[size + 1], '>');
        buffer_release(&b);
    }
}

// clock.h

static uint64_t wall_fixed(void *context)
{
    return *(const uint64_t *)context;
}

static uint64_t mono_fixed(void *context)
{
    return *(const uint64_t *)context + 1;
}

static void test_clock(void **state)
{
    (void)state;
    struct clock system = clock_system();
    assert_true(clock_wall_ns(&system) > UINT64_C(1600000000) * NS_PER_S);
    uint64_t before = clock_mono_ns(&system);
    for (int i = 0; i < 1000; i++) {
        uint64_t now = clock_mono_ns(&system);
        assert_true(now >= before);
        before = now;
    }

    uint64_t stepped = 41;
    struct clock fixed = {wall_fixed, mono_fixed, &stepped};
    assert_int_equal(clock_wall_ns(&fixed), 41);
    stepped++;
    assert_int_equal(clock_mono_ns(&fixed), 43);
}

// duration.h

// Checks that `t` reads as `ns`, or, where `error` is not NULL, that it is refused with this text.
static void expect_duration(struct text t, int64_t ns, const char *error)
{
    struct buffer b;
    buffer_init(&b);
    int64_t got = 77;
    int err = duration_parse(t, &got, &b);
    if (error != NULL) {
        assert_int_equal(err, BOSKOS_E_MALFORMED);
        assert_int_equal(got, 77);
        assert_string_equal(buffer_c(&b), error);
    } else {
        if (err != 0) print_error("%s\n", buffer_c(&b));
        assert_int_equal(err, 0);
        assert_int_equal(b.size, 0);
        if (got != ns) print_error("%.*s: %" PRId64 " is not %" PRId64 "\n", TEXT_ARG(t), got, ns);
        assert_true(got == ns);
    }
    assert_int_equal(duration_parse(t, &got, NULL), err);
    buffer_release(&b);
}

static void expect_invalid(const char *t)
{
    char error[128];
    snprintf(error, sizeof(error), "time: invalid duration \"%s\"", t);
    expect_duration(text_from(t), 0, error);
}

// Plays one recorded line: {"text": T, "ns": N} or {"text": T, "error": E}.
static void play_duration(const char *line)
{
    json_error_t why;
    json_t *record = json_loads(line, JSON_ALLOW_NUL, &why);
    assert_non_null(record);
    const json_t *t = json_object_get(record, "text");
    const json_t *ns = json_object_get(record, "ns");
    const json_t *error = json_object_get(record, "error");
    assert_true(json_is_string(t) && (json_is_integer(ns) || json_is_string(error)));
    expect_duration(text_of(json_string_value(t), json_string_length(t)), json_integer_value(ns),
                    json_string_value(error));
    json_decref(record);
}

static void test_duration_recorded(void **state)
{
    (void)state;
    const char *tests = getenv("BOSKOS_TESTS");
    if (tests == NULL) {
        print_error("BOSKOS_TESTS must name the folder tests/\n");
        fail();
    }
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/conformance/duration.jsonl", tests);
    FILE *file = fopen(path, "r");
    assert_non_null(file);

    static char line[LINE_BYTES_MAX];
    int lines = 0;
    while (lines < RECORDED_LINES_MAX && fgets(line, sizeof(line), file) != NULL) {
        play_duration(line);
        lines++;
    }
    assert_true(feof(file));
    assert_true(lines > 0);
    fclose(file);
}

static void test_duration_limits(void **state)
{
    (void)state;
    expect_duration(TEXT("-9223372036854775808ns"), INT64_MIN, NULL);
    expect_duration(TEXT("-2562047h47m16.854775808s"), INT64_MIN, NULL);
    expect_duration(TEXT("9223372036854775807ns"), INT64_MAX, NULL);
    expect_duration(TEXT("+9223372036854775.807us"), INT64_MAX, NULL);
    expect_invalid("9223372036854775.808us");
    expect_invalid("-9223372036854775809ns");
    expect_invalid("18446744073709551616ns");
    expect_invalid("-9223372036854775808ns1ns");
    expect_invalid("2562048h");
    expect_duration(TEXT("9223372036854775808x"), 0,
                    "time: unknown unit \"x\" in duration \"9223372036854775808x\"");
    // Go adds in 64 bits without a sign and looks only at the sum: these two come out as nothing.
    expect_duration(TEXT("9223372036854775808ns9223372036854775808ns"), 0, NULL);
}

static void test_duration_fractions(void **state)
{
    (void)state;
    expect_duration(TEXT(".5s"), 500000000, NULL);
    expect_duration(TEXT("1.s"), 1000000000, NULL);
    expect_duration(TEXT("-.5m"), -30000000000, NULL);
    expect_duration(TEXT("0.9ns"), 0, NULL);
    expect_duration(TEXT("1.0000000000000000000000000000000000000001h"), 3600000000000, NULL);
    expect_duration(TEXT("0.3333333333333333333h"), 1200000000000, NULL);
    expect_duration(TEXT("0.9223372036854775807h"), 3320413933267, NULL);
    expect_duration(TEXT("0.9223372036854775808h"), 3320413933267, NULL);
    expect_duration(TEXT("0.830103483285477580700h"), 2988372539827, NULL);
    expect_duration(TEXT("39h9m14.425s"), 140954425000000, NULL);
    // Go divides the unit by the scale first, in doubles: zeros at the end may cost a nanosecond.
    expect_duration(TEXT("0.414m"), 24840000000, NULL);
    expect_duration(TEXT("0.41400000000000m"), 24839999999, NULL);

    // So many zeros that the scale is infinite: the fraction is then nothing.
    char zeros[404];
    memset(zeros, '0', sizeof(zeros));
    zeros[1] = '.';
    zeros[402] = '7';
    zeros[403] = 's';
    expect_duration(text_of(zeros, sizeof(zeros)), 0, NULL);

    expect_invalid(".");
    expect_invalid("-.");
    expect_invalid(".s");
    expect_duration(TEXT("1..5s"), 0, "time: missing unit in duration \"1..5s\"");
    expect_duration(TEXT("1.5.5s"), 0, "time: missing unit in duration \"1.5.5s\"");
}

static void test_duration_forms(void **state)
{
    (void)state;
    expect_duration(TEXT("0"), 0, NULL);
    expect_duration(TEXT("-0"), 0, NULL);
    expect_duration(TEXT("00"), 0, "time: missing unit in duration \"00\"");
    expect_duration(TEXT("0s"), 0, NULL);
    expect_duration(TEXT("1\xC2\xB5s"), 1000, NULL);
    expect_duration(TEXT("1\xCE\xBCs"), 1000, NULL);
    expect_duration(TEXT("1\xC2s"), 0, "time: unknown unit \"\\xc2s\" in duration \"1\\xc2s\"");
    expect_duration(TEXT("1h2m3s4ms5us6ns"), 3723004005006, NULL);
    expect_duration(TEXT("1s1s1h"), 3602000000000, NULL);
    expect_duration(TEXT_NONE, 0, "time: invalid duration \"\"");
    expect_invalid("-");
    expect_invalid("+-5s");
    expect_duration(TEXT("5s-3s"), 0, "time: unknown unit \"s-\" in duration \"5s-3s\"");
    expect_duration(TEXT("1s "), 0, "time: unknown unit \"s \" in duration \"1s \"");
    expect_invalid(" 1s");
    expect_duration(TEXT("1s\0"), 0, "time: unknown unit \"s\\x00\" in duration \"1s\\x00\"");
    expect_duration(TEXT("1\"\\"), 0, "time: unknown unit \"\\\"\\\\\" in duration \"1\\\"\\\\\"");
}

static void expect_format(int64_t ns, const char *expected)
{
    struct buffer b;
    buffer_init(&b);
    duration_format(ns, &b);
    assert_string_equal(buffer_c(&b), expected);

    int64_t back;
    assert_int_equal(duration_parse(buffer_as_text(&b), &back, NULL), 0);
    assert_true(back == ns);
    buffer_release(&b);
}

static void test_duration_format(void **state)
{
    (void)state;
    expect_format(0, "0s");
    expect_format(1, "1ns");
    expect_format(999, "999ns");
    expect_format(1000, "1\xC2\xB5s");
    expect_format(1100, "1.1\xC2\xB5s");
    expect_format(-999999, "-999.999\xC2\xB5s");
    expect_format(2200000, "2.2ms");
    expect_format(100000000, "100ms");
    expect_format(999999999, "999.999999ms");
    expect_format(1000000000, "1s");
    expect_format(1500000000, "1.5s");
    expect_format(3300000000, "3.3s");
    expect_format(60000000000, "1m0s");
    expect_format(-300000000000, "-5m0s");
    expect_format(245001000000, "4m5.001s");
    expect_format(3600000000000, "1h0m0s");
    expect_format(5400000000000, "1h30m0s");
    expect_format(18367001000000, "5h6m7.001s");
    expect_format(480000000001, "8m0.000000001s");
    expect_format(INT64_MAX, "2562047h47m16.854775807s");
    expect_format(INT64_MIN, "-2562047h47m16.854775808s");
}

static void test_duration_quote(void **state)
{
    (void)state;
    struct buffer b;
    buffer_init(&b);
    duration_quote(TEXT("a\"b\\c\n\0\x1f\x7f\x80\xff\xC3\xA4~ "), &b);
    assert_string_equal(buffer_c(&b), "\"a\\\"b\\\\c\\x0a\\x00\\x1f\x7f\\x80\\xff\\xc3\\xa4~ \"");
    buffer_clear(&b);
    duration_quote(TEXT_NONE, &b);
    assert_string_equal(buffer_c(&b), "\"\"");
    buffer_release(&b);
}

// error.h

static void test_error(void **state)
{
    (void)state;
    for (int error = BOSKOS_E_TRIMMED; error <= 0; error++) {
        assert_string_not_equal(boskos_error_text(error), "unknown error");
        for (int other = BOSKOS_E_TRIMMED; other < error; other++)
            assert_string_not_equal(boskos_error_text(error), boskos_error_text(other));
    }
    assert_string_equal(boskos_error_text(1), "unknown error");
    assert_string_equal(boskos_error_text(BOSKOS_E_TRIMMED - 1), "unknown error");
    assert_string_equal(boskos_error_text(INT_MIN), "unknown error");
}

// hash.h

static void expect_hash(struct hash128 h, uint64_t high, uint64_t low)
{
    assert_true(h.high == high);
    assert_true(h.low == low);
}

// The values are XXH3's published ones for no bytes: what is on disk depends on them.
static void test_hash_values(void **state)
{
    (void)state;
    assert_true(hash64(NULL, 0, 0) == UINT64_C(0x2D06800538D394C2));
    expect_hash(hash128(NULL, 0), UINT64_C(0x99AA06D3014798D8), UINT64_C(0x6001C324468D497F));
    assert_true(hash64("boskos", 6, 1) == hash64("boskos", 6, 1));
    assert_true(hash64("boskos", 6, 1) != hash64("boskos", 6, 2));
    assert_true(hash64("boskos", 6, 1) != hash64("boskot", 6, 1));
}

static void test_hash_chain(void **state)
{
    (void)state;
    static uint8_t joined[5000];
    struct hash128 before = {UINT64_C(0x0102030405060708), UINT64_C(0x090A0B0C0D0E0F10)};
    for (size_t i = 0; i < sizeof(joined); i++)
        joined[i] = (uint8_t)(i < 16 ? i + 1 : i * 7);

    // On both sides of the size from which the chain is hashed without a copy.
    for (size_t size = 0; size <= sizeof(joined) - 16; size += size >= 1000 && size < 1050 ? 1 : 50)
        assert_true(
            hash128_equal(hash128_chain(before, joined + 16, size), hash128(joined, 16 + size)));
    assert_true(hash128_equal(hash128_chain(before, NULL, 0), hash128(joined, 16)));
}

static void test_hash_secret(void **state)
{
    (void)state;
    static uint8_t bytes[300], secret[HASH_SECRET_BYTES], other[HASH_SECRET_BYTES];
    for (size_t i = 0; i < sizeof(secret); i++)
        secret[i] = (uint8_t)(i * 11 + 1);
    memcpy(other, secret, sizeof(other));
    other[HASH_SECRET_BYTES / 4] ^= 1;

    // Short and long bytes are hashed in different ways: all use the secret.
    for (size_t size = 33; size <= sizeof(bytes); size += 7) {
        struct hash128 h = hash128_secret(secret, bytes, size);
        assert_true(hash128_equal(h, hash128_secret(secret, bytes, size)));
        assert_false(hash128_equal(h, hash128(bytes, size)));
        assert_false(hash128_equal(h, hash128_secret(other, bytes, size)));
        bytes[size - 1] ^= 1;
        assert_false(hash128_equal(h, hash128_secret(secret, bytes, size)));
    }
}

static void test_hash_stream(void **state)
{
    (void)state;
    static uint8_t bytes[3000];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * i);

    struct hash128_stream *s = hash128_stream_new();
    assert_non_null(s);
    assert_true(hash128_equal(hash128_stream_value(s), hash128(NULL, 0)));
    hash128_stream_add(s, NULL, 0);
    size_t done = 0;
    for (size_t step = 1; done + step <= sizeof(bytes); step++) {
        hash128_stream_add(s, bytes + done, step);
        done += step;
        assert_true(hash128_equal(hash128_stream_value(s), hash128(bytes, done)));
    }
    hash128_stream_free(s);
    hash128_stream_free(NULL);
}

static void test_hash_arithmetic(void **state)
{
    (void)state;
    struct hash128 a = {1, UINT64_MAX}, b = {UINT64_MAX, 2}, zero = {0, 0};
    expect_hash(hash128_add(a, b), 1, 1);
    assert_true(hash128_equal(hash128_subtract(hash128_add(a, b), b), a));
    expect_hash(hash128_subtract(zero, (struct hash128){0, 1}), UINT64_MAX, UINT64_MAX);

    uint8_t bytes[HASH128_BYTES];
    struct hash128 h = {UINT64_C(0x0102030405060708), UINT64_C(0x090A0B0C0D0E0FF0)};
    hash128_encode(h, bytes);
    const uint8_t expected[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0xF0};
    assert_memory_equal(bytes, expected, sizeof(expected));
    assert_true(hash128_equal(hash128_decode(bytes), h));
}

// The next of the items in `list`, each of which ends with a bar. False after the last.
static bool next_item(const char **list, struct text *ret_item)
{
    const char *end = strchr(*list, '|');
    if (end == NULL) return false;
    *ret_item = text_of(*list, (size_t)(end - *list));
    *list = end + 1;
    return true;
}

// text.h

static void test_text(void **state)
{
    (void)state;
    assert_true(text_equal(TEXT_NONE, TEXT("")));
    assert_true(text_equal(text_from("ab"), TEXT("ab")));
    assert_false(text_equal(TEXT("a\0b"), TEXT("a\0c")));
    assert_null(text_from(NULL).data);
    assert_true(text_is_empty(TEXT("")));
    assert_true(text_compare(TEXT("a"), TEXT("b")) < 0);
    assert_true(text_compare(TEXT("a"), TEXT("ab")) < 0);
    assert_true(text_compare(TEXT("\xff"), TEXT("z")) > 0);
    assert_true(text_compare(TEXT_NONE, TEXT("")) == 0);
}

static size_t encode(uint32_t rune, char *to)
{
    if (rune < 0x80) {
        to[0] = (char)rune;
        return 1;
    }
    size_t size = rune < 0x800 ? 2 : rune < 0x10000 ? 3 : 4;
    for (size_t i = size - 1; i > 0; i--) {
        to[i] = (char)(0x80 | (rune & 0x3F));
        rune >>= 6;
    }
    static const uint32_t leads[] = {0, 0, 0xC0, 0xE0, 0xF0};
    to[0] = (char)(leads[size] | rune);
    return size;
}

// Every number there is: read back when it is a character, refused when it is a surrogate or too
// big.
static void test_text_every_rune(void **state)
{
    (void)state;
    for (uint32_t rune = 0; rune < 0x1FFFFF; rune++) {
        char bytes[4];
        size_t size = encode(rune, bytes);
        bool is_character = rune <= 0x10FFFF && !(rune >= 0xD800 && rune <= 0xDFFF);
        uint32_t got = 0xABCDEF01;
        uint32_t length = text_rune(text_of(bytes, size), &got);
        if (length != (is_character ? size : 0)) fail();
        if (got != (is_character ? rune : 0xABCDEF01)) fail();
        if (size > 1 && text_rune(text_of(bytes, size - 1), &got) != 0) fail();
        if (text_is_utf8(text_of(bytes, size)) != is_character) fail();
    }
}

static void test_text_bad_utf8(void **state)
{
    (void)state;
    const char *bad =
        "\x80|\xBF|\xC0\x80|\xC1\xBF|\xC2|\xC2 |\xC2\xC2|\xE0\x80\x80|\xE0\x9F\xBF|"
        "\xE2\x82|\xE2\x82 |\xE2 \x82|\xF0\x8F\xBF\xBF|\xF4\x90\x80\x80|\xF5\x80\x80\x80|"
        "\xF8\x88\x80\x80\x80|\xFE|\xFF|\xF0\x90\x80|\xF0\x90 \x80|\xF0 \x90\x80|";
    struct text item;
    while (next_item(&bad, &item)) {
        uint32_t rune;
        assert_int_equal(text_rune(item, &rune), 0);
        // At every place of a longer text, so that the stride of eight is tried.
        for (int before = 0; before < 17; before++) {
            char longer[64];
            int size = snprintf(longer, sizeof(longer), "%.*s%.*s%s", before, "aaaaaaaaaaaaaaaaa",
                                TEXT_ARG(item), "bbbbbbbbb");
            assert_false(text_is_utf8(text_of(longer, (size_t)size)));
        }
    }
    assert_true(text_is_utf8(TEXT_NONE));
    assert_true(text_is_utf8(TEXT("a\0b")));
    assert_true(text_is_utf8(TEXT("aaaaaaa\xE2\x82\xAC"
                                  "aaaaaaaaaaaaaa\xF0\x9F\x98\x80")));
}

// time.h

static void expect_parse(const char *t, uint64_t time_ns)
{
    uint64_t got;
    assert_int_equal(time_parse(text_from(t), &got), 0);
    assert_true(got == time_ns);
}

static void expect_time(uint64_t time_ns, const char *seconds, const char *nano)
{
    char got[TIME_TEXT_BYTES];
    assert_int_equal(time_format_seconds(time_ns, got), strlen(seconds));
    assert_string_equal(got, seconds);
    assert_int_equal(time_format_nano(time_ns, got), strlen(nano));
    assert_string_equal(got, nano);
    expect_parse(nano, time_ns);
}

static void test_time_format(void **state)
{
    (void)state;
    expect_time(0, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z");
    expect_time(1, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000001Z");
    expect_time(NS_PER_S - 1, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.999999999Z");
    expect_time(UINT64_C(1700000000) * NS_PER_S, "2023-11-14T22:13:20Z", "2023-11-14T22:13:20Z");
    expect_time(UINT64_C(1700000000123400000), "2023-11-14T22:13:20Z", "2023-11-14T22:13:20.1234Z");
    expect_time(UINT64_C(951782400) * NS_PER_S, "2000-02-29T00:00:00Z", "2000-02-29T00:00:00Z");
    expect_time(UINT64_MAX, "2554-07-21T23:34:33Z", "2554-07-21T23:34:33.709551615Z");
}

// Every day there is, against the C library, with a time of day that wanders.
static void test_time_every_day(void **state)
{
    (void)state;
    for (uint64_t day = 0; day <= UINT64_MAX / NS_PER_S / 86400; day++) {
        uint64_t time_s = day * 86400 + day * 7919 % 86400;
        if (time_s > UINT64_MAX / NS_PER_S) break;
        time_t seconds = (time_t)time_s;
        struct tm tm;
        char expected[TIME_TEXT_BYTES], got[TIME_TEXT_BYTES];
        assert_non_null(gmtime_r(&seconds, &tm));
        size_t size = strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%SZ", &tm);
        if (time_format_seconds(time_s * NS_PER_S, got) != size) fail();
        if (strcmp(got, expected) != 0) fail();
        uint64_t back;
        if (time_parse(text_of(got, size), &back) != 0 || back != time_s * NS_PER_S) fail();
    }
}

static void test_time_parse(void **state)
{
    (void)state;
    expect_parse("2023-11-14T22:13:20+00:00", UINT64_C(1700000000000000000));
    expect_parse("2023-11-15T00:13:20.5+02:00", UINT64_C(1700000000500000000));
    expect_parse("2023-11-14T16:43:20.000000001-05:30", UINT64_C(1700000000000000001));
    expect_parse("2023-11-14T22:13:20.120Z", UINT64_C(1700000000120000000));
    expect_parse("1969-12-31T23:00:00-01:00", 0);
    expect_parse("2554-07-22T00:34:33.709551615+01:00", UINT64_MAX);

    const char *bad =
        "Z|2023-11-14|2023-11-14T22:13:20|2023-11-14 22:13:20Z|2023-11-14t22:13:20z|"
        "2023-11-14T22:13:20Zx|2023-11-14T22:13:20.Z|2023-11-14T22:13:20,5Z|"
        "2023-11-14T22:13:20.1234567890Z|2023-11-14T22:13:20.5|2023-11-14T22:13:20+02|"
        "2023-11-14T22:13:20+0200|2023-11-14T22:13:20+24:00|2023-11-14T22:13:20+02:60|"
        "2023-11-14T22:13:20+02-00|2023-11-14T22:13:20+2a:00|2023-11-14T24:00:00Z|"
        "2023-11-14T22:60:20Z|2023-11-14T22:13:60Z|2023-13-14T22:13:20Z|"
        "2023-00-14T22:13:20Z|2023-11-31T22:13:20Z|2023-11-00T22:13:20Z|"
        "2023-02-29T22:13:20Z|2100-02-29T22:13:20Z|+023-11-14T22:13:20Z|"
        "1969-12-31T23:59:59.999999999Z|1970-01-01T00:00:00+00:01|0000-01-01T00:00:00Z|"
        "2554-07-21T23:34:33.709551616Z|2554-07-21T23:34:34Z|9999-12-31T23:59:59Z|";
    struct text item;
    uint64_t got = 77;
    while (next_item(&bad, &item)) {
        if (time_parse(item, &got) != BOSKOS_E_MALFORMED || got != 77) {
            print_error("taken: %.*s\n", TEXT_ARG(item));
            fail();
        }
    }
    assert_int_equal(time_parse(TEXT_NONE, &got), BOSKOS_E_MALFORMED);
    assert_int_equal(time_parse(TEXT("2023-11-14T22:13:20Z\0"), &got), BOSKOS_E_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_assert),
        cmocka_unit_test(test_must_allocate),
        cmocka_unit_test(test_buffer),
        cmocka_unit_test(test_buffer_grows),
        cmocka_unit_test(test_buffer_format_at_the_edge),
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_duration_recorded),
        cmocka_unit_test(test_duration_limits),
        cmocka_unit_test(test_duration_fractions),
        cmocka_unit_test(test_duration_forms),
        cmocka_unit_test(test_duration_format),
        cmocka_unit_test(test_duration_quote),
        cmocka_unit_test(test_error),
        cmocka_unit_test(test_hash_values),
        cmocka_unit_test(test_hash_chain),
        cmocka_unit_test(test_hash_secret),
        cmocka_unit_test(test_hash_stream),
        cmocka_unit_test(test_hash_arithmetic),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_text_every_rune),
        cmocka_unit_test(test_text_bad_utf8),
        cmocka_unit_test(test_time_format),
        cmocka_unit_test(test_time_every_day),
        cmocka_unit_test(test_time_parse),
    };
    int failed = cmocka_run_group_tests_name("base", tests, NULL, NULL);
    return failed + test_base_log() + test_base_cli();
}
