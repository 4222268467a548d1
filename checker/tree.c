#include "checker/tree.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "checker/facts.h"

static uint32_t bucket_of(const struct tree *tree, uint32_t parent, uint32_t name) {
  return (uint32_t)hash_mix((uint64_t)parent << 32 | name, HASH_A) & (tree->bucket_count - 1);
}

static struct hash node_hash(const struct tree *tree, const struct node *node) {
  const struct problem *problem = tree->problem;
  uint64_t creator = problem->creator_public[node->creator] ? (uint64_t)node->creator + 1 : 0;
  uint64_t value = problem->value_public[node->inode.value] ? (uint64_t)node->inode.value + 1 : 0;
  uint64_t version = problem->versions_matter ? node->inode.version : 0;
  struct hash hash =
      hash_pair(creator << 32 | value, version << 2 | (uint64_t)node->kind << 1 | node->inode.completed);
  if (node->kind == INODE_DIRECTORY) {
    return hash_with(hash_with(hash, node->below.a), node->below.b);
  }
  return hash_with(hash_with(hash, node->inode.length), node->inode.blocks_hash);
}

static struct hash child_hash(const struct node *child) {
  return hash_with(hash_with(child->self, child->name), HASH_B);
}

/* Brings the hashes up to date from `node` to the root of what it hangs in. */
static void refresh(struct tree *tree, uint32_t index) {
  struct node *node = &tree->nodes[index];
  while (true) {
    struct hash fresh = node_hash(tree, node);
    if (node->parent == NONE) {
      node->self = fresh;
      return;
    }
    struct node *parent = &tree->nodes[node->parent];
    parent->below = hash_difference(parent->below, child_hash(node));
    node->self = fresh;
    parent->below = hash_sum(parent->below, child_hash(node));
    node = parent;
  }
}

static uint32_t place_node(struct tree *tree, enum inode_kind kind, uint32_t creator, uint32_t life) {
  if (tree->node_count == tree->node_capacity) {
    tree->node_capacity *= 2;
    tree->nodes = xrealloc(tree->nodes, tree->node_capacity * sizeof *tree->nodes);
  }
  struct node *node = &tree->nodes[tree->node_count];
  *node = (struct node){.parent = NONE,
                        .chain = NONE,
                        .first_child = NONE,
                        .next_sibling = NONE,
                        .previous_sibling = NONE,
                        .creator = creator,
                        .life = life,
                        .kind = kind};
  node->inode = (struct inode){.version = 1,
                               .first_block = NONE,
                               .last_block = NONE,
                               .group = life == NONE ? NONE : tree->problem->facts->lives[life].group_first};
  node->self = node_hash(tree, node);
  return tree->node_count++;
}

void tree_init(struct tree *tree, const struct problem *problem) {
  *tree = (struct tree){.problem = problem, .node_capacity = 64, .bucket_count = 64};
  tree->nodes = xmalloc(tree->node_capacity * sizeof *tree->nodes);
  tree->buckets = xmalloc(tree->bucket_count * sizeof *tree->buckets);
  memset(tree->buckets, 0xff, tree->bucket_count * sizeof *tree->buckets);
  tree->blocks = xcalloc(problem->block_count + 1, sizeof *tree->blocks);
  place_node(tree, INODE_DIRECTORY, ROOT_CREATOR, problem->facts->root_life);
}

void tree_free(struct tree *tree) {
  free(tree->nodes);
  free(tree->buckets);
  free(tree->blocks);
  free(tree->changes);
  free(tree->touches);
  free(tree->removals);
  *tree = (struct tree){0};
}

uint64_t tree_bytes(const struct tree *tree) {
  return tree->node_capacity * sizeof *tree->nodes + tree->bucket_count * sizeof *tree->buckets +
         tree->change_capacity * sizeof *tree->changes;
}

static struct change *log_change(struct tree *tree, enum change_kind kind, uint32_t node) {
  if (tree->change_count == tree->change_capacity) {
    tree->change_capacity = tree->change_capacity == 0 ? 256 : 2 * tree->change_capacity;
    tree->changes = xrealloc(tree->changes, tree->change_capacity * sizeof *tree->changes);
  }
  struct change *change = &tree->changes[tree->change_count++];
  change->kind = kind;
  change->node = node;
  return change;
}

uint32_t tree_child(const struct tree *tree, uint32_t parent, uint32_t name) {
  uint32_t node = tree->buckets[bucket_of(tree, parent, name)];
  while (node != NONE && (tree->nodes[node].parent != parent || tree->nodes[node].name != name)) {
    node = tree->nodes[node].chain;
  }
  return node;
}

#define DEPTH_MAX 2048 /* a path of 4096 bytes has no more components */

