#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "journal/ahead.h"
#include "journal/internal.h"

#include "base/banned.h"

// Appending. A batch is durable when its frame in AHEAD is flushed; moving what stands there to
// data.mdb is left to journal_drain, which any thread may call. Straight into data.mdb goes what
// does not fit into AHEAD or could be taken for a frame of it, and everything while room is short:
// so nothing is promised that has no place there.

#define TRIM_BESIDE 64u  // records removed beside an append, and two for each appended
#define TRIM_ALONE 1024u // and by an append of nothing

// ---- into data.mdb --------------------------------------------------------------

// What one transaction writes: what waited, or records from the caller, and rows of either.
struct writing {
    const struct ahead_pending *pending; // may be NULL
    struct record *records;
    size_t count;
    const struct journal_row *rows;
    size_t rows_count;
    uint64_t end, rows_end; // what is in data.mdb afterwards
};

// The bytes go straight into LMDB's page: MDB_RESERVE gives the place.
static int value_put(MDB_cursor *cursor, const uint8_t *chained, struct text payload,
                     struct hash128 chain)
{
    MDB_val key = {KEY_BYTES, (void *)(uintptr_t)(chained + HASH128_BYTES)};
    MDB_val value = {RECORD_HEAD_BYTES + (size_t)payload.size, NULL};
    int rc = mdb_cursor_put(cursor, &key, &value, MDB_APPEND | MDB_RESERVE);
    if (rc != 0) return rc;
    uint8_t *bytes = value.mv_data;
    memcpy(bytes, chained + HASH128_BYTES + KEY_BYTES, RECORD_FIELDS_BYTES);
    hash128_encode(chain, bytes + RECORD_FIELDS_BYTES);
    if (payload.size > 0) memcpy(bytes + RECORD_HEAD_BYTES, payload.data, payload.size);
    return 0;
}

static int record_put(MDB_cursor *cursor, struct record *r, struct hash128 before)
{
    uint8_t chained[RECORD_CHAINED_BYTES];
    record_chained_encode(r, before, chained);
    if (record_checksum(chained, r->payload, &r->chain) != 0) return ENOMEM;
    return value_put(cursor, chained, r->payload, r->chain);
}

// The end of the log is the appending thread's: who only drains has no records of its own.
static int records_put(const struct journal *j, MDB_cursor *cursor, struct writing *w)
{
    if (w->count == 0) return 0;
    struct hash128 before = j->last_chain;
    int rc = 0;
    for (size_t i = 0; i < w->count && rc == 0; i++) {
        ASSERT(w->records[i].seq == w->end);
        rc = record_put(cursor, &w->records[i], before);
        before = w->records[i].chain;
        w->end++;
    }
    return rc;
}

static int pending_put(MDB_cursor *cursor, struct writing *w)
{
    struct ahead_record r;
    int rc = 0;
    for (size_t at = 0; rc == 0 && ahead_record_at(&w->pending->run, at, &r); at = r.next) {
        ASSERT(r.seq == w->end);
        rc = value_put(cursor, r.chained, r.payload, r.chain);
        w->end++;
    }
    return rc;
}

static int row_put(MDB_cursor *cursor, struct journal_row row, struct writing *w)
{
    ASSERT(row.seq < w->end);

    uint8_t bytes[KEY_BYTES + JOURNAL_ROW_BYTES_MAX + ROW_CHECKSUM_BYTES];
    size_t size = KEY_BYTES + (size_t)row.bytes.size;
    bytes_put_u64(bytes, row.seq);
    if (row.bytes.size > 0) memcpy(bytes + KEY_BYTES, row.bytes.data, row.bytes.size);
    bytes_put_u64(bytes + size, hash64(bytes, size, 0));

    MDB_val key = {KEY_BYTES, bytes};
    MDB_val value = {row.bytes.size + (size_t)ROW_CHECKSUM_BYTES, bytes + KEY_BYTES};
    int rc = mdb_cursor_put(cursor, &key, &value, MDB_APPEND);
    // A row below the last one: it was missing, or is made again.
    if (rc == MDB_KEYEXIST) rc = mdb_cursor_put(cursor, &key, &value, 0);
    if (row.seq >= w->rows_end) w->rows_end = row.seq + 1;
    return rc;
}

