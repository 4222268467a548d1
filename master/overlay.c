#include "master/overlay.h"

#include <assert.h>
#include <stdlib.h>

#include "master/bugs.h"
#include "master/row_cache.h"

#define BUCKETS 8192        /* a power of two; a few batches of some hundred rows each */
#define SEALED_LIMIT 64     /* batches in flight */
#define ROW_ENCODED_EXTRA 6 /* bytes of a row in a batch beyond key and value */

struct overlay_row {
  struct overlay_row *next; /* in its bucket */
  uint64_t batch;           /* that changed it last */
  uint32_t hash;
  uint32_t value_size, capacity; /* of `value` */
  uint16_t key_size;
  uint8_t table, change;
  bool born_here;       /* the key was never in the tables before `batch` */
  bool in_flight;       /* when `batch` changed it, an earlier one that did was not committed */
  unsigned char *value; /* behind the key, or elsewhere once it has outgrown that place */
  unsigned char bytes[];
};

/* What a row was before a change that may be taken back. */
struct former {
  struct overlay_row *row;
  bool added, born_here, in_flight;
  uint8_t change;
  uint32_t value_size;
  size_t value_at; /* in `former_values` */
  uint64_t batch;
};

#define TRIES_LIMIT 4 /* inside each other */

/* How it was when a try began. */
struct try {
  size_t former_count, touched_count, open_size;
};

struct touched {
  struct overlay_row **rows;
  size_t count, capacity;
};

struct overlay {
  struct overlay_row *buckets[BUCKETS];
  size_t count;
  uint64_t open;                        /* number of the open batch */
  uint64_t oldest;                      /* of the oldest sealed one; equal to `open`: none */
  struct touched touched[SEALED_LIMIT]; /* of batch n at n % SEALED_LIMIT */
  size_t open_size;

  struct try tries[TRIES_LIMIT]; /* the innermost last */
  size_t try_count;              /* while there are any, what changes is noted: */
  struct former *former;
  size_t former_count, former_capacity;
  struct bytes former_values;
};

struct overlay *overlay_new(void) {
  struct overlay *overlay = xcalloc(1, sizeof *overlay);
  overlay->open = overlay->oldest = 1; /* 0 is no batch: a row just added was touched by none */
  return overlay;
}

static void free_row(struct overlay_row *row) {
  if (row->value != row->bytes + row->key_size)
    free(row->value);
  free(row);
}

static void drop_rows(struct overlay *overlay) {
  for (size_t i = 0; i < BUCKETS && overlay->count > 0; i++) {
    while (overlay->buckets[i]) {
      struct overlay_row *row = overlay->buckets[i];
      overlay->buckets[i] = row->next;
      free_row(row);
      overlay->count--;
    }
  }
  assert(overlay->count == 0);
}

void overlay_free(struct overlay *overlay) {
  drop_rows(overlay);
  for (size_t i = 0; i < SEALED_LIMIT; i++)
    free(overlay->touched[i].rows);
  free(overlay->former);
  bytes_free(&overlay->former_values);
  free(overlay);
}

bool overlay_is_empty(const struct overlay *overlay) {
  return (overlay->count == 0 || bug_active(BUG_RESET_CACHE)) && overlay->oldest == overlay->open;
}

static struct overlay_row *find(const struct overlay *overlay, enum table table, const struct row_key *key,
                                uint32_t hash) {
  for (struct overlay_row *row = overlay->buckets[hash % BUCKETS]; row; row = row->next)
    if (row->hash == hash && row->table == table && row->key_size == key->size &&
        memcmp(row->bytes, key->bytes, key->size) == 0)
      return row;
  return NULL;
}

static uint32_t hash_of(enum table table, const struct row_key *key) {
  return row_hash(table, (struct slice){(const char *)key->bytes, key->size});
}

enum overlay_found overlay_get(const struct overlay *overlay, enum table table, const struct row_key *key,
                               struct slice *value) {
  if (overlay->count == 0)
    return OVERLAY_UNKNOWN;
  const struct overlay_row *row = find(overlay, table, key, hash_of(table, key));
  if (!row)
    return OVERLAY_UNKNOWN;
  if (row->change == ROW_DELETE)
    return OVERLAY_ABSENT;
  *value = (struct slice){(const char *)row->value, row->value_size};
  return OVERLAY_PRESENT;
}

