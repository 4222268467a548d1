/* conductor.h: the inner process of a run: starts the nemesis (which owns the cluster) and the clients, leads
 * them through the phases of a test, and keeps what they say.
 *
 *   starting ─▶ running ─▶ healing ─▶ recovering ─▶ final ─▶ draining ─▶ comparing ─▶ ending
 *                 │ Ctrl-C: healing at once                    ▲
 *                 └ a failure: ────────────────────────────────┘ (without comparing)
 *
 * starting: every node answers, one is primary, every client process got an ok. running: faults and load.
 * healing: everything the nemesis broke is whole again. recovering: every node answers, one is primary, every
 * client process got an ok since. final: load without faults. draining: clients wait for what is outstanding
 * and end. comparing: the replicas' state hashes. ending: masters stopped cleanly.
 *
 * It shares no memory with the outer process but `struct conduct_outcome`, so that
 * even a full disk cannot hide why a run failed. */
#ifndef ASSAY_HARNESS_CONDUCTOR_H
#define ASSAY_HARNESS_CONDUCTOR_H

#include "harness/settings.h"

enum conduct_ending {
  CONDUCT_NEVER_BEGAN, /* also when the conductor was killed before it could say more */
  CONDUCT_RUNNING,
  CONDUCT_FINISHED,
  CONDUCT_INTERRUPTED, /* by a person: all phases passed, earlier */
  CONDUCT_FAILED,      /* the harness, or a master that ended unasked: `message` */
};

struct conduct_outcome {
  enum conduct_ending ending;
  bool cluster_made; /* nodes have been started, and have left something */
  bool interrupted;  /* by a person; a second time ends everything at once */
  char message[4000];
  char link[16]; /* what joined the nodes: "veth", "netem", "tap"; "" where nothing of ours did */
};

struct conduct_plan {
  const struct settings *settings;
  const char *run;                 /* the run's directory */
  struct conduct_outcome *outcome; /* in shared memory */
};

/* Leads a run; `context` is a struct conduct_plan. Returns an exit code. */
int conduct(void *context);

#endif
