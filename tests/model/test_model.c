// The model of the rules agrees with what a running Boskos did, and does what the recordings do not
// show.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tests/model/model.h"
#include "tests/model/model_recordings.h"

#include "base/banned.h"

#define RECORDINGS 20u
#define S NS_PER_S
#define START (UINT64_C(1700000000) * S)

static void test_recordings(void **state)
{
    (void)state;
    const char *tests = getenv("BOSKOS_TESTS");
    assert_non_null(tests);
    for (uint32_t i = 1; i <= RECORDINGS; i++) {
        char path[4096];
        uint32_t steps = 0;
        snprintf(path, sizeof(path), "%s/conformance/rules/%02u.jsonl", tests, i);
        assert_true(recording_play(path, &steps));
        assert_true(steps > 300);
    }
}

// ---- what the recordings do not show ----------------------------------------

struct fixture {
    struct model *model;
    uint64_t seq;
    struct model_reply reply; // of the last command
    struct buffer dump;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    if (f == NULL) return -1;
    f->model = model_new();
    buffer_init(&f->dump);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    model_reply_release(&f->reply);
    buffer_release(&f->dump);
    model_free(f->model);
    free(f);
    return 0;
}

static enum sm_reason apply(struct fixture *f, uint64_t at_s, struct command c)
{
    model_reply_release(&f->reply);
    c.seq = ++f->seq;
    c.time_ns = START + at_s * S;
    model_apply(f->model, &c, &f->reply);
    return f->reply.reason;
}

static struct command acquire(const char *state, const char *owner, const char *request_id)
{
    struct command c = {.kind = COMMAND_ACQUIRE};
    c.as.acquire = (struct command_acquire){TEXT("t"),        text_from(state),      TEXT("busy"),
                                            text_from(owner), text_from(request_id), TEXT_NONE};
    return c;
}

static struct command release(struct text name, const char *owner, const char *dest)
{
    struct command c = {.kind = COMMAND_RELEASE};
    c.as.release = (struct command_release){name, text_from(dest), text_from(owner)};
    return c;
}

static struct command update(const char *name, const char *owner, const char *state,
                             const struct userdata_pair *pairs, uint32_t count)
{
    struct command c = {.kind = COMMAND_UPDATE};
    c.as.update = (struct command_update){
        text_from(name), text_from(owner), text_from(state), true, pairs, count};
    return c;
}

static struct command started(uint64_t downtime_s, uint32_t salt)
{
    struct command c = {.kind = COMMAND_STARTED};
    c.as.started.downtime_ns = downtime_s * S;
    c.as.started.request_ttl_ns = SM_REQUEST_TTL_DEFAULT_NS;
    c.as.started.salt = salt;
    return c;
}

static const struct text one_name[] = {{"a", 1}};
static const struct text two_names[] = {{"a", 1}, {"b", 1}};
static const struct text reaper_states[] = {{"busy", 4}, {"cleaning", 8}};

static struct command config(const struct sm_entry *entries, uint32_t count)
{
    struct command c = {.kind = COMMAND_CONFIG};
    c.as.config = (struct command_config){.entries = entries,
                                          .entries_count = count,
                                          .reaper_enabled = true,
                                          .reaper_expire_ns = 600 * (int64_t)S,
                                          .reaper_period_ns = 60 * (int64_t)S,
                                          .reaper_states = reaper_states,
                                          .reaper_states_count = 2,
                                          .reaper_target = TEXT("dirty"),
                                          .cleaner_enabled = true};
    return c;
}

static const struct sm_resource *find(struct fixture *f, const char *name)
{
    const struct sm_resource *list = NULL;
    uint32_t count = 0;
    model_resources(f->model, &list, &count);
    for (uint32_t i = 0; i < count; i++) {
        if (text_equal(list[i].name, text_from(name))) return &list[i];
    }
    return NULL;
}

static void assert_state(struct fixture *f, const char *name, const char *state, const char *owner)
{
    const struct sm_resource *r = find(f, name);
    assert_non_null(r);
    assert_true(text_equal(r->state, text_from(state)));
    assert_true(text_equal(r->owner, text_from(owner)));
}

