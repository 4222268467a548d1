/* link.h: how a link between two nodes misbehaves.
 *
 * The parameters are netem's, with netem's meanings (tc-netem(8)), whoever carries them out: the kernel's
 * sch_netem (netem.h) or, where it has none, our own switch (tap_switch.h). A shape belongs to one direction
 * of one link; frames from and to clients never meet one. */
#ifndef ASSAY_NEMESIS_LINK_H
#define ASSAY_NEMESIS_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"

/* Frames that wait on one link unless the shape says otherwise. netem's own default of 1000 is what a few
 * busy connections with a delay overflow: that would be one more fault than was asked for. */
#define LINK_LIMIT 8000

#define LINK_DELAY_MAX_NS (60 * NS_PER_S)

struct link_shape {
  int64_t delay_ns;          /* every frame leaves that much later */
  int64_t jitter_ns;         /* uniformly more or less than the delay, so that frames overtake each other */
  double loss;               /* probabilities, of each frame by itself: it never arrives, */
  double duplicate;          /* arrives twice, */
  double reorder;            /* leaves at once, and overtakes those that the delay holds back, */
  double corrupt;            /* has one bit flipped, behind its Ethernet header */
  uint64_t rate_bytes_per_s; /* frames leave one after the other, not faster than that; 0: unlimited */
  uint32_t limit;            /* frames that wait; what comes when so many do is dropped. 0: LINK_LIMIT */
};

/* What befell the frames of one direction of one link while it had a shape. */
struct link_counters {
  uint64_t seen; /* came to the link; all others count some of these and their duplicates */
  uint64_t lost;
  uint64_t duplicated;
  uint64_t reordered;
  uint64_t corrupted;
  uint64_t delayed;
  uint64_t overflowed; /* dropped, because too many waited */
};

/* A link as links should be: the same as no shape. */
struct link_shape link_shape_plain(void);
bool link_shape_is_plain(const struct link_shape *shape);

/* ERR_BAD_INPUT when a number is out of range, or a frame is to be reordered where none is delayed. */
int link_shape_check(const struct link_shape *shape, struct error *error);

uint32_t link_shape_limit(const struct link_shape *shape);

void link_counters_add(struct link_counters *sum, const struct link_counters *counters);

#endif
