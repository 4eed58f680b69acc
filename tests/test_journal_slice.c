// Tests of the exported file: what is written comes back, from any record on; whatever is done to
// its bytes is told, with the record where there is one; and no file is written over.
#include "tests/test_journal.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "base/bytes.h"
#include "journal/slice.h"

#include "base/banned.h"

// Of docs/FORMAT.md.
#define HEADER_BYTES 152
#define FRAME_BYTES 24
#define TRAILER_BYTES 104

#define BASE "state 7"
#define PAGE_OF_FORMAT "/../docs/FORMAT.md"

// The link gives renameat2 to this (see CMakeLists.txt): a file system that has not got it.
static bool renameat2_is_missing;
int __real_renameat2(int fd, const char *path, int to_fd, const char *to, unsigned flags);
int __wrap_renameat2(int fd, const char *path, int to_fd, const char *to, unsigned flags);
int __wrap_renameat2(int fd, const char *path, int to_fd, const char *to, unsigned flags)
{
    if (!renameat2_is_missing) return __real_renameat2(fd, path, to_fd, to, flags);
    errno = EINVAL;
    return -1;
}

// ---- files ------------------------------------------------------------------

static struct slice_about about_of(uint64_t base_seq)
{
    if (base_seq == 0) return (struct slice_about){.base_digest = {3, 4}};
    return (struct slice_about){.base_seq = base_seq,
                                .base_time_ns = 1000 + base_seq,
                                .base_chain = {1, 2},
                                .base_digest = {3, 4},
                                .created_by = TEXT("0.2.0"),
                                .flags = SLICE_NO_USERDATA};
}

static struct slice_writer *must_begin(struct folder *f, const char *path,
                                       const struct slice_about *about)
{
    struct slice_writer *w = NULL;
    int err = slice_begin(path, about, &w, &f->problem);
    if (err != 0) fail_msg("slice_begin: %d %s", err, f->problem.text);
    return w;
}

// Every third record has no row, and the row of every fifth is empty.
static bool has_row(uint64_t seq)
{
    return seq % 3 != 0;
}

static struct text row_of(uint64_t seq, char bytes[32])
{
    int size = seq % 5 == 0 ? 0 : snprintf(bytes, 32, "row %" PRIu64, seq);
    return text_of(bytes, (size_t)size);
}

static struct record record_of(uint64_t seq, char bytes[32])
{
    int size = snprintf(bytes, 32, "record %" PRIu64, seq);
    return (struct record){.seq = seq,
                           .time_ns = 1000 + seq,
                           .kind = 7,
                           .semantics = 3,
                           .payload = text_of(bytes, (size_t)size)};
}

static int add_numbered(struct slice_writer *w, uint64_t seq)
{
    char payload[32], row_bytes[32];
    struct record r = record_of(seq, payload);
    struct journal_row row = {0, TEXT_NONE};
    if (has_row(seq)) row = (struct journal_row){seq, row_of(seq, row_bytes)};
    return slice_add(w, &r, &row);
}

// A file of numbered records.
static void slice_write(struct folder *f, const char *path, uint64_t base_seq, uint64_t count)
{
    struct slice_about about = about_of(base_seq);
    struct slice_writer *w = must_begin(f, path, &about);
    if (base_seq > 0) assert_int_equal(slice_add_base(w, BASE, sizeof(BASE) - 1), 0);
    for (uint64_t seq = base_seq + 1; seq <= base_seq + count; seq++)
        assert_int_equal(add_numbered(w, seq), 0);
    int err = slice_commit(w, &f->problem);
    if (err != 0) fail_msg("slice_commit: %d %s", err, f->problem.text);
}

static struct slice *must_open_slice(struct folder *f, const char *path)
{
    struct slice *s = NULL;
    int err = slice_open(path, &s, &f->problem);
    if (err != 0) fail_msg("slice_open: %d %s", err, f->problem.text);
    return s;
}

static int try_slice(struct folder *f, const char *path)
{
    struct slice *s = NULL;
    f->problem = (struct journal_problem){0};
    int err = slice_open(path, &s, &f->problem);
    assert_true((err == 0) == (s != NULL));
    slice_close(s);
    return err;
}

