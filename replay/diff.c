// diff: what differs between the states of two points, and by which command.
//
// `from` is always the earlier point. A resource or life cycle that differs has the last command
// that changed it and how many did; one that changed and is as it was, or was made and is gone
// again, is only counted. With --resource and --owner it is about resources only, with --type about
// resources, queues and life cycles of the type. What a resource was is kept from its first change
// on, so that no more is kept than is touched.
#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/duration.h"
#include "replay/changes.h"
#include "replay/diff_queues.h"
#include "replay/kept.h"
#include "replay/occurs.h"
#include "replay/say.h"
#include "statemachine/table.h"
#include "wire/wire.h"

#include "base/banned.h"

// A resource that was changed since the earlier point.
struct touched {
    struct table_item item;
    uint8_t kind; // of the last command that changed it; its owner and number:
    uint8_t name_size;
    bool was_there;
    uint32_t owner_size, before_size;
    char *owner;
    uint64_t seq, time_ns, changes;
    char bytes[]; // the name, and what it was, as kept.h has it
};

// Life cycles as sm_life_cycles tells them, kept.
struct cycles {
    struct buffer list, texts;
};

// The last command that changed the life cycle of a type, and how many did.
struct cycle_note {
    struct table_item item;
    uint8_t kind;
    uint32_t type_size;
    uint64_t seq, time_ns, changes;
    char type[];
};

struct diff {
    struct replay *r;
    struct walk *walk;
    uint64_t earlier, later;
    struct table touched;
    uint64_t returned; // of those that are no more in the table
    uint64_t differences;

    // Where queues are wanted: those of the earlier point, and life cycles, then and on the way.
    struct diff_queues *queues;
    struct cycles cycles, cycles_now;
    struct table cycle_notes;

    struct hash128 config; // of the earlier point
    uint64_t config_seq, config_time_ns, config_changes;

    struct buffer scratch, pairs;
};

static struct text touched_name(const struct touched *t)
{
    return text_of(t->bytes, t->name_size);
}

static bool has_name(const void *item, const void *key)
{
    return text_equal(touched_name(item), *(const struct text *)key);
}

static bool is_wanted(const char *filter, struct text t)
{
    return filter == NULL || text_equal(text_from(filter), t);
}

// The options fit what was, or what is.
static bool fits(const struct options *o, const struct sm_change *c)
{
    if (!is_wanted(o->resource, c->name)) return false;
    return (c->was_there && is_wanted(o->type, c->before.type) &&
            is_wanted(o->owner, c->before.owner)) ||
           (c->is_there && is_wanted(o->type, c->after.type) &&
            is_wanted(o->owner, c->after.owner));
}

// ---- from the earlier point to the later --------------------------------------------

static struct touched *touch(struct diff *d, const struct sm_change *c)
{
    uint32_t hash = (uint32_t)hash64(c->name.data, c->name.size, 0);
    struct touched *t = table_find(&d->touched, hash, has_name, &c->name);
    if (t != NULL) return t;
    buffer_clear(&d->scratch);
    if (c->was_there) kept_write(&c->before, &d->scratch);
    t = must_malloc(sizeof(*t) + c->name.size + d->scratch.size);
    *t = (struct touched){.item = {hash},
                          .name_size = (uint8_t)c->name.size,
                          .was_there = c->was_there,
                          .before_size = (uint32_t)d->scratch.size};
    memcpy(t->bytes, c->name.data, c->name.size);
    if (d->scratch.size > 0) memcpy(t->bytes + c->name.size, d->scratch.data, d->scratch.size);
    table_add(&d->touched, t);
    return t;
}

static void touched_free(struct touched *t)
{
    free(t->owner);
    free(t);
}

static void set_owner(struct touched *t, struct text owner)
{
    if (owner.size > t->owner_size || t->owner == NULL)
        t->owner = must_realloc(t->owner, (size_t)owner.size + 1);
    if (owner.size > 0) memcpy(t->owner, owner.data, owner.size);
    t->owner_size = owner.size;
}

static void note_change(struct diff *d, const struct command *command, const struct sm_change *c)
{
    const struct options *o = d->r->options;
    if (!is_wanted(o->resource, c->name)) return;
    struct touched *t = touch(d, c);
    if (!t->was_there && !c->is_there) { // it was made and is gone again: of no point is it
        struct sm_change gone = {.name = c->name, .was_there = true, .before = c->before};
        d->returned += fits(o, &gone);
        table_remove(&d->touched, t);
        touched_free(t);
        return;
    }
    t->seq = command->seq;
    t->time_ns = command->time_ns;
    t->kind = (uint8_t)command->kind;
    t->changes++;
    set_owner(t, command_owner(command));
}

