#include "master/namespace.h"

#include <assert.h>

#include "master/bugs.h"
#include "master/namespace_internal.h"
#include "master/path.h"

void namespace_init(struct namespace *space, struct tables *tables, struct overlay *overlay) {
  *space = (struct namespace){.tables = tables, .overlay = overlay};
  namespace_reset(space);
}

void namespace_reset(struct namespace *space) {
  overlay_clear(space->overlay);
  space->counters = tables_applied(space->tables)->counters;
  space->reclaim_inode = 0;
  space->unloaded.inode = 0;
  space->expire_next = 1;
  space->defects.freed_by = 0;
}

void namespace_free(struct namespace *space) {
  bytes_free(&space->source);
  bytes_free(&space->unloaded.source);
  bytes_free(&space->scratch);
}

/* -- rows -- */

void namespace_corrupt(struct tables *tables, const char *what) {
  if (bug_any_active() || tables_missed(tables) > 0)
    return;
  struct error error;
  error_set(
      &error, ERR_CORRUPT,
      "%s cannot be read from the tables: stop this node, remove its data directory and let it catch up "
      "from the others",
      what);
  tables_fail(tables, &error);
}

bool namespace_get(struct namespace *space, enum table table, const struct row_key *key,
                   struct slice *value) {
  switch (overlay_get(space->overlay, table, key, value)) {
  case OVERLAY_PRESENT:
    return true;
  case OVERLAY_ABSENT:
    return false;
  default:
    return tables_get(space->tables, table, key, value);
  }
}

void namespace_put_scratch(struct namespace *space, enum table table, const struct row_key *key,
                           enum row_change change) {
  overlay_put(space->overlay, table, key, change,
              (struct slice){(const char *)space->scratch.data, space->scratch.size});
}

void namespace_delete(struct namespace *space, enum table table, const struct row_key *key) {
  overlay_put(space->overlay, table, key, ROW_DELETE, (struct slice){0});
}

/* The defects no-parent-lock and rename-cycle: who looks a name up does not wait for those who are changing
 * it, or a directory on the way to it. */
static bool overlooks_uncommitted(const struct namespace *space, bool last) {
  return last ? bug_active(BUG_NO_PARENT_LOCK) : bug_active(BUG_RENAME_CYCLE) && space->defects.renaming;
}

/* `last`: of a path. */
static bool find_edge(struct namespace *space, uint64_t parent, struct slice name, bool last,
                      struct edge_record *edge) {
  const struct row_key key = edge_key(parent, name);
  struct slice row;
  const bool found = overlooks_uncommitted(space, last) ? tables_get(space->tables, TABLE_EDGES, &key, &row)
                                                        : namespace_get(space, TABLE_EDGES, &key, &row);
  if (!found)
    return false;
  if (!edge_decode(row, edge))
    namespace_corrupt(space->tables, "an edge");
  return true;
}

void namespace_load_inode(struct namespace *space, uint64_t inode, struct inode_record *record) {
  const struct row_key key = inode_key(inode);
  struct slice row;
  if (!namespace_get(space, TABLE_INODES, &key, &row) || !inode_decode(row, record)) {
    namespace_corrupt(space->tables, "an inode");
    *record = (struct inode_record){.version = 1};
  }
}

void namespace_put_inode(struct namespace *space, uint64_t inode, const struct inode_record *record,
                         enum row_change change) {
  bytes_clear(&space->scratch);
  inode_encode(&space->scratch, record);
  const struct row_key key = inode_key(inode);
  namespace_put_scratch(space, TABLE_INODES, &key, change);
}

void namespace_bump(const struct namespace *space, struct inode_record *record) {
  record->version++;
  if (record->mtime_ns < space->wall_ns)
    record->mtime_ns = space->wall_ns;
}

void namespace_change_directory(struct namespace *space, uint64_t directory, int children) {
  struct inode_record record;
  namespace_load_inode(space, directory, &record);
  if (namespace_is_lost(space))
    return;
  assert(bug_any_active() || (!record.is_file && (children >= 0 || record.child_count > 0)));
  namespace_bump(space, &record);
  record.child_count += (uint64_t)children;
  namespace_put_inode(space, directory, &record, ROW_PUT);
}

