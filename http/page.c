#include "http/internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/banned.h"

#define TYPES_MAX 1000u // with labels of their own; the rest is one type, `other`

static const char *const states[] = {
    "free", "busy", "dirty", "cleaning", "leased", "toBeDeleted", "tombstone",
};

#define STATES (uint32_t)(sizeof states / sizeof states[0])

static void resources_line(struct buffer *out, const char *name, struct text type,
                           struct text state, uint64_t count)
{
    // The page so far stands in the buffer: a label of it must not look for the comma before.
    struct buffer labels;
    buffer_init(&labels);
    series_label(&labels, "type", type);
    series_label(&labels, "state", state);
    buffer_format(out, "%s{", name);
    buffer_text(out, buffer_as_text(&labels));
    buffer_format(out, "} %" PRIu64 "\n", count);
    buffer_release(&labels);
}

// The queues of types that exist, for well-known states; anything else only counts in the total,
// since anyone can fill it.
static void page_queues(struct sm *sm, const struct text *types, uint32_t types_count,
                        struct buffer *out)
{
    series_head(out, "boskosd_queue_length", "Requests queued for a type and state, where any.",
                "gauge");
    for (uint32_t i = 0; i < types_count && i < TYPES_MAX; i++) {
        if (types[i].size > SERIES_LABEL_BYTES) continue;
        for (uint32_t state = 0; state < STATES; state++) {
            uint64_t length = sm_queue_length(sm, types[i], text_from(states[state]));
            if (length == 0) continue;
            resources_line(out, "boskosd_queue_length", types[i], text_from(states[state]), length);
        }
    }
}

void page_resources(struct sm *sm, struct buffer *out)
{
    const struct text *types;
    uint32_t types_count;
    sm_types(sm, &types, &types_count);

    series_head(out, "boskos_resources", "Resources by type and state.", "gauge");
    uint64_t beyond = 0;
    for (uint32_t i = 0; i < types_count; i++) {
        uint64_t rest = sm_count_of_type(sm, types[i]);
        if (i >= TYPES_MAX || types[i].size > SERIES_LABEL_BYTES) {
            beyond += rest;
            continue;
        }
        for (uint32_t state = 0; state < STATES; state++) {
            struct text name = text_from(states[state]);
            uint64_t count = sm_count_in_state(sm, types[i], name);
            rest -= count;
            resources_line(out, "boskos_resources", types[i], name, count);
        }
        resources_line(out, "boskos_resources", types[i], TEXT("other"), rest);
    }
    if (beyond > 0) resources_line(out, "boskos_resources", TEXT("other"), TEXT("other"), beyond);

    page_queues(sm, types, types_count, out);
    series_number(out, "boskosd_resources", "Resources.", "gauge", sm_resources_count(sm));
    series_number(out, "boskosd_queue_entries", "Requests queued, live or not yet swept.", "gauge",
                  sm_queue_entries(sm));
}

