// Tests of damage to exported files: whatever is done to the bytes is told, when the file is opened
// or at the record where it is, under checksums that fit too.
#include "tests/test_journal_slice.h"

#include "base/assert.h"
#include "base/bytes.h"

#include "base/banned.h"

// Of docs/FORMAT.md.
#define HEADER_BYTES 152
#define FRAME_BYTES 24
#define INDEX_BYTES 24 // of an entry; up to 4096 records have one
#define TRAILER_BYTES 104

// The record whose bytes are at a place; 0: it is not in a record.
static uint64_t record_at(const uint8_t *bytes, size_t size, uint64_t base_seq, size_t place)
{
    const uint8_t *trailer = bytes + size - TRAILER_BYTES;
    size_t at = HEADER_BYTES + (size_t)bytes_get_u64(trailer);
    size_t end = at + (size_t)bytes_get_u64(trailer + 24);
    for (uint64_t seq = base_seq + 1; at < end; seq++) {
        size_t next =
            at + FRAME_BYTES + (size_t)(bytes_get_u64(bytes + at) + bytes_get_u64(bytes + at + 8));
        if (place >= at && place < next) return seq;
        at = next;
    }
    return 0;
}

// Each bit turned over is refused when the file is opened, or by the cursor at the record it is in:
// those before are as they were.
static void every_flipped_bit_is_found(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    uint8_t *bytes = NULL;
    const uint64_t base_seq = 3, count = 7;
    slice_write(f, path_in(f, "slice", path), base_seq, count);
    size_t size = bytes_read(path, &bytes);
    uint32_t in_records = 0;
    for (size_t bit = 0; bit < 8 * size; bit++) {
        uint64_t seq = record_at(bytes, size, base_seq, bit / 8);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        file_put(path, bytes, size);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (seq == 0) {
            int err = try_slice(f, path);
            if (err != BOSKOS_E_CORRUPT) fail_msg("bit %zu: %d %s", bit, err, f->problem.text);
            assert_int_equal(f->problem.seq, 0);
        } else {
            struct slice *s = must_open_slice(f, path);
            f->problem = (struct journal_problem){0};
            if (slice_read(f, s, base_seq + 1) != BOSKOS_E_CORRUPT) fail_msg("bit %zu", bit);
            assert_int_equal(f->problem.seq, seq);
            in_records++;
            // Whoever begins behind it passes over it.
            assert_int_equal(slice_read(f, s, base_seq + count), BOSKOS_E_CORRUPT);
            assert_int_equal(f->problem.seq, seq);
            slice_close(s);
        }
        assert_non_null(strstr(f->problem.text, path));
    }
    assert_true(in_records > 1000);
    free(bytes);
}

static void every_other_length_is_refused(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    uint8_t *bytes = NULL;
    slice_write(f, path_in(f, "slice", path), 3, 7);
    size_t size = bytes_read(path, &bytes);
    ASSERT(size > 0);
    for (size_t length = 0; length < size; length++) {
        file_put(path, bytes, length);
        int err = try_slice(f, path);
        if (err != (length == 0 ? BOSKOS_E_MALFORMED : BOSKOS_E_CORRUPT))
            fail_msg("length %zu: %d %s", length, err, f->problem.text);
        assert_non_null(strstr(f->problem.text, path));
    }
    file_put(path, bytes, size + 1); // bytes_read has put a zero there
    assert_int_equal(try_slice(f, path), BOSKOS_E_CORRUPT);

    // Twice the same file behind itself: the end fits, the length does not.
    uint8_t *twice = malloc(2 * size);
    assert_non_null(twice);
    memcpy(twice, bytes, size);
    memcpy(twice + size, bytes, size);
    file_put(path, twice, 2 * size);
    assert_int_equal(try_slice(f, path), BOSKOS_E_CORRUPT);
    file_put(path, bytes, size);
    assert_int_equal(try_slice(f, path), 0);
    free(twice);
    free(bytes);
}

static void header_checksum_put(uint8_t *bytes)
{
    hash128_encode(hash128(bytes, HEADER_BYTES - HASH128_BYTES),
                   bytes + HEADER_BYTES - HASH128_BYTES);
}

static void trailer_checksum_put(uint8_t *bytes, size_t size)
{
    uint8_t joined[TRAILER_BYTES];
    uint8_t *trailer = bytes + size - TRAILER_BYTES;
    memcpy(joined, bytes + HEADER_BYTES - HASH128_BYTES, HASH128_BYTES);
    memcpy(joined + HASH128_BYTES, trailer, TRAILER_BYTES - HASH128_BYTES);
    hash128_encode(hash128(joined, sizeof(joined)), trailer + TRAILER_BYTES - HASH128_BYTES);
}

