// backup: a copy of the journal that a daemon starts on. Everything in it was replayed and compared
// on the way, and read back afterwards.
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cli.h"
#include "replay/place.h"
#include "replay/replay.h"
#include "replay/say.h"
#include "replay/signals.h"

#include "base/banned.h"

#define BEGINNINGS_MAX 4u    // tried, when a daemon removes them meanwhile
#define PROGRESS_EVERY 4096u // commands
#define KIB 1024u
#define MIB (1024u * 1024u)

struct backup {
    struct replay *r;
    const struct signals *signals;
    struct journal_copy *copy;
    struct walk *walk;
    uint64_t first; // record of the copy
    uint64_t base;  // the state that replaying begins with
    uint64_t last;  // the command that was the last when it began
    uint64_t last_time_ns;
    struct hash128 chain; // of the last record that was copied
    uint64_t *bases;      // oldest first
    size_t bases_count, bases_next;
    uint64_t snapshots, newest; // how many were copied, and the last of them
    uint64_t bytes;
};

// ---- what is copied ---------------------------------------------------------------

static int gone(struct backup *b)
{
    return replay_fail(b->r, BOSKOS_E_TRIMMED,
                       "the snapshot of command %" PRIu64 " is no longer kept", b->base);
}

// What a state's bytes are compared with while they are made.
struct comparison {
    struct text rest;
    bool is_same;
};

static int compare_piece(void *context, const void *bytes, size_t size)
{
    struct comparison *c = context;
    c->is_same = c->is_same && size <= c->rest.size && memcmp(bytes, c->rest.data, size) == 0;
    if (c->is_same) c->rest = text_of(c->rest.data + size, c->rest.size - size);
    return 0;
}

// Equal states have equal bytes, so that the one in a snapshot need not be made to be compared,
// unless another version wrote it in another form.
static int compare_state(struct backup *b, uint64_t seq, struct text bytes, bool *ret_is_same)
{
    struct replay *r = b->r;
    struct comparison c = {.rest = bytes, .is_same = true};
    struct sm *sm = NULL;
    struct hash128 chain;
    int err = sm_snapshot_write(walk_state(b->walk), compare_piece, &c);
    if (err == 0 && c.is_same && c.rest.size == 0) {
        *ret_is_same = true;
        return 0;
    }
    err = source_load_snapshot(r->source, seq, &sm, &chain, &r->problem);
    if (err == 0) *ret_is_same = hash128_equal(sm_digest(sm), sm_digest(walk_state(b->walk)));
    sm_free(sm);
    return err;
}

// A snapshot must be of the record and of the state that the walk has come to.
static int copy_snapshot(struct backup *b, uint64_t seq)
{
    struct replay *r = b->r;
    struct journal_snapshot about;
    struct journal_snapshot_map *map = NULL;
    struct text bytes;
    bool is_same = false;
    int err =
        journal_snapshot_open(source_journal(r->source), seq, &about, &bytes, &map, &r->problem);
    if (err == BOSKOS_E_NOT_FOUND) return seq == b->base ? gone(b) : 0;
    if (err != 0) return err;
    err = compare_state(b, seq, bytes, &is_same);
    if (err == 0 && (!is_same || !hash128_equal(about.chain, b->chain) ||
                     !hash128_equal(about.digest, sm_digest(walk_state(b->walk))))) {
        err = replay_fail(r, BOSKOS_E_CORRUPT,
                          "%s/journal/snapshot-%020" PRIu64 " is not what replaying gives",
                          source_name(r->source), seq);
    }
    if (err == 0) err = journal_copy_snapshot(b->copy, &about, bytes, &r->problem);
    journal_snapshot_close(map);
    if (err == BOSKOS_E_NOT_FOUND) return 0; // a daemon removed it just now
    if (err != 0) return err;
    b->snapshots++;
    b->newest = seq;
    b->bytes += about.bytes;
    return 0;
}

static int copy_snapshots(struct backup *b)
{
    uint64_t at = sm_seq(walk_state(b->walk));
    int err = 0;
    while (b->bases_next < b->bases_count && b->bases[b->bases_next] <= at && err == 0) {
        uint64_t seq = b->bases[b->bases_next++];
        if (seq == at && seq > 0) err = copy_snapshot(b, seq);
    }
    return err;
}

