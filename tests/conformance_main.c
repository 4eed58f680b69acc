// conformance: what a running Boskos did, against what this code does with the same.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/duration.h"
#include "config/config.h"
#include "tests/conformance.h"

#include "base/banned.h"

#define EXIT_DIFFERENCE 1
#define EXIT_USAGE 2

static const char help[] =
    "conformance [--rules FILE...] [--config FILE...] [--duration FILE...]\n"
    "\n"
    "Plays recordings of a running Boskos, one JSON object a line, in this process: the\n"
    "server's own reading of requests and configs, its rules and its replies, under a clock\n"
    "that the recording steps. Prints each difference with its file and line, then\n"
    "`N of M steps agree`.\n"
    "\n"
    "  --rules FILE...     histories: start, config, tick, request, dump\n"
    "  --config FILE...    configs and what they parse to, or their errors\n"
    "  --duration FILE...  durations and their nanoseconds, or their errors\n"
    "  --help              this text\n"
    "\n"
    "Examples:\n"
    "  conformance --rules tests/conformance/rules/*.jsonl\n"
    "  conformance --config tests/conformance/config.jsonl \\\n"
    "              --duration tests/conformance/duration.jsonl\n"
    "\n"
    "Exit code: 0 all agree, 1 something differs, 2 wrong use or a file that cannot be read.\n";

// ---- counting -----------------------------------------------------------------------------------

static void print_side(const char *side, struct text t)
{
    bool has_newline = t.size > 0 && t.data[t.size - 1] == '\n';
    fprintf(stderr, "  %s %.*s%s", side, TEXT_ARG(t), has_newline ? "" : "\n");
}

bool tally_differs(const struct tally *t, const char *what, struct text wanted, struct text got)
{
    fprintf(stderr, "%s:%" PRIu32 ": %s\n", t->path, t->line, what);
    print_side("wanted:", wanted);
    print_side("got:   ", got);
    return false;
}

bool tally_file(struct tally *t, const char *path, bool (*play)(void *context, const json_t *step),
                void *context)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        fprintf(stderr, "conformance: %s cannot be read\n", path);
        return false;
    }
    t->path = path;
    t->line = 0;
    char *line = NULL;
    size_t capacity = 0;
    for (ssize_t size;
         t->line < RECORDED_LINES_MAX && (size = getline(&line, &capacity, file)) > 0;) {
        t->line++;
        if (line[0] == '\n') continue;
        json_error_t error;
        json_t *step = json_loadb(line, (size_t)size, JSON_ALLOW_NUL, &error);
        t->steps++;
        if (step == NULL)
            tally_differs(t, "the line", TEXT("JSON"), text_from(error.text));
        else
            t->agreed += play(context, step);
        json_decref(step);
    }
    bool ok = feof(file) != 0;
    if (!ok) fprintf(stderr, "conformance: %s cannot be read to its end\n", path);
    free(line);
    fclose(file);
    return ok;
}

// ---- configs ------------------------------------------------------------------------------------

static json_t *json_of(struct text t)
{
    return json_stringn(t.data != NULL ? t.data : "", t.size);
}

static json_t *json_of_entry(const struct config_entry *e)
{
    json_t *o = json_object();
    json_object_set_new(o, "type", json_of(e->type));
    json_object_set_new(o, "state", json_of(e->state));
    if (!e->is_dynamic) {
        json_t *names = json_array();
        for (size_t i = 0; i < e->names_count; i++)
            json_array_append_new(names, json_of(e->names[i]));
        json_object_set_new(o, "names", names);
        return o;
    }
    json_object_set_new(o, "min-count", json_integer(e->min_count));
    json_object_set_new(o, "max-count", json_integer(e->max_count));
    if (e->has_lifespan) json_object_set_new(o, "lifespan_ns", json_integer(e->lifespan_ns));
    if (e->needs_count == 0) return o;
    json_t *needs = json_object();
    for (size_t i = 0; i < e->needs_count; i++) {
        const struct config_need *need = &e->needs[i];
        json_object_setn_new(needs, need->type.data, need->type.size, json_integer(need->count));
    }
    json_object_set_new(o, "needs", needs);
    return o;
}

