/* messages.c: libraft 0.15's messages, to frames and back.
 *
 *   ┌──────────┬─────────┬────────┬──────┬────────┬──────┬──────┐
 *   │ checksum │ cluster │ sender │ life │ number │ type │ body │
 *   └──────────┴─────────┴────────┴──────┴────────┴──────┴──────┘
 *        8          8        8       8       8       1
 *
 * The life is drawn when a process starts, the number rises from frame to frame. A frame that comes behind a
 * later one, or twice, is dropped: libraft's own transport is TCP, where frames are lost but never change
 * their order. */
#include <stdio.h>
#include <stdlib.h>

#include "simulator/canonical/canonical.h"

enum { VOTE_DISRUPT = 1, VOTE_PRE = 2 };

/* -- configurations ------------------------------------------------------------------------------------- */

void canonical_encode_configuration(const struct raft_configuration *configuration, struct bytes *to) {
  bytes_append_varint(to, configuration->n);
  for (unsigned i = 0; i < configuration->n; i++) {
    const struct raft_server *server = &configuration->servers[i];
    bytes_append_le64(to, server->id);
    bytes_append_u8(to, (uint8_t)server->role);
    bytes_append_string(to, server->address, strlen(server->address));
  }
}

static int read_server(struct reader *reader, struct raft_configuration *configuration) {
  char address[ADDRESS_SIZE];
  const uint64_t id = reader_le64(reader);
  const int role = reader_u8(reader);
  size_t size;
  const unsigned char *text = reader_string(reader, &size);
  if (reader->failed || size >= sizeof address)
    return ERR_CORRUPT;
  memcpy(address, text, size);
  address[size] = '\0';
  return raft_configuration_add(configuration, id, address, role) == 0 ? 0 : ERR_CORRUPT;
}

int canonical_decode_configuration(const void *data, size_t size, struct raft_configuration *configuration) {
  struct reader reader = reader_make(data, size);
  raft_configuration_init(configuration);
  const uint64_t count = reader_varint(&reader);
  int status = reader.failed || count > SERVERS_LIMIT ? ERR_CORRUPT : 0;
  for (uint64_t i = 0; status == 0 && i < count; i++)
    status = read_server(&reader, configuration);
  if (status != 0)
    raft_configuration_close(configuration);
  return status;
}

/* -- sending -------------------------------------------------------------------------------------------- */

static void encode_vote(struct bytes *to, const struct raft_request_vote *vote) {
  bytes_append_le64(to, vote->term);
  bytes_append_le64(to, vote->candidate_id);
  bytes_append_le64(to, vote->last_log_index);
  bytes_append_le64(to, vote->last_log_term);
  bytes_append_u8(to, (uint8_t)((vote->disrupt_leader ? VOTE_DISRUPT : 0) | (vote->pre_vote ? VOTE_PRE : 0)));
}

static void encode_append(struct bytes *to, const struct raft_append_entries *append) {
  bytes_append_le64(to, append->term);
  bytes_append_le64(to, append->prev_log_index);
  bytes_append_le64(to, append->prev_log_term);
  bytes_append_le64(to, append->leader_commit);
  bytes_append_le32(to, append->n_entries);
  for (unsigned i = 0; i < append->n_entries; i++) {
    const struct raft_entry *entry = &append->entries[i];
    bytes_append_le64(to, entry->term);
    bytes_append_u8(to, (uint8_t)entry->type);
    bytes_append_string(to, entry->buf.base, entry->buf.len);
  }
}

static void encode_install(struct bytes *to, const struct raft_install_snapshot *install) {
  bytes_append_le64(to, install->term);
  bytes_append_le64(to, install->last_index);
  bytes_append_le64(to, install->last_term);
  bytes_append_le64(to, install->conf_index);
  struct bytes configuration = {0};
  canonical_encode_configuration(&install->conf, &configuration);
  bytes_append_string(to, configuration.data, configuration.size);
  bytes_free(&configuration);
  bytes_append_string(to, install->data.base, install->data.len);
}

