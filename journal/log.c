#include "journal/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/banned.h"

#define TRIM_BESIDE 64u  // records removed beside an append, and two for each appended
#define TRIM_ALONE 1024u // and by an append of nothing

// ---- open -------------------------------------------------------------------

// Reads a key of the log. BOSKOS_E_CORRUPT when it is none.
static int key_read(const struct journal *j, const MDB_val *key, uint64_t *ret_seq,
                    struct journal_problem *problem)
{
    uint64_t seq = key->mv_size == KEY_BYTES ? bytes_get_u64(key->mv_data) : 0;
    if (seq == 0 || seq == UINT64_MAX) { // nothing could follow it
        return journal_problem(problem, BOSKOS_E_CORRUPT, 0,
                               "%s/data.mdb: the log has a key that is no sequence number",
                               j->path);
    }
    *ret_seq = seq;
    return 0;
}

int journal_ends_look(struct journal *j, MDB_cursor *log, struct journal_problem *problem)
{
    MDB_val key, value;
    uint64_t first = 1, last = 0;
    int err = 0;
    int rc = mdb_cursor_get(log, &key, &value, MDB_FIRST);
    if (rc == 0) err = key_read(j, &key, &first, problem);
    if (rc == 0 && err == 0) rc = mdb_cursor_get(log, &key, &value, MDB_LAST);
    if (rc == 0 && err == 0) err = key_read(j, &key, &last, problem);
    if (rc != 0 && rc != MDB_NOTFOUND)
        return journal_failed(problem, rc, j->path, "read the log in data.mdb");
    if (err != 0) return err;
    atomic_store(&j->first, first);
    atomic_store(&j->end, last + 1);
    return 0;
}

// Checks that the last record follows from the one before.
static int last_check(struct journal *j, MDB_cursor *cursor, struct journal_problem *problem)
{
    MDB_val key, value, before_value;
    uint64_t first = journal_first(j), last = journal_end(j) - 1, previous = 0;
    if (first == journal_end(j)) return 0;
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
    if (rc != 0) return journal_failed(problem, rc, j->path, "read the log in data.mdb");
    int err = 0;

    // Of the first record kept of a trimmed log the checksum before is not known.
    struct hash128 before = {0, 0};
    bool before_known = last == 1;
    if (last > first) {
        rc = mdb_cursor_get(cursor, &key, &before_value, MDB_PREV);
        if (rc != 0) return journal_failed(problem, rc, j->path, "read the log in data.mdb");
        err = key_read(j, &key, &previous, problem);
        if (err != 0) return err;
        if (previous != last - 1) {
            return journal_problem(problem, BOSKOS_E_CORRUPT, last - 1,
                                   "%s/data.mdb: record %" PRIu64 " is missing", j->path, last - 1);
        }
        struct record r;
        err = record_value_check(j->path, previous, &before_value, NULL, &r, problem);
        if (err != 0) return err;
        before = r.chain;
        before_known = true;
    }
    struct record r;
    err = record_value_check(j->path, last, &value, before_known ? &before : NULL, &r, problem);
    if (err != 0) return err;

    j->last_chain = r.chain;
    j->last_time_ns = r.time_ns;
    return 0;
}

int journal_chain_read(struct journal *j, MDB_txn *txn, uint64_t seq, struct hash128 *ret_chain,
                       struct journal_problem *problem)
{
    uint8_t key_bytes[KEY_BYTES];
    bytes_put_u64(key_bytes, seq);
    MDB_val key = {KEY_BYTES, key_bytes}, value;
    int rc = mdb_get(txn, j->log, &key, &value);
    if (rc == MDB_NOTFOUND) {
        return journal_problem(problem, BOSKOS_E_CORRUPT, seq,
                               "%s/data.mdb: record %" PRIu64 " is missing", j->path, seq);
    }
    if (rc != 0) return journal_failed(problem, rc, j->path, "read the log in data.mdb");
    struct record r;
    int err = record_value_check(j->path, seq, &value, NULL, &r, problem);
    if (err == 0) *ret_chain = r.chain;
    return err;
}

