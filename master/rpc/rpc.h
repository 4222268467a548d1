/* rpc.h: the wire between clients and masters: frames of protobuf messages over TCP.
 *
 *   ┌──────────────┬─────────┬───────────────┐
 *   │ size (le32)  │ kind u8 │ message       │   size counts the kind and the message
 *   └──────────────┴─────────┴───────────────┘
 *
 * After the two hellos any number of requests may be on their way; responses come in any order and carry the
 * id of their request. Shared by master/server and master/client, private to them. */
#ifndef ASSAY_MASTER_RPC_H
#define ASSAY_MASTER_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"
#include "rpc.pb-c.h"

#define RPC_MAGIC 0x59415341u /* "ASAY" */
#define RPC_VERSION 2u

#define RPC_HEADER_SIZE 5u
/* Bounds of a frame's message, so that a stray or hostile peer cannot make us reserve memory at will. */
#define RPC_REQUEST_MAX (256u << 10)
#define RPC_RESPONSE_MAX (64u << 20)

enum rpc_kind {
  RPC_HELLO = 1,
  RPC_REQUEST,
  RPC_RESPONSE,
  RPC_NODE_STATUS_REQUEST,
  RPC_NODE_STATUS,
  RPC_ADMIN_REQUEST,
  RPC_ADMIN_RESPONSE,
  RPC_DATA_REQUEST = 16, /* between a client and a worker */
  RPC_DATA_RESPONSE,
};

/* Bytes of a file in one frame, at most. */
#define RPC_DATA_PIECE (128u << 10)

/* A frame in place, in the bytes that were read. */
struct rpc_frame {
  enum rpc_kind kind;
  const unsigned char *message;
  size_t size;       /* of the message */
  size_t whole_size; /* with the header: what to consume */
};

enum rpc_parse { RPC_WHOLE, RPC_PARTIAL, RPC_MALFORMED };

/* Looks for one frame at the start of `data`. RPC_MALFORMED: the size is over `limit` or 0, or the kind is
 * none. */
enum rpc_parse rpc_parse(const void *data, size_t size, size_t limit, struct rpc_frame *frame);

/* Appends the message as one frame. */
void rpc_append(struct bytes *output, enum rpc_kind kind, const ProtobufCMessage *message);

/* The same, with more members of the message behind it, packed already: what is in `tail` counts as a part of
 * the message. */
void rpc_append_with(struct bytes *output, enum rpc_kind kind, const ProtobufCMessage *message,
                     const struct bytes *tail);
/* Appends an Entry as a member of a Response, packed. A listing has many, and packing them one by one with
 * what is known of them takes a quarter of the time that it takes to find out from their descriptors. */
void rpc_pack_entry(struct bytes *tail, const void *name, size_t name_size, bool is_file, uint64_t creator);

/* Size of the frame's message once packed. */
size_t rpc_message_size(const ProtobufCMessage *message);

/* Memory of unpacked messages: taken piece by piece, given back all at once. Every piece is followed by a
 * zero byte, so that a `bytes` member that holds text can be used as a string. */
struct rpc_arena {
  ProtobufCAllocator allocator;
  unsigned char *block;
  size_t used, capacity;
  struct rpc_spill *spills; /* what did not fit into the block */
  size_t spilled;
};

void rpc_arena_init(struct rpc_arena *arena);
void *rpc_arena_take(struct rpc_arena *arena, size_t size);
/* Everything taken is gone. */
void rpc_arena_reset(struct rpc_arena *arena);
void rpc_arena_free(struct rpc_arena *arena);

/* The message of a frame, in the arena; NULL when it is malformed. */
void *rpc_unpack(struct rpc_arena *arena, const ProtobufCMessageDescriptor *type,
                 const struct rpc_frame *frame);

/* Parses "host:port" with a numeric host ("[::1]:80" for IPv6) into `address` (a struct sockaddr_storage). */
int rpc_parse_address(const char *text, void *address, struct error *error);

#endif
