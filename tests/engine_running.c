// Under load, without space, and at the end: many threads, a full map, a full disk, a commit that
// fails, a reader that is killed, the stop.
#include "tests/engine_fixture.h"
#include "tests/engine_parts.h"

#include <dirent.h>
#include <lmdb.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/banned.h"

// ---- many threads -----------------------------------------------------------

#define WORKERS 4u
#define ROUNDS 60u

struct worker {
    pthread_t thread;
    struct fixture *fixture;
    char owner[8];
    uint32_t rounds; // 0: until it is refused
    uint32_t served, refused, granted, released;
};

static struct call one_acquire(struct worker *w)
{
    struct call c = acquire(w->fixture, "a", "free", w->owner, NULL);
    if (c.error == 0) w->served++;
    if (c.error == 0 && c.reason == SM_OK) w->granted++;
    return c;
}

static void *work(void *context)
{
    struct worker *w = context;
    bool going = true;
    for (uint32_t i = 0; going && (w->rounds == 0 || i < w->rounds); i++) {
        struct call c = one_acquire(w);
        if (c.error == 0 && c.reason == SM_OK) {
            c = release(w->fixture, c.name, w->owner, "free");
            if (c.error == 0) w->served++;
            if (c.error == 0 && c.reason == SM_OK) w->released++;
        }
        if (c.error != 0) w->refused++;
        // The counts of calls are the test's own: asserts belong to its thread.
        going = c.error == 0 && atomic_load(&c.times) == 1;
    }
    return NULL;
}

static void workers_start(struct fixture *f, struct worker *workers, uint32_t rounds)
{
    for (uint32_t i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.fixture = f, .rounds = rounds};
        snprintf(workers[i].owner, sizeof(workers[i].owner), "w%u", i);
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
}

static uint32_t workers_join(struct worker *workers)
{
    uint32_t served = 0;
    for (uint32_t i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        served += workers[i].served;
    }
    return served;
}

// Threads that submit while figures are read, time goes on and the config is read again: nothing is
// lost or doubled.
static void many_threads(void **state)
{
    struct fixture *f = *state;
    struct worker workers[WORKERS];
    f->options.snapshot_every = 50;
    fixture_open(f);
    uint64_t before = figures_of(f).commands;
    workers_start(f, workers, ROUNDS);
    for (uint32_t i = 0; i < 20; i++) {
        struct engine_figures figures = figures_of(f);
        assert_true(figures.commands >= before);
        step(f, NS_PER_S);
        engine_reload(f->engine);
        usleep(2000);
    }
    uint32_t served = workers_join(workers);
    uint32_t granted = 0, released = 0;
    for (uint32_t i = 0; i < WORKERS; i++) {
        assert_int_equal(workers[i].refused, 0);
        granted += workers[i].granted;
        released += workers[i].released;
    }
    assert_int_equal(granted, WORKERS * ROUNDS); // eight names for four workers
    assert_int_equal(released, granted);
    EVENTUALLY(figures_of(f).snapshots > 0);
    fixture_close(f);
    struct entries e = log_read(f->data);
    assert_int_equal(entries_of(&e, COMMAND_ACQUIRE) + entries_of(&e, COMMAND_RELEASE), served);
    entries_free(&e);
    log_replay(f->data);
}

// ---- the end ----------------------------------------------------------------

static void *stop_engine(void *engine)
{
    engine_stop(engine);
    return NULL;
}

