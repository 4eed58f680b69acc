// A page with a program's figures.
#include "client/page.h"

#include <errno.h>
#include <stdlib.h>

#include <microhttpd.h>

#include "base/assert.h"

#include "base/banned.h"

#define CONNECTIONS_MAX 16u
#define IDLE_SECONDS 15u

struct page {
    struct MHD_Daemon *daemon;
    page_function *write;
    void *context;
};

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, struct text body,
                              const char *type)
{
    struct MHD_Response *reply = MHD_create_response_from_buffer(
        body.size, (void *)(uintptr_t)(body.size > 0 ? body.data : ""), MHD_RESPMEM_MUST_COPY);
    if (reply == NULL) return MHD_NO;
    enum MHD_Result result = MHD_add_response_header(reply, "Content-Type", type);
    if (result == MHD_YES) result = MHD_queue_response(connection, status, reply);
    MHD_destroy_response(reply);
    return result;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *body,
                                  size_t *body_size, void **request)
{
    const struct page *page = context;
    (void)version, (void)body, (void)request;
    *body_size = 0;
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, TEXT("only GET\n"), "text/plain");
    if (strcmp(url, "/healthz") == 0 || strcmp(url, "/healthz/ready") == 0)
        return answer(connection, MHD_HTTP_OK, TEXT("OK"), "text/plain");
    if (strcmp(url, "/metrics") != 0)
        return answer(connection, MHD_HTTP_NOT_FOUND, TEXT("see /metrics\n"), "text/plain");
    struct buffer out;
    buffer_init(&out);
    page->write(page->context, &out);
    enum MHD_Result result = answer(connection, MHD_HTTP_OK, buffer_as_text(&out),
                                    "text/plain; version=0.0.4; charset=utf-8");
    buffer_release(&out);
    return result;
}

int page_start(struct program *p, uint16_t port, bool is_given, page_function *write, void *context,
               struct page **ret_page)
{
    *ret_page = NULL;
    if (port == 0) return 0;
    struct page *page = must_calloc(1, sizeof(*page));
    page->write = write;
    page->context = context;
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_DUAL_STACK;
    const struct MHD_OptionItem options[] = {{MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX, NULL},
                                             {MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS, NULL},
                                             {MHD_OPTION_END, 0, NULL}};
    page->daemon = MHD_start_daemon(flags, port, NULL, NULL, on_request, page, MHD_OPTION_ARRAY,
                                    options, MHD_OPTION_END);
    // A machine without IPv6.
    if (page->daemon == NULL && errno != EADDRINUSE)
        page->daemon =
            MHD_start_daemon(flags & ~(unsigned)MHD_USE_DUAL_STACK, port, NULL, NULL, on_request,
                             page, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
    if (page->daemon != NULL) {
        *ret_page = page;
        return 0;
    }
    int why = errno;
    free(page);
    if (is_given) return program_fail(p, "--metrics-port %u: %s", port, strerror(why));
    program_log(p, LOG_WARNING, "there is no page of metrics: port %u: %s", port, strerror(why));
    return 0;
}

void page_stop(struct page *page)
{
    if (page == NULL) return;
    MHD_stop_daemon(page->daemon);
    free(page);
}

bool page_port(struct program *p, const char *flag, const char *value, uint16_t *ret_port)
{
    uint64_t number;
    if (!cli_number(value, UINT16_MAX, &number))
        return cli_wrong(&p->cli, "--%s: \"%s\" is no port: 0 to 65535", flag, value);
    *ret_port = (uint16_t)number;
    return true;
}

void page_label(struct buffer *out, const char *value)
{
    for (; *value != '\0'; value++) {
        if (*value == '\n') {
            buffer_string(out, "\\n");
            continue;
        }
        if (*value == '"' || *value == '\\') buffer_char(out, '\\');
        buffer_char(out, *value);
    }
}
