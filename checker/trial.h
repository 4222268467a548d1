/* trial.h: searching what the minimiser has left of a component. */
#ifndef ASSAY_CHECKER_TRIAL_H
#define ASSAY_CHECKER_TRIAL_H

#include "checker/minimise.h"
#include "checker/step.h"

struct trial {
  const struct failure *failure;
  struct budget budget;
  bool versions;       /* false: without regard to versions */
  uint32_t end;        /* event of the history from which on nothing is looked at */
  uint32_t *positions; /* room */
  uint8_t *treatments;
  uint64_t runs;
};

void trial_init(struct trial *trial, const struct failure *failure, int64_t time_ns);
void trial_free(struct trial *trial);

static inline const struct operation *trial_operation(const struct trial *trial, uint32_t i) {
  return &trial->failure->history->operations[trial->failure->positions[i]];
}

/* Whether its time is over. */
bool trial_is_over(const struct trial *trial);

/* Whether operation i changed something, or may have. */
bool trial_is_mutation(const struct trial *trial, uint32_t i);

/* Whether its answer lies before the end. */
bool trial_is_answered(const struct trial *trial, uint32_t i);

/* Searches the component with one treatment for each operation. Nothing that begins behind the end is looked
 * at, and answers behind it are not. With `result` (may be NULL; freed by the caller) also says what was
 * found; *problem is then what was searched, freed by the caller. SEARCH_BUDGET when the time is over. */
enum search_end trial_run(struct trial *trial, const uint8_t *treatments, uint64_t state_limit,
                          struct search_result *result, struct problem **problem);

/* Whether one names a path at, above or below one that the other names. A batch is related to all. */
bool arguments_related(const struct arguments *x, const struct arguments *y);

/* From a set of operations (`treatments`, one for each of the component; none later than trial->end counts)
 * that fails together with one of them, the culprit, and is fine without it, to a small such set: of `enough`
 * operations if that can be had in the trial's time. `treatments` then says what is left. Returns false, and
 * leaves them alone, when the culprit is none. (culprit.c) */
bool culprit_company(const struct trial *trial, uint32_t culprit, uint32_t enough, uint8_t *treatments);

#endif
