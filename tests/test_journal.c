// Tests of the journal's folder, its lock, appending and reading, and of what a full disk, a kill
// and other threads do to it.
#include "tests/test_journal.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "base/banned.h"

#define KILL_ROUNDS 10

// ---- folder -----------------------------------------------------------------

static void a_new_journal_is_empty_and_private(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    mode_t before = umask(0277); // would leave nothing writable
    struct journal *j = must_open(f);
    (void)umask(before);

    assert_int_equal(journal_first(j), 1);
    assert_int_equal(journal_end(j), 1);
    assert_int_equal(journal_last_time_ns(j), 0);
    assert_true(hash128_equal(journal_last_chain(j), (struct hash128){0, 0}));
    assert_int_equal(mode_of(path_in(f, "journal", path)), 0700);
    assert_int_equal(mode_of(path_in(f, "journal/data.mdb", path)), 0600);
    assert_int_equal(mode_of(path_in(f, "journal/lock.mdb", path)), 0600);
    assert_int_equal(mode_of(path_in(f, "journal/LOCK", path)), 0600);
    assert_false(exists(path_in(f, "journal.new", path)));
    assert_int_equal(read_numbered(f, j, 1), 0);
    journal_close(j);
}

static void no_descriptor_outlives_exec(void **state)
{
    struct folder *f = *state;
    bool before[64];
    for (int fd = 0; fd < 64; fd++)
        before[fd] = fcntl(fd, F_GETFD) >= 0;
    struct journal *j = must_open(f);
    int opened = 0;
    for (int fd = 0; fd < 64; fd++) {
        int flags = fcntl(fd, F_GETFD);
        if (before[fd] || flags < 0) continue;
        assert_true((flags & FD_CLOEXEC) != 0);
        opened++;
    }
    assert_true(opened >= 3);
    journal_close(j);
}

static void the_data_folder_is_made_in_a_folder_that_is_there(void **state)
{
    struct folder *f = *state;
    struct folder deep = folder_in(f, "a/b");
    struct journal *j = NULL;
    assert_int_equal(try_open(&deep, MAP_BYTES, 0, &j), BOSKOS_E_IO);
    assert_non_null(strstr(deep.problem.text, "parent"));
    assert_non_null(strstr(deep.problem.text, deep.dir));

    deep = folder_in(f, "a");
    j = must_open(&deep);
    assert_int_equal(mode_of(deep.dir), 0700);
    journal_close(j);
}

static void a_plain_file_is_no_data_folder(void **state)
{
    struct folder *f = *state;
    struct folder file = folder_in(f, "file");
    struct journal *j = NULL;
    file_write(file.dir, "x", 1);
    assert_int_equal(try_open(&file, MAP_BYTES, 0, &j), BOSKOS_E_IO);
    assert_non_null(strstr(file.problem.text, file.dir));
}

static void what_lies_beside_the_journal_is_left_alone(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    assert_int_equal(mkdir(path_in(f, "lost+found", path), 0700), 0);
    journal_close(must_open(f));
    journal_close(must_open(f));
    assert_true(exists(path_in(f, "lost+found", path)));
}

static void a_creation_that_did_not_end_is_begun_again(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    assert_int_equal(mkdir(path_in(f, "journal.new", path), 0700), 0);
    file_write(path_in(f, "journal.new/data.mdb", path), "half", 4);
    file_write(path_in(f, "journal.new/LOCK", path), "", 0);
    struct journal *j = must_open(f);
    assert_int_equal(journal_end(j), 1);
    assert_false(exists(path_in(f, "journal.new", path)));
    journal_close(j);
}

static void a_lost_log_is_not_taken_for_a_new_one(void **state)
{
    struct folder *f = *state;
    struct journal *j = NULL;
    char path[PATH_BYTES];
    journal_close(must_open(f));
    assert_int_equal(truncate(path_in(f, "journal/data.mdb", path), 0), 0);
    assert_int_equal(try_open(f, MAP_BYTES, 0, &j), BOSKOS_E_CORRUPT);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(try_open(f, MAP_BYTES, 0, &j), BOSKOS_E_CORRUPT);
    assert_non_null(strstr(f->problem.text, path));
}

