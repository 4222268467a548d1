#include "master/batch.h"

#include <assert.h>

#define BATCH_VERSION 2

void batch_begin(struct bytes *batch, const struct batch_header *header) {
  assert(batch->size == 0);
  bytes_append_u8(batch, BATCH_VERSION);
  bytes_append_varint(batch, header->term);
  bytes_append_varint(batch, (uint64_t)header->wall_ns);
  counters_encode(batch, &header->counters);
}

void batch_append(struct bytes *batch, const struct batch_row *row) {
  assert(row->table < TABLES && row->change < ROW_CHANGES && row->key.size <= STORE_KEY_LIMIT);
  bytes_append_u8(batch, (uint8_t)((unsigned)row->table << 2 | (unsigned)row->change));
  bytes_append_string(batch, row->key.data, row->key.size);
  if (row->change != ROW_DELETE)
    bytes_append_string(batch, row->value.data, row->value.size);
}

bool batch_open(struct reader *reader, struct batch_header *header) {
  const uint8_t version = reader_u8(reader);
  header->term = reader_varint(reader);
  header->wall_ns = (int64_t)reader_varint(reader);
  counters_decode(reader, &header->counters);
  return !reader->failed && version == BATCH_VERSION;
}

static struct slice read_slice(struct reader *reader) {
  size_t size;
  const unsigned char *data = reader_string(reader, &size);
  return (struct slice){(const char *)data, size};
}

bool batch_next(struct reader *reader, struct batch_row *row) {
  if (reader->failed || reader_left(reader) == 0)
    return false;
  const uint8_t kind = reader_u8(reader);
  row->table = (enum table)(kind >> 2);
  row->change = (enum row_change)(kind & 3);
  row->key = read_slice(reader);
  row->value = row->change == ROW_DELETE ? (struct slice){0} : read_slice(reader);
  if (row->table >= TABLES || row->key.size == 0 || row->key.size > STORE_KEY_LIMIT ||
      row->value.size > UINT32_MAX)
    reader->failed = true;
  return !reader->failed;
}
