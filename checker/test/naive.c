#include "checker/test/naive.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct naive_block {
  struct naive_block *next;
  uint64_t id, length;
  bool committed;
};

struct naive_node {
  struct naive_node *next, *children; /* children in byte order of their names */
  char *name;
  size_t name_size;
  bool directory, completed;
  uint64_t creator, version, length;
  char *value;
  size_t value_size;
  struct naive_block *blocks;
};

struct naive_tree {
  struct naive_node *root;
};

static char *copy_bytes(const char *data, size_t size) {
  char *copy = xmalloc(size + 1);
  if (size > 0)
    memcpy(copy, data, size);
  copy[size] = '\0';
  return copy;
}

static struct naive_node *make_node(const char *name, size_t size, bool directory, uint64_t creator) {
  struct naive_node *node = xcalloc(1, sizeof *node);
  node->name = copy_bytes(name, size);
  node->name_size = size;
  node->directory = directory;
  node->creator = creator;
  node->version = 1;
  node->value = copy_bytes("", 0);
  return node;
}

static void free_node(struct naive_node *node) {
  for (struct naive_node *child = node->children, *next; child; child = next) {
    next = child->next;
    free_node(child);
  }
  for (struct naive_block *block = node->blocks, *next; block; block = next) {
    next = block->next;
    free(block);
  }
  free(node->name);
  free(node->value);
  free(node);
}

static struct naive_node *copy_node(const struct naive_node *node) {
  struct naive_node *copy = xmalloc(sizeof *copy);
  *copy = *node;
  copy->next = NULL;
  copy->name = copy_bytes(node->name, node->name_size);
  copy->value = copy_bytes(node->value, node->value_size);
  struct naive_node **tail = &copy->children;
  for (const struct naive_node *child = node->children; child; child = child->next) {
    *tail = copy_node(child);
    tail = &(*tail)->next;
  }
  *tail = NULL;
  struct naive_block **block_tail = &copy->blocks;
  for (const struct naive_block *block = node->blocks; block; block = block->next) {
    *block_tail = xmalloc(sizeof **block_tail);
    **block_tail = *block;
    block_tail = &(*block_tail)->next;
  }
  *block_tail = NULL;
  return copy;
}

struct naive_tree *naive_tree_new(void) {
  struct naive_tree *tree = xmalloc(sizeof *tree);
  tree->root = make_node("", 0, true, 0);
  return tree;
}

struct naive_tree *naive_tree_copy(const struct naive_tree *tree) {
  struct naive_tree *copy = xmalloc(sizeof *copy);
  copy->root = copy_node(tree->root);
  return copy;
}

void naive_tree_free(struct naive_tree *tree) {
  free_node(tree->root);
  free(tree);
}

/* ---- Paths ---- */

static bool valid_path(struct text path) {
  if (!path.data || path.size == 0 || path.size > 4096 || path.data[0] != '/')
    return false;
  if (path.size == 1)
    return true;
  size_t start = 1;
  for (size_t i = 1; i <= path.size; i++) {
    if (i < path.size && path.data[i] == '\0')
      return false;
    if (i < path.size && path.data[i] != '/')
      continue;
    const size_t size = i - start;
    const char *name = path.data + start;
    if (size == 0 || size > 255 || (size == 1 && name[0] == '.') ||
        (size == 2 && name[0] == '.' && name[1] == '.'))
      return false;
    start = i + 1;
  }
  return true;
}

static struct naive_node *find_child(struct naive_node *directory, const char *name, size_t size) {
  for (struct naive_node *child = directory->children; child; child = child->next)
    if (child->name_size == size && memcmp(child->name, name, size) == 0)
      return child;
  return NULL;
}

/* Resolves a valid path. */
static enum answer_code resolve(struct naive_tree *tree, struct text path, struct naive_node **found) {
  struct naive_node *at = tree->root;
  size_t start = 1;
  while (start < path.size) {
    size_t end = start;
    while (end < path.size && path.data[end] != '/')
      end++;
    if (!at->directory)
      return ANSWER_NOT_DIRECTORY;
    at = find_child(at, path.data + start, end - start);
    if (!at)
      return ANSWER_NOT_FOUND;
    start = end + 1;
  }
  *found = at;
  return ANSWER_OK;
}

