#include "tests/model/model_recordings.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/time.h"
#include "config/config.h"
#include "tests/model/model.h"

#include "base/banned.h"

#define LINES_MAX 100000u
#define NAMES_MAX 4096u // server-made names in one recording
#define PARAMETERS_MAX 16u
#define USERDATA_MAX 256u

// How the recordings write the Nth server-made name; ours has the same length.
#define RECORDED_PREFIX "00000000-0000-7000-8000-"
#define NAME_BYTES 36u

struct parameter {
    struct text key, value;
};

struct player {
    const char *path;
    uint32_t line;
    struct model *model;
    uint64_t epoch_ns, now_ns, seq;
    char names[NAMES_MAX][NAME_BYTES + 1]; // ours, in the order they were made
    uint32_t names_count;
    struct buffer target; // the decoded parameters
    struct parameter parameters[PARAMETERS_MAX];
    uint32_t parameters_count;
};

static bool fail(const struct player *p, const char *what, struct text wanted, struct text had)
{
    fprintf(stderr, "%s:%" PRIu32 ": %s\n  wanted: %.*s\n  had:    %.*s\n", p->path, p->line, what,
            TEXT_ARG(wanted), TEXT_ARG(had));
    return false;
}

// ---- names ------------------------------------------------------------------

static bool is_known_name(const struct player *p, struct text name)
{
    for (uint32_t i = 0; i < p->names_count; i++) {
        if (text_equal(text_from(p->names[i]), name)) return true;
    }
    return false;
}

// Ours sort by creation, so new ones come in order.
static void learn_names(struct player *p)
{
    const struct sm_resource *list = NULL;
    uint32_t count = 0;
    model_resources(p->model, &list, &count);
    for (uint32_t i = 0; i < count; i++) {
        struct text name = list[i].name;
        if (name.size != NAME_BYTES || name.data[14] != '7' || name.data[8] != '-') continue;
        if (is_known_name(p, name)) continue;
        ASSERT(p->names_count < NAMES_MAX);
        memcpy(p->names[p->names_count++], name.data, NAME_BYTES);
    }
}

// Puts our names in place of the recorded ones. One not made yet stays as it is.
static void map_names(const struct player *p, char *line)
{
    for (char *at = strstr(line, RECORDED_PREFIX); at != NULL;
         at = strstr(at + 1, RECORDED_PREFIX)) {
        unsigned long number = strtoul(at + sizeof(RECORDED_PREFIX) - 1, NULL, 10);
        if (number >= 1 && number <= p->names_count) memcpy(at, p->names[number - 1], NAME_BYTES);
    }
}

// ---- applying ---------------------------------------------------------------

static void apply(struct player *p, struct command *c, struct model_reply *ret_reply)
{
    c->seq = ++p->seq;
    c->time_ns = p->now_ns;
    model_apply(p->model, c, ret_reply);
    learn_names(p);
}

static void apply_quietly(struct player *p, struct command *c)
{
    struct model_reply reply;
    apply(p, c, &reply);
    ASSERT(reply.reason == SM_OK);
    model_reply_release(&reply);
}

static void play_start(struct player *p, const json_t *step)
{
    p->epoch_ns = (uint64_t)json_integer_value(json_object_get(step, "epoch")) * NS_PER_S;
    p->now_ns = p->epoch_ns;
    struct command c = {.kind = COMMAND_STARTED};
    c.as.started.request_ttl_ns =
        json_integer_value(json_object_get(step, "request_ttl_s")) * (int64_t)NS_PER_S;
    c.as.started.salt = 0xabc;
    apply_quietly(p, &c);
}

static void play_tick(struct player *p, const json_t *step)
{
    p->now_ns = p->epoch_ns + (uint64_t)json_integer_value(json_object_get(step, "at")) * NS_PER_S;
    apply_quietly(p, &(struct command){.kind = COMMAND_EXPIRE});
}

