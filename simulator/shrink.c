/* shrink.c: the smallest plan that still shows what a larger one showed.
 *
 * Delta debugging (Zeller and Hildebrandt, TSE 2002) over everything a plan has: it is cut behind the
 * evidence, then loses faults, clients, operations, bad weather and strange parameters, a piece at a time,
 * large pieces first; what takes the evidence away is put back. When nothing more can go, it is done.
 *
 * A run is a function of its plan, so every step is certain, and the whole is a function too. Nothing ever
 * grows: each attempt takes away. */
#include <assert.h>
#include <stdlib.h>

#include "simulator/plan.h"

#define FAULTS_GOAL 5
#define DURATION_GOAL_NS (10 * NS_PER_S)
#define OTHER_SEEDS 8

struct shrinker {
  shrink_run *run;
  void *run_context;
  size_t runs, runs_max;
  void (*progress)(void *context, const struct shrink_progress *progress);
  void *context;
  enum evidence evidence;
  char invariant[32];
  size_t other_seeds; /* that a candidate is tried with, too */
  struct plan best;
  /* of the best plan's run */
  uint64_t operations;
  int64_t at_ns;
};

static void tell(const struct shrinker *shrinker) {
  const struct shrink_progress progress = {.runs = shrinker->runs,
                                           .faults = shrinker->best.fault_count,
                                           .operations = (size_t)shrinker->operations};
  if (shrinker->progress)
    shrinker->progress(shrinker->context, &progress);
}

static bool spent(const struct shrinker *shrinker) {
  return shrinker->runs >= shrinker->runs_max;
}

static struct plan copy_best(const struct shrinker *shrinker) {
  struct plan copy;
  plan_copy(&shrinker->best, &copy);
  return copy;
}

/* Runs the candidate, which becomes the best if it shows the same; takes what it owns. */
static bool attempt(struct shrinker *shrinker, struct plan *candidate) {
  struct simulation_result result = {0};
  bool same = false;
  if (!spent(shrinker)) {
    shrinker->runs++;
    shrinker->run(shrinker->run_context, candidate, false, &result);
    same = result.evidence == shrinker->evidence && strcmp(result.invariant, shrinker->invariant) == 0;
  }
  if (same) {
    plan_free(&shrinker->best);
    shrinker->best = *candidate;
    shrinker->operations = result.operations;
    shrinker->at_ns = result.at_ns;
    tell(shrinker);
  } else {
    plan_free(candidate);
  }
  simulation_result_free(&result);
  return same;
}

/* ---- Shorter ---- */

static bool cut_at(struct shrinker *shrinker, int64_t duration_ns) {
  if (duration_ns <= 0 || duration_ns >= shrinker->best.duration_ns)
    return false;
  struct plan candidate = copy_best(shrinker);
  candidate.duration_ns = duration_ns;
  while (candidate.fault_count > 0 && candidate.faults[candidate.fault_count - 1].at_ns >= duration_ns)
    candidate.fault_count--;
  return attempt(shrinker, &candidate);
}

static bool shorten(struct shrinker *shrinker) {
  /* What happened up to the evidence does not depend on what was planned for later. */
  bool better = cut_at(shrinker, shrinker->at_ns + 1);
  for (int64_t step_ns = shrinker->best.duration_ns / 2; step_ns >= 100 * NS_PER_MS && !spent(shrinker);
       step_ns /= 2)
    while (cut_at(shrinker, shrinker->best.duration_ns - step_ns))
      better = true;
  return better;
}

/* The time before a fault goes, or as much of it as can. */
static bool close_gap(struct shrinker *shrinker, size_t which) {
  bool better = false;
  for (int64_t part = 1; part <= 8 && !spent(shrinker);) {
    const struct planned_fault *faults = shrinker->best.faults;
    const int64_t gap_ns = faults[which].at_ns - (which > 0 ? faults[which - 1].at_ns : 0);
    const int64_t less_ns = gap_ns / part / NS_PER_US * NS_PER_US;
    if (less_ns < 10 * NS_PER_MS || less_ns >= shrinker->best.duration_ns)
      return better;
    struct plan candidate = copy_best(shrinker);
    for (size_t i = which; i < candidate.fault_count; i++)
      candidate.faults[i].at_ns -= less_ns;
    candidate.duration_ns -= less_ns;
    if (attempt(shrinker, &candidate))
      better = true;
    else
      part *= 2;
  }
  return better;
}

static bool close_gaps(struct shrinker *shrinker) {
  bool better = false;
  for (size_t i = 0; i < shrinker->best.fault_count && !spent(shrinker); i++)
    better |= close_gap(shrinker, i);
  return better;
}

/* ---- Fewer ----
 *
 * Items are taken out in runs of a length, and the length is halved when all have been tried: what is left
 * in the end are items of which none can go alone. `without` makes the candidate that lacks the items
 * [from, to) of `count`. */

