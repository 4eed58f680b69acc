// What time asks for: the stamps, and the engine's own commands in the order the contract wants.
#include "tests/engine_fixture.h"
#include "tests/engine_parts.h"

#include "base/banned.h"

// ---- logged time alone ------------------------------------------------------

struct hands {
    uint64_t wall_ns, mono_ns;
};

static uint64_t hands_wall(void *context)
{
    return ((struct hands *)context)->wall_ns;
}

static uint64_t hands_mono(void *context)
{
    return ((struct hands *)context)->mono_ns;
}

static struct clock clock_of(struct hands *h)
{
    return (struct clock){hands_wall, hands_mono, h};
}

static void forward(struct hands *h, uint64_t ns)
{
    h->wall_ns += ns;
    h->mono_ns += ns;
}

static void time_half_speed(void **state)
{
    struct hands h = {START_NS, 77};
    struct logged_time t;
    uint64_t ahead;
    (void)state;
    logged_time_init(&t, clock_of(&h), START_NS - NS_PER_S);
    assert_int_equal(logged_time_now(&t, &ahead), START_NS);
    forward(&h, 3);
    assert_int_equal(logged_time_now(&t, &ahead), START_NS + 3);

    // Back by 10 s: at half speed the wall needs 20 s to catch up.
    h.wall_ns -= 10 * NS_PER_S;
    assert_int_equal(logged_time_now(&t, &ahead), START_NS + 3);
    assert_true(t.is_behind && t.behind_ns == 10 * NS_PER_S);
    for (uint64_t i = 1; i <= 1000; i++) {
        // Odd steps: what is cut off in halving must not add up.
        forward(&h, 19999999);
        assert_int_equal(logged_time_now(&t, &ahead), START_NS + 3 + i * 19999999 / 2);
        assert_int_equal(ahead, 0);
    }
    assert_true(t.is_behind);
    forward(&h, 2000);
    assert_int_equal(logged_time_now(&t, &ahead), h.wall_ns);
    assert_false(t.is_behind);
    assert_int_equal(t.behind_ns, 0);
    assert_int_equal(ahead, 0);
}

static void time_never_back(void **state)
{
    struct hands h = {START_NS, 0};
    struct logged_time t;
    uint64_t ahead, last = 0, random = 42;
    (void)state;
    logged_time_init(&t, clock_of(&h), 0);
    for (uint32_t i = 0; i < 100000; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint64_t amount = (random >> 33) % (NS_PER_S * 4);
        if (random >> 61 == 0) h.wall_ns -= amount;
        if (random >> 61 == 1) h.wall_ns += amount;
        forward(&h, amount);
        uint64_t now = logged_time_now(&t, &ahead);
        assert_true(now >= last);
        assert_int_equal(ahead, 0); // no jump here is over a minute
        last = now;
    }
}

static void time_jumps(void **state)
{
    struct hands h = {START_NS, 0};
    struct logged_time t;
    uint64_t ahead;
    (void)state;
    logged_time_init(&t, clock_of(&h), START_NS);
    forward(&h, NS_PER_S);
    h.wall_ns += MINUTE_NS; // a minute is not over a minute
    assert_int_equal(logged_time_now(&t, &ahead), h.wall_ns);
    assert_int_equal(ahead, 0);
    forward(&h, NS_PER_S);
    h.wall_ns += MINUTE_NS + 1;
    assert_int_equal(logged_time_now(&t, &ahead), h.wall_ns);
    assert_int_equal(ahead, MINUTE_NS + 1);
    assert_int_equal(logged_time_now(&t, &ahead), h.wall_ns);
    assert_int_equal(ahead, 0);
    forward(&h, 1000 * MINUTE_NS); // both went on: nobody slept
    assert_int_equal(logged_time_now(&t, &ahead), h.wall_ns);
    assert_int_equal(ahead, 0);
}

static void time_restart_behind(void **state)
{
    struct hands h = {START_NS, 0};
    struct logged_time t;
    uint64_t ahead;
    (void)state;
    logged_time_init(&t, clock_of(&h), START_NS + 60 * MINUTE_NS);
    assert_int_equal(logged_time_now(&t, &ahead), START_NS + 60 * MINUTE_NS);
    assert_int_equal(t.behind_ns, 60 * MINUTE_NS);
    forward(&h, 10 * NS_PER_S);
    assert_int_equal(logged_time_now(&t, &ahead), START_NS + 60 * MINUTE_NS + 5 * NS_PER_S);
    // The wall is set right again, under a minute beyond: no jump for those who saw logged time.
    h.wall_ns = START_NS + 61 * MINUTE_NS;
    assert_int_equal(logged_time_now(&t, &ahead), h.wall_ns);
    assert_int_equal(ahead, 0);
    // Downtime is no jump.
    logged_time_init(&t, clock_of(&h), START_NS);
    assert_int_equal(logged_time_now(&t, &ahead), h.wall_ns);
    assert_int_equal(ahead, 0);
}