static void encode_body(struct bytes *to, const struct raft_message *message) {
  switch (message->type) {
  case RAFT_IO_APPEND_ENTRIES:
    encode_append(to, &message->append_entries);
    break;
  case RAFT_IO_APPEND_ENTRIES_RESULT:
    bytes_append_le64(to, message->append_entries_result.term);
    bytes_append_le64(to, message->append_entries_result.rejected);
    bytes_append_le64(to, message->append_entries_result.last_log_index);
    break;
  case RAFT_IO_REQUEST_VOTE:
    encode_vote(to, &message->request_vote);
    break;
  case RAFT_IO_REQUEST_VOTE_RESULT:
    bytes_append_le64(to, message->request_vote_result.term);
    bytes_append_u8(to, message->request_vote_result.vote_granted);
    bytes_append_u8(to, (uint8_t)message->request_vote_result.pre_vote);
    break;
  case RAFT_IO_INSTALL_SNAPSHOT:
    encode_install(to, &message->install_snapshot);
    break;
  case RAFT_IO_TIMEOUT_NOW:
    bytes_append_le64(to, message->timeout_now.term);
    bytes_append_le64(to, message->timeout_now.last_log_index);
    bytes_append_le64(to, message->timeout_now.last_log_term);
    break;
  }
}

static void encode(struct canonical *canonical, const struct raft_message *message) {
  struct bytes *frame = &canonical->frame;
  bytes_clear(frame);
  bytes_append_le64(frame, 0);
  bytes_append_le64(frame, canonical->options.cluster);
  bytes_append_le64(frame, canonical->options.id);
  bytes_append_le64(frame, canonical->life);
  bytes_append_le64(frame, ++canonical->frame_number);
  bytes_append_u8(frame, (uint8_t)message->type);
  encode_body(frame, message);
  le64_store(frame->data, checksum(frame->data + 8, frame->size - 8));
}

static void send_frame(struct canonical *canonical, uint64_t peer, const unsigned char *data, size_t size) {
  const struct iovec vector = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
  canonical->world->send(canonical->world->context, peer, &vector, 1);
}

void canonical_release_held(struct canonical *canonical) {
  if (canonical->held.size == 0 || disk_log_ballot_pending(canonical->log))
    return;
  struct reader reader = reader_make(canonical->held.data, canonical->held.size);
  while (reader_left(&reader) > 0) {
    const uint64_t peer = reader_le64(&reader);
    size_t size;
    const unsigned char *frame = reader_string(&reader, &size);
    send_frame(canonical, peer, frame, size);
  }
  bytes_clear(&canonical->held);
}

int canonical_send(struct raft_io *io, struct raft_io_send *request, const struct raft_message *message,
                   raft_io_send_cb done) {
  struct canonical *canonical = io->impl;
  request->cb = done;
  encode(canonical, message);
  if (canonical->held.size > 0 || disk_log_ballot_pending(canonical->log)) {
    bytes_append_le64(&canonical->held, message->server_id);
    bytes_append_string(&canonical->held, canonical->frame.data, canonical->frame.size);
  } else {
    send_frame(canonical, message->server_id, canonical->frame.data, canonical->frame.size);
  }
  if (canonical->send_count == canonical->send_capacity) {
    canonical->send_capacity = canonical->send_capacity ? canonical->send_capacity * 2 : 16;
    canonical->sends = xrealloc(canonical->sends, canonical->send_capacity * sizeof *canonical->sends);
  }
  canonical->sends[canonical->send_count++] = request;
  canonical_wake(canonical);
  return 0;
}

/* -- receiving ------------------------------------------------------------------------------------------ */

/* Entries and their one batch belong to libraft from now on. */
static int decode_entries(struct reader *reader, struct raft_append_entries *append) {
  append->n_entries = reader_le32(reader);
  append->entries = NULL;
  if (reader->failed || append->n_entries > reader_left(reader))
    return ERR_CORRUPT;
  if (append->n_entries == 0)
    return 0;
  unsigned char *batch = raft_malloc(reader_left(reader));
  append->entries = raft_calloc(append->n_entries, sizeof *append->entries);
  for (unsigned i = 0; i < append->n_entries; i++) {
    struct raft_entry *entry = &append->entries[i];
    entry->term = reader_le64(reader);
    entry->type = reader_u8(reader);
    const unsigned char *data = reader_string(reader, &entry->buf.len);
    entry->batch = batch;
    entry->buf.base =
        batch + (i > 0 ? (size_t)((unsigned char *)entry[-1].buf.base - batch) + entry[-1].buf.len : 0);
    if (reader->failed) {
      raft_free(batch);
      raft_free(append->entries);
      return ERR_CORRUPT;
    }
    memcpy(entry->buf.base, data, entry->buf.len);
  }
  return 0;
}

