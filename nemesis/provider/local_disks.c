/* local_disks.c: disks of our own under the data of nodes that live on this machine. */
#include "nemesis/provider/local_disks.h"

#include <stdlib.h>

#include "nemesis/provider/local.h"
#include "nemesis/sandbox.h"

struct local_disks {
  struct error lack; /* why there are none; code 0: there are */
  struct disk *disks[CLUSTER_NODES_MAX];
  struct disk_counters begun[CLUSTER_NODES_MAX]; /* when something last began to go wrong */
  struct disk_rotten rotten[CLUSTER_NODES_MAX];
  bool rots[CLUSTER_NODES_MAX]; /* `rotten` is not put right yet */
};

static int open_all(struct local_disks *disks, const struct cluster *cluster, struct error *error) {
  int status = 0;
  for (size_t i = 0; i < cluster->size && status == 0; i++) {
    char *data = path_join(cluster->nodes[i].directory, "data");
    char *hidden = path_join(cluster->nodes[i].directory, "hidden");
    status = disk_open(cluster->nodes[i].name, data, hidden, &disks->disks[i], error);
    free(data);
    free(hidden);
  }
  return status;
}

static void close_all(struct local_disks *disks) {
  for (size_t i = 0; i < CLUSTER_NODES_MAX; i++) {
    disk_close(disks->disks[i]);
    disks->disks[i] = NULL;
  }
}

struct local_disks *local_disks_new(const struct cluster *cluster, unsigned needs) {
  struct local_disks *disks = xcalloc(1, sizeof *disks);
  if (!(needs & CAPABILITY_BIT(CAN_DISK)))
    error_set(&disks->lack, ERR_UNSUPPORTED,
              "the nodes were started on disks that do not fail: name a fault of disks at the start");
  else if (!sandbox_inside())
    error_set(&disks->lack, ERR_UNSUPPORTED,
              "disks that fail need a sandbox, where their mounts vanish: use provider netns");
  else if (open_all(disks, cluster, &disks->lack) != 0)
    close_all(disks);
  return disks;
}

void local_disks_free(struct local_disks *disks) {
  close_all(disks);
  free(disks);
}

const char *local_disks_lack(const struct local_disks *disks) {
  return disks->lack.code ? disks->lack.message : NULL;
}

/* ---- Members of struct provider_functions ---- */

static int begin(struct local_disks *disks, size_t node, struct error *error) {
  return disk_read_counters(disks->disks[node], &disks->begun[node], error);
}

int local_set_disk(struct cluster *cluster, size_t node, const struct disk_fault *fault,
                   struct error *error) {
  struct local_disks *disks = local_disks(cluster);
  const int status = fault ? begin(disks, node, error) : 0;
  return status != 0 ? status : disk_set(disks->disks[node], fault, error);
}

int local_lose_power(struct cluster *cluster, size_t node, const struct disk_loss *loss,
                     struct error *error) {
  struct local_disks *disks = local_disks(cluster);
  const int status = begin(disks, node, error);
  return status != 0 ? status : disk_lose_power(disks->disks[node], loss, error);
}

bool local_can_rot(const struct cluster *cluster, size_t node, const struct disk_rot *rot,
                   struct error *error) {
  return disk_can_rot(local_disks(cluster)->disks[node], rot, error);
}

int local_rot_disk(struct cluster *cluster, size_t node, const struct disk_rot *rot, struct error *error) {
  struct local_disks *disks = local_disks(cluster);
  struct disk_rotten *rotten = &disks->rotten[node];
  int status = begin(disks, node, error);
  if (status == 0)
    status = disk_rot(disks->disks[node], rot, rotten, error);
  disks->rots[node] = status == 0;
  if (status == 0)
    log_info("node %s: %zu bytes of %s %s at %llu", cluster->nodes[node].name, rotten->size, rotten->path,
             rotten->cut ? "are cut off" : "change", (unsigned long long)rotten->offset);
  return status;
}

int local_restore_disk(struct cluster *cluster, size_t node, struct error *error) {
  struct local_disks *disks = local_disks(cluster);
  const int status = disks->rots[node] ? disk_restore(disks->disks[node], &disks->rotten[node], error) : 0;
  disks->rots[node] = disks->rots[node] && status != 0;
  return status;
}

int local_count_disk(struct cluster *cluster, size_t node, struct disk_counters *counters,
                     struct error *error) {
  struct local_disks *disks = local_disks(cluster);
  struct disk_counters now;
  const int status = disk_read_counters(disks->disks[node], &now, error);
  if (status == 0)
    *counters = disk_counters_since(&disks->begun[node], &now);
  return status;
}
