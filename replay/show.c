// show: the state at a point.
#include <inttypes.h>

#include "base/duration.h"
#include "replay/kubernetes.h"
#include "replay/occurs.h"
#include "replay/say.h"
#include "replay/state_json.h"
#include "wire/wire.h"

#include "base/banned.h"

#define CONFIG_PROBLEM "the config of the state cannot be decoded"

static struct sm_filter filter_of(const struct options *o, struct text texts[3])
{
    texts[0] = text_from(o->type);
    texts[1] = text_from(o->state);
    texts[2] = text_from(o->owner);
    return (struct sm_filter){.types = &texts[0],
                              .types_count = o->type != NULL,
                              .states = &texts[1],
                              .states_count = o->state != NULL,
                              .owners = &texts[2],
                              .owners_count = o->owner != NULL};
}

// ---- for people ---------------------------------------------------------------

struct listing {
    struct replay *r;
    uint32_t count;
    uint32_t type, name, state, owner, time; // widths
};

static void widen(uint32_t *width, struct text t)
{
    uint32_t is = output_width(t);
    if (is > *width) *width = is;
}

static void widen_for_time(uint32_t *width, uint64_t time_ns)
{
    uint32_t is = output_time_width(time_ns);
    if (is > *width) *width = is;
}

static bool measure_resource(void *context, const struct sm_resource *r)
{
    struct listing *l = context;
    widen(&l->type, r->type);
    widen(&l->name, r->name);
    widen(&l->state, r->state);
    if (!text_is_empty(r->owner)) widen(&l->owner, r->owner);
    widen_for_time(&l->time, r->lastupdate_ns);
    l->count++;
    return true;
}

static bool print_resource(void *context, const struct sm_resource *r)
{
    struct listing *l = context;
    struct output *out = &l->r->out;
    output_cell(out, r->type, l->type);
    output_cell(out, r->name, l->name);
    output_cell(out, r->state, l->state);
    output_cell(out, text_is_empty(r->owner) ? TEXT("-") : r->owner, l->owner);
    if (r->has_expiration || r->userdata_count > 0)
        output_time_cell(out, r->lastupdate_ns, l->time);
    else
        output_time(out, r->lastupdate_ns);
    if (r->has_expiration) {
        output_string(out, "expires ");
        output_time(out, r->expiration_ns);
    }
    for (uint32_t i = 0; i < r->userdata_count; i++) {
        if (r->has_expiration || i > 0) output_string(out, i == 0 ? "  " : " ");
        output_word(out, r->userdata[i].key);
        output_string(out, "=");
        output_word(out, r->userdata[i].value);
    }
    output_string(out, "\n");
    output_drain(out);
    return true;
}

static void heading(struct output *out, const char *text)
{
    output_colour(out, COLOUR_BOLD);
    output_string(out, text);
    output_colour(out, COLOUR_NONE);
    output_string(out, "\n");
}

static void print_resources(struct replay *r, struct sm *sm)
{
    struct text texts[3];
    struct sm_filter filter = filter_of(r->options, texts);
    struct listing l = {.r = r, .type = 4, .name = 4, .state = 5, .owner = 5};
    (void)sm_list(sm, &filter, measure_resource, &l);
    if (l.count == 0) {
        output_string(&r->out, "no resources\n");
        return;
    }
    output_colour(&r->out, COLOUR_BOLD);
    output_cell(&r->out, TEXT("TYPE"), l.type);
    output_cell(&r->out, TEXT("NAME"), l.name);
    output_cell(&r->out, TEXT("STATE"), l.state);
    output_cell(&r->out, TEXT("OWNER"), l.owner);
    output_string(&r->out, "LAST UPDATE");
    output_colour(&r->out, COLOUR_NONE);
    output_string(&r->out, "\n");
    (void)sm_list(sm, &filter, print_resource, &l);
}

static bool is_listed(const struct listing *l, const struct sm_queue_entry *e)
{
    return option_fits(l->r->options->type, e->type) && option_fits(l->r->options->state, e->state);
}

static bool measure_entry(void *context, const struct sm_queue_entry *e)
{
    struct listing *l = context;
    if (!is_listed(l, e)) return true;
    widen(&l->type, e->type);
    widen(&l->state, e->state);
    widen(&l->name, e->request_id);
    widen_for_time(&l->time, e->first_poll_ns);
    l->count++;
    return true;
}

static bool print_entry(void *context, const struct sm_queue_entry *e)
{
    struct listing *l = context;
    struct output *out = &l->r->out;
    if (!is_listed(l, e)) return true;
    output_cell(out, e->type, l->type);
    output_cell(out, e->state, l->state);
    output_format(out, "%4" PRIu32 "  ", e->rank);
    output_cell(out, e->request_id, l->name);
    output_time_cell(out, e->first_poll_ns, l->time);
    output_time(out, e->deadline_ns);
    output_string(out, "\n");
    output_drain(out);
    return true;
}

