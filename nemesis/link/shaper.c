/* shaper.c: see shaper.h.
 *
 * The order of the decisions is that of netem_enqueue() in Linux: duplicate, lose, corrupt, overflow, and
 * then either leave at once (reorder) or wait for the delay and the rate. Each copy of a duplicated frame
 * lives or dies by itself. */
#include "nemesis/link/shaper.h"

#include <assert.h>

void shaper_init(struct shaper *shaper, uint64_t seed, uint64_t link) {
  *shaper = (struct shaper){0};
  random_seed(&shaper->random, seed ^ (link + 1) * UINT64_C(0x9e3779b97f4a7c15));
}

static int64_t draw_delay_ns(struct shaper *shaper, const struct link_shape *shape) {
  const int64_t delay_ns =
      shape->delay_ns + random_between(&shaper->random, -shape->jitter_ns, shape->jitter_ns);
  return delay_ns > 0 ? delay_ns : 0;
}

/* With a rate a frame begins to leave when its delay is over and the one before it has left. */
static int64_t departure_ns(struct shaper *shaper, const struct link_shape *shape, int64_t now_ns,
                            size_t size_bytes) {
  int64_t at_ns = now_ns + draw_delay_ns(shaper, shape);
  if (shape->rate_bytes_per_s == 0)
    return at_ns;
  if (at_ns < shaper->last_departure_ns)
    at_ns = shaper->last_departure_ns;
  at_ns += (int64_t)((double)size_bytes * (double)NS_PER_S / (double)shape->rate_bytes_per_s);
  shaper->last_departure_ns = at_ns;
  return at_ns;
}

static int32_t draw_bit(struct shaper *shaper, size_t size_bytes) {
  if (size_bytes <= ETHERNET_HEADER_BYTES)
    return NO_BIT;
  const uint64_t bits = (size_bytes - ETHERNET_HEADER_BYTES) * 8;
  return (int32_t)(ETHERNET_HEADER_BYTES * 8 + random_below(&shaper->random, bits));
}

/* False: this copy does not arrive. */
static bool decide_copy(struct shaper *shaper, const struct link_shape *shape, int64_t now_ns,
                        size_t size_bytes, struct shaper_copy *copy) {
  struct link_counters *counters = &shaper->counters;
  *copy = (struct shaper_copy){.departs_ns = now_ns, .flipped_bit = NO_BIT};
  if (random_chance(&shaper->random, shape->loss)) {
    counters->lost++;
    return false;
  }
  if (random_chance(&shaper->random, shape->corrupt))
    copy->flipped_bit = draw_bit(shaper, size_bytes);
  if (shaper->waiting >= link_shape_limit(shape)) {
    counters->overflowed++;
    return false;
  }
  counters->corrupted += copy->flipped_bit != NO_BIT;
  if (random_chance(&shaper->random, shape->reorder)) {
    counters->reordered++;
    return true;
  }
  copy->departs_ns = departure_ns(shaper, shape, now_ns, size_bytes);
  if (copy->departs_ns > now_ns) {
    counters->delayed++;
    shaper->waiting++;
  }
  return true;
}

struct shaper_verdict shaper_decide(struct shaper *shaper, const struct link_shape *shape, int64_t now_ns,
                                    size_t size_bytes) {
  struct shaper_verdict verdict = {0};
  size_t copies = 1;
  shaper->counters.seen++;
  if (random_chance(&shaper->random, shape->duplicate)) {
    shaper->counters.duplicated++;
    copies = 2;
  }
  for (size_t i = 0; i < copies; i++)
    if (decide_copy(shaper, shape, now_ns, size_bytes, &verdict.copies[verdict.count]))
      verdict.count++;
  return verdict;
}

void shaper_departed(struct shaper *shaper) {
  assert(shaper->waiting > 0);
  shaper->waiting--;
}
