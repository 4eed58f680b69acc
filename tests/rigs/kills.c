// tests/rigs/kills.c
//
// What it proves: a daemon that is killed at any of its file calls, before the call or in the
// middle of a write, loses nothing that it acknowledged: the next start recovers the journal, old
// or new, and finds every answered command under its number. The calls are those of a first start,
// of commits, of a snapshot, of trimming, of a stop, and of a start on what a killed daemon left.
//
// What it does not prove: what a power loss does to what was not flushed (power_loss.c has that),
// nor kills between two system calls, which the files cannot tell from kills at the next.
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "tests/rigs/trials.h"

#include "base/banned.h"

static const char help[] =
    "usage: rig_kills [--seed N] [--every N] [--only SCENARIO:PHASE:NUMBER:DEED]\n"
    "\n"
    "  --seed N   of the commands sent, and of the choice (1)\n"
    "  --every N  one of so many trials (1: all)\n"
    "  --only ... this trial; a failure prints what repeats it, and its folder is kept\n"
    "\n"
    "DEED is kill (before the call) or kill-half (in the middle of a write).\n";

static const struct deed deeds[] = {
    {"kill", SYS_KILL, 0, 1},
    {"kill-half", SYS_KILL_HALF, 0, 1},
};

static const char *judge(const struct trial *t)
{
    return WIFSIGNALED(t->status) && WTERMSIG(t->status) == SIGKILL ? NULL : "it was not killed";
}

int main(int argc, char **argv)
{
    static const struct trials_rig rig = {.name = "kills",
                                          .help = help,
                                          .deeds = deeds,
                                          .deeds_count = sizeof(deeds) / sizeof(deeds[0]),
                                          .judge = judge};
    return trials_main(&rig, argc, argv);
}
