// export: a part of the past in one file, as it is or saying less.
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "journal/slice.h"
#include "replay/place.h"
#include "replay/proof.h"
#include "replay/replay.h"
#include "replay/say.h"
#include "replay/signals.h"

#include "base/banned.h"

#define LOOK_EVERY 64u // commands, for a signal and for the progress
#define SIZE_TEXT_BYTES 32u
#define PAYLOAD_KEPT_BYTES ((size_t)1 << 20) // of a buffer; a large config has more
#define ROWS_LOOKED_AT 512u                  // as many as a cursor reads at one moment

struct export
{
    struct replay *r;
    const char *path;
    uint64_t from, to; // commands
    uint32_t flags;
    struct walk *walk;
    struct hash128 before; // checksum of the record before the first
    struct slice_writer *writer;
    bool rows_have_ended; // a result was missing: those after it are not written either
    struct buffer row, created_by;

    // When something is left out or replaced:
    struct redact *redact;
    struct proof *proof;
    struct hash128 end; // of the state that the other commands must come to
    struct sm *other;   // the one that they are at
    struct command_decoder *decoder;
    struct buffer payload;

    struct signals signals;
};

// ---- on the way -----------------------------------------------------------------

static int check_signals(struct export *e)
{
    if (!signals_are_waiting(&e->signals)) return 0;
    return replay_fail(e->r, BOSKOS_E_STOPPED, "stopped by a signal: %s was not written", e->path);
}

static void say_progress(struct export *e, uint64_t seq)
{
    if (seq % LOOK_EVERY == 0)
        progress_said(&e->r->progress, seq - e->from + 1, e->to - e->from + 1);
}

static int look_around(struct export *e, uint64_t seq)
{
    say_progress(e, seq);
    return seq % LOOK_EVERY == 0 ? check_signals(e) : 0;
}

// The state before the first command, from which it goes on. The one from which it went on before
// goes first: there is memory for one.
static int go_to_begin(struct export *e)
{
    if (e->walk != NULL && sm_seq(walk_state(e->walk)) == e->from - 1) return 0;
    walk_close(e->walk);
    e->walk = NULL;
    int err = replay_walk(e->r, e->from - 1, &e->walk);
    if (err == 0) e->before = walk_chain(e->walk);
    return err;
}

// ---- what there is --------------------------------------------------------------

static int learn_records(struct export *e)
{
    struct replay *r = e->r;
    struct source_cursor *c = NULL;
    struct record record;
    struct journal_row row;
    struct command command;
    int err = source_cursor_open(r->source, e->from, &e->before, &c, &r->problem);
    progress_begin(&r->progress, "commands read");
    for (uint64_t seq = e->from; seq <= e->to && err == 0; seq++) {
        err = source_cursor_next(c, &record, &row, &r->problem);
        if (err != 0) break;
        // What cannot be decoded is met again by the walk, which says it.
        if (command_decode(e->decoder, record.kind, record.payload, &command) != 0) break;
        command.seq = record.seq;
        command.time_ns = record.time_ns;
        redact_learn_command(e->redact, &command);
        say_progress(e, seq);
    }
    progress_end(&r->progress);
    source_cursor_close(c);
    return err;
}

// Seldom: a name that somebody chose lies among those that the server makes.
static int learn_made(struct export *e)
{
    struct replay *r = e->r;
    const struct walk_step *step = NULL;
    struct sm_change change;
    int err = 0;
    walk_trace(e->walk);
    progress_begin(&r->progress, "commands looked through");
    for (uint64_t seq = e->from; seq <= e->to && err == 0; seq++) {
        err = walk_next(e->walk, &step, &r->problem);
        if (err != 0) break;
        uint32_t count = walk_changes(e->walk);
        for (uint32_t i = 0; i < count; i++) {
            walk_change(e->walk, i, &change);
            if (!change.was_there) redact_learn_made(e->redact, change.name);
        }
        say_progress(e, seq);
    }
    progress_end(&r->progress);
    return err;
}

static int learn(struct export *e)
{
    redact_learn_state(e->redact, walk_state(e->walk));
    int err = learn_records(e);
    command_decoder_clear(e->decoder); // of a large config
    if (err != 0 || !redact_settle(e->redact)) return err;
    err = learn_made(e);
    (void)redact_settle(e->redact);
    return err;
}

// ---- what the commands come to ----------------------------------------------------

