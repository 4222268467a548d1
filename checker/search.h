/* search.h: engine A, a return-driven depth-first search with an undo log, over one problem. */
#ifndef ASSAY_CHECKER_SEARCH_H
#define ASSAY_CHECKER_SEARCH_H

#include "checker/checker.h"
#include "checker/facts.h"
#include "checker/model.h"
#include "checker/step.h"

struct budget {
  int64_t deadline_ns;    /* monotonic */
  uint64_t state_limit;   /* of one search; 0: none */
  uint64_t memory_limit;  /* bytes of one search; 0: none */
  uint64_t bytes_outside; /* what the caller holds */
  uint64_t bytes_peak;    /* what was held at most, kept up by the searches */
};

enum search_end {
  SEARCH_LINEARIZABLE,
  SEARCH_IMPOSSIBLE, /* every order was tried, or proved as good as one that was */
  SEARCH_LIMIT,      /* its state limit */
  SEARCH_BUDGET,     /* time or memory */
};

/* Why one of the worlds that came furthest ended: a due step that nothing could enable, or a step that could
 * be placed only at the cost of a fact. */
struct obstacle {
  uint32_t step;
  bool doomed;        /* placing it has no future, because of `objection`; else it cannot be placed */
  struct guard guard; /* what it would have needed */
  struct objection objection;
  uint32_t maker;   /* step that made the inode at guard.path, NONE if there is none */
  uint64_t version; /* of the inode the step is about; 0 when there is none */
};

#define OBSTACLES_MAX 3

struct search_result {
  enum search_end end;
  struct obstacle obstacles[OBSTACLES_MAX]; /* of the furthest event, different ones */
  uint32_t obstacle_count;
  /* The best linearization found, of everything or up to `event`: steps in order, and for each the event of
   * the problem before which it was placed. Owned. */
  uint32_t *order;
  uint32_t *order_events;
  uint32_t order_count;
  uint32_t event; /* how far the search came */
  uint32_t stuck; /* step that could not be placed there, NONE when linearizable */
};

void search_run(const struct problem *problem, struct budget *budget, struct check_counters *counters,
                struct search_result *result);
void search_result_free(struct search_result *result);

#endif
