#include "engine/config_command.h"

#include <stdlib.h>

#include "base/assert.h"

#include "base/banned.h"

static enum sm_entry_reaper reaper_of(enum config_reaper_kind kind)
{
    switch (kind) {
    case CONFIG_REAPER_INHERIT: return SM_REAPER_INHERIT;
    case CONFIG_REAPER_OFF: return SM_REAPER_OFF;
    case CONFIG_REAPER_EXPIRE: return SM_REAPER_EXPIRE;
    }
    ASSERT(false && "a kind that exists");
    return SM_REAPER_INHERIT;
}

static size_t needs_of_all(const struct config *c)
{
    size_t count = 0;
    for (size_t i = 0; i < c->entries_count; i++) {
        count += c->entries[i].needs_count;
    }
    return count;
}

static struct sm_entry entry_of(const struct config_entry *e, struct sm_need **needs)
{
    struct sm_entry entry = {
        .type = e->type,
        .state = e->state,
        .is_dynamic = e->is_dynamic,
        .names = e->names,
        .names_count = (uint32_t)e->names_count,
        .min_count = e->min_count,
        .max_count = e->max_count,
        .has_lifespan = e->has_lifespan,
        .lifespan_ns = e->lifespan_ns,
        .needs = *needs,
        .needs_count = (uint32_t)e->needs_count,
        .has_config = e->has_config,
        .config_type = e->config_type,
        .config_content = e->config_content,
        .reaper = reaper_of(e->reaper),
        .reaper_expire_ns = e->reaper_expire_ns,
    };
    for (size_t i = 0; i < e->needs_count; i++) {
        *(*needs)++ = (struct sm_need){e->needs[i].type, e->needs[i].count};
    }
    return entry;
}

struct command *config_command_new(const struct config *c)
{
    size_t entries_bytes = c->entries_count * sizeof(struct sm_entry);
    size_t needs_bytes = needs_of_all(c) * sizeof(struct sm_need);
    struct command *command = must_malloc(sizeof(*command) + entries_bytes + needs_bytes);
    struct sm_entry *entries = (struct sm_entry *)(void *)(command + 1);
    struct sm_need *needs = (struct sm_need *)(void *)(entries + c->entries_count);
    for (size_t i = 0; i < c->entries_count; i++) {
        entries[i] = entry_of(&c->entries[i], &needs);
    }
    *command = (struct command){.kind = COMMAND_CONFIG};
    command->as.config = (struct command_config){
        .entries = entries,
        .entries_count = (uint32_t)c->entries_count,
        .reaper_enabled = c->reaper_enabled,
        .reaper_expire_ns = c->reaper_expire_ns,
        .reaper_period_ns = c->reaper_period_ns,
        .reaper_states = c->reaper_states,
        .reaper_states_count = (uint32_t)c->reaper_states_count,
        .reaper_target = c->reaper_target,
        .cleaner_enabled = c->cleaner_enabled,
    };
    return command;
}
