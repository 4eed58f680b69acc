#include "replay/say.h"

#include <inttypes.h>

#include "base/duration.h"
#include "wire/wire.h"

#include "base/banned.h"

#define LABEL_COLUMNS 12u

void say_age(struct output *out, uint64_t age_ns)
{
    uint64_t ms = age_ns / NS_PER_MS + (age_ns % NS_PER_MS >= NS_PER_MS / 2);
    duration_format(duration_of(ms * NS_PER_MS), &out->line);
}

void say_heard(struct output *out, uint64_t age_ns)
{
    output_string(out, ", last heard of ");
    say_age(out, age_ns);
    output_string(out, " ago");
}

void say_command(struct output *out, uint64_t seq, uint64_t time_ns)
{
    output_format(out, "command %" PRIu64 ", ", seq);
    output_time(out, time_ns);
}

void say_label(struct output *out, const char *label)
{
    output_string(out, "  ");
    output_colour(out, COLOUR_DIM);
    output_format(out, "%-*s", (int)LABEL_COLUMNS, label);
    output_colour(out, COLOUR_NONE);
}

void say_count(struct output *out, uint64_t count, const char *one, const char *many)
{
    output_format(out, "%" PRIu64 " %s", count, count == 1 ? one : many);
}

void say_more(struct output *out, uint64_t count)
{
    if (count > SAY_MOST) output_format(out, "  and %" PRIu64 " more\n", count - SAY_MOST);
}

// ---- changes ------------------------------------------------------------------

static void say_owner(struct output *out, struct text owner)
{
    output_word(out, text_is_empty(owner) ? TEXT("-") : owner);
}

static void say_differing(struct output *out, const struct sm_resource *a,
                          const struct sm_resource *b)
{
    const char *before = "";
    if (!text_equal(a->type, b->type)) {
        output_string(out, "type ");
        output_word(out, a->type);
        output_string(out, " -> ");
        output_word(out, b->type);
        before = ", ";
    }
    if (!text_equal(a->state, b->state)) {
        output_format(out, "%sstate ", before);
        output_word(out, a->state);
        output_string(out, " -> ");
        output_word(out, b->state);
        before = ", ";
    }
    if (!text_equal(a->owner, b->owner)) {
        output_format(out, "%sowner ", before);
        say_owner(out, a->owner);
        output_string(out, " -> ");
        say_owner(out, b->owner);
        before = ", ";
    }
    if (before[0] == '\0') output_string(out, "owner and state as before");
}

static void say_change(struct output *out, const struct sm_change *c)
{
    output_string(out, "  ");
    output_word(out, c->name);
    output_string(out, "  ");
    if (c->was_there && c->is_there) {
        say_differing(out, &c->before, &c->after);
    } else {
        const struct sm_resource *r = c->is_there ? &c->after : &c->before;
        output_string(out, c->is_there ? "made, type " : "removed, type ");
        output_word(out, r->type);
        output_string(out, c->is_there ? ", state " : ", was in state ");
        output_word(out, r->state);
    }
    output_string(out, "\n");
}

void say_changes(struct output *out, struct walk *w, struct said said)
{
    struct sm_change change;
    uint64_t listed = 0;
    uint32_t count = walk_changes(w);
    for (uint32_t i = 0; i < count; i++) {
        walk_change(w, i, &change);
        if (said.is_said != NULL && said.is_said(said.context, &change)) continue;
        if (listed++ == 0)
            output_string(out, said.is_said != NULL ? "it also changed\n" : "it changed\n");
        if (listed <= SAY_MOST) say_change(out, &change);
    }
    say_more(out, listed);
}

// ---- JSON ---------------------------------------------------------------------

void say_json_text(struct output *out, const char *before, struct text value)
{
    output_string(out, before);
    wire_json_string(&out->line, value);
}

void say_json_number(struct output *out, const char *before, uint64_t number)
{
    output_format(out, "%s%" PRIu64, before, number);
}

void say_json_time(struct output *out, const char *before, uint64_t time_ns)
{
    output_format(out, "%s\"", before);
    output_time(out, time_ns);
    output_string(out, "\"");
}

void say_json_span(struct output *out, const char *before, uint64_t span_ns)
{
    output_format(out, "%s\"", before);
    duration_format(duration_of(span_ns), &out->line);
    output_string(out, "\"");
}
