/* nemesis_tell.c: how the nemesis tells what it does: to the history, and as events. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "nemesis/nemesis_internal.h"

static void tell(struct nemesis *nemesis, json_t *event, int64_t time_ns) {
  json_object_set_new(event, "time_ns", json_integer((json_int_t)time_ns));
  char *text = json_dumps(event, JSON_COMPACT);
  assert(text); /* all strings in it are ours, and UTF-8 */
  nemesis->event(nemesis->event_context, text);
  free(text);
  json_decref(event);
}

json_t *tell_text(const struct error *error) {
  json_t *text = json_string(error->message);
  return text ? text : json_string("a message that is not UTF-8; see the log");
}

void tell_history(struct nemesis *nemesis, bool start, const char *f, const json_t *value, int64_t time_ns) {
  char *text = json_dumps(value, JSON_COMPACT);
  struct error error = {0};
  if (nemesis->writer && history_write_nemesis(nemesis->writer, start, f, text, time_ns, &error) != 0) {
    history_writer_close(nemesis->writer, NULL);
    nemesis->writer = NULL;
    log_error("%s", error.message);
    tell(nemesis, json_pack("{s:s, s:o}", "event", "error", "message", tell_text(&error)), time_ns);
  }
  free(text);
}

json_t *tell_describe(const struct nemesis *nemesis, const struct plan *plan, const struct aim *aim) {
  json_t *value = json_pack("{s:I, s:s, s:s}", "number", (json_int_t)plan->number, "fault",
                            plan->fault->description.name, "family", plan->fault->description.family);
  if (aim)
    script_write_aim(value, aim, cluster_size(nemesis->cluster));
  else
    json_object_set_new(value, "targets", json_array());
  return value;
}

struct sight nemesis_sight(const struct nemesis *nemesis, int64_t now_ns) {
  const int64_t since_ns = nemesis->elected_ns ? nemesis->elected_ns : nemesis->schedule.script.began_ns;
  return (struct sight){
      .seen = nemesis->seen, .primary = nemesis->primary, .since_election_ns = now_ns - since_ns};
}

json_t *tell_seen(const struct nemesis *nemesis, const struct sight *sight) {
  json_t *seen = json_object();
  json_object_set_new(seen, "primary",
                      sight->primary < 0
                          ? json_null()
                          : json_string(cluster_node_name(nemesis->cluster, (size_t)sight->primary)));
  for (int i = 0; i < COUNTERS; i++)
    json_object_set_new(seen, counter_name((enum counter)i), json_integer((json_int_t)sight->seen.counts[i]));
  json_object_set_new(seen, "since_election_ms",
                      json_integer((json_int_t)(sight->since_election_ns / NS_PER_MS)));
  return seen;
}

void tell_fault(struct nemesis *nemesis, const char *phase, json_t *value, int64_t time_ns) {
  json_t *event = json_pack("{s:s, s:s}", "event", "fault", "phase", phase);
  json_object_update(event, value);
  json_decref(value);
  tell(nemesis, event, time_ns);
}

void tell_node(struct nemesis *nemesis, size_t node, const char *state, const char *reason) {
  const int64_t now_ns = time_monotonic_ns();
  const char *name = cluster_node_name(nemesis->cluster, node);
  json_t *value = json_pack("{s:s, s:s, s:s}", "node", name, "state", state, "reason", reason);
  tell_history(nemesis, false, "node", value, now_ns);
  json_t *event = json_pack("{s:s}", "event", "node");
  json_object_update(event, value);
  json_decref(value);
  tell(nemesis, event, now_ns);
}
