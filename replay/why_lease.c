// Why a release, an update or an acquirebystate ended as it did.
#include <inttypes.h>

#include "base/assert.h"
#include "replay/foresee.h"
#include "replay/why.h"

#include "base/banned.h"

// ---- release, update --------------------------------------------------------

// What is known of a release or update before it is applied, and kept after that.
struct held {
    struct why *y;
    struct text name, owner;
    bool is_update, is_there, is_owned, is_own;
    uint64_t bytes_before, bytes_after; // of userdata
    struct leases leases;               // first of the resource, then, if not is_own, of the client
};

static uint64_t bytes_of(const struct userdata_pair *p)
{
    return text_is_empty(p->value) ? 0 : (uint64_t)p->key.size + p->value.size;
}

// Both are sorted by key, and an empty value or null takes a key away.
static void measure_userdata(struct held *h, const struct sm_resource *r,
                             const struct command_update *c)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < r->userdata_count; i++) {
        const struct userdata_pair *old = &r->userdata[i];
        while (at < c->pairs_count && text_compare(c->pairs[at].key, old->key) < 0)
            h->bytes_after += bytes_of(&c->pairs[at++]);
        h->bytes_before += bytes_of(old);
        if (at == c->pairs_count || !text_equal(c->pairs[at].key, old->key))
            h->bytes_after += bytes_of(old);
    }
    for (; at < c->pairs_count; at++)
        h->bytes_after += bytes_of(&c->pairs[at]);
}

static void look(struct held *h)
{
    const struct command *c = &h->y->step->command;
    struct sm_resource found = {.name = h->name};
    h->is_there = sm_find(walk_state(h->y->walk), h->name, &found) == 0;
    h->is_owned = !text_is_empty(found.owner);
    h->is_own = h->is_owned && text_equal(found.owner, h->owner);
    if (h->is_there && h->is_update) measure_userdata(h, &found, &c->as.update);
    enum lease_wanted wanted = h->is_owned ? LEASE_OPEN : LEASE_ENDED;
    (void)leases_add(&h->leases, h->is_there ? wanted : LEASE_GONE, &found);
    if (h->is_own) return;
    struct sm_resource own = {.name = h->name, .owner = h->owner};
    leases_add(&h->leases, LEASE_ENDED, &own)->role = 1;
}

static void say_done(struct held *h)
{
    struct output *out = h->y->out;
    const struct command *c = &h->y->step->command;
    output_word(out, h->owner);
    output_string(out, " had ");
    output_word(out, h->name);
    output_string(out, " in state ");
    output_word(out, h->leases.list[0].state);
    if (!h->is_update) {
        output_string(out, ", which is unowned now, and goes to ");
        output_word(out, c->as.release.dest);
        output_string(out, "\n");
        return;
    }
    output_string(out, ", and has it on");
    if (h->bytes_before != h->bytes_after)
        output_format(out, "; userdata goes from %" PRIu64 " to %" PRIu64 " bytes", h->bytes_before,
                      h->bytes_after);
    output_string(out, "\n");
}

static void say_mismatch(struct held *h)
{
    struct output *out = h->y->out;
    output_word(out, h->name);
    if (h->is_owned) {
        output_string(out, " is held by ");
        output_word(out, h->leases.list[0].owner);
    } else {
        output_string(out, " is held by nobody");
    }
    output_string(out, ", not by ");
    output_word(out, h->owner);
    output_string(out, "\n");
}

static void say_refusal(struct held *h, enum sm_reason reason)
{
    struct output *out = h->y->out;
    const struct command *c = &h->y->step->command;
    switch (reason) {
    case SM_NO_SUCH_RESOURCE:
        output_string(out, "there is no resource ");
        output_word(out, h->name);
        output_string(out, "\n");
        return;
    case SM_OWNER_MISMATCH: say_mismatch(h); return;
    case SM_STATE_MISMATCH:
        output_word(out, h->name);
        output_string(out, " is in state ");
        output_word(out, h->leases.list[0].state);
        output_string(out, ", not in ");
        output_word(out, c->as.update.state);
        output_string(out, " as the update says\n");
        return;
    case SM_USERDATA_TOO_LARGE:
        output_format(out,
                      "its userdata would grow from %" PRIu64 " to %" PRIu64
                      " bytes, and there may be %" PRIu32 "\n",
                      h->bytes_before, h->bytes_after, SM_USERDATA_BYTES_MAX);
        return;
    case SM_OK:
    case SM_NO_AVAILABLE:
    case SM_NO_SUCH_TYPE:
    case SM_QUEUE_FULL:
    case SM_QUEUES_FULL:
    case SM_KEY_MISMATCH: break;
    }
    ASSERT(false && "a reason that release or update can have");
}

