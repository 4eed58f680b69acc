// Tests of the write-ahead file while it is written: where batches go, that the ring may be as full
// and may wrap where it likes, who drains it, and what every other thing that is done to a journal
// makes of what is still in it.
#include "tests/test_journal_ahead.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "base/banned.h"

#define AHEAD_TEST(name) cmocka_unit_test_setup_teardown(name, setup, unlimit)

static uint64_t meta_ahead(const struct folder *f)
{
    struct table t = table_open(f, "meta");
    char name[] = "ahead";
    MDB_val key = {5, name}, value;
    uint64_t position = 0;
    int rc = mdb_get(t.txn, t.dbi, &key, &value);
    assert_true(rc == 0 || rc == MDB_NOTFOUND);
    assert_int_equal(rc == 0 ? value.mv_size : 8, 8);
    for (size_t i = 0; i < 8 && rc == 0; i++)
        position = position << 8 | ((const uint8_t *)value.mv_data)[i];
    table_close(&t);
    return position;
}

// ---- bytes ------------------------------------------------------------------

// The frame of docs/FORMAT.md.
static const uint8_t golden[] = {
    'B', 'O', 'S', 'K', 'O', 'S', 'A', 'H', 0, 1, 0, 0, 0, 0, 0, 0,   // magic, format 1
    0,   0,   0,   0,   0,   0,   0,   2,   0, 0, 0, 0, 0, 0, 0, 0,   // two records, position 0
    0,   0,   0,   0,   0,   0,   0,   1,   0, 0, 0, 0, 0, 0, 0, 112, // the first is 1; bytes
};

static void a_frame_has_the_bytes_of_the_format(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    size_t size;
    struct journal *j = must_ahead(f);
    must_append(f, j, 2);
    struct hash128 last = journal_last_chain(j);
    uint8_t *bytes = file_read(path_in(f, "journal/AHEAD", path), &size);
    assert_int_equal(size, RING_BYTES);
    assert_int_equal(mode_of(path), 0600);
    assert_memory_equal(bytes, golden, sizeof(golden));
    uint8_t chain[16];
    hash128_encode(last, chain);
    assert_memory_equal(bytes + 48, chain, 16);
    hash128_encode(hash128(bytes, 64), chain);
    uint8_t covered[16 + 112];
    memcpy(covered, chain, 16);
    memcpy(covered + 16, bytes + 80, 112);
    hash128_encode(hash128(covered, sizeof(covered)), chain);
    assert_memory_equal(bytes + 64, chain, 16);

    static const uint8_t record_2[] = {0, 0, 0, 0, 0, 0, 0, 8}; // "record 2"
    static const uint8_t fields_2[] = {
        0,   0,   0,   0,   0,   0,   0,    2,    // number
        0,   1,   0,   3,   0,   7,   0,    0,    // format, semantics, kind
        0,   0,   0,   0,   0,   0,   0x03, 0xea, // time
        'r', 'e', 'c', 'o', 'r', 'd', ' ',  '2'};
    const uint8_t *second = bytes + 80 + 56;
    assert_memory_equal(second, record_2, sizeof(record_2));
    hash128_encode(hash128(bytes + 88, 48), chain); // of record 1, bytes 8 to the payload's end
    assert_memory_equal(second + 8, chain, 16);
    assert_memory_equal(second + 24, fields_2, sizeof(fields_2));
    for (size_t i = 80 + 112; i < size; i++)
        assert_int_equal(bytes[i], 0);
    free(bytes);
    assert_int_equal(waiting_bytes(j), 192);
    journal_close(j);
    assert_int_equal(meta_ahead(f), 192);
}

static void without_the_option_there_is_none(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    struct journal *j = must_open(f);
    assert_int_equal(append_numbered(j, 3, NULL), 0);
    assert_int_equal(journal_drain(j, NULL), 0);
    journal_close(j);
    assert_false(exists(path_in(f, "journal/AHEAD", path)));
    assert_int_equal(meta_ahead(f), 0);
}

// ---- the ring ---------------------------------------------------------------

