/* From a history to a verdict: components one by one, their linearizations merged. */
#include "checker/checker.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checker/components.h"
#include "checker/intern.h"
#include "checker/minimise.h"
#include "checker/search.h"
#include "checker/step.h"

#define DEFAULT_TIME_BUDGET_NS (60 * NS_PER_S)

/* States that each component may take before the others have had their turn. */
#define FIRST_PASS_STATES 200000u

const char *verdict_name(enum verdict verdict) {
  static const char *const names[] = {"valid", "invalid", "unknown", "vacuous"};
  return names[verdict];
}

int verdict_exit_code(enum verdict verdict) {
  return verdict == VERDICT_VALID ? EXIT_VALID : verdict == VERDICT_INVALID ? EXIT_INVALID : EXIT_UNKNOWN;
}

/* ---- What cannot be checked at all ---- */

static int screen_batch(const struct operation *operation, struct error *error) {
  const struct arguments *asked = &operation->arguments;
  for (size_t i = 0; i < asked->item_count; i++) {
    enum operation_kind kind = asked->items[i].kind;
    if (!operation_is_mutation(kind) || kind == OPERATION_BATCH || kind == OPERATION_ADD_BLOCK) {
      return error_set(error, ERR_BAD_INPUT,
                       "index %" PRIu64 ": a batch cannot hold %s; take it out of the history",
                       operation->invoke_index, operation_name(kind));
    }
  }
  return 0;
}

static int screen(const struct history *history, struct error *error) {
  if (history->model.data != NULL && !text_equal(history->model, text_of("fs"))) {
    return error_set(error, ERR_BAD_INPUT, "the history's model is '%.*s', which is not known; known: fs",
                     (int)history->model.size, history->model.data);
  }
  struct key_table ids = {0};
  int status = 0;
  for (size_t i = 0; i < history->count && status == 0; i++) {
    const struct operation *operation = &history->operations[i];
    if (!operation_is_mutation(operation->arguments.kind) || !operation_matters(operation)) {
      continue;
    }
    status = screen_batch(operation, error);
    if (operation->op_id == 0) {
      if (operation->arguments.kind == OPERATION_ADD_BLOCK && status == 0) {
        status = error_set(error, ERR_BAD_INPUT,
                           "index %" PRIu64 ": an add-block needs an op id, which names its block",
                           operation->invoke_index);
      }
      continue;
    }
    uint32_t *first = key_table_place(&ids, operation->op_id);
    if (*first != NONE && status == 0) {
      status = error_set(error, ERR_BAD_INPUT,
                         "index %" PRIu64 " and index %" PRIu64 " have the same op id %" PRIu64
                         "; every mutation needs its own",
                         history->operations[*first].invoke_index, operation->invoke_index, operation->op_id);
    }
    *first = (uint32_t)i;
  }
  key_table_free(&ids);
  return status;
}

/* ---- Searching the components ---- */

struct placement {
  uint32_t event, operation;
};

struct check {
  const struct history *history;
  const struct check_options *options;
  struct check_result *result;
  struct components components;
  struct budget budget;
  struct placement *placements; /* of all components found linearizable, one after the other */
  size_t placement_count;
  uint32_t *left; /* components whose search was cut short */
  uint32_t left_count;
  uint32_t failed;       /* component that is not linearizable, NONE so far */
  uint32_t failed_event; /* of the history: how far its search came */
  size_t proved_events;
};

static void keep_placements(struct check *check, const struct problem *problem,
                            const struct search_result *found) {
  for (uint32_t i = 0; i < found->order_count; i++) {
    uint32_t event = found->order_events[i];
    check->placements[check->placement_count++] = (struct placement){
        event < problem->event_count ? problem->events[event].original : check->history->event_count,
        problem->steps[found->order[i]].operation};
  }
}

static enum search_end search_component(struct check *check, uint32_t component, uint64_t state_limit) {
  const struct components *components = &check->components;
  uint32_t first = components->first[component], end = components->first[component + 1];
  struct problem *problem =
      problem_new(check->history, components->positions + first, end - first, NULL, true);
  struct check_counters *counters = &check->result->counters;
  struct search_result found;
  check->budget.state_limit = state_limit;
  search_run(problem, &check->budget, counters, &found);
  uint32_t reached = found.event < problem->event_count ? problem->events[found.event].original
                                                        : check->history->event_count;
  switch (found.end) {
  case SEARCH_LINEARIZABLE:
    keep_placements(check, problem, &found);
    break;
  case SEARCH_IMPOSSIBLE:
    check->failed = component;
    check->failed_event = reached;
    break;
  case SEARCH_LIMIT:
  case SEARCH_BUDGET:
    check->left[check->left_count++] = component;
    if (reached < check->proved_events) {
      check->proved_events = reached;
    }
    break;
  }
  if (found.end == SEARCH_LINEARIZABLE || found.end == SEARCH_IMPOSSIBLE) {
    counters->unknown_dropped += problem->dropped;
    counters->unknown_promoted += problem->promoted;
  }
  search_result_free(&found);
  problem_free(problem);
  return found.end;
}

