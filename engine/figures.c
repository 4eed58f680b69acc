#include "engine/internal.h"

#include "base/banned.h"

void histogram_add(struct atomic_histogram *h, uint64_t value)
{
    uint32_t bucket = 0;
    while (bucket + 1 < ENGINE_BUCKETS && value > UINT64_C(1) << bucket) {
        bucket++;
    }
    atomic_fetch_add_explicit(&h->buckets[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->count, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum, value, memory_order_relaxed);
}

static struct engine_histogram histogram_read(const struct atomic_histogram *h)
{
    struct engine_histogram read = {.count = atomic_load(&h->count), .sum = atomic_load(&h->sum)};
    for (uint32_t i = 0; i < ENGINE_BUCKETS; i++) {
        read.buckets[i] = atomic_load(&h->buckets[i]);
    }
    return read;
}

void engine_figures(struct engine *e, struct engine_figures *ret_figures)
{
    struct counters *c = &e->counters;
    struct journal_figures journal = {0};
    if (e->journal != NULL) journal_figures(e->journal, &journal);
    *ret_figures = (struct engine_figures){
        .seq = atomic_load(&c->seq),
        .commits = atomic_load(&c->commits),
        .commands = atomic_load(&c->commands),
        .commit_us = histogram_read(&c->commit_us),
        .batch_commands = histogram_read(&c->batch_commands),
        .refused_nospace = atomic_load(&c->refused_nospace),
        .space_low = atomic_load(&c->space_low),
        .log_bytes = journal.log_bytes_used,
        .log_bytes_file = journal.log_bytes_file,
        .ahead_bytes = journal.ahead_bytes,
        .log_bytes_free = atomic_load(&c->log_bytes_free),
        .log_first = journal.first,
        .snapshots_kept = atomic_load(&c->snapshots_kept),
        .snapshots_bytes = atomic_load(&c->snapshots_bytes),
        .snapshots = atomic_load(&c->snapshots),
        .snapshot_seq = atomic_load(&c->snapshot_seq),
        .snapshot_time_ns = atomic_load(&c->snapshot_time_ns),
        .snapshot_failures = atomic_load(&c->snapshot_failures),
        .result_mismatches = atomic_load(&c->result_mismatches),
        .digest_mismatches = atomic_load(&c->digest_mismatches),
        .shadow_seq = atomic_load(&c->shadow_seq),
        .config_loads = atomic_load(&c->config_loads),
        .config_errors = atomic_load(&c->config_errors),
        .config_bad = atomic_load(&c->config_bad),
        .clock_jumps_forward = atomic_load(&c->clock_jumps),
        .clock_behind_ns = atomic_load(&c->clock_behind_ns),
        .reaped = atomic_load(&c->reaped),
        .cleaned = atomic_load(&c->cleaned),
        .started_mono_ns = e->opened_mono_ns,
        .is_full = atomic_load(&c->is_full),
        .shadow_broken = atomic_load(&c->shadow_broken),
        .snapshots_set_aside = atomic_load(&c->snapshots_set_aside),
        .readers_cleared = atomic_load(&c->readers_cleared),
        .readers_failures = atomic_load(&c->readers_failures),
        .leased_missing = atomic_load(&c->leased_missing),
        .leased_bad = atomic_load(&c->leased_bad),
        .config_warnings = atomic_load(&c->config_warnings),
        .config_unwatched = atomic_load(&c->config_unwatched),
        .clock_jumps_back = atomic_load(&c->clock_jumps_back),
        .journal_faults = atomic_load(&c->journal_faults),
        .recovery_ns = atomic_load(&c->recovery_ns),
        .recovery_commands = atomic_load(&c->recovery_commands),
        .network = journal.network,
    };
}

void engine_pulse(struct engine *e, struct engine_pulse *ret_pulse)
{
    struct counters *c = &e->counters;
    *ret_pulse = (struct engine_pulse){
        .turn_ns = atomic_load(&c->turn_ns),
        .commit_since_ns = atomic_load(&c->commit_since_ns),
        .config_reads = atomic_load(&c->config_reads),
        .config_bad = atomic_load(&c->config_bad) != 0,
    };
}
