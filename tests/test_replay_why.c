// tests/test_replay_why.c
//
// What `boskos-replay why` tells of acquires before they are applied is what applying them comes
// to, over random histories: the answer, the resource, the place in the queue, and for each
// candidate why it was passed over. What is said to be kept for a request is what that request
// gets.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "replay/foresee.h"
#include "tests/history_make.h"

#include "base/banned.h"

#define SEEDS 20u
#define STEPS 2000u
#define START_NS (UINT64_C(1700000000) * NS_PER_S)

struct tally {
    uint64_t granted, behind, refused, no_type, repeated, mismatched; // acquires
    uint64_t kept, making, lost, dead, polled;
    uint64_t named, unnamed, emptied; // acquirebystates
};

struct history {
    struct maker maker;
    struct model *model;
    struct sm *sm;
    struct command_decoder *decoder;
    struct tally *tally;
    struct buffer payload, snapshot;
    struct buffer type, state; // what a crowd asks for
};

// ---- candidates ---------------------------------------------------------------

struct seen {
    const struct command_acquire *c;
    const struct foreseen *f;
    uint64_t count, by_passed[PASSED_KINDS];
    struct text handed_out;
};

static bool see_candidate(void *context, const struct candidate *candidate)
{
    struct seen *s = context;
    const struct sm_resource *r = &candidate->resource;
    bool is_unowned = text_is_empty(r->owner), is_in_state = text_equal(r->state, s->c->state);
    assert_true(text_equal(r->type, s->c->type));
    switch (candidate->passed) {
    case PASSED_NOT:
        assert_int_equal(s->count, s->f->ahead);
        s->handed_out = r->name;
        break;
    case PASSED_KEPT:
        // The first for the first, and so on.
        assert_int_equal(candidate->kept_for->rank, s->count + 1);
        break;
    case PASSED_YOUNGER: assert_true(s->count > s->f->ahead); break;
    case PASSED_OWNED: assert_false(is_unowned); break;
    case PASSED_STATE: assert_false(is_in_state); break;
    }
    if (candidate->passed != PASSED_OWNED) assert_true(is_unowned);
    if (candidate->passed < PASSED_OWNED) assert_true(is_in_state);
    assert_true((candidate->kept_for != NULL) == (candidate->passed == PASSED_KEPT));
    s->by_passed[candidate->passed]++;
    s->count++;
    return true;
}

static void check_candidates(struct history *h, const struct command_acquire *c,
                             const struct foreseen *f)
{
    struct seen s = {.c = c, .f = f};
    foreseen_candidates(h->sm, c, f, see_candidate, &s);
    bool is_granted = f->reason == SM_OK;
    uint64_t kept = f->available < f->ahead ? f->available : f->ahead;
    assert_int_equal(s.count, f->type_count);
    assert_int_equal(s.by_passed[PASSED_NOT], is_granted);
    assert_int_equal(s.by_passed[PASSED_KEPT], kept);
    assert_int_equal(s.by_passed[PASSED_YOUNGER], is_granted ? f->available - kept - 1 : 0);
    // A refusal leaves nothing that is not kept; a grant leaves one for each request ahead.
    assert_true(is_granted ? kept == f->ahead : kept == f->available);
    if (is_granted) assert_true(text_equal(s.handed_out, f->resource.name));
    h->tally->kept += kept;
}

// ---- who has one kept gets it ---------------------------------------------------

static int append(void *context, const void *bytes, size_t size)
{
    buffer_append(context, bytes, size);
    return 0;
}

struct kept_name {
    struct text name;
    uint32_t at, wanted;
};

static bool take_kept(void *context, const struct sm_resource *r)
{
    struct kept_name *k = context;
    if (k->at++ < k->wanted) return true;
    k->name = r->name;
    return false;
}