static void a_file_that_is_not_lmdb_is_refused(void **state)
{
    struct folder *f = *state;
    struct journal *j = NULL;
    char path[PATH_BYTES];
    char rubbish[16384];
    memset(rubbish, 'x', sizeof(rubbish));
    journal_close(must_open(f));
    file_write(path_in(f, "journal/data.mdb", path), rubbish, sizeof(rubbish));
    assert_int_equal(try_open(f, MAP_BYTES, 0, &j), BOSKOS_E_CORRUPT);
    assert_non_null(strstr(f->problem.text, "data.mdb"));
}

// Runs in a child without root's rights.
static int open_as_nobody(struct folder *f)
{
    struct journal *j = NULL;
    if (getuid() == 0 && setresuid(65534, 65534, 65534) != 0) return 1;
    if (try_open(f, MAP_BYTES, 0, &j) != BOSKOS_E_READ_ONLY) return 2;
    return strstr(f->problem.text, f->dir) != NULL ? 0 : 3;
}

static void assert_child_ends_well(pid_t child)
{
    int status = -1;
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void a_folder_that_cannot_be_written_is_named(void **state)
{
    struct folder *f = *state;
    assert_int_equal(chmod(f->dir, 0555), 0);
    pid_t child = fork();
    if (child == 0) _exit(open_as_nobody(f));
    assert_child_ends_well(child);
    assert_int_equal(chmod(f->dir, 0700), 0);

    journal_close(must_open(f)); // and one that is there already
    assert_int_equal(chmod(f->dir, 0755), 0);
    child = fork();
    if (child == 0) {
        char path[PATH_BYTES];
        if (getuid() != 0 && chmod(path_in(f, "journal/LOCK", path), 0) != 0) _exit(4);
        _exit(open_as_nobody(f));
    }
    assert_child_ends_well(child);
}

static void address_space_that_is_not_there_is_named(void **state)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    (void)state;
    skip(); // the sanitizer has taken the address space itself
#else
    struct folder *f = *state;
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {4ull << 30, 4ull << 30};
        struct journal *j = NULL;
        if (setrlimit(RLIMIT_AS, &limit) != 0) _exit(1);
        if (try_open(f, 0, 0, &j) != BOSKOS_E_NOMEM) _exit(2);
        _exit(strstr(f->problem.text, "address space") != NULL ? 0 : 3);
    }
    assert_child_ends_well(child);
#endif
}

// ---- lock -------------------------------------------------------------------

static void a_second_holder_is_refused_at_once(void **state)
{
    struct folder *f = *state;
    struct journal *second = NULL;
    char path[PATH_BYTES];
    struct journal *j = must_open(f);
    assert_int_equal(try_open(f, MAP_BYTES, 600000, &second), BOSKOS_E_LOCKED);
    assert_non_null(strstr(f->problem.text, "held by another boskosd"));
    assert_non_null(strstr(f->problem.text, path_in(f, "journal", path)));
    assert_int_equal(append_numbered(j, 3, NULL), 0); // and the first is not disturbed
    assert_int_equal(read_numbered(f, j, 1), 3);
    journal_close(j);
    journal_close(must_open(f));
}

