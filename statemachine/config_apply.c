#include "base/assert.h"
#include "statemachine/state.h"

#include <stdlib.h>

#define NAMES_AHEAD 16u // whose places in the table are brought near

// ---- the built-in reaper's and cleaner's settings ---------------------------

static void reaper_clear(struct sm *sm)
{
    struct reaper *reaper = &sm->reaper;
    for (uint32_t i = 0; i < reaper->states_count; i++) {
        symbol_drop(sm, reaper->states[i]);
    }
    symbol_drop(sm, reaper->target);
    free(reaper->states);
    *reaper = (struct reaper){0};
}

static void take_settings(struct sm *sm, const struct command_config *c)
{
    reaper_clear(sm);
    sm->cleaner_enabled = c->cleaner_enabled;
    if (!c->reaper_enabled) return;
    struct reaper *reaper = &sm->reaper;
    reaper->enabled = true;
    reaper->expire_ns = c->reaper_expire_ns;
    reaper->period_ns = c->reaper_period_ns;
    reaper->target = symbol_take(sm, c->reaper_target);
    reaper->states_count = c->reaper_states_count;
    reaper->states = must_calloc(reaper->states_count + 1u, sizeof(reaper->states[0]));
    for (uint32_t i = 0; i < reaper->states_count; i++) {
        reaper->states[i] = symbol_take(sm, c->reaper_states[i]);
    }
}

// Notes what each type's entries say: the last dynamic one, the last word on the reaper.
static void take_types(struct sm *sm, const struct command_config *c)
{
    for (uint32_t i = 0; i < sm->types_count; i++) {
        struct type *t = sm->types[i];
        t->in_config = false;
        t->entry = NULL;
        t->reaper = SM_REAPER_INHERIT;
        type_touch(sm, t); // one that is gone may be dropped now
    }
    for (uint32_t i = 0; i < c->entries_count; i++) {
        const struct sm_entry *e = &c->entries[i];
        struct type *t = type_take(sm, e->type);
        t->in_config = true;
        if (e->is_dynamic) t->entry = e;
        if (e->reaper == SM_REAPER_INHERIT) continue;
        t->reaper = e->reaper;
        t->reaper_expire_ns = e->reaper_expire_ns;
    }
}

// ---- life cycles ------------------------------------------------------------

static void set_cycle(struct sm *sm, struct type *t, struct symbol *state,
                      const struct life_cycle *c)
{
    struct life_cycle *cycle = must_malloc(sizeof(*cycle));
    *cycle = *c;
    cycle->state = state;
    type_set_cycle(sm, t, cycle);
}

// Adds and updates the life cycles of the config; those that left it fade.
static void take_cycles(struct sm *sm)
{
    for (uint32_t i = 0; i < sm->types_count; i++) {
        struct type *t = sm->types[i];
        const struct sm_entry *e = t->entry;
        if (e != NULL) {
            struct life_cycle c = {.min_count = e->min_count,
                                   .max_count = e->max_count,
                                   .has_lifespan = e->has_lifespan,
                                   .lifespan_ns = e->has_lifespan ? e->lifespan_ns : 0};
            set_cycle(sm, t, symbol_take(sm, e->state), &c);
        } else if (t->cycle != NULL && !t->cycle->is_fading) {
            struct life_cycle c = *t->cycle;
            c.min_count = c.max_count = 0;
            c.is_fading = true;
            set_cycle(sm, t, symbol_share(t->cycle->state), &c);
        }
        t->entry = NULL;
    }
}

// ---- static names -----------------------------------------------------------

static void set_static(struct sm *sm, struct resource *r, bool is_static)
{
    if (r->is_static == is_static) return;
    struct type *t = resource_type(r);
    struct symbol *state = symbol_share(resource_state(r));
    resource_unplace(sm, r);
    r->is_static = is_static;
    resource_place(sm, r, t, state);
    symbol_drop(sm, state);
}

static void retype_free(struct sm *sm, struct retype *w)
{
    symbol_drop(sm, w->name);
    symbol_drop(sm, w->type);
    symbol_drop(sm, w->state);
    free(w);
}

static void retypes_clear(struct sm *sm)
{
    uint32_t at = 0;
    for (struct retype *w; (w = table_next(&sm->retypes, &at)) != NULL;) {
        retype_free(sm, w);
    }
    table_release(&sm->retypes);
    sm->first_due = NULL;
}

// `r` is to become (type, state), when it is unowned.
static void retype_add(struct sm *sm, const struct resource *r, struct text type, struct text state)
{
    struct retype *w = must_malloc(sizeof(*w));
    *w = (struct retype){.item = r->item,
                         .name = symbol_take(sm, resource_name(r)),
                         .type = symbol_take(sm, type),
                         .state = symbol_take(sm, state)};
    table_add(&sm->retypes, w);
}

