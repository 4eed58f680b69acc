// diff: what differs between the states of two points, and by which command.
//
// `from` is always the earlier point. A resource or life cycle that differs has the last command
// that changed it and how many did; one that changed and is as it was, or was made and is gone
// again, is only counted. With --resource and --owner it is about resources only, with --type about
// resources, queues and life cycles of the type.
#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/duration.h"
#include "replay/diff_queues.h"
#include "replay/diff_resources.h"
#include "replay/occurs.h"
#include "replay/say.h"
#include "replay/spool.h"
#include "statemachine/table.h"
#include "wire/wire.h"

#include "base/banned.h"

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
    uint64_t earlier, later;
    struct diff_resources *resources;
    uint64_t differences; // beside those
    struct spool *spool;  // when it is done in parts: nothing is printed before all is known

    struct diff_queues *queues; // NULL: they are not wanted, nor life cycles
    bool queues_wait;           // there are too many requests to be taken beside the resources

    // Of one way from the earlier point to the later: life cycles, of the earlier point and on the
    // way.
    struct walk *walk;
    struct cycles cycles, cycles_now;
    struct table cycle_notes;

    struct hash128 config; // of the earlier point
    uint64_t config_seq, config_time_ns, config_changes;
};

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
        ASSERT(a != NULL || b != NULL);
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
    while (sm_seq(sm) < d->later && !diff_resources_is_full(d->resources)) {
        int err = walk_next(d->walk, &step, &r->problem);
        if (err == BOSKOS_E_NOT_FOUND)
            return replay_fail(r, err, "the log ends before command %" PRIu64, d->later);
        if (err != 0) return err;
        struct sm_change change;
        bool has_less = false; // a type may have lost its last resource, and its life cycle
        uint32_t count = walk_changes(d->walk);
        for (uint32_t i = 0; i < count; i++) {
            walk_change(d->walk, i, &change);
            diff_resources_note(d->resources, &step->command, &change);
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
    if (!option_fits(d->r->options->type, type)) return;
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

static void way_release(struct diff *d)
{
    uint32_t at = 0;
    for (struct cycle_note *n; (n = table_next(&d->cycle_notes, &at)) != NULL;)
        free(n);
    table_release(&d->cycle_notes);
    d->config_changes = 0;
}

// From the earlier point to the later, or until there are too many resources.
static int go(struct diff *d, struct occurs *names)
{
    way_release(d);
    diff_resources_begin(d->resources);
    walk_close(d->walk);
    d->walk = NULL;
    int err = replay_walk(d->r, d->earlier, &d->walk);
    if (err != 0) return err;
    struct sm *sm = walk_state(d->walk);
    occurs_in_state(names, sm);
    d->config = config_hash(sm);
    if (d->queues != NULL) {
        diff_queues_begin(d->queues, d->walk);
        d->queues_wait = diff_queues_is_large(d->queues) && !diff_resources_is_over(d->resources);
        if (d->queues_wait) diff_queues_forget(d->queues);
        cycles_take(sm, &d->cycles);
        cycles_take(sm, &d->cycles_now);
    }
    err = go_on(d);
    if (err != 0 || d->queues == NULL || diff_resources_is_full(d->resources)) return err;
    return diff_queues_end(d->queues, d->r, d->walk);
}

static int compare_resources(struct diff *d, struct occurs *names)
{
    bool has_more = true;
    while (has_more) {
        int err = go(d, names);
        if (err != 0) return err;
        if (diff_resources_is_full(d->resources)) continue;
        if (d->spool == NULL && (diff_resources_is_part(d->resources) || d->queues_wait)) {
            err = spool_begin(d->r, &d->spool);
            if (err != 0) return err;
        }
        diff_resources_print(d->resources, d->r, d->walk);
        has_more = diff_resources_next(d->resources);
    }
    return 0;
}

// Those of the way that was gone for the last resources, if they were few, and then the others.
static int compare_queues(struct diff *d, struct occurs *names)
{
    int err = d->queues_wait ? go(d, names) : 0;
    while (err == 0) {
        d->differences += diff_queues_print(d->queues, d->r, d->walk);
        if (!diff_queues_next(d->queues)) break;
        err = go(d, names);
    }
    return err;
}

static void print_rest(struct diff *d, uint64_t differences, uint64_t returned)
{
    struct output *out = &d->r->out;
    bool is_json = d->r->options->json;
    if (differences == 0 && is_json) return;
    if (differences == 0)
        output_format(out, "no difference between %" PRIu64 " and %" PRIu64 "\n", d->earlier,
                      d->later);
    if (returned == 0) return;
    if (is_json) {
        output_format(out, "{\"returned\":%" PRIu64 "}\n", returned);
        return;
    }
    say_count(out, returned, "resource changed in between and is as before\n",
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
    struct occurs names;
    occurs_init(&names, d->r->options);
    int err = compare_resources(d, &names);
    if (err == 0 && d->queues != NULL) err = compare_queues(d, &names);
    if (err != 0) return err;
    if (d->queues != NULL) {
        print_cycles(d);
        if (d->r->options->type == NULL) print_config(d);
    }
    uint64_t differences = d->differences + diff_resources_differences(d->resources);
    uint64_t returned = diff_resources_returned(d->resources);
    if (differences == 0 && returned == 0) err = check_names(d, &names);
    if (err == 0) print_rest(d, differences, returned);
    return err;
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
    d.resources = diff_resources_new(r->options);
    if (r->options->resource == NULL && r->options->owner == NULL)
        d.queues = diff_queues_new(r->options->type);
    int err = compare(&d);
    if (d.spool != NULL) err = spool_end(d.spool, err);
    way_release(&d);
    cycles_release(&d.cycles);
    cycles_release(&d.cycles_now);
    diff_resources_free(d.resources);
    diff_queues_free(d.queues);
    walk_leave(d.walk);
    return err;
}
