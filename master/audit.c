/* audit.c: are the tables a tree? What no single operation can see, and every operation takes for granted. */
#include <inttypes.h>
#include <stdlib.h>

#include "master/primary_internal.h"

struct audit {
  struct tables *tables;
  struct error *error;
  int status;
  uint64_t *found; /* inodes met, open addressing; 0: free */
  size_t found_capacity, found_count;
  uint64_t *ahead, *parents; /* inodes still to be walked, and the directories that name them */
  size_t ahead_capacity, ahead_count;
  uint64_t parent;
  uint64_t edges;  /* of `parent`, so far */
  uint64_t blocks; /* met in all files */
};

static void fail(struct audit *audit, const char *what, uint64_t inode) {
  if (audit->status == 0)
    audit->status = error_set(audit->error, ERR_CORRUPT, "%s: inode %" PRIu64 ", below directory %" PRIu64,
                              what, inode, audit->parent);
}

/* False when it was there already. */
static bool note(struct audit *audit, uint64_t inode) {
  if (2 * audit->found_count >= audit->found_capacity) {
    struct audit larger = {.found_capacity = audit->found_capacity ? 2 * audit->found_capacity : 256};
    larger.found = xcalloc(larger.found_capacity, sizeof *larger.found);
    for (size_t i = 0; i < audit->found_capacity; i++)
      if (audit->found[i])
        note(&larger, audit->found[i]);
    free(audit->found);
    audit->found = larger.found;
    audit->found_capacity = larger.found_capacity;
  }
  const size_t mask = audit->found_capacity - 1;
  size_t at = (size_t)((inode * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & mask;
  for (; audit->found[at]; at = (at + 1) & mask)
    if (audit->found[at] == inode)
      return false;
  audit->found[at] = inode;
  audit->found_count++;
  return true;
}

static void walk_later(struct audit *audit, uint64_t inode, uint64_t parent) {
  if (audit->ahead_count == audit->ahead_capacity) {
    audit->ahead_capacity = audit->ahead_capacity ? 2 * audit->ahead_capacity : 64;
    audit->ahead = xrealloc(audit->ahead, audit->ahead_capacity * sizeof *audit->ahead);
    audit->parents = xrealloc(audit->parents, audit->ahead_capacity * sizeof *audit->parents);
  }
  audit->parents[audit->ahead_count] = parent;
  audit->ahead[audit->ahead_count++] = inode;
}

static bool load(struct audit *audit, uint64_t inode, struct inode_record *record) {
  const struct row_key key = inode_key(inode);
  struct slice row;
  if (tables_get(audit->tables, TABLE_INODES, &key, &row) && inode_decode(row, record))
    return true;
  fail(audit, "an inode that is named, or waits to be reclaimed, has no row", inode);
  return false;
}

/* The chain of a file's blocks. `counts`: its sums are right there. */
static void walk_blocks(struct audit *audit, uint64_t inode, const struct block_chain *chain, bool counts) {
  struct block_chain met = {.first = chain->first};
  for (uint64_t block = chain->first; block != 0 && met.count <= chain->count && audit->status == 0;) {
    const struct row_key key = block_key(block);
    struct slice row;
    struct block_record record;
    if (!tables_get(audit->tables, TABLE_BLOCKS, &key, &row) || !block_decode(row, &record) ||
        record.inode != inode) {
      fail(audit, "a block of a file has no row, or belongs to another one", inode);
      return;
    }
    met.last = block;
    met.count++;
    met.uncommitted += !record.committed;
    met.length += record.length;
    block = record.next;
  }
  audit->blocks += met.count;
  if (met.count != chain->count || met.last != chain->last ||
      (counts && (met.uncommitted != chain->uncommitted || met.length != chain->length)))
    fail(audit, "a file counts other blocks than it has", inode);
}

static bool edge_found(void *context, const unsigned char *key, size_t key_size, const unsigned char *value,
                       size_t value_size) {
  (void)key;
  (void)key_size;
  struct audit *audit = context;
  struct edge_record edge;
  audit->edges++;
  if (!edge_decode((struct slice){(const char *)value, value_size}, &edge))
    fail(audit, "an edge cannot be read", 0);
  else if (!note(audit, edge.child))
    fail(audit, "an inode has two names", edge.child);
  else
    walk_later(audit, edge.child, audit->parent);
  return audit->status == 0;
}

static bool detached_found(void *context, const unsigned char *key, size_t key_size,
                           const unsigned char *value, size_t value_size) {
  (void)key_size;
  (void)value;
  (void)value_size;
  struct audit *audit = context;
  const uint64_t inode = be64_load(key + 1);
  if (!note(audit, inode))
    fail(audit, "an inode that waits to be reclaimed has a name", inode);
  walk_later(audit, inode, 0);
  return audit->status == 0;
}

/* Everything below the inodes ahead. `counts`: a directory's number of children is right there. */
static void walk(struct audit *audit, bool counts) {
  while (audit->ahead_count > 0 && audit->status == 0) {
    const uint64_t inode = audit->ahead[--audit->ahead_count];
    struct inode_record record;
    if (!load(audit, inode, &record))
      continue;
    if (counts && record.parent != audit->parents[audit->ahead_count])
      fail(audit, "an inode names another directory as its own than the one that names it", inode);
    if (record.is_file) {
      walk_blocks(audit, inode, &record.blocks, counts);
      continue;
    }
    const uint64_t child_count = record.child_count;
    unsigned char prefix[8];
    be64_store(prefix, inode);
    audit->parent = inode;
    audit->edges = 0;
    tables_scan(audit->tables, TABLE_EDGES, prefix, sizeof prefix, NULL, 0, edge_found, audit);
    if (counts && audit->edges != child_count)
      fail(audit, "a directory counts other children than it has", inode);
  }
}

static int audit_tables(struct audit *audit) {
  const uint64_t inodes = tables_applied(audit->tables)->counters.inodes;
  if (inodes == 0)
    return 0; /* nothing was ever applied */
  note(audit, ROOT_INODE);
  walk_later(audit, ROOT_INODE, 0);
  walk(audit, true);
  const char prefix = DETACHED_PREFIX;
  if (audit->status == 0)
    tables_scan(audit->tables, TABLE_META, &prefix, 1, NULL, 0, detached_found, audit);
  walk(audit, false);
  if (audit->status == 0 && audit->found_count != inodes)
    audit->status =
        error_set(audit->error, ERR_CORRUPT,
                  "%" PRIu64 " inodes are counted, but %zu can be reached: a directory may be its "
                  "own ancestor",
                  inodes, audit->found_count);
  const uint64_t blocks = tables_applied(audit->tables)->counters.blocks;
  if (audit->status == 0 && audit->blocks != blocks)
    audit->status =
        error_set(audit->error, ERR_CORRUPT, "%" PRIu64 " blocks are counted, but the files have %" PRIu64,
                  blocks, audit->blocks);
  return audit->status;
}

int primary_audit(struct primary *primary, struct error *error) {
  struct audit audit = {.tables = primary->tables, .error = error};
  const int status = audit_tables(&audit);
  free(audit.found);
  free(audit.ahead);
  free(audit.parents);
  tables_trim(primary->tables);
  return status;
}
