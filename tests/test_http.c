#include "base/error.h"
#include "http/series.h"
#include "tests/http_fixture.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

// ---- limits -----------------------------------------------------------------

// A head of exactly `size` bytes, filled up in the target or in a header.
static void send_head(int fd, size_t size, bool in_target)
{
    struct buffer b;
    buffer_init(&b);
    const char *rest = " HTTP/1.1\r\nHost: h\r\nA: ";
    buffer_string(&b, "GET /?");
    size_t fill = size - b.size - strlen(rest) - 4;
    for (size_t i = 0; in_target && i < fill; i++)
        buffer_char(&b, 'x');
    buffer_string(&b, rest);
    for (size_t i = 0; !in_target && i < fill; i++)
        buffer_char(&b, 'x');
    buffer_string(&b, "\r\n\r\n");
    client_send(fd, b.data, b.size);
    buffer_release(&b);
}

static void expect_refusal(int fd, int status, const char *part)
{
    struct client_reply r;
    client_read(fd, false, &r);
    assert_int_equal(r.status, status);
    assert_true(r.closed);
    if (part != NULL) assert_non_null(strstr(r.body.data, part));
    client_reply_release(&r);
    assert_true(client_ended(fd, 3000));
    close(fd);
}

static void test_head_limits(void **state)
{
    struct fixture *f = *state;
    for (int in_target = 0; in_target < 2; in_target++) {
        int fd = api_connect(f);
        send_head(fd, HTTP_HEAD_BYTES_MAX, in_target != 0);
        assert_int_equal(client_status(fd), 200);
        send_head(fd, HTTP_HEAD_BYTES_MAX + 1, in_target != 0);
        expect_refusal(fd, 431, "16384");
        fd = api_connect(f);
        send_head(fd, HTTP_HEAD_BYTES_MAX + 1000, in_target != 0);
        expect_refusal(fd, in_target != 0 ? 414 : 431, "16384");
    }
    static const size_t sizes[] = {24 * 1024, 32 * 1024, 40 * 1024, 200 * 1024};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (int in_target = 0; in_target < 2; in_target++) {
            int fd = api_connect(f);
            send_head(fd, sizes[i], in_target != 0);
            struct client_reply r;
            client_read(fd, false, &r); // from the library: a reset may overtake its text
            assert_true(r.status == 0 || r.status == 414 || r.status == 431);
            assert_true(r.closed);
            client_reply_release(&r);
            close(fd);
        }
    }
    int fd = api_connect(f); // many small headers
    client_string(fd, "GET / HTTP/1.1\r\nHost: h\r\n");
    for (int i = 0; i < 4000; i++)
        client_string(fd, "a:\r\n");
    client_string(fd, "\r\n");
    struct client_reply r;
    client_read(fd, false, &r);
    assert_true(r.status == 0 || r.status == 431);
    client_reply_release(&r);
    close(fd);
}

static void send_chunks(int fd, size_t size)
{
    static const char zeros[4096] = {0};
    client_string(fd, "POST /update?name=x&owner=o&state=s HTTP/1.1\r\nHost: h\r\n"
                      "Transfer-Encoding: chunked\r\n\r\n");
    while (size > 0) {
        size_t part = size < sizeof zeros ? size : sizeof zeros;
        char line[32];
        (void)snprintf(line, sizeof line, "%zx\r\n", part);
        client_string(fd, line);
        client_send(fd, zeros, part);
        client_string(fd, "\r\n");
        size -= part;
    }
    client_string(fd, "0\r\n\r\n");
}

static void test_body_limits(void **state)
{
    struct fixture *f = *state;
    int fd = api_connect(f); // refused before it is sent
    client_string(fd, "POST /update HTTP/1.1\r\nHost: h\r\nContent-Length: 262145\r\n\r\n");
    expect_refusal(fd, 413, "262144");

    fd = api_connect(f); // or while it is sent: no reset cuts the client off before it reads
    client_string(fd, "POST /update HTTP/1.1\r\nHost: h\r\nContent-Length: 4000000\r\n\r\n");
    static const char part[4000] = {0};
    for (int i = 0; i < 1000; i++)
        assert_int_equal(send(fd, part, sizeof part, MSG_NOSIGNAL), sizeof part);
    expect_refusal(fd, 413, "262144");

    fd = api_connect(f);
    send_chunks(fd, HTTP_BODY_BYTES_MAX + 1);
    expect_refusal(fd, 413, "262144");
    fd = api_connect(f);
    send_chunks(fd, 4 * HTTP_BODY_BYTES_MAX);
    expect_refusal(fd, 413, "262144");

    fd = api_connect(f); // exactly as much: the body is no JSON
    send_chunks(fd, HTTP_BODY_BYTES_MAX);
    expect_refusal(fd, 400, NULL);
    assert_int_equal(fake_engine_submitted(f->engine), 0);
}