// A request ahead polls in place of the command, on a copy of the state.
static void check_kept(struct history *h, const struct command *c, const struct foreseen *f)
{
    const struct command_acquire *a = &c->as.acquire;
    uint64_t kept = f->available < f->ahead ? f->available : f->ahead;
    if (kept == 0 || maker_random(&h->maker, 4) > 0) return;
    uint32_t i = (uint32_t)maker_random(&h->maker, kept);
    struct kept_name wanted = {.wanted = i};
    sm_unowned(h->sm, a->type, a->state, take_kept, &wanted);

    struct sm *copy = NULL;
    buffer_clear(&h->snapshot);
    assert_int_equal(sm_snapshot_write(h->sm, append, &h->snapshot), 0);
    assert_int_equal(sm_snapshot_read(buffer_as_text(&h->snapshot), 7, &copy), 0);
    struct command poll = *c;
    poll.as.acquire.request_id = f->live[i].request_id;
    poll.as.acquire.key = TEXT_NONE;
    struct sm_result result;
    sm_apply(copy, &poll, &result);
    assert_int_equal(result.reason, SM_OK);
    assert_true(text_equal(result.resources[0].name, wanted.name));
    assert_int_equal(result.waited_ns, c->time_ns - f->live[i].first_poll_ns);
    sm_free(copy);
    h->tally->polled++;
}

// ---- acquire --------------------------------------------------------------------

struct place {
    const struct command_acquire *c;
    uint32_t rank; // 0: none
};

static bool find_place(void *context, const struct sm_queue_entry *e)
{
    struct place *p = context;
    if (text_equal(e->type, p->c->type) && text_equal(e->state, p->c->state) &&
        text_equal(e->request_id, p->c->request_id))
        p->rank = e->rank;
    return true;
}

static bool has_made(struct sm *sm, struct text type)
{
    struct sm_change change;
    uint32_t count = sm_changes(sm);
    for (uint32_t i = 0; i < count; i++) {
        sm_change(sm, i, &change);
        if (!change.was_there && text_equal(change.after.type, type)) return true;
    }
    return false;
}

static void count_acquire(struct tally *t, const struct foreseen *f)
{
    bool is_keyed = f->is_repeat || f->reason == SM_KEY_MISMATCH;
    t->granted += f->reason == SM_OK && !f->is_repeat;
    t->behind += f->reason == SM_OK && f->ahead > 0;
    t->refused += f->reason == SM_NO_AVAILABLE;
    t->no_type += f->reason == SM_NO_SUCH_TYPE;
    t->repeated += f->is_repeat;
    t->mismatched += f->reason == SM_KEY_MISMATCH;
    t->making += f->is_making;
    t->lost += !is_keyed && f->own == NULL && f->lost != NULL;
    t->dead += f->dead_count;
}

static void check_acquire(struct history *h, const struct command *c)
{
    const struct command_acquire *a = &c->as.acquire;
    struct foreseen f;
    struct sm_result result;
    foresee_acquire(h->sm, a, c->time_ns, &f);
    bool is_keyed = f.is_repeat || f.reason == SM_KEY_MISMATCH;
    if (!is_keyed) {
        check_candidates(h, a, &f);
        check_kept(h, c, &f);
    }
    count_acquire(h->tally, &f);
    sm_apply(h->sm, c, &result);
    assert_int_equal(result.reason, f.reason);
    assert_int_equal(result.is_repeat, f.is_repeat);
    assert_int_equal(result.waited_ns, f.waited_ns);
    assert_int_equal(f.has_resource, f.reason == SM_OK || f.reason == SM_KEY_MISMATCH);
    if (result.reason == SM_OK) {
        assert_int_equal(result.resources_count, 1);
        assert_true(text_equal(result.resources[0].name, f.resource.name));
    }
    if (!is_keyed) {
        struct place p = {.c = a};
        sm_queues(h->sm, c->time_ns, find_place, &p);
        assert_int_equal(p.rank, f.is_queued ? f.ahead + 1 : 0);
        if (f.is_making) assert_true(has_made(h->sm, a->type));
    }
    foreseen_release(&f);
}

// ---- acquirebystate ---------------------------------------------------------------

static void see_name(void *context, const struct named_resource *n)
{
    uint32_t *good = context;
    *good += n->named == NAMED_GOOD;
    bool has_resource = n->named != NAMED_EMPTY && n->named != NAMED_MISSING;
    if (has_resource) assert_true(text_equal(n->name, n->resource.name));
    assert_true((n->named == NAMED_EMPTY) == text_is_empty(n->name));
    if (n->named == NAMED_OWNED) assert_false(text_is_empty(n->resource.owner));
}

