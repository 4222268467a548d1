/* uv_peers.c: frames between nodes over TCP.
 *
 * Every node keeps one connection to each other one, on which it only sends; what it hears comes on the
 * connections the others made. A connection begins with a hello (cluster, sender, receiver, and where the
 * sender can be reached); then frames, each behind its size in 4 bytes, little-endian. Frames to a peer that
 * cannot be reached are dropped: Raft sends again what matters.
 *
 * Who is a peer is said by the journal's membership (meet), which begins with the members that were given. A
 * node that is none, and says hello, is answered for as long as it is heard: so a node that knows nobody
 * learns of its cluster from the leader that calls it.
 *
 * Partitions must be noticed and forgotten quickly. Left alone, TCP waits longer after each retransmission
 * and would sit out seconds after the network has healed. So a connection that makes no progress for STALL_MS
 * is ended, an attempt to connect takes CONNECT_MS at most, and another one begins RETRY_MS after the last.
 *
 * With TLS (master/rpc/tls.h), both sides must have a certificate of a master. A connection is up when the
 * handshake is done; what is sent is enciphered once a turn. */
#include <arpa/inet.h>
#include <assert.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "master/uv_peers_internal.h"

enum { STALL_MS = 1000, CONNECT_MS = 400, SHAKE_MS = 1500, RETRY_MS = 150, WATCH_MS = 50 };
/* Who is refused comes again at once. */
#define COMPLAIN_EVERY_NS (10 * NS_PER_S)
/* A stranger that has not been heard for so long is called no more; and how many are known at most. */
#define STRANGER_NS (10 * NS_PER_S)
#define OUTGOING_MAX 256
/* Beyond this much waiting a peer is too far behind: its frames are dropped. */
#define QUEUE_LIMIT (32u << 20)
/* Beyond this much a peer is not "ready" for bulk. */
#define READY_LIMIT (2u << 20)
/* From here on a frame is written at once and not copied first. */
#define DIRECT_SIZE (32u << 10)

enum outgoing_state { OUTGOING_DOWN, OUTGOING_CONNECTING, OUTGOING_SHAKING, OUTGOING_UP };

struct outgoing {
  struct uv_world *world;
  uint64_t id;
  bool member;                     /* else a stranger, or one that was */
  int64_t heard_ns;                /* when it last said hello, or was a member */
  struct sockaddr_storage address; /* family 0: not known */
  enum outgoing_state state;
  uv_tcp_t *tcp; /* a new one for each attempt */
  uv_connect_t connect;
  struct tls_channel *tls; /* NULL: none, or not connected */
  int64_t since_ns;        /* of the state, or of the last progress of the write under way */
  struct bytes queue;      /* frames not handed to libuv yet */
  size_t unwritten;        /* of the write under way, when last looked at */
  uv_write_t *write;       /* under way, NULL: none */
};

/* -- outgoing ------------------------------------------------------------------------------------------- */

static void outgoing_down(struct outgoing *outgoing) {
  if (outgoing->tcp)
    uv_world_close_handle(outgoing->world, (uv_handle_t *)outgoing->tcp, outgoing->tcp);
  outgoing->tcp = NULL;
  outgoing->write = NULL; /* freed by its callback, which comes with an error */
  tls_channel_free(outgoing->tls);
  outgoing->tls = NULL;
  outgoing->state = OUTGOING_DOWN;
  outgoing->since_ns = time_monotonic_ns();
  bytes_clear(&outgoing->queue);
}

struct write_request {
  uv_write_t write;
  struct outgoing *outgoing;
  struct bytes content;
};

static void flush(struct outgoing *outgoing);

static void written(uv_write_t *write, int status) {
  struct write_request *request = CONTAINER_OF(write, struct write_request, write);
  struct outgoing *outgoing = request->outgoing;
  const bool current = outgoing->write == write;
  bytes_free(&request->content);
  free(request);
  if (!current)
    return;
  outgoing->write = NULL;
  if (status != 0)
    outgoing_down(outgoing);
  else
    flush(outgoing);
}

