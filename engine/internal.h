// engine/internal.h
//
// The engine's parts and who owns what; private to this folder.
//
// Threads: the sequencer owns `sm`, `batch` and `time` and alone appends to the journal; the shadow
// has a state and cursors of its own; the watcher reads the config file. What they share is in
// `inbox` (under its lock) and in `counters` (atomics). Each thread only waits and takes steps:
// the simulator takes the same ones without threads.
#ifndef ENGINE_INTERNAL_H
#define ENGINE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "config/config.h"
#include "engine/config_command.h"
#include "engine/engine.h"
#include "engine/logged_time.h"
#include "engine/recovery.h"
#include "journal/journal.h"

#define CLEAN_PERIOD_NS (15 * NS_PER_S)
#define CLEAN_ROUND_MAX 1000u        // resources cleaned in one round
#define CLEAN_ROUND_BYTES (1u << 20) // of leasedResources, after which no other is begun
#define CLEAN_LINES_MAX 20u          // log lines on what one of them misses
#define SWEEP_PERIOD_NS NS_PER_S     // an `expire` for dead queue entries alone
#define REAP_CHECK_NS NS_PER_S       // how often the reaper's next round is looked up
#define BATCH_BYTES_KEPT (4u << 20)  // of payloads: a larger batch gives its memory back
#define CONFIG_RETRY_NS NS_PER_S     // after the disk or the map was too full for one
#define SHADOW_WAKE_NS (100 * NS_PER_MS)
#define READERS_CHECK_NS (60 * NS_PER_S)
#define SNAPSHOT_RETRY_NS (60 * NS_PER_S) // after one could not be written
#define ROOM_CHECK_NS NS_PER_S            // between looks for more room when there was none
#define TRIM_PAUSE_NS (10 * NS_PER_MS) // between trimming transactions while nothing else is to do
#define KEEP_CHECK_NS (60 * NS_PER_S)  // room for the next snapshot, and the figures of space
#define RESERVE_BYTES_MIN (1u << 20)   // kept for the next snapshot
#define SNAPSHOTS_PER_RETAINED 8u      // one at least for so small a part of --retain-bytes
#define WHY_BYTES 1024u

// A place in a batch: a request's command, a query, or a command of our own (request NULL).
struct slot {
    struct engine_request *request;
    uint64_t seq; // 0: a query
    uint64_t time_ns;
    uint32_t kind;
    size_t payload, payload_size; // in the batch's bytes
};

struct batch {
    struct slot *slots;
    uint32_t count, capacity;
    uint32_t commands;
    struct buffer bytes;    // payloads, side by side
    struct record *records; // of the commands, while appending
    uint32_t records_capacity;
    uint64_t next_seq; // of the next command
    // Rows of results whose batch is durable, to be written with the next one.
    struct buffer row_bytes;
    struct journal_row *rows; // bytes.data NULL while gathering: an offset is in `row_offsets`
    size_t *row_offsets;
    uint32_t rows_count, rows_capacity;
};

struct inbox {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct engine_request *first, *last;
    struct config *config; // read by the watcher, to become a command; owned
    bool is_stopping;      // what comes now is refused
};

struct atomic_histogram {
    atomic_uint_fast64_t buckets[ENGINE_BUCKETS];
    atomic_uint_fast64_t count, sum;
};

struct counters {
    atomic_uint_fast64_t seq, commits, commands, refused_nospace, snapshots, snapshot_seq,
        snapshot_time_ns, snapshot_failures, result_mismatches, digest_mismatches, shadow_seq,
        config_loads, config_errors, config_bad, clock_jumps, clock_behind_ns, reaped, cleaned,
        space_low, log_bytes_free, snapshots_kept, snapshots_bytes, is_full, shadow_broken,
        snapshots_set_aside, readers_cleared, readers_failures, leased_missing, leased_bad,
        config_reads, config_warnings, config_unwatched, clock_jumps_back, journal_faults,
        recovery_ns, recovery_commands, turn_ns, commit_since_ns;
    struct atomic_histogram commit_us, batch_commands;
};

