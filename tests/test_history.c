// Random histories: the same commands to the state machine and to the model, compared at each step;
// a second state machine, with another hash seed and now and then read from a snapshot, must come
// to the same result rows. A history is repeated by its seed:
//
//   BOSKOS_SEED=17 test_history          this one history
//   BOSKOS_SEEDS=1000 BOSKOS_STEPS=9000  more of them, and longer ones
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/assert.h"
#include "tests/history_check.h"
#include "tests/model/model_private.h"

#include "base/banned.h"

#define SEEDS_DEFAULT 40u
#define STEPS_DEFAULT 3000u
#define RECENT 12u // commands shown with a difference

struct tally {
    uint64_t kinds[COMMAND_KINDS];
    uint64_t granted, repeats, mismatches; // acquires; the last two by idempotency key
};

struct history {
    uint64_t seed;
    struct maker maker;
    struct model *model;
    struct sm *first, *second;
    struct command_decoder *decoder;
    uint64_t reaped_ns;  // the last round of the reaper
    struct tally *tally; // of all histories
    struct buffer payload, rows[2], snapshots[2], complaint;
    struct buffer recent[RECENT];
};

static void history_init(struct history *h, uint64_t seed, struct tally *tally)
{
    *h = (struct history){.seed = seed, .tally = tally};
    h->model = model_new();
    h->first = sm_new(seed * 3 + 1);
    h->second = sm_new(seed * 5 + 7);
    h->decoder = command_decoder_new();
    maker_init(&h->maker, seed, h->model);
}

static void history_release(struct history *h)
{
    maker_release(&h->maker);
    model_free(h->model);
    sm_free(h->first);
    sm_free(h->second);
    command_decoder_free(h->decoder);
    buffer_release(&h->payload);
    buffer_release(&h->complaint);
    for (uint32_t i = 0; i < 2; i++) {
        buffer_release(&h->rows[i]);
        buffer_release(&h->snapshots[i]);
    }
    for (uint32_t i = 0; i < RECENT; i++)
        buffer_release(&h->recent[i]);
}

static bool complain(struct history *h, const char *what)
{
    buffer_format(&h->complaint, "%s\n", what);
    return false;
}

// ---- snapshots --------------------------------------------------------------

static int append(void *context, const void *bytes, size_t size)
{
    buffer_append(context, bytes, size);
    return 0;
}

static bool take_snapshot(struct sm *sm, struct buffer *into)
{
    buffer_clear(into);
    return sm_snapshot_write(sm, append, into) == 0;
}

// The second state machine goes on from what the first one's snapshot gives.
static bool pass_through_snapshot(struct history *h)
{
    struct sm *fresh = NULL;
    if (!take_snapshot(h->first, &h->snapshots[0])) return complain(h, "no snapshot was written");
    int err = sm_snapshot_read(buffer_as_text(&h->snapshots[0]), h->maker.random, &fresh);
    if (err != 0) return complain(h, boskos_error_text(err));
    sm_free(h->second);
    h->second = fresh;
    if (!take_snapshot(h->second, &h->snapshots[1])) return complain(h, "no second snapshot");
    if (!text_equal(buffer_as_text(&h->snapshots[0]), buffer_as_text(&h->snapshots[1])))
        return complain(h, "the snapshot of what a snapshot gave is another one");
    if (!hash128_equal(sm_digest_from_scratch(fresh), sm_digest(h->first)))
        return complain(h, "another digest after a snapshot");
    return true;
}

// ---- one step ---------------------------------------------------------------

static void note_reap(struct history *h, const struct command *c)
{
    const struct model *m = h->model;
    if (c->kind != COMMAND_REAP || !m->reaper.is_enabled) return;
    uint64_t since_ns = m->gaps_count > 0 ? m->gaps[m->gaps_count - 1].at_ns : 0;
    if (c->time_ns >= since_ns + (uint64_t)m->reaper.period_ns) h->reaped_ns = c->time_ns;
}

static bool decode(struct history *h, const struct command *c, struct command *ret_decoded)
{
    buffer_clear(&h->payload);
    command_encode(c, &h->payload);
    int err = command_decode(h->decoder, c->kind, buffer_as_text(&h->payload), ret_decoded);
    if (err != 0) return complain(h, "a command's encoding is not taken");
    ret_decoded->seq = c->seq;
    ret_decoded->time_ns = c->time_ns;
    return true;
}

