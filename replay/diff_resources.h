// replay/diff_resources.h
//
// For diff: the resources that commands change between the earlier point and the later one, and
// what differs of them then. Each is kept as it was before its first change, with its last one.
//
// All there are may be changed, more than memory is to be had for beside the state. So the way from
// one point to the other is gone as often as it takes, each time for the names of a window, which
// is made smaller when it turns out to have too many. One thread.
#ifndef REPLAY_DIFF_RESOURCES_H
#define REPLAY_DIFF_RESOURCES_H

#include "replay/replay.h"

struct diff_resources; // opaque

// With a window of all names. `options` (resource, owner, type) are borrowed. Returned, caller
// frees.
struct diff_resources *diff_resources_new(const struct options *options);
void diff_resources_free(struct diff_resources *d);

// At the beginning of the way, each time.
void diff_resources_begin(struct diff_resources *d);

// A change by the last command of the way.
void diff_resources_note(struct diff_resources *d, const struct command *c,
                         const struct sm_change *change);

// Was the window made smaller so that the way must be begun anew?
bool diff_resources_is_full(const struct diff_resources *d);

// At the end of the way: are there names after the window?
bool diff_resources_is_part(const struct diff_resources *d);

// Prints what differs, by name.
void diff_resources_print(struct diff_resources *d, struct replay *r, struct walk *w);

// Goes on to the names after the window. False when there are none: what comes then is no more
// noted.
bool diff_resources_next(struct diff_resources *d);
bool diff_resources_is_over(const struct diff_resources *d);

// Of what was printed: how many differ, and how many changed and are as before, or came and went.
uint64_t diff_resources_differences(const struct diff_resources *d);
uint64_t diff_resources_returned(const struct diff_resources *d);

#endif
