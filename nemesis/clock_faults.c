/* clock_faults.c: faults of the nodes' clocks: set off, and made to run fast or slow; put right at the heal.
 *
 * A jump moves the wall clock alone. Drift bends the monotonic clock, too, and so the node's time-outs: a
 * fast follower loses patience early, a slow primary sends its heartbeats late. What trusts a clock for
 * safety is brought out by the primary's being behind, or slow, while the others elect a new one. */
#include <math.h>

#include "nemesis/cluster.h"
#include "nemesis/fault.h"

#define STROBE_TICK_MS 10

/* ---- Aiming ---- */

/* Magnitudes matter more than values: as many between 10 and 100 ms as between 1 and 10 hours. */
static double draw_log(struct random *random, double least, double most) {
  return exp(log(least) + random_unit(random) * (log(most) - log(least)));
}

/* False when none of the others runs. */
static bool all_but_primary(const struct facts *facts, struct aim *aim) {
  bool any = false;
  for (size_t i = 0; i < facts->nodes; i++) {
    aim->targets[i] = facts->free[i] && (int)i != facts->primary;
    any = any || aim->targets[i];
  }
  return any;
}

/* The primary half of the time; else one node, a minority, all others, or all. */
static int aim_somewhere(const struct fault *fault, const struct facts *facts, struct random *random,
                         struct aim *aim, struct error *error) {
  const uint64_t draw = random_below(random, 8);
  const int primary = facts_primary(facts);
  if (draw < 4 && primary >= 0) {
    aim->targets[primary] = true;
    return 0;
  }
  if (draw == 5 && facts->nodes >= 3)
    return aim_at_minority(fault, facts, random, aim, error);
  if (draw == 6 && primary >= 0 && all_but_primary(facts, aim))
    return 0;
  return draw == 7 ? aim_at_all(fault, facts, random, aim, error)
                   : aim_at_one(fault, facts, random, aim, error);
}

/* From ten milliseconds to ten hours. */
static int aim_jump(const struct fault *fault, const struct facts *facts, struct random *random,
                    struct aim *aim, struct error *error) {
  aim_set(aim, "offset_ms", round(draw_log(random, 10, 36e6)));
  return aim_somewhere(fault, facts, random, aim, error);
}

static int aim_strobe(const struct fault *fault, const struct facts *facts, struct random *random,
                      struct aim *aim, struct error *error) {
  aim_set(aim, "offset_ms", round(draw_log(random, 10, 10e3)));
  aim_set(aim, "every_ms", STROBE_TICK_MS * (double)(1 + random_below(random, 10)));
  return aim_somewhere(fault, facts, random, aim, error);
}

static int aim_fast(const struct fault *fault, const struct facts *facts, struct random *random,
                    struct aim *aim, struct error *error) {
  aim_set(aim, "rate", 1 + draw_log(random, 0.01, 9));
  return aim_somewhere(fault, facts, random, aim, error);
}

static int aim_slow(const struct fault *fault, const struct facts *facts, struct random *random,
                    struct aim *aim, struct error *error) {
  aim_set(aim, "rate", 1 / (1 + draw_log(random, 0.01, 9)));
  return aim_somewhere(fault, facts, random, aim, error);
}

/* ---- Doing it ---- */

/* Sets every target; goes on after a failure and reports the first. */
static int set_targets(struct cluster *cluster, const struct aim *aim, struct clock_setting setting,
                       struct error *error) {
  int first = 0;
  for (size_t i = 0; i < cluster_size(cluster); i++) {
    if (!aim->targets[i])
      continue;
    const int status = cluster_set_clock(cluster, i, &setting, first == 0 ? error : NULL);
    first = first == 0 ? status : first;
  }
  return first;
}

static int jump(struct cluster *cluster, const struct aim *aim, double sign, struct error *error) {
  const int64_t offset_ns = (int64_t)(sign * aim_get(aim, "offset_ms") * (double)NS_PER_MS);
  return set_targets(cluster, aim, (struct clock_setting){.offset_ns = offset_ns, .rate = 1}, error);
}

static int install_forward(struct cluster *cluster, const struct aim *aim, struct error *error) {
  return jump(cluster, aim, 1, error);
}

static int install_back(struct cluster *cluster, const struct aim *aim, struct error *error) {
  return jump(cluster, aim, -1, error);
}

/* Too often for a line each: the numbers say what is done. */
static int act_strobe(struct cluster *cluster, const struct facts *facts, const struct aim *aim, size_t step,
                      struct error *error) {
  (void)facts;
  const size_t ticks = (size_t)(aim_get(aim, "every_ms") / STROBE_TICK_MS);
  if (ticks == 0 || (step + 1) % ticks != 0)
    return ACT_QUIET;
  const int status = jump(cluster, aim, (step + 1) / ticks % 2 ? -1 : 1, error);
  return status != 0 ? status : ACT_QUIET;
}

static int install_drift(struct cluster *cluster, const struct aim *aim, struct error *error) {
  return set_targets(cluster, aim, (struct clock_setting){.rate = aim_get(aim, "rate")}, error);
}

static int heal(struct cluster *cluster, const struct aim *aim, struct error *error) {
  return set_targets(cluster, aim, CLOCK_RIGHT, error);
}

/* How far off the first target is. */
static size_t measure(struct cluster *cluster, const struct aim *aim,
                      struct aim_number evidence[AIM_NUMBERS_MAX]) {
  size_t first = 0;
  while (first < cluster_size(cluster) && !aim->targets[first])
    first++;
  struct clock_setting setting;
  if (first == cluster_size(cluster) || cluster_get_clock(cluster, first, &setting, NULL) != 0)
    return 0;
  evidence[0] = (struct aim_number){"clock_offset_ms", (double)setting.offset_ns / (double)NS_PER_MS};
  evidence[1] = (struct aim_number){"clock_rate", setting.rate};
  return 2;
}

#define CLOCK(deed, words)                                                                                   \
  .description = {"clock-" deed, "clock", words}, .needs = CAPABILITY_BIT(CAN_CLOCK),                        \
  .touches = TOUCHES_CLOCKS, .nodes_min = 1, .measure = measure, .heal = heal

static const struct fault faults[] = {
    {CLOCK("jump-forward", "wall clocks are set ahead, by 10 ms to 10 h"), .aim = aim_jump,
     .install = install_forward},
    {CLOCK("jump-back", "wall clocks are set back, by 10 ms to 10 h"), .aim = aim_jump,
     .install = install_back},
    {CLOCK("strobe", "wall clocks jump ahead and back, every 10 to 100 ms"), .aim = aim_strobe,
     .install = install_forward, .act = act_strobe, .act_after_ns = STROBE_TICK_MS * NS_PER_MS,
     .act_every_ns = STROBE_TICK_MS * NS_PER_MS},
    {CLOCK("drift-fast", "all clocks run up to ten times as fast"), .aim = aim_fast,
     .install = install_drift},
    {CLOCK("drift-slow", "all clocks run down to a tenth as fast"), .aim = aim_slow,
     .install = install_drift},
};
const struct fault_table clock_faults = {faults, ARRAY_SIZE(faults)};
