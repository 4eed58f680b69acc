#include "replay/tester.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "replay/state_json.h"

#include "base/banned.h"

#define SEQ_BYTES 24u

static int failed(struct journal_problem *problem, const char *what, int error)
{
    problem->seq = 0;
    (void)snprintf(problem->text, sizeof(problem->text), "%s: %s", what, strerror(error));
    return BOSKOS_E_IO;
}

// Starts it with `from_fd` as its stdin. Returns 0 or an errno.
static int start(const char *command, int from_fd, pid_t *ret_pid)
{
    char shell[] = "sh", option[] = "-c";
    char *arguments[] = {shell, option, NULL, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t defaults;
    arguments[2] = strdup(command); // argv is not const
    if (arguments[2] == NULL) return ENOMEM;
    (void)sigemptyset(&defaults);
    (void)sigaddset(&defaults, SIGPIPE);
    int error = posix_spawn_file_actions_init(&files);
    if (error != 0) goto out_arguments;
    error = posix_spawnattr_init(&attributes);
    if (error != 0) goto out_files;
    error = posix_spawn_file_actions_adddup2(&files, from_fd, STDIN_FILENO);
    if (error == 0) error = posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
    if (error == 0) error = posix_spawnattr_setsigdefault(&attributes, &defaults);
    if (error == 0) error = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    if (error == 0)
        error = posix_spawn(ret_pid, "/bin/sh", &files, &attributes, arguments, environ);
    (void)posix_spawnattr_destroy(&attributes);
out_files:
    (void)posix_spawn_file_actions_destroy(&files);
out_arguments:
    free(arguments[2]);
    return error;
}

// Writes the state to whom reads it. That nobody does, or no more, is no error.
static int write_state(struct sm *sm, int to_fd)
{
    FILE *file = fdopen(to_fd, "w");
    if (file == NULL) {
        (void)close(to_fd);
        return BOSKOS_E_IO;
    }
    struct output out = {.file = file};
    buffer_init(&out.line);
    int err = replay_state_json(&out, sm, &(struct sm_filter){0});
    (void)output_close(&out);
    (void)fclose(file);
    return err;
}

static int wait_for(pid_t pid, struct tester_end *ret_end, struct journal_problem *problem)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) return failed(problem, "cannot wait for the command", errno);
    }
    *ret_end = WIFSIGNALED(status) ? (struct tester_end){.signal = WTERMSIG(status)}
                                   : (struct tester_end){.code = WEXITSTATUS(status)};
    return 0;
}

int tester_run(const char *command, struct sm *sm, struct tester_end *ret_end,
               struct journal_problem *problem)
{
    char seq[SEQ_BYTES];
    int ends[2];
    pid_t pid = 0;
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
    (void)snprintf(seq, sizeof(seq), "%" PRIu64, sm_seq(sm));
    if (setenv("BOSKOS_SEQ", seq, 1) != 0) return failed(problem, "cannot set BOSKOS_SEQ", errno);
    if (pipe2(ends, O_CLOEXEC) != 0) return failed(problem, "cannot make a pipe", errno);
    (void)sigaction(SIGPIPE, &ignore, &before);
    int error = start(command, ends[0], &pid);
    (void)close(ends[0]);
    int err = 0;
    if (error != 0) {
        (void)close(ends[1]);
        err = failed(problem, "cannot start /bin/sh", error);
    } else {
        struct tester_end end = {0};
        int write_err = write_state(sm, ends[1]);
        err = wait_for(pid, &end, problem);
        if (err == 0 && write_err != 0) {
            err = write_err;
            (void)snprintf(problem->text, sizeof(problem->text),
                           "the state after command %s cannot be written as JSON", seq);
        }
        if (err == 0) *ret_end = end;
    }
    (void)sigaction(SIGPIPE, &before, NULL);
    return err;
}
