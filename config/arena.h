// config/arena.h
//
// Memory that is given back all at once: many small pieces out of few blocks. It knows nothing of
// what lies in it. Memory that cannot be had ends in out_of_memory(), so nothing here can fail.
//
// Private to this folder. Not thread-safe; each arena has one owner.
#ifndef CONFIG_ARENA_H
#define CONFIG_ARENA_H

#include "base/text.h"

struct arena_block;

struct arena {
    struct arena_block *newest;
};

void config_arena_init(struct arena *a);
void config_arena_release(struct arena *a);

// Zeroed memory for `count` things of `size` bytes, aligned for any struct; count * size must fit.
void *config_arena_alloc(struct arena *a, size_t count, size_t size);

// A copy of the text; never absent, also when it is empty.
struct text config_arena_text(struct arena *a, struct text t);

#endif
