#include "replay/occurs.h"

#include <inttypes.h>

#include "base/assert.h"

#include "base/banned.h"

#define TRIES_MAX 3u // a daemon may trim the log behind what was just looked at
#define PROGRESS_EVERY 4096u

void occurs_init(struct occurs *s, const struct options *o)
{
    *s = (struct occurs){.options = o,
                         .resource = o->resource == NULL,
                         .type = o->type == NULL,
                         .state = o->state == NULL,
                         .owner = o->owner == NULL || o->owner[0] == '\0'};
}

bool occurs_all(const struct occurs *s)
{
    return s->resource && s->type && s->state && s->owner;
}

static void see(bool *seen, const char *option, struct text name)
{
    *seen = *seen || text_equal(text_from(option), name);
}

static void see_name(struct occurs *s, struct text name)
{
    see(&s->resource, s->options->resource, name);
}

static void see_type(struct occurs *s, struct text type)
{
    see(&s->type, s->options->type, type);
}

static void see_state(struct occurs *s, struct text state)
{
    see(&s->state, s->options->state, state);
}

static void see_owner(struct occurs *s, struct text owner)
{
    see(&s->owner, s->options->owner, owner);
}

// ---- in a state -----------------------------------------------------------------

static bool stop(void *context, const struct sm_resource *r)
{
    (void)r;
    *(bool *)context = true;
    return false;
}

static void see_any(bool *seen, struct sm *sm, const struct sm_filter *filter)
{
    if (!*seen) (void)sm_list(sm, filter, stop, seen);
}

static bool note_entry(void *context, const struct sm_queue_entry *e)
{
    struct occurs *s = context;
    see_type(s, e->type);
    see_state(s, e->state);
    return !(s->type && s->state);
}

void occurs_in_state(struct occurs *s, struct sm *sm)
{
    const struct options *o = s->options;
    const struct text type = text_from(o->type), state = text_from(o->state);
    const struct text owner = text_from(o->owner);
    const struct sm_life_cycle *cycles;
    struct sm_resource r;
    uint32_t count;
    if (!s->resource) s->resource = sm_find(sm, text_from(o->resource), &r) == 0;
    see_any(&s->type, sm, &(struct sm_filter){.types = &type, .types_count = 1, .limit = 1});
    see_any(&s->state, sm, &(struct sm_filter){.states = &state, .states_count = 1, .limit = 1});
    see_any(&s->owner, sm, &(struct sm_filter){.owners = &owner, .owners_count = 1, .limit = 1});
    if (s->type && s->state) return;
    sm_queues(sm, 0, note_entry, s);
    sm_life_cycles(sm, &cycles, &count);
    for (uint32_t i = 0; i < count; i++) {
        see_type(s, cycles[i].type);
        see_state(s, cycles[i].state);
    }
}

// ---- in a command ---------------------------------------------------------------

static void note_names(struct occurs *s, struct text names)
{
    struct text one;
    for (uint32_t at = 0; command_next_name(names, &at, &one);)
        see_name(s, one);
}

static void note_entries(struct occurs *s, const struct sm_entry *entries, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct sm_entry *e = &entries[i];
        see_type(s, e->type);
        see_state(s, e->state);
        for (uint32_t n = 0; n < e->names_count; n++)
            see_name(s, e->names[n]);
    }
}

static void note_config(struct occurs *s, const struct command_config *c)
{
    note_entries(s, c->entries, c->entries_count);
    see_state(s, c->reaper_target);
    for (uint32_t i = 0; i < c->reaper_states_count; i++)
        see_state(s, c->reaper_states[i]);
}

static void note_import(struct occurs *s, const struct command_import *c)
{
    note_entries(s, c->cycles, c->cycles_count);
    for (uint32_t i = 0; i < c->resources_count; i++) {
        const struct sm_imported *r = &c->resources[i];
        see_name(s, r->name);
        see_type(s, r->type);
        see_state(s, r->state);
        see_owner(s, r->owner);
    }
}