// A stored result that is not what the command comes to is a case for the records as they are.
static int differs(struct export *e, int err)
{
    char said[sizeof(e->r->problem.text)];
    memcpy(said, e->r->problem.text, sizeof(said));
    return replay_fail(e->r, err, "%.300s; --with-userdata exports also that, as it is", said);
}

static int claim_each(struct export *e)
{
    struct replay *r = e->r;
    const struct walk_step *step = NULL;
    int err = 0;
    progress_begin(&r->progress, "commands replayed");
    for (uint64_t seq = e->from; seq <= e->to && err == 0; seq++) {
        err = walk_next(e->walk, &step, &r->problem);
        if (err == BOSKOS_E_CORRUPT && step != NULL && step->record.seq == seq)
            err = differs(e, err);
        if (err == 0) err = proof_claim(e->proof, &step->result);
        if (err == 0) say_progress(e, seq);
    }
    progress_end(&r->progress);
    return err;
}

// The other state in place of the one that the walk is at.
static int make_other(struct export *e, uint64_t seq, struct sm **ret_other)
{
    struct sm *sm = walk_take_state(e->walk);
    walk_close(e->walk);
    e->walk = NULL;
    int err = redact_state(e->redact, sm, ret_other);
    if (err == 0) return 0;
    return replay_fail(e->r, BOSKOS_E_IO,
                       "the state after command %" PRIu64 " cannot be redacted: %s; "
                       "export without --redact",
                       seq,
                       err == BOSKOS_E_TOO_LARGE ? "a resource's userdata would be too large"
                                                 : boskos_error_text(err));
}

static int claim(struct export *e)
{
    struct sm *last = NULL;
    int err = proof_new(e->r, e->redact, &e->proof);
    if (err == 0) err = claim_each(e);
    if (err == 0) err = proof_turn(e->proof);
    if (err == 0) err = make_other(e, e->to, &last);
    if (err == 0) e->end = sm_digest(last);
    sm_free(last);
    return err;
}

static int prepare(struct export *e)
{
    bool replaces = e->r->options->redact;
    int err = redact_new(replaces, &e->redact);
    if (err != 0) return replay_fail(e->r, err, "no random bytes can be had: %s", strerror(errno));
    e->decoder = command_decoder_new();
    if (replaces) err = learn(e);
    if (err == 0) err = go_to_begin(e);
    if (err == 0 && e->from <= e->to) err = claim(e);
    if (err == 0) err = go_to_begin(e);
    return err == 0 ? make_other(e, e->from - 1, &e->other) : err;
}

// ---- writing --------------------------------------------------------------------

static int add_base(void *context, const void *bytes, size_t size)
{
    struct export *e = context;
    int err = check_signals(e);
    return err != 0 ? err : slice_add_base(e->writer, bytes, size);
}

// What the writer refuses it explains at its end.
static int explain(struct export *e, int err)
{
    if (err == 0 || err == BOSKOS_E_STOPPED) return err;
    err = slice_commit(e->writer, &e->r->problem);
    e->writer = NULL;
    ASSERT(err != 0);
    return err;
}

// The version that made the journal, for which the file speaks. Nothing vouches for it there.
static int learn_version(struct export *e)
{
    struct replay *r = e->r;
    int err = source_created_by(r->source, &e->created_by, &r->problem);
    if (err != 0) return err;
    struct text t = buffer_as_text(&e->created_by);
    const char *end = t.size > 0 ? memchr(t.data, 0, t.size) : NULL;
    if (end != NULL) e->created_by.size = (size_t)(end - t.data);
    if (e->created_by.size > SLICE_CREATED_BY_BYTES_MAX)
        e->created_by.size = SLICE_CREATED_BY_BYTES_MAX;
    return 0;
}

static int begin(struct export *e)
{
    struct sm *sm = e->other != NULL ? e->other : walk_state(e->walk);
    int err = learn_version(e);
    if (err != 0) return err;
    struct slice_about about = {.base_seq = e->from - 1,
                                .base_digest = sm_digest(sm),
                                .created_by = buffer_as_text(&e->created_by),
                                .flags = e->flags};
    if (about.base_seq > 0) {
        about.base_time_ns = sm_time_ns(sm);
        // The journal's own could be held against a guess of what is not to be known.
        about.base_chain = e->other != NULL ? about.base_digest : e->before;
    }
    err = slice_begin(e->path, &about, &e->writer, &e->r->problem);
    if (err != 0 || about.base_seq == 0) return err;
    return explain(e, sm_snapshot_write(sm, add_base, e));
}

