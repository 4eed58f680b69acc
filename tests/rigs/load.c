#include "tests/rigs/load.h"

#include <errno.h>
#include <inttypes.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "engine/internal.h"
#include "tests/rigs/disk.h"

#include "base/banned.h"

#define START_NS (UINT64_C(1700000000) * NS_PER_S)
#define MAP_BYTES (64u << 20)
#define TTL_NS (30 * (int64_t)NS_PER_S)
#define TEXT_BYTES 64
#define VALUE_BYTES_MAX 12000u // of userdata: several pages of LMDB's
#define POLL_NS 200000l
#define RETAIN_NS (40 * NS_PER_S) // some dozens of records: the log is trimmed after each snapshot
#define STEP_BYTES (256u << 10)   // data.mdb is extended again and again

// Both clocks, and whose turn the shadow waits for. Global because what is wrapped below has no
// other way to them.
static struct {
    atomic_uint_fast64_t now_ns;     // beyond START_NS
    atomic_uint asked, taken;        // turns of the shadow
    _Atomic(struct engine *) engine; // NULL: it takes turns as it likes
    load_appended *appended;
    void *context;
} world;

static const char config_yaml[] = "resources:\n"
                                  "- type: a\n"
                                  "  state: free\n"
                                  "  names: [a1, a2, a3, a4, a5, a6, a7, a8, a9]\n"
                                  "- type: d\n"
                                  "  state: free\n"
                                  "  min-count: 1\n"
                                  "  max-count: 4\n"
                                  "  lifespan: 20s\n";

const char *load_phase_name(enum load_phase phase)
{
    static const char *const names[] = {"start", "commit", "snapshot", "stop", "maintain"};
    return names[phase];
}

struct load_shared *load_shared_new(void)
{
    void *memory = mmap(NULL, sizeof(struct load_shared), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT(memory != MAP_FAILED);
    return memory;
}

void load_folder_make(const char *rig, char ret_path[LOAD_PATH_BYTES])
{
    const char *in = getenv("TMPDIR");
    if (in == NULL) in = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(ret_path, LOAD_PATH_BYTES, "%.150s/boskosd-%s-XXXXXX", in, rig);
    ASSERT(mkdtemp(ret_path) != NULL);
}

// ---- what is decided here instead of by the system --------------------------

static uint64_t stepped_ns(void *context)
{
    (void)context;
    return START_NS + atomic_load(&world.now_ns);
}

// None: what needs a random number takes the clock's.
ssize_t __wrap_getrandom(void *bytes, size_t size, unsigned flags);
ssize_t __wrap_getrandom(void *bytes, size_t size, unsigned flags)
{
    (void)bytes, (void)size, (void)flags;
    return -1;
}

// The pauses of the daemon are for others who want the disk, and for people who save a config.
int __wrap_nanosleep(const struct timespec *span, struct timespec *ret_left);
int __wrap_nanosleep(const struct timespec *span, struct timespec *ret_left)
{
    (void)span, (void)ret_left;
    return 0;
}

int __real_journal_append(struct journal *j, struct record *records, size_t count,
                          const struct journal_row *rows, size_t rows_count,
                          struct journal_problem *problem);
int __wrap_journal_append(struct journal *j, struct record *records, size_t count,
                          const struct journal_row *rows, size_t rows_count,
                          struct journal_problem *problem);
int __wrap_journal_append(struct journal *j, struct record *records, size_t count,
                          const struct journal_row *rows, size_t rows_count,
                          struct journal_problem *problem)
{
    int err = __real_journal_append(j, records, count, rows, rows_count, problem);
    if (err == 0 && world.appended != NULL)
        world.appended(world.context, records, count, rows, rows_count);
    return err;
}

static void pause_shortly(void)
{
    (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){.tv_nsec = POLL_NS}, NULL);
}

static bool is_ending(struct engine *e)
{
    pthread_mutex_lock(&e->shadow.lock);
    bool ending = e->shadow.is_stopping;
    pthread_mutex_unlock(&e->shadow.lock);
    return ending;
}

