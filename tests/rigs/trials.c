#include "tests/rigs/trials.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "tests/rigs/disk.h"

#include "base/banned.h"

#define PATH_BYTES 512
#define WATCHDOG_S 120u
#define WORD_BYTES 32
#define SHOWN_MAX 10u // failures that are printed in full

// ---- scenarios --------------------------------------------------------------

static int live_whole(struct load *l)
{
    sys_phase(LOAD_START);
    int exit_code = load_open(l);
    if (exit_code != 0) return exit_code;
    sys_phase(LOAD_COMMIT);
    load_send(l, 5);
    sys_phase(LOAD_SNAPSHOT);
    load_shadow_turn(l);
    sys_phase(LOAD_COMMIT);
    load_send(l, 3);
    sys_phase(LOAD_STOP);
    load_send(l, 1); // after a fault in a commit there is always another one
    load_stop(l);
    return 0;
}

static void live_and_die(struct load *l)
{
    ASSERT(load_open(l) == 0);
    load_send(l, 12);
    load_shadow_turn(l);
    load_send(l, 6);
    load_shadow_turn(l);
    load_send(l, 3);
}

static int live_compact(struct load *l)
{
    sys_phase(LOAD_MAINTAIN);
    return load_compact(l);
}

static const struct scenario scenarios[] = {
    {"first", NULL, live_whole},         // there is no folder
    {"later", live_and_die, live_whole}, // the folder of a daemon that was killed
    {"compact", live_and_die, live_compact},
};

#define SCENARIOS (sizeof(scenarios) / sizeof(scenarios[0]))

// ---- the rig ----------------------------------------------------------------

struct only {
    char scenario[WORD_BYTES], phase[WORD_BYTES], deed[WORD_BYTES];
    uint64_t number;
};

struct state {
    const struct trials_rig *rig;
    uint64_t seed, every;
    bool has_only;
    struct only only;
    char dir[LOAD_PATH_BYTES];   // of everything
    char life[PATH_BYTES];       // where a trial's life goes on
    char before[PATH_BYTES];     // where the scenario's life before has ended
    struct load_shared *at_hand; // of the life before: what each trial begins with
    struct trial trial;
    uint64_t trials, done, failures;
};

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path);
}

static void remove_tree(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct load load_of(const struct state *s, const char *dir, int log_fd)
{
    struct load l = {
        .log_fd = log_fd, .random = s->seed, .snapshot_every = 8, .shared = s->trial.shared};
    snprintf(l.dir, sizeof(l.dir), "%.200s/data", dir);
    snprintf(l.config, sizeof(l.config), "%.200s/config.yaml", dir);
    return l;
}

static int wait_for(pid_t child)
{
    int status = 0;
    while (waitpid(child, &status, 0) < 0) {
        ASSERT(errno == EINTR);
    }
    return status;
}

// The process of a trial. What it writes goes to a file.
_Noreturn static void child_main(const struct state *s, const struct sys_plan *plan)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof(path), "%s/output", s->dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ASSERT(fd >= 0 && dup2(fd, STDERR_FILENO) == STDERR_FILENO);
    alarm(WATCHDOG_S);
    struct load l = load_of(s, s->life, STDERR_FILENO);
    sys_watch(s->life, plan, &s->trial.shared->counts, NULL, NULL);
    _exit(s->trial.scenario->live(&l));
}

static void output_read(struct state *s)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof(path), "%s/output", s->dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ASSERT(fd >= 0);
    ssize_t size = read(fd, s->trial.output, sizeof(s->trial.output) - 1);
    ASSERT(size >= 0);
    s->trial.output[size] = '\0';
    (void)close(fd);
}

// Runs a life, of the trial or before it, in a process of its own.
static void live_in_child(struct state *s, const struct sys_plan *plan)
{
    (void)fflush(NULL);
    pid_t child = fork();
    ASSERT(child >= 0);
    if (child == 0) child_main(s, plan);
    s->trial.status = wait_for(child);
    output_read(s);
}