static int lock_shared(const struct folder *f)
{
    char path[PATH_BYTES];
    int fd = open(path_in(f, "journal/LOCK", path), O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
    return fd;
}

static void *close_later(void *argument)
{
    const struct timespec pause = {.tv_nsec = 100 * 1000000L};
    (void)nanosleep(&pause, NULL);
    (void)close(*(int *)argument);
    return NULL;
}

static void a_reader_is_waited_for(void **state)
{
    struct folder *f = *state;
    struct journal *j = NULL;
    journal_close(must_open(f));

    int fd = lock_shared(f);
    assert_int_equal(try_open(f, MAP_BYTES, 50, &j), BOSKOS_E_LOCKED);
    assert_non_null(strstr(f->problem.text, "being read"));

    pthread_t closer;
    assert_int_equal(pthread_create(&closer, NULL, close_later, &fd), 0);
    assert_int_equal(try_open(f, MAP_BYTES, 10000, &j), 0);
    assert_int_equal(pthread_join(closer, NULL), 0);
    journal_close(j);
}

// ---- append and read --------------------------------------------------------

static void records_survive_and_the_chain_goes_on(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_open(f);
    assert_int_equal(append_numbered(j, 3, NULL), 0);
    assert_int_equal(append_numbered(j, 1, NULL), 0);
    assert_int_equal(journal_append(j, NULL, 0, NULL, 0, NULL), 0);
    assert_int_equal(journal_end(j), 5);
    struct hash128 chain = journal_last_chain(j);
    journal_close(j);

    j = must_open(f);
    assert_int_equal(journal_first(j), 1);
    assert_int_equal(journal_end(j), 5);
    assert_int_equal(journal_last_time_ns(j), 1004);
    assert_true(hash128_equal(journal_last_chain(j), chain));
    assert_int_equal(append_numbered(j, 2000, NULL), 0);
    assert_int_equal(read_numbered(f, j, 1), 2004);
    assert_int_equal(read_numbered(f, j, 5), 2000);
    assert_int_equal(read_numbered(f, j, 2005), 0);
    journal_close(j);
}

// The bytes of docs/FORMAT.md, by hand.
static void a_record_has_the_bytes_of_the_format(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_open(f);
    struct record r = {.seq = 1,
                       .time_ns = 0x0102030405060708,
                       .kind = 0x090a,
                       .semantics = 0x0b0c,
                       .payload = TEXT("hello")};
    assert_int_equal(journal_append(j, &r, 1, NULL, 0, NULL), 0);
    journal_close(j);

    static const uint8_t chained[] = {
        0, 0, 0,    0,    0,    0,    0, 0, // the checksum before: none
        0, 0, 0,    0,    0,    0,    0, 0, //
        0, 0, 0,    0,    0,    0,    0, 1, // seq
        0, 1, 0x0b, 0x0c, 0x09, 0x0a, 0, 0, // format, semantics, kind, zero
        1, 2, 3,    4,    5,    6,    7, 8, 'h', 'e', 'l', 'l', 'o', // time, payload
    };
    uint8_t checksum[HASH128_BYTES];
    hash128_encode(hash128(chained, sizeof(chained)), checksum);

    struct table t = table_open(f, "log");
    uint8_t key_bytes[8];
    key_encode(1, key_bytes);
    MDB_val key = {8, key_bytes}, value;
    assert_int_equal(mdb_get(t.txn, t.dbi, &key, &value), 0);
    assert_int_equal(value.mv_size, 37);
    const uint8_t *bytes = value.mv_data;
    assert_memory_equal(bytes, chained + 24, 16);
    assert_memory_equal(bytes + 16, checksum, 16);
    assert_memory_equal(bytes + 32, "hello", 5);
    table_close(&t);
}

static void payloads_have_any_size(void **state)
{
    struct folder *f = *state;
    static const uint32_t sizes[] = {0, 1, 4096, 4097, 1000000, 1100000, 3000000, 5, 0};
    size_t count = sizeof(sizes) / sizeof(sizes[0]);
    char *bytes = malloc(3000000);
    assert_non_null(bytes);
    for (size_t i = 0; i < 3000000; i++)
        bytes[i] = (char)(i * 31 >> 3);
    struct journal *j = must_open(f);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(append_payload(j, text_of(bytes, sizes[i]), NULL), 0);
    journal_close(j);

    j = must_open(f);
    struct journal_cursor *c = cursor_at(f, j, 1);
    struct record r;
    struct journal_row row;
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(journal_cursor_next(c, &r, &row, &f->problem), 0);
        assert_int_equal(r.payload.size, sizes[i]);
        assert_true(text_equal(r.payload, text_of(bytes, sizes[i])));
    }
    assert_int_equal(journal_cursor_next(c, &r, &row, &f->problem), BOSKOS_E_NOT_FOUND);
    journal_cursor_close(c);
    journal_close(j);
    free(bytes);
}

static void a_cursor_follows_what_is_appended(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_open(f);
    struct journal_cursor *c = cursor_at(f, j, 1);
    struct record r;
    struct journal_row row;
    uint64_t seq = 0;
    for (size_t round = 0; round < 20; round++) {
        assert_int_equal(journal_cursor_next(c, &r, &row, &f->problem), BOSKOS_E_NOT_FOUND);
        assert_int_equal(append_numbered(j, 1 + round * 40, NULL), 0);
        for (size_t i = 0; i < 1 + round * 40; i++) {
            assert_int_equal(journal_cursor_next(c, &r, &row, &f->problem), 0);
            assert_int_equal(r.seq, ++seq);
        }
        assert_true(hash128_equal(r.chain, journal_last_chain(j)));
    }
    journal_cursor_close(c);
    journal_close(j);
}