/* Writes what is there: as much as the socket takes now, the rest by way of the loop. */
static void put(struct outgoing *outgoing, struct bytes *output) {
  uv_buf_t buffer = uv_buf_init((char *)output->data, (unsigned)output->size);
  const int taken = uv_try_write((uv_stream_t *)outgoing->tcp, &buffer, 1);
  if (taken < 0 && taken != UV_EAGAIN) {
    outgoing_down(outgoing);
    return;
  }
  if (taken > 0 && (size_t)taken == output->size) {
    bytes_clear(output);
    return;
  }
  struct write_request *request = xcalloc(1, sizeof *request);
  request->outgoing = outgoing;
  request->content = *output;
  *output = (struct bytes){0};
  const size_t done = taken > 0 ? (size_t)taken : 0;
  buffer = uv_buf_init((char *)request->content.data + done, (unsigned)(request->content.size - done));
  outgoing->write = &request->write;
  outgoing->since_ns = time_monotonic_ns();
  if (uv_write(&request->write, (uv_stream_t *)outgoing->tcp, &buffer, 1, written) != 0) {
    bytes_free(&request->content);
    free(request);
    outgoing_down(outgoing);
  }
}

/* Writes what waits. */
static void flush(struct outgoing *outgoing) {
  if (outgoing->state < OUTGOING_SHAKING || outgoing->write)
    return;
  struct bytes *output = tls_outgoing(outgoing->tls, &outgoing->queue);
  if (output->size > 0)
    put(outgoing, output);
}

static size_t waiting(const struct outgoing *outgoing) {
  return outgoing->queue.size +
         (outgoing->write ? uv_stream_get_write_queue_size((uv_stream_t *)outgoing->tcp) : 0);
}

/* Writes the queue and a large frame in one call; what the socket does not take is queued. False: not done.
 */
static bool send_direct(struct outgoing *outgoing, const unsigned char *size_field,
                        const struct iovec *vectors, size_t vector_count) {
  enum { DIRECT_VECTORS = 62 };
  if (outgoing->write || outgoing->tls || vector_count > DIRECT_VECTORS)
    return false;
  uv_buf_t buffers[DIRECT_VECTORS + 2];
  unsigned count = 0;
  if (outgoing->queue.size > 0)
    buffers[count++] = uv_buf_init((char *)outgoing->queue.data, (unsigned)outgoing->queue.size);
  buffers[count++] = uv_buf_init((char *)(uintptr_t)size_field, 4);
  for (size_t i = 0; i < vector_count; i++)
    buffers[count++] = uv_buf_init(vectors[i].iov_base, (unsigned)vectors[i].iov_len);
  int taken = uv_try_write((uv_stream_t *)outgoing->tcp, buffers, count);
  if (taken <= 0)
    return false;
  struct bytes rest = {0};
  for (unsigned i = 0; i < count; i++) {
    const size_t skip = (size_t)taken < buffers[i].len ? (size_t)taken : buffers[i].len;
    bytes_append(&rest, buffers[i].base + skip, buffers[i].len - skip);
    taken -= (int)skip;
  }
  bytes_free(&outgoing->queue);
  outgoing->queue = rest;
  return true;
}

static struct outgoing *find_outgoing(const struct uv_world *world, uint64_t peer) {
  for (size_t i = 0; i < world->outgoing_count; i++)
    if (world->outgoing[i]->id == peer)
      return world->outgoing[i];
  return NULL;
}

static void send_frame(void *context, uint64_t peer, const struct iovec *vectors, size_t vector_count) {
  struct outgoing *outgoing = find_outgoing(context, peer);
  size_t size = 0;
  for (size_t i = 0; i < vector_count; i++)
    size += vectors[i].iov_len;
  assert(size <= FRAME_LIMIT);
  if (!outgoing)
    return;
  const size_t before = waiting(outgoing);
  if (outgoing->state != OUTGOING_UP || (before > 0 && before + size > QUEUE_LIMIT))
    return;
  unsigned char size_field[4];
  le32_store(size_field, (uint32_t)size);
  if (size >= DIRECT_SIZE && send_direct(outgoing, size_field, vectors, vector_count))
    return;
  bytes_reserve(&outgoing->queue, 4 + size);
  bytes_append(&outgoing->queue, size_field, 4);
  for (size_t i = 0; i < vector_count; i++)
    bytes_append(&outgoing->queue, vectors[i].iov_base, vectors[i].iov_len);
}

