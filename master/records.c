#include "master/records.h"

#include <assert.h>

#include "master/bugs.h"

static struct row_key number_key(uint64_t number) {
  struct row_key key;
  key.size = 8;
  be64_store(key.bytes, number);
  return key;
}

struct row_key inode_key(uint64_t inode) {
  return number_key(inode);
}

struct row_key edge_key(uint64_t parent, struct slice name) {
  struct row_key key;
  assert(name.size > 0 && name.size <= sizeof key.bytes - 8);
  key.size = (uint16_t)(8 + name.size);
  be64_store(key.bytes, parent);
  memcpy(key.bytes + 8, name.data, name.size);
  return key;
}

struct row_key block_key(uint64_t block) {
  return number_key(block);
}

struct row_key operation_key(uint64_t op_id) {
  return number_key(op_id);
}

struct row_key client_key(uint32_t client) {
  return number_key((uint64_t)client << 32);
}

struct row_key detached_key(uint64_t inode) {
  struct row_key key;
  key.size = 9;
  key.bytes[0] = DETACHED_PREFIX;
  be64_store(key.bytes + 1, inode);
  return key;
}

struct row_key worker_key(uint64_t worker) {
  struct row_key key = {.size = 9};
  key.bytes[0] = WORKER_PREFIX;
  be64_store(key.bytes + 1, worker);
  return key;
}

struct row_key mounts_key(void) {
  return (struct row_key){.size = 1, .bytes = {'m'}};
}

enum {
  INODE_FILE = 1,
  INODE_COMPLETED = 2,
  INODE_BLOCKS = 4,
  INODE_UNLOADED = 8,
  INODE_PERSISTED = 16,
  INODE_SOURCE = INODE_UNLOADED | INODE_PERSISTED, /* one of them: a source is there */
};

void inode_encode(struct bytes *out, const struct inode_record *inode) {
  assert(bug_any_active() ||
         (inode->is_file ? inode->child_count == 0 : inode->length == 0 && !inode->completed));
  assert(inode->mtime_ns >= 0 && inode->version >= 1);
  const struct block_chain *blocks = &inode->blocks;
  bytes_append_u8(out,
                  (uint8_t)((inode->is_file ? INODE_FILE : 0) | (inode->completed ? INODE_COMPLETED : 0) |
                            (blocks->count > 0 ? INODE_BLOCKS : 0) | (inode->unloaded ? INODE_UNLOADED : 0) |
                            (inode->persisted ? INODE_PERSISTED : 0)));
  bytes_append_varint(out, inode->creator);
  bytes_append_varint(out, inode->version);
  bytes_append_varint(out, (uint64_t)inode->mtime_ns);
  bytes_append_varint(out, inode->is_file ? inode->length : inode->child_count);
  bytes_append_varint(out, inode->parent);
  if (blocks->count > 0) {
    bytes_append_varint(out, blocks->first);
    bytes_append_varint(out, blocks->last);
    bytes_append_varint(out, blocks->count);
    bytes_append_varint(out, blocks->uncommitted);
    bytes_append_varint(out, blocks->length);
  }
  if (inode->unloaded || inode->persisted)
    bytes_append_string(out, inode->source.data, inode->source.size);
  bytes_append(out, inode->value.data, inode->value.size);
}

static struct slice read_slice(struct reader *reader) {
  size_t size;
  const unsigned char *data = reader_string(reader, &size);
  return (struct slice){(const char *)data, size};
}

bool inode_decode(struct slice row, struct inode_record *inode) {
  struct reader reader = reader_make(row.data, row.size);
  const uint8_t flags = reader_u8(&reader);
  *inode = (struct inode_record){.is_file = flags & INODE_FILE, .completed = flags & INODE_COMPLETED};
  inode->creator = reader_varint(&reader);
  inode->version = reader_varint(&reader);
  inode->mtime_ns = (int64_t)reader_varint(&reader);
  const uint64_t extent = reader_varint(&reader);
  if (inode->is_file)
    inode->length = extent;
  else
    inode->child_count = extent;
  inode->parent = reader_varint(&reader);
  if (flags & INODE_BLOCKS) {
    inode->blocks.first = reader_varint(&reader);
    inode->blocks.last = reader_varint(&reader);
    inode->blocks.count = reader_varint(&reader);
    inode->blocks.uncommitted = reader_varint(&reader);
    inode->blocks.length = reader_varint(&reader);
  }
  if (flags & INODE_SOURCE) {
    inode->unloaded = flags & INODE_UNLOADED;
    inode->persisted = flags & INODE_PERSISTED;
    inode->source = read_slice(&reader);
  }
  inode->value = (struct slice){(const char *)reader.at, reader_left(&reader)};
  return !reader.failed;
}

enum { EDGE_FILE = 1, EDGE_BLOCKS = 2, EDGE_UNLOADED = 4 };

void edge_encode(struct bytes *out, const struct edge_record *edge) {
  bytes_append_u8(out, (uint8_t)((edge->is_file ? EDGE_FILE : 0) | (edge->has_blocks ? EDGE_BLOCKS : 0) |
                                 (edge->unloaded ? EDGE_UNLOADED : 0)));
  bytes_append_varint(out, edge->child);
  bytes_append_varint(out, edge->creator);
}