static int decode_append(struct reader *reader, struct raft_append_entries *append) {
  append->term = reader_le64(reader);
  append->prev_log_index = reader_le64(reader);
  append->prev_log_term = reader_le64(reader);
  append->leader_commit = reader_le64(reader);
  return decode_entries(reader, append);
}

static int decode_vote(struct reader *reader, struct raft_request_vote *vote) {
  vote->term = reader_le64(reader);
  vote->candidate_id = reader_le64(reader);
  vote->last_log_index = reader_le64(reader);
  vote->last_log_term = reader_le64(reader);
  const uint8_t flags = reader_u8(reader);
  vote->disrupt_leader = flags & VOTE_DISRUPT;
  vote->pre_vote = flags & VOTE_PRE;
  return 0;
}

static int decode_install(struct reader *reader, struct raft_install_snapshot *install) {
  install->term = reader_le64(reader);
  install->last_index = reader_le64(reader);
  install->last_term = reader_le64(reader);
  install->conf_index = reader_le64(reader);
  size_t configuration_size;
  const unsigned char *configuration = reader_string(reader, &configuration_size);
  const unsigned char *data = reader_string(reader, &install->data.len);
  if (reader->failed ||
      canonical_decode_configuration(configuration, configuration_size, &install->conf) != 0)
    return ERR_CORRUPT;
  install->data.base = raft_malloc(install->data.len + 1);
  memcpy(install->data.base, data, install->data.len);
  return 0;
}

static int decode_body(struct reader *reader, struct raft_message *message) {
  switch (message->type) {
  case RAFT_IO_APPEND_ENTRIES:
    return decode_append(reader, &message->append_entries);
  case RAFT_IO_APPEND_ENTRIES_RESULT:
    message->append_entries_result.term = reader_le64(reader);
    message->append_entries_result.rejected = reader_le64(reader);
    message->append_entries_result.last_log_index = reader_le64(reader);
    return 0;
  case RAFT_IO_REQUEST_VOTE:
    return decode_vote(reader, &message->request_vote);
  case RAFT_IO_REQUEST_VOTE_RESULT:
    message->request_vote_result.term = reader_le64(reader);
    message->request_vote_result.vote_granted = reader_u8(reader);
    message->request_vote_result.pre_vote = (raft_tribool)reader_u8(reader);
    return 0;
  case RAFT_IO_INSTALL_SNAPSHOT:
    return decode_install(reader, &message->install_snapshot);
  case RAFT_IO_TIMEOUT_NOW:
    message->timeout_now.term = reader_le64(reader);
    message->timeout_now.last_log_index = reader_le64(reader);
    message->timeout_now.last_log_term = reader_le64(reader);
    return 0;
  }
  return ERR_CORRUPT;
}

/* In order, or not at all, as in one connection; that of an earlier life may still deliver after a later
 * one's began. */
static bool is_next(struct canonical_peer *from, uint64_t life, uint64_t number) {
  for (size_t i = 0; i < ARRAY_SIZE(from->lives); i++) {
    struct peer_life *known = &from->lives[i];
    if (known->life != life)
      continue;
    if (number <= known->number)
      return false;
    known->number = number;
    return true;
  }
  from->lives[from->life_count++ % ARRAY_SIZE(from->lives)] = (struct peer_life){life, number};
  return true;
}

void canonical_frame_received(void *owner, uint64_t peer, const void *frame, size_t size) {
  struct canonical *canonical = owner;
  struct canonical_peer *from = canonical_peer(canonical, peer);
  struct reader reader = reader_make(frame, size);
  const uint64_t sum = reader_le64(&reader);
  const uint64_t cluster = reader_le64(&reader);
  const uint64_t sender = reader_le64(&reader);
  const uint64_t life = reader_le64(&reader);
  const uint64_t number = reader_le64(&reader);
  struct raft_message message = {.type = reader_u8(&reader), .server_id = peer};
  if (!canonical_runs(canonical) || !canonical->received || !from || reader.failed ||
      sum != checksum((const unsigned char *)frame + 8, size - 8) || cluster != canonical->options.cluster ||
      sender != peer || !is_next(from, life, number))
    return;
  message.server_address = from->address;
  if (decode_body(&reader, &message) != 0 || reader.failed)
    return;
  canonical->received(&canonical->io, &message);
  canonical_after(canonical);
}
