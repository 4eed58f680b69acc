// tests/test_journal.h
//
// What the programs that test the journal share: a folder of their own, numbered records, and the
// tables of a closed journal. The folder is a real one: LMDB, locks and files are as they are in
// the daemon, only the map is small.
#ifndef TESTS_TEST_JOURNAL_H
#define TESTS_TEST_JOURNAL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <lmdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "journal/journal.h"

#define MAP_BYTES (64ull << 20)
#define PATH_BYTES 256

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

struct folder {
    char dir[64];
    struct journal_problem problem;
};

static inline int remove_one(const char *path, const struct stat *status, int type,
                             struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path);
}

static inline int setup(void **state)
{
    struct folder *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/boskosd-test-journal-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    *state = f;
    return 0;
}

static inline int teardown(void **state)
{
    struct folder *f = *state;
    (void)nftw(f->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

static inline const char *path_in(const struct folder *f, const char *name, char path[PATH_BYTES])
{
    (void)snprintf(path, PATH_BYTES, "%s/%s", f->dir, name);
    return path;
}

static inline struct folder folder_in(const struct folder *f, const char *name)
{
    struct folder inner = {0};
    int size = snprintf(inner.dir, sizeof(inner.dir), "%s/%s", f->dir, name);
    assert_true(size > 0 && (size_t)size < sizeof(inner.dir));
    return inner;
}

static inline int try_open(struct folder *f, uint64_t map_bytes, uint32_t lock_wait_ms,
                           struct journal **j)
{
    struct journal_options options = {
        .dir = f->dir, .map_bytes = map_bytes, .lock_wait_ms = lock_wait_ms};
    *j = NULL;
    f->problem = (struct journal_problem){0};
    return journal_open(&options, j, &f->problem);
}

static inline struct journal *must_open(struct folder *f)
{
    struct journal *j = NULL;
    int err = try_open(f, MAP_BYTES, 0, &j);
    if (err != 0) fail_msg("journal_open: %d %s", err, f->problem.text);
    return j;
}

static inline int append_payload(struct journal *j, struct text payload,
                                 struct journal_problem *problem)
{
    uint64_t seq = journal_end(j);
    struct record r = {
        .seq = seq, .time_ns = 1000 + seq, .kind = 7, .semantics = 3, .payload = payload};
    return journal_append(j, &r, 1, NULL, 0, problem);
}

// Appends `count` records whose payload says their number, in one transaction.
static inline int append_numbered(struct journal *j, size_t count, struct journal_problem *problem)
{
    struct record *records = calloc(count, sizeof(*records));
    char(*payloads)[32] = calloc(count, sizeof(*payloads));
    assert_true(records != NULL && payloads != NULL);
    for (size_t i = 0; i < count; i++) {
        uint64_t seq = journal_end(j) + i;
        int size = snprintf(payloads[i], sizeof(payloads[i]), "record %" PRIu64, seq);
        records[i] = (struct record){.seq = seq,
                                     .time_ns = 1000 + seq,
                                     .kind = 7,
                                     .semantics = 3,
                                     .payload = text_of(payloads[i], (size_t)size)};
    }
    int err = journal_append(j, records, count, NULL, 0, problem);
    free(payloads);
    free(records);
    return err;
}

static inline int append_row(struct journal *j, uint64_t seq, const char *bytes)
{
    struct journal_row row = {seq, text_from(bytes)};
    return journal_append(j, NULL, 0, &row, 1, NULL);
}

static inline struct journal_cursor *cursor_at(struct folder *f, struct journal *j, uint64_t from)
{
    struct journal_cursor *c = NULL;
    int err = journal_cursor_open(j, from, NULL, &c, &f->problem);
    if (err != 0) fail_msg("journal_cursor_open: %d %s", err, f->problem.text);
    return c;
}

// Reads and checks numbered records up to the end; returns how many, or the error below 0.
static inline int64_t read_numbered(struct folder *f, struct journal *j, uint64_t from)
{
    struct journal_cursor *c = cursor_at(f, j, from);
    struct record r;
    struct journal_row row;
    int64_t count = 0;
    int err = 0;
    while ((err = journal_cursor_next(c, &r, &row, &f->problem)) == 0) {
        char payload[32];
        int size = snprintf(payload, sizeof(payload), "record %" PRIu64, from + (uint64_t)count);
        assert_int_equal(r.seq, from + (uint64_t)count);
        assert_int_equal(r.time_ns, 1000 + r.seq);
        assert_int_equal(r.kind, 7);
        assert_int_equal(r.semantics, 3);
        assert_true(text_equal(r.payload, text_of(payload, (size_t)size)));
        count++;
    }
    journal_cursor_close(c);
    return err == BOSKOS_E_NOT_FOUND ? count : err;
}

// A table of the closed journal, to do damage to.
struct table {
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
};

static inline struct table table_open(const struct folder *f, const char *name)
{
    char path[PATH_BYTES];
    struct table t = {0};
    assert_int_equal(mdb_env_create(&t.env), 0);
    assert_int_equal(mdb_env_set_maxdbs(t.env, 3), 0);
    assert_int_equal(mdb_env_set_mapsize(t.env, MAP_BYTES), 0);
    assert_int_equal(mdb_env_open(t.env, path_in(f, "journal", path), 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(t.env, NULL, 0, &t.txn), 0);
    assert_int_equal(mdb_dbi_open(t.txn, name, 0, &t.dbi), 0);
    return t;
}

static inline void table_close(struct table *t)
{
    assert_int_equal(mdb_txn_commit(t->txn), 0);
    mdb_env_close(t->env);
}

static inline void key_encode(uint64_t seq, uint8_t ret_key[8])
{
    for (int i = 0; i < 8; i++)
        ret_key[i] = (uint8_t)(seq >> (56 - 8 * i));
}

static inline unsigned mode_of(const char *path)
{
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    return status.st_mode & 07777;
}

static inline bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static inline void file_write(const char *path, const void *bytes, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), size);
    (void)close(fd);
}

// No file may grow beyond this, nor be written there; what has it already keeps it.
static inline void limit_files(uint64_t bytes)
{
    struct rlimit limit;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

#endif