static bool is_root(struct text path) {
  return path.size == 1;
}

/* A valid path that is not the root, cut before its last component. */
static struct text parent_of(struct text path, struct text *name) {
  size_t slash = path.size;
  while (path.data[slash - 1] != '/')
    slash--;
  *name = (struct text){path.data + slash, path.size - slash};
  return (struct text){path.data, slash == 1 ? 1 : slash - 1};
}

static void insert_child(struct naive_node *directory, struct naive_node *node) {
  struct naive_node **at = &directory->children;
  while (*at && strcmp((*at)->name, node->name) < 0)
    at = &(*at)->next;
  node->next = *at;
  *at = node;
}

static void take_child(struct naive_node *directory, struct naive_node *node) {
  struct naive_node **at = &directory->children;
  while (*at != node)
    at = &(*at)->next;
  *at = node->next;
  node->next = NULL;
}

/* Resolves the parent of a valid path that is not the root; with `make` what is missing is made. */
static enum answer_code resolve_parent(struct naive_tree *tree, struct text path, bool make, uint64_t op_id,
                                       struct naive_node **found) {
  struct text name;
  const struct text parent = parent_of(path, &name);
  const enum answer_code code = resolve(tree, parent, found);
  if (code == ANSWER_OK)
    return (*found)->directory ? ANSWER_OK : ANSWER_NOT_DIRECTORY;
  if (code != ANSWER_NOT_FOUND || !make)
    return code;
  struct naive_node *grandparent;
  const enum answer_code above = resolve_parent(tree, parent, true, op_id, &grandparent);
  if (above != ANSWER_OK)
    return above;
  parent_of(parent, &name);
  *found = make_node(name.data, name.size, true, op_id);
  insert_child(grandparent, *found);
  grandparent->version++;
  return ANSWER_OK;
}

/* ---- Operations ---- */

static enum answer_code do_mkdir(struct naive_tree *tree, const struct arguments *asked, uint64_t op_id,
                                 struct answer *answer) {
  struct naive_node *parent = NULL, *there;
  struct text name = {0};
  answer->seen = SEEN_CREATOR;
  if (!is_root(asked->path)) {
    const enum answer_code code = resolve_parent(tree, asked->path, asked->parents, op_id, &parent);
    if (code != ANSWER_OK)
      return code;
    parent_of(asked->path, &name);
    there = find_child(parent, name.data, name.size);
  } else {
    there = tree->root;
  }
  if (there) {
    answer->creator = there->creator;
    return asked->exist_ok && there->directory ? ANSWER_OK : ANSWER_EXISTS;
  }
  assert(parent);
  insert_child(parent, make_node(name.data, name.size, true, op_id));
  parent->version++;
  answer->creator = op_id;
  return ANSWER_OK;
}

static enum answer_code do_create(struct naive_tree *tree, const struct arguments *asked, uint64_t op_id,
                                  struct answer *answer) {
  struct naive_node *parent;
  struct text name;
  answer->seen = SEEN_CREATOR;
  answer->creator = op_id;
  if (is_root(asked->path))
    return ANSWER_IS_DIRECTORY;
  const enum answer_code code = resolve_parent(tree, asked->path, asked->parents, op_id, &parent);
  if (code != ANSWER_OK)
    return code;
  parent_of(asked->path, &name);
  struct naive_node *there = find_child(parent, name.data, name.size);
  if (there && there->directory)
    return ANSWER_IS_DIRECTORY;
  if (there && !asked->overwrite)
    return ANSWER_EXISTS;
  if (there) {
    take_child(parent, there);
    free_node(there);
  }
  insert_child(parent, make_node(name.data, name.size, false, op_id));
  parent->version++;
  return ANSWER_OK;
}

