/* script.c: see script.h. */
#include "nemesis/script.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* An entry with an event and a time is installed so long after the time if the event does not come: a replay
 * that takes another course goes on with the rest of its schedule. */
#define EVENT_GRACE_NS (3 * NS_PER_S)

const char *counter_name(enum counter counter) {
  static const char *const names[] = {"operation", "log-index", "term", "election", "snapshot"};
  _Static_assert(ARRAY_SIZE(names) == COUNTERS, "every counter has a name");
  return names[counter];
}

bool event_reached(const struct event *event, const struct observation *seen) {
  return event->set && seen->counts[event->counter] >= event->count;
}

void script_free(struct script *script) {
  free(script->entries);
  *script = (struct script){0};
}

static void set_due(const struct script *script, struct scripted *entry, int64_t now_ns) {
  if (entry->on.set)
    entry->due_ns = entry->at_ns < 0 ? NEVER : script->began_ns + entry->at_ns + EVENT_GRACE_NS;
  else
    entry->due_ns = entry->at_ns < 0 ? now_ns : script->began_ns + entry->at_ns;
}

static void arm(struct script *script, struct scripted *entry, int64_t now_ns) {
  if (entry->done || !event_reached(&entry->on, &script->seen))
    return;
  entry->on.set = false;
  entry->due_ns = now_ns + entry->after_ns;
}

int script_add(struct script *script, const struct scripted *entry, int64_t now_ns, size_t *which,
               struct error *error) {
  if (script->count == SCRIPT_ENTRIES_MAX)
    return error_set(error, ERR_OVERLOADED, "a schedule holds %d faults at the most", SCRIPT_ENTRIES_MAX);
  if (script->count == script->capacity) {
    script->capacity = script->capacity ? 2 * script->capacity : 16;
    script->entries = xrealloc(script->entries, script->capacity * sizeof *script->entries);
  }
  struct scripted *added = &script->entries[script->count];
  *added = *entry;
  added->due_ns = NEVER;
  if (script->begun) {
    set_due(script, added, now_ns);
    arm(script, added, now_ns);
  }
  if (which)
    *which = script->count;
  script->count++;
  return 0;
}

void script_begin(struct script *script, int64_t now_ns) {
  assert(!script->begun);
  script->begun = true;
  script->began_ns = now_ns;
  for (size_t i = 0; i < script->count; i++)
    set_due(script, &script->entries[i], now_ns);
  script_observe(script, &script->seen, now_ns);
}

void script_observe(struct script *script, const struct observation *seen, int64_t now_ns) {
  for (int i = 0; i < COUNTERS; i++)
    if (seen->counts[i] > script->seen.counts[i])
      script->seen.counts[i] = seen->counts[i];
  for (size_t i = 0; script->begun && i < script->count; i++)
    arm(script, &script->entries[i], now_ns);
}

int64_t script_when(const struct script *script) {
  int64_t when_ns = NEVER;
  for (size_t i = 0; script->begun && i < script->count; i++)
    if (!script->entries[i].done && script->entries[i].due_ns < when_ns)
      when_ns = script->entries[i].due_ns;
  return when_ns;
}

size_t script_due(const struct script *script, int64_t now_ns) {
  size_t due = script->count;
  for (size_t i = 0; script->begun && i < script->count; i++) {
    const struct scripted *entry = &script->entries[i];
    if (entry->done || entry->due_ns > now_ns)
      continue;
    if (due == script->count || entry->due_ns < script->entries[due].due_ns)
      due = i;
  }
  return due;
}

/* ---- Aiming ---- */

/* The node that `node` of the recording stands for; those that join later are themselves. */
static size_t relabel(const struct scripted *entry, const struct facts *facts, size_t node) {
  const size_t founders = facts->founders ? facts->founders : facts->nodes;
  if (entry->primary < 0 || facts->primary < 0 || (size_t)entry->primary >= founders ||
      (size_t)facts->primary >= founders || node >= founders)
    return node;
  return (node + founders + (size_t)facts->primary - (size_t)entry->primary) % founders;
}

static int aim_at_role(const struct scripted *entry, const struct facts *facts, bool *targets,
                       struct error *error) {
  int node = -1;
  if (strcmp(entry->role, "primary") == 0)
    node = facts->primary;
  else if (strcmp(entry->role, "old-primary") == 0)
    node = facts->old_primary;
  else
    for (size_t i = 0; i < facts->nodes && node < 0; i++)
      node = facts->free[i] && !facts->outside[i] && (int)i != facts->primary ? (int)i : -1;
  if (node < 0)
    return error_set(error, ERR_UNAVAILABLE, "nobody is known to be %s", entry->role);
  targets[node] = true;
  return 0;
}

/* Targets against all others, in both directions. */
static void surround(struct aim *aim, const struct facts *facts) {
  for (size_t a = 0; a < facts->nodes; a++)
    for (size_t b = 0; b < facts->nodes; b++) {
      const bool across = aim->targets[a] != aim->targets[b];
      if (aim->cuts)
        aim->hears[a * facts->nodes + b] = !across;
      if (aim->shapes)
        aim->shaped[a * facts->nodes + b] = a != b && (aim->targets[a] || aim->targets[b]);
    }
}

static void take_links(const struct scripted *entry, const struct facts *facts, struct aim *aim) {
  const size_t n = facts->nodes;
  bool *links = aim->cuts ? aim->hears : aim->shaped;
  for (size_t a = 0; a < n; a++)
    for (size_t b = 0; b < n; b++)
      links[relabel(entry, facts, a) * n + relabel(entry, facts, b)] =
          entry->links[a * CLUSTER_NODES_MAX + b];
}

static void take_numbers(const struct scripted *entry, struct aim *aim) {
  for (size_t i = 0; i < aim->number_count; i++)
    for (size_t k = 0; k < entry->number_count; k++)
      if (strcmp(aim->numbers[i].name, entry->number_names[k]) == 0)
        aim->numbers[i].value = entry->numbers[k];
}

int script_aim(const struct scripted *entry, const struct facts *facts, struct aim *aim,
               struct error *error) {
  struct facts told = *facts;
  bool targets[CLUSTER_NODES_MAX] = {false};
  const bool has_targets = entry->has_targets || entry->role[0] != '\0';
  int status = 0;
  if (entry->role[0] != '\0')
    status = aim_at_role(entry, facts, targets, error);
  for (size_t i = 0; entry->has_targets && i < facts->nodes; i++)
    targets[relabel(entry, facts, i)] = entry->targets[i];
  if (entry->has_targets && facts->nodes < CLUSTER_NODES_MAX && entry->targets[facts->nodes])
    status = error_set(error, ERR_UNAVAILABLE, "there is no node n%zu", facts->nodes + 1);
  if (status != 0)
    return status;
  /* What the fault draws beside its targets, it draws as if the first of them were the primary. */
  for (size_t i = facts->nodes; has_targets && i-- > 0;)
    if (targets[i]) {
      told.primary = (int)i;
      told.free[i] = true;
    }
  struct random random;
  random_seed(&random, entry->draw);
  status = fault_aim(entry->fault, &told, &random, aim, error);
  if (status != 0)
    return status;
  if (has_targets) {
    memcpy(aim->targets, targets, sizeof targets);
    if (!entry->has_links)
      surround(aim, facts);
  }
  if (entry->has_links && (aim->cuts || aim->shapes))
    take_links(entry, facts, aim);
  take_numbers(entry, aim);
  return 0;
}