// The sequencer waits for requests, not for the time: that goes on with each chain, and what is due
// comes with the chain, at the same place each time.
int __real_pthread_cond_timedwait(pthread_cond_t *wake, pthread_mutex_t *lock,
                                  const struct timespec *until);
int __wrap_pthread_cond_timedwait(pthread_cond_t *wake, pthread_mutex_t *lock,
                                  const struct timespec *until);
int __wrap_pthread_cond_timedwait(pthread_cond_t *wake, pthread_mutex_t *lock,
                                  const struct timespec *until)
{
    struct engine *e = atomic_load(&world.engine);
    if (e != NULL && wake == &e->inbox.wake) return pthread_cond_wait(wake, lock);
    return __real_pthread_cond_timedwait(wake, lock, until);
}

// The shadow comes by here before each nap, and only it: its turn is over, and the next is when it
// is asked for, or at the end. The nap itself is none.
struct timespec __wrap_wait_end(uint64_t span_ns);
struct timespec __wrap_wait_end(uint64_t span_ns)
{
    (void)span_ns;
    struct engine *e = atomic_load(&world.engine);
    unsigned asked = atomic_load(&world.asked);
    atomic_store(&world.taken, asked);
    while (e != NULL && atomic_load(&world.asked) == asked && !is_ending(e)) {
        pause_shortly();
    }
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now;
}

// ---- the engine -------------------------------------------------------------

static void batch_done(void *context)
{
    (void)context;
}

static void say_fatal(const struct load *l, const char *why)
{
    struct log log = {.fd = l->log_fd, .level = LOG_TRACE, .clock = clock_system()};
    log_event(&log, LOG_FATAL, why);
}

static void fatal(void *context, int exit_code, const char *why)
{
    say_fatal(context, why);
    _exit(exit_code);
}

int load_recover(struct load *l)
{
    // The engine borrows its log for life; there is one life at a time.
    static struct log log;
    char why[1024] = "";
    int exit_code = 1;
    log = (struct log){.fd = l->log_fd, .level = LOG_TRACE, .clock = clock_system()};
    world.appended = l->appended;
    world.context = l->context;
    struct engine_options options = {
        .data_dir = l->dir,
        .config_path = l->config[0] == '\0' ? NULL : l->config,
        .request_ttl_ns = TTL_NS,
        .snapshot_every = l->snapshot_every,
        .retain_ns = RETAIN_NS,
        .map_bytes = MAP_BYTES,
        .step_bytes = STEP_BYTES,
        .version = "rig",
        .host = "here",
        .clock = {stepped_ns, stepped_ns, NULL},
        .log = &log,
        .batch_done = batch_done,
        .fatal = fatal,
        .context = l,
    };
    int err = engine_open(&options, &l->engine, &l->found, why, sizeof(why), &exit_code);
    if (err == 0) return 0;
    say_fatal(l, why);
    return exit_code;
}

// Until the shadow has come to rest. One that could not begin, or not go on, never does.
static void shadow_wait(struct load *l, unsigned asked)
{
    while (atomic_load(&world.taken) != asked &&
           atomic_load(&l->engine->counters.snapshot_failures) == 0) {
        pause_shortly();
    }
}

int load_open(struct load *l)
{
    if (l->config[0] != '\0') {
        FILE *file = fopen(l->config, "we");
        ASSERT(file != NULL && fputs(config_yaml, file) >= 0 && fclose(file) == 0);
    }
    atomic_fetch_add(&world.now_ns, NS_PER_S);
    int exit_code = load_recover(l);
    if (exit_code != 0) return exit_code;
    atomic_store(&world.engine, l->engine);
    unsigned asked = atomic_fetch_add(&world.asked, 1) + 1;
    if (engine_start(l->engine) != 0) {
        say_fatal(l, "a thread cannot be started");
        load_stop(l);
        return 1;
    }
    shadow_wait(l, asked); // until it has loaded its state
    return 0;
}