// A daemon writes the result of a record with the records after it: one that is missing may have
// come since. Where it has not, *ret_is_gap is set when there is a later one.
static int look_for_row(struct export *e, uint64_t seq, struct journal_row *row, bool *ret_is_gap)
{
    struct replay *r = e->r;
    struct source_cursor *c = NULL;
    struct record record;
    struct journal_row found = {0};
    *ret_is_gap = false;
    int err = source_cursor_open(r->source, seq, NULL, &c, &r->problem);
    for (uint32_t i = 0; err == 0 && i < ROWS_LOOKED_AT && found.seq == 0; i++)
        err = source_cursor_next(c, &record, &found, &r->problem);
    if (err == BOSKOS_E_NOT_FOUND) err = 0;
    if (err == 0 && found.seq == seq) {
        buffer_clear(&e->row);
        buffer_text(&e->row, found.bytes);
        *row = (struct journal_row){seq, buffer_as_text(&e->row)};
    }
    *ret_is_gap = found.seq > seq;
    source_cursor_close(c);
    return err;
}

// In a journal that is as it should be results are missing at the end only, and so they are in the
// file, also of a daemon that goes on. What should not be is kept.
static int settle_row(struct export *e, struct journal_row *row, uint64_t seq)
{
    int err = 0;
    bool is_gap = false;
    if (row->seq == 0 && !e->rows_have_ended) err = look_for_row(e, seq, row, &is_gap);
    if (err == 0 && row->seq == 0 && !is_gap) e->rows_have_ended = true;
    if (e->rows_have_ended) row->seq = 0;
    return err;
}

// ---- other records ----------------------------------------------------------------

static const char *advice(const struct export *e)
{
    return e->r->options->redact ? "export without --redact"
                                 : "export with --redact, which keeps its size, or with "
                                   "--with-userdata";
}

static int is_otherwise(struct export *e, const struct record *record, const char *how)
{
    return replay_fail(e->r, BOSKOS_E_IO, "command %" PRIu64 ", %s, would %s %s: %s", record->seq,
                       command_kind_name((enum command_kind)record->kind), how,
                       e->r->options->redact ? "when it is redacted" : "without userdata",
                       advice(e));
}

// Applies what a reader of the file will: the bytes of the other command.
static int apply_other(struct export *e, const struct record *record, struct sm_result *ret_result)
{
    struct journal_problem problem;
    struct command c;
    bool is_same = false;
    if (record->payload.size > JOURNAL_PAYLOAD_BYTES_MAX)
        return is_otherwise(e, record, "be too large for a record");
    int err = recovery_decode(e->other, e->decoder, record, &c, &problem);
    if (err != 0) return is_otherwise(e, record, "be none");
    sm_apply(e->other, &c, ret_result);
    err = proof_check(e->proof, ret_result, &is_same);
    if (err != 0 || is_same) return err;
    return is_otherwise(e, record, "end otherwise");
}

// Of the record the other command.
static int make_other_payload(struct export *e, struct record *record)
{
    if (e->payload.capacity > PAYLOAD_KEPT_BYTES) buffer_release(&e->payload);
    if (!redact_changes(e->redact, record->kind)) return 0;
    buffer_clear(&e->payload);
    int err = redact_payload(e->redact, record->kind, record->payload, &e->payload);
    if (err != 0) return is_otherwise(e, record, "be none");
    record->payload = buffer_as_text(&e->payload);
    return 0;
}

static int write_other(struct export *e, struct record *record, struct journal_row *row)
{
    struct sm_result result;
    int err = make_other_payload(e, record);
    if (err == 0) err = apply_other(e, record, &result);
    if (err == 0) err = settle_row(e, row, record->seq);
    if (err != 0) return err;
    buffer_clear(&e->row);
    sm_result_encode(&result, &e->row);
    row->bytes = buffer_as_text(&e->row);
    return explain(e, slice_add(e->writer, record, row));
}

// The state that the other commands came to must be the other one of the state that these came to.
static int check_end(struct export *e)
{
    if (e->from > e->to || hash128_equal(e->end, sm_digest(e->other))) return 0;
    return replay_fail(
        e->r, BOSKOS_E_IO, "the state after command %" PRIu64 " would be another one %s: %s", e->to,
        e->r->options->redact ? "when it is redacted" : "without userdata", advice(e));
}

// ---- the whole ----------------------------------------------------------------------

static int write_record(struct export *e, struct record *record, struct journal_row *row)
{
    struct hash128 chain = record->chain;
    int err = settle_row(e, row, record->seq);
    if (err == 0) err = explain(e, slice_add(e->writer, record, row));
    ASSERT(err != 0 || hash128_equal(chain, record->chain));
    return err;
}

