#include "config/arena.h"

#include <stdlib.h>

#include "base/assert.h"

#include "base/banned.h"

#define ARENA_BLOCK_BYTES (64u * 1024)
#define ARENA_ALIGN 8u

struct arena_block {
    struct arena_block *older;
    size_t used, size;
    _Alignas(max_align_t) char bytes[];
};

void config_arena_init(struct arena *a)
{
    a->newest = NULL;
}

void config_arena_release(struct arena *a)
{
    while (a->newest != NULL) {
        struct arena_block *older = a->newest->older;
        free(a->newest);
        a->newest = older;
    }
}

static char *arena_bytes(struct arena *a, size_t size, size_t align)
{
    struct arena_block *b = a->newest;
    size_t start = b == NULL ? 0 : (b->used + align - 1) / align * align;
    if (b == NULL || start > b->size || b->size - start < size) {
        size_t room = size > ARENA_BLOCK_BYTES ? size : ARENA_BLOCK_BYTES;
        b = must_malloc(sizeof(*b) + room);
        b->older = a->newest;
        b->size = room;
        a->newest = b;
        start = 0;
    }
    b->used = start + size;
    return b->bytes + start;
}

void *config_arena_alloc(struct arena *a, size_t count, size_t size)
{
    size_t bytes = 0;
    ASSERT(!__builtin_mul_overflow(count, size, &bytes));
    void *memory = arena_bytes(a, bytes, ARENA_ALIGN);
    memset(memory, 0, bytes);
    return memory;
}

struct text config_arena_text(struct arena *a, struct text t)
{
    char *copy = arena_bytes(a, t.size, 1);
    if (t.size > 0) memcpy(copy, t.data, t.size);
    return text_of(copy, t.size);
}