static enum answer_code do_complete(struct naive_node *node, const struct arguments *asked,
                                    struct answer *answer) {
  if (node->directory)
    return ANSWER_IS_DIRECTORY;
  if (node->completed)
    return ANSWER_ALREADY_COMPLETED;
  uint64_t sum = 0;
  for (const struct naive_block *block = node->blocks; block; block = block->next) {
    if (!block->committed)
      return ANSWER_BLOCK_UNCOMMITTED;
    sum += block->length;
  }
  if (node->blocks && sum != asked->length)
    return ANSWER_INVALID;
  node->completed = true;
  node->length = asked->length;
  answer->version = ++node->version;
  answer->seen = SEEN_VERSION;
  return ANSWER_OK;
}

static enum answer_code do_delete(struct naive_tree *tree, struct naive_node *node,
                                  const struct arguments *asked) {
  if (node->children && !asked->recursive)
    return ANSWER_NOT_EMPTY;
  struct naive_node *parent;
  const enum answer_code code = resolve_parent(tree, asked->path, false, 0, &parent);
  assert(code == ANSWER_OK);
  take_child(parent, node);
  free_node(node);
  parent->version++;
  return ANSWER_OK;
}

static bool lies_under(struct text path, struct text above) {
  return path.size > above.size && memcmp(path.data, above.data, above.size) == 0 &&
         (is_root(above) || path.data[above.size] == '/');
}

static enum answer_code do_rename(struct naive_tree *tree, const struct arguments *asked) {
  struct naive_node *node, *from, *to;
  struct text name;
  if (!valid_path(asked->path) || !valid_path(asked->destination))
    return ANSWER_INVALID;
  enum answer_code code = resolve(tree, asked->path, &node);
  if (code != ANSWER_OK || text_equal(asked->path, asked->destination))
    return code;
  if (is_root(asked->path))
    return ANSWER_INVALID;
  if (is_root(asked->destination))
    return ANSWER_EXISTS;
  if (lies_under(asked->destination, asked->path))
    return ANSWER_INVALID;
  code = resolve_parent(tree, asked->destination, false, 0, &to);
  if (code != ANSWER_OK)
    return code;
  parent_of(asked->destination, &name);
  if (find_child(to, name.data, name.size))
    return ANSWER_EXISTS;
  code = resolve_parent(tree, asked->path, false, 0, &from);
  assert(code == ANSWER_OK);
  take_child(from, node);
  free(node->name);
  node->name = copy_bytes(name.data, name.size);
  node->name_size = name.size;
  insert_child(to, node);
  from->version++;
  if (to != from)
    to->version++;
  return ANSWER_OK;
}

static enum answer_code do_set(struct naive_node *node, const struct arguments *asked,
                               struct answer *answer) {
  answer->seen = SEEN_VERSION;
  answer->version = node->version;
  if (asked->has_if_version && asked->if_version != node->version)
    return ANSWER_VERSION_MISMATCH;
  free(node->value);
  node->value = copy_bytes(asked->value.data, asked->value.size);
  node->value_size = asked->value.size;
  answer->version = ++node->version;
  return ANSWER_OK;
}

static enum answer_code do_add_block(struct naive_node *node, uint64_t op_id, struct answer *answer) {
  if (node->directory)
    return ANSWER_IS_DIRECTORY;
  if (node->completed)
    return ANSWER_ALREADY_COMPLETED;
  struct naive_block **tail = &node->blocks;
  while (*tail)
    tail = &(*tail)->next;
  *tail = xcalloc(1, sizeof **tail);
  (*tail)->id = op_id;
  node->version++;
  answer->seen = SEEN_BLOCK;
  answer->block = op_id;
  return ANSWER_OK;
}