static void print_queues(struct replay *r, struct sm *sm)
{
    struct listing l = {.r = r, .type = 4, .state = 5, .name = 7, .time = 5};
    sm_queues(sm, sm_time_ns(sm), measure_entry, &l);
    if (l.count == 0) return;
    output_string(&r->out, "\n");
    output_colour(&r->out, COLOUR_BOLD);
    output_cell(&r->out, TEXT("TYPE"), l.type);
    output_cell(&r->out, TEXT("STATE"), l.state);
    output_string(&r->out, "RANK  ");
    output_cell(&r->out, TEXT("REQUEST"), l.name);
    output_cell(&r->out, TEXT("SINCE"), l.time);
    output_string(&r->out, "EXPIRES");
    output_colour(&r->out, COLOUR_NONE);
    output_string(&r->out, "\n");
    sm_queues(sm, sm_time_ns(sm), print_entry, &l);
}

static void print_cycles(struct replay *r, struct sm *sm)
{
    const struct sm_life_cycle *cycles;
    uint32_t count, shown = 0;
    struct output *out = &r->out;
    sm_life_cycles(sm, &cycles, &count);
    for (uint32_t i = 0; i < count; i++) {
        const struct sm_life_cycle *c = &cycles[i];
        if (!option_fits(r->options->type, c->type)) continue;
        if (shown++ == 0) {
            output_string(out, "\n");
            heading(out, "LIFE CYCLES");
        }
        output_word(out, c->type);
        output_format(out, "  min %" PRId64 "  max %" PRId64 "  new ones ", c->min_count,
                      c->max_count);
        output_word(out, c->state);
        if (c->has_lifespan) {
            output_string(out, "  lifespan ");
            duration_format(c->lifespan_ns, &out->line);
        }
        output_string(out, c->is_fading ? "  fading\n" : "\n");
    }
}

static void print_config_entry(struct output *out, const struct sm_entry *e, uint32_t width)
{
    output_cell(out, e->type, width);
    if (e->is_dynamic) {
        output_format(out, "dynamic  min %" PRId64 "  max %" PRId64 "\n", e->min_count,
                      e->max_count);
    } else {
        output_string(out, "static   ");
        say_count(out, e->names_count, "name", "names");
        output_string(out, "\n");
    }
    output_drain(out);
}

// What it says of each type; all of it is in --json. It has no state and no owner.
static int print_config(struct replay *r, struct sm *sm)
{
    struct output *out = &r->out;
    const struct options *o = r->options;
    struct command c;
    uint32_t width = 4, shown = 0;
    if (!sm_has_config(sm) || o->state != NULL || o->owner != NULL) return 0;
    struct command_decoder *decoder = command_decoder_new();
    int err = command_decode(decoder, COMMAND_CONFIG, sm_config_bytes(sm), &c);
    const struct command_config *config = &c.as.config;
    for (uint32_t i = 0; err == 0 && i < config->entries_count; i++) {
        if (option_fits(o->type, config->entries[i].type)) widen(&width, config->entries[i].type);
    }
    for (uint32_t i = 0; err == 0 && i < config->entries_count; i++) {
        if (!option_fits(o->type, config->entries[i].type)) continue;
        if (shown++ == 0) {
            output_string(out, "\n");
            heading(out, "CONFIG");
        }
        print_config_entry(out, &config->entries[i], width);
    }
    command_decoder_free(decoder);
    return err == 0 ? 0 : replay_fail(r, err, CONFIG_PROBLEM);
}

static int show_readable(struct replay *r, struct sm *sm)
{
    output_colour(&r->out, COLOUR_DIM);
    if (sm_seq(sm) == 0)
        output_string(&r->out, "before the first command");
    else
        output_format(&r->out, "after command %" PRIu64 ", ", sm_seq(sm));
    if (sm_seq(sm) > 0) output_time(&r->out, sm_time_ns(sm));
    struct hash128 digest = sm_digest(sm);
    output_format(&r->out, ", digest %016" PRIx64 "%016" PRIx64, digest.high, digest.low);
    output_colour(&r->out, COLOUR_NONE);
    output_string(&r->out, "\n\n");
    print_resources(r, sm);
    print_queues(r, sm);
    print_cycles(r, sm);
    return print_config(r, sm);
}

int replay_show(struct replay *r)
{
    uint64_t at = 0;
    struct walk *w = NULL;
    int err = point_find(r->source, &r->span, &r->options->at, r->span.last, &at, &r->problem);
    if (err == 0) err = replay_walk(r, at, &w);
    if (err != 0) return err;
    struct text texts[3];
    struct sm_filter filter = filter_of(r->options, texts);
    struct occurs names;
    occurs_init(&names, r->options);
    occurs_in_state(&names, walk_state(w));
    if (!occurs_all(&names)) {
        walk_close(w); // one state at a time
        w = NULL;
        err = occurs_check(r, &names);
        if (err == 0) err = replay_walk(r, at, &w);
        if (err != 0) return err;
    }
    if (r->options->kubernetes) {
        err = replay_kubernetes(r, walk_state(w), &filter);
    } else if (r->options->json) {
        err = replay_state_json(&r->out, walk_state(w), &filter);
        if (err != 0) (void)replay_fail(r, err, CONFIG_PROBLEM);
    } else {
        err = show_readable(r, walk_state(w));
    }
    walk_leave(w);
    return err;
}
