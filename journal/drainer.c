#include <errno.h>
#include <time.h>

#include "journal/internal.h"

#include "base/banned.h"

// Often enough that an append never waits for it, and seldom enough that its flushes do not stand
// in the way of theirs.
#define DRAIN_EVERY_NS 50000000L
#define NS 1000000000L

// Sleeps a little; true when the end was asked for.
static bool nap(struct drainer *d)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += DRAIN_EVERY_NS;
    until.tv_sec += until.tv_nsec / NS;
    until.tv_nsec %= NS;
    pthread_mutex_lock(&d->lock);
    while (!d->is_stopping && pthread_cond_timedwait(&d->wake, &d->lock, &until) == 0) {
    }
    bool stop = d->is_stopping;
    pthread_mutex_unlock(&d->lock);
    return stop;
}

static void *drainer_main(void *context)
{
    struct journal *j = context;
    struct journal_problem problem = {0};
    int err = 0;
    // Without space it stays where it is; an append that needs its room will say so.
    while ((err == 0 || err == BOSKOS_E_NOSPACE) && !nap(&j->drainer))
        err = journal_drain(j, &problem);
    if (err != 0 && err != BOSKOS_E_NOSPACE) j->drainer.failed(j->drainer.context, err, &problem);
    return NULL;
}

int journal_drain_start(struct journal *j, journal_drain_failed *failed, void *context)
{
    struct drainer *d = &j->drainer;
    pthread_condattr_t attributes;
    if (j->ahead == NULL) return 0;
    d->failed = failed;
    d->context = context;
    d->is_stopping = false;
    (void)pthread_mutex_init(&d->lock, NULL); // these fail on no system we know
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&d->wake, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    d->is_running = pthread_create(&d->thread, NULL, drainer_main, j) == 0;
    return d->is_running ? 0 : BOSKOS_E_NOMEM;
}

void journal_drain_stop(struct journal *j)
{
    struct drainer *d = &j->drainer;
    if (!d->is_running) return;
    pthread_mutex_lock(&d->lock);
    d->is_stopping = true;
    pthread_cond_signal(&d->wake);
    pthread_mutex_unlock(&d->lock);
    pthread_join(d->thread, NULL);
    (void)pthread_mutex_destroy(&d->lock);
    (void)pthread_cond_destroy(&d->wake);
    d->is_running = false;
}
