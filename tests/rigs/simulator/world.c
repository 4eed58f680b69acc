// The world of the simulation: the clock, the engine's starts and ends, and what happens to both.
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/assert.h"
#include "tests/rigs/simulator/simulator.h"

#include "base/banned.h"

#define RESERVED_COMMANDS 500u // that a full disk still takes, at least, if they are no acquires
#define STEPS_UNDRAINED 400u   // before a crash that leaves all of them in the write-ahead file
#define CALLS_TO_CRASH 12u     // a crash in a commit comes within so many calls to the disk

// ---- chance -----------------------------------------------------------------

uint64_t sim_random(struct sim *s, uint64_t bound)
{
    uint64_t z = (s->random += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % bound;
}

bool sim_once_in(struct sim *s, uint64_t n)
{
    return sim_random(s, n) == 0;
}

uint64_t sim_span(struct sim *s, uint64_t least_ns, uint64_t most_ns)
{
    uint64_t doublings = 0;
    while (least_ns << (doublings + 1) <= most_ns)
        doublings++;
    uint64_t low = least_ns << sim_random(s, doublings + 1);
    return low + sim_random(s, low < most_ns - low ? low + 1 : most_ns - low + 1);
}

// ---- the clock --------------------------------------------------------------

uint64_t world_wall_ns(void *context)
{
    const struct sim *s = context;
    return EPOCH_NS + s->now_ns + (uint64_t)s->wall_error_ns;
}

uint64_t world_mono_ns(void *context)
{
    const struct sim *s = context;
    return DAY_NS + s->now_ns - s->slept_ns;
}

// The engine waits between two looks at the config file, which may change in between.
static void pause_engine(void *context, uint64_t ns)
{
    struct sim *s = context;
    s->now_ns += ns;
    if (s->config_next.size == 0) return;
    FILE *file = fopen(s->config, "we");
    ASSERT(file != NULL);
    ASSERT(fwrite(s->config_next.data, 1, s->config_next.size, file) == s->config_next.size);
    ASSERT(fclose(file) == 0);
    buffer_clear(&s->config_next);
}

static void batch_done(void *context)
{
    (void)context;
}

static void fatal(void *context, int exit_code, const char *why)
{
    struct sim *s = context;
    sim_fail(s, "the engine ended itself%s: exit code %d, %s",
             disk_is_dead() ? " after the disk was gone" : "", exit_code, why);
    abort();
}

// ---- config files -----------------------------------------------------------

static void put_config(struct sim *s, struct text text)
{
    FILE *file = fopen(s->config, "we");
    ASSERT(file != NULL);
    ASSERT(fwrite(text.data, 1, text.size, file) == text.size);
    ASSERT(fclose(file) == 0);
}

// Good, bad, or cut off while it is being written and then completed.
static void change_config(struct sim *s)
{
    struct buffer text;
    buffer_init(&text);
    s->is_config_bad = sim_once_in(s, 5);
    config_make(s, s->is_config_bad, &text);
    s->tally.configs++;
    s->tally.bad_configs += s->is_config_bad;
    sim_note(s, "the config file changes%s:\n%.*s", s->is_config_bad ? " to a bad one" : "",
             TEXT_ARG(buffer_as_text(&text)));
    if (sim_once_in(s, 4)) {
        put_config(s, text_of(text.data, sim_random(s, text.size)));
        buffer_clear(&s->config_next);
        if (s->engine != NULL) buffer_text(&s->config_next, buffer_as_text(&text));
    }
    if (s->config_next.size == 0) put_config(s, buffer_as_text(&text));
    buffer_release(&text);
}

static void event_config(struct sim *s)
{
    struct engine_figures before, after;
    change_config(s);
    engine_figures(s->engine, &before);
    watcher_step(s->engine);
    engine_figures(s->engine, &after);
    if (s->config_next.size > 0) { // nothing was read, as nothing had changed
        put_config(s, buffer_as_text(&s->config_next));
        buffer_clear(&s->config_next);
    }
    if (s->is_config_bad &&
        (after.config_bad == 0 || after.config_errors != before.config_errors + 1))
        sim_fail(s, "a bad config was not refused");
    world_step(s);
}

// ---- starts and ends --------------------------------------------------------

static void fill_disk(struct sim *s, bool is_full)
{
    s->is_full = is_full;
    s->was_full |= is_full;
    s->full_commands = 0;
    s->tally.fulls += is_full;
    disk_fill(is_full);
    sim_note(s, "the disk %s", is_full ? "is full" : "has room");
}

static void open_engine(struct sim *s)
{
    struct engine_recovery found = {0};
    char why[WHY_BYTES] = "";
    int exit_code = 0;
    s->engine = NULL;
    int err = engine_open(&s->options, &s->engine, &found, why, sizeof(why), &exit_code);
    if (err == BOSKOS_E_NOSPACE && s->is_full && !disk_is_dead()) {
        sim_note(s, "no start on a full disk: %s", why);
        fill_disk(s, false);
        err = engine_open(&s->options, &s->engine, &found, why, sizeof(why), &exit_code);
    }
    if (err != 0 && !disk_is_dead())
        sim_fail(s, "the engine does not start: %s, exit code %d: %s", boskos_error_text(err),
                 exit_code, why);
    s->recovered_seq = found.seq;
    s->was_full = s->is_full;
    s->owes_clock = false;
    s->next_ns[EVENT_DUE] = s->now_ns;
}

// It has no threads, and so this is no clean stop.
static void close_engine(struct sim *s)
{
    s->undrained = 0;
    audit_close(s);
    engine_close(s->engine);
    s->engine = NULL;
    s->tally.power_losses += disk_disarm();
}

void world_start(struct sim *s, bool may_crash)
{
    if (sim_once_in(s, 4)) {
        s->options.request_ttl_ns =
            (int64_t)(sim_once_in(s, 2) ? 30 : 5 + sim_random(s, 120)) * (int64_t)NS_PER_S;
    }
    s->options.snapshot_every = 1000 + sim_random(s, 20000);
    s->options.retain_ns = sim_span(s, HOUR_NS, 30 * DAY_NS);
    for (uint32_t i = 0; may_crash && i < 3 && sim_once_in(s, 3); i++) {
        disk_arm((uint32_t)sim_random(s, CALLS_TO_CRASH), sim_once_in(s, 2));
        open_engine(s);
        if (s->has_failed) return;
        sim_note(s, "a start%s, and a crash", disk_is_dead() ? ", the disk stops" : "");
        s->tally.crashes++;
        close_engine(s);
        s->now_ns += sim_span(s, NS_PER_S, MINUTE_NS);
    }
    open_engine(s);
    sim_note(s, "the engine is there, request ttl %" PRId64 " s",
             s->options.request_ttl_ns / (int64_t)NS_PER_S);
    if (s->has_failed) return;
    shadow_open(s->engine);
    if (!audit_open(s) || !audit_follow(s)) return;
    s->stamp_ns = s->engine->time.last_ns;
    s->stamp_mono_ns = s->engine->time.last_mono_ns; // it read its config after that
    s->reap_since_ns = s->sweep_since_ns = s->clean_since_ns = 0;
    if (s->stamp_ns < s->time_ns) sim_fail(s, "the engine begins before its last record");
}

// The engine is not there for a while, in which its files and the clock may change.
static void be_down(struct sim *s)
{
    uint64_t down_ns = sim_once_in(s, 3) ? 0 : sim_span(s, NS_PER_S / 10, 2 * DAY_NS);
    if (sim_once_in(s, 2)) down_ns %= 2 * MINUTE_NS;
    if (sim_once_in(s, 8)) change_config(s);
    if (sim_once_in(s, 8)) s->wall_error_ns -= (int64_t)sim_span(s, NS_PER_S, HOUR_NS);
    s->now_ns += down_ns;
    sim_note(s, "down for %" PRIu64 " ms", down_ns / NS_PER_MS);
    if (ftruncate(s->log.fd, 0) != 0 || lseek(s->log.fd, 0, SEEK_SET) != 0) abort();
}

void world_crash(struct sim *s)
{
    s->tally.crashes++;
    s->tally.crashes_in_commit += disk_is_dead();
    close_engine(s);
    be_down(s);
    world_start(s, true);
}

// As engine_stop does: what waits is served, the rows and a snapshot are written.
static void stop_and_start(struct sim *s)
{
    if (!world_step(s) || s->has_failed) return;
    sim_note(s, "a clean stop");
    sequencer_flush_rows(s->engine);
    shadow_step(s->engine, true);
    close_engine(s);
    s->tally.stops++;
    be_down(s);
    world_start(s, true);
}

static void arm(struct sim *s, const char *where)
{
    uint32_t calls = (uint32_t)sim_random(s, CALLS_TO_CRASH);
    bool loses_power = sim_once_in(s, 2);
    sim_note(s, "a crash%s comes after %u calls, in %s", loses_power ? " of the power" : "", calls,
             where);
    disk_arm(calls, loses_power);
}

static void event_restart(struct sim *s)
{
    switch (sim_random(s, 5)) {
    case 0: stop_and_start(s); break;
    case 1:
        sim_note(s, "a crash between steps");
        world_crash(s);
        break;
    case 2:
        arm(s, "a snapshot");
        shadow_step(s->engine, true);
        world_crash(s);
        break;
    case 3:
        s->undrained = 1 + (uint32_t)sim_random(s, STEPS_UNDRAINED);
        sim_note(s, "nothing is drained for %u steps, and then a crash comes", s->undrained);
        break;
    default: arm(s, "a commit"); break; // of the steps that follow
    }
}

// A step after which the log is not looked at, for that would drain it. After the last one there is
// a crash, and all that was acknowledged is to be found by the recovery.
static bool undrained_step(struct sim *s)
{
    for (uint32_t i = 0; i < s->heard_count; i++) {
        if (s->heard[i]->seq > s->acknowledged_seq) s->acknowledged_seq = s->heard[i]->seq;
    }
    s->heard_count = 0;
    s->undrained--;
    if (s->undrained > 0 && !disk_is_dead()) return true;
    if (!disk_is_dead()) disk_arm(0, false); // what closing would drain does not reach the disk
    s->tally.undrained++;
    world_crash(s);
    return false;
}

// What the engine's own thread does twenty times a second. Sometimes a crash comes before.
static void drain(struct sim *s)
{
    struct journal_problem problem = {0};
    if (disk_is_dead()) return;
    int err = journal_drain(s->engine->journal, &problem);
    if (err != 0 && !disk_is_dead() && !s->is_full) sim_fail(s, "to drain: %s", problem.text);
}

bool world_step(struct sim *s)
{
    struct engine_figures before, after;
    engine_figures(s->engine, &before);
    s->heard_count = s->heard_checked = 0;
    s->kinds = 0;
    sequencer_step(s->engine);
    s->step++;
    if (s->undrained > 0) return undrained_step(s);
    drain(s);
    if (disk_is_dead()) {
        sim_note(s, "the crash is here");
        world_crash(s);
        return false;
    }
    engine_figures(s->engine, &after);
    s->tally.commits += after.commits - before.commits;
    s->tally.commands += after.commands - before.commands;
    s->full_commands += after.commands - before.commands;
    s->owes_clock |= after.is_full > 0;
    if (sim_once_in(s, 8)) shadow_step(s->engine, false);
    if (disk_is_dead()) {
        world_crash(s);
        return false;
    }
    return audit_follow(s) && checks_time(s) && checks_due(s);
}

// Acquires are refused first. The others have the reserve.
void world_refused(struct sim *s, const struct command *c)
{
    bool is_acquire = c->kind == COMMAND_ACQUIRE || c->kind == COMMAND_ACQUIREBYSTATE;
    s->tally.refused++;
    if (!s->is_full) sim_fail(s, "a request was refused for space, and there is room");
    if (!is_acquire && s->full_commands < RESERVED_COMMANDS)
        sim_fail(s, "after %" PRIu64 " commands the reserve is used up", s->full_commands);
}

// ---- events -----------------------------------------------------------------

static void event_clock(struct sim *s)
{
    int64_t by_ns = 0;
    switch (sim_random(s, 6)) {
    case 0: by_ns = -(int64_t)HOUR_NS; break;
    case 1: by_ns = (int64_t)HOUR_NS; break;
    case 2: by_ns = -(int64_t)sim_span(s, NS_PER_MS, 10 * MINUTE_NS); break;
    case 3: by_ns = (int64_t)sim_span(s, NS_PER_MS, 10 * MINUTE_NS); break;
    case 4: by_ns = -s->wall_error_ns; break; // set right again
    default:
        if (s->has_wild_clock) by_ns = (int64_t)YEAR_NS;
        break;
    }
    if (s->wall_error_ns > (int64_t)(DAY_NS * 100) && sim_once_in(s, 2)) by_ns = -s->wall_error_ns;
    s->wall_error_ns += by_ns;
    s->tally.jumps += by_ns != 0;
    sim_note(s, "the wall clock jumps by %" PRId64 " ms", by_ns / (int64_t)NS_PER_MS);
    world_step(s);
}

static void event_sleep(struct sim *s)
{
    uint64_t span_ns = sim_span(s, NS_PER_S, 2 * DAY_NS);
    s->now_ns += span_ns;
    s->slept_ns += span_ns;
    s->tally.sleeps++;
    sim_note(s, "the machine slept for %" PRIu64 " ms", span_ns / NS_PER_MS);
    world_step(s);
}

// A minute after there is room, everything is served again.
static void event_disk(struct sim *s)
{
    fill_disk(s, !s->is_full);
    if (s->is_full) {
        s->next_ns[EVENT_DISK] = s->now_ns + sim_span(s, NS_PER_S, 12 * HOUR_NS);
        return;
    }
    for (uint32_t i = 0; i < 2; i++) {
        s->now_ns += MINUTE_NS;
        shadow_step(s->engine, false);
        if (!world_step(s)) return;
    }
    struct engine_figures f;
    engine_figures(s->engine, &f);
    if (f.space_low + f.is_full > 0) sim_fail(s, "there is room, and commands are refused");
}

// Bursts come so often that the whole run has about as many commands as are wanted.
static void event_burst(struct sim *s)
{
    uint64_t share = s->end_ns / 1000;
    uint64_t planned = s->commands_wanted / 1000 * (s->now_ns / (share > 0 ? share : 1));
    bool is_late = s->tally.commands < planned;
    uint32_t count = 1 + (uint32_t)sim_random(s, sim_once_in(s, 10) ? s->clients_count : 12);
    s->next_ns[EVENT_BURST] = s->now_ns + sim_span(s, MINUTE_NS, 16 * HOUR_NS);
    if (!is_late) return;
    clients_burst(s, count);
    // What happens to the world matters most while clients are at work.
    if (!sim_once_in(s, 3)) return;
    enum event event = (enum event)(EVENT_CONFIG + sim_random(s, EVENT_DUE - EVENT_CONFIG));
    s->next_ns[event] = s->now_ns + sim_span(s, NS_PER_S, 30 * MINUTE_NS);
}

void world_event(struct sim *s, enum event event)
{
    static const uint64_t mean_ns[EVENTS] = {[EVENT_CONFIG] = 5 * DAY_NS,
                                             [EVENT_CLOCK] = 9 * DAY_NS,
                                             [EVENT_SLEEP] = 11 * DAY_NS,
                                             [EVENT_DISK] = 10 * DAY_NS,
                                             [EVENT_RESTART] = 4 * DAY_NS};
    if (mean_ns[event] > 0)
        s->next_ns[event] = s->now_ns + MINUTE_NS + sim_random(s, 2 * mean_ns[event]);
    switch (event) {
    case EVENT_BURST: event_burst(s); break;
    case EVENT_CONFIG: event_config(s); break;
    case EVENT_CLOCK: event_clock(s); break;
    case EVENT_SLEEP: event_sleep(s); break;
    case EVENT_DISK: event_disk(s); break;
    case EVENT_RESTART: event_restart(s); break;
    case EVENT_DUE: world_step(s); break;
    case EVENTS: break;
    }
}

// When the engine has something to do by itself: it looks at least once a second, and so up to a
// second late.
void world_schedule_due(struct sim *s)
{
    const struct engine *e = s->engine;
    uint64_t due = sm_expiry_due_ns(e->sm);
    uint64_t queue = sm_queue_due_ns(e->sm);
    uint64_t reap = sm_reap_due_ns(e->sm);
    if (queue != SM_NEVER && queue < e->swept_ns + SWEEP_PERIOD_NS)
        queue = e->swept_ns + SWEEP_PERIOD_NS;
    if (queue < due) due = queue;
    if (reap < due) due = reap;
    if (sm_cleaner_enabled(e->sm)) {
        const struct sm_cleanable *list;
        uint32_t count;
        sm_cleanable(e->sm, 1, &list, &count);
        if (count > 0 && e->cleaned_ns + CLEAN_PERIOD_NS < due)
            due = e->cleaned_ns + CLEAN_PERIOD_NS;
    }
    s->next_ns[EVENT_DUE] = NEVER;
    if (due == SM_NEVER) return;
    uint64_t span = due > e->time.last_ns ? due - e->time.last_ns : 0;
    if (e->time.is_behind) span *= 2;
    s->next_ns[EVENT_DUE] = s->now_ns + span + 1 + sim_random(s, NS_PER_S);
}

// ---- the beginning and the end ----------------------------------------------

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path);
}

