// What the commands did that come by themselves with time: expire, clean, and clock, started and
// repaired, which give grace.
#include <inttypes.h>

#include "replay/why.h"

#include "base/banned.h"

struct entries {
    struct why *y;
    uint64_t now_ns;
    uint64_t live, dead;
};

static bool count_entry(void *context, const struct sm_queue_entry *e)
{
    struct entries *n = context;
    if (n->now_ns > e->deadline_ns)
        n->dead++;
    else
        n->live++;
    return true;
}

static struct entries count_entries(struct why *y, uint64_t now_ns)
{
    struct entries n = {.y = y, .now_ns = now_ns};
    sm_queues(walk_state(y->walk), 0, count_entry, &n);
    return n;
}

// ---- expire ---------------------------------------------------------------------

static bool say_dead(void *context, const struct sm_queue_entry *e)
{
    struct entries *n = context;
    struct output *out = n->y->out;
    if (n->now_ns <= e->deadline_ns) return true;
    n->dead++;
    if (n->y->is_json) {
        say_json_text(out, n->dead == 1 ? "{\"type\":" : ",{\"type\":", e->type);
        say_json_text(out, ",\"state\":", e->state);
        say_json_text(out, ",\"id\":", e->request_id);
        say_json_time(out, ",\"since\":", e->first_poll_ns);
        say_json_time(out, ",\"expires\":", e->deadline_ns);
        output_string(out, "}");
        output_drain(out);
        return true;
    }
    output_string(out, "  ");
    output_word(out, e->request_id);
    output_string(out, "  for type ");
    output_word(out, e->type);
    output_string(out, ", state ");
    output_word(out, e->state);
    output_string(out, "; waited since ");
    output_time(out, e->first_poll_ns);
    output_string(out, ", dead for ");
    say_age(out, n->now_ns - e->deadline_ns);
    output_string(out, "\n");
    return n->dead < SAY_MOST;
}

int why_expire(struct why *y)
{
    struct output *out = y->out;
    struct entries n = count_entries(y, y->time_ns);
    struct entries said = {.y = y, .now_ns = y->time_ns};
    why_say_head(y, OUTCOME_DONE, SM_OK);
    if (y->is_json) {
        output_string(out, ",\"swept\":[");
    } else {
        say_count(out, n.dead, "queue entry goes", "queue entries go");
        output_string(out, ", silent for longer than ");
        int64_t ttl_ns = sm_request_ttl_ns(walk_state(y->walk));
        say_age(out, ttl_ns > 0 ? (uint64_t)ttl_ns : 0);
        output_string(out, "; what is past its expiration becomes toBeDeleted\n");
    }
    sm_queues(walk_state(y->walk), 0, say_dead, &said);
    if (y->is_json)
        output_string(out, "]");
    else
        say_more(out, n.dead);
    int err = why_apply(y);
    if (err == 0) why_say_tail(y, SAID_NOTHING);
    return err;
}

// ---- clean ------------------------------------------------------------------------

enum cleaned {
    CLEANED,
    CLEANED_MISSING,
    CLEANED_OWNED,
    CLEANED_STATE,
    CLEANED_CHANGED,
    CLEANED_KIND
};

static bool has_leased(const struct sm_resource *r, struct text leased)
{
    struct text has = TEXT_NONE;
    for (uint32_t i = 0; i < r->userdata_count; i++) {
        if (text_equal(r->userdata[i].key, TEXT("leasedResources"))) has = r->userdata[i].value;
    }
    return (has.data == NULL) == (leased.data == NULL) && text_equal(has, leased);
}

// Why nothing can come of it; CLEANED when something may.
static enum cleaned look_at(struct why *y, const struct command_clean *c)
{
    struct sm_resource r;
    if (sm_find(walk_state(y->walk), c->name, &r) != 0) return CLEANED_MISSING;
    if (!text_is_empty(r.owner)) return CLEANED_OWNED;
    if (!text_equal(r.state, TEXT("toBeDeleted"))) return CLEANED_STATE;
    return has_leased(&r, c->leased) ? CLEANED : CLEANED_CHANGED;
}

