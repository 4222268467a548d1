#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/bugs.h"
#include "harness/sim.h"

#define LAST_DEFAULT 1000

static const struct sim_settings defaults = {
    .seed_budget_ns = 60 * NS_PER_S,
    .store = "store",
    .details = 3,
    .shrink_runs = 1000,
};

static int parse_flags(struct sim_settings *s, int argc, char **argv, int *positional) {
  const struct flag flags[] = {
      {"seeds", FLAG_STRING, &s->seeds_text, "A..B", "the seeds to run (default 1..1000)", 0, 0},
      {"seed", FLAG_STRING, &s->seed_text, "N", "one seed", 0, 0},
      {"plan", FLAG_STRING, &s->plan_path, "FILE", "one plan that was saved, instead of seeds", 0, 0},
      {"nodes", FLAG_INT, &s->nodes, "N", "3 or 5 masters (default: drawn)", 3, SIMULATOR_NODES_MAX},
      {"time", FLAG_DURATION, &s->time_ns, "TIME", "simulated time of load and faults (default: drawn)", 1e6,
       86400e9},
      {"workload", FLAG_STRING, &s->workload, "NAME", "what clients do (default: drawn)", 0, 0},
      {"reads", FLAG_STRING, &s->reads, "WHERE",
       "clients read at the primary or at any node (default: drawn)", 0, 0},
      {"faults", FLAG_STRING, &s->faults, "FAULTS",
       "families (network, process, disk, clock, snapshot) or faults that may be drawn (default: all)", 0, 0},
      {"bug", FLAG_STRING, &s->bug, "NAME", "switch a named defect on, in a build with defects", 0, 0},
      {"no-check", FLAG_BOOL, &s->no_check, NULL, "invariants and liveness only, not the history", 0, 0},
      {"jobs", FLAG_INT, &s->jobs, "N", "processes (default: as many as processors)", 1, SIM_JOBS_MAX},
      {"time-budget", FLAG_DURATION, &s->time_budget_ns, "TIME", "wall time after which no seed is begun",
       1e6, 30 * 86400e9},
      {"seed-budget", FLAG_DURATION, &s->seed_budget_ns, "TIME",
       "wall time after which a seed counts as stuck (default 60s)", 1e9, 86400e9},
      {"stop-at-first", FLAG_BOOL, &s->stop_at_first, NULL, "end with the lowest seed that fails", 0, 0},
      {"progress", FLAG_BOOL, &s->progress, NULL, "tell how far it is (default: on a terminal)", 0, 0},
      {"store", FLAG_STRING, &s->store, "DIR", "where failures are saved, as DIR/sim/SEED/ (default store)",
       0, 0},
      {"details", FLAG_INT, &s->details, "N",
       "failures saved with shrunk plan, history, trace and picture (default 3); of others the result alone",
       0, 1e6},
      {"shrink", FLAG_BOOL, &s->shrink, NULL, "make the plans of those small (the default)", 0, 0},
      {"no-shrink", FLAG_BOOL, &s->no_shrink, NULL, "leave them as they are", 0, 0},
      {"shrink-runs", FLAG_INT, &s->shrink_runs, "N", "simulations that shrinking may take (default 1000)", 1,
       1e9},
      {"trace", FLAG_BOOL, &s->trace, NULL,
       "one seed: print one line a transition; FILE behind the flags writes it there", 0, 0},
      {"sequence", FLAG_STRING, &s->sequence_path, "FILE", "one seed: a message-sequence picture, as SVG", 0,
       0},
      {"from", FLAG_STRING, &s->from_text, "WHEN",
       "of trace and picture: a transition's number, or simulated seconds (3.5s)", 0, 0},
      {"to", FLAG_STRING, &s->to_text, "WHEN", "likewise", 0, 0},
      {"until", FLAG_INT, &s->until, "N", "one seed: end before transition N", 1, 9e15},
      {"break-at", FLAG_INT, &s->break_at, "N", "one seed: SIGTRAP before transition N, for a debugger", 1,
       9e15},
      {"digest", FLAG_BOOL, &s->digest, NULL, "one seed: print the digest of all that happened, and no more",
       0, 0},
      {"json", FLAG_BOOL, &s->json, NULL, "one JSON object a seed that failed, the totals last", 0, 0},
  };
  const struct flag_set set = {
      .program = s->design->program,
      .summary =
          "Runs whole clusters on virtual time, each from one seed: masters, clients, faults, and what must\n"
          "always hold. Saves and shrinks what fails. Exit codes: 0 nothing was found, 1 a seed failed,\n"
          "2 a seed could not be decided or nothing was done, 3 the harness itself failed, 64 wrong usage.",
      .positional = "[FILE]",
      .flags = flags,
      .count = ARRAY_SIZE(flags),
  };
  return flags_parse_or_exit_code(&set, argc, argv, positional);
}

