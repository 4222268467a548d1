/* script.h: faults that are told instead of drawn: a schedule from a file, the recorded one of another run,
 * or a person at a terminal. Pure: told the time and what was observed.
 *
 * An entry becomes due at a time, or when a *counter* of the cluster reaches a number (and some time after):
 * operations answered, the highest log index, the highest term, elections, snapshots begun. Counters never go
 * back, so an event that was missed between two looks is still seen at the next. A run repeats its elections
 * better than its milliseconds, so what hangs on an event repeats better than what hangs on the clock. */
#ifndef ASSAY_NEMESIS_SCRIPT_H
#define ASSAY_NEMESIS_SCRIPT_H

#include <jansson.h>

#include "nemesis/fault.h"

#define NEVER INT64_MAX

enum counter {
  COUNTER_OPERATION, /* operations of clients that were answered ok */
  COUNTER_LOG_INDEX, /* the highest index of any log */
  COUNTER_TERM,      /* the highest term */
  COUNTER_ELECTION,  /* changes of the primary, or of its term, since the faults began */
  COUNTER_SNAPSHOT,  /* snapshots that a node has begun to take, send or install since then */
  COUNTERS,
};

struct observation {
  uint64_t counts[COUNTERS];
};

/* "operation", "log-index", …; static. */
const char *counter_name(enum counter counter);

/* An event: a counter has reached a number. */
struct event {
  bool set; /* there is one */
  enum counter counter;
  uint64_t count;
};

bool event_reached(const struct event *event, const struct observation *seen);

#define DURATION_UNTIL_END INT64_MAX
#define NUMBER_NAME_SIZE 24

struct scripted {
  const struct fault *fault;
  int64_t at_ns; /* since the faults began; -1: not by the clock. With an event too: at the latest */
  struct event on;
  int64_t after_ns;   /* since the event */
  int64_t for_ns;     /* DURATION_UNTIL_END: until the end, or until it is healed by hand */
  struct event until; /* heals it earlier */
  uint64_t draw;      /* seeds what is drawn of its aim */
  /* Whom it hits; what is not told is drawn as the fault would. */
  char role[16]; /* "primary", "old-primary", "follower"; "": see below */
  bool has_targets, has_links;
  bool targets[CLUSTER_NODES_MAX];
  /* As struct aim has them, for CLUSTER_NODES_MAX nodes: who hears whom when the fault cuts, which links are
   * shaped when it shapes. */
  bool links[CLUSTER_NODES_MAX * CLUSTER_NODES_MAX];
  /* Nodes are named by who was primary when this was recorded, and mean the nodes that stand to the present
   * primary as they did to that one. -1: names are names. */
  int primary;
  char number_names[AIM_NUMBERS_MAX][NUMBER_NAME_SIZE];
  double numbers[AIM_NUMBERS_MAX];
  size_t number_count;

  /* Filled in as time goes. */
  int64_t due_ns;     /* NEVER: it waits for its event */
  int64_t give_up_ns; /* 0: it found somebody to hit whenever it tried */
  uint64_t number;    /* of the fault it has become; 0: none yet */
  bool done;          /* installed, or skipped */
};

#define SCRIPT_ENTRIES_MAX 1024

struct script {
  struct scripted *entries;
  size_t count, capacity;
  bool begun;
  int64_t began_ns;
  struct observation seen;
};

void script_free(struct script *script);

/* Adds an entry that is due now, or as it says; returns its index. ERR_OVERLOADED when there are too many. */
int script_add(struct script *script, const struct scripted *entry, int64_t now_ns, size_t *which,
               struct error *error);

void script_begin(struct script *script, int64_t now_ns);

/* What was observed at `now_ns`: entries whose event has come become due. */
void script_observe(struct script *script, const struct observation *seen, int64_t now_ns);

/* When the next entry is due; NEVER if none waits for the clock. */
int64_t script_when(const struct script *script);

/* The entry that is due, or script->count. */
size_t script_due(const struct script *script, int64_t now_ns);

/* Aims as the entry tells. Errors as fault_aim; ERR_BAD_INPUT never. */
int script_aim(const struct scripted *entry, const struct facts *facts, struct aim *aim, struct error *error);

/* ---- In files ----
 *
 * {"schedule": 1, "nodes": 5, "faults": [
 *   {"fault": "partition-primary", "at_ms": 4000, "for_ms": 2000},
 *   {"fault": "kill-one", "on": {"election": 3}, "after_ms": 200, "for_ms": 1000, "targets": ["n2"]},
 *   {"fault": "link-delay", "on": {"operation": 50000}, "until": {"operation": 60000}, "targets": "primary",
 *    "numbers": {"delay_ms": 120}}]}
 *
 * `nodes` may be missing; members that begin with '_' are notes for people. docs/schedules.md tells the rest.
 */

/* Appends the schedule's entries, for a cluster that begins with so many nodes; nodes that join later are
 * named by the numbers behind theirs. ERR_BAD_INPUT names the entry, its member and the cure. `name` is the
 * file's, for messages. */
int script_read(const char *text, size_t size, const char *name, size_t nodes, struct script *script,
                struct error *error);

/* One entry; `number` and `name` are for messages. */
int script_read_entry(const json_t *object, const char *name, size_t number, size_t nodes,
                      struct scripted *entry, struct error *error);

/* What an aim looks like in a file, in events and in the history: adds "targets", and where there are any
 * "grudge" (who drops whose packets), "links" (whose packets to whom are shaped) and "numbers" to `object`.
 */
void script_write_aim(json_t *object, const struct aim *aim, size_t nodes);

#endif
