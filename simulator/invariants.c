#include "simulator/invariants.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "master/batch.h"
#include "simulator/operation_map.h"

#define TERMS_LIMIT (1u << 20) /* of which leaders are remembered */

/* What the first replica that had an index committed was given. */
struct slot {
  uint64_t term, hash, state_hash;
  uint64_t known_in; /* the term that replica was in: it was committed in this one or before */
  bool known, state_known;
  uint8_t first, state_first; /* whose it was */
};

struct replica {
  uint64_t applied, durable, term;
};

/* A membership that some node went by. */
struct membership {
  uint64_t index, term, hash;
  size_t node;
};

struct invariants {
  invariant_violated *violated;
  void *context;
  size_t nodes;
  struct replica replicas[SIMULATOR_NODES_MAX];
  struct slot *slots; /* by index */
  size_t slot_capacity;
  uint64_t highest, acknowledged;
  uint8_t *leaders; /* by term: number + 1 of whoever led */
  size_t leader_capacity;
  uint64_t elections;
  uint64_t inodes_given; /* the highest id in a committed entry */
  struct operation_map operations;
  struct membership *memberships;
  size_t membership_count;
};

struct invariants *invariants_new(size_t nodes, invariant_violated *violated, void *context) {
  assert(nodes <= SIMULATOR_NODES_MAX);
  struct invariants *invariants = xcalloc(1, sizeof *invariants);
  invariants->nodes = nodes;
  invariants->violated = violated;
  invariants->context = context;
  return invariants;
}

void invariants_free(struct invariants *invariants) {
  operation_map_free(&invariants->operations);
  free(invariants->memberships);
  free(invariants->slots);
  free(invariants->leaders);
  free(invariants);
}

static void __attribute__((format(printf, 3, 4)))
violate(const struct invariants *invariants, const char *invariant, const char *format, ...) {
  char text[384];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  invariants->violated(invariants->context, invariant, text);
}

static struct slot *slot_at(struct invariants *invariants, uint64_t index) {
  if (index >= invariants->slot_capacity) {
    const size_t capacity = (size_t)index * 2 + 256;
    invariants->slots = xrealloc(invariants->slots, capacity * sizeof *invariants->slots);
    memset(invariants->slots + invariants->slot_capacity, 0,
           (capacity - invariants->slot_capacity) * sizeof *invariants->slots);
    invariants->slot_capacity = capacity;
  }
  return &invariants->slots[index];
}

/* -- lives ---------------------------------------------------------------------------------------------- */

void invariants_born(struct invariants *invariants, size_t node, uint64_t index) {
  struct replica *replica = &invariants->replicas[node];
  if (index < replica->durable)
    violate(invariants, "commit-monotonic",
            "node %zu starts with tables up to index %" PRIu64 ", but they had been durable up to %" PRIu64,
            node + 1, index, replica->durable);
  *replica = (struct replica){.applied = index, .durable = index};
}

void invariants_wiped(struct invariants *invariants, size_t node) {
  invariants->replicas[node] = (struct replica){0};
}

void invariants_durable(struct invariants *invariants, size_t node, uint64_t index) {
  struct replica *replica = &invariants->replicas[node];
  if (index < replica->durable || index > replica->applied)
    violate(invariants, "commit-monotonic",
            "node %zu says that its tables are durable up to index %" PRIu64 ", after %" PRIu64
            ", with %" PRIu64 " applied",
            node + 1, index, replica->durable, replica->applied);
  replica->durable = index;
}

/* -- elections ------------------------------------------------------------------------------------------ */

/* A leader that was elected in a term that is over when its last vote arrives need not hold what later terms
 * committed; what had been committed in terms before its own it must. */
static void check_completeness(struct invariants *invariants, size_t node, uint64_t term,
                               uint64_t last_index) {
  uint64_t index = invariants->highest;
  while (index > 0 && (!invariants->slots[index].known || invariants->slots[index].known_in >= term))
    index--;
  if (last_index < index)
    violate(invariants, "leader-completeness",
            "node %zu leads term %" PRIu64 " with a log up to index %" PRIu64 ", but index %" PRIu64
            " was committed in term %" PRIu64 " or before",
            node + 1, term, last_index, index, invariants->slots[index].known_in);
}

