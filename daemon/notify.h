// daemon/notify.h
//
// What a service manager is told (systemd's notify protocol: datagrams to the socket that
// NOTIFY_SOCKET names): recovering, ready, reloading, stopping, and, where it keeps a watchdog,
// that the sequencer gets on. Without NOTIFY_SOCKET nothing here does anything. Main's thread only.
#ifndef DAEMON_NOTIFY_H
#define DAEMON_NOTIFY_H

#include <time.h>

#include "base/log.h"
#include "engine/engine.h"

struct notify {
    int fd;               // -1: nobody wants to know
    uint64_t watchdog_ns; // without a sign of life for so long we are ended; 0: no watchdog
    bool is_reloading, is_stalled;
    uint64_t reads_before; // of the config, when the reload was asked for
};

// Reads the environment. A socket that cannot be had is one warning.
void notify_open(struct notify *n, const struct log *log);
void notify_close(struct notify *n);

void notify_recovering(const struct notify *n, uint64_t seq, uint64_t last_seq);
void notify_ready(const struct notify *n);
void notify_reloading(struct notify *n, struct engine *e); // before engine_reload
void notify_stopping(const struct notify *n);

// To be called again after at most notify_pause: ends a reload, and feeds the watchdog, but only
// while the sequencer gets on: a disk that hangs is to lead to a restart.
void notify_beat(struct notify *n, struct engine *e);
struct timespec notify_pause(const struct notify *n);

#endif
