// Was it done? For calls whose reply was lost and that must not be done twice. boskosd tells the
// owner and the last update of a resource; what happened within the last moments is told by its own
// clock, so that ours need not agree with it.
#include "client/client.h"

#include "base/time.h"

#include "base/banned.h"

#define NS_PER_MS INT64_C(1000000)
#define SLACK_MS 1 // our times are cut to milliseconds

static int read_json(struct boskos_client *c, const char *path, const struct limits *l,
                     json_t **ret_object)
{
    struct boskos_call call;
    struct request request;
    struct reply reply;
    enum fate fate;
    boskos_call_init(&call);
    request_init(&request, "GET", path);
    reply_init(&reply);
    int err = exchange(c, CALL_READ, &request, l, &reply, &fate, &call);
    if (err == 0) {
        json_t *object = json_loadb(reply.body.data != NULL ? reply.body.data : "", reply.body.size,
                                    JSON_ALLOW_NUL, NULL);
        // The original server answers 200 and nothing to a path that it does not know.
        if (json_is_object(object)) {
            *ret_object = object;
        } else {
            json_decref(object);
            bool is_original = reply.body.size == 0 && !atomic_load(&c->is_boskosd);
            err = is_original ? BOSKOS_ERR_UNSUPPORTED : BOSKOS_ERR_REPLY;
        }
    }
    reply_release(&reply);
    request_release(&request);
    return err;
}

static enum seen seen_of(int err)
{
    if (err == BOSKOS_ERR_NO_RESOURCE) return SEEN_OTHER;
    return err == BOSKOS_ERR_UNSUPPORTED ? SEEN_UNKNOWN : SEEN_FAILED;
}

static bool read_time(const json_t *object, const char *key, uint64_t *ret_ns)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL && time_parse(text_from(text), ret_ns) == 0;
}

// Exact to the time of one request: what happened at the server while it was asked for its time
// cannot be told from what happened so long before `since`.
static enum seen compare(int64_t age_ns, int64_t least_ms, int64_t most_ms)
{
    if (age_ns < (least_ms - SLACK_MS) * NS_PER_MS) return SEEN_OURS;
    return age_ns > (most_ms + SLACK_MS) * NS_PER_MS ? SEEN_SAME : SEEN_UNCLEAR;
}

enum seen guard_look(struct boskos_client *c, const char *name, const char *state, int64_t since_ms,
                     const struct limits *l)
{
    struct buffer path;
    json_t *resource = NULL, *status = NULL;
    enum seen seen = SEEN_FAILED;
    uint64_t updated, now;
    resource_path(&path, name);
    int err = read_json(c, path.data, l, &resource);
    int64_t least_ms = client_now_ms() - since_ms;
    if (err == 0) err = read_json(c, "/v1/status", l, &status);
    int64_t most_ms = client_now_ms() - since_ms;
    if (err != 0) {
        seen = seen_of(err);
    } else if (read_time(resource, "lastupdate", &updated) && read_time(status, "time", &now)) {
        const char *owner = json_string_value(json_object_get(resource, "owner"));
        const char *is_in = json_string_value(json_object_get(resource, "state"));
        bool is_ours = owner != NULL && c->options.owner != NULL &&
                       strcmp(owner, c->options.owner) == 0 &&
                       (state == NULL || (is_in != NULL && strcmp(is_in, state) == 0));
        seen = is_ours ? compare((int64_t)(now - updated), least_ms, most_ms) : SEEN_OTHER;
    }
    json_decref(resource);
    json_decref(status);
    buffer_release(&path);
    return seen;
}
