/* cluster.h: what the rooms of nemesis/ share about clusters: nodes, and the providers that house them. */
#ifndef ASSAY_NEMESIS_CLUSTER_H
#define ASSAY_NEMESIS_CLUSTER_H

#include <stdint.h>
#include <uv.h>

#include "nemesis/nemesis.h"
#include "nemesis/node.h"

#define ADDRESS_SIZE 32
#define NODE_NAME_SIZE 8

struct cluster;

/* How one kind of provider does what depends on where nodes live. */
struct provider_functions {
  const char *name; /* for messages: "netns" */
  /* Sets every node's host and ports, and `cluster->provider`. After a failure `close` is not called. */
  int (*open)(struct cluster *cluster, struct error *error);
  void (*close)(struct cluster *cluster);
  /* The network namespace a node's process is started in, or -1 for the caller's. */
  int (*network)(const struct cluster *cluster, size_t node);
  /* NULL: this provider cannot cut links. */
  int (*set_links)(struct cluster *cluster, const bool *hears, struct error *error);
  int (*count_rules)(struct cluster *cluster, size_t *rules, uint64_t *dropped, struct error *error);
};

extern const struct provider_functions provider_netns;
extern const struct provider_functions provider_host;

struct cluster_node {
  struct cluster *cluster;
  size_t index;
  char name[NODE_NAME_SIZE];
  char host[ADDRESS_SIZE];
  int peer_port, client_port;
  char *client_address; /* host:client_port */
  char *directory;      /* …/nodes/n1 */
  enum node_state state;
  struct process process;   /* while running or paused */
  struct node_watch *watch; /* as long as `process` is not reaped */
  int exit_status;          /* of the last end that nobody asked for */
};

struct cluster {
  uv_loop_t *loop;
  const struct provider_functions *functions;
  void *provider; /* the provider's own */
  size_t size;
  struct cluster_node nodes[CLUSTER_NODES_MAX];
  char *master;
  char **extra; /* NULL-terminated */
  char cluster_id[24];
  void (*died)(void *context, size_t node);
  void *died_context;
  void (*hung)(void *context, size_t node);
  void *hung_context;
};

/* As cluster_kill and cluster_pause, for several at the same time: all are hit before the first is waited
 * for.
 */
int cluster_kill_many(struct cluster *cluster, const bool *nodes, struct error *error);
int cluster_pause_many(struct cluster *cluster, const bool *nodes, struct error *error);

#endif