// Reads numbered records up to the end; returns how many, or the error below 0.
static int64_t slice_read(struct folder *f, struct slice *s, uint64_t from)
{
    struct slice_cursor *c = NULL;
    int64_t count = 0;
    int err = slice_cursor_open(s, from, &c, &f->problem);
    while (err == 0) {
        struct record r;
        struct journal_row row;
        char payload[32], row_bytes[32];
        err = slice_cursor_next(c, &r, &row, &f->problem);
        if (err != 0) break;
        struct record wanted = record_of(from + (uint64_t)count, payload);
        assert_int_equal(r.seq, wanted.seq);
        assert_int_equal(r.time_ns, wanted.time_ns);
        assert_int_equal(r.kind, wanted.kind);
        assert_int_equal(r.semantics, wanted.semantics);
        assert_true(text_equal(r.payload, wanted.payload));
        assert_int_equal(row.seq, has_row(r.seq) ? r.seq : 0);
        if (has_row(r.seq)) assert_true(text_equal(row.bytes, row_of(r.seq, row_bytes)));
        count++;
    }
    slice_cursor_close(c);
    return err == BOSKOS_E_NOT_FOUND ? count : err;
}

static size_t bytes_read(const char *path, uint8_t **ret_bytes)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &status), 0);
    uint8_t *bytes = calloc(1, (size_t)status.st_size + 1);
    assert_non_null(bytes);
    assert_int_equal(read(fd, bytes, (size_t)status.st_size), status.st_size);
    (void)close(fd);
    *ret_bytes = bytes;
    return (size_t)status.st_size;
}

static void file_put(const char *path, const void *bytes, size_t size)
{
    (void)unlink(path);
    file_write(path, bytes, size);
}

// ---- what comes back --------------------------------------------------------

static void check_whole(struct folder *f, const char *path, uint64_t base_seq, uint64_t count)
{
    struct slice *s = must_open_slice(f, path);
    struct slice_about wanted = about_of(base_seq);
    const struct slice_about *about = slice_about(s);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(about->base_seq, base_seq);
    assert_int_equal(about->base_time_ns, wanted.base_time_ns);
    assert_true(hash128_equal(about->base_chain, wanted.base_chain));
    assert_true(hash128_equal(about->base_digest, wanted.base_digest));
    assert_true(text_equal(about->created_by, wanted.created_by));
    assert_int_equal(about->flags, wanted.flags);
    assert_int_equal(about->last_seq, base_seq + count);
    assert_int_equal(about->last_time_ns, count > 0 ? 1000 + about->last_seq : wanted.base_time_ns);
    assert_int_equal(about->bytes, status.st_size);
    assert_true(text_equal(slice_base(s), base_seq > 0 ? TEXT(BASE) : TEXT("")));

    for (uint64_t i = 1; i <= count + 1; i += count < 100 ? 1 : count / 7)
        assert_int_equal(slice_read(f, s, base_seq + i), count + 1 - i);
    assert_int_equal(slice_read(f, s, base_seq + count + 1), 0);
    struct slice_cursor *c = NULL;
    assert_int_equal(slice_cursor_open(s, base_seq, &c, &f->problem), BOSKOS_E_NOT_FOUND);
    assert_int_equal(slice_cursor_open(s, base_seq + count + 2, &c, NULL), BOSKOS_E_NOT_FOUND);
    assert_non_null(strstr(f->problem.text, path));
    slice_close(s);
}

static void a_slice_comes_back_as_it_was(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES], temp[PATH_BYTES];
    static const uint64_t counts[] = {0, 1, 2, 30, 4095, 4096, 4097, 8192, 20000};
    (void)path_in(f, "slice.tmp", temp);
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        for (uint64_t base_seq = 0; base_seq < 2000; base_seq += 999) {
            (void)unlink(path_in(f, "slice", path));
            slice_write(f, path, base_seq, counts[i]);
            assert_int_equal(mode_of(path), 0600);
            assert_false(exists(temp));
            check_whole(f, path, base_seq, counts[i]);
        }
    }
}

static void cursors_begin_around_the_entries_of_the_index(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    slice_write(f, path_in(f, "slice", path), 10, 9000);
    struct slice *s = must_open_slice(f, path);
    for (uint64_t near = 0; near <= 8192; near += 4096)
        for (uint64_t from = near < 4 ? 0 : near - 4; from < near + 4; from++)
            assert_int_equal(slice_read(f, s, 11 + from), 9000 - from);
    slice_close(s);
}

