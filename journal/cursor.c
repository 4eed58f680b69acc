#include "journal/internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/banned.h"

// A stretch is what one read transaction copies: it ends at the first of these, but has at least
// one record with its row, however large.
#define STRETCH_RECORDS_MAX 2048
#define STRETCH_BYTES_MAX (1024u * 1024)
#define PAGE_BYTES 4096u // of LMDB, mostly
#define LOOKS_MAX 100    // then it was no matter of a moment

// Where a record and its row lie in the cursor's buffer, each behind the bytes its checksum wants
// before it, so that it is hashed where it lies:
//   at:     16 checksum before (filled in when it is this record's turn) | 8 key | 16 fields |
//   payload row_at: 8 key | bytes | 8 checksum
struct entry {
    size_t at;
    size_t row_at; // 0: no row
    uint32_t payload_size;
    uint32_t row_size;
    struct hash128 chain; // as the log says
};

struct journal_cursor {
    struct journal *j;
    MDB_txn *txn; // reset between stretches: it keeps its slot, not its pages. In a journal that is
                  // opened only to be read it is there during one only
    MDB_cursor *log, *results;

    uint64_t next;        // the record that comes next
    struct hash128 chain; // of the one before it
    bool chain_known;
    uint64_t opened;      // the environment of a journal that is opened only to be read
    size_t stretch_max;   // records
    uint64_t rows_before; // from this record on the results are not looked at

    uint8_t *bytes;
    size_t capacity, used;
    size_t count, given;    // entries loaded, and given out
    const char *low, *high; // what of the map the stretch has touched
    struct entry entries[STRETCH_RECORDS_MAX];
};

// ---- transactions -----------------------------------------------------------

static int txn_open(struct journal_cursor *c, struct journal_problem *problem)
{
    int err = journal_read_begin(c->j, &c->txn, problem);
    if (err != 0) return err;
    int rc = mdb_cursor_open(c->txn, c->j->log, &c->log);
    if (rc == 0) rc = mdb_cursor_open(c->txn, c->j->results, &c->results);
    return rc == 0 ? 0 : journal_failed(problem, rc, c->j->path, "read the log in data.mdb");
}

static void txn_close(struct journal_cursor *c)
{
    if (c->log != NULL) mdb_cursor_close(c->log);
    if (c->results != NULL) mdb_cursor_close(c->results);
    if (c->txn != NULL) journal_read_end(c->j, c->txn);
    c->log = c->results = NULL;
    c->txn = NULL;
}

// Between two stretches nothing of the log is held.
static void txn_pause(struct journal_cursor *c)
{
    if (c->j->is_reader)
        txn_close(c);
    else
        mdb_txn_reset(c->txn);
}

// Where another file was opened since the last stretch it may be a copy of the log, or, after a
// repair, another log.
static int still_check(struct journal_cursor *c, struct journal_problem *problem)
{
    struct hash128 chain = {0, 0};
    if (c->opened == c->j->opened) return 0;
    int err = 0;
    bool is_known = c->chain_known && c->next > journal_first(c->j);
    if (is_known) err = journal_chain_read(c->j, c->txn, c->next - 1, &chain, NULL);
    if (!is_known || (err == 0 && hash128_equal(chain, c->chain))) {
        c->opened = c->j->opened;
        return 0;
    }
    return journal_problem(problem, BOSKOS_E_IO, c->next - 1,
                           "%s was replaced by another journal while it was read; start again",
                           c->j->path);
}

// AHEAD is looked at only by who has come to the end of data.mdb.
static int ends_look(struct journal_cursor *c, struct journal_problem *problem)
{
    int err = journal_ends_look(c->j, c->log, problem);
    if (err != 0 || c->next < atomic_load(&c->j->drained)) return err;
    return journal_tail_look(c->j, c->txn, problem);
}

// A transaction for whoever only reads, with the ends of the log as they are in it.
static int reader_open(struct journal_cursor *c, struct journal_problem *problem)
{
    int err = JOURNAL_AGAIN;
    while (err == JOURNAL_AGAIN) {
        txn_close(c);
        err = txn_open(c, problem);
        if (err == 0) err = ends_look(c, problem);
    }
    return err;
}

static int reader_resume(struct journal_cursor *c, struct journal_problem *problem)
{
    int err = reader_open(c, problem);
    if (err == 0) err = still_check(c, problem);
    if (err != 0) txn_close(c);
    return err;
}

