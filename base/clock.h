// base/clock.h
//
// The clock seam: whoever needs the time takes a struct clock, so that tests and the simulator can
// step it. The state machine takes none: it knows only the stamps of commands.
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)

struct clock {
    uint64_t (*wall_ns)(void *context); // nanoseconds since 1970-01-01T00:00:00Z; may jump
    uint64_t (*mono_ns)(void *context); // nanoseconds since some start; never goes back
    void *context;
};

// CLOCK_REALTIME and CLOCK_MONOTONIC.
struct clock clock_system(void);

static inline uint64_t clock_wall_ns(const struct clock *c)
{
    return c->wall_ns(c->context);
}

static inline uint64_t clock_mono_ns(const struct clock *c)
{
    return c->mono_ns(c->context);
}

#endif