static void test_server_names(void **state)
{
    struct fixture *f = *state;
    struct sm_entry e = {.type = TEXT("t"),
                         .state = TEXT("free"),
                         .is_dynamic = true,
                         .min_count = 2,
                         .max_count = 3};
    assert_int_equal(apply(f, 0, started(0, 0xabc)), SM_OK);
    assert_int_equal(apply(f, 0, started(0, 0xdef)), SM_OK); // only the first salt counts
    f->seq = (UINT64_C(0x12) << 40 | UINT64_C(0x3456789abc)) - 1;
    assert_int_equal(apply(f, 0, config(&e, 1)), SM_OK);
    // 1700000000000 ms = 0x018bcfe56800; seq 0x34'56789abc: 0x345, then 0x6789abc << 34 and the
    // counter.
    assert_state(f, "018bcfe5-6800-7345-99e2-6af000000abc", "free", "");
    assert_state(f, "018bcfe5-6800-7345-99e2-6af000001abc", "free", "");
}

static void test_first_state_tombstone(void **state)
{
    struct fixture *f = *state;
    struct sm_entry e = {.type = TEXT("t"),
                         .state = TEXT("tombstone"),
                         .is_dynamic = true,
                         .min_count = 1,
                         .max_count = 1};
    const struct sm_resource *list = NULL;
    uint32_t count = 0;
    apply(f, 0, config(&e, 1));
    model_resources(f->model, &list, &count);
    assert_int_equal(count, 1);
    char before[36];
    memcpy(before, list[0].name.data, sizeof(before));
    apply(f, 1, (struct command){.kind = COMMAND_EXPIRE}); // gone, and made again
    model_resources(f->model, &list, &count);
    assert_int_equal(count, 1);
    assert_int_equal(list[0].lastupdate_ns, START + S);
    assert_memory_not_equal(before, list[0].name.data, sizeof(before));
}

static void test_acquirebystate(void **state)
{
    struct fixture *f = *state;
    struct sm_entry e = {
        .type = TEXT("t"), .state = TEXT("free"), .names = two_names, .names_count = 2};
    struct command c = {.kind = COMMAND_ACQUIREBYSTATE};
    c.as.acquirebystate =
        (struct command_acquirebystate){TEXT("free"), TEXT("busy"), TEXT("ann"), TEXT("b,nosuch")};
    apply(f, 0, config(&e, 1));
    assert_int_equal(apply(f, 1, c), SM_NO_AVAILABLE);
    assert_state(f, "b", "free", "");
    c.as.acquirebystate.names = TEXT("b,,nosuch");
    assert_int_equal(apply(f, 1, c), SM_NO_AVAILABLE);
    assert_state(f, "b", "free", "");
    c.as.acquirebystate.names = TEXT("b,a,b");
    assert_int_equal(apply(f, 1, c), SM_OK);
    assert_int_equal(f->reply.resources_count, 2);
    assert_int_equal(f->reply.resources[0].name.data[0], 'a');
    // An empty name is missing, and yet the others are handed out, as in Boskos.
    apply(f, 2, release(TEXT("b"), "ann", "free"));
    c.as.acquirebystate.names = TEXT("b,");
    assert_int_equal(apply(f, 2, c), SM_NO_AVAILABLE);
    assert_state(f, "b", "busy", "ann");
}

