/* observation.h: a master at one moment, as metrics and health tell of it. */
#ifndef ASSAY_MASTER_OBSERVATION_H
#define ASSAY_MASTER_OBSERVATION_H

#include "master/primary.h"
#include "master/rpc/tls.h"
#include "master/statistics.h"

struct observation {
  uint64_t cluster, node;
  struct primary_status status;
  const struct primary_statistics *primary;
  struct tables_statistics tables;
  const struct disk_statistics *disk;
  struct server_statistics server;
  struct worker_registry_statistics workers;
  const struct tls_statistics *tls; /* NULL: without TLS */
  int64_t tls_expires_s;            /* the own certificate, since the epoch */
  /* the process */
  int64_t started_wall_ns;
  double cpu_s;
  uint64_t resident_bytes;
  uint64_t descriptors, descriptor_limit; /* limit 0: none */
  bool descriptors_short;                 /* new clients are turned away */
  /* the file system of the data directory; size 0: it could not be asked */
  uint64_t disk_size_bytes, disk_free_bytes;
};

static inline const char *observation_role(const struct observation *observation) {
  switch (observation->status.role) {
  case ROLE_STANDBY:
    return "standby";
  case ROLE_CATCHING_UP:
    return "catching-up";
  case ROLE_PRIMARY:
    return "primary";
  case ROLE_STEPPING_DOWN:
    return "stepping-down";
  }
  return "unknown";
}

#endif