// Gives the changed bytes the checksums of header, index and trailer that fit.
static void lie_put(const char *path, uint8_t *bytes, size_t size, size_t index_size)
{
    uint8_t *trailer = bytes + size - TRAILER_BYTES;
    header_checksum_put(bytes);
    hash128_encode(hash128(trailer - index_size, index_size), trailer + 64);
    trailer_checksum_put(bytes, size);
    file_put(path, bytes, size);
}

static void lies_of_headers_are_found(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    uint8_t *bytes = NULL;
    static const size_t places[] = {10, 15, 16, 19, 77 + 1, 72 + 63}; // all should be zero
    slice_write(f, path_in(f, "slice", path), 3, 7);
    size_t size = bytes_read(path, &bytes);
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        bytes[places[i]] = 1;
        lie_put(path, bytes, size, INDEX_BYTES);
        if (try_slice(f, path) != BOSKOS_E_CORRUPT) fail_msg("lie %zu", i);
        bytes[places[i]] = 0;
    }
    bytes_put_u64(bytes + 16, UINT32_MAX); // flags of a time to come are kept
    lie_put(path, bytes, size, INDEX_BYTES);
    struct slice *s = must_open_slice(f, path);
    assert_int_equal(slice_about(s)->flags, UINT32_MAX);
    slice_close(s);
    bytes_put_u64(bytes + 16, SLICE_NO_USERDATA);
    bytes[47] ^= 1; // the first record follows another than the base
    lie_put(path, bytes, size, INDEX_BYTES);
    s = must_open_slice(f, path);
    assert_int_equal(slice_read(f, s, 4), BOSKOS_E_CORRUPT);
    assert_int_equal(f->problem.seq, 4);
    slice_close(s);
    free(bytes);

    // The empty state has no time, no checksum and no snapshot.
    static const size_t zeros[] = {32, 40, 48};
    (void)unlink(path);
    slice_write(f, path, 0, 7);
    size = bytes_read(path, &bytes);
    for (size_t i = 0; i < sizeof(zeros) / sizeof(zeros[0]); i++) {
        bytes[zeros[i] + 7] = 1;
        lie_put(path, bytes, size, INDEX_BYTES);
        if (try_slice(f, path) != BOSKOS_E_CORRUPT) fail_msg("lie %zu of the empty state", i);
        bytes[zeros[i] + 7] = 0;
    }
    uint8_t *trailer = bytes + size - TRAILER_BYTES;
    bytes_put_u64(trailer, 1);
    hash128_encode(hash128(bytes + HEADER_BYTES, 1), trailer + 8);
    bytes_put_u64(trailer + 24, bytes_get_u64(trailer + 24) - 1);
    lie_put(path, bytes, size, INDEX_BYTES);
    assert_int_equal(try_slice(f, path), BOSKOS_E_CORRUPT);
    free(bytes);
}

