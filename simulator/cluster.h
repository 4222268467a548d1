/* cluster.h: masters and clients in a modelled world, and what must always hold among them. */
#ifndef ASSAY_SIMULATOR_CLUSTER_H
#define ASSAY_SIMULATOR_CLUSTER_H

#include "simulator/world.h"

struct sim_cluster;

/* Every node is started. The plan and the options must outlive it. */
struct sim_cluster *sim_cluster_new(struct sim_world *world, const struct plan *plan,
                                    const struct simulation_options *options);
void sim_cluster_free(struct sim_cluster *cluster);

/* -- nodes: what faults do with them -- */
void sim_cluster_crash(struct sim_cluster *cluster, size_t node, bool orderly);
/* A start that is refused (a log that cannot be trusted, a full disk) is told to the trace and noted: the
 * node stays down. `excused`: a fault is the reason why it may be refused. */
int sim_cluster_start(struct sim_cluster *cluster, size_t node, bool excused);
/* Until when a fatal end of the node is excused by a fault; it is not EVIDENCE_FATAL then. */
void sim_cluster_excuse(struct sim_cluster *cluster, size_t node, int64_t until_ns);
bool sim_cluster_up(const struct sim_cluster *cluster, size_t node);
/* The node that leads in the highest term among those that are up, or -1. */
int sim_cluster_primary(const struct sim_cluster *cluster);
/* Calls `elected` whenever a node begins to lead, while it does: what it wants to change it must do later. */
void sim_cluster_on_election(struct sim_cluster *cluster, void (*elected)(void *owner), void *owner);
/* Whether losing this node's disk now can be survived: everybody else is up, follows one leader in one term,
 * and holds all that this one does. */
bool sim_cluster_may_wipe(const struct sim_cluster *cluster, size_t node);
void sim_cluster_wiped(struct sim_cluster *cluster, size_t node); /* its watermarks start anew */

/* -- membership.c: what is asked of the primary -- */
/* NULL when it was asked, else why not, in words that stay until the next call. */
const char *sim_cluster_change(struct sim_cluster *cluster, enum journal_change_kind kind, size_t node);
const char *sim_cluster_transfer(struct sim_cluster *cluster, size_t node);
/* As the primary has it; false when there is none. */
bool sim_cluster_is_member(const struct sim_cluster *cluster, size_t node);
bool sim_cluster_votes(const struct sim_cluster *cluster, size_t node);

/* -- the end: everything has healed; clients go on until each had an ok, replicas until they are equal -- */
void sim_cluster_stop_clients(struct sim_cluster *cluster);
bool sim_cluster_live(const struct sim_cluster *cluster); /* each client had an ok since heal, all replicas at
                                                             one index with equal hashes */
void sim_cluster_healed(struct sim_cluster *cluster);
/* What is missing for liveness, for people. */
void sim_cluster_say_missing(const struct sim_cluster *cluster, char *text, size_t size);

/* The first violation found, if any: stops the world. */
const bool *sim_cluster_violated(const struct sim_cluster *cluster);
/* Evidence, counts and the history so far go into the result. */
void sim_cluster_report(struct sim_cluster *cluster, struct simulation_result *result);

#endif