static int txn_resume(struct journal_cursor *c, struct journal_problem *problem)
{
    if (c->j->is_reader) return reader_resume(c, problem);
    int rc = mdb_txn_renew(c->txn);
    if (rc != 0) return journal_failed(problem, rc, c->j->path, "read the log in data.mdb");
    rc = mdb_cursor_renew(c->txn, c->log);
    if (rc == 0) rc = mdb_cursor_renew(c->txn, c->results);
    if (rc == 0) return 0;
    mdb_txn_reset(c->txn);
    return journal_failed(problem, rc, c->j->path, "read the log in data.mdb");
}

// ---- open -------------------------------------------------------------------

static int trimmed(const struct journal_cursor *c, struct journal_problem *problem)
{
    return journal_problem(problem, BOSKOS_E_TRIMMED, c->next,
                           "%s: record %" PRIu64 " is no longer kept", c->j->path, c->next);
}

// Takes the checksum before the first record from the log where it is there.
static int chain_read(struct journal_cursor *c, uint64_t from, struct journal_problem *problem)
{
    int err = 0;
    if (from > 1) { // before the first it is zero
        if (from == journal_first(c->j)) return 0;
        err = journal_chain_read(c->j, c->txn, from - 1, &c->chain, problem);
    }
    c->chain_known = err == 0;
    return err;
}

static int outside(const struct journal *j, uint64_t from, struct journal_problem *problem)
{
    bool was_there = j->is_reader && from < journal_first(j);
    return journal_problem(problem, was_there ? BOSKOS_E_TRIMMED : BOSKOS_E_NOT_FOUND, from,
                           "%s has no record %" PRIu64 "; it has %" PRIu64 " up to %" PRIu64,
                           j->path, from, journal_first(j), journal_end(j) - 1);
}

int journal_cursor_open(struct journal *j, uint64_t from, const struct hash128 *before,
                        struct journal_cursor **ret_cursor, struct journal_problem *problem)
{
    int err = 0;
    struct journal_cursor *c = calloc(1, sizeof(*c));
    if (c != NULL) c->bytes = malloc(STRETCH_BYTES_MAX);
    if (c == NULL || c->bytes == NULL) {
        err = journal_problem(problem, BOSKOS_E_NOMEM, 0, "%s: no memory", j->path);
        goto out;
    }
    c->capacity = STRETCH_BYTES_MAX;
    c->j = j;
    c->next = from;
    c->stretch_max = STRETCH_RECORDS_MAX;
    c->rows_before = UINT64_MAX;
    if (!j->is_reader && from > atomic_load(&j->drained)) err = journal_drain(j, problem);
    if (err == 0) err = j->is_reader ? reader_open(c, problem) : txn_open(c, problem);
    if (err == 0 && (from < journal_first(j) || from > journal_end(j)))
        err = outside(j, from, problem);
    c->opened = j->opened;
    if (err == 0) err = chain_read(c, from, problem);
    if (err != 0) goto out;
    if (before != NULL && c->chain_known && !hash128_equal(c->chain, *before)) {
        err = journal_problem(problem, BOSKOS_E_CORRUPT, from - 1,
                              "%s/data.mdb: the checksum of record %" PRIu64
                              " is another than the one it must have",
                              j->path, from - 1);
        goto out;
    }
    if (before != NULL) {
        c->chain = *before;
        c->chain_known = true;
    }
    txn_pause(c);

    *ret_cursor = c;
    c = NULL;
out:
    journal_cursor_close(c);
    return err;
}

int journal_damaged_cursor(struct journal *j, uint64_t from, const struct hash128 *before,
                           uint64_t rows_before, struct journal_cursor **ret_cursor,
                           struct journal_problem *problem)
{
    struct journal_cursor *c = NULL;
    atomic_store(&j->first, from); // what is before it is not looked at
    atomic_store(&j->end, UINT64_MAX);
    atomic_store(&j->drained, UINT64_MAX); // where that is will be seen
    int err = journal_cursor_open(j, from, before, &c, problem);
    if (err != 0) return err;
    ASSERT(c != NULL);
    c->stretch_max = 1;
    c->rows_before = rows_before;
    *ret_cursor = c;
    return 0;
}

void journal_cursor_close(struct journal_cursor *c)
{
    if (c == NULL) return;
    txn_close(c);
    free(c->bytes);
    free(c);
}

// ---- load a stretch ---------------------------------------------------------

// Gives the buffer another size; what is in it is lost.
static int capacity_set(struct journal_cursor *c, size_t capacity, struct journal_problem *problem)
{
    free(c->bytes);
    c->capacity = 0;
    c->bytes = malloc(capacity);
    if (c->bytes == NULL) {
        return journal_problem(problem, BOSKOS_E_NOMEM, 0, "%s: no memory for a record",
                               c->j->path);
    }
    c->capacity = capacity;
    return 0;
}

