// Runs a program to its end, in a process group of its own.
#include "client/subprocess.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/banned.h"

#define READ_BYTES 65536u
#define DRAIN_BYTES_MAX (2u * 1024 * 1024) // what may be in a pipe of a program that has ended
#define POLL_MOST_MS 60000
#define DESCRIPTORS_EACH 6   // four pipes, what cancels it, a connection to the server
#define DESCRIPTORS_ELSE 400 // of the page of metrics, most of them
#define STATUS_FD 3          // in the keeper

// What comes through the pipe of the keeper.
struct status {
    int is_error; // the program was not started, value is errno
    int value;    // else as waitpid has it
};

struct run {
    const struct subprocess *s;
    struct subprocess_result *result;
    int in_fd, out_fd, err_fd, status_fd; // our ends; -1: closed
    pid_t keeper;
    size_t written;
    struct status status;
    bool has_status, is_ended;
    enum subprocess_end told; // why we ended it
    bool is_told;
    int64_t end_at_ms, kill_at_ms; // kill_at_ms 0: not yet
};

static void shut(int *fd)
{
    if (*fd >= 0) (void)close(*fd);
    *fd = -1;
}

// ---- the keeper: after fork() only what a signal handler may call ---------------

static _Noreturn void become(const struct subprocess *s)
{
    (void)signal(SIGPIPE, SIG_DFL);
    (void)sigprocmask(SIG_SETMASK, s->mask, NULL);
    (void)execvp(s->argv[0], (char *const *)(uintptr_t)s->argv);
    struct status status = {.is_error = 1, .value = errno};
    ssize_t ignored = write(STATUS_FD, &status, sizeof(status));
    (void)ignored;
    _exit(127);
}

// Until the child has ended; the group ends when we have died.
static void wait_for_child(pid_t child, pid_t parent, const sigset_t *all, int *ret_status)
{
    for (;;) {
        pid_t ended = waitpid(child, ret_status, WNOHANG);
        if (ended == child || (ended < 0 && errno != EINTR)) return;
        if (getppid() != parent) (void)kill(0, SIGKILL);
        (void)sigwaitinfo(all, NULL);
    }
}

// fds: stdin, stdout, stderr, status.
static _Noreturn void keep(const struct subprocess *s, const int *fds, pid_t parent)
{
    struct status status = {0};
    sigset_t all;
    (void)setpgid(0, 0);
    // What the group is sent is for the program. We are woken by any signal and look around.
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, NULL);
    (void)signal(SIGCHLD, SIG_DFL);
    (void)prctl(PR_SET_PDEATHSIG, SIGUSR1);
    if (getppid() != parent) _exit(1);
    for (int i = 0; i <= STATUS_FD; i++) {
        if (dup2(fds[i], i) < 0) _exit(1);
    }
    // Others' pipes were inherited: who waits for the end of one must not wait for us.
    closefrom(STATUS_FD + 1);
    (void)fcntl(STATUS_FD, F_SETFD, FD_CLOEXEC);
    pid_t child = fork();
    if (child == 0) become(s);
    for (int i = 0; i < STATUS_FD; i++)
        (void)close(i);
    if (child < 0)
        status = (struct status){.is_error = 1, .value = errno};
    else
        wait_for_child(child, parent, &all, &status.value);
    ssize_t ignored = write(STATUS_FD, &status, sizeof(status));
    (void)ignored;
    _exit(0);
}

// ---- start ----------------------------------------------------------------------

// A pipe whose ends are above those that the keeper uses for itself.
static int make_pipe(int fds[2])
{
    int low[2];
    if (pipe2(low, O_CLOEXEC) != 0) return -1;
    for (int i = 0; i < 2; i++) {
        fds[i] = fcntl(low[i], F_DUPFD_CLOEXEC, STATUS_FD + 1);
        (void)close(low[i]);
    }
    return fds[0] >= 0 && fds[1] >= 0 ? 0 : -1;
}

// ends[i][0] is read, ends[i][1] written.
static int make_pipes(int ends[4][2])
{
    for (int i = 0; i < 4; i++)
        ends[i][0] = ends[i][1] = -1;
    for (int i = 0; i < 4; i++) {
        if (make_pipe(ends[i]) != 0) return -1;
    }
    const int ours[4] = {ends[0][1], ends[1][0], ends[2][0], ends[3][0]};
    for (int i = 0; i < 3; i++) {
        if (fcntl(ours[i], F_SETFL, O_NONBLOCK) != 0) return -1;
    }
    return 0;
}

