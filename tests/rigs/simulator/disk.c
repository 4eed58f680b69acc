#include "tests/rigs/simulator/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/text.h"

#include "base/banned.h"

#define CALL __attribute__((visibility("default")))
#define SECTOR 512u
#define PATHS_BYTES 256

// What a write took the place of.
struct before {
    char path[PATHS_BYTES];
    ino_t inode;
    off_t offset;
    size_t size;
    char *bytes;
};

static struct {
    dev_t device;
    void (*pause)(void *context, uint64_t ns);
    void *context;
    uint64_t random;
    bool is_armed, is_dead, loses_power, is_full;
    uint32_t calls_left;
    struct before *unsynced;
    uint32_t unsynced_count;
} disk;

static uint64_t next_random(void)
{
    uint64_t z = (disk.random += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

// ---- what was not synced ----------------------------------------------------

static void forget_unsynced(ino_t inode, bool all)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < disk.unsynced_count; i++) {
        if (all || disk.unsynced[i].inode == inode) {
            free(disk.unsynced[i].bytes);
        } else {
            disk.unsynced[kept++] = disk.unsynced[i];
        }
    }
    disk.unsynced_count = kept;
}

static void path_of(int fd, char ret_path[PATHS_BYTES])
{
    char link[64];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, ret_path, PATHS_BYTES - 1);
    ASSERT(length > 0);
    ret_path[length] = '\0';
}

static void keep_before(int fd, size_t size, off_t offset)
{
    struct stat status;
    struct before b = {.offset = offset, .size = size, .bytes = must_calloc(1, size)};
    path_of(fd, b.path);
    ASSERT(fstat(fd, &status) == 0);
    b.inode = status.st_ino;
    ssize_t got = syscall(SYS_pread64, fd, b.bytes, size, offset);
    (void)got; // what was beyond the end reads as zeros
    disk.unsynced =
        must_realloc(disk.unsynced, (disk.unsynced_count + 1ul) * sizeof(disk.unsynced[0]));
    disk.unsynced[disk.unsynced_count++] = b;
}

// The power is gone: each sector that was not synced may have been written or not.
static void lose_unsynced(void)
{
    for (uint32_t i = disk.unsynced_count; i-- > 0;) {
        const struct before *b = &disk.unsynced[i];
        int fd = open(b->path, O_WRONLY | O_CLOEXEC);
        for (size_t at = 0; fd >= 0 && at < b->size; at += SECTOR) {
            size_t size = b->size - at < SECTOR ? b->size - at : SECTOR;
            if (next_random() % 2 == 0) continue;
            ssize_t done = syscall(SYS_pwrite64, fd, b->bytes + at, size, b->offset + (off_t)at);
            ASSERT(done == (ssize_t)size);
        }
        if (fd >= 0) (void)close(fd);
    }
}

// ---- the switch -------------------------------------------------------------

void disk_init(const char *dir, void (*pause)(void *context, uint64_t ns), void *context,
               uint64_t random)
{
    struct stat status;
    ASSERT(stat(dir, &status) == 0);
    disk.device = status.st_dev;
    disk.pause = pause;
    disk.context = context;
    disk.random = random;
}

void disk_arm(uint32_t calls, bool loses_power)
{
    disk.is_armed = true;
    disk.is_dead = false;
    disk.calls_left = calls;
    disk.loses_power = loses_power;
}

bool disk_disarm(void)
{
    bool was_lost = disk.is_dead && disk.loses_power;
    if (was_lost) lose_unsynced();
    forget_unsynced(0, true);
    free(disk.unsynced);
    disk.unsynced = NULL;
    disk.is_armed = disk.is_dead = disk.loses_power = false;
    return was_lost;
}

void disk_fill(bool is_full)
{
    disk.is_full = is_full;
}

bool disk_is_dead(void)
{
    return disk.is_dead;
}

static bool is_ours(int fd)
{
    struct stat status;
    return (disk.is_armed || disk.is_full) && fstat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
           status.st_dev == disk.device;
}

// Whether this call still reaches the disk.
static bool goes_through(void)
{
    if (!disk.is_armed) return true;
    if (disk.is_dead) return false;
    disk.is_dead = disk.calls_left == 0;
    disk.calls_left--;
    return !disk.is_dead;
}

// ---- the calls --------------------------------------------------------------
//
// In place of the C library's, also for the libraries this program is linked with.

