// info: how far the journal reaches, and what is in it.
#include <inttypes.h>
#include <stdlib.h>

#include "journal/slice.h"
#include "replay/replay.h"
#include "replay/say.h"

#include "base/banned.h"

// Of a record and of a result in the log, without payload and row (docs/FORMAT.md).
#define RECORD_BYTES 40u
#define ROW_BYTES 16u
#define SEMANTICS_SHOWN_MAX 64u // versions of the rules
#define PROGRESS_EVERY 4096u

struct snapshot_info {
    struct journal_snapshot about;
    bool is_good;
};

struct info {
    struct replay *r;
    struct journal_figures figures;
    struct buffer created_by;
    struct snapshot_info *snapshots; // oldest first
    size_t snapshots_count;
    uint64_t snapshots_bytes;
    uint64_t first, first_time_ns; // first_time_ns 0: no record could be read
    uint64_t log_bytes;            // of records and results
    uint64_t kinds[COMMAND_KINDS];
    uint64_t semantics[SEMANTICS_SHOWN_MAX];
    int bad; // the first damage found: all that can be shown is, and then this
    struct journal_problem bad_problem;
};

static void note_bad(struct info *i, int err)
{
    if (i->bad != 0) return;
    i->bad = err;
    i->bad_problem = i->r->problem;
}

// A snapshot is good when a state can be made of it that is what the file says.
static void look_at_snapshot(struct info *i, uint64_t seq)
{
    struct replay *r = i->r;
    struct snapshot_info *s = &i->snapshots[i->snapshots_count];
    struct sm *sm = NULL;
    struct hash128 chain;
    *s = (struct snapshot_info){.about = {.seq = seq}};
    int err = source_snapshot_about(r->source, seq, &s->about, &r->problem);
    if (err == BOSKOS_E_NOT_FOUND) return; // a daemon removed it just now
    if (err == 0) err = source_load_snapshot(r->source, seq, &sm, &chain, &r->problem);
    if (err == BOSKOS_E_NOT_FOUND) return;
    s->is_good = err == 0;
    if (err != 0) note_bad(i, err);
    i->snapshots_bytes += s->about.bytes;
    i->snapshots_count++;
    sm_free(sm);
}

static int look_at_snapshots(struct info *i)
{
    uint64_t *seqs = NULL;
    size_t count = 0;
    int err = source_snapshots(i->r->source, &seqs, &count, &i->r->problem);
    if (err != 0) return err;
    i->snapshots = calloc(count + 1, sizeof(*i->snapshots));
    if (i->snapshots == NULL) {
        free(seqs);
        return replay_fail(i->r, BOSKOS_E_NOMEM, "out of memory");
    }
    for (size_t at = 0; at < count; at++)
        look_at_snapshot(i, seqs[at]);
    free(seqs);
    return 0;
}

// Every record is read and its checksum compared, but nothing is replayed.
static int count_records(struct info *i)
{
    struct replay *r = i->r;
    struct source_cursor *c = NULL;
    struct record record;
    struct journal_row row;
    if (i->first > r->span.last) return 0;
    int err = source_cursor_open(r->source, i->first, NULL, &c, &r->problem);
    progress_begin(&r->progress, "commands");
    for (uint64_t seq = i->first; seq <= r->span.last && err == 0; seq++) {
        err = source_cursor_next(c, &record, &row, &r->problem);
        if (err != 0) break;
        if (seq == i->first) i->first_time_ns = record.time_ns;
        i->log_bytes += RECORD_BYTES + record.payload.size;
        if (row.seq != 0) i->log_bytes += ROW_BYTES + row.bytes.size;
        if (record.kind < COMMAND_KINDS) i->kinds[record.kind]++;
        if (record.semantics < SEMANTICS_SHOWN_MAX) i->semantics[record.semantics]++;
        if (seq % PROGRESS_EVERY == 0)
            progress_said(&r->progress, seq - i->first, r->span.last - i->first + 1);
    }
    progress_end(&r->progress);
    source_cursor_close(c);
    return err;
}

