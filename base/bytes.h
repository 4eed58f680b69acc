// base/bytes.h
//
// Integers as bytes on the disk: big-endian, one function a width. Pure.
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdint.h>
#include <string.h>

// In one move: these are called a dozen times for each record.
static inline uint64_t bytes_swapped_u64(uint64_t value)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return __builtin_bswap64(value);
#else
    return value;
#endif
}

static inline void bytes_put_u16(uint8_t *to, uint16_t value)
{
    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
}

static inline uint16_t bytes_get_u16(const uint8_t *from)
{
    return (uint16_t)(from[0] << 8 | from[1]);
}

static inline void bytes_put_u64(uint8_t *to, uint64_t value)
{
    value = bytes_swapped_u64(value);
    memcpy(to, &value, sizeof(value));
}

static inline uint64_t bytes_get_u64(const uint8_t *from)
{
    uint64_t value;
    memcpy(&value, from, sizeof(value));
    return bytes_swapped_u64(value);
}

#endif
