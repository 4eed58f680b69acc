#include "engine/retention.h"

#include "base/banned.h"

static uint64_t bytes_of(const struct retained *list, size_t count)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        if (list[i].is_kept) bytes += list[i].bytes;
    }
    return bytes;
}

// The kept snapshot after one; `count` when there is none.
static size_t kept_after(const struct retained *list, size_t count, size_t at)
{
    size_t i = at + 1;
    while (i < count && !list[i].is_kept) {
        i++;
    }
    return i;
}

// The one between others whose going leaves the smallest gap; `count` when there is none.
static size_t most_crowded(const struct retained *list, size_t count, size_t oldest)
{
    size_t chosen = count;
    uint64_t smallest = UINT64_MAX;
    size_t before = oldest, at = kept_after(list, count, oldest);
    while (at + RETENTION_NEWEST < count) {
        size_t after = kept_after(list, count, at);
        uint64_t gap = list[after].seq - list[before].seq;
        if (gap < smallest) {
            smallest = gap;
            chosen = at;
        }
        before = at;
        at = after;
    }
    return chosen;
}

// What the log will take when it begins behind the snapshot `base`, taking its records for equally
// large.
static uint64_t log_bytes_from(const struct retention_log *log, uint64_t base_seq)
{
    uint64_t records = log->end - log->first;
    if (base_seq + 1 <= log->first || records == 0) return log->bytes;
    if (base_seq + 1 >= log->end) return 0;
    return (uint64_t)((unsigned __int128)log->bytes * (log->end - base_seq - 1) / records);
}

uint64_t retention_choose(const struct retention *r, const struct retention_log *log,
                          struct retained *list, size_t count)
{
    uint64_t horizon_ns = log->now_ns > r->span_ns ? log->now_ns - r->span_ns : 0;
    bool is_trimmed = false;
    size_t base = 0;
    for (size_t i = 0; i < count; i++) {
        list[i].is_kept = true;
    }
    for (size_t i = 0; i + RETENTION_NEWEST <= count && list[i].time_ns <= horizon_ns; i++) {
        base = i;
        is_trimmed = true;
    }
    for (size_t i = 0; i < base; i++) {
        list[i].is_kept = false;
    }

    size_t crowded;
    while (bytes_of(list, count) > r->bytes / RETENTION_SNAPSHOTS_SHARE &&
           (crowded = most_crowded(list, count, base)) < count) {
        list[crowded].is_kept = false;
    }

    uint64_t log_bytes = count > 0 && is_trimmed ? log_bytes_from(log, list[base].seq) : log->bytes;
    while (count >= RETENTION_NEWEST && log_bytes + bytes_of(list, count) > r->bytes) {
        // The first step is from the log's own beginning to the oldest snapshot.
        size_t next = is_trimmed ? kept_after(list, count, base) : base;
        if (next + RETENTION_NEWEST > count) break;
        if (is_trimmed) list[base].is_kept = false;
        base = next;
        is_trimmed = true;
        log_bytes = log_bytes_from(log, list[base].seq);
    }
    return is_trimmed && list[base].seq + 1 > log->first ? list[base].seq + 1 : 0;
}
