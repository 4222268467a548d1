/* bugs_command.c: `assay bugs`: is every defect of the catalogue found, by what, how soon? */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/bugs.h"
#include "harness/commands.h"
#include "harness/document.h"

#ifdef ASSAY_BUGS

#include "harness/live.h"
#include "harness/sim_pool.h"
#include "master/bugs.h"

#define ROWS_MAX 64

struct row {
  const struct bug_description *bug;
  struct finding simulator, processes;
};

struct table {
  const struct bugs_settings *settings;
  struct row rows[ROWS_MAX];
  size_t count;
  FILE *out;
};

/* ---- The command line ---- */

static int parse_flags(struct bugs_settings *s, int argc, char **argv) {
  const struct flag flags[] = {
      {"bug", FLAG_STRING, &s->names_text, "NAME,…", "only these (default: the whole catalogue)", 0, 0},
      {"where", FLAG_STRING, &s->where, "PLACE", "simulator, processes or both (default simulator)", 0, 0},
      {"ranges", FLAG_INT, &s->ranges, "N", "simulator: disjoint ranges of seeds (default 5)", 1,
       DETECTIONS_MAX},
      {"seeds", FLAG_INT, &s->seeds, "N", "simulator: seeds of a range, at most (default 2000)", 1, 1e9},
      {"jobs", FLAG_INT, &s->jobs, "N", "simulator: processes (default: as many as processors)", 1,
       SIM_JOBS_MAX},
      {"range-budget", FLAG_DURATION, &s->range_budget_ns, "TIME",
       "simulator: wall time of a range, at most (default 10m)", 1e9, 86400e9},
      {"time", FLAG_DURATION, &s->time_ns, "TIME", "processes: load of one run (default 30s)", 1e9, 3600e9},
      {"tries", FLAG_INT, &s->tries, "N", "processes: detections to measure (default 5)", 1, DETECTIONS_MAX},
      {"first-seed", FLAG_INT, &s->first_seed, "N", "processes: of the first run, others follow (default 1)",
       0, 1e12},
      {"minutes", FLAG_INT, &s->minutes, "N", "processes: for one bug, all tries (default 10)", 1, 1440},
      {"store", FLAG_STRING, &s->store, "DIR", "where what was found is kept (default store)", 0, 0},
      {"json", FLAG_BOOL, &s->json, NULL, "one JSON object a bug and place", 0, 0},
      {"markdown", FLAG_BOOL, &s->markdown, NULL, "the table as Markdown", 0, 0},
  };
  const struct flag_set set = {
      .program = "assay bugs",
      .summary =
          "Runs the bug catalogue: every named defect in the simulator, on a real cluster, or both. Exit\n"
          "codes: 0 all were found in four of five tries, 1 one was not, 3 the harness itself failed.",
      .flags = flags,
      .count = ARRAY_SIZE(flags),
  };
  int positional;
  return flags_parse_or_exit_code(&set, argc, argv, &positional);
}

static int check(struct bugs_settings *s, struct error *error) {
  const bool both = strcmp(s->where, "both") == 0;
  s->simulator = both || strcmp(s->where, "simulator") == 0;
  s->processes = both || strcmp(s->where, "processes") == 0;
  if (!s->simulator && !s->processes)
    return error_set(error, ERR_BAD_INPUT, "--where takes simulator, processes or both, not '%s'", s->where);
  return 0;
}

/* ---- Rows ---- */

static void add_row(struct table *table, const struct bug_description *bug) {
  if (table->count < ROWS_MAX)
    table->rows[table->count++] = (struct row){.bug = bug};
}

static int choose(struct table *table, struct error *error) {
  const char *names = table->settings->names_text;
  for (const struct bug_description *bug = bug_list(); !names && bug->name; bug++)
    add_row(table, bug);
  char *copy = names ? xstrdup(names) : NULL, *rest = copy;
  int status = 0;
  for (char *name; copy && status == 0 && (name = strsep(&rest, ",")) != NULL;) {
    status = bugs_find(name, error);
    for (const struct bug_description *bug = bug_list(); status == 0 && bug->name; bug++)
      if (strcmp(bug->name, name) == 0)
        add_row(table, bug);
  }
  free(copy);
  return status;
}

