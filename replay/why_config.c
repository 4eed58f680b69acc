// What a config changed, and what stays until its owner lets it go.
#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "replay/why.h"

#include "base/banned.h"

// ---- life cycles ------------------------------------------------------------------

struct cycle {
    struct text type;
    uint32_t order; // in the config: the last one counts
    int64_t min_count, max_count;
};

struct cycles {
    struct cycle *list; // by type
    uint32_t count;
};

static int by_type(const void *a, const void *b)
{
    const struct cycle *x = a, *y = b;
    int order = text_compare(x->type, y->type);
    return order != 0 ? order : (x->order > y->order) - (x->order < y->order);
}

// Texts are borrowed from the entries.
static struct cycles cycles_of(const struct sm_entry *entries, uint32_t count)
{
    struct cycles s = {.list = must_calloc((size_t)count + 1, sizeof(s.list[0]))};
    for (uint32_t i = 0; i < count; i++) {
        const struct sm_entry *e = &entries[i];
        if (!e->is_dynamic) continue;
        s.list[s.count++] = (struct cycle){e->type, i, e->min_count, e->max_count};
    }
    if (s.count > 1) qsort(s.list, s.count, sizeof(s.list[0]), by_type);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < s.count; i++) {
        bool is_last = i + 1 == s.count || !text_equal(s.list[i].type, s.list[i + 1].type);
        if (is_last) s.list[kept++] = s.list[i];
    }
    s.count = kept;
    return s;
}

// Those of the state as it is now: of the config in force, or of an import that waits for one. The
// texts are borrowed from the state.
static int cycles_in_force(struct why *y, struct command_decoder *decoder,
                           struct cycles *ret_cycles)
{
    struct command c;
    struct text imported = sm_imported_bytes(walk_state(y->walk));
    if (imported.size == 0) {
        int err = why_config_in_force(y, decoder, &c);
        if (err == 0) *ret_cycles = cycles_of(c.as.config.entries, c.as.config.entries_count);
        return err;
    }
    int err = command_decode(decoder, COMMAND_IMPORT, imported, &c);
    if (err != 0) return replay_fail(y->r, err, "the import of the state cannot be decoded");
    *ret_cycles = cycles_of(c.as.import.cycles, c.as.import.cycles_count);
    return 0;
}

static void say_side(struct why *y, const char *before, const struct cycle *c)
{
    struct output *out = y->out;
    output_string(out, before);
    if (c == NULL)
        output_string(out, y->is_json ? "null" : "none");
    else
        output_format(out,
                      y->is_json ? "{\"min-count\":%" PRId64 ",\"max-count\":%" PRId64 "}"
                                 : "%" PRId64 " to %" PRId64,
                      c->min_count, c->max_count);
}

static void say_cycle(struct why *y, uint64_t said, struct text type, const struct cycle *from,
                      const struct cycle *to)
{
    struct output *out = y->out;
    if (y->is_json) {
        say_json_text(out, said == 1 ? "{\"type\":" : ",{\"type\":", type);
        say_side(y, ",\"from\":", from);
        say_side(y, ",\"to\":", to);
        output_string(out, "}");
        return;
    }
    if (said > SAY_MOST) return;
    say_label(out, "life cycle");
    output_word(out, type);
    say_side(y, ": from ", from);
    say_side(y, ", now ", to);
    output_string(out, "\n");
}

static void say_cycles(struct why *y, const struct cycles *from, const struct cycles *to)
{
    uint32_t i = 0, j = 0;
    uint64_t said = 0;
    while (i < from->count || j < to->count) {
        int order = i == from->count ? 1 : -1;
        if (i < from->count && j < to->count)
            order = text_compare(from->list[i].type, to->list[j].type);
        struct text type = order <= 0 ? from->list[i].type : to->list[j].type;
        const struct cycle *a = order <= 0 ? &from->list[i++] : NULL;
        const struct cycle *b = order >= 0 ? &to->list[j++] : NULL;
        bool is_same =
            a != NULL && b != NULL && a->min_count == b->min_count && a->max_count == b->max_count;
        if (!is_same) say_cycle(y, ++said, type, a, b);
    }
    if (!y->is_json) say_more(y->out, said);
}

// ---- what stays ----------------------------------------------------------------------

// Borrowed from the command: a config may have as many as there are resources.
struct static_name {
    const struct text *name, *type;
};

struct staying {
    struct why *y;
    struct static_name *names; // of the new config, by name
    size_t names_count;
    const struct sm_life_cycle *cycles; // of the state after, by type
    uint32_t cycles_count;
    uint64_t count;
};

static int by_name(const void *a, const void *b)
{
    const struct static_name *x = a, *y = b;
    return text_compare(*x->name, *y->name);
}

