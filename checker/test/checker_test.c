/* What must hold of every verdict, on simulated histories and on ones written by hand. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checker/checker.h"
#include "checker/test/naive.h"
#include "checker/test/random_history.h"
#include "checker/test/simulator.h"

/* Minimising may take long: what is found must not depend on how busy the machine is. */
static struct check_result check(const struct history *history, bool minimise) {
  const struct check_options options = {.minimise = minimise, .minimise_time_ns = 8 * NS_PER_S};
  struct check_result result;
  struct error error = {0};
  cr_assert_eq(check_history(history, &options, &result, &error), 0, "%s", error.message);
  return result;
}

static enum verdict verdict_of(const struct history *history) {
  struct check_result result = check(history, false);
  const enum verdict verdict = result.verdict;
  check_result_free(&result);
  return verdict;
}

static size_t ask(struct history *history, int64_t process, uint64_t op_id, struct arguments asked) {
  return history_invoke(history, process, op_id, &asked, 0);
}

static void answer_ok(struct history *history, size_t position, struct answer answer) {
  history_complete(history, position, OUTCOME_OK, &answer, 0);
}

static struct arguments create(const char *path) {
  return (struct arguments){.kind = OPERATION_CREATE, .path = text_of(path)};
}

static struct arguments set(const char *path, const char *value) {
  return (struct arguments){.kind = OPERATION_SET, .path = text_of(path), .value = text_of(value)};
}

static struct arguments stat_of(const char *path) {
  return (struct arguments){.kind = OPERATION_STAT, .path = text_of(path)};
}

/* ---- By hand ---- */

Test(checker, empty_history_is_valid) {
  struct history *history = history_new();
  struct check_result result = check(history, true);
  cr_assert_eq(result.verdict, VERDICT_VALID);
  cr_assert_eq(result.linearization_count, 0);
  check_result_free(&result);
  history_free(history);
}

Test(checker, stale_read_is_found_and_explained) {
  struct history *history = history_new();
  answer_ok(history, ask(history, 0, 1, create("/f")), (struct answer){.seen = SEEN_CREATOR, .creator = 1});
  answer_ok(history, ask(history, 0, 2, set("/f", "old")), (struct answer){0});
  answer_ok(history, ask(history, 1, 3, set("/f", "new")), (struct answer){0});
  answer_ok(history, ask(history, 0, 0, stat_of("/f")),
            (struct answer){.seen = SEEN_VALUE, .value = text_of("old")});
  struct check_result result = check(history, true);
  cr_assert_eq(result.verdict, VERDICT_INVALID);
  cr_assert_leq(result.counterexample->count, 4);
  cr_assert_not(naive_linearizable(result.counterexample));
  cr_assert(strstr(result.explanation, "stat /f (index 6)") != NULL, "%s", result.explanation);
  check_result_free(&result);
  history_free(history);
}

Test(checker, version_that_came_back_is_a_contradiction_of_two) {
  struct history *history = history_new();
  answer_ok(history, ask(history, 0, 1, create("/f")), (struct answer){.seen = SEEN_CREATOR, .creator = 1});
  for (uint64_t i = 2; i < 6; i++)
    answer_ok(history, ask(history, 0, i, set("/f", "v")),
              (struct answer){.seen = SEEN_VERSION, .version = i});
  answer_ok(history, ask(history, 1, 0, stat_of("/f")), (struct answer){.seen = SEEN_VERSION, .version = 4});
  struct check_result result = check(history, true);
  cr_assert_eq(result.verdict, VERDICT_INVALID);
  cr_assert_leq(result.counterexample->count, 3, "%zu operations", result.counterexample->count);
  check_result_free(&result);
  history_free(history);
}

Test(checker, unknown_set_carried_by_a_rename_explains_what_is_read) {
  struct history *history = history_new();
  answer_ok(history, ask(history, 0, 1, create("/f")), (struct answer){0});
  ask(history, 1, 2, set("/f", "carried")); /* never answered */
  struct arguments rename = {.kind = OPERATION_RENAME, .path = text_of("/f"), .destination = text_of("/g")};
  answer_ok(history, ask(history, 0, 3, rename), (struct answer){0});
  answer_ok(history, ask(history, 0, 0, stat_of("/g")),
            (struct answer){.seen = SEEN_VALUE, .value = text_of("carried")});
  cr_assert_eq(verdict_of(history), VERDICT_VALID);
  answer_ok(history, ask(history, 0, 0, stat_of("/g")),
            (struct answer){.seen = SEEN_VALUE, .value = text_of("")});
  cr_assert_eq(verdict_of(history), VERDICT_INVALID);
  history_free(history);
}

