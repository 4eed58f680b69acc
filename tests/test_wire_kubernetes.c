// tests/test_wire_kubernetes.c
//
// Boskos's custom resources as text: what is read of a dump, each fault with its place, and that
// what is written is read as the same again.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "base/assert.h"
#include "base/clock.h"
#include "wire/kubernetes.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define SECOND_NS(seconds) (UINT64_C(seconds) * NS_PER_S)

static void assert_text(struct text had, const char *wanted)
{
    if (!text_equal(had, text_from(wanted)))
        fail_msg("had:\n%.*s\nwanted:\n%s", TEXT_ARG(had), wanted);
}

static struct wire_dump *read_good(const char *json)
{
    struct wire_dump *dump = NULL;
    struct buffer faults;
    buffer_init(&faults);
    int err = wire_dump_read(text_from(json), &dump, &faults);
    assert_text(buffer_as_text(&faults), "");
    assert_int_equal(err, 0);
    buffer_release(&faults);
    return dump;
}

#define OBJECT(kind, metadata, rest)                                                               \
    "{\"apiVersion\":\"boskos.k8s.io/v1\",\"kind\":\"" kind "\",\"metadata\":{" metadata "}," rest \
    "}"
#define RESOURCE(name, rest) OBJECT("ResourceObject", "\"name\":\"" name "\"", rest)
#define CYCLE(name, spec) OBJECT("DRLCObject", "\"name\":\"" name "\"", "\"spec\":{" spec "}")
#define LIST(items) "{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[" items "]}"
#define GOOD "\"spec\":{\"type\":\"t\"},\"status\":{\"state\":\"free\"}"

// ---- what is read -----------------------------------------------------------

static void test_all_there_is(void **state)
{
    (void)state;
    struct wire_dump *dump = read_good(
        LIST(OBJECT("ResourceObject",
                    "\"name\":\"b\",\"namespace\":\"boskos\",\"uid\":\"u\","
                    "\"resourceVersion\":\"1\","
                    "\"managedFields\":[{\"manager\":\"boskos\"}],"
                    "\"annotations\":{\"a\":\"b\"},"
                    "\"creationTimestamp\":\"2019-11-03T08:12:40Z\",\"labels\":{}"
                    ",\"generation\":7",
                    "\"spec\":{\"type\":\"t\"},\"status\":{\"state\":\"busy\","
                    "\"owner\":\"ann\","
                    "\"lastUpdate\":\"2026-03-01T09:30:00Z\",\"userData\":{\"z\":"
                    "\"1\",\"a\":\"\\u0000x\","
                    "\"none\":\"\"},\"expirationDate\":\"2026-03-01T11:30:00.5+"
                    "01:00\"}") "," CYCLE("d", "\"state\":\"dirty\",\"min-count\":1,"
                                               "\"max-count\":2,\"lifespan\":-5,"
                                               "\"config\":{\"type\":\"T\","
                                               "\"content\":\"{}\"},\"needs\":{\"t\":"
                                               "3,\"a\":0}") "," RESOURCE("a", "\"spec\":{"
                                                                               "\"type\":"
                                                                               "\"u\"},"
                                                                               "\"status\":"
                                                                               "{\"state\":"
                                                                               "\"odd "
                                                                               "one\"}")));
    const struct command_import *c = wire_dump_import(dump);
    assert_int_equal(c->version.size + c->host.size, 0);
    assert_int_equal(c->resources_count, 2);
    const struct sm_imported *a = &c->resources[0], *b = &c->resources[1];
    assert_text(a->name, "a");
    assert_text(a->type, "u");
    assert_text(a->state, "odd one");
    assert_text(a->owner, "");
    assert_true(a->lastupdate_ns == 0 && a->expires_ns == 0 && a->userdata_count == 0);
    assert_text(b->name, "b");
    assert_text(b->owner, "ann");
    assert_true(b->lastupdate_ns == SECOND_NS(1772357400));
    assert_true(b->expires_ns == SECOND_NS(1772361000) + NS_PER_S / 2);
    assert_int_equal(b->userdata_count, 2);
    assert_text(b->userdata[0].key, "a");
    assert_true(text_equal(b->userdata[0].value, text_of("\0x", 2)));
    assert_text(b->userdata[1].key, "z");
    assert_int_equal(c->cycles_count, 1);
    const struct sm_entry *d = &c->cycles[0];
    assert_text(d->type, "d");
    assert_text(d->state, "dirty");
    assert_true(d->is_dynamic && d->min_count == 1 && d->max_count == 2);
    assert_true(d->has_lifespan && d->lifespan_ns == -5);
    assert_int_equal(d->needs_count, 2);
    assert_text(d->needs[0].type, "a");
    assert_true(d->needs[0].count == 0 && d->needs[1].count == 3);
    assert_true(d->has_config);
    assert_text(d->config_type, "T");
    assert_text(d->config_content, "{}");
    wire_dump_free(dump);
}

