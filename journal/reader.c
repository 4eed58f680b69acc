#include "journal/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/banned.h"

// A journal that is opened only to be read, in one of two ways, which may change from one read to
// the next. Alone: LOCK is held shared during a read, so that nobody begins to write, and LMDB is
// used without its own locks: nothing is written, and no right to write is needed. Beside a daemon,
// which has LOCK: through LMDB's table of readers in lock.mdb.
//
// Between two reads everything may change: a daemon comes or goes, a compaction puts another
// data.mdb in its place, a repair another folder. So each read looks first whether what is open is
// still what is there. What stands in its way for a moment only is waited for.

#define TRY_PAUSE_MS 10
#define TRIES_MAX 500  // then it was no matter of a moment
#define LOOKS_MAX 100u // at AHEAD, without a pause
#define WITNESS_LOOKS 3
#define MAP_AHEAD (1ull << 30) // so that the map seldom must follow a file that grows

// The name of a file in the journal's folder and what is known of it.
static int file_look(const struct journal *j, const char *name, struct file_state *ret_state)
{
    struct stat status;
    char *path = journal_path(j->path, name);
    if (path == NULL) return ENOMEM;
    int rc = stat(path, &status) == 0 ? 0 : errno;
    free(path);
    if (rc != 0) return rc;
    *ret_state = (struct file_state){.device = status.st_dev,
                                     .number = status.st_ino,
                                     .size = status.st_size,
                                     .changed = status.st_mtim};
    return 0;
}

static bool is_same_file(const struct file_state *a, const struct file_state *b)
{
    return a->device == b->device && a->number == b->number;
}

static bool is_unchanged(const struct file_state *a, const struct file_state *b)
{
    return is_same_file(a, b) && a->size == b->size && a->changed.tv_sec == b->changed.tv_sec &&
           a->changed.tv_nsec == b->changed.tv_nsec;
}

static int cannot_read(const struct journal *j, const char *name, int rc,
                       struct journal_problem *problem)
{
    if (rc == EACCES || rc == EPERM) {
        errno = rc;
        return journal_problem(problem, BOSKOS_E_IO, 0,
                               "%s/%s: cannot read it: %s; run as the user of boskosd", j->path,
                               name, strerror(rc));
    }
    if (rc == NOT_PLAIN) {
        return journal_problem(problem, BOSKOS_E_IO, 0, "%s/%s: it is no plain file", j->path,
                               name);
    }
    return journal_failed(problem, rc, j->path, "read the journal");
}

// Two looks at it did not see the same.
static int changing(const struct journal *j, bool *ret_again, struct journal_problem *problem)
{
    *ret_again = true;
    return journal_problem(problem, BOSKOS_E_IO, 0, "%s: its files change all the time", j->path);
}

// ---- the lock -----------------------------------------------------------------

// Opens LOCK, if it is there: a copy of a folder may be without.
static int lock_open(struct journal *j, const char *path, bool *ret_again,
                     struct journal_problem *problem)
{
    struct stat folder;
    if (j->lock_fd >= 0) return 0;
    int fd = journal_plain_open(path, O_RDONLY);
    if (fd >= 0) j->lock_fd = fd;
    if (fd >= 0) return 0;
    if (fd != -ENOENT) return cannot_read(j, LOCK_NAME, -fd, problem);
    if (stat(j->path, &folder) == 0) return 0;
    *ret_again = true; // a repair is at it
    return journal_problem(problem, BOSKOS_E_NOT_FOUND, 0,
                           "%s is not there any more; start boskosd if a repair was interrupted",
                           j->path);
}

// Ctrl-Z waits while a read lasts: a process that is stopped inside one would keep the lock, or
// LMDB's mutex or the pages of its transaction, until somebody has it go on.
static void stops_hold(struct journal *j)
{
    sigset_t stops;
    if (j->has_stops_held) return;
    (void)sigemptyset(&stops);
    (void)sigaddset(&stops, SIGTSTP);
    j->has_stops_held = pthread_sigmask(SIG_BLOCK, &stops, &j->signals_before) == 0;
}

static void stops_release(struct journal *j)
{
    if (j->has_stops_held) (void)pthread_sigmask(SIG_SETMASK, &j->signals_before, NULL);
    j->has_stops_held = false;
}