static int rows_put(MDB_cursor *cursor, struct writing *w)
{
    int rc = 0;
    size_t size = w->pending != NULL ? w->pending->rows.size : 0;
    for (size_t at = 0; at < size && rc == 0;) {
        const uint8_t *bytes = (const uint8_t *)w->pending->rows.data + at;
        struct journal_row row = {bytes_get_u64(bytes),
                                  text_of((const char *)bytes + 16, bytes_get_u64(bytes + 8))};
        rc = row_put(cursor, row, w);
        at += 16 + (size_t)row.bytes.size;
    }
    for (size_t i = 0; i < w->rows_count && rc == 0; i++)
        rc = row_put(cursor, w->rows[i], w);
    return rc;
}

// Says where in AHEAD those frames begin that data.mdb does not have. 0 or an MDB_ code.
static int position_put(const struct journal *j, MDB_txn *txn, uint64_t position)
{
    uint8_t bytes[8];
    bytes_put_u64(bytes, position);
    MDB_val key = {strlen(META_AHEAD), (void *)(uintptr_t)META_AHEAD};
    MDB_val value = {sizeof(bytes), bytes};
    return mdb_put(txn, j->meta, &key, &value, 0);
}

static int all_put(struct journal *j, MDB_txn *txn, struct writing *w)
{
    MDB_cursor *log = NULL, *results = NULL;
    int rc = mdb_cursor_open(txn, j->log, &log);
    if (rc == 0) rc = mdb_cursor_open(txn, j->results, &results);
    if (rc == 0 && w->pending != NULL) rc = pending_put(log, w);
    if (rc == 0) rc = records_put(j, log, w);
    if (rc == 0) rc = rows_put(results, w);
    if (rc == 0 && w->pending != NULL) rc = position_put(j, txn, w->pending->run.until);
    if (log != NULL) mdb_cursor_close(log);
    if (results != NULL) mdb_cursor_close(results);
    return rc;
}

// After a commit that found no space: did LMDB get as far as its meta page? Then it refuses every
// new transaction (MDB_PANIC), what is on the disk is unknown, and it is no longer a matter of
// space.
static bool is_as_before(struct journal *j)
{
    MDB_txn *txn = NULL;
    int err = journal_read_begin(j, &txn, NULL);
    if (err == 0) journal_read_end(j, txn);
    return err == 0;
}

// One transaction, by whoever has j->writing.
static int data_write(struct journal *j, struct writing *w, struct journal_problem *problem)
{
    int err = journal_finish_open(j, problem);
    if (err != 0) return err;
    errno = 0;
    w->end = atomic_load(&j->drained);
    w->rows_end = atomic_load(&j->rows_end);
    uint64_t first = journal_first(j), end = w->end;
    MDB_txn *txn = NULL;
    int rc = mdb_txn_begin(j->env, NULL, 0, &txn);
    if (rc != 0) return journal_failed(problem, rc, j->path, "append to the log");
    rc = all_put(j, txn, w);
    size_t added = (size_t)(w->end - end);
    if (rc == 0)
        rc = journal_trim_some(j, txn, w->end, added == 0 ? TRIM_ALONE : TRIM_BESIDE + 2 * added,
                               &first);
    if (rc == 0)
        rc = mdb_txn_commit(txn);
    else
        mdb_txn_abort(txn);

    // The write that meets the end of the disk is often a short one, not a failing one, and LMDB
    // makes EIO of it. Where no call has failed (nothing sets errno back to 0) it was that.
    if (rc == EIO && errno == 0) rc = ENOSPC;
    if (rc != 0) {
        err = journal_failed(problem, rc, j->path, "append to the log");
        if (err == BOSKOS_E_NOSPACE && !is_as_before(j)) return BOSKOS_E_IO;
        return err;
    }
    atomic_store_explicit(&j->first, first, memory_order_release);
    atomic_store_explicit(&j->rows_end, w->rows_end, memory_order_release);
    atomic_store_explicit(&j->drained, w->end, memory_order_release);
    return 0;
}

// ---- drain ----------------------------------------------------------------------

static bool is_empty(const struct ahead_pending *p)
{
    return p->run.first == p->run.end && p->rows.size == 0;
}

// Takes what waits, unless what was taken before is still there.
static void waiting_take(struct ahead *a)
{
    if (!is_empty(&a->taken)) return;
    pthread_mutex_lock(&a->lock);
    struct ahead_pending empty = a->taken;
    a->taken = a->waiting;
    a->waiting = empty;
    pthread_mutex_unlock(&a->lock);
}

