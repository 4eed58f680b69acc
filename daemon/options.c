#include "daemon/options.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/duration.h"

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

static const struct option flags[] = {
    {"address", required_argument, NULL, FLAG_ADDRESS},
    {"compact", optional_argument, NULL, FLAG_COMPACT},
    {"config", required_argument, NULL, FLAG_CONFIG},
    {"cut-at", required_argument, NULL, FLAG_CUT_AT},
    {"data-dir", required_argument, NULL, FLAG_DATA_DIR},
    {"health-port", required_argument, NULL, FLAG_HEALTH_PORT},
    {"help", no_argument, NULL, FLAG_HELP},
    {"h", no_argument, NULL, FLAG_HELP},
    {"in_memory", optional_argument, NULL, FLAG_IN_MEMORY},
    {"enable-leader-election", optional_argument, NULL, FLAG_LEADER_ELECTION},
    {"log-format", required_argument, NULL, FLAG_LOG_FORMAT},
    {"log-level", required_argument, NULL, FLAG_LOG_LEVEL},
    {"metrics-port", required_argument, NULL, FLAG_METRICS_PORT},
    {"port", required_argument, NULL, FLAG_PORT},
    {"repair", optional_argument, NULL, FLAG_REPAIR},
    {"request-ttl", required_argument, NULL, FLAG_REQUEST_TTL},
    {"retain", required_argument, NULL, FLAG_RETAIN},
    {"retain-bytes", required_argument, NULL, FLAG_RETAIN_BYTES},
    {"snapshot-every", required_argument, NULL, FLAG_SNAPSHOT_EVERY},
    {"strict-config", optional_argument, NULL, FLAG_STRICT_CONFIG},
    {"version", no_argument, NULL, FLAG_VERSION},
    {"dynamic-resource-update-period", required_argument, NULL, FLAG_IGNORED},
    {"namespace", required_argument, NULL, FLAG_IGNORED},
    {"pod-name", required_argument, NULL, FLAG_IGNORED},
    {"boskos-label-selector", required_argument, NULL, FLAG_IGNORED},
    {"leader-label-key", required_argument, NULL, FLAG_IGNORED},
    {"kubeconfig", required_argument, NULL, FLAG_IGNORED},
    {"projected-token-file", required_argument, NULL, FLAG_IGNORED},
    {"pprof-port", required_argument, NULL, FLAG_IGNORED},
    {"profile-memory-usage", optional_argument, NULL, FLAG_IGNORED_BOOL},
    {"memory-profile-interval", required_argument, NULL, FLAG_IGNORED},
    {NULL, 0, NULL, 0},
};

struct reader {
    struct options *options;
    char *why;
    size_t why_size;
};

static bool wrong(struct reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool wrong(struct reader *r, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(r->why, r->why_size, format, arguments);
    va_end(arguments);
    return false;
}

// As Go's strconv.ParseBool; alone means true.
static bool read_bool(struct reader *r, const char *name, const char *value, bool *ret_value)
{
    static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True"};
    static const char *const no[] = {"0", "f", "F", "false", "FALSE", "False"};
    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
        if (value == NULL || strcmp(value, yes[i]) == 0) {
            *ret_value = true;
            return true;
        }
        if (strcmp(value, no[i]) == 0) {
            *ret_value = false;
            return true;
        }
    }
    return wrong(r, "--%s: \"%s\" is neither true nor false", name, value);
}

static bool read_number(const char *value, uint64_t most, uint64_t *ret_number)
{
    char *end;
    if (value[0] < '0' || value[0] > '9') return false;
    errno = 0;
    unsigned long long number = strtoull(value, &end, 10);
    if (errno != 0 || *end != '\0' || number > most) return false;
    *ret_number = number;
    return true;
}

static bool read_port(struct reader *r, const char *name, const char *value,
                      struct http_port *ret_port)
{
    uint64_t number;
    if (!read_number(value, UINT16_MAX, &number)) {
        return wrong(r, "--%s: \"%s\" is no port; give a number from 0 (off) to 65535", name,
                     value);
    }
    *ret_port = (struct http_port){.number = (uint16_t)number, .was_given = true};
    return true;
}

// A Go duration above zero.
static bool read_span(struct reader *r, const char *name, const char *value, int64_t *ret_ns)
{
    struct buffer error;
    buffer_init(&error);
    int64_t ns = 0;
    bool good = duration_parse(text_from(value), &ns, &error) == 0;
    if (!good) {
        wrong(r, "--%s: %.*s", name, TEXT_ARG(buffer_as_text(&error)));
    } else if (ns <= 0) {
        good = wrong(r, "--%s: \"%s\" is not above zero", name, value);
    }
    if (good) *ret_ns = ns;
    buffer_release(&error);
    return good;
}

static bool read_retain(struct reader *r, const char *name, const char *value)
{
    int64_t ns;
    if (!read_span(r, name, value, &ns)) return false;
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
        if (!read_number(digits, UINT64_MAX >> (10 * i), &number)) return false;
        *ret_bytes = number << (10 * i);
        return true;
    }
    return false;
}