static int write_records(struct export *e)
{
    struct replay *r = e->r;
    struct source_cursor *c = NULL;
    struct record record;
    struct journal_row row;
    int err = source_cursor_open(r->source, e->from, &e->before, &c, &r->problem);
    progress_begin(&r->progress, "commands");
    for (uint64_t seq = e->from; seq <= e->to && err == 0; seq++) {
        err = source_cursor_next(c, &record, &row, &r->problem);
        if (err != 0) break;
        err = e->redact != NULL ? write_other(e, &record, &row) : write_record(e, &record, &row);
        if (err == 0) err = look_around(e, seq);
    }
    progress_end(&r->progress);
    source_cursor_close(c);
    return err;
}

static int write_file(struct export *e)
{
    int err = begin(e);
    if (err == 0) err = write_records(e);
    if (err == 0 && e->redact != NULL) err = check_end(e);
    if (err == 0) err = check_signals(e);
    if (err != 0) {
        slice_abort(e->writer);
        return err;
    }
    return slice_commit(e->writer, &e->r->problem);
}

static void size_text(uint64_t bytes, char ret_text[SIZE_TEXT_BYTES])
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    double size = (double)bytes / 1024;
    size_t unit = 0;
    for (; size >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
        size /= 1024;
    if (bytes < 1024)
        (void)snprintf(ret_text, SIZE_TEXT_BYTES, "%" PRIu64 " bytes", bytes);
    else
        (void)snprintf(ret_text, SIZE_TEXT_BYTES, "%.1f %s", size, units[unit]);
}

static void print_json(struct export *e, uint64_t bytes)
{
    struct output *out = &e->r->out;
    bool is_redacted = (e->flags & SLICE_REDACTED) != 0;
    say_json_text(out, "{\"file\":", text_from(e->path));
    output_format(out,
                  ",\"from\":%" PRIu64 ",\"to\":%" PRIu64 ",\"bytes\":%" PRIu64
                  ",\"redacted\":%s,\"userdata\":\"%s\"}\n",
                  e->from, e->to, bytes, is_redacted ? "true" : "false", replay_userdata(e->flags));
}

static void print_readable(struct export *e, uint64_t bytes)
{
    struct output *out = &e->r->out;
    char size[SIZE_TEXT_BYTES];
    size_text(bytes, size);
    if (e->to == 0)
        output_string(out, "exported the state before the first command to ");
    else if (e->from > e->to)
        output_format(out, "exported the state after command %" PRIu64 " to ", e->to);
    else
        output_format(out, "exported commands %" PRIu64 " to %" PRIu64 " to ", e->from, e->to);
    output_word(out, text_from(e->path));
    output_format(out, ": %s, %s\n", size, replay_export_kind(e->flags));
}

static int print(struct export *e)
{
    struct stat status;
    if (stat(e->path, &status) != 0)
        return replay_fail(e->r, BOSKOS_E_IO, "%s: %s", e->path, strerror(errno));
    if (e->r->options->json)
        print_json(e, (uint64_t)status.st_size);
    else
        print_readable(e, (uint64_t)status.st_size);
    return 0;
}

static void abandon(void *context)
{
    struct export *e = context;
    slice_abort(e->writer);
}

static void release(struct export *e)
{
    walk_leave(e->walk);
    proof_free(e->proof);
    redact_free(e->redact);
    sm_free(e->other);
    command_decoder_free(e->decoder);
    buffer_release(&e->payload);
    buffer_release(&e->row);
    buffer_release(&e->created_by);
}

int replay_export(struct replay *r)
{
    const struct options *o = r->options;
    struct export e = {.r = r, .path = o->to_path, .flags = source_flags(r->source)};
    if (o->redact) e.flags |= SLICE_REDACTED;
    if (!o->redact && !o->with_userdata) e.flags |= SLICE_NO_USERDATA;
    int err = place_check(r);
    if (err == 0) err = replay_stretch(r, &e.from, &e.to);
    if (err == 0) err = go_to_begin(&e);
    if (err == 0 && !o->with_userdata) err = prepare(&e);
    if (err == 0) {
        signals_hold(&e.signals);
        r->abandon = abandon;
        r->abandon_context = &e;
        err = write_file(&e);
        r->abandon = NULL;
        progress_end(&r->progress);
        signals_release(&e.signals);
    }
    if (err == 0) err = print(&e);
    release(&e);
    return err;
}
