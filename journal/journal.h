// journal/journal.h
//
// The journal: an append-only sequence of records in LMDB, each with a checksum chained from the
// one before, a table of result rows beside it, and snapshot files. It does not know what a record,
// a row or a snapshot means, what time it is, or that HTTP exists: payloads are opaque bytes.
//
// One thread appends (the sequencer). Any thread may read through a cursor of its own and write one
// snapshot at a time. Nothing here logs: a function that finds damage says what and where in a
// struct journal_problem. LMDB memory never leaves this folder.
//
// On disk (docs/FORMAT.md has the bytes): DIR/journal/data.mdb, lock.mdb, AHEAD, LOCK, WITNESS,
// snapshot-SEQ.
#ifndef JOURNAL_JOURNAL_H
#define JOURNAL_JOURNAL_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/hash.h"

#define JOURNAL_FORMAT 1u                              // the version this program writes
#define JOURNAL_PAYLOAD_BYTES_MAX (256u * 1024 * 1024) // of a record
#define JOURNAL_ROW_BYTES_MAX 4096u                    // of a result row
#define JOURNAL_SNAPSHOT_BYTES_MAX UINT32_MAX          // of a snapshot's content
#define JOURNAL_SNAPSHOTS_MAX 65536u                   // files in the folder
#define JOURNAL_MAP_BYTES_DEFAULT (64ull << 30)
#define JOURNAL_STEP_BYTES_DEFAULT (64ull << 20)
#define JOURNAL_LOCK_WAIT_MS_DEFAULT 5000u // what a program gives a reader to end

struct journal; // opaque

// A record as the journal keeps it. Sequence numbers start at 1 and have no gaps.
struct record {
    uint64_t seq;
    uint64_t time_ns;     // the logged time; never below the record before
    uint16_t kind;        // opaque
    uint16_t semantics;   // the version of the rules it was made under
    struct text payload;  // borrowed
    struct hash128 chain; // the checksum; filled in when read and when appended
};

// A row of the results table. Not authoritative: made again from the record when it is missing.
struct journal_row {
    uint64_t seq;
    struct text bytes; // borrowed; at most JOURNAL_ROW_BYTES_MAX
};

// What is wrong and where, for one line of a log: the file, and the sequence number where one is
// known.
struct journal_problem {
    char text[512];
    uint64_t seq; // 0 when none is known
};

struct journal_options {
    const char *dir;       // DIR; its folder `journal` is made when it is not there
    uint64_t map_bytes;    // 0: JOURNAL_MAP_BYTES_DEFAULT
    uint64_t step_bytes;   // data.mdb is extended by; 0: JOURNAL_STEP_BYTES_DEFAULT
    uint32_t lock_wait_ms; // how long to wait for a reader that holds the lock shared
    bool must_exist;       // no journal is made: BOSKOS_E_NOT_FOUND when there is none
    bool ahead;            // batches go to the write-ahead file first, see journal_drain
    // For a start that reads all of the log: its pages are not all looked through at once, but most
    // of them as a cursor comes to them, and what is left then by journal_finish_open. Until that
    // has been called there may be one cursor, in one thread.
    bool leaves_later;

    // LMDB ends the process over pages whose form it does not expect. Before that it calls this
    // with one line that names the file; it must not return. NULL: LMDB's own abort().
    void (*damaged)(void *context, const char *why);
    // What is no error but should be said loudly, as one line: a tail witness that is missing,
    // damaged or cannot be written. From journal_open and journal_append. NULL: nobody hears it.
    void (*noticed)(void *context, const char *what);
    void *context;
};

// Opens DIR/journal for appending, or makes it (DIR/journal.new, fsync, rename, fsync of DIR),
// folder 0700, files 0600. DIR itself is made when its parent is there. Takes the lock exclusively
// (OFD lock on DIR/journal/LOCK). Checks the format version, that the last record follows from
// the one before, and that the log has not lost what the tail witness says was acknowledged.
//
// BOSKOS_E_LOCKED: another daemon has it, at once; or a reader kept it beyond lock_wait_ms.
// BOSKOS_E_READ_ONLY, BOSKOS_E_TOO_NEW, BOSKOS_E_CORRUPT, BOSKOS_E_NOSPACE, BOSKOS_E_NOMEM (the
// map's address space cannot be had, too), BOSKOS_E_IO (DIR's parent is missing, too): `problem`
// names the file and what to do. Returned, caller closes with journal_close, after every cursor and
// snapshot of it. Here and below `problem` may be NULL, and is written only on an error.
int journal_open(const struct journal_options *options, struct journal **ret_journal,
                 struct journal_problem *problem);