// The engine's histograms: bucket i counts up to 2^i units, the last one the rest.
static void page_histogram(struct buffer *out, const char *name, const char *help, bool is_us,
                           const struct engine_histogram *h)
{
    series_head(out, name, help, "histogram");
    uint64_t total = 0;
    for (uint32_t i = 0; i + 1 < ENGINE_BUCKETS; i++) {
        total += h->buckets[i];
        buffer_format(out, "%s_bucket{le=\"", name);
        if (is_us)
            series_seconds(out, (UINT64_C(1) << i) * NS_PER_US);
        else
            buffer_format(out, "%" PRIu64, UINT64_C(1) << i);
        buffer_format(out, "\"} %" PRIu64 "\n", total);
    }
    // The sum of the buckets and not h->count: the engine may be counting just now.
    total += h->buckets[ENGINE_BUCKETS - 1];
    buffer_format(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum ", name, total, name);
    if (is_us)
        series_seconds(out, h->sum * NS_PER_US);
    else
        buffer_format(out, "%" PRIu64, h->sum);
    buffer_format(out, "\n%s_count %" PRIu64 "\n", name, total);
}

static void page_seconds(struct buffer *out, const char *name, const char *help, const char *type,
                         uint64_t ns)
{
    series_head(out, name, help, type);
    buffer_format(out, "%s ", name);
    series_seconds(out, ns);
    buffer_char(out, '\n');
}

static void page_spans(struct http_server *s, const struct engine_figures *f, struct buffer *out)
{
    struct engine_pulse pulse;
    engine_pulse(s->engine, &pulse);
    uint64_t now_ns = clock_mono_ns(&s->clock), wall_ns = clock_wall_ns(&s->clock);
    uint64_t since_ns = pulse.commit_since_ns;
    page_seconds(out, "boskosd_clock_behind_seconds",
                 "How far the wall clock is behind the logged time.", "gauge", f->clock_behind_ns);
    page_seconds(out, "boskosd_commit_under_way_seconds",
                 "For how long the present commit has been under way.", "gauge",
                 since_ns != 0 && now_ns > since_ns ? now_ns - since_ns : 0);
    page_seconds(out, "boskosd_recovery_seconds", "What the recovery at the start took.", "gauge",
                 f->recovery_ns);
    if (f->snapshot_seq == 0) return;
    page_seconds(out, "boskosd_snapshot_age_seconds", "Age of the newest snapshot.", "gauge",
                 wall_ns > f->snapshot_time_ns ? wall_ns - f->snapshot_time_ns : 0);
}

struct figure {
    const char *name, *help, *type;
    uint64_t value;
};

static void page_table(const struct figure *figures, size_t count, struct buffer *out)
{
    for (size_t i = 0; i < count; i++)
        series_number(out, figures[i].name, figures[i].help, figures[i].type, figures[i].value);
}

// What an operator is to act on.
static void page_alarms(const struct engine_figures *f, struct buffer *out)
{
    const struct figure figures[] = {
        {"boskosd_space_full", "1 while commands are refused for want of space.", "gauge",
         f->is_full},
        {"boskosd_shadow_broken", "1 when the shadow stopped: no snapshots until a restart.",
         "gauge", f->shadow_broken},
        {"boskosd_snapshots_set_aside", "Damaged snapshots set aside at the start.", "gauge",
         f->snapshots_set_aside},
        {"boskosd_readers_cleared_total", "Slots of killed readers of the log.", "counter",
         f->readers_cleared},
        {"boskosd_readers_check_failures_total", "Times the readers could not be checked.",
         "counter", f->readers_failures},
        {"boskosd_cleaner_missing_total", "Leased names that were not there to be cleaned.",
         "counter", f->leased_missing},
        {"boskosd_cleaner_bad_lists_total", "leasedResources that were no list of names.",
         "counter", f->leased_bad},
        {"boskosd_config_warnings", "Odd places in the config file that was read last.", "gauge",
         f->config_warnings},
        {"boskosd_config_unwatched", "1 when changes of the config file need SIGHUP.", "gauge",
         f->config_unwatched},
        {"boskosd_clock_backward_total", "Times the wall clock went back.", "counter",
         f->clock_jumps_back},
        {"boskosd_recovery_commands", "Commands replayed at the start.", "gauge",
         f->recovery_commands},
        {"boskosd_network_filesystem", "1 when the data is on a network file system, or FUSE.",
         "gauge", f->network != NULL},
        {"boskosd_journal_faults", "Faults in the data folder that the start passed over.", "gauge",
         f->journal_faults},
    };
    page_table(figures, sizeof figures / sizeof figures[0], out);
}

static void page_engine(struct http_server *s, struct buffer *out)
{
    struct engine_figures f;
    engine_figures(s->engine, &f);
    page_histogram(out, "boskosd_commit_duration_seconds", "Time a commit took.", true,
                   &f.commit_us);
    page_histogram(out, "boskosd_batch_commands", "Commands in a commit.", false,
                   &f.batch_commands);

    const struct figure figures[] = {
        {"boskosd_seq", "Sequence number of the last durable record.", "gauge", f.seq},
        {"boskosd_commits_total", "Transactions that held commands.", "counter", f.commits},
        {"boskosd_commands_total", "Commands in them.", "counter", f.commands},
        {"boskosd_refused_nospace_total", "Requests refused because the disk or the map was full.",
         "counter", f.refused_nospace},
        {"boskosd_space_low", "1 while acquires are refused to keep room for the rest.", "gauge",
         f.space_low},
        {"boskosd_log_bytes", "Used pages of the log.", "gauge", f.log_bytes},
        {"boskosd_log_file_bytes", "Size of data.mdb.", "gauge", f.log_bytes_file},
        {"boskosd_log_free_bytes", "Pages of it that are free again.", "gauge", f.log_bytes_free},
        {"boskosd_log_ahead_bytes", "What the log has in AHEAD only.", "gauge", f.ahead_bytes},
        {"boskosd_log_first_seq", "Sequence number of the first record that is kept.", "gauge",
         f.log_first},
        {"boskosd_snapshots_kept", "Snapshots that are kept.", "gauge", f.snapshots_kept},
        {"boskosd_snapshots_bytes", "Their size.", "gauge", f.snapshots_bytes},
        {"boskosd_snapshots_total", "Snapshots written.", "counter", f.snapshots},
        {"boskosd_snapshot_seq", "Sequence number of the newest snapshot.", "gauge",
         f.snapshot_seq},
        {"boskosd_snapshot_failures_total", "Snapshots that failed.", "counter",
         f.snapshot_failures},
        {"boskosd_result_mismatches_total", "Replayed results that were not the stored ones.",
         "counter", f.result_mismatches},
        {"boskosd_digest_mismatches_total", "Replayed digests that were not the stored ones.",
         "counter", f.digest_mismatches},
        {"boskosd_shadow_lag_commands", "How far the shadow state is behind.", "gauge",
         f.seq > f.shadow_seq ? f.seq - f.shadow_seq : 0},
        {"boskosd_config_loads_total", "Config commands.", "counter", f.config_loads},
        {"boskosd_config_errors_total", "Config files that were refused.", "counter",
         f.config_errors},
        {"boskosd_config_bad", "1 while the config file on disk is refused.", "gauge",
         f.config_bad},
        {"boskosd_clock_jumps_total", "Clock commands: the wall clock jumped ahead.", "counter",
         f.clock_jumps_forward},
        {"boskosd_reaped_total", "Reap commands.", "counter", f.reaped},
        {"boskosd_cleaned_total", "Clean commands.", "counter", f.cleaned},
    };
    page_table(figures, sizeof figures / sizeof figures[0], out);
    page_alarms(&f, out);

    page_spans(s, &f, out);
}

// A line of /proc/self/status, which is in KiB, as bytes; 0 where the system does not say.
static uint64_t memory_of(const char *status, const char *line)
{
    const char *at = strstr(status, line);
    return at == NULL ? 0 : strtoull(at + strlen(line), NULL, 10) * 1024;
}

static uint64_t open_files(void)
{
    DIR *folder = opendir("/proc/self/fd");
    if (folder == NULL) return 0;
    uint64_t count = 0;
    for (const struct dirent *e; (e = readdir(folder)) != NULL;)
        count += e->d_name[0] != '.';
    (void)closedir(folder);
    return count > 0 ? count - 1 : 0; // without the folder's own
}

static uint64_t ns_of(struct timeval t)
{
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_usec * NS_PER_US;
}

// Under the names that Prometheus' own libraries give them.
static void page_process(struct http_server *s, struct buffer *out)
{
    char status[4096] = "";
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t size = read(fd, status, sizeof status - 1);
        status[size > 0 ? size : 0] = '\0';
        (void)close(fd);
    }
    struct rusage usage = {0};
    struct rlimit files = {0};
    (void)getrusage(RUSAGE_SELF, &usage);
    (void)getrlimit(RLIMIT_NOFILE, &files);
    series_number(out, "boskosd_resident_anon_bytes", "Anonymous memory in use.", "gauge",
                  memory_of(status, "\nRssAnon:"));
    series_number(out, "process_resident_memory_bytes", "Memory in use, pages of files too.",
                  "gauge", memory_of(status, "\nVmRSS:"));
    series_number(out, "process_virtual_memory_bytes", "Address space in use.", "gauge",
                  memory_of(status, "\nVmSize:"));
    series_number(out, "process_open_fds", "Open file descriptors.", "gauge", open_files());
    series_number(out, "process_max_fds", "How many may be open.", "gauge", files.rlim_cur);
    page_seconds(out, "process_cpu_seconds_total", "Processor time, user and system.", "counter",
                 ns_of(usage.ru_utime) + ns_of(usage.ru_stime));
    page_seconds(out, "process_start_time_seconds", "When the process started, since 1970.",
                 "gauge", s->start_wall_ns);
}

