/* disk_faults.c: faults of the nodes' disks: power is lost, disks are full, slow, refuse, and rot.
 *
 * What a master may do about it: refuse to write while its disk is full, go on when there is room again; end
 * with EXIT_HARNESS and a reason when a call failed and nothing is known of what it covered; refuse to start
 * from what has rotted. What it may not do shows in the history: forget what it has acknowledged.
 *
 * Rot hits one node, and nothing that this node could miss without knowing: tables, and the first quarter
 * of a segment of the log, which sound writes follow. Never the end of the log, which looks like a torn write
 * when it rots and is then dropped, acknowledged or not: no log can tell these apart. A node that refuses to
 * start is not wiped: one that comes back without what it has promised is another node under an old name, and
 * three nodes of which one forgets can lose what two had. It gets its bytes back, as from a good copy of the
 * disk. */
#include <math.h>
#include <string.h>

#include "nemesis/cluster.h"
#include "nemesis/fault.h"

/* So much of a segment must be written that what rots in its first quarter is not the last write, which is of
 * 8 MiB at most. */
#define LOG_LEAST (11u << 20)

/* ---- Aiming ---- */

/* The primary half of the time, if it is known: its disk is the one that answers wait for. */
static int aim_at_some(const struct fault *fault, const struct facts *facts, struct random *random,
                       struct aim *aim, struct error *error) {
  const bool primary = random_chance(random, 0.5) && facts_primary(facts) >= 0;
  if (!primary)
    return aim_at_one(fault, facts, random, aim, error);
  aim->targets[facts_primary(facts)] = true;
  return 0;
}

static int aim_target(const struct fault *fault, const struct facts *facts, struct random *random,
                      struct aim *aim, struct error *error) {
  static const struct {
    const char *ending;
    int (*aim)(const struct fault *fault, const struct facts *facts, struct random *random, struct aim *aim,
               struct error *error);
  } aims[] = {{"-primary", aim_at_primary},
              {"-minority", aim_at_minority},
              {"-majority", aim_at_majority},
              {"-all", aim_at_all},
              {"-one", aim_at_one}};
  const char *ending = strrchr(fault->description.name, '-');
  for (size_t i = 0; i < ARRAY_SIZE(aims); i++)
    if (strcmp(ending, aims[i].ending) == 0)
      return aims[i].aim(fault, facts, random, aim, error);
  return aim_at_some(fault, facts, random, aim, error);
}

/* A number that draws again what is drawn while the fault is carried out. */
static void aim_draw(struct aim *aim, struct random *random) {
  aim_set(aim, "draw", (double)random_below(random, UINT64_C(1) << 32));
}

static uint64_t draw_of(const struct aim *aim) {
  return (uint64_t)aim_get(aim, "draw");
}

static int aim_loss(const struct fault *fault, const struct facts *facts, struct random *random,
                    struct aim *aim, struct error *error) {
  aim_set(aim, "keeps", (double)random_below(random, 3));
  aim_draw(aim, random);
  return aim_target(fault, facts, random, aim, error);
}

static int aim_full(const struct fault *fault, const struct facts *facts, struct random *random,
                    struct aim *aim, struct error *error) {
  aim_set(aim, "for_all", random_chance(random, 0.5));
  return aim_target(fault, facts, random, aim, error);
}

static int aim_slow(const struct fault *fault, const struct facts *facts, struct random *random,
                    struct aim *aim, struct error *error) {
  aim_set(aim, "delay_ms", round(10 * pow(100, random_unit(random)))); /* 10 ms … 1 s */
  return aim_target(fault, facts, random, aim, error);
}

static int aim_errors(const struct fault *fault, const struct facts *facts, struct random *random,
                      struct aim *aim, struct error *error) {
  aim_set(aim, "chance", random_chance(random, 0.5) ? 1 : 0.05);
  aim_draw(aim, random);
  return aim_target(fault, facts, random, aim, error);
}

/* Nobody else may be down: whatever the node turns out not to have, the others must all have. */
static int aim_rot(const struct fault *fault, const struct facts *facts, struct random *random,
                   struct aim *aim, struct error *error) {
  for (size_t i = 0; i < facts->nodes; i++)
    if (!facts->free[i])
      return error_set(error, ERR_UNAVAILABLE, "a node is down already");
  aim_set(aim, "cut", random_chance(random, 0.3));
  aim_set(aim, "of_log", random_chance(random, 0.5));
  aim_draw(aim, random);
  return aim_at_one(fault, facts, random, aim, error);
}

/* ---- Doing it ---- */

/* Calls `deed` for every target; goes on after a failure and reports the first. */
static int for_targets(struct cluster *cluster, const struct aim *aim,
                       int (*deed)(struct cluster *cluster, size_t node, const void *what,
                                   struct error *error),
                       const void *what, struct error *error) {
  int first = 0;
  for (size_t i = 0; i < cluster_size(cluster); i++) {
    const int status = aim->targets[i] ? deed(cluster, i, what, first == 0 ? error : NULL) : 0;
    first = first == 0 ? status : first;
  }
  return first;
}

