#include "journal/slice_format.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/banned.h"

#define DROP_BYTES ((uint64_t)1024 * 1024) // read before the pages are let go of

struct slice {
    char *path;
    uint8_t *bytes; // the map
    uint64_t size;
    struct slice_about about;
    uint64_t base_bytes;
    uint64_t records_at, records_end; // and there begins the index
    struct hash128 last_chain;
};

struct slice_cursor {
    struct slice *s;
    uint64_t next;        // the record that comes next
    uint64_t at;          // where it begins
    struct hash128 chain; // of the one before it
    uint64_t dropped;     // pages before this were let go of
};

// ---- open -------------------------------------------------------------------

// Lets go of pages: they stay in the system's cache, but do not count as this process's memory. Who
// needs one again finds it there.
static void pages_drop(const struct slice *s, uint64_t from, uint64_t to)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    ASSERT(to <= s->size);
    from = from / page * page;
    if (from < to) (void)madvise(s->bytes + from, to - from, MADV_DONTNEED);
}

static int file_map(struct slice *s, struct journal_problem *problem)
{
    int err = 0;
    struct stat status;
    // Without waiting, should it be a pipe.
    int fd = open(s->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return journal_problem(problem, BOSKOS_E_NOT_FOUND, 0, "%s is not there", s->path);
    if (fd < 0 || fstat(fd, &status) != 0) {
        err = slice_failed(problem, errno, s->path, "open it");
        goto out;
    }
    if (!S_ISREG(status.st_mode) || status.st_size == 0) {
        err = journal_problem(problem, BOSKOS_E_MALFORMED, 0,
                              "%s is %s, not what boskos-replay exported", s->path,
                              S_ISREG(status.st_mode) ? "an empty file" : "no file");
        goto out;
    }
    uint64_t size = (uint64_t)status.st_size;
    void *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED) {
        err = slice_failed(problem, errno, s->path, "map it");
        goto out;
    }
    (void)madvise(bytes, size, MADV_SEQUENTIAL);
    s->bytes = bytes;
    s->size = size;
out:
    if (fd >= 0) (void)close(fd);
    return err;
}

// Reads the trailer and fills in what it says.
static int trailer_read(struct slice *s, struct slice_trailer *ret_trailer,
                        struct journal_problem *problem)
{
    if (s->size < SLICE_HEADER_BYTES + SLICE_TRAILER_BYTES) {
        return journal_problem(problem, BOSKOS_E_CORRUPT, 0,
                               "%s is cut short: it has %" PRIu64 " bytes", s->path, s->size);
    }
    const uint8_t *bytes = s->bytes + s->size - SLICE_TRAILER_BYTES;
    struct hash128 header = hash128_decode(s->bytes + SLICE_HEADER_FIELDS_BYTES);
    if (!hash128_equal(slice_trailer_checksum(header, bytes),
                       hash128_decode(bytes + SLICE_TRAILER_FIELDS_BYTES))) {
        return journal_problem(problem, BOSKOS_E_CORRUPT, 0,
                               "%s: its end does not fit: it is cut short or damaged", s->path);
    }
    struct slice_trailer t = slice_trailer_decode(bytes);
    if (!slice_trailer_fits(&t, &s->about, s->size)) {
        return journal_problem(problem, BOSKOS_E_CORRUPT, 0,
                               "%s: its length is not the one it says", s->path);
    }
    s->base_bytes = t.base_bytes;
    s->records_at = SLICE_HEADER_BYTES + t.base_bytes;
    s->records_end = s->records_at + t.records_bytes;
    s->last_chain = t.last_chain;
    s->about.last_seq = t.last_seq;
    s->about.last_time_ns = t.last_time_ns;
    s->about.bytes = s->size;
    *ret_trailer = t;
    return 0;
}

// Is the XXH3-128 of a part of the file this one?
static int part_check(const struct slice *s, uint64_t from, uint64_t to, struct hash128 checksum,
                      const char *what, struct journal_problem *problem)
{
    struct hash128_stream *hash = hash128_stream_new();
    if (hash == NULL)
        return journal_problem(problem, BOSKOS_E_NOMEM, 0, "%s: no memory to read it", s->path);
    while (from < to) {
        uint64_t part = to - from < DROP_BYTES ? to - from : DROP_BYTES;
        hash128_stream_add(hash, s->bytes + from, part);
        pages_drop(s, from, from + part);
        from += part;
    }
    bool fits = hash128_equal(hash128_stream_value(hash), checksum);
    hash128_stream_free(hash);
    if (fits) return 0;
    return journal_problem(problem, BOSKOS_E_CORRUPT, 0, "%s: the checksum of its %s does not fit",
                           s->path, what);
}

