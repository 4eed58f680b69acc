#include "journal/slice_format.h"

#include <errno.h>
#include <inttypes.h>

#include "base/assert.h"
#include "base/banned.h"

#define MAGIC "BOSKOSEX"
#define MAGIC_BYTES 8
#define SLICE_FORMAT 1u
#define CREATED_BY_AT 72

int slice_failed(struct journal_problem *problem, int rc, const char *path, const char *what)
{
    int err = journal_error_of(rc);
    const char *advice = err == BOSKOS_E_NOSPACE
                             ? "; make room on its file system, or raise the limit that is met"
                             : "";
    (void)journal_problem(problem, err, 0, "%s: cannot %s: %s%s", path, what, mdb_strerror(rc),
                          advice);
    errno = rc;
    return err;
}

// ---- header and trailer -----------------------------------------------------

void slice_header_encode(const struct slice_about *about, uint8_t ret_bytes[SLICE_HEADER_BYTES])
{
    memset(ret_bytes, 0, SLICE_HEADER_BYTES);
    memcpy(ret_bytes, MAGIC, MAGIC_BYTES);
    bytes_put_u16(ret_bytes + 8, SLICE_FORMAT);
    bytes_put_u64(ret_bytes + 16, about->flags);
    bytes_put_u64(ret_bytes + 24, about->base_seq);
    bytes_put_u64(ret_bytes + 32, about->base_time_ns);
    hash128_encode(about->base_chain, ret_bytes + 40);
    hash128_encode(about->base_digest, ret_bytes + 56);
    if (about->created_by.size > 0)
        memcpy(ret_bytes + CREATED_BY_AT, about->created_by.data, about->created_by.size);
    hash128_encode(hash128(ret_bytes, SLICE_HEADER_FIELDS_BYTES),
                   ret_bytes + SLICE_HEADER_FIELDS_BYTES);
}

// Is this the beginning of an exported file? One whose magic alone is damaged is.
static int header_check(const char *path, const uint8_t *bytes, uint64_t size,
                        struct journal_problem *problem)
{
    size_t begun = size < MAGIC_BYTES ? (size_t)size : MAGIC_BYTES;
    bool is_ours = begun > 0 && memcmp(bytes, MAGIC, begun) == 0;
    bool fits = false;
    if (size >= SLICE_HEADER_BYTES) {
        uint8_t fields[SLICE_HEADER_FIELDS_BYTES];
        memcpy(fields, bytes, sizeof(fields));
        memcpy(fields, MAGIC, MAGIC_BYTES);
        fits = hash128_equal(hash128(fields, sizeof(fields)),
                             hash128_decode(bytes + SLICE_HEADER_FIELDS_BYTES));
    }
    if (!is_ours && !fits) {
        return journal_problem(problem, BOSKOS_E_MALFORMED, 0,
                               "%s is not a file that boskos-replay exported", path);
    }
    if (size < SLICE_HEADER_BYTES) {
        return journal_problem(problem, BOSKOS_E_CORRUPT, 0,
                               "%s is cut short: it has %" PRIu64 " bytes", path, size);
    }
    if (!is_ours || !fits)
        return journal_problem(problem, BOSKOS_E_CORRUPT, 0, "%s: the header is damaged", path);
    return 0;
}

// The version: all up to the zeros that fill its place. False when there is more behind them.
static bool created_by_decode(const uint8_t *bytes, struct text *ret_text)
{
    size_t size = 0;
    while (size < SLICE_CREATED_BY_BYTES_MAX && bytes[size] != 0)
        size++;
    for (size_t i = size; i < SLICE_CREATED_BY_BYTES_MAX; i++)
        if (bytes[i] != 0) return false;
    *ret_text = text_of((const char *)bytes, size);
    return true;
}

int slice_header_decode(const char *path, const uint8_t *bytes, uint64_t size,
                        struct slice_about *ret_about, struct journal_problem *problem)
{
    int err = header_check(path, bytes, size, problem);
    if (err != 0) return err;
    uint16_t format = bytes_get_u16(bytes + 8);
    if (format > SLICE_FORMAT) {
        return journal_problem(problem, BOSKOS_E_TOO_NEW, 0,
                               "%s was written by a newer boskos-replay (format %u, this one "
                               "knows %u); read it with that one",
                               path, format, SLICE_FORMAT);
    }

