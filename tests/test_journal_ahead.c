// Tests of the write-ahead file while it is written: where batches go, that the ring may be as full
// and may wrap where it likes, and who drains it.
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
    };
    return cmocka_run_group_tests_name("journal_ahead", tests, NULL, NULL);
}
