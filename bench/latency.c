#include "bench/latency.h"

#include <inttypes.h>

#include "base/banned.h"

void latency_clear(struct latency *l)
{
    memset(l, 0, sizeof(*l));
}

// The numbers below LATENCY_PARTS have a part each, those above 1024 parts a power of two.
static uint32_t part_of(uint64_t ns)
{
    if (ns < LATENCY_PARTS) return (uint32_t)ns;
    uint32_t power = 63u - (uint32_t)__builtin_clzll(ns);
    uint32_t shift = power - LATENCY_PARTS_BITS;
    return (shift + 1) * LATENCY_PARTS + (uint32_t)((ns >> shift) - LATENCY_PARTS);
}

static uint64_t part_end(uint32_t part)
{
    if (part < LATENCY_PARTS) return part;
    uint32_t shift = part / LATENCY_PARTS - 1;
    uint64_t first = (uint64_t)(part % LATENCY_PARTS + LATENCY_PARTS) << shift;
    return first + (1ull << shift) - 1;
}

void latency_add(struct latency *l, uint64_t ns)
{
    if (ns > LATENCY_NS_MAX) ns = LATENCY_NS_MAX;
    l->counts[part_of(ns)]++;
    l->count++;
    l->sum_ns += ns;
    if (ns > l->max_ns) l->max_ns = ns;
}

uint64_t latency_at(const struct latency *l, uint32_t millionths)
{
    if (l->count == 0) return 0;
    // Rounded up: the least time that so many are not above.
    uint64_t rank = (uint64_t)(((unsigned __int128)l->count * millionths + 999999) / 1000000);
    if (rank == 0) rank = 1;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < LATENCY_COUNTS; i++) {
        seen += l->counts[i];
        if (seen < rank) continue;
        uint64_t end = part_end(i);
        return end < l->max_ns ? end : l->max_ns;
    }
    return l->max_ns;
}

static double us(uint64_t ns)
{
    return (double)ns / 1000;
}

void latency_json(const struct latency *l, struct buffer *out)
{
    static const uint32_t curve[] = {0,      250000, 500000, 750000, 900000, 950000,
                                     980000, 990000, 995000, 998000, 999000, 999500,
                                     999800, 999900, 999950, 999980, 999990, 1000000};
    buffer_format(out, "{\"count\": %" PRIu64 ", \"mean\": %.1f", l->count,
                  l->count > 0 ? us(l->sum_ns) / (double)l->count : 0);
    buffer_format(out, ", \"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, \"p999\": %.1f",
                  us(latency_at(l, 500000)), us(latency_at(l, 900000)), us(latency_at(l, 990000)),
                  us(latency_at(l, 999000)));
    buffer_format(out, ", \"max\": %.1f, \"curve\": [", us(l->max_ns));
    for (uint32_t i = 0; i < sizeof(curve) / sizeof(curve[0]); i++) {
        buffer_format(out, "%s[%.6f, %.1f]", i > 0 ? ", " : "", curve[i] / 1e6,
                      us(latency_at(l, curve[i])));
    }
    buffer_string(out, "]}");
}
