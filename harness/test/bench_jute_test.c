#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "harness/bench/jute.h"

/* What went over a connection of a three-node ZooKeeper 3.8.0, as strace showed it. */

static size_t unhex(const char *text, unsigned char *out) {
  size_t size = 0;
  for (unsigned byte; sscanf(text, "%2x", &byte) == 1; text += 2)
    out[size++] = (unsigned char)byte;
  return size;
}

static void expect(struct bytes *out, const char *recorded) {
  unsigned char frame[512];
  const size_t size = unhex(recorded, frame);
  cr_assert_eq(out->size, size, "%zu bytes for %zu of %s", out->size, size, recorded);
  cr_assert_arr_eq(out->data, frame, size, "%s", recorded);
  cr_assert_eq(jute_frame(out->data, out->size), size, "its length is right");
  bytes_clear(out);
}

Test(jute, requests_are_what_a_server_took) {
  struct bytes out = {0};
  jute_connect(&out, 30000);
  expect(
      &out,
      "0000002d000000000000000000000000000075300000000000000000000000100000000000000000000000000000000000");
  jute_create(&out, 1, "/1-0");
  expect(
      &out,
      "000000330000000100000001000000042f312d3000000000000000010000001f00000005776f726c6400000006616e796f6e"
      "6500000000");
  jute_sync(&out, 6, "/1-0/0");
  expect(&out, "000000120000000600000009000000062f312d302f30");
  jute_children(&out, 7, "/1-0/0");
  expect(&out, "000000130000000700000008000000062f312d302f3000");
  jute_delete(&out, 6, "/2-0/0/file-00000000");
  expect(&out, "000000240000000600000002000000142f322d302f302f66696c652d3030303030303030ffffffff");
  bytes_free(&out);
}

static const char connected[] =
    "000000250000000000007530030000ea2795000200000010fbb1b4a45a3288d67d786e4ecc12f6fb00";
static const char created[] =
    "0000002800000005000000010000000600000000000000142f312d302f302f66696c652d3030303030303032";
static const char synced_and_listed[] =
    "0000001a0000001a000000010000000600000000000000062f312d302f30000000470000001b00000001000000060000000000000003"
    "0000000d66696c652d30303030303030300000000d66696c652d30303030303030320000000d66696c652d3030303030303031";

Test(jute, answers_of_a_server_are_understood) {
  unsigned char data[512];
  struct jute_answer answer;
  size_t size = unhex(connected, data);
  cr_assert_eq(jute_frame(data, size), size);
  cr_assert(jute_connected(data, size));

  size = unhex(created, data);
  cr_assert_eq(jute_frame(data, size), size);
  cr_assert(jute_answer(data, size, &answer));
  cr_assert(answer.xid == 5 && answer.error == 0);
  cr_assert_null(jute_error_name(answer.error));

  size = unhex(synced_and_listed, data);
  const size_t first = jute_frame(data, size);
  cr_assert_eq(first, 30);
  cr_assert(jute_answer(data, first, &answer));
  cr_assert(answer.xid == 26 && answer.error == 0);
  const size_t second = jute_frame(data + first, size - first);
  cr_assert_eq(first + second, size);
  cr_assert(jute_answer(data + first, second, &answer));
  cr_assert_eq(answer.xid, 27);
  cr_assert_eq(jute_children_count(data + first, second), 3);
}

Test(jute, an_answer_that_is_not_all_there_waits_and_one_that_is_none_is_refused) {
  unsigned char data[512];
  struct jute_answer answer;
  const size_t size = unhex(created, data);
  for (size_t part = 0; part < size; part++)
    cr_assert_eq(jute_frame(data, part), 0);
  data[0] = 0xff;
  cr_assert_eq(jute_frame(data, size), SIZE_MAX, "a negative length");
  data[0] = 0x7f;
  cr_assert_eq(jute_frame(data, size), SIZE_MAX, "a length beyond all sense");
  cr_assert_not(jute_answer(data, 19, &answer));
  const size_t listed = unhex(synced_and_listed, data);
  for (size_t part = 0; part < listed - 30; part++)
    cr_assert_eq(jute_children_count(data + 30, part), -1, "a listing of %zu bytes", part);
  /* A refused session. */
  unhex(connected, data);
  memset(data + 8, 0, 4);
  cr_assert_not(jute_connected(data, 41));
}

Test(jute, errors_have_names) {
  cr_assert_str_eq(jute_error_name(-101), "no-node");
  cr_assert_str_eq(jute_error_name(-110), "node-exists");
  cr_assert_str_eq(jute_error_name(-9999), "error");
}