void invariants_role(struct invariants *invariants, size_t node, enum journal_role role, uint64_t term,
                     uint64_t last_index) {
  struct replica *replica = &invariants->replicas[node];
  if (term < replica->term)
    violate(invariants, "election-safety", "node %zu goes back from term %" PRIu64 " to term %" PRIu64,
            node + 1, replica->term, term);
  replica->term = term;
  if (role != JOURNAL_LEADER)
    return;
  invariants->elections++;
  if (term >= invariants->leader_capacity && term < TERMS_LIMIT) {
    const size_t capacity = (size_t)term * 2 + 64;
    invariants->leaders = xrealloc(invariants->leaders, capacity);
    memset(invariants->leaders + invariants->leader_capacity, 0, capacity - invariants->leader_capacity);
    invariants->leader_capacity = capacity;
  }
  if (term < invariants->leader_capacity) {
    uint8_t *leader = &invariants->leaders[term];
    if (*leader != 0 && *leader != node + 1)
      violate(invariants, "election-safety", "term %" PRIu64 " has two leaders: node %u and node %zu", term,
              *leader, node + 1);
    *leader = (uint8_t)(node + 1);
  }
  check_completeness(invariants, node, term, last_index);
}

/* Two leaders may each have made an entry of one index: then it has two terms. */
void invariants_membership(struct invariants *invariants, size_t node, uint64_t index, uint64_t term,
                           uint64_t hash) {
  if (index == 0)
    return;
  for (size_t i = invariants->membership_count; i-- > 0;) {
    const struct membership *known = &invariants->memberships[i];
    if (known->index != index || known->term != term)
      continue;
    if (known->hash != hash)
      violate(invariants, "membership",
              "node %zu goes by other members than node %zu did, of the entry at index %" PRIu64
              " of term %" PRIu64 ", which is the last in its log that changes them",
              node + 1, known->node + 1, index, term);
    return;
  }
  invariants->memberships =
      xrealloc(invariants->memberships, (invariants->membership_count + 1) * sizeof *invariants->memberships);
  invariants->memberships[invariants->membership_count++] = (struct membership){index, term, hash, node};
}

/* -- commits -------------------------------------------------------------------------------------------- */

static void note_operation(struct invariants *invariants, uint64_t op_id, uint64_t index) {
  const uint64_t before = operation_map_put(&invariants->operations, op_id, index);
  if (before != index)
    violate(invariants, "at-most-once",
            "operation %" PRIu64 "-%" PRIu64 " was done at index %" PRIu64 " and again at %" PRIu64,
            op_id >> 32, op_id & UINT32_MAX, before, index);
}

static void note_new_inode(struct invariants *invariants, const struct batch_row *row, uint64_t given_before,
                           uint64_t index) {
  struct inode_record record;
  const uint64_t inode = be64_load(row->key.data);
  if (inode <= given_before)
    violate(invariants, "unique-ids", "inode %" PRIu64 " is given out again at index %" PRIu64, inode, index);
  if (inode > invariants->inodes_given)
    invariants->inodes_given = inode;
  if (inode_decode(row->value, &record) && record.creator != 0)
    note_operation(invariants, record.creator, index);
}

/* The first answer of each operation stands in the entry of its effects, and new inodes name their creator.
 */
static void read_batch(struct invariants *invariants, uint64_t index, uint64_t term, const void *data,
                       size_t size) {
  struct reader reader = reader_make(data, size);
  struct batch_header header;
  struct batch_row row;
  if (!batch_open(&reader, &header))
    return; /* not ours to judge: replicas refuse it */
  if (header.term != term)
    violate(invariants, "log-matching",
            "the entry at index %" PRIu64 " of term %" PRIu64 " was made by a primary of term %" PRIu64,
            index, term, header.term);
  const uint64_t given_before = invariants->inodes_given;
  while (batch_next(&reader, &row)) {
    if (row.change == ROW_DELETE || row.key.size != 8)
      continue;
    if (row.table == TABLE_OPERATIONS && (uint32_t)be64_load(row.key.data) != 0)
      note_operation(invariants, be64_load(row.key.data), index);
    else if (row.table == TABLE_INODES && row.change != ROW_PUT)
      note_new_inode(invariants, &row, given_before, index);
  }
}

