// Why reset and the built-in reaper took what they took.
#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/duration.h"
#include "replay/why.h"

#include "base/banned.h"

// How old a lease of the type may get.
struct rule {
    struct text type;
    uint32_t order; // in the config: the last one counts
    bool is_off;
    int64_t expire_ns;
};

struct taking {
    struct why *y;
    bool is_reap;
    struct rule rule;   // of reset, or of types without one of their own
    struct rule *rules; // of reap, sorted by type
    uint32_t rules_count;
    uint64_t taken, spared;
    struct sm_resource oldest[SAY_MOST]; // of the spared, the oldest first
};

static bool is_taken(const void *context, const struct sm_change *c)
{
    (void)context;
    return c->was_there && !text_is_empty(c->before.owner) &&
           (!c->is_there || text_is_empty(c->after.owner));
}

// ---- what was taken -------------------------------------------------------------

static void say_taken(struct taking *t, const struct sm_change *c)
{
    struct output *out = t->y->out;
    uint64_t age_ns = t->y->time_ns - c->before.lastupdate_ns;
    if (t->y->is_json) {
        say_json_text(out, t->taken == 1 ? "{\"resource\":" : ",{\"resource\":", c->name);
        say_json_text(out, ",\"type\":", c->before.type);
        say_json_text(out, ",\"owner\":", c->before.owner);
        say_json_span(out, ",\"age\":", age_ns);
        output_string(out, "}");
        output_drain(out);
        return;
    }
    if (t->taken > SAY_MOST) return;
    output_string(out, "  ");
    output_word(out, c->name);
    output_string(out, "  of ");
    output_word(out, c->before.owner);
    say_heard(out, age_ns);
    output_string(out, "\n");
}

static void say_all_taken(struct taking *t)
{
    struct sm_change change;
    uint32_t count = walk_changes(t->y->walk);
    for (uint32_t i = 0; i < count; i++) {
        walk_change(t->y->walk, i, &change);
        if (!is_taken(NULL, &change)) continue;
        t->taken++;
        say_taken(t, &change);
    }
    if (!t->y->is_json) say_more(t->y->out, t->taken);
}

static uint64_t count_taken(struct taking *t)
{
    struct sm_change change;
    uint64_t taken = 0;
    uint32_t count = walk_changes(t->y->walk);
    for (uint32_t i = 0; i < count; i++) {
        walk_change(t->y->walk, i, &change);
        taken += is_taken(NULL, &change);
    }
    return taken;
}

// ---- what was spared ---------------------------------------------------------------

