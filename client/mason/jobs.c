// The jobs, and the threads that work on them.
//
// Three pools, each for some stages, so that jobs that wait for what they need, or for a builder,
// do not keep others from being stored and released. A thread takes the oldest job of its stages
// that is due.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/assert.h"
#include "base/clock.h"
#include "client/mason/mason.h"

#include "base/banned.h"

#define ACQUIRE_MS 20000
#define WAIT_MOST_MS 1000
#define END_MS 10000

static const char *const stage_names[] = {"recycle", "fulfill", "store", "build", "sync", "fail"};

int64_t mason_now_ms(void)
{
    struct clock clock = clock_system();
    return (int64_t)(clock_mono_ns(&clock) / NS_PER_MS);
}

static void lock(struct mason *m)
{
    (void)pthread_mutex_lock(&m->lock);
}

static void unlock(struct mason *m)
{
    (void)pthread_mutex_unlock(&m->lock);
}

static char *copy(struct text t)
{
    char *text = must_malloc(t.size + 1ul);
    if (t.size > 0) memcpy(text, t.data, t.size);
    text[t.size] = '\0';
    return text;
}

// ---- a job ----------------------------------------------------------------------

static void job_free(struct job *job)
{
    for (size_t i = 0; i < job->leased_count; i++)
        boskos_resource_free(job->leased[i]);
    for (size_t i = 0; i < job->plan.needs_count; i++)
        free(job->plan.needs[i].type);
    free(job->leased);
    free(job->plan.needs);
    free((char *)(uintptr_t)job->plan.config_type.data);
    free((char *)(uintptr_t)job->plan.config_content.data);
    boskos_pairs_free(job->made);
    boskos_resource_free(job->resource);
    boskos_cancel_free(job->lost);
    free(job);
}

