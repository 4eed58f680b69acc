// tests/test_wire_config.c
//
// A config as JSON: read as a config file it is the same config, to the byte of its command.
#include "tests/test_wire.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "config/config.h"
#include "engine/config_command.h"

#include "base/banned.h"

#define FILE_BYTES_MAX (1024 * 1024)
#define RUNES_END 0x110000u

// A config that was read, or none.
struct reading {
    int err;
    struct config *config;
    struct command *command;
    struct config_report report;
};

static void reading_start(struct reading *r, struct text yaml)
{
    *r = (struct reading){0};
    r->err = config_parse(yaml, &r->config, &r->report);
    if (r->err == 0) r->command = config_command_new(r->config);
}

static void reading_end(struct reading *r)
{
    free(r->command);
    config_free(r->config);
    config_report_release(&r->report);
}

// Fails unless the config comes to JSON, and that to the same config, without a warning.
static void expect_round_trip(const struct command *c)
{
    struct buffer json, want, got;
    buffer_init(&json);
    buffer_init(&want);
    buffer_init(&got);
    wire_json_config(&c->as.config, &json);
    json_error_t error;
    json_t *parsed = json_loadb(json.data, json.size, JSON_ALLOW_NUL, &error);
    if (parsed == NULL) fail_msg("no JSON: %s\n%.*s", error.text, TEXT_ARG(buffer_as_text(&json)));
    json_decref(parsed);

    struct reading again;
    reading_start(&again, buffer_as_text(&json));
    if (again.err != 0)
        fail_msg("%.*s in\n%.*s", TEXT_ARG(again.report.joined), TEXT_ARG(buffer_as_text(&json)));
    assert_int_equal(again.report.warnings_count, 0);
    command_encode(c, &want);
    command_encode(again.command, &got);
    if (!text_equal(buffer_as_text(&got), buffer_as_text(&want)))
        fail_msg("another config from\n%.*s", TEXT_ARG(buffer_as_text(&json)));
    reading_end(&again);
    buffer_release(&json);
    buffer_release(&want);
    buffer_release(&got);
}

// The same of a text, where it is a config; returns whether it is.
static bool play(struct text yaml)
{
    struct reading r;
    reading_start(&r, yaml);
    bool is_config = r.err == 0;
    if (is_config) expect_round_trip(r.command);
    reading_end(&r);
    return is_config;
}

// ---- by hand ----------------------------------------------------------------

#define NAMES "resources:\n- type: a\n  names: [x]\n"
#define LIFE "resources:\n- type: a\n  max-count: 1\n"

static void test_forms(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *json;
    } rows[] = {
        {NAMES, "{\"resources\":[{\"type\":\"a\",\"state\":\"free\",\"names\":[\"x\"]}]}"},
        {"resources:\n- type: a\n  state: dirty\n  names: [x, y.z]\n  reaper: off\n"
         "- type: a\n  names: [w]\n  reaper: {expire: 2h}\n",
         "{\"resources\":["
         "{\"type\":\"a\",\"state\":\"dirty\",\"names\":[\"x\",\"y.z\"],\"reaper\":\"off\"},"
         "{\"type\":\"a\",\"state\":\"free\",\"names\":[\"w\"],\"reaper\":{\"expire\":\"2h0m0s\"}}]"
         "}"},
        {"resources:\n- type: \"\\uFEFF\\x7f\\x80\\xa0\\U0001F600<\"\n  names: [x]\n",
         "{\"resources\":[{\"type\":\"\\ufeff\\u007f\\u0080\xC2\xA0\xF0\x9F\x98\x80\\u003c\","
         "\"state\":\"free\",\"names\":[\"x\"]}]}"},
        {LIFE, "{\"resources\":[{\"type\":\"a\",\"state\":\"free\",\"min-count\":0,"
               "\"max-count\":1}]}"},
        {"resources:\n- type: a\n  min-count: 2\n  max-count: 3\n  lifespan: 90s\n  needs: {c: 2, "
         "b: 1}\n"
         "  config: {type: Creator, content: \"x\\n  y: 'z'\\n\"}\n  reaper: {expire: 1ns}\n"
         "- {type: b, names: [b1, b2, b3]}\n- {type: c, max-count: 9}\n",
         "{\"resources\":[{\"type\":\"a\",\"state\":\"free\",\"min-count\":2,\"max-count\":3,"
         "\"lifespan\":\"1m30s\",\"needs\":{\"b\":1,\"c\":2},"
         "\"config\":{\"type\":\"Creator\",\"content\":\"x\\n  y: 'z'\\n\"},"
         "\"reaper\":{\"expire\":\"1ns\"}},"
         "{\"type\":\"b\",\"state\":\"free\",\"names\":[\"b1\",\"b2\",\"b3\"]},"
         "{\"type\":\"c\",\"state\":\"free\",\"min-count\":0,\"max-count\":9}]}"},
        {NAMES "boskosd:\n  cleaner: {enabled: true}\n",
         "{\"resources\":[{\"type\":\"a\",\"state\":\"free\",\"names\":[\"x\"]}],"
         "\"boskosd\":{\"cleaner\":{\"enabled\":true}}}"},
        {NAMES "boskosd:\n  reaper: {}\n",
         "{\"resources\":[{\"type\":\"a\",\"state\":\"free\",\"names\":[\"x\"]}],"
         "\"boskosd\":{\"reaper\":{\"expire\":\"30m0s\","
         "\"states\":[\"busy\",\"cleaning\",\"leased\"],\"target-state\":\"dirty\","
         "\"period\":\"1m0s\"}}}"},
        {NAMES "boskosd:\n  cleaner: {enabled: yes}\n"
               "  reaper: {expire: 1h30m, states: [busy], target-state: free, period: 1.5s}\n",
         "{\"resources\":[{\"type\":\"a\",\"state\":\"free\",\"names\":[\"x\"]}],"
         "\"boskosd\":{\"reaper\":{\"expire\":\"1h30m0s\",\"states\":[\"busy\"],"
         "\"target-state\":\"free\",\"period\":\"1.5s\"},\"cleaner\":{\"enabled\":true}}}"},
    };
    struct buffer out;
    buffer_init(&out);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct reading r;
        reading_start(&r, text_from(rows[i].yaml));
        if (r.err != 0) fail_msg("%.*s in\n%s", TEXT_ARG(r.report.joined), rows[i].yaml);
        buffer_clear(&out);
        wire_json_config(&r.command->as.config, &out);
        expect_out(&out, rows[i].json);
        expect_round_trip(r.command);
        reading_end(&r);
    }
    buffer_clear(&out);
    wire_json_config(NULL, &out);
    expect_out(&out, "null");
    buffer_release(&out);
}

