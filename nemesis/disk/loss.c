/* loss.c: what a power loss leaves.
 *
 * All that is un-synced, sectors, cuts and names, is laid out in the order of writing; a draw decides of each
 * whether it survives; then files and names are put right, each by its own rules. */
#include <errno.h>
#include <stdlib.h>

#include "nemesis/disk/volume.h"

/* Sectors that follow each other, or one cut, or one name. */
struct unit {
  uint64_t order, count;
  struct file *file;     /* NULL: a name */
  struct extent *extent; /* NULL: the cut of `file` */
  struct name_change *name;
};

struct units {
  struct unit *items;
  size_t count, capacity;
  uint64_t total;
};

static void add(struct units *units, struct unit unit) {
  if (units->count == units->capacity) {
    units->capacity = units->capacity ? 2 * units->capacity : 64;
    units->items = xrealloc(units->items, units->capacity * sizeof *units->items);
  }
  units->items[units->count++] = unit;
  units->total += unit.count;
}

static void add_file(void *context, struct inode *inode) {
  struct file *file = &inode->file;
  struct stat info;
  if (inode->directory || fstat(inode->fd, &info) != 0 || info.st_nlink == 0)
    return; /* a file that nothing can bring back is no part of a loss */
  if (file->cut)
    add(context, (struct unit){.order = file->cut_order, .count = 1, .file = file});
  for (size_t i = 0; i < file->sectors.count; i++) {
    struct extent *extent = &file->sectors.extents[i];
    if (extent->state == SECTOR_DIRTY)
      add(context,
          (struct unit){.order = extent->order, .count = extent->count, .file = file, .extent = extent});
  }
}

static int by_order(const void *left, const void *right) {
  const struct unit *a = left, *b = right;
  return (a->order > b->order) - (a->order < b->order);
}

/* How the draw falls for one thing after the other. */
struct verdicts {
  enum disk_keeps keeps;
  struct random random;
  uint64_t seen, stay; /* of a prefix */
  double chance;       /* of a subset */
};

static struct verdicts verdicts_make(const struct disk_loss *loss, uint64_t total) {
  struct verdicts verdicts = {.keeps = loss->keeps};
  random_seed(&verdicts.random, loss->draw);
  if (loss->keeps == KEEPS_PREFIX)
    verdicts.stay = random_below(&verdicts.random, total + 1);
  if (loss->keeps == KEEPS_SUBSET)
    verdicts.chance = (const double[]){0.1, 0.5, 0.9}[random_below(&verdicts.random, 3)];
  return verdicts;
}

static bool next_survives(struct verdicts *verdicts) {
  if (verdicts->keeps == KEEPS_SUBSET)
    return random_chance(&verdicts->random, verdicts->chance);
  return verdicts->seen++ < verdicts->stay;
}

static void decide(const struct unit *unit, struct verdicts *verdicts) {
  if (unit->name) {
    unit->name->lost = !next_survives(verdicts);
  } else if (!unit->extent) {
    unit->file->cut_survives = next_survives(verdicts);
  } else {
    unit->extent->survives = xcalloc(unit->count, sizeof(bool));
    for (uint64_t i = 0; i < unit->count; i++)
      unit->extent->survives[i] = next_survives(verdicts);
  }
}

struct losing {
  struct volume *volume;
  int status;
};

static void lose_file(void *context, struct inode *inode) {
  struct losing *losing = context;
  if (inode->directory || file_is_clean(&inode->file))
    return;
  const int status = file_lose(&inode->file, &losing->volume->bytes_lost);
  losing->status = losing->status ? losing->status : status;
}

int volume_lose(struct volume *volume, const struct disk_loss *loss) {
  struct units units = {0};
  inodes_visit(&volume->inodes, add_file, &units);
  for (struct name_change *name = volume->names.oldest; name; name = name->after)
    add(&units, (struct unit){.order = name->order, .count = 1, .name = name});
  if (units.count > 0)
    qsort(units.items, units.count, sizeof *units.items, by_order);
  struct verdicts verdicts = verdicts_make(loss, units.total);
  for (size_t i = 0; i < units.count; i++)
    decide(&units.items[i], &verdicts);
  free(units.items);
  struct losing losing = {.volume = volume};
  inodes_visit(&volume->inodes, lose_file, &losing);
  const int status = names_lose(&volume->names, &volume->names_lost);
  return losing.status ? losing.status : status;
}