void namespace_put_edge(struct namespace *space, uint64_t parent, struct slice name,
                        const struct edge_record *edge) {
  bytes_clear(&space->scratch);
  edge_encode(&space->scratch, edge);
  const struct row_key key = edge_key(parent, name);
  namespace_put_scratch(space, TABLE_EDGES, &key, ROW_PUT);
}

void namespace_delete_edge(struct namespace *space, uint64_t parent, struct slice name) {
  const struct row_key key = edge_key(parent, name);
  namespace_delete(space, TABLE_EDGES, &key);
}

void namespace_delete_inode(struct namespace *space, uint64_t inode) {
  const struct row_key key = inode_key(inode);
  namespace_delete(space, TABLE_INODES, &key);
  space->counters.inodes--;
}

/* An inode that has lost its name, and has more than its own row: that goes later, namespace_reclaim(). */
void namespace_detach(struct namespace *space, uint64_t inode, struct inode_record *record) {
  record->parent = 0;
  namespace_put_inode(space, inode, record, ROW_PUT);
  const struct row_key key = detached_key(inode);
  overlay_put(space->overlay, TABLE_META, &key, ROW_PUT_FRESH, (struct slice){0});
}

/* -- resolving -- */

static const struct edge_record root_edge = {.child = ROOT_INODE};

static bool is_freed(const struct namespace *space, const struct place *place) {
  const struct namespace_defects *defects = &space->defects;
  return place->found && defects->freed_by != 0 && place->parent == defects->freed_in &&
         place->child.child == defects->freed_edge.child;
}

bool namespace_is_unloaded(struct namespace *space, const struct edge_record *edge, struct slice path) {
  struct inode_record record;
  if (!edge->unloaded)
    return false;
  namespace_load_inode(space, edge->child, &record);
  if (record.unloaded)
    unloaded_set(&space->unloaded, edge->child, path, record.source);
  return record.unloaded;
}

/* Resolves all but the last component, then looks at that one. Missing directories are an error unless
 * `parents` will make them. */
enum answer_status namespace_resolve_parent(struct namespace *space, struct slice path, bool parents,
                                            struct place *place) {
  *place = (struct place){.parent = ROOT_INODE, .found = true, .child = root_edge};
  struct slice rest = path, whole = path;
  while (path_next(&rest, &place->name)) {
    if (place->child.is_file)
      return STATUS_NOT_DIRECTORY;
    if (namespace_is_unloaded(space, &place->child, (struct slice){path.data, path.size - whole.size}))
      return STATUS_UNAVAILABLE;
    place->parent = place->child.child;
    tables_look_ahead(space->tables, rest, false);
    place->found = find_edge(space, place->parent, place->name, rest.size == 0, &place->child);
    if (bug_active(BUG_RENAME_EARLY_FREE) && is_freed(space, place))
      place->found = false;
    if (!place->found && rest.size > 0) {
      if (!parents || tables_missed(space->tables) > 0)
        return STATUS_NOT_FOUND;
      place->missing = whole;
      while (path_next(&rest, &place->name))
        continue;
      return STATUS_OK;
    }
    whole = rest;
  }
  return STATUS_OK;
}

enum answer_status namespace_resolve(struct namespace *space, struct slice path, struct place *place) {
  const enum answer_status status = namespace_resolve_parent(space, path, false, place);
  return status == STATUS_OK && !place->found ? STATUS_NOT_FOUND : status;
}

enum answer_status namespace_resolve_file(struct namespace *space, struct slice path, struct place *place) {
  const enum answer_status status = namespace_resolve(space, path, place);
  return status == STATUS_OK && !place->child.is_file ? STATUS_IS_DIRECTORY : status;
}

