// engine/salvage.h
//
// What repair's child processes do: read a damaged journal record by record, replay and compare it,
// and copy what is good into another one. What they find stands in memory they share with their
// parent, so that it is there when a damaged page has ended one of them. Private to this folder.
#ifndef ENGINE_SALVAGE_H
#define ENGINE_SALVAGE_H

#include "engine/repair.h"
#include "journal/journal.h"

enum salvage_snapshot { SNAPSHOT_UNKNOWN, SNAPSHOT_GOOD, SNAPSHOT_BAD };

// In shared memory.
struct salvage_found {
    bool is_finished; // the child was not ended by what it read
    int err;
    struct journal_problem problem;
    uint64_t first, last; // of the log's numbers, as far as they were found
    struct record at;     // how far a walk came: number, time, checksum
    bool is_other_result; // it ended at a record that gives another result than the stored one
    uint64_t row_missing; // the first record without a result before one with a result, 0: none
    bool is_other_witness;
    uint8_t snapshots[JOURNAL_SNAPSHOTS_MAX]; // enum salvage_snapshot, in the order of `seqs`
};

struct salvage {
    const struct engine_repair_options *options;
    struct journal *journal;
    struct salvage_found *found;
    uint64_t *seqs; // of the snapshots, oldest first
    size_t seqs_count;
    struct record witness; // seq 0: none

    // A walk begins with this snapshot (0: with nothing) and ends after this record at the latest.
    uint64_t from, to;
    uint64_t rows_before; // results from here on are not read, but made anew
    const char *why;      // what was found damaged, and the last number that is known to be lost,
    uint64_t lost_last;   // for the record of the cut
};

// Each runs in a child and returns what stands in found->err: an error of the journal's, or
// BOSKOS_E_CORRUPT when the child was ended by what it read.

// Finds the ends of the log.
int salvage_ends(struct salvage *s);
// Looks through the pages of data.mdb.
int salvage_pages(struct salvage *s);
// Walks until it goes no further.
int salvage_walk(struct salvage *s);
// Walks up to `to`, and writes what it walked through, its good snapshots and the command
// `repaired` into a new journal, which is whole when this returns 0.
int salvage_cut(struct salvage *s);

#endif
