#include "http/internal.h"

#include "base/assert.h"
#include "base/error.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/banned.h"

#define BACKLOG 4096
#define WAIT_MS_MAX 60000
#define EVENTS_MAX 32

static const char *const port_names[PORTS] = {"API", "health", "metrics"};

// ---- the loop ---------------------------------------------------------------

static void wake(struct http_server *s)
{
    const uint64_t one = 1;
    ssize_t size = write(s->wake_fd, &one, sizeof one);
    (void)size; // a full counter wakes as well
}

void http_batch_done(void *context)
{
    wake(context);
}

static void port_watch(struct port *port)
{
    struct http_server *s = port->server;
    int fd = MHD_get_daemon_info(port->daemon, MHD_DAEMON_INFO_EPOLL_FD)->listen_fd;
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = port->kind};
    ASSERT(epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0);
    port->run_again = true; // it starts to listen when it is run
}

// Runs the library until nothing is left to do at once, but not for ever: it takes events in
// batches, needs one more run to send what a handler answered, and to listen again after a place
// became free. While a request is with the engine the library always wants to be run again: then
// only what came of a run tells whether there is more.
static void port_run(struct port *port)
{
    struct http_server *s = port->server;
    port->wait_ms = 0;
    for (uint32_t i = 0; i < RUNS_MAX; i++) {
        uint64_t calls = s->calls, moves = s->moves;
        port->run_again = false;
        (void)MHD_run(port->daemon);
        requests_submit(s);
        MHD_UNSIGNED_LONG_LONG wait_ms;
        bool wants_more = MHD_get_timeout(port->daemon, &wait_ms) == MHD_YES && wait_ms == 0;
        port->circles = wants_more && s->calls == calls ? port->circles + 1 : 0;
        if (!wants_more && !port->run_again) return;
        if (!port->run_again && s->moves == moves && port->in_flight > 0)
            port->wait_ms = FLIGHT_WAIT_MS;
        else if (port->circles >= CIRCLES_MAX)
            port->wait_ms = CIRCLE_WAIT_MS;
        port->run_again = true;
        if (port->wait_ms > 0) return;
    }
}

// Takes over what other threads asked for.
static void loop_orders(struct http_server *s)
{
    struct port *api = &s->ports[PORT_API];
    pthread_mutex_lock(&s->lock);
    if (s->serve_wanted) {
        s->serve_wanted = false;
        s->engine = s->wanted_engine;
        api->daemon = s->wanted_api;
        s->wanted_api = NULL;
        if (api->daemon != NULL) port_watch(api);
    }
    bool drain = s->drain_wanted && !s->draining;
    bool stop = s->stop_wanted && !s->stopping;
    pthread_mutex_unlock(&s->lock);

    uint64_t now_ns = clock_mono_ns(&s->clock);
    if (stop) {
        s->stopping = true;
        s->stop_deadline_ns = now_ns + HTTP_DRAIN_NS;
    }
    if (drain) {
        s->draining = true;
        s->drain_deadline_ns = now_ns + HTTP_DRAIN_NS;
        if (api->daemon == NULL) return;
        int fd = MHD_quiesce_daemon(api->daemon);
        if (fd >= 0) (void)close(fd);
        connections_close_idle(s);
        api->run_again = true;
    }
}

