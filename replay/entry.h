// replay/entry.h
//
// How one command of the log is printed: for people a line, for programs an object.
#ifndef REPLAY_ENTRY_H
#define REPLAY_ENTRY_H

#include "replay/output.h"
#include "replay/walk.h"

// Whether a client sent it, and waited for a reply.
bool entry_has_client(const struct command *c);

// Begins an object about a command: seq, time, kind, params.
void entry_json_head(struct output *out, const struct command *c);

// Adds the object about the walk's last command: seq, time, kind, params, status, reply, effects.
// It may be large: what has gathered is written out in between.
void entry_json(struct output *out, struct walk *w, const struct walk_step *step);

// Ends such an object: adds effects and the brace. `may_drain` says that what has gathered may be
// written out in between.
void entry_json_effects(struct output *out, struct walk *w, bool may_drain);

// Adds the line. `last` is the highest number there will be, for the column's width.
void entry_line(struct output *out, const struct walk_step *step, uint32_t changes_count,
                uint64_t last);

#endif
