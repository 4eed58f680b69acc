// boskos-janitor: reads the command line, starts, ends.
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "client/give_back.h"
#include "client/janitor/janitor.h"
#include "client/subprocess.h"

#include "base/banned.h"

enum flag { PATH, POOL, UPDATE, TYPES, TYPES_FILE, POLL, LIMIT, GRACE, PORT };

static const struct cli_flag flags[] = {{"janitor-path", CLI_VALUE, PATH},
                                        {"pool-size", CLI_VALUE, POOL},
                                        {"update-frequency", CLI_VALUE, UPDATE},
                                        {"resource-type", CLI_VALUE, TYPES},
                                        {"resource-type-from-config", CLI_VALUE, TYPES_FILE},
                                        {"poll-period", CLI_VALUE, POLL},
                                        {"time-limit", CLI_VALUE, LIMIT},
                                        {"grace", CLI_VALUE, GRACE},
                                        {"metrics-port", CLI_VALUE, PORT},
                                        {"owner", CLI_VALUE, PROGRAM_FLAG_OWNER},
                                        PROGRAM_DAEMON_FLAGS,
                                        {NULL, CLI_ALONE, 0}};

static const char help[] =
    "boskos-janitor - cleans dirty resources with a program\n"
    "\n"
    "Usage: boskos-janitor --resource-type A,B [flags] [-- ARGUMENT ...]\n"
    "\n"
    "Takes resources that are dirty (they become cleaning), runs\n"
    "  PATH --<last word of the type>=<name> [ARGUMENT ...]\n"
    "and gives them back: free after exit code 0, dirty after anything else.\n"
    "\n"
    "Flags (one dash or two; --flag value or --flag=value)\n"
    "  --janitor-path PATH      the program (/bin/gcp_janitor.py)\n"
    "  --resource-type A,B      these types\n"
    "  --resource-type-from-config FILE\n"
    "                           and those of a config file, which is read anew when it\n"
    "                           changes. One of the two is needed\n"
    "  --pool-size N            cleanings at once, 1 to 1000 (20)\n"
    "  --update-frequency DURATION\n"
    "                           between heartbeats of what is being cleaned (5m)\n"
    "  --poll-period DURATION   before a type is asked for again that had nothing dirty (1m)\n"
    "  --time-limit DURATION    of one cleaning: then it is ended, and failed (1h)\n"
    "  --grace DURATION         from SIGTERM to SIGKILL of the program (10s)\n"
    "  --metrics-port N         of the page for Prometheus; 0: none (9090)\n"
    "  --owner NAME             of the leases (Janitor)\n" PROGRAM_DAEMON_HELP "\n"
    "Examples\n"
    "  boskos-janitor --boskos-url http://boskos --resource-type gcp-project,gpu-project\n"
    "      runs /bin/gcp_janitor.py --project=NAME for each\n"
    "  boskos-janitor --janitor-path ./clean.sh --resource-type-from-config config.yaml \\\n"
    "      --time-limit 20m -- --hours=0\n"
    "      runs ./clean.sh --account=NAME --hours=0 for a resource of type aws-account\n";

static bool read_pool(struct janitor *j, const char *value)
{
    uint64_t number;
    if (!cli_number(value, JANITOR_POOL_MAX, &number) || number == 0)
        return cli_wrong(&j->program.cli, "--pool-size: \"%s\" is not a number from 1 to %u", value,
                         JANITOR_POOL_MAX);
    j->pool_size = (size_t)number;
    return true;
}

// As with Go's flags, the first word ends them.
static bool read_word(struct janitor *j, const char *word)
{
    j->program.cli.has_ended = true;
    if (j->arguments_count == JANITOR_ARGUMENTS_MAX)
        return cli_wrong(&j->program.cli, "more than %u arguments", JANITOR_ARGUMENTS_MAX);
    j->arguments[j->arguments_count++] = word;
    return true;
}

static bool argument(struct program *p, const struct cli_argument *a, void *context)
{
    struct janitor *j = context;
    if (a->flag == NULL) return read_word(j, a->text);
    const char *name = a->flag->name;
    switch ((enum flag)a->flag->number) {
    case PATH: j->path = a->value; return true;
    case POOL: return read_pool(j, a->value);
    case UPDATE: return cli_span(&p->cli, name, a->value, &j->update_ns);
    case TYPES: return program_list_add(p, name, a->value, &j->types.given);
    case TYPES_FILE: j->types.file.path = a->value[0] == '\0' ? NULL : a->value; return true;
    case POLL: return cli_span(&p->cli, name, a->value, &j->poll_ns);
    case LIMIT: return cli_span(&p->cli, name, a->value, &j->limit_ns);
    case GRACE: return cli_span(&p->cli, name, a->value, &j->grace_ns);
    case PORT: j->has_port = true; return pages_port(p, name, a->value, &j->port);
    }
    return true;
}

// What is wrong with the command line as a whole.
static int check(struct janitor *j)
{
    struct program *p = &j->program;
    const struct program_list *given = &j->types.given;
    if (given->count == 0 && j->types.file.path == NULL)
        return program_usage(p, "--resource-type or --resource-type-from-config must be set");
    for (size_t i = 0; i < given->count; i++) {
        if (!janitor_can_clean(given->items[i]))
            return program_usage(p,
                                 "--resource-type: \"%s\" ends with a dash: there is no word to "
                                 "make a flag of",
                                 given->items[i]);
    }
    if (strchr(j->path, '/') != NULL && access(j->path, X_OK) != 0)
        return program_fail(p, "--janitor-path %s: %s", j->path, strerror(errno));
    return 0;
}

static int run(struct janitor *j)
{
    struct program *p = &j->program;
    struct pages *pages = NULL;
    int code = check(j);
    if (code == 0) code = janitor_follow_types(j);
    if (code != 0) return code;
    p->end_within_ms = program_ms(j->grace_ns) + GIVE_BACK_END_MS;
    code = program_start(p);
    if (code == 0) code = pages_start_figures(p, j->port, j->has_port, janitor_figures, j, &pages);
    if (code == 0) subprocess_make_room(p, j->pool_size);
    if (code == 0) code = janitor_work(j);
    pages_stop(pages);
    return program_end(p, code);
}

int main(int argc, char **argv)
{
    struct janitor *j = must_calloc(1, sizeof(*j));
    int code;
    program_init(&j->program, "boskos-janitor", "Janitor", help);
    (void)pthread_mutex_init(&j->lock, NULL);
    j->path = "/bin/gcp_janitor.py";
    j->pool_size = 20;
    j->update_ns = 300 * (int64_t)NS_PER_S;
    j->poll_ns = 60 * (int64_t)NS_PER_S;
    j->limit_ns = 3600 * (int64_t)NS_PER_S;
    j->grace_ns = 10 * (int64_t)NS_PER_S;
    j->port = PAGES_FIGURES_PORT;
    give_back_options(&j->program.options);
    if (program_read(&j->program, argc, argv, flags, argument, j, &code)) code = run(j);
    janitor_free_types(j);
    (void)pthread_mutex_destroy(&j->lock);
    free(j);
    return code;
}
