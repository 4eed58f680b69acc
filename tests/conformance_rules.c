#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/clock.h"
#include "config/config.h"
#include "engine/config_command.h"
#include "tests/conformance.h"
#include "wire/wire.h"

#include "base/banned.h"

// The Nth name the server made is recorded as this and the number in twelve digits.
#define RECORDED_PREFIX "00000000-0000-7000-8000-"
#define NAME_BYTES 36u
#define NAMES_MAX 100000u
#define SALT 0xabcu
#define ELEMENTS_SHOWN 5u

struct rules {
    struct tally *tally;
    struct sm *sm; // NULL before `start`
    struct command_decoder *decoder;
    struct wire_request request;
    uint64_t epoch_ns, now_ns;
    char (*names)[NAME_BYTES]; // ours, in the order they were made
    uint32_t names_count, names_capacity;
    struct buffer payload, target, body, path, reply, recorded;
};

// ---- names --------------------------------------------------------------------------------------

static bool looks_made(struct text name)
{
    return name.size == NAME_BYTES && name.data[8] == '-' && name.data[13] == '-' &&
           name.data[14] == '7' && name.data[18] == '-' && name.data[23] == '-';
}

// The number, from 1, of a name that was made here; 0 when it is none.
static uint32_t number_of(const struct rules *r, struct text name)
{
    if (!looks_made(name)) return 0;
    for (uint32_t i = r->names_count; i > 0; i--) {
        if (memcmp(r->names[i - 1], name.data, NAME_BYTES) == 0) return i;
    }
    return 0;
}

// Names sort by creation, so that new ones come in the order they were made.
static bool learn_name(void *context, const struct sm_resource *resource)
{
    struct rules *r = context;
    if (!looks_made(resource->name) || number_of(r, resource->name) != 0) return true;
    if (r->names_count == NAMES_MAX) return true;
    if (r->names_count == r->names_capacity) {
        r->names_capacity = r->names_capacity == 0 ? 64 : r->names_capacity * 2;
        r->names = must_realloc(r->names, (size_t)r->names_capacity * NAME_BYTES);
    }
    memcpy(r->names[r->names_count++], resource->name.data, NAME_BYTES);
    return true;
}

// Appends `t` with our names in place of the recorded ones; one not made yet stays as it is.
static struct text to_ours(const struct rules *r, struct text t, struct buffer *out)
{
    size_t prefix = strlen(RECORDED_PREFIX);
    buffer_clear(out);
    for (uint32_t at = 0; at < t.size;) {
        const char *name = t.data + at;
        unsigned long number = 0;
        if (t.size - at >= NAME_BYTES && memcmp(name, RECORDED_PREFIX, prefix) == 0) {
            char digits[NAME_BYTES] = {0};
            memcpy(digits, name + prefix, NAME_BYTES - prefix);
            number = strtoul(digits, NULL, 10);
        }
        if (number >= 1 && number <= r->names_count) {
            buffer_append(out, r->names[number - 1], NAME_BYTES);
            at += NAME_BYTES;
        } else {
            buffer_char(out, t.data[at++]);
        }
    }
    return buffer_as_text(out);
}

// The other way round.
static struct text to_recorded(const struct rules *r, struct text t, struct buffer *out)
{
    buffer_clear(out);
    for (uint32_t at = 0; at < t.size;) {
        uint32_t number =
            t.size - at < NAME_BYTES ? 0 : number_of(r, text_of(t.data + at, NAME_BYTES));
        if (number != 0) {
            buffer_format(out, RECORDED_PREFIX "%012" PRIu32, number);
            at += NAME_BYTES;
        } else {
            buffer_char(out, t.data[at++]);
        }
    }
    return buffer_as_text(out);
}

// ---- applying -----------------------------------------------------------------------------------

// As the server does: encoded for the journal, and applied as a record says.
static void apply(struct rules *r, const struct command *c, struct sm_result *ret_result)
{
    struct command decoded;
    buffer_clear(&r->payload);
    command_encode(c, &r->payload);
    int err = command_decode(r->decoder, c->kind, buffer_as_text(&r->payload), &decoded);
    ASSERT(err == 0);
    decoded.seq = sm_seq(r->sm) + 1;
    decoded.time_ns = r->now_ns;
    sm_apply(r->sm, &decoded, ret_result);
}

static void learn_names(struct rules *r)
{
    sm_list(r->sm, &(struct sm_filter){0}, learn_name, r);
}

