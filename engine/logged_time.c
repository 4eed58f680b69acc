#include "engine/logged_time.h"

#include "base/banned.h"

void logged_time_init(struct logged_time *t, struct clock clock, uint64_t last_ns)
{
    uint64_t wall_ns = clock_wall_ns(&clock);
    *t = (struct logged_time){.clock = clock, .last_mono_ns = clock_mono_ns(&clock)};
    t->last_ns = wall_ns > last_ns ? wall_ns : last_ns;
}

// The last stamp before the wall clock fell behind, and half the monotonic time since then.
static uint64_t slewed(const struct logged_time *t, uint64_t mono_ns)
{
    return t->behind_from_ns + (mono_ns - t->behind_from_mono_ns) / 2;
}

uint64_t logged_time_now(struct logged_time *t, uint64_t *ret_ahead_ns)
{
    uint64_t wall_ns = clock_wall_ns(&t->clock);
    uint64_t mono_ns = clock_mono_ns(&t->clock);
    uint64_t expected_ns = t->last_ns + (mono_ns - t->last_mono_ns);
    uint64_t now_ns = wall_ns;
    *ret_ahead_ns = 0;
    if (!t->is_behind && wall_ns < t->last_ns) {
        t->is_behind = true;
        t->behind_from_ns = t->last_ns;
        t->behind_from_mono_ns = t->last_mono_ns;
    }
    if (t->is_behind && wall_ns < slewed(t, mono_ns)) {
        now_ns = slewed(t, mono_ns);
        t->behind_ns = now_ns - wall_ns;
    } else {
        t->is_behind = false;
        t->behind_ns = 0;
        if (wall_ns > expected_ns + LOGGED_TIME_JUMP_NS) *ret_ahead_ns = wall_ns - expected_ns;
    }
    t->last_ns = now_ns;
    t->last_mono_ns = mono_ns;
    return now_ns;
}
