// Tests of the exported file: what is written comes back, from any record on, and no file is
// written over. What damage to it leads to is in test_journal_slice_damage.c.
#include "tests/test_journal_slice.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

#include "base/banned.h"

#define PAGE_OF_FORMAT "/../docs/FORMAT.md"

// The link gives renameat2 to this (see CMakeLists.txt): a file system that has not got it.
static bool renameat2_is_missing;
int __real_renameat2(int fd, const char *path, int to_fd, const char *to, unsigned flags);
int __wrap_renameat2(int fd, const char *path, int to_fd, const char *to, unsigned flags);
int __wrap_renameat2(int fd, const char *path, int to_fd, const char *to, unsigned flags)
{
    if (!renameat2_is_missing) return __real_renameat2(fd, path, to_fd, to, flags);
    errno = EINVAL;
    return -1;
}

// ---- what comes back --------------------------------------------------------

static void check_whole(struct folder *f, const char *path, uint64_t base_seq, uint64_t count)
{
    struct slice *s = must_open_slice(f, path);
    struct slice_about wanted = about_of(base_seq);
    const struct slice_about *about = slice_about(s);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(about->base_seq, base_seq);
    assert_int_equal(about->base_time_ns, wanted.base_time_ns);
    assert_true(hash128_equal(about->base_chain, wanted.base_chain));
    assert_true(hash128_equal(about->base_digest, wanted.base_digest));
    assert_true(text_equal(about->created_by, wanted.created_by));
    assert_int_equal(about->flags, wanted.flags);
    assert_int_equal(about->last_seq, base_seq + count);
    assert_int_equal(about->last_time_ns, count > 0 ? 1000 + about->last_seq : wanted.base_time_ns);
    assert_int_equal(about->bytes, status.st_size);
    assert_true(text_equal(slice_base(s), base_seq > 0 ? TEXT(BASE) : TEXT("")));

    for (uint64_t i = 1; i <= count + 1; i += count < 100 ? 1 : count / 7)
        assert_int_equal(slice_read(f, s, base_seq + i), count + 1 - i);
    assert_int_equal(slice_read(f, s, base_seq + count + 1), 0);
    struct slice_cursor *c = NULL;
    assert_int_equal(slice_cursor_open(s, base_seq, &c, &f->problem), BOSKOS_E_NOT_FOUND);
    assert_int_equal(slice_cursor_open(s, base_seq + count + 2, &c, NULL), BOSKOS_E_NOT_FOUND);
    assert_non_null(strstr(f->problem.text, path));
    slice_close(s);
}

static void a_slice_comes_back_as_it_was(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES], temp[PATH_BYTES];
    static const uint64_t counts[] = {0, 1, 2, 30, 4095, 4096, 4097, 8192, 20000};
    (void)path_in(f, "slice.tmp", temp);
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        for (uint64_t base_seq = 0; base_seq < 2000; base_seq += 999) {
            (void)unlink(path_in(f, "slice", path));
            slice_write(f, path, base_seq, counts[i]);
            assert_int_equal(mode_of(path), 0600);
            assert_false(exists(temp));
            check_whole(f, path, base_seq, counts[i]);
        }
    }
}

static void cursors_begin_around_the_entries_of_the_index(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    slice_write(f, path_in(f, "slice", path), 10, 9000);
    struct slice *s = must_open_slice(f, path);
    for (uint64_t near = 0; near <= 8192; near += 4096)
        for (uint64_t from = near < 4 ? 0 : near - 4; from < near + 4; from++)
            assert_int_equal(slice_read(f, s, 11 + from), 9000 - from);
    slice_close(s);
}

// In a slice of the log as it is the checksums are the log's own.
static void the_checksums_are_those_of_the_log(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    struct journal *j = must_open(f);
    assert_int_equal(append_numbered(j, 5, NULL), 0);
    slice_write(f, path_in(f, "slice", path), 0, 5);
    struct slice *s = must_open_slice(f, path);
    struct slice_cursor *mine = NULL;
    struct journal_cursor *theirs = cursor_at(f, j, 1);
    assert_int_equal(slice_cursor_open(s, 1, &mine, &f->problem), 0);
    for (int i = 0; i < 5; i++) {
        struct record a, b;
        struct journal_row row;
        assert_int_equal(slice_cursor_next(mine, &a, &row, &f->problem), 0);
        assert_int_equal(journal_cursor_next(theirs, &b, &row, &f->problem), 0);
        assert_true(hash128_equal(a.chain, b.chain));
    }
    slice_cursor_close(mine);
    slice_close(s);
    journal_cursor_close(theirs);
    journal_close(j);
}

