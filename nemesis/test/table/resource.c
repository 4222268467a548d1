/* resource.c: how much more a node can open and allocate, and how much of the time it runs. */
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "nemesis/test/inside.h"
#include "nemesis/test/questions.h"
#include "nemesis/test/table/table.h"

static double ask_number(struct bed *bed, size_t node, const char *question) {
  char reply[BED_REPLY_SIZE];
  bed_must_ask(bed, node, reply, "%s", question);
  return strtod(reply, NULL);
}

/* Every target has what was left to it, within `slack`, and all others have plenty. */
static void measure_limit(struct bed *bed, enum phase phase, struct row *row, const char *question,
                          const char *number, double plenty, double slack) {
  bool holds = true;
  double least = plenty;
  for (size_t i = 0; i < BED_NODES; i++) {
    const double more = ask_number(bed, i, question);
    const double wanted = phase == DURING && bed_is_target(bed, i) ? bed_number(bed, number) : plenty;
    holds = holds && fabs(more - wanted) <= (wanted < plenty ? slack : 0);
    least = more < least ? more : least;
  }
  if (phase == DURING)
    row_expect(row, "%.0f more", bed_number(bed, number));
  row_found(row, phase, holds, "%.0f%s more", least, least == plenty ? " and" : "");
}

static void measure_descriptors(struct bed *bed, enum phase phase, struct row *row) {
  measure_limit(bed, phase, row, "descriptors", "spare_descriptors", QUESTION_DESCRIPTORS, 0);
}

/* What the C library itself takes meanwhile, and pages that are not whole, make the difference. */
static void measure_memory(struct bed *bed, enum phase phase, struct row *row) {
  measure_limit(bed, phase, row, "memory", "spare_kib", QUESTION_MEMORY_KIB, 8);
}

#define WATCH_MS 1000

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

/* How much of the time a node could run, as the kernel told whenever it was looked at. */
static void watch(struct bed *bed, double percent[BED_NODES]) {
  int64_t ran_ns[BED_NODES] = {0}, total_ns = 0, last_ns = time_monotonic_ns();
  while (total_ns < WATCH_MS * NS_PER_MS) {
    bool stopped[BED_NODES];
    bed_turn(bed);
    for (size_t i = 0; i < BED_NODES; i++)
      stopped[i] = is_stopped(bed->pids[i]);
    poll(NULL, 0, 1);
    const int64_t now_ns = time_monotonic_ns();
    for (size_t i = 0; i < BED_NODES; i++)
      ran_ns[i] += stopped[i] ? 0 : now_ns - last_ns;
    total_ns += now_ns - last_ns;
    last_ns = now_ns;
  }
  for (size_t i = 0; i < BED_NODES; i++)
    percent[i] = 100 * (double)ran_ns[i] / (double)total_ns;
}

static void measure_processor(struct bed *bed, enum phase phase, struct row *row) {
  row->again = true;
  double percent[BED_NODES], least = 100;
  bool holds = true;
  watch(bed, percent);
  for (size_t i = 0; i < BED_NODES; i++) {
    const bool hurt = phase == DURING && bed_is_target(bed, i);
    const double wanted = hurt ? bed_number(bed, "share_percent") : 100;
    holds = holds && fabs(percent[i] - wanted) <= (hurt ? 12 : 0);
    least = percent[i] < least ? percent[i] : least;
  }
  if (phase == DURING)
    row_expect(row, "%.0f %% of the time", bed_number(bed, "share_percent"));
  row_found(row, phase, holds, "%.0f %% of the time", least);
}

static const struct proof proofs[] = {
    {"resource-descriptors", "files opened until refused", NULL, measure_descriptors},
    {"resource-memory", "KiB mapped until refused", NULL, measure_memory},
    {"resource-processor", "state in /proc", NULL, measure_processor},
};
const struct proof_table resource_proofs = {proofs, ARRAY_SIZE(proofs)};
