/* shrink.c: `assay shrink RUN --schedule`: fewer faults that lead to the same verdict.
 *
 * A real cluster does not repeat itself to the letter, so a candidate gets several tries, and what is tried
 * first is what is likely: the few faults just before the violation. Then delta debugging (Zeller and
 * Hildebrandt, TSE 2002) over what is left. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/commands.h"
#include "harness/document.h"
#include "harness/recorded_schedule.h"
#include "harness/replay.h"
#include "harness/rerun.h"
#include "histories/histories.h"

#define FIRST_FAULT_MS 3000
#define AFTER_LAST_MS 5000
#define OVERHEAD_NS (180 * NS_PER_S)
#define SUFFIX_MAX 3

struct shrink {
  struct replayed replayed;
  const char *store;
  int64_t tries, runs;
  int64_t end_ns; /* when the time for all of it is over */
  size_t count;   /* faults of the schedule */
  bool *kept;     /* the smallest set that is known to do it */
  char *path;     /* of the schedule being tried */
  char *result_path;
  bool json;
  struct error error; /* the harness failed */
};

static size_t size_of(const struct shrink *shrink, const bool *set) {
  size_t size = 0;
  for (size_t i = 0; i < shrink->count; i++)
    size += set[i];
  return size;
}

static void say_set(const struct shrink *shrink, const bool *set, const char *verdict) {
  struct bytes text = {0};
  const json_t *faults = json_object_get(shrink->replayed.schedule, "faults");
  for (size_t i = 0; i < shrink->count; i++)
    if (set[i])
      bytes_append_format(&text, "%s%s", text.size > 0 ? ", " : "",
                          document_string(json_array_get(faults, i), "fault", "?"));
  fprintf(shrink->json ? stderr : stdout, "%-9s %zu faults: %.*s\n", verdict, size_of(shrink, set),
          (int)text.size, (const char *)text.data);
  fflush(stdout);
  bytes_free(&text);
}

/* ---- One candidate ---- */

static bool is_over(const struct shrink *shrink) {
  return shrink->error.code != 0 || time_monotonic_ns() >= shrink->end_ns;
}

/* True when a run under these faults is invalid, in one of the tries. Keeps the schedule then. */
static bool does_it(struct shrink *shrink, const bool *set) {
  int64_t last_ms;
  bool found = false;
  json_t *schedule = partial_schedule(shrink->replayed.schedule, set, FIRST_FAULT_MS, &last_ms);
  const int64_t time_ns = (last_ms + AFTER_LAST_MS) * NS_PER_MS;
  const char *const further[] = {"--store", shrink->store, "--json", NULL};
  char **words = replayed_words(&shrink->replayed, shrink->path, time_ns, further);
  document_write(shrink->path, schedule, &shrink->error);
  for (int64_t i = 0; i < shrink->tries && !found && !is_over(shrink); i++) {
    json_t *result = rerun(words, time_ns + OVERHEAD_NS, &shrink->error);
    found = result && replayed_is_invalid(result);
    shrink->runs++;
    json_decref(result);
  }
  if (shrink->error.code == 0)
    say_set(shrink, set, found ? "invalid" : "not found");
  if (found)
    document_write(shrink->result_path, schedule, &shrink->error);
  replayed_free_words(words);
  json_decref(schedule);
  return found;
}

static bool try_set(struct shrink *shrink, const bool *set) {
  const size_t size = size_of(shrink, set);
  if (size == 0 || size >= size_of(shrink, shrink->kept) || is_over(shrink) || !does_it(shrink, set))
    return false;
  memcpy(shrink->kept, set, shrink->count);
  return true;
}

/* ---- The search ---- */

/* The last few before the violation, the fewest first. */
static bool try_suffixes(struct shrink *shrink) {
  bool *set = xcalloc(shrink->count, sizeof *set);
  bool found = false;
  for (size_t size = 1; size <= SUFFIX_MAX && !found; size++) {
    memset(set, 0, shrink->count);
    size_t left = size;
    for (size_t i = shrink->count; i-- > 0 && left > 0;)
      if (shrink->kept[i]) {
        set[i] = true;
        left--;
      }
    found = try_set(shrink, set);
  }
  free(set);
  return found;
}

/* Keeps, or leaves out, the `part`-th of `parts` equal parts of what is kept. */
static void take_part(const struct shrink *shrink, size_t part, size_t parts, bool keep, bool *set) {
  const size_t size = size_of(shrink, shrink->kept);
  const size_t from = part * size / parts, to = (part + 1) * size / parts;
  for (size_t i = 0, at = 0; i < shrink->count; i++) {
    const bool inside = shrink->kept[i] && at >= from && at < to;
    set[i] = shrink->kept[i] && inside == keep;
    at += shrink->kept[i];
  }
}

static void minimise(struct shrink *shrink) {
  bool *set = xcalloc(shrink->count, sizeof *set);
  for (size_t parts = 2; size_of(shrink, shrink->kept) > 1 && !is_over(shrink);) {
    bool smaller = false;
    for (size_t keep = 2; keep-- > 0 && !smaller;)
      for (size_t part = parts; part-- > 0 && !smaller;) {
        take_part(shrink, part, parts, keep == 1, set);
        smaller = try_set(shrink, set);
      }
    const size_t size = size_of(shrink, shrink->kept);
    if (!smaller && parts >= size)
      break;
    parts = smaller ? 2 : 2 * parts;
    if (parts > size)
      parts = size;
  }
  free(set);
}

