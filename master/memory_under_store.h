/* memory_under_store.h: an under-store for tests and the simulator: a tree in memory, with delays and
 * failures that a seed draws. No thread, no file. */
#ifndef ASSAY_MASTER_MEMORY_UNDER_STORE_H
#define ASSAY_MASTER_MEMORY_UNDER_STORE_H

#include "base/base.h"
#include "master/under_store.h"
#include "master/world.h"

/* Shared by the nodes of a cluster, not owned by their stores; unchanging while one of them reads it. */
struct under_tree {
  struct under_node *nodes;
  size_t count, capacity;
};

struct under_node {
  char *path; /* absolute: "/data/a" */
  bool is_file;
  uint64_t length;
};

/* Adds a file or a directory; what it lies in must have been added, or be what is mounted. */
void under_tree_add(struct under_tree *tree, const char *path, bool is_file, uint64_t length);
void under_tree_free(struct under_tree *tree);
/* Whether the node lies directly in the directory. */
bool under_node_is_in(const struct under_node *node, struct slice directory);

struct memory_under_store_options {
  const struct world *world;
  const struct under_tree *tree;
  uint64_t seed;
  size_t piece_max;          /* names of a piece: 0 to as many; 0: UNDER_STORE_PIECE */
  int64_t delay_max_ns;      /* of a piece; 0: it comes in the next turn */
  const double *fail_chance; /* of a piece; may be changed; NULL: 0 */
  const bool *hangs;         /* no piece comes; NULL: false */
};

/* Allows everything below "/" to be mounted. */
struct under_store *memory_under_store_new(const struct memory_under_store_options *options);
/* No listing may be open. */
void memory_under_store_free(struct under_store *store);

#endif
