/* mix.h: sets of faults under one name, and the set that a seed draws. Pure. */
#ifndef ASSAY_NEMESIS_MIX_H
#define ASSAY_NEMESIS_MIX_H

#include "nemesis/fault.h"

/* The mix of that name, or NULL. */
const struct fault_mix *mix_find(const char *name);

/* How often faults come and how long they stay, as means; 0: the planner's defaults. */
struct tempo {
  int64_t interval_ns, duration_ns;
};

/* The tempo of the first mix in a list that has one of its own; what is set already stays. */
void mix_tempo(const char *list, struct tempo *tempo);

/* A word of a list: the seed decides which of the other words' faults (of all faults, if there are none) a
 * run has, and its tempo. */
#define SWARM "swarm"
bool catalogue_is_swarm(const char *list);

/* Leaves some of the faults out and changes the tempo, by the seed alone; at least one fault stays. Groce et
 * al., Swarm Testing, ISSTA 2012: a run in which some faults never come shows what their presence would have
 * hidden. */
void swarm_draw(uint64_t seed, const struct fault **faults, size_t *count, struct tempo *tempo);

#endif
