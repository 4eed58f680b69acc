// config/read.h
//
// What reading a config and checking it share: config_read.c knows the form of the file,
// config_validate.c the rules. Messages name places as Boskos does: `.IDX.key`.
//
// Private to this folder.
#ifndef CONFIG_READ_H
#define CONFIG_READ_H

#include "config/text_table.h"
#include "config/yaml_tree.h"

// An entry while it is read: with what the rules need beside its meaning.
struct entry_draft {
    struct config_entry entry;
    size_t index;
    struct yaml_node *names_node;               // NULL without names; entry.names[i] is its child i
    struct yaml_node **needs_nodes;             // the keys of entry.needs
    uint32_t type_line, min_line, max_line;     // where these are, or the entry's line
    bool type_bad, names_bad, min_bad, max_bad; // there, but not to be read: an error is reported
};

// A type as the entries before have it.
struct type_use {
    struct text type; // first, for struct text_table
    bool exists;      // an entry has it
    int64_t count;    // names and max-counts; stays at the end of int64
    bool needed;
    bool needs_too_many; // the sum is beyond int64
    int64_t needs;
    uint32_t needs_line; // of the first need
};

struct checker {
    struct report *report;
    struct arena *memory;
    struct text_table names;
    struct text_table types;
    size_t types_needed;
    uint64_t made_count; // the sum of all min-count
    bool incomplete;     // an entry could not be read, so that what is missing may be in it
};

void config_checker_init(struct checker *c, struct arena *memory, struct report *r);
void config_checker_release(struct checker *c);

// Checks one entry, in the file's order; its texts are borrowed until config_checker_release.
void config_check_entry(struct checker *c, const struct entry_draft *d);

// Checks what only all entries together show.
void config_check_needs(struct checker *c);

#endif