// In a slice of the log as it is the checksums are the log's own.
static void the_checksums_are_those_of_the_log(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    struct journal *j = must_open(f);
    assert_int_equal(append_numbered(j, 5, NULL), 0);
    slice_write(f, path_in(f, "slice", path), 0, 5);
    struct slice *s = must_open_slice(f, path);
    struct slice_cursor *mine = NULL;
    struct journal_cursor *theirs = cursor_at(f, j, 1);
    assert_int_equal(slice_cursor_open(s, 1, &mine, &f->problem), 0);
    for (int i = 0; i < 5; i++) {
        struct record a, b;
        struct journal_row row;
        assert_int_equal(slice_cursor_next(mine, &a, &row, &f->problem), 0);
        assert_int_equal(journal_cursor_next(theirs, &b, &row, &f->problem), 0);
        assert_true(hash128_equal(a.chain, b.chain));
    }
    slice_cursor_close(mine);
    slice_close(s);
    journal_cursor_close(theirs);
    journal_close(j);
}

static uint64_t resident_bytes(void)
{
    char line[128] = "";
    unsigned long long all = 0, resident = 0;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_true(read(fd, line, sizeof(line) - 1) > 0);
    (void)close(fd);
    assert_int_equal(sscanf(line, "%llu %llu", &all, &resident), 2);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

// A base and payloads above every step, and memory that does not grow with them.
static void a_large_slice_is_read_in_bounded_memory(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES], first[32] = "";
    const size_t size = 3000001;
    uint64_t most = 0;
    struct slice_about about = about_of(1);
    struct slice_writer *w = must_begin(f, path_in(f, "slice", path), &about);
    char *bytes = malloc(size);
    assert_non_null(bytes);
    memset(bytes, 'x', size);
    for (int i = 0; i < 10; i++)
        assert_int_equal(slice_add_base(w, bytes, size), 0);
    for (uint64_t seq = 2; seq < 22; seq++) {
        struct record r = record_of(seq, first);
        memcpy(bytes, first, sizeof(first));
        r.payload = text_of(bytes, size - seq);
        struct journal_row row = {seq, text_of(bytes, JOURNAL_ROW_BYTES_MAX)};
        assert_int_equal(slice_add(w, &r, &row), 0);
    }
    assert_int_equal(slice_commit(w, &f->problem), 0);

    uint64_t before = resident_bytes();
    struct slice *s = must_open_slice(f, path);
    most = resident_bytes();
    assert_int_equal(slice_base(s).size, 10 * size);
    assert_memory_equal(slice_base(s).data + size, slice_base(s).data + 2 * size, size);
    struct slice_cursor *c = NULL;
    assert_int_equal(slice_cursor_open(s, 2, &c, &f->problem), 0);
    for (uint64_t seq = 2; seq < 22; seq++) {
        struct record r;
        struct journal_row row;
        assert_int_equal(slice_cursor_next(c, &r, &row, &f->problem), 0);
        (void)record_of(seq, first);
        memcpy(bytes, first, sizeof(first));
        assert_int_equal(r.payload.size, size - seq);
        assert_memory_equal(r.payload.data, bytes, size - seq);
        assert_int_equal(row.bytes.size, JOURNAL_ROW_BYTES_MAX);
        if (resident_bytes() > most) most = resident_bytes();
    }
    assert_true(most - before < 8u << 20); // of 90 MB
    slice_cursor_close(c);
    slice_close(s);
    free(bytes);
}

// ---- the bytes --------------------------------------------------------------

// The bytes of the example in docs/FORMAT.md, which another program made.
static size_t example_read(uint8_t *bytes, size_t capacity)
{
    char path[PATH_BYTES];
    uint8_t *page = NULL;
    const char *top = getenv("BOSKOS_TESTS");
    assert_non_null(top);
    (void)snprintf(path, sizeof(path), "%s" PAGE_OF_FORMAT, top);
    (void)bytes_read(path, &page);
    const char *at = strstr((char *)page, "\n## The exported file\n");
    assert_non_null(at);
    at = strstr(at, "```text\n");
    assert_non_null(at);
    at = strchr(at, '\n') + 1;
    size_t size = 0;
    while (strncmp(at, "```", 3) != 0) {
        unsigned byte = 0;
        for (; sscanf(at, "%2x", &byte) == 1; at += 3) {
            assert_true(size < capacity);
            bytes[size++] = (uint8_t)byte;
            if (at[2] == '\n' || at[3] == ' ') break; // a remark may follow
        }
        at = strchr(at, '\n');
        assert_non_null(at);
        at++;
    }
    free(page);
    return size;
}

