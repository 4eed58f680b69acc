#include "journal/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include "base/assert.h"
#include "base/banned.h"

#define FREE_TABLE 0               // LMDB keeps its list of free pages in a table of this number
#define FREE_ENTRIES_MAX 10000000u // of that table, one a transaction that freed pages

// Pages in use end here: free ones among them count.
static uint64_t used_end(const struct journal *j)
{
    MDB_envinfo info;
    if (mdb_env_info(j->env, &info) != 0) return 0; // only without an environment
    return ((uint64_t)info.me_last_pgno + 1) * j->page_bytes;
}

// What is left between the last page in use and the end of what the disk has promised us.
static uint64_t tail_bytes(const struct journal *j)
{
    uint64_t used = used_end(j);
    return j->allocated > used ? j->allocated - used : 0;
}

uint64_t journal_free_bytes(struct journal *j)
{
    MDB_txn *txn = NULL;
    MDB_cursor *cursor = NULL;
    uint64_t pages = 0;
    if (journal_read_begin(j, &txn, NULL) != 0) return 0;
    int rc = mdb_cursor_open(txn, FREE_TABLE, &cursor);
    for (uint32_t i = 0; i < FREE_ENTRIES_MAX && rc == 0; i++) {
        MDB_val key, value;
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
        // An entry is a list of page numbers, its length first.
        size_t count = 0;
        if (rc == 0 && value.mv_size >= sizeof(count)) memcpy(&count, value.mv_data, sizeof(count));
        pages += count < j->map_bytes / j->page_bytes ? count : 0;
    }
    if (cursor != NULL) mdb_cursor_close(cursor);
    journal_read_end(j, txn);
    return pages * j->page_bytes;
}

bool journal_has_room(const struct journal *j)
{
    // What is still to be drained has its place, too: LMDB's pages are at least half full.
    return tail_bytes(j) >= j->step_bytes / 2 + 2 * ahead_used(j);
}

// Has the disk promise so many more bytes. 0 or an errno or MDB_ code.
static int extend(struct journal *j, uint64_t bytes)
{
    uint64_t from = j->allocated > used_end(j) ? j->allocated : used_end(j);
    uint64_t to = from + bytes < j->map_bytes ? from + bytes : j->map_bytes;
    if (from >= to) return MDB_MAP_FULL;
    int fd = -1;
    int rc = mdb_env_get_fd(j->env, &fd);
    if (rc == 0) rc = posix_fallocate(fd, (off_t)from, (off_t)(to - from));
    if (rc == 0) j->allocated = to;
    return rc;
}

int journal_make_room(struct journal *j, struct journal_problem *problem)
{
    if (journal_has_room(j)) return 0;
    int rc = extend(j, j->step_bytes);
    if (rc == ENOSPC) rc = extend(j, j->step_bytes / 2); // on a disk that is nearly full
    if (rc == EINTR) return 0;                           // the next look will do it
    if (rc == 0 && journal_has_room(j)) return 0;
    if (rc == 0) rc = MDB_MAP_FULL; // the step was a short one
    int err = journal_error_of(rc);
    if (err != BOSKOS_E_NOSPACE) return journal_failed(problem, rc, j->path, "extend data.mdb");
    // Free pages must be many: who asks looks away for a while afterwards.
    if (tail_bytes(j) + journal_free_bytes(j) >= j->step_bytes) return 0;
    return journal_failed(problem, rc, j->path, "extend data.mdb");
}

// ---- trimming ---------------------------------------------------------------

void journal_trim(struct journal *j, uint64_t before)
{
    ASSERT(before < journal_end(j));
    if (before > atomic_load(&j->trim_before)) atomic_store(&j->trim_before, before);
}

bool journal_is_trimming(const struct journal *j)
{
    return journal_first(j) < atomic_load(&j->trim_before);
}

// Deletes the first entries of a table up to the sequence number, at most so many. 0 or an MDB_
// code; *ret_first is the first that is left.
static int table_trim(MDB_txn *txn, MDB_dbi table, uint64_t before, size_t most,
                      uint64_t *ret_first)
{
    MDB_cursor *cursor = NULL;
    int rc = mdb_cursor_open(txn, table, &cursor);
    if (rc != 0) return rc;
    for (size_t i = 0; rc == 0; i++) {
        MDB_val key, value;
        rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
        if (rc != 0) break;
        uint64_t seq = key.mv_size == KEY_BYTES ? bytes_get_u64(key.mv_data) : 0;
        *ret_first = seq;
        if (seq == 0) rc = MDB_CORRUPTED;
        if (seq >= before || i == most) break;
        if (rc == 0) rc = mdb_cursor_del(cursor, 0);
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int journal_trim_some(struct journal *j, MDB_txn *txn, uint64_t end, size_t most,
                      uint64_t *ret_first)
{
    uint64_t first = journal_first(j), first_row, before = atomic_load(&j->trim_before);
    *ret_first = first;
    if (!journal_is_trimming(j)) return 0;
    if (before >= end) before = end - 1; // AHEAD goes on behind the last record
    int rc = table_trim(txn, j->log, before, most, &first);
    // There is a row for each record, but for missing ones: these many will do.
    if (rc == 0) rc = table_trim(txn, j->results, first, most + TRIM_MORE_ROWS, &first_row);
    if (rc == 0) *ret_first = first;
    return rc;
}
