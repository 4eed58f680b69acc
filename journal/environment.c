#include "journal/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/banned.h"

#define MODE 0600
#define TABLES 3
#define MAP_BYTES_NEW (1u << 20) // enough for the empty tables; every open reserves its own

// The one place with LMDB's flags: none that trades durability for speed. NOTLS ties a reader's
// slot to its transaction, so that a cursor keeps its slot and may move between threads.
static int lmdb_open(const char *path, unsigned flags, uint64_t map_bytes, MDB_env **ret_env)
{
    MDB_env *env = NULL;
    int rc = mdb_env_create(&env);
    if (rc != 0) return rc;
    rc = mdb_env_set_maxdbs(env, TABLES);
    if (rc == 0) rc = mdb_env_set_mapsize(env, map_bytes);
    if (rc == 0) rc = mdb_env_open(env, path, flags | MDB_NOTLS, MODE);

    // LMDB 0.9.24 opens data.mdb without O_CLOEXEC.
    int fd = -1;
    if (rc == 0) rc = mdb_env_get_fd(env, &fd);
    if (rc == 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) rc = errno;
    if (rc != 0) {
        mdb_env_close(env);
        return rc;
    }
    *ret_env = env;
    return 0;
}

int journal_view_begin(MDB_env *env, MDB_txn **ret_txn)
{
    MDB_envinfo before = {0}, after = {0}; // from the meta pages; fails only without an environment
    MDB_txn *txn = NULL;
    (void)mdb_env_info(env, &before);
    int rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);
    if (rc != 0) return rc;
    (void)mdb_env_info(env, &after);
    // A commit writes its meta page first and lock.mdb then.
    size_t id = mdb_txn_id(txn);
    if (id + 1 < before.me_last_txnid || id > after.me_last_txnid) {
        mdb_txn_abort(txn);
        return MDB_BAD_TXN;
    }
    *ret_txn = txn;
    return 0;
}

// Whoever may write asks: is lock.mdb one of another data.mdb? LMDB would take the wrong meta page,
// and with it an old log or none. To begin a transaction for writing has LMDB finish first what a
// killed writer left half done.
static int table_check(MDB_env *env, bool *ret_is_other)
{
    MDB_envinfo info = {0};
    MDB_txn *txn = NULL;
    int rc = mdb_txn_begin(env, NULL, 0, &txn);
    if (rc != 0) return rc;
    rc = mdb_env_info(env, &info);
    *ret_is_other = rc == 0 && mdb_txn_id(txn) != info.me_last_txnid + 1;
    mdb_txn_abort(txn);
    return rc;
}

void journal_environment_close(struct journal *j)
{
    journal_idle_drop(j);
    if (j->env != NULL) mdb_env_close(j->env);
    j->env = NULL;
}

static void page_is_damaged(MDB_env *env, const char *what)
{
    const struct journal *j = mdb_env_get_userctx(env);
    char why[512];
    (void)snprintf(why, sizeof(why),
                   "%s/data.mdb is damaged: LMDB met a page it does not expect (%s)", j->path,
                   what);
    j->damaged(j->context, why);
}

static int tables_open(MDB_txn *txn, unsigned flags, struct journal *j)
{
    int rc = mdb_dbi_open(txn, "meta", flags, &j->meta);
    if (rc == 0) rc = mdb_dbi_open(txn, "log", flags, &j->log);
    if (rc == 0) rc = mdb_dbi_open(txn, "results", flags, &j->results);
    return rc;
}

static int meta_put(MDB_txn *txn, MDB_dbi meta, const char *key, const void *bytes, size_t size)
{
    MDB_val k = {strlen(key), (void *)(uintptr_t)key};
    MDB_val v = {size, (void *)(uintptr_t)bytes};
    return mdb_put(txn, meta, &k, &v, 0);
}

// LMDB makes its files through the umask; made here first they have the mode they should have.
static int file_make(const char *folder, const char *name)
{
    char *path = journal_path(folder, name);
    if (path == NULL) return ENOMEM;
    int fd = journal_file_open(path, O_RDWR | O_CREAT);
    free(path);
    if (fd < 0) return -fd;
    return close(fd) == 0 ? 0 : errno;
}

