// What is dirty becomes a job: one of each type in turn, so that one with many does not keep others
// waiting.
#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/clock.h"
#include "client/give_back.h"
#include "client/mason/mason.h"

#include "base/banned.h"

// A type of the config in one round.
struct turn {
    const struct config_entry *entry;
    const struct builder *builder;
    char *type;
    bool is_over; // nothing more of it in this round
};

struct round {
    struct turn *turns;
    size_t count;
    size_t share; // of the jobs, for each type: one whose jobs all wait leaves room for others
    struct program_list seen;
};

static const struct builder *find_builder(const struct mason *m, const struct config_entry *e)
{
    bool is_named = e->type.size > 0 && memchr(e->type.data, '\0', e->type.size) == NULL;
    if (!is_named || !e->is_dynamic || !e->has_config) return NULL;
    for (size_t i = 0; i < m->builders_count; i++) {
        if (text_equal(text_from(m->builders[i].type), e->config_type)) return &m->builders[i];
    }
    return NULL;
}

static void begin_round(struct mason *m, struct round *r)
{
    const struct config *c = m->config.config;
    *r = (struct round){.turns = must_calloc(c->entries_count + 1, sizeof(struct turn))};
    for (size_t i = 0; i < c->entries_count; i++) {
        const struct config_entry *e = &c->entries[(m->next + i) % c->entries_count];
        const struct builder *builder = find_builder(m, e);
        if (builder == NULL) continue;
        struct turn *t = &r->turns[r->count++];
        *t = (struct turn){e, builder, program_copy(e->type.data, e->type.size), false};
    }
    r->share = r->count < MASON_JOBS_MAX ? MASON_JOBS_MAX / (r->count + (r->count == 0)) : 1;
    if (c->entries_count > 0) m->next = (m->next + 1) % c->entries_count;
}

static void end_round(struct round *r)
{
    for (size_t i = 0; i < r->count; i++)
        free(r->turns[i].type);
    free(r->turns);
    program_list_free(&r->seen);
}

static struct boskos_resource *acquire(struct mason *m, const char *type)
{
    struct boskos_resource *got = NULL;
    struct boskos_call call = program_call(&m->program);
    int err = boskos_acquire(m->program.client, type, "dirty", "cleaning", 0, &got, &call);
    bool is_usual =
        err == BOSKOS_ERR_NONE || err == BOSKOS_ERR_NO_TYPE || err == BOSKOS_ERR_CANCELLED;
    if (err != 0)
        program_log(&m->program, is_usual ? LOG_DEBUG : LOG_WARNING,
                    "type %s: nothing acquired: %s", type, call.text);
    return got;
}

// Takes one and makes a job of it. False when there is no more to take of it in this round: one
// that has failed since it was taken is seen again only when all others had their turn.
static bool take_one(struct mason *m, struct round *r, const struct turn *t)
{
    struct job *job = NULL;
    struct boskos_resource *got = acquire(m, t->type);
    bool is_doubted;
    if (got == NULL) return false;
    if (is_of_type(&m->program, got, t->type) &&
        !program_list_has(&r->seen, text_from(got->name))) {
        program_list_put(&r->seen, text_from(got->name));
        job = mason_job_new(t->entry, t->builder, got);
        if (job == NULL) program_log(&m->program, LOG_ERROR, "no descriptor: %s", strerror(errno));
    }
    if (job != NULL) {
        mason_job_add(m, job);
        return true;
    }
    (void)give_back(&m->program, got, NULL, "dirty", &is_doubted);
    boskos_resource_free(got);
    return false;
}

static void take_round(struct mason *m)
{
    struct round r;
    begin_round(m, &r);
    for (bool has_more = true; has_more;) {
        has_more = false;
        for (size_t i = 0; i < r.count; i++) {
            struct turn *t = &r.turns[i];
            if (program_is_ending(&m->program) || mason_jobs_of(m, NULL) >= MASON_JOBS_MAX) break;
            t->is_over = t->is_over || mason_jobs_of(m, t->type) >= r.share || !take_one(m, &r, t);
            has_more = has_more || !t->is_over;
        }
    }
    end_round(&r);
}

// A builder that nothing in the config asks for is a mistake in one of the two, most likely.
static void warn_of_idle(const struct mason *m)
{
    const struct config *c = m->config.config;
    for (size_t b = 0; b < m->builders_count; b++) {
        bool is_wanted = false;
        for (size_t i = 0; i < c->entries_count && !is_wanted; i++)
            is_wanted = find_builder(m, &c->entries[i]) == &m->builders[b];
        if (!is_wanted)
            program_log(&m->program, LOG_WARNING,
                        "--builder %s=%s has nothing to do: no entry of %s without names has this "
                        "config.type",
                        m->builders[b].type, m->builders[b].path, m->config.path);
    }
}

int mason_work(struct mason *m)
{
    struct program *p = &m->program;
    bool is_new = true; // it was read at the start
    int err = boskos_heartbeat(p->client, program_ms(m->heartbeat_ns), mason_on_lost, m);
    if (err != 0) return program_fail(p, "no heartbeats: %s", boskos_code_text(err));
    int code = mason_start_crews(m);
    if (code == 0) program_log(p, LOG_INFO, "boskos-mason is ready");
    while (code == 0 && !program_is_ending(p)) {
        if (is_new) warn_of_idle(m);
        take_round(m);
        (void)program_sleep(p, program_ms(m->period_ns));
        (void)watched_refresh(p, &m->config, &is_new); // what was read before stays
    }
    mason_end_crews(m);
    (void)boskos_heartbeat(p->client, 0, NULL, NULL);
    return code;
}