static bool play_config(struct player *p, const json_t *step)
{
    struct config *config = NULL;
    struct config_report report = {0};
    struct text yaml = text_from(json_string_value(json_object_get(step, "yaml")));
    int err = config_parse(yaml, &config, &report);
    if (err != 0) {
        fail(p, "the config has errors", TEXT("none"), report.joined);
        config_report_release(&report);
        return false;
    }
    struct sm_entry *entries = must_calloc(config->entries_count + 1, sizeof(*entries));
    for (size_t i = 0; i < config->entries_count; i++) {
        const struct config_entry *e = &config->entries[i];
        entries[i] = (struct sm_entry){.type = e->type,
                                       .state = e->state,
                                       .is_dynamic = e->is_dynamic,
                                       .names = e->names,
                                       .names_count = (uint32_t)e->names_count,
                                       .min_count = e->min_count,
                                       .max_count = e->max_count,
                                       .has_lifespan = e->has_lifespan,
                                       .lifespan_ns = e->lifespan_ns};
    }
    struct command c = {.kind = COMMAND_CONFIG};
    c.as.config.entries = entries;
    c.as.config.entries_count = (uint32_t)config->entries_count;
    apply_quietly(p, &c);
    free(entries);
    config_free(config);
    config_report_release(&report);
    return true;
}

// ---- requests ---------------------------------------------------------------

static char decode_char(struct text t, uint32_t *at)
{
    char c = t.data[*at];
    *at += 1;
    if (c == '+') return ' ';
    if (c != '%' || *at + 2 > t.size) return c;
    char digits[3] = {t.data[*at], t.data[*at + 1], '\0'};
    *at += 2;
    return (char)strtoul(digits, NULL, 16);
}

static struct text decode(struct player *p, struct text t)
{
    size_t start = p->target.size;
    for (uint32_t at = 0; at < t.size;)
        buffer_char(&p->target, decode_char(t, &at));
    return text_of(p->target.data + start, p->target.size - start);
}

// Splits "k=v&k=v"; nothing in the recordings is badly escaped.
static void read_parameters(struct player *p, const char *query)
{
    size_t length = strlen(query);
    buffer_clear(&p->target);
    buffer_reserve(&p->target, length); // so that what points into it stays
    p->parameters_count = 0;
    while (*query != '\0') {
        size_t pair = strcspn(query, "&");
        size_t key = strcspn(query, "=&");
        ASSERT(key < pair && p->parameters_count < PARAMETERS_MAX);
        struct parameter *slot = &p->parameters[p->parameters_count++];
        slot->key = decode(p, text_of(query, key));
        slot->value = decode(p, text_of(query + key + 1, pair - key - 1));
        query += pair;
        if (*query == '&') query++;
    }
}

static struct text parameter(const struct player *p, const char *key)
{
    for (uint32_t i = 0; i < p->parameters_count; i++) {
        if (text_equal(p->parameters[i].key, text_from(key))) return p->parameters[i].value;
    }
    return TEXT_NONE;
}

static int compare_keys(const void *a, const void *b)
{
    return text_compare(((const struct userdata_pair *)a)->key,
                        ((const struct userdata_pair *)b)->key);
}

static uint32_t read_pairs(const json_t *object, struct userdata_pair pairs[USERDATA_MAX])
{
    uint32_t count = 0;
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        ASSERT(count < USERDATA_MAX);
        pairs[count++] =
            (struct userdata_pair){text_from(key), text_from(json_string_value(value))};
    }
    qsort(pairs, count, sizeof(*pairs), compare_keys);
    return count;
}

static bool read_command(const struct player *p, const char *path, struct command *c)
{
    struct text type = parameter(p, "type"), state = parameter(p, "state");
    struct text dest = parameter(p, "dest"), owner = parameter(p, "owner");
    struct text name = parameter(p, "name");
    if (strcmp(path, "/acquire") == 0) {
        c->kind = COMMAND_ACQUIRE;
        c->as.acquire = (struct command_acquire){
            type, state, dest, owner, parameter(p, "request_id"), TEXT_NONE};
    } else if (strcmp(path, "/acquirebystate") == 0) {
        c->kind = COMMAND_ACQUIREBYSTATE;
        c->as.acquirebystate =
            (struct command_acquirebystate){state, dest, owner, parameter(p, "names")};
    } else if (strcmp(path, "/release") == 0) {
        c->kind = COMMAND_RELEASE;
        c->as.release = (struct command_release){name, dest, owner};
    } else if (strcmp(path, "/update") == 0) {
        c->kind = COMMAND_UPDATE;
        c->as.update = (struct command_update){.name = name, .owner = owner, .state = state};
    } else if (strcmp(path, "/reset") == 0) {
        c->kind = COMMAND_RESET;
        c->as.reset = (struct command_reset){type, state, dest, parameter(p, "expire")};
    } else {
        return false;
    }
    return true;
}