static void a_slice_has_the_bytes_of_the_format(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    uint8_t wanted[1024], *bytes = NULL;
    slice_write(f, path_in(f, "slice", path), 7, 2);
    size_t size = bytes_read(path, &bytes);
    assert_int_equal(example_read(wanted, sizeof(wanted)), size);
    assert_memory_equal(bytes, wanted, size);
    free(bytes);
}

// ---- damage -----------------------------------------------------------------

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

// What a trailer says is not believed for its checksum.
static void lies_under_a_good_checksum_are_found(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES];
    uint8_t *bytes = NULL;
    static const struct {
        size_t at; // in the trailer
        uint64_t value;
    } lies[] = {
        {0, 8},           {0, 6},           {0, UINT64_MAX},  {0, UINT64_MAX - 500},
        {24, 0},          {24, UINT64_MAX}, {32, 3},          {32, 2},
        {32, UINT64_MAX}, {32, 5000},       {32, 1ull << 63}, {80, 0},
    };
    slice_write(f, path_in(f, "slice", path), 3, 7);
    size_t size = bytes_read(path, &bytes);
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        uint8_t *field = bytes + size - TRAILER_BYTES + lies[i].at;
        uint64_t was = bytes_get_u64(field);
        bytes_put_u64(field, lies[i].value);
        trailer_checksum_put(bytes, size);
        file_put(path, bytes, size);
        if (try_slice(f, path) != BOSKOS_E_CORRUPT) fail_msg("lie %zu", i);
        bytes_put_u64(field, was);
    }

    // A record more or less: the cursor finds it at the last that the file says it has.
    for (uint64_t last = 9; last <= 11; last += 2) {
        bytes_put_u64(bytes + size - TRAILER_BYTES + 32, last);
        trailer_checksum_put(bytes, size);
        file_put(path, bytes, size);
        struct slice *s = must_open_slice(f, path);
        assert_int_equal(slice_read(f, s, 4), BOSKOS_E_CORRUPT);
        assert_int_equal(f->problem.seq, last);
        slice_close(s);
    }
    bytes_put_u64(bytes + size - TRAILER_BYTES + 32, 10);

    // An index that leads outside.
    uint8_t *index = bytes + size - TRAILER_BYTES - 24;
    static const uint64_t places[] = {0, 151, 158, 160, UINT64_MAX, 1 << 20};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        bytes_put_u64(index, places[i]);
        hash128_encode(hash128(index, 24), bytes + size - TRAILER_BYTES + 64);
        trailer_checksum_put(bytes, size);
        file_put(path, bytes, size);
        struct slice *s = must_open_slice(f, path);
        assert_int_equal(slice_read(f, s, 4), BOSKOS_E_CORRUPT);
        assert_int_equal(f->problem.seq, 4);
        slice_close(s);
    }
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

// ---- writing ----------------------------------------------------------------

static void content_is(const char *path, const char *wanted)
{
    uint8_t *bytes = NULL;
    assert_int_equal(bytes_read(path, &bytes), strlen(wanted));
    assert_memory_equal(bytes, wanted, strlen(wanted));
    free(bytes);
}

