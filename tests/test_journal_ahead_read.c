// Tests of what is made of records that are in the write-ahead file only: by whoever reads the
// journal, alone or beside somebody who appends, after kills, and by what else is done to a
// journal.
#include "tests/test_journal_ahead.h"

#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/journal_writer.h"

#include "base/banned.h"

#define STOPS 200
#define BATCHES 4000 // of a writer that is read beside: some dozen times round the ring

static struct journal *must_read(struct folder *f)
{
    struct journal *j = NULL;
    struct journal_options options = {.dir = f->dir};
    f->problem = (struct journal_problem){0};
    int err = journal_open_read(&options, &j, &f->problem);
    if (err != 0) fail_msg("journal_open_read: %d %s", err, f->problem.text);
    return j;
}

static struct folder with_a_tail(struct folder *f, size_t in_log, size_t in_tail)
{
    struct journal *j = must_ahead(f);
    for (size_t i = 0; i < in_log; i += 100)
        must_append(f, j, 100);
    must_drain(f, j);
    for (size_t i = 0; i < in_tail; i += 10)
        must_append(f, j, 10);
    assert_true(in_tail == 0 || waiting_bytes(j) > in_tail * 56);
    struct folder image = image_of(f, "image");
    journal_close(j);
    return image;
}

// ---- alone ------------------------------------------------------------------

// Of every file its bytes, and when it was changed.
static struct hash128 folder_hash(const struct folder *f)
{
    char path[PATH_BYTES], inner[64];
    struct hash128 all = {0, 0};
    DIR *dir = opendir(path_in(f, "journal", path));
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        struct stat status;
        size_t size;
        if (entry->d_name[0] == '.') continue;
        (void)snprintf(inner, sizeof(inner), "journal/%.40s", entry->d_name);
        uint8_t *bytes = file_read(path_in(f, inner, path), &size);
        struct hash128 one = hash128(bytes, size);
        assert_int_equal(stat(path, &status), 0);
        struct hash128 times = hash128(&status.st_ctim, sizeof(status.st_ctim));
        all.low ^= one.low ^ times.low; // in any order
        all.high ^= one.high ^ times.high;
        free(bytes);
    }
    (void)closedir(dir);
    return all;
}

static void use_all(struct folder *f, uint64_t in_log, uint64_t records)
{
    struct journal *j = must_read(f);
    struct journal_cursor *c = NULL;
    struct record r;
    struct journal_row row;
    uint64_t seq = 0;
    assert_int_equal(journal_first(j), 1);
    assert_int_equal(journal_end(j), records + 1);
    assert_int_equal(journal_last_time_ns(j), 1000 + records);
    assert_int_equal(read_numbered(f, j, 1), records);
    assert_int_equal(read_numbered(f, j, in_log), records - in_log + 1);
    assert_int_equal(read_numbered(f, j, in_log + 1), records - in_log);
    assert_int_equal(read_numbered(f, j, records + 1), 0);
    for (uint64_t at = in_log - 2; at <= records; at++) {
        assert_int_equal(journal_find_time(j, 1000 + at, &seq, &f->problem), 0);
        assert_int_equal(seq, at);
    }
    assert_int_equal(journal_find_time(j, 1000 + 2 * records, &seq, &f->problem), 0);
    assert_int_equal(seq, records);
    struct hash128 last = journal_last_chain(j), wrong = {1, 2};
    assert_int_equal(journal_cursor_open(j, records + 1, &last, &c, &f->problem), 0);
    journal_cursor_close(c);
    c = cursor_at(f, j, in_log + 5);
    assert_int_equal(journal_cursor_next(c, &r, &row, &f->problem), 0);
    assert_int_equal(row.seq, 0); // results are missing at the end only
    journal_cursor_close(c);
    assert_int_equal(journal_cursor_open(j, in_log + 6, &r.chain, &c, &f->problem), 0);
    journal_cursor_close(c);
    assert_int_equal(journal_cursor_open(j, in_log + 6, &wrong, &c, &f->problem), BOSKOS_E_CORRUPT);
    assert_int_equal(journal_cursor_open(j, records + 2, NULL, &c, &f->problem),
                     BOSKOS_E_NOT_FOUND);
    journal_close(j);
}

