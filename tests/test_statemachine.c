// Tests of statemachine/: snapshots, limits, edges of time. The rules are in tests/scripts and in
// test_history.c.
#include "tests/test_statemachine.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "tests/history_make.h"

#include "base/banned.h"

#define START_NS (UINT64_C(1700000000) * NS_PER_S)
#define HEAD_BYTES 24u // of a snapshot: up to the stamp, which the digest does not cover

// ---- helpers ------------------------------------------------------------------------------------

static struct sm_result apply(struct sm *sm, struct command c, uint64_t time_ns)
{
    struct sm_result result;
    c.seq = sm_seq(sm) + 1;
    c.time_ns = time_ns;
    sm_apply(sm, &c, &result);
    return result;
}

static struct sm_result acquire(struct sm *sm, const char *state, const char *id, uint64_t time_ns)
{
    struct command c = {.kind = COMMAND_ACQUIRE,
                        .as.acquire = {TEXT("t"), text_from(state), TEXT("busy"), TEXT("ann"),
                                       text_from(id), TEXT_NONE}};
    return apply(sm, c, time_ns);
}

static struct sm_result acquire_by_key(struct sm *sm, const char *owner, const char *key,
                                       uint64_t time_ns)
{
    struct command c = {.kind = COMMAND_ACQUIRE,
                        .as.acquire = {TEXT("t"), TEXT("free"), TEXT("busy"), text_from(owner),
                                       TEXT_NONE, text_from(key)}};
    return apply(sm, c, time_ns);
}

static struct sm_result release(struct sm *sm, const char *name, uint64_t time_ns)
{
    struct command c = {.kind = COMMAND_RELEASE,
                        .as.release = {text_from(name), TEXT("free"), TEXT("ann")}};
    return apply(sm, c, time_ns);
}

// The type `t`: static with the names a and b, or with a life cycle of that lifespan.
static struct command config_of(struct sm_entry *ret_entry, bool is_dynamic, int64_t lifespan_ns)
{
    static const struct text names[] = {TEXT("a"), TEXT("b")};
    *ret_entry = (struct sm_entry){.type = TEXT("t"), .state = TEXT("free")};
    ret_entry->is_dynamic = is_dynamic;
    if (is_dynamic) {
        ret_entry->min_count = 1;
        ret_entry->max_count = 2;
        ret_entry->has_lifespan = true;
        ret_entry->lifespan_ns = lifespan_ns;
    } else {
        ret_entry->names = names;
        ret_entry->names_count = 2;
    }
    return (struct command){.kind = COMMAND_CONFIG, .as.config = {ret_entry, .entries_count = 1}};
}

static struct sm *sm_with_static(void)
{
    struct sm_entry entry;
    struct sm *sm = sm_new(1);
    apply(sm, config_of(&entry, false, 0), START_NS);
    return sm;
}

static int append(void *context, const void *bytes, size_t size)
{
    buffer_append(context, bytes, size);
    return 0;
}

// A state with everything in it, after so many commands of a random history.
static struct sm *sm_of_history(uint64_t seed, uint32_t steps)
{
    struct maker maker;
    struct model *model = model_new();
    struct sm *sm = sm_new(seed);
    maker_init(&maker, seed, model);
    for (uint32_t i = 0; i < steps; i++) {
        struct command c;
        struct sm_result result;
        struct model_reply reply;
        maker_next(&maker, &c);
        sm_apply(sm, &c, &result);
        // The model copies nothing of a command before it is done: it takes it decoded.
        struct buffer payload;
        struct command decoded;
        struct command_decoder *d = command_decoder_new();
        buffer_init(&payload);
        command_encode(&c, &payload);
        assert_int_equal(command_decode(d, c.kind, buffer_as_text(&payload), &decoded), 0);
        decoded.seq = c.seq;
        decoded.time_ns = c.time_ns;
        model_apply(model, &decoded, &reply);
        model_reply_release(&reply);
        buffer_release(&payload);
        command_decoder_free(d);
    }
    maker_release(&maker);
    model_free(model);
    return sm;
}

// ---- snapshots ----------------------------------------------------------------------------------

