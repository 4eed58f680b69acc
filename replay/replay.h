// replay/replay.h
//
// What the commands of boskos-replay share: the options, the source that is open, how far it
// reaches, and what is printed with. A command is one function in a file of its own. The keys of
// what they print with --json are in docs/API.md, `boskos-replay's JSON`.
//
// One thread. What goes wrong is returned with its line in `problem`; main prints it.
#ifndef REPLAY_REPLAY_H
#define REPLAY_REPLAY_H

#include "replay/options.h"
#include "replay/output.h"
#include "replay/walk.h"

struct replay {
    const struct options *options;
    struct source *source;
    struct source_span span; // as it was at the start
    struct output out;
    struct progress progress;
    struct walk_report report; // to the progress line
    struct journal_problem problem;
    bool is_backwards;   // --from is after --to, or --good after --bad: the command line is wrong
    bool is_damage_said; // as JSON, by verify

    // Removes what is half made, when damage ends the process right where it is met. NULL: nothing
    // is.
    void (*abandon)(void *context);
    void *abandon_context;
};

// Each returns 0 or a code of base/error.h, and then problem.text is the line to print.
// BOSKOS_E_NOT_FOUND: what was asked for is not there; BOSKOS_E_TRIMMED: it is no longer kept;
// BOSKOS_E_CORRUPT: damage; BOSKOS_E_IO: something else failed.
int replay_info(struct replay *r);
int replay_log(struct replay *r);
int replay_show(struct replay *r);
int replay_who(struct replay *r);
int replay_held_by(struct replay *r);
int replay_diff(struct replay *r);
int replay_why(struct replay *r);
int replay_usage(struct replay *r);
int replay_verify(struct replay *r);
int replay_bisect(struct replay *r);
int replay_export(struct replay *r);
int replay_backup(struct replay *r);

// Writes the problem's line, which is about no command, and returns `err`.
int replay_fail(struct replay *r, int err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// The stretch that --from and --to name: the commands from *ret_from to *ret_to, and the state
// before the first one is kept. Without --from it begins with the oldest that is kept, without --to
// it ends at the present end. *ret_from is *ret_to + 1 when there is none.
int replay_stretch(struct replay *r, uint64_t *ret_from, uint64_t *ret_to);

// Writes the line that a stretch ends before it begins, for exit code 2. BOSKOS_E_NOT_FOUND.
int replay_backwards(struct replay *r);

// What was done to an exported file with these flags (SLICE_..., journal/slice.h): for people, and
// what became of userdata.
const char *replay_export_kind(uint32_t flags);
const char *replay_userdata(uint32_t flags);

// Opens a walk at the state after command `at`, with progress.
int replay_walk(struct replay *r, uint64_t at, struct walk **ret_walk);

#endif
