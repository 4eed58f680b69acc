// Tests of the journal's snapshot files.
#include "tests/test_journal.h"

#include "base/banned.h"

static struct journal_snapshot about_of(uint64_t seq)
{
    return (struct journal_snapshot){.seq = seq, .time_ns = 55, .chain = {1, 2}, .digest = {3, 4}};
}

// Writes a snapshot of `size` bytes in uneven pieces.
static void snapshot_write(struct folder *f, struct journal *j, uint64_t seq, size_t size)
{
    struct journal_snapshot about = about_of(seq);
    struct journal_snapshot_writer *w = NULL;
    char *bytes = malloc(size + 1);
    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(i % 251);
    assert_int_equal(journal_snapshot_begin(j, &about, &w, &f->problem), 0);
    size_t piece = 1;
    for (size_t done = 0; done < size; piece = piece * 3 + 1) {
        size_t part = size - done < piece ? size - done : piece;
        assert_int_equal(journal_snapshot_add(w, bytes + done, part), 0);
        done += part;
    }
    assert_int_equal(journal_snapshot_commit(w, &f->problem), 0);
    free(bytes);
}

static const char *snapshot_path(const struct folder *f, uint64_t seq, const char *suffix,
                                 char path[PATH_BYTES])
{
    (void)snprintf(path, PATH_BYTES, "%s/journal/snapshot-%020" PRIu64 "%s", f->dir, seq, suffix);
    return path;
}

static int snapshot_try(struct folder *f, struct journal *j, uint64_t seq)
{
    struct journal_snapshot about;
    struct text bytes;
    struct journal_snapshot_map *map = NULL;
    int err = journal_snapshot_open(j, seq, &about, &bytes, &map, &f->problem);
    journal_snapshot_close(map);
    return err;
}

static void a_snapshot_comes_back_as_it_was(void **state)
{
    struct folder *f = *state;
    static const size_t sizes[] = {0, 1, 1000, (1 << 20) - 80, 1 << 20, 3500000};
    struct journal *j = must_open(f);
    char path[PATH_BYTES];
    for (uint64_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        snapshot_write(f, j, i + 1, sizes[i]);
        assert_int_equal(mode_of(snapshot_path(f, i + 1, "", path)), 0600);

        struct journal_snapshot about;
        struct text bytes;
        struct journal_snapshot_map *map = NULL;
        assert_int_equal(journal_snapshot_open(j, i + 1, &about, &bytes, &map, &f->problem), 0);
        assert_int_equal(about.seq, i + 1);
        assert_int_equal(about.time_ns, 55);
        assert_true(hash128_equal(about.chain, (struct hash128){1, 2}));
        assert_true(hash128_equal(about.digest, (struct hash128){3, 4}));
        assert_int_equal(about.bytes, sizes[i] + 104);
        assert_int_equal(bytes.size, sizes[i]);
        for (size_t k = 0; k < sizes[i]; k++)
            if (bytes.data[k] != (char)(k % 251)) fail_msg("byte %zu differs", k);
        journal_snapshot_close(map);
    }
    journal_close(j);
}

static void damaged_snapshots_are_refused(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_open(f);
    char path[PATH_BYTES], other[PATH_BYTES];
    static const off_t places[] = {0, 9, 20, 70, 80, 5000, 10080, 10087, 10103};
    snapshot_write(f, j, 9, 10000);
    (void)snapshot_path(f, 9, "", path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        uint8_t byte = 0, flipped = 0;
        assert_int_equal(pread(fd, &byte, 1, places[i]), 1);
        flipped = byte ^ 0x10;
        assert_int_equal(pwrite(fd, &flipped, 1, places[i]), 1);
        assert_int_equal(snapshot_try(f, j, 9), BOSKOS_E_CORRUPT);
        assert_non_null(strstr(f->problem.text, path));
        assert_int_equal(pwrite(fd, &byte, 1, places[i]), 1);
    }
    assert_int_equal(snapshot_try(f, j, 9), 0);

    assert_int_equal(pwrite(fd, "x", 1, 10104), 1); // longer than it says
    assert_int_equal(snapshot_try(f, j, 9), BOSKOS_E_CORRUPT);
    static const off_t lengths[] = {10103, 9000, 104, 103, 50, 0};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        assert_int_equal(ftruncate(fd, lengths[i]), 0);
        assert_int_equal(snapshot_try(f, j, 9), BOSKOS_E_CORRUPT);
    }
    (void)close(fd);

    snapshot_write(f, j, 9, 100); // under another one's name
    assert_int_equal(rename(path, snapshot_path(f, 8, "", other)), 0);
    assert_int_equal(snapshot_try(f, j, 8), BOSKOS_E_CORRUPT);
    assert_int_equal(snapshot_try(f, j, 9), BOSKOS_E_NOT_FOUND);
    journal_close(j);
}

