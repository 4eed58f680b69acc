#include "tests/rigs/syscalls.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"

#include "base/banned.h"

#define FDS_MAX 1024
#define PATH_BYTES 512

static struct {
    pthread_mutex_t lock;
    atomic_bool is_on;
    char folder[PATH_BYTES];
    struct sys_plan plan;
    struct sys_counts *counts;
    void (*after)(void *context, const struct sys_op *op);
    void *context;
    atomic_uint phase;
    char paths[FDS_MAX][PATH_BYTES]; // of watched descriptors, else empty
    bool is_dsync[FDS_MAX];
} layer = {.lock = PTHREAD_MUTEX_INITIALIZER};

// Declares the real call, and opens the definition of the one that stands before it.
#define WRAP(type, name, parameters)      \
    extern type __real_##name parameters; \
    type __wrap_##name parameters;        \
    type __wrap_##name parameters

#define SYS_TEXT(name) #name,

const char *sys_call_name(enum sys_call call)
{
    static const char *const names[] = {SYS_CALLS(SYS_TEXT)};
    return call < SYS_CALLS_COUNT ? names[call] : "nothing";
}

// ---- what is watched --------------------------------------------------------

void sys_watch(const char *folder, const struct sys_plan *plan, struct sys_counts *counts,
               void (*after)(void *context, const struct sys_op *op), void *context)
{
    ASSERT(strlen(folder) < PATH_BYTES);
    snprintf(layer.folder, sizeof(layer.folder), "%s", folder);
    layer.plan = *plan;
    layer.counts = counts;
    layer.after = after;
    layer.context = context;
    memset(layer.paths, 0, sizeof(layer.paths));
    memset(counts, 0, sizeof(*counts));
    counts->first = SYS_CALLS_COUNT;
    atomic_store(&layer.phase, 0);
    atomic_store(&layer.is_on, true);
}

void sys_unwatch(void)
{
    atomic_store(&layer.is_on, false);
}

void sys_phase(unsigned phase)
{
    ASSERT(phase < SYS_PHASES_MAX);
    atomic_store(&layer.phase, phase);
}

void sys_lock(void)
{
    pthread_mutex_lock(&layer.lock);
}

void sys_unlock(void)
{
    pthread_mutex_unlock(&layer.lock);
}

static bool is_below(const char *path)
{
    size_t size = strlen(layer.folder);
    return strncmp(path, layer.folder, size) == 0 && (path[size] == '/' || path[size] == '\0');
}

static bool is_watched(const struct sys_op *op)
{
    if (op->call == SYS_pthread_create) return true;
    if (op->path != NULL) return is_below(op->path);
    return op->fd >= 0 && op->fd < FDS_MAX && layer.paths[op->fd][0] != '\0';
}

static void remember(int fd, const char *path, int flags)
{
    ASSERT(fd < FDS_MAX && strlen(path) < PATH_BYTES);
    layer.is_dsync[fd] = (flags & O_DSYNC) == O_DSYNC;
    snprintf(layer.paths[fd], PATH_BYTES, "%s", path);
}

// The path of a name in the folder of a descriptor; `name` itself when it needs none.
static const char *path_at(int fd, const char *name, char bytes[PATH_BYTES * 2])
{
    if (fd < 0 || fd >= FDS_MAX || name[0] == '/' || layer.paths[fd][0] == '\0') return name;
    snprintf(bytes, PATH_BYTES * 2, "%s/%s", layer.paths[fd], name);
    return bytes;
}

// ---- the deed ---------------------------------------------------------------

static bool is_reading(enum sys_call call)
{
    return call == SYS_read || call == SYS_pread;
}

static bool is_writing(enum sys_call call)
{
    return call == SYS_write || call == SYS_pwrite || call == SYS_writev || call == SYS_pwritev;
}

static bool is_syncing(enum sys_call call)
{
    return call == SYS_fsync || call == SYS_fdatasync || call == SYS_sync_file_range;
}

_Noreturn static void end_here(void)
{
    (void)kill(getpid(), SIGKILL);
    for (;;)
        (void)pause();
}

static bool is_due(enum sys_deed deed, uint64_t number)
{
    const struct sys_plan *p = &layer.plan;
    return p->deed == deed && atomic_load(&layer.phase) == p->phase && number >= p->from &&
           number - p->from < p->count;
}

