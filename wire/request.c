#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/duration.h"
#include "wire/internal.h"

#include "base/banned.h"

// What a cleared request keeps of its memory: nearly all requests fit, and a connection stays
// small.
#define KEPT_BYTES_MAX ((size_t)64 * 1024)

#define PARAMS_MAX 5u // of one call

// A parameter of a call. `label` stands before its value in the text about missing ones.
struct param {
    const char *key;
    const char *label;
    uint32_t bytes_max; // 0: the request head's limit is enough
};

// The form of a call as Boskos has it. The first `required` parameters must be there.
struct form {
    const char *method;
    const char *only; // the text for another method
    uint32_t params_count, required;
    struct param params[PARAMS_MAX];
    const char *tail; // of the text about missing parameters
};

#define ALL_OF_THEM ", all of them must be set in the request."
#define ONLY_POST_ACQUIRE "/acquire only accepts POST."

static const struct form forms[] = {
    [WIRE_ACQUIRE] = {"POST",
                      ONLY_POST_ACQUIRE,
                      5,
                      4,
                      {{"type", "Bad request: Type: ", SM_TEXT_BYTES_MAX},
                       {"state", ", state: ", SM_TEXT_BYTES_MAX},
                       {"dest", ", dest: ", SM_TEXT_BYTES_MAX},
                       {"owner", ", owner: ", SM_TEXT_BYTES_MAX},
                       {"request_id", NULL, SM_TEXT_BYTES_MAX}},
                      ALL_OF_THEM},
    [WIRE_ACQUIREBYSTATE] = {"POST",
                             ONLY_POST_ACQUIRE, // Boskos names the other call here
                             4,
                             4,
                             {{"state", "state: ", SM_TEXT_BYTES_MAX},
                              {"dest", ", dest: ", SM_TEXT_BYTES_MAX},
                              {"owner", ", owner: ", SM_TEXT_BYTES_MAX},
                              {"names", ", names: ", 0}},
                             " - all of them must be set in the request."},
    [WIRE_RELEASE] = {"POST",
                      "/release only accepts POST.",
                      3,
                      3,
                      {{"name", "Name: ", SM_NAME_BYTES_MAX},
                       {"dest", ", dest: ", SM_TEXT_BYTES_MAX},
                       {"owner", ", owner: ", SM_TEXT_BYTES_MAX}},
                      ALL_OF_THEM},
    [WIRE_UPDATE] = {"POST",
                     "/update only accepts POST.",
                     3,
                     3,
                     {{"name", "Name: ", SM_NAME_BYTES_MAX},
                      {"owner", ", owner: ", SM_TEXT_BYTES_MAX},
                      {"state", ", state : ", SM_TEXT_BYTES_MAX}},
                     ALL_OF_THEM},
    [WIRE_RESET] = {"POST",
                    "/reset only accepts POST.",
                    4,
                    4,
                    {{"type", "Type: ", SM_TEXT_BYTES_MAX},
                     {"state", ", state: ", SM_TEXT_BYTES_MAX},
                     {"expire", ", expire: ", SM_TEXT_BYTES_MAX},
                     {"dest", ", dest: ", SM_TEXT_BYTES_MAX}},
                    ALL_OF_THEM},
    [WIRE_METRIC] = {"GET",
                     "/metric only accepts GET",
                     1,
                     1,
                     {{"type", NULL, SM_TEXT_BYTES_MAX}},
                     "Type must be set in the request."},
};

// Where a refusal goes.
struct answer {
    struct wire_reply *ret_reply;
    struct buffer *out;
};

// ---- memory -----------------------------------------------------------------

void wire_request_init(struct wire_request *r)
{
    *r = (struct wire_request){.call = WIRE_NOTHING};
    buffer_init(&r->memory);
}

void wire_request_clear(struct wire_request *r)
{
    if (r->memory.capacity > KEPT_BYTES_MAX) buffer_release(&r->memory);
    if (r->lists_bytes > KEPT_BYTES_MAX) {
        free(r->lists);
        r->lists = NULL;
        r->lists_bytes = 0;
    }
    buffer_clear(&r->memory);
    r->call = WIRE_NOTHING;
    r->is_command = false;
    r->name = TEXT_NONE;
    r->type = TEXT_NONE;
    r->filter = (struct sm_filter){0};
}

void wire_request_release(struct wire_request *r)
{
    buffer_release(&r->memory);
    free(r->lists);
    wire_request_init(r);
}

