/* schedule.h: which faults are present, what is due next: pure, told the time.
 *
 *   planner (drawn) ─┐
 *                    ├─▶ install ─▶ present … act … act … ─▶ heal
 *   script (told) ───┘
 *
 * Of what is drawn one is present at a time, and sometimes a second one beside it that touches other things;
 * what is told comes when it is told, and is refused while something present conflicts with it.
 *
 * The owner asks schedule_turn() what is due, does it, and says how it went. */
#ifndef ASSAY_NEMESIS_SCHEDULE_H
#define ASSAY_NEMESIS_SCHEDULE_H

#include "nemesis/planner.h"
#include "nemesis/script.h"

#define PRESENT_MAX 32
/* How many faults that were drawn are present together. */
#define OVERLAP_MAX 2

/* What was known when a fault began, for who wants to begin it again at such a moment. */
struct sight {
  struct observation seen;
  int primary; /* -1: nobody was known to be */
  int64_t since_election_ns;
};

struct present {
  struct plan plan;
  struct aim aim;
  int64_t installed_ns;
  int64_t heal_ns;
  struct event until; /* heals it earlier */
  int64_t act_ns;     /* when its next act is due; NEVER: it has none, or had them all */
  size_t acts;        /* how many it has had */
  int stage;          /* of its acts, struct facts */
  bool begins;        /* its installation goes on, until this at the latest: */
  int64_t give_up_ns;
  int64_t began_ns; /* when such an installation began; 0: it was one step */
  struct sight sight;
  struct error failed; /* why it was not installed; what was done of it is undone. Code 0: it was */
  bool ends;           /* its heal goes on */
  struct aim_number evidence[AIM_NUMBERS_MAX]; /* as measured before its heal */
  size_t evidence_count;
  bool stuck; /* a heal of it has failed */
};

struct schedule {
  struct planner planner;
  struct script script;
  struct present present[PRESENT_MAX]; /* in the order of their installation */
  size_t present_count;
  struct plan next; /* what the planner has drawn */
  bool has_next;
  int64_t next_ns;  /* NEVER: after what is present is healed */
  struct plan told; /* what schedule_plan made of an entry of the script */
  uint64_t numbered;
};

enum turn { TURN_NONE, TURN_INSTALL, TURN_ACT, TURN_HEAL };

/* What is to be installed: the drawn one, or an entry of the script. */
#define WHICH_DRAWN SIZE_MAX

/* The planner must have been initialised; the script may hold entries. */
void schedule_begin(struct schedule *schedule, int64_t now_ns);

/* When something is due next; NEVER if nothing will be by the clock alone. */
int64_t schedule_when(const struct schedule *schedule);

/* What was observed: what waits for it becomes due. */
void schedule_observe(struct schedule *schedule, const struct observation *seen, int64_t now_ns);

/* What is due now: install `*which` (WHICH_DRAWN, or an entry of the script), or do the next act of
 * `present[*which]`, or heal it. */
enum turn schedule_turn(const struct schedule *schedule, int64_t now_ns, size_t *which);

/* The plan to install; the same one until it is installed or skipped. */
const struct plan *schedule_plan(struct schedule *schedule, size_t which);

/* Aims it. ERR_UNAVAILABLE also while something that is present conflicts with it. */
int schedule_aim(struct schedule *schedule, size_t which, const struct facts *facts, struct aim *aim,
                 struct error *error);

/* It is present now. */
void schedule_installed(struct schedule *schedule, size_t which, const struct aim *aim, int64_t now_ns);

/* Its installation has begun and goes on: acts of it ask how that stands, and these are told. */
void schedule_began(struct schedule *schedule, size_t which, const struct aim *aim, const struct sight *sight,
                    int64_t now_ns);
void schedule_took_hold(struct schedule *schedule, size_t which, int64_t now_ns);
void schedule_waits(struct schedule *schedule, size_t which, int64_t now_ns);
/* It will not take hold: it is undone at once, and then forgotten with schedule_healed. */
void schedule_failed(struct schedule *schedule, size_t which, const struct error *why, int64_t now_ns);

/* It could not be installed. With `try_again`, because there was nobody to hit: a drawn one is replaced by
 * another fault of its family that needs no primary, if there is one; a told one is due again soon, for some
 * seconds. True when that is so and nothing need be said of it. */
bool schedule_skipped(struct schedule *schedule, size_t which, bool try_again, int64_t now_ns);

/* The act is over, however it went; `last`: there will be no more. */
void schedule_act_done(struct schedule *schedule, size_t which, bool last, int64_t now_ns);

void schedule_healed(struct schedule *schedule, size_t which, int64_t now_ns);

/* Its heal goes on, and is due again in a moment. */
void schedule_ends(struct schedule *schedule, size_t which, int64_t now_ns);

/* It is still there; healing it is due again soon. */
void schedule_stuck(struct schedule *schedule, size_t which, int64_t now_ns);

/* Nothing is planned any more; what is present is due at once. */
void schedule_end(struct schedule *schedule, int64_t now_ns);

/* The index of the fault with that number among those present, or SIZE_MAX. */
size_t schedule_find(const struct schedule *schedule, uint64_t number);

#endif
