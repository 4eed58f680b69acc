// Tests of a journal that is opened only to be read: alone nothing is changed, and beside somebody
// who has it all is seen that was committed, whatever that one does.
#include "tests/test_journal.h"

#include <errno.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"
#include "tests/journal_writer.h"

#include "base/banned.h"

#define NOBODY 65534
#define FILES_MAX 32
#define STRETCH 2048 // records, as journal/cursor.c has it
#define ROUNDS 120   // of a writer that comes and goes

// A journal that is closed, with so many records.
static void journal_make(const struct folder *f, uint64_t count)
{
    struct writer w = writer_start(f->dir);
    must(&w, OPEN, MAP_BYTES);
    must(&w, APPEND, count);
    must(&w, SNAPSHOT, count / 2);
    writer_end(&w, false);
}

// ---- the reader -------------------------------------------------------------

static char noticed[512];

static void note(void *context, const char *what)
{
    (void)context;
    (void)snprintf(noticed, sizeof(noticed), "%s", what);
}

static int try_read(struct folder *f, uint64_t map_bytes, struct journal **j)
{
    struct journal_options options = {.dir = f->dir, .map_bytes = map_bytes, .noticed = note};
    *j = NULL;
    noticed[0] = '\0';
    f->problem = (struct journal_problem){0};
    return journal_open_read(&options, j, &f->problem);
}

static struct journal *must_read(struct folder *f)
{
    struct journal *j = NULL;
    int err = try_read(f, 0, &j);
    if (err != 0) fail_msg("journal_open_read: %d %s", err, f->problem.text);
    return j;
}

static void assert_refused(struct folder *f, int err, const char *text)
{
    struct journal *j = NULL;
    int found = try_read(f, 0, &j);
    journal_close(j);
    assert_int_equal(found, err);
    if (strstr(f->problem.text, text) == NULL) fail_msg("%s: no %s", f->problem.text, text);
}

static void refresh(struct folder *f, struct journal *j, bool is_held)
{
    int err = journal_refresh(j, &f->problem);
    if (err != 0) fail_msg("journal_refresh: %d %s", err, f->problem.text);
    assert_int_equal(journal_is_held(j), is_held);
}

// Reads up to `to` and returns 0, or the error that came before.
static int read_to(struct folder *f, struct journal_cursor *c, uint64_t to)
{
    struct record r = {0};
    struct journal_row row;
    int err = 0;
    while (err == 0 && r.seq < to)
        err = journal_cursor_next(c, &r, &row, &f->problem);
    return err;
}

static void must_read_to(struct folder *f, struct journal_cursor *c, uint64_t to)
{
    int err = read_to(f, c, to);
    if (err != 0) fail_msg("up to %" PRIu64 ": %d %s", to, err, f->problem.text);
}

// ---- alone ------------------------------------------------------------------

struct file {
    char name[64];
    struct stat status;
    struct hash128 content;
};

struct listing {
    struct file files[FILES_MAX];
    size_t count;
};

static struct listing *listed;
static size_t listed_from;

static int list_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)type, (void)walk;
    struct file *file = &listed->files[listed->count++];
    assert_true(listed->count <= FILES_MAX);
    (void)snprintf(file->name, sizeof(file->name), "%s", path + listed_from);
    file->status = *status;
    if (!S_ISREG(status->st_mode)) return 0;
    char *bytes = malloc((size_t)status->st_size + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(bytes != NULL && fd >= 0);
    assert_int_equal(read(fd, bytes, (size_t)status->st_size), status->st_size);
    file->content = hash128(bytes, (size_t)status->st_size);
    (void)close(fd);
    free(bytes);
    return 0;
}

static void list(const struct folder *f, struct listing *ret)
{
    *ret = (struct listing){0};
    listed = ret;
    listed_from = strlen(f->dir);
    assert_int_equal(nftw(f->dir, list_one, 16, FTW_PHYS), 0);
}

