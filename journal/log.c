#include "journal/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/banned.h"

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
    atomic_store(&j->drained, last + 1);
    // Whoever reads may know of later ones in AHEAD.
    if (!j->is_reader || journal_end(j) < last + 1) atomic_store(&j->end, last + 1);
    return 0;
}

int journal_record_read(struct journal *j, MDB_txn *txn, uint64_t seq, const struct hash128 *before,
                        struct record *ret_record, struct journal_problem *problem)
{
    uint8_t bytes[KEY_BYTES];
    bytes_put_u64(bytes, seq);
    MDB_val key = {KEY_BYTES, bytes}, value;
    int err = j->pages != NULL ? journal_pages_look(j->pages, seq, problem) : 0;
    if (err != 0) return err;
    int rc = mdb_get(txn, j->log, &key, &value);
    if (rc == MDB_NOTFOUND) {
        return journal_problem(problem, BOSKOS_E_CORRUPT, seq,
                               "%s/data.mdb: record %" PRIu64 " is missing", j->path, seq);
    }
    if (rc != 0) return journal_failed(problem, rc, j->path, "read the log in data.mdb");
    return record_value_check(j->path, seq, &value, before, ret_record, problem);
}

// Reads a record and checks that it follows from the one before. Of the first record kept of a
// trimmed log the checksum before is not known.
static int following_read(struct journal *j, MDB_txn *txn, uint64_t seq, struct record *ret_record,
                          struct journal_problem *problem)
{
    struct record before = {0};
    bool is_kept = seq > journal_first(j);
    int err = is_kept ? journal_record_read(j, txn, seq - 1, NULL, &before, problem) : 0;
    if (err != 0) return err;
    const struct hash128 *chain = is_kept || seq == 1 ? &before.chain : NULL;
    return journal_record_read(j, txn, seq, chain, ret_record, problem);
}

// Checks that the last record follows from the one before. Where it does not, the damage may be in
// the checksum which that has of itself: then it does not follow from its own either.
static int last_check(struct journal *j, MDB_txn *txn, struct journal_problem *problem)
{
    uint64_t first = journal_first(j), last = atomic_load(&j->drained) - 1;
    struct journal_problem earlier = {0};
    struct record r;
    if (first > last) return 0;
    int err = following_read(j, txn, last, &r, problem);
    if (err == BOSKOS_E_CORRUPT && last > first &&
        following_read(j, txn, last - 1, &r, &earlier) == BOSKOS_E_CORRUPT)
        return journal_problem(problem, err, earlier.seq, "%s", earlier.text);
    if (err != 0) return err;
    j->last_chain = r.chain;
    j->last_time_ns = r.time_ns;
    return 0;
}

int journal_chain_read(struct journal *j, MDB_txn *txn, uint64_t seq, struct hash128 *ret_chain,
                       struct journal_problem *problem)
{
    struct ahead_record ahead;
    if (ahead_tail_find(j, seq, &ahead)) {
        *ret_chain = ahead.chain;
        return 0;
    }
    struct record r;
    int err = journal_record_read(j, txn, seq, NULL, &r, problem);
    if (err == 0) *ret_chain = r.chain;
    return err;
}

// Finds the last result. None is of a record that is not there: one under a wrong key would hide
// those behind it.
static int results_end_read(struct journal *j, MDB_txn *txn, struct journal_problem *problem)
{
    MDB_cursor *cursor = NULL;
    MDB_val key, value;
    uint64_t last = 0;
    int rc = mdb_cursor_open(txn, j->results, &cursor);
    if (rc == 0) rc = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
    if (rc == 0 && key.mv_size == KEY_BYTES) last = bytes_get_u64(key.mv_data);
    if (cursor != NULL) mdb_cursor_close(cursor);
    atomic_store(&j->rows_end, rc == 0 ? last + 1 : journal_first(j));
    if (rc == MDB_NOTFOUND) return 0;
    if (rc != 0) return journal_failed(problem, rc, j->path, "read the results in data.mdb");
    uint64_t end = atomic_load(&j->drained);
    if (!j->is_reader || (last > 0 && last < end)) return 0;
    return journal_problem(problem, BOSKOS_E_CORRUPT, end - 1,
                           "%s/data.mdb: behind the log, which ends at record %" PRIu64
                           ", there is a result of no record",
                           j->path, end - 1);
}

int journal_ends_read(struct journal *j, MDB_txn *txn, struct journal_problem *problem)
{
    MDB_cursor *cursor = NULL;
    int rc = mdb_cursor_open(txn, j->log, &cursor);
    if (rc != 0) return journal_failed(problem, rc, j->path, "read the log in data.mdb");
    int err = journal_ends_look(j, cursor, problem);
    mdb_cursor_close(cursor);
    if (err == 0) err = last_check(j, txn, problem);
    if (err == 0) err = results_end_read(j, txn, problem);
    if (err == 0 && j->is_reader) {
        atomic_store(&j->end, atomic_load(&j->drained)); // forgets what was known
        err = journal_tail_look(j, txn, problem);
    }
    return err;
}

int journal_ends_find(struct journal *j, struct journal_problem *problem)
{
    int err = JOURNAL_AGAIN;
    while (err == JOURNAL_AGAIN) {
        MDB_txn *txn = NULL;
        err = journal_read_begin(j, &txn, problem);
        if (err != 0) return err;
        err = journal_ends_read(j, txn, problem);
        journal_read_end(j, txn);
    }
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
    (void)pthread_mutex_init(&j->writing, NULL); // fails on no system we know
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
    err = journal_environment_open(j, options->leaves_later, problem);
    if (err != 0) goto out;
    err = journal_idle_fill(j, problem);
    if (err != 0) goto out;
    err = journal_ends_find(j, problem);
    if (err != 0) goto out;
    err = ahead_open(j, options->ahead, problem);
    if (err != 0) goto out;
    err = witness_open(j, problem);
    if (err != 0) goto out;
    ahead_take(j);
    if (j->pages == NULL) err = journal_drain(j, problem); // else all leaves come first
    if (err != 0) goto out;

    *ret_journal = j;
    j = NULL;
out:
    journal_close(j);
    return err;
}

int journal_finish_open(struct journal *j, struct journal_problem *problem)
{
    if (j->pages == NULL) return 0;
    int err = journal_pages_go(j->pages, UINT64_MAX, problem);
    if (err != 0) return err;
    journal_pages_end(j->pages);
    j->pages = NULL;
    return 0;
}

void journal_close(struct journal *j)
{
    if (j == NULL) return;
    (void)journal_drain(j, NULL); // what cannot be moved stays in AHEAD
    ahead_close(j);
    ahead_tail_release(j);
    journal_environment_close(j);
    journal_pages_end(j->pages);
    (void)pthread_mutex_destroy(&j->writing);
    if (j->witness_fd >= 0) (void)close(j->witness_fd);
    if (j->lock_fd >= 0) (void)close(j->lock_fd);
    free(j->path);
    free(j);
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

uint64_t journal_rows_end(const struct journal *j)
{
    return atomic_load_explicit(&j->rows_end, memory_order_acquire);
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
        .ahead_bytes = ahead_used(j),
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