// After an open with leaves_later, before anything is appended. BOSKOS_E_CORRUPT. Nothing goes into
// data.mdb before it is called: else that calls it.
int journal_finish_open(struct journal *j, struct journal_problem *problem);
void journal_close(struct journal *j);

// Opens DIR/journal only to be read, whoever else has it, and never changes anything in it. While a
// daemon has it, it is read through LMDB's table of readers in lock.mdb, in which so it must be
// possible to write; otherwise the lock is held shared for one short read at a time, so that a
// daemon can start at any moment, and nothing is written at all. Of the functions below those that
// read may be used, from one thread; `first`, `end` and the last record are those of the last read.
// The pages and the tail witness are checked as journal_open does while nobody has the journal; the
// pages again when somebody had it meanwhile, and without the lock. What stands in the way for a
// moment only (a repair changes the folder) is waited for, up to 5 s. SIGTSTP (Ctrl-Z) is blocked
// in the calling thread during each read. `map_bytes` is here how much
// more than the file has is mapped; 0: 1 GiB. Errors as there; BOSKOS_E_IO also for want of the
// right to read, or, beside a daemon, to write in lock.mdb. `noticed` hears of a witness that says
// nothing.
int journal_open_read(const struct journal_options *options, struct journal **ret_journal,
                      struct journal_problem *problem);

// What the tail witness of a journal opened only to be read was like then. A damaged or missing one
// does not say whether the log has lost its end, and is no damage of the log.
enum journal_witness {
    JOURNAL_WITNESS_UNSEEN, // somebody had the journal
    JOURNAL_WITNESS_GOOD,   // and the log has what it says
    JOURNAL_WITNESS_MISSING,
    JOURNAL_WITNESS_DAMAGED,
};
enum journal_witness journal_witness(const struct journal *j);

// Of a journal opened only to be read: looks for the ends of the log as they are now.
int journal_refresh(struct journal *j, struct journal_problem *problem);

// Of a journal opened only to be read: did somebody have it, by the last read?
bool journal_is_held(const struct journal *j);

// The first kept sequence number and the one after the last record. Equal: no record. A new journal
// has first == end == 1. Any thread.
uint64_t journal_first(const struct journal *j);
uint64_t journal_end(const struct journal *j);

// The checksum and the time of the last record; of an empty journal zeros. The appending thread.
struct hash128 journal_last_chain(const struct journal *j);
uint64_t journal_last_time_ns(const struct journal *j);

// Appends `count` records and `rows_count` rows as one transaction and returns when they are
// durable.
//
// `records[0].seq` must be journal_end(j); the rest follow without a gap, with times that do not go
// back. Rows may be of any records already in the journal, ascending; a row that is there is
// replaced. The payloads are borrowed until return; each record's `chain` is filled in. Both counts
// may be 0: then only what is to be trimmed is removed. On success every record survives power
// loss. On BOSKOS_E_NOSPACE (disk or map full) nothing was written and the journal is as before.
// Any other error leaves the file in an unknown state (the records may be durable): end the
// process, recovery will decide.
int journal_append(struct journal *j, struct record *records, size_t count,
                   const struct journal_row *rows, size_t rows_count,
                   struct journal_problem *problem);

// Moves what was appended to the write-ahead file to where cursors and other tools look for it,
// data.mdb, in one transaction. An append that finds no room and a cursor that comes to its end
// call it, too. BOSKOS_E_NOSPACE leaves it where it is, as durable as ever, to be moved later; any
// other error is one after which the process must end. Any thread; without options.ahead there is
// nothing to do.
int journal_drain(struct journal *j, struct journal_problem *problem);

// Has a thread do that twenty times a second, so that appends do not wait for it. `failed` is
// called once, by that thread, with an error after which the process must end. BOSKOS_E_NOMEM. To
// be stopped, if it was started, before journal_close.
typedef void journal_drain_failed(void *context, int err, const struct journal_problem *problem);
int journal_drain_start(struct journal *j, journal_drain_failed *failed, void *context);
void journal_drain_stop(struct journal *j);

// The record after the last one that has a row which any cursor sees.
uint64_t journal_rows_end(const struct journal *j);