static void note_deed(const struct sys_op *op)
{
    if (atomic_fetch_add(&layer.counts->done, 1) > 0) return;
    const char *path = op->path != NULL ? op->path : op->fd >= 0 ? layer.paths[op->fd] : "";
    const char *slash = strrchr(path, '/');
    snprintf(layer.counts->first_name, sizeof(layer.counts->first_name), "%.63s",
             slash == NULL ? path : slash + 1);
    layer.counts->first = op->call;
    layer.counts->first_is_dsync = op->fd >= 0 && layer.is_dsync[op->fd];
}

// Does what the plan says about the next call. Returns whether the call is still to be made; when
// not, result and errno are set.
static bool plan_do(struct sys_op *op)
{
    uint64_t number = atomic_fetch_add(&layer.counts->calls[atomic_load(&layer.phase)], 1);
    if (is_due(SYS_FAIL, number)) {
        note_deed(op);
        errno = layer.plan.error;
        op->result = -1;
        return false;
    }
    if (is_due(SYS_KILL, number)) {
        note_deed(op);
        end_here();
    }
    bool can_halve = is_writing(op->call) || is_reading(op->call);
    op->is_short = (is_due(SYS_SHORT, number) && can_halve) ||
                   (is_due(SYS_KILL_HALF, number) && is_writing(op->call));
    if (op->is_short) note_deed(op);
    if (layer.plan.no_sync && is_syncing(op->call)) return false;
    return true;
}

// Before a call: returns whether it is to be made. Each is followed by leave().
static bool enter(struct sys_op *op)
{
    if (!atomic_load(&layer.is_on)) return true;
    sys_lock();
    op->is_watched = is_watched(op);
    if (op->is_watched) return plan_do(op);
    sys_unlock();
    return true;
}

static long leave(const struct sys_op *op)
{
    if (!op->is_watched) return op->result;
    int error = errno;
    if (op->is_short && layer.plan.deed == SYS_KILL_HALF) end_here();
    if (op->result >= 0 && layer.after != NULL) layer.after(layer.context, op);
    sys_unlock();
    errno = error;
    return op->result;
}

// ---- open and close ---------------------------------------------------------

extern int __real_open(const char *path, int flags, ...);
static int open_at(int folder_fd, const char *name, int flags, mode_t mode)
{
    char bytes[PATH_BYTES * 2];
    const char *path = path_at(folder_fd, name, bytes);
    struct sys_op op = {.call = SYS_open, .fd = -1, .path = path, .flags = flags};
    if (enter(&op)) {
        int effective = op.is_watched && layer.plan.no_sync ? flags & ~(O_DSYNC | O_SYNC) : flags;
        op.result = __real_open(path, effective, mode);
    }
    if (op.is_watched && op.result >= 0) remember((int)op.result, path, flags);
    return (int)leave(&op);
}

static mode_t mode_of(int flags, va_list arguments)
{
    return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_at(-1, path, flags, mode);
}

extern int __real_openat(int fd, const char *name, int flags, ...);
int __wrap_openat(int fd, const char *name, int flags, ...);
int __wrap_openat(int fd, const char *name, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    bool is_plain = name[0] == '/' || (fd >= 0 && fd < FDS_MAX && layer.paths[fd][0] != '\0');
    return is_plain ? open_at(fd, name, flags, mode) : __real_openat(fd, name, flags, mode);
}

// What the C library makes of open without a mode when it is fortified.
int __wrap___open_2(const char *path, int flags);
int __wrap___open_2(const char *path, int flags)
{
    return open_at(-1, path, flags, 0);
}

// A close that fails has closed.
WRAP(int, close, (int fd))
{
    struct sys_op op = {.call = SYS_close, .fd = fd};
    bool is_to_be_made = enter(&op);
    int error = errno;
    long result = __real_close(fd);
    if (is_to_be_made) op.result = result;
    if (!is_to_be_made) errno = error;
    int rc = (int)leave(&op);
    if (op.is_watched) layer.paths[fd][0] = '\0';
    return rc;
}

WRAP(DIR *, opendir, (const char *path))
{
    DIR *dir = NULL;
    struct sys_op op = {.call = SYS_opendir, .fd = -1, .path = path};
    if (enter(&op)) dir = __real_opendir(path);
    op.result = dir == NULL ? -1 : 0;
    if (op.is_watched && dir != NULL) remember(dirfd(dir), path, 0);
    (void)leave(&op);
    return dir;
}

