// Tests of the journal's space: extension ahead of use, the reserve on a full disk, trimming, and
// room that is kept for the next snapshot. A limit on file sizes stands for the full disk.
#include "tests/test_journal.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "base/banned.h"

#define STEP_BYTES (256u * 1024)

static struct journal *open_stepped(struct folder *f, uint64_t map_bytes)
{
    struct journal_options options = {
        .dir = f->dir, .map_bytes = map_bytes, .step_bytes = STEP_BYTES};
    struct journal *j = NULL;
    int err = journal_open(&options, &j, &f->problem);
    if (err != 0) fail_msg("journal_open: %d %s", err, f->problem.text);
    return j;
}

static uint64_t file_bytes(const struct folder *f)
{
    char path[PATH_BYTES];
    struct stat status;
    assert_int_equal(stat(path_in(f, "journal/data.mdb", path), &status), 0);
    return (uint64_t)status.st_size;
}

static void append_large(struct journal *j, int *ret_err)
{
    static const char payload[20000];
    *ret_err = append_payload(j, text_of(payload, sizeof(payload)), NULL);
}

static void the_log_is_extended_ahead_of_use(void **state)
{
    struct folder *f = *state;
    struct journal *j = open_stepped(f, MAP_BYTES);
    assert_false(journal_has_room(j));
    uint64_t extensions = 0, size = file_bytes(f);
    for (uint32_t i = 0; i < 200; i++) {
        int err;
        struct journal_figures figures;
        assert_int_equal(journal_make_room(j, &f->problem), 0);
        assert_true(journal_has_room(j));
        if (file_bytes(f) != size) {
            assert_true(file_bytes(f) - size <= STEP_BYTES);
            size = file_bytes(f);
            extensions++;
        }
        append_large(j, &err);
        assert_int_equal(err, 0);
        journal_figures(j, &figures);
        assert_true(figures.log_bytes_file >= figures.log_bytes_used + STEP_BYTES / 4);
        assert_int_equal(file_bytes(f), size); // an append finds its room there already
    }
    assert_in_range(extensions, 200 * 20000 / STEP_BYTES, 200 * 25000 / STEP_BYTES + 2);
    journal_close(j);

    // Opening again neither shrinks nor grows it.
    j = open_stepped(f, MAP_BYTES);
    assert_int_equal(journal_make_room(j, &f->problem), 0);
    assert_true(file_bytes(f) >= size && file_bytes(f) <= size + STEP_BYTES);
    assert_int_equal(journal_end(j), 201);
    journal_close(j);
}

// Goes on until no room can be made; returns how many were appended from there to the end.
static uint32_t use_up(struct folder *f, struct journal *j)
{
    int err = 0;
    uint32_t from_reserve = 0;
    while (journal_make_room(j, &f->problem) == 0) {
        append_large(j, &err);
        assert_int_equal(err, 0);
    }
    assert_int_equal(journal_make_room(j, &f->problem), BOSKOS_E_NOSPACE);
    for (; err == 0 && from_reserve < 1000; from_reserve++)
        append_large(j, &err);
    assert_int_equal(err, BOSKOS_E_NOSPACE);
    return from_reserve - 1;
}

static void a_full_disk_leaves_half_a_step(void **state)
{
    struct folder *f = *state;
    struct journal *j = open_stepped(f, MAP_BYTES);
    limit_files(4 * STEP_BYTES);
    uint32_t from_reserve = use_up(f, j);
    assert_in_range(from_reserve, STEP_BYTES / 2 / 32768, STEP_BYTES * 3 / 2 / 20000);
    uint64_t end = journal_end(j);

    limit_files(RLIM_INFINITY);
    int err;
    assert_int_equal(journal_make_room(j, &f->problem), 0);
    assert_int_equal(journal_end(j), end);
    append_large(j, &err);
    assert_int_equal(err, 0);
    journal_close(j);
}

static void a_full_map_leaves_half_a_step(void **state)
{
    struct folder *f = *state;
    struct journal *j = open_stepped(f, 5 * STEP_BYTES);
    assert_in_range(use_up(f, j), STEP_BYTES / 2 / 32768, STEP_BYTES * 3 / 2 / 20000);
    assert_non_null(strstr(f->problem.text, "map is full"));
    journal_close(j);
}

static void trimming_makes_room_on_a_full_disk(void **state)
{
    struct folder *f = *state;
    struct journal *j = open_stepped(f, MAP_BYTES);
    limit_files(4 * STEP_BYTES);
    (void)use_up(f, j);
    journal_trim(j, journal_end(j) - 5);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(journal_append(j, NULL, 0, NULL, 0, &f->problem), 0);
    assert_false(journal_is_trimming(j));
    assert_true(journal_free_bytes(j) > STEP_BYTES);
    assert_int_equal(journal_make_room(j, &f->problem), 0);
    limit_files(RLIM_INFINITY);
    journal_close(j);
}

