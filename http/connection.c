#include "http/internal.h"

#include "base/assert.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/banned.h"

#define LINGER_NS (2 * NS_PER_S)
#define LINGER_BYTES_MAX (16u * 1024 * 1024)
#define BODIES_CHECK_NS (100 * NS_PER_MS)

static void list_remove(struct http_server *s, struct connection *c)
{
    if (c->phase == PHASE_NONE) return;
    struct connection_list *list = &s->phases[c->phase];
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        list->first = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    else
        list->last = c->prev;
    c->prev = NULL;
    c->next = NULL;
    c->phase = PHASE_NONE;
}

void connection_phase(struct connection *c, enum phase phase)
{
    struct http_server *s = c->port->server;
    if (phase == PHASE_NONE)
        list_remove(s, c);
    else
        connection_phase_at(c, phase, clock_mono_ns(&s->clock));
}

void connection_phase_at(struct connection *c, enum phase phase, uint64_t now_ns)
{
    struct http_server *s = c->port->server;
    ASSERT(phase < PHASES_TIMED);
    list_remove(s, c);

    // One length a phase: whoever comes last has the latest deadline of its list.
    c->deadline_ns = now_ns + s->phase_ns[phase];
    c->phase = phase;
    c->had_unread = false;
    struct connection_list *list = &s->phases[phase];
    c->prev = list->last;
    if (list->last != NULL)
        list->last->next = c;
    else
        list->first = c;
    list->last = c;
}

static bool has_unread(const struct connection *c)
{
    int unread = 0;
    return ioctl(c->fd, FIONREAD, &unread) == 0 && unread > 0;
}

// With its memory full of a chunk's size line or extension the library can neither go on nor say
// so: it asks to be run again and again. Whatever else is unread at one look has come through at
// the next, since the library was run in between.
static void bodies_check(struct http_server *s, uint64_t now_ns)
{
    if (now_ns < s->bodies_checked_ns + BODIES_CHECK_NS) return;
    s->bodies_checked_ns = now_ns;
    struct connection *next;
    for (struct connection *c = s->phases[PHASE_BODY].first; c != NULL; c = next) {
        next = c->next;
        bool is_unread = has_unread(c);
        bool is_stuck = is_unread && c->had_unread && c->request.body_bytes == c->body_bytes_seen;
        c->had_unread = is_unread;
        c->body_bytes_seen = c->request.body_bytes;
        if (!is_stuck) continue;
        request_refuse_chunk(&c->request);
        (void)shutdown(c->fd, SHUT_RDWR);
        list_remove(s, c);
    }
}

uint64_t connections_expire(struct http_server *s, uint64_t now_ns)
{
    uint64_t next_ns = UINT64_MAX;
    bodies_check(s, now_ns);
    for (uint32_t phase = 0; phase < PHASES_TIMED; phase++) {
        struct connection *c;
        while ((c = s->phases[phase].first) != NULL && c->deadline_ns <= now_ns) {
            if (phase == PHASE_ENDED && has_unread(c)) { // the library is not through yet
                connection_phase_at(c, PHASE_HEAD, now_ns);
                continue;
            }
            (void)shutdown(c->fd, SHUT_RDWR);
            list_remove(s, c);
            if (phase != PHASE_ENDED) s->timed_out++;
        }
        if (c != NULL && c->deadline_ns < next_ns) next_ns = c->deadline_ns;
    }
    for (uint32_t i = 0; i < LINGER_MAX; i++) {
        struct lingering *l = &s->lingering[i];
        if (l->fd < 0) continue;
        if (l->deadline_ns <= now_ns) {
            (void)close(l->fd);
            l->fd = -1;
        } else if (l->deadline_ns < next_ns) {
            next_ns = l->deadline_ns;
        }
    }
    return next_ns;
}

void connections_close_idle(struct http_server *s)
{
    struct connection *next;
    for (struct connection *c = s->phases[PHASE_HEAD].first; c != NULL; c = next) {
        next = c->next;
        if (c->port->kind != PORT_API || c->request.stage != REQUEST_IDLE) continue;
        if (has_unread(c)) continue;
        (void)shutdown(c->fd, SHUT_RDWR);
        list_remove(s, c);
    }
}

// The library closes at once after a refusal; with input unread the kernel would then send a reset,
// which may overtake the reply. A second descriptor keeps the connection half open until the client
// has ended.
static void linger_begin(struct http_server *s, int fd)
{
    uint32_t i = 0;
    while (i < LINGER_MAX && s->lingering[i].fd >= 0)
        i++;
    if (i == LINGER_MAX) return;

    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0) return;
    (void)epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, fd, NULL); // the copy would keep it watched
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.u64 = EVENT_LINGER + i};
    if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, copy, &event) != 0) {
        (void)close(copy);
        return;
    }
    s->lingering[i] =
        (struct lingering){.fd = copy, .deadline_ns = clock_mono_ns(&s->clock) + LINGER_NS};
}

void linger_readable(struct http_server *s, uint32_t slot)
{
    struct lingering *l = &s->lingering[slot];
    if (l->fd < 0) return;
    char dropped[16 * 1024];
    ssize_t size = recv(l->fd, dropped, sizeof dropped, MSG_DONTWAIT);
    if (size > 0) {
        l->bytes += (uint64_t)size;
        if (l->bytes <= LINGER_BYTES_MAX) return;
    } else if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    (void)close(l->fd);
    l->fd = -1;
}

void linger_close_all(struct http_server *s)
{
    for (uint32_t i = 0; i < LINGER_MAX; i++) {
        if (s->lingering[i].fd >= 0) (void)close(s->lingering[i].fd);
        s->lingering[i].fd = -1;
    }
}

// The library reads what has come at the moment it is told of it. An end that came with a request,
// in one event, it does not see; a socket is closed for that here, after the replies.
static void end_watch(const struct connection *c)
{
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLET, .data.ptr = (void *)c};
    (void)epoll_ctl(c->port->server->epoll_fd, EPOLL_CTL_ADD, c->fd, &event); // else the deadline
}

void connection_ended(struct connection *c)
{
    c->has_ended = true;
    c->port->run_again = true; // what came with it is read first
    if (c->phase == PHASE_HEAD && c->request.stage == REQUEST_IDLE)
        connection_phase(c, PHASE_ENDED);
}

void connection_free(struct connection *c)
{
    request_release(&c->request);
    free(c);
}

void connection_notify(void *context, struct MHD_Connection *mhd, void **socket_context,
                       enum MHD_ConnectionNotificationCode code)
{
    struct port *port = context;
    port->server->calls++;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        struct connection *c = must_calloc(1, sizeof *c);
        c->port = port;
        c->mhd = mhd;
        c->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        c->phase = PHASE_NONE;
        request_init(&c->request, c);
        connection_phase(c, PHASE_HEAD);
        end_watch(c);
        port->connections++;
        *socket_context = c;
        return;
    }
    struct connection *c = *socket_context;
    ASSERT(c->request.stage != REQUEST_READY);
    list_remove(port->server, c);
    if (c->linger) linger_begin(port->server, c->fd);
    c->mhd = NULL;
    if (c->request.stage != REQUEST_SUBMITTED) connection_free(c); // else when it is taken back
    ASSERT(port->connections > 0);
    port->connections--;
    port->run_again = true;
    *socket_context = NULL;
}
