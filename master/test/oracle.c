#include "oracle.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

static struct oracle_node *node_new(struct oracle_node *parent, const char *name, bool is_file,
                                    uint64_t creator) {
  struct oracle_node *node = xcalloc(1, sizeof *node);
  node->name = xstrdup(name);
  node->value = xstrdup("");
  node->is_file = is_file;
  node->creator = creator;
  node->version = 1;
  node->parent = parent;
  return node;
}

struct oracle_node *oracle_new(void) {
  struct oracle_node *root = node_new(NULL, "", false, 0);
  root->mounts = xcalloc(ORACLE_MOUNTS_LIMIT, sizeof *root->mounts);
  return root;
}

static void free_content(struct oracle_node *node) {
  for (size_t i = 0; i < node->child_count; i++)
    oracle_free(node->children[i]);
  free(node->children);
  free(node->name);
  free(node->value);
  free(node->blocks);
}

void oracle_free(struct oracle_node *node) {
  free_content(node);
  free(node->mounts);
  free(node);
}

size_t oracle_size(const struct oracle_node *node) {
  size_t size = 1;
  for (size_t i = 0; i < node->child_count; i++)
    size += oracle_size(node->children[i]);
  return size;
}

size_t oracle_blocks(const struct oracle_node *node) {
  size_t count = node->block_count;
  for (size_t i = 0; i < node->child_count; i++)
    count += oracle_blocks(node->children[i]);
  return count;
}

static struct oracle_node *child_of(const struct oracle_node *node, const char *name) {
  for (size_t i = 0; i < node->child_count; i++)
    if (strcmp(node->children[i]->name, name) == 0)
      return node->children[i];
  return NULL;
}

static void attach(struct oracle_node *parent, struct oracle_node *child) {
  parent->children = xrealloc(parent->children, (parent->child_count + 1) * sizeof(struct oracle_node *));
  size_t at = parent->child_count++;
  while (at > 0 && strcmp(parent->children[at - 1]->name, child->name) > 0) {
    parent->children[at] = parent->children[at - 1];
    at--;
  }
  parent->children[at] = child;
  child->parent = parent;
}

static void detach(struct oracle_node *child) {
  struct oracle_node *parent = child->parent;
  size_t at = 0;
  while (parent->children[at] != child)
    at++;
  memmove(parent->children + at, parent->children + at + 1,
          (parent->child_count - at - 1) * sizeof(struct oracle_node *));
  parent->child_count--;
}

/* A path cut at its slashes; NULL when it is not one. The root has no part. */
struct parts {
  char *text;
  char *part[4096];
  size_t count;
};

static bool cut(struct parts *parts, struct slice path) {
  parts->count = 0;
  parts->text = xmalloc(path.size + 1);
  memcpy(parts->text, path.data, path.size);
  parts->text[path.size] = '\0';
  if (path.size == 0 || path.size > 4096 || strlen(parts->text) != path.size || parts->text[0] != '/')
    return false;
  if (path.size == 1)
    return true;
  for (char *at = parts->text; at; at = strchr(at, '/')) {
    *at++ = '\0';
    parts->part[parts->count++] = at;
  }
  for (size_t i = 0; i < parts->count; i++) {
    const char *part = parts->part[i];
    if (!*part || strlen(part) > 255 || !strcmp(part, ".") || !strcmp(part, ".."))
      return false;
  }
  return true;
}

/* Walks the first `count` parts. */
static enum answer_status walk(struct oracle_node *root, const struct parts *parts, size_t count,
                               struct oracle_node **end) {
  struct oracle_node *node = root;
  for (size_t i = 0; i < count; i++) {
    if (node->is_file)
      return STATUS_NOT_DIRECTORY;
    node = child_of(node, parts->part[i]);
    if (!node)
      return STATUS_NOT_FOUND;
  }
  *end = node;
  return STATUS_OK;
}

/* The first directory of the path's parents that is missing is made, and so on: called only when nothing can
 * go wrong any more. */
static struct oracle_node *make_parents(struct oracle_node *root, const struct parts *parts, uint64_t op_id) {
  struct oracle_node *node = root;
  for (size_t i = 0; i + 1 < parts->count; i++) {
    struct oracle_node *child = child_of(node, parts->part[i]);
    if (!child) {
      child = node_new(node, parts->part[i], false, op_id);
      attach(node, child);
      node->version++;
    }
    node = child;
  }
  return node;
}

static struct oracle_answer fail(enum answer_status status) {
  return (struct oracle_answer){.status = status};
}

/* -- mounts -- */

static bool at_or_below(const char *inner, const char *path) {
  const size_t size = strlen(path);
  return strncmp(inner, path, size) == 0 && (inner[size] == '\0' || inner[size] == '/');
}

