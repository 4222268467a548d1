#include <inttypes.h>
#include <stdio.h>

#include <jansson.h>

#include "workloads/process.h"

static void print_event(json_t *event) {
  char *line = json_dumps(event, JSON_COMPACT);
  json_decref(event);
  if (line)
    puts(line);
  fflush(stdout);
  free(line);
}

void event_ready(void) {
  print_event(json_pack("{s:s}", "event", "ready"));
}

void event_counts(const struct client_process *process, const char *event) {
  const uint64_t operations = process->ok + process->fail + process->info;
  print_event(json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "event", event, "ok", (json_int_t)process->ok,
                        "fail", (json_int_t)process->fail, "info", (json_int_t)process->info, "operations",
                        (json_int_t)operations, "last_ok_ns", (json_int_t)process->last_ok_ns, "outstanding",
                        (json_int_t)process->busy));
}

void event_error(const char *message) {
  print_event(json_pack("{s:s, s:s}", "event", "error", "message", message));
}
