// What nobody may lose by: a daemon that was down, a machine that slept, a clock that jumps.
#include "tests/engine_fixture.h"
#include "tests/engine_parts.h"

#include "base/banned.h"

#define WAITING 20u
#define YEAR_NS (365 * 24 * 60 * MINUTE_NS)

static const char config_text[] = "boskosd: {reaper: {expire: 30m, period: 1m}}\n"
                                  "resources: [{type: a, names: [a1]}, {type: b, names: [b1]}]\n";

// ---- the queue --------------------------------------------------------------

struct ranks {
    uint32_t rank[WAITING]; // by the number of the request, 0: not there
    uint32_t count;
};

static bool note_rank(void *context, const struct sm_queue_entry *e)
{
    struct ranks *r = context;
    char id[16] = "";
    snprintf(id, sizeof(id), "%.*s", TEXT_ARG(e->request_id));
    r->rank[strtoul(id, NULL, 10)] = e->rank;
    r->count++;
    return true;
}

static void look_ranks(struct call *c, struct sm *sm)
{
    sm_queues(sm, c->now_ns, note_rank, c->context);
}

static enum sm_reason poll(struct fixture *f, uint32_t number)
{
    char id[16];
    snprintf(id, sizeof(id), "%u", number);
    return acquire(f, "a", "free", "bob", id).reason;
}

// Twenty wait; after a minute without the daemon, twice their TTL, they poll in reverse order.
static void queue_over_downtime(void **state)
{
    struct fixture *f = *state;
    struct ranks ranks = {0};
    file_put(f->config, config_text);
    fixture_open(f);
    assert_int_equal(acquire(f, "a", "free", "ann", NULL).reason, SM_OK);
    for (uint32_t i = 0; i < WAITING; i++) {
        assert_int_equal(poll(f, i), SM_NO_AVAILABLE);
        step(f, NS_PER_S / 10);
    }
    fixture_close(f);
    step(f, MINUTE_NS);
    fixture_open(f);
    for (uint32_t i = WAITING; i-- > 0;) {
        step(f, NS_PER_S);
        assert_int_equal(poll(f, i), SM_NO_AVAILABLE);
    }
    ask(f, look_ranks, &ranks);
    assert_int_equal(ranks.count, WAITING);
    for (uint32_t i = 0; i < WAITING; i++)
        assert_int_equal(ranks.rank[i], i + 1);
    // The same shows in who gets what is given back.
    assert_int_equal(release(f, "a1", "ann", "free").reason, SM_OK);
    for (uint32_t i = WAITING; i-- > 1;)
        assert_int_equal(poll(f, i), SM_NO_AVAILABLE);
    assert_int_equal(poll(f, 0), SM_OK);
}

// ---- leases -----------------------------------------------------------------

static void assert_owner(struct fixture *f, const char *name, const char *owner)
{
    ask(f, NULL, NULL); // lets the engine look at the time
    assert_string_equal(see(f, name).owner, owner);
}

// 20 minutes awake, two hours asleep, in which the heartbeat was missed, 10 minutes awake.
static void lease_over_sleep(void **state)
{
    struct fixture *f = *state;
    file_put(f->config, config_text);
    fixture_open(f);
    assert_int_equal(acquire(f, "a", "free", "ann", NULL).reason, SM_OK);
    step(f, 20 * MINUTE_NS);
    assert_owner(f, "a1", "ann");
    jump(f, 120 * (int64_t)MINUTE_NS); // the monotonic clock stands while a machine sleeps
    assert_owner(f, "a1", "ann");
    step(f, 10 * MINUTE_NS - 1);
    assert_owner(f, "a1", "ann");
    assert_int_equal(figures_of(f).reaped, 0);
    assert_int_equal(figures_of(f).clock_jumps_forward, 1);
    step(f, NS_PER_S);
    assert_owner(f, "a1", "");
}

