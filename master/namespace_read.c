/* namespace_read.c: stat, list and exists, on committed tables. */
#include <stdlib.h>

#include "master/namespace_internal.h"
#include "master/path.h"

static enum answer_status find(struct tables *tables, struct slice path, struct edge_record *edge) {
  *edge = (struct edge_record){.child = ROOT_INODE};
  struct slice name;
  while (path_next(&path, &name)) {
    if (edge->is_file)
      return STATUS_NOT_DIRECTORY;
    const struct row_key key = edge_key(edge->child, name);
    struct slice row;
    if (!tables_get(tables, TABLE_EDGES, &key, &row))
      return STATUS_NOT_FOUND;
    if (!edge_decode(row, edge)) {
      namespace_corrupt(tables, "an edge");
      return STATUS_UNAVAILABLE;
    }
  }
  return STATUS_OK;
}

static bool load(struct tables *tables, uint64_t inode, struct inode_record *record) {
  const struct row_key key = inode_key(inode);
  struct slice row;
  if (tables_get(tables, TABLE_INODES, &key, &row) && inode_decode(row, record))
    return true;
  namespace_corrupt(tables, "an inode");
  return false;
}

static void read_stat(struct tables *tables, const struct edge_record *edge, struct answer *answer) {
  struct inode_record record;
  if (!load(tables, edge->child, &record))
    return;
  answer->is_file = record.is_file;
  answer->creator = record.creator;
  answer->version = record.version;
  answer->value = record.value;
  answer->completed = record.completed;
  answer->length = record.length;
  answer->child_count = record.child_count;
}

/* -- list -- */

static bool add_entry(void *context, const unsigned char *key, size_t key_size, const unsigned char *value,
                      size_t value_size) {
  struct listing *listing = context;
  struct edge_record edge;
  if (!edge_decode((struct slice){(const char *)value, value_size}, &edge))
    return false;
  if (listing->count == listing->capacity) {
    listing->capacity = listing->capacity ? 2 * listing->capacity : 64;
    listing->entries = xrealloc(listing->entries, listing->capacity * sizeof *listing->entries);
  }
  listing->entries[listing->count++] =
      (struct answer_entry){.name = {NULL, key_size - 8}, .is_file = edge.is_file, .creator = edge.creator};
  bytes_append(&listing->names, key + 8, key_size - 8);
  return true;
}

static void read_list(struct tables *tables, const struct edge_record *edge, struct answer *answer,
                      struct listing *listing) {
  struct inode_record record;
  if (!load(tables, edge->child, &record))
    return;
  listing->count = 0;
  bytes_clear(&listing->names);
  unsigned char prefix[8];
  be64_store(prefix, edge->child);
  tables_scan(tables, TABLE_EDGES, prefix, sizeof prefix, NULL, 0, add_entry, listing);
  if (listing->count != record.child_count)
    namespace_corrupt(tables, "a directory");
  /* The names have their place now that all of them are there. */
  const char *name = (const char *)listing->names.data;
  for (size_t i = 0; i < listing->count; i++) {
    listing->entries[i].name.data = name;
    name += listing->entries[i].name.size;
  }
  answer->version = record.version;
  answer->entries = listing->entries;
  answer->entry_count = listing->count;
}

void namespace_read(struct tables *tables, const struct request *request, struct answer *answer,
                    struct listing *listing) {
  *answer = (struct answer){.status = STATUS_INVALID};
  if (!path_valid(request->path))
    return;
  struct edge_record edge;
  answer->status = find(tables, request->path, &edge);
  if (request->code == OP_EXISTS) {
    answer->exists = answer->status == STATUS_OK;
    if (answer->status != STATUS_UNAVAILABLE)
      answer->status = STATUS_OK;
    return;
  }
  if (answer->status != STATUS_OK)
    return;
  if (request->code == OP_STAT)
    read_stat(tables, &edge, answer);
  else if (edge.is_file)
    answer->status = STATUS_NOT_DIRECTORY;
  else
    read_list(tables, &edge, answer, listing);
}

void listing_free(struct listing *listing) {
  free(listing->entries);
  bytes_free(&listing->names);
}
