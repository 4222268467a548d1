/* tree.h: the state of the file-system model: one tree in memory that goes forward and back.
 *
 *   nodes    an array; a removed node keeps its place and its subtree, so taking a removal back is cheap
 *   children a hash table over all nodes by (parent, name), and a list of siblings for walking
 *   undo     a log of what changed; tree_undo() returns to an earlier mark
 *   hash     each node's covers its subtree: fields, and the sum over its children of (name, hash)
 *
 * The hash leaves out what nobody can tell apart: creators and values that no answer shows, and versions when
 * no answer shows any. It never depends on node numbers, so different orders that build the same tree meet.
 */
#ifndef ASSAY_CHECKER_TREE_H
#define ASSAY_CHECKER_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "checker/hash.h"
#include "checker/step.h"

#define TREE_ROOT 0u

/* What a change of an inode changes, and what undo puts back. */
struct inode {
  uint64_t version, length, block_length;
  uint64_t blocks_hash;
  uint32_t value;
  uint32_t first_block, last_block, block_count, open_blocks; /* open: not committed */
  uint32_t child_count;
  uint32_t group; /* cursor into the facts of its life */
  bool completed;
};

struct node {
  struct inode inode;
  uint32_t parent, name; /* parent NONE: not in the tree */
  uint32_t chain;        /* next in the bucket of (parent, name) */
  uint32_t first_child, next_sibling, previous_sibling;
  uint32_t creator, life;
  enum inode_kind kind;
  uint64_t entries_hash; /* sum of entry_hash() of the children */
  struct hash below;     /* sum over the children */
  struct hash self;
};

struct block {
  uint32_t node, next;
  uint64_t length;
  bool exists, committed;
};

enum change_kind {
  CHANGE_INODE,
  CHANGE_ATTACHED,
  CHANGE_DETACHED,
  CHANGE_NEW_NODE,
  CHANGE_NEW_BLOCK,
  CHANGE_COMMIT
};

struct change {
  enum change_kind kind;
  uint32_t node; /* or block */
  uint32_t parent, name;
  struct inode inode;
};

/* What the step being applied does to inodes; for facts.h. */
struct touch {
  uint32_t node;
  uint32_t group;   /* the cursor before */
  uint64_t version; /* before */
};

struct tree {
  const struct problem *problem;
  struct touch *touches; /* versions that the latest step raised, in order */
  uint32_t touch_count, touch_capacity;
  uint32_t *removals; /* nodes that it removed for good, with all below them */
  uint32_t removal_count, removal_capacity;
  struct node *nodes;
  uint32_t node_count, node_capacity;
  uint32_t *buckets;
  uint32_t bucket_count; /* a power of two */
  struct block *blocks;  /* by dense block number */
  struct change *changes;
  uint32_t change_count, change_capacity;
};

void tree_init(struct tree *tree, const struct problem *problem);
void tree_free(struct tree *tree);
uint64_t tree_bytes(const struct tree *tree);

/* The multiset hash of directory listings that name, kind and creator of every child are part of. */
static inline uint64_t entry_hash(uint32_t name, enum inode_kind kind, uint32_t creator) {
  return hash_mix(((uint64_t)name << 32 | creator) + HASH_A, HASH_B + (uint64_t)kind);
}

uint32_t tree_child(const struct tree *tree, uint32_t node, uint32_t name);

/* The outcome of walking a path: the node, or how far it came. */
struct walk {
  uint32_t node; /* NONE: not there */
  uint32_t stop; /* the path at which it ended when not there: missing, or (blocked) the file in the way */
  bool blocked;
};
struct walk tree_walk(const struct tree *tree, uint32_t path);

/* The path of a node in the static trie; NONE when no operation mentions it. */
uint32_t tree_path(const struct tree *tree, uint32_t node);
/* Whether the node hangs in the tree, not in something removed. */
bool tree_is_attached(const struct tree *tree, uint32_t node);

/* ---- Changes; each is taken back by tree_undo ---- */

static inline uint32_t tree_mark(const struct tree *tree) {
  return tree->change_count;
}
void tree_undo(struct tree *tree, uint32_t mark);

uint32_t tree_new_node(struct tree *tree, enum inode_kind kind, uint32_t creator, uint32_t life);
void tree_attach(struct tree *tree, uint32_t node, uint32_t parent, uint32_t name);
void tree_detach(struct tree *tree, uint32_t node);
/* Removes for good. */
void tree_remove(struct tree *tree, uint32_t node);
/* Forgets the touches and removals of the step before. */
void tree_begin_step(struct tree *tree);
/* Saves the inode, raises its version and notes the touch; the caller then changes what is returned, and ends
 * with tree_changed(). */
struct inode *tree_touch(struct tree *tree, uint32_t node);
void tree_changed(struct tree *tree, uint32_t node);
void tree_add_block(struct tree *tree, uint32_t node, uint32_t block);
void tree_commit_block(struct tree *tree, uint32_t block, uint64_t length);

#endif
