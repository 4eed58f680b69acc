// Tests of the journal on damage, which is done by opening the closed LMDB environment by hand.
#include "tests/test_journal.h"

#include <sys/wait.h>

#include "base/banned.h"

// Flips a bit of a value: the byte at `at`, from the end when it is below 0.
static void damage(const struct folder *f, const char *name, uint64_t seq, long at)
{
    struct table t = table_open(f, name);
    uint8_t key_bytes[8];
    key_encode(seq, key_bytes);
    MDB_val key = {8, key_bytes}, value;
    assert_int_equal(mdb_get(t.txn, t.dbi, &key, &value), 0);
    uint8_t copy[4096];
    assert_true(value.mv_size <= sizeof(copy));
    memcpy(copy, value.mv_data, value.mv_size);
    copy[at >= 0 ? (size_t)at : value.mv_size - (size_t)-at] ^= 1;
    value.mv_data = copy;
    assert_int_equal(mdb_put(t.txn, t.dbi, &key, &value, 0), 0);
    table_close(&t);
}

static void value_set(const struct folder *f, const char *name, MDB_val key, const void *bytes,
                      size_t size)
{
    struct table t = table_open(f, name);
    MDB_val value = {size, (void *)(uintptr_t)bytes};
    assert_int_equal(mdb_put(t.txn, t.dbi, &key, &value, 0), 0);
    table_close(&t);
}

static struct journal *damaged(struct folder *f, const char *table, uint64_t seq, long at)
{
    struct journal *j = must_open(f);
    assert_int_equal(append_numbered(j, 1000, NULL), 0);
    assert_int_equal(append_row(j, 700, "row"), 0);
    journal_close(j);
    damage(f, table, seq, at);
    return must_open(f);
}

static void assert_corrupt_at(struct folder *f, struct journal *j, uint64_t seq)
{
    char path[PATH_BYTES], number[32];
    assert_int_equal(read_numbered(f, j, 1), BOSKOS_E_CORRUPT);
    assert_int_equal(f->problem.seq, seq);
    assert_non_null(strstr(f->problem.text, path_in(f, "journal/data.mdb", path)));
    (void)snprintf(number, sizeof(number), "record %" PRIu64, seq);
    assert_non_null(strstr(f->problem.text, number));
    journal_close(j);
}

static void a_damaged_payload_is_found(void **state)
{
    struct folder *f = *state;
    assert_corrupt_at(f, damaged(f, "log", 600, -1), 600);
}

static void a_damaged_field_is_found(void **state)
{
    struct folder *f = *state;
    assert_corrupt_at(f, damaged(f, "log", 1, 0), 1); // the format, too, is told from a newer one
}

static void a_damaged_checksum_is_found(void **state)
{
    struct folder *f = *state;
    assert_corrupt_at(f, damaged(f, "log", 513, 16), 513);
}

static void a_damaged_row_is_found(void **state)
{
    struct folder *f = *state;
    assert_corrupt_at(f, damaged(f, "results", 700, 0), 700);
}

