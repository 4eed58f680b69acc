// replay/say_lease.h
//
// How a lease is printed, for people and as JSON: who, held-by and why. All of it adds to
// out->line. One thread.
#ifndef REPLAY_SAY_LEASE_H
#define REPLAY_SAY_LEASE_H

#include "replay/leases.h"
#include "replay/say.h"

// "command 12, 2026-03-01T14:02:00Z, 20s before: acquire, request r1, waited 4s", or "before
// command 7 (no longer kept)". `now_ns` is what it was before.
void say_lease_begin(struct output *out, const struct lease *l, uint64_t now_ns);

// "command 12, 2026-03-01T14:02:00Z: released to dirty"; of a lease that has ended.
void say_lease_end(struct output *out, const struct lease *l);

// "3, last heard of 20s before", which is before `now_ns`; of a lease that is open there.
void say_lease_heartbeats(struct output *out, const struct lease *l, uint64_t now_ns);

// Adds `before` (a comma and a key), then {seq, time, kind, without the brace that closes it.
void say_json_event(struct output *out, const char *before, const struct lease_event *e);

// The members since, since-before and heartbeats, without braces; and end, with a comma before it.
void say_json_lease(struct output *out, const struct lease *l);
void say_json_lease_end(struct output *out, const struct lease *l);

// Adds `before`, then the whole object of a lease of LEASE_ENDED with its owner, or null where none
// was found.
void say_json_past_lease(struct output *out, const char *before, const struct lease *l);

#endif
