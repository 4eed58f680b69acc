#include "statemachine/canonical.h"

#include <msgpack/pack.h>

// msgpack-c's packer writes through this; a buffer's append cannot fail.
static int write_to_buffer(void *data, const char *bytes, size_t size)
{
    buffer_append(data, bytes, size);
    return 0;
}

// What rows and commands are mostly made of is written here, in one move: the first byte of a short
// form, or a number of 64 bits. msgpack-c writes the rest.
#define FIXINT_MAX 0x7fu
#define FIXSTR 0xa0u
#define FIXSTR_BYTES_MAX 31u
#define FIXARRAY 0x90u
#define FIXARRAY_COUNT_MAX 15u
#define UINT64_BYTE 0xcfu
#define BIN8_BYTE 0xc4u

static msgpack_packer packer_of(struct buffer *out)
{
    return (msgpack_packer){.data = out, .callback = write_to_buffer};
}

void canonical_nil(struct buffer *out)
{
    msgpack_packer p = packer_of(out);
    msgpack_pack_nil(&p);
}

void canonical_bool(struct buffer *out, bool value)
{
    msgpack_packer p = packer_of(out);
    if (value) {
        msgpack_pack_true(&p);
    } else {
        msgpack_pack_false(&p);
    }
}

void canonical_u64(struct buffer *out, uint64_t value)
{
    if (value <= FIXINT_MAX) {
        buffer_char(out, (char)value);
        return;
    }
    if (value > UINT32_MAX) {
        uint8_t bytes[1 + sizeof(value)] = {UINT64_BYTE};
        bytes_put_u64(bytes + 1, value);
        buffer_append(out, bytes, sizeof(bytes));
        return;
    }
    msgpack_packer p = packer_of(out);
    msgpack_pack_uint64(&p, value);
}

void canonical_i64(struct buffer *out, int64_t value)
{
    msgpack_packer p = packer_of(out);
    msgpack_pack_int64(&p, value);
}

void canonical_text(struct buffer *out, struct text t)
{
    if (t.size <= FIXSTR_BYTES_MAX) {
        buffer_char(out, (char)(FIXSTR | t.size));
    } else {
        msgpack_packer p = packer_of(out);
        msgpack_pack_str(&p, t.size);
    }
    buffer_append(out, t.data, t.size);
}

void canonical_text_or_nil(struct buffer *out, struct text t)
{
    if (t.data == NULL) {
        canonical_nil(out);
    } else {
        canonical_text(out, t);
    }
}

void canonical_hash(struct buffer *out, struct hash128 h)
{
    uint8_t bytes[2 + HASH128_BYTES] = {BIN8_BYTE, HASH128_BYTES};
    hash128_encode(h, bytes + 2);
    buffer_append(out, bytes, sizeof(bytes));
}

void canonical_array(struct buffer *out, uint32_t count)
{
    if (count <= FIXARRAY_COUNT_MAX) {
        buffer_char(out, (char)(FIXARRAY | count));
        return;
    }
    msgpack_packer p = packer_of(out);
    msgpack_pack_array(&p, count);
}

void canonical_map(struct buffer *out, uint32_t count)
{
    msgpack_packer p = packer_of(out);
    msgpack_pack_map(&p, count);
}

// ---- reading ----------------------------------------------------------------

struct canonical_reader canonical_reader_of(struct text bytes)
{
    const uint8_t *at = (const uint8_t *)(bytes.data != NULL ? bytes.data : "");
    return (struct canonical_reader){.at = at, .end = at + bytes.size, .failed = false};
}

bool canonical_done(const struct canonical_reader *r)
{
    return !r->failed && r->at == r->end;
}

static uint64_t fail(struct canonical_reader *r)
{
    r->failed = true;
    return 0;
}

static bool has(const struct canonical_reader *r, size_t size)
{
    return !r->failed && (size_t)(r->end - r->at) >= size;
}

// The next byte without taking it; 0xc1, which msgpack never uses, at the end.
static uint8_t peek(const struct canonical_reader *r)
{
    return has(r, 1) ? *r->at : 0xc1;
}

// A big-endian number of `size` bytes that must be above `above`: what fits a shorter form is
// refused.
static uint64_t read_number(struct canonical_reader *r, size_t size, uint64_t above)
{
    if (!has(r, size)) return fail(r);
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++) {
        value = value << 8 | r->at[i];
    }
    r->at += size;
    return value > above ? value : fail(r);
}

bool canonical_read_nil(struct canonical_reader *r)
{
    if (peek(r) != 0xc0) return false;
    r->at++;
    return true;
}

bool canonical_next_is_bool(const struct canonical_reader *r)
{
    uint8_t byte = peek(r);
    return byte == 0xc2 || byte == 0xc3;
}

