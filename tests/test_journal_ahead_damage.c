// Tests of the write-ahead file on damage: a frame that is not whole is never taken for one, what
// was acknowledged is there or its loss is named, and another file in the place of AHEAD is refused
// or does no harm.
#include "tests/test_journal_ahead.h"

#include "base/bytes.h"

#include "base/banned.h"

#define BATCH 3

static int try_read(struct folder *f, struct journal **j)
{
    struct journal_options options = {.dir = f->dir};
    *j = NULL;
    f->problem = (struct journal_problem){0};
    return journal_open_read(&options, j, &f->problem);
}

// A folder with records in data.mdb and batches in AHEAD, killed before the witness knew of the
// last of them. *ret_from and *ret_to are where that one stands.
static struct folder killed(struct folder *f, unsigned batches, uint64_t *ret_from,
                            uint64_t *ret_to)
{
    char path[PATH_BYTES];
    size_t size;
    struct journal *j = must_ahead(f);
    must_append(f, j, 20);
    must_drain(f, j);
    for (unsigned i = 1; i < batches; i++)
        must_append(f, j, BATCH);
    uint8_t *witness = file_read(path_in(f, "journal/WITNESS", path), &size);
    uint64_t drained = HEAD_BYTES + 9 * 56 + 11 * 64;
    *ret_from = drained + waiting_bytes(j);
    must_append(f, j, BATCH);
    *ret_to = drained + waiting_bytes(j);
    struct folder image = image_of(f, "image");
    file_replace(path_in(&image, "journal/WITNESS", path), witness, size);
    free(witness);
    journal_close(j);
    return image;
}

// Looks at the folder as a reader, which changes nothing, that it has so many records.
static void assert_reads(struct folder *f, uint64_t records, const char *what, size_t at)
{
    struct journal *j = NULL;
    int err = try_read(f, &j);
    if (err != 0) fail_msg("%s %zu: %d %s", what, at, err, f->problem.text);
    if (journal_end(j) != records + 1)
        fail_msg("%s %zu: the log ends at %" PRIu64, what, at, journal_end(j) - 1);
    assert_int_equal(read_numbered(f, j, 1), records);
    journal_close(j);
}

// Both who reads and who appends.
static void assert_refused(struct folder *f, const char *name, const char *also)
{
    struct journal *j = NULL;
    for (int i = 0; i < 2; i++) {
        int err = i == 0 ? try_read(f, &j) : try_ahead(f, MAP_BYTES, &j);
        if (err == 0) fail_msg("it was opened, up to %" PRIu64, journal_end(j) - 1);
        assert_int_equal(err, BOSKOS_E_CORRUPT);
        if (strstr(f->problem.text, name) == NULL || strstr(f->problem.text, also) == NULL)
            fail_msg("%s", f->problem.text);
    }
}

// ---- the last frame ---------------------------------------------------------

static void the_last_frame_may_be_torn_anywhere(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    uint64_t from, to;
    size_t size;
    struct folder image = killed(f, 3, &from, &to);
    uint8_t *bytes = file_read(path_in(&image, "journal/AHEAD", path), &size);
    assert_reads(&image, 20 + 3 * BATCH, "whole", 0);
    for (uint64_t cut = from; cut < to; cut++) {
        uint8_t *torn = malloc(size);
        assert_non_null(torn);
        memcpy(torn, bytes, size);
        memset(torn + cut, 0, (size_t)(to - cut));
        // What is cut off may end in zeros itself.
        bool is_whole = memcmp(torn, bytes, size) == 0;
        file_replace(path, torn, size);
        free(torn);
        assert_reads(&image, 20 + (is_whole ? 3 : 2) * BATCH, "cut at", (size_t)(cut - from));
    }
    free(bytes);
}

