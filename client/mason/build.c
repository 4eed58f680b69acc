// The builder: what it is told on its stdin, and what it says.
#include <stdlib.h>

#include <jansson.h>

#include "base/assert.h"
#include "base/clock.h"
#include "client/mason/mason.h"
#include "client/subprocess.h"

#include "base/banned.h"

// Jansson's reference counts are left alone: each value has one owner, the one that it is put into.

// A resource, without the names of what it was made of before.
static json_t *resource_value(const struct boskos_resource *r)
{
    char *text = boskos_resource_json(r);
    json_t *value = json_loads(text, JSON_ALLOW_NUL, NULL);
    free(text);
    if (value != NULL) (void)json_object_del(json_object_get(value, "userdata"), MASON_LEASED_KEY);
    return value;
}

static json_t *text_value(struct text t)
{
    return json_stringn(t.size > 0 ? t.data : "", t.size);
}

// {"config":{"content":...,"type":...},"leased":[...],"resource":{...}}, one line. NULL when a text
// in it cannot be written.
static char *write_input(const struct job *job)
{
    json_t *config = json_object(), *leased = json_array(), *all = json_object();
    bool is_good =
        json_object_set_new(config, "type", text_value(job->plan.config_type)) == 0 &&
        json_object_set_new(config, "content", text_value(job->plan.config_content)) == 0;
    for (size_t i = 0; i < job->leased_count && is_good; i++)
        is_good = json_array_append_new(leased, resource_value(job->leased[i].resource)) == 0;
    is_good = json_object_set_new(all, "config", config) == 0 && is_good;
    is_good = json_object_set_new(all, "leased", leased) == 0 && is_good;
    is_good =
        json_object_set_new(all, "resource", resource_value(job->whole.resource)) == 0 && is_good;
    char *text = is_good ? json_dumps(all, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(all);
    return text;
}

// ---- what it says ---------------------------------------------------------------

static bool is_space(struct text t)
{
    for (uint32_t i = 0; i < t.size; i++) {
        if (memchr(" \t\r\n", t.data[i], 4) == NULL) return false;
    }
    return true;
}

// NULL and *ret_why when it is no object of strings.
static struct boskos_pairs *read_pairs(const json_t *object, const char **ret_why)
{
    const char *key;
    json_t *value;
    struct boskos_pairs *pairs = must_calloc(1, sizeof(*pairs));
    pairs->items = must_calloc(json_object_size(object) + 1, sizeof(struct boskos_pair));
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        *ret_why = strcmp(key, MASON_LEASED_KEY) == 0 ? "it sets " MASON_LEASED_KEY
                                                        ", which is the mason's"
                   : !json_is_string(value) ? "a value in it is no string"
                                            : NULL;
        if (*ret_why != NULL) break;
        struct boskos_pair *p = &pairs->items[pairs->count++];
        p->key = program_copy(key, strlen(key));
        p->value_size = json_string_length(value);
        p->value = program_copy(json_string_value(value), p->value_size);
    }
    if (*ret_why == NULL) return pairs;
    boskos_pairs_free(pairs);
    return NULL;
}

static struct boskos_pairs *read_output(struct text output, const char **ret_why)
{
    *ret_why = NULL;
    if (is_space(output)) return must_calloc(1, sizeof(struct boskos_pairs));
    json_t *value = json_loadb(output.data, output.size, JSON_REJECT_DUPLICATES, NULL);
    struct boskos_pairs *pairs = NULL;
    if (json_is_object(value))
        pairs = read_pairs(value, ret_why);
    else
        *ret_why = "it is no JSON object";
    json_decref(value);
    return pairs;
}

// ---- the run --------------------------------------------------------------------

static void log_build(const struct mason *m, const struct job *job, enum log_level level,
                      const char *line, const char *why, const struct subprocess_result *r)
{
    log_event(&m->program.log, level, line, LOG_F_STRING("type", job->whole.resource->type),
              LOG_F_STRING("name", job->whole.resource->name), LOG_F_STRING("result", why),
              LOG_F_DURATION("took", r->took_ms * (int64_t)NS_PER_MS),
              LOG_F_TEXT("output", buffer_as_text(&r->tail)));
}

bool mason_build(struct mason *m, struct job *job, struct boskos_pairs **ret_made)
{
    struct boskos_pairs *made = NULL;
    char *input = write_input(job);
    if (input == NULL) {
        program_log(&m->program, LOG_ERROR, "%s: a text of it is no UTF-8",
                    job->whole.resource->name);
        return false;
    }
    const char *const argv[] = {job->plan.builder->path, NULL};
    const struct subprocess what = {.argv = argv,
                                    .input = text_from(input),
                                    .output_max = MASON_OUTPUT_BYTES_MAX,
                                    .limit_ms = program_ms(m->limit_ns),
                                    .grace_ms = program_ms(m->grace_ns),
                                    .mask = &m->program.signals_before,
                                    .stop = m->program.stop,
                                    .lost = job->lost};
    struct subprocess_result r;
    const char *why = NULL;
    subprocess_run(&what, &r);
    if (subprocess_is_good(&r)) made = read_output(buffer_as_text(&r.output), &why);
    if (made != NULL)
        log_build(m, job, LOG_INFO, "built", r.why, &r);
    else if (why != NULL)
        log_build(m, job, LOG_WARNING, "the builder's output is not to be used", why, &r);
    else
        log_build(m, job, LOG_WARNING, "the builder failed", r.why, &r);
    subprocess_release(&r);
    free(input);
    if (made != NULL) *ret_made = made;
    return made != NULL;
}
