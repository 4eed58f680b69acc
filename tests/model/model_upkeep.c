#include "tests/model/model_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/clock.h"

#include "base/banned.h"

// ---- config -----------------------------------------------------------------

static int compare_statics(const void *a, const void *b)
{
    return text_compare(((const struct static_name *)a)->name,
                        ((const struct static_name *)b)->name);
}

static int compare_cycles(const void *a, const void *b)
{
    return text_compare(((const struct sm_life_cycle *)a)->type,
                        ((const struct sm_life_cycle *)b)->type);
}

static void statics_free(struct static_name *list, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        model_text_free(list[i].name);
        model_text_free(list[i].type);
        model_text_free(list[i].state);
    }
    free(list);
}

static void reaper_release(struct reaper *r)
{
    for (uint32_t i = 0; i < r->states_count; i++)
        model_text_free(r->states[i]);
    for (uint32_t i = 0; i < r->rules_count; i++)
        model_text_free(r->rules[i].type);
    free(r->states);
    free(r->rules);
    model_text_free(r->target);
    *r = (struct reaper){0};
}

void model_config_release(struct model *m)
{
    statics_free(m->statics, m->statics_count);
    for (uint32_t i = 0; i < m->cycles_count; i++) {
        model_text_free(m->cycles[i].type);
        model_text_free(m->cycles[i].state);
    }
    free(m->cycles);
    reaper_release(&m->reaper);
}

static void take_statics(struct model *m, const struct command_config *c)
{
    statics_free(m->statics, m->statics_count);
    m->statics = NULL;
    m->statics_count = 0;
    for (uint32_t i = 0; i < c->entries_count; i++) {
        const struct sm_entry *e = &c->entries[i];
        for (uint32_t j = 0; !e->is_dynamic && j < e->names_count; j++) {
            m->statics = model_grow(m->statics, m->statics_count, sizeof(*m->statics));
            m->statics[m->statics_count++] = (struct static_name){
                model_text(e->names[j]), model_text(e->type), model_text(e->state)};
        }
    }
    if (m->statics_count > 0)
        qsort(m->statics, m->statics_count, sizeof(*m->statics), compare_statics);
}

void model_sort_cycles(struct model *m)
{
    if (m->cycles_count > 0) qsort(m->cycles, m->cycles_count, sizeof(*m->cycles), compare_cycles);
}

struct sm_life_cycle *model_cycle_slot(struct model *m, struct text type, bool *ret_is_new)
{
    if (ret_is_new != NULL) *ret_is_new = false;
    for (uint32_t i = 0; i < m->cycles_count; i++) {
        if (text_equal(m->cycles[i].type, type)) return &m->cycles[i];
    }
    if (ret_is_new != NULL) *ret_is_new = true;
    m->cycles = model_grow(m->cycles, m->cycles_count, sizeof(*m->cycles));
    return &m->cycles[m->cycles_count++];
}

static void take_cycles(struct model *m, const struct command_config *c)
{
    // One that is gone from the config fades, with its state and lifespan as they were.
    for (uint32_t i = 0; i < m->cycles_count; i++) {
        m->cycles[i].min_count = 0;
        m->cycles[i].max_count = 0;
        m->cycles[i].is_fading = true;
    }
    // Of two entries of one type the last wins.
    for (uint32_t i = 0; i < c->entries_count; i++) {
        const struct sm_entry *e = &c->entries[i];
        if (!e->is_dynamic) continue;
        struct sm_life_cycle *cycle = model_cycle_slot(m, e->type, NULL);
        model_text_set(&cycle->type, e->type);
        model_text_set(&cycle->state, e->state);
        cycle->min_count = e->min_count;
        cycle->max_count = e->max_count;
        cycle->has_lifespan = e->has_lifespan;
        cycle->lifespan_ns = e->has_lifespan ? e->lifespan_ns : 0;
        cycle->is_fading = false;
    }
    model_sort_cycles(m);
}

