#include "harness/observer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define POLL_INTERVAL_MS 100
#define HURRY_INTERVAL_MS 10
/* A node that says nothing for so long is as good as gone for aiming faults. */
#define SILENCE_NS (500 * NS_PER_MS)
/* Hashing walks all tables: on a large state that takes its time. */
#define HASH_PATIENCE_NS (30 * NS_PER_S)

struct observer_node {
  struct observer *observer;
  size_t index;
  struct node_status status;
  bool asking;
  bool hashing; /* its answer to the comparison is outstanding */
};

struct comparison {
  bool running;
  bool with_hash; /* second step: all have applied the same index */
  size_t outstanding;
  int64_t deadline_ns;
  void (*done)(void *context, const struct replica_report *report);
  void *context;
  struct replica_report report;
};

struct observer {
  struct observer_events events;
  struct master_client *client; /* short patience: for polling */
  struct master_client *hasher; /* long patience: for hashes */
  uv_timer_t timer;
  size_t count;
  struct observer_node nodes[CLUSTER_NODES_MAX];
  int primary;
  uint64_t term;
  struct comparison comparison;
  bool closing;
  int handles_open;
  void (*closed)(void *context);
  void *closed_context;
};

static bool expects(const struct observer *observer, size_t node) {
  return !observer->events.expects || observer->events.expects(observer->events.context, node);
}

/* A deposed primary that cannot know it yet may still say so: the higher term is right. */
static void elect(struct observer *observer) {
  int primary = -1;
  uint64_t term = 0;
  for (size_t i = 0; i < observer->count; i++) {
    const struct node_status *status = &observer->nodes[i].status;
    if (status->role == NODE_PRIMARY && status->term > term) {
      primary = (int)i;
      term = status->term;
    }
  }
  if (primary == observer->primary && (primary < 0 || term == observer->term))
    return;
  observer->primary = primary;
  if (primary >= 0)
    observer->term = term;
  observer->events.primary(observer->events.context, primary, observer->term);
}

static void on_status(void *context, const struct node_status *status) {
  struct observer_node *node = context;
  struct observer *observer = node->observer;
  node->asking = false;
  if (observer->closing)
    return;
  const bool changed = node->status.role != status->role;
  node->status = *status;
  if (observer->events.status)
    observer->events.status(observer->events.context, node->index, status);
  elect(observer);
  if (changed && observer->events.changed)
    observer->events.changed(observer->events.context);
}

static void comparison_end(struct observer *observer) {
  struct comparison *comparison = &observer->comparison;
  comparison->running = false;
  comparison->done(comparison->context, &comparison->report);
}

/* The first of those that are compared. */
static const struct node_status *first_compared(const struct replica_report *report) {
  size_t first = 0;
  while (first + 1 < CLUSTER_NODES_MAX && !report->compared[first])
    first++;
  return &report->nodes[first];
}

static bool same_index(const struct observer *observer) {
  const struct replica_report *report = &observer->comparison.report;
  const struct node_status *first = first_compared(report);
  for (size_t i = 0; i < observer->count; i++)
    if (report->compared[i] &&
        (report->nodes[i].role == NODE_UNREACHABLE || report->nodes[i].applied_index != first->applied_index))
      return false;
  return true;
}

/* All nodes answered one round: enough, the next step, or once more at the next tick. */
static void comparison_round_over(struct observer *observer) {
  struct comparison *comparison = &observer->comparison;
  struct replica_report *report = &comparison->report;
  if (!same_index(observer)) {
    comparison->with_hash = false;
    if (time_monotonic_ns() >= comparison->deadline_ns)
      comparison_end(observer);
    return;
  }
  if (!comparison->with_hash) {
    comparison->with_hash = true;
    return;
  }
  report->comparable = true;
  report->equal = true;
  const struct node_status *first = first_compared(report);
  for (size_t i = 0; i < observer->count; i++)
    if (report->compared[i])
      report->equal = report->equal && report->nodes[i].state_hash == first->state_hash;
  comparison_end(observer);
}

static void on_compared(void *context, const struct node_status *status) {
  struct observer_node *node = context;
  struct observer *observer = node->observer;
  node->hashing = false;
  if (observer->closing)
    return;
  observer->comparison.report.nodes[node->index] = *status;
  if (--observer->comparison.outstanding == 0)
    comparison_round_over(observer);
}

static void compare_again(struct observer *observer) {
  struct comparison *comparison = &observer->comparison;
  if (!comparison->running || comparison->outstanding > 0)
    return;
  comparison->outstanding = observer->count;
  for (size_t i = 0; i < observer->count; i++) {
    comparison->report.compared[i] = expects(observer, i);
    assert(!observer->nodes[i].hashing);
    observer->nodes[i].hashing = true;
    master_client_status(comparison->with_hash ? observer->hasher : observer->client, i,
                         comparison->with_hash, on_compared, &observer->nodes[i]);
  }
}

