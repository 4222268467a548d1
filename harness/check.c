/* check.c: `assay check`: is a recorded history linearizable? */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/base.h"
#include "checker/checker.h"
#include "harness/commands.h"
#include "harness/document.h"
#include "histories/histories.h"

struct check_settings {
  struct check_options options;
  const char *certificate, *counterexample;
  bool json;
};

/* A run's directory stands for the history in it. */
static char *history_of(const char *argument) {
  struct stat info;
  if (stat(argument, &info) == 0 && S_ISDIR(info.st_mode))
    return path_join(argument, "history.jsonl");
  return xstrdup(argument);
}

static int fail(const struct check_settings *settings, const char *path, const char *message) {
  fprintf(stderr, "assay check: %s\n", message);
  if (settings->json) {
    json_t *object = json_pack("{s:s, s:n, s:s}", "file", path, "verdict", "error", message);
    document_print_line(object);
    json_decref(object);
  }
  return EXIT_HARNESS;
}

static json_t *indexes_json(const struct history *counterexample) {
  if (!counterexample)
    return json_null();
  json_t *indexes = json_array();
  for (size_t i = 0; i < counterexample->count; i++)
    json_array_append_new(indexes, json_integer((json_int_t)counterexample->operations[i].invoke_index));
  return indexes;
}

static void print_json(const char *path, const struct history *history, const struct check_result *result,
                       double parse_seconds) {
  json_t *object =
      json_pack("{s:s, s:s, s:I, s:f, s:f, s:I, s:s, s:o, s:s?, s:f, s:I}", "file", path, "verdict",
                verdict_name(result->verdict), "operations", (json_int_t)history->count, "seconds",
                result->seconds, "parse_seconds", parse_seconds, "peak_bytes", (json_int_t)result->peak_bytes,
                "method", result->method ? result->method : "", "counterexample",
                indexes_json(result->counterexample), "explanation", result->explanation, "minimise_seconds",
                result->minimise_seconds, "proved_events", (json_int_t)result->proved_events);
  document_print_line(object);
  json_decref(object);
}

/* Of a counterexample that could not be made small, people read the beginning. */
#define SHOWN_MAX 30

static void print_text(const char *path, const struct history *history, const struct check_result *result,
                       double parse_seconds) {
  char count[COUNT_TEXT_SIZE];
  printf("%s: %s: %s operations, decided in %.3f s by %s (read in %.3f s)\n", path,
         verdict_name(result->verdict), count_text((int64_t)history->count, count), result->seconds,
         result->method ? result->method : "search", parse_seconds);
  const size_t involved = result->counterexample ? result->counterexample->count : 0;
  for (size_t i = 0; i < involved && i < SHOWN_MAX; i++) {
    char text[600];
    const struct operation *operation = &result->counterexample->operations[i];
    operation_print(operation, text, sizeof text);
    printf("  [%zu] index %llu  %s\n", i + 1, (unsigned long long)operation->invoke_index, text);
  }
  if (involved > SHOWN_MAX)
    printf("  … and %zu more; --counterexample OUT writes them\n", involved - SHOWN_MAX);
  if (result->explanation && result->verdict != VERDICT_VALID)
    printf("%s\n", result->explanation);
  fflush(stdout);
}

static int write_files(const struct check_settings *settings, const struct history *history,
                       const struct check_result *result, struct error *error) {
  if (settings->certificate && result->verdict == VERDICT_VALID)
    return certificate_write(history, result, settings->certificate, error);
  if (settings->counterexample && result->counterexample)
    return history_save(result->counterexample, settings->counterexample, error);
  return 0;
}

static int check_file(const struct check_settings *settings, const char *path) {
  struct history *history = NULL;
  struct error warning = {0}, error = {0};
  const int64_t began_ns = time_monotonic_ns();
  if (history_read(path, &history, &warning, &error) != 0)
    return fail(settings, path, error.message);
  const double parse_seconds = (double)(time_monotonic_ns() - began_ns) / 1e9;
  if (warning.code != 0)
    fprintf(stderr, "assay check: %s\n", warning.message);
  struct check_result result = {0};
  int exit_code;
  if (check_history(history, &settings->options, &result, &error) != 0) {
    exit_code = fail(settings, path, error.message);
  } else {
    exit_code = verdict_exit_code(result.verdict);
    if (settings->json)
      print_json(path, history, &result, parse_seconds);
    else
      print_text(path, history, &result, parse_seconds);
    if (write_files(settings, history, &result, &error) != 0) {
      fprintf(stderr, "assay check: %s\n", error.message);
      exit_code = EXIT_HARNESS;
    }
    check_result_free(&result);
  }
  history_free(history);
  return exit_code;
}

int check_command(int argc, char **argv) {
  struct check_settings settings = {.options.minimise = true};
  int64_t memory_budget = 0;
  const struct flag flags[] = {
      {"certificate", FLAG_STRING, &settings.certificate, "OUT",
       "valid: write an order that explains every answer (assay-verify checks it)", 0, 0},
      {"counterexample", FLAG_STRING, &settings.counterexample, "OUT",
       "invalid: write a smallest history that is not linearizable either", 0, 0},
      {"time-budget", FLAG_DURATION, &settings.options.time_budget_ns, "TIME",
       "then the answer is unknown (default 60s)", 1e6, 86400e9},
      {"memory-budget", FLAG_SIZE, &memory_budget, "SIZE", "the same (default: half of the memory)", 1 << 20,
       1e15},
      {"json", FLAG_BOOL, &settings.json, NULL, "one JSON object a file", 0, 0},
  };
  const struct flag_set set = {
      .program = "assay check",
      .summary = "Decides whether recorded histories are linearizable. Exit codes: 0 valid, 1 invalid,\n"
                 "2 unknown, 3 a history cannot be read, 64 wrong usage; of several files, the worst.",
      .positional = "FILE|RUN…",
      .flags = flags,
      .count = ARRAY_SIZE(flags),
  };
  int count;
  const int code = flags_parse_or_exit_code(&set, argc, argv, &count);
  if (code >= 0)
    return code;
  settings.options.memory_budget = (uint64_t)memory_budget;
  if (count == 0) {
    fprintf(stderr, "assay check: which history? assay check FILE…, or a run's directory\n");
    return EXIT_USAGE;
  }
  if (count > 1 && (settings.certificate || settings.counterexample)) {
    fprintf(stderr, "assay check: --certificate and --counterexample take one history at a time\n");
    return EXIT_USAGE;
  }
  int worst = 0;
  for (int i = 1; i <= count; i++) {
    char *path = history_of(argv[i]);
    const int one = check_file(&settings, path);
    /* 0 valid < 2 unknown < 1 invalid < 3 failed: what asks for more attention. */
    static const int weight[] = {
        [EXIT_VALID] = 0, [EXIT_UNKNOWN] = 1, [EXIT_INVALID] = 2, [EXIT_HARNESS] = 3};
    if (weight[one] > weight[worst])
      worst = one;
    free(path);
  }
  return worst;
}