static void trimming_takes_the_oldest_first_in_small_batches(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_open(f);
    assert_int_equal(append_numbered(j, 5000, NULL), 0);
    struct journal_row rows[100];
    for (uint64_t i = 0; i < 100; i++)
        rows[i] = (struct journal_row){i + 1, TEXT("row")};
    assert_int_equal(journal_append(j, NULL, 0, rows, 100, NULL), 0);

    assert_false(journal_is_trimming(j));
    journal_trim(j, 4001);
    journal_trim(j, 3000); // never back
    assert_true(journal_is_trimming(j));
    assert_int_equal(journal_first(j), 1);
    assert_int_equal(append_numbered(j, 10, NULL), 0);
    uint64_t first = journal_first(j);
    assert_in_range(first, 1 + 2 * 10, 1 + 2 * 10 + 100);
    assert_int_equal(read_numbered(f, j, first), 5011 - first);

    for (uint32_t i = 0; i < 20 && journal_is_trimming(j); i++)
        assert_int_equal(journal_append(j, NULL, 0, NULL, 0, &f->problem), 0);
    assert_int_equal(journal_first(j), 4001);
    assert_int_equal(journal_append(j, NULL, 0, NULL, 0, &f->problem), 0);
    journal_close(j);

    struct table t = table_open(f, "results");
    MDB_stat stat;
    assert_int_equal(mdb_stat(t.txn, t.dbi, &stat), 0);
    assert_int_equal(stat.ms_entries, 0);
    table_close(&t);

    j = must_open(f);
    assert_int_equal(journal_first(j), 4001);
    assert_int_equal(journal_end(j), 5011);
    assert_int_equal(read_numbered(f, j, 4001), 1010);
    journal_close(j);
}

static void trimmed_pages_are_used_again(void **state)
{
    struct folder *f = *state;
    struct journal *j = open_stepped(f, MAP_BYTES);
    uint64_t size = 0;
    for (uint32_t round = 0; round < 30; round++) {
        for (uint32_t i = 0; i < 50; i++) {
            assert_int_equal(journal_make_room(j, &f->problem), 0);
            assert_int_equal(append_numbered(j, 100, NULL), 0);
        }
        journal_trim(j, journal_end(j) - 1000);
        if (round == 3) size = file_bytes(f);
    }
    assert_true(file_bytes(f) <= size + STEP_BYTES);
    assert_true(journal_first(j) > 100000);
    journal_close(j);
}

static void snapshot_write(struct folder *f, struct journal *j, uint64_t seq, size_t size)
{
    static const char zeros[100000];
    struct journal_snapshot about = {.seq = seq};
    struct journal_snapshot_writer *w = NULL;
    assert_int_equal(journal_snapshot_begin(j, &about, &w, &f->problem), 0);
    assert_int_equal(journal_snapshot_add(w, zeros, size), 0);
    assert_int_equal(journal_snapshot_commit(w, &f->problem), 0);
}

static void the_next_snapshot_has_its_room(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_open(f);
    char reserve[PATH_BYTES], path[PATH_BYTES];
    struct journal_snapshot about;
    struct stat status;
    (void)path_in(f, "journal/snapshot.reserve", reserve);
    assert_int_equal(journal_snapshot_reserve(j, 1 << 20, &f->problem), 0);
    assert_int_equal(stat(reserve, &status), 0);
    assert_int_equal(status.st_size, 1 << 20);
    assert_true(status.st_blocks * 512 >= 1 << 20);
    assert_int_equal(journal_snapshot_reserve(j, 1000, &f->problem), 0); // there is more already
    assert_int_equal(stat(reserve, &status), 0);
    assert_int_equal(status.st_size, 1 << 20);

    // A reserve that is larger, one that is smaller, and none: the file is the same.
    static const uint64_t reserves[] = {1 << 20, 5000, 0};
    for (uint64_t seq = 1; seq <= 3; seq++) {
        uint64_t bytes = reserves[seq - 1];
        if (bytes > 0) assert_int_equal(journal_snapshot_reserve(j, bytes, &f->problem), 0);
        snapshot_write(f, j, seq, 100000);
        assert_false(exists(reserve));
        (void)snprintf(path, sizeof(path), "%s/journal/snapshot-%020" PRIu64, f->dir, seq);
        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_size, 80 + 100000 + 24);
        assert_int_equal(journal_snapshot_about(j, seq, &about, &f->problem), 0);
        assert_int_equal(about.seq, seq);
        assert_int_equal(about.bytes, 80 + 100000 + 24);
        struct text bytes_of;
        struct journal_snapshot_map *map;
        assert_int_equal(journal_snapshot_open(j, seq, &about, &bytes_of, &map, &f->problem), 0);
        journal_snapshot_close(map);
    }
    assert_int_equal(journal_snapshot_about(j, 9, &about, &f->problem), BOSKOS_E_NOT_FOUND);
    file_write(path, "XXXX", 4);
    assert_int_equal(journal_snapshot_about(j, 3, &about, &f->problem), BOSKOS_E_CORRUPT);

    limit_files(1 << 20);
    assert_int_equal(journal_snapshot_reserve(j, 2 << 20, &f->problem), BOSKOS_E_NOSPACE);
    limit_files(RLIM_INFINITY);
    journal_close(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_log_is_extended_ahead_of_use),
        TEST(a_full_disk_leaves_half_a_step),
        TEST(a_full_map_leaves_half_a_step),
        TEST(trimming_makes_room_on_a_full_disk),
        TEST(trimming_takes_the_oldest_first_in_small_batches),
        TEST(trimmed_pages_are_used_again),
        TEST(the_next_snapshot_has_its_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
