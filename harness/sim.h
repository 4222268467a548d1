/* sim.h: `assay sim`: seeds run in the simulator, looked at, saved and made small. */
#ifndef ASSAY_HARNESS_SIM_H
#define ASSAY_HARNESS_SIM_H

#include <jansson.h>

#include "base/base.h"
#include "harness/sim_pool.h"
#include "simulator/simulator.h"

/* What a program that runs seeds is about: the journal under test, and how the program is called. */
struct sim_design {
  const char *program; /* "assay sim" */
  journal_factory *journal;
  bool members_fixed; /* as in simulation_options */
  void (*frame_print)(const void *frame, size_t frame_size, char *out, size_t size);
};

/* The Raft journal of master/raft (sim_raft.c: only what links that has it). */
extern const struct sim_design sim_raft;

/* The command line of such a program; an exit code. `assay sim` is sim_command() of commands.h. */
int sim_main(const struct sim_design *design, int argc, char **argv);

struct sim_settings {
  const struct sim_design *design;
  /* what is run */
  const char *seeds_text, *seed_text, *plan_path;
  uint64_t first, last; /* seeds, both included */
  struct plan plan;     /* of --plan */
  int64_t nodes, time_ns;
  const char *workload, *reads, *faults, *bug;
  bool no_check;
  /* how */
  int64_t jobs, time_budget_ns, seed_budget_ns;
  bool stop_at_first, progress, json;
  /* what is kept of what failed */
  const char *store;
  int64_t details, shrink_runs;
  bool shrink, no_shrink;
  /* looking at one */
  bool trace, digest;
  const char *trace_path, *sequence_path, *from_text, *to_text;
  uint64_t from, to;
  int64_t from_ns, to_ns;
  int64_t until, break_at;
};

/* Parses and checks a command line. Returns -1 to go on, or an exit code (message printed). */
int sim_settings_parse(struct sim_settings *settings, const struct sim_design *design, int argc, char **argv);
void sim_settings_free(struct sim_settings *settings);
/* Whether a flag was given that looks at one run, in this process. */
bool sim_looks_at_one(const struct sim_settings *settings);

struct plan_options sim_draw_options(const struct sim_settings *settings);
/* Of a run that only counts: nothing is kept, no counterexample is made small. */
struct simulation_options sim_run_options(const struct sim_settings *settings);
/* The plan of a seed, or a copy of the settings' own; 0 or an error. The caller plan_free()s. */
int sim_plan_of(const struct sim_settings *settings, uint64_t seed, struct plan *plan, struct error *error);
/* The command that runs this one seed again, with its trace; into `out`, which it returns. */
#define SIM_AGAIN_SIZE 1024
const char *sim_again(const struct sim_settings *settings, uint64_t seed, char out[SIM_AGAIN_SIZE]);

/* ---- One seed, in this process: for a person, and for a debugger ---- */

int sim_look(struct sim_settings *settings);

/* ---- What is saved of a seed that failed (sim_save.c) ---- */

/* STORE/sim/[<bug>-]<seed>[-plan]/, emptied of what an earlier run left there (never of the plan that is
 * run); to free(). Holds result.json and, from sim_save_details, what there is to look at. */
int sim_save(const struct sim_settings *settings, const struct seed_record *record, char **directory,
             struct error *error);

struct sim_details {
  bool shrunk;
  size_t faults, operations; /* of the shrunk plan; else of the plan, with the history's operations */
  size_t counterexample;     /* operations; 0: none */
  char note[600];            /* why something is missing, or "" */
  char explanation[4000];    /* the counterexample in words, or "" */
};

/* Runs the seed again in a process of its own, which may die and is ended when it overstays, and writes
 * plan.json, history.jsonl, and (of the shrunk plan, when there is one, which is shrunk.json)
 * counterexample.jsonl, explanation.txt, trace.txt and sequence.svg. */
void sim_save_details(const struct sim_settings *settings, const struct seed_record *record,
                      const char *directory, bool shrink, struct sim_details *details);

/* One object about a seed that failed, as `assay sim --json` prints it. */
json_t *sim_record_json(const struct sim_settings *settings, const struct seed_record *record,
                        const char *directory, const struct sim_details *details);

/* ---- Traces as files (sim_trace.c) ---- */

/* A trace that is in the file even when the program dies: lines are gathered here, and written out by
 * whatever signal ends it. One at a time in a process. */
struct trace_file;
int trace_file_open(const char *path, struct trace_file **file,
                    struct error *error); /* "-": standard output */
void trace_file_add(struct trace_file *file, const struct transition *transition);
int trace_file_close(struct trace_file *file, struct error *error);

/* ---- Totals, for people and for scripts (sim_totals.c) ---- */

/* A counterexample and why it is one, as indented lines; "" when there is none. */
void sim_explain(const struct simulation_result *result, char *out, size_t size);

json_t *sim_totals_json(const struct pool_totals *totals, size_t jobs);
void sim_totals_print(FILE *out, const struct pool_totals *totals);
/* "1 234 of 5 000 seeds, 9 800 s/s, found 2: invariant 1, crash 1" */
void sim_progress_text(const struct pool_totals *totals, uint64_t seeds, char *out, size_t size);
int sim_exit_code(const struct pool_totals *totals);

#endif
