// log: the commands, one a line, with what they came to.
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "replay/entry.h"
#include "replay/replay.h"
#include "replay/spool.h"

#include "base/banned.h"

#define FOLLOW_PAUSE_NS 100000000l // between looks for what has come

struct log_command {
    struct replay *r;
    struct walk *walk;
    struct spool *spool; // with --reverse
    uint64_t printed;
    struct command_decoder *decoder;
    bool is_about_type; // the present command is about the type that --type names
};

// ---- which ones -----------------------------------------------------------------

static bool is_in_names(struct text names, struct text name)
{
    struct text one;
    for (uint32_t at = 0; command_next_name(names, &at, &one);) {
        if (text_equal(one, name)) return true;
    }
    return false;
}

// What a command says of itself, of what the filters ask for.
struct subject {
    struct text resource, names, type, request;
};

static struct subject subject_of(const struct command *c)
{
    switch (c->kind) {
    case COMMAND_ACQUIRE:
        return (struct subject){.type = c->as.acquire.type, .request = c->as.acquire.request_id};
    case COMMAND_ACQUIREBYSTATE: return (struct subject){.names = c->as.acquirebystate.names};
    case COMMAND_RELEASE: return (struct subject){.resource = c->as.release.name};
    case COMMAND_UPDATE: return (struct subject){.resource = c->as.update.name};
    case COMMAND_RESET: return (struct subject){.type = c->as.reset.type};
    case COMMAND_CLEAN: return (struct subject){.resource = c->as.clean.name};
    case COMMAND_CONFIG:
    case COMMAND_EXPIRE:
    case COMMAND_REAP:
    case COMMAND_CLOCK:
    case COMMAND_STARTED:
    case COMMAND_REPAIRED:
    case COMMAND_IMPORT: break;
    }
    return (struct subject){0};
}

static bool has_resource(struct walk *w, const struct walk_step *step, struct text name)
{
    struct sm_change change;
    uint32_t count = walk_changes(w);
    struct subject s = subject_of(&step->command);
    bool has = (!text_is_empty(s.resource) && text_equal(s.resource, name)) ||
               (!text_is_empty(s.names) && is_in_names(s.names, name));
    for (uint32_t i = 0; i < step->result.resources_count && !has; i++)
        has = text_equal(step->result.resources[i].name, name); // told again
    for (uint32_t i = 0; i < count && !has; i++) {
        walk_change(w, i, &change);
        has = text_equal(change.name, name);
    }
    return has;
}

// An empty owner is nobody: who sends what comes by itself, and has what is unowned.
static bool has_owner(struct walk *w, const struct walk_step *step, struct text owner)
{
    struct sm_change change;
    uint32_t count = walk_changes(w);
    bool has = text_equal(command_owner(&step->command), owner);
    for (uint32_t i = 0; i < count && !has; i++) {
        walk_change(w, i, &change);
        has = (change.was_there && text_equal(change.before.owner, owner)) ||
              (change.is_there && text_equal(change.after.owner, owner));
    }
    return has;
}

// ---- of a type ------------------------------------------------------------------
//
// A command may be about a type that it does not name, and change nothing. What it names is then
// looked up in the state that it meets.

static bool is_of_type(struct sm *sm, struct text name, struct text type)
{
    struct sm_resource r;
    return sm_find(sm, name, &r) == 0 && text_equal(r.type, type);
}

static bool has_name_of_type(struct sm *sm, struct text names, struct text type)
{
    struct text one;
    for (uint32_t at = 0; command_next_name(names, &at, &one);) {
        if (is_of_type(sm, one, type)) return true;
    }
    return false;
}

static bool has_entry(const struct sm_entry *entries, uint32_t count, struct text type)
{
    for (uint32_t i = 0; i < count; i++) {
        if (text_equal(entries[i].type, type)) return true;
    }
    return false;
}

static bool has_import(const struct command_import *c, struct text type)
{
    bool has = has_entry(c->cycles, c->cycles_count, type);
    for (uint32_t i = 0; i < c->resources_count && !has; i++)
        has = text_equal(c->resources[i].type, type);
    return has;
}

