// who: the holder of a resource at a point. held-by: all that an owner held. In both for each lease
// since which command, and how it ended.
#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "replay/say_lease.h"
#include "replay/spool.h"

#include "base/banned.h"

struct point_of_time {
    uint64_t seq, time_ns;
};

static void json_point(struct output *out, struct point_of_time p)
{
    say_json_number(out, "{\"seq\":", p.seq);
    say_json_time(out, ",\"time\":", p.time_ns);
}

static void json_last(struct replay *r)
{
    say_json_number(&r->out, ",\"last\":{\"seq\":", r->span.last);
    say_json_time(&r->out, ",\"time\":", r->span.last_time_ns);
    output_string(&r->out, "}");
}

static void json_resource(struct output *out, const char *before, const struct lease *l)
{
    say_json_text(out, before, l->name);
    say_json_text(out, ",\"type\":", l->type);
    say_json_text(out, ",\"state\":", l->state);
}

static void say_end(struct replay *r, const struct lease *l)
{
    struct output *out = &r->out;
    if (l->end.seq != 0) {
        say_lease_end(out, l);
    } else {
        output_string(out, "not by the end of the log: ");
        say_command(out, r->span.last, r->span.last_time_ns);
    }
}

// ---- who ------------------------------------------------------------------------

static void who_json(struct replay *r, const struct lease *l, struct point_of_time p, bool is_held)
{
    struct output *out = &r->out;
    json_point(out, p);
    json_resource(out, ",\"resource\":", l);
    say_json_text(out, ",\"owner\":", is_held ? l->owner : TEXT(""));
    say_json_time(out, ",\"lastupdate\":", l->lastupdate_ns);
    if (is_held) {
        output_string(out, ",\"lease\":{");
        say_json_lease(out, l);
        say_json_lease_end(out, l);
        output_string(out, "}");
    } else {
        say_json_past_lease(out, ",\"lease\":null,\"before\":", l);
    }
    json_last(r);
    output_string(out, "}\n");
}

static void say_held(struct replay *r, const struct lease *l, struct point_of_time p)
{
    struct output *out = &r->out;
    say_label(out, "held by");
    output_word(out, l->owner);
    output_string(out, ", in state ");
    output_word(out, l->state);
    output_string(out, "\n");
    say_label(out, "since");
    say_lease_begin(out, l, p.time_ns);
    output_string(out, "\n");
    say_label(out, "heartbeats");
    say_lease_heartbeats(out, l, p.time_ns);
    output_string(out, "\n");
    say_label(out, "ended");
    say_end(r, l);
    output_string(out, "\n");
}

static void say_unheld(struct replay *r, const struct lease *l, struct point_of_time p)
{
    struct output *out = &r->out;
    say_label(out, "held by");
    output_string(out, "nobody; in state ");
    output_word(out, l->state);
    output_string(out, " for ");
    say_age(out, p.time_ns - l->lastupdate_ns);
    output_string(out, "\n");
    say_label(out, "before");
    if (l->end.seq == 0) {
        output_format(out, "nobody%s\n", r->span.oldest > 0 ? ", as far as is kept" : "");
        return;
    }
    output_word(out, l->owner);
    output_string(out, "\n");
    say_label(out, "since");
    say_lease_begin(out, l, p.time_ns);
    output_string(out, "\n");
    say_label(out, "ended");
    say_lease_end(out, l);
    output_string(out, "\n");
}

static void who_readable(struct replay *r, const struct lease *l, struct point_of_time p,
                         bool is_held)
{
    struct output *out = &r->out;
    output_colour(out, COLOUR_BOLD);
    output_word(out, l->name);
    output_colour(out, COLOUR_NONE);
    output_string(out, " of type ");
    output_word(out, l->type);
    output_string(out, ", after ");
    say_command(out, p.seq, p.time_ns);
    output_string(out, "\n");
    if (is_held)
        say_held(r, l, p);
    else
        say_unheld(r, l, p);
}

// Says what removed it, where that is not long ago.
static int absent(struct replay *r, struct leases *l, uint64_t at)
{
    const char *name = r->options->arguments[0];
    struct sm_resource none = {.name = text_from(name)};
    (void)leases_add(l, LEASE_GONE, &none);
    int err = leases_begin(r, l, at, 1);
    if (err != 0) return err;
    uint64_t removed = l->list[0].end.seq;
    if (removed == 0)
        return replay_fail(r, BOSKOS_E_NOT_FOUND, "there is no resource %s at %" PRIu64, name, at);
    return replay_fail(r, BOSKOS_E_NOT_FOUND,
                       "there is no resource %s at %" PRIu64 ": command %" PRIu64 " removed it",
                       name, at, removed);
}

int replay_who(struct replay *r)
{
    uint64_t at = 0;
    struct walk *w = NULL;
    struct leases l;
    struct sm_resource found;
    leases_init(&l);
    int err = point_find(r->source, &r->span, &r->options->at, r->span.last, &at, &r->problem);
    if (err == 0) err = replay_walk(r, at, &w);
    if (err != 0) goto out;
    struct point_of_time p = {at, sm_time_ns(walk_state(w))};
    if (sm_find(walk_state(w), text_from(r->options->arguments[0]), &found) != 0) {
        walk_close(w); // one state at a time
        w = NULL;
        err = absent(r, &l, at);
        goto out;
    }
    bool is_held = !text_is_empty(found.owner);
    (void)leases_add(&l, is_held ? LEASE_OPEN : LEASE_ENDED, &found);
    if (is_held) err = leases_end(r, &l, w, r->span.last);
    walk_close(w);
    w = NULL;
    if (err == 0) err = leases_begin(r, &l, at, 0);
    if (err != 0) goto out;
    if (r->options->json)
        who_json(r, &l.list[0], p, is_held);
    else
        who_readable(r, &l.list[0], p, is_held);
out:
    walk_close(w);
    leases_release(&l);
    return err;
}

