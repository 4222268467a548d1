/* roster.h: who shall be a member of the journal, who is, and the next deed on the way from one to the other.
 * Pure: it is told what a node says and who runs.
 *
 *   wanted ──┐
 *            ├─▶ roster_next ──▶ start, add, promote, elect, demote, remove, stop ──▶ done by membership.c
 *   seen   ──┘
 *
 * What comes to be is looked at after each deed, so an answer that was lost, a leader that fell, and somebody
 * else's change do no harm: the next deed follows from what there is.
 *
 * Laws: voters are added before others go; nobody goes whom the rest could not commit without; a leader hands
 * over before it goes; who lost its data is no member, and that is committed, before it runs again. */
#ifndef ASSAY_NEMESIS_ROSTER_H
#define ASSAY_NEMESIS_ROSTER_H

#include "nemesis/nemesis.h"

struct roster {
  size_t nodes, founders;
  enum seat wanted[CLUSTER_NODES_MAX];
  bool stops[CLUSTER_NODES_MAX]; /* it does not run while it shall be no member */
  bool bare[CLUSTER_NODES_MAX];  /* it lost its data, or is to lose it before it runs again */
  int leader;                    /* who shall lead; -1: whoever does */
};

/* What runs, and what may be started. */
struct roster_nodes {
  bool runs[CLUSTER_NODES_MAX];
  bool off[CLUSTER_NODES_MAX]; /* was stopped, or never started, by the roster */
};

enum deed {
  DEED_NONE, /* all is as it is wanted */
  DEED_WAIT, /* something must happen first; `why` tells */
  DEED_START,
  DEED_STOP,
  DEED_ADD,
  DEED_PROMOTE,
  DEED_DEMOTE,
  DEED_REMOVE,
  DEED_ELECT,
};

struct roster_step {
  enum deed deed;
  size_t node;
  const char *why; /* of DEED_WAIT; static */
};

/* The founders vote, and nobody else is a member. */
void roster_home(struct roster *roster);

struct roster_step roster_next(const struct roster *roster, const struct members *seen,
                               const struct roster_nodes *nodes);

/* Without this voter the others that run could not commit. */
bool roster_needs(const struct members *seen, const bool *runs, size_t nodes, size_t voter);

#endif