static const struct file *file_named(const struct listing *l, const char *name)
{
    for (size_t i = 0; i < l->count; i++) {
        if (strcmp(l->files[i].name, name) == 0) return &l->files[i];
    }
    fail_msg("%s is gone", name);
    abort(); // fail_msg does not return
}

static bool is_same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static void assert_same(const struct listing *before, const struct listing *after)
{
    assert_int_equal(before->count, after->count);
    for (size_t i = 0; i < before->count; i++) {
        const struct file *a = &before->files[i], *b = file_named(after, a->name);
        bool is_same = a->status.st_mode == b->status.st_mode &&
                       a->status.st_ino == b->status.st_ino &&
                       a->status.st_size == b->status.st_size &&
                       is_same_time(a->status.st_mtim, b->status.st_mtim) &&
                       is_same_time(a->status.st_ctim, b->status.st_ctim) &&
                       hash128_equal(a->content, b->content);
        if (!is_same) fail_msg("%s changed", a->name);
    }
}

// Calls every function that reads, on a journal that journal_make made.
static void use_all(struct folder *f, uint64_t count)
{
    struct journal *j = must_read(f);
    struct journal_figures figures;
    struct journal_snapshot about;
    struct journal_snapshot_map *map;
    struct text bytes;
    uint64_t seq = 0, *seqs = NULL;
    size_t snapshots = 0;
    struct buffer version;
    buffer_init(&version);
    assert_false(journal_is_held(j));
    assert_int_equal(journal_first(j), 1);
    assert_int_equal(journal_end(j), count + 1);
    assert_int_equal(journal_last_time_ns(j), 1000 + count);
    assert_int_equal(read_numbered(f, j, 1), count);
    assert_int_equal(journal_find_time(j, 1001, &seq, &f->problem), 0);
    assert_int_equal(seq, 1);
    assert_int_equal(journal_created_by(j, &version, &f->problem), 0);
    assert_true(version.size > 0);
    journal_figures(j, &figures);
    assert_true(figures.log_bytes_used > 0 && figures.log_bytes_file >= figures.log_bytes_used);
    assert_int_equal(journal_snapshots(j, false, &seqs, &snapshots), 0);
    assert_int_equal(snapshots, 1);
    assert_int_equal(journal_snapshot_about(j, seqs[0], &about, &f->problem), 0);
    assert_int_equal(journal_snapshot_open(j, seqs[0], &about, &bytes, &map, &f->problem), 0);
    journal_snapshot_close(map);
    assert_int_equal(journal_refresh(j, &f->problem), 0);
    free(seqs);
    buffer_release(&version);
    journal_close(j);
}

static void reading_alone_changes_nothing(void **state)
{
    struct folder *f = *state;
    static struct listing before, after;
    const char *const missing[] = {"", "journal/lock.mdb", "journal/LOCK"};
    journal_make(f, 1000);
    for (size_t i = 0; i < 3; i++) { // one after the other they are missing, too
        char path[PATH_BYTES];
        if (i > 0) assert_int_equal(unlink(path_in(f, missing[i], path)), 0);
        list(f, &before);
        use_all(f, 1000);
        list(f, &after);
        assert_same(&before, &after);
        assert_int_equal(before.count, 7 - i); // two folders, data, lock, LOCK, WITNESS, snapshot
    }
}