void namespace_make(struct namespace *space, const struct place *place, bool is_file, uint64_t op_id,
                    bool replaces) {
  namespace_change_directory(space, place->parent, replaces ? 0 : 1);
  uint64_t parent = place->parent;
  struct slice rest = place->missing, name = place->name;
  bool last = rest.size == 0;
  do {
    if (rest.size > 0) {
      path_next(&rest, &name);
      last = rest.size == 0;
    }
    const uint64_t inode = space->counters.next_inode++;
    space->counters.inodes++;
    const bool file = last && is_file;
    namespace_put_inode(space, inode,
                        &(struct inode_record){.is_file = file,
                                               .creator = op_id,
                                               .version = last ? 1 : 2,
                                               .child_count = last ? 0 : 1,
                                               .mtime_ns = space->wall_ns,
                                               .parent = parent},
                        file ? ROW_PUT_FRESH : ROW_PUT_OPENING);
    namespace_put_edge(space, parent, name,
                       &(struct edge_record){.child = inode, .is_file = file, .creator = op_id});
    parent = inode;
  } while (!last);
}

bool namespace_malformed(const struct request *request) {
  if (request->code == OP_COMMIT_BLOCK)
    return false;
  if (request->code == OP_BATCH)
    return request->item_count > BATCH_ITEMS_LIMIT;
  if (!path_valid(request->path))
    return true;
  if (request->code == OP_RENAME)
    return !path_valid(request->destination);
  if (request->code == OP_MOUNT || request->code == OP_UNMOUNT || request->code == OP_PERSISTED)
    return path_is_root(request->path) ||
           (request->code != OP_UNMOUNT &&
            (!path_valid(request->destination) || path_is_root(request->destination)));
  if (request->code == OP_SET && request->value.size > VALUE_SIZE_LIMIT)
    return true;
  return request->code == OP_DELETE && path_is_root(request->path);
}

/* -- the mutations; paths are valid -- */

static enum answer_status do_mkdir(struct namespace *space, const struct request *request,
                                   struct outcome *outcome) {
  struct place place;
  const enum answer_status status = namespace_resolve_parent(space, request->path, request->parents, &place);
  if (status != STATUS_OK)
    return status;
  if (place.found) {
    if (!request->exist_ok || place.child.is_file)
      return STATUS_EXISTS;
    outcome->creator = place.child.creator;
    return STATUS_OK;
  }
  namespace_make(space, &place, false, request->op_id, false);
  outcome->creator = request->op_id;
  return STATUS_OK;
}

/* A file that has lost its name. */
static void remove_file(struct namespace *space, const struct edge_record *edge, struct outcome *outcome) {
  if (!edge->has_blocks) {
    namespace_delete_inode(space, edge->child);
    return;
  }
  struct inode_record record;
  namespace_load_inode(space, edge->child, &record);
  namespace_detach(space, edge->child, &record);
  outcome->detached = true;
}

static enum answer_status do_create(struct namespace *space, const struct request *request,
                                    struct outcome *outcome) {
  struct place place;
  const enum answer_status status = namespace_resolve_parent(space, request->path, request->parents, &place);
  if (status != STATUS_OK)
    return status;
  if (place.found && !place.child.is_file)
    return STATUS_IS_DIRECTORY;
  if (place.found && !request->overwrite)
    return STATUS_EXISTS;
  if (place.found)
    remove_file(space, &place.child, outcome);
  namespace_make(space, &place, true, request->op_id, place.found);
  outcome->creator = request->op_id;
  return STATUS_OK;
}

static enum answer_status do_complete(struct namespace *space, const struct request *request,
                                      struct outcome *outcome) {
  struct place place;
  const enum answer_status status = namespace_resolve_file(space, request->path, &place);
  if (status != STATUS_OK)
    return status;
  struct inode_record record;
  namespace_load_inode(space, place.child.child, &record);
  if (record.completed)
    return STATUS_ALREADY_COMPLETED;
  if (namespace_is_lost(space))
    return STATUS_UNAVAILABLE;
  if (record.blocks.uncommitted > 0)
    return STATUS_BLOCK_UNCOMMITTED;
  if (record.blocks.count > 0 && record.blocks.length != request->length)
    return STATUS_INVALID;
  namespace_bump(space, &record);
  record.completed = true;
  record.length = request->length;
  namespace_put_inode(space, place.child.child, &record, ROW_PUT);
  outcome->version = record.version;
  return STATUS_OK;
}