// ---- held-by ----------------------------------------------------------------------

// An owner may hold all there is: so many leases at a time are gone after, by name.
#ifdef BOSKOS_IN_PARTS // a test
#define LEASES_AT_ONCE 2u
#else
#define LEASES_AT_ONCE 40000u
#endif

struct held {
    struct replay *r;
    struct sm_filter filter; // the owner; once some are told, those after them
    struct text owner;
    struct point_of_time point;
    uint64_t count, told;
    struct buffer last; // name that was told
};

static bool count_held(void *context, const struct sm_resource *resource)
{
    uint64_t *count = context;
    (void)resource;
    (*count)++;
    return true;
}

static bool add_held(void *context, const struct sm_resource *resource)
{
    struct leases *l = context;
    (void)leases_add(l, LEASE_OPEN, resource);
    return true;
}

static void begin_json(const struct held *h)
{
    struct output *out = &h->r->out;
    json_point(out, h->point);
    say_json_text(out, ",\"owner\":", h->owner);
    json_last(h->r);
    output_string(out, ",\"leases\":[");
}

static void begin_readable(const struct held *h)
{
    struct output *out = &h->r->out;
    output_colour(out, COLOUR_BOLD);
    output_word(out, h->owner);
    output_colour(out, COLOUR_NONE);
    output_string(out, " held ");
    say_count(out, h->count, "resource", "resources");
    output_string(out, " after ");
    say_command(out, h->point.seq, h->point.time_ns);
    output_string(out, "\n");
}

static void lease_json(const struct held *h, const struct lease *lease)
{
    struct output *out = &h->r->out;
    json_resource(out, h->told == 0 ? "{\"resource\":" : ",{\"resource\":", lease);
    say_json_time(out, ",\"lastupdate\":", lease->lastupdate_ns);
    output_string(out, ",");
    say_json_lease(out, lease);
    say_json_lease_end(out, lease);
    output_string(out, "}");
}

static void lease_readable(const struct held *h, const struct lease *lease)
{
    struct output *out = &h->r->out;
    output_word(out, lease->name);
    output_string(out, " of type ");
    output_word(out, lease->type);
    output_string(out, "\n");
    say_held(h->r, lease, h->point);
}

static void say_some(struct held *h, const struct leases *l)
{
    bool is_json = h->r->options->json;
    if (h->told == 0) (is_json ? begin_json : begin_readable)(h);
    for (size_t i = 0; i < l->count; i++) {
        (is_json ? lease_json : lease_readable)(h, &l->list[i]);
        h->told++;
        output_drain(&h->r->out);
    }
    if (is_json && h->told == h->count) output_string(&h->r->out, "]}\n");
}

// The next of them. Takes the walk, which is at the point, and closes it before it looks back: one
// state at a time.
static int tell_some(struct held *h, struct walk *w)
{
    struct leases l;
    leases_init(&l);
    (void)sm_list(walk_state(w), &h->filter, add_held, &l);
    ASSERT(l.count > 0);
    int err = leases_end(h->r, &l, w, h->r->span.last);
    walk_close(w);
    if (err == 0) err = leases_begin(h->r, &l, h->point.seq, 0);
    if (err == 0) {
        say_some(h, &l);
        buffer_clear(&h->last);
        buffer_text(&h->last, l.list[l.count - 1].name);
        h->filter.after = buffer_as_text(&h->last);
    }
    leases_release(&l);
    return err;
}

static int tell_all(struct held *h, struct walk *w)
{
    h->filter.limit = LEASES_AT_ONCE;
    int err = tell_some(h, w);
    while (err == 0 && h->told < h->count) {
        err = replay_walk(h->r, h->point.seq, &w);
        if (err == 0) err = tell_some(h, w);
    }
    buffer_release(&h->last);
    return err;
}

// Nothing is printed before all is known: in a folder that a daemon has the past may go meanwhile.
static int tell_in_parts(struct held *h, struct walk *w)
{
    struct spool *spool = NULL;
    int err = spool_begin(h->r, &spool);
    if (err == 0) return spool_end(spool, tell_all(h, w));
    walk_close(w);
    return err;
}

int replay_held_by(struct replay *r)
{
    uint64_t at = 0;
    struct walk *w = NULL;
    struct held h = {.r = r, .owner = text_from(r->options->arguments[0])};
    h.filter = (struct sm_filter){.owners = &h.owner, .owners_count = 1};
    int err = point_find(r->source, &r->span, &r->options->at, r->span.last, &at, &r->problem);
    if (err == 0) err = replay_walk(r, at, &w);
    if (err != 0) return err;
    h.point = (struct point_of_time){at, sm_time_ns(walk_state(w))};
    if (!text_is_empty(h.owner)) (void)sm_list(walk_state(w), &h.filter, count_held, &h.count);
    if (h.count == 0) {
        walk_close(w);
        return replay_fail(r, BOSKOS_E_NOT_FOUND, "%s held nothing at %" PRIu64,
                           r->options->arguments[0], at);
    }
    return h.count > LEASES_AT_ONCE ? tell_in_parts(&h, w) : tell_all(&h, w);
}
