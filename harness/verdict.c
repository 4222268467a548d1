#include "harness/verdict.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/document.h"

/* ---- Faults that really happened ---- */

static size_t installed_count(const struct timeline *timeline, const char *name) {
  size_t count = 0;
  for (size_t i = 0; i < timeline->fault_count; i++) {
    const struct timeline_fault *fault = &timeline->faults[i];
    if (!fault->skipped && (!name || strcmp(fault->name, name) == 0 || strcmp(fault->family, name) == 0))
      count++;
  }
  return count;
}

static const char *skip_reason(const struct timeline *timeline, const char *name) {
  for (size_t i = 0; i < timeline->fault_count; i++) {
    const struct timeline_fault *fault = &timeline->faults[i];
    if (fault->skipped && (!name || strcmp(fault->name, name) == 0 || strcmp(fault->family, name) == 0))
      return fault->reason;
  }
  return "the run ended before";
}

static void each_word(const char *list, void (*take)(void *context, const char *name), void *context) {
  char *copy = xstrdup(list), *state = NULL;
  for (char *item = strtok_r(copy, ", ", &state); item; item = strtok_r(NULL, ", ", &state)) {
    const struct fault_mix *mix = fault_mixes();
    while (mix->name && strcmp(mix->name, item) != 0)
      mix++;
    if (mix->name)
      each_word(mix->faults, take, context);
    else if (strcmp(item, "none") != 0)
      take(context, item);
  }
  free(copy);
}

/* Calls `take` for every family or fault that was asked for; "all" and "swarm" are words as well. */
static void each_requested(const struct settings *settings, void (*take)(void *context, const char *name),
                           void *context) {
  each_word(settings->nemesis, take, context);
  for (size_t i = 0; i < settings->paces.count; i++) {
    char *faults = xstrdup(settings->paces.items[i]);
    *strrchr(faults, '=') = '\0';
    each_word(faults, take, context);
    free(faults);
  }
}

static void note_requested(void *context, const char *name) {
  (void)name;
  *(bool *)context = true;
}

static bool faults_requested(const struct settings *settings) {
  bool requested = settings->schedule != NULL;
  each_requested(settings, note_requested, &requested);
  return requested;
}

/* Some families are named after a deed, which can be counted; others after what is hurt. */
static bool is_deed(const char *family) {
  return strcmp(family, "partition") == 0 || strcmp(family, "pause") == 0 || strcmp(family, "kill") == 0;
}

/* "4 partitions, 1 pause and 3 link faults", "no fault" */
static void describe_faults(const struct timeline *timeline, char *out, size_t size) {
  struct {
    const char *family;
    size_t count;
  } families[16];
  size_t count = 0;
  for (size_t i = 0; i < timeline->fault_count; i++) {
    const char *family = timeline->faults[i].family;
    size_t at = 0;
    while (at < count && strcmp(families[at].family, family) != 0)
      at++;
    if (at < count || timeline->faults[i].skipped || count == ARRAY_SIZE(families))
      continue;
    families[count].family = family;
    families[count++].count = installed_count(timeline, family);
  }
  size_t used = (size_t)snprintf(out, size, "%s", count == 0 ? "no fault" : "");
  for (size_t i = 0; i < count && used < size; i++)
    used += (size_t)snprintf(out + used, size - used, "%s%zu %s%s%s",
                             i == 0           ? ""
                             : i + 1 == count ? " and "
                                              : ", ",
                             families[i].count, families[i].family,
                             is_deed(families[i].family) ? "" : " fault", families[i].count == 1 ? "" : "s");
}

/* ---- The decision ---- */

static void say(struct decision *decision, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct decision *decision, const char *format, ...) {
  const size_t used = strlen(decision->sentence);
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(decision->sentence + used, sizeof decision->sentence - used, format, arguments);
  va_end(arguments);
}

static void conclude(struct decision *decision, enum verdict verdict, enum violation violation) {
  decision->decided = true;
  decision->verdict = verdict;
  decision->violation = violation;
}

