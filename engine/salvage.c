#include "engine/salvage.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "engine/logged_time.h"
#include "engine/recovery.h"

#include "base/banned.h"

#define COPY_RECORDS_MAX 4096u            // appended at once
#define COPY_BYTES_MAX (4u * 1024 * 1024) // and their payloads, beyond the first
#define PROGRESS_EVERY 65536u             // records
#define EXIT_NOMEM 5                      // of a child, as of the daemon

// ---- the copy ---------------------------------------------------------------

// Records on their way into the new journal, with the results that replaying them gave.
struct copy {
    struct journal *to;
    struct record records[COPY_RECORDS_MAX];
    struct journal_row rows[COPY_RECORDS_MAX];
    size_t payload_at[COPY_RECORDS_MAX], row_at[COPY_RECORDS_MAX + 1];
    size_t count;
    struct buffer payloads, row_bytes;
};

static int copy_flush(struct copy *c, struct journal_problem *problem)
{
    if (c->count == 0) return 0;
    for (size_t i = 0; i < c->count; i++) {
        c->records[i].payload =
            text_of(c->payloads.data + c->payload_at[i], c->records[i].payload.size);
        c->rows[i] = (struct journal_row){
            .seq = c->records[i].seq,
            .bytes = text_of(c->row_bytes.data + c->row_at[i], c->row_at[i + 1] - c->row_at[i])};
    }
    struct hash128 last = c->records[c->count - 1].chain;
    int err = journal_append(c->to, c->records, c->count, NULL, 0, problem);
    if (err == 0) err = journal_append(c->to, NULL, 0, c->rows, c->count, problem);
    if (err != 0) return err;
    ASSERT(hash128_equal(last, c->records[c->count - 1].chain)); // it was verified when read
    c->count = 0;
    buffer_clear(&c->payloads);
    buffer_clear(&c->row_bytes);
    return 0;
}

static int copy_add(struct copy *c, const struct record *record, const struct sm_result *result,
                    struct journal_problem *problem)
{
    size_t i = c->count++;
    c->records[i] = *record;
    c->payload_at[i] = c->payloads.size;
    c->row_at[i] = c->row_bytes.size;
    buffer_text(&c->payloads, record->payload);
    sm_result_encode(result, &c->row_bytes);
    c->row_at[i + 1] = c->row_bytes.size;
    if (c->count < COPY_RECORDS_MAX && c->payloads.size < COPY_BYTES_MAX) return 0;
    return copy_flush(c, problem);
}

// ---- the walk ---------------------------------------------------------------

// Of a child's; nothing of it is freed, for the child ends with the walk.
struct walker {
    struct salvage *s;
    struct sm *sm;
    struct command_decoder *decoder;
    struct buffer scratch;
    struct journal_cursor *cursor;
    uint64_t row_missing; // the first record that had none
    size_t snapshot;      // the next one on the way
    struct copy *copy;    // NULL: only looking
};

static int begin(struct walker *w, struct salvage *s)
{
    struct salvage_found *f = s->found;
    *w = (struct walker){.s = s, .decoder = command_decoder_new()};
    buffer_init(&w->scratch);
    f->at = (struct record){0};
    f->row_missing = 0;
    f->is_other_result = false;
    while (w->snapshot < s->seqs_count && s->seqs[w->snapshot] < s->from)
        w->snapshot++;
    if (s->from == 0) {
        w->sm = sm_new(0);
        return 0;
    }
    ASSERT(s->seqs[w->snapshot] == s->from);
    f->snapshots[w->snapshot] = SNAPSHOT_BAD; // until it proves good
    int err = recovery_load_snapshot(s->journal, s->from, 0, &w->sm, &f->at.chain, &f->problem);
    if (err != 0) return err;
    f->snapshots[w->snapshot++] = SNAPSHOT_GOOD;
    f->at.time_ns = sm_time_ns(w->sm);
    f->at.seq = s->from;
    return 0;
}

// Is the snapshot of the record that was just walked over, if there is one, of this very log?
static void look_at_snapshot(struct walker *w)
{
    struct salvage *s = w->s;
    struct salvage_found *f = s->found;
    struct journal_snapshot about;
    struct journal_snapshot_map *map;
    struct text bytes;
    if (w->snapshot == s->seqs_count || s->seqs[w->snapshot] != f->at.seq) return;
    size_t i = w->snapshot++;
    f->snapshots[i] = SNAPSHOT_BAD;
    if (journal_snapshot_open(s->journal, f->at.seq, &about, &bytes, &map, NULL) != 0) return;
    if (hash128_equal(about.chain, f->at.chain) && hash128_equal(about.digest, sm_digest(w->sm)))
        f->snapshots[i] = SNAPSHOT_GOOD;
    journal_snapshot_close(map);
}

static int step(struct walker *w)
{
    struct salvage *s = w->s;
    struct salvage_found *f = s->found;
    struct record record;
    struct journal_row row;
    struct sm_result result;
    enum replay_match match;
    int err = journal_cursor_next(w->cursor, &record, &row, &f->problem);
    if (err != 0) return err;
    err =
        recovery_step(w->sm, w->decoder, &w->scratch, &record, &row, &result, &match, &f->problem);
    if (err != 0) return err;
    if (match == REPLAY_NO_ROW) {
        if (w->row_missing == 0) w->row_missing = record.seq;
    } else if (match == REPLAY_SAME) {
        if (f->row_missing == 0) f->row_missing = w->row_missing;
    } else {
        recovery_explain(match, record.seq, &f->problem);
        f->is_other_result = true;
        return BOSKOS_E_CORRUPT;
    }
    if (record.seq == s->witness.seq && !hash128_equal(record.chain, s->witness.chain))
        f->is_other_witness = true;
    if (w->copy != NULL) err = copy_add(w->copy, &record, &result, &f->problem);
    if (err != 0) return err;
    f->at = (struct record){.seq = record.seq, .time_ns = record.time_ns, .chain = record.chain};
    look_at_snapshot(w);
    if (s->options->progress != NULL && record.seq % PROGRESS_EVERY == 0)
        s->options->progress(s->options->context, record.seq);
    return 0;
}