// Workers that never stop by themselves do not keep the engine from ending.
static void stop_under_load(void **state)
{
    struct fixture *f = *state;
    struct worker workers[WORKERS];
    pthread_t stopper;
    size_t count;
    fixture_open(f);
    workers_start(f, workers, 0);
    EVENTUALLY(figures_of(f).commands > 50);
    assert_int_equal(pthread_create(&stopper, NULL, stop_engine, f->engine), 0);
    uint32_t served = workers_join(workers);
    assert_int_equal(pthread_join(stopper, NULL), 0);
    for (uint32_t i = 0; i < WORKERS; i++)
        assert_int_equal(workers[i].refused, 1);
    assert_int_equal(acquire(f, "a", "free", "late", NULL).error, BOSKOS_E_STOPPED);
    struct call query;
    call_init(&query, f);
    call_send(&query);
    call_wait(&query);
    assert_int_equal(query.error, BOSKOS_E_STOPPED);
    assert_int_equal(query.times, 1);
    uint64_t seq = figures_of(f).seq;
    assert_int_equal(figures_of(f).snapshot_seq, seq);
    fixture_close(f);

    struct entries e = log_read(f->data);
    assert_int_equal(e.count, seq);
    assert_int_equal(entries_of(&e, COMMAND_ACQUIRE) + entries_of(&e, COMMAND_RELEASE), served);
    for (size_t i = 0; i < e.count; i++)
        assert_true(e.list[i].row_size > 0);
    entries_free(&e);
    uint64_t *seqs = snapshots_of(f->data, &count);
    assert_true(count == 1 && seqs[0] == seq);
    free(seqs);
}

// A chain that was handed over just before the end is served to its last.
static void stop_serves_the_rest(void **state)
{
    struct fixture *f = *state;
    uint32_t count = ENGINE_BATCH_COMMANDS_MAX + 100;
    struct call *calls = calloc(count, sizeof(*calls));
    assert_non_null(calls);
    fixture_open(f);
    for (uint32_t i = 0; i < count; i++) {
        call_init(&calls[i], f);
        call_command(&calls[i], COMMAND_RELEASE);
        calls[i].command.as.release = (struct command_release){
            .name = TEXT("a1"), .dest = TEXT("free"), .owner = TEXT("nobody")};
        if (i > 0) calls[i - 1].request.next = &calls[i].request;
    }
    call_send(&calls[0]);
    engine_stop(f->engine);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(calls[i].times, 1);
        assert_int_equal(calls[i].error, 0);
        call_wait(&calls[i]);
    }
    free(calls);
}

// ---- no space ---------------------------------------------------------------

#define LARGE (240u * 1024)
#define SLACK (128u * 1024) // small commands find room in it, large ones do not

// Updates until one is refused; returns how many were done.
static uint32_t fill(struct fixture *f, const char *name, char *value)
{
    uint32_t count = 0;
    for (; count < 1000; count++) {
        memset(value, 'a' + (int)(count % 26), LARGE);
        struct call c = update(f, name, "ann", "busy", "k", text_of(value, LARGE));
        if (c.error != 0) {
            assert_int_equal(c.error, BOSKOS_E_NOSPACE);
            return count;
        }
        assert_int_equal(c.reason, SM_OK);
    }
    fail_msg("%u large commands fit into the map", count);
    return count;
}

static void full_map(void **state)
{
    struct fixture *f = *state;
    char *value = malloc(LARGE);
    assert_non_null(value);
    f->options.map_bytes = 1024u * 1024;
    f->options.step_bytes = SLACK;
    fixture_open(f);
    struct call lease = acquire(f, "a", "free", "ann", NULL);
    fill(f, lease.name, value);
    struct state_at full = state_of(f); // queries are answered
    assert_int_equal(figures_of(f).refused_nospace, 1);
    for (uint32_t i = 0; i < 3; i++) {
        struct call c = update(f, lease.name, "ann", "busy", "k", text_of(value, LARGE));
        assert_int_equal(c.error, BOSKOS_E_NOSPACE);
        assert_int_equal(c.times, 1);
    }
    assert_int_equal(figures_of(f).refused_nospace, 4);
    struct state_at same = state_of(f);
    assert_int_equal(same.seq, full.seq);
    assert_true(hash128_equal(same.digest, full.digest));
    assert_true(log_has(f, "map is full"));

    // What is small still finds room, under the very next number.
    struct call small = release(f, lease.name, "ann", "free");
    assert_int_equal(small.error, 0);
    assert_int_equal(small.seq, full.seq + 1);
    assert_true(log_has(f, "there is room again"));
    fixture_close(f);
    struct state_at replayed = log_replay(f->data);
    assert_true(replayed.seq >= small.seq);
    free(value);
}