// A resource of a reply or of a dump, whose times are written differently, as a line of the dump.
static void dump_json(const struct player *p, const json_t *json, struct buffer *out)
{
    struct userdata_pair pairs[USERDATA_MAX];
    struct sm_resource r = {.type = text_from(json_string_value(json_object_get(json, "type"))),
                            .name = text_from(json_string_value(json_object_get(json, "name"))),
                            .state = text_from(json_string_value(json_object_get(json, "state"))),
                            .owner = text_from(json_string_value(json_object_get(json, "owner"))),
                            .userdata = pairs,
                            .userdata_count = read_pairs(json_object_get(json, "userdata"), pairs)};
    const json_t *times[2] = {json_object_get(json, "lastupdate"),
                              json_object_get(json, "expiration-date")};
    uint64_t values_ns[2] = {0, 0};
    for (uint32_t i = 0; i < 2; i++) {
        if (json_is_string(times[i])) {
            int err = time_parse(text_from(json_string_value(times[i])), &values_ns[i]);
            ASSERT(err == 0);
        } else if (json_is_integer(times[i])) {
            int64_t seconds = json_integer_value(times[i]);
            values_ns[i] = p->epoch_ns + (uint64_t)seconds * NS_PER_S;
        }
    }
    r.lastupdate_ns = values_ns[0];
    r.has_expiration = times[1] != NULL;
    r.expiration_ns = values_ns[1];
    model_dump_resource(&r, out);
}

static bool compare_success(const struct player *p, const struct model_reply *reply,
                            const char *recorded)
{
    struct buffer wanted, had;
    buffer_init(&wanted);
    buffer_init(&had);
    json_t *json = json_loads(recorded, JSON_DECODE_ANY, NULL);
    if (json_is_array(json)) {
        for (size_t i = 0; i < json_array_size(json); i++)
            dump_json(p, json_array_get(json, i), &wanted);
    } else if (json_object_get(json, "lastupdate") != NULL) {
        dump_json(p, json, &wanted);
    } else if (json != NULL) {
        const char *name = NULL;
        json_t *owner = NULL;
        json_object_foreach(json, name, owner)
        {
            buffer_format(&wanted, "%s was %s's\n", name, json_string_value(owner));
        }
    }
    for (uint32_t i = 0; i < reply->resources_count; i++)
        model_dump_resource(&reply->resources[i], &had);
    for (uint32_t i = 0; i < reply->reset_count; i++)
        buffer_format(&had, "%.*s was %.*s's\n", TEXT_ARG(reply->reset[i].name),
                      TEXT_ARG(reply->reset[i].owner));
    bool is_same = text_equal(buffer_as_text(&wanted), buffer_as_text(&had));
    if (!is_same) fail(p, "another reply", buffer_as_text(&wanted), buffer_as_text(&had));
    json_decref(json);
    buffer_release(&wanted);
    buffer_release(&had);
    return is_same;
}

// The part of a refusal's text that tells what the rules said.
static void refusal_text(enum command_kind kind, const struct model_reply *reply,
                         struct buffer *out)
{
    switch (reply->reason) {
    case SM_OK:
    case SM_QUEUE_FULL:
    case SM_QUEUES_FULL:
    case SM_USERDATA_TOO_LARGE:
    case SM_KEY_MISMATCH: break;
    case SM_NO_AVAILABLE: buffer_string(out, "no available resource"); break;
    case SM_NO_SUCH_TYPE: buffer_string(out, "does not exist\n"); break;
    case SM_NO_SUCH_RESOURCE:
        buffer_string(out, kind == COMMAND_RELEASE ? "Done failed" : "Update failed");
        break;
    case SM_OWNER_MISMATCH:
        buffer_format(out, ", currently owned by %.*s\n", TEXT_ARG(reply->current_owner));
        break;
    case SM_STATE_MISMATCH:
        buffer_format(out, "expected %.*s, current", TEXT_ARG(reply->current_state));
        break;
    }
}

