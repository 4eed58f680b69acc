// engine/recovery.h
//
// Recovery: from the newest good snapshot and the records after it to the state, with every
// checksum, result and digest verified on the way. The shadow and the replay tool go the same way,
// step by step.
#ifndef ENGINE_RECOVERY_H
#define ENGINE_RECOVERY_H

#include "base/log.h"
#include "journal/journal.h"
#include "statemachine/state_machine.h"

// Loads the newest good snapshot at or below `most_seq`; for a bad one there is a loud line, and
// the one before is tried. Bad ones are set aside and counted in *ret_set_aside, or stay where they
// are when that is NULL. Without any: an empty state when the log begins at 1, else
// BOSKOS_E_CORRUPT. *ret_seq is 0 for the empty state; *ret_chain is the checksum to go on from.
// The state is returned, caller frees.
int recovery_load(struct journal *j, uint64_t most_seq, uint64_t hash_seed, const struct log *log,
                  struct sm **ret_sm, uint64_t *ret_seq, struct hash128 *ret_chain,
                  uint64_t *ret_set_aside, struct journal_problem *problem);

// Opens one snapshot and makes a state of it, checked against what the file says about itself.
int recovery_load_snapshot(struct journal *j, uint64_t seq, uint64_t hash_seed, struct sm **ret_sm,
                           struct hash128 *ret_chain, struct journal_problem *problem);

// Holds a snapshot of command `seq`, whose checksum is `chain`, against the log. BOSKOS_E_CORRUPT:
// it is of another log, whose file was put there. What cannot be told is 0: the log may not reach
// as far, or be damaged there, which is for who reads it to find.
int recovery_check_belongs(struct journal *j, uint64_t seq, const struct hash128 *chain,
                           struct journal_problem *problem);

// What one replayed record showed.
enum replay_match {
    REPLAY_SAME,   // the stored row is what apply gave
    REPLAY_NO_ROW, // there was none to compare with
    REPLAY_RESULT, // the result differs
    REPLAY_DIGEST, // the result is the same, the digest differs
};

// The command of a record that follows the state. It is borrowed as command_decode says.
// BOSKOS_E_CORRUPT when it cannot be decoded or cannot follow, BOSKOS_E_TOO_NEW for newer
// semantics.
int recovery_decode(const struct sm *sm, struct command_decoder *decoder,
                    const struct record *record, struct command *ret_command,
                    struct journal_problem *problem);

// Applies it and compares its row with what comes out, whose bytes are in `scratch` afterwards
// unless there was none. The result is borrowed as sm_apply says.
enum replay_match recovery_apply(struct sm *sm, const struct command *c,
                                 const struct journal_row *row, struct buffer *scratch,
                                 struct sm_result *ret_result);

// Both in one.
int recovery_step(struct sm *sm, struct command_decoder *decoder, struct buffer *scratch,
                  const struct record *record, const struct journal_row *row,
                  struct sm_result *ret_result, enum replay_match *ret_match,
                  struct journal_problem *problem);

// Lets the state get ready for records that the cursor gives later: replaying over many resources
// waits for memory otherwise. To be called before each.
void recovery_expect(const struct sm *sm, const struct journal_cursor *c);

// Says where replay and log part, and what that means.
void recovery_explain(enum replay_match match, uint64_t seq, struct journal_problem *ret_problem);

#endif