WRAP(int, closedir, (DIR * dir))
{
    int fd = dirfd(dir);
    if (atomic_load(&layer.is_on) && fd >= 0 && fd < FDS_MAX) layer.paths[fd][0] = '\0';
    return __real_closedir(dir);
}

WRAP(struct dirent *, readdir, (DIR * dir))
{
    struct dirent *entry = NULL;
    struct sys_op op = {.call = SYS_readdir, .fd = dirfd(dir)};
    if (enter(&op)) entry = __real_readdir(dir);
    (void)leave(&op);
    return entry;
}

// ---- reading and writing ----------------------------------------------------

static size_t halved(const struct sys_op *op, size_t size)
{
    return op->is_short && size > 1 ? size / 2 : size;
}

extern off_t __real_lseek(int fd, off_t offset, int whence);

extern ssize_t __real_pwrite(int fd, const void *bytes, size_t size, off_t offset);
extern ssize_t __real_write(int fd, const void *bytes, size_t size);
extern ssize_t __real_pwritev(int fd, const struct iovec *pieces, int count, off_t offset);
extern ssize_t __real_writev(int fd, const struct iovec *pieces, int count);

// A write at a place, or (`offset` below 0) where the descriptor stands. Half of a vector is half
// of its first piece.
static ssize_t write_pieces(enum sys_call call, int fd, const struct iovec *pieces, int count,
                            off_t offset)
{
    struct sys_op op = {.call = call, .fd = fd, .pieces = pieces, .pieces_count = count};
    if (enter(&op)) {
        bool is_here = offset < 0;
        if (op.is_watched && is_here) offset = __real_lseek(fd, 0, SEEK_CUR);
        op.offset = (uint64_t)offset;
        size_t first = halved(&op, pieces[0].iov_len);
        if (op.is_short || count == 1)
            op.result = is_here ? __real_write(fd, pieces[0].iov_base, first)
                                : __real_pwrite(fd, pieces[0].iov_base, first, offset);
        else
            op.result = is_here ? __real_writev(fd, pieces, count)
                                : __real_pwritev(fd, pieces, count, offset);
    }
    return leave(&op);
}

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t size, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    struct iovec piece = {(void *)(uintptr_t)bytes, size};
    return write_pieces(SYS_pwrite, fd, &piece, 1, offset);
}

ssize_t __wrap_write(int fd, const void *bytes, size_t size);
ssize_t __wrap_write(int fd, const void *bytes, size_t size)
{
    struct iovec piece = {(void *)(uintptr_t)bytes, size};
    return write_pieces(SYS_write, fd, &piece, 1, -1);
}

ssize_t __wrap_pwritev(int fd, const struct iovec *pieces, int count, off_t offset);
ssize_t __wrap_pwritev(int fd, const struct iovec *pieces, int count, off_t offset)
{
    return write_pieces(SYS_pwritev, fd, pieces, count, offset);
}

ssize_t __wrap_writev(int fd, const struct iovec *pieces, int count);
ssize_t __wrap_writev(int fd, const struct iovec *pieces, int count)
{
    return write_pieces(SYS_writev, fd, pieces, count, -1);
}

WRAP(ssize_t, pread, (int fd, void *bytes, size_t size, off_t offset))
{
    struct sys_op op = {.call = SYS_pread, .fd = fd};
    if (enter(&op)) op.result = __real_pread(fd, bytes, halved(&op, size), offset);
    return leave(&op);
}

WRAP(ssize_t, read, (int fd, void *bytes, size_t size))
{
    struct sys_op op = {.call = SYS_read, .fd = fd};
    if (enter(&op)) op.result = __real_read(fd, bytes, halved(&op, size));
    return leave(&op);
}

WRAP(ssize_t, __read_chk, (int fd, void *bytes, size_t size, size_t room))
{
    ASSERT(size <= room);
    return __wrap_read(fd, bytes, size);
}

WRAP(ssize_t, __pread_chk, (int fd, void *bytes, size_t size, off_t offset, size_t room))
{
    ASSERT(size <= room);
    return __wrap_pread(fd, bytes, size, offset);
}

// ---- flushes and sizes ------------------------------------------------------