static void a_newer_snapshot_is_recognised(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_open(f);
    char path[PATH_BYTES];
    snapshot_write(f, j, 4, 100);
    uint8_t header[80];
    int fd = open(snapshot_path(f, 4, "", path), O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(fd, header, sizeof(header), 0), sizeof(header));
    header[9]++;
    hash128_encode(hash128(header, 64), header + 64);
    assert_int_equal(pwrite(fd, header, sizeof(header), 0), sizeof(header));
    (void)close(fd);
    assert_int_equal(snapshot_try(f, j, 4), BOSKOS_E_TOO_NEW);
    journal_close(j);
}

static void snapshots_are_listed_newest_first(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_open(f);
    char path[PATH_BYTES];
    uint64_t *seqs = NULL;
    size_t count = 9;
    assert_int_equal(journal_snapshots(j, true, &seqs, &count), 0);
    assert_null(seqs);
    assert_int_equal(count, 0);

    for (uint64_t seq = 1; seq <= 40; seq++)
        snapshot_write(f, j, seq * 7 % 41, 10);
    file_write(path_in(f, "journal/snapshot-12", path), "x", 1);
    file_write(path_in(f, "journal/snapshot-99999999999999999999", path), "x", 1);
    file_write(snapshot_path(f, 77, ".tmp", path), "x", 1);
    assert_int_equal(journal_snapshots(j, false, &seqs, &count), 0);
    assert_int_equal(count, 40);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(seqs[i], 40 - i);
    free(seqs);
    assert_true(exists(path));
    assert_int_equal(journal_snapshots(j, true, &seqs, &count), 0);
    assert_int_equal(count, 40);
    free(seqs);
    assert_false(exists(path));
    journal_close(j);
}

static void snapshots_are_set_aside_and_removed(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_open(f);
    char path[PATH_BYTES];
    snapshot_write(f, j, 1, 10);
    snapshot_write(f, j, 2, 10);
    assert_int_equal(journal_snapshot_set_aside(j, 1), 0);
    assert_true(exists(snapshot_path(f, 1, ".bad", path)));
    assert_int_equal(journal_snapshot_set_aside(j, 1), BOSKOS_E_NOT_FOUND);
    assert_int_equal(journal_snapshot_remove(j, 2), 0);
    assert_int_equal(journal_snapshot_remove(j, 2), BOSKOS_E_NOT_FOUND);

    uint64_t *seqs = NULL;
    size_t count = 9;
    assert_int_equal(journal_snapshots(j, false, &seqs, &count), 0);
    assert_int_equal(count, 0);
    journal_close(j);
}

static void an_aborted_snapshot_leaves_nothing(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_open(f);
    struct journal_snapshot about = about_of(3);
    struct journal_snapshot_writer *w = NULL;
    char path[PATH_BYTES];
    assert_int_equal(journal_snapshot_begin(j, &about, &w, &f->problem), 0);
    assert_int_equal(journal_snapshot_add(w, "abc", 3), 0);
    assert_true(exists(snapshot_path(f, 3, ".tmp", path)));
    journal_snapshot_abort(w);
    assert_false(exists(path));
    assert_int_equal(snapshot_try(f, j, 3), BOSKOS_E_NOT_FOUND);

    // One too large is refused before a byte of it is read.
    assert_int_equal(journal_snapshot_begin(j, &about, &w, &f->problem), 0);
    assert_int_equal(journal_snapshot_add(w, "abc", 3), 0);
    assert_int_equal(journal_snapshot_add(w, "abc", JOURNAL_SNAPSHOT_BYTES_MAX),
                     BOSKOS_E_TOO_LARGE);
    assert_int_equal(journal_snapshot_commit(w, &f->problem), BOSKOS_E_TOO_LARGE);
    assert_false(exists(path));
    journal_close(j);
}

// It is as bad as a damaged one: the one before will do, and this one can be put aside.
static void a_pipe_is_a_damaged_snapshot(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    struct journal *j = must_open(f);
    struct journal_snapshot about;
    assert_int_equal(mkfifo(snapshot_path(f, 3, "", path), 0600), 0);
    (void)alarm(30);
    assert_int_equal(snapshot_try(f, j, 3), BOSKOS_E_CORRUPT);
    assert_non_null(strstr(f->problem.text, path));
    assert_int_equal(journal_snapshot_about(j, 3, &about, &f->problem), BOSKOS_E_CORRUPT);
    assert_int_equal(journal_snapshot_set_aside(j, 3), 0);
    assert_int_equal(mkfifo(path_in(f, "journal/snapshot.reserve", path), 0600), 0);
    assert_int_not_equal(journal_snapshot_reserve(j, 4096, &f->problem), 0);
    (void)alarm(0);
    assert_non_null(strstr(f->problem.text, "it is no plain file"));
    journal_close(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_snapshot_comes_back_as_it_was),     TEST(damaged_snapshots_are_refused),
        TEST(a_newer_snapshot_is_recognised),      TEST(snapshots_are_listed_newest_first),
        TEST(snapshots_are_set_aside_and_removed), TEST(an_aborted_snapshot_leaves_nothing),
        TEST(a_pipe_is_a_damaged_snapshot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
