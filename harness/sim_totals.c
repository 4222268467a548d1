/* sim_totals.c: what many seeds came to. */
#include <inttypes.h>
#include <stdio.h>

#include "harness/document.h"
#include "harness/sim.h"
#include "histories/histories.h"

/* Of a counterexample that could not be made small, people read the beginning. */
#define SHOWN_MAX 20

void sim_explain(const struct simulation_result *result, char *out, size_t size) {
  struct bytes text = {0};
  const struct history *example = result->counterexample;
  for (size_t i = 0; example && i < example->count && i < SHOWN_MAX; i++) {
    char line[600];
    operation_print(&example->operations[i], line, sizeof line);
    bytes_append_format(&text, "  [%zu] index %" PRIu64 "  %s\n", i + 1, example->operations[i].invoke_index,
                        line);
  }
  if (example && example->count > SHOWN_MAX)
    bytes_append_format(&text, "  … and %zu more\n", example->count - SHOWN_MAX);
  if (result->explanation)
    bytes_append_format(&text, "  %s\n", result->explanation);
  snprintf(out, size, "%.*s", (int)text.size, text.data ? (const char *)text.data : "");
  bytes_free(&text);
}

static double per_second(int64_t simulated_ns, int64_t spent_ns) {
  return spent_ns > 0 ? (double)simulated_ns / (double)spent_ns : 0;
}

int sim_exit_code(const struct pool_totals *totals) {
  if (totals->failed > 0)
    return EXIT_INVALID;
  return totals->unknown > 0 || totals->interrupted || totals->ok == 0 ? EXIT_UNKNOWN : EXIT_VALID;
}

static const char *verdict_of(const struct pool_totals *totals) {
  if (totals->failed > 0)
    return "invalid";
  if (totals->unknown > 0 || totals->interrupted)
    return "unknown";
  return totals->ok == 0 ? "vacuous" : "valid";
}

json_t *sim_totals_json(const struct pool_totals *totals, size_t jobs) {
  json_t *faults = json_object(), *kinds = json_object();
  for (size_t i = 0; i < SIMULATED_FAULTS; i++)
    if (totals->faults[i] > 0)
      json_object_set_new(faults, simulated_fault_name((enum simulated_fault)i),
                          json_integer((json_int_t)totals->faults[i]));
  for (size_t i = 1; i < POOL_KINDS; i++)
    if (totals->kinds[i] > 0)
      json_object_set_new(kinds, pool_kind_name(i), json_integer((json_int_t)totals->kinds[i]));
  char digest[20];
  snprintf(digest, sizeof digest, "%016" PRIx64, totals->digest);
  json_t *object =
      json_pack("{s:s, s:I, s:I, s:I, s:f, s:f, s:s}", "verdict", verdict_of(totals), "seeds",
                (json_int_t)totals->seeds, "failed", (json_int_t)totals->failed, "unknown",
                (json_int_t)totals->unknown, "simulated_seconds", (double)totals->simulated_ns / 1e9,
                "wall_seconds", (double)totals->wall_ns / 1e9, "digest", digest);
  json_t *rest =
      json_pack("{s:f, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:b, s:b}", "cpu_seconds",
                (double)totals->cpu_ns / 1e9, "simulated_seconds_per_core_second",
                per_second(totals->simulated_ns, totals->cpu_ns), "jobs", (json_int_t)jobs, "transitions",
                (json_int_t)totals->transitions, "operations", (json_int_t)totals->operations, "ok",
                (json_int_t)totals->ok, "fail", (json_int_t)totals->fail, "info", (json_int_t)totals->info,
                "elections", (json_int_t)totals->elections, "snapshots_sent",
                (json_int_t)totals->snapshots_sent, "crashes", (json_int_t)totals->crashes, "evidence", kinds,
                "faults", faults, "interrupted", totals->interrupted, "out_of_time", totals->out_of_time);
  json_object_update(object, rest);
  json_decref(rest);
  return object;
}

static size_t append_kinds(const struct pool_totals *totals, char *out, size_t size) {
  size_t used = 0;
  for (size_t i = 1; i < POOL_KINDS && used < size; i++)
    if (totals->kinds[i] > 0)
      used += (size_t)snprintf(out + used, size - used, "%s%s %" PRIu64, used > 0 ? ", " : "",
                               pool_kind_name(i), totals->kinds[i]);
  return used;
}