static int take_step(struct backup *b)
{
    const struct walk_step *step = NULL;
    int err = walk_next(b->walk, &step, &b->r->problem);
    if (err != 0) return err;
    struct journal_row row = {step->record.seq, walk_row_made(b->walk)};
    b->chain = step->record.chain;
    err = journal_copy_add(b->copy, &step->record, &row, &b->r->problem);
    return err != 0 ? err : copy_snapshots(b);
}

static int copy_records(struct backup *b)
{
    struct replay *r = b->r;
    int err = copy_snapshots(b);
    progress_begin(&r->progress, "commands");
    for (uint64_t seq = b->base + 1; seq <= b->last && err == 0; seq++) {
        if (seq % PROGRESS_EVERY == 0) {
            progress_said(&r->progress, seq - b->base, b->last - b->base);
            if (signals_are_waiting(b->signals)) err = replay_fail(r, BOSKOS_E_STOPPED, "stopped");
        }
        if (err == 0) err = take_step(b);
    }
    progress_end(&r->progress);
    return err;
}

// ---- its beginning ------------------------------------------------------------------

// A log must have a record. Where the state to begin with is that of the last one the record itself
// is copied, behind the one before it.
static int begin_at_last(struct backup *b, const struct journal_options *options)
{
    struct replay *r = b->r;
    struct source_cursor *c = NULL;
    struct record record;
    struct journal_row row;
    if (source_first(r->source) >= b->last) {
        return replay_fail(r, BOSKOS_E_NOT_FOUND,
                           "%s has no command but the last one; start boskosd on it first",
                           source_name(r->source));
    }
    int err = source_cursor_open(r->source, b->last - 1, NULL, &c, &r->problem);
    if (err == 0) err = source_cursor_next(c, &record, &row, &r->problem);
    if (err == 0) err = journal_copy_begin(options, &record, &b->copy, &r->problem);
    if (err == 0) err = source_cursor_next(c, &record, &row, &r->problem);
    if (err == 0) err = journal_copy_add(b->copy, &record, &row, &r->problem);
    if (err == 0) b->chain = record.chain;
    source_cursor_close(c);
    b->first = b->last;
    return err;
}

static int begin_copy(struct backup *b)
{
    struct replay *r = b->r;
    struct journal_figures figures;
    struct journal_snapshot about = {0};
    struct journal_options options = {.dir = r->options->to_path};
    int err = 0;
    source_figures(r->source, &figures);
    if (figures.log_bytes_file > JOURNAL_MAP_BYTES_DEFAULT / 2)
        options.map_bytes = figures.log_bytes_file * 2;
    if (b->base > 0) err = source_snapshot_about(r->source, b->base, &about, &r->problem);
    if (err == BOSKOS_E_NOT_FOUND) return gone(b);
    if (err != 0) return err;
    b->chain = about.chain;
    if (b->base > 0 && b->base == b->last) return begin_at_last(b, &options);
    struct record before = {.seq = b->base, .time_ns = about.time_ns, .chain = about.chain};
    b->first = b->base + 1;
    return journal_copy_begin(&options, &before, &b->copy, &r->problem);
}

// From the oldest state that there is to the command that is the last just now.
static int look(struct backup *b)
{
    struct replay *r = b->r;
    int err = source_look(r->source, &r->span, &r->problem);
    if (err == 0) err = source_bases(r->source, &b->bases, &b->bases_count, &r->problem);
    if (err != 0) return err;
    if (b->bases_count == 0 || b->bases[0] > r->span.last) {
        return replay_fail(r, BOSKOS_E_TRIMMED, "the state after command %" PRIu64 " is gone",
                           r->span.oldest);
    }
    b->base = b->bases[0];
    b->last = r->span.last;
    b->last_time_ns = r->span.last_time_ns;
    return 0;
}

// ---- the copy is read back ------------------------------------------------------------

static void copy_is_damaged(void *context, const char *why)
{
    struct backup *b = context;
    journal_copy_drop(b->copy);
    cli_complain("boskos-replay", "%s", why);
    _exit(4);
}

static int differs(struct backup *b)
{
    return replay_fail(b->r, BOSKOS_E_CORRUPT,
                       "%s: the copy does not have what was written to it: its disk fails",
                       b->r->options->to_path);
}

