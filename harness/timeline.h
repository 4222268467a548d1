/* timeline.h: what happened around a history, read back from events.jsonl: faults, primaries, phases. */
#ifndef ASSAY_HARNESS_TIMELINE_H
#define ASSAY_HARNESS_TIMELINE_H

#include <jansson.h>

#include "base/base.h"

struct timeline_fault {
  int64_t number;                  /* pairs the phases of one fault */
  char name[48];                   /* "partition-halves" */
  char family[24];                 /* "partition" */
  char targets[128];               /* "n1 n2" */
  char reason[256];                /* why it was skipped */
  int64_t installed_ns, healed_ns; /* healed 0: never */
  bool skipped;                    /* then installed_ns is when that was found */
  json_t *event;                   /* as the nemesis told it then */
};

struct timeline_primary {
  int64_t time_ns;
  char node[16]; /* "": nobody */
  uint64_t term;
};

enum replicas { REPLICAS_NOT_COMPARED, REPLICAS_NOT_COMPARABLE, REPLICAS_EQUAL, REPLICAS_DIVERGED };

struct timeline {
  struct timeline_fault *faults;
  size_t fault_count;
  struct timeline_primary *primaries;
  size_t primary_count;
  int64_t load_began_ns, load_ended_ns; /* faults and load; 0: never came to it */
  int64_t drained_ns;                   /* clients were told to finish */
  bool liveness_known, live;
  bool interrupted;
  char members[400]; /* why nodes disagree on who the members are; "": they do not, as far as they were asked
                      */
  enum replicas replicas;
  json_t *replica_nodes; /* as the nemesis reported them; NULL when not compared */
  /* Derived. */
  size_t elections;                   /* changes of term with a primary, after the first */
  int64_t longest_without_primary_ns; /* while the load ran */
};

/* A torn last line is passed over: the run may have been killed. */
int timeline_read(const char *path, struct timeline *timeline, struct error *error);
void timeline_free(struct timeline *timeline);

#endif
