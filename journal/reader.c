#include "journal/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/banned.h"

// A journal that is opened only to be read, in one of two ways, which may change from one read to
// the next. Alone: LOCK is held shared during a read, so that nobody begins to write, and LMDB is
// used without its own locks: nothing is written, and no right to write is needed. Beside a daemon,
// which has LOCK: through LMDB's table of readers.

#define BEGIN_TRIES_MAX 5      // the way, the map or the folder may change at the moment of a read
#define MAP_AHEAD (1ull << 30) // so that the map seldom must follow a file that grows

static char *lock_path(const struct journal *j)
{
    return journal_path(j->path, "LOCK");
}

// Opens LOCK, if it is there: a copy of a folder may be without. 0 or an errno.
static int lock_open(struct journal *j, const char *path)
{
    if (j->lock_fd >= 0 && journal_is_still(j->lock_fd, path)) return 0;
    if (j->lock_fd >= 0) (void)close(j->lock_fd);
    j->lock_fd = open(path, O_RDONLY | O_CLOEXEC);
    return j->lock_fd >= 0 || errno == ENOENT ? 0 : errno;
}

// Takes the lock shared unless somebody has it. 0 or an errno.
static int lock_share(struct journal *j, bool *ret_is_beside)
{
    char *path = lock_path(j);
    if (path == NULL) return ENOMEM;
    int rc = lock_open(j, path);
    free(path);
    bool is_beside = false;
    if (rc == 0 && j->lock_fd >= 0) {
        struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
        rc = fcntl(j->lock_fd, F_OFD_SETLK, &lock) == 0 ? 0 : errno;
        is_beside = rc == EAGAIN || rc == EACCES;
    }
    if (rc != 0 && !is_beside) return rc;
    *ret_is_beside = is_beside;
    return 0;
}

static void lock_release(struct journal *j)
{
    if (j->is_beside || j->lock_fd < 0) return;
    struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    (void)fcntl(j->lock_fd, F_OFD_SETLK, &lock);
}

// Compaction and repair put another file in the place of the one that is open.
static int data_stat(const struct journal *j, struct stat *ret_status)
{
    char *path = journal_path(j->path, DATA_NAME);
    if (path == NULL) return ENOMEM;
    int rc = stat(path, ret_status) == 0 ? 0 : errno;
    free(path);
    return rc;
}

static void environment_drop(struct journal *j)
{
    if (j->env != NULL) mdb_env_close(j->env);
    j->env = NULL;
}

static int environment_find(struct journal *j, struct journal_problem *problem)
{
    struct stat status;
    int rc = data_stat(j, &status);
    if (rc == ENOENT || (rc == 0 && status.st_size == 0)) {
        return journal_problem(problem, BOSKOS_E_CORRUPT, 0, "%s/" DATA_NAME " is missing or empty",
                               j->path);
    }
    if (rc != 0) return journal_failed(problem, rc, j->path, "read " DATA_NAME);
    if (j->env != NULL && j->data_file == status.st_ino) return 0;
    environment_drop(j);
    j->data_file = status.st_ino;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    j->map_bytes = ((uint64_t)status.st_size + MAP_AHEAD) / page * page;
    if (j->is_beside) return journal_environment_join(j, problem);
    int err = journal_pages_check(j->path, problem);
    return err != 0 ? err : journal_environment_read(j, DATA_NAME, problem);
}

static int reader_begin(struct journal *j, MDB_txn **ret_txn, struct journal_problem *problem)
{
    int rc = 0;
    for (int i = 0; i < BEGIN_TRIES_MAX; i++) {
        bool is_beside = false;
        rc = lock_share(j, &is_beside);
        if (rc != 0) return journal_failed(problem, rc, j->path, "lock it for reading");
        if (is_beside != j->is_beside) environment_drop(j);
        j->is_beside = is_beside;
        int err = environment_find(j, problem);
        if (err == 0) {
            rc = mdb_txn_begin(j->env, NULL, MDB_RDONLY, ret_txn);
            if (rc == 0) return 0;
        }
        lock_release(j);
        if (err != 0) return err;
        environment_drop(j); // the map has grown (MDB_MAP_RESIZED), or what else it is
    }
    return journal_failed(problem, rc, j->path, "read the log");
}

int journal_read_begin(struct journal *j, MDB_txn **ret_txn, struct journal_problem *problem)
{
    if (j->is_reader) return reader_begin(j, ret_txn, problem);
    int rc = mdb_txn_begin(j->env, NULL, MDB_RDONLY, ret_txn);
    return rc == 0 ? 0 : journal_failed(problem, rc, j->path, "read the log");
}