static bool start(struct run *r)
{
    int ends[4][2];
    int why = make_pipes(ends) == 0 ? 0 : errno;
    if (why == 0) {
        bool is_one = r->s->output_max == 0;
        int theirs[4] = {ends[0][0], ends[1][1], is_one ? ends[1][1] : ends[2][1], ends[3][1]};
        pid_t self = getpid();
        r->keeper = fork();
        if (r->keeper == 0) keep(r->s, theirs, self);
        if (r->keeper < 0) why = errno;
        // In both processes: whoever comes first, the group is there when it is needed.
        if (r->keeper > 0) (void)setpgid(r->keeper, r->keeper);
    }
    if (why == 0) {
        r->in_fd = ends[0][1];
        r->out_fd = ends[1][0];
        r->err_fd = ends[2][0];
        r->status_fd = ends[3][0];
        ends[0][1] = ends[1][0] = ends[2][0] = ends[3][0] = -1;
    }
    for (int i = 0; i < 4; i++) {
        shut(&ends[i][0]);
        shut(&ends[i][1]);
    }
    r->result->code = why;
    return why == 0;
}

// ---- while it runs --------------------------------------------------------------

static void tell_end(struct run *r, enum subprocess_end why)
{
    if (r->is_told || r->has_status) return;
    r->is_told = true;
    r->told = why;
    r->kill_at_ms = program_now_ms() + r->s->grace_ms;
    (void)kill(-r->keeper, SIGTERM);
}

static void feed(struct run *r)
{
    if (r->in_fd < 0) return;
    while (r->written < r->s->input.size) {
        ssize_t n = write(r->in_fd, r->s->input.data + r->written, r->s->input.size - r->written);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (n <= 0) break; // it does not want it
        r->written += (size_t)n;
    }
    shut(&r->in_fd);
}

static void keep_tail(struct buffer *tail, const char *bytes, size_t size)
{
    if (size > SUBPROCESS_TAIL_BYTES) {
        bytes += size - SUBPROCESS_TAIL_BYTES;
        size = SUBPROCESS_TAIL_BYTES;
    }
    if (tail->size + size > SUBPROCESS_TAIL_BYTES) {
        size_t less = tail->size + size - SUBPROCESS_TAIL_BYTES;
        memmove(tail->data, tail->data + less, tail->size - less);
        tail->size -= less;
    }
    buffer_append(tail, bytes, size);
}

// One read. False when there is nothing now.
static bool read_some(struct run *r, int *fd)
{
    char bytes[READ_BYTES];
    if (*fd < 0) return false;
    ssize_t n = read(*fd, bytes, sizeof(bytes));
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (n <= 0) {
        shut(fd);
        return false;
    }
    struct subprocess_result *result = r->result;
    if (fd != &r->out_fd || r->s->output_max == 0) {
        keep_tail(&result->tail, bytes, (size_t)n);
    } else if (result->output.size + (size_t)n <= r->s->output_max) {
        buffer_append(&result->output, bytes, (size_t)n);
    } else {
        tell_end(r, SUBPROCESS_FLOODED);
        result->end = SUBPROCESS_FLOODED;
    }
    return true;
}

// A record of the keeper, or its end.
static void read_status(struct run *r)
{
    struct status status;
    ssize_t n = read(r->status_fd, &status, sizeof(status));
    if (n < 0 && errno == EINTR) return;
    r->is_ended = true;
    if (n != (ssize_t)sizeof(status)) return;
    r->has_status = true;
    r->status = status;
}

static void watch(struct run *r)
{
    while (!r->is_ended) {
        const struct subprocess *s = r->s;
        bool is_cancelled = (s->stop != NULL && boskos_cancel_is_set(s->stop)) ||
                            (s->lost != NULL && boskos_cancel_is_set(s->lost));
        if (is_cancelled) tell_end(r, SUBPROCESS_CANCELLED);
        if (!r->is_told && program_now_ms() >= r->end_at_ms) tell_end(r, SUBPROCESS_LATE);
        int64_t left = (r->is_told ? r->kill_at_ms : r->end_at_ms) - program_now_ms();
        if (r->is_told && left <= 0) return; // what follows kills it
        struct pollfd fds[6] = {
            {.fd = r->status_fd, .events = POLLIN},
            {.fd = r->in_fd, .events = POLLOUT},
            {.fd = r->out_fd, .events = POLLIN},
            {.fd = r->err_fd, .events = POLLIN},
            {.fd = s->stop != NULL && !r->is_told ? boskos_cancel_fd(s->stop) : -1,
             .events = POLLIN},
            {.fd = s->lost != NULL && !r->is_told ? boskos_cancel_fd(s->lost) : -1,
             .events = POLLIN}};
        (void)poll(fds, 6, left > POLL_MOST_MS ? POLL_MOST_MS : left < 0 ? 0 : (int)left);
        if (fds[1].revents != 0) feed(r);
        if (fds[2].revents != 0) (void)read_some(r, &r->out_fd);
        if (fds[3].revents != 0) (void)read_some(r, &r->err_fd);
        if (fds[0].revents != 0) read_status(r);
    }
}

