// Starting again: after an end in order, after a kill, after damage; and the shadow's comparisons.
#include "tests/engine_fixture.h"
#include "tests/engine_parts.h"

#include <fcntl.h>
#include <inttypes.h>
#include <lmdb.h>

#include "base/banned.h"

#define SEEDS 4u
#define ROUNDS 4u
#define ROUND_COMMANDS 40u

// ---- random histories -------------------------------------------------------

static uint64_t below(uint64_t *random, uint64_t bound)
{
    *random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (*random >> 33) % bound;
}

static const char *pick(uint64_t *random, const char *const *list, size_t count)
{
    return list[below(random, count)];
}

#define PICK(list) pick(random, list, sizeof(list) / sizeof((list)[0]))

static void send_reset(struct fixture *f, const char *type, const char *state)
{
    struct call c;
    call_init(&c, f);
    call_command(&c, COMMAND_RESET);
    c.command.as.reset = (struct command_reset){.type = text_from(type),
                                                .state = text_from(state),
                                                .dest = TEXT("free"),
                                                .expire = TEXT("20s")};
    call_send(&c);
    call_wait(&c);
}

static void send_any(struct fixture *f, uint64_t *random)
{
    static const char *const types[] = {"a", "a", "d"};
    static const char *const states[] = {"free", "free", "busy", "dirty", "toBeDeleted"};
    static const char *const owners[] = {"ann", "bob"};
    static const char *const ids[] = {NULL, "r1", "r2", "r3"};
    static const char *const names[] = {"a1", "a2", "a3", "a4"};
    static const char *const values[] = {"", "v", "longer"};
    static char last[64] = "a1"; // granted last: often a server-made name
    switch (below(random, 10)) {
    case 0:
    case 1:
    case 2:
    case 3: {
        struct call c = acquire(f, PICK(types), PICK(states), PICK(owners), PICK(ids));
        if (c.name[0] != '\0') snprintf(last, sizeof(last), "%s", c.name);
        break;
    }
    case 4:
    case 5: release(f, PICK(names), PICK(owners), PICK(states)); break;
    case 6: release(f, last, PICK(owners), PICK(states)); break;
    case 7: send_reset(f, PICK(types), PICK(states)); break;
    case 8: update(f, PICK(names), PICK(owners), "busy", "k", text_from(PICK(values))); break;
    default: update(f, last, PICK(owners), "busy", "k", text_from(PICK(values))); break;
    }
    if (below(random, 3) == 0) step(f, below(random, 8 * NS_PER_S));
    if (below(random, 40) == 0) jump(f, 2 * (int64_t)MINUTE_NS);
    if (below(random, 40) == 0) jump(f, -5 * (int64_t)NS_PER_S);
}

// Runs a history with a few snapshots in it. The engine stays open.
static void run_history(struct fixture *f, uint64_t seed)
{
    uint64_t random = seed;
    f->options.snapshot_every = ROUND_COMMANDS / 2;
    fixture_open(f);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint64_t before = figures_of(f).snapshots;
        for (uint32_t i = 0; i < ROUND_COMMANDS; i++)
            send_any(f, &random);
        EVENTUALLY(figures_of(f).snapshots > before);
    }
    // A tail behind the newest snapshot, and its last rows still on their way.
    for (uint32_t i = 0; i < ROUND_COMMANDS / 4; i++)
        send_any(f, &random);
}

static void remove_snapshots(const char *data)
{
    char path[FILE_BYTES];
    size_t count;
    uint64_t *seqs = snapshots_of(data, &count);
    for (size_t i = 0; i < count; i++) {
        snapshot_path_of(data, seqs[i], path);
        assert_int_equal(unlink(path), 0);
    }
    free(seqs);
}

// Opens the folder, says what recovery found, and closes again.
static struct state_at reopen(struct fixture *f, const char *data)
{
    f->options.data_dir = data;
    fixture_open(f);
    struct state_at at = state_of(f);
    fixture_close(f);
    return at;
}