static struct job *job_new(const struct config_entry *e, const struct builder *builder,
                           struct boskos_resource *resource)
{
    struct job *job = must_calloc(1, sizeof(*job));
    struct plan *plan = &job->plan;
    job->lost = boskos_cancel_new();
    job->resource = resource;
    job->began_ms = mason_now_ms();
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

static size_t count_leased(const struct job *job, const char *type)
{
    size_t count = 0;
    for (size_t i = 0; i < job->leased_count; i++)
        count += strcmp(job->leased[i]->type, type) == 0;
    return count;
}

static bool lacks(const struct job *job, const char *type)
{
    for (size_t i = 0; i < job->plan.needs_count; i++) {
        const struct need *need = &job->plan.needs[i];
        if (strcmp(need->type, type) == 0) return count_leased(job, type) < need->count;
    }
    return false;
}

bool mason_may_ask(struct mason *m, const struct job *job, const struct need *need)
{
    bool may = !program_is_ending(&m->program) && !boskos_cancel_is_set(job->lost);
    lock(m);
    may = may && lacks(job, need->type);
    for (const struct job *older = m->jobs; may && older != job; older = older->next)
        may = older->stage > STAGE_FULFILL || !lacks(older, need->type);
    unlock(m);
    return may;
}

void mason_add_leased(struct mason *m, struct job *job, struct boskos_resource *resource)
{
    lock(m);
    job->leased =
        must_realloc(job->leased, (job->leased_count + 1) * sizeof(struct boskos_resource *));
    job->leased[job->leased_count++] = resource;
    unlock(m);
}

// From the client's thread: whose job is it?
static void on_lost(void *context, const struct boskos_resource *resource, int code)
{
    struct mason *m = context;
    (void)code; // the client has logged it
    lock(m);
    for (struct job *job = m->jobs; job != NULL; job = job->next) {
        bool is_its = strcmp(job->resource->name, resource->name) == 0;
        for (size_t i = 0; i < job->leased_count; i++)
            is_its = is_its || strcmp(job->leased[i]->name, resource->name) == 0;
        if (is_its) boskos_cancel(job->lost);
    }
    (void)pthread_cond_broadcast(&m->changed);
    unlock(m);
}

// ---- the pools ------------------------------------------------------------------

static enum pool_kind pool_of(enum stage stage)
{
    switch (stage) {
    case STAGE_RECYCLE:
    case STAGE_FULFILL:
    case STAGE_STORE: return POOL_FULFILL;
    case STAGE_BUILD: return POOL_BUILD;
    case STAGE_SYNC:
    case STAGE_FAIL:
    case STAGE_DONE: break;
    }
    return POOL_SYNC;
}

// With the lock held. What is to fail changes its pool first.
static struct job *next_job(struct mason *m, enum pool_kind kind)
{
    int64_t now = mason_now_ms();
    for (struct job *job = m->jobs; job != NULL; job = job->next) {
        if (job->is_busy) continue;
        if (m->is_ending || boskos_cancel_is_set(job->lost)) {
            if (job->stage != STAGE_FAIL) (void)pthread_cond_broadcast(&m->changed);
            job->stage = STAGE_FAIL;
            job->due_ms = 0;
        }
        if (pool_of(job->stage) == kind && job->due_ms <= now) return job;
    }
    return NULL;
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

// With the lock held.
static void finish(struct mason *m, struct job *job, bool has_failed)
{
    struct job **at = &m->jobs;
    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    m->jobs_count--;
    struct tally *tally = tally_of(m, job->resource->type);
    if (has_failed)
        tally->failed++;
    else
        tally->built++;
    log_event(&m->program.log, has_failed ? LOG_WARNING : LOG_INFO,
              has_failed ? "not made: all goes back as dirty" : "made",
              LOG_F_STRING("type", job->resource->type), LOG_F_STRING("name", job->resource->name),
              LOG_F_U64("leased", job->leased_count),
              LOG_F_DURATION("took", (mason_now_ms() - job->began_ms) * (int64_t)NS_PER_MS));
    job_free(job);
}

static void wait_a_little(struct mason *m)
{
    struct timespec at;
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    int64_t ms = m->period_ns / (int64_t)NS_PER_MS;
    if (ms > WAIT_MOST_MS) ms = WAIT_MOST_MS;
    at.tv_nsec += ms % 1000 * (long)NS_PER_MS;
    at.tv_sec += ms / 1000 + at.tv_nsec / (long)NS_PER_S;
    at.tv_nsec %= (long)NS_PER_S;
    (void)pthread_cond_timedwait(&m->changed, &m->lock, &at);
}

static void *run_thread(void *context)
{
    const struct crew *crew = context;
    struct mason *m = crew->mason;
    lock(m);
    while (!m->is_ending || m->jobs != NULL) {
        struct job *job = next_job(m, crew->kind);
        if (job == NULL) {
            wait_a_little(m);
            continue;
        }
        enum stage stage = job->stage;
        job->is_busy = true;
        unlock(m);
        enum stage next = mason_step(m, job, stage);
        lock(m);
        job->is_busy = false;
        job->stage = next;
        if (next == STAGE_DONE) finish(m, job, stage == STAGE_FAIL);
        (void)pthread_cond_broadcast(&m->changed);
    }
    unlock(m);
    return NULL;
}

static int start_crews(struct mason *m)
{
    for (size_t k = 0; k < POOLS; k++) {
        struct crew *crew = &m->crews[k];
        crew->mason = m;
        crew->kind = (enum pool_kind)k;
        crew->threads = must_calloc(crew->size, sizeof(pthread_t));
        for (size_t i = 0; i < crew->size; i++) {
            int why = pthread_create(&crew->threads[i], NULL, run_thread, crew);
            if (why != 0) return program_fail(&m->program, "no thread: %s", strerror(why));
            crew->started++;
        }
    }
    return 0;
}

static void end_crews(struct mason *m)
{
    lock(m);
    m->is_ending = true;
    m->end_ms = mason_now_ms() + END_MS;
    if (m->jobs_count > 0)
        program_log(&m->program, LOG_INFO, "ending: %zu jobs are given up", m->jobs_count);
    (void)pthread_cond_broadcast(&m->changed);
    unlock(m);
    for (size_t k = 0; k < POOLS; k++) {
        for (size_t i = 0; i < m->crews[k].started; i++)
            (void)pthread_join(m->crews[k].threads[i], NULL);
        free(m->crews[k].threads);
    }
}

// ---- taking ---------------------------------------------------------------------

static const struct builder *find_builder(const struct mason *m, const struct config_entry *e)
{
    for (size_t i = 0; e->is_dynamic && e->has_config && i < m->builders_count; i++) {
        if (text_equal(text_from(m->builders[i].type), e->config_type)) return &m->builders[i];
    }
    return NULL;
}

static bool has_name(const struct program_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i], name) == 0) return true;
    }
    return false;
}

static void add_job(struct mason *m, struct job *job)
{
    lock(m);
    struct job **at = &m->jobs;
    while (*at != NULL)
        at = &(*at)->next;
    *at = job;
    m->jobs_count++;
    (void)pthread_cond_broadcast(&m->changed);
    unlock(m);
}

// Takes one and makes a job of it. False when there is no more to take in this round: one that has
// failed since it was taken is seen again only when all others had their turn.
static bool take_one(struct mason *m, const struct config_entry *e, const struct builder *builder,
                     const char *type, struct program_list *seen)
{
    struct boskos_resource *got = NULL;
    struct boskos_call call = program_call(&m->program);
    bool is_doubted;
    call.timeout_ms = ACQUIRE_MS;
    int err = boskos_acquire(m->program.client, type, "dirty", "cleaning", 0, &got, &call);
    if (err != 0) {
        bool is_usual =
            err == BOSKOS_ERR_NONE || err == BOSKOS_ERR_NO_TYPE || err == BOSKOS_ERR_CANCELLED;
        program_log(&m->program, is_usual ? LOG_DEBUG : LOG_WARNING,
                    "type %s: nothing acquired: %s", type, call.text);
        return false;
    }
    struct job *job = job_new(e, builder, got);
    if (!has_name(seen, got->name) && strcmp(got->type, type) == 0 && job->lost != NULL) {
        seen->items = must_realloc(seen->items, (seen->count + 1) * sizeof(char *));
        seen->items[seen->count++] = copy(text_from(got->name));
        add_job(m, job);
        return true;
    }
    if (job->lost == NULL)
        program_log(&m->program, LOG_ERROR, "no descriptor: %s", strerror(errno));
    (void)mason_give_back(m, got, "dirty", &is_doubted);
    job_free(job);
    return false;
}