#define BY_DESCRIPTOR(name, ...)                                  \
    struct sys_op op = {.call = SYS_##name, .fd = fd};            \
    if (enter(&op)) op.result = __real_##name(fd, ##__VA_ARGS__); \
    return (int)leave(&op)

WRAP(int, fdatasync, (int fd))
{
    BY_DESCRIPTOR(fdatasync);
}

WRAP(int, fsync, (int fd))
{
    BY_DESCRIPTOR(fsync);
}

WRAP(int, sync_file_range, (int fd, off_t offset, off_t size, unsigned flags))
{
    BY_DESCRIPTOR(sync_file_range, offset, size, flags);
}

WRAP(int, fchmod, (int fd, mode_t mode))
{
    BY_DESCRIPTOR(fchmod, mode);
}

WRAP(int, fstat, (int fd, struct stat *ret_status))
{
    BY_DESCRIPTOR(fstat, ret_status);
}

// What fstat was before version 2.33 of the C library, against which liblmdb.a may be built.
extern int __fxstat(int version, int fd, struct stat *ret_status);
WRAP(int, __fxstat, (int version, int fd, struct stat *ret_status))
{
    struct sys_op op = {.call = SYS_fstat, .fd = fd};
    if (enter(&op)) op.result = __real___fxstat(version, fd, ret_status);
    return (int)leave(&op);
}

WRAP(off_t, lseek, (int fd, off_t offset, int whence))
{
    struct sys_op op = {.call = SYS_lseek, .fd = fd};
    if (enter(&op)) op.result = __real_lseek(fd, offset, whence);
    return leave(&op);
}

// Whether a mapping has it written is not known: a recorder must refuse it.
WRAP(int, msync, (void *at, size_t size, int flags))
{
    struct sys_op op = {.call = SYS_msync, .fd = -1, .path = layer.folder};
    if (enter(&op)) op.result = __real_msync(at, size, flags);
    return (int)leave(&op);
}

WRAP(int, ftruncate, (int fd, off_t size))
{
    struct sys_op op = {.call = SYS_ftruncate, .fd = fd, .size = (uint64_t)size};
    if (enter(&op)) op.result = __real_ftruncate(fd, size);
    return (int)leave(&op);
}

WRAP(int, fallocate, (int fd, int mode, off_t offset, off_t size))
{
    struct sys_op op = {.call = SYS_fallocate,
                        .fd = fd,
                        .offset = (uint64_t)offset,
                        .size = (uint64_t)size,
                        .flags = mode};
    if (enter(&op)) op.result = __real_fallocate(fd, mode, offset, size);
    return (int)leave(&op);
}

// It returns its error and leaves errno alone.
WRAP(int, posix_fallocate, (int fd, off_t offset, off_t size))
{
    int before = errno;
    int rc = 0;
    struct sys_op op = {
        .call = SYS_posix_fallocate, .fd = fd, .offset = (uint64_t)offset, .size = (uint64_t)size};
    if (enter(&op)) {
        rc = __real_posix_fallocate(fd, offset, size);
        op.result = rc == 0 ? 0 : -1;
    } else {
        rc = errno;
    }
    (void)leave(&op);
    errno = before;
    return rc;
}

// The commands of fcntl that are used here have a pointer or a number behind them.
extern int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...)
{
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    BY_DESCRIPTOR(fcntl, command, argument);
}

WRAP(void *, mmap, (void *at, size_t size, int protection, int flags, int fd, off_t offset))
{
    void *result = MAP_FAILED;
    struct sys_op op = {.call = SYS_mmap,
                        .fd = fd,
                        .flags = protection,
                        .is_private = (flags & MAP_TYPE) == MAP_PRIVATE};
    if (enter(&op)) result = __real_mmap(at, size, protection, flags, fd, offset);
    op.result = result == MAP_FAILED ? -1 : 0;
    (void)leave(&op);
    return result;
}

// ---- names ------------------------------------------------------------------

