#include <criterion/criterion.h>

#include "base/base.h"

Test(bytes, everything_written_is_read_back) {
  struct random random;
  random_seed(&random, 11);
  for (int round = 0; round < 200; round++) {
    uint64_t values[64];
    unsigned char text[100];
    for (size_t i = 0; i < sizeof text; i++)
      text[i] = (unsigned char)random_next(&random);
    struct bytes bytes = {0};
    for (int i = 0; i < 64; i++) {
      values[i] = random_next(&random) >> random_below(&random, 64);
      bytes_append_varint(&bytes, values[i]);
      bytes_append_le64(&bytes, values[i]);
      bytes_append_string(&bytes, text, (size_t)(values[i] % 100));
    }
    struct reader reader = reader_make(bytes.data, bytes.size);
    for (int i = 0; i < 64; i++) {
      size_t size;
      cr_assert_eq(reader_varint(&reader), values[i]);
      cr_assert_eq(reader_le64(&reader), values[i]);
      const unsigned char *string = reader_string(&reader, &size);
      cr_assert_eq(size, values[i] % 100);
      cr_assert(memcmp(string, text, size) == 0);
    }
    cr_assert(!reader.failed && reader_left(&reader) == 0);
    bytes_free(&bytes);
  }
}

Test(bytes, every_truncation_is_noticed) {
  struct bytes bytes = {0};
  bytes_append_varint(&bytes, UINT64_MAX);
  bytes_append_string(&bytes, "hello", 5);
  bytes_append_le32(&bytes, 7);
  for (size_t size = 0; size < bytes.size; size++) {
    struct reader reader = reader_make(bytes.data, size);
    size_t length;
    reader_varint(&reader);
    reader_string(&reader, &length);
    reader_le32(&reader);
    cr_assert(reader.failed, "truncated to %zu bytes, unnoticed", size);
  }
  bytes_free(&bytes);
}

Test(bytes, overlong_varint_is_refused) {
  unsigned char nines[11];
  memset(nines, 0xff, sizeof nines);
  struct reader reader = reader_make(nines, sizeof nines);
  reader_varint(&reader);
  cr_assert(reader.failed);
}

Test(bytes, consume_drops_from_the_front) {
  struct bytes bytes = {0};
  bytes_append(&bytes, "abcdef", 6);
  bytes_consume(&bytes, 2);
  cr_assert(bytes.size == 4 && memcmp(bytes.data, "cdef", 4) == 0);
  bytes_consume(&bytes, 4);
  cr_assert_eq(bytes.size, 0u);
  bytes_free(&bytes);
}

Test(bytes, a_flipped_bit_changes_the_checksum) {
  unsigned char data[300];
  for (size_t i = 0; i < sizeof data; i++)
    data[i] = (unsigned char)i;
  const uint64_t whole = checksum(data, sizeof data);
  for (size_t bit = 0; bit < sizeof data * 8; bit++) {
    data[bit / 8] ^= (unsigned char)(1 << bit % 8);
    cr_assert_neq(checksum(data, sizeof data), whole);
    data[bit / 8] ^= (unsigned char)(1 << bit % 8);
  }
}
