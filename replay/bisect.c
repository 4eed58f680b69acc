// bisect: the first command after which a test of the state fails, between a point where it holds
// (--good) and a later one where it does not (--bad). The test is a command of the user's (--run),
// whose exit code says 0 good, 1 to 124 bad, 125 cannot tell, or an invariant (--invariant).
//
// Both ends are tested first. Of what is between, the middle is tested again and again; where the
// command cannot tell, others around it are tried, as git does. One state is in memory at a time:
// it goes forward where that is nearer than to begin anew with a snapshot.
//
// On a terminal it says on stderr what it is testing. Prints the command as `log` does, with its
// effects, and for an invariant what breaks it. With --json the object of `log`, which for an
// invariant also has `why`.
#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "replay/changes.h"
#include "replay/entry.h"
#include "replay/invariants.h"
#include "replay/replay.h"
#include "replay/tester.h"
#include "wire/wire.h"

#include "base/banned.h"

#define CODE_CANNOT_TELL 125
#define CODE_BAD_MOST 124

enum verdict { VERDICT_GOOD, VERDICT_BAD, VERDICT_UNKNOWN };

struct bisect {
    struct replay *r;
    struct walk *walk; // NULL: none
    bool has_invariant;
    struct invariant invariant;
    struct buffer why;  // of the last test, where it is an invariant's
    uint64_t good, bad; // the nearest known so far
    // Numbers between good and bad of which the command cannot tell, ascending.
    uint64_t *unknown;
    size_t unknown_count, unknown_capacity;
};

// ---- going to a state -------------------------------------------------------------------

// The newest state that replaying to `seq` can begin with.
static int nearest_base(struct bisect *b, uint64_t seq, uint64_t *ret_base)
{
    uint64_t *bases = NULL, base = 0;
    size_t count = 0;
    int err = source_bases(b->r->source, &bases, &count, &b->r->problem);
    if (err != 0) return err;
    for (size_t i = 0; i < count; i++) {
        if (bases[i] <= seq) base = bases[i];
    }
    free(bases);
    *ret_base = base;
    return 0;
}

// Whether going on from the present state is shorter. To load a resource of a snapshot takes about
// as long as to apply a command.
static int is_ahead(struct bisect *b, uint64_t seq, bool *ret_is_ahead)
{
    uint64_t base = 0;
    *ret_is_ahead = false;
    if (b->walk == NULL || sm_seq(walk_state(b->walk)) > seq) return 0;
    int err = nearest_base(b, seq, &base);
    if (err != 0) return err;
    uint64_t here = sm_seq(walk_state(b->walk));
    *ret_is_ahead = base <= here || base - here <= sm_resources_count(walk_state(b->walk));
    return 0;
}

static int go_to(struct bisect *b, uint64_t seq)
{
    struct replay *r = b->r;
    bool goes_on = false;
    int err = is_ahead(b, seq, &goes_on);
    if (err != 0) return err;
    if (!goes_on) {
        walk_close(b->walk);
        b->walk = NULL;
        return replay_walk(r, seq, &b->walk);
    }
    progress_begin(&r->progress, "commands");
    err = walk_to(b->walk, seq, &r->report, &r->problem);
    progress_end(&r->progress);
    return err;
}

// ---- a test -------------------------------------------------------------------------------

static int run_command(struct bisect *b, uint64_t seq, enum verdict *ret_verdict)
{
    struct tester_end end = {0};
    struct replay *r = b->r;
    int err = tester_run(r->options->run, walk_state(b->walk), &end, &r->problem);
    if (err != 0) return err;
    if (end.signal > 0)
        return replay_fail(r, BOSKOS_E_IO,
                           "after command %" PRIu64 " the command was ended by signal %d; nothing "
                           "is concluded",
                           seq, end.signal);
    if (end.code > CODE_CANNOT_TELL)
        return replay_fail(r, BOSKOS_E_IO,
                           "after command %" PRIu64 " the command ended with exit code %d; nothing "
                           "is concluded",
                           seq, end.code);
    *ret_verdict = end.code == 0               ? VERDICT_GOOD
                   : end.code <= CODE_BAD_MOST ? VERDICT_BAD
                                               : VERDICT_UNKNOWN;
    return 0;
}

