// Tests of config/. The folder with the recorded configs is $BOSKOS_TESTS/conformance.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "config/config.h"

#include "base/banned.h"

#define LINE_BYTES_MAX 65536
#define RECORDED_LINES_MAX 10000

// The shortest good config.
#define GOOD "resources:\n- type: a\n  names: [x]\n"

static struct config *parse_good(const char *yaml)
{
    struct config *c = NULL;
    struct config_report report;
    int err = config_parse(text_from(yaml), &c, &report);
    if (err != 0) fail_msg("%.*s in:\n%s", TEXT_ARG(report.joined), yaml);
    assert_int_equal(report.errors_count, 0);
    assert_true(text_is_empty(report.joined));
    config_report_release(&report);
    return c;
}

// What a report says: a line of its own for each error, then each warning, with their lines before
// them.
static void render(const struct config_report *report, struct buffer *out)
{
    for (size_t i = 0; i < report->errors_count; i++) {
        buffer_format(out, "%" PRIu32 ": ", report->errors[i].line);
        buffer_text(out, report->errors[i].text);
        buffer_char(out, '\n');
    }
    for (size_t i = 0; i < report->warnings_count; i++) {
        buffer_format(out, "%" PRIu32 "? ", report->warnings[i].line);
        buffer_text(out, report->warnings[i].text);
        buffer_char(out, '\n');
    }
}

struct report_row {
    const char *yaml;
    const char *expected;
};

static void check_reports(const struct report_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct buffer out;
        buffer_init(&out);
        struct config *c = NULL;
        struct config_report report;
        int err = config_parse(text_from(rows[i].yaml), &c, &report);
        assert_int_equal(err == 0, report.errors_count == 0);
        assert_int_equal(err == 0, c != NULL);
        render(&report, &out);
        if (!text_equal(buffer_as_text(&out), text_from(rows[i].expected)))
            fail_msg("%s-- expected:\n%s-- got:\n%.*s", rows[i].yaml, rows[i].expected,
                     TEXT_ARG(buffer_as_text(&out)));
        config_free(c);
        config_report_release(&report);
        buffer_release(&out);
    }
}

// The one error of a text that is beyond a limit, or malformed, must begin like this.
static void check_error(struct text yaml, int expected_err, const char *expected)
{
    struct config *c = NULL;
    struct config_report report;
    int err = config_parse(yaml, &c, &report);
    assert_null(c);
    assert_int_equal(err, expected_err);
    assert_int_equal(report.errors_count, 1);
    struct text begin = text_of(report.joined.data, strlen(expected));
    if (report.joined.size < begin.size || !text_equal(begin, text_from(expected)))
        fail_msg("expected: %s, got: %.*s", expected, TEXT_ARG(report.joined));
    config_report_release(&report);
}

// What was recorded

static json_t *entry_as_json(const struct config_entry *e)
{
    json_t *o = json_object();
    json_object_set_new(o, "type", json_stringn(e->type.data, e->type.size));
    json_object_set_new(o, "state", json_stringn(e->state.data, e->state.size));
    if (!e->is_dynamic) {
        json_t *names = json_array();
        for (size_t i = 0; i < e->names_count; i++)
            json_array_append_new(names, json_stringn(e->names[i].data, e->names[i].size));
        json_object_set_new(o, "names", names);
        return o;
    }
    json_object_set_new(o, "min-count", json_integer(e->min_count));
    json_object_set_new(o, "max-count", json_integer(e->max_count));
    if (e->has_lifespan) json_object_set_new(o, "lifespan_ns", json_integer(e->lifespan_ns));
    if (e->needs_count > 0) {
        json_t *needs = json_object();
        for (size_t i = 0; i < e->needs_count; i++)
            json_object_setn_new(needs, e->needs[i].type.data, e->needs[i].type.size,
                                 json_integer(e->needs[i].count));
        json_object_set_new(o, "needs", needs);
    }
    return o;
}

static void play(const json_t *recorded, size_t number)
{
    const json_t *yaml = json_object_get(recorded, "yaml");
    const char *error = json_string_value(json_object_get(recorded, "error"));
    struct config *c = NULL;
    struct config_report report;
    int err = config_parse(text_of(json_string_value(yaml), json_string_length(yaml)), &c, &report);
    if (error != NULL) {
        assert_int_not_equal(err, 0);
        assert_true(report.errors_count > 0);
        if (strcmp(error, "*") != 0 && !text_equal(report.joined, text_from(error)))
            fail_msg("line %zu: %.*s", number, TEXT_ARG(report.joined));
    } else {
        if (err != 0) fail_msg("line %zu: %.*s", number, TEXT_ARG(report.joined));
        json_t *got = json_array();
        for (size_t i = 0; i < c->entries_count; i++)
            json_array_append_new(got, entry_as_json(&c->entries[i]));
        if (!json_equal(got, json_object_get(recorded, "parsed")))
            fail_msg("line %zu: %s", number, json_dumps(got, 0));
        json_decref(got);
    }
    config_free(c);
    config_report_release(&report);
}

