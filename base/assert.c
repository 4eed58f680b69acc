#include "base/assert.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/banned.h"

#define EXIT_OUT_OF_MEMORY 5
#define ASSERT_LINE_BYTES_MAX 512

// What cannot be written to stderr is lost: the process is ending, and there is nobody to tell.
static void write_line(const char *line, size_t size)
{
    ssize_t written = write(STDERR_FILENO, line, size);
    (void)written;
}

void assert_failed(const char *condition, const char *file, int line)
{
    char text[ASSERT_LINE_BYTES_MAX];
    int size = snprintf(text, sizeof(text), "%s:%d: assertion failed: %s\n", file, line, condition);
    if (size >= (int)sizeof(text)) {
        size = (int)sizeof(text) - 1;
        text[size - 1] = '\n';
    }
    if (size > 0) write_line(text, (size_t)size);
    abort();
}

void out_of_memory(void)
{
    static const char line[] =
        "out of memory: the process ends; nothing that was acknowledged is lost\n";
    write_line(line, sizeof(line) - 1);
    // Not exit(): the handlers of other threads' libraries may want memory themselves.
    _exit(EXIT_OUT_OF_MEMORY);
}

void *must_malloc(unsigned long size)
{
    // malloc(0) may answer NULL without having failed.
    void *memory = malloc(size == 0 ? 1 : size);
    if (memory == NULL) out_of_memory();
    return memory;
}

void *must_calloc(unsigned long count, unsigned long size)
{
    void *memory = count == 0 || size == 0 ? calloc(1, 1) : calloc(count, size);
    if (memory == NULL) out_of_memory();
    return memory;
}

void *must_realloc(void *memory, unsigned long size)
{
    ASSERT(size > 0);
    void *moved = realloc(memory, size);
    if (moved == NULL) out_of_memory();
    return moved;
}
