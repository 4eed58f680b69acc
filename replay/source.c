#include "replay/source.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "engine/recovery.h"
#include "journal/slice.h"

#include "base/banned.h"

#define HASH_SEED 1u // any: nobody aims at the tables of a tool
#define LOOKS_MAX 10 // for a beginning that moves on

// One of the two is open.
struct source {
    struct source_options options;
    struct journal *journal;
    struct slice *slice;
};

struct source_cursor {
    struct journal_cursor *journal;
    struct slice_cursor *slice;
};

// A log that ends before one of its snapshots has lost its end. The snapshots are listed first: a
// daemon writes one only of what is in the log already.
static int end_check(struct source *s, struct journal_problem *problem)
{
    uint64_t *seqs = NULL;
    size_t count = 0;
    struct journal_snapshot about;
    int err = source_snapshots(s, &seqs, &count, problem);
    if (err == 0) err = journal_refresh(s->journal, problem);
    uint64_t last = err == 0 && count > 0 ? seqs[count - 1] : 0;
    free(seqs);
    if (err != 0 || last < journal_end(s->journal)) return err;
    if (journal_snapshot_about(s->journal, last, &about, problem) != 0) return 0; // it is damaged
    problem->seq = journal_end(s->journal) - 1;
    (void)snprintf(problem->text, sizeof(problem->text),
                   "%s/journal/data.mdb: the log ends at %" PRIu64 ", before snapshot-%020" PRIu64
                   ": acknowledged commands are lost",
                   s->options.data_dir, problem->seq, last);
    return BOSKOS_E_CORRUPT;
}

int source_open(const struct source_options *options, struct source **ret_source,
                struct journal_problem *problem)
{
    struct source *s = must_calloc(1, sizeof(*s));
    s->options = *options;
    struct journal_options journal = {.dir = options->data_dir,
                                      .damaged = options->damaged,
                                      .noticed = options->noticed,
                                      .context = options->context};
    int err = options->file != NULL ? slice_open(options->file, &s->slice, problem)
                                    : journal_open_read(&journal, &s->journal, problem);
    if (err == 0 && s->slice == NULL) err = end_check(s, problem);
    if (err != 0) {
        source_close(s);
        return err;
    }
    *ret_source = s;
    return 0;
}

void source_close(struct source *s)
{
    if (s == NULL) return;
    journal_close(s->journal);
    slice_close(s->slice);
    free(s);
}

struct journal *source_journal(struct source *s)
{
    return s->journal;
}

const char *source_name(const struct source *s)
{
    return s->slice != NULL ? s->options.file : s->options.data_dir;
}

bool source_is_held(const struct source *s)
{
    return s->slice == NULL && journal_is_held(s->journal);
}

enum journal_witness source_witness(const struct source *s)
{
    return s->slice != NULL ? JOURNAL_WITNESS_UNSEEN : journal_witness(s->journal);
}

// ---- how far it reaches -------------------------------------------------------

uint64_t source_first(const struct source *s)
{
    return s->slice != NULL ? slice_about(s->slice)->base_seq + 1 : journal_first(s->journal);
}

static uint64_t source_end(const struct source *s)
{
    return s->slice != NULL ? slice_about(s->slice)->last_seq + 1 : journal_end(s->journal);
}

int source_snapshots(struct source *s, uint64_t **ret_seqs, size_t *ret_count,
                     struct journal_problem *problem)
{
    uint64_t *seqs = NULL;
    size_t count = 0;
    if (s->slice != NULL) {
        seqs = must_malloc(sizeof(*seqs));
        seqs[0] = slice_about(s->slice)->base_seq;
        count = seqs[0] > 0;
    } else {
        int err = journal_snapshots(s->journal, false, &seqs, &count);
        if (err != 0) {
            problem->seq = 0;
            (void)snprintf(problem->text, sizeof(problem->text),
                           "%s: the snapshots cannot be listed: %s", s->options.data_dir,
                           err == BOSKOS_E_READ_ONLY ? "this user may not; run as that of boskosd"
                                                     : boskos_error_text(err));
            return err;
        }
    }
    for (size_t i = 0; i < count / 2; i++) { // they come newest first
        uint64_t other = seqs[i];
        seqs[i] = seqs[count - 1 - i];
        seqs[count - 1 - i] = other;
    }
    *ret_seqs = seqs;
    *ret_count = count;
    return 0;
}