static int set_one(struct cluster *cluster, size_t node, const void *what, struct error *error) {
  return cluster_set_disk(cluster, node, what, error);
}

static int start_one(struct cluster *cluster, size_t node, const void *what, struct error *error) {
  (void)what;
  const enum node_state state = cluster_node_state(cluster, node);
  return state == NODE_STOPPED || state == NODE_DIED ? cluster_start(cluster, node, error) : 0;
}

static int install_loss(struct cluster *cluster, const struct aim *aim, struct error *error) {
  const struct disk_loss loss = {.keeps = (enum disk_keeps)aim_get(aim, "keeps"), .draw = draw_of(aim)};
  return cluster_lose_power(cluster, aim->targets, &loss, error);
}

static int heal_loss(struct cluster *cluster, const struct aim *aim, struct error *error) {
  return for_targets(cluster, aim, start_one, NULL, error);
}

static int install_full(struct cluster *cluster, const struct aim *aim, struct error *error) {
  const struct disk_fault fault = {.full = true, .full_for_all = aim_get(aim, "for_all") > 0};
  return for_targets(cluster, aim, set_one, &fault, error);
}

static int install_slow(struct cluster *cluster, const struct aim *aim, struct error *error) {
  const struct disk_fault fault = {.sync_delay_ns = (int64_t)aim_get(aim, "delay_ms") * NS_PER_MS};
  return for_targets(cluster, aim, set_one, &fault, error);
}

static int install_sync_errors(struct cluster *cluster, const struct aim *aim, struct error *error) {
  const struct disk_fault fault = {.sync_error = aim_get(aim, "chance"), .draw = draw_of(aim)};
  return for_targets(cluster, aim, set_one, &fault, error);
}

static int install_write_errors(struct cluster *cluster, const struct aim *aim, struct error *error) {
  const struct disk_fault fault = {.write_error = aim_get(aim, "chance"), .draw = draw_of(aim)};
  return for_targets(cluster, aim, set_one, &fault, error);
}

static int install_read_errors(struct cluster *cluster, const struct aim *aim, struct error *error) {
  const struct disk_fault fault = {.read_error = aim_get(aim, "chance"), .draw = draw_of(aim)};
  return for_targets(cluster, aim, set_one, &fault, error);
}

/* The nodes that ended over it are started again by the nemesis, once it is over. */
static int heal_disk(struct cluster *cluster, const struct aim *aim, struct error *error) {
  return for_targets(cluster, aim, set_one, NULL, error);
}

/* Rots either log or tables: the one that was drawn, or, if there is nothing of it yet, the other. */
static int rot_some(struct cluster *cluster, size_t node, const struct aim *aim, struct error *error) {
  const struct disk_rot kinds[] = {{.pattern = "tables/rows-*/*.sst"},
                                   {.pattern = "journal/log-*", .least = LOG_LEAST, .share = 0.25}};
  const size_t drawn = aim_get(aim, "of_log") > 0;
  int status = ERR_UNAVAILABLE;
  for (size_t i = 0; i < ARRAY_SIZE(kinds) && status == ERR_UNAVAILABLE; i++) {
    struct disk_rot rot = kinds[i == 0 ? drawn : 1 - drawn];
    rot.cut = aim_get(aim, "cut") > 0;
    rot.draw = draw_of(aim);
    status = cluster_rot_disk(cluster, node, &rot, error);
  }
  return status;
}

static int rot_one(struct cluster *cluster, size_t node, const void *what, struct error *error) {
  const int status = rot_some(cluster, node, what, error);
  return status != 0 ? status : cluster_start(cluster, node, error);
}

static int restore_one(struct cluster *cluster, size_t node, const void *what, struct error *error) {
  (void)what;
  const enum node_state state = cluster_node_state(cluster, node);
  int status = state == NODE_RUNNING || state == NODE_PAUSED ? cluster_kill(cluster, node, error) : 0;
  if (status == 0)
    status = cluster_restore_disk(cluster, node, error);
  return status != 0 ? status : cluster_start(cluster, node, error);
}

static int install_rot(struct cluster *cluster, const struct aim *aim, struct error *error) {
  return for_targets(cluster, aim, rot_one, aim, error);
}

static int heal_rot(struct cluster *cluster, const struct aim *aim, struct error *error) {
  return for_targets(cluster, aim, restore_one, NULL, error);
}

/* What the disks of the targets did to them, together. */
static struct disk_counters count_targets(struct cluster *cluster, const struct aim *aim) {
  struct disk_counters sum = {0}, counters;
  for (size_t i = 0; i < cluster_size(cluster); i++)
    if (aim->targets[i] && cluster_count_disk(cluster, i, &counters, NULL) == 0)
      sum = disk_counters_sum(&sum, &counters);
  return sum;
}

