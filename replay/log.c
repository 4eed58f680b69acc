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

static bool has_resource(const struct walk_step *step, const struct sm_change *changes,
                         uint32_t count, struct text name)
{
    struct subject s = subject_of(&step->command);
    bool has = (!text_is_empty(s.resource) && text_equal(s.resource, name)) ||
               (!text_is_empty(s.names) && is_in_names(s.names, name));
    for (uint32_t i = 0; i < step->result.resources_count && !has; i++)
        has = text_equal(step->result.resources[i].name, name); // told again
    for (uint32_t i = 0; i < count && !has; i++)
        has = text_equal(changes[i].name, name);
    return has;
}

static bool has_owner(const struct walk_step *step, const struct sm_change *changes, uint32_t count,
                      struct text owner)
{
    bool has = text_equal(command_owner(&step->command), owner);
    for (uint32_t i = 0; i < count && !has; i++)
        has =
            text_equal(changes[i].before.owner, owner) || text_equal(changes[i].after.owner, owner);
    return has;
}

static bool has_type(const struct walk_step *step, const struct sm_change *changes, uint32_t count,
                     struct text type)
{
    bool has = text_equal(subject_of(&step->command).type, type);
    for (uint32_t i = 0; i < count && !has; i++)
        has = text_equal(changes[i].before.type, type) || text_equal(changes[i].after.type, type);
    return has;
}

static bool is_wanted(const struct options *o, const struct walk_step *step,
                      const struct sm_change *changes, uint32_t count)
{
    const struct command *c = &step->command;
    if (o->refused && step->result.reason == SM_OK) return false;
    if (o->kind != NULL && strcmp(o->kind, command_kind_name(c->kind)) != 0) return false;
    if (o->request != NULL && !text_equal(subject_of(c).request, text_from(o->request)))
        return false;
    return (o->resource == NULL || has_resource(step, changes, count, text_from(o->resource))) &&
           (o->owner == NULL || has_owner(step, changes, count, text_from(o->owner))) &&
           (o->type == NULL || has_type(step, changes, count, text_from(o->type)));
}

// ---- one after the other ----------------------------------------------------------

static int print_step(struct log_command *l, const struct walk_step *step, uint64_t last)
{
    struct replay *r = l->r;
    const struct sm_change *changes;
    uint32_t count;
    walk_changes(l->walk, &changes, &count);
    if (!is_wanted(r->options, step, changes, count)) return 0;
    l->printed++;
    if (r->options->json)
        entry_json(&r->out, step, changes, count);
    else
        entry_line(&r->out, step, count, last);
    if (l->spool == NULL) {
        output_drain(&r->out);
        return 0;
    }
    bool is_good = spool_add(l->spool, buffer_as_text(&r->out.line));
    buffer_clear(&r->out.line);
    return is_good ? 0 : replay_fail(r, BOSKOS_E_IO, "cannot write a temporary file");
}

// Prints the commands up to `to`; the walk is before the first of them.
static int print_stretch(struct log_command *l, uint64_t to)
{
    struct replay *r = l->r;
    const struct walk_step *step = NULL;
    uint64_t begun = sm_seq(walk_state(l->walk));
    while (sm_seq(walk_state(l->walk)) < to) {
        int err = walk_next(l->walk, &step, &r->problem);
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
        int err = walk_next(l->walk, &step, &r->problem);
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
    walk_close(l->walk);
    return err;
}

// ---- the newest first -------------------------------------------------------------

// States are made forwards only: each part between two bases is gone through, kept in a temporary
// file, and read from its end.
static int print_part_reversed(struct log_command *l, uint64_t from, uint64_t to)
{
    struct replay *r = l->r;
    int err = spool_open(&l->spool);
    if (err != 0) return replay_fail(r, err, "cannot make a temporary file");
    err = print_forward(l, from, to);
    struct text line;
    while (err == 0 && spool_take_last(l->spool, &line)) {
        buffer_text(&r->out.line, line);
        output_drain(&r->out);
    }
    output_flush(&r->out); // the next part is gathered in the same place
    if (err == 0 && spool_has_failed(l->spool))
        err = replay_fail(r, BOSKOS_E_IO, "cannot read a temporary file");
    spool_close(l->spool);
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
    err = r->options->reverse ? print_reversed(&l, from, to) : print_forward(&l, from, to);
    if (err == 0 && l.printed == 0 && is_filtered(r->options)) {
        return replay_fail(r, BOSKOS_E_NOT_FOUND,
                           "no command from %" PRIu64 " to %" PRIu64 " is like that", from, to);
    }
    return err;
}