static void test_snapshot_of_nothing(void **unused)
{
    (void)unused;
    struct sm *sm = sm_new(1), *again = NULL;
    struct buffer bytes;
    buffer_init(&bytes);
    assert_int_equal(sm_snapshot_write(sm, append, &bytes), 0);
    assert_int_equal(sm_snapshot_read(buffer_as_text(&bytes), 2, &again), 0);
    assert_true(hash128_equal(sm_digest(sm), sm_digest(again)));
    sm_free(again);
    sm_free(sm);
    buffer_release(&bytes);
}

static int refuse_second(void *context, const void *bytes, size_t size)
{
    (void)bytes;
    (void)size;
    return ++*(int *)context == 2 ? BOSKOS_E_NOSPACE : 0;
}

static void test_snapshot_stops(void **unused)
{
    (void)unused;
    struct sm *sm = sm_with_static();
    struct userdata_pair pair = {TEXT("k"), {NULL, 0}};
    struct buffer value;
    buffer_init(&value);
    memset(buffer_reserve(&value, 500000), 'v', 500000);
    value.size = 500000;
    pair.value = buffer_as_text(&value);
    for (int i = 0; i < 2; i++) {
        struct sm_result result = acquire(sm, "free", "", START_NS);
        struct command update = {
            .kind = COMMAND_UPDATE,
            .as.update = {result.resources[0].name, TEXT("ann"), TEXT("busy"), true, &pair, 1}};
        assert_int_equal(apply(sm, update, START_NS).reason, SM_OK);
    }
    int calls = 0;
    assert_int_equal(sm_snapshot_write(sm, refuse_second, &calls), BOSKOS_E_NOSPACE);
    assert_int_equal(calls, 2);
    buffer_release(&value);
    sm_free(sm);
}

// What is read from damaged bytes is an error, or what those bytes say: then they are written
// again, and the damage was in the seq or the stamp, which the digest does not cover.
static void check_damaged(struct text bytes, size_t at)
{
    struct sm *sm = NULL;
    int err = sm_snapshot_read(bytes, 3, &sm);
    if (err != 0) {
        if (err != BOSKOS_E_CORRUPT && err != BOSKOS_E_TOO_NEW) fail_msg("error %d", err);
        return;
    }
    struct buffer again;
    buffer_init(&again);
    assert_int_equal(sm_snapshot_write(sm, append, &again), 0);
    if (at > HEAD_BYTES || !text_equal(buffer_as_text(&again), bytes))
        fail_msg("damage at byte %zu was not seen", at);
    buffer_release(&again);
    sm_free(sm);
}

static void damage_snapshot(struct sm *sm)
{
    static const uint8_t changes[] = {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff, 0x21};
    struct buffer bytes;
    buffer_init(&bytes);
    assert_int_equal(sm_snapshot_write(sm, append, &bytes), 0);
    for (size_t size = 0; size < bytes.size; size++) {
        struct sm *none = NULL;
        struct buffer cut; // in memory of its own, so that reading beyond it is seen
        buffer_init(&cut);
        buffer_append(&cut, bytes.data, size);
        assert_int_equal(sm_snapshot_read(buffer_as_text(&cut), 3, &none), BOSKOS_E_CORRUPT);
        buffer_release(&cut);
    }
    for (size_t at = 0; at < bytes.size; at++) {
        for (size_t i = 0; i < sizeof(changes); i++) {
            bytes.data[at] = (char)(bytes.data[at] ^ (char)changes[i]);
            check_damaged(buffer_as_text(&bytes), at);
            bytes.data[at] = (char)(bytes.data[at] ^ (char)changes[i]);
        }
    }
    buffer_release(&bytes);
    sm_free(sm);
}

static void test_snapshot_damaged(void **unused)
{
    (void)unused;
    for (uint64_t seed = 1; seed <= 3; seed++)
        damage_snapshot(sm_of_history(seed, 300));
    // Names, ids and tickets a bit apart: damage makes them equal, or turns their order.
    struct sm *sm = sm_with_static();
    for (uint32_t i = 0; i < 24; i++) {
        char id[8];
        snprintf(id, sizeof(id), "%u", i % 12);
        acquire(sm, i < 12 ? "x" : "y", id, START_NS);
    }
    damage_snapshot(sm);
    sm = sm_with_static();
    acquire_by_key(sm, "ann", "k", START_NS);
    acquire_by_key(sm, "ann", "j", START_NS);
    damage_snapshot(sm);
}

