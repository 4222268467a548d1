/* nemesis_by_hand.c: `assay nemesis list | start | heal | status`: faults by hand, on the cluster that
 * `assay cluster up` has left running. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/commands.h"
#include "harness/control.h"
#include "harness/document.h"

static int fail(const char *command, const struct error *error) {
  fprintf(stderr, "assay nemesis %s: %s\n", command, error->message);
  return error->code == ERR_BAD_INPUT ? EXIT_USAGE : EXIT_HARNESS;
}

/* ---- list ---- */

static void list_json(void) {
  for (const struct fault_description *fault = fault_list(); fault->name; fault++) {
    json_t *object = json_pack("{s:s, s:s, s:s}", "fault", fault->name, "family", fault->family, "summary",
                               fault->summary);
    document_print_line(object);
    json_decref(object);
  }
}

static void list_text(void) {
  const char *family = "";
  for (const struct fault_description *fault = fault_list(); fault->name; fault++) {
    if (strcmp(family, fault->family) != 0)
      printf("%s%s\n", family[0] ? "\n" : "", fault->family);
    family = fault->family;
    printf("  %-26s %s\n", fault->name, fault->summary);
  }
  printf("\nmixes\n");
  for (const struct fault_mix *mix = fault_mixes(); mix->name; mix++)
    printf("  %-26s %s (%s)\n", mix->name, mix->summary, mix->faults);
  printf("  %-26s %s\n", "swarm", "the seed decides which faults a run has, and how often");
}

static int list_faults(int argc, char **argv) {
  bool json = false;
  const struct flag flags[] = {{"json", FLAG_BOOL, &json, NULL, "one JSON object a fault", 0, 0}};
  const struct flag_set set = {.program = "assay nemesis list",
                               .summary = "Lists what can be broken: families, their faults, and mixes.",
                               .flags = flags,
                               .count = ARRAY_SIZE(flags)};
  int positional;
  const int code = flags_parse_or_exit_code(&set, argc, argv, &positional);
  if (code >= 0)
    return code;
  if (json)
    list_json();
  else
    list_text();
  return 0;
}

/* ---- start ---- */

static bool is_role(const char *text) {
  return text[0] != 'n' || strspn(text + 1, "0123456789,n") != strlen(text + 1);
}

static json_t *split(const char *list) {
  json_t *names = json_array();
  char *copy = xstrdup(list), *state = NULL;
  for (char *name = strtok_r(copy, ", ", &state); name; name = strtok_r(NULL, ", ", &state))
    json_array_append_new(names, json_string(name));
  free(copy);
  return names;
}

/* "delay_ms=120" */
static int add_number(json_t *numbers, const char *text, struct error *error) {
  const char *equals = strchr(text, '=');
  char *end = NULL, name[32];
  const double value = equals ? strtod(equals + 1, &end) : 0;
  if (!equals || end == equals + 1 || *end != '\0' || (size_t)(equals - text) >= sizeof name)
    return error_set(error, ERR_BAD_INPUT, "'%.60s' is not NAME=NUMBER, as delay_ms=120", text);
  snprintf(name, sizeof name, "%.*s", (int)(equals - text), text);
  json_object_set_new(numbers, name, json_real(value));
  return 0;
}

static int start_fault(int argc, char **argv) {
  const char *store = "store", *targets = NULL;
  struct flag_list numbers = {0};
  int64_t for_ns = 0;
  bool json = false;
  const struct flag flags[] = {
      {"targets", FLAG_STRING, &targets, "NODES",
       "n1,n3, or primary, old-primary, follower (default: drawn, as the fault would)", 0, 0},
      {"for", FLAG_DURATION, &for_ns, "TIME", "heal it after so long (default: when told to)", 1e6, 86400e9},
      {"number", FLAG_LIST, &numbers, "NAME=NUMBER", "instead of a number that would be drawn: delay_ms=120",
       0, 0},
      {"store", FLAG_STRING, &store, "DIR", "where assay cluster up put the cluster (default store)", 0, 0},
      {"json", FLAG_BOOL, &json, NULL, "one JSON object", 0, 0},
  };
  const struct flag_set set = {.program = "assay nemesis start",
                               .summary =
                                   "Breaks something in the cluster that is up: one fault by its name.",
                               .positional = "FAULT",
                               .flags = flags,
                               .count = ARRAY_SIZE(flags)};
  int count;
  const int code = flags_parse_or_exit_code(&set, argc, argv, &count);
  if (code >= 0)
    return code;
  struct error error = {0};
  if (count != 1) {
    error_set(&error, ERR_BAD_INPUT, "which fault? assay nemesis list shows them");
    return fail("start", &error);
  }
  json_t *entry = json_pack("{s:s}", "fault", argv[1]), *given = json_object();
  if (targets)
    json_object_set_new(entry, "targets", is_role(targets) ? json_string(targets) : split(targets));
  if (for_ns > 0)
    json_object_set_new(entry, "for_ms", json_real((double)for_ns / (double)NS_PER_MS));
  int status = 0;
  for (size_t i = 0; i < numbers.count && status == 0; i++)
    status = add_number(given, numbers.items[i], &error);
  json_object_set_new(entry, "numbers", given);
  json_t *request = json_pack("{s:s, s:o}", "do", "start", "entry", entry);
  if (status != 0) {
    json_decref(request);
    return fail("start", &error);
  }
  json_t *answered = control_ask(store, request, &error);
  if (!answered)
    return fail("start", &error);
  if (json)
    document_print_line(answered);
  else
    printf("%s is present, number %" PRId64 "; assay nemesis heal %" PRId64 " ends it\n", argv[1],
           document_integer(answered, "number", 0), document_integer(answered, "number", 0));
  json_decref(answered);
  return 0;
}

