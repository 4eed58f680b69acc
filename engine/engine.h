// engine/engine.h
//
// The engine: the sequencer, which owns the state machine and the journal, and what surrounds it:
// recovery, the shadow snapshotter, timers, the config file. It gets commands and queries, makes
// the commands durable, applies them in order and hands each its result. It does not know what HTTP
// is.
//
// engine_open recovers on the caller's thread. After engine_start the sequencer thread owns
// everything; the functions below say who may call them. The engine logs events through
// options.log.
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "base/clock.h"
#include "base/log.h"
#include "statemachine/state_machine.h"

#define ENGINE_BATCH_COMMANDS_MAX 4096u            // commands in one transaction
#define ENGINE_BATCH_BYTES_MAX (16u * 1024 * 1024) // and their payloads, beyond the first
#define ENGINE_SNAPSHOT_EVERY_DEFAULT 1000000u     // commands
#define ENGINE_RETAIN_DEFAULT_NS (7 * 24 * 3600 * NS_PER_S)
#define ENGINE_RETAIN_BYTES_DEFAULT (UINT64_C(16) << 30)
#define ENGINE_SNAPSHOT_EVERY_NS (3600 * NS_PER_S) // if anything changed

struct engine; // opaque

struct engine_options {
    const char *data_dir; // NULL: keep nothing (--in_memory)
    const char *config_path;
    bool strict_config; // a bad config at start is an error even with a config in the journal
    int64_t request_ttl_ns;
    uint64_t snapshot_every; // commands
    uint64_t retain_ns;      // how much of the past is kept; 0: ENGINE_RETAIN_DEFAULT_NS
    uint64_t retain_bytes;   // log and snapshots together; 0: ENGINE_RETAIN_BYTES_DEFAULT
    uint64_t map_bytes;      // 0: the journal's default
    uint64_t step_bytes;     // data.mdb is extended by; 0: the journal's default
    const char *version;
    const char *host;
    struct clock clock;
    const struct log *log; // borrowed for the engine's life

    // Called by the sequencer after the replies of a batch were handed out: wake whoever waits for
    // them.
    void (*batch_done)(void *context);
    // Called when going on would break a promise (a commit that failed, a digest that does not
    // fit): says why in one line and must end the process with the exit code. It must not return.
    void (*fatal)(void *context, int exit_code, const char *why);
    // How far recovery is: at its start, and every 5 s or so. On engine_open's thread. Or NULL.
    void (*recovering)(void *context, uint64_t seq, uint64_t last_seq);
    void *context;
};

// A command or a query on its way through the sequencer. The submitter owns the memory and keeps
// it, with everything the command points to, until `done` was called.
struct engine_request {
    // The command to append and apply (kind and parameters; seq and time are given here), or NULL
    // for a query.
    struct command *command;
    // Called once on the sequencer's thread: for a command after it is durable and applied, with
    // its result; for a query with result NULL and the state as it is then, only durable things in
    // it. `sm` and `result` are borrowed for the call. With error != 0 (BOSKOS_E_NOSPACE,
    // BOSKOS_E_STOPPED) nothing was done, sm and result are NULL; BOSKOS_E_STOPPED comes on the
    // submitter's own thread, before engine_submit returns. now_ns is the logged time. Must be
    // quick and not block.
    void (*done)(struct engine_request *r, int error, struct sm *sm, const struct sm_result *result,
                 uint64_t now_ns);
    struct engine_request *next; // the engine's
};

// What recovery found, for the line at the start.
struct engine_recovery {
    uint64_t seq;          // of the last record
    uint64_t snapshot_seq; // 0: none was used
    uint64_t tail;         // records replayed after it
    uint64_t took_ns;
    uint64_t resources;
};

// Opens the journal, recovers (newest good snapshot and the tail, every checksum, result and digest
// verified), reads the config and appends `started` and, when its meaning changed, `config`. On an
// error `why` has one line that says what is wrong and what to do, and *ret_exit_code the exit code
// it deserves: 1 for surroundings (folder, lock, config), 4 for damage. *ret_engine is returned,
// caller ends it with engine_close.
int engine_open(const struct engine_options *options, struct engine **ret_engine,
                struct engine_recovery *ret_recovery, char *why, size_t why_size,
                int *ret_exit_code);

