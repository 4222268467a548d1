/* schedule.c: see schedule.h. */
#include "nemesis/schedule.h"

#include <assert.h>
#include <string.h>

#define RETRY_NS (250 * NS_PER_MS)
/* How long a fault that was told waits for somebody to hit. */
#define PATIENCE_NS (5 * NS_PER_S)
/* How often it is asked how an installation or a heal that goes on stands, and how long the former may. */
#define ASK_NS (20 * NS_PER_MS)
#define BEGIN_PATIENCE_NS (10 * NS_PER_S)

/* Plans the next one. `last_ns`: when the one before it was installed, skipped or healed. */
static void plan_next(struct schedule *schedule, int64_t last_ns) {
  schedule->has_next = planner_next(&schedule->planner, &schedule->next);
  const bool now_counts = schedule->present_count == 0 || (schedule->has_next && schedule->next.overlaps &&
                                                           schedule->present_count < OVERLAP_MAX);
  schedule->next_ns = schedule->has_next && now_counts ? last_ns + schedule->next.wait_ns : NEVER;
  if (schedule->has_next)
    schedule->next.number = ++schedule->numbered;
}

void schedule_begin(struct schedule *schedule, int64_t now_ns) {
  assert(schedule->present_count == 0);
  plan_next(schedule, now_ns);
  script_begin(&schedule->script, now_ns);
}

static int64_t earlier(int64_t a, int64_t b) {
  return a < b ? a : b;
}

int64_t schedule_when(const struct schedule *schedule) {
  int64_t when_ns = earlier(schedule->next_ns, script_when(&schedule->script));
  for (size_t i = 0; i < schedule->present_count; i++)
    when_ns = earlier(when_ns, earlier(schedule->present[i].act_ns, schedule->present[i].heal_ns));
  return when_ns;
}

void schedule_observe(struct schedule *schedule, const struct observation *seen, int64_t now_ns) {
  script_observe(&schedule->script, seen, now_ns);
  for (size_t i = 0; i < schedule->present_count; i++) {
    struct present *present = &schedule->present[i];
    if (!present->stuck && !present->begins && event_reached(&present->until, &schedule->script.seen))
      present->heal_ns = earlier(present->heal_ns, now_ns);
  }
}

enum turn schedule_turn(const struct schedule *schedule, int64_t now_ns, size_t *which) {
  for (size_t i = 0; i < schedule->present_count; i++)
    if (schedule->present[i].heal_ns <= now_ns) {
      *which = i;
      return TURN_HEAL;
    }
  for (size_t i = 0; i < schedule->present_count; i++)
    if (schedule->present[i].act_ns <= now_ns) {
      *which = i;
      return TURN_ACT;
    }
  const size_t told = script_due(&schedule->script, now_ns);
  *which = told < schedule->script.count ? told : WHICH_DRAWN;
  return *which != WHICH_DRAWN || schedule->next_ns <= now_ns ? TURN_INSTALL : TURN_NONE;
}

/* ---- Installing ---- */

static struct scripted *told(struct schedule *schedule, size_t which) {
  assert(which < schedule->script.count && !schedule->script.entries[which].done);
  return &schedule->script.entries[which];
}

const struct plan *schedule_plan(struct schedule *schedule, size_t which) {
  if (which == WHICH_DRAWN) {
    assert(schedule->has_next);
    return &schedule->next;
  }
  struct scripted *entry = told(schedule, which);
  if (entry->number == 0)
    entry->number = ++schedule->numbered;
  schedule->told =
      (struct plan){.number = entry->number, .fault = entry->fault, .duration_ns = entry->for_ns};
  return &schedule->told;
}

int schedule_aim(struct schedule *schedule, size_t which, const struct facts *facts, struct aim *aim,
                 struct error *error) {
  const struct fault *fault = schedule_plan(schedule, which)->fault;
  const int status = which == WHICH_DRAWN ? fault_aim(fault, facts, &schedule->next.aim, aim, error)
                                          : script_aim(told(schedule, which), facts, aim, error);
  if (status == 0 && schedule->present_count == PRESENT_MAX)
    return error_set(error, ERR_UNAVAILABLE, "%d faults are present already", PRESENT_MAX);
  for (size_t i = 0; status == 0 && i < schedule->present_count; i++) {
    const struct present *present = &schedule->present[i];
    if (fault_conflicts(fault, aim, present->plan.fault, &present->aim))
      return error_set(error, ERR_UNAVAILABLE, "%s is present and touches the same",
                       present->plan.fault->description.name);
  }
  return status;
}

static int64_t later(int64_t now_ns, int64_t wait_ns) {
  return wait_ns == DURATION_UNTIL_END ? NEVER : now_ns + wait_ns;
}

static void begin_stay(struct present *present, int64_t now_ns) {
  const struct plan *plan = &present->plan;
  const int64_t half_ns = plan->duration_ns / 2, after_ns = plan->fault->act_after_ns;
  present->installed_ns = now_ns;
  present->heal_ns = later(now_ns, plan->duration_ns);
  present->act_ns = plan->fault->act ? now_ns + earlier(after_ns, half_ns) : NEVER;
}