// The results and the log are gone through side by side: a result of no record would keep the later
// ones from being found.
static int row_key_check(const struct journal_cursor *c, uint64_t seq, const MDB_val *key,
                         const MDB_val *row_key, struct journal_problem *problem)
{
    int order =
        row_key->mv_size == KEY_BYTES ? memcmp(row_key->mv_data, key->mv_data, KEY_BYTES) : -1;
    if (order == 0 || (order > 0 && !c->j->is_reader)) return 0;
    if (order > 0) { // of one moment: results are missing at the end only
        return journal_problem(problem, BOSKOS_E_CORRUPT, seq,
                               "%s/data.mdb: the result of record %" PRIu64
                               " is missing, and a later one is there",
                               c->j->path, seq);
    }
    return journal_problem(problem, BOSKOS_E_CORRUPT, seq,
                           "%s/data.mdb: from record %" PRIu64 " on there is a result of no record",
                           c->j->path, seq);
}

// Checks the forms without which the bytes could not be copied; the rest is checked when given out.
static int forms_check(const struct journal_cursor *c, uint64_t seq, const MDB_val *key,
                       const MDB_val *value, const MDB_val *row, struct journal_problem *problem)
{
    const char *path = c->j->path;
    if (key->mv_size != KEY_BYTES || bytes_get_u64(key->mv_data) != seq) {
        return journal_problem(problem, BOSKOS_E_CORRUPT, seq,
                               "%s/data.mdb: record %" PRIu64 " is missing", path, seq);
    }
    int err = record_size_check(path, seq, value->mv_size, problem);
    if (err != 0) return err;
    if (row != NULL && (row->mv_size < ROW_CHECKSUM_BYTES ||
                        row->mv_size - ROW_CHECKSUM_BYTES > JOURNAL_ROW_BYTES_MAX)) {
        return journal_problem(
            problem, BOSKOS_E_CORRUPT, seq,
            "%s/data.mdb: the result of record %" PRIu64 " has an impossible size", path, seq);
    }
    return 0;
}

static void touched_add(struct journal_cursor *c, const MDB_val *v)
{
    const char *data = v->mv_data;
    if (c->low == NULL || data < c->low) c->low = data;
    if (c->high == NULL || data + v->mv_size > c->high) c->high = data + v->mv_size;
}

// Lets go of the log's pages that were copied: they stay in the system's cache, but do not count as
// this process's memory. Who needs one again finds it there.
static void touched_drop(struct journal_cursor *c)
{
    if (c->low == NULL) return;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t low = (uintptr_t)c->low / page * page;
    (void)madvise((void *)low, (uintptr_t)c->high - low, MADV_DONTNEED);
    c->low = c->high = NULL;
}

// Makes room for so many bytes behind what is loaded. *ret_fits is false when the stretch is full
// before them.
static int room_make(struct journal_cursor *c, size_t size, bool *ret_fits,
                     struct journal_problem *problem)
{
    *ret_fits = true;
    if (c->used + size <= c->capacity) return 0;
    *ret_fits = c->count == 0;
    return *ret_fits ? capacity_set(c, size, problem) : 0;
}

// Copies a record and its row (NULL: none) behind what is loaded.
static int entry_add(struct journal_cursor *c, const MDB_val *value, const MDB_val *key,
                     const MDB_val *row, bool *ret_fits, struct journal_problem *problem)
{
    size_t payload_size = value->mv_size - RECORD_HEAD_BYTES;
    size_t size = aligned(RECORD_CHAINED_BYTES + payload_size);
    size_t row_size = row != NULL ? aligned(KEY_BYTES + row->mv_size) : 0;
    int err = room_make(c, size + row_size, ret_fits, problem);
    if (err != 0 || !*ret_fits) return err;

    struct entry *e = &c->entries[c->count++];
    const uint8_t *from = value->mv_data;
    uint8_t *to = c->bytes + c->used + HASH128_BYTES;
    e->at = c->used;
    e->payload_size = (uint32_t)payload_size;
    e->chain = hash128_decode(from + RECORD_FIELDS_BYTES);
    // The pages of a table were mostly written one behind the other: what lies a page further is
    // the next to be copied, and is brought near meanwhile. The processor drops a hint at what is
    // not mapped. (In a function that did nothing else the compiler would drop it.)
    __builtin_prefetch(from + PAGE_BYTES);
    if (row != NULL) __builtin_prefetch((const char *)row->mv_data + PAGE_BYTES);
    memcpy(to, key->mv_data, KEY_BYTES);
    memcpy(to + KEY_BYTES, from, RECORD_FIELDS_BYTES);
    memcpy(to + KEY_BYTES + RECORD_FIELDS_BYTES, from + RECORD_HEAD_BYTES, payload_size);
    c->used += size;
    touched_add(c, value);

    e->row_at = 0;
    if (row != NULL) {
        touched_add(c, row);
        e->row_at = c->used;
        e->row_size = (uint32_t)(row->mv_size - ROW_CHECKSUM_BYTES);
        memcpy(c->bytes + c->used, key->mv_data, KEY_BYTES);
        memcpy(c->bytes + c->used + KEY_BYTES, row->mv_data, row->mv_size);
        c->used += row_size;
    }
    return 0;
}

