// replay/state_json.h
//
// The state at a point as one JSON object: what `show --json` prints, and what the command of
// bisect gets.
#ifndef REPLAY_STATE_JSON_H
#define REPLAY_STATE_JSON_H

#include "replay/output.h"
#include "statemachine/state_machine.h"

// Adds the object, with the resources that fit the filter, and a newline. It is written out as it
// grows. BOSKOS_E_MALFORMED when the config of the state cannot be decoded.
int replay_state_json(struct output *out, struct sm *sm, const struct sm_filter *filter);

#endif