static void no_bit_of_the_last_frame_may_be_another(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    uint64_t from, to;
    size_t size;
    struct folder image = killed(f, 3, &from, &to);
    uint8_t *bytes = file_read(path_in(&image, "journal/AHEAD", path), &size);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    for (size_t bit = 0; bit < (to - from) * 8; bit++) {
        off_t at = (off_t)(from + bit / 8);
        uint8_t flipped = (uint8_t)(bytes[at] ^ 1u << bit % 8);
        assert_int_equal(pwrite(fd, &flipped, 1, at), 1);
        assert_reads(&image, 20 + 2 * BATCH, "bit", bit);
        assert_int_equal(pwrite(fd, &bytes[at], 1, at), 1);
    }
    assert_reads(&image, 20 + 3 * BATCH, "none", 0);
    (void)close(fd);
    free(bytes);
}

static void behind_a_torn_frame_one_goes_on(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    uint64_t from, to;
    struct folder image = killed(f, 3, &from, &to);
    int fd = open(path_in(&image, "journal/AHEAD", path), O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "?", 1, (off_t)to - 10), 1);
    (void)close(fd);
    struct journal *j = must_ahead(&image);
    assert_int_equal(journal_end(j), 20 + 2 * BATCH + 1);
    must_append(&image, j, 1); // over the first part of the torn one
    struct folder again = image_of(&image, "i");
    journal_close(j);
    assert_recovers(&again, 20 + 2 * BATCH + 1, false);
}

// ---- those before it ----------------------------------------------------------

static void a_damaged_frame_before_others_is_named(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    uint64_t from, to;
    struct folder image = killed(f, 5, &from, &to);
    (void)unlink(path_in(&image, "journal/WITNESS", path)); // it can be told without
    int fd = open(path_in(&image, "journal/AHEAD", path), O_RDWR | O_CLOEXEC);
    uint64_t frame = to - from;
    for (unsigned i = 1; i < 5; i++) { // of five frames all but the last, backwards
        char number[32];
        uint8_t byte;
        off_t at = (off_t)(from - i * frame + 7 + 50 * i);
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 4;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        (void)snprintf(number, sizeof(number), "record %u ", 20 + (4 - i) * BATCH + 1);
        assert_refused(&image, "AHEAD", number);
        assert_int_equal(image.problem.seq, 20 + (4 - i) * BATCH + 1);
    }
    (void)close(fd);
}

static void a_damaged_tail_that_was_acknowledged_is_told_by_the_witness(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    struct journal *j = must_ahead(f);
    must_append(f, j, 20);
    struct folder image = image_of(f, "image");
    journal_close(j);
    int fd = open(path_in(&image, "journal/AHEAD", path), O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "?", 1, 100), 1);
    (void)close(fd);
    assert_refused(&image, "WITNESS", "record 20 was acknowledged");
}

// ---- another file in its place ------------------------------------------------

enum other { MISSING, EMPTY, SHORT, HALF, LONGER, ODD, FOLDER, FIFO, ZEROS, NOISE, OTHERS };

static void put_other(const struct folder *f, enum other other)
{
    char path[PATH_BYTES];
    size_t size;
    uint8_t *bytes = file_read(path_in(f, "journal/AHEAD", path), &size);
    uint8_t *longer = calloc(3, size);
    assert_non_null(longer);
    memcpy(longer, bytes, size);
    assert_int_equal(unlink(path), 0);
    switch (other) {
    case MISSING: break;
    case EMPTY: file_write(path, "", 0); break;
    case SHORT: file_write(path, bytes, 4096); break;
    case HALF: file_write(path, bytes, size / 2); break;
    case LONGER: file_write(path, longer, 3 * size); break;
    case ODD: file_write(path, longer, size + 8); break;
    case FOLDER: assert_int_equal(mkdir(path, 0700), 0); break;
    case FIFO: assert_int_equal(mkfifo(path, 0600), 0); break;
    case ZEROS: file_write(path, longer + size, size); break;
    case NOISE:
        for (size_t i = 0; i < size; i++)
            longer[i] = (uint8_t)(i * i >> 3);
        file_write(path, longer, size);
        break;
    case OTHERS: break;
    }
    free(longer);
    free(bytes);
}

