// tests/model/model.h
//
// The rules of docs/API.md once more, written apart from the state machine and as plainly as can
// be: lists, linear scans, sorting; no index, no cache. Tests play the same commands to both and
// compare. It refuses to know the encoding, digests, snapshots and what is due when.
//
// Not thread-safe: a struct model belongs to one thread. Memory that cannot be had ends the
// process.
#ifndef TESTS_MODEL_MODEL_H
#define TESTS_MODEL_MODEL_H

#include "base/buffer.h"
#include "statemachine/command.h"
#include "statemachine/state_machine.h"

struct model; // opaque

// A new, empty state. Returned, caller frees with model_free.
struct model *model_new(void);
void model_free(struct model *m);

// What a command came to. All of it is owned by the reply, until model_reply_release.
struct model_reply {
    enum sm_reason reason;
    // acquire: one; acquirebystate: all granted, oldest lastupdate first, ties by name. Otherwise
    // none.
    struct sm_resource *resources;
    uint32_t resources_count;
    struct sm_reset *reset; // sorted by name
    uint32_t reset_count;
    struct text current_owner; // with SM_OWNER_MISMATCH
    struct text current_state; // with SM_STATE_MISMATCH
    bool is_repeat;            // acquire: told again what an earlier one got
    uint64_t waited_ns;        // acquire granted: since the first poll of a queued request
};

void model_reply_release(struct model_reply *r);

// Applies a command, which must be well-formed, its seq above the last and its time not below the
// last. The command's texts are copied. The caller releases *ret_reply.
void model_apply(struct model *m, const struct command *c, struct model_reply *ret_reply);

// All resources, sorted by name. Borrowed until the next model_apply.
void model_resources(const struct model *m, const struct sm_resource **ret_resources,
                     uint32_t *ret_count);

// The acquire that a lease with an idempotency key came from, without its request id; they are
// numbered from 0. False when there are not so many. Borrowed until the next model_apply.
bool model_keyed_acquire(const struct model *m, uint64_t number, struct command_acquire *ret_c);

// Appends the state as one line each, texts in quotes with `"`, `\` and control bytes escaped:
//
//   resource NAME TYPE STATE OWNER LASTUPDATE_NS EXPIRATION_NS|- userdata KEY=VALUE ...    (by
//   name) queue TYPE STATE RANK REQUEST_ID FIRST_POLL_NS DEADLINE_NS      (live now; by type,
//   state, rank) cycle TYPE STATE MIN MAX LIFESPAN_NS|- fading|kept              (in force; by
//   type)
void model_dump(const struct model *m, struct buffer *out);

// The lines of the dump, one at a time, for whoever makes the same text from another source.
void model_dump_resource(const struct sm_resource *r, struct buffer *out);
void model_dump_queue_entry(const struct sm_queue_entry *e, struct buffer *out);
void model_dump_life_cycle(const struct sm_life_cycle *c, struct buffer *out);

#endif