void load_stop(struct load *l)
{
    engine_stop(l->engine);
    load_close(l);
}

void load_close(struct load *l)
{
    engine_close(l->engine);
    l->engine = NULL;
    atomic_store(&world.engine, NULL);
}

void load_shadow_turn(struct load *l)
{
    shadow_wait(l, atomic_fetch_add(&world.asked, 1) + 1);
}

int load_compact(struct load *l)
{
    struct journal_problem problem = {0};
    struct journal_compaction done;
    struct journal_options options = {
        .dir = l->dir, .map_bytes = MAP_BYTES, .step_bytes = STEP_BYTES};
    int err = journal_compact(&options, NULL, &done, &problem);
    if (err == 0) return 0;
    say_fatal(l, problem.text);
    return err == BOSKOS_E_CORRUPT ? 4 : err == BOSKOS_E_NOMEM ? 5 : 1;
}

// ---- commands ---------------------------------------------------------------

struct call {
    struct engine_request request; // first: a request is its call
    struct command command;
    struct load_shared *shared;
    sem_t *ready;
    char owner[TEXT_BYTES], name[TEXT_BYTES];
    char value[VALUE_BYTES_MAX];
    struct userdata_pair pair;
};

static uint64_t command_hash(const struct command *c)
{
    struct buffer bytes;
    buffer_init(&bytes);
    command_encode(c, &bytes);
    uint64_t hash = hash64(bytes.data, bytes.size, c->kind);
    buffer_release(&bytes);
    return hash;
}

static void call_done(struct engine_request *r, int error, struct sm *sm,
                      const struct sm_result *result, uint64_t now_ns)
{
    struct call *c = (struct call *)r;
    struct load_shared *shared = c->shared;
    (void)sm, (void)result, (void)now_ns;
    if (shared != NULL && error == 0) {
        unsigned i = atomic_load(&shared->count);
        ASSERT(i < LOAD_ACKNOWLEDGED_MAX);
        shared->list[i] = (struct load_acknowledged){c->command.seq, command_hash(&c->command)};
        atomic_store(&shared->count, i + 1);
        if (atomic_load(&shared->refused) > 0) atomic_fetch_add(&shared->served_after, 1);
    }
    if (shared != NULL && error == BOSKOS_E_NOSPACE) atomic_fetch_add(&shared->refused, 1);
    sem_post(c->ready);
}

static void make_update(struct load *l, struct call *c)
{
    size_t size = disk_random(&l->random, 3) == 0 ? disk_random(&l->random, VALUE_BYTES_MAX)
                                                  : disk_random(&l->random, 40);
    memset(c->value, 'a' + (int)disk_random(&l->random, 26), size);
    c->pair = (struct userdata_pair){TEXT("k"), text_of(c->value, size)};
    c->command.kind = COMMAND_UPDATE;
    c->command.as.update = (struct command_update){.name = text_from(c->name),
                                                   .owner = text_from(c->owner),
                                                   .state = TEXT("busy"),
                                                   .has_body = true,
                                                   .pairs = &c->pair,
                                                   .pairs_count = 1};
}

static void make_command(struct load *l, struct call *c)
{
    uint64_t roll = disk_random(&l->random, 100);
    snprintf(c->owner, sizeof(c->owner), "owner-%u", (unsigned)disk_random(&l->random, 3));
    snprintf(c->name, sizeof(c->name), "a%u", 1 + (unsigned)disk_random(&l->random, 9));
    struct text type = disk_random(&l->random, 4) == 0 ? TEXT("d") : TEXT("a");
    c->request = (struct engine_request){.command = &c->command, .done = call_done};
    if (roll < 40) {
        c->command.kind = COMMAND_ACQUIRE;
        c->command.as.acquire = (struct command_acquire){.type = type,
                                                         .state = TEXT("free"),
                                                         .dest = TEXT("busy"),
                                                         .owner = text_from(c->owner)};
    } else if (roll < 60) {
        c->command.kind = COMMAND_RELEASE;
        c->command.as.release = (struct command_release){
            .name = text_from(c->name), .dest = TEXT("free"), .owner = text_from(c->owner)};
    } else if (roll < 97) {
        make_update(l, c);
    } else {
        c->command.kind = COMMAND_RESET;
        c->command.as.reset = (struct command_reset){
            .type = type, .state = TEXT("busy"), .dest = TEXT("free"), .expire = TEXT("5s")};
    }
}

