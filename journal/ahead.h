// journal/ahead.h
//
// The write-ahead file AHEAD, and what is read of it. LMDB flushes twice for a commit, and the file
// it writes grows; a write over blocks that are there, into a file that keeps its size, is flushed
// once and costs half. So a batch is durable when its frame in AHEAD is; what was appended is kept
// in memory, too, and moved to data.mdb soon after, many batches in one transaction
// (journal_drain). Recovery moves what a crash left in AHEAD.
//
// AHEAD is a ring: position P of an endless row of frames is at byte P modulo the file's size.
// data.mdb says at which position the frames begin that it does not have, so that the two belong
// together at any moment. docs/FORMAT.md has the bytes.
#ifndef JOURNAL_AHEAD_H
#define JOURNAL_AHEAD_H

#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/buffer.h"
#include "journal/journal.h"

#define AHEAD_NAME "AHEAD"
#define AHEAD_NEW_NAME "AHEAD.new"    // being made
#define META_AHEAD "ahead"            // u64, in the table meta: the position; none: 0
#define AHEAD_PART_OF_STEP 4u         // the ring is this part of a step of data.mdb
#define AHEAD_BYTES_MIN (64u * 1024u) // and not smaller

// Records in a row as they stand in frames, one behind the other, and the checksum of the last.
struct ahead_run {
    struct buffer bytes;
    uint64_t first, end; // sequence numbers; equal: there are none
    struct hash128 chain;
    uint64_t until; // the position behind them
};

// One of them. Borrowed from the run.
struct ahead_record {
    uint64_t seq;
    const uint8_t *chained; // RECORD_CHAINED_BYTES, the payload right behind them
    struct text payload;
    struct hash128 chain;
    size_t next; // where the one after it stands
};

// Reads the record at `at` in a run, 0 being the first; false behind the last.
bool ahead_record_at(const struct ahead_run *run, size_t at, struct ahead_record *ret_record);

// What was appended and is not in data.mdb yet.
struct ahead_pending {
    struct ahead_run run;
    struct buffer rows; // 8 seq | 8 size | bytes
};

struct ahead {
    int fd;
    uint64_t bytes;            // of the ring
    _Atomic uint64_t position; // of the next frame: written by the appending thread
    struct buffer frame;       // its, too
    pthread_mutex_t lock;
    struct ahead_pending waiting; // under the lock
    struct ahead_pending taken;   // whoever has journal.writing
    _Atomic uint64_t drained;     // the position of the first frame that data.mdb does not have
};

// Opens AHEAD in j->path, or makes it when `wanted`, and finds what it holds beyond data.mdb.
// Without space, and when it is neither wanted nor there, the journal goes without.
// BOSKOS_E_CORRUPT when it lost what was acknowledged, or is of another journal.
int ahead_open(struct journal *j, bool wanted, struct journal_problem *problem);
// Has what was found wait to be drained; ahead_tail_find finds it no more.
void ahead_take(struct journal *j);
void ahead_close(struct journal *j);

// How many bytes of the ring are not in data.mdb yet.
uint64_t ahead_used(const struct journal *j);

// The size of the frame that these records make.
uint64_t ahead_frame_bytes(const struct record *records, size_t count);

// Writes a frame of them, flushed, and fills in each chain; what is drained later is taken over
// with the rows. It must fit into what is free of the ring. 0 or an errno: the frame is there or,
// for want of space only, is not.
int ahead_put(struct journal *j, struct record *records, size_t count,
              const struct journal_row *rows, size_t rows_count);

// ---- tail.c: reading it ---------------------------------------------------------

// What AHEAD has beyond data.mdb, as it was read last.
struct ahead_tail {
    struct ahead_run run;
    uint64_t from; // the position it was read from
    bool is_there; // the file
    // What is not may yet become something else, after a flush that failed.
    bool is_acknowledged;
    uint32_t *at;   // where each record stands in it
    size_t at_size; // how many of them there is room for
};

// Reads the frames that a transaction on data.mdb says are not in it, or, when all that was read
// before was acknowledged, those that came since. `is_quiet`: nobody writes, so that a frame which
// is followed by good ones is damage (BOSKOS_E_CORRUPT), not the end. Without AHEAD there is none.
int ahead_tail_read(struct journal *j, MDB_txn *txn, bool is_quiet,
                    struct journal_problem *problem);
void ahead_tail_release(struct journal *j);

// A record that is in the tail.
bool ahead_tail_find(const struct journal *j, uint64_t seq, struct ahead_record *ret_record);

// ---- frames -----------------------------------------------------------------------

#define FRAME_HEAD_BYTES 80u

#define FRAME_RING_UNIT 4096u // the size of the ring is so many bytes, or a multiple
#define AHEAD_BYTES_MAX (4ull << 30)

// Reads or writes a piece of the ring. 0 or an errno.
int ahead_ring_read(int fd, uint64_t ring, uint64_t position, void *ret_bytes, size_t size);
int ahead_ring_write(int fd, uint64_t ring, uint64_t position, const void *bytes, size_t size);

struct frame_head {
    uint64_t position, first, count;
    uint64_t bytes;       // of the records
    struct hash128 chain; // of the last record
    struct hash128 checksum;
};

void frame_head_encode(const struct frame_head *h, uint8_t ret_bytes[FRAME_HEAD_BYTES]);
// False when it is none of this position.
bool frame_head_decode(const uint8_t bytes[FRAME_HEAD_BYTES], uint64_t position, uint64_t ring,
                       struct frame_head *ret_head);
// Might one begin here? And at which position, if it does?
bool frame_magic_is_at(const uint8_t bytes[8]);
uint64_t frame_position(const uint8_t bytes[FRAME_HEAD_BYTES]);
// Might one begin in a payload? Whoever chose its bytes could make a whole one of a later position.
bool frame_magic_is_in(struct text payload);
// Of a frame as it lies in memory: over its head without the checksum, and its records.
struct hash128 frame_checksum(const uint8_t *frame, uint64_t bytes);

// The bytes of a record in a frame, and writes them. Returns its checksum.
size_t ahead_record_bytes(size_t payload_size);
struct hash128 ahead_record_put(uint8_t *to, const struct record *r, struct hash128 before);

// Are these bytes `count` records in a row, the first of that number?
bool ahead_records_check(const uint8_t *bytes, uint64_t size, uint64_t first, uint64_t count);

#endif
