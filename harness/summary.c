#include "harness/summary.h"

#include <string.h>
#include <unistd.h>

#include "harness/document.h"

/* Columns that hold "µs" count characters, not bytes. */
static void pad(FILE *out, const char *text, int width) {
  int columns = 0;
  for (const char *at = text; *at; at++)
    columns += ((unsigned char)*at & 0xc0) != 0x80;
  fprintf(out, "%*s%s", columns < width ? width - columns : 0, "", text);
}

static void print_operations(FILE *out, const json_t *result) {
  json_t *operations = json_object_get(result, "per_operation");
  if (json_object_size(operations) == 0)
    return;
  fprintf(out, "\n%-14s %11s %11s %9s %10s %10s %10s\n", "operation", "ok", "fail", "info", "p50", "p99",
          "max");
  const char *name;
  json_t *one;
  json_object_foreach(operations, name, one) {
    static const char *const counts[] = {"ok", "fail", "info"}, *const times[] = {"p50_ns", "p99_ns",
                                                                                  "max_ns"};
    static const int widths[] = {12, 12, 10};
    char text[COUNT_TEXT_SIZE];
    fprintf(out, "%-14s", name);
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
      pad(out, count_text(document_integer(one, counts[i], 0), text), widths[i]);
    for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
      const bool measured = document_integer(one, "ok", 0) > 0;
      pad(out, measured ? duration_text(document_integer(one, times[i], 0), text) : "-", 11);
    }
    fputc('\n', out);
  }
}

static void print_faults(FILE *out, const json_t *result) {
  json_t *faults = json_object_get(result, "faults"), *missing = json_object_get(result, "faults_missing");
  const char *name;
  json_t *one;
  if (json_object_size(faults) + json_object_size(missing) > 0)
    fprintf(out, "\n%-28s %9s %9s %9s\n", "fault", "installed", "healed", "skipped");
  json_object_foreach(faults, name, one) {
    fprintf(out, "%-28s %9d %9d %9d", name, (int)document_integer(one, "installed", 0),
            (int)document_integer(one, "healed", 0), (int)document_integer(one, "skipped", 0));
    const json_t *reasons = json_object_get(one, "reasons");
    for (size_t i = 0; i < json_array_size(reasons); i++)
      fprintf(out, "%s%s", i == 0 ? "  " : "; ", json_string_value(json_array_get(reasons, i)));
    fputc('\n', out);
  }
  json_object_foreach(missing, name, one)
      fprintf(out, "%-28s never took hold: %s\n", name, json_string_value(one));
}

static void print_cluster(FILE *out, const json_t *result) {
  char gap[COUNT_TEXT_SIZE], headless[COUNT_TEXT_SIZE], recovery[COUNT_TEXT_SIZE];
  if (document_integer(result, "operations", 0) == 0)
    return;
  fprintf(out, "\nelections %d · longest without a primary %s · longest without any ok %s (at %.1f s)",
          (int)document_integer(result, "elections", 0),
          duration_text(document_integer(result, "longest_without_primary_ms", 0) * NS_PER_MS, headless),
          duration_text(document_integer(result, "longest_gap_ms", 0) * NS_PER_MS, gap),
          (double)document_integer(result, "longest_gap_at_ms", 0) / 1e3);
  if (json_object_size(json_object_get(result, "faults")) > 0)
    fprintf(out, " · longest from a heal to an ok %s",
            duration_text(document_integer(result, "longest_recovery_ms", 0) * NS_PER_MS, recovery));
  fprintf(out, "\nsafety %s · liveness %s", document_string(result, "history_verdict", "not checked"),
          document_string(result, "liveness", "unknown"));
  fprintf(out, "\nreplicas %s", document_string(result, "replicas", "not compared"));
  const json_t *nodes = json_object_get(result, "replica_nodes");
  for (size_t i = 0; i < json_array_size(nodes); i++) {
    const json_t *node = json_array_get(nodes, i);
    fprintf(out, " · %s %s at %lld", document_string(node, "node", "?"), document_string(node, "hash", "?"),
            (long long)document_integer(node, "applied", 0));
  }
  fputc('\n', out);
}

static void print_counterexample(FILE *out, const json_t *result) {
  const json_t *texts = json_object_get(result, "counterexample_operations");
  const json_t *indexes = json_object_get(result, "counterexample");
  const char *explanation = document_string(result, "explanation", NULL);
  for (size_t i = 0; i < json_array_size(texts); i++)
    fprintf(out, "%s  [%zu] index %lld  %s\n", i == 0 ? "\n" : "", i + 1,
            (long long)json_integer_value(json_array_get(indexes, i)),
            json_string_value(json_array_get(texts, i)));
  if (json_array_size(indexes) > json_array_size(texts))
    fprintf(out, "  … and %zu more, in counterexample.jsonl\n",
            json_array_size(indexes) - json_array_size(texts));
  if (explanation && strcmp(document_string(result, "history_verdict", ""), "valid") != 0)
    fprintf(out, "\n%s\n", explanation);
}

static void print_places(FILE *out, const json_t *result) {
  const char *run = document_string(result, "run", "");
  char path[4096 + 32];
  fputc('\n', out);
  if (json_is_number(json_object_get(result, "check_seconds")))
    fprintf(out, "check    %.2f s by %s (read in %.2f s)\n", document_number(result, "check_seconds", 0),
            document_string(result, "method", "search"), document_number(result, "parse_seconds", 0));
  fprintf(out, "run      %s\n", run);
  snprintf(path, sizeof path, "%s/report.html", run);
  if (file_exists(path))
    fprintf(out, "report   %s\n", path);
  snprintf(path, sizeof path, "%s/diagnostics.txt", run);
  if (file_exists(path))
    fprintf(out, "details  %s (cores, stacks, kernel messages)\n", path);
  fprintf(out, "again    %s\n", document_string(result, "command", ""));
}

/* Green, red or yellow, where a terminal shows it. */
static const char *colour(FILE *out, const json_t *result) {
  if (isatty(fileno(out)) != 1)
    return "";
  const char *verdict = document_string(result, "verdict", "");
  return strcmp(verdict, "valid") == 0     ? "\033[1;32m"
         : strcmp(verdict, "invalid") == 0 ? "\033[1;31m"
                                           : "\033[1;33m";
}

void summary_print(FILE *out, const json_t *result) {
  const char *start = colour(out, result);
  fprintf(out, "\n%s%s%s\n", start, document_string(result, "sentence", ""), start[0] ? "\033[0m" : "");
  print_counterexample(out, result);
  print_operations(out, result);
  print_faults(out, result);
  print_cluster(out, result);
  print_places(out, result);
  fflush(out);
}