// ---- expire -----------------------------------------------------------------

// The one resource of the type d, released: due 10 s later, when now is after that.
static void expire_when_due(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    struct call d = acquire(f, "d", "free", "ann", NULL);
    assert_int_equal(d.reason, SM_OK);
    assert_int_equal(release(f, d.name, "ann", "free").reason, SM_OK);
    step(f, 10 * NS_PER_S);
    struct call at = acquire(f, "a", "free", "ann", NULL);
    step(f, 1);
    struct call after = acquire(f, "a", "free", "ann", NULL);
    assert_string_equal(see(f, d.name).state, "toBeDeleted");
    step(f, 300 * NS_PER_S); // nothing is due any more
    struct call late = acquire(f, "a", "free", "ann", NULL);
    fixture_close(f);

    struct entries e = log_read(f->data);
    assert_int_equal(entries_of(&e, COMMAND_EXPIRE), 1);
    const struct entry *expire = entry_find(&e, 0, COMMAND_EXPIRE);
    assert_int_equal(expire->time_ns, START_NS + 10 * NS_PER_S + 1);
    assert_int_equal(expire->seq, at.seq + 1);
    assert_int_equal(expire->seq, after.seq - 1);
    assert_int_equal(late.seq, after.seq + 1);
    entries_free(&e);
}

// No command comes: the timer sees to it.
static void expire_by_timer(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    struct call d = acquire(f, "d", "free", "ann", NULL);
    struct call r = release(f, d.name, "ann", "free");
    step(f, 11 * NS_PER_S);
    EVENTUALLY(figures_of(f).seq == r.seq + 1);
    assert_string_equal(see(f, d.name).state, "toBeDeleted");
}

static void look_entries(struct call *c, struct sm *sm)
{
    *(uint64_t *)c->context = sm_queue_entries(sm);
}

// Thirty entries die, one each tenth of a second: that alone is worth one sweep a second.
static void dead_entries_alone(void **state)
{
    struct fixture *f = *state;
    uint64_t left = 0, tenth = NS_PER_S / 10;
    char id[16];
    fixture_open(f);
    while (acquire(f, "a", "free", "ann", NULL).reason == SM_OK) {
    }
    for (uint32_t i = 0; i < 30; i++) {
        snprintf(id, sizeof(id), "r%u", i);
        assert_int_equal(acquire(f, "a", "free", "bob", id).reason, SM_NO_AVAILABLE);
        step(f, tenth);
    }
    ask(f, look_entries, &left);
    assert_int_equal(left, 30);
    step(f, 27 * NS_PER_S);
    for (uint32_t i = 0; i < 60; i++) {
        release(f, "a1", "nobody", "free");
        step(f, tenth);
    }
    ask(f, look_entries, &left);
    assert_int_equal(left, 0);
    fixture_close(f);

    struct entries e = log_read(f->data);
    uint64_t last_ns = 0;
    size_t expires = entries_of(&e, COMMAND_EXPIRE);
    assert_in_range(expires, 2, 5);
    for (size_t i = 0; i < e.count; i++) {
        if (e.list[i].kind != COMMAND_EXPIRE) continue;
        assert_true(e.list[i].time_ns > START_NS + 30 * NS_PER_S);
        assert_true(last_ns == 0 || e.list[i].time_ns >= last_ns + NS_PER_S);
        last_ns = e.list[i].time_ns;
    }
    entries_free(&e);
}

// ---- the clock --------------------------------------------------------------

// A queue entry would be dead by the jump: `clock` comes first and renews it.
static void clock_before_all(void **state)
{
    struct fixture *f = *state;
    uint64_t left = 0;
    fixture_open(f);
    struct call d = acquire(f, "d", "free", "ann", NULL);
    release(f, d.name, "ann", "free");
    while (acquire(f, "a", "free", "ann", NULL).reason == SM_OK) {
    }
    struct call queued = acquire(f, "a", "free", "bob", "r");
    jump(f, 5 * (int64_t)MINUTE_NS);
    struct call after = release(f, "a1", "nobody", "free");
    ask(f, look_entries, &left);
    assert_int_equal(left, 1);
    EVENTUALLY(figures_of(f).clock_jumps_forward == 1);
    fixture_close(f);

    struct entries e = log_read(f->data);
    assert_int_equal(entries_of(&e, COMMAND_CLOCK), 1);
    const struct entry *clock = entry_find(&e, 0, COMMAND_CLOCK);
    assert_int_equal(clock->seq, queued.seq + 1);
    assert_int_equal(clock->number, 5 * MINUTE_NS);
    assert_int_equal(clock->time_ns, START_NS + 5 * MINUTE_NS);
    assert_true(after.seq > clock->seq);
    entries_free(&e);
}