static int test(struct bisect *b, uint64_t seq, enum verdict *ret_verdict)
{
    bool holds = false;
    int err = go_to(b, seq);
    if (err != 0) return err;
    if (!b->has_invariant) return run_command(b, seq, ret_verdict);
    struct buffer why;
    buffer_init(&why);
    err = invariant_check(&b->invariant, walk_state(b->walk), &holds, &why);
    if (err != 0)
        (void)replay_fail(
            b->r, err, "the config of the state after command %" PRIu64 " cannot be decoded", seq);
    if (err == 0 && !holds) { // kept until a lower one is bad
        buffer_clear(&b->why);
        buffer_text(&b->why, buffer_as_text(&why));
    }
    buffer_release(&why);
    if (err == 0) *ret_verdict = holds ? VERDICT_GOOD : VERDICT_BAD;
    return err;
}

// What is said of an end of the stretch must be so.
static int test_end(struct bisect *b, const char *option, uint64_t seq, enum verdict wanted)
{
    static const char *const words[] = {
        [VERDICT_GOOD] = "good", [VERDICT_BAD] = "bad", [VERDICT_UNKNOWN] = "not to be told"};
    enum verdict verdict = VERDICT_UNKNOWN;
    if (b->r->progress.is_wanted) (void)fprintf(stderr, "testing %" PRIu64 ", %s\n", seq, option);
    int err = test(b, seq, &verdict);
    if (err != 0 || verdict == wanted) return err;
    return replay_fail(b->r, BOSKOS_E_NOT_FOUND,
                       "the state after %" PRIu64 " is %s, %s says it is %s", seq, words[verdict],
                       option, words[wanted]);
}

// ---- which one is next ----------------------------------------------------------------------

