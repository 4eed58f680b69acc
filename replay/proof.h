// replay/proof.h
//
// What an export claims of other commands (replay/redact.h): they come to the same as the original
// ones. Pure.
#ifndef REPLAY_PROOF_H
#define REPLAY_PROOF_H

#include "replay/redact.h"

// NULL when the results of a command and of the other one are the same but for their texts, and
// these are each other's; else what differs first, in a few words. It asks for the texts of the
// last redact_command.
const char *proof_difference(struct redact *r, const struct sm_result *result,
                             const struct sm_result *other);

#endif
