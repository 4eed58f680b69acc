// daemon/options.h
//
// The daemon's command line: Boskos's own flags, ours, and those that are accepted without effect.
// One dash or two, `-flag value` or `-flag=value`; a boolean stands alone or with `=`.
#ifndef DAEMON_OPTIONS_H
#define DAEMON_OPTIONS_H

#include "base/log.h"
#include "http/http.h"

#define OPTIONS_IGNORED_MAX 16u

struct options {
    const char *config_path;
    const char *data_dir;
    bool in_memory, strict_config;
    bool compact, repair; // in place of serving
    const char *import;   // the same; NULL: not given
    uint64_t cut_at;      // 0: not given
    int64_t request_ttl_ns;
    uint64_t snapshot_every;
    uint64_t retain_ns, retain_bytes;
    uint64_t map_bytes; // 0: the journal's default
    enum log_level log_level;
    enum log_format log_format;
    const char *address; // NULL: all
    struct http_port api, health, metrics;
    const char *ignored[OPTIONS_IGNORED_MAX]; // flags given that have no effect here
    uint32_t ignored_count;
};

// What to do after reading the command line.
enum options_next { OPTIONS_RUN, OPTIONS_HELP, OPTIONS_VERSION, OPTIONS_WRONG };

// Reads the command line. With OPTIONS_WRONG `why` has one line that names what is wrong. The texts
// are borrowed from argv.
enum options_next options_read(int argc, char **argv, struct options *ret_options, char *why,
                               size_t why_size);

// daemon/help.c. Returns the exit code.
int print_help(void);

#endif
