// What kinds of clients there are: each asks by its phase, and goes on after what it hears.
#include <inttypes.h>
#include <stdio.h>

#include "tests/rigs/simulator/simulator.h"

#include "base/banned.h"

#define POLL_NS (3 * NS_PER_S) // as real clients do

// ---- requests ---------------------------------------------------------------

static struct call *ask_acquire(struct client *c, const char *state, const char *dest)
{
    call_begin(&c->call, "/acquire");
    call_param(&c->call, "type", c->type);
    call_param(&c->call, "state", state);
    call_param(&c->call, "dest", dest);
    call_param(&c->call, "owner", c->owner);
    if (c->request_id[0] != '\0') call_param(&c->call, "request_id", c->request_id);
    c->call.key = text_from(c->key);
    return &c->call;
}

static struct call *ask_by_state(struct client *c, const char *state, const char *dest,
                                 const char *names)
{
    call_begin(&c->call, "/acquirebystate");
    call_param(&c->call, "state", state);
    call_param(&c->call, "dest", dest);
    call_param(&c->call, "owner", c->owner);
    call_param(&c->call, "names", names);
    return &c->call;
}

static struct call *ask_release(struct client *c, const char *name, const char *owner,
                                const char *dest)
{
    call_begin(&c->call, "/release");
    call_param(&c->call, "name", name);
    call_param(&c->call, "owner", owner);
    call_param(&c->call, "dest", dest);
    return &c->call;
}

static struct call *ask_update(struct client *c, const char *owner, const char *state,
                               const char *body)
{
    call_begin(&c->call, "/update");
    call_param(&c->call, "name", c->name);
    call_param(&c->call, "owner", owner);
    call_param(&c->call, "state", state);
    buffer_string(&c->call.body, body);
    return &c->call;
}

static struct call *ask_reset(struct client *c, const char *state, const char *expire,
                              const char *dest)
{
    call_begin(&c->call, "/reset");
    call_param(&c->call, "type", c->type);
    call_param(&c->call, "state", state);
    call_param(&c->call, "expire", expire);
    call_param(&c->call, "dest", dest);
    return &c->call;
}

static void choose_type(struct sim *s, struct client *c, bool is_dynamic)
{
    uint32_t count = is_dynamic ? TYPES_DYNAMIC : TYPES_STATIC;
    snprintf(c->type, sizeof(c->type), "%c%u", is_dynamic ? 'd' : 's',
             (unsigned)sim_random(s, count));
}

static void rest(struct client *c)
{
    c->at_ns = NEVER;
}

static void go_on(struct sim *s, struct client *c, uint32_t phase, uint64_t after_ns)
{
    c->phase = phase;
    c->at_ns = s->now_ns + after_ns;
}

static bool was_granted(const struct client *c)
{
    return c->call.is_answered && c->call.reason == SM_OK && c->call.name[0] != '\0';
}

static bool was_done(const struct client *c)
{
    return c->call.is_answered && c->call.reason == SM_OK;
}

static void hold(struct client *c)
{
    snprintf(c->name, sizeof(c->name), "%s", c->call.name);
    snprintf(c->leased, sizeof(c->leased), "%s", c->call.leased);
}

// ---- who takes, holds and gives back ----------------------------------------

enum { USER_SEEKS, USER_ASKS_AGAIN, USER_HOLDS, USER_GIVES_BACK, USER_AGAIN };