void sim_progress_text(const struct pool_totals *totals, uint64_t seeds, char *out, size_t size) {
  char done[COUNT_TEXT_SIZE], all[COUNT_TEXT_SIZE], rate[COUNT_TEXT_SIZE], kinds[200] = "nothing";
  append_kinds(totals, kinds, sizeof kinds);
  snprintf(out, size, "%s of %s seeds  %s simulated seconds a second  found %s",
           count_text((int64_t)totals->seeds, done), count_text((int64_t)seeds, all),
           count_text((int64_t)per_second(totals->simulated_ns, totals->wall_ns), rate), kinds);
}

static void print_faults(FILE *out, const struct pool_totals *totals) {
  size_t column = 0;
  for (size_t i = 0; i < SIMULATED_FAULTS; i++) {
    char count[COUNT_TEXT_SIZE];
    if (totals->faults[i] == 0)
      continue;
    if (column == 0 || column > 90)
      column = (size_t)fprintf(out, "%s", column == 0 ? "\nfaults   " : "\n         ");
    else
      column += (size_t)fprintf(out, " · ");
    column += (size_t)fprintf(out, "%s %s", simulated_fault_name((enum simulated_fault)i),
                              count_text((int64_t)totals->faults[i], count));
  }
}

static void print_sentence(FILE *out, const struct pool_totals *totals) {
  char seeds[COUNT_TEXT_SIZE], kinds[200] = "";
  count_text((int64_t)totals->seeds, seeds);
  append_kinds(totals, kinds, sizeof kinds);
  if (totals->failed > 0)
    fprintf(out, "%" PRIu64 " of %s seed%s failed: %s.", totals->failed, seeds, totals->seeds == 1 ? "" : "s",
            kinds);
  else if (totals->unknown > 0)
    fprintf(out, "Unknown: no violation in %s seeds, but the history of %" PRIu64 " could not be decided.",
            seeds, totals->unknown);
  else if (totals->ok == 0)
    fprintf(out, "Vacuous: no operation of %s seeds succeeded.", seeds);
  else
    fprintf(out, "No violation in %s seed%s.", seeds, totals->seeds == 1 ? "" : "s");
  if (totals->interrupted || totals->out_of_time)
    fprintf(out, " Not all were run: %s.", totals->interrupted ? "interrupted" : "the time is over");
}

void sim_totals_print(FILE *out, const struct pool_totals *totals) {
  char simulated[COUNT_TEXT_SIZE], transitions[COUNT_TEXT_SIZE], operations[COUNT_TEXT_SIZE];
  char ok[COUNT_TEXT_SIZE], fail[COUNT_TEXT_SIZE], info[COUNT_TEXT_SIZE], rate[COUNT_TEXT_SIZE];
  char elections[COUNT_TEXT_SIZE], crashes[COUNT_TEXT_SIZE], snapshots[COUNT_TEXT_SIZE];
  fputc('\n', out);
  print_sentence(out, totals);
  fprintf(out, "\n\nclients  %s operations: ok %s, fail %s, info %s",
          count_text((int64_t)totals->operations, operations), count_text((int64_t)totals->ok, ok),
          count_text((int64_t)totals->fail, fail), count_text((int64_t)totals->info, info));
  fprintf(out, "\ncluster  %s elections · %s crashes · %s snapshots sent · %s transitions",
          count_text((int64_t)totals->elections, elections), count_text((int64_t)totals->crashes, crashes),
          count_text((int64_t)totals->snapshots_sent, snapshots),
          count_text((int64_t)totals->transitions, transitions));
  print_faults(out, totals);
  fprintf(out, "\ntime     %s simulated seconds in %.1f s: %s a second of one core\n",
          count_text(totals->simulated_ns / NS_PER_S, simulated), (double)totals->wall_ns / 1e9,
          count_text((int64_t)per_second(totals->simulated_ns, totals->cpu_ns), rate));
  fprintf(out, "digest   %016" PRIx64 "\n", totals->digest);
  fflush(out);
}
