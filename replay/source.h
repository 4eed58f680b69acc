// replay/source.h
//
// Where the past is read from: a data folder, whoever else has it, or an exported file. It finds
// snapshots and records, and says how far back they reach; what they mean is the state machine's.
//
// One thread. Nothing here prints.
#ifndef REPLAY_SOURCE_H
#define REPLAY_SOURCE_H

#include "journal/journal.h"
#include "statemachine/state_machine.h"

struct source; // opaque

struct source_options {
    const char *data_dir; // the folder that holds `journal`,
    const char *file;     // or an exported file, where that is not NULL
    // As in journal_options. `noticed` also hears of damaged snapshots that are passed over.
    void (*damaged)(void *context, const char *why);
    void (*noticed)(void *context, const char *what);
    void *context;
};

// Opens it only to be read. Errors are those of journal_open_read. Returned, caller frees.
int source_open(const struct source_options *options, struct source **ret_source,
                struct journal_problem *problem);
void source_close(struct source *s);

// How far the past reaches. The state after each command from `oldest` to `last` can be shown, and
// the commands after `oldest`.
struct source_span {
    uint64_t oldest, oldest_time_ns; // both 0: from before the first command on
    uint64_t last, last_time_ns;     // 0 when there is none
};

// As it is now: while a daemon has the folder both ends move.
int source_look(struct source *s, struct source_span *ret_span, struct journal_problem *problem);

// The journal of a data folder; NULL for an exported file.
struct journal *source_journal(struct source *s);

// The folder or the file, as it was named.
const char *source_name(const struct source *s);

// Has a daemon the folder, by the last read?
bool source_is_held(const struct source *s);

// The tail witness of a folder when it was opened; of an exported file, which has none, as of a
// folder that a daemon has.
enum journal_witness source_witness(const struct source *s);

// The sequence numbers of the states that replaying can begin with, oldest first; `oldest` of the
// span among them. Returned, caller frees with free().
int source_bases(struct source *s, uint64_t **ret_seqs, size_t *ret_count,
                 struct journal_problem *problem);

// The newest state at or before `most` that replaying can begin with. A damaged snapshot is passed
// over, and said. BOSKOS_E_TRIMMED when there is none any more; BOSKOS_E_CORRUPT when only damaged
// ones are left. *ret_chain is the checksum that the next record follows. The state is returned,
// caller frees.
int source_load(struct source *s, uint64_t most, struct sm **ret_sm, struct hash128 *ret_chain,
                struct journal_problem *problem);

// The state of one snapshot, as recovery_load_snapshot and recovery_check_belongs.
int source_load_snapshot(struct source *s, uint64_t seq, struct sm **ret_sm,
                         struct hash128 *ret_chain, struct journal_problem *problem);

// The bytes of a snapshot, as journal_snapshot_open, which end with source_snapshot_close.
int source_snapshot_open(struct source *s, uint64_t seq, struct text *ret_bytes,
                         struct journal_snapshot_map **ret_map, struct journal_problem *problem);
void source_snapshot_close(struct journal_snapshot_map *map);

// The last command whose time is not after `time_ns`; 0 when all that are kept are later.
int source_find_time(struct source *s, uint64_t time_ns, uint64_t *ret_seq,
                     struct journal_problem *problem);

// Records in order, with all the checks of journal_cursor_next, whose errors these are.
struct source_cursor;
int source_cursor_open(struct source *s, uint64_t from, const struct hash128 *before,
                       struct source_cursor **ret_cursor, struct journal_problem *problem);
void source_cursor_close(struct source_cursor *c);
// As recovery_expect.
void source_cursor_expect(const struct source_cursor *c, const struct sm *sm);
int source_cursor_next(struct source_cursor *c, struct record *ret_record,
                       struct journal_row *ret_row, struct journal_problem *problem);

// ---- what it is made of -------------------------------------------------------

// The first record there is: the log may begin before the oldest state.
uint64_t source_first(const struct source *s);

// All snapshots, oldest first, also those that nothing can begin with. Returned, caller frees.
int source_snapshots(struct source *s, uint64_t **ret_seqs, size_t *ret_count,
                     struct journal_problem *problem);

// What a snapshot says of itself. Errors are those of journal_snapshot_about.
int source_snapshot_about(struct source *s, uint64_t seq, struct journal_snapshot *ret_about,
                          struct journal_problem *problem);

// Sizes; of an exported file its own.
void source_figures(struct source *s, struct journal_figures *ret_figures);

// Appends the version of the program that made it.
int source_created_by(struct source *s, struct buffer *out, struct journal_problem *problem);

// SLICE_...: what was done to an exported file; 0 for a folder.
uint32_t source_flags(const struct source *s);

#endif
