// boskosctl run: a command under a lease.
//
// The lease is acquired, kept alive, and given back on every way out: when the command ends, cannot
// be started, is killed, when we are asked to end, and when the lease is lost. Signals are passed
// on; those of a terminal reach the command by themselves.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buffer.h"
#include "client/boskosctl/ctl.h"

#include "base/banned.h"

// Exit codes beside the command's own, as those of env and timeout.
enum { RUN_FAILED = 125, RUN_NOT_EXECUTABLE = 126, RUN_NOT_FOUND = 127 };

static const int passed_on[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM};

struct run {
    struct ctl *ctl;
    struct boskos_resource *resource;
    struct boskos_resources *leased;
    struct boskos_cancel *lost; // by the heartbeats' thread
    int signal_fd;
    pid_t child;
    bool is_ended;
    int status; // of waitpid
    bool is_told;
    int64_t kill_at_ms; // 0: not
};

static void on_lost(void *context, const struct boskos_resource *resource, int code)
{
    struct run *r = context;
    cli_complain("boskosctl", "the lease of %s is lost: %s", resource->name,
                 boskos_code_text(code));
    boskos_cancel(r->lost);
}

// ---- the command ----------------------------------------------------------------

static bool set_environment(const struct run *r)
{
    struct buffer leased;
    char *json = boskos_resource_json(r->resource);
    buffer_init(&leased);
    for (size_t i = 0; r->leased != NULL && i < r->leased->count; i++)
        buffer_format(&leased, "%s%s", i > 0 ? " " : "", r->leased->items[i]->name);
    buffer_char(&leased, '\0');
    bool is_good = setenv("BOSKOS_RESOURCE", json, 1) == 0 &&
                   setenv("BOSKOS_RESOURCE_NAME", r->resource->name, 1) == 0 &&
                   setenv("BOSKOS_RESOURCE_TYPE", r->resource->type, 1) == 0 &&
                   setenv("BOSKOS_RESOURCE_STATE", r->resource->state, 1) == 0 &&
                   setenv("BOSKOS_RESOURCE_OWNER", r->resource->owner, 1) == 0 &&
                   setenv("BOSKOS_LEASED_RESOURCES", leased.data, 1) == 0;
    buffer_release(&leased);
    free(json);
    return is_good;
}

// In the child. What went wrong goes through the pipe, which a good exec closes.
static _Noreturn void become(const struct run *r, int pipe_fd, pid_t parent)
{
    struct ctl *ctl = r->ctl;
    (void)signal(SIGPIPE, SIG_DFL);
    (void)sigprocmask(SIG_SETMASK, &ctl->program.signals_before, NULL);
    // Nothing would keep the lease alive without us.
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() == parent) (void)execvp(ctl->argv[0], ctl->argv);
    int why = errno;
    ssize_t ignored = write(pipe_fd, &why, sizeof(why));
    (void)ignored;
    _exit(RUN_NOT_EXECUTABLE);
}

static int start(struct run *r)
{
    int fds[2], why = 0;
    pid_t self = getpid();
    if (!set_environment(r) || pipe2(fds, O_CLOEXEC) != 0) {
        cli_complain("boskosctl", "%s", strerror(errno));
        return RUN_FAILED;
    }
    r->child = fork();
    if (r->child == 0) become(r, fds[1], self);
    (void)close(fds[1]);
    ssize_t got = r->child > 0 ? read(fds[0], &why, sizeof(why)) : 0;
    (void)close(fds[0]);
    if (r->child > 0 && got != (ssize_t)sizeof(why)) return 0;
    if (r->child > 0)
        (void)waitpid(r->child, NULL, 0);
    else
        why = errno;
    cli_complain("boskosctl", "%s: %s", r->ctl->argv[0], strerror(why));
    if (r->child < 0) return RUN_FAILED;
    return why == ENOENT ? RUN_NOT_FOUND : RUN_NOT_EXECUTABLE;
}

// ---- while it runs --------------------------------------------------------------

static void end_command(struct run *r)
{
    if (r->is_told) return;
    r->is_told = true;
    r->kill_at_ms = program_now_ms() + program_ms(r->ctl->grace_ns);
    (void)kill(r->child, SIGTERM);
}

