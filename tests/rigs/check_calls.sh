#!/bin/sh
# check_calls.sh WRAPPED LIBRARY...: every function of the C library that the journal, the engine and LMDB call is either
# one of the WRAPPED names (separated by spaces; they pass through syscalls.c), or one of those below, which touch no file.
# A new one fails here, so that no rig misses it: give it a wrapper in syscalls.c and a meaning in disk.c, or a place below.
# Exit code 77: there is no nm.
set -eu
command -v nm >/dev/null || exit 77
wrapped=$1
shift

harmless='
    memchr memcmp memcpy memmem memmove memset strcasecmp strchr strcmp strcpy strlen strncmp strrchr strstr strtol strtoul
    strerror qsort qsort_r bsearch free abort _exit atexit snprintf vsnprintf sprintf fprintf stderr errno strtoull
    fwrite fflush ferror stdout
    fork waitpid getppid prctl setrlimit signal lstat
    pthread_cond_[a-z]* pthread_condattr_[a-z]* pthread_mutex_[a-z]* pthread_mutexattr_[a-z]* pthread_self pthread_join pthread_clockjoin_np __udivti3
    pthread_key_[a-z]* pthread_getspecific pthread_setspecific pthread_sigmask sigaddset sigemptyset sigwait
    getpid getppid fork waitpid prctl setrlimit signal uname sysconf clock_gettime setpriority munmap madvise dirfd fstatfs statfs fstatvfs statvfs
    eventfd inotify_init1 inotify_add_watch poll realpath
    yaml_[a-z_]* XXH[A-Za-z0-9_]* msgpack_[a-z_]*
    __errno_location __stack_chk_fail _GLOBAL_OFFSET_TABLE_ __[a-z]*printf_chk __realpath_chk __mem[a-z]*_chk
    __str[a-z]*_chk __asan_[a-z0-9_]* __ubsan_[a-z0-9_]* __tsan_[a-z0-9_]* __gcov_[a-z0-9_]* __sanitizer_[a-z0-9_]*'

pattern=$(printf '%s\n' $wrapped $harmless | paste -sd '|' -)
own=$(nm --defined-only "$@" 2>/dev/null | awk 'NF == 3 { print $3 }' | sort -u)
missed=$(nm -u "$@" 2>/dev/null | awk 'NF == 2 { print $2 }' | sort -u | grep -vxE "$pattern" |
    grep -vxF "$own") || true
[ -z "$missed" ] || {
    echo "these calls pass by the rigs; see the head of $0:" $missed >&2
    exit 1
}
echo "every call is known: $(nm -u "$@" 2>/dev/null | awk 'NF == 2 { print $2 }' | sort -u | grep -cxE "$pattern") names"
