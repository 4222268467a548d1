/* fault.h: what a fault is: whom it may hit, decided here, and how it is done, decided by the cluster.
 *
 * Aiming is pure: it sees facts and a stream of random numbers, so a simulator can aim the same faults at
 * nodes of its own. */
#ifndef ASSAY_NEMESIS_FAULT_H
#define ASSAY_NEMESIS_FAULT_H

#include "base/base.h"
#include "nemesis/nemesis.h"

/* What is known of the cluster when a fault is aimed. */
struct facts {
  size_t nodes;
  int primary;                  /* -1: nobody is known to be */
  bool free[CLUSTER_NODES_MAX]; /* runs, and is not paused */
  const char *no_links;         /* why links cannot be cut here; NULL: they can */
};

/* Whom a fault hits. */
struct aim {
  bool targets[CLUSTER_NODES_MAX];
  bool cuts; /* `hears` counts */
  /* As cluster_set_links wants it: hears[a * nodes + b]: packets from b reach a. */
  bool hears[CLUSTER_NODES_MAX * CLUSTER_NODES_MAX];
};

struct fault {
  struct fault_description description;
  bool at_primary; /* cannot be aimed while nobody is known to be primary */
  bool alone;      /* no other fault beside it: it hits a majority or all, or hurts in two ways itself */
  size_t nodes_min;
  size_t cards; /* how often it lies in its deck; 0: once */
  /* ERR_UNAVAILABLE with the reason when there is nobody to hit just now; `aim` is all zero before. */
  int (*aim)(const struct fault *fault, const struct facts *facts, struct random *random, struct aim *aim,
             struct error *error);
  /* After a failure, heal() undoes what was done of it. */
  int (*install)(struct cluster *cluster, const struct aim *aim, struct error *error);
  /* A second act while the fault is present, `second_after_ns` after its installation, or half-way through
   * its stay if that comes first; NULL: none. */
  int (*second)(struct cluster *cluster, const struct aim *aim, struct error *error);
  int64_t second_after_ns;
  /* Undoes what is not undone yet, so it may be tried again. */
  int (*heal)(struct cluster *cluster, const struct aim *aim, struct error *error);
};

/* Aims after the checks that all faults share: enough nodes, links that can be cut. ERR_UNSUPPORTED: never
 * possible with this cluster; ERR_UNAVAILABLE: not now. */
int fault_aim(const struct fault *fault, const struct facts *facts, struct random *random, struct aim *aim,
              struct error *error);

/* True when the fault can never be aimed at this cluster, whatever happens; says why. */
bool fault_unsuitable(const struct fault *fault, const struct facts *facts, struct error *error);

/* The primary, if it is known and can be hit; else -1. */
int facts_primary(const struct facts *facts);

/* `count` random nodes that are free, into `nodes`. False when there are fewer. */
bool facts_pick(const struct facts *facts, struct random *random, size_t count, size_t *nodes);

/* ---- The catalogue: a room for each family ---- */

extern const struct fault partition_faults[];
extern const size_t partition_fault_count;
extern const struct fault process_faults[];
extern const size_t process_fault_count;

#define FAULTS_MAX 64
#define FAMILIES_MAX 16

/* The faults that a comma-separated list of families and faults ("partition,kill-all", "all", "none")
 * selects, in the order of the catalogue, each once. ERR_BAD_INPUT names the unknown word and the known ones.
 */
int catalogue_select(const char *list, const struct fault **faults, size_t *count, struct error *error);

#endif
