#include "http/internal.h"

#include "base/banned.h"

void health_answer(struct request *r, struct text method)
{
    struct http_server *s = r->connection->port->server;
    struct text path = buffer_as_text(&r->path);
    bool is_ready = text_equal(path, TEXT("/healthz/ready"));
    if (!is_ready && !text_equal(path, TEXT("/healthz"))) {
        request_refuse(r, MHD_HTTP_NOT_FOUND, "not found");
        return;
    }
    if (!request_only_reads(r, method)) return;
    if (is_ready && (s->engine == NULL || s->draining)) {
        request_refuse(r, MHD_HTTP_SERVICE_UNAVAILABLE, "not ready");
        return;
    }
    r->reply = (struct wire_reply){.status = MHD_HTTP_OK, .content = WIRE_CONTENT_TEXT};
    buffer_string(&r->out, "OK");
    r->stage = REQUEST_ANSWERED;
}
