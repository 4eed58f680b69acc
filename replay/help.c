#include <stdio.h>

#include "replay/options.h"

#include "base/banned.h"

static const char help[] =
    "boskos-replay - what happened, when and why, out of boskosd's journal\n"
    "\n"
    "Usage: boskos-replay [--data-dir DIR | --file FILE] [--json] COMMAND [options]\n"
    "\n"
    "What is in the journal\n"
    "  info                     how far it reaches, snapshots, versions, how many commands of "
    "which "
    "kind\n"
    "  log                      the commands, one a line, with what they came to\n"
    "  show [--at P]            resources, queues, life cycles, config at a point\n"
    "  verify [--from P]        replay everything and compare every stored result and digest\n"
    "\n"
    "Questions after an incident\n"
    "  who NAME [--at P]        who held it, since which command, and how that lease ended\n"
    "  held-by OWNER [--at P]   what somebody held\n"
    "  why SEQ                  why a command ended as it did; --request ID: the last one of a "
    "request\n"
    "  diff A B                 what changed between two points, and by which command\n"
    "  usage                    leases, held and waiting times, by owner, type or resource\n"
    "  bisect                   the first command after which something was wrong\n"
    "\n"
    "To take away\n"
    "  export --to FILE         a part of the past in one file, for a bug report; --redact\n"
    "  backup --to DIR          a verified copy of the folder, also while boskosd runs\n"
    "\n"
    "General options\n"
    "  --data-dir DIR           the daemon's folder (/var/lib/boskosd)\n"
    "  --file FILE              an exported file in place of a folder\n"
    "  --json                   for programs: one object, or one a line\n"
    "  --help, --version        also: boskos-replay COMMAND --help\n"
    "\n"
    "A point P is the number of a command (the state after it), a time as 2026-03-01T14:02:00Z, or "
    "a\n"
    "span before the end as -10m. The folder is never changed, whether a daemon has it or not.\n"
    "\n"
    "Examples\n"
    "  boskos-replay show --at 2026-03-01T14:02:00Z\n"
    "  boskos-replay log --resource project-01 --from -1h\n"
    "  boskos-replay why 48213\n"
    "\n"
    "Exit codes: 0 answered, 1 not found (or it cannot be read), 2 the command line, 3 no longer "
    "kept,\n"
    "4 damage, 5 out of memory.\n";

void print_help(void)
{
    fputs(help, stdout);
}

void print_command_help(enum replay_command command)
{
    (void)command;
    fputs(help, stdout);
}