static void read_signals(struct run *r)
{
    struct signalfd_siginfo info;
    while (read(r->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        // A terminal sends to the whole group: the command has it already.
        if (info.ssi_signo != SIGCHLD && info.ssi_code != SI_KERNEL)
            (void)kill(r->child, (int)info.ssi_signo);
    }
    if (waitpid(r->child, &r->status, WNOHANG) == r->child) r->is_ended = true;
}

static void watch(struct run *r)
{
    while (!r->is_ended) {
        bool is_lost = boskos_cancel_is_set(r->lost);
        if (is_lost) end_command(r);
        struct pollfd fds[2] = {{.fd = r->signal_fd, .events = POLLIN},
                                {.fd = is_lost ? -1 : boskos_cancel_fd(r->lost), .events = POLLIN}};
        int64_t left = r->kill_at_ms > 0 ? r->kill_at_ms - program_now_ms() : 60000;
        if (left <= 0) {
            (void)kill(r->child, SIGKILL);
            r->kill_at_ms = 0;
            left = 60000;
        }
        (void)poll(fds, 2, left > 60000 ? 60000 : (int)left);
        read_signals(r);
    }
}

// ---- before and after -----------------------------------------------------------

// A signal while we wait for a resource ends the waiting.
struct early {
    struct program *program;
    int signal_fd, end_fd;
    atomic_int signal;
};

static void *watch_early(void *context)
{
    struct early *e = context;
    struct pollfd fds[2] = {{.fd = e->signal_fd, .events = POLLIN},
                            {.fd = e->end_fd, .events = POLLIN}};
    struct signalfd_siginfo info;
    for (;;) {
        (void)poll(fds, 2, -1);
        if ((fds[1].revents & POLLIN) != 0) return NULL;
        if (read(e->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info)) continue;
        if (info.ssi_signo == SIGCHLD) continue;
        atomic_store(&e->signal, (int)info.ssi_signo);
        boskos_cancel(e->program->stop);
        return NULL;
    }
}

static int acquire(struct run *r)
{
    struct ctl *ctl = r->ctl;
    char reason[CTL_REASON_BYTES];
    struct boskos_call call = program_call(&ctl->program);
    struct boskos_client *client = ctl->program.client;
    int64_t wait_ms = ctl->timeout_ns > 0 ? program_ms(ctl->timeout_ns) : 0;
    int err = ctl->with_leased
                  ? boskos_acquire_leased(client, ctl->type, ctl->state, ctl->target_state, wait_ms,
                                          &r->resource, &r->leased, &call)
                  : boskos_acquire(client, ctl->type, ctl->state, ctl->target_state, wait_ms,
                                   &r->resource, &call);
    if (err == 0) return 0;
    (void)ctl_say("failed to acquire a resource: %s", ctl_reason(err, &call, NULL, reason));
    return RUN_FAILED;
}

// Acquires, and gives up when a signal comes: 0, or the exit code.
static int acquire_or_signal(struct run *r)
{
    pthread_t thread;
    struct early early = {.program = &r->ctl->program, .signal_fd = r->signal_fd};
    uint64_t one = 1;
    early.end_fd = eventfd(0, EFD_CLOEXEC);
    if (early.end_fd < 0 || pthread_create(&thread, NULL, watch_early, &early) != 0) {
        cli_complain("boskosctl", "%s", strerror(errno));
        if (early.end_fd >= 0) (void)close(early.end_fd);
        return RUN_FAILED;
    }
    int code = acquire(r);
    if (write(early.end_fd, &one, sizeof(one)) == (ssize_t)sizeof(one))
        (void)pthread_join(thread, NULL);
    (void)close(early.end_fd);
    int came = atomic_load(&early.signal);
    return came == 0 ? code : 128 + came;
}

// Gives back what is still held. What the command came to counts, unless that was good.
static int give_back(struct run *r, int code)
{
    struct boskos_call call;
    boskos_call_init(&call); // not cancelled by what ended the command
    int err = boskos_release_all(r->ctl->program.client, r->ctl->release_state, &call);
    if (err == 0) return code;
    cli_complain("boskosctl", "failed to release %s: %s", r->resource->name, call.text);
    return code == 0 ? RUN_FAILED : code;
}

static int run_command(struct run *r)
{
    int code = start(r);
    if (code != 0) return code;
    watch(r);
    if (boskos_cancel_is_set(r->lost)) return RUN_FAILED;
    return WIFSIGNALED(r->status) ? 128 + WTERMSIG(r->status) : WEXITSTATUS(r->status);
}

int ctl_run(struct ctl *ctl)
{
    struct run r = {.ctl = ctl, .signal_fd = -1, .lost = boskos_cancel_new()};
    sigset_t set;
    if (ctl->argv == NULL) {
        boskos_cancel_free(r.lost);
        return ctl_say("Error: run needs a command: boskosctl run [flags] -- COMMAND");
    }
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGCHLD);
    for (size_t i = 0; i < sizeof(passed_on) / sizeof(passed_on[0]); i++)
        (void)sigaddset(&set, passed_on[i]);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    r.signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    int code = RUN_FAILED;
    if (r.signal_fd < 0 || r.lost == NULL)
        cli_complain("boskosctl", "no file descriptor: %s", strerror(errno));
    else
        code = acquire_or_signal(&r);
    bool has_lease = r.resource != NULL;
    if (code == 0) {
        (void)boskos_heartbeat(ctl->program.client, program_ms(ctl->period_ns), on_lost, &r);
        code = run_command(&r);
    }
    if (has_lease) code = give_back(&r, code);
    (void)boskos_heartbeat(ctl->program.client, 0, NULL, NULL);
    boskos_resource_free(r.resource);
    boskos_resources_free(r.leased);
    if (r.signal_fd >= 0) (void)close(r.signal_fd);
    boskos_cancel_free(r.lost);
    return code;
}