static bool peer_ready(void *context, uint64_t peer) {
  const struct outgoing *outgoing = find_outgoing(context, peer);
  return outgoing && outgoing->state == OUTGOING_UP && waiting(outgoing) < READY_LIMIT;
}

static void append_hello(struct outgoing *outgoing) {
  struct bytes *queue = &outgoing->queue;
  const size_t begin = queue->size;
  bytes_append_le32(queue, HELLO_SIZE);
  bytes_append_le64(queue, HELLO_MAGIC);
  bytes_append_le64(queue, outgoing->world->cluster);
  bytes_append_le64(queue, outgoing->world->id);
  bytes_append_le64(queue, outgoing->id);
  bytes_append_le64(queue, 0);
  bytes_append(queue, outgoing->world->address, MEMBER_ADDRESS_SIZE);
  bytes_append_le64(queue, checksum(queue->data + begin + 4, HELLO_SIZE - 8));
  assert(queue->size - begin == 4 + HELLO_SIZE);
}

static void call_input(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
  static _Thread_local char heard[4096];
  (void)handle;
  (void)suggested;
  *buffer = uv_buf_init(heard, sizeof heard);
}

/* Of TLS with a node that was called. */
static void complain_of_callee(struct outgoing *outgoing) {
  if (tls_channel_fault(outgoing->tls) == TLS_FAULT_NONE || !peers_may_complain(outgoing->world))
    return;
  char host[64] = "?";
  const struct sockaddr *address = (const struct sockaddr *)&outgoing->address;
  uv_ip_name(address, host, sizeof host);
  log_warn("node %" PRIu64 " at %s port %d %s", outgoing->id, host,
           ntohs(((const struct sockaddr_in *)address)->sin_port) /* at the same place for IPv6 */,
           tls_channel_reason(outgoing->tls));
}

static void up(struct outgoing *outgoing) {
  outgoing->state = OUTGOING_UP;
  outgoing->since_ns = time_monotonic_ns();
  bytes_clear(&outgoing->queue);
  append_hello(outgoing);
}

/* Nothing is ever said on this connection but its end, and what TLS has to say. */
static void outgoing_heard(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer) {
  struct outgoing *outgoing = stream->data;
  struct bytes nothing = {0};
  bool good = size >= 0;
  if (outgoing->tls && size >= 0)
    good = tls_channel_receive(outgoing->tls, buffer->base, (size_t)size, &nothing);
  else if (outgoing->tls)
    tls_channel_cut(outgoing->tls);
  bytes_free(&nothing);
  if (good && outgoing->state == OUTGOING_SHAKING && tls_channel_is_ready(outgoing->tls))
    up(outgoing);
  if (outgoing->tls)
    flush(outgoing);
  if (good || outgoing->state == OUTGOING_DOWN)
    return;
  if (outgoing->tls)
    complain_of_callee(outgoing);
  outgoing_down(outgoing);
}

static void connected(uv_connect_t *connect, int status) {
  uv_stream_t *stream = connect->handle;
  struct outgoing *outgoing = connect->data;
  if (status == UV_ECANCELED || stream != (uv_stream_t *)outgoing->tcp)
    return;
  if (status != 0) {
    outgoing_down(outgoing);
    return;
  }
  int descriptor;
  const int milliseconds = STALL_MS;
  if (uv_fileno((uv_handle_t *)stream, &descriptor) == 0)
    setsockopt(descriptor, IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds, sizeof milliseconds);
  uv_tcp_nodelay(outgoing->tcp, 1);
  if (outgoing->world->tls) {
    outgoing->tls = tls_channel_new(outgoing->world->tls, TLS_DIALS, TLS_MASTER);
    outgoing->state = OUTGOING_SHAKING;
    outgoing->since_ns = time_monotonic_ns();
  } else {
    up(outgoing);
  }
  if (uv_read_start(stream, call_input, outgoing_heard) != 0)
    outgoing_down(outgoing);
}

