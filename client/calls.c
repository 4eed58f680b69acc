// What came back, as a code, and what is tried again.
#include "client/client.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/banned.h"

#define DOUBLINGS_MAX 20
#define LAST_QUESTION_MS 2000

// ---- a call's outcome -----------------------------------------------------------

struct boskos_call *call_begin(struct boskos_call *call, struct boskos_call *own)
{
    if (call == NULL) {
        boskos_call_init(own);
        call = own;
    }
    call->status = 0;
    call->seq = 0;
    call->is_doubted = 0;
    call->text[0] = '\0';
    return call;
}

// One line: the server's own text ends in a newline, and may hold what a log should not.
static void one_line(char *text)
{
    size_t size = strlen(text);
    while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == '\r'))
        text[--size] = '\0';
    for (char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f) *c = ' ';
    }
}

int call_fail(struct boskos_call *call, int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(call->text, sizeof(call->text), format, arguments);
    va_end(arguments);
    one_line(call->text);
    return code;
}

int call_check(struct boskos_client *client, struct boskos_call *call, bool needs_owner,
               const char *const *texts, size_t count)
{
    if (call->size != sizeof(*call))
        return call_fail(call, BOSKOS_ERR_ARGUMENT, "a call that was not initialized");
    if (needs_owner && (client->options.owner == NULL || client->options.owner[0] == '\0'))
        return call_fail(call, BOSKOS_ERR_ARGUMENT, "the client has no owner");
    for (size_t i = 0; i < count; i++) {
        if (texts[i] == NULL || texts[i][0] == '\0')
            return call_fail(call, BOSKOS_ERR_ARGUMENT,
                             "a type, state, name or destination is empty");
    }
    return 0;
}

// ---- replies --------------------------------------------------------------------

// The detail of a problem, or the text of an error of Boskos.
static void take_text(const struct reply *r, struct boskos_call *call)
{
    const char *detail = NULL;
    json_t *problem = NULL;
    if (r->is_problem && r->body.size > 0) {
        problem = json_loadb(r->body.data, r->body.size, 0, NULL);
        detail = json_string_value(json_object_get(problem, "detail"));
    }
    if (detail != NULL)
        (void)call_fail(call, 0, "%s", detail);
    else if (r->body.size > 0 && memchr(r->body.data, '<', r->body.size) == NULL)
        (void)call_fail(call, 0, "%.*s", (int)(r->body.size < 400 ? r->body.size : 400),
                        r->body.data);
    if (detail == NULL && call->text[0] == '\0')
        (void)call_fail(call, 0, "the server answered with status %d", r->status);
    json_decref(problem);
}

static bool body_has(const struct reply *r, const char *what)
{
    return r->body.size > 0 && memmem(r->body.data, r->body.size, what, strlen(what)) != NULL;
}

// What there is none of.
static int code_of_none(enum call_kind kind)
{
    switch (kind) {
    case CALL_ACQUIRE:
    case CALL_ACQUIRE_BY_STATE: return BOSKOS_ERR_NONE;
    case CALL_METRIC: return BOSKOS_ERR_NO_TYPE;
    case CALL_READ:
    case CALL_RELEASE:
    case CALL_UPDATE:
    case CALL_RESET: break;
    }
    return BOSKOS_ERR_NO_RESOURCE;
}

// 401, 404 and 409 say that a lease is another's or gone. What stands before a server answers with
// these, too, as long as the server is not there: so they count in the words of a Boskos only.
static int code_of_refusal(enum call_kind kind, const struct reply *r)
{
    switch (r->status) {
    case 401: return body_has(r, "owner mismatch") ? BOSKOS_ERR_OWNER : BOSKOS_ERR_AUTH;
    case 404:
        if (kind == CALL_READ)
            return r->is_problem ? BOSKOS_ERR_NO_RESOURCE : BOSKOS_ERR_UNSUPPORTED;
        if (body_has(r, "no available resource")) return code_of_none(kind);
        if (kind == CALL_ACQUIRE && body_has(r, "resource type ") && body_has(r, "does not exist"))
            return BOSKOS_ERR_NO_TYPE;
        return BOSKOS_ERR_REPLY;
    case 409:
        if (kind == CALL_ACQUIRE && body_has(r, "other parameters")) return BOSKOS_ERR_KEY;
        return body_has(r, "state mismatch") ? BOSKOS_ERR_STATE : BOSKOS_ERR_REPLY;
    }
    return BOSKOS_ERR_REPLY;
}

