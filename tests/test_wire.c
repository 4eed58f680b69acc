// tests/test_wire.c
//
// The protocol as text: targets, parameters, limits, bodies, replies and escapes. The recorded
// exchanges and what needs a state machine are in test_wire_recorded.c.
#include "tests/test_wire.h"
#include "tests/reset_of.h"

#include <stdio.h>

static void expect_error(const struct exchange *x, uint32_t status, const char *body)
{
    assert_true(x->is_answered);
    assert_false(x->request.is_command);
    expect_out(&x->out, body);
    assert_int_equal(x->reply.status, status);
    assert_int_equal(x->reply.content, WIRE_CONTENT_TEXT);
    assert_true(x->reply.nosniff);
}

// ---- targets ----------------------------------------------------------------

static void test_targets(void **state)
{
    (void)state;
    static const struct {
        const char *target, *path, *query; // path NULL: malformed
    } rows[] = {
        {"/acquire", "/acquire", ""},
        {"/acquire?", "/acquire", ""},
        {"/acquire?a=b?c", "/acquire", "a=b?c"},
        {"/%61cquire?type=%74", "/acquire", "type=%74"},
        {"/metric%3Ftype=t", "/metric?type=t", ""},
        {"//acquire", "/acquire", ""},
        {"///acquire//", "/acquire/", ""},
        {"/./acquire", "/acquire", ""},
        {"/%2e/acquire", "/acquire", ""},
        {"/x/../acquire?q", "/acquire", "q"},
        {"/../..", "/", ""},
        {"/acquire/.", "/acquire", ""},
        {"/acquire/..", "/", ""},
        {"/a/b/../", "/a/", ""},
        {"/...", "/...", ""},
        {"/a+b", "/a+b", ""},
        {"/", "/", ""},
        {"http://elsewhere/metric?type=t", "/metric", "type=t"},
        {"HTTP://h:80", "/", ""},
        {"http://h?x=1", "/", "x=1"},
        {"http://h//acquire", "/acquire", ""},
        {"*", "*", ""},
        {"", NULL, NULL},
        {"acquire", NULL, NULL},
        {"host:80", NULL, NULL},
        {"?x", NULL, NULL},
        {"/%", NULL, NULL},
        {"/%4", NULL, NULL},
        {"/%zz", NULL, NULL},
        {"/a\nb", NULL, NULL},
        {"/a?\x7f", NULL, NULL},
    };
    struct buffer path;
    buffer_init(&path);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct text query = TEXT("untouched");
        buffer_clear(&path);
        int err = wire_target(text_from(rows[i].target), &path, &query);
        if (rows[i].path == NULL) {
            assert_int_equal(err, BOSKOS_E_MALFORMED);
            expect_text(query, TEXT("untouched"));
            continue;
        }
        assert_int_equal(err, 0);
        expect_out(&path, rows[i].path);
        expect_text(query, text_from(rows[i].query));
    }
    buffer_clear(&path); // what is in the buffer before stays
    buffer_string(&path, "x");
    struct text query;
    assert_int_equal(wire_target(TEXT("/../a"), &path, &query), 0);
    expect_out(&path, "x/a");
    buffer_release(&path);
}

static void test_routes(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        enum wire_call call;
        const char *label;
    } rows[] = {
        {"/acquire", WIRE_ACQUIRE, "/acquire"},
        {"/acquirebystate", WIRE_ACQUIREBYSTATE, "/acquirebystate"},
        {"/release", WIRE_RELEASE, "/release"},
        {"/update", WIRE_UPDATE, "/update"},
        {"/reset", WIRE_RESET, "/reset"},
        {"/metric", WIRE_METRIC, "/metric"},
        {"/", WIRE_NOTHING, "other"},
        {"/acquire/", WIRE_NOTHING, "other"},
        {"/Acquire", WIRE_NOTHING, "other"},
        {"/v1", WIRE_NOTHING, "other"},
        {"/v1/", WIRE_V1_UNKNOWN, "other"},
        {"/v1/acquire", WIRE_V1_UNKNOWN, "other"},
        {"/v1/resources", WIRE_V1_RESOURCES, "/v1/resources"},
        {"/v1/resources/", WIRE_V1_UNKNOWN, "other"},
        {"/v1/resources/a.b", WIRE_V1_RESOURCE, "/v1/resources/{name}"},
        {"/v1/resources/a/b", WIRE_V1_UNKNOWN, "other"},
        {"/v1/queues", WIRE_V1_QUEUES, "/v1/queues"},
        {"/v1/status", WIRE_V1_STATUS, "/v1/status"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        enum wire_call call = wire_route(text_from(rows[i].path));
        assert_int_equal(call, rows[i].call);
        assert_string_equal(wire_call_label(call), rows[i].label);
        assert_int_equal(wire_call_has_body(call), call == WIRE_UPDATE);
    }
}