// What would fit into the form without keys is written in that one only.
static void test_snapshot_without_keys(void **unused)
{
    (void)unused;
    struct sm *sm = sm_with_static(), *none = NULL;
    struct buffer bytes;
    buffer_init(&bytes);
    assert_int_equal(sm_snapshot_write(sm, append, &bytes), 0);
    bytes.data[1] = bytes.data[2] = 2; // the form, the semantics
    assert_int_equal(sm_snapshot_read(buffer_as_text(&bytes), 1, &none), BOSKOS_E_CORRUPT);
    buffer_char(&bytes, '\x90');
    assert_int_equal(sm_snapshot_read(buffer_as_text(&bytes), 1, &none), BOSKOS_E_CORRUPT);
    buffer_release(&bytes);
    sm_free(sm);
}

static void test_snapshot_too_new(void **unused)
{
    (void)unused;
    struct sm *sm = sm_with_static(), *none = NULL;
    struct buffer bytes;
    buffer_init(&bytes);
    assert_int_equal(sm_snapshot_write(sm, append, &bytes), 0);
    for (size_t at = 1; at <= 2; at++) { // the form, the semantics
        char kept = bytes.data[at];
        bytes.data[at] = (char)(SM_SEMANTICS + 1);
        assert_int_equal(sm_snapshot_read(buffer_as_text(&bytes), 1, &none), BOSKOS_E_TOO_NEW);
        bytes.data[at] = kept;
    }
    buffer_release(&bytes);
    sm_free(sm);
}

// ---- idempotency keys ---------------------------------------------------------------------------

// Not even a dead entry of the queue is swept for it.
static void test_repeat_changes_nothing(void **unused)
{
    (void)unused;
    struct sm *sm = sm_with_static();
    assert_int_equal(acquire_by_key(sm, "ann", "k", START_NS).reason, SM_OK);
    assert_int_equal(acquire_by_key(sm, "ann", "j", START_NS).reason, SM_OK);
    assert_int_equal(acquire(sm, "free", "id", START_NS).reason, SM_NO_AVAILABLE);
    uint64_t later_ns = START_NS + SM_REQUEST_TTL_DEFAULT_NS + 1;
    struct hash128 before = sm_digest(sm);
    struct sm_result result = acquire_by_key(sm, "ann", "k", later_ns);
    assert_true(result.is_repeat);
    assert_true(text_equal(result.resources[0].name, TEXT("a")));
    assert_true(result.resources[0].lastupdate_ns == START_NS);
    assert_int_equal(result.effect, 0);
    struct command other = {.kind = COMMAND_ACQUIRE,
                            .as.acquire = {TEXT("t"), TEXT("free"), TEXT("leased"), TEXT("ann"),
                                           TEXT("id-2"), TEXT("k")}};
    result = apply(sm, other, later_ns);
    assert_int_equal(result.reason, SM_KEY_MISMATCH);
    assert_int_equal(sm_reason_status(result.reason), 409);
    assert_int_equal(result.effect, 0);
    assert_true(hash128_equal(sm_digest(sm), before));
    assert_int_equal(sm_queue_entries(sm), 1);
    sm_free(sm);
}

// ---- limits -------------------------------------------------------------------------------------

static void fill_queue(struct sm *sm, const char *state, uint64_t time_ns)
{
    for (uint32_t i = 0; i < SM_QUEUE_ENTRIES_MAX; i++) {
        char id[16];
        snprintf(id, sizeof(id), "%u", i);
        assert_int_equal(acquire(sm, state, id, time_ns).reason, SM_NO_AVAILABLE);
    }
}