static void dial(struct outgoing *outgoing) {
  struct uv_world *world = outgoing->world;
  outgoing->tcp = xcalloc(1, sizeof *outgoing->tcp);
  const int status = uv_tcp_init(world->loop, outgoing->tcp);
  assert(status == 0);
  world->handles++;
  outgoing->tcp->data = outgoing;
  uv_connect_t *connect = &outgoing->connect;
  connect->data = outgoing;
  outgoing->state = OUTGOING_CONNECTING;
  outgoing->since_ns = time_monotonic_ns();
  if (uv_tcp_connect(connect, outgoing->tcp, (const struct sockaddr *)&outgoing->address, connected) != 0)
    outgoing_down(outgoing);
}

static void note_progress(struct outgoing *outgoing, int64_t now_ns) {
  const size_t unwritten = outgoing->write ? uv_stream_get_write_queue_size((uv_stream_t *)outgoing->tcp) : 0;
  if (unwritten < outgoing->unwritten)
    outgoing->since_ns = now_ns;
  outgoing->unwritten = unwritten;
}

static void watch_outgoing(struct outgoing *outgoing, int64_t now_ns) {
  note_progress(outgoing, now_ns);
  const int64_t elapsed_ms = (now_ns - outgoing->since_ns) / NS_PER_MS;
  const bool wanted = outgoing->member || now_ns - outgoing->heard_ns < STRANGER_NS;
  if (!wanted && outgoing->state != OUTGOING_DOWN)
    outgoing_down(outgoing);
  else if (outgoing->state == OUTGOING_DOWN && elapsed_ms >= RETRY_MS && wanted &&
           outgoing->address.ss_family != 0)
    dial(outgoing);
  else if (outgoing->state == OUTGOING_CONNECTING && elapsed_ms >= CONNECT_MS)
    outgoing_down(outgoing);
  else if (outgoing->state == OUTGOING_SHAKING && elapsed_ms >= SHAKE_MS)
    outgoing_down(outgoing);
  else if (outgoing->state == OUTGOING_UP && outgoing->write && elapsed_ms >= STALL_MS)
    outgoing_down(outgoing);
}

/* -- who is there -------------------------------------------------------------------------------------- */

static struct outgoing *make_outgoing(struct uv_world *world, uint64_t id) {
  struct outgoing *outgoing = xcalloc(1, sizeof *outgoing);
  *outgoing = (struct outgoing){.world = world, .id = id};
  world->outgoing = xrealloc(world->outgoing, (world->outgoing_count + 1) * sizeof(struct outgoing *));
  world->outgoing[world->outgoing_count++] = outgoing;
  return outgoing;
}

/* The address that its membership, or it itself, says. A connection to another one is ended. */
static void set_address(struct outgoing *outgoing, const struct sockaddr_storage *address) {
  if (memcmp(&outgoing->address, address, sizeof *address) == 0)
    return;
  outgoing->address = *address;
  if (outgoing->state != OUTGOING_DOWN)
    outgoing_down(outgoing);
}

static bool resolve(const char *host, uint16_t port, struct sockaddr_storage *address) {
  *address = (struct sockaddr_storage){0};
  return uv_ip4_addr(host, port, (struct sockaddr_in *)address) == 0 ||
         uv_ip6_addr(host, port, (struct sockaddr_in6 *)address) == 0;
}

static bool resolve_member(const char *text, struct sockaddr_storage *address) {
  struct member_address parts;
  return member_address_parse(text, &parts) && resolve(parts.host, parts.peer_port, address);
}

/* One that is not known yet, or is no member, says where it can be reached. */
void peers_note_caller(struct uv_world *world, uint64_t sender, const char *text) {
  struct outgoing *outgoing = find_outgoing(world, sender);
  struct sockaddr_storage address;
  if (!outgoing && world->outgoing_count < OUTGOING_MAX)
    outgoing = make_outgoing(world, sender);
  if (!outgoing)
    return;
  outgoing->heard_ns = time_monotonic_ns();
  if ((!outgoing->member || outgoing->address.ss_family == 0) && resolve_member(text, &address))
    set_address(outgoing, &address);
}

