/* namespace_read.c: stat, list, exists and blocks, on committed tables. */
#include <stdlib.h>

#include "master/bugs.h"
#include "master/namespace_internal.h"
#include "master/path.h"

/* What a read looks at: committed rows. */
struct view {
  struct tables *tables;
  struct unloaded *unloaded;         /* what is in the way */
  const struct overlay *uncommitted; /* the defect dirty-reads: these rows first; else NULL */
  bool dirty;                        /* one of them made a difference */
};

static bool see(struct view *view, enum table table, const struct row_key *key, struct slice *row) {
  if (bug_active(BUG_DIRTY_READS) && view->uncommitted) {
    const enum overlay_found found = overlay_get(view->uncommitted, table, key, row);
    view->dirty |= found != OVERLAY_UNKNOWN;
    if (found != OVERLAY_UNKNOWN)
      return found == OVERLAY_PRESENT;
  }
  return tables_get(view->tables, table, key, row);
}

static bool load(struct view *view, uint64_t inode, struct inode_record *record) {
  const struct row_key key = inode_key(inode);
  struct slice row;
  if (see(view, TABLE_INODES, &key, &row) && inode_decode(row, record))
    return true;
  namespace_corrupt(view->tables, "an inode");
  return false;
}

static bool is_unloaded(struct view *view, const struct edge_record *edge, struct slice path) {
  struct inode_record record;
  if (!edge->unloaded || !load(view, edge->child, &record) || !record.unloaded)
    return false;
  if (tables_missed(view->tables) == 0)
    unloaded_set(view->unloaded, edge->child, path, record.source);
  return true;
}

static enum answer_status find(struct view *view, struct slice path, bool lists, struct edge_record *edge) {
  const struct slice all = path;
  *edge = (struct edge_record){.child = ROOT_INODE};
  struct slice name;
  for (struct slice whole = path; path_next(&path, &name); whole = path) {
    if (edge->is_file)
      return STATUS_NOT_DIRECTORY;
    if (is_unloaded(view, edge, (struct slice){all.data, all.size - whole.size}))
      return STATUS_UNAVAILABLE;
    const struct row_key key = edge_key(edge->child, name);
    struct slice row;
    tables_look_ahead(view->tables, path, lists);
    if (!see(view, TABLE_EDGES, &key, &row))
      return STATUS_NOT_FOUND;
    if (!edge_decode(row, edge)) {
      namespace_corrupt(view->tables, "an edge");
      return STATUS_UNAVAILABLE;
    }
  }
  return STATUS_OK;
}

static void read_stat(struct view *view, const struct edge_record *edge, struct answer *answer) {
  struct inode_record record;
  if (!load(view, edge->child, &record))
    return;
  answer->is_file = record.is_file;
  answer->creator = record.creator;
  answer->version = record.version;
  answer->value = record.value;
  answer->completed = record.completed;
  answer->length = record.length;
  answer->child_count = record.child_count;
  answer->block_count = record.blocks.count;
  if (record.persisted)
    answer->source = record.source;
}

/* -- blocks -- */