static void no_file_is_written_over(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES], temp[PATH_BYTES];
    struct slice_about about = about_of(3);
    struct slice_writer *w = NULL;
    (void)path_in(f, "slice.tmp", temp);
    file_write(path_in(f, "slice", path), "mine", 4);
    assert_int_equal(slice_begin(path, &about, &w, &f->problem), BOSKOS_E_IO);
    assert_int_equal(errno, EEXIST);
    assert_non_null(strstr(f->problem.text, path));
    assert_false(exists(temp));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("nowhere", path), 0); // a link is there too
    assert_int_equal(slice_begin(path, &about, &w, &f->problem), BOSKOS_E_IO);
    assert_int_equal(unlink(path), 0);

    file_write(temp, "theirs", 6);
    assert_int_equal(slice_begin(path, &about, &w, &f->problem), BOSKOS_E_IO);
    assert_int_equal(errno, EEXIST);
    assert_non_null(strstr(f->problem.text, temp));
    content_is(temp, "theirs");
    assert_int_equal(unlink(temp), 0);

    // The name is taken meanwhile, where the file system can tell and where it cannot.
    for (int i = 0; i < 2; i++) {
        renameat2_is_missing = i == 1;
        w = must_begin(f, path, &about);
        assert_int_equal(add_numbered(w, 4), 0);
        file_write(path, "mine", 4);
        assert_int_equal(slice_commit(w, &f->problem), BOSKOS_E_IO);
        assert_int_equal(errno, EEXIST);
        assert_non_null(strstr(f->problem.text, path));
        assert_false(exists(temp));
        content_is(path, "mine");
        assert_int_equal(unlink(path), 0);
    }
    slice_write(f, path, 3, 30); // and it is not
    renameat2_is_missing = false;
    check_whole(f, path, 3, 30);
    assert_false(exists(temp));
    assert_int_equal(slice_begin(path_in(f, "no/slice", path), &about, &w, &f->problem),
                     BOSKOS_E_IO);
    assert_int_equal(errno, ENOENT);
}

static void an_aborted_slice_leaves_nothing(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES], temp[PATH_BYTES];
    struct slice_about about = about_of(3);
    (void)path_in(f, "slice.tmp", temp);
    struct slice_writer *w = must_begin(f, path_in(f, "slice", path), &about);
    assert_int_equal(slice_add_base(w, "abc", 3), 0);
    assert_true(exists(temp));
    assert_int_equal(mode_of(temp), 0600);
    slice_abort(w);
    assert_false(exists(temp));
    assert_false(exists(path));

    // A snapshot too large is refused before a byte of it is read.
    w = must_begin(f, path, &about);
    assert_int_equal(slice_add_base(w, "abc", 3), 0);
    assert_int_equal(slice_add_base(w, "abc", JOURNAL_SNAPSHOT_BYTES_MAX), BOSKOS_E_TOO_LARGE);
    assert_int_equal(add_numbered(w, 4), BOSKOS_E_TOO_LARGE);
    assert_int_equal(slice_commit(w, &f->problem), BOSKOS_E_TOO_LARGE);
    assert_false(exists(temp));
    assert_false(exists(path));
}

// A limit on file sizes stands for the full disk.
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_full_disk_leaves_nothing(void **state)
{
    struct folder *f = *state;
    char path[PATH_BYTES], temp[PATH_BYTES];
    struct slice_about about = about_of(0);
    uint64_t seq = 1;
    int err = 0;
    (void)path_in(f, "slice.tmp", temp);
    limit_files(600000);
    struct slice_writer *w = must_begin(f, path_in(f, "slice", path), &about);
    for (; err == 0 && seq < 100000; seq++)
        err = add_numbered(w, seq);
    assert_int_equal(err, BOSKOS_E_NOSPACE);
    assert_int_equal(errno, EFBIG);
    assert_int_equal(add_numbered(w, seq), BOSKOS_E_NOSPACE); // it is kept
    assert_int_equal(slice_commit(w, &f->problem), BOSKOS_E_NOSPACE);
    assert_non_null(strstr(f->problem.text, path));
    assert_false(exists(temp));
    assert_false(exists(path));

    limit_files(500); // reached at the end alone
    w = must_begin(f, path, &about);
    for (seq = 1; seq < 50; seq++)
        assert_int_equal(add_numbered(w, seq), 0);
    assert_int_equal(slice_commit(w, &f->problem), BOSKOS_E_NOSPACE);
    assert_false(exists(temp));
    assert_false(exists(path));
    limit_files(RLIM_INFINITY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_slice_comes_back_as_it_was),
        TEST(cursors_begin_around_the_entries_of_the_index),
        TEST(the_checksums_are_those_of_the_log),
        TEST(a_large_slice_is_read_in_bounded_memory),
        TEST(a_slice_has_the_bytes_of_the_format),
        TEST(every_flipped_bit_is_found),
        TEST(every_other_length_is_refused),
        TEST(lies_under_a_good_checksum_are_found),
        TEST(a_newer_format_is_recognised),
        TEST(other_files_are_not_exported_ones),
        TEST(no_file_is_written_over),
        TEST(an_aborted_slice_leaves_nothing),
        TEST(a_full_disk_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
