#include "checker/trial.h"

#include <stdlib.h>
#include <string.h>

void trial_init(struct trial *trial, const struct failure *failure, int64_t time_ns) {
  *trial = (struct trial){.failure = failure, .versions = true, .end = failure->history->event_count};
  trial->budget.deadline_ns = time_monotonic_ns() + time_ns;
  trial->positions = xmalloc((failure->count + (size_t)1) * sizeof *trial->positions);
  trial->treatments = xmalloc(failure->count + (size_t)1);
}

void trial_free(struct trial *trial) {
  free(trial->positions);
  free(trial->treatments);
}

bool trial_is_over(const struct trial *trial) {
  return time_monotonic_ns() > trial->budget.deadline_ns;
}

bool trial_is_mutation(const struct trial *trial, uint32_t i) {
  const struct operation *operation = trial_operation(trial, i);
  return operation_is_mutation(operation->arguments.kind) && operation->outcome != OUTCOME_FAIL;
}

bool trial_is_answered(const struct trial *trial, uint32_t i) {
  const struct operation *operation = trial_operation(trial, i);
  return operation->outcome != OUTCOME_INFO && operation->complete_event < trial->end;
}

enum search_end trial_run(struct trial *trial, const uint8_t *treatments, uint64_t state_limit,
                          struct search_result *result, struct problem **problem) {
  const struct failure *failure = trial->failure;
  uint32_t kept = 0;
  for (uint32_t i = 0; i < failure->count; i++) {
    uint8_t treatment = treatments[i];
    if (treatment == TREAT_KEEP && !trial_is_answered(trial, i)) {
      treatment = TREAT_UNKNOWN;
    }
    bool idle = treatment == TREAT_UNKNOWN && !trial_is_mutation(trial, i);
    if (treatment != TREAT_DROP && !idle && trial_operation(trial, i)->invoke_event < trial->end) {
      trial->positions[kept] = failure->positions[i];
      trial->treatments[kept++] = treatment;
    }
  }
  struct problem *compiled =
      problem_new(failure->history, trial->positions, kept, trial->treatments, trial->versions);
  struct check_counters counters = {0};
  struct search_result found;
  trial->budget.state_limit = state_limit;
  trial->runs++;
  search_run(compiled, &trial->budget, &counters, &found);
  enum search_end end = found.end;
  if (result != NULL) {
    *result = found;
    *problem = compiled;
  } else {
    search_result_free(&found);
    problem_free(compiled);
  }
  return end;
}

static bool path_leads_to(struct text above, struct text path) {
  return above.data != NULL && path.data != NULL && above.size <= path.size &&
         memcmp(above.data, path.data, above.size) == 0 &&
         (above.size == path.size || above.size == 1 || path.data[above.size] == '/');
}

bool arguments_related(const struct arguments *x, const struct arguments *y) {
  const struct text of_x[] = {x->path, x->destination}, of_y[] = {y->path, y->destination};
  bool found = x->kind == OPERATION_BATCH || y->kind == OPERATION_BATCH;
  for (size_t i = 0; i < ARRAY_SIZE(of_x) && !found; i++) {
    for (size_t j = 0; j < ARRAY_SIZE(of_y) && !found; j++) {
      found = path_leads_to(of_x[i], of_y[j]) || path_leads_to(of_y[j], of_x[i]);
    }
  }
  return found;
}