void journal_read_end(struct journal *j, MDB_txn *txn)
{
    mdb_txn_abort(txn);
    if (j->is_reader) lock_release(j);
}

int journal_open_read(const struct journal_options *options, struct journal **ret_journal,
                      struct journal_problem *problem)
{
    struct stat status;
    int err = BOSKOS_E_NOMEM;
    struct journal *j = journal_new(options);
    if (j != NULL) j->path = journal_path(options->dir, JOURNAL_NAME);
    if (j == NULL || j->path == NULL) {
        (void)journal_problem(problem, err, 0, "%s: no memory", options->dir);
        goto out;
    }
    j->is_reader = true;
    if (stat(j->path, &status) != 0) {
        err = errno == ENOENT || errno == ENOTDIR
                  ? journal_problem(problem, BOSKOS_E_NOT_FOUND, 0,
                                    "%s is not there; check --data-dir", j->path)
                  : journal_failed(problem, errno, j->path, "read it");
        goto out;
    }
    err = journal_ends_find(j, problem);
    if (err == 0 && !j->is_beside) err = witness_check(j, problem);
    if (err != 0) goto out;
    *ret_journal = j;
    j = NULL;
out:
    journal_close(j);
    return err;
}

int journal_refresh(struct journal *j, struct journal_problem *problem)
{
    ASSERT(j->is_reader);
    return journal_ends_find(j, problem);
}

bool journal_is_held(const struct journal *j)
{
    return j->is_beside;
}

// ---- looking things up --------------------------------------------------------

static int time_read(struct journal *j, MDB_txn *txn, uint64_t seq, uint64_t *ret_time_ns,
                     struct journal_problem *problem)
{
    uint8_t bytes[KEY_BYTES];
    struct record r;
    bytes_put_u64(bytes, seq);
    MDB_val key = {KEY_BYTES, bytes}, value;
    int rc = mdb_get(txn, j->log, &key, &value);
    if (rc == MDB_NOTFOUND) {
        return journal_problem(problem, BOSKOS_E_NOT_FOUND, seq,
                               "%s has no record %" PRIu64 "; it has %" PRIu64 " up to %" PRIu64,
                               j->path, seq, journal_first(j), journal_end(j) - 1);
    }
    if (rc != 0) return journal_failed(problem, rc, j->path, "read the log");
    int err = record_value_check(j->path, seq, &value, NULL, &r, problem);
    if (err == 0) *ret_time_ns = r.time_ns;
    return err;
}

int journal_time_of(struct journal *j, uint64_t seq, uint64_t *ret_time_ns,
                    struct journal_problem *problem)
{
    MDB_txn *txn = NULL;
    int err = journal_read_begin(j, &txn, problem);
    if (err != 0) return err;
    err = time_read(j, txn, seq, ret_time_ns, problem);
    journal_read_end(j, txn);
    return err;
}

// Times do not go back, so that halving finds it.
int journal_find_time(struct journal *j, uint64_t time_ns, uint64_t *ret_seq,
                      struct journal_problem *problem)
{
    MDB_txn *txn = NULL;
    int err = journal_read_begin(j, &txn, problem);
    if (err != 0) return err;
    err = journal_ends_read(j, txn, problem);
    uint64_t low = journal_first(j), high = journal_end(j); // what is below low is not after
    while (err == 0 && low < high) {
        uint64_t middle = low + (high - low) / 2, at_ns = 0;
        err = time_read(j, txn, middle, &at_ns, problem);
        if (at_ns <= time_ns)
            low = middle + 1;
        else
            high = middle;
    }
    journal_read_end(j, txn);
    if (err == BOSKOS_E_NOT_FOUND) err = BOSKOS_E_CORRUPT; // a gap
    if (err != 0) return err;
    *ret_seq = low == journal_first(j) ? 0 : low - 1;
    return 0;
}

int journal_created_by(struct journal *j, struct buffer *out, struct journal_problem *problem)
{
    MDB_txn *txn = NULL;
    MDB_val key = {strlen(META_CREATED_BY), (void *)(uintptr_t)META_CREATED_BY}, value;
    int err = journal_read_begin(j, &txn, problem);
    if (err != 0) return err;
    int rc = mdb_get(txn, j->meta, &key, &value);
    if (rc == 0) buffer_append(out, value.mv_data, value.mv_size);
    journal_read_end(j, txn);
    if (rc == 0) return 0;
    return journal_failed(problem, rc, j->path, "read which version made the journal");
}
