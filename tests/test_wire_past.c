// tests/test_wire_past.c
//
// What the replay tool shows of the past: parameters as JSON and for people, what commands changed,
// queues and life cycles. The config is in test_wire_config.c.
#include "tests/test_wire.h"

#include <stdlib.h>

#include "base/clock.h"

#include "base/banned.h"

#define HOUR_NS (INT64_C(3600) * (int64_t)NS_PER_S)
#define RUNES_END 0x110000u

static void expect_json(const struct buffer *out)
{
    json_error_t error;
    json_t *parsed = json_loadb(out->data, out->size, JSON_REJECT_DUPLICATES, &error);
    if (parsed == NULL) fail_msg("%s in %.*s", error.text, TEXT_ARG(buffer_as_text(out)));
    json_decref(parsed);
}

// ---- parameters -------------------------------------------------------------

static void expect_params(const struct command *c, const char *json, const char *text)
{
    struct buffer out;
    buffer_init(&out);
    wire_json_params(c, &out);
    expect_json(&out);
    expect_out(&out, json);
    buffer_clear(&out);
    wire_text_params(c, &out);
    expect_out(&out, text);
    buffer_release(&out);
}

static void test_params_as_sent(void **state)
{
    (void)state;
    static const struct {
        const char *target, *body, *json, *text;
    } rows[] = {
        {"/acquire?type=t&state=free&dest=busy&owner=ann", "",
         "{\"type\":\"t\",\"state\":\"free\",\"dest\":\"busy\",\"owner\":\"ann\"}",
         "type=t state=free dest=busy owner=ann"},
        {"/acquire?owner=ann+b&dest=b%0Aq&state=fr%22ee&type=%3Ct%3E&request_id=%C3%A9%27", "",
         "{\"type\":\"\\u003ct\\u003e\",\"state\":\"fr\\\"ee\",\"dest\":\"b\\nq\","
         "\"owner\":\"ann b\",\"request_id\":\"\xC3\xA9'\"}",
         "type=<t> state=\"fr\\\"ee\" dest=\"b\\nq\" owner=\"ann b\" request_id=\"\xC3\xA9'\""},
        {"/acquirebystate?state=free&dest=busy&owner=ann&names=b,a,,b", "",
         "{\"state\":\"free\",\"dest\":\"busy\",\"owner\":\"ann\",\"names\":\"b,a,,b\"}",
         "state=free dest=busy owner=ann names=b,a,,b"},
        {"/release?name=n&dest=dirty&owner=ann%1B%5B2J", "",
         "{\"name\":\"n\",\"dest\":\"dirty\",\"owner\":\"ann\\u001b[2J\"}",
         "name=n dest=dirty owner=\"ann\\x1b[2J\""},
        {"/update?name=n&owner=ann&state=busy", "",
         "{\"name\":\"n\",\"owner\":\"ann\",\"state\":\"busy\"}", "name=n owner=ann state=busy"},
        {"/update?name=n&owner=ann&state=busy", "null",
         "{\"name\":\"n\",\"owner\":\"ann\",\"state\":\"busy\"}", "name=n owner=ann state=busy"},
        {"/update?name=n&owner=ann&state=busy", "{}",
         "{\"name\":\"n\",\"owner\":\"ann\",\"state\":\"busy\",\"userdata\":{}}",
         "name=n owner=ann state=busy userdata={}"},
        {"/update?name=n&owner=ann&state=busy",
         "{\"c\":null,\"b\":\"\",\"\":\"null\",\"a\":\"1 2\"}",
         "{\"name\":\"n\",\"owner\":\"ann\",\"state\":\"busy\","
         "\"userdata\":{\"\":\"null\",\"a\":\"1 2\",\"b\":\"\",\"c\":null}}",
         "name=n owner=ann state=busy userdata={\"\":\"null\",\"a\":\"1 "
         "2\",\"b\":\"\",\"c\":null}"},
        {"/reset?type=t&state=busy&dest=dirty&expire=90m", "",
         "{\"type\":\"t\",\"state\":\"busy\",\"dest\":\"dirty\",\"expire\":\"90m\"}",
         "type=t state=busy dest=dirty expire=90m"},
    };
    struct exchange x;
    struct command_decoder *decoder = command_decoder_new();
    struct buffer payload;
    exchange_init(&x);
    buffer_init(&payload);
    for (size_t i = 0; i < COUNT(rows); i++) {
        ask(&x, "POST", rows[i].target, text_from(rows[i].body));
        assert_true(x.request.is_command);
        expect_params(&x.request.command, rows[i].json, rows[i].text);

        struct command decoded; // as the journal has it
        buffer_clear(&payload);
        command_encode(&x.request.command, &payload);
        assert_int_equal(
            command_decode(decoder, x.request.command.kind, buffer_as_text(&payload), &decoded), 0);
        expect_params(&decoded, rows[i].json, rows[i].text);
    }
    buffer_release(&payload);
    exchange_release(&x);
    command_decoder_free(decoder);
}

