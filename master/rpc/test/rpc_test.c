#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "master/rpc/list.h"
#include "master/rpc/rpc.h"

static struct random draw;

static ProtobufCBinaryData random_bytes(struct bytes *store, size_t limit) {
  const size_t size = random_below(&draw, limit + 1);
  bytes_clear(store);
  unsigned char *at = bytes_reserve(store, size + 1);
  for (size_t i = 0; i < size; i++)
    at[i] = (unsigned char)random_below(&draw, 256);
  return (ProtobufCBinaryData){.data = at, .len = size};
}

static uint64_t random_number(void) {
  return random_next(&draw) >> random_below(&draw, 64);
}

static bool same_bytes(ProtobufCBinaryData a, ProtobufCBinaryData b) {
  return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

struct stream {
  struct bytes bytes;
  struct bytes stores[3];
};

static Rpc__Request random_request(struct stream *stream) {
  Rpc__Request request = RPC__REQUEST__INIT;
  request.id = random_number();
  request.operation = (Rpc__Operation)random_below(&draw, 11);
  request.op_id = random_number();
  request.retry_floor = random_number();
  request.path = random_bytes(&stream->stores[0], 300);
  request.destination = random_bytes(&stream->stores[1], 30);
  request.value = random_bytes(&stream->stores[2], 3);
  request.parents = random_chance(&draw, 0.5);
  request.recursive = random_chance(&draw, 0.5);
  request.has_if_version = random_chance(&draw, 0.5);
  request.if_version = random_number();
  request.length = random_number();
  request.count = (uint32_t)random_number();
  return request;
}

static void assert_same_request(const Rpc__Request *a, const Rpc__Request *b) {
  cr_assert(a->id == b->id && a->operation == b->operation && a->op_id == b->op_id);
  cr_assert(a->retry_floor == b->retry_floor && a->if_version == b->if_version && a->length == b->length);
  cr_assert(a->parents == b->parents && a->recursive == b->recursive && a->count == b->count);
  cr_assert(a->has_if_version == b->has_if_version && a->exist_ok == b->exist_ok);
  cr_assert(same_bytes(a->path, b->path) && same_bytes(a->destination, b->destination));
  cr_assert(same_bytes(a->value, b->value));
}

Test(rpc, frames_survive_any_cut_of_the_stream) {
  random_seed(&draw, 1);
  struct rpc_arena arena;
  rpc_arena_init(&arena);
  for (int round = 0; round < 3000; round++) {
    struct stream stream = {0};
    const Rpc__Request request = random_request(&stream);
    rpc_append(&stream.bytes, RPC_REQUEST, &request.base);
    struct rpc_frame frame;
    const size_t cut = random_below(&draw, stream.bytes.size);
    cr_assert_eq(rpc_parse(stream.bytes.data, cut, RPC_REQUEST_MAX, &frame), RPC_PARTIAL);
    cr_assert_eq(rpc_parse(stream.bytes.data, stream.bytes.size, RPC_REQUEST_MAX, &frame), RPC_WHOLE);
    cr_assert(frame.kind == RPC_REQUEST && frame.whole_size == stream.bytes.size);
    rpc_arena_reset(&arena);
    const Rpc__Request *read = rpc_unpack(&arena, &rpc__request__descriptor, &frame);
    cr_assert_not_null(read);
    assert_same_request(&request, read);
    if (read->path.len > 0)
      cr_assert_eq(read->path.data[read->path.len], 0, "every piece of the arena ends in a zero");
    for (size_t i = 0; i < ARRAY_SIZE(stream.stores); i++)
      bytes_free(&stream.stores[i]);
    bytes_free(&stream.bytes);
  }
  rpc_arena_free(&arena);
}

Test(rpc, listings_larger_than_the_arena_come_back_whole) {
  random_seed(&draw, 2);
  enum { ENTRIES = 20000 };
  Rpc__Entry *entries = xcalloc(ENTRIES, sizeof *entries);
  Rpc__Entry **pointers = xcalloc(ENTRIES, sizeof(Rpc__Entry *));
  char(*names)[16] = xcalloc(ENTRIES, sizeof *names);
  for (size_t i = 0; i < ENTRIES; i++) {
    rpc__entry__init(&entries[i]);
    const int length = snprintf(names[i], sizeof names[i], "name-%zu", i);
    entries[i].name = (ProtobufCBinaryData){.data = (unsigned char *)names[i], .len = (size_t)length};
    entries[i].is_file = i % 3 == 0;
    entries[i].creator = random_number();
    pointers[i] = &entries[i];
  }
  Rpc__Response response = RPC__RESPONSE__INIT;
  response.n_entries = ENTRIES;
  response.entries = pointers;
  struct bytes output = {0};
  struct rpc_arena arena;
  rpc_arena_init(&arena);
  rpc_append(&output, RPC_RESPONSE, &response.base);
  for (int round = 0; round < 3; round++) {
    struct rpc_frame frame;
    cr_assert_eq(rpc_parse(output.data, output.size, RPC_RESPONSE_MAX, &frame), RPC_WHOLE);
    rpc_arena_reset(&arena);
    const Rpc__Response *read = rpc_unpack(&arena, &rpc__response__descriptor, &frame);
    cr_assert(read && read->n_entries == ENTRIES);
    for (size_t i = 0; i < ENTRIES; i++) {
      cr_assert_str_eq((const char *)read->entries[i]->name.data, names[i]);
      cr_assert(read->entries[i]->creator == entries[i].creator);
      cr_assert(read->entries[i]->is_file == (i % 3 == 0));
    }
  }
  rpc_arena_free(&arena);
  bytes_free(&output);
  free(entries);
  free(pointers);
  free(names);
}

Test(rpc, oversized_and_unknown_frames_are_malformed) {
  unsigned char header[8] = {0};
  struct rpc_frame frame;
  le32_store(header, 0);
  header[4] = RPC_REQUEST;
  cr_assert_eq(rpc_parse(header, sizeof header, 100, &frame), RPC_MALFORMED);
  le32_store(header, 102);
  cr_assert_eq(rpc_parse(header, sizeof header, 100, &frame), RPC_MALFORMED);
  cr_assert_eq(rpc_parse(header, 4, 100, &frame), RPC_MALFORMED, "the size alone tells");
  le32_store(header, 101);
  cr_assert_eq(rpc_parse(header, sizeof header, 100, &frame), RPC_PARTIAL);
  header[4] = 0;
  cr_assert_eq(rpc_parse(header, sizeof header, 100, &frame), RPC_MALFORMED);
  header[4] = RPC_ADMIN_RESPONSE + 1;
  cr_assert_eq(rpc_parse(header, sizeof header, 100, &frame), RPC_MALFORMED);
  cr_assert_eq(rpc_parse("GET / HTTP/1.1", 14, RPC_REQUEST_MAX, &frame), RPC_MALFORMED);
}

Test(rpc, damaged_messages_are_refused_or_read_as_something_but_never_crash) {
  random_seed(&draw, 3);
  struct rpc_arena arena;
  rpc_arena_init(&arena);
  size_t refused = 0;
  for (int round = 0; round < 20000; round++) {
    struct stream stream = {0};
    const Rpc__Request request = random_request(&stream);
    rpc_append(&stream.bytes, RPC_REQUEST, &request.base);
    for (uint64_t flips = 1 + random_below(&draw, 4); flips > 0; flips--) {
      const size_t at = 4 + random_below(&draw, stream.bytes.size - 4);
      stream.bytes.data[at] = (unsigned char)random_below(&draw, 256);
    }
    struct rpc_frame frame;
    rpc_arena_reset(&arena);
    if (rpc_parse(stream.bytes.data, stream.bytes.size, RPC_REQUEST_MAX, &frame) != RPC_WHOLE ||
        !rpc_unpack(&arena, &rpc__request__descriptor, &frame))
      refused++;
    for (size_t i = 0; i < ARRAY_SIZE(stream.stores); i++)
      bytes_free(&stream.stores[i]);
    bytes_free(&stream.bytes);
  }
  cr_assert(refused > 0);
  rpc_arena_free(&arena);
}

Test(rpc, addresses_are_numeric_with_a_port) {
  static const char *const good[] = {"127.0.0.1:7400", "10.23.0.1:1", "[::1]:7400"};
  static const char *const bad[] = {
      "", ":", "localhost:7400", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "1.2.3.4:70000", "1.2.3:7", ":7"};
  struct sockaddr_storage address;
  struct error error;
  for (size_t i = 0; i < ARRAY_SIZE(good); i++)
    cr_assert_eq(rpc_parse_address(good[i], &address, &error), 0, "%s", good[i]);
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
    cr_assert_eq(rpc_parse_address(bad[i], &address, &error), ERR_BAD_INPUT, "%s", bad[i]);
    cr_assert(strstr(error.message, bad[i]) && strstr(error.message, "7400"));
  }
}