/* Faults that came after the violation had been seen did not cause it. */
static void drop_later(struct shrink *shrink) {
  char *path = path_join(shrink->replayed.run, "counterexample.jsonl");
  struct history *history = NULL;
  struct error warning = {0};
  const int64_t began_ns =
      document_integer(json_object_get(shrink->replayed.schedule, "_recorded"), "load_began_ns", 0);
  if (began_ns != 0 && file_exists(path) && history_read(path, &history, &warning, NULL) == 0) {
    int64_t last_ns = 0;
    for (size_t i = 0; i < history->count; i++)
      if (history->operations[i].complete_time_ns > last_ns)
        last_ns = history->operations[i].complete_time_ns;
    const json_t *faults = json_object_get(shrink->replayed.schedule, "faults");
    for (size_t i = 1; i < shrink->count; i++)
      if (began_ns + document_integer(json_array_get(faults, i), "at_ms", 0) * NS_PER_MS > last_ns)
        shrink->kept[i] = false;
    history_free(history);
  }
  free(path);
}

static int shrink_schedule(struct shrink *shrink) {
  const json_t *faults = json_object_get(shrink->replayed.schedule, "faults");
  shrink->count = json_array_size(faults);
  if (shrink->count == 0) {
    fprintf(stderr, "assay shrink: %s recorded no fault: there is nothing to leave out\n",
            shrink->replayed.run);
    return EXIT_USAGE;
  }
  shrink->kept = xcalloc(shrink->count, sizeof *shrink->kept);
  memset(shrink->kept, true, shrink->count);
  drop_later(shrink);
  bool found = try_suffixes(shrink);
  if (!found && !is_over(shrink))
    found = does_it(shrink, shrink->kept);
  if (found)
    minimise(shrink);
  if (shrink->error.code != 0) {
    fprintf(stderr, "assay shrink: %s\n", shrink->error.message);
    return EXIT_HARNESS;
  }
  const size_t size = found ? size_of(shrink, shrink->kept) : shrink->count;
  if (shrink->json) {
    json_t *object = json_pack("{s:s, s:b, s:I, s:I, s:I, s:s?}", "run", shrink->replayed.run, "found", found,
                               "faults", (json_int_t)size, "of", (json_int_t)shrink->count, "runs",
                               (json_int_t)shrink->runs, "schedule", found ? shrink->result_path : NULL);
    document_print_line(object);
    json_decref(object);
  } else if (found) {
    printf("\n%zu of %zu faults are enough (%" PRId64
           " runs)\n\nschedule %s\nagain    assay replay %s --schedule %s\n",
           size, shrink->count, shrink->runs, shrink->result_path, shrink->replayed.run, shrink->result_path);
  } else {
    printf("\nnot found again in %" PRId64 " runs: more --tries may help\n", shrink->runs);
  }
  return found ? EXIT_VALID : EXIT_UNKNOWN;
}

int shrink_command(int argc, char **argv) {
  struct shrink shrink = {.store = "store", .tries = 3};
  bool schedule = false;
  int64_t time_ns = 1800 * NS_PER_S;
  const struct flag flags[] = {
      {"schedule", FLAG_BOOL, &schedule, NULL, "leave out faults of the schedule that are not needed", 0, 0},
      {"tries", FLAG_INT, &shrink.tries, "N", "runs that a smaller schedule gets to show it (default 3)", 1,
       100},
      {"time-budget", FLAG_DURATION, &time_ns, "TIME", "of all of it (default 30m)", 1e9, 86400e9},
      {"store", FLAG_STRING, &shrink.store, "DIR", "where runs are kept (default store)", 0, 0},
      {"json", FLAG_BOOL, &shrink.json, NULL, "one JSON object last, people's text on standard error", 0, 0},
  };
  const struct flag_set set = {
      .program = "assay shrink",
      .summary =
          "Finds few faults of a run that was invalid which make it invalid again. Exit codes: 0 found,\n"
          "2 not found again, 3 the harness failed, 64 wrong usage.",
      .positional = "RUN",
      .flags = flags,
      .count = ARRAY_SIZE(flags),
  };
  int count;
  const int code = flags_parse_or_exit_code(&set, argc, argv, &count);
  if (code >= 0)
    return code;
  if (count != 1 || !schedule) {
    fprintf(stderr, "assay shrink: assay shrink RUN --schedule\n");
    return EXIT_USAGE;
  }
  struct error error = {0};
  if (replayed_open(shrink.store, argv[1], NULL, &shrink.replayed, &error) != 0) {
    fprintf(stderr, "assay shrink: %s\n", error.message);
    return EXIT_USAGE;
  }
  shrink.end_ns = time_monotonic_ns() + time_ns;
  shrink.path = path_join(shrink.replayed.run, "schedule-tried.json");
  shrink.result_path = path_join(shrink.replayed.run, "schedule-shrunk.json");
  const int exit_code = shrink_schedule(&shrink);
  remove(shrink.path);
  free(shrink.path);
  free(shrink.result_path);
  free(shrink.kept);
  replayed_close(&shrink.replayed);
  return exit_code;
}