// In a process of its own, which may so become another user. The exit code says how it went.
static int in_child(struct folder *f, int (*work)(struct folder *f))
{
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(work(f));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int become_nobody(void)
{
    if (geteuid() != 0) return 0;
    return setgroups(0, NULL) != 0 || setgid(NOBODY) != 0 || setuid(NOBODY) != 0;
}

// 0: it was read; 2: it was not, and the problem names what the test wants to see named; 1: else.
static int count_all(struct folder *f, const char *wanted)
{
    struct journal *j = NULL;
    struct journal_cursor *c = NULL;
    int err = try_read(f, 0, &j);
    if (err == 0) err = journal_cursor_open(j, 1, NULL, &c, &f->problem);
    if (err == 0) err = read_to(f, c, journal_end(j) - 1);
    journal_cursor_close(c);
    journal_close(j);
    if (err == 0) return 0;
    if (err == BOSKOS_E_IO && strstr(f->problem.text, wanted) != NULL) return 2;
    (void)fprintf(stderr, "%d %s\n", err, f->problem.text);
    return 1;
}

static int read_as_nobody(struct folder *f)
{
    return become_nobody() != 0 ? 1 : count_all(f, "LOCK: cannot read it: Permission denied; run");
}

static int read_data_as_nobody(struct folder *f)
{
    if (become_nobody() != 0) return 1;
    return count_all(f, "data.mdb: cannot read it: Permission denied; run");
}

// Makes it a journal that its user may only read.
static void make_read_only(const struct folder *f)
{
    const char *const names[] = {"journal/LOCK",    "journal/data.mdb", "journal/lock.mdb",
                                 "journal/WITNESS", "journal",          ""};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[PATH_BYTES];
        (void)path_in(f, names[i], path);
        if (geteuid() == 0) assert_int_equal(chown(path, NOBODY, NOBODY), 0);
        assert_int_equal(chmod(path, i < 4 ? 0400 : 0500), 0);
    }
}

static void no_right_to_write_is_needed(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    journal_make(f, 1000);
    make_read_only(f);
    assert_int_equal(in_child(f, read_as_nobody), 0);
    assert_int_equal(chmod(path_in(f, "journal/data.mdb", path), 0), 0);
    assert_int_equal(in_child(f, read_data_as_nobody), 2);
    assert_int_equal(chmod(path_in(f, "journal/LOCK", path), 0), 0);
    assert_int_equal(in_child(f, read_as_nobody), 2);
    assert_int_equal(chmod(path_in(f, "", path), 0700), 0); // to be removed
    assert_int_equal(chmod(path_in(f, "journal", path), 0700), 0);
}

static int mount_read_only(const struct folder *f)
{
    if (unshare(CLONE_NEWNS) != 0) return -1;
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return -1;
    if (mount(f->dir, f->dir, NULL, MS_BIND, NULL) != 0) return -1;
    return mount(NULL, f->dir, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL);
}

static int read_mounted(struct folder *f)
{
    return mount_read_only(f) != 0 ? 77 : count_all(f, "lock.mdb: Read-only file system; run");
}

static void a_file_system_may_be_mounted_only_to_be_read(void **state)
{
    struct folder *f = *state;
    journal_make(f, 1000);
    int code = in_child(f, read_mounted);
    if (code == 77) {
        (void)fprintf(stderr, "SKIPPED: nothing can be mounted here\n");
        skip();
    }
    assert_int_equal(code, 0);
    // Beside a writer LMDB would go without its table of readers.
    struct writer w = writer_start(f->dir);
    must(&w, OPEN, MAP_BYTES);
    assert_int_equal(in_child(f, read_mounted), 2);
    writer_end(&w, false);
}

static void where_there_is_no_journal_none_is_made(void **state)
{
    struct folder *f = *state;
    static struct listing before, after;
    list(f, &before);
    assert_refused(f, BOSKOS_E_NOT_FOUND, "check --data-dir");
    list(f, &after);
    assert_same(&before, &after);
}

static void an_empty_journal_has_no_time(void **state)
{
    struct folder *f = *state;
    uint64_t seq = 7;
    struct writer w = writer_start(f->dir);
    must(&w, OPEN, MAP_BYTES);
    writer_end(&w, false);
    struct journal *j = must_read(f);
    assert_int_equal(journal_end(j), 1);
    assert_int_equal(read_numbered(f, j, 1), 0);
    assert_int_equal(journal_find_time(j, UINT64_MAX, &seq, &f->problem), 0);
    assert_int_equal(seq, 0);
    journal_close(j);
}

