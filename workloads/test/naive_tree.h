/* naive_tree.h: a file system that is a list of paths: slow, plain, and enough to answer a generator. */
#ifndef ASSAY_WORKLOADS_TEST_NAIVE_TREE_H
#define ASSAY_WORKLOADS_TEST_NAIVE_TREE_H

#include "histories/histories.h"

struct naive_node {
  char path[200];
  bool is_file, completed;
  uint64_t creator, version, length;
  char value[64];
  struct block_entry blocks[64];
  size_t block_count;
};

struct naive_tree {
  struct naive_node *nodes; /* the first is the root */
  size_t count;
  struct list_entry entries[64]; /* of the answer given last */
  struct answer items[16];       /* of the batch answered last */
};

void naive_tree_init(struct naive_tree *tree);
void naive_tree_free(struct naive_tree *tree);
/* The answer's texts are valid until the next call. */
void naive_tree_execute(struct naive_tree *tree, const struct arguments *arguments, uint64_t op_id,
                        struct answer *answer);

#endif
