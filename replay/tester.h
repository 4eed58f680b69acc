// replay/tester.h
//
// A command of the user's that is asked about states: run by /bin/sh, with the state as `show
// --json` prints it on its stdin, BOSKOS_SEQ in its environment, and its stdout where stderr goes,
// so that it cannot get into what boskos-replay prints.
#ifndef REPLAY_TESTER_H
#define REPLAY_TESTER_H

#include "journal/journal.h"
#include "statemachine/state_machine.h"

// How it ended.
struct tester_end {
    int code;   // its exit code, or
    int signal; // above 0: the signal that ended it
};

// Runs it and waits until it ends. It need not read its stdin. BOSKOS_E_IO when it cannot be
// started, BOSKOS_E_MALFORMED as replay_state_json.
int tester_run(const char *command, struct sm *sm, struct tester_end *ret_end,
               struct journal_problem *problem);

#endif