// ---- for programs -------------------------------------------------------------

static void json_time(struct output *out, const char *before, uint64_t time_ns, bool is_known)
{
    if (is_known) {
        say_json_time(out, before, time_ns);
        return;
    }
    output_string(out, before);
    output_string(out, "null");
}

static void json_counts(struct info *i)
{
    struct output *out = &i->r->out;
    const char *before = "";
    output_string(out, ",\"semantics\":{");
    for (uint32_t s = 0; s < SEMANTICS_SHOWN_MAX; s++) {
        if (i->semantics[s] == 0) continue;
        output_format(out, "%s\"%" PRIu32 "\":%" PRIu64, before, s, i->semantics[s]);
        before = ",";
    }
    before = "";
    output_string(out, "},\"kinds\":{");
    for (uint32_t k = 1; k < COMMAND_KINDS; k++) {
        if (i->kinds[k] == 0) continue;
        output_format(out, "%s\"%s\":%" PRIu64, before, command_kind_name(k), i->kinds[k]);
        before = ",";
    }
    output_string(out, "}");
}

static void print_json(struct info *i)
{
    struct output *out = &i->r->out;
    const struct source_span *span = &i->r->span;
    bool has_any = i->first <= span->last;
    output_format(out, "{\"first\":%" PRIu64, i->first);
    json_time(out, ",\"first_time\":", i->first_time_ns, i->first_time_ns != 0);
    output_format(out, ",\"last\":%" PRIu64, span->last);
    json_time(out, ",\"last_time\":", span->last_time_ns, has_any);
    output_format(out, ",\"oldest\":%" PRIu64, span->oldest);
    json_time(out, ",\"oldest_time\":", span->oldest_time_ns, span->oldest > 0);
    output_string(out, ",\"snapshots\":[");
    for (size_t at = 0; at < i->snapshots_count; at++) {
        const struct snapshot_info *s = &i->snapshots[at];
        output_format(out, "%s{\"seq\":%" PRIu64, at > 0 ? "," : "", s->about.seq);
        json_time(out, ",\"time\":", s->about.time_ns, s->is_good);
        output_format(out, ",\"bytes\":%" PRIu64 ",\"good\":%s}", s->about.bytes,
                      s->is_good ? "true" : "false");
    }
    say_json_text(out, "],\"created_by\":", buffer_as_text(&i->created_by));
    output_format(out, ",\"format\":%u", JOURNAL_FORMAT);
    json_counts(i);
    output_format(out,
                  ",\"log_bytes\":%" PRIu64 ",\"log_bytes_file\":%" PRIu64
                  ",\"snapshots_bytes\":%" PRIu64 ",\"held\":%s",
                  i->log_bytes, i->figures.log_bytes_file, i->snapshots_bytes,
                  source_is_held(i->r->source) ? "true" : "false");
    if (i->r->options->file != NULL) {
        uint32_t flags = source_flags(i->r->source);
        output_format(out, ",\"redacted\":%s,\"userdata\":\"%s\"",
                      (flags & SLICE_REDACTED) != 0 ? "true" : "false", replay_userdata(flags));
    }
    output_string(out, "}\n");
}

// ---- for people -----------------------------------------------------------------

static uint32_t number_width(uint64_t number)
{
    return (uint32_t)snprintf(NULL, 0, "%" PRIu64, number);
}

static void widen(uint32_t *width, uint32_t is)
{
    if (is > *width) *width = is;
}

