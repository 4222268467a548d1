/* The corpus: plans with verdicts, and a canary.
 *
 * A plan that showed a named defect must show it again in a build that has it (ASSAY_BUGS), and must be clean
 * in every build when no defect is switched on; a plan that once broke the healthy master must stay clean.
 *
 * What happens in a run depends on every draw before, so a change of the master or of the world may make a
 * plan miss what it showed. The same schedule with other seeds still shows it soon; only when none of those
 * does is the power to find it lost. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "master/bugs.h"
#include "simulator/plan.h"

#define OTHER_SEEDS 400
#define ROWS_MAX 256

struct row {
  char plan[64], bug[64], evidence[16], invariant[32];
};

static char *corpus_path(const char *name) {
  const char *source = getenv("ASSAY_SOURCE");
  char *folder = path_join(source ? source : ".", "simulator/corpus");
  char *path = path_join(folder, name);
  free(folder);
  return path;
}

/* The manifest's rows; every line that is no comment must be one. */
static size_t read_manifest(struct row rows[ROWS_MAX]) {
  char *path = corpus_path("MANIFEST"), line[256];
  FILE *file = fopen(path, "r");
  size_t count = 0;
  cr_assert(file != NULL, "%s cannot be read; is ASSAY_SOURCE set?", path);
  while (fgets(line, sizeof line, file)) {
    struct row *row = &rows[count];
    if (line[0] == '#' || line[0] == '\n')
      continue;
    cr_assert(count < ROWS_MAX - 1);
    cr_assert(sscanf(line, "%63s %63s %15s %31s", row->plan, row->bug, row->evidence, row->invariant) == 4,
              "%s: not a row: %s", path, line);
    count++;
  }
  fclose(file);
  free(path);
  return count;
}

static struct plan read_row(const struct row *row) {
  char *path = corpus_path(row->plan);
  struct plan plan;
  struct error error;
  cr_assert(plan_read(path, &plan, &error) == 0, "%s", error.message);
  free(path);
  return plan;
}

static struct simulation_result run(const struct plan *plan, journal_factory *journal) {
  const struct simulation_options options = {.journal = journal, .check = true};
  struct simulation_result result;
  simulate(plan, &options, &result);
  return result;
}

Test(corpus, is_clean_on_the_healthy_master) {
  static struct row rows[ROWS_MAX];
  const size_t count = read_manifest(rows);
  cr_assert(count >= 25);
  for (size_t i = 0; i < count; i++) {
    struct plan plan = read_row(&rows[i]);
    struct simulation_result result = run(&plan, raft_journal_new);
    cr_assert(result.evidence == EVIDENCE_NONE, "%s: %s %s: %s", rows[i].plan, evidence_name(result.evidence),
              result.invariant, result.text);
    simulation_result_free(&result);
    plan_free(&plan);
  }
}

#ifdef ASSAY_BUGS

static bool shows(const struct row *row, const struct plan *plan) {
  struct simulation_result result = run(plan, raft_journal_new);
  const char *invariant = result.invariant[0] ? result.invariant : "-";
  const bool same =
      strcmp(evidence_name(result.evidence), row->evidence) == 0 && strcmp(invariant, row->invariant) == 0;
  simulation_result_free(&result);
  return same;
}

static bool shows_with_some_seed(const struct row *row) {
  struct plan plan = read_row(row);
  bool shown = false;
  for (size_t other = 0; other <= OTHER_SEEDS && !shown; other++, plan.seed++) {
    shown = shows(row, &plan);
    if (shown && other > 0)
      cr_log_warn("%s: shown by seed %" PRIu64 " only; the plan should be replaced", row->plan, plan.seed);
  }
  plan_free(&plan);
  return shown;
}

Test(corpus, every_plan_of_a_defect_shows_it) {
  static struct row rows[ROWS_MAX];
  const size_t count = read_manifest(rows);
  for (size_t i = 0; i < count; i++) {
    if (strcmp(rows[i].bug, "healthy") == 0)
      continue;
    cr_assert(bug_enable(rows[i].bug), "%s: there is no defect %s", rows[i].plan, rows[i].bug);
    cr_expect(shows_with_some_seed(&rows[i]), "%s does not show %s (%s %s)", rows[i].plan, rows[i].bug,
              rows[i].evidence, rows[i].invariant);
    bug_disable_all();
  }
}

Test(corpus, holds_a_plan_for_every_defect) {
  static struct row rows[ROWS_MAX];
  const size_t count = read_manifest(rows);
  for (const struct bug_description *bug = bug_list(); bug->name; bug++) {
    bool held = bug->waits_for != NULL;
    for (size_t i = 0; i < count && !held; i++)
      held = strcmp(rows[i].bug, bug->name) == 0;
    cr_expect(held, "no plan in the corpus shows %s", bug->name);
  }
}

#endif

/* ---- The canary ----
 *
 * In every build: a Raft journal that now and then hands its state machine nothing where the others are
 * handed an entry. A simulator that does not notice finds nothing at all. */

static void (*hand_over)(void *context, uint64_t index, uint64_t term, const void *data, size_t size,
                         void *token);
static struct state_machine *canaries[1000];
static size_t canary_count;

static void hand_over_most(void *context, uint64_t index, uint64_t term, const void *data, size_t size,
                           void *token) {
  const bool forgets = index % 7 == 0 && !token;
  hand_over(context, index, term, forgets ? NULL : data, forgets ? 0 : size, token);
}

static struct journal *forgetful_journal_new(const struct raft_journal_options *options,
                                             const struct world *world, const struct state_machine *state) {
  cr_assert(canary_count < ARRAY_SIZE(canaries));
  struct state_machine *canary = xmalloc(sizeof *canary);
  canaries[canary_count++] = canary;
  *canary = *state;
  hand_over = state->committed;
  canary->committed = hand_over_most;
  return raft_journal_new(options, world, canary);
}

Test(corpus, the_canary_dies) {
  size_t noticed = 0;
  for (uint64_t seed = 1; seed <= 20; seed++) {
    struct plan plan;
    const struct plan_options drawn = {.duration_ns = 20 * NS_PER_S};
    cr_assert(plan_draw(seed, &drawn, &plan, NULL) == 0);
    struct simulation_result result = run(&plan, forgetful_journal_new);
    noticed += result.evidence == EVIDENCE_INVARIANT;
    simulation_result_free(&result);
    plan_free(&plan);
    while (canary_count > 0)
      free(canaries[--canary_count]);
  }
  cr_assert(noticed >= 10, "a replica that forgets entries was noticed by %zu seeds of 20", noticed);
}