// A lease of the past, as two lines; `label` says whose.
static void say_past(struct held *h, const char *label, const struct lease *l)
{
    struct output *out = h->y->out;
    if (l->end.seq == 0) return;
    say_label(out, label);
    output_word(out, l->owner);
    output_string(out, ", since ");
    say_lease_begin(out, l, h->y->time_ns);
    output_string(out, "\n");
    say_label(out, "ended");
    say_lease_end(out, l);
    output_string(out, "\n");
}

static void say_no_past(struct held *h, const struct lease *own)
{
    struct output *out = h->y->out;
    say_label(out, "client");
    output_word(out, own->owner);
    output_string(out, " never had it");
    output_string(out, h->y->r->span.oldest > 0 ? ", as far as is kept\n" : "\n");
}

static void say_leases(struct held *h)
{
    struct output *out = h->y->out;
    ASSERT(h->leases.list != NULL); // look() adds one
    const struct lease *l = &h->leases.list[0];
    const struct lease *own = h->is_own ? NULL : &h->leases.list[1];
    if (h->is_owned) {
        say_label(out, "held by");
        output_word(out, l->owner);
        output_string(out, ", since ");
        say_lease_begin(out, l, h->y->time_ns);
        output_string(out, "\n");
        say_label(out, "heartbeats");
        say_lease_heartbeats(out, l, h->y->time_ns);
        output_string(out, "\n");
    } else if (h->is_there) {
        bool is_one = own != NULL && own->end.seq == l->end.seq;
        if (!is_one) say_past(h, "last lease", l);
    } else if (l->end.seq != 0) {
        say_label(out, "removed");
        say_command(out, l->end.seq, l->end.time_ns);
        output_format(out, ": %s\n", command_kind_name(l->end.kind));
    }
    if (own == NULL) return;
    if (own->end.seq != 0)
        say_past(h, "its lease", own);
    else
        say_no_past(h, own);
}

static void json_removed(struct held *h, const struct lease *l)
{
    struct output *out = h->y->out;
    if (l->end.seq == 0) {
        output_string(out, ",\"resource\":null,\"removed\":null");
        return;
    }
    say_json_event(out, ",\"resource\":null,\"removed\":", &l->end);
    output_string(out, "}");
}

static void json_leases(struct held *h)
{
    struct output *out = h->y->out;
    const struct lease *l = &h->leases.list[0];
    if (h->is_there) {
        say_json_text(out, ",\"resource\":{\"type\":", l->type);
        say_json_text(out, ",\"state\":", l->state);
        say_json_text(out, ",\"owner\":", h->is_owned ? l->owner : TEXT(""));
        say_json_time(out, ",\"lastupdate\":", l->lastupdate_ns);
        if (h->is_owned) {
            output_string(out, ",");
            say_json_lease(out, l);
        }
        output_string(out, "}");
        if (!h->is_owned) say_json_past_lease(out, ",\"last-lease\":", l);
    } else {
        json_removed(h, l);
    }
    if (!h->is_own) say_json_past_lease(out, ",\"own-lease\":", &h->leases.list[1]);
    if (!h->is_update || !h->is_there) return;
    output_format(out,
                  ",\"userdata\":{\"bytes-before\":%" PRIu64 ",\"bytes-after\":%" PRIu64
                  ",\"bytes-most\":%" PRIu32 "}",
                  h->bytes_before, h->bytes_after, SM_USERDATA_BYTES_MAX);
}

static int why_held(struct held *h)
{
    struct why *y = h->y;
    struct buffer tail;
    buffer_init(&tail);
    leases_init(&h->leases);
    look(h);
    int err = why_apply(y);
    if (err != 0) goto out;
    enum sm_reason reason = y->step->result.reason;
    why_say_head(y, reason == SM_OK ? OUTCOME_DONE : OUTCOME_REFUSED, reason);
    if (!y->is_json && reason == SM_OK) say_done(h);
    if (!y->is_json && reason != SM_OK) say_refusal(h, reason);
    why_keep_tail(y, reason == SM_OK ? why_said_of(&h->name) : SAID_NOTHING, &tail);
    err = why_find_leases(y, &h->leases);
    if (err != 0) goto out;
    if (y->is_json)
        json_leases(h);
    else
        say_leases(h);
    buffer_text(&y->out->line, buffer_as_text(&tail));
out:
    buffer_release(&tail);
    leases_release(&h->leases);
    return err;
}