static void print_snapshots(struct info *i)
{
    struct output *out = &i->r->out;
    uint32_t seq = 0, time = 0, bytes = 0; // widths
    for (size_t at = 0; at < i->snapshots_count; at++) {
        const struct snapshot_info *s = &i->snapshots[at];
        widen(&seq, number_width(s->about.seq));
        widen(&bytes, number_width(s->about.bytes));
        widen(&time, s->is_good ? output_time_width(s->about.time_ns) : 1);
    }
    for (size_t at = 0; at < i->snapshots_count; at++) {
        const struct snapshot_info *s = &i->snapshots[at];
        output_format(out, "%s%-*" PRIu64 "  ", at == 0 ? "snapshots  " : "           ", (int)seq,
                      s->about.seq);
        if (s->is_good)
            output_time_cell(out, s->about.time_ns, time);
        else
            output_cell(out, TEXT("-"), time); // what it says of its time may be damaged
        output_format(out, "%*" PRIu64 " bytes  ", (int)bytes, s->about.bytes);
        output_colour(out, s->is_good ? COLOUR_GREEN : COLOUR_RED);
        output_string(out, s->is_good ? "good" : "damaged");
        output_colour(out, COLOUR_NONE);
        output_string(out, "\n");
    }
}

static void print_readable(struct info *i)
{
    struct output *out = &i->r->out;
    const struct source_span *span = &i->r->span;
    output_format(out, "%s%s\n", source_name(i->r->source),
                  source_is_held(i->r->source) ? " (a boskosd has it)" : "");
    if (i->r->options->file != NULL) {
        output_format(out, "exported   %s\n", replay_export_kind(source_flags(i->r->source)));
    }
    if (i->first <= span->last) {
        output_format(out, "commands   %" PRIu64 " to %" PRIu64 ", ", i->first, span->last);
        output_time(out, i->first_time_ns);
        output_string(out, " to ");
        output_time(out, span->last_time_ns);
        output_string(out, "\n");
    } else {
        output_string(out, "commands   none\n");
    }
    if (span->oldest == 0)
        output_string(out, "states     from before the first command on\n");
    else
        output_format(out, "states     from after command %" PRIu64 " on\n", span->oldest);
    print_snapshots(i);
    output_format(out,
                  "size       log %" PRIu64 " bytes in a file of %" PRIu64 ", snapshots %" PRIu64
                  " bytes\n",
                  i->log_bytes, i->figures.log_bytes_file, i->snapshots_bytes);
    output_string(out, "versions   made by boskosd ");
    output_word(out, buffer_as_text(&i->created_by));
    output_format(out, ", format %u", JOURNAL_FORMAT);
    const char *lead = ", rules";
    for (uint32_t s = 0; s < SEMANTICS_SHOWN_MAX; s++) {
        if (i->semantics[s] == 0) continue;
        output_format(out, "%s %" PRIu32 " (", lead, s);
        say_count(out, i->semantics[s], "command", "commands");
        output_string(out, ")");
        lead = "";
    }
    output_string(out, "\n");
    const char *before = "kinds      ";
    for (uint32_t k = 1; k < COMMAND_KINDS; k++) {
        if (i->kinds[k] == 0) continue;
        output_format(out, "%s%-14s  %" PRIu64 "\n", before, command_kind_name(k), i->kinds[k]);
        before = "           ";
    }
}

int replay_info(struct replay *r)
{
    struct info i = {.r = r};
    buffer_init(&i.created_by);
    i.first = source_first(r->source);
    source_figures(r->source, &i.figures);
    int err = source_created_by(r->source, &i.created_by, &r->problem);
    if (err == 0) err = look_at_snapshots(&i);
    if (err == 0) {
        err = count_records(&i);
        if (err == BOSKOS_E_CORRUPT) {
            note_bad(&i, err);
            err = 0;
        }
    }
    if (err == 0 && r->options->json) print_json(&i);
    if (err == 0 && !r->options->json) print_readable(&i);
    if (err == 0 && i.bad != 0) {
        err = i.bad;
        r->problem = i.bad_problem;
    }
    buffer_release(&i.created_by);
    free(i.snapshots);
    return err;
}
