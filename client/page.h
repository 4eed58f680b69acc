// client/page.h
//
// A page with a program's figures for Prometheus, at /metrics, and /healthz beside it. It does not
// know what the figures mean.
#ifndef CLIENT_PAGE_H
#define CLIENT_PAGE_H

#include "base/buffer.h"
#include "client/program.h"

#define PAGE_PORT_DEFAULT 9090u

// Appends the page's text. Called from the page's thread.
typedef void page_function(void *context, struct buffer *out);

struct page;

// Serves it. A port that cannot be had is an error when it was given (PROGRAM_FAILED, after it was
// said), else a warning; port 0 is no page. *ret_page may be NULL then. End with page_stop.
int page_start(struct program *p, uint16_t port, bool is_given, page_function *write, void *context,
               struct page **ret_page);
void page_stop(struct page *page);

// Reads a port's number: 0 to 65535.
bool page_port(struct program *p, const char *flag, const char *value, uint16_t *ret_port);

// Appends a label's value, escaped as Prometheus wants it.
void page_label(struct buffer *out, const char *value);

#endif
