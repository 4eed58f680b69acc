// Tests of the tail witness: what the log was said to have is there, or the journal is refused.
#include "tests/test_journal.h"

#include "base/banned.h"

#define WITNESS_BYTES 64
#define LMDB_METAS_BYTES 8192

struct noticed {
    unsigned count;
    char what[1024];
};

static void notice(void *context, const char *what)
{
    struct noticed *n = context;
    n->count++;
    (void)snprintf(n->what, sizeof(n->what), "%s", what);
}

static int open_noticing(struct folder *f, struct journal **j, struct noticed *n)
{
    struct journal_options options = {
        .dir = f->dir, .map_bytes = MAP_BYTES, .noticed = notice, .context = n};
    *n = (struct noticed){0};
    *j = NULL;
    f->problem = (struct journal_problem){0};
    return journal_open(&options, j, &f->problem);
}

static void file_read(const char *path, void *bytes, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, bytes, size), size);
    (void)close(fd);
}

static void file_copy(const char *from, const char *to)
{
    struct stat status;
    assert_int_equal(stat(from, &status), 0);
    size_t size = (size_t)status.st_size;
    char *bytes = malloc(size);
    assert_non_null(bytes);
    file_read(from, bytes, size);
    file_write(to, bytes, size);
    assert_int_equal(truncate(to, status.st_size), 0);
    free(bytes);
}

static void witness_read(const struct folder *f, uint8_t ret_bytes[WITNESS_BYTES])
{
    char path[PATH_BYTES];
    struct stat status;
    assert_int_equal(stat(path_in(f, "journal/WITNESS", path), &status), 0);
    assert_int_equal(status.st_size, WITNESS_BYTES);
    file_read(path, ret_bytes, WITNESS_BYTES);
}

static void append_and_close(struct folder *f, size_t count)
{
    struct journal *j = must_open(f);
    if (count > 0) assert_int_equal(append_numbered(j, count, NULL), 0);
    journal_close(j);
}

// ---- what is written, and when ----------------------------------------------

static void a_witness_has_the_bytes_of_the_format(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    append_and_close(f, 3);
    // Made by another program from docs/FORMAT.md, of the records of append_numbered.
    static const uint8_t golden[WITNESS_BYTES] = {
        0x42, 0x4f, 0x53, 0x4b, 0x4f, 0x53, 0x57, 0x54, 0x00, 0x01, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x03, 0xeb, 0x8c, 0x0c, 0xbc, 0x22, 0xf2, 0x80, 0x0c,
        0xb0, 0xb0, 0xb3, 0xb2, 0x19, 0x3d, 0xcb, 0x98, 0xd5, 0x91, 0x88, 0x66, 0xf4,
        0xb6, 0x02, 0x2e, 0x2e, 0xad, 0xab, 0x38, 0x75, 0x8d, 0x82, 0x81, 0xda};
    uint8_t bytes[WITNESS_BYTES];
    witness_read(f, bytes);
    assert_memory_equal(bytes, golden, sizeof(golden));
    assert_int_equal(mode_of(path_in(f, "journal/WITNESS", path)), 0600);
    struct journal *j = must_open(f);
    assert_true(hash128_equal(journal_last_chain(j), hash128_decode(bytes + 32)));
    journal_close(j);
}

static void a_first_start_makes_it_whole(void **state)
{
    struct folder *f = *state;
    struct noticed n;
    struct journal *j = NULL;
    uint8_t bytes[WITNESS_BYTES];
    static const uint8_t zeros[38];
    assert_int_equal(open_noticing(f, &j, &n), 0);
    assert_int_equal(n.count, 0);
    witness_read(f, bytes);
    assert_memory_equal(bytes + 10, zeros, sizeof(zeros));
    journal_close(j);
    assert_int_equal(open_noticing(f, &j, &n), 0);
    assert_int_equal(n.count, 0);
    journal_close(j);
}

static void each_append_moves_it(void **state)
{
    struct folder *f = *state;
    uint8_t bytes[WITNESS_BYTES];
    struct journal *j = must_open(f);
    for (uint8_t seq = 1; seq <= 5; seq++) {
        assert_int_equal(append_numbered(j, 1, NULL), 0);
        assert_int_equal(append_row(j, seq, "row"), 0); // no record: it stays
        witness_read(f, bytes);
        assert_int_equal(bytes[23], seq);
    }
    journal_close(j);
}

