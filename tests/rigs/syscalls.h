// tests/rigs/syscalls.h
//
// A layer between the program and the system: with the linker's --wrap every file system call and
// every allocation of our folders and of LMDB (linked statically) passes through here. A call on
// what lies below one watched folder is counted, may be made to fail, to do half of what was asked
// or to end the process, and is shown to whoever records it. All other calls pass untouched.
//
// What it reaches: the calls in objects of this link. What a shared library (libyaml, msgpack,
// xxHash, the C library itself) calls inside does not pass here. CMakeLists.txt has the list of
// wrapped names; check_calls.sh holds what journal/, engine/ and LMDB call against it, so that a
// new call fails a test instead of being missed.
//
// --wrap forces one layer a process, so its state is global. Watched calls are made one at a time
// under a lock: the order in which a recorder sees them is the order in which they happened.
#ifndef TESTS_RIGS_SYSCALLS_H
#define TESTS_RIGS_SYSCALLS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define SYS_PHASES_MAX 8u
#define SYS_ANY UINT64_MAX

// clang-format off
#define SYS_CALLS(X) \
    X(open) X(close) X(pwrite) X(write) X(pwritev) X(writev) X(pread) X(read) X(fdatasync) \
    X(fsync) X(msync) X(sync_file_range) X(ftruncate) X(fallocate) X(posix_fallocate) X(rename) \
    X(link) X(unlink) X(mkdir) X(rmdir) X(chmod) X(fchmod) X(fcntl) X(mmap) X(lseek) X(opendir) \
    X(readdir) X(stat) X(fstat) X(pthread_create)
// clang-format on

#define SYS_NAME(name) SYS_##name,
enum sys_call { SYS_CALLS(SYS_NAME) SYS_CALLS_COUNT };

const char *sys_call_name(enum sys_call call);

// A call on the watched folder. Paths are as the program gave them, made absolute for the calls
// that name a file by its folder's descriptor.
struct sys_op {
    enum sys_call call;
    int fd;                // -1: it has none
    const char *path, *to; // NULL: it has none; `to` of rename and link
    const struct iovec *pieces;
    int pieces_count;      // of a write
    uint64_t offset, size; // of a write, of posix_fallocate; size of ftruncate
    int flags;             // of open, mmap's protection
    bool is_private;       // of mmap
    long result;

    bool is_watched, is_short; // the layer's
};

enum sys_deed {
    SYS_PASS,
    SYS_FAIL,      // with `error`
    SYS_SHORT,     // reads and writes do half; others pass
    SYS_KILL,      // SIGKILL before the call
    SYS_KILL_HALF, // writes do half, then SIGKILL; others pass
    SYS_NO_MEMORY, // allocations fail
};

// The deed is done to the calls (of SYS_NO_MEMORY: the allocations) number `from` to
// `from + count - 1` of a phase, counted from 0.
struct sys_plan {
    enum sys_deed deed;
    int error;
    unsigned phase;
    uint64_t from, count;
    bool no_sync; // flushes are only said to be done: what dies here is a process, not a machine
};

// What happened so far; may lie in memory that outlives the process.
struct sys_counts {
    atomic_uint_fast64_t calls[SYS_PHASES_MAX], allocations[SYS_PHASES_MAX];
    atomic_uint_fast64_t done; // how often the deed was done
    enum sys_call first;       // to which call first
    bool first_is_dsync;       // through a descriptor with O_DSYNC
    char first_name[64];       // on a file of this name
};

// Watches from here on. `after` (may be NULL) sees every watched call that succeeded, under the
// layer's lock: it must make no watched call itself. All is borrowed until sys_unwatch.
void sys_watch(const char *folder, const struct sys_plan *plan, struct sys_counts *counts,
               void (*after)(void *context, const struct sys_op *op), void *context);
void sys_unwatch(void);

// Calls are counted under this phase from here on; 0 at first.
void sys_phase(unsigned phase);

// For a recorder that has more to note than calls, in their order.
void sys_lock(void);
void sys_unlock(void);

#endif