/* -- the defect delete-not-atomic -- */

#define DELETE_ENTRY_INODES 2 /* in one entry; Alluxio has 100, and larger trees */

struct delete_step {
  struct namespace *space;
  uint64_t directory;
  unsigned left, deleted;
};

static bool delete_below(struct delete_step *step);

static bool delete_child(void *context, const unsigned char *key, size_t key_size, const unsigned char *value,
                         size_t value_size) {
  struct delete_step *step = context;
  struct namespace *space = step->space;
  const struct slice name = {(const char *)key + 8, key_size - 8};
  const struct row_key edge_at = edge_key(step->directory, name);
  struct slice row = {(const char *)value, value_size};
  struct edge_record edge;
  if (overlay_get(space->overlay, TABLE_EDGES, &edge_at, &row) == OVERLAY_ABSENT || !edge_decode(row, &edge))
    return true;
  struct delete_step below = {.space = space, .directory = edge.child, .left = step->left};
  if (!edge.is_file && delete_below(&below)) {
    step->deleted += below.deleted;
    step->left -= below.deleted;
    return step->left > 0;
  }
  namespace_delete_edge(space, step->directory, name);
  namespace_change_directory(space, step->directory, -1);
  size_t all = SIZE_MAX;
  if (edge.has_blocks)
    namespace_drop_blocks(space, edge.child, &all);
  namespace_delete_inode(space, edge.child);
  step->deleted++;
  return --step->left > 0;
}

/* Deletes some of what hangs below a directory. False when nothing committed does. */
static bool delete_below(struct delete_step *step) {
  unsigned char prefix[8];
  be64_store(prefix, step->directory);
  tables_scan(step->space->tables, TABLE_EDGES, prefix, sizeof prefix, NULL, 0, delete_child, step);
  return step->deleted > 0;
}

static bool delete_some(struct namespace *space, uint64_t directory) {
  return delete_below(
      &(struct delete_step){.space = space, .directory = directory, .left = DELETE_ENTRY_INODES});
}

static enum answer_status do_delete(struct namespace *space, const struct request *request,
                                    struct outcome *outcome) {
  struct place place;
  const enum answer_status status = namespace_resolve(space, request->path, &place);
  if (status != STATUS_OK)
    return status;
  if (!request->recursive && namespace_is_unloaded(space, &place.child, request->path))
    return STATUS_UNAVAILABLE;
  if (!place.child.is_file && namespace_holds_mount(space, request->path))
    return STATUS_INVALID;
  struct inode_record record;
  namespace_load_inode(space, place.child.child, &record);
  if (record.child_count > 0 && !request->recursive)
    return STATUS_NOT_EMPTY;
  if (bug_active(BUG_DELETE_NOT_ATOMIC) && !space->defects.trying && record.child_count > 0 &&
      delete_some(space, place.child.child)) {
    outcome->unfinished = true;
    return STATUS_OK;
  }
  namespace_delete_edge(space, place.parent, place.name);
  namespace_change_directory(space, place.parent, -1);
  if (record.child_count > 0 || record.blocks.count > 0) {
    namespace_detach(space, place.child.child, &record);
    outcome->detached = true;
  } else {
    namespace_delete_inode(space, place.child.child);
  }
  return STATUS_OK;
}