// Null, what Go writes for what was never set, and what is left out come to the same.
static void test_what_may_be_absent(void **state)
{
    (void)state;
    static const char *const same[] = {
        LIST(RESOURCE("a", GOOD) "," CYCLE("d", "\"max-count\":0")),
        LIST(RESOURCE("a", "\"spec\":{\"type\":\"t\"},\"status\":{\"state\":\"free\","
                           "\"owner\":null,"
                           "\"lastUpdate\":null,\"userData\":null,\"expirationDate\":"
                           "null}") "," CYCLE("d", "\"state\":\"\",\"min-count\":0,\"max-"
                                                   "count\":0,\"lifespan\":null,"
                                                   "\"config\":{},\"needs\":null")),
        "{\"kind\":\"ResourceObjectList\",\"metadata\":{\"continue\":\"\"},\"items\":["
        "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"type\":\"t\"},\"status\":{\"state\":"
        "\"free\","
        "\"owner\":\"\",\"lastUpdate\":\"0001-01-01T00:00:00Z\",\"userData\":{}}}]}\n"
        "{\"kind\":\"DRLCObjectList\",\"items\":[{\"metadata\":{\"name\":\"d\"},"
        "\"status\":null,"
        "\"spec\":{\"state\":\"free\",\"config\":{\"type\":\"\"},\"needs\":{}}}]}\n\n",
        CYCLE("d", "\"config\":null") RESOURCE("a", GOOD)};
    struct buffer first, bytes;
    buffer_init(&first);
    buffer_init(&bytes);
    for (size_t i = 0; i < COUNT(same); i++) {
        struct wire_dump *dump = read_good(same[i]);
        struct command c = {.kind = COMMAND_IMPORT, .as.import = *wire_dump_import(dump)};
        buffer_clear(&bytes);
        command_encode(&c, i == 0 ? &first : &bytes);
        if (i > 0) assert_true(text_equal(buffer_as_text(&first), buffer_as_text(&bytes)));
        wire_dump_free(dump);
    }
    buffer_release(&first);
    buffer_release(&bytes);
}

