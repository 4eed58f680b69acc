// The commands of boskosctl, and their help.
#include "client/boskosctl/ctl.h"

#include "base/banned.h"

#define LEASE (CTL_BIT(CTL_TYPE) | CTL_BIT(CTL_STATE) | CTL_BIT(CTL_TARGET_STATE))

#define GENERAL                                                                              \
    "\n"                                                                                     \
    "General flags (one dash or two; --flag value or --flag=value)\n"                        \
    "  --server-url URL         the server, as http://boskos:8080\n"                         \
    "  --owner-name NAME        who asks: one name for each job\n"                           \
    "  --username NAME          basic authentication, with --password-file\n"                \
    "  --password-file FILE     its content is the password\n"                               \
    "  --token-file FILE        a bearer token, in place of the two\n"                       \
    "  --ca-file FILE           certificates to trust, in place of the system's\n"           \
    "  --request-timeout DURATION\n"                                                         \
    "                           for how long a request is tried, repetitions and all (2m)\n" \
    "  --log-level LEVEL        error, or warning to see what is tried again (error)\n"      \
    "  --log-format FORMAT      text or json (text)\n"                                       \
    "  --help, --version\n"

const char ctl_help[] =
    "boskosctl - Boskos from a command line\n"
    "\n"
    "Usage: boskosctl COMMAND --server-url URL --owner-name NAME [flags]\n"
    "\n"
    "One lease\n"
    "  acquire      takes a resource, and prints it as JSON\n"
    "  release      gives a resource back\n"
    "  heartbeat    says now and then that a lease is still in use\n"
    "  update       says so once, and may leave notes\n"
    "  run          runs a command under a lease, which is given back on every way out\n"
    "\n"
    "What there is\n"
    "  metrics      counts of a type, by state and owner, as JSON\n"
    "  list         the resources (boskosd only)\n"
    "  get          one resource (boskosd only)\n"
    "  wait         waits until so many resources, or one by name, are in a state\n"
    "  reset        takes back what was not heard of for some time\n"
    "  config       is a config file good, and what would it do?\n"
    "\n"
    "  completion   prints completion for bash, zsh or fish\n"
    "  help         help about a command\n" GENERAL "\n"
    "Exit code 0 when it was done, else 1, with a line on stderr that says why, and a second one\n"
    "when a flag is missing or not the command's; run: see its help.\n"
    "boskosctl COMMAND --help has flags and examples of a command.\n";

static const char acquire_help[] =
    "boskosctl acquire - takes a resource, and prints it as JSON\n"
    "\n"
    "  --type TYPE              of this type\n"
    "  --state STATE            in this state\n"
    "  --target-state STATE     the state it gets\n"
    "  --timeout DURATION       waits so long in the queue for one; 0 asks once (0)\n"
    "  --with-leased            takes also those that its userdata's leasedResources names\n"
    "  -o, --output FORMAT      json, table or name (json)\n" GENERAL "\n"
    "Examples\n"
    "  boskosctl acquire --server-url http://boskos --owner-name job-1 \\\n"
    "      --type gce-project --state free --target-state busy --timeout 30m\n"
    "  name=$(boskosctl acquire ... -o name) || exit 1\n";

static const char release_help[] =
    "boskosctl release - gives a resource back\n"
    "\n"
    "  --name NAME              the resource\n"
    "  --target-state STATE     the state it gets\n"
    "  --with-leased            gives back also those that its userdata's leasedResources\n"
    "                           names, whatever becomes of the others (boskosd only)\n" GENERAL "\n"
    "Examples\n"
    "  boskosctl release --server-url http://boskos --owner-name job-1 \\\n"
    "      --name project-01 --target-state dirty\n";

static const char update_help[] =
    "boskosctl update - one heartbeat, which may leave notes\n"
    "\n"
    "  --name NAME              the resource\n"
    "  --state STATE            the state it is in\n"
    "  --userdata KEY=VALUE     sets a key, or removes it when VALUE is empty; may be repeated\n"
    "  --with-leased            updates also those that its userdata's leasedResources names,\n"
    "                           without notes (boskosd only)\n" GENERAL "\n"
    "Examples\n"
    "  boskosctl update --server-url http://boskos --owner-name job-1 \\\n"
    "      --name project-01 --state busy --userdata build=1234\n";

