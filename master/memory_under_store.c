#include "master/memory_under_store.h"

#include <assert.h>
#include <stdlib.h>

void under_tree_add(struct under_tree *tree, const char *path, bool is_file, uint64_t length) {
  if (tree->count == tree->capacity) {
    tree->capacity = tree->capacity ? 2 * tree->capacity : 16;
    tree->nodes = xrealloc(tree->nodes, tree->capacity * sizeof *tree->nodes);
  }
  tree->nodes[tree->count++] =
      (struct under_node){.path = xstrdup(path), .is_file = is_file, .length = length};
}

void under_tree_free(struct under_tree *tree) {
  for (size_t i = 0; i < tree->count; i++)
    free(tree->nodes[i].path);
  free(tree->nodes);
  *tree = (struct under_tree){0};
}

bool under_node_is_in(const struct under_node *node, struct slice directory) {
  return strncmp(node->path, directory.data, directory.size) == 0 && node->path[directory.size] == '/' &&
         !strchr(node->path + directory.size + 1, '/');
}

struct memory_under_store {
  struct under_store store; /* first */
  struct memory_under_store_options options;
  struct random random;
  size_t open; /* listings, those that were closed and have a call to come included */
};

struct under_store_listing {
  struct memory_under_store *store;
  struct bytes directory;
  under_store_piece *piece;
  void *context;
  struct under_store_entry entries[UNDER_STORE_PIECE];
  size_t first, looked_at; /* of the tree's nodes, from a random one on */
  struct timer *timer;
  bool due, closed;
};

static struct memory_under_store *store_of(const struct under_store *store) {
  return (struct memory_under_store *)(uintptr_t)store;
}

static void free_listing(struct under_store_listing *listing) {
  if (listing->timer)
    listing->store->options.world->timer_free(listing->timer);
  listing->store->open--;
  bytes_free(&listing->directory);
  free(listing);
}

static void give_piece(void *owner) {
  struct under_store_listing *listing = owner;
  struct memory_under_store *store = listing->store;
  const struct under_tree *tree = store->options.tree;
  listing->due = false;
  if (listing->closed) {
    free_listing(listing);
    return;
  }
  const double *chance = store->options.fail_chance;
  if (chance && random_chance(&store->random, *chance)) {
    struct error error;
    error_set(&error, ERR_IO, "a seed says so");
    listing->piece(listing->context, ERR_IO, NULL, 0, false, &error);
    return;
  }
  const size_t most = store->options.piece_max ? random_below(&store->random, store->options.piece_max + 1)
                                               : UNDER_STORE_PIECE;
  const struct slice directory = {(const char *)listing->directory.data, listing->directory.size};
  size_t count = 0;
  for (; count < most && listing->looked_at < tree->count; listing->looked_at++) {
    const struct under_node *node = &tree->nodes[(listing->first + listing->looked_at) % tree->count];
    if (!under_node_is_in(node, directory))
      continue;
    const char *name = node->path + directory.size + 1;
    listing->entries[count++] = (struct under_store_entry){
        .name = {name, strlen(name)}, .is_file = node->is_file, .length = node->length, .mtime_ns = 1};
  }
  listing->piece(listing->context, 0, listing->entries, count, listing->looked_at == tree->count, NULL);
}

static bool allows(const struct under_store *store, struct slice directory) {
  (void)store;
  return directory.size > 1;
}

static struct under_store_listing *list(struct under_store *under_store, struct slice directory,
                                        under_store_piece *piece, void *context) {
  struct memory_under_store *store = store_of(under_store);
  struct under_store_listing *listing = xcalloc(1, sizeof *listing);
  listing->store = store;
  if (store->options.tree->count > 0)
    listing->first = random_below(&store->random, store->options.tree->count);
  listing->piece = piece;
  listing->context = context;
  bytes_append(&listing->directory, directory.data, directory.size);
  const struct world *world = store->options.world;
  if (store->options.delay_max_ns > 0)
    listing->timer = world->timer_new(world->context, give_piece, listing);
  store->open++;
  return listing;
}

static void next(struct under_store_listing *listing) {
  const struct memory_under_store_options *options = &listing->store->options;
  const struct world *world = options->world;
  assert(!listing->due);
  if (options->hangs && *options->hangs)
    return;
  if (listing->timer) {
    const uint64_t delay = random_below(&listing->store->random, (uint64_t)options->delay_max_ns + 1);
    world->timer_set(listing->timer, world->now_ns(world->context) + (int64_t)delay);
    return;
  }
  listing->due = true;
  world->defer(world->context, give_piece, listing);
}

static void close_listing(struct under_store_listing *listing) {
  listing->closed = true;
  if (!listing->due)
    free_listing(listing);
}

struct under_store *memory_under_store_new(const struct memory_under_store_options *options) {
  static const struct under_store_functions functions = {
      .allows = allows, .list = list, .next = next, .close = close_listing};
  struct memory_under_store *store = xcalloc(1, sizeof *store);
  store->store.functions = &functions;
  store->options = *options;
  random_seed(&store->random, options->seed);
  return &store->store;
}

void memory_under_store_free(struct under_store *under_store) {
  struct memory_under_store *store = store_of(under_store);
  assert(store->open == 0);
  free(store);
}