// The ends of time, of names and of userdata.
static void test_limits(void **state)
{
    (void)state;
    char name[SM_NAME_BYTES_MAX + 2];
    struct buffer json;
    buffer_init(&json);
    memset(name, 'n', sizeof(name));
    for (uint32_t more = 0; more < 2; more++) {
        struct wire_dump *dump = NULL;
        struct buffer faults;
        buffer_init(&faults);
        buffer_clear(&json);
        buffer_string(&json, "{\"kind\":\"ResourceObject\",\"metadata\":{\"name\":\"");
        buffer_append(&json, name, SM_NAME_BYTES_MAX + more);
        buffer_string(&json, "\"},\"spec\":{\"type\":\"t\"},\"status\":{\"state\":\"free\","
                             "\"expirationDate\":\"1970-01-01T00:00:00Z\",\"userData\":{\"k\":\"");
        memset(buffer_reserve(&json, SM_USERDATA_BYTES_MAX), 'v', SM_USERDATA_BYTES_MAX);
        json.size += SM_USERDATA_BYTES_MAX - 1 + more;
        buffer_string(&json, "\"}}}");
        int err = wire_dump_read(buffer_as_text(&json), &dump, &faults);
        assert_int_equal(err, more == 0 ? 0 : BOSKOS_E_MALFORMED);
        if (more == 0) assert_true(wire_dump_import(dump)->resources[0].expires_ns == 1);
        if (more == 1) {
            struct text said = buffer_as_text(&faults);
            const char *tail = "status.userData: keys and values have more than 1048576 bytes\n";
            size_t size = strlen(tail);
            assert_true(said.size > size);
            assert_text(text_of(said.data + said.size - size, size), tail);
        }
        wire_dump_free(dump);
        buffer_release(&faults);
    }
    buffer_release(&json);
    assert_true(wire_kubernetes_takes(TEXT("a-b.c0")) && wire_kubernetes_takes(TEXT("0")));
    static const char *const not_taken[] = {"", "A", "a_b", "-a", "a-", ".a", "a.", "a..b", "a.-b"};
    for (size_t i = 0; i < COUNT(not_taken); i++)
        assert_false(wire_kubernetes_takes(text_from(not_taken[i])));
}

// ---- faults -----------------------------------------------------------------

