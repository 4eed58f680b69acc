// client/cleaner/cleaner.h
//
// What the parts of boskos-cleaner share.
#ifndef CLIENT_CLEANER_CLEANER_H
#define CLIENT_CLEANER_CLEANER_H

#include "client/watched.h"

#define CLEANER_COUNT_MAX 256u
#define CLEANER_OWED_MAX 100000u
#define CLEANER_STATE "toBeDeleted"

// A release that was refused, for a reason that may pass.
struct owed {
    char *name;
    const char *dest; // static
};

struct cleaner {
    struct program program;
    struct watched file;       // --config; path NULL: none
    struct program_list given; // --resource-type
    struct text *statics;      // the config's names, sorted, borrowed from the config
    size_t statics_count;
    struct program_list known; // types that are dynamic in the config, or were once
    bool cannot_list;          // when it was last asked the server was not boskosd
    bool could_list;           // it was, once
    uint64_t count;            // cleaned at a time
    int64_t period_ns;
    bool is_once;

    pthread_mutex_t lock; // of what follows
    struct owed *owed;
    size_t owed_count;
};

// ---- types.c: where to look ----

// Looks whether the config has changed. 0, or PROGRAM_FAILED while there is none, which was said.
int cleaner_refresh(struct cleaner *c);
void cleaner_release(struct cleaner *c);

// Is the name one of the config's? Then it is no dynamic resource.
bool cleaner_is_static(const struct cleaner *c, const char *name);

// The types to look at in this round: at boskosd those that have something to be deleted, else all
// that may. Returns 0, or the code of what went wrong, which was said. Free with
// program_list_free.
int cleaner_types(struct cleaner *c, struct program_list *ret_types);

// ---- clean.c ----

// Cleans all of a type that is to be deleted. False when a part of it failed, which was said.
bool cleaner_clean(struct cleaner *c, const char *type);

// Tries again what is owed. False when something still is. Not while cleaner_clean runs.
bool cleaner_pay(struct cleaner *c);

#endif