// The file system gives little more than the log has now. LMDB's write then fails as on a full
// disk.
static struct rlimit limit_files(const struct fixture *f)
{
    struct rlimit before, now;
    struct stat status;
    char path[FILE_BYTES + 32];
    snprintf(path, sizeof(path), "%s/journal/data.mdb", f->data);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    now = before;
    now.rlim_cur = (rlim_t)status.st_size + SLACK;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &now), 0);
    return before;
}

// What the engine itself wanted to say is not lost with a batch that was refused: the jump of the
// clock and the new config come when there is room again, and meanwhile take no request with them.
static void full_disk_loses_nothing(void **state)
{
    struct fixture *f = *state;
    char *value = malloc(LARGE), name[80], other[FILE_BYTES + 8];
    assert_non_null(value);
    memset(value, 'v', LARGE);
    f->options.step_bytes = SLACK;
    fixture_open(f);
    struct call lease = acquire(f, "a", "free", "ann", NULL);
    snprintf(other, sizeof(other), "%s.new", f->config);
    FILE *file = fopen(other, "we");
    assert_non_null(file);
    fprintf(file, "resources:\n- type: a\n  names: [a1");
    for (uint32_t i = 2; i <= 8000; i++) {
        snprintf(name, sizeof(name), "a%u.with-a-long-name-so-that-all-of-them-need-room", i);
        fprintf(file, ", %s", name);
    }
    fprintf(file, "]\n");
    assert_int_equal(fclose(file), 0);

    struct rlimit before = limit_files(f);
    jump(f, 5 * (int64_t)MINUTE_NS);
    assert_int_equal(update(f, lease.name, "ann", "busy", "k", text_of(value, LARGE)).error,
                     BOSKOS_E_NOSPACE);
    assert_int_equal(figures_of(f).clock_jumps_forward, 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    struct call after = release(f, lease.name, "ann", "free");
    assert_int_equal(after.error, 0);
    assert_int_equal(figures_of(f).clock_jumps_forward, 1);

    limit_files(f);
    assert_int_equal(rename(other, f->config), 0);
    uint64_t refused = figures_of(f).refused_nospace;
    EVENTUALLY(log_count(f, "map is full") == 2);
    for (uint32_t i = 0; i < 40; i++) {
        assert_int_equal(release(f, "a1", "nobody", "free").error, 0);
        step(f, NS_PER_S / 5);
        usleep(10000);
    }
    assert_int_equal(figures_of(f).config_loads, 1);
    assert_int_equal(figures_of(f).refused_nospace, refused);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    step(f, 2 * NS_PER_S);
    EVENTUALLY(figures_of(f).config_loads == 2);
    assert_string_equal(see(f, name).state, "free");
    fixture_close(f);

    struct entries e = log_read(f->data);
    assert_int_equal(entries_of(&e, COMMAND_CLOCK), 1);
    const struct entry *clock = entry_find(&e, 0, COMMAND_CLOCK);
    assert_int_equal(clock->number, 5 * MINUTE_NS);
    assert_true(clock->seq < after.seq);
    entries_free(&e);
    free(value);
}

// ---- a commit that fails ----------------------------------------------------

#define CHILD_FATAL 40

static void end_child(void *context, int exit_code, const char *why)
{
    (void)context;
    _exit(strstr(why, "the journal cannot go on") != NULL ? CHILD_FATAL + exit_code : 3);
}

// Closes the log's descriptors under it.
static void break_log(void)
{
    char path[FILE_BYTES], target[4096];
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL) _exit(2);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        snprintf(path, sizeof(path), "/proc/self/fd/%.20s", entry->d_name);
        ssize_t size = readlink(path, target, sizeof(target) - 1);
        if (size < 0) continue;
        target[size] = '\0';
        if (strstr(target, "data.mdb") != NULL) (void)close(atoi(entry->d_name));
    }
    (void)closedir(dir);
}