static int read_records(struct backup *b, struct source *s)
{
    struct replay *r = b->r;
    struct source_cursor *c = NULL;
    struct record record = {0};
    struct journal_row row;
    if (b->last == 0) return 0;
    int err = source_cursor_open(s, b->first, NULL, &c, &r->problem);
    for (uint64_t seq = b->first; seq <= b->last && err == 0; seq++) {
        err = source_cursor_next(c, &record, &row, &r->problem);
        if (err == 0 && row.seq == 0 && seq > b->base) err = differs(b);
    }
    source_cursor_close(c);
    if (err == 0 && !hash128_equal(record.chain, b->chain)) err = differs(b);
    return err;
}

static int read_back(struct backup *b)
{
    struct replay *r = b->r;
    struct source_options options = {
        .data_dir = r->options->to_path, .damaged = copy_is_damaged, .context = b};
    struct source *s = NULL;
    struct source_span span;
    struct journal_figures figures;
    struct sm *sm = NULL;
    struct hash128 chain;
    int err = source_open(&options, &s, &r->problem);
    if (err == 0) err = source_look(s, &span, &r->problem);
    if (err == 0 && (span.oldest != b->base || span.last != b->last)) err = differs(b);
    if (err == 0) err = read_records(b, s);
    if (err == 0 && b->newest > 0)
        err = source_load_snapshot(s, b->newest, &sm, &chain, &r->problem);
    if (err == 0) {
        source_figures(s, &figures);
        b->bytes += figures.log_bytes_file;
    }
    sm_free(sm);
    source_close(s);
    return err;
}

// ---- the backup -----------------------------------------------------------------------

static void say_done(const struct backup *b)
{
    struct output *out = &b->r->out;
    const char *to = b->r->options->to_path;
    bool is_small = b->bytes < MIB;
    uint64_t unit = is_small ? KIB : MIB;
    if (b->r->options->json) {
        say_json_number(out, "{\"from\":", b->first);
        say_json_number(out, ",\"to\":", b->last);
        say_json_time(out, ",\"time\":", b->last_time_ns);
        say_json_number(out, ",\"snapshots\":", b->snapshots);
        say_json_number(out, ",\"bytes\":", b->bytes);
        say_json_text(out, ",\"dir\":", text_from(to));
        output_string(out, "}\n");
        return;
    }
    if (b->last == 0)
        output_string(out, "backed up a journal without commands");
    else
        output_format(out, "backed up commands %" PRIu64 " to %" PRIu64, b->first, b->last);
    output_string(out, ", ");
    say_count(out, b->snapshots, "snapshot", "snapshots");
    output_format(out, ", %" PRIu64 " %s, to ", (b->bytes + unit / 2) / unit,
                  is_small ? "KiB" : "MiB");
    output_word(out, text_from(to));
    output_string(out, "\n");
}

static int make(struct backup *b)
{
    struct replay *r = b->r;
    int err = look(b);
    if (err == 0) err = replay_walk(r, b->base, &b->walk);
    if (err == 0) err = begin_copy(b);
    if (err == 0) err = copy_records(b);
    if (err == 0) err = walk_check_rows(b->walk, &b->r->problem);
    walk_close(b->walk); // the state is not needed twice
    b->walk = NULL;
    if (err == 0) err = journal_copy_end(b->copy, &r->problem);
    if (err == 0) err = read_back(b);
    if (err == 0 && signals_are_waiting(b->signals))
        err = replay_fail(r, BOSKOS_E_STOPPED, "stopped");
    free(b->bases);
    b->bases = NULL;
    if (err == 0)
        journal_copy_free(b->copy);
    else
        journal_copy_drop(b->copy);
    b->copy = NULL;
    return err;
}

static void abandon(void *context)
{
    struct backup *b = context;
    journal_copy_drop(b->copy);
}

int replay_backup(struct replay *r)
{
    struct signals signals;
    struct backup b = {.r = r};
    int err = place_check(r);
    if (err != 0) return err;
    signals_hold(&signals);
    for (uint32_t i = 1; i <= BEGINNINGS_MAX; i++) {
        b = (struct backup){.r = r, .signals = &signals};
        r->abandon = abandon;
        r->abandon_context = &b;
        err = make(&b);
        r->abandon = NULL;
        if (err != BOSKOS_E_TRIMMED || i == BEGINNINGS_MAX) break;
        progress_end(&r->progress);
        cli_complain("boskos-replay", "%s: boskosd has moved on; starting over", r->problem.text);
    }
    signals_release(&signals);
    if (err == 0) say_done(&b);
    return err;
}
