// replay/text_set.h
//
// A set of texts that knows their byte order, in little memory: there may be as many as resources,
// or more. Most are kept in order, each with only what it has not in common with the one before.
//
// One thread.
#ifndef REPLAY_TEXT_SET_H
#define REPLAY_TEXT_SET_H

#include "base/text.h"

struct text_set; // opaque

// Returned, caller frees. NULL is nothing.
struct text_set *text_set_new(void);
void text_set_free(struct text_set *s);

// Puts a copy of a text into the set, unless it is there.
void text_set_add(struct text_set *s, struct text t);

// After the last text_set_add: now these may be asked.
void text_set_settle(struct text_set *s);

uint32_t text_set_count(const struct text_set *s);

// How many texts of the set are before `t`, which need not be in it.
uint32_t text_set_before(struct text_set *s, struct text t, bool *ret_is_in);

// The text that so many are before; fewer than there are. Borrowed until the next call of any. From
// one text to the next, in order, is fast.
struct text text_set_at(struct text_set *s, uint32_t before);

#endif