static int64_t status_of(enum sm_reason reason)
{
    switch (reason) {
    case SM_OK: return 200;
    case SM_NO_AVAILABLE:
    case SM_NO_SUCH_TYPE:
    case SM_NO_SUCH_RESOURCE: return 404;
    case SM_OWNER_MISMATCH: return 401;
    case SM_STATE_MISMATCH:
    case SM_KEY_MISMATCH: return 409;
    case SM_QUEUE_FULL:
    case SM_QUEUES_FULL: return 503;
    case SM_USERDATA_TOO_LARGE: return 413;
    }
    return 0;
}

static bool compare_reply(const struct player *p, enum command_kind kind,
                          const struct model_reply *reply, const json_t *step)
{
    const char *recorded = json_string_value(json_object_get(step, "reply"));
    int64_t status = json_integer_value(json_object_get(step, "status"));
    if (status_of(reply->reason) != status) {
        char had[32], wanted[32];
        snprintf(had, sizeof(had), "%" PRId64, status_of(reply->reason));
        snprintf(wanted, sizeof(wanted), "%" PRId64, status);
        return fail(p, json_string_value(json_object_get(step, "target")), text_from(wanted),
                    text_from(had));
    }
    if (reply->reason == SM_OK) return compare_success(p, reply, recorded);

    struct buffer text;
    buffer_init(&text);
    refusal_text(kind, reply, &text);
    buffer_char(&text, '\0');
    bool is_same = strstr(recorded, text.data) != NULL;
    if (!is_same) fail(p, "another refusal", text_from(recorded), buffer_as_text(&text));
    buffer_release(&text);
    return is_same;
}

// Counts the resources of the type whose state, or owner, is the key; a NULL key counts all.
static int64_t count_resources(const struct player *p, struct text type, bool by_owner,
                               const char *key)
{
    const struct sm_resource *list = NULL;
    uint32_t count = 0;
    int64_t found = 0;
    model_resources(p->model, &list, &count);
    for (uint32_t i = 0; i < count; i++) {
        struct text value = by_owner ? list[i].owner : list[i].state;
        if (!text_equal(list[i].type, type)) continue;
        found += key == NULL || text_equal(value, text_from(key));
    }
    return found;
}

static bool play_metric(const struct player *p, const json_t *step)
{
    struct text type = parameter(p, "type");
    const char *reply = json_string_value(json_object_get(step, "reply"));
    int64_t all = count_resources(p, type, false, NULL);
    if (json_integer_value(json_object_get(step, "status")) == 404)
        return all == 0 || fail(p, "metric", text_from(reply), TEXT("resources of the type"));

    json_t *json = json_loads(reply, 0, NULL);
    bool is_same = json != NULL;
    for (int by_owner = 0; by_owner < 2; by_owner++) {
        int64_t sum = 0;
        const char *key = NULL;
        json_t *value = NULL;
        json_object_foreach(json_object_get(json, by_owner ? "owner" : "current"), key, value)
        {
            sum += json_integer_value(value);
            is_same &= count_resources(p, type, by_owner, key) == json_integer_value(value);
        }
        is_same &= sum == all;
    }
    json_decref(json);
    return is_same || fail(p, "metric", text_from(reply), TEXT("other counts"));
}

static bool play_request(struct player *p, const json_t *step)
{
    // What is malformed never becomes a command.
    if (json_integer_value(json_object_get(step, "status")) == 400) return true;
    const char *target = json_string_value(json_object_get(step, "target"));
    size_t path_length = strcspn(target, "?");
    char path[32];
    snprintf(path, sizeof(path), "%.*s", (int)path_length, target);
    read_parameters(p, target + path_length + (target[path_length] == '?'));
    if (strcmp(path, "/metric") == 0) return play_metric(p, step);

    struct command c = {0};
    if (!read_command(p, path, &c)) return fail(p, "unknown call", TEXT_NONE, text_from(path));
    struct userdata_pair pairs[USERDATA_MAX];
    json_t *body = NULL;
    const char *body_text = json_string_value(json_object_get(step, "body"));
    if (c.kind == COMMAND_UPDATE && body_text != NULL) {
        body = json_loads(body_text, JSON_DISABLE_EOF_CHECK | JSON_DECODE_ANY, NULL);
        c.as.update.has_body = json_is_object(body);
        c.as.update.pairs = pairs;
        c.as.update.pairs_count = read_pairs(body, pairs);
    }
    struct model_reply reply;
    apply(p, &c, &reply);
    bool is_same = compare_reply(p, c.kind, &reply, step);
    model_reply_release(&reply);
    json_decref(body);
    return is_same;
}