static void test_params_with_key(void **state)
{
    (void)state;
    struct command c = {.kind = COMMAND_ACQUIRE,
                        .as.acquire = {.type = TEXT("t"),
                                       .state = TEXT("free"),
                                       .dest = TEXT("busy"),
                                       .owner = TEXT("ann"),
                                       .key = TEXT("k-1")}};
    expect_params(&c,
                  "{\"type\":\"t\",\"state\":\"free\",\"dest\":\"busy\",\"owner\":\"ann\","
                  "\"Idempotency-Key\":\"k-1\"}",
                  "type=t state=free dest=busy owner=ann Idempotency-Key=k-1");
    c.as.acquire.request_id = TEXT("r");
    expect_params(&c,
                  "{\"type\":\"t\",\"state\":\"free\",\"dest\":\"busy\",\"owner\":\"ann\","
                  "\"request_id\":\"r\",\"Idempotency-Key\":\"k-1\"}",
                  "type=t state=free dest=busy owner=ann request_id=r Idempotency-Key=k-1");
}

static void test_params_of_the_server(void **state)
{
    (void)state;
    const struct text names[] = {TEXT("a"), TEXT("b c")};
    struct command c = {.kind = COMMAND_EXPIRE};
    expect_params(&c, "{}", "");
    c.kind = COMMAND_REAP;
    expect_params(&c, "{}", "");

    c.kind = COMMAND_CLEAN;
    c.as.clean = (struct command_clean){.name = TEXT("n")};
    expect_params(&c, "{\"name\":\"n\",\"names\":[]}", "name=n names=\"\"");
    c.as.clean.leased = TEXT("- a\n- b c\n");
    c.as.clean.names = names;
    c.as.clean.names_count = 1;
    expect_params(&c, "{\"name\":\"n\",\"leasedResources\":\"- a\\n- b c\\n\",\"names\":[\"a\"]}",
                  "name=n leasedResources=\"- a\\n- b c\\n\" names=a");
    c.as.clean.names_count = 2;
    expect_params(&c,
                  "{\"name\":\"n\",\"leasedResources\":\"- a\\n- b c\\n\","
                  "\"names\":[\"a\",\"b c\"]}",
                  "name=n leasedResources=\"- a\\n- b c\\n\" names=\"a,b c\"");

    c = (struct command){.kind = COMMAND_CLOCK, .as.clock = {UINT64_C(1500000001)}};
    expect_params(&c, "{\"ahead\":\"1.500000001s\"}", "ahead=1.500000001s");
    c.as.clock.ahead_ns = UINT64_MAX;
    expect_params(&c, "{\"ahead\":\"2562047h47m16.854775807s\"}", "ahead=2562047h47m16.854775807s");

    c = (struct command){.kind = COMMAND_STARTED,
                         .as.started = {.version = TEXT("0.2.0"),
                                        .host = TEXT("here"),
                                        .downtime_ns = 61 * NS_PER_S,
                                        .request_ttl_ns = 30 * (int64_t)NS_PER_S,
                                        .salt = 4095}};
    expect_params(&c,
                  "{\"version\":\"0.2.0\",\"host\":\"here\",\"downtime\":\"1m1s\","
                  "\"request-ttl\":\"30s\",\"salt\":4095}",
                  "version=0.2.0 host=here downtime=1m1s request-ttl=30s salt=4095");

    c = (struct command){.kind = COMMAND_REPAIRED,
                         .as.repaired = {.version = TEXT("0.2.0"),
                                         .host = TEXT(""),
                                         .lost_first = 7,
                                         .lost_last = 9,
                                         .why = TEXT("a checksum does not fit")}};
    expect_params(&c,
                  "{\"version\":\"0.2.0\",\"host\":\"\",\"lost-first\":7,"
                  "\"lost-last\":9,\"downtime\":\"0s\","
                  "\"why\":\"a checksum does not fit\"}",
                  "version=0.2.0 host=\"\" lost-first=7 lost-last=9 "
                  "downtime=0s why=\"a checksum does not fit\"");
    c.as.repaired.lost_last = 0;
    expect_params(&c,
                  "{\"version\":\"0.2.0\",\"host\":\"\",\"lost-first\":7,\"lost-last\":null,"
                  "\"downtime\":\"0s\",\"why\":\"a checksum does not fit\"}",
                  "version=0.2.0 host=\"\" lost-first=7 downtime=0s "
                  "why=\"a checksum does not fit\"");
}

