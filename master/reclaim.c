/* reclaim.c: what deleted subtrees leave is taken away, some rows at a time, in batches of its own.
 *
 *   detached: 17          17 ─▶ a (file), b (directory 23), c (file 24, with blocks) …
 *   one step:             the edges of 17 go; file inodes go with them; 23 and 24 become detached themselves;
 *                         when no edge is left, inode 17 goes and is no longer detached
 *   detached: 24          its blocks go, from the first; then inode 24
 *
 * Nothing can name these inodes any more, so nothing but these steps changes their rows. */
#include "master/namespace_internal.h"

#define STEP_INODES 64 /* detached directories and files of one step, */
#define STEP_ROWS 512  /* … and edges and blocks, at most; */
#define STEP_MISSED 8  /* so many may have to be fetched for the next one */

struct step {
  struct namespace *space;
  uint64_t inodes[STEP_INODES];
  size_t inode_count;
  size_t left;
  bool cut; /* the inode being emptied has more edges or blocks than were left */
};

static bool note_inode(void *context, const unsigned char *key, size_t key_size, const unsigned char *value,
                       size_t value_size) {
  (void)key_size;
  (void)value;
  (void)value_size;
  struct step *step = context;
  step->inodes[step->inode_count++] = be64_load(key + 1);
  return step->inode_count < STEP_INODES;
}

static bool reclaim_edge(void *context, const unsigned char *key, size_t key_size, const unsigned char *value,
                         size_t value_size) {
  struct step *step = context;
  struct namespace *space = step->space;
  struct edge_record edge;
  if (step->left == 0) {
    step->cut = true;
    return false;
  }
  if (!edge_decode((struct slice){(const char *)value, value_size}, &edge)) {
    namespace_corrupt(space->tables, "an edge");
    step->cut = true;
    return false;
  }
  step->left--;
  space->reclaim_at.size = (uint16_t)key_size;
  memcpy(space->reclaim_at.bytes, key, key_size);
  namespace_delete(space, TABLE_EDGES, &space->reclaim_at);
  if (edge.is_file && !edge.has_blocks) {
    namespace_delete_inode(space, edge.child);
  } else {
    const struct row_key detached = detached_key(edge.child);
    overlay_put(space->overlay, TABLE_META, &detached, ROW_PUT_FRESH, (struct slice){0});
  }
  return true;
}

/* Rows that the step before deleted are gone from the tables, but a scan would still have to pass over what
 * they left: it begins behind them. */
static void reclaim_directory(struct step *step, uint64_t directory) {
  struct namespace *space = step->space;
  if (space->reclaim_inode != directory) {
    space->reclaim_inode = directory;
    space->reclaim_at = inode_key(directory);
  }
  unsigned char prefix[8];
  be64_store(prefix, directory);
  const struct row_key from = space->reclaim_at;
  if (!tables_scan(space->tables, TABLE_EDGES, prefix, sizeof prefix, from.bytes, from.size, reclaim_edge,
                   step))
    step->cut = true;
}

static void reclaim(struct step *step, uint64_t inode) {
  struct namespace *space = step->space;
  struct inode_record record;
  namespace_load_inode(space, inode, &record);
  if (record.is_file)
    step->cut = !namespace_drop_blocks(space, inode, &step->left);
  else
    reclaim_directory(step, inode);
  if (step->cut)
    return;
  namespace_delete_inode(space, inode);
  const struct row_key detached = detached_key(inode);
  namespace_delete(space, TABLE_META, &detached);
}

/* False when something is missing: then nothing was done. */
static bool try_inode(struct step *step, uint64_t inode) {
  struct namespace *space = step->space;
  const struct step before = *step;
  const uint64_t reclaim_inode = space->reclaim_inode;
  const struct row_key reclaim_at = space->reclaim_at;
  struct namespace_mark mark;
  namespace_begin(space, &mark);
  reclaim(step, inode);
  if (namespace_end(space, &mark))
    return true;
  *step = before;
  space->reclaim_inode = reclaim_inode;
  space->reclaim_at = reclaim_at;
  return false;
}

bool namespace_reclaim(struct namespace *space) {
  const char prefix = DETACHED_PREFIX;
  struct step step = {.space = space, .left = STEP_ROWS};
  if (!tables_scan(space->tables, TABLE_META, &prefix, 1, NULL, 0, note_inode, &step))
    return false;
  size_t done = 0, missed = 0;
  for (size_t i = 0; i < step.inode_count && !step.cut && missed < STEP_MISSED; i++) {
    if (try_inode(&step, step.inodes[i]))
      done++;
    else
      missed++;
    if (tables_failed(space->tables))
      break;
  }
  return done > 0;
}