static const struct {
    const char *json, *faults;
} wrong[] = {
    {"", "there is no resource and no life cycle in it; was it the right namespace?\n"},
    {LIST(""), "there is no resource and no life cycle in it; was it the right namespace?\n"},
    {"[]", "the object: it is no object\n"},
    {"{\"kind\":\"List\"}", "the object: items: it is no array\n"},
    {"{\"kind\":\"Status\"}",
     "the object (Status): kind: it is neither ResourceObject nor DRLCObject\n"},
    {LIST("1"), "items[0]: it is no object\n"},
    {LIST("{\"kind\":1}"), "items[0]: kind: it is no string\n"
                           "items[0]: kind: it is neither ResourceObject nor DRLCObject\n"},
    {LIST(OBJECT("Pod", "\"name\":\"a b\"", GOOD)),
     "items[0] (Pod): kind: it is neither ResourceObject nor DRLCObject\n"},
    {"{\"apiVersion\":\"boskos.k8s.io/"
     "v2\",\"kind\":\"ResourceObject\",\"metadata\":{\"name\":\"a\"}," GOOD "}",
     "the object (ResourceObject): apiVersion: \"boskos.k8s.io/v2\" is not boskos.k8s.io/v1\n"},
    {LIST(RESOURCE("a", "\"more\":1," GOOD)),
     "items[0] (ResourceObject a): \"more\" is no member that is known here\n"},
    {LIST(OBJECT("ResourceObject", "", GOOD)),
     "items[0] (ResourceObject): metadata.name: it is missing\n"},
    {LIST(RESOURCE("", GOOD)), "items[0] (ResourceObject): metadata.name: it is empty\n"},
    {LIST(RESOURCE("A_b", GOOD)), "items[0] (ResourceObject A_b): metadata.name: \"A_b\" is no "
                                  "RFC 1123 subdomain of up to 253 characters\n"},
    {LIST(OBJECT("ResourceObject", "\"name\":\"a\",\"deletionTimestamp\":\"2026-03-01T09:30:00Z\"",
                 GOOD)),
     "items[0] (ResourceObject a): metadata.deletionTimestamp: it is being deleted; wait until it "
     "is gone, and dump again\n"},
    {LIST(OBJECT("ResourceObject", "\"name\":\"a\",\"namespace\":\"x\"", GOOD) "," OBJECT(
         "ResourceObject", "\"name\":\"b\"",
         GOOD) "," OBJECT("DRLCObject", "\"name\":\"c\",\"namespace\":\"y\"", "\"spec\":{}")),
     "items[2] (DRLCObject c): metadata.namespace: \"y\" is not \"x\", as before: a dump of one "
     "namespace is wanted\n"},
    {LIST(RESOURCE("a", "\"spec\":{\"type\":\"\",\"x\":\"\"},\"status\":{\"owner\":7}")),
     "items[0] (ResourceObject a): spec: \"x\" is no member that is known here\n"
     "items[0] (ResourceObject a): spec.type: it is empty\n"
     "items[0] (ResourceObject a): status.state: it is missing\n"
     "items[0] (ResourceObject a): status.owner: it is no string\n"},
    {LIST(RESOURCE("a", "\"spec\":7")),
     "items[0] (ResourceObject a): spec: it is no object\n"
     "items[0] (ResourceObject a): spec.type: it is missing\n"
     "items[0] (ResourceObject a): status.state: it is missing\n"},
    {LIST(RESOURCE("a", "\"spec\":{\"type\":\"t\"},\"status\":{\"state\":\"free\",\"lastUpdate\":"
                        "\"yesterday\",\"expirationDate\":\"1969-12-31T23:59:59Z\",\"userData\":"
                        "{\"k\\n\":7}}")),
     "items[0] (ResourceObject a): status.lastUpdate: \"yesterday\" is no time from 1970 to 2554 "
     "as 2026-03-01T14:02:00Z\n"
     "items[0] (ResourceObject a): status.expirationDate: \"1969-12-31T23:59:59Z\" is no time from "
     "1970 to 2554 as 2026-03-01T14:02:00Z\n"
     "items[0] (ResourceObject a): status.userData: \"k\\n\" has a value that is no string\n"},
    {LIST(RESOURCE("a", "\"spec\":{\"type\":\"t\"},\"status\":{\"state\":\"free\",\"lastUpdate\":7,"
                        "\"userData\":[]}")),
     "items[0] (ResourceObject a): status.lastUpdate: it is no string\n"
     "items[0] (ResourceObject a): status.userData: it is no object\n"},
    {LIST(OBJECT("DRLCObject", "\"name\":\"d\"", "\"status\":{}")),
     "items[0] (DRLCObject d): status: a life cycle has none that is known here\n"
     "items[0] (DRLCObject d): spec: it is missing\n"},
    {LIST(CYCLE("d", "\"min-count\":2,\"max-count\":1,\"lifespan\":\"1h\",\"needs\":{\"t\":-1,"
                     "\"u\":\"1\"},\"config\":{\"kind\":\"x\",\"content\":{}}")),
     "items[0] (DRLCObject d): spec.min-count: it is above max-count\n"
     "items[0] (DRLCObject d): spec.lifespan: it is no number of nanoseconds\n"
     "items[0] (DRLCObject d): spec.needs: \"t\" is not needed a whole number of times\n"
     "items[0] (DRLCObject d): spec.needs: \"u\" is not needed a whole number of times\n"
     "items[0] (DRLCObject d): spec.config: \"kind\" is no member that is known here\n"
     "items[0] (DRLCObject d): spec.config.content: it is no string\n"},
    {LIST(CYCLE("d", "\"min-count\":-1,\"max-count\":1.5")),
     "items[0] (DRLCObject d): spec.min-count: it is negative\n"
     "items[0] (DRLCObject d): spec.max-count: it is no whole number\n"},
    {LIST(RESOURCE("a", GOOD) "," RESOURCE("b", GOOD) "," RESOURCE("a", GOOD)) CYCLE("a", "")
         CYCLE("a", ""),
     "items[2] (ResourceObject a): its name is there twice, the first time at items[0]\n"
     "document 3, the object (DRLCObject a): its name is there twice, the first time at document "
     "2, the object\n"},
    {"\n{\"kind\":\n\"List\",}", "line 3: it is no JSON: string or '}' expected near '}'\n"},
    {LIST(RESOURCE("a", GOOD)) "x", "line 1: it is no JSON: '[' or '{' expected near 'x'\n"},
    {"{\"kind\":\"List\",\"kind\":\"List\"}",
     "line 1: it is no JSON: duplicate object key near '\"kind\"'\n"},
};

