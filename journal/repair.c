#include "journal/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/banned.h"

#define BEFORES_MAX 100        // kept journals of one sequence number
#define COPY_BYTES (64 * 1024) // at a time, where a file system knows no links
#define NAME_BYTES 64

// ---- reading what is damaged ------------------------------------------------

int journal_damaged_open(const struct journal_options *options, struct journal **ret_journal,
                         struct journal_problem *problem)
{
    struct stat status;
    struct journal_options existing = *options;
    int err = BOSKOS_E_NOMEM;
    struct journal *j = journal_new(options);
    if (j == NULL) goto out;
    existing.must_exist = true;
    j->path = journal_path(options->dir, JOURNAL_NAME);
    if (j->path == NULL) goto out;
    if (stat(j->path, &status) == 0)
        err = journal_folder_lock(j->path, options->lock_wait_ms, &j->lock_fd, problem);
    else // a repair may have been interrupted
        err = journal_begin(&existing, j->path, &j->lock_fd, problem);
    if (err != 0) goto out;
    *ret_journal = j;
    j = NULL;
out:
    if (err == BOSKOS_E_NOMEM)
        (void)journal_problem(problem, err, 0, "%s: no memory", options->dir);
    journal_close(j);
    return err;
}

int journal_damaged_read(struct journal *j, struct journal_problem *problem)
{
    struct stat status;
    char *path = journal_path(j->path, DATA_NAME);
    if (path == NULL) return journal_problem(problem, BOSKOS_E_NOMEM, 0, "%s: no memory", j->path);
    bool is_there = stat(path, &status) == 0 && status.st_size > 0;
    free(path);
    if (!is_there) {
        return journal_problem(problem, BOSKOS_E_CORRUPT, 0, "%s/" DATA_NAME " is missing or empty",
                               j->path);
    }
    return journal_environment_read(j, DATA_NAME, problem);
}

// What AHEAD has goes on where data.mdb ends.
static void damaged_tail(struct journal *j, MDB_txn *txn, bool is_empty, uint64_t *ret_first,
                         uint64_t *ret_last)
{
    uint64_t end = is_empty ? 1 : *ret_last + 1;
    atomic_store(&j->drained, end);
    if (ahead_tail_read(j, txn, false, NULL) != 0 || j->tail.run.end == end) return;
    if (is_empty) *ret_first = end;
    *ret_last = j->tail.run.end - 1;
}

int journal_damaged_ends(struct journal *j, uint64_t *ret_first, uint64_t *ret_last,
                         struct journal_problem *problem)
{
    MDB_txn *txn = NULL;
    MDB_cursor *cursor = NULL;
    MDB_val key, value;
    int rc = mdb_txn_begin(j->env, NULL, MDB_RDONLY, &txn);
    if (rc == 0) rc = mdb_cursor_open(txn, j->log, &cursor);
    if (rc == 0) {
        rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
        if (rc == MDB_NOTFOUND) goto out; // the log is empty
    }
    if (rc == 0 && key.mv_size == KEY_BYTES) *ret_first = bytes_get_u64(key.mv_data);
    if (rc == 0) rc = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
    if (rc == 0 && key.mv_size == KEY_BYTES) *ret_last = bytes_get_u64(key.mv_data);
out:
    if (rc == 0 || rc == MDB_NOTFOUND)
        damaged_tail(j, txn, rc == MDB_NOTFOUND, ret_first, ret_last);
    if (cursor != NULL) mdb_cursor_close(cursor);
    if (txn != NULL) mdb_txn_abort(txn);
    if (rc == 0 || rc == MDB_NOTFOUND) return 0;
    return journal_failed(problem, rc, j->path, "find the ends of the log");
}

int journal_damaged_pages(struct journal *j, struct journal_problem *problem)
{
    return journal_pages_check(j->path, false, problem);
}

struct record journal_damaged_witness(struct journal *j)
{
    struct witness w = {0};
    (void)witness_read(j->path, &w, NULL); // a bad one says nothing
    return (struct record){.seq = w.seq, .time_ns = w.time_ns, .chain = w.chain};
}

// ---- building another -------------------------------------------------------

// DIR/NAME for DIR/journal. Returned, caller frees; NULL without memory.
static char *neighbour(const char *path, const char *name)
{
    char *made = NULL;
    const char *slash = strrchr(path, '/');
    ASSERT(slash != NULL); // DIR/ is before it
    return asprintf(&made, "%.*s/%s", (int)(slash - path), path, name) < 0 ? NULL : made;
}

int journal_build_in(struct journal *j, const struct record *before,
                     struct journal_problem *problem)
{
    int err = journal_fresh_make(j->path, &j->lock_fd, problem);
    if (err == 0) err = journal_environment_open(j, false, problem);
    if (err == 0) err = journal_ends_find(j, problem);
    if (err == 0) err = witness_open(j, problem);
    if (err != 0) return err;
    atomic_store(&j->first, before->seq + 1);
    atomic_store(&j->end, before->seq + 1);
    atomic_store(&j->drained, before->seq + 1);
    atomic_store(&j->rows_end, before->seq + 1);
    j->last_chain = before->chain;
    j->last_time_ns = before->time_ns;
    return 0;
}

