// replay/why.h
//
// What the files of `why` share. Each kind of command is explained by one function: it looks at the
// state that the command meets, applies it with why_apply, looks at what came of it, and prints.
// Private to why*.c.
#ifndef REPLAY_WHY_H
#define REPLAY_WHY_H

#include "replay/say_lease.h"

struct why {
    struct replay *r;
    struct output *out;
    bool is_json;
    struct walk *walk;            // at the state that the command meets, until it is applied
    const struct walk_step *step; // the command, and its result once it is applied
    uint64_t seq, time_ns;
    // With --request: acquires with that id in what is kept.
    struct {
        uint64_t count, first_seq, first_time_ns;
    } request;
};

enum outcome { OUTCOME_GRANTED, OUTCOME_REPEATED, OUTCOME_REFUSED, OUTCOME_DONE };

// Begins the answer: the command, its parameters, and how it ended; for people up to and with
// "refused, 404: ", after which the reason follows. `reason` is what it came to, or is bound to.
void why_say_head(struct why *y, enum outcome outcome, enum sm_reason reason);

// Applies the command. The state before is gone then.
int why_apply(struct why *y);

// Ends the answer: what it changed, for people without what `said` knows. The command is applied.
void why_say_tail(struct why *y, struct said said);

// Nothing was told, and all of one resource (`name` is borrowed until the tail is said).
#define SAID_NOTHING ((struct said){NULL, NULL})
struct said why_said_of(const struct text *name);

// The same into `tail`, to be printed after what needs the walk closed.
void why_keep_tail(struct why *y, struct said said, struct buffer *tail);

// Closes the walk, for there is to be one state at a time, and does leases_begin at what was before
// the command. The command's texts are gone then.
int why_find_leases(struct why *y, struct leases *l);

// Calls `each` for the acquires among the commands from `from` to `to`, which are kept. Nothing is
// replayed. `row` has seq 0 where no result is stored. Both are borrowed until it returns.
int why_each_acquire(struct why *y, uint64_t from, uint64_t to,
                     void (*each)(void *context, const struct command *c,
                                  const struct journal_row *row),
                     void *context);

// The config of the state as it is now, borrowed from it and from the decoder; without one an empty
// one.
int why_config_in_force(struct why *y, struct command_decoder *decoder, struct command *ret_config);

// Each explains a command of its kind or kinds. 0 or an error as of replay_why.
int why_acquire(struct why *y);        // why_acquire.c
int why_acquirebystate(struct why *y); // why_lease.c
int why_release(struct why *y);        // why_lease.c
int why_update(struct why *y);         // why_lease.c
int why_reset(struct why *y);          // why_take.c
int why_reap(struct why *y);           // why_take.c
int why_config(struct why *y);         // why_config.c
int why_expire(struct why *y);         // why_time.c
int why_clean(struct why *y);          // why_time.c
int why_grace(struct why *y);          // why_time.c: clock, started, repaired
int why_import(struct why *y);         // why_import.c

#endif