static void a_cursor_opens_only_where_there_are_records(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_open(f);
    struct journal_cursor *c = NULL;
    assert_int_equal(append_numbered(j, 3, NULL), 0);
    assert_int_equal(journal_cursor_open(j, 0, NULL, &c, &f->problem), BOSKOS_E_NOT_FOUND);
    assert_int_equal(journal_cursor_open(j, 5, NULL, &c, &f->problem), BOSKOS_E_NOT_FOUND);
    assert_int_equal(journal_cursor_open(j, 4, NULL, &c, &f->problem), 0);
    journal_cursor_close(c);

    // A checksum from elsewhere has to be that of the record before.
    struct hash128 chain = journal_last_chain(j);
    assert_int_equal(journal_cursor_open(j, 4, &chain, &c, &f->problem), 0);
    journal_cursor_close(c);
    chain.low++;
    assert_int_equal(journal_cursor_open(j, 4, &chain, &c, &f->problem), BOSKOS_E_CORRUPT);
    assert_int_equal(f->problem.seq, 3);
    journal_close(j);
}

static void rows_come_with_their_records(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_open(f);
    assert_int_equal(append_numbered(j, 4, NULL), 0);
    assert_int_equal(append_row(j, 2, "two"), 0);
    assert_int_equal(append_row(j, 4, ""), 0);
    assert_int_equal(append_row(j, 3, "three"), 0); // made again below the last one
    assert_int_equal(append_row(j, 2, "two again"), 0);

    // Records and rows of earlier ones in one transaction.
    char large[JOURNAL_ROW_BYTES_MAX];
    memset(large, 'r', sizeof(large));
    struct record r = {.seq = 5, .time_ns = 2000, .payload = TEXT("five")};
    struct journal_row row = {4, text_of(large, sizeof(large))};
    assert_int_equal(journal_append(j, &r, 1, &row, 1, NULL), 0);

    static const char *const expected[] = {NULL, "two again", "three", NULL, NULL};
    struct journal_cursor *c = cursor_at(f, j, 1);
    for (uint64_t seq = 1; seq <= 5; seq++) {
        assert_int_equal(journal_cursor_next(c, &r, &row, &f->problem), 0);
        assert_int_equal(r.seq, seq);
        if (seq == 4) {
            assert_int_equal(row.seq, 4);
            assert_true(text_equal(row.bytes, text_of(large, sizeof(large))));
        } else if (expected[seq - 1] == NULL) {
            assert_int_equal(row.seq, 0);
        } else {
            assert_int_equal(row.seq, seq);
            assert_true(text_equal(row.bytes, text_from(expected[seq - 1])));
        }
    }
    journal_cursor_close(c);
    journal_close(j);
}

static void figures_grow_with_the_log(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_open(f);
    struct journal_figures before, after;
    journal_figures(j, &before);
    assert_int_equal(append_numbered(j, 10000, NULL), 0);
    journal_figures(j, &after);
    assert_int_equal(after.first, 1);
    assert_int_equal(after.end, 10001);
    assert_int_equal(after.map_bytes, MAP_BYTES);
    assert_true(after.log_bytes_used > before.log_bytes_used + 10000 * 50);
    assert_true(after.log_bytes_file >= after.log_bytes_used);
    journal_close(j);
}

// ---- space ------------------------------------------------------------------

