#include "workloads/test/naive_tree.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

void naive_tree_init(struct naive_tree *tree) {
  *tree = (struct naive_tree){.count = 1};
  tree->nodes = xcalloc(1, sizeof *tree->nodes);
  tree->nodes[0].path[0] = '/';
  tree->nodes[0].version = 1;
}

void naive_tree_free(struct naive_tree *tree) {
  free(tree->nodes);
}

static struct naive_node *find(struct naive_tree *tree, const char *path) {
  for (size_t i = 0; i < tree->count; i++)
    if (strcmp(tree->nodes[i].path, path) == 0)
      return &tree->nodes[i];
  return NULL;
}

static void parent_path(const char *path, char *parent) {
  memcpy(parent, path, strlen(path) + 1);
  char *slash = strrchr(parent, '/');
  slash[slash == parent] = '\0';
}

static bool is_under(const char *path, const char *directory) {
  const size_t size = strlen(directory);
  return strncmp(path, directory, size) == 0 && path[size] == '/';
}

/* The directory `path`, made with those above it if `make`. */
static enum answer_code directory(struct naive_tree *tree, const char *path, bool make, uint64_t op_id) {
  const struct naive_node *node = find(tree, path);
  if (node)
    return node->is_file ? ANSWER_NOT_DIRECTORY : ANSWER_OK;
  char parent[200];
  parent_path(path, parent);
  const enum answer_code code = directory(tree, parent, make, op_id);
  if (code != ANSWER_OK || !make)
    return code == ANSWER_OK ? ANSWER_NOT_FOUND : code;
  tree->nodes = xrealloc(tree->nodes, (tree->count + 1) * sizeof *tree->nodes);
  struct naive_node *made = &tree->nodes[tree->count++];
  *made = (struct naive_node){.creator = op_id, .version = 1};
  memcpy(made->path, path, strlen(path) + 1);
  find(tree, parent)->version++;
  return ANSWER_OK;
}

static void remove_subtree(struct naive_tree *tree, const char *path) {
  size_t kept = 0;
  for (size_t i = 0; i < tree->count; i++)
    if (strcmp(tree->nodes[i].path, path) != 0 && !is_under(tree->nodes[i].path, path))
      tree->nodes[kept++] = tree->nodes[i];
  tree->count = kept;
}

static enum answer_code make(struct naive_tree *tree, const struct arguments *arguments, uint64_t op_id,
                             struct answer *answer) {
  char parent[200];
  const char *path = arguments->path.data;
  const bool is_file = arguments->kind == OPERATION_CREATE;
  parent_path(path, parent);
  enum answer_code code = directory(tree, parent, arguments->parents, op_id);
  if (code != ANSWER_OK)
    return code;
  struct naive_node *present = find(tree, path);
  if (present && is_file && !present->is_file)
    return ANSWER_IS_DIRECTORY;
  answer->seen = SEEN_CREATOR;
  answer->creator = op_id;
  if (present && !is_file && !present->is_file && arguments->exist_ok) {
    answer->creator = present->creator;
    return ANSWER_OK;
  }
  if (present && !(is_file && arguments->overwrite))
    return ANSWER_EXISTS;
  if (present)
    remove_subtree(tree, path);
  code = directory(tree, path, true, op_id);
  find(tree, path)->is_file = is_file;
  return code;
}

static enum answer_code rename_node(struct naive_tree *tree, const char *from, const char *to) {
  char parent[200], path[400];
  const size_t size = strlen(from);
  if (strcmp(from, to) == 0)
    return ANSWER_OK;
  if (is_under(to, from))
    return ANSWER_INVALID;
  parent_path(to, parent);
  const enum answer_code code = directory(tree, parent, false, 0);
  if (code != ANSWER_OK)
    return code;
  if (find(tree, to))
    return ANSWER_EXISTS;
  for (size_t i = 0; i < tree->count; i++)
    if (strcmp(tree->nodes[i].path, from) == 0 || is_under(tree->nodes[i].path, from)) {
      snprintf(path, sizeof path, "%s%s", to, tree->nodes[i].path + size);
      assert(strlen(path) < sizeof tree->nodes[i].path);
      memcpy(tree->nodes[i].path, path, strlen(path) + 1);
    }
  return ANSWER_OK;
}

static void list(struct naive_tree *tree, const char *path, struct answer *answer) {
  answer->seen = SEEN_VERSION | SEEN_ENTRIES;
  answer->version = find(tree, path)->version;
  answer->entries = tree->entries;
  for (size_t i = 1; i < tree->count; i++) {
    char parent[200];
    parent_path(tree->nodes[i].path, parent);
    if (strcmp(parent, path) == 0 && answer->entry_count < ARRAY_SIZE(tree->entries))
      tree->entries[answer->entry_count++] =
          (struct list_entry){.name = text_of(strrchr(tree->nodes[i].path, '/') + 1),
                              .kind = tree->nodes[i].is_file ? INODE_FILE : INODE_DIRECTORY,
                              .creator = tree->nodes[i].creator,
                              .has_kind = true,
                              .has_creator = true};
  }
}

static enum answer_code change(struct naive_node *node, const struct arguments *arguments,
                               struct answer *answer) {
  answer->seen = SEEN_VERSION;
  if (arguments->kind == OPERATION_SET) {
    if (arguments->has_if_version && arguments->if_version != node->version) {
      answer->version = node->version;
      return ANSWER_VERSION_MISMATCH;
    }
    snprintf(node->value, sizeof node->value, "%s", arguments->value.data);
  } else {
    if (!node->is_file)
      return ANSWER_IS_DIRECTORY;
    if (node->completed)
      return ANSWER_ALREADY_COMPLETED;
    uint64_t sum = 0;
    for (size_t i = 0; i < node->block_count; i++) {
      if (!node->blocks[i].committed)
        return ANSWER_BLOCK_UNCOMMITTED;
      sum += node->blocks[i].length;
    }
    if (node->block_count > 0 && sum != arguments->length)
      return ANSWER_INVALID;
    node->completed = true;
    node->length = arguments->length;
  }
  answer->version = ++node->version;
  return ANSWER_OK;
}