static const char reset_help[] =
    "boskosctl reset - takes back what was not heard of for some time\n"
    "\n"
    "  --type TYPE              of this type\n"
    "  --state STATE            in this state, with an owner\n"
    "  --expire DURATION        and not updated for so long\n"
    "  --target-state STATE     the state they get\n"
    "\n"
    "Prints the names with their former owners, as JSON.\n" GENERAL "\n"
    "Examples\n"
    "  boskosctl reset --server-url http://boskos --type gce-project --state busy \\\n"
    "      --expire 2h --target-state dirty\n";

static const char metrics_help[] =
    "boskosctl metrics - counts of a type, by state and owner, as JSON\n"
    "\n"
    "  --type TYPE              the type\n" GENERAL "\n"
    "Examples\n"
    "  boskosctl metrics --server-url http://boskos --owner-name ops --type gce-project\n";

static const char list_help[] =
    "boskosctl list - the resources, by name (boskosd only)\n"
    "\n"
    "  --type A,B               of these types\n"
    "  --state A,B              in these states\n"
    "  --owner A,B              of these owners; --owner= of none\n"
    "  -o, --output FORMAT      json, table or name (table)\n" GENERAL "\n"
    "Examples\n"
    "  boskosctl list --server-url http://boskos --type gce-project --state dirty,cleaning\n"
    "  boskosctl list --server-url http://boskos --owner= -o name\n";

static const char get_help[] =
    "boskosctl get NAME - one resource (boskosd only)\n"
    "\n"
    "  -o, --output FORMAT      json, table or name (json)\n" GENERAL "\n"
    "Examples\n"
    "  boskosctl get project-01 --server-url http://boskos\n";

static const char wait_help[] =
    "boskosctl wait - waits until resources are in a state\n"
    "\n"
    "  --type TYPE --count N    until N of the type are in it, owned or not (1)\n"
    "  --name NAME              until this one is in it (boskosd only)\n"
    "  --state STATE            the state\n"
    "  --timeout DURATION       for so long; 0 has no end (5m)\n" GENERAL "\n"
    "Exit code 1 when the timeout is over. What does not exist yet is waited for, and so is a\n"
    "server that does not answer.\n"
    "\n"
    "Examples\n"
    "  boskosctl wait --server-url http://boskos --type cluster --state free --count 2\n";

static const char heartbeat_help[] =
    "boskosctl heartbeat - says now and then that a lease is still in use\n"
    "\n"
    "  --resource JSON          what acquire printed\n"
    "  --period DURATION        from one to the next (30s)\n"
    "  --timeout DURATION       for how long (5h)\n"
    "  --retries N              failures in a row to bear with (10)\n"
    "  --with-leased            also for those that the leasedResources of the JSON names; any\n"
    "                           of them that fails too often ends it\n" GENERAL "\n"
    "Ends with exit code 0 only by SIGINT or SIGTERM. After the timeout and after too many\n"
    "failures it is 1: nothing keeps the lease alive then.\n"
    "\n"
    "Examples\n"
    "  resource=$(boskosctl acquire ...) || exit 1\n"
    "  boskosctl heartbeat --server-url http://boskos --owner-name job-1 \\\n"
    "      --resource \"$resource\" &\n";

static const char run_help[] =
    "boskosctl run [flags] -- COMMAND [ARGUMENT...] - runs a command under a lease\n"
    "\n"
    "  --type, --state, --target-state, --timeout, --with-leased: as in acquire\n"
    "  --release-state STATE    the state it gets afterwards (dirty)\n"
    "  --period DURATION        from one heartbeat to the next (30s)\n"
    "  --grace DURATION         from SIGTERM to SIGKILL when the lease is lost (10s)\n"
    "\n"
    "The command finds BOSKOS_RESOURCE_NAME, _TYPE, _STATE and _OWNER in its environment, all of\n"
    "it as JSON in BOSKOS_RESOURCE, and names apart by spaces in BOSKOS_LEASED_RESOURCES. Signals\n"
    "are passed on to it. When the lease is lost it is ended. When boskosctl is killed it gets\n"
    "SIGTERM.\n"
    "\n"
    "Exit code: the command's own, 128 + N after signal N; 125 when there was no lease, it was\n"
    "lost, or could not be given back after a command that went well; 126 and 127 when the\n"
    "command cannot be run, or is not there.\n" GENERAL "\n"
    "Examples\n"
    "  boskosctl run --server-url http://boskos --owner-name \"job-$BUILD\" --type gce-project \\\n"
    "      --state free --target-state busy --timeout 1h -- ./e2e.sh --verbose\n";

