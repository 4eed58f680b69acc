// disk: what the disk alone takes: append or overwrite, then fdatasync, again and again.
#include "bench/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/error.h"
#include "bench/latency.h"

#include "base/banned.h"

#define BYTES_MAX (1u << 20)
#define OVERWRITE_BYTES (64ull << 20)

struct disk {
    const char *dir;
    double seconds, bytes;
    bool overwrites;
};

static bool read_arguments(int argc, char **argv, struct disk *d)
{
    static const struct option flags[] = {{"data-dir", required_argument, NULL, 'd'},
                                          {"seconds", required_argument, NULL, 's'},
                                          {"bytes", required_argument, NULL, 'b'},
                                          {"overwrite", no_argument, NULL, 'o'},
                                          {NULL, 0, NULL, 0}};
    int flag;
    while ((flag = getopt_long(argc, argv, "", flags, NULL)) != -1) {
        bool is_good = flag != '?';
        if (flag == 'd') d->dir = optarg;
        if (flag == 'o') d->overwrites = true;
        if (flag == 's') is_good = read_number(optarg, 0.1, 3600, &d->seconds);
        if (flag == 'b') is_good = read_number(optarg, 1, BYTES_MAX, &d->bytes);
        if (!is_good) return false;
    }
    return optind == argc && d->dir != NULL;
}

// Writes all of the file once, so that what follows changes neither its size nor its blocks.
static int prewrite(int fd)
{
    char *zeros = must_calloc(1, BYTES_MAX);
    int err = 0;
    for (uint64_t at = 0; at < OVERWRITE_BYTES && err == 0; at += BYTES_MAX)
        if (pwrite(fd, zeros, BYTES_MAX, (off_t)at) != (ssize_t)BYTES_MAX) err = BOSKOS_E_IO;
    free(zeros);
    return err == 0 && fsync(fd) == 0 ? 0 : BOSKOS_E_IO;
}

static int measure(const struct disk *d, int fd, const volatile int *stop, struct latency *l)
{
    struct clock clock = clock_system();
    size_t bytes = (size_t)d->bytes;
    char *content = must_calloc(1, bytes);
    memset(content, 'b', bytes);
    if (d->overwrites && prewrite(fd) != 0) {
        free(content);
        return BOSKOS_E_IO;
    }
    uint64_t at = 0, now_ns = clock_mono_ns(&clock);
    uint64_t end_ns = now_ns + (uint64_t)(d->seconds * (double)NS_PER_S);
    int err = 0;
    while (now_ns < end_ns && err == 0 && !*stop) {
        if (d->overwrites && at + bytes > OVERWRITE_BYTES) at = 0;
        if (pwrite(fd, content, bytes, (off_t)at) != (ssize_t)bytes || fdatasync(fd) != 0)
            err = BOSKOS_E_IO;
        at += bytes;
        uint64_t after_ns = clock_mono_ns(&clock);
        latency_add(l, after_ns - now_ns);
        now_ns = after_ns;
    }
    free(content);
    return *stop && err == 0 ? BOSKOS_E_STOPPED : err;
}

int command_disk(int argc, char **argv)
{
    char path[4096];
    struct disk d = {.seconds = 3, .bytes = 4096};
    if (!read_arguments(argc, argv, &d)) {
        complain("usage: disk --data-dir DIR [--seconds S] [--bytes N] [--overwrite]");
        return 2;
    }
    int size = snprintf(path, sizeof(path), "%s/disk.bench", d.dir);
    int fd = size < 0 || (size_t)size >= sizeof(path)
                 ? -1
                 : open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        complain("cannot make disk.bench in %s: %s", d.dir, strerrordesc_np(errno));
        return 1;
    }
    const volatile int *stop = watch_signals();
    struct latency *l = must_calloc(1, sizeof(*l));
    int err = measure(&d, fd, stop, l);
    if (err == BOSKOS_E_IO) complain("cannot write %s: %s", path, strerrordesc_np(errno));
    (void)close(fd);
    (void)unlink(path);
    if (err == 0) {
        struct buffer out;
        buffer_init(&out);
        latency_json(l, &out);
        (void)printf("{\"bytes\": %.0f, \"overwrite\": %s, \"rate\": %.1f, \"latency_us\": %.*s}\n",
                     d.bytes, d.overwrites ? "true" : "false",
                     (double)l->count / ((double)l->sum_ns / (double)NS_PER_S), (int)out.size,
                     out.data);
        buffer_release(&out);
    }
    free(l);
    if (err == BOSKOS_E_STOPPED) return 130;
    return err == 0 ? 0 : 1;
}
