/* plan.h: what the rooms that draw, write, shrink and carry out plans share. Private to simulator/. */
#ifndef ASSAY_SIMULATOR_PLAN_H
#define ASSAY_SIMULATOR_PLAN_H

#include "simulator/simulator.h"

/* No plan holds more: a bound for what reads one. */
#define PLAN_FAULTS_MAX 1000

/* "node", "primary" …; static. */
const char *simulated_target_name(enum simulated_target target);
/* SIMULATED_FAULTS when there is none of that name. */
enum simulated_fault simulated_fault_by_name(const char *name);

/* A good day: nothing is lost, nothing is late, clocks agree. */
struct weather plan_calm_weather(void);

/* The name as it stands in workload_list(), or NULL. */
const char *plan_workload(const char *name);

/* Puts `plan->faults` in order of time; those of one time keep theirs. */
void plan_sort_faults(struct plan *plan);

/* -- plan_schedule.c -- */

/* Faults that may be drawn: one bit each. */
#define FAULT_BIT(fault) (1u << (fault))
#define EVERY_FAULT (FAULT_BIT(SIMULATED_FAULTS) - 1)
/* Draws the schedule into `plan->faults`, owned by the plan; nodes, duration and time-outs are set. */
void plan_draw_schedule(struct plan *plan, struct random *random, unsigned allowed);

#endif
