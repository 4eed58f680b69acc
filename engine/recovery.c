#include "engine/recovery.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

#include "base/banned.h"

#define EXPECT_FAR 16u // commands ahead
#define EXPECT_NEAR 8u

int recovery_load_snapshot(struct journal *j, uint64_t seq, uint64_t hash_seed, struct sm **ret_sm,
                           struct hash128 *ret_chain, struct journal_problem *problem)
{
    struct journal_snapshot about;
    struct text bytes;
    struct journal_snapshot_map *map = NULL;
    struct sm *sm = NULL;
    int err = journal_snapshot_open(j, seq, &about, &bytes, &map, problem);
    if (err != 0) return err;
    err = sm_snapshot_read(bytes, hash_seed, &sm);
    if (err == 0 && (sm_seq(sm) != about.seq || !hash128_equal(sm_digest(sm), about.digest))) {
        err = BOSKOS_E_CORRUPT;
    }
    if (err != 0) {
        problem->seq = seq;
        snprintf(problem->text, sizeof(problem->text), "snapshot-%020" PRIu64 ": %s", seq,
                 err == BOSKOS_E_TOO_NEW ? "its state was written by a newer version"
                                         : "its state does not have the digest it claims");
        goto out;
    }
    *ret_sm = sm;
    *ret_chain = about.chain;
    sm = NULL;
out:
    sm_free(sm);
    journal_snapshot_close(map);
    return err;
}

// Is there a record with this number, and, where one is given, does it follow that checksum? At the
// end of the log it is the one before that counts.
static int look_at(struct journal *j, uint64_t seq, const struct hash128 *before)
{
    struct journal_cursor *c = NULL;
    struct record record;
    struct journal_row row;
    int err = journal_cursor_open(j, seq, before, &c, NULL);
    if (err == 0 && seq < journal_end(j)) err = journal_cursor_next(c, &record, &row, NULL);
    journal_cursor_close(c);
    return err;
}

int recovery_check_belongs(struct journal *j, uint64_t seq, const struct hash128 *chain,
                           struct journal_problem *problem)
{
    if (look_at(j, seq + 1, chain) != BOSKOS_E_CORRUPT) return 0;
    if (look_at(j, seq + 1, NULL) != 0) return 0;
    bool is_kept = seq >= journal_first(j);
    problem->seq = seq;
    snprintf(problem->text, sizeof(problem->text),
             "snapshot-%020" PRIu64 " does not belong to this log: in data.mdb record %" PRIu64
             " %s",
             seq, is_kept ? seq : seq + 1,
             is_kept ? "is another one" : "does not follow it, or is damaged");
    return BOSKOS_E_CORRUPT;
}

// The record after the snapshot must follow from it; a log that ends before it has lost data.
static int check_follows(struct journal *j, uint64_t seq, const struct hash128 *chain,
                         struct journal_problem *problem)
{
    struct journal_cursor *c;
    if (seq >= journal_end(j)) {
        problem->seq = journal_end(j);
        snprintf(problem->text, sizeof(problem->text),
                 "data.mdb: the log ends at %" PRIu64 ", before snapshot-%020" PRIu64
                 ": acknowledged commands are lost",
                 journal_end(j) - 1, seq);
        return BOSKOS_E_CORRUPT;
    }
    int err = recovery_check_belongs(j, seq, chain, problem);
    if (err != 0) return err;
    err = journal_cursor_open(j, seq + 1, chain, &c, problem);
    if (err == 0) journal_cursor_close(c);
    // The log begins behind the snapshot: what lies between is lost.
    return err == BOSKOS_E_NOT_FOUND ? BOSKOS_E_CORRUPT : err;
}

static int start_empty(struct journal *j, uint64_t hash_seed, struct sm **ret_sm,
                       struct hash128 *ret_chain, struct journal_problem *problem)
{
    if (journal_first(j) != 1) {
        problem->seq = journal_first(j);
        snprintf(problem->text, sizeof(problem->text),
                 "data.mdb: no good snapshot, and the log begins at %" PRIu64, journal_first(j));
        return BOSKOS_E_CORRUPT;
    }
    *ret_sm = sm_new(hash_seed);
    *ret_chain = (struct hash128){0, 0};
    return 0;
}

