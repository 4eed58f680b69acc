#include "bench/load.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/error.h"
#include "bench/process.h"

#include "base/banned.h"

#define EVENTS_MAX 512
#define READ_BYTES 16384u
#define ANSWER_BYTES_MAX (64u << 20)
#define PATIENCE_NS (120 * NS_PER_S) // without any answer
#define WAIT_NS_MAX (100 * NS_PER_MS)

enum stage { STAGE_SETUP, STAGE_WARMUP, STAGE_MEASURE, STAGE_ENDING };

struct link {
    struct client client;
    int fd; // -1: none
    bool is_busy, waits_to_write, is_done;
    uint64_t due_ns, late_due_ns; // of the request under way; of the one that came due meanwhile
    struct buffer out, in;
    size_t sent;
};

struct stream {
    double interval_ns;
    uint64_t start_ns, sent; // sent: how many came due
    uint32_t next;           // whose turn it is
};

struct load {
    const struct load_options *options;
    struct plan *plan;
    const struct clock clock;
    struct link *links;
    int *idle;
    uint32_t *ready, ready_count; // links that have time, for streams of any client
    uint64_t *backlog;            // due times that found none
    uint32_t backlog_first, backlog_count;
    struct stream streams[LOAD_STREAMS_MAX];
    int epoll_fd;
    enum stage stage;
    uint32_t busy, setting_up;
    uint64_t now_ns, start_ns, end_ns, last_answer_ns;
    int64_t generator_ns, server_ns;
    struct load_result result;
    int error;
    char *why;
    size_t why_size;
};

static void fail(struct load *l, int error, const char *what, uint32_t number, int system_error)
{
    if (l->error != 0) return;
    l->error = error;
    (void)snprintf(l->why, l->why_size, "%s %s: client %u: %s%s%s", l->options->workload->peer,
                   l->options->workload->name, number, what, system_error != 0 ? ": " : "",
                   system_error != 0 ? strerrordesc_np(system_error) : "");
}

// ---- sending and receiving ----------------------------------------------------

static void watch(struct load *l, struct link *k, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.u32 = k->client.number};
    ASSERT(epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, k->fd, &event) == 0);
}

static void flush(struct load *l, struct link *k)
{
    while (k->sent < k->out.size) {
        ssize_t size = send(k->fd, k->out.data + k->sent, k->out.size - k->sent, MSG_NOSIGNAL);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0 && errno == EAGAIN) {
            if (!k->waits_to_write) watch(l, k, EPOLLIN | EPOLLOUT);
            k->waits_to_write = true;
            return;
        }
        if (size < 0) {
            fail(l, BOSKOS_E_IO, "cannot send", k->client.number, errno);
            return;
        }
        k->sent += (size_t)size;
    }
    if (k->waits_to_write) watch(l, k, EPOLLIN);
    k->waits_to_write = false;
}

static void request(struct load *l, struct link *k, uint64_t due_ns)
{
    ASSERT(!k->is_busy);
    buffer_clear(&k->out);
    k->sent = 0;
    l->options->workload->encode(l->plan, &k->client, &k->out);
    k->client.step++;
    k->due_ns = due_ns;
    k->is_busy = true;
    l->busy++;
    flush(l, k);
}

static bool is_open_loop(const struct load *l)
{
    return l->options->streams_count > 0;
}

// Whether the client's requests come by turns; then a request that is due is its own.
static bool is_in_turn(const struct load *l, uint32_t number)
{
    for (uint32_t i = 0; i < l->options->streams_count; i++) {
        const struct load_stream *s = &l->options->streams[i];
        if (number - s->first_client < s->clients) return s->takes_turns;
    }
    return true; // of no stream: it never has anything to send
}

// What a client does that has its answer.
static void next(struct load *l, struct link *k)
{
    if (l->stage == STAGE_SETUP) {
        if (k->client.step < l->options->workload->setup)
            request(l, k, l->now_ns);
        else
            l->setting_up--;
        return;
    }
    if (l->stage == STAGE_ENDING) {
        if (k->client.holds && !k->is_done) {
            k->is_done = true;
            request(l, k, l->now_ns);
        }
        return;
    }
    if (!is_open_loop(l)) {
        request(l, k, l->now_ns);
    } else if (is_in_turn(l, k->client.number)) {
        uint64_t due_ns = k->late_due_ns;
        k->late_due_ns = 0;
        if (due_ns != 0) request(l, k, due_ns);
    } else if (l->backlog_count > 0) {
        uint64_t due_ns = l->backlog[l->backlog_first];
        l->backlog_first = (l->backlog_first + 1) % LOAD_BACKLOG_MAX;
        l->backlog_count--;
        request(l, k, due_ns);
    } else {
        l->ready[l->ready_count++] = k->client.number;
    }
}

