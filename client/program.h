// client/program.h
//
// What the programs around the server share: the flags all of them have, their log, signals, the
// client that speaks to the server, and how they end. A program is its table of flags and its
// work; see the example at the end.
//
// One thread, the main one, but for program_log, program_call, program_sleep, program_is_ending and
// the times, which any may call.
#ifndef CLIENT_PROGRAM_H
#define CLIENT_PROGRAM_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/cli.h"
#include "base/log.h"
#include "client/boskos.h"

#define PROGRAM_WHY_BYTES 1024u
#define PROGRAM_LIST_MAX 1024u // values of a list on the command line

// Exit codes.
enum {
    PROGRAM_OK = 0,
    PROGRAM_FAILED = 1, // the server or the surroundings
    PROGRAM_USAGE = 2,  // the command line
};

// The flags all have. Their numbers are above any of a program's own.
enum {
    PROGRAM_FLAG_URL = 1000,
    PROGRAM_FLAG_USERNAME,
    PROGRAM_FLAG_PASSWORD_FILE,
    PROGRAM_FLAG_TOKEN_FILE,
    PROGRAM_FLAG_CA_FILE,
    PROGRAM_FLAG_OWNER,
    PROGRAM_FLAG_REQUEST_TIMEOUT,
    PROGRAM_FLAG_LOG_LEVEL,
    PROGRAM_FLAG_LOG_FORMAT,
    PROGRAM_FLAG_HELP,
    PROGRAM_FLAG_VERSION,
};

// Rows for a program's table of flags. Not in it: --owner, and the URL's flag, which has two names.
#define PROGRAM_FLAGS                                                                            \
    {"username", CLI_VALUE, PROGRAM_FLAG_USERNAME},                                              \
        {"password-file", CLI_VALUE, PROGRAM_FLAG_PASSWORD_FILE},                                \
        {"token-file", CLI_VALUE, PROGRAM_FLAG_TOKEN_FILE},                                      \
        {"ca-file", CLI_VALUE, PROGRAM_FLAG_CA_FILE},                                            \
        {"log-level", CLI_VALUE, PROGRAM_FLAG_LOG_LEVEL},                                        \
        {"log-format", CLI_VALUE, PROGRAM_FLAG_LOG_FORMAT}, {"h", CLI_ALONE, PROGRAM_FLAG_HELP}, \
        {"help", CLI_ALONE, PROGRAM_FLAG_HELP},                                                  \
    {                                                                                            \
        "version", CLI_ALONE, PROGRAM_FLAG_VERSION                                               \
    }

// For programs that somebody waits for. The others have limits of their own.
#define PROGRAM_REQUEST_TIMEOUT_FLAG                               \
    {                                                              \
        "request-timeout", CLI_VALUE, PROGRAM_FLAG_REQUEST_TIMEOUT \
    }

// The same with --boskos-url, as all but boskosctl have it.
#define PROGRAM_DAEMON_FLAGS {"boskos-url", CLI_VALUE, PROGRAM_FLAG_URL}, PROGRAM_FLAGS

// Their lines in a help text.
#define PROGRAM_DAEMON_HELP                                                               \
    "  --boskos-url URL         the server (http://boskos)\n"                             \
    "  --username NAME          basic authentication, with --password-file\n"             \
    "  --password-file FILE     its content is the password; read anew when it changes\n" \
    "  --token-file FILE        a bearer token, in place of the two\n"                    \
    "  --ca-file FILE           certificates to trust, in place of the system's\n"        \
    "  --log-level LEVEL        panic fatal error warning info debug trace (info)\n"      \
    "  --log-format FORMAT      text or json (text)\n"                                    \
    "  --help, --version\n"

struct program {
    const char *name;  // "boskos-reaper"
    const char *help;  // what --help prints
    const char *owner; // of what it does; may be given by a flag

    // Of the command line:
    const char *url; // "http://boskos" unless set
    const char *username, *password_file, *token_file, *ca_file;
    struct log log;

    struct boskos_options options; // with which program_start makes the client: may be changed
    struct boskos_client *client;  // after program_start
    struct boskos_cancel *stop;    // set by SIGTERM and SIGINT; give it to calls
    int64_t end_within_ms;         // set before program_start: see program_time_left_ms
    struct cli cli;
    char why[PROGRAM_WHY_BYTES];

