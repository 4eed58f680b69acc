// tests/rigs/trials.h
//
// One trial: a life of the engine in a process of its own, in which one deed (a fault, a kill) is
// done to one of its calls; and afterwards a start with nothing in the way, which must find
// everything that was acknowledged. A rig brings the deeds and says what may come of a trial; the
// scenarios, in trials.c, are the same for all: a new one is a row there.
//
// Calls are counted in the order in which they are made, apart for each phase of the life. Threads
// that run at once may change that order a little from run to run: the same number may then mean a
// neighbouring call.
#ifndef TESTS_RIGS_TRIALS_H
#define TESTS_RIGS_TRIALS_H

#include "tests/rigs/load.h"

#define TRIAL_OUTPUT_BYTES 65536

struct deed {
    const char *name;
    enum sys_deed deed;
    int error;
    uint64_t count; // calls in a row
};

struct scenario {
    const char *name;
    // The life that the folder has behind it; NULL: there is no folder yet. It ends without a stop.
    void (*before)(struct load *l);
    // The life of the trial; returns the exit code of the daemon. Calls sys_phase.
    int (*live)(struct load *l);
};

struct trial {
    const struct scenario *scenario;
    const struct deed *deed;
    enum load_phase phase;
    uint64_t number;
    int status;                 // as wait has it
    struct load_shared *shared; // what was counted and acknowledged
    char output[TRIAL_OUTPUT_BYTES];
};

struct trials_rig {
    const char *name, *help;
    const struct deed *deeds;
    size_t deeds_count;
    // Whether a trial ended as it may: NULL, or why not. Called when the deed was done.
    const char *(*judge)(const struct trial *t);
    // What else is to be said in the last line; may be NULL.
    void (*report)(void);
};

// The options, all trials, the last line. Returns the exit code.
int trials_main(const struct trials_rig *rig, int argc, char **argv);

#endif
