/* tables_load.c: reading without blocking. Work is tried; what it misses in memory is read by a thread of the
 * store; it is tried again.
 *
 *   try ─ misses ─▶ wanted: row, row, group ─▶ a read: gets, scans, the path ahead ─▶ rows into memory ─▶ try
 *                   (shared by all who want it)      (on the store's thread)         (on the loop)
 *
 * A read takes its time, and the store it reads changes meanwhile. Why what comes back can be believed:
 *
 * A row that memory has when the read ends is at least as new as what was read: it stays, and what was read
 * is dropped. A row that memory does not have then has not changed since the read began. For a change goes
 * into memory first; and the pin of those who wait for the read, which began before it and lasts until it
 * ends even if they give up, keeps there what is put there, what is written to the store and what is deleted
 * meanwhile, tombstones too (row_cache.h, write_behind.c). Changes that had been reported as written before
 * the read began, the read sees. The one row that does leave memory meanwhile is one that was never written
 * and is deleted again: the read found none, and there is none. What the store held before a snapshot was
 * installed counts for nothing: `incarnation`.
 *
 * The same goes for rows of a scan, which are not put into memory but kept for whoever tries, as long as
 * that pin.
 *
 * Liveness: that pin lasts until the work is done, so every try finds what the tries before it found or had
 * fetched, however small the cache is. What it misses again is new to it: its path goes on, or others changed
 * the way. */
#include <assert.h>
#include <stdlib.h>

#include "master/path.h"
#include "master/records.h"
#include "master/tables_internal.h"

#define READS_OPEN 4            /* at one time: what is wanted meanwhile gathers for the next */
#define READ_WANTED 32          /* of one read, */
#define READ_BYTES (256u << 10) /* … which ends early beyond this: taking it in must not stall the loop */
#define SCAN_FIRST_ROWS 1024    /* of a scan that is read in pieces, each twice as large as the one before */

enum wanted_kind { WANT_ROW, WANT_GROUP, WANT_SCAN };

struct waiter {
  struct waiter *next;
  struct tables_wait *wait;
};

/* Rows that a large group has in the store. */
struct scan {
  struct scan *next;
  enum table table;
  struct bytes prefix, from;
  struct bytes rows; /* le32 key size, le32 value size, key, value */
  size_t last_at;    /* where the last row is in them */
  size_t next_rows;  /* to be read next */
  bool whole;        /* there are no more */
};

struct wanted {
  struct wanted *next; /* in its bucket */
  struct wanted *next_queued;
  struct waiter *waiters;
  enum wanted_kind kind;
  enum table table;
  struct row_key key; /* of a row; the prefix of a group */
  /* -- of a row that is an edge: where the path goes on -- */
  struct bytes ahead;
  bool ahead_lists;
  /* -- of a scan -- */
  struct bytes from;
  bool behind; /* `from` itself is known */
  size_t most_rows;
  struct bytes rows;
  size_t last_at;
  bool whole;
  struct scan *scan; /* of the only waiter's wait */
};

struct tables_wait {
  struct pin pin;
  void (*ready)(void *context); /* NULL: nobody waits any more */
  void *context;
  size_t left; /* wanted and not here */
  uint64_t incarnation;
  struct scan *scans;
};

struct load {
  struct tables *tables;
  uint64_t incarnation;
  struct wanted *wanted;
  struct wanted *rest; /* of them, not read */
  struct bytes found;  /* see found_row() */
  int status;
  struct error error;
};

/* -- what the try misses -------------------------------------------------------------------------------- */

void loads_init(struct loads *loads) {
  loads->queued_end = &loads->queued;
}

bool tables_trying(const struct tables *tables) {
  return tables->loads.trying;
}

size_t tables_missed(const struct tables *tables) {
  return tables->loads.missed_count;
}

void tables_look_ahead(struct tables *tables, struct slice path, bool lists) {
  tables->loads.ahead = path;
  tables->loads.ahead_lists = lists;
}

static struct wanted **bucket_of(struct tables *tables, enum wanted_kind kind, enum table table,
                                 struct slice key) {
  return &tables->loads.buckets[(row_hash(table, key) + (uint32_t)kind) % WANTED_BUCKETS];
}

static void enqueue(struct loads *loads, struct wanted *wanted) {
  *loads->queued_end = wanted;
  loads->queued_end = &wanted->next_queued;
}

static void miss(struct tables *tables, struct wanted *wanted) {
  struct loads *loads = &tables->loads;
  assert(loads->trying);
  tables->misses++;
  if (loads->missed_count == loads->missed_capacity) {
    loads->missed_capacity = loads->missed_capacity ? 2 * loads->missed_capacity : 16;
    loads->missed = xrealloc(loads->missed, loads->missed_capacity * sizeof(struct wanted *));
  }
  loads->missed[loads->missed_count++] = wanted;
}