// ---- parameters -------------------------------------------------------------

static void test_commands(void **state)
{
    (void)state;
    struct exchange x;
    exchange_init(&x);
    const struct command *c = &x.request.command;

    ask(&x, "POST", "/acquire?type=a%00b&state=f+r&dest=%2B&owner=o&request_id=1", TEXT_NONE);
    assert_true(!x.is_answered && x.request.is_command);
    assert_int_equal(c->kind, COMMAND_ACQUIRE);
    expect_text(c->as.acquire.type, TEXT("a\0b"));
    expect_text(c->as.acquire.state, TEXT("f r"));
    expect_text(c->as.acquire.dest, TEXT("+"));
    expect_text(c->as.acquire.owner, TEXT("o"));
    expect_text(c->as.acquire.request_id, TEXT("1"));

    ask(&x, "POST", "/acquire?owner=o&type=t&type=u&state=s&%64est=d&request_id=&request_id=1",
        TEXT_NONE);
    assert_true(x.request.is_command);
    expect_text(c->as.acquire.type, TEXT("t"));
    expect_text(c->as.acquire.dest, TEXT("d"));
    assert_true(text_is_empty(c->as.acquire.request_id));

    ask(&x, "POST", "/acquirebystate?names=a,b%2Cc,&state=s&dest=d&owner=o", TEXT_NONE);
    assert_int_equal(c->kind, COMMAND_ACQUIREBYSTATE);
    expect_text(c->as.acquirebystate.names, TEXT("a,b,c,"));
    expect_text(c->as.acquirebystate.state, TEXT("s"));

    ask(&x, "POST", "/release?name=n&dest=d&owner=o", TEXT("{"));
    assert_int_equal(c->kind, COMMAND_RELEASE);
    expect_text(c->as.release.dest, TEXT("d"));

    ask(&x, "POST", "/reset?type=t&state=s&dest=d&expire=-1h", TEXT_NONE);
    assert_int_equal(c->kind, COMMAND_RESET);
    expect_text(c->as.reset.expire, TEXT("-1h"));
    expect_text(c->as.reset.dest, TEXT("d"));

    ask(&x, "GET", "/metric?x;y&type=%zz&type=t;&Type=u&type=v", TEXT_NONE);
    assert_true(!x.is_answered && !x.request.is_command);
    expect_text(x.request.type, TEXT("v"));
    exchange_release(&x);
}

// Texts of Boskos are in the recorded exchanges; here are ours.
static void test_refused_parameters(void **state)
{
    (void)state;
    static const struct {
        const char *method, *target, *body;
    } rows[] = {
        {"POST", "/acquire?type=t&state=s&dest=d&owner=%FF",
         "Bad request: owner is not valid UTF-8.\n"},
        {"POST", "/acquire?type=%ED%A0%80&state=s&dest=d&owner=o",
         "Bad request: type is not valid UTF-8.\n"},
        {"POST", "/acquire?type=t&state=s&dest=d&owner=o&request_id=%C0%80",
         "Bad request: request_id is not valid UTF-8.\n"},
        {"POST", "/acquire?type=%FF&state=s&dest=d",
         "Bad request: Type: \xFF, state: s, dest: d, owner: , all of them must be set in the "
         "request.\n"},
        {"POST", "/reset?type=t&state=s&dest=d&expire=%FFh", "time: invalid duration \"\\xffh\"\n"},
        {"GET", "/metric?type=%80", "Bad request: type is not valid UTF-8.\n"},
    };
    struct exchange x;
    exchange_init(&x);
    for (size_t i = 0; i < COUNT(rows); i++) {
        ask(&x, rows[i].method, rows[i].target, TEXT_NONE);
        expect_error(&x, 400, rows[i].body);
    }
    // Unknown parameters are passed over, whatever is in them.
    ask(&x, "POST", "/release?name=n&dest=d&owner=o&x=%FF&%FF=1", TEXT_NONE);
    assert_true(x.request.is_command);
    exchange_release(&x);
}

// Asks with `before`, then `size` times `fill`, then `after`.
static void ask_long(struct exchange *x, const char *before, const char *fill, size_t size,
                     const char *after)
{
    struct buffer target;
    buffer_init(&target);
    buffer_string(&target, before);
    for (size_t i = 0; i < size; i++)
        buffer_string(&target, fill);
    buffer_string(&target, after);
    buffer_char(&target, '\0');
    ask(x, "POST", target.data, TEXT_NONE);
    buffer_release(&target);
}

