// What is compared now and then: counts, ranks, whole states, and replays of the log.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "tests/rigs/simulator/simulator.h"

#include "base/banned.h"

#define DUMP_EVERY 199u     // steps
#define QUEUES_EVERY 23u    // steps
#define METRIC_EVERY 97u    // steps
#define REPLAY_EVERY 40000u // records

// ---- the metric -------------------------------------------------------------

struct query {
    struct engine_request request;
    struct wire_request wire;
    struct wire_reply reply;
    struct buffer text;
    bool is_answered;
};

static void query_done(struct engine_request *r, int error, struct sm *sm,
                       const struct sm_result *result, uint64_t now_ns)
{
    struct query *q = (struct query *)r;
    struct wire_status status = {.version = TEXT("simulated"), .now_ns = now_ns};
    (void)result;
    if (disk_is_dead() || error != 0) return;
    wire_query(&q->wire, sm, &status, &q->reply, &q->text);
    q->is_answered = true;
}

// Counts the model's resources of the type by a key, and writes them sorted by it.
static void put_counts(const struct model *m, struct text type, bool by_owner, struct buffer *out)
{
    struct text after = TEXT_NONE;
    for (bool is_first = true;; is_first = false) {
        struct text least = TEXT_NONE;
        uint64_t count = 0;
        for (uint32_t i = 0; i < m->resources_count; i++) {
            const struct sm_resource *r = &m->resources[i];
            struct text key = by_owner ? r->owner : r->state;
            if (!text_equal(r->type, type)) continue;
            if (!is_first && text_compare(key, after) <= 0) continue;
            if (count > 0 && text_compare(key, least) > 0) continue;
            count = count > 0 && text_equal(key, least) ? count + 1 : 1;
            least = key;
        }
        if (count == 0) return;
        if (!is_first) buffer_char(out, ',');
        wire_json_string(out, least);
        buffer_format(out, ":%" PRIu64, count);
        after = least;
    }
}

static bool check_metric(struct sim *s)
{
    struct query q = {.request = {.done = query_done}};
    char query[32];
    int size = snprintf(query, sizeof(query), "type=%c%u", sim_once_in(s, 3) ? 'd' : 's',
                        (unsigned)sim_random(s, TYPES_STATIC));
    wire_request_init(&q.wire);
    buffer_init(&q.text);
    int refused = wire_parse(&q.wire, TEXT("GET"), TEXT("/metric"), text_of(query, (size_t)size),
                             TEXT_NONE, &q.reply, &q.text);
    ASSERT(refused == 0);
    engine_submit(s->engine, &q.request);
    bool is_same = !world_step(s) || !q.is_answered;
    if (!is_same) {
        struct buffer wanted;
        buffer_init(&wanted);
        buffer_string(&wanted, "{\"type\":");
        wire_json_string(&wanted, q.wire.type);
        buffer_string(&wanted, ",\"current\":{");
        put_counts(s->model, q.wire.type, false, &wanted);
        buffer_string(&wanted, "},\"owner\":{");
        put_counts(s->model, q.wire.type, true, &wanted);
        buffer_string(&wanted, "}}");
        is_same =
            q.reply.status == 404 || text_equal(buffer_as_text(&q.text), buffer_as_text(&wanted));
        if (!is_same)
            sim_fail(s, "the metric is %.*s\nand the model's %.*s",
                     TEXT_ARG(buffer_as_text(&q.text)), TEXT_ARG(buffer_as_text(&wanted)));
        buffer_release(&wanted);
    }
    buffer_release(&q.text);
    wire_request_release(&q.wire);
    return is_same;
}

// ---- the engine's own figures -----------------------------------------------