// Takes the lock shared unless somebody has it. What it begins ends with lock_release, also after
// an error.
static int lock_share(struct journal *j, bool *ret_is_beside, bool *ret_again,
                      struct journal_problem *problem)
{
    bool is_beside = false;
    char *path = journal_path(j->path, LOCK_NAME);
    if (path == NULL) return journal_problem(problem, BOSKOS_E_NOMEM, 0, "%s: no memory", j->path);
    stops_hold(j);
    int err = lock_open(j, path, ret_again, problem);
    if (err == 0 && j->lock_fd >= 0) {
        struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
        int rc = fcntl(j->lock_fd, F_OFD_SETLK, &lock) == 0 ? 0 : errno;
        is_beside = rc == EAGAIN || rc == EACCES;
        if (rc != 0 && !is_beside) {
            err = journal_failed(problem, rc, path, "lock it for reading");
        } else if (!journal_is_still(j->lock_fd, path)) { // it is that of a folder from before
            (void)close(j->lock_fd);
            j->lock_fd = -1;
            err = changing(j, ret_again, problem);
        }
    }
    free(path);
    if (err == 0) *ret_is_beside = is_beside;
    return err;
}

static void lock_release(struct journal *j)
{
    struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    if (j->lock_fd >= 0) (void)fcntl(j->lock_fd, F_OFD_SETLK, &lock);
    stops_release(j);
}

// ---- the environment ----------------------------------------------------------

static int data_look(struct journal *j, struct file_state *ret_data, bool *ret_again,
                     struct journal_problem *problem)
{
    int rc = file_look(j, DATA_NAME, ret_data);
    *ret_again = rc == ENOENT && j->is_beside; // a repair is at it
    if (rc == ENOENT || (rc == 0 && ret_data->size == 0)) {
        return journal_problem(problem, BOSKOS_E_CORRUPT, 0, "%s/" DATA_NAME " is missing or empty",
                               j->path);
    }
    return rc == 0 ? 0 : cannot_read(j, DATA_NAME, rc, problem);
}

// Opens a file and closes it again. 0 or an errno.
static int file_try(const struct journal *j, const char *name, int flags)
{
    char *path = journal_path(j->path, name);
    if (path == NULL) return ENOMEM;
    int fd = journal_plain_open(path, flags);
    int rc = fd >= 0 ? 0 : -fd;
    if (fd >= 0) (void)close(fd);
    free(path);
    return rc;
}

static void map_size(struct journal *j, const struct file_state *data)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    j->map_bytes = ((uint64_t)data->size + j->map_ahead) / page * page;
}

// Looks through the pages without the lock: it may take long, and a daemon that starts does not
// wait for ever. What was found counts when nobody was at the file meanwhile.
static int pages_check(struct journal *j, struct file_state *data, bool *ret_again,
                       struct journal_problem *problem)
{
    struct journal_problem found = {0};
    struct file_state now = {0};
    bool is_beside = false;
    lock_release(j);
    int rc = file_try(j, DATA_NAME, O_RDONLY);
    int checked = rc == 0 ? journal_pages_check(j->path, true, &found) : 0;
    int err = lock_share(j, &is_beside, ret_again, problem);
    if (err != 0) return err;
    if (is_beside || file_look(j, DATA_NAME, &now) != 0 || !is_unchanged(data, &now)) {
        return changing(j, ret_again, problem);
    }
    if (rc != 0) return cannot_read(j, DATA_NAME, rc, problem);
    if (checked != 0) return journal_problem(problem, checked, found.seq, "%s", found.text);
    j->data_seen = *data;
    return 0;
}

static void tail_forget(struct journal *j)
{
    ahead_tail_release(j);
    j->ahead_seen = (struct file_state){0};
}

static int environment_alone(struct journal *j, bool *ret_again, struct journal_problem *problem)
{
    struct file_state data = {0};
    int err = data_look(j, &data, ret_again, problem);
    if (err != 0) return err;
    bool is_seen = is_unchanged(&j->data_seen, &data);
    if (j->env != NULL && is_seen) return 0;
    journal_environment_close(j);
    if (!is_seen) err = pages_check(j, &data, ret_again, problem);
    if (err != 0) return err;
    map_size(j, &data);
    j->opened++;
    tail_forget(j); // it may be of another log
    return journal_environment_read(j, DATA_NAME, problem);
}

// lock.mdb must be there, for LMDB would make it, and it must be possible to write in it: on a file
// system that is mounted only to be read LMDB would go without, and the daemon would write over
// what is being read.
static int table_check(struct journal *j, bool *ret_again, struct journal_problem *problem)
{
    int rc = file_try(j, LOCK_TABLE_NAME, O_RDWR);
    if (rc == 0) return 0;
    if (rc == ENOENT) { // who has LOCK is just starting
        *ret_again = true;
        return journal_problem(problem, BOSKOS_E_IO, 0, "%s/" LOCK_TABLE_NAME " is missing",
                               j->path);
    }
    if (rc != EACCES && rc != EPERM && rc != EROFS)
        return journal_failed(problem, rc, j->path, "open " LOCK_TABLE_NAME);
    errno = rc;
    return journal_problem(problem, BOSKOS_E_IO, 0,
                           "%s: cannot read beside a running boskosd without writing in its table "
                           "of readers, " LOCK_TABLE_NAME ": %s; run as its user",
                           j->path, strerror(rc));
}