static bool read_retain_bytes(struct reader *r, const char *value)
{
    uint64_t bytes;
    if (!read_bytes(value, &bytes)) {
        return wrong(r, "--retain-bytes: \"%s\" is no size; give one as 16GiB or 500MiB", value);
    }
    if (bytes < RETAIN_BYTES_LEAST || bytes > RETAIN_BYTES_MOST) {
        return wrong(r, "--retain-bytes: \"%s\" is not from 64MiB to 4TiB", value);
    }
    r->options->retain_bytes = bytes;
    r->options->map_bytes = bytes * MAPS_PER_RETAINED;
    return true;
}

static bool read_log_format(struct reader *r, const char *value)
{
    if (strcmp(value, "text") != 0 && strcmp(value, "json") != 0) {
        return wrong(r, "--log-format: \"%s\" is neither text nor json", value);
    }
    r->options->log_format = value[0] == 'j' ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT;
    return true;
}

static bool read_leader_election(struct reader *r, const char *value)
{
    bool wanted;
    if (!read_bool(r, "enable-leader-election", value, &wanted)) return false;
    if (!wanted) return true;
    return wrong(r,
                 "--enable-leader-election: boskosd runs as one replica; use the strategy Recreate "
                 "and the selector `app: boskos` in its place");
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
    case FLAG_COMPACT: return read_bool(r, name, value, &o->compact);
    case FLAG_CONFIG: o->config_path = value; return true;
    case FLAG_CUT_AT:
        if (read_number(value, UINT64_MAX - 1, &o->cut_at) && o->cut_at > 0) return true;
        return wrong(r, "--cut-at: \"%s\" is no number of a record", value);
    case FLAG_DATA_DIR: o->data_dir = value; return true;
    case FLAG_HEALTH_PORT: return read_port(r, name, value, &o->health);
    case FLAG_IN_MEMORY: return read_bool(r, name, value, &o->in_memory);
    case FLAG_LEADER_ELECTION: return read_leader_election(r, value);
    case FLAG_LOG_FORMAT: return read_log_format(r, value);
    case FLAG_LOG_LEVEL:
        if (log_level_parse(value, &o->log_level) == 0) return true;
        return wrong(r, "--log-level: \"%s\" is none of panic fatal error warning info debug trace",
                     value);
    case FLAG_METRICS_PORT: return read_port(r, name, value, &o->metrics);
    case FLAG_PORT: return read_port(r, name, value, &o->api);
    case FLAG_REPAIR: return read_bool(r, name, value, &o->repair);
    case FLAG_REQUEST_TTL: return read_span(r, name, value, &o->request_ttl_ns);
    case FLAG_RETAIN: return read_retain(r, name, value);
    case FLAG_RETAIN_BYTES: return read_retain_bytes(r, value);
    case FLAG_SNAPSHOT_EVERY:
        if (read_number(value, UINT64_MAX, &o->snapshot_every) && o->snapshot_every > 0)
            return true;
        return wrong(r, "--snapshot-every: \"%s\" is no number of commands above 0", value);
    case FLAG_STRICT_CONFIG: return read_bool(r, name, value, &o->strict_config);
    case FLAG_IGNORED: ignore(r, name); return true;
    case FLAG_IGNORED_BOOL: ignore(r, name); return read_bool(r, name, value, &ignored);
    case FLAG_HELP:
    case FLAG_VERSION: return true; // seen to by the caller
    }
    return true;
}

// getopt takes the start of a name for the whole; Go's flags, which these are, do not.
static bool is_whole(const char *text, const struct option *flag)
{
    size_t size = strlen(flag->name);
    text += text[1] == '-' ? 2 : 1;
    return strncmp(text, flag->name, size) == 0 && (text[size] == '\0' || text[size] == '=');
}

static bool check(struct reader *r)
{
    const struct options *o = r->options;
    if (o->compact && o->repair) return wrong(r, "--compact and --repair: give one of them");
    if (o->in_memory && (o->compact || o->repair)) {
        return wrong(r, "--%s: with --in_memory there is nothing to work on",
                     o->compact ? "compact" : "repair");
    }
    if (o->cut_at > 0 && !o->repair) return wrong(r, "--cut-at: it goes with --repair");
    if (o->in_memory) return true;
    return o->data_dir[0] != '\0' ||
           wrong(r, "--data-dir: it is empty; name a folder, or keep nothing with --in_memory");
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
    struct reader r = {.options = &options, .why = why, .why_size = why_size};
    int flag;
    int index = 0;
    int at = optind; // of the flag itself: a value may follow it in an argument of its own
    opterr = 0;
    while ((flag = getopt_long_only(argc, argv, "+:", flags, &index)) != -1) {
        const char *text = argv[at];
        at = optind;
        if (flag == ':') {
            wrong(&r, "%s: a value is missing", text);
            return OPTIONS_WRONG;
        }
        if (flag == '?' || !is_whole(text, &flags[index])) {
            wrong(&r, "%s: there is no such flag; see boskosd --help", text);
            return OPTIONS_WRONG;
        }
        if (flag == FLAG_HELP) return OPTIONS_HELP;
        if (flag == FLAG_VERSION) return OPTIONS_VERSION;
        if (!read_flag(&r, (enum flag)flag, flags[index].name, optarg)) return OPTIONS_WRONG;
    }
    if (optind < argc) {
        wrong(&r, "%s: boskosd takes flags only; see boskosd --help", argv[optind]);
        return OPTIONS_WRONG;
    }
    if (!check(&r)) return OPTIONS_WRONG;
    *ret_options = options;
    return OPTIONS_RUN;
}
