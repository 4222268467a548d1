/* namespace_blocks.c: the blocks of files.
 *
 *   inode 17   blocks.first ─▶ block 5-3 ─next─▶ block 5-9 ─next─▶ block 6-1 ◀─ blocks.last
 *                              inode 17          inode 17          inode 17
 *
 * A block's id is the op id of the operation that added it, so it is never given twice. */
#include "master/bugs.h"
#include "master/namespace_internal.h"

static bool get_block(struct namespace *space, uint64_t block, struct block_record *record) {
  const struct row_key key = block_key(block);
  struct slice row;
  if (!namespace_get(space, TABLE_BLOCKS, &key, &row))
    return false;
  if (!block_decode(row, record))
    namespace_corrupt(space->tables, "a block");
  return true;
}

static void put_block(struct namespace *space, uint64_t block, const struct block_record *record,
                      enum row_change change) {
  bytes_clear(&space->scratch);
  block_encode(&space->scratch, record);
  const struct row_key key = block_key(block);
  namespace_put_scratch(space, TABLE_BLOCKS, &key, change);
}

/* Behind the block that is the last one so far. */
static void append_to_chain(struct namespace *space, struct block_chain *chain, uint64_t block) {
  struct block_record last;
  if (chain->count == 0) {
    chain->first = block;
  } else if (get_block(space, chain->last, &last)) {
    last.next = block;
    put_block(space, chain->last, &last, ROW_PUT);
  } else {
    namespace_corrupt(space->tables, "the last block of a file");
  }
  chain->last = block;
  chain->count++;
  chain->uncommitted++;
}

enum answer_status namespace_add_block(struct namespace *space, const struct request *request,
                                       struct outcome *outcome) {
  struct place place;
  const enum answer_status status = namespace_resolve_file(space, request->path, &place);
  if (status != STATUS_OK)
    return status;
  const uint64_t inode = place.child.child;
  struct inode_record record;
  namespace_load_inode(space, inode, &record);
  if (record.completed)
    return STATUS_ALREADY_COMPLETED;
  append_to_chain(space, &record.blocks, request->op_id);
  if (namespace_is_lost(space))
    return STATUS_UNAVAILABLE;
  put_block(space, request->op_id, &(struct block_record){.inode = inode}, ROW_PUT_FRESH);
  space->counters.blocks++;
  namespace_bump(space, &record);
  namespace_put_inode(space, inode, &record, ROW_PUT);
  if (!place.child.has_blocks) {
    place.child.has_blocks = true;
    namespace_put_edge(space, place.parent, place.name, &place.child);
  }
  outcome->block = request->op_id;
  return STATUS_OK;
}

#define ANCESTORS_LIMIT 65536 /* only with a defect is there no end */

bool namespace_is_attached(struct namespace *space, uint64_t parent) {
  for (unsigned steps = 0; parent != ROOT_INODE; steps++) {
    const struct row_key key = inode_key(parent);
    struct slice row;
    struct inode_record record;
    if (parent == 0 || !namespace_get(space, TABLE_INODES, &key, &row))
      return false;
    if (!inode_decode(row, &record)) {
      namespace_corrupt(space->tables, "an inode");
      return false;
    }
    if (bug_any_active() && steps > ANCESTORS_LIMIT)
      return false;
    parent = record.parent;
  }
  return true;
}

enum answer_status namespace_commit_block(struct namespace *space, const struct request *request) {
  struct block_record block;
  struct inode_record record;
  if (!get_block(space, request->block, &block))
    return STATUS_NOT_FOUND;
  namespace_load_inode(space, block.inode, &record);
  if (!namespace_is_attached(space, record.parent))
    return STATUS_NOT_FOUND;
  if (block.committed)
    return block.length == request->length ? STATUS_OK : STATUS_INVALID;
  if (namespace_is_lost(space))
    return STATUS_UNAVAILABLE;
  block.committed = true;
  block.length = request->length;
  put_block(space, request->block, &block, ROW_PUT);
  record.blocks.uncommitted--;
  record.blocks.length += request->length;
  namespace_bump(space, &record);
  namespace_put_inode(space, block.inode, &record, ROW_PUT);
  return STATUS_OK;
}

bool namespace_drop_blocks(struct namespace *space, uint64_t inode, size_t *left) {
  struct inode_record record;
  namespace_load_inode(space, inode, &record);
  struct block_chain *chain = &record.blocks;
  while (chain->count > 0 && *left > 0) {
    struct block_record block;
    if (!get_block(space, chain->first, &block)) {
      namespace_corrupt(space->tables, "a block of a file");
      chain->count = 0;
      return true;
    }
    const struct row_key key = block_key(chain->first);
    namespace_delete(space, TABLE_BLOCKS, &key);
    space->counters.blocks--;
    chain->first = block.next;
    chain->count--;
    --*left;
  }
  if (chain->count == 0)
    return true;
  namespace_put_inode(space, inode, &record, ROW_PUT);
  return false;
}