// Appends what is needed for the next frame to begin so many bytes before the ring's end.
static void fill_up(struct folder *f, struct journal *j, uint64_t *position, uint64_t before_end)
{
    uint64_t here = *position % RING_BYTES;
    uint64_t left = 2 * RING_BYTES - before_end - here;
    while (left > 0) {
        uint64_t size = left < RING_BYTES / 2 ? left : left < RING_BYTES ? left / 2 / 8 * 8 : 24000;
        assert_int_equal(append_frame(f, j, (size_t)size), 0);
        must_drain(f, j);
        left -= size;
        *position += size;
    }
}

static void a_frame_may_wrap_at_every_offset(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_ahead(f);
    const uint64_t frame = HEAD_BYTES + 3 * 64; // records 10 and later
    uint64_t position = HEAD_BYTES + 9 * 56;
    must_append(f, j, 9);
    for (uint64_t before_end = 0; before_end <= frame + 8; before_end += 8) {
        fill_up(f, j, &position, before_end);
        must_append(f, j, 3);
        must_append(f, j, 3); // and one behind
        position += 2 * frame;
        if (waiting_bytes(j) != 2 * frame) fail_msg("%" PRIu64, waiting_bytes(j));
        struct folder image = image_of(f, "image");
        assert_recovers(&image, journal_end(j) - 1, true);
        assert_int_equal(meta_ahead(&image), position);
        must_drain(f, j);
    }
    journal_close(j);
    assert_int_equal(meta_ahead(f), position);
}

static void what_fits_into_half_of_the_ring_goes_there(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_ahead(f);
    assert_int_equal(append_frame(f, j, RING_BYTES / 2), 0);
    assert_int_equal(waiting_bytes(j), RING_BYTES / 2);
    assert_int_equal(append_frame(f, j, RING_BYTES / 2), 0); // it is full to the last byte
    assert_int_equal(waiting_bytes(j), RING_BYTES);
    struct folder image = image_of(f, "image");
    assert_recovers(&image, 2, true);
    assert_int_equal(append_frame(f, j, RING_BYTES / 2 - 8), 0); // drains first
    assert_int_equal(waiting_bytes(j), RING_BYTES / 2 - 8);
    assert_int_equal(append_frame(f, j, RING_BYTES / 2 + 8), 0); // goes straight, after a drain
    assert_int_equal(waiting_bytes(j), 0);
    image = image_of(f, "image");
    assert_recovers(&image, 4, true);
    must_append(f, j, 1);
    assert_int_equal(waiting_bytes(j), HEAD_BYTES + 56);
    image = image_of(f, "image");
    assert_recovers(&image, 5, true);
    journal_close(j);
    assert_recovers(f, 5, true);
}

static void a_full_ring_is_drained_by_the_append(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_ahead(f);
    uint64_t most = 0, falls = 0, before = 0;
    for (int i = 0; i < 1000; i++) { // six times round
        must_append(f, j, 5);
        uint64_t now = waiting_bytes(j);
        falls += now < before;
        most = now > most ? now : most;
        before = now;
    }
    assert_in_range(falls, 5, 7);
    assert_in_range(most, RING_BYTES - (HEAD_BYTES + 5 * 64), RING_BYTES);
    struct folder image = image_of(f, "image");
    assert_recovers(&image, 5000, false);
    assert_int_equal(read_numbered(f, j, 1), 5000); // a cursor drains
    journal_close(j);
}

static void closing_drains(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_ahead(f);
    must_append(f, j, 10);
    journal_close(j);
    assert_int_equal(meta_ahead(f), HEAD_BYTES + 9 * 56 + 64);
    char path[PATH_BYTES];
    assert_int_equal(unlink(path_in(f, "journal/AHEAD", path)), 0); // nothing was left in it
    j = must_open(f);
    assert_int_equal(read_numbered(f, j, 1), 10);
    journal_close(j);
    assert_recovers(f, 10, false); // with one made anew, which begins where the old one ended
    j = must_ahead(f);
    must_append(f, j, 1);
    struct folder image = image_of(f, "image");
    assert_recovers(&image, 11, false);
    assert_int_equal(meta_ahead(&image), HEAD_BYTES * 2 + 9 * 56 + 2 * 64);
    journal_close(j);
}

// ---- room -------------------------------------------------------------------