static void a_full_map_changes_nothing(void **state)
{
    struct folder *f = *state;
    struct journal *j = NULL;
    assert_int_equal(try_open(f, 1u << 20, 0, &j), 0);
    assert_int_equal(append_numbered(j, 1000, NULL), 0);
    struct hash128 chain = journal_last_chain(j);
    uint64_t time_ns = journal_last_time_ns(j);

    for (int i = 0; i < 3; i++) {
        assert_int_equal(append_numbered(j, 50000, &f->problem), BOSKOS_E_NOSPACE);
        assert_non_null(strstr(f->problem.text, "full"));
        assert_non_null(strstr(f->problem.text, f->dir));
        assert_int_equal(journal_end(j), 1001);
        assert_int_equal(journal_last_time_ns(j), time_ns);
        assert_true(hash128_equal(journal_last_chain(j), chain));
        assert_int_equal(read_numbered(f, j, 1), 1000);
    }

    // Smaller ones still find room, until there is none, and all that was taken is there.
    uint64_t taken = 1000;
    assert_int_equal(append_numbered(j, 10, &f->problem), 0);
    taken += 10;
    int err = 0;
    while ((err = append_numbered(j, 100, &f->problem)) == 0)
        taken += 100;
    assert_int_equal(err, BOSKOS_E_NOSPACE);
    assert_int_equal(journal_end(j), taken + 1);
    assert_int_equal(read_numbered(f, j, 1), taken);
    journal_close(j);

    // A larger map goes on where the small one ended.
    j = must_open(f);
    assert_int_equal(journal_end(j), taken + 1);
    assert_int_equal(append_numbered(j, 50000, NULL), 0);
    assert_int_equal(read_numbered(f, j, 1), taken + 50000);
    journal_close(j);
}

// Runs in a child, which gets a small file system of its own over the folder. 77: not allowed to.
static int fill_the_disk(struct folder *f)
{
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", f->dir, "tmpfs", 0, "size=2m") != 0)
        return 77;
    struct journal *j = must_open(f);
    if (append_numbered(j, 1000, NULL) != 0) return 1;
    struct hash128 chain = journal_last_chain(j);
    for (int i = 0; i < 3; i++) {
        if (append_numbered(j, 50000, &f->problem) != BOSKOS_E_NOSPACE) return 2;
        if (strstr(f->problem.text, "make room") == NULL) return 3;
        if (journal_end(j) != 1001) return 4;
        if (!hash128_equal(journal_last_chain(j), chain)) return 5;
        if (read_numbered(f, j, 1) != 1000) return 6;
    }

    // A snapshot that finds no room leaves none taken, and smaller batches still go in.
    struct journal_snapshot about = {.seq = 1000};
    struct journal_snapshot_writer *w = NULL;
    if (journal_snapshot_begin(j, &about, &w, &f->problem) != 0) return 7;
    char *bytes = calloc(1, 4 << 20);
    if (bytes == NULL) return 8;
    if (journal_snapshot_add(w, bytes, 4 << 20) != BOSKOS_E_NOSPACE) return 9;
    if (journal_snapshot_commit(w, &f->problem) != BOSKOS_E_NOSPACE) return 10;
    free(bytes);
    if (append_numbered(j, 1000, &f->problem) != 0) return 11;
    if (read_numbered(f, j, 1) != 2000) return 12;
    journal_close(j);
    j = must_open(f);
    if (read_numbered(f, j, 1) != 2000) return 13;
    journal_close(j);
    return 0;
}

static void a_full_disk_changes_nothing(void **state)
{
    struct folder *f = *state;
    int status = -1;
    pid_t child = fork();
    if (child == 0) _exit(fill_the_disk(f));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void a_limit_on_the_file_is_a_full_disk(void **state)
{
    struct folder *f = *state;
    pid_t child = fork();
    if (child == 0) {
        struct journal *j = must_open(f);
        if (append_numbered(j, 1000, NULL) != 0) _exit(1);
        struct rlimit limit = {512u << 10, 512u << 10}; // gives a short write or EFBIG
        (void)signal(SIGXFSZ, SIG_IGN);
        if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(2);
        int err = append_numbered(j, 50000, &f->problem);
        _exit(err == BOSKOS_E_NOSPACE && journal_end(j) == 1001 ? 0 : 3);
    }
    assert_child_ends_well(child);
    struct journal *j = must_open(f);
    assert_int_equal(read_numbered(f, j, 1), 1000);
    journal_close(j);
}

// ---- crashes ----------------------------------------------------------------

// Appends until it is killed and says through the pipe what is durable. When it gets more time than
// the map has room for it waits.
static void append_for_ever(struct folder *f, int out)
{
    struct journal *j = NULL;
    if (try_open(f, MAP_BYTES, 0, &j) != 0) _exit(1);
    for (size_t i = 0;; i++) {
        int err = append_numbered(j, 1 + i % 50, NULL);
        if (err == BOSKOS_E_NOSPACE)
            for (;;)
                (void)pause();
        if (err != 0) _exit(2);
        uint64_t last = journal_end(j) - 1;
        if (i % 3 == 0 && append_row(j, last, "row") != 0) _exit(3);
        if (write(out, &last, sizeof(last)) != sizeof(last)) _exit(4);
    }
}

static void what_was_acknowledged_survives_a_kill(void **state)
{
    struct folder *f = *state;
    uint64_t before = 0;
    for (int round = 0; round < KILL_ROUNDS; round++) {
        int ends[2];
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            (void)close(ends[0]);
            append_for_ever(f, ends[1]);
        }
        (void)close(ends[1]);

        // The first acknowledgement, some more time, the kill, and then all that was said before
        // it.
        uint64_t acknowledged = 0, last = 0;
        const struct timespec pause = {.tv_nsec = (5 + round * 7) * 1000000L};
        assert_int_equal(read(ends[0], &last, sizeof(last)), sizeof(last));
        acknowledged = last;
        (void)nanosleep(&pause, NULL);
        assert_int_equal(kill(child, SIGKILL), 0);
        while (read(ends[0], &last, sizeof(last)) == sizeof(last))
            acknowledged = last;
        (void)close(ends[0]);
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));

        struct journal *j = must_open(f);
        assert_true(journal_end(j) > acknowledged);
        assert_true(acknowledged > before);
        assert_int_equal(read_numbered(f, j, 1), journal_end(j) - 1);
        before = journal_end(j) - 1;
        journal_close(j);
    }
}