static bool apply(struct history *h, const struct command *c, const struct command *decoded)
{
    struct sm_result results[2];
    struct hash128 before = sm_digest(h->first);
    sm_apply(h->first, c, &results[0]);
    sm_apply(h->second, decoded, &results[1]);
    for (uint32_t i = 0; i < 2; i++) {
        buffer_clear(&h->rows[i]);
        sm_result_encode(&results[i], &h->rows[i]);
    }
    // The model last: what the command points to may be its own.
    struct model_reply reply;
    model_apply(h->model, decoded, &reply);
    struct tally *t = h->tally;
    t->kinds[c->kind]++;
    t->granted += c->kind == COMMAND_ACQUIRE && reply.reason == SM_OK && !reply.is_repeat;
    t->repeats += reply.is_repeat;
    t->mismatches += reply.reason == SM_KEY_MISMATCH;
    bool is_same = check_reply(&results[0], &reply, &h->complaint);
    if (!text_equal(buffer_as_text(&h->rows[0]), buffer_as_text(&h->rows[1])))
        is_same = complain(h, "the second state machine has another result row");
    if (results[0].effect == 0 && !hash128_equal(before, results[0].digest))
        is_same = complain(h, "no effect, and yet another digest");
    model_reply_release(&reply);
    return is_same;
}

static bool check_state(struct history *h)
{
    bool is_same = check_dump(h->first, h->model, &h->complaint);
    is_same &= check_queries(h->first, h->model, &h->maker, h->reaped_ns, &h->complaint);
    if (!hash128_equal(sm_digest(h->first), sm_digest_from_scratch(h->first)))
        is_same = complain(h, "the digest is not the one from scratch");
    return is_same;
}

static bool step(struct history *h, uint64_t number)
{
    struct command c, decoded;
    maker_next(&h->maker, &c);
    struct buffer *line = &h->recent[number % RECENT];
    buffer_clear(line);
    command_describe(&c, line);
    if (!decode(h, &c, &decoded)) return false;
    note_reap(h, &c);
    if (!apply(h, &c, &decoded)) return false;
    if (maker_random(&h->maker, 5) == 0 && !check_state(h)) return false;
    return maker_random(&h->maker, 100) > 0 || pass_through_snapshot(h);
}

static void print_difference(const struct history *h, uint64_t number)
{
    fprintf(stderr, "seed %" PRIu64 ", step %" PRIu64 " (repeat it with BOSKOS_SEED=%" PRIu64 ")\n",
            h->seed, number, h->seed);
    for (uint64_t i = number < RECENT ? 0 : number - RECENT + 1; i <= number; i++) {
        struct text line = buffer_as_text(&h->recent[i % RECENT]);
        fprintf(stderr, "  %.*s", TEXT_ARG(line));
    }
    fprintf(stderr, "%.*s", TEXT_ARG(buffer_as_text(&h->complaint)));
}

// ---- all of them ------------------------------------------------------------

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *value = getenv(name);
    return value == NULL ? otherwise : strtoull(value, NULL, 10);
}

static bool play(uint64_t seed, uint64_t steps, struct tally *tally)
{
    struct history h;
    history_init(&h, seed, tally);
    bool is_same = true;
    for (uint64_t number = 0; number < steps && is_same; number++) {
        is_same = step(&h, number);
        if (!is_same) print_difference(&h, number);
    }
    history_release(&h);
    return is_same;
}

static void test_histories(void **unused)
{
    (void)unused;
    bool is_one = getenv("BOSKOS_SEED") != NULL;
    uint64_t first = setting("BOSKOS_SEED", 1);
    uint64_t seeds = is_one ? 1 : setting("BOSKOS_SEEDS", SEEDS_DEFAULT);
    uint64_t steps = setting("BOSKOS_STEPS", STEPS_DEFAULT);
    struct tally tally = {0};
    uint64_t failed = 0;
    print_message("seeds %" PRIu64 " to %" PRIu64 ", %" PRIu64 " steps each\n", first,
                  first + seeds - 1, steps);
    for (uint64_t seed = first; seed < first + seeds && failed == 0; seed++)
        failed += !play(seed, steps, &tally);
    for (uint32_t i = 1; i < COMMAND_KINDS; i++)
        print_message("%s %" PRIu64 "\n", command_kind_name(i), tally.kinds[i]);
    print_message("acquires granted %" PRIu64 ", repeated %" PRIu64 ", with a key in use %" PRIu64
                  "\n",
                  tally.granted, tally.repeats, tally.mismatches);
    assert_int_equal(failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_histories)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
