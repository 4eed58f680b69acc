// The engine: first what one needs no clock tricks and no damage for, then the other parts.
#include "tests/engine_fixture.h"
#include "tests/engine_parts.h"

#include "config/config.h"

#include "base/banned.h"

// ---- commands and queries ---------------------------------------------------

#define CHAIN 1000u

static void chain_acquires(struct call *calls, uint32_t count, struct fixture *f)
{
    for (uint32_t i = 0; i < count; i++) {
        call_init(&calls[i], f);
        call_command(&calls[i], COMMAND_ACQUIRE);
        calls[i].command.as.acquire = (struct command_acquire){
            .type = TEXT("a"), .state = TEXT("free"), .dest = TEXT("busy"), .owner = TEXT("ann")};
        if (i > 0) calls[i - 1].request.next = &calls[i].request;
    }
}

// Many that were handed over at once are answered in order, each once, in few commits.
static void chain_is_one_batch(struct fixture *f)
{
    fixture_open(f);
    struct engine_figures before = figures_of(f);
    struct call *calls = calloc(CHAIN, sizeof(*calls));
    assert_non_null(calls);
    chain_acquires(calls, CHAIN, f);
    call_send(&calls[0]);
    for (uint32_t i = 0; i < CHAIN; i++)
        call_wait(&calls[i]);
    for (uint32_t i = 0; i < CHAIN; i++) {
        assert_int_equal(calls[i].times, 1);
        assert_int_equal(calls[i].error, 0);
        assert_int_equal(calls[i].order, calls[0].order + i);
        assert_int_equal(calls[i].reason, i < 8 ? SM_OK : SM_NO_AVAILABLE);
        if (i > 0) assert_int_equal(calls[i].seq, calls[i - 1].seq + 1);
    }
    EVENTUALLY(atomic_load(&f->done_before_wake) >= CHAIN);
    struct engine_figures after = figures_of(f);
    assert_true(after.commands - before.commands >= CHAIN);
    assert_true(after.commits - before.commits <= CHAIN / 100);
    assert_int_equal(after.batch_commands.count, after.commits);
    assert_int_equal(after.batch_commands.sum, after.commands);
    free(calls);
}

static void chain_on_disk(void **state)
{
    struct fixture *f = *state;
    chain_is_one_batch(f);
    fixture_close(f);
    struct entries e = log_read(f->data);
    assert_int_equal(entries_of(&e, COMMAND_ACQUIRE), CHAIN);
    for (size_t i = 0; i < e.count; i++)
        assert_true(e.list[i].row_size > 0);
    entries_free(&e);
}

static void chain_in_memory(void **state)
{
    struct fixture *f = *state;
    f->options.data_dir = NULL;
    chain_is_one_batch(f);
    struct call c = release(f, "a1", "ann", "dirty");
    assert_int_equal(c.reason, SM_OK);
    assert_string_equal(see(f, "a1").state, "dirty");
    fixture_close(f);
    assert_int_not_equal(access(f->data, F_OK), 0);
}

// Longer than a batch may be.
static void long_chain(void **state)
{
    struct fixture *f = *state;
    uint32_t count = ENGINE_BATCH_COMMANDS_MAX * 2 + 10;
    fixture_open(f);
    struct engine_figures before = figures_of(f);
    struct call *calls = calloc(count, sizeof(*calls));
    assert_non_null(calls);
    chain_acquires(calls, count, f);
    call_send(&calls[0]);
    for (uint32_t i = 0; i < count; i++)
        call_wait(&calls[i]);
    assert_int_equal(calls[count - 1].seq, calls[0].seq + count - 1);
    assert_true(figures_of(f).commits - before.commits >= 3);
    free(calls);
}

struct durable {
    struct engine *engine;
    uint64_t seq, end;
    bool is_owned;
};

static void look_durable(struct call *c, struct sm *sm)
{
    struct durable *d = c->context;
    struct sm_resource r;
    d->seq = sm_seq(sm);
    d->end = d->engine->journal == NULL ? sm_seq(sm) + 1 : journal_end(d->engine->journal);
    d->is_owned = sm_find(sm, TEXT("a1"), &r) == 0 && r.owner.size > 0;
}

