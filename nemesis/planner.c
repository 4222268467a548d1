/* planner.c: see planner.h. */
#include "nemesis/planner.h"

#include <assert.h>
#include <string.h>

#define FIRST_WAIT_NS NS_PER_S
#define OVERLAP_CHANCE 0.3

static struct planner_family *family_named(struct planner *planner, const char *name) {
  for (size_t i = 0; i < planner->family_count; i++)
    if (strcmp(planner->families[i].name, name) == 0)
      return &planner->families[i];
  assert(planner->family_count < FAMILIES_MAX);
  struct planner_family *family = &planner->families[planner->family_count++];
  *family = (struct planner_family){.name = name};
  return family;
}

static bool family_has_suitable(const struct fault *const *faults, size_t count, const struct facts *facts,
                                const char *family) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(faults[i]->description.family, family) == 0 && !fault_unsuitable(faults[i], facts, NULL))
      return true;
  return false;
}

void planner_init(struct planner *planner, uint64_t seed, const struct fault *const *faults, size_t count,
                  const struct facts *facts, int64_t interval_ns, int64_t duration_ns) {
  *planner = (struct planner){.interval_ns = interval_ns > 0 ? interval_ns : INTERVAL_DEFAULT_NS,
                              .duration_ns = duration_ns > 0 ? duration_ns : DURATION_DEFAULT_NS};
  random_seed(&planner->random, seed);
  for (size_t i = 0; i < count; i++) {
    const char *name = faults[i]->description.family;
    if (fault_unsuitable(faults[i], facts, NULL) && family_has_suitable(faults, count, facts, name))
      continue;
    struct planner_family *family = family_named(planner, name);
    struct deck *deck = faults[i]->at_primary ? &family->at_primary : &family->others;
    const size_t before = deck->count;
    do {
      assert(deck->count < ARRAY_SIZE(deck->faults));
      deck->faults[deck->count++] = faults[i];
    } while (deck->count - before < faults[i]->cards);
    deck->dealt = deck->count;
  }
  for (size_t i = 0; i < planner->family_count; i++)
    planner->round[i] = i;
  planner->turn = planner->family_count;
}

static const struct fault *deal(struct deck *deck, struct random *random) {
  assert(deck->count > 0);
  if (deck->dealt == deck->count) {
    random_shuffle(random, deck->faults, deck->count, sizeof(const struct fault *));
    deck->dealt = 0;
  }
  return deck->faults[deck->dealt++];
}

static struct planner_family *next_family(struct planner *planner) {
  const size_t count = planner->family_count;
  if (planner->turn == count) {
    const size_t last = planner->round[count - 1];
    random_shuffle(&planner->random, planner->round, count, sizeof *planner->round);
    /* Nobody has two turns in a row. */
    if (count > 1 && planner->planned > 0 && planner->round[0] == last) {
      planner->round[0] = planner->round[count - 1];
      planner->round[count - 1] = last;
    }
    planner->turn = 0;
  }
  return &planner->families[planner->round[planner->turn++]];
}

/* Two faults are present together only if they touch different things and enough is left to be hurt; and
 * never three. */
static bool may_overlap(const struct planner *planner, const struct fault *fault) {
  const struct fault *last = planner->last;
  if (!last || planner->last_overlaps || last->alone || fault->alone)
    return false;
  return (last->touches & fault->touches) == 0;
}

int64_t planner_around(struct random *random, int64_t mean_ns) {
  return mean_ns / 2 + (int64_t)(random_unit(random) * (double)mean_ns);
}

bool planner_next(struct planner *planner, struct plan *plan) {
  if (planner->family_count == 0)
    return false;
  struct random *random = &planner->random;
  struct planner_family *family = next_family(planner);
  const bool at_primary =
      family->at_primary.count > 0 && (family->others.count == 0 || !family->primary_last);
  family->primary_last = at_primary;
  *plan = (struct plan){.number = ++planner->planned,
                        .fault = deal(at_primary ? &family->at_primary : &family->others, random),
                        .wait_ns = planner_around(random, planner->interval_ns),
                        .duration_ns = planner_around(random, planner->duration_ns)};
  if (plan->duration_ns < plan->fault->duration_min_ns)
    plan->duration_ns = plan->fault->duration_min_ns;
  const bool overlap_drawn = random_chance(random, OVERLAP_CHANCE);
  const double overlap_at = 0.2 + 0.6 * random_unit(random);
  plan->aim = random_split(random);
  if (overlap_drawn && may_overlap(planner, plan->fault)) {
    plan->overlaps = true;
    plan->wait_ns = (int64_t)((double)planner->last_duration_ns * overlap_at);
  }
  if (plan->number == 1 && plan->wait_ns > FIRST_WAIT_NS)
    plan->wait_ns = FIRST_WAIT_NS;
  planner->last = plan->fault;
  planner->last_duration_ns = plan->duration_ns;
  planner->last_overlaps = plan->overlaps;
  return true;
}

bool planner_instead(struct planner *planner, struct plan *plan) {
  const struct planner_family *family = family_named(planner, plan->fault->description.family);
  if (!plan->fault->at_primary || family->others.count == 0)
    return false;
  /* Not dealt, so that the later turns stay as they were planned. */
  plan->fault = family->others.faults[random_below(&plan->aim, family->others.count)];
  plan->overlaps = plan->overlaps && !plan->fault->alone;
  planner->last = plan->fault;
  planner->last_overlaps = plan->overlaps;
  return true;
}