struct walk tree_walk(const struct tree *tree, uint32_t path) {
  const struct path *paths = tree->problem->paths;
  uint32_t way[DEPTH_MAX];
  uint32_t depth = paths[path].depth;
  assert(depth <= DEPTH_MAX);
  for (uint32_t i = depth, at = path; i-- > 0; at = paths[at].parent) {
    way[i] = at;
  }
  uint32_t node = TREE_ROOT;
  for (uint32_t i = 0; i < depth; i++) {
    if (tree->nodes[node].kind == INODE_FILE) {
      return (struct walk){NONE, paths[way[i]].parent, true};
    }
    node = tree_child(tree, node, paths[way[i]].name);
    if (node == NONE) {
      return (struct walk){NONE, way[i], false};
    }
  }
  return (struct walk){node, NONE, false};
}

uint32_t tree_path(const struct tree *tree, uint32_t node) {
  uint32_t names[DEPTH_MAX];
  uint32_t depth = 0;
  for (; node != TREE_ROOT; node = tree->nodes[node].parent) {
    if (node == NONE || depth == DEPTH_MAX) {
      return NONE;
    }
    names[depth++] = tree->nodes[node].name;
  }
  uint32_t path = PATH_ROOT;
  while (depth > 0 && path != NONE) {
    path = path_child(tree->problem, path, names[--depth]);
  }
  return path;
}

bool tree_is_attached(const struct tree *tree, uint32_t node) {
  while (node != TREE_ROOT && node != NONE) {
    node = tree->nodes[node].parent;
  }
  return node == TREE_ROOT;
}

static void grow_buckets(struct tree *tree) {
  tree->bucket_count *= 2;
  tree->buckets = xrealloc(tree->buckets, tree->bucket_count * sizeof *tree->buckets);
  memset(tree->buckets, 0xff, tree->bucket_count * sizeof *tree->buckets);
  for (uint32_t i = 1; i < tree->node_count; i++) {
    struct node *node = &tree->nodes[i];
    if (node->parent != NONE) {
      uint32_t bucket = bucket_of(tree, node->parent, node->name);
      node->chain = tree->buckets[bucket];
      tree->buckets[bucket] = i;
    }
  }
}

static void attach(struct tree *tree, uint32_t index, uint32_t parent_index, uint32_t name) {
  struct node *node = &tree->nodes[index], *parent = &tree->nodes[parent_index];
  assert(node->parent == NONE && parent->kind == INODE_DIRECTORY);
  node->parent = parent_index;
  node->name = name;
  uint32_t bucket = bucket_of(tree, parent_index, name);
  node->chain = tree->buckets[bucket];
  tree->buckets[bucket] = index;
  node->previous_sibling = NONE;
  node->next_sibling = parent->first_child;
  if (parent->first_child != NONE) {
    tree->nodes[parent->first_child].previous_sibling = index;
  }
  parent->first_child = index;
  parent->inode.child_count++;
  parent->entries_hash += entry_hash(name, node->kind, node->creator);
  parent->below = hash_sum(parent->below, child_hash(node));
  refresh(tree, parent_index);
}

static void detach(struct tree *tree, uint32_t index) {
  struct node *node = &tree->nodes[index], *parent = &tree->nodes[node->parent];
  uint32_t parent_index = node->parent;
  uint32_t *link = &tree->buckets[bucket_of(tree, node->parent, node->name)];
  while (*link != index) {
    link = &tree->nodes[*link].chain;
  }
  *link = node->chain;
  if (node->previous_sibling == NONE) {
    parent->first_child = node->next_sibling;
  } else {
    tree->nodes[node->previous_sibling].next_sibling = node->next_sibling;
  }
  if (node->next_sibling != NONE) {
    tree->nodes[node->next_sibling].previous_sibling = node->previous_sibling;
  }
  parent->inode.child_count--;
  parent->entries_hash -= entry_hash(node->name, node->kind, node->creator);
  parent->below = hash_difference(parent->below, child_hash(node));
  node->parent = NONE;
  refresh(tree, parent_index);
}

uint32_t tree_new_node(struct tree *tree, enum inode_kind kind, uint32_t creator, uint32_t life) {
  uint32_t node = place_node(tree, kind, creator, life);
  if (tree->node_count > tree->bucket_count) {
    grow_buckets(tree);
  }
  log_change(tree, CHANGE_NEW_NODE, node);
  return node;
}

void tree_attach(struct tree *tree, uint32_t node, uint32_t parent, uint32_t name) {
  attach(tree, node, parent, name);
  log_change(tree, CHANGE_ATTACHED, node);
}

void tree_detach(struct tree *tree, uint32_t node) {
  assert(node != TREE_ROOT);
  struct change *change = log_change(tree, CHANGE_DETACHED, node);
  change->parent = tree->nodes[node].parent;
  change->name = tree->nodes[node].name;
  detach(tree, node);
}