static void reading_alone_sees_the_tail_and_changes_nothing(void **state)
{
    struct folder image = with_a_tail(*state, 1000, 100);
    struct hash128 before = folder_hash(&image);
    use_all(&image, 1000, 1100);
    struct hash128 after = folder_hash(&image);
    assert_true(hash128_equal(before, after));
    assert_recovers(&image, 1100, false);
    after = folder_hash(&image);
    assert_false(hash128_equal(before, after)); // or the test sees nothing
}

static void a_log_may_be_in_the_tail_alone(void **state)
{
    struct folder image = with_a_tail(*state, 0, 100);
    struct journal *j = must_read(&image);
    assert_int_equal(journal_end(j), 101);
    assert_int_equal(read_numbered(&image, j, 1), 100);
    journal_close(j);
    assert_recovers(&image, 100, false);
}

// A frame that was written and not acknowledged is read alone, for it will be recovered. Whoever
// starts then has the lock for a while before the witness knows of it: it is still that log.
static void what_is_read_alone_stays_while_one_starts(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    size_t size;
    struct record r;
    struct journal_row row;
    struct journal *j = must_ahead(f);
    must_append(f, j, 20);
    must_drain(f, j);
    must_append(f, j, 5);
    uint8_t *witness = file_read(path_in(f, "journal/WITNESS", path), &size);
    must_append(f, j, 5);
    must_append(f, j, 5);
    struct folder image = image_of(f, "image");
    journal_close(j);
    file_replace(path_in(&image, "journal/WITNESS", path), witness, size);
    free(witness);

    struct writer w = writer_start(image.dir);
    j = must_read(&image);
    struct journal_cursor *all = cursor_at(&image, j, 1), *some = cursor_at(&image, j, 28);
    for (uint64_t seq = 1; seq <= 35; seq++)
        assert_int_equal(journal_cursor_next(all, &r, &row, &image.problem), 0);
    assert_int_equal(journal_cursor_next(some, &r, &row, &image.problem), 0);
    must(&w, LOCK, 0);
    for (int i = 0; i < 2; i++) {
        int err = journal_cursor_next(all, &r, &row, &image.problem);
        if (err != BOSKOS_E_NOT_FOUND) fail_msg("%d %s", err, image.problem.text);
    }
    for (uint64_t seq = 29; seq <= 35; seq++) {
        int err = journal_cursor_next(some, &r, &row, &image.problem);
        if (err != 0) fail_msg("%d %s", err, image.problem.text);
        assert_int_equal(r.seq, seq);
    }
    must(&w, LOCK_AND_OPEN, 0);
    must(&w, APPEND, 1);
    assert_int_equal(journal_cursor_next(all, &r, &row, &image.problem), 0);
    assert_int_equal(r.seq, 36);
    assert_int_equal(journal_cursor_next(some, &r, &row, &image.problem), 0);
    assert_int_equal(r.seq, 36);
    journal_cursor_close(all);
    journal_cursor_close(some);
    journal_close(j);
    writer_end(&w, false);
}

// ---- beside -----------------------------------------------------------------

static void what_is_acknowledged_is_read_at_once(void **state)
{
    struct folder *f = *state;
    struct writer w = writer_start(f->dir);
    must(&w, OPEN_AHEAD, MAP_BYTES);
    must(&w, APPEND, 100);
    struct journal *j = must_read(f);
    assert_true(journal_is_held(j));
    assert_int_equal(journal_end(j), 101);
    struct journal_cursor *c = cursor_at(f, j, 1);
    struct record r;
    struct journal_row row;
    uint64_t seq = 0, end = 101;
    for (int i = 0; i < 10; i++) {
        must(&w, RUN_AHEAD, 1);
        if (i % 3 == 0) must(&w, DRAIN, 0);
        assert_int_equal(journal_refresh(j, &f->problem), 0);
        assert_true(journal_end(j) > end);
        end = journal_end(j);
        assert_int_equal(end - 1, atomic_load(w.acknowledged));
        while (journal_cursor_next(c, &r, &row, &f->problem) == 0)
            seq = r.seq;
        assert_int_equal(seq, end - 1);
        assert_int_equal(journal_find_time(j, 1000 + seq - 1, &seq, &f->problem), 0);
        assert_int_equal(seq, end - 2);
    }
    writer_end(&w, true);
    assert_int_equal(journal_refresh(j, &f->problem), 0);
    assert_false(journal_is_held(j));
    assert_int_equal(journal_end(j), end);
    assert_int_equal(read_numbered(f, j, 1), end - 1);
    journal_cursor_close(c);
    journal_close(j);
    assert_recovers(f, end - 1, false);
}