// ---- life cycles on the way ---------------------------------------------------------

static struct text keep_text(struct buffer *texts, struct text t)
{
    buffer_text(texts, t);
    return text_of(NULL, t.size); // its place is found when all are there
}

static const struct sm_life_cycle *cycles_list(const struct cycles *c, uint32_t *ret_count)
{
    *ret_count = (uint32_t)(c->list.size / sizeof(struct sm_life_cycle));
    return (const struct sm_life_cycle *)(const void *)c->list.data;
}

static void cycles_take(struct sm *sm, struct cycles *c)
{
    const struct sm_life_cycle *cycles;
    uint32_t count;
    buffer_clear(&c->list);
    buffer_clear(&c->texts);
    sm_life_cycles(sm, &cycles, &count);
    for (uint32_t i = 0; i < count; i++) {
        struct sm_life_cycle one = cycles[i];
        one.type = keep_text(&c->texts, one.type);
        one.state = keep_text(&c->texts, one.state);
        buffer_append(&c->list, &one, sizeof(one));
    }
    struct sm_life_cycle *kept = (struct sm_life_cycle *)(void *)c->list.data;
    const char *text = c->texts.data;
    for (uint32_t i = 0; i < count; i++) {
        kept[i].type.data = text;
        kept[i].state.data = text + kept[i].type.size;
        text = kept[i].state.data + kept[i].state.size;
    }
}

static void cycles_release(struct cycles *c)
{
    buffer_release(&c->list);
    buffer_release(&c->texts);
}

// The fields of a life cycle that are shown.
struct cycle_fields {
    bool state, min_count, max_count, lifespan;
};

static struct cycle_fields cycle_fields(const struct sm_life_cycle *a,
                                        const struct sm_life_cycle *b)
{
    if (a == NULL || b == NULL) return (struct cycle_fields){true, true, true, true};
    return (struct cycle_fields){.state = !text_equal(a->state, b->state),
                                 .min_count = a->min_count != b->min_count,
                                 .max_count = a->max_count != b->max_count,
                                 .lifespan = a->has_lifespan != b->has_lifespan ||
                                             a->lifespan_ns != b->lifespan_ns};
}

// Goes through both lists, which are sorted by type, and tells `each` of what differs.
static void
cycles_compare(const struct cycles *from, const struct sm_life_cycle *to, uint32_t to_count,
               void (*each)(void *context, const struct sm_life_cycle *a,
                            const struct sm_life_cycle *b, const struct cycle_fields *f),
               void *context)
{
    uint32_t from_count, i = 0, j = 0;
    const struct sm_life_cycle *list = cycles_list(from, &from_count);
    while (i < from_count || j < to_count) {
        int order = i == from_count ? 1
                    : j == to_count ? -1
                                    : text_compare(list[i].type, to[j].type);
        const struct sm_life_cycle *a = order <= 0 ? &list[i++] : NULL;
        const struct sm_life_cycle *b = order >= 0 ? &to[j++] : NULL;
        struct cycle_fields f = cycle_fields(a, b);
        if (f.state || f.min_count || f.max_count || f.lifespan) each(context, a, b, &f);
    }
}

static bool is_note_of(const void *item, const void *key)
{
    const struct cycle_note *n = item;
    return text_equal(text_of(n->type, n->type_size), *(const struct text *)key);
}

static struct cycle_note *cycle_note(const struct diff *d, struct text type)
{
    return table_find(&d->cycle_notes, (uint32_t)hash64(type.data, type.size, 0), is_note_of,
                      &type);
}

struct noting {
    struct diff *d;
    const struct command *command;
};

static void note_cycle(void *context, const struct sm_life_cycle *a, const struct sm_life_cycle *b,
                       const struct cycle_fields *f)
{
    const struct noting *noting = context;
    struct text type = a != NULL ? a->type : b->type;
    struct cycle_note *n = cycle_note(noting->d, type);
    (void)f;
    if (n == NULL) {
        n = must_calloc(1, sizeof(*n) + type.size);
        n->item.hash = (uint32_t)hash64(type.data, type.size, 0);
        n->type_size = type.size;
        if (type.size > 0) memcpy(n->type, type.data, type.size);
        table_add(&noting->d->cycle_notes, n);
    }
    n->seq = noting->command->seq;
    n->time_ns = noting->command->time_ns;
    n->kind = (uint8_t)noting->command->kind;
    n->changes++;
}