static void test_params_of_an_import(void **state)
{
    (void)state;
    const struct sm_need needs[] = {{TEXT("b"), 2}};
    const struct sm_entry cycles[] = {{.type = TEXT("d"),
                                       .state = TEXT("dirty"),
                                       .is_dynamic = true,
                                       .max_count = 1,
                                       .needs = needs,
                                       .needs_count = 1}};
    const struct userdata_pair pairs[] = {{TEXT("k"), TEXT("<")}};
    const struct sm_imported resources[] = {
        {.name = TEXT("x"),
         .type = TEXT("d"),
         .state = TEXT("busy"),
         .owner = TEXT("ann"),
         .lastupdate_ns = 1,
         .expires_ns = 2 * NS_PER_S,
         .userdata = pairs,
         .userdata_count = 1},
        {.name = TEXT("y"), .type = TEXT("t"), .state = TEXT("free"), .owner = TEXT("")}};
    struct command c = {.kind = COMMAND_IMPORT,
                        .as.import = {.version = TEXT("0.4.0"), .host = TEXT("here")}};
    expect_params(&c,
                  "{\"version\":\"0.4.0\",\"host\":\"here\",\"life-cycles\":[],"
                  "\"resources\":[]}",
                  "version=0.4.0 host=here resources=0 life-cycles=0");
    c.as.import.cycles = cycles;
    c.as.import.cycles_count = 1;
    c.as.import.resources = resources;
    c.as.import.resources_count = 2;
    expect_params(&c,
                  "{\"version\":\"0.4.0\",\"host\":\"here\",\"life-cycles\":[{\"type\":\"d\","
                  "\"state\":\"dirty\",\"min-count\":0,\"max-count\":1,\"needs\":{\"b\":2}}],"
                  "\"resources\":[{\"type\":\"d\",\"name\":\"x\",\"state\":\"busy\","
                  "\"owner\":\"ann\",\"lastupdate\":\"1970-01-01T00:00:00.000000001Z\","
                  "\"userdata\":{\"k\":\"\\u003c\"},"
                  "\"expiration-date\":\"1970-01-01T00:00:02Z\"},"
                  "{\"type\":\"t\",\"name\":\"y\",\"state\":\"free\",\"owner\":\"\","
                  "\"lastupdate\":null,\"userdata\":{}}]}",
                  "version=0.4.0 host=here resources=2 life-cycles=1");
}

static void test_params_of_a_config(void **state)
{
    (void)state;
    const struct text names[] = {TEXT("x"), TEXT("y"), TEXT("z")};
    const struct sm_entry entries[] = {
        {.type = TEXT("t"), .state = TEXT("free"), .names = names, .names_count = 2},
        {.type = TEXT("d"), .state = TEXT("free"), .is_dynamic = true, .max_count = 2},
        {.type = TEXT("t"), .state = TEXT("dirty"), .names = names + 2, .names_count = 1},
    };
    struct command c = {.kind = COMMAND_CONFIG,
                        .as.config = {.entries = entries, .entries_count = COUNT(entries)}};
    expect_params(&c,
                  "{\"config\":{\"resources\":["
                  "{\"type\":\"t\",\"state\":\"free\",\"names\":[\"x\",\"y\"]},"
                  "{\"type\":\"d\",\"state\":\"free\",\"min-count\":0,\"max-count\":2},"
                  "{\"type\":\"t\",\"state\":\"dirty\",\"names\":[\"z\"]}]}}",
                  "types=2 names=3");
    c.as.config.entries_count = 0;
    expect_params(&c, "{\"config\":{\"resources\":[]}}", "types=0 names=0");
}

