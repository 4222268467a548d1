#include "harness/bench_histogram.h"

#include <math.h>

/* Values below 64 have a bucket each; above, the exponent chooses the row and the 6 bits behind the leading
 * one the step. */
static uint32_t bucket_of(uint64_t value) {
  if (value < HISTOGRAM_STEPS)
    return (uint32_t)value;
  const uint32_t shift = 63u - (uint32_t)__builtin_clzll(value) - 6u;
  const uint32_t bucket = (shift + 1) * HISTOGRAM_STEPS + (uint32_t)((value >> shift) - HISTOGRAM_STEPS);
  return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

static uint64_t upper_end(uint32_t bucket) {
  if (bucket < HISTOGRAM_STEPS)
    return bucket;
  const uint32_t shift = bucket / HISTOGRAM_STEPS - 1;
  return ((uint64_t)(bucket % HISTOGRAM_STEPS) + HISTOGRAM_STEPS + 1) << shift;
}

void histogram_add(struct histogram *histogram, uint64_t value) {
  histogram->count++;
  histogram->buckets[bucket_of(value)]++;
}

uint64_t histogram_quantile(const struct histogram *histogram, double quantile) {
  if (histogram->count == 0)
    return 0;
  const uint64_t wanted = (uint64_t)ceil(quantile * (double)histogram->count);
  uint64_t below = 0;
  for (uint32_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
    below += histogram->buckets[bucket];
    if (below >= wanted && below > 0)
      return upper_end(bucket);
  }
  return upper_end(HISTOGRAM_BUCKETS - 1);
}
