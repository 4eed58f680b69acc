#include "bench/script.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/error.h"

#include "base/banned.h"

static void add_request(struct script *s, struct text line)
{
    struct buffer out;
    buffer_init(&out);
    const char *tab = memchr(line.data, '\t', line.size);
    size_t head = tab == NULL ? line.size : (size_t)(tab - line.data);
    size_t body = tab == NULL ? 0 : line.size - head - 1;
    buffer_append(&out, line.data, head);
    buffer_format(&out, " HTTP/1.1\r\nHost: bench\r\nContent-Length: %zu\r\n\r\n", body);
    if (body > 0) buffer_append(&out, tab + 1, body);
    s->requests = must_realloc(s->requests, (s->count + 1ul) * sizeof(s->requests[0]));
    s->requests[s->count++] = buffer_as_text(&out); // the buffer's memory stays
}

static int read_file(const char *path, struct buffer *out)
{
    FILE *file = path == NULL ? NULL : fopen(path, "re");
    if (file == NULL) return BOSKOS_E_IO;
    size_t size;
    do {
        size = fread(buffer_reserve(out, 1u << 16), 1, 1u << 16, file);
        out->size += size;
    } while (size > 0 && out->size <= SCRIPT_BYTES_MAX);
    int err = ferror(file) != 0 ? BOSKOS_E_IO : 0;
    (void)fclose(file);
    return out->size > SCRIPT_BYTES_MAX ? BOSKOS_E_TOO_LARGE : err;
}

int scripts_read(const char *path, struct plan *plan)
{
    struct buffer file;
    buffer_init(&file);
    int err = read_file(path, &file);
    bool is_new = true;
    const char *at = file.data, *end = file.data + file.size;
    while (err == 0 && at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (stop == NULL) stop = end;
        struct text line = text_of(at, (size_t)(stop - at));
        at = stop + 1;
        if (line.size == 0) {
            is_new = true;
            continue;
        }
        if (is_new && plan->scripts_count == SCRIPTS_MAX) break;
        if (is_new) {
            size_t count = plan->scripts_count + 1ul;
            plan->scripts = must_realloc(plan->scripts, count * sizeof(plan->scripts[0]));
            plan->scripts[plan->scripts_count++] = (struct script){0};
        }
        is_new = false;
        add_request(&plan->scripts[plan->scripts_count - 1], line);
    }
    buffer_release(&file);
    return err == 0 && plan->scripts_count == 0 ? BOSKOS_E_MALFORMED : err;
}

void scripts_release(struct plan *plan)
{
    for (uint32_t i = 0; i < plan->scripts_count; i++) {
        for (uint32_t j = 0; j < plan->scripts[i].count; j++)
            free((char *)(uintptr_t)plan->scripts[i].requests[j].data);
        free(plan->scripts[i].requests);
    }
    free(plan->scripts);
}
