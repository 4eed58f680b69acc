// statemachine/canonical.h
//
// Canonical msgpack: the subset this project writes (nil, bool, integers, str, bin, array, map),
// each value in its shortest form. Writing goes through msgpack-c. Reading is ours, because
// msgpack-c accepts longer forms than needed and allocates: here a second spelling of a value is an
// error, and nothing is copied.
#ifndef STATEMACHINE_CANONICAL_H
#define STATEMACHINE_CANONICAL_H

#include "base/buffer.h"
#include "base/hash.h"

void canonical_nil(struct buffer *out);
void canonical_bool(struct buffer *out, bool value);
void canonical_u64(struct buffer *out, uint64_t value);
void canonical_i64(struct buffer *out, int64_t value); // >= 0 is written as canonical_u64 does
void canonical_text(struct buffer *out, struct text t);
void canonical_text_or_nil(struct buffer *out, struct text t); // nil when t.data is NULL
void canonical_hash(struct buffer *out, struct hash128 h);     // 16 bytes of bin
void canonical_array(struct buffer *out, uint32_t count);
void canonical_map(struct buffer *out, uint32_t count);

// Reads from `at` towards `end`. The first value that does not fit sets `failed`; from then on
// every read gives zeros, so that a reader may check once at the end.
struct canonical_reader {
    const uint8_t *at, *end;
    bool failed;
};

struct canonical_reader canonical_reader_of(struct text bytes);

// True when everything was read and nothing was wrong.
bool canonical_done(const struct canonical_reader *r);

// Takes a nil when one is next. False, and nothing is taken, when something else is.
bool canonical_read_nil(struct canonical_reader *r);
bool canonical_read_bool(struct canonical_reader *r);
// True when the next value is a bool.
bool canonical_next_is_bool(const struct canonical_reader *r);
uint64_t canonical_read_u64(struct canonical_reader *r);
int64_t canonical_read_i64(struct canonical_reader *r);
struct text canonical_read_text(struct canonical_reader *r); // data never NULL on success
struct text canonical_read_text_or_nil(struct canonical_reader *r);
struct hash128 canonical_read_hash(struct canonical_reader *r);

// The count of an array or map. Fails when the rest of the input cannot hold so many values of at
// least one byte each, so that the count may be used to reserve memory.
uint32_t canonical_read_array(struct canonical_reader *r);
uint32_t canonical_read_map(struct canonical_reader *r);

// Reads an array header and fails unless it has exactly `count` values.
void canonical_expect_array(struct canonical_reader *r, uint32_t count);

#endif
