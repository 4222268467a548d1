#include "checker/facts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "checker/model.h"
#include "checker/region.h"

/* ---- Who sees whose effects ---- */

struct attribution {
  struct problem *problem;
  uint32_t *due;
  uint32_t *value_writer; /* by value: the only step that writes it; VALUE_SHARED: several */
};

#define VALUE_SHARED (NONE - 1)

static void find_impossible(struct attribution *attribution, uint32_t observer) {
  if (attribution->problem->facts->impossible == NONE) {
    attribution->problem->facts->impossible = observer;
  }
}

/* `observer` saw an effect that only `maker` can have had. */
static void attribute(struct attribution *attribution, uint32_t observer, uint32_t maker) {
  struct problem *problem = attribution->problem;
  if (maker == NONE || problem->steps[maker].invoked_at > problem->steps[observer].completed_at) {
    find_impossible(attribution, observer);
    return;
  }
  if (problem->steps[maker].role != ROLE_UNKNOWN) {
    return;
  }
  uint32_t completion = problem->steps[observer].completed_at;
  if (attribution->due[maker] == NONE) {
    problem->promoted++;
  }
  if (attribution->due[maker] == NONE || completion < attribution->due[maker]) {
    attribution->due[maker] = completion;
  }
}

static void see_creator(struct attribution *attribution, uint32_t observer, uint32_t creator) {
  attribution->problem->creator_public[creator] = true;
  if (creator != ROOT_CREATOR) {
    attribute(attribution, observer, attribution->problem->creator_step[creator]);
  }
}

static void see_answer(struct attribution *attribution, uint32_t observer, const struct action *action) {
  struct problem *problem = attribution->problem;
  const struct expectation *expected = &action->expected;
  problem->versions_matter |= action->has_if_version || (action->expects && (expected->seen & SEEN_VERSION));
  if (!action->expects || expected->code != ANSWER_OK) {
    return;
  }
  if ((expected->seen & SEEN_CREATOR) && expected->creator != problem->steps[observer].creator) {
    see_creator(attribution, observer, expected->creator);
  }
  for (uint32_t i = 0; i < expected->entry_count; i++) {
    if (expected->entries[i].has_creator) {
      see_creator(attribution, observer, expected->entries[i].creator);
    }
  }
  for (uint32_t i = 0; i < expected->block_entry_count; i++) {
    attribute(attribution, observer, problem->block_step[expected->block_ids[i]]);
  }
  if (action->kind == OPERATION_COMMIT_BLOCK) {
    attribute(attribution, observer, problem->block_step[action->block]);
  }
  if (expected->seen & SEEN_VALUE) {
    problem->value_public[expected->value] = true;
    uint32_t writer = attribution->value_writer[expected->value];
    if (writer != VALUE_SHARED && expected->value != 0) {
      attribute(attribution, observer, writer);
    }
  }
  if (expected->impossible) {
    find_impossible(attribution, observer);
  }
}

static void index_values(struct attribution *attribution) {
  struct problem *problem = attribution->problem;
  attribution->value_writer = xmalloc(problem->values.count * sizeof(uint32_t));
  memset(attribution->value_writer, 0xff, problem->values.count * sizeof(uint32_t));
  for (uint32_t i = 0; i < problem->step_count; i++) {
    const struct step *step = &problem->steps[i];
    for (uint32_t j = 0; j < step->action_count && step->role != ROLE_OBSERVATION; j++) {
      if (step->actions[j].kind == OPERATION_SET) {
        uint32_t *writer = &attribution->value_writer[step->actions[j].value];
        *writer = *writer == NONE || *writer == i ? i : VALUE_SHARED;
      }
    }
  }
}

/* ---- Lives ---- */

