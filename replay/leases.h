// replay/leases.h
//
// Leases: from the command that gave a resource its owner to the one that took it. Where a lease
// began is found by walking stretch after stretch back from a point, each from the state that
// replaying can begin with; how it ended by walking on.
//
// One thread. Nothing here prints but the progress line. Memory is as many leases as are asked for.
#ifndef REPLAY_LEASES_H
#define REPLAY_LEASES_H

#include "replay/replay.h"

// A command that began or ended something; seq 0: none is known.
struct lease_event {
    uint64_t seq, time_ns;
    enum command_kind kind;
};

enum lease_wanted {
    LEASE_OPEN,  // the lease that is open at the point
    LEASE_ENDED, // the last one that ended by then; of `owner` where it is not empty
    LEASE_GONE,  // no lease, but the command that removed the resource: `end`
};

// All texts belong to the struct leases that the lease is in.
struct lease {
    enum lease_wanted wanted; // as asked for, see leases_add; LEASE_OPEN once the end is found
    uint32_t role;            // 0, or what the caller sets: those of one name are sorted by it
    bool is_settled;          // nothing more is looked for
    struct text name, owner;  // of LEASE_ENDED whose it was, once the end is found
    struct text type, state;  // at the point, as given by the caller
    uint64_t lastupdate_ns;   // the same

    struct lease_event begin;
    uint64_t
        begin_before; // where begin.seq is 0, and there is a lease: it began before this command
    struct text request_id; // of an acquire, empty: none
    uint64_t waited_ns;     // since the request's first poll
    uint64_t heartbeats;    // updates since then that are known, up to the point

    struct lease_event end; // seq 0: it goes on
    struct text end_state;  // afterwards; empty when the resource was removed by the same command
    bool is_removed;
    uint64_t heard_ns; // the last update before the end
};

struct leases {
    struct lease *list; // sorted by name and role once leases_begin or leases_end was called
    size_t count, capacity;
    struct text_block *texts; // owned
};

void leases_init(struct leases *l);
void leases_release(struct leases *l);

// Adds a lease to look for; the texts are copied. One of LEASE_OPEN has what `r` says. Of the
// others `r` gives the name, and the owner, or none for any.
struct lease *leases_add(struct leases *l, enum lease_wanted wanted, const struct sm_resource *r);

// Finds the beginnings of those that are open at `at`, and the others as they want it. `stretches`
// is how many stretches back at most, 0: all. What is not found in what is kept has seq 0 where it
// would be.
int leases_begin(struct replay *r, struct leases *l, uint64_t at, uint32_t stretches);

// Goes on with a walk from the point to the end, `last`, or until all that are open have ended.
int leases_end(struct replay *r, struct leases *l, struct walk *w, uint64_t last);

#endif
