/* histogram.h: latencies in buckets that widen with the value, as an HdrHistogram of three significant
 * digits: 1024 to each power of two, so that any quantile is right to 0.1 %, in memory of fixed size. Ours,
 * because Debian 12 has no C library of it. */
#ifndef ASSAY_HARNESS_BENCH_HISTOGRAM_H
#define ASSAY_HARNESS_BENCH_HISTOGRAM_H

#include <stdint.h>
#include <stdio.h>

#define HISTOGRAM_STEPS 1024u
#define HISTOGRAM_BUCKETS (HISTOGRAM_STEPS * 36u) /* up to 2^45 ns, ten hours */

struct histogram {
  uint64_t count;
  uint64_t most; /* exactly */
  double sum;
  uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *histogram, uint64_t value);
void histogram_merge(struct histogram *into, const struct histogram *from);

/* The greatest value that may be in the smallest bucket below whose end a share of at least `quantile` (0 to
 * 1) lies, but never above the greatest value there was; 0 when empty. */
uint64_t histogram_quantile(const struct histogram *histogram, double quantile);

/* The percentile distribution in HdrHistogram's text format (".hgrm"), five lines to each halving of what is
 * left, values divided by `unit`: what its plotters read. */
void histogram_print(const struct histogram *histogram, double unit, FILE *out);

#endif
