// journal/slice.h
//
// A part of a journal in one file, to be handed on: the snapshot of a state, the records that
// follow it with their result rows, and checksums over all of it. Like the journal it does not know
// what a record, a row or a snapshot means, and needs none to be read.
//
// A writer, a slice with its cursors: each is used by one thread. Nothing here logs: `problem`,
// which may be NULL and is written only on an error, names the file, and the record where one is
// known.
//
// On disk: docs/FORMAT.md, `The exported file`.
#ifndef JOURNAL_SLICE_H
#define JOURNAL_SLICE_H

#include "journal/journal.h"

#define SLICE_CREATED_BY_BYTES_MAX 64u

// Flags of what was done to the content. They mean nothing here.
#define SLICE_REDACTED 1u    // names, owners and userdata were replaced
#define SLICE_NO_USERDATA 2u // userdata was left out

struct slice_about {
    uint64_t base_seq;         // of the snapshot, whose state the first record follows; 0: from the
                               // empty state, without a snapshot
    uint64_t base_time_ns;     // of record base_seq; 0 with base_seq 0
    struct hash128 base_chain; // checksum of record base_seq; zeros with base_seq 0
    struct hash128 base_digest; // of the state; opaque here
    struct text created_by;     // of the journal: up to SLICE_CREATED_BY_BYTES_MAX, no NUL
    uint32_t flags;             // SLICE_...; all are kept

    // Filled in when reading.
    uint64_t last_seq, last_time_ns; // of the last record; those of the base when there is none
    uint64_t bytes;                  // of the whole file
};

// ---- write ------------------------------------------------------------------
//
// begin, slice_add_base as often as needed, slice_add for each record, then commit or abort, which
// free the writer whatever they return. The bytes go to PATH.tmp, mode 0600, in synced steps, and
// memory stays bounded but for 24 bytes of index every 4096 records. An error of an add is kept:
// every later add and the commit return it too.
struct slice_writer;

// `about` is copied. A PATH or a PATH.tmp that is there is never written over: BOSKOS_E_IO with
// errno EEXIST. BOSKOS_E_READ_ONLY, BOSKOS_E_NOSPACE, BOSKOS_E_NOMEM, BOSKOS_E_IO.
int slice_begin(const char *path, const struct slice_about *about, struct slice_writer **ret_writer,
                struct journal_problem *problem);

// More of the snapshot's content: before the first record, and never with base_seq 0.
// BOSKOS_E_TOO_LARGE beyond JOURNAL_SNAPSHOT_BYTES_MAX; BOSKOS_E_NOSPACE, BOSKOS_E_IO.
int slice_add_base(struct slice_writer *w, const void *bytes, size_t size);

// The next record, with its row or, when row->seq is 0, without. Sequence numbers follow on from
// base_seq. record->chain is filled in: it is the journal's own when all records since base_seq are
// as they were there. BOSKOS_E_NOSPACE, BOSKOS_E_NOMEM, BOSKOS_E_IO.
int slice_add(struct slice_writer *w, struct record *record, const struct journal_row *row);

// Makes the file whole, flushes it and gives it its name, unless somebody has taken that meanwhile
// (as in slice_begin). On an error nothing is left of it.
int slice_commit(struct slice_writer *w, struct journal_problem *problem);

// Removes what was written. NULL is nothing.
void slice_abort(struct slice_writer *w);

// ---- read -------------------------------------------------------------------
//
// The file is mapped, and may be of any origin: whatever its bytes are, they are checked before
// they are used, and nothing is read outside. Who cuts it while it is open ends the process
// (SIGBUS). Pages that were read are let go of, so that memory stays bounded.
struct slice;

// Opens a file and checks its header, its end, the snapshot's content and the index; records are
// checked as they are read. BOSKOS_E_NOT_FOUND; BOSKOS_E_MALFORMED: it is no exported file;
// BOSKOS_E_CORRUPT: damaged, cut short or with bytes behind its end; BOSKOS_E_TOO_NEW,
// BOSKOS_E_READ_ONLY (it may not be read), BOSKOS_E_NOMEM, BOSKOS_E_IO.
int slice_open(const char *path, struct slice **ret_slice, struct journal_problem *problem);

// After every cursor of it. NULL is nothing.
void slice_close(struct slice *s);

// Borrowed until slice_close, as are the texts.
const struct slice_about *slice_about(const struct slice *s);

// The snapshot's content; empty with base_seq 0. The next opened cursor lets go of its pages; the
// text stays good.
struct text slice_base(const struct slice *s);

// Reads records in order from any on, without reading all before it: at most 4095, which are
// checked on the way.
struct slice_cursor;

// `from` lies from base_seq + 1 to last_seq + 1, else BOSKOS_E_NOT_FOUND. Otherwise as
// slice_cursor_next, for the records that are passed over. BOSKOS_E_NOMEM.
int slice_cursor_open(struct slice *s, uint64_t from, struct slice_cursor **ret_cursor,
                      struct journal_problem *problem);
void slice_cursor_close(struct slice_cursor *c);

// The next record and its row (row.seq 0: it has none). Both are borrowed until the next call.
// BOSKOS_E_NOT_FOUND behind the last one (then `problem` is not written). BOSKOS_E_CORRUPT: a size,
// a checksum or a form that does not fit, of the record or of its row; BOSKOS_E_TOO_NEW: a record
// of a newer format; BOSKOS_E_NOMEM. Every further call finds the same.
int slice_cursor_next(struct slice_cursor *c, struct record *ret_record,
                      struct journal_row *ret_row, struct journal_problem *problem);

#endif
