/* list.c: `assay list` and `assay report`: looking at stored runs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "harness/commands.h"
#include "harness/document.h"
#include "harness/report/report.h"
#include "harness/store.h"

static const char *verdict_of(const struct store_run *run) {
  if (!run->result)
    return "unfinished";
  return document_string(run->result, "verdict", "failed");
}

static void print_row(const struct store_run *run) {
  char operations[COUNT_TEXT_SIZE];
  printf("%-20s %-20s %-10s %12s  %-12lld %s\n", run->time, run->test, verdict_of(run),
         count_text(document_integer(run->result, "operations", 0), operations),
         (long long)document_integer(run->parameters, "seed", 0), run->directory);
}

static void print_row_json(const struct store_run *run) {
  json_t *object =
      json_pack("{s:s, s:s, s:o, s:I, s:I, s:s}", "time", run->time, "name", run->test, "verdict",
                run->result ? json_incref(json_object_get(run->result, "verdict")) : json_null(),
                "operations", (json_int_t)document_integer(run->result, "operations", 0), "seed",
                (json_int_t)document_integer(run->parameters, "seed", 0), "run", run->directory);
  document_print_line(object);
  json_decref(object);
}

int list_command(int argc, char **argv) {
  const char *store = "store";
  bool json = false;
  const struct flag flags[] = {
      {"store", FLAG_STRING, &store, "DIR", "where runs are kept (default store)", 0, 0},
      {"json", FLAG_BOOL, &json, NULL, "one JSON object a run", 0, 0},
  };
  const struct flag_set set = {.program = "assay list",
                               .summary = "Lists the runs of a store, oldest first.",
                               .flags = flags,
                               .count = ARRAY_SIZE(flags)};
  int positional;
  const int code = flags_parse_or_exit_code(&set, argc, argv, &positional);
  if (code >= 0)
    return code;
  struct store_run *runs;
  size_t count;
  struct error error = {0};
  if (store_list(store, &runs, &count, &error) != 0) {
    fprintf(stderr, "assay list: %s\n", error.message);
    return EXIT_HARNESS;
  }
  if (!json)
    printf("%-20s %-20s %-10s %12s  %-12s %s\n", "time", "name", "verdict", "operations", "seed", "run");
  for (size_t i = 0; i < count; i++)
    if (json)
      print_row_json(&runs[i]);
    else
      print_row(&runs[i]);
  store_list_free(runs, count);
  return 0;
}

int report_command(int argc, char **argv) {
  const char *store = "store";
  bool json = false;
  const struct flag flags[] = {
      {"store", FLAG_STRING, &store, "DIR", "where runs are kept (default store)", 0, 0},
      {"json", FLAG_BOOL, &json, NULL, "print where the page is as a JSON object", 0, 0},
  };
  const struct flag_set set = {.program = "assay report",
                               .summary =
                                   "Writes report.html of a run again: a directory, TEST/TIME, or latest.",
                               .positional = "RUN",
                               .flags = flags,
                               .count = ARRAY_SIZE(flags)};
  int count;
  const int code = flags_parse_or_exit_code(&set, argc, argv, &count);
  if (code >= 0)
    return code;
  if (count != 1) {
    fprintf(stderr, "assay report: which run? assay report RUN (assay list shows them; 'latest' is one)\n");
    return EXIT_USAGE;
  }
  struct error error = {0};
  char *run = NULL;
  int status = store_run_find(store, argv[1], &run, &error);
  if (status == 0)
    status = report_write(run, NULL, &error);
  if (status != 0) {
    fprintf(stderr, "assay report: %s\n", error.message);
  } else if (json) {
    json_t *object = json_pack("{s:s, s:s+}", "run", run, "report", run, "/report.html");
    document_print_line(object);
    json_decref(object);
  } else {
    printf("%s/report.html\n", run);
  }
  free(run);
  return status == 0 ? 0 : EXIT_HARNESS;
}