static void touch(struct overlay *overlay, struct overlay_row *row) {
  struct touched *touched = &overlay->touched[overlay->open % SEALED_LIMIT];
  if (touched->count == touched->capacity) {
    touched->capacity = touched->capacity ? 2 * touched->capacity : 256;
    touched->rows = xrealloc(touched->rows, touched->capacity * sizeof(struct overlay_row *));
  }
  touched->rows[touched->count++] = row;
  row->in_flight = row->batch >= overlay->oldest && row->batch < overlay->open;
  row->batch = overlay->open;
  overlay->open_size += row->key_size + ROW_ENCODED_EXTRA;
}

static struct overlay_row **link_of(struct overlay *overlay, const struct overlay_row *row) {
  struct overlay_row **at = &overlay->buckets[row->hash % BUCKETS];
  while (*at != row)
    at = &(*at)->next;
  return at;
}

static struct overlay_row *add(struct overlay *overlay, enum table table, const struct row_key *key,
                               uint32_t hash, size_t value_size) {
  const size_t room = value_size + 4;
  struct overlay_row *row = xmalloc(sizeof *row + key->size + room);
  struct overlay_row **bucket = &overlay->buckets[hash % BUCKETS];
  *row = (struct overlay_row){.next = *bucket,
                              .hash = hash,
                              .capacity = (uint32_t)room,
                              .key_size = key->size,
                              .table = (uint8_t)table,
                              .change = ROW_PUT};
  memcpy(row->bytes, key->bytes, key->size);
  row->value = row->bytes + key->size;
  *bucket = row;
  overlay->count++;
  return row;
}

static void set_value(struct overlay *overlay, struct overlay_row *row, struct slice value) {
  if (value.size > row->capacity) {
    unsigned char *larger = xmalloc(value.size);
    if (row->value != row->bytes + row->key_size)
      free(row->value);
    row->value = larger;
    row->capacity = (uint32_t)value.size;
  }
  overlay->open_size += value.size;
  row->value_size = (uint32_t)value.size;
  if (value.size)
    memcpy(row->value, value.data, value.size);
}

/* -- changes that may be taken back -- */

static void note_former(struct overlay *overlay, struct overlay_row *row, bool added) {
  if (overlay->former_count == overlay->former_capacity) {
    overlay->former_capacity = overlay->former_capacity ? 2 * overlay->former_capacity : 64;
    overlay->former = xrealloc(overlay->former, overlay->former_capacity * sizeof *overlay->former);
  }
  overlay->former[overlay->former_count++] = (struct former){.row = row,
                                                             .added = added,
                                                             .born_here = row->born_here,
                                                             .in_flight = row->in_flight,
                                                             .change = row->change,
                                                             .value_size = row->value_size,
                                                             .value_at = overlay->former_values.size,
                                                             .batch = row->batch};
  if (row->value_size)
    bytes_append(&overlay->former_values, row->value, row->value_size);
}

void overlay_try(struct overlay *overlay) {
  assert(overlay->try_count < TRIES_LIMIT);
  overlay->tries[overlay->try_count++] =
      (struct try){.former_count = overlay->former_count,
                   .touched_count = overlay->touched[overlay->open % SEALED_LIMIT].count,
                   .open_size = overlay->open_size};
}

void overlay_keep(struct overlay *overlay) {
  assert(overlay->try_count > 0);
  if (--overlay->try_count > 0)
    return;
  overlay->former_count = 0;
  bytes_clear(&overlay->former_values);
}

static void restore(struct overlay *overlay, const struct former *former) {
  struct overlay_row *row = former->row;
  if (former->added) {
    *link_of(overlay, row) = row->next;
    free_row(row);
    overlay->count--;
    return;
  }
  row->born_here = former->born_here;
  row->in_flight = former->in_flight;
  row->change = former->change;
  row->batch = former->batch;
  row->value_size = former->value_size; /* its room never shrinks */
  if (former->value_size)
    memcpy(row->value, overlay->former_values.data + former->value_at, former->value_size);
}

/* The last change first: a row that changed more than once ends as it began. */
void overlay_take_back(struct overlay *overlay) {
  assert(overlay->try_count > 0);
  const struct try *try = &overlay->tries[overlay->try_count - 1];
  while (overlay->former_count > try->former_count)
    restore(overlay, &overlay->former[--overlay->former_count]);
  overlay->touched[overlay->open % SEALED_LIMIT].count = try->touched_count;
  overlay->open_size = try->open_size;
  overlay_keep(overlay);
}

