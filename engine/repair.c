#include "engine/repair.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/assert.h"
#include "engine/salvage.h"

#include "base/banned.h"

#define FINDINGS_MAX 20u // lines about what is damaged; the rest is counted
#define RUNS_MAX 10u     // lines about what can be kept: the newest
#define LINE_BYTES 1024u

// Records without a break: from a snapshot (0: from nothing) to the last one that follows.
struct run {
    uint64_t from, to;
    uint64_t rows_before; // the results up to here can be read, too
};

struct repair {
    struct engine_repair_options options;
    struct salvage salvage;
    struct run *runs; // oldest first
    size_t runs_count;
    bool ends_known; // salvage.found->first and last are what the log has
    unsigned findings;
    char first_finding[LINE_BYTES];
    uint64_t lost_to; // the last record that is known to have been there
};

// ---- what is said -----------------------------------------------------------

static void say(struct repair *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct repair *r, const char *format, ...)
{
    char line[LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    r->options.said(r->options.context, line);
}

static void find(struct repair *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Notes damage.
static void find(struct repair *r, const char *format, ...)
{
    char what[LINE_BYTES - 16];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);
    if (r->findings == 0) snprintf(r->first_finding, sizeof(r->first_finding), "%s", what);
    if (r->findings < FINDINGS_MAX) say(r, "damaged: %s", what);
    r->findings++;
}

// The last records a run has: the numbers that can be cut at.
static void say_run(struct repair *r, const struct run *run)
{
    if (run->to == run->from)
        say(r, "good: the snapshot of record %" PRIu64 ": --cut-at %" PRIu64, run->from, run->to);
    else
        say(r, "good: records %" PRIu64 " to %" PRIu64 ": --cut-at %" PRIu64 " and up to %" PRIu64,
            run->from + 1, run->to, run->from == 0 ? 1 : run->from, run->to);
}

static void say_runs(struct repair *r)
{
    size_t i = r->runs_count > RUNS_MAX ? r->runs_count - RUNS_MAX : 0;
    if (r->findings > FINDINGS_MAX) say(r, "damaged: and %u more", r->findings - FINDINGS_MAX);
    for (; i < r->runs_count; i++)
        say_run(r, &r->runs[i]);
}

// ---- looking ----------------------------------------------------------------

// Other errors say nothing about the journal: they may be gone the next time.
static bool is_damage(int err)
{
    return err == BOSKOS_E_CORRUPT || err == BOSKOS_E_IO || err == BOSKOS_E_NOT_FOUND ||
           err == BOSKOS_E_MALFORMED;
}

// Did the walk come to where the log ends?
static bool is_at_end(const struct repair *r)
{
    const struct salvage_found *f = r->salvage.found;
    return r->ends_known && f->at.seq >= f->last;
}

// Walks from a snapshot, and once more without the results where it seems to be them that are
// damaged. What is found good is one more run.
static int look_from(struct repair *r, uint64_t from)
{
    struct salvage *s = &r->salvage;
    struct salvage_found *f = s->found;
    s->from = from;
    s->to = UINT64_MAX;
    s->rows_before = UINT64_MAX;
    int err = salvage_walk(s);
    if (err != 0 && !is_damage(err)) return err;
    if (f->at.seq < from) return 0; // the snapshot is bad
    struct run run = {.from = from, .to = f->at.seq, .rows_before = UINT64_MAX};
    if (!is_at_end(r) && !f->is_other_result) {
        struct journal_problem problem = f->problem;
        s->rows_before = run.to + 1;
        err = salvage_walk(s);
        if (err != 0 && !is_damage(err)) return err;
        if (f->at.seq > run.to) {
            find(r, "the results from record %" PRIu64 " on: %s", run.to + 1, problem.text);
            run.rows_before = run.to + 1;
            run.to = f->at.seq;
        } else {
            f->problem = problem;
        }
    }
    if (!is_at_end(r)) find(r, "%s", f->problem.text);
    if (f->row_missing != 0) {
        find(r, "data.mdb: the result of record %" PRIu64 " is missing, not so one after it",
             f->row_missing);
    }
    if (run.to > 0) r->runs[r->runs_count++] = run;
    return 0;
}

// Goes from break to break: after each the next snapshot is the next place to begin at.
static int look_all(struct repair *r)
{
    struct salvage *s = &r->salvage;
    const struct salvage_found *f = s->found;
    uint64_t reached = 0;
    bool is_whole = !r->ends_known || f->first <= 1;
    int err = is_whole ? look_from(r, 0) : 0;
    if (r->runs_count > 0) reached = r->runs[0].to;
    for (size_t i = 0; i < s->seqs_count && err == 0; i++) {
        bool is_trimmed = r->ends_known && s->seqs[i] + 1 < f->first;
        bool has_newer = i + 1 < s->seqs_count;
        if (f->snapshots[i] != SNAPSHOT_UNKNOWN || s->seqs[i] <= reached) continue;
        if (is_trimmed && has_newer) continue;
        err = look_from(r, s->seqs[i]);
        if (r->runs_count > 0) reached = r->runs[r->runs_count - 1].to;
    }
    return err;
}

// What the parts say of each other.
static void compare(struct repair *r)
{
    struct salvage *s = &r->salvage;
    const struct salvage_found *f = s->found;
    uint64_t newest = 0;
    for (size_t i = 0; i < s->seqs_count; i++) {
        if (f->snapshots[i] == SNAPSHOT_GOOD) newest = s->seqs[i];
        if (f->snapshots[i] == SNAPSHOT_BAD)
            find(r, "snapshot-%020" PRIu64 " is damaged, or of another log", s->seqs[i]);
    }
    if (f->is_other_witness) {
        find(r,
             "data.mdb: record %" PRIu64 " is another than the one that was acknowledged, says "
             "WITNESS",
             s->witness.seq);
    }
    if (r->ends_known && newest > f->last)
        find(r, "data.mdb: the log ends at record %" PRIu64 ", before snapshot-%020" PRIu64,
             f->last, newest);
    if (r->ends_known && s->witness.seq > f->last) {
        find(r,
             "data.mdb: the log ends at record %" PRIu64 ", but WITNESS says that record %" PRIu64
             " was acknowledged",
             f->last, s->witness.seq);
    }
    r->lost_to = f->last > newest ? f->last : newest;
    if (s->witness.seq > r->lost_to) r->lost_to = s->witness.seq;
}

static int look(struct repair *r)
{
    struct salvage *s = &r->salvage;
    size_t count = 0;
    int err = journal_snapshots(s->journal, false, &s->seqs, &count);
    if (err != 0) {
        snprintf(s->found->problem.text, sizeof(s->found->problem.text),
                 "%s: the snapshots cannot be listed: %s", r->options.data_dir,
                 boskos_error_text(err));
        return err;
    }
    s->seqs_count = count;
    for (size_t i = 0; i < count / 2; i++) { // oldest first
        uint64_t seq = s->seqs[i];
        s->seqs[i] = s->seqs[count - 1 - i];
        s->seqs[count - 1 - i] = seq;
    }
    r->runs = must_calloc(count + 1, sizeof(r->runs[0]));
    s->witness = journal_damaged_witness(s->journal);

    err = salvage_ends(s);
    if (err != 0 && !is_damage(err)) return err;
    r->ends_known = err == 0;
    if (err != 0) find(r, "%s", s->found->problem.text);
    bool is_open = err == 0;
    if (is_open) err = salvage_pages(s);
    if (err != 0 && !is_damage(err)) return err;
    if (is_open && err != 0) find(r, "%s", s->found->problem.text);
    err = look_all(r);
    if (err == 0) compare(r);
    return err;
}

// ---- cutting ----------------------------------------------------------------

static const struct run *run_with(const struct repair *r, uint64_t seq)
{
    for (size_t i = r->runs_count; i-- > 0;) {
        if (seq >= r->runs[i].from && seq <= r->runs[i].to) return &r->runs[i];
    }
    return NULL;
}

static int cut(struct repair *r, const struct run *run, char *why, size_t why_size)
{
    struct salvage *s = &r->salvage;
    char *kept = NULL;
    uint64_t seq = r->options.cut_at;
    s->from = run->from;
    s->to = seq;
    s->rows_before = run->rows_before;
    s->why = r->findings > 0 ? r->first_finding : "nothing was found damaged";
    s->lost_last = r->lost_to > seq ? r->lost_to : 0;
    int err = salvage_cut(s);
    if (err != 0) {
        journal_build_drop(s->journal);
        snprintf(why, why_size, "%s; %s is as it was", s->found->problem.text, r->options.data_dir);
        return err;
    }
    err = journal_swap(s->journal, seq, &kept, &s->found->problem);
    if (err != 0) { // between its two renames, maybe: whoever opens the folder next finishes it
        snprintf(why, why_size, "%s", s->found->problem.text);
        return err;
    }
    if (seq == run->from)
        say(r, "kept: the snapshot of record %" PRIu64, seq);
    else
        say(r, "kept: records %" PRIu64 " to %" PRIu64, run->from + 1, seq);
    if (s->lost_last > 0)
        say(r, "lost: records %" PRIu64 " to %" PRIu64, seq + 1, s->lost_last);
    else
        say(r, "lost: nothing that is known of after record %" PRIu64, seq);
    say(r, "the journal as it was is in %s; boskosd can be started", kept);
    free(kept);
    return 0;
}

// ---- the repair -------------------------------------------------------------

void engine_repair_advise(const char *data_dir, const char *what, char *why, size_t why_size)
{
    snprintf(why, why_size, "%s; to see what can be kept: boskosd --repair --data-dir %s", what,
             data_dir);
}

static void page_is_damaged(void *context, const char *what)
{
    struct salvage *s = context;
    snprintf(s->found->problem.text, sizeof(s->found->problem.text), "%s", what);
    _exit(4);
}

static void notice(void *context, const char *what)
{
    const struct salvage *s = context;
    if (s->options->noticed != NULL) s->options->noticed(s->options->context, what);
}

static int open_damaged(struct repair *r, struct journal_problem *problem)
{
    struct salvage *s = &r->salvage;
    struct journal_options options = {.dir = r->options.data_dir,
                                      .map_bytes = r->options.map_bytes,
                                      .lock_wait_ms = JOURNAL_LOCK_WAIT_MS_DEFAULT,
                                      .damaged = page_is_damaged,
                                      .noticed = notice,
                                      .context = s};
    void *shared =
        mmap(NULL, sizeof(*s->found), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        snprintf(problem->text, sizeof(problem->text), "no memory");
        return BOSKOS_E_NOMEM;
    }
    s->found = shared;
    s->options = &r->options;
    return journal_damaged_open(&options, &s->journal, problem);
}

// Says what can be done, now that all is known; cuts when that was asked for.
static int conclude(struct repair *r, char *why, size_t why_size, int *ret_exit_code)
{
    const char *dir = r->options.data_dir;
    uint64_t seq = r->options.cut_at;
    const struct run *last = r->runs_count > 0 ? &r->runs[r->runs_count - 1] : NULL;
    const struct run *run = run_with(r, seq);
    *ret_exit_code = 4;
    if (r->findings == 0 && seq == 0) {
        say(r, "nothing is damaged: %s/journal has records up to %" PRIu64, dir, r->lost_to);
        return 0;
    }
    *ret_exit_code = seq == 0 ? 4 : 1;
    if (r->findings == 0 && seq != r->lost_to) {
        snprintf(why, why_size,
                 "--cut-at %" PRIu64 ": nothing in %s/journal is damaged: only its last record, "
                 "%" PRIu64 ", can be given, which makes it anew and loses nothing",
                 seq, dir, r->lost_to);
        return BOSKOS_E_NOT_FOUND;
    }
    say_runs(r);
    if (last == NULL) {
        snprintf(why, why_size,
                 "nothing in %s/journal can be kept: bring back a copy, or move it "
                 "away to begin with nothing",
                 dir);
        return BOSKOS_E_CORRUPT;
    }
    if (seq == 0) {
        snprintf(why, why_size,
                 "%s/journal is damaged; to keep what there is up to record %" PRIu64
                 ": boskosd --repair --cut-at %" PRIu64 " --data-dir %s",
                 dir, last->to, last->to, dir);
        return BOSKOS_E_CORRUPT;
    }
    if (run == NULL) {
        uint64_t least = r->runs[0].from > 0 ? r->runs[0].from : 1;
        snprintf(why, why_size,
                 "--cut-at %" PRIu64 ": there is no unbroken log up to that record; possible is "
                 "%" PRIu64 " to %" PRIu64 "%s, the last good one",
                 seq, least, last->to, r->runs_count > 1 ? " but for the breaks above" : "");
        return BOSKOS_E_NOT_FOUND;
    }
    return cut(r, run, why, why_size);
}

int engine_repair(const struct engine_repair_options *options, char *why, size_t why_size,
                  int *ret_exit_code)
{
    struct repair r = {.options = *options};
    struct journal_problem problem = {0};
    int exit_code = 1;
    int err = open_damaged(&r, &problem);
    if (err != 0) {
        snprintf(why, why_size, "%s", problem.text);
        goto out;
    }
    err = look(&r);
    if (err != 0) {
        snprintf(why, why_size, "%s", r.salvage.found->problem.text);
        goto out;
    }
    err = conclude(&r, why, why_size, &exit_code);
out:
    if (err == BOSKOS_E_NOMEM) exit_code = 5;
    if (err != 0) *ret_exit_code = exit_code;
    journal_close(r.salvage.journal);
    if (r.salvage.found != NULL) (void)munmap(r.salvage.found, sizeof(*r.salvage.found));
    free(r.salvage.seqs);
    free(r.runs);
    return err;
}
