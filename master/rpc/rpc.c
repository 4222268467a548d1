#include "master/rpc/rpc.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum rpc_parse rpc_parse(const void *data, size_t size, size_t limit, struct rpc_frame *frame) {
  const unsigned char *at = data;
  if (size < RPC_HEADER_SIZE)
    return size >= 4 && le32_load(at) > limit + 1 ? RPC_MALFORMED : RPC_PARTIAL;
  const size_t counted = le32_load(at);
  const unsigned kind = at[4];
  const bool known = (kind >= RPC_HELLO && kind <= RPC_ADMIN_RESPONSE) || kind == RPC_DATA_REQUEST ||
                     kind == RPC_DATA_RESPONSE;
  if (counted < 1 || counted - 1 > limit || !known)
    return RPC_MALFORMED;
  if (size < 4 + counted)
    return RPC_PARTIAL;
  frame->kind = (enum rpc_kind)kind;
  frame->message = at + RPC_HEADER_SIZE;
  frame->size = counted - 1;
  frame->whole_size = counted + 4;
  return RPC_WHOLE;
}

size_t rpc_message_size(const ProtobufCMessage *message) {
  return protobuf_c_message_get_packed_size(message);
}

void rpc_append_with(struct bytes *output, enum rpc_kind kind, const ProtobufCMessage *message,
                     const struct bytes *tail) {
  const size_t size = protobuf_c_message_get_packed_size(message), whole = size + tail->size;
  assert(whole <= RPC_RESPONSE_MAX);
  unsigned char *at = bytes_reserve(output, RPC_HEADER_SIZE + whole);
  le32_store(at, (uint32_t)whole + 1);
  at[4] = (unsigned char)kind;
  const size_t packed = protobuf_c_message_pack(message, at + RPC_HEADER_SIZE);
  assert(packed == size);
  if (tail->size > 0)
    memcpy(at + RPC_HEADER_SIZE + packed, tail->data, tail->size);
  output->size += RPC_HEADER_SIZE + whole;
}

void rpc_append(struct bytes *output, enum rpc_kind kind, const ProtobufCMessage *message) {
  rpc_append_with(output, kind, message, &(struct bytes){0});
}

/* -- a Response's entries, as protobuf encodes them: a key (number << 3 | wire type) before each member; what
 * is empty, false or 0 is left out -- */

#define KEY_ENTRY (14 << 3 | 2)
#define KEY_NAME (1 << 3 | 2)
#define KEY_IS_FILE (2 << 3 | 0)
#define KEY_CREATOR (3 << 3 | 1)
#define ENTRY_EXTRA 32 /* bytes of a packed entry beside its name, at most */

static unsigned char *put_varint(unsigned char *at, uint64_t value) {
  for (; value >= 0x80; value >>= 7)
    *at++ = (unsigned char)(value | 0x80);
  *at++ = (unsigned char)value;
  return at;
}

static size_t varint_size(uint64_t value) {
  size_t size = 1;
  for (; value >= 0x80; value >>= 7)
    size++;
  return size;
}

void rpc_pack_entry(struct bytes *tail, const void *name, size_t name_size, bool is_file, uint64_t creator) {
  unsigned char *const begin = bytes_reserve(tail, ENTRY_EXTRA + name_size), *at = begin;
  const size_t size =
      (name_size ? 1 + varint_size(name_size) + name_size : 0) + (is_file ? 2 : 0) + (creator ? 9 : 0);
  *at++ = KEY_ENTRY;
  at = put_varint(at, size);
  if (name_size) {
    *at++ = KEY_NAME;
    at = put_varint(at, name_size);
    memcpy(at, name, name_size);
    at += name_size;
  }
  if (is_file) {
    *at++ = KEY_IS_FILE;
    *at++ = 1;
  }
  if (creator) {
    *at++ = KEY_CREATOR;
    le64_store(at, creator);
    at += 8;
  }
  tail->size += (size_t)(at - begin);
}

/* ---- arena ---- */

#define ARENA_BLOCK_INITIAL (8u << 10)
#define ARENA_BLOCK_MAX (256u << 10)

struct rpc_spill {
  struct rpc_spill *next;
  max_align_t memory[];
};

static void *arena_alloc(void *context, size_t size) {
  return rpc_arena_take(context, size);
}

static void arena_keep(void *context, void *memory) {
  (void)context;
  (void)memory;
}

void rpc_arena_init(struct rpc_arena *arena) {
  *arena = (struct rpc_arena){
      .allocator = {.alloc = arena_alloc, .free = arena_keep, .allocator_data = arena},
      .block = xmalloc(ARENA_BLOCK_INITIAL),
      .capacity = ARENA_BLOCK_INITIAL,
  };
}

void *rpc_arena_take(struct rpc_arena *arena, size_t size) {
  const size_t alignment = _Alignof(max_align_t);
  const size_t padded = (size + 1 + alignment - 1) & ~(alignment - 1);
  unsigned char *memory;
  if (padded <= arena->capacity - arena->used) {
    memory = arena->block + arena->used;
    arena->used += padded;
  } else {
    struct rpc_spill *spill = xmalloc(sizeof *spill + padded);
    spill->next = arena->spills;
    arena->spills = spill;
    arena->spilled += padded;
    memory = (unsigned char *)spill->memory;
  }
  memory[size] = 0;
  return memory;
}

void rpc_arena_reset(struct rpc_arena *arena) {
  if (arena->spills) {
    while (arena->spills) {
      struct rpc_spill *spill = arena->spills;
      arena->spills = spill->next;
      free(spill);
    }
    const size_t wanted = arena->capacity + arena->spilled;
    arena->capacity = wanted < ARENA_BLOCK_MAX ? wanted : ARENA_BLOCK_MAX;
    arena->spilled = 0;
    free(arena->block);
    arena->block = xmalloc(arena->capacity);
  }
  arena->used = 0;
}

void rpc_arena_free(struct rpc_arena *arena) {
  rpc_arena_reset(arena);
  free(arena->block);
  *arena = (struct rpc_arena){0};
}

void *rpc_unpack(struct rpc_arena *arena, const ProtobufCMessageDescriptor *type,
                 const struct rpc_frame *frame) {
  return protobuf_c_message_unpack(type, &arena->allocator, frame->size, frame->message);
}

/* ---- addresses ---- */

int rpc_parse_address(const char *text, void *address, struct error *error) {
  char host[64];
  const char *colon = strrchr(text, ':');
  if (colon && colon != text) {
    const bool bracketed = text[0] == '[' && colon[-1] == ']';
    const char *start = text + bracketed;
    const size_t length = (size_t)(colon - start) - bracketed;
    char *end;
    const unsigned long port = strtoul(colon + 1, &end, 10);
    if (length < sizeof host && colon[1] >= '0' && colon[1] <= '9' && *end == '\0' && port <= 65535) {
      memcpy(host, start, length);
      host[length] = '\0';
      if (uv_ip4_addr(host, (int)port, address) == 0 || uv_ip6_addr(host, (int)port, address) == 0)
        return 0;
    }
  }
  return error_set(error, ERR_BAD_INPUT,
                   "'%s' is not an address: give a numeric host and a port, as in 127.0.0.1:7400", text);
}
