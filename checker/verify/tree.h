/* tree.h: the state of the specification: inodes, their children, blocks.
 *
 * Every change goes through one of the functions below and is noted, so that a batch that fails can be taken
 * back; what is detached stays in memory until its changes are kept. */
#ifndef ASSAY_CHECKER_VERIFY_TREE_H
#define ASSAY_CHECKER_VERIFY_TREE_H

#include "histories/histories.h"

struct inode {
  enum inode_kind kind;
  uint64_t creator, version;
  char *value; /* its own */
  size_t value_size;
  bool completed;
  uint64_t length;
  struct block **blocks; /* of a file, in order */
  size_t block_count;
  struct inode *parent; /* NULL: the root, or not in the tree */
  char *name;           /* in its parent; its own */
  size_t name_size;
  struct inode **children; /* of a directory, in byte order of names */
  size_t child_count, child_room;
};

struct block {
  uint64_t id, length;
  bool committed;
  struct inode *file;
  struct block *next; /* in its bucket */
};

enum change_kind { CHANGE_ATTACHED, CHANGE_DETACHED, CHANGE_FIELDS, CHANGE_COMMITTED };

/* What undoes one change. */
struct change {
  enum change_kind kind;
  struct inode *inode;  /* that was attached, detached or changed */
  struct inode *parent; /* detached: from here */
  struct block *block;  /* that was committed */
  /* The fields before. */
  uint64_t version, length;
  bool completed;
  char *value;
  size_t value_size;
};

struct tree {
  struct inode *root;
  struct block **buckets; /* blocks by id */
  size_t bucket_count, block_count;
  struct change *changes; /* since the last tree_keep() */
  size_t change_count, change_room;
};

void tree_init(struct tree *tree);
void tree_free(struct tree *tree);

struct inode *inode_child(const struct inode *directory, struct text name);   /* NULL: none */
bool inode_is_under(const struct inode *inode, const struct inode *ancestor); /* or is it */

/* Adds a new inode below `parent`. Versions are the caller's to raise. */
struct inode *tree_make(struct tree *tree, struct inode *parent, struct text name, enum inode_kind kind,
                        uint64_t creator);
void tree_detach(struct tree *tree, struct inode *inode);
void tree_attach(struct tree *tree, struct inode *inode, struct inode *parent, struct text name);
/* Each also adds one to the version. */
void tree_touch(struct tree *tree, struct inode *inode);
void tree_set_value(struct tree *tree, struct inode *inode, struct text value);
void tree_complete(struct tree *tree, struct inode *inode, uint64_t length);

/* Adds a block to the file's end. Not part of a batch: cannot be taken back. */
void tree_add_block(struct tree *tree, struct inode *file, uint64_t id);
void tree_commit_block(struct tree *tree, struct block *block, uint64_t length);
/* The block, if its file is in the tree. */
struct block *tree_block(const struct tree *tree, uint64_t id);

/* The changes since the last of these two are for good, or are taken back. */
void tree_keep(struct tree *tree);
void tree_take_back(struct tree *tree);

#endif
