/* zookeeper.c: ZooKeeper beside ours: Debian's package, the settings it ships, a node a process, and clients
 * that speak its protocol (jute.h).
 *
 * All connections go to the leader, which spares ZooKeeper the way over another node, and ours ends at the
 * primary, too. Its sync asks no majority whether the leader still leads, so what it reads is a little less
 * than linearizable: to its advantage. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/bench/jute.h"
#include "harness/bench/peer.h"
#include "harness/bench/wire.h"

#define SERVER_JAR "/usr/share/java/zookeeper.jar"
#define LOGGER_JAR "/usr/share/java/slf4j-simple.jar"
#define SESSION_TIMEOUT_MS 30000
#define PING_EVERY_MS 5000
/* A stat is two requests, a first creation three: more are never outstanding on a connection. */
#define RING_SIZE (4 * OUTSTANDING_MAX)

struct expected {
  int32_t xid;
  bool counts_children;
  system_done *done; /* NULL: of a request that goes ahead of another, which tells its error */
  void *context;
};

struct zk_lane {
  struct bytes in;
  struct expected ring[RING_SIZE]; /* answers come in the order of the requests */
  size_t first, count;
  int32_t xid;
  const char *earlier_error; /* of a request that went ahead */
  bool connected;
};

struct system_cluster {
  struct peer peer;
  int client_ports[CLUSTER_NODES_MAX];
  struct wires *wires;
  struct zk_lane *lanes;
  size_t lane_count, connected;
  void (*lost)(void *context, const char *why);
  void *context;
  const char *lost_why; /* while connecting */
  uv_timer_t pings;
  bool pinging;
};

/* ---- the nodes ---- */

static int write_text(const char *path, const struct bytes *text, struct error *error) {
  FILE *file = fopen(path, "we");
  if (!file)
    return error_set_errno(error, ERR_IO, "cannot make %s", path);
  const bool whole = fwrite(text->data, 1, text->size, file) == text->size;
  if (fclose(file) != 0 || !whole)
    return error_set_errno(error, ERR_IO, "cannot write %s", path);
  return 0;
}

struct ports {
  int quorum, election;
};

/* <directory>/<node>/: myid and zoo.cfg. What is set differs from the package's zoo.cfg in that more than 60
 * clients may come from one address. */
static int configure(struct system_cluster *cluster, size_t node, const struct ports *ports,
                     struct error *error) {
  const struct system_options *options = cluster->peer.options;
  char directory[4096], path[4200];
  struct bytes text = {0};
  snprintf(directory, sizeof directory, "%s/%zu", options->directory, node + 1);
  int status = directory_make(directory, error);
  bytes_append_format(&text, "%zu\n", node + 1);
  snprintf(path, sizeof path, "%s/myid", directory);
  if (status == 0)
    status = write_text(path, &text, error);
  bytes_clear(&text);
  bytes_append_format(&text,
                      "tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir=%s\nclientPort=%d\n"
                      "clientPortAddress=127.0.0.1\nmaxClientCnxns=0\n",
                      directory, cluster->client_ports[node]);
  for (size_t i = 0; i < options->nodes; i++)
    bytes_append_format(&text, "server.%zu=127.0.0.1:%d:%d\n", i + 1, ports[i].quorum, ports[i].election);
  snprintf(path, sizeof path, "%s/zoo.cfg", directory);
  if (status == 0)
    status = write_text(path, &text, error);
  bytes_free(&text);
  return status;
}

static int start_nodes(struct system_cluster *cluster, char *java, struct error *error) {
  const size_t nodes = cluster->peer.options->nodes;
  struct ports ports[CLUSTER_NODES_MAX];
  char class_path[] = SERVER_JAR ":" LOGGER_JAR;
  int status = 0;
  for (size_t i = 0; status == 0 && i < nodes; i++) {
    status = peer_port(&cluster->peer, &cluster->client_ports[i], error);
    if (status == 0)
      status = peer_port(&cluster->peer, &ports[i].quorum, error);
    if (status == 0)
      status = peer_port(&cluster->peer, &ports[i].election, error);
  }
  for (size_t i = 0; status == 0 && i < nodes; i++) {
    char config[4200];
    snprintf(config, sizeof config, "%s/%zu/zoo.cfg", cluster->peer.options->directory, i + 1);
    /* The heap is that of the package's zkServer.sh upstream; the administration server would want a port. */
    char *argv[] = {java,
                    "-Xmx1000m",
                    "-XX:-UsePerfData",
                    "-Dzookeeper.admin.enableServer=false",
                    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                    "-cp",
                    class_path,
                    "org.apache.zookeeper.server.quorum.QuorumPeerMain",
                    config,
                    NULL};
    status = configure(cluster, i, ports, error);
    if (status == 0)
      status = peer_start(&cluster->peer, argv, error);
  }
  return status;
}