static void what_was_refused_is_not_witnessed(void **state)
{
    struct folder *f = *state;
    struct journal *j = NULL;
    uint8_t before[WITNESS_BYTES], after[WITNESS_BYTES];
    char *large = calloc(1, 2u << 20);
    assert_non_null(large);
    assert_int_equal(try_open(f, 1u << 20, 0, &j), 0);
    assert_int_equal(append_numbered(j, 3, NULL), 0);
    witness_read(f, before);
    assert_int_equal(append_payload(j, text_of(large, 2u << 20), &f->problem), BOSKOS_E_NOSPACE);
    witness_read(f, after);
    assert_memory_equal(before, after, WITNESS_BYTES);
    journal_close(j);
    free(large);
}

// ---- a log that has lost its end --------------------------------------------

static void assert_lost(struct folder *f, uint64_t last, uint64_t witnessed)
{
    char path[PATH_BYTES], number[32];
    struct journal *j = NULL;
    uint8_t before[WITNESS_BYTES], after[WITNESS_BYTES];
    witness_read(f, before);
    for (int i = 0; i < 2; i++) { // the first try does not make it good
        assert_int_equal(try_open(f, MAP_BYTES, 0, &j), BOSKOS_E_CORRUPT);
        assert_non_null(strstr(f->problem.text, path_in(f, "journal/data.mdb", path)));
        (void)snprintf(number, sizeof(number), "record %" PRIu64, last);
        assert_non_null(strstr(f->problem.text, number));
        (void)snprintf(number, sizeof(number), "record %" PRIu64, witnessed);
        assert_non_null(strstr(f->problem.text, number));
    }
    witness_read(f, after);
    assert_memory_equal(before, after, WITNESS_BYTES);
}

static void an_older_log_is_refused(void **state)
{
    struct folder *f = *state;
    char data[PATH_BYTES], old[PATH_BYTES];
    append_and_close(f, 10);
    file_copy(path_in(f, "journal/data.mdb", data), path_in(f, "old", old));
    append_and_close(f, 1);
    file_copy(old, data);
    assert_lost(f, 10, 11);
}

// LMDB begins with the newer of two meta pages. One whose write never came leaves the older one.
static void a_lost_meta_page_is_found(void **state)
{
    struct folder *f = *state;
    char data[PATH_BYTES], metas[LMDB_METAS_BYTES];
    append_and_close(f, 10);
    file_read(path_in(f, "journal/data.mdb", data), metas, sizeof(metas));
    append_and_close(f, 5);
    int fd = open(data, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, metas, sizeof(metas), 0), sizeof(metas));
    (void)close(fd);
    assert_lost(f, 10, 15);
}

// The same without loss: the transaction of which the page is gone held only rows.
static void a_lost_transaction_of_rows_is_none(void **state)
{
    struct folder *f = *state;
    char data[PATH_BYTES], metas[LMDB_METAS_BYTES];
    append_and_close(f, 10);
    file_read(path_in(f, "journal/data.mdb", data), metas, sizeof(metas));
    struct journal *j = must_open(f);
    assert_int_equal(append_row(j, 3, "row"), 0);
    journal_close(j);
    int fd = open(data, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, metas, sizeof(metas), 0), sizeof(metas));
    (void)close(fd);
    append_and_close(f, 0);
}

static void another_log_is_refused(void **state)
{
    struct folder *f = *state;
    char data[PATH_BYTES], old[PATH_BYTES];
    append_and_close(f, 10);
    file_copy(path_in(f, "journal/data.mdb", data), path_in(f, "old", old));
    struct journal *j = must_open(f);
    assert_int_equal(append_payload(j, TEXT("this"), NULL), 0);
    journal_close(j);
    char witness[PATH_BYTES], kept[PATH_BYTES];
    file_copy(path_in(f, "journal/WITNESS", witness), path_in(f, "kept", kept));
    file_copy(old, data);
    assert_int_equal(unlink(witness), 0);
    j = must_open(f);
    assert_int_equal(append_payload(j, TEXT("that"), NULL), 0);
    assert_int_equal(append_payload(j, TEXT("more"), NULL), 0);
    journal_close(j);
    file_copy(kept, witness);
    assert_lost(f, 12, 11);
}