Test(checker, refused_operations_say_nothing) {
  struct history *history = history_new();
  const size_t refused = ask(history, 0, 1, create("/f"));
  const struct answer answer = {.code = ANSWER_NOT_PRIMARY};
  history_complete(history, refused, OUTCOME_FAIL, &answer, 0);
  struct check_result result = check(history, true);
  cr_assert_eq(result.verdict, VERDICT_VALID);
  cr_assert_eq(result.linearization_count, 0);
  check_result_free(&result);
  history_free(history);
}

Test(checker, unknown_model_and_reused_op_ids_are_errors) {
  struct history *history = history_new();
  history->model = text_of("etcd");
  const struct check_options options = {0};
  struct check_result result;
  struct error error = {0};
  cr_assert_eq(check_history(history, &options, &result, &error), ERR_BAD_INPUT);
  cr_assert(strstr(error.message, "etcd") != NULL);
  history->model = text_of("fs");
  answer_ok(history, ask(history, 0, 7, create("/f")), (struct answer){0});
  answer_ok(history, ask(history, 0, 7, create("/g")), (struct answer){0});
  cr_assert_eq(check_history(history, &options, &result, &error), ERR_BAD_INPUT);
  history_free(history);
}

Test(checker, spent_budget_is_unknown_with_what_was_proved) {
  const struct simulation simulation = {
      .seed = 1, .clients = 32, .operations = 4000, .rotation = 2000, .files = 4, .unknown = 0.05};
  struct history *history = simulate(&simulation);
  const struct check_options options = {.time_budget_ns = 1};
  struct check_result result;
  struct error error = {0};
  cr_assert_eq(check_history(history, &options, &result, &error), 0);
  cr_assert_eq(result.verdict, VERDICT_UNKNOWN);
  cr_assert_lt(result.proved_events, history->event_count);
  check_result_free(&result);
  history_free(history);
}

Test(checker, certificate_names_each_placed_operation_once) {
  const struct simulation simulation = {
      .seed = 3, .clients = 8, .operations = 500, .rotation = 200, .files = 4};
  struct history *history = simulate(&simulation);
  struct check_result result = check(history, false);
  cr_assert_eq(result.verdict, VERDICT_VALID);
  char path[] = "/tmp/assay-certificate-XXXXXX";
  close(mkstemp(path));
  struct error error = {0};
  cr_assert_eq(certificate_write(history, &result, path, &error), 0, "%s", error.message);
  struct bytes content = {0};
  cr_assert_eq(file_read(path, &content, &error), 0);
  size_t lines = 0;
  for (size_t i = 0; i < content.size; i++)
    lines += content.data[i] == '\n';
  cr_assert_eq(lines, result.linearization_count + 1); /* and a comment */
  bytes_free(&content);
  unlink(path);
  check_result_free(&result);
  history_free(history);
}

/* ---- Laws ---- */

/* What only takes constraints away must not turn a yes into a no. */
static void laws_hold(uint64_t seed) {
  struct history *history = random_history(seed);
  bool keep[16], weaken[16];
  if (verdict_of(history) == VERDICT_VALID) {
    for (size_t i = 0; i < history->count; i++) {
      const struct operation *operation = &history->operations[i];
      memset(keep, true, sizeof keep);
      memset(weaken, false, sizeof weaken);
      const bool changes =
          operation_is_mutation(operation->arguments.kind) && operation->outcome != OUTCOME_FAIL;
      *(changes ? &weaken[i] : &keep[i]) = changes;
      struct history *less = history_subset(history, keep, weaken);
      cr_assert_eq(verdict_of(less), VERDICT_VALID, "seed %lu, without the answer of %zu",
                   (unsigned long)seed, i);
      history_free(less);
    }
  }
  history_free(history);
}

Test(checker, dropping_a_read_or_an_answer_never_makes_a_no, .timeout = 60) {
  for (uint64_t seed = 1000000; seed < 1003000; seed++)
    laws_hold(seed);
}

/* Exchanging a completion with an event of another operation right behind it stretches the interval. */
static void stretch(struct history *history, size_t position) {
  struct operation *stretched = &history->operations[position];
  for (size_t i = 0; i < history->count && stretched->complete_event != NO_EVENT; i++) {
    struct operation *other = &history->operations[i];
    uint32_t *next = other->invoke_event == stretched->complete_event + 1     ? &other->invoke_event
                     : other->complete_event == stretched->complete_event + 1 ? &other->complete_event
                                                                              : NULL;
    if (next) {
      (*next)--;
      stretched->complete_event++;
      return;
    }
  }
}

