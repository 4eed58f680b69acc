// engine/retention.h
//
// How much of the past is kept: which snapshots go, and up to where the log is trimmed. Any point
// from the oldest kept snapshot on can be replayed, so the log is trimmed only there.
//
// Pure: it decides about a list and touches nothing.
#ifndef ENGINE_RETENTION_H
#define ENGINE_RETENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RETENTION_SNAPSHOTS_SHARE 4u // snapshots take at most one part in so many of `bytes`
#define RETENTION_NEWEST 2u          // these always stay, and so does the oldest

struct retention {
    uint64_t span_ns; // --retain
    uint64_t bytes;   // --retain-bytes: log and snapshots together
};

struct retained {
    uint64_t seq, time_ns, bytes; // of a snapshot
    bool is_kept;
};

// What there is now.
struct retention_log {
    uint64_t first, end; // sequence numbers, as journal_first and journal_end
    uint64_t bytes;      // of its pages in use
    uint64_t now_ns;     // logged time
};

// Decides about snapshots, oldest first: fills in is_kept of each. Returns the sequence number
// below which records are to go; 0: none.
//
// 1. What lies wholly before --retain goes: the base is the newest snapshot that is as old as that.
// 2. Snapshots are thinned until they fit in their share, first the one whose neighbours are
// closest
//    to each other.
// 3. While log and snapshots are over --retain-bytes the base moves on to the next snapshot.
uint64_t retention_choose(const struct retention *r, const struct retention_log *log,
                          struct retained *list, size_t count);

#endif
