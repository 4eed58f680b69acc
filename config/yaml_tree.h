// config/yaml_tree.h
//
// The first document of a YAML text as a tree of nodes, and what the scalars in it mean. It does
// not know what a config is. Anchors and aliases are resolved, merge keys are when a mapping is
// laid flat.
//
// The limits hold for the tree with every alias expanded, so whoever walks it needs no further
// ones: collections nest at most CONFIG_DEPTH_MAX deep and there are at most CONFIG_NODES_MAX
// nodes. Nothing is really expanded. One scalar may still be very long and stand in very many
// places: look at its size before going through its bytes.
//
// Private to this folder. Not thread-safe; each tree has one owner.
#ifndef CONFIG_YAML_TREE_H
#define CONFIG_YAML_TREE_H

#include "config/arena.h"
#include "config/report.h"

enum yaml_kind { YAML_SCALAR, YAML_SEQUENCE, YAML_MAPPING, YAML_ALIAS };

struct yaml_node {
    struct yaml_node *next; // in the same collection; a mapping has key, value, key, value...
    union {
        struct text text; // scalar
        struct {
            struct yaml_node *first;
            uint32_t count; // children, keys and values counted each
        };
        struct yaml_node *target; // alias: never an alias itself
    };
    uint32_t line;     // from 1
    uint32_t expanded; // nodes in it, itself included, with aliases expanded
    uint8_t kind;      // enum yaml_kind
    uint8_t depth;     // of collections, with aliases expanded; 0 for a scalar
    bool plain;        // scalar: written so that it may be a number, a boolean or null
    bool open;         // collection: its end has not been read
    bool seen;         // for whoever walks the tree
};

// Builds the tree; nodes and texts lie in the two arenas. *ret_root is NULL when there is no
// document. BOSKOS_E_MALFORMED or BOSKOS_E_TOO_LARGE when there is an error, which is then in the
// report, alone.
int config_yaml_build(struct text yaml, struct arena *nodes, struct arena *texts, struct report *r,
                      struct yaml_node **ret_root);

// What the node stands for: itself, or an alias's target.
static inline struct yaml_node *config_yaml_resolve(struct yaml_node *n)
{
    return n->kind == YAML_ALIAS ? n->target : n;
}

// The functions below take resolved nodes.

// Null as Boskos's YAML library has it: `~`, `null`, or nothing.
bool config_yaml_is_null(const struct yaml_node *n);

// Integers as Boskos's YAML and JSON libraries together take them: decimal, 0x, 0o, 0b, octal after
// a zero, underscores, and decimals whose value is whole. False for anything else and beyond int64.
bool config_yaml_int(const struct yaml_node *n, int64_t *ret_number);

// true, yes, on, y, false, no, off, n, in small, capital or all capital letters.
bool config_yaml_bool(const struct yaml_node *n, bool *ret_value);

struct yaml_pair {
    struct yaml_node *key;   // a scalar
    struct yaml_node *value; // resolved
    uint32_t source;         // 0 for the mapping itself, then those merged into it, as they count
    uint32_t index;          // in the list
};

// A list of pairs to be used again and again; zero it first, release it last.
struct yaml_pairs {
    struct yaml_pair *items;
    size_t count, size;
    struct yaml_node **pending;
    size_t pending_count, pending_size;
};

void config_yaml_pairs_release(struct yaml_pairs *pairs);

// Lists the pairs of a mapping and of what is merged into it. Of equal keys the one with the lowest
// source counts, and within a source the last. Keys that are no scalars are a warning, merged
// values that are no mappings an error. False when there was such an error.
bool config_yaml_flatten(struct yaml_node *map, struct yaml_pairs *pairs, struct report *r);

#endif