static void test_recorded(void **state)
{
    (void)state;
    char path[4096];
    snprintf(path, sizeof(path), "%s/conformance/config.jsonl", getenv("BOSKOS_TESTS"));
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    static char line[LINE_BYTES_MAX];
    size_t count = 0;
    while (count < RECORDED_LINES_MAX && fgets(line, sizeof(line), file) != NULL) {
        json_t *recorded = json_loads(line, 0, NULL);
        assert_non_null(recorded);
        play(recorded, ++count);
        json_decref(recorded);
    }
    assert_true(count > 40);
    fclose(file);
}

// Rules and their lines

static void test_rules(void **state)
{
    (void)state;
    static const struct report_row rows[] = {
        {GOOD, ""},
        {"", "0: empty config\n"},
        {"# nothing\n", "0: empty config\n"},
        {"~\n", "0: empty config\n"},
        {"\nresources: null\n", "2: empty config\n"},
        {"resources: [null]\n", "1: .0.type: must be set\n1: .0.max-count: must be >0\n"},
        {"resources:\n- names: [x]\n  type:\n", "3: .0.type: must be set\n"},
        {"resources:\n- type: d\n  max-count: 0\n  min-count: 1\n",
         "3: .0.max-count: must be >0\n4: .0.min-count: must be <= .0.max-count\n"},
        {"resources:\n- type: d\n  max-count: -1\n",
         "2: .0.min-count: must be <= .0.max-count\n3: .0.max-count: must be >0\n"},
        {"resources:\n- type: d\n  max-count: 1\n  min-count: -1\n",
         "4: .0.min-count: must be >=0\n"},
        {"resources:\n- type: a\n  names:\n  - x\n  - w\n- type: b\n  max-count: 1\n  names:\n  - "
         "v\n"
         "  - w\n  - x\n",
         "7: .1.max-count must be unset when the names property is set\n"
         "10: .1.names.1(w) is a duplicate\n11: .1.names.2(x) is a duplicate\n"},
        {"resources:\n- type: d\n  max-count: 3\n  needs: {d: 2}\n- type: e\n  max-count: 1\n"
         "  needs:\n    f: 0\n    d: 1\n    c: 1\n",
         "4: not enough resource of type d for provisioning\n"
         "8: need for resource f that does not exist\n"
         "10: need for resource c that does not exist\n"
         "10: not enough resource of type c for provisioning\n"},
        {"resources:\n- type: d\n  max-count: 4611686018427387904\n  needs: {a: 2}\n"
         "- type: a\n  max-count: 9223372036854775807\n- type: a\n  max-count: 1\n",
         "4: not enough resource of type a for provisioning\n"},
        {"resources:\n- type: d\n  max-count: 1\n  needs: {a: -9223372036854775808, b: -1}\n"
         "- type: a\n  names: [x]\n- type: b\n  names: [z]\n",
         ""},
    };
    check_reports(rows, sizeof(rows) / sizeof(rows[0]));
}

// Boskos's order in the joined text, the file's order in the list.
static void test_orders(void **state)
{
    (void)state;
    struct config *c = NULL;
    struct config_report report;
    static const char yaml[] = "resources:\n"
                               "- names: [x, x]\n"
                               "  max-count: 2\n"
                               "  min-count: 1\n"
                               "- type: d\n"
                               "  needs: {b: 0, a: 0}\n"
                               "  max-count: 0\n";
    assert_int_equal(config_parse(text_from(yaml), &c, &report), BOSKOS_E_MALFORMED);
    assert_true(text_equal(
        report.joined,
        TEXT("[.0.type: must be set, .0.min-count must be unset when the names property is set, "
             ".0.max-count must be unset when the names property is set, .0.names.1(x) is a "
             "duplicate, .1.max-count: must be >0, need for resource a that does not exist, need "
             "for resource b that does not exist]")));
    static const uint32_t lines[] = {2, 2, 3, 4, 6, 6, 7};
    assert_int_equal(report.errors_count, sizeof(lines) / sizeof(lines[0]));
    for (size_t i = 0; i < report.errors_count; i++)
        assert_int_equal(report.errors[i].line, lines[i]);
    config_report_release(&report);
}

