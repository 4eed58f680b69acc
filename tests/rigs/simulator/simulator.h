// tests/rigs/simulator/simulator.h
//
// A simulated installation: the engine's own steps, its state machine and its journal, a simulated
// clock, a disk that can stop at any write, and clients that behave well and badly, in one thread.
// All that happens follows from the seed; no real time, no thread and no address has a say in it.
//
//   main.c         options, seeds, the loop
//   world.c        the clock, starts, crashes, jumps, config files
//   disk.c         the system calls through which a crash comes
//   config_make.c  random configs, good and bad
//   clients.c      requests on their way, and when a client acts
//   works.c        what kinds of clients there are
//   audit.c        every record: the model, a second state, leases, time, replies
//   queue_watch.c  tickets of queues, kept from the log alone
//   checks.c       what is compared now and then: counts, ranks, whole states, replays
#ifndef TESTS_RIGS_SIMULATOR_H
#define TESTS_RIGS_SIMULATOR_H

#include "engine/internal.h"
#include "tests/history_check.h"
#include "tests/model/model_private.h"
#include "tests/rigs/simulator/disk.h"
#include "wire/wire.h"

#define MINUTE_NS (60 * NS_PER_S)
#define HOUR_NS (60 * MINUTE_NS)
#define DAY_NS (24 * HOUR_NS)
#define YEAR_NS (365 * DAY_NS)
#define EPOCH_NS (UINT64_C(1700000000) * NS_PER_S) // the wall clock at the start
#define NEVER UINT64_MAX

#define CLIENTS_MAX 1000u
#define TYPES_STATIC 5u
#define TYPES_DYNAMIC 3u
#define NAMES_A_TYPE 12u
#define NAME_BYTES 256u
#define PATHS_BYTES 256u
#define HELD_BYTES 512u // of names that a client holds beside its resource
#define RECENT 60u      // lines of history shown with a failure
#define LEASES_MAX 4096u

struct sim;
struct client;

// A request of a client, and what it heard.
struct call {
    struct engine_request request; // first: a request is its call
    struct wire_request wire;
    struct sim *sim;
    struct buffer path, query, body;
    struct text key; // the Idempotency-Key header
    bool is_answered;
    uint64_t seq;
    struct wire_reply reply;
    struct buffer text; // the reply's body
    enum sm_reason reason;
    char name[NAME_BYTES];   // of the first resource of the result
    char leased[HELD_BYTES]; // its leasedResources
};

enum work {
    WORK_USER,     // takes, heartbeats, gives back: or forgets to
    WORK_JANITOR,  // dirty -> cleaning -> free
    WORK_REAPER,   // resets from outside
    WORK_CLEANER,  // toBeDeleted -> tombstone
    WORK_MASON,    // dirty -> free, with leased resources
    WORK_LENDER,   // takes a resource with what is leased to it
    WORK_STRANGER, // anything
    WORKS
};

enum flaw {
    FLAW_NONE,
    FLAW_NO_ID,      // acquires without a request id
    FLAW_IMPATIENT,  // stops polling
    FLAW_SILENT,     // never heartbeats
    FLAW_DIES,       // holds and is never heard of again
    FLAW_TWICE,      // releases twice
    FLAW_WRONG,      // wrong owners and states in between
    FLAW_SHARED_ID,  // uses a request id that others use too
    FLAW_ASKS_TWICE, // acquires once more under its key when it has got it
    FLAWS
};

struct client {
    uint32_t number;
    uint64_t at_ns; // when it acts next; NEVER: it has no work
    uint32_t heap;  // its place in the heap, while it has work
    enum work work;
    enum flaw flaw;
    uint32_t phase, tries;
    uint64_t until_ns, period_ns;
    char type[16], owner[40], request_id[48], key[48]; // key: of idempotency; empty: none
    char name[NAME_BYTES];                             // of what it holds
    char leased[HELD_BYTES];                           // and of what is leased with it
    struct call call;
};

// A lease, as the log tells it.
struct lease {
    char name[NAME_BYTES];
    char owner[64];
    uint64_t seq;
    uint64_t key; // hash of the idempotency key it was acquired with; 0: none
};

struct ticket {
    uint64_t key; // hash of type, state and request id; 0: an empty place
    uint64_t seq; // of the poll that queued it
    uint64_t deadline_ns;
};

struct tickets {
    struct ticket *list;
    uint32_t count, capacity; // a power of two
};

// Events of the world, apart from clients.
enum event {
    EVENT_BURST,
    EVENT_CONFIG,
    EVENT_CLOCK,
    EVENT_SLEEP,
    EVENT_DISK, // it is full, or has room again
    EVENT_RESTART,
    EVENT_DUE, // something the engine has to do by itself
    EVENTS
};

struct tally {
    uint64_t commands, commits, requests, lost, crashes, crashes_in_commit, power_losses, stops;
    uint64_t jumps, sleeps, fulls, refused, configs, bad_configs, grants, repeats, reaped, checks,
        replays, snapshots, undrained;
};

struct sim {
    uint64_t seed, random;
    uint64_t now_ns, end_ns; // of the simulation; never goes back
    uint64_t slept_ns;       // what the monotonic clock has missed
    int64_t wall_error_ns;
    uint64_t next_ns[EVENTS];
    uint64_t commands_wanted; // in the whole run
    bool has_wild_clock;      // jumps of a year
    struct tally tally;
    uint64_t step;