static bool thin_out(struct shrinker *shrinker, size_t (*count)(const struct shrinker *shrinker),
                     void (*without)(struct plan *candidate, size_t from, size_t to)) {
  bool better = false;
  for (size_t length = count(shrinker); length > 0; length /= 2)
    for (size_t end = count(shrinker); end > 0 && !spent(shrinker);) {
      const size_t from = end > length ? end - length : 0;
      bool gone = false;
      for (size_t other = 0; other <= shrinker->other_seeds && !gone && !spent(shrinker); other++) {
        struct plan candidate = copy_best(shrinker);
        without(&candidate, from, end);
        candidate.seed += other;
        gone = attempt(shrinker, &candidate);
      }
      better |= gone;
      end = from;
      if (end > count(shrinker))
        end = count(shrinker);
    }
  return better;
}

static size_t count_faults(const struct shrinker *shrinker) {
  return shrinker->best.fault_count;
}

static void without_faults(struct plan *candidate, size_t from, size_t to) {
  memmove(candidate->faults + from, candidate->faults + to,
          (candidate->fault_count - to) * sizeof *candidate->faults);
  candidate->fault_count -= to - from;
}

static bool fewer_faults(struct shrinker *shrinker) {
  return thin_out(shrinker, count_faults, without_faults);
}

/* The n-th operation that is not omitted. */
static size_t count_operations(const struct shrinker *shrinker) {
  const struct plan *best = &shrinker->best;
  assert(best->omitted_count <= best->operations);
  return (size_t)best->operations - best->omitted_count;
}

/* Omits the operations from the `from`-th to before the `to`-th of those that are still done. */
static void without_operations(struct plan *candidate, size_t from, size_t to) {
  const size_t room = candidate->omitted_count + (to - from);
  uint64_t *omitted = xmalloc((room + 1) * sizeof *omitted);
  size_t count = 0, done = 0, old = 0;
  for (uint64_t number = 0; number < candidate->operations; number++) {
    const bool gone = old < candidate->omitted_count && candidate->omitted[old] == number;
    old += gone;
    if (gone || (done >= from && done < to))
      omitted[count++] = number;
    done += !gone;
  }
  assert(count == room);
  free(candidate->omitted);
  candidate->omitted = omitted;
  candidate->omitted_count = count;
}

/* The last ones are not omitted but never drawn. */
static bool limit_operations(struct shrinker *shrinker, uint64_t operations) {
  if (operations >= shrinker->best.operations)
    return false;
  struct plan candidate = copy_best(shrinker);
  candidate.operations = operations;
  while (candidate.omitted_count > 0 && candidate.omitted[candidate.omitted_count - 1] >= operations)
    candidate.omitted_count--;
  return attempt(shrinker, &candidate);
}

static bool fewer_operations(struct shrinker *shrinker) {
  bool better = limit_operations(shrinker, shrinker->operations + shrinker->best.omitted_count);
  for (uint64_t step = shrinker->best.operations / 2; step > 0 && !spent(shrinker); step /= 2)
    while (step <= shrinker->best.operations && limit_operations(shrinker, shrinker->best.operations - step))
      better = true;
  return thin_out(shrinker, count_operations, without_operations) || better;
}

/* ---- Simpler ----
 *
 * A simplification changes one thing of the candidate to what it is on a good day; false when it is that
 * already. */

#define CALM(member)                                                                                         \
  static bool calm_##member(struct plan *plan) {                                                             \
    const struct weather calm = plan_calm_weather();                                                         \
    const bool changes = plan->weather.member > calm.member;                                                 \
    if (changes)                                                                                             \
      plan->weather.member = calm.member;                                                                    \
    return changes;                                                                                          \
  }
CALM(loss)
CALM(duplication)
CALM(delay_ns)
CALM(jitter_ns)
CALM(slow_frame)
CALM(disk_ns)
CALM(disk_jitter_ns)
CALM(disk_stall)
CALM(store_ns)

static bool calm_drift(struct plan *plan) {
  bool changes = false;
  for (size_t i = 0; i < SIMULATOR_NODES_MAX; i++) {
    changes |= plan->weather.clock_drift[i] != 0;
    plan->weather.clock_drift[i] = 0;
  }
  return changes;
}

static bool calm_everything(struct plan *plan) {
  bool changes = calm_drift(plan);
  changes |= calm_loss(plan);
  changes |= calm_duplication(plan);
  changes |= calm_delay_ns(plan);
  changes |= calm_jitter_ns(plan);
  changes |= calm_slow_frame(plan);
  changes |= calm_disk_ns(plan);
  changes |= calm_disk_jitter_ns(plan);
  changes |= calm_disk_stall(plan);
  changes |= calm_store_ns(plan);
  return changes;
}