void page_figures(struct http_server *s, struct buffer *out)
{
    family_print(&s->acquire_duration, out);
    family_print(&s->http_duration, out);
    family_print(&s->http_bytes, out);
    if (s->engine != NULL) page_engine(s, out);

    bool is_ready = s->engine != NULL && !s->draining && health_stalled_ns(s) == 0;
    series_number(out, "boskosd_ready", "What /healthz/ready says.", "gauge", is_ready);
    series_number(out, "boskosd_connections_open", "Connections of the API.", "gauge",
                  s->ports[PORT_API].connections);
    series_number(out, "boskosd_connections_max", "How many may be open at once.", "gauge",
                  s->ports[PORT_API].connections_max);
    series_number(out, "boskosd_connections_timed_out_total",
                  "Connections closed because a request or its reply took too long.", "counter",
                  s->timed_out);
    series_number(out, "boskosd_requests_in_flight", "Requests handed to the engine.", "gauge",
                  s->in_flight);
    page_process(s, out);

    series_head(out, "boskosd_build_info", "The version of the program.", "gauge");
    buffer_clear(&s->labels);
    series_label(&s->labels, "version", text_from(s->version));
    buffer_format(out, "boskosd_build_info{%.*s} 1\n", TEXT_ARG(buffer_as_text(&s->labels)));
}
