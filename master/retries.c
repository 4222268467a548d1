/* retries.c: at most once. Rows of the operations table, one client's together:
 *
 *   client << 32 | 0        the client: floor, last seen
 *   client << 32 | 17       answer      17 >= floor
 *   client << 32 | 18       answer
 *
 * Below the floor nothing is known any more, and everything is refused. A client number below
 * counters.next_client that has no row was forgotten whole. */
#include <assert.h>

#include "master/namespace_internal.h"

#define SEEN_GRAIN_S 60         /* a client's row is not rewritten for less */
#define FLOOR_STEPS 256         /* sequences that are looked up one by one when the floor rises */
#define EXPIRE_CLIENTS 64       /* looked at in one go, */
#define EXPIRE_SIZE (64u << 10) /* … as long as the batch is smaller than that, */
#define EXPIRE_MISSED 8         /* … and no more than these have to be fetched */

static uint64_t clock_s(const struct namespace *space) {
  return space->counters.clock_ns / (uint64_t)NS_PER_S;
}

static bool load_client(struct namespace *space, uint32_t client, struct client_record *record) {
  const struct row_key key = client_key(client);
  struct slice row;
  if (!namespace_get(space, TABLE_OPERATIONS, &key, &row))
    return false;
  if (!client_decode(row, record))
    namespace_corrupt(space->tables, "a client");
  return true;
}

static void put_client(struct namespace *space, uint32_t client, const struct client_record *record,
                       enum row_change change) {
  bytes_clear(&space->scratch);
  client_encode(&space->scratch, record);
  const struct row_key key = client_key(client);
  namespace_put_scratch(space, TABLE_OPERATIONS, &key, change);
}

uint64_t *outcome_number(enum operation_code code, struct outcome *outcome) {
  if (code == OP_ADD_BLOCK)
    return &outcome->block;
  return code == OP_MKDIR || code == OP_CREATE || code == OP_MOUNT ? &outcome->creator : &outcome->version;
}

/* False: it is another operation than the one that was done under this op id. */
static bool take_answer(const struct request *request, struct slice row,
                        const struct operation_record *record, struct outcome *outcome) {
  if ((record->code == OP_BATCH) != (request->code == OP_BATCH) || record->number_count > request->item_count)
    return false;
  outcome->status = record->status;
  *outcome_number(record->code, outcome) = record->number;
  outcome->at = record->at;
  outcome->number_count = record->number_count;
  operation_decode_numbers(row, record, outcome->numbers);
  return true;
}

enum retry_verdict retry_check(struct namespace *space, const struct request *request, struct retry *retry,
                               struct outcome *outcome) {
  *retry = (struct retry){.client = (uint32_t)(request->op_id >> 32), .sequence = (uint32_t)request->op_id};
  retry->known = load_client(space, retry->client, &retry->record);
  if (retry->known ? retry->sequence < retry->record.floor : retry->client < space->counters.next_client)
    return RETRY_REFUSED;
  const struct row_key key = operation_key(request->op_id);
  struct slice row;
  if (!retry->known || !namespace_get(space, TABLE_OPERATIONS, &key, &row))
    return RETRY_NEW;
  struct operation_record record;
  if (!operation_decode(row, &record))
    namespace_corrupt(space->tables, "an operation");
  return take_answer(request, row, &record, outcome) ? RETRY_REPEATED : RETRY_REFUSED;
}

/* -- the floor rises -- */

struct forget {
  struct namespace *space;
  uint64_t from, below;
};

static void forget_key(struct namespace *space, uint64_t op_id) {
  const struct row_key key = operation_key(op_id);
  namespace_delete(space, TABLE_OPERATIONS, &key);
}

static bool forget_committed(void *context, const unsigned char *key, size_t key_size,
                             const unsigned char *value, size_t value_size) {
  (void)key_size;
  (void)value;
  (void)value_size;
  struct forget *forget = context;
  if (be64_load(key) >= forget->below)
    return false;
  forget_key(forget->space, be64_load(key));
  return true;
}

struct found_ids {
  struct forget range;
  struct bytes ids;
};

static void find_uncommitted(void *context, struct slice key, bool deleted) {
  struct found_ids *found = context;
  const uint64_t op_id = be64_load(key.data);
  if (!deleted && op_id >= found->range.from && op_id < found->range.below)
    bytes_append_le64(&found->ids, op_id);
}

static void forget_range(struct namespace *space, uint32_t client, uint32_t from, uint32_t below) {
  const uint64_t base = (uint64_t)client << 32;
  assert(from >= 1 && from < below); /* sequence 0 is the client itself */
  if (below - from <= FLOOR_STEPS) {
    for (uint32_t sequence = from; sequence < below; sequence++) {
      const struct row_key key = operation_key(base | sequence);
      struct slice row;
      if (namespace_get(space, TABLE_OPERATIONS, &key, &row))
        namespace_delete(space, TABLE_OPERATIONS, &key);
    }
    return;
  }
  struct found_ids found = {.range = {.space = space, .from = base | from, .below = base | below}};
  const struct row_key start = operation_key(found.range.from);
  tables_scan(space->tables, TABLE_OPERATIONS, start.bytes, 4, start.bytes, start.size, forget_committed,
              &found.range);
  overlay_each(space->overlay, TABLE_OPERATIONS, start.bytes, 4, find_uncommitted, &found);
  for (size_t at = 0; at < found.ids.size; at += 8)
    forget_key(space, le64_load(found.ids.data + at));
  bytes_free(&found.ids);
}

