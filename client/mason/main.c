// boskos-mason: reads the command line, starts, ends.
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "client/give_back.h"
#include "client/mason/mason.h"
#include "client/subprocess.h"

#include "base/banned.h"

enum flag { CONFIG, BUILDER, CLEANERS, FULFILLERS, SYNCERS, PERIOD, HEARTBEAT, LIMIT, GRACE, PORT };

static const struct cli_flag flags[] = {{"config", CLI_VALUE, CONFIG},
                                        {"builder", CLI_VALUE, BUILDER},
                                        {"cleaner-count", CLI_VALUE, CLEANERS},
                                        {"fulfiller-count", CLI_VALUE, FULFILLERS},
                                        {"syncer-count", CLI_VALUE, SYNCERS},
                                        {"period", CLI_VALUE, PERIOD},
                                        {"heartbeat-period", CLI_VALUE, HEARTBEAT},
                                        {"time-limit", CLI_VALUE, LIMIT},
                                        {"grace", CLI_VALUE, GRACE},
                                        {"metrics-port", CLI_VALUE, PORT},
                                        {"owner", CLI_VALUE, PROGRAM_FLAG_OWNER},
                                        PROGRAM_DAEMON_FLAGS,
                                        {NULL, CLI_ALONE, 0}};

static const char help[] =
    "boskos-mason - makes resources out of other resources\n"
    "\n"
    "Usage: boskos-mason --config FILE --builder TYPE=PATH [flags]\n"
    "\n"
    "For each entry of the config without names whose config.type has a builder: takes its dirty\n"
    "resources (they become cleaning), gives back what they were made of, leases what the entry's\n"
    "needs name, has the builder make them, and gives them back free. After any failure all of it\n"
    "goes back as dirty.\n"
    "\n"
    "A builder reads from its stdin, as JSON,\n"
    "  "
    "{\"config\":{\"content\":...,\"type\":...},\"leased\":[RESOURCE,...],\"resource\":RESOURCE}\n"
    "and prints the userdata to store, a JSON object of strings, or nothing. What it says on "
    "stderr\n"
    "is logged. Exit code 0 is success.\n"
    "\n"
    "Flags (one dash or two; --flag value or --flag=value)\n"
    "  --config FILE            the server's config file, read anew when it changes\n"
    "  --builder TYPE=PATH      the program for that config.type; may be given again\n"
    "  --cleaner-count N        builders at once, 1 to 1000 (15)\n"
    "  --fulfiller-count N      threads that lease what is needed (4)\n"
    "  --syncer-count N         threads that store and release (4)\n"
    "  --period DURATION        between looks for dirty resources (15s)\n"
    "  --heartbeat-period DURATION\n"
    "                           between heartbeats of all that is held (10m)\n"
    "  --time-limit DURATION    of one builder: then it is ended, and failed (1h)\n"
    "  --grace DURATION         from SIGTERM to SIGKILL of a builder (10s)\n"
    "  --metrics-port N         of the page for Prometheus; 0: none (9090)\n"
    "  --owner NAME             of the leases (mason)\n" PROGRAM_DAEMON_HELP "\n"
    "Examples\n"
    "  boskos-mason --config boskos.yaml --builder ClusterCreator=/usr/lib/boskos/cluster.sh\n"
    "  boskos-mason --boskos-url http://localhost:8080 --config boskos.yaml \\\n"
    "      --builder A=./a --builder B=./b --cleaner-count 3 --time-limit 30m\n";

static bool read_count(struct program *p, const char *flag, const char *value, struct crew *crew)
{
    uint64_t number;
    if (!cli_number(value, MASON_POOL_MAX, &number) || number == 0)
        return cli_wrong(&p->cli, "--%s: \"%s\" is not a number from 1 to %u", flag, value,
                         MASON_POOL_MAX);
    crew->size = (size_t)number;
    return true;
}

