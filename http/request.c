#include "http/internal.h"

#include "base/assert.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/banned.h"

#define RETRY_AFTER_FULL_S 1u // instead of wire's: there may be room again at any moment

void request_init(struct request *r, struct connection *c)
{
    *r = (struct request){.connection = c, .stage = REQUEST_IDLE};
    buffer_init(&r->target);
    buffer_init(&r->path);
    buffer_init(&r->body);
    buffer_init(&r->key);
    buffer_init(&r->out);
    wire_request_init(&r->wire);
}

void request_release(struct request *r)
{
    buffer_release(&r->target);
    buffer_release(&r->path);
    buffer_release(&r->body);
    buffer_release(&r->key);
    buffer_release(&r->out);
    wire_request_release(&r->wire);
}

static void buffer_reuse(struct buffer *b)
{
    if (b->capacity > BUFFER_KEPT_BYTES) {
        buffer_release(b);
        buffer_init(b);
    }
    buffer_clear(b);
}

// Ready for the next request of the connection, keeping the memory.
static void request_reset(struct request *r)
{
    memset(r, 0, offsetof(struct request, connection));
    buffer_reuse(&r->target);
    buffer_reuse(&r->path);
    buffer_reuse(&r->body);
    buffer_reuse(&r->key);
    buffer_reuse(&r->out);
    wire_request_clear(&r->wire);
}

static void refusal_make(struct request *r, uint32_t status, const char *message)
{
    buffer_clear(&r->out);
    wire_refusal(r->call, status, message, &r->reply, &r->out);
}

void request_refuse(struct request *r, uint32_t status, const char *message)
{
    refusal_make(r, status, message);
    r->stage = REQUEST_ANSWERED;
}

bool request_only_reads(struct request *r, struct text method)
{
    if (text_equal(method, TEXT("GET")) || text_equal(method, TEXT("HEAD"))) return true;
    request_refuse(r, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD");
    r->reply.allow = "GET, HEAD";
    return false;
}

void *request_line(void *context, const char *target, struct MHD_Connection *mhd)
{
    (void)context;
    struct connection *c =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    struct request *r = &c->request;
    ASSERT(r->stage == REQUEST_IDLE);
    c->port->server->calls++;
    r->stage = REQUEST_LINE;
    r->raw_target = target;
    buffer_string(&r->target, target);

    // The library goes on to take the query apart in place, one piece of its pool a parameter.
    // Ending the text behind the `?` (it is the library's own writable memory) leaves it nothing to
    // do.
    char *query = strchr((char *)(uintptr_t)target, '?');
    if (query != NULL && query[1] != '\0') query[1] = '\0';
    return r;
}

// ---- the reply --------------------------------------------------------------

static void header_number(struct MHD_Response *response, const char *name, uint64_t number)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%" PRIu64, number);
    if (MHD_add_response_header(response, name, text) != MHD_YES) out_of_memory();
}

static void header_text(struct MHD_Response *response, const char *name, const char *text)
{
    if (text != NULL && MHD_add_response_header(response, name, text) != MHD_YES) out_of_memory();
}

#define TAG_BYTES 32

static void entity_tag(uint64_t seq, char ret_tag[TAG_BYTES])
{
    (void)snprintf(ret_tag, TAG_BYTES, "\"%" PRIu64 "\"", seq);
}

// Whether the client has this very state already: its If-None-Match names the sequence number.
static bool is_unchanged(const struct request *r)
{
    if (!r->is_read || r->reply.status != MHD_HTTP_OK) return false;
    const char *value = MHD_lookup_connection_value(r->connection->mhd, MHD_HEADER_KIND,
                                                    MHD_HTTP_HEADER_IF_NONE_MATCH);
    if (value == NULL) return false;
    char tag[TAG_BYTES];
    entity_tag(r->seq, tag);
    return strcmp(value, "*") == 0 || strstr(value, tag) != NULL;
}