static void give_lives(struct problem *problem) {
  struct fact_table *facts = problem->facts;
  uint32_t count = 1;
  for (uint32_t i = 0; i < problem->step_count; i++) {
    struct step *step = &problem->steps[i];
    const struct action *action = step->actions;
    step->life = NONE;
    step->group = NONE;
    bool makes = action->kind == OPERATION_MKDIR || action->kind == OPERATION_CREATE;
    if (makes && !step->batch && step->role != ROLE_OBSERVATION && action->path != NONE &&
        action->path != PATH_ROOT) {
      step->life = count;
      count += action->parents ? problem->paths[action->path].depth : 1;
    }
  }
  facts->lives = region_take(problem->region, count * sizeof *facts->lives);
  facts->life_count = count;
  facts->root_life = 0;
  facts->lives[0].maker = NONE;
  for (uint32_t i = 0; i < problem->step_count; i++) {
    const struct step *step = &problem->steps[i];
    if (step->life != NONE) {
      uint32_t lives = step->actions[0].parents ? problem->paths[step->actions[0].path].depth : 1;
      for (uint32_t j = 0; j < lives; j++) {
        facts->lives[step->life + j].maker = i;
      }
    }
  }
}

/* What may ever stand at a path. */
struct tenancy {
  uint32_t makers; /* lives that may begin there, 2 for many */
  uint32_t life;   /* of one maker; of a definite one if there is one */
  bool definite;   /* `life` certainly stood there */
  bool moved_in;   /* a rename to here, or to above */
  bool removed;    /* a removal or rename away, here or above; a create over a file */
};

static void note_maker(struct tenancy *tenancy, uint32_t life, bool definite) {
  if (tenancy->makers < 2) {
    tenancy->makers++;
  }
  if (tenancy->life == NONE || definite) {
    tenancy->life = life;
    tenancy->definite = definite;
  }
}

static void note_action(const struct problem *problem, struct tenancy *tenancies, const struct step *step,
                        const struct action *action) {
  if (action->path == NONE) {
    return;
  }
  struct tenancy *tenancy = &tenancies[action->path];
  switch (action->kind) {
  case OPERATION_MKDIR:
  case OPERATION_CREATE: {
    if (step->life == NONE) { /* part of a batch: it makes something, but has no life of its own */
      tenancy->makers = 2;
      tenancy->moved_in = true;
    }
    bool own = (action->expected.seen & SEEN_CREATOR) && step->creator != ROOT_CREATOR;
    bool surely = step->role == ROLE_MUTATION && !step->batch && (!action->exist_ok || own);
    uint32_t lives = action->parents ? problem->paths[action->path].depth : 1;
    uint32_t at = action->path;
    for (uint32_t j = lives; j-- > 0; at = problem->paths[at].parent) {
      note_maker(&tenancies[at], step->life == NONE ? NONE : step->life + j, surely && at == action->path);
      tenancies[at].moved_in |= step->life == NONE;
    }
    tenancy->removed |= action->overwrite;
    return;
  }
  case OPERATION_DELETE:
    tenancy->removed = true;
    return;
  case OPERATION_RENAME:
    tenancy->removed = true;
    if (action->destination != NONE) {
      tenancies[action->destination].moved_in = true;
    }
    return;
  default:
    return;
  }
}

/* A life is the only one of its path when nothing is ever moved there and either it alone can begin there, or
 * it certainly did and nothing ever leaves. */
static void find_path_lives(struct problem *problem) {
  struct tenancy *tenancies = xcalloc(problem->path_count, sizeof *tenancies);
  for (uint32_t i = 0; i < problem->path_count; i++) {
    tenancies[i].life = NONE;
  }
  for (uint32_t i = 0; i < problem->step_count; i++) {
    const struct step *step = &problem->steps[i];
    for (uint32_t j = 0; j < step->action_count && step->role != ROLE_OBSERVATION; j++) {
      note_action(problem, tenancies, step, &step->actions[j]);
    }
  }
  problem->facts->path_life = region_take(problem->region, problem->path_count * sizeof(uint32_t));
  problem->facts->path_life[PATH_ROOT] = problem->facts->root_life;
  for (uint32_t i = 1; i < problem->path_count; i++) {
    struct tenancy *tenancy = &tenancies[i];
    tenancy->moved_in |= tenancies[problem->paths[i].parent].moved_in;
    tenancy->removed |= tenancies[problem->paths[i].parent].removed;
    bool only = tenancy->makers == 1 || (tenancy->definite && !tenancy->removed);
    problem->facts->path_life[i] = !tenancy->moved_in && only ? tenancy->life : NONE;
  }
  free(tenancies);
}