static void a_time_is_found_at_every_boundary(void **state)
{
    struct folder *f = *state;
    const uint64_t times[] = {100, 100, 100, 200, 201, 300, 300, 300, 300, 310};
    const size_t count = sizeof(times) / sizeof(times[0]);
    struct writer w = writer_start(f->dir);
    must(&w, OPEN, MAP_BYTES);
    for (size_t i = 0; i < count; i++)
        must(&w, APPEND_TIME, times[i]);
    for (size_t first = 0; first < count - 1; first += 2) { // alone, and more and more trimmed
        if (first > 0) {
            must(&w, OPEN, MAP_BYTES);
            must(&w, TRIM, first + 1);
        }
        must(&w, CLOSE, 0);
        struct journal *j = must_read(f);
        for (uint64_t t = 0; t < 320; t++) {
            uint64_t expected = 0, seq = 99;
            for (size_t i = first; i < count && times[i] <= t; i++)
                expected = i + 1;
            assert_int_equal(journal_find_time(j, t, &seq, &f->problem), 0);
            assert_int_equal(seq, expected);
        }
        journal_close(j);
    }
    writer_end(&w, false);
}

// ---- damage -----------------------------------------------------------------

// Replaces bytes of data.mdb that are there once.
static void patch(const struct folder *f, const char *old, const char *new)
{
    char path[PATH_BYTES];
    struct stat status;
    int fd = open(path_in(f, "journal/data.mdb", path), O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &status), 0);
    char *bytes = malloc((size_t)status.st_size);
    assert_non_null(bytes);
    assert_int_equal(read(fd, bytes, (size_t)status.st_size), status.st_size);
    char *found = memmem(bytes, (size_t)status.st_size, old, strlen(old));
    assert_non_null(found);
    assert_int_equal(pwrite(fd, new, strlen(new), found - bytes), strlen(new));
    (void)close(fd);
    free(bytes);
}

static void damage_is_named(void **state)
{
    struct folder *f = *state;
    struct record r;
    struct journal_row row;
    journal_make(f, 1000);
    patch(f, "record 700", "record 7o0");
    struct journal *j = must_read(f);
    struct journal_cursor *c = cursor_at(f, j, 1);
    must_read_to(f, c, 699);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(journal_cursor_next(c, &r, &row, &f->problem), BOSKOS_E_CORRUPT);
        assert_int_equal(f->problem.seq, 700);
        assert_non_null(strstr(f->problem.text, "data.mdb"));
    }
    journal_cursor_close(c);
    journal_close(j);
}