// Tells http_drain when everything in flight was answered, or its time is over.
static void loop_drained(struct http_server *s, uint64_t now_ns)
{
    if (!s->draining || s->drain_done) return; // only this thread sets drain_done
    bool is_quiet = s->ports[PORT_API].connections == 0 && s->in_flight == 0;
    if (!is_quiet && now_ns < s->drain_deadline_ns) return;
    s->engine = NULL;
    pthread_mutex_lock(&s->lock);
    s->drain_done = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static int loop_wait_ms(struct http_server *s)
{
    uint64_t now_ns = clock_mono_ns(&s->clock);
    uint64_t next_ns = connections_expire(s, now_ns);
    if (s->draining && !s->drain_done && s->drain_deadline_ns < next_ns)
        next_ns = s->drain_deadline_ns;
    if (s->stopping && s->stop_deadline_ns < next_ns) next_ns = s->stop_deadline_ns;
    int wait_ms = WAIT_MS_MAX;
    for (uint32_t i = 0; i < PORTS; i++) {
        const struct port *port = &s->ports[i];
        if (port->daemon == NULL || !port->run_again) continue;
        if (port->wait_ms < wait_ms) wait_ms = port->wait_ms;
    }
    if (next_ns <= now_ns) return 0;
    uint64_t left_ms = (next_ns - now_ns) / NS_PER_MS + 1;
    return left_ms < (uint64_t)wait_ms ? (int)left_ms : wait_ms;
}

static void loop_events(struct http_server *s, int wait_ms)
{
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(s->epoll_fd, events, EVENTS_MAX, wait_ms);
    ASSERT(count >= 0 || errno == EINTR);
    for (int i = 0; i < count; i++) {
        uint64_t what = events[i].data.u64;
        if (what >= EVENTS_NAMED) {
            connection_ended(events[i].data.ptr);
        } else if (what < PORTS) {
            s->ports[what].run_again = true;
        } else if (what == EVENT_WAKE) {
            uint64_t times;
            ssize_t size = read(s->wake_fd, &times, sizeof times);
            (void)size; // nonblocking: only to make it wait again
        } else {
            linger_readable(s, (uint32_t)what - EVENT_LINGER);
        }
    }
}

static void *loop_main(void *context)
{
    struct http_server *s = context;
    for (;;) {
        loop_events(s, loop_wait_ms(s));
        loop_orders(s);
        requests_take_back(s);
        for (uint32_t i = 0; i < PORTS; i++) {
            struct port *port = &s->ports[i];
            if (port->daemon != NULL && port->run_again) port_run(port);
        }
        uint64_t now_ns = clock_mono_ns(&s->clock);
        loop_drained(s, now_ns);
        if (!s->stopping) continue;
        if (s->in_flight == 0) break;
        // Every request handed to an engine is answered, at the latest when it is stopped.
        ASSERT(now_ns < s->stop_deadline_ns);
    }
    s->engine = NULL;
    for (uint32_t i = 0; i < PORTS; i++) {
        struct port *port = &s->ports[i];
        if (port->daemon == NULL) continue;
        port_run(port);
        MHD_stop_daemon(port->daemon);
        port->daemon = NULL;
    }
    return NULL;
}

// ---- opening and closing ----------------------------------------------------

static size_t unescape_nothing(void *context, struct MHD_Connection *mhd, char *text)
{
    (void)context;
    (void)mhd;
    return strlen(text);
}

// Listens on the bound socket, which is the library's from here on.
static int port_listen(struct port *port, struct MHD_Daemon **ret_daemon, char *why,
                       size_t why_size)
{
    if (listen(port->fd, BACKLOG) != 0) {
        int err = errno;
        (void)snprintf(why, why_size, "cannot listen on the %s port: %s", port_names[port->kind],
                       strerrordesc_np(err));
        return err == EADDRINUSE ? BOSKOS_E_IN_USE : BOSKOS_E_IO;
    }
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_EPOLL, 0, NULL, NULL, request_handle, port, MHD_OPTION_LISTEN_SOCKET, port->fd,
        MHD_OPTION_CONNECTION_LIMIT, port->connections_max, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)POOL_BYTES, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_NOTIFY_COMPLETED,
        request_completed, port, MHD_OPTION_NOTIFY_CONNECTION, connection_notify, port,
        MHD_OPTION_URI_LOG_CALLBACK, request_line, port, MHD_OPTION_UNESCAPE_CALLBACK,
        unescape_nothing, port, MHD_OPTION_END);
    port->fd = -1;
    if (daemon == NULL) {
        (void)snprintf(why, why_size, "cannot start the %s port", port_names[port->kind]);
        return BOSKOS_E_IO;
    }
    *ret_daemon = daemon;
    return 0;
}

// The health and the metrics port, which work from the start.
static int port_open_side(struct port *port, const char *address, const struct http_port *wanted,
                          char *why, size_t why_size)
{
    if (wanted->number == 0) return 0;
    int err = socket_bind(address, wanted->number, &port->fd, why, why_size);
    if (err == 0) err = port_listen(port, &port->daemon, why, why_size);
    if (err == 0) {
        port_watch(port);
        return 0;
    }
    if (wanted->was_given) return err;
    log_event(port->server->log, LOG_WARNING, "a port is not available, going on without it",
              LOG_F_STRING("port", port_names[port->kind]), LOG_F_STRING("error", why));
    return 0;
}

static void ports_limit(struct http_server *s)
{
    uint64_t files = socket_files_max();
    uint64_t room = files > FILES_OF_OURS + PORTS ? files - FILES_OF_OURS : PORTS;
    uint64_t side = room / 8 < SIDE_CONNECTIONS_MAX ? room / 8 : SIDE_CONNECTIONS_MAX;
    if (side == 0) side = 1;
    uint64_t api = room - 2 * side;
    s->ports[PORT_API].connections_max =
        api < HTTP_CONNECTIONS_MAX ? (unsigned)api : HTTP_CONNECTIONS_MAX;
    s->ports[PORT_HEALTH].connections_max = (unsigned)side;
    s->ports[PORT_METRICS].connections_max = (unsigned)side;
}