static void test_limits(void **state)
{
    (void)state;
    struct exchange x;
    exchange_init(&x);
    ask_long(&x, "/release?dest=d&owner=o&name=", "%61", 253, "");
    assert_true(x.request.is_command);
    ask_long(&x, "/release?dest=d&owner=o&name=", "a", 254, "");
    expect_error(&x, 400, "Bad request: name is longer than 253 bytes.\n");
    ask_long(&x, "/update?state=d&owner=o&name=", "a", 254, "");
    expect_error(&x, 400, "Bad request: name is longer than 253 bytes.\n");

    ask_long(&x, "/acquire?type=t&state=s&dest=d&owner=", "a", 4096, "");
    assert_true(x.request.is_command);
    assert_int_equal(x.request.command.as.acquire.owner.size, 4096);
    ask_long(&x, "/acquire?type=t&state=s&dest=d&owner=", "a", 4097, "");
    expect_error(&x, 400, "Bad request: owner is longer than 4096 bytes.\n");
    ask_long(&x, "/acquire?type=t&state=s&dest=d&owner=o&request_id=", "a", 4097, "");
    expect_error(&x, 400, "Bad request: request_id is longer than 4096 bytes.\n");
    ask_long(&x, "/reset?type=t&state=s&dest=d&expire=", "0", 4096, "s");
    expect_error(&x, 400, "Bad request: expire is longer than 4096 bytes.\n");

    ask_long(&x, "/acquirebystate?state=s&dest=d&owner=o&names=", ",", 8191, "");
    assert_true(x.request.is_command);
    ask_long(&x, "/acquirebystate?state=s&dest=d&owner=o&names=", ",", 8192, "");
    expect_error(&x, 400, "Bad request: names holds more than 8192 names.\n");
    ask_long(&x, "/acquirebystate?state=s&dest=d&owner=o&names=x,", "a", 254, ",y");
    expect_error(&x, 400, "Bad request: names holds a name longer than 253 bytes.\n");
    exchange_release(&x);
}

// A request that is cleared keeps its memory, and gives back what was uncommonly large.
static void test_idempotency_key(void **state)
{
    (void)state;
    static const char acquire[] = "/acquire?type=t&state=s&dest=d&owner=o&request_id=1";
    char long_key[SM_KEY_BYTES_MAX + 1];
    memset(long_key, 'k', sizeof(long_key));
    const struct {
        struct text key;
        const char *body; // NULL: it is taken
    } rows[] = {
        {TEXT_NONE, NULL},
        {TEXT(""), NULL},
        {TEXT("k"), NULL},
        {TEXT("\"8e03978e-40d5\", b; c=\xC3\xA9 "), NULL},
        {text_of(long_key, SM_KEY_BYTES_MAX), NULL},
        {text_of(long_key, SM_KEY_BYTES_MAX + 1),
         "Bad request: Idempotency-Key is longer than 255 bytes.\n"},
        {TEXT("\xC3"), "Bad request: Idempotency-Key is not valid UTF-8.\n"},
        {TEXT("a\tb"), "Bad request: Idempotency-Key holds a control character.\n"},
        {TEXT("\x7f"), "Bad request: Idempotency-Key holds a control character.\n"},
        {TEXT("a\0"), "Bad request: Idempotency-Key holds a control character.\n"},
    };
    struct exchange x;
    exchange_init(&x);
    for (size_t i = 0; i < COUNT(rows); i++) {
        ask(&x, "POST", acquire, TEXT_NONE);
        assert_false(x.is_answered);
        x.is_answered = wire_idempotency_key(&x.request, rows[i].key, &x.reply, &x.out) != 0;
        if (rows[i].body != NULL) {
            expect_error(&x, 400, rows[i].body);
            continue;
        }
        assert_false(x.is_answered);
        assert_true(x.request.is_command);
        expect_text(x.request.command.as.acquire.key, rows[i].key);
        expect_text(x.request.command.as.acquire.request_id, TEXT("1"));
    }
    // What is left of one request is not in the next, and other calls pass over it.
    ask(&x, "POST", acquire, TEXT_NONE);
    expect_text(x.request.command.as.acquire.key, TEXT(""));
    ask(&x, "POST", "/release?name=n&dest=d&owner=o", TEXT_NONE);
    assert_int_equal(wire_idempotency_key(&x.request, TEXT("\xFF"), &x.reply, &x.out), 0);
    assert_true(x.request.is_command);
    expect_text(x.request.command.as.release.owner, TEXT("o"));
    exchange_release(&x);
}

