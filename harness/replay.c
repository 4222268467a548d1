/* replay.c: `assay replay`: a stored run once more: its workload, its masters, its faults as they were
 * recorded. */
#include "harness/replay.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/commands.h"
#include "harness/document.h"
#include "harness/rerun.h"
#include "harness/store.h"

#define OVERHEAD_NS (300 * NS_PER_S)

static int read_parts(const char *schedule, struct replayed *replayed, struct error *error) {
  char *parameters = path_join(replayed->run, "test.json"), *own = path_join(replayed->run, "schedule.json"),
       absolute[PATH_MAX];
  int status = 0;
  replayed->parameters = document_read(parameters, error);
  if (!replayed->parameters)
    status = ERR_NOT_FOUND;
  else if (!json_is_array(json_object_get(replayed->parameters, "arguments")))
    status = error_set(error, ERR_BAD_INPUT, "%s was made by an older version and cannot be replayed",
                       replayed->run);
  else if (!realpath(schedule ? schedule : own, absolute))
    status = error_set_errno(error, ERR_NOT_FOUND, "cannot open %s", schedule ? schedule : own);
  if (status == 0) {
    replayed->schedule_path = xstrdup(absolute);
    replayed->schedule = document_read(absolute, error);
    status = replayed->schedule ? 0 : ERR_BAD_INPUT;
  }
  free(parameters);
  free(own);
  return status;
}

int replayed_open(const char *store, const char *argument, const char *schedule, struct replayed *replayed,
                  struct error *error) {
  *replayed = (struct replayed){0};
  int status = store_run_find(store, argument, &replayed->run, error);
  if (status == 0)
    status = read_parts(schedule, replayed, error);
  if (status != 0)
    replayed_close(replayed);
  return status;
}

void replayed_close(struct replayed *replayed) {
  free(replayed->run);
  free(replayed->schedule_path);
  json_decref(replayed->parameters);
  json_decref(replayed->schedule);
  *replayed = (struct replayed){0};
}

/* ---- The words ---- */

static void add(char **words, size_t *count, const char *word) {
  words[(*count)++] = xstrdup(word);
}

/* Flags, each with a value, that a replay gives itself. */
static bool is_replaced(const char *word, bool time_given) {
  static const char *const flags[] = {"--nemesis", "--schedule", "--fault-every", "--fault-interval",
                                      "--fault-duration"};
  for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
    if (strcmp(word, flags[i]) == 0)
      return true;
  return time_given && strcmp(word, "--time") == 0;
}

char **replayed_words(const struct replayed *replayed, const char *schedule, int64_t time_ns,
                      const char *const *further) {
  const json_t *arguments = json_object_get(replayed->parameters, "arguments");
  const char *master = document_string(replayed->parameters, "master", NULL);
  size_t count = 0, more = 0;
  while (further && further[more])
    more++;
  char **words = xcalloc(json_array_size(arguments) + more + 10, sizeof *words), text[48];
  bool names_master = false;
  for (size_t i = 0; i < json_array_size(arguments); i++) {
    const char *word = json_string_value(json_array_get(arguments, i));
    names_master = names_master || strcmp(word, "--master") == 0;
    if (is_replaced(word, time_ns != 0))
      i++;
    else
      add(words, &count, word);
  }
  /* A defect is in the master of another build than this program's, perhaps. */
  if (!names_master && master && access(master, X_OK) == 0) {
    add(words, &count, "--master");
    add(words, &count, master);
  }
  add(words, &count, "--schedule");
  add(words, &count, schedule);
  if (time_ns != 0) {
    snprintf(text, sizeof text, "--time=%" PRId64 "ns", time_ns);
    add(words, &count, text);
  }
  for (size_t i = 0; i < more; i++)
    add(words, &count, further[i]);
  return words;
}

void replayed_free_words(char **words) {
  for (char **word = words; *word; word++)
    free(*word);
  free((void *)words);
}

