/* membership_faults.c: nodes that come, go, lose and get their vote while the others serve; leadership that
 * is handed over; a node that lost everything it had and joins again.
 *
 * The primary is asked, as an operator would ask it (membership.h), and asked again until it is done; so
 * these faults take a while to be installed and to be healed. Two of them are never present together, for
 * each heals to the members that the cluster began with. */
#include <string.h>

#include "nemesis/cluster.h"
#include "nemesis/fault.h"
#include "nemesis/membership.h"

/* Time for the others to elect, and for a change of theirs. */
#define CUT_NS (3 * NS_PER_S)

/* ---- Aiming ---- */

/* Founders that run and vote. */
static struct facts voters_of(const struct facts *facts) {
  struct facts voters = *facts;
  for (size_t i = 0; i < facts->nodes; i++)
    voters.free[i] = facts->free[i] && !facts->outside[i] && !facts->standby[i];
  return voters;
}

static size_t first_spare(const struct facts *facts) {
  return facts->founders ? facts->founders : facts->nodes;
}

/* A member of the primary's must be known, for it is asked; and without `node` the voters that run must be a
 * majority of those that are left. */
static int check_voter(const struct facts *facts, size_t node, struct error *error) {
  const struct facts voters = voters_of(facts);
  size_t others = 0, running = 0;
  for (size_t i = 0; i < facts->nodes; i++)
    if (i != node && !facts->outside[i] && !facts->standby[i]) {
      others++;
      running += voters.free[i];
    }
  if (facts->primary < 0)
    return error_set(error, ERR_UNAVAILABLE, "nobody is known to be primary");
  return running >= others / 2 + 1
             ? 0
             : error_set(error, ERR_UNAVAILABLE, "too few of the other voters are running");
}

static int aim_voter(const struct facts *facts, struct random *random, bool at_primary, bool at_followers,
                     struct aim *aim, struct error *error) {
  struct facts voters = voters_of(facts);
  size_t node = 0;
  for (size_t i = first_spare(facts); i < facts->nodes; i++)
    voters.free[i] = false;
  if (at_followers && facts->primary >= 0)
    voters.free[facts->primary] = false;
  if (!facts_pick(&voters, random, 1, &node))
    return error_set(error, ERR_UNAVAILABLE, "no voter is running that could be hit");
  if (at_primary && facts_primary(&voters) >= 0)
    node = (size_t)facts_primary(&voters);
  aim->targets[node] = true;
  return check_voter(facts, node, error);
}

static int aim_follower(const struct fault *fault, const struct facts *facts, struct random *random,
                        struct aim *aim, struct error *error) {
  (void)fault;
  return aim_voter(facts, random, false, true, aim, error);
}

static int aim_primary(const struct fault *fault, const struct facts *facts, struct random *random,
                       struct aim *aim, struct error *error) {
  (void)fault;
  return aim_voter(facts, random, true, false, aim, error);
}

/* The primary, and who shall lead in its place. */
static int aim_transfer(const struct fault *fault, const struct facts *facts, struct random *random,
                        struct aim *aim, struct error *error) {
  (void)fault;
  struct facts heirs = voters_of(facts);
  const int primary = facts_primary(facts);
  size_t heir = 0;
  if (primary >= 0)
    heirs.free[primary] = false;
  if (!facts_pick(&heirs, random, 1, &heir))
    return error_set(error, ERR_UNAVAILABLE, "no other voter is running");
  aim->targets[primary] = true;
  aim_set(aim, "to_node", (double)(heir + 1));
  return 0;
}

/* The primary against all others; it will be asked to demote `demoted_node`. */
static int aim_cut(const struct fault *fault, const struct facts *facts, struct random *random,
                   struct aim *aim, struct error *error) {
  const int status = aim_transfer(fault, facts, random, aim, error);
  if (status != 0)
    return status;
  const double demoted = aim_get(aim, "to_node");
  aim->number_count = 0;
  aim_set(aim, "demoted_node", demoted);
  aim_set(aim, "again", random_chance(random, 0.5));
  aim->cuts = true;
  for (size_t a = 0; a < facts->nodes; a++)
    for (size_t b = 0; b < facts->nodes; b++)
      aim->hears[a * facts->nodes + b] = aim->targets[a] == aim->targets[b];
  return check_voter(facts, (size_t)facts_primary(facts), error);
}

/* The primary half of the time. */
static int aim_any(const struct fault *fault, const struct facts *facts, struct random *random,
                   struct aim *aim, struct error *error) {
  (void)fault;
  return aim_voter(facts, random, random_chance(random, 0.5), false, aim, error);
}

