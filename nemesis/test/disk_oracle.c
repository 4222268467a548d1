#include "nemesis/test/disk_oracle.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR 512u

static struct oracle_object *object_of(const struct oracle *oracle, int object) {
  assert(object >= 0 && object < oracle->count);
  return &oracle->objects[object];
}

static int new_object(struct oracle *oracle, bool directory) {
  assert(oracle->count < ORACLE_OBJECTS);
  struct oracle_object *made = &oracle->objects[oracle->count];
  made->directory = directory;
  for (int i = 0; i < ORACLE_NAMES; i++)
    made->names[i] = made->durable_names[i] = -1;
  return oracle->count++;
}

struct oracle *oracle_new(void) {
  struct oracle *oracle = xcalloc(1, sizeof *oracle);
  oracle->objects = xcalloc(ORACLE_OBJECTS, sizeof *oracle->objects);
  new_object(oracle, true);
  return oracle;
}

void oracle_free(struct oracle *oracle) {
  free(oracle->objects);
  free(oracle->changes);
  free(oracle);
}

int oracle_at(const struct oracle *oracle, int directory, int name) {
  return object_of(oracle, directory)->names[name];
}

/* ---- Names ---- */

/* Does the change to the names of now, or to the durable ones. */
static void carry_out(const struct oracle *oracle, const struct oracle_change *change, bool durable) {
  struct oracle_object *directory = object_of(oracle, change->directory);
  (durable ? directory->durable_names : directory->names)[change->name] = change->object;
  if (change->to_directory < 0)
    return;
  struct oracle_object *other = object_of(oracle, change->to_directory);
  (durable ? other->durable_names : other->names)[change->to_name] = change->to_object;
}

static void note(struct oracle *oracle, struct oracle_change change) {
  change.order = oracle->next_order++;
  if (oracle->change_count == oracle->change_capacity) {
    oracle->change_capacity = 2 * oracle->change_capacity + 16;
    oracle->changes = xrealloc(oracle->changes, oracle->change_capacity * sizeof change);
  }
  oracle->changes[oracle->change_count++] = change;
  carry_out(oracle, &change, false);
}

static struct oracle_change set_name(int directory, int name, int object) {
  return (struct oracle_change){.directory = directory,
                                .name = name,
                                .object = object,
                                .to_directory = -1,
                                .taken = -1,
                                .made = -1,
                                .removed = -1};
}

static int directory_or_none(const struct oracle *oracle, int object) {
  return object >= 0 && object_of(oracle, object)->directory ? object : -1;
}

int oracle_make(struct oracle *oracle, int directory, int name, bool is_directory) {
  const int made = new_object(oracle, is_directory);
  struct oracle_change change = set_name(directory, name, made);
  change.made = directory_or_none(oracle, made);
  note(oracle, change);
  return made;
}

void oracle_link(struct oracle *oracle, int object, int directory, int name) {
  note(oracle, set_name(directory, name, object));
}

void oracle_remove(struct oracle *oracle, int directory, int name) {
  struct oracle_change change = set_name(directory, name, -1);
  change.taken = oracle_at(oracle, directory, name);
  change.removed = directory_or_none(oracle, change.taken);
  note(oracle, change);
}

void oracle_move(struct oracle *oracle, int directory, int name, int to_directory, int to_name) {
  struct oracle_change change = set_name(directory, name, -1);
  change.to_directory = to_directory;
  change.to_name = to_name;
  change.to_object = oracle_at(oracle, directory, name);
  change.taken = oracle_at(oracle, to_directory, to_name);
  change.removed = directory_or_none(oracle, change.taken);
  note(oracle, change);
}

static bool touches(const struct oracle_change *change, const bool *directories) {
  return directories[change->directory] || (change->to_directory >= 0 && directories[change->to_directory]) ||
         (change->removed >= 0 && directories[change->removed]);
}

static void spread(const struct oracle_change *change, bool *directories) {
  directories[change->directory] = true;
  if (change->to_directory >= 0)
    directories[change->to_directory] = true;
  if (change->removed >= 0)
    directories[change->removed] = true;
}