static void add_present(struct schedule *schedule, size_t which, const struct present *present,
                        int64_t now_ns) {
  assert(schedule->present_count < PRESENT_MAX);
  schedule->present[schedule->present_count++] = *present;
  if (which == WHICH_DRAWN) {
    plan_next(schedule, now_ns);
    return;
  }
  struct scripted *entry = told(schedule, which);
  schedule->present[schedule->present_count - 1].until = entry->until;
  entry->done = true;
}

void schedule_installed(struct schedule *schedule, size_t which, const struct aim *aim, int64_t now_ns) {
  struct present present = {.plan = *schedule_plan(schedule, which), .aim = *aim};
  begin_stay(&present, now_ns);
  add_present(schedule, which, &present, now_ns);
}

void schedule_began(struct schedule *schedule, size_t which, const struct aim *aim, const struct sight *sight,
                    int64_t now_ns) {
  const struct present present = {.plan = *schedule_plan(schedule, which),
                                  .aim = *aim,
                                  .installed_ns = now_ns,
                                  .heal_ns = NEVER,
                                  .act_ns = now_ns,
                                  .begins = true,
                                  .began_ns = now_ns,
                                  .sight = *sight,
                                  .give_up_ns = now_ns + BEGIN_PATIENCE_NS};
  add_present(schedule, which, &present, now_ns);
}

void schedule_took_hold(struct schedule *schedule, size_t which, int64_t now_ns) {
  assert(schedule->present[which].begins);
  schedule->present[which].begins = false;
  begin_stay(&schedule->present[which], now_ns);
}

void schedule_waits(struct schedule *schedule, size_t which, int64_t now_ns) {
  assert(schedule->present[which].begins);
  schedule->present[which].act_ns = now_ns + ASK_NS;
}

void schedule_failed(struct schedule *schedule, size_t which, const struct error *why, int64_t now_ns) {
  struct present *present = &schedule->present[which];
  present->begins = false;
  present->failed = *why;
  present->act_ns = NEVER;
  present->heal_ns = now_ns;
}

static bool told_again(struct scripted *entry, bool try_again, int64_t now_ns) {
  if (entry->give_up_ns == 0)
    entry->give_up_ns = now_ns + PATIENCE_NS;
  if (try_again && now_ns < entry->give_up_ns) {
    entry->due_ns = now_ns + RETRY_NS;
    return true;
  }
  entry->done = true;
  return false;
}

bool schedule_skipped(struct schedule *schedule, size_t which, bool try_again, int64_t now_ns) {
  if (which != WHICH_DRAWN)
    return told_again(told(schedule, which), try_again, now_ns);
  assert(schedule->has_next);
  if (try_again && planner_instead(&schedule->planner, &schedule->next)) {
    schedule->next_ns = schedule->present_count == 0 || schedule->next.overlaps ? now_ns + RETRY_NS : NEVER;
    return false;
  }
  plan_next(schedule, now_ns);
  return false;
}

/* ---- What is present ---- */

void schedule_act_done(struct schedule *schedule, size_t which, bool last, int64_t now_ns) {
  assert(which < schedule->present_count);
  struct present *present = &schedule->present[which];
  const int64_t every_ns = present->plan.fault->act_every_ns;
  present->acts++;
  present->act_ns = last || every_ns == 0 ? NEVER : now_ns + every_ns;
}

void schedule_healed(struct schedule *schedule, size_t which, int64_t now_ns) {
  assert(which < schedule->present_count);
  schedule->present_count--;
  memmove(&schedule->present[which], &schedule->present[which + 1],
          (schedule->present_count - which) * sizeof *schedule->present);
  if (schedule->present_count == 0 && schedule->has_next && schedule->next_ns == NEVER)
    schedule->next_ns = now_ns + schedule->next.wait_ns;
}

void schedule_ends(struct schedule *schedule, size_t which, int64_t now_ns) {
  assert(which < schedule->present_count);
  schedule->present[which].ends = true;
  schedule->present[which].act_ns = NEVER;
  schedule->present[which].heal_ns = now_ns + ASK_NS;
}

void schedule_stuck(struct schedule *schedule, size_t which, int64_t now_ns) {
  assert(which < schedule->present_count);
  schedule->present[which].stuck = true;
  schedule->present[which].heal_ns = now_ns + RETRY_NS;
}

void schedule_end(struct schedule *schedule, int64_t now_ns) {
  schedule->has_next = false;
  schedule->next_ns = NEVER;
  for (size_t i = 0; i < schedule->script.count; i++)
    schedule->script.entries[i].done = true;
  for (size_t i = 0; i < schedule->present_count; i++)
    schedule->present[i].heal_ns = now_ns;
}

size_t schedule_find(const struct schedule *schedule, uint64_t number) {
  for (size_t i = 0; i < schedule->present_count; i++)
    if (schedule->present[i].plan.number == number)
      return i;
  return SIZE_MAX;
}
