#include "checker/components.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "checker/intern.h"
#include "checker/step.h"

/* Sets of top-level names; set 0 is of the operations that touch none. */
struct forest {
  uint32_t *parents;
  uint32_t count, capacity;
};

struct finder {
  const struct history *history;
  struct text_table names;
  struct key_table block_names; /* block id to the name its file was made under */
  struct forest forest;
  bool root_observed;
};

static uint32_t find(struct forest *forest, uint32_t at) {
  while (forest->parents[at] != at) {
    forest->parents[at] = forest->parents[forest->parents[at]];
    at = forest->parents[at];
  }
  return at;
}

static void unite(struct forest *forest, uint32_t x, uint32_t y) {
  x = find(forest, x);
  y = find(forest, y);
  forest->parents[x > y ? x : y] = x < y ? x : y;
}

/* The set of a path's top-level name. 0 for the root and for what is no path at all. */
static uint32_t set_of_path(struct finder *finder, struct text path) {
  if (path.data == NULL || path.size < 2 || path.data[0] != '/') {
    return 0;
  }
  const char *start = path.data + 1;
  const char *slash = memchr(start, '/', path.size - 1);
  struct text name = {start, slash == NULL ? path.size - 1 : (size_t)(slash - start)};
  uint32_t set = text_table_add(&finder->names, name);
  struct forest *forest = &finder->forest;
  if (set >= forest->count) {
    if (forest->count == forest->capacity) {
      forest->capacity *= 2;
      forest->parents = xrealloc(forest->parents, forest->capacity * sizeof *forest->parents);
    }
    forest->parents[set] = set;
    forest->count = set + 1;
  }
  return set;
}

static uint32_t set_of_arguments(struct finder *finder, const struct arguments *asked) {
  switch (asked->kind) {
  case OPERATION_COMMIT_BLOCK: {
    uint32_t set = key_table_find(&finder->block_names, asked->block);
    return set == NONE ? 0 : set;
  }
  case OPERATION_RENAME: {
    uint32_t source = set_of_path(finder, asked->path);
    uint32_t destination = set_of_path(finder, asked->destination);
    if (source != 0 && destination != 0) {
      unite(&finder->forest, source, destination);
    }
    return source != 0 ? source : destination;
  }
  case OPERATION_BATCH: {
    uint32_t set = 0;
    for (size_t i = 0; i < asked->item_count; i++) {
      uint32_t item = set_of_arguments(finder, &asked->items[i]);
      if (item != 0 && set != 0) {
        unite(&finder->forest, item, set);
      }
      set = item != 0 ? item : set;
    }
    return set;
  }
  default:
    return set_of_path(finder, asked->path);
  }
}

/* Whether the answer or the effect hangs on the root's own members, version or value. */
static bool looks_at_root(const struct arguments *asked) {
  for (size_t i = 0; i < asked->item_count; i++) {
    if (looks_at_root(&asked->items[i])) {
      return true;
    }
  }
  bool kind = asked->kind == OPERATION_STAT || asked->kind == OPERATION_LIST || asked->kind == OPERATION_SET;
  return kind && asked->path.size == 1 && asked->path.data[0] == '/';
}

static void group(struct finder *finder, uint32_t *sets, struct components *components) {
  size_t count = finder->history->count;
  uint32_t *numbers = xmalloc(finder->forest.count * sizeof *numbers);
  memset(numbers, 0xff, finder->forest.count * sizeof *numbers);
  uint32_t kept = 0;
  for (size_t i = 0; i < count; i++) {
    if (sets[i] == NONE) {
      continue;
    }
    uint32_t root = finder->root_observed ? 0 : find(&finder->forest, sets[i]);
    if (numbers[root] == NONE) {
      numbers[root] = components->count++;
    }
    sets[i] = numbers[root];
    kept++;
  }
  components->first = xcalloc((size_t)components->count + 2, sizeof *components->first);
  components->positions = xmalloc((kept + (size_t)1) * sizeof *components->positions);
  for (size_t i = 0; i < count; i++) {
    if (sets[i] != NONE) {
      components->first[sets[i] + 2]++;
    }
  }
  for (uint32_t i = 2; i < components->count + 2; i++) {
    components->first[i] += components->first[i - 1];
  }
  /* first[i + 1] is where component i goes on; when all are in it is where it ends. */
  for (size_t i = 0; i < count; i++) {
    if (sets[i] != NONE) {
      components->positions[components->first[sets[i] + 1]++] = (uint32_t)i;
    }
  }
  free(numbers);
}

void components_find(const struct history *history, struct components *components) {
  *components = (struct components){0};
  struct finder finder = {.history = history, .forest = {.capacity = 64}};
  finder.forest.parents = xmalloc(finder.forest.capacity * sizeof *finder.forest.parents);
  finder.forest.parents[0] = 0;
  finder.forest.count = 1;
  text_table_add(&finder.names, text_of("")); /* set 0 */
  uint32_t *sets = xmalloc((history->count + 1) * sizeof *sets);
  for (size_t i = 0; i < history->count; i++) {
    const struct operation *operation = &history->operations[i];
    if (operation->arguments.kind == OPERATION_ADD_BLOCK && operation_matters(operation)) {
      *key_table_place(&finder.block_names, operation->op_id) =
          set_of_path(&finder, operation->arguments.path);
    }
  }
  for (size_t i = 0; i < history->count; i++) {
    const struct operation *operation = &history->operations[i];
    sets[i] = NONE;
    if (operation_matters(operation)) {
      sets[i] = set_of_arguments(&finder, &operation->arguments);
      finder.root_observed |= looks_at_root(&operation->arguments);
    }
  }
  group(&finder, sets, components);
  free(sets);
  free(finder.forest.parents);
  text_table_free(&finder.names);
  key_table_free(&finder.block_names);
}

void components_free(struct components *components) {
  free(components->first);
  free(components->positions);
  *components = (struct components){0};
}
