// tests/replay/folder_write.h
//
// Writes a data folder as the daemon would have, without a daemon: commands are appended in
// batches, the result rows of a batch go with the next one, snapshots and trimming are where the
// caller says. The same calls make the same records, rows and snapshots.
//
// Not thread-safe. Functions return false after a line on stderr; then nothing but
// folder_writer_close is left to do.
#ifndef TESTS_REPLAY_FOLDER_WRITE_H
#define TESTS_REPLAY_FOLDER_WRITE_H

#include "journal/journal.h"
#include "statemachine/state_machine.h"

#define FOLDER_STEP_BYTES (1u << 20) // data.mdb is extended by: copies of it should be quick
#define FOLDER_BATCH_MAX 1000u

struct folder_entry {
    uint64_t time_ns;
    uint16_t kind, semantics;
    size_t payload_at, payload_size, row_at, row_size; // in the batch's bytes
};

struct folder_batch {
    uint64_t first; // sequence number of its first entry
    uint32_t count;
    struct folder_entry entries[FOLDER_BATCH_MAX];
    struct buffer payloads, rows;
};

struct folder_writer {
    struct journal *journal;
    struct sm *sm; // the state after what was added; the caller may look at it
    uint32_t batch_max;
    uint16_t semantics; // of the records added from now on; 0: as command_semantics says
    bool is_ahead;      // with folder_leave_ahead: what is appended stays in AHEAD
    struct folder_batch batches[2]; // one that is being filled, and one whose rows wait
    uint32_t filled;                // which of them is being filled
    struct record records[FOLDER_BATCH_MAX];
    struct journal_row rows[FOLDER_BATCH_MAX];
};

// Begins DIR/journal, which must not be there. A batch takes `batch_max` commands.
bool folder_writer_open(struct folder_writer *w, const char *dir, uint32_t batch_max);

// The same with the write-ahead file, from which each batch is moved to data.mdb at once, until
// folder_leave_ahead.
bool folder_writer_open_ahead(struct folder_writer *w, const char *dir, uint32_t batch_max);

void folder_writer_close(struct folder_writer *w);

// Adds a command, which must have the next seq, and applies it. The result is borrowed until the
// next call.
bool folder_add(struct folder_writer *w, const struct command *c, struct sm_result *ret_result);

// Appends what was added so far. The rows of it stay to be written.
bool folder_append(struct folder_writer *w);

// What is appended from now on, in batches of `batch_max`, stays in the write-ahead file, as a
// crash leaves it: the caller ends without folder_writer_close, which would move it.
bool folder_leave_ahead(struct folder_writer *w, uint32_t batch_max);

// Writes the rows that wait, but for the last one when `all` is not set.
bool folder_append_rows(struct folder_writer *w, bool all);

// Appends what was added so far and writes a snapshot of it.
bool folder_snapshot(struct folder_writer *w);

// Trims the log at the newest snapshot and removes the older ones. At least one command must have
// been added since.
bool folder_trim(struct folder_writer *w);

#endif