static void take_text(char *text, struct slice slice) {
  const size_t size = slice.size < 63 ? slice.size : 63;
  memcpy(text, slice.data, size);
  text[size] = '\0';
}

static bool holds_mount(const struct oracle_node *root, struct slice path) {
  char text[64];
  take_text(text, path);
  for (size_t i = 0; i < root->mount_count; i++)
    if (at_or_below(root->mounts[i].path, text))
      return true;
  return false;
}

/* A path of the under-store, as tests have them. */
static bool is_directory(struct slice path) {
  return path.size > 1 && path.data[0] == '/' && path.data[path.size - 1] != '/' &&
         !memmem(path.data, path.size, "//", 2);
}

/* The mount that the path lies below; else NULL. */
static struct oracle_mount *mount_above(const struct oracle_node *root, struct slice path) {
  char text[64];
  take_text(text, path);
  for (size_t i = 0; i < root->mount_count; i++)
    if (at_or_below(text, root->mounts[i].path) && strcmp(text, root->mounts[i].path) != 0)
      return &root->mounts[i];
  return NULL;
}

/* All of the directory, in one step. */
static void fill(struct oracle_node *node, const struct under_tree *tree, const char *directory) {
  for (size_t i = 0; tree && i < tree->count; i++) {
    const struct under_node *from = &tree->nodes[i];
    if (!under_node_is_in(from, (struct slice){directory, strlen(directory)}))
      continue;
    struct oracle_node *child = node_new(node, strrchr(from->path, '/') + 1, from->is_file, node->creator);
    attach(node, child);
    node->version++;
    if (!from->is_file) {
      fill(child, tree, from->path);
      continue;
    }
    child->completed = true;
    child->length = from->length;
    child->version++;
  }
}

static struct oracle_answer mount(struct oracle_node *root, const struct request *request,
                                  const struct parts *path) {
  struct oracle_mount fresh = {.creator = request->op_id};
  struct oracle_node *parent;
  take_text(fresh.path, request->path);
  take_text(fresh.directory, request->destination);
  if (path->count == 0 || !is_directory(request->destination) || mount_above(root, request->path))
    return fail(STATUS_INVALID);
  for (size_t i = 0; i < root->mount_count; i++)
    if (at_or_below(fresh.directory, root->mounts[i].directory) ||
        at_or_below(root->mounts[i].directory, fresh.directory))
      return fail(STATUS_INVALID);
  const enum answer_status status = walk(root, path, path->count - 1, &parent);
  if (status != STATUS_OK)
    return fail(status);
  if (parent->is_file)
    return fail(STATUS_NOT_DIRECTORY);
  if (child_of(parent, path->part[path->count - 1]))
    return fail(STATUS_EXISTS);
  struct oracle_node *node = node_new(parent, path->part[path->count - 1], false, request->op_id);
  attach(parent, node);
  parent->version++;
  fill(node, root->under, fresh.directory);
  root->mounts[root->mount_count++] = fresh;
  return (struct oracle_answer){.creator = request->op_id};
}

static struct oracle_answer unmount(struct oracle_node *root, const struct request *request,
                                    const struct parts *path) {
  char text[64];
  struct oracle_node *node = root;
  take_text(text, request->path);
  if (path->count == 0)
    return fail(STATUS_INVALID);
  for (size_t i = 0; i < root->mount_count; i++) {
    if (strcmp(root->mounts[i].path, text) != 0)
      continue;
    memmove(&root->mounts[i], &root->mounts[i + 1], (--root->mount_count - i) * sizeof *root->mounts);
    walk(root, path, path->count, &node);
    node->parent->version++;
    detach(node);
    oracle_free(node);
    return fail(STATUS_OK);
  }
  return fail(STATUS_NOT_FOUND);
}

static struct oracle_answer persisted(const struct oracle_node *root, const struct request *request,
                                      const struct oracle_node *node) {
  const struct oracle_mount *above = mount_above(root, request->path);
  char text[64];
  take_text(text, request->destination);
  if (!node->is_file)
    return fail(STATUS_IS_DIRECTORY);
  if (node->creator != request->creator)
    return fail(STATUS_NOT_FOUND);
  return fail(above && at_or_below(text, above->directory) && strcmp(text, above->directory) != 0 &&
                      node->completed
                  ? STATUS_OK
                  : STATUS_INVALID);
}