static void sync_names(struct oracle *oracle, int directory) {
  bool needed[ORACLE_OBJECTS] = {false};
  bool *stays = xcalloc(oracle->change_count + 1, sizeof *stays);
  size_t left = 0;
  needed[directory] = true;
  for (size_t i = oracle->change_count; i-- > 0;) {
    stays[i] = !touches(&oracle->changes[i], needed);
    if (!stays[i])
      spread(&oracle->changes[i], needed);
  }
  for (size_t i = 0; i < oracle->change_count; i++)
    if (stays[i])
      oracle->changes[left++] = oracle->changes[i];
    else
      carry_out(oracle, &oracle->changes[i], true);
  oracle->change_count = left;
  free(stays);
}

/* ---- Bytes ---- */

void oracle_write(struct oracle *oracle, int object, const void *data, size_t size, size_t offset) {
  struct oracle_object *file = object_of(oracle, object);
  assert(offset + size <= ORACLE_FILE_SIZE);
  memcpy(file->bytes + offset, data, size);
  if (offset + size > file->size)
    file->size = offset + size;
  for (size_t i = offset / SECTOR; i * SECTOR < offset + size; i++) {
    if (file->states[i] == STATE_DIRTY)
      continue;
    file->states[i] = STATE_DIRTY;
    file->orders[i] = oracle->next_order++;
  }
}

void oracle_resize(struct oracle *oracle, int object, size_t size) {
  struct oracle_object *file = object_of(oracle, object);
  const size_t disk_has = file->cut ? file->cut_to : file->durable_size;
  if (size < file->size) {
    memset(file->bytes + size, 0, ORACLE_FILE_SIZE - size);
    for (size_t i = (size + SECTOR - 1) / SECTOR; i < ORACLE_SECTORS; i++)
      if (file->states[i] != STATE_CLEAN)
        file->states[i] = size >= disk_has && !file->cut ? STATE_CLEAN : STATE_CUT;
    for (size_t i = size / SECTOR; size < disk_has && i * SECTOR < disk_has; i++)
      if (file->states[i] == STATE_CLEAN)
        file->states[i] = STATE_CUT;
    if (size < disk_has) {
      file->cut_order = file->cut ? file->cut_order : oracle->next_order++;
      file->cut = true;
      file->cut_to = size;
    }
  }
  file->size = size;
}

static void sync_bytes(struct oracle_object *file, bool fails) {
  if (!fails && file->cut)
    memset(file->durable + file->cut_to, 0, ORACLE_FILE_SIZE - file->cut_to);
  for (size_t i = 0; i < ORACLE_SECTORS; i++) {
    if (fails) {
      file->states[i] = file->states[i] == STATE_DIRTY ? STATE_DOOMED : file->states[i];
    } else if (file->states[i] != STATE_DOOMED) {
      file->states[i] = STATE_CLEAN;
      memcpy(file->durable + i * SECTOR, file->bytes + i * SECTOR, SECTOR);
    }
  }
  if (fails)
    return;
  file->durable_size = file->size;
  file->cut = false;
}

void oracle_sync(struct oracle *oracle, int object, bool fails) {
  struct oracle_object *synced = object_of(oracle, object);
  if (!synced->directory)
    sync_bytes(synced, fails);
  else if (!fails)
    sync_names(oracle, object);
}

/* ---- The loss ---- */

/* One thing that can survive or not: where its verdict goes. */
struct unit {
  uint64_t order;
  int object; /* -1: a name */
  int sector; /* -1: the cut of the file */
  size_t change;
  bool survives;
};

static int by_order(const void *left, const void *right) {
  const struct unit *a = left, *b = right;
  return (a->order > b->order) - (a->order < b->order);
}

/* A file that nothing can bring back is no part of a loss. */
static bool can_be_seen(const struct oracle *oracle, int object) {
  for (int i = 0; i < oracle->count; i++)
    for (int name = 0; name < ORACLE_NAMES; name++)
      if (oracle->objects[i].directory && oracle->objects[i].names[name] == object)
        return true;
  for (size_t i = 0; i < oracle->change_count; i++)
    if (oracle->changes[i].taken == object)
      return true;
  return false;
}

