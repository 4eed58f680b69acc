// Giving back, updating, resetting, counting, listing.
#include "client/client.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/duration.h"

#include "base/banned.h"

#define LOOK_AFTER_MS 300000 // a release that could not be sent for so long is looked at first
#define RESOURCES_MAX 10000000u

// ---- release --------------------------------------------------------------------

// May a release be sent? 0; or what its end is: *ret_is_done.
static int look_before(struct boskos_client *client, struct attempt *a, const char *name,
                       bool *ret_is_done)
{
    if (!a->is_doubted && client_now_ms() - a->began_ms < LOOK_AFTER_MS) return 0;
    switch (guard_look(client, name, NULL, a->began_ms, &a->limits)) {
    case SEEN_UNKNOWN:
    case SEEN_UNCLEAR: // a heartbeat or the acquire just before
    case SEEN_SAME: return 0;
    case SEEN_FAILED:
        a->count++;
        return boskos_code_is_transient(a->last) ? a->last : BOSKOS_ERR_LOST;
    case SEEN_OTHER:
        *ret_is_done = true;
        return a->is_doubted ? 0
                             : call_fail(a->call, BOSKOS_ERR_OWNER, "%s is no longer ours", name);
    case SEEN_OURS: break;
    }
    return call_fail(a->call, BOSKOS_ERR_OWNER,
                     "the reply to a release of %s was lost, and it was updated or acquired since "
                     "by the same owner: it is not released again",
                     name);
}

int release_once(struct boskos_client *client, struct attempt *a, const char *name,
                 const char *dest)
{
    bool is_done = false, was_doubted = a->is_doubted;
    int err = look_before(client, a, name, &is_done);
    if (err != 0 || is_done) return err;
    struct request q;
    struct reply reply;
    request_init(&q, "POST", "/release");
    request_parameter(&q, "dest", dest);
    request_parameter(&q, "name", name);
    request_parameter(&q, "owner", client->options.owner);
    q.is_alone = true;
    reply_init(&reply);
    err = attempt_send(a, &q, &reply);
    // Then it was the one before that did it.
    if (was_doubted && (err == BOSKOS_ERR_OWNER || err == BOSKOS_ERR_NO_RESOURCE)) err = 0;
    reply_release(&reply);
    request_release(&q);
    return err;
}

// Takes it off the list and gives it back. What is to go with it is left in *ret_lease.
static int release(struct boskos_client *client, const char *name, const char *dest,
                   struct lease *ret_lease, struct boskos_call *call)
{
    struct attempt a;
    static const struct reply nothing; // Retry-After of a release is of no interest
    (void)leases_take(client, name, ret_lease);
    leases_undoubt_taken(client, name);
    attempt_init(&a, client, CALL_RELEASE, call);
    int err;
    do {
        err = release_once(client, &a, name, dest);
    } while (err != 0 && attempt_again(&a, &err, &nothing));
    if (err == 0) {
        call->text[0] = '\0';
    } else if (boskos_code_is_transient(err) || err == BOSKOS_ERR_CANCELLED) {
        call->is_doubted = 1;
        leases_doubt_release(client, name, dest, &a);
    }
    return err;
}

// One of several: the first error is the one that counts.
static int also_release(struct boskos_client *client, const char *name, const char *dest, int err,
                        struct boskos_call *call)
{
    struct lease lease = {0};
    struct boskos_call other;
    boskos_call_init(&other);
    other.timeout_ms = call->timeout_ms;
    other.cancel = call->cancel;
    int one = release(client, name, dest, &lease, &other);
    lease_release(&lease);
    if (one == 0 || err != 0) return err;
    call->is_doubted = other.is_doubted;
    call->status = other.status;
    return call_fail(call, one, "%s", other.text);
}

int boskos_release(struct boskos_client *client, const char *name, const char *dest,
                   struct boskos_call *call)
{
    struct boskos_call own;
    struct lease lease = {0};
    call = call_begin(call, &own);
    int err = call_check(client, call, true, (const char *const[]){name, dest}, 2);
    if (err != 0) return err;
    err = release(client, name, dest, &lease, call);
    for (size_t i = 0; i < lease.leased_count; i++)
        err = also_release(client, lease.leased[i], dest, err, call);
    lease_release(&lease);
    return err;
}

