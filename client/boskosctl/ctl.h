// client/boskosctl/ctl.h
//
// boskosctl: Boskos from a command line. Commands acquire, release, metrics and heartbeat are those
// of the original program, with its flags, output and exit codes; the others are ours.
#ifndef CLIENT_BOSKOSCTL_CTL_H
#define CLIENT_BOSKOSCTL_CTL_H

#include "client/program.h"

#define CTL_USERDATA_MAX 256u

// Each is a bit in the set of flags that a command takes.
enum ctl_flag {
    CTL_COUNT,
    CTL_EXPIRE,
    CTL_GRACE,
    CTL_NAME,
    CTL_OUTPUT,
    CTL_OWNER,
    CTL_PERIOD,
    CTL_RELEASE_STATE,
    CTL_RESOURCE,
    CTL_RETRIES,
    CTL_STATE,
    CTL_STRICT,
    CTL_TARGET_STATE,
    CTL_TIMEOUT,
    CTL_TYPE,
    CTL_USERDATA,
    CTL_WITH_LEASED,
    CTL_OWNER_NAME, // every command takes these
    CTL_SERVER_URL,
};
#define CTL_BIT(flag) (1u << (flag))

enum ctl_output { CTL_JSON, CTL_TABLE, CTL_NAMES };

struct ctl {
    struct program program;
    const struct ctl_command *command; // NULL: none was given
    uint32_t given;                    // bits
    const char *name, *resource, *release_state;
    const char *type, *state, *target_state; // the first of each list
    struct program_list types, states, owners;
    const char *owner_filter; // as given, also ""
    struct boskos_pair userdata[CTL_USERDATA_MAX];
    size_t userdata_count;
    int64_t timeout_ns, period_ns, grace_ns, expire_ns;
    uint64_t retries, count;
    bool with_leased, is_strict;
    enum ctl_output output;
    const char *word; // of get, config, help and completion
    char **argv;      // of run: the command, NULL at its end
};

struct ctl_command {
    const char *name;
    uint32_t flags, required;
    bool needs_owner, needs_server;
    enum ctl_output output; // unless -o says otherwise
    int (*run)(struct ctl *ctl);
    const char *summary;
    const char *help;
};

// commands.c: the table, ended by a NULL name.
extern const struct ctl_command ctl_commands[];
const struct ctl_command *ctl_command_find(const char *name);

// options.c: the flags, ended by a NULL name. False to end with *ret_code.
extern const struct cli_flag ctl_flags[];
bool ctl_read(struct ctl *ctl, int argc, char **argv, int *ret_code);

// help.c
extern const char ctl_help[];

// The commands. Each returns the exit code.
int ctl_acquire(struct ctl *ctl);
int ctl_release(struct ctl *ctl);
int ctl_update(struct ctl *ctl);
int ctl_reset(struct ctl *ctl);
int ctl_metrics(struct ctl *ctl);
int ctl_list(struct ctl *ctl);
int ctl_get(struct ctl *ctl);
int ctl_wait(struct ctl *ctl);
int ctl_heartbeat(struct ctl *ctl);
int ctl_run(struct ctl *ctl);
int ctl_config(struct ctl *ctl);
int ctl_completion(struct ctl *ctl);
int ctl_print_help(struct ctl *ctl);

// output.c: prints on stdout. 0, or 1 when it cannot be written, which is said.
int ctl_print_resource(struct ctl *ctl, const struct boskos_resource *r);
int ctl_print_resources(struct ctl *ctl, const struct boskos_resources *list);
int ctl_print_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

// One line on stderr, as it stands. Returns 1.
int ctl_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

// What the original program says of a failed call, with the server's own words behind it. In
// static words of the caller's buffer.
#define CTL_REASON_BYTES 1024u
const char *ctl_reason(int code, const struct boskos_call *call, const char *what,
                       char reason[CTL_REASON_BYTES]);

#endif