static void note_cycles(struct diff *d, const struct command *c, bool has_less)
{
    struct noting noting = {d, c};
    const struct sm_life_cycle *cycles;
    uint32_t count;
    if (c->kind != COMMAND_CONFIG && c->kind != COMMAND_IMPORT && !has_less) return;
    sm_life_cycles(walk_state(d->walk), &cycles, &count);
    cycles_compare(&d->cycles_now, cycles, count, note_cycle, &noting);
    cycles_take(walk_state(d->walk), &d->cycles_now);
}

static struct hash128 config_hash(struct sm *sm)
{
    struct text bytes = sm_config_bytes(sm); // empty without one: no config has these
    return hash128(bytes.size > 0 ? bytes.data : "", bytes.size);
}

static int go_on(struct diff *d)
{
    struct replay *r = d->r;
    const struct walk_step *step = NULL;
    struct sm *sm = walk_state(d->walk);
    struct hash128 config = d->config;
    walk_trace(d->walk);
    progress_begin(&r->progress, "commands");
    while (sm_seq(sm) < d->later) {
        int err = walk_next(d->walk, &step, &r->problem);
        if (err == BOSKOS_E_NOT_FOUND)
            return replay_fail(r, err, "the log ends before command %" PRIu64, d->later);
        if (err != 0) return err;
        struct sm_change change;
        bool has_less = false; // a type may have lost its last resource, and its life cycle
        uint32_t count = walk_changes(d->walk);
        for (uint32_t i = 0; i < count; i++) {
            walk_change(d->walk, i, &change);
            note_change(d, &step->command, &change);
            has_less |= change.was_there &&
                        (!change.is_there || !text_equal(change.before.type, change.after.type));
        }
        if (d->queues != NULL) diff_queues_step(d->queues, d->walk, step);
        if (d->queues != NULL) note_cycles(d, &step->command, has_less);
        struct hash128 now = step->command.kind == COMMAND_CONFIG ? config_hash(sm) : config;
        if (!hash128_equal(now, config)) {
            config = now;
            d->config_seq = step->command.seq;
            d->config_time_ns = step->command.time_ns;
            d->config_changes++;
        }
        progress_said(&r->progress, sm_seq(sm) - d->earlier, d->later - d->earlier);
    }
    progress_end(&r->progress);
    return 0;
}

// ---- resources ----------------------------------------------------------------------

static void print_json(struct diff *d, const struct touched *t, const struct sm_change *c)
{
    struct output *out = &d->r->out;
    wire_json_change(c, &out->line);
    out->line.size--; // its brace: more follows
    say_json_number(out, ",\"seq\":", t->seq);
    say_json_time(out, ",\"time\":", t->time_ns);
    output_format(out, ",\"kind\":\"%s\"", command_kind_name(t->kind));
    if (t->owner_size > 0) say_json_text(out, ",\"owner\":", text_of(t->owner, t->owner_size));
    output_format(out, ",\"changes\":%" PRIu64 "}\n", t->changes);
}

static const char *what_happened(const struct touched *t, const struct sm_change *c)
{
    if (!c->is_there) return "removed";
    if (!c->was_there) return t->changes > 1 ? "made, last changed" : "made";
    return t->changes > 1 ? "last changed" : "changed";
}

static void print_readable(struct diff *d, const struct touched *t, const struct sm_change *c)
{
    struct output *out = &d->r->out;
    output_colour(out, COLOUR_BOLD);
    output_word(out, c->name);
    output_colour(out, COLOUR_NONE);
    output_format(out, "  %s by %" PRIu64 " ", what_happened(t, c), t->seq);
    output_time(out, t->time_ns);
    output_format(out, " %s", command_kind_name(t->kind));
    if (t->owner_size > 0) {
        output_string(out, " of ");
        output_word(out, text_of(t->owner, t->owner_size));
    }
    if (t->changes > 1) output_format(out, ", of %" PRIu64 " changes", t->changes);
    output_string(out, "\n");
    output_change(out, c);
}