bool canonical_read_bool(struct canonical_reader *r)
{
    if (!canonical_next_is_bool(r)) return fail(r) != 0;
    return *r->at++ == 0xc3;
}

uint64_t canonical_read_u64(struct canonical_reader *r)
{
    uint8_t byte = peek(r);
    if (byte == 0xc1) return fail(r);
    r->at++;
    if (byte <= 0x7f) return byte;
    if (byte == 0xcc) return read_number(r, 1, 0x7f);
    if (byte == 0xcd) return read_number(r, 2, UINT8_MAX);
    if (byte == 0xce) return read_number(r, 4, UINT16_MAX);
    if (byte == 0xcf) return read_number(r, 8, UINT32_MAX);
    return fail(r);
}

// A negative number of `size` bytes in two's complement that must be below `below`.
static int64_t read_negative(struct canonical_reader *r, size_t size, int64_t below)
{
    if (!has(r, size)) return (int64_t)fail(r);
    uint64_t bits = UINT64_MAX;
    for (size_t i = 0; i < size; i++) {
        bits = bits << 8 | r->at[i];
    }
    if (size < 8 && (r->at[0] & 0x80) == 0) return (int64_t)fail(r);
    r->at += size;
    int64_t value = (int64_t)bits;
    return value < below ? value : (int64_t)fail(r);
}

int64_t canonical_read_i64(struct canonical_reader *r)
{
    uint8_t byte = peek(r);
    if (byte < 0xd0 || byte > 0xd3) {
        if (byte >= 0xe0) {
            r->at++;
            return (int64_t)byte - 256;
        }
        uint64_t value = canonical_read_u64(r);
        return value <= INT64_MAX ? (int64_t)value : (int64_t)fail(r);
    }
    r->at++;
    if (byte == 0xd0) return read_negative(r, 1, -32);
    if (byte == 0xd1) return read_negative(r, 2, INT8_MIN);
    if (byte == 0xd2) return read_negative(r, 4, INT16_MIN);
    return read_negative(r, 8, INT32_MIN);
}

// Kept out of line, so that reading a short one stays short.
__attribute__((noinline)) static struct text read_long_text(struct canonical_reader *r)
{
    uint8_t byte = peek(r);
    uint64_t size = 0;
    if (byte == 0xc1) return fail(r), TEXT_NONE;
    r->at++;
    if (byte == 0xd9) {
        size = read_number(r, 1, 31);
    } else if (byte == 0xda) {
        size = read_number(r, 2, UINT8_MAX);
    } else if (byte == 0xdb) {
        size = read_number(r, 4, UINT16_MAX);
    } else {
        fail(r);
    }
    if (!has(r, size)) return fail(r), TEXT_NONE;
    struct text t = text_of((const char *)r->at, size);
    r->at += size;
    return t;
}

struct text canonical_read_text(struct canonical_reader *r)
{
    uint8_t byte = peek(r);
    if (byte < FIXSTR || byte > (FIXSTR | FIXSTR_BYTES_MAX)) return read_long_text(r);
    size_t size = byte & FIXSTR_BYTES_MAX;
    if (!has(r, 1 + size)) return fail(r), TEXT_NONE;
    struct text t = text_of((const char *)r->at + 1, size);
    r->at += 1 + size;
    return t;
}

struct text canonical_read_text_or_nil(struct canonical_reader *r)
{
    return canonical_read_nil(r) ? TEXT_NONE : canonical_read_text(r);
}

struct hash128 canonical_read_hash(struct canonical_reader *r)
{
    struct hash128 none = {0, 0};
    if (!has(r, 2 + HASH128_BYTES) || r->at[0] != 0xc4 || r->at[1] != HASH128_BYTES) {
        return fail(r), none;
    }
    struct hash128 h = hash128_decode(r->at + 2);
    r->at += 2 + HASH128_BYTES;
    return h;
}

static uint32_t read_count(struct canonical_reader *r, uint8_t fix, uint8_t form16, size_t each)
{
    uint8_t byte = peek(r);
    uint64_t count = 0;
    if (byte == 0xc1) return (uint32_t)fail(r);
    r->at++;
    if ((byte & 0xf0) == fix) {
        count = byte & 0x0f;
    } else if (byte == form16) {
        count = read_number(r, 2, 15);
    } else if (byte == form16 + 1) {
        count = read_number(r, 4, UINT16_MAX);
    } else {
        return (uint32_t)fail(r);
    }
    return has(r, count * each) ? (uint32_t)count : (uint32_t)fail(r);
}

uint32_t canonical_read_array(struct canonical_reader *r)
{
    return read_count(r, 0x90, 0xdc, 1);
}

uint32_t canonical_read_map(struct canonical_reader *r)
{
    return read_count(r, 0x80, 0xde, 2);
}

void canonical_expect_array(struct canonical_reader *r, uint32_t count)
{
    if (canonical_read_array(r) != count) fail(r);
}