static bool harness_failed(const struct evidence *evidence) {
  const enum conduct_ending ending = evidence->outcome->ending;
  return evidence->error || (ending != CONDUCT_FINISHED && ending != CONDUCT_INTERRUPTED);
}

static const char *failure_text(const struct evidence *evidence) {
  if (evidence->outcome->ending == CONDUCT_FAILED)
    return evidence->outcome->message;
  if (evidence->error)
    return evidence->error;
  return evidence->outcome->interrupted ? "it was interrupted twice, which ended everything at once"
                                        : "the process that led it was killed before it could say why";
}

static void decide_invalid(const struct evidence *evidence, struct decision *decision) {
  char count[COUNT_TEXT_SIZE], faults[300];
  describe_faults(evidence->timeline, faults, sizeof faults);
  conclude(decision, VERDICT_INVALID, VIOLATION_HISTORY);
  say(decision, "Not linearizable: no order of the %s operations explains every answer (%s)",
      count_text(evidence->statistics->operations, count), faults);
  if (evidence->check->counterexample)
    say(decision, "; %zu of them are enough to show it", evidence->check->counterexample->count);
  say(decision, ".");
  if (harness_failed(evidence))
    say(decision, " Besides, %s", failure_text(evidence));
}

static void decide_failed(const struct evidence *evidence, struct decision *decision) {
  say(decision, "No verdict, the test itself failed: %s", failure_text(evidence));
  if (!evidence->check || evidence->check->verdict != VERDICT_VALID || evidence->statistics->operations == 0)
    return;
  const char last = decision->sentence[strlen(decision->sentence) - 1];
  say(decision, "%sWhat was recorded until then is linearizable.",
      last == '\n'  ? ""
      : last == '.' ? " "
                    : ". ");
}

/* Findings about the cluster that a good history does not show. */
static bool decide_findings(const struct evidence *evidence, struct decision *decision) {
  const struct timeline *timeline = evidence->timeline;
  if (timeline->replicas == REPLICAS_DIVERGED) {
    conclude(decision, VERDICT_INVALID, VIOLATION_REPLICAS);
    say(decision, "The replicas diverged: they applied the same entries and hold different states, though "
                  "every answer that clients saw can be explained.");
  } else if (timeline->members[0] != '\0') {
    conclude(decision, VERDICT_INVALID, VIOLATION_MEMBERS);
    say(decision,
        "The nodes disagree on who is a member: %s; every answer that clients saw can be explained.",
        timeline->members);
  } else if (timeline->liveness_known && !timeline->live) {
    conclude(decision, VERDICT_INVALID, VIOLATION_LIVENESS);
    say(decision, "Not live: long after the last fault healed, some node did not answer, nobody was primary, "
                  "or a client still got no ok; every answer that clients saw can be explained.");
  } else if (timeline->replicas == REPLICAS_NOT_COMPARABLE) {
    conclude(decision, VERDICT_INVALID, VIOLATION_LIVENESS);
    say(decision, "Not live: without load and without faults, some replica did not catch up with the others; "
                  "every answer that clients saw can be explained.");
  } else {
    return false;
  }
  return true;
}

static bool decide_vacuous(const struct evidence *evidence, struct decision *decision) {
  char ok[COUNT_TEXT_SIZE], floor[COUNT_TEXT_SIZE];
  if (evidence->statistics->ok < evidence->settings->floor) {
    conclude(decision, VERDICT_VACUOUS, VIOLATION_NONE);
    say(decision, "Vacuous: only %s operations got an ok, the floor is %s.",
        count_text(evidence->statistics->ok, ok), count_text(evidence->settings->floor, floor));
    return true;
  }
  if (faults_requested(evidence->settings) && installed_count(evidence->timeline, NULL) == 0) {
    conclude(decision, VERDICT_VACUOUS, VIOLATION_NONE);
    say(decision, "Vacuous: of the requested faults (%s) none ever took hold: %s.",
        evidence->settings->schedule ? evidence->settings->schedule : evidence->settings->nemesis,
        skip_reason(evidence->timeline, NULL));
    return true;
  }
  return false;
}