// Closed: what is answered in the time counts. Open: what was due in it, whenever it is answered.
static void count(struct load *l, const struct link *k, enum outcome outcome)
{
    if (outcome == OUTCOME_WRONG) l->result.wrong++; // at any time
    bool was_answered_in_time = l->stage == STAGE_MEASURE && l->now_ns < l->end_ns;
    bool was_due_in_time = k->due_ns >= l->start_ns && k->due_ns < l->end_ns && !k->is_done;
    if (was_answered_in_time) {
        uint64_t gap_ns = l->now_ns - l->last_answer_ns;
        if (gap_ns > l->result.longest_gap_ns) l->result.longest_gap_ns = gap_ns;
        l->last_answer_ns = l->now_ns;
    }
    if (l->start_ns == 0 || !(is_open_loop(l) ? was_due_in_time : was_answered_in_time)) return;
    if (outcome == OUTCOME_GOOD) l->result.good++;
    if (outcome == OUTCOME_REFUSED) l->result.refused++;
    latency_add(l->result.latency, l->now_ns > k->due_ns ? l->now_ns - k->due_ns : 0);
}

static void answered(struct load *l, struct link *k)
{
    enum outcome outcome;
    int64_t size =
        l->options->workload->parse(l->plan, &k->client, text_of(k->in.data, k->in.size), &outcome);
    if (size == 0 && k->in.size <= ANSWER_BYTES_MAX) return;
    if (size <= 0 || (size_t)size != k->in.size || !k->is_busy) {
        fail(l, BOSKOS_E_MALFORMED, "what came is not one answer", k->client.number, 0);
        return;
    }
    buffer_clear(&k->in);
    k->is_busy = false;
    l->busy--;
    count(l, k, outcome);
    if (outcome == OUTCOME_WRONG && l->result.wrong > 100) {
        fail(l, BOSKOS_E_MALFORMED, "over 100 answers were not what was asked for",
             k->client.number, 0);
        return;
    }
    next(l, k);
}

static void receive(struct load *l, struct link *k)
{
    char *to = buffer_reserve(&k->in, READ_BYTES);
    ssize_t size = recv(k->fd, to, READ_BYTES, 0);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (size <= 0) {
        fail(l, BOSKOS_E_IO, "the server ended the connection", k->client.number,
             size < 0 ? errno : 0);
        return;
    }
    k->in.size += (size_t)size;
    l->now_ns = clock_mono_ns(&l->clock);
    answered(l, k);
}

// ---- what is due --------------------------------------------------------------

static void due_of_any(struct load *l, uint64_t due_ns)
{
    if (l->ready_count > 0) {
        request(l, &l->links[l->ready[--l->ready_count]], due_ns);
        return;
    }
    if (l->backlog_count == LOAD_BACKLOG_MAX) {
        fail(l, BOSKOS_E_TOO_LARGE, "the server is far behind the rate", 0, 0);
        return;
    }
    l->backlog[(l->backlog_first + l->backlog_count++) % LOAD_BACKLOG_MAX] = due_ns;
}

static void due_in_turn(struct load *l, const struct load_stream *o, struct stream *s,
                        uint64_t due_ns)
{
    struct link *k = &l->links[o->first_client + s->next];
    s->next = (s->next + 1) % o->clients;
    if (!k->is_busy) {
        request(l, k, due_ns);
    } else if (k->late_due_ns == 0) {
        k->late_due_ns = due_ns;
    } else {
        l->result.skipped++;
    }
}

// Sends what is due. Returns when the next is.
static uint64_t due(struct load *l)
{
    uint64_t next_ns = UINT64_MAX;
    for (uint32_t i = 0; i < l->options->streams_count; i++) {
        const struct load_stream *o = &l->options->streams[i];
        struct stream *s = &l->streams[i];
        uint64_t due_ns = s->start_ns + (uint64_t)((double)s->sent * s->interval_ns);
        while (due_ns <= l->now_ns && due_ns < l->end_ns && l->error == 0) {
            s->sent++;
            if (o->takes_turns)
                due_in_turn(l, o, s, due_ns);
            else
                due_of_any(l, due_ns);
            due_ns = s->start_ns + (uint64_t)((double)s->sent * s->interval_ns);
        }
        if (due_ns < next_ns) next_ns = due_ns;
    }
    return next_ns;
}

// ---- stages -------------------------------------------------------------------