int source_bases(struct source *s, uint64_t **ret_seqs, size_t *ret_count,
                 struct journal_problem *problem)
{
    uint64_t *snapshots = NULL;
    size_t count = 0, kept = 0;
    int err = s->slice != NULL ? 0 : journal_refresh(s->journal, problem);
    if (err == 0) err = source_snapshots(s, &snapshots, &count, problem);
    if (err != 0) return err;
    uint64_t *seqs = must_malloc((count + 1) * sizeof(*seqs));
    if (source_first(s) == 1) seqs[kept++] = 0;
    for (size_t i = 0; i < count; i++) {
        // A snapshot of a log that was trimmed beyond it, or that ends before it, is no base.
        bool is_base = snapshots[i] + 1 >= source_first(s) && snapshots[i] < source_end(s);
        if (snapshots[i] > 0 && is_base) seqs[kept++] = snapshots[i];
    }
    free(snapshots);
    *ret_seqs = seqs;
    *ret_count = kept;
    return 0;
}

int source_snapshot_about(struct source *s, uint64_t seq, struct journal_snapshot *ret_about,
                          struct journal_problem *problem)
{
    if (s->slice == NULL) return journal_snapshot_about(s->journal, seq, ret_about, problem);
    const struct slice_about *about = slice_about(s->slice);
    *ret_about = (struct journal_snapshot){.seq = about->base_seq,
                                           .time_ns = about->base_time_ns,
                                           .chain = about->base_chain,
                                           .digest = about->base_digest,
                                           .bytes = slice_base(s->slice).size};
    return 0;
}

// The oldest base whose header can be read, and its time.
static int oldest_find(struct source *s, struct source_span *span, struct journal_problem *problem)
{
    uint64_t *seqs = NULL;
    size_t count = 0;
    int err = source_bases(s, &seqs, &count, problem);
    if (err != 0) return err;
    struct journal_snapshot about = {0};
    size_t i = 0;
    for (; i < count; i++) {
        if (seqs[i] == 0) break;
        err = source_snapshot_about(s, seqs[i], &about, problem);
        if (err == 0) break;
    }
    if (i == count && err == 0) {
        problem->seq = source_first(s);
        (void)snprintf(problem->text, sizeof(problem->text),
                       "%s/journal/data.mdb: the log begins at %" PRIu64 ", and there is no "
                       "snapshot from before it",
                       s->options.data_dir, source_first(s));
        err = BOSKOS_E_CORRUPT;
    } else if (i < count) {
        err = 0;
        span->oldest = seqs[i];
        span->oldest_time_ns = seqs[i] == 0 ? 0 : about.time_ns;
    }
    free(seqs);
    return err;
}

// Between a look at the log and one at the snapshots a daemon may have written some and removed
// others.
static bool is_moved(int err)
{
    return err == BOSKOS_E_CORRUPT || err == BOSKOS_E_NOT_FOUND;
}

int source_look(struct source *s, struct source_span *ret_span, struct journal_problem *problem)
{
    struct source_span span = {0};
    int err = oldest_find(s, &span, problem);
    for (int i = 1; i < LOOKS_MAX && source_is_held(s) && is_moved(err); i++)
        err = oldest_find(s, &span, problem);
    if (err != 0) return err;
    span.last = source_end(s) - 1;
    span.last_time_ns =
        s->slice != NULL ? slice_about(s->slice)->last_time_ns : journal_last_time_ns(s->journal);
    *ret_span = span;
    return 0;
}