void overlay_put(struct overlay *overlay, enum table table, const struct row_key *key, enum row_change change,
                 struct slice value) {
  assert(change != ROW_DELETE || value.size == 0);
  const uint32_t hash = hash_of(table, key);
  const bool fresh = change == ROW_PUT_FRESH || change == ROW_PUT_OPENING;
  struct overlay_row *row = find(overlay, table, key, hash);
  assert(bug_any_active() || !row || !fresh);
  const bool added = !row;
  if (added)
    row = add(overlay, table, key, hash, value.size);
  if (overlay->try_count > 0)
    note_former(overlay, row, added);
  if (row->batch != overlay->open) {
    touch(overlay, row);
    row->born_here = fresh;
    row->change = (uint8_t)change;
  } else if (change == ROW_DELETE || !row->born_here) {
    row->change = (uint8_t)change;
  }
  set_value(overlay, row, value);
}

void overlay_each(const struct overlay *overlay, enum table table, const void *prefix, size_t prefix_size,
                  void (*found)(void *context, struct slice key, bool deleted), void *context) {
  for (size_t i = 0; i < BUCKETS; i++)
    for (const struct overlay_row *row = overlay->buckets[i]; row; row = row->next)
      if (row->table == table && row->key_size >= prefix_size && memcmp(row->bytes, prefix, prefix_size) == 0)
        found(context, (struct slice){(const char *)row->bytes, row->key_size}, row->change == ROW_DELETE);
}

size_t overlay_open_size(const struct overlay *overlay) {
  return overlay->open_size;
}

/* The defect retry-twice: first answers are known to this primary alone, as long as it is one; see
 * tables_apply. */
static bool stays_with_primary(const struct overlay_row *row) {
  return bug_active(BUG_RETRY_TWICE) && row->table == TABLE_OPERATIONS &&
         (uint32_t)be64_load(row->bytes) != 0;
}

#define MERGE_BEHIND 3 /* entries in flight: the journal is busy */

/* The defect entry-reorder: the journal, when it is busy, merges a change into the entry that holds the one
 * before it of the same row. But that entry is on its way, and the change is in none. */
static bool merged_away(const struct overlay *overlay, const struct overlay_row *row) {
  return bug_active(BUG_ENTRY_REORDER) && row->in_flight && overlay->open - overlay->oldest >= MERGE_BEHIND;
}

void overlay_encode(const struct overlay *overlay, bool merging, struct bytes *batch) {
  const struct touched *touched = &overlay->touched[overlay->open % SEALED_LIMIT];
  for (size_t i = 0; i < touched->count; i++) {
    const struct overlay_row *row = touched->rows[i];
    assert(row->batch == overlay->open);
    if (row->change == ROW_DELETE && row->born_here)
      continue;
    if (merging && merged_away(overlay, row))
      continue;
    batch_append(batch, &(struct batch_row){.change = (enum row_change)row->change,
                                            .table = (enum table)row->table,
                                            .key = {(const char *)row->bytes, row->key_size},
                                            .value = {(const char *)row->value, row->value_size}});
  }
}

void overlay_seal(struct overlay *overlay, struct bytes *batch) {
  assert(overlay->try_count == 0);
  overlay_encode(overlay, true, batch);
  overlay->open++;
  overlay->open_size = 0;
  assert(overlay->open - overlay->oldest < SEALED_LIMIT);
}

void overlay_release(struct overlay *overlay) {
  assert(overlay->oldest < overlay->open);
  struct touched *touched = &overlay->touched[overlay->oldest % SEALED_LIMIT];
  for (size_t i = 0; i < touched->count; i++) {
    struct overlay_row *row = touched->rows[i];
    if (row->batch != overlay->oldest || (stays_with_primary(row) && row->change != ROW_DELETE))
      continue;
    *link_of(overlay, row) = row->next;
    free_row(row);
    overlay->count--;
  }
  touched->count = 0;
  overlay->oldest++;
}

void overlay_clear(struct overlay *overlay) {
  if (!bug_active(BUG_RESET_CACHE))
    drop_rows(overlay);
  for (size_t i = 0; i < SEALED_LIMIT; i++)
    overlay->touched[i].count = 0;
  overlay->open++;
  overlay->oldest = overlay->open;
  overlay->open_size = 0;
}
