// base/buffer.h
//
// A growable run of bytes. Growth that cannot be had ends in out_of_memory(), so appending cannot
// fail. Not thread-safe; each buffer has one owner.
#ifndef BASE_BUFFER_H
#define BASE_BUFFER_H

#include "base/text.h"

struct buffer {
    char *data; // NULL while capacity is 0
    size_t size;
    size_t capacity;
};

void buffer_init(struct buffer *b);
void buffer_release(struct buffer *b);

// Forgets the content and keeps the memory.
static inline void buffer_clear(struct buffer *b)
{
    b->size = 0;
}

// Makes room for `size` more bytes and returns where they go; b->size is not changed.
char *buffer_reserve(struct buffer *b, size_t size);

// Inline, because most of what is appended is a few bytes of a size that the compiler knows.
static inline void buffer_append(struct buffer *b, const void *bytes, size_t size)
{
    if (size == 0) return; // `bytes` may then be NULL, which memcpy does not take
    if (size > b->capacity - b->size) (void)buffer_reserve(b, size);
    memcpy(b->data + b->size, bytes, size);
    b->size += size;
}

static inline void buffer_char(struct buffer *b, char c)
{
    if (b->size == b->capacity) (void)buffer_reserve(b, 1);
    b->data[b->size++] = c;
}

void buffer_text(struct buffer *b, struct text t);
void buffer_string(struct buffer *b, const char *string);
void buffer_format(struct buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

// The content, borrowed until the buffer changes.
static inline struct text buffer_as_text(const struct buffer *b)
{
    return text_of(b->data, b->size);
}

#endif
