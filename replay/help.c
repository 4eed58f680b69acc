#include <stdio.h>

#include "base/assert.h"
#include "replay/options.h"

#include "base/banned.h"

static const char help[] =
    "boskos-replay - what happened, when and why, out of boskosd's journal\n"
    "\n"
    "Usage: boskos-replay [--data-dir DIR | --file FILE] [--json] COMMAND [options]\n"
    "\n"
    "What is in the journal\n"
    "  info                     how far it reaches, snapshots, versions, commands by kind\n"
    "  log                      the commands, one a line, with what they came to\n"
    "  show [--at P]            resources, queues and life cycles at a point\n"
    "  verify [--from P]        replay everything and compare every stored result and digest\n"
    "\n"
    "Questions after an incident\n"
    "  who NAME [--at P]        who held it, since which command, and how that lease ended\n"
    "  held-by OWNER [--at P]   what somebody held\n"
    "  why SEQ                  why a command ended as it did\n"
    "  diff A B                 what changed between two points, and by which command\n"
    "  usage                    leases, held and waiting times, by owner, type or resource\n"
    "  bisect                   the first command after which something was wrong\n"
    "\n"
    "To take away\n"
    "  export --to FILE         a part of the past in one file, for a bug report\n"
    "  backup --to DIR          a verified copy of the folder, also while boskosd runs\n"
    "\n"
    "General options (one dash or two; --flag value or --flag=value)\n"
    "  --data-dir DIR           the daemon's folder (/var/lib/boskosd)\n"
    "  --file FILE              an exported file in place of a folder\n"
    "  --json                   for programs: one object, or one a line\n"
    "  --help, --version        boskos-replay COMMAND --help has the options of a command\n"
    "\n"
    "A point P is the number of a command (the state after it), a time as 2026-03-01T14:02:00Z,\n"
    "or a span before the end as -10m. The folder is never changed, whether a daemon has it or\n"
    "not.\n"
    "\n"
    "Examples\n"
    "  boskos-replay show --at 2026-03-01T14:02:00Z\n"
    "  boskos-replay log --resource project-01 --from -1h\n"
    "  boskos-replay why 48213\n"
    "\n"
    "Exit codes: 0 answered, 1 not found or not possible, 2 the command line, 3 no longer kept,\n"
    "4 damage (or written by a newer version), 5 out of memory.\n";