int recovery_load(struct journal *j, uint64_t most_seq, uint64_t hash_seed, const struct log *log,
                  struct sm **ret_sm, uint64_t *ret_seq, struct hash128 *ret_chain,
                  uint64_t *ret_set_aside, struct journal_problem *problem)
{
    uint64_t *seqs = NULL;
    size_t count = 0;
    uint64_t set_aside = 0;
    int err = journal_snapshots(j, ret_set_aside != NULL, &seqs, &count);
    if (err != 0) {
        snprintf(problem->text, sizeof(problem->text), "the snapshots cannot be listed: %s",
                 err == BOSKOS_E_READ_ONLY ? "this user may not" : boskos_error_text(err));
        return err;
    }
    for (size_t i = 0; i < count; i++) {
        struct sm *sm = NULL;
        struct hash128 chain;
        if (seqs[i] > most_seq) continue;
        err = recovery_load_snapshot(j, seqs[i], hash_seed, &sm, &chain, problem);
        if (err == 0) {
            err = check_follows(j, seqs[i], &chain, problem);
            if (err == 0) {
                *ret_sm = sm;
                *ret_seq = seqs[i];
                *ret_chain = chain;
            } else {
                sm_free(sm);
            }
            goto out;
        }
        // Only what is damaged is passed over: memory or descriptors may be there the next time.
        if (err != BOSKOS_E_CORRUPT && err != BOSKOS_E_NOT_FOUND) goto out;
        log_event(log, LOG_ERROR, "a snapshot is damaged; using the one before",
                  LOG_F_STRING("problem", problem->text), LOG_F_U64("seq", seqs[i]));
        if (ret_set_aside != NULL && journal_snapshot_set_aside(j, seqs[i]) == 0) set_aside++;
    }
    err = start_empty(j, hash_seed, ret_sm, ret_chain, problem);
    if (err == 0) *ret_seq = 0;
out:
    if (ret_set_aside != NULL) *ret_set_aside = set_aside;
    free(seqs);
    return err;
}

// The digest is the end of a row's bytes.
static enum replay_match compare_rows(struct text stored, struct text made)
{
    if (text_equal(stored, made)) return REPLAY_SAME;
    if (stored.size != made.size || made.size < HASH128_BYTES) return REPLAY_RESULT;
    size_t before = made.size - HASH128_BYTES;
    return memcmp(stored.data, made.data, before) == 0 ? REPLAY_DIGEST : REPLAY_RESULT;
}

int recovery_decode(const struct sm *sm, struct command_decoder *decoder,
                    const struct record *record, struct command *ret_command,
                    struct journal_problem *problem)
{
    if (record->semantics > SM_SEMANTICS) {
        problem->seq = record->seq;
        snprintf(problem->text, sizeof(problem->text),
                 "record %" PRIu64 " was written under rules %u, this program knows %u: "
                 "use a newer boskosd",
                 record->seq, record->semantics, SM_SEMANTICS);
        return BOSKOS_E_TOO_NEW;
    }
    if (record->seq != sm_seq(sm) + 1 || record->time_ns < sm_time_ns(sm) ||
        command_decode(decoder, record->kind, record->payload, ret_command) != 0) {
        problem->seq = record->seq;
        snprintf(problem->text, sizeof(problem->text),
                 "data.mdb: record %" PRIu64 " is not a command that can follow", record->seq);
        return BOSKOS_E_CORRUPT;
    }
    ret_command->seq = record->seq;
    ret_command->time_ns = record->time_ns;
    return 0;
}

enum replay_match recovery_apply(struct sm *sm, const struct command *c,
                                 const struct journal_row *row, struct buffer *scratch,
                                 struct sm_result *ret_result)
{
    sm_apply(sm, c, ret_result);
    if (row->seq == 0) return REPLAY_NO_ROW;
    buffer_clear(scratch);
    sm_result_encode(ret_result, scratch);
    return compare_rows(row->bytes, buffer_as_text(scratch));
}

int recovery_step(struct sm *sm, struct command_decoder *decoder, struct buffer *scratch,
                  const struct record *record, const struct journal_row *row,
                  struct sm_result *ret_result, enum replay_match *ret_match,
                  struct journal_problem *problem)
{
    struct command c;
    int err = recovery_decode(sm, decoder, record, &c, problem);
    if (err == 0) *ret_match = recovery_apply(sm, &c, row, scratch, ret_result);
    return err;
}

void recovery_expect(const struct sm *sm, const struct journal_cursor *c)
{
    uint16_t kind = 0;
    struct text payload;
    if (journal_cursor_ahead(c, EXPECT_FAR, &kind, &payload)) sm_expect(sm, kind, payload, false);
    if (journal_cursor_ahead(c, EXPECT_NEAR, &kind, &payload)) sm_expect(sm, kind, payload, true);
}

void recovery_explain(enum replay_match match, uint64_t seq, struct journal_problem *ret_problem)
{
    ret_problem->seq = seq;
    snprintf(ret_problem->text, sizeof(ret_problem->text),
             "data.mdb: replaying record %" PRIu64
             " gives another %s than was stored with it: the file "
             "is damaged, or this program has a fault",
             seq, match == REPLAY_DIGEST ? "digest" : "result");
}
