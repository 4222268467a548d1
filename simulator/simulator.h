/* simulator.h: the door of simulator/: a whole cluster in one thread, on virtual time, from one seed.
 *
 *   seed ── plan_draw ──▶ plan ── simulate ──▶ result (evidence, history, digest)
 *                          ▲  │                   │
 *                   JSON ──┘  └──▶ JSON           └── plan_shrink ──▶ a smaller plan with the same evidence
 *
 * The master's core (namespace, tables, primary), the journal's driver and the workloads are the ones that
 * run on real machines; the world underneath is modelled: network, disks, clocks, processes. A *plan* is all
 * that one run depends on: parameters, weather, workload and the schedule of faults, drawn from the seed
 * (even the probabilities are: "swarm testing", Groce et al., ISSTA 2012). simulate() is a function of its
 * plan: two runs of a plan by one binary are identical to the byte, and the digest says so. */
#ifndef ASSAY_SIMULATOR_H
#define ASSAY_SIMULATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"
#include "master/raft/raft_journal.h"

struct history; /* histories/histories.h, which shares names with the master's core */

#define SIMULATOR_NODES_MAX 5
#define SIMULATOR_CLIENTS_MAX 16

/* ---- Plans ---- */

enum simulated_fault {
  /* network; undone after for_ns */
  SIMULATED_PARTITION,   /* the targets against the rest, both ways */
  SIMULATED_ONE_WAY,     /* the targets are not heard by the rest, but hear them, or the other way round */
  SIMULATED_BRIDGE,      /* two halves that see each other only through one node */
  SIMULATED_CLOG,        /* frames from the targets wait until it is over, then come at once */
  SIMULATED_STORM,       /* all links: `strength` is the chance of loss, duplication and long delays */
  SIMULATED_CUT_CLIENTS, /* the targets cannot be reached by clients, and their answers are lost */
  /* processes */
  SIMULATED_CRASH, /* power loss: un-synced writes go whole, in part or torn; starts again after for_ns */
  SIMULATED_PAUSE, /* stands still for for_ns, and finds everything waiting for it */
  SIMULATED_STALLED_PARTITION, /* paused and cut off, continued half-way, still cut off */
  SIMULATED_RESTART,           /* an orderly end, and a start after for_ns */
  SIMULATED_WIPE,              /* loses its disk and rejoins; only when the protocol can survive it */
  /* disks; undone after for_ns unless they end the process first */
  SIMULATED_FULL_DISK,
  SIMULATED_SLOW_DISK,
  SIMULATED_SYNC_ERROR, /* one sync fails: the node must end, and is started again after for_ns */
  SIMULATED_ROT,        /* a crash, and a bit of the log's un-acknowledged tail or of an idle segment flips;
                           never on more nodes than the protocol can survive */
  /* clocks: wall_ns only; now_ns never goes back, but runs at the node's own rate */
  SIMULATED_CLOCK_JUMP,  /* by strength seconds, forward or back */
  SIMULATED_CLOCK_DRIFT, /* monotonic and wall clock run 1 + strength times as fast for for_ns */
  /* membership: the primary is asked, and may refuse; nothing is undone */
  SIMULATED_ADD,      /* some node that is no member, as standby */
  SIMULATED_PROMOTE,  /* some standby, to voter */
  SIMULATED_DEMOTE,   /* the target, to standby */
  SIMULATED_REMOVE,   /* the target */
  SIMULATED_TRANSFER, /* leadership, to some voter */
  SIMULATED_FAULTS
};

const char *simulated_fault_name(enum simulated_fault fault); /* "partition", "one-way" … */

enum simulated_target {
  TARGET_NODE,     /* number `node` */
  TARGET_PRIMARY,  /* whoever leads then; nobody: the fault is skipped */
  TARGET_FOLLOWER, /* some node that does not lead */
  TARGET_MINORITY,
  TARGET_MAJORITY,
  TARGET_ALL,
  TARGET_LAST, /* whom the latest fault hit */
  SIMULATED_TARGETS
};