void model_take_config(struct model *m, const struct command_config *c)
{
    m->awaits_config = false;
    take_statics(m, c);
    take_cycles(m, c);

    reaper_release(&m->reaper);
    m->reaper.is_enabled = c->reaper_enabled;
    m->reaper.expire_ns = c->reaper_expire_ns;
    m->reaper.period_ns = c->reaper_period_ns;
    m->reaper.target = model_text(c->reaper_target);
    for (uint32_t i = 0; i < c->reaper_states_count; i++) {
        m->reaper.states = model_grow(m->reaper.states, i, sizeof(*m->reaper.states));
        m->reaper.states[m->reaper.states_count++] = model_text(c->reaper_states[i]);
    }
    for (uint32_t i = 0; i < c->entries_count; i++) {
        const struct sm_entry *e = &c->entries[i];
        if (e->reaper == SM_REAPER_INHERIT) continue;
        struct reaper *r = &m->reaper;
        r->rules = model_grow(r->rules, r->rules_count, sizeof(*r->rules));
        r->rules[r->rules_count++] = (struct reaper_rule){
            model_text(e->type), e->reaper == SM_REAPER_OFF, e->reaper_expire_ns};
    }
    m->cleaner_enabled = c->cleaner_enabled;
}

// ---- making and deleting ----------------------------------------------------

// A UUID of version 7: 48 bits of milliseconds, and in its 74 free bits, from the top, 40 bits of
// seq, 22 bits of a counter within the command, 12 bits of salt.
static struct text server_name(const struct model *m)
{
    uint64_t ms = (m->now_ns / NS_PER_MS) & ((UINT64_C(1) << 48) - 1);
    uint64_t seq = m->seq & ((UINT64_C(1) << 40) - 1);
    uint64_t counter = m->made_count & ((UINT64_C(1) << 22) - 1);
    uint64_t salt = m->salt & ((UINT64_C(1) << 12) - 1);
    uint64_t free_high = seq >> 28; // the 12 bits after the version
    uint64_t free_low = ((seq & ((UINT64_C(1) << 28) - 1)) << 34) | (counter << 12) | salt;
    uint64_t variant_low = (UINT64_C(2) << 62) | free_low;

    char name[40];
    int size = snprintf(name, sizeof(name),
                        "%08" PRIx64 "-%04" PRIx64 "-7%03" PRIx64 "-%04" PRIx64 "-%012" PRIx64,
                        ms >> 16, ms & 0xffff, free_high, variant_low >> 48,
                        variant_low & ((UINT64_C(1) << 48) - 1));
    ASSERT(size == 36);
    return model_text(text_of(name, 36));
}

static int compare_resources(const void *a, const void *b)
{
    return text_compare(((const struct sm_resource *)a)->name,
                        ((const struct sm_resource *)b)->name);
}

void model_add(struct model *m, struct text name, struct text type, struct text state)
{
    m->resources = model_grow(m->resources, m->resources_count, sizeof(*m->resources));
    m->resources[m->resources_count++] = (struct sm_resource){.name = model_text(name),
                                                              .type = model_text(type),
                                                              .state = model_text(state),
                                                              .owner = model_text(TEXT_NONE),
                                                              .lastupdate_ns = m->now_ns};
    qsort(m->resources, m->resources_count, sizeof(*m->resources), compare_resources);
}

void model_create(struct model *m, const struct sm_life_cycle *cycle)
{
    struct text name = server_name(m);
    model_add(m, name, cycle->type, cycle->state);
    m->made = model_grow(m->made, m->made_count, sizeof(*m->made));
    m->made[m->made_count++] = name;
}

static bool was_made_now(const struct model *m, struct text name)
{
    for (uint32_t i = 0; i < m->made_count; i++) {
        if (text_equal(m->made[i], name)) return true;
    }
    return false;
}

static void delete_resource(struct model *m, uint32_t index)
{
    model_resource_release(&m->resources[index]);
    m->resources_count--;
    memmove(&m->resources[index], &m->resources[index + 1],
            (m->resources_count - index) * sizeof(*m->resources));
}

// What was leased to a dynamic resource carries its name as state, and is for nobody else once it
// is gone.
static void delete_dynamic(struct model *m, uint32_t index)
{
    struct text name = model_text(m->resources[index].name);
    delete_resource(m, index);
    for (uint32_t i = 0; m->cleaner_enabled && i < m->resources_count; i++) {
        struct sm_resource *r = &m->resources[i];
        if (r->owner.size > 0 || !text_equal(r->state, name)) continue;
        model_text_set(&r->state, TEXT("dirty"));
        r->lastupdate_ns = m->now_ns;
    }
    model_text_free(name);
}

// ---- upkeep -----------------------------------------------------------------

