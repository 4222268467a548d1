/* process.c: who still answers, and who answers again, as the same process or as a new one. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "nemesis/test/inside.h"
#include "nemesis/test/table/table.h"

/* A node that runs answers within a millisecond; a machine that is busy takes longer. */
#define SILENCE_MS 100
#define ANSWER_MS 5000

struct roll_call {
  size_t answer, same;  /* nodes; processes as when the bed was opened */
  size_t stopped, gone; /* of those processes */
  bool as_aimed;        /* no target answers, and all others do, as the same processes */
};

static bool is_stopped(pid_t pid) {
  char path[64];
  struct bytes stat = {0};
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  file_read(path, &stat, NULL);
  bytes_append_u8(&stat, 0);
  const char *state = strrchr((const char *)stat.data, ')');
  const bool stopped = state && strncmp(state, ") T", 3) == 0;
  bytes_free(&stat);
  return stopped;
}

static struct roll_call call(struct bed *bed) {
  struct roll_call roll = {.as_aimed = true};
  for (size_t i = 0; i < BED_NODES; i++) {
    char reply[BED_REPLY_SIZE];
    const bool hurt = bed->installed && !bed->healed && bed_is_target(bed, i);
    const bool answers = bed_ask(bed, i, hurt ? SILENCE_MS : ANSWER_MS, reply, "who");
    const bool same = answers && strtol(reply, NULL, 10) == bed->pids[i];
    roll.answer += answers;
    roll.same += same;
    roll.stopped += is_stopped(bed->pids[i]);
    roll.gone += kill(bed->pids[i], 0) != 0 && errno == ESRCH;
    roll.as_aimed = roll.as_aimed && (hurt ? !answers : same);
  }
  return roll;
}

static void measure_pause(struct bed *bed, enum phase phase, struct row *row, size_t targets) {
  const struct roll_call roll = call(bed);
  if (phase == DURING) {
    row_expect(row, "%zu stopped and silent, %zu answer", targets, BED_NODES - targets);
    row_found(row, phase, roll.as_aimed && roll.stopped == targets && bed_targets(bed) == targets,
              "%zu stopped, %zu answer", roll.stopped, roll.answer);
  } else {
    row_found(row, phase, roll.same == BED_NODES && roll.stopped == 0, "%zu answer, %zu the same",
              roll.answer, roll.same);
  }
}

static void measure_kill(struct bed *bed, enum phase phase, struct row *row, size_t targets) {
  const struct roll_call roll = call(bed);
  if (phase == DURING) {
    row_expect(row, "%zu gone, %zu answer; then new", targets, BED_NODES - targets);
    row_found(row, phase, roll.as_aimed && roll.gone == targets && bed_targets(bed) == targets,
              "%zu gone, %zu answer", roll.gone, roll.answer);
  } else {
    const size_t same = phase == BEFORE ? BED_NODES : BED_NODES - targets;
    row_found(row, phase, roll.answer == BED_NODES && roll.same == same, "%zu answer, %zu the same",
              roll.answer, roll.same);
  }
}

/* Of the faults that are aimed at the primary. */
static void must_hit_primary(const struct bed *bed, enum phase phase, struct row *row) {
  if (phase == DURING)
    row->cells[phase].holds = row->cells[phase].holds && bed_is_target(bed, BED_PRIMARY);
}

#define ONE 1
#define MINORITY ((BED_NODES - 1) / 2)
#define MAJORITY (BED_NODES / 2 + 1)

static void pause_primary(struct bed *bed, enum phase phase, struct row *row) {
  measure_pause(bed, phase, row, ONE);
  must_hit_primary(bed, phase, row);
}

static void pause_one(struct bed *bed, enum phase phase, struct row *row) {
  measure_pause(bed, phase, row, ONE);
}

static void pause_minority(struct bed *bed, enum phase phase, struct row *row) {
  measure_pause(bed, phase, row, MINORITY);
}

static void pause_majority(struct bed *bed, enum phase phase, struct row *row) {
  measure_pause(bed, phase, row, MAJORITY);
}

static void pause_all(struct bed *bed, enum phase phase, struct row *row) {
  measure_pause(bed, phase, row, BED_NODES);
}

static void kill_primary(struct bed *bed, enum phase phase, struct row *row) {
  measure_kill(bed, phase, row, ONE);
  must_hit_primary(bed, phase, row);
}

static void kill_one(struct bed *bed, enum phase phase, struct row *row) {
  measure_kill(bed, phase, row, ONE);
}

static void kill_minority(struct bed *bed, enum phase phase, struct row *row) {
  measure_kill(bed, phase, row, MINORITY);
}

static void kill_majority(struct bed *bed, enum phase phase, struct row *row) {
  measure_kill(bed, phase, row, MAJORITY);
}

static void kill_all(struct bed *bed, enum phase phase, struct row *row) {
  measure_kill(bed, phase, row, BED_NODES);
}

#define PAUSE_PROBE "who answers; state in /proc"
#define KILL_PROBE "who answers; pids"

static const struct proof proofs[] = {
    {"pause-primary", PAUSE_PROBE, NULL, pause_primary},
    {"pause-one", PAUSE_PROBE, NULL, pause_one},
    {"pause-minority", PAUSE_PROBE, NULL, pause_minority},
    {"pause-majority", PAUSE_PROBE, NULL, pause_majority},
    {"pause-all", PAUSE_PROBE, NULL, pause_all},
    {"kill-primary", KILL_PROBE, NULL, kill_primary},
    {"kill-one", KILL_PROBE, NULL, kill_one},
    {"kill-minority", KILL_PROBE, NULL, kill_minority},
    {"kill-majority", KILL_PROBE, NULL, kill_majority},
    {"kill-all", KILL_PROBE, NULL, kill_all},
};
const struct proof_table process_proofs = {proofs, ARRAY_SIZE(proofs)};
