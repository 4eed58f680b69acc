// replay/walk.h
//
// A walk through the past: a state that is made again from a snapshot and the records after it, one
// command at a time, by the daemon's own recovery code. Every stored result is compared on the way.
//
// One thread. Nothing here prints.
#ifndef REPLAY_WALK_H
#define REPLAY_WALK_H

#include "engine/recovery.h"
#include "replay/source.h"

struct walk; // opaque

// The next command, and, once it is applied, what it came to. Borrowed from the walk until the next
// walk_peek, walk_next or walk_to; the result also from the state, as sm_apply says.
struct walk_step {
    struct record record;
    struct journal_row row; // seq 0: none is stored
    struct command command;
    struct sm_result result;
    enum replay_match match;
};

// Told now and then how many commands of how many are done.
struct walk_report {
    void (*done)(void *context, uint64_t done, uint64_t total);
    void *context;
};

// Begins with the newest base at or before command `at` and goes on to the state after it. `report`
// may be NULL. BOSKOS_E_TRIMMED, BOSKOS_E_NOT_FOUND (the log ends before), BOSKOS_E_CORRUPT and the
// other errors of source_load and source_cursor_next. Returned, caller frees.
int walk_open(struct source *s, uint64_t at, const struct walk_report *report,
              struct walk **ret_walk, struct journal_problem *problem);
void walk_close(struct walk *w);

// The same at the end of the process: a large state, whose parts take long to free one by one, is
// left to the system.
void walk_leave(struct walk *w);

// The state as it is now, borrowed. It must not be changed but by the walk.
struct sm *walk_state(struct walk *w);

// The same, given up: the caller frees it, and the walk must only be closed.
struct sm *walk_take_state(struct walk *w);

// The checksum of the record that the state is at; zeros before the first.
struct hash128 walk_chain(const struct walk *w);

// From now on walk_changes and walk_change say what each command changed.
void walk_trace(struct walk *w);

// The next command, which is not applied yet: the state is the one it meets. BOSKOS_E_NOT_FOUND at
// the end of the log: call again when more may have come.
int walk_peek(struct walk *w, const struct walk_step **ret_step, struct journal_problem *problem);

// Applies it (walk_peek need not come before). BOSKOS_E_CORRUPT when the result is another than the
// stored one; then *ret_step is written too, and says what differs.
int walk_next(struct walk *w, const struct walk_step **ret_step, struct journal_problem *problem);

// Goes on to the state after command `seq`, which is not before the present one.
int walk_to(struct walk *w, uint64_t seq, const struct walk_report *report,
            struct journal_problem *problem);

// What the last command changed, as sm_changes and sm_change. The caller asked for it by
// walk_trace.
uint32_t walk_changes(struct walk *w);
void walk_change(struct walk *w, uint32_t number, struct sm_change *ret_change);

// Results may be missing at the end of the log only: was one missing on the way before another? It
// is looked for once more, for beside a daemon it may have come after its record was read.
// BOSKOS_E_CORRUPT; the errors of source_cursor_next.
int walk_check_rows(struct walk *w, struct journal_problem *problem);

// The bytes of the row that the last command gives.
struct text walk_row_made(struct walk *w);

#endif