int slice_open(const char *path, struct slice **ret_slice, struct journal_problem *problem)
{
    int err = 0;
    struct slice_trailer t = {0};
    struct slice *s = calloc(1, sizeof(*s));
    if (s != NULL) s->path = strdup(path);
    if (s == NULL || s->path == NULL) {
        err = journal_problem(problem, BOSKOS_E_NOMEM, 0, "%s: no memory to read it", path);
        goto out;
    }
    err = file_map(s, problem);
    if (err != 0) goto out;
    ASSERT(s->bytes != NULL);
    err = slice_header_decode(path, s->bytes, s->size, &s->about, problem);
    if (err != 0) goto out;
    err = trailer_read(s, &t, problem);
    if (err != 0) goto out;
    err = part_check(s, SLICE_HEADER_BYTES, s->records_at, t.base_checksum, "snapshot", problem);
    if (err != 0) goto out;
    err = part_check(s, s->records_end, s->size - SLICE_TRAILER_BYTES, t.index_checksum, "index",
                     problem);
    if (err != 0) goto out;

    *ret_slice = s;
    s = NULL;
out:
    slice_close(s);
    return err;
}

void slice_close(struct slice *s)
{
    if (s == NULL) return;
    if (s->bytes != NULL) (void)munmap(s->bytes, s->size);
    free(s->path);
    free(s);
}

const struct slice_about *slice_about(const struct slice *s)
{
    return &s->about;
}

struct text slice_base(const struct slice *s)
{
    return text_of((const char *)s->bytes + SLICE_HEADER_BYTES, s->base_bytes);
}

// ---- records ----------------------------------------------------------------

struct frame {
    const uint8_t *value, *row;
    uint64_t value_bytes, row_bytes; // row_bytes 0: no row
};

static int damaged(const struct slice_cursor *c, const char *what, struct journal_problem *problem)
{
    return journal_problem(problem, BOSKOS_E_CORRUPT, c->next,
                           "%s: the %s of record %" PRIu64 " does not fit", c->s->path, what,
                           c->next);
}

// What the index says of the record at the cursor, which has an entry in it.
static void index_read(const struct slice *s, uint64_t number, uint64_t *ret_at,
                       struct hash128 *ret_chain)
{
    const uint8_t *entry = s->bytes + s->records_end + number * SLICE_INDEX_ENTRY_BYTES;
    *ret_at = bytes_get_u64(entry);
    *ret_chain = hash128_decode(entry + 8);
}

// Finds the parts of the record at the cursor; their sizes are possible and lie in the file.
static int frame_read(const struct slice_cursor *c, struct frame *ret_frame,
                      struct journal_problem *problem)
{
    const uint8_t *bytes = c->s->bytes + c->at;
    uint64_t left = c->s->records_end - c->at;
    if (left < SLICE_FRAME_BYTES ||
        bytes_get_u64(bytes + SLICE_SIZES_BYTES) != slice_frame_checksum(c->next, bytes))
        return damaged(c, "size", problem);
    left -= SLICE_FRAME_BYTES;

    struct frame f = {.value_bytes = bytes_get_u64(bytes), .row_bytes = bytes_get_u64(bytes + 8)};
    bool has_row = f.row_bytes != 0;
    if (f.value_bytes < RECORD_HEAD_BYTES ||
        f.value_bytes > RECORD_HEAD_BYTES + (uint64_t)JOURNAL_PAYLOAD_BYTES_MAX ||
        f.row_bytes > ROW_CHECKSUM_BYTES + (uint64_t)JOURNAL_ROW_BYTES_MAX ||
        (has_row && f.row_bytes < ROW_CHECKSUM_BYTES) || f.value_bytes + f.row_bytes > left)
        return damaged(c, "size", problem);
    f.value = bytes + SLICE_FRAME_BYTES;
    f.row = f.value + f.value_bytes;
    *ret_frame = f;
    return 0;
}

static int record_read(const struct slice_cursor *c, const struct frame *f,
                       struct record *ret_record, struct journal_problem *problem)
{
    const char *path = c->s->path;
    struct record r = {
        .seq = c->next,
        .payload =
            text_of((const char *)f->value + RECORD_HEAD_BYTES, f->value_bytes - RECORD_HEAD_BYTES),
        .chain = hash128_decode(f->value + RECORD_FIELDS_BYTES),
    };
    uint8_t chained[RECORD_CHAINED_BYTES];
    struct hash128 checksum;
    hash128_encode(c->chain, chained);
    bytes_put_u64(chained + HASH128_BYTES, c->next);
    memcpy(chained + HASH128_BYTES + KEY_BYTES, f->value, RECORD_FIELDS_BYTES);
    if (record_checksum(chained, r.payload, &checksum) != 0) {
        return journal_problem(problem, BOSKOS_E_NOMEM, c->next, "%s: no memory for a record",
                               path);
    }
    if (!hash128_equal(checksum, r.chain)) return damaged(c, "checksum", problem);

