// replay/invariants.h
//
// What must hold of a state, for bisect:
//
//   no-double-lease  No name is twice in the list of resources, which is sorted by name. For each
//                    type, the owners and how many resources each has are those that counting the
//                    list gives. No resource of a type with a life cycle is owned in the state
//                    tombstone.
//   min-count        Each type with a life cycle has at least min-count dynamic resources, in
//                    whatever state. A dynamic one is one that the config does not name. A type
//                    that left the config has a min-count of 0.
//   stuck:DURATION   No owned resource has a lastupdate of more than DURATION, which is above 0,
//                    before the state's time: nobody has held one that long without a word.
//
// Pure but for memory.
#ifndef REPLAY_INVARIANTS_H
#define REPLAY_INVARIANTS_H

#include "base/buffer.h"
#include "statemachine/state_machine.h"

#define INVARIANT_NAMES "no-double-lease min-count stuck:DURATION"

enum invariant_kind { INVARIANT_NO_DOUBLE_LEASE, INVARIANT_MIN_COUNT, INVARIANT_STUCK };

struct invariant {
    enum invariant_kind kind;
    uint64_t age_ns; // of INVARIANT_STUCK
};

// False when the text names none.
bool invariant_parse(const char *text, struct invariant *ret_invariant);

// Whether it holds. Where it does not, what breaks it is added to `why`, in a few words.
// BOSKOS_E_MALFORMED when the config of the state cannot be decoded.
int invariant_check(const struct invariant *v, struct sm *sm, bool *ret_holds, struct buffer *why);

#endif
