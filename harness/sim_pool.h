/* sim_pool.h: many seeds over several processes.
 *
 *             ┌ socket ─ worker: plan_draw, simulate ┐   a worker that dies, or overstays, is evidence about
 *   parent ───┤                                      ├   the seed it was at; another takes its place
 *             └ socket ─ worker …                    ┘
 *
 * Workers end in any order, results count in the order of their seeds: so whatever is reported, and the
 * digest of it all, is the same for one job and for many. */
#ifndef ASSAY_HARNESS_SIM_POOL_H
#define ASSAY_HARNESS_SIM_POOL_H

#include "base/base.h"
#include "simulator/simulator.h"

#define SIM_JOBS_MAX 64
#define SIM_SEED_MAX (UINT64_MAX >> 1) /* exact in every file and report */

/* What is known of one seed's run; travels over a socket as it is. */
struct seed_record {
  uint64_t seed;
  enum evidence evidence;
  int signal; /* that ended the process it ran in; 0: none did */
  bool stuck; /* it took longer than the wall time a seed may take */
  char invariant[32];
  char text[512];
  uint64_t at, digest, transitions;
  int64_t at_ns, simulated_ns, cpu_ns;
  uint64_t operations, ok, fail, info, elections, snapshots_sent, crashes;
  uint64_t faults[SIMULATED_FAULTS];
};

bool seed_failed(const struct seed_record *record);
/* "invariant", "history", "liveness", "fatal", "crash", "stuck", "unknown", "none". */
const char *seed_kind(const struct seed_record *record);
/* Of a simulation that was run here. */
struct seed_record seed_record_of(uint64_t seed, const struct simulation_result *result, int64_t cpu_ns);

struct pool_totals {
  uint64_t seeds, failed, unknown;
  uint64_t first_failed; /* 0 seeds failed: meaningless */
  uint64_t kinds[8];     /* per kind, in the order of pool_kind_name */
  uint64_t digest;       /* of all seeds' digests, in the order of seeds */
  uint64_t transitions, operations, ok, fail, info, elections, snapshots_sent, crashes;
  uint64_t faults[SIMULATED_FAULTS];
  int64_t simulated_ns, cpu_ns, wall_ns;
  bool interrupted, out_of_time; /* why not all seeds were run */
};

#define POOL_KINDS 8
const char *pool_kind_name(size_t kind);

struct pool_options {
  uint64_t first, last;     /* seeds, both included */
  const struct plan *plan;  /* runs this one instead, once; first and last are its seed */
  struct plan_options draw; /* of the plans */
  struct simulation_options simulation;
  const char *bug; /* switched on in the workers only; NULL: none */
  size_t jobs;
  int64_t time_budget_ns; /* wall; 0: none. Seeds that have begun are finished */
  int64_t seed_budget_ns; /* wall, of one seed */
  bool stop_at_first;     /* after the lowest seed that fails */
  /* In the order of seeds. */
  void (*each)(void *context, const struct seed_record *record);
  /* Ten times a second or so; may be NULL. */
  void (*tick)(void *context, const struct pool_totals *totals);
  void *context;
};

/* SIGINT and SIGTERM end it early: no seed is begun after the first one. ERR_IO when no process can be
 * started. */
int pool_run(const struct pool_options *options, struct pool_totals *totals, struct error *error);

/* For a process of a worker's kind: no core file, no terminal's signals, ends with its parent; what it prints
 * on standard error goes to `words`. */
void pool_become_worker(int words, pid_t parent);
/* The last line that was printed to such a file, without "program: file:line: "; "" when there is none. */
void pool_last_words(int words, char *out, size_t size);

#endif