static struct oracle_answer make(struct oracle_node *root, const struct request *request,
                                 const struct parts *parts) {
  const bool file = request->code == OP_CREATE;
  struct oracle_node *parent = root, *old = root;
  if (parts->count > 0) {
    const enum answer_status status = walk(root, parts, parts->count - 1, &parent);
    if (status == STATUS_NOT_DIRECTORY || (status == STATUS_NOT_FOUND && !request->parents))
      return fail(status);
    if (status == STATUS_NOT_FOUND) {
      old = NULL;
    } else {
      if (parent->is_file)
        return fail(STATUS_NOT_DIRECTORY);
      old = child_of(parent, parts->part[parts->count - 1]);
    }
  }
  if (old && file && !old->is_file)
    return fail(STATUS_IS_DIRECTORY);
  if (old && file && !request->overwrite)
    return fail(STATUS_EXISTS);
  if (old && !file) {
    if (request->exist_ok && !old->is_file)
      return (struct oracle_answer){.creator = old->creator};
    return fail(STATUS_EXISTS);
  }
  assert(old != root && parts->count > 0); /* which is a directory, and stays */
  parent = make_parents(root, parts, request->op_id);
  if (old)
    detach(old);
  attach(parent, node_new(parent, parts->part[parts->count - 1], file, request->op_id));
  parent->version++;
  if (old)
    oracle_free(old);
  return (struct oracle_answer){.creator = request->op_id};
}

static struct oracle_answer rename_node(struct oracle_node *root, const struct parts *from,
                                        const struct request *request) {
  struct parts *to = xmalloc(sizeof *to);
  struct oracle_answer answer = fail(STATUS_INVALID);
  struct oracle_node *node, *parent = root;
  if (!cut(to, request->destination))
    goto out;
  answer.status = walk(root, from, from->count, &node);
  if (answer.status != STATUS_OK)
    goto out;
  if (request->path.size == request->destination.size &&
      memcmp(request->path.data, request->destination.data, request->path.size) == 0)
    goto out;
  answer.status = STATUS_INVALID;
  if (from->count == 0)
    goto out;
  answer.status = STATUS_EXISTS;
  if (to->count == 0)
    goto out;
  bool under = to->count > from->count;
  for (size_t i = 0; under && i < from->count; i++)
    under = strcmp(from->part[i], to->part[i]) == 0;
  answer.status = STATUS_INVALID;
  if (under || (!node->is_file && holds_mount(root, request->path)) ||
      mount_above(root, request->path) != mount_above(root, request->destination))
    goto out;
  answer.status = walk(root, to, to->count - 1, &parent);
  if (answer.status == STATUS_OK && parent->is_file)
    answer.status = STATUS_NOT_DIRECTORY;
  if (answer.status != STATUS_OK)
    goto out;
  answer.status = STATUS_EXISTS;
  if (child_of(parent, to->part[to->count - 1]))
    goto out;
  answer.status = STATUS_OK;
  if (node->parent != parent)
    node->parent->version++;
  parent->version++;
  detach(node);
  free(node->name);
  node->name = xstrdup(to->part[to->count - 1]);
  attach(parent, node);
out:
  free(to->text);
  free(to);
  return answer;
}

static struct oracle_answer change(struct oracle_node *node, const struct request *request) {
  if (request->code == OP_COMPLETE) {
    if (!node->is_file)
      return fail(STATUS_IS_DIRECTORY);
    if (node->completed)
      return fail(STATUS_ALREADY_COMPLETED);
    uint64_t sum = 0;
    for (size_t i = 0; i < node->block_count; i++) {
      if (!node->blocks[i].committed)
        return fail(STATUS_BLOCK_UNCOMMITTED);
      sum += node->blocks[i].length;
    }
    if (node->block_count > 0 && sum != request->length)
      return fail(STATUS_INVALID);
    node->completed = true;
    node->length = request->length;
  } else if (request->code == OP_ADD_BLOCK) {
    if (!node->is_file)
      return fail(STATUS_IS_DIRECTORY);
    if (node->completed)
      return fail(STATUS_ALREADY_COMPLETED);
    node->blocks = xrealloc(node->blocks, (node->block_count + 1) * sizeof *node->blocks);
    node->blocks[node->block_count++] = (struct answer_block){.block = request->op_id};
    node->version++;
    return (struct oracle_answer){.block = request->op_id};
  } else if (request->code == OP_DELETE) {
    if (node->child_count > 0 && !request->recursive)
      return fail(STATUS_NOT_EMPTY);
    node->parent->version++;
    detach(node);
    oracle_free(node);
    return fail(STATUS_OK);
  } else {
    if (request->has_if_version && request->if_version != node->version)
      return (struct oracle_answer){.status = STATUS_VERSION_MISMATCH, .version = node->version};
    free(node->value);
    node->value = xcalloc(request->value.size + 1, 1);
    if (request->value.size)
      memcpy(node->value, request->value.data, request->value.size);
  }
  node->version++;
  return (struct oracle_answer){.version = node->version};
}

