#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

#include "engine/internal.h"

#include "base/banned.h"

// The shadow is a second state that follows the durable log through the same apply and compares
// every result and digest with what the sequencer stored. Snapshots are written from it: the
// sequencer never stops for one, and each is a proof that replay works.

static void alarm_mismatch(struct engine *e, enum replay_match match, uint64_t seq)
{
    bool is_digest = match == REPLAY_DIGEST;
    atomic_fetch_add(is_digest ? &e->counters.digest_mismatches : &e->counters.result_mismatches,
                     1);
    e->shadow.is_broken = true;
    atomic_store(&e->counters.shadow_broken, 1);
    log_event(e->options.log, LOG_ERROR,
              "ALARM: replaying a command gave something else than applying it did; "
              "no snapshots are written until a restart",
              LOG_F_STRING("differs", is_digest ? "digest" : "result"), LOG_F_U64("seq", seq));
}

static void alarm_problem(struct engine *e, const struct journal_problem *problem)
{
    e->shadow.is_broken = true;
    atomic_store(&e->counters.shadow_broken, 1);
    atomic_fetch_add(&e->counters.snapshot_failures, 1);
    log_event(e->options.log, LOG_ERROR, "ALARM: the log cannot be read back",
              LOG_F_STRING("problem", problem->text), LOG_F_U64("seq", problem->seq));
}

// Follows the log up to the last record that has a stored row. Returns how many records it applied.
static uint64_t follow(struct engine *e)
{
    struct shadow *s = &e->shadow;
    struct journal_problem problem = {0};
    struct journal_cursor *cursor;
    uint64_t end = journal_rows_end(e->journal);
    uint64_t from = sm_seq(s->sm) + 1;
    if (from >= end || s->is_broken) return 0;
    int err = journal_cursor_open(e->journal, from, &s->chain, &cursor, &problem);
    if (err != 0) {
        alarm_problem(e, &problem);
        return 0;
    }
    while (sm_seq(s->sm) + 1 < end && !s->is_broken) {
        struct record record;
        struct journal_row row;
        struct sm_result result;
        enum replay_match match;
        err = journal_cursor_next(cursor, &record, &row, &problem);
        if (err == 0) {
            err = recovery_step(s->sm, s->decoder, &s->scratch, &record, &row, &result, &match,
                                &problem);
        }
        if (err != 0) {
            alarm_problem(e, &problem);
            break;
        }
        s->chain = record.chain;
        if (match != REPLAY_SAME) alarm_mismatch(e, match, record.seq);
    }
    journal_cursor_close(cursor);
    atomic_store(&e->counters.shadow_seq, sm_seq(s->sm));
    return sm_seq(s->sm) + 1 - from;
}

static int write_piece(void *context, const void *bytes, size_t size)
{
    return journal_snapshot_add(context, bytes, size);
}

static void snapshot_failed(struct engine *e, int err, const struct journal_problem *problem)
{
    atomic_fetch_add(&e->counters.snapshot_failures, 1);
    log_event(
        e->options.log, LOG_ERROR, "a snapshot could not be written; the log is complete without",
        LOG_F_STRING("problem", problem->text), LOG_F_STRING("error", boskos_error_text(err)));
}

// Returns whether it is there.
static bool write_snapshot(struct engine *e)
{
    struct shadow *s = &e->shadow;
    struct journal_problem problem = {0};
    struct journal_snapshot_writer *w;
    struct journal_snapshot about = {.seq = sm_seq(s->sm),
                                     .time_ns = sm_time_ns(s->sm),
                                     .chain = s->chain,
                                     .digest = sm_digest(s->sm)};
    uint64_t started_ns = clock_mono_ns(&e->options.clock);
    s->snapshot_mono_ns = started_ns;
    s->has_failed = true; // until it is there
    int err = journal_snapshot_begin(e->journal, &about, &w, &problem);
    if (err != 0) {
        snapshot_failed(e, err, &problem);
        return false;
    }
    err = sm_snapshot_write(s->sm, write_piece, w);
    if (err != 0) {
        journal_snapshot_abort(w);
    } else {
        err = journal_snapshot_commit(w, &problem);
    }
    if (err != 0) {
        snapshot_failed(e, err, &problem);
        return false;
    }
    s->has_failed = false;
    atomic_store(&e->counters.snapshot_time_ns, about.time_ns);
    atomic_store(&e->counters.snapshot_seq, about.seq);
    atomic_fetch_add(&e->counters.snapshots, 1);
    log_event(e->options.log, LOG_INFO, "wrote a snapshot", LOG_F_U64("seq", about.seq),
              LOG_F_U64("resources", sm_resources_count(s->sm)),
              LOG_F_DURATION("took", clock_mono_ns(&e->options.clock) - started_ns));
    return true;
}

