/* oracle.h: docs/specification.md again, as a tree of structures with plain strings: slow, obvious, and
 * sharing nothing with the tables. One operation at a time. */
#ifndef ASSAY_MASTER_TEST_ORACLE_H
#define ASSAY_MASTER_TEST_ORACLE_H

#include "master/memory_under_store.h"
#include "master/operation.h"

#define ORACLE_ITEMS_LIMIT 8 /* of a batch in tests */

#define ORACLE_MOUNTS_LIMIT 64

struct oracle_mount {
  char path[64], directory[64];
  uint64_t creator;
};

struct oracle_node {
  char *name;
  bool is_file, completed;
  uint64_t creator, version, length;
  char *value;
  struct answer_block *blocks;
  size_t block_count;
  struct oracle_node *parent;
  struct oracle_node **children; /* in byte order of names */
  size_t child_count;
  /* -- of the root -- */
  const struct under_tree *under; /* what mounts show */
  struct oracle_mount *mounts;    /* ORACLE_MOUNTS_LIMIT of them */
  size_t mount_count;
};

struct oracle_answer {
  enum answer_status status;
  uint64_t creator, version;
  const struct oracle_node *node; /* of a successful stat, list or blocks */
  bool exists;
  uint64_t block;
  size_t at;                            /* of a batch that failed */
  uint64_t numbers[ORACLE_ITEMS_LIMIT]; /* of a batch that succeeded */
  size_t number_count;
};

struct oracle_node *oracle_new(void);
void oracle_free(struct oracle_node *node);

/* Executes; repeats are the caller's business. */
struct oracle_answer oracle_execute(struct oracle_node *root, const struct request *request);

/* The number of inodes in the tree, and of blocks. */
size_t oracle_size(const struct oracle_node *node);
size_t oracle_blocks(const struct oracle_node *node);

#endif