static void check_names(struct history *h, const struct command *c)
{
    struct foreseen_names f;
    struct sm_result result;
    struct sm_change change;
    uint32_t good = 0, taken = 0;
    foresee_names(h->sm, &c->as.acquirebystate, see_name, &good, &f);
    sm_apply(h->sm, c, &result);
    assert_int_equal(f.good, good);
    assert_int_equal(result.reason, f.is_granted ? SM_OK : SM_NO_AVAILABLE);
    uint32_t count = sm_changes(h->sm);
    for (uint32_t i = 0; i < count; i++) {
        sm_change(h->sm, i, &change);
        taken += change.was_there && change.is_there && text_is_empty(change.before.owner) &&
                 !text_is_empty(change.after.owner);
    }
    assert_int_equal(taken > 0, f.is_handing_out);
    assert_true(taken <= good); // a name may be there twice
    if (f.is_granted) assert_int_equal(taken, result.resources_count);
    h->tally->named += f.is_granted;
    h->tally->unnamed += !f.is_granted;
    h->tally->emptied += f.is_handing_out && !f.is_granted;
}

// ---- histories --------------------------------------------------------------------

// The maker's requests seldom want the same. A crowd does: a few requests, again and again, of one
// type and state for a while, into which much is released.
static void crowd(struct history *h, struct command *c)
{
    static const char *const ids[] = {"c0", "c1", "c2", "c3", "c4", "c5"};
    if (c->kind == COMMAND_ACQUIRE && maker_random(&h->maker, 10) == 0) {
        buffer_clear(&h->type);
        buffer_text(&h->type, c->as.acquire.type);
        buffer_clear(&h->state);
        buffer_text(&h->state, c->as.acquire.state);
    }
    if (c->kind == COMMAND_RELEASE && maker_random(&h->maker, 2) == 0)
        c->as.release.dest = buffer_as_text(&h->state);
    if (maker_random(&h->maker, 2) == 0) return;
    c->kind = COMMAND_ACQUIRE;
    c->as.acquire = (struct command_acquire){
        .type = buffer_as_text(&h->type),
        .state = buffer_as_text(&h->state),
        .dest = TEXT("crowded"),
        .owner = TEXT("crowd"),
        .request_id = text_from(ids[maker_random(&h->maker, sizeof(ids) / sizeof(ids[0]))])};
}

static void step(struct history *h)
{
    struct command made, c;
    struct sm_result result;
    struct model_reply reply;
    maker_next(&h->maker, &made);
    // Its texts may be the model's own, which applying it changes.
    buffer_clear(&h->payload);
    command_encode(&made, &h->payload);
    int err = command_decode(h->decoder, made.kind, buffer_as_text(&h->payload), &c);
    assert_int_equal(err, 0);
    c.seq = made.seq;
    c.time_ns = made.time_ns;
    crowd(h, &c);
    if (c.kind == COMMAND_ACQUIRE)
        check_acquire(h, &c);
    else if (c.kind == COMMAND_ACQUIREBYSTATE)
        check_names(h, &c);
    else
        sm_apply(h->sm, &c, &result);
    model_apply(h->model, &c, &reply);
    model_reply_release(&reply);
}

static void play(uint64_t seed, struct tally *tally)
{
    struct history h = {.tally = tally, .model = model_new(), .sm = sm_new(seed)};
    h.decoder = command_decoder_new();
    maker_init(&h.maker, seed, h.model);
    buffer_string(&h.type, "t");
    buffer_string(&h.state, "free");
    sm_trace(h.sm);
    for (uint32_t i = 0; i < STEPS; i++)
        step(&h);
    maker_release(&h.maker);
    model_free(h.model);
    sm_free(h.sm);
    command_decoder_free(h.decoder);
    buffer_release(&h.payload);
    buffer_release(&h.snapshot);
    buffer_release(&h.type);
    buffer_release(&h.state);
}

