// The log: values put into the tables of a journal by hand, under keys of their own, some of them
// with the checksum they ought to have; then the journal is opened and read through a cursor.
// What is given out follows from record to record; what is not says where.
//
// Input: for each value a byte of flags, a byte of the key, the size in two bytes, the value.
#include "journal/internal.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/banned.h"

#define MAP_BYTES (64u << 20)
#define VALUES_MAX 64

enum flags {
    FLAG_ROW = 1,      // a row, not a record
    FLAG_CHECKSUM = 2, // give it the checksum that fits
    FLAG_ODD_KEY = 4,  // a key of another size
    FLAG_FAR_KEY = 8,  // a key far above
};

struct log {
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi tables[2]; // log, results
    struct hash128 chains[UINT8_MAX + 1];
};

static const char *journal_folder(void)
{
    static char path[128];
    if (path[0] != '\0') return path;
    struct journal_options options = {.dir = fuzz_folder(), .map_bytes = MAP_BYTES};
    struct journal *j = NULL;
    ASSERT(journal_open(&options, &j, NULL) == 0);
    journal_close(j);
    (void)snprintf(path, sizeof(path), "%s/journal", fuzz_folder());
    return path;
}

// Opens the tables, empty. The environment stays open between inputs: opening is the slow part.
static void log_begin(struct log *l)
{
    static MDB_env *env;
    if (env == NULL) {
        ASSERT(mdb_env_create(&env) == 0);
        ASSERT(mdb_env_set_maxdbs(env, 3) == 0 && mdb_env_set_mapsize(env, MAP_BYTES) == 0);
        ASSERT(mdb_env_open(env, journal_folder(), MDB_NOSYNC | MDB_NOTLS, 0600) == 0);
    }
    *l = (struct log){.env = env};
    ASSERT(mdb_txn_begin(env, NULL, 0, &l->txn) == 0);
    ASSERT(mdb_dbi_open(l->txn, "log", 0, &l->tables[0]) == 0);
    ASSERT(mdb_dbi_open(l->txn, "results", 0, &l->tables[1]) == 0);
    ASSERT(mdb_drop(l->txn, l->tables[0], 0) == 0 && mdb_drop(l->txn, l->tables[1], 0) == 0);
}

// Writes the checksum where the value has one: of a record in its head, of a row behind it.
static void checksum_put(struct log *l, bool is_row, uint8_t seq, const uint8_t key[KEY_BYTES],
                         uint8_t *value, size_t size)
{
    if (is_row && size >= ROW_CHECKSUM_BYTES) {
        uint8_t *joined = must_malloc(KEY_BYTES + size);
        memcpy(joined, key, KEY_BYTES);
        memcpy(joined + KEY_BYTES, value, size);
        bytes_put_u64(value + size - ROW_CHECKSUM_BYTES, hash64(joined, size, 0));
        free(joined);
    }
    if (!is_row && size >= RECORD_HEAD_BYTES && seq > 0) {
        uint8_t chained[RECORD_CHAINED_BYTES];
        struct hash128 chain;
        hash128_encode(l->chains[seq - 1], chained);
        memcpy(chained + HASH128_BYTES, key, KEY_BYTES);
        memcpy(chained + HASH128_BYTES + KEY_BYTES, value, RECORD_FIELDS_BYTES);
        struct text payload =
            text_of((const char *)value + RECORD_HEAD_BYTES, size - RECORD_HEAD_BYTES);
        ASSERT(record_checksum(chained, payload, &chain) == 0);
        hash128_encode(chain, value + RECORD_FIELDS_BYTES);
        l->chains[seq] = chain;
    }
}

static void value_put(struct log *l, struct text *rest)
{
    uint8_t flags = fuzz_byte(rest);
    uint8_t seq = fuzz_byte(rest);
    struct text block = fuzz_block(rest);
    bool is_row = (flags & FLAG_ROW) != 0;
    uint8_t key_bytes[KEY_BYTES];
    bytes_put_u64(key_bytes, seq | ((flags & FLAG_FAR_KEY) != 0 ? UINT64_MAX << 8 : 0));
    uint8_t *value = must_malloc(block.size);
    if (block.size > 0) memcpy(value, block.data, block.size);
    if ((flags & FLAG_CHECKSUM) != 0) checksum_put(l, is_row, seq, key_bytes, value, block.size);
    MDB_val key = {(flags & FLAG_ODD_KEY) != 0 ? KEY_BYTES - 1 : KEY_BYTES, key_bytes};
    MDB_val bytes = {block.size, value};
    int rc = mdb_put(l->txn, l->tables[is_row], &key, &bytes, 0);
    ASSERT(rc == 0 || rc == MDB_BAD_VALSIZE || rc == MDB_MAP_FULL);
    free(value);
}

// Reads everything; each record must follow from the one before.
static void check_cursor(struct journal *j)
{
    struct journal_cursor *c = NULL;
    struct journal_problem problem = {0};
    struct record r;
    struct journal_row row;
    uint64_t next = journal_first(j);
    struct hash128 before = {0, 0};
    bool before_known = next == 1;
    int err = journal_cursor_open(j, next, NULL, &c, &problem);
    ASSERT(err == 0);
    while ((err = journal_cursor_next(c, &r, &row, &problem)) == 0) {
        ASSERT(r.seq == next && next < journal_end(j));
        next++;
        uint8_t chained[RECORD_CHAINED_BYTES];
        struct hash128 chain;
        record_chained_encode(&r, before, chained);
        ASSERT(record_checksum(chained, r.payload, &chain) == 0);
        ASSERT(!before_known || hash128_equal(chain, r.chain));
        before = r.chain;
        before_known = true;
        ASSERT(row.seq == 0 || (row.seq == r.seq && row.bytes.size <= JOURNAL_ROW_BYTES_MAX));
    }
    ASSERT(err == BOSKOS_E_NOT_FOUND || err == BOSKOS_E_CORRUPT || err == BOSKOS_E_TOO_NEW);
    if (err == BOSKOS_E_NOT_FOUND)
        ASSERT(next == journal_end(j)); // never shorter
    else
        ASSERT(problem.text[0] != '\0' && problem.seq == next);
    journal_cursor_close(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text rest = text_of((const char *)data, size);
    struct log l;
    log_begin(&l);
    for (int i = 0; i < VALUES_MAX && rest.size > 0; i++)
        value_put(&l, &rest);
    ASSERT(mdb_txn_commit(l.txn) == 0);

    struct journal j = {.path = (char *)(uintptr_t)journal_folder(),
                        .lock_fd = -1,
                        .writing = PTHREAD_MUTEX_INITIALIZER,
                        .env = l.env,
                        .log = l.tables[0],
                        .results = l.tables[1]};
    struct journal_problem problem = {0};
    int err = journal_ends_find(&j, &problem);
    ASSERT(err == 0 || err == BOSKOS_E_CORRUPT || err == BOSKOS_E_TOO_NEW);
    if (err == 0)
        check_cursor(&j);
    else
        ASSERT(strstr(problem.text, "data.mdb") != NULL);
    journal_idle_drop(&j);
    ahead_tail_release(&j);
    return 0;
}
