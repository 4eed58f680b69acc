#include <stdio.h>

#include "daemon/options.h"

#include "base/banned.h"

static const char help[] =
    "boskosd - hands out shared resources to continuous-integration jobs\n"
    "\n"
    "Usage: boskosd [flags]          (one dash or two; --flag value or --flag=value)\n"
    "\n"
    "What to serve\n"
    "  --config FILE           the resources, as YAML (config.yaml); watched, and read again on "
    "SIGHUP\n"
    "  --strict-config         a bad config at the start is an error even when the journal has "
    "one\n"
    "  --request-ttl DURATION  how long a queued request keeps its place without polling (30s)\n"
    "\n"
    "Where to keep it\n"
    "  --data-dir DIR          the folder of the journal (/var/lib/boskosd)\n"
    "  --in_memory             keep nothing: everything is forgotten at the end\n"
    "  --snapshot-every N      write a snapshot every N commands, and every hour (1000000)\n"
    "  --retain DURATION       keep at least so much of the past, to be replayed (168h)\n"
    "  --retain-bytes SIZE     but no more than this, log and snapshots together (16GiB)\n"
    "\n"
    "To do in place of serving, on a folder that nobody has\n"
    "  --compact               write data.mdb anew without the room that is not used, and end\n"
    "  --repair                say what is damaged and what can be kept, and end\n"
    "  --repair --cut-at SEQ   keep what there is up to record SEQ, and the old folder beside it\n"
    "\n"
    "Where to listen (0 turns a port off)\n"
    "  --address ADDRESS       listen on this address only (all, IPv6 and IPv4)\n"
    "  --port PORT             the Boskos API (8080)\n"
    "  --health-port PORT      /healthz and /healthz/ready (8081)\n"
    "  --metrics-port PORT     /metrics for Prometheus (9090)\n"
    "\n"
    "What to say\n"
    "  --log-level LEVEL       panic fatal error warning info debug trace (info)\n"
    "  --log-format FORMAT     text or json (text)\n"
    "  --help, --version\n"
    "\n"
    "Accepted without effect, for a Boskos command line: --dynamic-resource-update-period "
    "--namespace\n"
    "--pod-name --boskos-label-selector --leader-label-key --kubeconfig --projected-token-file\n"
    "--pprof-port --profile-memory-usage --memory-profile-interval\n"
    "\n"
    "Examples\n"
    "  boskosd --config /etc/boskos/config.yaml --data-dir /var/lib/boskosd\n"
    "  boskosd --config deploy/example.yaml --in_memory --port 9000 --log-level debug\n"
    "\n"
    "Signals: SIGHUP reads the config again; SIGTERM and SIGINT answer what is in flight, write a\n"
    "snapshot and end.\n"
    "Exit codes: 0 ended as asked, 1 the surroundings (port, folder, config), 2 the command line,\n"
    "4 damage in the data folder, 5 out of memory.\n";

void print_help(void)
{
    fputs(help, stdout);
}
