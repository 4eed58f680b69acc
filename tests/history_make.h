// tests/history_make.h
//
// Random commands for histories: from small pools of names, so that collisions are common, and with
// a view of the model's state, so that most commands hit something. The same seed makes the same
// commands as long as the model comes to the same states. It refuses to know what a command comes
// to.
//
// Not thread-safe: a struct maker belongs to one thread.
#ifndef TESTS_HISTORY_MAKE_H
#define TESTS_HISTORY_MAKE_H

#include "base/clock.h"
#include "tests/model/model.h"

#define MAKER_ENTRIES_MAX 12u
#define MAKER_NAMES_MAX 32u
#define MAKER_PAIRS_MAX 8u
#define MAKER_IMPORTED_MAX 16u
#define MAKER_GAPS_MAX 60u // below SM_GAPS_MAX: beyond that the oldest are joined
#define MAKER_SEEN_MAX 16u // server-made names it remembers

struct maker {
    uint64_t random;
    const struct model *model; // borrowed
    uint64_t seq, now_ns;
    uint32_t gaps_count; // times slept through so far
    uint64_t woke_ns;    // the end of the last one
    char seen[MAKER_SEEN_MAX][40];
    uint32_t seen_count;

    // What the present command points to.
    struct sm_entry entries[MAKER_ENTRIES_MAX];
    struct text names[MAKER_NAMES_MAX];
    uint32_t names_count;
    struct text states[4];
    struct userdata_pair pairs[MAKER_PAIRS_MAX];
    struct sm_need needs[2];
    struct sm_imported imported[MAKER_IMPORTED_MAX];
    bool is_config_next; // after an import
    struct buffer joined;
};

void maker_init(struct maker *m, uint64_t seed, const struct model *model);
void maker_release(struct maker *m);

// A number below `bound`, which is above 0.
uint64_t maker_random(struct maker *m, uint64_t bound);

// The next command, with seq and time; its texts are borrowed from the maker and the model, until
// the next model_apply.
void maker_next(struct maker *m, struct command *ret_command);

// Appends the command on one line, for people.
void command_describe(const struct command *c, struct buffer *out);

#endif