static void decide_valid(const struct evidence *evidence, struct decision *decision) {
  char count[COUNT_TEXT_SIZE], faults[300];
  describe_faults(evidence->timeline, faults, sizeof faults);
  conclude(decision, VERDICT_VALID, VIOLATION_NONE);
  say(decision, "Linearizable: one order of all %s operations explains every answer, through %s.",
      count_text(evidence->statistics->operations, count), faults);
}

void verdict_decide(const struct evidence *evidence, struct decision *decision) {
  *decision = (struct decision){0};
  const struct check_result *check = evidence->check;
  if (check && check->verdict == VERDICT_INVALID)
    decide_invalid(evidence, decision);
  else if (harness_failed(evidence) || !check)
    decide_failed(evidence, decision);
  else if (decide_findings(evidence, decision))
    return;
  else if (check->verdict == VERDICT_UNKNOWN) {
    char proved[COUNT_TEXT_SIZE], events[COUNT_TEXT_SIZE];
    conclude(decision, VERDICT_UNKNOWN, VIOLATION_NONE);
    say(decision,
        "Unknown: the checker's budget is spent; the first %s of %s events are linearizable. More may help: "
        "assay check %s --time-budget 10m",
        count_text((int64_t)check->proved_events, proved),
        count_text((int64_t)evidence->history->event_count, events), evidence->run);
  } else if (!decide_vacuous(evidence, decision))
    decide_valid(evidence, decision);
}

/* ---- The result ---- */

static json_t *faults_json(const struct timeline *timeline) {
  json_t *faults = json_object();
  for (size_t i = 0; i < timeline->fault_count; i++) {
    const struct timeline_fault *fault = &timeline->faults[i];
    json_t *entry = json_object_get(faults, fault->name);
    if (!entry) {
      entry = json_pack("{s:s, s:i, s:i, s:i, s:[]}", "family", fault->family, "installed", 0, "healed", 0,
                        "skipped", 0, "reasons");
      json_object_set_new(faults, fault->name, entry);
    }
    const char *member = fault->skipped ? "skipped" : "installed";
    json_object_set_new(entry, member, json_integer((json_int_t)document_integer(entry, member, 0) + 1));
    if (fault->healed_ns != 0)
      json_object_set_new(entry, "healed",
                          json_integer((json_int_t)document_integer(entry, "healed", 0) + 1));
    json_t *reasons = json_object_get(entry, "reasons");
    bool known = fault->reason[0] == '\0';
    for (size_t r = 0; r < json_array_size(reasons); r++)
      known = known || strcmp(json_string_value(json_array_get(reasons, r)), fault->reason) == 0;
    if (!known)
      json_array_append_new(reasons, json_string(fault->reason));
  }
  return faults;
}

struct missing {
  const struct timeline *timeline;
  json_t *found;
};

static void note_missing(void *context, const char *name) {
  const struct missing *missing = context;
  const char *known = strcmp(name, "all") == 0 || strcmp(name, "swarm") == 0 ? NULL : name;
  if (installed_count(missing->timeline, known) == 0)
    json_object_set_new(missing->found, name, json_string(skip_reason(missing->timeline, known)));
}

/* What was asked for and never happened, each with why. */
static json_t *missing_json(const struct evidence *evidence) {
  struct missing missing = {evidence->timeline, json_object()};
  each_requested(evidence->settings, note_missing, &missing);
  return missing.found;
}