    int err = record_fields_decode(path, f->value, &r, NULL); // whose words are of a folder
    if (err == BOSKOS_E_TOO_NEW) {
        return journal_problem(problem, err, c->next,
                               "%s: record %" PRIu64 " was written by a newer boskosd (format %u, "
                               "this one knows %u); read it with that one's boskos-replay",
                               path, c->next, bytes_get_u16(f->value), JOURNAL_FORMAT);
    }
    if (err != 0) return damaged(c, "form", problem);
    *ret_record = r;
    return 0;
}

// Reads the record at the cursor, and its row, and goes behind it.
static int entry_read(struct slice_cursor *c, struct record *ret_record,
                      struct journal_row *ret_row, struct journal_problem *problem)
{
    const struct slice *s = c->s;
    struct frame f = {0};
    struct record r = {0};
    struct journal_row row = {0, TEXT_NONE};
    uint64_t number = c->next - s->about.base_seq - 1;
    if (number % SLICE_INDEX_EVERY == 0) {
        uint64_t at;
        struct hash128 chain;
        index_read(s, number / SLICE_INDEX_EVERY, &at, &chain);
        if (at != c->at || !hash128_equal(chain, c->chain)) return damaged(c, "place", problem);
    }
    int err = frame_read(c, &f, problem);
    if (err != 0) return err;
    ASSERT(f.value != NULL);
    err = record_read(c, &f, &r, problem);
    if (err != 0) return err;
    if (f.row_bytes > 0) {
        size_t size = f.row_bytes - ROW_CHECKSUM_BYTES;
        if (slice_row_checksum(c->next, f.row, size) != bytes_get_u64(f.row + size))
            return damaged(c, "result's checksum", problem);
        row = (struct journal_row){c->next, text_of((const char *)f.row, size)};
    }
    uint64_t end = c->at + SLICE_FRAME_BYTES + f.value_bytes + f.row_bytes;
    if (c->next == s->about.last_seq &&
        (end != s->records_end || r.time_ns != s->about.last_time_ns ||
         !hash128_equal(r.chain, s->last_chain)))
        return damaged(c, "end", problem);

    c->at = end;
    c->chain = r.chain;
    c->next++;
    *ret_record = r;
    *ret_row = row;
    return 0;
}

// Goes to the record by the index and the records between.
static int cursor_seek(struct slice_cursor *c, uint64_t from, struct journal_problem *problem)
{
    const struct slice *s = c->s;
    uint64_t number = from - s->about.base_seq - 1;
    uint64_t at = s->records_at;
    c->next = from;
    c->at = c->dropped = s->records_end;
    c->chain = s->last_chain;
    if (from > s->about.last_seq) return 0;

    c->next = from - number % SLICE_INDEX_EVERY;
    c->chain = s->about.base_chain; // with which the index must agree at the first record
    if (number >= SLICE_INDEX_EVERY) index_read(s, number / SLICE_INDEX_EVERY, &at, &c->chain);
    if (at < s->records_at || at > s->records_end) return damaged(c, "place", problem);
    c->at = c->dropped = at;
    while (c->next < from) {
        struct record r;
        struct journal_row row;
        int err = slice_cursor_next(c, &r, &row, problem);
        if (err != 0) return err;
    }
    return 0;
}

int slice_cursor_open(struct slice *s, uint64_t from, struct slice_cursor **ret_cursor,
                      struct journal_problem *problem)
{
    const struct slice_about *about = &s->about;
    if (from <= about->base_seq || from > about->last_seq + 1) {
        return journal_problem(problem, BOSKOS_E_NOT_FOUND, from,
                               "%s has no record %" PRIu64 "; it has %" PRIu64 " up to %" PRIu64,
                               s->path, from, about->base_seq + 1, about->last_seq);
    }
    struct slice_cursor *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return journal_problem(problem, BOSKOS_E_NOMEM, 0, "%s: no memory to read it", s->path);
    c->s = s;
    pages_drop(s, SLICE_HEADER_BYTES, s->records_at);
    int err = cursor_seek(c, from, problem);
    if (err != 0) goto out;

    *ret_cursor = c;
    c = NULL;
out:
    slice_cursor_close(c);
    return err;
}

void slice_cursor_close(struct slice_cursor *c)
{
    if (c == NULL) return;
    pages_drop(c->s, c->dropped, c->at);
    free(c);
}

int slice_cursor_next(struct slice_cursor *c, struct record *ret_record,
                      struct journal_row *ret_row, struct journal_problem *problem)
{
    if (c->next > c->s->about.last_seq) return BOSKOS_E_NOT_FOUND;
    if (c->at - c->dropped >= DROP_BYTES) { // and nothing before the cursor is borrowed any more
        pages_drop(c->s, c->dropped, c->at);
        c->dropped = c->at;
    }
    return entry_read(c, ret_record, ret_row, problem);
}