// ---- states -------------------------------------------------------------------

static int load_base(struct source *s, struct sm **ret_sm, struct hash128 *ret_chain,
                     struct journal_problem *problem)
{
    const struct slice_about *about = slice_about(s->slice);
    struct sm *sm = NULL;
    int err = sm_snapshot_read(slice_base(s->slice), HASH_SEED, &sm);
    if (err == 0 &&
        (sm_seq(sm) != about->base_seq || !hash128_equal(sm_digest(sm), about->base_digest))) {
        sm_free(sm);
        err = BOSKOS_E_CORRUPT;
    }
    if (err != 0) {
        problem->seq = about->base_seq;
        (void)snprintf(problem->text, sizeof(problem->text), "%s: %s", s->options.file,
                       err == BOSKOS_E_TOO_NEW
                           ? "the state in it was written by a newer version"
                           : "the state in it does not have the digest it claims");
        return err;
    }
    *ret_sm = sm;
    *ret_chain = about->base_chain;
    return 0;
}

int source_load_snapshot(struct source *s, uint64_t seq, struct sm **ret_sm,
                         struct hash128 *ret_chain, struct journal_problem *problem)
{
    struct sm *sm = NULL;
    struct hash128 chain;
    if (s->slice != NULL) return load_base(s, ret_sm, ret_chain, problem);
    int err = recovery_load_snapshot(s->journal, seq, HASH_SEED, &sm, &chain, problem);
    if (err != 0) return err;
    err = recovery_check_belongs(s->journal, seq, &chain, problem);
    if (err != 0) {
        sm_free(sm);
        return err;
    }
    *ret_sm = sm;
    *ret_chain = chain;
    return 0;
}

int source_snapshot_open(struct source *s, uint64_t seq, struct text *ret_bytes,
                         struct journal_snapshot_map **ret_map, struct journal_problem *problem)
{
    struct journal_snapshot about;
    if (s->slice == NULL)
        return journal_snapshot_open(s->journal, seq, &about, ret_bytes, ret_map, problem);
    *ret_bytes = slice_base(s->slice); // checked when it was opened
    *ret_map = NULL;
    return 0;
}

void source_snapshot_close(struct journal_snapshot_map *map)
{
    journal_snapshot_close(map);
}

static void notice_bad(struct source *s, const struct journal_problem *bad)
{
    char what[sizeof(bad->text) + 64];
    if (s->options.noticed == NULL) return;
    (void)snprintf(what, sizeof(what), "%s; the one before is used", bad->text);
    s->options.noticed(s->options.context, what);
}

static int none_left(struct source *s, uint64_t most, const struct journal_problem *bad,
                     struct journal_problem *problem)
{
    if (bad->text[0] != '\0') {
        *problem = *bad;
        return BOSKOS_E_CORRUPT;
    }
    problem->seq = most;
    (void)snprintf(problem->text, sizeof(problem->text),
                   "%s: the state after command %" PRIu64 " is no longer kept", source_name(s),
                   most);
    return BOSKOS_E_TRIMMED;
}

int source_load(struct source *s, uint64_t most, struct sm **ret_sm, struct hash128 *ret_chain,
                struct journal_problem *problem)
{
    uint64_t *seqs = NULL;
    size_t count = 0;
    struct journal_problem bad = {0};
    int err = source_bases(s, &seqs, &count, problem);
    if (err != 0) return err;
    bool is_found = false;
    for (size_t i = count; i-- > 0 && err == 0 && !is_found;) {
        if (seqs[i] > most) continue;
        if (seqs[i] == 0) {
            *ret_sm = sm_new(HASH_SEED);
            *ret_chain = (struct hash128){0, 0};
            is_found = true;
            break;
        }
        err = source_load_snapshot(s, seqs[i], ret_sm, ret_chain, problem);
        is_found = err == 0;
        if (err == BOSKOS_E_CORRUPT) {
            bad = *problem;
            if (i > 0) notice_bad(s, &bad);
        }
        // A daemon may have removed it just now.
        if (err == BOSKOS_E_CORRUPT || err == BOSKOS_E_NOT_FOUND) err = 0;
    }
    free(seqs);
    if (err != 0 || is_found) return err;
    return none_left(s, most, &bad, problem);
}

