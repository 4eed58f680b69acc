// verify: everything that is kept is replayed, and compared with what was stored.
#include <inttypes.h>
#include <stdlib.h>

#include "replay/damage.h"
#include "replay/entry.h"
#include "replay/replay.h"
#include "replay/say.h"
#include "statemachine/canonical.h"
#include "wire/wire.h"

#include "base/banned.h"

#define PROGRESS_EVERY 4096u
#define VALUE_BYTES 512u

struct verification {
    struct replay *r;
    struct walk *walk;
    uint64_t from, to; // commands
    uint64_t rows;     // compared
    uint64_t snapshots;
    uint64_t *bases; // oldest first
    size_t bases_count, bases_next;
};

// ---- what differs -------------------------------------------------------------

// A result row (docs/FORMAT.md, `The result row`).
struct row {
    uint64_t status, reason, effect;
    struct text resource;
    struct hash128 digest;
};

static bool row_read(struct text bytes, struct row *ret_row)
{
    struct canonical_reader reader = canonical_reader_of(bytes);
    struct row row;
    canonical_expect_array(&reader, 5);
    row.status = canonical_read_u64(&reader);
    row.reason = canonical_read_u64(&reader);
    row.resource = canonical_read_text(&reader);
    row.effect = canonical_read_u64(&reader);
    row.digest = canonical_read_hash(&reader);
    if (!canonical_done(&reader)) return false;
    *ret_row = row;
    return true;
}

struct difference {
    const char *field;
    char stored[VALUE_BYTES], made[VALUE_BYTES];
};

static void number_differs(struct difference *d, const char *field, uint64_t stored, uint64_t made)
{
    d->field = field;
    (void)snprintf(d->stored, sizeof(d->stored), "%" PRIu64, stored);
    (void)snprintf(d->made, sizeof(d->made), "%" PRIu64, made);
}

static void hash_text(struct hash128 h, char ret_text[VALUE_BYTES])
{
    (void)snprintf(ret_text, VALUE_BYTES, "%016" PRIx64 "%016" PRIx64, h.high, h.low);
}

// The first field that differs, in the order of a row.
static struct difference difference_of(struct text stored_bytes, struct text made_bytes)
{
    struct difference d = {.field = "form"};
    struct row stored, made;
    if (!row_read(stored_bytes, &stored) || !row_read(made_bytes, &made)) {
        number_differs(&d, "form", stored_bytes.size, made_bytes.size);
    } else if (stored.status != made.status) {
        number_differs(&d, "status", stored.status, made.status);
    } else if (stored.reason != made.reason) {
        number_differs(&d, "reason", stored.reason, made.reason);
    } else if (!text_equal(stored.resource, made.resource)) {
        d.field = "resource";
        (void)snprintf(d.stored, sizeof(d.stored), "%.*s", TEXT_ARG(stored.resource));
        (void)snprintf(d.made, sizeof(d.made), "%.*s", TEXT_ARG(made.resource));
    } else if (stored.effect != made.effect) {
        number_differs(&d, "effect", stored.effect, made.effect);
    } else {
        d.field = "digest";
        hash_text(stored.digest, d.stored);
        hash_text(made.digest, d.made);
    }
    return d;
}

static int differs(struct verification *v, const struct walk_step *step)
{
    struct output *out = &v->r->out;
    struct difference d = difference_of(step->row.bytes, walk_row_made(v->walk));
    if (v->r->options->json) {
        output_format(out, "{\"seq\":%" PRIu64 ",\"time\":\"", step->record.seq);
        output_time(out, step->record.time_ns);
        output_format(out, "\",\"kind\":\"%s\",\"params\":", command_kind_name(step->record.kind));
        wire_json_params(&step->command, &out->line);
        output_format(out, ",\"field\":\"%s\",\"stored\":", d.field);
        wire_json_string(&out->line, text_from(d.stored));
        output_string(out, ",\"computed\":");
        wire_json_string(&out->line, text_from(d.made));
        damage_json_end(out, v->r->options, &v->r->problem);
        v->r->is_damage_said = true;
    } else {
        output_format(out, "command %" PRIu64 ", ", step->record.seq);
        output_time(out, step->record.time_ns);
        output_format(out, ", %s ", command_kind_name(step->record.kind));
        wire_text_params(&step->command, &out->line);
        output_format(out, "\n%s stored    ", d.field);
        output_word(out, text_from(d.stored));
        output_format(out, "\n%s computed  ", d.field);
        output_word(out, text_from(d.made));
        output_string(out, "\n");
    }
    return BOSKOS_E_CORRUPT; // the walk has written the problem
}

// ---- snapshots ----------------------------------------------------------------

// What is left of a snapshot to compare with.
struct remainder {
    const char *bytes;
    size_t size;
};

static int compare_piece(void *context, const void *bytes, size_t size)
{
    struct remainder *left = context;
    if (size > left->size || memcmp(left->bytes, bytes, size) != 0) return BOSKOS_E_CORRUPT;
    left->bytes += size;
    left->size -= size;
    return 0;
}

