/* etcd.c: etcd beside ours: Debian's package, its own defaults, a node a process, and clients that speak gRPC
 * (grpc.h). Its JSON gateway would be simpler and several times slower: it would flatter us.
 *
 * All connections go to the leader, which spares etcd the way over another node, and ours ends at the
 * primary, too. A creation is a put of a key that is new; it does not look whether the key is there, as ours
 * does. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "etcd.pb-c.h"
#include "harness/bench/grpc.h"
#include "harness/bench/peer.h"
#include "harness/bench/wire.h"

/* A call under way: what its answer goes to. */
struct etcd_call {
  struct system_cluster *cluster;
  enum load_kind kind;
  system_done *done;
  void *context;
  struct etcd_call *next; /* of those that are free */
};

struct system_cluster {
  struct peer peer;
  int client_ports[CLUSTER_NODES_MAX];
  char authority[32];
  struct wires *wires;
  struct grpc **lanes;
  size_t lane_count, connected;
  struct etcd_call *free;
  void (*lost)(void *context, const char *why);
  void *context;
  const char *lost_why; /* while connecting */
};

/* ---- the nodes ---- */

static int start_nodes(struct system_cluster *cluster, char *program, struct error *error) {
  const size_t nodes = cluster->peer.options->nodes;
  struct bytes members = {0};
  int peer_ports[CLUSTER_NODES_MAX], status = 0;
  for (size_t i = 0; status == 0 && i < nodes; i++) {
    status = peer_port(&cluster->peer, &cluster->client_ports[i], error);
    if (status == 0)
      status = peer_port(&cluster->peer, &peer_ports[i], error);
    if (status == 0)
      bytes_append_format(&members, "%sn%zu=http://127.0.0.1:%d", i > 0 ? "," : "", i + 1, peer_ports[i]);
  }
  bytes_append_u8(&members, 0);
  for (size_t i = 0; status == 0 && i < nodes; i++) {
    char name[32], data[4200], peer_url[64], client_url[64];
    snprintf(name, sizeof name, "n%zu", i + 1);
    snprintf(data, sizeof data, "%s/%s", cluster->peer.options->directory, name);
    snprintf(peer_url, sizeof peer_url, "http://127.0.0.1:%d", peer_ports[i]);
    snprintf(client_url, sizeof client_url, "http://127.0.0.1:%d", cluster->client_ports[i]);
    /* Errors only: etcd warns of every request that takes 100 ms, and would be slowed down by it. */
    char *argv[] = {program,
                    "--name",
                    name,
                    "--data-dir",
                    data,
                    "--listen-peer-urls",
                    peer_url,
                    "--initial-advertise-peer-urls",
                    peer_url,
                    "--listen-client-urls",
                    client_url,
                    "--advertise-client-urls",
                    client_url,
                    "--initial-cluster",
                    (char *)members.data,
                    "--logger=zap",
                    "--log-level=error",
                    "--log-outputs=stderr",
                    NULL};
    status = peer_start(&cluster->peer, argv, error);
  }
  bytes_free(&members);
  return status;
}

static bool find_leader(void *context, size_t *leader) {
  struct system_cluster *cluster = context;
  struct bytes answer = {0};
  size_t leaders = 0, led = 0;
  for (size_t i = 0; i < cluster->peer.options->nodes; i++) {
    if (!peer_ask(cluster->client_ports[i], "GET /metrics HTTP/1.0\r\n\r\n", &answer))
      continue;
    const char *said = (const char *)answer.data;
    if (strstr(said, "\netcd_server_is_leader 1\n")) {
      *leader = i;
      leaders++;
    }
    led += strstr(said, "\netcd_server_has_leader 1\n") != NULL;
  }
  bytes_free(&answer);
  return leaders == 1 && led == cluster->peer.options->nodes;
}

static void etcd_stop(struct system_cluster *cluster) {
  peer_end(&cluster->peer);
  free(cluster);
}

