// tests/rigs/faults.c
//
// What it proves: whichever file call of the journal, the engine or LMDB fails, with an error or a
// short count, once or several in a row, and whichever allocation of theirs is refused, the daemon
// goes on, or ends with an exit code it documents and a line that says why. It neither hangs nor
// dies of a signal, and a start without the fault finds everything that was acknowledged. When an
// append meets a full disk, its requests are refused for want of space and later ones are served;
// when an append fails in another way, that is the end: a second flush would prove nothing.
//
// What it does not prove: that a fault below the C library's own calls, or in a library that is
// linked dynamically, is met as well; or what a disk keeps after a flush that failed: LMDB's page
// is read back from the system's cache here.
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "tests/rigs/trials.h"

#include "base/banned.h"

static const char help[] =
    "usage: rig_faults [--seed N] [--every N] [--only SCENARIO:PHASE:NUMBER:DEED]\n"
    "\n"
    "  --seed N   of the commands sent, and of the choice (1)\n"
    "  --every N  one of so many trials (1: all)\n"
    "  --only ... this trial; a failure prints what repeats it, and its folder is kept\n"
    "\n"
    "DEED is eio, enospc, eintr, short, eio-on (all calls from there on), enospc-on, eintr-3 (in "
    "a\n"
    "row), short-on or nomem (an allocation).\n";

static const struct deed deeds[] = {
    {"eio", SYS_FAIL, EIO, 1},          {"enospc", SYS_FAIL, ENOSPC, 1},
    {"eintr", SYS_FAIL, EINTR, 1},      {"short", SYS_SHORT, 0, 1},
    {"eio-on", SYS_FAIL, EIO, SYS_ANY}, {"enospc-on", SYS_FAIL, ENOSPC, SYS_ANY},
    {"eintr-3", SYS_FAIL, EINTR, 3},    {"short-on", SYS_SHORT, 0, SYS_ANY},
    {"nomem", SYS_NO_MEMORY, 0, 1},
};

// How trials ended, and how many met a full disk in an append and were served afterwards.
static uint64_t went_on, ended, refused;

static const char *judge_end(const struct trial *t)
{
    int exit_code = WEXITSTATUS(t->status);
    if (exit_code != 1 && exit_code != 4 && exit_code != 5)
        return "an exit code that is not documented";
    if (exit_code == 5 && strstr(t->output, "memory") != NULL) return NULL;
    return strstr(t->output, "level=fatal") != NULL ? NULL : "it ended without a line";
}

static bool is_first_on(const struct trial *t, const char *name)
{
    enum sys_call call = t->shared->counts.first;
    return t->phase == LOAD_COMMIT && strcmp(t->shared->counts.first_name, name) == 0 &&
           (call == SYS_pwrite || call == SYS_writev || call == SYS_fdatasync);
}

// A full disk in a write to AHEAD. A flush of it that finds the disk full proves nothing.
static bool is_full_append(const struct trial *t)
{
    return strcmp(t->deed->name, "enospc") == 0 && is_first_on(t, "AHEAD") &&
           t->shared->counts.first != SYS_fdatasync;
}

// In the flush of data.mdb, or in a write to it that is none of LMDB's meta page: what was to be
// moved there stays in AHEAD.
static bool is_full_drain(const struct trial *t)
{
    bool is_full = strcmp(t->deed->name, "enospc") == 0 || strcmp(t->deed->name, "short") == 0;
    return is_full && is_first_on(t, "data.mdb") && !t->shared->counts.first_is_dsync;
}

// Writes and flushes of AHEAD or data.mdb in an append that fail for good: what the disk has then
// is unknown.
static bool is_failed_append(const struct trial *t)
{
    return t->deed->error == EIO && (is_first_on(t, "AHEAD") || is_first_on(t, "data.mdb"));
}

static const char *judge(const struct trial *t)
{
    if (WIFSIGNALED(t->status))
        return WTERMSIG(t->status) == SIGALRM ? "it hangs" : "it died of a signal";
    if (WEXITSTATUS(t->status) != 0) {
        ended++;
        if (is_full_append(t) || is_full_drain(t)) return "a full disk in an append ended it";
        return judge_end(t);
    }
    if (is_failed_append(t)) return "it served on after an append that failed";
    went_on++;
    if (is_full_append(t)) {
        refused++;
        if (t->shared->refused == 0) return "a full disk in an append refused nobody";
        if (t->shared->served_after == 0) return "nobody was served after a full disk";
    }
    return NULL;
}

static void report(void)
{
    printf("went on %" PRIu64 " (%" PRIu64 " of them after an append that found the disk full), "
           "ended with a line %" PRIu64 "\n",
           went_on, refused, ended);
}

int main(int argc, char **argv)
{
    static const struct trials_rig rig = {.name = "faults",
                                          .help = help,
                                          .deeds = deeds,
                                          .deeds_count = sizeof(deeds) / sizeof(deeds[0]),
                                          .judge = judge,
                                          .report = report};
    return trials_main(&rig, argc, argv);
}