static struct row_key copy_key(struct slice key) {
  struct row_key copy = {.size = (uint16_t)key.size};
  assert(key.size <= sizeof copy.bytes);
  memcpy(copy.bytes, key.data, key.size);
  return copy;
}

static void want(struct tables *tables, enum wanted_kind kind, enum table table, struct slice key) {
  struct loads *loads = &tables->loads;
  struct wanted **bucket = bucket_of(tables, kind, table, key);
  struct wanted *wanted = *bucket;
  while (wanted && !(wanted->kind == kind && wanted->table == table && wanted->key.size == key.size &&
                     memcmp(wanted->key.bytes, key.data, key.size) == 0))
    wanted = wanted->next;
  if (!wanted) {
    wanted = xcalloc(1, sizeof *wanted);
    wanted->next = *bucket;
    wanted->kind = kind;
    wanted->table = table;
    wanted->key = copy_key(key);
    *bucket = wanted;
    if (kind == WANT_ROW && table == TABLE_EDGES && loads->ahead.size > 0)
      bytes_append(&wanted->ahead, loads->ahead.data, loads->ahead.size);
    wanted->ahead_lists = loads->ahead_lists;
    enqueue(loads, wanted);
  }
  miss(tables, wanted);
}

void tables_want_row(struct tables *tables, enum table table, struct slice key) {
  want(tables, WANT_ROW, table, key);
}

void tables_want_group(struct tables *tables, enum table table, const void *prefix) {
  want(tables, WANT_GROUP, table, (struct slice){prefix, group_prefix_size(table)});
}

/* -- scans ---------------------------------------------------------------------------------------------- */

#define SCAN_ROW_HEAD 8 /* bytes before the key */

static void append_scan_row(struct bytes *rows, const unsigned char *key, size_t key_size,
                            const unsigned char *value, size_t value_size) {
  bytes_append_le32(rows, (uint32_t)key_size);
  bytes_append_le32(rows, (uint32_t)value_size);
  bytes_append(rows, key, key_size);
  bytes_append(rows, value, value_size);
}

bool scan_each(const struct scan *scan, store_row_found *found, void *context) {
  const unsigned char *at = scan->rows.data, *end = at + scan->rows.size;
  while (at < end) {
    const size_t key_size = le32_load(at), value_size = le32_load(at + 4);
    const unsigned char *key = at + SCAN_ROW_HEAD;
    at = key + key_size + value_size;
    if (!found(context, key, key_size, key + key_size, value_size))
      return false;
  }
  return true;
}

bool scan_is_whole(const struct scan *scan) {
  return scan->whole;
}

static bool slice_is(struct slice slice, const struct bytes *bytes) {
  return slice.size == bytes->size && (slice.size == 0 || memcmp(slice.data, bytes->data, slice.size) == 0);
}

static void free_scans(struct tables_wait *wait) {
  for (struct scan *scan = wait->scans, *next; scan; scan = next) {
    next = scan->next;
    bytes_free(&scan->prefix);
    bytes_free(&scan->from);
    bytes_free(&scan->rows);
    free(scan);
  }
  wait->scans = NULL;
}

/* The wanted piece is nobody else's. Its scan is in the wait that the try will have at its end. */
static void want_piece(struct tables *tables, const struct scan *scan) {
  struct wanted *wanted = xcalloc(1, sizeof *wanted);
  wanted->kind = WANT_SCAN;
  wanted->table = scan->table;
  wanted->key = copy_key((struct slice){(const char *)scan->prefix.data, scan->prefix.size});
  bytes_append(&wanted->from, scan->from.data, scan->from.size);
  if (scan->rows.size > 0) {
    const unsigned char *last = scan->rows.data + scan->last_at;
    bytes_clear(&wanted->from);
    bytes_append(&wanted->from, last + SCAN_ROW_HEAD, le32_load(last));
    wanted->behind = true;
  }
  wanted->most_rows = scan->next_rows;
  enqueue(&tables->loads, wanted);
  miss(tables, wanted);
}

struct scan *tables_scanned(struct tables *tables, enum table table, struct slice prefix, struct slice from) {
  const struct tables_wait *wait = tables->loads.current;
  for (struct scan *scan = wait ? wait->scans : NULL; scan; scan = scan->next)
    if (scan->table == table && slice_is(prefix, &scan->prefix) && slice_is(from, &scan->from))
      return scan;
  struct scan fresh = {.table = table, .next_rows = SCAN_FIRST_ROWS};
  bytes_append(&fresh.prefix, prefix.data, prefix.size);
  if (from.size)
    bytes_append(&fresh.from, from.data, from.size);
  want_piece(tables, &fresh);
  bytes_free(&fresh.prefix);
  bytes_free(&fresh.from);
  return NULL;
}