static int environment_beside(struct journal *j, bool *ret_again, struct journal_problem *problem)
{
    struct file_state data = {0}, table = {0}, data_now = {0}, table_now = {0};
    int err = data_look(j, &data, ret_again, problem);
    if (err != 0) return err;
    int rc = file_look(j, LOCK_TABLE_NAME, &table);
    if (j->env != NULL && rc == 0 && is_same_file(&j->data_seen, &data) &&
        is_same_file(&j->table_seen, &table))
        return 0;
    // Before anybody else opens the table: to close it lets go of its locks.
    journal_environment_close(j);
    err = table_check(j, ret_again, problem);
    if (err != 0) return err;
    map_size(j, &data);
    j->opened++;
    tail_forget(j); // it may be of another log
    err = journal_environment_join(j, problem);
    // A moment later it may be other files that have these names.
    if (file_look(j, DATA_NAME, &data_now) != 0 || file_look(j, LOCK_TABLE_NAME, &table_now) != 0 ||
        !is_same_file(&data, &data_now) || !is_same_file(&table, &table_now)) {
        journal_environment_close(j);
        return changing(j, ret_again, problem);
    }
    *ret_again = err == BOSKOS_E_IO;
    j->data_seen = data;
    j->table_seen = table;
    return err;
}

// ---- a read -------------------------------------------------------------------

static int begin_try(struct journal *j, MDB_txn **ret_txn, bool *ret_again,
                     struct journal_problem *problem)
{
    bool is_beside = false;
    int err = lock_share(j, &is_beside, ret_again, problem);
    if (err == 0 && is_beside != j->is_beside) {
        journal_environment_close(j);
        j->data_seen = (struct file_state){0};
        j->is_beside = is_beside;
    }
    if (err == 0 && is_beside) err = environment_beside(j, ret_again, problem);
    if (err == 0 && !is_beside) err = environment_alone(j, ret_again, problem);
    if (err == 0) {
        int rc = journal_view_begin(j->env, ret_txn);
        if (rc == 0) return 0;
        err = journal_failed(problem, rc, j->path, "read the log in data.mdb");
        *ret_again = true; // the map has grown, or the table is of another data.mdb
        journal_environment_close(j);
    }
    lock_release(j);
    return err;
}

static int reader_begin(struct journal *j, MDB_txn **ret_txn, struct journal_problem *problem)
{
    const struct timespec pause = {.tv_nsec = TRY_PAUSE_MS * 1000000L};
    for (int i = 0;; i++) {
        bool is_again = false;
        int err = begin_try(j, ret_txn, &is_again, problem);
        if (err == 0 || !is_again || i == TRIES_MAX) return err;
        (void)nanosleep(&pause, NULL);
    }
}

int journal_read_begin(struct journal *j, MDB_txn **ret_txn, struct journal_problem *problem)
{
    if (j->is_reader) return reader_begin(j, ret_txn, problem);
    MDB_txn *txn = NULL;
    for (uint32_t i = 0; i < JOURNAL_IDLE_READS && txn == NULL; i++)
        txn = atomic_exchange(&j->idle[i], NULL);
    int rc = txn != NULL ? mdb_txn_renew(txn) : mdb_txn_begin(j->env, NULL, MDB_RDONLY, &txn);
    if (rc != 0) {
        if (txn != NULL) mdb_txn_abort(txn);
        return journal_failed(problem, rc, j->path, "read the log in data.mdb");
    }
    *ret_txn = txn;
    return 0;
}

// Keeps it for the next read, with its slot and without its pages.
static void idle_put(struct journal *j, MDB_txn *txn)
{
    mdb_txn_reset(txn);
    for (uint32_t i = 0; i < JOURNAL_IDLE_READS; i++) {
        MDB_txn *none = NULL;
        if (atomic_compare_exchange_strong(&j->idle[i], &none, txn)) return;
    }
    mdb_txn_abort(txn);
}

void journal_read_end(struct journal *j, MDB_txn *txn)
{
    if (!j->is_reader) {
        idle_put(j, txn);
        return;
    }
    mdb_txn_abort(txn);
    lock_release(j);
}

int journal_idle_fill(struct journal *j, struct journal_problem *problem)
{
    for (uint32_t i = 0; i < JOURNAL_IDLE_READS; i++) {
        MDB_txn *txn = NULL;
        int rc = mdb_txn_begin(j->env, NULL, MDB_RDONLY, &txn);
        if (rc != 0) return journal_failed(problem, rc, j->path, "read the log in data.mdb");
        idle_put(j, txn);
    }
    return 0;
}

