/* clock.c: what time it is for every node, and how fast it passes there. */
#include <math.h>
#include <poll.h>
#include <stdio.h>

#include "nemesis/test/inside.h"
#include "nemesis/test/table/table.h"

#define MS(ns) ((double)(ns) / (double)NS_PER_MS)
/* How long a setting of a clock may take to hold. */
#define SETTLE_MS 2.0

/* A reading lies between what is true before and after it. */
struct reading {
  int64_t before_ns, after_ns;    /* CLOCK_MONOTONIC here */
  double ahead_least, ahead_most; /* ms that the wall clock there is ahead of ours */
  int64_t wall_ns, monotonic_ns;
};

static struct reading read_clock(struct bed *bed, size_t node) {
  char reply[BED_REPLY_SIZE];
  long long wall_ns, monotonic_ns;
  struct reading reading;
  const int64_t before_ns = time_wall_ns();
  reading.before_ns = time_monotonic_ns();
  bed_must_ask(bed, node, reply, "clock");
  reading.after_ns = time_monotonic_ns();
  const int64_t after_ns = time_wall_ns();
  CHECK(sscanf(reply, "%lld %lld", &wall_ns, &monotonic_ns) == 2, "'%s' is no time", reply);
  reading.wall_ns = wall_ns;
  reading.monotonic_ns = monotonic_ns;
  reading.ahead_least = MS(wall_ns - after_ns);
  reading.ahead_most = MS(wall_ns - before_ns);
  return reading;
}

static bool is_ahead(const struct reading *reading, double ms) {
  return reading->ahead_least - SETTLE_MS <= ms && ms <= reading->ahead_most + SETTLE_MS;
}

static bool is_hurt(const struct bed *bed, size_t node) {
  return bed->installed && !bed->healed && bed_is_target(bed, node);
}

/* ---- Jumps ---- */

static void measure_jump(struct bed *bed, enum phase phase, struct row *row, int sign) {
  const double offset = phase == DURING ? sign * bed_number(bed, "offset_ms") : 0;
  row->again = true;
  double farthest = 0;
  size_t off = 0;
  bool holds = true;
  for (size_t i = 0; i < BED_NODES; i++) {
    const struct reading reading = read_clock(bed, i);
    holds = holds && is_ahead(&reading, is_hurt(bed, i) ? offset : 0);
    off += !is_ahead(&reading, 0);
    const double middle = (reading.ahead_least + reading.ahead_most) / 2;
    farthest = fabs(middle) > fabs(farthest) ? middle : farthest;
  }
  if (phase == DURING)
    row_expect(row, "%zu clocks %+.0f ms", bed_targets(bed), offset);
  row_found(row, phase, holds, "%zu off, most %+.1f ms", off, farthest);
}

static void measure_forward(struct bed *bed, enum phase phase, struct row *row) {
  measure_jump(bed, phase, row, 1);
}

static void measure_back(struct bed *bed, enum phase phase, struct row *row) {
  measure_jump(bed, phase, row, -1);
}

/* ---- To and fro ---- */

#define STROBES 6
#define STROBE_PATIENCE_NS (20 * NS_PER_S)

struct strobe {
  size_t jumps;
  double period_ms; /* between two jumps, on average */
  bool astray;      /* the clock was neither ahead nor behind by the offset */
};

static struct strobe watch_strobe(struct bed *bed, size_t node, double offset) {
  const int64_t give_up_ns = time_monotonic_ns() + STROBE_PATIENCE_NS;
  int64_t first_ns = 0, last_ns = 0;
  int sign = 0;
  struct strobe strobe = {0};
  while (strobe.jumps < STROBES && !strobe.astray && time_monotonic_ns() < give_up_ns) {
    bed_turn(bed);
    const struct reading reading = read_clock(bed, node);
    const int now = is_ahead(&reading, offset) ? 1 : is_ahead(&reading, -offset) ? -1 : 0;
    strobe.astray = now == 0;
    if (sign != 0 && now != sign) {
      last_ns = reading.after_ns;
      first_ns = strobe.jumps++ == 0 ? last_ns : first_ns;
    }
    sign = now;
  }
  if (strobe.jumps > 1)
    strobe.period_ms = MS(last_ns - first_ns) / (double)(strobe.jumps - 1);
  return strobe;
}