void world_remove(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void make_folder(struct sim *s)
{
    const char *top = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : getenv("TMPDIR");
    snprintf(s->dir, sizeof(s->dir), "%s/boskosd-simulator-XXXXXX", top != NULL ? top : "/tmp");
    if (mkdtemp(s->dir) == NULL) {
        perror(s->dir);
        exit(1);
    }
    snprintf(s->data, sizeof(s->data), "%.200s/data", s->dir);
    snprintf(s->config, sizeof(s->config), "%.200s/config.yaml", s->dir);
}

void world_init(struct sim *s, uint64_t seed, uint64_t span_ns)
{
    s->seed = seed;
    s->random = seed * UINT64_C(0x2545f4914f6cdd1d) + 1;
    s->end_ns = span_ns;
    make_folder(s);
    disk_init(s->dir, pause_engine, s, seed);
    buffer_init(&s->config_next);
    buffer_init(&s->complaint);
    for (uint32_t i = 0; i < RECENT; i++)
        buffer_init(&s->recent[i]);
    int fd = memfd_create("log", MFD_CLOEXEC);
    ASSERT(fd >= 0);
    struct clock clock = {world_wall_ns, world_mono_ns, s};
    s->log = (struct log){.fd = fd, .level = LOG_INFO, .clock = clock};
    s->options = (struct engine_options){.data_dir = s->data,
                                         .config_path = s->config,
                                         .request_ttl_ns = 30 * (int64_t)NS_PER_S,
                                         .map_bytes = 4ull << 30,
                                         .step_bytes = 4u << 20,
                                         .retain_bytes = 1u << (22 + sim_random(s, 8)),
                                         .version = "simulated",
                                         .host = "here",
                                         .clock = clock,
                                         .log = &s->log,
                                         .batch_done = batch_done,
                                         .fatal = fatal,
                                         .context = s};
    static const uint64_t wanted[] = {100000, 200000, 300000, 400000};
    s->commands_wanted = wanted[sim_random(s, 4)] * (span_ns / DAY_NS) / 365;
    s->has_wild_clock = sim_once_in(s, 4);
    s->clients_count = sim_once_in(s, 3) ? CLIENTS_MAX : 20 + (uint32_t)sim_random(s, 100);
    for (uint32_t i = EVENT_CONFIG; i < EVENT_DUE; i++)
        s->next_ns[i] = HOUR_NS + sim_random(s, 5 * DAY_NS);
    struct buffer text;
    buffer_init(&text);
    config_make(s, false, &text);
    put_config(s, buffer_as_text(&text));
    buffer_release(&text);
}

void world_release(struct sim *s)
{
    engine_close(s->engine);
    disk_disarm();
    disk_fill(false);
    world_remove(s->dir);
    (void)close(s->log.fd);
    buffer_release(&s->config_next);
    buffer_release(&s->complaint);
    for (uint32_t i = 0; i < RECENT; i++)
        buffer_release(&s->recent[i]);
}
