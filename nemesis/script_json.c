/* script_json.c: schedules in files. Strict: whatever is not understood is an error that names it. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nemesis/script.h"

#define FORMAT 1
#define MOST_MS (86400e3)

/* Where in the file we are, for messages. */
struct place {
  const char *file;
  size_t number; /* of the entry, from 1; 0: the file as a whole */
  size_t nodes;
  struct error *error;
};

static int refuse(const struct place *place, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int refuse(const struct place *place, const char *format, ...) {
  char what[400], where[160];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(what, sizeof what, format, arguments);
  va_end(arguments);
  if (place->number > 0)
    snprintf(where, sizeof where, "%.120s: fault %zu", place->file, place->number);
  else
    snprintf(where, sizeof where, "%.140s", place->file);
  return error_set(place->error, ERR_BAD_INPUT, "%s: %s", where, what);
}

/* ---- Values ---- */

static int read_ms(const struct place *place, const json_t *value, const char *member, int64_t *out_ns) {
  const double ms = json_number_value(value);
  if (!json_is_number(value) || !(ms >= 0) || ms > MOST_MS)
    return refuse(place, "%s must be a number of milliseconds from 0 to a day", member);
  *out_ns = (int64_t)(ms * (double)NS_PER_MS);
  return 0;
}

/* {"election": 3} */
static int read_event(const struct place *place, const json_t *value, const char *member,
                      struct event *event) {
  void *iterator = json_object_iter((json_t *)value);
  const char *name = iterator ? json_object_iter_key(iterator) : "";
  const json_t *count = iterator ? json_object_iter_value(iterator) : NULL;
  for (int i = 0; i < COUNTERS; i++)
    if (strcmp(name, counter_name((enum counter)i)) == 0 && json_object_size(value) == 1 &&
        json_is_integer(count) && json_integer_value(count) >= 0) {
      *event = (struct event){true, (enum counter)i, (uint64_t)json_integer_value(count)};
      return 0;
    }
  return refuse(place,
                "%s must be one of {\"operation\": N}, {\"log-index\": N}, {\"term\": N}, {\"election\": N}, "
                "{\"snapshot\": N}",
                member);
}

/* "n2" to 1. */
static int read_node(const struct place *place, const char *name, size_t *node) {
  char *end = NULL;
  const unsigned long number = name && name[0] == 'n' ? strtoul(name + 1, &end, 10) : 0;
  if (!end || *end != '\0' || number < 1 || number > place->nodes + 1 || number > CLUSTER_NODES_MAX)
    return refuse(place, "'%.40s' is not a node: they are n1 to n%zu, and n%zu where one joins later",
                  name ? name : "?", place->nodes, place->nodes + 1);
  *node = number - 1;
  return 0;
}

static int read_nodes(const struct place *place, const json_t *value, const char *member, bool *nodes) {
  size_t i, node = 0;
  const json_t *name;
  if (!json_is_array(value))
    return refuse(place, "%s must be a list of nodes, as [\"n1\", \"n3\"]", member);
  json_array_foreach(value, i, name) {
    const int status = read_node(place, json_string_value(name), &node);
    if (status != 0)
      return status;
    nodes[node] = true;
  }
  return 0;
}

static int read_targets(const struct place *place, const json_t *value, struct scripted *entry) {
  static const char *const roles[] = {"primary", "old-primary", "follower"};
  if (!json_is_string(value)) {
    entry->has_targets = true;
    return read_nodes(place, value, "targets", entry->targets);
  }
  for (size_t i = 0; i < ARRAY_SIZE(roles); i++)
    if (strcmp(json_string_value(value), roles[i]) == 0) {
      snprintf(entry->role, sizeof entry->role, "%s", roles[i]);
      return 0;
    }
  return refuse(
      place, "targets must be a list of nodes, \"primary\", \"old-primary\" or \"follower\", not \"%.40s\"",
      json_string_value(value));
}

/* A grudge names, for each node, those whose packets it drops; links, those to whom its packets are shaped.
 */
static int read_links(const struct place *place, const json_t *value, const char *member,
                      struct scripted *entry) {
  const bool grudge = strcmp(member, "grudge") == 0;
  const char *name;
  json_t *others;
  if (!json_is_object(value))
    return refuse(place, "%s must be an object, as {\"n1\": [\"n2\"]}", member);
  entry->has_links = true;
  memset(entry->links, grudge, sizeof entry->links);
  json_object_foreach((json_t *)value, name, others) {
    size_t node = 0;
    bool named[CLUSTER_NODES_MAX] = {false};
    int status = read_node(place, name, &node);
    if (status == 0)
      status = read_nodes(place, others, member, named);
    if (status != 0)
      return status;
    for (size_t other = 0; other < CLUSTER_NODES_MAX; other++)
      if (named[other] && grudge)
        entry->links[node * CLUSTER_NODES_MAX + other] = false;
      else if (named[other])
        entry->links[other * CLUSTER_NODES_MAX + node] = true;
  }
  return 0;
}

static int read_numbers(const struct place *place, const json_t *value, struct scripted *entry) {
  const char *name;
  json_t *number;
  if (!json_is_object(value) || json_object_size(value) > AIM_NUMBERS_MAX)
    return refuse(place, "numbers must be an object of at most %d numbers", AIM_NUMBERS_MAX);
  json_object_foreach((json_t *)value, name, number) {
    if (!json_is_number(number) || !isfinite(json_number_value(number)) || strlen(name) >= NUMBER_NAME_SIZE)
      return refuse(place, "numbers.%.40s is not a number of this fault", name);
    snprintf(entry->number_names[entry->number_count], NUMBER_NAME_SIZE, "%s", name);
    entry->numbers[entry->number_count++] = json_number_value(number);
  }
  return 0;
}

static int read_primary(const struct place *place, const json_t *value, struct scripted *entry) {
  size_t node = 0;
  if (json_is_null(value))
    return 0;
  const int status = read_node(place, json_string_value(value), &node);
  entry->primary = (int)node;
  return status;
}

static int read_draw(const struct place *place, const json_t *value, struct scripted *entry) {
  if (!json_is_integer(value) || json_integer_value(value) < 0)
    return refuse(place, "draw must be a whole number");
  entry->draw = (uint64_t)json_integer_value(value);
  return 0;
}

/* ---- An entry ---- */

static int read_member(const struct place *place, const char *member, const json_t *value,
                       struct scripted *entry) {
  if (strcmp(member, "at_ms") == 0)
    return read_ms(place, value, member, &entry->at_ns);
  if (strcmp(member, "after_ms") == 0)
    return read_ms(place, value, member, &entry->after_ns);
  if (strcmp(member, "for_ms") == 0)
    return read_ms(place, value, member, &entry->for_ns);
  if (strcmp(member, "on") == 0)
    return read_event(place, value, member, &entry->on);
  if (strcmp(member, "until") == 0)
    return read_event(place, value, member, &entry->until);
  if (strcmp(member, "targets") == 0)
    return read_targets(place, value, entry);
  if (strcmp(member, "grudge") == 0 || strcmp(member, "links") == 0)
    return read_links(place, value, member, entry);
  if (strcmp(member, "numbers") == 0)
    return read_numbers(place, value, entry);
  if (strcmp(member, "primary") == 0)
    return read_primary(place, value, entry);
  if (strcmp(member, "draw") == 0)
    return read_draw(place, value, entry);
  /* What a recording adds for people. */
  if (member[0] == '_' || strcmp(member, "fault") == 0 || strcmp(member, "family") == 0)
    return 0;
  return refuse(place,
                "'%.40s' is unknown; an entry has fault, at_ms or on, after_ms, for_ms, until, targets, "
                "grudge, links, numbers, primary, draw",
                member);
}

int script_read_entry(const json_t *object, const char *name, size_t number, size_t nodes,
                      struct scripted *entry, struct error *error) {
  const struct place place = {name, number, nodes, error};
  *entry = (struct scripted){
      .at_ns = -1, .for_ns = DURATION_UNTIL_END, .primary = -1, .draw = number, .due_ns = NEVER};
  const char *fault = json_string_value(json_object_get(object, "fault")), *member;
  json_t *value;
  if (!fault)
    return refuse(&place, "it must be an object with the name of a \"fault\"");
  entry->fault = catalogue_find(fault);
  if (!entry->fault)
    return refuse(&place, "unknown fault '%.40s'; assay nemesis list shows them", fault);
  json_object_foreach((json_t *)object, member, value) {
    const int status = read_member(&place, member, value, entry);
    if (status != 0)
      return status;
  }
  return 0;
}

int script_read(const char *text, size_t size, const char *name, size_t nodes, struct script *script,
                struct error *error) {
  struct place place = {name, 0, nodes, error};
  json_error_t where;
  json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &where);
  if (!root)
    return refuse(&place, "line %d, column %d: %.200s", where.line, where.column, where.text);
  const json_t *faults = json_object_get(root, "faults"), *of = json_object_get(root, "nodes");
  int status = 0;
  if (json_integer_value(json_object_get(root, "schedule")) != FORMAT || !json_is_array(faults))
    status = refuse(&place, "not a schedule: it must be {\"schedule\": %d, \"faults\": […]}", FORMAT);
  else if (of && json_integer_value(of) != (json_int_t)nodes)
    status = refuse(&place, "it is for %lld nodes and the cluster has %zu: give --nodes %lld",
                    (long long)json_integer_value(of), nodes, (long long)json_integer_value(of));
  for (size_t i = 0; status == 0 && i < json_array_size(faults); i++) {
    struct scripted entry;
    status = script_read_entry(json_array_get(faults, i), name, i + 1, nodes, &entry, error);
    if (status == 0 && entry.at_ns < 0 && !entry.on.set) {
      place.number = i + 1;
      status = refuse(&place, "it needs at_ms, or the event that it comes on");
    }
    if (status == 0)
      status = script_add(script, &entry, 0, NULL, error);
  }
  json_decref(root);
  return status;
}