static struct unit *list_units(const struct oracle *oracle, size_t *count) {
  struct unit *units =
      xcalloc((size_t)oracle->count * (ORACLE_SECTORS + 1) + oracle->change_count + 1, sizeof *units);
  *count = 0;
  for (int object = 0; object < oracle->count; object++) {
    const struct oracle_object *file = &oracle->objects[object];
    if (file->directory || !can_be_seen(oracle, object))
      continue;
    if (file->cut)
      units[(*count)++] = (struct unit){.order = file->cut_order, .object = object, .sector = -1};
    for (int sector = 0; sector < (int)ORACLE_SECTORS; sector++)
      if (file->states[sector] == STATE_DIRTY)
        units[(*count)++] = (struct unit){.order = file->orders[sector], .object = object, .sector = sector};
  }
  for (size_t i = 0; i < oracle->change_count; i++)
    units[(*count)++] = (struct unit){.order = oracle->changes[i].order, .object = -1, .change = i};
  qsort(units, *count, sizeof *units, by_order);
  return units;
}

static void decide(struct unit *units, size_t count, const struct disk_loss *loss) {
  struct random random;
  random_seed(&random, loss->draw);
  if (loss->keeps == KEEPS_PREFIX) {
    const size_t stay = (size_t)random_below(&random, count + 1);
    for (size_t i = 0; i < stay; i++)
      units[i].survives = true;
  } else if (loss->keeps == KEEPS_SUBSET) {
    const double chances[] = {0.1, 0.5, 0.9}, chance = chances[random_below(&random, 3)];
    for (size_t i = 0; i < count; i++)
      units[i].survives = random_chance(&random, chance);
  }
}

static void lose_bytes(struct oracle_object *file, const bool *survives, bool cut_survives) {
  const size_t end = file->cut && cut_survives ? file->cut_to : file->durable_size;
  unsigned char left[ORACLE_FILE_SIZE] = {0};
  size_t size = end;
  memcpy(left, file->durable, end);
  for (size_t i = 0; i < ORACLE_SECTORS && (!file->cut || cut_survives); i++) {
    if (!survives[i])
      continue;
    const size_t sector_end = (i + 1) * SECTOR < file->size ? (i + 1) * SECTOR : file->size;
    memcpy(left + i * SECTOR, file->bytes + i * SECTOR, SECTOR);
    size = sector_end > size ? sector_end : size;
  }
  memset(left + size, 0, ORACLE_FILE_SIZE - size);
  memcpy(file->bytes, left, sizeof left);
  memcpy(file->durable, left, sizeof left);
  file->size = file->durable_size = size;
  file->cut = false;
  memset(file->states, 0, sizeof file->states);
}

static void reach(const struct oracle *oracle, int object, bool *reached) {
  reached[object] = true;
  for (int name = 0; name < ORACLE_NAMES && oracle->objects[object].directory; name++)
    if (oracle->objects[object].durable_names[name] >= 0)
      reach(oracle, oracle->objects[object].durable_names[name], reached);
}

static void lose_names(struct oracle *oracle) {
  bool broken[ORACLE_OBJECTS] = {false};
  for (size_t i = 0; i < oracle->change_count; i++) {
    struct oracle_change *change = &oracle->changes[i];
    if (!change->lost && !touches(change, broken)) {
      carry_out(oracle, change, true);
      continue;
    }
    spread(change, broken);
    if (change->made >= 0)
      broken[change->made] = true;
  }
  oracle->change_count = 0;
  bool reached[ORACLE_OBJECTS] = {false};
  reach(oracle, 0, reached);
  for (int i = 0; i < oracle->count; i++) {
    struct oracle_object *directory = &oracle->objects[i];
    if (!reached[i])
      memset(directory->durable_names, -1, sizeof directory->durable_names);
    memcpy(directory->names, directory->durable_names, sizeof directory->names);
  }
}

void oracle_lose_power(struct oracle *oracle, const struct disk_loss *loss) {
  size_t count;
  struct unit *units = list_units(oracle, &count);
  decide(units, count, loss);
  for (int object = 0; object < oracle->count; object++) {
    bool survives[ORACLE_SECTORS] = {false}, cut_survives = false;
    for (size_t i = 0; i < count; i++) {
      if (units[i].object != object || !units[i].survives)
        continue;
      if (units[i].sector < 0)
        cut_survives = true;
      else
        survives[units[i].sector] = true;
    }
    lose_bytes(&oracle->objects[object], survives, cut_survives);
  }
  for (size_t i = 0; i < count; i++)
    if (units[i].object < 0)
      oracle->changes[units[i].change].lost = !units[i].survives;
  lose_names(oracle);
  free(units);
}