bool replayed_is_invalid(const json_t *result) {
  return strcmp(document_string(result, "verdict", ""), "invalid") == 0;
}

/* ---- The command ---- */

struct replay_settings {
  const char *store, *schedule;
  int64_t tries;
  bool json;
};

static int replay_once(const struct replayed *replayed, const struct replay_settings *settings) {
  const char *const further[] = {"--store", settings->store, settings->json ? "--json" : NULL, NULL};
  char **words = replayed_words(replayed, replayed->schedule_path, 0, further);
  int count = 0;
  while (words[count])
    count++;
  const int exit_code = run_command(count - 1, words + 1);
  replayed_free_words(words);
  return exit_code;
}

static int replay_often(const struct replayed *replayed, const struct replay_settings *settings) {
  const char *const further[] = {"--store", settings->store, "--json", NULL};
  char **words = replayed_words(replayed, replayed->schedule_path, 0, further);
  const int64_t patience_ns = document_integer(replayed->parameters, "time_ns", 0) + OVERHEAD_NS;
  int64_t found = 0, tries = 0;
  struct error error = {0};
  for (; tries < settings->tries; tries++) {
    json_t *result = rerun(words, patience_ns, &error);
    if (!result) {
      fprintf(stderr, "assay replay: %s\n", error.message);
      break;
    }
    found += replayed_is_invalid(result);
    if (!settings->json)
      printf("%2" PRId64 "  %-8s  %s\n", tries + 1, document_string(result, "verdict", "failed"),
             document_string(result, "run", ""));
    fflush(stdout);
    json_decref(result);
  }
  replayed_free_words(words);
  if (settings->json) {
    json_t *object = json_pack("{s:s, s:I, s:I}", "run", replayed->run, "tries", tries, "invalid", found);
    document_print_line(object);
    json_decref(object);
  } else {
    printf("invalid in %" PRId64 " of %" PRId64 " tries\n", found, tries);
  }
  return tries < settings->tries ? EXIT_HARNESS : found > 0 ? EXIT_INVALID : EXIT_VALID;
}

int replay_command(int argc, char **argv) {
  struct replay_settings settings = {.store = "store", .tries = 1};
  const struct flag flags[] = {
      {"tries", FLAG_INT, &settings.tries, "N", "so often, telling how often it is invalid (default 1)", 1,
       1000},
      {"schedule", FLAG_STRING, &settings.schedule, "FILE",
       "under this schedule (default: the one it recorded)", 0, 0},
      {"store", FLAG_STRING, &settings.store, "DIR", "where runs are kept (default store)", 0, 0},
      {"json", FLAG_BOOL, &settings.json, NULL, "one JSON object last", 0, 0},
  };
  const struct flag_set set = {
      .program = "assay replay",
      .summary =
          "Runs a stored run again: the same workload and masters, its faults as they were recorded, each\n"
          "after the same election, at the same nodes relative to the primary.",
      .positional = "RUN",
      .flags = flags,
      .count = ARRAY_SIZE(flags),
  };
  int count;
  const int code = flags_parse_or_exit_code(&set, argc, argv, &count);
  if (code >= 0)
    return code;
  if (count != 1) {
    fprintf(stderr, "assay replay: which run? Its directory, TEST/TIME, or latest (assay list shows them)\n");
    return EXIT_USAGE;
  }
  struct error error = {0};
  struct replayed replayed;
  if (replayed_open(settings.store, argv[1], settings.schedule, &replayed, &error) != 0) {
    fprintf(stderr, "assay replay: %s\n", error.message);
    return error.code == ERR_BAD_INPUT || error.code == ERR_NOT_FOUND ? EXIT_USAGE : EXIT_HARNESS;
  }
  const int exit_code =
      settings.tries == 1 ? replay_once(&replayed, &settings) : replay_often(&replayed, &settings);
  replayed_close(&replayed);
  return exit_code;
}
