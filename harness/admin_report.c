/* admin_report.c: `assay admin report`: every node at a glance. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "harness/admin.h"
#include "harness/document.h"

/* What one node said; reachable false: nothing. */
struct node {
  bool reachable, reported;
  struct node_status status;
  struct node_report report; /* its strings are in `version` and `level` */
  char version[32], level[8];
};

static void keep_report(void *context, const struct admin_answer *answer) {
  struct node *node = context;
  node->report = answer->report;
  snprintf(node->version, sizeof node->version, "%s", answer->report.version);
  snprintf(node->level, sizeof node->level, "%s", answer->report.log_level);
}

static void ask_nodes(struct admin *admin, struct node *nodes) {
  for (size_t i = 0; i < admin->count; i++) {
    nodes[i] = (struct node){.reachable = admin_ask_status(admin, i), .status = admin->status};
    const struct admin_request request = {.kind = ADMIN_REPORT};
    admin->take = keep_report;
    admin->take_context = &nodes[i];
    nodes[i].reported = nodes[i].reachable && admin_ask(admin, i, &request);
    admin->take = NULL;
    admin->take_context = NULL;
  }
}

/* ---- workers: asked of whoever is primary ---- */

struct seen_worker {
  struct master_worker worker; /* its address is in `address` */
  char address[64];
};

struct workers {
  struct seen_worker *items;
  size_t count;
  bool answered, known;
};

static void keep_workers(void *context, const struct master_answer *answer) {
  struct workers *workers = context;
  workers->answered = true;
  workers->known = answer->outcome == MASTER_OK;
  if (!workers->known)
    return;
  workers->items = xcalloc(answer->worker_count + 1, sizeof *workers->items);
  workers->count = answer->worker_count;
  for (size_t i = 0; i < workers->count; i++) {
    workers->items[i].worker = answer->workers[i];
    snprintf(workers->items[i].address, sizeof workers->items[i].address, "%s", answer->workers[i].address);
  }
}

static void ask_workers(struct admin *admin, struct workers *workers) {
  const struct master_request request = {.operation = MASTER_WORKERS};
  master_client_submit(admin->client, &request, keep_workers, workers);
  while (!workers->answered)
    uv_run(&admin->loop, UV_RUN_ONCE);
}

/* The primary of the latest term; NULL: none. */
static const struct node *find_primary(const struct node *nodes, size_t count) {
  const struct node *primary = NULL;
  for (size_t i = 0; i < count; i++)
    if (nodes[i].reachable && nodes[i].status.role == NODE_PRIMARY &&
        (!primary || nodes[i].status.term > primary->status.term))
      primary = &nodes[i];
  return primary;
}

/* Entries that the primary has applied and this node has not. */
static uint64_t lag(const struct node *node, const struct node *primary) {
  const uint64_t ahead = primary->status.applied_index;
  return ahead > node->status.applied_index ? ahead - node->status.applied_index : 0;
}

static const char *size_text(uint64_t bytes, char out[COUNT_TEXT_SIZE]) {
  static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double size = (double)bytes;
  size_t unit = 0;
  for (; size >= 1024 && unit + 1 < ARRAY_SIZE(units); unit++)
    size /= 1024;
  snprintf(out, COUNT_TEXT_SIZE, "%.*f %s", unit == 0 ? 0 : 1, size, units[unit]);
  return out;
}

static void print_node(const struct admin *admin, size_t i, const struct node *node,
                       const struct node *primary) {
  char behind[COUNT_TEXT_SIZE] = "?", uptime[COUNT_TEXT_SIZE], memory[COUNT_TEXT_SIZE], room[COUNT_TEXT_SIZE];
  if (!node->reachable) {
    printf("%4s  %-21s unreachable\n", "?", admin->names[i]);
    return;
  }
  if (primary)
    snprintf(behind, sizeof behind, "%" PRIu64, lag(node, primary));
  printf("%4" PRIu64 "  %-21s %-13s %6" PRIu64 " %10" PRIu64 " %7s %10s %10s %10s  %s%s\n", node->status.id,
         admin->names[i], node_role_name(node->status.role), node->status.term, node->status.applied_index,
         behind, duration_text(node->status.uptime_ns, uptime),
         node->reported ? size_text(node->report.resident_bytes, memory) : "?",
         node->reported ? size_text(node->report.disk_free_bytes, room) : "?",
         node->reported ? node->version : "?", node->report.disk_full ? "  DISK FULL" : "");
}

static const char *age_text(const struct master_worker *worker, char out[COUNT_TEXT_SIZE]) {
  return worker->heard_ns < 0 ? "not yet" : duration_text(worker->heard_ns, out);
}

static void print_workers(const struct workers *workers) {
  char heard[COUNT_TEXT_SIZE], stored[COUNT_TEXT_SIZE], room[COUNT_TEXT_SIZE];
  if (workers->count == 0)
    return;
  printf("\n%6s  %-21s %-6s %10s %10s %10s %10s\n", "worker", "address", "state", "heard", "blocks", "stored",
         "free");
  for (size_t i = 0; i < workers->count; i++) {
    const struct master_worker *worker = &workers->items[i].worker;
    printf("%6" PRIu64 "  %-21s %-6s %10s %10" PRIu64 " %10s %10s\n", worker->id, workers->items[i].address,
           worker->live ? "live" : "lost", age_text(worker, heard), worker->blocks,
           size_text(worker->stored_bytes, stored), size_text(worker->free_bytes, room));
  }
}

