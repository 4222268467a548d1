/* main.c: the program assay-master: one replica, put together from its parts.
 *
 *   clients ─▶ server ─▶ primary ─▶ raft journal ─▶ world (disk thread, peers)
 *                          │
 *                          └─▶ row store (RocksDB and its threads)
 *
 * A fatal error ends the process at once: what it has not acknowledged by then it never does. */
#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "base/base.h"
#include "master/data_directory.h"
#include "master/descriptors.h"
#include "master/http/http.h"
#include "master/node_options.h"
#include "master/observe.h"
#include "master/primary.h"
#include "master/raft/raft_journal.h"
#include "master/restore.h"
#include "master/rpc/tls.h"
#include "master/server/server.h"
#include "master/store.h"
#include "master/uv_under_store.h"
#include "master/uv_world.h"

/* Descriptors that sessions must leave to the log, the tables and the peers. */
#define DESCRIPTORS_RESERVED 512

struct node {
  struct node_options options;
  struct data_directory directory;
  uv_loop_t loop;
  uv_async_t store_wake;
  uv_signal_t terminate, interrupt, hang_up;
  uv_timer_t last_turn;
  struct descriptors descriptors;
  struct uv_world *world;
  struct row_store *store;
  struct under_store *under_store;
  struct primary *primary;
  struct journal *journal;
  struct server *server;
  struct tls_context *tls; /* NULL: without */
  struct http *http;       /* NULL: nobody watches */
  int64_t started_wall_ns;
  bool stopping;
  bool failed;
  struct error error;
};

/* ---- ending: server, journal, primary, store, world ---- */

static void on_fatal(void *context, const struct error *error) {
  struct node *node = context;
  if (!node->failed)
    node->error = *error;
  node->failed = true;
  uv_stop(&node->loop);
}

static void world_closed(void *context) {
  struct node *node = context;
  uv_close((uv_handle_t *)&node->store_wake, NULL);
  uv_close((uv_handle_t *)&node->terminate, NULL);
  uv_close((uv_handle_t *)&node->interrupt, NULL);
  uv_close((uv_handle_t *)&node->hang_up, NULL);
  uv_close((uv_handle_t *)&node->last_turn, NULL);
  descriptors_close(&node->descriptors);
}

static void on_last_turn(uv_timer_t *timer) {
  struct node *node = timer->data;
  uv_world_close(node->world, world_closed, node);
}

/* What the primary had deferred runs once more before the world goes. */
static void journal_closed(void *context) {
  struct node *node = context;
  node->store->functions->drain(node->store, true); /* what sessions read of a backup */
  primary_free(node->primary);
  row_store_close(node->store);
  node->store = NULL;
  server_free(node->server);
  uv_timer_start(&node->last_turn, on_last_turn, 1, 0);
}

static void server_closed(void *context) {
  struct node *node = context;
  node->journal->functions->close(node->journal, journal_closed, node);
}

static void on_signal(uv_signal_t *handle, int number) {
  struct node *node = handle->data;
  if (node->stopping)
    return;
  node->stopping = true;
  log_info("stopping on signal %d", number);
  http_close(node->http);
  server_close(node->server, server_closed, node);
}

/* Certificates are renewed while the node goes on. */
static void on_hang_up(uv_signal_t *handle, int number) {
  struct node *node = handle->data;
  struct error error = {0};
  (void)number;
  if (!node->tls)
    log_info("there is nothing to read anew: this node has no certificate");
  else if (tls_context_reload(node->tls, &error) == 0)
    log_info("the certificate was read anew: it is for connections from now on");
  else
    log_error("the certificate is used as it was: %s", error.message);
}

/* ---- beginning ---- */

static void on_store_wake(uv_async_t *async) {
  struct node *node = async->data;
  if (node->store)
    row_store_poll(node->store);
}

static void wake_for_store(void *context) {
  uv_async_send(context);
}

static size_t raise_descriptor_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
    return 0;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  getrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur == RLIM_INFINITY             ? 0
         : limit.rlim_cur > 2 * DESCRIPTORS_RESERVED ? (size_t)limit.rlim_cur - DESCRIPTORS_RESERVED
                                                     : (size_t)limit.rlim_cur / 2;
}

static int open_world(struct node *node, struct error *error) {
  struct uv_world_member members[MEMBERS_MAX];
  for (size_t i = 0; i < node->options.member_count; i++) {
    const struct node_member *member = &node->options.members[i];
    members[i] = (struct uv_world_member){
        .id = member->id, .host = member->address.host, .port = member->address.peer_port};
  }
  const struct uv_world_options options = {.directory = node->directory.journal,
                                           .id = node->options.id,
                                           .members = members,
                                           .member_count = node->options.member_count,
                                           .address = node->options.self->text,
                                           .cluster = node->options.cluster,
                                           .tls = node->tls};
  return uv_world_new(&node->loop, &options, &node->world, error);
}