static void test_memory(void **state)
{
    (void)state;
    struct exchange x;
    exchange_init(&x);
    ask(&x, "POST", "/acquire?type=t&state=s&dest=d&owner=o&request_id=1", TEXT_NONE);
    const char *kept = x.request.memory.data;
    ask(&x, "POST", "/acquire?type=t&state=s&dest=d&owner=o&request_id=2", TEXT_NONE);
    assert_ptr_equal(x.request.memory.data, kept);

    ask_long(&x, "/metric?type=", "a", 100000, "");
    ask_long(&x, "/reset?type=t&state=s&expire=1s&dest=", "a", 100000, "");
    assert_true(x.request.memory.capacity > 100000);
    wire_request_clear(&x.request);
    assert_true(x.request.memory.capacity <= 65536);
    exchange_release(&x);
}

// ---- bodies -----------------------------------------------------------------

#define NOT_STRINGS \
    "Bad request: the body must be a JSON object whose values are strings or null.\n"

static void update(struct exchange *x, struct text body)
{
    ask(x, "POST", "/update?name=n&owner=o&state=s", body);
}

// `want` is what was read, as key=value or key=null, each with a newline; "none" for no body.
static void expect_pairs(struct exchange *x, struct text body, struct text want)
{
    update(x, body);
    if (x->is_answered) fail_msg("%.*s: %.*s", TEXT_ARG(body), (int)x->out.size, x->out.data);
    const struct command_update *c = &x->request.command.as.update;
    expect_text(c->name, TEXT("n"));
    expect_text(c->owner, TEXT("o"));
    expect_text(c->state, TEXT("s"));

    if (!c->has_body) buffer_string(&x->out, "none");
    for (uint32_t i = 0; i < c->pairs_count; i++) {
        buffer_text(&x->out, c->pairs[i].key);
        buffer_char(&x->out, '=');
        if (c->pairs[i].value.data == NULL) buffer_string(&x->out, "null");
        buffer_text(&x->out, c->pairs[i].value);
        buffer_char(&x->out, '\n');
    }
    expect_text(buffer_as_text(&x->out), want);
}

static void test_bodies(void **state)
{
    (void)state;
    static const struct {
        struct text body, want;
    } rows[] = {
        {TEXT(""), TEXT("none")},
        {TEXT(" \t\r\n"), TEXT("none")},
        {TEXT("null"), TEXT("none")},
        {TEXT(" null {\"a\":1}"), TEXT("none")},
        {TEXT("nullx"), TEXT("none")},
        {TEXT("{}"), TEXT("")},
        {TEXT("{\"a\":\"1\"}"), TEXT("a=1\n")},
        {TEXT("{\"b\":\"1\",\"a\":\"\",\"\":null,\"B\":\"x\"}"), TEXT("=null\nB=x\na=\nb=1\n")},
        {TEXT("{\"a\":\"1\"} trailing"), TEXT("a=1\n")},
        {TEXT("{\"a\":\"1\"}{\"b\":1}"), TEXT("a=1\n")},
        {TEXT("{\"a\":\"1\"}\xFF"), TEXT("a=1\n")},
        {TEXT("{\"a\":\"1\",\"a\":\"2\"}"), TEXT("a=2\n")},
        {TEXT("{\"a\":\"1\",\"a\":null}"), TEXT("a=null\n")},
        {TEXT("{\"a\":null,\"a\":\"1\"}"), TEXT("a=1\n")},
        {TEXT("{\"a\\\"}\" : \"\\\\\" , \"b\":\"{[:1\" }"), TEXT("a\"}=\\\nb={[:1\n")},
        {TEXT("{\"a\":\"x\\u0000y\"}"), TEXT("a=x\0y\n")},
        {TEXT("{\"\\u00e9\":\"\\ud83d\\ude00\"}"), TEXT("é=😀\n")},
        {TEXT("{\"a\":\"\x7f\"}"), TEXT("a=\x7f\n")},
        {TEXT("{\"ab\":\"1\",\"a\\u0001\":\"2\",\"a\":\"3\"}"), TEXT("a=3\na\x01=2\nab=1\n")},
    };
    struct exchange x;
    exchange_init(&x);
    for (size_t i = 0; i < COUNT(rows); i++)
        expect_pairs(&x, rows[i].body, rows[i].want);
    exchange_release(&x);
}

