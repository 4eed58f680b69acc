// tests/daemon/kill_at.c
//
// To be preloaded into boskosd: ends the process with SIGKILL just before the N-th of its calls
// that change a file or a folder (KILL_AT=N), counted over the process and its children. Without
// KILL_AT it only counts. At the end the count is in the file KILL_COUNT names.
//
// So a test can end a program between any two steps, and at each of them once.
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static _Atomic uint64_t *count; // shared with children
static uint64_t kill_at;

__attribute__((constructor)) static void begin(void)
{
    const char *at = getenv("KILL_AT");
    const char *path = getenv("KILL_COUNT");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *shared = MAP_FAILED;
    if (fd >= 0) shared = mmap(NULL, sizeof(*count), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (shared == MAP_FAILED) abort();
    count = shared;
    kill_at = at != NULL ? strtoull(at, NULL, 10) : 0;
}

static void step(void)
{
    if (atomic_fetch_add(count, 1) + 1 == kill_at) (void)kill(getpid(), SIGKILL);
}

// The function of that name that this one stands before.
#define NEXT(name)                                     \
    static __typeof__(&(name)) next;                   \
    if (next == NULL) {                                \
        void *found = dlsym(RTLD_NEXT, #name);         \
        __builtin_memcpy(&next, &found, sizeof(next)); \
    }

#define BEFORE(type, name, parameters, ...)                      \
    __attribute__((visibility("default"))) type name parameters; \
    type name parameters                                         \
    {                                                            \
        NEXT(name)                                               \
        step();                                                  \
        return next(__VA_ARGS__);                                \
    }

BEFORE(int, rename, (const char *from, const char *to), from, to)
BEFORE(int, link, (const char *from, const char *to), from, to)
BEFORE(int, unlink, (const char *path), path)
BEFORE(int, unlinkat, (int fd, const char *path, int flags), fd, path, flags)
BEFORE(int, mkdir, (const char *path, mode_t mode), path, mode)
BEFORE(int, rmdir, (const char *path), path)
BEFORE(int, fsync, (int fd), fd)
BEFORE(int, fdatasync, (int fd), fd)
BEFORE(int, ftruncate, (int fd, off_t size), fd, size)
BEFORE(ssize_t, pwrite, (int fd, const void *bytes, size_t size, off_t at), fd, bytes, size, at)
BEFORE(ssize_t, pwritev, (int fd, const struct iovec *parts, int parts_count, off_t at), fd, parts,
       parts_count, at)
BEFORE(ssize_t, write, (int fd, const void *bytes, size_t size), fd, bytes, size)