// The same with the daemon not there; a heartbeat afterwards is taken.
static void heartbeat_over_downtime(void **state)
{
    struct fixture *f = *state;
    file_put(f->config, config_text);
    fixture_open(f);
    assert_int_equal(acquire(f, "a", "free", "ann", NULL).reason, SM_OK);
    fixture_close(f);
    step(f, 45 * MINUTE_NS); // in which two heartbeats failed
    fixture_open(f);
    assert_owner(f, "a1", "ann");
    step(f, 2 * MINUTE_NS);
    assert_owner(f, "a1", "ann");
    assert_int_equal(update(f, "a1", "ann", "busy", "k", TEXT("v")).reason, SM_OK);
    step(f, 29 * MINUTE_NS);
    assert_owner(f, "a1", "ann");
    assert_int_equal(figures_of(f).reaped, 0);
}

// ---- the clock --------------------------------------------------------------

// Heartbeats every 10 minutes while the clock is what it is; nobody loses the lease.
static uint64_t beat(struct fixture *f, uint32_t times)
{
    uint64_t now_ns = 0;
    for (uint32_t i = 0; i < times; i++) {
        step(f, 10 * MINUTE_NS);
        struct call c = update(f, "a1", "ann", "busy", "k", TEXT("v"));
        assert_int_equal(c.reason, SM_OK);
        now_ns = c.now_ns;
    }
    assert_owner(f, "a1", "ann");
    return now_ns;
}

// Back an hour, ahead a year, back again.
static void clock_there_and_back(void **state)
{
    struct fixture *f = *state;
    file_put(f->config, config_text);
    f->options.retain_ns = 10 * YEAR_NS; // all of the log is looked at in the end
    fixture_open(f);
    assert_int_equal(acquire(f, "a", "free", "ann", NULL).reason, SM_OK);
    uint64_t at_ns = beat(f, 6);
    assert_int_equal(at_ns, START_NS + 60 * MINUTE_NS);

    jump(f, -60 * (int64_t)MINUTE_NS);
    assert_int_equal(beat(f, 6), at_ns + 30 * MINUTE_NS); // half speed
    assert_int_equal(figures_of(f).clock_behind_ns, 30 * MINUTE_NS);
    assert_int_equal(log_count(f, "the clock went back"), 1);
    assert_int_equal(beat(f, 6), START_NS + 120 * MINUTE_NS); // caught up
    assert_int_equal(figures_of(f).clock_behind_ns, 0);

    jump(f, (int64_t)YEAR_NS);
    uint64_t ahead_ns = beat(f, 1);
    assert_int_equal(ahead_ns, START_NS + YEAR_NS + 130 * MINUTE_NS);
    assert_int_equal(figures_of(f).clock_jumps_forward, 1);
    assert_int_equal(log_count(f, "the clock jumped ahead"), 1);

    jump(f, -(int64_t)YEAR_NS);
    assert_int_equal(beat(f, 12), ahead_ns + 60 * MINUTE_NS);
    assert_int_equal(figures_of(f).clock_behind_ns, YEAR_NS - 60 * MINUTE_NS);
    assert_int_equal(log_count(f, "the clock went back"), 2);
    assert_int_equal(figures_of(f).clock_jumps_back, 2);
    assert_int_equal(figures_of(f).reaped, 0);
    fixture_close(f);

    struct entries e = log_read(f->data); // checks that no stamp goes back
    assert_int_equal(entries_of(&e, COMMAND_CLOCK), 1);
    assert_int_equal(entry_find(&e, 0, COMMAND_CLOCK)->number, YEAR_NS);
    entries_free(&e);
}

int engine_grace_tests(void)
{
    const struct CMUnitTest tests[] = {
        ENGINE_TEST(queue_over_downtime),
        ENGINE_TEST(lease_over_sleep),
        ENGINE_TEST(heartbeat_over_downtime),
        ENGINE_TEST(clock_there_and_back),
    };
    return cmocka_run_group_tests_name("engine grace", tests, NULL, NULL);
}