static void test_same_text_once(void **state)
{
    (void)state;
    struct config *c = NULL;
    struct config_report report;
    static const char yaml[] = "resources:\n- <<: 1\n  type: a\n  names: [x]\n"
                               "- <<: 2\n  type: a\n  names: [y]\n";
    assert_int_equal(config_parse(text_from(yaml), &c, &report), BOSKOS_E_MALFORMED);
    assert_int_equal(report.errors_count, 2);
    assert_int_equal(report.errors[0].line, 2);
    assert_int_equal(report.errors[1].line, 5);
    assert_true(text_equal(report.joined, TEXT("<<: must be a mapping or a list of mappings")));
    config_report_release(&report);
}

static void test_names(void **state)
{
    (void)state;
    static const char *good[] = {"a", "0", "a-b", "a--b", "a.b", "1.2.3", "a-1.b-2"};
    static const char *bad[] = {"-a", "a-",  ".a", "a.",  "a..b", "a-.b",
                                "A",  "a_b", "é",  "a b", "\"\"", "\"a\\n\""};
    char yaml[512];
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        snprintf(yaml, sizeof(yaml), "resources: [{type: a, names: ['%s']}]", good[i]);
        struct config *c = parse_good(yaml);
        assert_true(text_equal(c->entries[0].names[0], text_from(good[i])));
        config_free(c);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(yaml, sizeof(yaml), "resources: [{type: a, names: [%s]}]", bad[i]);
        check_error(text_from(yaml), BOSKOS_E_MALFORMED, ".0.names.0(");
    }
    char name[255];
    memset(name, 'a', sizeof(name));
    snprintf(yaml, sizeof(yaml), "resources: [{type: a, names: [%.253s]}]", name);
    config_free(parse_good(yaml));
    char expected[512];
    snprintf(yaml, sizeof(yaml), "resources: [{type: a, names: [%.254s]}]", name);
    snprintf(expected, sizeof(expected),
             ".0.names.0(%.254s) is invalid: [must be no more than 253 characters]", name);
    check_error(text_from(yaml), BOSKOS_E_MALFORMED, expected);
    name[253] = '_';
    snprintf(yaml, sizeof(yaml), "resources: [{type: a, names: [%.254s]}]", name);
    snprintf(expected, sizeof(expected),
             ".0.names.0(%.254s) is invalid: [must be no more than 253 characters a lowercase",
             name);
    check_error(text_from(yaml), BOSKOS_E_MALFORMED, expected);
}

// Kinds of values

static void test_wrong_kinds(void **state)
{
    (void)state;
    static const struct report_row rows[] = {
        {"hello\n", "1: the config must be a mapping\n"},
        {"resources: {a: b}\n", "1: resources: must be a list\n"},
        {"resources:\n- type: [t]\n  state: {a: b}\n  names: [x, [y], {a: b}]\n  min-count: one\n"
         "  max-count: \"1\"\n  lifespan: [1]\n  needs: [a]\n  config: c\n- 17\n- type: d\n",
         "2: .0.type: must be a string\n"
         "3: .0.state: must be a string\n"
         "4: .0.names.1: must be a string\n"
         "4: .0.names.2: must be a string\n"
         "5: .0.min-count: must be a whole number\n"
         "6: .0.max-count: must be a whole number\n"
         "7: .0.lifespan: must be a duration\n"
         "8: .0.needs: must be a mapping\n"
         "9: .0.config: must be a mapping\n"
         "10: .1: must be a mapping\n"
         "11: .2.max-count: must be >0\n"},
        {"resources:\n- type: d\n  max-count: 1\n  lifespan: 1d\n  needs:\n    a: one\n"
         "  config: {type: [t], content: {a: b}}\n",
         "4: .0.lifespan: time: unknown unit \"d\" in duration \"1d\"\n"
         "6: .0.needs.a: must be a whole number\n"
         "7: .0.config.type: must be a string\n"
         "7: .0.config.content: must be a string\n"},
        // What an entry that cannot be read has is not missed elsewhere.
        {"resources:\n- [type, a]\n- type: d\n  max-count: 1\n  needs: {a: 1}\n",
         "2: .0: must be a mapping\n"},
    };
    check_reports(rows, sizeof(rows) / sizeof(rows[0]));
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t number;
    } good[] = {
        {"1", 1},
        {"+3", 3},
        {"0x10", 16},
        {"0o17", 15},
        {"0b11", 3},
        {"010", 8},
        {"09", 9},
        {"1_000", 1000},
        {"2.0", 2},
        {"2.", 2},
        {".5e1", 5},
        {"1e3", 1000},
        {"1500e-2", 15},
        {"0x_1", 1},
        {"!!int '7'", 7},
        {"!!float 7", 7},
        {"20E+0", 20},
        {"0x7fffffff", INT32_MAX},
        {"9223372036854775807", INT64_MAX},
    };
    char yaml[512];
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        snprintf(yaml, sizeof(yaml), "resources: [{type: d, max-count: %s}]", good[i].text);
        struct config *c = parse_good(yaml);
        assert_int_equal(c->entries[0].max_count, good[i].number);
        config_free(c);
    }
    struct config *c = parse_good("resources:\n- type: d\n  max-count: 1\n  needs: {d: -0x10}\n"
                                  "  lifespan: -9223372036854775808\n");
    assert_int_equal(c->entries[0].needs[0].count, -16);
    assert_true(c->entries[0].lifespan_ns == INT64_MIN);
    config_free(c);
}

