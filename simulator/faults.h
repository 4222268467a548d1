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

#endif