// No result is of a record that is not there: one under a wrong key would hide those behind it.
static int results_end_check(struct journal *j, MDB_txn *txn, struct journal_problem *problem)
{
    MDB_cursor *cursor = NULL;
    MDB_val key, value;
    uint64_t last = 0;
    int rc = mdb_cursor_open(txn, j->results, &cursor);
    if (rc == 0) rc = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
    if (rc == 0 && key.mv_size == KEY_BYTES) last = bytes_get_u64(key.mv_data);
    if (cursor != NULL) mdb_cursor_close(cursor);
    if (rc == MDB_NOTFOUND) return 0;
    if (rc != 0) return journal_failed(problem, rc, j->path, "read the results in data.mdb");
    if (last > 0 && last < journal_end(j)) return 0;
    return journal_problem(problem, BOSKOS_E_CORRUPT, journal_end(j) - 1,
                           "%s/data.mdb: behind the log there is a result of no record", j->path);
}

int journal_ends_read(struct journal *j, MDB_txn *txn, struct journal_problem *problem)
{
    MDB_cursor *cursor = NULL;
    int rc = mdb_cursor_open(txn, j->log, &cursor);
    if (rc != 0) return journal_failed(problem, rc, j->path, "read the log in data.mdb");
    int err = journal_ends_look(j, cursor, problem);
    if (err == 0) err = last_check(j, cursor, problem);
    mdb_cursor_close(cursor);
    if (err == 0 && j->is_reader) err = results_end_check(j, txn, problem);
    return err;
}

int journal_ends_find(struct journal *j, struct journal_problem *problem)
{
    MDB_txn *txn = NULL;
    int err = journal_read_begin(j, &txn, problem);
    if (err != 0) return err;
    err = journal_ends_read(j, txn, problem);
    journal_read_end(j, txn);
    return err;
}

struct journal *journal_new(const struct journal_options *options)
{
    struct journal *j = calloc(1, sizeof(*j));
    if (j == NULL) return NULL;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t wanted = options->map_bytes != 0 ? options->map_bytes : JOURNAL_MAP_BYTES_DEFAULT;
    j->map_bytes = (wanted + page - 1) / page * page;
    j->step_bytes = options->step_bytes != 0 ? options->step_bytes : JOURNAL_STEP_BYTES_DEFAULT;
    j->lock_fd = -1;
    j->witness_fd = -1;
    j->damaged = options->damaged;
    j->noticed = options->noticed;
    j->context = options->context;
    return j;
}

int journal_open(const struct journal_options *options, struct journal **ret_journal,
                 struct journal_problem *problem)
{
    int err = BOSKOS_E_NOMEM;
    struct journal *j = journal_new(options);
    if (j == NULL) {
        (void)journal_problem(problem, err, 0, "%s: no memory", options->dir);
        goto out;
    }
    err = journal_folder_open(options, &j->path, &j->lock_fd, problem);
    if (err != 0) goto out;
    err = journal_environment_open(j, problem);
    if (err != 0) goto out;
    err = journal_ends_find(j, problem);
    if (err != 0) goto out;
    err = witness_open(j, problem);
    if (err != 0) goto out;

    *ret_journal = j;
    j = NULL;
out:
    journal_close(j);
    return err;
}

void journal_close(struct journal *j)
{
    if (j == NULL) return;
    journal_environment_close(j);
    if (j->witness_fd >= 0) (void)close(j->witness_fd);
    if (j->lock_fd >= 0) (void)close(j->lock_fd);
    free(j->path);
    free(j);
}

// ---- append -----------------------------------------------------------------

