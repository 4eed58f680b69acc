#include "http/internal.h"

#include "base/error.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/banned.h"

// Binds one address; returns the descriptor or a negative errno.
static int bind_one(const struct sockaddr *address, socklen_t size, int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;

    const int on = 1, off = 0;
    int err = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (err == 0 && family == AF_INET6) {
        err = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    }
    if (err == 0) err = bind(fd, address, size);
    if (err == 0) return fd;

    err = -errno;
    (void)close(fd);
    return err;
}

// Every address: IPv6, which takes IPv4 along, or IPv4 alone where the system has no IPv6.
static int bind_all(uint16_t number)
{
    const struct sockaddr_in6 six = {
        .sin6_family = AF_INET6, .sin6_addr = in6addr_any, .sin6_port = htons(number)};
    int fd = bind_one((const struct sockaddr *)&six, sizeof six, AF_INET6);
    if (fd != -EAFNOSUPPORT && fd != -EADDRNOTAVAIL) return fd;

    const struct sockaddr_in four = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY), .sin_port = htons(number)};
    return bind_one((const struct sockaddr *)&four, sizeof four, AF_INET);
}

int socket_bind(const char *address, uint16_t number, int *ret_fd, char *why, size_t why_size)
{
    int fd;
    if (address == NULL) {
        fd = bind_all(number);
    } else {
        char port[8];
        (void)snprintf(port, sizeof port, "%u", (unsigned)number);
        const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                       .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
        struct addrinfo *found = NULL;
        int err = getaddrinfo(address, port, &hints, &found);
        if (err != 0) {
            (void)snprintf(why, why_size, "cannot use the address %s: %s", address,
                           gai_strerror(err));
            return BOSKOS_E_IO;
        }
        fd = bind_one(found->ai_addr, found->ai_addrlen, found->ai_family);
        freeaddrinfo(found);
    }
    if (fd < 0) {
        (void)snprintf(why, why_size, "cannot listen on port %u of %s: %s", (unsigned)number,
                       address != NULL ? address : "all addresses", strerrordesc_np(-fd));
        return fd == -EADDRINUSE ? BOSKOS_E_IN_USE : BOSKOS_E_IO;
    }
    *ret_fd = fd;
    return 0;
}

uint64_t socket_files_max(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024; // POSIX promises no more
    if (limit.rlim_cur < limit.rlim_max) {
        struct rlimit raised = {limit.rlim_max, limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
    }
    return limit.rlim_cur;
}