// Killed while it ran: whichever way recovery goes, by snapshots or through the whole log, it comes
// to the state that was there, and the missing rows are made again as they would have been.
static void killed_engines_recover(void **state)
{
    struct fixture *f = *state;
    char a[FILE_BYTES], b[FILE_BYTES], own[FILE_BYTES], data[FILE_BYTES];
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        snprintf(data, sizeof(data), "%s/data-%" PRIu64, f->dir, seed);
        snprintf(a, sizeof(a), "%s/a-%" PRIu64, f->dir, seed);
        snprintf(b, sizeof(b), "%s/b-%" PRIu64, f->dir, seed);
        snprintf(own, sizeof(own), "%s/own-%" PRIu64, f->dir, seed);
        f->options.data_dir = data;
        run_history(f, seed);
        struct state_at live = state_of(f);
        data_copy(data, a);
        assert_int_equal(state_of(f).seq, live.seq); // nothing was going on meanwhile
        data_copy(a, b);
        data_copy(a, own);
        fixture_close(f);
        remove_snapshots(b);

        struct entries killed = log_read(own), whole = log_read(data);
        assert_int_equal(killed.count, live.seq);
        assert_int_equal(killed.list[killed.count - 1].row_size, 0);
        struct state_at replayed = log_replay(own);
        assert_true(hash128_equal(replayed.digest, live.digest));

        struct state_at with = reopen(f, a);
        assert_true(f->found.snapshot_seq > 0);
        assert_int_equal(f->found.seq, live.seq);
        assert_int_equal(f->found.tail, live.seq - f->found.snapshot_seq);
        struct state_at without = reopen(f, b);
        assert_int_equal(f->found.snapshot_seq, 0);
        assert_int_equal(f->found.tail, live.seq);
        assert_int_equal(with.seq, without.seq);
        assert_true(hash128_equal(with.digest, without.digest));

        struct entries made = log_read(a);
        assert_true(made.count > killed.count);
        for (size_t i = 0; i < killed.count; i++) {
            assert_true(made.list[i].row_size > 0);
            assert_int_equal(made.list[i].row_size, whole.list[i].row_size);
            assert_memory_equal(made.list[i].row, whole.list[i].row, made.list[i].row_size);
        }
        entries_free(&made);
        entries_free(&killed);
        entries_free(&whole);
    }
}

