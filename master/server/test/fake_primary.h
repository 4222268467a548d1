/* fake_primary.h: a primary that does as it is told, in the place of the real one: requests wait until the
 * test answers them. */
#ifndef ASSAY_MASTER_FAKE_PRIMARY_H
#define ASSAY_MASTER_FAKE_PRIMARY_H

#include "master/primary.h"

struct fake_request {
  struct request request; /* path only is kept, in `path` */
  char path[128];
  primary_callback *callback;
  void *context;
};

struct primary {
  struct fake_request *requests; /* waiting, in order */
  size_t count, capacity;
  size_t submitted; /* ever */
  struct primary_status status;
  struct state_machine machine; /* of snapshots */
  bool cut;
  void (*checkpoint)(void *context, struct snapshot *snapshot, uint64_t index,
                     const struct error *error); /* asked for last */
  void *checkpoint_context;
};

/* Answers everything that waits, in order. */
void fake_primary_answer_all(struct primary *primary, const struct answer *answer);
void fake_primary_free(struct primary *primary);

#endif
