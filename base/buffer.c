#include "base/buffer.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

#include "base/banned.h"

#define BUFFER_CAPACITY_MIN 64

void buffer_init(struct buffer *b)
{
    *b = (struct buffer){NULL, 0, 0};
}

void buffer_release(struct buffer *b)
{
    free(b->data);
    buffer_init(b);
}

// Kept out of line, so that appending into room that is there stays short.
__attribute__((noinline)) static void grow(struct buffer *b, size_t size)
{
    if (size > SIZE_MAX / 4 || b->size > SIZE_MAX / 4) out_of_memory();

    // Doubling keeps the cost of many small appends linear in their sum.
    size_t capacity = b->capacity * 2;
    if (capacity < b->size + size) capacity = b->size + size;
    if (capacity < BUFFER_CAPACITY_MIN) capacity = BUFFER_CAPACITY_MIN;

    b->data = must_realloc(b->data, capacity);
    b->capacity = capacity;
}

char *buffer_reserve(struct buffer *b, size_t size)
{
    // At least once also for size 0, so that the answer is never NULL.
    if (b->data == NULL || size > b->capacity - b->size) grow(b, size);
    return b->data + b->size;
}

void buffer_text(struct buffer *b, struct text t)
{
    buffer_append(b, t.data, t.size);
}

void buffer_string(struct buffer *b, const char *string)
{
    buffer_append(b, string, strlen(string));
}

void buffer_format(struct buffer *b, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    va_list again;
    va_copy(again, arguments);

    char *room = buffer_reserve(b, BUFFER_CAPACITY_MIN);
    int size = vsnprintf(room, b->capacity - b->size, format, arguments);
    ASSERT(size >= 0);
    if ((size_t)size >= b->capacity - b->size) {
        room = buffer_reserve(b, (size_t)size + 1); // vsnprintf wants a place for its NUL
        size = vsnprintf(room, (size_t)size + 1, format, again);
        ASSERT(size >= 0);
    }
    b->size += (size_t)size;

    va_end(again);
    va_end(arguments);
}
