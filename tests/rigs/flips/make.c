#include "tests/rigs/flips/flips.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/banned.h"

#define START_NS (UINT64_C(1700000000) * NS_PER_S)
#define MINUTE_NS (60 * NS_PER_S)
#define RESOURCES 60
#define BIG_BYTES 20000 // of userdata: on pages of its own
#define MAP_BYTES (UINT64_C(1) << 30)
#define STEP_BYTES (UINT64_C(2) << 20) // AHEAD is a quarter of it, and filled by much of its size
#define FILES_MAX 1000

// ---- an engine that stands still in time ------------------------------------

static uint64_t now_ns;

static uint64_t wall_ns(void *context)
{
    (void)context;
    return now_ns;
}

static uint64_t mono_ns(void *context)
{
    (void)context;
    return 1;
}

static void batch_done(void *context)
{
    (void)context;
}

static void fatal(void *context, int exit_code, const char *why)
{
    (void)context;
    (void)dprintf(STDERR_FILENO, "fatal: %s\n", why);
    _exit(exit_code);
}

void flips_options(struct engine_options *o, const char *dir, const char *config, uint64_t minute)
{
    static struct log log;
    now_ns = START_NS + minute * MINUTE_NS;
    struct clock clock = {wall_ns, mono_ns, NULL};
    log = (struct log){.fd = STDERR_FILENO, .level = LOG_WARNING, .clock = clock};
    *o = (struct engine_options){.data_dir = dir,
                                 .config_path = config,
                                 .request_ttl_ns = 30 * (int64_t)NS_PER_S,
                                 .snapshot_every = 100000,
                                 .map_bytes = MAP_BYTES,
                                 .step_bytes = STEP_BYTES,
                                 .version = "0",
                                 .host = "h",
                                 .clock = clock,
                                 .log = &log,
                                 .batch_done = batch_done,
                                 .fatal = fatal};
}

struct call {
    struct engine_request request;
    sem_t done;
};

static void call_done(struct engine_request *r, int error, struct sm *sm,
                      const struct sm_result *result, uint64_t at_ns)
{
    (void)sm, (void)result, (void)at_ns;
    ASSERT(error == 0);
    (void)sem_post(&((struct call *)(void *)r)->done);
}

void flips_submit(struct engine *e, struct command *c)
{
    struct call call = {.request = {.command = c, .done = call_done}};
    ASSERT(sem_init(&call.done, 0, 0) == 0);
    engine_submit(e, &call.request);
    if (!e->is_sequencing) sequencer_step(e);
    while (sem_wait(&call.done) != 0)
        ;
    (void)sem_destroy(&call.done);
}

// ---- copies -----------------------------------------------------------------

// What a file system promised and nobody wrote is left as a hole.
static void file_copy(const char *from, const char *to)
{
    static char bytes[1 << 16];
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ASSERT(in >= 0 && out >= 0);
    off_t at = 0;
    for (ssize_t n; (n = pread(in, bytes, sizeof(bytes), at)) > 0; at += n) {
        bool is_empty = bytes[0] == 0 && memcmp(bytes, bytes + 1, (size_t)n - 1) == 0;
        if (!is_empty) ASSERT(pwrite(out, bytes, (size_t)n, at) == n);
    }
    ASSERT(ftruncate(out, at) == 0);
    (void)close(in);
    (void)close(out);
}

void flips_copy(const char *from, const char *to)
{
    char source[PATH_BYTES], target[PATH_BYTES];
    (void)snprintf(target, sizeof(target), "%s/journal", to);
    ASSERT(mkdir(to, 0700) == 0 && mkdir(target, 0700) == 0);
    (void)snprintf(source, sizeof(source), "%s/journal", from);
    DIR *dir = opendir(source);
    ASSERT(dir != NULL);
    const struct dirent *entry;
    for (int i = 0; i < FILES_MAX && (entry = readdir(dir)) != NULL; i++) {
        if (entry->d_name[0] == '.') continue;
        (void)snprintf(source, sizeof(source), "%s/journal/%.200s", from, entry->d_name);
        (void)snprintf(target, sizeof(target), "%s/journal/%.200s", to, entry->d_name);
        file_copy(source, target);
    }
    (void)closedir(dir);
}

