/* peers.c: frames to other nodes. */
#include <inttypes.h>
#include <stdlib.h>

#include "master/bugs.h"
#include "master/raft/driver.h"

/* -- out ------------------------------------------------------------------------------------------------ */

static void hold(struct driver *driver, uint64_t peer, const struct iovec *vectors, size_t vector_count) {
  size_t size = 0;
  for (size_t i = 0; i < vector_count; i++)
    size += vectors[i].iov_len;
  if (driver->held.size + size > HELD_LIMIT)
    return; /* as if the network had lost it */
  bytes_append_le64(&driver->held, peer);
  bytes_append_le64(&driver->held, size);
  for (size_t i = 0; i < vector_count; i++)
    bytes_append(&driver->held, vectors[i].iov_base, vectors[i].iov_len);
}

void driver_release_held(struct driver *driver) {
  struct reader reader = reader_make(driver->held.data, driver->held.size);
  while (reader_left(&reader) > 0) {
    const uint64_t peer = reader_le64(&reader);
    const size_t size = (size_t)reader_le64(&reader);
    const struct iovec vector = {.iov_base = (void *)(uintptr_t)reader_bytes(&reader, size), .iov_len = size};
    assert(!reader.failed);
    driver->world->send(driver->world->context, peer, &vector, 1);
  }
  bytes_clear(&driver->held);
}

void driver_send_payload(struct driver *driver, uint64_t peer, const struct wire_message *message,
                         struct iovec *vectors, size_t vector_count) {
  struct wire_message own = *message;
  own.sender = driver->options.id;
  wire_encode(&driver->head, driver->options.cluster, &own, driver->append_entries);
  vectors[0] = (struct iovec){.iov_base = driver->head.data, .iov_len = driver->head.size};
  if (wal_term_is_durable(driver->wal))
    driver->world->send(driver->world->context, peer, vectors, vector_count);
  else
    hold(driver, peer, vectors, vector_count);
}

void driver_send(struct driver *driver, uint64_t peer, const struct wire_message *message) {
  struct iovec vector;
  driver_send_payload(driver, peer, message, &vector, 1);
}

/* -- AppendEntries --------------------------------------------------------------------------------------- */

static void send_append(struct driver *driver, uint64_t peer, uint64_t previous, unsigned count) {
  struct wire_message message = {.type = WIRE_APPEND};
  struct raft_append_entries *append = &message.raft.append_entries;
  append->term = raft_current_term(&driver->raft);
  append->prev_log_index = previous;
  append->prev_log_term = previous == 0 ? 0 : wal_term_at(driver->wal, previous);
  append->leader_commit = driver_commit_index(driver);
  append->n_entries = count;
  driver_send_payload(driver, peer, &message, driver->append_vectors, 1 + count);
}

uint64_t driver_send_cached(struct driver *driver, uint64_t peer, uint64_t next, uint64_t end) {
  while (next <= end) {
    size_t size = 0;
    unsigned count = 0;
    while (next + count <= end && count < WIRE_ENTRIES) {
      struct wal_entry *entry = wal_entry(driver->wal, next + count);
      assert(entry);
      if (entry->size > 0 && !entry->batch)
        break;
      if (count > 0 && size + entry->size > APPEND_FRAME_SIZE)
        break;
      size += entry->size;
      driver->append_entries[count] = entry;
      driver->append_vectors[1 + count++] =
          (struct iovec){.iov_base = (void *)(uintptr_t)entry->data, .iov_len = entry->size};
    }
    if (count == 0)
      return next;
    send_append(driver, peer, next - 1, count);
    next += count;
  }
  return next;
}

static void fill(struct driver_peer *peer);

static void filled(void *owner) {
  struct driver_peer *peer = owner;
  struct driver *driver = peer->driver;
  peer->filling = false;
  const bool valid = driver_leads(driver) && raft_current_term(&driver->raft) == peer->fill_term &&
                     peer->fill_next > wal_base_index(driver->wal) &&
                     peer->fill_end <= wal_last_index(driver->wal);
  if (valid)
    peer->fill_next = driver_send_cached(driver, peer->id, peer->fill_next, peer->fill_end);
  if (valid && peer->fill_next <= peer->fill_end)
    fill(peer);
  else
    peer->fill_end = 0;
}

static void fill(struct driver_peer *peer) {
  peer->filling = true;
  wal_fetch(peer->driver->wal, peer->fill_next, APPEND_FRAME_SIZE, filled, peer);
}

/* The defect commit-old-term, its other half: a leader whose term begins without an entry of its own. For one
 * election time-out, and until the entries it found have been counted, it sends nothing else. True while it
 * does; what is asked for is cut down to what it found, or to a frame that asks whether that is there. */
