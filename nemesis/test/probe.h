/* probe.h: asks echo nodes, from where the clients are, who hears whom and what their clocks show. */
#ifndef ASSAY_NEMESIS_TEST_PROBE_H
#define ASSAY_NEMESIS_TEST_PROBE_H

#include "nemesis/nemesis.h"

struct probe;

struct probe *probe_new(const struct cluster *cluster);
void probe_free(struct probe *probe);

/* Waits until a node answers. */
void probe_await(struct probe *probe, size_t node);

/* Has every running node send to every other and CHECKs that exactly those hear it that shall; a node that is
 * not running sends and hears nothing. The nodes' answers pass the clients' side: it works throughout. */
void probe_expect(struct probe *probe, const bool *hears);

/* How far a node's clocks are ahead of ours; the truth lies between `least` and `most`, which are as far
 * apart as the answer took. */
struct probe_clock {
  int64_t wall_least_ns, wall_most_ns, monotonic_least_ns, monotonic_most_ns;
};
struct probe_clock probe_clock(struct probe *probe, size_t node);

#endif
