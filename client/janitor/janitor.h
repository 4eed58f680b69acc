// client/janitor/janitor.h
//
// boskos-janitor: takes dirty resources, has a program clean each, gives them back free. main.c
// reads the command line, types.c decides whose turn it is, work.c takes, cleans and gives back.
//
// The main thread takes; each cleaning has a thread of its own; the client's thread tells what was
// lost. `lock` guards what they share.
#ifndef CLIENT_JANITOR_JANITOR_H
#define CLIENT_JANITOR_JANITOR_H

#include "client/page.h"
#include "client/subprocess.h"
#include "client/watched.h"

#define JANITOR_POOL_MAX 1000u
#define JANITOR_TYPES_MAX 100000u
#define JANITOR_SETBACKS_MAX 100000u
#define JANITOR_ARGUMENTS_MAX 1000u

// How a cleaning went.
enum outcome { OUTCOME_CLEANED, OUTCOME_FAILED, OUTCOME_LATE, OUTCOME_LOST, OUTCOME_STOPPED };
#define OUTCOMES 5u

struct kind {
    char *type;
    const char *word; // the last of the type, of which the flag is made
    bool is_given;    // on the command line
    bool is_wanted;   // there, or in the config as it is now
    int64_t due_ms;   // when to ask for it again
    size_t running;

    // The names that failed since it was last all asked for: one that comes again ends the round.
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
    struct boskos_resource *resource;
    struct boskos_cancel *lost;
};

struct janitor {
    struct program program;
    const char *path;
    const char *arguments[JANITOR_ARGUMENTS_MAX]; // passed through
    size_t arguments_count;
    size_t pool_size;
    int64_t update_ns, poll_ns, limit_ns, grace_ns;
    uint16_t port;
    bool has_port;
    struct watched config;
    int64_t config_due_ms;

    pthread_mutex_t lock; // of what follows
    struct kind **kinds;
    size_t kinds_count;
    size_t next; // whose turn it is
    struct slot slots[JANITOR_POOL_MAX];
    size_t running;
    int wake_fd; // an eventfd: a cleaning has ended
};

int64_t janitor_now_ms(void);

// ---- types.c ----

// False, and the line for the command line, when the type cannot be cleaned.
bool janitor_add_types(struct janitor *j, const char *flag, const char *value);

// Takes the config's types when the file has changed; looks at it once a second.
void janitor_follow_config(struct janitor *j);

// The next type to ask for while a place is free, or NULL; then *ret_wait_ms says for how long.
struct kind *janitor_turn(struct janitor *j, int64_t *ret_wait_ms);

// The type's resources were all asked for: again after a period.
void janitor_rest(struct janitor *j, struct kind *kind);

void janitor_page(void *context, struct buffer *out);
void janitor_free_types(struct janitor *j);

// ---- work.c ----

// Until the program is to end. Then all is given back.
int janitor_work(struct janitor *j);

#endif