static bool sends_old_terms(struct driver *driver, const struct driver_peer *peer, uint64_t next,
                            uint64_t *end) {
  uint64_t old_end = wal_last_index(driver->wal);
  while (old_end > wal_base_index(driver->wal) &&
         wal_term_at(driver->wal, old_end) == raft_current_term(&driver->raft))
    old_end--;
  const bool begins = driver_commit_index(driver) < old_end || driver_now_ns(driver) < driver->own_entries_ns;
  if (!begins || *end <= old_end)
    return false;
  *end = old_end;
  if (next > old_end)
    send_append(driver, peer->id, old_end, 0);
  return next > old_end;
}

static bool votes_in(const struct raft_configuration *configuration, uint64_t id) {
  for (unsigned i = 0; i < configuration->n; i++)
    if (configuration->servers[i].id == id)
      return driver_is_voter(&configuration->servers[i]);
  return false;
}

/* A voter that ceases to be one hears of it when it is settled. Were it to have that entry when its leader is
 * gone, and has lost it, nobody could be elected: it would have the longest log, and not stand. */
static uint64_t end_for(const struct driver *driver, const struct driver_peer *peer, uint64_t end) {
  const struct raft *raft = &driver->raft;
  const uint64_t change = raft->configuration_uncommitted_index;
  const bool ceases = change > 0 && votes_in(&raft->configuration_committed, peer->id) &&
                      !votes_in(&raft->configuration, peer->id);
  return ceases && end >= change ? change - 1 : end;
}

void driver_send_entries(struct driver *driver, struct driver_peer *peer,
                         const struct raft_append_entries *append) {
  const uint64_t next = append->prev_log_index + 1;
  uint64_t end = append->prev_log_index + append->n_entries;
  assert(append->term == raft_current_term(&driver->raft) && end <= wal_last_index(driver->wal));
  end = end_for(driver, peer, end);
  if (end < next)
    return;
  if (peer->filling) {
    if (next == peer->fill_end + 1 && peer->fill_term == append->term) {
      peer->fill_end = end;
    } else if (next < peer->fill_next && next > wal_base_index(driver->wal)) {
      /* What is being fetched is of no use to a peer that lacks what is before it. */
      peer->fill_term = append->term;
      peer->fill_next = next;
      peer->fill_end = end;
    }
    return;
  }
  /* A base below may be known to raft and not to the log's entries, never the other way round. */
  assert(next > wal_base_index(driver->wal));
  if (bug_active(BUG_COMMIT_OLD_TERM) && sends_old_terms(driver, peer, next, &end))
    return;
  const uint64_t missing = driver_send_cached(driver, peer->id, next, end);
  if (missing > end || missing > wal_persisted_index(driver->wal))
    return;
  peer->fill_term = append->term;
  peer->fill_next = missing;
  peer->fill_end = end;
  fill(peer);
}

/* raft answers a pre-vote with the term of the request, also when it refuses because that term is behind. A
 * candidate whose log is the best, but whose term is not the latest, would then ask with the old term for
 * ever, and nobody else would be elected. A refusal with the true term lets it catch up. */
static void tell_term(const struct driver *driver, struct raft_request_vote_result *result) {
  const raft_term term = raft_current_term(&driver->raft);
  if (result->pre_vote && !result->vote_granted && result->term < term)
    result->term = term;
}

static void send_message(struct driver *driver, const struct raft_message *raft) {
  struct driver_peer *peer = driver_peer(driver, raft->server_id);
  if (!peer || (driver->answers_withheld &&
                (raft->type == RAFT_REQUEST_VOTE_RESULT || raft->type == RAFT_APPEND_ENTRIES_RESULT)))
    return;
  struct wire_message message = {.raft = *raft};
  switch (raft->type) {
  case RAFT_APPEND_ENTRIES:
    if (raft->append_entries.n_entries > 0) {
      driver_send_entries(driver, peer, &raft->append_entries);
      return;
    }
    message.type = WIRE_APPEND;
    break;
  case RAFT_APPEND_ENTRIES_RESULT:
    message.type = WIRE_APPEND_RESULT;
    break;
  case RAFT_REQUEST_VOTE:
    message.type = WIRE_VOTE;
    break;
  case RAFT_REQUEST_VOTE_RESULT:
    message.type = WIRE_VOTE_RESULT;
    tell_term(driver, &message.raft.request_vote_result);
    break;
  case RAFT_TIMEOUT_NOW:
    message.type = WIRE_TIMEOUT_NOW;
    break;
  case RAFT_INSTALL_SNAPSHOT:
    driver_offer_snapshot(driver, peer->id);
    return;
  }
  driver_send(driver, peer->id, &message);
}

void driver_send_messages(struct driver *driver, const struct raft_message *messages, unsigned count) {
  for (unsigned i = 0; i < count; i++)
    send_message(driver, &messages[i]);
}