static void print_text(const struct admin *admin, const struct node *nodes, const struct node *primary) {
  char inodes[COUNT_TEXT_SIZE];
  if (primary)
    printf("primary %" PRIu64 " in term %" PRIu64 ", %s files and directories\n\n", primary->status.id,
           primary->status.term, count_text((int64_t)primary->status.inodes, inodes));
  else
    printf("no primary\n\n");
  printf("%4s  %-21s %-13s %6s %10s %7s %10s %10s %10s  %s\n", "node", "address", "role", "term", "applied",
         "behind", "up", "memory", "disk free", "version");
  for (size_t i = 0; i < admin->count; i++)
    print_node(admin, i, &nodes[i], primary);
}

static void add(json_t *object, const char *name, uint64_t value) {
  json_object_set_new(object, name, json_integer((json_int_t)value));
}

static json_t *node_json(const struct admin *admin, size_t i, const struct node *node,
                         const struct node *primary) {
  json_t *object = json_pack("{s:s, s:s}", "address", admin->names[i], "role",
                             node->reachable ? node_role_name(node->status.role) : "unreachable");
  if (!node->reachable)
    return object;
  const struct node_status *status = &node->status;
  add(object, "node", status->id);
  add(object, "term", status->term);
  add(object, "leader", status->leader);
  add(object, "first_index", status->first_index);
  add(object, "last_index", status->last_index);
  add(object, "commit_index", status->commit_index);
  add(object, "applied_index", status->applied_index);
  add(object, "snapshot_index", status->snapshot_index);
  add(object, "inodes", status->inodes);
  add(object, "uptime_ns", (uint64_t)status->uptime_ns);
  if (admin->with_hash) {
    char hash[24];
    snprintf(hash, sizeof hash, "%016" PRIx64, status->state_hash);
    json_object_set_new(object, "state_hash", json_string(hash));
  }
  if (primary)
    add(object, "lag", lag(node, primary));
  if (!node->reported)
    return object;
  const struct node_report *report = &node->report;
  json_object_set_new(object, "version", json_string(node->version));
  json_object_set_new(object, "log_level", json_string(node->level));
  add(object, "durable_index", report->durable_index);
  add(object, "write_behind_bytes", report->write_behind_bytes);
  add(object, "cache_bytes", report->cache_bytes);
  add(object, "resident_bytes", report->resident_bytes);
  add(object, "disk_size_bytes", report->disk_size_bytes);
  add(object, "disk_free_bytes", report->disk_free_bytes);
  json_object_set_new(object, "disk_full", json_boolean(report->disk_full));
  add(object, "descriptors", report->descriptors);
  add(object, "descriptor_limit", report->descriptor_limit);
  add(object, "sessions", report->sessions);
  return object;
}

static json_t *workers_json(const struct workers *workers) {
  json_t *list = json_array();
  for (size_t i = 0; i < workers->count; i++) {
    const struct master_worker *worker = &workers->items[i].worker;
    json_t *object =
        json_pack("{s:I, s:s, s:b, s:I}", "worker", (json_int_t)worker->id, "address",
                  workers->items[i].address, "live", worker->live, "heard_ns", (json_int_t)worker->heard_ns);
    add(object, "capacity_bytes", worker->capacity);
    add(object, "free_bytes", worker->free_bytes);
    add(object, "stored_bytes", worker->stored_bytes);
    add(object, "blocks", worker->blocks);
    json_array_append_new(list, object);
  }
  return list;
}

static void print_json(const struct admin *admin, const struct node *nodes, const struct node *primary,
                       const struct workers *workers) {
  json_t *list = json_array();
  for (size_t i = 0; i < admin->count; i++)
    json_array_append_new(list, node_json(admin, i, &nodes[i], primary));
  json_t *object = json_pack("{s:I, s:o, s:o}", "primary", (json_int_t)(primary ? primary->status.id : 0),
                             "nodes", list, "workers", workers_json(workers));
  document_print_line(object);
  json_decref(object);
}

/* 0 when all nodes answer and one is primary. */
static int report(struct admin *admin) {
  struct node nodes[CLUSTER_NODES_MAX];
  ask_nodes(admin, nodes);
  const struct node *primary = find_primary(nodes, admin->count);
  struct workers workers = {0};
  if (primary)
    ask_workers(admin, &workers);
  if (admin->json)
    print_json(admin, nodes, primary, &workers);
  else
    print_text(admin, nodes, primary);
  if (!admin->json)
    print_workers(&workers);
  free(workers.items);
  for (size_t i = 0; i < admin->count; i++)
    if (!nodes[i].reachable)
      return EXIT_HARNESS;
  return primary ? 0 : EXIT_HARNESS;
}

int admin_report_command(int argc, char **argv) {
  struct admin admin = ADMIN_INIT("assay admin report");
  const struct flag flags[] = {
      ADMIN_FLAGS(&admin),
      {"hash", FLAG_BOOL, &admin.with_hash, NULL,
       "with --json: hashes of all tables, which take a node some time", 0, 0},
      {"json", FLAG_BOOL, &admin.json, NULL, "one JSON object, with more in it", 0, 0},
  };
  const struct flag_set set = {
      .program = admin.program,
      .summary =
          "Shows what each node is, has and lacks. Exit code 3 when a node does not answer or none is\nprimary.",
      .flags = flags,
      .count = ARRAY_SIZE(flags)};
  return admin_run(&admin, &set, argc, argv, report);
}