static void test_refused_bodies(void **state)
{
    (void)state;
    static const struct text of_another_kind[] = {
        TEXT("[]"),
        TEXT("\"a\""),
        TEXT("12"),
        TEXT("true"),
        TEXT("nul"),
        TEXT("\xEF\xBB\xBF{}"),
        TEXT("{\"a\":1}"),
        TEXT("{\"a\":{\"b\":\"c\"}}"),
        TEXT("{\"a\":[]}"),
        TEXT("{\"a\":true}"),
        TEXT("{\"a\":1,\"a\":\"x\"}"), // hidden by the later one, and a fault all the same
        TEXT("{\"a\":\"x\",\"b\" : [\"y\"] ,\"b\":\"z\"}"),
    };
    static const struct text malformed[] = {
        TEXT("{"),
        TEXT("{\"a\""),
        TEXT("{\"a\":\"1\",}"),
        TEXT("{\"a\":nul}"),
        TEXT("{\"a\":1e999}"),
        TEXT("{\"a\":123456789012345678901234567890}"),
        TEXT("{\"a\":\"\\x\"}"),
        TEXT("{\"a\":\"\x01\"}"),
        TEXT("{\"a\":\"\0\"}"),
        TEXT("{\"a\":\"\xFF\"}"),
        TEXT("{\"\xC3\":\"\"}"),
        TEXT("{\"a\":\"\\ud800\"}"),
        TEXT("{\"a\":\"\\udc00\\ud800\"}"),
        TEXT("{\"a\\u0000\":\"\"}"),
    };
    struct exchange x;
    exchange_init(&x);
    for (size_t i = 0; i < COUNT(of_another_kind); i++) {
        update(&x, of_another_kind[i]);
        expect_error(&x, 400, NOT_STRINGS);
    }
    for (size_t i = 0; i < COUNT(malformed); i++) {
        update(&x, malformed[i]);
        assert_true(x.is_answered);
        assert_int_equal(x.reply.status, 400);
        assert_non_null(strstr(x.out.data, "the body is not valid JSON (near byte "));
        assert_ptr_equal(memchr(x.out.data, '\n', x.out.size), x.out.data + x.out.size - 1);
    }
    exchange_release(&x);
}

static void test_large_bodies(void **state)
{
    (void)state;
    struct exchange x;
    struct buffer body;
    exchange_init(&x);
    buffer_init(&body);

    // Deep nesting is refused, not followed.
    buffer_string(&body, "{\"a\":");
    for (size_t i = 0; i < 100000; i++)
        buffer_char(&body, '[');
    update(&x, buffer_as_text(&body));
    assert_int_equal(x.reply.status, 400);

    // As many pairs as fit, backwards.
    buffer_clear(&body);
    for (unsigned i = 20000; i > 0; i--)
        buffer_format(&body, "%c\"%05u\":\"\"", i == 20000 ? '{' : ',', i);
    buffer_char(&body, '}');
    assert_true(body.size <= SM_BODY_BYTES_MAX);
    update(&x, buffer_as_text(&body));
    assert_true(x.request.is_command);
    const struct command_update *c = &x.request.command.as.update;
    assert_int_equal(c->pairs_count, 20000);
    for (uint32_t i = 1; i < c->pairs_count; i++)
        assert_true(text_compare(c->pairs[i - 1].key, c->pairs[i].key) < 0);
    assert_non_null(c->pairs[0].value.data);

    (void)memset(buffer_reserve(&body, SM_BODY_BYTES_MAX), ' ', SM_BODY_BYTES_MAX);
    body.size = SM_BODY_BYTES_MAX + 1;
    update(&x, buffer_as_text(&body));
    expect_error(&x, 413, "the request body is limited to 262144 bytes.\n");
    buffer_release(&body);
    exchange_release(&x);
}

// ---- escapes ----------------------------------------------------------------

static void test_go_quote(void **state)
{
    (void)state;
    static const struct {
        struct text text;
        const char *want;
    } rows[] = {
        {TEXT(""), "\"\""},
        {TEXT("n\"o\\pe\n<\0é"), "\"n\\\"o\\\\pe\\n<\\x00é\""},
        {TEXT("\a\b\f\n\r\t\v\x1b\x7f"), "\"\\a\\b\\f\\n\\r\\t\\v\\x1b\\x7f\""},
        {TEXT("\xC2\x80\xC2\xA0\xC2\xAD"), "\"\\u0080\\u00a0\\u00ad\""},
        {TEXT("\xE2\x80\xA8\xE2\x80\x8B"), "\"\\u2028\\u200b\""},
        {TEXT("\xE3\x80\x80"), "\"\\u3000\""},
        {TEXT("日本😀"), "\"日本😀\""},
        {TEXT("\xEE\x80\x80\xF0\x9F\xBF\xBF\xF3\xA0\x80\x81"), "\"\\ue000\\U0001ffff\\U000e0001\""},
        {TEXT("\xF4\x8F\xBF\xBF"), "\"\\U0010ffff\""},
        {TEXT("\xCD\xB8\xF0\x9E\x93\x90"),
         "\"\\u0378\xF0\x9E\x93\x90\""}, // U+1E4D0 is of Unicode 15
        {TEXT("a\xFF"), "\"a\\xff\""},
    };
    struct buffer out;
    buffer_init(&out);
    for (size_t i = 0; i < COUNT(rows); i++) {
        buffer_clear(&out);
        wire_go_quote(&out, rows[i].text);
        expect_out(&out, rows[i].want);
    }
    buffer_release(&out);
}

