#include "tests/fake_engine.h"

#include "base/assert.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/banned.h"

struct engine {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct engine_request *first, *last;
    bool is_held, is_stopped;
    int error;
    uint64_t submitted, chains, commands;
    void (*batch_done)(void *context);
    void *context;
    struct sm *sm;
};

#define START_NS UINT64_C(1700000000000000000)

static void fill(struct sm *sm)
{
    static char names[FAKE_RESOURCES][8];
    static struct text texts[FAKE_RESOURCES];
    for (uint32_t i = 0; i < FAKE_RESOURCES; i++) {
        (void)snprintf(names[i], sizeof names[i], "r-%03u", (unsigned)i);
        texts[i] = text_from(names[i]);
    }
    const struct sm_entry entry = {
        .type = TEXT("t"), .state = TEXT("free"), .names = texts, .names_count = FAKE_RESOURCES};
    struct command config = {.kind = COMMAND_CONFIG,
                             .seq = 1,
                             .time_ns = START_NS,
                             .as.config = {.entries = &entry, .entries_count = 1}};
    struct sm_result result;
    sm_apply(sm, &config, &result);
}

static void serve(struct engine *e, struct engine_request *first, int error)
{
    for (struct engine_request *r = first, *next; r != NULL; r = next) {
        next = r->next;
        uint64_t now_ns = START_NS + sm_seq(e->sm);
        if (error != 0) {
            r->done(r, error, NULL, NULL, now_ns);
        } else if (r->command == NULL) {
            r->done(r, 0, e->sm, NULL, now_ns);
        } else {
            struct sm_result result;
            r->command->seq = sm_seq(e->sm) + 1;
            r->command->time_ns = now_ns;
            sm_apply(e->sm, r->command, &result);
            pthread_mutex_lock(&e->lock);
            e->commands++;
            pthread_mutex_unlock(&e->lock);
            r->done(r, 0, e->sm, &result, now_ns);
        }
    }
    e->batch_done(e->context);
}

static void *engine_main(void *context)
{
    struct engine *e = context;
    pthread_mutex_lock(&e->lock);
    for (;;) {
        while (!e->is_stopped && (e->first == NULL || e->is_held))
            pthread_cond_wait(&e->changed, &e->lock);
        struct engine_request *first = e->first;
        int error = e->error;
        if (first == NULL) break;
        e->first = NULL;
        e->last = NULL;
        pthread_mutex_unlock(&e->lock);
        serve(e, first, error);
        pthread_mutex_lock(&e->lock);
    }
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

struct engine *fake_engine_new(void (*batch_done)(void *context))
{
    struct engine *e = must_calloc(1, sizeof *e);
    e->batch_done = batch_done;
    e->sm = sm_new(1);
    fill(e->sm);
    ASSERT(pthread_mutex_init(&e->lock, NULL) == 0);
    ASSERT(pthread_cond_init(&e->changed, NULL) == 0);
    ASSERT(pthread_create(&e->thread, NULL, engine_main, e) == 0);
    return e;
}

void fake_engine_free(struct engine *e)
{
    pthread_mutex_lock(&e->lock);
    e->is_stopped = true;
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
    (void)pthread_join(e->thread, NULL);
    (void)pthread_cond_destroy(&e->changed);
    (void)pthread_mutex_destroy(&e->lock);
    sm_free(e->sm);
    free(e);
}

void fake_engine_context(struct engine *e, void *context)
{
    e->context = context;
}

void fake_engine_hold(struct engine *e, bool is_held)
{
    pthread_mutex_lock(&e->lock);
    e->is_held = is_held;
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
}

void fake_engine_fail(struct engine *e, int error)
{
    pthread_mutex_lock(&e->lock);
    e->error = error;
    pthread_mutex_unlock(&e->lock);
}

static uint64_t read_locked(struct engine *e, const uint64_t *number)
{
    pthread_mutex_lock(&e->lock);
    uint64_t value = *number;
    pthread_mutex_unlock(&e->lock);
    return value;
}

uint64_t fake_engine_submitted(struct engine *e)
{
    return read_locked(e, &e->submitted);
}

uint64_t fake_engine_chains(struct engine *e)
{
    return read_locked(e, &e->chains);
}

uint64_t fake_engine_commands(struct engine *e)
{
    return read_locked(e, &e->commands);
}

void engine_submit(struct engine *e, struct engine_request *first)
{
    pthread_mutex_lock(&e->lock);
    e->chains++;
    if (e->last != NULL)
        e->last->next = first;
    else
        e->first = first;
    for (struct engine_request *r = first; r != NULL; r = r->next) {
        e->submitted++;
        e->last = r;
    }
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
}

void engine_pulse(struct engine *e, struct engine_pulse *ret_pulse)
{
    (void)e;
    *ret_pulse = (struct engine_pulse){0};
}

void engine_figures(struct engine *e, struct engine_figures *ret_figures)
{
    struct engine_figures f = {.seq = 7, .commits = 3, .log_bytes = 4096, .snapshot_seq = 5};
    f.commit_us.buckets[0] = 1;
    f.commit_us.buckets[3] = 2;
    f.commit_us.count = 3;
    f.commit_us.sum = 15;
    f.commands = read_locked(e, &e->commands);
    *ret_figures = f;
}