static int aim_spare(const struct facts *facts, struct random *random, struct aim *aim, struct error *error) {
  const size_t spare = first_spare(facts);
  aim_set(aim, "keeps_data", random_chance(random, 0.5));
  if (facts->primary < 0)
    return error_set(error, ERR_UNAVAILABLE, "nobody is known to be primary");
  if (spare >= facts->nodes || !facts->outside[spare])
    return error_set(error, ERR_UNAVAILABLE, "there is no further node that could join");
  return 0;
}

static int aim_add(const struct fault *fault, const struct facts *facts, struct random *random,
                   struct aim *aim, struct error *error) {
  (void)fault;
  aim_set(aim, "votes", random_chance(random, 0.8));
  const int status = aim_spare(facts, random, aim, error);
  if (status == 0)
    aim->targets[first_spare(facts)] = true;
  return status;
}

static int aim_replace(const struct fault *fault, const struct facts *facts, struct random *random,
                       struct aim *aim, struct error *error) {
  const int status = aim_any(fault, facts, random, aim, error);
  return status != 0 ? status : aim_spare(facts, random, aim, error);
}

/* ---- Doing it ---- */

static size_t target(const struct cluster *cluster, const struct aim *aim) {
  size_t node = 0;
  while (node + 1 < cluster_size(cluster) && !aim->targets[node])
    node++;
  return node;
}

/* What a schedule tells may be at odds with what there is. */
static int expect_seat(const struct cluster *cluster, size_t node, bool member, struct error *error) {
  const bool is_member = membership_seat(cluster->membership, node) != SEAT_NONE;
  return is_member == member ? 0
                             : error_set(error, ERR_UNAVAILABLE, "%s is %s already",
                                         cluster_node_name(cluster, node), member ? "no member" : "a member");
}

static int install_transfer(struct cluster *cluster, const struct aim *aim, struct error *error) {
  const size_t heir = (size_t)aim_get(aim, "to_node") - 1;
  const int status = heir < cluster_size(cluster)
                         ? expect_seat(cluster, heir, true, error)
                         : error_set(error, ERR_UNAVAILABLE, "there is no node n%zu", heir + 1);
  if (status == 0)
    membership_want_leader(cluster->membership, (int)heir);
  return status != 0 ? status : GOES_ON;
}

static int install_remove(struct cluster *cluster, const struct aim *aim, struct error *error) {
  const int status = expect_seat(cluster, target(cluster, aim), true, error);
  if (status == 0)
    membership_want(cluster->membership, target(cluster, aim), SEAT_NONE);
  return status != 0 ? status : GOES_ON;
}

static int install_demote(struct cluster *cluster, const struct aim *aim, struct error *error) {
  const int status = expect_seat(cluster, target(cluster, aim), true, error);
  if (status == 0)
    membership_want(cluster->membership, target(cluster, aim), SEAT_STANDBY);
  return status != 0 ? status : GOES_ON;
}

static void take_on(struct cluster *cluster, const struct aim *aim, size_t spare, bool votes) {
  if (aim_get(aim, "keeps_data") == 0)
    membership_lay_bare(cluster->membership, spare);
  membership_want(cluster->membership, spare, votes ? SEAT_VOTER : SEAT_STANDBY);
}

static int install_add(struct cluster *cluster, const struct aim *aim, struct error *error) {
  const size_t spare = target(cluster, aim);
  if (spare < cluster_founders(cluster))
    return error_set(error, ERR_UNAVAILABLE, "%s is a member already", cluster_node_name(cluster, spare));
  const int status = expect_seat(cluster, spare, false, error);
  if (status == 0)
    take_on(cluster, aim, spare, aim_get(aim, "votes") != 0);
  return status != 0 ? status : GOES_ON;
}

static int install_replace(struct cluster *cluster, const struct aim *aim, struct error *error) {
  const int status = install_remove(cluster, aim, error);
  if (status < 0)
    return status;
  membership_let_stop(cluster->membership, target(cluster, aim));
  take_on(cluster, aim, cluster_founders(cluster), true);
  return status;
}

/* It is killed; what it has is taken from it before it is started again, and that is not before it is no
 * member: with a vote it could give away what it promised before. */
static int install_wipe(struct cluster *cluster, const struct aim *aim, struct error *error) {
  const size_t node = target(cluster, aim);
  int status = expect_seat(cluster, node, true, error);
  if (status == 0)
    status = cluster_kill(cluster, node, error);
  if (status == 0)
    membership_lay_bare(cluster->membership, node);
  return status;
}

/* The change is in the log of the primary, and nobody else will ever hear of it. */
static int install_cut(struct cluster *cluster, const struct aim *aim, struct error *error) {
  const size_t voter = (size_t)aim_get(aim, "demoted_node") - 1;
  if (voter >= cluster_size(cluster))
    return error_set(error, ERR_UNAVAILABLE, "there is no node n%zu", voter + 1);
  const int status = cluster_set_links(cluster, aim->hears, error);
  if (status != 0)
    return status;
  return membership_ask_to_demote(cluster->membership, target(cluster, aim), voter)
             ? 0
             : error_set(error, ERR_UNAVAILABLE, "a primary is being asked for something else");
}