// One look at a journal that changes all the time. Returns the last record that was seen.
static uint64_t look(struct folder *f, struct journal *j, const struct writer *w)
{
    struct journal_cursor *c = NULL;
    struct record r = {0};
    struct journal_row row;
    uint64_t acknowledged = atomic_load(w->acknowledged), seq = 0;
    int err = journal_refresh(j, &f->problem);
    if (err != 0) fail_msg("journal_refresh: %d %s", err, f->problem.text);
    uint64_t end = journal_end(j);
    if (end <= acknowledged)
        fail_msg("%" PRIu64 " was acknowledged, %" PRIu64 " is the end", acknowledged, end);
    uint64_t from = end > 300 ? end - 300 : 1;
    err = journal_cursor_open(j, from, NULL, &c, &f->problem);
    uint64_t next = from;
    while (err == 0) {
        err = journal_cursor_next(c, &r, &row, &f->problem);
        if (err != 0) break;
        assert_int_equal(r.seq, next++);
        assert_true(row.seq == 0 || row.seq == r.seq);
    }
    if (err != BOSKOS_E_NOT_FOUND) fail_msg("%d %s", err, f->problem.text);
    if (next < end) fail_msg("%" PRIu64 " is the end, up to %" PRIu64 " was read", end, next);
    journal_cursor_close(c);
    if (acknowledged == 0) return 0;
    err = journal_find_time(j, 1000 + acknowledged, &seq, &f->problem);
    if (err != 0) fail_msg("journal_find_time: %d %s", err, f->problem.text);
    assert_int_equal(seq, acknowledged);
    return next - 1;
}

static void beside_a_busy_writer_all_is_seen(void **state)
{
    struct folder *f = *state;
    uint64_t looks = 0;
    struct writer w = writer_start(f->dir);
    must(&w, OPEN_AHEAD, MAP_BYTES);
    must(&w, APPEND, 1);
    struct journal *j = must_read(f);
    writer_order(&w, RUN_AHEAD, BATCHES);
    for (; !writer_has_answered(&w); looks++)
        (void)look(f, j, &w);
    assert_int_equal(writer_answer(&w), 0);
    assert_true(looks > 20);
    uint64_t last = atomic_load(w.acknowledged);
    assert_int_equal(look(f, j, &w), last);
    assert_int_equal(read_numbered(f, j, 1), last);
    journal_close(j);
    writer_end(&w, false);
}

// A cursor follows to the end again and again, as boskos-replay log --follow does.
static void a_cursor_follows_a_busy_writer(void **state)
{
    struct folder *f = *state;
    struct writer w = writer_start(f->dir);
    must(&w, OPEN_AHEAD, MAP_BYTES);
    must(&w, APPEND, 1);
    struct journal *j = must_read(f);
    struct journal_cursor *c = cursor_at(f, j, 1);
    struct record r = {0};
    struct journal_row row;
    writer_order(&w, RUN_AHEAD, BATCHES);
    uint64_t next = 1, ends = 0;
    for (; !writer_has_answered(&w); ends++) {
        uint64_t acknowledged = atomic_load(w.acknowledged);
        int err = 0;
        while ((err = journal_cursor_next(c, &r, &row, &f->problem)) == 0)
            assert_int_equal(r.seq, next++);
        if (err != BOSKOS_E_NOT_FOUND) fail_msg("%d %s", err, f->problem.text);
        if (next <= acknowledged)
            fail_msg("%" PRIu64 " was acknowledged, %" PRIu64 " comes next", acknowledged, next);
    }
    assert_int_equal(writer_answer(&w), 0);
    assert_true(ends > 20);
    journal_cursor_close(c);
    journal_close(j);
    writer_end(&w, false);
}

// In a process of its own: looks for the end again and again, until it misses something.
static void look_for_ever(struct folder *f, const struct writer *w)
{
    for (;;) {
        uint64_t acknowledged = atomic_load(w->acknowledged);
        struct journal *j = NULL;
        struct journal_options options = {.dir = f->dir};
        int err = journal_open_read(&options, &j, &f->problem);
        uint64_t end = err == 0 ? journal_end(j) : 0;
        journal_close(j);
        if (end > acknowledged) continue;
        (void)fprintf(stderr, "%" PRIu64 " was acknowledged, %" PRIu64 " is the end: %d %s\n",
                      acknowledged, end, err, f->problem.text);
        _exit(1);
    }
}

