#include "harness/recorded_schedule.h"

#include <string.h>

#include "harness/document.h"

static void copy_member(json_t *to, const json_t *from, const char *name) {
  json_t *value = json_object_get(from, name);
  if (value)
    json_object_set(to, name, value);
}

/* The event that it hangs on: the last election before it. */
static void hang_on_election(json_t *entry, const json_t *seen) {
  const json_int_t elections = document_integer(seen, "election", 0);
  if (elections == 0)
    return;
  json_object_set_new(entry, "on", json_pack("{s:I}", "election", elections));
  json_object_set_new(entry, "after_ms", json_integer(document_integer(seen, "since_election_ms", 0)));
}

static json_t *entry_of(const struct timeline *timeline, const struct timeline_fault *fault) {
  const int64_t began_ns = document_integer(fault->event, "began_ns", fault->installed_ns);
  const int64_t ended_ns = fault->skipped ? fault->installed_ns : fault->healed_ns;
  json_t *entry = json_pack("{s:s, s:s, s:I}", "fault", fault->name, "family", fault->family, "at_ms",
                            (json_int_t)((began_ns - timeline->load_began_ns) / NS_PER_MS));
  if (ended_ns != 0)
    json_object_set_new(entry, "for_ms", json_integer((ended_ns - began_ns) / NS_PER_MS));
  const json_t *seen = json_object_get(fault->event, "seen");
  hang_on_election(entry, seen);
  copy_member(entry, seen, "primary");
  static const char *const members[] = {"targets", "grudge", "links", "numbers"};
  for (size_t i = 0; i < ARRAY_SIZE(members); i++)
    copy_member(entry, fault->event, members[i]);
  if (seen)
    json_object_set_new(entry, "_seen", json_deep_copy(seen));
  return entry;
}

/* Some that were skipped had begun, and what was done of them may be what counts. */
static bool was_there(const struct timeline_fault *fault) {
  return !fault->skipped || json_object_get(fault->event, "began_ns");
}

json_t *recorded_schedule(const struct timeline *timeline, const struct settings *settings) {
  json_t *faults = json_array();
  for (size_t i = 0; i < timeline->fault_count; i++)
    if (was_there(&timeline->faults[i]))
      json_array_append_new(faults, entry_of(timeline, &timeline->faults[i]));
  return json_pack("{s:i, s:I, s:{s:I, s:I}, s:o}", "schedule", 1, "nodes", (json_int_t)settings->nodes,
                   "_recorded", "seed", (json_int_t)settings->seed, "load_began_ns",
                   (json_int_t)timeline->load_began_ns, "faults", faults);
}

json_t *partial_schedule(const json_t *schedule, const bool *keep, int64_t first_ms, int64_t *last_ms) {
  json_t *part = json_deep_copy(schedule), *faults = json_array(), *fault;
  int64_t shift_ms = 0;
  size_t i;
  *last_ms = 0;
  json_array_foreach(json_object_get(part, "faults"), i, fault) {
    if (!keep[i])
      continue;
    const int64_t at_ms = document_integer(fault, "at_ms", 0);
    if (json_array_size(faults) == 0)
      shift_ms = first_ms - at_ms;
    json_object_del(fault, "on");
    json_object_del(fault, "after_ms");
    json_object_set_new(fault, "at_ms", json_integer(at_ms + shift_ms));
    const int64_t end_ms = at_ms + shift_ms + document_integer(fault, "for_ms", 0);
    *last_ms = end_ms > *last_ms ? end_ms : *last_ms;
    json_array_append(faults, fault);
  }
  json_object_set_new(part, "faults", faults);
  return part;
}