/* The others have had time to elect: their primary makes a change of its own, and knows of no other. */
static int act_cut(struct cluster *cluster, const struct facts *facts, const struct aim *aim, size_t step,
                   struct error *error) {
  (void)facts;
  (void)step;
  (void)error;
  if (aim_get(aim, "again") == 0)
    return ACT_QUIET;
  membership_want(cluster->membership, target(cluster, aim), SEAT_STANDBY);
  return 0;
}

static int heal_cut(struct cluster *cluster, const struct aim *aim, struct error *error) {
  (void)aim;
  const int status = membership_is_going_home(cluster->membership) ? 0 : cluster_open_links(cluster, error);
  if (status != 0)
    return status;
  membership_go_home(cluster->membership);
  return membership_await(cluster->membership, error);
}

static int await(struct cluster *cluster, const struct aim *aim, struct error *error) {
  (void)aim;
  return membership_await(cluster->membership, error);
}

static size_t measure(struct cluster *cluster, const struct aim *aim,
                      struct aim_number evidence[AIM_NUMBERS_MAX]) {
  size_t voters = 0, standbys = 0;
  (void)aim;
  for (size_t i = 0; i < cluster_size(cluster); i++) {
    voters += membership_seat(cluster->membership, i) == SEAT_VOTER;
    standbys += membership_seat(cluster->membership, i) == SEAT_STANDBY;
  }
  evidence[0] = (struct aim_number){"voters", (double)voters};
  evidence[1] = (struct aim_number){"standbys", (double)standbys};
  return 2;
}

static int heal(struct cluster *cluster, const struct aim *aim, struct error *error) {
  (void)aim;
  membership_go_home(cluster->membership);
  return membership_await(cluster->membership, error);
}

#define MEMBERSHIP(name, words)                                                                              \
  .description = {"membership-" name, "membership", words}, .await = await, .measure = measure, .heal = heal
#define WITH_MEMBERS .needs = CAPABILITY_BIT(CAN_MEMBERS), .touches = TOUCHES_MEMBERS
#define WITH_SPARE(more)                                                                                     \
  .needs = CAPABILITY_BIT(CAN_MEMBERS) | CAPABILITY_BIT(CAN_SPARE), .touches = TOUCHES_MEMBERS | (more)

static const struct fault faults[] = {
    {MEMBERSHIP("transfer", "the primary hands leadership over to a voter"), WITH_MEMBERS, .at_primary = true,
     .nodes_min = 2, .aim = aim_transfer, .install = install_transfer},
    {MEMBERSHIP("add", "a further node is started and joins; later it is removed and stopped"), WITH_SPARE(0),
     .nodes_min = 1, .aim = aim_add, .install = install_add},
    {MEMBERSHIP("remove-one", "a voter other than the primary is removed, then added again"), WITH_MEMBERS,
     .nodes_min = 3, .aim = aim_follower, .install = install_remove},
    {MEMBERSHIP("remove-primary", "the primary hands over and is removed, then added again"), WITH_MEMBERS,
     .at_primary = true, .nodes_min = 3, .aim = aim_primary, .install = install_remove},
    {MEMBERSHIP("replace", "a further node joins, and a voter is removed and stopped; later back again"),
     WITH_SPARE(TOUCHES_PROCESSES), .nodes_min = 3, .aim = aim_replace, .install = install_replace},
    {MEMBERSHIP("demote", "a voter becomes standby, then voter again"), WITH_MEMBERS, .nodes_min = 3,
     .aim = aim_any, .install = install_demote},
    {MEMBERSHIP("wipe", "a node is killed, loses its data, is removed and joins again"),
     .needs = CAPABILITY_BIT(CAN_MEMBERS), .touches = TOUCHES_MEMBERS | TOUCHES_PROCESSES | TOUCHES_DISKS,
     .nodes_min = 3, .aim = aim_any, .install = install_wipe},
    {.description =
         {"membership-cut", "membership",
          "the primary is cut off and asked to demote a voter: the change is lost when it is back"},
     .needs = CAPABILITY_BIT(CAN_MEMBERS) | CAPABILITY_BIT(CAN_FILTER),
     .touches = TOUCHES_MEMBERS | TOUCHES_LINKS,
     .at_primary = true,
     .alone = true,
     .nodes_min = 3,
     .duration_min_ns = CUT_NS,
     .aim = aim_cut,
     .install = install_cut,
     .act = act_cut,
     .act_after_ns = CUT_NS / 2,
     .measure = partition_measure,
     .heal = heal_cut},
};
const struct fault_table membership_faults = {faults, ARRAY_SIZE(faults)};
