#include "engine/engine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/assert.h"
#include "engine/internal.h"
#include "engine/repair.h"

#include "base/banned.h"

#define ROWS_AT_ONCE 10000u              // of a missing tail of results
#define PROGRESS_EVERY_NS (5 * NS_PER_S) // a line while recovery takes long
#define PROGRESS_CHECK 4096u             // records between looks at the clock

// ---- opening ----------------------------------------------------------------

static void init_locks(struct engine *e)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&e->inbox.lock, NULL);
    pthread_cond_init(&e->inbox.wake, &attributes);
    pthread_mutex_init(&e->shadow.lock, NULL);
    pthread_cond_init(&e->shadow.wake, &attributes);
    pthread_condattr_destroy(&attributes);
}

// The only randomness: where hash tables begin, and the journal's salt for server-made names, which
// is logged. Neither decides anything.
static uint64_t random_bits(struct engine *e)
{
    uint64_t bits;
    if (getrandom(&bits, sizeof(bits), GRND_NONBLOCK) != sizeof(bits)) {
        bits = clock_wall_ns(&e->options.clock) * UINT64_C(0x9e3779b97f4a7c15);
    }
    return bits;
}

static struct engine *engine_new(const struct engine_options *options)
{
    struct engine *e = must_calloc(1, sizeof(*e));
    e->options = *options;
    if (e->options.retain_ns == 0) e->options.retain_ns = ENGINE_RETAIN_DEFAULT_NS;
    if (e->options.retain_bytes == 0) e->options.retain_bytes = ENGINE_RETAIN_BYTES_DEFAULT;
    e->watcher.event_fd = e->watcher.inotify_fd = -1;
    e->decoder = command_decoder_new();
    e->opened_mono_ns = clock_mono_ns(&options->clock);
    e->hash_seed = random_bits(e);
    init_locks(e);
    return e;
}

static void tell_progress(struct engine *e, uint64_t seq)
{
    if (e->options.recovering == NULL) return;
    e->options.recovering(e->options.context, seq, journal_end(e->journal) - 1);
}

static void show_progress(struct engine *e, uint64_t seq, uint64_t *shown_ns)
{
    if (seq % PROGRESS_CHECK != 0) return;
    uint64_t now_ns = clock_mono_ns(&e->options.clock);
    if (now_ns - *shown_ns < PROGRESS_EVERY_NS) return;
    *shown_ns = now_ns;
    log_event(e->options.log, LOG_INFO, "recovering", LOG_F_U64("seq", seq),
              LOG_F_U64("of", journal_end(e->journal) - 1));
    tell_progress(e, seq);
}

static void explain_hole(struct journal_problem *problem, uint64_t missing, uint64_t present)
{
    problem->seq = missing;
    snprintf(problem->text, sizeof(problem->text),
             "data.mdb: the result of record %" PRIu64 " is missing, that of record %" PRIu64
             " after it is not: the file is damaged",
             missing, present);
}

// Replays the records after the state, comparing each with its row. A missing tail of rows is made
// again.
static int replay_tail(struct engine *e, struct hash128 chain, uint64_t *ret_tail,
                       struct journal_problem *problem)
{
    struct journal_cursor *cursor;
    struct buffer scratch;
    uint64_t from = sm_seq(e->sm) + 1;
    uint64_t shown_ns = e->opened_mono_ns;
    uint64_t missing = 0; // the first record without a row
    int err = journal_cursor_open(e->journal, from, from > 1 ? &chain : NULL, &cursor, problem);
    if (err != 0) return err;
    buffer_init(&scratch);
    tell_progress(e, from - 1);
    for (;;) {
        struct record record;
        struct journal_row row;
        struct sm_result result;
        enum replay_match match;
        recovery_expect(e->sm, cursor);
        err = journal_cursor_next(cursor, &record, &row, problem);
        if (err == BOSKOS_E_NOT_FOUND) break;
        if (err == 0) {
            err =
                recovery_step(e->sm, e->decoder, &scratch, &record, &row, &result, &match, problem);
        }
        if (err != 0) goto out;
        if (match == REPLAY_NO_ROW) {
            if (missing == 0) missing = record.seq;
            batch_add_row(&e->batch, record.seq, &result);
            // A full disk is no reason not to start: they can be made again.
            if (e->batch.rows_count % ROWS_AT_ONCE == 0) sequencer_flush_rows(e);
        } else if (match != REPLAY_SAME || missing != 0) {
            if (match != REPLAY_SAME) {
                recovery_explain(match, record.seq, problem);
            } else {
                explain_hole(problem, missing, record.seq);
            }
            err = BOSKOS_E_CORRUPT;
            goto out;
        }
        show_progress(e, record.seq, &shown_ns);
    }
    *ret_tail = journal_end(e->journal) - from;
    err = 0;
out:
    journal_cursor_close(cursor);
    buffer_release(&scratch);
    return err;
}

