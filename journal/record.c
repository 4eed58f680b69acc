#include "journal/internal.h"

#include <inttypes.h>

#include "base/banned.h"

// Up to here a copy beside the chained bytes is cheaper than setting up a stream.
#define COPIED_PAYLOAD_BYTES_MAX 4096

void record_chained_encode(const struct record *r, struct hash128 before,
                           uint8_t ret_bytes[RECORD_CHAINED_BYTES])
{
    hash128_encode(before, ret_bytes);
    bytes_put_u64(ret_bytes + 16, r->seq);
    bytes_put_u16(ret_bytes + 24, JOURNAL_FORMAT);
    bytes_put_u16(ret_bytes + 26, r->semantics);
    bytes_put_u16(ret_bytes + 28, r->kind);
    bytes_put_u16(ret_bytes + 30, 0);
    bytes_put_u64(ret_bytes + 32, r->time_ns);
}

int record_checksum(const uint8_t chained[RECORD_CHAINED_BYTES], struct text payload,
                    struct hash128 *ret_checksum)
{
    if (payload.size <= COPIED_PAYLOAD_BYTES_MAX) {
        uint8_t joined[RECORD_CHAINED_BYTES + COPIED_PAYLOAD_BYTES_MAX];
        memcpy(joined, chained, RECORD_CHAINED_BYTES);
        if (payload.size > 0) memcpy(joined + RECORD_CHAINED_BYTES, payload.data, payload.size);
        *ret_checksum = hash128(joined, RECORD_CHAINED_BYTES + (size_t)payload.size);
        return 0;
    }

    struct hash128_stream *s = hash128_stream_new();
    if (s == NULL) return BOSKOS_E_NOMEM;
    hash128_stream_add(s, chained, RECORD_CHAINED_BYTES);
    hash128_stream_add(s, payload.data, payload.size);
    *ret_checksum = hash128_stream_value(s);
    hash128_stream_free(s);
    return 0;
}

int record_size_check(const char *path, uint64_t seq, size_t value_size,
                      struct journal_problem *problem)
{
    if (value_size >= RECORD_HEAD_BYTES &&
        value_size - RECORD_HEAD_BYTES <= JOURNAL_PAYLOAD_BYTES_MAX)
        return 0;
    return journal_problem(problem, BOSKOS_E_CORRUPT, seq,
                           "%s/data.mdb: record %" PRIu64 " has an impossible size", path, seq);
}

int record_fields_decode(const char *path, const uint8_t fields[RECORD_FIELDS_BYTES],
                         struct record *r, struct journal_problem *problem)
{
    uint16_t format = bytes_get_u16(fields);
    if (format > JOURNAL_FORMAT) {
        return journal_problem(problem, BOSKOS_E_TOO_NEW, r->seq,
                               "%s/data.mdb: record %" PRIu64 " was written by a newer boskosd "
                               "(format %u, this one knows %u); start that one",
                               path, r->seq, format, JOURNAL_FORMAT);
    }
    if (format == 0 || bytes_get_u16(fields + 6) != 0) {
        return journal_problem(problem, BOSKOS_E_CORRUPT, r->seq,
                               "%s/data.mdb: record %" PRIu64 " has an impossible form", path,
                               r->seq);
    }
    r->semantics = bytes_get_u16(fields + 2);
    r->kind = record_kind(fields);
    r->time_ns = record_time_ns(fields);
    return 0;
}

int record_value_check(const char *path, uint64_t seq, const MDB_val *value,
                       const struct hash128 *before, struct record *ret_record,
                       struct journal_problem *problem)
{
    int err = record_size_check(path, seq, value->mv_size, problem);
    if (err != 0) return err;

    const uint8_t *bytes = value->mv_data;
    struct record r = {
        .seq = seq,
        .payload =
            text_of((const char *)bytes + RECORD_HEAD_BYTES, value->mv_size - RECORD_HEAD_BYTES),
        .chain = hash128_decode(bytes + RECORD_FIELDS_BYTES),
    };
    if (before != NULL) {
        uint8_t chained[RECORD_CHAINED_BYTES];
        hash128_encode(*before, chained);
        bytes_put_u64(chained + HASH128_BYTES, seq);
        memcpy(chained + HASH128_BYTES + KEY_BYTES, bytes, RECORD_FIELDS_BYTES);
        struct hash128 checksum;
        err = record_checksum(chained, r.payload, &checksum);
        if (err != 0) return journal_problem(problem, err, seq, "%s: no memory", path);
        if (!hash128_equal(checksum, r.chain)) {
            return journal_problem(problem, BOSKOS_E_CORRUPT, seq,
                                   "%s/data.mdb: the checksum of record %" PRIu64 " does not fit",
                                   path, seq);
        }
    }

    err = record_fields_decode(path, bytes, &r, problem);
    if (err != 0) return err;
    *ret_record = r;
    return 0;
}
