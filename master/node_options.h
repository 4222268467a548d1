/* node_options.h: the command line of assay-master. */
#ifndef ASSAY_MASTER_NODE_OPTIONS_H
#define ASSAY_MASTER_NODE_OPTIONS_H

#include <stdint.h>
#include <sys/socket.h>

#include "base/base.h"
#include "master/member_address.h"
#include "master/rpc/tls.h"
#include "master/under_roots.h"

#define MEMBERS_MAX 64u

struct node_member {
  uint64_t id;
  const char *text; /* HOST:PEER_PORT:CLIENT_PORT, as it was given; points into argv */
  struct member_address address;
};

struct node_options {
  uint64_t id, cluster;
  const char *data; /* directory; points into argv */
  struct node_member members[MEMBERS_MAX];
  size_t member_count;
  bool join;                      /* the members are no first configuration: this node waits for one */
  const struct node_member *self; /* the member with `id` */
  unsigned election_timeout_ms, heartbeat_ms;     /* 0: the defaults of the journal */
  uint64_t snapshot_threshold, snapshot_trailing; /* 0: the same */
  size_t cache_size;                              /* as in struct primary_options */
  int64_t worker_lease_ns;                        /* the same */
  const char *http;                               /* "host:port" for metrics and health; NULL: none */
  bool recover,
      accept_loss;     /* the members take over this node's log, instead of running; see docs/master.md */
  const char *restore; /* directory of a backup to make the data of, instead of running; NULL: run */
  bool same_cluster;   /* the data made are of the backup's own cluster */
  struct under_roots mount_roots; /* what may be mounted; point into argv */
  bool listen_insecure;           /* whoever reaches this node may do everything: that is known */
  struct tls_files tls;           /* paths, point into argv */
  bool with_tls;                  /* all of them are given */
  struct sockaddr_storage http_address;
};

/* -1: go on. Otherwise an exit code; what was wrong is printed, or the help. */
int node_options_parse(struct node_options *options, int argc, char **argv);

#endif
