#include "base/assert.h"
#include "statemachine/state.h"

// A dump of another Boskos does not say which names its config had. So upkeep, which goes by that,
// does nothing between an import and the first config after it, and until then the state keeps what
// of the life cycles only a config holds.

static void take_cycle(struct sm *sm, const struct sm_entry *e)
{
    struct type *t = type_take(sm, e->type);
    if (t->cycle != NULL) return;
    struct life_cycle *cycle = must_malloc(sizeof(*cycle));
    *cycle = (struct life_cycle){.state = symbol_take(sm, e->state),
                                 .min_count = e->min_count,
                                 .max_count = e->max_count,
                                 .has_lifespan = e->has_lifespan,
                                 .is_fading = e->max_count == 0,
                                 .lifespan_ns = e->has_lifespan ? e->lifespan_ns : 0};
    type_set_cycle(sm, t, cycle);
}

// A last update that is not known, or lies ahead because the other machine's clock did, is now: an
// age is never negative.
static void take_resource(struct sm *sm, const struct sm_imported *imported)
{
    if (resource_find(sm, imported->name) != NULL) return;
    struct resource *r = resource_new(sm, imported->name);
    uint64_t bytes = 0;
    if (imported->lastupdate_ns != 0 && imported->lastupdate_ns < sm->time_ns)
        r->lastupdate_ns = imported->lastupdate_ns;
    r->expires_ns = imported->expires_ns;
    if (!text_is_empty(imported->owner)) r->owner = symbol_take(sm, imported->owner);
    if (imported->userdata_count > 0)
        r->userdata = userdata_merge(NULL, imported->userdata, imported->userdata_count, &bytes);
    struct symbol *state = symbol_take(sm, imported->state);
    resource_place(sm, r, type_take(sm, imported->type), state);
    symbol_drop(sm, state);
}

static void keep(struct sm *sm, const struct command_import *c)
{
    struct command kept = {.kind = COMMAND_IMPORT,
                           .as.import = {.cycles = c->cycles, .cycles_count = c->cycles_count}};
    import_end(sm);
    command_encode(&kept, &sm->imported);
    digest_import(sm, true);
}

void apply_import(struct sm *sm, const struct command_import *c)
{
    for (uint32_t i = 0; i < c->cycles_count; i++) {
        take_cycle(sm, &c->cycles[i]);
    }
    for (uint32_t i = 0; i < c->resources_count; i++) {
        take_resource(sm, &c->resources[i]);
    }
    keep(sm, c);
}

void import_end(struct sm *sm)
{
    if (!import_waits(sm)) return;
    digest_import(sm, false);
    buffer_release(&sm->imported); // there is no other for a long time
}

int import_restore(struct sm *sm, struct text bytes)
{
    struct command_decoder *decoder = command_decoder_new();
    struct command c;
    int err = command_decode(decoder, COMMAND_IMPORT, bytes, &c);
    const struct command_import *import = &c.as.import;
    if (err != 0 || import->resources_count > 0 || !text_is_empty(import->version) ||
        !text_is_empty(import->host)) {
        err = BOSKOS_E_CORRUPT;
    } else {
        keep(sm, import);
    }
    command_decoder_free(decoder);
    return err;
}
