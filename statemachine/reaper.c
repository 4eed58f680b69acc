#include "base/assert.h"
#include "statemachine/state.h"

// ---- what was slept through -------------------------------------------------

void slept(struct sm *sm, uint64_t length_ns)
{
    sm->grace_ns = sm->time_ns;
    if (length_ns == 0) return;
    if (sm->gaps_count == SM_GAPS_MAX) {
        // The two oldest become one, at the later end: it spares leases rather than reaping them.
        sm->gaps[1].length_ns += sm->gaps[0].length_ns;
        sm->gaps_count--;
        memmove(sm->gaps, sm->gaps + 1, sm->gaps_count * sizeof(sm->gaps[0]));
    }
    sm->gaps[sm->gaps_count++] = (struct gap){sm->time_ns, length_ns};
}

uint64_t sm_grace_ns(const struct sm *sm)
{
    return sm->grace_ns;
}

uint64_t sm_slept_since_ns(const struct sm *sm, uint64_t since_ns)
{
    uint64_t sum = 0;
    for (uint32_t i = sm->gaps_count; i-- > 0 && sm->gaps[i].end_ns > since_ns;) {
        sum += sm->gaps[i].length_ns;
    }
    return sum;
}

// ---- the reaper -------------------------------------------------------------

// How old a lease of the type may get; false when the type is not reaped.
static bool expire_of(const struct sm *sm, const struct type *t, uint64_t *ret_expire_ns)
{
    int64_t expire_ns = sm->reaper.expire_ns;
    switch (t->reaper) {
    case SM_REAPER_INHERIT: break;
    case SM_REAPER_OFF: return false;
    case SM_REAPER_EXPIRE: expire_ns = t->reaper_expire_ns; break;
    }
    *ret_expire_ns = expire_ns > 0 ? (uint64_t)expire_ns : 0;
    return true;
}

// When the lease has its age: at this instant or later.
static uint64_t reap_instant(const struct sm *sm, uint64_t lastupdate_ns, uint64_t expire_ns)
{
    uint64_t most = SM_NEVER - 1;
    uint64_t wait = sm_slept_since_ns(sm, lastupdate_ns);
    wait = expire_ns > most - wait ? most : wait + expire_ns;
    return lastupdate_ns > most - wait ? most : lastupdate_ns + wait;
}

static uint64_t round_due(const struct sm *sm, uint64_t since_ns)
{
    return instant_add(since_ns, sm->reaper.period_ns);
}

uint64_t sm_reap_due_ns(const struct sm *sm)
{
    uint64_t due = SM_NEVER;
    if (!sm->reaper.enabled) return due;
    for (uint32_t i = 0; i < sm->types_count; i++) {
        const struct type *t = sm->types[i];
        uint64_t expire_ns;
        if (!expire_of(sm, t, &expire_ns)) continue;
        for (uint32_t j = 0; j < sm->reaper.states_count; j++) {
            const struct pool *p = pool_find(sm, t, sm->reaper.states[j]);
            if (p == NULL || p->owned.size == 0) continue;
            uint64_t instant = reap_instant(sm, order_at(&p->owned, 0).key, expire_ns);
            if (instant < due) due = instant;
        }
    }
    uint64_t round = round_due(sm, sm->reaped_ns > sm->grace_ns ? sm->reaped_ns : sm->grace_ns);
    return due == SM_NEVER || due > round ? due : round;
}

// Picks what of a pool is old enough, oldest first, and stops at the first that is not.
static void pick_old(struct sm *sm, const struct pool *p, uint64_t expire_ns)
{
    uint32_t count;
    for (uint32_t rank = 0; rank < p->owned.size; rank += count) {
        const struct order_entry *run = order_run(&p->owned, rank, &count);
        for (uint32_t i = 0; i < count; i++) {
            if (reap_instant(sm, run[i].key, expire_ns) > sm->time_ns) return;
            picked_add(sm, run[i].item);
        }
    }
}