static bool check_figures(struct sim *s)
{
    struct engine_figures f;
    engine_figures(s->engine, &f);
    if (f.result_mismatches + f.digest_mismatches > 0 || (f.snapshot_failures > 0 && !s->was_full))
        return sim_fail(s, "the shadow found a difference, or could not write a snapshot");
    if (f.clock_jumps_forward != s->clocks)
        return sim_fail(s, "%" PRIu64 " clock commands, and the metric says %" PRIu64, s->clocks,
                        f.clock_jumps_forward);
    uint64_t wall_ns = world_wall_ns(s);
    if ((s->engine->time.last_ns > wall_ns) != (f.clock_behind_ns > 0))
        return sim_fail(s, "the wall clock is %sbehind, and the metric says %" PRIu64 " ns",
                        f.clock_behind_ns > 0 ? "not " : "", f.clock_behind_ns);
    return true;
}

// ---- time -------------------------------------------------------------------

static bool has_done(const struct sim *s, enum command_kind kind)
{
    return (s->kinds & (1u << kind)) != 0;
}

// Logged time is the wall clock's; where that is behind, the monotonic clock at half speed. It
// leaps only behind a `clock` command.
bool checks_time(struct sim *s)
{
    uint64_t wall_ns = world_wall_ns(s), now_ns = s->engine->time.last_ns;
    uint64_t elapsed_ns = world_mono_ns(s) - s->stamp_mono_ns;
    uint64_t went_ns = now_ns - s->stamp_ns;
    bool is_half = went_ns <= elapsed_ns / 2 + 1 && went_ns + 1 >= elapsed_ns / 2;
    bool has_clock = has_done(s, COMMAND_CLOCK);
    if (now_ns < s->stamp_ns) return sim_fail(s, "logged time goes back");
    if (now_ns != wall_ns && (now_ns < wall_ns || !is_half))
        return sim_fail(s, "logged time is %" PRIu64 ", the wall clock's %" PRIu64, now_ns,
                        wall_ns);
    // One that was refused for space comes when there is room.
    bool may_differ = s->owes_clock;
    if (has_clock) s->owes_clock = false;
    if (!may_differ && has_clock != (went_ns > elapsed_ns + LOGGED_TIME_JUMP_NS))
        return sim_fail(s, "%s `clock` command: %" PRIu64 " ns went by in %" PRIu64,
                        has_clock ? "a" : "no", went_ns, elapsed_ns);
    s->stamp_ns = now_ns;
    s->stamp_mono_ns = world_mono_ns(s);
    return true;
}

// Whether the command has been due without being done for longer than the engine may take.
static bool is_late(const struct sim *s, uint64_t *since_ns, enum command_kind kind, bool is_due,
                    uint64_t patience_ns)
{
    uint64_t now_ns = s->engine->time.last_ns;
    if (!is_due || has_done(s, kind)) *since_ns = 0;
    if (is_due && *since_ns == 0) *since_ns = now_ns;
    return is_due && now_ns - *since_ns > patience_ns;
}

// A `clock` or a config comes before all that is due, which the next step then sees to.
bool checks_due(struct sim *s)
{
    struct sm *sm = s->engine->sm;
    const struct sm_cleanable *list;
    uint32_t cleanable = 0;
    uint64_t now_ns = s->engine->time.last_ns;
    if (has_done(s, COMMAND_CLOCK) || has_done(s, COMMAND_CONFIG) || s->engine->is_full) {
        s->reap_since_ns = s->sweep_since_ns = s->clean_since_ns = 0;
        return true;
    }
    if (sm_cleaner_enabled(sm)) sm_cleanable(sm, 1, &list, &cleanable);
    if (sm_expiry_due_ns(sm) < now_ns) return sim_fail(s, "an expired resource is not marked");
    if (is_late(s, &s->reap_since_ns, COMMAND_REAP, sm_reap_due_ns(sm) <= now_ns, REAP_CHECK_NS))
        return sim_fail(s, "the reaper is late");
    if (is_late(s, &s->sweep_since_ns, COMMAND_EXPIRE, sm_queue_due_ns(sm) < now_ns,
                SWEEP_PERIOD_NS))
        return sim_fail(s, "dead entries are not swept");
    if (is_late(s, &s->clean_since_ns, COMMAND_CLEAN, cleanable > 0, CLEAN_PERIOD_NS))
        return sim_fail(s, "the cleaner is late");
    return true;
}