void *request_lists(struct wire_request *r, size_t bytes)
{
    if (r->lists_bytes < bytes) {
        free(r->lists);
        r->lists = must_malloc(bytes);
        r->lists_bytes = bytes;
    }
    return r->lists;
}

// ---- refusals ---------------------------------------------------------------

static int refuse(enum wire_call call, const char *message, struct answer a)
{
    wire_refusal(call, 400, message, a.ret_reply, a.out);
    return 1;
}

// "Bad request: KEY WHAT." where WHAT may need a number.
static int refuse_param(enum wire_call call, const char *key, struct answer a, const char *what)
{
    char message[FAULT_BYTES];
    (void)snprintf(message, sizeof(message), "Bad request: %s %s.", key, what);
    return refuse(call, message, a);
}

static int refuse_method(const struct form *f, struct text method, struct answer a)
{
    if (strcmp(f->method, "POST") == 0) { // Boskos does not name the method when GET is wanted
        buffer_string(a.out, "Method ");
        buffer_text(a.out, method);
        buffer_string(a.out, ", ");
    }
    buffer_string(a.out, f->only);
    buffer_char(a.out, '\n');
    *a.ret_reply = reply_error(405);
    return 1;
}

static int refuse_missing(const struct form *f, const struct text *values, struct answer a)
{
    for (uint32_t i = 0; i < f->required; i++) {
        if (f->params[i].label == NULL) continue;
        buffer_string(a.out, f->params[i].label);
        buffer_text(a.out, values[i]);
    }
    buffer_string(a.out, f->tail);
    buffer_char(a.out, '\n');
    *a.ret_reply = reply_error(400);
    return 1;
}

// Checks the encoding and the size of one parameter.
static int check_text(enum wire_call call, const char *key, struct text value, uint32_t bytes_max,
                      struct answer a)
{
    if (!text_is_utf8(value)) return refuse_param(call, key, a, "is not valid UTF-8");
    if (bytes_max == 0 || value.size <= bytes_max) return 0;

    char what[64];
    (void)snprintf(what, sizeof(what), "is longer than %u bytes", bytes_max);
    return refuse_param(call, key, a, what);
}

// ---- the calls of Boskos ----------------------------------------------------

// The first value of each parameter of the call, empty when it is not there.
static void read_params(struct wire_request *r, const struct form *f, struct text query,
                        struct text *ret_values)
{
    bool is_seen[PARAMS_MAX] = {false};
    for (uint32_t i = 0; i < f->params_count; i++)
        ret_values[i] = TEXT("");

    struct param_pair pair;
    while (params_next(&query, &pair)) {
        for (uint32_t i = 0; i < f->params_count; i++) {
            if (is_seen[i] || !params_key_is(pair.key, f->params[i].key)) continue;
            is_seen[i] = true;
            ret_values[i] = params_decode(pair.value, &r->memory);
            break;
        }
    }
}

static int check_names(struct text names, struct answer a)
{
    uint32_t count = 1, size = 0;
    for (uint32_t i = 0; i < names.size; i++) {
        bool is_comma = names.data[i] == ',';
        count += is_comma;
        size = is_comma ? 0 : size + 1;
        if (count <= WIRE_NAMES_MAX && size <= SM_NAME_BYTES_MAX) continue;

        char what[64];
        if (count > WIRE_NAMES_MAX)
            (void)snprintf(what, sizeof(what), "holds more than %u names", WIRE_NAMES_MAX);
        else
            (void)snprintf(what, sizeof(what), "holds a name longer than %u bytes",
                           SM_NAME_BYTES_MAX);
        return refuse_param(WIRE_ACQUIREBYSTATE, "names", a, what);
    }
    return 0;
}

static int check_duration(struct text expire, struct answer a)
{
    int64_t ns;
    if (duration_parse(expire, &ns, a.out) == 0) return 0;
    buffer_char(a.out, '\n');
    *a.ret_reply = reply_error(400);
    return 1;
}

static int check_body(struct wire_request *r, struct text body, struct answer a)
{
    if (body.size > SM_BODY_BYTES_MAX) {
        wire_refusal(r->call, 413, WIRE_BODY_TOO_LARGE, a.ret_reply, a.out);
        return 1;
    }
    char fault[FAULT_BYTES];
    return body_read(r, body, fault) == 0 ? 0 : refuse(r->call, fault, a);
}