/* All components with a limit first, so that an easy no is found before a hard part eats the budget; then
 * those that were cut short without one. */
static void search_all(struct check *check) {
  uint32_t count = check->components.count;
  check->left = xmalloc((count + (size_t)1) * sizeof *check->left);
  check->proved_events = check->history->event_count;
  for (uint32_t i = 0; i < count && check->failed == NONE; i++) {
    if (search_component(check, i, FIRST_PASS_STATES) == SEARCH_BUDGET) {
      if (i + 1 < count) {
        check->proved_events = 0;
      }
      return;
    }
  }
  uint32_t again = check->left_count;
  if (check->failed != NONE || again == 0) {
    return;
  }
  check->left_count = 0;
  check->proved_events = check->history->event_count;
  uint32_t *retried = xmalloc(again * sizeof *retried);
  memcpy(retried, check->left, again * sizeof *retried);
  for (uint32_t i = 0; i < again && check->failed == NONE; i++) {
    if (search_component(check, retried[i], 0) == SEARCH_BUDGET && i + 1 < again) {
      check->proved_events = 0;
      break;
    }
  }
  free(retried);
}

/* ---- The result ---- */

/* One order of everything: by the event before which each was placed, components' own orders kept. Two
 * components share no state, and an operation's event lies between its invocation and its completion. */
static void merge_placements(struct check *check) {
  uint32_t events = check->history->event_count;
  uint32_t *starts = xcalloc((size_t)events + 2, sizeof *starts);
  for (size_t i = 0; i < check->placement_count; i++) {
    starts[check->placements[i].event + 1]++;
  }
  for (uint32_t i = 1; i <= events; i++) {
    starts[i] += starts[i - 1];
  }
  struct check_result *result = check->result;
  result->linearization = xmalloc((check->placement_count + 1) * sizeof *result->linearization);
  result->linearization_count = check->placement_count;
  for (size_t i = 0; i < check->placement_count; i++) {
    result->linearization[starts[check->placements[i].event]++] = check->placements[i].operation;
  }
  free(starts);
}

static void explain_unknown(struct check *check) {
  struct bytes text = {0};
  bytes_append_format(
      &text,
      "the budget was spent before the search ended: %u of %u parts are undecided; the first %zu of "
      "%u events are linearizable",
      check->left_count, check->components.count, check->proved_events, check->history->event_count);
  bytes_append_u8(&text, 0);
  check->result->explanation = (char *)text.data;
}

static void conclude(struct check *check, int64_t start_ns) {
  struct check_result *result = check->result;
  result->seconds = (double)(time_monotonic_ns() - start_ns) / (double)NS_PER_S;
  result->method = "search";
  result->counters.components = check->components.count;
  if (check->failed != NONE) {
    result->verdict = VERDICT_INVALID;
    uint32_t first = check->components.first[check->failed];
    uint32_t count = check->components.first[check->failed + 1] - first;
    struct failure failure = {check->history, check->components.positions + first, count,
                              check->failed_event};
    minimise(&failure, check->options, result);
    result->minimise_seconds = (double)(time_monotonic_ns() - start_ns) / (double)NS_PER_S - result->seconds;
  } else if (check->left_count > 0) {
    result->verdict = VERDICT_UNKNOWN;
    result->proved_events = check->proved_events;
    explain_unknown(check);
  } else {
    result->verdict = VERDICT_VALID;
    merge_placements(check);
    result->seconds = (double)(time_monotonic_ns() - start_ns) / (double)NS_PER_S;
  }
  result->peak_bytes = check->budget.bytes_peak;
}

static uint64_t half_of_memory(void) {
  long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
  return pages > 0 && size > 0 ? (uint64_t)pages / 2 * (uint64_t)size : 0;
}

int check_history(const struct history *history, const struct check_options *options,
                  struct check_result *result, struct error *error) {
  *result = (struct check_result){0};
  int status = screen(history, error);
  if (status != 0) {
    return status;
  }
  int64_t start_ns = time_monotonic_ns();
  struct check check = {.history = history, .options = options, .result = result, .failed = NONE};
  check.budget.deadline_ns =
      start_ns + (options->time_budget_ns > 0 ? options->time_budget_ns : DEFAULT_TIME_BUDGET_NS);
  check.budget.memory_limit = options->memory_budget > 0 ? options->memory_budget : half_of_memory();
  components_find(history, &check.components);
  check.placements = xmalloc((history->count + 1) * sizeof *check.placements);
  check.budget.bytes_outside = history->count * (sizeof *check.placements + 2 * sizeof(uint32_t)) +
                               history->event_count * sizeof(uint32_t);
  check.budget.bytes_peak = check.budget.bytes_outside;
  search_all(&check);
  conclude(&check, start_ns);
  free(check.placements);
  free(check.left);
  components_free(&check.components);
  return 0;
}

void check_result_free(struct check_result *result) {
  free(result->linearization);
  free(result->explanation);
  history_free(result->counterexample);
  *result = (struct check_result){0};
}