static void begin(struct load *l)
{
    l->stage = STAGE_WARMUP;
    l->start_ns = l->now_ns + l->options->warmup_ns;
    l->end_ns = l->start_ns + l->options->measure_ns;
    for (uint32_t i = 0; i < l->options->streams_count; i++) {
        const struct load_stream *o = &l->options->streams[i];
        l->streams[i].start_ns = l->now_ns;
        l->streams[i].interval_ns = (double)NS_PER_S / o->rate;
    }
    for (uint32_t i = 0; i < l->plan->clients && l->error == 0; i++)
        next(l, &l->links[i]);
}

static void measure(struct load *l)
{
    l->stage = STAGE_MEASURE;
    l->start_ns = l->now_ns; // a moment late
    l->last_answer_ns = l->now_ns;
    l->generator_ns = process_own_cpu_ns();
    l->server_ns = l->options->server_pid != 0 ? process_cpu_ns(l->options->server_pid) : -1;
}

static void end(struct load *l)
{
    struct load_result *r = &l->result;
    uint64_t gap_ns = l->end_ns - l->last_answer_ns;
    if (gap_ns > r->longest_gap_ns) r->longest_gap_ns = gap_ns;
    r->measured_ns = l->end_ns - l->start_ns;
    double seconds = (double)(l->now_ns - l->start_ns);
    int64_t server_ns = l->server_ns < 0 ? -1 : process_cpu_ns(l->options->server_pid);
    r->generator_cpu = (double)(process_own_cpu_ns() - l->generator_ns) / seconds;
    r->server_cpu = server_ns < 0 ? -1 : (double)(server_ns - l->server_ns) / seconds;
    l->stage = STAGE_ENDING;
}

// What was due and has not been sent is sent; after that who holds something gives it back.
static void finish(struct load *l)
{
    while (l->ready_count > 0 && l->backlog_count > 0 && l->error == 0) {
        l->backlog_count--;
        uint64_t due_ns = l->backlog[l->backlog_first];
        l->backlog_first = (l->backlog_first + 1) % LOAD_BACKLOG_MAX;
        request(l, &l->links[l->ready[--l->ready_count]], due_ns);
    }
    // Those still in the backlog were due for long: they count with what they waited until now.
    for (; l->backlog_count > 0; l->backlog_count--) {
        uint64_t due_ns = l->backlog[l->backlog_first];
        l->backlog_first = (l->backlog_first + 1) % LOAD_BACKLOG_MAX;
        if (due_ns >= l->start_ns) latency_add(l->result.latency, l->now_ns - due_ns);
    }
    l->plan->is_ending = true;
    for (uint32_t i = 0; i < l->plan->clients && l->error == 0; i++)
        if (!l->links[i].is_busy) next(l, &l->links[i]);
}

// Waits for what is to be read, at most until `until_ns`, and reads it.
static void turn(struct load *l, uint64_t until_ns)
{
    struct epoll_event events[EVENTS_MAX];
    uint64_t wait_ns = until_ns > l->now_ns ? until_ns - l->now_ns : 0;
    if (wait_ns > WAIT_NS_MAX) wait_ns = WAIT_NS_MAX;
    struct timespec wait = {.tv_nsec = (long)wait_ns};
    int count = epoll_pwait2(l->epoll_fd, events, EVENTS_MAX, &wait, NULL);
    ASSERT(count >= 0 || errno == EINTR);
    l->now_ns = clock_mono_ns(&l->clock);
    for (int i = 0; i < count && l->error == 0; i++) {
        struct link *k = &l->links[events[i].data.u32];
        if ((events[i].events & EPOLLOUT) != 0) flush(l, k);
        if ((events[i].events & ~(uint32_t)EPOLLOUT) != 0) receive(l, k);
    }
}

static bool goes_on(struct load *l, const volatile int *stop)
{
    if (*stop && l->error == 0) fail(l, BOSKOS_E_STOPPED, "stopped by a signal", 0, 0);
    return l->error == 0;
}

static void run_setup(struct load *l, const volatile int *stop)
{
    uint64_t end_ns = l->now_ns + PATIENCE_NS;
    l->setting_up = l->plan->clients;
    for (uint32_t i = 0; i < l->plan->clients && l->error == 0; i++)
        next(l, &l->links[i]);
    while (l->setting_up > 0 && goes_on(l, stop)) {
        turn(l, end_ns);
        if (l->now_ns > end_ns) fail(l, BOSKOS_E_IO, "no answer while setting up", 0, 0);
    }
}

