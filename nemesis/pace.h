/* pace.h: faults that come at a pace of their own, beside the turns of the others: "kill=20s". Pure. */
#ifndef ASSAY_NEMESIS_PACE_H
#define ASSAY_NEMESIS_PACE_H

#include "nemesis/script.h"

/* Takes the faults that the (checked, NULL-terminated, or NULL) paces name out of `faults` and tells `script`
 * when they come, for as many times as there is room for: hours at any sensible pace. `duration_ns`: the mean
 * time they stay, 0: the planner's default. */
void pace_plan(const char *const *paces, uint64_t seed, int64_t duration_ns, const struct fault **faults,
               size_t *count, struct script *script);

#endif