static void test_histories(void **unused)
{
    (void)unused;
    struct tally t = {0};
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        play(seed, &t);
    print_message("acquires: %" PRIu64 " granted, %" PRIu64 " of them behind others, %" PRIu64
                  " refused, %" PRIu64 " without a type, %" PRIu64 " repeated, %" PRIu64
                  " with a key in use\n",
                  t.granted, t.behind, t.refused, t.no_type, t.repeated, t.mismatched);
    print_message("%" PRIu64 " kept, %" PRIu64 " polled for, %" PRIu64 " made, %" PRIu64
                  " lost their place, %" PRIu64 " dead entries\n",
                  t.kept, t.polled, t.making, t.lost, t.dead);
    print_message("acquirebystates: %" PRIu64 " granted, %" PRIu64 " refused, %" PRIu64
                  " handed out all the same\n",
                  t.named, t.unnamed, t.emptied);
    // Each way an acquire can end was there, and often.
    assert_true(t.granted > 1000 && t.behind > 20 && t.refused > 1000 && t.no_type > 100);
    assert_true(t.repeated > 100 && t.mismatched > 100 && t.kept > 100 && t.polled > 20);
    assert_true(t.making > 100 && t.lost > 20 && t.dead > 100);
    assert_true(t.named > 100 && t.unnamed > 100 && t.emptied > 5);
}

// ---- full queues --------------------------------------------------------------------

static struct sm_result apply(struct sm *sm, struct command c, uint64_t time_ns)
{
    struct sm_result result;
    c.seq = sm_seq(sm) + 1;
    c.time_ns = time_ns;
    sm_apply(sm, &c, &result);
    return result;
}

static struct command acquire_of(const char *state, const char *id)
{
    return (struct command){.kind = COMMAND_ACQUIRE,
                            .as.acquire = {TEXT("t"), text_from(state), TEXT("busy"), TEXT("ann"),
                                           text_from(id), TEXT_NONE}};
}

static enum sm_reason foreseen_and_applied(struct sm *sm, const char *state, const char *id,
                                           uint64_t time_ns)
{
    struct command c = acquire_of(state, id);
    struct foreseen f;
    foresee_acquire(sm, &c.as.acquire, time_ns, &f);
    enum sm_reason foreseen = f.reason;
    bool has_resource = f.has_resource;
    foreseen_release(&f);
    assert_int_equal(apply(sm, c, time_ns).reason, foreseen);
    assert_int_equal(has_resource, foreseen == SM_OK);
    return foreseen;
}

static void fill_queue(struct sm *sm, const char *state)
{
    char id[16];
    for (uint32_t i = 0; i < SM_QUEUE_ENTRIES_MAX; i++) {
        (void)snprintf(id, sizeof(id), "%u", i);
        struct sm_result refused = apply(sm, acquire_of(state, id), START_NS);
        assert_int_equal(refused.reason, SM_NO_AVAILABLE);
    }
}

static void test_full_queues(void **unused)
{
    (void)unused;
    static const struct text names[] = {TEXT("a")};
    struct sm_entry entry = {
        .type = TEXT("t"), .state = TEXT("free"), .names = names, .names_count = 1};
    struct command config = {.kind = COMMAND_CONFIG,
                             .as.config = {.entries = &entry, .entries_count = 1}};
    struct sm *sm = sm_new(1);
    apply(sm, config, START_NS);
    uint32_t queues = SM_QUEUE_ENTRIES_TOTAL_MAX / SM_QUEUE_ENTRIES_MAX;
    for (uint32_t i = 0; i < queues; i++) {
        char state[16];
        (void)snprintf(state, sizeof(state), "state-%u", i);
        fill_queue(sm, state);
        if (i > 0) continue;
        // One queue is full: those in it go on, and so do all others.
        assert_int_equal(foreseen_and_applied(sm, state, "new", START_NS), SM_QUEUE_FULL);
        assert_int_equal(foreseen_and_applied(sm, state, "99", START_NS), SM_NO_AVAILABLE);
        assert_int_equal(foreseen_and_applied(sm, state, "", START_NS), SM_NO_AVAILABLE);
    }
    // All are full: not even what is free is handed out to a request that is new.
    assert_int_equal(foreseen_and_applied(sm, "free", "new", START_NS), SM_QUEUES_FULL);
    assert_int_equal(foreseen_and_applied(sm, "free", "", START_NS), SM_OK);
    uint64_t later_ns = START_NS + SM_REQUEST_TTL_DEFAULT_NS + 1;
    assert_int_equal(foreseen_and_applied(sm, "free", "new", later_ns), SM_NO_AVAILABLE);
    sm_free(sm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_histories),
        cmocka_unit_test(test_full_queues),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