// Between two of its steps the ring goes round.
static void a_reader_that_is_stopped_for_a_while_sees_all(void **state)
{
    struct folder *f = *state;
    struct writer w = writer_start(f->dir);
    must(&w, OPEN_AHEAD, MAP_BYTES_AHEAD);
    must(&w, APPEND, 1);
    pid_t reader = fork();
    assert_true(reader >= 0);
    if (reader == 0) look_for_ever(f, &w);
    int status = 0;
    writer_order(&w, RUN_AHEAD, UINT64_MAX);
    for (long i = 0; i < STOPS; i++) {
        const struct timespec a_while = {.tv_nsec = 1000 * (i * 7919 % 2003)};
        (void)nanosleep(&a_while, NULL);
        (void)kill(reader, SIGSTOP);
        uint64_t from = atomic_load(w.acknowledged);
        while (atomic_load(w.acknowledged) < from + 2 * RING_BYTES / 56) {
            if (writer_has_answered(&w)) fail_msg("the writer has ended: %d", writer_answer(&w));
            sched_yield();
        }
        (void)kill(reader, SIGCONT);
    }
    assert_int_equal(waitpid(reader, &status, WNOHANG), 0); // it found nothing missing
    (void)kill(reader, SIGKILL);
    (void)waitpid(reader, NULL, 0);
    writer_end(&w, true);
}

static void what_was_acknowledged_before_a_kill_is_there(void **state)
{
    struct folder *f = *state;
    for (int i = 0; i < 15; i++) {
        struct writer w = writer_start(f->dir);
        const struct timespec a_while = {.tv_nsec = 1000000L * (1 + i * 3)};
        must(&w, OPEN_AHEAD, MAP_BYTES_AHEAD);
        writer_order(&w, RUN_AHEAD, UINT64_MAX);
        while (atomic_load(w.acknowledged) == 0)
            sched_yield();
        (void)nanosleep(&a_while, NULL);
        (void)kill(w.pid, SIGKILL);
        (void)waitpid(w.pid, NULL, 0);
        uint64_t acknowledged = atomic_load(w.acknowledged);
        (void)close(w.to);
        (void)close(w.from);
        struct journal *j = must_read(f);
        uint64_t end = journal_end(j);
        assert_true(end > acknowledged);
        int64_t found = read_numbered(f, j, 1);
        if (found < 0) fail_msg("%s", f->problem.text);
        assert_int_equal(found, end - 1);
        journal_close(j);
        assert_recovers(f, end - 1, false);
    }
}

// ---- what else is done to a journal -------------------------------------------

static void a_compaction_takes_the_tail_along(void **state)
{
    struct folder image = with_a_tail(*state, 1000, 100);
    struct journal_compaction c;
    struct journal_options options = {
        .dir = image.dir, .map_bytes = MAP_BYTES, .step_bytes = STEP_BYTES};
    int err = journal_compact(&options, NULL, &c, &image.problem);
    if (err != 0) fail_msg("journal_compact: %d %s", err, image.problem.text);
    assert_int_equal(c.end, 1101);
    assert_recovers(&image, 1100, false);
    struct journal *j = must_ahead(&image);
    must_append(&image, j, 5);
    struct folder again = image_of(&image, "i");
    journal_close(j);
    assert_recovers(&again, 1105, false);
}

static void a_snapshot_may_be_of_the_last_that_was_drained(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_ahead(f);
    struct journal_snapshot_writer *w = NULL;
    must_append(f, j, 50);
    struct journal_cursor *c = cursor_at(f, j, 51); // drains: a snapshot is made of what was read
    struct journal_snapshot about = {
        .seq = 50, .time_ns = journal_last_time_ns(j), .chain = journal_last_chain(j)};
    assert_int_equal(journal_snapshot_begin(j, &about, &w, &f->problem), 0);
    assert_int_equal(journal_snapshot_commit(w, &f->problem), 0);
    must_append(f, j, 10);
    journal_trim(j, 51);
    journal_cursor_close(c);
    struct folder image = image_of(f, "image");
    journal_close(j);
    j = must_ahead(&image);
    assert_int_equal(journal_end(j), 61);
    assert_int_equal(journal_cursor_open(j, 51, &about.chain, &c, &image.problem), 0);
    journal_cursor_close(c);
    journal_close(j);
}

