// Taking: one, several by name, one with those that belong to it.
#include "client/client.h"

#include <stdlib.h>

#include "base/assert.h"

#include "base/banned.h"

#define NAMES_MAX 8192u    // what boskosd takes in one call
#define KEY_BYTES_MAX 255u // of an Idempotency-Key there

// ---- one ------------------------------------------------------------------------

int acquire_once(struct attempt *a, const char *type, const char *state, const char *dest,
                 const char *request_id, const char *key, struct reply *reply,
                 struct boskos_resource **ret_resource)
{
    struct request q;
    request_init(&q, "POST", "/acquire");
    request_parameter(&q, "dest", dest);
    request_parameter(&q, "owner", a->client->options.owner);
    request_parameter(&q, "request_id", request_id);
    request_parameter(&q, "state", state);
    request_parameter(&q, "type", type);
    q.idempotency_key = key;
    int err = attempt_send(a, &q, reply);
    if (err == 0 && boskos_resource_parse(reply->body.data, reply->body.size, ret_resource) != 0) {
        a->is_doubted = true; // it was given, and we do not know which
        err = call_fail(a->call, BOSKOS_ERR_REPLY, "%s/acquire: the reply is no resource",
                        a->client->base);
    }
    request_release(&q);
    return err;
}

// Did boskosd say, knowing our key, that we have nothing?
static bool is_denied(const struct attempt *a, const struct reply *reply)
{
    return reply->has_seq && !a->is_late && reply->status >= 400 && reply->status < 500;
}

// An acquire that failed and may have been done.
static void doubt(struct attempt *a, const char *type, const char *state, const char *dest,
                  const char *key, const struct reply *reply)
{
    if (!a->is_doubted || is_denied(a, reply)) return;
    a->call->is_doubted = 1;
    // The original does not know keys.
    bool is_original =
        !reply->has_seq && (a->last == BOSKOS_ERR_NONE || a->last == BOSKOS_ERR_NO_TYPE);
    if (!is_original) leases_doubt_acquire(a->client, type, state, dest, key);
}

static void start_waiting(struct attempt *a, int64_t wait_ms)
{
    if (wait_ms == 0) return;
    a->is_waiting = true;
    a->limits.deadline_ms = wait_ms < 0 ? INT64_MAX : a->began_ms + wait_ms;
}

static int acquire(struct boskos_client *client, const char *type, const char *state,
                   const char *dest, int64_t wait_ms, struct boskos_resource **ret_resource,
                   struct boskos_call *call)
{
    char key[CLIENT_ID_BYTES], id[CLIENT_ID_BYTES];
    const char *used_key = call->idempotency_key, *used_id = call->request_id;
    struct attempt a;
    struct reply reply;
    client_random_id(key);
    client_random_id(id);
    if (used_key == NULL) used_key = key;
    if (used_id == NULL && wait_ms != 0) used_id = id;
    attempt_init(&a, client, CALL_ACQUIRE, call);
    start_waiting(&a, wait_ms);
    reply_init(&reply);
    int err;
    do {
        err = acquire_once(&a, type, state, dest, used_id, used_key, &reply, ret_resource);
    } while (err != 0 && attempt_again(&a, &err, &reply));
    if (err != 0) doubt(&a, type, state, dest, used_key, &reply);
    reply_release(&reply);
    return err;
}

// It goes into a header as it is.
static int check_key(struct boskos_call *call)
{
    const char *key = call->idempotency_key;
    if (key == NULL) return 0;
    size_t size = strlen(key);
    bool is_good = size > 0 && size <= KEY_BYTES_MAX;
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)key[i] < ' ' || key[i] == 0x7f) is_good = false;
    }
    return is_good ? 0
                   : call_fail(call, BOSKOS_ERR_ARGUMENT,
                               "the idempotency key is empty, longer than %u bytes, or holds a "
                               "control character",
                               KEY_BYTES_MAX);
}

