// base/hash.h
//
// XXH3, the one hash of this project: 64 bits for tables, 128 bits for checksums and digests. The
// results are the same on every machine: bytes in, numbers out. Pure; callable from any thread.
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

// A number of 128 bits; written to disk as 16 bytes, high first, big-endian.
struct hash128 {
    uint64_t high, low;
};

#define HASH128_BYTES 16

uint64_t hash64(const void *bytes, size_t size, uint64_t seed);
struct hash128 hash128(const void *bytes, size_t size);

// The checksum of `bytes` chained to the one before: XXH3-128 of the 16 bytes of `before` followed
// by `bytes`.
struct hash128 hash128_chain(struct hash128 before, const void *bytes, size_t size);

// A hash that says nothing about `bytes` to who does not know the secret: random bytes, the same
// for all that are to be compared.
#define HASH_SECRET_BYTES 192
struct hash128 hash128_secret(const uint8_t secret[HASH_SECRET_BYTES], const void *bytes,
                              size_t size);

// A hash over pieces, for what is streamed. new: returned, caller frees; NULL without memory.
struct hash128_stream;
struct hash128_stream *hash128_stream_new(void);
void hash128_stream_free(struct hash128_stream *s);
void hash128_stream_add(struct hash128_stream *s, const void *bytes, size_t size);
struct hash128 hash128_stream_value(const struct hash128_stream *s);

// Sum and difference modulo 2^128.
static inline struct hash128 hash128_add(struct hash128 a, struct hash128 b)
{
    struct hash128 sum = {a.high + b.high, a.low + b.low};
    sum.high += sum.low < a.low;
    return sum;
}

static inline struct hash128 hash128_subtract(struct hash128 a, struct hash128 b)
{
    struct hash128 difference = {a.high - b.high, a.low - b.low};
    difference.high -= a.low < b.low;
    return difference;
}

static inline int hash128_equal(struct hash128 a, struct hash128 b)
{
    return a.high == b.high && a.low == b.low;
}

static inline void hash128_encode(struct hash128 h, uint8_t ret_bytes[HASH128_BYTES])
{
    bytes_put_u64(ret_bytes, h.high);
    bytes_put_u64(ret_bytes + 8, h.low);
}

static inline struct hash128 hash128_decode(const uint8_t bytes[HASH128_BYTES])
{
    return (struct hash128){bytes_get_u64(bytes), bytes_get_u64(bytes + 8)};
}

#endif
