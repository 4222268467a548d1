/* link_faults.c: links between nodes that work badly: late, lossy, slow, out of order, up and down. The links
 * to the clients are never touched.
 *
 * Where and how badly is drawn apart: the same loss around the primary, on one direction of one node's links,
 * and everywhere are three different tests. What is drawn stands in the aim's numbers, and from those alone
 * comes the shape, so a schedule can name others. */
#include <math.h>
#include <string.h>

#include "nemesis/cluster.h"
#include "nemesis/fault.h"

/* ---- Where ---- */

static void shape_link(struct aim *aim, const struct facts *facts, size_t from, size_t to) {
  aim->shaped[to * facts->nodes + from] = from != to;
}

/* What the node sends (ways 0), what it receives (1), or both. */
static void shape_around(struct aim *aim, const struct facts *facts, size_t node, uint64_t ways) {
  for (size_t other = 0; other < facts->nodes; other++) {
    if (ways != 1)
      shape_link(aim, facts, node, other);
    if (ways != 0)
      shape_link(aim, facts, other, node);
  }
}

/* Each direction of each link by itself, half of them; the targets are those who send. */
static void shape_some(struct aim *aim, const struct facts *facts, struct random *random) {
  bool any = false;
  for (size_t from = 0; from < facts->nodes; from++)
    for (size_t to = 0; to < facts->nodes; to++)
      if (from != to && random_chance(random, 0.5)) {
        shape_link(aim, facts, from, to);
        aim->targets[from] = any = true;
      }
  if (!any) {
    shape_link(aim, facts, 0, 1);
    aim->targets[0] = true;
  }
}

/* The links around the primary half of the time; else around one node, all links, or some directions of some.
 */
static int aim_somewhere(const struct facts *facts, struct random *random, struct aim *aim,
                         struct error *error) {
  const uint64_t draw = random_below(random, 8), ways = random_below(random, 3);
  struct random some = random_split(random);
  const int primary = facts_primary(facts);
  size_t node;
  aim->shapes = true;
  if (draw == 7) {
    shape_some(aim, facts, &some);
    return 0;
  }
  if (draw == 6) {
    for (size_t i = 0; i < facts->nodes; i++) {
      aim->targets[i] = true;
      shape_around(aim, facts, i, 2);
    }
    return 0;
  }
  if (!facts_pick(facts, random, 1, &node))
    return error_set(error, ERR_UNAVAILABLE, "no node is running");
  if (draw < 4 && primary >= 0)
    node = (size_t)primary;
  aim->targets[node] = true;
  shape_around(aim, facts, node, ways);
  return 0;
}

/* ---- How badly ---- */

/* Magnitudes matter more than values. Three digits are enough for anybody who types them again. */
static double draw_log(struct random *random, double least, double most) {
  const double value = exp(log(least) + random_unit(random) * (log(most) - log(least)));
  const double unit = pow(10, floor(log10(value)) - 2);
  return round(value / unit) * unit;
}

/* From what a heartbeat does not notice to what an election time-out does not survive. */
static int aim_delay(const struct fault *fault, const struct facts *facts, struct random *random,
                     struct aim *aim, struct error *error) {
  (void)fault;
  aim_set(aim, "delay_ms", draw_log(random, 5, 1500));
  aim_set(aim, "jitter_ms", round(aim_get(aim, "delay_ms") * random_unit(random)));
  return aim_somewhere(facts, random, aim, error);
}

static int aim_loss(const struct fault *fault, const struct facts *facts, struct random *random,
                    struct aim *aim, struct error *error) {
  (void)fault;
  aim_set(aim, "loss_percent", draw_log(random, 1, 40));
  return aim_somewhere(facts, random, aim, error);
}

static int aim_duplicate(const struct fault *fault, const struct facts *facts, struct random *random,
                         struct aim *aim, struct error *error) {
  (void)fault;
  aim_set(aim, "duplicate_percent", draw_log(random, 5, 80));
  return aim_somewhere(facts, random, aim, error);
}

static int aim_reorder(const struct fault *fault, const struct facts *facts, struct random *random,
                       struct aim *aim, struct error *error) {
  (void)fault;
  aim_set(aim, "delay_ms", draw_log(random, 5, 150));
  aim_set(aim, "reorder_percent", draw_log(random, 10, 80));
  return aim_somewhere(facts, random, aim, error);
}