Test(checker, stretching_an_interval_never_makes_a_no, .timeout = 60) {
  for (uint64_t seed = 2000000; seed < 2003000; seed++) {
    struct history *history = random_history(seed);
    if (verdict_of(history) == VERDICT_VALID) {
      for (size_t i = 0; i < history->count; i++) {
        stretch(history,
                i); /* may reach past the other's completion only by another's doing: one step each */
        cr_assert_eq(verdict_of(history), VERDICT_VALID, "seed %lu, %zu stretched", (unsigned long)seed, i);
      }
    }
    history_free(history);
  }
}

/* ---- Simulated ---- */

static void correct_server_is_valid(struct simulation simulation) {
  struct history *history = simulate(&simulation);
  struct check_result result = check(history, false);
  cr_assert_eq(result.verdict, VERDICT_VALID, "seed %lu", (unsigned long)simulation.seed);
  cr_assert(naive_accepts(history, result.linearization, result.linearization_count));
  check_result_free(&result);
  history_free(history);
}

Test(checker, correct_servers_are_valid, .timeout = 60) {
  for (uint64_t seed = 1; seed <= 5; seed++) {
    correct_server_is_valid((struct simulation){
        .seed = seed, .clients = 16, .operations = 8000, .rotation = 2000, .files = 8, .unknown = 0.01});
    correct_server_is_valid(
        (struct simulation){.seed = seed, .clients = 64, .operations = 8000, .rotation = 2000, .files = 8});
  }
}

Test(checker, defects_are_found_and_made_small, .timeout = 100) {
  for (enum defect defect = DEFECT_STALE_READ; defect < DEFECTS; defect++) {
    const struct simulation simulation = {
        .seed = 1, .clients = 8, .operations = 4000, .rotation = 1000, .files = 4, .defect = defect};
    struct history *history = simulate(&simulation);
    struct check_result result = check(history, true);
    if (result.verdict != VERDICT_VALID) { /* a defect may happen to do no harm */
      cr_assert_eq(result.verdict, VERDICT_INVALID);
      const size_t few = defect == DEFECT_HALF_DELETE ? 100 : 10; /* half a delete is more than one lie */
      cr_assert_leq(result.counterexample->count, few, "%s: %zu operations", defect_name(defect),
                    result.counterexample->count);
      cr_assert_eq(verdict_of(result.counterexample), VERDICT_INVALID);
    }
    check_result_free(&result);
    history_free(history);
  }
}

/* ---- Many lies in one history ---- */

/* Leaves out what would let two answers about one inode settle it. */
static void forget_versions(struct history *history) {
  for (size_t i = 0; i < history->count; i++) {
    struct operation *operation = &history->operations[i];
    operation->answer.seen &= ~(unsigned)SEEN_VERSION;
    operation->arguments.has_if_version = false;
    if (operation->outcome == OUTCOME_FAIL && operation->answer.code == ANSWER_VERSION_MISMATCH)
      operation->answer.code = ANSWER_REFUSED;
  }
}

static void local_reads_are_made_small(uint64_t seed, bool versions) {
  const struct simulation simulation = {.seed = seed,
                                        .clients = 24,
                                        .operations = 8000,
                                        .rotation = 2000,
                                        .files = 3,
                                        .unknown = 0.005,
                                        .storms = 3,
                                        .defect = DEFECT_LOCAL_READS};
  struct history *history = simulate(&simulation);
  if (!versions)
    forget_versions(history);
  struct check_result result = check(history, true);
  cr_assert_eq(result.verdict, VERDICT_INVALID, "seed %lu", (unsigned long)seed);
  cr_assert_leq(result.counterexample->count, 10, "seed %lu, %s versions: %zu operations",
                (unsigned long)seed, versions ? "with" : "without", result.counterexample->count);
  cr_assert_eq(verdict_of(result.counterexample), VERDICT_INVALID);
  cr_assert_not(naive_linearizable(result.counterexample));
  check_result_free(&result);
  history_free(history);
}

Test(checker, hundreds_of_local_reads_are_made_small, .timeout = 280) {
  for (uint64_t seed = 1; seed <= 3; seed++) {
    local_reads_are_made_small(seed, true);
    local_reads_are_made_small(seed, false);
  }
}