// The bytes go straight into LMDB's page: MDB_RESERVE gives the place.
static int record_put(MDB_cursor *cursor, struct record *r, struct hash128 before)
{
    ASSERT(r->payload.size <= JOURNAL_PAYLOAD_BYTES_MAX);
    uint8_t chained[RECORD_CHAINED_BYTES];
    record_chained_encode(r, before, chained);
    int err = record_checksum(chained, r->payload, &r->chain);
    if (err != 0) return ENOMEM;

    MDB_val key = {KEY_BYTES, chained + HASH128_BYTES};
    MDB_val value = {RECORD_HEAD_BYTES + (size_t)r->payload.size, NULL};
    int rc = mdb_cursor_put(cursor, &key, &value, MDB_APPEND | MDB_RESERVE);
    if (rc != 0) return rc;
    uint8_t *bytes = value.mv_data;
    memcpy(bytes, chained + HASH128_BYTES + KEY_BYTES, RECORD_FIELDS_BYTES);
    hash128_encode(r->chain, bytes + RECORD_FIELDS_BYTES);
    if (r->payload.size > 0) memcpy(bytes + RECORD_HEAD_BYTES, r->payload.data, r->payload.size);
    return 0;
}

static int records_put(struct journal *j, MDB_txn *txn, struct record *records, size_t count)
{
    uint64_t seq = journal_end(j);
    uint64_t time_ns = j->last_time_ns;
    struct hash128 before = j->last_chain;
    MDB_cursor *cursor = NULL;
    int rc = mdb_cursor_open(txn, j->log, &cursor);
    for (size_t i = 0; i < count && rc == 0; i++) {
        ASSERT(records[i].seq == seq + i);
        ASSERT(records[i].time_ns >= time_ns);
        rc = record_put(cursor, &records[i], before);
        before = records[i].chain;
        time_ns = records[i].time_ns;
    }
    if (cursor != NULL) mdb_cursor_close(cursor);
    return rc;
}

static int rows_put(struct journal *j, MDB_txn *txn, const struct journal_row *rows, size_t count)
{
    uint64_t first = journal_first(j);
    uint64_t end = journal_end(j);
    MDB_cursor *cursor = NULL;
    int rc = mdb_cursor_open(txn, j->results, &cursor);
    for (size_t i = 0; i < count && rc == 0; i++) {
        const struct journal_row *row = &rows[i];
        ASSERT(row->bytes.size <= JOURNAL_ROW_BYTES_MAX);
        ASSERT(row->seq >= first && row->seq < end);
        ASSERT(i == 0 || row->seq > rows[i - 1].seq);

        uint8_t bytes[KEY_BYTES + JOURNAL_ROW_BYTES_MAX + ROW_CHECKSUM_BYTES];
        size_t size = KEY_BYTES + (size_t)row->bytes.size;
        bytes_put_u64(bytes, row->seq);
        if (row->bytes.size > 0) memcpy(bytes + KEY_BYTES, row->bytes.data, row->bytes.size);
        bytes_put_u64(bytes + size, hash64(bytes, size, 0));

        MDB_val key = {KEY_BYTES, bytes};
        MDB_val value = {row->bytes.size + (size_t)ROW_CHECKSUM_BYTES, bytes + KEY_BYTES};
        rc = mdb_cursor_put(cursor, &key, &value, MDB_APPEND);
        // A row below the last one: it was missing, or is made again.
        if (rc == MDB_KEYEXIST) rc = mdb_cursor_put(cursor, &key, &value, 0);
    }
    if (cursor != NULL) mdb_cursor_close(cursor);
    return rc;
}

// After a commit that found no space: did LMDB get as far as its meta page? Then it refuses every
// new transaction (MDB_PANIC), what is on the disk is unknown, and it is no longer a matter of
// space.
static bool is_as_before(struct journal *j)
{
    MDB_txn *txn = NULL;
    int rc = mdb_txn_begin(j->env, NULL, MDB_RDONLY, &txn);
    if (rc == 0) mdb_txn_abort(txn);
    return rc == 0;
}