static bool is_full(struct mason *m)
{
    lock(m);
    bool is = m->jobs_count >= MASON_JOBS_MAX;
    unlock(m);
    return is || program_is_ending(&m->program);
}

// Has the type as many jobs as it may have? Each has its share, so that one whose jobs all wait
// leaves room for others.
static bool has_share(struct mason *m, const char *type, size_t share)
{
    size_t count = 0;
    lock(m);
    for (const struct job *job = m->jobs; job != NULL; job = job->next)
        count += strcmp(job->resource->type, type) == 0;
    unlock(m);
    return count >= share;
}

static size_t share_of_type(const struct mason *m)
{
    size_t types = 0;
    for (size_t i = 0; i < m->config.config->entries_count; i++)
        types += find_builder(m, &m->config.config->entries[i]) != NULL;
    return types == 0 || types >= MASON_JOBS_MAX ? 1 : MASON_JOBS_MAX / types;
}

// One of each type in turn, until none has any.
static void take_round(struct mason *m)
{
    const struct config *c = m->config.config;
    const size_t share = share_of_type(m);
    struct program_list seen = {0};
    bool *is_done = must_calloc(c->entries_count + 1, sizeof(bool));
    for (bool has_more = true; has_more && !is_full(m);) {
        has_more = false;
        for (size_t i = 0; i < c->entries_count && !is_full(m); i++) {
            size_t at = (m->next + i) % c->entries_count;
            const struct config_entry *e = &c->entries[at];
            const struct builder *builder = find_builder(m, e);
            if (builder == NULL || is_done[at]) continue;
            char *type = copy(e->type);
            is_done[at] = has_share(m, type, share) || !take_one(m, e, builder, type, &seen);
            has_more = has_more || !is_done[at];
            free(type);
        }
        if (c->entries_count > 0) m->next = (m->next + 1) % c->entries_count;
    }
    free(is_done);
    program_list_free(&seen);
}

int mason_work(struct mason *m)
{
    struct program *p = &m->program;
    bool is_new;
    int err = boskos_heartbeat(p->client, m->heartbeat_ns / (int64_t)NS_PER_MS, on_lost, m);
    if (err != 0) return program_fail(p, "no heartbeats: %s", boskos_code_text(err));
    int code = start_crews(m);
    if (code == 0) program_log(p, LOG_INFO, "boskos-mason is ready");
    while (code == 0 && !program_is_ending(p)) {
        (void)watched_refresh(p, &m->config, &is_new);
        take_round(m);
        (void)program_sleep(p, m->period_ns / (int64_t)NS_PER_MS);
    }
    end_crews(m);
    (void)boskos_heartbeat(p->client, 0, NULL, NULL);
    return code;
}

// ---- the page -------------------------------------------------------------------

void mason_page(void *context, struct buffer *out)
{
    struct mason *m = context;
    size_t counts[STAGE_DONE] = {0};
    lock(m);
    for (const struct job *job = m->jobs; job != NULL; job = job->next) {
        if (job->stage < STAGE_DONE) counts[job->stage]++;
    }
    buffer_string(out, "# HELP boskos_mason_jobs Resources that are being made.\n"
                       "# TYPE boskos_mason_jobs gauge\n");
    for (size_t i = 0; i < STAGE_DONE; i++)
        buffer_format(out, "boskos_mason_jobs{stage=\"%s\"} %zu\n", stage_names[i], counts[i]);
    buffer_string(out, "# HELP boskos_mason_jobs_total Jobs that have ended.\n"
                       "# TYPE boskos_mason_jobs_total counter\n");
    for (size_t i = 0; i < m->tallies_count; i++) {
        const struct tally *t = &m->tallies[i];
        const uint64_t numbers[2] = {t->built, t->failed};
        for (size_t r = 0; r < 2; r++) {
            buffer_string(out, "boskos_mason_jobs_total{type=\"");
            page_label(out, t->type);
            buffer_format(out, "\",result=\"%s\"} %llu\n", r == 0 ? "made" : "failed",
                          (unsigned long long)numbers[r]);
        }
    }
    unlock(m);
}

void mason_free(struct mason *m)
{
    for (size_t i = 0; i < m->tallies_count; i++)
        free(m->tallies[i].type);
    for (size_t i = 0; i < m->builders_count; i++)
        free(m->builders[i].type);
    free(m->tallies);
    watched_release(&m->config);
}