static struct call *user_ask(struct sim *s, struct client *c)
{
    static const char *const bodies[] = {"", "{\"k\":\"v\"}", "{\"k\":\"\",\"\\u00e9<&>\":\"x\"}",
                                         "null", "{\"k\":null,\"n\":\"1\"} tail"};
    bool is_wrong = c->flaw == FLAW_WRONG && sim_once_in(s, 4);
    bool is_other = sim_once_in(s, 4); // than what it asked for before
    switch (c->phase) {
    case USER_SEEKS: return ask_acquire(c, "free", "busy");
    case USER_ASKS_AGAIN: return ask_acquire(c, "free", is_other ? "elsewhere" : "busy");
    case USER_HOLDS:
        return ask_update(c, is_wrong && sim_once_in(s, 2) ? "nobody" : c->owner,
                          is_wrong ? "elsewhere" : "busy", bodies[sim_random(s, 5)]);
    case USER_GIVES_BACK:
        if (is_wrong) return ask_release(c, c->name, "nobody", "free");
        return ask_release(c, c->name, c->owner, sim_once_in(s, 3) ? "free" : "dirty");
    default: return ask_release(c, c->name, c->owner, "free");
    }
}

static void user_holds(struct sim *s, struct client *c)
{
    hold(c);
    c->until_ns =
        s->now_ns + sim_span(s, NS_PER_S, sim_once_in(s, 4) ? 3 * HOUR_NS : 30 * NS_PER_S);
    c->period_ns = sim_span(s, 10 * NS_PER_S, 5 * MINUTE_NS);
    if ((c->until_ns - s->now_ns) / c->period_ns > 60) c->period_ns = 5 * MINUTE_NS;
    if (c->flaw == FLAW_DIES) {
        rest(c);
    } else if (c->flaw == FLAW_SILENT) {
        go_on(s, c, USER_GIVES_BACK, c->until_ns - s->now_ns);
    } else {
        bool asks_twice = c->flaw == FLAW_ASKS_TWICE;
        go_on(s, c, asks_twice ? USER_ASKS_AGAIN : USER_HOLDS, c->period_ns);
    }
}

static void user_hear(struct sim *s, struct client *c)
{
    bool is_lost = !c->call.is_answered;
    switch (c->phase) {
    case USER_SEEKS:
        if (was_granted(c)) {
            user_holds(s, c);
        } else if (c->tries-- == 0) {
            rest(c);
        } else {
            go_on(s, c, USER_SEEKS, POLL_NS);
        }
        break;
    case USER_ASKS_AGAIN: // a second lease, after the first was taken away, is never given back
        go_on(s, c, USER_HOLDS, c->period_ns);
        break;
    case USER_HOLDS:
        if (!is_lost && !was_done(c) && c->flaw != FLAW_WRONG) {
            rest(c); // it was taken away
        } else if (s->now_ns >= c->until_ns) {
            go_on(s, c, USER_GIVES_BACK, 0);
        } else {
            go_on(s, c, USER_HOLDS, c->period_ns);
        }
        break;
    case USER_GIVES_BACK:
        if (is_lost || (c->flaw == FLAW_WRONG && !was_done(c) && c->tries-- > 0)) {
            go_on(s, c, USER_GIVES_BACK, POLL_NS);
        } else if (c->flaw == FLAW_TWICE) {
            go_on(s, c, USER_AGAIN, sim_random(s, MINUTE_NS));
        } else {
            rest(c);
        }
        break;
    default: rest(c); break;
    }
}

// ---- who makes dirty ones free ----------------------------------------------

enum { JANITOR_SEEKS, JANITOR_GIVES_BACK };

static struct call *janitor_ask(struct sim *s, struct client *c)
{
    if (c->phase == JANITOR_SEEKS) return ask_acquire(c, "dirty", "cleaning");
    return ask_release(c, c->name, c->owner, sim_once_in(s, 10) ? "dirty" : "free");
}

static void janitor_hear(struct sim *s, struct client *c)
{
    if (c->phase == JANITOR_GIVES_BACK) {
        go_on(s, c, c->call.is_answered ? JANITOR_SEEKS : JANITOR_GIVES_BACK, POLL_NS);
    } else if (was_granted(c)) {
        hold(c);
        go_on(s, c, JANITOR_GIVES_BACK,
              sim_span(s, NS_PER_S, sim_once_in(s, 4) ? 10 * MINUTE_NS : 10 * NS_PER_S));
    } else if (c->tries-- == 0) {
        rest(c);
    } else {
        go_on(s, c, JANITOR_SEEKS, MINUTE_NS);
    }
}

