// replay/options.h
//
// The command line of boskos-replay: general options, a command, its arguments and its options, in
// any order. One dash or two, `-flag value` or `-flag=value`; what begins with a dash and a digit
// is a point in time and no option.
#ifndef REPLAY_OPTIONS_H
#define REPLAY_OPTIONS_H

#include "replay/point.h"

#define ARGUMENTS_MAX 2u

enum replay_command {
    REPLAY_INFO,
    REPLAY_LOG,
    REPLAY_SHOW,
    REPLAY_WHO,
    REPLAY_HELD_BY,
    REPLAY_DIFF,
    REPLAY_WHY,
    REPLAY_USAGE,
    REPLAY_VERIFY,
    REPLAY_BISECT,
    REPLAY_EXPORT,
    REPLAY_BACKUP,
};
#define REPLAY_COMMANDS 12u

struct options {
    enum replay_command command;
    const char *arguments[ARGUMENTS_MAX];
    uint32_t arguments_count;

    const char *data_dir;
    const char *file; // in place of data_dir, or NULL
    bool json;

    struct point at, from, to, good, bad;
    const char *resource, *owner, *type, *state, *kind, *request; // NULL: not given
    const char *by;                                               // of usage
    const char *run, *invariant;                                  // of bisect
    const char *to_path;                                          // of export and backup
    bool refused, reverse, follow, redact, with_userdata, kubernetes;
};

// Is a text what an option names? Without the option any is.
static inline bool option_fits(const char *option, struct text t)
{
    return option == NULL || text_equal(text_from(option), t);
}

// What to do after reading the command line.
enum options_next { OPTIONS_RUN, OPTIONS_HELP, OPTIONS_VERSION, OPTIONS_WRONG };

// Reads the command line. With OPTIONS_WRONG `why` has one line that names what is wrong. With
// OPTIONS_HELP ret_options->arguments[0] is the command that help is wanted about, or NULL. The
// texts are borrowed from argv.
enum options_next options_read(int argc, char **argv, struct options *ret_options, char *why,
                               size_t why_size);

// "info" -> REPLAY_INFO. False when there is no such command.
bool options_command_find(const char *name, enum replay_command *ret_command);

// help.c: the general help, or that of a command. Each returns the exit code.
int print_help(void);
int print_command_help(enum replay_command command);

#endif