static const char *const command_help[REPLAY_COMMANDS] = {
    [REPLAY_INFO] =
        "Usage: boskos-replay info\n"
        "\n"
        "The first and the last command, the snapshots and whether each is good, versions,\n"
        "how many commands of which kind, sizes. Every record is read and its checksum\n"
        "compared; nothing is replayed. Exit code 4 after the answer when there is damage.\n"
        "\n"
        "Examples\n"
        "  boskos-replay info\n"
        "  boskos-replay --file incident.bex info --json\n",
    [REPLAY_LOG] =
        "Usage: boskos-replay log [--from P] [--to P] [filters] [--reverse | --follow]\n"
        "\n"
        "The commands, one a line: number, time, kind, parameters, what they came to. With --json\n"
        "also the reply, byte for byte, and what each changed.\n"
        "\n"
        "  --from P, --to P    the first and the last one (the oldest that is kept, the end);\n"
        "                      --until is the same as --to\n"
        "  --resource NAME     only those that name it or changed it\n"
        "  --owner OWNER       only those that this owner sent, or that took or gave it something\n"
        "  --type TYPE         only those that name the type or changed a resource of it\n"
        "  --kind KIND         acquire acquirebystate release update reset config expire reap "
        "clean\n"
        "                      clock started repaired\n"
        "  --request ID        only the acquires with this request id\n"
        "  --refused           only those that were refused\n"
        "  --reverse           the newest first\n"
        "  --follow            go on as they come, until Ctrl-C; not with --to\n"
        "\n"
        "Examples\n"
        "  boskos-replay log --from -10m --refused\n"
        "  boskos-replay log --resource project-01 --reverse\n"
        "  boskos-replay log --json --kind acquire --follow | jq -r .reply\n",
    [REPLAY_SHOW] =
        "Usage: boskos-replay show [--at P] [--type TYPE] [--state STATE] [--owner OWNER]\n"
        "\n"
        "The state at a point (the end): resources, queues with ranks, life cycles; with "
        "--json\n"
        "also the config, in the form of the config file.\n"
        "\n"
        "  --type TYPE         only resources, queues and life cycles of the type\n"
        "  --state STATE       only resources in the state, and queues that wait for it\n"
        "  --owner OWNER       only resources that the owner has\n"
        "\n"
        "With --json these choose among the resources, and the rest is whole.\n"
        "\n"
        "Examples\n"
        "  boskos-replay show --at 2026-03-01T14:02:00Z --type gce-project\n"
        "  boskos-replay show --at 48212 --json | jq .config\n",
    [REPLAY_WHO] =
        "Usage: boskos-replay who NAME [--at P]\n"
        "\n"
        "Who held a resource at a point (the end), since which command, and how that lease\n"
        "ended. When nobody had it: the last lease before.\n"
        "\n"
        "Examples\n"
        "  boskos-replay who project-01 --at 2026-03-01T14:02:00Z\n",
    [REPLAY_HELD_BY] =
        "Usage: boskos-replay held-by OWNER [--at P]\n"
        "\n"
        "What an owner held at a point (the end), each since which command, and how\n"
        "that lease ended.\n"
        "\n"
        "Examples\n"
        "  boskos-replay held-by job-1234 --at -10m\n",
    [REPLAY_DIFF] =
        "Usage: boskos-replay diff A B [--resource NAME] [--owner OWNER] [--type TYPE]\n"
        "\n"
        "What differs between two points, and by which command: resources, requests in queues,\n"
        "life cycles, the config.\n"
        "\n"
        "  --resource NAME     only this one\n"
        "  --owner OWNER       only resources that the owner had at one of the points\n"
        "  --type TYPE         only resources, queues and life cycles of the type\n"
        "\n"
        "Examples\n"
        "  boskos-replay diff -1h -10m --type gce-project\n"
        "  boskos-replay diff 48000 48213\n",
    [REPLAY_WHY] =
        "Usage: boskos-replay why SEQ\n"
        "       boskos-replay why --request ID\n"
        "\n"
        "Why a command ended as it did. SEQ is the Boskos-Seq of the reply; --request takes\n"
        "the last acquire with that request id. For an acquire: every candidate with the\n"
        "reason it was passed over, and the queue ahead. Also for commands without a client,\n"
        "as config and reap.\n"
        "\n"
        "Examples\n"
        "  boskos-replay why 48213\n"
        "  boskos-replay why --request 0f6c6b5e-8a4e-4be8-9b6e-0d8b2f6f6a11\n",
    [REPLAY_USAGE] =
        "Usage: boskos-replay usage [--from P] [--to P] [--by owner|type|resource]\n"
        "\n"
        "Leases, held time, waiting time (median, 99th percentile, longest) and how much of the\n"
        "time was used, by type unless said otherwise. Counted from one instant to the other,\n"
        "whether commands are there or not, but not beyond the last command.\n"
        "\n"
        "  --from P            where it begins (the oldest state that is kept); a number: with\n"
        "                      this command, at the time of the one before it\n"
        "  --to P              where it ends (the last command); a number: with this command,\n"
        "                      at its time; --until is the same\n"
        "\n"
        "Examples\n"
        "  boskos-replay usage --from -24h\n"
        "  boskos-replay usage --by owner --json\n",
    [REPLAY_VERIFY] =
        "Usage: boskos-replay verify [--from P]\n"
        "\n"
        "Replays everything from the oldest state that is kept, or from P on, and compares every\n"
        "stored result and digest, and the snapshots it comes by. The first command that comes "
        "out\n"
        "differently is named, with the field, and what was stored and computed: exit code 4.\n"
        "\n"
        "Examples\n"
        "  boskos-replay verify\n"
        "  boskos-replay verify --from -1h --json\n",
    [REPLAY_BISECT] =
        "Usage: boskos-replay bisect --good P --bad P (--run COMMAND | --invariant NAME)\n"
        "\n"
        "The first command after which COMMAND, which gets the state as show --json prints it on\n"
        "its input and the number of the command in BOSKOS_SEQ, says that it is bad: its exit\n"
        "code 0 is good, 1 to 124 bad, 125 cannot tell. It must be good at --good, and bad at\n"
        "--bad, which is later.\n"
        "\n"
        "Invariants, in place of COMMAND\n"
        "  no-double-lease     no resource is there twice, or held in a state that nobody can be\n"
        "                      in; the counts of leases are right\n"
        "  min-count           no type has fewer dynamic resources than its min-count\n"
        "  stuck:DURATION      nothing is held that was not heard of for so long\n"
        "\n"
        "Examples\n"
        "  boskos-replay bisect --good 1 --bad 48213 --run 'jq -e \".resources | length > 5\"'\n"
        "  boskos-replay bisect --good -24h --bad -1m --invariant stuck:6h\n",
    [REPLAY_EXPORT] =
        "Usage: boskos-replay export --to FILE [--from P] [--until P] [--redact] "
        "[--with-userdata]\n"
        "\n"
        "Writes a part of the past into one file, which every command but backup reads with\n"
        "--file. FILE must not be there yet. Userdata is left out, but for leasedResources, "
        "unless\n"
        "--with-userdata; --redact replaces names, types, states, owners, ids and userdata, in "
        "such\n"
        "a way that everything comes out as it did.\n"
        "\n"
        "  --from P, --until P the first and the last command (the oldest that is kept, the end);\n"
        "                      --to is also taken for --until when it can be a point, so that a\n"
        "                      file of such a name is written ./2026\n"
        "\n"
        "Examples\n"
        "  boskos-replay export --to incident.bex --from -1h --redact\n"
        "  boskos-replay --file incident.bex log\n",
    [REPLAY_BACKUP] =
        "Usage: boskos-replay backup --to DIR\n"
        "\n"
        "A copy of the folder as it is now, also while boskosd runs, on which boskosd starts. All\n"
        "of it is replayed and compared on the way. DIR must be empty or not be there.\n"
        "\n"
        "Examples\n"
        "  boskos-replay backup --to /backup/boskos-$(date +%F)\n",
};

void print_help(void)
{
    fputs(help, stdout);
}

void print_command_help(enum replay_command command)
{
    ASSERT(command_help[command] != NULL);
    fputs(command_help[command], stdout);
}