static bool restart_is_good(struct state *s)
{
    (void)fflush(NULL);
    pid_t child = fork();
    ASSERT(child >= 0);
    if (child == 0) {
        alarm(WATCHDOG_S);
        struct sys_counts counts;
        struct sys_plan plan = {.deed = SYS_PASS, .no_sync = true};
        char path[PATH_BYTES];
        snprintf(path, sizeof(path), "%s/restart", s->dir);
        struct load l = load_of(s, s->life, open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600));
        sys_watch(s->life, &plan, &counts, NULL, NULL);
        int exit_code = load_recover(&l);
        if (exit_code != 0)
            fprintf(stderr, "a restart ends with exit code %d; see %s\n", exit_code, path);
        _exit(exit_code != 0 ? 1 : load_check(&l));
    }
    int status = wait_for(child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// The folder as the life before has left it.
static void folder_make(struct state *s)
{
    char command[2 * PATH_BYTES + 64];
    remove_tree(s->life);
    if (s->trial.scenario->before == NULL) {
        ASSERT(mkdir(s->life, 0700) == 0);
    } else {
        snprintf(command, sizeof(command), "cp -a --sparse=always '%s' '%s'", s->before, s->life);
        ASSERT(system(command) == 0);
    }
    memcpy(s->trial.shared, s->at_hand, sizeof(*s->at_hand));
}

static void fail(struct state *s, const char *why)
{
    const struct trial *t = &s->trial;
    s->failures++;
    fprintf(stderr,
            "FAILED: %s; repeat with --seed %" PRIu64 " --only %s:%s:%" PRIu64 ":%s (%s %s)\n", why,
            s->seed, t->scenario->name, load_phase_name(t->phase), t->number, t->deed->name,
            sys_call_name(t->shared->counts.first), t->shared->counts.first_name);
    if (s->failures <= SHOWN_MAX) fprintf(stderr, "%s\n", t->output);
}

static void try_one(struct state *s)
{
    struct trial *t = &s->trial;
    struct sys_plan plan = {.deed = t->deed->deed,
                            .error = t->deed->error,
                            .phase = t->phase,
                            .from = t->number,
                            .count = t->deed->count,
                            .no_sync = true};
    folder_make(s);
    live_in_child(s, &plan);
    s->trials++;
    bool is_done = atomic_load(&t->shared->counts.done) > 0;
    s->done += is_done;
    bool is_exit = WIFEXITED(t->status) && WEXITSTATUS(t->status) == 0;
    const char *why = is_done ? s->rig->judge(t) : is_exit ? NULL : "it fails with nothing done";
    if (why == NULL && !restart_is_good(s)) why = "the restart is not good";
    if (why != NULL) fail(s, why);
}

static bool is_chosen(const struct state *s)
{
    const struct trial *t = &s->trial;
    if (s->has_only) {
        return strcmp(s->only.scenario, t->scenario->name) == 0 &&
               strcmp(s->only.phase, load_phase_name(t->phase)) == 0 &&
               strcmp(s->only.deed, t->deed->name) == 0 && s->only.number == t->number;
    }
    uint64_t random = s->seed * 31 + t->phase + 7 * t->number +
                      1000003 * (uint64_t)(t->deed - s->rig->deeds) +
                      (uint64_t)(t->scenario - scenarios) * 999331;
    return disk_random(&random, s->every) == 0;
}

// Makes the folder a scenario begins with, then a life without a deed, which tells how many calls
// there are.
static void scenario_begin(struct state *s, uint64_t calls[LOAD_PHASES],
                           uint64_t allocations[LOAD_PHASES])
{
    struct trial *t = &s->trial;
    memset(s->at_hand, 0, sizeof(*s->at_hand));
    memset(t->shared, 0, sizeof(*t->shared));
    if (t->scenario->before != NULL) {
        remove_tree(s->before);
        ASSERT(mkdir(s->before, 0700) == 0);
        pid_t child = fork();
        ASSERT(child >= 0);
        if (child == 0) {
            struct load l = load_of(s, s->before, open("/dev/null", O_WRONLY | O_CLOEXEC));
            struct sys_plan plan = {.deed = SYS_PASS, .no_sync = true};
            sys_watch(s->before, &plan, &t->shared->counts, NULL, NULL);
            t->scenario->before(&l);
            _exit(0);
        }
        ASSERT(wait_for(child) == 0);
        memcpy(s->at_hand, t->shared, sizeof(*s->at_hand));
    }
    folder_make(s);
    struct sys_plan plan = {.deed = SYS_PASS, .no_sync = true};
    live_in_child(s, &plan);
    if (t->status != 0) fprintf(stderr, "%s\n", t->output);
    ASSERT(t->status == 0);
    for (unsigned i = 0; i < LOAD_PHASES; i++) {
        calls[i] = atomic_load(&t->shared->counts.calls[i]);
        allocations[i] = atomic_load(&t->shared->counts.allocations[i]);
        printf("%s, %s: %" PRIu64 " calls, %" PRIu64 " allocations\n", t->scenario->name,
               load_phase_name(i), calls[i], allocations[i]);
    }
}

static void scenario_try(struct state *s)
{
    struct trial *t = &s->trial;
    uint64_t calls[LOAD_PHASES], allocations[LOAD_PHASES];
    scenario_begin(s, calls, allocations);
    for (size_t d = 0; d < s->rig->deeds_count; d++) {
        t->deed = &s->rig->deeds[d];
        const uint64_t *most = t->deed->deed == SYS_NO_MEMORY ? allocations : calls;
        for (t->phase = 0; t->phase < LOAD_PHASES; t->phase++) {
            for (t->number = 0; t->number < most[t->phase]; t->number++) {
                if (is_chosen(s)) try_one(s);
            }
        }
    }
}

// ---- main -------------------------------------------------------------------

static int options_read(struct state *s, int argc, char **argv)
{
    static const struct option known[] = {{"seed", required_argument, NULL, 's'},
                                          {"every", required_argument, NULL, 'e'},
                                          {"only", required_argument, NULL, 'o'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (c) {
        case 's': s->seed = strtoull(optarg, NULL, 10); break;
        case 'e': s->every = strtoull(optarg, NULL, 10); break;
        case 'o':
            s->has_only = true;
            if (sscanf(optarg, "%31[^:]:%31[^:]:%" SCNu64 ":%31s", s->only.scenario, s->only.phase,
                       &s->only.number, s->only.deed) != 4)
                return 2;
            break;
        case 'h': (void)fputs(s->rig->help, stdout); exit(0);
        default: (void)fputs(s->rig->help, stderr); return 2;
        }
    }
    return s->every > 0 ? 0 : 2;
}

int trials_main(const struct trials_rig *rig, int argc, char **argv)
{
    static struct state s = {.seed = 1, .every = 1};
    s.rig = rig;
    int exit_code = options_read(&s, argc, argv);
    if (exit_code != 0) return exit_code;
    load_folder_make(rig->name, s.dir);
    snprintf(s.life, sizeof(s.life), "%s/life", s.dir);
    snprintf(s.before, sizeof(s.before), "%s/before", s.dir);
    s.trial.shared = load_shared_new();
    s.at_hand = load_shared_new();
    for (size_t i = 0; i < SCENARIOS; i++) {
        s.trial.scenario = &scenarios[i];
        scenario_try(&s);
    }
    if (rig->report != NULL) rig->report();
    printf("%s: seed %" PRIu64 ", %" PRIu64 " trials, in %" PRIu64 " the deed was done, %" PRIu64
           " failures\n",
           rig->name, s.seed, s.trials, s.done, s.failures);
    if (s.failures == 0 || !s.has_only) remove_tree(s.dir);
    return s.failures == 0 ? 0 : 1;
}