static int open_primary(struct node *node, struct error *error) {
  const struct store_wake wake = {.wake = wake_for_store, .context = &node->store_wake};
  int status = rocksdb_store_open(node->directory.tables, &wake, &node->store, error);
  if (status != 0)
    return status;
  node->under_store = uv_under_store_new(&node->loop, &node->options.mount_roots);
  const struct primary_options options = {.world = uv_world_world(node->world),
                                          .store = node->store,
                                          .under_store = node->under_store,
                                          .cache_size = node->options.cache_size,
                                          .worker_lease_ns = node->options.worker_lease_ns};
  status = primary_new(&options, &node->primary, error);
  if (status == 0)
    primary_on_fatal(node->primary, on_fatal, node);
  return status;
}

/* Says what is there and what it comes to, and ends: nothing is open that must be closed in order. */
static void on_recovered(void *context, const struct journal_recovery *recovery) {
  const struct node *node = context;
  struct bytes text = {0};
  bytes_append_format(&text,
                      "node %llu has entries up to %llu, of term %llu; those up to %llu are known to be "
                      "committed. Members so far:",
                      (unsigned long long)node->options.id, (unsigned long long)recovery->last_index,
                      (unsigned long long)recovery->last_term, (unsigned long long)recovery->applied_index);
  for (size_t i = 0; i < recovery->member_count; i++)
    bytes_append_format(&text, " %llu", (unsigned long long)recovery->members[i]);
  bytes_append_format(&text, "; from now on:");
  for (size_t i = 0; i < node->options.member_count; i++)
    bytes_append_format(&text, " %llu", (unsigned long long)node->options.members[i].id);
  printf("%.*s\n", (int)text.size, (const char *)text.data);
  if (!node->options.accept_loss) {
    fprintf(
        stderr,
        "assay-master: nothing was changed. What other members committed behind entry %llu is lost, and entries "
        "that were\nnot committed become so. Take the node with the highest term and the longest log, be sure that "
        "no former member\never runs again on the data it has, and give --accept-loss\n",
        (unsigned long long)recovery->last_index);
    _exit(1);
  }
  printf("done: start this node as ever; start other members of now on empty directories with --join\n");
  fflush(stdout);
  _exit(0);
}

static int open_journal(struct node *node, struct error *error) {
  uint64_t members[MEMBERS_MAX];
  const char *addresses[MEMBERS_MAX];
  for (size_t i = 0; i < node->options.member_count; i++) {
    members[i] = node->options.members[i].id;
    addresses[i] = node->options.members[i].text;
  }
  const struct raft_journal_options options = {.id = node->options.id,
                                               .members = members,
                                               .addresses = addresses,
                                               .member_count =
                                                   node->options.join ? 0 : node->options.member_count,
                                               .recovery = !node->options.recover      ? RECOVERY_NONE
                                                           : node->options.accept_loss ? RECOVERY_WRITE
                                                                                       : RECOVERY_LOOK,
                                               .recovered = on_recovered,
                                               .recovered_context = node,
                                               .cluster = node->options.cluster,
                                               .election_timeout_ms = node->options.election_timeout_ms,
                                               .heartbeat_ms = node->options.heartbeat_ms,
                                               .snapshot_threshold = node->options.snapshot_threshold,
                                               .snapshot_trailing = node->options.snapshot_trailing};
  node->journal =
      raft_journal_new(&options, uv_world_world(node->world), primary_state_machine(node->primary));
  primary_attach(node->primary, node->journal);
  return node->journal->functions->start(node->journal, error);
}

static void report(void *context, struct server_report *report) {
  const struct node *node = context;
  struct observation seen = {0};
  observe_process(&seen, node->options.data);
  const struct tables_statistics tables = primary_tables_statistics(node->primary);
  *report = (struct server_report){.resident_bytes = seen.resident_bytes,
                                   .disk_size_bytes = seen.disk_size_bytes,
                                   .disk_free_bytes = seen.disk_free_bytes,
                                   .descriptors = seen.descriptors,
                                   .descriptor_limit = seen.descriptor_limit,
                                   .durable_index = tables.durable_index,
                                   .write_behind_bytes = tables.dirty_bytes + tables.frozen_bytes,
                                   .cache_bytes = tables.memory_bytes};
}

static bool is_full(void *context) {
  return descriptors_are_short(context);
}

static int open_server(struct node *node, struct error *error) {
  struct server_member members[MEMBERS_MAX];
  for (size_t i = 0; i < node->options.member_count; i++)
    members[i] = (struct server_member){.id = node->options.members[i].id,
                                        .client_address = node->options.members[i].address.client_address};
  const struct server_options options = {.loop = &node->loop,
                                         .primary = node->primary,
                                         .cluster = node->options.cluster,
                                         .id = node->options.id,
                                         .address = node->options.self->address.client_address,
                                         .tls = node->tls,
                                         .session_limit = raise_descriptor_limit(),
                                         .is_full = is_full,
                                         .full_context = &node->descriptors,
                                         .report = report,
                                         .report_context = node,
                                         .members = members,
                                         .member_count = node->options.member_count};
  return server_open(&options, &node->server, error);
}

