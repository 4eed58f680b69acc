#include "http/internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/banned.h"

uint64_t health_stalled_ns(const struct http_server *s)
{
    struct engine_pulse pulse = {0};
    if (s->engine != NULL) engine_pulse(s->engine, &pulse);
    uint64_t now_ns = clock_mono_ns(&s->clock);
    bool is_stalled = pulse.commit_since_ns != 0 && now_ns > pulse.commit_since_ns + HTTP_STALL_NS;
    return is_stalled ? now_ns - pulse.commit_since_ns : 0;
}

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
    uint64_t stalled_ns = is_ready ? health_stalled_ns(s) : 0;
    if (stalled_ns > 0) {
        char why[128];
        (void)snprintf(why, sizeof why,
                       "not ready: a commit has been under way for %" PRIu64
                       " s: the disk does not answer",
                       stalled_ns / NS_PER_S);
        request_refuse(r, MHD_HTTP_SERVICE_UNAVAILABLE, why);
        return;
    }
    r->reply = (struct wire_reply){.status = MHD_HTTP_OK, .content = WIRE_CONTENT_TEXT};
    buffer_string(&r->out, "OK");
    r->stage = REQUEST_ANSWERED;
}