static enum answer_code do_commit_block(struct naive_node *node, const struct arguments *asked) {
  for (struct naive_block *block = node->blocks; block; block = block->next) {
    if (block->id != asked->block)
      continue;
    if (block->committed)
      return block->length == asked->length ? ANSWER_OK : ANSWER_INVALID;
    block->committed = true;
    block->length = asked->length;
    node->version++;
    return ANSWER_OK;
  }
  for (struct naive_node *child = node->children; child; child = child->next) {
    const enum answer_code code = do_commit_block(child, asked);
    if (code != ANSWER_NOT_FOUND)
      return code;
  }
  return ANSWER_NOT_FOUND;
}

static void do_stat(const struct naive_node *node, struct answer *answer) {
  answer->seen = SEEN_KIND | SEEN_CREATOR | SEEN_VERSION | SEEN_VALUE | SEEN_COMPLETED | SEEN_LENGTH |
                 SEEN_BLOCK_COUNT | SEEN_CHILD_COUNT;
  answer->inode_kind = node->directory ? INODE_DIRECTORY : INODE_FILE;
  answer->creator = node->creator;
  answer->version = node->version;
  answer->value = (struct text){node->value, node->value_size};
  answer->completed = node->completed;
  answer->length = node->length;
  for (const struct naive_block *block = node->blocks; block; block = block->next)
    answer->block_count++;
  for (const struct naive_node *child = node->children; child; child = child->next)
    answer->child_count++;
}

static enum answer_code do_list(const struct naive_node *node, struct answer *answer) {
  if (!node->directory)
    return ANSWER_NOT_DIRECTORY;
  answer->seen = SEEN_VERSION | SEEN_ENTRIES;
  answer->version = node->version;
  size_t count = 0;
  for (const struct naive_node *child = node->children; child; child = child->next)
    count++;
  answer->entries = xcalloc(count + 1, sizeof *answer->entries);
  for (const struct naive_node *child = node->children; child; child = child->next)
    answer->entries[answer->entry_count++] =
        (struct list_entry){.name = {child->name, child->name_size},
                            .kind = child->directory ? INODE_DIRECTORY : INODE_FILE,
                            .creator = child->creator,
                            .has_kind = true,
                            .has_creator = true};
  return ANSWER_OK;
}

static enum answer_code do_blocks(const struct naive_node *node, struct answer *answer) {
  if (node->directory)
    return ANSWER_IS_DIRECTORY;
  answer->seen = SEEN_BLOCKS;
  size_t count = 0;
  for (const struct naive_block *block = node->blocks; block; block = block->next)
    count++;
  answer->blocks = xcalloc(count + 1, sizeof *answer->blocks);
  for (const struct naive_block *block = node->blocks; block; block = block->next)
    answer->blocks[answer->block_entry_count++] =
        (struct block_entry){block->id, block->committed ? block->length : 0, block->committed};
  return ANSWER_OK;
}

static enum answer_code do_batch(struct naive_tree *tree, const struct arguments *asked, uint64_t op_id,
                                 struct answer *answer) {
  struct naive_tree *before = naive_tree_copy(tree);
  answer->items = xcalloc(asked->item_count + 1, sizeof *answer->items);
  answer->item_count = asked->item_count;
  answer->seen = SEEN_ANSWERS;
  for (size_t i = 0; i < asked->item_count; i++) {
    naive_execute(tree, &asked->items[i], op_id, &answer->items[i]);
    const struct answer failed = answer->items[i];
    if (failed.code == ANSWER_OK)
      continue;
    free_node(tree->root);
    tree->root = before->root;
    free(before);
    naive_answer_free(answer);
    *answer =
        (struct answer){.seen = SEEN_AT | (failed.seen & SEEN_VERSION), .at = i, .version = failed.version};
    return failed.code;
  }
  naive_tree_free(before);
  return ANSWER_OK;
}