static void on_tick(uv_timer_t *timer) {
  struct observer *observer = timer->data;
  for (size_t i = 0; i < observer->count; i++) {
    struct observer_node *node = &observer->nodes[i];
    if (node->asking)
      continue;
    node->asking = true;
    master_client_status(observer->client, i, false, on_status, node);
  }
  compare_again(observer);
}

static int open_client(uv_loop_t *loop, const char *const *addresses, size_t count, struct tls_context *tls,
                       int64_t patience_ns, struct master_client **client, struct error *error) {
  const struct master_client_options options = {
      .addresses = addresses,
      .address_count = count,
      .request_timeout_ns = patience_ns,
      .connect_timeout_ns = SILENCE_NS,
      .attempt_timeout_ns = patience_ns,
      .tls = tls,
  };
  return master_client_open(loop, &options, client, error);
}

int observer_new(uv_loop_t *loop, const char *const *addresses, size_t count, struct tls_context *tls,
                 const struct observer_events *events, struct observer **made, struct error *error) {
  assert(count >= 1 && count <= CLUSTER_NODES_MAX);
  struct observer *observer = xcalloc(1, sizeof *observer);
  observer->events = *events;
  observer->count = count;
  observer->primary = -1;
  int status = open_client(loop, addresses, count, tls, SILENCE_NS, &observer->client, error);
  if (status == 0)
    status = open_client(loop, addresses, count, tls, HASH_PATIENCE_NS, &observer->hasher, error);
  if (status != 0) {
    if (observer->client)
      master_client_close(observer->client, NULL, NULL);
    free(observer);
    return status;
  }
  for (size_t i = 0; i < count; i++)
    observer->nodes[i] = (struct observer_node){.observer = observer, .index = i};
  uv_timer_init(loop, &observer->timer);
  observer->timer.data = observer;
  uv_timer_start(&observer->timer, on_tick, 0, POLL_INTERVAL_MS);
  *made = observer;
  return 0;
}

void observer_hurry(struct observer *observer, bool hurry) {
  const uint64_t interval_ms = hurry ? HURRY_INTERVAL_MS : POLL_INTERVAL_MS;
  if (!observer->closing && uv_timer_get_repeat(&observer->timer) != interval_ms)
    uv_timer_start(&observer->timer, on_tick, 0, interval_ms);
}

int observer_primary(const struct observer *observer) {
  return observer->primary;
}

const struct node_status *observer_status(const struct observer *observer, size_t node) {
  assert(node < observer->count);
  return &observer->nodes[node].status;
}

struct node_facts observer_facts(const struct node_status *status) {
  return (struct node_facts){.known = status->role != NODE_UNREACHABLE,
                             .primary = status->role == NODE_PRIMARY,
                             .term = status->term,
                             .commit_index = status->commit_index,
                             .applied_index = status->applied_index,
                             .first_index = status->first_index,
                             .last_index = status->last_index,
                             .takes_snapshot = status->taking_snapshot,
                             .sends_snapshot = status->sending_snapshot,
                             .installs_snapshot = status->installing_snapshot,
                             .snapshots_begun = status->snapshots_begun};
}

bool observer_settled(const struct observer *observer) {
  for (size_t i = 0; i < observer->count; i++)
    if (expects(observer, i) && observer->nodes[i].status.role == NODE_UNREACHABLE)
      return false;
  return observer->primary >= 0;
}

void observer_compare(struct observer *observer, int64_t patience_ns,
                      void (*done)(void *context, const struct replica_report *report), void *context) {
  assert(!observer->comparison.running);
  observer->comparison = (struct comparison){
      .running = true, .done = done, .context = context, .deadline_ns = time_monotonic_ns() + patience_ns};
}

static void part_closed(struct observer *observer) {
  if (--observer->handles_open > 0)
    return;
  void (*closed)(void *) = observer->closed;
  void *context = observer->closed_context;
  free(observer);
  if (closed)
    closed(context);
}

static void client_closed(void *context) {
  part_closed(context);
}

static void timer_closed(uv_handle_t *handle) {
  part_closed(handle->data);
}

void observer_close(struct observer *observer, void (*closed)(void *context), void *context) {
  assert(!observer->closing);
  observer->closing = true;
  observer->closed = closed;
  observer->closed_context = context;
  observer->handles_open = 3;
  master_client_close(observer->client, client_closed, observer);
  master_client_close(observer->hasher, client_closed, observer);
  uv_close((uv_handle_t *)&observer->timer, timer_closed);
}
