/* uv_incoming.c: what other nodes say to this one, on the connections that they made (uv_peers.c). */
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "master/uv_peers_internal.h"

#define GREET_MS 10000
#define READ_SIZE (256u << 10)

struct incoming {
  struct incoming *next;
  struct uv_world *world;
  uv_tcp_t tcp;
  struct tls_channel *tls; /* NULL: none */
  int64_t since_ns;
  uint64_t peer; /* 0 before its hello */
  struct bytes received;
  bool deaf; /* it is refused: it is told, and closes */
  bool closing;
};

static void incoming_close(struct incoming *incoming) {
  if (incoming->closing)
    return;
  incoming->closing = true;
  struct incoming **at = &incoming->world->incoming;
  while (*at != incoming)
    at = &(*at)->next;
  *at = incoming->next;
  bytes_free(&incoming->received);
  tls_channel_free(incoming->tls);
  uv_world_close_handle(incoming->world, (uv_handle_t *)&incoming->tcp, incoming);
}

/* The connection a peer had before is dead, or it would not have made a new one. */
static void replace_older(struct incoming *incoming) {
  struct incoming *next;
  for (struct incoming *other = incoming->world->incoming; other; other = next) {
    next = other->next;
    if (other != incoming && other->peer == incoming->peer)
      incoming_close(other);
  }
}

/* Of a connection that begins with something else than our hello: `start` has the first 12 bytes that came.
 */
static void complain_of_stranger(struct uv_world *world, const unsigned char *start) {
  const uint64_t magic = le64_load(start + 4);
  if (!peers_may_complain(world))
    return;
  if ((magic & (UINT64_MAX >> 16)) == HELLO_WORD && magic != HELLO_MAGIC)
    log_warn("a node that speaks version %" PRIu64
             " of the protocol of peers is refused, this one speaks version "
             "%" PRIu64 ": let all nodes run programs that understand each other",
             magic >> 48, HELLO_VERSION);
  else if (tls_is_spoken(start, 2))
    log_warn(
        "a node that speaks TLS is refused, this one has none: give all nodes --tls-certificate, --tls-key "
        "and --tls-authority, or none");
  else
    log_warn("a connection to the peer port does not speak our language and is closed");
}

static bool take_hello(struct incoming *incoming, const unsigned char *at, size_t size) {
  struct uv_world *world = incoming->world;
  if (size != HELLO_SIZE || le64_load(at) != HELLO_MAGIC ||
      le64_load(at + HELLO_SIZE - 8) != checksum(at, HELLO_SIZE - 8)) {
    complain_of_stranger(world, at - 4);
    return false;
  }
  const uint64_t cluster = le64_load(at + 8), sender = le64_load(at + 16), receiver = le64_load(at + 24);
  if (cluster != world->cluster || receiver != world->id || sender == world->id || sender == 0) {
    if (peers_may_complain(world))
      log_warn("node %" PRIu64 " of cluster %" PRIu64 " took this for its node %" PRIu64
               "; this is node %" PRIu64 " of cluster %" PRIu64 ": check --member and --cluster-id",
               sender, cluster, receiver, world->id, world->cluster);
    return false;
  }
  char address[MEMBER_ADDRESS_SIZE + 1] = {0};
  memcpy(address, at + 40, MEMBER_ADDRESS_SIZE);
  incoming->peer = sender;
  replace_older(incoming);
  peers_note_caller(world, sender, address);
  return true;
}

/* Takes whole frames out of what was received. False: the connection is to be closed. */
static bool take_frames(struct incoming *incoming) {
  struct uv_world *world = incoming->world;
  size_t at = 0;
  while (!incoming->closing && incoming->received.size - at >= 4) {
    const uint32_t size = le32_load(incoming->received.data + at);
    if (size > FRAME_LIMIT || (incoming->peer == 0 && size != HELLO_SIZE)) {
      unsigned char start[12] = {0};
      const size_t known = incoming->received.size - at;
      memcpy(start, incoming->received.data + at, known < sizeof start ? known : sizeof start);
      complain_of_stranger(world, start);
      return false;
    }
    if (incoming->received.size - at - 4 < size)
      break;
    const unsigned char *frame = incoming->received.data + at + 4;
    at += 4 + size;
    if (incoming->peer == 0) {
      if (!take_hello(incoming, frame, size))
        return false;
    } else if (world->frame_received) {
      world->frame_received(world->receiver, incoming->peer, frame, size);
    }
  }
  if (!incoming->closing)
    bytes_consume(&incoming->received, at);
  return true;
}

static void incoming_name(const struct incoming *incoming, char *text, size_t size) {
  struct sockaddr_storage address;
  int length = sizeof address;
  char host[64] = "?";
  if (uv_tcp_getpeername(&incoming->tcp, (struct sockaddr *)&address, &length) == 0)
    uv_ip_name((const struct sockaddr *)&address, host, sizeof host);
  snprintf(text, size, "a node at %s", host);
}

