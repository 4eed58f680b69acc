// Whole connections: the real server over the loopback, with a fake engine behind it. The input is
// sent as it is, in pieces where it has the byte 0xff; then the client has nothing more to say. The
// server must answer with well-formed replies, or none, and close: at the latest when its deadlines
// are over. Its clock is ours, and jumps while nothing happens.
#include "http/http.h"
#include "tests/fake_engine.h"
#include "tests/fuzz/fuzz.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/banned.h"

#define WAITS_MAX 30000 // the machine may be busy; a server that hangs does so for ever
#define WAIT_MS 2
#define JUMP_NS (1000 * NS_PER_S) // beyond every deadline
#define PIECES_MAX 64
#define REPLIES_BYTES_MAX ((size_t)64 << 20)

static struct log log_lines = {.level = LOG_FATAL};
static uint16_t port;
static struct http_server *server;
static atomic_uint_fast64_t jumped_ns;

static uint64_t wall_ns(void *context)
{
    (void)context;
    const struct clock system = clock_system();
    return clock_wall_ns(&system);
}

static uint64_t mono_ns(void *context)
{
    (void)context;
    const struct clock system = clock_system();
    return clock_mono_ns(&system) + atomic_load(&jumped_ns);
}

static int bind_any(uint16_t *ret_port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT(fd >= 0 && bind(fd, (struct sockaddr *)&a, size) == 0);
    ASSERT(getsockname(fd, (struct sockaddr *)&a, &size) == 0);
    *ret_port = ntohs(a.sin_port);
    return fd;
}

// Never closed: the process's end does it.
static void serve(void)
{
    char why[256];
    (void)close(bind_any(&port));
    log_lines.fd = STDERR_FILENO;
    log_lines.clock = clock_system();
    struct http_options options = {.address = "127.0.0.1",
                                   .api = {port, true},
                                   .clock = {wall_ns, mono_ns, NULL},
                                   .log = &log_lines,
                                   .version = "0"};
    ASSERT(http_open(&options, &server, why, sizeof(why)) == 0);
    struct engine *engine = fake_engine_new(http_batch_done);
    fake_engine_context(engine, server);
    ASSERT(http_serve(server, engine, why, sizeof(why)) == 0);
}

static int connect_to(uint16_t to)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(to)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT(fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    // No port of a closed connection is kept: there are many a second.
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    return fd;
}

// What the server does not take any more it has refused already.
static void send_all(int fd, struct text input)
{
    for (int i = 0; i < PIECES_MAX && input.size > 0; i++) {
        const char *mark = memchr(input.data, 0xff, input.size);
        bool is_last = mark == NULL || i == PIECES_MAX - 1;
        struct text piece = fuzz_take(&input, is_last ? input.size : (size_t)(mark - input.data));
        (void)fuzz_byte(&input);
        while (piece.size > 0) {
            ssize_t n = send(fd, piece.data, piece.size, MSG_NOSIGNAL);
            if (n <= 0) return;
            (void)fuzz_take(&piece, (size_t)n);
        }
    }
}

// Reads until the server closes.
static void receive_all(int fd, struct buffer *out)
{
    for (int waits = 0;;) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (poll(&ready, 1, WAIT_MS) == 0) {
            ASSERT(++waits < WAITS_MAX); // else it hangs
            (void)atomic_fetch_add(&jumped_ns, JUMP_NS);
            http_batch_done(server); // its loop looks at the clock
            continue;
        }
        ssize_t n = read(fd, buffer_reserve(out, 65536), 65536);
        if (n <= 0) return; // also when it was reset: it closes without reading on
        out->size += (size_t)n;
        ASSERT(out->size <= REPLIES_BYTES_MAX);
    }
}

// Checks one reply and takes it. A cut one, as by a reset, is the last.
static bool take_reply(struct text *rest)
{
    char head[17000];
    const char *end = rest->size < 4 ? NULL : memmem(rest->data, rest->size, "\r\n\r\n", 4);
    if (end == NULL) return false;
    size_t size = (size_t)(end - rest->data) + 4;
    ASSERT(size < sizeof(head));
    memcpy(head, rest->data, size);
    head[size] = '\0';
    (void)fuzz_take(rest, size);

    ASSERT(memcmp(head, "HTTP/1.", 7) == 0 && head[8] == ' ');
    long status = strtol(head + 9, NULL, 10);
    ASSERT(status == 100 || (status >= 200 && status < 600 && status != 500));
    if (status == 100) return true;
    const char *length = strcasestr(head, "\r\nContent-Length:");
    ASSERT(length != NULL);
    unsigned long bytes = strtoul(length + 17, NULL, 10);
    if (rest->size < bytes) return false;
    (void)fuzz_take(rest, bytes);
    return true;
}

// A reply to HEAD has the length of a body that does not come.
static bool has_head(struct text input)
{
    static const char head[] = "HEAD";
    uint32_t matched = 0;
    for (uint32_t i = 0; i < input.size && matched < 4; i++) {
        char c = input.data[i];
        if (c != '\xff') matched = c == head[matched] ? matched + 1 : c == 'H';
    }
    return matched == 4;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text input = text_of((const char *)data, size);
    struct buffer replies;
    if (port == 0) serve();
    buffer_init(&replies);
    int fd = connect_to(port);
    send_all(fd, input);
    (void)shutdown(fd, SHUT_WR);
    receive_all(fd, &replies);
    (void)close(fd);

    struct text rest = buffer_as_text(&replies);
    if (!has_head(input))
        while (rest.size > 0 && take_reply(&rest))
            ;
    buffer_release(&replies);
    return 0;
}