    struct slice_about about = {
        .base_seq = bytes_get_u64(bytes + 24),
        .base_time_ns = bytes_get_u64(bytes + 32),
        .base_chain = hash128_decode(bytes + 40),
        .base_digest = hash128_decode(bytes + 56),
        .flags = (uint32_t)bytes_get_u64(bytes + 16),
    };
    static const uint8_t zeros[6];
    bool has_base =
        about.base_time_ns != 0 || about.base_chain.high != 0 || about.base_chain.low != 0;
    if (format == 0 || memcmp(bytes + 10, zeros, sizeof(zeros)) != 0 ||
        bytes_get_u64(bytes + 16) > UINT32_MAX || (about.base_seq == 0 && has_base) ||
        !created_by_decode(bytes + CREATED_BY_AT, &about.created_by)) {
        return journal_problem(problem, BOSKOS_E_CORRUPT, 0,
                               "%s: the header has an impossible form", path);
    }
    *ret_about = about;
    return 0;
}

struct hash128 slice_trailer_checksum(struct hash128 header, const uint8_t *fields)
{
    uint8_t joined[HASH128_BYTES + SLICE_TRAILER_FIELDS_BYTES];
    hash128_encode(header, joined);
    memcpy(joined + HASH128_BYTES, fields, SLICE_TRAILER_FIELDS_BYTES);
    return hash128(joined, sizeof(joined));
}

void slice_trailer_encode(const struct slice_trailer *t, struct hash128 header,
                          uint8_t ret_bytes[SLICE_TRAILER_BYTES])
{
    bytes_put_u64(ret_bytes, t->base_bytes);
    hash128_encode(t->base_checksum, ret_bytes + 8);
    bytes_put_u64(ret_bytes + 24, t->records_bytes);
    bytes_put_u64(ret_bytes + 32, t->last_seq);
    bytes_put_u64(ret_bytes + 40, t->last_time_ns);
    hash128_encode(t->last_chain, ret_bytes + 48);
    hash128_encode(t->index_checksum, ret_bytes + 64);
    bytes_put_u64(ret_bytes + 80, t->file_bytes);
    hash128_encode(slice_trailer_checksum(header, ret_bytes),
                   ret_bytes + SLICE_TRAILER_FIELDS_BYTES);
}

struct slice_trailer slice_trailer_decode(const uint8_t bytes[SLICE_TRAILER_BYTES])
{
    return (struct slice_trailer){
        .base_bytes = bytes_get_u64(bytes),
        .base_checksum = hash128_decode(bytes + 8),
        .records_bytes = bytes_get_u64(bytes + 24),
        .last_seq = bytes_get_u64(bytes + 32),
        .last_time_ns = bytes_get_u64(bytes + 40),
        .last_chain = hash128_decode(bytes + 48),
        .index_checksum = hash128_decode(bytes + 64),
        .file_bytes = bytes_get_u64(bytes + 80),
    };
}

static uint64_t index_bytes(uint64_t records)
{
    return (records / SLICE_INDEX_EVERY + (records % SLICE_INDEX_EVERY != 0)) *
           SLICE_INDEX_ENTRY_BYTES;
}

bool slice_trailer_fits(const struct slice_trailer *t, const struct slice_about *about,
                        uint64_t size)
{
    if (t->file_bytes != size) return false;
    if (t->last_seq < about->base_seq || t->last_seq == UINT64_MAX) return false;
    uint64_t records = t->last_seq - about->base_seq;
    uint64_t rest = size - SLICE_HEADER_BYTES - SLICE_TRAILER_BYTES;
    if (t->base_bytes > rest || t->base_bytes > JOURNAL_SNAPSHOT_BYTES_MAX) return false;
    if (about->base_seq == 0 && t->base_bytes > 0) return false;
    rest -= t->base_bytes;
    if (t->records_bytes > rest) return false;
    rest -= t->records_bytes;
    if (rest != index_bytes(records)) return false;
    return records > 0 || (t->records_bytes == 0 && t->last_time_ns == about->base_time_ns &&
                           hash128_equal(t->last_chain, about->base_chain));
}

// ---- records ------------------------------------------------------

uint64_t slice_frame_checksum(uint64_t seq, const uint8_t sizes[SLICE_SIZES_BYTES])
{
    uint8_t joined[KEY_BYTES + SLICE_SIZES_BYTES];
    bytes_put_u64(joined, seq);
    memcpy(joined + KEY_BYTES, sizes, SLICE_SIZES_BYTES);
    return hash64(joined, sizeof(joined), 0);
}

uint64_t slice_row_checksum(uint64_t seq, const void *bytes, size_t size)
{
    uint8_t joined[KEY_BYTES + JOURNAL_ROW_BYTES_MAX];
    ASSERT(size <= JOURNAL_ROW_BYTES_MAX);
    bytes_put_u64(joined, seq);
    if (size > 0) memcpy(joined + KEY_BYTES, bytes, size);
    return hash64(joined, KEY_BYTES + size, 0);
}
