/* brute: the checker against brute force on random small histories.
 *
 * For each seed: both must agree; a yes must carry a certificate that replays on the naive specification, and
 * a no a counterexample that is one too. Prints every disagreement and ends 1 if there was any. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "checker/checker.h"
#include "checker/test/naive.h"
#include "checker/test/random_history.h"

struct tally {
  uint64_t valid, invalid, wrong, states, memo_hits, promoted;
};

static void complain(uint64_t seed, const struct history *history, const char *what) {
  fprintf(stderr, "seed %" PRIu64 ": %s\n", seed, what);
  random_history_print(history);
}

static bool result_holds(const struct history *history, const struct check_result *result, bool expected,
                         const char **what) {
  if ((result->verdict == VERDICT_VALID) != expected) {
    *what = expected ? "linearizable, but the checker says no" : "not linearizable, but the checker says yes";
    return false;
  }
  if (expected && !naive_accepts(history, result->linearization, result->linearization_count)) {
    *what = "the certificate does not replay";
    return false;
  }
  if (!expected && (!result->counterexample || naive_linearizable(result->counterexample))) {
    *what = "the counterexample is linearizable";
    return false;
  }
  return true;
}

static void check_seed(uint64_t seed, bool minimise, struct tally *tally) {
  struct history *history = random_history(seed);
  const bool expected = naive_linearizable(history);
  const struct check_options options = {.minimise = minimise};
  struct check_result result;
  struct error error = {0};
  const char *what;
  if (check_history(history, &options, &result, &error) != 0) {
    complain(seed, history, error.message);
    tally->wrong++;
  } else {
    if (!result_holds(history, &result, expected, &what)) {
      complain(seed, history, what);
      tally->wrong++;
    }
    tally->valid += expected;
    tally->invalid += !expected;
    tally->states += result.counters.states;
    tally->memo_hits += result.counters.memo_hits;
    tally->promoted += result.counters.unknown_promoted;
    check_result_free(&result);
  }
  history_free(history);
}

int main(int argc, char **argv) {
  int64_t count = 20000, seed = 1;
  bool minimise = false;
  const struct flag flags[] = {
      {"count", FLAG_INT, &count, "N", "histories", 0, 1e15},
      {"seed", FLAG_INT, &seed, "S", "of the first one", 0, 1e18},
      {"minimise", FLAG_BOOL, &minimise, NULL, "minimise counterexamples", 0, 0},
  };
  const struct flag_set set = {"brute", "the checker against brute force", NULL, flags, ARRAY_SIZE(flags)};
  int positional;
  const int code = flags_parse_or_exit_code(&set, argc, argv, &positional);
  if (code >= 0)
    return code;
  struct tally tally = {0};
  for (int64_t i = 0; i < count && tally.wrong < 10; i++)
    check_seed((uint64_t)(seed + i), minimise, &tally);
  printf("%" PRIu64 " linearizable, %" PRIu64 " not, %" PRIu64 " wrong; %" PRIu64 " states, %" PRIu64
         " memo hits, %" PRIu64 " promoted\n",
         tally.valid, tally.invalid, tally.wrong, tally.states, tally.memo_hits, tally.promoted);
  return tally.wrong > 0;
}
