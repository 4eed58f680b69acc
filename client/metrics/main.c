// boskos-metrics: how many resources are in which state, for people and for Prometheus.
#include "client/metrics/exporter.h"

#include "base/banned.h"

#define PAGE_THREADS 8u // a page of JSON asks the server: it must not wait behind one that hangs

enum flag {
    RESOURCE_TYPE,
    FROM_CONFIG,
    RESOURCE_STATE,
    PORT,
    METRICS_PORT,
    PERIOD,
    IGNORED,
    IGNORED_BOOL
};

static const struct cli_flag flags[] = {
    {"resource-type", CLI_VALUE, RESOURCE_TYPE},
    {"resource-type-from-config", CLI_VALUE, FROM_CONFIG},
    {"resource-state", CLI_VALUE, RESOURCE_STATE},
    {"port", CLI_VALUE, PORT},
    {"metrics-port", CLI_VALUE, METRICS_PORT},
    {"period", CLI_VALUE, PERIOD},
    {"health-port", CLI_VALUE, IGNORED},
    {"pprof-port", CLI_VALUE, IGNORED},
    {"memory-profile-interval", CLI_VALUE, IGNORED},
    {"profile-memory-usage", CLI_BOOL, IGNORED_BOOL},
    PROGRAM_DAEMON_FLAGS,
    {NULL, CLI_ALONE, 0},
};

static const char help[] =
    "boskos-metrics - how many resources are in which state, for people and for Prometheus\n"
    "\n"
    "Usage: boskos-metrics --resource-type A,B [flags]\n"
    "\n"
    "GET /?type=T on --port answers with the counts of a type as JSON, asked for then; GET\n"
    "/metrics on --metrics-port with those of all types of the last round, every 30 s.\n"
    "\n"
    "Flags (one dash or two; --flag value or --flag=value)\n"
    "  --resource-type A,B      these types\n"
    "  --resource-type-from-config FILE\n"
    "                           and those of a config file, which is read anew when it\n"
    "                           changes. One of the two is needed\n"
    "  --resource-state A,B     these states by name, the rest as `other` (busy cleaning dirty\n"
    "                           free leased toBeDeleted tombstone)\n"
    "  --port N                 of the JSON page; 0: none (8080)\n"
    "  --metrics-port N         of the page for Prometheus; 0: none (9090)\n"
    "  --period DURATION        from one round to the next (30s)\n"
    "  --health-port, --pprof-port, --profile-memory-usage, --memory-profile-interval\n"
    "                           of Boskos; have no effect\n" PROGRAM_DAEMON_HELP "\n"
    "Examples\n"
    "  boskos-metrics --boskos-url http://boskos --resource-type gce-project,aws-account\n"
    "  curl 'http://localhost:8080/?type=gce-project'\n"
    "  curl http://localhost:9090/metrics\n";

static bool argument(struct program *p, const struct cli_argument *a, void *context)
{
    struct exporter *e = context;
    if (a->flag == NULL) return cli_wrong(&p->cli, "\"%s\": takes no words", a->text);
    const char *name = a->flag->name;
    bool unused;
    switch ((enum flag)a->flag->number) {
    case RESOURCE_TYPE: return program_list_add(p, name, a->value, &e->types.given);
    case FROM_CONFIG: e->types.file.path = a->value[0] == '\0' ? NULL : a->value; return true;
    case RESOURCE_STATE: return program_list_add(p, name, a->value, &e->states);
    case PORT: return pages_port(p, name, a->value, &e->port);
    case METRICS_PORT: return pages_port(p, name, a->value, &e->metrics_port);
    case PERIOD: return cli_span(&p->cli, name, a->value, &e->period_ns);
    case IGNORED_BOOL: return cli_bool(&p->cli, name, a->value, &unused);
    case IGNORED: return true;
    }
    return true;
}

static int serve(struct exporter *e)
{
    struct pages *json = NULL, *prometheus = NULL;
    struct program *p = &e->program;
    int code = pages_start(p, e->port, PAGE_THREADS, exporter_answer_json, e, &json);
    if (code == PROGRAM_OK)
        code = pages_start_figures(p, e->metrics_port, true, exporter_figures, e, &prometheus);
    if (code == PROGRAM_OK) {
        program_log(p, LOG_INFO, "boskos-metrics is ready: %zu types", e->types.all.count);
        do
            exporter_update(e);
        while (program_sleep(p, program_ms(e->period_ns)));
    }
    pages_stop(json);
    pages_stop(prometheus);
    return code;
}

static int run(struct exporter *e)
{
    int code = program_types_refresh(&e->program, &e->types);
    if (code == PROGRAM_OK) code = program_start(&e->program);
    return code == PROGRAM_OK ? serve(e) : code;
}

int main(int argc, char **argv)
{
    struct exporter e = {.period_ns = INT64_C(30000000000),
                         .port = 8080,
                         .metrics_port = PAGES_FIGURES_PORT,
                         .lock = PTHREAD_MUTEX_INITIALIZER};
    struct program *p = &e.program;
    int code;
    program_init(p, "boskos-metrics", "Metrics", help);
    buffer_init(&e.text);
    p->options.attempts_max = 2;
    p->options.backoff_first_ms = 200;
    p->options.request_timeout_ms = 5000;
    p->options.call_timeout_ms = 8000;
    if (program_read(p, argc, argv, flags, argument, &e, &code)) {
        if (e.states.count == 0)
            (void)program_list_add(p, "", "busy,cleaning,dirty,free,leased,toBeDeleted,tombstone",
                                   &e.states);
        if (e.types.given.count == 0 && e.types.file.path == NULL)
            code = program_usage(p, "--resource-type or --resource-type-from-config must be set");
        else if (e.port == 0 && e.metrics_port == 0)
            code = program_usage(p, "--port and --metrics-port are both 0");
        else
            code = program_end(p, run(&e));
    }
    buffer_release(&e.text);
    program_list_free(&e.failed);
    program_list_free(&e.states);
    program_types_free(&e.types);
    return code;
}
