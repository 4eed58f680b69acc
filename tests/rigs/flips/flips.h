// tests/rigs/flips/flips.h
//
// The rig of damage: make.c makes a journal with everything in it, flips.c damages copies of it,
// and recover.c is what a start of the daemon does, with a look at all that it found. Each runs in
// a process of its own.
#ifndef TESTS_RIGS_FLIPS_FLIPS_H
#define TESTS_RIGS_FLIPS_FLIPS_H

#include "engine/internal.h"

#define PATH_BYTES 512
#define OLD_VERSIONS 3 // folders of earlier moments beside the last one

// What a start finds and what comes of going on from there: equal numbers are an equal past.
struct found {
    uint64_t seq, first;
    struct hash128 digest, log;
    uint64_t after_seq;
    struct hash128 after_digest, after_log;
};

// Engine options for a folder, with a clock that stands at `minute`; NULL config for none.
void flips_options(struct engine_options *o, const char *dir, const char *config, uint64_t minute);

// Makes the journal in `dir`/0 and copies of it at earlier moments in `dir`/1 and so on, the oldest
// last; `leases` are taken and given back between two of them. Ends the process when it cannot.
void flips_make(const char *dir, int leases);

// Hands one command to a running engine and waits until it was done.
void flips_submit(struct engine *e, struct command *c);

// Copies DIR/journal and its files, without what is empty at their ends.
void flips_copy(const char *from, const char *to);

// Recovers `dir`, reads everything, goes on for some commands, ends, and recovers once more. Ends
// the process with the exit code the daemon would have, after a line that says why.
void flips_recover(const char *dir, struct found *ret_found);

#endif