static bool find_leader(void *context, size_t *leader) {
  struct system_cluster *cluster = context;
  struct bytes answer = {0};
  size_t leaders = 0, followers = 0;
  for (size_t i = 0; i < cluster->peer.options->nodes; i++) {
    if (!peer_ask(cluster->client_ports[i], "srvr", &answer))
      continue;
    const char *said = (const char *)answer.data;
    if (strstr(said, "\nMode: leader") || strstr(said, "\nMode: standalone")) {
      *leader = i;
      leaders++;
    }
    followers += strstr(said, "\nMode: follower") != NULL;
  }
  bytes_free(&answer);
  return leaders == 1 && leaders + followers == cluster->peer.options->nodes;
}

static void zk_stop(struct system_cluster *cluster) {
  peer_end(&cluster->peer);
  free(cluster);
}

static int zk_start(const struct system_options *options, struct system_cluster **result,
                    struct error *error) {
  if (access(SERVER_JAR, R_OK) != 0)
    return error_set(error, ERR_UNSUPPORTED,
                     "--peers: zookeeper needs %s, which is not there: run ci/setup peers", SERVER_JAR);
  char *java = peer_find_program("zookeeper", "java", error);
  if (!java)
    return ERR_UNSUPPORTED;
  struct system_cluster *cluster = xcalloc(1, sizeof *cluster);
  size_t leader;
  peer_init(&cluster->peer, "zookeeper", options);
  int status = start_nodes(cluster, java, error);
  if (status == 0)
    status = peer_await(&cluster->peer, find_leader, cluster, &leader, error);
  free(java);
  if (status != 0)
    zk_stop(cluster);
  else
    *result = cluster;
  return status;
}

static size_t zk_pids(const struct system_cluster *cluster, pid_t pids[CLUSTER_NODES_MAX]) {
  return peer_pids(&cluster->peer, pids);
}

/* ---- connections ---- */

static void on_connected(void *context, size_t index) {
  struct system_cluster *cluster = context;
  jute_connect(wire_output(cluster->wires, index), SESSION_TIMEOUT_MS);
}

static void on_lost(void *context, const char *why) {
  struct system_cluster *cluster = context;
  cluster->lost_why = why;
  if (cluster->connected == cluster->lane_count)
    cluster->lost(cluster->context, why);
}

static const char *take_answer(struct zk_lane *lane, const unsigned char *frame, size_t size) {
  struct jute_answer answer;
  if (!jute_answer(frame, size, &answer))
    return "an answer that is none";
  if (answer.xid == JUTE_XID_PING || answer.xid == JUTE_XID_EVENT)
    return NULL;
  if (lane->count == 0 || lane->ring[lane->first].xid != answer.xid)
    return "an answer out of order";
  const struct expected expected = lane->ring[lane->first];
  lane->first = (lane->first + 1) % RING_SIZE;
  lane->count--;
  const char *error = jute_error_name(answer.error);
  if (!error && expected.counts_children && jute_children_count(frame, size) < 0)
    error = "a listing that is none";
  if (!expected.done) {
    lane->earlier_error = error;
    return NULL;
  }
  if (!error)
    error = lane->earlier_error;
  lane->earlier_error = NULL;
  expected.done(expected.context, error);
  return NULL;
}

static const char *on_received(void *context, size_t index, const void *data, size_t size) {
  struct system_cluster *cluster = context;
  struct zk_lane *lane = &cluster->lanes[index];
  const char *why = NULL;
  size_t used = 0, frame;
  bytes_append(&lane->in, data, size);
  while (!why && (frame = jute_frame(lane->in.data + used, lane->in.size - used)) != 0) {
    const unsigned char *at = lane->in.data + used;
    if (frame == SIZE_MAX)
      return "an answer that is too long";
    used += frame;
    if (lane->connected) {
      why = take_answer(lane, at, frame);
    } else if (!jute_connected(at, frame)) {
      why = "the session was refused";
    } else {
      lane->connected = true;
      cluster->connected++;
    }
  }
  bytes_consume(&lane->in, used);
  return why;
}

static const struct wire_handler handler = {
    .connected = on_connected, .received = on_received, .lost = on_lost};

/* Sessions that say nothing for long expire. */
static void on_ping(uv_timer_t *timer) {
  struct system_cluster *cluster = timer->data;
  for (size_t i = 0; i < cluster->lane_count; i++)
    if (cluster->lanes[i].connected)
      jute_ping(wire_output(cluster->wires, i));
}