void tables_want_more(struct tables *tables, struct scan *scan) {
  want_piece(tables, scan);
  tables->loads.missed[tables->loads.missed_count - 1]->scan = scan;
}

/* A piece came: it goes behind what the wait's scan has, or begins one. */
static void attach(struct tables_wait *wait, struct wanted *wanted) {
  struct scan *scan = wanted->scan;
  if (!scan) {
    scan = xcalloc(1, sizeof *scan);
    *scan = (struct scan){.next = wait->scans, .table = wanted->table};
    bytes_append(&scan->prefix, wanted->key.bytes, wanted->key.size);
    bytes_append(&scan->from, wanted->from.data, wanted->from.size);
    wait->scans = scan;
  }
  if (wanted->rows.size > 0) {
    scan->last_at = scan->rows.size + wanted->last_at;
    bytes_append(&scan->rows, wanted->rows.data, wanted->rows.size);
  }
  scan->whole = wanted->whole;
  scan->next_rows = 2 * wanted->most_rows;
}

/* -- reading: on the store's thread, which shares nothing with the loop but the load and what it wants --- */

enum found_kind { FOUND_ROW, FOUND_ABSENT, FOUND_GROUP, FOUND_LARGE };

/* What is found, one behind the other: kind, table, le32 key size, le32 value size, key, value. Of a group
 * the key is the prefix, behind its rows. */
#define FOUND_HEAD 10
static void found_row(struct load *load, enum found_kind kind, enum table table, struct slice key,
                      struct slice value) {
  bytes_append_u8(&load->found, (uint8_t)kind);
  bytes_append_u8(&load->found, (uint8_t)table);
  bytes_append_le32(&load->found, (uint32_t)key.size);
  bytes_append_le32(&load->found, (uint32_t)value.size);
  bytes_append(&load->found, key.data, key.size);
  if (value.size)
    bytes_append(&load->found, value.data, value.size);
}

/* Reads one row into what is found; false when there is none or the store failed. `value` gets a copy. */
static bool read_row(struct load *load, struct row_store *store, enum table table, struct slice key,
                     struct bytes *value) {
  bytes_clear(value);
  const int status = store->functions->get(store, table, key.data, key.size, value, &load->error);
  if (status != 0 && status != ERR_NOT_FOUND) {
    load->status = status;
    return false;
  }
  found_row(load, status == 0 ? FOUND_ROW : FOUND_ABSENT, table, key,
            (struct slice){(const char *)value->data, value->size});
  return status == 0;
}

struct group_read {
  struct load *load;
  enum table table;
  size_t left;
  bool large;
};

static bool read_group_row(void *context, const unsigned char *key, size_t key_size,
                           const unsigned char *value, size_t value_size) {
  struct group_read *read = context;
  read->large = read->left-- == 0;
  if (!read->large)
    found_row(read->load, FOUND_ROW, read->table, (struct slice){(const char *)key, key_size},
              (struct slice){(const char *)value, value_size});
  return !read->large;
}

static void read_group(struct load *load, struct row_store *store, enum table table, struct slice prefix) {
  struct group_read read = {.load = load, .table = table, .left = GROUP_LOAD_LIMIT};
  const size_t before = load->found.size;
  load->status = store->functions->scan(store, table, prefix.data, prefix.size, NULL, 0, read_group_row,
                                        &read, &load->error);
  if (load->status != 0)
    return;
  if (read.large)
    load->found.size = before;
  found_row(load, read.large ? FOUND_LARGE : FOUND_GROUP, table, prefix, (struct slice){0});
}

static struct slice slice_of_key(const struct row_key *key) {
  return (struct slice){(const char *)key->bytes, key->size};
}

static void read_inode(struct load *load, struct row_store *store, uint64_t inode, struct bytes *value) {
  const struct row_key key = inode_key(inode);
  if (load->status == 0)
    read_row(load, store, TABLE_INODES, slice_of_key(&key), value);
}

/* Goes on from an edge, if it was found, as far as the path leads, and reads what whoever came with that path
 * is likely to look at there: the inodes at its end and above it, and the names to be listed. A guess that
 * is wrong (the store may be behind memory) costs a round. */
