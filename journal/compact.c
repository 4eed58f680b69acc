#include "journal/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/banned.h"

#define POLL_NS 200000000l // how often the progress is said

// ---- the copy ---------------------------------------------------------------

struct copier {
    MDB_env *env;
    int fd;
    int rc;
};

static void *copier_main(void *context)
{
    struct copier *c = context;
    errno = 0;
    c->rc = mdb_env_copyfd2(c->env, c->fd, MDB_CP_COMPACT);
    // As in an append: a short write that no call calls an error.
    if (c->rc == EIO && errno == 0) c->rc = ENOSPC;
    return NULL;
}

static uint64_t size_of(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 ? (uint64_t)status.st_size : 0;
}

// Copies on a thread of its own and says meanwhile how far it is. 0, an errno or an MDB_ code.
static int copy(struct journal *j, int fd, const struct journal_progress *progress, uint64_t total)
{
    struct copier copier = {.env = j->env, .fd = fd};
    pthread_t thread;
    int rc = pthread_create(&thread, NULL, copier_main, &copier);
    if (rc != 0) return rc;
    do {
        struct timespec until;
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += POLL_NS;
        until.tv_sec += until.tv_nsec / 1000000000l;
        until.tv_nsec %= 1000000000l;
        rc = pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &until);
        if (progress != NULL) progress->said(progress->context, size_of(fd), total);
    } while (rc == ETIMEDOUT);
    if (copier.rc == 0 && fsync(fd) != 0) return errno;
    return copier.rc;
}

// ---- is it the same? --------------------------------------------------------

static int tables_count(const struct journal *j, size_t ret_counts[3])
{
    const MDB_dbi tables[3] = {j->log, j->results, j->meta};
    MDB_txn *txn = NULL;
    int rc = mdb_txn_begin(j->env, NULL, MDB_RDONLY, &txn);
    for (int i = 0; i < 3 && rc == 0; i++) {
        MDB_stat stat = {0};
        rc = mdb_stat(txn, tables[i], &stat);
        ret_counts[i] = stat.ms_entries;
    }
    if (txn != NULL) mdb_txn_abort(txn);
    return rc;
}

// The copy is opened as it will be, and must have the same ends, the same last checksum, and as
// many records and rows.
static int verify(const struct journal *j, struct journal_problem *problem)
{
    struct journal copied = {
        .path = j->path, .map_bytes = j->map_bytes, .damaged = j->damaged, .context = j->context};
    size_t before[3] = {0}, after[3] = {0};
    int err = journal_environment_read(&copied, DATA_NEW_NAME, problem);
    if (err != 0) return err;
    err = journal_ends_find(&copied, problem);
    if (err != 0) goto out;
    int rc = tables_count(j, before);
    if (rc == 0) rc = tables_count(&copied, after);
    if (rc != 0) {
        err = journal_failed(problem, rc, j->path, "count what is in the copy");
        goto out;
    }
    if (journal_first(j) != journal_first(&copied) || journal_end(j) != journal_end(&copied) ||
        !hash128_equal(j->last_chain, copied.last_chain) ||
        memcmp(before, after, sizeof(before)) != 0) {
        err = journal_problem(problem, BOSKOS_E_CORRUPT, 0,
                              "%s/" DATA_NAME ": its copy does not have what it has: the file is "
                              "damaged, or the disk fails",
                              j->path);
    }
out:
    journal_environment_close(&copied);
    return err;
}

// ---- compaction -------------------------------------------------------------

static int room_check(struct journal *j, uint64_t needed, struct journal_problem *problem)
{
    struct statvfs fs;
    if (statvfs(j->path, &fs) != 0) return 0; // then the copy itself will tell
    uint64_t there = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (there >= needed) return 0;
    return journal_problem(problem, BOSKOS_E_NOSPACE, 0,
                           "%s: the compacted copy needs %" PRIu64
                           " bytes beside data.mdb, and its file system has %" PRIu64
                           "; make room there. Nothing was changed",
                           j->path, needed, there);
}

// Makes the copy and puts it in its place.
static int replace(struct journal *j, const struct journal_progress *progress, uint64_t used,
                   uint64_t *ret_bytes_after, struct journal_problem *problem)
{
    int fd = -1, rc = ENOMEM, err = 0;
    char *data = journal_path(j->path, DATA_NAME);
    char *copied = journal_path(j->path, DATA_NEW_NAME);
    if (data == NULL || copied == NULL) goto out;
    fd = journal_file_open(copied, O_RDWR | O_CREAT | O_TRUNC);
    rc = fd < 0 ? -fd : copy(j, fd, progress, used);
    if (rc != 0) goto out;
    err = verify(j, problem);
    if (err != 0) goto out;
    if (rename(copied, data) != 0) rc = errno;
    if (rc == 0) rc = journal_folder_sync(j->path);
    if (rc == 0) *ret_bytes_after = size_of(fd);
out:
    if (copied != NULL && (rc != 0 || err != 0)) (void)unlink(copied);
    if (fd >= 0) (void)close(fd);
    free(data);
    free(copied);
    return rc == 0 ? err : journal_failed(problem, rc, j->path, "compact data.mdb");
}

int journal_compact(const struct journal_options *options, const struct journal_progress *progress,
                    struct journal_compaction *ret_compaction, struct journal_problem *problem)
{
    struct journal_options existing = *options;
    struct journal_compaction c = {0};
    struct journal_figures figures;
    struct journal *j = NULL;
    existing.must_exist = true;
    int err = journal_open(&existing, &j, problem);
    if (err != 0) return err;
    journal_figures(j, &figures);
    c.bytes_before = figures.log_bytes_file;
    c.first = figures.first;
    c.end = figures.end;
    err = room_check(j, figures.log_bytes_used, problem);
    if (err == 0) err = replace(j, progress, figures.log_bytes_used, &c.bytes_after, problem);
    journal_close(j);
    if (err == 0) *ret_compaction = c;
    return err;
}