/* ---- heal ---- */

static int heal_faults(int argc, char **argv) {
  const char *store = "store";
  bool json = false;
  const int code = cluster_command_flags(
      "assay nemesis heal", "Undoes one fault by its number, or all of them; starts nodes that died.",
      "[NUMBER]", &argc, argv, &store, &json);
  if (code >= 0)
    return code;
  struct error error = {0};
  char *end = NULL;
  const long long number = argc == 2 ? strtoll(argv[1], &end, 10) : 0;
  if (argc > 2 || (argc == 2 && (*end != '\0' || number <= 0))) {
    error_set(&error, ERR_BAD_INPUT, "heal takes one number at the most (assay nemesis status shows them)");
    return fail("heal", &error);
  }
  json_t *answered =
      control_ask(store, json_pack("{s:s, s:I}", "do", "heal", "number", (json_int_t)number), &error);
  if (!answered)
    return fail("heal", &error);
  if (json)
    document_print_line(answered);
  else
    printf("healed\n");
  json_decref(answered);
  return 0;
}

/* ---- status ---- */

static void print_fault(const json_t *fault) {
  printf("%4" PRId64 "  %-26s for %.1f s ", document_integer(fault, "number", 0),
         document_string(fault, "fault", "?"), (double)document_integer(fault, "since_ms", 0) / 1e3);
  size_t i;
  const json_t *target;
  json_array_foreach(json_object_get(fault, "targets"), i, target) printf(" %s", json_string_value(target));
  const char *name;
  json_t *number;
  json_object_foreach(json_object_get(fault, "numbers"), name, number)
      printf(" %s=%g", name, json_number_value(number));
  putchar('\n');
}

static int show_status(int argc, char **argv) {
  const char *store = "store";
  bool json = false;
  const int code = cluster_command_flags("assay nemesis status",
                                         "Shows which faults are present, and the state of every node.", NULL,
                                         &argc, argv, &store, &json);
  if (code >= 0)
    return code;
  struct error error = {0};
  json_t *answered = control_ask(store, json_pack("{s:s}", "do", "status"), &error);
  if (!answered)
    return fail("status", &error);
  if (json) {
    document_print_line(answered);
  } else {
    size_t i;
    const json_t *item;
    json_array_foreach(json_object_get(answered, "nodes"), i, item)
        printf("%-5s %-8s %s\n", document_string(item, "node", "?"), document_string(item, "state", "?"),
               document_boolean(item, "primary", false) ? "primary" : "");
    if (json_array_size(json_object_get(answered, "faults")) == 0)
      printf("no fault is present\n");
    json_array_foreach(json_object_get(answered, "faults"), i, item) print_fault(item);
  }
  json_decref(answered);
  return 0;
}

int nemesis_by_hand_command(int argc, char **argv) {
  static const struct command commands[] = {
      {"list", "what can be broken", list_faults},
      {"start", "break something in the cluster that is up", start_fault},
      {"heal", "undo that", heal_faults},
      {"status", "what is broken now", show_status},
  };
  return command_dispatch("assay nemesis",
                          "Faults by hand, on the cluster of assay cluster up. With flags alone it owns a\n"
                          "cluster and hurts it, as assay run has it do (assay nemesis --help).",
                          commands, ARRAY_SIZE(commands), argc, argv);
}
