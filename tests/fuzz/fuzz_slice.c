// Exported files: any bytes, as they are, with the checksums they ought to have, or with sizes and
// ends that fit too. What is read from one is the same from wherever it is begun, and written again
// it is the same file; what is refused names the file. The reader is compiled in here with a map
// that is a copy of exactly the file's size, so that a sanitizer sees a read outside.
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static void *copy_map(void *at, size_t size, int protection, int flags, int fd, off_t offset);
static int copy_unmap(void *at, size_t size);
static int copy_advise(void *at, size_t size, int advice);
#define mmap copy_map
#define munmap copy_unmap
#define madvise copy_advise
#include "journal/slice.c" // NOLINT(bugprone-suspicious-include)
#undef mmap
#undef munmap
#undef madvise

#include "base/bytes.h"
#include "tests/fuzz/fuzz.h"

#define RECORDS_MAX 65536 // of an input: the index is of no use below 4096

enum way { WAY_FILE, WAY_FILE_WITH_CHECKSUMS, WAY_FILE_WITH_ENDS, WAYS };

static struct {
    uint8_t *bytes;
    size_t size;
} map;

static void *copy_map(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    ASSERT(at == NULL && protection == PROT_READ && flags == MAP_PRIVATE && offset == 0);
    ASSERT(map.bytes == NULL);
    map.bytes = must_malloc(size);
    map.size = size;
    ASSERT(read(fd, map.bytes, size) == (ssize_t)size);
    return map.bytes;
}

static int copy_unmap(void *at, size_t size)
{
    ASSERT(at == map.bytes && size == map.size);
    free(map.bytes);
    map.bytes = NULL;
    return 0;
}

// The pages that are let go of begin in the map and end with it at the latest.
static int copy_advise(void *at, size_t size, int advice)
{
    ASSERT(advice == MADV_SEQUENTIAL || advice == MADV_DONTNEED);
    ASSERT((uint8_t *)at >= map.bytes && (size_t)((uint8_t *)at - map.bytes) <= map.size);
    ASSERT(size <= map.size - (size_t)((uint8_t *)at - map.bytes));
    return 0;
}

// ---- checksums that fit -----------------------------------------------------

// Gives a record at a place, with `left` bytes from there on, its checksums. Returns its size; 0
// when there is none.
static size_t record_put(uint8_t *at, size_t left, uint64_t seq, struct hash128 *chain)
{
    if (left < SLICE_FRAME_BYTES) return 0;
    uint64_t value_bytes = bytes_get_u64(at), row_bytes = bytes_get_u64(at + 8);
    left -= SLICE_FRAME_BYTES;
    bytes_put_u64(at + SLICE_SIZES_BYTES, slice_frame_checksum(seq, at));
    if (value_bytes < RECORD_HEAD_BYTES || value_bytes > left || row_bytes > left - value_bytes)
        return 0;

    uint8_t *value = at + SLICE_FRAME_BYTES;
    uint8_t chained[RECORD_CHAINED_BYTES];
    struct text payload =
        text_of((const char *)value + RECORD_HEAD_BYTES, value_bytes - RECORD_HEAD_BYTES);
    hash128_encode(*chain, chained);
    bytes_put_u64(chained + HASH128_BYTES, seq);
    memcpy(chained + HASH128_BYTES + KEY_BYTES, value, RECORD_FIELDS_BYTES);
    ASSERT(record_checksum(chained, payload, chain) == 0);
    hash128_encode(*chain, value + RECORD_FIELDS_BYTES);

    uint8_t *row = value + value_bytes;
    if (row_bytes >= ROW_CHECKSUM_BYTES &&
        row_bytes - ROW_CHECKSUM_BYTES <= JOURNAL_ROW_BYTES_MAX) {
        size_t size = row_bytes - ROW_CHECKSUM_BYTES;
        bytes_put_u64(row + size, slice_row_checksum(seq, row, size));
    }
    return SLICE_FRAME_BYTES + value_bytes + row_bytes;
}

// Gives all parts of a file their checksums; with `ends` the trailer and the first entry of the
// index also say what the records come to.
static void checksums_put(uint8_t *bytes, size_t size, bool ends)
{
    if (size < SLICE_HEADER_BYTES + SLICE_TRAILER_BYTES) return;
    struct hash128 header = hash128(bytes, SLICE_HEADER_FIELDS_BYTES);
    hash128_encode(header, bytes + SLICE_HEADER_FIELDS_BYTES);
    uint8_t *trailer = bytes + size - SLICE_TRAILER_BYTES;
    struct slice_trailer t = slice_trailer_decode(trailer);
    size_t most = size - SLICE_HEADER_BYTES - SLICE_TRAILER_BYTES;
    size_t base = t.base_bytes < most ? (size_t)t.base_bytes : most;
    size_t at = SLICE_HEADER_BYTES + base;
    size_t index_size = most - base < SLICE_INDEX_ENTRY_BYTES ? 0 : SLICE_INDEX_ENTRY_BYTES;
    size_t end = size - SLICE_TRAILER_BYTES - index_size;
    uint8_t *index = bytes + end;

    struct hash128 chain = hash128_decode(bytes + 40);
    uint64_t seq = bytes_get_u64(bytes + 24);
    struct slice_trailer made = {.base_bytes = base,
                                 .records_bytes = end - at,
                                 .file_bytes = size,
                                 .last_time_ns = bytes_get_u64(bytes + 32)};
    if (ends && index_size > 0) {
        bytes_put_u64(index, at);
        hash128_encode(chain, index + 8);
    }
    for (size_t i = 0; i < RECORDS_MAX; i++) {
        size_t record = record_put(bytes + at, end - at, seq + 1, &chain);
        if (record == 0) break;
        made.last_time_ns = bytes_get_u64(bytes + at + SLICE_FRAME_BYTES + 8);
        at += record;
        seq++;
    }
    made.last_seq = seq;
    made.last_chain = chain;
    if (ends) t = made;
    t.base_checksum = hash128(bytes + SLICE_HEADER_BYTES, base);
    t.index_checksum = hash128(index, index_size);
    slice_trailer_encode(&t, header, trailer);
}