static void send_chain(struct load *l, unsigned count)
{
    static struct call calls[LOAD_CHAIN_MAX];
    sem_t ready;
    ASSERT(count <= LOAD_CHAIN_MAX && sem_init(&ready, 0, 0) == 0);
    for (unsigned i = 0; i < count; i++) {
        struct call *c = &calls[i];
        *c = (struct call){.shared = l->shared, .ready = &ready};
        make_command(l, c);
        if (i > 0) calls[i - 1].request.next = &c->request;
    }
    atomic_fetch_add(&world.now_ns, disk_random(&l->random, 5 * NS_PER_S));
    engine_submit(l->engine, &calls[0].request);
    if (l->drains && disk_random(&l->random, 4) == 0)
        ASSERT(journal_drain(l->engine->journal, NULL) == 0);
    for (unsigned i = 0; i < count; i++) {
        while (sem_wait(&ready) != 0) {
        }
    }
    sem_destroy(&ready);
}

void load_configure(struct load *l)
{
    static const struct text names[] = {TEXT("a1"), TEXT("a2"), TEXT("a3"), TEXT("a4"), TEXT("a5"),
                                        TEXT("a6"), TEXT("a7"), TEXT("a8"), TEXT("a9")};
    static const struct sm_entry entries[] = {
        {.type = TEXT("a"), .state = TEXT("free"), .names = names, .names_count = 9},
        {.type = TEXT("d"),
         .state = TEXT("free"),
         .is_dynamic = true,
         .min_count = 1,
         .max_count = 4,
         .has_lifespan = true,
         .lifespan_ns = 20 * (int64_t)NS_PER_S}};
    sem_t ready;
    if (l->config[0] != '\0') return;
    ASSERT(sem_init(&ready, 0, 0) == 0);
    struct call c = {.shared = l->shared, .ready = &ready};
    c.request = (struct engine_request){.command = &c.command, .done = call_done};
    c.command.kind = COMMAND_CONFIG;
    c.command.as.config = (struct command_config){.entries = entries, .entries_count = 2};
    engine_submit(l->engine, &c.request);
    while (sem_wait(&ready) != 0) {
    }
    sem_destroy(&ready);
}

void load_send(struct load *l, unsigned chains)
{
    for (unsigned i = 0; i < chains; i++) {
        send_chain(l, 1 + (unsigned)disk_random(&l->random, LOAD_CHAIN_MAX));
    }
}

// ---- afterwards -------------------------------------------------------------

static int check_one(struct load *l, const struct load_acknowledged *a)
{
    struct journal_cursor *cursor = NULL;
    struct journal_problem problem = {0};
    struct record r = {0};
    struct journal_row row;
    if (a->seq < journal_first(l->engine->journal)) return 0; // trimmed: a snapshot has it
    int err = journal_cursor_open(l->engine->journal, a->seq, NULL, &cursor, &problem);
    if (err == 0) err = journal_cursor_next(cursor, &r, &row, &problem);
    bool is_it = err == 0 && hash64(r.payload.data, r.payload.size, r.kind) == a->hash;
    if (!is_it) {
        fprintf(stderr, "record %" PRIu64 " was acknowledged and is %s %s\n", a->seq,
                err != 0 ? "not there:" : "another one", problem.text);
    }
    journal_cursor_close(cursor);
    return is_it ? 0 : 1;
}

int load_check(struct load *l)
{
    int wrong = 0;
    for (unsigned i = 0; i < atomic_load(&l->shared->count) && wrong == 0; i++) {
        wrong = check_one(l, &l->shared->list[i]);
    }
    return wrong;
}