// A result under a key that is no sequence number: the later ones would not be found, as if they
// had not been written yet.
static void a_result_of_no_record_is_found(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_open(f);
    uint8_t key[9] = {0};
    int status = 0;
    assert_int_equal(append_numbered(j, 20, NULL), 0);
    assert_int_equal(append_row(j, 10, "row"), 0);
    key_encode(5, key);
    pid_t pid = fork();
    if (pid == 0) { // LMDB is opened once in a process
        value_set(f, "results", (MDB_val){sizeof(key), key}, "row", 3);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(read_numbered(f, j, 1), BOSKOS_E_CORRUPT);
    assert_int_equal(f->problem.seq, 1);
    assert_non_null(strstr(f->problem.text, "a result of no record"));
    journal_close(j);
    assert_int_equal(try_open(f, MAP_BYTES, 0, &j), BOSKOS_E_CORRUPT);
    assert_non_null(strstr(f->problem.text, "impossible key"));
}

// Of a log of `count` records the one of that number, damaged at that byte, is named.
static void assert_found_at_open(struct folder *f, size_t count, uint64_t seq, int byte)
{
    struct journal *j = must_open(f);
    assert_int_equal(append_numbered(j, count, NULL), 0);
    journal_close(j);
    damage(f, "log", seq, byte);
    assert_int_equal(try_open(f, MAP_BYTES, 0, &j), BOSKOS_E_CORRUPT);
    assert_int_equal(f->problem.seq, seq);
}

static void a_damaged_last_record_is_found_at_open(void **state)
{
    assert_found_at_open(*state, 10, 10, -1);
}

// The one after it, which is the last and is looked at first, does not follow from it.
static void a_damaged_checksum_before_the_last_record_is_found_at_open(void **state)
{
    assert_found_at_open(*state, 10, 9, 16);
}

static void a_damaged_checksum_of_the_first_of_two_records_is_found_at_open(void **state)
{
    assert_found_at_open(*state, 2, 1, 16);
}

static void a_cursor_gives_what_is_before_the_damage_and_then_stays(void **state)
{
    struct folder *f = *state;
    struct journal *j = damaged(f, "log", 600, -1);
    struct journal_cursor *c = cursor_at(f, j, 1);
    struct record r;
    struct journal_row row;
    for (uint64_t seq = 1; seq < 600; seq++)
        assert_int_equal(journal_cursor_next(c, &r, &row, &f->problem), 0);
    assert_int_equal(journal_cursor_next(c, &r, &row, &f->problem), BOSKOS_E_CORRUPT);
    assert_int_equal(journal_cursor_next(c, &r, &row, &f->problem), BOSKOS_E_CORRUPT);
    assert_int_equal(r.seq, 599);
    journal_cursor_close(c);
    journal_close(j);
}

static void a_value_too_short_is_found(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_open(f);
    assert_int_equal(append_numbered(j, 20, NULL), 0);
    journal_close(j);
    uint8_t key[8];
    key_encode(7, key);
    value_set(f, "log", (MDB_val){8, key}, "short", 5);
    assert_corrupt_at(f, must_open(f), 7);
}

static void a_gap_is_found(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_open(f);
    assert_int_equal(append_numbered(j, 1000, NULL), 0);
    journal_close(j);
    struct table t = table_open(f, "log");
    uint8_t key_bytes[8];
    key_encode(400, key_bytes);
    MDB_val key = {8, key_bytes};
    assert_int_equal(mdb_del(t.txn, t.dbi, &key, NULL), 0);
    table_close(&t);

    j = must_open(f);
    struct journal_cursor *c = NULL;
    assert_int_equal(journal_cursor_open(j, 401, NULL, &c, &f->problem), BOSKOS_E_CORRUPT);
    assert_int_equal(f->problem.seq, 400);
    assert_corrupt_at(f, j, 400);
}

static void a_log_without_its_beginning_is_read_from_where_it_begins(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_open(f);
    assert_int_equal(append_numbered(j, 100, NULL), 0);
    struct journal_cursor *c = cursor_at(f, j, 1);
    struct record r;
    struct journal_row row;
    for (int i = 0; i < 50; i++)
        assert_int_equal(journal_cursor_next(c, &r, &row, &f->problem), 0);
    struct hash128 chain = r.chain;
    journal_cursor_close(c);
    journal_close(j);

    struct table t = table_open(f, "log");
    for (uint64_t seq = 1; seq <= 50; seq++) {
        uint8_t key_bytes[8];
        key_encode(seq, key_bytes);
        MDB_val key = {8, key_bytes};
        assert_int_equal(mdb_del(t.txn, t.dbi, &key, NULL), 0);
    }
    table_close(&t);

    j = must_open(f);
    assert_int_equal(journal_first(j), 51);
    assert_int_equal(journal_end(j), 101);
    assert_int_equal(read_numbered(f, j, 51), 50);
    assert_int_equal(journal_cursor_open(j, 50, NULL, &c, &f->problem), BOSKOS_E_NOT_FOUND);
    assert_int_equal(journal_cursor_open(j, 51, &chain, &c, &f->problem), 0);
    assert_int_equal(journal_cursor_next(c, &r, &row, &f->problem), 0);
    journal_cursor_close(c);
    chain.high++;
    assert_int_equal(journal_cursor_open(j, 51, &chain, &c, &f->problem), 0);
    assert_int_equal(journal_cursor_next(c, &r, &row, &f->problem), BOSKOS_E_CORRUPT);
    assert_int_equal(f->problem.seq, 51);
    journal_cursor_close(c);
    journal_close(j);
}

static void a_newer_journal_is_recognised(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_open(f);
    assert_int_equal(append_numbered(j, 2, NULL), 0);
    journal_close(j);
    static const uint8_t newer[] = {0, JOURNAL_FORMAT + 1}, none[] = {0, 0};
    MDB_val key = {6, (void *)(uintptr_t) "format"};
    value_set(f, "meta", key, newer, sizeof(newer));
    assert_int_equal(try_open(f, MAP_BYTES, 0, &j), BOSKOS_E_TOO_NEW);
    assert_non_null(strstr(f->problem.text, "newer boskosd"));
    value_set(f, "meta", key, none, sizeof(none));
    assert_int_equal(try_open(f, MAP_BYTES, 0, &j), BOSKOS_E_CORRUPT);
}

static void a_newer_record_is_recognised(void **state)
{
    struct folder *f = *state;
    journal_close(must_open(f));
    uint8_t chained[40] = {[23] = 1, [25] = JOURNAL_FORMAT + 1}; // record 1, without a payload
    uint8_t value[32], key[8];
    key_encode(1, key);
    memcpy(value, chained + 24, 16);
    hash128_encode(hash128(chained, sizeof(chained)), value + 16);
    value_set(f, "log", (MDB_val){8, key}, value, sizeof(value));
    struct journal *j = NULL;
    assert_int_equal(try_open(f, MAP_BYTES, 0, &j), BOSKOS_E_TOO_NEW);
    assert_int_equal(f->problem.seq, 1);
}

// ---- LMDB's own pages -------------------------------------------------------

// Flips a bit of data.mdb.
static void flip_bit(const struct folder *f, long at, unsigned bit)
{
    char path[PATH_BYTES];
    uint8_t byte = 0;
    int fd = open(path_in(f, "journal/data.mdb", path), O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte = (uint8_t)(byte ^ 1u << bit);
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    assert_int_equal(close(fd), 0);
}

// Each bit of a number in a page: damage, and the line names the file.
static void assert_bits_matter(struct folder *f, long at, unsigned bits)
{
    char path[PATH_BYTES];
    struct journal *j = NULL;
    for (unsigned bit = 0; bit < bits; bit++) {
        flip_bit(f, at + bit / 8, bit % 8);
        assert_int_equal(try_open(f, MAP_BYTES, 0, &j), BOSKOS_E_CORRUPT);
        assert_non_null(strstr(f->problem.text, path_in(f, "journal/data.mdb", path)));
        flip_bit(f, at + bit / 8, bit % 8);
    }
    journal_close(must_open(f));
}

static void a_flipped_meta_page_is_found(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_open(f);
    for (int i = 0; i < 20; i++)
        assert_int_equal(append_numbered(j, 50, NULL), 0);
    journal_close(j);
    long page = sysconf(_SC_PAGESIZE);
    // Of both pages: the size of a page, which LMDB would divide by, and the transaction, without
    // which the last commit would be quietly lost. The 21st of them is on page 1.
    for (long meta = 0; meta < 2; meta++) {
        assert_bits_matter(f, meta * page + 40, 32);
        assert_bits_matter(f, meta * page + 144, 64);
    }
    assert_bits_matter(f, page + 128, 64); // the root of the tables
    assert_bits_matter(f, page + 80, 64);  // the root of the free pages
}

static void a_free_page_in_use_is_found(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_open(f);
    for (int i = 0; i < 21; i++)
        assert_int_equal(append_numbered(j, 50, NULL), 0);
    journal_close(j);

    // The first number in the list of free pages becomes that of the log's root: the next commit
    // would write over it. With a writable map what a cursor gives is the file's own page.
    char path[PATH_BYTES];
    MDB_env *env = NULL;
    MDB_txn *txn = NULL;
    MDB_cursor *free_pages = NULL, *tables = NULL;
    MDB_val key, list, table;
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_mapsize(env, MAP_BYTES), 0);
    assert_int_equal(mdb_env_open(env, path_in(f, "journal", path), MDB_WRITEMAP, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), 0);
    assert_int_equal(mdb_cursor_open(txn, 0, &free_pages), 0);
    assert_int_equal(mdb_cursor_open(txn, 1, &tables), 0);
    assert_int_equal(mdb_cursor_get(free_pages, &key, &list, MDB_FIRST), 0);
    assert_int_equal(mdb_cursor_get(tables, &key, &table, MDB_FIRST), 0); // `log`
    assert_true(list.mv_size >= 16 && table.mv_size == 48);
    memcpy((char *)list.mv_data + 8, (const char *)table.mv_data + 40, 8);
    mdb_cursor_close(free_pages);
    mdb_cursor_close(tables);
    mdb_txn_abort(txn);
    mdb_env_close(env);
    assert_int_equal(try_open(f, MAP_BYTES, 0, &j), BOSKOS_E_CORRUPT);
}

// A page of the tree instead of its root: what is below it is a whole tree, too, without the rest.
static void a_root_from_below_the_root_is_found(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_open(f);
    for (int i = 0; i < 20; i++)
        assert_int_equal(append_numbered(j, 50, NULL), 0);
    journal_close(j);
    char path[PATH_BYTES];
    MDB_env *env = NULL;
    MDB_txn *txn = NULL;
    MDB_cursor *tables = NULL;
    MDB_val key, table;
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_mapsize(env, MAP_BYTES), 0);
    assert_int_equal(mdb_env_open(env, path_in(f, "journal", path), MDB_WRITEMAP, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), 0);
    assert_int_equal(mdb_cursor_open(txn, 1, &tables), 0);
    assert_int_equal(mdb_cursor_get(tables, &key, &table, MDB_FIRST), 0); // `log`
    uint8_t *tree = table.mv_data, branch[4096];
    uint64_t root = 0, child = 0;
    uint16_t last = 0;
    memcpy(&root, tree + 40, 8);
    int fd = open(path_in(f, "journal/data.mdb", path), O_RDONLY | O_CLOEXEC);
    assert_int_equal(pread(fd, branch, sizeof(branch), (off_t)(root * sizeof(branch))), 4096);
    assert_int_equal(branch[10], 1);
    memcpy(&last, branch + (branch[12] | branch[13] << 8) - 2, 2);
    memcpy(&child, branch + last, 6); // a page's number, then the size of the key
    memcpy(tree + 40, &child, 8);
    (void)close(fd);
    mdb_cursor_close(tables);
    mdb_txn_abort(txn);
    mdb_env_close(env);
    assert_int_equal(try_open(f, MAP_BYTES, 0, &j), BOSKOS_E_CORRUPT);
    assert_non_null(strstr(f->problem.text, "root"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_damaged_payload_is_found),
        TEST(a_damaged_field_is_found),
        TEST(a_damaged_checksum_is_found),
        TEST(a_damaged_row_is_found),
        TEST(a_result_of_no_record_is_found),
        TEST(a_damaged_last_record_is_found_at_open),
        TEST(a_damaged_checksum_before_the_last_record_is_found_at_open),
        TEST(a_damaged_checksum_of_the_first_of_two_records_is_found_at_open),
        TEST(a_cursor_gives_what_is_before_the_damage_and_then_stays),
        TEST(a_value_too_short_is_found),
        TEST(a_gap_is_found),
        TEST(a_log_without_its_beginning_is_read_from_where_it_begins),
        TEST(a_newer_journal_is_recognised),
        TEST(a_newer_record_is_recognised),
        TEST(a_flipped_meta_page_is_found),
        TEST(a_free_page_in_use_is_found),
        TEST(a_root_from_below_the_root_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
