/* nemesis_internal.h: what the rooms of the nemesis share: its state, and how it tells what it does. */
#ifndef ASSAY_NEMESIS_INTERNAL_H
#define ASSAY_NEMESIS_INTERNAL_H

#include <jansson.h>

#include "histories/histories.h"
#include "nemesis/cluster.h"
#include "nemesis/schedule.h"

struct nemesis {
  uv_loop_t *loop;
  struct cluster *cluster;
  struct schedule schedule;
  uv_timer_t timer;
  int primary, old_primary;
  uint64_t primary_term;
  int64_t excused_until_ns[CLUSTER_NODES_MAX]; /* what a fault that was healed may still bring about */
  int64_t elected_ns; /* when the last election was seen; 0: none since the faults began */
  struct node_facts nodes[CLUSTER_NODES_MAX];
  struct observation seen;
  uint64_t failed_number; /* the last fault that was skipped after it had begun, and why */
  struct error failed;
  int64_t stop_by_ns;            /* how long nemesis_stop waits for heals that go on */
  struct history_writer *writer; /* NULL when it has failed, which ends the planning of faults */
  void (*event)(void *context, const char *json);
  void *event_context;
  bool started, stopping;
  void (*healed)(void *context, int status, const struct error *error);
  void *healed_context;
};

/* ---- nemesis.c ---- */

/* Heals what is present with that index, as struct fault tells. */
int nemesis_heal_present(struct nemesis *nemesis, size_t which, struct error *error);

/* Nodes that died unasked, and those that a half-done fault has left behind. */
int nemesis_restart_dead(struct nemesis *nemesis, struct error *error);

/* ---- nemesis_tell.c ---- */

/* Text that may hold the name of a file, and so anything. */
json_t *tell_text(const struct error *error);

/* What the history and the events say of a fault; `aim` NULL: it could not be aimed. */
json_t *tell_describe(const struct nemesis *nemesis, const struct plan *plan, const struct aim *aim);

/* {"primary": …, "operation": …, …}: what was known when a fault was installed, or began to be. */
struct sight nemesis_sight(const struct nemesis *nemesis, int64_t now_ns);
json_t *tell_seen(const struct nemesis *nemesis, const struct sight *sight);

/* Writes one line of the history; the first failure is told. */
void tell_history(struct nemesis *nemesis, bool start, const char *f, const json_t *value, int64_t time_ns);

/* Takes `value`. */
void tell_fault(struct nemesis *nemesis, const char *phase, json_t *value, int64_t time_ns);

/* To the history and to whoever listens. */
void tell_node(struct nemesis *nemesis, size_t node, const char *state, const char *reason);

#endif
