#include "checker/verify/specification.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "checker/verify/tree.h"

#define PATH_MAX_SIZE 4096
#define NAME_MAX_SIZE 255

struct specification {
  struct tree tree;
  /* The lists of the answer given last. */
  struct list_entry *entries;
  struct block_entry *blocks;
  struct answer *items;
};

struct specification *specification_new(void) {
  struct specification *specification = xcalloc(1, sizeof *specification);
  tree_init(&specification->tree);
  return specification;
}

void specification_free(struct specification *specification) {
  tree_free(&specification->tree);
  free(specification->entries);
  free(specification->blocks);
  free(specification->items);
  free(specification);
}

/* ---- Paths ---- */

/* Steps to the path's next component; false at its end. `*at` starts at 0. */
static bool next_component(struct text path, size_t *at, struct text *name) {
  if (*at + 1 >= path.size)
    return false;
  const char *start = path.data + *at + 1, *end = path.data + path.size;
  const char *slash = memchr(start, '/', (size_t)(end - start));
  *name = (struct text){start, (size_t)((slash ? slash : end) - start)};
  *at += 1 + name->size;
  return true;
}

static bool is_valid_name(struct text name) {
  if (name.size < 1 || name.size > NAME_MAX_SIZE || memchr(name.data, '\0', name.size))
    return false;
  return !text_equal(name, text_of(".")) && !text_equal(name, text_of(".."));
}

static bool is_valid_path(struct text path) {
  if (path.size < 1 || path.size > PATH_MAX_SIZE || path.data[0] != '/')
    return false;
  if (path.size > 1 && path.data[path.size - 1] == '/')
    return false;
  size_t at = 0;
  for (struct text name; next_component(path, &at, &name);)
    if (!is_valid_name(name))
      return false;
  return true;
}

static bool is_root(struct text path) {
  return path.size == 1;
}

static struct text parent_of(struct text path) {
  const char *slash = memrchr(path.data, '/', path.size);
  return (struct text){path.data, slash == path.data ? 1 : (size_t)(slash - path.data)};
}

static struct text name_of(struct text path) {
  const char *slash = memrchr(path.data, '/', path.size);
  return (struct text){slash + 1, (size_t)(path.data + path.size - slash - 1)};
}

/* From the root on: a missing component is not-found, a file where a directory must be is not-directory. */
static enum answer_code resolve(const struct tree *tree, struct text path, struct inode **inode) {
  if (!is_valid_path(path))
    return ANSWER_INVALID;
  *inode = tree->root;
  size_t at = 0;
  for (struct text name; next_component(path, &at, &name);) {
    if ((*inode)->kind != INODE_DIRECTORY)
      return ANSWER_NOT_DIRECTORY;
    *inode = inode_child(*inode, name);
    if (!*inode)
      return ANSWER_NOT_FOUND;
  }
  return ANSWER_OK;
}

/* The same for a file: a directory is is-directory. */
static enum answer_code resolve_file(const struct tree *tree, struct text path, struct inode **inode) {
  const enum answer_code code = resolve(tree, path, inode);
  return code == ANSWER_OK && (*inode)->kind == INODE_DIRECTORY ? ANSWER_IS_DIRECTORY : code;
}

/* Resolves a directory; with `make` the missing ones are made, `creator` their creator. Nothing is made
 * unless everything is: a file in the way is met before the first missing one. */
static enum answer_code resolve_directory(struct tree *tree, struct text path, bool make, uint64_t creator,
                                          struct inode **directory) {
  enum answer_code code = resolve(tree, path, directory);
  if (code == ANSWER_OK && (*directory)->kind != INODE_DIRECTORY)
    return ANSWER_NOT_DIRECTORY;
  if (code != ANSWER_NOT_FOUND || !make)
    return code;
  *directory = tree->root;
  size_t at = 0;
  for (struct text name; next_component(path, &at, &name);) {
    struct inode *child = inode_child(*directory, name);
    if (!child) {
      child = tree_make(tree, *directory, name, INODE_DIRECTORY, creator);
      tree_touch(tree, *directory);
    }
    *directory = child;
  }
  return ANSWER_OK;
}

