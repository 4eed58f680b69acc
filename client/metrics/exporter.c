// What boskos-metrics shows.
#include "client/metrics/exporter.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"

#include "base/banned.h"

enum { OK = 200, BAD_REQUEST = 400, NOT_FOUND = 404, NOT_ALLOWED = 405, BAD_GATEWAY = 502 };

static void write_count(struct buffer *out, const char *type, const char *state, int64_t count)
{
    buffer_string(out, "boskos_resources{");
    page_label(out, "state", state);
    buffer_char(out, ',');
    page_label(out, "type", type);
    buffer_format(out, "} %" PRId64 "\n", count);
}

// Each state that is named, also at zero, and the sum of all others. `metric` NULL: there is
// nothing.
static void write_type(struct buffer *out, const struct exporter *e, const char *type,
                       const struct boskos_metric *metric)
{
    int64_t rest = 0;
    bool has_other = false;
    size_t count = metric == NULL ? 0 : metric->current_count;
    for (size_t i = 0; i < count; i++)
        if (!program_list_has(&e->states, text_from(metric->current[i].key)))
            rest += metric->current[i].count;
    for (size_t j = 0; j < e->states.count; j++) {
        const char *state = e->states.items[j];
        bool is_other = strcmp(state, "other") == 0;
        int64_t n = is_other ? rest : 0;
        has_other |= is_other;
        for (size_t i = 0; i < count; i++)
            if (strcmp(metric->current[i].key, state) == 0) n += metric->current[i].count;
        write_count(out, type, state, n);
    }
    if (!has_other) write_count(out, type, "other", rest);
}

// A type of which nothing is there is no failure: all its counts are zero.
static bool read_type(struct exporter *e, const char *type, struct program_list *failed,
                      struct buffer *out)
{
    struct boskos_call call = program_call(&e->program);
    struct boskos_metric *metric = NULL;
    int err = boskos_metric(e->program.client, type, &metric, &call);
    if (err != 0 && err != BOSKOS_ERR_CANCELLED) {
        if (!program_list_has(&e->failed, text_from(type))) // said once, not in each round
            program_log(&e->program, err == BOSKOS_ERR_NO_TYPE ? LOG_WARNING : LOG_ERROR,
                        "failed to get metric for %s: %s", type, call.text);
        program_list_put(failed, text_from(type));
    }
    if (err == 0 || err == BOSKOS_ERR_NO_TYPE) write_type(out, e, type, metric);
    boskos_metric_free(metric);
    return err == 0 || err == BOSKOS_ERR_NO_TYPE;
}

void exporter_update(struct exporter *e)
{
    struct program_list failed = {0};
    struct buffer counts, ups, before;
    buffer_init(&counts);
    buffer_init(&ups);
    buffer_string(&counts, "# HELP boskos_resources Resources by type and state.\n"
                           "# TYPE boskos_resources gauge\n");
    buffer_string(&ups, "# HELP boskos_metrics_up Could the type be asked for in the last round? "
                        "When not, its counts are not shown.\n"
                        "# TYPE boskos_metrics_up gauge\n");
    (void)program_types_refresh(&e->program, &e->types); // what was read before stays
    for (size_t i = 0; i < e->types.all.count && !program_is_ending(&e->program); i++) {
        const char *type = e->types.all.items[i];
        bool is_up = read_type(e, type, &failed, &counts);
        buffer_string(&ups, "boskos_metrics_up{");
        page_label(&ups, "type", type);
        buffer_format(&ups, "} %d\n", is_up);
    }
    buffer_text(&counts, buffer_as_text(&ups));
    buffer_release(&ups);
    program_list_free(&e->failed);
    e->failed = failed;
    (void)pthread_mutex_lock(&e->lock);
    before = e->text;
    e->text = counts;
    (void)pthread_mutex_unlock(&e->lock);
    buffer_release(&before);
}

// ---- pages ----------------------------------------------------------------------

void exporter_figures(void *context, struct buffer *out)
{
    struct exporter *e = context;
    (void)pthread_mutex_lock(&e->lock);
    buffer_text(out, buffer_as_text(&e->text));
    (void)pthread_mutex_unlock(&e->lock);
}

// As the original program answers, on any path; but what is the server's fault is no 404.
void exporter_answer_json(void *context, const struct pages_request *request, struct page *page)
{
    struct exporter *e = context;
    const char *type = pages_parameter(request, "type");
    if (strcmp(request->method, "GET") != 0) {
        page->allow = "GET";
        page_refuse(page, NOT_ALLOWED, "only accepts GET request");
        return;
    }
    if (type == NULL || type[0] == '\0') {
        page_refuse(page, BAD_REQUEST, "type must be set in the request.");
        return;
    }
    struct boskos_call call = program_call(&e->program);
    struct boskos_metric *metric;
    int err = boskos_metric(e->program.client, type, &metric, &call);
    if (err != 0) {
        page_refuse(page, err == BOSKOS_ERR_NO_TYPE ? NOT_FOUND : BAD_GATEWAY, call.text);
        return;
    }
    char *json = boskos_metric_json(metric);
    buffer_string(&page->body, json);
    free(json);
    boskos_metric_free(metric);
    page->status = OK;
    page->content_type = "application/json";
}
