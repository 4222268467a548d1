#include "checker/minimise.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "checker/explain.h"
#include "checker/facts.h"
#include "checker/step.h"
#include "checker/trial.h"

#define CUT_TIME_NS (8 * NS_PER_S)
#define WEAKEN_TIME_NS (4 * NS_PER_S)
#define CULPRIT_TIME_NS (15 * NS_PER_S)
/* A try that takes longer than this many states counts as one that did not fail: what it would have dropped
 * stays. */
#define TRY_STATES 3000u
#define SURE_STATES 100000u
#define SMALL 8 /* operations of a counterexample that needs no other */
#define LAST_ANSWERS 150
#define SUSPECTS_MAX (2 + 3 * OBSTACLES_MAX)

struct minimiser {
  struct trial trial;
  bool *definite; /* kept answers, by position in the component */
  bool *tried;
  uint32_t *list;
  uint8_t *treatments;
};

static uint32_t count_of(const struct minimiser *minimiser) {
  return minimiser->trial.failure->count;
}

/* Mutations whose answers are not kept may still have happened. */
static void weaken_rest(const struct minimiser *minimiser, const bool *definite) {
  for (uint32_t i = 0; i < count_of(minimiser); i++) {
    minimiser->treatments[i] = definite[i] && trial_is_answered(&minimiser->trial, i) ? TREAT_KEEP
                               : trial_is_mutation(&minimiser->trial, i)              ? TREAT_UNKNOWN
                                                                                      : TREAT_DROP;
  }
}

/* Whether the answers of `definite` alone keep the history from being linearizable. */
static bool fails(struct minimiser *minimiser, const bool *definite, uint64_t state_limit) {
  if (trial_is_over(&minimiser->trial)) {
    return false;
  }
  weaken_rest(minimiser, definite);
  return trial_run(&minimiser->trial, minimiser->treatments, state_limit, NULL, NULL) == SEARCH_IMPOSSIBLE;
}

static bool fails_until(struct minimiser *minimiser, uint64_t end) {
  minimiser->trial.end = (uint32_t)end;
  return fails(minimiser, minimiser->definite, SURE_STATES);
}

/* The shortest beginning of the history that fails as it stands: without its last answer it does not, so
 * whoever got that answer is a culprit. The search may have given up earlier than that, for what it knew of
 * later answers. */
static void cut_end(struct minimiser *minimiser) {
  const struct failure *failure = minimiser->trial.failure;
  const uint64_t all = failure->history->event_count;
  uint64_t passes = failure->event, end = failure->event + UINT64_C(1);
  for (uint64_t reach = 16; end < all && !fails_until(minimiser, end); reach *= 4) {
    passes = end;
    end = failure->event + reach;
  }
  end = end < all ? end : all;
  while (end - passes > 1) {
    const uint64_t middle = passes + (end - passes) / 2;
    if (fails_until(minimiser, middle)) {
      end = middle;
    } else {
      passes = middle;
    }
  }
  minimiser->trial.end = (uint32_t)end;
}

static void take_over(struct minimiser *minimiser) {
  memcpy(minimiser->definite, minimiser->tried, count_of(minimiser) * sizeof *minimiser->tried);
}

/* Keeps the answers of the last operations only, as few as will do. */
static void drop_old(struct minimiser *minimiser) {
  for (uint32_t window = 8; window < count_of(minimiser); window *= 2) {
    uint32_t kept = 0;
    for (uint32_t i = count_of(minimiser); i-- > 0;) {
      minimiser->tried[i] =
          kept < window && minimiser->definite[i] && trial_is_answered(&minimiser->trial, i);
      kept += minimiser->tried[i];
    }
    if (fails(minimiser, minimiser->tried, TRY_STATES)) {
      take_over(minimiser);
      return;
    }
  }
}

static uint32_t list_definite(const struct minimiser *minimiser) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < count_of(minimiser); i++) {
    if (minimiser->definite[i] && trial_is_answered(&minimiser->trial, i)) {
      minimiser->list[count++] = i;
    }
  }
  return count;
}

/* Delta debugging (Zeller and Hildebrandt, 2002), removals only. */
static bool drop_chunks(struct minimiser *minimiser, uint32_t size) {
  bool dropped = false;
  uint32_t count = list_definite(minimiser);
  for (uint32_t first = 0; first < count; first += size) {
    memcpy(minimiser->tried, minimiser->definite, count_of(minimiser) * sizeof *minimiser->tried);
    for (uint32_t i = first; i < first + size && i < count; i++) {
      minimiser->tried[minimiser->list[i]] = false;
    }
    if (fails(minimiser, minimiser->tried, TRY_STATES)) {
      take_over(minimiser);
      dropped = true;
    }
  }
  return dropped;
}