static void measure_strobe(struct bed *bed, enum phase phase, struct row *row) {
  if (phase != DURING) {
    measure_forward(bed, phase, row);
    return;
  }
  const double offset = bed_number(bed, "offset_ms"), every = bed_number(bed, "every_ms");
  row->again = true;
  const struct strobe strobe = watch_strobe(bed, bed_first_target(bed), offset);
  row_expect(row, "+-%.0f ms, every %.0f ms", offset, every);
  /* The acts come by the nemesis's timer, which this probe holds up: late, and never early. */
  row_found(row, phase,
            strobe.jumps == STROBES && !strobe.astray && strobe.period_ms > 0.8 * every &&
                strobe.period_ms < 10 * every,
            "%zu jumps, every %.0f ms", strobe.jumps, strobe.period_ms);
}

/* ---- Drift ---- */

#define DRIFT_PATIENCE_NS (20 * NS_PER_S)
/* Of what is measured; the weakest drift is 1 %. */
#define DRIFT_PRECISION 0.004

/* Seconds that pass there in a second here: bounds, by two readings. */
struct pace {
  double least, most;
};

static struct pace pace_between(const struct reading *a, const struct reading *b, int64_t a_ns,
                                int64_t b_ns) {
  const double there = (double)(b_ns - a_ns);
  return (struct pace){there / (double)(b->after_ns - a->before_ns),
                       there / (double)(b->before_ns - a->after_ns)};
}

static bool is_pace(struct pace pace, double rate) {
  return pace.least * 0.999 <= rate && rate <= pace.most * 1.001;
}

/* Watches until the bounds are close to each other; both clocks must agree. */
static struct pace watch_pace(struct bed *bed, size_t node) {
  const struct reading first = read_clock(bed, node);
  struct pace monotonic, wall;
  do {
    poll(NULL, 0, 20);
    const struct reading now = read_clock(bed, node);
    monotonic = pace_between(&first, &now, first.monotonic_ns, now.monotonic_ns);
    wall = pace_between(&first, &now, first.wall_ns, now.wall_ns);
  } while (monotonic.most - monotonic.least > DRIFT_PRECISION * monotonic.least &&
           time_monotonic_ns() - first.after_ns < DRIFT_PATIENCE_NS);
  if (wall.least > monotonic.most || wall.most < monotonic.least)
    return (struct pace){0};
  return monotonic;
}

static void measure_drift(struct bed *bed, enum phase phase, struct row *row) {
  const size_t node = phase == BEFORE ? BED_PRIMARY : bed_first_target(bed), other = (node + 1) % BED_NODES;
  const double rate = phase == DURING ? bed_number(bed, "rate") : 1;
  row->again = true;
  const struct pace pace = watch_pace(bed, node), right = watch_pace(bed, other);
  if (phase == DURING)
    row_expect(row, "%.4f s in a second", rate);
  row_found(row, phase, is_pace(pace, rate) && is_pace(right, 1), "%.3f to %.3f", pace.least, pace.most);
}

#define WALL "wall clocks of all nodes"
#define TOLD "\"targets\": [\"n2\", \"n4\"]"

static const struct proof proofs[] = {
    {"clock-jump-forward", WALL, TOLD, measure_forward},
    {"clock-jump-back", WALL, TOLD, measure_back},
    {"clock-strobe", WALL, TOLD, measure_strobe},
    {"clock-drift-fast", "pace of both clocks", TOLD, measure_drift},
    {"clock-drift-slow", "pace of both clocks", TOLD, measure_drift},
};
const struct proof_table clock_proofs = {proofs, ARRAY_SIZE(proofs)};
