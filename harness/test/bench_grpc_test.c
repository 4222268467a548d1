#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "etcd.pb-c.h"
#include "harness/bench/grpc.h"

/* What etcd 3.4.23 answered to three puts (streams 1, 3 and 5: its settings, an acknowledgement, a window, a
 * ping, the answers and their trailers, in the order in which it had them), and then to a range. */

static const char put_answers[] =
    "00000c0400000000000005000040000003ffffffff0000000401000000000000040800000000000000001b00000806000000"
    "000002041010090e070700000e010400000001885f8b1d75d0620d263d4c4d6564000021000000000001000000001c0a1a08"
    "b9aec4abb989e5f7a70110fbfa8ba392e69eebdd011802200200001801050000000140889acac8b21234da8f013040899aca"
    "c8b5254207317f0000000201040000000388c0000021000000000003000000001c0a1a08b9aec4abb989e5f7a70110fbfa8b"
    "a392e69eebdd0118042002000002010500000003bfbe00000201040000000588c0000021000000000005000000001c0a1a08"
    "b9aec4abb989e5f7a70110fbfa8ba392e69eebdd0118032002000002010500000005bfbe";
static const char range_answer[] =
    "00000201040000000788c000007d00000000000700000000780a1a08b9aec4abb989e5f7a70110fbfa8ba392e69eebdd0118"
    "042002121c0a142f312d302f302f66696c652d3030303030303030100218022001121c0a142f312d302f302f66696c652d30"
    "30303030303031100418042001121c0a142f312d302f302f66696c652d303030303030303210031803200120030000020105"
    "00000007bfbe";

static size_t unhex(const char *text, unsigned char *out) {
  size_t size = 0;
  for (unsigned byte; sscanf(text, "%2x", &byte) == 1; text += 2)
    out[size++] = (unsigned char)byte;
  return size;
}

struct heard {
  unsigned answers;
  int status;
  size_t size;
  unsigned char message[512];
};

static void on_answer(void *context, int status, const unsigned char *message, size_t size) {
  struct heard *heard = context;
  heard->answers++;
  heard->status = status;
  heard->size = size;
  if (message)
    memcpy(heard->message, message, size);
}

static void call(struct grpc *grpc, const char *method, const char *message, struct heard *heard) {
  struct bytes request = {0};
  bytes_append(&request, "\0\0\0\0\0", GRPC_PREFIX);
  bytes_append(&request, message, strlen(message));
  grpc_call(grpc, method, &request, on_answer, heard);
}

static bool contains(const struct bytes *where, const void *what, size_t size) {
  return memmem(where->data, where->size, what, size) != NULL;
}

Test(grpc, recorded_answers_reach_their_calls) {
  struct grpc *grpc = grpc_new("127.0.0.1:2379");
  struct heard puts[3] = {0}, range = {0};
  struct bytes out = {0};
  unsigned char data[1024];
  for (int i = 0; i < 3; i++)
    call(grpc, "/etcdserverpb.KV/Put", "\n\x14/1-0/0/file-00000000", &puts[i]);
  grpc_gather(grpc, &out);
  cr_assert(memcmp(out.data, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24) == 0);
  /* DATA of 27 bytes that ends stream 1: not compressed, 22 bytes, the message. */
  cr_assert(contains(&out, "\0\0\x1b\0\1\0\0\0\1\0\0\0\0\x16\n\x14/1-0/0/file-00000000", 36));
  cr_assert(contains(&out, "\0\0\x1b\0\1\0\0\0\5\0\0\0\0\x16\n\x14/1-0/0/file-00000000", 36));
  bytes_clear(&out);

  /* Byte by byte: frames may be torn anywhere. */
  const size_t size = unhex(put_answers, data);
  for (size_t i = 0; i < size; i++)
    cr_assert_null(grpc_receive(grpc, data + i, 1));
  for (int i = 0; i < 3; i++)
    cr_assert(puts[i].answers == 1 && puts[i].status == 0 && puts[i].size == 28, "put %d", i);
  grpc_gather(grpc, &out);
  cr_assert(contains(&out, "\0\0\x08\6\1\0\0\0\0\2\4\x10\x10\x09\x0e\7\7", 17), "its ping is answered");

  call(grpc, "/etcdserverpb.KV/Range", "\n\7/1-0/0/\x12\7/1-0/00@\1", &range);
  grpc_gather(grpc, &out);
  cr_assert_null(grpc_receive(grpc, data, unhex(range_answer, data)));
  cr_assert(range.answers == 1 && range.status == 0);
  Etcdserverpb__RangeResponse *response =
      etcdserverpb__range_response__unpack(NULL, range.size, range.message);
  cr_assert_not_null(response);
  cr_assert(response->n_kvs == 3 && response->count == 3);
  cr_assert_arr_eq(response->kvs[2]->key.data, "/1-0/0/file-00000002", 20);
  etcdserverpb__range_response__free_unpacked(response, NULL);
  bytes_free(&out);
  grpc_free(grpc);
}

Test(grpc, a_call_that_is_refused_has_a_status_with_a_name) {
  struct grpc *grpc = grpc_new("127.0.0.1:2379");
  struct heard heard = {0};
  struct bytes out = {0};
  call(grpc, "/etcdserverpb.KV/Put", "", &heard);
  grpc_gather(grpc, &out);
  /* Settings, then headers that end the stream: ":status: 200", "grpc-status: 14" as plain literals. */
  static const char refusal[] = "\0\0\0\4\0\0\0\0\0"
                                "\0\0\x11\1\5\0\0\0\1\x88\0\x0bgrpc-status\2"
                                "14";
  cr_assert_null(grpc_receive(grpc, refusal, sizeof refusal - 1));
  cr_assert(heard.answers == 1 && heard.status == 14);
  cr_assert_str_eq(grpc_status_name(14), "unavailable");
  cr_assert_null(grpc_status_name(0));
  cr_assert_str_eq(grpc_status_name(99), "unknown");
  bytes_free(&out);
  grpc_free(grpc);
}

Test(grpc, what_is_no_http_2_ends_the_connection_and_its_calls) {
  struct grpc *grpc = grpc_new("127.0.0.1:2379");
  struct heard heard = {0};
  struct bytes out = {0};
  call(grpc, "/etcdserverpb.KV/Put", "", &heard);
  grpc_gather(grpc, &out);
  static const char other[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
  const char *why = grpc_receive(grpc, other, sizeof other - 1);
  grpc_gather(grpc, &out);
  cr_assert(why || grpc_receive(grpc, other, 1));
  grpc_free(grpc);
  cr_assert(heard.answers == 1 && heard.status == -1);
  bytes_free(&out);
}