static struct rule rule_of(const struct taking *t, struct text type)
{
    uint32_t low = 0, high = t->rules_count; // the last one of the type
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (text_compare(t->rules[middle].type, type) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    bool is_own = low > 0 && text_equal(t->rules[low - 1].type, type);
    return is_own ? t->rules[low - 1] : t->rule;
}

static uint64_t slept_ns(const struct taking *t, const struct sm_resource *r)
{
    return t->is_reap ? sm_slept_since_ns(walk_state(t->y->walk), r->lastupdate_ns) : 0;
}

static void json_spared(struct taking *t, const struct sm_resource *r)
{
    struct output *out = t->y->out;
    say_json_text(out, t->spared == 1 ? "{\"resource\":" : ",{\"resource\":", r->name);
    say_json_text(out, ",\"type\":", r->type);
    say_json_text(out, ",\"owner\":", r->owner);
    say_json_span(out, ",\"age\":", t->y->time_ns - r->lastupdate_ns);
    if (t->is_reap) {
        struct rule rule = rule_of(t, r->type);
        say_json_span(out, ",\"slept\":", slept_ns(t, r));
        if (rule.is_off)
            output_string(out, ",\"expire\":null");
        else
            say_json_span(out, ",\"expire\":", rule.expire_ns > 0 ? (uint64_t)rule.expire_ns : 0);
    }
    output_string(out, "}");
    output_drain(out);
}

// The order of names breaks ties, as the list comes in it.
static void keep_oldest(struct taking *t, const struct sm_resource *r)
{
    uint64_t kept = t->spared - 1 < SAY_MOST ? t->spared - 1 : SAY_MOST;
    uint64_t at = kept;
    while (at > 0 && t->oldest[at - 1].lastupdate_ns > r->lastupdate_ns)
        at--;
    if (at == SAY_MOST) return;
    if (kept == SAY_MOST) kept--;
    memmove(&t->oldest[at + 1], &t->oldest[at], (kept - at) * sizeof(t->oldest[0]));
    t->oldest[at] = *r;
}

static bool note_spared(void *context, const struct sm_resource *r)
{
    struct taking *t = context;
    if (text_is_empty(r->owner)) return true;
    t->spared++;
    if (t->y->is_json)
        json_spared(t, r);
    else
        keep_oldest(t, r);
    return true;
}

static void say_oldest(struct taking *t)
{
    struct output *out = t->y->out;
    if (t->spared == 0) return;
    output_format(out, "spared: %" PRIu64 "\n", t->spared);
    for (uint64_t i = 0; i < t->spared && i < SAY_MOST; i++) {
        const struct sm_resource *r = &t->oldest[i];
        struct rule rule = rule_of(t, r->type);
        uint64_t slept = slept_ns(t, r);
        output_string(out, "  ");
        output_word(out, r->name);
        output_string(out, "  of ");
        output_word(out, r->owner);
        say_heard(out, t->y->time_ns - r->lastupdate_ns);
        if (slept > 0) {
            output_string(out, ", ");
            say_age(out, slept);
            output_string(out, " of it slept through");
        }
        if (rule.is_off) {
            output_string(out, "; type ");
            output_word(out, r->type);
            output_string(out, " is not reaped");
        } else if (t->is_reap) {
            output_string(out, "; may be ");
            say_age(out, rule.expire_ns > 0 ? (uint64_t)rule.expire_ns : 0);
        }
        output_string(out, "\n");
    }
    say_more(out, t->spared);
}

static void say_spared(struct taking *t, const struct sm_filter *filter)
{
    if (t->y->is_json) output_string(t->y->out, "],\"spared\":[");
    (void)sm_list(walk_state(t->y->walk), filter, note_spared, t);
    if (t->y->is_json)
        output_string(t->y->out, "]");
    else
        say_oldest(t);
}

static void say_taken_and_spared(struct taking *t, const struct sm_filter *filter)
{
    if (t->y->is_json) output_string(t->y->out, ",\"taken\":[");
    say_all_taken(t);
    say_spared(t, filter);
    why_say_tail(t->y, (struct said){is_taken, NULL});
}

// ---- reset --------------------------------------------------------------------------

int why_reset(struct why *y)
{
    const struct command_reset *c = &y->step->command.as.reset;
    struct sm_filter filter = {
        .types = &c->type, .types_count = 1, .states = &c->state, .states_count = 1};
    struct taking *t = must_calloc(1, sizeof(*t));
    t->y = y;
    int parsed = duration_parse(c->expire, &t->rule.expire_ns, NULL);
    ASSERT(parsed == 0); // wire and command_decode see to it
    int err = why_apply(y);
    if (err == 0) {
        why_say_head(y, OUTCOME_DONE, SM_OK);
        if (!y->is_json) {
            struct output *out = y->out;
            say_count(out, count_taken(t), "resource is", "resources are");
            output_string(out, " taken back: those of type ");
            output_word(out, c->type);
            output_string(out, " that were owned in state ");
            output_word(out, c->state);
            if (t->rule.expire_ns > 0) {
                output_string(out, " and not heard of for ");
                say_age(out, (uint64_t)t->rule.expire_ns);
            }
            output_string(out, "\n");
        }
        say_taken_and_spared(t, &filter);
    }
    free(t);
    return err;
}

// ---- reap ---------------------------------------------------------------------------

static int by_type_and_order(const void *a, const void *b)
{
    const struct rule *x = a, *y = b;
    int order = text_compare(x->type, y->type);
    return order != 0 ? order : (x->order > y->order) - (x->order < y->order);
}

// Texts are borrowed from the config.
static void take_rules(struct taking *t, const struct command_config *c)
{
    t->rule.expire_ns = c->reaper_expire_ns;
    t->rules = must_calloc((size_t)c->entries_count + 1, sizeof(t->rules[0]));
    for (uint32_t i = 0; i < c->entries_count; i++) {
        const struct sm_entry *e = &c->entries[i];
        if (e->reaper == SM_REAPER_INHERIT) continue;
        t->rules[t->rules_count++] = (struct rule){.type = e->type,
                                                   .order = i,
                                                   .is_off = e->reaper == SM_REAPER_OFF,
                                                   .expire_ns = e->reaper_expire_ns};
    }
    if (t->rules_count > 1) qsort(t->rules, t->rules_count, sizeof(t->rules[0]), by_type_and_order);
}

enum idle { IDLE_NOT, IDLE_OFF, IDLE_GRACE };

static enum idle idle_of(const struct why *y, const struct command_config *c)
{
    if (!c->reaper_enabled) return IDLE_OFF;
    uint64_t period_ns = c->reaper_period_ns > 0 ? (uint64_t)c->reaper_period_ns : 0;
    uint64_t grace_ns = sm_grace_ns(walk_state(y->walk));
    return y->time_ns - grace_ns < period_ns ? IDLE_GRACE : IDLE_NOT;
}

static void say_reap(struct taking *t, const struct command_config *c, enum idle idle)
{
    struct output *out = t->y->out;
    switch (idle) {
    case IDLE_OFF: output_string(out, "nothing, for the config has the reaper off\n"); return;
    case IDLE_GRACE:
        output_string(out, "nothing, for a start or a clock jump was less than ");
        say_age(out, (uint64_t)c->reaper_period_ns);
        output_string(out, " before, at ");
        output_time(out, sm_grace_ns(walk_state(t->y->walk)));
        output_string(out, "\n");
        return;
    case IDLE_NOT: break;
    }
    uint64_t taken = count_taken(t);
    say_count(out, taken, "resource is", "resources are");
    output_string(out, " taken back to state ");
    output_word(out, c->reaper_target);
    if (taken > 0)
        output_format(out, ", for %s silent too long",
                      taken == 1 ? "its owner was" : "their owners were");
    output_string(out, "; it looks at states");
    for (uint32_t i = 0; i < c->reaper_states_count && i < SAY_MOST; i++) {
        output_string(out, " ");
        output_word(out, c->reaper_states[i]);
    }
    output_string(out, "\n");
}

int why_reap(struct why *y)
{
    static const char *const idle_names[] = {
        [IDLE_NOT] = "null", [IDLE_OFF] = "\"off\"", [IDLE_GRACE] = "\"grace\""};
    struct command config;
    struct command_decoder *decoder = command_decoder_new();
    struct taking *t = must_calloc(1, sizeof(*t));
    t->y = y;
    t->is_reap = true;
    int err = why_apply(y); // it leaves the config as it is
    if (err == 0) err = why_config_in_force(y, decoder, &config);
    if (err != 0) goto out;
    const struct command_config *c = &config.as.config;
    enum idle idle = idle_of(y, c);
    struct text none = TEXT(""); // no states, no resources: a filter without any means all
    struct sm_filter filter = {.states = c->reaper_states, .states_count = c->reaper_states_count};
    if (c->reaper_states_count == 0)
        filter = (struct sm_filter){.owners = &none, .owners_count = 1};
    take_rules(t, c);
    why_say_head(y, OUTCOME_DONE, SM_OK);
    if (y->is_json)
        output_format(y->out, ",\"idle\":%s", idle_names[idle]);
    else
        say_reap(t, c, idle);
    say_taken_and_spared(t, &filter);
out:
    free(t->rules);
    free(t);
    command_decoder_free(decoder);
    return err;
}
