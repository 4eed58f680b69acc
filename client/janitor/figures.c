// What is told of the cleanings, for Prometheus.
#include <inttypes.h>

#include "client/janitor/janitor.h"

#include "base/banned.h"

static void head(struct buffer *out, const char *name, const char *form, const char *help)
{
    buffer_format(out, "# HELP boskos_janitor_%s %s\n# TYPE boskos_janitor_%s %s\n", name, help,
                  name, form);
}

static void sample(struct buffer *out, const char *name, const struct kind *kind)
{
    buffer_format(out, "boskos_janitor_%s{", name);
    page_label(out, "type", kind->type);
}

static void write_outcomes(struct buffer *out, const struct kind *kind)
{
    static const char *const names[OUTCOMES] = {"cleaned", "failed", "timeout", "lost", "stopped"};
    for (size_t o = 0; o < OUTCOMES; o++) {
        sample(out, "cleanings_total", kind);
        buffer_format(out, ",result=\"%s\"} %" PRIu64 "\n", names[o], kind->counts[o]);
    }
}

void janitor_figures(void *context, struct buffer *out)
{
    struct janitor *j = context;
    (void)pthread_mutex_lock(&j->lock);
    head(out, "cleanings_total", "counter", "Cleanings that have ended.");
    for (size_t i = 0; i < j->kinds_count; i++)
        write_outcomes(out, j->kinds[i]);
    head(out, "cleaning_seconds_total", "counter", "How long cleanings took.");
    for (size_t i = 0; i < j->kinds_count; i++) {
        int64_t ms = j->kinds[i]->took_ms;
        sample(out, "cleaning_seconds_total", j->kinds[i]);
        buffer_format(out, "} %" PRId64 ".%03" PRId64 "\n", ms / 1000, ms % 1000);
    }
    head(out, "acquire_errors_total", "counter",
         "Acquires that failed, other than for want of a resource.");
    for (size_t i = 0; i < j->kinds_count; i++) {
        sample(out, "acquire_errors_total", j->kinds[i]);
        buffer_format(out, "} %" PRIu64 "\n", j->kinds[i]->refusals);
    }
    head(out, "running", "gauge", "Cleanings under way.");
    for (size_t i = 0; i < j->kinds_count; i++) {
        sample(out, "running", j->kinds[i]);
        buffer_format(out, "} %zu\n", j->kinds[i]->running);
    }
    head(out, "pool_size", "gauge", "Cleanings that may be under way at once.");
    buffer_format(out, "boskos_janitor_pool_size %zu\n", j->pool_size);
    (void)pthread_mutex_unlock(&j->lock);
}