static void test_queue_full(void **unused)
{
    (void)unused;
    struct sm *sm = sm_with_static();
    fill_queue(sm, "x", START_NS);
    struct sm_result refused = acquire(sm, "x", "one more", START_NS);
    assert_int_equal(refused.reason, SM_QUEUE_FULL);
    assert_int_equal(sm_reason_status(refused.reason), 503);
    assert_int_equal(refused.effect, 0);
    // Those that are in it go on, so do others, and those without a place in any.
    assert_int_equal(acquire(sm, "x", "99999", START_NS).reason, SM_NO_AVAILABLE);
    assert_int_equal(acquire(sm, "x", "", START_NS).reason, SM_NO_AVAILABLE);
    assert_int_equal(acquire(sm, "y", "0", START_NS).reason, SM_NO_AVAILABLE);
    // Dead entries do not count.
    uint64_t later_ns = START_NS + SM_REQUEST_TTL_DEFAULT_NS + 1;
    assert_int_equal(acquire(sm, "x", "one more", later_ns).reason, SM_NO_AVAILABLE);
    assert_int_equal(sm_queue_entries(sm), 2); // that one, and the one of the other queue
    sm_free(sm);
}

static void test_queues_full(void **unused)
{
    (void)unused;
    struct sm *sm = sm_with_static();
    for (uint32_t i = 0; i < SM_QUEUE_ENTRIES_TOTAL_MAX / SM_QUEUE_ENTRIES_MAX; i++) {
        char state[16];
        snprintf(state, sizeof(state), "state-%u", i);
        fill_queue(sm, state, START_NS);
    }
    assert_int_equal(acquire(sm, "other", "id", START_NS).reason, SM_QUEUES_FULL);
    assert_int_equal(sm_queue_entries(sm), SM_QUEUE_ENTRIES_TOTAL_MAX);
    uint64_t later_ns = START_NS + SM_REQUEST_TTL_DEFAULT_NS + 1;
    assert_int_equal(acquire(sm, "other", "id", later_ns).reason, SM_NO_AVAILABLE);
    assert_int_equal(sm_queue_entries(sm), 1);
    sm_free(sm);
}

static void test_userdata_too_large(void **unused)
{
    (void)unused;
    struct sm *sm = sm_with_static();
    assert_int_equal(acquire(sm, "free", "", START_NS).reason, SM_OK);
    char *bytes = must_malloc(SM_USERDATA_BYTES_MAX);
    memset(bytes, 'v', SM_USERDATA_BYTES_MAX);
    struct userdata_pair pair = {TEXT("k"), text_of(bytes, SM_USERDATA_BYTES_MAX - 1)};
    struct command c = {.kind = COMMAND_UPDATE,
                        .as.update = {TEXT("a"), TEXT("ann"), TEXT("busy"), true, &pair, 1}};
    struct sm_result result = apply(sm, c, START_NS + 1);
    assert_int_equal(result.reason, SM_OK); // exactly full

    struct userdata_pair one_more = {TEXT("l"), TEXT("v")};
    c.as.update.pairs = &one_more;
    struct sm_result refused = apply(sm, c, START_NS + 2);
    assert_int_equal(refused.reason, SM_USERDATA_TOO_LARGE);
    assert_int_equal(sm_reason_status(refused.reason), 413);
    assert_int_equal(refused.effect, 0);
    assert_true(hash128_equal(refused.digest, result.digest));

    // A key that is replaced makes room.
    struct userdata_pair both[] = {{TEXT("k"), TEXT("")}, one_more};
    c.as.update.pairs = both;
    c.as.update.pairs_count = 2;
    assert_int_equal(apply(sm, c, START_NS + 3).reason, SM_OK);
    struct sm_resource r;
    assert_int_equal(sm_find(sm, TEXT("a"), &r), 0);
    assert_int_equal(r.userdata_count, 1);
    free(bytes);
    sm_free(sm);
}

// ---- edges of time ------------------------------------------------------------------------------

static void test_lifespans_do_not_wrap(void **unused)
{
    (void)unused;
    static const int64_t lifespans[] = {INT64_MIN, INT64_MIN + 1, INT64_MAX};
    for (size_t i = 0; i < sizeof(lifespans) / sizeof(lifespans[0]); i++) {
        struct sm_entry entry;
        struct sm *sm = sm_new(1);
        apply(sm, config_of(&entry, true, lifespans[i]), START_NS);
        struct sm_result got = acquire(sm, "free", "", START_NS);
        assert_int_equal(got.reason, SM_OK);
        char name[64];
        snprintf(name, sizeof(name), "%.*s", TEXT_ARG(got.resources[0].name));
        assert_int_equal(release(sm, name, START_NS).reason, SM_OK);
        struct sm_resource r;
        assert_int_equal(sm_find(sm, text_from(name), &r), 0);
        bool is_expired = lifespans[i] < 0;
        assert_true(text_equal(r.state, is_expired ? TEXT("toBeDeleted") : TEXT("free")));
        sm_free(sm);
    }
}