static void test_faults(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(wrong); i++) {
        struct wire_dump *dump = NULL;
        struct buffer faults;
        buffer_init(&faults);
        assert_int_equal(wire_dump_read(text_from(wrong[i].json), &dump, &faults),
                         BOSKOS_E_MALFORMED);
        assert_text(buffer_as_text(&faults), wrong[i].faults);
        assert_null(dump);
        buffer_release(&faults);
    }
}

static uint32_t lines_of(const struct buffer *b)
{
    uint32_t lines = 0;
    for (size_t i = 0; i < b->size; i++)
        lines += b->data[i] == '\n';
    return lines;
}

static void test_many_faults(void **state)
{
    (void)state;
    struct wire_dump *dump = NULL;
    struct buffer json, faults;
    buffer_init(&json);
    buffer_init(&faults);
    buffer_string(&json, "{\"kind\":\"List\",\"items\":[0");
    for (uint32_t i = 1; i < WIRE_DUMP_FAULTS_MAX + 7; i++)
        buffer_string(&json, ",0");
    buffer_string(&json, "]}");
    assert_int_equal(wire_dump_read(buffer_as_text(&json), &dump, &faults), BOSKOS_E_MALFORMED);
    assert_int_equal(lines_of(&faults), WIRE_DUMP_FAULTS_MAX + 1);
    const char *tail = "and 7 more\n";
    assert_text(text_of(faults.data + faults.size - strlen(tail), strlen(tail)), tail);
    buffer_release(&json);
    buffer_release(&faults);

    // Its content is not looked at.
    struct text large = text_of("", WIRE_DUMP_BYTES_MAX + 1);
    buffer_init(&faults);
    assert_int_equal(wire_dump_read(large, &dump, &faults), BOSKOS_E_TOO_LARGE);
    assert_text(buffer_as_text(&faults), "it is larger than 268435456 bytes\n");
    assert_null(dump);
    buffer_release(&faults);
}

// ---- both ways --------------------------------------------------------------

// As `kubectl get -o json` prints it, without what it says of the objects themselves.
static const char kubectl[] = "{\n"
                              "    \"apiVersion\": \"v1\",\n"
                              "    \"items\": [\n"
                              "        {\n"
                              "            \"apiVersion\": \"boskos.k8s.io/v1\",\n"
                              "            \"kind\": \"ResourceObject\",\n"
                              "            \"metadata\": {\n"
                              "                \"name\": \"a\"\n"
                              "            },\n"
                              "            \"spec\": {\n"
                              "                \"type\": \"t \\\"\\u003c\\u2028\"\n"
                              "            },\n"
                              "            \"status\": {\n"
                              "                \"lastUpdate\": \"2026-02-28T23:59:41Z\",\n"
                              "                \"owner\": \"\",\n"
                              "                \"state\": \"free\"\n"
                              "            }\n"
                              "        },\n"
                              "        {\n"
                              "            \"apiVersion\": \"boskos.k8s.io/v1\",\n"
                              "            \"kind\": \"ResourceObject\",\n"
                              "            \"metadata\": {\n"
                              "                \"name\": \"b\"\n"
                              "            },\n"
                              "            \"spec\": {\n"
                              "                \"type\": \"d\"\n"
                              "            },\n"
                              "            \"status\": {\n"
                              "                \"expirationDate\": \"2026-03-02T10:00:00Z\",\n"
                              "                \"lastUpdate\": \"2026-02-28T10:00:00Z\",\n"
                              "                \"owner\": \"ann\",\n"
                              "                \"state\": \"busy\",\n"
                              "                \"userData\": {\n"
                              "                    \"k\": \"v\",\n"
                              "                    \"leasedResources\": \"- a\\n\"\n"
                              "                }\n"
                              "            }\n"
                              "        },\n"
                              "        {\n"
                              "            \"apiVersion\": \"boskos.k8s.io/v1\",\n"
                              "            \"kind\": \"DRLCObject\",\n"
                              "            \"metadata\": {\n"
                              "                \"name\": \"d\"\n"
                              "            },\n"
                              "            \"spec\": {\n"
                              "                \"config\": {\n"
                              "                    \"content\": \"{}\",\n"
                              "                    \"type\": \"T\"\n"
                              "                },\n"
                              "                \"lifespan\": 172800000000000,\n"
                              "                \"max-count\": 2,\n"
                              "                \"min-count\": 1,\n"
                              "                \"needs\": {\n"
                              "                    \"s\": 1,\n"
                              "                    \"t\": 2\n"
                              "                },\n"
                              "                \"state\": \"dirty\"\n"
                              "            }\n"
                              "        },\n"
                              "        {\n"
                              "            \"apiVersion\": \"boskos.k8s.io/v1\",\n"
                              "            \"kind\": \"DRLCObject\",\n"
                              "            \"metadata\": {\n"
                              "                \"name\": \"e\"\n"
                              "            },\n"
                              "            \"spec\": {\n"
                              "                \"config\": {},\n"
                              "                \"max-count\": 0,\n"
                              "                \"min-count\": 0,\n"
                              "                \"needs\": {},\n"
                              "                \"state\": \"free\"\n"
                              "            }\n"
                              "        }\n"
                              "    ],\n"
                              "    \"kind\": \"List\",\n"
                              "    \"metadata\": {\n"
                              "        \"resourceVersion\": \"\"\n"
                              "    }\n"
                              "}\n";