static int parse_seed(const char *flag, const char *text, const char *end, uint64_t *seed,
                      struct error *error) {
  char *stop;
  const unsigned long long value = strtoull(text, &stop, 10);
  if (text[0] < '0' || text[0] > '9' || stop != end || value > SIM_SEED_MAX)
    return error_set(error, ERR_BAD_INPUT, "--%s takes %s, of 0 to %" PRIu64 ", not '%s'", flag,
                     strcmp(flag, "seed") == 0 ? "a seed" : "seeds as in 1..1000 or 7", SIM_SEED_MAX, text);
  *seed = value;
  return 0;
}

static int parse_seeds(struct sim_settings *s, struct error *error) {
  s->first = 1;
  s->last = LAST_DEFAULT;
  if ((s->seeds_text != NULL) + (s->seed_text != NULL) + (s->plan_path != NULL) > 1)
    return error_set(error, ERR_BAD_INPUT, "--seeds, --seed and --plan exclude each other: give one");
  const char *flag = s->seed_text ? "seed" : "seeds", *text = s->seed_text ? s->seed_text : s->seeds_text;
  if (!text)
    return 0;
  const char *dots = s->seed_text ? NULL : strstr(text, "..");
  int status = parse_seed(flag, text, dots ? dots : text + strlen(text), &s->first, error);
  s->last = s->first;
  if (status == 0 && dots)
    status = parse_seed(flag, dots + 2, text + strlen(text), &s->last, error);
  if (status == 0 && s->last < s->first)
    return error_set(error, ERR_BAD_INPUT, "--seeds %s ends before it begins", text);
  return status;
}

/* A number is a transition's, "3.5s" a time. */
static int parse_when(const char *flag, const char *text, uint64_t *number, int64_t *time_ns,
                      struct error *error) {
  if (!text)
    return 0;
  char *end;
  const size_t length = strlen(text);
  if (text[length > 0 ? length - 1 : 0] == 's') {
    const double seconds = strtod(text, &end);
    *time_ns = (int64_t)(seconds * 1e9);
    if (end == text + length - 1 && seconds >= 0 && seconds < 1e9)
      return 0;
  } else {
    *number = strtoull(text, &end, 10);
    if (text[0] >= '0' && text[0] <= '9' && *end == '\0')
      return 0;
  }
  return error_set(error, ERR_BAD_INPUT, "--%s takes a transition's number or a time such as 3.5s, not '%s'",
                   flag, text);
}

bool sim_looks_at_one(const struct sim_settings *s) {
  return s->trace || s->sequence_path || s->until != 0 || s->break_at != 0 || s->digest;
}

static int check_combinations(const struct sim_settings *s, struct error *error) {
  const bool one = s->seed_text || s->plan_path;
  if (sim_looks_at_one(s) && !one)
    return error_set(
        error, ERR_BAD_INPUT,
        "--trace, --sequence, --until, --break-at and --digest look at one run: name it with --seed "
        "N or --plan FILE");
  if (sim_looks_at_one(s) && s->shrink)
    return error_set(error, ERR_BAD_INPUT,
                     "--shrink makes a failure small and saves it, with trace and picture: look at it later, "
                     "with --plan FILE --trace");
  if (s->shrink && s->no_shrink)
    return error_set(error, ERR_BAD_INPUT, "--shrink and --no-shrink exclude each other: give one");
  if ((s->from_text || s->to_text) && !s->trace && !s->sequence_path)
    return error_set(error, ERR_BAD_INPUT, "--from and --to choose a part of --trace and --sequence");
  if (s->nodes == 4)
    return error_set(error, ERR_BAD_INPUT, "--nodes takes 3 or 5: an even cluster survives no more faults");
  return 0;
}

/* Everything that a plan refuses is refused here, before a worker meets it. */
static int check_plan(struct sim_settings *s, struct error *error) {
  if (s->plan_path) {
    if (s->nodes != 0 || s->time_ns != 0 || s->workload || s->reads || s->faults)
      return error_set(
          error, ERR_BAD_INPUT,
          "--nodes, --time, --workload, --reads and --faults say what is drawn, and --plan %s draws nothing",
          s->plan_path);
    const int status = plan_read(s->plan_path, &s->plan, error);
    if (status == 0)
      s->first = s->last = s->plan.seed;
    return status;
  }
  struct plan plan = {0};
  const int status = sim_plan_of(s, s->first, &plan, error);
  if (status == 0)
    plan_free(&plan);
  return status;
}