// Makes the command, or the query, of checked parameters `v`, which are in the order of the form.
static void fill_in(struct wire_request *r, const struct text *v)
{
    struct command *c = &r->command;
    c->seq = 0;
    c->time_ns = 0;

    switch (r->call) {
    case WIRE_ACQUIRE:
        c->kind = COMMAND_ACQUIRE;
        c->as.acquire = (struct command_acquire){v[0], v[1], v[2], v[3], v[4], TEXT_NONE};
        return;
    case WIRE_ACQUIREBYSTATE:
        c->kind = COMMAND_ACQUIREBYSTATE;
        c->as.acquirebystate = (struct command_acquirebystate){v[0], v[1], v[2], v[3]};
        return;
    case WIRE_RELEASE:
        c->kind = COMMAND_RELEASE;
        c->as.release = (struct command_release){v[0], v[1], v[2]};
        return;
    case WIRE_UPDATE:
        c->kind = COMMAND_UPDATE;
        c->as.update = (struct command_update){.name = v[0], .owner = v[1], .state = v[2]};
        return;
    case WIRE_RESET:
        c->kind = COMMAND_RESET;
        c->as.reset =
            (struct command_reset){.type = v[0], .state = v[1], .expire = v[2], .dest = v[3]};
        return;
    case WIRE_METRIC: r->type = v[0]; return;
    case WIRE_NOTHING:
    case WIRE_V1_RESOURCES:
    case WIRE_V1_RESOURCE:
    case WIRE_V1_QUEUES:
    case WIRE_V1_STATUS:
    case WIRE_V1_UNKNOWN: break;
    }
    ASSERT(false); // no call with a form
}

static int parse_call(struct wire_request *r, struct text method, struct text query,
                      struct text body, struct answer a)
{
    const struct form *f = &forms[r->call];
    if (!text_equal(method, text_from(f->method))) return refuse_method(f, method, a);

    // Nothing decoded is longer than it was, so the memory does not move under the texts.
    size_t body_bytes = wire_call_has_body(r->call) ? body.size : 0;
    (void)buffer_reserve(&r->memory, query.size + body_bytes);

    struct text values[PARAMS_MAX] = {0};
    read_params(r, f, query, values);
    for (uint32_t i = 0; i < f->required; i++)
        if (text_is_empty(values[i])) return refuse_missing(f, values, a);

    fill_in(r, values);
    // First of all, and in Go's words: no bytes that are not UTF-8 make a duration.
    int err = r->call == WIRE_RESET ? check_duration(r->command.as.reset.expire, a) : 0;
    if (err != 0) return err;

    for (uint32_t i = 0; i < f->params_count; i++) {
        err = check_text(r->call, f->params[i].key, values[i], f->params[i].bytes_max, a);
        if (err != 0) return err;
    }
    if (r->call == WIRE_ACQUIREBYSTATE) err = check_names(r->command.as.acquirebystate.names, a);
    if (r->call == WIRE_UPDATE) err = check_body(r, body, a);
    r->is_command = err == 0 && r->call != WIRE_METRIC;
    return err;
}

// ---- the calls below /v1/ ---------------------------------------------------

static bool parse_limit(struct text t, uint32_t *ret_limit)
{
    uint32_t limit = 0;
    for (uint32_t i = 0; i < t.size; i++) {
        if (t.data[i] < '0' || t.data[i] > '9') return false;
        limit = limit * 10 + (uint32_t)(t.data[i] - '0');
        if (limit > WIRE_LIMIT_MAX) return false;
    }
    if (limit == 0) return false;
    *ret_limit = limit;
    return true;
}

enum v1_param { V1_TYPE, V1_STATE, V1_OWNER, V1_LIMIT, V1_AFTER, V1_PARAMS };

static const char *const v1_keys[V1_PARAMS] = {"type", "state", "owner", "limit", "after"};

static enum v1_param v1_param_of(struct text key)
{
    for (uint32_t i = 0; i < V1_PARAMS; i++)
        if (params_key_is(key, v1_keys[i])) return (enum v1_param)i;
    return V1_PARAMS;
}

// The values of the filters, then of limit and after, of which the first counts.
struct v1_values {
    struct text *lists[V1_OWNER + 1];
    uint32_t counts[V1_OWNER + 1];
    struct text limit, after;
};