static void damaged_pages_are_seen_before_lmdb_reads_them(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    uint8_t page[4096];
    journal_make(f, 1000);
    int fd = open(path_in(f, "journal/data.mdb", path), O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    struct stat status;
    int damaged = 0; // also some that are free by now
    assert_int_equal(fstat(fd, &status), 0);
    for (off_t at = 0; at < status.st_size; at += (off_t)sizeof(page)) {
        assert_int_equal(pread(fd, page, sizeof(page), at), sizeof(page));
        if (page[10] != 1 || page[11] != 0) continue; // a branch
        page[12] = page[13] = 0xff;                   // has no room for so many nodes
        assert_int_equal(pwrite(fd, page, sizeof(page), at), sizeof(page));
        damaged++;
    }
    (void)close(fd);
    assert_true(damaged > 0);
    assert_refused(f, BOSKOS_E_CORRUPT, "data.mdb");
    assert_int_equal(truncate(path, 0), 0);
    assert_refused(f, BOSKOS_E_CORRUPT, "missing or empty");
    assert_int_equal(unlink(path), 0);
    assert_refused(f, BOSKOS_E_CORRUPT, "missing or empty");
    assert_false(exists(path));
}

static void copy_file(const char *from, const char *to)
{
    static char bytes[4 << 20];
    int fd = open(from, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    ssize_t size = read(fd, bytes, sizeof(bytes));
    assert_true(size > 0 && size < (ssize_t)sizeof(bytes));
    (void)close(fd);
    assert_true(unlink(to) == 0 || errno == ENOENT);
    file_write(to, bytes, (size_t)size);
}

static void a_log_that_lost_its_end_is_refused(void **state)
{
    struct folder *f = *state;
    char data[PATH_BYTES], older[PATH_BYTES], witness[PATH_BYTES];
    (void)path_in(f, "journal/data.mdb", data);
    (void)path_in(f, "older", older);
    (void)path_in(f, "journal/WITNESS", witness);
    journal_make(f, 10);
    copy_file(data, older);
    struct writer w = writer_start(f->dir);
    must(&w, OPEN, MAP_BYTES);
    must(&w, APPEND, 5);
    writer_end(&w, false);
    copy_file(older, data);
    assert_refused(f, BOSKOS_E_CORRUPT, "acknowledged commands are lost");

    // Without a witness nothing is known of that, which is said; it is not made.
    assert_int_equal(truncate(witness, 63), 0);
    journal_close(must_read(f));
    assert_non_null(strstr(noticed, "WITNESS is damaged"));
    assert_int_equal(unlink(witness), 0);
    journal_close(must_read(f));
    assert_non_null(strstr(noticed, "WITNESS is missing"));
    assert_false(exists(witness));
}

// ---- beside a writer ----------------------------------------------------------

static void what_is_committed_is_read(void **state)
{
    struct folder *f = *state;
    struct writer w = writer_start(f->dir);
    must(&w, OPEN, MAP_BYTES);
    must(&w, APPEND, 10);
    struct journal *j = must_read(f);
    assert_true(journal_is_held(j));
    struct journal_cursor *c = cursor_at(f, j, 1);
    for (uint64_t end = 10; end < 5000; end += 777) {
        must_read_to(f, c, end);
        assert_int_equal(read_to(f, c, end + 1), BOSKOS_E_NOT_FOUND);
        must(&w, APPEND, 777);
        refresh(f, j, true);
        assert_int_equal(journal_end(j), end + 777 + 1);
        assert_int_equal(read_numbered(f, j, 1), end + 777);
    }
    journal_cursor_close(c);
    journal_close(j);
    writer_end(&w, false);
}

static void a_log_that_outgrows_the_map_is_followed(void **state)
{
    struct folder *f = *state;
    struct writer w = writer_start(f->dir);
    struct journal *j = NULL;
    must(&w, OPEN, MAP_BYTES);
    must(&w, APPEND, 10);
    assert_int_equal(try_read(f, 64 * 1024, &j), 0);
    struct journal_cursor *c = cursor_at(f, j, 1);
    for (uint64_t end = 10; end < 20; end++) {
        must_read_to(f, c, end);
        must(&w, APPEND_LARGE, 1 << 20);
    }
    must_read_to(f, c, 20);
    writer_end(&w, true);
    refresh(f, j, false);
    journal_cursor_close(c);
    journal_close(j);
}

static void what_is_trimmed_is_called_so(void **state)
{
    struct folder *f = *state;
    struct record r;
    struct journal_row row;
    struct journal_cursor *other = NULL;
    struct writer w = writer_start(f->dir);
    must(&w, OPEN, MAP_BYTES);
    must(&w, APPEND, 8000);
    struct journal *j = must_read(f);
    struct journal_cursor *c = cursor_at(f, j, 1);
    must_read_to(f, c, 1);
    must(&w, TRIM, 6000);
    must_read_to(f, c, STRETCH); // was copied before
    for (int i = 0; i < 2; i++) {
        assert_int_equal(journal_cursor_next(c, &r, &row, &f->problem), BOSKOS_E_TRIMMED);
        assert_int_equal(f->problem.seq, STRETCH + 1);
    }
    assert_int_equal(journal_first(j), 6000);
    assert_int_equal(journal_cursor_open(j, 5999, NULL, &other, &f->problem), BOSKOS_E_TRIMMED);
    assert_int_equal(journal_cursor_open(j, 8002, NULL, &other, &f->problem), BOSKOS_E_NOT_FOUND);
    must(&w, TRIM, 6400); // which is not known here yet
    assert_int_equal(journal_cursor_open(j, 6000, NULL, &other, &f->problem), BOSKOS_E_TRIMMED);
    assert_int_equal(read_numbered(f, j, 6400), 1601);
    journal_cursor_close(c);
    journal_close(j);
    writer_end(&w, false);
}

static void writers_come_and_go(void **state)
{
    struct folder *f = *state;
    uint64_t end = 1000;
    journal_make(f, end);
    struct writer w = writer_start(f->dir);
    struct journal *j = must_read(f);
    assert_false(journal_is_held(j));
    struct journal_cursor *c = cursor_at(f, j, 1);
    for (int i = 0; i < 6; i++) {
        refresh(f, j, false);
        must_read_to(f, c, end); // from the middle of a stretch
        must(&w, OPEN, MAP_BYTES);
        refresh(f, j, true);
        must(&w, APPEND, 2800);
        end += 2800;
        must_read_to(f, c, end - 2400);
        if (i % 2 == 0) {
            must(&w, CLOSE, 0);
        } else {
            writer_end(&w, true);
            // The reader's environment goes into the child, which does nothing with it.
            w = writer_start(f->dir);
        }
        must_read_to(f, c, end - 10);
    }
    journal_cursor_close(c);
    journal_close(j);
    writer_end(&w, false);
}

static void a_writer_gets_the_lock_beside_a_loop_of_reads(void **state)
{
    struct folder *f = *state;
    journal_make(f, 1000);
    struct writer w = writer_start(f->dir);
    struct clock clock = clock_system();
    struct journal *j = must_read(f);
    for (int i = 0; i < 5; i++) {
        uint64_t from_ns = clock_mono_ns(&clock), seq = 0;
        writer_order(&w, OPEN, MAP_BYTES);
        while (!journal_is_held(j)) {
            assert_int_equal(journal_find_time(j, 1500, &seq, &f->problem), 0);
            assert_int_equal(seq, 500);
            assert_true(clock_mono_ns(&clock) - from_ns < 6 * NS_PER_S);
        }
        assert_int_equal(writer_answer(&w), 0);
        must(&w, CLOSE, 0);
        refresh(f, j, false);
    }
    journal_close(j);
    writer_end(&w, false);
}

static void what_others_do_is_no_error(void **state)
{
    struct folder *f = *state;
    uint64_t rounds = 0, least = 0;
    journal_make(f, 10);
    struct writer w = writer_start(f->dir);
    writer_order(&w, COME_AND_GO, ROUNDS);
    for (; !writer_has_answered(&w); rounds++) {
        struct journal *j = must_read(f);
        struct journal_cursor *c = NULL;
        assert_true(journal_end(j) > least);
        least = journal_end(j) - 1;
        int err = journal_cursor_open(j, journal_first(j), NULL, &c, &f->problem);
        if (err == 0) err = read_to(f, c, least);
        if (err != 0 && err != BOSKOS_E_TRIMMED) fail_msg("%d %s", err, f->problem.text);
        journal_cursor_close(c);
        journal_close(j);
    }
    assert_int_equal(writer_answer(&w), 0);
    assert_true(rounds > 20);
    writer_end(&w, false);
}

static void who_has_the_lock_may_be_about_to_start(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    journal_make(f, 1000);
    struct writer w = writer_start(f->dir);
    must(&w, LOCK, 0);
    assert_int_equal(unlink(path_in(f, "journal/lock.mdb", path)), 0);
    writer_order(&w, LOCK_AND_OPEN, 200);
    struct journal *j = must_read(f); // waits, and makes no lock.mdb
    assert_int_equal(read_numbered(f, j, 1), 1000);
    assert_int_equal(writer_answer(&w), 0);
    refresh(f, j, true);
    journal_close(j);
    writer_end(&w, false);
}

// ---- other files take the place of those that are open --------------------------

// LMDB believes lock.mdb, which lives on with a reader, about a data.mdb that is another one.
static void a_compaction_beside_a_reader_harms_nobody(void **state)
{
    struct folder *f = *state;
    uint64_t end = 2000;
    journal_make(f, end);
    struct writer w = writer_start(f->dir);
    must(&w, OPEN, MAP_BYTES);
    struct journal *j = must_read(f);
    struct journal_cursor *c = cursor_at(f, j, 1);
    for (uint64_t i = 0; i < 4; i++) { // an even and an odd number of transactions
        must_read_to(f, c, end - 1000);
        refresh(f, j, true);
        must(&w, APPEND_LARGE, 1000 + i);
        must(&w, CLOSE, 0);
        must(&w, COMPACT, 0);
        must(&w, OPEN, MAP_BYTES);
        must(&w, APPEND_LARGE, 1000 + i);
        end += 2;
        must(&w, APPEND, 1500);
        end += 1500;
        must_read_to(f, c, end - 700);
        must(&w, CLOSE, 0);
        must(&w, COMPACT, 0);
        refresh(f, j, false);
        assert_int_equal(journal_end(j), end + 1);
        must_read_to(f, c, end - 1);
        must(&w, OPEN, MAP_BYTES);
    }
    journal_cursor_close(c);
    journal_close(j);
    writer_end(&w, false);
}

static void after_a_repair_the_new_journal_is_read(void **state)
{
    struct folder *f = *state;
    struct record r;
    struct journal_row row;
    journal_make(f, 7000);
    struct writer w = writer_start(f->dir);
    struct journal *j = must_read(f);
    struct journal_cursor *kept = cursor_at(f, j, 1), *lost = cursor_at(f, j, 1);
    must_read_to(f, kept, 4000);
    must_read_to(f, lost, 3 * STRETCH);
    must(&w, REPAIR, 5000);
    must_read_to(f, kept, 5000);
    assert_int_equal(journal_cursor_next(kept, &r, &row, &f->problem), 0);
    assert_true(text_equal(r.payload, TEXT("repaired")));
    assert_int_equal(read_to(f, lost, 7000), BOSKOS_E_IO);
    assert_non_null(strstr(f->problem.text, "replaced"));
    assert_int_equal(read_to(f, lost, 7000), BOSKOS_E_IO);
    refresh(f, j, false);
    assert_int_equal(journal_end(j), 5002);
    must(&w, OPEN, MAP_BYTES);
    refresh(f, j, true);
    journal_cursor_close(kept);
    journal_cursor_close(lost);
    journal_close(j);
    writer_end(&w, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(reading_alone_changes_nothing),
        TEST(no_right_to_write_is_needed),
        TEST(a_file_system_may_be_mounted_only_to_be_read),
        TEST(where_there_is_no_journal_none_is_made),
        TEST(an_empty_journal_has_no_time),
        TEST(a_time_is_found_at_every_boundary),
        TEST(damage_is_named),
        TEST(damaged_pages_are_seen_before_lmdb_reads_them),
        TEST(a_log_that_lost_its_end_is_refused),
        TEST(what_is_committed_is_read),
        TEST(a_log_that_outgrows_the_map_is_followed),
        TEST(what_is_trimmed_is_called_so),
        TEST(writers_come_and_go),
        TEST(a_writer_gets_the_lock_beside_a_loop_of_reads),
        TEST(what_others_do_is_no_error),
        TEST(who_has_the_lock_may_be_about_to_start),
        TEST(a_compaction_beside_a_reader_harms_nobody),
        TEST(after_a_repair_the_new_journal_is_read),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("journal_read", tests, NULL, NULL);
}
