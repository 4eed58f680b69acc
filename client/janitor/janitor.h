// client/janitor/janitor.h
//
// boskos-janitor: takes dirty resources, has a program clean each, gives them back free. main.c
// reads the command line, types.c decides whose turn it is, work.c takes and keeps the pool,
// clean.c is one cleaning, figures.c what is told of all of it.
//
// The main thread takes; each cleaning has a thread of its own; the client's thread tells what was
// lost. `lock` guards what they share.
#ifndef CLIENT_JANITOR_JANITOR_H
#define CLIENT_JANITOR_JANITOR_H

#include "client/pages.h"
#include "client/watched.h"

#define JANITOR_POOL_MAX 1000u
#define JANITOR_TYPES_MAX 100000u // that were ever in the config
#define JANITOR_SETBACKS_MAX 100000u
#define JANITOR_ARGUMENTS_MAX 1000u

// How a cleaning went.
enum outcome { OUTCOME_CLEANED, OUTCOME_FAILED, OUTCOME_LATE, OUTCOME_LOST, OUTCOME_STOPPED };
#define OUTCOMES 5u

struct kind {
    char *type;
    const char *word; // the last of the type, of which the flag is made
    bool is_wanted;   // on the command line, or in the config as it is now
    int64_t due_ms;   // when to ask for it again
    size_t running;
    bool is_unknown; // the server has no resource of it, as was said

    // A round lasts until all of it was asked for. The names that were taken in it and failed: one
    // that comes again ends it.
    uint64_t round;
    struct program_list setbacks;

    uint64_t counts[OUTCOMES];
    uint64_t refusals; // acquires that failed, other than for want of a resource
    int64_t took_ms;   // of all cleanings
};

enum slot_state { SLOT_FREE, SLOT_RUNNING, SLOT_ENDED };

struct janitor;

struct slot {
    struct janitor *janitor;
    enum slot_state state;
    pthread_t thread;
    struct kind *kind;
    uint64_t round; // in which it was taken
    struct boskos_resource *resource;
    bool is_to_clean;           // else it is only given back
    atomic_bool is_lost;        // the lease is
    struct boskos_cancel *lost; // set then, for who waits
};

struct janitor {
    struct program program;
    const char *path;
    const char *arguments[JANITOR_ARGUMENTS_MAX]; // passed through
    size_t arguments_count;
    size_t pool_size;
    int64_t update_ns, poll_ns, limit_ns, grace_ns;
    uint16_t port;
    bool has_port; // the command line gave it
    struct program_types types;
    int64_t types_due_ms; // when to look at the config again

    pthread_mutex_t lock; // of what follows
    struct kind **kinds;
    size_t kinds_count;
    size_t next; // whose turn it is
    struct slot slots[JANITOR_POOL_MAX];
    size_t running;
    int wake_fd; // an eventfd: a cleaning has ended
};

// ---- types.c ----

// Can a flag be made of the type's last word?
bool janitor_can_clean(const char *type);

// Takes the types as they are now; looks at the config once a second. Returns 0, or PROGRAM_FAILED
// when it could never be read.
int janitor_follow_types(struct janitor *j);

// The next type to ask for while a place is free, or NULL; then *ret_wait_ms says for how long.
struct kind *janitor_turn(struct janitor *j, int64_t *ret_wait_ms);

// The type's resources were all asked for: again after a period.
void janitor_rest(struct janitor *j, struct kind *kind);

void janitor_free_types(struct janitor *j);

// ---- work.c ----

// Until the program is to end. Then all is given back.
int janitor_work(struct janitor *j);

// ---- clean.c ----

// The thread of a slot: cleans, if that is to be done, logs it, gives back.
void *janitor_clean(void *slot);

// ---- figures.c ----

pages_figures janitor_figures;

#endif