static void first_commit(struct invariants *invariants, size_t node, uint64_t index, uint64_t term,
                         const void *data, size_t size) {
  struct slot *slot = &invariants->slots[index];
  const struct slot *before = &invariants->slots[index - 1];
  *slot = (struct slot){.known = true,
                        .first = (uint8_t)(node + 1),
                        .term = term,
                        .hash = checksum(data, size),
                        .known_in = invariants->replicas[node].term};
  if (slot->known_in < term)
    slot->known_in = term;
  if (index > invariants->highest)
    invariants->highest = index;
  if (before->known && before->term > term)
    violate(invariants, "log-matching",
            "node %zu has index %" PRIu64 " of term %" PRIu64 " behind one of term %" PRIu64, node + 1, index,
            term, before->term);
  read_batch(invariants, index, term, data, size);
}

void invariants_committed(struct invariants *invariants, size_t node, uint64_t index, uint64_t term,
                          const void *data, size_t size) {
  struct replica *replica = &invariants->replicas[node];
  if (index != replica->applied + 1) {
    violate(invariants, "commit-monotonic",
            "node %zu is given index %" PRIu64 " when it has applied up to %" PRIu64, node + 1, index,
            replica->applied);
    return;
  }
  replica->applied = index;
  const struct slot *slot = slot_at(invariants, index);
  if (!slot->known) {
    first_commit(invariants, node, index, term, data, size);
    return;
  }
  if (slot->term != term || slot->hash != checksum(data, size))
    violate(invariants, "state-machine-safety",
            "node %zu has other content at index %" PRIu64 " (term %" PRIu64
            ") than node %u had (term %" PRIu64 ")",
            node + 1, index, term, slot->first, slot->term);
}

void invariants_installed(struct invariants *invariants, size_t node, uint64_t index, uint64_t term) {
  struct replica *replica = &invariants->replicas[node];
  if (index <= replica->applied)
    violate(invariants, "commit-monotonic",
            "node %zu installs a snapshot of index %" PRIu64 ", but it has applied up to %" PRIu64, node + 1,
            index, replica->applied);
  const struct slot *slot = slot_at(invariants, index);
  if (slot->known && slot->term != term)
    violate(invariants, "state-machine-safety",
            "node %zu installs a snapshot of index %" PRIu64 " in term %" PRIu64
            ", but node %u had that index in term %" PRIu64,
            node + 1, index, term, slot->first, slot->term);
  replica->applied = index;
  replica->durable = index;
}

void invariants_state(struct invariants *invariants, size_t node, uint64_t hash) {
  const uint64_t index = invariants->replicas[node].applied;
  struct slot *slot = slot_at(invariants, index);
  if (!slot->state_known) {
    slot->state_known = true;
    slot->state_hash = hash;
    slot->state_first = (uint8_t)(node + 1);
    return;
  }
  if (slot->state_hash != hash)
    violate(invariants, "state-hash", "node %zu has other tables at index %" PRIu64 " than node %u had",
            node + 1, index, slot->state_first);
}

/* -- answers -------------------------------------------------------------------------------------------- */

void invariants_answered(struct invariants *invariants, size_t node, uint64_t op_id, uint64_t index) {
  const uint64_t committed = operation_map_get(&invariants->operations, op_id);
  if (committed == 0 || (index != 0 && index != committed)) {
    violate(invariants, "answered-committed",
            "node %zu answers operation %" PRIu64 "-%" PRIu64 " as of index %" PRIu64
            ", but it is committed %s%" PRIu64,
            node + 1, op_id >> 32, op_id & UINT32_MAX, index, committed ? "at " : "nowhere; the highest is ",
            committed ? committed : invariants->highest);
    return;
  }
  if (committed > invariants->acknowledged)
    invariants->acknowledged = committed;
}

void invariants_read(struct invariants *invariants, size_t node, uint64_t index) {
  if (index > invariants->replicas[node].applied)
    violate(invariants, "answered-committed",
            "node %zu answers a read as of index %" PRIu64 ", but it has applied up to %" PRIu64, node + 1,
            index, invariants->replicas[node].applied);
}

void invariants_settled(struct invariants *invariants, uint64_t index) {
  if (index < invariants->acknowledged)
    violate(invariants, "acknowledged-durable",
            "index %" PRIu64 " was acknowledged, but in the end all replicas agree on %" PRIu64 " alone",
            invariants->acknowledged, index);
}

uint64_t invariants_highest(const struct invariants *invariants) {
  return invariants->highest;
}

uint64_t invariants_applied(const struct invariants *invariants, size_t node) {
  return invariants->replicas[node].applied;
}

uint64_t invariants_elections(const struct invariants *invariants) {
  return invariants->elections;
}
