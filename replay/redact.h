// replay/redact.h
//
// Other commands and another state in place of those of a journal, which say less and behave the
// same: without userdata, or with every text that somebody chose replaced.
//
// Replaced are names, types, states, owners, request ids, idempotency keys, hosts, what a config
// holds for others, what was found damaged, userdata: the same text everywhere by the same.
// Sequence numbers, times, durations, counts, versions and the salt stay, and so do the states that
// the rules or the documents know (free busy dirty cleaning leased toBeDeleted tombstone), the
// names that the server made, which are made anew by who applies the commands, and the userdata key
// leasedResources. What the rules compare stays as it was:
//
//   names        ties go by name: their byte order stays, also to names that the server made. So
//                all names must be known before
//   types        the same, apart from names
//   states       that are names of resources (what is leased for them) are replaced as those
//   owners, ids, keys    are compared with their like: by hashes under a secret of this one time
//   userdata     sizes count, and stay where the new texts fit; "" and null stay. A list of names
//                in leasedResources becomes the list of the new ones
//
// One thread. Who uses it applies the other commands and compares what they come to.
#ifndef REPLAY_REDACT_H
#define REPLAY_REDACT_H

#include "statemachine/state_machine.h"

struct redact; // opaque

// With `replaces` texts are replaced, else userdata is left out: then there is nothing to learn.
// BOSKOS_E_IO: there are no random bytes. Returned, caller frees.
int redact_new(bool replaces, struct redact **ret_redact);
void redact_free(struct redact *r);

// ---- what there is ------------------------------------------------------------

// First the state that the commands follow, then the commands in order.
void redact_learn_state(struct redact *r, struct sm *sm);
void redact_learn_command(struct redact *r, const struct command *c);

// Now all is known. True when a name lies among those that the commands may let the server make:
// then each of these is to be told, and this called again.
bool redact_settle(struct redact *r);
void redact_learn_made(struct redact *r, struct text name);

// ---- instead ------------------------------------------------------------------

// Can a command of that kind have another payload?
bool redact_changes(const struct redact *r, uint32_t kind);

// Appends the payload of the other command. BOSKOS_E_MALFORMED when the given one is none of its
// kind.
int redact_payload(struct redact *r, uint32_t kind, struct text payload, struct buffer *out);

// The same for a text; borrowed until the next call of any.
struct text redact_text(struct redact *r, enum sm_text what, struct text t);

// The other state, in place of `sm`, which is given up. Errors are those of sm_rewrite. Returned,
// caller frees.
int redact_state(struct redact *r, struct sm *sm, struct sm **ret_sm);

#endif