// A full disk has no room but what was promised: no file grows.
static bool has_room(int fd, off_t end)
{
    struct stat status;
    if (!disk.is_full || (fstat(fd, &status) == 0 && end <= status.st_size)) return true;
    errno = ENOSPC;
    return false;
}

CALL ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    if (is_ours(fd)) {
        if (!goes_through()) return (ssize_t)size;
        if (!has_room(fd, offset + (off_t)size)) return -1;
        if (disk.loses_power && (fcntl(fd, F_GETFL) & O_DSYNC) == 0) keep_before(fd, size, offset);
    }
    return syscall(SYS_pwrite64, fd, bytes, size, offset);
}

CALL ssize_t write(int fd, const void *bytes, size_t size)
{
    if (is_ours(fd)) {
        off_t offset = lseek(fd, 0, SEEK_CUR);
        if (!goes_through()) return (ssize_t)size;
        if (!has_room(fd, offset + (off_t)size)) return -1;
        if (disk.loses_power && (fcntl(fd, F_GETFL) & O_DSYNC) == 0) keep_before(fd, size, offset);
    }
    return syscall(SYS_write, fd, bytes, size);
}

// LMDB writes runs of pages with these two, at the file's own place and at one given.
static ssize_t write_all(int fd, const struct iovec *list, int count, off_t offset)
{
    ssize_t sum = 0;
    for (int i = 0; i < count; i++) {
        ssize_t done = offset < 0 ? write(fd, list[i].iov_base, list[i].iov_len)
                                  : pwrite(fd, list[i].iov_base, list[i].iov_len, offset + sum);
        if (done < 0) return sum > 0 ? sum : done;
        sum += done;
        if ((size_t)done < list[i].iov_len) return sum;
    }
    return sum;
}

CALL ssize_t writev(int fd, const struct iovec *list, int count)
{
    return is_ours(fd) ? write_all(fd, list, count, -1) : syscall(SYS_writev, fd, list, count);
}

CALL ssize_t pwritev(int fd, const struct iovec *list, int count, off_t offset)
{
    return write_all(fd, list, count, offset);
}

static int synced(int fd)
{
    struct stat status;
    if (is_ours(fd) && goes_through() && fstat(fd, &status) == 0)
        forget_unsynced(status.st_ino, false);
    return 0;
}

CALL int fdatasync(int fd)
{
    return synced(fd);
}

CALL int fsync(int fd)
{
    return synced(fd);
}

CALL int sync_file_range(int fd, off_t offset, off_t size, unsigned flags)
{
    (void)fd, (void)offset, (void)size, (void)flags;
    return 0;
}

CALL int rename(const char *from, const char *to)
{
    return goes_through() ? (int)syscall(SYS_rename, from, to) : 0;
}

CALL int unlink(const char *path)
{
    return goes_through() ? (int)syscall(SYS_unlink, path) : 0;
}

CALL int unlinkat(int dir, const char *path, int flags)
{
    return goes_through() ? (int)syscall(SYS_unlinkat, dir, path, flags) : 0;
}

// LMDB maps its lock file, which must have its size even for a process that is dead here.
CALL int ftruncate(int fd, off_t size)
{
    char path[PATHS_BYTES];
    if (disk.is_dead && is_ours(fd)) {
        path_of(fd, path);
        if (strstr(path, "/lock.mdb") == NULL) return 0;
    }
    return (int)syscall(SYS_ftruncate, fd, size);
}

CALL int posix_fallocate(int fd, off_t offset, off_t size)
{
    if (disk.is_dead) return 0;
    if (is_ours(fd) && !has_room(fd, offset + size)) return ENOSPC;
    return syscall(SYS_fallocate, fd, 0, offset, size) == 0 ? 0 : errno;
}

CALL int nanosleep(const struct timespec *span, struct timespec *left)
{
    (void)left;
    disk.pause(disk.context, (uint64_t)span->tv_sec * NS_PER_S + (uint64_t)span->tv_nsec);
    return 0;
}

// Where hash tables begin and the salt of names: repeatable here, and another with each start.
CALL ssize_t getrandom(void *bytes, size_t size, unsigned flags)
{
    (void)flags;
    for (size_t i = 0; i < size; i++)
        ((char *)bytes)[i] = (char)next_random();
    return (ssize_t)size;
}
