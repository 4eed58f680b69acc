// pauses: how long the machine keeps threads waiting that do nothing but look at the clock. What a
// server answers in that time is late, whatever the server.
#include "bench/commands.h"

#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/error.h"
#include "bench/latency.h"

#include "base/banned.h"

#define THREADS_MAX 64
#define PAUSES_MAX 1000000u    // of one thread; an hour has fewer
#define PAUSE_NS_LEAST 100000u // what is shorter is no pause
#define DUE_EVERY_NS 10000u    // between two moments at which somebody would come

struct pause {
    uint64_t begin_ns, end_ns;
};

struct watcher {
    pthread_t thread;
    const volatile int *stop;
    uint64_t begin_ns, end_ns;
    struct pause *pauses;
    size_t count;
};

static bool read_arguments(int argc, char **argv, double *threads, double *seconds)
{
    static const struct option flags[] = {{"threads", required_argument, NULL, 't'},
                                          {"seconds", required_argument, NULL, 's'},
                                          {NULL, 0, NULL, 0}};
    int flag;
    while ((flag = getopt_long(argc, argv, "", flags, NULL)) != -1) {
        bool is_good = flag != '?';
        if (flag == 't') is_good = read_number(optarg, 1, THREADS_MAX, threads);
        if (flag == 's') is_good = read_number(optarg, 0.1, 3600, seconds);
        if (!is_good) return false;
    }
    return optind == argc;
}

static void *watch(void *context)
{
    struct watcher *w = context;
    struct clock clock = clock_system();
    uint64_t before_ns = clock_mono_ns(&clock);
    while (before_ns < w->begin_ns) // all begin at once
        before_ns = clock_mono_ns(&clock);
    while (before_ns < w->end_ns && !*w->stop) {
        uint64_t now_ns = clock_mono_ns(&clock);
        if (now_ns - before_ns >= PAUSE_NS_LEAST && w->count < PAUSES_MAX)
            w->pauses[w->count++] = (struct pause){before_ns, now_ns};
        before_ns = now_ns;
    }
    return NULL;
}

static int by_begin(const void *a, const void *b)
{
    uint64_t x = ((const struct pause *)a)->begin_ns, y = ((const struct pause *)b)->begin_ns;
    return (x > y) - (x < y);
}

// All pauses in one list, in order; those of several threads at one moment are one.
static size_t merge(const struct watcher *watchers, size_t threads, struct pause *ret_all)
{
    size_t count = 0, kept = 0;
    for (size_t i = 0; i < threads; i++)
        for (size_t k = 0; k < watchers[i].count; k++)
            ret_all[count++] = watchers[i].pauses[k];
    if (count > 0) qsort(ret_all, count, sizeof(*ret_all), by_begin);
    for (size_t i = 0; i < count; i++) {
        struct pause *last = kept > 0 ? &ret_all[kept - 1] : NULL;
        if (last == NULL || ret_all[i].begin_ns > last->end_ns)
            ret_all[kept++] = ret_all[i];
        else if (ret_all[i].end_ns > last->end_ns)
            last->end_ns = ret_all[i].end_ns;
    }
    return kept;
}

// What somebody waits who comes at a moment like any other and needs every thread.
static void print(const struct watcher *w, const struct pause *all, size_t count, size_t threads)
{
    struct latency *l = must_calloc(1, sizeof(*l));
    uint64_t lost_ns = 0, at = 0;
    for (uint64_t due_ns = w->begin_ns; due_ns < w->end_ns; due_ns += DUE_EVERY_NS) {
        while (at < count && all[at].end_ns <= due_ns)
            at++;
        latency_add(l, at < count && all[at].begin_ns <= due_ns ? all[at].end_ns - due_ns : 0);
    }
    uint64_t longest_ns = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t ns = all[i].end_ns - all[i].begin_ns;
        lost_ns += ns;
        if (ns > longest_ns) longest_ns = ns;
    }
    struct buffer out;
    buffer_init(&out);
    latency_json(l, &out);
    (void)printf("{\"threads\": %zu, \"pauses\": %zu, \"share\": %.6f, \"longest_ms\": %.3f, "
                 "\"wait_us\": %.*s}\n",
                 threads, count, (double)lost_ns / (double)(w->end_ns - w->begin_ns),
                 (double)longest_ns / (double)NS_PER_MS, (int)out.size, out.data);
    buffer_release(&out);
    free(l);
}

int command_pauses(int argc, char **argv)
{
    struct watcher watchers[THREADS_MAX] = {0};
    double wanted = 2, seconds = 3;
    if (!read_arguments(argc, argv, &wanted, &seconds)) {
        complain("usage: pauses [--threads N] [--seconds S]");
        return 2;
    }
    size_t threads = (size_t)wanted, started = 0;
    const volatile int *stop = watch_signals();
    struct clock clock = clock_system();
    uint64_t begin_ns = clock_mono_ns(&clock) + 10 * NS_PER_MS;
    for (; started < threads; started++) {
        struct watcher *w = &watchers[started];
        *w = (struct watcher){.stop = stop, .begin_ns = begin_ns};
        w->end_ns = begin_ns + (uint64_t)(seconds * (double)NS_PER_S);
        w->pauses = must_calloc(PAUSES_MAX, sizeof(*w->pauses));
        if (pthread_create(&w->thread, NULL, watch, w) != 0) break;
    }
    for (size_t i = 0; i < started; i++)
        (void)pthread_join(watchers[i].thread, NULL);
    if (started < threads) complain("no thread to be had");
    if (started == threads && !*stop) {
        struct pause *all = must_calloc(threads * PAUSES_MAX, sizeof(*all));
        size_t count = merge(watchers, threads, all);
        print(&watchers[0], all, count, threads);
        free(all);
    }
    for (size_t i = 0; i < threads; i++)
        free(watchers[i].pauses);
    return *stop ? 130 : started == threads ? 0 : 1;
}
