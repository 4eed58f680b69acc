// boskos-replay: reads the command line, opens the past, runs one command, says how it ended.
// Nothing else.
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cli.h"
#include "base/time.h"
#include "replay/damage.h"
#include "replay/replay.h"

#include "base/banned.h"

#define PROGRAM "boskos-replay"
#define WHY_BYTES 1024u
#define FAULT_BYTES 1024u
#define ABANDON_SECONDS 10u
#define FAULT_JSON_BYTES (8u * 4096) // a path twice, all of it escaped

// What a memory fault says, and what verify --json says of one: there may be no memory to make it
// in then.
static char fault_line[FAULT_BYTES];
static char fault_json[FAULT_JSON_BYTES];
static struct replay *running;

static void abandon(struct replay *r)
{
    void (*remove)(void *) = r->abandon;
    r->abandon = NULL;
    if (remove != NULL) remove(r->abandon_context);
}

static void end_for_another(int number)
{
    (void)number;
    _exit(4);
}

// The fault is in reading what is mapped: all else is as it should be, and what is half made can be
// removed. Should that meet another one, or take long, it stays.
static void end_for_fault(int number)
{
    (void)number;
    ssize_t ignored = write(STDERR_FILENO, fault_line, strlen(fault_line));
    (void)ignored;
    ignored = write(STDOUT_FILENO, fault_json, strlen(fault_json));
    (void)ignored;
    struct sigaction another = {.sa_handler = end_for_another, .sa_flags = (int)SA_NODEFER};
    (void)sigaction(SIGBUS, &another, NULL);
    (void)sigaction(SIGSEGV, &another, NULL);
    (void)sigaction(SIGALRM, &another, NULL);
    (void)alarm(ABANDON_SECONDS);
    abandon(running);
    _exit(4);
}

// Its answer is what is damaged, where something is.
static bool says_damage(const struct options *o)
{
    return o->command == REPLAY_VERIFY && o->json;
}

// LMDB reads data.mdb as memory: a file that was cut short or has wrong numbers in its pages shows
// as a fault.
static void watch_faults(const struct options *o)
{
    struct journal_problem problem = {0};
    (void)snprintf(problem.text, sizeof(problem.text),
                   "%.400s%s is damaged or was cut short, or its disk fails",
                   o->file != NULL ? o->file : o->data_dir,
                   o->file != NULL ? "" : "/journal/data.mdb");
    (void)snprintf(fault_line, sizeof(fault_line), PROGRAM ": %s\n", problem.text);
    if (says_damage(o)) {
        struct output out = {0};
        buffer_init(&out.line);
        damage_json(&out, o, &problem);
        if (out.line.size < sizeof(fault_json)) memcpy(fault_json, out.line.data, out.line.size);
        buffer_release(&out.line);
    }
    struct sigaction action = {.sa_handler = end_for_fault, .sa_flags = (int)SA_NODEFER};
    (void)sigaction(SIGBUS, &action, NULL);
    (void)sigaction(SIGSEGV, &action, NULL);
}

static void end_for_damage(void *context, const char *why)
{
    struct replay *r = context;
    progress_end(&r->progress);
    cli_complain(PROGRAM, "%s", why);
    if (says_damage(r->options)) {
        (void)replay_fail(r, BOSKOS_E_CORRUPT, "%s", why);
        damage_json(&r->out, r->options, &r->problem);
        (void)output_close(&r->out);
    }
    abandon(r);
    _exit(4);
}

static void say_noticed(void *context, const char *what)
{
    struct replay *r = context;
    progress_end(&r->progress);
    cli_complain(PROGRAM, "%s", what);
}

