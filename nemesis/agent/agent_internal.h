/* agent_internal.h: what the rooms of an agent share: its state, and what it does when asked. */
#ifndef ASSAY_NEMESIS_AGENT_INTERNAL_H
#define ASSAY_NEMESIS_AGENT_INTERNAL_H

#include <jansson.h>
#include <net/if.h>

#include "nemesis/agent/leftovers.h"
#include "nemesis/node.h"

struct agent {
  int network;           /* our own network namespace: the host's */
  struct leftovers left; /* what would be left of us; its directory is NULL before the hello */
  char node[16];
  char *master;
  struct process process;      /* pid -1: none runs */
  int64_t life;                /* how many were started */
  char interface[IF_NAMESIZE]; /* what the nodes say to each other passes there */
  struct host_clock clock;     /* calls NULL: it must not be set */
  struct netem *netem;         /* of that; NULL: it cannot be shaped */
};

/* Carries out a request or an order; adds what the answer says to `answer`. */
int agent_carry_out(struct agent *agent, const json_t *request, json_t *answer, struct error *error);

/* ---- links.c: some of it; as agent_carry_out ---- */

int agent_filter(struct agent *agent, const json_t *request, json_t *answer, struct error *error);
int agent_count_rules(struct agent *agent, const json_t *request, json_t *answer, struct error *error);
int agent_shape(struct agent *agent, const json_t *request, json_t *answer, struct error *error);
int agent_count_shapes(struct agent *agent, const json_t *request, json_t *answer, struct error *error);
/* 0, or why packets cannot be dropped here. */
int agent_lacks_filter(const struct agent *agent, struct error *error);
/* Opens `netem` for the interface that has the node's address; or says why what it sends cannot be shaped. */
int agent_open_shapes(struct agent *agent, const char *address, struct error *error);

/* Undoes all that this agent has done to its host. What fails is logged. */
void agent_undo(struct agent *agent);

#endif