static bool is_cleaned(struct why *y, struct text name)
{
    struct sm_change c;
    uint32_t count = walk_changes(y->walk);
    for (uint32_t i = 0; i < count; i++) {
        walk_change(y->walk, i, &c);
        if (!text_equal(c.name, name)) continue;
        return !c.is_there || text_equal(c.after.state, TEXT("tombstone"));
    }
    return false;
}

int why_clean(struct why *y)
{
    static const char *const names[] = {[CLEANED] = "null",
                                        [CLEANED_MISSING] = "\"missing\"",
                                        [CLEANED_OWNED] = "\"owned\"",
                                        [CLEANED_STATE] = "\"state\"",
                                        [CLEANED_CHANGED] = "\"changed\"",
                                        [CLEANED_KIND] = "\"kind\""};
    static const char *const texts[] = {
        [CLEANED] = "it has come to its end; what was leased for it goes to dirty\n",
        [CLEANED_MISSING] = "nothing, for the resource was gone by then\n",
        [CLEANED_OWNED] = "nothing, for somebody had it by then\n",
        [CLEANED_STATE] = "nothing, for it was not in toBeDeleted by then\n",
        [CLEANED_CHANGED] = "nothing, for its leasedResources were others by then\n",
        [CLEANED_KIND] = "nothing, for it is not dynamic\n"};
    const struct command_clean *c = &y->step->command.as.clean;
    enum cleaned cleaned = look_at(y, c);
    int err = why_apply(y);
    if (err != 0) return err;
    if (cleaned == CLEANED && !is_cleaned(y, c->name)) cleaned = CLEANED_KIND;
    why_say_head(y, OUTCOME_DONE, SM_OK);
    if (y->is_json)
        output_format(y->out, ",\"cleaned\":%s,\"why\":%s", cleaned == CLEANED ? "true" : "false",
                      names[cleaned]);
    else
        output_string(y->out, texts[cleaned]);
    why_say_tail(y, SAID_NOTHING);
    return 0;
}

// ---- clock, started, repaired -------------------------------------------------------

static void say_what_happened(struct why *y)
{
    struct output *out = y->out;
    const struct command *c = &y->step->command;
    if (c->kind == COMMAND_CLOCK) {
        output_string(out, "the wall clock was ahead by ");
        say_age(out, c->as.clock.ahead_ns);
    } else if (c->kind == COMMAND_STARTED) {
        output_string(out, "boskosd ");
        output_word(out, c->as.started.version);
        output_string(out, " started on ");
        output_word(out, c->as.started.host);
        if (y->seq > 1) {
            output_string(out, ", ");
            say_age(out, c->as.started.downtime_ns);
            output_string(out, " after the command before");
        }
    } else {
        output_format(out, "the log was damaged and was cut before record %" PRIu64,
                      c->as.repaired.lost_first);
        output_string(out, ": ");
        output_word(out, c->as.repaired.why);
    }
    output_string(out, "\n");
}

int why_grace(struct why *y)
{
    struct output *out = y->out;
    struct entries n = count_entries(y, sm_time_ns(walk_state(y->walk)));
    int err = why_apply(y);
    if (err != 0) return err;
    why_say_head(y, OUTCOME_DONE, SM_OK);
    if (y->is_json) {
        output_format(out, ",\"renewed\":%" PRIu64 ",\"swept\":%" PRIu64, n.live, n.dead);
    } else {
        say_what_happened(y);
        say_label(out, "grace");
        say_count(out, n.live, "queue entry gets", "queue entries get");
        output_string(out, " a whole TTL anew; for leases what was slept through does not count\n");
    }
    why_say_tail(y, SAID_NOTHING);
    return 0;
}
