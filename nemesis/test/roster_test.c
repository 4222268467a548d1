/* The roster's deeds on a model of masters that does what it is asked, or not, or later, while nodes fall and
 * leaders change: the laws hold at every step, and when all is quiet everybody is where he is wanted. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/base.h"
#include "nemesis/roster.h"

#define SEEDS 2000

struct model {
  struct roster roster;
  struct members members;
  struct roster_nodes nodes;
  bool has_data[CLUSTER_NODES_MAX];
  struct random random;
  size_t steps;
};

static struct model model_new(size_t founders, size_t spares, uint64_t seed) {
  struct model model = {.roster = {.nodes = founders + spares, .founders = founders}};
  roster_home(&model.roster);
  model.members.committed = true;
  for (size_t i = 0; i < founders + spares; i++) {
    model.members.seats[i] = i < founders ? SEAT_VOTER : SEAT_NONE;
    model.nodes.runs[i] = model.has_data[i] = i < founders;
    model.nodes.off[i] = i >= founders;
  }
  random_seed(&model.random, seed);
  return model;
}

static size_t voters(const struct model *model, bool running) {
  size_t count = 0;
  for (size_t i = 0; i < model->roster.nodes; i++)
    count += model->members.seats[i] == SEAT_VOTER && (!running || model->nodes.runs[i]);
  return count;
}

/* What a master refuses a roster must not ask for, and what an operator must not do it must not do. */
static void obey(struct model *model, struct roster_step step) {
  const size_t node = step.node;
  const bool had_majority = voters(model, true) > voters(model, false) / 2;
  switch (step.deed) {
  case DEED_START:
    cr_assert(model->nodes.off[node]);
    if (model->roster.bare[node]) {
      cr_assert_eq(model->members.seats[node], SEAT_NONE,
                   "it is still a member, and has lost what it promised");
      model->roster.bare[node] = false;
    }
    model->has_data[node] = true;
    model->nodes.off[node] = false;
    model->nodes.runs[node] = true;
    break;
  case DEED_STOP:
    cr_assert_eq(model->members.seats[node], SEAT_NONE);
    model->nodes.runs[node] = false;
    model->nodes.off[node] = true;
    break;
  case DEED_ADD:
    cr_assert_eq(model->members.seats[node], SEAT_NONE);
    model->members.seats[node] = SEAT_STANDBY;
    break;
  case DEED_PROMOTE:
    cr_assert_eq(model->members.seats[node], SEAT_STANDBY);
    cr_assert(model->nodes.runs[node] && model->has_data[node]);
    model->members.seats[node] = SEAT_VOTER;
    break;
  case DEED_DEMOTE:
  case DEED_REMOVE:
    cr_assert_neq(model->members.seats[node], SEAT_NONE);
    cr_assert_neq(model->members.leader, (int)node, "a leader goes without handing over");
    const bool votes = model->members.seats[node] == SEAT_VOTER;
    model->members.seats[node] = step.deed == DEED_REMOVE ? SEAT_NONE : SEAT_STANDBY;
    cr_assert(!votes || !had_majority || voters(model, true) > voters(model, false) / 2,
              "too few are left that run");
    break;
  case DEED_ELECT:
    cr_assert(model->members.seats[node] == SEAT_VOTER && model->members.leader != (int)node);
    if (model->nodes.runs[node])
      model->members.leader = (int)node;
    break;
  case DEED_WAIT:
    cr_assert_not_null(step.why);
    break;
  case DEED_NONE:
    break;
  }
}

static void elect_somebody(struct model *model) {
  for (size_t tries = 0; tries < 50; tries++) {
    const size_t node = random_below(&model->random, model->roster.nodes);
    if (model->members.seats[node] == SEAT_VOTER && model->nodes.runs[node]) {
      model->members.leader = (int)node;
      return;
    }
  }
}

/* Something happens that nobody asked for. */
static void disturb(struct model *model) {
  const size_t node = random_below(&model->random, model->roster.nodes);
  if (model->nodes.off[node])
    return;
  if (random_chance(&model->random, 0.5))
    model->nodes.runs[node] = !model->nodes.runs[node];
  else
    elect_somebody(model);
}

static bool is_home(const struct model *model) {
  for (size_t i = 0; i < model->roster.nodes; i++) {
    const bool founder = i < model->roster.founders;
    if (model->members.seats[i] != (founder ? SEAT_VOTER : SEAT_NONE) || model->nodes.off[i] == founder ||
        model->roster.bare[i])
      return false;
  }
  return true;
}