static void read_blocks(struct view *view, const struct edge_record *edge, struct answer *answer,
                        struct listing *listing) {
  struct inode_record record;
  if (!load(view, edge->child, &record))
    return;
  if (record.blocks.count > listing->block_capacity) {
    listing->block_capacity = (size_t)record.blocks.count;
    listing->blocks = xrealloc(listing->blocks, listing->block_capacity * sizeof *listing->blocks);
  }
  listing->block_count = 0;
  uint64_t block = record.blocks.first;
  while (listing->block_count < record.blocks.count) {
    const struct row_key key = block_key(block);
    struct slice row;
    struct block_record found;
    if (!see(view, TABLE_BLOCKS, &key, &row) || !block_decode(row, &found)) {
      namespace_corrupt(view->tables, "a block");
      break;
    }
    listing->blocks[listing->block_count++] =
        (struct answer_block){.block = block, .length = found.length, .committed = found.committed};
    block = found.next;
  }
  answer->blocks = listing->blocks;
  answer->block_entry_count = listing->block_count;
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

/* The defect listing-cache: what was listed is listed again as long as the directory has as many children,
 * which a rename inside it does not change; and nothing empties the cache when this node ceases to be
 * primary.
 */
struct cached_listing {
  uint64_t directory; /* 0: none */
  uint64_t version, child_count;
  struct answer_entry *entries;
  size_t count;
  struct bytes names;
};

#define CACHED_LISTINGS 64

static struct cached_listing *cached_listing(struct listing *listing, uint64_t directory) {
  if (!listing->cache)
    listing->cache = xcalloc(CACHED_LISTINGS, sizeof *listing->cache);
  return &listing->cache[directory % CACHED_LISTINGS];
}

static void point_to_names(struct answer_entry *entries, size_t count, const struct bytes *names) {
  const char *name = (const char *)names->data;
  for (size_t i = 0; i < count; i++) {
    entries[i].name.data = name;
    name += entries[i].name.size;
  }
}

static void cache_listing(struct listing *listing, uint64_t directory, const struct inode_record *record) {
  struct cached_listing *cached = cached_listing(listing, directory);
  cached->directory = directory;
  cached->version = record->version;
  cached->child_count = record->child_count;
  cached->entries = xrealloc(cached->entries, (listing->count + 1) * sizeof *cached->entries);
  if (listing->count > 0)
    memcpy(cached->entries, listing->entries, listing->count * sizeof *cached->entries);
  cached->count = listing->count;
  bytes_clear(&cached->names);
  bytes_append(&cached->names, listing->names.data, listing->names.size);
  point_to_names(cached->entries, cached->count, &cached->names);
}

static bool answer_from_cache(struct listing *listing, uint64_t directory, const struct inode_record *record,
                              struct answer *answer) {
  const struct cached_listing *cached = cached_listing(listing, directory);
  if (cached->directory != directory || cached->child_count != record->child_count)
    return false;
  answer->version = cached->version;
  answer->entries = cached->entries;
  answer->entry_count = cached->count;
  return true;
}

static void read_list(struct view *view, const struct edge_record *edge, struct answer *answer,
                      struct listing *listing) {
  struct tables *tables = view->tables;
  struct inode_record record;
  if (!load(view, edge->child, &record))
    return;
  if (bug_active(BUG_LISTING_CACHE) && answer_from_cache(listing, edge->child, &record, answer))
    return;
  listing->count = 0;
  bytes_clear(&listing->names);
  unsigned char prefix[8];
  be64_store(prefix, edge->child);
  tables_scan(tables, TABLE_EDGES, prefix, sizeof prefix, NULL, 0, add_entry, listing);
  if (tables_missed(tables) > 0)
    return;
  if (listing->count != record.child_count)
    namespace_corrupt(tables, "a directory");
  /* The names have their place now that all of them are there. */
  point_to_names(listing->entries, listing->count, &listing->names);
  if (bug_active(BUG_LISTING_CACHE))
    cache_listing(listing, edge->child, &record);
  answer->version = record.version;
  answer->entries = listing->entries;
  answer->entry_count = listing->count;
}

/* -- mounts -- */

static void read_mounts(struct view *view, struct answer *answer, struct listing *listing) {
  const struct row_key key = mounts_key();
  struct slice row = {0};
  *answer = (struct answer){.status = STATUS_OK};
  if (!see(view, TABLE_META, &key, &row))
    return;
  struct reader reader = reader_make(row.data, row.size);
  struct mount_record record;
  while (mount_decode(&reader, &record)) {
    if (answer->mount_count == listing->mount_capacity) {
      listing->mount_capacity = listing->mount_capacity ? 2 * listing->mount_capacity : 8;
      listing->mounts = xrealloc(listing->mounts, listing->mount_capacity * sizeof *listing->mounts);
    }
    listing->mounts[answer->mount_count++] =
        (struct answer_mount){record.path, record.directory, record.creator};
  }
  if (reader.failed)
    namespace_corrupt(view->tables, "the mount table");
  answer->mounts = listing->mounts;
}

static void read_view(struct view *view, const struct request *request, struct answer *answer,
                      struct listing *listing) {
  *answer = (struct answer){.status = STATUS_INVALID};
  listing->unloaded.inode = 0;
  view->unloaded = &listing->unloaded;
  if (request->code == OP_WORKER_REPORT) {
    namespace_read_report(view->tables, request, answer, listing);
    return;
  }
  if (request->code == OP_WORKERS) {
    namespace_read_workers(view->tables, answer, listing);
    return;
  }
  if (request->code == OP_MOUNTS) {
    read_mounts(view, answer, listing);
    return;
  }
  if (!path_valid(request->path))
    return;
  struct edge_record edge;
  answer->status = find(view, request->path, request->code == OP_LIST, &edge);
  if (request->code == OP_EXISTS) {
    answer->exists = answer->status == STATUS_OK;
    if (answer->status != STATUS_UNAVAILABLE)
      answer->status = STATUS_OK;
    return;
  }
  if (answer->status != STATUS_OK)
    return;
  if ((request->code == OP_STAT || request->code == OP_LIST) && is_unloaded(view, &edge, request->path))
    answer->status = STATUS_UNAVAILABLE;
  else if (request->code == OP_STAT)
    read_stat(view, &edge, answer);
  else if ((request->code == OP_BLOCKS || request->code == OP_LOCATE) && !edge.is_file)
    answer->status = STATUS_IS_DIRECTORY;
  else if (request->code == OP_BLOCKS || request->code == OP_LOCATE)
    read_blocks(view, &edge, answer, listing);
  else if (edge.is_file)
    answer->status = STATUS_NOT_DIRECTORY;
  else
    read_list(view, &edge, answer, listing);
}

void namespace_read(struct tables *tables, const struct request *request, struct answer *answer,
                    struct listing *listing) {
  struct view view = {.tables = tables};
  read_view(&view, request, answer, listing);
}

#ifdef ASSAY_BUGS
bool namespace_read_uncommitted(const struct namespace *space, const struct request *request,
                                struct answer *answer, struct listing *listing) {
  struct view view = {.tables = space->tables, .uncommitted = space->overlay};
  if (request->code == OP_LIST)
    return false; /* names would have to be merged */
  read_view(&view, request, answer, listing);
  return view.dirty && listing->unloaded.inode == 0;
}
#endif

void listing_free(struct listing *listing) {
  for (size_t i = 0; listing->cache && i < CACHED_LISTINGS; i++) {
    free(listing->cache[i].entries);
    bytes_free(&listing->cache[i].names);
  }
  free(listing->cache);
  free(listing->entries);
  free(listing->blocks);
  free(listing->workers);
  free(listing->places);
  free(listing->mounts);
  bytes_free(&listing->unloaded.source);
  bytes_free(&listing->names);
}