static uint64_t resident_bytes(void)
{
    char line[128] = "";
    unsigned long long all = 0, resident = 0;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_true(read(fd, line, sizeof(line) - 1) > 0);
    (void)close(fd);
    assert_int_equal(sscanf(line, "%llu %llu", &all, &resident), 2);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

// A base and payloads above every step, and memory that does not grow with them.
static void a_large_slice_is_read_in_bounded_memory(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES], first[32] = "";
    const size_t size = 3000001;
    uint64_t most = 0;
    struct slice_about about = about_of(1);
    struct slice_writer *w = must_begin(f, path_in(f, "slice", path), &about);
    char *bytes = malloc(size);
    assert_non_null(bytes);
    memset(bytes, 'x', size);
    for (int i = 0; i < 10; i++)
        assert_int_equal(slice_add_base(w, bytes, size), 0);
    for (uint64_t seq = 2; seq < 22; seq++) {
        struct record r = record_of(seq, first);
        memcpy(bytes, first, sizeof(first));
        r.payload = text_of(bytes, size - seq);
        struct journal_row row = {seq, text_of(bytes, JOURNAL_ROW_BYTES_MAX)};
        assert_int_equal(slice_add(w, &r, &row), 0);
    }
    assert_int_equal(slice_commit(w, &f->problem), 0);

    uint64_t before = resident_bytes();
    struct slice *s = must_open_slice(f, path);
    most = resident_bytes();
    assert_int_equal(slice_base(s).size, 10 * size);
    assert_memory_equal(slice_base(s).data + size, slice_base(s).data + 2 * size, size);
    struct slice_cursor *c = NULL;
    assert_int_equal(slice_cursor_open(s, 2, &c, &f->problem), 0);
    for (uint64_t seq = 2; seq < 22; seq++) {
        struct record r;
        struct journal_row row;
        assert_int_equal(slice_cursor_next(c, &r, &row, &f->problem), 0);
        (void)record_of(seq, first);
        memcpy(bytes, first, sizeof(first));
        assert_int_equal(r.payload.size, size - seq);
        assert_memory_equal(r.payload.data, bytes, size - seq);
        assert_int_equal(row.bytes.size, JOURNAL_ROW_BYTES_MAX);
        if (resident_bytes() > most) most = resident_bytes();
    }
    assert_true(most - before < 8u << 20); // of 90 MB
    slice_cursor_close(c);
    slice_close(s);
    free(bytes);
}

// ---- the bytes --------------------------------------------------------------

// The bytes of the example in docs/FORMAT.md, which another program made.
static size_t example_read(uint8_t *bytes, size_t capacity)
{
    char path[PATH_BYTES];
    uint8_t *page = NULL;
    const char *top = getenv("BOSKOS_TESTS");
    assert_non_null(top);
    (void)snprintf(path, sizeof(path), "%s" PAGE_OF_FORMAT, top);
    (void)bytes_read(path, &page);
    const char *at = strstr((char *)page, "\n## The exported file\n");
    assert_non_null(at);
    at = strstr(at, "```text\n");
    assert_non_null(at);
    at = strchr(at, '\n') + 1;
    size_t size = 0;
    while (strncmp(at, "```", 3) != 0) {
        unsigned byte = 0;
        for (; sscanf(at, "%2x", &byte) == 1; at += 3) {
            assert_true(size < capacity);
            bytes[size++] = (uint8_t)byte;
            if (at[2] == '\n' || at[3] == ' ') break; // a remark may follow
        }
        at = strchr(at, '\n');
        assert_non_null(at);
        at++;
    }
    free(page);
    return size;
}

static void a_slice_has_the_bytes_of_the_format(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    uint8_t wanted[1024], *bytes = NULL;
    slice_write(f, path_in(f, "slice", path), 7, 2);
    size_t size = bytes_read(path, &bytes);
    assert_int_equal(example_read(wanted, sizeof(wanted)), size);
    assert_memory_equal(bytes, wanted, size);
    free(bytes);
}

// ---- writing ----------------------------------------------------------------

static void content_is(const char *path, const char *wanted)
{
    uint8_t *bytes = NULL;
    assert_int_equal(bytes_read(path, &bytes), strlen(wanted));
    assert_memory_equal(bytes, wanted, strlen(wanted));
    free(bytes);
}

