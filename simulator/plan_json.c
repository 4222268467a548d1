/* plan_json.c: plans in files, to keep, to change by hand and to run again.
 *
 *   {"plan": 1, "seed": 7, "nodes": 3, …, "weather": {"loss": 0.01, …},
 *    "faults": [{"fault": "partition", "target": "primary", "at_ns": 5000000000, "for_ns": 2000000000,
 *                "at_election": false, "after_ns": 0, "strength": 0, "draw": 1}, …],
 *    "omitted": [0, [3, 17], …]}
 *
 * Members are named as those of struct plan. All must be there, none may be unknown, and each is checked: a
 * plan that was read can be run. A range of omitted operations is its first and its last number. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "simulator/plan.h"
#include "workloads/workloads.h"

#define FORMAT 1
#define DAY_NS (INT64_C(86400) * NS_PER_S)
#define MOST_BYTES 1e12
#define MOST_COUNT 1e15

enum member_type { MEMBER_U64, MEMBER_I64, MEMBER_UNSIGNED, MEMBER_DOUBLE, MEMBER_BOOL };

struct member {
  const char *name;
  enum member_type type;
  size_t offset;
  double low, high;
};

_Static_assert(sizeof(size_t) == sizeof(uint64_t), "sizes are read and written as 64 bits");

#define PLAN(name, type, low, high)                                                                          \
  { #name, type, offsetof(struct plan, name), low, high }
static const struct member plan_members[] = {
    PLAN(nodes, MEMBER_U64, 3, SIMULATOR_NODES_MAX),
    PLAN(duration_ns, MEMBER_I64, 1, (double)DAY_NS),
    PLAN(election_timeout_ms, MEMBER_UNSIGNED, 10, 600000),
    PLAN(heartbeat_ms, MEMBER_UNSIGNED, 1, 300000),
    PLAN(snapshot_threshold, MEMBER_U64, 1, MOST_COUNT),
    PLAN(snapshot_trailing, MEMBER_U64, 1, MOST_COUNT),
    PLAN(segment_size, MEMBER_U64, 1024, MOST_BYTES),
    PLAN(cache_size, MEMBER_U64, 1, MOST_BYTES),
    PLAN(row_cache_size, MEMBER_U64, 1, MOST_BYTES),
    PLAN(write_size, MEMBER_U64, 1, MOST_BYTES),
    PLAN(clients, MEMBER_U64, 1, SIMULATOR_CLIENTS_MAX),
    PLAN(think_ns, MEMBER_I64, 1, (double)DAY_NS),
    PLAN(burst_ns, MEMBER_I64, 1, (double)DAY_NS),
    PLAN(silence_ns, MEMBER_I64, 0, (double)DAY_NS),
    PLAN(request_timeout_ns, MEMBER_I64, 1e6, (double)DAY_NS),
    PLAN(attempt_timeout_ns, MEMBER_I64, 1e6, (double)DAY_NS),
    PLAN(operations_per_set, MEMBER_U64, 0, MOST_COUNT),
    PLAN(operations, MEMBER_U64, 0, 1e7),
};

#define WEATHER(name, type, low, high)                                                                       \
  { #name, type, offsetof(struct weather, name), low, high }
static const struct member weather_members[] = {
    WEATHER(loss, MEMBER_DOUBLE, 0, 1),
    WEATHER(duplication, MEMBER_DOUBLE, 0, 1),
    WEATHER(delay_ns, MEMBER_I64, 0, (double)DAY_NS),
    WEATHER(jitter_ns, MEMBER_I64, 0, (double)DAY_NS),
    WEATHER(slow_frame, MEMBER_DOUBLE, 0, 1),
    WEATHER(disk_ns, MEMBER_I64, 0, (double)DAY_NS),
    WEATHER(disk_jitter_ns, MEMBER_I64, 0, (double)DAY_NS),
    WEATHER(disk_stall, MEMBER_DOUBLE, 0, 1),
    WEATHER(store_ns, MEMBER_I64, 0, (double)DAY_NS),
};

#define FAULT(name, type, low, high)                                                                         \
  { #name, type, offsetof(struct planned_fault, name), low, high }
static const struct member fault_members[] = {
    FAULT(at_ns, MEMBER_I64, 0, (double)DAY_NS), FAULT(for_ns, MEMBER_I64, 0, (double)DAY_NS),
    FAULT(at_election, MEMBER_BOOL, 0, 1),       FAULT(after_ns, MEMBER_I64, 0, (double)DAY_NS),
    FAULT(strength, MEMBER_DOUBLE, -1e9, 1e9),
};

/* ---- Writing ---- */

