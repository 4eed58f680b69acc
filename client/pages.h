// client/pages.h
//
// Pages that a program serves over HTTP, by libmicrohttpd: a port, and a function that answers.
// It knows nothing of what is on them.
//
// The function is called from the server's own threads, several at once.
#ifndef CLIENT_PAGES_H
#define CLIENT_PAGES_H

#include "base/buffer.h"
#include "client/program.h"

struct page {
    unsigned status;          // 200 unless it is set
    const char *content_type; // static; text/plain unless it is set
    const char *allow;        // the methods that are allowed, with 405; static
    struct buffer body;
};

struct pages_request {
    const char *method, *path; // the path without its query
    void *connection;          // for pages_parameter
};

typedef void pages_answer(void *context, const struct pages_request *request, struct page *page);

struct pages;

// Listens on all addresses, IPv6 and IPv4, and answers with up to `threads` at a time. Port 0: NULL
// instead. Returns 0, or PROGRAM_FAILED after it was said on stderr why not. After program_start:
// the threads must have its signals blocked. The context is borrowed until pages_stop.
int pages_start(struct program *p, uint16_t port, unsigned threads, pages_answer *answer,
                void *context, struct pages **ret_pages);

// Appends a program's figures in Prometheus' text format; nothing while there are none.
typedef void pages_figures(void *context, struct buffer *out);

// Serves them as /metrics, and /healthz beside it. Any program may have the usual port: when it is
// taken that is an error only if the command line gave it (must_serve), else a warning, and NULL.
int pages_start_figures(struct program *p, uint16_t port, bool must_serve, pages_figures *figures,
                        void *context, struct pages **ret_pages);

// Ends when all that is being answered has been. NULL does nothing.
void pages_stop(struct pages *pages);

// The first value of a parameter of the query, or NULL. Borrowed until the page is answered.
const char *pages_parameter(const struct pages_request *request, const char *key);

// An error: its status, and its text as a line.
void page_refuse(struct page *page, unsigned status, const char *text);

// Appends `name="value"` of a line in Prometheus' text format, escaped; what is no UTF-8 is left
// out.
void page_label(struct buffer *out, const char *name, const char *value);

// Reads a port from the command line: 0 to 65535.
bool pages_port(struct program *p, const char *flag, const char *value, uint16_t *ret_port);

#define PAGES_FIGURES_PORT 9090u // the usual one

#endif