// ---- who resets from outside ------------------------------------------------

static struct call *reaper_ask(struct sim *s, struct client *c)
{
    static const char *const states[] = {"busy", "cleaning", "leased"};
    static const char *const expires[] = {"30m", "30m", "1h30m", "10s", "-1s"};
    choose_type(s, c, sim_once_in(s, 3));
    return ask_reset(c, states[c->tries % 3], expires[sim_random(s, 5)], "dirty");
}

static void reaper_hear(struct sim *s, struct client *c)
{
    if (c->tries-- == 0) {
        rest(c);
    } else {
        go_on(s, c, 0, c->tries % 3 == 0 ? MINUTE_NS : 0);
    }
}

// ---- who takes away what is to be deleted -----------------------------------

enum { CLEANER_SEEKS, CLEANER_TAKES, CLEANER_RETURNS, CLEANER_EMPTIES, CLEANER_GIVES_BACK };

static struct call *cleaner_ask(struct sim *s, struct client *c)
{
    (void)s;
    switch (c->phase) {
    case CLEANER_SEEKS: return ask_acquire(c, "toBeDeleted", "cleaning");
    case CLEANER_TAKES: return ask_by_state(c, c->name, "cleaning", c->leased);
    case CLEANER_RETURNS: return ask_release(c, c->leased, c->owner, "dirty");
    case CLEANER_EMPTIES: return ask_update(c, c->owner, "cleaning", "{\"leasedResources\":\"\"}");
    default: return ask_release(c, c->name, c->owner, "tombstone");
    }
}

// A leased resource is a list of one: "[name]", or "- name\n".
static void unlist(char *names)
{
    char *to = names;
    for (const char *at = names; *at != '\0'; at++) {
        if (strchr("[] \n", *at) == NULL) *to++ = *at;
    }
    *to = '\0';
}

static void cleaner_hear(struct sim *s, struct client *c)
{
    if (!c->call.is_answered && c->phase != CLEANER_SEEKS) {
        go_on(s, c, c->phase, POLL_NS);
        return;
    }
    switch (c->phase) {
    case CLEANER_SEEKS:
        if (!was_granted(c)) {
            rest(c);
            break;
        }
        hold(c);
        unlist(c->leased);
        go_on(s, c, c->leased[0] != '\0' ? CLEANER_TAKES : CLEANER_EMPTIES, 0);
        break;
    case CLEANER_TAKES: go_on(s, c, was_done(c) ? CLEANER_RETURNS : CLEANER_EMPTIES, 0); break;
    case CLEANER_RETURNS: go_on(s, c, CLEANER_EMPTIES, 0); break;
    case CLEANER_EMPTIES: go_on(s, c, CLEANER_GIVES_BACK, 0); break;
    default: go_on(s, c, CLEANER_SEEKS, 15 * NS_PER_S); break;
    }
}

// ---- who builds on leased resources -----------------------------------------

enum { MASON_SEEKS, MASON_NEEDS, MASON_NOTES, MASON_OFFERS, MASON_LEASES, MASON_GIVES_UP };

static struct call *mason_ask(struct sim *s, struct client *c)
{
    char body[HELD_BYTES + 64];
    (void)s;
    switch (c->phase) {
    case MASON_SEEKS: return ask_acquire(c, "dirty", "cleaning");
    case MASON_NEEDS: {
        char kept = c->type[0];
        c->type[0] = 's'; // d1 needs an s1
        ask_acquire(c, "free", "leased");
        c->type[0] = kept;
        return &c->call;
    }
    case MASON_NOTES:
        snprintf(body, sizeof(body), "{\"leasedResources\":\"[%s]\"}", c->leased);
        return ask_update(c, c->owner, "cleaning", body);
    case MASON_OFFERS: return ask_release(c, c->name, c->owner, "free");
    case MASON_LEASES: return ask_release(c, c->leased, c->owner, c->name);
    default: return ask_release(c, c->name, c->owner, "dirty");
    }
}

