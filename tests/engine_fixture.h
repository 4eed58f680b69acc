// tests/engine_fixture.h
//
// What the tests of the engine share: a folder of their own with a config and the data, a clock
// that is stepped by hand, calls that wait for their answer, and the log as it lies on the disk
// afterwards. It refuses to know what a right answer is.
//
// A struct fixture belongs to the test's thread. Other threads may send calls of their own through
// its engine.
#ifndef TESTS_ENGINE_FIXTURE_H
#define TESTS_ENGINE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/internal.h"

#define START_NS (UINT64_C(1700000000) * NS_PER_S)
#define MINUTE_NS (60 * NS_PER_S)
#define FOLDER_BYTES 64
#define FILE_BYTES 160
#define TTL_NS (30 * (int64_t)NS_PER_S)

#define ENGINE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

// Waits in real time for what another thread does; fails the test when it never comes.
#define EVENTUALLY(condition)                                   \
    do {                                                        \
        uint32_t left_ = 12000;                                 \
        while (!(condition) && --left_ > 0)                     \
            usleep(5000);                                       \
        if (left_ == 0) fail_msg("never came: %s", #condition); \
    } while (0)

// Both clocks stand still until they are stepped. A jump can be set to happen at the n-th look at
// the wall clock from now.
struct stepped {
    atomic_uint_fast64_t wall_ns, mono_ns, jump_ns;
    atomic_int looks_to_jump; // 0: none
};

struct fixture {
    char dir[FOLDER_BYTES], data[FILE_BYTES], config[FILE_BYTES], log_path[FILE_BYTES];
    struct stepped clock;
    struct log log;
    struct engine_options options;
    struct engine *engine; // NULL while closed
    struct engine_recovery found;
    char why[WHY_BYTES];
    int exit_code;
    atomic_uint calls_done;       // answers handed out
    atomic_uint done_before_wake; // how many of them when batch_done was called last
};

int fixture_setup(void **state);
int fixture_teardown(void **state);

// Opens the engine, without its threads. Returns what engine_open does.
int fixture_try_open(struct fixture *f);
// Opens and starts; fails the test when that does not work.
void fixture_open(struct fixture *f);
// Ends the engine in order.
void fixture_close(struct fixture *f);
struct engine_figures figures_of(struct fixture *f);

// Steps the wall clock and the monotonic one together.
void step(struct fixture *f, uint64_t ns);
// The wall clock alone.
void jump(struct fixture *f, int64_t ns);

// Writes a file in one go, as an editor that truncates does.
void file_put(const char *path, const char *text);
// How many log lines have the text.
uint32_t log_count(const struct fixture *f, const char *text);

static inline bool log_has(const struct fixture *f, const char *text)
{
    return log_count(f, text) > 0;
}

// ---- calls ------------------------------------------------------------------

struct call {
    struct engine_request request; // first: a request is its call
    struct command command;
    struct fixture *fixture;
    sem_t ready;
    atomic_uint times; // that done was called
    unsigned order;    // its place among all answers, from 1
    int error;
    enum sm_reason reason;
    char name[64]; // of the first resource of the result
    uint64_t seq, now_ns;
    void (*look)(struct call *c, struct sm *sm); // on the sequencer's thread, NULL: none
    void *context;
};

// A command's kind and parameters come next, or it stays a query.
void call_init(struct call *c, struct fixture *f);
void call_command(struct call *c, enum command_kind kind);
void call_send(struct call *c);
void call_wait(struct call *c);

// Each sends one command and returns its answer; texts are the caller's.
struct call acquire(struct fixture *f, const char *type, const char *state, const char *owner,
                    const char *request_id);
struct call release(struct fixture *f, const char *name, const char *owner, const char *dest);
struct call update(struct fixture *f, const char *name, const char *owner, const char *state,
                   const char *key, struct text value);
// A query, which also lets the engine look at the time.
void ask(struct fixture *f, void (*look)(struct call *c, struct sm *sm), void *context);

struct state_at {
    uint64_t seq, resources;
    struct hash128 digest;
};
struct state_at state_of(struct fixture *f);

// A resource as it is now; state is "-" when there is none.
struct seen {
    char state[64], owner[64];
};
struct seen see(struct fixture *f, const char *name);

// ---- the log ----------------------------------------------------------------

struct entry {
    uint64_t seq, time_ns;
    uint32_t kind;
    uint64_t number; // ahead_ns of `clock`, downtime_ns of `started`
    size_t row_size; // 0: no row
    char row[256];
};

struct entries {
    struct entry *list;
    size_t count;
};

// Reads the log of a closed engine; checks that it is contiguous and that time does not go back.
struct entries log_read(const char *data_dir);
void entries_free(struct entries *e);
size_t entries_of(const struct entries *e, enum command_kind kind);
// The entry from `from` on that is of the kind; fails the test when there is none.
const struct entry *entry_find(const struct entries *e, size_t from, enum command_kind kind);

// Replays a closed log into a state of the test's own, and compares each row that is there.
struct state_at log_replay(const char *data_dir);

// Replaces the row of a record of a closed log.
void row_put(const char *data_dir, uint64_t seq, const char *row, size_t size);

// The sequence numbers of the snapshots of a closed engine, newest first; caller frees.
uint64_t *snapshots_of(const char *data_dir, size_t *ret_count);
void snapshot_path_of(const char *data_dir, uint64_t seq, char ret_path[FILE_BYTES]);

// Copies what a killed engine would leave: snapshots and witness first, so that none is newer than
// the log.
void data_copy(const char *from, const char *to);

#endif
