/* lifecycle.c: which process a node is, which program it runs, and whether it answers. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nemesis/test/inside.h"
#include "nemesis/test/table/table.h"

#define SILENCE_MS 100
#define ANSWER_MS 5000
#define ACTS_MS 15000

static bool answers_within(struct bed *bed, size_t node, int patience_ms, pid_t *pid) {
  char reply[BED_REPLY_SIZE];
  const bool answers = bed_ask(bed, node, patience_ms, reply, "who");
  *pid = answers ? (pid_t)strtol(reply, NULL, 10) : -1;
  return answers;
}

/* How many nodes answer, and how many of them as the process that they were when the bed was opened. */
static void call(struct bed *bed, size_t *answer, size_t *same) {
  *answer = *same = 0;
  for (size_t i = 0; i < BED_NODES; i++) {
    pid_t pid;
    const bool silent = bed->installed && !bed->healed && cluster_node_state(bed->cluster, i) != NODE_RUNNING;
    *answer += answers_within(bed, i, silent ? SILENCE_MS : ANSWER_MS, &pid);
    *same += pid == bed->pids[i];
  }
}

/* One node is silent, and answers again: as another process, or as the same. */
static void measure_silence(struct bed *bed, enum phase phase, struct row *row, size_t same_after) {
  size_t answer, same;
  call(bed, &answer, &same);
  if (phase == DURING) {
    pid_t pid;
    const bool target_answers = answers_within(bed, bed_first_target(bed), SILENCE_MS, &pid);
    row_expect(row, "1 silent; then %zu the same", same_after);
    row_found(row, phase, bed_targets(bed) == 1 && !target_answers && same == BED_NODES - 1,
              "%zu answer, %zu the same", answer, same);
  } else {
    const size_t expected = phase == BEFORE ? BED_NODES : same_after;
    row_found(row, phase, answer == BED_NODES && same == expected, "%zu answer, %zu the same", answer, same);
  }
}

static void measure_stop(struct bed *bed, enum phase phase, struct row *row) {
  measure_silence(bed, phase, row, BED_NODES - 1);
}

static void measure_long_pause(struct bed *bed, enum phase phase, struct row *row) {
  measure_silence(bed, phase, row, BED_NODES);
}

/* Each node is another process when its turn has come and gone; never is more than one of them away. */
static void measure_rolling(struct bed *bed, enum phase phase, struct row *row) {
  size_t answer, same, least = BED_NODES;
  for (size_t acts = 1; phase == DURING && acts < 2 * BED_NODES; acts++) {
    CHECK(bed_await_acts(bed, acts, ACTS_MS), "it does not go on after %zu acts", bed->acts);
    size_t running = 0;
    for (size_t i = 0; i < BED_NODES; i++)
      running += cluster_node_state(bed->cluster, i) == NODE_RUNNING;
    least = running < least ? running : least;
  }
  call(bed, &answer, &same);
  if (phase == DURING) {
    row_expect(row, "%d new, at most one down at a time", BED_NODES);
    row_found(row, phase, answer == BED_NODES && same == 0 && least == BED_NODES - 1,
              "%zu new, %zu down at once", BED_NODES - same, BED_NODES - least);
  } else {
    row_found(row, phase, answer == BED_NODES && same == (phase == BEFORE ? BED_NODES : 0),
              "%zu answer, %zu the same", answer, same);
  }
}

/* Once it answers it is known to, and killed: the process changes with every act that is told. */
static void measure_loop(struct bed *bed, enum phase phase, struct row *row) {
  size_t answer, same;
  if (phase == DURING) {
    const size_t node = bed_first_target(bed);
    pid_t last = bed->pids[node];
    size_t processes = 0;
    for (size_t acts = 1; acts <= 4; acts++) {
      CHECK(bed_await_acts(bed, acts, ACTS_MS), "it does not go on after %zu acts", bed->acts);
      while (cluster_node_state(bed->cluster, node) != NODE_RUNNING)
        bed_turn(bed);
      const pid_t pid = cluster_node_pid(bed->cluster, node);
      processes += pid != last;
      last = pid;
    }
    row_expect(row, "a process after each of 4 kills");
    row_found(row, phase, processes == 4, "%zu processes", processes);
    return;
  }
  call(bed, &answer, &same);
  const size_t expected = phase == BEFORE ? BED_NODES : BED_NODES - 1;
  row_found(row, phase, answer == BED_NODES && same == expected, "%zu answer, %zu the same", answer, same);
}

static bool runs_old(const struct bed *bed, size_t node) {
  char link[64], program[PATH_MAX];
  snprintf(link, sizeof link, "/proc/%d/exe", (int)cluster_node_pid(bed->cluster, node));
  const ssize_t size = readlink(link, program, sizeof program - 1);
  CHECK(size > 0, "node %zu has no program", node);
  program[size] = '\0';
  return strstr(program, BED_OLD_PROGRAM) != NULL;
}

static void measure_old(struct bed *bed, enum phase phase, struct row *row) {
  size_t old = 0, answer, same;
  bool aimed = true;
  call(bed, &answer, &same);
  for (size_t i = 0; i < BED_NODES; i++) {
    const bool is_old = runs_old(bed, i);
    old += is_old;
    aimed = aimed && is_old == (phase == DURING && bed_is_target(bed, i));
  }
  if (phase == DURING)
    row_expect(row, "1 runs the old program");
  row_found(row, phase, aimed && answer == BED_NODES && old == (phase == DURING), "%zu old, %zu answer", old,
            answer);
}

#define WHO "who answers, as which process"

static const struct proof proofs[] = {
    {"stop-primary", WHO, NULL, measure_stop},     {"stop-one", WHO, NULL, measure_stop},
    {"pause-long", WHO, NULL, measure_long_pause}, {"kill-rolling", WHO, NULL, measure_rolling},
    {"kill-loop", WHO, NULL, measure_loop},        {"old-build", "/proc/PID/exe", NULL, measure_old},
};
const struct proof_table lifecycle_proofs = {proofs, ARRAY_SIZE(proofs)};