static struct http_server *server_new(const struct http_options *o)
{
    struct http_server *s = must_calloc(1, sizeof *s);
    uint64_t head_ns = o->head_deadline_ns != 0 ? o->head_deadline_ns : HTTP_HEAD_DEADLINE_NS;
    uint64_t body_ns = o->body_deadline_ns != 0 ? o->body_deadline_ns : HTTP_BODY_DEADLINE_NS;
    s->clock = o->clock;
    s->log = o->log;
    s->version = o->version != NULL ? o->version : "";
    s->phase_ns[PHASE_HEAD] = head_ns;
    s->phase_ns[PHASE_BODY] = body_ns;
    s->phase_ns[PHASE_REPLY] = REPLY_DEADLINE_FACTOR * body_ns;
    s->start_wall_ns = clock_wall_ns(&o->clock);
    s->epoll_fd = -1;
    s->wake_fd = -1;
    for (uint32_t i = 0; i < PORTS; i++)
        s->ports[i] = (struct port){.server = s, .kind = (enum port_kind)i, .fd = -1};
    for (uint32_t i = 0; i < LINGER_MAX; i++)
        s->lingering[i].fd = -1;
    ASSERT(pthread_mutex_init(&s->lock, NULL) == 0);
    ASSERT(pthread_cond_init(&s->changed, NULL) == 0);
    metrics_init(s);
    ports_limit(s);
    return s;
}

// Starts the loop's thread with all signals blocked: they are the main thread's.
static int thread_start(struct http_server *s)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&s->thread, NULL, loop_main, s);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    s->has_thread = err == 0;
    return err == 0 ? 0 : BOSKOS_E_IO;
}

int http_open(const struct http_options *o, struct http_server **ret_server, char *why,
              size_t why_size)
{
    struct http_server *s = server_new(o);
    int err = BOSKOS_E_IO;
    (void)snprintf(why, why_size, "cannot start the server's loop");
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    s->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (s->epoll_fd < 0 || s->wake_fd < 0) goto out;
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = EVENT_WAKE};
    if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->wake_fd, &event) != 0) goto out;

    err = 0;
    if (o->api.number != 0)
        err = socket_bind(o->address, o->api.number, &s->ports[PORT_API].fd, why, why_size);
    if (err == 0)
        err = port_open_side(&s->ports[PORT_HEALTH], o->address, &o->health, why, why_size);
    if (err == 0)
        err = port_open_side(&s->ports[PORT_METRICS], o->address, &o->metrics, why, why_size);
    if (err != 0) goto out;

    err = thread_start(s);
    if (err != 0) {
        (void)snprintf(why, why_size, "cannot start the server's thread");
        goto out;
    }
    *ret_server = s;
    s = NULL;
out:
    http_close(s);
    return err;
}

int http_serve(struct http_server *s, struct engine *engine, char *why, size_t why_size)
{
    struct port *api = &s->ports[PORT_API];
    struct MHD_Daemon *daemon = NULL;
    if (api->fd >= 0) {
        int err = port_listen(api, &daemon, why, why_size);
        if (err != 0) return err;
    }
    pthread_mutex_lock(&s->lock);
    s->wanted_engine = engine;
    s->wanted_api = daemon;
    s->serve_wanted = true;
    pthread_mutex_unlock(&s->lock);
    wake(s);
    return 0;
}

void http_drain(struct http_server *s)
{
    pthread_mutex_lock(&s->lock);
    s->drain_wanted = true;
    wake(s);
    while (!s->drain_done)
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

void http_close(struct http_server *s)
{
    if (s == NULL) return;
    if (s->has_thread) {
        pthread_mutex_lock(&s->lock);
        s->stop_wanted = true;
        pthread_mutex_unlock(&s->lock);
        wake(s);
        (void)pthread_join(s->thread, NULL);
    }
    for (uint32_t i = 0; i < PORTS; i++) { // what the loop never had
        if (s->ports[i].daemon != NULL) MHD_stop_daemon(s->ports[i].daemon);
        if (s->ports[i].fd >= 0) (void)close(s->ports[i].fd);
    }
    if (s->wanted_api != NULL) MHD_stop_daemon(s->wanted_api);
    linger_close_all(s);
    if (s->wake_fd >= 0) (void)close(s->wake_fd);
    if (s->epoll_fd >= 0) (void)close(s->epoll_fd);
    metrics_release(s);
    (void)pthread_cond_destroy(&s->changed);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}