static void follow(struct load *load, struct row_store *store, const struct wanted *wanted, bool found,
                   struct bytes *value) {
  struct slice ahead = {(const char *)wanted->ahead.data, wanted->ahead.size}, name;
  struct edge_record edge;
  uint64_t above = be64_load(wanted->key.bytes);
  found = found && edge_decode((struct slice){(const char *)value->data, value->size}, &edge);
  while (found && load->status == 0 && !edge.is_file && path_next(&ahead, &name)) {
    above = edge.child;
    const struct row_key key = edge_key(above, name);
    found = read_row(load, store, TABLE_EDGES, slice_of_key(&key), value) &&
            edge_decode((struct slice){(const char *)value->data, value->size}, &edge);
  }
  read_inode(load, store, above, value);
  if (!found)
    return;
  read_inode(load, store, edge.child, value);
  if (wanted->ahead_lists && !edge.is_file && load->status == 0) {
    const struct row_key prefix = inode_key(edge.child);
    read_group(load, store, TABLE_EDGES, slice_of_key(&prefix));
  }
}

static bool read_scan_row(void *context, const unsigned char *key, size_t key_size,
                          const unsigned char *value, size_t value_size) {
  struct wanted *wanted = context;
  if (wanted->behind && wanted->from.size == key_size && memcmp(wanted->from.data, key, key_size) == 0)
    return true;
  if (wanted->most_rows-- == 0) {
    wanted->whole = false;
    return false;
  }
  wanted->last_at = wanted->rows.size;
  append_scan_row(&wanted->rows, key, key_size, value, value_size);
  return true;
}

static void read_scan(struct load *load, struct row_store *store, struct wanted *wanted) {
  const size_t most = wanted->most_rows;
  wanted->whole = true;
  load->status =
      store->functions->scan(store, wanted->table, wanted->key.bytes, wanted->key.size, wanted->from.data,
                             wanted->from.size, read_scan_row, wanted, &load->error);
  wanted->most_rows = most;
}

static void run_load(void *context, struct row_store *store) {
  struct load *load = context;
  struct bytes value = {0};
  for (struct wanted *wanted = load->wanted; wanted && load->status == 0; wanted = wanted->next_queued) {
    const struct slice key = slice_of_key(&wanted->key);
    if (load->found.size > READ_BYTES) {
      load->rest = wanted;
      break;
    }
    if (wanted->kind == WANT_SCAN)
      read_scan(load, store, wanted);
    else if (wanted->kind == WANT_GROUP)
      read_group(load, store, wanted->table, key);
    else if (wanted->table == TABLE_EDGES)
      follow(load, store, wanted, read_row(load, store, wanted->table, key, &value), &value);
    else
      read_row(load, store, wanted->table, key, &value);
  }
  bytes_free(&value);
}

/* -- what was read comes in ----------------------------------------------------------------------------- */

static void put_row(struct tables *tables, enum found_kind kind, enum table table, struct slice key,
                    struct slice value) {
  const uint32_t hash = row_hash(table, key);
  if (!row_cache_find(&tables->cache, table, key, hash))
    row_cache_insert(&tables->cache, table, key, hash, value, kind == FOUND_ABSENT);
}

static void put_group(struct tables *tables, enum found_kind kind, enum table table, struct slice prefix) {
  struct group *group = row_cache_group(&tables->cache, table, group_prefix(table, prefix.data), true);
  group->referenced = true;
  group->stamp = tables->cache.epoch;
  group->misses = 0;
  if (kind == FOUND_GROUP)
    group->complete = true;
  else if (!group->complete)
    group->large = true;
}

static void take_in(struct tables *tables, const struct bytes *found) {
  const unsigned char *at = found->data, *end = at + found->size;
  while (at < end) {
    const enum found_kind kind = (enum found_kind)at[0];
    const enum table table = (enum table)at[1];
    const struct slice key = {(const char *)at + FOUND_HEAD, le32_load(at + 2)};
    const struct slice value = {key.data + key.size, le32_load(at + 6)};
    at += FOUND_HEAD + key.size + value.size;
    if (kind == FOUND_ROW || kind == FOUND_ABSENT)
      put_row(tables, kind, table, key, value);
    else
      put_group(tables, kind, table, key);
  }
}

static void free_wait(struct tables *tables, struct tables_wait *wait) {
  row_cache_unpin(&tables->cache, &wait->pin);
  free_scans(wait);
  free(wait);
}

static void wake_waiters(struct tables *tables, struct wanted *wanted, bool useful) {
  for (struct waiter *waiter = wanted->waiters, *next; waiter; waiter = next) {
    struct tables_wait *wait = waiter->wait;
    next = waiter->next;
    free(waiter);
    wait->left--;
    if (useful && wait->ready && wanted->kind == WANT_SCAN)
      attach(wait, wanted);
    if (wait->left > 0)
      continue;
    if (wait->ready)
      wait->ready(wait->context);
    else
      free_wait(tables, wait);
  }
}