static void test_no_numbers(void **state)
{
    (void)state;
    static const char *bad[] = {
        "2.5",
        "true",
        "'3'",
        "!!str 3",
        "!x 3",
        "x",
        "1e-1",
        "1e400",
        "9223372036854775808",
        "1.2.3",
        "0x",
        "0o8x",
        "--1",
        "+",
        "-",
        ".",
        "1e",
        "e1",
        "_1",
        "1 2",
        ".inf",
        ".nan",
        "0xg",
        "[]",
        "{}",
        "1:30",
        "-9223372036854775809",
        "\"1\\0\"",
        "1000000000000000000000000000000000000000000000000000000000000000000000000000"};
    char yaml[512];
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(yaml, sizeof(yaml), "resources: [{type: d, max-count: %s}]", bad[i]);
        check_error(text_from(yaml), BOSKOS_E_MALFORMED, ".0.max-count: must be a whole number");
    }
}

static void test_texts(void **state)
{
    (void)state;
    struct config *c = parse_good("resources:\n"
                                  "- {type: 1.50, state: yes, names: [0x1f, 1e3, no]}\n"
                                  "- {type: !!str null, state: 'null', names: [null-1]}\n"
                                  "- {type: n, state: Null, names: [y, 2001-01-01]}\n");
    assert_true(text_equal(c->entries[0].type, TEXT("1.50")));
    assert_true(text_equal(c->entries[0].state, TEXT("yes")));
    assert_true(text_equal(c->entries[0].names[0], TEXT("0x1f")));
    assert_true(text_equal(c->entries[0].names[2], TEXT("no")));
    assert_true(text_equal(c->entries[1].type, TEXT("null")));
    assert_true(text_equal(c->entries[1].state, TEXT("null")));
    assert_true(text_equal(c->entries[2].state, TEXT("free")));
    assert_int_equal(c->entries[2].line, 4);
    config_free(c);
}

// What only YAML has

static void test_merge_keys(void **state)
{
    (void)state;
    struct config *c =
        parse_good("x: &x {type: tx, state: sx, max-count: 7}\n"
                   "y: &y {<<: *x, state: sy, min-count: 1}\n"
                   "resources:\n"
                   "- {<<: *x, type: own}\n"
                   "- {type: own, <<: *y}\n"
                   "- {<<: [*x, *y]}\n"
                   "- {<<: [*y, *x]}\n"
                   "- {<<: *x, <<: *y}\n"
                   "- {<<: {type: b, <<: {max-count: 2}}, needs: {<<: {own: 0, b: 0}, b: 1}}\n");
    static const struct {
        const char *type, *state;
        int64_t min, max;
    } expected[] = {{"own", "sx", 0, 7}, {"own", "sy", 1, 7}, {"tx", "sx", 1, 7},
                    {"tx", "sy", 1, 7},  {"tx", "sy", 1, 7},  {"b", "free", 0, 2}};
    assert_int_equal(c->entries_count, 6);
    for (size_t i = 0; i < c->entries_count; i++) {
        assert_true(text_equal(c->entries[i].type, text_from(expected[i].type)));
        assert_true(text_equal(c->entries[i].state, text_from(expected[i].state)));
        assert_int_equal(c->entries[i].min_count, expected[i].min);
        assert_int_equal(c->entries[i].max_count, expected[i].max);
    }
    assert_int_equal(c->entries[5].needs_count, 2);
    assert_true(text_equal(c->entries[5].needs[0].type, TEXT("b")));
    assert_int_equal(c->entries[5].needs[0].count, 1);
    assert_true(text_equal(c->entries[5].needs[1].type, TEXT("own")));
    assert_int_equal(c->entries[5].needs[1].count, 0);
    config_free(c);

    static const struct report_row rows[] = {
        {"resources:\n- type: a\n  names: [x]\n  <<: null\n",
         "4: <<: must be a mapping or a list of mappings\n"},
        {"resources:\n- type: a\n  names: [x]\n  <<: [{state: s}, [{state: t}]]\n",
         "4: <<: must be a mapping or a list of mappings\n"},
        {"resources:\n- type: a\n  names: [x]\n  '<<': {state: s}\n", "4? unknown key \"<<\"\n"},
    };
    check_reports(rows, sizeof(rows) / sizeof(rows[0]));
}