static void test_queue(void **state)
{
    struct fixture *f = *state;
    struct sm_entry e = {
        .type = TEXT("t"), .state = TEXT("free"), .names = one_name, .names_count = 1};
    apply(f, 0, config(&e, 1));
    assert_int_equal(apply(f, 0, acquire("free", "ann", "")), SM_OK);
    assert_int_equal(apply(f, 1, acquire("free", "bob", "b")), SM_NO_AVAILABLE);
    assert_int_equal(apply(f, 2, acquire("free", "cyd", "c")), SM_NO_AVAILABLE);
    assert_int_equal(apply(f, 3, release(TEXT("a"), "ann", "free")), SM_OK);
    assert_int_equal(apply(f, 31, acquire("free", "cyd", "c")), SM_NO_AVAILABLE); // bob lives at 31
    // Time slept through gives who waited at its beginning a new TTL.
    assert_int_equal(apply(f, 1000, started(969, 0)), SM_OK);
    assert_int_equal(apply(f, 1030, acquire("free", "cyd", "c")), SM_NO_AVAILABLE);
    model_dump(f->model, &f->dump);
    buffer_char(&f->dump, '\0');
    assert_non_null(strstr(f->dump.data, "queue \"t\" \"free\" 1 \"b\" 1700000001000000000 "
                                         "1700001030000000000\n"
                                         "queue \"t\" \"free\" 2 \"c\" 1700000002000000000 "
                                         "1700001060000000000\n"));
    assert_int_equal(apply(f, 1031, acquire("free", "cyd", "c")), SM_OK); // bob's is over
    assert_int_equal(f->reply.waited_ns, 1029 * S);
}

static void test_userdata_limit(void **state)
{
    struct fixture *f = *state;
    struct sm_entry e = {
        .type = TEXT("t"), .state = TEXT("free"), .names = one_name, .names_count = 1};
    char *big = malloc(SM_USERDATA_BYTES_MAX);
    assert_non_null(big);
    memset(big, 'x', SM_USERDATA_BYTES_MAX);
    struct userdata_pair pair = {TEXT("k"), text_of(big, SM_USERDATA_BYTES_MAX)};
    apply(f, 0, config(&e, 1));
    apply(f, 0, acquire("free", "ann", ""));
    assert_int_equal(apply(f, 1, update("a", "bob", "busy", &pair, 1)), SM_OWNER_MISMATCH);
    assert_int_equal(apply(f, 1, update("a", "ann", "free", &pair, 1)), SM_STATE_MISMATCH);
    assert_int_equal(apply(f, 1, update("a", "ann", "busy", &pair, 1)), SM_USERDATA_TOO_LARGE);
    assert_int_equal(find(f, "a")->lastupdate_ns, START);
    pair.value.size--;
    assert_int_equal(apply(f, 1, update("a", "ann", "busy", &pair, 1)), SM_OK);
    assert_int_equal(find(f, "a")->userdata_count, 1);
    pair.value = TEXT_NONE;
    assert_int_equal(apply(f, 1, update("a", "ann", "busy", &pair, 1)), SM_OK);
    assert_int_equal(find(f, "a")->userdata_count, 0);
    free(big);
}

static void test_reaper(void **state)
{
    struct fixture *f = *state;
    static const struct text c_name[] = {{"c", 1}};
    struct sm_entry entries[] = {
        {.type = TEXT("t"), .state = TEXT("free"), .names = two_names, .names_count = 2},
        {.type = TEXT("u"),
         .state = TEXT("free"),
         .names = c_name,
         .names_count = 1,
         .reaper = SM_REAPER_OFF}};
    struct command by_state = {.kind = COMMAND_ACQUIREBYSTATE};
    by_state.as.acquirebystate =
        (struct command_acquirebystate){TEXT("free"), TEXT("busy"), TEXT("ann"), TEXT("a,b,c")};
    struct command reap = {.kind = COMMAND_REAP};
    apply(f, 0, config(entries, 2));
    assert_int_equal(apply(f, 0, by_state), SM_OK);
    apply(f, 500, started(490, 0)); // a, b: 10 s old
    assert_int_equal(apply(f, 510, update("b", "ann", "busy", NULL, 0)), SM_OK);
    apply(f, 1089, reap);
    assert_state(f, "a", "busy", "ann");
    apply(f, 1090, reap);
    assert_state(f, "a", "dirty", "");
    assert_state(f, "b", "busy", "ann");
    apply(f, 1100, (struct command){.kind = COMMAND_CLOCK, .as.clock.ahead_ns = 1});
    apply(f, 1159, reap); // old enough, but within a period after the jump
    assert_state(f, "b", "busy", "ann");
    apply(f, 1160, reap);
    assert_state(f, "b", "dirty", "");
    assert_state(f, "c", "busy", "ann");
}