// ---- records ------------------------------------------------------------------

// Times do not go back, so that halving finds it.
static int slice_find_time(struct slice *s, uint64_t time_ns, uint64_t *ret_seq,
                           struct journal_problem *problem)
{
    const struct slice_about *about = slice_about(s);
    uint64_t low = about->base_seq + 1, high = about->last_seq + 1;
    int err = 0;
    while (err == 0 && low < high) {
        struct slice_cursor *c = NULL;
        struct record record;
        struct journal_row row;
        uint64_t middle = low + (high - low) / 2;
        err = slice_cursor_open(s, middle, &c, problem);
        if (err == 0) err = slice_cursor_next(c, &record, &row, problem);
        if (err == 0 && record.time_ns <= time_ns)
            low = middle + 1;
        else
            high = middle;
        slice_cursor_close(c);
    }
    if (err != 0) return err;
    *ret_seq = low == about->base_seq + 1 ? 0 : low - 1;
    return 0;
}

int source_find_time(struct source *s, uint64_t time_ns, uint64_t *ret_seq,
                     struct journal_problem *problem)
{
    if (s->slice != NULL) return slice_find_time(s->slice, time_ns, ret_seq, problem);
    return journal_find_time(s->journal, time_ns, ret_seq, problem);
}

int source_cursor_open(struct source *s, uint64_t from, const struct hash128 *before,
                       struct source_cursor **ret_cursor, struct journal_problem *problem)
{
    struct source_cursor *c = must_calloc(1, sizeof(*c));
    int err = s->slice != NULL
                  ? slice_cursor_open(s->slice, from, &c->slice, problem)
                  : journal_cursor_open(s->journal, from, before, &c->journal, problem);
    if (err != 0) {
        free(c);
        return err;
    }
    *ret_cursor = c;
    return 0;
}

void source_cursor_close(struct source_cursor *c)
{
    if (c == NULL) return;
    journal_cursor_close(c->journal);
    slice_cursor_close(c->slice);
    free(c);
}

void source_cursor_expect(const struct source_cursor *c, const struct sm *sm)
{
    if (c->journal != NULL) recovery_expect(sm, c->journal);
}

int source_cursor_next(struct source_cursor *c, struct record *ret_record,
                       struct journal_row *ret_row, struct journal_problem *problem)
{
    if (c->slice != NULL) return slice_cursor_next(c->slice, ret_record, ret_row, problem);
    return journal_cursor_next(c->journal, ret_record, ret_row, problem);
}

// ---- what it is made of ---------------------------------------------------------

void source_figures(struct source *s, struct journal_figures *ret_figures)
{
    if (s->slice == NULL) {
        journal_figures(s->journal, ret_figures);
        return;
    }
    const struct slice_about *about = slice_about(s->slice);
    uint64_t bytes = about->bytes - slice_base(s->slice).size;
    *ret_figures = (struct journal_figures){.first = source_first(s),
                                            .end = source_end(s),
                                            .log_bytes_used = bytes,
                                            .log_bytes_file = about->bytes};
}

int source_created_by(struct source *s, struct buffer *out, struct journal_problem *problem)
{
    if (s->slice == NULL) return journal_created_by(s->journal, out, problem);
    buffer_text(out, slice_about(s->slice)->created_by);
    return 0;
}

uint32_t source_flags(const struct source *s)
{
    return s->slice != NULL ? slice_about(s->slice)->flags : 0;
}
