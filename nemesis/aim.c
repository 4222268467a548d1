/* aim.c: what aiming has in common for all families. */
#include <assert.h>
#include <string.h>

#include "nemesis/fault.h"

static bool cuts_links(const struct fault *fault) {
  return strcmp(fault->description.family, "partition") == 0;
}

bool fault_unsuitable(const struct fault *fault, const struct facts *facts, struct error *error) {
  if (cuts_links(fault) && facts->no_links) {
    error_set(error, ERR_UNSUPPORTED, "%s", facts->no_links);
    return true;
  }
  if (facts->nodes < fault->nodes_min) {
    error_set(error, ERR_UNSUPPORTED, "it takes %zu nodes and the cluster has %zu", fault->nodes_min,
              facts->nodes);
    return true;
  }
  return false;
}

int fault_aim(const struct fault *fault, const struct facts *facts, struct random *random, struct aim *aim,
              struct error *error) {
  *aim = (struct aim){0};
  if (fault_unsuitable(fault, facts, error))
    return ERR_UNSUPPORTED;
  if (fault->at_primary && facts_primary(facts) < 0)
    return error_set(error, ERR_UNAVAILABLE, "nobody is known to be primary");
  return fault->aim(fault, facts, random, aim, error);
}

int facts_primary(const struct facts *facts) {
  assert(facts->primary < (int)facts->nodes);
  return facts->primary >= 0 && facts->free[facts->primary] ? facts->primary : -1;
}

bool facts_pick(const struct facts *facts, struct random *random, size_t count, size_t *nodes) {
  size_t candidates[CLUSTER_NODES_MAX], candidate_count = 0;
  for (size_t i = 0; i < facts->nodes; i++)
    if (facts->free[i])
      candidates[candidate_count++] = i;
  /* Draws the same number of times whoever is free. */
  struct random stream = random_split(random);
  if (candidate_count < count)
    return false;
  random_shuffle(&stream, candidates, candidate_count, sizeof *candidates);
  memcpy(nodes, candidates, count * sizeof *candidates);
  return true;
}