static void lies_of_trailers_are_found(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    uint8_t *bytes = NULL;
    static const struct {
        size_t at;
        uint64_t value;
    } lies[] = {
        {0, 8},           {0, 6},           {0, UINT64_MAX},  {0, UINT64_MAX - 500},
        {24, 0},          {24, UINT64_MAX}, {32, 3},          {32, 2},
        {32, UINT64_MAX}, {32, 5000},       {32, 1ull << 63}, {80, 0},
    };
    slice_write(f, path_in(f, "slice", path), 3, 7);
    size_t size = bytes_read(path, &bytes);
    uint8_t *trailer = bytes + size - TRAILER_BYTES;
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        uint64_t was = bytes_get_u64(trailer + lies[i].at);
        bytes_put_u64(trailer + lies[i].at, lies[i].value);
        lie_put(path, bytes, size, INDEX_BYTES);
        if (try_slice(f, path) != BOSKOS_E_CORRUPT) fail_msg("lie %zu", i);
        bytes_put_u64(trailer + lies[i].at, was);
    }

    // Sizes that add up modulo 2^64 alone.
    uint64_t base = bytes_get_u64(trailer), records = bytes_get_u64(trailer + 24);
    bytes_put_u64(trailer, base + records + 1000);
    bytes_put_u64(trailer + 24, 0ull - 1000);
    lie_put(path, bytes, size, INDEX_BYTES);
    assert_int_equal(try_slice(f, path), BOSKOS_E_CORRUPT);
    bytes_put_u64(trailer, base);
    bytes_put_u64(trailer + 24, records);

    // A record more or less, another time, another checksum: the cursor finds it at the last that
    // the file says it has.
    static const size_t fields[] = {39, 39, 47, 63};
    static const uint8_t values[] = {9, 11, 0, 0};
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        uint8_t was = trailer[fields[i]];
        trailer[fields[i]] = i < 2 ? values[i] : (uint8_t)(was + 1);
        lie_put(path, bytes, size, INDEX_BYTES);
        struct slice *s = must_open_slice(f, path);
        assert_int_equal(slice_read(f, s, 4), BOSKOS_E_CORRUPT);
        assert_int_equal(f->problem.seq, i < 2 ? values[i] : 10);
        slice_close(s);
        trailer[fields[i]] = was;
    }
    free(bytes);

    // Without a record the end is the base.
    static const size_t ends[] = {47, 63};
    (void)unlink(path);
    slice_write(f, path, 3, 0);
    size = bytes_read(path, &bytes);
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        bytes[size - TRAILER_BYTES + ends[i]]++;
        lie_put(path, bytes, size, 0);
        assert_int_equal(try_slice(f, path), BOSKOS_E_CORRUPT);
        bytes[size - TRAILER_BYTES + ends[i]]--;
    }
    lie_put(path, bytes, size, 0);
    assert_int_equal(try_slice(f, path), 0);
    free(bytes);
}

static void lies_of_the_index_are_found(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    uint8_t *bytes = NULL;
    static const uint64_t places[] = {0, 151, 158, 160, UINT64_MAX, 1 << 20};
    slice_write(f, path_in(f, "slice", path), 3, 7);
    size_t size = bytes_read(path, &bytes);
    uint8_t *index = bytes + size - TRAILER_BYTES - INDEX_BYTES;
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        bytes_put_u64(index, places[i]);
        lie_put(path, bytes, size, INDEX_BYTES);
        struct slice *s = must_open_slice(f, path);
        assert_int_equal(slice_read(f, s, 4), BOSKOS_E_CORRUPT);
        assert_int_equal(f->problem.seq, 4);
        slice_close(s);
    }
    free(bytes);

    // A later entry: also whoever comes to it from the record before finds it.
    (void)unlink(path);
    slice_write(f, path, 3, 4100);
    size = bytes_read(path, &bytes);
    index = bytes + size - TRAILER_BYTES - INDEX_BYTES;
    for (size_t at = 7; at < INDEX_BYTES; at += 8) {
        index[at] ^= 1;
        lie_put(path, bytes, size, 2 * INDEX_BYTES);
        struct slice *s = must_open_slice(f, path);
        for (uint64_t from = 4098; from <= 4101; from++) {
            assert_int_equal(slice_read(f, s, from), BOSKOS_E_CORRUPT);
            assert_int_equal(f->problem.seq, 4100);
        }
        slice_close(s);
        index[at] ^= 1;
    }
    lie_put(path, bytes, size, 2 * INDEX_BYTES);
    struct slice *s = must_open_slice(f, path);
    assert_int_equal(slice_read(f, s, 4), 4100);
    slice_close(s);
    free(bytes);
}

static void lies_of_records_are_found(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    uint8_t *bytes = NULL;
    static const struct {
        uint64_t value_bytes, row_bytes;
    } lies[] = {
        {0, 0},
        {31, 13},
        {32 + (256u << 20), 13},
        {33 + (256u << 20), 13},
        {40, 7},
        {40, 1},
        {40, 4104},
        {40, 4105},
        {40, 14},
        {40, UINT64_MAX},
        {UINT64_MAX, 13},
        {UINT64_MAX - 500, 0},
        {40, 0},
        {1ull << 63, 1u << 31},
    };
    slice_write(f, path_in(f, "slice", path), 3, 1);
    size_t size = bytes_read(path, &bytes);
    uint8_t *frame = bytes + HEADER_BYTES + sizeof(BASE) - 1;
    assert_int_equal(bytes_get_u64(frame), 40);
    assert_int_equal(bytes_get_u64(frame + 8), 13);
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        uint8_t joined[24] = {[7] = 4};
        bytes_put_u64(frame, lies[i].value_bytes);
        bytes_put_u64(frame + 8, lies[i].row_bytes);
        memcpy(joined + 8, frame, 16);
        bytes_put_u64(frame + 16, hash64(joined, sizeof(joined), 0));
        file_put(path, bytes, size);
        struct slice *s = must_open_slice(f, path);
        if (slice_read(f, s, 4) != BOSKOS_E_CORRUPT) fail_msg("lie %zu", i);
        assert_int_equal(f->problem.seq, 4);
        slice_close(s);
    }
    free(bytes);
}

