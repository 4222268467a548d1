/* simulation.c: one plan from beginning to end: faults and clients, healing, liveness, what must hold in the
 * end, and the history. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "checker/checker.h"
#include "histories/histories.h"
#include "simulator/cluster_internal.h"
#include "simulator/faults.h"

#define LIVENESS_STEP_NS (20 * NS_PER_MS)
#define LIVENESS_WITHIN_NS (30 * NS_PER_S) /* beyond the longest time-out */
#define CHECK_BUDGET_NS (10 * NS_PER_S)
#define CHECK_MEMORY (1u << 30)

struct simulation {
  const struct plan *plan;
  const struct simulation_options *options;
  struct simulation_result *result;
  struct sim_world *world;
  struct sim_cluster *cluster;
  struct sim_faults *faults;
};

const char *evidence_name(enum evidence evidence) {
  static const char *const names[] = {
      [EVIDENCE_NONE] = "none",         [EVIDENCE_INVARIANT] = "invariant", [EVIDENCE_HISTORY] = "history",
      [EVIDENCE_LIVENESS] = "liveness", [EVIDENCE_FATAL] = "fatal",         [EVIDENCE_UNKNOWN] = "unknown"};
  return names[evidence];
}

/* -- running -------------------------------------------------------------------------------------------- */

static void become_live(struct simulation *simulation) {
  const struct plan *plan = simulation->plan;
  struct sim_cluster *cluster = simulation->cluster;
  const int64_t longest_ns = plan->request_timeout_ns > (int64_t)plan->election_timeout_ms * 2 * NS_PER_MS
                                 ? plan->request_timeout_ns
                                 : (int64_t)plan->election_timeout_ms * 2 * NS_PER_MS;
  const int64_t until_ns = sim_now_ns(simulation->world) + longest_ns + LIVENESS_WITHIN_NS;
  while (!sim_cluster_live(cluster)) {
    const int64_t now_ns = sim_now_ns(simulation->world);
    if (now_ns >= until_ns) {
      char text[512];
      sim_cluster_say_missing(cluster, text, sizeof text);
      cluster_violate(cluster, EVIDENCE_LIVENESS, "", "%s", text);
      return;
    }
    if (!sim_run(simulation->world, now_ns + LIVENESS_STEP_NS, sim_cluster_violated(cluster)))
      return;
  }
  sim_cluster_stop_clients(cluster);
  cluster_check_end(cluster);
}

static void run(struct simulation *simulation) {
  struct sim_cluster *cluster = simulation->cluster;
  if (!sim_run(simulation->world, simulation->plan->duration_ns, sim_cluster_violated(cluster)))
    return;
  sim_faults_heal(simulation->faults);
  sim_cluster_healed(cluster);
  become_live(simulation);
}

/* -- the history ---------------------------------------------------------------------------------------- */

static void note_verdict(struct simulation *simulation, struct check_result *checked) {
  struct simulation_result *result = simulation->result;
  if (checked->verdict == VERDICT_UNKNOWN) {
    result->evidence = EVIDENCE_UNKNOWN;
    snprintf(result->text, sizeof result->text, "the checker's budget was spent");
    return;
  }
  if (checked->verdict != VERDICT_INVALID)
    return;
  result->evidence = EVIDENCE_HISTORY;
  result->at = sim_transitions(simulation->world);
  result->at_ns = sim_now_ns(simulation->world);
  snprintf(result->text, sizeof result->text, "the clients' history is not linearizable");
  if (!simulation->options->minimise)
    return;
  result->counterexample = checked->counterexample;
  result->counterexample_count = checked->counterexample ? checked->counterexample->count : 0;
  result->explanation = checked->explanation;
  checked->counterexample = NULL;
  checked->explanation = NULL;
}

static void check(struct simulation *simulation) {
  const struct check_options options = {.time_budget_ns = CHECK_BUDGET_NS,
                                        .memory_budget = CHECK_MEMORY,
                                        .minimise = simulation->options->minimise};
  struct check_result checked;
  struct error error;
  const int status =
      check_history(sessions_history(simulation->cluster->sessions), &options, &checked, &error);
  assert(status == 0 && "the model of a history is known");
  note_verdict(simulation, &checked);
  check_result_free(&checked);
}

/* -- from beginning to end ------------------------------------------------------------------------------ */

static void log_to_trace(void *context, enum log_level level, const char *text) {
  (void)level;
  sim_tell(context, "log", sim_acting(context), -1, 0, "%s", text);
}

static void report(struct simulation *simulation) {
  struct simulation_result *result = simulation->result;
  sim_cluster_report(simulation->cluster, result);
  sim_faults_report(simulation->faults, result);
  result->digest = sim_digest(simulation->world);
  result->transitions = sim_transitions(simulation->world);
  result->simulated_ns = sim_now_ns(simulation->world);
  if (simulation->options->check && result->evidence == EVIDENCE_NONE)
    check(simulation);
  if (simulation->options->keep_history)
    result->history = sessions_take_history(simulation->cluster->sessions);
}

void simulate(const struct plan *plan, const struct simulation_options *options,
              struct simulation_result *result) {
  struct simulation simulation = {.plan = plan, .options = options, .result = result};
  *result = (struct simulation_result){0};
  const struct sim_world_options world_options = {.seed = plan->seed,
                                                  .nodes = plan->nodes,
                                                  .weather = plan->weather,
                                                  .until = options->until,
                                                  .break_at = options->break_at,
                                                  .trace = options->trace,
                                                  .trace_context = options->trace_context,
                                                  .frame_print = options->frame_print};
  simulation.world = sim_world_new(&world_options);
  const struct log_sink sink = {.write = options->trace ? log_to_trace : NULL, .context = simulation.world};
  log_divert(&sink);
  simulation.cluster = sim_cluster_new(simulation.world, plan, options);
  simulation.faults = sim_faults_new(simulation.world, simulation.cluster, plan);
  run(&simulation);
  report(&simulation);
  sim_faults_free(simulation.faults);
  sim_cluster_free(simulation.cluster);
  sim_world_free(simulation.world);
  log_divert(NULL);
}

void simulation_result_free(struct simulation_result *result) {
  history_free(result->history);
  history_free(result->counterexample);
  free(result->explanation);
  *result = (struct simulation_result){0};
}