static void test_json_string(void **state)
{
    (void)state;
    static const struct {
        struct text text;
        const char *want;
    } rows[] = {
        {TEXT(""), "\"\""},
        {TEXT("a\"\\/b"), "\"a\\\"\\\\/b\""},
        {TEXT("\b\f\n\r\t"), "\"\\b\\f\\n\\r\\t\""},
        {TEXT("\0\x01\x0b\x1f\x7f"), "\"\\u0000\\u0001\\u000b\\u001f\x7f\""},
        {TEXT("<>&'"), "\"\\u003c\\u003e\\u0026'\""},
        {TEXT("é\xE2\x80\xA8\xE2\x80\xA9\xE2\x80\xAA😀"), "\"é\\u2028\\u2029\xE2\x80\xAA😀\""},
    };
    struct buffer out;
    buffer_init(&out);
    for (size_t i = 0; i < COUNT(rows); i++) {
        buffer_clear(&out);
        wire_json_string(&out, rows[i].text);
        expect_out(&out, rows[i].want);
    }
    buffer_release(&out);
}

// ---- replies ----------------------------------------------------------------

static void test_resource(void **state)
{
    (void)state;
    struct userdata_pair pairs[] = {{TEXT(""), TEXT("&")}, {TEXT("k"), TEXT("v")}};
    struct sm_resource r = {.type = TEXT("t"),
                            .name = TEXT("n"),
                            .state = TEXT("<b>"),
                            .owner = TEXT("o"),
                            .lastupdate_ns = EPOCH_NS + 120000000};
    struct buffer out;
    buffer_init(&out);
    wire_json_resource(&out, &r, WIRE_TIMES_SECONDS);
    expect_out(&out, "{\"type\":\"t\",\"name\":\"n\",\"state\":\"\\u003cb\\u003e\",\"owner\":\"o\","
                     "\"lastupdate\":\"2023-11-14T22:13:20Z\",\"userdata\":{}}");
    r.userdata = pairs;
    r.userdata_count = 2;
    r.has_expiration = true;
    r.expiration_ns = EPOCH_NS + 1000000000;
    buffer_clear(&out);
    wire_json_resource(&out, &r, WIRE_TIMES_NANO);
    expect_out(&out, "{\"type\":\"t\",\"name\":\"n\",\"state\":\"\\u003cb\\u003e\",\"owner\":\"o\","
                     "\"lastupdate\":\"2023-11-14T22:13:20.12Z\",\"userdata\":{\"\":\"\\u0026\","
                     "\"k\":\"v\"},\"expiration-date\":\"2023-11-14T22:13:21Z\"}");
    buffer_release(&out);
}

// A result of the command that `target` asks for.
static void expect_result(struct exchange *x, const char *target, const struct sm_result *result,
                          uint32_t status, struct text want)
{
    ask(x, "POST", target, TEXT_NONE);
    assert_true(x->request.is_command);
    wire_result(&x->request.command, result, &x->reply, &x->out);
    expect_text(buffer_as_text(&x->out), want);
    assert_int_equal(x->reply.status, status);
    assert_int_equal(x->reply.nosniff, status != 200);
    assert_int_equal(x->reply.retry_after_s > 0, status == 503);
    assert_int_equal(x->reply.content, want.size == 0 ? WIRE_CONTENT_NONE : WIRE_CONTENT_TEXT);
    assert_null(x->reply.allow);
}