// ---- space ------------------------------------------------------------------
//
// data.mdb is extended ahead of use, a step at a time, so that the disk's promise is there before
// it is needed. Who asks in time always has half a step to finish work with when no more can be
// had: the reserve. The appending thread.

// Whether half a step is ready. Cheap: no system call.
bool journal_has_room(const struct journal *j);

// Sees to it that there is room: extends data.mdb, or finds free pages in it. BOSKOS_E_NOSPACE when
// the disk or the map has no more; `problem` says which. To be asked again later, not at once: it
// goes through the list of free pages.
int journal_make_room(struct journal *j, struct journal_problem *problem);

// Records below `before` (above journal_first, below journal_end) are no longer wanted: every
// journal_append from now on removes some of them with their rows, oldest first, in its own
// transaction, twice as many as it appends and some more. Cursors must be past them.
void journal_trim(struct journal *j, uint64_t before);
bool journal_is_trimming(const struct journal *j);

// ---- reading ----------------------------------------------------------------

// A cursor reads records in order, in short transactions of its own (it copies a bounded stretch at
// a time), and verifies each checksum against the one before. Each cursor belongs to one thread.
struct journal_cursor;

// Opens a cursor at record `from` (journal_first <= from <= journal_end). `before` is the checksum
// of record from-1 where the caller knows it (a snapshot has it) and is then verified; NULL takes
// what the log says. BOSKOS_E_NOT_FOUND when `from` is outside; BOSKOS_E_TRIMMED when it is no
// longer kept, in a journal opened only to be read.
int journal_cursor_open(struct journal *j, uint64_t from, const struct hash128 *before,
                        struct journal_cursor **ret_cursor, struct journal_problem *problem);
void journal_cursor_close(struct journal_cursor *c);

// The next record and its row (row.seq 0 when the results table has none yet). Both are borrowed
// until the next call. A stretch (up to 2048 records or 1 MiB) and its rows are of one moment: a
// row appended after its record's stretch was read is not seen by this cursor. BOSKOS_E_NOT_FOUND
// at journal_end (then `problem` is not written): call again when more was appended.
// BOSKOS_E_CORRUPT: a gap, a checksum or a form that does not fit, of the record or of its row;
// BOSKOS_E_TRIMMED: it is no longer kept, in a journal opened only to be read; BOSKOS_E_TOO_NEW: a
// record of a newer format. `problem` names file and record, and every further call finds the same.
int journal_cursor_next(struct journal_cursor *c, struct record *ret_record,
                        struct journal_row *ret_row, struct journal_problem *problem);

// The record that journal_cursor_next gives after `ahead` others, where it is in memory already:
// its kind and its payload, unchecked bytes that are borrowed until the next call. False when it is
// not.
bool journal_cursor_ahead(const struct journal_cursor *c, size_t ahead, uint16_t *ret_kind,
                          struct text *ret_payload);

// Of a journal opened only to be read: the last record whose time is not after `time_ns`. *ret_seq
// is 0 when all that are kept are later. Looks at a few records only, and at their form only.
int journal_find_time(struct journal *j, uint64_t time_ns, uint64_t *ret_seq,
                      struct journal_problem *problem);

// Appends the version of the program that made the journal.
int journal_created_by(struct journal *j, struct buffer *out, struct journal_problem *problem);

// ---- snapshots --------------------------------------------------------------

// What the journal keeps with a snapshot's bytes.
struct journal_snapshot {
    uint64_t seq;          // the last record that is in it
    uint64_t time_ns;      // and its time
    struct hash128 chain;  // and its checksum
    struct hash128 digest; // of the whole state; opaque here
    uint64_t bytes;        // of the whole file; filled in when reading
};

// Writes a snapshot: begin, add as often as needed, commit (fsync, rename to snapshot-SEQ with SEQ
// in 20 digits, fsync of the folder) or abort. The bytes go to the disk as they come, in small
// synced steps, so that a large snapshot never makes the sequencer's flush wait long. One at a
// time; abort and commit free the writer, whatever they return. An error of add is kept: every
// later add and the commit return it too. BOSKOS_E_NOSPACE; BOSKOS_E_TOO_LARGE beyond
// JOURNAL_SNAPSHOT_BYTES_MAX. What did not become a snapshot is removed.
struct journal_snapshot_writer;
int journal_snapshot_begin(struct journal *j, const struct journal_snapshot *about,
                           struct journal_snapshot_writer **ret_writer,
                           struct journal_problem *problem);
