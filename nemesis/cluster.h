/* cluster.h: what the rooms of nemesis/ share about clusters: nodes, and the providers that house them. */
#ifndef ASSAY_NEMESIS_CLUSTER_H
#define ASSAY_NEMESIS_CLUSTER_H

#include <stdint.h>
#include <uv.h>

#include "nemesis/clock/clock.h"
#include "nemesis/disk/disk.h"
#include "nemesis/limit.h"
#include "nemesis/link/link.h"
#include "nemesis/nemesis.h"
#include "nemesis/node.h"

#define ADDRESS_SIZE 32
#define NODE_NAME_SIZE 8
#define CLUSTER_FILES_MAX 4

struct cluster;
struct local; /* provider/local.c's own */

/* How one kind of provider does what depends on where nodes live. `node` is an index. */
struct provider_functions {
  const char *name; /* for messages: "netns" */
  /* Sets every node's host and ports, and `cluster->provider`. After a failure `close` is not called. */
  int (*open)(struct cluster *cluster, const struct cluster_options *options, struct error *error);
  void (*close)(struct cluster *cluster);
  /* NULL: it can. Asked only for what has functions below, or may have. */
  const char *(*lacks)(const struct cluster *cluster, enum capability capability);

  /* -- the process of a node; as the functions of node.h, which local providers use (provider/local.h) -- */
  int (*start)(struct cluster *cluster, size_t node, char *const *argv, struct error *error);
  int (*signal)(struct cluster *cluster, size_t node, int number, struct error *error);
  int (*await_stopped)(struct cluster *cluster, size_t node, int timeout_ms, struct error *error);
  int (*await_end)(struct cluster *cluster, size_t node, int timeout_ms, struct error *error);
  /* Of a process that has ended: its status as wait() tells. */
  int (*reap)(struct cluster *cluster, size_t node);
  /* A descriptor that is readable once the process has ended; the provider's. */
  int (*end_fd)(const struct cluster *cluster, size_t node);

  /* Why the node's host cannot be reached any more, or NULL. NULL: there is nothing to be lost. */
  const char *(*lost)(const struct cluster *cluster, size_t node);

  /* -- links; NULL: it cannot -- */
  int (*set_links)(struct cluster *cluster, const bool *hears, struct error *error);
  int (*count_rules)(struct cluster *cluster, size_t *rules, uint64_t *dropped, struct error *error);
  const char *(*link_kind)(const struct cluster *cluster);
  int (*shape_links)(struct cluster *cluster, const struct link_shape *shape, const bool *shaped,
                     struct error *error);
  int (*count_shapes)(struct cluster *cluster, size_t *shaped, struct link_counters *counters,
                      struct error *error);

  /* -- clocks; called only where CAN_CLOCK is not lacking -- */
  int (*set_clock)(struct cluster *cluster, size_t node, const struct clock_setting *setting,
                   struct error *error);
  int (*get_clock)(struct cluster *cluster, size_t node, struct clock_setting *setting, struct error *error);

  /* -- disks, as disk/disk.h tells; called only where CAN_DISK is not lacking -- */
  int (*set_disk)(struct cluster *cluster, size_t node, const struct disk_fault *fault, struct error *error);
  int (*lose_power)(struct cluster *cluster, size_t node, const struct disk_loss *loss, struct error *error);
  bool (*can_rot)(const struct cluster *cluster, size_t node, const struct disk_rot *rot,
                  struct error *error);
  int (*rot_disk)(struct cluster *cluster, size_t node, const struct disk_rot *rot, struct error *error);
  int (*restore_disk)(struct cluster *cluster, size_t node, struct error *error);
  int (*count_disk)(struct cluster *cluster, size_t node, struct disk_counters *counters,
                    struct error *error);

  /* Removes what is in the data directory of a node that does not run. */
  int (*wipe)(struct cluster *cluster, size_t node, struct error *error);

  /* -- limits of a running process; called only where CAN_LIMIT is not lacking -- */
  int (*set_limit)(struct cluster *cluster, size_t node, enum limit limit, double more, struct error *error);
};

extern const struct provider_functions provider_netns;
extern const struct provider_functions provider_host;
extern const struct provider_functions provider_ssh;