// With a tail it is lost what was acknowledged, and that is said; without, one goes on or is told.
static void another_file_loses_nothing_in_silence(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_ahead(f), *other = NULL;
    for (int i = 0; i < 100; i++) // the tail will lie beyond half of the ring
        must_append(f, j, 10);
    must_drain(f, j);
    struct folder drained = image_of(f, "d");
    must_append(f, j, 10);
    must_drain(f, j);
    must_append(f, j, 10);
    struct folder tail = image_of(f, "t");
    journal_close(j);
    int opened = 0;
    for (int i = 0; i < OTHERS; i++) {
        struct folder image = image_of(&drained, "i");
        put_other(&image, (enum other)i);
        int err = try_ahead(&image, MAP_BYTES, &other);
        if (err == 0) assert_int_equal(read_numbered(&image, other, 1), 1000);
        if (err == 0) must_append(&image, other, 10);
        if (err != 0 && strstr(image.problem.text, "AHEAD") == NULL)
            fail_msg("%d: %s", i, image.problem.text);
        assert_true(err == 0 || i == EMPTY || i == ODD || i == FOLDER || i == FIFO);
        if (err == 0) {
            struct folder after = image_of(&image, "i");
            journal_close(other);
            assert_recovers(&after, 1010, false);
        }

        image = image_of(&tail, "i");
        put_other(&image, (enum other)i);
        err = try_read(&image, &other);
        if (err == 0 && journal_end(other) != 1021) fail_msg("%d was read", i);
        journal_close(other);
        err = try_ahead(&image, MAP_BYTES, &other);
        if (err == 0 && journal_end(other) != 1021) fail_msg("%d was opened", i);
        journal_close(other);
        opened += err == 0;
        if (err != 0 && strstr(image.problem.text, "AHEAD") == NULL &&
            strstr(image.problem.text, "WITNESS") == NULL)
            fail_msg("%d: %s", i, image.problem.text);
    }
    assert_in_range(opened, 0, 3); // of those of another size, where the tail is where it was
}

// So many batches of ten records, of which each fifth is drained.
static void append_batches(struct folder *f, struct journal *j, int count)
{
    for (int i = 0; i < count; i++) {
        must_append(f, j, 10);
        if (i % 5 == 0) must_drain(f, j);
    }
}

static void an_older_one_loses_nothing_in_silence(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_ahead(f);
    append_batches(f, j, 103);
    struct folder older = image_of(f, "o");
    for (int laps = 0; laps < 3; laps++) {
        append_batches(f, j, 103 + laps);
        struct folder tail = image_of(f, "t");
        file_copy_to(&older, &tail, "journal/AHEAD");
        assert_refused(&tail, "WITNESS", "acknowledged commands are lost");
        must_drain(f, j);
        struct folder drained = image_of(f, "d");
        file_copy_to(&older, &drained, "journal/AHEAD");
        assert_recovers(&drained, journal_end(j) - 1, false);
    }
    journal_close(j);
}

// A data.mdb that was put back, with the witness of its time: what AHEAD has beyond it was
// acknowledged. It is taken over where it follows, or it is said that something is missing.
static void a_newer_one_loses_nothing_in_silence(void **state)
{
    struct folder *f = *state;
    struct journal *j = must_ahead(f), *found = NULL;
    append_batches(f, j, 103);
    must_drain(f, j);
    struct folder older = image_of(f, "o");
    unsigned taken = 0, refused = 0;
    for (int i = 0; i < 60; i++) { // some times round the ring
        append_batches(f, j, 7);
        struct folder put = image_of(&older, "p");
        file_copy_to(f, &put, "journal/AHEAD");
        int err = try_read(&put, &found);
        uint64_t end = err == 0 ? journal_end(found) : 0;
        journal_close(found);
        if (err == 0 && end != journal_end(j)) fail_msg("%d: it ends at %" PRIu64, i, end - 1);
        err = try_ahead(&put, MAP_BYTES, &found);
        if (err == 0) assert_int_equal(journal_end(found), journal_end(j));
        if (err != 0 && strstr(put.problem.text, "AHEAD") == NULL) fail_msg("%s", put.problem.text);
        taken += err == 0;
        refused += err != 0;
        journal_close(found);
    }
    assert_true(taken > 0 && refused > 0);
    journal_close(j);
}

