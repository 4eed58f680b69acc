#include "daemon/options.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cli.h"

#include "base/banned.h"

#define RETAIN_BYTES_LEAST (UINT64_C(64) << 20)
#define RETAIN_BYTES_MOST (UINT64_C(4) << 40) // the map is eight times as large
#define MAPS_PER_RETAINED 8u

enum flag {
    FLAG_ADDRESS = 256,
    FLAG_COMPACT,
    FLAG_CONFIG,
    FLAG_CUT_AT,
    FLAG_DATA_DIR,
    FLAG_HEALTH_PORT,
    FLAG_HELP,
    FLAG_IMPORT,
    FLAG_IN_MEMORY,
    FLAG_LEADER_ELECTION,
    FLAG_LOG_FORMAT,
    FLAG_LOG_LEVEL,
    FLAG_METRICS_PORT,
    FLAG_PORT,
    FLAG_REPAIR,
    FLAG_REQUEST_TTL,
    FLAG_RETAIN,
    FLAG_RETAIN_BYTES,
    FLAG_SNAPSHOT_EVERY,
    FLAG_STRICT_CONFIG,
    FLAG_VERSION,
    FLAG_IGNORED,      // takes a value
    FLAG_IGNORED_BOOL, // stands alone or with =
};

static const struct cli_flag flags[] = {
    {"address", CLI_VALUE, FLAG_ADDRESS},
    {"compact", CLI_BOOL, FLAG_COMPACT},
    {"config", CLI_VALUE, FLAG_CONFIG},
    {"cut-at", CLI_VALUE, FLAG_CUT_AT},
    {"data-dir", CLI_VALUE, FLAG_DATA_DIR},
    {"health-port", CLI_VALUE, FLAG_HEALTH_PORT},
    {"help", CLI_ALONE, FLAG_HELP},
    {"h", CLI_ALONE, FLAG_HELP},
    {"import", CLI_VALUE, FLAG_IMPORT},
    {"in_memory", CLI_BOOL, FLAG_IN_MEMORY},
    {"enable-leader-election", CLI_BOOL, FLAG_LEADER_ELECTION},
    {"log-format", CLI_VALUE, FLAG_LOG_FORMAT},
    {"log-level", CLI_VALUE, FLAG_LOG_LEVEL},
    {"metrics-port", CLI_VALUE, FLAG_METRICS_PORT},
    {"port", CLI_VALUE, FLAG_PORT},
    {"repair", CLI_BOOL, FLAG_REPAIR},
    {"request-ttl", CLI_VALUE, FLAG_REQUEST_TTL},
    {"retain", CLI_VALUE, FLAG_RETAIN},
    {"retain-bytes", CLI_VALUE, FLAG_RETAIN_BYTES},
    {"snapshot-every", CLI_VALUE, FLAG_SNAPSHOT_EVERY},
    {"strict-config", CLI_BOOL, FLAG_STRICT_CONFIG},
    {"version", CLI_ALONE, FLAG_VERSION},
    {"dynamic-resource-update-period", CLI_VALUE, FLAG_IGNORED},
    {"namespace", CLI_VALUE, FLAG_IGNORED},
    {"pod-name", CLI_VALUE, FLAG_IGNORED},
    {"boskos-label-selector", CLI_VALUE, FLAG_IGNORED},
    {"leader-label-key", CLI_VALUE, FLAG_IGNORED},
    {"kubeconfig", CLI_VALUE, FLAG_IGNORED},
    {"projected-token-file", CLI_VALUE, FLAG_IGNORED},
    {"pprof-port", CLI_VALUE, FLAG_IGNORED},
    {"profile-memory-usage", CLI_BOOL, FLAG_IGNORED_BOOL},
    {"memory-profile-interval", CLI_VALUE, FLAG_IGNORED},
    {NULL, CLI_ALONE, 0},
};

struct reader {
    struct options *options;
    struct cli cli;
};

