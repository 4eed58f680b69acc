// client/watched.h
//
// A configuration file that programs follow while they run, and the types of resources that
// --resource-type and --resource-type-from-config name.
//
// The file is looked at when it is asked for, which programs do before each round: a change counts
// from the next round on. A bad file changes nothing: what was read before stays in force.
//
// One thread.
#ifndef CLIENT_WATCHED_H
#define CLIENT_WATCHED_H

#include <sys/types.h>

#include "client/program.h"
#include "config/config.h"

struct watched {
    const char *path;      // borrowed
    struct config *config; // in force; NULL before the first good one
    // Of the file that was looked at last:
    bool was_seen, is_bad;
    int64_t mtime_ns, size;
    uint64_t inode, device;
};

// Reads the file if it has changed. What is wrong is said in the log, once for each change.
// *ret_is_new: there is another config in force than before. Returns 0, or PROGRAM_FAILED while
// there is none at all.
int watched_refresh(struct program *p, struct watched *w, bool *ret_is_new);
void watched_release(struct watched *w);

// ---- types ----

// Of the two flags. Zero but for what the command line says.
struct program_types {
    struct program_list given; // by --resource-type
    struct watched file;       // path NULL: no --resource-type-from-config
    // Both, each once, in their order: by program_types_refresh.
    struct program_list all;
    bool is_new; // the last one changed it
};

// The list as it is now, in types->all. Returns 0, or PROGRAM_FAILED when the file could never be
// read.
int program_types_refresh(struct program *p, struct program_types *types);
void program_types_free(struct program_types *types);

#endif
