/* settings_command.c: a run's parameters as they are kept, and as the command that repeats it. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/settings.h"

/* ---- As words ---- */

struct words {
  char **items; /* NULL-terminated */
  size_t count;
};

static void add(struct words *words, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct words *words, const char *format, ...) {
  va_list arguments;
  words->items = xrealloc((void *)words->items, (words->count + 2) * sizeof *words->items);
  va_start(arguments, format);
  if (vasprintf(&words->items[words->count++], format, arguments) < 0)
    abort();
  va_end(arguments);
  words->items[words->count] = NULL;
}

static void add_string(struct words *words, const char *flag, const char *value) {
  add(words, "--%s", flag);
  add(words, "%s", value);
}

static void add_number(struct words *words, const char *flag, int64_t value) {
  add(words, "--%s", flag);
  add(words, "%" PRId64, value);
}

/* Durations as a person would type them. */
static void add_duration(struct words *words, const char *flag, int64_t duration_ns) {
  add(words, "--%s", flag);
  if (duration_ns % NS_PER_S == 0)
    add(words, "%" PRId64 "s", duration_ns / NS_PER_S);
  else if (duration_ns % NS_PER_MS == 0)
    add(words, "%" PRId64 "ms", duration_ns / NS_PER_MS);
  else
    add(words, "%" PRId64 "ns", duration_ns);
}

static void add_list(struct words *words, const char *flag, const struct flag_list *list) {
  for (size_t i = 0; i < list->count; i++)
    add_string(words, flag, list->items[i]);
}

/* What was not given stands for its default, which another version may have changed: so what a run depends on
 * most is always there. */
char **settings_arguments(const struct settings *s) {
  const struct settings *defaults = settings_defaults();
  struct words words = {0};
  add(&words, "assay");
  add(&words, "run");
  add_number(&words, "nodes", s->nodes);
  if (s->workers != defaults->workers)
    add_number(&words, "workers", s->workers);
  add_duration(&words, "time", s->time_ns);
  add_string(&words, "workload", s->workload);
  add_string(&words, "nemesis", s->nemesis);
  if (s->reads_any)
    add_string(&words, "reads", s->reads_name);
  if (s->schedule)
    add_string(&words, "schedule", s->schedule);
  add_list(&words, "fault-every", &s->paces);
  add_number(&words, "seed", s->seed);
  if (s->fault_interval_ns != 0)
    add_duration(&words, "fault-interval", s->fault_interval_ns);
  if (s->fault_duration_ns != 0)
    add_duration(&words, "fault-duration", s->fault_duration_ns);
  if (s->clients != defaults->clients)
    add_number(&words, "clients", s->clients);
  if (s->client_processes != defaults->client_processes)
    add_number(&words, "client-processes", s->client_processes);
  if (s->rate > 0) {
    add(&words, "--rate");
    add(&words, "%.17g", s->rate);
  }
  if (s->operations_per_set != 0)
    add_number(&words, "operations-per-set", s->operations_per_set);
  if (s->request_timeout_ns != defaults->request_timeout_ns)
    add_duration(&words, "request-timeout", s->request_timeout_ns);
  if (s->final_ns != defaults->final_ns)
    add_duration(&words, "final", s->final_ns);
  if (s->live_within_ns != defaults->live_within_ns)
    add_duration(&words, "live-within", s->live_within_ns);
  if (strcmp(s->provider_name, defaults->provider_name) != 0)
    add_string(&words, "provider", s->provider_name);
  if (strcmp(s->link_name, defaults->link_name) != 0)
    add_string(&words, "link", s->link_name);
  if (s->pcap)
    add(&words, "--pcap");
  struct host_flag hosts[HOST_FLAGS_MAX];
  const bool told = strcmp(s->provider_name, "vagrant") != 0; /* which knows its hosts itself */
  const size_t host_flags = told ? host_flags_given(&s->hosts, hosts) : 0;
  for (size_t i = 0; i < host_flags; i++)
    add_string(&words, hosts[i].name, hosts[i].value);
  if (s->master)
    add_string(&words, "master", s->master);
  if (s->old_master)
    add_string(&words, "old-master", s->old_master);
  if (s->bug)
    add_string(&words, "bug", s->bug);
  if (s->cache_size != defaults->cache_size)
    add_number(&words, "cache-size", s->cache_size);
  add_list(&words, "master-flag", &s->master_flags);
  if (s->floor != defaults->floor)
    add_number(&words, "floor", s->floor);
  if (s->time_budget_ns != defaults->time_budget_ns)
    add_duration(&words, "time-budget", s->time_budget_ns);
  if (s->tls)
    add(&words, "--tls");
  if (s->memory_budget != defaults->memory_budget)
    add_number(&words, "memory-budget", s->memory_budget);
  if (strcmp(s->name, s->workload) != 0)
    add_string(&words, "name", s->name);
  if (strcmp(s->store, defaults->store) != 0)
    add_string(&words, "store", s->store);
  return words.items;
}

