// raw-server: what the design can reach on a machine. One thread and one epoll over the journal: it
// reads what has come, appends all of it as one batch, durable, and answers. The records are as
// long as boskosd's, the rows of a batch go with the next one as boskosd's do, and so do the bytes
// of the answers. It has no state, checks nothing, and is of no use but to be measured.
#include "bench/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "bench/process.h"
#include "journal/journal.h"

#include "base/banned.h"

#define EVENTS_MAX 1024
#define BACKLOG 4096
#define READ_BYTES 4096u
#define REQUEST_BYTES_MAX 65536u
#define LISTENER UINT32_MAX
#define ROW_BYTES 44u // of boskosd's
#define WAIT_MS 100   // between looks for a signal

enum kind { KIND_ACQUIRE, KIND_RELEASE, KIND_OTHER };

struct connection {
    int fd;
    enum kind kind; // of the request in the batch
    struct buffer in;
};

struct raw {
    struct clock clock;
    struct journal *journal;
    int epoll_fd, listen_fd;
    struct connection **connections; // by number
    uint32_t connections_count;
    uint32_t resources, granted;

    struct record *records;
    struct journal_row *rows;
    uint32_t *who;  // the batch's connections
    uint32_t *ends; // of their payloads
    uint32_t count, capacity, rows_count;
    struct buffer payloads, row_bytes, out;
};

// ---- the journal --------------------------------------------------------------

static void batch_grow(struct raw *s)
{
    s->capacity = s->capacity == 0 ? 64 : s->capacity * 2;
    s->records = must_realloc(s->records, s->capacity * sizeof(s->records[0]));
    s->rows = must_realloc(s->rows, s->capacity * sizeof(s->rows[0]));
    s->who = must_realloc(s->who, s->capacity * sizeof(s->who[0]));
    s->ends = must_realloc(s->ends, s->capacity * sizeof(s->ends[0]));
}

// A command is its parameters' values, each with a byte for its length.
static void add_payload(struct raw *s, struct text target)
{
    bool is_value = false;
    for (uint32_t i = 0; i < target.size; i++) {
        char c = target.data[i];
        if (c == '&') is_value = false;
        if (is_value || c == '=') buffer_char(&s->payloads, c);
        if (c == '=') is_value = true;
    }
}

// Puts a request into the batch.
static void batch_add(struct raw *s, uint32_t number, struct text target)
{
    if (s->count == s->capacity) batch_grow(s);
    add_payload(s, target);
    s->who[s->count] = number;
    s->ends[s->count++] = (uint32_t)s->payloads.size;
}

static int commit(struct raw *s, struct journal_problem *problem)
{
    uint64_t seq = journal_end(s->journal), now_ns = clock_wall_ns(&s->clock);
    if (now_ns < journal_last_time_ns(s->journal)) now_ns = journal_last_time_ns(s->journal);
    for (uint32_t i = 0; i < s->count; i++) {
        uint32_t start = i == 0 ? 0 : s->ends[i - 1];
        s->records[i] =
            (struct record){.seq = seq + i,
                            .time_ns = now_ns,
                            .kind = 1,
                            .semantics = 1,
                            .payload = text_of(s->payloads.data + start, s->ends[i] - start)};
    }
    if (!journal_has_room(s->journal)) {
        int err = journal_make_room(s->journal, problem);
        if (err != 0) return err;
    }
    int err = journal_append(s->journal, s->records, s->count, s->rows, s->rows_count, problem);
    if (err != 0) return err;
    s->rows_count = s->count;
    for (uint32_t i = 0; i < s->count; i++)
        s->rows[i] =
            (struct journal_row){.seq = seq + i, .bytes = text_of(s->row_bytes.data, ROW_BYTES)};
    return 0;
}

// ---- HTTP ---------------------------------------------------------------------

static void close_connection(struct raw *s, uint32_t number)
{
    struct connection *c = s->connections[number];
    if (c == NULL) return;
    (void)close(c->fd);
    buffer_release(&c->in);
    free(c);
    s->connections[number] = NULL;
}