int why_release(struct why *y)
{
    const struct command_release *c = &y->step->command.as.release;
    struct held h = {.y = y, .name = c->name, .owner = c->owner};
    return why_held(&h);
}

int why_update(struct why *y)
{
    const struct command_update *c = &y->step->command.as.update;
    struct held h = {.y = y, .name = c->name, .owner = c->owner, .is_update = true};
    return why_held(&h);
}

// ---- acquirebystate ---------------------------------------------------------

struct names {
    struct why *y;
    uint64_t count; // said
};

static void json_name(void *context, const struct named_resource *n)
{
    static const char *const names[] = {[NAMED_GOOD] = "good",
                                        [NAMED_EMPTY] = "empty",
                                        [NAMED_MISSING] = "missing",
                                        [NAMED_OWNED] = "owned",
                                        [NAMED_STATE] = "state"};
    struct names *l = context;
    struct output *out = l->y->out;
    say_json_text(out, l->count++ == 0 ? "{\"name\":" : ",{\"name\":", n->name);
    output_format(out, ",\"why\":\"%s\"", names[n->named]);
    if (n->named != NAMED_EMPTY && n->named != NAMED_MISSING) {
        say_json_text(out, ",\"state\":", n->resource.state);
        say_json_text(out, ",\"owner\":", n->resource.owner);
        say_json_time(out, ",\"lastupdate\":", n->resource.lastupdate_ns);
    }
    output_string(out, "}");
}

// Those that cannot be had.
static void say_name(void *context, const struct named_resource *n)
{
    struct names *l = context;
    struct output *out = l->y->out;
    if (n->named == NAMED_GOOD || l->count++ >= SAY_MOST) return;
    output_string(out, "  ");
    output_word(out, n->name);
    switch (n->named) {
    case NAMED_GOOD: break;
    case NAMED_EMPTY: output_string(out, "  is the name of nothing\n"); return;
    case NAMED_MISSING: output_string(out, "  there is no such resource\n"); return;
    case NAMED_OWNED:
        output_string(out, "  is owned by ");
        output_word(out, n->resource.owner);
        say_heard(out, l->y->time_ns - n->resource.lastupdate_ns);
        output_string(out, "\n");
        return;
    case NAMED_STATE:
        output_string(out, "  is in state ");
        output_word(out, n->resource.state);
        output_string(out, ", for ");
        say_age(out, l->y->time_ns - n->resource.lastupdate_ns);
        output_string(out, "\n");
        return;
    }
}

static void say_names(struct names *l, const struct command_acquirebystate *c,
                      const struct foreseen_names *f)
{
    struct output *out = l->y->out;
    struct sm *sm = walk_state(l->y->walk);
    struct foreseen_names again;
    if (f->is_granted) {
        if (f->count == 1)
            output_string(out, "the one named is unowned in state ");
        else
            output_format(out, "all of %" PRIu32 " named are unowned in state ", f->count);
        output_word(out, c->state);
        output_string(out, "\n");
        return;
    }
    output_format(out, "%" PRIu32 " of %" PRIu32 " named %s not unowned in state ",
                  f->count - f->good, f->count, f->count - f->good == 1 ? "is" : "are");
    output_word(out, c->state);
    output_string(out, f->is_handing_out
                           ? ", but only for empty names: the others are handed out all the same, "
                             "as Boskos does\n"
                           : "\n");
    foresee_names(sm, c, say_name, l, &again);
    say_more(out, l->count);
}

int why_acquirebystate(struct why *y)
{
    struct sm *sm = walk_state(y->walk);
    const struct command_acquirebystate *c = &y->step->command.as.acquirebystate;
    struct names l = {.y = y};
    struct foreseen_names f, again;
    foresee_names(sm, c, NULL, NULL, &f);
    why_say_head(y, f.is_granted ? OUTCOME_GRANTED : OUTCOME_REFUSED,
                 f.is_granted ? SM_OK : SM_NO_AVAILABLE);
    if (y->is_json) {
        output_format(y->out, ",\"handed-out\":%s,\"names\":[",
                      f.is_handing_out ? "true" : "false");
        foresee_names(sm, c, json_name, &l, &again);
        output_string(y->out, "]");
    } else {
        say_names(&l, c, &f);
    }
    int err = why_apply(y);
    if (err != 0) return err;
    // What was told from the state before must be what applying comes to.
    ASSERT((y->step->result.reason == SM_OK) == f.is_granted);
    why_say_tail(y, SAID_NOTHING);
    return 0;
}