int journal_environment_make(const char *path, struct journal_problem *problem)
{
    struct journal tables = {0};
    MDB_env *env = NULL;
    MDB_txn *txn = NULL;
    int rc = file_make(path, DATA_NAME);
    if (rc == 0) rc = file_make(path, LOCK_TABLE_NAME);
    if (rc != 0) goto out;

    rc = lmdb_open(path, 0, MAP_BYTES_NEW, &env);
    if (rc != 0) goto out;
    rc = mdb_txn_begin(env, NULL, 0, &txn);
    if (rc != 0) goto out;
    rc = tables_open(txn, MDB_CREATE, &tables);
    if (rc != 0) goto out;

    uint8_t format[2];
    bytes_put_u16(format, JOURNAL_FORMAT);
    rc = meta_put(txn, tables.meta, META_FORMAT, format, sizeof(format));
    if (rc != 0) goto out;
    rc = meta_put(txn, tables.meta, META_CREATED_BY, BOSKOSD_VERSION, strlen(BOSKOSD_VERSION));
    if (rc != 0) goto out;
    errno = 0;
    rc = mdb_txn_commit(txn);
    txn = NULL;
    // As in an append: a short write that no call calls an error.
    if (rc == EIO && errno == 0) rc = ENOSPC;
out:
    if (txn != NULL) mdb_txn_abort(txn);
    if (env != NULL) mdb_env_close(env);
    if (rc == 0) return 0;
    return journal_failed(problem, rc, path, "make the journal");
}

// LMDB would quietly make a missing or empty data.mdb anew: an empty log in place of a lost one.
static int data_check(const char *folder, struct journal_problem *problem)
{
    char *path = journal_path(folder, DATA_NAME);
    if (path == NULL) return journal_problem(problem, BOSKOS_E_NOMEM, 0, "%s: no memory", folder);

    int err = 0;
    struct stat status;
    int fd = journal_file_open(path, O_RDWR);
    if (fd == -ENOENT || (fd >= 0 && fstat(fd, &status) == 0 && status.st_size == 0)) {
        err = journal_problem(
            problem, BOSKOS_E_CORRUPT, 0,
            "%s is missing or empty; bring it back, or move %s away to begin anew", path, folder);
    } else if (fd < 0) {
        err = journal_failed(problem, -fd, path, "open it for writing");
    }
    if (fd >= 0) (void)close(fd);
    free(path);
    return err;
}

static int format_check(struct journal *j, MDB_txn *txn, struct journal_problem *problem)
{
    MDB_val key = {strlen(META_FORMAT), (void *)(uintptr_t)META_FORMAT};
    MDB_val value;
    int rc = mdb_get(txn, j->meta, &key, &value);
    if (rc != 0) return journal_failed(problem, rc, j->path, "read the format in data.mdb");

    uint16_t format = value.mv_size == 2 ? bytes_get_u16(value.mv_data) : 0;
    if (format == 0) {
        return journal_problem(problem, BOSKOS_E_CORRUPT, 0,
                               "%s/data.mdb: the format of the journal is damaged", j->path);
    }
    if (format > JOURNAL_FORMAT) {
        return journal_problem(problem, BOSKOS_E_TOO_NEW, 0,
                               "%s/data.mdb was written by a newer boskosd (format %u, this one "
                               "knows %u); start that one, or choose another --data-dir",
                               j->path, format, JOURNAL_FORMAT);
    }
    return 0;
}

static int tables_find(struct journal *j, struct journal_problem *problem)
{
    // The format comes first: a newer one may have other tables.
    MDB_txn *txn = NULL;
    int err = 0;
    int rc = journal_view_begin(j->env, &txn);
    if (rc == 0) rc = mdb_dbi_open(txn, "meta", 0, &j->meta);
    if (rc == 0) err = format_check(j, txn, problem);
    if (rc == 0 && err == 0) rc = tables_open(txn, 0, j);
    if (rc == 0 && err == 0) {
        rc = mdb_txn_commit(txn); // keeps the handles of the tables
        txn = NULL;
    }
    if (txn != NULL) mdb_txn_abort(txn);
    if (rc != 0) return journal_failed(problem, rc, j->path, "open the tables in data.mdb");
    return err;
}

