/* system.h: a cluster that can be loaded: Assay's own, or a peer's. The load (load.h) knows no more of it. */
#ifndef ASSAY_HARNESS_BENCH_SYSTEM_H
#define ASSAY_HARNESS_BENCH_SYSTEM_H

#include <sys/types.h>
#include <uv.h>

#include "base/base.h"
#include "harness/bench/cases.h"
#include "nemesis/nemesis.h"

#define SYSTEM_START_WITHIN_NS (60 * NS_PER_S)
#define SYSTEM_CONNECT_WITHIN_NS (60 * NS_PER_S)

struct system_options {
  uv_loop_t *loop; /* something wakes it several times a second, so that who waits can look at the time */
  const char *directory; /* of its own; exists, is empty, is removed by the caller afterwards */
  size_t nodes;
  const bool *interrupted; /* becomes true when whatever takes time is to end early: ERR_UNAVAILABLE then */
  const char *master;      /* Assay's own: the program */
  bool reads_any;          /* Assay's own: reads go to all nodes in turns, and not to the primary alone */
  bool disks;              /* Assay's own: with the disks that can fail */
  bool tls;                /* Assay's own: everybody speaks TLS */
};

/* Strings belong to the caller until submit returns. */
struct system_request {
  enum load_kind kind;     /* never LOAD_MIXED */
  const char *path;        /* "/3-0/0/file-00000007"; list: the directory, "/3-0/0" */
  const char *destination; /* rename */
  const char *value;       /* set */
  bool new_directory;      /* create: the first in its directory, and perhaps in the one above */
};

/* `error`: NULL, or the name of what went wrong, static. */
typedef void system_done(void *context, const char *error);

struct system_cluster;

struct bench_system {
  const char *name; /* "assay", "etcd" */
  unsigned kinds;   /* LOAD_BITs of what it has an equivalent of; of mixed too, then */
  unsigned rate;    /* more deletes a second than it can do on anything it is measured on */

  /* Starts the nodes and waits until they serve. On an error nothing is left but the directory. */
  int (*start)(const struct system_options *options, struct system_cluster **cluster, struct error *error);
  /* Ends the nodes, whatever they do. */
  void (*stop)(struct system_cluster *cluster);
  size_t (*pids)(const struct system_cluster *cluster, pid_t pids[CLUSTER_NODES_MAX]);

  /* Opens that many connections (lanes) and waits until all can be used. `lost` is called, later, when one
   * cannot be used any more; then what is outstanding on it is never answered. On an error close() is due as
   * well. */
  int (*open)(struct system_cluster *cluster, size_t lanes, void (*lost)(void *context, const char *why),
              void *context, struct error *error);
  /* `done` comes from the loop, never from within. Requests of one lane that were submitted in one turn of
   * the loop leave in one write. */
  void (*submit)(struct system_cluster *cluster, size_t lane, const struct system_request *request,
                 system_done *done, void *context);
  /* What is outstanding ends with an error, or is forgotten. */
  void (*close)(struct system_cluster *cluster);
};

/* `plain` is Assay's own as well, without TLS: for beside it with TLS. */
extern const struct bench_system system_assay, system_plain, system_etcd, system_zookeeper;

#endif