static void answer(struct raw *s, uint32_t number, uint64_t seq)
{
    struct connection *c = s->connections[number];
    struct buffer *out = &s->out;
    if (c == NULL) return;
    char body[256];
    int size = 0;
    if (c->kind == KIND_ACQUIRE) {
        size = snprintf(
            body, sizeof(body),
            "{\"type\":\"t\",\"name\":\"t-%07u\",\"state\":\"busy\",\"owner\":\"owner-%u\","
            "\"lastupdate\":\"2026-03-01T09:30:00Z\",\"userdata\":{}}",
            s->granted++ % s->resources, number);
    }
    buffer_clear(out);
    buffer_string(out, "HTTP/1.1 200 OK\r\nDate: Sun, 01 Mar 2026 09:30:00 GMT\r\n");
    if (c->kind == KIND_ACQUIRE) buffer_string(out, "Content-Type: text/plain; charset=utf-8\r\n");
    buffer_format(out, "Boskos-Seq: %" PRIu64 "\r\nContent-Length: %d\r\n\r\n", seq, size);
    buffer_append(out, body, (size_t)size);
    if (send(c->fd, out->data, out->size, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)out->size)
        close_connection(s, number);
}

static enum kind kind_of(struct text target)
{
    if (target.size > 9 && memcmp(target.data, "/acquire?", 9) == 0) return KIND_ACQUIRE;
    if (target.size > 9 && memcmp(target.data, "/release?", 9) == 0) return KIND_RELEASE;
    return KIND_OTHER;
}

// The target of a whole request without a body; TEXT_NONE when more must come or it is none.
static struct text request_target(const struct buffer *in)
{
    if (in->size < 4 || memcmp(in->data + in->size - 4, "\r\n\r\n", 4) != 0) return TEXT_NONE;
    const char *start = memchr(in->data, ' ', in->size);
    const char *end =
        start == NULL ? NULL : memchr(start + 1, ' ', in->size - (size_t)(start + 1 - in->data));
    return end == NULL ? TEXT_NONE : text_of(start + 1, (size_t)(end - start - 1));
}

static void receive(struct raw *s, uint32_t number)
{
    struct connection *c = s->connections[number];
    if (c == NULL) return;
    ssize_t size = recv(c->fd, buffer_reserve(&c->in, READ_BYTES), READ_BYTES, MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (size <= 0 || c->in.size + (size_t)size > REQUEST_BYTES_MAX) {
        close_connection(s, number);
        return;
    }
    c->in.size += (size_t)size;
    struct text target = request_target(&c->in);
    if (target.data == NULL) return;
    c->kind = kind_of(target);
    if (c->kind == KIND_OTHER) { // as boskosd: nothing for the journal
        answer(s, number, 0);
        if (s->connections[number] != NULL) buffer_clear(&c->in);
        return;
    }
    batch_add(s, number, target);
    buffer_clear(&c->in);
}

static void accept_all(struct raw *s)
{
    for (;;) {
        int fd = accept4(s->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        int one = 1;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        uint32_t number = (uint32_t)fd;
        if (number >= s->connections_count) {
            uint32_t count = number * 2 + 64;
            s->connections = must_realloc(s->connections, count * sizeof(struct connection *));
            for (uint32_t i = s->connections_count; i < count; i++)
                s->connections[i] = NULL;
            s->connections_count = count;
        }
        struct connection *c = must_calloc(1, sizeof(*c));
        c->fd = fd;
        buffer_init(&c->in);
        s->connections[number] = c;
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = number};
        ASSERT(epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0);
    }
}

static int serve(struct raw *s, const volatile int *stop, struct journal_problem *problem)
{
    struct epoll_event events[EVENTS_MAX];
    int err = 0;
    while (!*stop && err == 0) {
        int count = epoll_wait(s->epoll_fd, events, EVENTS_MAX, WAIT_MS);
        s->count = 0;
        buffer_clear(&s->payloads);
        for (int i = 0; i < count; i++) {
            if (events[i].data.u32 == LISTENER)
                accept_all(s);
            else
                receive(s, events[i].data.u32);
        }
        if (s->count == 0) continue;
        uint64_t seq = journal_end(s->journal);
        err = commit(s, problem);
        for (uint32_t i = 0; i < s->count && err == 0; i++)
            answer(s, s->who[i], seq + i);
    }
    return err;
}

// ---- the program --------------------------------------------------------------

// Listens on 127.0.0.1; the port that was given is what came out when it was 0.
static int start_listening(struct raw *s, uint16_t *port)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(*port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    int one = 1;
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    s->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->epoll_fd < 0 || s->listen_fd < 0) return BOSKOS_E_IO;
    (void)setsockopt(s->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(s->listen_fd, (struct sockaddr *)&at, sizeof(at)) != 0 ||
        listen(s->listen_fd, BACKLOG) != 0 ||
        getsockname(s->listen_fd, (struct sockaddr *)&at, &size) != 0) {
        return BOSKOS_E_IO;
    }
    *port = ntohs(at.sin_port);
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = LISTENER};
    return epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->listen_fd, &event) == 0 ? 0 : BOSKOS_E_IO;
}