// Nothing that a terminal takes for more than a character that it shows.
static void expect_harmless(const struct buffer *out)
{
    struct text t = buffer_as_text(out);
    while (t.size > 0) {
        uint32_t rune, size = text_rune(t, &rune);
        bool is_control = rune < 0x20 || (rune >= 0x7f && rune < 0xa0);
        bool is_line = rune == 0x2028 || rune == 0x2029;
        bool is_bidi = rune == 0x061c || rune == 0x200e || rune == 0x200f ||
                       (rune >= 0x202a && rune <= 0x202e) || (rune >= 0x2066 && rune <= 0x2069);
        bool is_blank = rune == 0xa0 || rune == 0x1680 || (rune >= 0x2000 && rune <= 0x200b) ||
                        rune == 0x202f || rune == 0x205f || rune == 0x3000 || rune == 0xfeff;
        if (size == 0 || is_control || is_line || is_bidi || is_blank)
            fail_msg("in %.*s", TEXT_ARG(buffer_as_text(out)));
        t = text_of(t.data + size, t.size - size);
    }
}

// The value wherever a text can be, and where the line then ends.
static void check_everywhere(struct text value, struct buffer *out)
{
    const struct userdata_pair pair = {value, value};
    const struct command commands[] = {
        {.kind = COMMAND_RELEASE, .as.release = {TEXT("n"), TEXT("d"), value}},
        {.kind = COMMAND_UPDATE,
         .as.update = {.name = TEXT("n"),
                       .owner = TEXT("o"),
                       .state = TEXT("s"),
                       .has_body = true,
                       .pairs = &pair,
                       .pairs_count = 1}},
        {.kind = COMMAND_CLEAN,
         .as.clean = {.name = TEXT("n"), .leased = value, .names = &value, .names_count = 1}},
    };
    for (size_t i = 0; i < COUNT(commands); i++) {
        buffer_clear(out);
        wire_text_params(&commands[i], out);
        expect_harmless(out);
    }
}

static void test_text_keeps_to_its_line(void **state)
{
    (void)state;
    struct buffer out;
    buffer_init(&out);
    for (uint32_t rune = 0; rune < RUNES_END; rune++) {
        char c[5] = {'x'};
        uint32_t size = 1;
        if (rune < 0x80) {
            c[size++] = (char)rune;
        } else if (rune < 0x800) {
            c[size++] = (char)(0xc0 | rune >> 6);
        } else if (rune < 0x10000) {
            c[size++] = (char)(0xe0 | rune >> 12);
            c[size++] = (char)(0x80 | (rune >> 6 & 0x3f));
        } else {
            c[size++] = (char)(0xf0 | rune >> 18);
            c[size++] = (char)(0x80 | (rune >> 12 & 0x3f));
            c[size++] = (char)(0x80 | (rune >> 6 & 0x3f));
        }
        if (rune >= 0x80) c[size++] = (char)(0x80 | (rune & 0x3f));
        check_everywhere(text_of(c, size), &out); // surrogates too: bytes that are no UTF-8
    }
    for (unsigned byte = 0x80; byte < 0x100; byte++) {
        char c = (char)byte;
        check_everywhere(text_of(&c, 1), &out);
    }
    buffer_release(&out);
}

// ---- what commands changed --------------------------------------------------

struct world {
    struct sm *sm;
    uint64_t now_ns;
    struct buffer out;
};

static void world_start(struct world *w)
{
    *w = (struct world){.sm = sm_new(1), .now_ns = EPOCH_NS};
    buffer_init(&w->out);
    sm_trace(w->sm);
}

static void world_end(struct world *w)
{
    sm_free(w->sm);
    buffer_release(&w->out);
}

static void apply(struct world *w, struct command c)
{
    struct sm_result result;
    w->now_ns += NS_PER_S;
    c.seq = sm_seq(w->sm) + 1;
    c.time_ns = w->now_ns;
    sm_apply(w->sm, &c, &result);
    assert_int_equal(result.reason, SM_OK);

    struct sm_change change;
    uint32_t count = sm_changes(w->sm);
    buffer_clear(&w->out);
    buffer_char(&w->out, '[');
    for (uint32_t i = 0; i < count; i++) {
        sm_change(w->sm, i, &change);
        if (i > 0) buffer_char(&w->out, ',');
        wire_json_change(&change, &w->out);
    }
    buffer_char(&w->out, ']');
    expect_json(&w->out);
}

static void apply_config(struct world *w, const struct sm_entry *entries, uint32_t count)
{
    apply(w, (struct command){.kind = COMMAND_CONFIG,
                              .as.config = {.entries = entries, .entries_count = count}});
}