// A cursor over what can be read of a damaged journal: the last good record, and what ends it.
static uint64_t damaged_end(struct folder *f, uint64_t *ret_last)
{
    struct journal *j = NULL;
    struct journal_cursor *c = NULL;
    struct journal_options options = {.dir = f->dir, .map_bytes = MAP_BYTES};
    struct record r = {0};
    struct journal_row row;
    uint64_t first = 0;
    assert_int_equal(journal_damaged_open(&options, &j, &f->problem), 0);
    int err = journal_damaged_read(j, &f->problem);
    if (err == 0) err = journal_damaged_ends(j, &first, ret_last, &f->problem);
    if (err == 0) err = journal_damaged_cursor(j, 1, NULL, UINT64_MAX, &c, &f->problem);
    if (err != 0) fail_msg("%s", f->problem.text);
    while (err == 0)
        err = journal_cursor_next(c, &r, &row, &f->problem);
    assert_int_equal(err, BOSKOS_E_CORRUPT);
    journal_cursor_close(c);
    journal_close(j);
    return r.seq;
}

static void a_repair_keeps_the_tail(void **state)
{
    struct folder image = with_a_tail(*state, 1000, 100);
    uint64_t last = 0;
    assert_int_equal(damaged_end(&image, &last), 1100);
    assert_int_equal(last, 1100);
    assert_int_equal(image.problem.seq, 1101);
}

static void a_repair_of_an_empty_log_keeps_the_tail(void **state)
{
    struct folder image = with_a_tail(*state, 0, 100);
    uint64_t last = 0;
    assert_int_equal(damaged_end(&image, &last), 100);
    assert_int_equal(last, 100);
}

static void a_repair_ends_where_the_log_is_damaged(void **state)
{
    struct folder image = with_a_tail(*state, 1000, 100);
    uint64_t last = 0;
    struct table t = table_open(&image, "log");
    uint8_t key_bytes[8];
    key_encode(1000, key_bytes);
    MDB_val key = {8, key_bytes};
    assert_int_equal(mdb_del(t.txn, t.dbi, &key, NULL), 0); // its last page was an older one
    table_close(&t);
    assert_int_equal(damaged_end(&image, &last), 999); // not 1001 behind 999
    struct journal *j = NULL;
    assert_int_equal(try_ahead(&image, MAP_BYTES, &j), BOSKOS_E_CORRUPT);
    assert_non_null(strstr(image.problem.text, "AHEAD"));
    assert_non_null(strstr(image.problem.text, "record 999"));
    assert_non_null(strstr(image.problem.text, "record 1001"));
}

static void a_copy_has_the_tail(void **state)
{
    struct folder image = with_a_tail(*state, 1000, 100), to = folder_in(*state, "copy");
    struct journal *j = NULL;
    struct journal_copy *copy = NULL;
    const struct record before = {0};
    struct record r;
    struct journal_row row;
    struct journal_options from = {.dir = image.dir},
                           options = {.dir = to.dir, .map_bytes = MAP_BYTES};
    assert_int_equal(journal_open_read(&from, &j, &image.problem), 0);
    assert_int_equal(journal_copy_begin(&options, &before, &copy, &image.problem), 0);
    struct journal_cursor *c = cursor_at(&image, j, 1);
    while (journal_cursor_next(c, &r, &row, &image.problem) == 0)
        assert_int_equal(journal_copy_add(copy, &r, &row, &image.problem), 0);
    assert_int_equal(journal_copy_end(copy, &image.problem), 0);
    journal_copy_free(copy);
    journal_cursor_close(c);
    journal_close(j);
    assert_recovers(&to, 1100, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(reading_alone_sees_the_tail_and_changes_nothing),
        TEST(a_log_may_be_in_the_tail_alone),
        TEST(what_is_read_alone_stays_while_one_starts),
        TEST(what_is_acknowledged_is_read_at_once),
        TEST(beside_a_busy_writer_all_is_seen),
        TEST(a_cursor_follows_a_busy_writer),
        TEST(a_reader_that_is_stopped_for_a_while_sees_all),
        TEST(what_was_acknowledged_before_a_kill_is_there),
        TEST(a_compaction_takes_the_tail_along),
        TEST(a_snapshot_may_be_of_the_last_that_was_drained),
        TEST(a_repair_keeps_the_tail),
        TEST(a_repair_of_an_empty_log_keeps_the_tail),
        TEST(a_repair_ends_where_the_log_is_damaged),
        TEST(a_copy_has_the_tail),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("journal_ahead_read", tests, NULL, NULL);
}