static bool read_port(struct reader *r, const char *name, const char *value,
                      struct http_port *ret_port)
{
    uint64_t number;
    if (!cli_number(value, UINT16_MAX, &number)) {
        return cli_wrong(&r->cli, "--%s: \"%s\" is no port; give a number from 0 (off) to 65535",
                         name, value);
    }
    *ret_port = (struct http_port){.number = (uint16_t)number, .was_given = true};
    return true;
}

static bool read_retain(struct reader *r, const char *name, const char *value)
{
    int64_t ns;
    if (!cli_span(&r->cli, name, value, &ns)) return false;
    r->options->retain_ns = (uint64_t)ns;
    return true;
}

// A number of bytes, with KiB, MiB, GiB or TiB behind it or nothing.
static bool read_bytes(const char *value, uint64_t *ret_bytes)
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB", "TiB"};
    char digits[24];
    uint64_t number;
    size_t size = strspn(value, "0123456789");
    if (size == 0 || size >= sizeof(digits)) return false;
    memcpy(digits, value, size);
    digits[size] = '\0';
    for (uint32_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(value + size, units[i]) != 0) continue;
        if (!cli_number(digits, UINT64_MAX >> (10 * i), &number)) return false;
        *ret_bytes = number << (10 * i);
        return true;
    }
    return false;
}

static bool read_retain_bytes(struct reader *r, const char *value)
{
    uint64_t bytes;
    if (!read_bytes(value, &bytes)) {
        return cli_wrong(&r->cli, "--retain-bytes: \"%s\" is no size; give one as 16GiB or 500MiB",
                         value);
    }
    if (bytes < RETAIN_BYTES_LEAST || bytes > RETAIN_BYTES_MOST) {
        return cli_wrong(&r->cli, "--retain-bytes: \"%s\" is not from 64MiB to 4TiB", value);
    }
    r->options->retain_bytes = bytes;
    r->options->map_bytes = bytes * MAPS_PER_RETAINED;
    return true;
}

static bool read_log_format(struct reader *r, const char *value)
{
    if (strcmp(value, "text") != 0 && strcmp(value, "json") != 0) {
        return cli_wrong(&r->cli, "--log-format: \"%s\" is neither text nor json", value);
    }
    r->options->log_format = value[0] == 'j' ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT;
    return true;
}

static bool read_leader_election(struct reader *r, const char *value)
{
    bool wanted;
    if (!cli_bool(&r->cli, "enable-leader-election", value, &wanted)) return false;
    if (!wanted) return true;
    return cli_wrong(
        &r->cli,
        "--enable-leader-election: boskosd runs as one replica; use a StatefulSet of one, or "
        "the strategy Recreate, and the selector `app: boskos` in its place");
}

static void ignore(struct reader *r, const char *name)
{
    struct options *o = r->options;
    for (uint32_t i = 0; i < o->ignored_count; i++) {
        if (o->ignored[i] == name) return; // said once, however often it was given
    }
    if (o->ignored_count < OPTIONS_IGNORED_MAX) o->ignored[o->ignored_count++] = name;
}