// A snapshot that the walk has come to must hold the state that the walk has: equal states have
// equal bytes, so that no second state is needed.
static int compare_snapshot(struct verification *v, uint64_t seq)
{
    struct replay *r = v->r;
    struct text bytes;
    struct journal_snapshot_map *map = NULL;
    struct journal_snapshot about;
    int err = source_snapshot_about(r->source, seq, &about, &r->problem);
    if (err == 0) err = source_snapshot_open(r->source, seq, &bytes, &map, &r->problem);
    if (err == BOSKOS_E_NOT_FOUND) return 0; // a daemon removed it just now
    if (err != 0) return err;
    struct remainder left = {bytes.data, bytes.size};
    bool is_same =
        sm_snapshot_write(walk_state(v->walk), compare_piece, &left) == 0 && left.size == 0;
    source_snapshot_close(map);
    v->snapshots++;
    bool is_ours = hash128_equal(about.chain, walk_chain(v->walk));
    if (is_ours && is_same) return 0;
    if (is_ours)
        err =
            replay_fail(r, BOSKOS_E_CORRUPT,
                        "snapshot-%020" PRIu64 ": replaying up to there gives another state", seq);
    else
        err = replay_fail(r, BOSKOS_E_CORRUPT,
                          "snapshot-%020" PRIu64
                          " does not belong to this log: in data.mdb record %" PRIu64
                          " is another one",
                          seq, seq);
    r->problem.seq = seq;
    return err;
}

static int compare_snapshots(struct verification *v)
{
    uint64_t at = sm_seq(walk_state(v->walk));
    int err = 0;
    while (v->bases_next < v->bases_count && v->bases[v->bases_next] <= at && err == 0) {
        uint64_t seq = v->bases[v->bases_next++];
        if (seq == at && seq > 0) err = compare_snapshot(v, seq);
    }
    return err;
}

// ---- the walk -----------------------------------------------------------------

static int take_steps(struct verification *v)
{
    struct replay *r = v->r;
    const struct walk_step *step = NULL;
    int err = compare_snapshots(v);
    uint64_t begun = sm_seq(walk_state(v->walk));
    for (uint64_t seq = begun + 1; seq <= v->to && err == 0; seq++) {
        err = walk_next(v->walk, &step, &r->problem);
        if (err == BOSKOS_E_CORRUPT && step != NULL && step->record.seq == seq)
            err = differs(v, step);
        if (err != 0) break;
        v->rows += step->match != REPLAY_NO_ROW;
        if (seq % PROGRESS_EVERY == 0) progress_said(&r->progress, seq - begun, v->to - begun);
        err = compare_snapshots(v);
    }
    progress_end(&r->progress);
    return err;
}

// What is kept up to date command by command, made anew from the whole state.
static int check_digest(struct verification *v)
{
    struct sm *sm = walk_state(v->walk);
    if (hash128_equal(sm_digest(sm), sm_digest_from_scratch(sm))) return 0;
    int err = replay_fail(v->r, BOSKOS_E_CORRUPT,
                          "the digest of the state after command %" PRIu64
                          " is not the one that its parts give: boskos-replay has a fault",
                          sm_seq(sm));
    v->r->problem.seq = sm_seq(sm);
    return err;
}

static void print_verified(const struct verification *v)
{
    static const char *const words[] = {[JOURNAL_WITNESS_UNSEEN] = NULL,
                                        [JOURNAL_WITNESS_GOOD] = "good",
                                        [JOURNAL_WITNESS_MISSING] = "missing",
                                        [JOURNAL_WITNESS_DAMAGED] = "damaged"};
    struct output *out = &v->r->out;
    enum journal_witness witness = source_witness(v->r->source);
    if (v->r->options->json) {
        output_format(out,
                      "{\"from\":%" PRIu64 ",\"to\":%" PRIu64 ",\"results\":%" PRIu64
                      ",\"snapshots\":%" PRIu64,
                      v->from, v->to, v->rows, v->snapshots);
        if (words[witness] != NULL)
            say_json_text(out, ",\"witness\":", text_from(words[witness]));
        else
            output_string(out, ",\"witness\":null");
        output_string(out, "}\n");
        return;
    }
    output_format(out, "commands %" PRIu64 " to %" PRIu64 " replayed: ", v->from, v->to);
    say_count(out, v->rows, "result with its digest", "results with their digests");
    output_string(out, " and ");
    say_count(out, v->snapshots, "snapshot", "snapshots");
    output_string(out, " are as stored\n");
    if (witness == JOURNAL_WITNESS_MISSING || witness == JOURNAL_WITNESS_DAMAGED) {
        output_format(out,
                      "WITNESS is %s: whether acknowledged commands are lost behind %" PRIu64
                      " cannot be told\n",
                      words[witness], v->r->span.last);
    }
}

int replay_verify(struct replay *r)
{
    struct verification v = {.r = r};
    int err = replay_stretch(r, &v.from, &v.to);
    if (err == 0) err = source_bases(r->source, &v.bases, &v.bases_count, &r->problem);
    if (err == 0) err = replay_walk(r, v.from - 1, &v.walk);
    if (err == 0) err = take_steps(&v);
    if (err == 0) err = walk_check_rows(v.walk, &r->problem);
    if (err == 0) err = check_digest(&v);
    if (err == 0) print_verified(&v);
    walk_leave(v.walk);
    free(v.bases);
    return err;
}
