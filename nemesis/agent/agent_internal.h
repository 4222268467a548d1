/* agent_internal.h: what the rooms of an agent share: its state, and what it does when asked. */
#ifndef ASSAY_NEMESIS_AGENT_INTERNAL_H
#define ASSAY_NEMESIS_AGENT_INTERNAL_H

#include <jansson.h>

#include "nemesis/agent/leftovers.h"
#include "nemesis/node.h"

struct agent {
  int network;           /* our own network namespace: the host's */
  struct leftovers left; /* what would be left of us; its directory is NULL before the hello */
  char node[16];
  char *master;
  struct process process; /* pid -1: none runs */
  int64_t life;           /* how many were started */
};

/* Carries out a request or an order; adds what the answer says to `answer`. */
int agent_carry_out(struct agent *agent, const json_t *request, json_t *answer, struct error *error);

/* Undoes all that this agent has done to its host. What fails is logged. */
void agent_undo(struct agent *agent);

#endif
