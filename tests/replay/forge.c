// replay_forge DIR WHAT SEQ: makes the data folder DIR (of which nothing was trimmed) lie, with
// every checksum as it must be, so that only replaying can find it:
//
//   status, reason, resource, effect, digest   this field of the row of record SEQ is another
//   form                                       the row of record SEQ has a value too few
//   no-row                                     record SEQ has no row
//   snapshot                                   the snapshot at SEQ has a state that was not
#include <errno.h>
#include <inttypes.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "journal/journal.h"
#include "statemachine/canonical.h"
#include "statemachine/state_machine.h"

#include "base/banned.h"

#define HASH_SEED 5u          // any: nothing of it can be seen
#define STEP_BYTES (1u << 20) // as folder_write.h has it
#define MAP_BYTES (UINT64_C(1) << 30)
#define PATH_BYTES 4096

static bool failed(const char *what, int err, const struct journal_problem *problem)
{
    fprintf(stderr, "%s: %s (%s)\n", what, problem->text, boskos_error_text(err));
    return false;
}

static bool refuse(const char *why)
{
    fprintf(stderr, "%s\n", why);
    return false;
}

// ---- rows -------------------------------------------------------------------

// Appends the row with one field changed; `form`: without the last one.
static bool forge_bytes(struct text row, const char *what, struct buffer *out)
{
    struct text field = text_from(what);
    struct canonical_reader reader = canonical_reader_of(row);
    canonical_expect_array(&reader, 5);
    uint64_t status = canonical_read_u64(&reader);
    uint64_t reason = canonical_read_u64(&reader);
    struct text resource = canonical_read_text(&reader);
    uint64_t effect = canonical_read_u64(&reader);
    struct hash128 digest = canonical_read_hash(&reader);
    if (!canonical_done(&reader)) return false;
    bool is_short = text_equal(field, TEXT("form"));
    status += text_equal(field, TEXT("status"));
    reason += text_equal(field, TEXT("reason"));
    if (text_equal(field, TEXT("resource"))) resource = TEXT("nobody");
    effect ^= text_equal(field, TEXT("effect"));
    digest.low ^= text_equal(field, TEXT("digest"));
    canonical_array(out, is_short ? 4 : 5);
    canonical_u64(out, status);
    canonical_u64(out, reason);
    canonical_text(out, resource);
    canonical_u64(out, effect);
    if (!is_short) canonical_hash(out, digest);
    return !text_equal(buffer_as_text(out), row);
}

static bool forge_row(struct journal *j, const char *what, uint64_t seq)
{
    struct journal_problem problem = {0};
    struct journal_cursor *cursor = NULL;
    struct record record;
    struct journal_row row = {0};
    struct buffer forged;
    buffer_init(&forged);
    int err = journal_cursor_open(j, seq, NULL, &cursor, &problem);
    if (err == 0) err = journal_cursor_next(cursor, &record, &row, &problem);
    bool is_made = err == 0 && row.seq == seq && forge_bytes(row.bytes, what, &forged);
    journal_cursor_close(cursor);
    if (is_made) {
        row.bytes = buffer_as_text(&forged);
        err = journal_append(j, NULL, 0, &row, 1, &problem);
    }
    buffer_release(&forged);
    if (err != 0) return failed("the row cannot be forged", err, &problem);
    return is_made || refuse("there is no such row, or no such field in it");
}

// The journal never removes the row of a record that it keeps, so this opens the closed LMDB
// environment.
static bool remove_row(const char *dir, uint64_t seq)
{
    char path[PATH_BYTES];
    uint8_t key_bytes[8];
    MDB_env *env = NULL;
    MDB_txn *txn = NULL;
    MDB_dbi dbi;
    (void)snprintf(path, sizeof(path), "%s/journal", dir);
    for (uint32_t i = 0; i < 8; i++)
        key_bytes[i] = (uint8_t)(seq >> (56 - 8 * i));
    MDB_val key = {sizeof(key_bytes), key_bytes};
    int rc = mdb_env_create(&env);
    if (rc != 0) return refuse(mdb_strerror(rc));
    rc = mdb_env_set_maxdbs(env, 3);
    if (rc == 0) rc = mdb_env_set_mapsize(env, MAP_BYTES);
    if (rc == 0) rc = mdb_env_open(env, path, 0, 0600);
    if (rc == 0) rc = mdb_txn_begin(env, NULL, 0, &txn);
    if (rc == 0) rc = mdb_dbi_open(txn, "results", 0, &dbi);
    if (rc == 0) rc = mdb_del(txn, dbi, &key, NULL);
    if (rc == 0) {
        rc = mdb_txn_commit(txn);
    } else if (txn != NULL) {
        mdb_txn_abort(txn);
    }
    mdb_env_close(env);
    return rc == 0 || refuse(mdb_strerror(rc));
}