static void print_touched(struct diff *d, const struct touched *t)
{
    struct sm_change c = {.name = touched_name(t), .was_there = t->was_there};
    if (t->was_there)
        kept_read(c.name, text_of(t->bytes + t->name_size, t->before_size), &d->pairs, &c.before);
    c.is_there = sm_find(walk_state(d->walk), c.name, &c.after) == 0;
    if (!fits(d->r->options, &c)) return;
    if (c.was_there && c.is_there && sm_same_resource(&c.before, &c.after)) {
        d->returned++;
        return;
    }
    d->differences++;
    if (d->r->options->json)
        print_json(d, t, &c);
    else
        print_readable(d, t, &c);
    output_drain(&d->r->out);
}

static int by_name(const void *a, const void *b)
{
    const struct touched *x = *(const struct touched *const *)a;
    const struct touched *y = *(const struct touched *const *)b;
    return text_compare(touched_name(x), touched_name(y));
}

static void print_resources(struct diff *d)
{
    uint32_t at = 0, count = 0;
    if (d->touched.count == 0) return;
    struct touched **sorted = must_malloc(d->touched.count * sizeof(struct touched *));
    for (struct touched *t; (t = table_next(&d->touched, &at)) != NULL;)
        sorted[count++] = t;
    qsort(sorted, count, sizeof(struct touched *), by_name);
    for (uint32_t i = 0; i < count; i++)
        print_touched(d, sorted[i]);
    free(sorted);
}

// ---- life cycles and config -----------------------------------------------------------

static void print_cycle(struct output *out, const struct sm_life_cycle *c,
                        const struct cycle_fields *f, bool is_json)
{
    const char *next = is_json ? "{" : "";
    const char *between = is_json ? "," : " ";
    const char *quote = is_json ? "\"" : "";
    const char *colon = is_json ? ":" : " ";
    if (c == NULL) {
        output_string(out, is_json ? "null" : "none");
        return;
    }
    if (f->state) {
        output_format(out, "%s%sstate%s%s", next, quote, quote, colon);
        next = between;
        if (is_json)
            wire_json_string(&out->line, c->state);
        else
            output_word(out, c->state);
    }
    if (f->min_count) {
        output_format(out, "%s%smin-count%s%s%" PRId64, next, quote, quote, colon, c->min_count);
        next = between;
    }
    if (f->max_count) {
        output_format(out, "%s%smax-count%s%s%" PRId64, next, quote, quote, colon, c->max_count);
        next = between;
    }
    if (f->lifespan) {
        output_format(out, "%s%slifespan%s%s", next, quote, quote, colon);
        if (!c->has_lifespan) {
            output_string(out, is_json ? "null" : "-");
        } else {
            output_string(out, quote);
            duration_format(c->lifespan_ns, &out->line);
            output_string(out, quote);
        }
    }
    if (is_json) output_string(out, "}");
}

static void say_cycle_note(struct output *out, const struct cycle_note *n, bool is_json)
{
    if (is_json) {
        say_json_number(out, ",\"seq\":", n->seq);
        say_json_time(out, ",\"time\":", n->time_ns);
        output_format(out, ",\"kind\":\"%s\",\"changes\":%" PRIu64 "}\n",
                      command_kind_name(n->kind), n->changes);
        return;
    }
    output_format(out, "; %s %" PRIu64 " ", n->changes > 1 ? "last by" : "by", n->seq);
    output_time(out, n->time_ns);
    output_format(out, " %s", command_kind_name(n->kind));
    if (n->changes > 1) output_format(out, ", of %" PRIu64 " changes", n->changes);
    output_string(out, "\n");
}

// Of two life cycles of a type one may be NULL.
static void print_cycles_of(void *context, const struct sm_life_cycle *a,
                            const struct sm_life_cycle *b, const struct cycle_fields *f)
{
    struct diff *d = context;
    struct output *out = &d->r->out;
    bool is_json = d->r->options->json;
    struct text type = a != NULL ? a->type : b->type;
    if (!is_wanted(d->r->options->type, type)) return;
    const struct cycle_note *note = cycle_note(d, type);
    ASSERT(note != NULL); // nothing else changes them
    d->differences++;
    if (is_json) {
        say_json_text(out, "{\"dynamic\":", type);
        output_string(out, ",\"from\":");
    } else {
        output_string(out, "life cycle ");
        output_word(out, type);
        output_string(out, ": ");
    }
    print_cycle(out, a, f, is_json);
    output_string(out, is_json ? ",\"to\":" : " -> ");
    print_cycle(out, b, f, is_json);
    say_cycle_note(out, note, is_json);
    output_drain(out);
}