// Has the config in force, or the import that waits for one, the type? A config that leaves it out
// is about it, too.
static bool is_configured(struct log_command *l, struct text type)
{
    struct sm *sm = walk_state(l->walk);
    struct command c;
    struct text imported = sm_imported_bytes(sm);
    if (imported.size > 0 && command_decode(l->decoder, COMMAND_IMPORT, imported, &c) == 0)
        return has_import(&c.as.import, type);
    if (!sm_has_config(sm) ||
        command_decode(l->decoder, COMMAND_CONFIG, sm_config_bytes(sm), &c) != 0) {
        return false;
    }
    return has_entry(c.as.config.entries, c.as.config.entries_count, type);
}

struct sweep {
    struct text type;
    uint64_t now_ns;
    bool is_found;
};

static bool look_at_entry(void *context, const struct sm_queue_entry *e)
{
    struct sweep *s = context;
    s->is_found = s->now_ns > e->deadline_ns && text_equal(e->type, s->type);
    return !s->is_found;
}

// Is a request for the type dead at that time, so that it is swept?
static bool is_swept(struct sm *sm, uint64_t now_ns, struct text type)
{
    struct sweep s = {type, now_ns, false};
    if (sm_queue_entries(sm) > 0) sm_queues(sm, 0, look_at_entry, &s);
    return s.is_found;
}

static bool is_about_type(struct log_command *l, const struct command *c, struct text type)
{
    struct sm *sm = walk_state(l->walk);
    struct subject s = subject_of(c);
    switch (c->kind) {
    case COMMAND_ACQUIRE:
    case COMMAND_RESET: return text_equal(s.type, type);
    case COMMAND_ACQUIREBYSTATE: return has_name_of_type(sm, s.names, type);
    case COMMAND_RELEASE:
    case COMMAND_UPDATE:
    case COMMAND_CLEAN: return is_of_type(sm, s.resource, type);
    case COMMAND_CONFIG:
        return has_entry(c->as.config.entries, c->as.config.entries_count, type) ||
               is_configured(l, type);
    case COMMAND_IMPORT: return has_import(&c->as.import, type);
    case COMMAND_EXPIRE: return is_swept(sm, c->time_ns, type);
    case COMMAND_CLOCK: // these let those live that were alive at the command before
    case COMMAND_STARTED:
    case COMMAND_REPAIRED: return is_swept(sm, sm_time_ns(sm), type);
    case COMMAND_REAP: break; // only what it changes
    }
    return false;
}

static bool has_type(struct walk *w, bool is_about, struct text type)
{
    struct sm_change change;
    uint32_t count = walk_changes(w);
    bool has = is_about;
    for (uint32_t i = 0; i < count && !has; i++) {
        walk_change(w, i, &change);
        has = text_equal(change.before.type, type) || text_equal(change.after.type, type);
    }
    return has;
}

// ---- one after the other ----------------------------------------------------------

static int next_step(struct log_command *l, const struct walk_step **ret_step)
{
    struct replay *r = l->r;
    if (r->options->type != NULL) {
        int err = walk_peek(l->walk, ret_step, &r->problem);
        if (err != 0) return err;
        l->is_about_type = is_about_type(l, &(*ret_step)->command, text_from(r->options->type));
    }
    return walk_next(l->walk, ret_step, &r->problem);
}

static bool is_wanted(const struct log_command *l, const struct walk_step *step)
{
    const struct options *o = l->r->options;
    struct walk *w = l->walk;
    const struct command *c = &step->command;
    if (o->refused && step->result.reason == SM_OK) return false;
    if (o->kind != NULL && strcmp(o->kind, command_kind_name(c->kind)) != 0) return false;
    if (o->request != NULL && !text_equal(subject_of(c).request, text_from(o->request)))
        return false;
    return (o->resource == NULL || has_resource(w, step, text_from(o->resource))) &&
           (o->owner == NULL || has_owner(w, step, text_from(o->owner))) &&
           (o->type == NULL || has_type(w, l->is_about_type, text_from(o->type)));
}