void facts_attribute(struct problem *problem, uint32_t *due) {
  problem->facts = region_take(problem->region, sizeof *problem->facts);
  problem->facts->impossible = NONE;
  problem->facts->witness = NONE;
  problem->creator_public = region_take(problem->region, problem->creator_count);
  problem->value_public = region_take(problem->region, problem->values.count);
  problem->creator_public[ROOT_CREATOR] = true;
  problem->value_public[0] = true;
  struct attribution attribution = {problem, due, NULL};
  index_values(&attribution);
  for (uint32_t i = 0; i < problem->step_count; i++) {
    due[i] = problem->steps[i].deadline;
  }
  for (uint32_t i = 0; i < problem->step_count; i++) {
    const struct step *step = &problem->steps[i];
    for (uint32_t j = 0; j < step->action_count + (uint32_t)step->batch; j++) {
      see_answer(&attribution, i, &step->actions[j]);
    }
  }
  free(attribution.value_writer);
  give_lives(problem);
  find_path_lives(problem);
}

/* ---- Contradictions that need no search ---- */

static void find_contradiction(struct problem *problem, uint32_t step, uint32_t witness) {
  if (problem->facts->impossible == NONE) {
    problem->facts->impossible = step;
    problem->facts->witness = witness;
  }
}

/* Two answers about one version of one inode. */
static bool pictures_differ(const struct step *x, const struct step *y) {
  const struct action *a = x->actions, *b = y->actions;
  unsigned both = a->expected.seen & b->expected.seen;
  if (x->role == ROLE_MUTATION && y->role == ROLE_MUTATION) {
    return true; /* a version is made once */
  }
  if (x->role == ROLE_MUTATION || y->role == ROLE_MUTATION) {
    const struct action *set = x->role == ROLE_MUTATION ? a : b, *seen = x->role == ROLE_MUTATION ? b : a;
    return set->kind == OPERATION_SET && (seen->expected.seen & SEEN_VALUE) &&
           seen->expected.value != set->value;
  }
  return ((both & SEEN_VALUE) && a->expected.value != b->expected.value) ||
         ((both & SEEN_COMPLETED) && a->expected.completed != b->expected.completed) ||
         ((both & SEEN_ENTRIES) && a->expected.entries_complete && b->expected.entries_complete &&
          a->expected.entries_hash != b->expected.entries_hash);
}

/* Versions only grow: nobody may see one after somebody was told a later one, and nobody may have been told
 * it before the mutation that made it was asked. Walks from the last version to the first. */
static void contradict_life(struct problem *problem, const struct life *life) {
  const struct fact_table *facts = problem->facts;
  const struct step *steps = problem->steps;
  uint32_t soonest = NONE; /* of those who saw a later version, the one who was told first */
  for (uint32_t i = life->group_count; i-- > 0;) {
    const struct fact_group *group = &facts->groups[life->group_first + i];
    uint32_t soonest_here = soonest;
    for (uint32_t j = 0; j < group->count; j++) {
      uint32_t step = facts->observers[group->first + j], first = facts->observers[group->first];
      if (soonest != NONE && steps[step].invoked_at > steps[soonest].completed_at) {
        find_contradiction(problem, step, soonest);
      }
      if (j > 0 && pictures_differ(&steps[first], &steps[step])) {
        find_contradiction(problem, steps[first].invoked_at > steps[step].invoked_at ? first : step,
                           steps[first].invoked_at > steps[step].invoked_at ? step : first);
      }
      if (soonest_here == NONE || steps[step].completed_at < steps[soonest_here].completed_at) {
        soonest_here = step;
      }
    }
    for (uint32_t j = 0; j < group->count; j++) {
      uint32_t step = facts->observers[group->first + j];
      if (steps[step].role == ROLE_MUTATION && steps[step].invoked_at > steps[soonest_here].completed_at) {
        find_contradiction(problem, soonest_here, step);
      }
    }
    soonest = soonest_here;
  }
}

static void find_contradictions(struct problem *problem) {
  for (uint32_t i = 0; i < problem->facts->life_count; i++) {
    contradict_life(problem, &problem->facts->lives[i]);
  }
}

