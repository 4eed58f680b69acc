// The list of jobs: what each has, what it may ask for, and what it lost.
#include <stdlib.h>

#include "base/assert.h"
#include "base/clock.h"
#include "client/mason/mason.h"

#include "base/banned.h"

void mason_lock(struct mason *m)
{
    (void)pthread_mutex_lock(&m->lock);
}

void mason_unlock(struct mason *m)
{
    (void)pthread_mutex_unlock(&m->lock);
}

static char *copy(struct text t)
{
    return program_copy(t.data, t.size);
}

// ---- what they lost -------------------------------------------------------------

// What a job has of that name, and has not lost.
static struct part *find_part(struct job *job, const char *name)
{
    if (!job->whole.is_lost && strcmp(job->whole.resource->name, name) == 0) return &job->whole;
    for (size_t i = 0; i < job->leased_count; i++) {
        struct part *part = &job->leased[i];
        if (!part->is_lost && strcmp(part->resource->name, name) == 0) return part;
    }
    return NULL;
}

// The lease of that name that was taken at that time is lost; NULL: whenever it was. With the lock
// held.
static void lose(struct mason *m, const char *name, const char *lastupdate)
{
    for (struct job *job = m->jobs; job != NULL; job = job->next) {
        struct part *part = find_part(job, name);
        if (part == NULL) continue;
        if (lastupdate != NULL && strcmp(part->resource->lastupdate, lastupdate) != 0) continue;
        part->is_lost = true;
        boskos_cancel(job->lost);
    }
    (void)pthread_cond_broadcast(&m->changed);
}

// From the client's thread, which has logged it.
void mason_on_lost(void *context, const struct boskos_resource *resource, int code)
{
    struct mason *m = context;
    (void)code;
    mason_lock(m);
    lose(m, resource->name, resource->lastupdate);
    mason_unlock(m);
}

// ---- begin and end --------------------------------------------------------------

static void job_free(struct job *job)
{
    for (size_t i = 0; i < job->leased_count; i++)
        boskos_resource_free(job->leased[i].resource);
    for (size_t i = 0; i < job->plan.needs_count; i++)
        free(job->plan.needs[i].type);
    free(job->leased);
    free(job->plan.needs);
    free((char *)(uintptr_t)job->plan.config_type.data);
    free((char *)(uintptr_t)job->plan.config_content.data);
    boskos_pairs_free(job->made);
    boskos_resource_free(job->whole.resource);
    boskos_cancel_free(job->lost);
    free(job);
}

struct job *mason_job_new(const struct config_entry *e, const struct builder *builder,
                          struct boskos_resource *resource)
{
    struct boskos_cancel *lost = boskos_cancel_new();
    if (lost == NULL) return NULL;
    struct job *job = must_calloc(1, sizeof(*job));
    struct plan *plan = &job->plan;
    job->lost = lost;
    job->whole.resource = resource;
    job->began_ms = program_now_ms();
    plan->builder = builder;
    plan->config_type = text_of(copy(e->config_type), e->config_type.size);
    plan->config_content = text_of(copy(e->config_content), e->config_content.size);
    plan->needs = must_calloc(e->needs_count + 1, sizeof(struct need));
    for (size_t i = 0; i < e->needs_count; i++) {
        if (e->needs[i].count <= 0) continue;
        plan->needs[plan->needs_count++] =
            (struct need){copy(e->needs[i].type), (size_t)e->needs[i].count};
    }
    return job;
}

void mason_job_add(struct mason *m, struct job *job)
{
    mason_lock(m);
    struct job **at = &m->jobs;
    // Heartbeats would not tell: to the server it is the same owner who has it again.
    lose(m, job->whole.resource->name, NULL);
    while (*at != NULL)
        at = &(*at)->next;
    *at = job;
    m->jobs_count++;
    (void)pthread_cond_broadcast(&m->changed);
    mason_unlock(m);
}

static struct tally *tally_of(struct mason *m, const char *type)
{
    for (size_t i = 0; i < m->tallies_count; i++) {
        if (strcmp(m->tallies[i].type, type) == 0) return &m->tallies[i];
    }
    m->tallies = must_realloc(m->tallies, (m->tallies_count + 1) * sizeof(struct tally));
    m->tallies[m->tallies_count] = (struct tally){.type = copy(text_from(type))};
    return &m->tallies[m->tallies_count++];
}

void mason_job_end(struct mason *m, struct job *job, bool has_failed)
{
    const struct boskos_resource *whole = job->whole.resource;
    struct job **at = &m->jobs;
    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    m->jobs_count--;
    struct tally *tally = tally_of(m, whole->type);
    if (has_failed)
        tally->failed++;
    else
        tally->made++;
    log_event(&m->program.log, has_failed ? LOG_WARNING : LOG_INFO,
              has_failed ? "not made: all goes back as dirty" : "made",
              LOG_F_STRING("type", whole->type), LOG_F_STRING("name", whole->name),
              LOG_F_U64("leased", job->leased_count),
              LOG_F_DURATION("took", (program_now_ms() - job->began_ms) * (int64_t)NS_PER_MS));
    job_free(job);
}

void mason_free_tallies(struct mason *m)
{
    for (size_t i = 0; i < m->tallies_count; i++)
        free(m->tallies[i].type);
    free(m->tallies);
    m->tallies = NULL;
    m->tallies_count = 0;
}

// ---- what they have and may have ------------------------------------------------

size_t mason_jobs_of(struct mason *m, const char *type)
{
    size_t count = 0;
    mason_lock(m);
    for (const struct job *job = m->jobs; job != NULL; job = job->next)
        count += type == NULL || strcmp(job->whole.resource->type, type) == 0;
    mason_unlock(m);
    return count;
}

static bool lacks(const struct job *job, const char *type)
{
    size_t wanted = 0, count = 0;
    for (size_t i = 0; i < job->plan.needs_count; i++) {
        if (strcmp(job->plan.needs[i].type, type) == 0) wanted = job->plan.needs[i].count;
    }
    for (size_t i = 0; i < job->leased_count; i++)
        count += strcmp(job->leased[i].resource->type, type) == 0;
    return count < wanted;
}

bool mason_may_ask(struct mason *m, const struct job *job, const struct need *need)
{
    bool may = !program_is_ending(&m->program) && !boskos_cancel_is_set(job->lost);
    mason_lock(m);
    may = may && lacks(job, need->type);
    for (const struct job *older = m->jobs; may && older != job; older = older->next)
        may = older->stage > STAGE_FULFILL || !lacks(older, need->type);
    mason_unlock(m);
    return may;
}

void mason_add_leased(struct mason *m, struct job *job, struct boskos_resource *resource)
{
    mason_lock(m);
    lose(m, resource->name, NULL); // as above
    job->leased = must_realloc(job->leased, (job->leased_count + 1) * sizeof(struct part));
    job->leased[job->leased_count++] = (struct part){.resource = resource};
    mason_unlock(m);
}

bool mason_has_leased(struct mason *m, const char *name)
{
    bool has = false;
    mason_lock(m);
    for (struct job *job = m->jobs; job != NULL && !has; job = job->next)
        has = find_part(job, name) != NULL;
    mason_unlock(m);
    return has;
}