static int code_of_status(enum call_kind kind, const struct reply *r)
{
    switch (r->status) {
    case 200: return 0;
    case 401:
    case 404:
    case 409: return code_of_refusal(kind, r);
    case 403:
    case 407: return BOSKOS_ERR_AUTH;
    case 429: return BOSKOS_ERR_SERVER;
    }
    if (r->status >= 500) return BOSKOS_ERR_SERVER;
    if (r->status >= 400) return BOSKOS_ERR_REFUSED;
    if (r->status >= 300) return BOSKOS_ERR_REDIRECT;
    return BOSKOS_ERR_REPLY;
}

// Is it one that nobody but the server can have made? boskosd numbers each reply to what it has
// logged: who has met it once believes nobody else any more. What is in JSON is looked at by its
// reader.
static int code_of_reply(const struct boskos_client *client, enum call_kind kind,
                         const struct reply *r)
{
    int code = code_of_status(kind, r);
    bool is_logged = kind != CALL_METRIC && kind != CALL_READ;
    bool is_boskosd = atomic_load(&client->is_boskosd);
    switch (code) {
    case 0:
        if ((kind == CALL_RELEASE || kind == CALL_UPDATE) && r->body.size > 0)
            return BOSKOS_ERR_REPLY;
        break;
    case BOSKOS_ERR_UNSUPPORTED: return is_boskosd ? BOSKOS_ERR_REPLY : code;
    case BOSKOS_ERR_AUTH:
        if (r->status != 401) return code;
        break;
    case BOSKOS_ERR_NONE:
    case BOSKOS_ERR_NO_TYPE:
    case BOSKOS_ERR_NO_RESOURCE:
    case BOSKOS_ERR_OWNER:
    case BOSKOS_ERR_STATE:
    case BOSKOS_ERR_KEY: break;
    default: return code;
    }
    return is_logged && is_boskosd && !r->has_seq ? BOSKOS_ERR_REPLY : code;
}

// 503 in boskosd's words: nothing was done. Any other 5xx without a number may come from something
// between that had no patience.
static bool may_be_done(int code, const struct reply *r)
{
    if (code == BOSKOS_ERR_REPLY) return true;
    if (code != BOSKOS_ERR_SERVER || r->status < 500 || r->has_seq) return false;
    return r->status != 503 || !(body_has(r, "the server's disk is full.") ||
                                 body_has(r, "the server is shutting down."));
}

int exchange(struct boskos_client *client, enum call_kind kind, const struct request *request,
             const struct limits *limits, struct reply *reply, enum fate *ret_fate,
             struct boskos_call *call)
{
    call->text[0] = '\0';
    int err = transport(client, request, limits, reply, ret_fate, call->text, sizeof(call->text));
    call->status = reply->status;
    call->seq = reply->seq;
    one_line(call->text);
    client_log(client, BOSKOS_LOG_DEBUG, "%s %s: %d %s", request->method, request->path,
               reply->status, call->text);
    if (err != 0) return err;
    if (reply->has_seq) atomic_store(&client->is_boskosd, true);
    err = code_of_reply(client, kind, reply);
    if (err == BOSKOS_ERR_REDIRECT)
        (void)call_fail(call, 0, "%s redirects (%d) to %s: give the URL of the server itself",
                        client->base, reply->status,
                        reply->location[0] != '\0' ? reply->location : "nowhere");
    else if (err == BOSKOS_ERR_REPLY)
        (void)call_fail(call, 0, "%s%s: what was answered is no reply of Boskos (status %d)",
                        client->base, request->path, reply->status);
    else if (err != 0)
        take_text(reply, call);
    if (may_be_done(err, reply)) *ret_fate = FATE_DOUBT;
    return err;
}