static void take_names(struct staying *s, const struct command_config *c)
{
    for (uint32_t i = 0; i < c->entries_count; i++)
        s->names_count += c->entries[i].names_count;
    s->names = must_calloc(s->names_count + 1, sizeof(s->names[0]));
    size_t at = 0;
    for (uint32_t i = 0; i < c->entries_count; i++) {
        for (uint32_t j = 0; j < c->entries[i].names_count; j++)
            s->names[at++] = (struct static_name){&c->entries[i].names[j], &c->entries[i].type};
    }
    if (at > 1) qsort(s->names, at, sizeof(s->names[0]), by_name);
}

static const struct sm_life_cycle *cycle_of(const struct staying *s, struct text type)
{
    uint32_t low = 0, high = s->cycles_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (text_compare(s->cycles[middle].type, type) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    bool is_there = low < s->cycles_count && text_equal(s->cycles[low].type, type);
    return is_there ? &s->cycles[low] : NULL;
}

// NULL: the config has it as it is.
static const char *why_staying(const struct staying *s, const struct sm_resource *r)
{
    struct static_name key = {.name = &r->name};
    const struct static_name *name =
        s->names_count == 0 ? NULL : bsearch(&key, s->names, s->names_count, sizeof(key), by_name);
    if (name != NULL) return text_equal(*name->type, r->type) ? NULL : "retyped";
    const struct sm_life_cycle *cycle = cycle_of(s, r->type);
    if (cycle == NULL) return "removed";
    return cycle->is_fading ? "fading" : NULL;
}

static bool say_staying(void *context, const struct sm_resource *r)
{
    struct staying *s = context;
    struct output *out = s->y->out;
    if (text_is_empty(r->owner)) return true;
    const char *why = why_staying(s, r);
    if (why == NULL) return true;
    s->count++;
    if (s->y->is_json) {
        say_json_text(out, s->count == 1 ? "{\"resource\":" : ",{\"resource\":", r->name);
        say_json_text(out, ",\"type\":", r->type);
        say_json_text(out, ",\"owner\":", r->owner);
        output_format(out, ",\"why\":\"%s\"}", why);
        output_drain(out);
        return true;
    }
    if (s->count == 1) output_string(out, "not in the config, and there until released\n");
    if (s->count > SAY_MOST) return true;
    output_string(out, "  ");
    output_word(out, r->name);
    output_format(out, "  %s, held by ", why);
    output_word(out, r->owner);
    say_heard(out, s->y->time_ns - r->lastupdate_ns);
    output_string(out, "\n");
    return true;
}

static void say_all_staying(struct why *y, const struct command_config *c)
{
    struct staying s = {.y = y};
    struct sm *sm = walk_state(y->walk);
    struct sm_filter all = {0};
    const struct sm_life_cycle *cycles = NULL;
    take_names(&s, c);
    sm_life_cycles(sm, &cycles, &s.cycles_count);
    // Borrowed until the next query.
    struct sm_life_cycle *copy = must_calloc((size_t)s.cycles_count + 1, sizeof(*copy));
    for (uint32_t i = 0; i < s.cycles_count; i++)
        copy[i] = cycles[i];
    s.cycles = copy;
    (void)sm_list(sm, &all, say_staying, &s);
    if (!y->is_json) say_more(y->out, s.count);
    free(copy);
    free(s.names);
}

// ---- the answer ----------------------------------------------------------------------

static void say_counts(struct why *y)
{
    struct sm_change change;
    uint64_t made = 0, removed = 0;
    uint32_t count = walk_changes(y->walk);
    for (uint32_t i = 0; i < count; i++) {
        walk_change(y->walk, i, &change);
        made += !change.was_there;
        removed += !change.is_there;
    }
    output_format(y->out, "%" PRIu64 " made, %" PRIu64 " removed, %" PRIu64 " changed\n", made,
                  removed, count - made - removed);
}

// What is to be said of life cycles: it is told from the state before.
static int note_cycles(struct why *y, const struct command_config *c, struct buffer *out)
{
    struct cycles from = {0};
    struct command_decoder *decoder = command_decoder_new();
    int err = cycles_in_force(y, decoder, &from);
    command_decoder_free(decoder);
    if (err != 0) return err;
    struct cycles to = cycles_of(c->entries, c->entries_count);
    size_t size = y->out->line.size;
    say_cycles(y, &from, &to);
    buffer_append(out, y->out->line.data + size, y->out->line.size - size);
    y->out->line.size = size;
    free(from.list);
    free(to.list);
    return 0;
}

int why_config(struct why *y)
{
    struct buffer cycles;
    buffer_init(&cycles);
    const struct command_config *c = &y->step->command.as.config;
    int err = note_cycles(y, c, &cycles);
    if (err == 0) err = why_apply(y);
    if (err == 0) {
        why_say_head(y, OUTCOME_DONE, SM_OK);
        if (y->is_json)
            output_string(y->out, ",\"life-cycles\":[");
        else
            say_counts(y);
        buffer_text(&y->out->line, buffer_as_text(&cycles));
        if (y->is_json) output_string(y->out, "],\"staying\":[");
        say_all_staying(y, c);
        if (y->is_json) output_string(y->out, "]");
        why_say_tail(y, SAID_NOTHING);
    }
    buffer_release(&cycles);
    return err;
}