void tree_begin_step(struct tree *tree) {
  tree->touch_count = 0;
  tree->removal_count = 0;
}

void tree_remove(struct tree *tree, uint32_t node) {
  if (tree->removal_count == tree->removal_capacity) {
    tree->removal_capacity = tree->removal_capacity == 0 ? 16 : 2 * tree->removal_capacity;
    tree->removals = xrealloc(tree->removals, tree->removal_capacity * sizeof *tree->removals);
  }
  tree->removals[tree->removal_count++] = node;
  tree_detach(tree, node);
}

struct inode *tree_touch(struct tree *tree, uint32_t node) {
  struct inode *inode = &tree->nodes[node].inode;
  log_change(tree, CHANGE_INODE, node)->inode = *inode;
  uint32_t life = tree->nodes[node].life;
  if (life == NONE) {
    inode->version++;
    return inode;
  }
  if (tree->touch_count == tree->touch_capacity) {
    tree->touch_capacity = tree->touch_capacity == 0 ? 16 : 2 * tree->touch_capacity;
    tree->touches = xrealloc(tree->touches, tree->touch_capacity * sizeof *tree->touches);
  }
  tree->touches[tree->touch_count++] = (struct touch){node, inode->group, inode->version};
  inode->version++;
  const struct fact_table *facts = tree->problem->facts;
  uint32_t end = facts->lives[life].group_first + facts->lives[life].group_count;
  while (inode->group < end && facts->groups[inode->group].version < inode->version) {
    inode->group++;
  }
  return inode;
}

void tree_changed(struct tree *tree, uint32_t node) {
  refresh(tree, node);
}

static uint64_t block_hash(const struct block *block, uint32_t index) {
  return hash_mix((uint64_t)index << 1 | block->committed, block->committed ? block->length : 0);
}

void tree_add_block(struct tree *tree, uint32_t node, uint32_t block) {
  assert(!tree->blocks[block].exists);
  log_change(tree, CHANGE_NEW_BLOCK, block);
  struct inode *inode = tree_touch(tree, node);
  tree->blocks[block] = (struct block){.node = node, .next = NONE, .exists = true};
  if (inode->last_block == NONE) {
    inode->first_block = block;
  } else {
    tree->blocks[inode->last_block].next = block;
  }
  inode->last_block = block;
  inode->block_count++;
  inode->open_blocks++;
  /* The order of blocks counts, so each one's place goes into the sum. */
  inode->blocks_hash += hash_mix(block_hash(&tree->blocks[block], block), inode->block_count);
  tree_changed(tree, node);
}

static uint64_t block_place(const struct tree *tree, uint32_t block) {
  uint64_t place = 1;
  for (uint32_t at = tree->nodes[tree->blocks[block].node].inode.first_block; at != block;
       at = tree->blocks[at].next) {
    place++;
  }
  return place;
}

void tree_commit_block(struct tree *tree, uint32_t block, uint64_t length) {
  struct block *committed = &tree->blocks[block];
  assert(committed->exists && !committed->committed);
  log_change(tree, CHANGE_COMMIT, block);
  struct inode *inode = tree_touch(tree, committed->node);
  uint64_t place = block_place(tree, block);
  inode->blocks_hash -= hash_mix(block_hash(committed, block), place);
  committed->committed = true;
  committed->length = length;
  inode->blocks_hash += hash_mix(block_hash(committed, block), place);
  inode->open_blocks--;
  inode->block_length += length;
  tree_changed(tree, committed->node);
}

static void undo(struct tree *tree, const struct change *change) {
  switch (change->kind) {
  case CHANGE_INODE: {
    uint32_t children = tree->nodes[change->node].inode.child_count;
    tree->nodes[change->node].inode = change->inode;
    tree->nodes[change->node].inode.child_count = children; /* attach and detach keep it themselves */
    refresh(tree, change->node);
    return;
  }
  case CHANGE_ATTACHED:
    detach(tree, change->node);
    return;
  case CHANGE_DETACHED:
    attach(tree, change->node, change->parent, change->name);
    return;
  case CHANGE_NEW_NODE:
    assert(change->node == tree->node_count - 1);
    tree->node_count--;
    return;
  case CHANGE_NEW_BLOCK: {
    /* Its inode is back already: the block that was last before is last again. */
    uint32_t last = tree->nodes[tree->blocks[change->node].node].inode.last_block;
    if (last != NONE) {
      tree->blocks[last].next = NONE;
    }
    tree->blocks[change->node].exists = false;
    return;
  }
  case CHANGE_COMMIT:
    tree->blocks[change->node].committed = false;
    tree->blocks[change->node].length = 0;
    return;
  }
}

void tree_undo(struct tree *tree, uint32_t mark) {
  assert(mark <= tree->change_count);
  while (tree->change_count > mark) {
    undo(tree, &tree->changes[--tree->change_count]);
  }
}