static void test_results(void **state)
{
    (void)state;
    const char *acquire = "/acquire?type=t%00&state=s&dest=d&owner=o";
    const char *update = "/update?name=n&state=s&owner=o";
    const char *release = "/release?name=n&dest=d%00&owner=o";
    struct exchange x;
    exchange_init(&x);

    struct sm_result r = {.reason = SM_NO_AVAILABLE};
    expect_result(&x, acquire, &r, 404,
                  TEXT("Acquire failed: no available resource t\0, try again later.\n"));
    r.reason = SM_NO_SUCH_TYPE;
    expect_result(&x, acquire, &r, 404,
                  TEXT("Acquire failed: resource type \"t\\x00\" does not exist\n"));
    r.reason = SM_QUEUE_FULL;
    expect_result(&x, acquire, &r, 503,
                  TEXT("Acquire failed: the queue for type t\0 and state s is full (100000 "
                       "requests), try again later.\n"));
    r.reason = SM_QUEUES_FULL;
    expect_result(&x, acquire, &r, 503,
                  TEXT("Acquire failed: the queues together are full (1000000 requests), try "
                       "again later.\n"));
    r.reason = SM_KEY_MISMATCH;
    expect_result(&x, acquire, &r, 409,
                  TEXT("Acquire failed: the Idempotency-Key of o belongs to a lease that was "
                       "acquired with other parameters\n"));
    r.reason = SM_USERDATA_TOO_LARGE;
    expect_result(&x, update, &r, 413,
                  TEXT("Update failed: n - s (o): the userdata would be larger than 1 MiB "
                       "(1048576 bytes of keys and values)\n"));
    r = (struct sm_result){.reason = SM_STATE_MISMATCH, .current_state = TEXT("a\0b")};
    expect_result(&x, update, &r, 409,
                  TEXT("Update failed: n - s (o): state mismatch - expected a\0b, current s\n"));
    r = (struct sm_result){.reason = SM_OWNER_MISMATCH, .current_owner = TEXT("p")};
    expect_result(&x, release, &r, 401,
                  TEXT("Done failed: n - d\0 (from o): owner mismatch request by o, currently "
                       "owned by p\n"));
    r = (struct sm_result){.reason = SM_OK};
    expect_result(&x, release, &r, 200, TEXT(""));
    expect_result(&x, update, &r, 200, TEXT(""));

    const struct sm_reset reset[] = {{TEXT("a"), TEXT("o<")}, {TEXT("b"), TEXT("p")}};
    struct sm *sm = reset_of(reset, 2, &r);
    expect_result(&x, "/reset?type=t&state=s&dest=d&expire=0", &r, 200,
                  TEXT("{\"a\":\"o\\u003c\",\"b\":\"p\"}"));
    sm_free(sm);
    exchange_release(&x);
}

// Of a list: more than two parts, each of a bound.
static void expect_parts(struct exchange *x, const char *target, const struct sm_result *result,
                         struct text want)
{
    struct wire_reply reply;
    struct buffer parts;
    buffer_init(&parts);
    ask(x, "POST", target, TEXT_NONE);
    assert_true(x->request.is_command);
    uint32_t at = 0, count = 0;
    bool has_more = true;
    while (has_more) {
        size_t before = parts.size;
        has_more = wire_result_part(&x->request.command, result, &at, &reply, &parts);
        assert_in_range(parts.size - before, 1, 65 * 1024);
        count++;
    }
    assert_in_range(count, 3, 10);
    assert_int_equal(reply.status, 200);
    expect_text(buffer_as_text(&parts), want);
    wire_result(&x->request.command, result, &x->reply, &x->out);
    expect_text(buffer_as_text(&x->out), want);
    buffer_release(&parts);
}

static void test_result_parts(void **state)
{
    (void)state;
    static struct sm_resource resources[RESETS_MAX];
    static struct sm_reset resets[RESETS_MAX];
    static char names[RESETS_MAX][8], letters[200];
    struct sm_result r = {.reason = SM_OK, .resources = resources, .resources_count = RESETS_MAX};
    struct exchange x;
    struct buffer list, object;
    exchange_init(&x);
    buffer_init(&list);
    buffer_init(&object);
    memset(letters, 'o', sizeof(letters));
    for (uint32_t i = 0; i < RESETS_MAX; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "n-%03u", i);
        resets[i] = (struct sm_reset){text_from(names[i]), text_of(letters, sizeof(letters))};
        resources[i] = (struct sm_resource){.type = TEXT("t"),
                                            .name = resets[i].name,
                                            .state = TEXT("d"),
                                            .owner = resets[i].owner};
        buffer_char(&list, i == 0 ? '[' : ',');
        wire_json_resource(&list, &resources[i], WIRE_TIMES_SECONDS);
        buffer_format(&object, "%c\"%s\":\"%.200s\"", i == 0 ? '{' : ',', names[i], letters);
    }
    buffer_string(&list, "]\n");
    buffer_char(&object, '}');
    expect_parts(&x, "/acquirebystate?state=s&dest=d&owner=o&names=n", &r, buffer_as_text(&list));
    struct sm *sm = reset_of(resets, RESETS_MAX, &r);
    expect_parts(&x, "/reset?type=t&state=s&dest=d&expire=0", &r, buffer_as_text(&object));
    sm_free(sm);
    buffer_release(&list);
    buffer_release(&object);
    exchange_release(&x);
}

