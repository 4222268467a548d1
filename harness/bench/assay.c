/* assay.c: Assay's own cluster, as `assay bench master` loads it: nodes of the provider host, the client
 * library. */
#include <stdio.h>
#include <stdlib.h>

#include "harness/bench/system.h"
#include "harness/secure.h"
#include "master/client/client.h"

#define REQUEST_TIMEOUT_NS (20 * NS_PER_S)

struct own_lane {
  struct master_client *client;
  struct master_client *reader; /* with reads_any, for reads; else NULL */
  uint32_t number, sequence;
};

/* A request under way: what the client's answer goes to. */
struct own_request {
  struct system_cluster *cluster;
  system_done *done;
  void *context;
  struct own_request *next; /* of those that are free */
};

struct system_cluster {
  uv_loop_t *loop;
  const bool *interrupted;
  bool reads_any;
  struct cluster *nodes;
  struct tls_context *tls; /* NULL: without */
  size_t node_count;
  const char *addresses[CLUSTER_NODES_MAX];
  struct own_lane *lanes;
  size_t lane_count;
  struct own_request *free;
  int reserved; /* client numbers: 0 not yet, 1 yes, -1 refused */
  uint32_t first_number;
  const char *refusal;
};

/* ---- the nodes ---- */

/* For everything, at the primary. */
static int open_client(struct system_cluster *cluster, int64_t timeout_ns, struct master_client **client,
                       struct error *error) {
  const struct master_client_options options = {.addresses = cluster->addresses,
                                                .address_count = cluster->node_count,
                                                .request_timeout_ns = timeout_ns,
                                                .retry = true,
                                                .tls = cluster->tls};
  return master_client_open(cluster->loop, &options, client, error);
}

/* For reads, at the node of that number. */
static int open_reader(struct system_cluster *cluster, size_t node, struct master_client **client,
                       struct error *error) {
  const struct master_client_options options = {.addresses = cluster->addresses,
                                                .address_count = cluster->node_count,
                                                .preferred = node % cluster->node_count,
                                                .request_timeout_ns = REQUEST_TIMEOUT_NS,
                                                .retry = true,
                                                .any_node = true,
                                                .tls = cluster->tls};
  return master_client_open(cluster->loop, &options, client, error);
}

static void on_reserved(void *context, uint32_t first, const struct master_answer *answer) {
  struct system_cluster *cluster = context;
  cluster->first_number = first;
  cluster->reserved = answer->outcome == MASTER_OK ? 1 : -1;
  cluster->refusal = master_error_name(answer->error);
}

/* Client numbers: only a cluster that serves gives them. */
static int reserve(struct system_cluster *cluster, struct master_client *client, size_t count,
                   struct error *error) {
  cluster->reserved = 0;
  master_client_reserve(client, (uint32_t)count, on_reserved, cluster);
  while (cluster->reserved == 0 && !*cluster->interrupted)
    uv_run(cluster->loop, UV_RUN_ONCE);
  if (cluster->reserved == 0)
    return error_set(error, ERR_UNAVAILABLE, "interrupted");
  if (cluster->reserved < 0)
    return error_set(error, ERR_TIMEOUT, "the masters give no client numbers: %s; their logs tell why",
                     cluster->refusal);
  return 0;
}

static int await_primary(struct system_cluster *cluster, struct error *error) {
  struct master_client *client;
  int status = open_client(cluster, SYSTEM_CONNECT_WITHIN_NS, &client, error);
  if (status != 0)
    return status;
  status = reserve(cluster, client, 1, error);
  master_client_close(client, NULL, NULL);
  return status;
}

static void own_stop(struct system_cluster *cluster) {
  if (cluster->nodes)
    cluster_free(cluster->nodes);
  tls_context_free(cluster->tls);
  free(cluster);
}

static int own_start(const struct system_options *options, struct system_cluster **result,
                     struct error *error) {
  struct system_cluster *cluster = xcalloc(1, sizeof *cluster);
  cluster->loop = options->loop;
  cluster->interrupted = options->interrupted;
  cluster->reads_any = options->reads_any;
  cluster->node_count = options->nodes;
  struct secure_files files;
  char *certificates = options->tls ? path_join(options->directory, "tls") : NULL;
  int status = certificates ? secure_make(certificates, 0, error) : 0;
  if (status == 0 && certificates)
    status = secure_open(NULL, certificates, &cluster->tls, error);
  const struct cluster_options nodes = {.provider = PROVIDER_HOST,
                                        .needs = options->disks ? CAPABILITY_BIT(CAN_DISK) : 0,
                                        .nodes = options->nodes,
                                        .master = options->master,
                                        .directory = options->directory,
                                        .files = certificates ? secure_files(certificates, TLS_MASTER, &files)
                                                              : NULL};
  free(certificates);
  if (status == 0)
    status = cluster_new(options->loop, &nodes, &cluster->nodes, error);
  if (status == 0 && options->disks && cluster_lacks(cluster->nodes, CAN_DISK))
    status = error_set(error, ERR_UNSUPPORTED, "%s", cluster_lacks(cluster->nodes, CAN_DISK));
  for (size_t node = 0; status == 0 && node < options->nodes; node++) {
    cluster->addresses[node] = cluster_client_address(cluster->nodes, node);
    status = cluster_start(cluster->nodes, node, error);
  }
  if (status == 0)
    status = await_primary(cluster, error);
  if (status != 0)
    own_stop(cluster);
  else
    *result = cluster;
  return status;
}