void journal_idle_drop(struct journal *j)
{
    for (uint32_t i = 0; i < JOURNAL_IDLE_READS; i++) {
        MDB_txn *txn = atomic_exchange(&j->idle[i], NULL);
        if (txn != NULL) mdb_txn_abort(txn);
    }
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
    j->map_ahead = options->map_bytes != 0 ? options->map_bytes : MAP_AHEAD;
    if (stat(j->path, &status) != 0) {
        err = errno == ENOENT || errno == ENOTDIR
                  ? journal_problem(problem, BOSKOS_E_NOT_FOUND, 0,
                                    "%s is not there; check --data-dir", j->path)
                  : cannot_read(j, "", errno, problem);
        goto out;
    }
    err = witness_check(j, problem);
    if (err != 0) goto out;
    *ret_journal = j;
    j = NULL;
out:
    journal_close(j);
    return err;
}

// The last record that whoever has the journal has acknowledged. It may be writing that just now.
static uint64_t acknowledged(const struct journal *j)
{
    struct witness w = {0};
    int err = BOSKOS_E_CORRUPT;
    for (int i = 0; i < WITNESS_LOOKS && err == BOSKOS_E_CORRUPT; i++)
        err = witness_read(j->path, &w, NULL);
    return w.seq;
}

// The witness is read first: what it says was in data.mdb or in AHEAD by then. Between the
// beginning of the transaction and the look at AHEAD it may have been moved from there, and
// something else have taken its place.
int journal_tail_look(struct journal *j, MDB_txn *txn, struct journal_problem *problem)
{
    uint64_t last = j->is_beside ? acknowledged(j) : UINT64_MAX - 1;
    struct file_state now = {0};
    bool is_known = !j->is_beside && file_look(j, AHEAD_NAME, &now) == 0;
    // Alone all of it is looked through, once: what nobody has written to since is as it was.
    if (!is_known || !is_unchanged(&j->ahead_seen, &now)) {
        int err = ahead_tail_read(j, txn, !j->is_beside, problem);
        if (err != 0) return err;
        j->ahead_seen = now;
    }
    uint64_t end = j->tail.run.end;
    j->tail.is_acknowledged = j->is_beside && end <= last + 1;
    // When it is never there, it is no matter of a moment: whoever has the journal will see to it.
    if (j->is_beside && end <= last && j->looks++ < LOOKS_MAX) return JOURNAL_AGAIN;
    j->looks = 0;
    if (last + 1 < end) end = last + 1;
    struct ahead_record r;
    if (end <= journal_end(j) || !ahead_tail_find(j, end - 1, &r)) return 0;
    j->last_chain = r.chain;
    j->last_time_ns = record_time_ns(r.chained + HASH128_BYTES + KEY_BYTES);
    atomic_store(&j->end, end);
    return 0;
}

int journal_refresh(struct journal *j, struct journal_problem *problem)
{
    ASSERT(j->is_reader);
    return journal_ends_find(j, problem);
}

enum journal_witness journal_witness(const struct journal *j)
{
    return j->witness;
}

bool journal_is_held(const struct journal *j)
{
    return j->is_beside;
}

// ---- looking things up --------------------------------------------------------

static int time_read(struct journal *j, MDB_txn *txn, uint64_t seq, uint64_t *ret_time_ns,
                     struct journal_problem *problem)
{
    struct record r;
    struct ahead_record ahead;
    if (ahead_tail_find(j, seq, &ahead)) {
        *ret_time_ns = record_time_ns(ahead.chained + HASH128_BYTES + KEY_BYTES);
        return 0;
    }
    int err = journal_record_read(j, txn, seq, NULL, &r, problem);
    if (err == 0) *ret_time_ns = r.time_ns;
    return err;
}

// Times do not go back, so that halving finds it.
static int time_find(struct journal *j, MDB_txn *txn, uint64_t time_ns, uint64_t *ret_seq,
                     struct journal_problem *problem)
{
    int err = journal_ends_read(j, txn, problem);
    uint64_t low = journal_first(j), high = journal_end(j); // what is below low is not after
    while (err == 0 && low < high) {
        uint64_t middle = low + (high - low) / 2, at_ns = 0;
        err = time_read(j, txn, middle, &at_ns, problem);
        if (at_ns <= time_ns)
            low = middle + 1;
        else
            high = middle;
    }
    if (err == 0) *ret_seq = low == journal_first(j) ? 0 : low - 1;
    return err;
}

int journal_find_time(struct journal *j, uint64_t time_ns, uint64_t *ret_seq,
                      struct journal_problem *problem)
{
    int err = JOURNAL_AGAIN;
    ASSERT(j->is_reader);
    while (err == JOURNAL_AGAIN) {
        MDB_txn *txn = NULL;
        err = journal_read_begin(j, &txn, problem);
        if (err != 0) return err;
        err = time_find(j, txn, time_ns, ret_seq, problem);
        journal_read_end(j, txn);
    }
    return err;
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