// By whoever has j->writing. What could not be drained before comes first, for itself.
static int drain(struct journal *j, struct journal_problem *problem)
{
    struct ahead *a = j->ahead;
    for (int i = 0; i < 2; i++) {
        waiting_take(a);
        if (is_empty(&a->taken)) return 0;
        struct writing w = {.pending = &a->taken};
        int err = data_write(j, &w, problem);
        if (err != 0) return err;
        atomic_store_explicit(&a->drained, a->taken.run.until, memory_order_release);
        a->taken.run.first = a->taken.run.end = 0;
        buffer_clear(&a->taken.run.bytes);
        buffer_clear(&a->taken.rows);
    }
    return 0;
}

int journal_drain(struct journal *j, struct journal_problem *problem)
{
    if (j->ahead == NULL) return 0;
    pthread_mutex_lock(&j->writing);
    int err = drain(j, problem);
    pthread_mutex_unlock(&j->writing);
    return err;
}

// ---- append ---------------------------------------------------------------------

static int append_straight(struct journal *j, struct record *records, size_t count,
                           const struct journal_row *rows, size_t rows_count,
                           struct journal_problem *problem)
{
    struct writing w = {.records = records, .count = count, .rows = rows, .rows_count = rows_count};
    pthread_mutex_lock(&j->writing);
    int err = j->ahead != NULL ? drain(j, problem) : 0;
    if (err == 0) err = data_write(j, &w, problem);
    pthread_mutex_unlock(&j->writing);
    return err;
}

// Has AHEAD a place for them, now or when it is drained?
static bool is_for_ahead(const struct journal *j, const struct record *records, size_t count)
{
    if (j->ahead == NULL || count == 0 || !journal_has_room(j) ||
        ahead_frame_bytes(records, count) > j->ahead->bytes / 2)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (frame_magic_is_in(records[i].payload)) return false;
    }
    return true;
}

static int append_ahead(struct journal *j, struct record *records, size_t count,
                        const struct journal_row *rows, size_t rows_count,
                        struct journal_problem *problem)
{
    uint64_t size = ahead_frame_bytes(records, count);
    while (ahead_used(j) + size > j->ahead->bytes) {
        int err = journal_drain(j, problem);
        if (err != 0) return err;
    }
    int rc = ahead_put(j, records, count, rows, rows_count);
    return rc == 0 ? 0 : journal_failed(problem, rc, j->path, "write " AHEAD_NAME);
}

// What the caller promises of them, whichever way they go.
static void records_check(const struct journal *j, const struct record *records, size_t count)
{
    uint64_t seq = journal_end(j), time_ns = j->last_time_ns;
    for (size_t i = 0; i < count; i++) {
        ASSERT(records[i].seq == seq + i);
        ASSERT(records[i].time_ns >= time_ns);
        ASSERT(records[i].payload.size <= JOURNAL_PAYLOAD_BYTES_MAX);
        time_ns = records[i].time_ns;
    }
}

static void rows_check(const struct journal *j, const struct journal_row *rows, size_t count)
{
    uint64_t first = journal_first(j), end = journal_end(j);
    for (size_t i = 0; i < count; i++) {
        ASSERT(rows[i].bytes.size <= JOURNAL_ROW_BYTES_MAX);
        ASSERT(rows[i].seq >= first && rows[i].seq < end);
        ASSERT(i == 0 || rows[i].seq > rows[i - 1].seq);
    }
}

int journal_append(struct journal *j, struct record *records, size_t count,
                   const struct journal_row *rows, size_t rows_count,
                   struct journal_problem *problem)
{
    if (count == 0 && rows_count == 0 && !journal_is_trimming(j)) return 0;
    records_check(j, records, count);
    rows_check(j, rows, rows_count);
    int err = is_for_ahead(j, records, count)
                  ? append_ahead(j, records, count, rows, rows_count, problem)
                  : append_straight(j, records, count, rows, rows_count, problem);
    if (err != 0 || count == 0) return err;
    j->last_chain = records[count - 1].chain;
    j->last_time_ns = records[count - 1].time_ns;
    atomic_store_explicit(&j->end, records[count - 1].seq + 1, memory_order_release);
    return witness_write(j, problem);
}
