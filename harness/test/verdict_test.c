#include <criterion/criterion.h>
#include <stdlib.h>

#include "harness/document.h"
#include "harness/verdict.h"

/* A run in which all went well; each test spoils one thing. */
struct scene {
  struct settings settings;
  struct conduct_outcome outcome;
  struct timeline_fault faults[2];
  struct timeline timeline;
  struct statistics statistics;
  struct check_result check;
  struct history *history;
  struct evidence evidence;
};

static struct scene *scene_new(void) {
  struct scene *scene = xcalloc(1, sizeof *scene);
  scene->settings = (struct settings){.name = "t", .nemesis = "partition,kill", .floor = 10, .seed = 5};
  scene->outcome.ending = CONDUCT_FINISHED;
  scene->faults[0] = (struct timeline_fault){
      .name = "partition-halves", .family = "partition", .installed_ns = 1, .healed_ns = 2};
  scene->faults[1] =
      (struct timeline_fault){.name = "kill-one", .family = "kill", .installed_ns = 3, .healed_ns = 4};
  scene->timeline = (struct timeline){.faults = scene->faults,
                                      .fault_count = 2,
                                      .liveness_known = true,
                                      .live = true,
                                      .replicas = REPLICAS_EQUAL};
  scene->statistics = (struct statistics){.operations = 1000, .ok = 900, .fail = 100};
  scene->check = (struct check_result){.verdict = VERDICT_VALID, .method = "search"};
  scene->history = history_new();
  scene->evidence = (struct evidence){.settings = &scene->settings,
                                      .run = "/run",
                                      .command = "assay run",
                                      .outcome = &scene->outcome,
                                      .timeline = &scene->timeline,
                                      .history = scene->history,
                                      .statistics = &scene->statistics,
                                      .check = &scene->check};
  return scene;
}

static void expect(struct scene *scene, const char *verdict, int exit_code, const char *part) {
  json_t *result = verdict_result(&scene->evidence);
  const char *found = document_string(result, "verdict", "none");
  const char *sentence = document_string(result, "sentence", "");
  cr_expect_str_eq(found, verdict, "%s: %s", found, sentence);
  cr_expect_eq(verdict_result_exit_code(result), exit_code);
  cr_expect_not_null(strstr(sentence, part), "%s", sentence);
  static const char *const contract[] = {"verdict",        "run",           "operations",    "ok",
                                         "fail",           "info",          "faults",        "elections",
                                         "longest_gap_ms", "check_seconds", "counterexample"};
  for (size_t i = 0; i < ARRAY_SIZE(contract); i++)
    cr_expect_not_null(json_object_get(result, contract[i]), "%s", contract[i]);
  json_decref(result);
  history_free(scene->history);
  free(scene);
}

Test(verdict, valid_names_the_faults_that_happened) {
  expect(scene_new(), "valid", EXIT_VALID, "through 1 partition and 1 kill");
}

Test(verdict, a_history_proved_bad_outweighs_everything) {
  struct scene *scene = scene_new();
  scene->check.verdict = VERDICT_INVALID;
  scene->timeline.replicas = REPLICAS_DIVERGED;
  scene->statistics.ok = 0;
  scene->outcome.ending = CONDUCT_FAILED;
  snprintf(scene->outcome.message, sizeof scene->outcome.message, "n2 died");
  expect(scene, "invalid", EXIT_INVALID, "n2 died");
}

Test(verdict, a_failed_harness_gives_no_verdict) {
  struct scene *scene = scene_new();
  scene->outcome.ending = CONDUCT_FAILED;
  snprintf(scene->outcome.message, sizeof scene->outcome.message, "client-0 died");
  expect(scene, "none", EXIT_HARNESS, "client-0 died");
}

Test(verdict, so_does_one_that_was_killed_or_an_analysis_that_failed) {
  struct scene *scene = scene_new();
  scene->outcome.ending = CONDUCT_RUNNING;
  expect(scene, "none", EXIT_HARNESS, "killed before it could say why");
  scene = scene_new();
  scene->evidence.error = "disk full";
  scene->evidence.check = NULL;
  expect(scene, "none", EXIT_HARNESS, "disk full");
}

Test(verdict, an_interrupted_run_is_judged_by_what_there_is) {
  struct scene *scene = scene_new();
  scene->outcome.ending = CONDUCT_INTERRUPTED;
  expect(scene, "valid", EXIT_VALID, "Linearizable");
}