static int zk_open(struct system_cluster *cluster, size_t lanes, void (*lost)(void *context, const char *why),
                   void *context, struct error *error) {
  size_t leader;
  int status = peer_await(&cluster->peer, find_leader, cluster, &leader, error);
  if (status != 0)
    return status;
  cluster->lanes = xcalloc(lanes, sizeof *cluster->lanes);
  cluster->lane_count = lanes;
  cluster->connected = 0;
  cluster->lost = lost;
  cluster->context = context;
  cluster->lost_why = NULL;
  cluster->wires =
      wires_open(cluster->peer.options->loop, cluster->client_ports[leader], lanes, &handler, cluster);
  uv_timer_init(cluster->peer.options->loop, &cluster->pings);
  cluster->pings.data = cluster;
  cluster->pinging = true;
  uv_timer_start(&cluster->pings, on_ping, PING_EVERY_MS, PING_EVERY_MS);
  const int64_t until_ns = time_monotonic_ns() + SYSTEM_CONNECT_WITHIN_NS;
  while (cluster->connected < lanes && !cluster->lost_why && !*cluster->peer.options->interrupted &&
         time_monotonic_ns() < until_ns)
    uv_run(cluster->peer.options->loop, UV_RUN_ONCE);
  if (cluster->connected < lanes)
    return error_set(error, ERR_UNAVAILABLE, "zookeeper: only %zu of %zu connections came about: %s",
                     cluster->connected, lanes, cluster->lost_why ? cluster->lost_why : "it took too long");
  return 0;
}

static void expect(struct zk_lane *lane, system_done *done, void *context, bool counts_children) {
  assert(lane->count < RING_SIZE);
  lane->ring[(lane->first + lane->count++) % RING_SIZE] = (struct expected){
      .xid = lane->xid, .counts_children = counts_children, .done = done, .context = context};
}

/* The next request number: 1 to 2^31 - 1, then again. */
static int32_t next_xid(struct zk_lane *lane) {
  lane->xid = lane->xid == INT32_MAX ? 1 : lane->xid + 1;
  return lane->xid;
}

/* The directories above a file: "/3-0", then "/3-0/0". That one is there is no error. */
static void ignore(void *context, const char *error) {
  (void)context;
  (void)error;
}

static void make_directories(struct zk_lane *lane, struct bytes *out, const char *path) {
  for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
    char directory[128];
    snprintf(directory, sizeof directory, "%.*s", (int)(slash - path), path);
    jute_create(out, next_xid(lane), directory);
    expect(lane, ignore, NULL, false);
  }
}

static void zk_submit(struct system_cluster *cluster, size_t index, const struct system_request *request,
                      system_done *done, void *context) {
  struct zk_lane *lane = &cluster->lanes[index];
  struct bytes *out = wire_output(cluster->wires, index);
  const char *path = request->path;
  if (request->kind == LOAD_STAT || request->kind == LOAD_LIST) {
    jute_sync(out, next_xid(lane), path);
    expect(lane, NULL, NULL, false);
  }
  if (request->new_directory)
    make_directories(lane, out, path);
  const int32_t xid = next_xid(lane);
  switch (request->kind) {
  case LOAD_CREATE:
    jute_create(out, xid, path);
    break;
  case LOAD_STAT:
    jute_get(out, xid, path);
    break;
  case LOAD_LIST:
    jute_children(out, xid, path);
    break;
  case LOAD_DELETE:
    jute_delete(out, xid, path);
    break;
  default:
    assert(request->kind == LOAD_SET);
    jute_set(out, xid, path, request->value);
  }
  expect(lane, done, context, request->kind == LOAD_LIST);
}

static void on_pings_closed(uv_handle_t *timer) {
  ((struct system_cluster *)timer->data)->pinging = false;
}

static void zk_close(struct system_cluster *cluster) {
  if (cluster->pinging)
    uv_close((uv_handle_t *)&cluster->pings, on_pings_closed);
  wires_close(cluster->wires);
  cluster->wires = NULL;
  while (cluster->pinging)
    uv_run(cluster->peer.options->loop, UV_RUN_ONCE);
  for (size_t i = 0; i < cluster->lane_count; i++)
    bytes_free(&cluster->lanes[i].in);
  free(cluster->lanes);
  cluster->lanes = NULL;
  cluster->lane_count = 0;
}

const struct bench_system system_zookeeper = {.name = "zookeeper",
                                              .kinds = LOAD_BIT(LOAD_CREATE) | LOAD_BIT(LOAD_STAT) |
                                                       LOAD_BIT(LOAD_LIST) | LOAD_BIT(LOAD_DELETE) |
                                                       LOAD_BIT(LOAD_SET) | LOAD_BIT(LOAD_MIXED),
                                              .rate = 30000,
                                              .start = zk_start,
                                              .stop = zk_stop,
                                              .pids = zk_pids,
                                              .open = zk_open,
                                              .submit = zk_submit,
                                              .close = zk_close};