static void one_that_is_behind_is_good(void **state)
{
    struct folder *f = *state;
    char witness[PATH_BYTES], kept[PATH_BYTES];
    struct noticed n;
    struct journal *j = NULL;
    append_and_close(f, 3);
    file_copy(path_in(f, "journal/WITNESS", witness), path_in(f, "kept", kept));
    append_and_close(f, 4);
    file_copy(kept, witness);
    assert_int_equal(open_noticing(f, &j, &n), 0);
    assert_int_equal(n.count, 0);
    assert_int_equal(journal_end(j), 8);
    journal_close(j);
}

static void one_from_before_a_trimmed_log_is_good(void **state)
{
    struct folder *f = *state;
    char witness[PATH_BYTES], kept[PATH_BYTES];
    append_and_close(f, 3);
    file_copy(path_in(f, "journal/WITNESS", witness), path_in(f, "kept", kept));
    append_and_close(f, 4);
    file_copy(kept, witness);
    struct table t = table_open(f, "log");
    for (uint64_t seq = 1; seq <= 3; seq++) {
        uint8_t key_bytes[8];
        key_encode(seq, key_bytes);
        MDB_val key = {8, key_bytes};
        assert_int_equal(mdb_del(t.txn, t.dbi, &key, NULL), 0);
    }
    table_close(&t);
    append_and_close(f, 1);
}

// ---- itself in trouble ------------------------------------------------------

// It opens with one loud line, and a good witness is there again.
static void assert_made_anew(struct folder *f, const char *why)
{
    char path[PATH_BYTES];
    struct noticed n;
    struct journal *j = NULL;
    uint8_t bytes[WITNESS_BYTES];
    assert_int_equal(open_noticing(f, &j, &n), 0);
    assert_int_equal(n.count, 1);
    assert_non_null(strstr(n.what, why));
    assert_non_null(strstr(n.what, path_in(f, "journal/WITNESS", path)));
    witness_read(f, bytes);
    assert_int_equal(bytes[23], journal_end(j) - 1);
    journal_close(j);
    assert_int_equal(open_noticing(f, &j, &n), 0);
    assert_int_equal(n.count, 0);
    journal_close(j);
}

static void a_missing_one_is_made_anew(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    append_and_close(f, 7);
    assert_int_equal(unlink(path_in(f, "journal/WITNESS", path)), 0);
    assert_made_anew(f, "missing");
}

static void a_damaged_one_is_made_anew(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    append_and_close(f, 7);
    (void)path_in(f, "journal/WITNESS", path);
    for (size_t at = 0; at < WITNESS_BYTES; at++) {
        uint8_t bytes[WITNESS_BYTES];
        witness_read(f, bytes);
        bytes[at] ^= 0x10;
        file_write(path, bytes, sizeof(bytes));
        assert_made_anew(f, "damaged");
    }
    for (off_t size = 0; size < WITNESS_BYTES; size += 21) {
        assert_int_equal(truncate(path, size), 0);
        assert_made_anew(f, "damaged");
    }
    assert_int_equal(truncate(path, WITNESS_BYTES + 1), 0);
    assert_made_anew(f, "damaged");
}

static void a_newer_one_is_left_alone(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    uint8_t bytes[WITNESS_BYTES], after[WITNESS_BYTES];
    struct journal *j = NULL;
    append_and_close(f, 7);
    witness_read(f, bytes);
    bytes[9] = 2;
    hash128_encode(hash128(bytes, 48), bytes + 48);
    file_write(path_in(f, "journal/WITNESS", path), bytes, sizeof(bytes));
    assert_int_equal(try_open(f, MAP_BYTES, 0, &j), BOSKOS_E_TOO_NEW);
    assert_non_null(strstr(f->problem.text, path));
    witness_read(f, after);
    assert_memory_equal(bytes, after, WITNESS_BYTES);
}