static void test_warnings(void **state)
{
    (void)state;
    static const struct report_row rows[] = {
        {"version: 3\n" GOOD "  color: blue\n  ? [k]\n  : v\n",
         "1? unknown key \"version\"\n5? unknown key \"color\"\n"
         "6? a key that is not a scalar is ignored\n"},
        {"resources:\n- type: b\n  names: [x]\n  type: a\n",
         "4? key \"type\" given twice, the last one counts\n"},
        {"resources:\n- type: d\n  max-count: 1\n  needs: {d: 9, d: 1}\n",
         "4? key \"d\" given twice, the last one counts\n"},
        // Boskos takes these too.
        {"resources:\n- Type: a\n  NAMES: [x]\n",
         "2? key \"Type\" is taken in small letters\n3? key \"NAMES\" is taken in small letters\n"},
        // Once, however often the place is read.
        {"resources:\n- &e\n  type: d\n  max-count: 1\n  color: red\n- *e\n- <<: *e\n",
         "5? unknown key \"color\"\n"},
    };
    check_reports(rows, sizeof(rows) / sizeof(rows[0]));

    struct config *c =
        parse_good("resources: [{TYPE: b, type: a, Type: c, names: [x], names: [y]}]");
    assert_true(text_equal(c->entries[0].type, TEXT("a")));
    assert_true(text_equal(c->entries[0].names[0], TEXT("y")));
    config_free(c);
}

static void test_syntax_errors(void **state)
{
    (void)state;
    static const struct report_row rows[] = {
        {GOOD "- {\n", "5: yaml: while parsing a flow node, did not find expected node content\n"},
        {GOOD "x: *b\n", "4: yaml: unknown anchor b\n"},
        {"a: 1\nx: &b\n- 1\n- [*b]\n", "4: yaml: contains itself: anchor b\n"},
        {"a: 1\nb: \x01\n", "2: yaml: control characters are not allowed\n"},
        {"a: 1\nb: \xff\n", "2: yaml: invalid leading UTF-8 octet\n"},
        {GOOD "---\n[\n", ""},
        {"%YAML 1.2\n# the config\n---\n" GOOD, ""},
    };
    check_reports(rows, sizeof(rows) / sizeof(rows[0]));
    check_error(TEXT("a: 1\nb: \0\n"), BOSKOS_E_MALFORMED, "yaml: control characters");
}

// Limits

static void append_times(struct buffer *out, const char *string, size_t times)
{
    for (size_t i = 0; i < times; i++)
        buffer_string(out, string);
}

static void test_limits_of_form(void **state)
{
    (void)state;
    struct buffer yaml;
    buffer_init(&yaml);

    append_times(&yaml, "[", CONFIG_DEPTH_MAX + 1);
    check_error(buffer_as_text(&yaml), BOSKOS_E_TOO_LARGE, "yaml: nested more than 64 deep");

    // The same depth by aliases.
    buffer_clear(&yaml);
    buffer_string(&yaml, "a0: &a0 [1]\n");
    for (int i = 1; i < 70; i++)
        buffer_format(&yaml, "a%d: &a%d [*a%d]\n", i, i, i - 1);
    check_error(buffer_as_text(&yaml), BOSKOS_E_TOO_LARGE, "yaml: nested more than 64 deep");

    // A billion laughs, in a place nobody reads and in merge keys.
    for (size_t form = 0; form < 2; form++) {
        buffer_clear(&yaml);
        buffer_string(&yaml, "a0: &a0 {lol: 1}\n");
        for (int i = 1; i < 12; i++) {
            buffer_format(&yaml, "a%d: &a%d %s[", i, i, form == 0 ? "" : "{<<: ");
            for (int j = 0; j < 9; j++)
                buffer_format(&yaml, "%s*a%d", j == 0 ? "" : ",", i - 1);
            buffer_string(&yaml, form == 0 ? "]\n" : "]}\n");
        }
        buffer_string(&yaml, GOOD);
        check_error(buffer_as_text(&yaml), BOSKOS_E_TOO_LARGE, "yaml: more than 8000000 nodes");
    }

    buffer_clear(&yaml);
    for (int i = 0; i < 65; i++)
        buffer_format(&yaml, "# %d\n\n%%TAG !a%d! x:\n", i, i);
    buffer_string(&yaml, "---\n" GOOD);
    check_error(buffer_as_text(&yaml), BOSKOS_E_TOO_LARGE, "yaml: more than 64 directives");

    static char nothing[1] = " ";
    check_error(text_of(nothing, CONFIG_BYTES_MAX + 1), BOSKOS_E_TOO_LARGE,
                "yaml: more than 67108864 bytes");
    buffer_release(&yaml);
}

