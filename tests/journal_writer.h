// tests/journal_writer.h
//
// A process that writes a journal as it is told to: LMDB does not let one process have it open both
// to write and to read.
#ifndef TESTS_JOURNAL_WRITER_H
#define TESTS_JOURNAL_WRITER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum writer_order {
    OPEN,          // `number`: of bytes for the map, 0 for the usual ones
    APPEND,        // so many records, each with its row in the next transaction
    APPEND_LARGE,  // a record of so many bytes
    APPEND_TIME,   // a record of this time
    TRIM,          // to this record
    SNAPSHOT,      // of this record
    CLOSE,         // the journal
    COMPACT,       // it, closed
    LOCK,          // it, closed, without opening its log
    LOCK_AND_OPEN, // after so many ms
    REPAIR,        // it, closed, which leaves so many records
    COME_AND_GO,   // so often: open, append, maybe compact, close
    OPEN_AHEAD,    // as OPEN, with a write-ahead file of 64 KiB
    DRAIN,         // it
    RUN_AHEAD,     // so many batches with rows, now and then a large one, or a drain
    END,
};

struct writer {
    pid_t pid;
    int to, from;
    _Atomic uint64_t *acknowledged; // in memory of both: the last record that RUN_AHEAD appended
};

// Starts one for the data folder `dir`; nothing of the journal is opened yet. Before anything of it
// is opened here.
struct writer writer_start(const char *dir);

// Gives an order, and gets its answer: 0 or a code of base/error.h.
void writer_order(struct writer *w, enum writer_order order, uint64_t number);
int writer_answer(struct writer *w);
bool writer_has_answered(const struct writer *w); // without waiting

// Both, for what must not fail.
void must(struct writer *w, enum writer_order order, uint64_t number);

// Ends it in order, or by a signal that it cannot do anything about.
void writer_end(struct writer *w, bool is_killed);

#endif