struct list {
    struct buffer text;
    uint32_t count;
};

static void begin_object(struct list *l)
{
    buffer_string(&l->text, l->count++ == 0 ? WIRE_KUBERNETES_BEGIN : WIRE_KUBERNETES_BETWEEN);
}

static bool add_resource(void *context, const struct sm_resource *r)
{
    struct list *l = context;
    begin_object(l);
    wire_kubernetes_resource(&l->text, r);
    return true;
}

static void test_round_trip(void **state)
{
    (void)state;
    struct wire_dump *dump = read_good(kubectl);
    const struct command_import *import = wire_dump_import(dump);
    struct command c = {
        .kind = COMMAND_IMPORT, .seq = 1, .time_ns = SECOND_NS(1780000000), .as.import = *import};
    struct sm_result result;
    struct sm *sm = sm_new(1);
    sm_apply(sm, &c, &result);
    struct list l = {.count = 0};
    (void)sm_list(sm, &(struct sm_filter){0}, add_resource, &l);
    const struct sm_life_cycle *cycles = NULL;
    uint32_t count = 0;
    sm_life_cycles(sm, &cycles, &count);
    assert_int_equal(count, 2);
    for (uint32_t i = 0; i < count; i++) {
        begin_object(&l);
        wire_kubernetes_cycle(&l.text, &cycles[i], &import->cycles[i]);
    }
    buffer_string(&l.text, WIRE_KUBERNETES_END);
    assert_text(buffer_as_text(&l.text), kubectl);

    // One that nothing more is known of.
    buffer_clear(&l.text);
    l.count = 0;
    begin_object(&l);
    wire_kubernetes_cycle(&l.text, &cycles[0], NULL);
    buffer_string(&l.text, WIRE_KUBERNETES_END);
    buffer_char(&l.text, '\0');
    struct wire_dump *bare = read_good(l.text.data);
    assert_false(wire_dump_import(bare)->cycles[0].has_config);
    assert_int_equal(wire_dump_import(bare)->cycles[0].needs_count, 0);
    wire_dump_free(bare);
    wire_dump_free(dump);
    buffer_release(&l.text);
    sm_free(sm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_there_is), cmocka_unit_test(test_what_may_be_absent),
        cmocka_unit_test(test_limits),       cmocka_unit_test(test_faults),
        cmocka_unit_test(test_many_faults),  cmocka_unit_test(test_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
