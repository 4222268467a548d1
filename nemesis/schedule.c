/* schedule.c: see schedule.h. */
#include "nemesis/schedule.h"

#include <assert.h>
#include <string.h>

#define RETRY_NS (250 * NS_PER_MS)

/* Plans the next one. `last_ns`: when the one before it was installed, skipped or healed. */
static void plan_next(struct schedule *schedule, int64_t last_ns) {
  schedule->has_next = planner_next(&schedule->planner, &schedule->next);
  const bool now_counts = schedule->present_count == 0 || (schedule->has_next && schedule->next.overlaps &&
                                                           schedule->present_count < PRESENT_MAX);
  schedule->next_ns = schedule->has_next && now_counts ? last_ns + schedule->next.wait_ns : NEVER;
}

void schedule_begin(struct schedule *schedule, int64_t now_ns) {
  assert(schedule->present_count == 0);
  plan_next(schedule, now_ns);
}

int64_t schedule_when(const struct schedule *schedule) {
  int64_t when_ns = schedule->next_ns;
  for (size_t i = 0; i < schedule->present_count; i++) {
    const struct present *present = &schedule->present[i];
    const int64_t due_ns = present->second_ns < present->heal_ns ? present->second_ns : present->heal_ns;
    if (due_ns < when_ns)
      when_ns = due_ns;
  }
  return when_ns;
}

enum turn schedule_turn(const struct schedule *schedule, int64_t now_ns, size_t *which) {
  for (size_t i = 0; i < schedule->present_count; i++)
    if (schedule->present[i].heal_ns <= now_ns) {
      *which = i;
      return TURN_HEAL;
    }
  for (size_t i = 0; i < schedule->present_count; i++)
    if (schedule->present[i].second_ns <= now_ns) {
      *which = i;
      return TURN_SECOND;
    }
  return schedule->next_ns <= now_ns ? TURN_INSTALL : TURN_NONE;
}

void schedule_installed(struct schedule *schedule, const struct aim *aim, int64_t now_ns) {
  assert(schedule->has_next && schedule->present_count < PRESENT_MAX);
  const struct plan *plan = &schedule->next;
  const int64_t half_ns = plan->duration_ns / 2, after_ns = plan->fault->second_after_ns;
  schedule->present[schedule->present_count++] = (struct present){
      .plan = *plan,
      .aim = *aim,
      .heal_ns = now_ns + plan->duration_ns,
      .second_ns = plan->fault->second ? now_ns + (after_ns < half_ns ? after_ns : half_ns) : NEVER};
  plan_next(schedule, now_ns);
}

void schedule_skipped(struct schedule *schedule, bool try_another, int64_t now_ns) {
  assert(schedule->has_next);
  if (try_another && planner_instead(&schedule->planner, &schedule->next)) {
    schedule->next_ns = schedule->present_count == 0 || schedule->next.overlaps ? now_ns + RETRY_NS : NEVER;
    return;
  }
  plan_next(schedule, now_ns);
}

void schedule_second_done(struct schedule *schedule, size_t which) {
  assert(which < schedule->present_count);
  schedule->present[which].second_ns = NEVER;
}

void schedule_healed(struct schedule *schedule, size_t which, int64_t now_ns) {
  assert(which < schedule->present_count);
  schedule->present_count--;
  memmove(&schedule->present[which], &schedule->present[which + 1],
          (schedule->present_count - which) * sizeof *schedule->present);
  if (schedule->present_count == 0 && schedule->has_next && schedule->next_ns == NEVER)
    schedule->next_ns = now_ns + schedule->next.wait_ns;
}

void schedule_stuck(struct schedule *schedule, size_t which, int64_t now_ns) {
  assert(which < schedule->present_count);
  schedule->present[which].stuck = true;
  schedule->present[which].heal_ns = now_ns + RETRY_NS;
}

void schedule_end(struct schedule *schedule, int64_t now_ns) {
  schedule->has_next = false;
  schedule->next_ns = NEVER;
  for (size_t i = 0; i < schedule->present_count; i++)
    schedule->present[i].heal_ns = now_ns;
}