static void test_refusal(void **state)
{
    (void)state;
    struct wire_reply reply;
    struct buffer out;
    buffer_init(&out);
    wire_refusal(WIRE_ACQUIRE, 503, "The disk is full.", &reply, &out);
    expect_out(&out, "The disk is full.\n");
    assert_int_equal(reply.status, 503);
    assert_true(reply.nosniff && reply.retry_after_s > 0);
    assert_string_equal(wire_content_type(reply.content), "text/plain; charset=utf-8");

    buffer_clear(&out);
    wire_refusal(WIRE_V1_STATUS, 431, "Too <large>.", &reply, &out);
    expect_out(&out, "{\"type\":\"about:blank\",\"title\":\"Request Header Fields Too Large\","
                     "\"status\":431,\"detail\":\"Too \\u003clarge\\u003e.\"}");
    assert_string_equal(wire_content_type(reply.content), "application/problem+json");
    assert_string_equal(wire_content_type(WIRE_CONTENT_JSON), "application/json");
    assert_null(wire_content_type(WIRE_CONTENT_NONE));
    buffer_release(&out);
}

// ---- /v1/ -------------------------------------------------------------------

static void test_v1_requests(void **state)
{
    (void)state;
    struct exchange x;
    exchange_init(&x);
    const struct sm_filter *f = &x.request.filter;

    ask(&x, "GET", "/v1/resources", TEXT_NONE);
    assert_true(!x.is_answered && !x.request.is_command);
    assert_int_equal(f->types_count + f->states_count + f->owners_count + f->limit, 0);

    ask(&x, "GET", "/v1/resources?type=a&type=&type=b+c&owner=&state=&limit=100000&limit=x&after=n",
        TEXT_NONE);
    assert_false(x.is_answered);
    assert_int_equal(f->types_count, 2);
    expect_text(f->types[1], TEXT("b c"));
    assert_int_equal(f->owners_count, 1);
    assert_int_equal(f->owners[0].size, 0);
    assert_int_equal(f->states_count, 0);
    assert_int_equal(f->limit, 100000);
    expect_text(f->after, TEXT("n"));

    static const char *const bad_limits[] = {"0", "100001", "-1", "1x", "+1", "99999999999999999"};
    for (size_t i = 0; i < COUNT(bad_limits); i++) {
        char target[64];
        (void)snprintf(target, sizeof(target), "/v1/resources?limit=%s", bad_limits[i]);
        ask(&x, "GET", target, TEXT_NONE);
        expect_problem(&x, 400, "Bad request: limit must be a number from 1 to 100000.");
    }
    ask(&x, "GET", "/v1/resources?owner=%FF", TEXT_NONE);
    expect_problem(&x, 400, "Bad request: owner is not valid UTF-8.");

    ask(&x, "GET", "/v1/resources/a%62?x", TEXT_NONE);
    assert_int_equal(x.request.call, WIRE_V1_RESOURCE);
    expect_text(x.request.name, TEXT("ab"));

    ask(&x, "POST", "/v1/status", TEXT_NONE);
    expect_problem(&x, 405, "This path only accepts GET.");
    assert_string_equal(x.reply.allow, "GET");
    ask(&x, "POST", "/v1/nothing", TEXT_NONE);
    expect_problem(&x, 404, "There is nothing at this path.");
    exchange_release(&x);
}

// As many repeats of a filter as there may be, and one more.
static void test_v1_filters(void **state)
{
    (void)state;
    struct exchange x;
    struct buffer target;
    exchange_init(&x);
    buffer_init(&target);
    buffer_string(&target, "/v1/resources?x");
    for (unsigned i = 0; i < WIRE_FILTERS_MAX; i++)
        buffer_format(&target, "&type=t%u&state=s&owner=", i);
    buffer_char(&target, '\0');
    ask(&x, "GET", target.data, TEXT_NONE);
    assert_false(x.is_answered);
    const struct sm_filter *f = &x.request.filter;
    assert_int_equal(f->types_count + f->states_count + f->owners_count, 3 * WIRE_FILTERS_MAX);
    expect_text(f->types[WIRE_FILTERS_MAX - 1], TEXT("t1023"));

    target.size--;
    buffer_string(&target, "&state=one+more");
    buffer_char(&target, '\0');
    ask(&x, "GET", target.data, TEXT_NONE);
    expect_problem(&x, 400, "Bad request: state is given more than 1024 times.");
    buffer_release(&target);
    exchange_release(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_targets),        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_commands),       cmocka_unit_test(test_refused_parameters),
        cmocka_unit_test(test_limits),         cmocka_unit_test(test_idempotency_key),
        cmocka_unit_test(test_memory),         cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_refused_bodies), cmocka_unit_test(test_large_bodies),
        cmocka_unit_test(test_go_quote),       cmocka_unit_test(test_json_string),
        cmocka_unit_test(test_resource),       cmocka_unit_test(test_results),
        cmocka_unit_test(test_result_parts),   cmocka_unit_test(test_refusal),
        cmocka_unit_test(test_v1_requests),    cmocka_unit_test(test_v1_filters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