// However often it slept: a lease gets its whole age awake, and one from afterwards no more than
// that.
static void test_many_sleeps(void **unused)
{
    (void)unused;
    struct sm_entry entry;
    struct sm *sm = sm_new(1);
    const struct text states[] = {TEXT("busy")};
    struct command config = config_of(&entry, false, 0);
    config.as.config.reaper_enabled = true;
    config.as.config.reaper_expire_ns = (int64_t)(1000 * NS_PER_S);
    config.as.config.reaper_period_ns = (int64_t)NS_PER_S;
    config.as.config.reaper_states = states;
    config.as.config.reaper_states_count = 1;
    config.as.config.reaper_target = TEXT("dirty");
    apply(sm, config, START_NS);
    assert_int_equal(acquire(sm, "free", "", START_NS).reason, SM_OK); // a
    uint64_t now_ns = START_NS;
    for (int i = 0; i < 200; i++) {
        now_ns += 10 * NS_PER_S;
        struct command c = {.kind = COMMAND_CLOCK, .as.clock = {10 * NS_PER_S}};
        apply(sm, c, now_ns);
    }
    assert_int_equal(acquire(sm, "free", "", now_ns).reason, SM_OK); // b
    uint64_t due_ns = now_ns + 1000 * NS_PER_S;
    assert_int_equal(sm_reap_due_ns(sm), due_ns);
    apply(sm, (struct command){.kind = COMMAND_REAP}, due_ns - 1);
    assert_int_equal(sm_count_in_state(sm, TEXT("t"), TEXT("busy")), 2);
    apply(sm, (struct command){.kind = COMMAND_REAP}, due_ns);
    assert_int_equal(sm_count_in_state(sm, TEXT("t"), TEXT("dirty")), 2);
    assert_int_equal(sm_reap_due_ns(sm), SM_NEVER);
    sm_free(sm);
}

// ---- what the server makes ----------------------------------------------------------------------

static void test_made_names(void **unused)
{
    (void)unused;
    struct sm_entry entry;
    struct sm *sm = sm_new(1);
    struct command started = {.kind = COMMAND_STARTED,
                              .as.started = {.request_ttl_ns = 1, .salt = 0xabc}};
    apply(sm, started, START_NS);
    started.as.started.salt = 0x123; // only the first one counts
    apply(sm, started, START_NS);
    struct command config = config_of(&entry, true, 0);
    entry.min_count = 2;
    apply(sm, config, START_NS + 5 * NS_PER_MS);
    // 1700000000005 ms, seq 3, counters 0 and 1, salt abc.
    struct sm_resource r;
    assert_int_equal(sm_resources_count(sm), 2);
    assert_int_equal(sm_find(sm, TEXT("018bcfe5-6805-7000-8000-000c00000abc"), &r), 0);
    assert_int_equal(sm_find(sm, TEXT("018bcfe5-6805-7000-8000-000c00001abc"), &r), 0);
    sm_free(sm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_random),
        cmocka_unit_test(test_order_first_in_first_out),
        cmocka_unit_test(test_commands_round_trip),
        cmocka_unit_test(test_commands_numbers),
        cmocka_unit_test(test_commands_refused),
        cmocka_unit_test(test_imports_refused),
        cmocka_unit_test(test_commands_damaged),
        cmocka_unit_test(test_snapshot_of_nothing),
        cmocka_unit_test(test_snapshot_stops),
        cmocka_unit_test(test_snapshot_damaged),
        cmocka_unit_test(test_snapshot_without_keys),
        cmocka_unit_test(test_repeat_changes_nothing),
        cmocka_unit_test(test_snapshot_too_new),
        cmocka_unit_test(test_queue_full),
        cmocka_unit_test(test_queues_full),
        cmocka_unit_test(test_userdata_too_large),
        cmocka_unit_test(test_lifespans_do_not_wrap),
        cmocka_unit_test(test_many_sleeps),
        cmocka_unit_test(test_made_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