struct planned_fault {
  enum simulated_fault fault;
  enum simulated_target target;
  size_t node; /* TARGET_NODE: from 0 */
  int64_t at_ns, for_ns;
  /* Not at at_ns, but so long after an election that follows it. One election brings one fault, the first in
   * the schedule that waits. */
  bool at_election;
  int64_t after_ns;
  double strength;
  uint64_t draw; /* seeds whatever else it must choose when it comes */
};

struct weather {
  double loss, duplication;                /* chance of each frame */
  int64_t delay_ns, jitter_ns;             /* of a frame; jitter reorders */
  double slow_frame;                       /* chance of a delay of up to a hundred times as much */
  int64_t disk_ns, disk_jitter_ns;         /* of a write with its sync */
  double disk_stall;                       /* chance of a request that takes a hundred times as long */
  int64_t store_ns;                        /* of a write of the row store */
  double clock_drift[SIMULATOR_NODES_MAX]; /* of each node's clocks, -0.01 … 0.01 */
};

struct plan {
  uint64_t seed;       /* of everything that happens by chance while it runs */
  size_t nodes;        /* 3 or 5 */
  size_t members;      /* the first so many are the first configuration; the others wait to be added */
  int64_t duration_ns; /* faults and clients; then everything heals, and liveness is judged */
  /* of the journal and the primary */
  unsigned election_timeout_ms, heartbeat_ms;
  uint64_t snapshot_threshold, snapshot_trailing;
  uint64_t segment_size;
  size_t cache_size;     /* of the journal */
  size_t row_cache_size; /* of the primary */
  size_t write_size;     /* of the primary */
  struct weather weather;
  /* of the clients */
  const char *workload; /* static */
  size_t clients;
  size_t any_readers; /* so many of them, the first, read at any node, and not at the primary alone */
  bool reports;       /* workers report blocks to each node */
  int64_t think_ns;   /* mean time between an answer and the client's next operation, in a burst */
  int64_t burst_ns, silence_ns; /* mean lengths of the times when clients work and when they rest */
  int64_t request_timeout_ns, attempt_timeout_ns;
  uint64_t operations_per_set;
  uint64_t operations;          /* the clients stop after so many in all */
  struct planned_fault *faults; /* in order of at_ns */
  size_t fault_count;
  /* Operations (by number, from 0, in the order they are drawn) that are drawn but not done: what the
   * shrinker took away. Ascending. */
  uint64_t *omitted;
  size_t omitted_count;
};

struct plan_options {
  size_t nodes;         /* 0: drawn, 3 or 5 */
  int64_t duration_ns;  /* 0: drawn */
  const char *workload; /* NULL: drawn */
  const char *reads;    /* NULL: drawn; "primary" or "any": where all clients read */
  /* Comma-separated families (network, process, disk, clock, membership, snapshot) or fault names that may be
   * drawn; NULL: all. */
  const char *faults;
};

int plan_draw(uint64_t seed, const struct plan_options *options, struct plan *plan, struct error *error);
void plan_copy(const struct plan *from, struct plan *to);
void plan_free(struct plan *plan); /* what it owns */
/* A plan as a JSON object, and back; every member that stands in the file is checked by name and range. */
int plan_write(const struct plan *plan, const char *path, struct error *error);
int plan_read(const char *path, struct plan *plan, struct error *error);

/* ---- Running one ---- */

enum evidence {
  EVIDENCE_NONE,
  EVIDENCE_INVARIANT, /* something only a simulator sees: result.invariant names it */
  EVIDENCE_HISTORY,   /* the clients' history is not linearizable */
  EVIDENCE_LIVENESS,  /* after everything healed the cluster did not become live within the bound */
  EVIDENCE_FATAL,     /* a node ended by itself though no fault excuses it */
  EVIDENCE_UNKNOWN    /* the checker's budget was spent: not a finding */
};
const char *evidence_name(enum evidence evidence);