// What comes a minute or more after the record before it is a `clock`, or a start.
static void assert_no_silent_jump(const struct entries *e)
{
    for (size_t i = 1; i < e->count; i++) {
        if (e->list[i].time_ns <= e->list[i - 1].time_ns + MINUTE_NS) continue;
        assert_true(e->list[i].kind == COMMAND_CLOCK || e->list[i].kind == COMMAND_STARTED);
    }
}

static void look_and_jump(struct call *c, struct sm *sm)
{
    (void)sm;
    jump(c->fixture, 5 * (int64_t)MINUTE_NS);
}

// The clock jumps while results are handed out, and in the middle of a batch being gathered.
static void clock_at_any_moment(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    ask(f, look_and_jump, NULL);
    acquire(f, "a", "free", "ann", NULL);
    for (int looks = 1; looks <= 6; looks++) {
        struct call calls[4];
        for (uint32_t i = 0; i < 4; i++) {
            call_init(&calls[i], f);
            call_command(&calls[i], COMMAND_RELEASE);
            calls[i].command.as.release = (struct command_release){
                .name = TEXT("a1"), .dest = TEXT("free"), .owner = TEXT("nobody")};
            if (i > 0) calls[i - 1].request.next = &calls[i].request;
        }
        atomic_store(&f->clock.jump_ns, 3 * MINUTE_NS);
        atomic_store(&f->clock.looks_to_jump, looks);
        call_send(&calls[0]);
        for (uint32_t i = 0; i < 4; i++)
            call_wait(&calls[i]);
        while (atomic_load(&f->clock.looks_to_jump) > 0)
            ask(f, NULL, NULL);
    }
    acquire(f, "a", "free", "ann", NULL);
    fixture_close(f);
    struct entries e = log_read(f->data);
    assert_no_silent_jump(&e);
    assert_int_equal(entries_of(&e, COMMAND_CLOCK), 7);
    entries_free(&e);
}

static void clock_behind(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    step(f, 60 * MINUTE_NS);
    struct call before = acquire(f, "a", "free", "ann", NULL);
    assert_int_equal(before.now_ns, START_NS + 60 * MINUTE_NS);
    jump(f, -30 * (int64_t)MINUTE_NS);
    struct call stands = acquire(f, "a", "free", "ann", NULL);
    assert_int_equal(stands.now_ns, before.now_ns);
    step(f, 10 * NS_PER_S);
    assert_int_equal(acquire(f, "a", "free", "ann", NULL).now_ns, before.now_ns + 5 * NS_PER_S);
    assert_int_equal(figures_of(f).clock_behind_ns, 30 * MINUTE_NS - 5 * NS_PER_S);
    assert_true(log_has(f, "the clock went back"));
    fixture_close(f);

    step(f, NS_PER_S);
    fixture_open(f); // still behind: no downtime, no step back
    struct call restarted = acquire(f, "a", "free", "ann", NULL);
    assert_true(restarted.now_ns >= before.now_ns + 5 * NS_PER_S);
    fixture_close(f);
    struct entries e = log_read(f->data);
    assert_int_equal(entries_of(&e, COMMAND_CLOCK), 0);
    assert_int_equal(entry_find(&e, 1, COMMAND_STARTED)->number, 0);
    entries_free(&e);
}

// ---- reaper and cleaner -----------------------------------------------------

static const char reaper_config[] =
    "boskosd: {reaper: {expire: 30m, period: 1m}}\n"
    "resources: [{type: a, names: [a1, a2]}, {type: b, reaper: 'off', names: [b1]}]\n";

