/* planner.h: what to break next, and when: pure, from a seed.
 *
 * Families take turns: every round is a new shuffle of them, so in any run each has its share for certain. In
 * a family's turn a fault aimed at the primary alternates with one that is not, for the former reveal most;
 * among each of these the order is a shuffled deck, so no fault is forgotten either.
 *
 * What is planned does not depend on what the cluster does; only the aim does, and that draws from a stream
 * of its own. So one seed plans one sequence of faults and durations, in every run; a fault that found nobody
 * to hit is replaced for that turn and shifts no other. */
#ifndef ASSAY_NEMESIS_PLANNER_H
#define ASSAY_NEMESIS_PLANNER_H

#include "nemesis/fault.h"

/* Chosen so that nine faults have begun by 52 s at the latest: in a minute, three of each of three families.
 */
#define INTERVAL_DEFAULT_NS (1800 * NS_PER_MS)
#define DURATION_DEFAULT_NS (2400 * NS_PER_MS)

struct plan {
  uint64_t number; /* from 1: pairs what is said of one fault */
  const struct fault *fault;
  bool overlaps;       /* begins while the one before it is present */
  int64_t wait_ns;     /* since the one before it was installed if it overlaps, else since all were healed */
  int64_t duration_ns; /* from its installation to its heal */
  struct random aim;
};

/* Faults in a random order, dealt one after the other; shuffled again when all were dealt. */
struct deck {
  const struct fault *faults[FAULTS_MAX];
  size_t count, dealt;
};

struct planner_family {
  const char *name;
  struct deck at_primary, others;
  bool primary_last; /* the last one dealt was at the primary */
};

struct planner {
  struct random random;
  int64_t interval_ns, duration_ns;
  struct planner_family families[FAMILIES_MAX];
  size_t family_count;
  size_t round[FAMILIES_MAX]; /* families in the order of their turns */
  size_t turn;
  uint64_t planned;
  const struct fault *last; /* and for how long it was planned to stay */
  int64_t last_duration_ns;
  bool last_overlaps;
};

/* Faults that can never be aimed at this cluster are left out as long as their family has others. The
 * interval and the duration are means; 0: the defaults. */
void planner_init(struct planner *planner, uint64_t seed, const struct fault *const *faults, size_t count,
                  const struct facts *facts, int64_t interval_ns, int64_t duration_ns);

/* False when there is nothing to plan: no fault was selected. */
bool planner_next(struct planner *planner, struct plan *plan);

/* In place of a plan that found nobody to be primary: another fault of its family that needs none, else
 * false. */
bool planner_instead(struct planner *planner, struct plan *plan);

/* Uniform in [mean / 2, 3/2 mean]: bounded, so that the number of faults in a run is, too. */
int64_t planner_around(struct random *random, int64_t mean_ns);

#endif