/* ---- Writing ---- */

static json_t *name_nodes(const bool *nodes, size_t count) {
  json_t *names = json_array();
  for (size_t i = 0; i < count; i++)
    if (nodes[i])
      json_array_append_new(names, json_sprintf("n%zu", i + 1));
  return names;
}

/* For each node the others that `pick` says of it; nodes without any are left out. */
static json_t *name_links(const struct aim *aim, size_t nodes,
                          bool (*pick)(const struct aim *aim, size_t nodes, size_t node, size_t other)) {
  json_t *object = json_object();
  for (size_t node = 0; node < nodes; node++) {
    bool others[CLUSTER_NODES_MAX] = {false}, any = false;
    for (size_t other = 0; other < nodes; other++) {
      others[other] = pick(aim, nodes, node, other);
      any = any || others[other];
    }
    char name[24];
    snprintf(name, sizeof name, "n%zu", node + 1);
    if (any)
      json_object_set_new(object, name, name_nodes(others, nodes));
  }
  return object;
}

static bool drops(const struct aim *aim, size_t nodes, size_t node, size_t other) {
  return !aim->hears[node * nodes + other];
}

static bool sends_shaped(const struct aim *aim, size_t nodes, size_t node, size_t other) {
  return aim->shaped[other * nodes + node];
}

void script_write_aim(json_t *object, const struct aim *aim, size_t nodes) {
  json_object_set_new(object, "targets", name_nodes(aim->targets, nodes));
  if (aim->cuts)
    json_object_set_new(object, "grudge", name_links(aim, nodes, drops));
  if (aim->shapes)
    json_object_set_new(object, "links", name_links(aim, nodes, sends_shaped));
  if (aim->number_count == 0)
    return;
  json_t *numbers = json_object();
  for (size_t i = 0; i < aim->number_count; i++)
    json_object_set_new(numbers, aim->numbers[i].name, json_real(aim->numbers[i].value));
  json_object_set_new(object, "numbers", numbers);
}