static void mason_hear(struct sim *s, struct client *c)
{
    if (!c->call.is_answered && c->phase != MASON_SEEKS) {
        go_on(s, c, c->phase, POLL_NS);
        return;
    }
    switch (c->phase) {
    case MASON_SEEKS:
        if (!was_granted(c)) {
            rest(c);
            break;
        }
        hold(c);
        go_on(s, c, MASON_NEEDS, NS_PER_S);
        break;
    case MASON_NEEDS:
        if (was_granted(c)) {
            snprintf(c->leased, sizeof(c->leased), "%s", c->call.name);
            go_on(s, c, MASON_NOTES, 0);
        } else {
            go_on(s, c, c->tries-- > 0 ? MASON_NEEDS : MASON_GIVES_UP, POLL_NS);
        }
        break;
    case MASON_NOTES: go_on(s, c, MASON_OFFERS, sim_span(s, NS_PER_S, 20 * MINUTE_NS)); break;
    case MASON_OFFERS: go_on(s, c, MASON_LEASES, 0); break;
    case MASON_LEASES: go_on(s, c, MASON_SEEKS, 15 * NS_PER_S); break;
    default: rest(c); break;
    }
}

// ---- who takes a resource with all that is leased to it ---------------------

enum { LENDER_SEEKS, LENDER_TAKES, LENDER_RETURNS, LENDER_GIVES_BACK };

static struct call *lender_ask(struct sim *s, struct client *c)
{
    (void)s;
    switch (c->phase) {
    case LENDER_SEEKS: return ask_acquire(c, "free", "busy");
    case LENDER_TAKES: return ask_by_state(c, c->name, c->name, c->leased);
    case LENDER_RETURNS: return ask_release(c, c->leased, c->owner, c->name);
    default: return ask_release(c, c->name, c->owner, "dirty");
    }
}

static void lender_hear(struct sim *s, struct client *c)
{
    if (!c->call.is_answered && c->phase != LENDER_SEEKS) {
        go_on(s, c, c->phase, POLL_NS);
        return;
    }
    switch (c->phase) {
    case LENDER_SEEKS:
        if (was_granted(c)) {
            hold(c);
            unlist(c->leased);
            go_on(s, c, c->leased[0] != '\0' ? LENDER_TAKES : LENDER_GIVES_BACK, NS_PER_S);
        } else if (c->tries-- == 0) {
            rest(c);
        } else {
            go_on(s, c, LENDER_SEEKS, POLL_NS);
        }
        break;
    case LENDER_TAKES:
        go_on(s, c, was_done(c) ? LENDER_RETURNS : LENDER_GIVES_BACK,
              sim_span(s, NS_PER_S, 20 * MINUTE_NS));
        break;
    case LENDER_RETURNS: go_on(s, c, LENDER_GIVES_BACK, 0); break;
    default: rest(c); break;
    }
}

// ---- who does anything ------------------------------------------------------