// The same from what AHEAD has, which knows no results.
static int tail_copy(struct journal_cursor *c, uint64_t end, struct journal_problem *problem)
{
    struct ahead_record r;
    int err = 0;
    while (c->count < c->stretch_max && c->next + c->count < end &&
           ahead_tail_find(c->j, c->next + c->count, &r)) {
        bool fits;
        size_t size = RECORD_CHAINED_BYTES + (size_t)r.payload.size;
        err = room_make(c, aligned(size), &fits, problem);
        if (err != 0 || !fits) break;
        c->entries[c->count++] =
            (struct entry){.at = c->used, .payload_size = r.payload.size, .chain = r.chain};
        memcpy(c->bytes + c->used, r.chained, size);
        c->used += aligned(size);
    }
    return c->count > 0 ? 0 : err;
}

// Of a damaged journal the end of data.mdb is found by coming to it; AHEAD may go on there.
static bool damaged_tail_copy(struct journal_cursor *c)
{
    if (atomic_load(&c->j->drained) == UINT64_MAX) atomic_store(&c->j->drained, c->next);
    if (c->next < atomic_load(&c->j->drained)) return false;
    if (c->next == atomic_load(&c->j->drained) && ahead_tail_read(c->j, c->txn, false, NULL) != 0)
        return false;
    return tail_copy(c, UINT64_MAX, NULL) == 0 && c->count > 0;
}

// Walks the log and the results side by side. An error behind a good record is left for the next
// stretch, which meets it first.
static int stretch_copy(struct journal_cursor *c, uint64_t end, struct journal_problem *problem)
{
    uint8_t from[KEY_BYTES];
    bytes_put_u64(from, c->next);
    int err = 0;
    if (c->j->pages != NULL) err = journal_pages_go(c->j->pages, c->next + c->stretch_max, problem);
    if (err != 0) return err;
    MDB_val key = {KEY_BYTES, from}, row_key = {KEY_BYTES, from};
    MDB_val value, row;
    int rc = mdb_cursor_get(c->log, &key, &value, MDB_SET_RANGE);
    int row_rc = MDB_NOTFOUND;
    if (c->next < c->rows_before)
        row_rc = mdb_cursor_get(c->results, &row_key, &row, MDB_SET_RANGE);
    bool fits = true;

    while (c->count < c->stretch_max && c->next + c->count < end) {
        uint64_t seq = c->next + c->count;
        struct journal_problem *p = c->count == 0 ? problem : NULL;
        if (rc == MDB_NOTFOUND && end == UINT64_MAX && c->count == 0 && damaged_tail_copy(c)) break;
        if (rc == MDB_NOTFOUND) {
            err = journal_problem(p, BOSKOS_E_CORRUPT, seq,
                                  "%s/data.mdb: record %" PRIu64 " is missing", c->j->path, seq);
            break;
        }
        if (rc == 0 && row_rc != 0 && row_rc != MDB_NOTFOUND) rc = row_rc;
        if (rc != 0) {
            err = journal_failed(p, rc, c->j->path, "read the log in data.mdb");
            break;
        }
        bool has_row = row_rc == 0 && row_key.mv_size == KEY_BYTES &&
                       memcmp(row_key.mv_data, key.mv_data, KEY_BYTES) == 0;
        err = forms_check(c, seq, &key, &value, has_row ? &row : NULL, p);
        if (err == 0 && row_rc == 0) err = row_key_check(c, seq, &key, &row_key, p);
        if (err != 0) break;
        err = entry_add(c, &value, &key, has_row ? &row : NULL, &fits, p);
        if (err != 0 || !fits || c->count == c->stretch_max) break;
        rc = mdb_cursor_get(c->log, &key, &value, MDB_NEXT);
        if (has_row) row_rc = mdb_cursor_get(c->results, &row_key, &row, MDB_NEXT);
    }
    return c->count > 0 ? 0 : err;
}