static void one_of_another_journal_is_refused_or_does_no_harm(void **state)
{
    struct folder *f = *state, foreign = folder_in(f, "foreign");
    struct journal *j = must_ahead(f), *other = must_ahead(&foreign);
    append_batches(f, j, 103);
    must_drain(f, j);
    for (int i = 0; i < 40; i++) {
        append_batches(&foreign, other, 9);
        assert_int_equal(append_frame(&foreign, other, 2000), 0);
        struct folder image = image_of(f, "i");
        struct journal *found = NULL;
        file_copy_to(&foreign, &image, "journal/AHEAD");
        int err = try_ahead(&image, MAP_BYTES, &found);
        if (err != 0) {
            assert_int_equal(err, BOSKOS_E_CORRUPT);
            assert_non_null(strstr(image.problem.text, "AHEAD"));
            continue;
        }
        // It goes round, and is killed now and then: the other's frames never come up again.
        for (int k = 0; k < 60; k++) {
            must_append(&image, found, 20);
            if (k % 6 != 0) continue;
            struct folder again = image_of(&image, "k");
            assert_recovers(&again, journal_end(found) - 1, false);
        }
        journal_close(found);
    }
    journal_close(other);
    journal_close(j);
}

// A client chooses the bytes of a payload, NULs among them, and can guess where it will stand.
static void a_payload_that_looks_like_a_later_frame_is_none(void **state)
{
    struct folder *f = *state;
    uint8_t frame[HEAD_BYTES + 56] = "BOSKOSAH", covered[16 + 56];
    struct journal *j = must_ahead(f);
    must_append(f, j, 20);
    uint64_t place = waiting_bytes(j) + HEAD_BYTES + 48;
    bytes_put_u16(frame + 8, 1);
    bytes_put_u64(frame + 16, 1);
    bytes_put_u64(frame + 24, place + RING_BYTES); // when the ring has gone round
    bytes_put_u64(frame + 32, 1000);
    bytes_put_u64(frame + 40, 56);
    bytes_put_u64(frame + HEAD_BYTES, 8);
    bytes_put_u64(frame + HEAD_BYTES + 24, 1000);
    hash128_encode(hash128(frame, 64), covered);
    memcpy(covered + 16, frame + HEAD_BYTES, 56);
    hash128_encode(hash128(covered, sizeof(covered)), frame + 64);
    struct text payload = text_of((const char *)frame, sizeof(frame));
    assert_int_equal(append_payload(j, payload, &f->problem), 0);
    must_append(f, j, 1);
    struct folder image = image_of(f, "image");
    journal_close(j);
    struct journal *found = NULL;
    int err = try_read(&image, &found);
    if (err != 0) fail_msg("%d %s", err, image.problem.text);
    journal_close(found);
    assert_recovers(&image, 22, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_last_frame_may_be_torn_anywhere),
        TEST(no_bit_of_the_last_frame_may_be_another),
        TEST(behind_a_torn_frame_one_goes_on),
        TEST(a_damaged_frame_before_others_is_named),
        TEST(a_damaged_tail_that_was_acknowledged_is_told_by_the_witness),
        TEST(another_file_loses_nothing_in_silence),
        TEST(an_older_one_loses_nothing_in_silence),
        TEST(a_newer_one_loses_nothing_in_silence),
        TEST(a_payload_that_looks_like_a_later_frame_is_none),
        TEST(one_of_another_journal_is_refused_or_does_no_harm),
    };
    return cmocka_run_group_tests_name("journal_ahead_damage", tests, NULL, NULL);
}