// ---- dumps ------------------------------------------------------------------

static void dump_json_cycle(const json_t *json, struct buffer *out)
{
    const json_t *lifespan = json_object_get(json, "lifespan_s");
    struct sm_life_cycle c = {.type = text_from(json_string_value(json_object_get(json, "type"))),
                              .state = text_from(json_string_value(json_object_get(json, "state"))),
                              .min_count = json_integer_value(json_object_get(json, "min-count")),
                              .max_count = json_integer_value(json_object_get(json, "max-count")),
                              .has_lifespan = lifespan != NULL,
                              .lifespan_ns = json_integer_value(lifespan) * (int64_t)NS_PER_S};
    c.is_fading = c.max_count == 0; // a config cannot say so
    model_dump_life_cycle(&c, out);
}

// The model's dump without the queues, which the recordings do not show.
static void dump_model(const struct player *p, struct buffer *out)
{
    struct buffer all;
    buffer_init(&all);
    model_dump(p->model, &all);
    for (size_t start = 0; start < all.size;) {
        const char *end = memchr(all.data + start, '\n', all.size - start);
        size_t size = (size_t)(end - (all.data + start)) + 1;
        if (memcmp(all.data + start, "queue ", 6) != 0) buffer_append(out, all.data + start, size);
        start += size;
    }
    buffer_release(&all);
}

static bool play_dump(const struct player *p, const json_t *step)
{
    struct buffer wanted, had;
    buffer_init(&wanted);
    buffer_init(&had);
    const json_t *state = json_object_get(step, "state");
    const json_t *resources = json_object_get(state, "resources");
    const json_t *cycles = json_object_get(state, "dynamic");
    for (size_t i = 0; i < json_array_size(resources); i++)
        dump_json(p, json_array_get(resources, i), &wanted);
    for (size_t i = 0; i < json_array_size(cycles); i++)
        dump_json_cycle(json_array_get(cycles, i), &wanted);
    dump_model(p, &had);
    bool is_same = text_equal(buffer_as_text(&wanted), buffer_as_text(&had));
    if (!is_same) fail(p, "another state", buffer_as_text(&wanted), buffer_as_text(&had));
    buffer_release(&wanted);
    buffer_release(&had);
    return is_same;
}

static bool play_line(struct player *p, char *line)
{
    map_names(p, line);
    json_error_t error;
    json_t *step = json_loads(line, 0, &error);
    if (step == NULL) return fail(p, error.text, TEXT("JSON"), TEXT_NONE);
    const char *kind = json_string_value(json_object_get(step, "do"));
    bool ok = true;
    if (strcmp(kind, "start") == 0)
        play_start(p, step);
    else if (strcmp(kind, "tick") == 0)
        play_tick(p, step);
    else if (strcmp(kind, "config") == 0)
        ok = play_config(p, step);
    else if (strcmp(kind, "request") == 0)
        ok = play_request(p, step);
    else if (strcmp(kind, "dump") == 0)
        ok = play_dump(p, step);
    else
        ok = fail(p, "unknown step", TEXT_NONE, text_from(kind));
    json_decref(step);
    return ok;
}

bool recording_play(const char *path, uint32_t *ret_steps)
{
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        fprintf(stderr, "%s: cannot be opened\n", path);
        return false;
    }
    struct player *p = must_calloc(1, sizeof(*p));
    p->path = path;
    p->model = model_new();
    buffer_init(&p->target);

    char *line = NULL;
    size_t capacity = 0;
    bool ok = true;
    while (ok && p->line < LINES_MAX && getline(&line, &capacity, file) > 0) {
        p->line++;
        ok = play_line(p, line);
    }
    if (ok) *ret_steps = p->line;
    free(line);
    buffer_release(&p->target);
    model_free(p->model);
    free(p);
    fclose(file);
    return ok;
}