// No file may grow beyond this, nor be written there.
static void limit_files(uint64_t bytes)
{
    struct rlimit limit;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void what_finds_no_room_is_drained_later(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_ahead(f);
    uint64_t records = 0;
    for (; records < 20; records++) { // data.mdb's next pages are beyond the limit
        assert_int_equal(append_frame(f, j, 20000), 0);
        must_drain(f, j);
    }
    must_append(f, j, 5);
    records += 5;
    limit_files(RING_BYTES);
    assert_int_equal(journal_drain(j, &f->problem), BOSKOS_E_NOSPACE);
    must_append(f, j, 5); // it has its place in the ring
    records += 5;
    assert_int_equal(journal_drain(j, &f->problem), BOSKOS_E_NOSPACE);
    limit_files(RLIM_INFINITY);
    struct folder image = image_of(f, "image");
    limit_files(RING_BYTES);
    int err = 0;
    while (err == 0 && records < 2000) {
        err = append_numbered(j, 5, &f->problem);
        if (err == 0) records += 5;
    }
    assert_int_equal(err, BOSKOS_E_NOSPACE); // and now it is full
    assert_int_equal(journal_end(j), records + 1);
    assert_in_range(waiting_bytes(j), RING_BYTES - HEAD_BYTES - 5 * 64, RING_BYTES);
    limit_files(RLIM_INFINITY);
    assert_recovers(&image, 30, true);
    image = image_of(f, "image");
    assert_recovers(&image, records, true);
    must_append(f, j, 5);
    assert_int_equal(waiting_bytes(j), HEAD_BYTES + 5 * 64);
    assert_int_equal(read_all(f, j), records + 5);
    journal_close(j);
    assert_recovers(f, records + 5, true);
}

static void rows_wait_with_their_records(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_ahead(f);
    char payload[] = "record 1";
    for (uint64_t seq = 1; seq <= 30; seq++) {
        int size = snprintf(payload, sizeof(payload), "%" PRIu64, seq);
        struct record r = {.seq = seq, .time_ns = seq, .payload = text_of(payload, (size_t)size)};
        struct journal_row row = {seq - 1, text_of(payload, (size_t)size)};
        assert_int_equal(journal_append(j, &r, 1, &row, seq > 1 ? 1 : 0, &f->problem), 0);
        if (seq % 7 == 0) must_drain(f, j);
    }
    assert_int_equal(journal_rows_end(j), 28);
    struct journal_cursor *c = cursor_at(f, j, 1);
    struct record r;
    struct journal_row row;
    for (uint64_t seq = 1; seq <= 30; seq++) {
        assert_int_equal(journal_cursor_next(c, &r, &row, &f->problem), 0);
        if (seq > 27) continue; // its row came after the stretch, or not at all
        assert_int_equal(row.seq, seq);
    }
    journal_cursor_close(c);
    struct folder image = image_of(f, "image");
    struct journal *found = must_ahead(&image);
    assert_int_equal(journal_rows_end(found), 30);
    journal_close(found);
    journal_close(j);
}

// While room is short nothing is promised that has no place in data.mdb.
static void without_room_batches_go_straight(void **state)
{
    struct folder *f = *state;
    struct journal *j = NULL;
    struct journal_options options = {
        .dir = f->dir, .map_bytes = MAP_BYTES, .step_bytes = STEP_BYTES, .ahead = true};
    assert_int_equal(journal_open(&options, &j, &f->problem), 0);
    assert_false(journal_has_room(j));
    assert_int_equal(append_numbered(j, 5, NULL), 0);
    assert_int_equal(waiting_bytes(j), 0);
    must_append(f, j, 4);
    assert_int_equal(waiting_bytes(j), HEAD_BYTES + 4 * 56);
    journal_close(j);
    assert_recovers(f, 9, false);
}

// Every way to append, in an order that a seed decides, and a kill after each.
static void straight_and_ahead_in_any_order(void **state)
{
    struct folder *f = *state;
    uint64_t random = 7;
    struct journal *j = must_ahead(f);
    for (int i = 0; i < 120; i++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        uint64_t end = journal_end(j);
        switch (random >> 60) {
        case 0: assert_int_equal(append_frame(f, j, RING_BYTES / 2 + 8), 0); break;
        case 1: must_drain(f, j); break;
        case 2: assert_int_equal(append_row(j, end - 1 > 0 ? end - 1 : 0, "row"), 0); break;
        case 3: assert_int_equal(append_frame(f, j, RING_BYTES / 2), 0); break;
        case 4: // it is not opened by who does not want one, but what is there is used
            journal_close(j);
            j = must_open(f);
            assert_int_equal(append_numbered(j, 2, NULL), 0);
            journal_close(j);
            j = must_ahead(f);
            break;
        default: must_append(f, j, 1 + (random >> 50) % 9); break;
        }
        if (journal_end(j) == 1) continue;
        struct folder image = image_of(f, "image");
        assert_recovers(&image, journal_end(j) - 1, true);
    }
    journal_close(j);
}

// ---- threads ----------------------------------------------------------------

struct threads {
    struct folder *f;
    struct journal *j;
    atomic_bool is_over;
    atomic_int drains, failures;
};

static void *drain_main(void *context)
{
    struct threads *t = context;
    while (!atomic_load(&t->is_over)) {
        if (journal_drain(t->j, NULL) != 0) atomic_fetch_add(&t->failures, 1);
        atomic_fetch_add(&t->drains, 1);
    }
    return NULL;
}

static void *read_main(void *context)
{
    struct threads *t = context;
    struct record r;
    struct journal_row row;
    struct journal_cursor *c = NULL;
    uint64_t next = 1;
    int err = journal_cursor_open(t->j, 1, NULL, &c, NULL);
    while (err == 0) {
        bool is_over = atomic_load(&t->is_over);
        err = journal_cursor_next(c, &r, &row, NULL);
        if (err == 0 && r.seq != next++) err = BOSKOS_E_CORRUPT;
        if (err == BOSKOS_E_NOT_FOUND && is_over) break;
        if (err == BOSKOS_E_NOT_FOUND) err = 0;
    }
    if (err != BOSKOS_E_NOT_FOUND || next != journal_end(t->j)) atomic_fetch_add(&t->failures, 1);
    journal_cursor_close(c);
    return NULL;
}

static void failed(void *context, int err, const struct journal_problem *problem)
{
    struct threads *t = context;
    (void)err, (void)problem;
    atomic_fetch_add(&t->failures, 1);
}

static void appending_reading_and_draining_do_not_meet(void **state)
{
    struct folder *f = *state;
    struct threads t = {.f = f, .j = must_ahead(f)};
    pthread_t drain, read;
    assert_int_equal(journal_drain_start(t.j, failed, &t), 0);
    assert_int_equal(pthread_create(&drain, NULL, drain_main, &t), 0);
    assert_int_equal(pthread_create(&read, NULL, read_main, &t), 0);
    for (uint64_t i = 0; i < 2000; i++) {
        uint64_t end = journal_end(t.j);
        must_append(f, t.j, 1 + i % 20);
        if (i % 16 == 0) assert_int_equal(append_row(t.j, end, "row"), 0);
        if (i % 64 == 0) (void)waiting_bytes(t.j);
    }
    atomic_store(&t.is_over, true);
    assert_int_equal(pthread_join(drain, NULL), 0);
    assert_int_equal(pthread_join(read, NULL), 0);
    journal_drain_stop(t.j);
    assert_int_equal(t.failures, 0);
    assert_true(t.drains > 0);
    uint64_t records = journal_end(t.j) - 1;
    struct folder image = image_of(f, "image");
    assert_recovers(&image, records, false);
    assert_int_equal(read_numbered(f, t.j, 1), records);
    journal_close(t.j);
}

// ---- trimming ---------------------------------------------------------------

static void trimming_goes_on_while_draining(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_ahead(f);
    for (uint64_t i = 0; i < 300; i++) {
        must_append(f, j, 20);
        if (i % 10 == 9) must_drain(f, j);
        if (i % 20 == 19) journal_trim(j, journal_end(j) - 30);
        if (i % 25 != 0) continue;
        struct folder image = image_of(f, "image");
        struct journal *found = must_ahead(&image);
        assert_int_equal(journal_end(found), journal_end(j));
        assert_int_equal(read_numbered(&image, found, journal_first(found)),
                         journal_end(j) - journal_first(found));
        journal_close(found);
    }
    assert_true(journal_first(j) > 5000);
    journal_close(j);
}

// What could not be drained goes before what came after it, in a transaction of its own. If that
// trimmed up to the latter, data.mdb would be left without a record, and AHEAD would go on where no
// log is.
static void trimming_leaves_a_record_in_the_log(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_ahead(f);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(append_frame(f, j, 20000), 0);
        must_drain(f, j);
    }
    must_append(f, j, 2);
    limit_files(RING_BYTES);
    assert_int_equal(journal_drain(j, &f->problem), BOSKOS_E_NOSPACE);
    assert_int_equal(append_frame(f, j, RING_BYTES / 2), 0);
    must_append(f, j, 2);
    journal_trim(j, 23);
    int err = BOSKOS_E_NOSPACE;
    for (uint64_t limit = RING_BYTES; journal_first(j) == 1; limit += 4096) {
        limit_files(limit);
        err = journal_drain(j, &f->problem);
    }
    assert_int_equal(err, BOSKOS_E_NOSPACE); // the first transaction had room, the second had not
    limit_files(RLIM_INFINITY);
    struct folder image = image_of(f, "image");
    journal_close(j);
    j = must_ahead(&image);
    assert_int_equal(journal_end(j), 26);
    journal_close(j);
}

