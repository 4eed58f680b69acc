// One cleaning, in a thread of its own: the program is run, it is logged how that went, and the
// resource is given back.
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "client/give_back.h"
#include "client/janitor/janitor.h"
#include "client/subprocess.h"

#include "base/banned.h"

static void log_cleaning(const struct slot *s, enum outcome outcome,
                         const struct subprocess_result *r)
{
    static const char *const lines[OUTCOMES] = {
        "cleaned", "cleaning failed", "cleaning took too long", "the lease was lost while cleaning",
        "cleaning was ended, for the janitor ends"};
    log_event(&s->janitor->program.log, outcome == OUTCOME_CLEANED ? LOG_INFO : LOG_WARNING,
              lines[outcome], LOG_F_STRING("type", s->resource->type),
              LOG_F_STRING("name", s->resource->name), LOG_F_STRING("result", r->why),
              LOG_F_DURATION("took", r->took_ms * (int64_t)NS_PER_MS),
              LOG_F_TEXT("output", buffer_as_text(&r->tail)));
}

static enum outcome judge(const struct slot *s, const struct subprocess_result *r)
{
    if (atomic_load(&s->is_lost)) return OUTCOME_LOST;
    if (subprocess_is_good(r)) return OUTCOME_CLEANED;
    if (r->end == SUBPROCESS_LATE) return OUTCOME_LATE;
    // Who ended us may have sent the program a signal too: that looks like a failure.
    return program_is_ending(&s->janitor->program) ? OUTCOME_STOPPED : OUTCOME_FAILED;
}

static void run(const struct slot *s, struct subprocess_result *r)
{
    struct janitor *j = s->janitor;
    struct buffer flag;
    const char **argv = must_calloc(j->arguments_count + 3, sizeof(char *));
    buffer_init(&flag);
    buffer_format(&flag, "--%s=%s", s->kind->word, s->resource->name);
    buffer_char(&flag, '\0');
    argv[0] = j->path;
    argv[1] = flag.data;
    for (size_t i = 0; i < j->arguments_count; i++)
        argv[i + 2] = j->arguments[i];
    const struct subprocess what = {.argv = argv,
                                    .limit_ms = program_ms(j->limit_ns),
                                    .grace_ms = program_ms(j->grace_ns),
                                    .mask = &j->program.signals_before,
                                    .stop = j->program.stop,
                                    .lost = s->lost};
    subprocess_run(&what, r);
    buffer_release(&flag);
    free(argv);
}

static void note(const struct slot *s, enum outcome outcome, int64_t took_ms)
{
    struct janitor *j = s->janitor;
    struct kind *kind = s->kind;
    bool is_setback = outcome == OUTCOME_FAILED || outcome == OUTCOME_LATE;
    (void)pthread_mutex_lock(&j->lock);
    kind->counts[outcome]++;
    kind->took_ms += took_ms;
    if (is_setback && kind->round == s->round && kind->setbacks.count < JANITOR_SETBACKS_MAX)
        program_list_put(&kind->setbacks, text_from(s->resource->name));
    (void)pthread_mutex_unlock(&j->lock);
}

// Is it clean now?
static bool clean(const struct slot *s)
{
    struct subprocess_result r;
    run(s, &r);
    enum outcome outcome = judge(s, &r);
    // Logged before it is released: then somebody else's line may come.
    log_cleaning(s, outcome, &r);
    note(s, outcome, r.took_ms);
    subprocess_release(&r);
    return outcome == OUTCOME_CLEANED;
}

void *janitor_clean(void *slot)
{
    struct slot *s = slot;
    struct janitor *j = s->janitor;
    uint64_t one = 1;
    bool is_doubted, is_clean = s->is_to_clean && clean(s);
    (void)give_back(&j->program, s->resource, &s->is_lost, is_clean ? "free" : "dirty",
                    &is_doubted);
    (void)pthread_mutex_lock(&j->lock);
    s->state = SLOT_ENDED;
    (void)pthread_mutex_unlock(&j->lock);
    ssize_t ignored = write(j->wake_fd, &one, sizeof(one));
    (void)ignored;
    return NULL;
}
