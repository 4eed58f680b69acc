// replay/diff_queues.h
//
// For diff: the requests that wait in queues at the earlier point, followed up to the later one,
// and what differs then: who came, who went, whose rank or end has moved, and by which command.
//
// A request goes with the acquire that grants it something, or with the first command whose time is
// after its end, as `show` tells it.
//
// There may be a million requests, more than memory is to be had for beside the state. Then the way
// from one point to the other is gone several times, each time for the requests of a window. One
// thread.
#ifndef REPLAY_DIFF_QUEUES_H
#define REPLAY_DIFF_QUEUES_H

#include "replay/replay.h"

struct diff_queues; // opaque

// With a window that begins with the first request. `type` may be NULL: all. Returned, caller
// frees.
struct diff_queues *diff_queues_new(const char *type);
void diff_queues_free(struct diff_queues *q);

// At the beginning of the way: takes the requests of the walk's state.
void diff_queues_begin(struct diff_queues *q, struct walk *w);

// Are they too many to be there beside other things? Forgets them.
bool diff_queues_is_large(const struct diff_queues *q);
void diff_queues_forget(struct diff_queues *q);

// After each command on the way.
void diff_queues_step(struct diff_queues *q, struct walk *w, const struct walk_step *step);

// At the later point: finds the commands that ended those who were not granted anything. Errors are
// those of source_cursor_next.
int diff_queues_end(struct diff_queues *q, struct replay *r, struct walk *w);

// Prints what differs. Returns how many lines that were.
uint64_t diff_queues_print(struct diff_queues *q, struct replay *r, struct walk *w);

// Goes on to the requests after the window. False when there are none.
bool diff_queues_next(struct diff_queues *q);

#endif