// ---- what else is done to a journal -------------------------------------------

static struct folder with_a_tail(struct folder *f, size_t in_log, size_t in_tail)
{
    struct journal *j = must_ahead(f);
    for (size_t i = 0; i < in_log; i += 100)
        must_append(f, j, 100);
    must_drain(f, j);
    for (size_t i = 0; i < in_tail; i += 10)
        must_append(f, j, 10);
    assert_true(in_tail == 0 || waiting_bytes(j) > in_tail * 56);
    struct folder image = image_of(f, "image");
    journal_close(j);
    return image;
}

static void a_compaction_takes_the_tail_along(void **state)
{
    struct folder image = with_a_tail(*state, 1000, 100);
    struct journal_compaction c;
    struct journal_options options = {
        .dir = image.dir, .map_bytes = MAP_BYTES, .step_bytes = STEP_BYTES};
    int err = journal_compact(&options, NULL, &c, &image.problem);
    if (err != 0) fail_msg("journal_compact: %d %s", err, image.problem.text);
    assert_int_equal(c.end, 1101);
    assert_recovers(&image, 1100, false);
    struct journal *j = must_ahead(&image);
    must_append(&image, j, 5);
    struct folder again = image_of(&image, "i");
    journal_close(j);
    assert_recovers(&again, 1105, false);
}

