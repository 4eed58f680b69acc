// http/http.h
//
// The server: one loop thread with an epoll of its own around libmicrohttpd (external event loop),
// for the Boskos API, the health port and the metrics port. It checks the raw form of each request,
// hands commands and queries to the engine, and sends what wire made of the results. It does not
// know the rules of Boskos and keeps nothing on disk.
//
// http_open and http_close belong to one thread; the others say who may call them.
#ifndef HTTP_HTTP_H
#define HTTP_HTTP_H

#include "base/clock.h"
#include "base/log.h"
#include "engine/engine.h"

#define HTTP_CONNECTIONS_MAX 16384u
#define HTTP_HEAD_BYTES_MAX (16u * 1024) // request line and headers
#define HTTP_BODY_BYTES_MAX SM_BODY_BYTES_MAX
#define HTTP_HEAD_DEADLINE_NS (90 * NS_PER_S) // from accept or the last reply to a complete head
#define HTTP_BODY_DEADLINE_NS (90 * NS_PER_S) // from there to a complete body
#define HTTP_STALL_NS (10 * NS_PER_S)         // a commit under way for longer: not ready
#define HTTP_DRAIN_NS (10 * NS_PER_S)         // what is in flight may take so long at the end

struct http_server; // opaque

struct http_port {
    uint16_t number; // 0: off
    bool was_given;  // a taken port is an error then, otherwise (health, metrics) one warning
};

struct http_options {
    const char *address; // NULL: all, IPv6 and IPv4
    struct http_port api, health, metrics;
    uint64_t head_deadline_ns, body_deadline_ns; // 0: the defaults above; tests shorten them
    struct clock clock;
    const struct log *log;
    const char *version;
};

// Binds the ports (the API's is not listened on yet) and starts the loop, which answers health
// ("not ready") and metrics at once. It raises the process' limit of open files as far as it goes.
// BOSKOS_E_IN_USE or BOSKOS_E_IO: `why` has one line naming the port or address.
int http_open(const struct http_options *options, struct http_server **ret_server, char *why,
              size_t why_size);

// Begins to serve the API with `engine` and reports ready. The engine is borrowed until http_drain.
int http_serve(struct http_server *s, struct engine *engine, char *why, size_t why_size);

// Wakes the loop: some requests are done. For engine_options.batch_done; context is the server. Any
// thread.
void http_batch_done(void *context);

// Stops accepting and waits until what is in flight was answered, at most HTTP_DRAIN_NS.
void http_drain(struct http_server *s);

// Ends the loop, closes everything, frees. After engine_stop: what the engine still has is waited
// for.
void http_close(struct http_server *s);

#endif
