// replay/foresee.h
//
// What an acquire comes to, told from the state that it meets: its place in the queue, what is
// there to hand out, and for each resource of the type why it is the one or is passed over. It
// follows the rules of statemachine/apply.c on its own; a test with random histories holds the two
// together.
//
// Pure. What it gives is borrowed from the state until the next sm_apply, and lists from the
// struct.
#ifndef REPLAY_FORESEE_H
#define REPLAY_FORESEE_H

#include "statemachine/state_machine.h"

// ---- acquire ----------------------------------------------------------------

struct foreseen {
    enum sm_reason reason;
    bool has_resource;           // the one handed out, or the one whose lease has the key
    struct sm_resource resource; // as it is before
    bool is_repeat;              // the lease with the key answers
    struct text key_state;       // that the acquire of that lease asked for

    // Not looked at where a lease has the key:
    struct sm_queue_entry *live; // of the queue, by rank
    uint32_t live_count;
    struct sm_queue_entry *dead; // those that have lost their place in it, in their order; rank 0
    uint32_t dead_count;
    const struct sm_queue_entry *own;  // in `live`, or NULL
    const struct sm_queue_entry *lost; // in `dead`, or NULL
    uint32_t ahead;                    // how many of `live` come first
    uint64_t live_everywhere;          // of all queues
    uint64_t type_count;               // resources of the type
    uint64_t available;                // of them unowned in the state
    bool has_cycle;
    struct sm_life_cycle cycle; // of the type
    bool is_queued;             // it is in the queue afterwards
    bool is_making;             // the life cycle makes a resource for it
    uint64_t waited_ns;         // of a grant: since its first poll
};

// ret_foreseen is to be released.
void foresee_acquire(struct sm *sm, const struct command_acquire *c, uint64_t now_ns,
                     struct foreseen *ret_foreseen);
void foreseen_release(struct foreseen *f);

enum passed {
    PASSED_NOT,     // it is the one
    PASSED_KEPT,    // unowned in the state, and kept for a request ahead
    PASSED_YOUNGER, // unowned in the state, but longer ago comes first
    PASSED_OWNED,   // somebody has it
    PASSED_STATE,   // unowned in another state
};
#define PASSED_KINDS 5u

struct candidate {
    struct sm_resource resource;
    enum passed passed;
    const struct sm_queue_entry *kept_for; // with PASSED_KEPT
};

// Calls `each` for every resource of the type, first those unowned in the state in the order in
// which they are handed out, then the others by name. Stops when it returns false. Not where a
// lease has the key.
void foreseen_candidates(struct sm *sm, const struct command_acquire *c, const struct foreseen *f,
                         bool (*each)(void *context, const struct candidate *candidate),
                         void *context);

// ---- acquirebystate ---------------------------------------------------------

enum named {
    NAMED_GOOD, // unowned in the state
    NAMED_EMPTY,
    NAMED_MISSING, // no such resource
    NAMED_OWNED,
    NAMED_STATE, // unowned in another state
};

struct named_resource {
    struct text name;
    enum named named;
    struct sm_resource resource; // but for EMPTY and MISSING
};

struct foreseen_names {
    bool is_granted;     // the answer
    bool is_handing_out; // also where the answer is a refusal, for the sake of an empty name only
    uint32_t count;      // names, as often as they are named
    uint32_t good;
};

// Calls `each`, unless it is NULL, for each name as it stands.
void foresee_names(struct sm *sm, const struct command_acquirebystate *c,
                   void (*each)(void *context, const struct named_resource *n), void *context,
                   struct foreseen_names *ret_foreseen);

#endif