// Starts the threads: from here on requests are served.
int engine_start(struct engine *e);

// Hands over a chain of requests linked by `next` (last one NULL). Any thread.
void engine_submit(struct engine *e, struct engine_request *first);

// Reads the config file again (SIGHUP). Any thread.
void engine_reload(struct engine *e);

// Serves what was submitted, refuses what comes later with BOSKOS_E_STOPPED, writes a snapshot,
// ends the threads. The caller's thread waits for it.
void engine_stop(struct engine *e);

// Frees everything; stops first where that was not done.
void engine_close(struct engine *e);

#define ENGINE_BUCKETS \
    24u // of a histogram; bucket i counts values up to 2^i units, the last the rest

struct engine_histogram {
    uint64_t buckets[ENGINE_BUCKETS]; // not cumulative
    uint64_t count;
    uint64_t sum; // in units
};

// Figures since the start, for metrics. Any thread.
struct engine_figures {
    uint64_t seq;                           // of the last durable record
    uint64_t commits;                       // transactions that held commands
    uint64_t commands;                      // commands in them
    struct engine_histogram commit_us;      // how long a commit took, in microseconds
    struct engine_histogram batch_commands; // how many commands one held
    uint64_t refused_nospace; // requests answered 503 because the disk or the map was full
    uint64_t space_low;       // 1 while acquires are refused to keep room for the rest
    uint64_t log_bytes;       // used pages of the log
    uint64_t log_bytes_file;  // the size of data.mdb, which is extended ahead of use
    uint64_t ahead_bytes;     // durable in the write-ahead file, not in the log's file yet
    uint64_t log_bytes_free; // of its pages that were used and are free again; a minute old at most
    uint64_t log_first;      // the first record that is kept
    uint64_t snapshots_kept; // files, and their bytes
    uint64_t snapshots_bytes;
    uint64_t snapshots;        // written since the start
    uint64_t snapshot_seq;     // of the newest, 0: none
    uint64_t snapshot_time_ns; // its logged time
    uint64_t snapshot_failures;
    uint64_t result_mismatches;   // a replayed result that was not the stored one
    uint64_t digest_mismatches;   // the same for the digest
    uint64_t shadow_seq;          // how far the shadow has followed
    uint64_t config_loads;        // config commands appended
    uint64_t config_errors;       // files that were refused
    uint64_t config_bad;          // 1 while the file on disk is refused
    uint64_t clock_jumps_forward; // clock commands
    uint64_t clock_behind_ns;     // how far the wall clock is behind the logged time, now
    uint64_t reaped;              // reap commands
    uint64_t cleaned;             // clean commands
    uint64_t is_full;             // 1 while commands are refused for want of space
    uint64_t shadow_broken;       // 1 when the shadow has stopped for good: no snapshots any more
    uint64_t snapshots_set_aside; // damaged ones, at the start
    uint64_t readers_cleared;     // slots of killed readers
    uint64_t readers_failures;    // times the readers could not be checked
    uint64_t leased_missing;   // names that a resource to be cleaned held and that were not there
    uint64_t leased_bad;       // leasedResources that were no list of names
    uint64_t config_warnings;  // in the file that was read last
    uint64_t config_unwatched; // 1 when changes of the file are not seen
    uint64_t clock_jumps_back;
    uint64_t journal_faults;    // found at the start, that could be passed over
    uint64_t recovery_ns;       // what the recovery at the start took
    uint64_t recovery_commands; // how many commands it replayed
    const char *network;        // the network file system the data is on; NULL: none is known
    uint64_t started_mono_ns;   // when the engine was opened, for the uptime
};

void engine_figures(struct engine *e, struct engine_figures *ret_figures);

// Whether the sequencer gets on, by the monotonic clock, and what became of engine_reload. Without
// looking at the disk, which may be what hangs.
struct engine_pulse {
    uint64_t turn_ns;         // when it last began or ended a turn; an idle one turns every second
    uint64_t commit_since_ns; // when the commit that is under way began, 0: none is
    uint64_t config_reads;    // of the file, good or bad; the one at the start too
    bool config_bad;          // the last of them was bad
};

// Any thread.
void engine_pulse(struct engine *e, struct engine_pulse *ret_pulse);

#endif
