// tests/model/model_private.h
//
// What the files of the model share: the state and the steps on it.
#ifndef TESTS_MODEL_MODEL_PRIVATE_H
#define TESTS_MODEL_MODEL_PRIVATE_H

#include "tests/model/model.h"

struct static_name {
    struct text name, type, state;
};

struct queue_entry {
    struct text type, state, request_id;
    uint64_t first_poll_ns, deadline_ns;
};

// What an acquire with an idempotency key asked for, and which resource it got.
struct keyed_acquire {
    struct text owner, key, type, state, dest, name;
};

// What an entry of the config says of the built-in reaper; of several for a type the last counts.
struct reaper_rule {
    struct text type;
    bool is_off;
    int64_t expire_ns;
};

#define MODEL_GAPS_MAX 64u

// Time that was slept through, ending at `at_ns`.
struct gap {
    uint64_t at_ns, length_ns;
};

struct reaper {
    bool is_enabled;
    int64_t expire_ns, period_ns;
    struct text *states;
    uint32_t states_count;
    struct text target;
    struct reaper_rule *rules;
    uint32_t rules_count;
};

struct model {
    // The command being applied.
    uint64_t seq, now_ns;
    struct text *made; // names the server made within it
    uint32_t made_count;

    struct sm_resource *resources; // by name
    uint32_t resources_count;
    struct static_name *statics; // by name
    uint32_t statics_count;
    struct sm_life_cycle *cycles; // by type
    uint32_t cycles_count;
    struct queue_entry *entries; // of all queues, in the order they came
    uint32_t entries_count;
    struct keyed_acquire *keyed; // whose leases last
    uint32_t keyed_count;

    int64_t request_ttl_ns;
    bool was_started;
    uint32_t salt;
    struct gap *gaps;
    uint32_t gaps_count; // the last one also starts the reaper's pause
    struct reaper reaper;
    bool cleaner_enabled;
    bool awaits_config; // since an import: until then nothing is kept up
};

// A copy; model_text_free it. Never absent, so that "" and absent are the same here.
struct text model_text(struct text t);
void model_text_free(struct text t);
// Puts a copy of `value` in place of what was there.
void model_text_set(struct text *slot, struct text value);

// `count + 1` elements in place of `count`, the new one zeroed.
void *model_grow(void *list, uint32_t count, size_t element_bytes);

// NULL when there is none.
struct sm_resource *model_find(struct model *m, struct text name);
const struct static_name *model_find_static(const struct model *m, struct text name);
const struct sm_life_cycle *model_find_cycle(const struct model *m, struct text type);

uint64_t model_after(uint64_t time_ns, int64_t duration_ns);

void model_pair_list_free(struct userdata_pair *pairs, uint32_t count);
void model_resource_release(struct sm_resource *r);

// Adds an unowned resource, last updated now. The name must be new.
void model_add(struct model *m, struct text name, struct text type, struct text state);

// Makes a resource for the life cycle, under a name of the server's making.
void model_create(struct model *m, const struct sm_life_cycle *cycle);

// The life cycle of the type, made when there is none; `ret_is_new` may be NULL.
struct sm_life_cycle *model_cycle_slot(struct model *m, struct text type, bool *ret_is_new);
void model_sort_cycles(struct model *m);

// Takes over a config's lists; the upkeep that follows brings the resources in line.
void model_take_config(struct model *m, const struct command_config *c);
void model_config_release(struct model *m);

// What follows from any command: static names come and go, life cycles are kept up.
void model_upkeep(struct model *m);

#endif