static enum MHD_Result request_reply(struct request *r)
{
    struct connection *c = r->connection;
    if (is_unchanged(r)) {
        r->reply = (struct wire_reply){.status = MHD_HTTP_NOT_MODIFIED};
        buffer_clear(&r->out);
    }
    const struct wire_reply *reply = &r->reply;
    struct MHD_Response *response =
        MHD_create_response_from_buffer(r->out.size, r->out.data, MHD_RESPMEM_PERSISTENT);
    if (response == NULL) out_of_memory();

    header_text(response, MHD_HTTP_HEADER_CONTENT_TYPE,
                r->content_type != NULL ? r->content_type : wire_content_type(reply->content));
    if (reply->nosniff) header_text(response, "X-Content-Type-Options", "nosniff");
    header_text(response, MHD_HTTP_HEADER_ALLOW, reply->allow);
    if (reply->retry_after_s != 0)
        header_number(response, MHD_HTTP_HEADER_RETRY_AFTER, reply->retry_after_s);
    if (r->is_logged) header_number(response, "Boskos-Seq", r->seq);
    if (r->is_read && (reply->status == MHD_HTTP_OK || reply->status == MHD_HTTP_NOT_MODIFIED)) {
        char tag[TAG_BYTES];
        entity_tag(r->seq, tag);
        header_text(response, MHD_HTTP_HEADER_ETAG, tag);
    }
    if (r->close_after || c->port->server->draining) {
        header_text(response, MHD_HTTP_HEADER_CONNECTION, "close");
        c->linger = r->close_after;
    }

    connection_phase_at(c, PHASE_REPLY, metrics_count(r));
    r->stage = REQUEST_REPLYING;
    c->port->server->moves++;
    enum MHD_Result queued = MHD_queue_response(c->mhd, reply->status, response);
    MHD_destroy_response(response); // the connection holds it until it is sent
    return queued;
}

// The library takes a reply before the body or after it, not while it is read; this goes to the
// socket directly. Nothing of the library's is under way then.
static void refuse_in_body(struct request *r, uint32_t status, const char *title,
                           const char *message)
{
    request_refuse(r, status, message);
    char head[256];
    int size = snprintf(head, sizeof head,
                        "HTTP/1.1 %u %s\r\nConnection: close\r\n"
                        "Content-Type: %s\r\nX-Content-Type-Options: nosniff\r\n"
                        "Content-Length: %zu\r\n\r\n",
                        status, title, wire_content_type(r->reply.content), r->out.size);
    ASSERT(size > 0 && (size_t)size < sizeof head);
    (void)send(r->connection->fd, head, (size_t)size, MSG_NOSIGNAL | MSG_MORE);
    (void)send(r->connection->fd, r->out.data, r->out.size, MSG_NOSIGNAL);
    (void)metrics_count(r);
    r->connection->linger = true;
}

void request_refuse_chunk(struct request *r)
{
    r->method = metrics_method(""); // the library does not tell it here
    refuse_in_body(r, MHD_HTTP_BAD_REQUEST, "Bad Request", "malformed chunk.");
}

// ---- to the engine and back -------------------------------------------------

void request_to_engine(struct request *r, void (*done)(struct engine_request *, int, struct sm *,
                                                       const struct sm_result *, uint64_t))
{
    struct http_server *s = r->connection->port->server;
    if (s->engine == NULL) {
        request_refuse(r, MHD_HTTP_SERVICE_UNAVAILABLE, "the server is shutting down.");
        return;
    }
    r->engine.done = done;
    r->stage = REQUEST_READY;
    r->next = NULL;
    if (s->ready_last != NULL)
        s->ready_last->next = r;
    else
        s->ready_first = r;
    s->ready_last = r;
}

void requests_submit(struct http_server *s)
{
    struct engine_request *first = NULL, **end = &first;
    for (struct request *r = s->ready_first, *next; r != NULL; r = next) {
        next = r->next;
        // The connection is not suspended: the library waits for us and not for input, does not
        // read before there is a reply, and asks for one in each run. Suspending it takes it out of
        // the library's epoll, and resuming puts it back and reads in vain.
        connection_phase(r->connection, PHASE_NONE);
        r->stage = REQUEST_SUBMITTED;
        r->next = NULL;
        s->in_flight++;
        r->connection->port->in_flight++;
        r->engine.next = NULL;
        *end = &r->engine;
        end = &r->engine.next;
    }
    s->ready_first = NULL;
    s->ready_last = NULL;
    if (first != NULL) engine_submit(s->engine, first);
}

