/* local_disks.h: disks of our own under the data of nodes that live on this machine. */
#ifndef ASSAY_NEMESIS_PROVIDER_LOCAL_DISKS_H
#define ASSAY_NEMESIS_PROVIDER_LOCAL_DISKS_H

#include "nemesis/cluster.h"

struct local_disks;

/* Covers the data of every node if `needs` has CAN_DISK. Not being able to is no error: see
 * local_disks_lack(). */
struct local_disks *local_disks_new(const struct cluster *cluster, unsigned needs);
/* Called when no node lives. */
void local_disks_free(struct local_disks *disks);
/* Why there are none; NULL: there are. */
const char *local_disks_lack(const struct local_disks *disks);

/* Members of struct provider_functions. */
int local_set_disk(struct cluster *cluster, size_t node, const struct disk_fault *fault, struct error *error);
int local_lose_power(struct cluster *cluster, size_t node, const struct disk_loss *loss, struct error *error);
bool local_can_rot(const struct cluster *cluster, size_t node, const struct disk_rot *rot,
                   struct error *error);
int local_rot_disk(struct cluster *cluster, size_t node, const struct disk_rot *rot, struct error *error);
int local_restore_disk(struct cluster *cluster, size_t node, struct error *error);
int local_count_disk(struct cluster *cluster, size_t node, struct disk_counters *counters,
                     struct error *error);

#define LOCAL_DISKS                                                                                          \
  .set_disk = local_set_disk, .lose_power = local_lose_power, .can_rot = local_can_rot,                      \
  .rot_disk = local_rot_disk, .restore_disk = local_restore_disk, .count_disk = local_count_disk

#endif