/* jansson's integers are signed: what is greater stands in quotes. */
static json_t *whole_number(uint64_t value) {
  char text[24];
  if (value <= INT64_MAX)
    return json_integer((json_int_t)value);
  snprintf(text, sizeof text, "%" PRIu64, value);
  return json_string(text);
}

static void write_members(json_t *object, const void *base, const struct member *members, size_t count) {
  for (size_t i = 0; i < count; i++) {
    const void *at = (const char *)base + members[i].offset;
    json_t *value;
    switch (members[i].type) {
    case MEMBER_U64:
      value = whole_number(*(const uint64_t *)at);
      break;
    case MEMBER_I64:
      value = json_integer((json_int_t) * (const int64_t *)at);
      break;
    case MEMBER_BOOL:
      value = json_boolean(*(const bool *)at);
      break;
    case MEMBER_UNSIGNED:
      value = json_integer((json_int_t) * (const unsigned *)at);
      break;
    default:
      value = json_real(*(const double *)at);
    }
    json_object_set_new(object, members[i].name, value);
  }
}

static json_t *write_weather(const struct plan *plan) {
  json_t *object = json_object(), *drift = json_array();
  write_members(object, &plan->weather, weather_members, ARRAY_SIZE(weather_members));
  for (size_t i = 0; i < plan->nodes; i++)
    json_array_append_new(drift, json_real(plan->weather.clock_drift[i]));
  json_object_set_new(object, "clock_drift", drift);
  return object;
}

static json_t *write_faults(const struct plan *plan) {
  json_t *faults = json_array();
  for (size_t i = 0; i < plan->fault_count; i++) {
    const struct planned_fault *fault = &plan->faults[i];
    json_t *object = json_object();
    json_object_set_new(object, "fault", json_string(simulated_fault_name(fault->fault)));
    json_object_set_new(object, "target", json_string(simulated_target_name(fault->target)));
    if (fault->target == TARGET_NODE)
      json_object_set_new(object, "node", json_integer((json_int_t)fault->node));
    write_members(object, fault, fault_members, ARRAY_SIZE(fault_members));
    json_object_set_new(object, "draw", whole_number(fault->draw));
    json_array_append_new(faults, object);
  }
  return faults;
}

static json_t *write_omitted(const struct plan *plan) {
  json_t *omitted = json_array();
  for (size_t i = 0, next; i < plan->omitted_count; i = next) {
    next = i + 1;
    while (next < plan->omitted_count && plan->omitted[next] == plan->omitted[next - 1] + 1)
      next++;
    json_t *first = whole_number(plan->omitted[i]);
    if (next - i > 1)
      first = json_pack("[oo]", first, whole_number(plan->omitted[next - 1]));
    json_array_append_new(omitted, first);
  }
  return omitted;
}

