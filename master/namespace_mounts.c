/* namespace_mounts.c: directories of the under-store in the namespace: the mount table, and how names come
 * in.
 *
 *   mount /m DIR      /m: a directory, unloaded, source DIR
 *   stat /m/a/b       /m is unloaded: its names become inodes, subdirectories unloaded ones; then /m/a in
 * turn
 *
 * What comes in has the creator and the versions that it would have if the mount had been a batch that makes
 * the directories and completed files: a directory's version is one more than it has children, a file's is 2.
 * So it makes no difference when it does come in, or in how many entries; only the last of them makes the
 * directory one that may be looked at. */
#include "master/namespace_internal.h"
#include "master/path.h"

#define LOAD_SIZE (128u << 10) /* bytes of an open batch that end a step of loading */

void unloaded_set(struct unloaded *unloaded, uint64_t inode, struct slice path, struct slice source) {
  unloaded->inode = inode;
  unloaded->path = path;
  bytes_clear(&unloaded->source);
  bytes_append(&unloaded->source, source.data, source.size);
}

static bool same(struct slice a, struct slice b) {
  return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

/* `path` or something below it. */
static bool lies_at(struct slice inner, struct slice path) {
  return path_is_root(path) || same(inner, path) || path_lies_under(inner, path);
}

/* -- the mount table ------------------------------------------------------------------------------------ */

static struct reader read_table(struct namespace *space) {
  const struct row_key key = mounts_key();
  struct slice row = {0};
  if (!namespace_get(space, TABLE_META, &key, &row))
    return reader_make(NULL, 0);
  return reader_make(row.data, row.size);
}

static bool next_mount(struct namespace *space, struct reader *reader, struct mount_record *mount) {
  const bool found = mount_decode(reader, mount);
  if (reader->failed)
    namespace_corrupt(space->tables, "the mount table");
  return found;
}

bool namespace_holds_mount(struct namespace *space, struct slice path) {
  struct reader reader = read_table(space);
  struct mount_record mount;
  while (next_mount(space, &reader, &mount))
    if (lies_at(mount.path, path))
      return true;
  return false;
}

/* The mount that the path lies below. */
static bool mount_above(struct namespace *space, struct slice path, struct mount_record *mount) {
  struct reader reader = read_table(space);
  while (next_mount(space, &reader, mount))
    if (path_lies_under(path, mount->path))
      return true;
  return false;
}

bool namespace_same_mount(struct namespace *space, struct slice a, struct slice b) {
  struct mount_record of_a, of_b;
  const bool mounted_a = mount_above(space, a, &of_a), mounted_b = mount_above(space, b, &of_b);
  return mounted_a == mounted_b && (!mounted_a || same(of_a.path, of_b.path));
}

static void put_table(struct namespace *space, const struct bytes *row) {
  const struct row_key key = mounts_key();
  if (row->size > 0)
    overlay_put(space->overlay, TABLE_META, &key, ROW_PUT,
                (struct slice){(const char *)row->data, row->size});
  else
    namespace_delete(space, TABLE_META, &key);
}

/* NULL, or why the table has no place for that mount. */
static const char *refusal(struct namespace *space, const struct request *request) {
  struct reader reader = read_table(space);
  struct mount_record mount;
  size_t count = 0;
  for (; next_mount(space, &reader, &mount); count++) {
    if (path_lies_under(request->path, mount.path))
      return "a mount cannot lie below another one";
    if (lies_at(request->destination, mount.directory) || lies_at(mount.directory, request->destination))
      return "this directory, or one above or below it, is mounted already (assay admin mounts)";
  }
  return count < MOUNTS_LIMIT ? NULL : "there are as many mounts as there can be";
}

enum answer_status namespace_mount(struct namespace *space, const struct request *request,
                                   struct outcome *outcome) {
  if (!space->under_store ||
      !space->under_store->functions->allows(space->under_store, request->destination)) {
    outcome->stateless = true;
    outcome->message = "the directory lies in none that the masters may read: start every assay-master (and "
                       "assay-worker) with --mount-root DIR, where DIR is it or is above it";
    return STATUS_INVALID;
  }
  outcome->message = refusal(space, request);
  if (outcome->message)
    return STATUS_INVALID;
  struct place place;
  const enum answer_status status = namespace_resolve_parent(space, request->path, false, &place);
  if (status != STATUS_OK)
    return status;
  if (place.found)
    return STATUS_EXISTS;
  if (namespace_is_lost(space))
    return STATUS_UNAVAILABLE;
  const uint64_t inode = space->counters.next_inode;
  namespace_make(space, &place, false, request->op_id, false);
  struct inode_record record;
  namespace_load_inode(space, inode, &record);
  record.unloaded = true;
  record.source = request->destination;
  namespace_put_inode(space, inode, &record, ROW_PUT);
  namespace_put_edge(space, place.parent, place.name,
                     &(struct edge_record){.child = inode, .unloaded = true, .creator = request->op_id});
  struct reader reader = read_table(space);
  struct bytes row = {0};
  if (reader_left(&reader) > 0)
    bytes_append(&row, reader.at, reader_left(&reader));
  mount_encode(&row, &(struct mount_record){request->path, request->destination, request->op_id});
  put_table(space, &row);
  bytes_free(&row);
  outcome->creator = request->op_id;
  return STATUS_OK;
}

enum answer_status namespace_unmount(struct namespace *space, const struct request *request,
                                     struct outcome *outcome) {
  struct reader reader = read_table(space);
  struct mount_record mount;
  struct bytes others = {0};
  bool found = false;
  while (next_mount(space, &reader, &mount)) {
    if (same(mount.path, request->path))
      found = true;
    else
      mount_encode(&others, &mount);
  }
  struct place place;
  struct inode_record record;
  if (found && namespace_resolve(space, request->path, &place) == STATUS_OK) {
    namespace_load_inode(space, place.child.child, &record);
    if (!namespace_is_lost(space)) {
      put_table(space, &others);
      namespace_delete_edge(space, place.parent, place.name);
      namespace_change_directory(space, place.parent, -1);
      outcome->detached = record.child_count > 0;
      if (outcome->detached)
        namespace_detach(space, place.child.child, &record);
      else
        namespace_delete_inode(space, place.child.child);
    }
  }
  bytes_free(&others);
  return found ? STATUS_OK : STATUS_NOT_FOUND;
}

/* -- files -- */

enum answer_status namespace_persisted(struct namespace *space, const struct request *request) {
  struct place place;
  const enum answer_status status = namespace_resolve_file(space, request->path, &place);
  if (status != STATUS_OK)
    return status;
  if (place.child.creator != request->creator)
    return STATUS_NOT_FOUND;
  struct mount_record mount;
  struct inode_record record;
  const bool below =
      mount_above(space, request->path, &mount) && path_lies_under(request->destination, mount.directory);
  namespace_load_inode(space, place.child.child, &record);
  if (namespace_is_lost(space))
    return STATUS_UNAVAILABLE;
  if (!below || !record.completed)
    return STATUS_INVALID;
  record.persisted = true;
  record.source = request->destination;
  namespace_put_inode(space, place.child.child, &record, ROW_PUT);
  return STATUS_OK;
}

/* -- loading -------------------------------------------------------------------------------------------- */

/* False: it is loaded, or gone, or something is missing. What hangs below what was deleted must not get more
 * while it is being reclaimed. */
static bool open_directory(struct namespace *space, uint64_t directory, struct inode_record *record) {
  const struct row_key key = inode_key(directory);
  struct slice row;
  if (!namespace_get(space, TABLE_INODES, &key, &row))
    return false;
  if (!inode_decode(row, record)) {
    namespace_corrupt(space->tables, "an inode");
    return false;
  }
  return record->unloaded && namespace_is_attached(space, record->parent);
}

/* A name of the namespace? */
static bool is_name(struct slice name) {
  char path[NAME_SIZE_LIMIT + 1] = "/";
  if (name.size == 0 || name.size > NAME_SIZE_LIMIT || memchr(name.data, '/', name.size))
    return false;
  memcpy(path + 1, name.data, name.size);
  return path_valid((struct slice){path, name.size + 1});
}

static void make_loaded(struct namespace *space, uint64_t directory, const struct inode_record *above,
                        const struct under_store_entry *entry) {
  const uint64_t inode = space->counters.next_inode++;
  space->counters.inodes++;
  const struct slice source = {(const char *)space->source.data, space->source.size};
  namespace_put_inode(space, inode,
                      &(struct inode_record){.is_file = entry->is_file,
                                             .completed = entry->is_file,
                                             .creator = above->creator,
                                             .version = entry->is_file ? 2 : 1,
                                             .length = entry->is_file ? entry->length : 0,
                                             .mtime_ns = entry->mtime_ns > 0 ? entry->mtime_ns : 0,
                                             .parent = directory,
                                             .unloaded = !entry->is_file,
                                             .persisted = entry->is_file,
                                             .source = source},
                      entry->is_file ? ROW_PUT_FRESH : ROW_PUT_OPENING);
  namespace_put_edge(
      space, directory, entry->name,
      &(struct edge_record){
          .child = inode, .is_file = entry->is_file, .unloaded = !entry->is_file, .creator = above->creator});
}

/* True when there is one child more. */
static bool load_entry(struct namespace *space, uint64_t directory, const struct inode_record *above,
                       const struct under_store_entry *entry, size_t *left_out) {
  bytes_clear(&space->source);
  bytes_append(&space->source, above->source.data, above->source.size);
  bytes_append_u8(&space->source, '/');
  bytes_append(&space->source, entry->name.data, entry->name.size);
  if (!is_name(entry->name) || space->source.size > PATH_SIZE_LIMIT) {
    ++*left_out;
    return false;
  }
  const struct row_key key = edge_key(directory, entry->name);
  struct slice row;
  if (namespace_get(space, TABLE_EDGES, &key, &row) || namespace_is_lost(space))
    return false;
  make_loaded(space, directory, above, entry);
  return true;
}

static bool load(struct namespace *space, uint64_t directory, const struct under_store_entry *entries,
                 size_t count, size_t *taken, size_t *left_out) {
  struct inode_record record;
  if (!open_directory(space, directory, &record))
    return namespace_is_lost(space);
  uint64_t added = 0;
  for (; *taken < count && overlay_open_size(space->overlay) < LOAD_SIZE; ++*taken)
    added += load_entry(space, directory, &record, &entries[*taken], left_out);
  if (added == 0 || namespace_is_lost(space))
    return true;
  record.version += added;
  record.child_count += added;
  namespace_put_inode(space, directory, &record, ROW_PUT);
  return true;
}

bool namespace_load(struct namespace *space, uint64_t directory, const struct under_store_entry *entries,
                    size_t count, size_t *taken, size_t *left_out) {
  struct namespace_mark mark;
  const size_t left_out_before = *left_out;
  space->unloaded.inode = 0;
  *taken = 0;
  namespace_begin(space, &mark);
  const bool goes_on = load(space, directory, entries, count, taken, left_out);
  if (namespace_end(space, &mark))
    return goes_on;
  *taken = 0;
  *left_out = left_out_before;
  return true;
}

static bool load_end(struct namespace *space, uint64_t directory, struct slice path) {
  struct inode_record record;
  if (!open_directory(space, directory, &record))
    return namespace_is_lost(space);
  record.unloaded = false;
  record.source = (struct slice){0};
  namespace_put_inode(space, directory, &record, ROW_PUT);
  /* Spares those who come by a look at the inode, if the directory was not moved meanwhile. */
  struct place place;
  if (namespace_resolve(space, path, &place) == STATUS_OK && place.child.child == directory) {
    place.child.unloaded = false;
    namespace_put_edge(space, place.parent, place.name, &place.child);
  }
  space->unloaded.inode = 0;
  return true;
}

bool namespace_load_end(struct namespace *space, uint64_t directory, struct slice path) {
  struct namespace_mark mark;
  space->unloaded.inode = 0;
  namespace_begin(space, &mark);
  const bool goes_on = load_end(space, directory, path);
  namespace_end(space, &mark);
  return goes_on;
}
