#include "base/clock.h"

#include <stddef.h>
#include <time.h>

#include "base/assert.h"

#include "base/banned.h"

static uint64_t read_ns(clockid_t id)
{
    struct timespec now;
    int failed = clock_gettime(id, &now);
    ASSERT(failed == 0);
    if (now.tv_sec < 0) return 0; // a wall clock set before 1970
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static uint64_t system_wall_ns(void *context)
{
    (void)context;
    return read_ns(CLOCK_REALTIME);
}

static uint64_t system_mono_ns(void *context)
{
    (void)context;
    return read_ns(CLOCK_MONOTONIC);
}

struct clock clock_system(void)
{
    return (struct clock){system_wall_ns, system_mono_ns, NULL};
}
