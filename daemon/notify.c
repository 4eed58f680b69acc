#include "daemon/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/banned.h"

#define MESSAGE_BYTES 512u
#define SEND_WAIT_S 5                       // for a manager that does not read
#define START_EXTEND_US UINT64_C(120000000) // until the next sign of a recovery
#define STOP_WATCHDOG_US UINT64_C(3600000000)
#define RELOAD_PAUSE_NS (50 * NS_PER_MS)
#define LONGEST_PAUSE_NS (60 * NS_PER_S)
#define TURN_AGE_NS (2 * NS_PER_S) // an idle sequencer turns once a second

static uint64_t mono_us(void)
{
    struct clock clock = clock_system();
    return clock_mono_ns(&clock) / NS_PER_US;
}

static void notify_send(const struct notify *n, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void notify_send(const struct notify *n, const char *format, ...)
{
    char message[MESSAGE_BYTES];
    va_list arguments;
    if (n->fd < 0) return;
    va_start(arguments, format);
    int size = vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    if (size < 0 || (size_t)size >= sizeof(message)) return;
    // What does not get there is lost: a manager that is gone is no reason to stop serving.
    ssize_t ignored = send(n->fd, message, (size_t)size, MSG_NOSIGNAL);
    (void)ignored;
}

// The number of an environment variable, 0 where there is none.
static uint64_t number_of(const char *name)
{
    const char *text = getenv(name);
    return text == NULL ? 0 : strtoull(text, NULL, 10);
}

// A path, or with an @ a name in the abstract space. Returns 0 or an errno.
static int connect_to(int fd, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t size = strlen(path);
    if ((path[0] != '/' && path[0] != '@') || size >= sizeof(address.sun_path)) return EINVAL;
    memcpy(address.sun_path, path, size);
    if (path[0] == '@') address.sun_path[0] = '\0';
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
    return connect(fd, (const struct sockaddr *)&address, length) == 0 ? 0 : errno;
}

void notify_open(struct notify *n, const struct log *log)
{
    *n = (struct notify){.fd = -1};
    const char *path = getenv("NOTIFY_SOCKET");
    if (path == NULL || path[0] == '\0') return;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int err = fd < 0 ? errno : connect_to(fd, path);
    if (err != 0) {
        log_event(log, LOG_WARNING, "the service manager cannot be told anything",
                  LOG_F_STRING("NOTIFY_SOCKET", path), LOG_F_STRING("error", strerror(err)));
        if (fd >= 0) (void)close(fd);
        return;
    }
    const struct timeval wait = {.tv_sec = SEND_WAIT_S};
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
    n->fd = fd;
    uint64_t pid = number_of("WATCHDOG_PID"); // a watchdog of somebody else's has another
    uint64_t watchdog_us = number_of("WATCHDOG_USEC");
    if ((pid == 0 || pid == (uint64_t)getpid()) && watchdog_us <= UINT64_MAX / NS_PER_US) {
        n->watchdog_ns = watchdog_us * NS_PER_US;
    }
}

void notify_close(struct notify *n)
{
    if (n->fd >= 0) (void)close(n->fd);
    n->fd = -1;
}

void notify_recovering(const struct notify *n, uint64_t seq, uint64_t last_seq)
{
    notify_send(
        n, "STATUS=recovering: command %" PRIu64 " of %" PRIu64 "\nEXTEND_TIMEOUT_USEC=%" PRIu64,
        seq, last_seq, START_EXTEND_US);
}

void notify_ready(const struct notify *n)
{
    notify_send(n, "READY=1\nSTATUS=serving");
}

void notify_reloading(struct notify *n, struct engine *e)
{
    struct engine_pulse pulse;
    engine_pulse(e, &pulse);
    n->reads_before = pulse.config_reads;
    n->is_reloading = n->fd >= 0;
    notify_send(n, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\nSTATUS=reading the config", mono_us());
}

// The last snapshot may take longer than a watchdog waits; the manager has a timeout for the end.
void notify_stopping(const struct notify *n)
{
    notify_send(n, "STOPPING=1\nSTATUS=ending%s", n->watchdog_ns > 0 ? "\nWATCHDOG=1" : "");
    if (n->watchdog_ns > 0) notify_send(n, "WATCHDOG_USEC=%" PRIu64, STOP_WATCHDOG_US);
}

static void end_reload(struct notify *n, const struct engine_pulse *pulse)
{
    if (!n->is_reloading || pulse->config_reads == n->reads_before) return;
    n->is_reloading = false;
    notify_send(n, "READY=1\nSTATUS=serving%s",
                pulse->config_bad ? "; the config file is bad, the one before is in force" : "");
}

static void feed_watchdog(struct notify *n, const struct engine_pulse *pulse)
{
    uint64_t now_ns = mono_us() * NS_PER_US;
    uint64_t age_ns = now_ns > pulse->turn_ns ? now_ns - pulse->turn_ns : 0;
    uint64_t limit_ns = n->watchdog_ns / 2 > TURN_AGE_NS ? n->watchdog_ns / 2 : TURN_AGE_NS;
    bool was_stalled = n->is_stalled;
    n->is_stalled = age_ns >= limit_ns; // in a commit, as a rule: that is within a turn
    if (n->is_stalled) {
        notify_send(n, "STATUS=no turn for %" PRIu64 " s%s", age_ns / NS_PER_S,
                    pulse->commit_since_ns > 0 ? ": the disk does not answer" : "");
    } else {
        notify_send(n, was_stalled ? "WATCHDOG=1\nSTATUS=serving" : "WATCHDOG=1");
    }
}

void notify_beat(struct notify *n, struct engine *e)
{
    struct engine_pulse pulse;
    if (n->fd < 0) return;
    engine_pulse(e, &pulse);
    end_reload(n, &pulse);
    if (n->watchdog_ns > 0) feed_watchdog(n, &pulse);
}

struct timespec notify_pause(const struct notify *n)
{
    uint64_t pause_ns = LONGEST_PAUSE_NS;
    if (n->watchdog_ns > 0 && n->watchdog_ns / 2 < pause_ns) pause_ns = n->watchdog_ns / 2;
    if (n->is_reloading && RELOAD_PAUSE_NS < pause_ns) pause_ns = RELOAD_PAUSE_NS;
    return (struct timespec){.tv_sec = (time_t)(pause_ns / NS_PER_S),
                             .tv_nsec = (long)(pause_ns % NS_PER_S)};
}
