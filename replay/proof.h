// replay/proof.h
//
// What an export claims of other commands (replay/redact.h): they come to the same as the original
// ones. The two are applied one after the other, for two states may be more than there is memory
// for, and so what the original ones come to is kept meanwhile, as a number for each command, in a
// temporary file without a name. One thread.
#ifndef REPLAY_PROOF_H
#define REPLAY_PROOF_H

#include "replay/redact.h"
#include "replay/replay.h"

struct proof; // opaque

// Errors of all: BOSKOS_E_IO with the problem's line when the file cannot be made, written or read.
// `r` and `redact` are borrowed. Returned, caller frees.
int proof_new(struct replay *r, struct redact *redact, struct proof **ret_proof);
void proof_free(struct proof *p);

// Keeps what the next original command came to, with the texts that the other one must have.
int proof_claim(struct proof *p, const struct sm_result *result);

// Each of them is claimed. Now the first other one comes.
int proof_turn(struct proof *p);

// Is this what was claimed of the next command? There are as many of these as of claims.
int proof_check(struct proof *p, const struct sm_result *result, bool *ret_is_same);

// What makes a result, but for the effect and the digest, which are of a state: results that are
// different have, as far as can be, different numbers. With `redact` of the texts in place of
// those.
uint64_t proof_number(struct redact *redact, const struct sm_result *result);

#endif