// ---- deadlines --------------------------------------------------------------

static int setup_short(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    fixture_open(f);
    f->options.head_deadline_ns = 500 * NS_PER_MS;
    f->options.body_deadline_ns = 500 * NS_PER_MS;
    fixture_serve(f);
    *state = f;
    return 0;
}

static void test_deadlines(void **state)
{
    struct fixture *f = *state;
    fake_engine_hold(f->engine, true);
    int idle = api_connect(f);
    int slow = api_connect(f);
    int body = api_connect(f);
    int held = api_connect(f);
    client_string(slow, "GET / HT");
    client_string(body, "POST /update HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc");
    client_string(held, SMUGGLED);
    for (int i = 0; i < 20; i++) { // a drop now and then does not help
        pause_ms(10);
        client_string(slow, "T");
        client_string(body, i < 5 ? "x" : "");
    }
    assert_true(client_ended(idle, 1000));
    assert_true(client_ended(slow, 1000));
    assert_true(client_ended(body, 1000));
    pause_ms(700); // what the engine has is under no deadline
    fake_engine_hold(f->engine, false);
    assert_int_equal(client_status(held), 200);
    assert_true(client_ended(held, 1000)); // and then has the next head's
    close(idle);
    close(slow);
    close(body);
    close(held);
}

static void test_deadline_of_reply(void **state)
{
    struct fixture *f = *state;
    int fd = api_connect(f);
    for (int i = 0; i < 5; i++) { // each reply begins the time anew
        pause_ms(200);
        client_string(fd, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_int_equal(client_status(fd), 200);
    }
    close(fd);
}

// ---- ways to ask ------------------------------------------------------------

static void test_head_method(void **state)
{
    struct fixture *f = *state;
    int fd = api_connect(f);
    client_string(fd, "HEAD /acquire HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n");
    struct client_reply r;
    client_read(fd, true, &r);
    assert_int_equal(r.status, 405);
    client_reply_release(&r);
    assert_int_equal(client_status(fd), 200); // no body came in between
    close(fd);
}

static void test_reply_headers(void **state)
{
    struct fixture *f = *state;
    int fd = api_connect(f);
    client_string(fd, SMUGGLED);
    struct client_reply r;
    client_read(fd, false, &r);
    assert_int_equal(r.status, 200);
    assert_int_equal(strncmp(r.body.data, "{\"type\":\"t\",\"name\":\"r-", 22), 0);
    assert_int_equal(atoi(client_header(&r, "Boskos-Seq")), 2);
    assert_non_null(client_header(&r, "Date"));
    client_reply_release(&r);

    client_string(fd, "POST /release?name=x&owner=o&dest=d HTTP/1.1\r\nHost: h\r\n\r\n");
    client_read(fd, false, &r);
    assert_int_equal(r.status, 404);
    assert_int_equal(atoi(client_header(&r, "Boskos-Seq")), 3); // a refusal is logged too
    assert_int_equal(strncmp(client_header(&r, "X-Content-Type-Options"), "nosniff", 7), 0);
    assert_int_equal(strncmp(client_header(&r, "Content-Type"), "text/plain; charset=utf-8", 25),
                     0);
    client_reply_release(&r);
    client_string(fd, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    client_read(fd, false, &r);
    assert_null(client_header(&r, "Boskos-Seq"));
    assert_null(client_header(&r, "Content-Type"));
    assert_int_equal(r.body.size, 0);
    client_reply_release(&r);
    close(fd);
}

static void test_etag(void **state)
{
    struct fixture *f = *state;
    int fd = api_connect(f);
    client_string(fd, "GET /v1/resources?limit=3 HTTP/1.1\r\nHost: h\r\n\r\n");
    struct client_reply r;
    client_read(fd, false, &r);
    assert_int_equal(r.status, 200);
    assert_int_equal(strncmp(client_header(&r, "ETag"), "\"1\"", 3), 0);
    assert_null(client_header(&r, "Boskos-Seq"));
    client_reply_release(&r);

    client_string(fd,
                  "GET /v1/resources HTTP/1.1\r\nHost: h\r\nIf-None-Match: \"7\", \"1\"\r\n\r\n");
    client_read(fd, false, &r);
    assert_int_equal(r.status, 304);
    assert_int_equal(strncmp(client_header(&r, "ETag"), "\"1\"", 3), 0);
    client_reply_release(&r);

    client_string(fd, SMUGGLED);
    assert_int_equal(client_status(fd), 200);
    client_string(fd, "GET /v1/resources HTTP/1.1\r\nHost: h\r\nIf-None-Match: \"1\"\r\n\r\n");
    assert_int_equal(client_status(fd), 200);
    client_string(fd, "GET /v1/status HTTP/1.1\r\nHost: h\r\n\r\n");
    client_read(fd, false, &r);
    assert_int_equal(r.status, 200);
    assert_non_null(strstr(r.body.data, "1.2.3"));
    client_reply_release(&r);
    client_string(fd, "GET /v1/nothing HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(client_status(fd), 404);
    close(fd);
}

static void test_bodies(void **state)
{
    struct fixture *f = *state;
    int fd = api_connect(f);
    client_string(fd, SMUGGLED);
    assert_int_equal(client_status(fd), 200); // r-000
    client_string(fd, "POST /update?name=r-000&owner=o&state=busy HTTP/1.1\r\nHost: h\r\n"
                      "Content-Length: 13\r\n\r\n{\"k\":");
    pause_ms(50);
    client_string(fd, "\"value\"}");
    client_string(fd, SMUGGLED); // the next request follows at once
    assert_int_equal(client_status(fd), 200);
    assert_int_equal(client_status(fd), 200);

    client_string(fd, "POST /update?name=r-000&owner=o&state=busy HTTP/1.1\r\nHost: h\r\n"
                      "Transfer-Encoding: Chunked\r\n\r\n7;x=y\r\n{\"k\":\"v\r\n2\r\n\"}\r\n0\r\n"
                      "Trailer: x\r\n\r\n" SMUGGLED);
    uint64_t before = fake_engine_commands(f->engine);
    struct client_reply r;
    client_read(fd, false, &r);
    assert_int_equal(r.status, 200);
    assert_true(r.closed); // nothing behind a chunked body is a request
    client_reply_release(&r);
    assert_true(client_ended(fd, 3000));
    assert_true(fake_engine_commands(f->engine) <= before + 1);
    close(fd);
}

// Heads and bodies that come in pieces of any size, one behind the other.
static void test_pieces(void **state)
{
    struct fixture *f = *state;
    static const size_t sizes[] = {1, 7, 100, 1000, 5000, 16384, 20000};
    struct buffer b;
    buffer_init(&b);
    for (int i = 0; i < 4; i++) {
        buffer_string(&b, "POST /update?name=x&owner=o&state=s&");
        for (int fill = 0; fill < 3000; fill++)
            buffer_string(&b, "a=");
        buffer_string(&b, " HTTP/1.1\r\nHost: h\r\nCookie: a=b\r\nContent-Length: 5000\r\n");
        for (int header = 0; header < 100; header++)
            buffer_format(&b, "X-%d: %d\r\n", header, header * header);
        buffer_string(&b, "\r\n{}");
        for (int fill = 2; fill < 5000; fill++)
            buffer_char(&b, ' ');
    }
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        int fd = api_connect(f);
        const int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        for (size_t at = 0; at < b.size; at += sizes[i])
            client_send(fd, b.data + at, sizes[i] < b.size - at ? sizes[i] : b.size - at);
        for (int reply = 0; reply < 4; reply++)
            assert_int_equal(client_status(fd), 404);
        close(fd);
    }
    buffer_release(&b);
}

static void test_continue(void **state)
{
    struct fixture *f = *state;
    int fd = api_connect(f);
    client_string(fd, "POST /update?name=x&owner=o&state=s HTTP/1.1\r\nHost: h\r\n"
                      "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert_int_equal(client_status(fd), 100);
    client_string(fd, "{}");
    assert_int_equal(client_status(fd), 404);
    client_string(fd, "POST /update?name=x&owner=o&state=s HTTP/1.1\r\nHost: h\r\n"
                      "Expect: 100-continue\r\nContent-Length: 300000\r\n\r\n");
    expect_refusal(fd, 413, "262144"); // without asking for it first
}

static void test_pipelining(void **state)
{
    struct fixture *f = *state;
    int fd = api_connect(f);
    for (int i = 0; i < 20; i++)
        client_string(fd, i % 2 == 0 ? SMUGGLED : "GET /acquire HTTP/1.1\r\nHost: h\r\n\r\n");
    for (int i = 0; i < 20; i++)
        assert_int_equal(client_status(fd), i % 2 == 0 ? 200 : 405);
    client_string(fd, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" SMUGGLED);
    expect_refusal(fd, 200, NULL);
    fd = api_connect(f);
    client_string(fd, "GET / HTTP/1.0\r\n\r\n");
    expect_refusal(fd, 200, NULL);
    fd = api_connect(f);
    client_string(fd, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_int_equal(client_status(fd), 200);
    client_string(fd, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_int_equal(client_status(fd), 200);
    close(fd);
    fd = client_connect(f->options.api.number, true);
    client_string(fd, "GET / HTTP/1.0\r\n\r\n");
    expect_refusal(fd, 200, NULL);
}

static void test_engine_errors(void **state)
{
    struct fixture *f = *state;
    int fd = api_connect(f);
    fake_engine_fail(f->engine, BOSKOS_E_NOSPACE);
    client_string(fd, SMUGGLED);
    struct client_reply r;
    client_read(fd, false, &r);
    assert_int_equal(r.status, 503);
    assert_int_equal(atoi(client_header(&r, "Retry-After")), 1);
    assert_null(client_header(&r, "Boskos-Seq"));
    assert_false(r.closed);
    client_reply_release(&r);
    fake_engine_fail(f->engine, BOSKOS_E_STOPPED);
    client_string(fd, "GET /v1/status HTTP/1.1\r\nHost: h\r\n\r\n");
    client_read(fd, false, &r);
    assert_int_equal(r.status, 503);
    assert_int_equal(strncmp(client_header(&r, "Content-Type"), "application/problem+json", 24), 0);
    client_reply_release(&r);
    fake_engine_fail(f->engine, 0);
    client_string(fd, SMUGGLED);
    assert_int_equal(client_status(fd), 200);
    close(fd);
}

// ---- many at once -----------------------------------------------------------

// `count` connections send a request while the loop stands still, and all get an answer.
static void many_at_once(struct fixture *f, const int *fds, uint32_t count)
{
    uint64_t before = fake_engine_submitted(f->engine);
    int stopper = api_connect(f);
    fake_engine_hold(f->engine, true);
    pthread_mutex_lock(&f->gate);
    client_string(stopper, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    pause_ms(10); // the loop has come to the gate
    for (uint32_t i = 0; i < count; i++)
        client_string(fds[i], i % 4 == 0 ? "GET / HTTP/1.1\r\nHost: h\r\n\r\n" : SMUGGLED);
    pthread_mutex_unlock(&f->gate);
    assert_int_equal(client_status(stopper), 200);
    close(stopper);
    wait_submitted(f, before + count - (count + 3) / 4);
    fake_engine_hold(f->engine, false); // and all are answered at once
    for (uint32_t i = 0; i < count; i++) {
        int status = client_status(fds[i]);
        if (status != 200 && status != 404) fail_msg("%u of %u: status %d", i, count, status);
    }
}

static void test_many_ready(void **state)
{
    struct fixture *f = *state;
    static int fds[384];
    for (uint32_t i = 0; i < 384; i++)
        fds[i] = api_connect(f);
    for (uint32_t i = 0; i < 384; i++) { // all are accepted
        client_string(fds[i], "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_int_equal(client_status(fds[i]), 200);
    }
    for (uint32_t count = 120; count <= 130; count++)
        many_at_once(f, fds, count);
    for (uint32_t count = 255; count <= 257; count++)
        many_at_once(f, fds, count);
    many_at_once(f, fds, 384);
    many_at_once(f, fds, 128);

    pause_ms(50); // and the loop sleeps then
    uint64_t before_us = cpu_us();
    pause_ms(300);
    assert_true(cpu_us() - before_us < 60000);
    for (uint32_t i = 0; i < 384; i++)
        close(fds[i]);
}

static void test_chains(void **state)
{
    struct fixture *f = *state;
    static int fds[100];
    for (uint32_t i = 0; i < 100; i++) {
        fds[i] = api_connect(f);
        client_string(fds[i], "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_int_equal(client_status(fds[i]), 200);
    }
    many_at_once(f, fds, 100);
    assert_true(fake_engine_chains(f->engine) <= 10); // 75 requests
    for (uint32_t i = 0; i < 100; i++)
        close(fds[i]);
}

// ---- few descriptors --------------------------------------------------------

#define FEW_FILES 128 // of which 64 are not for connections
#define FEW_WAITING 200

// The server, in a process of its own with few descriptors, until the pipe ends.
static _Noreturn void few_server(struct fixture *f, int until)
{
    const struct rlimit few = {FEW_FILES, FEW_FILES};
    setrlimit(RLIMIT_NOFILE, &few);
    fixture_serve(f);
    char byte;
    ssize_t size = read(until, &byte, 1);
    (void)size;
    http_drain(f->server);
    fake_engine_free(f->engine);
    http_close(f->server);
    _exit(0);
}

static uint64_t cpu_ticks_of(pid_t pid)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    unsigned long user = 0, system_time = 0;
    int read_count = fscanf(file, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                            &user, &system_time);
    fclose(file);
    assert_int_equal(read_count, 2);
    return user + system_time;
}

static void wait_ready(uint16_t health)
{
    int status = 0;
    for (int i = 0; i < 200 && status != 200; i++) {
        pause_ms(20);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const struct sockaddr_in address = {.sin_family = AF_INET,
                                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                            .sin_port = htons(health)};
        if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0) {
            client_string(fd, "GET /healthz/ready HTTP/1.0\r\n\r\n");
            status = client_status(fd);
        }
        close(fd);
    }
    assert_int_equal(status, 200);
}

static uint32_t count_readable(const int *fds, uint32_t count)
{
    uint32_t readable = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct pollfd wait = {.fd = fds[i], .events = POLLIN};
        readable += poll(&wait, 1, 0) == 1;
    }
    return readable;
}

static void test_few_descriptors(void **state)
{
    (void)state;
    static struct fixture f;
    static int fds[FEW_WAITING];
    fixture_open(&f);
    int until[2];
    assert_int_equal(pipe(until), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(until[1]);
        few_server(&f, until[0]);
    }
    close(until[0]);
    wait_ready(f.options.health.number);

    for (uint32_t i = 0; i < FEW_WAITING; i++) {
        fds[i] = client_connect(f.options.api.number, false);
        client_string(fds[i], "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    assert_int_equal(client_status(fds[0]), 200);
    pause_ms(100);
    uint64_t before = cpu_ticks_of(pid);
    pause_ms(1000);
    assert_true(cpu_ticks_of(pid) - before < 20); // hundredths of a second
    wait_ready(f.options.health.number);          // the other ports have room

    uint32_t served = count_readable(fds + 1, FEW_WAITING - 1);
    assert_in_range(served, 8, FEW_FILES);
    close(fds[0]); // one leaves, one gets in
    for (int i = 0; i < 100 && count_readable(fds + 1, FEW_WAITING - 1) == served; i++)
        pause_ms(20);
    assert_int_equal(count_readable(fds + 1, FEW_WAITING - 1), served + 1);
    for (uint32_t i = 1; i < FEW_WAITING; i++) {
        assert_int_equal(client_status(fds[i]), 200);
        close(fds[i]);
    }
    close(until[1]);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

// ---- the end ----------------------------------------------------------------

static void *drain_main(void *context)
{
    struct fixture *f = context;
    http_drain(f->server);
    atomic_store(&f->drained, true);
    return NULL;
}

static void test_drain(void **state)
{
    struct fixture *f = *state;
    fake_engine_hold(f->engine, true);
    int idle = api_connect(f), held = api_connect(f);
    client_string(idle, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(client_status(idle), 200);
    client_string(held, SMUGGLED SMUGGLED);
    wait_submitted(f, 1);

    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, drain_main, f), 0);
    assert_true(client_ended(idle, 3000));
    int fd = client_connect(f->options.health.number, false);
    client_string(fd, "GET /healthz/ready HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(client_status(fd), 503);
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                        .sin_port = htons(f->options.api.number)};
    assert_int_not_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    close(fd);
    pause_ms(100);
    assert_false(atomic_load(&f->drained));

    fake_engine_hold(f->engine, false);
    expect_refusal(held, 200, "r-000"); // answered, then closed
    pthread_join(thread, NULL);
    assert_int_equal(fake_engine_submitted(f->engine), 1);
    close(idle);
}

static void test_ports(void **state)
{
    struct fixture *f = *state;
    struct fixture other;
    fixture_open(&other);
    other.options.api.number = f->options.api.number;
    char why[256] = "";
    assert_int_equal(http_open(&other.options, &other.server, why, sizeof why), BOSKOS_E_IN_USE);
    char number[8];
    (void)snprintf(number, sizeof number, "%u", (unsigned)f->options.api.number);
    assert_non_null(strstr(why, number));
    other.options.api.number = free_port();
    other.options.health = (struct http_port){f->options.health.number, true};
    assert_int_equal(http_open(&other.options, &other.server, why, sizeof why), BOSKOS_E_IN_USE);
    other.options.health.was_given = false; // a default one is only missed
    other.options.metrics.number = 0;
    assert_int_equal(http_open(&other.options, &other.server, why, sizeof why), 0);
    http_close(other.server);
    other.options.address = "::1";
    assert_int_equal(http_open(&other.options, &other.server, why, sizeof why), 0);
    http_close(other.server);
    other.options.address = "no such host";
    assert_int_equal(http_open(&other.options, &other.server, why, sizeof why), BOSKOS_E_IO);
}

// ---- health and metrics -----------------------------------------------------

static char *get(uint16_t port, const char *method, const char *path, int status)
{
    int fd = client_connect(port, false);
    char request[256];
    (void)snprintf(request, sizeof request, "%s %s HTTP/1.0\r\n\r\n", method, path);
    client_string(fd, request);
    struct client_reply r;
    client_read(fd, strcmp(method, "HEAD") == 0, &r);
    if (r.status != status) fail_msg("%s: status %d", request, r.status);
    char *body = strdup(r.body.data);
    client_reply_release(&r);
    close(fd);
    return body;
}

static void expect_get(uint16_t port, const char *method, const char *path, int status,
                       const char *part)
{
    char *body = get(port, method, path, status);
    if (strstr(body, part) == NULL) fail_msg("%s %s: no %s in %s", method, path, part, body);
    free(body);
}

static void test_health(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    char why[256];
    assert_int_equal(http_open(&f.options, &f.server, why, sizeof why), 0);
    expect_get(f.options.health.number, "GET", "/healthz", 200, "OK");
    expect_get(f.options.health.number, "GET", "/healthz/ready", 503, "not ready");
    expect_get(f.options.metrics.number, "GET", "/metrics", 200,
               "boskosd_build_info{version=\"1.2.3\"} 1\n");
    f.engine = fake_engine_new(http_batch_done);
    fake_engine_context(f.engine, f.server);
    assert_int_equal(http_serve(f.server, f.engine, why, sizeof why), 0);
    wait_ready(f.options.health.number);
    expect_get(f.options.health.number, "HEAD", "/healthz/ready", 200, "");
    expect_get(f.options.health.number, "POST", "/healthz", 405, "");
    expect_get(f.options.health.number, "GET", "/other", 404, "");
    expect_get(f.options.metrics.number, "GET", "/other", 404, "");
    expect_get(f.options.metrics.number, "PUT", "/metrics", 405, "");
    http_drain(f.server);
    fake_engine_free(f.engine);
    http_close(f.server);
}

static void test_metrics(void **state)
{
    struct fixture *f = *state;
    uint16_t api = f->options.api.number, metrics = f->options.metrics.number;
    free(get(api, "POST", "/acquire?type=t&state=free&dest=a%22b%5C%0A&owner=o", 200));
    free(get(api, "POST", "/acquire?type=t&state=free&dest=d&owner=o&request_id=i", 200));
    free(get(api, "POST", "/acquire?type=t&state=none&dest=d&owner=o&request_id=i", 404));
    free(get(api, "BREW", "/", 200));
    char *page = get(metrics, "GET", "/metrics", 200);
    static const char *const lines[] = {
        "boskos_resources{type=\"t\",state=\"free\"} 998\n",
        "boskos_resources{type=\"t\",state=\"tombstone\"} 0\n",
        "boskos_resources{type=\"t\",state=\"other\"} 2\n",
        "boskos_acquire_duration_seconds_count{type=\"t\",state=\"free\",dest=\"a\\\"b\\\\\\n\","
        "has_request_id=\"false\"} 1\n",
        "boskos_acquire_duration_seconds_bucket{type=\"t\",state=\"free\",dest=\"d\","
        "has_request_id=\"true\",le=\"2000\"} 1\n",
        "boskos_http_request_duration_seconds_count{path=\"/acquire\",method=\"POST\","
        "status=\"200\"} 2\n",
        "boskos_http_response_size_bytes_bucket{path=\"other\",method=\"other\",status=\"200\","
        "le=\"128\"} 1\n",
        "boskosd_commit_duration_seconds_bucket{le=\"0.000001000\"} 1\n",
        "boskosd_commit_duration_seconds_bucket{le=\"0.000008000\"} 3\n",
        "boskosd_commit_duration_seconds_sum 0.000015000\n",
        "boskosd_queue_entries 1\n",
        "boskosd_connections_max ",
        "boskosd_resident_anon_bytes ",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        if (strstr(page, lines[i]) == NULL) fail_msg("no %s in\n%s", lines[i], page);
    }
    assert_null(strstr(page, "\n\n"));
    free(page);
}

static void test_series_limit(void **state)
{
    (void)state;
    static const struct series_bound bounds[] = {{10, "10"}};
    static const struct family_form form = {"f", "Help.", "l=\"other\"", bounds, 1, false};
    struct family family;
    family_init(&family, &form);
    struct buffer labels, page;
    buffer_init(&labels);
    buffer_init(&page);
    for (uint32_t i = 0; i < 2 * (SERIES_MAX + 3); i++) { // each twice
        char value[16];
        (void)snprintf(value, sizeof value, "%u", i / 2);
        buffer_clear(&labels);
        series_label(&labels, "l", text_from(value));
        family_observe(&family, buffer_as_text(&labels), i % 2 == 0 ? 10 : 11);
    }
    family_print(&family, &page);
    buffer_char(&page, '\0');
    assert_non_null(strstr(page.data, "f_bucket{l=\"7\",le=\"10\"} 1\n"));
    assert_non_null(strstr(page.data, "f_bucket{l=\"7\",le=\"+Inf\"} 2\nf_sum{l=\"7\"} 21\n"));
    assert_non_null(strstr(page.data, "f_count{l=\"other\"} 6\n"));
    // What a scraper could not read: a quote, a backslash, the end of a line, NUL.
    buffer_clear(&labels);
    series_label(&labels, "l", TEXT("a\"\\\n\0b"));
    assert_true(text_equal(buffer_as_text(&labels), TEXT("l=\"a\\\"\\\\\\n\xEF\xBF\xBD"
                                                         "b\"")));
    buffer_release(&labels);
    buffer_release(&page);
    family_release(&family);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_few_descriptors), // first: it forks
        cmocka_unit_test_setup_teardown(test_malformed, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_lenient, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_long_chunk_line, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_head_limits, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_body_limits, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_deadlines, setup_short, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_deadline_of_reply, setup_short, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_head_method, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_reply_headers, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_idempotency_key, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_etag, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_bodies, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_pieces, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_continue, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_pipelining, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_clients_that_leave, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_key_of_the_gone, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_refused_by_the_engine, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(test_end_behind_requests, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_beside_waiting, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_many_headers, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_engine_errors, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_many_ready, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_chains, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_drain, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_ports, fixture_setup, fixture_teardown),
        cmocka_unit_test(test_series_limit),
        cmocka_unit_test(test_health),
        cmocka_unit_test_setup_teardown(test_metrics, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