int journal_build(struct journal *old, const struct record *before, struct journal **ret_journal,
                  struct journal_problem *problem)
{
    struct journal_options options = {.map_bytes = old->map_bytes,
                                      .damaged = old->damaged,
                                      .noticed = old->noticed,
                                      .context = old->context};
    int err = BOSKOS_E_NOMEM;
    struct journal *j = journal_new(&options);
    if (j == NULL) goto out;
    j->path = neighbour(old->path, FRESH_NAME);
    if (j->path == NULL) goto out;
    err = journal_build_in(j, before, problem);
    if (err != 0) goto out;
    *ret_journal = j;
    j = NULL;
out:
    if (err == BOSKOS_E_NOMEM) (void)journal_problem(problem, err, 0, "%s: no memory", old->path);
    journal_close(j);
    return err;
}

// 0 or an errno. Flushed.
static int file_copy(const char *from, const char *to)
{
    char bytes[COPY_BYTES];
    int rc = 0;
    ssize_t n = 0;
    int to_fd = -1;
    int from_fd = journal_plain_open(from, O_RDONLY);
    if (from_fd < 0) return -from_fd;
    to_fd = journal_file_open(to, O_WRONLY | O_CREAT | O_TRUNC);
    if (to_fd < 0) rc = -to_fd;
    while (rc == 0 && (n = read(from_fd, bytes, sizeof(bytes))) > 0) {
        ssize_t written = write(to_fd, bytes, (size_t)n);
        if (written != n) rc = written < 0 ? errno : ENOSPC;
    }
    if (rc == 0 && n < 0) rc = errno;
    if (rc == 0 && fsync(to_fd) != 0) rc = errno;
    if (to_fd >= 0) (void)close(to_fd);
    (void)close(from_fd);
    return rc;
}

int journal_build_snapshot(struct journal *old, struct journal *built, uint64_t seq,
                           struct journal_problem *problem)
{
    int rc = ENOMEM;
    char *from = snapshot_path(old, seq, "");
    char *to = snapshot_path(built, seq, "");
    if (from != NULL && to != NULL) rc = link(from, to) == 0 ? 0 : errno;
    if (rc != 0 && rc != ENOMEM) rc = file_copy(from, to); // no links there
    free(from);
    free(to);
    return rc == 0 ? 0 : journal_failed(problem, rc, built->path, "take over a snapshot");
}

int journal_build_place(struct journal *built, const char *name, bool *ret_is_placed,
                        struct journal_problem *problem)
{
    int rc = fsync(built->witness_fd) == 0 ? 0 : errno;
    if (rc == 0) rc = journal_folder_sync(built->path);
    char *whole = neighbour(built->path, name);
    char *dir = neighbour(built->path, "");
    if (whole == NULL || dir == NULL) rc = ENOMEM;
    if (rc == 0 && rename(built->path, whole) != 0) rc = errno;
    if (rc == 0) *ret_is_placed = true;
    if (rc == 0) rc = journal_folder_sync(dir);
    free(whole);
    free(dir);
    return rc == 0 ? 0 : journal_failed(problem, rc, built->path, "finish it");
}

int journal_build_end(struct journal *built, struct journal_problem *problem)
{
    bool is_placed = false;
    int err = journal_build_place(built, REPAIRED_NAME, &is_placed, problem);
    journal_close(built);
    return err;
}

void journal_build_drop(struct journal *old)
{
    char *fresh = neighbour(old->path, FRESH_NAME);
    if (fresh != NULL) (void)journal_leftover_remove(fresh, NULL); // the next open tries again
    free(fresh);
}

// ---- the change -------------------------------------------------------------

// The first name that is free for the old journal. 0 or an errno; returned, caller frees.
static int kept_path(const struct journal *old, uint64_t seq, char **ret_path)
{
    struct stat status;
    for (int i = 1; i <= BEFORES_MAX; i++) {
        char name[NAME_BYTES];
        if (i == 1)
            (void)snprintf(name, sizeof(name), BEFORE_NAME "%" PRIu64, seq);
        else
            (void)snprintf(name, sizeof(name), BEFORE_NAME "%" PRIu64 ".%d", seq, i);
        char *path = neighbour(old->path, name);
        if (path == NULL) return ENOMEM;
        if (stat(path, &status) != 0 && errno == ENOENT) {
            *ret_path = path;
            return 0;
        }
        free(path);
    }
    return EEXIST;
}

int journal_swap(struct journal *old, uint64_t seq, char **ret_kept,
                 struct journal_problem *problem)
{
    int lock_fd = -1;
    int err = 0;
    char *kept = NULL;
    char *whole = neighbour(old->path, REPAIRED_NAME);
    char *dir = neighbour(old->path, "");
    int rc = whole == NULL || dir == NULL ? ENOMEM : 0;
    if (rc == 0) rc = kept_path(old, seq, &kept);
    if (rc != 0) goto out;
    // Whoever starts between the two renames finds it locked.
    err = journal_folder_lock(whole, 0, &lock_fd, problem);
    if (err != 0) goto out;

    if (rename(old->path, kept) != 0) rc = errno;
    if (rc == 0) rc = journal_folder_sync(dir);
    if (rc == 0 && rename(whole, old->path) != 0) rc = errno;
    if (rc == 0) rc = journal_folder_sync(dir);
    if (rc != 0) goto out;
    *ret_kept = kept;
    kept = NULL;
out:
    if (lock_fd >= 0) (void)close(lock_fd);
    free(kept);
    free(whole);
    free(dir);
    return rc == 0 ? err
                   : journal_failed(problem, rc, old->path, "put the repaired one in its place");
}
