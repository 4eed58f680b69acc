// The audit follows the log as it lies on the disk, record by record, across crashes: each goes to
// the model and to a second state, and what they say is compared with what the clients heard.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "tests/rigs/simulator/simulator.h"

#include "base/banned.h"

void audit_init(struct sim *s)
{
    s->second = sm_new(s->seed + 1);
    s->model = model_new();
    s->decoder = command_decoder_new();
    s->leases = must_calloc(LEASES_MAX, sizeof(s->leases[0]));
    maker_init(&s->maker, s->seed, s->model);
}

void audit_release(struct sim *s)
{
    sm_free(s->second);
    model_free(s->model);
    command_decoder_free(s->decoder);
    maker_release(&s->maker);
    free(s->leases);
    free(s->tickets.list);
}

void audit_heard(struct sim *s, struct call *c)
{
    ASSERT(s->heard_count < CLIENTS_MAX);
    s->heard[s->heard_count++] = c;
}

// ---- leases -----------------------------------------------------------------

static struct lease *lease_find(struct sim *s, struct text name)
{
    for (uint32_t i = 0; i < s->leases_count; i++) {
        if (text_equal(text_from(s->leases[i].name), name)) return &s->leases[i];
    }
    return NULL;
}

static void lease_end(struct sim *s, struct lease *l)
{
    *l = s->leases[--s->leases_count];
}

// 0: the acquire has no idempotency key.
static uint64_t key_of(const struct command *c)
{
    if (c->kind != COMMAND_ACQUIRE || c->as.acquire.key.size == 0) return 0;
    return hash64(c->as.acquire.key.data, c->as.acquire.key.size, 1) | 1;
}

// A repeated acquire is told of the lease that its key has, and no key has two.
static bool check_key(struct sim *s, const struct command *c, const struct sm_result *r)
{
    uint64_t key = key_of(c);
    struct lease *of_key = NULL;
    for (uint32_t i = 0; i < s->leases_count && key != 0; i++) {
        struct lease *l = &s->leases[i];
        if (l->key == key && text_equal(text_from(l->owner), c->as.acquire.owner)) of_key = l;
    }
    if (!r->is_repeat) {
        return of_key == NULL || sim_fail(s, "a second lease for the key of %s", of_key->name);
    }
    s->tally.repeats++;
    return (of_key != NULL && text_equal(text_from(of_key->name), r->resources[0].name)) ||
           sim_fail(s, "a key was told of a lease it does not have");
}

static bool lease_begin(struct sim *s, const struct command *c, struct text name, struct text owner)
{
    struct lease *l = lease_find(s, name);
    s->tally.grants++;
    if (l != NULL) {
        return sim_fail(s,
                        "a double lease: %.*s goes to %.*s with record %" PRIu64
                        ", %s has had it since record %" PRIu64,
                        TEXT_ARG(name), TEXT_ARG(owner), c->seq, l->owner, l->seq);
    }
    ASSERT(s->leases_count < LEASES_MAX);
    l = &s->leases[s->leases_count++];
    snprintf(l->name, sizeof(l->name), "%.*s", TEXT_ARG(name));
    snprintf(l->owner, sizeof(l->owner), "%.*s", TEXT_ARG(owner));
    l->seq = c->seq;
    l->key = key_of(c);
    return true;
}

// Looks at each lease in the second state: only a reaper's round may have ended one.
static bool leases_look(struct sim *s, const struct command *c)
{
    for (uint32_t i = 0; i < s->leases_count;) {
        struct lease *l = &s->leases[i];
        struct sm_resource r;
        bool is_there = sm_find(s->second, text_from(l->name), &r) == 0;
        if (is_there && text_equal(r.owner, text_from(l->owner))) {
            i++;
        } else if ((!is_there || r.owner.size == 0) && c->kind == COMMAND_REAP) {
            // A name that is gone from the config is gone as soon as it is free.
            s->tally.reaped++;
            lease_end(s, l);
        } else {
            return sim_fail(s, "%s lost %s by a command that takes no lease: %s", l->owner, l->name,
                            command_kind_name(c->kind));
        }
    }
    return true;
}

static bool lease_given_back(struct sim *s, struct text name, struct text owner)
{
    struct lease *l = lease_find(s, name);
    if (l == NULL) return true; // taken by a call whose reply was a refusal
    if (!text_equal(text_from(l->owner), owner)) {
        return sim_fail(s, "%.*s was given back by %.*s, but %s has it", TEXT_ARG(name),
                        TEXT_ARG(owner), l->owner);
    }
    lease_end(s, l);
    return true;
}

static bool leases_follow(struct sim *s, const struct command *c, const struct sm_result *r)
{
    bool is_fine = true;
    switch (c->kind) {
    case COMMAND_ACQUIRE:
    case COMMAND_ACQUIREBYSTATE:
        if (r->reason != SM_OK) return true;
        if (!check_key(s, c, r)) return false;
        for (uint32_t i = 0; i < r->resources_count && !r->is_repeat; i++)
            is_fine &= lease_begin(s, c, r->resources[i].name, r->resources[i].owner);
        return is_fine;
    case COMMAND_RELEASE:
        if (r->reason != SM_OK) return true;
        return lease_given_back(s, c->as.release.name, c->as.release.owner);
    case COMMAND_RESET:
        for (uint32_t i = 0; i < r->reset_count; i++) {
            struct sm_reset reset = sm_reset(r, i);
            is_fine &= lease_given_back(s, reset.name, reset.owner);
        }
        return is_fine;
    case COMMAND_UPDATE: return true;
    case COMMAND_CLOCK: s->clocks += c->seq > s->recovered_seq; return leases_look(s, c);
    case COMMAND_CONFIG:
    case COMMAND_EXPIRE:
    case COMMAND_REAP:
    case COMMAND_CLEAN:
    case COMMAND_STARTED:
    case COMMAND_REPAIRED:
    case COMMAND_IMPORT: return leases_look(s, c);
    }
    return true;
}

