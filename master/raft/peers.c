/* peers.c: frames to and from the other members. */
#include <inttypes.h>
#include <stdlib.h>

#include "master/bugs.h"
#include "master/raft/driver.h"
#include "master/raft/wal_format.h"

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

/* Sends entries (next … end) that are in memory, in frames of a bounded size. Returns the first that is not.
 */
static uint64_t send_cached(struct driver *driver, uint64_t peer, uint64_t next, uint64_t end) {
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
    peer->fill_next = send_cached(driver, peer->id, peer->fill_next, peer->fill_end);
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

/* raft names the entries, the log has them. What must be fetched is sent later, as if the network were slow;
 * what comes up for this peer meanwhile is lost, unless it follows. */
static void send_entries(struct driver *driver, struct driver_peer *peer,
                         const struct raft_append_entries *append) {
  const uint64_t next = append->prev_log_index + 1;
  uint64_t end = append->prev_log_index + append->n_entries;
  assert(append->term == raft_current_term(&driver->raft) && end <= wal_last_index(driver->wal));
  if (peer->filling) {
    if (next == peer->fill_end + 1 && peer->fill_term == append->term)
      peer->fill_end = end;
    return;
  }
  /* A base below may be known to raft and not to the log's entries, never the other way round. */
  assert(next > wal_base_index(driver->wal));
  if (bug_active(BUG_COMMIT_OLD_TERM) && sends_old_terms(driver, peer, next, &end))
    return;
  const uint64_t missing = send_cached(driver, peer->id, next, end);
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
  if (!peer)
    return;
  struct wire_message message = {.raft = *raft};
  switch (raft->type) {
  case RAFT_APPEND_ENTRIES:
    if (raft->append_entries.n_entries > 0) {
      send_entries(driver, peer, &raft->append_entries);
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

/* -- in ------------------------------------------------------------------------------------------------- */

/* A follower whose disk is full takes the leader's word (term, heartbeat, commit) but not its entries. */
static void refuse_without_room(struct driver *driver, struct wire_message *message) {
  struct raft_append_entries *append = &message->raft.append_entries;
  uint64_t size = 0;
  for (unsigned i = 0; i < append->n_entries; i++)
    size += wal_record_size(message->entries[i].size);
  if (append->n_entries == 0 || wal_has_room(driver->wal, size))
    return;
  batch_drop(message->entries[0].batch);
  append->n_entries = 0;
  append->entries = NULL;
}

/* The leader may not know how far this node has come, because the answers got lost, and begin before what was
 * cut off here. raft would reject that for ever, as entries it never saw. But everything up to our snapshot
 * is committed, hence in the log of every leader of our term or a later one, with the same terms: the message
 * says the same when it begins there. */
static void skip_cut_off(struct driver *driver, struct wire_message *message) {
  struct raft_append_entries *append = &message->raft.append_entries;
  const uint64_t index = driver->snapshot_index;
  if (append->term < raft_current_term(&driver->raft) || append->prev_log_index >= index ||
      append->prev_log_index > driver->raft.trail.offset)
    return;
  const uint64_t known = index - append->prev_log_index;
  append->prev_log_index = index;
  append->prev_log_term = wal_term_at(driver->wal, index);
  if (append->n_entries > known) {
    append->n_entries -= (unsigned)known;
    append->entries += known;
    message->raft_entries += known;
    message->entries += known;
    return;
  }
  if (append->n_entries > 0)
    batch_drop(message->entries[0].batch);
  append->n_entries = 0;
  append->entries = NULL;
}

/* Sends a peer again what follows its last entry, up to what it acknowledged. */
static void resend(struct driver *driver, struct driver_peer *peer, uint64_t last, uint64_t match) {
  peer->resend_not_before_ns = driver_now_ns(driver) + (int64_t)driver->options.heartbeat_ms * 1000000;
  if (last < wal_base_index(driver->wal)) {
    if (peer->shortfalls >= SHORTFALLS_FOR_SNAPSHOT)
      driver_offer_snapshot(driver, peer->id);
    return;
  }
  const uint64_t count = match - last < WIRE_ENTRIES ? match - last : WIRE_ENTRIES;
  const struct raft_append_entries append = {
      .term = raft_current_term(&driver->raft), .prev_log_index = last, .n_entries = (unsigned)count};
  peer->resent_end = last + count;
  send_entries(driver, peer, &append);
}

/* A peer that rejects what it has acknowledged: the frame is late, or its disk was lost and it came back
 * empty. raft never goes back behind a match index (it would abort), and sends nothing that helps while it
 * leads. So the log's entries, or a snapshot, are sent from here; what raft is told of them changes nothing
 * until the peer is where raft takes it to be. The match index is not lowered meanwhile: losing a disk takes
 * a copy away from entries that were committed with it, and no count in the leader brings that back; a change
 * of the leader would only let the empty node vote on who knows them. True: the result is not for raft. */
static bool resend_lost(struct driver *driver, const struct wire_message *message) {
  const struct raft_append_entries_result *result = &message->raft.append_entries_result;
  struct driver_peer *peer = driver_peer(driver, message->sender);
  raft_index match = 0;
  if (result->term != raft_current_term(&driver->raft) || raft_state(&driver->raft) != RAFT_LEADER ||
      raft_match_index(&driver->raft, peer->id, &match) != 0)
    return false;
  if (result->rejected == 0) {
    if (result->last_log_index >= match)
      peer->shortfalls = 0;
    else if (peer->shortfalls > 0 && result->last_log_index == peer->resent_end)
      resend(driver, peer, result->last_log_index, match);
    return false;
  }
  if (result->rejected > match)
    return false;
  const uint64_t last =
      result->last_log_index < result->rejected ? result->last_log_index : result->rejected - 1;
  if (driver_now_ns(driver) < peer->resend_not_before_ns)
    return true;
  if (++peer->shortfalls == SHORTFALLS_FOR_SNAPSHOT)
    log_warn("node %" PRIu64 " acknowledged entries up to %" PRIu64 " and has %" PRIu64
             ": its disk was lost; it is sent what is missing",
             peer->id, (uint64_t)match, last);
  resend(driver, peer, last, match);
  return true;
}

/* What raft asserts and a network, or a peer that lost its disk, may bring about all the same. */
static bool acceptable(struct driver *driver, const struct wire_message *message) {
  struct raft *raft = &driver->raft;
  const struct raft_message *body = &message->raft;
  if (message->type == WIRE_APPEND) {
    const bool clash =
        raft_state(raft) == RAFT_LEADER && body->append_entries.term == raft_current_term(raft);
    if (clash)
      log_error("node %" PRIu64 " claims to lead in our own term %" PRIu64 ": its frame is dropped",
                message->sender, (uint64_t)body->append_entries.term);
    return !clash;
  }
  if (message->type == WIRE_VOTE_RESULT && body->request_vote_result.pre_vote)
    return raft_state(raft) == RAFT_CANDIDATE && raft->candidate_state.in_pre_vote;
  if (message->type == WIRE_APPEND_RESULT)
    return !resend_lost(driver, message);
  return true;
}

/* Tells the leader of a term that is over about ours. raft 0.22.1 must not answer such a frame itself: it
 * leaves the last_log_index of its answer unset, and answers InstallSnapshot, or an append from the very
 * beginning, with "success". When that leader has been elected again meanwhile, in our term, it would take
 * the answer for an acknowledgement of entries we do not have, and commit them (found by seed 2488 of the
 * random schedules). */
void driver_answer_stale(struct driver *driver, uint64_t peer, uint64_t previous) {
  struct wire_message message = {.type = WIRE_APPEND_RESULT};
  message.raft.append_entries_result = (struct raft_append_entries_result){
      .term = raft_current_term(&driver->raft), .rejected = previous > 0 ? previous : 1, .capacity = 1};
  driver_send(driver, peer, &message);
}

static void receive_raft(struct driver *driver, struct wire_message *message) {
  const struct driver_peer *peer = driver_peer(driver, message->sender);
  struct raft_append_entries *append = &message->raft.append_entries;
  const bool is_append = message->type == WIRE_APPEND;
  const bool stale = is_append && append->term < raft_current_term(&driver->raft);
  if (stale)
    driver_answer_stale(driver, message->sender, append->prev_log_index);
  if (stale || !acceptable(driver, message)) {
    if (is_append && append->n_entries > 0)
      batch_drop(message->entries[0].batch);
    return;
  }
  if (is_append) {
    skip_cut_off(driver, message);
    refuse_without_room(driver, message);
  }
  message->raft.server_id = peer->id;
  message->raft.server_address = peer->address;
  const bool with_entries = is_append && append->n_entries > 0;
  const struct step_entries entries = {
      .raft = message->raft_entries, .log = message->entries, .count = with_entries ? append->n_entries : 0};
  struct raft_event event = {.type = RAFT_RECEIVE, .receive.message = &message->raft};
  driver_step(driver, &event, with_entries ? &entries : NULL);
}

void driver_frame_received(void *owner, uint64_t peer, const void *frame, size_t size) {
  struct driver *driver = owner;
  if (driver->state != DRIVER_RUNNING)
    return;
  struct wire_message message;
  if (wire_decode(frame, size, driver->options.cluster, &driver->scratch, &message) != 0) {
    log_warn("a frame of %zu bytes from node %" PRIu64 " is not understood and dropped", size, peer);
    return;
  }
  if (message.sender != peer || !driver_peer(driver, peer)) {
    log_warn("a frame from node %" PRIu64 " came by way of node %" PRIu64 " and is dropped", message.sender,
             peer);
    if (message.type == WIRE_APPEND && message.raft.append_entries.n_entries > 0)
      batch_drop(message.entries[0].batch);
    wire_release(&message);
    return;
  }
  switch (message.type) {
  case WIRE_APPEND:
  case WIRE_APPEND_RESULT:
  case WIRE_VOTE:
  case WIRE_VOTE_RESULT:
  case WIRE_TIMEOUT_NOW:
    receive_raft(driver, &message);
    break;
  case WIRE_MANIFEST:
    driver_take_manifest(driver, peer, &message.manifest);
    break;
  case WIRE_PIECES:
    driver_send_pieces(driver, peer, &message.pieces);
    break;
  case WIRE_PIECE:
    driver_take_piece(driver, peer, &message.piece);
    break;
  case WIRE_TERM_QUERY:
    driver_answer_query(driver, peer, &message.query);
    break;
  case WIRE_TERM_REPLY:
    driver_take_reply(driver, peer, &message.query);
    break;
  }
  wire_release(&message);
}