#define BY_PATH(name, ...)                                           \
    struct sys_op op = {.call = SYS_##name, .fd = -1, .path = path}; \
    if (enter(&op)) op.result = __real_##name(path, ##__VA_ARGS__);  \
    return (int)leave(&op)

WRAP(int, mkdir, (const char *path, mode_t mode))
{
    BY_PATH(mkdir, mode);
}

WRAP(int, rmdir, (const char *path))
{
    BY_PATH(rmdir);
}

WRAP(int, unlink, (const char *path))
{
    BY_PATH(unlink);
}

WRAP(int, chmod, (const char *path, mode_t mode))
{
    BY_PATH(chmod, mode);
}

WRAP(int, stat, (const char *path, struct stat *ret_status))
{
    BY_PATH(stat, ret_status);
}

WRAP(int, unlinkat, (int fd, const char *name, int flags))
{
    char bytes[PATH_BYTES * 2];
    struct sys_op op = {.call = (flags & AT_REMOVEDIR) != 0 ? SYS_rmdir : SYS_unlink,
                        .fd = -1,
                        .path = path_at(fd, name, bytes)};
    if (enter(&op)) op.result = __real_unlinkat(fd, name, flags);
    return (int)leave(&op);
}

WRAP(int, rename, (const char *path, const char *to))
{
    struct sys_op op = {.call = SYS_rename, .fd = -1, .path = path, .to = to};
    if (enter(&op)) op.result = __real_rename(path, to);
    return (int)leave(&op);
}

WRAP(int, renameat2, (int fd, const char *name, int to_fd, const char *to, unsigned flags))
{
    char bytes[PATH_BYTES * 2], to_bytes[PATH_BYTES * 2];
    struct sys_op op = {.call = SYS_rename,
                        .fd = -1,
                        .path = path_at(fd, name, bytes),
                        .to = path_at(to_fd, to, to_bytes),
                        .flags = (int)flags};
    if (enter(&op)) op.result = __real_renameat2(fd, name, to_fd, to, flags);
    return (int)leave(&op);
}

WRAP(int, link, (const char *path, const char *to))
{
    struct sys_op op = {.call = SYS_link, .fd = -1, .path = path, .to = to};
    if (enter(&op)) op.result = __real_link(path, to);
    return (int)leave(&op);
}

// ---- threads and memory -----------------------------------------------------

WRAP(int, pthread_create,
     (pthread_t * ret_thread, const pthread_attr_t *attributes, void *(*start)(void *),
      void *context))
{
    struct sys_op op = {.call = SYS_pthread_create, .fd = -1};
    if (enter(&op)) {
        int rc = __real_pthread_create(ret_thread, attributes, start, context);
        (void)leave(&op);
        return rc;
    }
    (void)leave(&op);
    return EAGAIN;
}

static bool has_memory(void)
{
    // Without the lock, which the thread may have: a recorder allocates too.
    if (!atomic_load(&layer.is_on)) return true;
    uint64_t number = atomic_fetch_add(&layer.counts->allocations[atomic_load(&layer.phase)], 1);
    if (!is_due(SYS_NO_MEMORY, number)) return true;
    atomic_fetch_add(&layer.counts->done, 1);
    errno = ENOMEM;
    return false;
}

WRAP(void *, malloc, (size_t size))
{
    return has_memory() ? __real_malloc(size) : NULL;
}

WRAP(void *, calloc, (size_t count, size_t size))
{
    return has_memory() ? __real_calloc(count, size) : NULL;
}

WRAP(void *, realloc, (void *memory, size_t size))
{
    return has_memory() ? __real_realloc(memory, size) : NULL;
}

WRAP(void *, aligned_alloc, (size_t alignment, size_t size))
{
    return has_memory() ? __real_aligned_alloc(alignment, size) : NULL;
}

WRAP(int, posix_memalign, (void **ret_memory, size_t alignment, size_t size))
{
    return has_memory() ? __real_posix_memalign(ret_memory, alignment, size) : ENOMEM;
}

WRAP(char *, strdup, (const char *string))
{
    return has_memory() ? __real_strdup(string) : NULL;
}

int __wrap_asprintf(char **ret_text, const char *format, ...) __attribute__((format(printf, 2, 3)));
int __wrap_asprintf(char **ret_text, const char *format, ...)
{
    va_list arguments;
    if (!has_memory()) return -1;
    va_start(arguments, format);
    int size = vasprintf(ret_text, format, arguments);
    va_end(arguments);
    return size;
}

// What asprintf is when it is fortified.
int __wrap___asprintf_chk(char **ret_text, int flag, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int __wrap___asprintf_chk(char **ret_text, int flag, const char *format, ...)
{
    va_list arguments;
    (void)flag;
    if (!has_memory()) return -1;
    va_start(arguments, format);
    int size = vasprintf(ret_text, format, arguments);
    va_end(arguments);
    return size;
}
