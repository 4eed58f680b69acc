// tests/test_wire_recorded.c
//
// The recorded exchanges of conformance/http, played through wire/ and a state machine without a
// server, and the replies below /v1/.
#include "tests/test_wire.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

// A client, and the state machine that it talks to.
struct session {
    struct exchange x;
    struct sm *sm;
    uint64_t seq, now_ns;
};

static void apply(struct session *s, struct command *c, struct sm_result *ret_result)
{
    c->seq = ++s->seq;
    c->time_ns = s->now_ns;
    sm_apply(s->sm, c, ret_result);
}

static void call(struct session *s, const char *method, const char *target, struct text body)
{
    struct exchange *x = &s->x;
    ask(x, method, target, body);
    if (x->is_answered) return;

    struct sm_result result;
    struct wire_status status = {.version = TEXT("1"), .now_ns = s->now_ns};
    if (x->request.is_command) {
        apply(s, &x->request.command, &result);
        wire_result(&x->request.command, &result, &x->reply, &x->out);
    } else {
        wire_query(&x->request, s->sm, &status, &x->reply, &x->out);
    }
}

// The config of the recording; config/ is not linked here.
static void session_start(struct session *s)
{
    static const struct text t[] = {{"t1", 2}, {"t2", 2}, {"t3", 2}, {"t4", 2}};
    static const struct text u[] = {{"u1", 2}, {"u2", 2}, {"u3", 2}};
    static const struct text q[] = {{"q1", 2}};
    const struct sm_entry entries[] = {
        {.type = TEXT("t"), .state = TEXT("free"), .names = t, .names_count = COUNT(t)},
        {.type = TEXT("u"), .state = TEXT("dirty"), .names = u, .names_count = COUNT(u)},
        {.type = TEXT("q\"<&>é"), .state = TEXT("free"), .names = q, .names_count = COUNT(q)},
        {.type = TEXT("d"),
         .state = TEXT("free"),
         .is_dynamic = true,
         .min_count = 1,
         .max_count = 3,
         .has_lifespan = true,
         .lifespan_ns = INT64_C(3600) * (int64_t)NS_PER_S},
    };
    struct sm_result result;
    *s = (struct session){.sm = sm_new(1), .now_ns = EPOCH_NS};
    exchange_init(&s->x);

    struct command started = {.kind = COMMAND_STARTED,
                              .as.started = {.version = TEXT("1"),
                                             .host = TEXT("h"),
                                             .request_ttl_ns = 2 * (int64_t)NS_PER_S}};
    struct command config = {.kind = COMMAND_CONFIG,
                             .as.config = {.entries = entries, .entries_count = COUNT(entries)}};
    apply(s, &started, &result);
    apply(s, &config, &result);
}

static void session_end(struct session *s)
{
    exchange_release(&s->x);
    sm_free(s->sm);
}

// ---- the recorded exchanges -------------------------------------------------

#define NAMES_MAX 8u // server-made names in one recording
#define UUID_BYTES 36u

struct recording {
    struct session s;
    char names[NAMES_MAX][UUID_BYTES + 1];
    unsigned names_count, played;
};

// The size of what stands at the front of `t` in the form of `pattern`, in which d is a digit and x
// a hexadecimal one; 0 when it is something else.
static uint32_t form_size(struct text t, const char *pattern)
{
    uint32_t size = (uint32_t)strlen(pattern);
    if (t.size < size) return 0;
    for (uint32_t i = 0; i < size; i++) {
        const char *among = pattern[i] == 'd'   ? "0123456789"
                            : pattern[i] == 'x' ? "0123456789abcdef"
                                                : NULL;
        bool fits = among == NULL ? t.data[i] == pattern[i] : strchr(among, t.data[i]) != NULL;
        if (!fits || t.data[i] == '\0') return 0;
    }
    return size;
}

static unsigned name_number(struct recording *rec, const char *uuid)
{
    for (unsigned i = 0; i < rec->names_count; i++)
        if (memcmp(rec->names[i], uuid, UUID_BYTES) == 0) return i + 1;
    assert_true(rec->names_count < NAMES_MAX);
    memcpy(rec->names[rec->names_count], uuid, UUID_BYTES);
    return ++rec->names_count;
}