static int etcd_start(const struct system_options *options, struct system_cluster **result,
                      struct error *error) {
  char *program = peer_find_program("etcd", "etcd", error);
  if (!program)
    return ERR_UNSUPPORTED;
  struct system_cluster *cluster = xcalloc(1, sizeof *cluster);
  size_t leader;
  peer_init(&cluster->peer, "etcd", options);
  int status = start_nodes(cluster, program, error);
  if (status == 0)
    status = peer_await(&cluster->peer, find_leader, cluster, &leader, error);
  free(program);
  if (status != 0)
    etcd_stop(cluster);
  else
    *result = cluster;
  return status;
}

static size_t etcd_pids(const struct system_cluster *cluster, pid_t pids[CLUSTER_NODES_MAX]) {
  return peer_pids(&cluster->peer, pids);
}

/* ---- connections ---- */

static void on_connected(void *context, size_t index) {
  struct system_cluster *cluster = context;
  (void)index;
  cluster->connected++;
}

static void on_lost(void *context, const char *why) {
  struct system_cluster *cluster = context;
  cluster->lost_why = why;
  if (cluster->connected == cluster->lane_count)
    cluster->lost(cluster->context, why);
}

static const char *on_received(void *context, size_t index, const void *data, size_t size) {
  struct system_cluster *cluster = context;
  wire_output(cluster->wires, index); /* settings and windows want an answer, too */
  return grpc_receive(cluster->lanes[index], data, size);
}

static void on_gather(void *context, size_t index, struct bytes *out) {
  struct system_cluster *cluster = context;
  grpc_gather(cluster->lanes[index], out);
}

static const struct wire_handler handler = {
    .connected = on_connected, .received = on_received, .gather = on_gather, .lost = on_lost};

static int etcd_open(struct system_cluster *cluster, size_t lanes,
                     void (*lost)(void *context, const char *why), void *context, struct error *error) {
  size_t leader;
  int status = peer_await(&cluster->peer, find_leader, cluster, &leader, error);
  if (status != 0)
    return status;
  snprintf(cluster->authority, sizeof cluster->authority, "127.0.0.1:%d", cluster->client_ports[leader]);
  cluster->lanes = xcalloc(lanes, sizeof *cluster->lanes);
  cluster->lane_count = lanes;
  cluster->connected = 0;
  cluster->lost = lost;
  cluster->context = context;
  cluster->lost_why = NULL;
  for (size_t i = 0; i < lanes; i++)
    cluster->lanes[i] = grpc_new(cluster->authority);
  cluster->wires =
      wires_open(cluster->peer.options->loop, cluster->client_ports[leader], lanes, &handler, cluster);
  const int64_t until_ns = time_monotonic_ns() + SYSTEM_CONNECT_WITHIN_NS;
  while (cluster->connected < lanes && !cluster->lost_why && !*cluster->peer.options->interrupted &&
         time_monotonic_ns() < until_ns)
    uv_run(cluster->peer.options->loop, UV_RUN_ONCE);
  if (cluster->connected < lanes)
    return error_set(error, ERR_UNAVAILABLE, "etcd: only %zu of %zu connections came about: %s",
                     cluster->connected, lanes, cluster->lost_why ? cluster->lost_why : "it took too long");
  return 0;
}

static const char *range_error(const unsigned char *message, size_t size) {
  Etcdserverpb__RangeResponse *response = etcdserverpb__range_response__unpack(NULL, size, message);
  const char *error = !response ? "an answer that is none" : response->n_kvs == 0 ? "not-found" : NULL;
  if (response)
    etcdserverpb__range_response__free_unpacked(response, NULL);
  return error;
}

static const char *delete_error(const unsigned char *message, size_t size) {
  Etcdserverpb__DeleteRangeResponse *response =
      etcdserverpb__delete_range_response__unpack(NULL, size, message);
  const char *error = !response ? "an answer that is none" : response->deleted != 1 ? "not-found" : NULL;
  if (response)
    etcdserverpb__delete_range_response__free_unpacked(response, NULL);
  return error;
}

