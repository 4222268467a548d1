/* faults.h: carries out the schedule of a plan on a modelled cluster. */
#ifndef ASSAY_SIMULATOR_FAULTS_H
#define ASSAY_SIMULATOR_FAULTS_H

#include "simulator/cluster.h"

struct sim_faults;

/* Puts every fault of the plan into the world's queue. */
struct sim_faults *sim_faults_new(struct sim_world *world, struct sim_cluster *cluster,
                                  const struct plan *plan);
/* Undoes whatever is present, calms the weather, starts every node; no fault comes after. */
void sim_faults_heal(struct sim_faults *faults);
void sim_faults_report(const struct sim_faults *faults, struct simulation_result *result);
void sim_faults_free(struct sim_faults *faults);

/* -- rot.c -- */
/* A bit flips in a segment of the log that is written no more, so that a node must refuse to start, or behind
 * the end of one, where nothing was ever written, so that nothing may come of it. Not in the last frames of
 * all: what rots there looks like a torn write, and a vote or an entry that this node answered for would be
 * forgotten silently, which is beyond what Raft survives. */
void sim_rot(struct sim_world *world, size_t node, struct random *random);

#endif
