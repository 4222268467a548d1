/* fault.h: what a fault is: whom it may hit, decided here, and how it is done, decided by the cluster.
 *
 * Aiming is pure: it sees facts and a stream of random numbers, so a simulator can aim the same faults at
 * nodes of its own. */
#ifndef ASSAY_NEMESIS_FAULT_H
#define ASSAY_NEMESIS_FAULT_H

#include "base/base.h"
#include "nemesis/nemesis.h"

/* What is known of the cluster when a fault is aimed, and while it is present. */
struct facts {
  size_t nodes;
  size_t founders;                 /* those the cluster began with; 0: all of them */
  int primary;                     /* -1: nobody is known to be */
  int old_primary;                 /* the last one before it, -1: none is known */
  bool free[CLUSTER_NODES_MAX];    /* runs, and is not paused */
  bool outside[CLUSTER_NODES_MAX]; /* no member of the journal */
  bool standby[CLUSTER_NODES_MAX]; /* a member without a vote */
  struct node_facts node[CLUSTER_NODES_MAX];
  const char *lacks[CAPABILITIES]; /* why the cluster cannot do it; NULL: it can */
  int *stage; /* in an act: a number of the fault's own that stays from one act to the next, 0 at first */
};

/* A number that was drawn when a fault was aimed; its name ends in the unit: "delay_ms". */
struct aim_number {
  const char *name; /* static; "…_node" is the number of a node, from 1 */
  double value;
};
#define AIM_NUMBERS_MAX 8

/* Whom a fault hits, and how hard: all that was drawn for it. It can be written down and used again. */
struct aim {
  bool targets[CLUSTER_NODES_MAX];
  bool cuts; /* `hears` counts */
  /* As cluster_set_links wants it: hears[a * nodes + b]: packets from b reach a. */
  bool hears[CLUSTER_NODES_MAX * CLUSTER_NODES_MAX];
  bool shapes; /* `shaped` counts */
  /* As cluster_shape_links wants it: shaped[a * nodes + b]: packets from b to a are treated. */
  bool shaped[CLUSTER_NODES_MAX * CLUSTER_NODES_MAX];
  struct aim_number numbers[AIM_NUMBERS_MAX];
  size_t number_count;
};

/* Sets a number, anew or for the first time; `name` is kept, not copied. */
void aim_set(struct aim *aim, const char *name, double value);
/* The number of that name, which must be there. */
double aim_get(const struct aim *aim, const char *name);

/* What a fault leaves in another state as long as it is present. Two faults are never present together when
 * both touch one of these (of the same node, for all but links and members). */
enum touches {
  TOUCHES_LINKS = 1,
  TOUCHES_PROCESSES = 2,
  TOUCHES_DISKS = 4,
  TOUCHES_CLOCKS = 8,
  TOUCHES_LIMITS = 16,
  TOUCHES_MEMBERS = 32,
};

struct fault {
  struct fault_description description;
  unsigned needs;   /* CAPABILITY_BITs of the cluster */
  unsigned touches; /* enum touches */
  bool at_primary;  /* cannot be aimed while nobody is known to be primary */
  bool alone;       /* no other fault beside it: it hits a majority or all, or hurts in two ways itself */
  bool excuses_end; /* a target may end by itself with EXIT_HARNESS, and stays down until the heal; or just
                       after it, and is started again at once */
  size_t nodes_min;
  size_t cards;            /* how often it lies in its deck; 0: once */
  int64_t duration_min_ns; /* it is never planned to stay for less */
  /* ERR_UNAVAILABLE with the reason when there is nobody to hit just now; `aim` is all zero before. */
  int (*aim)(const struct fault *fault, const struct facts *facts, struct random *random, struct aim *aim,
             struct error *error);
  /* After a failure, heal() undoes what was done of it. GOES_ON in place of 0: it has begun, and await()
   * tells when it took hold. */
  int (*install)(struct cluster *cluster, const struct aim *aim, struct error *error);
  /* 0, GOES_ON, or why it will not take hold. What takes too long is undone, and skipped for the reason that
   * stands in `error` after GOES_ON. */
  int (*await)(struct cluster *cluster, const struct aim *aim, struct error *error);
  /* Further deeds while the fault is present; NULL: none. The first one, step 0, is due `act_after_ns` after
   * the installation, or half-way through its stay if that comes first; with `act_every_ns` > 0, the next
   * ones each so long after the one before. ACT_OVER in place of 0: no more of them. ACT_QUIET: it had
   * nothing to do and is not worth a line. */
  int (*act)(struct cluster *cluster, const struct facts *facts, const struct aim *aim, size_t step,
             struct error *error);
  int64_t act_after_ns, act_every_ns;
  /* What shows from outside that it took hold, asked just before the heal: fills in `evidence` and returns
   * how many numbers those are; NULL: nothing beside the installation itself. */
  size_t (*measure)(struct cluster *cluster, const struct aim *aim,
                    struct aim_number evidence[AIM_NUMBERS_MAX]);
  /* Undoes what is not undone yet, so it may be tried again. GOES_ON in place of 0: not yet, ask again. */
  int (*heal)(struct cluster *cluster, const struct aim *aim, struct error *error);
};