int boskos_release_all(struct boskos_client *client, const char *dest, struct boskos_call *call)
{
    struct boskos_call own;
    call = call_begin(call, &own);
    int err = call_check(client, call, true, &dest, 1);
    if (err != 0) return err;
    struct boskos_resources *held = boskos_held(client); // what belongs to another is in it too
    for (size_t i = 0; i < held->count; i++) {
        char *state = leases_state(client, held->items[i]->name);
        bool is_held = state != NULL; // it may have been lost meanwhile
        free(state);
        if (is_held) err = also_release(client, held->items[i]->name, dest, err, call);
    }
    boskos_resources_free(held);
    return err;
}

// ---- update ---------------------------------------------------------------------

static char *userdata_json(const struct boskos_pair *pairs, size_t count, size_t *ret_size)
{
    json_t *object = json_object();
    for (size_t i = 0; i < count; i++) {
        json_t *value = json_stringn(pairs[i].value, pairs[i].value_size);
        if (value == NULL || json_object_set_new(object, pairs[i].key, value) != 0) {
            json_decref(object);
            return NULL; // not UTF-8
        }
    }
    char *text = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(object);
    if (text != NULL) *ret_size = strlen(text);
    return text;
}

int boskos_update(struct boskos_client *client, const char *name, const char *state,
                  const struct boskos_pair *userdata, size_t count, struct boskos_call *call)
{
    struct boskos_call own;
    call = call_begin(call, &own);
    char *held = state == NULL && name != NULL ? leases_state(client, name) : NULL;
    if (state == NULL) state = held;
    int err = call_check(client, call, true, (const char *const[]){name, state}, 2);
    struct request q;
    struct reply reply;
    struct attempt a;
    char *body = NULL;
    request_init(&q, "POST", "/update");
    reply_init(&reply);
    if (err == 0 && count > 0) {
        body = userdata_json(userdata, count, &q.body_size);
        q.body = body;
        if (body == NULL) err = call_fail(call, BOSKOS_ERR_ARGUMENT, "a key or value is not UTF-8");
    }
    if (err == 0) {
        request_parameter(&q, "name", name);
        request_parameter(&q, "owner", client->options.owner);
        request_parameter(&q, "state", state);
        attempt_init(&a, client, CALL_UPDATE, call);
        do {
            err = attempt_send(&a, &q, &reply);
        } while (err != 0 && attempt_again(&a, &err, &reply));
    }
    free(body);
    free(held);
    reply_release(&reply);
    request_release(&q);
    return err;
}

// ---- calls that answer in JSON --------------------------------------------------

// Sends until there is a JSON object. Free with json_decref.
static int ask(struct boskos_client *client, enum call_kind kind, const struct request *q,
               struct boskos_call *call, json_t **ret_object)
{
    struct attempt a;
    struct reply reply;
    attempt_init(&a, client, kind, call);
    reply_init(&reply);
    int err;
    do {
        err = attempt_send(&a, q, &reply);
        json_t *object = err == 0 && reply.body.size > 0
                             ? json_loadb(reply.body.data, reply.body.size, JSON_ALLOW_NUL, NULL)
                             : NULL;
        if (err == 0 && json_is_object(object)) {
            *ret_object = object;
        } else {
            json_decref(object);
            if (err == 0 && kind == CALL_READ && reply.body.size == 0 &&
                !atomic_load(&client->is_boskosd))
                err = call_fail(call, BOSKOS_ERR_UNSUPPORTED, "%s is not boskosd: it has no %s",
                                client->base, q->path);
            else if (err == 0)
                err = call_fail(call, BOSKOS_ERR_REPLY, "%s%s: the reply is no JSON object",
                                client->base, q->path);
        }
    } while (err != 0 && attempt_again(&a, &err, &reply));
    reply_release(&reply);
    return err;
}

static int bad_reply(struct boskos_client *client, struct boskos_call *call, const char *path)
{
    return call_fail(call, BOSKOS_ERR_REPLY, "%s%s: what was answered is no reply of Boskos",
                     client->base, path);
}

int boskos_reset(struct boskos_client *client, const char *type, const char *state,
                 int64_t expire_ns, const char *dest, struct boskos_pairs **ret_owners,
                 struct boskos_call *call)
{
    struct boskos_call own;
    json_t *object = NULL;
    call = call_begin(call, &own);
    int err = call_check(client, call, false, (const char *const[]){type, state, dest}, 3);
    if (err != 0) return err;
    struct request q;
    struct buffer expire;
    buffer_init(&expire);
    duration_format(expire_ns, &expire);
    buffer_char(&expire, '\0');
    request_init(&q, "POST", "/reset");
    request_parameter(&q, "dest", dest);
    request_parameter(&q, "expire", expire.data);
    request_parameter(&q, "state", state);
    request_parameter(&q, "type", type);
    err = ask(client, CALL_RESET, &q, call, &object);
    if (err == 0) {
        struct boskos_pairs *owners = pairs_from_json(object);
        if (owners != NULL)
            *ret_owners = owners;
        else
            err = bad_reply(client, call, q.path);
    }
    json_decref(object);
    request_release(&q);
    buffer_release(&expire);
    return err;
}