static bool slice_equal(struct slice a, struct slice b) {
  return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

/* -- the defect rename-early-free -- */

#ifdef ASSAY_BUGS
bool namespace_free_early(struct namespace *space, const struct request *request) {
  struct namespace_defects *defects = &space->defects;
  struct place from, to;
  if (defects->freed_by != 0 || namespace_malformed(request) || path_is_root(request->path) ||
      path_is_root(request->destination) || path_lies_under(request->destination, request->path) ||
      namespace_resolve(space, request->path, &from) != STATUS_OK ||
      namespace_resolve_parent(space, request->destination, false, &to) != STATUS_OK || to.found)
    return false;
  defects->freed_by = request->op_id;
  defects->freed_in = from.parent;
  defects->freed_edge = from.child;
  return true;
}
#endif

/* The rename moves what it found when it began, whatever has its source's name now. */
static enum answer_status resolve_freed(struct namespace *space, const struct request *request,
                                        struct place *from) {
  struct namespace_defects *defects = &space->defects;
  defects->freed_by = 0;
  const enum answer_status status = namespace_resolve_parent(space, request->path, false, from);
  if (status != STATUS_OK || from->parent != defects->freed_in)
    return STATUS_NOT_FOUND;
  from->child = defects->freed_edge;
  return STATUS_OK;
}

static enum answer_status resolve_source(struct namespace *space, const struct request *request,
                                         struct place *from) {
  if (bug_active(BUG_RENAME_EARLY_FREE) && space->defects.freed_by == request->op_id)
    return resolve_freed(space, request, from);
  return namespace_resolve(space, request->path, from);
}

static void set_parent(struct namespace *space, uint64_t inode, uint64_t parent) {
  struct inode_record record;
  namespace_load_inode(space, inode, &record);
  record.parent = parent;
  namespace_put_inode(space, inode, &record, ROW_PUT);
}

static enum answer_status do_rename(struct namespace *space, const struct request *request) {
  struct place from, to;
  enum answer_status status = resolve_source(space, request, &from);
  if (status != STATUS_OK)
    return status;
  if (slice_equal(request->path, request->destination))
    return STATUS_OK;
  if (path_is_root(request->path))
    return STATUS_INVALID;
  if (path_is_root(request->destination))
    return STATUS_EXISTS;
  /* A path names one inode and an inode has one path, so the names alone tell what lies under what. */
  if (path_lies_under(request->destination, request->path) ||
      (!from.child.is_file && namespace_holds_mount(space, request->path)) ||
      !namespace_same_mount(space, request->path, request->destination))
    return STATUS_INVALID;
  space->defects.renaming = true;
  status = namespace_resolve_parent(space, request->destination, false, &to);
  space->defects.renaming = false;
  if (status != STATUS_OK)
    return status;
  if (to.found)
    return STATUS_EXISTS;
  namespace_delete_edge(space, from.parent, from.name);
  if (from.parent == to.parent) {
    namespace_change_directory(space, from.parent, 0);
  } else {
    namespace_change_directory(space, from.parent, -1);
    if (bug_active(BUG_PARTIAL_BATCH) && !space->defects.trying)
      space->defects.cut(space->defects.cut_context);
    namespace_change_directory(space, to.parent, 1);
    set_parent(space, from.child.child, to.parent);
  }
  namespace_put_edge(space, to.parent, to.name, &from.child);
  return STATUS_OK;
}

static enum answer_status do_set(struct namespace *space, const struct request *request,
                                 struct outcome *outcome) {
  struct place place;
  const enum answer_status status = namespace_resolve(space, request->path, &place);
  if (status != STATUS_OK)
    return status;
  if (namespace_is_unloaded(space, &place.child, request->path))
    return STATUS_UNAVAILABLE;
  struct inode_record record;
  namespace_load_inode(space, place.child.child, &record);
  if (request->has_if_version && request->if_version != record.version) {
    outcome->version = record.version;
    return STATUS_VERSION_MISMATCH;
  }
  namespace_bump(space, &record);
  record.value = request->value;
  namespace_put_inode(space, place.child.child, &record, ROW_PUT);
  outcome->version = record.version;
  return STATUS_OK;
}

enum answer_status namespace_mutate(struct namespace *space, const struct request *request,
                                    struct outcome *outcome) {
  switch (request->code) {
  case OP_MKDIR:
    return do_mkdir(space, request, outcome);
  case OP_CREATE:
    return do_create(space, request, outcome);
  case OP_COMPLETE:
    return do_complete(space, request, outcome);
  case OP_DELETE:
    return do_delete(space, request, outcome);
  case OP_RENAME:
    return do_rename(space, request);
  case OP_SET:
    return do_set(space, request, outcome);
  case OP_ADD_BLOCK:
    return namespace_add_block(space, request, outcome);
  case OP_COMMIT_BLOCK:
    return namespace_commit_block(space, request);
  case OP_BATCH:
    return namespace_batch(space, request, outcome);
  case OP_MOUNT:
    return namespace_mount(space, request, outcome);
  case OP_UNMOUNT:
    return namespace_unmount(space, request, outcome);
  case OP_PERSISTED:
    return namespace_persisted(space, request);
  default:
    assert(false);
    return STATUS_INVALID;
  }
}

static void evaluate(struct namespace *space, const struct request *request, struct outcome *outcome) {
  *outcome = (struct outcome){.numbers = outcome->numbers};
  if (request->code == OP_RESERVE_CLIENTS) {
    clients_reserve(space, request->count, outcome);
    return;
  }
  if (request->code == OP_REGISTER_WORKER) {
    namespace_register_worker(space, request, outcome);
    return;
  }
  if (request->op_id >> 32 == 0 || (uint32_t)request->op_id == 0 || namespace_malformed(request)) {
    outcome->status = STATUS_INVALID;
    outcome->stateless = true;
    return;
  }
  struct retry retry;
  const enum retry_verdict verdict = retry_check(space, request, &retry, outcome);
  /* One that is missing tells nothing yet; what else is will be fetched with it. */
  if (tables_missed(space->tables) > 0) {
    namespace_mutate(space, request, outcome);
    return;
  }
  switch (verdict) {
  case RETRY_REPEATED:
    outcome->repeated = true;
    return;
  case RETRY_REFUSED:
    outcome->status = STATUS_UNAVAILABLE;
    outcome->stateless = true;
    return;
  default:
    break;
  }
  outcome->status = namespace_mutate(space, request, outcome);
  if (outcome->unfinished || outcome->stateless || tables_missed(space->tables) > 0 ||
      space->unloaded.inode != 0)
    return;
  retry_record(space, request, &retry, outcome);
}

void namespace_begin(struct namespace *space, struct namespace_mark *mark) {
  *mark = (struct namespace_mark){
      .counters = space->counters, .defects = space->defects, .missed = tables_missed(space->tables)};
  overlay_try(space->overlay);
}

static void take_back(struct namespace *space, const struct namespace_mark *mark) {
  overlay_take_back(space->overlay);
  space->counters = mark->counters;
  space->defects = mark->defects;
}

bool namespace_end(struct namespace *space, const struct namespace_mark *mark) {
  if (tables_missed(space->tables) > mark->missed || space->unloaded.inode != 0) {
    take_back(space, mark);
    return false;
  }
  overlay_keep(space->overlay);
  return true;
}

/* The defect partial-batch: an operation may only be cut when it is known that nothing of it is missing. */
static void evaluate_twice(struct namespace *space, const struct request *request, struct outcome *outcome) {
  struct namespace_mark mark;
  namespace_begin(space, &mark);
  space->defects.trying = true;
  evaluate(space, request, outcome);
  take_back(space, &mark);
  if (tables_missed(space->tables) == 0 && space->unloaded.inode == 0)
    evaluate(space, request, outcome);
}

void namespace_evaluate(struct namespace *space, const struct request *request, struct outcome *outcome) {
  assert(!op_is_read(request->code));
  struct namespace_mark mark;
  space->unloaded.inode = 0;
  if (!tables_trying(space->tables)) {
    evaluate(space, request, outcome);
  } else if (bug_active(BUG_PARTIAL_BATCH)) {
    evaluate_twice(space, request, outcome);
  } else {
    namespace_begin(space, &mark);
    evaluate(space, request, outcome);
    namespace_end(space, &mark);
  }
  /* Where rows are missing it is not certain that the way leads there. */
  if (tables_missed(space->tables) > 0)
    space->unloaded.inode = 0;
}