static void on_called(void *context, int status, const unsigned char *message, size_t size) {
  struct etcd_call *call = context;
  const char *error = grpc_status_name(status);
  if (!error && (call->kind == LOAD_STAT || call->kind == LOAD_LIST))
    error = range_error(message, size);
  else if (!error && call->kind == LOAD_DELETE)
    error = delete_error(message, size);
  system_done *done = call->done;
  void *its_context = call->context;
  call->next = call->cluster->free;
  call->cluster->free = call;
  done(its_context, error);
}

static ProtobufCBinaryData data_of(const char *text) {
  return (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
}

static void pack(struct bytes *out, const ProtobufCMessage *message) {
  const size_t size = protobuf_c_message_get_packed_size(message);
  unsigned char *at = bytes_reserve(out, GRPC_PREFIX + size);
  protobuf_c_message_pack(message, at + GRPC_PREFIX);
  out->size = GRPC_PREFIX + size;
}

static const char *encode(const struct system_request *request, struct bytes *out) {
  Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
  Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
  Etcdserverpb__DeleteRangeRequest removal = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
  char from[130], to[130];
  switch (request->kind) {
  case LOAD_STAT:
    range.key = data_of(request->path);
    pack(out, &range.base);
    return "/etcdserverpb.KV/Range";
  case LOAD_LIST: /* of all names from "path/" to before "path0", the byte behind '/' */
    snprintf(from, sizeof from, "%s/", request->path);
    snprintf(to, sizeof to, "%s0", request->path);
    range.key = data_of(from);
    range.range_end = data_of(to);
    range.keys_only = true;
    pack(out, &range.base);
    return "/etcdserverpb.KV/Range";
  case LOAD_DELETE:
    removal.key = data_of(request->path);
    pack(out, &removal.base);
    return "/etcdserverpb.KV/DeleteRange";
  default:
    assert(request->kind == LOAD_CREATE || request->kind == LOAD_SET);
    put.key = data_of(request->path);
    if (request->kind == LOAD_SET)
      put.value = data_of(request->value);
    pack(out, &put.base);
    return "/etcdserverpb.KV/Put";
  }
}

static void etcd_submit(struct system_cluster *cluster, size_t index, const struct system_request *request,
                        system_done *done, void *context) {
  struct etcd_call *call = cluster->free;
  struct bytes message = {0};
  if (call)
    cluster->free = call->next;
  else
    call = xmalloc(sizeof *call);
  *call = (struct etcd_call){.cluster = cluster, .kind = request->kind, .done = done, .context = context};
  const char *method = encode(request, &message);
  grpc_call(cluster->lanes[index], method, &message, on_called, call);
  wire_output(cluster->wires, index);
}

static void etcd_close(struct system_cluster *cluster) {
  wires_close(cluster->wires);
  cluster->wires = NULL;
  for (size_t i = 0; i < cluster->lane_count; i++)
    grpc_free(cluster->lanes[i]);
  while (cluster->free) {
    struct etcd_call *call = cluster->free;
    cluster->free = call->next;
    free(call);
  }
  free(cluster->lanes);
  cluster->lanes = NULL;
  cluster->lane_count = 0;
}

const struct bench_system system_etcd = {.name = "etcd",
                                         .kinds = LOAD_BIT(LOAD_CREATE) | LOAD_BIT(LOAD_STAT) |
                                                  LOAD_BIT(LOAD_LIST) | LOAD_BIT(LOAD_DELETE) |
                                                  LOAD_BIT(LOAD_SET) | LOAD_BIT(LOAD_MIXED),
                                         .rate = 20000,
                                         .start = etcd_start,
                                         .stop = etcd_stop,
                                         .pids = etcd_pids,
                                         .open = etcd_open,
                                         .submit = etcd_submit,
                                         .close = etcd_close};