/* ---- As a command ---- */

/* For a shell: as it stands when nothing in it needs quotes. */
static void append_word(struct bytes *out, const char *value) {
  static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./,:=@%+-";
  if (value[0] != '\0' && strspn(value, plain) == strlen(value)) {
    bytes_append(out, value, strlen(value));
    return;
  }
  bytes_append_u8(out, '\'');
  for (const char *at = value; *at; at++)
    if (*at == '\'')
      bytes_append(out, "'\\''", 4);
    else
      bytes_append_u8(out, (uint8_t)*at);
  bytes_append_u8(out, '\'');
}

char *settings_command(const struct settings *s) {
  char **words = settings_arguments(s);
  struct bytes out = {0};
  for (char **word = words; *word; word++) {
    if (word != words)
      bytes_append_u8(&out, ' ');
    append_word(&out, *word);
    free(*word);
  }
  free((void *)words);
  bytes_append_u8(&out, 0);
  return (char *)out.data;
}

/* ---- As JSON ---- */

static json_t *list_json(const struct flag_list *list) {
  json_t *array = json_array();
  for (size_t i = 0; i < list->count; i++)
    json_array_append_new(array, json_string(list->items[i]));
  return array;
}

static json_t *arguments_json(const struct settings *s) {
  char **words = settings_arguments(s);
  json_t *array = json_array();
  for (char **word = words; *word; word++) {
    json_array_append_new(array, json_string(*word));
    free(*word);
  }
  free((void *)words);
  return array;
}

json_t *settings_to_json(const struct settings *s) {
  json_t *object = json_pack(
      "{s:s, s:I, s:I, s:I, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:f}", "name", s->name, "nodes",
      (json_int_t)s->nodes, "time_ns", (json_int_t)s->time_ns, "final_ns", (json_int_t)s->final_ns,
      "workload", s->workload, "nemesis", s->nemesis, "fault_interval_ns", (json_int_t)s->fault_interval_ns,
      "fault_duration_ns", (json_int_t)s->fault_duration_ns, "seed", (json_int_t)s->seed, "clients",
      (json_int_t)s->clients, "client_processes", (json_int_t)s->client_processes, "rate", s->rate);
  json_t *rest =
      json_pack("{s:I, s:I, s:I, s:s, s:s, s:s, s:s*, s:I, s:I, s:I}", "operations_per_set",
                (json_int_t)s->operations_per_set, "request_timeout_ns", (json_int_t)s->request_timeout_ns,
                "live_within_ns", (json_int_t)s->live_within_ns, "provider", provider_name(s->provider),
                "provider_reason", s->provider_reason, "master", s->master_path, "bug", s->bug, "floor",
                (json_int_t)s->floor, "time_budget_ns", (json_int_t)s->time_budget_ns, "memory_budget",
                (json_int_t)s->memory_budget);
  json_object_set_new(rest, "link", json_string(s->link_name));
  json_object_set_new(rest, "workers", json_integer(s->workers));
  json_object_set_new(rest, "reads", json_string(s->reads_name));
  json_object_set_new(rest, "pcap", json_boolean(s->pcap));
  if (s->old_master)
    json_object_set_new(rest, "old_master", json_string(s->old_master_path));
  json_object_set_new(rest, "cache_size", s->cache_size < 0 ? json_null() : json_integer(s->cache_size));
  json_object_set_new(rest, "master_flags", list_json(&s->master_flags));
  json_object_set_new(rest, "tls", json_boolean(s->tls));
  json_object_set_new(rest, "hosts", list_json(&s->hosts.hosts));
  json_object_set_new(rest, "schedule", s->schedule ? json_string(s->schedule) : json_null());
  json_object_set_new(rest, "fault_every", list_json(&s->paces));
  json_object_set_new(rest, "arguments", arguments_json(s));
  json_object_update(object, rest);
  json_decref(rest);
  return object;
}