Test(verdict, diverged_replicas_and_a_dead_cluster_are_findings) {
  struct scene *scene = scene_new();
  scene->timeline.replicas = REPLICAS_DIVERGED;
  expect(scene, "invalid", EXIT_INVALID, "diverged");
  scene = scene_new();
  snprintf(scene->timeline.members, sizeof scene->timeline.members, "n1 says one thing, n2 another");
  expect(scene, "invalid", EXIT_INVALID, "disagree on who is a member: n1 says one thing");
  scene = scene_new();
  scene->timeline.live = false;
  expect(scene, "invalid", EXIT_INVALID, "Not live");
  scene = scene_new();
  scene->timeline.replicas = REPLICAS_NOT_COMPARABLE;
  expect(scene, "invalid", EXIT_INVALID, "did not catch up");
}

static void expect_liveness(enum replicas replicas, bool known, bool live, const char *expected) {
  struct scene *scene = scene_new();
  scene->timeline.replicas = replicas;
  scene->timeline.liveness_known = known;
  scene->timeline.live = live;
  json_t *result = verdict_result(&scene->evidence);
  cr_expect_str_eq(document_string(result, "liveness", ""), expected);
  cr_expect_str_eq(document_string(result, "history_verdict", ""), "valid", "safety is judged apart");
  json_decref(result);
  history_free(scene->history);
  free(scene);
}

Test(verdict, liveness_is_a_verdict_of_its_own) {
  expect_liveness(REPLICAS_EQUAL, true, true, "live");
  expect_liveness(REPLICAS_DIVERGED, true, true, "live");
  expect_liveness(REPLICAS_EQUAL, true, false, "not live");
  expect_liveness(REPLICAS_NOT_COMPARABLE, true, true, "not live");
  expect_liveness(REPLICAS_NOT_COMPARED, true, true, "unknown");
  expect_liveness(REPLICAS_NOT_COMPARED, false, false, "unknown");
}

Test(verdict, mixes_are_asked_for_by_their_families) {
  struct scene *scene = scene_new();
  scene->settings.nemesis = "standard";
  scene->settings.paces = (struct flag_list){{"kill-all=3s"}, 1};
  json_t *result = verdict_result(&scene->evidence);
  const json_t *missing = json_object_get(result, "faults_missing");
  cr_expect_eq(json_object_size(missing), 2, "pause and kill-all");
  cr_expect(json_object_get(missing, "pause") && json_object_get(missing, "kill-all"));
  json_decref(result);
  history_free(scene->history);
  free(scene);
}

Test(verdict, a_spent_budget_is_unknown) {
  struct scene *scene = scene_new();
  scene->check.verdict = VERDICT_UNKNOWN;
  expect(scene, "unknown", EXIT_UNKNOWN, "budget");
}

Test(verdict, too_few_answers_or_no_fault_at_all_is_vacuous) {
  struct scene *scene = scene_new();
  scene->statistics.ok = 9;
  expect(scene, "vacuous", EXIT_UNKNOWN, "floor");
  scene = scene_new();
  scene->faults[0].skipped = scene->faults[1].skipped = true;
  snprintf(scene->faults[0].reason, sizeof scene->faults[0].reason, "no packet filter");
  expect(scene, "vacuous", EXIT_UNKNOWN, "no packet filter");
  scene = scene_new();
  scene->settings.nemesis = "none";
  scene->timeline.fault_count = 0;
  expect(scene, "valid", EXIT_VALID, "through no fault");
}

Test(verdict, what_was_asked_for_and_never_happened_is_named) {
  struct scene *scene = scene_new();
  scene->faults[0].skipped = true;
  snprintf(scene->faults[0].reason, sizeof scene->faults[0].reason, "no packet filter");
  json_t *result = verdict_result(&scene->evidence);
  const json_t *missing = json_object_get(result, "faults_missing");
  cr_expect_eq(json_object_size(missing), 1);
  cr_expect_str_eq(document_string(missing, "partition", ""), "no packet filter");
  const json_t *fault = json_object_get(json_object_get(result, "faults"), "partition-halves");
  cr_expect_eq(document_integer(fault, "skipped", 0), 1);
  cr_expect_eq(document_integer(fault, "installed", 9), 0);
  json_decref(result);
  history_free(scene->history);
  free(scene);
}

Test(verdict, a_failure_before_the_analysis_keeps_the_contract) {
  json_t *result = verdict_failure("/run", "assay run", 3, "no room");
  cr_assert_not_null(result);
  cr_expect(json_is_null(json_object_get(result, "verdict")));
  cr_expect_eq(verdict_result_exit_code(result), EXIT_HARNESS);
  json_decref(result);
}