// ---- the journal ------------------------------------------------------------

static void config_write(const char *path, int session)
{
    FILE *f = fopen(path, "w");
    ASSERT(f != NULL);
    (void)fprintf(f, "resources:\n- type: t\n  state: free\n  names:\n");
    for (int i = 0; i < RESOURCES; i++)
        (void)fprintf(f, "  - r-%d\n", i);
    (void)fprintf(f,
                  "- type: d\n  state: free\n  min-count: %d\n  max-count: 9\n  config:\n"
                  "    type: maker\n    content: \"",
                  2 + session);
    for (int i = 0; i < BIG_BYTES / 10; i++) // a record on pages of its own
        (void)fprintf(f, "%09d ", i * (session + 1));
    (void)fprintf(f, "\"\n");
    ASSERT(fclose(f) == 0);
}

static void update_big(struct engine *e, struct text name, int i)
{
    static char big[BIG_BYTES];
    memset(big, 'a' + i % 26, sizeof(big));
    struct userdata_pair pairs[] = {{TEXT("key"), text_of(big, 200 + (size_t)i * 97 % BIG_BYTES)}};
    struct command c = {.kind = COMMAND_UPDATE};
    c.as.update = (struct command_update){.name = name,
                                          .owner = TEXT("ann"),
                                          .state = TEXT("busy"),
                                          .has_body = true,
                                          .pairs = pairs,
                                          .pairs_count = 1};
    flips_submit(e, &c);
}

// Leases and gives back, one transaction each; every 16th with much userdata.
static void work(struct engine *e, int count)
{
    for (int i = 0; i < count; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "r-%d", i % RESOURCES);
        struct command get = {.kind = COMMAND_ACQUIRE};
        get.as.acquire = (struct command_acquire){.type = TEXT("t"),
                                                  .state = TEXT("free"),
                                                  .dest = TEXT("busy"),
                                                  .owner = TEXT("ann"),
                                                  .request_id = TEXT("id"),
                                                  .key = TEXT("")};
        flips_submit(e, &get);
        if (i % 16 == 0) update_big(e, text_from(name), i);
        struct command put = {.kind = COMMAND_RELEASE};
        put.as.release = (struct command_release){text_from(name), TEXT("free"), TEXT("ann")};
        flips_submit(e, &put);
    }
}

static struct engine *session(const char *dir, const char *config, int number)
{
    struct engine_options o;
    struct engine *e = NULL;
    struct engine_recovery found;
    char why[WHY_BYTES];
    int exit_code = 0;
    config_write(config, number);
    flips_options(&o, dir, config, (uint64_t)number + 1);
    ASSERT(engine_open(&o, &e, &found, why, sizeof(why), &exit_code) == 0);
    return e;
}

void flips_make(const char *dir, int leases)
{
    char now[PATH_BYTES], old[PATH_BYTES], config[PATH_BYTES];
    (void)snprintf(now, sizeof(now), "%s/now", dir);
    (void)snprintf(config, sizeof(config), "%s/config.yaml", dir);
    // Each end writes a snapshot; the last session has none: a tail is left.
    for (int i = 0; i < OLD_VERSIONS; i++) {
        struct engine *e = session(now, config, i);
        ASSERT(engine_start(e) == 0);
        work(e, leases);
        engine_stop(e);
        engine_close(e);
        (void)snprintf(old, sizeof(old), "%s/%d", dir, OLD_VERSIONS - i);
        flips_copy(now, old);
    }
    // Without threads, so that nothing is under way, and what is not drained stays in AHEAD.
    struct engine *e = session(now, config, OLD_VERSIONS);
    work(e, leases / 3);
    ASSERT(journal_drain(e->journal, NULL) == 0);
    work(e, leases - leases / 3);
    (void)snprintf(old, sizeof(old), "%s/0", dir);
    flips_copy(now, old);
    engine_close(e);
}