void apply_reap(struct sm *sm)
{
    if (!sm->reaper.enabled || sm->time_ns < round_due(sm, sm->grace_ns)) return;
    picked_clear(sm);
    for (uint32_t i = 0; i < sm->types_count; i++) {
        uint64_t expire_ns;
        if (!expire_of(sm, sm->types[i], &expire_ns)) continue;
        for (uint32_t j = 0; j < sm->reaper.states_count; j++) {
            const struct pool *p = pool_find(sm, sm->types[i], sm->reaper.states[j]);
            if (p != NULL) pick_old(sm, p, expire_ns);
        }
    }
    for (uint32_t i = 0; i < sm->picked_count; i++) {
        // A state named twice in the config gives a resource twice: the second time it is free.
        if (sm->picked[i]->owner != NULL) {
            resource_move(sm, sm->picked[i], NULL, sm->reaper.target);
        }
    }
    sm->reaped_ns = sm->time_ns;
    digest_core(sm);
}

// ---- the cleaner ------------------------------------------------------------

static const struct text leased_key = {"leasedResources", sizeof("leasedResources") - 1};

static bool is_cleanable(const struct sm *sm, const struct resource *r)
{
    return r != NULL && r->owner == NULL && !r->is_static && resource_type(r)->cycle != NULL &&
           resource_state(r) == sm->to_be_deleted;
}

// The resource is not what the decision was made on: do nothing.
static bool has_changed(const struct resource *r, const struct command_clean *c)
{
    struct text leased = userdata_value(r->userdata, leased_key);
    if (leased.data == NULL || c->leased.data == NULL) return leased.data != c->leased.data;
    return !text_equal(leased, c->leased);
}

void apply_clean(struct sm *sm, const struct command_clean *c)
{
    struct resource *r = resource_find(sm, c->name);
    if (!is_cleanable(sm, r) || has_changed(r, c)) return;
    const struct symbol *leased_state = symbol_find(sm, c->name);
    for (uint32_t i = 0; i < c->names_count && leased_state != NULL; i++) {
        struct resource *leased = resource_find(sm, c->names[i]);
        if (leased == NULL || leased->owner != NULL) continue;
        if (resource_state(leased) == leased_state) resource_move(sm, leased, NULL, sm->dirty);
        leased_state = symbol_find(sm, c->name); // gone with the last that was in it
    }
    struct userdata_pair removal = {leased_key, TEXT("")};
    uint64_t bytes;
    struct type *t = resource_type(r);
    resource_unplace(sm, r);
    struct userdata *kept = userdata_merge(r->userdata, &removal, 1, &bytes);
    bury(sm, r->userdata);
    r->userdata = kept;
    r->lastupdate_ns = sm->time_ns;
    resource_place(sm, r, t, sm->tombstone);
}

void free_leased_by(struct sm *sm, struct text name)
{
    const struct symbol *state = symbol_find(sm, name);
    if (state == NULL || state == sm->dirty) return;
    for (uint32_t i = 0; i < sm->types_count; i++) {
        struct pool *p = pool_find(sm, sm->types[i], state);
        for (uint32_t left = p != NULL ? p->unowned.size : 0; left > 0; left--) {
            // The pool is gone with its last resource, and so may be the state.
            resource_move(sm, order_at(&p->unowned, 0).item, NULL, sm->dirty);
        }
        state = symbol_find(sm, name);
        if (state == NULL) return;
    }
}

void sm_cleanable(struct sm *sm, uint32_t max, const struct sm_cleanable **ret_list,
                  uint32_t *ret_count)
{
    buffer_clear(&sm->answer);
    uint32_t count = 0;
    for (uint32_t i = 0; i < sm->types_count; i++) {
        const struct type *t = sm->types[i];
        if (t->cycle == NULL) continue;
        for (uint32_t rank = 0; rank < t->doomed.size && count < max; rank++) {
            const struct resource *r = order_at(&t->doomed, rank).item;
            struct sm_cleanable c = {resource_name(r), userdata_value(r->userdata, leased_key)};
            buffer_append(&sm->answer, &c, sizeof(c));
            count++;
        }
    }
    *ret_list = (const struct sm_cleanable *)(const void *)sm->answer.data;
    *ret_count = count;
}