static size_t own_pids(const struct system_cluster *cluster, pid_t pids[CLUSTER_NODES_MAX]) {
  for (size_t node = 0; node < cluster->node_count; node++)
    pids[node] = cluster_node_pid(cluster->nodes, node);
  return cluster->node_count;
}

/* ---- connections ---- */

static int own_open(struct system_cluster *cluster, size_t lanes,
                    void (*lost)(void *context, const char *why), void *context, struct error *error) {
  (void)lost; /* the client library finds another way, or answers with an error */
  (void)context;
  cluster->lanes = xcalloc(lanes, sizeof *cluster->lanes);
  cluster->lane_count = lanes;
  int status = 0;
  for (size_t i = 0; status == 0 && i < lanes; i++)
    status = open_client(cluster, REQUEST_TIMEOUT_NS, &cluster->lanes[i].client, error);
  for (size_t i = 0; status == 0 && cluster->reads_any && i < lanes; i++)
    status = open_reader(cluster, i, &cluster->lanes[i].reader, error);
  if (status == 0)
    status = reserve(cluster, cluster->lanes[0].client, lanes, error);
  for (size_t i = 0; i < lanes; i++)
    cluster->lanes[i].number = cluster->first_number + (uint32_t)i;
  return status;
}

static void on_own_answer(void *context, const struct master_answer *answer) {
  struct own_request *own = context;
  system_done *done = own->done;
  void *its_context = own->context;
  own->next = own->cluster->free;
  own->cluster->free = own;
  done(its_context, answer->outcome == MASTER_OK ? NULL : master_error_name(answer->error));
}

static void own_submit(struct system_cluster *cluster, size_t index, const struct system_request *wanted,
                       system_done *done, void *context) {
  static const enum master_operation operations[LOAD_KINDS] = {
      [LOAD_CREATE] = MASTER_CREATE, [LOAD_STAT] = MASTER_STAT,     [LOAD_LIST] = MASTER_LIST,
      [LOAD_RENAME] = MASTER_RENAME, [LOAD_DELETE] = MASTER_DELETE, [LOAD_SET] = MASTER_SET,
  };
  struct own_lane *lane = &cluster->lanes[index];
  struct own_request *own = cluster->free;
  if (own)
    cluster->free = own->next;
  else
    own = xmalloc(sizeof *own);
  *own = (struct own_request){.cluster = cluster, .done = done, .context = context};
  struct master_request request = {.operation = operations[wanted->kind],
                                   .path = wanted->path,
                                   .destination = wanted->destination,
                                   .value = wanted->value,
                                   .parents = wanted->kind == LOAD_CREATE};
  const bool reads = wanted->kind == LOAD_STAT || wanted->kind == LOAD_LIST;
  if (!reads)
    request.op_id = (uint64_t)lane->number << 32 | ++lane->sequence;
  master_client_submit(reads && lane->reader ? lane->reader : lane->client, &request, on_own_answer, own);
}

static void on_lane_closed(void *context) {
  --*(size_t *)context;
}

static void own_close(struct system_cluster *cluster) {
  size_t open = 0;
  for (size_t i = 0; i < cluster->lane_count; i++) {
    struct master_client *clients[] = {cluster->lanes[i].client, cluster->lanes[i].reader};
    for (size_t j = 0; j < ARRAY_SIZE(clients); j++)
      if (clients[j]) {
        open++;
        master_client_close(clients[j], on_lane_closed, &open);
      }
  }
  while (open > 0)
    uv_run(cluster->loop, UV_RUN_ONCE);
  while (cluster->free) {
    struct own_request *own = cluster->free;
    cluster->free = own->next;
    free(own);
  }
  free(cluster->lanes);
  cluster->lanes = NULL;
  cluster->lane_count = 0;
}

#define OWN_SYSTEM(text)                                                                                     \
  {                                                                                                          \
    .name = (text), .kinds = LOAD_BIT(LOAD_KINDS) - 1, .rate = 60000, .start = own_start, .stop = own_stop,  \
    .pids = own_pids, .open = own_open, .submit = own_submit, .close = own_close                             \
  }
const struct bench_system system_assay = OWN_SYSTEM("assay"), system_plain = OWN_SYSTEM("plain");
