/* nemesis_end.c: the end of all faults: what is present is healed, what is left behind is put right, and all
 * of that is looked at. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nemesis/membership.h"
#include "nemesis/nemesis_internal.h"

#define STOP_ASK_MS 20
/* A node that joins again is sent all there is, and a heal may wait for an election. */
#define STOP_PATIENCE_NS (45 * NS_PER_S)
#define CLOCK_TOLERANCE_NS NS_PER_S
#define RATE_TOLERANCE 0.001

/* The clock and the disk of a node, for heals that failed for good. */
static int restore_node(struct cluster *cluster, size_t node, struct error *error) {
  struct clock_setting clock = CLOCK_RIGHT;
  int status = 0;
  if (!cluster_lacks(cluster, CAN_CLOCK) && cluster_get_clock(cluster, node, &clock, NULL) == 0 &&
      (llabs(clock.offset_ns) > CLOCK_TOLERANCE_NS || fabs(clock.rate - 1) > RATE_TOLERANCE)) {
    log_warn("the clock of %s was still wrong", cluster_node_name(cluster, node));
    status = cluster_set_clock(cluster, node, &CLOCK_RIGHT, error);
  }
  if (status == 0 && !cluster_lacks(cluster, CAN_DISK))
    status = cluster_set_disk(cluster, node, NULL, error);
  return status;
}

/* All that nemesis_stop promises, whatever state the faults have left behind. */
static int restore(struct nemesis *nemesis, struct error *error) {
  int status = 0;
  for (size_t i = 0; i < cluster_size(nemesis->cluster); i++) {
    const int restored = restore_node(nemesis->cluster, i, status == 0 ? error : NULL);
    status = status == 0 ? restored : status;
  }
  const int restarted = nemesis_restart_dead(nemesis, status == 0 ? error : NULL);
  status = status == 0 ? restarted : status;
  if (!cluster_links_clear(nemesis->cluster, NULL)) {
    log_warn("links were still cut or shaped");
    cluster_open_links(nemesis->cluster, NULL);
    cluster_shape_links(nemesis->cluster, NULL, NULL, NULL);
  }
  if (status == 0 && !cluster_links_clear(nemesis->cluster, error))
    status = ERR_IO;
  for (size_t i = 0; i < cluster_size(nemesis->cluster) && status == 0; i++)
    if (cluster_node_state(nemesis->cluster, i) != NODE_RUNNING && !nemesis->cluster->nodes[i].off)
      status = error_set(error, ERR_IO, "node %s does not run", cluster_node_name(nemesis->cluster, i));
  return status;
}

/* Heals what is present, the last one first: it stands on what the first has left. What cannot be healed is
 * forgotten: restore() tries without knowing the fault, or says what is left. What goes on is left. */
static void heal_all(struct nemesis *nemesis) {
  struct schedule *schedule = &nemesis->schedule;
  struct error error = {0};
  for (size_t i = schedule->present_count; i-- > 0;) {
    int status = nemesis_heal_present(nemesis, i, &error);
    if (status < 0)
      status = nemesis_heal_present(nemesis, i, &error);
    if (status < 0)
      schedule_healed(schedule, i, time_monotonic_ns());
  }
}

/* The members are those of the beginning, as a primary says; else GOES_ON. */
static int restore_members(struct nemesis *nemesis, struct error *error) {
  struct membership *membership = nemesis->cluster->membership;
  if (!membership || !membership_was_used(membership))
    return 0;
  membership_go_home(membership);
  return membership_await(membership, error);
}

/* Where nobody leads nothing can be asked for, and that is for the judge of liveness. */
static int give_up_members(struct nemesis *nemesis, const struct error *why, struct error *error) {
  if (nemesis->primary >= 0)
    return error_set(error, ERR_TIMEOUT, "the members are not those of the beginning: %s", why->message);
  log_warn("nobody leads, so the members stay as they are: %s", why->message);
  return 0;
}

static void on_stop(uv_timer_t *timer) {
  struct nemesis *nemesis = CONTAINER_OF(timer, struct nemesis, timer);
  struct error error = {0}, members = {0};
  heal_all(nemesis);
  nemesis_restart_dead(nemesis, NULL);
  const int goes_on = restore_members(nemesis, &members);
  if (goes_on && time_monotonic_ns() < nemesis->stop_by_ns) {
    uv_timer_start(&nemesis->timer, on_stop, STOP_ASK_MS, 0);
    return;
  }
  int status = restore(nemesis, &error);
  if (status == 0 && goes_on)
    status = give_up_members(nemesis, &members, &error);
  if (status == 0 && !nemesis->writer)
    error_set(&error, ERR_IO, "the history of the nemesis could not be written");
  nemesis->healed(nemesis->healed_context, error.code, &error);
}

void nemesis_stop(struct nemesis *nemesis,
                  void (*healed)(void *context, int status, const struct error *error), void *context) {
  assert(!nemesis->stopping);
  nemesis->stopping = true;
  nemesis->stop_by_ns = time_monotonic_ns() + STOP_PATIENCE_NS;
  nemesis->healed = healed;
  nemesis->healed_context = context;
  uv_timer_start(&nemesis->timer, on_stop, 0, 0);
}
