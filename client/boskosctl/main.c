// boskosctl: reads the command line, makes the client, runs one command.
#include <stdlib.h>

#include "client/boskosctl/ctl.h"

#include "base/banned.h"

#define NS_PER_SECOND INT64_C(1000000000)

static void init(struct ctl *ctl)
{
    program_init(&ctl->program, "boskosctl", NULL, ctl_help);
    ctl->program.url = NULL;
    ctl->program.log.level = LOG_ERROR;
    ctl->period_ns = 30 * NS_PER_SECOND;
    ctl->grace_ns = 10 * NS_PER_SECOND;
    ctl->retries = 10;
    ctl->count = 1;
    ctl->release_state = "dirty";
}

// What a command has for want of a --timeout.
static void set_timeout(struct ctl *ctl)
{
    if ((ctl->given & CTL_BIT(CTL_TIMEOUT)) != 0) return;
    if (ctl->command->run == ctl_heartbeat) ctl->timeout_ns = 5 * 3600 * NS_PER_SECOND;
    if (ctl->command->run == ctl_wait) ctl->timeout_ns = 300 * NS_PER_SECOND;
}

static int run(struct ctl *ctl)
{
    set_timeout(ctl);
    if (!ctl->command->needs_server) return ctl->command->run(ctl);
    ctl->program.sees_signals = ctl->command->run == ctl_run;
    int code = program_start(&ctl->program);
    if (code == PROGRAM_USAGE) code = PROGRAM_FAILED;
    if (code == 0) code = ctl->command->run(ctl);
    return program_end(&ctl->program, code);
}

int main(int argc, char **argv)
{
    struct ctl ctl = {0};
    int code;
    init(&ctl);
    if (ctl_read(&ctl, argc, argv, &code)) code = run(&ctl);
    for (size_t i = 0; i < ctl.userdata_count; i++) {
        free(ctl.userdata[i].key);
        free(ctl.userdata[i].value);
    }
    program_list_free(&ctl.types);
    program_list_free(&ctl.states);
    program_list_free(&ctl.owners);
    return code;
}
