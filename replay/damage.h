// replay/damage.h
//
// Damage as verify says it with --json: {"seq":N or null,...,"file":F or null,"error":LINE}.
#ifndef REPLAY_DAMAGE_H
#define REPLAY_DAMAGE_H

#include "replay/options.h"
#include "replay/output.h"

// Adds the whole object.
void damage_json(struct output *out, const struct options *o, const struct journal_problem *p);

// Ends an object that has been begun with other keys.
void damage_json_end(struct output *out, const struct options *o, const struct journal_problem *p);

#endif