/* ---- being watched ---- */

static void observe(void *context, struct observation *seen) {
  struct node *node = context;
  *seen = (struct observation){.cluster = node->options.cluster,
                               .node = node->options.id,
                               .status = primary_status(node->primary),
                               .primary = primary_statistics(node->primary),
                               .tables = primary_tables_statistics(node->primary),
                               .disk = uv_world_disk_statistics(node->world),
                               .server = server_statistics(node->server),
                               .workers = primary_worker_statistics(node->primary),
                               .tls = node->tls ? tls_context_statistics(node->tls) : NULL,
                               .tls_expires_s = node->tls ? tls_context_expires_s(node->tls) : 0,
                               .started_wall_ns = node->started_wall_ns,
                               .descriptors_short = descriptors_are_short(&node->descriptors)};
  observe_process(seen, node->options.data);
}

static int open_http(struct node *node, struct error *error) {
  if (!node->options.http)
    return 0;
  const struct http_options options = {.loop = &node->loop,
                                       .address = (const struct sockaddr *)&node->options.http_address,
                                       .address_text = node->options.http,
                                       .observe = observe,
                                       .context = node};
  return http_open(&options, &node->http, error);
}

static void open_handles(struct node *node) {
  uv_async_init(&node->loop, &node->store_wake, on_store_wake);
  uv_signal_init(&node->loop, &node->terminate);
  uv_signal_init(&node->loop, &node->interrupt);
  uv_signal_init(&node->loop, &node->hang_up);
  uv_timer_init(&node->loop, &node->last_turn);
  descriptors_open(&node->descriptors, &node->loop);
  node->store_wake.data = node->terminate.data = node->interrupt.data = node->hang_up.data =
      node->last_turn.data = node;
  uv_signal_start(&node->terminate, on_signal, SIGTERM);
  uv_signal_start(&node->interrupt, on_signal, SIGINT);
  uv_signal_start(&node->hang_up, on_hang_up, SIGHUP);
}

static int open_node(struct node *node, struct error *error) {
  int status = 0;
  if (node->options.with_tls)
    status = tls_context_new(&node->options.tls, TLS_MASTER, &node->tls, error);
  if (status == 0)
    status = data_directory_open(node->options.data, node->options.cluster, node->options.id,
                                 &node->directory, error);
  if (status == 0)
    status = open_world(node, error);
  if (status == 0)
    status = open_primary(node, error);
  if (status == 0 && !node->options.recover)
    status = open_server(node, error);
  if (status == 0 && !node->options.recover)
    status = open_http(node, error);
  if (status == 0)
    status = open_journal(node, error);
  return status;
}

/* ---- memory: where none is left, there is an end as any other ---- */

__attribute__((noreturn)) static void out_of_memory(void) {
  log_error("out of memory: the tables need more than this process may have");
  _exit(EXIT_HARNESS);
}

/* The tables' library is C++ and would end by a signal; these are std::set_new_handler and std::set_terminate
 * (a thread that cannot be started throws as well). */
void (*set_new_handler(void (*handler)(void)))(void) __asm__("_ZSt15set_new_handlerPFvvE");
void (*set_terminate(void (*handler)(void)))(void) __asm__("_ZSt13set_terminatePFvvE");

static void mind_memory(void) {
  set_new_handler(out_of_memory);
  set_terminate(out_of_memory);
  uv_replace_allocator(xmalloc, xrealloc, xcalloc, free);
}

int main(int argc, char **argv) {
  static struct node node;
  log_open("assay-master", LOG_LEVEL_INFO);
  node.started_wall_ns = time_wall_ns();
  const int exit_code = node_options_parse(&node.options, argc, argv);
  if (exit_code >= 0)
    return exit_code;
  signal(SIGPIPE, SIG_IGN);
  mind_memory();
  if (node.options.restore) {
    if (restore_backup(&node.options, &node.error) == 0)
      return 0;
    log_error("%s", node.error.message);
    return EXIT_HARNESS;
  }
  uv_loop_init(&node.loop);
  open_handles(&node);
  int status = open_node(&node, &node.error);
  if (status == 0 && !node.options.recover)
    log_info("node %llu of cluster %llu serves clients on %s%s, data in %s",
             (unsigned long long)node.options.id, (unsigned long long)node.options.cluster,
             node.options.self->address.client_address, node.tls ? " with TLS" : "", node.options.data);
  if (status == 0) {
    uv_run(&node.loop, UV_RUN_DEFAULT);
    status = node.failed ? node.error.code : 0;
  }
  if (status != 0) {
    log_error("%s", node.error.message);
    _exit(EXIT_HARNESS); /* threads still work on files: no orderly end is possible, and none is needed */
  }
  uv_under_store_free(node.under_store); /* threads have let go of it */
  uv_loop_close(&node.loop);
  tls_context_free(node.tls);
  data_directory_close(&node.directory);
  log_info("stopped");
  return 0;
}