struct shadow {
    pthread_t thread;
    bool is_running;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool is_stopping;                // catch up, write a last snapshot, end
    struct sm *sm;                   // NULL: it could not be loaded
    struct hash128 chain;            // of the record its state is at
    struct command_decoder *decoder; // NULL before shadow_open
    struct buffer scratch;
    uint64_t readers_checked_ns;
    uint64_t snapshot_mono_ns; // when the last was begun, or the start
    bool has_failed;           // the last could not be written
    bool is_broken;            // a difference was found: it follows no further
    uint64_t kept_mono_ns;     // when room and figures were seen to
};

struct watcher {
    pthread_t thread;
    bool is_running;
    int inotify_fd, event_fd; // -1: none
    atomic_bool is_stopping;
    struct hash128 content; // of the file that was read last
    bool is_watching;
    struct hash128 place; // where the file really is, through all symlinks
};

struct engine {
    struct engine_options options;
    struct journal *journal; // NULL: in memory
    struct sm *sm;
    struct command_decoder *decoder;
    struct logged_time time;
    struct batch batch;
    struct inbox inbox;
    struct counters counters;
    struct shadow shadow;
    struct watcher watcher;
    pthread_t sequencer;
    bool is_sequencing;
    uint64_t swept_ns, reap_checked_ns, cleaned_ns, reap_due_ns;
    struct config *config;    // waits to become a command that is durable; owned, NULL: none
    uint64_t config_tried_ns; // when it was refused for space, 0: not yet
    uint64_t ahead_ns;        // of jumps of the clock whose `clock` command is not durable yet
    uint64_t opened_mono_ns;
    uint64_t hash_seed;
    bool is_full;                     // the last batch was refused for space
    bool is_low;                      // acquires are refused: what room is left is for the rest
    uint64_t room_checked_ns;         // when the disk had no more, monotonic; 0: it had
    atomic_uint_fast64_t trim_before; // the shadow's wish: records below this are to go
    atomic_bool has_no_reserve;       // the next snapshot has no room of its own
};

// ---- sequencer.c ------------------------------------------------------------

void *sequencer_main(void *context); // the engine
// One round, without waiting: takes what was submitted, adds what is due, commits and applies it,
// hands out results. Returns false after the last one, when the end was asked for.
bool sequencer_step(struct engine *e);
// Adds a command of our own to the batch being built.
void sequencer_add_own(struct engine *e, const struct command *c);
// The same for a config, when it means something else than the one in force. Returns whether it
// does. Borrowed for the call.
bool sequencer_add_config(struct engine *e, const struct config *config);
// Makes the batch durable, applies it, hands out results. Returns 0, or BOSKOS_E_NOSPACE when it
// was refused.
int sequencer_commit(struct engine *e);
// Ends the process, for the journal cannot go on.
void sequencer_failed(void *engine, int err, const struct journal_problem *problem);
// Writes the rows that still wait.
void sequencer_flush_rows(struct engine *e);
void batch_init(struct batch *b, uint64_t next_seq);
void batch_release(struct batch *b);
void batch_add_row(struct batch *b, uint64_t seq, const struct sm_result *r);
// `span_ns` from now, for a wait on one of our conditions. Waits are in real time, whatever clock
// the engine was given.
struct timespec wait_end(uint64_t span_ns);

// ---- keeping.c: the shadow's care for the space ------------------------------

// Removes the snapshots that are to go and sets where the log is trimmed.
void keep_retained(struct engine *e);
// Keeps room for the next snapshot; brings the figures up to date.
void keep_room(struct engine *e);

// ---- shadow.c, watcher.c, figures.c -----------------------------------------

int shadow_start(struct engine *e);
void shadow_stop(struct engine *e); // after the sequencer has ended
// What its thread does. It begins where recovery did and goes the same way once more; a step
// follows the log, writes a snapshot when one is due (`is_last`: when anything changed) and keeps
// the log's readers in order.
void shadow_open(struct engine *e);
void shadow_step(struct engine *e, bool is_last);
void shadow_release(struct engine *e);

// Reads the config file when it is stable (two equal reads 100 ms apart). Errors are logged and
// counted.
int watcher_read(struct engine *e, struct config **ret_config);
int watcher_start(struct engine *e);
void watcher_stop(struct engine *e);
// Reads the file again when it has other bytes than those read last.
void watcher_step(struct engine *e);
void watcher_release(struct engine *e);

void histogram_add(struct atomic_histogram *h, uint64_t value);

#endif
