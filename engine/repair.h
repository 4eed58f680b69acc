// engine/repair.h
//
// Repair of a damaged journal: what can still be read of it is found, replayed and compared; on
// request it is cut after a good record, and becomes a journal of its own that takes the place of
// the damaged one, which is kept. It does not serve, and nobody else may have the folder.
//
// Reading happens in child processes: a damaged page may end one of them at any record. One thread;
// the calling process must have no other.
#ifndef ENGINE_REPAIR_H
#define ENGINE_REPAIR_H

#include <stddef.h>

#include "base/clock.h"

struct engine_repair_options {
    const char *data_dir;
    uint64_t map_bytes; // 0: the journal's default
    uint64_t cut_at;    // the last record to keep; 0: only look, and change nothing
    const char *version;
    const char *host;
    struct clock clock;
    void (*said)(void *context, const char *line);     // what was found and done, line by line
    void (*noticed)(void *context, const char *what);  // loud lines, as in journal_options
    void (*progress)(void *context, uint64_t records); // now and then, also in a child; or NULL
    void *context;
};

// Writes what is damaged, and what to run to see what can be kept.
void engine_repair_advise(const char *data_dir, const char *what, char *why, size_t why_size);

// Looks, and when asked cuts. On an error `why` has one line that says what is wrong and what to
// do, and *ret_exit_code the exit code it deserves: 1 when nothing can be done (lock, space, a
// cut_at that is not possible), 4 when the journal is damaged and was left as it is, which is what
// only looking at a damaged one gives.
int engine_repair(const struct engine_repair_options *options, char *why, size_t why_size,
                  int *ret_exit_code);

#endif