static struct call *stranger_ask(struct sim *s, struct client *c)
{
    static const char *const states[] = {
        "free", "dirty", "busy", "leased", "toBeDeleted", "tombstone", "st\xc3\xa4te <&>\"\\ %",
        "s1-3"};
    static const char *const names[] = {"s0-1",   "s1-3,s1-4", "s2-2,s2-2",     ",s3-5",
                                        "nobody", "wanderer",  "s0-3,s1-3,s2-3"};
    static const char *const types[] = {"s0", "s1", "d0", "d1", "no \"such\"\n"};
    static const char *const expires[] = {"0", "1h", "-5m", "woooo", "30"};
    const char *state = states[sim_random(s, 8)];
    const char *dest = states[sim_random(s, 8)];
    const char *name = names[sim_random(s, 7)];
    snprintf(c->type, sizeof(c->type), "%s", types[sim_random(s, 5)]);
    snprintf(c->name, sizeof(c->name), "%s", name);
    switch (sim_random(s, 6)) {
    case 0: return ask_acquire(c, state, dest);
    case 1: return ask_by_state(c, state, dest, name);
    case 2: return ask_release(c, name, c->owner, dest);
    case 3: return ask_update(c, c->owner, state, sim_once_in(s, 2) ? "{\"a\":\"b\"}" : "[bad");
    case 4: return ask_reset(c, state, expires[sim_random(s, 5)], sim_once_in(s, 9) ? "" : dest);
    default: return ask_release(c, name, c->owner, "free");
    }
}

static void stranger_hear(struct sim *s, struct client *c)
{
    if (c->tries-- == 0) {
        rest(c);
    } else {
        go_on(s, c, 0, sim_span(s, NS_PER_MS, MINUTE_NS));
    }
}

// ---- all kinds --------------------------------------------------------------

static const struct {
    struct call *(*ask)(struct sim *s, struct client *c);
    void (*hear)(struct sim *s, struct client *c);
    uint32_t share, tries; // of 100 clients; how often it tries again
    bool is_dynamic;       // what its type is
} works[WORKS] = {
    [WORK_USER] = {user_ask, user_hear, 54, 40, false},
    [WORK_JANITOR] = {janitor_ask, janitor_hear, 24, 5, false},
    [WORK_REAPER] = {reaper_ask, reaper_hear, 4, 12, false},
    [WORK_CLEANER] = {cleaner_ask, cleaner_hear, 4, 0, true},
    [WORK_MASON] = {mason_ask, mason_hear, 5, 10, true},
    [WORK_LENDER] = {lender_ask, lender_hear, 5, 20, true},
    [WORK_STRANGER] = {stranger_ask, stranger_hear, 4, 10, false},
};

void work_begin(struct sim *s, struct client *c)
{
    uint64_t draw = sim_random(s, 100);
    uint32_t work = 0;
    while (work + 1 < WORKS && draw >= works[work].share)
        draw -= works[work++].share;
    c->work = (enum work)work;
    c->phase = 0;
    c->tries = 1 + (uint32_t)sim_random(s, works[work].tries + 1u);
    c->flaw = sim_once_in(s, 2) ? FLAW_NONE : (enum flaw)sim_random(s, FLAWS);
    if (c->flaw == FLAW_IMPATIENT) c->tries = (uint32_t)sim_random(s, 4);
    if (sim_once_in(s, 20)) c->tries += 400; // who waits for very long
    bool is_dynamic = works[work].is_dynamic || (work != WORK_STRANGER && sim_once_in(s, 5));
    choose_type(s, c, is_dynamic);
    // Owners come back: some share a name.
    snprintf(c->owner, sizeof(c->owner), "owner-%u",
             c->number % (sim_once_in(s, 10) ? 7 : CLIENTS_MAX));
    c->request_id[0] = c->key[0] = '\0';
    if (work == WORK_USER && (c->flaw == FLAW_ASKS_TWICE || sim_once_in(s, 3)))
        snprintf(c->key, sizeof(c->key), "key-%" PRIu64, s->now_ns / MINUTE_NS);
    if (c->flaw != FLAW_NO_ID && (work == WORK_USER || work == WORK_LENDER)) {
        snprintf(c->request_id, sizeof(c->request_id), "r-%u-%" PRIu64,
                 c->flaw == FLAW_SHARED_ID ? 0 : c->number,
                 c->flaw == FLAW_SHARED_ID ? 0 : s->now_ns);
    }
}

struct call *work_ask(struct sim *s, struct client *c)
{
    return works[c->work].ask(s, c);
}

void work_hear(struct sim *s, struct client *c)
{
    works[c->work].hear(s, c);
}
