// bench/latency.h
//
// Counts of times for percentiles, as HdrHistogram keeps them: each power of two is cut into equal
// parts, so that a time is off by less than one part in a thousand. Of a fixed size; adding takes
// no memory. Each belongs to one thread.
#ifndef BENCH_LATENCY_H
#define BENCH_LATENCY_H

#include "base/buffer.h"

#define LATENCY_PARTS_BITS 10u // 1024 parts of a power of two
#define LATENCY_PARTS (1u << LATENCY_PARTS_BITS)
#define LATENCY_NS_MAX ((1ull << 40) - 1) // 18 minutes; what is longer counts as this
#define LATENCY_COUNTS ((40u - LATENCY_PARTS_BITS + 1) * LATENCY_PARTS)

struct latency {
    uint64_t counts[LATENCY_COUNTS];
    uint64_t count;
    uint64_t sum_ns;
    uint64_t max_ns; // exact
};

void latency_clear(struct latency *l);
void latency_add(struct latency *l, uint64_t ns);

// The time that so many of a million are not above: the upper end of its part, never above the
// maximum. 0 when none was added.
uint64_t latency_at(const struct latency *l, uint32_t millionths);

// Appends a JSON object of microseconds: count, mean, p50, p90, p99, p999, max, and `curve`, pairs
// of a percentile and its time for a picture.
void latency_json(const struct latency *l, struct buffer *out);

#endif
