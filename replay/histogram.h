// replay/histogram.h
//
// Numbers of any size, for percentiles. Histograms of one pool go together: as long as they have
// few numbers they keep them as they are. From then on they count: each power of two is cut into as
// many parts as the precision says, and only parts that were hit take memory. Of that they share a
// budget: when it is used up all of them become coarser. Pure but for memory.
#ifndef REPLAY_HISTOGRAM_H
#define REPLAY_HISTOGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_BITS 6u // 64 parts of a power of two: at most 1/64 too much

struct histogram {
    // While the pool is exact the numbers, as they came; then part << 48 | count, ascending. NULL:
    // none yet.
    uint64_t *parts;
    uint32_t count, capacity;
    struct histogram *next; // in the pool
};

struct histogram_pool {
    bool is_exact;
    uint64_t exact_left; // so many numbers more can it be
    uint32_t bits;       // of precision, when it is not
    uint64_t capacity;   // parts of all
    uint64_t budget;     // as many may there be
    struct histogram *first;
};

// Up to `exact_most` numbers, of all histograms together, are kept as they are.
void histogram_pool_init(struct histogram_pool *p, uint64_t exact_most, uint64_t budget);

// Frees what the histograms have, which are the caller's.
void histogram_pool_release(struct histogram_pool *p);

// Counts a number in a histogram, which was all zeros before the first and stays where it is.
void histogram_add(struct histogram_pool *p, struct histogram *h, uint64_t number);

// The number of that rank, from 1 for the least on; when the pool is not exact, or one that is a
// little larger: the largest of its part. The rank is at most the count of numbers added.
uint64_t histogram_at(const struct histogram_pool *p, const struct histogram *h, uint64_t rank);

// When the pool is not exact a number may be too large by one part in so many.
uint32_t histogram_error(const struct histogram_pool *p);

#endif
