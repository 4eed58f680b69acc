// engine/import.h
//
// Begins a journal with what another Boskos had: one `import` command in a data folder that has no
// command yet. It does not serve, and nobody else may have the folder. One thread.
#ifndef ENGINE_IMPORT_H
#define ENGINE_IMPORT_H

#include <stddef.h>

#include "base/clock.h"
#include "statemachine/state_machine.h"

struct engine_import_options {
    const char *data_dir;
    uint64_t map_bytes; // 0: the journal's default
    struct clock clock;
    // LMDB met a damaged page: must end the process. As in journal_options.
    void (*damaged)(void *context, const char *why);
    void (*noticed)(void *context, const char *what); // loud lines, as there
    void *context;
};

// Appends the command, durably, or nothing at all. On an error `why` has one line that says what is
// wrong and what to do, and *ret_exit_code the exit code it deserves: 1 for surroundings (the
// folder has commands already, lock, space), 4 for damage, 5 for no memory.
int engine_import(const struct engine_import_options *options, const struct command_import *import,
                  char *why, size_t why_size, int *ret_exit_code);

#endif