// ---- replies ----------------------------------------------------------------

// What a client heard under the record's number is, byte for byte, what the record comes to, in
// which the state machine and the model agree.
static bool check_heard(struct sim *s, const struct command *c, const struct sm_result *wanted)
{
    if (s->heard_checked == s->heard_count) return true;
    const struct call *call = s->heard[s->heard_checked];
    if (call->seq > c->seq) return true;
    if (call->seq < c->seq) return sim_fail(s, "a reply's record %" PRIu64 " is gone", call->seq);
    s->heard_checked++;
    struct wire_reply reply = {0};
    struct buffer text;
    buffer_init(&text);
    wire_result(c, wanted, &reply, &text);
    bool is_same = reply.status == call->reply.status &&
                   text_equal(buffer_as_text(&text), buffer_as_text(&call->text));
    if (!is_same) {
        sim_fail(s, "record %" PRIu64 " was answered %u %.*s\nand comes to %u %.*s", c->seq,
                 call->reply.status, TEXT_ARG(buffer_as_text(&call->text)), reply.status,
                 TEXT_ARG(buffer_as_text(&text)));
    }
    buffer_release(&text);
    return is_same;
}

// ---- records ----------------------------------------------------------------

static void note_reap(struct sim *s, const struct command *c)
{
    const struct model *m = s->model;
    if (c->kind != COMMAND_REAP || !m->reaper.is_enabled) return;
    uint64_t since_ns = m->gaps_count > 0 ? m->gaps[m->gaps_count - 1].at_ns : 0;
    if (c->time_ns >= since_ns + (uint64_t)m->reaper.period_ns) s->reaped_ns = c->time_ns;
}

static bool audit_command(struct sim *s, const struct command *c)
{
    struct sm_result result;
    struct model_reply reply;
    uint64_t before_ns = s->time_ns;
    if (c->time_ns < before_ns) return sim_fail(s, "time goes back with record %" PRIu64, c->seq);
    s->time_ns = c->time_ns;
    s->kinds |= 1u << c->kind;
    note_reap(s, c);
    sm_apply(s->second, c, &result);
    model_apply(s->model, c, &reply);
    bool is_fine = check_reply(&result, &reply, &s->complaint);
    if (!is_fine)
        sim_fail(s, "record %" PRIu64 " came to something else than in the model", c->seq);
    is_fine = is_fine && check_heard(s, c, &result);
    tickets_record(s, c, &result, before_ns);
    is_fine = is_fine && leases_follow(s, c, &result);
    model_reply_release(&reply);
    return is_fine;
}

static bool audit_record(struct sim *s, const struct record *r)
{
    struct command c;
    if (r->seq != sm_seq(s->second) + 1) return sim_fail(s, "record %" PRIu64 " is next", r->seq);
    if (command_decode(s->decoder, r->kind, r->payload, &c) != 0)
        return sim_fail(s, "record %" PRIu64 " cannot be decoded", r->seq);
    c.seq = r->seq;
    c.time_ns = r->time_ns;
    s->chain = r->chain;
    command_describe(&c, sim_note_begin(s));
    return audit_command(s, &c);
}

// ---- following --------------------------------------------------------------

bool audit_open(struct sim *s)
{
    struct journal_problem problem = {0};
    uint64_t from = sm_seq(s->second) + 1;
    uint64_t last = sm_seq(s->engine->sm);
    s->clocks = 0;
    if (last < from) // the start itself is a record beyond what was seen
        return sim_fail(
            s, "acknowledged records are gone: %" PRIu64 " was the last, now it is %" PRIu64,
            from - 1, last);
    if (last < s->acknowledged_seq)
        return sim_fail(s, "%" PRIu64 " was acknowledged, and the last is %" PRIu64,
                        s->acknowledged_seq, last);
    int err = journal_cursor_open(s->engine->journal, from, from > 1 ? &s->chain : NULL, &s->cursor,
                                  &problem);
    if (err == 0) return true;
    return sim_fail(s, "the log does not go on from where it was: %s", problem.text);
}

void audit_close(struct sim *s)
{
    journal_cursor_close(s->cursor);
    s->cursor = NULL;
}

bool audit_follow(struct sim *s)
{
    struct journal_problem problem = {0};
    struct record r;
    struct journal_row row;
    int err;
    while (!s->has_failed && (err = journal_cursor_next(s->cursor, &r, &row, &problem)) == 0)
        audit_record(s, &r);
    if (s->has_failed) return false;
    if (err != BOSKOS_E_NOT_FOUND) return sim_fail(s, "the log: %s", problem.text);
    if (s->heard_checked != s->heard_count)
        return sim_fail(s, "a reply was given before its record was durable");
    if (!hash128_equal(sm_digest(s->second), sm_digest(s->engine->sm)))
        return sim_fail(s, "the engine's digest is not the one of its log at %" PRIu64,
                        sm_seq(s->second));
    return true;
}