static void test_limits_of_texts(void **state)
{
    (void)state;
    struct buffer yaml;
    buffer_init(&yaml);
    static const char *const forms[] = {"resources: [{names: [x], state: s, type: ",
                                        "resources: [{names: [x], type: t, state: "};
    for (size_t form = 0; form < 2; form++) {
        for (size_t more = 0; more < 2; more++) {
            buffer_clear(&yaml);
            buffer_string(&yaml, forms[form]);
            append_times(&yaml, "t", CONFIG_TEXT_MAX + more);
            buffer_string(&yaml, "}]");
            buffer_char(&yaml, '\0');
            yaml.size--;
            if (more == 0)
                config_free(parse_good(yaml.data));
            else
                check_error(buffer_as_text(&yaml), BOSKOS_E_TOO_LARGE,
                            form == 0 ? ".0.type: must be no more than 4096 bytes"
                                      : ".0.state: must be no more than 4096 bytes");
        }
    }

    buffer_clear(&yaml);
    buffer_string(&yaml, "resources: [{type: a, names: [");
    append_times(&yaml, "x,", CONFIG_NAMES_MAX + 1);
    buffer_string(&yaml, "]}]");
    check_error(buffer_as_text(&yaml), BOSKOS_E_TOO_LARGE,
                ".0.names: more than 2000000 names in all");

    // What would be made at once has the same limit, over all entries.
    check_error(TEXT("resources:\n- {type: d, min-count: 1500000, max-count: 1500000}\n"
                     "- {type: e, min-count: 1500000, max-count: 1500000}\n"),
                BOSKOS_E_TOO_LARGE, ".1.min-count: more than 2000000 dynamic resources in all");

    // Aliases can make more of a text than a record of the log holds.
    buffer_clear(&yaml);
    buffer_string(&yaml, "c: &c {content: ");
    append_times(&yaml, "xxxxxxxx", 128 * 1024);
    buffer_string(&yaml, "}\nresources:\n");
    append_times(&yaml, "- {type: d, max-count: 1, config: *c}\n", 128);
    check_error(buffer_as_text(&yaml), BOSKOS_E_TOO_LARGE,
                ".127: more than 134217728 bytes of texts in all");

    // One huge text in very many places: as a name, and as a key.
    buffer_clear(&yaml);
    buffer_string(&yaml, "x: &x ");
    append_times(&yaml, "xxxxxxxx", 1024 * 1024);
    buffer_string(&yaml, "\nresources:\n- {type: a, names: [");
    append_times(&yaml, "*x ,", 100000);
    buffer_string(&yaml, "]}\n- {type: d, max-count: 1, needs: {");
    append_times(&yaml, "*x : 1,", 100000);
    buffer_string(&yaml, "}}\n");
    struct config *c = NULL;
    struct config_report report;
    assert_int_equal(config_parse(buffer_as_text(&yaml), &c, &report), BOSKOS_E_TOO_LARGE);
    assert_int_equal(report.errors_count, CONFIG_ERRORS_MAX + 1);
    assert_true(text_equal(report.errors[CONFIG_ERRORS_MAX].text, TEXT("and 99001 more errors")));
    assert_int_equal(report.errors[CONFIG_ERRORS_MAX].line, 0);
    assert_true(report.joined.size < (CONFIG_ERRORS_MAX + 1) * (CONFIG_TEXT_MAX + 256));
    config_report_release(&report);
    buffer_release(&yaml);
}