    char dir[PATHS_BYTES], data[PATHS_BYTES], config[PATHS_BYTES];
    struct log log;
    struct engine_options options;
    struct engine *engine;
    bool is_config_bad;
    bool is_full;              // the disk
    bool was_full;             // within this start of the engine
    bool owes_clock;           // a `clock` command may have been refused for space
    uint64_t full_commands;    // since the disk is full
    struct buffer config_next; // what the file becomes while it is read; empty: nothing

    struct client clients[CLIENTS_MAX];
    uint32_t clients_count;
    struct client *heap[CLIENTS_MAX]; // those with work, the next one first
    uint32_t heap_count;
    struct client *active[CLIENTS_MAX]; // those of this step
    uint32_t active_count;

    // The audit: what follows from the log, record by record.
    struct sm *second;
    struct model *model;
    struct maker maker; // only for its random choices
    struct command_decoder *decoder;
    struct journal_cursor *cursor;
    struct hash128 chain;
    uint64_t time_ns;                 // of the last record
    uint64_t reaped_ns;               // the built-in reaper's last round
    uint64_t recovered_seq;           // where this start of the engine began
    uint64_t clocks;                  // `clock` commands since then
    uint32_t kinds;                   // of the records of this step, a bit each
    uint64_t stamp_ns, stamp_mono_ns; // the logged time after the step before, and when it was
    uint64_t reap_since_ns, sweep_since_ns, clean_since_ns; // what is due was first seen; 0: none
    struct call *heard[CLIENTS_MAX]; // answers to commands of this step, by seq
    uint32_t heard_count, heard_checked;
    uint32_t undrained;        // so many steps more, and then a crash
    uint64_t acknowledged_seq; // in such steps
    struct lease *leases;
    uint32_t leases_count;
    struct tickets tickets;
    uint64_t checked_seq, replayed_seq;

    struct buffer recent[RECENT];
    uint64_t recent_count;
    struct buffer complaint;
    bool has_failed;
};

// ---- chance -----------------------------------------------------------------

// A number below `bound`, which is above 0.
uint64_t sim_random(struct sim *s, uint64_t bound);
// True once in `n` times.
bool sim_once_in(struct sim *s, uint64_t n);
// Between the two, each order of magnitude as likely as another.
uint64_t sim_span(struct sim *s, uint64_t least_ns, uint64_t most_ns);

// ---- what is told -----------------------------------------------------------

// Notes an event for the history that a failure shows.
void sim_note(struct sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
struct buffer *sim_note_begin(struct sim *s);
// The run has failed; always false.
bool sim_fail(struct sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

// ---- world.c ----------------------------------------------------------------

void world_init(struct sim *s, uint64_t seed, uint64_t span_ns);
void world_release(struct sim *s);
// Starts the engine; with `may_crash` it may die in its first commit, and is then started anew.
void world_start(struct sim *s, bool may_crash);
void world_event(struct sim *s, enum event event);
// One step of the engine with what was submitted, in which a crash may come. False: it came, and
// whoever waits hears nothing.
bool world_step(struct sim *s);
// A request was refused because the disk is full.
void world_refused(struct sim *s, const struct command *c);
// The engine is gone; it comes back after a while.
void world_crash(struct sim *s);
void world_schedule_due(struct sim *s);
void world_remove(const char *path);
uint64_t world_wall_ns(void *sim);
uint64_t world_mono_ns(void *sim);

// ---- config_make.c ----------------------------------------------------------

// Appends a random config; one that is not valid when `is_bad` is set.
void config_make(struct sim *s, bool is_bad, struct buffer *out);

// ---- clients.c, works.c -----------------------------------------------------

void clients_init(struct sim *s);
void clients_release(struct sim *s);
// Gives up to `count` clients without work some.
void clients_burst(struct sim *s, uint32_t count);
// When the next of them acts; NEVER: none has work.
uint64_t clients_next_ns(const struct sim *s);
// Submits the requests of the clients due until now, in some order. Returns whether there are any.
bool clients_submit(struct sim *s);
// Hands the answers of the step to the clients; without one it was lost.
void clients_hear(struct sim *s);

// Chooses a work for a client.
void work_begin(struct sim *s, struct client *c);
// Makes the client's next request.
struct call *work_ask(struct sim *s, struct client *c);
// Goes on after an answer, or without one.
void work_hear(struct sim *s, struct client *c);

void call_begin(struct call *c, const char *path);
void call_param(struct call *c, const char *key, const char *value);

// ---- audit.c, queue_watch.c, checks.c ---------------------------------------

void audit_init(struct sim *s);
void audit_release(struct sim *s);
// The engine is there: go on with its log where the one before was left.
bool audit_open(struct sim *s);
void audit_close(struct sim *s);
// Takes in all records that are durable and compares them with the engine.
bool audit_follow(struct sim *s);
// An answer that a client is about to get.
void audit_heard(struct sim *s, struct call *c);

void tickets_record(struct sim *s, const struct command *c, const struct sm_result *r,
                    uint64_t before_ns);
bool tickets_check(struct sim *s);

// After each step: is the logged time what the two clocks make of it, and was everything done that
// was due.
bool checks_time(struct sim *s);
bool checks_due(struct sim *s);
// After each step too; some of it every so many.
bool checks_step(struct sim *s);
// All of it, and a replay from the start of the log.
bool checks_last(struct sim *s);
// Replays from the newest snapshot, or from the start.
bool checks_replay(struct sim *s, bool from_start);

#endif
