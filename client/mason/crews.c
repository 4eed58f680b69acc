// The threads that work on the jobs.
//
// Three crews, each for some stages, so that jobs that wait for what they need, or for a builder,
// do not keep others from being stored and released. A thread takes the oldest job of its stages
// that is due.
#include <stdlib.h>
#include <time.h>

#include "base/assert.h"
#include "base/clock.h"
#include "client/mason/mason.h"

#include "base/banned.h"

#define WAIT_MOST_MS 1000

static enum crew_kind crew_of(enum stage stage)
{
    switch (stage) {
    case STAGE_RECYCLE:
    case STAGE_FULFILL:
    case STAGE_STORE: return CREW_FULFILL;
    case STAGE_BUILD: return CREW_BUILD;
    case STAGE_SYNC:
    case STAGE_FAIL:
    case STAGE_DONE: break;
    }
    return CREW_SYNC;
}

// With the lock held. What is to fail changes its crew first.
static struct job *next_job(struct mason *m, enum crew_kind kind)
{
    int64_t now = program_now_ms();
    for (struct job *job = m->jobs; job != NULL; job = job->next) {
        if (job->is_busy) continue;
        if (m->is_ending || boskos_cancel_is_set(job->lost)) {
            if (job->stage != STAGE_FAIL) (void)pthread_cond_broadcast(&m->changed);
            job->stage = STAGE_FAIL;
            job->due_ms = 0;
        }
        if (crew_of(job->stage) == kind && job->due_ms <= now) return job;
    }
    return NULL;
}

static void wait_a_little(struct mason *m)
{
    struct timespec at;
    int64_t ms = program_ms(m->period_ns);
    if (ms > WAIT_MOST_MS) ms = WAIT_MOST_MS;
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_nsec += ms % 1000 * (long)NS_PER_MS;
    at.tv_sec += ms / 1000 + at.tv_nsec / (long)NS_PER_S;
    at.tv_nsec %= (long)NS_PER_S;
    (void)pthread_cond_timedwait(&m->changed, &m->lock, &at);
}

static void *run_thread(void *context)
{
    const struct crew *crew = context;
    struct mason *m = crew->mason;
    mason_lock(m);
    while (!m->is_ending || m->jobs != NULL) {
        struct job *job = next_job(m, crew->kind);
        if (job == NULL) {
            wait_a_little(m);
            continue;
        }
        enum stage stage = job->stage;
        job->is_busy = true;
        mason_unlock(m);
        enum stage next = mason_step(m, job, stage);
        mason_lock(m);
        job->is_busy = false;
        job->stage = next;
        if (next == STAGE_DONE) mason_job_end(m, job, stage == STAGE_FAIL);
        (void)pthread_cond_broadcast(&m->changed);
    }
    mason_unlock(m);
    return NULL;
}

int mason_start_crews(struct mason *m)
{
    for (size_t k = 0; k < CREWS; k++) {
        struct crew *crew = &m->crews[k];
        crew->mason = m;
        crew->kind = (enum crew_kind)k;
        crew->threads = must_calloc(crew->size, sizeof(pthread_t));
        for (size_t i = 0; i < crew->size; i++) {
            int why = pthread_create(&crew->threads[i], NULL, run_thread, crew);
            if (why != 0) return program_fail(&m->program, "no thread: %s", strerror(why));
            crew->started++;
        }
    }
    return 0;
}

void mason_end_crews(struct mason *m)
{
    mason_lock(m);
    m->is_ending = true;
    if (m->jobs_count > 0)
        program_log(&m->program, LOG_INFO, "ending: %zu jobs are given up", m->jobs_count);
    (void)pthread_cond_broadcast(&m->changed);
    mason_unlock(m);
    for (size_t k = 0; k < CREWS; k++) {
        for (size_t i = 0; i < m->crews[k].started; i++)
            (void)pthread_join(m->crews[k].threads[i], NULL);
        free(m->crews[k].threads);
    }
}