int journal_snapshot_add(struct journal_snapshot_writer *w, const void *bytes, size_t size);
int journal_snapshot_commit(struct journal_snapshot_writer *w, struct journal_problem *problem);
void journal_snapshot_abort(struct journal_snapshot_writer *w);

// Keeps `bytes` of the disk for the next snapshot, so that it can be written when the disk is full:
// it takes the place of the file snapshot.reserve, which is to be made anew after each.
// BOSKOS_E_NOSPACE.
int journal_snapshot_reserve(struct journal *j, uint64_t bytes, struct journal_problem *problem);

// What a snapshot's header says of it, without reading the rest. BOSKOS_E_CORRUPT,
// BOSKOS_E_TOO_NEW, BOSKOS_E_NOT_FOUND.
int journal_snapshot_about(struct journal *j, uint64_t seq, struct journal_snapshot *ret_about,
                           struct journal_problem *problem);

// The sequence numbers of the snapshot files, newest first. Returned in *ret_seqs, caller frees
// with free(); NULL for none. Removes temporary files that a killed writer left when `clean` is set
// (then no writer may be open). BOSKOS_E_TOO_LARGE beyond JOURNAL_SNAPSHOTS_MAX; BOSKOS_E_IO.
int journal_snapshots(struct journal *j, bool clean, uint64_t **ret_seqs, size_t *ret_count);

// Maps a snapshot and verifies its header and checksum. *ret_bytes are borrowed until
// journal_snapshot_close; they are the file's pages, not memory of the process's own.
// BOSKOS_E_CORRUPT, BOSKOS_E_TOO_NEW, BOSKOS_E_NOT_FOUND: `problem` names the file.
struct journal_snapshot_map;
int journal_snapshot_open(struct journal *j, uint64_t seq, struct journal_snapshot *ret_about,
                          struct text *ret_bytes, struct journal_snapshot_map **ret_map,
                          struct journal_problem *problem);
void journal_snapshot_close(struct journal_snapshot_map *m);

// Renames snapshot-SEQ to snapshot-SEQ.bad, so that nobody uses it again. BOSKOS_E_NOT_FOUND.
int journal_snapshot_set_aside(struct journal *j, uint64_t seq);

// Removes snapshot-SEQ. BOSKOS_E_NOT_FOUND.
int journal_snapshot_remove(struct journal *j, uint64_t seq);

// ---- compaction ---------------------------------------------------------------

struct journal_progress {
    void (*said)(void *context, uint64_t done, uint64_t total); // now and then
    void *context;
};

struct journal_compaction {
    uint64_t bytes_before, bytes_after; // of data.mdb
    uint64_t first, end;                // of the log
};

// Writes data.mdb anew without its free pages and without what it was extended by ahead of use. It
// opens the journal itself, which so must not be open, and must be there. The copy is written
// beside, flushed, compared with the original and renamed into its place: a kill or a power cut at
// any moment leaves the old file or the new one. Errors are those of journal_open, and leave all as
// it was; BOSKOS_E_NOSPACE when the copy does not fit beside the original. `progress` may be NULL.
int journal_compact(const struct journal_options *options, const struct journal_progress *progress,
                    struct journal_compaction *ret_compaction, struct journal_problem *problem);

// ---- repair -------------------------------------------------------------------
//
// After damage another journal is built beside the old one, of what can still be read of it, and
// takes its place. Reading damaged pages may end the process at any moment, by a signal or by
// options.damaged: whoever reads does it in a process of its own.

// Locks a journal that is there, without reading it. Of the functions above only those for
// snapshots and journal_close may be used with it. Nothing is written, but that a repair which was
// interrupted is finished.
int journal_damaged_open(const struct journal_options *options, struct journal **ret_journal,
                         struct journal_problem *problem);

// Opens data.mdb to be read, whatever state it is in.
int journal_damaged_read(struct journal *j, struct journal_problem *problem);

// The first and the last sequence number in the log, as far as they can be found: each is written
// as soon as it is. An empty log has none: both stay as they are.
int journal_damaged_ends(struct journal *j, uint64_t *ret_first, uint64_t *ret_last,
                         struct journal_problem *problem);

// Looks through the pages of data.mdb that lead to others, also those that only appending needs.
int journal_damaged_pages(struct journal *j, struct journal_problem *problem);