static struct oracle_answer execute(struct oracle_node *root, const struct request *request,
                                    const struct parts *path) {
  if (request->code == OP_MKDIR || request->code == OP_CREATE)
    return make(root, request, path);
  if (request->code == OP_RENAME)
    return rename_node(root, path, request);
  if (request->code == OP_DELETE && path->count == 0)
    return fail(STATUS_INVALID);
  if (request->code == OP_MOUNT)
    return mount(root, request, path);
  if (request->code == OP_UNMOUNT)
    return unmount(root, request, path);
  if (request->code == OP_PERSISTED && (path->count == 0 || !is_directory(request->destination)))
    return fail(STATUS_INVALID);
  struct oracle_node *node = NULL;
  const enum answer_status status = walk(root, path, path->count, &node);
  if (request->code == OP_EXISTS)
    return (struct oracle_answer){.exists = status == STATUS_OK};
  if (status != STATUS_OK)
    return fail(status);
  if (request->code == OP_LIST && node->is_file)
    return fail(STATUS_NOT_DIRECTORY);
  if (request->code == OP_BLOCKS && !node->is_file)
    return fail(STATUS_IS_DIRECTORY);
  if (request->code == OP_LIST || request->code == OP_STAT || request->code == OP_BLOCKS)
    return (struct oracle_answer){.node = node};
  if (request->code == OP_PERSISTED)
    return persisted(root, request, node);
  if (request->code == OP_DELETE && !node->is_file && holds_mount(root, request->path))
    return fail(STATUS_INVALID);
  return change(node, request);
}

static struct answer_block *find_block(struct oracle_node *node, uint64_t block, struct oracle_node **file) {
  for (size_t i = 0; i < node->block_count; i++)
    if (node->blocks[i].block == block) {
      *file = node;
      return &node->blocks[i];
    }
  for (size_t i = 0; i < node->child_count; i++) {
    struct answer_block *found = find_block(node->children[i], block, file);
    if (found)
      return found;
  }
  return NULL;
}

static struct oracle_answer commit_block(struct oracle_node *root, const struct request *request) {
  struct oracle_node *file;
  struct answer_block *block = find_block(root, request->block, &file);
  if (!block)
    return fail(STATUS_NOT_FOUND);
  if (block->committed)
    return fail(block->length == request->length ? STATUS_OK : STATUS_INVALID);
  block->committed = true;
  block->length = request->length;
  file->version++;
  return fail(STATUS_OK);
}

static struct oracle_node *copy_tree(const struct oracle_node *node) {
  struct oracle_node *copy = xmalloc(sizeof *copy);
  *copy = *node;
  copy->mounts = NULL; /* no batch changes them */
  copy->name = xstrdup(node->name);
  copy->value = xstrdup(node->value);
  copy->blocks = xcalloc(node->block_count + 1, sizeof *copy->blocks);
  for (size_t i = 0; i < node->block_count; i++)
    copy->blocks[i] = node->blocks[i];
  copy->children = xcalloc(node->child_count + 1, sizeof(struct oracle_node *));
  for (size_t i = 0; i < node->child_count; i++) {
    copy->children[i] = copy_tree(node->children[i]);
    copy->children[i]->parent = copy;
  }
  return copy;
}

/* The copy becomes the tree again. */
static void put_back(struct oracle_node *root, struct oracle_node *copy) {
  copy->mounts = root->mounts;
  free_content(root);
  *root = *copy;
  for (size_t i = 0; i < root->child_count; i++)
    root->children[i]->parent = root;
  free(copy);
}

static struct oracle_answer execute_single(struct oracle_node *root, const struct request *request) {
  if (request->code == OP_MOUNTS)
    return fail(STATUS_OK);
  if (request->code == OP_COMMIT_BLOCK)
    return commit_block(root, request);
  struct parts *path = xmalloc(sizeof *path);
  struct oracle_answer answer = fail(STATUS_INVALID);
  if (cut(path, request->path))
    answer = execute(root, request, path);
  free(path->text);
  free(path);
  return answer;
}

static struct oracle_answer batch(struct oracle_node *root, const struct request *request) {
  struct oracle_answer answer = {.number_count = request->item_count};
  struct oracle_node *before = copy_tree(root);
  for (size_t i = 0; i < request->item_count; i++) {
    struct request item = request->items[i];
    item.op_id = request->op_id;
    const struct oracle_answer of_item = execute_single(root, &item);
    if (of_item.status != STATUS_OK) {
      put_back(root, before);
      return (struct oracle_answer){.status = of_item.status, .version = of_item.version, .at = i};
    }
    answer.numbers[i] = of_item.creator ? of_item.creator : of_item.version;
  }
  oracle_free(before);
  return answer;
}

struct oracle_answer oracle_execute(struct oracle_node *root, const struct request *request) {
  return request->code == OP_BATCH ? batch(root, request) : execute_single(root, request);
}
