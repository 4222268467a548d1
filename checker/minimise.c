#include "checker/minimise.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "checker/explain.h"
#include "checker/facts.h"
#include "checker/step.h"
#include "checker/trial.h"

/* Time by the length of the history, on the clock of the wall: a second in all for 10 000 operations, not
 * more than ten. */
#define CULPRIT_TIME_MAX_NS (6 * NS_PER_S)
#define WEAKEN_TIME_MAX_NS (2 * NS_PER_S)
#define TIME_MIN_NS (300 * NS_PER_MS)
#define TIME_PER_OPERATION_NS 25000
#define TIMES_OF_THE_SEARCH 2
/* A try that takes longer than this many states counts as one that did not fail: what it would have dropped
 * stays. */
#define TRY_STATES 3000u
#define SURE_STATES 100000u
#define SMALL 8 /* operations of a counterexample that needs no other */
#define CULPRITS_MAX 16

struct minimiser {
  struct trial trial;
  int64_t time_ns;  /* for each way, the short ones less … */
  bool time_is_set; /* … unless somebody said how long */
  bool *definite;   /* kept answers, by position in the component */
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

/* ---- The shortest beginning ---- */

/* A search of a beginning that takes longer is not known to be fine: those that are hardly ever take more. */
static uint64_t fine_states(const struct minimiser *minimiser) {
  return 5000 + UINT64_C(4) * count_of(minimiser);
}

static bool is_fine_until(struct minimiser *minimiser, const uint8_t *treatments, uint64_t end) {
  minimiser->trial.end = (uint32_t)end;
  return trial_run(&minimiser->trial, treatments, fine_states(minimiser), NULL, NULL) == SEARCH_LINEARIZABLE;
}

/* Searches all of it. False when it is fine. Else `*passes` is raised to where the search had found an order,
 * unless it ended before it began: then `*end` is lowered to where that contradiction lies. */
static bool look_at_whole(struct minimiser *minimiser, const uint8_t *treatments, uint64_t *passes,
                          uint64_t *end) {
  struct search_result found;
  struct problem *problem;
  minimiser->trial.end = (uint32_t)*end;
  trial_run(&minimiser->trial, treatments, fine_states(minimiser), &found, &problem);
  const bool fine = found.end == SEARCH_LINEARIZABLE;
  if (!fine && found.event < problem->event_count) {
    const uint64_t reached = problem->events[found.event].original;
    if (problem->facts->impossible != NONE) {
      *end = reached + 1;
    } else if (reached > *passes) {
      *passes = reached;
    }
  }
  search_result_free(&found);
  problem_free(problem);
  return !fine;
}

/* Sets the trial's end to that of the shortest beginning of the history that is not known to be fine: without
 * its last answer it is, so that is a culprit. The search of the whole may give up earlier or later than
 * there, for what it knew of later answers. Beginnings up to `passes` are known to be fine. False when all is
 * fine, or time is over. */
static bool cut_end(struct minimiser *minimiser, const uint8_t *treatments, uint64_t passes) {
  const uint64_t all = minimiser->trial.failure->history->event_count;
  uint64_t end = all;
  if (!look_at_whole(minimiser, treatments, &passes, &end)) {
    return false;
  }
  for (uint64_t reach = 1; passes + reach < end; reach *= 4) {
    if (!is_fine_until(minimiser, treatments, passes + reach)) {
      end = passes + reach;
      break;
    }
    passes += reach;
  }
  while (end - passes > 1) {
    const uint64_t middle = passes + (end - passes) / 2;
    if (is_fine_until(minimiser, treatments, middle)) {
      passes = middle;
    } else {
      end = middle;
    }
  }
  minimiser->trial.end = (uint32_t)end;
  return !trial_is_over(&minimiser->trial);
}

/* ---- Weakening ---- */

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
  for (uint32_t first = 0; first < count && !trial_is_over(&minimiser->trial); first += size) {
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

/* ---- Plain contradictions ---- */

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

static void try_step_of(struct minimiser *minimiser, const struct problem *problem, uint32_t step) {
  if (step != NONE) {
    minimiser->tried[index_of(minimiser, problem, step)] = true;
  }
}

/* Two answers may contradict each other so plainly that no search is needed. Then they, and the one that made
 * the inode they speak of, are all there is to keep, if they do so whatever else took effect. */
static bool keep_plain(struct minimiser *minimiser) {
  struct search_result found;
  struct problem *problem;
  weaken_rest(minimiser, minimiser->definite);
  trial_run(&minimiser->trial, minimiser->treatments, 1, &found, &problem);
  const struct fact_table *facts = problem->facts;
  const uint32_t step = facts->impossible;
  memset(minimiser->tried, false, count_of(minimiser) * sizeof *minimiser->tried);
  if (step != NONE) {
    const uint32_t group = facts->witness == NONE ? NONE : problem->steps[step].group;
    try_step_of(minimiser, problem, step);
    try_step_of(minimiser, problem, facts->witness);
    try_step_of(minimiser, problem, group == NONE ? NONE : facts->lives[facts->groups[group].life].maker);
  }
  search_result_free(&found);
  problem_free(problem);
  if (step == NONE || !fails(minimiser, minimiser->tried, TRY_STATES)) {
    return false;
  }
  take_over(minimiser);
  return true;
}

/* ---- Culprits ---- */

static uint32_t last_answered(const struct minimiser *minimiser) {
  for (uint32_t i = 0; i < count_of(minimiser); i++) {
    if (trial_operation(&minimiser->trial, i)->complete_event + 1 == minimiser->trial.end) {
      return i;
    }
  }
  return NONE;
}

static uint32_t count_kept(const struct minimiser *minimiser, const uint8_t *treatments) {
  uint32_t kept = 0;
  for (uint32_t i = 0; i < count_of(minimiser); i++) {
    kept += treatments[i] == TREAT_KEEP && trial_is_answered(&minimiser->trial, i);
  }
  return kept;
}

/* One culprit after the other: when the company of one is large, its answer is taken away, and what fails
 * then has another. The smallest company of all goes to `treatments`; false when none is smaller than
 * `count`, which is lowered. */
static bool hunt_culprits(struct minimiser *minimiser, uint32_t *count, uint32_t *end) {
  const uint32_t all = count_of(minimiser);
  uint8_t *base = xmalloc(all + (size_t)1), *company = xmalloc(all + (size_t)1);
  uint64_t passes = 0;
  bool found = false;
  memset(base, TREAT_KEEP, all);
  uint32_t culprits = 0;
  while (*count > SMALL && culprits++ < CULPRITS_MAX && cut_end(minimiser, base, passes)) {
    const uint32_t culprit = last_answered(minimiser);
    if (culprit == NONE || trial_is_over(&minimiser->trial)) {
      break;
    }
    memcpy(company, base, all);
    if (culprit_company(&minimiser->trial, culprit, SMALL, company) &&
        count_kept(minimiser, company) < *count) {
      *count = count_kept(minimiser, company);
      *end = minimiser->trial.end;
      memcpy(minimiser->treatments, company, all);
      found = true;
    }
    base[culprit] = trial_is_mutation(&minimiser->trial, culprit) ? TREAT_UNKNOWN : TREAT_DROP;
    passes = minimiser->trial.end;
  }
  free(base);
  free(company);
  return found;
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

static void keep_company(struct minimiser *minimiser) {
  for (uint32_t i = 0; i < count_of(minimiser); i++) {
    minimiser->tried[i] = minimiser->treatments[i] == TREAT_KEEP && trial_is_answered(&minimiser->trial, i);
  }
}

/* From now on. */
static void allow_time(struct minimiser *minimiser, int64_t max_ns) {
  const bool shorter = max_ns < minimiser->time_ns && !minimiser->time_is_set;
  const int64_t time_ns = shorter ? max_ns : minimiser->time_ns;
  minimiser->trial.budget.deadline_ns = time_monotonic_ns() + time_ns;
}

/* The smallest company of a culprit that can be found: in `treatments`, with the trial's end and versions set
 * for it. Without versions first, which tie an answer to everything that ever happened to its inode. Returns
 * its size, NONE when there is none. */
static uint32_t find_company(struct minimiser *minimiser) {
  uint32_t count = NONE, end = minimiser->trial.end;
  bool versions = true;
  for (int with = 0; with <= 1 && (count == NONE || count > SMALL); with++) {
    minimiser->trial.versions = with == 1;
    allow_time(minimiser, CULPRIT_TIME_MAX_NS / 2);
    if (hunt_culprits(minimiser, &count, &end)) {
      versions = with == 1;
    }
  }
  minimiser->trial.versions = versions;
  minimiser->trial.end = end;
  return count;
}

/* A company's answers may be enough whatever else took effect; or those of all operations on its paths. */
static bool weaken_company(struct minimiser *minimiser) {
  if (!fails(minimiser, minimiser->tried, TRY_STATES)) {
    uint32_t listed = 0;
    for (uint32_t i = 0; i < count_of(minimiser); i++) {
      if (minimiser->tried[i]) {
        minimiser->list[listed++] = i;
      }
    }
    for (uint32_t i = 0; i < count_of(minimiser); i++) {
      const struct operation *operation = trial_operation(&minimiser->trial, i);
      for (uint32_t j = 0; j < listed && !minimiser->tried[i] && trial_is_answered(&minimiser->trial, i);
           j++) {
        const struct operation *other = trial_operation(&minimiser->trial, minimiser->list[j]);
        minimiser->tried[i] = arguments_related(&operation->arguments, &other->arguments);
      }
    }
    if (!fails(minimiser, minimiser->tried, TRY_STATES)) {
      return false;
    }
  }
  take_over(minimiser);
  drop_answers(minimiser);
  return true;
}

/* Whether all definite answers fail whatever else took effect, made few; the trial's end and versions are set
 * for them. */
static bool weaken(struct minimiser *minimiser) {
  minimiser->trial.versions = true;
  minimiser->trial.end = minimiser->trial.failure->history->event_count;
  weaken_rest(minimiser, minimiser->definite);
  if (!cut_end(minimiser, minimiser->treatments, 0) || !fails(minimiser, minimiser->definite, SURE_STATES)) {
    minimiser->trial.end = minimiser->trial.failure->history->event_count;
    return false;
  }
  minimiser->trial.versions = false;
  minimiser->trial.versions = !fails(minimiser, minimiser->definite, SURE_STATES);
  drop_answers(minimiser);
  return true;
}

/* The contradiction that can be had without a search; else a culprit, of which the answers may be enough
 * whatever else took effect; else, if they are few, answers that are. */
static bool minimise_thoroughly(struct minimiser *minimiser) {
  allow_time(minimiser, WEAKEN_TIME_MAX_NS);
  if (keep_plain(minimiser)) {
    drop_answers(minimiser);
    return true;
  }
  const uint32_t count = find_company(minimiser);
  const bool versions = minimiser->trial.versions;
  const uint32_t end = minimiser->trial.end;
  uint8_t *company = xmalloc(count_of(minimiser) + (size_t)1);
  memcpy(company, minimiser->treatments, count_of(minimiser));
  allow_time(minimiser, WEAKEN_TIME_MAX_NS);
  keep_company(minimiser);
  const bool weakened =
      ((count != NONE && weaken_company(minimiser)) || weaken(minimiser)) &&
      (count == NONE || list_definite(minimiser) <= SMALL || list_definite(minimiser) <= count);
  if (!weakened && count != NONE) {
    memcpy(minimiser->treatments, company, count_of(minimiser));
    minimiser->trial.versions = versions;
    minimiser->trial.end = end;
  }
  free(company);
  return weakened || count == NONE;
}

/* Of what is definite, or of the company. */
static void conclude(struct minimiser *minimiser, bool weakened, struct check_result *result) {
  if (weakened) {
    weaken_rest(minimiser, minimiser->definite);
    cut_out(minimiser, minimiser->definite, result);
  } else {
    keep_company(minimiser);
    cut_out(minimiser, minimiser->tried, result);
  }
}

static int64_t time_for(const struct failure *failure, const struct check_result *result) {
  const int64_t by_length = (int64_t)failure->history->count * TIME_PER_OPERATION_NS;
  const int64_t by_search = (int64_t)(result->seconds * (double)NS_PER_S) * TIMES_OF_THE_SEARCH;
  const int64_t longer = by_length > by_search ? by_length : by_search;
  return longer > TIME_MIN_NS ? longer : TIME_MIN_NS;
}

void minimise(const struct failure *failure, const struct check_options *options,
              struct check_result *result) {
  struct minimiser minimiser = {.time_ns = options->minimise_time_ns, .time_is_set = true};
  if (minimiser.time_ns == 0) {
    minimiser.time_ns = time_for(failure, result);
    minimiser.time_is_set = false;
  }
  trial_init(&minimiser.trial, failure, WEAKEN_TIME_MAX_NS);
  minimiser.definite = xmalloc((failure->count + (size_t)1) * sizeof *minimiser.definite);
  minimiser.tried = xmalloc((failure->count + (size_t)1) * sizeof *minimiser.tried);
  minimiser.list = xmalloc((failure->count + (size_t)1) * sizeof *minimiser.list);
  minimiser.treatments = xmalloc(failure->count + (size_t)1);
  memset(minimiser.definite, true, failure->count * sizeof *minimiser.definite);
  memset(minimiser.treatments, TREAT_KEEP, failure->count);
  if (options->minimise) {
    conclude(&minimiser, minimise_thoroughly(&minimiser), result);
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
