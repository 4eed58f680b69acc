#include <errno.h>
#include <unistd.h>

#include "journal/ahead.h"
#include "journal/internal.h"

#include "base/banned.h"

// The bytes (docs/FORMAT.md).
#define MAGIC "BOSKOSAH"
#define FRAME_FORMAT 1u
#define CHECKED_BYTES (FRAME_HEAD_BYTES - HASH128_BYTES)
#define RECORD_AHEAD_BYTES (8 + RECORD_CHAINED_BYTES) // without its payload

// ---- the ring -----------------------------------------------------------------

// 0 or an errno. A short write that no call calls an error is one at the end of the disk.
static int piece_write(int fd, const uint8_t *bytes, size_t size, uint64_t at)
{
    while (size > 0) {
        ssize_t n = pwrite(fd, bytes, size, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno;
        if (n == 0) return ENOSPC;
        bytes += n;
        at += (uint64_t)n;
        size -= (size_t)n;
    }
    return 0;
}

static int piece_read(int fd, uint8_t *bytes, size_t size, uint64_t at)
{
    while (size > 0) {
        ssize_t n = pread(fd, bytes, size, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno;
        if (n == 0) return EIO; // it became shorter
        bytes += n;
        at += (uint64_t)n;
        size -= (size_t)n;
    }
    return 0;
}

// How much of a piece lies before the ring's end.
static size_t before_end(uint64_t ring, uint64_t at, size_t size)
{
    return size < ring - at ? size : (size_t)(ring - at);
}

int ahead_ring_write(int fd, uint64_t ring, uint64_t position, const void *bytes, size_t size)
{
    uint64_t at = position % ring;
    size_t first = before_end(ring, at, size);
    int rc = piece_write(fd, bytes, first, at);
    if (rc == 0) rc = piece_write(fd, (const uint8_t *)bytes + first, size - first, 0);
    return rc;
}

int ahead_ring_read(int fd, uint64_t ring, uint64_t position, void *ret_bytes, size_t size)
{
    uint64_t at = position % ring;
    size_t first = before_end(ring, at, size);
    int rc = piece_read(fd, ret_bytes, first, at);
    if (rc == 0) rc = piece_read(fd, (uint8_t *)ret_bytes + first, size - first, 0);
    return rc;
}

// ---- a frame ------------------------------------------------------------------

void frame_head_encode(const struct frame_head *h, uint8_t ret_bytes[FRAME_HEAD_BYTES])
{
    memset(ret_bytes, 0, FRAME_HEAD_BYTES);
    memcpy(ret_bytes, MAGIC, 8);
    bytes_put_u16(ret_bytes + 8, FRAME_FORMAT);
    bytes_put_u64(ret_bytes + 16, h->count);
    bytes_put_u64(ret_bytes + 24, h->position);
    bytes_put_u64(ret_bytes + 32, h->first);
    bytes_put_u64(ret_bytes + 40, h->bytes);
    hash128_encode(h->chain, ret_bytes + 48);
    hash128_encode(h->checksum, ret_bytes + CHECKED_BYTES);
}

bool frame_head_decode(const uint8_t bytes[FRAME_HEAD_BYTES], uint64_t position, uint64_t ring,
                       struct frame_head *ret_head)
{
    struct frame_head h = {
        .count = bytes_get_u64(bytes + 16),
        .position = bytes_get_u64(bytes + 24),
        .first = bytes_get_u64(bytes + 32),
        .bytes = bytes_get_u64(bytes + 40),
        .chain = hash128_decode(bytes + 48),
        .checksum = hash128_decode(bytes + CHECKED_BYTES),
    };
    if (memcmp(bytes, MAGIC, 8) != 0 || bytes_get_u16(bytes + 8) != FRAME_FORMAT ||
        h.position != position || h.count == 0 || h.first == 0 || h.bytes % 8 != 0 ||
        h.bytes > ring - FRAME_HEAD_BYTES || h.count > h.bytes / RECORD_AHEAD_BYTES)
        return false;
    *ret_head = h;
    return true;
}

bool frame_magic_is_at(const uint8_t bytes[8])
{
    return memcmp(bytes, MAGIC, 8) == 0;
}

bool frame_magic_is_in(struct text payload)
{
    return payload.size > 0 && memmem(payload.data, payload.size, MAGIC, strlen(MAGIC)) != NULL;
}

uint64_t frame_position(const uint8_t bytes[FRAME_HEAD_BYTES])
{
    return bytes_get_u64(bytes + 24);
}

struct hash128 frame_checksum(const uint8_t *frame, uint64_t bytes)
{
    struct hash128 head = hash128(frame, CHECKED_BYTES);
    return hash128_chain(head, frame + FRAME_HEAD_BYTES, (size_t)bytes);
}

// ---- records in a row -----------------------------------------------------------

size_t ahead_record_bytes(size_t payload_size)
{
    return aligned(RECORD_AHEAD_BYTES + payload_size);
}

struct hash128 ahead_record_put(uint8_t *to, const struct record *r, struct hash128 before)
{
    size_t size = RECORD_AHEAD_BYTES + (size_t)r->payload.size;
    bytes_put_u64(to, r->payload.size);
    record_chained_encode(r, before, to + 8);
    if (r->payload.size > 0) memcpy(to + RECORD_AHEAD_BYTES, r->payload.data, r->payload.size);
    memset(to + size, 0, aligned(size) - size);
    return hash128(to + 8, size - 8);
}

bool ahead_record_at(const struct ahead_run *run, size_t at, struct ahead_record *ret_record)
{
    if (at >= run->bytes.size) return false;
    const uint8_t *bytes = (const uint8_t *)run->bytes.data + at;
    size_t payload_size = (size_t)bytes_get_u64(bytes);
    struct ahead_record r = {
        .seq = bytes_get_u64(bytes + 8 + HASH128_BYTES),
        .chained = bytes + 8,
        .payload = text_of((const char *)bytes + RECORD_AHEAD_BYTES, payload_size),
        .next = at + ahead_record_bytes(payload_size),
    };
    // The checksum of a record stands before the next one.
    r.chain = r.next < run->bytes.size
                  ? hash128_decode((const uint8_t *)run->bytes.data + r.next + 8)
                  : run->chain;
    *ret_record = r;
    return true;
}

// The records of a frame are read from the disk: nothing of them is believed before.
bool ahead_records_check(const uint8_t *bytes, uint64_t size, uint64_t first, uint64_t count)
{
    uint64_t at = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (size - at < RECORD_AHEAD_BYTES) return false;
        uint64_t payload_size = bytes_get_u64(bytes + at);
        if (payload_size > size) return false;
        uint64_t whole = ahead_record_bytes((size_t)payload_size);
        if (whole > size - at || bytes_get_u64(bytes + at + 8 + HASH128_BYTES) != first + i)
            return false;
        at += whole;
    }
    return at == size;
}