static bool three_nodes(struct plan *plan) {
  if (plan->nodes == 3)
    return false;
  plan->nodes = 3;
  if (plan->members > plan->nodes)
    plan->members = plan->nodes;
  for (size_t i = 3; i < SIMULATOR_NODES_MAX; i++)
    plan->weather.clock_drift[i] = 0;
  for (size_t i = 0; i < plan->fault_count; i++)
    plan->faults[i].node %= 3;
  return true;
}

static bool raise_to(uint64_t *member, uint64_t ordinary) {
  const bool changes = *member < ordinary;
  if (changes)
    *member = ordinary;
  return changes;
}

static bool no_snapshots(struct plan *plan) {
  const bool changes = raise_to(&plan->snapshot_threshold, PLAN_THRESHOLD);
  raise_to(&plan->snapshot_trailing, PLAN_TRAILING);
  return changes;
}

static bool large_segments(struct plan *plan) {
  return raise_to(&plan->segment_size, PLAN_SEGMENT);
}

static bool large_caches(struct plan *plan) {
  bool changes = raise_to(&plan->cache_size, PLAN_CACHE);
  changes |= raise_to(&plan->row_cache_size, PLAN_ROWS);
  return changes;
}

static bool large_writes(struct plan *plan) {
  return raise_to(&plan->write_size, PLAN_WRITE);
}

static bool patient(struct plan *plan) {
  const bool changes = plan->request_timeout_ns != PLAN_REQUEST_TIMEOUT_NS ||
                       plan->attempt_timeout_ns != PLAN_ATTEMPT_TIMEOUT_NS;
  plan->request_timeout_ns = PLAN_REQUEST_TIMEOUT_NS;
  plan->attempt_timeout_ns = PLAN_ATTEMPT_TIMEOUT_NS;
  return changes;
}

static bool one_set(struct plan *plan) {
  const bool changes = plan->operations_per_set != 0;
  plan->operations_per_set = 0;
  return changes;
}

static bool no_silence(struct plan *plan) {
  const bool changes = plan->silence_ns > 0;
  plan->silence_ns = 0;
  return changes;
}

static bool think_less(struct plan *plan) {
  const bool changes = plan->think_ns >= 2 * NS_PER_MS;
  if (changes)
    plan->think_ns /= 2;
  return changes;
}

static bool no_reports(struct plan *plan) {
  const bool changes = plan->reports;
  plan->reports = false;
  return changes;
}

static bool (*const simplifications[])(struct plan *plan) = {
    three_nodes,     calm_everything, calm_loss,      calm_duplication, calm_slow_frame,     calm_drift,
    calm_disk_stall, calm_delay_ns,   calm_jitter_ns, calm_disk_ns,     calm_disk_jitter_ns, calm_store_ns,
    no_snapshots,    large_segments,  large_caches,   large_writes,     no_silence,          think_less,
    patient,         one_set,         no_reports,
};

static bool simplify(struct shrinker *shrinker, bool (*simplification)(struct plan *plan)) {
  for (size_t other = 0; other <= shrinker->other_seeds && !spent(shrinker); other++) {
    struct plan candidate = copy_best(shrinker);
    candidate.seed += other;
    if (!simplification(&candidate)) {
      plan_free(&candidate);
      return false;
    }
    if (attempt(shrinker, &candidate))
      return true;
  }
  return false;
}

static bool simpler(struct shrinker *shrinker) {
  bool better = false;
  for (size_t i = 0; i < ARRAY_SIZE(simplifications) && !spent(shrinker); i++)
    better |= simplify(shrinker, simplifications[i]);
  return better;
}

static bool fewer_clients(struct shrinker *shrinker) {
  for (size_t clients = 1; clients < shrinker->best.clients && !spent(shrinker); clients++) {
    struct plan candidate = copy_best(shrinker);
    candidate.clients = clients;
    if (candidate.any_readers > clients)
      candidate.any_readers = clients;
    if (attempt(shrinker, &candidate))
      return true;
  }
  return false;
}

static bool fewer_any_readers(struct shrinker *shrinker) {
  for (size_t readers = 0; readers < shrinker->best.any_readers && !spent(shrinker); readers++) {
    struct plan candidate = copy_best(shrinker);
    candidate.any_readers = readers;
    if (attempt(shrinker, &candidate))
      return true;
  }
  return false;
}

/* ---- Smaller faults ---- */

static bool try_fault(struct shrinker *shrinker, size_t which, const struct planned_fault *fault) {
  struct plan candidate = copy_best(shrinker);
  candidate.faults[which] = *fault;
  return attempt(shrinker, &candidate);
}