static int recover(struct engine *e, struct engine_recovery *ret, struct journal_problem *problem)
{
    struct hash128 chain;
    struct engine_recovery found = {0};
    uint64_t set_aside;
    int err = recovery_load(e->journal, UINT64_MAX, e->hash_seed, e->options.log, &e->sm,
                            &found.snapshot_seq, &chain, &set_aside, problem);
    if (err != 0) return err;
    atomic_store(&e->counters.snapshots_set_aside, set_aside);
    atomic_store(&e->counters.snapshot_seq, found.snapshot_seq);
    atomic_store(&e->counters.snapshot_time_ns, sm_time_ns(e->sm));
    err = replay_tail(e, chain, &found.tail, problem);
    if (err == 0) err = journal_finish_open(e->journal, problem);
    if (err != 0) return err;
    found.seq = sm_seq(e->sm);
    found.resources = sm_resources_count(e->sm);
    found.took_ns = clock_mono_ns(&e->options.clock) - e->opened_mono_ns;
    atomic_store(&e->counters.recovery_ns, found.took_ns);
    atomic_store(&e->counters.recovery_commands, found.tail);
    *ret = found;
    return 0;
}

// Who cannot have this folder may have another, or none.
static void advise_folder(struct journal_problem *problem)
{
    size_t size = strlen(problem->text);
    bool is_named = strstr(problem->text, "--data-dir") != NULL;
    snprintf(problem->text + size, sizeof(problem->text) - size, "%s, or keep nothing: --in_memory",
             is_named ? "" : "; choose another --data-dir");
}

static void journal_damaged(void *context, const char *what)
{
    struct engine *e = context;
    char why[WHY_BYTES];
    engine_repair_advise(e->options.data_dir, what, why, sizeof(why));
    e->options.fatal(e->options.context, 4, why);
}

static void journal_noticed(void *context, const char *what)
{
    struct engine *e = context;
    atomic_fetch_add(&e->counters.journal_faults, 1);
    log_event(e->options.log, LOG_ERROR, what);
}

static int open_journal(struct engine *e, struct engine_recovery *ret,
                        struct journal_problem *problem)
{
    struct journal_options options = {.dir = e->options.data_dir,
                                      .map_bytes = e->options.map_bytes,
                                      .step_bytes = e->options.step_bytes,
                                      .lock_wait_ms = JOURNAL_LOCK_WAIT_MS_DEFAULT,
                                      .ahead = true,
                                      .leaves_later = true,
                                      .damaged = journal_damaged,
                                      .noticed = journal_noticed,
                                      .context = e};
    int err = journal_open(&options, &e->journal, problem);
    if (err == BOSKOS_E_READ_ONLY || err == BOSKOS_E_IO) advise_folder(problem);
    if (err != 0) return err;
    struct journal_figures figures;
    journal_figures(e->journal, &figures);
    if (figures.network != NULL) {
        log_event(
            e->options.log, LOG_WARNING,
            "the data is on a network file system: what it says is on the disk may not be, and "
            "its locks may not keep a second boskosd away",
            LOG_F_STRING("data_dir", e->options.data_dir),
            LOG_F_STRING("file_system", figures.network));
    }
    return recover(e, ret, problem);
}

// ---- the first commands -----------------------------------------------------

static void add_started(struct engine *e)
{
    uint64_t before_ns = sm_time_ns(e->sm);
    bool is_first = sm_seq(e->sm) == 0;
    struct command c = {.kind = COMMAND_STARTED};
    logged_time_init(&e->time, e->options.clock, before_ns);
    c.as.started = (struct command_started){
        .version = text_from(e->options.version),
        .host = text_from(e->options.host),
        .downtime_ns = is_first ? 0 : e->time.last_ns - before_ns,
        .request_ttl_ns = e->options.request_ttl_ns,
        .salt = (uint32_t)(random_bits(e) >> 52),
    };
    sequencer_add_own(e, &c);
}