struct cluster_node {
  struct cluster *cluster;
  size_t index;
  char name[NODE_NAME_SIZE];
  char host[ADDRESS_SIZE];
  int peer_port, client_port;
  char *client_address; /* host:client_port */
  char *directory;      /* …/nodes/n1, absolute */
  char *home;           /* where it is at home on another host; NULL: `directory` */
  enum node_state state;
  pid_t pid;                /* where it lives; -1: no process */
  bool old_build;           /* its next start is of the old program */
  bool off;                 /* it shall not run: nobody starts it */
  bool joins;               /* its next start is with --join: others tell it who the members are */
  struct process process;   /* of a node on this machine (provider/local.h) */
  int network;              /* the namespace that such a process is started in; -1: ours */
  struct node_watch *watch; /* as long as `process` is not reaped */
  int exit_status;          /* of the last end that nobody asked for */
};

struct cluster {
  uv_loop_t *loop;
  const struct provider_functions *functions;
  void *provider; /* the provider's own */
  struct local *local;
  size_t size, founders;
  struct membership *membership; /* NULL: the members stay as they are */
  struct cluster_node nodes[CLUSTER_NODES_MAX];
  char *master, *old_master;
  unsigned needs;                                   /* as struct cluster_options */
  char **extra;                                     /* NULL-terminated */
  struct cluster_file files[CLUSTER_FILES_MAX + 1]; /* own their texts */
  char cluster_id[24];
  void (*died)(void *context, size_t node);
  void *died_context;
  void (*hung)(void *context, size_t node);
  void *hung_context;
};

/* The last part of its path. */
const char *cluster_file_name(const struct cluster_file *file);

/* As cluster_kill and cluster_pause, for several at the same time: all are hit before the first is waited
 * for.
 */
int cluster_kill_many(struct cluster *cluster, const bool *nodes, struct error *error);
int cluster_pause_many(struct cluster *cluster, const bool *nodes, struct error *error);

/* From the return on, packets from b to a have the shape if shaped[a * nodes + b], all others none. NULL: no
 * link has; what waited is delivered or gone. The clients' side is never shaped. */
int cluster_shape_links(struct cluster *cluster, const struct link_shape *shape, const bool *shaped,
                        struct error *error);
/* How many shapes there are now, as the kernel or the switch says, and what befell the packets that met one
 * since one was set where none was before; 0 where links cannot be shaped. */
int cluster_count_shapes(struct cluster *cluster, size_t *shaped, struct link_counters *counters,
                         struct error *error);
/* How many nodes may join later; why CAN_MEMBERS or CAN_SPARE is lacking. */
size_t cluster_count_spares(const struct cluster_options *options);
const char *cluster_lacks_members(const struct cluster *cluster, enum capability capability);
/* Removes all that the node has stored; it must not run. Its next start will be with --join. */
int cluster_wipe(struct cluster *cluster, size_t node, struct error *error);

/* Which program the node's next start is of, and all after it: the cluster's, or the old one it was given. */
void cluster_use_old_build(struct cluster *cluster, size_t node, bool old);

/* Sets the clock of a node, running or not, as clock/clock.h tells; it stays so over restarts.
 * ERR_UNSUPPORTED where CAN_CLOCK is lacking. */
int cluster_set_clock(struct cluster *cluster, size_t node, const struct clock_setting *setting,
                      struct error *error);
int cluster_get_clock(struct cluster *cluster, size_t node, struct clock_setting *setting,
                      struct error *error);

/* Lets the process of a node have `more` than it has now, as limit.h tells; LIMIT_LIFTED: as much as before.
 * A new process of the node is not limited. ERR_UNSUPPORTED where CAN_LIMIT is lacking. */
#define LIMIT_LIFTED (-1.0)
int cluster_set_limit(struct cluster *cluster, size_t node, enum limit limit, double more,
                      struct error *error);
/* What goes wrong with a node's disk from now on; NULL: nothing. ERR_UNSUPPORTED where CAN_DISK is lacking.
 */
int cluster_set_disk(struct cluster *cluster, size_t node, const struct disk_fault *fault,
                     struct error *error);
/* The power of these nodes is lost, at once: killed if need be, they lose what was not synced (each node by a
 * draw of its own) and stay down. */
int cluster_lose_power(struct cluster *cluster, const bool *nodes, const struct disk_loss *loss,
                       struct error *error);
/* The node is killed if need be, and stays down; ERR_UNAVAILABLE, and it lives on, when there is nothing that
 * could rot. What rots is remembered until it is put right, once the node is down. */
int cluster_rot_disk(struct cluster *cluster, size_t node, const struct disk_rot *rot, struct error *error);
int cluster_restore_disk(struct cluster *cluster, size_t node, struct error *error);
/* What befell the disk since something last began to go wrong with it. */
int cluster_count_disk(struct cluster *cluster, size_t node, struct disk_counters *counters,
                       struct error *error);

#endif
