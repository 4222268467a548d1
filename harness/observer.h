/* observer.h: watches a cluster by asking every node for its status ten times a second. What it learns is for
 * people, for aiming faults and for liveness; no verdict on a history rests on it. */
#ifndef ASSAY_HARNESS_OBSERVER_H
#define ASSAY_HARNESS_OBSERVER_H

#include <uv.h>

#include "base/base.h"
#include "master/client/client.h"
#include "nemesis/nemesis.h"

struct observer;

struct observer_events {
  void *context;
  /* Another primary, or another term of the same one; -1: no node says that it is primary. */
  void (*primary)(void *context, int node, uint64_t term);
  /* A status came in, or an unreachable node did not answer; may be NULL. */
  void (*status)(void *context, size_t node, const struct node_status *status);
  /* A status came in that differs in role or in being reachable; may be NULL. */
  void (*changed)(void *context);
  /* Whether the node is to answer, and to have what the others have; NULL: all are. */
  bool (*expects)(void *context, size_t node);
};

/* `tls` as in master_client_options. */
int observer_new(uv_loop_t *loop, const char *const *addresses, size_t count, struct tls_context *tls,
                 const struct observer_events *events, struct observer **observer, struct error *error);

/* Asks a hundred times a second instead of ten: while somebody waits for what nodes do. */
void observer_hurry(struct observer *observer, bool hurry);

/* The node that is primary as far as known, or -1. */
int observer_primary(const struct observer *observer);

/* The last status of a node. */
const struct node_status *observer_status(const struct observer *observer, size_t node);

/* A status as the nemesis wants it. */
struct node_facts observer_facts(const struct node_status *status);

/* True when every node that is expected to answered its last question and one of them is primary. */
bool observer_settled(const struct observer *observer);

struct replica_report {
  bool comparable; /* all nodes that are expected were asked at one applied index within the time */
  bool equal;
  bool compared[CLUSTER_NODES_MAX];            /* those */
  struct node_status nodes[CLUSTER_NODES_MAX]; /* as they were compared, or as they were at the end */
};

/* Compares the state hashes of all nodes once they have applied the same index; without load that comes by
 * itself. Gives up after `patience_ns`. The report is valid during the callback. One comparison at a time. */
void observer_compare(struct observer *observer, int64_t patience_ns,
                      void (*done)(void *context, const struct replica_report *report), void *context);

/* Stops asking; `closed` comes when nothing of it is left. */
void observer_close(struct observer *observer, void (*closed)(void *context), void *context);

#endif