    // Signals are blocked from program_start on, in all threads. What is started gets
    // signals_before as its mask.
    sigset_t signals; // those that end it
    sigset_t signals_before;
    bool sees_signals; // set before program_start: the program itself waits for them
    atomic_int signal;
    _Atomic int64_t ending_ms; // when the signal came
    int signal_fd, watch_end_fd;
    bool has_watch;
    pthread_t watch;
};

// A flag of the program's own; a word when flag is NULL. False after cli_wrong(&p->cli, ...).
typedef bool program_argument(struct program *p, const struct cli_argument *argument,
                              void *context);

// Fills in the defaults.
void program_init(struct program *p, const char *name, const char *owner, const char *help);

// Reads the command line. True to go on; false to end with *ret_code: after --help and --version,
// and after what is wrong was said.
bool program_read(struct program *p, int argc, char **argv, const struct cli_flag *flags,
                  program_argument *argument, void *context, int *ret_code);

// Says what is wrong with the command line as a whole. Returns PROGRAM_USAGE.
int program_usage(struct program *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Makes ready: signals, then the client. Returns 0, or an exit code after it was said why.
int program_start(struct program *p);

// Ends: settles what is in doubt, and frees. Returns `code`. Also after a program_start that
// failed.
int program_end(struct program *p, int code);

// Has SIGTERM or SIGINT come? Which one: 0 for none.
bool program_is_ending(const struct program *p);
int program_signal(const struct program *p);

// Waits. False as soon as the program is to end.
bool program_sleep(const struct program *p, int64_t ms);

// The monotonic clock.
int64_t program_now_ms(void);

// A duration of the command line, at least 1: what is shorter does not become none at all.
int64_t program_ms(int64_t ns);

// What is left of end_within_ms after the signal, for giving back what the program has: INT64_MAX
// while it is not to end, 0 when the time is up.
int64_t program_time_left_ms(const struct program *p);

// A line in the log at a level. The text is a format's.
void program_log(const struct program *p, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// One line on stderr that says why the program, or this part of it, failed. Returns PROGRAM_FAILED.
int program_fail(struct program *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

// A call that is cancelled when the program is to end.
struct boskos_call program_call(const struct program *p);

// A copy, with a NUL behind it; the caller's, who frees it.
char *program_copy(const char *bytes, size_t size);

// Values apart by commas, as `--resource-type a,b`; empty ones do not count. The copies are the
// caller's, who frees with program_list_free.
struct program_list {
    char **items;
    size_t count;
};
bool program_list_add(struct program *p, const char *flag, const char *value,
                      struct program_list *list);
void program_list_free(struct program_list *list);
bool program_list_has(const struct program_list *list, struct text item);
void program_list_put(struct program_list *list, struct text item);      // a copy
void program_list_put_once(struct program_list *list, struct text item); // unless it is there

// Example, a program that says every period how many resources of its types are dirty:
//
//     static const struct cli_flag flags[] = {
//         {"resource-type", CLI_VALUE, TYPES}, PROGRAM_DAEMON_FLAGS, {NULL, CLI_ALONE, 0}};
//
//     static bool argument(struct program *p, const struct cli_argument *a, void *context)
//     {
//         if (a->flag == NULL) return cli_wrong(&p->cli, "\"%s\": takes no words", a->text);
//         return program_list_add(p, a->flag->name, a->value, context);
//     }
//
//     int main(int argc, char **argv)
//     {
//         struct program p;
//         struct program_list types = {0};
//         int code;
//         program_init(&p, "boskos-example", "example", help);
//         if (!program_read(&p, argc, argv, flags, argument, &types, &code)) return code;
//         if (types.count == 0) return program_usage(&p, "--resource-type must be set");
//         code = program_start(&p);
//         while (code == 0 && !program_is_ending(&p)) {
//             for (size_t i = 0; i < types.count; i++) look(&p, types.items[i]);
//             (void)program_sleep(&p, 60000);
//         }
//         program_list_free(&types);
//         return program_end(&p, code);
//     }

#endif