static bool upkeep_statics(struct model *m)
{
    bool changed = false;
    for (uint32_t i = 0; i < m->resources_count;) {
        const struct sm_resource *r = &m->resources[i];
        const struct static_name *s = model_find_static(m, r->name);
        bool is_gone = s == NULL && model_find_cycle(m, r->type) == NULL;
        bool is_other_type = s != NULL && !text_equal(s->type, r->type);
        if (r->owner.size == 0 && (is_gone || is_other_type)) {
            delete_resource(m, i);
            changed = true;
        } else {
            i++;
        }
    }
    for (uint32_t i = 0; i < m->statics_count; i++) {
        const struct static_name *s = &m->statics[i];
        if (model_find(m, s->name) != NULL) continue;
        model_add(m, s->name, s->type, s->state);
        changed = true;
    }
    return changed;
}

static bool is_dynamic_of(const struct model *m, const struct sm_resource *r, struct text type)
{
    return text_equal(r->type, type) && model_find_static(m, r->name) == NULL;
}

static bool is_doomed(const struct sm_resource *r)
{
    return r->owner.size == 0 && text_equal(r->state, TEXT("toBeDeleted"));
}

static void mark(struct model *m, struct sm_resource *r)
{
    model_text_set(&r->state, TEXT("toBeDeleted"));
    r->lastupdate_ns = m->now_ns;
}

static bool delete_tombstones(struct model *m, struct text type)
{
    bool changed = false;
    for (uint32_t i = 0; i < m->resources_count;) {
        const struct sm_resource *r = &m->resources[i];
        // One made within this command stays: where tombstone is the first state, it would go on
        // for ever.
        if (is_dynamic_of(m, r, type) && r->owner.size == 0 &&
            text_equal(r->state, TEXT("tombstone")) && !was_made_now(m, r->name)) {
            delete_dynamic(m, i);
            changed = true;
        } else {
            i++;
        }
    }
    return changed;
}

static bool mark_expired(struct model *m, struct text type)
{
    bool changed = false;
    for (uint32_t i = 0; i < m->resources_count; i++) {
        struct sm_resource *r = &m->resources[i];
        if (!is_dynamic_of(m, r, type) || r->owner.size > 0 || is_doomed(r)) continue;
        if (!r->has_expiration || m->now_ns <= r->expiration_ns) continue;
        mark(m, r);
        changed = true;
    }
    return changed;
}

static bool hold_counts(struct model *m, const struct sm_life_cycle *cycle)
{
    bool changed = false;
    int64_t count = 0, doomed = 0;
    for (uint32_t i = 0; i < m->resources_count; i++) {
        if (!is_dynamic_of(m, &m->resources[i], cycle->type)) continue;
        count++;
        doomed += is_doomed(&m->resources[i]);
    }
    for (; count < cycle->min_count; count++) {
        model_create(m, cycle);
        doomed += text_equal(cycle->state, TEXT("toBeDeleted"));
        changed = true;
    }
    int64_t excess = count - doomed - cycle->max_count;
    for (uint32_t i = m->resources_count; i > 0 && excess > 0; i--) { // the highest names first
        struct sm_resource *r = &m->resources[i - 1];
        if (!is_dynamic_of(m, r, cycle->type) || r->owner.size > 0 || is_doomed(r)) continue;
        mark(m, r);
        excess--;
        changed = true;
    }
    return changed;
}

static bool is_faded(const struct model *m, const struct sm_life_cycle *cycle)
{
    for (uint32_t i = 0; i < m->resources_count; i++) {
        if (is_dynamic_of(m, &m->resources[i], cycle->type)) return false;
    }
    return cycle->is_fading;
}

static void delete_cycle(struct model *m, uint32_t index)
{
    model_text_free(m->cycles[index].type);
    model_text_free(m->cycles[index].state);
    m->cycles_count--;
    memmove(&m->cycles[index], &m->cycles[index + 1],
            (m->cycles_count - index) * sizeof(*m->cycles));
}

void model_upkeep(struct model *m)
{
    bool changed = true;
    while (changed) {
        changed = upkeep_statics(m);
        for (uint32_t i = 0; i < m->cycles_count;) {
            const struct sm_life_cycle *cycle = &m->cycles[i];
            changed |= delete_tombstones(m, cycle->type);
            changed |= mark_expired(m, cycle->type);
            changed |= hold_counts(m, cycle);
            if (is_faded(m, cycle))
                delete_cycle(m, i);
            else
                i++;
        }
    }
}