int boskos_acquire(struct boskos_client *client, const char *type, const char *state,
                   const char *dest, int64_t wait_ms, struct boskos_resource **ret_resource,
                   struct boskos_call *call)
{
    struct boskos_call own;
    call = call_begin(call, &own);
    int err = call_check(client, call, true, (const char *const[]){type, state, dest}, 3);
    if (err == 0) err = check_key(call);
    if (err == 0) err = acquire(client, type, state, dest, wait_ms, ret_resource, call);
    if (err == 0) leases_add(client, *ret_resource, NULL);
    return err;
}

// ---- several, by name -----------------------------------------------------------

static void join(struct buffer *out, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (i > 0) buffer_char(out, ',');
        buffer_string(out, names[i]);
    }
    buffer_char(out, '\0');
}

// After a reply that was lost, a refusal may come of their being ours already: 0 then.
static int look_at_them(struct attempt *a, const char *dest, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        enum seen seen = guard_look(a->client, names[i], dest, a->began_ms, &a->limits);
        if (seen == SEEN_FAILED)
            return call_fail(a->call, BOSKOS_ERR_LOST,
                             "whether %s was taken cannot be looked at now", names[i]);
        if (seen != SEEN_OURS && seen != SEEN_UNCLEAR) return BOSKOS_ERR_NONE;
    }
    return 0;
}

static int read_them(struct attempt *a, const char *const *names, size_t count,
                     struct boskos_resources **ret_resources)
{
    struct boskos_resources *list = must_calloc(1, sizeof(*list));
    list->items = must_calloc(count + 1, sizeof(struct boskos_resource *));
    int err = 0;
    for (size_t i = 0; err == 0 && i < count; i++) {
        err = boskos_get(a->client, names[i], &list->items[list->count], a->call);
        if (err == 0) list->count++;
    }
    if (err == 0)
        *ret_resources = list;
    else
        boskos_resources_free(list);
    return err;
}

static int by_state_once(struct attempt *a, const char *state, const char *dest,
                         const char *const *names, size_t count, struct reply *reply,
                         struct boskos_resources **ret_resources)
{
    struct buffer joined;
    struct request q;
    bool was_doubted = a->is_doubted;
    buffer_init(&joined);
    join(&joined, names, count);
    request_init(&q, "POST", "/acquirebystate");
    request_parameter(&q, "dest", dest);
    request_parameter(&q, "names", joined.data);
    request_parameter(&q, "owner", a->client->options.owner);
    request_parameter(&q, "state", state);
    q.is_alone = true;
    int err = attempt_send(a, &q, reply);
    if (err == 0) {
        json_t *array = reply->body.size == 0
                            ? NULL
                            : json_loadb(reply->body.data, reply->body.size, JSON_ALLOW_NUL, NULL);
        struct boskos_resources *list = resources_from_json(array);
        json_decref(array);
        if (list != NULL) {
            *ret_resources = list;
        } else {
            a->is_doubted = true;
            err =
                call_fail(a->call, BOSKOS_ERR_REPLY,
                          "%s/acquirebystate: the reply is no list of resources", a->client->base);
        }
    } else if (err == BOSKOS_ERR_NONE && was_doubted) {
        err = look_at_them(a, dest, names, count);
        if (err == 0) err = read_them(a, names, count, ret_resources);
    }
    request_release(&q);
    buffer_release(&joined);
    return err;
}

// `settles`: what it may have taken is given back; else the caller does that.
static int by_state(struct boskos_client *client, const char *state, const char *dest,
                    const char *const *names, size_t count, int64_t wait_ms, bool settles,
                    struct boskos_resources **ret_resources, struct boskos_call *call)
{
    struct attempt a;
    struct reply reply;
    attempt_init(&a, client, CALL_ACQUIRE_BY_STATE, call);
    start_waiting(&a, wait_ms);
    reply_init(&reply);
    int err;
    do {
        err = by_state_once(&a, state, dest, names, count, &reply, ret_resources);
    } while (err != 0 && attempt_again(&a, &err, &reply));
    // boskosd gives all or none, and would have been seen to have given them.
    if (err != 0 && a.is_doubted && !(err == BOSKOS_ERR_NONE && reply.has_seq)) {
        call->is_doubted = 1;
        if (settles) leases_doubt_taken(client, names, count, state, dest, &a);
    }
    reply_release(&reply);
    return err;
}