// ---- the snapshot -----------------------------------------------------------

// A state of another past, and what a snapshot says besides.
struct past {
    struct sm *sm;
    struct command_decoder *decoder;
    uint64_t left_out; // of this record the time alone goes by
    struct journal_snapshot about;
};

static bool is_effective(const struct journal_row *row)
{
    struct canonical_reader reader = canonical_reader_of(row->bytes);
    canonical_expect_array(&reader, 5);
    (void)canonical_read_u64(&reader);
    (void)canonical_read_u64(&reader);
    (void)canonical_read_text(&reader);
    return canonical_read_u64(&reader) != 0;
}

static int step(struct past *p, const struct record *record, const struct journal_row *row)
{
    struct command c = {.kind = COMMAND_EXPIRE};
    struct sm_result result;
    if (p->sm == NULL) {
        if (is_effective(row)) p->left_out = record->seq;
        return 0;
    }
    if (record->seq != p->left_out) {
        int err = command_decode(p->decoder, record->kind, record->payload, &c);
        if (err != 0) return err;
    }
    c.seq = record->seq;
    c.time_ns = record->time_ns;
    sm_apply(p->sm, &c, &result);
    p->about = (struct journal_snapshot){.seq = record->seq,
                                         .time_ns = record->time_ns,
                                         .chain = record->chain,
                                         .digest = result.digest};
    return 0;
}

static int walk(struct journal *j, uint64_t to, struct past *p, struct journal_problem *problem)
{
    struct journal_cursor *cursor = NULL;
    int err = journal_cursor_open(j, 1, NULL, &cursor, problem);
    for (uint64_t seq = 1; seq <= to && err == 0; seq++) {
        struct record record;
        struct journal_row row;
        err = journal_cursor_next(cursor, &record, &row, problem);
        if (err == 0) err = step(p, &record, &row);
    }
    journal_cursor_close(cursor);
    return err;
}

static int add_piece(void *context, const void *bytes, size_t size)
{
    return journal_snapshot_add(context, bytes, size);
}

// The last command at or before SEQ that did something is replaced by one that does less.
static bool forge_snapshot(struct journal *j, uint64_t seq)
{
    struct journal_problem problem = {0};
    struct journal_snapshot true_one;
    struct journal_snapshot_writer *writer = NULL;
    struct past p = {.decoder = command_decoder_new()};
    int err = journal_snapshot_about(j, seq, &true_one, &problem);
    if (err == 0) err = walk(j, seq, &p, &problem);
    if (err == 0) {
        p.sm = sm_new(HASH_SEED);
        err = walk(j, seq, &p, &problem);
    }
    bool is_other = err == 0 && !hash128_equal(p.about.digest, true_one.digest);
    if (is_other) err = journal_snapshot_remove(j, seq);
    if (is_other && err == 0) err = journal_snapshot_begin(j, &p.about, &writer, &problem);
    if (writer != NULL) {
        (void)sm_snapshot_write(p.sm, add_piece, writer); // the commit returns an error of it
        err = journal_snapshot_commit(writer, &problem);
    }
    command_decoder_free(p.decoder);
    sm_free(p.sm);
    if (err != 0) return failed("the snapshot cannot be forged", err, &problem);
    return is_other || refuse("leaving out one command makes no other state there");
}

// ---- the command line -------------------------------------------------------

static bool forge(const char *dir, const char *what, uint64_t seq)
{
    struct journal_options options = {.dir = dir, .must_exist = true, .step_bytes = STEP_BYTES};
    struct journal_problem problem = {0};
    struct journal *j = NULL;
    if (text_equal(text_from(what), TEXT("no-row"))) return remove_row(dir, seq);
    int err = journal_open(&options, &j, &problem);
    if (err != 0) return failed("the journal cannot be opened", err, &problem);
    bool is_snapshot = text_equal(text_from(what), TEXT("snapshot"));
    bool is_forged = is_snapshot ? forge_snapshot(j, seq) : forge_row(j, what, seq);
    journal_close(j);
    return is_forged;
}

int main(int argc, char **argv)
{
    char *end = NULL;
    errno = 0;
    uint64_t seq = argc == 4 ? strtoull(argv[3], &end, 10) : 0;
    if (seq == 0 || errno != 0 || *end != '\0' || strlen(argv[1]) > PATH_BYTES - 40) {
        fputs("usage: replay_forge DIR WHAT SEQ\n", stderr);
        return 2;
    }
    return forge(argv[1], argv[2], seq) ? 0 : 1;
}
