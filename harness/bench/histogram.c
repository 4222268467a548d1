#include "harness/bench/histogram.h"

#include <inttypes.h>
#include <math.h>

#define TICKS_PER_HALVING 5.0

/* Values below 1024 have a bucket each; above, the exponent chooses the row and the 10 bits behind the
 * leading one the step. */
static uint32_t bucket_of(uint64_t value) {
  if (value < HISTOGRAM_STEPS)
    return (uint32_t)value;
  const uint32_t shift = 63u - (uint32_t)__builtin_clzll(value) - 10u;
  const uint32_t bucket = (shift + 1) * HISTOGRAM_STEPS + (uint32_t)((value >> shift) - HISTOGRAM_STEPS);
  return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

static uint64_t least_in(uint32_t bucket) {
  if (bucket < HISTOGRAM_STEPS)
    return bucket;
  const uint32_t shift = bucket / HISTOGRAM_STEPS - 1;
  return ((uint64_t)(bucket % HISTOGRAM_STEPS) + HISTOGRAM_STEPS) << shift;
}

static uint64_t most_in(const struct histogram *histogram, uint32_t bucket) {
  const uint64_t most = bucket == HISTOGRAM_BUCKETS - 1 ? UINT64_MAX : least_in(bucket + 1) - 1;
  return most < histogram->most ? most : histogram->most;
}

void histogram_add(struct histogram *histogram, uint64_t value) {
  histogram->count++;
  histogram->sum += (double)value;
  if (value > histogram->most)
    histogram->most = value;
  histogram->buckets[bucket_of(value)]++;
}

void histogram_merge(struct histogram *into, const struct histogram *from) {
  into->count += from->count;
  into->sum += from->sum;
  if (from->most > into->most)
    into->most = from->most;
  for (uint32_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++)
    into->buckets[bucket] += from->buckets[bucket];
}

/* The first bucket up to which at least `wanted` values lie, > 0; *upto gets how many do. */
static uint32_t bucket_at(const struct histogram *histogram, uint64_t wanted, uint64_t *upto) {
  uint32_t bucket = 0;
  *upto = histogram->buckets[0];
  while (*upto < wanted && bucket < HISTOGRAM_BUCKETS - 1)
    *upto += histogram->buckets[++bucket];
  return bucket;
}

static uint64_t rank_of(const struct histogram *histogram, double quantile) {
  const uint64_t rank = (uint64_t)ceil(quantile * (double)histogram->count);
  return rank == 0 ? 1 : rank < histogram->count ? rank : histogram->count;
}

uint64_t histogram_quantile(const struct histogram *histogram, double quantile) {
  uint64_t upto;
  if (histogram->count == 0)
    return 0;
  return most_in(histogram, bucket_at(histogram, rank_of(histogram, quantile), &upto));
}

static double deviation(const struct histogram *histogram, double mean) {
  double squares = 0;
  for (uint32_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++)
    if (histogram->buckets[bucket] > 0) {
      const double middle = ((double)least_in(bucket) + (double)most_in(histogram, bucket)) / 2;
      squares += (double)histogram->buckets[bucket] * (middle - mean) * (middle - mean);
    }
  return sqrt(squares / (double)histogram->count);
}

void histogram_print(const struct histogram *histogram, double unit, FILE *out) {
  const double mean = histogram->count > 0 ? histogram->sum / (double)histogram->count : 0;
  fprintf(out, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
  for (double share = 0; histogram->count > 0;) {
    uint64_t upto;
    const uint32_t bucket = bucket_at(histogram, rank_of(histogram, share), &upto);
    const double value = (double)most_in(histogram, bucket) / unit;
    if (upto == histogram->count) {
      fprintf(out, "%12.3f %2.12f %10" PRIu64 "\n", value, 1.0, upto);
      break;
    }
    fprintf(out, "%12.3f %2.12f %10" PRIu64 " %14.2f\n", value, share, upto, 1 / (1 - share));
    /* The next line that says something new: a whole number of ticks on, beyond what this bucket covers. */
    const double covered = (double)upto / (double)histogram->count;
    do {
      const double halvings = floor(log2(1 / (1 - share))) + 1;
      share += 1 / (TICKS_PER_HALVING * pow(2, halvings));
    } while (share <= covered);
  }
  fprintf(out, "#[Mean    = %12.3f, StdDeviation   = %12.3f]\n", mean / unit,
          histogram->count > 0 ? deviation(histogram, mean) / unit : 0);
  fprintf(out, "#[Max     = %12.3f, Total count    = %12" PRIu64 "]\n", (double)histogram->most / unit,
          histogram->count);
  fprintf(out, "#[Buckets = %12u, SubBuckets     = %12u]\n", HISTOGRAM_BUCKETS / HISTOGRAM_STEPS,
          HISTOGRAM_STEPS);
}