static int take_named(struct boskos_client *client, const char *state, const char *dest,
                      const char *const *names, size_t count, int64_t wait_ms, bool settles,
                      struct boskos_resources **ret_resources, struct boskos_call *call)
{
    int err = call_check(client, call, true, (const char *const[]){state, dest}, 2);
    if (err == 0) err = call_check(client, call, true, names, count);
    for (size_t i = 0; err == 0 && i < count; i++) {
        if (strchr(names[i], ',') != NULL)
            err = call_fail(call, BOSKOS_ERR_ARGUMENT, "a name with a comma in it: %s", names[i]);
    }
    if (err == 0 && (count == 0 || count > NAMES_MAX))
        err = call_fail(call, BOSKOS_ERR_ARGUMENT, "%zu names, 1 to %u can be taken", count,
                        NAMES_MAX);
    if (err != 0) return err;
    struct asked asked = {.names = names, .count = count};
    leases_asked_begin(client, &asked);
    err = by_state(client, state, dest, names, count, wait_ms, settles, ret_resources, call);
    const struct boskos_resources *given = err == 0 ? *ret_resources : NULL;
    for (size_t i = 0; given != NULL && i < given->count; i++)
        leases_add(client, given->items[i], NULL);
    leases_asked_end(client, &asked);
    return err;
}

int boskos_acquire_by_state(struct boskos_client *client, const char *state, const char *dest,
                            const char *const *names, size_t count, int64_t wait_ms,
                            struct boskos_resources **ret_resources, struct boskos_call *call)
{
    struct boskos_call own;
    call = call_begin(call, &own);
    return take_named(client, state, dest, names, count, wait_ms, true, ret_resources, call);
}

// ---- with those that belong to it -----------------------------------------------

// Nobody else takes what belongs to a resource that we hold: what the server may have given us is
// given back, and what it did not give is refused.
static void give_back(struct boskos_client *client, const struct boskos_resource *r,
                      const struct boskos_names *names, bool is_doubted)
{
    for (size_t i = 0; is_doubted && names != NULL && i < names->count; i++)
        (void)boskos_release(client, names->items[i], "dirty", NULL);
    (void)boskos_release(client, r->name, "dirty", NULL);
}

int boskos_acquire_leased(struct boskos_client *client, const char *type, const char *state,
                          const char *dest, int64_t wait_ms, struct boskos_resource **ret_resource,
                          struct boskos_resources **ret_leased, struct boskos_call *call)
{
    struct boskos_call own;
    struct boskos_resource *r = NULL;
    struct boskos_names *names = NULL;
    struct boskos_resources *leased = NULL;
    call = call_begin(call, &own);
    int err = boskos_acquire(client, type, state, dest, wait_ms, &r, call);
    if (err != 0) return err;
    ASSERT(r != NULL);
    err = boskos_resource_leased(r, &names);
    if (err != 0) {
        (void)call_fail(call, err, "%s: the userdata's leasedResources is no list of names",
                        r->name);
    } else if (names->count == 0) {
        leased = must_calloc(1, sizeof(*leased));
    } else {
        err = take_named(client, r->name, dest, (const char *const *)names->items, names->count, 0,
                         false, &leased, call);
    }
    if (err == 0) {
        leases_add(client, r, names);
        *ret_resource = r;
        *ret_leased = leased;
        r = NULL;
    } else {
        give_back(client, r, names, call->is_doubted);
    }
    boskos_resource_free(r);
    boskos_names_free(names);
    return err;
}