static void end_wanted(struct tables *tables, struct wanted *wanted, bool useful) {
  if (wanted->kind != WANT_SCAN) {
    struct wanted **at = bucket_of(tables, wanted->kind, wanted->table, slice_of_key(&wanted->key));
    while (*at != wanted)
      at = &(*at)->next;
    *at = wanted->next;
  }
  wake_waiters(tables, wanted, useful);
  bytes_free(&wanted->ahead);
  bytes_free(&wanted->from);
  bytes_free(&wanted->rows);
  free(wanted);
}

/* Before all others. */
static void put_back(struct loads *loads, struct wanted *rest) {
  struct wanted *last = rest;
  while (last->next_queued)
    last = last->next_queued;
  last->next_queued = loads->queued;
  if (!loads->queued)
    loads->queued_end = &last->next_queued;
  loads->queued = rest;
}

static void start_loads(struct tables *tables);

static void load_done(void *context) {
  struct load *load = context;
  struct tables *tables = load->tables;
  const bool useful = load->status == 0 && load->incarnation == tables->loads.incarnation;
  tables->loads.reads_open--;
  if (useful)
    take_in(tables, &load->found);
  if (load->status != 0)
    tables_fail(tables, &load->error);
  for (struct wanted *wanted = load->wanted, *next; wanted != load->rest; wanted = next) {
    next = wanted->next_queued;
    end_wanted(tables, wanted, useful);
  }
  if (load->rest)
    put_back(&tables->loads, load->rest);
  bytes_free(&load->found);
  free(load);
  start_loads(tables);
}

static void start_loads(struct tables *tables) {
  struct loads *loads = &tables->loads;
  while (loads->queued && loads->reads_open < READS_OPEN && !loads->closing) {
    struct load *load = xcalloc(1, sizeof *load);
    load->tables = tables;
    load->incarnation = loads->incarnation;
    load->wanted = loads->queued;
    struct wanted *last = loads->queued;
    for (size_t count = 1; count < READ_WANTED && last->next_queued; count++)
      last = last->next_queued;
    loads->queued = last->next_queued;
    last->next_queued = NULL;
    if (!loads->queued)
      loads->queued_end = &loads->queued;
    loads->reads_open++;
    tables->store->functions->read(tables->store, run_load, load_done, load);
  }
}

/* -- tries ---------------------------------------------------------------------------------------------- */

void tables_try(struct tables *tables, struct tables_wait *wait) {
  struct loads *loads = &tables->loads;
  assert(!loads->trying && loads->missed_count == 0 && (!wait || wait->left == 0));
  loads->trying = true;
  loads->current = wait;
  if (wait && wait->incarnation != loads->incarnation)
    free_scans(wait);
  if (wait)
    wait->incarnation = loads->incarnation;
}

struct tables_wait *tables_tried(struct tables *tables, void (*ready)(void *context), void *context) {
  struct loads *loads = &tables->loads;
  struct tables_wait *wait = loads->current;
  assert(loads->trying);
  loads->trying = false;
  loads->current = NULL;
  loads->ahead = (struct slice){0};
  if (loads->missed_count == 0) {
    if (wait)
      free_wait(tables, wait);
    return NULL;
  }
  if (!wait) {
    wait = xcalloc(1, sizeof *wait);
    wait->incarnation = loads->incarnation;
    row_cache_pin(&tables->cache, &wait->pin);
  }
  wait->ready = ready;
  wait->context = context;
  for (size_t i = 0; i < loads->missed_count; i++) {
    struct waiter *waiter = xmalloc(sizeof *waiter);
    *waiter = (struct waiter){.next = loads->missed[i]->waiters, .wait = wait};
    loads->missed[i]->waiters = waiter;
    wait->left++;
  }
  loads->missed_count = 0;
  start_loads(tables);
  return wait;
}

void tables_give_up(struct tables *tables, struct tables_wait *wait) {
  if (!wait)
    return;
  wait->ready = NULL;
  if (wait->left == 0)
    free_wait(tables, wait);
}

/* -- ends ----------------------------------------------------------------------------------------------- */

void loads_forget(struct tables *tables) {
  tables->loads.incarnation++;
}

void loads_free(struct tables *tables) {
  struct loads *loads = &tables->loads;
  assert(loads->reads_open == 0);
  while (loads->queued) {
    struct wanted *wanted = loads->queued;
    loads->queued = wanted->next_queued;
    end_wanted(tables, wanted, false);
  }
  free(loads->missed);
}