static int aim_corrupt(const struct fault *fault, const struct facts *facts, struct random *random,
                       struct aim *aim, struct error *error) {
  (void)fault;
  aim_set(aim, "corrupt_percent", draw_log(random, 1, 30));
  return aim_somewhere(facts, random, aim, error);
}

static int aim_rate(const struct fault *fault, const struct facts *facts, struct random *random,
                    struct aim *aim, struct error *error) {
  (void)fault;
  aim_set(aim, "rate_kb_per_s", draw_log(random, 2, 1000));
  return aim_somewhere(facts, random, aim, error);
}

static int aim_mess(const struct fault *fault, const struct facts *facts, struct random *random,
                    struct aim *aim, struct error *error) {
  (void)fault;
  aim_set(aim, "delay_ms", draw_log(random, 1, 80));
  aim_set(aim, "jitter_ms", round(aim_get(aim, "delay_ms") * random_unit(random)));
  aim_set(aim, "loss_percent", draw_log(random, 0.5, 10));
  aim_set(aim, "duplicate_percent", draw_log(random, 0.5, 20));
  aim_set(aim, "reorder_percent", draw_log(random, 1, 30));
  aim_set(aim, "corrupt_percent", draw_log(random, 0.2, 5));
  return aim_somewhere(facts, random, aim, error);
}

/* ---- Doing it ---- */

static double number(const struct aim *aim, const char *name) {
  for (size_t i = 0; i < aim->number_count; i++)
    if (strcmp(aim->numbers[i].name, name) == 0)
      return aim->numbers[i].value;
  return 0;
}

static struct link_shape shape_of(const struct aim *aim) {
  return (struct link_shape){.delay_ns = (int64_t)(number(aim, "delay_ms") * (double)NS_PER_MS),
                             .jitter_ns = (int64_t)(number(aim, "jitter_ms") * (double)NS_PER_MS),
                             .loss = number(aim, "loss_percent") / 100,
                             .duplicate = number(aim, "duplicate_percent") / 100,
                             .reorder = number(aim, "reorder_percent") / 100,
                             .corrupt = number(aim, "corrupt_percent") / 100,
                             .rate_bytes_per_s = (uint64_t)(number(aim, "rate_kb_per_s") * 1000)};
}

static int install(struct cluster *cluster, const struct aim *aim, struct error *error) {
  const struct link_shape shape = shape_of(aim);
  return cluster_shape_links(cluster, &shape, aim->shaped, error);
}

static int heal(struct cluster *cluster, const struct aim *aim, struct error *error) {
  (void)aim;
  size_t shaped;
  struct link_counters counters;
  int status = cluster_shape_links(cluster, NULL, NULL, error);
  if (status == 0)
    status = cluster_count_shapes(cluster, &shaped, &counters, error);
  if (status == 0 && shaped > 0)
    return error_set(error, ERR_IO, "%zu links are still shaped", shaped);
  return status;
}

static size_t measure(struct cluster *cluster, const struct aim *aim,
                      struct aim_number evidence[AIM_NUMBERS_MAX]) {
  (void)aim;
  size_t shaped, count = 0;
  struct link_counters c;
  if (cluster_count_shapes(cluster, &shaped, &c, NULL) != 0)
    return 0;
  const struct aim_number all[] = {{"packets_seen", (double)c.seen},
                                   {"packets_lost", (double)c.lost},
                                   {"packets_duplicated", (double)c.duplicated},
                                   {"packets_reordered", (double)c.reordered},
                                   {"packets_corrupted", (double)c.corrupted},
                                   {"packets_delayed", (double)c.delayed},
                                   {"packets_overflowed", (double)c.overflowed}};
  _Static_assert(ARRAY_SIZE(all) <= AIM_NUMBERS_MAX, "all of it is told");
  for (size_t i = 0; i < ARRAY_SIZE(all); i++)
    if (i == 0 || all[i].value > 0)
      evidence[count++] = all[i];
  return count;
}

/* ---- Slow close: flows wither ----
 *
 * Every quarter of a second a quarter of the rate is left, until nothing to speak of is: connections stay
 * open, and what is in them never quite arrives. Whoever waits for an error waits for long. */

#define WITHER_EVERY_NS (250 * NS_PER_MS)
#define WITHER_FACTOR 4
#define WITHERED_BYTES_PER_S 100

static int aim_wither(const struct fault *fault, const struct facts *facts, struct random *random,
                      struct aim *aim, struct error *error) {
  (void)fault;
  aim_set(aim, "rate_kb_per_s", draw_log(random, 100, 2000));
  return aim_somewhere(facts, random, aim, error);
}