// Bytes between the last record and the index.
static void bytes_behind_the_records_are_found(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    uint8_t *bytes = NULL;
    slice_write(f, path_in(f, "slice", path), 3, 7);
    size_t size = bytes_read(path, &bytes);
    const size_t more = 10, end = TRAILER_BYTES + INDEX_BYTES;
    uint8_t *longer = calloc(1, size + more);
    assert_non_null(longer);
    memcpy(longer, bytes, size - end);
    memcpy(longer + size - end + more, bytes + size - end, end);
    uint8_t *trailer = longer + size + more - TRAILER_BYTES;
    bytes_put_u64(trailer + 24, bytes_get_u64(trailer + 24) + more);
    bytes_put_u64(trailer + 80, size + more);
    lie_put(path, longer, size + more, INDEX_BYTES);
    struct slice *s = must_open_slice(f, path);
    assert_int_equal(slice_read(f, s, 4), BOSKOS_E_CORRUPT);
    assert_int_equal(f->problem.seq, 10);
    slice_close(s);
    free(longer);
    free(bytes);
}

static void a_newer_format_is_recognised(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    uint8_t *bytes = NULL;
    slice_write(f, path_in(f, "slice", path), 3, 2);
    size_t size = bytes_read(path, &bytes);
    bytes[9] = 2;
    header_checksum_put(bytes);
    file_put(path, bytes, size);
    assert_int_equal(try_slice(f, path), BOSKOS_E_TOO_NEW);
    file_put(path, bytes, HEADER_BYTES); // whatever its other parts are
    assert_int_equal(try_slice(f, path), BOSKOS_E_TOO_NEW);
    bytes[9] = 0;
    header_checksum_put(bytes);
    file_put(path, bytes, size);
    assert_int_equal(try_slice(f, path), BOSKOS_E_CORRUPT);
    bytes[9] = 1;

    // A record of a newer format, under a checksum that fits.
    uint8_t *record = bytes + HEADER_BYTES + sizeof(BASE) - 1 + FRAME_BYTES;
    uint8_t chained[40 + sizeof("record 4") - 1] = {[7] = 1, [15] = 2, [23] = 4};
    record[1] = 2;
    memcpy(chained + 24, record, 16);
    memcpy(chained + 40, record + 32, sizeof(chained) - 40);
    hash128_encode(hash128(chained, sizeof(chained)), record + 16);
    header_checksum_put(bytes);
    trailer_checksum_put(bytes, size);
    file_put(path, bytes, size);
    struct slice *s = must_open_slice(f, path);
    assert_int_equal(slice_read(f, s, 4), BOSKOS_E_TOO_NEW);
    assert_int_equal(f->problem.seq, 4);
    slice_close(s);
    free(bytes);
}

static void other_files_are_not_exported_ones(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    static const char text[1000] = "BOSKOSNP";
    assert_int_equal(try_slice(f, path_in(f, "missing", path)), BOSKOS_E_NOT_FOUND);
    assert_non_null(strstr(f->problem.text, path));
    assert_int_equal(try_slice(f, f->dir), BOSKOS_E_MALFORMED);
    file_write(path_in(f, "text", path), text, sizeof(text));
    assert_int_equal(try_slice(f, path), BOSKOS_E_MALFORMED);
    assert_non_null(strstr(f->problem.text, path));
    file_put(path, text, 8);
    assert_int_equal(try_slice(f, path), BOSKOS_E_MALFORMED);
    assert_int_equal(mkfifo(path_in(f, "pipe", path), 0600), 0);
    assert_int_equal(try_slice(f, path), BOSKOS_E_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_flipped_bit_is_found),         TEST(every_other_length_is_refused),
        TEST(lies_of_headers_are_found),          TEST(lies_of_trailers_are_found),
        TEST(lies_of_the_index_are_found),        TEST(lies_of_records_are_found),
        TEST(bytes_behind_the_records_are_found), TEST(a_newer_format_is_recognised),
        TEST(other_files_are_not_exported_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