/* The lowest sequence of this client that is still to be remembered. */
static uint32_t new_floor(const struct request *request, const struct retry *retry) {
  uint32_t floor = retry->record.floor > 1 ? retry->record.floor : 1;
  if (request->retry_floor >> 32 == retry->client && (uint32_t)request->retry_floor > floor)
    floor = (uint32_t)request->retry_floor;
  if (retry->sequence > RETRY_WINDOW && retry->sequence - RETRY_WINDOW > floor)
    floor = retry->sequence - RETRY_WINDOW;
  return floor < retry->sequence ? floor : retry->sequence;
}

void retry_record(struct namespace *space, const struct request *request, const struct retry *retry,
                  const struct outcome *outcome) {
  const uint32_t floor = new_floor(request, retry);
  assert(floor >= retry->record.floor && floor <= retry->sequence);
  const struct client_record record = {.floor = floor, .seen_s = clock_s(space)};
  if (!retry->known)
    put_client(space, retry->client, &record, ROW_PUT_OPENING);
  else if (floor > retry->record.floor || record.seen_s >= retry->record.seen_s + SEEN_GRAIN_S)
    put_client(space, retry->client, &record, ROW_PUT);
  if (retry->known && floor > retry->record.floor)
    forget_range(space, retry->client, retry->record.floor, floor);

  bytes_clear(&space->scratch);
  struct outcome answer = *outcome;
  operation_encode(&space->scratch,
                   &(struct operation_record){.code = request->code,
                                              .status = outcome->status,
                                              .number = *outcome_number(request->code, &answer),
                                              .at = outcome->at,
                                              .numbers = outcome->numbers,
                                              .number_count = outcome->number_count});
  const struct row_key key = operation_key(request->op_id);
  namespace_put_scratch(space, TABLE_OPERATIONS, &key, ROW_PUT_FRESH);
}

/* -- clients come and go -- */

void clients_reserve(struct namespace *space, uint32_t count, struct outcome *outcome) {
  const uint64_t first_wanted = space->counters.next_client;
  if (count == 0 || count > RESERVE_LIMIT || first_wanted + count > UINT32_MAX) {
    outcome->status = STATUS_INVALID;
    outcome->stateless = true;
    return;
  }
  /* Numbers that nobody had been given may be in use all the same: they are passed over. */
  uint32_t first = (uint32_t)first_wanted, free_numbers = 0;
  struct client_record record;
  while (free_numbers < count) {
    if (load_client(space, first + free_numbers, &record)) {
      first += free_numbers + 1;
      free_numbers = 0;
    } else {
      free_numbers++;
    }
  }
  record = (struct client_record){.floor = 1, .seen_s = clock_s(space)};
  for (uint32_t i = 0; i < count; i++)
    put_client(space, first + i, &record, ROW_PUT_OPENING);
  space->counters.next_client = (uint64_t)first + count;
  outcome->status = STATUS_OK;
  outcome->first_client = first;
}

static void expire_client(struct namespace *space, uint32_t client) {
  const struct row_key key = client_key(client);
  struct slice row;
  struct client_record record;
  if (overlay_get(space->overlay, TABLE_OPERATIONS, &key, &row) != OVERLAY_UNKNOWN ||
      !tables_get(space->tables, TABLE_OPERATIONS, &key, &row))
    return;
  if (!client_decode(row, &record)) {
    namespace_corrupt(space->tables, "a client");
    return;
  }
  if (record.seen_s + CLIENT_IDLE_LIMIT_S >= clock_s(space))
    return;
  struct forget all = {.space = space, .below = ((uint64_t)client + 1) << 32};
  tables_scan(space->tables, TABLE_OPERATIONS, key.bytes, 4, NULL, 0, forget_committed, &all);
}

void namespace_expire(struct namespace *space) {
  const uint64_t clients = space->counters.next_client - 1;
  uint32_t first_missed = 0;
  unsigned missed = 0;
  for (uint64_t i = 0; i < EXPIRE_CLIENTS && i < clients && missed < EXPIRE_MISSED &&
                       overlay_open_size(space->overlay) < EXPIRE_SIZE;
       i++) {
    if (space->expire_next >= space->counters.next_client)
      space->expire_next = 1;
    struct namespace_mark mark;
    namespace_begin(space, &mark);
    expire_client(space, space->expire_next);
    if (!namespace_end(space, &mark) && missed++ == 0)
      first_missed = space->expire_next;
    space->expire_next++;
  }
  if (missed > 0)
    space->expire_next = first_missed;
}