static int act_wither(struct cluster *cluster, const struct facts *facts, const struct aim *aim, size_t step,
                      struct error *error) {
  (void)facts;
  struct link_shape shape = shape_of(aim);
  for (size_t i = 0; i <= step && shape.rate_bytes_per_s > WITHERED_BYTES_PER_S; i++)
    shape.rate_bytes_per_s /= WITHER_FACTOR;
  const bool withered = shape.rate_bytes_per_s <= WITHERED_BYTES_PER_S;
  if (withered)
    shape.rate_bytes_per_s = WITHERED_BYTES_PER_S;
  const int status = cluster_shape_links(cluster, &shape, aim->shaped, error);
  return status != 0 ? status : withered ? ACT_OVER : 0;
}

/* ---- Flapping: links go down and up, over and over ---- */

#define FLAP_TICK_MS 50

static int aim_flap(const struct fault *fault, const struct facts *facts, struct random *random,
                    struct aim *aim, struct error *error) {
  (void)fault;
  aim_set(aim, "down_ms", FLAP_TICK_MS * (double)random_between(random, 2, 12));
  aim_set(aim, "up_ms", FLAP_TICK_MS * (double)random_between(random, 2, 12));
  return aim_somewhere(facts, random, aim, error);
}

static int set_flap(struct cluster *cluster, const struct aim *aim, bool down, struct error *error) {
  static const bool none[CLUSTER_NODES_MAX * CLUSTER_NODES_MAX];
  const struct link_shape dead = {.loss = 1};
  return cluster_shape_links(cluster, &dead, down ? aim->shaped : none, error);
}

static int install_flap(struct cluster *cluster, const struct aim *aim, struct error *error) {
  return set_flap(cluster, aim, true, error);
}

static bool is_down(const struct aim *aim, double at_ms) {
  return fmod(at_ms, aim_get(aim, "down_ms") + aim_get(aim, "up_ms")) < aim_get(aim, "down_ms");
}

/* Too often for a line each: the numbers say what is done. */
static int act_flap(struct cluster *cluster, const struct facts *facts, const struct aim *aim, size_t step,
                    struct error *error) {
  (void)facts;
  const bool down = is_down(aim, FLAP_TICK_MS * (double)(step + 1));
  if (down == is_down(aim, FLAP_TICK_MS * (double)step))
    return ACT_QUIET;
  const int status = set_flap(cluster, aim, down, error);
  return status != 0 ? status : ACT_QUIET;
}

#define LINK(deed, words)                                                                                    \
  .description = {"link-" deed, "link", words}, .needs = CAPABILITY_BIT(CAN_SHAPE),                          \
  .touches = TOUCHES_LINKS, .nodes_min = 2, .measure = measure, .heal = heal

static const struct fault faults[] = {
    {LINK("delay", "packets between nodes are 5 ms to 1.5 s late, more or less"), .aim = aim_delay,
     .install = install},
    {LINK("loss", "1 to 40 % of the packets between nodes are lost"), .aim = aim_loss, .install = install},
    {LINK("duplicate", "5 to 80 % of the packets between nodes arrive twice"), .aim = aim_duplicate,
     .install = install},
    {LINK("reorder", "packets between nodes overtake others, by 5 to 150 ms"), .aim = aim_reorder,
     .install = install},
    {LINK("corrupt", "1 to 30 % of the packets between nodes have a bit flipped"), .aim = aim_corrupt,
     .install = install},
    {LINK("rate", "2 kB to 1 MB a second pass between nodes"), .aim = aim_rate, .install = install},
    {LINK("slow-close", "what passes between nodes withers away, step by step"),
     .duration_min_ns = 3 * NS_PER_S, .aim = aim_wither, .install = install, .act = act_wither,
     .act_after_ns = WITHER_EVERY_NS, .act_every_ns = WITHER_EVERY_NS},
    {LINK("flap", "links between nodes go down and up, every 100 to 600 ms"), .aim = aim_flap,
     .install = install_flap, .act = act_flap, .act_after_ns = FLAP_TICK_MS * NS_PER_MS,
     .act_every_ns = FLAP_TICK_MS * NS_PER_MS},
    {LINK("mess", "packets between nodes are late, lost, doubled, damaged and out of order"), .aim = aim_mess,
     .install = install},
};
const struct fault_table link_faults = {faults, ARRAY_SIZE(faults)};