static size_t breadth(enum simulated_target target) {
  return target == TARGET_ALL        ? 4
         : target == TARGET_MAJORITY ? 3
         : target == TARGET_MINORITY ? 2
         : target == TARGET_LAST     ? 1
                                     : 0;
}

static bool narrow_target(struct shrinker *shrinker, size_t which) {
  static const enum simulated_target narrower[] = {TARGET_PRIMARY, TARGET_FOLLOWER, TARGET_MINORITY,
                                                   TARGET_MAJORITY};
  for (size_t i = 0; i < ARRAY_SIZE(narrower); i++) {
    struct planned_fault fault = shrinker->best.faults[which];
    if (breadth(narrower[i]) >= breadth(fault.target))
      continue;
    fault.target = narrower[i];
    if (try_fault(shrinker, which, &fault))
      return true;
  }
  return false;
}

static bool smaller_faults(struct shrinker *shrinker) {
  bool better = false;
  for (size_t i = 0; i < shrinker->best.fault_count && !spent(shrinker); i++) {
    better |= shrinker->best.faults[i].fault != SIMULATED_STORM && narrow_target(shrinker, i);
    for (;;) {
      struct planned_fault fault = shrinker->best.faults[i];
      fault.for_ns = fault.for_ns / 2 / NS_PER_US * NS_PER_US;
      if (fault.for_ns < NS_PER_MS || !try_fault(shrinker, i, &fault))
        break;
      better = true;
    }
  }
  return better;
}

/* ---- By chance ----
 *
 * What chance must do for the evidence to show is the likelier to be missing, the more is taken away at once.
 * So when more is left than a person can follow, what was tried in vain is tried with other seeds. */

static bool by_chance(struct shrinker *shrinker) {
  bool better = false;
  shrinker->other_seeds = OTHER_SEEDS;
  if (shrinker->best.fault_count > FAULTS_GOAL)
    better |= fewer_faults(shrinker);
  if (shrinker->best.duration_ns > DURATION_GOAL_NS)
    better |= simplify(shrinker, no_silence) || simplify(shrinker, think_less);
  shrinker->other_seeds = 0;
  return better;
}

/* ---- All of it ---- */

static void shrink(struct shrinker *shrinker) {
  bool better = true;
  while (better && !spent(shrinker)) {
    better = shorten(shrinker);
    better |= fewer_faults(shrinker);
    better |= close_gaps(shrinker);
    better |= fewer_clients(shrinker);
    better |= fewer_any_readers(shrinker);
    better |= fewer_operations(shrinker);
    better |= simpler(shrinker);
    better |= smaller_faults(shrinker);
    if (!better)
      better = by_chance(shrinker);
  }
}

void plan_shrink_with(const struct plan *plan, shrink_run *run, void *run_context, size_t runs_max,
                      void (*progress)(void *context, const struct shrink_progress *progress), void *context,
                      struct plan *smaller, struct simulation_result *result) {
  struct shrinker shrinker = {.run = run,
                              .run_context = run_context,
                              .runs = 1,
                              /* the last run is one of them */
                              .runs_max = runs_max > 0 ? runs_max - 1 : 0,
                              .progress = progress,
                              .context = context};
  struct simulation_result first = {0};
  plan_copy(plan, &shrinker.best);
  run(run_context, plan, false, &first);
  shrinker.evidence = first.evidence;
  memcpy(shrinker.invariant, first.invariant, sizeof shrinker.invariant);
  shrinker.operations = first.operations;
  shrinker.at_ns = first.at_ns;
  simulation_result_free(&first);
  if (shrinker.evidence != EVIDENCE_NONE && shrinker.evidence != EVIDENCE_UNKNOWN)
    shrink(&shrinker);
  *smaller = shrinker.best;
  run(run_context, smaller, true, result);
}

struct simulator_runs {
  const struct simulation_options *options;
  struct simulation_options brief;
  bool known; /* what the plan shows */
};

/* Once an invariant is what the plan shows, no history need be checked to see whether it still does. */
static void run_simulator(void *context, const struct plan *plan, bool last,
                          struct simulation_result *result) {
  struct simulator_runs *runs = context;
  simulate(plan, last ? runs->options : &runs->brief, result);
  if (!runs->known)
    runs->brief.check = result->evidence == EVIDENCE_HISTORY;
  runs->known = true;
}

void plan_shrink(const struct plan *plan, const struct simulation_options *options, size_t runs_max,
                 void (*progress)(void *context, const struct shrink_progress *progress), void *context,
                 struct plan *smaller, struct simulation_result *result) {
  struct simulator_runs runs = {.options = options, .brief = *options};
  runs.brief.minimise = runs.brief.keep_history = false;
  runs.brief.until = runs.brief.break_at = 0;
  runs.brief.trace = NULL;
  plan_shrink_with(plan, run_simulator, &runs, runs_max, progress, context, smaller, result);
}