// From what `begin` loaded to s->to.
static int walk(struct walker *w)
{
    struct salvage *s = w->s;
    struct salvage_found *f = s->found;
    if (f->at.seq >= s->to) return 0; // the snapshot alone
    int err = journal_damaged_read(s->journal, &f->problem);
    if (err != 0) return err;
    err = journal_damaged_cursor(s->journal, s->from + 1, s->from > 0 ? &f->at.chain : NULL,
                                 s->rows_before, &w->cursor, &f->problem);
    while (err == 0 && f->at.seq < s->to)
        err = step(w);
    return err;
}

// ---- what a child does --------------------------------------------------------

static int find_ends(struct salvage *s)
{
    struct salvage_found *f = s->found;
    f->first = f->last = 0;
    int err = journal_damaged_read(s->journal, &f->problem);
    return err != 0 ? err : journal_damaged_ends(s->journal, &f->first, &f->last, &f->problem);
}

static int look_at_pages(struct salvage *s)
{
    return journal_damaged_pages(s->journal, &s->found->problem);
}

static int look(struct salvage *s)
{
    struct walker w;
    int err = begin(&w, s);
    return err != 0 ? err : walk(&w);
}

static int append_repaired(struct salvage *s, struct journal *to)
{
    const struct engine_repair_options *o = s->options;
    struct salvage_found *f = s->found;
    struct logged_time time;
    struct buffer bytes;
    logged_time_init(&time, o->clock, f->at.time_ns);
    struct command c = {.kind = COMMAND_REPAIRED,
                        .as.repaired = {.version = text_from(o->version),
                                        .host = text_from(o->host),
                                        .lost_first = s->to + 1,
                                        .lost_last = s->lost_last,
                                        .downtime_ns = time.last_ns - f->at.time_ns,
                                        .why = text_from(s->why)}};
    buffer_init(&bytes);
    command_encode(&c, &bytes);
    struct record record = {.seq = s->to + 1,
                            .time_ns = time.last_ns,
                            .kind = COMMAND_REPAIRED,
                            .semantics = command_semantics(COMMAND_REPAIRED),
                            .payload = buffer_as_text(&bytes)};
    int err = journal_append(to, &record, 1, NULL, 0, &f->problem);
    buffer_release(&bytes);
    return err;
}

static int cut(struct salvage *s)
{
    struct salvage_found *f = s->found;
    struct walker w;
    struct copy *copy = must_calloc(1, sizeof(*copy));
    int err = begin(&w, s);
    if (err != 0) return err;
    err = journal_build(s->journal, &f->at, &copy->to, &f->problem);
    if (err != 0) return err;
    w.copy = copy;
    err = walk(&w);
    if (err == 0) err = copy_flush(copy, &f->problem);
    for (size_t i = 0; i < s->seqs_count && err == 0; i++) {
        if (s->seqs[i] >= s->from && s->seqs[i] <= s->to && f->snapshots[i] == SNAPSHOT_GOOD)
            err = journal_build_snapshot(s->journal, copy->to, s->seqs[i], &f->problem);
    }
    if (err == 0) err = append_repaired(s, copy->to);
    return err != 0 ? err : journal_build_end(copy->to, &f->problem);
}

// A child goes with its parent, leaves no core, and takes a bare signal where the daemon says that
// its journal is damaged.
static void child_begin(pid_t parent)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    (void)signal(SIGSEGV, SIG_DFL);
    (void)signal(SIGBUS, SIG_DFL);
}

static int in_child(struct salvage *s, int (*work)(struct salvage *s))
{
    struct salvage_found *f = s->found;
    int status = 0;
    f->is_finished = false;
    f->problem = (struct journal_problem){0};
    pid_t parent = getpid();
    pid_t child = fork();
    if (child == 0) {
        child_begin(parent);
        f->err = work(s);
        f->is_finished = true;
        _exit(0);
    }
    pid_t ended = -1;
    while (child > 0 && (ended = waitpid(child, &status, 0)) < 0 && errno == EINTR) {
    }
    if (ended < 0) {
        snprintf(f->problem.text, sizeof(f->problem.text),
                 "no process can be had to read the "
                 "journal in");
        return BOSKOS_E_NOMEM;
    }
    if (f->is_finished) return f->err;
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_NOMEM) return BOSKOS_E_NOMEM;
    if (f->problem.text[0] == '\0') {
        snprintf(f->problem.text, sizeof(f->problem.text),
                 "data.mdb: reading it ends in signal %d after record %" PRIu64 ": its pages are "
                 "damaged, or its disk fails",
                 WIFSIGNALED(status) ? WTERMSIG(status) : 0, f->at.seq);
    }
    return BOSKOS_E_CORRUPT;
}

int salvage_ends(struct salvage *s)
{
    return in_child(s, find_ends);
}

int salvage_pages(struct salvage *s)
{
    return in_child(s, look_at_pages);
}

int salvage_walk(struct salvage *s)
{
    return in_child(s, look);
}

int salvage_cut(struct salvage *s)
{
    return in_child(s, cut);
}
