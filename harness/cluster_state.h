/* cluster_state.h: the cluster that `assay cluster up` left running in a store: where it is, how to get in.
 *
 * STORE/cluster/lock is held by its supervisor for as long as anything of it lives; STORE/cluster/state.json
 * tells the rest and means nothing without the lock. */
#ifndef ASSAY_HARNESS_CLUSTER_STATE_H
#define ASSAY_HARNESS_CLUSTER_STATE_H

#include <sys/types.h>

#include "base/base.h"
#include "nemesis/nemesis.h"

struct cluster_state {
  enum provider provider;
  pid_t supervisor;
  pid_t sandbox; /* 0 with provider host */
  uint64_t cluster_id;
  char certificates[4096]; /* directory of those to talk to it with; "": it has no TLS */
  size_t count;
  char names[CLUSTER_NODES_MAX][16];
  char addresses[CLUSTER_NODES_MAX][32];
};

/* ERR_NOT_FOUND with the cure when no cluster is up there. What a dead one left is cleaned away. */
int cluster_state_load(const char *store, struct cluster_state *state, struct error *error);

int cluster_state_save(const char *store, const struct cluster_state *state, struct error *error);
void cluster_state_remove(const char *store);

/* Takes the lock for this process and those it forks. Returns a descriptor, ERR_OVERLOADED when a cluster is
 * up already, or another error. */
int cluster_state_lock(const char *store, struct error *error);

/* Enters the sandbox of the cluster, if it has one; the process must have one thread. */
int cluster_state_join(const struct cluster_state *state, struct error *error);

#endif