// The log is trimmed only at snapshots: when the commands are large they come more often.
static bool has_log_grown(const struct engine *e, uint64_t since)
{
    struct journal_figures figures;
    journal_figures(e->journal, &figures);
    uint64_t records = figures.end - figures.first;
    uint64_t part = e->options.retain_bytes / SNAPSHOTS_PER_RETAINED;
    return figures.log_bytes_used > part &&
           (unsigned __int128)figures.log_bytes_used * since > (unsigned __int128)part * records;
}

static bool is_snapshot_due(const struct engine *e, bool is_last)
{
    const struct shadow *s = &e->shadow;
    uint64_t since = sm_seq(s->sm) - atomic_load(&e->counters.snapshot_seq);
    uint64_t elapsed_ns = clock_mono_ns(&e->options.clock) - s->snapshot_mono_ns;
    if (s->is_broken || since == 0) return false;
    if (is_last) return true;
    if (s->has_failed) return elapsed_ns >= SNAPSHOT_RETRY_NS;
    return since >= e->options.snapshot_every || elapsed_ns >= ENGINE_SNAPSHOT_EVERY_NS ||
           has_log_grown(e, since);
}

// Sleeps a little; true when the end was asked for.
static bool nap(struct engine *e)
{
    struct shadow *s = &e->shadow;
    struct timespec until = wait_end(SHADOW_WAKE_NS);
    pthread_mutex_lock(&s->lock);
    while (!s->is_stopping && pthread_cond_timedwait(&s->wake, &s->lock, &until) == 0) {
    }
    bool stop = s->is_stopping;
    pthread_mutex_unlock(&s->lock);
    return stop;
}

// A tool that was killed while it read the log must not stop the use of free pages.
static void check_readers(struct engine *e)
{
    struct shadow *s = &e->shadow;
    uint32_t cleared = 0;
    uint64_t now_ns = clock_mono_ns(&e->options.clock);
    if (now_ns < s->readers_checked_ns + READERS_CHECK_NS) return;
    s->readers_checked_ns = now_ns;
    int err = journal_readers_check(e->journal, &cleared);
    atomic_fetch_add(&e->counters.readers_cleared, cleared);
    if (err != 0) {
        atomic_fetch_add(&e->counters.readers_failures, 1);
        log_event(e->options.log, LOG_ERROR, "the log's readers cannot be checked",
                  LOG_F_STRING("error", boskos_error_text(err)));
    } else if (cleared > 0) {
        log_event(e->options.log, LOG_WARNING,
                  "cleared up after readers of the log that were killed",
                  LOG_F_U64("readers", cleared));
    }
}

void shadow_open(struct engine *e)
{
    struct shadow *s = &e->shadow;
    struct journal_problem problem = {0};
    uint64_t seq;
    s->decoder = command_decoder_new();
    buffer_init(&s->scratch);
    s->snapshot_mono_ns = clock_mono_ns(&e->options.clock);
    int err = recovery_load(e->journal, UINT64_MAX, e->hash_seed, e->options.log, &s->sm, &seq,
                            &s->chain, NULL, &problem);
    if (err != 0) alarm_problem(e, &problem);
}

void shadow_step(struct engine *e, bool is_last)
{
    if (e->shadow.sm == NULL) return;
    struct journal_problem problem = {0};
    int err = journal_drain(e->journal, &problem); // so that there is something to follow
    if (err != 0 && err != BOSKOS_E_NOSPACE) sequencer_failed(e, err, &problem);
    follow(e);
    if (is_snapshot_due(e, is_last) && write_snapshot(e)) keep_retained(e);
    keep_room(e);
    check_readers(e);
}

void shadow_release(struct engine *e)
{
    struct shadow *s = &e->shadow;
    if (s->decoder == NULL) return;
    buffer_release(&s->scratch);
    command_decoder_free(s->decoder);
    sm_free(s->sm);
}

static void *shadow_main(void *context)
{
    struct engine *e = context;
    // The sequencer's share of the processor comes first. On Linux a nice value is the thread's
    // own.
    setpriority(PRIO_PROCESS, 0, 10);
    shadow_open(e);
    bool stop = e->shadow.sm == NULL;
    while (!stop) {
        stop = nap(e);
        shadow_step(e, stop);
    }
    return NULL;
}

int shadow_start(struct engine *e)
{
    struct shadow *s = &e->shadow;
    if (e->journal == NULL) return 0;
    if (pthread_create(&s->thread, NULL, shadow_main, e) != 0) return BOSKOS_E_NOMEM;
    s->is_running = true;
    return 0;
}

void shadow_stop(struct engine *e)
{
    struct shadow *s = &e->shadow;
    if (!s->is_running) return;
    pthread_mutex_lock(&s->lock);
    s->is_stopping = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    s->is_running = false;
}
