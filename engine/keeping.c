#include <stdlib.h>

#include "base/assert.h"
#include "engine/internal.h"
#include "engine/retention.h"

#include "base/banned.h"

// ---- retention --------------------------------------------------------------

// The snapshots there are, oldest first, as their headers tell. One whose header cannot be read is
// left out, and so stays where it is. Returned, caller frees; NULL for none.
static struct retained *list_snapshots(struct engine *e, size_t *ret_count)
{
    uint64_t *seqs = NULL;
    size_t count = 0, known = 0;
    *ret_count = 0;
    if (journal_snapshots(e->journal, false, &seqs, &count) != 0 || count == 0) return NULL;
    struct retained *list = must_calloc(count, sizeof(*list));
    for (size_t i = count; i > 0; i--) {
        struct journal_snapshot about;
        if (journal_snapshot_about(e->journal, seqs[i - 1], &about, NULL) != 0) continue;
        list[known++] =
            (struct retained){.seq = about.seq, .time_ns = about.time_ns, .bytes = about.bytes};
    }
    free(seqs);
    *ret_count = known;
    return list;
}

// The log is trimmed only at a snapshot that can be read back whole.
static bool is_whole(struct engine *e, uint64_t seq)
{
    struct journal_problem problem;
    struct journal_snapshot about;
    struct text bytes;
    struct journal_snapshot_map *map;
    int err = journal_snapshot_open(e->journal, seq, &about, &bytes, &map, &problem);
    if (err == 0) {
        journal_snapshot_close(map);
        return true;
    }
    atomic_fetch_add(&e->counters.snapshot_failures, 1);
    log_event(e->options.log, LOG_ERROR, "a snapshot cannot be read back; the log is not trimmed",
              LOG_F_STRING("problem", problem.text), LOG_F_U64("seq", seq));
    return false;
}

static void remove_snapshots(struct engine *e, const struct retained *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (list[i].is_kept) continue;
        int err = journal_snapshot_remove(e->journal, list[i].seq);
        if (err != 0) {
            atomic_fetch_add(&e->counters.snapshot_failures, 1);
            log_event(e->options.log, LOG_ERROR, "a snapshot cannot be removed",
                      LOG_F_U64("seq", list[i].seq), LOG_F_STRING("error", boskos_error_text(err)));
            continue;
        }
        log_event(e->options.log, LOG_DEBUG, "removed a snapshot", LOG_F_U64("seq", list[i].seq));
    }
}

void keep_retained(struct engine *e)
{
    const struct engine_options *o = &e->options;
    struct retention retention = {.span_ns = o->retain_ns, .bytes = o->retain_bytes};
    struct journal_figures figures;
    size_t count;
    struct retained *list = list_snapshots(e, &count);
    journal_figures(e->journal, &figures);
    struct retention_log log = {.first = figures.first,
                                .end = figures.end,
                                .bytes = figures.log_bytes_used,
                                .now_ns = sm_time_ns(e->shadow.sm)};
    uint64_t before = retention_choose(&retention, &log, list, count);
    if (before == 0 || is_whole(e, before - 1)) {
        remove_snapshots(e, list, count);
        if (before != 0) {
            log_event(o->log, LOG_INFO, "trimming the log", LOG_F_U64("from", log.first),
                      LOG_F_U64("to", before - 1));
            atomic_store(&e->trim_before, before);
        }
    }
    free(list);
    e->shadow.kept_mono_ns = 0; // the figures have changed
}

// ---- room -------------------------------------------------------------------

static int add_size(void *context, const void *bytes, size_t size)
{
    uint64_t *sum = context;
    (void)bytes;
    *sum += size;
    return 0;
}

// A quarter more than a snapshot takes now.
static void keep_reserve(struct engine *e)
{
    struct journal_problem problem = {0};
    uint64_t bytes = 0;
    (void)sm_snapshot_write(e->shadow.sm, add_size, &bytes);
    bytes += bytes / 4;
    if (bytes < RESERVE_BYTES_MIN) bytes = RESERVE_BYTES_MIN;
    int err = journal_snapshot_reserve(e->journal, bytes, &problem);
    bool had_none = atomic_exchange(&e->has_no_reserve, err != 0);
    if (err != 0 && !had_none) {
        log_event(e->options.log, LOG_ERROR, "there is no room for the next snapshot",
                  LOG_F_STRING("problem", problem.text));
    }
}

void keep_room(struct engine *e)
{
    struct counters *c = &e->counters;
    struct shadow *s = &e->shadow;
    uint64_t now_ns = clock_mono_ns(&e->options.clock);
    uint64_t pause_ns = atomic_load(&e->has_no_reserve) ? ROOM_CHECK_NS : KEEP_CHECK_NS;
    if (s->kept_mono_ns != 0 && now_ns < s->kept_mono_ns + pause_ns) return;
    s->kept_mono_ns = now_ns;
    keep_reserve(e);

    size_t count;
    uint64_t bytes = 0;
    struct retained *list = list_snapshots(e, &count);
    for (size_t i = 0; i < count; i++) {
        bytes += list[i].bytes;
    }
    free(list);
    atomic_store(&c->snapshots_kept, count);
    atomic_store(&c->snapshots_bytes, bytes);
    atomic_store(&c->log_bytes_free, journal_free_bytes(e->journal));
}