static void run_stages(struct load *l, const volatile int *stop)
{
    begin(l);
    while (l->now_ns < l->start_ns && goes_on(l, stop)) {
        uint64_t due_ns = due(l);
        turn(l, due_ns < l->start_ns ? due_ns : l->start_ns);
    }
    if (!goes_on(l, stop)) return;
    measure(l);
    while (l->now_ns < l->end_ns && goes_on(l, stop)) {
        uint64_t due_ns = due(l);
        turn(l, due_ns < l->end_ns ? due_ns : l->end_ns);
    }
    if (!goes_on(l, stop)) return;
    end(l);
    finish(l);
    uint64_t patience_ns = l->now_ns + PATIENCE_NS;
    while (l->busy > 0 && goes_on(l, stop)) {
        turn(l, patience_ns);
        if (l->now_ns > patience_ns) fail(l, BOSKOS_E_IO, "no answer at the end", 0, 0);
    }
}

// ---- connections --------------------------------------------------------------

static int connect_one(struct load *l, uint32_t number, int *ret_fd)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(l->options->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
        fail(l, BOSKOS_E_IO, "cannot connect", number, errno);
        if (fd >= 0) (void)close(fd);
        return BOSKOS_E_IO;
    }
    int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    *ret_fd = fd;
    return 0;
}

static void connect_clients(struct load *l, const volatile int *stop)
{
    for (uint32_t i = 0; i < l->plan->clients && goes_on(l, stop); i++) {
        struct link *k = &l->links[i];
        k->client.number = i;
        if (connect_one(l, i, &k->fd) != 0) return;
        ASSERT(fcntl(k->fd, F_SETFL, O_NONBLOCK) == 0);
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        ASSERT(epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, k->fd, &event) == 0);
    }
}

// Each is used once, as a client's is that waits for its next turn.
static void connect_idle(struct load *l, const volatile int *stop)
{
    static const char get[] = "GET / HTTP/1.1\r\nHost: bench\r\n\r\n";
    char answer[1024];
    for (uint32_t i = 0; i < l->options->idle && goes_on(l, stop); i++) {
        if (connect_one(l, i, &l->idle[i]) != 0) return;
        struct timeval patience = {.tv_sec = 60};
        (void)setsockopt(l->idle[i], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
        if (send(l->idle[i], get, sizeof(get) - 1, MSG_NOSIGNAL) != (ssize_t)sizeof(get) - 1 ||
            recv(l->idle[i], answer, sizeof(answer), 0) <= 0) {
            fail(l, BOSKOS_E_IO, "an idle connection got no answer", i, 0);
        }
    }
}

static void release(struct load *l)
{
    for (uint32_t i = 0; i < l->plan->clients; i++) {
        if (l->links[i].fd >= 0) (void)close(l->links[i].fd);
        buffer_release(&l->links[i].out);
        buffer_release(&l->links[i].in);
    }
    for (uint32_t i = 0; i < l->options->idle; i++)
        if (l->idle[i] >= 0) (void)close(l->idle[i]);
    if (l->epoll_fd >= 0) (void)close(l->epoll_fd);
    free(l->links);
    free(l->idle);
    free(l->ready);
    free(l->backlog);
}

int load_run(const struct load_options *options, const volatile int *stop,
             struct load_result *ret_result, char *why, size_t why_size)
{
    struct load l = {.options = options,
                     .plan = options->plan,
                     .clock = clock_system(),
                     .result = {.latency = ret_result->latency},
                     .why = why,
                     .why_size = why_size};
    uint32_t clients = options->plan->clients;
    l.links = must_calloc(clients, sizeof(l.links[0]));
    l.idle = must_calloc(options->idle + 1ul, sizeof(l.idle[0]));
    l.ready = must_calloc(clients, sizeof(l.ready[0]));
    l.backlog = must_calloc(LOAD_BACKLOG_MAX, sizeof(l.backlog[0]));
    for (uint32_t i = 0; i < clients; i++)
        l.links[i].fd = -1;
    for (uint32_t i = 0; i < options->idle; i++)
        l.idle[i] = -1;
    latency_clear(l.result.latency);
    (void)prctl(PR_SET_TIMERSLACK, 1000ul, 0, 0, 0); // the system's own would make requests late
    l.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (l.epoll_fd < 0) fail(&l, BOSKOS_E_IO, "no epoll", 0, errno);
    (void)process_files_max();
    uint64_t began_ns = clock_mono_ns(&l.clock);
    connect_idle(&l, stop);
    connect_clients(&l, stop);
    l.now_ns = clock_mono_ns(&l.clock);
    if (goes_on(&l, stop)) run_setup(&l, stop);
    l.result.connect_seconds = (double)(l.now_ns - began_ns) / (double)NS_PER_S;
    if (goes_on(&l, stop)) run_stages(&l, stop);
    if (l.error == 0) *ret_result = l.result;
    release(&l);
    return l.error;
}
