#include "checker/verify/tree.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static char *copy_text(struct text text) {
  char *copy = xmalloc(text.size + 1);
  if (text.size > 0)
    memcpy(copy, text.data, text.size);
  copy[text.size] = '\0';
  return copy;
}

static int compare_names(const struct inode *inode, struct text name) {
  const size_t shorter = inode->name_size < name.size ? inode->name_size : name.size;
  const int order = shorter ? memcmp(inode->name, name.data, shorter) : 0;
  if (order != 0)
    return order;
  return inode->name_size < name.size ? -1 : inode->name_size > name.size;
}

/* Where `name` stands among the children, or would stand. */
static size_t child_position(const struct inode *directory, struct text name) {
  size_t low = 0, high = directory->child_count;
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (compare_names(directory->children[middle], name) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

struct inode *inode_child(const struct inode *directory, struct text name) {
  const size_t at = child_position(directory, name);
  if (at < directory->child_count && compare_names(directory->children[at], name) == 0)
    return directory->children[at];
  return NULL;
}

bool inode_is_under(const struct inode *inode, const struct inode *ancestor) {
  while (inode && inode != ancestor)
    inode = inode->parent;
  return inode == ancestor;
}

/* ---- Links, without notes ---- */

static void link_child(struct inode *parent, struct inode *inode) {
  assert(parent->kind == INODE_DIRECTORY && !inode->parent);
  if (parent->child_count == parent->child_room) {
    parent->child_room = parent->child_room ? parent->child_room * 2 : 4;
    parent->children = xrealloc(parent->children, parent->child_room * sizeof(struct inode *));
  }
  const size_t at = child_position(parent, (struct text){inode->name, inode->name_size});
  memmove(parent->children + at + 1, parent->children + at,
          (parent->child_count - at) * sizeof(struct inode *));
  parent->children[at] = inode;
  parent->child_count++;
  inode->parent = parent;
}

static void unlink_child(struct inode *inode) {
  struct inode *parent = inode->parent;
  const size_t at = child_position(parent, (struct text){inode->name, inode->name_size});
  assert(parent->children[at] == inode);
  parent->child_count--;
  memmove(parent->children + at, parent->children + at + 1,
          (parent->child_count - at) * sizeof(struct inode *));
  inode->parent = NULL;
}

static void forget_block(struct tree *tree, struct block *block) {
  struct block **at = &tree->buckets[block->id % tree->bucket_count];
  while (*at != block)
    at = &(*at)->next;
  *at = block->next;
  tree->block_count--;
  free(block);
}

static void free_subtree(struct tree *tree, struct inode *inode) {
  for (size_t i = 0; i < inode->child_count; i++)
    free_subtree(tree, inode->children[i]);
  for (size_t i = 0; i < inode->block_count; i++)
    forget_block(tree, inode->blocks[i]);
  free(inode->children);
  free(inode->blocks);
  free(inode->value);
  free(inode->name);
  free(inode);
}

/* ---- Changes ---- */

static struct change *note(struct tree *tree, enum change_kind kind, struct inode *inode) {
  if (tree->change_count == tree->change_room) {
    tree->change_room = tree->change_room ? tree->change_room * 2 : 16;
    tree->changes = xrealloc(tree->changes, tree->change_room * sizeof *tree->changes);
  }
  struct change *change = &tree->changes[tree->change_count++];
  *change = (struct change){.kind = kind, .inode = inode};
  return change;
}

static void note_fields(struct tree *tree, struct inode *inode) {
  struct change *change = note(tree, CHANGE_FIELDS, inode);
  change->version = inode->version;
  change->length = inode->length;
  change->completed = inode->completed;
  change->value = copy_text((struct text){inode->value, inode->value_size});
  change->value_size = inode->value_size;
}

struct inode *tree_make(struct tree *tree, struct inode *parent, struct text name, enum inode_kind kind,
                        uint64_t creator) {
  struct inode *inode = xcalloc(1, sizeof *inode);
  inode->kind = kind;
  inode->creator = creator;
  inode->version = 1;
  inode->value = copy_text((struct text){0});
  tree_attach(tree, inode, parent, name);
  return inode;
}

void tree_detach(struct tree *tree, struct inode *inode) {
  note(tree, CHANGE_DETACHED, inode)->parent = inode->parent;
  unlink_child(inode);
}

/* An inode is given its name for as long as it is attached: taking back a rename gives it its old one, so the
 * old name is kept in the note. */
void tree_attach(struct tree *tree, struct inode *inode, struct inode *parent, struct text name) {
  struct change *change = note(tree, CHANGE_ATTACHED, inode);
  change->value = inode->name;
  change->value_size = inode->name_size;
  inode->name = copy_text(name);
  inode->name_size = name.size;
  link_child(parent, inode);
}

void tree_touch(struct tree *tree, struct inode *inode) {
  note_fields(tree, inode);
  inode->version++;
}

void tree_set_value(struct tree *tree, struct inode *inode, struct text value) {
  tree_touch(tree, inode);
  free(inode->value);
  inode->value = copy_text(value);
  inode->value_size = value.size;
}

void tree_complete(struct tree *tree, struct inode *inode, uint64_t length) {
  tree_touch(tree, inode);
  inode->completed = true;
  inode->length = length;
}

/* ---- Blocks ---- */

static void grow_buckets(struct tree *tree) {
  assert(tree->bucket_count > 0);
  const size_t count = tree->bucket_count * 2;
  struct block **buckets = xcalloc(count, sizeof(struct block *));
  for (size_t i = 0; i < tree->bucket_count; i++)
    for (struct block *block = tree->buckets[i], *next; block; block = next) {
      next = block->next;
      block->next = buckets[block->id % count];
      buckets[block->id % count] = block;
    }
  free(tree->buckets);
  tree->buckets = buckets;
  tree->bucket_count = count;
}

void tree_add_block(struct tree *tree, struct inode *file, uint64_t id) {
  if (tree->block_count == tree->bucket_count)
    grow_buckets(tree);
  struct block *block = xcalloc(1, sizeof *block);
  struct block **bucket = &tree->buckets[id % tree->bucket_count];
  *block = (struct block){.id = id, .file = file, .next = *bucket};
  *bucket = block;
  tree->block_count++;
  file->blocks = xrealloc(file->blocks, (file->block_count + 1) * sizeof(struct block *));
  file->blocks[file->block_count++] = block;
  tree_touch(tree, file);
}

void tree_commit_block(struct tree *tree, struct block *block, uint64_t length) {
  note(tree, CHANGE_COMMITTED, block->file)->block = block;
  block->committed = true;
  block->length = length;
  tree_touch(tree, block->file);
}

struct block *tree_block(const struct tree *tree, uint64_t id) {
  struct block *block = tree->buckets[id % tree->bucket_count];
  while (block && !(block->id == id && inode_is_under(block->file, tree->root)))
    block = block->next;
  return block;
}

/* ---- For good, or not ---- */

/* True when the inode that the change detached was attached again later. */
static bool came_back(const struct tree *tree, const struct change *change) {
  for (const struct change *later = change + 1; later < tree->changes + tree->change_count; later++)
    if (later->kind == CHANGE_ATTACHED && later->inode == change->inode)
      return true;
  return false;
}

void tree_keep(struct tree *tree) {
  for (size_t i = 0; i < tree->change_count; i++)
    free(tree->changes[i].value);
  for (size_t i = 0; i < tree->change_count; i++)
    if (tree->changes[i].kind == CHANGE_DETACHED && !came_back(tree, &tree->changes[i]))
      free_subtree(tree, tree->changes[i].inode);
  tree->change_count = 0;
}

static void take_back(const struct change *change, struct inode *inode) {
  switch (change->kind) {
  case CHANGE_ATTACHED:
    unlink_child(inode);
    free(inode->name);
    inode->name = change->value;
    inode->name_size = change->value_size;
    break;
  case CHANGE_DETACHED:
    link_child(change->parent, inode);
    break;
  case CHANGE_COMMITTED:
    change->block->committed = false;
    change->block->length = 0;
    break;
  case CHANGE_FIELDS:
    free(inode->value);
    inode->value = change->value;
    inode->value_size = change->value_size;
    inode->version = change->version;
    inode->length = change->length;
    inode->completed = change->completed;
    break;
  }
}

void tree_take_back(struct tree *tree) {
  while (tree->change_count > 0) {
    const struct change *change = &tree->changes[--tree->change_count];
    take_back(change, change->inode);
    /* Made by what is taken back: it never had another place. */
    if (change->kind == CHANGE_ATTACHED && !change->inode->name)
      free_subtree(tree, change->inode);
  }
}

void tree_init(struct tree *tree) {
  *tree = (struct tree){.bucket_count = 64};
  tree->buckets = xcalloc(tree->bucket_count, sizeof(struct block *));
  tree->root = xcalloc(1, sizeof *tree->root);
  tree->root->kind = INODE_DIRECTORY;
  tree->root->version = 1;
  tree->root->value = copy_text((struct text){0});
}

void tree_free(struct tree *tree) {
  assert(tree->change_count == 0);
  free_subtree(tree, tree->root);
  free(tree->buckets);
  free(tree->changes);
}