// ---- whole states -----------------------------------------------------------

static bool check_states(struct sim *s)
{
    struct sm *sm = s->engine->sm;
    s->tally.checks++;
    bool is_same = check_dump(sm, s->model, &s->complaint);
    is_same &= check_queries(s->second, s->model, &s->maker, s->reaped_ns, &s->complaint);
    // Of the engine's own state too: unlike the second one it came through starts and snapshots.
    is_same &= check_queries(sm, s->model, &s->maker, s->reaped_ns, &s->complaint);
    if (!is_same) return sim_fail(s, "the state is not the model's");
    if (!hash128_equal(sm_digest(sm), sm_digest_from_scratch(sm)))
        return sim_fail(s, "the digest is not the one from scratch");
    return true;
}

static bool replay(struct sim *s, struct sm *sm, struct hash128 chain)
{
    struct journal_cursor *cursor = NULL;
    struct command_decoder *decoder = command_decoder_new();
    struct journal_problem problem = {0};
    struct buffer scratch;
    struct record record;
    struct journal_row row;
    struct sm_result result;
    enum replay_match match = REPLAY_SAME;
    uint64_t from = sm_seq(sm) + 1;
    buffer_init(&scratch);
    int err =
        journal_cursor_open(s->engine->journal, from, from > 1 ? &chain : NULL, &cursor, &problem);
    while (err == 0 && (err = journal_cursor_next(cursor, &record, &row, &problem)) == 0) {
        err = recovery_step(sm, decoder, &scratch, &record, &row, &result, &match, &problem);
        if (match == REPLAY_RESULT || match == REPLAY_DIGEST) break;
    }
    bool is_same = err == BOSKOS_E_NOT_FOUND && hash128_equal(sm_digest(sm), sm_digest(s->second));
    if (!is_same)
        sim_fail(s, "a replay from record %" PRIu64 " differs at %" PRIu64 ": %s", from, sm_seq(sm),
                 problem.text);
    journal_cursor_close(cursor);
    buffer_release(&scratch);
    command_decoder_free(decoder);
    return is_same;
}

// The oldest snapshot of a trimmed log: from there on all must be there to be replayed.
static uint64_t oldest_snapshot(struct sim *s)
{
    uint64_t *seqs = NULL, seq = UINT64_MAX;
    size_t count = 0;
    int err = journal_snapshots(s->engine->journal, false, &seqs, &count);
    if (err == 0 && count > 0) seq = seqs[count - 1];
    free(seqs);
    return seq;
}

bool checks_replay(struct sim *s, bool from_start)
{
    struct journal_problem problem = {0};
    struct sm *sm = NULL;
    struct hash128 chain = {0};
    uint64_t seq = 0;
    s->replayed_seq = sm_seq(s->second);
    s->tally.replays++;
    if (from_start && journal_first(s->engine->journal) == 1) {
        sm = sm_new(s->seed);
    } else {
        uint64_t most = from_start ? oldest_snapshot(s) : UINT64_MAX;
        int err = recovery_load(s->engine->journal, most, s->seed, &s->log, &sm, &seq, &chain, NULL,
                                &problem);
        if (err != 0) return sim_fail(s, "no snapshot to replay from: %s", problem.text);
    }
    bool is_same = replay(s, sm, chain);
    sm_free(sm);
    return is_same;
}

bool checks_step(struct sim *s)
{
    if (s->step % QUEUES_EVERY == 0 && !tickets_check(s)) return false;
    if (s->step % METRIC_EVERY == 0 && (!check_figures(s) || !check_metric(s))) return false;
    if (s->step % DUMP_EVERY == 0 && !check_states(s)) return false;
    if (sm_seq(s->second) < s->replayed_seq + REPLAY_EVERY) return true;
    return checks_replay(s, false);
}

bool checks_last(struct sim *s)
{
    return tickets_check(s) && check_figures(s) && check_states(s) && checks_replay(s, true) &&
           checks_replay(s, false);
}
