/* cluster_internal.h: what the rooms of the cluster share: cluster.c (lives of nodes), healing.c (what heals
 * and what must hold in the end), client.c (how one client asks) and sessions.c (what clients do, and their
 * history).
 *
 * The namespace's requests (master/operation.h) and histories name some things alike: client.c and cluster.c
 * know the former, sessions.c the latter, and none both. */
#ifndef ASSAY_SIMULATOR_CLUSTER_INTERNAL_H
#define ASSAY_SIMULATOR_CLUSTER_INTERNAL_H

#include "simulator/cluster.h"
#include "simulator/invariants.h"

struct primary;
struct sessions;

struct sim_node {
  struct sim_cluster *cluster;
  size_t number;
  bool up;     /* there is a process */
  bool ending; /* it has met something fatal and is about to end */
  bool dying;  /* what it does now nobody sees */
  bool joins;  /* it is started without a first configuration */
  uint64_t life;
  struct row_store *store;
  struct primary *primary;
  struct journal *journal;
  struct state_machine machine;      /* the journal's: it observes, and passes on to … */
  const struct state_machine *inner; /* … the primary's */
  enum journal_role role;
  uint64_t term, leader;
  uint64_t receiving_index, receiving_term; /* of the snapshot that is being received */
  uint64_t last_index;                      /* of the log, when it was last up */
  uint64_t lost_index;                      /* of the log that its disk held when that was lost; 0: never */
  int64_t excused_until_ns;
  bool closed;
};

struct sim_cluster {
  struct sim_world *world;
  const struct plan *plan;
  const struct simulation_options *options;
  struct sim_node nodes[SIMULATOR_NODES_MAX];
  struct invariants *invariants;
  struct sessions *sessions;
  struct reports *reports; /* NULL: none */
  bool violated;
  enum evidence evidence;
  char invariant[32], text[512];
  uint64_t violated_at;
  int64_t violated_ns;
  void (*elected)(void *owner); /* NULL: nobody asks */
  void *elected_owner;
  bool changed;         /* a change of membership was asked for */
  size_t changes_asked; /* … and has not ended */
  uint64_t crashes, snapshots_installed, client_frames;
};

/* The first one stays; it stops the world. */
void cluster_violate(struct sim_cluster *cluster, enum evidence evidence, const char *invariant,
                     const char *format, ...) __attribute__((format(printf, 4, 5)));

/* -- what a client finds at a node; the callbacks come as the primary's do -- */
struct request;
struct answer;
/* False when nobody is there. */
bool cluster_serves(const struct sim_cluster *cluster, size_t node, uint64_t life);
struct greeting {
  uint64_t life, leader; /* leader: node id */
  bool serves;
};
struct greeting cluster_greet(const struct sim_cluster *cluster, size_t node);
void cluster_ask(struct sim_cluster *cluster, size_t node, const struct request *request,
                 void (*answered)(void *context, const struct answer *answer), void *context);
/* Checks an answer before it leaves. */
void cluster_check_answer(struct sim_cluster *cluster, size_t node, const struct request *request,
                          const struct answer *answer);

/* -- membership.c -- */
/* What a node goes by is told to the invariants. */
void cluster_observe_membership(struct sim_node *node);
/* Whether the node is a member, or a voter, as that one has it. */
/* Whether its membership is committed. */
bool cluster_is_settled(const struct sim_cluster *cluster, size_t as_of);
bool cluster_is_member(const struct sim_cluster *cluster, size_t as_of, size_t node, bool voter);

/* -- reports.c -- */
struct reports *reports_new(struct sim_cluster *cluster);
void reports_free(struct reports *reports);
/* A client was told that this block is added. */
void reports_learn(struct reports *reports, uint64_t block);
void reports_node_died(struct reports *reports, size_t node);

/* -- sessions.c -- */
struct sessions *sessions_new(struct sim_cluster *cluster);
void sim_sessions_free(struct sessions *sessions);
/* The node's process is gone: its connections break. */
void sessions_node_died(struct sessions *sessions, size_t node);
/* From now on clients do not rest, until each has been answered once; nothing is omitted. */
void sessions_healed(struct sessions *sessions);
void sessions_stop(struct sessions *sessions);
/* The clients that nobody answered since the heal; those that know one node only do not count. */
size_t sessions_waiting(const struct sessions *sessions, char *names, size_t size);
/* -- healing.c: everybody is up and has applied the same -- */
void cluster_check_end(struct sim_cluster *cluster);

void sessions_report(struct sessions *sessions, struct simulation_result *result);
const struct history *sessions_history(const struct sessions *sessions);
struct history *sessions_take_history(struct sessions *sessions);

#endif