static void a_snapshot_may_be_of_the_last_that_was_drained(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_ahead(f);
    struct journal_snapshot_writer *w = NULL;
    must_append(f, j, 50);
    struct journal_cursor *c = cursor_at(f, j, 51); // drains: a snapshot is made of what was read
    struct journal_snapshot about = {
        .seq = 50, .time_ns = journal_last_time_ns(j), .chain = journal_last_chain(j)};
    assert_int_equal(journal_snapshot_begin(j, &about, &w, &f->problem), 0);
    assert_int_equal(journal_snapshot_commit(w, &f->problem), 0);
    must_append(f, j, 10);
    journal_trim(j, 51);
    journal_cursor_close(c);
    struct folder image = image_of(f, "image");
    journal_close(j);
    j = must_ahead(&image);
    assert_int_equal(journal_end(j), 61);
    assert_int_equal(journal_cursor_open(j, 51, &about.chain, &c, &image.problem), 0);
    journal_cursor_close(c);
    journal_close(j);
}

// A cursor over what can be read of a damaged journal: the last good record, and what ends it.
static uint64_t damaged_end(struct folder *f, uint64_t *ret_last)
{
    struct journal *j = NULL;
    struct journal_cursor *c = NULL;
    struct journal_options options = {.dir = f->dir, .map_bytes = MAP_BYTES};
    struct record r = {0};
    struct journal_row row;
    uint64_t first = 0;
    assert_int_equal(journal_damaged_open(&options, &j, &f->problem), 0);
    int err = journal_damaged_read(j, &f->problem);
    if (err == 0) err = journal_damaged_ends(j, &first, ret_last, &f->problem);
    if (err == 0) err = journal_damaged_cursor(j, 1, NULL, UINT64_MAX, &c, &f->problem);
    if (err != 0) fail_msg("%s", f->problem.text);
    while (err == 0)
        err = journal_cursor_next(c, &r, &row, &f->problem);
    assert_int_equal(err, BOSKOS_E_CORRUPT);
    journal_cursor_close(c);
    journal_close(j);
    return r.seq;
}

