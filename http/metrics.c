#include "http/internal.h"

#include "base/assert.h"

#include <stdio.h>

#include "base/banned.h"

static const struct series_bound http_duration_bounds[] = {
    {5000000, "0.005"},        {7812500, "0.0078125"},    {15625000, "0.015625"},
    {31250000, "0.03125"},     {62500000, "0.0625"},      {125000000, "0.125"},
    {250000000, "0.25"},       {500000000, "0.5"},        {1 * NS_PER_S, "1"},
    {2 * NS_PER_S, "2"},       {4 * NS_PER_S, "4"},       {8 * NS_PER_S, "8"},
    {16 * NS_PER_S, "16"},     {32 * NS_PER_S, "32"},     {64 * NS_PER_S, "64"},
    {128 * NS_PER_S, "128"},   {256 * NS_PER_S, "256"},   {512 * NS_PER_S, "512"},
    {1024 * NS_PER_S, "1024"}, {1200 * NS_PER_S, "1200"},
};

static const struct series_bound http_bytes_bounds[] = {
    {128, "128"},   {256, "256"},   {512, "512"},     {1024, "1024"},   {2048, "2048"},
    {4096, "4096"}, {8192, "8192"}, {16384, "16384"}, {32768, "32768"}, {65536, "65536"},
};

static const struct series_bound acquire_bounds[] = {
    {1 * NS_PER_S, "1"},       {10 * NS_PER_S, "10"},     {100 * NS_PER_S, "100"},
    {500 * NS_PER_S, "500"},   {1000 * NS_PER_S, "1000"}, {1500 * NS_PER_S, "1500"},
    {2000 * NS_PER_S, "2000"},
};

#define COUNT(array) (uint32_t)(sizeof(array) / sizeof(array)[0])

static const struct family_form http_duration_form = {
    "boskos_http_request_duration_seconds",
    "Time from a complete head to the reply.",
    "path=\"other\",method=\"other\",status=\"other\"",
    http_duration_bounds,
    COUNT(http_duration_bounds),
    true};

static const struct family_form http_bytes_form = {
    "boskos_http_response_size_bytes",
    "Size of the reply's body.",
    "path=\"other\",method=\"other\",status=\"other\"",
    http_bytes_bounds,
    COUNT(http_bytes_bounds),
    false};

static const struct family_form acquire_form = {
    "boskos_acquire_duration_seconds",
    "Time from the first poll of a request id, or from the call without one, to the grant.",
    "type=\"other\",state=\"other\",dest=\"other\",has_request_id=\"other\"",
    acquire_bounds,
    COUNT(acquire_bounds),
    true};

void metrics_init(struct http_server *s)
{
    family_init(&s->http_duration, &http_duration_form);
    family_init(&s->http_bytes, &http_bytes_form);
    family_init(&s->acquire_duration, &acquire_form);
    buffer_init(&s->labels);
}

void metrics_release(struct http_server *s)
{
    family_release(&s->http_duration);
    family_release(&s->http_bytes);
    family_release(&s->acquire_duration);
    buffer_release(&s->labels);
}

// Only these names: anyone can invent methods.
const char *metrics_method(const char *method)
{
    static const char *const known[] = {"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"};
    for (uint32_t i = 0; i < COUNT(known); i++) {
        if (strcmp(method, known[i]) == 0) return known[i];
    }
    return "other";
}

// Where replies with these labels are counted. Nearly all are of a few kinds.
static struct reply_kind *reply_kind(struct http_server *s, const struct request *r)
{
    const char *method = r->method;
    uint32_t place = ((uint32_t)r->call * 31 + r->reply.status + (uint32_t)method[0]) % REPLY_KINDS;
    struct reply_kind *kind = &s->reply_kinds[place];
    bool is_it = kind->duration != NULL && kind->call == r->call &&
                 kind->status == r->reply.status && kind->method == method;
    if (is_it) return kind;

    char status[16];
    (void)snprintf(status, sizeof status, "%u", (unsigned)r->reply.status);
    buffer_clear(&s->labels);
    series_label(&s->labels, "path", text_from(wire_call_label(r->call)));
    series_label(&s->labels, "method", text_from(method));
    series_label(&s->labels, "status", text_from(status));
    *kind = (struct reply_kind){.call = r->call,
                                .status = r->reply.status,
                                .method = method,
                                .duration =
                                    family_series(&s->http_duration, buffer_as_text(&s->labels)),
                                .bytes = family_series(&s->http_bytes, buffer_as_text(&s->labels))};
    return kind;
}

uint64_t metrics_count(struct request *r)
{
    struct http_server *s = r->connection->port->server;
    uint64_t now_ns = clock_mono_ns(&s->clock), took_ns = now_ns - r->started_ns;
    if (r->connection->port->kind != PORT_API) return now_ns;
    const struct reply_kind *kind = reply_kind(s, r);
    series_observe(&s->http_duration, kind->duration, took_ns);
    series_observe(&s->http_bytes, kind->bytes, r->out.size);

    if (!r->is_granted) return now_ns;
    const struct command_acquire *a = &r->wire.command.as.acquire;
    bool has_id = !text_is_empty(a->request_id);
    buffer_clear(&s->labels);
    series_label(&s->labels, "type", a->type);
    series_label(&s->labels, "state", a->state);
    series_label(&s->labels, "dest", a->dest);
    series_label(&s->labels, "has_request_id", has_id ? TEXT("true") : TEXT("false"));
    family_observe(&s->acquire_duration, buffer_as_text(&s->labels),
                   has_id ? r->waited_ns : took_ns);
    return now_ns;
}

static void metrics_done(struct engine_request *e, int error, struct sm *sm,
                         const struct sm_result *result, uint64_t now_ns)
{
    struct request *r = (struct request *)e; // its first member
    (void)result;
    (void)now_ns;
    if (error == 0) page_resources(sm, &r->out);
    request_done(r, error);
}

void metrics_finish(struct request *r)
{
    if (r->reply.status >= MHD_HTTP_BAD_REQUEST) buffer_clear(&r->out); // the engine has stopped
    page_figures(r->connection->port->server, &r->out);
    r->reply = (struct wire_reply){.status = MHD_HTTP_OK, .content = WIRE_CONTENT_TEXT};
    r->content_type = "text/plain; version=0.0.4; charset=utf-8";
    r->stage = REQUEST_ANSWERED;
}

void metrics_answer(struct request *r, struct text method)
{
    if (!text_equal(buffer_as_text(&r->path), TEXT("/metrics"))) {
        request_refuse(r, MHD_HTTP_NOT_FOUND, "not found");
        return;
    }
    if (!request_only_reads(r, method)) return;
    r->engine.command = NULL;
    // What the resources are the engine could only say after the commit: who looks because of that
    // is told the rest.
    const struct http_server *s = r->connection->port->server;
    if (s->engine == NULL || health_stalled_ns(s) > 0)
        metrics_finish(r);
    else
        request_to_engine(r, metrics_done);
}