/* ---- Groups ---- */

/* The life that an inode made by `creator` and standing at `path` has. */
static uint32_t life_of_creator(const struct problem *problem, uint32_t creator, uint32_t path) {
  uint32_t maker = creator == ROOT_CREATOR ? NONE : problem->creator_step[creator];
  if (maker == NONE || problem->steps[maker].life == NONE) {
    return NONE;
  }
  /* With parents=true it may have made several inodes. */
  return problem->steps[maker].actions[0].parents ? problem->facts->path_life[path]
                                                  : problem->steps[maker].life;
}

static uint32_t life_of_answer(const struct problem *problem, const struct step *step) {
  const struct action *action = step->actions;
  const struct expectation *expected = &action->expected;
  if (step->batch || !action->expects || expected->code != ANSWER_OK || !(expected->seen & SEEN_VERSION) ||
      action->path == NONE) {
    return NONE;
  }
  if ((expected->seen & SEEN_CREATOR) && expected->creator != ROOT_CREATOR) {
    return life_of_creator(problem, expected->creator, action->path);
  }
  return problem->facts->path_life[action->path];
}

struct sighting {
  uint32_t life, step;
  uint64_t version;
};

static int compare_sightings(const void *x, const void *y) {
  const struct sighting *a = x, *b = y;
  if (a->life != b->life) {
    return a->life < b->life ? -1 : 1;
  }
  if (a->version != b->version) {
    return a->version < b->version ? -1 : 1;
  }
  return a->step < b->step ? -1 : a->step > b->step;
}

static void note_last_seen(struct problem *problem, const struct step *step) {
  const struct action *action = step->actions;
  if (step->batch || !action->expects || action->expected.code != ANSWER_OK) {
    return;
  }
  struct life *lives = problem->facts->lives;
  for (uint32_t i = 0; i < action->expected.entry_count; i++) {
    const struct entry *entry = &action->expected.entries[i];
    uint32_t life = entry->has_creator && entry->path != NONE
                        ? life_of_creator(problem, entry->creator, entry->path)
                        : NONE;
    if (life != NONE && lives[life].last_seen < step->invoke) {
      lives[life].last_seen = step->invoke;
      lives[life].last_seer = (uint32_t)(step - problem->steps);
    }
  }
  if ((action->expected.seen & SEEN_CREATOR) && action->expected.creator != step->creator &&
      action->path != NONE) {
    uint32_t life = life_of_creator(problem, action->expected.creator, action->path);
    if (life != NONE && lives[life].last_seen < step->invoke) {
      lives[life].last_seen = step->invoke;
      lives[life].last_seer = (uint32_t)(step - problem->steps);
    }
  }
}

void facts_compile(struct problem *problem) {
  struct fact_table *facts = problem->facts;
  struct sighting *sightings = xmalloc((problem->step_count + 1) * sizeof *sightings);
  uint32_t count = 0;
  for (uint32_t i = 0; i < problem->step_count; i++) {
    const struct step *step = &problem->steps[i];
    uint32_t life = life_of_answer(problem, step);
    if (life != NONE) {
      sightings[count++] = (struct sighting){life, i, step->actions[0].expected.version};
    }
    note_last_seen(problem, step);
  }
  qsort(sightings, count, sizeof *sightings, compare_sightings);
  facts->groups = region_take(problem->region, (count + 1) * sizeof *facts->groups);
  facts->observers = region_take(problem->region, (count + 1) * sizeof *facts->observers);
  for (uint32_t i = 0; i < count; i++) {
    const struct sighting *sighting = &sightings[i];
    if (i == 0 || sighting->life != sightings[i - 1].life || sighting->version != sightings[i - 1].version) {
      struct life *life = &facts->lives[sighting->life];
      if (life->group_count++ == 0) {
        life->group_first = facts->group_count;
      }
      facts->groups[facts->group_count++] = (struct fact_group){sighting->version, sighting->life, i, 0};
    }
    facts->groups[facts->group_count - 1].count++;
    facts->observers[i] = sighting->step;
    problem->steps[sighting->step].group = facts->group_count - 1;
  }
  free(sightings);
  find_contradictions(problem);
}