static bool play_start(struct rules *r, const json_t *step)
{
    sm_free(r->sm);
    r->sm = sm_new(17);
    r->names_count = 0;
    r->epoch_ns = (uint64_t)json_integer_value(json_object_get(step, "epoch")) * NS_PER_S;
    r->now_ns = r->epoch_ns;
    struct sm_result result;
    struct command c = {.kind = COMMAND_STARTED, .as.started = {.salt = SALT}};
    c.as.started.request_ttl_ns =
        json_integer_value(json_object_get(step, "request_ttl_s")) * (int64_t)NS_PER_S;
    apply(r, &c, &result);
    return true;
}

static bool play_tick(struct rules *r, const json_t *step)
{
    struct sm_result result;
    uint64_t at_s = (uint64_t)json_integer_value(json_object_get(step, "at"));
    r->now_ns = r->epoch_ns + at_s * NS_PER_S;
    apply(r, &(struct command){.kind = COMMAND_EXPIRE}, &result);
    learn_names(r);
    return true;
}

static bool play_config(struct rules *r, const json_t *step)
{
    struct config *config = NULL;
    struct config_report report;
    // A config may list a name that the server made.
    struct text yaml = to_ours(r, json_text(json_object_get(step, "yaml")), &r->body);
    int err = config_parse(yaml, &config, &report);
    if (err != 0) {
        tally_differs(r->tally, "the config", TEXT("no errors"), report.joined);
    } else {
        struct sm_result result;
        struct command *c = config_command_new(config);
        apply(r, c, &result);
        learn_names(r);
        free(c);
    }
    config_free(config);
    config_report_release(&report);
    return err == 0;
}

// ---- requests -----------------------------------------------------------------------------------

static void serve(struct rules *r, struct text method, struct text query,
                  struct wire_reply *ret_reply)
{
    struct text path = buffer_as_text(&r->path);
    if (wire_parse(&r->request, method, path, query, buffer_as_text(&r->body), ret_reply,
                   &r->reply) != 0)
        return;
    if (!r->request.is_command) {
        struct wire_status status = {.version = TEXT(BOSKOSD_VERSION), .now_ns = r->now_ns};
        wire_query(&r->request, r->sm, &status, ret_reply, &r->reply);
        return;
    }
    struct sm_result result;
    apply(r, &r->request.command, &result);
    wire_result(&r->request.command, &result, ret_reply, &r->reply);
}

static bool play_request(struct rules *r, const json_t *step)
{
    struct wire_reply reply = {0};
    struct text query, recorded_target = json_text(json_object_get(step, "target"));
    struct text target = to_ours(r, recorded_target, &r->target);
    to_ours(r, json_text(json_object_get(step, "body")), &r->body);
    buffer_clear(&r->path);
    buffer_clear(&r->reply);
    if (wire_target(target, &r->path, &query) != 0)
        return tally_differs(r->tally, "the target", TEXT("one that is understood"), target);
    serve(r, json_text(json_object_get(step, "method")), query, &reply);

    struct text wanted_reply = json_text(json_object_get(step, "reply"));
    int64_t wanted_status = json_integer_value(json_object_get(step, "status"));
    struct text got_reply = to_recorded(r, buffer_as_text(&r->reply), &r->recorded);
    bool is_same = wanted_status == reply.status && text_equal(wanted_reply, got_reply);
    if (!is_same) {
        struct buffer wanted, got;
        buffer_init(&wanted);
        buffer_init(&got);
        buffer_format(&wanted, "%" PRId64 " %.*s", wanted_status, TEXT_ARG(wanted_reply));
        buffer_format(&got, "%" PRIu32 " %.*s", reply.status, TEXT_ARG(got_reply));
        struct buffer what;
        buffer_init(&what);
        buffer_text(&what, recorded_target);
        buffer_char(&what, '\0');
        tally_differs(r->tally, what.data, buffer_as_text(&wanted), buffer_as_text(&got));
        buffer_release(&wanted);
        buffer_release(&got);
        buffer_release(&what);
    }
    learn_names(r);
    return is_same;
}

// ---- dumps --------------------------------------------------------------------------------------

static json_t *json_of(struct text t)
{
    return json_stringn(t.data != NULL ? t.data : "", t.size);
}

static json_t *seconds_of(const struct rules *r, uint64_t time_ns)
{
    int64_t ns = (int64_t)(time_ns - r->epoch_ns);
    return json_integer(ns / (int64_t)NS_PER_S - (ns % (int64_t)NS_PER_S < 0));
}

struct dump {
    struct rules *rules;
    json_t *resources;
};