static struct roster_step turn(struct model *model) {
  if (model->members.leader < 0 || !model->nodes.runs[model->members.leader] ||
      model->members.seats[model->members.leader] != SEAT_VOTER)
    elect_somebody(model);
  const struct roster_step step = roster_next(&model->roster, &model->members, &model->nodes);
  /* An answer is lost, and nothing was done, or it is not committed yet when it is looked next. */
  if (random_chance(&model->random, 0.8))
    obey(model, step);
  model->members.committed = random_chance(&model->random, 0.9);
  return step;
}

/* With everybody up nothing stands in the way. */
static void settle(struct model *model, const char *what, uint64_t seed) {
  for (size_t i = 0; i < model->roster.nodes; i++)
    model->nodes.runs[i] = !model->nodes.off[i];
  for (size_t i = 0; i < 400; i++)
    if (turn(model).deed == DEED_NONE)
      return;
  cr_assert_fail("seed %d: %s does not come to an end", (int)seed, what);
}

/* As the faults do, one at a time. */
static void wish(struct model *model) {
  struct roster *roster = &model->roster;
  const size_t node = random_below(&model->random, roster->founders), spare = roster->founders;
  switch (random_below(&model->random, 6)) {
  case 0:
    roster->wanted[node] = SEAT_NONE;
    break;
  case 1:
    roster->wanted[node] = SEAT_STANDBY;
    break;
  case 2:
    roster->leader = (int)node;
    break;
  case 3:
    roster->wanted[spare] = SEAT_VOTER;
    break;
  case 4:
    roster->wanted[spare] = SEAT_VOTER;
    roster->wanted[node] = SEAT_NONE;
    roster->stops[node] = true;
    break;
  default:
    /* Not one whom the others need: no fault is aimed like that. */
    if (model->nodes.off[node] || model->members.seats[node] == SEAT_NONE ||
        roster_needs(&model->members, model->nodes.runs, roster->nodes, node))
      return;
    roster->bare[node] = true;
    model->nodes.runs[node] = model->has_data[node] = false;
    model->nodes.off[node] = true;
  }
}

Test(roster, laws_hold_and_everybody_comes_home) {
  for (uint64_t seed = 0; seed < SEEDS; seed++) {
    struct model model = model_new(3 + seed % 3, 1, seed);
    for (int fault = 0; fault < 4; fault++) {
      wish(&model);
      for (int i = 0; i < 30; i++) {
        if (random_chance(&model.random, 0.1))
          disturb(&model);
        turn(&model);
      }
      roster_home(&model.roster);
      if (random_chance(&model.random, 0.5))
        settle(&model, "the way home", seed);
    }
    roster_home(&model.roster);
    settle(&model, "the last way home", seed);
    cr_assert(is_home(&model), "seed %d", (int)seed);
  }
}

Test(roster, a_replacement_votes_before_the_other_goes) {
  struct model model = model_new(3, 1, 1);
  static const enum deed expected[] = {DEED_START,  DEED_ADD,  DEED_PROMOTE, DEED_ELECT,
                                       DEED_REMOVE, DEED_STOP, DEED_NONE};
  model.members.leader = 1;
  model.roster.wanted[3] = SEAT_VOTER;
  model.roster.wanted[1] = SEAT_NONE;
  model.roster.stops[1] = true;
  for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
    const struct roster_step step = roster_next(&model.roster, &model.members, &model.nodes);
    cr_assert_eq(step.deed, expected[i], "step %zu is %d", i, (int)step.deed);
    obey(&model, step);
  }
}

Test(roster, who_lost_its_data_is_no_member_before_it_runs_again) {
  struct model model = model_new(3, 0, 1);
  static const enum deed expected[] = {DEED_REMOVE, DEED_START, DEED_ADD, DEED_PROMOTE, DEED_NONE};
  model.members.leader = 1;
  model.roster.bare[2] = model.nodes.off[2] = true;
  model.nodes.runs[2] = false;
  for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
    const struct roster_step step = roster_next(&model.roster, &model.members, &model.nodes);
    cr_assert_eq(step.deed, expected[i], "step %zu is %d", i, (int)step.deed);
    obey(&model, step);
  }
}

Test(roster, waits_while_others_are_down_or_a_change_is_open) {
  struct model model = model_new(3, 0, 1);
  model.members.leader = 0;
  model.roster.wanted[2] = SEAT_NONE;
  model.nodes.runs[1] = false;
  cr_assert_eq(roster_next(&model.roster, &model.members, &model.nodes).deed, DEED_WAIT);
  model.nodes.runs[1] = true;
  model.members.committed = false;
  cr_assert_eq(roster_next(&model.roster, &model.members, &model.nodes).deed, DEED_WAIT);
  model.members.committed = true;
  cr_assert_eq(roster_next(&model.roster, &model.members, &model.nodes).deed, DEED_REMOVE);
}