// A cursor at a record that need not be there: it touches no page that the next record does not
// need, and from `rows_before` on none of the results. It finds the end of the log as a record that
// is missing. `before` may be NULL for record 1 only.
int journal_damaged_cursor(struct journal *j, uint64_t from, const struct hash128 *before,
                           uint64_t rows_before, struct journal_cursor **ret_cursor,
                           struct journal_problem *problem);

// What the tail witness says was acknowledged last; zeros where there is none that is good.
struct record journal_damaged_witness(struct journal *j);

// Begins DIR/journal.new, beside the damaged `old`. Its first record will be the one after
// `before`, of which seq, time_ns and chain count (all zeros: it begins at 1). Records and rows are
// added by journal_append. If it does not come to journal_build_end it is closed, and
// journal_build_drop, which can be called from another process, removes it.
int journal_build(struct journal *old, const struct record *before, struct journal **ret_journal,
                  struct journal_problem *problem);
// Takes over a snapshot of the old one.
int journal_build_snapshot(struct journal *old, struct journal *built, uint64_t seq,
                           struct journal_problem *problem);
// Flushes what was built, renames it to DIR/journal.repaired, for it is whole, and closes it,
// whatever it returns.
int journal_build_end(struct journal *built, struct journal_problem *problem);
void journal_build_drop(struct journal *old);

// Puts DIR/journal.repaired in the place of `old`, which is kept as DIR/journal.before-SEQ (or
// -SEQ.2 and so on where that is taken). What a kill leaves is finished by the next open. `old` can
// then only be closed. *ret_kept is its path; returned, caller frees.
int journal_swap(struct journal *old, uint64_t seq, char **ret_kept,
                 struct journal_problem *problem);

// ---- copying ------------------------------------------------------------------
//
// A journal in a data folder of its own, made record by record of another one, which may be
// appended to meanwhile.

struct journal_copy; // opaque

// Begins DIR/journal.new, DIR being options->dir, which is made when it is not there. Its first
// record will be the one after `before`, of which seq, time_ns and chain count (all zeros: it
// begins at 1). BOSKOS_E_IN_USE when DIR has something else in it than a copy that was killed.
// Returned, caller ends it with journal_copy_free or journal_copy_drop.
int journal_copy_begin(const struct journal_options *options, const struct record *before,
                       struct journal_copy **ret_copy, struct journal_problem *problem);

// Adds the next record, whose chain says what its checksum has to come to, and its row (row->seq 0:
// none). Both are copied. Errors are those of journal_append, and may be of records added before.
int journal_copy_add(struct journal_copy *c, const struct record *record,
                     const struct journal_row *row, struct journal_problem *problem);

// Adds a snapshot, as journal_snapshot_open gave it. Errors are those of writing one.
int journal_copy_snapshot(struct journal_copy *c, const struct journal_snapshot *about,
                          struct text bytes, struct journal_problem *problem);

// Flushes the copy, renames it to DIR/journal and closes it: from now on it may be opened. To be
// called once.
int journal_copy_end(struct journal_copy *c, struct journal_problem *problem);

// Leaves what was made where it is, which is only of use after journal_copy_end.
void journal_copy_free(struct journal_copy *c);
// Removes what was made, DIR also if it was not there.
void journal_copy_drop(struct journal_copy *c);

// ---- readers ----------------------------------------------------------------

// Clears the slots of readers that died with a transaction open: each would keep the log's pages
// from being used again for ever. To be called every minute. Any thread that may wait: when there
// is one to clear it needs the mutex of LMDB's table, and a process that is stopped (SIGSTOP) just
// while it has that keeps it until it goes on or is killed. Nothing else after journal_open does.
int journal_readers_check(struct journal *j, uint32_t *ret_cleared);

// ---- figures ----------------------------------------------------------------

struct journal_figures {
    uint64_t first, end;     // sequence numbers
    uint64_t log_bytes_used; // pages of data.mdb in use
    uint64_t log_bytes_file; // the size of data.mdb
    uint64_t ahead_bytes;    // of the write-ahead file, that are not in data.mdb yet
    uint64_t map_bytes;
    const char *network; // the network file system the journal is on; NULL: none that is known
};

// The name of a network file system (or FUSE, which may be one) by its number in statfs(2); NULL
// for all others.
const char *journal_network_name(uint64_t type);

// Pages of data.mdb that were used and are free again, in bytes. Goes through their list. Any
// thread.
uint64_t journal_free_bytes(struct journal *j);

// Any thread.
void journal_figures(struct journal *j, struct journal_figures *ret_figures);

#endif