/* ---- The operations ---- */

/* What an operation is executed on. */
struct execution {
  struct specification *specification;
  struct tree *tree;
  const struct arguments *arguments;
  uint64_t op_id;
  struct answer *answer;
};

static enum answer_code see_creator(struct execution *execution, const struct inode *inode) {
  execution->answer->seen = SEEN_CREATOR;
  execution->answer->creator = inode->creator;
  return ANSWER_OK;
}

static enum answer_code see_version(struct execution *execution, const struct inode *inode) {
  execution->answer->seen = SEEN_VERSION;
  execution->answer->version = inode->version;
  return ANSWER_OK;
}

static enum answer_code make_directory(struct execution *execution) {
  const struct arguments *arguments = execution->arguments;
  struct tree *tree = execution->tree;
  struct inode *parent = NULL, *present = tree->root;
  if (!is_valid_path(arguments->path))
    return ANSWER_INVALID;
  if (!is_root(arguments->path)) {
    const enum answer_code code =
        resolve_directory(tree, parent_of(arguments->path), arguments->parents, execution->op_id, &parent);
    if (code != ANSWER_OK)
      return code;
    present = inode_child(parent, name_of(arguments->path));
  }
  if (present)
    return arguments->exist_ok && present->kind == INODE_DIRECTORY ? see_creator(execution, present)
                                                                   : ANSWER_EXISTS;
  struct inode *made = tree_make(tree, parent, name_of(arguments->path), INODE_DIRECTORY, execution->op_id);
  tree_touch(tree, parent);
  return see_creator(execution, made);
}

static enum answer_code create_file(struct execution *execution) {
  const struct arguments *arguments = execution->arguments;
  struct tree *tree = execution->tree;
  struct inode *parent;
  if (!is_valid_path(arguments->path))
    return ANSWER_INVALID;
  if (is_root(arguments->path))
    return ANSWER_IS_DIRECTORY;
  const enum answer_code code =
      resolve_directory(tree, parent_of(arguments->path), arguments->parents, execution->op_id, &parent);
  if (code != ANSWER_OK)
    return code;
  struct inode *present = inode_child(parent, name_of(arguments->path));
  if (present && present->kind == INODE_DIRECTORY)
    return ANSWER_IS_DIRECTORY;
  if (present && !arguments->overwrite)
    return ANSWER_EXISTS;
  if (present)
    tree_detach(tree, present);
  struct inode *made = tree_make(tree, parent, name_of(arguments->path), INODE_FILE, execution->op_id);
  tree_touch(tree, parent);
  return see_creator(execution, made);
}

static enum answer_code complete_file(struct execution *execution) {
  struct inode *inode;
  const enum answer_code code = resolve_file(execution->tree, execution->arguments->path, &inode);
  if (code != ANSWER_OK)
    return code;
  if (inode->completed)
    return ANSWER_ALREADY_COMPLETED;
  uint64_t sum = 0;
  for (size_t i = 0; i < inode->block_count; i++) {
    if (!inode->blocks[i]->committed)
      return ANSWER_BLOCK_UNCOMMITTED;
    sum += inode->blocks[i]->length;
  }
  if (inode->block_count > 0 && execution->arguments->length != sum)
    return ANSWER_INVALID;
  tree_complete(execution->tree, inode, execution->arguments->length);
  return see_version(execution, inode);
}

static enum answer_code delete_inode(struct execution *execution) {
  const struct text path = execution->arguments->path;
  struct inode *inode;
  if (is_valid_path(path) && is_root(path))
    return ANSWER_INVALID;
  const enum answer_code code = resolve(execution->tree, path, &inode);
  if (code != ANSWER_OK)
    return code;
  if (inode->child_count > 0 && !execution->arguments->recursive)
    return ANSWER_NOT_EMPTY;
  tree_touch(execution->tree, inode->parent);
  tree_detach(execution->tree, inode);
  return ANSWER_OK;
}

/* "/a/b" lies under "/a". */
static bool lies_under(struct text path, struct text directory) {
  return path.size > directory.size && path.data[directory.size] == '/' &&
         memcmp(path.data, directory.data, directory.size) == 0;
}