static bool dump_resource(void *context, const struct sm_resource *resource)
{
    struct dump *d = context;
    json_t *userdata = json_object();
    for (uint32_t i = 0; i < resource->userdata_count; i++) {
        const struct userdata_pair *p = &resource->userdata[i];
        json_object_setn_new(userdata, p->key.data, p->key.size, json_of(p->value));
    }
    json_t *o = json_object();
    struct text name = to_recorded(d->rules, resource->name, &d->rules->recorded);
    json_object_set_new(o, "name", json_of(name));
    json_object_set_new(o, "type", json_of(resource->type));
    // The state may be a resource's name too.
    struct text state = to_recorded(d->rules, resource->state, &d->rules->recorded);
    json_object_set_new(o, "state", json_of(state));
    json_object_set_new(o, "owner", json_of(resource->owner));
    json_object_set_new(o, "lastupdate", seconds_of(d->rules, resource->lastupdate_ns));
    json_object_set_new(o, "userdata", userdata);
    if (resource->has_expiration) {
        json_object_set_new(o, "expiration-date", seconds_of(d->rules, resource->expiration_ns));
    }
    json_array_append_new(d->resources, o);
    return true;
}

static json_t *dump_cycles(struct sm *sm)
{
    const struct sm_life_cycle *cycles = NULL;
    uint32_t count = 0;
    json_t *list = json_array();
    sm_life_cycles(sm, &cycles, &count);
    for (uint32_t i = 0; i < count; i++) {
        json_t *o = json_object();
        json_object_set_new(o, "type", json_of(cycles[i].type));
        json_object_set_new(o, "state", json_of(cycles[i].state));
        json_object_set_new(o, "min-count", json_integer(cycles[i].min_count));
        json_object_set_new(o, "max-count", json_integer(cycles[i].max_count));
        if (cycles[i].has_lifespan) {
            json_object_set_new(o, "lifespan_s",
                                json_integer(cycles[i].lifespan_ns / (int64_t)NS_PER_S));
        }
        json_array_append_new(list, o);
    }
    return list;
}

static char *json_line(const json_t *value)
{
    char *line = value == NULL ? NULL : json_dumps(value, JSON_SORT_KEYS | JSON_COMPACT);
    return line;
}

// Element by element, so that what differs is seen. Shows the first few.
static bool same_lists(struct rules *r, const char *what, const json_t *wanted, const json_t *got)
{
    if (json_equal(wanted, got)) return true;
    size_t count = json_array_size(wanted);
    if (json_array_size(got) > count) count = json_array_size(got);
    uint32_t shown = 0;
    for (size_t i = 0; i < count && shown < ELEMENTS_SHOWN; i++) {
        const json_t *a = json_array_get(wanted, i);
        const json_t *b = json_array_get(got, i);
        if (a != NULL && b != NULL && json_equal(a, b)) continue;
        char *lines[2] = {json_line(a), json_line(b)};
        tally_differs(r->tally, what, text_from(lines[0] != NULL ? lines[0] : "none"),
                      text_from(lines[1] != NULL ? lines[1] : "none"));
        free(lines[0]);
        free(lines[1]);
        shown++;
    }
    return false;
}

static bool play_dump(struct rules *r, const json_t *step)
{
    const json_t *state = json_object_get(step, "state");
    struct dump dump = {r, json_array()};
    sm_list(r->sm, &(struct sm_filter){0}, dump_resource, &dump);
    json_t *cycles = dump_cycles(r->sm);
    bool is_same = same_lists(r, "a resource", json_object_get(state, "resources"), dump.resources);
    is_same &= same_lists(r, "a life cycle", json_object_get(state, "dynamic"), cycles);
    json_decref(dump.resources);
    json_decref(cycles);
    return is_same;
}

// ---- a file -------------------------------------------------------------------------------------

static bool play_step(void *context, const json_t *step)
{
    struct rules *r = context;
    static const struct {
        const char *name;
        bool (*play)(struct rules *r, const json_t *step);
    } kinds[] = {{"start", play_start},
                 {"tick", play_tick},
                 {"config", play_config},
                 {"request", play_request},
                 {"dump", play_dump}};
    struct text kind = json_text(json_object_get(step, "do"));
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (!text_equal(kind, text_from(kinds[i].name))) continue;
        if (i > 0 && r->sm == NULL) break;
        return kinds[i].play(r, step);
    }
    return tally_differs(r->tally, "the step", TEXT("one that is known, after a start"), kind);
}

bool play_rules(struct tally *t, const char *path)
{
    struct rules r = {.tally = t, .decoder = command_decoder_new()};
    wire_request_init(&r.request);
    bool ok = tally_file(t, path, play_step, &r);
    wire_request_release(&r.request);
    command_decoder_free(r.decoder);
    sm_free(r.sm);
    free(r.names);
    struct buffer *buffers[] = {&r.payload, &r.target, &r.body, &r.path, &r.reply, &r.recorded};
    for (size_t i = 0; i < sizeof(buffers) / sizeof(buffers[0]); i++)
        buffer_release(buffers[i]);
    return ok;
}