static void apply_acquire(struct world *w, const char *type, const char *dest)
{
    apply(w, (struct command){.kind = COMMAND_ACQUIRE,
                              .as.acquire = {.type = text_from(type),
                                             .state = TEXT("free"),
                                             .dest = text_from(dest),
                                             .owner = TEXT("ann")}});
}

static void apply_release(struct world *w, struct text name, const char *dest)
{
    apply(w, (struct command){.kind = COMMAND_RELEASE,
                              .as.release = {name, text_from(dest), TEXT("ann")}});
}

static void test_effects_of_leases(void **state)
{
    (void)state;
    const struct text names[] = {TEXT("c"), TEXT("b"), TEXT("a")};
    struct sm_entry entry = {
        .type = TEXT("t"), .state = TEXT("free"), .names = names, .names_count = 3};
    struct world w;
    world_start(&w);
    apply(&w, (struct command){.kind = COMMAND_STARTED, .as.started = {.request_ttl_ns = 1}});
    expect_out(&w.out, "[]");

#define MADE(name)                                                                        \
    "{\"resource\":\"" name "\",\"from\":null,\"to\":{\"type\":\"t\",\"state\":\"free\"," \
    "\"owner\":\"\",\"lastupdate\":\"2023-11-14T22:13:22Z\",\"userdata\":{}}}"
    apply_config(&w, &entry, 1);
    expect_out(&w.out, "[" MADE("a") "," MADE("b") "," MADE("c") "]");

    w.now_ns += 5;
    apply_acquire(&w, "t", "busy");
    expect_out(
        &w.out,
        "[{\"resource\":\"a\","
        "\"from\":{\"state\":\"free\",\"owner\":\"\",\"lastupdate\":\"2023-11-14T22:13:22Z\"},"
        "\"to\":{\"state\":\"busy\",\"owner\":\"ann\","
        "\"lastupdate\":\"2023-11-14T22:13:23.000000005Z\"}}]");

    const struct userdata_pair pairs[] = {{TEXT("k"), TEXT("1")}, {TEXT("z"), TEXT("<")}};
    struct command update = {.kind = COMMAND_UPDATE,
                             .as.update = {.name = TEXT("a"),
                                           .owner = TEXT("ann"),
                                           .state = TEXT("busy"),
                                           .has_body = true,
                                           .pairs = pairs,
                                           .pairs_count = 2}};
    apply(&w, update);
    expect_out(&w.out, "[{\"resource\":\"a\","
                       "\"from\":{\"lastupdate\":\"2023-11-14T22:13:23.000000005Z\","
                       "\"userdata\":{}},"
                       "\"to\":{\"lastupdate\":\"2023-11-14T22:13:24.000000005Z\","
                       "\"userdata\":{\"k\":\"1\",\"z\":\"\\u003c\"}}}]");
    update.as.update.has_body = false;
    apply(&w, update);
    expect_out(&w.out, "[{\"resource\":\"a\","
                       "\"from\":{\"lastupdate\":\"2023-11-14T22:13:24.000000005Z\"},"
                       "\"to\":{\"lastupdate\":\"2023-11-14T22:13:25.000000005Z\"}}]");

    apply_release(&w, TEXT("a"), "free");
    apply(&w, (struct command){
                  .kind = COMMAND_ACQUIREBYSTATE,
                  .as.acquirebystate = {TEXT("free"), TEXT("busy"), TEXT("ann"), TEXT("c,a")}});
    expect_out(
        &w.out,
        "[{\"resource\":\"a\","
        "\"from\":{\"state\":\"free\",\"owner\":\"\","
        "\"lastupdate\":\"2023-11-14T22:13:26.000000005Z\"},"
        "\"to\":{\"state\":\"busy\",\"owner\":\"ann\","
        "\"lastupdate\":\"2023-11-14T22:13:27.000000005Z\"}},"
        "{\"resource\":\"c\","
        "\"from\":{\"state\":\"free\",\"owner\":\"\",\"lastupdate\":\"2023-11-14T22:13:22Z\"},"
        "\"to\":{\"state\":\"busy\",\"owner\":\"ann\","
        "\"lastupdate\":\"2023-11-14T22:13:27.000000005Z\"}}]");
    apply(&w, (struct command){.kind = COMMAND_EXPIRE});
    expect_out(&w.out, "[]");
    world_end(&w);
}

