#include "daemon/maintain.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/cli.h"
#include "base/clock.h"
#include "daemon/import.h"
#include "engine/repair.h"
#include "journal/journal.h"

#include "base/banned.h"

#define HOST_BYTES 256u
#define WHY_BYTES 1024u
#define MIB (1024.0 * 1024.0)

static void say_problem(const char *text)
{
    cli_complain("boskosd", "%s", text);
}

// LMDB met a damaged page. There is no way back from here.
static void end_for_damage(void *context, const char *why)
{
    const struct options *o = context;
    char line[WHY_BYTES];
    engine_repair_advise(o->data_dir, why, line, sizeof(line));
    say_problem(line);
    _exit(4);
}

static void say_noticed(void *context, const char *what)
{
    (void)context;
    say_problem(what);
}

// ---- progress on a terminal ---------------------------------------------------

struct progress {
    struct clock clock;
    uint64_t started_ns;
    bool was_said;
};

static void say_bytes(void *context, uint64_t done, uint64_t total)
{
    struct progress *p = context;
    double seconds = (double)(clock_mono_ns(&p->clock) - p->started_ns) / (double)NS_PER_S;
    p->was_said = true;
    fprintf(stderr, "\r%.0f of %.0f MiB, %.0f MiB/s ", (double)done / MIB, (double)total / MIB,
            seconds > 0 ? (double)done / MIB / seconds : 0.0);
}

static void progress_end(const struct progress *p)
{
    if (p->was_said) fputc('\n', stderr);
}

// ---- --compact ----------------------------------------------------------------

static int compact(const struct options *o, const struct log *log)
{
    struct progress progress = {.clock = log->clock, .started_ns = clock_mono_ns(&log->clock)};
    struct journal_progress said = {.said = say_bytes, .context = &progress};
    struct journal_problem problem = {0};
    struct journal_compaction c;
    struct journal_options options = {.dir = o->data_dir,
                                      .lock_wait_ms = JOURNAL_LOCK_WAIT_MS_DEFAULT,
                                      .damaged = end_for_damage,
                                      .noticed = say_noticed,
                                      .context = (void *)(uintptr_t)o};
    int err = journal_compact(&options, isatty(STDERR_FILENO) ? &said : NULL, &c, &problem);
    progress_end(&progress);
    if (err == BOSKOS_E_CORRUPT) end_for_damage((void *)(uintptr_t)o, problem.text);
    if (err != 0) {
        say_problem(problem.text);
        return err == BOSKOS_E_NOMEM ? 5 : 1;
    }
    printf("compacted %s/journal/data.mdb: %" PRIu64 " bytes before, %" PRIu64 " bytes after\n",
           o->data_dir, c.bytes_before, c.bytes_after);
    return 0;
}

// ---- --repair -----------------------------------------------------------------

// A line about how far it is stands on the terminal until the next one comes.
static void say_line(void *context, const char *line)
{
    (void)context;
    if (isatty(STDERR_FILENO)) fputs("\r\033[K", stderr);
    puts(line);
    fflush(stdout);
}

static void say_records(void *context, uint64_t records)
{
    (void)context;
    fprintf(stderr, "\rrecord %" PRIu64 " ", records);
}

static int repair(const struct options *o, const struct log *log)
{
    char host[HOST_BYTES] = {0};
    char why[WHY_BYTES] = {0};
    int exit_code = 1;
    (void)gethostname(host, sizeof(host) - 1);
    struct engine_repair_options options = {.data_dir = o->data_dir,
                                            .cut_at = o->cut_at,
                                            .version = BOSKOSD_VERSION,
                                            .host = host,
                                            .clock = log->clock,
                                            .said = say_line,
                                            .noticed = say_noticed,
                                            .progress = isatty(STDERR_FILENO) ? say_records : NULL};
    int err = engine_repair(&options, why, sizeof(why), &exit_code);
    if (err == 0) return 0;
    say_problem(why);
    return exit_code;
}

int maintain(const struct options *options, const struct log *log)
{
    if (options->import != NULL) return import_dump(options, log, end_for_damage, say_noticed);
    return options->compact ? compact(options, log) : repair(options, log);
}