static int check(struct sim_settings *s, struct error *error) {
  int status = parse_seeds(s, error);
  if (status == 0)
    status = parse_when("from", s->from_text, &s->from, &s->from_ns, error);
  if (status == 0)
    status = parse_when("to", s->to_text, &s->to, &s->to_ns, error);
  if (status == 0)
    status = check_combinations(s, error);
  if (status == 0 && s->bug)
    status = bugs_find(s->bug, error);
  if (status == 0)
    status = check_plan(s, error);
  return status;
}

int sim_settings_parse(struct sim_settings *settings, const struct sim_design *design, int argc,
                       char **argv) {
  *settings = defaults;
  settings->design = design;
  const long processors = sysconf(_SC_NPROCESSORS_ONLN);
  settings->jobs = processors < 1 ? 1 : processors > SIM_JOBS_MAX ? SIM_JOBS_MAX : processors;
  settings->progress = isatty(STDERR_FILENO) == 1;
  int positional;
  const int code = parse_flags(settings, argc, argv, &positional);
  if (code >= 0)
    return code;
  struct error error = {0};
  int status = 0;
  if (positional > 1 || (positional == 1 && !settings->trace))
    status = error_set(&error, ERR_BAD_INPUT, "'%s' stands alone: only --trace takes a FILE", argv[1]);
  else
    settings->trace_path = positional == 1 ? argv[1] : "-";
  if (status == 0)
    status = check(settings, &error);
  if (status == 0)
    return -1;
  fprintf(stderr, "%s: %s\n", design->program, error.message);
  sim_settings_free(settings);
  return status == ERR_BAD_INPUT || status == ERR_NOT_FOUND || status == ERR_UNSUPPORTED ? EXIT_USAGE
                                                                                         : EXIT_HARNESS;
}

void sim_settings_free(struct sim_settings *settings) {
  if (settings->plan_path)
    plan_free(&settings->plan);
}

struct plan_options sim_draw_options(const struct sim_settings *settings) {
  return (struct plan_options){.nodes = (size_t)settings->nodes,
                               .duration_ns = settings->time_ns,
                               .workload = settings->workload,
                               .reads = settings->reads,
                               .faults = settings->faults};
}

struct simulation_options sim_run_options(const struct sim_settings *settings) {
  return (struct simulation_options){.journal = settings->design->journal,
                                     .members_fixed = settings->design->members_fixed,
                                     .frame_print = settings->design->frame_print,
                                     .check = !settings->no_check,
                                     .until = (uint64_t)settings->until,
                                     .break_at = (uint64_t)settings->break_at};
}

int sim_plan_of(const struct sim_settings *settings, uint64_t seed, struct plan *plan, struct error *error) {
  if (settings->plan_path) {
    plan_copy(&settings->plan, plan);
    return 0;
  }
  const struct plan_options options = sim_draw_options(settings);
  return plan_draw(seed, &options, plan, error);
}

/* The flags that a plan depends on, and the defect it was found with. */
const char *sim_again(const struct sim_settings *s, uint64_t seed, char out[SIM_AGAIN_SIZE]) {
  struct bytes text = {0};
  bytes_append_format(&text, "%s", s->design->program);
  if (s->plan_path)
    bytes_append_format(&text, " --plan %s", s->plan_path);
  else
    bytes_append_format(&text, " --seed %" PRIu64, seed);
  if (s->nodes != 0)
    bytes_append_format(&text, " --nodes %" PRId64, s->nodes);
  if (s->time_ns % NS_PER_MS != 0)
    bytes_append_format(&text, " --time %" PRId64 "ns", s->time_ns);
  else if (s->time_ns != 0)
    bytes_append_format(&text, " --time %" PRId64 "ms", s->time_ns / NS_PER_MS);
  if (s->workload)
    bytes_append_format(&text, " --workload %s", s->workload);
  if (s->reads)
    bytes_append_format(&text, " --reads %s", s->reads);
  if (s->faults)
    bytes_append_format(&text, " --faults %s", s->faults);
  if (s->bug)
    bytes_append_format(&text, " --bug %s", s->bug);
  if (s->no_check)
    bytes_append_format(&text, " --no-check");
  snprintf(out, SIM_AGAIN_SIZE, "%.*s", (int)text.size, (const char *)text.data);
  bytes_free(&text);
  return out;
}