/* All that is ever written on this connection: small, and at the beginning, when there is room. */
static bool answer_handshake(struct incoming *incoming) {
  struct bytes nothing = {0}, *output = tls_channel_seal(incoming->tls, &nothing);
  if (output->size == 0)
    return true;
  uv_buf_t buffer = uv_buf_init((char *)output->data, (unsigned)output->size);
  const bool whole = uv_try_write((uv_stream_t *)&incoming->tcp, &buffer, 1) == (int)output->size;
  bytes_clear(output);
  return whole;
}

/* False: the connection is to be closed. */
static bool take_sealed(struct incoming *incoming, const void *data, size_t size) {
  const bool good = tls_channel_receive(incoming->tls, data, size, &incoming->received);
  if (!answer_handshake(incoming) || !take_frames(incoming))
    return false;
  if (good || incoming->closing)
    return true;
  if (tls_channel_fault(incoming->tls) == TLS_FAULT_NONE || incoming->peer != 0)
    return false;
  incoming->deaf = true; /* closed too soon, it would not hear why */
  if (peers_may_complain(incoming->world)) {
    char name[96];
    incoming_name(incoming, name, sizeof name);
    log_warn("%s is refused: it %s", name, tls_channel_reason(incoming->tls));
  }
  return tls_channel_fault(incoming->tls) != TLS_FAULT_PLAIN;
}

static void make_sealed_buffer(uv_buf_t *buffer) {
  static _Thread_local char sealed[READ_SIZE];
  *buffer = uv_buf_init(sealed, sizeof sealed);
}

static void make_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
  struct incoming *incoming = CONTAINER_OF(handle, struct incoming, tcp);
  (void)suggested;
  if (incoming->tls)
    make_sealed_buffer(buffer);
  else
    *buffer = uv_buf_init((char *)bytes_reserve(&incoming->received, READ_SIZE), READ_SIZE);
}

static void incoming_heard(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer) {
  struct incoming *incoming = CONTAINER_OF(stream, struct incoming, tcp);
  bool good = size >= 0;
  if (size < 0 && incoming->tls)
    tls_channel_cut(incoming->tls);
  if (size > 0 && incoming->tls && !incoming->deaf)
    good = take_sealed(incoming, buffer->base, (size_t)size);
  else if (size > 0 && !incoming->tls) {
    incoming->received.size += (size_t)size;
    good = take_frames(incoming);
  }
  if (!good)
    incoming_close(incoming);
}

static void incoming_asked(uv_stream_t *listener, int status) {
  struct uv_world *world = listener->data;
  if (status != 0) {
    log_warn("a peer's connection could not be accepted: %s", uv_strerror(status));
    return;
  }
  struct incoming *incoming = xcalloc(1, sizeof *incoming);
  incoming->world = world;
  uv_tcp_init(world->loop, &incoming->tcp);
  world->handles++;
  incoming->next = world->incoming;
  world->incoming = incoming;
  incoming->since_ns = time_monotonic_ns();
  if (world->tls)
    incoming->tls = tls_channel_new(world->tls, TLS_ACCEPTS, TLS_MASTER);
  /* A peer that vanished without a word is noticed by its next connection, or by this. */
  uv_tcp_keepalive(&incoming->tcp, 1, 10);
  if (uv_accept(listener, (uv_stream_t *)&incoming->tcp) != 0 ||
      uv_read_start((uv_stream_t *)&incoming->tcp, make_buffer, incoming_heard) != 0)
    incoming_close(incoming);
}

int peers_listen(struct uv_world *world, const struct uv_world_member *member,
                 const struct sockaddr_storage *address, struct error *error) {
  uv_tcp_init(world->loop, &world->listener);
  world->listener.data = world;
  world->handles++;
  int status = uv_tcp_bind(&world->listener, (const struct sockaddr *)address, 0);
  if (status == 0)
    status = uv_listen((uv_stream_t *)&world->listener, 64, incoming_asked);
  if (status == 0)
    return 0;
  return error_set(
      error, ERR_IO, "cannot listen for peers on %s port %u: %s%s", member->host, member->port,
      uv_strerror(status),
      status == UV_EADDRINUSE ? "; stop the process that has the port, or give this member another" : "");
}

void peers_watch_incoming(struct uv_world *world, int64_t now_ns) {
  struct incoming *next;
  for (struct incoming *incoming = world->incoming; incoming; incoming = next) {
    next = incoming->next;
    if (incoming->peer == 0 && now_ns - incoming->since_ns >= GREET_MS * NS_PER_MS)
      incoming_close(incoming); /* it says nothing, or has been told that it is refused */
  }
}

void peers_close_incoming(struct uv_world *world) {
  while (world->incoming)
    incoming_close(world->incoming);
}