// A name that the config gives another type is deleted and added anew when it is unowned: one
// change of a resource.
static void test_effects_of_retyping(void **state)
{
    (void)state;
    const struct text names[] = {TEXT("a"), TEXT("b")};
    const struct userdata_pair pair = {TEXT("k"), TEXT("1")};
    struct sm_entry entry = {
        .type = TEXT("t"), .state = TEXT("free"), .names = names, .names_count = 2};
    struct world w;
    world_start(&w);
    apply_config(&w, &entry, 1);
    apply_acquire(&w, "t", "busy");
    apply(&w, (struct command){.kind = COMMAND_UPDATE,
                               .as.update = {.name = TEXT("a"),
                                             .owner = TEXT("ann"),
                                             .state = TEXT("busy"),
                                             .has_body = true,
                                             .pairs = &pair,
                                             .pairs_count = 1}});
    apply_release(&w, TEXT("a"), "free");
    entry.type = TEXT("u");
    entry.state = TEXT("dirty");
    entry.names_count = 1;
    apply_config(&w, &entry, 1);
    expect_out(&w.out, "[{\"resource\":\"a\",\"from\":{\"type\":\"t\",\"state\":\"free\","
                       "\"lastupdate\":\"2023-11-14T22:13:24Z\",\"userdata\":{\"k\":\"1\"}},"
                       "\"to\":{\"type\":\"u\",\"state\":\"dirty\","
                       "\"lastupdate\":\"2023-11-14T22:13:25Z\",\"userdata\":{}}},"
                       "{\"resource\":\"b\",\"from\":{\"type\":\"t\",\"state\":\"free\","
                       "\"owner\":\"\",\"lastupdate\":\"2023-11-14T22:13:21Z\",\"userdata\":{}},"
                       "\"to\":null}]");
    world_end(&w);
}

// The text with every NAME in it made `name`.
static void expect_named(const struct buffer *out, const char *want, struct text name)
{
    struct buffer filled;
    buffer_init(&filled);
    for (const char *at = want; *at != '\0'; at++) {
        if (strncmp(at, "NAME", 4) == 0) {
            buffer_text(&filled, name);
            at += 3;
        } else {
            buffer_char(&filled, *at);
        }
    }
    expect_text(buffer_as_text(out), buffer_as_text(&filled));
    buffer_release(&filled);
}

static void test_effects_of_dynamic_resources(void **state)
{
    (void)state;
    struct sm_entry entries[] = {
        {.type = TEXT("d"),
         .state = TEXT("free"),
         .is_dynamic = true,
         .min_count = 1,
         .max_count = 1,
         .has_lifespan = true,
         .lifespan_ns = HOUR_NS},
        {.type = TEXT("other"), .state = TEXT("free"), .is_dynamic = true, .max_count = 1},
    };
    struct world w;
    world_start(&w);
    apply_config(&w, entries, 2);
    struct sm_change change;
    assert_int_equal(sm_changes(w.sm), 1);
    sm_change(w.sm, 0, &change);
    assert_int_equal(change.name.size, 36);
    char name_bytes[36];
    memcpy(name_bytes, change.name.data, sizeof(name_bytes));
    struct text name = text_of(name_bytes, sizeof(name_bytes));
    expect_named(&w.out,
                 "[{\"resource\":\"NAME\",\"from\":null,\"to\":{\"type\":\"d\",\"state\":\"free\","
                 "\"owner\":\"\",\"lastupdate\":\"2023-11-14T22:13:21Z\",\"userdata\":{}}}]",
                 name);
    apply_acquire(&w, "d", "busy");
    apply_release(&w, name, "free");
    expect_named(
        &w.out,
        "[{\"resource\":\"NAME\",\"from\":{\"state\":\"busy\",\"owner\":\"ann\","
        "\"lastupdate\":\"2023-11-14T22:13:22Z\",\"expiration-date\":null},"
        "\"to\":{\"state\":\"free\",\"owner\":\"\",\"lastupdate\":\"2023-11-14T22:13:23Z\","
        "\"expiration-date\":\"2023-11-14T23:13:23Z\"}}]",
        name);
    // It goes with its life cycle: marked, then cleaned, then deleted.
    apply_config(&w, entries + 1, 1);
    expect_named(&w.out,
                 "[{\"resource\":\"NAME\",\"from\":{\"state\":\"free\","
                 "\"lastupdate\":\"2023-11-14T22:13:23Z\"},"
                 "\"to\":{\"state\":\"toBeDeleted\",\"lastupdate\":\"2023-11-14T22:13:24Z\"}}]",
                 name);
    apply(&w, (struct command){.kind = COMMAND_CLEAN, .as.clean = {.name = name}});
    expect_named(&w.out,
                 "[{\"resource\":\"NAME\",\"from\":{\"type\":\"d\",\"state\":\"toBeDeleted\","
                 "\"owner\":\"\",\"lastupdate\":\"2023-11-14T22:13:24Z\",\"userdata\":{},"
                 "\"expiration-date\":\"2023-11-14T23:13:23Z\"},\"to\":null}]",
                 name);
    world_end(&w);
}