// What is odd: each must be taken by config_parse.
static void test_odd(void **state)
{
    (void)state;
    static const char *const rows[] = {
        // names and types that other rules take for something else
        "resources:\n- type: 12\n  names: [1, 2.5, 1e3, 0x1f, 010, true, false, 'null', on, off]\n",
        "resources:\n- type: true\n  state: null\n  names: [y, n, yes, no]\n",
        "resources:\n- type: 'null'\n  state: 'null'\n  names: [x]\n- type: 'off'\n  max-count: "
        "1\n",
        "resources:\n- type: '~'\n  state: '~'\n  names: [x]\n- type: '<<'\n  names: [w]\n",
        "resources:\n- {type: d, max-count: 1, needs: {'<<': 1, '12': 1, 'true': 1, 'null': 1}}\n"
        "- {type: '<<', names: [a]}\n- {type: '12', names: [b]}\n- {type: 'true', names: [c]}\n"
        "- {type: 'null', names: [e]}\n",
        // states
        "resources:\n- type: a\n  state: ' free '\n  names: [x]\n",
        "resources:\n- type: a\n  state: \"\\t\\n\\r\\0\\a\\b\\e\\x7f\\x85\\x9f\\_\\N\\L\\P\"\n"
        "  names: [x]\n",
        "resources:\n- type: a\n  state: \"<&>'\\\"\\\\/: # - ? ! % @ ` {} [] , | > *x &y\"\n"
        "  names: [x]\n",
        "resources:\n- type: \"\\uFEFF\\uFFFE\\uFFFF\\U0001F600\\U0010FFFF\"\n  names: [x]\n",
        "resources:\n- type: \xC3\xA9\xE2\x82\xAC\n  state: toBeDeleted\n  max-count: 1\n",
        // lifespans and counts at their ends
        LIFE "  lifespan: 0\n",
        LIFE "  lifespan: 0s\n",
        LIFE "  lifespan: 1\n",
        LIFE "  lifespan: -1ns\n",
        LIFE "  lifespan: 1234567890123456789\n",
        LIFE "  lifespan: 1.000001us\n",
        LIFE "  lifespan: 999.999ms\n",
        LIFE "  lifespan: 9223372036854775807\n",
        LIFE "  lifespan: -9223372036854775808\n",
        LIFE "  lifespan: null\n",
        LIFE "  needs: {a: 1}\n",
        LIFE "  needs: {a: -9223372036854775808}\n- {type: b, max-count: 9223372036854775807}\n",
        LIFE "  needs: {}\n  config: {}\n",
        LIFE "  config: {content: x}\n",
        LIFE "  config: {type: '', content: \"\\0 \\n\"}\n",
        LIFE "  config: {type: x}\n",
        LIFE "  config:\n    type: x\n    content: |\n      - a: b\n        c: \"d\\e\"\n\n",
        // a static entry with what counts in dynamic ones only
        NAMES "  lifespan: 5m\n  needs: {b: 1}\n  config: {type: x}\n",
        // the reaper
        LIFE "  reaper: off\n",
        LIFE "  reaper: {}\n",
        LIFE "  reaper: {expire: 9223372036854775807}\n",
        LIFE
        "  reaper: {expire: 1}\n- {type: a, names: [x], reaper: off}\n- {type: a, names: [y]}\n",
        NAMES "boskosd: {reaper: off, cleaner: off}\n",
        NAMES "boskosd: {reaper: {states: [busy, busy, 'off', '1', \"\\x80\", ' ']}}\n",
        NAMES
        "boskosd: {reaper: {target-state: \"\\L\", expire: 1, period: 9223372036854775807}}\n",
        NAMES "boskosd: {cleaner: {enabled: false}}\n",
        // aliases, merges, capitals
        "x: &x {state: s, names: [q]}\nresources:\n- <<: *x\n  Type: a\n- {type: b, max-count: "
        "1}\n",
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        if (!play(text_from(rows[i]))) fail_msg("no config: %s", rows[i]);
}

// ---- many -------------------------------------------------------------------

static const char *tests_folder(void)
{
    const char *tests = getenv("BOSKOS_TESTS");
    return tests == NULL ? "tests" : tests;
}

static void test_recorded(void **state)
{
    (void)state;
    char path[4096];
    static char line[65536];
    (void)snprintf(path, sizeof(path), "%s/conformance/config.jsonl", tests_folder());
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    unsigned taken = 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        json_t *recorded = json_loads(line, 0, NULL);
        assert_non_null(recorded);
        taken += play(text_from(json_string_value(json_object_get(recorded, "yaml"))));
        json_decref(recorded);
    }
    (void)fclose(file);
    assert_true(taken > 15);
}