int journal_append(struct journal *j, struct record *records, size_t count,
                   const struct journal_row *rows, size_t rows_count,
                   struct journal_problem *problem)
{
    if (count == 0 && rows_count == 0 && !journal_is_trimming(j)) return 0;

    errno = 0;
    uint64_t first = journal_first(j);
    size_t trimmed = count == 0 ? TRIM_ALONE : TRIM_BESIDE + 2 * count;
    MDB_txn *txn = NULL;
    int rc = mdb_txn_begin(j->env, NULL, 0, &txn);
    if (rc != 0) return journal_failed(problem, rc, j->path, "append to the log");
    if (count > 0) rc = records_put(j, txn, records, count);
    if (rc == 0 && rows_count > 0) rc = rows_put(j, txn, rows, rows_count);
    if (rc == 0) rc = journal_trim_some(j, txn, trimmed, &first);
    if (rc == 0)
        rc = mdb_txn_commit(txn);
    else
        mdb_txn_abort(txn);

    // The write that meets the end of the disk is often a short one, not a failing one, and LMDB
    // makes EIO of it. Where no call has failed (nothing sets errno back to 0) it was that.
    if (rc == EIO && errno == 0) rc = ENOSPC;
    if (rc != 0) {
        int err = journal_failed(problem, rc, j->path, "append to the log");
        if (err == BOSKOS_E_NOSPACE && !is_as_before(j)) return BOSKOS_E_IO;
        return err;
    }
    atomic_store_explicit(&j->first, first, memory_order_release);
    if (count == 0) return 0;
    j->last_chain = records[count - 1].chain;
    j->last_time_ns = records[count - 1].time_ns;
    atomic_store_explicit(&j->end, records[count - 1].seq + 1, memory_order_release);
    return witness_write(j, problem);
}

// ---- readers ----------------------------------------------------------------

int journal_readers_check(struct journal *j, uint32_t *ret_cleared)
{
    int dead = 0;
    int rc = mdb_reader_check(j->env, &dead);
    if (rc != 0) return journal_error_of(rc);
    *ret_cleared = (uint32_t)dead;
    return 0;
}

// ---- figures ----------------------------------------------------------------

uint64_t journal_first(const struct journal *j)
{
    return atomic_load_explicit(&j->first, memory_order_acquire);
}

uint64_t journal_end(const struct journal *j)
{
    return atomic_load_explicit(&j->end, memory_order_acquire);
}

struct hash128 journal_last_chain(const struct journal *j)
{
    return j->last_chain;
}

uint64_t journal_last_time_ns(const struct journal *j)
{
    return j->last_time_ns;
}

static uint64_t table_pages(MDB_txn *txn, MDB_dbi table)
{
    MDB_stat stat;
    if (mdb_stat(txn, table, &stat) != 0) return 0;
    return stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
}

void journal_figures(struct journal *j, struct journal_figures *ret_figures)
{
    struct journal_figures figures = {
        .first = journal_first(j),
        .end = journal_end(j),
        .map_bytes = j->map_bytes,
        .network = j->network,
    };
    MDB_txn *txn = NULL;
    MDB_stat stat;
    if (journal_read_begin(j, &txn, NULL) == 0) {
        struct stat status;
        int fd = -1;
        if (mdb_env_get_fd(j->env, &fd) == 0 && fstat(fd, &status) == 0)
            figures.log_bytes_file = (uint64_t)status.st_size;
        // LMDB keeps its list of free pages in table 0 and its list of tables in table 1, beside
        // two meta pages.
        uint64_t pages = 2 + table_pages(txn, 0) + table_pages(txn, 1) + table_pages(txn, j->log) +
                         table_pages(txn, j->results) + table_pages(txn, j->meta);
        if (mdb_env_stat(j->env, &stat) == 0) figures.log_bytes_used = pages * stat.ms_psize;
        journal_read_end(j, txn);
    }
    *ret_figures = figures;
}