// Of two points that need not be a command apart.
static void test_changes(void **state)
{
    (void)state;
    const struct userdata_pair one[] = {{TEXT("k"), TEXT("1")}};
    const struct userdata_pair two[] = {{TEXT("k"), TEXT("2")}};
    struct sm_resource r = {.type = TEXT("t"),
                            .name = TEXT("n\""),
                            .state = TEXT("s"),
                            .lastupdate_ns = 1,
                            .has_expiration = true,
                            .expiration_ns = 2,
                            .userdata = one,
                            .userdata_count = 1};
    struct sm_change c = {.name = r.name, .was_there = true, .is_there = true};
    struct buffer out;
    buffer_init(&out);

    c.before = c.after = r;
    c.after.userdata = two;
    wire_json_change(&c, &out);
    expect_out(&out, "{\"resource\":\"n\\\"\",\"from\":{\"userdata\":{\"k\":\"1\"}},"
                     "\"to\":{\"userdata\":{\"k\":\"2\"}}}");
    c.after.userdata = one;
    c.after.expiration_ns = 3;
    buffer_clear(&out);
    wire_json_change(&c, &out);
    expect_out(&out, "{\"resource\":\"n\\\"\","
                     "\"from\":{\"expiration-date\":\"1970-01-01T00:00:00.000000002Z\"},"
                     "\"to\":{\"expiration-date\":\"1970-01-01T00:00:00.000000003Z\"}}");
    c.after = r;
    buffer_clear(&out);
    wire_json_change(&c, &out);
    expect_out(&out, "{\"resource\":\"n\\\"\",\"from\":{},\"to\":{}}");
    c.was_there = c.is_there = false;
    buffer_clear(&out);
    wire_json_change(&c, &out);
    expect_out(&out, "{\"resource\":\"n\\\"\",\"from\":null,\"to\":null}");
    c.is_there = true;
    buffer_clear(&out);
    wire_json_change(&c, &out);
    expect_out(&out, "{\"resource\":\"n\\\"\",\"from\":null,\"to\":{\"type\":\"t\","
                     "\"state\":\"s\",\"owner\":\"\","
                     "\"lastupdate\":\"1970-01-01T00:00:00.000000001Z\",\"userdata\":{\"k\":\"1\"},"
                     "\"expiration-date\":\"1970-01-01T00:00:00.000000002Z\"}}");
    buffer_release(&out);
}

// ---- queues and life cycles -------------------------------------------------

static void queue_up(struct world *w, const char *state, const char *id)
{
    struct sm_result result;
    struct command c = {.kind = COMMAND_ACQUIRE,
                        .seq = sm_seq(w->sm) + 1,
                        .time_ns = w->now_ns += NS_PER_S,
                        .as.acquire = {.type = TEXT("t"),
                                       .state = text_from(state),
                                       .dest = TEXT("busy"),
                                       .owner = TEXT("ann"),
                                       .request_id = text_from(id)}};
    sm_apply(w->sm, &c, &result);
    assert_int_equal(result.reason, SM_NO_AVAILABLE);
}

static bool add_entry(void *context, const struct sm_queue_entry *e)
{
    struct buffer *out = context;
    wire_json_queue_entry(e, out->size == 1, out);
    return true;
}

