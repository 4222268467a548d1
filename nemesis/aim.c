/* aim.c: what aiming has in common for all families. */
#include <assert.h>
#include <string.h>

#include "nemesis/fault.h"

void aim_set(struct aim *aim, const char *name, double value) {
  size_t at = 0;
  while (at < aim->number_count && strcmp(aim->numbers[at].name, name) != 0)
    at++;
  assert(at < AIM_NUMBERS_MAX);
  aim->numbers[at] = (struct aim_number){name, value};
  if (at == aim->number_count)
    aim->number_count++;
}

double aim_get(const struct aim *aim, const char *name) {
  size_t at = 0;
  while (at < aim->number_count && strcmp(aim->numbers[at].name, name) != 0)
    at++;
  assert(at < aim->number_count); /* a fault asks for what its aim has set */
  return aim->numbers[at].value;
}

bool fault_unsuitable(const struct fault *fault, const struct facts *facts, struct error *error) {
  for (int i = 0; i < CAPABILITIES; i++)
    if ((fault->needs & CAPABILITY_BIT(i)) && facts->lacks[i]) {
      error_set(error, ERR_UNSUPPORTED, "%s", facts->lacks[i]);
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

bool fault_conflicts(const struct fault *fault, const struct aim *aim, const struct fault *other,
                     const struct aim *other_aim) {
  const unsigned both = fault->touches & other->touches;
  if (both & TOUCHES_LINKS)
    return true;
  for (size_t i = 0; both != 0 && i < CLUSTER_NODES_MAX; i++)
    if (aim->targets[i] && other_aim->targets[i])
      return true;
  return false;
}

/* ---- Aims that families share ---- */

static int aim_at(const struct facts *facts, struct random *random, size_t count, struct aim *aim,
                  struct error *error) {
  size_t nodes[CLUSTER_NODES_MAX];
  if (!facts_pick(facts, random, count, nodes))
    return error_set(error, ERR_UNAVAILABLE, "fewer than %zu nodes are running", count);
  for (size_t i = 0; i < count; i++)
    aim->targets[nodes[i]] = true;
  return 0;
}

int aim_at_one(const struct fault *fault, const struct facts *facts, struct random *random, struct aim *aim,
               struct error *error) {
  (void)fault;
  return aim_at(facts, random, 1, aim, error);
}

int aim_at_minority(const struct fault *fault, const struct facts *facts, struct random *random,
                    struct aim *aim, struct error *error) {
  (void)fault;
  return aim_at(facts, random, (facts->nodes - 1) / 2, aim, error);
}

int aim_at_majority(const struct fault *fault, const struct facts *facts, struct random *random,
                    struct aim *aim, struct error *error) {
  (void)fault;
  return aim_at(facts, random, facts->nodes / 2 + 1, aim, error);
}

int aim_at_all(const struct fault *fault, const struct facts *facts, struct random *random, struct aim *aim,
               struct error *error) {
  (void)fault;
  return aim_at(facts, random, facts->nodes, aim, error);
}

int aim_at_primary(const struct fault *fault, const struct facts *facts, struct random *random,
                   struct aim *aim, struct error *error) {
  (void)random;
  (void)error;
  assert(fault->at_primary); /* so fault_aim has seen that there is one */
  aim->targets[facts_primary(facts)] = true;
  return 0;
}

int aim_at_follower(const struct fault *fault, const struct facts *facts, struct random *random,
                    struct aim *aim, struct error *error) {
  (void)fault;
  struct facts followers = *facts;
  if (facts->primary >= 0)
    followers.free[facts->primary] = false;
  return aim_at(&followers, random, 1, aim, error);
}
