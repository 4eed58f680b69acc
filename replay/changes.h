// replay/changes.h
//
// What was changed of a resource, as people read it: a line a field, from what to what.
#ifndef REPLAY_CHANGES_H
#define REPLAY_CHANGES_H

#include "replay/output.h"
#include "statemachine/state_machine.h"

// Adds a line for each field that differs, as "  state       free -> busy"; of a resource that was
// made or removed all it has, as "  state       free". No owner and no expiration are `-`; userdata
// has a line for each key that differs.
void output_change(struct output *out, const struct sm_change *change);

#endif