// One look, which finds nothing (c->count 0) when what it was to find in AHEAD was moved meanwhile.
static int stretch_look(struct journal_cursor *c, struct journal_problem *problem)
{
    int err = txn_resume(c, problem);
    if (err != 0) return err;
    uint64_t end = journal_end(c->j), drained = atomic_load(&c->j->drained);
    if (c->next >= end)
        err = BOSKOS_E_NOT_FOUND;
    else if (c->j->is_reader && c->next < journal_first(c->j))
        err = trimmed(c, problem);
    else if (c->j->is_reader && c->next >= drained)
        err = tail_copy(c, end, problem);
    else
        err = stretch_copy(c, end < drained || end == UINT64_MAX ? end : drained, problem);
    touched_drop(c); // while the map is there
    txn_pause(c);
    return err;
}

static int stretch_load(struct journal_cursor *c, struct journal_problem *problem)
{
    c->count = 0;
    c->given = 0;
    c->used = 0;
    if (c->capacity != STRETCH_BYTES_MAX) { // the last record was a large one, or memory ran out
        int err = capacity_set(c, STRETCH_BYTES_MAX, problem);
        if (err != 0) return err;
    }
    int err = 0;
    if (!c->j->is_reader) { // the appending process knows the end without looking
        if (c->next >= journal_end(c->j)) return BOSKOS_E_NOT_FOUND;
        if (c->next >= atomic_load(&c->j->drained)) err = journal_drain(c->j, problem);
    }
    for (int i = 0; err == 0 && c->count == 0; i++) {
        err = stretch_look(c, problem);
        if (err == 0 && c->count == 0 && i == LOOKS_MAX)
            err = journal_problem(problem, BOSKOS_E_IO, c->next,
                                  "%s: it changes faster than it can be read", c->j->path);
    }
    return err;
}

// ---- give out ---------------------------------------------------------------

// Checks what was loaded against the record before and fills in the fields of `r`.
static int entry_check(struct journal_cursor *c, const struct entry *e, struct record *r,
                       struct journal_problem *problem)
{
    const char *path = c->j->path;
    uint8_t *bytes = c->bytes + e->at;
    if (c->chain_known) {
        hash128_encode(c->chain, bytes);
        struct hash128 checksum = hash128(bytes, RECORD_CHAINED_BYTES + (size_t)e->payload_size);
        if (!hash128_equal(checksum, e->chain)) {
            return journal_problem(problem, BOSKOS_E_CORRUPT, c->next,
                                   "%s/data.mdb: the checksum of record %" PRIu64 " does not fit",
                                   path, c->next);
        }
    }
    int err = record_fields_decode(path, bytes + HASH128_BYTES + KEY_BYTES, r, problem);
    if (err != 0) return err;
    if (e->row_at == 0) return 0;

    const uint8_t *row = c->bytes + e->row_at;
    size_t row_size = KEY_BYTES + (size_t)e->row_size;
    if (hash64(row, row_size, 0) != bytes_get_u64(row + row_size)) {
        return journal_problem(problem, BOSKOS_E_CORRUPT, c->next,
                               "%s/data.mdb: the checksum of the result of record %" PRIu64
                               " does not fit",
                               path, c->next);
    }
    return 0;
}

int journal_cursor_next(struct journal_cursor *c, struct record *ret_record,
                        struct journal_row *ret_row, struct journal_problem *problem)
{
    if (c->given == c->count) {
        int err = stretch_load(c, problem);
        if (err != 0) return err;
    }
    const struct entry *e = &c->entries[c->given];
    struct record r = {
        .seq = c->next,
        .payload = text_of((const char *)c->bytes + e->at + RECORD_CHAINED_BYTES, e->payload_size),
        .chain = e->chain,
    };
    int err = entry_check(c, e, &r, problem);
    if (err != 0) return err;

    struct journal_row row = {0, TEXT_NONE};
    if (e->row_at != 0) {
        row.seq = c->next;
        row.bytes = text_of((const char *)c->bytes + e->row_at + KEY_BYTES, e->row_size);
    }
    c->chain = e->chain;
    c->chain_known = true;
    c->next++;
    c->given++;
    *ret_record = r;
    *ret_row = row;
    return 0;
}

bool journal_cursor_ahead(const struct journal_cursor *c, size_t ahead, uint16_t *ret_kind,
                          struct text *ret_payload)
{
    if (ahead >= c->count - c->given) return false;
    const struct entry *e = &c->entries[c->given + ahead];
    const uint8_t *bytes = c->bytes + e->at;
    *ret_kind = record_kind(bytes + HASH128_BYTES + KEY_BYTES);
    *ret_payload = text_of((const char *)bytes + RECORD_CHAINED_BYTES, e->payload_size);
    return true;
}