static bool same_config(const struct tally *t, const struct config *c, const json_t *wanted)
{
    json_t *got = json_array();
    for (size_t i = 0; i < c->entries_count; i++)
        json_array_append_new(got, json_of_entry(&c->entries[i]));
    bool is_same = json_equal(wanted, got);
    if (!is_same) {
        char *lines[2] = {json_dumps(wanted, JSON_SORT_KEYS | JSON_ENCODE_ANY),
                          json_dumps(got, JSON_SORT_KEYS)};
        tally_differs(t, "the entries", text_from(lines[0]), text_from(lines[1]));
        free(lines[0]);
        free(lines[1]);
    }
    json_decref(got);
    return is_same;
}

static bool play_config(void *context, const json_t *step)
{
    const struct tally *t = context;
    struct config *config = NULL;
    struct config_report report;
    int err = config_parse(json_text(json_object_get(step, "yaml")), &config, &report);
    const json_t *parsed = json_object_get(step, "parsed");
    struct text error = json_text(json_object_get(step, "error"));
    bool is_same = false;
    if (parsed != NULL && err == 0) {
        is_same = same_config(t, config, parsed);
    } else if (parsed != NULL) {
        tally_differs(t, "the config", TEXT("no errors"), report.joined);
    } else {
        is_same = err != 0 && (text_equal(error, TEXT("*")) || text_equal(error, report.joined));
        if (!is_same)
            tally_differs(t, "the errors", error, err == 0 ? TEXT("none") : report.joined);
    }
    config_free(config);
    config_report_release(&report);
    return is_same;
}

// ---- durations ----------------------------------------------------------------------------------

static bool play_duration(void *context, const json_t *step)
{
    const struct tally *t = context;
    struct buffer wanted, got;
    int64_t ns = 0;
    buffer_init(&wanted);
    buffer_init(&got);
    const json_t *error = json_object_get(step, "error");
    if (error != NULL) {
        buffer_text(&wanted, json_text(error));
    } else {
        buffer_format(&wanted, "%" PRId64 " ns",
                      (int64_t)json_integer_value(json_object_get(step, "ns")));
    }
    struct text duration = json_text(json_object_get(step, "text"));
    if (duration_parse(duration, &ns, &got) == 0) buffer_format(&got, "%" PRId64 " ns", ns);
    bool is_same = text_equal(buffer_as_text(&wanted), buffer_as_text(&got));
    if (!is_same) tally_differs(t, "the duration", buffer_as_text(&wanted), buffer_as_text(&got));
    buffer_release(&wanted);
    buffer_release(&got);
    return is_same;
}

// ---- the arguments ------------------------------------------------------------------------------

enum kind { KIND_NONE, KIND_RULES, KIND_CONFIG, KIND_DURATION };

static enum kind kind_of(const char *argument)
{
    if (strcmp(argument, "--rules") == 0) return KIND_RULES;
    if (strcmp(argument, "--config") == 0) return KIND_CONFIG;
    if (strcmp(argument, "--duration") == 0) return KIND_DURATION;
    return KIND_NONE;
}

static bool play_file(struct tally *t, enum kind kind, const char *path)
{
    switch (kind) {
    case KIND_RULES: return play_rules(t, path);
    case KIND_CONFIG: return tally_file(t, path, play_config, t);
    case KIND_DURATION: return tally_file(t, path, play_duration, t);
    case KIND_NONE: break;
    }
    fprintf(stderr, "conformance: what kind of recording is %s? See --help.\n", path);
    return false;
}

int main(int argc, char **argv)
{
    struct tally tally = {0};
    enum kind kind = KIND_NONE;
    uint32_t files = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            fputs(help, stdout);
            return 0;
        }
        if (kind_of(argv[i]) != KIND_NONE) {
            kind = kind_of(argv[i]);
            continue;
        }
        if (!play_file(&tally, kind, argv[i])) return EXIT_USAGE;
        files++;
    }
    if (files == 0) {
        fputs("conformance: no recordings are given. See --help.\n", stderr);
        return EXIT_USAGE;
    }
    printf("%" PRIu64 " of %" PRIu64 " steps agree\n", tally.agreed, tally.steps);
    return tally.agreed == tally.steps ? 0 : EXIT_DIFFERENCE;
}
