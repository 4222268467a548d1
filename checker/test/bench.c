/* checker-bench: how long the checker takes on simulated histories. Figures, not a test. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "checker/checker.h"
#include "checker/test/naive.h"
#include "checker/test/simulator.h"

static bool run(const struct simulation *simulation, int64_t budget_s) {
  struct history *history = simulate(simulation);
  size_t unknown = 0;
  for (size_t i = 0; i < history->count; i++)
    unknown += history->operations[i].outcome == OUTCOME_INFO;
  const struct check_options options = {.minimise = true, .time_budget_ns = budget_s * NS_PER_S};
  struct check_result result;
  struct error error = {0};
  if (check_history(history, &options, &result, &error) != 0) {
    fprintf(stderr, "%s\n", error.message);
    return false;
  }
  bool good = result.verdict != VERDICT_UNKNOWN && (result.verdict == VERDICT_VALID) == !simulation->defect;
  if (result.verdict == VERDICT_VALID &&
      !naive_accepts(history, result.linearization, result.linearization_count)) {
    printf("CERTIFICATE DOES NOT REPLAY\n");
    good = false;
  }
  printf("%-11s clients %3zu ops %7zu unknown %5zu | %-7s %7.3f s, minimise %6.3f s, %4" PRIu64
         " MB, states %" PRIu64 ", branches %" PRIu64 ", memo hits %" PRIu64 ", parts %" PRIu64 "\n",
         defect_name(simulation->defect), simulation->clients, history->count, unknown,
         verdict_name(result.verdict), result.seconds, result.minimise_seconds, result.peak_bytes >> 20,
         result.counters.states, result.counters.branches, result.counters.memo_hits,
         result.counters.components);
  if (result.counterexample) {
    printf("  %zu operations: %s\n", result.counterexample->count, result.explanation);
    for (size_t i = 0; i < result.counterexample->count && result.counterexample->count <= 12; i++) {
      char line[300];
      operation_print(&result.counterexample->operations[i], line, sizeof line);
      printf("    %6" PRIu64 " %s\n", result.counterexample->operations[i].invoke_index, line);
    }
  }
  if (result.verdict == VERDICT_UNKNOWN)
    printf("  %s\n", result.explanation);
  fflush(stdout);
  check_result_free(&result);
  history_free(history);
  return good;
}

int main(int argc, char **argv) {
  int64_t operations = 100000, clients = 64, seed = 1, rotation = 2000, files = 8, storms = 0, seeds = 1,
          budget = 60;
  double unknown = 0;
  const char *defect = "none";
  const struct flag flags[] = {
      {"operations", FLAG_INT, &operations, "N", "operations", 1, 1e8},
      {"clients", FLAG_INT, &clients, "N", "clients", 1, 10000},
      {"rotation", FLAG_INT, &rotation, "N", "operations until the next top-level directory", 50, 1e9},
      {"files", FLAG_INT, &files, "N", "names in each of four directories", 1, 1e6},
      {"unknown", FLAG_DOUBLE, &unknown, "P", "chance of an unknown outcome", 0, 1},
      {"storms", FLAG_INT, &storms, "N", "times at which all in flight end unknown", 0, 1000},
      {"defect", FLAG_STRING, &defect, "NAME", "what the server does wrong once, or all", 0, 0},
      {"seed", FLAG_INT, &seed, "S", "first seed", 0, 1e18},
      {"seeds", FLAG_INT, &seeds, "N", "how many", 1, 1e9},
      {"budget", FLAG_INT, &budget, "S", "seconds for each", 1, 1e6},
  };
  const struct flag_set set = {"checker-bench", "time the checker", NULL, flags, ARRAY_SIZE(flags)};
  int positional;
  const int code = flags_parse_or_exit_code(&set, argc, argv, &positional);
  if (code >= 0)
    return code;
  int bad = 0;
  for (int64_t i = 0; i < seeds; i++) {
    for (enum defect at = DEFECT_NONE; at < DEFECTS; at++) {
      if (strcmp(defect, defect_name(at)) != 0 && (strcmp(defect, "all") != 0 || at == DEFECT_NONE))
        continue;
      const struct simulation simulation = {.seed = (uint64_t)(seed + i),
                                            .clients = (size_t)clients,
                                            .operations = (size_t)operations,
                                            .rotation = (size_t)rotation,
                                            .files = (size_t)files,
                                            .unknown = unknown,
                                            .storms = (size_t)storms,
                                            .defect = at};
      bad += !run(&simulation, budget);
    }
  }
  return bad > 0;
}