static void no_file_is_written_over(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES], temp[PATH_BYTES];
    struct slice_about about = about_of(3);
    struct slice_writer *w = NULL;
    (void)path_in(f, "slice.tmp", temp);
    file_write(path_in(f, "slice", path), "mine", 4);
    assert_int_equal(slice_begin(path, &about, &w, &f->problem), BOSKOS_E_IO);
    assert_int_equal(errno, EEXIST);
    assert_non_null(strstr(f->problem.text, path));
    assert_false(exists(temp));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("nowhere", path), 0); // a link is there too
    assert_int_equal(slice_begin(path, &about, &w, &f->problem), BOSKOS_E_IO);
    assert_int_equal(unlink(path), 0);

    file_write(temp, "theirs", 6);
    assert_int_equal(slice_begin(path, &about, &w, &f->problem), BOSKOS_E_IO);
    assert_int_equal(errno, EEXIST);
    assert_non_null(strstr(f->problem.text, temp));
    content_is(temp, "theirs");
    assert_int_equal(unlink(temp), 0);

    // The name is taken meanwhile, where the file system can tell and where it cannot.
    for (int i = 0; i < 2; i++) {
        renameat2_is_missing = i == 1;
        w = must_begin(f, path, &about);
        assert_int_equal(add_numbered(w, 4), 0);
        file_write(path, "mine", 4);
        assert_int_equal(slice_commit(w, &f->problem), BOSKOS_E_IO);
        assert_int_equal(errno, EEXIST);
        assert_non_null(strstr(f->problem.text, path));
        assert_false(exists(temp));
        content_is(path, "mine");
        assert_int_equal(unlink(path), 0);
    }
    slice_write(f, path, 3, 30); // and it is not
    renameat2_is_missing = false;
    check_whole(f, path, 3, 30);
    assert_false(exists(temp));
    assert_int_equal(slice_begin(path_in(f, "no/slice", path), &about, &w, &f->problem),
                     BOSKOS_E_IO);
    assert_int_equal(errno, ENOENT);
}

static void an_aborted_slice_leaves_nothing(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES], temp[PATH_BYTES];
    struct slice_about about = about_of(3);
    (void)path_in(f, "slice.tmp", temp);
    struct slice_writer *w = must_begin(f, path_in(f, "slice", path), &about);
    assert_int_equal(slice_add_base(w, "abc", 3), 0);
    assert_true(exists(temp));
    assert_int_equal(mode_of(temp), 0600);
    slice_abort(w);
    assert_false(exists(temp));
    assert_false(exists(path));

    // A snapshot too large is refused before a byte of it is read.
    w = must_begin(f, path, &about);
    assert_int_equal(slice_add_base(w, "abc", 3), 0);
    assert_int_equal(slice_add_base(w, "abc", JOURNAL_SNAPSHOT_BYTES_MAX), BOSKOS_E_TOO_LARGE);
    assert_int_equal(add_numbered(w, 4), BOSKOS_E_TOO_LARGE);
    assert_int_equal(slice_commit(w, &f->problem), BOSKOS_E_TOO_LARGE);
    assert_false(exists(temp));
    assert_false(exists(path));
}

static void a_full_disk_leaves_nothing(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES], temp[PATH_BYTES];
    struct slice_about about = about_of(0);
    uint64_t seq = 1;
    int err = 0;
    (void)path_in(f, "slice.tmp", temp);
    limit_files(600000);
    struct slice_writer *w = must_begin(f, path_in(f, "slice", path), &about);
    for (; err == 0 && seq < 100000; seq++)
        err = add_numbered(w, seq);
    assert_int_equal(err, BOSKOS_E_NOSPACE);
    assert_int_equal(errno, EFBIG);
    assert_int_equal(add_numbered(w, seq), BOSKOS_E_NOSPACE); // it is kept
    assert_int_equal(slice_commit(w, &f->problem), BOSKOS_E_NOSPACE);
    assert_non_null(strstr(f->problem.text, path));
    assert_false(exists(temp));
    assert_false(exists(path));

    limit_files(500); // reached at the end alone
    w = must_begin(f, path, &about);
    for (seq = 1; seq < 50; seq++)
        assert_int_equal(add_numbered(w, seq), 0);
    assert_int_equal(slice_commit(w, &f->problem), BOSKOS_E_NOSPACE);
    assert_false(exists(temp));
    assert_false(exists(path));
    limit_files(RLIM_INFINITY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_slice_comes_back_as_it_was),
        TEST(cursors_begin_around_the_entries_of_the_index),
        TEST(the_checksums_are_those_of_the_log),
        TEST(a_large_slice_is_read_in_bounded_memory),
        TEST(a_slice_has_the_bytes_of_the_format),
        TEST(no_file_is_written_over),
        TEST(an_aborted_slice_leaves_nothing),
        TEST(a_full_disk_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