// A name of a config whose entry says that it is of (type, state).
static void take_name(struct sm *sm, const struct sm_entry *e, struct type *t, struct symbol *state,
                      struct text name)
{
    struct resource *r = resource_find(sm, name);
    bool same_type = r != NULL && resource_type(r) == t;
    if (r != NULL && !same_type && r->owner == NULL) {
        resource_delete(sm, r);
        r = NULL;
    }
    if (r == NULL) {
        r = resource_add(sm, t, state, name, true);
    } else if (!same_type) {
        retype_add(sm, r, e->type, e->state);
    }
    set_static(sm, r, true);
    r->is_seen = true;
}

static void take_names(struct sm *sm, const struct sm_entry *e)
{
    if (e->names_count == 0) return;
    struct type *t = type_take(sm, e->type);
    struct symbol *state = symbol_take(sm, e->state);
    for (uint32_t i = 0; i < e->names_count; i++) {
        if (i + NAMES_AHEAD < e->names_count) {
            table_expect_slot(&sm->resources, sm_hash(sm, e->names[i + NAMES_AHEAD]));
        }
        take_name(sm, e, t, state, e->names[i]);
    }
    symbol_drop(sm, state);
}

// Makes room for the names at once. Those that are there already are counted too, when most are
// new.
static void expect_names(struct sm *sm, const struct command_config *c)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < c->entries_count; i++) {
        count += c->entries[i].names_count;
    }
    if (count > 2 * (uint64_t)sm->resources.count) table_reserve(&sm->resources, (uint32_t)count);
}

// Static names that are not in the config any more: upkeep deletes them, or takes them on.
static void drop_names(struct sm *sm)
{
    picked_clear(sm);
    uint32_t count;
    for (uint32_t rank = 0; rank < sm->names.size; rank += count) {
        const struct order_entry *run = order_run(&sm->names, rank, &count);
        for (uint32_t i = 0; i < count; i++) {
            struct resource *r = run[i].item;
            if (r->is_static && !r->is_seen) picked_add(sm, r);
            r->is_seen = false;
        }
    }
    for (uint32_t i = 0; i < sm->picked_count; i++) {
        set_static(sm, sm->picked[i], false);
    }
}

static void keep_bytes(struct sm *sm, const struct command *c)
{
    buffer_clear(&sm->config);
    command_encode(c, &sm->config);
    sm->config_hash = hash128(sm->config.data, sm->config.size);
}

void apply_config(struct sm *sm, const struct command *command)
{
    const struct command_config *c = &command->as.config;
    import_end(sm);
    retypes_clear(sm);
    take_settings(sm, c);
    take_types(sm, c);
    take_cycles(sm);
    expect_names(sm, c);
    for (uint32_t i = 0; i < c->entries_count; i++) {
        take_names(sm, &c->entries[i]);
    }
    drop_names(sm);
    keep_bytes(sm, command);
    digest_core(sm);
}

// Neither digest nor effect depends on the order in which these are done.
void config_retype(struct sm *sm)
{
    while (sm->first_due != NULL) {
        struct retype *w = sm->first_due;
        sm->first_due = w->next_due;
        table_remove(&sm->retypes, w);
        resource_delete(sm, resource_find(sm, symbol_text(w->name)));
        (void)resource_add(sm, type_take(sm, symbol_text(w->type)), w->state, symbol_text(w->name),
                           true);
        retype_free(sm, w);
    }
}

static void add_owned(struct table *owned, const struct order *o)
{
    uint32_t count;
    for (uint32_t rank = 0; rank < o->size; rank += count) {
        const struct order_entry *run = order_run(o, rank, &count);
        for (uint32_t i = 0; i < count; i++) {
            table_add(owned, run[i].item);
        }
    }
}

// Takes from a config what the state does not hold itself: settings, and which names wait for a
// type. Only a name that is owned waits; they are few among all, and so near when they are looked
// up.
static void restore(struct sm *sm, const struct command_config *c)
{
    struct table owned = {0};
    take_settings(sm, c);
    take_types(sm, c);
    for (uint32_t i = 0; i < sm->types_count; i++) {
        for (const struct pool *p = sm->types[i]->pools; p != NULL; p = p->after) {
            add_owned(&owned, &p->owned);
        }
    }
    for (uint32_t i = 0; i < c->entries_count; i++) {
        const struct sm_entry *e = &c->entries[i];
        for (uint32_t j = 0; j < e->names_count; j++) {
            struct resource *r = resource_find_in(sm, &owned, e->names[j]);
            if (r == NULL || text_equal(symbol_text(resource_type(r)->name), e->type)) continue;
            retype_add(sm, r, e->type, e->state);
        }
    }
    table_release(&owned);
    for (uint32_t i = 0; i < sm->types_count; i++) {
        sm->types[i]->entry = NULL;
    }
}

int config_restore(struct sm *sm, struct text bytes)
{
    struct command_decoder *decoder = command_decoder_new();
    struct command c;
    int err = command_decode(decoder, COMMAND_CONFIG, bytes, &c);
    if (err != 0) {
        err = BOSKOS_E_CORRUPT;
        goto out;
    }
    restore(sm, &c.as.config);
    keep_bytes(sm, &c);
out:
    command_decoder_free(decoder);
    return err;
}

void config_release(struct sm *sm)
{
    reaper_clear(sm);
    retypes_clear(sm);
    buffer_release(&sm->config);
}
