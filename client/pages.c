// Pages that a program serves over HTTP.
#include "client/pages.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#include "base/assert.h"

#include "base/banned.h"

#define CONNECTIONS_MAX 256u
#define IDLE_S 30u // a connection that says nothing for so long is closed
#define BACKLOG 128
#define FIGURES_THREADS 2u
#define FIGURES_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct pages {
    struct MHD_Daemon *daemon;
    pages_answer *answer;
    void *context;
    pages_figures *figures; // for answer_figures, with a context of its own
    void *figures_context;
};

// ---- listening ------------------------------------------------------------------

static int bind_one(const struct sockaddr *address, socklen_t size, int family)
{
    const int on = 1, off = 0;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    bool is_bound = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0;
    if (is_bound && family == AF_INET6)
        is_bound = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) == 0;
    is_bound = is_bound && bind(fd, address, size) == 0 && listen(fd, BACKLOG) == 0;
    if (is_bound) return fd;
    int why = errno;
    (void)close(fd);
    errno = why;
    return -1;
}

// IPv6, which takes IPv4 along, or IPv4 alone where the system has no IPv6.
static int bind_all(uint16_t port)
{
    const struct sockaddr_in6 six = {
        .sin6_family = AF_INET6, .sin6_addr = in6addr_any, .sin6_port = htons(port)};
    const struct sockaddr_in four = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY), .sin_port = htons(port)};
    int fd = bind_one((const struct sockaddr *)&six, sizeof(six), AF_INET6);
    if (fd >= 0 || (errno != EAFNOSUPPORT && errno != EADDRNOTAVAIL)) return fd;
    return bind_one((const struct sockaddr *)&four, sizeof(four), AF_INET);
}

// ---- answering ------------------------------------------------------------------

static enum MHD_Result send_page(struct MHD_Connection *connection, const struct page *page)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(page->body.size, page->body.data, MHD_RESPMEM_MUST_COPY);
    if (response == NULL) return MHD_NO;
    const char *type =
        page->content_type != NULL ? page->content_type : "text/plain; charset=utf-8";
    enum MHD_Result result = MHD_add_response_header(response, "Content-Type", type);
    if (result == MHD_YES)
        result = MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (result == MHD_YES && page->allow != NULL)
        result = MHD_add_response_header(response, "Allow", page->allow);
    if (result == MHD_YES) result = MHD_queue_response(connection, page->status, response);
    MHD_destroy_response(response);
    return result;
}

// Called with the head, with each piece of a body, which is not looked at, and at the end.
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **state)
{
    (void)version;
    (void)upload;
    const struct pages *pages = context;
    if (*state == NULL || *upload_size > 0) {
        *state = context;
        *upload_size = 0;
        return MHD_YES;
    }
    struct page page = {.status = MHD_HTTP_OK};
    struct pages_request request = {.method = method, .path = url, .connection = connection};
    buffer_init(&page.body);
    pages->answer(pages->context, &request, &page);
    enum MHD_Result result = send_page(connection, &page);
    buffer_release(&page.body);
    return result;
}

// ---- begin and end --------------------------------------------------------------

// Returns 0, or errno.
static int listen_and_serve(struct pages *pages, uint16_t port, unsigned threads)
{
    int fd = bind_all(port);
    if (fd < 0) return errno;
    pages->daemon =
        MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_AUTO, 0, NULL, NULL, on_request,
                         pages, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
                         CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, IDLE_S,
                         MHD_OPTION_THREAD_POOL_SIZE, threads, MHD_OPTION_END);
    if (pages->daemon != NULL) return 0;
    (void)close(fd);
    return EAGAIN; // threads or memory: errno is not kept up by the library
}

static int start(struct program *p, uint16_t port, unsigned threads, bool must_serve,
                 struct pages what, struct pages **ret_pages)
{
    *ret_pages = NULL;
    if (port == 0) return PROGRAM_OK;
    struct pages *pages = must_malloc(sizeof(*pages));
    *pages = what;
    if (what.figures != NULL) pages->context = pages;
    int why = listen_and_serve(pages, port, threads);
    if (why == 0) {
        *ret_pages = pages;
        return PROGRAM_OK;
    }
    free(pages);
    if (must_serve) return program_fail(p, "cannot listen on port %u: %s", port, strerror(why));
    program_log(p, LOG_WARNING, "no metrics: cannot listen on port %u: %s", port, strerror(why));
    return PROGRAM_OK;
}

int pages_start(struct program *p, uint16_t port, unsigned threads, pages_answer *answer,
                void *context, struct pages **ret_pages)
{
    return start(p, port, threads, true, (struct pages){.answer = answer, .context = context},
                 ret_pages);
}

void pages_stop(struct pages *pages)
{
    if (pages == NULL) return;
    MHD_stop_daemon(pages->daemon);
    free(pages);
}

// ---- a program's figures --------------------------------------------------------

static void answer_figures(void *context, const struct pages_request *request, struct page *page)
{
    const struct pages *pages = context;
    const char *path = request->path;
    bool is_health = strcmp(path, "/healthz") == 0 || strcmp(path, "/healthz/ready") == 0;
    if (!is_health && strcmp(path, "/metrics") != 0) {
        page_refuse(page, MHD_HTTP_NOT_FOUND, "not found");
    } else if (strcmp(request->method, "GET") != 0 && strcmp(request->method, "HEAD") != 0) {
        page->allow = "GET, HEAD";
        page_refuse(page, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD");
    } else if (is_health) {
        buffer_string(&page->body, "OK");
    } else {
        pages->figures(pages->figures_context, &page->body);
        if (page->body.size > 0)
            page->content_type = FIGURES_TYPE;
        else
            page_refuse(page, MHD_HTTP_SERVICE_UNAVAILABLE, "not known yet");
    }
}

int pages_start_figures(struct program *p, uint16_t port, bool must_serve, pages_figures *figures,
                        void *context, struct pages **ret_pages)
{
    const struct pages what = {
        .answer = answer_figures, .figures = figures, .figures_context = context};
    return start(p, port, FIGURES_THREADS, must_serve, what, ret_pages);
}

bool pages_port(struct program *p, const char *flag, const char *value, uint16_t *ret_port)
{
    uint64_t number;
    if (!cli_number(value, UINT16_MAX, &number))
        return cli_wrong(&p->cli, "--%s: \"%s\" is no port: 0 to 65535", flag, value);
    *ret_port = (uint16_t)number;
    return true;
}

// ---- parts of a page ------------------------------------------------------------

const char *pages_parameter(const struct pages_request *request, const char *key)
{
    return MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, key);
}

void page_refuse(struct page *page, unsigned status, const char *text)
{
    page->status = status;
    buffer_clear(&page->body);
    buffer_string(&page->body, text);
    buffer_char(&page->body, '\n');
}

void page_label(struct buffer *out, const char *name, const char *value)
{
    buffer_format(out, "%s=\"", name);
    for (struct text rest = text_from(value); rest.size > 0;) {
        uint32_t rune = 0, size = text_rune(rest, &rune);
        if (rune == '\\' || rune == '"') buffer_char(out, '\\');
        if (rune == '\n')
            buffer_string(out, "\\n");
        else
            buffer_append(out, rest.data, size);
        if (size == 0) size = 1;
        rest.data += size;
        rest.size -= size;
    }
    buffer_char(out, '"');
}