static int look_for(struct table *table, struct row *row, struct error *error) {
  const struct bugs_settings *settings = table->settings;
  const char *bug = row->bug->name;
  int status = 0;
  if (settings->simulator)
    status = bugs_simulate(settings, bug, &row->simulator, error);
  if (status == 0 && settings->processes)
    status = bugs_run(settings, bug, &row->processes, error);
  const struct finding *findings[] = {&row->simulator, &row->processes};
  for (size_t i = 0; status == 0 && settings->json && i < ARRAY_SIZE(findings); i++) {
    if (!findings[i]->bug)
      continue;
    json_t *object = finding_json(findings[i]);
    document_print_line(object);
    json_decref(object);
  }
  return status;
}

/* ---- For people ---- */

static void print_head(FILE *out) {
  fprintf(out, "%-23s %-9s %-6s %-30s %8s %8s %10s %9s %9s\n", "bug", "where", "found", "evidence", "median",
          "worst", "simulated", "wall", "example");
}

static void print_amount(FILE *out, bool simulated, const struct detection *detection) {
  char text[COUNT_TEXT_SIZE] = "-";
  if (detection && simulated)
    count_text(detection->seeds, text);
  else if (detection)
    snprintf(text, sizeof text, "%.0f s", detection->wall_seconds);
  fprintf(out, " %8s", text);
}

static void print_finding(FILE *out, const struct finding *finding) {
  if (!finding->bug)
    return;
  if (finding->reason) {
    fprintf(out, "%-23s %-9s %-6s %s\n", finding->bug, finding->where, "-", finding->reason);
    return;
  }
  const bool simulated = strcmp(finding->where, "simulator") == 0;
  const struct detection *median = finding_median(finding);
  fprintf(out, "%-23s %-9s %zu of %zu %-30s", finding->bug, finding->where, finding_found(finding),
          finding->count, finding_evidence(finding));
  print_amount(out, simulated, median);
  print_amount(out, simulated, finding_worst(finding));
  if (median && simulated)
    fprintf(out, " %8.0f s", median->simulated_seconds);
  else
    fprintf(out, " %10s", "-");
  if (median)
    fprintf(out, " %7.1f s", median->wall_seconds);
  else
    fprintf(out, " %9s", "-");
  const size_t example = finding_counterexample(finding);
  if (example > 0)
    fprintf(out, " %9zu", example);
  fputc('\n', out);
  fflush(out);
}

/* ---- For the README ---- */

static void print_markdown_simulator(FILE *out, const struct finding *finding) {
  const struct detection *median = finding_median(finding), *worst = finding_worst(finding);
  char seeds[COUNT_TEXT_SIZE] = "-", last[COUNT_TEXT_SIZE] = "not found";
  if (median)
    count_text(median->seeds, seeds);
  if (worst)
    count_text(worst->seeds, last);
  if (finding->count == 0)
    fprintf(out, " | |");
  else
    fprintf(out, " %s (%s) | %.0f |", seeds, last, median ? median->simulated_seconds : 0);
}

static void print_markdown_processes(FILE *out, const struct finding *finding) {
  const struct detection *median = finding_median(finding), *worst = finding_worst(finding);
  if (finding->reason)
    fprintf(out, " %s |\n", finding->reason);
  else if (!median)
    fprintf(out, finding->count > 0 ? " not found |\n" : " |\n");
  else if (worst)
    fprintf(out, " %.0f s (%.0f s) |\n", median->wall_seconds, worst->wall_seconds);
  else
    fprintf(out, " %.0f s (not found) |\n", median->wall_seconds);
}

