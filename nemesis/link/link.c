/* link.c: see link.h. */
#include "nemesis/link/link.h"

struct link_shape link_shape_plain(void) {
  return (struct link_shape){0};
}

bool link_shape_is_plain(const struct link_shape *shape) {
  return shape->delay_ns == 0 && shape->jitter_ns == 0 && shape->loss <= 0 && shape->duplicate <= 0 &&
         shape->reorder <= 0 && shape->corrupt <= 0 && shape->rate_bytes_per_s == 0;
}

static bool is_probability(double value) {
  return value >= 0 && value <= 1; /* which NaN is not */
}

int link_shape_check(const struct link_shape *shape, struct error *error) {
  if (shape->delay_ns < 0 || shape->delay_ns > LINK_DELAY_MAX_NS)
    return error_set(error, ERR_BAD_INPUT, "a link's delay is 0 to 60 s, not %.3f s",
                     (double)shape->delay_ns / (double)NS_PER_S);
  if (shape->jitter_ns < 0 || shape->jitter_ns > LINK_DELAY_MAX_NS)
    return error_set(error, ERR_BAD_INPUT, "a link's jitter is 0 to 60 s, not %.3f s",
                     (double)shape->jitter_ns / (double)NS_PER_S);
  const double probabilities[] = {shape->loss, shape->duplicate, shape->reorder, shape->corrupt};
  static const char *const names[] = {"loss", "duplicate", "reorder", "corrupt"};
  for (size_t i = 0; i < ARRAY_SIZE(names); i++)
    if (!is_probability(probabilities[i]))
      return error_set(error, ERR_BAD_INPUT, "a link's %s is a probability, 0 to 1, not %g", names[i],
                       probabilities[i]);
  if (shape->reorder > 0 && shape->delay_ns == 0)
    return error_set(error, ERR_BAD_INPUT, "a link reorders frames only where a delay holds others back");
  return 0;
}

uint32_t link_shape_limit(const struct link_shape *shape) {
  return shape->limit > 0 ? shape->limit : LINK_LIMIT;
}

void link_counters_add(struct link_counters *sum, const struct link_counters *counters) {
  sum->seen += counters->seen;
  sum->lost += counters->lost;
  sum->duplicated += counters->duplicated;
  sum->reordered += counters->reordered;
  sum->corrupted += counters->corrupted;
  sum->delayed += counters->delayed;
  sum->overflowed += counters->overflowed;
}
