#include "bench/process.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

#include "base/banned.h"

#define CHILDREN_BYTES_MAX 65536u

static int64_t one_cpu_ns(int64_t pid)
{
    char path[64], line[1024];
    (void)snprintf(path, sizeof(path), "/proc/%" PRId64 "/stat", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL) return -1;
    char *got = fgets(line, sizeof(line), file);
    (void)fclose(file);
    // The name, in parentheses, may hold anything: the fields are counted after the last one.
    char *at = got == NULL ? NULL : strrchr(line, ')');
    for (uint32_t i = 2; i < 14 && at != NULL; i++)
        at = strchr(at + 1, ' ');
    if (at == NULL) return -1;
    char *end;
    uint64_t ticks = strtoull(at + 1, &end, 10);
    ticks += strtoull(end, NULL, 10);
    return (int64_t)(ticks * (NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK)));
}

int64_t process_cpu_ns(int64_t pid)
{
    char path[96], children[CHILDREN_BYTES_MAX];
    int64_t total = one_cpu_ns(pid);
    if (total < 0) return -1;
    (void)snprintf(path, sizeof(path), "/proc/%" PRId64 "/task/%" PRId64 "/children", pid, pid);
    FILE *file = fopen(path, "re");
    if (file == NULL) return total;
    size_t size = fread(children, 1, sizeof(children) - 1, file);
    (void)fclose(file);
    children[size] = '\0';
    char *at = children;
    for (uint32_t i = 0; i < CHILDREN_BYTES_MAX / 2; i++) {
        char *end;
        int64_t child = strtoll(at, &end, 10);
        if (end == at) break;
        int64_t cpu_ns = one_cpu_ns(child);
        if (cpu_ns > 0) total += cpu_ns;
        at = end;
    }
    return total;
}

int64_t process_own_cpu_ns(void)
{
    struct rusage u;
    if (getrusage(RUSAGE_SELF, &u) != 0) return -1;
    return ((int64_t)u.ru_utime.tv_sec + u.ru_stime.tv_sec) * (int64_t)NS_PER_S +
           ((int64_t)u.ru_utime.tv_usec + u.ru_stime.tv_usec) * (int64_t)NS_PER_US;
}

int process_pin(uint32_t processor)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (processor >= CPU_SETSIZE) return BOSKOS_E_NOT_FOUND;
    CPU_SET(processor, &set);
    return sched_setaffinity(0, sizeof(set), &set) == 0 ? 0 : BOSKOS_E_NOT_FOUND;
}

uint64_t process_files_max(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
    struct rlimit raised = {limit.rlim_max, limit.rlim_max};
    if (limit.rlim_cur < limit.rlim_max && setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
    return limit.rlim_cur;
}
