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

/* What is ordinary in a plan, where another value is drawn to find what this one hides. */
#define PLAN_THRESHOLD 16384
#define PLAN_TRAILING 4096
#define PLAN_SEGMENT (256u << 10)
#define PLAN_CACHE (1u << 20)
#define PLAN_ROWS (64u << 10)
#define PLAN_WRITE (64u << 10)
#define PLAN_REQUEST_TIMEOUT_NS (2 * NS_PER_S)
#define PLAN_ATTEMPT_TIMEOUT_NS NS_PER_S

/* The names of all faults, comma-separated, for messages; into `out`, which it returns. */
#define FAULT_NAMES_SIZE 500
const char *simulated_fault_names(char out[FAULT_NAMES_SIZE]);

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

/* -- plan_json.c -- */

/* What plan_write and plan_read put into a file and take from one; `path` is for messages. */
int plan_encode(const struct plan *plan, struct bytes *text, struct error *error);
int plan_decode(const void *text, size_t size, const char *path, struct plan *plan, struct error *error);

/* -- shrink.c -- */

/* What plan_shrink asks of a simulation, so that it can be tried on something simpler. `last`: the smallest
 * plan was found, and all that is known of it is wanted. */
typedef void shrink_run(void *context, const struct plan *plan, bool last, struct simulation_result *result);
void plan_shrink_with(const struct plan *plan, shrink_run *run, void *run_context, size_t runs_max,
                      void (*progress)(void *context, const struct shrink_progress *progress), void *context,
                      struct plan *smaller, struct simulation_result *result);

#endif
