// replay/kept.h
//
// Resources as they were, kept while the state goes on, each in as few bytes as it takes: there may
// be as many of them as there are resources. Pure but for memory.
#ifndef REPLAY_KEPT_H
#define REPLAY_KEPT_H

#include "base/buffer.h"
#include "statemachine/state_machine.h"

// Appends a resource, its name left out.
void kept_write(const struct sm_resource *r, struct buffer *out);

// The resource of kept bytes, which are borrowed; its userdata is put into `pairs` in place of what
// is there, and borrowed until that changes.
void kept_read(struct text name, struct text bytes, struct buffer *pairs,
               struct sm_resource *ret_resource);

#endif
