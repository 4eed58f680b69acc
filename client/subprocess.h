// client/subprocess.h
//
// Runs a program to its end, whatever it does: with a time limit, its input fed and its output read
// meanwhile, in a process group of its own that is killed when it has ended, so that nothing of it
// stays. It does not know what the program is for.
//
// A keeper stands between: a small process, head of the group, that waits for the program and kills
// the group when we die. Any thread may call; a thread that did must live until its program has
// ended, for the keeper is bound to it.
#ifndef CLIENT_SUBPROCESS_H
#define CLIENT_SUBPROCESS_H

#include <signal.h>

#include "base/buffer.h"
#include "client/boskos.h"
#include "client/program.h"

#define SUBPROCESS_TAIL_BYTES 2048u
#define SUBPROCESS_WHY_BYTES 128u

struct subprocess {
    const char *const *argv; // ended by NULL; argv[0] is looked up in PATH
    struct text input;       // for its stdin
    size_t output_max;       // bytes of stdout that are wanted; 0: stdout counts to the tail
    int64_t limit_ms;        // then SIGTERM
    int64_t grace_ms;        // and after that SIGKILL
    const sigset_t *mask;    // the signals it starts with
    struct boskos_cancel *stop, *lost; // as good as the time limit; each may be NULL
};

enum subprocess_end {
    SUBPROCESS_EXITED,    // with code
    SUBPROCESS_KILLED,    // by signal code, not by us
    SUBPROCESS_LATE,      // ended by us: its time was up
    SUBPROCESS_CANCELLED, // ended by us: stop or lost
    SUBPROCESS_FLOODED,   // ended by us: more than output_max
    SUBPROCESS_NONE       // could not be started: errno is code
};

struct subprocess_result {
    enum subprocess_end end;
    int code;
    int64_t took_ms;
    struct buffer output;           // of stdout, with output_max
    struct buffer tail;             // the last bytes of stderr, and of stdout without output_max
    char why[SUBPROCESS_WHY_BYTES]; // "exit code 3"
};

// So many will run at once: raises the soft limit of file descriptors to what they and the program
// need. Where the hard limit is below that it is said in the log.
void subprocess_make_room(const struct program *p, size_t at_once);

// Runs it. The result must be released with subprocess_release.
void subprocess_run(const struct subprocess *s, struct subprocess_result *ret_result);
void subprocess_release(struct subprocess_result *result);

static inline bool subprocess_is_good(const struct subprocess_result *r)
{
    return r->end == SUBPROCESS_EXITED && r->code == 0;
}

#endif
