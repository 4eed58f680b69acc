#include "tests/http_client.h"

#include "base/assert.h"

#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/banned.h"

int client_connect(uint16_t port, bool is_ipv6)
{
    int fd = socket(is_ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT(fd >= 0);
    const struct sockaddr_in6 six = {
        .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback, .sin6_port = htons(port)};
    const struct sockaddr_in four = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    int err = is_ipv6 ? connect(fd, (const struct sockaddr *)&six, sizeof six)
                      : connect(fd, (const struct sockaddr *)&four, sizeof four);
    ASSERT(err == 0);
    return fd;
}

void client_send(int fd, const void *bytes, size_t size)
{
    const char *at = bytes;
    while (size > 0) {
        ssize_t sent = send(fd, at, size, MSG_NOSIGNAL);
        if (sent <= 0) return;
        at += sent;
        size -= (size_t)sent;
    }
}

void client_string(int fd, const char *string)
{
    client_send(fd, string, strlen(string));
}

// One byte, or -1 at the end.
static int read_byte(int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    ASSERT(poll(&wait, 1, CLIENT_WAIT_MS) == 1);
    unsigned char byte;
    return recv(fd, &byte, 1, 0) == 1 ? byte : -1;
}

const char *client_header(const struct client_reply *r, const char *name)
{
    size_t size = strlen(name);
    for (const char *line = r->head.data; line != NULL; line = strstr(line, "\r\n")) {
        if (*line == '\r') line += 2;
        if (strncasecmp(line, name, size) == 0 && line[size] == ':')
            return line + size + 1 + strspn(line + size + 1, " ");
    }
    return NULL;
}

void client_read(int fd, bool is_head, struct client_reply *ret_reply)
{
    struct client_reply r = {.status = 0};
    buffer_init(&r.head);
    buffer_init(&r.body);
    int byte = 0;
    while (r.head.size < 4 || memcmp(r.head.data + r.head.size - 4, "\r\n\r\n", 4) != 0) {
        byte = read_byte(fd);
        if (byte < 0) break;
        buffer_char(&r.head, (char)byte);
    }
    buffer_char(&r.head, '\0');
    r.closed = byte < 0;
    if (byte >= 0) {
        ASSERT(strncmp(r.head.data, "HTTP/1.1 ", 9) == 0);
        r.status = atoi(r.head.data + 9);
        const char *connection = client_header(&r, "Connection");
        const char *length = client_header(&r, "Content-Length");
        r.closed = connection != NULL && strncasecmp(connection, "close", 5) == 0;
        bool has_body = !is_head && r.status >= 200 && r.status != 304;
        size_t size = has_body && length != NULL ? (size_t)atol(length) : 0;
        while (r.body.size < size && (byte = read_byte(fd)) >= 0)
            buffer_char(&r.body, (char)byte);
    }
    buffer_char(&r.body, '\0');
    r.body.size--;
    *ret_reply = r;
}

void client_reply_release(struct client_reply *r)
{
    buffer_release(&r->head);
    buffer_release(&r->body);
}

int client_status(int fd)
{
    struct client_reply r;
    client_read(fd, false, &r);
    client_reply_release(&r);
    return r.status;
}

bool client_ended(int fd, int ms)
{
    char dropped[4096];
    for (;;) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        if (poll(&wait, 1, ms) != 1) return false;
        if (recv(fd, dropped, sizeof dropped, 0) <= 0) return true;
    }
}
