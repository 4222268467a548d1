/* shaper.h: what becomes of each frame on a shaped link: how many copies arrive, when, and with which bit
 * flipped.
 *
 * Pure: no clock, no frame, no randomness but the seed's. The same seed and the same frames at the same times
 * get the same verdicts, and what happens on one link does not shift what is drawn for another. */
#ifndef ASSAY_NEMESIS_LINK_SHAPER_H
#define ASSAY_NEMESIS_LINK_SHAPER_H

#include "nemesis/link/link.h"

/* Of a frame: no bit of it is touched that the switch itself reads. */
#define ETHERNET_HEADER_BYTES 14

#define NO_BIT (-1)

/* One direction of one link. */
struct shaper {
  struct random random;
  int64_t last_departure_ns; /* of the frames that a rate keeps in a row */
  uint32_t waiting;          /* copies that were told to wait and have not been told to have departed */
  struct link_counters counters;
};

struct shaper_copy {
  int64_t departs_ns;  /* not before the time of arrival; equal to it: at once */
  int32_t flipped_bit; /* counted from the frame's first bit, the highest of its first byte; or NO_BIT */
};

struct shaper_verdict {
  size_t count; /* 0: the frame is gone */
  struct shaper_copy copies[2];
};

/* `link` tells the links of one seed apart. */
void shaper_init(struct shaper *shaper, uint64_t seed, uint64_t link);

/* A frame of `size_bytes` arrives. A copy that departs later than `now_ns` counts as waiting until
 * shaper_departed() is called for it. */
struct shaper_verdict shaper_decide(struct shaper *shaper, const struct link_shape *shape, int64_t now_ns,
                                    size_t size_bytes);

void shaper_departed(struct shaper *shaper);

#endif