static void a_repair_keeps_the_tail(void **state)
{
    struct folder image = with_a_tail(*state, 1000, 100);
    uint64_t last = 0;
    assert_int_equal(damaged_end(&image, &last), 1100);
    assert_int_equal(last, 1100);
    assert_int_equal(image.problem.seq, 1101);
}

static void a_repair_of_an_empty_log_keeps_the_tail(void **state)
{
    struct folder image = with_a_tail(*state, 0, 100);
    uint64_t last = 0;
    assert_int_equal(damaged_end(&image, &last), 100);
    assert_int_equal(last, 100);
}

static void a_repair_ends_where_the_log_is_damaged(void **state)
{
    struct folder image = with_a_tail(*state, 1000, 100);
    uint64_t last = 0;
    struct table t = table_open(&image, "log");
    uint8_t key_bytes[8];
    key_encode(1000, key_bytes);
    MDB_val key = {8, key_bytes};
    assert_int_equal(mdb_del(t.txn, t.dbi, &key, NULL), 0); // its last page was an older one
    table_close(&t);
    assert_int_equal(damaged_end(&image, &last), 999); // not 1001 behind 999
    struct journal *j = NULL;
    assert_int_equal(try_ahead(&image, MAP_BYTES, &j), BOSKOS_E_CORRUPT);
    assert_non_null(strstr(image.problem.text, "AHEAD"));
    assert_non_null(strstr(image.problem.text, "record 999"));
    assert_non_null(strstr(image.problem.text, "record 1001"));
}

static void a_copy_has_the_tail(void **state)
{
    struct folder image = with_a_tail(*state, 1000, 100), to = folder_in(*state, "copy");
    struct journal *j = NULL;
    struct journal_copy *copy = NULL;
    const struct record before = {0};
    struct record r;
    struct journal_row row;
    struct journal_options from = {.dir = image.dir},
                           options = {.dir = to.dir, .map_bytes = MAP_BYTES};
    assert_int_equal(journal_open_read(&from, &j, &image.problem), 0);
    assert_int_equal(journal_copy_begin(&options, &before, &copy, &image.problem), 0);
    struct journal_cursor *c = cursor_at(&image, j, 1);
    while (journal_cursor_next(c, &r, &row, &image.problem) == 0)
        assert_int_equal(journal_copy_add(copy, &r, &row, &image.problem), 0);
    assert_int_equal(journal_copy_end(copy, &image.problem), 0);
    journal_copy_free(copy);
    journal_cursor_close(c);
    journal_close(j);
    assert_recovers(&to, 1100, false);
}

static int unlimit(void **state)
{
    limit_files(RLIM_INFINITY);
    return teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        AHEAD_TEST(a_frame_has_the_bytes_of_the_format),
        AHEAD_TEST(without_the_option_there_is_none),
        AHEAD_TEST(a_frame_may_wrap_at_every_offset),
        AHEAD_TEST(what_fits_into_half_of_the_ring_goes_there),
        AHEAD_TEST(a_full_ring_is_drained_by_the_append),
        AHEAD_TEST(closing_drains),
        AHEAD_TEST(what_finds_no_room_is_drained_later),
        AHEAD_TEST(rows_wait_with_their_records),
        AHEAD_TEST(without_room_batches_go_straight),
        AHEAD_TEST(straight_and_ahead_in_any_order),
        AHEAD_TEST(appending_reading_and_draining_do_not_meet),
        AHEAD_TEST(trimming_goes_on_while_draining),
        AHEAD_TEST(trimming_leaves_a_record_in_the_log),
        AHEAD_TEST(a_compaction_takes_the_tail_along),
        AHEAD_TEST(a_snapshot_may_be_of_the_last_that_was_drained),
        AHEAD_TEST(a_repair_keeps_the_tail),
        AHEAD_TEST(a_repair_of_an_empty_log_keeps_the_tail),
        AHEAD_TEST(a_repair_ends_where_the_log_is_damaged),
        AHEAD_TEST(a_copy_has_the_tail),
    };
    return cmocka_run_group_tests_name("journal_ahead", tests, NULL, NULL);
}