static void reaper_takes_back(void **state)
{
    struct fixture *f = *state;
    file_put(f->config, reaper_config);
    fixture_open(f);
    struct call c = acquire(f, "a", "free", "ann", NULL);
    struct call b = acquire(f, "b", "free", "ann", NULL);
    step(f, 10 * MINUTE_NS);
    struct call young = acquire(f, "a", "free", "bob", NULL);
    step(f, 20 * MINUTE_NS - 1);
    ask(f, NULL, NULL);
    assert_string_equal(see(f, c.name).owner, "ann");
    step(f, NS_PER_S); // it looks once a second
    ask(f, NULL, NULL);
    struct seen reaped = see(f, c.name);
    assert_string_equal(reaped.owner, "");
    assert_string_equal(reaped.state, "dirty");
    assert_string_equal(see(f, b.name).owner, "ann");
    assert_string_equal(see(f, young.name).owner, "bob");
    assert_int_equal(figures_of(f).reaped, 1);
    step(f, 5 * MINUTE_NS); // nothing to reap: no command
    ask(f, NULL, NULL);
    assert_int_equal(figures_of(f).reaped, 1);
}

// 20 minutes up, an hour down, 10 up: the lease is 30 minutes old for the reaper.
static void reaper_and_downtime(void **state)
{
    struct fixture *f = *state;
    file_put(f->config, reaper_config);
    fixture_open(f);
    struct call c = acquire(f, "a", "free", "ann", NULL);
    step(f, 20 * MINUTE_NS);
    ask(f, NULL, NULL);
    update(f, "a2", "nobody", "busy", "k", TEXT("v")); // the last record is of now
    fixture_close(f);
    step(f, 60 * MINUTE_NS);
    fixture_open(f);
    step(f, 10 * MINUTE_NS - 1);
    ask(f, NULL, NULL);
    assert_string_equal(see(f, c.name).owner, "ann");
    step(f, NS_PER_S);
    ask(f, NULL, NULL);
    assert_string_equal(see(f, c.name).owner, "");
}

// The lease comes of age right after a start: the first round is one period later.
static void reaper_waits_after_start(void **state)
{
    struct fixture *f = *state;
    file_put(f->config, reaper_config);
    fixture_open(f);
    struct call c = acquire(f, "a", "free", "ann", NULL);
    step(f, 30 * MINUTE_NS - NS_PER_S);
    update(f, "a2", "nobody", "busy", "k", TEXT("v"));
    fixture_close(f);
    fixture_open(f);
    step(f, MINUTE_NS - 1);
    ask(f, NULL, NULL);
    assert_string_equal(see(f, c.name).owner, "ann");
    assert_int_equal(figures_of(f).reaped, 0);
    step(f, NS_PER_S);
    ask(f, NULL, NULL);
    assert_string_equal(see(f, c.name).owner, "");
    assert_int_equal(figures_of(f).reaped, 1);
}

static void cleaner_cleans(void **state)
{
    struct fixture *f = *state;
    file_put(f->config, "boskosd: {cleaner: {enabled: true}}\n"
                        "resources:\n"
                        "- {type: a, names: [a1, a2]}\n"
                        "- {type: d, min-count: 1, max-count: 2}\n");
    fixture_open(f);
    struct call d = acquire(f, "d", "free", "ann", NULL);
    struct call a = acquire(f, "a", "free", "ann", NULL);
    assert_int_equal(release(f, a.name, "ann", d.name).reason, SM_OK);
    char names[96];
    snprintf(names, sizeof(names), "[%s, gone]", a.name);
    assert_int_equal(update(f, d.name, "ann", "busy", "leasedResources", text_from(names)).reason,
                     SM_OK);
    assert_int_equal(release(f, d.name, "ann", "toBeDeleted").reason, SM_OK);
    assert_string_equal(see(f, a.name).state, d.name);
    step(f, 15 * NS_PER_S);
    ask(f, NULL, NULL);
    assert_string_equal(see(f, a.name).state, "dirty");
    assert_string_equal(see(f, d.name).state, "-"); // tombstone, and so gone
    assert_int_equal(figures_of(f).cleaned, 1);
    assert_true(log_has(f, "a leased resource is not there"));
    step(f, 60 * NS_PER_S);
    ask(f, NULL, NULL);
    assert_int_equal(figures_of(f).cleaned, 1);
}

int engine_time_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_half_speed),     cmocka_unit_test(time_never_back),
        cmocka_unit_test(time_jumps),          cmocka_unit_test(time_restart_behind),
        ENGINE_TEST(expire_when_due),          ENGINE_TEST(expire_by_timer),
        ENGINE_TEST(dead_entries_alone),       ENGINE_TEST(clock_before_all),
        ENGINE_TEST(clock_at_any_moment),      ENGINE_TEST(clock_behind),
        ENGINE_TEST(reaper_takes_back),        ENGINE_TEST(reaper_and_downtime),
        ENGINE_TEST(reaper_waits_after_start), ENGINE_TEST(cleaner_cleans),
    };
    return cmocka_run_group_tests_name("engine time", tests, NULL, NULL);
}
