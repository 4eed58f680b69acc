// tests/reset_of.h
//
// Results of a reset, for tests of what is made of them.
#ifndef TESTS_RESET_OF_H
#define TESTS_RESET_OF_H

#include "base/assert.h"
#include "statemachine/state_machine.h"

#define RESETS_MAX 1000u

// Plays a config with these names, their leases, each to its owner, and a reset of all. There
// are no more than RESETS_MAX, sorted by name. Returned, caller frees with sm_free; until then
// *ret_result is good.
static inline struct sm *reset_of(const struct sm_reset *pairs, uint32_t count,
                                  struct sm_result *ret_result)
{
    struct text names[RESETS_MAX];
    ASSERT(count <= RESETS_MAX);
    for (uint32_t i = 0; i < count; i++)
        names[i] = pairs[i].name;
    const struct sm_entry entry = {
        .type = TEXT("t"), .state = TEXT("s"), .names = names, .names_count = count};
    struct command c = {.kind = COMMAND_CONFIG,
                        .seq = 1,
                        .time_ns = 1,
                        .as.config = {.entries = &entry, .entries_count = 1}};
    struct sm *sm = sm_new(1);
    sm_apply(sm, &c, ret_result);
    c.kind = COMMAND_ACQUIRE;
    for (uint32_t i = 0; i < count; i++) {
        c.seq++;
        c.as.acquire = (struct command_acquire){
            .type = TEXT("t"), .state = TEXT("s"), .dest = TEXT("d"), .owner = pairs[i].owner};
        sm_apply(sm, &c, ret_result);
    }
    c.kind = COMMAND_RESET;
    c.seq++;
    c.as.reset = (struct command_reset){
        .type = TEXT("t"), .state = TEXT("d"), .dest = TEXT("s"), .expire = TEXT("-1s")};
    sm_apply(sm, &c, ret_result);
    return sm;
}

#endif