// The config at the start. A bad one is an error, unless the journal has one to go on with.
static int add_first_config(struct engine *e, char *why, size_t why_size)
{
    struct config *config;
    if (e->options.config_path == NULL) return 0;
    int err = watcher_read(e, &config);
    if (err == 0) {
        sequencer_add_config(e, config);
        config_free(config);
        return 0;
    }
    if (sm_has_config(e->sm) && !e->options.strict_config) {
        log_event(e->options.log, LOG_ERROR, "starting with the config of the journal instead");
        return 0;
    }
    snprintf(why, why_size, "the config %s cannot be used; its errors are above",
             e->options.config_path);
    return err;
}

static int start_commands(struct engine *e, char *why, size_t why_size)
{
    add_started(e);
    int err = add_first_config(e, why, why_size);
    if (err != 0) return err;
    err = sequencer_commit(e);
    if (err != 0) {
        snprintf(why, why_size, "%s: %s; make room and start again", e->options.data_dir,
                 boskos_error_text(err));
        return err;
    }
    sequencer_flush_rows(e);
    return 0;
}

int engine_open(const struct engine_options *options, struct engine **ret_engine,
                struct engine_recovery *ret_recovery, char *why, size_t why_size,
                int *ret_exit_code)
{
    struct journal_problem problem = {0};
    struct engine_recovery found = {0};
    struct engine *e = engine_new(options);
    int exit_code = 1;
    int err = 0;
    batch_init(&e->batch, 1);
    if (options->data_dir == NULL) {
        e->sm = sm_new(e->hash_seed);
    } else {
        err = open_journal(e, &found, &problem);
        if (err == BOSKOS_E_CORRUPT) {
            exit_code = 4;
            engine_repair_advise(options->data_dir, problem.text, why, why_size);
        } else if (err != 0) {
            snprintf(why, why_size, "%s", problem.text);
        }
    }
    if (err == 0) {
        e->batch.next_seq = sm_seq(e->sm) + 1;
        err = start_commands(e, why, why_size);
    }
    if (err != 0) {
        *ret_exit_code = exit_code;
        engine_close(e);
        return err;
    }
    *ret_engine = e;
    *ret_recovery = found;
    return 0;
}

// ---- running ----------------------------------------------------------------

int engine_start(struct engine *e)
{
    atomic_store(&e->counters.turn_ns, clock_mono_ns(&e->options.clock));
    if (pthread_create(&e->sequencer, NULL, sequencer_main, e) != 0) return BOSKOS_E_NOMEM;
    e->is_sequencing = true;
    int err = 0;
    if (e->journal != NULL) err = journal_drain_start(e->journal, sequencer_failed, e);
    if (err == 0) err = shadow_start(e);
    return err != 0 ? err : watcher_start(e);
}

static void refuse_chain(struct engine *e, struct engine_request *first)
{
    while (first != NULL) {
        struct engine_request *r = first;
        first = r->next;
        r->done(r, BOSKOS_E_STOPPED, NULL, NULL, 0);
    }
    e->options.batch_done(e->options.context);
}

void engine_submit(struct engine *e, struct engine_request *first)
{
    struct inbox *inbox = &e->inbox;
    struct engine_request *last = first;
    if (first == NULL) return;
    while (last->next != NULL) {
        last = last->next;
    }
    pthread_mutex_lock(&inbox->lock);
    bool is_stopping = inbox->is_stopping;
    bool was_empty = inbox->first == NULL;
    if (!is_stopping) {
        *(was_empty ? &inbox->first : &inbox->last->next) = first;
        inbox->last = last;
    }
    if (was_empty) pthread_cond_signal(&inbox->wake);
    pthread_mutex_unlock(&inbox->lock);
    if (is_stopping) refuse_chain(e, first);
}

void engine_stop(struct engine *e)
{
    if (!e->is_sequencing) return;
    watcher_stop(e);
    pthread_mutex_lock(&e->inbox.lock);
    e->inbox.is_stopping = true;
    pthread_cond_signal(&e->inbox.wake);
    pthread_mutex_unlock(&e->inbox.lock);
    pthread_join(e->sequencer, NULL);
    e->is_sequencing = false;
    shadow_stop(e);
    if (e->journal != NULL) journal_drain_stop(e->journal);
}

void engine_close(struct engine *e)
{
    if (e == NULL) return;
    engine_stop(e);
    watcher_release(e);
    config_free(e->inbox.config);
    config_free(e->config);
    shadow_release(e);
    sm_free(e->sm);
    command_decoder_free(e->decoder);
    batch_release(&e->batch);
    if (e->journal != NULL) journal_close(e->journal);
    pthread_mutex_destroy(&e->inbox.lock);
    pthread_cond_destroy(&e->inbox.wake);
    pthread_mutex_destroy(&e->shadow.lock);
    pthread_cond_destroy(&e->shadow.wake);
    free(e);
}