static void print_cycles(struct diff *d)
{
    const struct sm_life_cycle *cycles;
    uint32_t count;
    sm_life_cycles(walk_state(d->walk), &cycles, &count);
    cycles_compare(&d->cycles, cycles, count, print_cycles_of, d);
}

static void print_config(struct diff *d)
{
    struct output *out = &d->r->out;
    if (hash128_equal(config_hash(walk_state(d->walk)), d->config)) return;
    d->differences++;
    if (d->r->options->json) {
        say_json_number(out, "{\"config\":{\"seq\":", d->config_seq);
        say_json_time(out, ",\"time\":", d->config_time_ns);
        output_format(out, ",\"changes\":%" PRIu64 "}}\n", d->config_changes);
        return;
    }
    output_format(out, "config  changed by %" PRIu64 " ", d->config_seq);
    output_time(out, d->config_time_ns);
    if (d->config_changes > 1)
        output_format(out, ", the last of %" PRIu64 " changes", d->config_changes);
    output_string(out, "\n");
}

// ---- all of it ------------------------------------------------------------------------

static void print_rest(struct diff *d)
{
    struct output *out = &d->r->out;
    bool is_json = d->r->options->json;
    if (d->differences == 0 && is_json) return;
    if (d->differences == 0)
        output_format(out, "no difference between %" PRIu64 " and %" PRIu64 "\n", d->earlier,
                      d->later);
    if (d->returned == 0) return;
    if (is_json) {
        output_format(out, "{\"returned\":%" PRIu64 "}\n", d->returned);
        return;
    }
    say_count(out, d->returned, "resource changed in between and is as before\n",
              "resources changed in between and are as before\n");
}

// No difference is an answer about names that occur.
static int check_names(struct diff *d, struct occurs *names)
{
    occurs_in_state(names, walk_state(d->walk));
    if (occurs_all(names)) return 0;
    walk_close(d->walk); // one state at a time
    d->walk = NULL;
    return occurs_check(d->r, names);
}

static int compare(struct diff *d)
{
    const struct options *o = d->r->options;
    struct sm *sm = walk_state(d->walk);
    bool has_queues = o->resource == NULL && o->owner == NULL;
    struct occurs names;
    occurs_init(&names, o);
    occurs_in_state(&names, sm);
    d->config = config_hash(sm);
    if (has_queues) {
        d->queues = diff_queues_take(d->walk, o->type);
        cycles_take(sm, &d->cycles);
        cycles_take(sm, &d->cycles_now);
    }
    int err = go_on(d);
    if (err == 0 && has_queues) err = diff_queues_end(d->queues, d->r, d->walk);
    if (err != 0) return err;
    print_resources(d);
    if (has_queues) {
        d->differences += diff_queues_print(d->queues, d->r, d->walk);
        print_cycles(d);
    }
    if (has_queues && o->type == NULL) print_config(d);
    if (d->differences == 0 && d->returned == 0) err = check_names(d, &names);
    if (err == 0) print_rest(d);
    return err;
}

static void diff_release(struct diff *d)
{
    uint32_t at = 0;
    for (struct touched *t; (t = table_next(&d->touched, &at)) != NULL;)
        touched_free(t);
    table_release(&d->touched);
    at = 0;
    for (struct cycle_note *n; (n = table_next(&d->cycle_notes, &at)) != NULL;)
        free(n);
    table_release(&d->cycle_notes);
    diff_queues_free(d->queues);
    cycles_release(&d->cycles);
    cycles_release(&d->cycles_now);
    buffer_release(&d->scratch);
    buffer_release(&d->pairs);
    walk_leave(d->walk);
}

int replay_diff(struct replay *r)
{
    struct diff d = {.r = r};
    uint64_t seqs[2] = {0, 0};
    for (uint32_t i = 0; i < 2; i++) {
        struct point p;
        if (!point_parse(r->options->arguments[i], &p)) // options_read saw that it is one
            return replay_fail(r, BOSKOS_E_MALFORMED, "%s is no point", r->options->arguments[i]);
        int err = point_find(r->source, &r->span, &p, 0, &seqs[i], &r->problem);
        if (err != 0) return err;
    }
    d.earlier = seqs[0] < seqs[1] ? seqs[0] : seqs[1];
    d.later = seqs[0] < seqs[1] ? seqs[1] : seqs[0];
    int err = replay_walk(r, d.earlier, &d.walk);
    if (err == 0) err = compare(&d);
    diff_release(&d);
    return err;
}