static void note_command(struct occurs *s, const struct command *c)
{
    see_owner(s, command_owner(c));
    switch (c->kind) {
    case COMMAND_ACQUIRE:
        see_type(s, c->as.acquire.type);
        see_state(s, c->as.acquire.state);
        see_state(s, c->as.acquire.dest);
        return;
    case COMMAND_ACQUIREBYSTATE:
        note_names(s, c->as.acquirebystate.names);
        see_state(s, c->as.acquirebystate.state);
        see_state(s, c->as.acquirebystate.dest);
        return;
    case COMMAND_RELEASE:
        see_name(s, c->as.release.name);
        see_state(s, c->as.release.dest);
        return;
    case COMMAND_UPDATE:
        see_name(s, c->as.update.name);
        see_state(s, c->as.update.state);
        return;
    case COMMAND_RESET:
        see_type(s, c->as.reset.type);
        see_state(s, c->as.reset.state);
        see_state(s, c->as.reset.dest);
        return;
    case COMMAND_CONFIG: note_config(s, &c->as.config); return;
    case COMMAND_CLEAN: see_name(s, c->as.clean.name); return;
    case COMMAND_IMPORT: note_import(s, &c->as.import); return;
    case COMMAND_EXPIRE:
    case COMMAND_REAP:
    case COMMAND_CLOCK:
    case COMMAND_STARTED:
    case COMMAND_REPAIRED: return;
    }
    ASSERT(false && "a kind that exists");
}

// The records from `from` to `to`, or up to the last name that is looked for.
static int search_log(struct replay *r, struct occurs *s, uint64_t from, uint64_t to)
{
    struct source_cursor *cursor = NULL;
    struct record record;
    struct journal_row row;
    struct command c;
    if (from > to) return 0;
    struct command_decoder *decoder = command_decoder_new();
    int err = source_cursor_open(r->source, from, NULL, &cursor, &r->problem);
    progress_begin(&r->progress, "records");
    for (uint64_t seq = from; seq <= to && err == 0 && !occurs_all(s); seq++) {
        err = source_cursor_next(cursor, &record, &row, &r->problem);
        // What is none is found where it is replayed.
        if (err == 0 && command_decode(decoder, record.kind, record.payload, &c) == 0)
            note_command(s, &c);
        if (seq % PROGRESS_EVERY == 0) progress_said(&r->progress, seq - from, to - from + 1);
    }
    progress_end(&r->progress);
    source_cursor_close(cursor);
    command_decoder_free(decoder);
    return err;
}

static int search(struct replay *r, struct occurs *s)
{
    struct walk *w = NULL;
    struct source_span span;
    int err = source_look(r->source, &span, &r->problem);
    if (err == 0) err = search_log(r, s, span.oldest + 1, span.last);
    if (err != 0 || occurs_all(s) || span.oldest == 0) return err;
    err = replay_walk(r, span.oldest, &w);
    if (err == 0) occurs_in_state(s, walk_state(w));
    walk_close(w);
    return err;
}

// The states that the rules know need no command that names them.
static void see_rules(struct occurs *s)
{
    see_state(s, TEXT("dirty"));
    see_state(s, TEXT("toBeDeleted"));
    see_state(s, TEXT("tombstone"));
}

int occurs_check(struct replay *r, struct occurs *s)
{
    const struct options *o = s->options;
    see_rules(s);
    if (occurs_all(s)) return 0;
    int err = search(r, s);
    for (uint32_t i = 1; i < TRIES_MAX && err == BOSKOS_E_TRIMMED; i++)
        err = search(r, s);
    if (err != 0 || occurs_all(s)) return err;
    const char *what = !s->resource ? "resource"
                       : !s->type   ? "type"
                       : !s->state  ? "state"
                                    : "owner";
    const char *name = !s->resource ? o->resource
                       : !s->type   ? o->type
                       : !s->state  ? o->state
                                    : o->owner;
    return replay_fail(r, BOSKOS_E_NOT_FOUND, "there is no %s %s in all that is kept", what, name);
}