// ---- the end --------------------------------------------------------------------

// Nothing of the group is left after this. What it wrote before is still in the pipes; one that
// left the group may hold them open, and is not waited for.
static void clear_away(struct run *r)
{
    // The keeper is not waited for yet: the number is still its own.
    (void)kill(-r->keeper, SIGKILL);
    // The keeper, and its orphans where we are the first process of a container: they are ours
    // then.
    while (waitpid(-r->keeper, NULL, 0) > 0 || errno == EINTR) {
    }
    for (size_t n = 0; n < DRAIN_BYTES_MAX && read_some(r, &r->out_fd); n += READ_BYTES) {
    }
    for (size_t n = 0; n < DRAIN_BYTES_MAX && read_some(r, &r->err_fd); n += READ_BYTES) {
    }
    shut(&r->in_fd);
    shut(&r->out_fd);
    shut(&r->err_fd);
    shut(&r->status_fd);
}

static void judge(struct run *r)
{
    struct subprocess_result *result = r->result;
    bool is_flooded = result->end == SUBPROCESS_FLOODED;
    int value = r->status.value;
    if (r->is_told) {
        result->end = r->told;
    } else if (is_flooded) {
        result->end = SUBPROCESS_FLOODED;
    } else if (r->has_status && r->status.is_error != 0) {
        result->end = SUBPROCESS_NONE;
        result->code = value;
    } else if (!r->has_status || WIFSIGNALED(value)) {
        result->end = SUBPROCESS_KILLED;
        result->code = r->has_status ? WTERMSIG(value) : SIGKILL;
    } else {
        result->end = SUBPROCESS_EXITED;
        result->code = WEXITSTATUS(value);
    }
}

static void say_why(struct subprocess_result *r)
{
    size_t size = sizeof(r->why);
    switch (r->end) {
    case SUBPROCESS_EXITED: (void)snprintf(r->why, size, "exit code %d", r->code); break;
    case SUBPROCESS_KILLED: (void)snprintf(r->why, size, "killed by signal %d", r->code); break;
    case SUBPROCESS_LATE: (void)snprintf(r->why, size, "ended: its time was up"); break;
    case SUBPROCESS_CANCELLED: (void)snprintf(r->why, size, "ended before it was done"); break;
    case SUBPROCESS_FLOODED: (void)snprintf(r->why, size, "ended: too much output"); break;
    case SUBPROCESS_NONE: (void)snprintf(r->why, size, "not started: %s", strerror(r->code)); break;
    }
}

void subprocess_make_room(const struct program *p, size_t at_once)
{
    struct rlimit limit;
    rlim_t wanted = DESCRIPTORS_ELSE + DESCRIPTORS_EACH * (rlim_t)at_once;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return;
    rlim_t most = limit.rlim_max;
    limit.rlim_cur = most < wanted ? most : wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || most < wanted)
        program_log(p, LOG_WARNING,
                    "%zu at once may need %llu file descriptors, and the limit is %llu: raise it "
                    "(LimitNOFILE= in systemd, ulimit -Hn in a shell)",
                    at_once, (unsigned long long)wanted, (unsigned long long)most);
}

void subprocess_run(const struct subprocess *s, struct subprocess_result *ret_result)
{
    struct run r = {
        .s = s, .result = ret_result, .in_fd = -1, .out_fd = -1, .err_fd = -1, .status_fd = -1};
    int64_t began = program_now_ms();
    *ret_result = (struct subprocess_result){.end = SUBPROCESS_NONE};
    r.end_at_ms = s->limit_ms < INT64_MAX - began ? began + s->limit_ms : INT64_MAX;
    if (start(&r)) {
        feed(&r);
        watch(&r);
        clear_away(&r);
        judge(&r);
    }
    ret_result->took_ms = program_now_ms() - began;
    say_why(ret_result);
}

void subprocess_release(struct subprocess_result *r)
{
    buffer_release(&r->output);
    buffer_release(&r->tail);
}