static int exit_code_of(int err)
{
    switch ((enum boskos_error)err) {
    case BOSKOS_OK: return 0;
    case BOSKOS_E_TRIMMED: return 3;
    case BOSKOS_E_CORRUPT:
    case BOSKOS_E_TOO_NEW: return 4; // a damaged version number looks the same
    case BOSKOS_E_NOMEM: return 5;
    case BOSKOS_E_IO:
    case BOSKOS_E_NOSPACE:
    case BOSKOS_E_NOT_FOUND:
    case BOSKOS_E_LOCKED:
    case BOSKOS_E_READ_ONLY:
    case BOSKOS_E_MALFORMED:
    case BOSKOS_E_TOO_LARGE:
    case BOSKOS_E_STOPPED:
    case BOSKOS_E_IN_USE: break;
    }
    return 1;
}

// The points that are kept may have changed since the start.
static void say_compacted(struct replay *r)
{
    char text[TIME_TEXT_BYTES];
    struct source_span span = r->span;
    struct journal_problem problem = {0};
    if (source_look(r->source, &span, &problem) != 0) span = r->span;
    (void)time_format_nano(span.oldest_time_ns, text);
    cli_complain(PROGRAM, "%s; compacted: oldest is %" PRIu64 " at %s", r->problem.text,
                 span.oldest, text);
}

static int run(struct replay *r)
{
    switch (r->options->command) {
    case REPLAY_INFO: return replay_info(r);
    case REPLAY_LOG: return replay_log(r);
    case REPLAY_SHOW: return replay_show(r);
    case REPLAY_WHO: return replay_who(r);
    case REPLAY_HELD_BY: return replay_held_by(r);
    case REPLAY_DIFF: return replay_diff(r);
    case REPLAY_WHY: return replay_why(r);
    case REPLAY_USAGE: return replay_usage(r);
    case REPLAY_VERIFY: return replay_verify(r);
    case REPLAY_BISECT: return replay_bisect(r);
    case REPLAY_EXPORT: return replay_export(r);
    case REPLAY_BACKUP: return replay_backup(r);
    }
    return BOSKOS_E_NOT_FOUND;
}

static int open_and_run(struct replay *r)
{
    struct source_options options = {.data_dir = r->options->data_dir,
                                     .file = r->options->file,
                                     .damaged = end_for_damage,
                                     .noticed = say_noticed,
                                     .context = r};
    progress_init(&r->progress);
    r->report = (struct walk_report){progress_said, &r->progress};
    output_init(&r->out, &r->progress);
    int err = source_open(&options, &r->source, &r->problem);
    if (err == 0) err = source_look(r->source, &r->span, &r->problem);
    if (err == 0) err = run(r);
    progress_end(&r->progress);
    if (exit_code_of(err) == 4 && says_damage(r->options) && !r->is_damage_said)
        damage_json(&r->out, r->options, &r->problem);
    if (output_close(&r->out) != 0 && err == 0)
        err = replay_fail(r, BOSKOS_E_IO, "cannot write to stdout: %s", strerror(errno));
    if (err == BOSKOS_E_TRIMMED)
        say_compacted(r);
    else if (err != 0)
        cli_complain(PROGRAM, "%s", r->problem.text);
    source_close(r->source);
    return r->is_backwards ? 2 : exit_code_of(err);
}

int main(int argc, char **argv)
{
    char why[WHY_BYTES];
    struct options options;
    struct replay replay = {.options = &options};
    enum replay_command command;
    switch (options_read(argc, argv, &options, why, sizeof(why))) {
    case OPTIONS_RUN: break;
    case OPTIONS_HELP:
        if (options.arguments[0] != NULL && options_command_find(options.arguments[0], &command))
            return print_command_help(command);
        return print_help();
    case OPTIONS_VERSION: return cli_print(PROGRAM, TEXT(PROGRAM " " BOSKOSD_VERSION "\n"));
    case OPTIONS_WRONG: cli_complain(PROGRAM, "%s", why); return 2;
    }
    running = &replay;
    watch_faults(&options);
    (void)signal(SIGXFSZ, SIG_IGN); // a limit on file sizes is a full disk
    return open_and_run(&replay);
}
