// journal/internal.h
//
// What the files of this folder share, and nobody else includes: the open journal, how errors of
// LMDB and of system calls become ours, the folder, and the bytes of a record and of a row.
#ifndef JOURNAL_INTERNAL_H
#define JOURNAL_INTERNAL_H

#include <lmdb.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/types.h>
#include <time.h>

#include "base/bytes.h"
#include "journal/ahead.h"
#include "journal/journal.h"

// Which file has a name, and whether somebody has written to it.
struct file_state {
    dev_t device;
    ino_t number;
    off_t size;
    struct timespec changed;
};

// The thread of journal_drain_start.
struct drainer {
    pthread_t thread;
    bool is_running;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool is_stopping;
    journal_drain_failed *failed;
    void *context;
};

#define JOURNAL_IDLE_READS 6u // the threads of a daemon that read, and two more

struct journal {
    char *path; // DIR/journal
    int lock_fd;
    const char *network;
    uint64_t map_bytes, step_bytes, page_bytes;
    void (*damaged)(void *context, const char *why);
    void (*noticed)(void *context, const char *what);
    void *context;
    struct journal_pages *pages; // leaves are still to be looked at; NULL: none are
    MDB_env *env;
    MDB_dbi log, results, meta;
    _Atomic(MDB_txn *) idle[JOURNAL_IDLE_READS]; // for the next reads; NULL: in use, or none yet
    _Atomic uint64_t first, end;                 // of the log; read by any thread
    _Atomic uint64_t drained;                    // records below this are in data.mdb
    _Atomic uint64_t rows_end;                   // and have a row there
    _Atomic uint64_t trim_before;                // records below this are being removed
    pthread_mutex_t writing;                     // whoever writes data.mdb has it
    struct ahead *ahead;                         // NULL: appends go straight into data.mdb
    struct drainer drainer;
    struct ahead_tail tail;    // what a read found in AHEAD
    struct hash128 last_chain; // from here on of the appending thread
    uint64_t last_time_ns;
    uint64_t allocated; // up to here data.mdb has the disk's promise
    bool is_reader;     // it was opened only to be read: this and what follows is reader.c's
    bool is_beside;     // somebody has it
    uint64_t map_ahead; // how much more is mapped than data.mdb has
    uint64_t opened;    // how often env was
    unsigned looks;     // in a row that asked for another
    struct file_state data_seen, table_seen; // data.mdb and lock.mdb when it was
    struct file_state ahead_seen;            // AHEAD when it was read to its end, alone
    bool has_stops_held;                     // SIGTSTP waits; the mask from before
    sigset_t signals_before;
    enum journal_witness witness; // when it was opened
    int witness_fd;
    bool witness_is_full; // it could not be written for want of space, and that was said
};

// ---- problem.c: errors and their texts --------------------------------------

// Beside errno's and LMDB's: something else than a file has its name. To open a pipe as one would
// mean to wait for who writes into it.
#define NOT_PLAIN 100000

// The code of ours for an errno (above 0) or an MDB_ code (below 0).
int journal_error_of(int rc);