// A query stands where it was put among commands, and what it sees is on the disk.
static void queries_see_durable(void **state)
{
    struct fixture *f = *state;
    struct call calls[4];
    fixture_open(f);
    struct durable seen[2] = {{.engine = f->engine}, {.engine = f->engine}};
    chain_acquires(calls, 4, f);
    for (uint32_t i = 0; i < 2; i++) {
        calls[1 + 2 * i].request.command = NULL;
        calls[1 + 2 * i].look = look_durable;
        calls[1 + 2 * i].context = &seen[i];
    }
    calls[2].command.kind = COMMAND_RELEASE;
    calls[2].command.as.release =
        (struct command_release){.name = TEXT("a1"), .dest = TEXT("free"), .owner = TEXT("ann")};
    call_send(&calls[0]);
    for (uint32_t i = 0; i < 4; i++)
        call_wait(&calls[i]);
    assert_string_equal(calls[0].name, "a1");
    assert_true(seen[0].is_owned);
    assert_false(seen[1].is_owned);
    assert_int_equal(seen[0].seq, calls[0].seq);
    assert_int_equal(seen[1].seq, calls[2].seq);
    assert_true(seen[0].end > seen[0].seq && seen[1].end > seen[1].seq);
    assert_true(calls[1].now_ns >= calls[0].now_ns);
}

// ---- starts -----------------------------------------------------------------

static void look_config(struct call *c, struct sm *sm)
{
    bool *has = c->context;
    *has = sm_has_config(sm);
}

static void started_and_config(void **state)
{
    struct fixture *f = *state;
    bool has_config = false;
    fixture_open(f);
    ask(f, look_config, &has_config);
    assert_true(has_config);
    assert_int_equal(f->found.seq, 0);
    assert_int_equal(figures_of(f).config_loads, 1);
    fixture_close(f);

    fixture_open(f); // the same file
    assert_int_equal(f->found.seq, 2);
    fixture_close(f);

    file_put(f->config, "# other bytes, the same meaning\n"
                        "resources:\n"
                        "- {type: a, names: [a1, a2, a3, a4, a5, a6, a7, a8]}\n"
                        "- {type: d, min-count: 1, max-count: 1, lifespan: 10s}\n");
    fixture_open(f);
    assert_int_equal(figures_of(f).config_loads, 0);
    fixture_close(f);

    file_put(f->config, "resources: [{type: a, names: [a1]}]\n");
    fixture_open(f);
    assert_int_equal(figures_of(f).config_loads, 1);
    assert_string_equal(see(f, "a2").state, "-");
    fixture_close(f);

    static const uint32_t kinds[] = {COMMAND_STARTED, COMMAND_CONFIG,  COMMAND_STARTED,
                                     COMMAND_STARTED, COMMAND_STARTED, COMMAND_CONFIG};
    struct entries e = log_read(f->data);
    assert_int_equal(e.count, sizeof(kinds) / sizeof(kinds[0]));
    for (size_t i = 0; i < e.count; i++)
        assert_int_equal(e.list[i].kind, kinds[i]);
    entries_free(&e);
}

static void bad_config_at_start(void **state)
{
    struct fixture *f = *state;
    file_put(f->config, "resources: [{names: [x]}]\n");
    assert_int_not_equal(fixture_try_open(f), 0);
    assert_int_equal(f->exit_code, 1);
    assert_non_null(strstr(f->why, f->config));
    f->engine = NULL;
    assert_true(log_has(f, ".0.type: must be set"));

    file_put(f->config, "resources: [{type: a, names: [a1]}]\n");
    fixture_open(f);
    fixture_close(f);
    file_put(f->config, "resources: []\n");
    fixture_open(f); // on the config of the journal
    assert_string_equal(see(f, "a1").state, "free");
    assert_int_equal(figures_of(f).config_bad, 1);
    assert_int_equal(figures_of(f).config_errors, 1);
    fixture_close(f);

    f->options.strict_config = true;
    assert_int_not_equal(fixture_try_open(f), 0);
    assert_int_equal(f->exit_code, 1);
    f->engine = NULL;
    assert_int_equal(unlink(f->config), 0);
    assert_int_not_equal(fixture_try_open(f), 0);
    f->engine = NULL;
    f->options.strict_config = false;
    fixture_open(f);
    assert_string_equal(see(f, "a1").state, "free");
}

