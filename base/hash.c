#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

// Inlined for the short keys of the tables, where a call costs as much as the hash.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/banned.h"

// Up to here a copy beside the chained checksum is cheaper than setting up a stream.
#define CHAIN_COPY_BYTES_MAX 1024

struct hash128_stream {
    XXH3_state_t state;
};

static inline struct hash128 from_xxh(XXH128_hash_t h)
{
    return (struct hash128){h.high64, h.low64};
}

uint64_t hash64(const void *bytes, size_t size, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes, size, seed);
}

struct hash128 hash128(const void *bytes, size_t size)
{
    return from_xxh(XXH3_128bits(bytes, size));
}

struct hash128 hash128_chain(struct hash128 before, const void *bytes, size_t size)
{
    uint8_t joined[HASH128_BYTES + CHAIN_COPY_BYTES_MAX];
    hash128_encode(before, joined);
    if (size <= CHAIN_COPY_BYTES_MAX) {
        if (size > 0) memcpy(joined + HASH128_BYTES, bytes, size);
        return hash128(joined, HASH128_BYTES + size);
    }

    XXH3_state_t state;
    XXH3_128bits_reset(&state);
    XXH3_128bits_update(&state, joined, HASH128_BYTES);
    XXH3_128bits_update(&state, bytes, size);
    return from_xxh(XXH3_128bits_digest(&state));
}

struct hash128 hash128_secret(const uint8_t secret[HASH_SECRET_BYTES], const void *bytes,
                              size_t size)
{
    return from_xxh(XXH3_128bits_withSecret(bytes, size, secret, HASH_SECRET_BYTES));
}

struct hash128_stream *hash128_stream_new(void)
{
    // XXH3 wants its state aligned to 64 bytes, which malloc does not promise; the struct's size is
    // a multiple of its alignment, as aligned_alloc asks.
    struct hash128_stream *s = aligned_alloc(_Alignof(struct hash128_stream), sizeof(*s));
    if (s != NULL) XXH3_128bits_reset(&s->state);
    return s;
}

void hash128_stream_free(struct hash128_stream *s)
{
    free(s);
}

void hash128_stream_add(struct hash128_stream *s, const void *bytes, size_t size)
{
    if (size > 0) XXH3_128bits_update(&s->state, bytes, size);
}

struct hash128 hash128_stream_value(const struct hash128_stream *s)
{
    return from_xxh(XXH3_128bits_digest(&s->state));
}