// The first of the unknown that is not below.
static size_t unknown_find(const struct bisect *b, uint64_t seq)
{
    size_t low = 0, high = b->unknown_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (b->unknown[middle] < seq)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_unknown(const struct bisect *b, uint64_t seq)
{
    size_t at = unknown_find(b, seq);
    return at < b->unknown_count && b->unknown[at] == seq;
}

static void unknown_add(struct bisect *b, uint64_t seq)
{
    size_t at = unknown_find(b, seq);
    if (b->unknown_count == b->unknown_capacity) {
        b->unknown_capacity = b->unknown_capacity == 0 ? 16 : b->unknown_capacity * 2;
        b->unknown = must_realloc(b->unknown, b->unknown_capacity * sizeof(b->unknown[0]));
    }
    memmove(&b->unknown[at + 1], &b->unknown[at], (b->unknown_count - at) * sizeof(b->unknown[0]));
    b->unknown[at] = seq;
    b->unknown_count++;
}

// Those that are no longer between the two count no more.
static void unknown_drop(struct bisect *b)
{
    size_t first = unknown_find(b, b->good + 1), end = unknown_find(b, b->bad);
    if (end > first) memmove(b->unknown, b->unknown + first, (end - first) * sizeof(b->unknown[0]));
    b->unknown_count = end - first;
}

static bool is_candidate(const struct bisect *b, uint64_t seq)
{
    return seq > b->good && seq < b->bad && !is_unknown(b, seq);
}

// The middle; where the command cannot tell of it, its neighbours, further and further away on both
// sides, so that a long stretch of such is soon left behind; then the nearest of what is left.
// False when none is.
static bool next_candidate(const struct bisect *b, uint64_t *ret_seq)
{
    uint64_t middle = b->good + (b->bad - b->good) / 2, length = b->bad - b->good;
    if (length - 1 <= b->unknown_count) return false;
    for (uint64_t away = 0; away < length; away = away == 0 ? 1 : away * 2) {
        *ret_seq = middle + away;
        if (is_candidate(b, *ret_seq)) return true;
        *ret_seq = middle - away;
        if (away <= middle && is_candidate(b, *ret_seq)) return true;
    }
    for (uint64_t away = 1; away < length; away++) {
        *ret_seq = middle + away;
        if (is_candidate(b, *ret_seq)) return true;
        *ret_seq = middle - away;
        if (away <= middle && is_candidate(b, *ret_seq)) return true;
    }
    ASSERT(false && "there is one left");
    return false;
}

// How many tests are left after the next, if no one is in vain.
static uint32_t steps_left(const struct bisect *b)
{
    uint32_t steps = 0;
    for (uint64_t length = b->bad - b->good - 1; length > 1; length /= 2)
        steps++;
    return steps;
}

static void say_testing(const struct bisect *b, uint64_t seq)
{
    uint32_t steps = steps_left(b);
    if (!b->r->progress.is_wanted) return;
    (void)fprintf(stderr, "testing %" PRIu64 ", %" PRIu32 " %s left\n", seq, steps,
                  steps == 1 ? "step" : "steps");
}

static int search(struct bisect *b)
{
    uint64_t seq = 0;
    while (next_candidate(b, &seq)) {
        enum verdict verdict = VERDICT_UNKNOWN;
        say_testing(b, seq);
        int err = test(b, seq, &verdict);
        if (err != 0) return err;
        switch (verdict) {
        case VERDICT_GOOD: b->good = seq; break;
        case VERDICT_BAD: b->bad = seq; break;
        case VERDICT_UNKNOWN: unknown_add(b, seq); break;
        }
        unknown_drop(b);
    }
    if (b->bad - b->good == 1) return 0;
    return replay_fail(b->r, BOSKOS_E_NOT_FOUND,
                       "the first bad command is one of %" PRIu64 " to %" PRIu64
                       ": of the states between the command cannot tell",
                       b->good + 1, b->bad);
}

// ---- what was found -------------------------------------------------------------------------

static void print_json(struct bisect *b, const struct walk_step *step)
{
    struct output *out = &b->r->out;
    entry_json(out, b->walk, step);
    if (!b->has_invariant) return;
    out->line.size -= sizeof("}\n") - 1; // more follows
    output_string(out, ",\"why\":");
    wire_json_string(&out->line, buffer_as_text(&b->why));
    output_string(out, "}\n");
}

static void print_readable(struct bisect *b, const struct walk_step *step)
{
    struct sm_change c;
    uint32_t count = walk_changes(b->walk);
    struct output *out = &b->r->out;
    output_colour(out, COLOUR_BOLD);
    output_format(out, "the first bad command is %" PRIu64, b->bad);
    output_colour(out, COLOUR_NONE);
    if (b->has_invariant) {
        output_string(out, ": ");
        buffer_text(&out->line, buffer_as_text(&b->why));
    }
    output_string(out, "\n\n");
    entry_line(out, step, count, step->command.seq);
    for (uint32_t i = 0; i < count; i++) {
        walk_change(b->walk, i, &c);
        output_word(out, c.name);
        output_string(out, !c.was_there ? "  made\n" : !c.is_there ? "  removed\n" : "\n");
        output_change(out, &c);
        output_drain(out);
    }
}

static int print_first_bad(struct bisect *b)
{
    const struct walk_step *step = NULL;
    int err = go_to(b, b->bad - 1);
    if (err != 0) return err;
    walk_trace(b->walk);
    err = walk_next(b->walk, &step, &b->r->problem);
    if (err != 0) return err;
    if (b->r->options->json)
        print_json(b, step);
    else
        print_readable(b, step);
    return 0;
}

static int find_ends(struct bisect *b)
{
    struct replay *r = b->r;
    const struct options *o = r->options;
    int err = point_find(r->source, &r->span, &o->good, 0, &b->good, &r->problem);
    if (err == 0) err = point_find(r->source, &r->span, &o->bad, 0, &b->bad, &r->problem);
    if (err != 0) return err;
    if (b->good < b->bad) return 0;
    r->is_backwards = true;
    return replay_fail(r, BOSKOS_E_NOT_FOUND,
                       "--good %s (command %" PRIu64 ") is not before --bad %s (command %" PRIu64
                       ")",
                       o->good.text, b->good, o->bad.text, b->bad);
}

int replay_bisect(struct replay *r)
{
    struct bisect b = {.r = r, .has_invariant = r->options->invariant != NULL};
    int err = find_ends(&b);
    if (err == 0 && b.has_invariant && !invariant_parse(r->options->invariant, &b.invariant))
        err = replay_fail(r, BOSKOS_E_MALFORMED, "%s is no invariant", r->options->invariant);
    // The bad end first: from the good one it goes on.
    if (err == 0) err = test_end(&b, "--bad", b.bad, VERDICT_BAD);
    if (err == 0) err = test_end(&b, "--good", b.good, VERDICT_GOOD);
    if (err == 0) err = search(&b);
    if (err == 0) err = print_first_bad(&b);
    walk_leave(b.walk);
    buffer_release(&b.why);
    free(b.unknown);
    return err;
}