static json_t *operations_json(const struct statistics *statistics) {
  json_t *operations = json_object();
  for (int kind = 0; kind < OPERATION_KINDS; kind++) {
    const struct operation_statistics *one = &statistics->kinds[kind];
    if (one->ok + one->fail + one->info == 0)
      continue;
    json_object_set_new(operations, operation_name((enum operation_kind)kind),
                        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "ok", (json_int_t)one->ok, "fail",
                                  (json_int_t)one->fail, "info", (json_int_t)one->info, "p50_ns",
                                  (json_int_t)one->p50_ns, "p99_ns", (json_int_t)one->p99_ns, "max_ns",
                                  (json_int_t)one->max_ns));
  }
  return operations;
}

/* Of a counterexample that could not be made small, people read the beginning. */
#define TEXTS_MAX 30

static void add_counterexample(json_t *result, const struct history *counterexample) {
  json_t *indexes = json_array(), *texts = json_array();
  for (size_t i = 0; i < counterexample->count; i++) {
    char text[600];
    operation_print(&counterexample->operations[i], text, sizeof text);
    json_array_append_new(indexes, json_integer((json_int_t)counterexample->operations[i].invoke_index));
    if (i < TEXTS_MAX)
      json_array_append_new(texts, json_string(text));
  }
  json_object_set_new(result, "counterexample", indexes);
  json_object_set_new(result, "counterexample_operations", texts);
}

static void add_check(json_t *result, const struct evidence *evidence) {
  const struct check_result *check = evidence->check;
  json_object_set_new(result, "check_seconds", check ? json_real(check->seconds) : json_null());
  json_object_set_new(result, "counterexample", json_null());
  if (!check)
    return;
  json_object_set_new(result, "history_verdict", json_string(verdict_name(check->verdict)));
  json_object_set_new(result, "method", json_string(check->method ? check->method : ""));
  json_object_set_new(result, "parse_seconds", json_real(evidence->parse_seconds));
  json_object_set_new(result, "minimise_seconds", json_real(check->minimise_seconds));
  json_object_set_new(result, "peak_bytes", json_integer((json_int_t)check->peak_bytes));
  json_object_set_new(result, "proved_events", json_integer((json_int_t)check->proved_events));
  if (check->explanation)
    json_object_set_new(result, "explanation", json_string(check->explanation));
  const struct check_counters *counters = &check->counters;
  json_object_set_new(result, "counters",
                      json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "states", (json_int_t)counters->states,
                                "branches", (json_int_t)counters->branches, "absorbed",
                                (json_int_t)counters->absorbed, "memo_hits", (json_int_t)counters->memo_hits,
                                "components", (json_int_t)counters->components, "unknown_dropped",
                                (json_int_t)counters->unknown_dropped, "unknown_promoted",
                                (json_int_t)counters->unknown_promoted));
  if (check->counterexample)
    add_counterexample(result, check->counterexample);
}

static const char *replicas_name(enum replicas replicas) {
  static const char *const names[] = {"not compared", "not comparable", "equal", "diverged"};
  return names[replicas];
}

/* Beside the verdict on what clients saw: did the cluster come back once everything was healed, clients and
 * replicas? */
static const char *liveness_name(const struct timeline *timeline) {
  if ((timeline->liveness_known && !timeline->live) || timeline->replicas == REPLICAS_NOT_COMPARABLE)
    return "not live";
  return timeline->liveness_known && timeline->replicas != REPLICAS_NOT_COMPARED ? "live" : "unknown";
}

static const char *violation_name(enum violation violation) {
  static const char *const names[] = {NULL, "history", "replicas", "members", "liveness"};
  return names[violation];
}

static void add_timeline(json_t *result, const struct evidence *evidence) {
  const struct timeline *timeline = evidence->timeline;
  json_object_set_new(result, "faults", faults_json(timeline));
  json_object_set_new(result, "faults_missing", missing_json(evidence));
  json_object_set_new(result, "elections", json_integer((json_int_t)timeline->elections));
  json_object_set_new(result, "longest_without_primary_ms",
                      json_integer((json_int_t)(timeline->longest_without_primary_ns / NS_PER_MS)));
  json_object_set_new(result, "live", timeline->liveness_known ? json_boolean(timeline->live) : json_null());
  json_object_set_new(result, "replicas", json_string(replicas_name(timeline->replicas)));
  json_object_set_new(result, "liveness", json_string(liveness_name(timeline)));
  if (timeline->replica_nodes)
    json_object_set(result, "replica_nodes", timeline->replica_nodes);
  json_object_set_new(result, "interrupted", json_boolean(timeline->interrupted));
}