// Writes the problem's text and number and returns `error`. `p` may be NULL.
int journal_problem(struct journal_problem *p, int error, uint64_t seq, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

// As above with `PATH: cannot WHAT: why; advice` for an errno or an MDB_ code. Sets errno when rc
// is one.
int journal_failed(struct journal_problem *p, int rc, const char *path, const char *what);

// Returned, caller frees; NULL without memory.
char *journal_path(const char *folder, const char *name);

// ---- folder.c: DIR, DIR/journal, the lock -----------------------------------

#define LOCK_NAME "LOCK" // locked by whoever has the journal
#define DATA_NAME "data.mdb"
#define DATA_NEW_NAME "data.mdb.new" // a compacted copy that is not in its place yet
#define LOCK_TABLE_NAME "lock.mdb"   // LMDB's own

// Makes DIR when it is not there and its parent is. *ret_made is always written: an error may come
// after it was made.
int journal_dir_make(const char *dir, bool *ret_made, struct journal_problem *problem);

// Makes DIR when its parent is there, DIR/journal when it is not there, takes the lock exclusively,
// and removes what was left unfinished by whoever had it before. Returned, caller frees the path
// and closes the descriptor.
int journal_folder_open(const struct journal_options *options, char **ret_path, int *ret_lock_fd,
                        struct journal_problem *problem);

// The folders of DIR.
#define JOURNAL_NAME "journal"
#define FRESH_NAME "journal.new"         // being built; of no value until it is renamed
#define REPAIRED_NAME "journal.repaired" // whole, to take the place of the journal
#define BEFORE_NAME "journal.before-"    // and a number: a journal that was replaced

// Is the file still the one with that name? Another folder may have been put there.
bool journal_is_still(int fd, const char *path);

// Opens (or makes) the LOCK in a folder and locks it exclusively.
int journal_folder_lock(const char *folder, uint32_t wait_ms, int *ret_fd,
                        struct journal_problem *problem);

// What journal_folder_open does when there is no journal: a repair that was interrupted is
// finished, or it is a first start. Where there was a journal once it is not taken for a first
// start.
int journal_begin(const struct journal_options *options, const char *path, int *ret_lock_fd,
                  struct journal_problem *problem);

// Makes an empty journal with a lock of its own. It is begun again when it is there, unless
// somebody is at it.
int journal_fresh_make(const char *fresh, int *ret_lock_fd, struct journal_problem *problem);

// Removes a folder that was left unfinished, with the plain files in it, if it is there and nobody
// is at it.
int journal_leftover_remove(const char *path, struct journal_problem *problem);

// Opens a file, which is not made, nor its mode set. Returns the descriptor, -errno or -NOT_PLAIN.
int journal_plain_open(const char *path, int flags);

// Opens or makes a file with mode 0600 whatever the umask. Returns as above.
int journal_file_open(const char *path, int flags);

// The network file system that a file is on, NULL for none. network.c.
const char *journal_network(int fd);

// Flushes the names in a folder. 0 or an errno.
int journal_folder_sync(const char *path);

// ---- environment.c: the LMDB environment ------------------------------------

#define META_FORMAT "format"         // u16: the newest format of a record in the log
#define META_CREATED_BY "created-by" // text: the version that made the folder

// Makes data.mdb and lock.mdb with the empty tables in a folder that has none.
int journal_environment_make(const char *path, struct journal_problem *problem);

// Fills in env and the tables of `j` from j->path and j->map_bytes, and checks the format. On an
// error j->env is NULL. With `leaves_later` j->pages are those that are left.
int journal_environment_open(struct journal *j, bool leaves_later, struct journal_problem *problem);

// The same with a file of that name in j->path, only to read it: no lock of LMDB's is taken, and
// nothing is written. Whoever writes it must be kept away.
int journal_environment_read(struct journal *j, const char *name, struct journal_problem *problem);

// The same with data.mdb while another process writes it: through LMDB's table of readers, in which
// the caller knows that it can write. BOSKOS_E_IO also when that table is of another data.mdb,
// which is so only until whoever writes has found it out.
int journal_environment_join(struct journal *j, struct journal_problem *problem);

// Closes what one of these opened; nothing when none did.
void journal_environment_close(struct journal *j);

// mdb_txn_begin for reading, which believes what lock.mdb says of the last transaction. That
// outlives data.mdb, when a compaction or a copy that is put back takes its place while a reader
// has it open: MDB_BAD_TXN when the two cannot be of one log.
int journal_view_begin(MDB_env *env, MDB_txn **ret_txn);

// ---- reader.c -----------------------------------------------------------------

// Begins to read: every read of the log goes through this pair, in one thread never two at a time.
// For a journal opened only to be read the environment may become another one, so that nothing of
// LMDB's may be kept over it.
int journal_read_begin(struct journal *j, MDB_txn **ret_txn, struct journal_problem *problem);
void journal_read_end(struct journal *j, MDB_txn *txn);

// Of a journal opened only to be read: looks in AHEAD for what the transaction does not have, and
// lets the log end behind it. Beside a daemon only what it has acknowledged counts, and when some
// of that is in neither, it was moved after the transaction had begun: JOURNAL_AGAIN says that all
// is to be looked at in another one.
#define JOURNAL_AGAIN 1 // no error's code
int journal_tail_look(struct journal *j, MDB_txn *txn, struct journal_problem *problem);

// To take a slot in LMDB's table of readers means to wait for a mutex that it shares with all
// processes, and one that is stopped while it has it keeps it. So whoever appends takes slots when
// it opens the journal, and the reads after that wait for nobody: this many at one moment, further
// ones take a slot of their own. Any thread.
int journal_idle_fill(struct journal *j, struct journal_problem *problem);
// Gives the slots back, when nobody reads any more.
void journal_idle_drop(struct journal *j);

// ---- log.c --------------------------------------------------------------------

// A journal of which nothing is open yet. Returned, caller frees with journal_close; NULL without
// memory.
struct journal *journal_new(const struct journal_options *options);

// Reads a record from data.mdb; its payload is borrowed from the transaction. `before` is the
// checksum of the record before, NULL: it is not checked. BOSKOS_E_CORRUPT when the record is not
// there or does not follow.
int journal_record_read(struct journal *j, MDB_txn *txn, uint64_t seq, const struct hash128 *before,
                        struct record *ret_record, struct journal_problem *problem);

// Reads the checksum of a record from the log. BOSKOS_E_CORRUPT when it is not there.
int journal_chain_read(struct journal *j, MDB_txn *txn, uint64_t seq, struct hash128 *ret_chain,
                       struct journal_problem *problem);

// Finds the ends of the log, and checks that its last record follows from the one before.
int journal_ends_find(struct journal *j, struct journal_problem *problem);
// In a transaction; JOURNAL_AGAIN.
int journal_ends_read(struct journal *j, MDB_txn *txn, struct journal_problem *problem);

// Where the log in data.mdb begins and ends, without looking at its records: equal when there are
// none.
int journal_ends_look(struct journal *j, MDB_cursor *log, struct journal_problem *problem);

// ---- repair.c: another journal beside -----------------------------------------

// Makes a journal at j->path, of which nothing is open yet, that goes on after the record `before`.
int journal_build_in(struct journal *j, const struct record *before,
                     struct journal_problem *problem);

// Flushes it and gives it its name in DIR. *ret_is_placed is written when it has that: an error may
// come after it.
int journal_build_place(struct journal *built, const char *name, bool *ret_is_placed,
                        struct journal_problem *problem);

// ---- space.c ----------------------------------------------------------------

#define TRIM_MORE_ROWS 64u

// Removes up to `most` of the records that are to go, with their rows, in a transaction in which
// the log ends before `end`; its last record stays. 0 or an MDB_ code; *ret_first is the first
// record that stays, once the transaction is committed.
int journal_trim_some(struct journal *j, MDB_txn *txn, uint64_t end, size_t most,
                      uint64_t *ret_first);

// ---- pages.c: before LMDB sees it --------------------------------------------

// Looks through the pages of PATH/data.mdb that lead to others: nobody may be writing. What passes
// LMDB can be let loose on. BOSKOS_E_CORRUPT; BOSKOS_E_NOMEM, BOSKOS_E_IO.
//
// Whoever only reads need not read the leaves of the tables for that: a cursor checks each record
// and row, and where LMDB ends over a leaf nothing was written.
int journal_pages_check(const char *path, bool only_to_read, struct journal_problem *problem);

// The same for whoever goes through the log from one end to the other: the leaves of the log and of
// the results are left, but for the outermost ones of each. *ret_pages is NULL when they need not
// be looked at, for the log is a large one. `path` is borrowed. Returned, caller ends it; nobody
// may write before journal_pages_go has come to the end. One thread.
struct journal_pages;
int journal_pages_begin(const char *path, struct journal_pages **ret_pages,
                        struct journal_problem *problem);
void journal_pages_end(struct journal_pages *p);

// Goes on, in order, until the leaves are looked through in which LMDB comes to records and results
// before `seq`, and the one that follows the last of these; UINT64_MAX: to the end. An error is
// found by each later call of this, too.
int journal_pages_go(struct journal_pages *p, uint64_t seq, struct journal_problem *problem);

// Looks at the leaves in which LMDB looks for record `seq` and its result, wherever they are.
int journal_pages_look(struct journal_pages *p, uint64_t seq, struct journal_problem *problem);

// ---- witness.c: the tail witness ----------------------------------------------

#define WITNESS_NAME "WITNESS"
#define WITNESS_BYTES 64

// The last record that was acknowledged; all zeros before the first one.
struct witness {
    uint64_t seq, time_ns;
    struct hash128 chain;
};

// Makes the file whole and flushed, so that later writes need no space. 0 or an errno. The
// descriptor is returned also when there was no space (ENOSPC and the like): then it may be written
// later.
int witness_make(const char *folder, const struct witness *w, int *ret_fd);

// BOSKOS_E_NOT_FOUND, BOSKOS_E_CORRUPT: itself missing or damaged; BOSKOS_E_TOO_NEW.
int witness_read(const char *folder, struct witness *ret_witness, struct journal_problem *problem);

// Holds the log of `j` against its witness and keeps that open to be written. BOSKOS_E_CORRUPT when
// the log has lost what was acknowledged. One that is missing or damaged is noticed and made anew.
int witness_open(struct journal *j, struct journal_problem *problem);

// Finds the ends of a log that is opened only to be read, and holds it against its witness if
// nobody has it. Nothing is made anew.
int witness_check(struct journal *j, struct journal_problem *problem);

// Says that the last record of `j` was acknowledged. Not flushed: it costs no waiting, and one that
// is behind its log is a good one. Want of space is noticed once and is no error.
int witness_write(struct journal *j, struct journal_problem *problem);

// ---- snapshot.c ---------------------------------------------------------------

// snapshot-SEQ and the suffix, in the journal's folder. Returned, caller frees; NULL without
// memory.
char *snapshot_path(const struct journal *j, uint64_t seq, const char *suffix);

// A size as it takes room where records are kept one behind the other.
static inline size_t aligned(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

// ---- record.c: bytes (docs/FORMAT.md) ---------------------------------------

#define KEY_BYTES 8
#define RECORD_FIELDS_BYTES 16 // format, semantics, kind, zero, time
#define RECORD_HEAD_BYTES (RECORD_FIELDS_BYTES + HASH128_BYTES)

// What stands before the payload when the checksum is made: the checksum before, the key, the
// fields.
#define RECORD_CHAINED_BYTES (HASH128_BYTES + KEY_BYTES + RECORD_FIELDS_BYTES)

#define ROW_CHECKSUM_BYTES 8

// Fills in the bytes that are chained before the payload.
void record_chained_encode(const struct record *r, struct hash128 before,
                           uint8_t ret_bytes[RECORD_CHAINED_BYTES]);

// The checksum of a record whose payload does not lie behind its chained bytes. BOSKOS_E_NOMEM.
int record_checksum(const uint8_t chained[RECORD_CHAINED_BYTES], struct text payload,
                    struct hash128 *ret_checksum);

// BOSKOS_E_CORRUPT when no record's value can have this size.
int record_size_check(const char *path, uint64_t seq, size_t value_size,
                      struct journal_problem *problem);

// The kind in the fields of a record.
static inline uint16_t record_kind(const uint8_t *fields)
{
    return bytes_get_u16(fields + 4);
}

static inline uint64_t record_time_ns(const uint8_t *fields)
{
    return bytes_get_u64(fields + 8);
}

// Reads the fields of a record; r->seq is given, payload and chain are the caller's.
// BOSKOS_E_CORRUPT, BOSKOS_E_TOO_NEW.
int record_fields_decode(const char *path, const uint8_t fields[RECORD_FIELDS_BYTES],
                         struct record *r, struct journal_problem *problem);

// Checks one record's value as it lies in LMDB. `before` NULL: the checksum is not checked. The
// payload is borrowed from `value`.
int record_value_check(const char *path, uint64_t seq, const MDB_val *value,
                       const struct hash128 *before, struct record *ret_record,
                       struct journal_problem *problem);

#endif
