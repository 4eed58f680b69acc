// What is told of the jobs, for Prometheus.
#include <inttypes.h>

#include "client/mason/mason.h"

#include "base/banned.h"

static void write_total(struct buffer *out, const char *type, const char *result, uint64_t count)
{
    buffer_string(out, "boskos_mason_jobs_total{");
    page_label(out, "type", type);
    buffer_format(out, ",result=\"%s\"} %" PRIu64 "\n", result, count);
}

void mason_figures(void *context, struct buffer *out)
{
    static const char *const stages[STAGE_DONE] = {"recycle", "fulfill", "store",
                                                   "build",   "sync",    "fail"};
    struct mason *m = context;
    size_t counts[STAGE_DONE + 1] = {0};
    mason_lock(m);
    for (const struct job *job = m->jobs; job != NULL; job = job->next)
        counts[job->stage]++;
    buffer_string(out, "# HELP boskos_mason_jobs Resources that are being made.\n"
                       "# TYPE boskos_mason_jobs gauge\n");
    for (size_t i = 0; i < STAGE_DONE; i++)
        buffer_format(out, "boskos_mason_jobs{stage=\"%s\"} %zu\n", stages[i], counts[i]);
    buffer_string(out, "# HELP boskos_mason_jobs_total Jobs that have ended.\n"
                       "# TYPE boskos_mason_jobs_total counter\n");
    for (size_t i = 0; i < m->tallies_count; i++) {
        write_total(out, m->tallies[i].type, "made", m->tallies[i].made);
        write_total(out, m->tallies[i].type, "failed", m->tallies[i].failed);
    }
    mason_unlock(m);
}
