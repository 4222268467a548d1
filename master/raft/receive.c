/* receive.c: frames from other nodes.
 *
 * A server processes requests of servers that are no members of its latest configuration, and grants them
 * votes (dissertation, §4.1): a new server would never be told of a configuration otherwise, and a leader
 * that has not heard of its own removal would never be replaced. */
#include <inttypes.h>
#include <stdlib.h>

#include "master/raft/driver.h"
#include "master/raft/wal_format.h"

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
  driver_send_entries(driver, peer, &append);
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
    if (result->last_log_index >= match) {
      peer->shortfalls = 0;
      peer->acknowledged_ns = driver_now_ns(driver);
    } else if (peer->shortfalls > 0 && result->last_log_index == peer->resent_end) {
      resend(driver, peer, result->last_log_index, match);
    }
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
static bool acceptable(struct driver *driver, struct wire_message *message) {
  struct raft *raft = &driver->raft;
  struct raft_message *body = &message->raft;
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
  if (message->type == WIRE_APPEND_RESULT && resend_lost(driver, message)) {
    /* raft learns that the peer is there, and nothing else. */
    body->append_entries_result.rejected = 0;
    body->append_entries_result.last_log_index = 0;
  }
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

/* -- AppendEntries ----------------------------------------------------------------------------------------
 */

/* Steps a message whose entries, if any, are one batch. */
static void step_append(struct driver *driver, struct wire_message *message) {
  const unsigned count = message->raft.append_entries.n_entries;
  const struct step_entries entries = {
      .raft = message->raft_entries, .log = message->entries, .count = count};
  struct raft_event event = {.type = RAFT_RECEIVE, .receive.message = &message->raft};
  driver_step(driver, &event, count > 0 ? &entries : NULL);
}

/* A leader appends a change only when it knows the one before to be committed. raft keeps one uncommitted
 * change alone, and would go back behind both if the second were cut off: so it is told of the first one
 * before the message brings the second. */
static void settle_earlier_change(struct driver *driver, const struct wire_message *message) {
  const struct raft_append_entries *append = &message->raft.append_entries;
  const uint64_t earlier = driver->raft.configuration_uncommitted_index, previous = append->prev_log_index;
  if (append->n_entries == 0 || message->entries[0].type != RAFT_CHANGE || earlier == 0 ||
      earlier > previous || wal_term_at(driver->wal, previous) != append->prev_log_term ||
      wal_term_at(driver->wal, previous + 1) == message->entries[0].term)
    return;
  struct raft_event event = {.type = RAFT_CONFIGURATION, .configuration.index = earlier};
  uint64_t index;
  const struct bytes *encoded = wal_configuration_at(driver->wal, earlier, &index);
  if (!encoded || index != earlier)
    return;
  driver_decode_configuration(encoded->data, encoded->size, &event.configuration.conf);
  driver_step(driver, &event, NULL);
}

/* Entries up to the next change that does not come first. */
static unsigned piece_of(const struct wire_message *message) {
  const unsigned count = message->raft.append_entries.n_entries;
  unsigned piece = 1;
  while (piece < count && message->entries[piece].type != RAFT_CHANGE)
    piece++;
  return piece < count ? piece : count;
}

/* Gives entries a batch of their own. */
static void copy_batch(struct wire_message *message, unsigned count) {
  size_t size = 0;
  for (unsigned i = 0; i < count; i++)
    size += message->entries[i].size;
  struct batch *batch = batch_new(size);
  unsigned char *at = batch->data;
  for (unsigned i = 0; i < count; i++) {
    struct wal_entry *entry = &message->entries[i];
    if (entry->size > 0)
      memcpy(at, entry->data, entry->size);
    entry->data = at;
    entry->batch = batch;
    message->raft_entries[i].buf.base = at;
    message->raft_entries[i].batch = batch;
    at += entry->size;
  }
}

/* raft 0.22.1 takes a change for the first new entry of its message, wherever it stands: it would never hear
 * of its commit, and would not go back when it is cut off. So a message is cut before each change in it. */
static void step_in_pieces(struct driver *driver, const struct wire_message *whole) {
  struct batch *batch = whole->entries[0].batch;
  struct wire_message rest = *whole;
  struct raft_append_entries *left = &rest.raft.append_entries;
  while (left->n_entries > 0 && driver->state == DRIVER_RUNNING) {
    const unsigned count = piece_of(&rest);
    struct wire_message piece = rest;
    piece.raft.append_entries.n_entries = count;
    copy_batch(&piece, count);
    left->prev_log_index += count;
    left->prev_log_term = rest.entries[count - 1].term;
    left->n_entries -= count;
    left->entries += count;
    rest.raft_entries += count;
    rest.entries += count;
    settle_earlier_change(driver, &piece);
    if (driver->state != DRIVER_RUNNING) {
      batch_drop(piece.entries[0].batch);
      break;
    }
    step_append(driver, &piece);
    if (wal_term_at(driver->wal, left->prev_log_index) != left->prev_log_term)
      break; /* it was refused, and so would be what follows */
  }
  batch_drop(batch);
}

static void receive_append(struct driver *driver, struct wire_message *message) {
  struct raft_append_entries *append = &message->raft.append_entries;
  const bool stale = append->term < raft_current_term(&driver->raft);
  if (stale)
    driver_answer_stale(driver, message->sender, append->prev_log_index);
  if (stale || !acceptable(driver, message)) {
    if (append->n_entries > 0)
      batch_drop(message->entries[0].batch);
    return;
  }
  driver->leader_heard_ns = driver_now_ns(driver);
  skip_cut_off(driver, message);
  refuse_without_room(driver, message);
  if (append->n_entries > 0 && piece_of(message) < append->n_entries) {
    step_in_pieces(driver, message);
    return;
  }
  settle_earlier_change(driver, message);
  if (driver->state == DRIVER_RUNNING)
    step_append(driver, message);
  else if (append->n_entries > 0)
    batch_drop(message->entries[0].batch);
}

/* -- votes of those that are no voters --------------------------------------------------------------------
 */

static bool is_up_to_date(const struct driver *driver, const struct raft_request_vote *vote) {
  const uint64_t last = wal_last_index(driver->wal), term = wal_term_at(driver->wal, last);
  return vote->last_log_term > term || (vote->last_log_term == term && vote->last_log_index >= last);
}

/* raft does not vote where its own log does not make it a voter. It must all the same: whose vote counts is
 * for the candidate's configuration to say (dissertation, §4.1). A node that was alone, makes a second one
 * voter and restarts before that one has the entry would wait for its vote for ever. True: it is answered. */
static bool vote_as_outsider(struct driver *driver, struct wire_message *message) {
  struct raft *raft = &driver->raft;
  struct raft_request_vote *vote = &message->raft.request_vote;
  const struct raft_server *own = driver_own_server(driver);
  const int64_t silent_ns = driver_now_ns(driver) - driver->leader_heard_ns;
  const bool has_leader =
      driver->leader_heard_ns > 0 && silent_ns < (int64_t)driver->options.election_timeout_ms * NS_PER_MS;
  if (driver_is_voter(own) || raft_state(raft) != RAFT_FOLLOWER || wal_last_index(driver->wal) == 0 ||
      vote->term < raft_current_term(raft) || (has_leader && !vote->disrupt_leader))
    return false;
  bool granted = is_up_to_date(driver, vote);
  if (!vote->pre_vote) {
    /* raft takes over the term, and says no. A follower that is no voter never forgets its leader. */
    vote->disrupt_leader = true;
    driver->answers_withheld = true;
    driver_step(driver, &(struct raft_event){.type = RAFT_RECEIVE, .receive.message = &message->raft}, NULL);
    driver->answers_withheld = false;
    const raft_id before = raft_voted_for(raft);
    granted &= driver->state == DRIVER_RUNNING && vote->term == raft_current_term(raft) &&
               (before == 0 || before == vote->candidate_id);
    if (granted && before == 0) {
      raft->voted_for = vote->candidate_id;
      wal_set_term(driver->wal, raft->current_term, raft->voted_for);
      driver_flush_soon(driver);
    }
  }
  struct wire_message answer = {.type = WIRE_VOTE_RESULT};
  answer.raft.request_vote_result = (struct raft_request_vote_result){
      .term = vote->term > raft_current_term(raft) ? vote->term : raft_current_term(raft),
      .vote_granted = granted,
      .pre_vote = vote->pre_vote,
      .capacity = 1};
  driver_send(driver, message->sender, &answer);
  return true;
}

/* -- all of them ------------------------------------------------------------------------------------------
 */

static void receive_raft(struct driver *driver, struct wire_message *message) {
  const struct driver_peer *peer = driver_peer(driver, message->sender);
  message->raft.server_id = peer->id;
  message->raft.server_address = peer->address;
  if (message->type == WIRE_APPEND) {
    receive_append(driver, message);
    return;
  }
  if (!acceptable(driver, message) || (message->type == WIRE_VOTE && vote_as_outsider(driver, message)))
    return;
  driver_step(driver, &(struct raft_event){.type = RAFT_RECEIVE, .receive.message = &message->raft}, NULL);
}

/* Whoever speaks for this cluster is listened to, up to a bound. */
#define STRANGERS_MAX 256

void driver_frame_received(void *owner, uint64_t peer, const void *frame, size_t size) {
  struct driver *driver = owner;
  if (driver->state != DRIVER_RUNNING)
    return;
  struct wire_message message;
  if (wire_decode(frame, size, driver->options.cluster, &driver->scratch, &message) != 0) {
    log_warn("a frame of %zu bytes from node %" PRIu64 " is not understood and dropped", size, peer);
    return;
  }
  const bool known = driver_peer(driver, peer) || driver->peer_count < STRANGERS_MAX;
  if (message.sender != peer || peer == driver->options.id || !known) {
    log_warn("a frame from node %" PRIu64 " came by way of node %" PRIu64 " and is dropped", message.sender,
             peer);
    if (message.type == WIRE_APPEND && message.raft.append_entries.n_entries > 0)
      batch_drop(message.entries[0].batch);
    wire_release(&message);
    return;
  }
  driver_meet(driver, peer)->heard_ns = driver_now_ns(driver);
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
  case WIRE_READ_QUERY:
    driver_take_read_query(driver, peer, &message.read);
    break;
  case WIRE_READ_REPLY:
    driver_take_read_reply(driver, peer, &message.read);
    break;
  }
  wire_release(&message);
}