static void test_many_names(void **state)
{
    (void)state;
    struct buffer yaml;
    buffer_init(&yaml);
    buffer_string(&yaml, "resources:\n- type: a\n  names:\n");
    for (int i = 0; i < 200000; i++)
        buffer_format(&yaml, "  - name-%d\n", i);
    struct config *c = NULL;
    struct config_report report;
    assert_int_equal(config_parse(buffer_as_text(&yaml), &c, &report), 0);
    assert_int_equal(c->entries[0].names_count, 200000);
    assert_true(text_equal(c->entries[0].names[199999], TEXT("name-199999")));
    config_report_release(&report);
    config_free(c);

    buffer_string(&yaml, "  - name-7\n");
    check_error(buffer_as_text(&yaml), BOSKOS_E_MALFORMED,
                ".0.names.200000(name-7) is a duplicate");
    buffer_release(&yaml);
}

// Ours

static void test_ours(void **state)
{
    (void)state;
    struct config *c = parse_good(GOOD);
    assert_false(c->reaper_enabled);
    assert_false(c->cleaner_enabled);
    assert_int_equal(c->reaper_expire_ns, INT64_C(1800000000000));
    assert_int_equal(c->reaper_period_ns, INT64_C(60000000000));
    assert_int_equal(c->reaper_states_count, 3);
    assert_true(text_equal(c->reaper_states[2], TEXT("leased")));
    assert_true(text_equal(c->reaper_target, TEXT("dirty")));
    config_free(c);

    c = parse_good(
        "boskosd:\n"
        "  reaper: {expire: 45m, states: [busy, weird], target-state: gone, period: 10s}\n"
        "  cleaner: {enabled: true}\n"
        "resources:\n"
        "- {type: a, names: [a], reaper: {expire: 2h}}\n"
        "- {type: b, names: [b], reaper: off}\n"
        "- {type: c, names: [c], reaper: false}\n"
        "- {type: d, names: [d], reaper: \"off\"}\n"
        "- {type: e, names: [e], reaper: {}}\n"
        "- {type: f, names: [f], reaper: }\n"
        "- {type: g, names: [g], reaper: {expire: 1000}}\n");
    assert_true(c->reaper_enabled);
    assert_true(c->cleaner_enabled);
    assert_int_equal(c->reaper_expire_ns, INT64_C(2700000000000));
    assert_int_equal(c->reaper_period_ns, INT64_C(10000000000));
    assert_int_equal(c->reaper_states_count, 2);
    assert_true(text_equal(c->reaper_states[1], TEXT("weird")));
    assert_true(text_equal(c->reaper_target, TEXT("gone")));
    static const enum config_reaper_kind kinds[] = {
        CONFIG_REAPER_EXPIRE,  CONFIG_REAPER_OFF,     CONFIG_REAPER_OFF,   CONFIG_REAPER_OFF,
        CONFIG_REAPER_INHERIT, CONFIG_REAPER_INHERIT, CONFIG_REAPER_EXPIRE};
    for (size_t i = 0; i < c->entries_count; i++)
        assert_int_equal(c->entries[i].reaper, kinds[i]);
    assert_int_equal(c->entries[0].reaper_expire_ns, INT64_C(7200000000000));
    assert_int_equal(c->entries[6].reaper_expire_ns, 1000);
    config_free(c);

    c = parse_good("boskosd: {reaper: {}, cleaner: {}}\n" GOOD);
    assert_true(c->reaper_enabled);
    assert_false(c->cleaner_enabled);
    config_free(c);
    c = parse_good("boskosd: {reaper: off, cleaner: }\n" GOOD);
    assert_false(c->reaper_enabled);
    config_free(c);
}

static void test_ours_wrong(void **state)
{
    (void)state;
    static const struct report_row rows[] = {
        {"boskosd:\n  reaper:\n    expire: 0\n    states: [a, '', [b]]\n    target-state: {}\n"
         "    period: 999ms\n    color: red\n  cleaner:\n    enabled: maybe\n" GOOD
         "  reaper: {expire: -1h}\n- {type: b, names: [y], reaper: on}\n",
         "3: boskosd.reaper.expire: must be >0\n"
         "4: boskosd.reaper.states.1: must be a state\n"
         "4: boskosd.reaper.states.2: must be a state\n"
         "5: boskosd.reaper.target-state: must be a string\n"
         "6: boskosd.reaper.period: must be at least 1s\n"
         "9: boskosd.cleaner.enabled: must be true or false\n"
         "13: .0.reaper.expire: must be >0\n"
         "14: .1.reaper: must be a mapping or off\n"
         "7? unknown key \"color\"\n"},
        {"boskosd: 3\n" GOOD, "1: boskosd: must be a mapping\n"},
        {"boskosd:\n  reaper: 30m\n  cleaner: yes\n" GOOD,
         "2: boskosd.reaper: must be a mapping\n3: boskosd.cleaner: must be a mapping\n"},
        {"boskosd:\n  reaper: {states: [], expire: 1d}\n",
         "2: boskosd.reaper.expire: time: unknown unit \"d\" in duration \"1d\"\n"
         "2: boskosd.reaper.states: must be a list of at least one state\n0: empty config\n"},
    };
    check_reports(rows, sizeof(rows) / sizeof(rows[0]));
}

