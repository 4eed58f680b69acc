// Tests of the journal beside other processes that have a slot in LMDB's table of readers, or are
// about to take one: killed or stopped they must not harm whoever appends.
#include "tests/test_journal.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/banned.h"

#define MUTEX_AT 8 // in lock.mdb, behind two numbers of 32 bits

// Begins to read and says so; never ends the transaction.
static void read_for_ever(const struct folder *f, int out)
{
    char path[PATH_BYTES];
    MDB_env *env = NULL;
    MDB_txn *txn = NULL;
    (void)snprintf(path, sizeof(path), "%s/journal", f->dir);
    bool good = mdb_env_create(&env) == 0 && mdb_env_open(env, path, MDB_RDONLY, 0) == 0 &&
                mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) == 0;
    if (!good || write(out, "r", 1) != 1) _exit(1);
    for (;;)
        (void)pause();
}

static void a_killed_reader_is_cleared(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_open(f);
    int ends[2];
    char byte = 0;
    uint32_t cleared = 7;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) read_for_ever(f, ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_int_equal(journal_readers_check(j, &cleared), 0);
    assert_int_equal(cleared, 0); // it lives
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(journal_readers_check(j, &cleared), 0);
    assert_int_equal(cleared, 1);
    (void)close(ends[0]);
    (void)close(ends[1]);
    journal_close(j);
}

// Takes the mutex of LMDB's table of readers as a process has it that was stopped while it took a
// slot, and never lets go.
static void hold_readers_mutex(const struct folder *f, int out)
{
    char path[PATH_BYTES];
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    int fd = open(path_in(f, "journal/lock.mdb", path), O_RDWR);
    char *table = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (table == MAP_FAILED ||
        pthread_mutex_lock((pthread_mutex_t *)(void *)(table + MUTEX_AT)) != 0)
        _exit(1);
    if (write(out, "h", 1) != 1) _exit(1);
    for (;;)
        (void)pause();
}

static void *ask_figures(void *context)
{
    struct journal_figures figures;
    journal_figures(context, &figures);
    return figures.log_bytes_used > 0 && journal_free_bytes(context) > 0 ? context : NULL;
}

// All that a daemon does beside other processes, while one of them is stopped at a bad moment.
static void a_stopped_reader_stops_nobody(void **state)
{
    struct folder *f = *state;
    const struct journal_options options = {.dir = f->dir, .map_bytes = MAP_BYTES, .ahead = true};
    struct journal *j = NULL;
    struct journal_cursor *c = NULL;
    struct record r;
    struct journal_row row;
    pthread_t threads[3];
    uint32_t cleared = 7;
    int ends[2];
    char byte = 0;
    assert_int_equal(journal_open(&options, &j, &f->problem), 0);
    for (int i = 0; i < 3; i++) { // so that there are free pages
        assert_int_equal(append_numbered(j, 20, NULL), 0);
        assert_int_equal(journal_drain(j, &f->problem), 0);
    }
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) hold_readers_mutex(f, ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 1);

    (void)alarm(30); // who waits for the mutex waits for ever
    for (int round = 0; round < 100; round++) {
        assert_int_equal(append_numbered(j, 1, NULL), 0);
        assert_int_equal(journal_cursor_open(j, 1, NULL, &c, &f->problem), 0);
        assert_int_equal(journal_cursor_next(c, &r, &row, &f->problem), 0);
        for (int i = 0; i < 3; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, ask_figures, j), 0);
        for (int i = 0; i < 3; i++) {
            void *answer = NULL;
            assert_int_equal(pthread_join(threads[i], &answer), 0);
            assert_ptr_equal(answer, j);
        }
        journal_cursor_close(c);
        assert_int_equal(journal_readers_check(j, &cleared), 0);
        assert_int_equal(cleared, 0);
    }
    (void)alarm(0);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    (void)close(ends[0]);
    (void)close(ends[1]);
    journal_close(j);
    j = must_open(f); // LMDB takes over a mutex whose owner died
    journal_close(j);
}

// Reads all the time, in a process group of its own: only there Ctrl-Z stops it.
static void refresh_for_ever(const struct folder *f, int out)
{
    struct journal_options options = {.dir = f->dir, .map_bytes = MAP_BYTES};
    struct journal *j = NULL;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    bool good = setpgid(0, 0) == 0 && journal_open_read(&options, &j, NULL) == 0 &&
                journal_is_held(j) && write(out, "r", 1) == 1;
    while (good)
        good = journal_refresh(j, NULL) == 0;
    _exit(1);
}

// Has the process a slot with a transaction? The slots are of 64 bytes: transaction, process.
static bool is_inside(const char *table, size_t size, pid_t pid)
{
    for (size_t at = 64; at + 64 <= size; at += 64) {
        size_t transaction;
        pid_t owner;
        memcpy(&transaction, table + at, sizeof(transaction));
        memcpy(&owner, table + at + sizeof(transaction), sizeof(owner));
        if (owner == pid && transaction != SIZE_MAX) return true;
    }
    return false;
}

static void ctrl_z_waits_for_the_end_of_a_read(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_open(f);
    char path[PATH_BYTES], byte = 0;
    struct stat status;
    int ends[2], how = 0;
    assert_int_equal(append_numbered(j, 20, NULL), 0);
    assert_int_equal(pipe(ends), 0);
    // Closed only after the journal: POSIX lets go of all locks of a file with the first close.
    int fd = open(path_in(f, "journal/lock.mdb", path), O_RDWR);
    assert_int_equal(fstat(fd, &status), 0);
    size_t size = (size_t)status.st_size;
    char *table = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(table != MAP_FAILED);
    pthread_mutex_t *mutex = (pthread_mutex_t *)(void *)(table + MUTEX_AT);
    pid_t child = fork();
    if (child == 0) refresh_for_ever(f, ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    for (int i = 0; i < 500; i++) {
        (void)usleep(200);
        assert_int_equal(kill(child, SIGTSTP), 0);
        assert_int_equal(waitpid(child, &how, WUNTRACED), child);
        assert_true(WIFSTOPPED(how));
        assert_false(is_inside(table, size, child));
        assert_int_equal(pthread_mutex_trylock(mutex), 0);
        assert_int_equal(pthread_mutex_unlock(mutex), 0);
        assert_int_equal(kill(child, SIGCONT), 0);
    }
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    journal_close(j);
    (void)munmap(table, size);
    (void)close(fd);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_killed_reader_is_cleared),
        TEST(a_stopped_reader_stops_nobody),
        TEST(ctrl_z_waits_for_the_end_of_a_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
