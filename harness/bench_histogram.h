/* bench_histogram.h: latencies in buckets that widen with the value: 64 to each power of two, so that any
 * quantile is right to 1.6 %, in memory of fixed size. */
#ifndef ASSAY_HARNESS_BENCH_HISTOGRAM_H
#define ASSAY_HARNESS_BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_STEPS 64u
#define HISTOGRAM_BUCKETS (HISTOGRAM_STEPS * 40u) /* up to 2^45 ns, ten hours */

struct histogram {
  uint64_t count;
  uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *histogram, uint64_t value);

/* The smallest bucket's upper end below which a share of at least `quantile` (0 to 1) lies; 0 when empty. */
uint64_t histogram_quantile(const struct histogram *histogram, double quantile);

#endif