static enum answer_code execute(struct naive_tree *tree, const struct arguments *asked, uint64_t op_id,
                                struct answer *answer) {
  struct naive_node *node = NULL;
  switch (asked->kind) {
  case OPERATION_RENAME:
    return do_rename(tree, asked);
  case OPERATION_BATCH:
    return do_batch(tree, asked, op_id, answer);
  case OPERATION_COMMIT_BLOCK:
    return do_commit_block(tree->root, asked);
  default:
    break;
  }
  if (!valid_path(asked->path))
    return ANSWER_INVALID;
  if (asked->kind == OPERATION_MKDIR)
    return do_mkdir(tree, asked, op_id, answer);
  if (asked->kind == OPERATION_CREATE)
    return do_create(tree, asked, op_id, answer);
  if (asked->kind == OPERATION_DELETE && is_root(asked->path))
    return ANSWER_INVALID;
  const enum answer_code code = resolve(tree, asked->path, &node);
  if (asked->kind == OPERATION_EXISTS) {
    answer->seen = SEEN_EXISTS;
    answer->exists = code == ANSWER_OK;
    return ANSWER_OK;
  }
  if (code != ANSWER_OK)
    return code;
  switch (asked->kind) {
  case OPERATION_COMPLETE:
    return do_complete(node, asked, answer);
  case OPERATION_DELETE:
    return do_delete(tree, node, asked);
  case OPERATION_SET:
    return do_set(node, asked, answer);
  case OPERATION_ADD_BLOCK:
    return do_add_block(node, op_id, answer);
  case OPERATION_STAT:
    do_stat(node, answer);
    return ANSWER_OK;
  case OPERATION_LIST:
    return do_list(node, answer);
  case OPERATION_BLOCKS:
    return do_blocks(node, answer);
  default:
    abort();
  }
}

void naive_execute(struct naive_tree *tree, const struct arguments *asked, uint64_t op_id,
                   struct answer *answer) {
  *answer = (struct answer){0};
  const enum answer_code code = execute(tree, asked, op_id, answer);
  if (code == ANSWER_OK || asked->kind == OPERATION_BATCH) {
    answer->code = code;
    return;
  }
  const bool version = code == ANSWER_VERSION_MISMATCH;
  *answer = (struct answer){
      .code = code, .seen = version ? SEEN_VERSION : 0, .version = version ? answer->version : 0};
}

void naive_answer_free(struct answer *answer) {
  for (size_t i = 0; i < answer->item_count; i++)
    naive_answer_free(&answer->items[i]);
  free(answer->items);
  free(answer->entries);
  free(answer->blocks);
}

/* ---- Agreement ---- */

static bool same_entries(const struct answer *recorded, const struct answer *computed) {
  if (recorded->entry_count != computed->entry_count)
    return false;
  for (size_t i = 0; i < recorded->entry_count; i++) {
    const struct list_entry *r = &recorded->entries[i], *c = &computed->entries[i];
    if (!text_equal(r->name, c->name) || (r->has_kind && r->kind != c->kind) ||
        (r->has_creator && r->creator != c->creator))
      return false;
  }
  return true;
}

static bool same_blocks(const struct answer *recorded, const struct answer *computed) {
  if (recorded->block_entry_count != computed->block_entry_count)
    return false;
  for (size_t i = 0; i < recorded->block_entry_count; i++) {
    const struct block_entry *r = &recorded->blocks[i], *c = &computed->blocks[i];
    if (r->block != c->block || r->committed != c->committed || (r->committed && r->length != c->length))
      return false;
  }
  return true;
}

bool naive_agrees(enum operation_kind kind, const struct answer *recorded, const struct answer *computed) {
  if (recorded->code != computed->code)
    return false;
  const unsigned seen = recorded->seen & computed->seen;
  if (kind == OPERATION_BATCH && (seen & SEEN_ANSWERS) && recorded->item_count != computed->item_count)
    return false;
  return (!(seen & SEEN_CREATOR) || recorded->creator == computed->creator) &&
         (!(seen & SEEN_VERSION) || recorded->version == computed->version) &&
         (!(seen & SEEN_KIND) || recorded->inode_kind == computed->inode_kind) &&
         (!(seen & SEEN_VALUE) || text_equal(recorded->value, computed->value)) &&
         (!(seen & SEEN_COMPLETED) || recorded->completed == computed->completed) &&
         (!(seen & SEEN_LENGTH) || recorded->length == computed->length) &&
         (!(seen & SEEN_BLOCK_COUNT) || recorded->block_count == computed->block_count) &&
         (!(seen & SEEN_CHILD_COUNT) || recorded->child_count == computed->child_count) &&
         (!(seen & SEEN_EXISTS) || recorded->exists == computed->exists) &&
         (!(seen & SEEN_BLOCK) || recorded->block == computed->block) &&
         (!(seen & SEEN_AT) || recorded->at == computed->at) &&
         (!(seen & SEEN_ENTRIES) || same_entries(recorded, computed)) &&
         (!(seen & SEEN_BLOCKS) || same_blocks(recorded, computed));
}