/* ---- During the search ---- */

void watch_init(struct watch *watch, const struct problem *problem) {
  const struct fact_table *facts = problem->facts;
  watch->group_left = xcalloc(facts->group_count + 1, sizeof(uint32_t));
  watch->life_left = xcalloc(facts->life_count, sizeof(uint32_t));
  for (uint32_t i = 0; i < facts->group_count; i++) {
    watch->group_left[i] = facts->groups[i].count;
    watch->life_left[facts->groups[i].life] += facts->groups[i].count;
  }
}

void watch_free(struct watch *watch) {
  free(watch->group_left);
  free(watch->life_left);
}

/* Somebody who saw the life and is not placed yet. */
static uint32_t open_observer(const struct fact_table *facts, const struct life *life, const bool *placed) {
  for (uint32_t i = 0; i < life->group_count; i++) {
    const struct fact_group *group = &facts->groups[life->group_first + i];
    for (uint32_t j = 0; j < group->count; j++) {
      if (!placed[facts->observers[group->first + j]]) {
        return facts->observers[group->first + j];
      }
    }
  }
  return NONE;
}

/* Nobody still needs an inode that is gone for good, nor anything below it. */
static bool removal_permitted(const struct watch *watch, const struct tree *tree, uint32_t root,
                              const bool *placed, uint32_t event, struct objection *objection) {
  const struct fact_table *facts = tree->problem->facts;
  uint32_t at = root;
  while (true) {
    const struct node *node = &tree->nodes[at];
    if (node->life != NONE &&
        (watch->life_left[node->life] > 0 || facts->lives[node->life].last_seen > event)) {
      uint32_t observer = open_observer(facts, &facts->lives[node->life], placed);
      *objection =
          (struct objection){OBJECTION_ENDS, observer == NONE ? facts->lives[node->life].last_seer : observer,
                             node->inode.version};
      return false;
    }
    if (node->first_child != NONE) {
      at = node->first_child;
      continue;
    }
    while (at != root && tree->nodes[at].next_sibling == NONE) {
      at = tree->nodes[at].parent;
    }
    if (at == root) {
      return true;
    }
    at = tree->nodes[at].next_sibling;
  }
}

/* Nobody still needs the version that was left, and the one that was reached looks as they saw it. */
static bool touch_permitted(const struct watch *watch, const struct tree *tree, const struct touch *touch,
                            const bool *placed, struct objection *objection) {
  const struct fact_table *facts = tree->problem->facts;
  const struct node *node = &tree->nodes[touch->node];
  const struct life *life = &facts->lives[node->life];
  uint32_t end = life->group_first + life->group_count;
  const struct fact_group *left = &facts->groups[touch->group];
  if (touch->group < end && left->version == touch->version && watch->group_left[touch->group] > 0) {
    const struct life one = {.group_first = touch->group, .group_count = 1};
    *objection = (struct objection){OBJECTION_LEAVES, open_observer(facts, &one, placed), touch->version};
    return false;
  }
  uint32_t group = node->inode.group;
  if (group >= end || facts->groups[group].version != node->inode.version || watch->group_left[group] == 0) {
    return true;
  }
  for (uint32_t j = 0; j < facts->groups[group].count; j++) {
    uint32_t observer = facts->observers[facts->groups[group].first + j];
    const struct step *step = &tree->problem->steps[observer];
    if (!placed[observer] &&
        (step->role != ROLE_OBSERVATION || !model_node_fits(tree, touch->node, step->actions))) {
      *objection = (struct objection){OBJECTION_DIFFERS, observer, node->inode.version};
      return false;
    }
  }
  return true;
}

bool facts_permit(const struct watch *watch, const struct tree *tree, const bool *placed, uint32_t event,
                  struct objection *objection) {
  for (uint32_t i = 0; i < tree->touch_count; i++) {
    if (!touch_permitted(watch, tree, &tree->touches[i], placed, objection)) {
      return false;
    }
  }
  for (uint32_t i = 0; i < tree->removal_count; i++) {
    if (!removal_permitted(watch, tree, tree->removals[i], placed, event, objection)) {
      return false;
    }
  }
  return true;
}
