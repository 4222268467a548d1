/* recorded_schedule.h: the faults of a run as a schedule that another run can carry out. */
#ifndef ASSAY_HARNESS_RECORDED_SCHEDULE_H
#define ASSAY_HARNESS_RECORDED_SCHEDULE_H

#include <jansson.h>

#include "harness/settings.h"
#include "harness/timeline.h"

/* Every fault that was installed, or began to be, in the format of docs/schedules.md: when it came after how
 * many elections and how long after the last of them, who was primary then, whom it hit and how hard. */
json_t *recorded_schedule(const struct timeline *timeline, const struct settings *settings);

/* A schedule of some of the faults of another (`keep[i]` for faults[i]), moved so that the first comes
 * `first_ms` after the beginning; by the clock, for elections that a missing fault would have caused do not
 * come. *last_ms: when the last one is healed. */
json_t *partial_schedule(const json_t *schedule, const bool *keep, int64_t first_ms, int64_t *last_ms);

#endif
