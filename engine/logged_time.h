// engine/logged_time.h
//
// The time that commands are stamped with: the wall clock, made to never go back. While the wall
// clock is behind the last stamp, logged time runs on with the monotonic clock at half speed until
// the wall has caught up. A wall clock ahead of the monotonic one by over a minute is a jump, which
// the caller logs as a `clock` command before anything else gets the new time.
//
// One thread. It reads the clock it is given and nothing else.
#ifndef ENGINE_LOGGED_TIME_H
#define ENGINE_LOGGED_TIME_H

#include "base/clock.h"

#include <stdbool.h>

#define LOGGED_TIME_JUMP_NS (60 * NS_PER_S)

struct logged_time {
    struct clock clock;
    uint64_t last_ns;                             // the last stamp
    uint64_t last_mono_ns;                        // when it was given
    bool is_behind;                               // the wall clock is behind: running at half speed
    uint64_t behind_from_ns, behind_from_mono_ns; // since then
    uint64_t behind_ns;                           // how far it is behind, at the last stamp
};

// Continues after `last_ns`, the last stamp of the journal. What lies between is downtime, not a
// jump.
void logged_time_init(struct logged_time *t, struct clock clock, uint64_t last_ns);

// The time now: never below what it returned before. *ret_ahead_ns is above 0 when the wall clock
// has jumped ahead since the last stamp, by so much.
uint64_t logged_time_now(struct logged_time *t, uint64_t *ret_ahead_ns);

#endif
