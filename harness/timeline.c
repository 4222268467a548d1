#include "harness/timeline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/document.h"

static void join_targets(const json_t *event, char *out, size_t size) {
  size_t used = 0, i;
  const json_t *target;
  out[0] = '\0';
  json_array_foreach(json_object_get(event, "targets"), i, target) {
    const char *text = json_string_value(target);
    const int length = snprintf(out + used, size - used, "%s%s", i > 0 ? " " : "", text ? text : "?");
    if (length < 0 || (size_t)length >= size - used)
      return;
    used += (size_t)length;
  }
}

static struct timeline_fault *open_fault(struct timeline *timeline, int64_t number) {
  for (size_t i = timeline->fault_count; i > 0; i--) {
    struct timeline_fault *fault = &timeline->faults[i - 1];
    if (!fault->skipped && fault->healed_ns == 0 && fault->number == number)
      return fault;
  }
  return NULL;
}

static void take_fault(struct timeline *timeline, json_t *event, int64_t time_ns) {
  struct timeline_fault fault = {.installed_ns = time_ns, .number = document_integer(event, "number", 0)};
  const char *phase = document_string(event, "phase", "");
  snprintf(fault.name, sizeof fault.name, "%s", document_string(event, "fault", "?"));
  snprintf(fault.family, sizeof fault.family, "%s", document_string(event, "family", fault.name));
  join_targets(event, fault.targets, sizeof fault.targets);
  if (strcmp(phase, "healed") == 0) {
    struct timeline_fault *open = open_fault(timeline, fault.number);
    if (open)
      open->healed_ns = time_ns;
    return;
  }
  fault.skipped = strcmp(phase, "skipped") == 0;
  if (!fault.skipped && strcmp(phase, "installed") != 0)
    return;
  snprintf(fault.reason, sizeof fault.reason, "%s", document_string(event, "reason", ""));
  fault.event = json_incref(event);
  timeline->faults = xrealloc(timeline->faults, (timeline->fault_count + 1) * sizeof fault);
  timeline->faults[timeline->fault_count++] = fault;
}

static void take_primary(struct timeline *timeline, const json_t *event, int64_t time_ns) {
  struct timeline_primary primary = {.time_ns = time_ns,
                                     .term = (uint64_t)document_integer(event, "term", 0)};
  snprintf(primary.node, sizeof primary.node, "%s", document_string(event, "node", ""));
  timeline->primaries = xrealloc(timeline->primaries, (timeline->primary_count + 1) * sizeof primary);
  timeline->primaries[timeline->primary_count++] = primary;
}

static void take_phase(struct timeline *timeline, const char *phase, int64_t time_ns) {
  if (strcmp(phase, "running") == 0)
    timeline->load_began_ns = time_ns;
  if (strcmp(phase, "healing") == 0)
    timeline->load_ended_ns = time_ns;
  if (strcmp(phase, "clients finish") == 0)
    timeline->drained_ns = time_ns;
}

static void take_replicas(struct timeline *timeline, const json_t *event) {
  timeline->replicas = !document_boolean(event, "comparable", false) ? REPLICAS_NOT_COMPARABLE
                       : document_boolean(event, "equal", false)     ? REPLICAS_EQUAL
                                                                     : REPLICAS_DIVERGED;
  json_decref(timeline->replica_nodes);
  timeline->replica_nodes = json_incref(json_object_get(event, "nodes"));
}

static void take(struct timeline *timeline, json_t *event) {
  const char *kind = document_string(event, "event", "");
  const int64_t time_ns = document_integer(event, "time_ns", 0);
  if (strcmp(kind, "fault") == 0)
    take_fault(timeline, event, time_ns);
  else if (strcmp(kind, "primary") == 0)
    take_primary(timeline, event, time_ns);
  else if (strcmp(kind, "phase") == 0)
    take_phase(timeline, document_string(event, "phase", ""), time_ns);
  else if (strcmp(kind, "interrupted") == 0)
    timeline->interrupted = true;
  else if (strcmp(kind, "live") == 0) {
    timeline->liveness_known = true;
    timeline->live = document_boolean(event, "live", false);
  } else if (strcmp(kind, "members") == 0)
    snprintf(timeline->members, sizeof timeline->members, "%s", document_string(event, "message", "?"));
  else if (strcmp(kind, "replicas") == 0)
    take_replicas(timeline, event);
}

static void derive(struct timeline *timeline) {
  uint64_t term = 0;
  int64_t lost_ns = 0;
  for (size_t i = 0; i < timeline->primary_count; i++) {
    const struct timeline_primary *primary = &timeline->primaries[i];
    const bool known = primary->node[0] != '\0';
    if (known && primary->term > term) {
      timeline->elections += term != 0;
      term = primary->term;
    }
    if (!known && lost_ns == 0)
      lost_ns = primary->time_ns;
    if (known && lost_ns != 0) {
      if (primary->time_ns - lost_ns > timeline->longest_without_primary_ns)
        timeline->longest_without_primary_ns = primary->time_ns - lost_ns;
      lost_ns = 0;
    }
  }
  /* Until the clients were told to finish; what comes later is the masters' own end. */
  if (lost_ns != 0 && timeline->drained_ns - lost_ns > timeline->longest_without_primary_ns)
    timeline->longest_without_primary_ns = timeline->drained_ns - lost_ns;
}

int timeline_read(const char *path, struct timeline *timeline, struct error *error) {
  struct bytes content = {0};
  *timeline = (struct timeline){0};
  const int status = file_read(path, &content, error);
  if (status != 0) {
    bytes_free(&content);
    return status;
  }
  const char *at = (const char *)content.data, *limit = at + content.size;
  while (at < limit) {
    const char *end = memchr(at, '\n', (size_t)(limit - at));
    if (!end)
      break;
    json_t *event = json_loadb(at, (size_t)(end - at), 0, NULL);
    if (event)
      take(timeline, event);
    json_decref(event);
    at = end + 1;
  }
  bytes_free(&content);
  derive(timeline);
  return 0;
}

void timeline_free(struct timeline *timeline) {
  for (size_t i = 0; i < timeline->fault_count; i++)
    json_decref(timeline->faults[i].event);
  free(timeline->faults);
  free(timeline->primaries);
  json_decref(timeline->replica_nodes);
  *timeline = (struct timeline){0};
}
