/* partition.c: who hears whom, in every direction, while clients reach everybody. */
#include <stdio.h>
#include <string.h>

#include "nemesis/test/inside.h"
#include "nemesis/test/table/table.h"

#define DIRECTIONS (BED_NODES * (BED_NODES - 1))
#define MAJORITY (BED_NODES / 2 + 1)

/* heard[a * BED_NODES + b]: b's packets reach a. */
struct picture {
  bool heard[BED_NODES * BED_NODES];
  size_t passing, reached; /* directions; nodes that answer their clients */
};

static bool hears(const struct picture *picture, size_t node, size_t other) {
  return picture->heard[node * BED_NODES + other];
}

static struct picture take(struct bed *bed) {
  struct picture picture = {0};
  char reply[BED_REPLY_SIZE];
  bed_listen(bed, picture.heard);
  for (size_t i = 0; i < BED_NODES; i++) {
    picture.reached += bed_ask(bed, i, 1000, reply, "who");
    for (size_t other = 0; other < BED_NODES; other++)
      picture.passing += hears(&picture, i, other);
  }
  return picture;
}

static size_t heard_by(const struct picture *picture, size_t node) {
  size_t count = 0;
  for (size_t other = 0; other < BED_NODES; other++)
    count += hears(picture, node, other);
  return count;
}

/* ---- The shapes, seen in the picture alone, but for whose they are ---- */

static bool two_sides(const struct picture *picture, const bool *side) {
  for (size_t a = 0; a < BED_NODES; a++)
    for (size_t b = 0; b < BED_NODES; b++)
      if (a != b && hears(picture, a, b) != (side[a] == side[b]))
        return false;
  return true;
}

static void targets(const struct bed *bed, bool *side) {
  for (size_t i = 0; i < BED_NODES; i++)
    side[i] = bed_is_target(bed, i);
}

static bool is_one_alone(const struct bed *bed, const struct picture *picture) {
  bool side[BED_NODES];
  targets(bed, side);
  return bed_targets(bed) == 1 && two_sides(picture, side);
}

static bool is_halved(const struct bed *bed, const struct picture *picture) {
  bool side[BED_NODES];
  targets(bed, side);
  return bed_targets(bed) == BED_NODES / 2 && two_sides(picture, side);
}

static bool is_ring(const struct bed *bed, const struct picture *picture) {
  (void)bed;
  for (size_t a = 0; a < BED_NODES; a++) {
    if (heard_by(picture, a) != MAJORITY - 1)
      return false;
    for (size_t b = 0; b < a; b++) {
      bool same = hears(picture, a, b) && hears(picture, b, a);
      for (size_t c = 0; c < BED_NODES; c++)
        same = same && (c == a || c == b || hears(picture, a, c) == hears(picture, b, c));
      if (same)
        return false;
    }
  }
  return true;
}

/* The bridge hears all; the others hear it and one other. */
static bool is_bridge(const struct bed *bed, const struct picture *picture) {
  const size_t bridge = bed_first_target(bed);
  for (size_t a = 0; a < BED_NODES; a++) {
    if (heard_by(picture, a) != (a == bridge ? BED_NODES - 1 : BED_NODES / 2))
      return false;
    for (size_t b = 0; b < BED_NODES; b++)
      if (hears(picture, a, b) != hears(picture, b, a))
        return false;
  }
  return bed_targets(bed) == 1;
}

static bool is_one_way(const struct bed *bed, const struct picture *picture) {
  (void)bed;
  for (size_t a = 0; a < BED_NODES; a++)
    for (size_t b = 0; b < a; b++)
      if (!hears(picture, a, b) && !hears(picture, b, a))
        return false;
  return picture->passing < DIRECTIONS;
}

/* ---- Proofs ---- */

static size_t count_drawn(const struct bed *bed) {
  size_t passing = 0;
  for (size_t a = 0; a < BED_NODES; a++)
    for (size_t b = 0; b < BED_NODES; b++)
      passing += a != b && bed_hears(bed, a, b);
  return passing;
}

static bool is_as_drawn(const struct bed *bed, const struct picture *picture) {
  for (size_t a = 0; a < BED_NODES; a++)
    for (size_t b = 0; b < BED_NODES; b++)
      if (a != b && hears(picture, a, b) != bed_hears(bed, a, b))
        return false;
  return true;
}

static void measure(struct bed *bed, enum phase phase, struct row *row,
                    bool (*is_shape)(const struct bed *bed, const struct picture *picture)) {
  const struct picture picture = take(bed);
  bool holds = picture.reached == BED_NODES;
  if (phase == DURING) {
    row_expect(row, "%zu of %d pass, clients all", count_drawn(bed), DIRECTIONS);
    holds = holds && is_as_drawn(bed, &picture) && is_shape(bed, &picture);
  } else {
    holds = holds && picture.passing == DIRECTIONS;
  }
  row_found(row, phase, holds, "%zu, clients %zu", picture.passing, picture.reached);
}

static void measure_halves(struct bed *bed, enum phase phase, struct row *row) {
  measure(bed, phase, row, is_halved);
}

static void measure_one(struct bed *bed, enum phase phase, struct row *row) {
  measure(bed, phase, row, is_one_alone);
}

static void measure_ring(struct bed *bed, enum phase phase, struct row *row) {
  measure(bed, phase, row, is_ring);
}

static void measure_bridge(struct bed *bed, enum phase phase, struct row *row) {
  measure(bed, phase, row, is_bridge);
}

static void measure_one_way(struct bed *bed, enum phase phase, struct row *row) {
  measure(bed, phase, row, is_one_way);
}

/* Silent at first, then cut off from its peers only. */
static void measure_stalled(struct bed *bed, enum phase phase, struct row *row) {
  char reply[BED_REPLY_SIZE];
  bool stood = true;
  if (phase == DURING) {
    stood = !bed_ask(bed, BED_PRIMARY, 100, reply, "who");
    stood = bed_await_acts(bed, 1, 10000) && stood;
  }
  measure_one(bed, phase, row);
  row->cells[phase].holds = row->cells[phase].holds && stood;
}

#define PROBE "UDP between all nodes"

static const struct proof proofs[] = {
    {"partition-primary", PROBE, NULL, measure_one},
    {"partition-stalled", "silence, then " PROBE, NULL, measure_stalled},
    {"partition-halves", PROBE, NULL, measure_halves},
    {"partition-one", PROBE, NULL, measure_one},
    {"partition-ring", PROBE, NULL, measure_ring},
    {"partition-bridge", PROBE, NULL, measure_bridge},
    {"partition-one-way", PROBE, NULL, measure_one_way},
};
const struct proof_table partition_proofs = {proofs, ARRAY_SIZE(proofs)};