static void test_life_cycles(void **state)
{
    (void)state;
    struct config *c = parse_good(
        "resources:\n"
        "- type: d\n  state: dirty\n  min-count: 1\n  max-count: 2\n  lifespan: 48h\n"
        "  needs: {e: 1}\n  config: {type: T, content: \"a: b\\n\"}\n"
        "- type: e\n  max-count: 2\n  config: {}\n"
        "- type: s\n  names: [x]\n  lifespan: 1h\n  needs: {q: 1}\n  config: {type: T}\n");
    const struct config_entry *d = &c->entries[0], *s = &c->entries[2];
    assert_true(d->is_dynamic && d->has_lifespan && d->has_config);
    assert_int_equal(d->lifespan_ns, INT64_C(172800000000000));
    assert_true(text_equal(d->config_type, TEXT("T")));
    assert_true(text_equal(d->config_content, TEXT("a: b\n")));
    assert_false(c->entries[1].has_config);
    assert_false(s->is_dynamic || s->has_lifespan || s->has_config);
    assert_int_equal(s->needs_count, 0);
    config_free(c);
}

// Mason's list

static void test_parse_names(void **state)
{
    (void)state;
    struct text *names = NULL;
    size_t count = 17;
    static const char *const empty[] = {"", "[]", "null\n", "# nothing\n"};
    for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
        assert_int_equal(config_parse_names(text_from(empty[i]), &names, &count), 0);
        assert_int_equal(count, 0);
        free(names);
    }
    assert_int_equal(config_parse_names(TEXT("- a\n- &b 'b c'\n- *b\n- ~\n- 12\n"), &names, &count),
                     0);
    static const struct text expected[] = {TEXT("a"), TEXT("b c"), TEXT("b c"), TEXT(""),
                                           TEXT("12")};
    assert_int_equal(count, 5);
    for (size_t i = 0; i < count; i++)
        assert_true(text_equal(names[i], expected[i]));
    free(names);

    static const char *const bad[] = {"a", "{a: b}", "[[a]]", "[a, {}]", "[", "[*a]"};
    names = NULL;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(config_parse_names(text_from(bad[i]), &names, &count), BOSKOS_E_MALFORMED);
        assert_null(names);
    }

    struct buffer yaml;
    buffer_init(&yaml);
    append_times(&yaml, "- a\n", CONFIG_NAMES_MAX + 1);
    assert_int_equal(config_parse_names(buffer_as_text(&yaml), &names, &count), BOSKOS_E_TOO_LARGE);
    buffer_clear(&yaml);
    buffer_string(&yaml, "- &x ");
    append_times(&yaml, "xxxxxxxx", 128);
    buffer_char(&yaml, '\n');
    append_times(&yaml, "- *x\n", 1023);
    assert_int_equal(config_parse_names(buffer_as_text(&yaml), &names, &count), 0);
    assert_int_equal(count, 1024);
    assert_ptr_equal(names[1023].data, names[0].data);
    free(names);
    // Written out, the names would take more than 1 MiB.
    buffer_string(&yaml, "- y\n");
    assert_int_equal(config_parse_names(buffer_as_text(&yaml), &names, &count), BOSKOS_E_TOO_LARGE);
    buffer_release(&yaml);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded),       cmocka_unit_test(test_rules),
        cmocka_unit_test(test_orders),         cmocka_unit_test(test_same_text_once),
        cmocka_unit_test(test_names),          cmocka_unit_test(test_wrong_kinds),
        cmocka_unit_test(test_numbers),        cmocka_unit_test(test_no_numbers),
        cmocka_unit_test(test_texts),          cmocka_unit_test(test_merge_keys),
        cmocka_unit_test(test_warnings),       cmocka_unit_test(test_syntax_errors),
        cmocka_unit_test(test_limits_of_form), cmocka_unit_test(test_limits_of_texts),
        cmocka_unit_test(test_many_names),     cmocka_unit_test(test_ours),
        cmocka_unit_test(test_ours_wrong),     cmocka_unit_test(test_life_cycles),
        cmocka_unit_test(test_parse_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