static enum answer_code rename_inode(struct execution *execution) {
  const struct text source = execution->arguments->path, destination = execution->arguments->destination;
  struct tree *tree = execution->tree;
  struct inode *inode, *parent;
  if (!is_valid_path(source) || !is_valid_path(destination))
    return ANSWER_INVALID;
  enum answer_code code = resolve(tree, source, &inode);
  if (code != ANSWER_OK)
    return code;
  if (text_equal(source, destination))
    return ANSWER_OK;
  if (is_root(source))
    return ANSWER_INVALID;
  if (is_root(destination))
    return ANSWER_EXISTS;
  if (lies_under(destination, source))
    return ANSWER_INVALID;
  code = resolve_directory(tree, parent_of(destination), false, 0, &parent);
  if (code != ANSWER_OK)
    return code;
  if (inode_child(parent, name_of(destination)))
    return ANSWER_EXISTS;
  tree_touch(tree, inode->parent);
  if (parent != inode->parent)
    tree_touch(tree, parent);
  tree_detach(tree, inode);
  tree_attach(tree, inode, parent, name_of(destination));
  return ANSWER_OK;
}

static enum answer_code set_value(struct execution *execution) {
  const struct arguments *arguments = execution->arguments;
  struct inode *inode;
  const enum answer_code code = resolve(execution->tree, arguments->path, &inode);
  if (code != ANSWER_OK)
    return code;
  if (arguments->has_if_version && arguments->if_version != inode->version) {
    see_version(execution, inode);
    return ANSWER_VERSION_MISMATCH;
  }
  tree_set_value(execution->tree, inode, arguments->value);
  return see_version(execution, inode);
}

static enum answer_code add_block(struct execution *execution) {
  struct inode *inode;
  const enum answer_code code = resolve_file(execution->tree, execution->arguments->path, &inode);
  if (code != ANSWER_OK)
    return code;
  if (inode->completed)
    return ANSWER_ALREADY_COMPLETED;
  tree_add_block(execution->tree, inode, execution->op_id);
  execution->answer->seen = SEEN_BLOCK;
  execution->answer->block = execution->op_id;
  return ANSWER_OK;
}

static enum answer_code commit_block(struct execution *execution) {
  struct block *block = tree_block(execution->tree, execution->arguments->block);
  if (!block)
    return ANSWER_NOT_FOUND;
  if (block->committed)
    return block->length == execution->arguments->length ? ANSWER_OK : ANSWER_INVALID;
  tree_commit_block(execution->tree, block, execution->arguments->length);
  return ANSWER_OK;
}

static enum answer_code stat_inode(struct execution *execution) {
  struct answer *answer = execution->answer;
  struct inode *inode;
  const enum answer_code code = resolve(execution->tree, execution->arguments->path, &inode);
  if (code != ANSWER_OK)
    return code;
  answer->seen = SEEN_KIND | SEEN_CREATOR | SEEN_VERSION | SEEN_VALUE | SEEN_COMPLETED | SEEN_LENGTH |
                 SEEN_BLOCK_COUNT | SEEN_CHILD_COUNT;
  answer->inode_kind = inode->kind;
  answer->creator = inode->creator;
  answer->version = inode->version;
  answer->value = (struct text){inode->value, inode->value_size};
  answer->completed = inode->completed;
  answer->length = inode->length;
  answer->block_count = inode->block_count;
  answer->child_count = inode->child_count;
  return ANSWER_OK;
}

static enum answer_code list_directory(struct execution *execution) {
  struct answer *answer = execution->answer;
  struct specification *specification = execution->specification;
  struct inode *inode;
  const enum answer_code code =
      resolve_directory(execution->tree, execution->arguments->path, false, 0, &inode);
  if (code != ANSWER_OK)
    return code;
  see_version(execution, inode);
  answer->seen |= SEEN_ENTRIES;
  answer->entry_count = inode->child_count;
  specification->entries =
      xrealloc(specification->entries, (inode->child_count + 1) * sizeof *specification->entries);
  answer->entries = specification->entries;
  for (size_t i = 0; i < inode->child_count; i++) {
    const struct inode *child = inode->children[i];
    answer->entries[i] = (struct list_entry){.name = {child->name, child->name_size},
                                             .kind = child->kind,
                                             .creator = child->creator,
                                             .has_kind = true,
                                             .has_creator = true};
  }
  return ANSWER_OK;
}