#define ACT_OVER 1
#define ACT_QUIET 2
#define GOES_ON 1

/* Aims after the checks that all faults share: enough nodes, what the cluster can do. ERR_UNSUPPORTED: never
 * possible with this cluster; ERR_UNAVAILABLE: not now. Only members are hit, but by faults of membership. */
int fault_aim(const struct fault *fault, const struct facts *facts, struct random *random, struct aim *aim,
              struct error *error);

/* True when the fault can never be aimed at this cluster, whatever happens; says why. */
bool fault_unsuitable(const struct fault *fault, const struct facts *facts, struct error *error);

/* The primary, if it is known and can be hit; else -1. */
int facts_primary(const struct facts *facts);

/* `count` random nodes that are free, into `nodes`. False when there are fewer. */
bool facts_pick(const struct facts *facts, struct random *random, size_t count, size_t *nodes);

/* True when the two must not be present together. */
bool fault_conflicts(const struct fault *fault, const struct aim *aim, const struct fault *other,
                     const struct aim *other_aim);

/* What aiming functions of several families are: one random node, the primary, a minority, … */
int aim_at_one(const struct fault *fault, const struct facts *facts, struct random *random, struct aim *aim,
               struct error *error);
int aim_at_primary(const struct fault *fault, const struct facts *facts, struct random *random,
                   struct aim *aim, struct error *error);
int aim_at_minority(const struct fault *fault, const struct facts *facts, struct random *random,
                    struct aim *aim, struct error *error); /* the greatest */
int aim_at_majority(const struct fault *fault, const struct facts *facts, struct random *random,
                    struct aim *aim, struct error *error); /* the smallest */
int aim_at_all(const struct fault *fault, const struct facts *facts, struct random *random, struct aim *aim,
               struct error *error);
/* One random node that is not the primary, as far as known. */
int aim_at_follower(const struct fault *fault, const struct facts *facts, struct random *random,
                    struct aim *aim, struct error *error);

/* What a fault that cuts links did: packets that the rules have dropped. */
size_t partition_measure(struct cluster *cluster, const struct aim *aim,
                         struct aim_number evidence[AIM_NUMBERS_MAX]);

/* ---- The catalogue: a room for each family ---- */

/* The faults of one family or of several kindred ones. */
struct fault_table {
  const struct fault *faults;
  size_t count;
};

extern const struct fault_table partition_faults;
extern const struct fault_table process_faults;
extern const struct fault_table link_faults;
extern const struct fault_table lifecycle_faults;
extern const struct fault_table clock_faults;
extern const struct fault_table snapshot_faults;
extern const struct fault_table resource_faults;
extern const struct fault_table disk_faults;
extern const struct fault_table membership_faults;

#define FAULTS_MAX 128
#define FAMILIES_MAX 24

/* The faults that a comma-separated list of families and faults ("partition,kill-all", "all", "none")
 * selects, in the order of the catalogue, each once. ERR_BAD_INPUT names the unknown word and the known ones.
 */
int catalogue_select(const char *list, const struct fault **faults, size_t *count, struct error *error);

/* The fault of that name, or NULL. */
const struct fault *catalogue_find(const char *name);

#endif