// As /v1/queues has them.
static void expect_queues(struct world *w, uint64_t now_ns, const char *want)
{
    struct wire_request request = {.call = WIRE_V1_QUEUES};
    struct wire_status status = {.now_ns = now_ns};
    struct wire_reply reply;
    buffer_clear(&w->out);
    buffer_char(&w->out, '[');
    sm_queues(w->sm, now_ns, add_entry, &w->out);
    buffer_string(&w->out, w->out.size == 1 ? "]" : "]}]");
    expect_out(&w->out, want);

    struct buffer queried, wrapped;
    buffer_init(&queried);
    buffer_init(&wrapped);
    wire_query(&request, w->sm, &status, &reply, &queried);
    buffer_format(&wrapped, "{\"queues\":%.*s}", TEXT_ARG(buffer_as_text(&w->out)));
    expect_text(buffer_as_text(&queried), buffer_as_text(&wrapped));
    buffer_release(&queried);
    buffer_release(&wrapped);
}

static void test_queues(void **state)
{
    (void)state;
    const struct text names[] = {TEXT("a")};
    struct sm_entry entry = {
        .type = TEXT("t"), .state = TEXT("dirty"), .names = names, .names_count = 1};
    struct world w;
    world_start(&w);
    apply_config(&w, &entry, 1);
    expect_queues(&w, w.now_ns, "[]");
    queue_up(&w, "x", "r1");
    queue_up(&w, "free", "r2");
    queue_up(&w, "x", "r3");
    expect_queues(&w, w.now_ns,
                  "[{\"type\":\"t\",\"state\":\"free\",\"requests\":["
                  "{\"id\":\"r2\",\"rank\":1,\"since\":\"2023-11-14T22:13:23Z\","
                  "\"expires\":\"2023-11-14T22:13:53Z\"}]},"
                  "{\"type\":\"t\",\"state\":\"x\",\"requests\":["
                  "{\"id\":\"r1\",\"rank\":1,\"since\":\"2023-11-14T22:13:22Z\","
                  "\"expires\":\"2023-11-14T22:13:52Z\"},"
                  "{\"id\":\"r3\",\"rank\":2,\"since\":\"2023-11-14T22:13:24Z\","
                  "\"expires\":\"2023-11-14T22:13:54Z\"}]}]");
    expect_queues(&w, EPOCH_NS + 34 * NS_PER_S,
                  "[{\"type\":\"t\",\"state\":\"x\",\"requests\":["
                  "{\"id\":\"r3\",\"rank\":1,\"since\":\"2023-11-14T22:13:24Z\","
                  "\"expires\":\"2023-11-14T22:13:54Z\"}]}]");
    expect_queues(&w, EPOCH_NS + 60 * NS_PER_S, "[]");
    world_end(&w);
}

static void test_life_cycles(void **state)
{
    (void)state;
    const struct sm_entry entries[] = {
        {.type = TEXT("gone"),
         .state = TEXT("free"),
         .is_dynamic = true,
         .min_count = 1,
         .max_count = 1},
        {.type = TEXT("b"),
         .state = TEXT("free"),
         .is_dynamic = true,
         .max_count = 3,
         .has_lifespan = true,
         .lifespan_ns = HOUR_NS + 1},
        {.type = TEXT("a\""),
         .state = TEXT("dirty"),
         .is_dynamic = true,
         .min_count = 2,
         .max_count = 2},
    };
    struct world w;
    world_start(&w);
    wire_json_life_cycles(w.sm, &w.out);
    expect_out(&w.out, "[]");
    apply_config(&w, entries, 3);
    apply_acquire(&w, "gone", "busy");
    apply_config(&w, entries + 1, 2);
    buffer_clear(&w.out);
    wire_json_life_cycles(w.sm, &w.out);
    expect_json(&w.out);
    expect_out(&w.out, "[{\"type\":\"a\\\"\",\"state\":\"dirty\",\"min-count\":2,\"max-count\":2,"
                       "\"lifespan\":null},"
                       "{\"type\":\"b\",\"state\":\"free\",\"min-count\":0,\"max-count\":3,"
                       "\"lifespan\":\"1h0m0.000000001s\"},"
                       "{\"type\":\"gone\",\"state\":\"free\",\"min-count\":0,\"max-count\":0,"
                       "\"lifespan\":null}]");
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_params_as_sent),
        cmocka_unit_test(test_params_with_key),
        cmocka_unit_test(test_params_of_the_server),
        cmocka_unit_test(test_params_of_an_import),
        cmocka_unit_test(test_params_of_a_config),
        cmocka_unit_test(test_text_keeps_to_its_line),
        cmocka_unit_test(test_effects_of_leases),
        cmocka_unit_test(test_effects_of_retyping),
        cmocka_unit_test(test_effects_of_dynamic_resources),
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_queues),
        cmocka_unit_test(test_life_cycles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