static void drop_answers(struct minimiser *minimiser) {
  drop_old(minimiser);
  for (uint32_t size = list_definite(minimiser) / 2; size > 1; size /= 2) {
    drop_chunks(minimiser, size);
  }
  while (drop_chunks(minimiser, 1)) {
  }
}

/* ---- A culprit ---- */

static uint32_t index_of(const struct minimiser *minimiser, const struct problem *problem, uint32_t step) {
  const struct failure *failure = minimiser->trial.failure;
  uint32_t low = 0, high = failure->count - 1;
  while (low < high) {
    uint32_t middle = (low + high) / 2;
    if (failure->positions[middle] < problem->steps[step].operation) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

/* Who got the last answer of the shortest beginning that fails; then, everything as it stands, who was in the
 * way of the search? Reads first, they are the likelier liars. */
static uint32_t find_suspects(struct minimiser *minimiser, uint32_t *suspects) {
  struct search_result found;
  struct problem *problem;
  memset(minimiser->treatments, TREAT_KEEP, count_of(minimiser));
  trial_run(&minimiser->trial, minimiser->treatments, SURE_STATES, &found, &problem);
  uint32_t steps[SUSPECTS_MAX], step_count = 0, count = 0;
  for (uint32_t i = 0; i < count_of(minimiser); i++) {
    if (trial_operation(&minimiser->trial, i)->complete_event + 1 == minimiser->trial.end) {
      suspects[count++] = i;
    }
  }
  if (found.stuck != NONE) {
    steps[step_count++] = found.stuck;
  }
  for (uint32_t i = 0; i < found.obstacle_count; i++) {
    steps[step_count++] = found.obstacles[i].step;
    if (found.obstacles[i].doomed && found.obstacles[i].objection.observer != NONE) {
      steps[step_count++] = found.obstacles[i].objection.observer;
    }
    if (!found.obstacles[i].doomed && found.obstacles[i].maker != NONE) {
      steps[step_count++] = found.obstacles[i].maker;
    }
  }
  for (int observations = 1; observations >= 0; observations--) {
    for (uint32_t i = 0; i < step_count; i++) {
      if ((problem->steps[steps[i]].role == ROLE_OBSERVATION) == (observations == 1)) {
        suspects[count++] = index_of(minimiser, problem, steps[i]);
      }
    }
  }
  search_result_free(&found);
  problem_free(problem);
  return count;
}

/* The answers that came last, last first. */
static uint32_t last_answers(const struct minimiser *minimiser, uint32_t *suspects) {
  uint32_t count = 0;
  for (uint32_t i = count_of(minimiser); i-- > 0 && count < LAST_ANSWERS;) {
    if (trial_is_answered(&minimiser->trial, i)) {
      suspects[count++] = i;
    }
  }
  return count;
}

static bool hunt_culprit(struct minimiser *minimiser) {
  uint32_t suspects[LAST_ANSWERS], culprit;
  _Static_assert(LAST_ANSWERS >= SUSPECTS_MAX, "room for both kinds");
  minimiser->trial.budget.deadline_ns = time_monotonic_ns() + CULPRIT_TIME_NS;
  uint32_t count = find_suspects(minimiser, suspects);
  bool found = culprit_find(&minimiser->trial, suspects, count, minimiser->treatments, &culprit);
  if (!found) {
    count = last_answers(minimiser, suspects);
    found = culprit_find(&minimiser->trial, suspects, count, minimiser->treatments, &culprit);
  }
  uint32_t kept = 0;
  for (uint32_t i = 0; i < count_of(minimiser); i++) {
    minimiser->tried[i] = minimiser->treatments[i] == TREAT_KEEP && trial_is_answered(&minimiser->trial, i);
    kept += minimiser->tried[i];
  }
  return found && kept < list_definite(minimiser);
}

/* ---- The result ---- */

/* The search once more over what is left, for its explanation. */
static void explain_rest(struct minimiser *minimiser, struct check_result *result) {
  struct search_result found;
  struct problem *problem;
  minimiser->trial.budget.deadline_ns = INT64_MAX;
  enum search_end end = trial_run(&minimiser->trial, minimiser->treatments, 0, &found, &problem);
  assert(end == SEARCH_IMPOSSIBLE);
  size_t unknown = 0;
  for (uint32_t i = 0; i < problem->step_count; i++) {
    unknown += problem->steps[i].role == ROLE_UNKNOWN;
  }
  result->explanation = explain(problem, &found, unknown);
  search_result_free(&found);
  problem_free(problem);
}

/* The definite operations; without their versions when the contradiction needs none. */
static void cut_out(struct minimiser *minimiser, const bool *definite, struct check_result *result) {
  const struct failure *failure = minimiser->trial.failure;
  bool *keep = xcalloc(failure->history->count + 1, sizeof *keep);
  for (uint32_t i = 0; i < failure->count; i++) {
    keep[failure->positions[i]] = definite[i] && trial_is_answered(&minimiser->trial, i);
  }
  result->counterexample = history_subset(failure->history, keep, NULL);
  for (size_t i = 0; i < result->counterexample->count && !minimiser->trial.versions; i++) {
    result->counterexample->operations[i].answer.seen &= ~(unsigned)SEEN_VERSION;
    result->counterexample->operations[i].arguments.has_if_version = false;
  }
  free(keep);
}

static void cut_out_component(const struct failure *failure, struct check_result *result) {
  bool *keep = xcalloc(failure->history->count + 1, sizeof *keep);
  for (uint32_t i = 0; i < failure->count; i++) {
    keep[failure->positions[i]] = true;
  }
  result->counterexample = history_subset(failure->history, keep, NULL);
  free(keep);
}

/* Two answers contradict each other so plainly that no search is needed: then the two are all there is to
 * keep, if they do so whatever else took effect. */
static bool keep_plain(struct minimiser *minimiser) {
  struct search_result found;
  struct problem *problem;
  weaken_rest(minimiser, minimiser->definite);
  trial_run(&minimiser->trial, minimiser->treatments, 1, &found, &problem);
  const uint32_t step = problem->facts->impossible;
  const bool plain = step != NONE;
  if (plain) {
    memset(minimiser->tried, false, count_of(minimiser) * sizeof *minimiser->tried);
    minimiser->tried[index_of(minimiser, problem, step)] = true;
    if (problem->facts->witness != NONE) {
      minimiser->tried[index_of(minimiser, problem, problem->facts->witness)] = true;
    }
  }
  search_result_free(&found);
  problem_free(problem);
  if (plain && fails(minimiser, minimiser->tried, TRY_STATES)) {
    take_over(minimiser);
  }
  return plain;
}

static void minimise_thoroughly(struct minimiser *minimiser, struct check_result *result) {
  cut_end(minimiser);
  minimiser->trial.budget.deadline_ns = time_monotonic_ns() + WEAKEN_TIME_NS;
  if (!keep_plain(minimiser)) {
    minimiser->trial.versions = false;
    minimiser->trial.versions = !fails(minimiser, minimiser->definite, SURE_STATES);
  }
  drop_answers(minimiser);
  if (list_definite(minimiser) > SMALL && hunt_culprit(minimiser)) {
    cut_out(minimiser, minimiser->tried, result);
  } else {
    if (list_definite(minimiser) > SMALL) {
      minimiser->trial.budget.deadline_ns = time_monotonic_ns() + CULPRIT_TIME_NS;
      drop_answers(minimiser);
    }
    weaken_rest(minimiser, minimiser->definite);
    cut_out(minimiser, minimiser->definite, result);
  }
}

void minimise(const struct failure *failure, bool thorough, struct check_result *result) {
  struct minimiser minimiser;
  trial_init(&minimiser.trial, failure, CUT_TIME_NS);
  minimiser.definite = xmalloc((failure->count + (size_t)1) * sizeof *minimiser.definite);
  minimiser.tried = xmalloc((failure->count + (size_t)1) * sizeof *minimiser.tried);
  minimiser.list = xmalloc((failure->count + (size_t)1) * sizeof *minimiser.list);
  minimiser.treatments = xmalloc(failure->count + (size_t)1);
  memset(minimiser.definite, true, failure->count * sizeof *minimiser.definite);
  memset(minimiser.treatments, TREAT_KEEP, failure->count);
  if (thorough) {
    minimise_thoroughly(&minimiser, result);
  } else {
    cut_out_component(failure, result);
  }
  explain_rest(&minimiser, result);
  free(minimiser.definite);
  free(minimiser.tried);
  free(minimiser.list);
  free(minimiser.treatments);
  trial_free(&minimiser.trial);
}