int plan_encode(const struct plan *plan, struct bytes *text, struct error *error) {
  json_t *object = json_object();
  json_object_set_new(object, "plan", json_integer(FORMAT));
  json_object_set_new(object, "seed", whole_number(plan->seed));
  write_members(object, plan, plan_members, ARRAY_SIZE(plan_members));
  json_object_set_new(object, "members", json_integer((json_int_t)plan->members));
  json_object_set_new(object, "any_readers", json_integer((json_int_t)plan->any_readers));
  json_object_set_new(object, "reports", json_integer(plan->reports));
  json_object_set_new(object, "workload", json_string(plan->workload));
  json_object_set_new(object, "weather", write_weather(plan));
  json_object_set_new(object, "faults", write_faults(plan));
  json_object_set_new(object, "omitted", write_omitted(plan));
  char *encoded = json_dumps(object, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
  json_decref(object);
  if (!encoded)
    return error_set(error, ERR_BAD_INPUT, "the plan holds a number that JSON cannot");
  bytes_append_format(text, "%s\n", encoded);
  free(encoded);
  return 0;
}

int plan_write(const struct plan *plan, const char *path, struct error *error) {
  struct bytes text = {0};
  int status = plan_encode(plan, &text, error);
  if (status == 0)
    status = file_replace(path, text.data, text.size, error);
  bytes_free(&text);
  return status;
}

/* ---- Reading ---- */

struct plan_reader {
  const char *path;
  char place[64]; /* "weather.", "faults[3]." … */
  struct error *error;
  int status;
};

/* Only the first one is kept. */
__attribute__((format(printf, 3, 4))) static bool wrong(struct plan_reader *reader, const char *member,
                                                        const char *format, ...) {
  char text[500];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (reader->status == 0)
    reader->status =
        error_set(reader->error, ERR_BAD_INPUT, "%s: %s%s: %s", reader->path, reader->place, member, text);
  return false;
}

/* The member, which is taken out, so that what is left is unknown. The caller json_decref()s. */
static json_t *take(struct plan_reader *reader, json_t *object, const char *name) {
  json_t *value = json_incref(json_object_get(object, name));
  if (!value)
    wrong(reader, name, "it is missing; every member of a plan must be given");
  else
    json_object_del(object, name);
  return value;
}

static void nothing_left(struct plan_reader *reader, const json_t *object) {
  void *first = json_object_iter((json_t *)(uintptr_t)object);
  if (first)
    wrong(reader, json_object_iter_key(first), "there is no such member in a plan; remove it");
}

static bool to_whole_number(const json_t *value, uint64_t *number) {
  if (json_is_integer(value) && json_integer_value(value) >= 0) {
    *number = (uint64_t)json_integer_value(value);
    return true;
  }
  const char *text = json_string_value(value);
  if (!text || text[0] < '0' || text[0] > '9' || strlen(text) > 20)
    return false;
  char *end;
  errno = 0;
  *number = strtoull(text, &end, 10);
  return *end == '\0' && errno == 0;
}

static uint64_t take_whole_number(struct plan_reader *reader, json_t *object, const char *name) {
  json_t *value = take(reader, object, name);
  uint64_t number = 0;
  if (value && !to_whole_number(value, &number))
    wrong(reader, name, "it must be a whole number, below 2^64, in quotes if it is not below 2^63");
  json_decref(value);
  return number;
}

static void set_member(const struct member *member, void *base, double real, json_int_t whole) {
  void *at = (char *)base + member->offset;
  if (member->type == MEMBER_DOUBLE)
    *(double *)at = real;
  else if (member->type == MEMBER_BOOL)
    *(bool *)at = whole != 0;
  else if (member->type == MEMBER_U64)
    *(uint64_t *)at = (uint64_t)whole;
  else if (member->type == MEMBER_I64)
    *(int64_t *)at = whole;
  else
    *(unsigned *)at = (unsigned)whole;
}

static void take_members(struct plan_reader *reader, json_t *object, void *base, const struct member *members,
                         size_t count) {
  for (size_t i = 0; i < count; i++) {
    const struct member *member = &members[i];
    json_t *value = take(reader, object, member->name);
    const double number = value ? json_number_value(value) : 0;
    const bool truth = member->type == MEMBER_BOOL;
    const bool fits = truth                           ? json_is_boolean(value)
                      : member->type == MEMBER_DOUBLE ? json_is_number(value)
                                                      : json_is_integer(value);
    if (value && truth && !fits)
      wrong(reader, member->name, "it must be true or false");
    else if (value && (!fits || !(number >= member->low && number <= member->high)))
      wrong(reader, member->name, "it must be a %s from %.15g to %.15g",
            member->type == MEMBER_DOUBLE ? "number" : "whole number", member->low, member->high);
    else if (value)
      set_member(member, base, number, truth ? json_is_true(value) : json_integer_value(value));
    json_decref(value);
  }
}

/* An object or an array of the plan, with its place for messages; NULL when it is not what it must be. */
static json_t *take_part(struct plan_reader *reader, json_t *object, const char *name, json_type type) {
  json_t *value = take(reader, object, name);
  if (!value || json_typeof(value) == type)
    return value;
  wrong(reader, name, "it must be an %s", type == JSON_OBJECT ? "object" : "array");
  json_decref(value);
  return NULL;
}

static void read_weather(struct plan_reader *reader, json_t *plan_object, struct plan *plan) {
  json_t *object = take_part(reader, plan_object, "weather", JSON_OBJECT);
  if (!object)
    return;
  snprintf(reader->place, sizeof reader->place, "weather.");
  take_members(reader, object, &plan->weather, weather_members, ARRAY_SIZE(weather_members));
  json_t *drift = take_part(reader, object, "clock_drift", JSON_ARRAY);
  if (drift && json_array_size(drift) != plan->nodes)
    wrong(reader, "clock_drift", "it must hold a number for each of the %zu nodes", plan->nodes);
  for (size_t i = 0; drift && i < json_array_size(drift) && i < SIMULATOR_NODES_MAX; i++) {
    const json_t *value = json_array_get(drift, i);
    plan->weather.clock_drift[i] = json_number_value(value);
    if (!json_is_number(value) || !(fabs(plan->weather.clock_drift[i]) <= 0.9))
      wrong(reader, "clock_drift", "its numbers must be from -0.9 to 0.9");
  }
  json_decref(drift);
  nothing_left(reader, object);
  json_decref(object);
  reader->place[0] = '\0';
}

/* What the strength of a fault may be, beside a number. */
static void check_strength(struct plan_reader *reader, const struct planned_fault *fault) {
  const double strength = fault->strength;
  if (fault->fault == SIMULATED_STORM && !(strength >= 0 && strength <= 1))
    wrong(reader, "strength", "a storm's is a chance, from 0 to 1");
  if (fault->fault == SIMULATED_SLOW_DISK && strength < 1)
    wrong(reader, "strength", "a slow disk's is how many times as long it takes, 1 or more");
  if (fault->fault == SIMULATED_CLOCK_DRIFT && strength <= -1)
    wrong(reader, "strength", "a clock that drifts runs 1 + strength times as fast: it must be above -1");
}

static void read_fault(struct plan_reader *reader, json_t *object, const struct plan *plan,
                       struct planned_fault *fault) {
  json_t *name = take(reader, object, "fault"), *target = take(reader, object, "target");
  fault->fault = simulated_fault_by_name(json_is_string(name) ? json_string_value(name) : "");
  char all[FAULT_NAMES_SIZE];
  if (name && fault->fault == SIMULATED_FAULTS)
    wrong(reader, "fault", "it must be one of %s", simulated_fault_names(all));
  fault->target = SIMULATED_TARGETS;
  for (size_t i = 0; i < SIMULATED_TARGETS && json_is_string(target); i++)
    if (strcmp(simulated_target_name((enum simulated_target)i), json_string_value(target)) == 0)
      fault->target = (enum simulated_target)i;
  if (target && fault->target == SIMULATED_TARGETS)
    wrong(reader, "target", "it must be node, primary, follower, minority, majority, all or last");
  json_decref(name);
  json_decref(target);
  if (fault->target == TARGET_NODE)
    fault->node = take_whole_number(reader, object, "node");
  if (fault->node >= plan->nodes)
    wrong(reader, "node", "nodes are numbered from 0, and there are %zu", plan->nodes);
  take_members(reader, object, fault, fault_members, ARRAY_SIZE(fault_members));
  fault->draw = take_whole_number(reader, object, "draw");
  if (reader->status == 0)
    check_strength(reader, fault);
  nothing_left(reader, object);
}

static void read_faults(struct plan_reader *reader, json_t *plan_object, struct plan *plan) {
  json_t *list = take_part(reader, plan_object, "faults", JSON_ARRAY);
  const size_t count = list ? json_array_size(list) : 0;
  if (count > PLAN_FAULTS_MAX)
    wrong(reader, "faults", "there are %zu of them, and %d at most are taken", count, PLAN_FAULTS_MAX);
  else if (count > 0)
    plan->faults = xcalloc(count, sizeof *plan->faults);
  for (size_t i = 0; i < count && reader->status == 0; i++) {
    json_t *object = json_array_get(list, i);
    snprintf(reader->place, sizeof reader->place, "faults[%zu].", i);
    if (json_is_object(object))
      read_fault(reader, object, plan, &plan->faults[plan->fault_count++]);
    else
      wrong(reader, "fault", "each of the faults must be an object");
  }
  reader->place[0] = '\0';
  json_decref(list);
  plan_sort_faults(plan);
}

static void read_omitted(struct plan_reader *reader, json_t *plan_object, struct plan *plan) {
  json_t *list = take_part(reader, plan_object, "omitted", JSON_ARRAY);
  uint64_t next = 0;
  for (size_t i = 0; list && i < json_array_size(list) && reader->status == 0; i++) {
    const json_t *item = json_array_get(list, i);
    const bool range = json_is_array(item) && json_array_size(item) == 2;
    uint64_t first, last;
    if (!to_whole_number(range ? json_array_get(item, 0) : item, &first) ||
        !to_whole_number(range ? json_array_get(item, 1) : item, &last)) {
      wrong(reader, "omitted", "its items must be whole numbers, or [first, last]");
    } else if (first < next || last < first || last >= plan->operations) {
      wrong(reader, "omitted", "its numbers must ascend and be below %" PRIu64 ", the operations",
            plan->operations);
    } else {
      plan->omitted =
          xrealloc(plan->omitted, (plan->omitted_count + (size_t)(last - first) + 1) * sizeof *plan->omitted);
      for (next = first; next <= last; next++)
        plan->omitted[plan->omitted_count++] = next;
    }
  }
  json_decref(list);
}

static void read_plan(struct plan_reader *reader, json_t *object, struct plan *plan) {
  if (take_whole_number(reader, object, "plan") != FORMAT)
    wrong(reader, "plan", "it must be %d, the format that this program reads", FORMAT);
  plan->seed = take_whole_number(reader, object, "seed");
  take_members(reader, object, plan, plan_members, ARRAY_SIZE(plan_members));
  /* Plans from before there were changes of membership have none. */
  plan->members =
      json_object_get(object, "members") ? (size_t)take_whole_number(reader, object, "members") : plan->nodes;
  if (reader->status == 0 && (plan->members < 1 || plan->members > plan->nodes))
    wrong(reader, "members", "it must be from 1 to the number of nodes, %zu", plan->nodes);
  /* … and those from before any node answered reads have none who asks. */
  if (json_object_get(object, "any_readers"))
    plan->any_readers = (size_t)take_whole_number(reader, object, "any_readers");
  /* … and those from before workers reported have none that does. */
  const uint64_t reports =
      json_object_get(object, "reports") ? take_whole_number(reader, object, "reports") : 0;
  plan->reports = reports != 0;
  if (reader->status == 0 && reports > 1)
    wrong(reader, "reports", "it must be 0 or 1");
  if (reader->status == 0 && plan->any_readers > plan->clients)
    wrong(reader, "any_readers", "it must be at most the number of clients, %zu", plan->clients);
  if (reader->status == 0 && plan->nodes % 2 == 0)
    wrong(reader, "nodes", "it must be 3 or 5");
  if (reader->status == 0 && plan->heartbeat_ms * 2 > plan->election_timeout_ms)
    wrong(reader, "heartbeat_ms", "it must be at most half of election_timeout_ms");
  json_t *workload = take(reader, object, "workload");
  plan->workload = json_is_string(workload) ? plan_workload(json_string_value(workload)) : NULL;
  if (workload && !plan->workload)
    wrong(reader, "workload", "it must be one of %s", workload_list_names());
  json_decref(workload);
  if (reader->status == 0)
    read_weather(reader, object, plan);
  if (reader->status == 0)
    read_faults(reader, object, plan);
  if (reader->status == 0)
    read_omitted(reader, object, plan);
  nothing_left(reader, object);
}

int plan_decode(const void *text, size_t size, const char *path, struct plan *plan, struct error *error) {
  struct plan_reader reader = {.path = path, .error = error};
  json_error_t why;
  *plan = (struct plan){0};
  json_t *object = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);
  if (!json_is_object(object))
    reader.status = error_set(error, ERR_BAD_INPUT, "%s: line %d: it is not a plan: %s", path,
                              object ? 1 : why.line, object ? "one JSON object was expected" : why.text);
  else
    read_plan(&reader, object, plan);
  json_decref(object);
  if (reader.status != 0)
    plan_free(plan);
  return reader.status;
}

int plan_read(const char *path, struct plan *plan, struct error *error) {
  struct bytes content = {0};
  *plan = (struct plan){0};
  int status = file_read(path, &content, error);
  if (status == 0)
    status = plan_decode(content.size > 0 ? (const void *)content.data : "", content.size, path, plan, error);
  bytes_free(&content);
  return status;
}
