/* snapshot.c: nodes that are told to be in the middle of a snapshot, and whether they are hit just then. The
 * echo nodes have none; what they do is made known to the nemesis as its caller would. */
#include <poll.h>
#include <stdlib.h>

#include "nemesis/test/inside.h"
#include "nemesis/test/table/table.h"

#define SILENCE_MS 100
#define ANSWER_MS 5000
#define ACTS_MS 10000
/* Long enough for a fault that does not wait for its moment to give itself away. */
#define EARLY_MS 60

enum doing { NOTHING, TAKES, SENDS, INSTALLS };

static void note(struct bed *bed, size_t node, uint64_t first_index, uint64_t last_index, enum doing doing) {
  const struct node_facts facts = {.known = true,
                                   .primary = node == BED_PRIMARY,
                                   .term = 1,
                                   .first_index = first_index,
                                   .last_index = last_index,
                                   .takes_snapshot = doing == TAKES,
                                   .sends_snapshot = doing == SENDS,
                                   .installs_snapshot = doing == INSTALLS};
  nemesis_note_node(bed->nemesis, node, &facts);
}

static size_t count_answers(struct bed *bed) {
  size_t answer = 0;
  for (size_t i = 0; i < BED_NODES; i++) {
    char reply[BED_REPLY_SIZE];
    const bool runs = cluster_node_state(bed->cluster, i) == NODE_RUNNING;
    answer += bed_ask(bed, i, runs ? ANSWER_MS : SILENCE_MS, reply, "who");
  }
  return answer;
}

/* True when nothing was done though there was time for it. */
static bool stays_quiet(struct bed *bed) {
  const size_t acts = bed->acts;
  const int64_t end_ns = time_monotonic_ns() + EARLY_MS * NS_PER_MS;
  while (time_monotonic_ns() < end_ns) {
    bed_turn(bed);
    poll(NULL, 0, 1);
  }
  return bed->acts == acts;
}

static size_t lagging(const struct bed *bed) {
  return (size_t)bed_number(bed, "lagging_node") - 1;
}

/* Nodes that hear the lagging one. */
static size_t count_hearers(struct bed *bed) {
  bool heard[BED_NODES * BED_NODES];
  size_t hearers = 0;
  bed_listen(bed, heard);
  for (size_t i = 0; i < BED_NODES; i++)
    hearers += i != lagging(bed) && heard[i * BED_NODES + lagging(bed)];
  return hearers;
}

/* Nothing is done while the primary's log reaches back far enough; when it does not, the node comes back. */
static bool lag(struct bed *bed) {
  note(bed, lagging(bed), 1, 10, NOTHING);
  note(bed, BED_PRIMARY, 11, 400, NOTHING);
  const bool waits = stays_quiet(bed);
  note(bed, BED_PRIMARY, 301, 700, NOTHING);
  return bed_await_acts(bed, 1, ACTS_MS) && waits;
}

static void measure(struct bed *bed, enum phase phase, struct row *row, enum doing doing, size_t left) {
  if (phase != DURING) {
    const size_t answer = count_answers(bed);
    row_found(row, phase, answer == BED_NODES, "%zu answer", answer);
    return;
  }
  bool holds = true;
  size_t victim = bed_first_target(bed);
  if (doing != TAKES) {
    holds = lag(bed);
    victim = doing == SENDS ? BED_PRIMARY : lagging(bed);
  }
  holds = holds && stays_quiet(bed) && count_answers(bed) == BED_NODES;
  note(bed, victim, 301, 700, doing);
  holds = holds && bed_await_acts(bed, bed->acts + 1, ACTS_MS);
  const size_t answer = count_answers(bed);
  row_expect(row, "at the moment, and not before: %zu answer", left);
  row_found(row, phase, holds && answer == left && cluster_node_state(bed->cluster, victim) != NODE_RUNNING,
            "%zu answer", answer);
}

static void measure_taking(struct bed *bed, enum phase phase, struct row *row) {
  measure(bed, phase, row, TAKES, BED_NODES - 1);
}

static void measure_sending(struct bed *bed, enum phase phase, struct row *row) {
  measure(bed, phase, row, SENDS, BED_NODES - 1);
}

static void measure_installing(struct bed *bed, enum phase phase, struct row *row) {
  measure(bed, phase, row, INSTALLS, BED_NODES - 1);
}

/* Cut off at first, and heard again when it lags. */
static void measure_lag(struct bed *bed, enum phase phase, struct row *row) {
  if (phase != DURING) {
    const size_t answer = count_answers(bed);
    row_found(row, phase, answer == BED_NODES, "%zu answer", answer);
    return;
  }
  const size_t before = count_hearers(bed);
  const bool came_back = lag(bed);
  const int64_t give_up_ns = time_monotonic_ns() + ANSWER_MS * NS_PER_MS;
  size_t after = count_hearers(bed);
  while (after < BED_NODES - 1 && time_monotonic_ns() < give_up_ns)
    after = count_hearers(bed);
  row_expect(row, "0 of %d hear it; all when it lags", BED_NODES - 1);
  row_found(row, phase, before == 0 && came_back && after == BED_NODES - 1, "%zu, then %zu", before, after);
}

#define WHO "who answers when"

static const struct proof proofs[] = {
    {"snapshot-kill-taking", WHO, NULL, measure_taking},
    {"snapshot-kill-sending", WHO, NULL, measure_sending},
    {"snapshot-kill-installing", WHO, NULL, measure_installing},
    {"snapshot-pause-installing", WHO, NULL, measure_installing},
    {"snapshot-lag", "who hears the node that lags", NULL, measure_lag},
    {"snapshot-lag-kill", WHO, NULL, measure_installing},
};
const struct proof_table snapshot_proofs = {proofs, ARRAY_SIZE(proofs)};