static void print_markdown(FILE *out, const struct table *table) {
  fprintf(out,
          "| bug | what shows it | counterexample | seeds to the first detection, median (worst) | simulated "
          "seconds | on a real cluster, median (worst) |\n|---|---|---|---|---|---|\n");
  for (size_t i = 0; i < table->count; i++) {
    const struct row *row = &table->rows[i];
    if (row->bug->waits_for) {
      fprintf(out, "| `%s` | | | waits for %s | | |\n", row->bug->name, row->bug->waits_for);
      continue;
    }
    const struct finding *shown = row->simulator.count > 0 ? &row->simulator : &row->processes;
    size_t example = finding_counterexample(&row->simulator);
    if (example == 0)
      example = finding_counterexample(&row->processes);
    fprintf(out, "| `%s` | %s |", row->bug->name, finding_evidence(shown));
    if (example > 0)
      fprintf(out, " %zu operations |", example);
    else
      fprintf(out, " |");
    print_markdown_simulator(out, &row->simulator);
    print_markdown_processes(out, &row->processes);
  }
}

static bool holds(const struct bugs_settings *settings, const struct row *row) {
  return (!settings->simulator || finding_holds(&row->simulator)) &&
         (!settings->processes || row->processes.reason || finding_found(&row->processes) > 0);
}

static int run_table(struct table *table) {
  const struct bugs_settings *settings = table->settings;
  struct error error = {0};
  size_t looked_for = 0, missed = 0;
  if (choose(table, &error) != 0) {
    fprintf(stderr, "assay bugs: %s\n", error.message);
    return EXIT_USAGE;
  }
  print_head(table->out);
  for (size_t i = 0; i < table->count; i++) {
    struct row *row = &table->rows[i];
    if (row->bug->waits_for) {
      fprintf(table->out, "%-23s %-9s %-6s waits for %s\n", row->bug->name, "-", "-", row->bug->waits_for);
      continue;
    }
    if (look_for(table, row, &error) != 0) {
      fprintf(stderr, "assay bugs: %s: %s\n", row->bug->name, error.message);
      return EXIT_HARNESS;
    }
    print_finding(table->out, &row->simulator);
    print_finding(table->out, &row->processes);
    if (!settings->simulator && row->processes.reason)
      continue;
    looked_for++;
    missed += !holds(settings, row);
  }
  fprintf(table->out, "\n%zu of %zu defects found\n", looked_for - missed, looked_for);
  if (settings->markdown)
    print_markdown(stdout, table);
  return missed > 0 ? EXIT_INVALID : EXIT_VALID;
}

int bugs_command(int argc, char **argv) {
  const long processors = sysconf(_SC_NPROCESSORS_ONLN);
  struct bugs_settings settings = {.where = "simulator",
                                   .store = "store",
                                   .ranges = 5,
                                   .seeds = 2000,
                                   .jobs = processors < 1              ? 1
                                           : processors > SIM_JOBS_MAX ? SIM_JOBS_MAX
                                                                       : processors,
                                   .range_budget_ns = 600 * NS_PER_S,
                                   .time_ns = 30 * NS_PER_S,
                                   .tries = 5,
                                   .minutes = 10,
                                   .first_seed = 1};
  const int code = parse_flags(&settings, argc, argv);
  if (code >= 0)
    return code;
  struct error error = {0};
  if (check(&settings, &error) != 0) {
    fprintf(stderr, "assay bugs: %s\n", error.message);
    return EXIT_USAGE;
  }
  struct table *table = xcalloc(1, sizeof *table);
  table->settings = &settings;
  table->out = settings.json || settings.markdown ? stderr : stdout;
  const int exit_code = run_table(table);
  free(table);
  return exit_code;
}

#else

int bugs_command(int argc, char **argv) {
  const struct flag_set set = {.program = "assay bugs",
                               .summary = "Runs the catalogue of defects, in a build that has them:\n"
                                          "ci/build bugs programs, then build/bugs/bin/assay bugs.",
                               .positional = "…"};
  if (argc == 2 && strcmp(argv[1], "--help") == 0) {
    int positional;
    return flags_parse_or_exit_code(&set, argc, argv, &positional);
  }
  fprintf(stderr,
          "assay bugs: this build has no defects: ci/build bugs programs, then build/bugs/bin/assay bugs\n");
  return EXIT_USAGE;
}

#endif