// ---- threads ----------------------------------------------------------------

struct follower {
    struct journal *j;
    uint64_t target;
    int err;
};

static void *follow(void *argument)
{
    struct follower *follower = argument;
    struct journal_cursor *c = NULL;
    struct record r = {0};
    struct journal_row row;
    follower->err = journal_cursor_open(follower->j, 1, NULL, &c, NULL);
    while (follower->err == 0 && r.seq < follower->target) {
        int err = journal_cursor_next(c, &r, &row, NULL);
        if (err == BOSKOS_E_NOT_FOUND)
            (void)sched_yield();
        else
            follower->err = err;
    }
    journal_cursor_close(c);
    return NULL;
}

static void cursors_of_other_threads_follow(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_open(f);
    struct follower followers[2] = {{j, 5000, 0}, {j, 5000, 0}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, follow, &followers[i]), 0);
    for (int i = 0; i < 50; i++)
        assert_int_equal(append_numbered(j, 100, NULL), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(followers[i].err, 0);
    }
    journal_close(j);
}

static void network_file_systems_are_known(void **state)
{
    (void)state;
    assert_string_equal(journal_network_name(0x6969), "nfs");
    assert_string_equal(journal_network_name(0xFF534D42), "cifs");
    assert_string_equal(journal_network_name(0x65735546), "fuse");
    assert_null(journal_network_name(0));
    assert_null(journal_network_name(0xEF53));     // ext4
    assert_null(journal_network_name(0x9123683E)); // btrfs
    assert_null(journal_network_name(0x01021994)); // tmpfs, one digit from 9p
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_journal_is_empty_and_private),
        TEST(no_descriptor_outlives_exec),
        TEST(the_data_folder_is_made_in_a_folder_that_is_there),
        TEST(a_plain_file_is_no_data_folder),
        TEST(what_lies_beside_the_journal_is_left_alone),
        TEST(a_creation_that_did_not_end_is_begun_again),
        TEST(a_lost_log_is_not_taken_for_a_new_one),
        TEST(a_file_that_is_not_lmdb_is_refused),
        TEST(a_folder_that_cannot_be_written_is_named),
        TEST(address_space_that_is_not_there_is_named),
        TEST(a_second_holder_is_refused_at_once),
        TEST(a_reader_is_waited_for),
        TEST(records_survive_and_the_chain_goes_on),
        TEST(a_record_has_the_bytes_of_the_format),
        TEST(payloads_have_any_size),
        TEST(a_cursor_follows_what_is_appended),
        TEST(a_cursor_opens_only_where_there_are_records),
        TEST(rows_come_with_their_records),
        TEST(figures_grow_with_the_log),
        TEST(a_full_map_changes_nothing),
        TEST(a_full_disk_changes_nothing),
        TEST(a_limit_on_the_file_is_a_full_disk),
        TEST(what_was_acknowledged_survives_a_kill),
        TEST(cursors_of_other_threads_follow),
        TEST(network_file_systems_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