static void raw_init(struct raw *s, double resources)
{
    *s = (struct raw){
        .clock = clock_system(), .epoll_fd = -1, .listen_fd = -1, .resources = (uint32_t)resources};
    buffer_init(&s->payloads);
    buffer_init(&s->row_bytes);
    buffer_init(&s->out);
    for (uint32_t i = 0; i < ROW_BYTES; i++)
        buffer_char(&s->row_bytes, (char)i);
}

static void raw_release(struct raw *s)
{
    for (uint32_t i = 0; i < s->connections_count; i++)
        close_connection(s, i);
    free(s->connections);
    free(s->records);
    free(s->rows);
    free(s->who);
    free(s->ends);
    buffer_release(&s->payloads);
    buffer_release(&s->row_bytes);
    buffer_release(&s->out);
    if (s->listen_fd >= 0) (void)close(s->listen_fd);
    if (s->epoll_fd >= 0) (void)close(s->epoll_fd);
    if (s->journal != NULL) journal_drain_stop(s->journal);
    journal_close(s->journal);
}

static void drain_failed(void *context, int err, const struct journal_problem *problem)
{
    (void)context;
    complain("%s (%s)", problem->text, boskos_error_text(err));
    _exit(1);
}

static int run(const char *dir, double port, double resources)
{
    struct journal_problem problem = {0};
    struct journal_options options = {.dir = dir, .ahead = true};
    struct raw s;
    uint16_t number = (uint16_t)port;
    const volatile int *stop = watch_signals();
    raw_init(&s, resources);
    (void)process_files_max();
    int err = journal_open(&options, &s.journal, &problem);
    if (err != 0) {
        complain("%s (%s)", problem.text, boskos_error_text(err));
        raw_release(&s);
        return 1;
    }
    err = journal_drain_start(s.journal, drain_failed, NULL);
    if (err == 0) err = start_listening(&s, &number);
    if (err != 0) {
        complain("cannot listen on port %u: %s", number, strerrordesc_np(errno));
        raw_release(&s);
        return 1;
    }
    (void)printf("{\"port\": %u}\n", number);
    (void)fflush(stdout);
    err = serve(&s, stop, &problem);
    if (err != 0) complain("%s (%s)", problem.text, boskos_error_text(err));
    raw_release(&s);
    return err == 0 ? 0 : 1;
}

int command_raw_server(int argc, char **argv)
{
    static const struct option flags[] = {{"data-dir", required_argument, NULL, 'd'},
                                          {"port", required_argument, NULL, 'p'},
                                          {"resources", required_argument, NULL, 'r'},
                                          {NULL, 0, NULL, 0}};
    const char *dir = NULL;
    double port = 0, resources = 10000;
    int flag;
    bool is_good = true;
    while ((flag = getopt_long(argc, argv, "", flags, NULL)) != -1) {
        if (flag == 'd') dir = optarg;
        if (flag == 'p') is_good = is_good && read_number(optarg, 0, 65535, &port);
        if (flag == 'r') is_good = is_good && read_number(optarg, 1, 9999999, &resources);
        if (flag == '?') is_good = false;
    }
    if (!is_good || dir == NULL || optind != argc) {
        complain("usage: raw-server --data-dir DIR [--port N] [--resources N]");
        return 2;
    }
    return run(dir, port, resources);
}