bool edge_decode(struct slice row, struct edge_record *edge) {
  struct reader reader = reader_make(row.data, row.size);
  const uint8_t flags = reader_u8(&reader);
  edge->is_file = flags & EDGE_FILE;
  edge->has_blocks = flags & EDGE_BLOCKS;
  edge->unloaded = flags & EDGE_UNLOADED;
  edge->child = reader_varint(&reader);
  edge->creator = reader_varint(&reader);
  return !reader.failed && reader_left(&reader) == 0;
}

void block_encode(struct bytes *out, const struct block_record *block) {
  bytes_append_u8(out, block->committed);
  bytes_append_varint(out, block->inode);
  bytes_append_varint(out, block->next);
  bytes_append_varint(out, block->length);
}

bool block_decode(struct slice row, struct block_record *block) {
  struct reader reader = reader_make(row.data, row.size);
  block->committed = reader_u8(&reader);
  block->inode = reader_varint(&reader);
  block->next = reader_varint(&reader);
  block->length = reader_varint(&reader);
  return !reader.failed && reader_left(&reader) == 0;
}

void worker_encode(struct bytes *out, const struct worker_record *worker) {
  bytes_append_varint(out, worker->epoch);
  bytes_append_le64(out, worker->nonce);
  bytes_append_varint(out, worker->capacity);
  bytes_append(out, worker->address.data, worker->address.size);
}

bool worker_decode(struct slice row, struct worker_record *worker) {
  struct reader reader = reader_make(row.data, row.size);
  worker->epoch = reader_varint(&reader);
  worker->nonce = reader_le64(&reader);
  worker->capacity = reader_varint(&reader);
  worker->address = (struct slice){(const char *)reader.at, reader_left(&reader)};
  return !reader.failed;
}

void mount_encode(struct bytes *out, const struct mount_record *mount) {
  bytes_append_string(out, mount->path.data, mount->path.size);
  bytes_append_string(out, mount->directory.data, mount->directory.size);
  bytes_append_varint(out, mount->creator);
}

bool mount_decode(struct reader *reader, struct mount_record *mount) {
  if (reader->failed || reader_left(reader) == 0)
    return false;
  mount->path = read_slice(reader);
  mount->directory = read_slice(reader);
  mount->creator = reader_varint(reader);
  return !reader->failed;
}

void operation_encode(struct bytes *out, const struct operation_record *operation) {
  bytes_append_u8(out, (uint8_t)operation->code);
  bytes_append_u8(out, (uint8_t)operation->status);
  bytes_append_varint(out, operation->number);
  if (operation->code != OP_BATCH)
    return;
  bytes_append_varint(out, operation->at);
  bytes_append_varint(out, operation->number_count);
  for (size_t i = 0; i < operation->number_count; i++)
    bytes_append_varint(out, operation->numbers[i]);
}

static struct reader read_operation(struct slice row, struct operation_record *operation) {
  struct reader reader = reader_make(row.data, row.size);
  *operation = (struct operation_record){.code = (enum operation_code)reader_u8(&reader)};
  operation->status = (enum answer_status)reader_u8(&reader);
  operation->number = reader_varint(&reader);
  if (operation->code == OP_BATCH) {
    operation->at = (uint32_t)reader_varint(&reader);
    operation->number_count = (size_t)reader_varint(&reader);
  }
  return reader;
}

bool operation_decode(struct slice row, struct operation_record *operation) {
  struct reader reader = read_operation(row, operation);
  for (size_t i = 0; i < operation->number_count && !reader.failed; i++)
    reader_varint(&reader);
  return !reader.failed && reader_left(&reader) == 0;
}

void operation_decode_numbers(struct slice row, const struct operation_record *operation, uint64_t *numbers) {
  struct operation_record again;
  struct reader reader = read_operation(row, &again);
  for (size_t i = 0; i < operation->number_count; i++)
    numbers[i] = reader_varint(&reader);
}

void client_encode(struct bytes *out, const struct client_record *client) {
  bytes_append_varint(out, client->floor);
  bytes_append_varint(out, client->seen_s);
}

bool client_decode(struct slice row, struct client_record *client) {
  struct reader reader = reader_make(row.data, row.size);
  const uint64_t floor = reader_varint(&reader);
  client->floor = (uint32_t)floor;
  client->seen_s = reader_varint(&reader);
  return !reader.failed && reader_left(&reader) == 0 && floor <= UINT32_MAX;
}

void counters_encode(struct bytes *out, const struct counters *counters) {
  bytes_append_varint(out, counters->next_inode);
  bytes_append_varint(out, counters->next_client);
  bytes_append_varint(out, counters->inodes);
  bytes_append_varint(out, counters->blocks);
  bytes_append_varint(out, counters->clock_ns);
}

void counters_decode(struct reader *reader, struct counters *counters) {
  counters->next_inode = reader_varint(reader);
  counters->next_client = reader_varint(reader);
  counters->inodes = reader_varint(reader);
  counters->blocks = reader_varint(reader);
  counters->clock_ns = reader_varint(reader);
}

void applied_encode(struct bytes *out, const struct applied_record *applied) {
  bytes_append_varint(out, applied->index);
  bytes_append_varint(out, applied->term);
  counters_encode(out, &applied->counters);
}

bool applied_decode(struct slice row, struct applied_record *applied) {
  struct reader reader = reader_make(row.data, row.size);
  applied->index = reader_varint(&reader);
  applied->term = reader_varint(&reader);
  counters_decode(&reader, &applied->counters);
  return !reader.failed && reader_left(&reader) == 0;
}