static bool read_flag(struct reader *r, enum flag flag, const char *name, const char *value)
{
    struct options *o = r->options;
    bool ignored;
    switch (flag) {
    case FLAG_ADDRESS: o->address = value; return true;
    case FLAG_COMPACT: return cli_bool(&r->cli, name, value, &o->compact);
    case FLAG_CONFIG: o->config_path = value; return true;
    case FLAG_CUT_AT:
        if (cli_number(value, UINT64_MAX - 1, &o->cut_at) && o->cut_at > 0) return true;
        return cli_wrong(&r->cli, "--cut-at: \"%s\" is no number of a record", value);
    case FLAG_DATA_DIR: o->data_dir = value; return true;
    case FLAG_HEALTH_PORT: return read_port(r, name, value, &o->health);
    case FLAG_IMPORT: o->import = value; return true;
    case FLAG_IN_MEMORY: return cli_bool(&r->cli, name, value, &o->in_memory);
    case FLAG_LEADER_ELECTION: return read_leader_election(r, value);
    case FLAG_LOG_FORMAT: return read_log_format(r, value);
    case FLAG_LOG_LEVEL:
        if (log_level_parse(value, &o->log_level) == 0) return true;
        return cli_wrong(
            &r->cli, "--log-level: \"%s\" is none of panic fatal error warning info debug trace",
            value);
    case FLAG_METRICS_PORT: return read_port(r, name, value, &o->metrics);
    case FLAG_PORT: return read_port(r, name, value, &o->api);
    case FLAG_REPAIR: return cli_bool(&r->cli, name, value, &o->repair);
    case FLAG_REQUEST_TTL: return cli_span(&r->cli, name, value, &o->request_ttl_ns);
    case FLAG_RETAIN: return read_retain(r, name, value);
    case FLAG_RETAIN_BYTES: return read_retain_bytes(r, value);
    case FLAG_SNAPSHOT_EVERY:
        if (cli_number(value, UINT64_MAX, &o->snapshot_every) && o->snapshot_every > 0) return true;
        return cli_wrong(&r->cli, "--snapshot-every: \"%s\" is no number of commands above 0",
                         value);
    case FLAG_STRICT_CONFIG: return cli_bool(&r->cli, name, value, &o->strict_config);
    case FLAG_IGNORED: ignore(r, name); return true;
    case FLAG_IGNORED_BOOL: ignore(r, name); return cli_bool(&r->cli, name, value, &ignored);
    case FLAG_HELP:
    case FLAG_VERSION: return true; // seen to by the caller
    }
    return true;
}

static bool check(struct reader *r)
{
    const struct options *o = r->options;
    const char *first = o->compact ? "compact" : o->repair ? "repair" : "import";
    const char *second = o->import != NULL ? "import" : "repair";
    if (o->compact + o->repair + (o->import != NULL) > 1)
        return cli_wrong(&r->cli, "--%s and --%s: give one of them", first, second);
    if (o->in_memory && (o->compact || o->repair || o->import != NULL))
        return cli_wrong(&r->cli, "--%s: with --in_memory there is nothing to work on", first);
    if (o->cut_at > 0 && !o->repair) return cli_wrong(&r->cli, "--cut-at: it goes with --repair");
    if (o->in_memory) return true;
    return o->data_dir[0] != '\0' ||
           cli_wrong(&r->cli,
                     "--data-dir: it is empty; name a folder, or keep nothing with --in_memory");
}

enum options_next options_read(int argc, char **argv, struct options *ret_options, char *why,
                               size_t why_size)
{
    struct options options = {
        .config_path = "config.yaml",
        .data_dir = "/var/lib/boskosd",
        .request_ttl_ns = SM_REQUEST_TTL_DEFAULT_NS,
        .snapshot_every = ENGINE_SNAPSHOT_EVERY_DEFAULT,
        .retain_ns = ENGINE_RETAIN_DEFAULT_NS,
        .retain_bytes = ENGINE_RETAIN_BYTES_DEFAULT,
        .log_level = LOG_INFO,
        .api = {.number = 8080, .was_given = true},
        .health = {.number = 8081},
        .metrics = {.number = 9090},
    };
    struct reader r = {.options = &options,
                       .cli = {.argc = argc,
                               .argv = argv,
                               .flags = flags,
                               .unknown = "there is no such flag; see boskosd --help",
                               .why = why,
                               .why_size = why_size}};
    struct cli_argument a;
    enum cli_step step;
    while ((step = cli_next(&r.cli, &a)) == CLI_FLAG) {
        enum flag flag = (enum flag)a.flag->number;
        if (flag == FLAG_HELP) return OPTIONS_HELP;
        if (flag == FLAG_VERSION) return OPTIONS_VERSION;
        if (!read_flag(&r, flag, a.flag->name, a.value)) return OPTIONS_WRONG;
    }
    if (step == CLI_WORD)
        (void)cli_wrong(&r.cli, "%s: boskosd takes flags only; see boskosd --help", a.text);
    if (step != CLI_END) return OPTIONS_WRONG;
    if (!check(&r)) return OPTIONS_WRONG;
    *ret_options = options;
    return OPTIONS_RUN;
}
