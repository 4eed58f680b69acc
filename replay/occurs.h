// replay/occurs.h
//
// Whether the names that --resource, --type, --state and --owner give occur at all. What is not
// there at one point may be at another: then the answer is that nothing is. A name that occurs
// nowhere in what is kept is one that was not found.
#ifndef REPLAY_OCCURS_H
#define REPLAY_OCCURS_H

#include "replay/replay.h"

// What was seen so far; an option that is not given is taken for seen, and so is the empty owner,
// which is nobody.
struct occurs {
    const struct options *options;
    bool resource, type, state, owner;
};

void occurs_init(struct occurs *s, const struct options *o);

// Notes the names that are in a state: of its resources, queues and life cycles.
void occurs_in_state(struct occurs *s, struct sm *sm);

bool occurs_all(const struct occurs *s);

// Looks for the others in all that is kept: the commands, and the state before the first one. It
// makes that state, so that no other should be there. BOSKOS_E_NOT_FOUND: one occurs nowhere.
int occurs_check(struct replay *r, struct occurs *s);

#endif
