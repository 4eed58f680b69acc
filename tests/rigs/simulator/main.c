// Runs years of the simulation, each from a seed of its own, and says what came to pass in them.
//
//   simulator [--seed N] [--years N] [--days N]     --days: of each run, for a short look
//
// The seed may also come from BOSKOS_SEED.
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "tests/rigs/simulator/simulator.h"

#include "base/banned.h"

// ---- what is told -----------------------------------------------------------

struct buffer *sim_note_begin(struct sim *s)
{
    struct buffer *line = &s->recent[s->recent_count++ % RECENT];
    buffer_clear(line);
    buffer_format(line, "day %" PRIu64 " %06" PRIu64 ".%03" PRIu64 " s: ", s->now_ns / DAY_NS,
                  s->now_ns % DAY_NS / NS_PER_S, s->now_ns % NS_PER_S / NS_PER_MS);
    return line;
}

void sim_note(struct sim *s, const char *format, ...)
{
    char text[2048];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    buffer_format(sim_note_begin(s), "%s\n", text);
}

static void print_log_tail(const struct sim *s)
{
    char text[4096];
    off_t end = lseek(s->log.fd, 0, SEEK_END);
    off_t from = end > (off_t)sizeof(text) ? end - (off_t)sizeof(text) : 0;
    ssize_t size = pread(s->log.fd, text, sizeof(text), from);
    if (size > 0) fprintf(stderr, "the engine's log:\n%.*s", (int)size, text);
}

bool sim_fail(struct sim *s, const char *format, ...)
{
    va_list arguments;
    if (s->has_failed) return false;
    s->has_failed = true;
    print_log_tail(s);
    fprintf(stderr, "what came before:\n");
    for (uint64_t i = s->recent_count < RECENT ? 0 : s->recent_count - RECENT; i < s->recent_count;
         i++) {
        const struct buffer *line = &s->recent[i % RECENT];
        fprintf(stderr, "  %.*s", TEXT_ARG(buffer_as_text(line)));
    }
    fprintf(stderr, "FAILED: seed %" PRIu64 ", step %" PRIu64 ", day %" PRIu64 ": ", s->seed,
            s->step, s->now_ns / DAY_NS);
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\n%.*srepeat it with --seed %" PRIu64 " --days %" PRIu64 "\n",
            TEXT_ARG(buffer_as_text(&s->complaint)), s->seed, s->end_ns / DAY_NS);
    return false;
}

// The one that runs, for the handler below.
static struct sim *running;

// An assertion that failed, or worse: which seed was it.
static void ended(int number)
{
    if (running != NULL) {
        sim_fail(running, "the program was ended by signal %d", number);
        world_remove(running->dir);
    }
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

// ---- a run ------------------------------------------------------------------

static enum event next_event(const struct sim *s)
{
    uint32_t next = 0;
    for (uint32_t i = 1; i < EVENTS; i++) {
        if (s->next_ns[i] < s->next_ns[next]) next = i;
    }
    return (enum event)next;
}

// One thing happens: an event of the world, or requests of clients.
static void happen(struct sim *s)
{
    enum event event = next_event(s);
    uint64_t client_ns = clients_next_ns(s);
    if (s->next_ns[event] <= client_ns) {
        if (s->next_ns[event] > s->now_ns) s->now_ns = s->next_ns[event];
        world_event(s, event);
    } else {
        if (client_ns > s->now_ns) s->now_ns = client_ns;
        if (clients_submit(s)) world_step(s);
        clients_hear(s);
    }
    if (s->has_failed) return;
    world_schedule_due(s);
    if (s->undrained == 0) checks_step(s);
}

static bool run(uint64_t seed, uint64_t span_ns, struct tally *ret_tally)
{
    struct sim *s = must_calloc(1, sizeof(*s));
    running = s;
    world_init(s, seed, span_ns);
    audit_init(s);
    clients_init(s);
    world_start(s, false);
    while (!s->has_failed && s->now_ns < s->end_ns)
        happen(s);
    if (!s->has_failed) checks_last(s);
    bool is_fine = !s->has_failed;
    running = NULL;
    audit_close(s);
    world_release(s);
    clients_release(s);
    audit_release(s);
    *ret_tally = s->tally;
    free(s);
    return is_fine;
}

// ---- all of them ------------------------------------------------------------

static void print_tally(const char *what, const struct tally *t)
{
    printf("%s: %" PRIu64 " commands in %" PRIu64 " commits, %" PRIu64 " requests (%" PRIu64
           " answers lost), %" PRIu64 " crashes (%" PRIu64 " at a write, %" PRIu64
           " of the power), %" PRIu64 " stops, %" PRIu64 " clock jumps, %" PRIu64
           " sleeps, %" PRIu64 " times a full disk (%" PRIu64 " refused), %" PRIu64
           " config changes (%" PRIu64 " bad), %" PRIu64 " crashes with nothing drained, %" PRIu64
           " grants, %" PRIu64 " told again, %" PRIu64 " reaped, %" PRIu64 " state checks, %" PRIu64
           " replays\n",
           what, t->commands, t->commits, t->requests, t->lost, t->crashes, t->crashes_in_commit,
           t->power_losses, t->stops, t->jumps, t->sleeps, t->fulls, t->refused, t->configs,
           t->bad_configs, t->undrained, t->grants, t->repeats, t->reaped, t->checks, t->replays);
    (void)fflush(stdout);
}

static void add_tally(struct tally *sum, const struct tally *t)
{
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)t;
    for (size_t i = 0; i < sizeof(*t) / sizeof(*from); i++)
        to[i] += from[i];
}

static uint64_t number_of(const char *text)
{
    char *end;
    uint64_t number = strtoull(text, &end, 10);
    if (*text == '\0' || *end != '\0') {
        fprintf(stderr, "not a number: %s\n", text);
        exit(2);
    }
    return number;
}

int main(int count, char **arguments)
{
    const char *from_outside = getenv("BOSKOS_SEED");
    uint64_t seed = from_outside != NULL ? number_of(from_outside) : 1;
    uint64_t years = 1, days = 365;
    for (int i = 1; i < count; i++) {
        uint64_t *to = strcmp(arguments[i], "--seed") == 0    ? &seed
                       : strcmp(arguments[i], "--years") == 0 ? &years
                       : strcmp(arguments[i], "--days") == 0  ? &days
                                                              : NULL;
        if (to == NULL || ++i == count) {
            fprintf(stderr, "usage: simulator [--seed N] [--years N] [--days N]\n");
            return 2;
        }
        *to = number_of(arguments[i]);
    }
    struct tally sum = {0};
    (void)signal(SIGABRT, ended);
    (void)signal(SIGSEGV, ended);
    (void)signal(SIGBUS, ended);
    (void)signal(SIGTERM, ended);
    for (uint64_t i = 0; i < years; i++) {
        struct tally tally = {0};
        char what[64];
        bool is_fine = run(seed + i, days * DAY_NS, &tally);
        snprintf(what, sizeof(what), "seed %" PRIu64 ", %" PRIu64 " days", seed + i, days);
        print_tally(what, &tally);
        if (!is_fine) return 1;
        add_tally(&sum, &tally);
    }
    char what[64];
    snprintf(what, sizeof(what), "all well, seeds %" PRIu64 " to %" PRIu64, seed, seed + years - 1);
    print_tally(what, &sum);
    return 0;
}
