/* facts.h: what answers say about an inode, wherever it stands.
 *
 * A *life* is the existence of one inode, from the step that makes it to the one that removes it. Versions of
 * a life only grow, so an answer that shows a life at version v is a fact about every linearization:
 *
 *   life 7 (made by create, index 40)
 *     version 1      3          4       6
 *             stat   set, stat  list    stat         groups: who saw that version
 *
 *   - as long as somebody of a group is not placed yet, invoked or not, the life must neither leave that
 *     version nor end;
 *   - when the life comes to that version it must look as they saw it, and if one of them is the mutation
 *     that answered this version, it must be the one that made it.
 *
 * A search that runs into either has no future and turns back at once. Which life an answer speaks of is
 * known when it shows the creator, or when only one inode can ever have stood at its path. */
#ifndef ASSAY_CHECKER_FACTS_H
#define ASSAY_CHECKER_FACTS_H

#include "checker/step.h"
#include "checker/tree.h"

struct life {
  uint32_t group_first, group_count;
  uint32_t last_seen; /* event of the last invocation that saw it alive; 0 when nobody did */
  uint32_t last_seer; /* that step */
  uint32_t maker;     /* step */
};

struct fact_group {
  uint64_t version;
  uint32_t life;
  uint32_t first, count; /* in fact_table.observers */
};

struct fact_table {
  struct life *lives;
  uint32_t life_count;
  uint32_t root_life;
  struct fact_group *groups; /* by life, then version */
  uint32_t group_count;
  uint32_t *observers; /* steps */
  uint32_t impossible; /* a step that no state and no order can explain, NONE if none was found */
  uint32_t witness;    /* the step that contradicts it, NONE when it shows what nobody made */
  uint32_t *path_life; /* by path: the only life that can ever stand there, or NONE */
};

/* First half, before events are numbered: who sees whose effects. Fills due[step]: the history's event by
 * which it must be placed; unknown steps that somebody saw are due at the first such completion. Finds what
 * is public, gives out lives. */
void facts_attribute(struct problem *problem, uint32_t *due);

/* Second half: groups. */
void facts_compile(struct problem *problem);

/* How much of the facts is still open; belongs to a search. */
struct watch {
  uint32_t *group_left; /* observers not placed yet */
  uint32_t *life_left;
};

void watch_init(struct watch *watch, const struct problem *problem);
void watch_free(struct watch *watch);

static inline void watch_place(struct watch *watch, const struct problem *problem, const struct step *step) {
  if (step->group != NONE) {
    watch->group_left[step->group]--;
    watch->life_left[problem->facts->groups[step->group].life]--;
  }
}
static inline void watch_take_back(struct watch *watch, const struct problem *problem,
                                   const struct step *step) {
  if (step->group != NONE) {
    watch->group_left[step->group]++;
    watch->life_left[problem->facts->groups[step->group].life]++;
  }
}

/* A fact that a step would make impossible. */
enum objection_kind {
  OBJECTION_LEAVES,  /* the inode leaves `version`, which `observer` still has to see */
  OBJECTION_DIFFERS, /* the inode comes to `version`, at which `observer` saw something else */
  OBJECTION_ENDS,    /* the inode goes, which `observer` still has to see */
};

struct objection {
  enum objection_kind kind;
  uint32_t observer;
  uint64_t version;
};

/* Whether the state that `step` has just made (it is placed already) can still satisfy every fact. `placed`
 * tells by step, `event` is where the search stands. `objection` is filled when it cannot. */
bool facts_permit(const struct watch *watch, const struct tree *tree, const bool *placed, uint32_t event,
                  struct objection *objection);

#endif