static size_t measure_loss(struct cluster *cluster, const struct aim *aim,
                           struct aim_number evidence[AIM_NUMBERS_MAX]) {
  const struct disk_counters counters = count_targets(cluster, aim);
  evidence[0] = (struct aim_number){"bytes_lost", (double)counters.bytes_lost};
  evidence[1] = (struct aim_number){"names_lost", (double)counters.names_lost};
  return 2;
}

static size_t measure_full(struct cluster *cluster, const struct aim *aim,
                           struct aim_number evidence[AIM_NUMBERS_MAX]) {
  evidence[0] = (struct aim_number){"calls_refused", (double)count_targets(cluster, aim).no_space};
  return 1;
}

static size_t measure_slow(struct cluster *cluster, const struct aim *aim,
                           struct aim_number evidence[AIM_NUMBERS_MAX]) {
  evidence[0] = (struct aim_number){"syncs_delayed", (double)count_targets(cluster, aim).syncs_delayed};
  return 1;
}

static size_t measure_errors(struct cluster *cluster, const struct aim *aim,
                             struct aim_number evidence[AIM_NUMBERS_MAX]) {
  const struct disk_counters counters = count_targets(cluster, aim);
  evidence[0] = (struct aim_number){
      "calls_failed", (double)(counters.read_errors + counters.write_errors + counters.sync_errors)};
  return 1;
}

static size_t measure_rot(struct cluster *cluster, const struct aim *aim,
                          struct aim_number evidence[AIM_NUMBERS_MAX]) {
  evidence[0] = (struct aim_number){"bytes_rotten", (double)count_targets(cluster, aim).bytes_rotten};
  return 1;
}

#define DISK(deed, words) .description = {"disk-" deed, "disk", words}, .needs = CAPABILITY_BIT(CAN_DISK)
#define LOSS(whom, words)                                                                                    \
  DISK("power-loss-" whom, words), .touches = TOUCHES_PROCESSES | TOUCHES_DISKS, .aim = aim_loss,            \
                                   .install = install_loss, .measure = measure_loss, .heal = heal_loss
/* A node that is started on a full disk may give up: nothing else happens to it meanwhile. */
#define FULL(whom, words)                                                                                    \
  DISK("full-" whom, words), .touches = TOUCHES_PROCESSES | TOUCHES_DISKS, .nodes_min = 1, .aim = aim_full,  \
                             .install = install_full, .measure = measure_full, .heal = heal_disk
#define SLOW(whom, words)                                                                                    \
  DISK("slow-" whom, words), .touches = TOUCHES_DISKS, .nodes_min = 1, .aim = aim_slow,                      \
                             .install = install_slow, .measure = measure_slow, .heal = heal_disk
#define ERRORS(call, words)                                                                                  \
  DISK("error-" call, words), .touches = TOUCHES_DISKS, .excuses_end = true, .nodes_min = 1,                 \
                              .aim = aim_errors, .measure = measure_errors, .heal = heal_disk

static const struct fault faults[] = {
    {LOSS("one", "a random node loses its power, and what it had not synced"), .nodes_min = 1},
    {LOSS("primary", "the primary loses its power, and what it had not synced"), .nodes_min = 1,
     .at_primary = true},
    {LOSS("minority", "the greatest minority loses its power, and what it had not synced"), .nodes_min = 3},
    {LOSS("majority", "the smallest majority loses its power, and what it had not synced"), .nodes_min = 2,
     .alone = true},
    {LOSS("all", "all nodes lose their power at once, and what they had not synced"), .nodes_min = 1,
     .alone = true, .cards = 2},
    {FULL("one", "the disk of a random node is full")},
    {FULL("primary", "the primary's disk is full"), .at_primary = true},
    {FULL("all", "all disks are full"), .alone = true},
    {SLOW("one", "an fsync of a random node takes 10 ms to 1 s")},
    {SLOW("primary", "an fsync of the primary takes 10 ms to 1 s"), .at_primary = true},
    {SLOW("all", "every fsync takes 10 ms to 1 s"), .alone = true},
    {ERRORS("sync", "an fsync fails (EIO), and what it covered is lost"), .install = install_sync_errors},
    {ERRORS("write", "writes fail (EIO)"), .install = install_write_errors},
    {ERRORS("read", "reads fail (EIO)"), .install = install_read_errors},
    {DISK("rot-one", "a bit of a node's log or tables flips, or their end is gone"),
     .touches = TOUCHES_PROCESSES | TOUCHES_DISKS, .alone = true, .excuses_end = true, .nodes_min = 3,
     .aim = aim_rot, .install = install_rot, .measure = measure_rot, .heal = heal_rot},
};
const struct fault_table disk_faults = {faults, ARRAY_SIZE(faults)};