static void test_cleaner(void **state)
{
    struct fixture *f = *state;
    struct sm_entry entries[] = {
        {.type = TEXT("p"), .state = TEXT("free"), .names = two_names, .names_count = 2},
        {.type = TEXT("t"),
         .state = TEXT("free"),
         .is_dynamic = true,
         .min_count = 1,
         .max_count = 1}};
    apply(f, 0, started(0, 1));
    apply(f, 0, config(entries, 2));
    assert_int_equal(apply(f, 1, acquire("free", "mason", "")), SM_OK);
    char name[40];
    struct text id = f->reply.resources[0].name;
    memcpy(name, id.data, id.size);
    name[id.size] = '\0';

    struct userdata_pair pair = {TEXT("leasedResources"), TEXT("- a\n")};
    assert_int_equal(apply(f, 2, update(name, "mason", "busy", &pair, 1)), SM_OK);
    struct command lend = {.kind = COMMAND_ACQUIREBYSTATE};
    lend.as.acquirebystate =
        (struct command_acquirebystate){TEXT("free"), TEXT("leased"), TEXT("mason"), TEXT("a,b")};
    assert_int_equal(apply(f, 3, lend), SM_OK);
    assert_int_equal(apply(f, 3, release(TEXT("a"), "mason", name)), SM_OK);
    assert_int_equal(apply(f, 3, release(TEXT("b"), "mason", name)), SM_OK);
    assert_int_equal(apply(f, 4, release(text_from(name), "mason", "toBeDeleted")), SM_OK);

    struct command clean = {.kind = COMMAND_CLEAN};
    clean.as.clean = (struct command_clean){text_from(name), TEXT_NONE, one_name, 1};
    assert_int_equal(apply(f, 5, clean), SM_OK); // decided on another value: nothing
    assert_state(f, name, "toBeDeleted", "");
    clean.as.clean.leased = TEXT("- a\n");
    assert_int_equal(apply(f, 6, clean), SM_OK);
    assert_null(find(f, name)); // a tombstone goes at once
    assert_state(f, "a", "dirty", "");
    assert_state(f, "b", "dirty", ""); // not on the list, but nobody's any more
    assert_int_equal(find(f, "b")->lastupdate_ns, START + 6 * S);
}

static void test_expired_when_released(void **state)
{
    struct fixture *f = *state;
    struct sm_entry e = {.type = TEXT("t"),
                         .state = TEXT("free"),
                         .is_dynamic = true,
                         .min_count = 1,
                         .max_count = 1,
                         .has_lifespan = true,
                         .lifespan_ns = 10 * (int64_t)S};
    char name[40] = {0};
    apply(f, 0, config(&e, 1));
    assert_int_equal(apply(f, 0, acquire("free", "ann", "")), SM_OK);
    memcpy(name, f->reply.resources[0].name.data, f->reply.resources[0].name.size);
    assert_int_equal(apply(f, 1, release(text_from(name), "ann", "free")), SM_OK);
    assert_int_equal(apply(f, 2, acquire("free", "ann", "")), SM_OK);
    struct command reset = {.kind = COMMAND_RESET};
    reset.as.reset = (struct command_reset){TEXT("t"), TEXT("busy"), TEXT("free"), TEXT("1s")};
    assert_int_equal(apply(f, 20, reset), SM_OK);
    assert_int_equal(f->reply.reset_count, 1);
    assert_state(f, name, "toBeDeleted", ""); // in the same command
    assert_int_equal(find(f, name)->expiration_ns, START + 11 * S);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recordings),
        cmocka_unit_test_setup_teardown(test_server_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_first_state_tombstone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_acquirebystate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_queue, setup, teardown),
        cmocka_unit_test_setup_teardown(test_userdata_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reaper, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cleaner, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expired_when_released, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