// ---- repetition -----------------------------------------------------------------

void attempt_init(struct attempt *a, struct boskos_client *client, enum call_kind kind,
                  struct boskos_call *call)
{
    int64_t timeout = call->timeout_ms > 0 ? call->timeout_ms : client->options.call_timeout_ms;
    *a = (struct attempt){.client = client,
                          .kind = kind,
                          .call = call,
                          .began_ms = client_now_ms(),
                          .limits = {.cancel = call->cancel}};
    a->limits.deadline_ms = a->began_ms + timeout;
}

int attempt_send(struct attempt *a, const struct request *request, struct reply *reply)
{
    enum fate fate;
    struct buffer body = reply->body;
    buffer_clear(&body);
    *reply = (struct reply){.body = body};
    a->count++;
    // The last question of a wait is asked when the time is all but over.
    struct limits limits = a->limits;
    int64_t least_ms = client_now_ms() + LAST_QUESTION_MS;
    if (a->is_waiting && limits.deadline_ms < least_ms) limits.deadline_ms = least_ms;
    int err = exchange(a->client, a->kind, request, &limits, reply, &fate, a->call);
    a->last = err;
    if (fate == FATE_DOUBT) {
        a->is_doubted = true;
        if (err != BOSKOS_ERR_LOST && err != BOSKOS_ERR_REPLY) a->is_late = true;
    }
    return err;
}

// Doubled each time, up to its most; then a half of it at least, so that not all come together.
static int64_t pause_of(const struct attempt *a, const struct reply *reply)
{
    const struct boskos_options *o = &a->client->options;
    int64_t ms = o->backoff_first_ms;
    for (int i = 1; i < a->count && i < DOUBLINGS_MAX && ms < o->backoff_most_ms; i++)
        ms *= 2;
    if (ms > o->backoff_most_ms) ms = o->backoff_most_ms;
    ms = ms / 2 + client_random(ms / 2);
    int64_t asked =
        reply->retry_after_ms < o->backoff_most_ms ? reply->retry_after_ms : o->backoff_most_ms;
    return ms > asked ? ms : asked;
}

static bool is_poll(const struct attempt *a, int code)
{
    return a->is_waiting &&
           (code == BOSKOS_ERR_NONE || code == BOSKOS_ERR_NO_TYPE || code == BOSKOS_ERR_OWNER);
}

bool attempt_again(struct attempt *a, int *code, const struct reply *reply)
{
    bool polls = is_poll(a, *code);
    if (!polls && !boskos_code_is_transient(*code)) return false;
    if (!polls && !a->is_waiting && a->count >= a->client->options.attempts_max) return false;
    int64_t pause = pause_of(a, reply);
    if (polls) {
        int64_t poll = a->client->options.poll_ms;
        pause = poll - poll / 5 + client_random(2 * (poll / 5));
        a->count = 0; // the server is there: failures are counted anew
    }
    int64_t left =
        a->limits.deadline_ms == INT64_MAX ? INT64_MAX : a->limits.deadline_ms - client_now_ms();
    if (left <= 0) return false;
    if (a->is_waiting && pause > left) pause = left - 1; // one last question, when the time is up
    if (pause >= left) return false;
    if (!polls)
        client_log(a->client, BOSKOS_LOG_WARNING, "%s; again in %lld ms", a->call->text,
                   (long long)pause);
    if (client_sleep(&a->limits, pause > 0 ? pause : 0)) return true;
    *code = call_fail(a->call, BOSKOS_ERR_CANCELLED, "cancelled");
    return false;
}