static void add_statistics(json_t *result, const struct evidence *evidence) {
  static const struct statistics nothing;
  const struct statistics *statistics = evidence->statistics ? evidence->statistics : &nothing;
  json_object_set_new(result, "operations", json_integer((json_int_t)statistics->operations));
  json_object_set_new(result, "ok", json_integer((json_int_t)statistics->ok));
  json_object_set_new(result, "fail", json_integer((json_int_t)statistics->fail));
  json_object_set_new(result, "info", json_integer((json_int_t)statistics->info));
  json_object_set_new(result, "seconds",
                      json_real((double)(statistics->ended_ns - statistics->began_ns) / 1e9));
  json_object_set_new(result, "longest_gap_ms",
                      json_integer((json_int_t)(statistics->longest_gap_ns / NS_PER_MS)));
  json_object_set_new(
      result, "longest_gap_at_ms",
      json_integer((json_int_t)((statistics->longest_gap_at_ns - statistics->began_ns) / NS_PER_MS)));
  json_object_set_new(result, "longest_recovery_ms",
                      json_integer((json_int_t)(statistics->longest_recovery_ns / NS_PER_MS)));
  json_object_set_new(result, "per_operation", operations_json(statistics));
}

json_t *verdict_result(const struct evidence *evidence) {
  struct decision decision;
  verdict_decide(evidence, &decision);
  json_t *result = json_object();
  json_object_set_new(result, "verdict",
                      decision.decided ? json_string(verdict_name(decision.verdict)) : json_null());
  json_object_set_new(result, "sentence", json_string(decision.sentence));
  json_object_set_new(result, "run", json_string(evidence->run));
  add_statistics(result, evidence);
  add_timeline(result, evidence);
  add_check(result, evidence);
  json_object_set_new(result, "violation", json_pack("s?", violation_name(decision.violation)));
  json_object_set_new(result, "error",
                      harness_failed(evidence) ? json_string(failure_text(evidence)) : json_null());
  json_object_set_new(result, "seed", json_integer((json_int_t)evidence->settings->seed));
  json_object_set_new(result, "provider", json_string(provider_name(evidence->settings->provider)));
  json_object_set_new(result, "link",
                      evidence->outcome->link[0] ? json_string(evidence->outcome->link) : json_null());
  json_object_set_new(result, "command", json_string(evidence->command));
  return result;
}

json_t *verdict_failure(const char *run, const char *command, int64_t seed, const char *error) {
  char sentence[1500];
  snprintf(sentence, sizeof sentence, "No verdict, the test itself failed: %s", error);
  return json_pack("{s:n, s:s, s:s, s:i, s:i, s:i, s:i, s:{}, s:i, s:i, s:n, s:n, s:s, s:I, s:s}", "verdict",
                   "sentence", sentence, "run", run, "operations", 0, "ok", 0, "fail", 0, "info", 0, "faults",
                   "elections", 0, "longest_gap_ms", 0, "check_seconds", "counterexample", "error", error,
                   "seed", (json_int_t)seed, "command", command);
}

int verdict_result_exit_code(const json_t *result) {
  const char *verdict = document_string(result, "verdict", NULL);
  if (!verdict)
    return EXIT_HARNESS;
  for (int i = VERDICT_VALID; i <= VERDICT_VACUOUS; i++)
    if (strcmp(verdict, verdict_name((enum verdict)i)) == 0)
      return verdict_exit_code((enum verdict)i);
  return EXIT_HARNESS;
}