static enum answer_code add_block(struct naive_node *node, uint64_t op_id, struct answer *answer) {
  if (!node->is_file)
    return ANSWER_IS_DIRECTORY;
  if (node->completed || node->block_count == ARRAY_SIZE(node->blocks))
    return ANSWER_ALREADY_COMPLETED;
  node->blocks[node->block_count++] = (struct block_entry){.block = op_id};
  node->version++;
  answer->seen = SEEN_BLOCK;
  answer->block = op_id;
  return ANSWER_OK;
}

static enum answer_code commit_block(struct naive_tree *tree, const struct arguments *arguments) {
  for (size_t i = 0; i < tree->count; i++)
    for (size_t j = 0; j < tree->nodes[i].block_count; j++) {
      struct block_entry *block = &tree->nodes[i].blocks[j];
      if (block->block != arguments->block)
        continue;
      if (block->committed)
        return block->length == arguments->length ? ANSWER_OK : ANSWER_INVALID;
      block->committed = true;
      block->length = arguments->length;
      tree->nodes[i].version++;
      return ANSWER_OK;
    }
  return ANSWER_NOT_FOUND;
}

static enum answer_code batch(struct naive_tree *tree, const struct arguments *arguments, uint64_t op_id,
                              struct answer *answer) {
  const size_t count = tree->count;
  struct naive_node *before = xcalloc(count, sizeof *before);
  memcpy(before, tree->nodes, count * sizeof *before);
  enum answer_code code = ANSWER_OK;
  assert(arguments->item_count <= ARRAY_SIZE(tree->items));
  for (size_t i = 0; i < arguments->item_count && code == ANSWER_OK; i++) {
    naive_tree_execute(tree, &arguments->items[i], op_id, &tree->items[i]);
    code = tree->items[i].code;
    answer->at = i;
  }
  answer->seen = code == ANSWER_OK ? SEEN_ANSWERS : SEEN_AT;
  answer->items = tree->items;
  answer->item_count = arguments->item_count;
  if (code != ANSWER_OK) {
    tree->nodes = xrealloc(tree->nodes, count * sizeof *before);
    memcpy(tree->nodes, before, count * sizeof *before);
    tree->count = count;
  }
  free(before);
  return code;
}

static enum answer_code on_node(struct naive_tree *tree, struct naive_node *node,
                                const struct arguments *arguments, struct answer *answer) {
  const char *path = arguments->path.data;
  switch (arguments->kind) {
  case OPERATION_RENAME:
    return rename_node(tree, path, arguments->destination.data);
  case OPERATION_DELETE:
    for (size_t i = 0; i < tree->count && !arguments->recursive; i++)
      if (is_under(tree->nodes[i].path, path))
        return ANSWER_NOT_EMPTY;
    remove_subtree(tree, path);
    return ANSWER_OK;
  case OPERATION_LIST:
    if (node->is_file)
      return ANSWER_NOT_DIRECTORY;
    list(tree, path, answer);
    return ANSWER_OK;
  case OPERATION_BLOCKS:
    if (!node->is_file)
      return ANSWER_IS_DIRECTORY;
    answer->seen = SEEN_BLOCKS;
    answer->blocks = node->blocks;
    answer->block_entry_count = node->block_count;
    return ANSWER_OK;
  case OPERATION_STAT:
    *answer = (struct answer){.seen = SEEN_KIND | SEEN_CREATOR | SEEN_VERSION | SEEN_VALUE | SEEN_COMPLETED,
                              .inode_kind = node->is_file ? INODE_FILE : INODE_DIRECTORY,
                              .creator = node->creator,
                              .version = node->version,
                              .value = text_of(node->value),
                              .completed = node->completed};
    return ANSWER_OK;
  default:
    return change(node, arguments, answer);
  }
}

void naive_tree_execute(struct naive_tree *tree, const struct arguments *arguments, uint64_t op_id,
                        struct answer *answer) {
  *answer = (struct answer){0};
  if (arguments->kind == OPERATION_COMMIT_BLOCK || arguments->kind == OPERATION_BATCH) {
    answer->code = arguments->kind == OPERATION_BATCH ? batch(tree, arguments, op_id, answer)
                                                      : commit_block(tree, arguments);
    return;
  }
  struct naive_node *node = find(tree, arguments->path.data);
  if (arguments->kind == OPERATION_MKDIR || arguments->kind == OPERATION_CREATE) {
    answer->code = make(tree, arguments, op_id, answer);
  } else if (arguments->kind == OPERATION_EXISTS) {
    answer->seen = SEEN_EXISTS;
    answer->exists = node;
  } else if (!node) {
    const enum answer_code code = directory(tree, arguments->path.data, false, 0);
    answer->code = code == ANSWER_OK ? ANSWER_NOT_FOUND : code;
  } else {
    answer->code = arguments->kind == OPERATION_ADD_BLOCK ? add_block(node, op_id, answer)
                                                          : on_node(tree, node, arguments, answer);
  }
  if (answer->code != ANSWER_OK && answer->code != ANSWER_VERSION_MISMATCH)
    answer->seen = 0;
}