void request_done(struct request *r, int error)
{
    // This is the engine's thread: the stage is the loop's, which may look at it at any moment.
    struct http_server *s = r->connection->port->server;
    if (error == BOSKOS_E_NOSPACE) {
        refusal_make(r, MHD_HTTP_SERVICE_UNAVAILABLE, "the server's disk is full.");
        r->reply.retry_after_s = RETRY_AFTER_FULL_S;
    } else if (error != 0) {
        refusal_make(r, MHD_HTTP_SERVICE_UNAVAILABLE, "the server is shutting down.");
    }
    struct request *head = atomic_load_explicit(&s->done, memory_order_relaxed);
    do {
        r->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&s->done, &head, r, memory_order_release,
                                                    memory_order_relaxed));
    // r is the loop's again. What never was in a batch has nobody else to tell of it.
    if (error != 0) http_batch_done(s);
}

void requests_take_back(struct http_server *s)
{
    struct request *r = atomic_exchange_explicit(&s->done, NULL, memory_order_acquire);
    struct request *oldest = NULL;
    while (r != NULL) { // the last one done is the first in the list
        struct request *next = r->next;
        r->next = oldest;
        oldest = r;
        r = next;
    }
    for (r = oldest; r != NULL; r = oldest) {
        oldest = r->next;
        r->next = NULL;
        r->stage = REQUEST_ANSWERED;
        struct connection *c = r->connection;
        ASSERT(s->in_flight > 0 && c->port->in_flight > 0);
        s->in_flight--;
        c->port->in_flight--;
        if (c->mhd == NULL) {
            (void)metrics_count(r);
            connection_free(c);
            continue;
        }
        if (c->port->kind == PORT_METRICS) metrics_finish(r);
        c->port->run_again = true;
        c->port->wait_ms = 0;
    }
}

static void api_done(struct engine_request *e, int error, struct sm *sm,
                     const struct sm_result *result, uint64_t now_ns)
{
    struct request *r = (struct request *)e; // its first member
    if (error == 0 && result != NULL) {
        const struct command *command = &r->wire.command;
        wire_result(command, result, &r->reply, &r->out);
        r->seq = command->seq;
        r->is_logged = true;
        r->is_granted =
            command->kind == COMMAND_ACQUIRE && result->reason == SM_OK && !result->is_repeat;
        r->waited_ns = result->waited_ns;
    } else if (error == 0) {
        r->status.now_ns = now_ns;
        wire_query(&r->wire, sm, &r->status, &r->reply, &r->out);
        r->seq = sm_seq(sm);
        r->is_read = r->call >= WIRE_V1_RESOURCES;
    }
    request_done(r, error);
}

// ---- a request as it comes in -----------------------------------------------

static void request_begin(struct request *r, const char *method, const char *version)
{
    struct connection *c = r->connection;
    r->started_ns = clock_mono_ns(&c->port->server->clock);
    r->stage = REQUEST_BODY;
    r->method = metrics_method(method);

    struct head head;
    const char *message = NULL;
    uint32_t status = check_head(r, method, version, &head, &message);
    if (status == 0 && wire_target(buffer_as_text(&r->target), &r->path, &r->query) != 0) {
        status = MHD_HTTP_BAD_REQUEST;
        message = "malformed request target.";
    }
    if (status != 0) {
        request_refuse(r, status, message);
        r->close_after = true;
        return;
    }
    if (c->port->kind == PORT_API) r->call = wire_route(buffer_as_text(&r->path));
    r->body_counts = wire_call_has_body(r->call);
    // The library is lenient about what frames a chunk and what follows the last: nothing behind it
    // is taken for a request.
    r->close_after = head.is_chunked;
    if (head.is_chunked || head.length > 0) {
        connection_phase(c, PHASE_BODY);
        c->port->server->moves++; // it may have to say 100 Continue
    }
}