static bool read_builder(struct mason *m, const char *value)
{
    struct cli *cli = &m->program.cli;
    const char *equals = strchr(value, '=');
    if (equals == NULL || equals == value || equals[1] == '\0')
        return cli_wrong(cli, "--builder: \"%s\" is not TYPE=PATH", value);
    if (m->builders_count == MASON_BUILDERS_MAX)
        return cli_wrong(cli, "more than %u builders", MASON_BUILDERS_MAX);
    size_t size = (size_t)(equals - value);
    for (size_t i = 0; i < m->builders_count; i++) {
        if (strlen(m->builders[i].type) == size && memcmp(m->builders[i].type, value, size) == 0)
            return cli_wrong(cli, "--builder: there are two for type %s", m->builders[i].type);
    }
    struct builder *b = &m->builders[m->builders_count++];
    b->type = program_copy(value, size);
    b->path = equals + 1;
    return true;
}

static bool argument(struct program *p, const struct cli_argument *a, void *context)
{
    struct mason *m = context;
    if (a->flag == NULL) return cli_wrong(&p->cli, "\"%s\": takes no words", a->text);
    const char *name = a->flag->name;
    switch ((enum flag)a->flag->number) {
    case CONFIG: m->config.path = a->value[0] == '\0' ? NULL : a->value; return true;
    case BUILDER: return read_builder(m, a->value);
    case CLEANERS: return read_count(p, name, a->value, &m->crews[CREW_BUILD]);
    case FULFILLERS: return read_count(p, name, a->value, &m->crews[CREW_FULFILL]);
    case SYNCERS: return read_count(p, name, a->value, &m->crews[CREW_SYNC]);
    case PERIOD: return cli_span(&p->cli, name, a->value, &m->period_ns);
    case HEARTBEAT: return cli_span(&p->cli, name, a->value, &m->heartbeat_ns);
    case LIMIT: return cli_span(&p->cli, name, a->value, &m->limit_ns);
    case GRACE: return cli_span(&p->cli, name, a->value, &m->grace_ns);
    case PORT: m->has_port = true; return pages_port(p, name, a->value, &m->port);
    }
    return true;
}

static int check(struct mason *m)
{
    struct program *p = &m->program;
    if (m->config.path == NULL) return program_usage(p, "--config must be set");
    if (m->builders_count == 0) return program_usage(p, "--builder must be set");
    for (size_t i = 0; i < m->builders_count; i++) {
        const char *path = m->builders[i].path;
        if (strchr(path, '/') != NULL && access(path, X_OK) != 0)
            return program_fail(p, "--builder %s: %s", path, strerror(errno));
    }
    return 0;
}

static int run(struct mason *m)
{
    struct program *p = &m->program;
    struct pages *pages = NULL;
    bool is_new;
    int code = check(m);
    if (code == 0) code = watched_refresh(p, &m->config, &is_new);
    if (code != 0) return code;
    p->end_within_ms = program_ms(m->grace_ns) + GIVE_BACK_END_MS;
    code = program_start(p);
    if (code == 0) code = pages_start_figures(p, m->port, m->has_port, mason_figures, m, &pages);
    if (code == 0) subprocess_make_room(p, m->crews[CREW_BUILD].size);
    if (code == 0) code = mason_work(m);
    pages_stop(pages);
    return program_end(p, code);
}

int main(int argc, char **argv)
{
    struct mason *m = must_calloc(1, sizeof(*m));
    pthread_condattr_t attributes;
    int code;
    program_init(&m->program, "boskos-mason", "mason", help);
    (void)pthread_mutex_init(&m->lock, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&m->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    m->crews[CREW_BUILD].size = 15;
    m->crews[CREW_FULFILL].size = 4;
    m->crews[CREW_SYNC].size = 4;
    m->period_ns = 15 * (int64_t)NS_PER_S;
    m->heartbeat_ns = 600 * (int64_t)NS_PER_S;
    m->limit_ns = 3600 * (int64_t)NS_PER_S;
    m->grace_ns = 10 * (int64_t)NS_PER_S;
    m->port = PAGES_FIGURES_PORT;
    give_back_options(&m->program.options);
    if (program_read(&m->program, argc, argv, flags, argument, m, &code)) code = run(m);
    mason_free_tallies(m);
    for (size_t i = 0; i < m->builders_count; i++)
        free(m->builders[i].type);
    watched_release(&m->config);
    (void)pthread_cond_destroy(&m->changed);
    (void)pthread_mutex_destroy(&m->lock);
    free(m);
    return code;
}