static const char config_help[] =
    "boskosctl config FILE - is a config file good, and what would it do?\n"
    "\n"
    "Each error and warning is a line, FILE:LINE: error: TEXT, on stderr. FILE - is stdin. With\n"
    "--server-url it prints what applying the file to that server (boskosd) would add, delete,\n"
    "and delay until an owner gives it back; nothing is changed.\n"
    "\n"
    "  --strict                 a warning is an error\n" GENERAL "\n"
    "Examples\n"
    "  boskosctl config boskos-resources.yaml\n"
    "  boskosctl config --server-url http://boskos boskos-resources.yaml\n";

static const char completion_help[] =
    "boskosctl completion SHELL - prints completion for bash, zsh or fish\n"
    "\n"
    "Examples\n"
    "  source <(boskosctl completion bash)\n"
    "  boskosctl completion fish | source\n";

const struct ctl_command ctl_commands[] = {
    {"acquire", CTL_BIT(CTL_TIMEOUT) | CTL_BIT(CTL_WITH_LEASED) | CTL_BIT(CTL_OUTPUT), LEASE, true,
     true, CTL_JSON, ctl_acquire, "takes a resource", acquire_help},
    {"release", CTL_BIT(CTL_WITH_LEASED), CTL_BIT(CTL_NAME) | CTL_BIT(CTL_TARGET_STATE), true, true,
     CTL_JSON, ctl_release, "gives a resource back", release_help},
    {"metrics", 0, CTL_BIT(CTL_TYPE), true, true, CTL_JSON, ctl_metrics,
     "counts of a type, by state and owner", metrics_help},
    {"heartbeat",
     CTL_BIT(CTL_PERIOD) | CTL_BIT(CTL_TIMEOUT) | CTL_BIT(CTL_RETRIES) | CTL_BIT(CTL_WITH_LEASED),
     CTL_BIT(CTL_RESOURCE), true, true, CTL_JSON, ctl_heartbeat,
     "says now and then that a lease is still in use", heartbeat_help},
    {"update", CTL_BIT(CTL_USERDATA) | CTL_BIT(CTL_WITH_LEASED),
     CTL_BIT(CTL_NAME) | CTL_BIT(CTL_STATE), true, true, CTL_JSON, ctl_update,
     "one heartbeat, which may leave notes", update_help},
    {"reset", 0, LEASE | CTL_BIT(CTL_EXPIRE), false, true, CTL_JSON, ctl_reset,
     "takes back what was not heard of", reset_help},
    {"list", CTL_BIT(CTL_TYPE) | CTL_BIT(CTL_STATE) | CTL_BIT(CTL_OWNER) | CTL_BIT(CTL_OUTPUT), 0,
     false, true, CTL_TABLE, ctl_list, "the resources", list_help},
    {"get", CTL_BIT(CTL_NAME) | CTL_BIT(CTL_OUTPUT), 0, false, true, CTL_JSON, ctl_get,
     "one resource", get_help},
    {"wait", CTL_BIT(CTL_TYPE) | CTL_BIT(CTL_NAME) | CTL_BIT(CTL_COUNT) | CTL_BIT(CTL_TIMEOUT),
     CTL_BIT(CTL_STATE), false, true, CTL_JSON, ctl_wait, "waits until resources are in a state",
     wait_help},
    {"run",
     CTL_BIT(CTL_TIMEOUT) | CTL_BIT(CTL_WITH_LEASED) | CTL_BIT(CTL_RELEASE_STATE) |
         CTL_BIT(CTL_PERIOD) | CTL_BIT(CTL_GRACE),
     LEASE, true, true, CTL_JSON, ctl_run, "runs a command under a lease", run_help},
    {"config", CTL_BIT(CTL_STRICT), 0, false, false, CTL_JSON, ctl_config, "checks a config file",
     config_help},
    {"completion", 0, 0, false, false, CTL_JSON, ctl_completion, "prints completion for a shell",
     completion_help},
    {"help", 0, 0, false, false, CTL_JSON, ctl_print_help, "help about a command", ctl_help},
    {NULL, 0, 0, false, false, CTL_JSON, NULL, NULL, NULL},
};

const struct ctl_command *ctl_command_find(const char *name)
{
    for (const struct ctl_command *c = ctl_commands; c->name != NULL; c++) {
        if (strcmp(c->name, name) == 0) return c;
    }
    return NULL;
}

int ctl_print_help(struct ctl *ctl)
{
    const struct ctl_command *c = ctl->word != NULL ? ctl_command_find(ctl->word) : NULL;
    if (ctl->word != NULL && c == NULL)
        return ctl_say("Error: unknown command \"%s\" for \"boskosctl\"", ctl->word);
    return cli_print("boskosctl", text_from(c != NULL ? c->help : ctl_help));
}
