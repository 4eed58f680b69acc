// boskos-bench: loads boskosd and what people would pick instead, and measures what there is to
// measure in process. bench/run.py puts its figures together.
#include "bench/commands.h"

#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cli.h"
#include "bench/peer.h"

#include "base/banned.h"

#define LINE_BYTES 4096u

static const char help[] =
    "boskos-bench - loads boskosd and other servers, and measures them\n"
    "\n"
    "Usage: boskos-bench COMMAND [flags]          prints one JSON object as its last line\n"
    "\n"
    "  load         N clients against a server on 127.0.0.1\n"
    "    --peer NAME --workload NAME    what is spoken, of the list below (boskos, cycle)\n"
    "    --port N                       where the server is\n"
    "    --clients N                    connections, one request at a time each (16)\n"
    "    --rate R                       open loop: R requests a second of all, from when they are\n"
    "                                   due (closed loop); heartbeat: of those who hold a lease\n"
    "    --poll-rate R                  heartbeat: of those who wait\n"
    "    --beaters N                    heartbeat: so many of the clients hold a lease\n"
    "    --idle N                       connections beside, which were used once (0)\n"
    "    --warmup S --seconds S         not measured, measured (1, 5)\n"
    "    --type T --state S             of the resources (t, free)\n"
    "    --body-bytes N                 update: of the userdata (1024)\n"
    "    --script FILE                  mixed: leases of a recorded log, made by bench/run.py\n"
    "    --server-pid PID               tell its processor time too, with its children's\n"
    "    --cpu N                        run on this processor only\n"
    "  raw-server   a minimal server over the journal: what the design can reach\n"
    "    --data-dir DIR --port N        0: any; the line that says which comes first\n"
    "    --resources N                  names that acquires are answered with (10000)\n"
    "  disk         appends to a file and flushes it, again and again\n"
    "    --data-dir DIR --seconds S     the file is removed after it\n"
    "    --bytes N                      of each append (4096)\n"
    "    --overwrite                    over blocks that were written before\n"
    "  pauses       how long threads are kept waiting that only look at the clock\n"
    "    --threads N --seconds S        (2, 3)\n"
    "  replay DIR   how fast one thread replays a journal with all checks; DIR as for --data-dir\n"
    "\n"
    "Peers and their workloads:\n";

static volatile int stopped;

static void on_signal(int number)
{
    stopped = number;
}

const volatile int *watch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    return &stopped;
}

bool read_number(const char *text, double least, double most, double *ret_number)
{
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(number) || number < least || number > most)
        return false;
    *ret_number = number;
    return true;
}

void complain(const char *format, ...)
{
    char line[LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    cli_complain("boskos-bench", "%s", line);
}

static int print_help(void)
{
    struct buffer text;
    buffer_init(&text);
    buffer_string(&text, help);
    workload_list(&text);
    int code = cli_print("boskos-bench", buffer_as_text(&text));
    buffer_release(&text);
    return code;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } commands[] = {{"load", command_load},
                    {"raw-server", command_raw_server},
                    {"disk", command_disk},
                    {"pauses", command_pauses},
                    {"replay", command_replay}};
    if (argc < 2 || strcmp(argv[1], "--help") == 0) return print_help();
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(argv[1], commands[i].name) == 0) return commands[i].run(argc - 1, argv + 1);
    complain("there is no command %s; see --help", argv[1]);
    return 2;
}