static void child(struct fixture *f)
{
    f->options.fatal = end_child;
    if (fixture_try_open(f) != 0 || engine_start(f->engine) != 0) _exit(2);
    break_log();
    struct call c = acquire(f, "a", "free", "ann", NULL);
    _exit(c.error == 0 ? 0 : 1); // neither an answer nor a refusal may come
}

static void failed_commit_ends(void **state)
{
    struct fixture *f = *state;
    int status = 0;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) child(f);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), CHILD_FATAL + 1);
    fixture_open(f); // and a restart goes on
    assert_int_equal(acquire(f, "a", "free", "ann", NULL).reason, SM_OK);
}

// ---- a reader that is killed ------------------------------------------------

#define UPDATES 300u

// Opens the log as a tool does, holds a read transaction, and waits to be killed.
static void hold_reader(const struct fixture *f, int go, int ready)
{
    char path[FILE_BYTES + 16], byte;
    MDB_env *env;
    MDB_txn *txn;
    snprintf(path, sizeof(path), "%s/journal", f->data);
    if (read(go, &byte, 1) != 1 || mdb_env_create(&env) != 0 ||
        mdb_env_open(env, path, MDB_RDONLY, 0600) != 0 ||
        mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) != 0 || write(ready, "r", 1) != 1)
        _exit(1);
    for (;;)
        (void)pause();
}

// How much the file of the log grows by updates that each take and free some pages.
static int64_t growth(struct fixture *f)
{
    struct engine_figures before = figures_of(f);
    for (uint32_t i = 0; i < UPDATES; i++) {
        assert_int_equal(update(f, "a1", "ann", "busy", "k", TEXT("v")).error, 0);
        assert_int_equal(journal_drain(f->engine->journal, NULL), 0); // pages go by transactions
    }
    return (int64_t)(figures_of(f).log_bytes_file - before.log_bytes_file);
}

static void killed_reader(void **state)
{
    struct fixture *f = *state;
    int go[2], ready[2], status = 0;
    char byte = 'g';
    assert_int_equal(pipe(go) | pipe(ready), 0);
    pid_t pid = fork(); // before any thread is there
    assert_true(pid >= 0);
    if (pid == 0) hold_reader(f, go[0], ready[1]);

    f->options.step_bytes = 64u * 1024;
    fixture_open(f);
    assert_string_equal(acquire(f, "a", "free", "ann", NULL).name, "a1");
    assert_int_equal(write(go[1], &byte, 1), 1);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    int64_t held = growth(f); // no page that was freed is used again
    step(f, MINUTE_NS + NS_PER_S);
    EVENTUALLY(figures_of(f).readers_cleared == 1);
    int64_t let_go = growth(f);
    if (let_go * 4 > held)
        fail_msg("%lld bytes after, %lld before", (long long)let_go, (long long)held);
    for (uint32_t i = 0; i < 2; i++)
        assert_int_equal(close(go[i]) | close(ready[i]), 0);
}

int engine_running_tests(void)
{
    const struct CMUnitTest tests[] = {
        ENGINE_TEST(many_threads),
        ENGINE_TEST(stop_under_load),
        ENGINE_TEST(stop_serves_the_rest),
        ENGINE_TEST(full_map),
        ENGINE_TEST(full_disk_loses_nothing),
        ENGINE_TEST(failed_commit_ends),
        ENGINE_TEST(killed_reader),
    };
    return cmocka_run_group_tests_name("engine running", tests, NULL, NULL);
}