// What is the same for every opened environment.
static void environment_look(struct journal *j)
{
    j->network = journal_network(j->lock_fd);
    if (j->damaged != NULL) { // both fail only without an environment
        (void)mdb_env_set_userctx(j->env, j);
        (void)mdb_env_set_assert(j->env, page_is_damaged);
    }

    // LMDB takes more than was asked for where the log is larger already.
    MDB_envinfo info;
    if (mdb_env_info(j->env, &info) == 0) j->map_bytes = info.me_mapsize;
    MDB_stat stat;
    if (mdb_env_stat(j->env, &stat) == 0) j->page_bytes = stat.ms_psize;
}

int journal_environment_read(struct journal *j, const char *name, struct journal_problem *problem)
{
    char *path = journal_path(j->path, name);
    if (path == NULL) return journal_problem(problem, BOSKOS_E_NOMEM, 0, "%s: no memory", j->path);
    int err = 0;
    int rc = lmdb_open(path, MDB_RDONLY | MDB_NOLOCK | MDB_NOSUBDIR, j->map_bytes, &j->env);
    if (rc != 0) {
        err = journal_failed(problem, rc, path, "read it");
    } else {
        environment_look(j);
        err = tables_find(j, problem);
    }
    if (err != 0) journal_environment_close(j);
    free(path);
    return err;
}

int journal_environment_join(struct journal *j, struct journal_problem *problem)
{
    int err = 0;
    int rc = lmdb_open(j->path, MDB_RDONLY, j->map_bytes, &j->env);
    if (rc != 0) return journal_failed(problem, rc, j->path, "read data.mdb");
    environment_look(j);
    err = tables_find(j, problem);
    if (err != 0) journal_environment_close(j);
    return err;
}

// Opens it for writing, with another lock.mdb when the one there is not of this data.mdb: readers
// that have that one open have also the other data.mdb.
static int writer_open(struct journal *j)
{
    bool is_other = false;
    int rc = lmdb_open(j->path, 0, j->map_bytes, &j->env);
    if (rc == 0) rc = table_check(j->env, &is_other);
    if (rc != 0 || !is_other) return rc;
    journal_environment_close(j);
    char *path = journal_path(j->path, LOCK_TABLE_NAME);
    if (path == NULL) return ENOMEM;
    rc = unlink(path) == 0 ? 0 : errno;
    free(path);
    if (rc == 0) rc = file_make(j->path, LOCK_TABLE_NAME);
    return rc == 0 ? lmdb_open(j->path, 0, j->map_bytes, &j->env) : rc;
}

static int pages_check(struct journal *j, bool leaves_later, struct journal_problem *problem)
{
    if (leaves_later) return journal_pages_begin(j->path, &j->pages, problem);
    return journal_pages_check(j->path, false, problem);
}

int journal_environment_open(struct journal *j, bool leaves_later, struct journal_problem *problem)
{
    int err = data_check(j->path, problem);
    if (err == 0) err = pages_check(j, leaves_later, problem);
    if (err != 0) return err;
    int rc = file_make(j->path, LOCK_TABLE_NAME);
    if (rc != 0) return journal_failed(problem, rc, j->path, "open lock.mdb for writing");

    rc = writer_open(j);
    if (rc != 0) journal_environment_close(j);
    if (rc == ENOMEM) {
        errno = rc;
        return journal_problem(problem, BOSKOS_E_NOMEM, 0,
                               "%s/data.mdb: cannot reserve %llu bytes of address space for its "
                               "map; raise the limit (ulimit -v) or keep less of the log",
                               j->path, (unsigned long long)j->map_bytes);
    }
    if (rc != 0) return journal_failed(problem, rc, j->path, "open data.mdb");

    environment_look(j);

    // A killed reader's slot would keep pages from being used again for ever.
    int dead = 0;
    rc = mdb_reader_check(j->env, &dead);
    if (rc != 0)
        err = journal_failed(problem, rc, j->path, "clear the readers in lock.mdb");
    else
        err = tables_find(j, problem);
    if (err != 0) journal_environment_close(j);
    return err;
}