// Puts another file behind the descriptor that the journal has of its witness.
static void redirect(const char *to, int flags)
{
    char link[PATH_BYTES], target[PATH_BYTES];
    int found = -1;
    for (int fd = 0; fd < 64 && found < 0; fd++) {
        (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        ssize_t size = readlink(link, target, sizeof(target) - 1);
        if (size < 0) continue;
        target[size] = '\0';
        if (strstr(target, "/WITNESS") != NULL) found = fd;
    }
    assert_true(found >= 0);
    int fd = open(to, flags | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(dup2(fd, found), found);
    (void)close(fd);
}

static void want_of_space_is_said_once(void **state)
{
    struct folder *f = *state;
    struct noticed n;
    struct journal *j = NULL;
    assert_int_equal(open_noticing(f, &j, &n), 0);
    redirect("/dev/full", O_WRONLY);
    for (int i = 0; i < 3; i++)
        assert_int_equal(append_numbered(j, 1, NULL), 0);
    assert_int_equal(n.count, 1);
    assert_non_null(strstr(n.what, "WITNESS"));
    assert_int_equal(read_numbered(f, j, 1), 3);
    journal_close(j);
    append_and_close(f, 1); // it is behind, and all is there
}

static void a_failed_write_is_an_error(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_open(f);
    assert_int_equal(append_numbered(j, 1, NULL), 0);
    redirect("/dev/null", O_RDONLY);
    assert_int_equal(append_numbered(j, 1, &f->problem), BOSKOS_E_IO);
    assert_non_null(strstr(f->problem.text, "WITNESS"));
    journal_close(j);
    j = must_open(f);
    assert_int_equal(journal_end(j), 3); // it was durable
    journal_close(j);
}

// ---- what is no file ----------------------------------------------------------

// A pipe in place of a file would be waited for.
static void a_pipe_in_place_of_a_file_is_named(void **state)
{
    static const char *const names[] = {"LOCK", "WITNESS", "AHEAD", "lock.mdb", "data.mdb"};
    struct folder *f = *state;
    char path[PATH_BYTES], saved[PATH_BYTES];
    const struct journal_options made = {.dir = f->dir, .map_bytes = MAP_BYTES, .ahead = true};
    struct journal *j = NULL;
    assert_int_equal(journal_open(&made, &j, &f->problem), 0);
    assert_int_equal(append_numbered(j, 3, NULL), 0);
    journal_close(j);
    (void)alarm(30);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct journal_options options = {.dir = f->dir, .map_bytes = MAP_BYTES};
        (void)snprintf(path, sizeof(path), "%s/journal/%s", f->dir, names[i]);
        (void)snprintf(saved, sizeof(saved), "%s/saved", f->dir);
        assert_int_equal(rename(path, saved), 0);
        assert_int_equal(mkfifo(path, 0600), 0);
        assert_int_not_equal(try_open(f, MAP_BYTES, 0, &j), 0);
        assert_non_null(strstr(f->problem.text, names[i]));
        assert_non_null(strstr(f->problem.text, "it is no plain file"));
        f->problem = (struct journal_problem){0};
        int err = journal_open_read(&options, &j, &f->problem);
        if (strcmp(names[i], "lock.mdb") == 0) { // only of use beside a daemon
            assert_int_equal(err, 0);
            journal_close(j);
        } else {
            assert_int_not_equal(err, 0);
            assert_non_null(strstr(f->problem.text, names[i]));
        }
        assert_int_equal(rename(saved, path), 0);
    }
    (void)alarm(0);
    j = must_open(f);
    journal_close(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_witness_has_the_bytes_of_the_format),
        TEST(a_first_start_makes_it_whole),
        TEST(each_append_moves_it),
        TEST(what_was_refused_is_not_witnessed),
        TEST(an_older_log_is_refused),
        TEST(a_lost_meta_page_is_found),
        TEST(a_lost_transaction_of_rows_is_none),
        TEST(another_log_is_refused),
        TEST(one_that_is_behind_is_good),
        TEST(one_from_before_a_trimmed_log_is_good),
        TEST(a_missing_one_is_made_anew),
        TEST(a_damaged_one_is_made_anew),
        TEST(a_newer_one_is_left_alone),
        TEST(want_of_space_is_said_once),
        TEST(a_failed_write_is_an_error),
        TEST(a_pipe_in_place_of_a_file_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