static void remove_rows(const char *data)
{
    char path[FILE_BYTES + 16];
    MDB_env *env = NULL;
    MDB_txn *txn = NULL;
    MDB_dbi results;
    snprintf(path, sizeof(path), "%s/journal", data);
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 3), 0);
    assert_int_equal(mdb_env_set_mapsize(env, 64u << 20), 0);
    assert_int_equal(mdb_env_open(env, path, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, "results", 0, &results), 0);
    assert_int_equal(mdb_drop(txn, results, 0), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

// A table of results that is gone altogether is made again too, more rows than are written at once.
static void all_rows_missing(void **state)
{
    struct fixture *f = *state;
    uint32_t count = 12000;
    struct call *calls = calloc(count, sizeof(*calls));
    assert_non_null(calls);
    fixture_open(f);
    for (uint32_t i = 0; i < count; i++) {
        call_init(&calls[i], f);
        call_command(&calls[i], COMMAND_ACQUIRE);
        calls[i].command.as.acquire = (struct command_acquire){
            .type = TEXT("a"), .state = TEXT("free"), .dest = TEXT("busy"), .owner = TEXT("ann")};
        if (i > 0) calls[i - 1].request.next = &calls[i].request;
    }
    call_send(&calls[0]);
    fixture_close(f);
    free(calls);
    struct entries before = log_read(f->data);
    assert_true(before.count > count);
    remove_snapshots(f->data);
    remove_rows(f->data);
    reopen(f, f->data);
    assert_int_equal(f->found.tail, before.count);
    struct entries after = log_read(f->data);
    for (size_t i = 0; i < before.count; i++) {
        assert_true(after.list[i].row_size > 0);
        assert_int_equal(after.list[i].row_size, before.list[i].row_size);
        assert_memory_equal(after.list[i].row, before.list[i].row, before.list[i].row_size);
    }
    entries_free(&before);
    entries_free(&after);
}

// ---- damage -----------------------------------------------------------------

static void make_log(struct fixture *f)
{
    fixture_open(f);
    for (uint32_t i = 0; i < 5; i++)
        acquire(f, "a", "free", "ann", NULL);
    fixture_close(f);
}

static void assert_refused(struct fixture *f, uint64_t seq)
{
    char number[32];
    snprintf(number, sizeof(number), "%" PRIu64, seq);
    assert_int_equal(fixture_try_open(f), BOSKOS_E_CORRUPT);
    f->engine = NULL;
    assert_int_equal(f->exit_code, 4);
    if (strstr(f->why, number) == NULL) fail_msg("no %s in: %s", number, f->why);
}

static void stored_row_differs(void **state)
{
    struct fixture *f = *state;
    make_log(f);
    remove_snapshots(f->data);
    struct entries e = log_read(f->data);
    struct entry changed = e.list[4];
    entries_free(&e);
    // The last byte is the digest's, the first ones are status and reason.
    changed.row[changed.row_size - 1] ^= 1;
    row_put(f->data, 5, changed.row, changed.row_size);
    assert_refused(f, 5);
    assert_non_null(strstr(f->why, "another digest"));
    changed.row[changed.row_size - 1] ^= 1;
    changed.row[2] ^= 1;
    row_put(f->data, 5, changed.row, changed.row_size);
    assert_refused(f, 5);
    assert_non_null(strstr(f->why, "another result"));
    changed.row[2] ^= 1;
    row_put(f->data, 5, changed.row, changed.row_size);
    fixture_open(f);
}

static void row_missing_in_the_middle(void **state)
{
    struct fixture *f = *state;
    struct journal_options options = {.dir = f->data, .map_bytes = 64u << 20};
    struct journal *j = NULL;
    make_log(f);
    char copy[FILE_BYTES];
    snprintf(copy, sizeof(copy), "%s/copy", f->dir);
    // The log once more, with a row for its fourth record alone.
    struct journal_options target = {.dir = copy, .map_bytes = 64u << 20};
    struct journal *to = NULL;
    struct journal_cursor *cursor = NULL;
    struct record r;
    struct journal_row row;
    assert_int_equal(journal_open(&options, &j, NULL), 0);
    assert_int_equal(journal_open(&target, &to, NULL), 0);
    assert_int_equal(journal_cursor_open(j, 1, NULL, &cursor, NULL), 0);
    while (journal_cursor_next(cursor, &r, &row, NULL) == 0) {
        assert_int_equal(journal_append(to, &r, 1, NULL, 0, NULL), 0);
        if (r.seq == 4) assert_int_equal(journal_append(to, NULL, 0, &row, 1, NULL), 0);
    }
    journal_cursor_close(cursor);
    journal_close(j);
    journal_close(to);
    f->options.data_dir = copy;
    assert_refused(f, 1);
    assert_non_null(strstr(f->why, "missing"));
}

static void file_flip(const char *path, off_t at)
{
    char byte;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x20;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    (void)close(fd);
}

static void damaged_snapshots(void **state)
{
    struct fixture *f = *state;
    char path[FILE_BYTES], bad[FILE_BYTES + 8];
    size_t count;
    run_history(f, 99);
    struct state_at live = state_of(f);
    fixture_close(f);
    uint64_t *seqs = snapshots_of(f->data, &count);
    assert_true(count >= 3);

    snapshot_path_of(f->data, seqs[0], path);
    file_flip(path, 200);
    struct state_at at = reopen(f, f->data);
    assert_int_equal(f->found.snapshot_seq, seqs[1]);
    assert_int_equal(f->found.seq, live.seq);
    assert_true(log_has(f, "a snapshot is damaged"));
    snprintf(bad, sizeof(bad), "%s.bad", path);
    assert_int_equal(access(bad, F_OK), 0);

    // Every one of them: the log is whole, so that it alone is enough.
    free(seqs);
    seqs = snapshots_of(f->data, &count);
    for (size_t i = 0; i < count; i++) {
        snapshot_path_of(f->data, seqs[i], path);
        file_flip(path, 100);
    }
    struct state_at again = reopen(f, f->data);
    assert_int_equal(f->found.snapshot_seq, 0);
    assert_int_equal(again.seq, at.seq + 1); // one more start
    assert_int_equal(again.resources, at.resources);
    free(seqs);
}

// The log ends before a snapshot: what was acknowledged is lost, and that is said.
static void snapshot_newer_than_log(void **state)
{
    struct fixture *f = *state;
    char old[FILE_BYTES], from[FILE_BYTES], to[FILE_BYTES];
    size_t count;
    make_log(f);
    snprintf(old, sizeof(old), "%s/old", f->dir);
    data_copy(f->data, old);
    make_log(f);
    uint64_t *seqs = snapshots_of(f->data, &count);
    snapshot_path_of(f->data, seqs[0], from);
    snapshot_path_of(old, seqs[0], to);
    assert_int_equal(rename(from, to), 0);
    f->options.data_dir = old;
    assert_refused(f, seqs[0]);
    free(seqs);
}

// A snapshot of another log with the same numbers does not fit the chain of this one.
static void snapshot_of_another_log(void **state)
{
    struct fixture *f = *state;
    char other[FILE_BYTES], from[FILE_BYTES], to[FILE_BYTES];
    size_t count;
    make_log(f);
    snprintf(other, sizeof(other), "%s/other", f->dir);
    f->options.data_dir = other;
    step(f, 1);
    make_log(f);
    uint64_t *seqs = snapshots_of(other, &count);
    snapshot_path_of(f->data, seqs[0], from);
    snapshot_path_of(other, seqs[0], to);
    assert_int_equal(rename(from, to), 0);
    assert_refused(f, seqs[0]);
    assert_non_null(strstr(f->why, "does not belong to this log"));
    free(seqs);
}

// ---- the shadow -------------------------------------------------------------

// The row is altered between recovery and the shadow's reading of it.
static void plant(struct fixture *f, size_t at, bool from_end)
{
    make_log(f);
    remove_snapshots(f->data);
    struct entries e = log_read(f->data);
    struct entry changed = e.list[3];
    entries_free(&e);
    assert_int_equal(fixture_try_open(f), 0);
    changed.row[from_end ? changed.row_size - 1 - at : at] ^= 1;
    struct journal_row row = {4, text_of(changed.row, changed.row_size)};
    assert_int_equal(journal_append(f->engine->journal, NULL, 0, &row, 1, NULL), 0);
    f->options.snapshot_every = 1;
    assert_int_equal(engine_start(f->engine), 0);
}

static void after_the_alarm(struct fixture *f)
{
    size_t count;
    assert_int_equal(acquire(f, "a", "free", "bob", NULL).reason, SM_OK); // it goes on serving
    engine_stop(f->engine);
    assert_int_equal(figures_of(f).snapshots, 0);
    assert_true(log_has(f, "ALARM"));
    fixture_close(f);
    uint64_t *seqs = snapshots_of(f->data, &count);
    assert_int_equal(count, 0);
    free(seqs);
}

static void shadow_finds_digest(void **state)
{
    struct fixture *f = *state;
    plant(f, 0, true);
    EVENTUALLY(figures_of(f).digest_mismatches == 1);
    assert_int_equal(figures_of(f).result_mismatches, 0);
    after_the_alarm(f);
}

static void shadow_finds_result(void **state)
{
    struct fixture *f = *state;
    plant(f, 2, false);
    EVENTUALLY(figures_of(f).result_mismatches == 1);
    assert_int_equal(figures_of(f).digest_mismatches, 0);
    after_the_alarm(f);
}

// An hour passed, and something changed: a snapshot, though few commands came.
static void shadow_hourly(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    acquire(f, "a", "free", "ann", NULL);
    acquire(f, "a", "free", "ann", NULL);
    EVENTUALLY(figures_of(f).shadow_seq >= 3);
    assert_int_equal(figures_of(f).snapshots, 0);
    step(f, ENGINE_SNAPSHOT_EVERY_NS);
    EVENTUALLY(figures_of(f).snapshots == 1);
    assert_true(figures_of(f).snapshot_seq >= 3);
    uint64_t time_ns = figures_of(f).snapshot_time_ns;
    assert_true(time_ns >= START_NS);
    fixture_close(f);
    fixture_open(f);
    assert_true(figures_of(f).snapshot_time_ns >= time_ns);
    assert_int_equal(figures_of(f).snapshot_seq, f->found.snapshot_seq);
}

// Works until there is another snapshot; returns its sequence number.
static uint64_t next_snapshot(struct fixture *f)
{
    uint64_t before = figures_of(f).snapshots;
    step(f, NS_PER_S);
    for (uint32_t i = 0; i < 20; i++)
        assert_int_equal(release(f, "a1", "nobody", "free").error, 0);
    EVENTUALLY(figures_of(f).snapshots > before);
    return figures_of(f).snapshot_seq;
}

// The log is trimmed at a snapshot only when that can be read back: it is all that is left of what
// was before.
static void trimming_wants_a_good_snapshot(void **state)
{
    struct fixture *f = *state;
    char path[FILE_BYTES];
    f->options.retain_ns = 1;
    f->options.snapshot_every = 20;
    fixture_open(f);
    uint64_t first = next_snapshot(f);
    snapshot_path_of(f->data, first, path);
    file_flip(path, 100);
    uint64_t second = next_snapshot(f);
    EVENTUALLY(log_has(f, "the log is not trimmed"));
    for (uint32_t i = 0; i < 5; i++) { // each would take some of the log with it
        usleep(50000);
        assert_int_equal(release(f, "a1", "nobody", "free").error, 0);
    }
    assert_int_equal(figures_of(f).log_first, 1);
    assert_int_equal(access(path, F_OK), 0);

    // With the one behind it the log has a good beginning again.
    (void)next_snapshot(f);
    EVENTUALLY(figures_of(f).log_first > second);
    EVENTUALLY(access(path, F_OK) != 0);
    fixture_close(f);
    fixture_open(f);
    assert_true(figures_of(f).log_first > first);
}

int engine_recovery_tests(void)
{
    const struct CMUnitTest tests[] = {
        ENGINE_TEST(killed_engines_recover),
        ENGINE_TEST(all_rows_missing),
        ENGINE_TEST(stored_row_differs),
        ENGINE_TEST(row_missing_in_the_middle),
        ENGINE_TEST(damaged_snapshots),
        ENGINE_TEST(snapshot_newer_than_log),
        ENGINE_TEST(snapshot_of_another_log),
        ENGINE_TEST(shadow_finds_digest),
        ENGINE_TEST(shadow_finds_result),
        ENGINE_TEST(shadow_hourly),
        ENGINE_TEST(trimming_wants_a_good_snapshot),
    };
    return cmocka_run_group_tests_name("engine recovery", tests, NULL, NULL);
}