// Of the library's memory only a copy can go to the engine: the client may be gone before the
// reply.
static struct text idempotency_key(struct request *r)
{
    const char *value =
        MHD_lookup_connection_value(r->connection->mhd, MHD_HEADER_KIND, "Idempotency-Key");
    if (value == NULL) return TEXT_NONE;
    struct text key = text_from(value); // with white space behind it
    while (key.size > 0 && (key.data[key.size - 1] == ' ' || key.data[key.size - 1] == '\t'))
        key.size--;
    buffer_text(&r->key, key);
    return buffer_as_text(&r->key);
}

static void api_answer(struct request *r, struct text method)
{
    struct http_server *s = r->connection->port->server;
    if (wire_parse(&r->wire, method, buffer_as_text(&r->path), r->query, buffer_as_text(&r->body),
                   &r->reply, &r->out) != 0 ||
        wire_idempotency_key(&r->wire, idempotency_key(r), &r->reply, &r->out) != 0) {
        r->stage = REQUEST_ANSWERED;
        return;
    }
    if (r->call == WIRE_V1_STATUS && s->engine != NULL) {
        struct engine_figures figures;
        engine_figures(s->engine, &figures);
        r->status.version = text_from(s->version);
        r->status.snapshot_seq = figures.snapshot_seq;
        r->status.snapshot_time_ns = figures.snapshot_time_ns;
        r->status.uptime_ns = clock_mono_ns(&s->clock) - figures.started_mono_ns;
    }
    r->engine.command = r->wire.is_command ? &r->wire.command : NULL;
    request_to_engine(r, api_done);
}

static void request_answer(struct request *r, const char *method)
{
    switch (r->connection->port->kind) {
    case PORT_API: api_answer(r, text_from(method)); return;
    case PORT_HEALTH: health_answer(r, text_from(method)); return;
    case PORT_METRICS: metrics_answer(r, text_from(method)); return;
    }
}

enum MHD_Result request_handle(void *context, struct MHD_Connection *mhd, const char *url,
                               const char *method, const char *version, const char *upload,
                               size_t *upload_size, void **request_context)
{
    struct request *r = *request_context;
    (void)context;
    (void)mhd;
    (void)url;
    struct http_server *s = r->connection->port->server;
    switch (r->stage) {
    case REQUEST_READY:
    case REQUEST_SUBMITTED:
    case REQUEST_REPLYING: return MHD_YES; // called for no reason of its own
    case REQUEST_IDLE: return MHD_NO;
    case REQUEST_LINE: request_begin(r, method, version); break;
    case REQUEST_BODY:
        if (*upload_size == 0) {
            request_answer(r, method);
            break;
        }
        s->moves++;
        r->body_bytes += *upload_size;
        if (r->body_bytes > HTTP_BODY_BYTES_MAX) {
            refuse_in_body(r, MHD_HTTP_CONTENT_TOO_LARGE, "Content Too Large", WIRE_BODY_TOO_LARGE);
            return MHD_NO;
        }
        if (r->body_counts) buffer_append(&r->body, upload, *upload_size);
        *upload_size = 0;
        break;
    case REQUEST_ANSWERED: break;
    }
    s->calls++;
    return r->stage == REQUEST_ANSWERED ? request_reply(r) : MHD_YES;
}

void request_completed(void *context, struct MHD_Connection *mhd, void **request_context,
                       enum MHD_RequestTerminationCode code)
{
    struct request *r = *request_context;
    (void)context;
    (void)mhd;
    (void)code;
    if (r == NULL) return;
    struct http_server *s = r->connection->port->server;
    s->calls++;
    s->moves++;
    *request_context = NULL;
    if (r->stage == REQUEST_SUBMITTED) return; // the connection has ended; the engine has it still
    if (r->stage == REQUEST_ANSWERED) (void)metrics_count(r); // ended just before the reply
    if (r->stage == REQUEST_READY) { // broke off in the same run of the library
        struct request **place = &s->ready_first, *last = NULL;
        while (*place != r) {
            last = *place;
            place = &last->next;
        }
        *place = r->next;
        if (s->ready_last == r) s->ready_last = last;
    }
    request_reset(r);
    connection_phase(r->connection, r->connection->has_ended ? PHASE_ENDED : PHASE_HEAD);
}