static enum answer_code inode_exists(struct execution *execution) {
  struct inode *inode;
  const enum answer_code code = resolve(execution->tree, execution->arguments->path, &inode);
  if (code == ANSWER_INVALID)
    return code;
  execution->answer->seen = SEEN_EXISTS;
  execution->answer->exists = code == ANSWER_OK;
  return ANSWER_OK;
}

static enum answer_code list_blocks(struct execution *execution) {
  struct answer *answer = execution->answer;
  struct specification *specification = execution->specification;
  struct inode *inode;
  const enum answer_code code = resolve_file(execution->tree, execution->arguments->path, &inode);
  if (code != ANSWER_OK)
    return code;
  answer->seen = SEEN_BLOCKS;
  answer->block_entry_count = inode->block_count;
  specification->blocks =
      xrealloc(specification->blocks, (inode->block_count + 1) * sizeof *specification->blocks);
  answer->blocks = specification->blocks;
  for (size_t i = 0; i < inode->block_count; i++)
    answer->blocks[i] = (struct block_entry){.block = inode->blocks[i]->id,
                                             .length = inode->blocks[i]->length,
                                             .committed = inode->blocks[i]->committed};
  return ANSWER_OK;
}

static enum answer_code execute(struct execution *execution);

/* All or nothing; the operations share the batch's op id. */
static enum answer_code execute_batch(struct execution *execution) {
  const struct arguments *batch = execution->arguments;
  struct specification *specification = execution->specification;
  struct answer *answer = execution->answer;
  struct answer *items = specification->items =
      xrealloc(specification->items, (batch->item_count + 1) * sizeof *items);
  for (size_t i = 0; i < batch->item_count; i++) {
    items[i] = (struct answer){0};
    struct execution item = {specification, execution->tree, &batch->items[i], execution->op_id, &items[i]};
    items[i].code = execute(&item);
    if (items[i].code != ANSWER_OK) {
      answer->seen = SEEN_AT | (items[i].seen & SEEN_VERSION);
      answer->version = items[i].version;
      answer->at = i;
      return items[i].code;
    }
  }
  answer->seen = SEEN_ANSWERS;
  answer->items = items;
  answer->item_count = batch->item_count;
  return ANSWER_OK;
}

static enum answer_code execute(struct execution *execution) {
  switch (execution->arguments->kind) {
  case OPERATION_MKDIR:
    return make_directory(execution);
  case OPERATION_CREATE:
    return create_file(execution);
  case OPERATION_COMPLETE:
    return complete_file(execution);
  case OPERATION_DELETE:
    return delete_inode(execution);
  case OPERATION_RENAME:
    return rename_inode(execution);
  case OPERATION_SET:
    return set_value(execution);
  case OPERATION_ADD_BLOCK:
    return add_block(execution);
  case OPERATION_COMMIT_BLOCK:
    return commit_block(execution);
  case OPERATION_STAT:
    return stat_inode(execution);
  case OPERATION_LIST:
    return list_directory(execution);
  case OPERATION_EXISTS:
    return inode_exists(execution);
  case OPERATION_BLOCKS:
    return list_blocks(execution);
  default:
    assert(execution->arguments->kind == OPERATION_BATCH);
    return execute_batch(execution);
  }
}

void specification_execute(struct specification *specification, const struct arguments *arguments,
                           uint64_t op_id, struct answer *answer) {
  struct tree *tree = &specification->tree;
  *answer = (struct answer){0};
  struct execution execution = {specification, tree, arguments, op_id, answer};
  answer->code = execute(&execution);
  if (answer->code == ANSWER_OK)
    tree_keep(tree);
  else
    tree_take_back(tree);
}