// ---- what must hold ---------------------------------------------------------

static void check_problem(const struct journal_problem *problem, const char *path, int err)
{
    ASSERT(err == BOSKOS_E_CORRUPT || err == BOSKOS_E_TOO_NEW || err == BOSKOS_E_MALFORMED);
    ASSERT(strstr(problem->text, path) != NULL);
}

// Reads from a record on to the end, or to what is damaged; returns the record that comes next
// then.
static uint64_t read_on(struct slice *s, const char *path, uint64_t from, int *ret_err)
{
    struct slice_cursor *c = NULL;
    struct journal_problem problem = {0};
    uint64_t next = from;
    int err = slice_cursor_open(s, from, &c, &problem);
    ASSERT(err != BOSKOS_E_NOT_FOUND);
    ASSERT(err != 0 || c != NULL);
    if (err != 0) next = problem.seq;
    while (err == 0) {
        struct record r = {0};
        struct journal_row row = {0};
        err = slice_cursor_next(c, &r, &row, &problem);
        if (err != 0) break;
        ASSERT(r.seq == next && next <= slice_about(s)->last_seq);
        ASSERT(row.seq == 0 || row.seq == r.seq);
        ASSERT(row.seq != 0 || row.bytes.size == 0);
        next++;
    }
    if (err == BOSKOS_E_NOT_FOUND) {
        ASSERT(next == slice_about(s)->last_seq + 1); // never shorter
    } else {
        check_problem(&problem, path, err);
        ASSERT(err != BOSKOS_E_MALFORMED && problem.seq == next);
    }
    slice_cursor_close(c);
    *ret_err = err;
    return next;
}

// What was read whole is, written again, the same file.
static void check_written_again(struct slice *s, const char *path)
{
    struct slice_writer *w = NULL;
    struct slice_cursor *c = NULL;
    struct record r;
    struct journal_row row;
    char again[160];
    (void)snprintf(again, sizeof(again), "%s-again", path);
    struct text base = slice_base(s);
    ASSERT(slice_begin(again, slice_about(s), &w, NULL) == 0);
    if (base.size > 0) ASSERT(slice_add_base(w, base.data, base.size) == 0);
    ASSERT(slice_cursor_open(s, slice_about(s)->base_seq + 1, &c, NULL) == 0 && c != NULL);
    while (slice_cursor_next(c, &r, &row, NULL) == 0)
        ASSERT(slice_add(w, &r, &row) == 0);
    slice_cursor_close(c);
    ASSERT(slice_commit(w, NULL) == 0);

    uint8_t *had = must_malloc(map.size + 1);
    int fd = open(again, O_RDONLY | O_CLOEXEC);
    ASSERT(fd >= 0 && read(fd, had, map.size + 1) == (ssize_t)map.size);
    ASSERT(memcmp(had, map.bytes, map.size) == 0);
    (void)close(fd);
    free(had);
    ASSERT(unlink(again) == 0);
}

static void check_records(struct slice *s, const char *path)
{
    const struct slice_about *about = slice_about(s);
    uint64_t first = about->base_seq + 1, count = about->last_seq - about->base_seq;
    int err = 0, other = 0;
    uint64_t next = read_on(s, path, first, &err);
    for (uint64_t i = 1; i < 4; i++) {
        uint64_t from = first + count * i / 4;
        if (count > RECORDS_MAX) break; // of which the file has not got them
        uint64_t end = read_on(s, path, from, &other);
        // Records before the next entry of the index are passed over on the way.
        if (from - first < SLICE_INDEX_EVERY) ASSERT(from == first + count || end == next);
        if (from - first < SLICE_INDEX_EVERY) ASSERT(from == first + count || other == err);
    }
    ASSERT(read_on(s, path, about->last_seq + 1, &other) == about->last_seq + 1);
    if (err == BOSKOS_E_NOT_FOUND) check_written_again(s, path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text rest = text_of((const char *)data, size);
    enum way way = (enum way)(fuzz_byte(&rest) % WAYS);
    struct slice *s = NULL;
    struct journal_problem problem = {0};
    char path[128];
    uint8_t *bytes = must_malloc((size_t)rest.size + 1);
    if (rest.size > 0) memcpy(bytes, rest.data, rest.size);
    if (way != WAY_FILE) checksums_put(bytes, rest.size, way == WAY_FILE_WITH_ENDS);
    (void)snprintf(path, sizeof(path), "%s/slice", fuzz_folder());
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ASSERT(fd >= 0 && write(fd, bytes, rest.size) == (ssize_t)rest.size);
    (void)close(fd);
    free(bytes);

    int err = slice_open(path, &s, &problem);
    if (err == 0)
        check_records(s, path);
    else
        check_problem(&problem, path, err);
    slice_close(s);
    ASSERT(map.bytes == NULL);
    return 0;
}