static void meet(void *context, uint64_t peer, const char *text) {
  struct uv_world *world = context;
  struct outgoing *outgoing = find_outgoing(world, peer);
  struct sockaddr_storage address;
  if (!outgoing && text)
    outgoing = make_outgoing(world, peer);
  if (!outgoing)
    return;
  outgoing->member = text != NULL;
  outgoing->heard_ns = time_monotonic_ns();
  if (text && resolve_member(text, &address))
    set_address(outgoing, &address);
}

bool peers_may_complain(struct uv_world *world) {
  const int64_t now_ns = time_monotonic_ns();
  if (world->complained_ns != 0 && now_ns - world->complained_ns < COMPLAIN_EVERY_NS)
    return false;
  world->complained_ns = now_ns;
  return true;
}

/* -- all together --------------------------------------------------------------------------------------- */

static void watch(uv_timer_t *timer) {
  struct uv_world *world = timer->data;
  const int64_t now_ns = time_monotonic_ns();
  for (size_t i = 0; i < world->outgoing_count; i++)
    watch_outgoing(world->outgoing[i], now_ns);
  peers_watch_incoming(world, now_ns);
}

void uv_peers_flush(struct uv_world *world) {
  for (size_t i = 0; i < world->outgoing_count; i++)
    flush(world->outgoing[i]);
}

static void receive(void *context,
                    void (*frame_received)(void *owner, uint64_t peer, const void *frame, size_t size),
                    void *owner) {
  struct uv_world *world = context;
  world->frame_received = frame_received;
  world->receiver = owner;
}

void uv_peers_functions(struct world *door) {
  door->send = send_frame;
  door->meet = meet;
  door->peer_ready = peer_ready;
  door->receive = receive;
}

static int parse_address(const struct uv_world_member *member, struct sockaddr_storage *address,
                         struct error *error) {
  if (resolve(member->host, member->port, address))
    return 0;
  return error_set(error, ERR_BAD_INPUT, "'%s', the host of member %" PRIu64 ", is not a numeric address",
                   member->host, member->id);
}

int uv_peers_open(struct uv_world *world, const struct uv_world_options *options, struct error *error) {
  uv_timer_init(world->loop, &world->watch);
  world->watch.data = world;
  world->handles++;
  if (options->address)
    snprintf(world->address, sizeof world->address, "%s", options->address);
  bool listening = false;
  for (size_t i = 0; i < options->member_count; i++) {
    const struct uv_world_member *member = &options->members[i];
    struct sockaddr_storage address;
    int status = parse_address(member, &address, error);
    if (status == 0 && member->id == options->id) {
      status = peers_listen(world, member, &address, error);
      listening = true;
    }
    if (status != 0)
      return status;
    if (member->id != options->id) {
      struct outgoing *outgoing = make_outgoing(world, member->id);
      outgoing->member = true;
      outgoing->address = address;
    }
  }
  if (!listening)
    return error_set(error, ERR_BAD_INPUT, "node %" PRIu64 " is not among the members", options->id);
  watch(&world->watch);
  uv_timer_start(&world->watch, watch, WATCH_MS, WATCH_MS);
  return 0;
}

void uv_peers_close(struct uv_world *world) {
  if (!world->watch.data)
    return;
  for (size_t i = 0; i < world->outgoing_count; i++)
    outgoing_down(world->outgoing[i]);
  peers_close_incoming(world);
  uv_world_close_handle(world, (uv_handle_t *)&world->watch, NULL);
  if (world->listener.data)
    uv_world_close_handle(world, (uv_handle_t *)&world->listener, NULL);
}

void uv_peers_free(struct uv_world *world) {
  for (size_t i = 0; i < world->outgoing_count; i++) {
    bytes_free(&world->outgoing[i]->queue);
    free(world->outgoing[i]);
  }
  free(world->outgoing);
}
