// replay/signals.h
//
// What would end the process (SIGINT, SIGTERM, SIGHUP) held back until what is half made is removed
// or whole. What is ignored, as under nohup, stays so.
//
// For a process of one thread.
#ifndef REPLAY_SIGNALS_H
#define REPLAY_SIGNALS_H

#include <signal.h>
#include <stdbool.h>

struct signals {
    sigset_t held, before;
};

// From now on they wait.
void signals_hold(struct signals *s);

// Does one wait?
bool signals_are_waiting(const struct signals *s);

// One that waits ends the process here.
void signals_release(const struct signals *s);

#endif
