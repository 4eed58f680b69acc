#include "daemon/import.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/cli.h"
#include "engine/import.h"
#include "wire/kubernetes.h"

#include "base/banned.h"

#define HOST_BYTES 256u
#define WHY_BYTES 1024u
#define READ_BYTES ((size_t)1 << 20)

// The whole file, or so much that it is too large. 0, or an errno.
static int read_all(int fd, struct buffer *out)
{
    while (out->size <= WIRE_DUMP_BYTES_MAX) {
        ssize_t got = read(fd, buffer_reserve(out, READ_BYTES), READ_BYTES);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return errno;
        if (got == 0) return 0;
        out->size += (size_t)got;
    }
    return 0;
}

static int read_file(const char *path, struct buffer *out)
{
    if (strcmp(path, "-") == 0) return read_all(STDIN_FILENO, out);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno;
    int err = read_all(fd, out);
    (void)close(fd);
    return err;
}

static void say_faults(const char *path, struct text faults)
{
    while (faults.size > 0) {
        const char *end = memchr(faults.data, '\n', faults.size);
        size_t size = end == NULL ? faults.size : (size_t)(end - faults.data);
        cli_complain("boskosd", "--import: %s: %.*s", path, (int)size, faults.data);
        if (end == NULL) break;
        faults = text_of(end + 1, faults.size - size - 1);
    }
}

static void say_imported(const struct options *o, const struct command_import *c)
{
    uint32_t owned = 0;
    for (uint32_t i = 0; i < c->resources_count; i++)
        owned += !text_is_empty(c->resources[i].owner);
    printf("imported %u resource%s, %u of them owned, and %u life cycle%s into %s/journal\n",
           c->resources_count, c->resources_count == 1 ? "" : "s", owned, c->cycles_count,
           c->cycles_count == 1 ? "" : "s", o->data_dir);
}

static int append(const struct options *o, const struct log *log, const struct wire_dump *dump,
                  void (*damaged)(void *context, const char *why),
                  void (*noticed)(void *context, const char *what))
{
    char host[HOST_BYTES] = {0};
    char why[WHY_BYTES] = {0};
    int exit_code = 1;
    (void)gethostname(host, sizeof(host) - 1);
    struct command_import import = *wire_dump_import(dump);
    import.version = TEXT(BOSKOSD_VERSION);
    import.host = text_from(host);
    struct engine_import_options options = {.data_dir = o->data_dir,
                                            .map_bytes = o->map_bytes,
                                            .clock = log->clock,
                                            .damaged = damaged,
                                            .noticed = noticed,
                                            .context = (void *)(uintptr_t)o};
    if (engine_import(&options, &import, why, sizeof(why), &exit_code) != 0) {
        cli_complain("boskosd", "%s", why);
        return exit_code;
    }
    say_imported(o, &import);
    return 0;
}

int import_dump(const struct options *o, const struct log *log,
                void (*damaged)(void *context, const char *why),
                void (*noticed)(void *context, const char *what))
{
    struct buffer bytes, faults;
    struct wire_dump *dump = NULL;
    int exit_code = 1;
    buffer_init(&bytes);
    buffer_init(&faults);
    int err = read_file(o->import, &bytes);
    if (err != 0) {
        cli_complain("boskosd", "--import: %s: %s", o->import, strerror(err));
        exit_code = 2;
        goto out;
    }
    err = wire_dump_read(buffer_as_text(&bytes), &dump, &faults);
    if (err != 0) {
        say_faults(o->import, buffer_as_text(&faults));
        cli_complain("boskosd", "--import: nothing was imported");
        goto out;
    }
    exit_code = append(o, log, dump, damaged, noticed);
out:
    wire_dump_free(dump);
    buffer_release(&bytes);
    buffer_release(&faults);
    return exit_code;
}
