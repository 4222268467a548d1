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
  const size_t nodes = facts->founders ? facts->founders : facts->nodes;
  if (nodes < fault->nodes_min) {
    error_set(error, ERR_UNSUPPORTED, "it takes %zu nodes and the cluster has %zu", fault->nodes_min, nodes);
    return true;
  }
  return false;
}

/* ---- Members only ----
 *
 * A fault is aimed at a cluster that consists of the members of the journal, so halves and majorities are
 * theirs; then what was drawn is told in the numbers of all nodes. */

/* `numbers` gets the members. */
static struct facts members_of(const struct facts *facts, size_t *numbers) {
  struct facts members = *facts;
  members.nodes = members.founders = 0;
  members.primary = members.old_primary = -1;
  for (size_t i = 0; i < facts->nodes; i++) {
    if (facts->outside[i])
      continue;
    const size_t at = members.nodes++;
    numbers[at] = i;
    members.free[at] = facts->free[i];
    members.standby[at] = facts->standby[i];
    members.outside[at] = false;
    members.node[at] = facts->node[i];
    if (facts->primary == (int)i)
      members.primary = (int)at;
    if (facts->old_primary == (int)i)
      members.old_primary = (int)at;
  }
  return members;
}

static bool is_node_number(const char *name) {
  const size_t length = strlen(name);
  return length > 5 && strcmp(name + length - 5, "_node") == 0;
}

/* Links of those who are no members are whole. */
static void spread(struct aim *aim, const size_t *numbers, size_t members, size_t nodes) {
  const struct aim drawn = *aim;
  memset(aim->targets, 0, sizeof aim->targets);
  memset(aim->hears, aim->cuts, sizeof aim->hears);
  memset(aim->shaped, 0, sizeof aim->shaped);
  for (size_t a = 0; a < members; a++) {
    aim->targets[numbers[a]] = drawn.targets[a];
    for (size_t b = 0; b < members; b++) {
      aim->hears[numbers[a] * nodes + numbers[b]] = drawn.hears[a * members + b];
      aim->shaped[numbers[a] * nodes + numbers[b]] = drawn.shaped[a * members + b];
    }
  }
  for (size_t i = 0; i < aim->number_count; i++)
    if (is_node_number(aim->numbers[i].name)) {
      const size_t at = (size_t)aim->numbers[i].value - 1;
      assert(at < members);
      aim->numbers[i].value = (double)(numbers[at] + 1);
    }
}

static int aim_at_members(const struct fault *fault, const struct facts *facts, struct random *random,
                          struct aim *aim, struct error *error) {
  size_t numbers[CLUSTER_NODES_MAX] = {0};
  const struct facts members = members_of(facts, numbers);
  if (members.nodes < fault->nodes_min)
    return error_set(error, ERR_UNAVAILABLE, "it takes %zu members and there are %zu now", fault->nodes_min,
                     members.nodes);
  if (fault->at_primary && facts_primary(&members) < 0)
    return error_set(error, ERR_UNAVAILABLE, "nobody is known to be primary");
  const int status = fault->aim(fault, &members, random, aim, error);
  if (status == 0 && members.nodes < facts->nodes)
    spread(aim, numbers, members.nodes, facts->nodes);
  return status;
}

int fault_aim(const struct fault *fault, const struct facts *facts, struct random *random, struct aim *aim,
              struct error *error) {
  *aim = (struct aim){0};
  if (fault_unsuitable(fault, facts, error))
    return ERR_UNSUPPORTED;
  if (!(fault->touches & TOUCHES_MEMBERS))
    return aim_at_members(fault, facts, random, aim, error);
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
  if (both & (TOUCHES_LINKS | TOUCHES_MEMBERS))
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

/* Of those who vote. */
static int aim_at_voters(const struct facts *facts, struct random *random, bool majority, struct aim *aim,
                         struct error *error) {
  struct facts voters = *facts;
  size_t count = 0;
  for (size_t i = 0; i < facts->nodes; i++) {
    count += !facts->standby[i];
    voters.free[i] = facts->free[i] && !facts->standby[i];
  }
  if (!majority && count < 3)
    return error_set(error, ERR_UNAVAILABLE, "%zu voters have no minority", count);
  return aim_at(&voters, random, majority ? count / 2 + 1 : (count - 1) / 2, aim, error);
}

int aim_at_minority(const struct fault *fault, const struct facts *facts, struct random *random,
                    struct aim *aim, struct error *error) {
  (void)fault;
  return aim_at_voters(facts, random, false, aim, error);
}

int aim_at_majority(const struct fault *fault, const struct facts *facts, struct random *random,
                    struct aim *aim, struct error *error) {
  (void)fault;
  return aim_at_voters(facts, random, true, aim, error);
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
