// tests/rigs/load.h
//
// The engine as the daemon runs it, under a load of random commands that a seed decides: what the
// rigs put under power losses, faults and kills. Clocks are stepped, randomness is none, and the
// shadow takes its turns when it is told to, so that a seed makes the same calls again as far as
// threads allow.
//
// It keeps what was acknowledged where it outlives the process, and says afterwards whether a
// folder has it. It refuses to know what the journal's files look like.
#ifndef TESTS_RIGS_LOAD_H
#define TESTS_RIGS_LOAD_H

#include <stdatomic.h>

#include "engine/engine.h"
#include "journal/journal.h"
#include "tests/rigs/syscalls.h"

#define LOAD_ACKNOWLEDGED_MAX 4096u
#define LOAD_CHAIN_MAX 8u // commands sent at once: one batch
#define LOAD_PATH_BYTES 256

// The parts of a life whose calls are counted apart.
enum load_phase {
    LOAD_START,
    LOAD_COMMIT,
    LOAD_SNAPSHOT,
    LOAD_STOP,
    LOAD_MAINTAIN, // what boskosd does instead of serving: --compact
    LOAD_PHASES
};

const char *load_phase_name(enum load_phase phase);

// A command that was answered: its record must be there for ever.
struct load_acknowledged {
    uint64_t seq, hash; // of its bytes
};

// In memory shared with the process that runs the load.
struct load_shared {
    struct sys_counts counts;
    struct load_acknowledged list[LOAD_ACKNOWLEDGED_MAX];
    atomic_uint count;
    atomic_uint refused;      // for want of space
    atomic_uint served_after; // answers after the first refusal
};

struct load_shared *load_shared_new(void); // all zero

// Called after each append to the journal that succeeded, on the thread that made it.
typedef void load_appended(void *context, const struct record *records, size_t count,
                           const struct journal_row *rows, size_t rows_count);

struct load {
    char dir[LOAD_PATH_BYTES];    // --data-dir
    char config[LOAD_PATH_BYTES]; // "": none, the load sends one
    int log_fd;
    uint64_t random;
    uint64_t snapshot_every;
    bool drains;                // while commands are under way, as the journal's own thread may
    struct load_shared *shared; // NULL: nothing is kept
    load_appended *appended;    // may be NULL
    void *context;
    struct engine *engine;
    struct engine_recovery found;
};

// Makes a folder of the rig's own: in $TMPDIR, else in memory (/dev/shm) where that is, else in
// /tmp. What is flushed here need never reach a disk.
void load_folder_make(const char *rig, char ret_path[LOAD_PATH_BYTES]);

// Opens and starts the engine. On an error, or when it cannot go on later, says so as the daemon
// does: a line on the log, and the exit code, which load_open returns.
int load_open(struct load *l);

// Sends a config when there is no config file.
void load_configure(struct load *l);

// Sends `chains` chains of up to LOAD_CHAIN_MAX commands, each when the one before was answered.
void load_send(struct load *l, unsigned chains);

// Lets the shadow follow the log, and write a snapshot if one is due, while nothing else happens.
void load_shadow_turn(struct load *l);

// Compacts the journal, which is not open. Returns the exit code, after a line if it is not 0.
int load_compact(struct load *l);

// Ends the engine in order.
void load_stop(struct load *l);

// Recovers, as load_open does, but starts no thread; load_close is for its end.
int load_recover(struct load *l);
void load_close(struct load *l);

// Looks for everything acknowledged, after load_recover. 0, or 1 after a line on stderr that says
// what is wrong.
int load_check(struct load *l);

#endif
