/* schedule.h: which faults are present, what is due next: pure, told the time.
 *
 *   wait ─▶ install ─▶ present … heal ─▶ wait ─▶ …         one at a time, and sometimes
 *                 └─▶ install ─▶ present … heal            a second one of another kind beside it
 *
 * The owner asks schedule_turn() what is due, does it, and says how it went. */
#ifndef ASSAY_NEMESIS_SCHEDULE_H
#define ASSAY_NEMESIS_SCHEDULE_H

#include "nemesis/planner.h"

#define PRESENT_MAX 2
#define NEVER INT64_MAX

struct present {
  struct plan plan;
  struct aim aim;
  int64_t heal_ns;
  int64_t second_ns; /* when its second act is due; NEVER: it has none, or had it */
  bool stuck;        /* a heal of it has failed */
};

struct schedule {
  struct planner planner;
  struct present present[PRESENT_MAX]; /* in the order of their installation */
  size_t present_count;
  struct plan next;
  bool has_next;
  int64_t next_ns; /* NEVER: after what is present is healed */
};

enum turn { TURN_NONE, TURN_INSTALL, TURN_SECOND, TURN_HEAL };

/* The planner must have been initialised. */
void schedule_begin(struct schedule *schedule, int64_t now_ns);

/* When something is due next; NEVER if nothing will be. */
int64_t schedule_when(const struct schedule *schedule);

/* What is due now: install `next`, or do the second act of `present[*which]`, or heal it. */
enum turn schedule_turn(const struct schedule *schedule, int64_t now_ns, size_t *which);

/* `next` is present now. */
void schedule_installed(struct schedule *schedule, const struct aim *aim, int64_t now_ns);

/* `next` could not be installed. With `try_another`, another fault of its family is due soon, if there is one
 * that needs no primary; else the turn is lost. */
void schedule_skipped(struct schedule *schedule, bool try_another, int64_t now_ns);

/* The second act is over, however it went. */
void schedule_second_done(struct schedule *schedule, size_t which);

void schedule_healed(struct schedule *schedule, size_t which, int64_t now_ns);

/* It is still there; healing it is due again soon. */
void schedule_stuck(struct schedule *schedule, size_t which, int64_t now_ns);

/* Nothing is planned any more; what is present is due at once. */
void schedule_end(struct schedule *schedule, int64_t now_ns);

#endif