// Times become <time>, server-made names <name1>, <name2>... by appearance.
static void normalize(struct recording *rec, struct buffer *ret_out)
{
    struct text t = buffer_as_text(&rec->s.x.out);
    while (t.size > 0) {
        uint32_t size = form_size(t, "dddd-dd-ddTdd:dd:ddZ");
        if (size > 0) {
            buffer_string(ret_out, "<time>");
        } else if ((size = form_size(t, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")) > 0) {
            buffer_format(ret_out, "<name%u>", name_number(rec, t.data));
        } else {
            size = 1;
            buffer_char(ret_out, t.data[0]);
        }
        t = text_of(t.data + size, t.size - size);
    }
}

// The target with the names of this run, NUL at the end.
static void fill_in_names(const struct recording *rec, const char *target, struct buffer *ret_out)
{
    unsigned number;
    for (const char *at = target; *at != '\0'; at++) {
        if (sscanf(at, "<name%u>", &number) == 1 && number >= 1 && number <= rec->names_count) {
            buffer_string(ret_out, rec->names[number - 1]);
            at = strchr(at, '>');
        } else {
            buffer_char(ret_out, *at);
        }
    }
    buffer_char(ret_out, '\0');
}

// The recorder kept a byte order mark as Latin-1.
static struct text recorded_body(const json_t *step)
{
    struct text body = text_from(json_string_value(json_object_get(step, "body")));
    struct text mark = TEXT("\xC3\xAF\xC2\xBB\xC2\xBF");
    bool is_marked = body.size >= mark.size && memcmp(body.data, mark.data, mark.size) == 0;
    return is_marked ? TEXT("\xEF\xBB\xBF{\"bom\":\"1\"}") : body;
}

static void play_request(struct recording *rec, const json_t *step, unsigned line)
{
    const char *method = json_string_value(json_object_get(step, "method"));
    const char *want = json_string_value(json_object_get(step, "reply"));
    const char *type = json_string_value(json_object_get(step, "content_type"));
    struct exchange *x = &rec->s.x;
    struct buffer target, got;
    buffer_init(&target);
    buffer_init(&got);

    fill_in_names(rec, json_string_value(json_object_get(step, "target")), &target);
    call(&rec->s, method, target.data, recorded_body(step));
    normalize(rec, &got);

    bool is_any = strcmp(want, "*") == 0 || strcmp(method, "HEAD") == 0; // HEAD: no body is sent
    if (!is_any && !text_equal(buffer_as_text(&got), text_from(want)))
        fail_msg("line %u: want \"%s\", got \"%.*s\"", line, want, (int)got.size, got.data);
    const char *got_type = wire_content_type(x->reply.content);
    if ((type == NULL) != (got_type == NULL) || (type != NULL && strcmp(type, got_type) != 0))
        fail_msg("line %u: the content type is %s", line, got_type);
    if (x->reply.status != json_integer_value(json_object_get(step, "status")))
        fail_msg("line %u: the status is %u", line, x->reply.status);
    if (x->reply.nosniff != json_is_true(json_object_get(step, "nosniff")))
        fail_msg("line %u: nosniff is wrong", line);
    rec->played++;
    buffer_release(&target);
    buffer_release(&got);
}

static void test_recorded_exchanges(void **state)
{
    (void)state;
    const char *tests = getenv("BOSKOS_TESTS");
    char path[4096];
    (void)snprintf(path, sizeof(path), "%s/conformance/http/basic.jsonl",
                   tests == NULL ? "tests" : tests);
    FILE *file = fopen(path, "r");
    assert_non_null(file);

    struct recording rec = {0};
    static char text[65536];
    for (unsigned line = 1; fgets(text, sizeof(text), file) != NULL; line++) {
        json_t *step = json_loads(text, 0, NULL);
        assert_non_null(step);
        const char *what = json_string_value(json_object_get(step, "do"));
        rec.s.now_ns += NS_PER_MS;
        if (strcmp(what, "start") == 0)
            session_start(&rec.s);
        else if (strcmp(what, "sleep") == 0)
            rec.s.now_ns += 2 * NS_PER_S;
        else
            play_request(&rec, step, line);
        json_decref(step);
    }
    (void)fclose(file);
    assert_int_equal(rec.played, 155);
    session_end(&rec.s);
}

static void test_v1_replies(void **state)
{
    (void)state;
    struct session s;
    session_start(&s);
    struct exchange *x = &s.x;
    call(&s, "POST", "/acquire?type=u&state=free&dest=busy&owner=o&request_id=r1", TEXT_NONE);
    s.now_ns += 500 * NS_PER_MS;
    call(&s, "POST", "/acquire?type=u&state=free&dest=busy&owner=o&request_id=r2", TEXT_NONE);
    call(&s, "POST", "/acquire?type=t&state=none&dest=busy&owner=o&request_id=r1", TEXT_NONE);
    call(&s, "POST", "/acquire?type=t&state=free&dest=busy&owner=o", TEXT_NONE);

    call(&s, "GET", "/v1/resources?type=t&type=u&owner=&limit=2&after=t1", TEXT_NONE);
    expect_out(&x->out, "{\"resources\":["
                        "{\"type\":\"t\",\"name\":\"t2\",\"state\":\"free\",\"owner\":\"\","
                        "\"lastupdate\":\"2023-11-14T22:13:20Z\",\"userdata\":{}},"
                        "{\"type\":\"t\",\"name\":\"t3\",\"state\":\"free\",\"owner\":\"\","
                        "\"lastupdate\":\"2023-11-14T22:13:20Z\",\"userdata\":{}}]}");
    assert_int_equal(x->reply.status, 200);
    assert_int_equal(x->reply.content, WIRE_CONTENT_JSON);
    call(&s, "GET", "/v1/resources?state=nosuch", TEXT_NONE);
    expect_out(&x->out, "{\"resources\":[]}");

    call(&s, "GET", "/v1/resources/t1", TEXT_NONE);
    expect_out(&x->out, "{\"type\":\"t\",\"name\":\"t1\",\"state\":\"busy\",\"owner\":\"o\","
                        "\"lastupdate\":\"2023-11-14T22:13:20.5Z\",\"userdata\":{}}");
    call(&s, "GET", "/v1/resources/t9", TEXT_NONE);
    expect_problem(x, 404, "There is no resource of that name.");

    call(&s, "GET", "/v1/queues", TEXT_NONE);
    expect_out(&x->out, "{\"queues\":[{\"type\":\"t\",\"state\":\"none\",\"requests\":["
                        "{\"id\":\"r1\",\"rank\":1,\"since\":\"2023-11-14T22:13:20.5Z\","
                        "\"expires\":\"2023-11-14T22:13:22.5Z\"}]},"
                        "{\"type\":\"u\",\"state\":\"free\",\"requests\":["
                        "{\"id\":\"r1\",\"rank\":1,\"since\":\"2023-11-14T22:13:20Z\","
                        "\"expires\":\"2023-11-14T22:13:22Z\"},"
                        "{\"id\":\"r2\",\"rank\":2,\"since\":\"2023-11-14T22:13:20.5Z\","
                        "\"expires\":\"2023-11-14T22:13:22.5Z\"}]}]}");
    s.now_ns += 10 * NS_PER_S;
    call(&s, "GET", "/v1/queues", TEXT_NONE);
    expect_out(&x->out, "{\"queues\":[]}");
    session_end(&s);
}

static void test_v1_status(void **state)
{
    (void)state;
    struct session s;
    session_start(&s);
    struct exchange *x = &s.x;
    struct wire_status status = {.version = TEXT("0.1.0"),
                                 .uptime_ns = UINT64_C(3723) * NS_PER_S + 5,
                                 .now_ns = s.now_ns + 1};
    struct buffer want;
    buffer_init(&want);
    for (unsigned i = 0; i < 2; i++) {
        struct hash128 digest = sm_digest(s.sm);
        buffer_clear(&want);
        buffer_clear(&x->out);
        status.snapshot_seq = i;
        status.snapshot_time_ns = i * NS_PER_S;
        x->request.call = WIRE_V1_STATUS;
        wire_query(&x->request, s.sm, &status, &x->reply, &x->out);
        buffer_format(
            &want,
            "{\"version\":\"0.1.0\",\"seq\":2,\"time\":\"2023-11-14T22:13:20.000000001Z\","
            "\"snapshot\":%s,\"uptime\":\"1h2m3s\",\"resources\":9,\"queued\":0,"
            "\"digest\":\"%016llx%016llx\"}",
            i == 0 ? "null" : "{\"seq\":1,\"time\":\"1970-01-01T00:00:01Z\"}",
            (unsigned long long)digest.high, (unsigned long long)digest.low);
        expect_text(buffer_as_text(&x->out), buffer_as_text(&want));
    }
    buffer_release(&want);
    session_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded_exchanges),
        cmocka_unit_test(test_v1_replies),
        cmocka_unit_test(test_v1_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