// What fuzzing has found to be different from each other.
static void test_corpus(void **state)
{
    (void)state;
    char path[4096];
    (void)snprintf(path, sizeof(path), "%s/fuzz/corpus/config", tests_folder());
    DIR *folder = opendir(path);
    assert_non_null(folder);
    char *bytes = must_malloc(FILE_BYTES_MAX);
    unsigned taken = 0;
    for (struct dirent *e; (e = readdir(folder)) != NULL;) {
        if (e->d_name[0] == '.') continue;
        (void)snprintf(path, sizeof(path), "%s/fuzz/corpus/config/%s", tests_folder(), e->d_name);
        FILE *file = fopen(path, "re");
        assert_non_null(file);
        size_t size = fread(bytes, 1, FILE_BYTES_MAX, file);
        assert_true(size < FILE_BYTES_MAX);
        (void)fclose(file);
        taken += play(text_of(bytes, size));
    }
    free(bytes);
    (void)closedir(folder);
    print_message("%u configs of the fuzzer\n", taken);
    assert_true(taken > 30);
}

static void append_rune(struct buffer *out, uint32_t rune)
{
    if (rune < 0x80) {
        buffer_char(out, (char)rune);
    } else if (rune < 0x800) {
        buffer_char(out, (char)(0xc0 | rune >> 6));
        buffer_char(out, (char)(0x80 | (rune & 0x3f)));
    } else if (rune < 0x10000) {
        buffer_char(out, (char)(0xe0 | rune >> 12));
        buffer_char(out, (char)(0x80 | (rune >> 6 & 0x3f)));
        buffer_char(out, (char)(0x80 | (rune & 0x3f)));
    } else {
        buffer_char(out, (char)(0xf0 | rune >> 18));
        buffer_char(out, (char)(0x80 | (rune >> 12 & 0x3f)));
        buffer_char(out, (char)(0x80 | (rune >> 6 & 0x3f)));
        buffer_char(out, (char)(0x80 | (rune & 0x3f)));
    }
}

static struct command life_cycle(struct sm_entry *ret_entry)
{
    *ret_entry = (struct sm_entry){
        .type = TEXT("t"), .state = TEXT("free"), .is_dynamic = true, .max_count = 1};
    return (struct command){.kind = COMMAND_CONFIG,
                            .as.config = {.entries = ret_entry, .entries_count = 1}};
}

static void test_every_character(void **state)
{
    (void)state;
    struct buffer all;
    buffer_init(&all);
    for (uint32_t rune = 0; rune < RUNES_END; rune++)
        if (rune < 0xd800 || rune >= 0xe000) append_rune(&all, rune);
    assert_true(text_is_utf8(buffer_as_text(&all)));

    struct sm_entry entry;
    struct command c = life_cycle(&entry);
    entry.has_config = true;
    entry.config_type = TEXT("x");
    entry.config_content = buffer_as_text(&all);
    expect_round_trip(&c);
    buffer_release(&all);
}

// The limits that wire.h tells: of a type that is needed, which is a key.
static void test_long_texts(void **state)
{
    (void)state;
    static char longest[CONFIG_TEXT_MAX];
    memset(longest, 'x', sizeof(longest));
    struct sm_entry entry;
    struct command c = life_cycle(&entry);
    entry.type = text_of(longest, sizeof(longest));
    entry.state = entry.type;
    expect_round_trip(&c);

    struct sm_need need = {.type = text_of(longest, 1022), .count = 1};
    entry.needs = &need;
    entry.needs_count = 1;
    entry.type = need.type;
    expect_round_trip(&c);

    need.type = text_of(longest, 1023);
    entry.type = need.type;
    struct buffer json;
    buffer_init(&json);
    wire_json_config(&c.as.config, &json);
    assert_false(play(buffer_as_text(&json)));
    buffer_release(&json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),           cmocka_unit_test(test_odd),
        cmocka_unit_test(test_recorded),        cmocka_unit_test(test_corpus),
        cmocka_unit_test(test_every_character), cmocka_unit_test(test_long_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