static bool operation_agrees(const struct operation *operation, const struct answer *computed) {
  if (operation->outcome == OUTCOME_INFO)
    return true;
  if (!naive_agrees(operation->arguments.kind, &operation->answer, computed))
    return false;
  for (size_t i = 0; i < computed->item_count && (operation->answer.seen & SEEN_ANSWERS); i++)
    if (!naive_agrees(operation->arguments.items[i].kind, &operation->answer.items[i], &computed->items[i]))
      return false;
  return true;
}

/* ---- Linearizability (Wing and Gong, 1993) ---- */

static bool counts(const struct operation *operation) {
  if (operation->outcome == OUTCOME_FAIL)
    return answer_is_observation(operation->answer.code);
  return operation->outcome == OUTCOME_OK || operation_is_mutation(operation->arguments.kind);
}

static bool try_all(const struct history *history, const struct naive_tree *tree, bool *done) {
  uint32_t first_completion = NO_EVENT;
  for (size_t i = 0; i < history->count; i++) {
    const struct operation *operation = &history->operations[i];
    if (!done[i] && operation->outcome != OUTCOME_INFO && operation->complete_event < first_completion)
      first_completion = operation->complete_event;
  }
  if (first_completion == NO_EVENT)
    return true;
  for (size_t i = 0; i < history->count; i++) {
    const struct operation *operation = &history->operations[i];
    if (done[i] || operation->invoke_event > first_completion)
      continue;
    struct naive_tree *next = naive_tree_copy(tree);
    struct answer answer;
    naive_execute(next, &operation->arguments, operation->op_id, &answer);
    bool found = operation_agrees(operation, &answer) &&
                 (operation->outcome != OUTCOME_INFO || answer.code == ANSWER_OK);
    naive_answer_free(&answer);
    done[i] = true;
    found = found && try_all(history, next, done);
    done[i] = false;
    naive_tree_free(next);
    if (found)
      return true;
  }
  return false;
}

bool naive_linearizable(const struct history *history) {
  bool *done = xcalloc(history->count + 1, sizeof *done);
  for (size_t i = 0; i < history->count; i++)
    done[i] = !counts(&history->operations[i]);
  struct naive_tree *tree = naive_tree_new();
  const bool found = try_all(history, tree, done);
  naive_tree_free(tree);
  free(done);
  return found;
}

bool naive_accepts(const struct history *history, const uint32_t *order, size_t count) {
  bool *done = xcalloc(history->count + 1, sizeof *done);
  struct naive_tree *tree = naive_tree_new();
  uint32_t latest_invocation = 0;
  bool good = true;
  for (size_t i = 0; i < count && good; i++) {
    const struct operation *operation = &history->operations[order[i]];
    if (operation->invoke_event > latest_invocation)
      latest_invocation = operation->invoke_event;
    struct answer answer;
    naive_execute(tree, &operation->arguments, operation->op_id, &answer);
    good = !done[order[i]] && counts(operation) && operation_agrees(operation, &answer) &&
           (operation->outcome == OUTCOME_INFO || latest_invocation < operation->complete_event);
    done[order[i]] = true;
    naive_answer_free(&answer);
  }
  for (size_t i = 0; i < history->count && good; i++)
    good = done[i] || history->operations[i].outcome == OUTCOME_INFO || !counts(&history->operations[i]);
  naive_tree_free(tree);
  free(done);
  return good;
}
