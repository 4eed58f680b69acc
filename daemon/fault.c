#include "daemon/fault.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/banned.h"

#define LINE_BYTES 8192
#define PATH_BYTES 4096

static char line[LINE_BYTES];
static ssize_t line_size;

static void end_for_fault(int number)
{
    (void)number;
    ssize_t ignored = write(STDERR_FILENO, line, (size_t)line_size);
    (void)ignored;
    _exit(4);
}

// The log writes to a descriptor: this one is memory, from where the line is taken back.
static void make_line(const struct log *log, const char *path, const char *repair)
{
    struct log to_memory = *log;
    to_memory.fd = memfd_create("boskosd-line", MFD_CLOEXEC);
    if (to_memory.fd < 0) return;
    log_event(
        &to_memory, LOG_FATAL,
        "a memory fault; the time is the start's: the journal is damaged or was cut short, its "
        "disk fails, or boskosd has a fault; `run` shows what can be kept",
        LOG_F_STRING("file", path), LOG_F_STRING("run", repair));
    line_size = pread(to_memory.fd, line, sizeof(line), 0);
    if (line_size < 0) line_size = 0;
    (void)close(to_memory.fd);
}

void fault_watch(const struct log *log, const char *data_dir)
{
    char path[PATH_BYTES], repair[PATH_BYTES];
    (void)snprintf(path, sizeof(path), "%s/journal/data.mdb", data_dir);
    (void)snprintf(repair, sizeof(repair), "boskosd --repair --data-dir %s", data_dir);
    make_line(log, path, repair);
    struct sigaction action = {.sa_handler = end_for_fault, .sa_flags = (int)SA_RESETHAND};
    (void)sigaction(SIGBUS, &action, NULL);
    (void)sigaction(SIGSEGV, &action, NULL);
}