static int print_step(struct log_command *l, const struct walk_step *step, uint64_t last)
{
    struct replay *r = l->r;
    if (!is_wanted(l, step)) return 0;
    l->printed++;
    if (r->options->json)
        entry_json(&r->out, l->walk, step);
    else
        entry_line(&r->out, step, walk_changes(l->walk), last);
    if (l->spool == NULL) {
        output_drain(&r->out);
        return 0;
    }
    return spool_end_line(l->spool);
}

// Prints the commands up to `to`; the walk is before the first of them.
static int print_stretch(struct log_command *l, uint64_t to)
{
    struct replay *r = l->r;
    const struct walk_step *step = NULL;
    uint64_t begun = sm_seq(walk_state(l->walk));
    while (sm_seq(walk_state(l->walk)) < to) {
        int err = next_step(l, &step);
        if (err != 0) return err;
        err = print_step(l, step, r->span.last);
        if (err != 0) return err;
        progress_said(&r->progress, step->command.seq - begun, to - begun);
    }
    progress_end(&r->progress);
    return 0;
}

static int follow(struct log_command *l)
{
    struct replay *r = l->r;
    const struct walk_step *step = NULL;
    for (;;) {
        int err = next_step(l, &step);
        if (err == 0) {
            err = print_step(l, step, r->span.last);
            if (err != 0) return err;
            continue;
        }
        if (err != BOSKOS_E_NOT_FOUND) return err;
        output_flush(&r->out);
        if (fflush(r->out.file) != 0 || ferror(r->out.file) != 0)
            return replay_fail(r, BOSKOS_E_IO, "cannot write to stdout");
        (void)nanosleep(&(struct timespec){.tv_nsec = FOLLOW_PAUSE_NS}, NULL);
    }
}

static int print_forward(struct log_command *l, uint64_t from, uint64_t to)
{
    int err = replay_walk(l->r, from - 1, &l->walk);
    if (err != 0) return err;
    walk_trace(l->walk);
    err = print_stretch(l, to);
    if (err == 0 && l->r->options->follow) err = follow(l);
    if (l->spool != NULL)
        walk_close(l->walk);
    else // the process ends
        walk_leave(l->walk);
    return err;
}

// ---- the newest first -------------------------------------------------------------

// States are made forwards only: each part between two bases is gone through, kept in a temporary
// file, and read from its end.
static int print_part_reversed(struct log_command *l, uint64_t from, uint64_t to)
{
    int err = spool_begin(l->r, &l->spool);
    if (err == 0) err = spool_end(l->spool, print_forward(l, from, to));
    l->spool = NULL;
    return err;
}

static int print_reversed(struct log_command *l, uint64_t from, uint64_t to)
{
    uint64_t *bases = NULL;
    size_t count = 0;
    int err = source_bases(l->r->source, &bases, &count, &l->r->problem);
    if (err != 0) return err;
    for (size_t i = count; i-- > 0 && to >= from && err == 0;) {
        uint64_t first = bases[i] + 1 > from ? bases[i] + 1 : from;
        if (first > to) continue;
        err = print_part_reversed(l, first, to);
        to = first - 1;
    }
    free(bases);
    return err;
}

static bool is_filtered(const struct options *o)
{
    return o->refused || o->kind != NULL || o->request != NULL || o->resource != NULL ||
           o->owner != NULL || o->type != NULL;
}

int replay_log(struct replay *r)
{
    struct log_command l = {.r = r};
    uint64_t from = 0, to = 0;
    int err = replay_stretch(r, &from, &to);
    if (err != 0) return err;
    l.decoder = command_decoder_new();
    err = r->options->reverse ? print_reversed(&l, from, to) : print_forward(&l, from, to);
    command_decoder_free(l.decoder);
    if (err == 0 && l.printed == 0 && is_filtered(r->options)) {
        return replay_fail(r, BOSKOS_E_NOT_FOUND,
                           "no command from %" PRIu64 " to %" PRIu64 " is like that", from, to);
    }
    return err;
}