static void second_engine(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    struct engine *first = f->engine;
    assert_int_equal(fixture_try_open(f), BOSKOS_E_LOCKED);
    assert_int_equal(f->exit_code, 1);
    f->engine = first;
    assert_int_equal(acquire(f, "a", "free", "ann", NULL).reason, SM_OK);
}

// ---- from config to command -------------------------------------------------

static void config_round_trip(void **state)
{
    static const char yaml[] =
        "boskosd: {reaper: {expire: 2h, states: [busy, odd], target-state: t, period: 5s},\n"
        "  cleaner: {enabled: true}}\n"
        "resources:\n"
        "- {type: a, names: [a1, a2], reaper: {expire: 7s}}\n"
        "- {type: b, state: dirty, names: [b1], reaper: 'off'}\n"
        "- {type: d, state: s, min-count: 1, max-count: 2, lifespan: 48h, needs: {b: 0, a: 1},\n"
        "   config: {type: T, content: C}}\n";
    struct config *config = NULL;
    struct config_report report;
    struct command_decoder *decoder = command_decoder_new();
    struct command decoded;
    struct buffer bytes;
    (void)state;
    assert_int_equal(config_parse(text_from(yaml), &config, &report), 0);
    config_report_release(&report);
    struct command *made = config_command_new(config);
    buffer_init(&bytes);
    command_encode(made, &bytes);
    assert_int_equal(command_decode(decoder, COMMAND_CONFIG, buffer_as_text(&bytes), &decoded), 0);

    const struct command_config *c = &decoded.as.config;
    assert_int_equal(c->entries_count, 3);
    assert_true(c->reaper_enabled && c->cleaner_enabled);
    assert_int_equal(c->reaper_expire_ns, 7200 * (int64_t)NS_PER_S);
    assert_int_equal(c->reaper_period_ns, 5 * (int64_t)NS_PER_S);
    assert_int_equal(c->reaper_states_count, 2);
    assert_true(text_equal(c->reaper_states[1], TEXT("odd")));
    assert_true(text_equal(c->reaper_target, TEXT("t")));
    const struct sm_entry *a = &c->entries[0], *b = &c->entries[1], *d = &c->entries[2];
    assert_true(text_equal(a->state, TEXT("free")) && a->names_count == 2 && !a->is_dynamic);
    assert_true(text_equal(a->names[1], TEXT("a2")));
    assert_int_equal(a->reaper, SM_REAPER_EXPIRE);
    assert_int_equal(a->reaper_expire_ns, 7 * (int64_t)NS_PER_S);
    assert_int_equal(b->reaper, SM_REAPER_OFF);
    assert_true(d->is_dynamic && d->min_count == 1 && d->max_count == 2);
    assert_true(d->has_lifespan && d->lifespan_ns == 172800 * (int64_t)NS_PER_S);
    assert_int_equal(d->reaper, SM_REAPER_INHERIT);
    assert_int_equal(d->needs_count, 2);
    assert_true(text_equal(d->needs[0].type, TEXT("a")) && d->needs[0].count == 1);
    assert_true(text_equal(d->needs[1].type, TEXT("b")) && d->needs[1].count == 0);
    assert_true(d->has_config && text_equal(d->config_content, TEXT("C")));

    buffer_release(&bytes);
    free(made);
    config_free(config);
    command_decoder_free(decoder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENGINE_TEST(chain_on_disk),      ENGINE_TEST(chain_in_memory),
        ENGINE_TEST(long_chain),         ENGINE_TEST(queries_see_durable),
        ENGINE_TEST(started_and_config), ENGINE_TEST(bad_config_at_start),
        ENGINE_TEST(second_engine),      cmocka_unit_test(config_round_trip),
    };
    int failed = cmocka_run_group_tests_name("engine", tests, NULL, NULL);
    failed += engine_time_tests();
    failed += engine_grace_tests();
    failed += engine_recovery_tests();
    failed += engine_running_tests();
    failed += engine_config_tests();
    return failed;
}