/* One transition, told while it happens; text is valid during the call only. */
struct transition {
  uint64_t number; /* of events so far: what --until and --break-at count */
  int64_t time_ns;
  const char *kind; /* "send", "deliver", "drop", "disk", "timer", "role", "commit", "invoke", "ok", "fault" …
                       static */
  int node;         /* from 0; -1: none; clients are -2 - client */
  int peer;         /* of send, deliver, drop: the other node; else -1 */
  uint64_t frame;   /* pairs a send with what became of it; 0: none */
  const char *text;
};

typedef struct journal *journal_factory(const struct raft_journal_options *options, const struct world *world,
                                        const struct state_machine *state);

struct simulation_options {
  journal_factory *journal; /* raft_journal_new, or another design's */
  bool members_fixed;       /* it knows no changes of membership: all nodes are members from the start */
  bool check;               /* decide the history too, unless an invariant was violated first */
  bool minimise;            /* and find its counterexample */
  uint64_t until;           /* ends before transition number `until`; 0: never */
  uint64_t break_at;        /* raises SIGTRAP before that transition; 0: never */
  bool keep_history;
  void (*trace)(void *context, const struct transition *transition); /* NULL: none */
  void *trace_context;
  /* Puts a frame of the journal's into words, for the trace; NULL: its size alone is told. */
  void (*frame_print)(const void *frame, size_t frame_size, char *out, size_t size);
};

struct simulation_result {
  enum evidence evidence;
  char invariant[32]; /* "election-safety", "state-machine-safety", … or "" */
  char text[512];     /* for people: what was violated, where */
  uint64_t at;        /* number of the transition that showed it */
  int64_t at_ns;
  uint64_t digest; /* of every transition, frame, disk write, answer and table */
  uint64_t transitions;
  int64_t simulated_ns;
  uint64_t operations, ok, fail, info;
  uint64_t elections, snapshots_sent, crashes;
  uint64_t faults[SIMULATED_FAULTS]; /* that took hold */
  size_t counterexample_count;       /* operations; EVIDENCE_HISTORY with options.minimise */
  struct history *history;           /* options.keep_history; else NULL */
  struct history *counterexample;    /* or NULL */
  char *explanation;                 /* or NULL */
};

/* Never fails: whatever goes wrong in the cluster is evidence. */
void simulate(const struct plan *plan, const struct simulation_options *options,
              struct simulation_result *result);
void simulation_result_free(struct simulation_result *result);

/* ---- Looking at one ---- */

/* "    1042    3.214567  n1 > n3   deliver   append …": one line for people into `out`, aligned, without its
 * end, truncated to fit. Messages are shown from whom to whom; clients are c1 …, the world itself is -. */
#define TRANSITION_TEXT_SIZE 1024
void transition_print(const struct transition *transition, char out[TRANSITION_TEXT_SIZE]);

/* A message-sequence picture: a lifeline for each node and client, time running down; messages, what became
 * of them, roles, faults and what clients were told. */
struct sequence_options {
  size_t nodes, clients;
  int64_t from_ns, to_ns; /* of the transitions to show; to_ns 0: to the end */
  uint64_t from, to;      /* and by number; to 0: to the end */
  size_t rows_max;        /* of more, the last so many; 0: the default, 400 */
  bool heartbeats;        /* also messages that only say that somebody leads, and their answers */
};

struct sequence;

struct sequence *sequence_new(const struct sequence_options *options); /* copies what it needs */
void sequence_add(struct sequence *sequence, const struct transition *transition);
/* As SVG, in colours for light and for dark, under a title. */
int sequence_write(const struct sequence *sequence, const char *title, const char *path, struct error *error);
void sequence_free(struct sequence *sequence);

/* ---- Shrinking ---- */

struct shrink_progress {
  size_t runs, faults, operations;
};

/* The smallest plan found that still gives the same evidence (and the same invariant): fewer faults, fewer
 * operations and clients, a shorter run, calmer weather. Deterministic; `runs_max` simulations at most.
 * `progress` may be NULL. */
void plan_shrink(const struct plan *plan, const struct simulation_options *options, size_t runs_max,
                 void (*progress)(void *context, const struct shrink_progress *progress), void *context,
                 struct plan *smaller, struct simulation_result *result);

#endif