// An empty type or state is a missing one; an empty owner means the unowned.
static int v1_keep(struct v1_values *v, enum v1_param param, struct text value, struct answer a)
{
    int err = check_text(WIRE_V1_RESOURCES, v1_keys[param], value, SM_TEXT_BYTES_MAX, a);
    if (err != 0) return err;

    switch (param) {
    case V1_TYPE:
    case V1_STATE:
    case V1_OWNER:
        if (text_is_empty(value) && param != V1_OWNER) return 0;
        if (v->counts[param] == WIRE_FILTERS_MAX) {
            char what[64];
            (void)snprintf(what, sizeof(what), "is given more than %u times", WIRE_FILTERS_MAX);
            return refuse_param(WIRE_V1_RESOURCES, v1_keys[param], a, what);
        }
        v->lists[param][v->counts[param]++] = value;
        return 0;
    case V1_LIMIT:
        if (v->limit.data == NULL) v->limit = value;
        return 0;
    case V1_AFTER:
        if (v->after.data == NULL) v->after = value;
        return 0;
    case V1_PARAMS: return 0; // unknown: passed over
    }
    return 0;
}

static int parse_resources(struct wire_request *r, struct text query, struct answer a)
{
    uint32_t pairs = 1;
    for (uint32_t i = 0; i < query.size; i++)
        pairs += query.data[i] == '&';
    uint32_t each = pairs < WIRE_FILTERS_MAX ? pairs : WIRE_FILTERS_MAX;

    (void)buffer_reserve(&r->memory, query.size);
    struct text *lists = request_lists(r, (size_t)each * (V1_OWNER + 1) * sizeof(struct text));
    struct v1_values v = {.lists = {lists, lists + each, lists + (size_t)each * 2}};

    struct param_pair pair;
    while (params_next(&query, &pair)) {
        enum v1_param param = v1_param_of(pair.key);
        if (param == V1_PARAMS) continue;
        int err = v1_keep(&v, param, params_decode(pair.value, &r->memory), a);
        if (err != 0) return err;
    }

    r->filter = (struct sm_filter){.types = v.lists[V1_TYPE],
                                   .states = v.lists[V1_STATE],
                                   .owners = v.lists[V1_OWNER],
                                   .types_count = v.counts[V1_TYPE],
                                   .states_count = v.counts[V1_STATE],
                                   .owners_count = v.counts[V1_OWNER],
                                   .after = v.after};
    if (!text_is_empty(v.limit) && !parse_limit(v.limit, &r->filter.limit))
        return refuse_param(r->call, "limit", a, "must be a number from 1 to 100000");
    return 0;
}

static int parse_v1(struct wire_request *r, struct text method, struct text path, struct text query,
                    struct answer a)
{
    if (r->call == WIRE_V1_UNKNOWN) {
        wire_refusal(r->call, 404, "There is nothing at this path.", a.ret_reply, a.out);
        return 1;
    }
    if (!text_equal(method, TEXT("GET"))) {
        wire_refusal(r->call, 405, "This path only accepts GET.", a.ret_reply, a.out);
        return 1;
    }
    if (r->call == WIRE_V1_RESOURCES) return parse_resources(r, query, a);
    if (r->call == WIRE_V1_RESOURCE) {
        size_t skipped = strlen(V1_RESOURCE_PREFIX);
        buffer_append(&r->memory, path.data + skipped, path.size - skipped);
        r->name = buffer_as_text(&r->memory);
    }
    return 0;
}

int wire_parse(struct wire_request *r, struct text method, struct text path, struct text query,
               struct text body, struct wire_reply *ret_reply, struct buffer *out)
{
    struct answer a = {ret_reply, out};
    wire_request_clear(r);
    r->call = wire_route(path);

    if (r->call == WIRE_NOTHING) {
        *ret_reply = (struct wire_reply){.status = 200, .content = WIRE_CONTENT_NONE};
        return 1;
    }
    if (call_is_v1(r->call)) return parse_v1(r, method, path, query, a);
    return parse_call(r, method, query, body, a);
}

int wire_idempotency_key(struct wire_request *r, struct text key, struct wire_reply *ret_reply,
                         struct buffer *out)
{
    static const char name[] = "Idempotency-Key";
    struct answer a = {ret_reply, out};
    if (r->call != WIRE_ACQUIRE) return 0;
    int err = check_text(r->call, name, key, SM_KEY_BYTES_MAX, a);
    for (uint32_t i = 0; i < key.size && err == 0; i++) {
        unsigned char c = (unsigned char)key.data[i];
        if (c < 0x20 || c == 0x7f)
            err = refuse_param(r->call, name, a, "holds a control character");
    }
    if (err == 0)
        r->command.as.acquire.key = key;
    else
        r->is_command = false;
    return err;
}