struct item {
  struct list link;
  int value;
};

Test(list, keeps_order_and_forgets_what_was_removed) {
  struct list list;
  struct item items[4];
  list_init(&list);
  cr_assert(list_is_empty(&list));
  for (int i = 0; i < 4; i++) {
    items[i].value = i;
    if (i == 3)
      list_prepend(&list, &items[i].link);
    else
      list_append(&list, &items[i].link);
  }
  list_remove(&items[1].link);
  list_remove(&items[1].link);
  static const int expected[] = {3, 0, 2};
  size_t count = 0;
  for (struct list *at = list.next; at != &list; at = at->next)
    cr_assert_eq(CONTAINER_OF(at, struct item, link)->value, expected[count++]);
  cr_assert_eq(count, 3);
}

/* By hand and by protobuf-c: the same bytes. */
Test(rpc, listings_are_packed_as_protobuf_packs_them) {
  random_seed(&draw, 5);
  for (int round = 0; round < 2000; round++) {
    enum { COUNT = 5 };
    struct bytes names[COUNT] = {0}, expected = {0}, packed = {0}, tail = {0};
    Rpc__Entry entries[COUNT], *pointers[COUNT];
    Rpc__Response response = RPC__RESPONSE__INIT;
    response.id = random_number();
    response.version = random_number();
    for (size_t i = 0; i < COUNT; i++) {
      rpc__entry__init(&entries[i]);
      entries[i].name = random_bytes(&names[i], 255);
      entries[i].is_file = random_chance(&draw, 0.5);
      entries[i].creator = random_chance(&draw, 0.2) ? 0 : random_number();
      pointers[i] = &entries[i];
      rpc_pack_entry(&tail, entries[i].name.data, entries[i].name.len, entries[i].is_file,
                     entries[i].creator);
    }
    rpc_append_with(&packed, RPC_RESPONSE, &response.base, &tail);
    response.entries = pointers;
    response.n_entries = COUNT;
    rpc_append(&expected, RPC_RESPONSE, &response.base);
    cr_assert_eq(packed.size, expected.size);
    cr_assert_arr_eq(packed.data, expected.data, packed.size);
    for (size_t i = 0; i < COUNT; i++)
      bytes_free(&names[i]);
    bytes_free(&expected);
    bytes_free(&packed);
    bytes_free(&tail);
  }
}