int boskos_metric(struct boskos_client *client, const char *type, struct boskos_metric **ret_metric,
                  struct boskos_call *call)
{
    struct boskos_call own;
    json_t *object = NULL;
    struct request q;
    call = call_begin(call, &own);
    int err = call_check(client, call, false, &type, 1);
    if (err != 0) return err;
    request_init(&q, "GET", "/metric");
    request_parameter(&q, "type", type);
    err = ask(client, CALL_METRIC, &q, call, &object);
    if (err == 0) {
        struct boskos_metric *metric = metric_from_json(object);
        if (metric != NULL)
            *ret_metric = metric;
        else
            err = bad_reply(client, call, q.path);
    }
    json_decref(object);
    request_release(&q);
    return err;
}

// ---- reads of boskosd -----------------------------------------------------------

static void add_all(struct request *q, const char *key, const char *const *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        request_parameter(q, key, values[i]);
}

// One part of the list, behind the last one that is there. Says how many came.
static int list_part(struct boskos_client *client, const struct boskos_filter *f,
                     struct boskos_resources *list, size_t *ret_more, struct boskos_call *call)
{
    json_t *object = NULL;
    struct request q;
    struct buffer limit;
    buffer_init(&limit);
    buffer_format(&limit, "%u", CLIENT_LIST_PAGE);
    buffer_char(&limit, '\0');
    request_init(&q, "GET", "/v1/resources");
    q.reply_max = CLIENT_LIST_BYTES_MAX;
    if (list->count > 0) request_parameter(&q, "after", list->items[list->count - 1]->name);
    request_parameter(&q, "limit", limit.data);
    add_all(&q, "owner", f->owners, f->owners_count);
    add_all(&q, "state", f->states, f->states_count);
    add_all(&q, "type", f->types, f->types_count);
    int err = ask(client, CALL_READ, &q, call, &object);
    if (err == 0) {
        struct boskos_resources *part = resources_from_json(json_object_get(object, "resources"));
        if (part == NULL || list->count + part->count > RESOURCES_MAX) {
            err = bad_reply(client, call, q.path);
        } else if (part->count > 0) {
            list->items = must_realloc(list->items, (list->count + part->count) *
                                                        sizeof(struct boskos_resource *));
            memcpy(list->items + list->count, part->items,
                   part->count * sizeof(struct boskos_resource *));
            list->count += part->count;
        }
        if (err == 0 && part != NULL) {
            *ret_more = part->count;
            part->count = 0; // they are in the list now
        }
        boskos_resources_free(part);
    }
    json_decref(object);
    request_release(&q);
    buffer_release(&limit);
    return err;
}

int boskos_list(struct boskos_client *client, const struct boskos_filter *filter,
                struct boskos_resources **ret_resources, struct boskos_call *call)
{
    static const struct boskos_filter all;
    struct boskos_call own;
    call = call_begin(call, &own);
    int err = call_check(client, call, false, NULL, 0);
    if (err != 0) return err;
    struct boskos_resources *list = must_calloc(1, sizeof(*list));
    size_t more = CLIENT_LIST_PAGE;
    while (err == 0 && more == CLIENT_LIST_PAGE)
        err = list_part(client, filter != NULL ? filter : &all, list, &more, call);
    if (err == 0)
        *ret_resources = list;
    else
        boskos_resources_free(list);
    return err;
}

int boskos_get(struct boskos_client *client, const char *name,
               struct boskos_resource **ret_resource, struct boskos_call *call)
{
    struct boskos_call own;
    json_t *object = NULL;
    struct request q;
    struct buffer path;
    call = call_begin(call, &own);
    int err = call_check(client, call, false, &name, 1);
    if (err != 0) return err;
    resource_path(&path, name);
    request_init(&q, "GET", path.data);
    err = ask(client, CALL_READ, &q, call, &object);
    if (err == 0) {
        struct boskos_resource *r = resource_from_json(object);
        if (r != NULL)
            *ret_resource = r;
        else
            err = bad_reply(client, call, q.path);
    }
    json_decref(object);
    request_release(&q);
    buffer_release(&path);
    return err;
}
