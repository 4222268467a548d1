#include "master/raft/wire.h"

#include <assert.h>
#include <stdlib.h>

#include "base/base.h"

enum { ENTRY_HEAD = 24 };
enum { VOTE_DISRUPT = 1, VOTE_PRE = 2, VOTE_GRANTED = 4 };
enum { MESSAGE_VERSION = 2 }; /* of raft's vote messages: pre-votes are told apart since 2 */

/* -- encoding ------------------------------------------------------------------------------------------- */

static void encode_append(struct bytes *head, const struct raft_append_entries *append,
                          struct wal_entry *const *entries) {
  bytes_append_le64(head, append->term);
  bytes_append_le64(head, append->prev_log_index);
  bytes_append_le64(head, append->prev_log_term);
  bytes_append_le64(head, append->leader_commit);
  bytes_append_le64(head, append->n_entries);
  unsigned char *at = bytes_reserve(head, append->n_entries * (size_t)ENTRY_HEAD);
  for (unsigned i = 0; i < append->n_entries; i++, at += ENTRY_HEAD) {
    le64_store(at, entries[i]->term);
    le64_store(at + 8, entries[i]->checksum);
    le32_store(at + 16, entries[i]->size);
    le32_store(at + 20, entries[i]->type);
  }
  head->size += append->n_entries * (size_t)ENTRY_HEAD;
}

static void encode_append_result(struct bytes *head, const struct raft_append_entries_result *result) {
  bytes_append_le64(head, result->term);
  bytes_append_le64(head, result->rejected);
  bytes_append_le64(head, result->last_log_index);
  bytes_append_le32(head, result->features);
  bytes_append_le32(head, result->capacity);
}

static void encode_vote(struct bytes *head, const struct raft_request_vote *vote) {
  bytes_append_le64(head, vote->term);
  bytes_append_le64(head, vote->candidate_id);
  bytes_append_le64(head, vote->last_log_index);
  bytes_append_le64(head, vote->last_log_term);
  bytes_append_u8(head,
                  (uint8_t)((vote->disrupt_leader ? VOTE_DISRUPT : 0) | (vote->pre_vote ? VOTE_PRE : 0)));
}

static void encode_vote_result(struct bytes *head, const struct raft_request_vote_result *result) {
  bytes_append_le64(head, result->term);
  bytes_append_le32(head, result->features);
  bytes_append_le32(head, result->capacity);
  bytes_append_u8(head,
                  (uint8_t)((result->vote_granted ? VOTE_GRANTED : 0) | (result->pre_vote ? VOTE_PRE : 0)));
}

static void encode_manifest(struct bytes *head, const struct wire_manifest *manifest) {
  bytes_append_le64(head, manifest->transfer);
  bytes_append_le64(head, manifest->term);
  bytes_append_le64(head, manifest->index);
  bytes_append_le64(head, manifest->index_term);
  bytes_append_le64(head, manifest->configuration_index);
  bytes_append_string(head, manifest->configuration, manifest->configuration_size);
  bytes_append_varint(head, manifest->file_count);
  for (size_t i = 0; i < manifest->file_count; i++) {
    const struct snapshot_file *file = &manifest->files[i];
    bytes_append_string(head, file->name, strlen(file->name));
    bytes_append_le64(head, file->size);
    bytes_append_le64(head, file->checksum);
  }
}

static void encode_body(struct bytes *head, const struct wire_message *message,
                        struct wal_entry *const *entries) {
  switch (message->type) {
  case WIRE_APPEND:
    encode_append(head, &message->raft.append_entries, entries);
    break;
  case WIRE_APPEND_RESULT:
    encode_append_result(head, &message->raft.append_entries_result);
    break;
  case WIRE_VOTE:
    encode_vote(head, &message->raft.request_vote);
    break;
  case WIRE_VOTE_RESULT:
    encode_vote_result(head, &message->raft.request_vote_result);
    break;
  case WIRE_TIMEOUT_NOW:
    bytes_append_le64(head, message->raft.timeout_now.term);
    bytes_append_le64(head, message->raft.timeout_now.last_log_index);
    bytes_append_le64(head, message->raft.timeout_now.last_log_term);
    break;
  case WIRE_MANIFEST:
    encode_manifest(head, &message->manifest);
    break;
  case WIRE_PIECES:
    bytes_append_le64(head, message->pieces.transfer);
    bytes_append_le64(head, message->pieces.file);
    bytes_append_le64(head, message->pieces.offset);
    bytes_append_le64(head, message->pieces.end_file);
    bytes_append_u8(head, message->pieces.again);
    break;
  case WIRE_PIECE:
    bytes_append_le64(head, message->piece.transfer);
    bytes_append_le64(head, message->piece.file);
    bytes_append_le64(head, message->piece.offset);
    bytes_append_le64(head, checksum(message->piece.data, message->piece.size));
    break;
  case WIRE_TERM_QUERY:
  case WIRE_TERM_REPLY:
    bytes_append_le64(head, message->query.round);
    bytes_append_le64(head, message->query.term);
    break;
  case WIRE_READ_QUERY:
  case WIRE_READ_REPLY:
    bytes_append_le64(head, message->read.round);
    bytes_append_le64(head, message->read.term);
    bytes_append_le64(head, message->read.index);
    bytes_append_le64(head, message->read.index_term);
    break;
  }
}

void wire_encode(struct bytes *head, uint64_t cluster, const struct wire_message *message,
                 struct wal_entry *const *entries) {
  bytes_clear(head);
  bytes_append_le64(head, 0); /* checksum */
  bytes_append_le64(head, cluster);
  bytes_append_le64(head, message->sender);
  bytes_append_u8(head, WIRE_VERSION);
  bytes_append_u8(head, (uint8_t)message->type);
  bytes_append_u8(head, 0);
  bytes_append_u8(head, 0);
  bytes_append_le32(head, 0); /* head size */
  assert(head->size == WIRE_HEADER);
  encode_body(head, message, entries);
  le32_store(head->data + 28, (uint32_t)head->size);
  le64_store(head->data, checksum(head->data + 8, head->size - 8));
}

/* -- decoding ------------------------------------------------------------------------------------------- */

bool wire_configuration_is_sound(const void *data, size_t size) {
  struct reader reader = reader_make(data, size);
  const uint8_t version = reader_u8(&reader);
  const uint64_t count = reader_le64(&reader);
  if (reader.failed || version != 1 || count == 0 || count > 64)
    return false;
  for (uint64_t i = 0; i < count; i++) {
    const uint64_t id = reader_le64(&reader);
    const unsigned char *address = reader.at;
    const unsigned char *end = reader.failed ? NULL : memchr(address, 0, reader_left(&reader));
    if (!end || id == 0)
      return false;
    reader_bytes(&reader, (size_t)(end - address) + 1);
    if (reader_u8(&reader) > RAFT_SPARE || reader.failed)
      return false;
  }
  return reader_left(&reader) < 8;
}

static bool read_one_entry(struct reader *head, struct reader *payload, struct wal_entry *entry) {
  *entry = (struct wal_entry){0};
  entry->term = reader_le64(head);
  entry->checksum = reader_le64(head);
  entry->size = reader_le32(head);
  const uint32_t type = reader_le32(head);
  if (head->failed || entry->term == 0 || type < RAFT_COMMAND || type > RAFT_CHANGE)
    return false;
  entry->type = (uint8_t)type;
  entry->data = reader_bytes(payload, entry->size);
  return entry->data && checksum(entry->data, entry->size) == entry->checksum &&
         (type != RAFT_CHANGE || wire_configuration_is_sound(entry->data, entry->size));
}

static void grow_scratch(struct wire_scratch *scratch, size_t count) {
  if (scratch->capacity >= count)
    return;
  scratch->raft_entries = xrealloc(scratch->raft_entries, count * sizeof *scratch->raft_entries);
  scratch->entries = xrealloc(scratch->entries, count * sizeof *scratch->entries);
  scratch->capacity = count;
}

/* Copies the payloads into one batch, to which all entries then point. */
static void make_batch(struct wire_message *message, const unsigned char *payloads, size_t size,
                       unsigned count) {
  struct batch *batch = batch_new(size);
  memcpy(batch->data, payloads, size);
  for (unsigned i = 0; i < count; i++) {
    struct wal_entry *entry = &message->entries[i];
    unsigned char *data = batch->data + (entry->data - payloads);
    entry->data = data;
    entry->batch = batch;
    message->raft_entries[i] = (struct raft_entry){
        .term = entry->term, .type = entry->type, .buf = {.base = data, .len = entry->size}, .batch = batch};
  }
}

static int decode_append(struct reader *head, struct reader *payload, struct wire_scratch *scratch,
                         struct wire_message *message) {
  struct raft_append_entries *append = &message->raft.append_entries;
  message->raft.type = RAFT_APPEND_ENTRIES;
  append->term = reader_le64(head);
  append->prev_log_index = reader_le64(head);
  append->prev_log_term = reader_le64(head);
  append->leader_commit = reader_le64(head);
  const uint64_t count = reader_le64(head);
  if (head->failed || count > WIRE_ENTRIES || append->term == 0 || append->prev_log_term > append->term ||
      (append->prev_log_index == 0) != (append->prev_log_term == 0) ||
      reader_left(head) != count * ENTRY_HEAD)
    return ERR_CORRUPT;
  grow_scratch(scratch, (size_t)count);
  message->raft_entries = scratch->raft_entries;
  message->entries = scratch->entries;
  const unsigned char *payloads = payload->at;
  uint64_t term = append->prev_log_term;
  for (uint64_t i = 0; i < count; i++) {
    if (!read_one_entry(head, payload, &message->entries[i]) || message->entries[i].term < term)
      return ERR_CORRUPT;
    term = message->entries[i].term;
  }
  if (term > append->term || reader_left(payload) != 0)
    return ERR_CORRUPT;
  append->n_entries = (unsigned)count;
  append->entries = message->raft_entries;
  if (count > 0)
    make_batch(message, payloads, (size_t)(payload->at - payloads), (unsigned)count);
  return 0;
}

static void decode_append_result(struct reader *head, struct raft_message *message) {
  message->type = RAFT_APPEND_ENTRIES_RESULT;
  struct raft_append_entries_result *result = &message->append_entries_result;
  result->version = MESSAGE_VERSION;
  result->term = reader_le64(head);
  result->rejected = reader_le64(head);
  result->last_log_index = reader_le64(head);
  result->features = (uint16_t)reader_le32(head);
  result->capacity = (uint16_t)reader_le32(head);
}

static void decode_vote(struct reader *head, struct raft_message *message) {
  message->type = RAFT_REQUEST_VOTE;
  struct raft_request_vote *vote = &message->request_vote;
  vote->version = MESSAGE_VERSION;
  vote->term = reader_le64(head);
  vote->candidate_id = reader_le64(head);
  vote->last_log_index = reader_le64(head);
  vote->last_log_term = reader_le64(head);
  const uint8_t flags = reader_u8(head);
  vote->disrupt_leader = flags & VOTE_DISRUPT;
  vote->pre_vote = flags & VOTE_PRE;
}

static void decode_vote_result(struct reader *head, struct raft_message *message) {
  message->type = RAFT_REQUEST_VOTE_RESULT;
  struct raft_request_vote_result *result = &message->request_vote_result;
  result->version = MESSAGE_VERSION;
  result->term = reader_le64(head);
  result->features = (uint16_t)reader_le32(head);
  result->capacity = (uint16_t)reader_le32(head);
  const uint8_t flags = reader_u8(head);
  result->vote_granted = flags & VOTE_GRANTED;
  result->pre_vote = flags & VOTE_PRE;
}

static void decode_timeout_now(struct reader *head, struct raft_message *message) {
  message->type = RAFT_TIMEOUT_NOW;
  message->timeout_now.term = reader_le64(head);
  message->timeout_now.last_log_index = reader_le64(head);
  message->timeout_now.last_log_term = reader_le64(head);
}

static void decode_pieces(struct reader *head, struct wire_pieces *pieces) {
  pieces->transfer = reader_le64(head);
  pieces->file = reader_le64(head);
  pieces->offset = reader_le64(head);
  pieces->end_file = reader_le64(head);
  pieces->again = reader_u8(head) != 0;
}

static bool read_file(struct reader *head, struct snapshot_file *file) {
  size_t length;
  const unsigned char *name = reader_string(head, &length);
  *file = (struct snapshot_file){0};
  file->size = reader_le64(head);
  file->checksum = reader_le64(head);
  if (head->failed || length == 0 || length >= sizeof file->name || memchr(name, '/', length) ||
      memchr(name, 0, length) || name[0] == '.')
    return false;
  memcpy(file->name, name, length);
  return true;
}

static int decode_manifest(struct reader *head, struct wire_manifest *manifest) {
  *manifest = (struct wire_manifest){0};
  manifest->transfer = reader_le64(head);
  manifest->term = reader_le64(head);
  manifest->index = reader_le64(head);
  manifest->index_term = reader_le64(head);
  manifest->configuration_index = reader_le64(head);
  manifest->configuration = reader_string(head, &manifest->configuration_size);
  const uint64_t count = reader_varint(head);
  if (head->failed || count > WIRE_FILES || manifest->index == 0 || manifest->index_term == 0 ||
      manifest->term < manifest->index_term || manifest->configuration_index > manifest->index ||
      !wire_configuration_is_sound(manifest->configuration, manifest->configuration_size))
    return ERR_CORRUPT;
  manifest->files = xcalloc(count + 1, sizeof *manifest->files);
  for (; manifest->file_count < count; manifest->file_count++)
    if (!read_file(head, &manifest->files[manifest->file_count]))
      break;
  if (manifest->file_count == count && reader_left(head) == 0)
    return 0;
  free(manifest->files);
  manifest->files = NULL;
  return ERR_CORRUPT;
}

static int decode_piece(struct reader *head, struct reader *payload, struct wire_piece *piece) {
  *piece = (struct wire_piece){0};
  piece->transfer = reader_le64(head);
  piece->file = reader_le64(head);
  piece->offset = reader_le64(head);
  const uint64_t sum = reader_le64(head);
  piece->size = reader_left(payload);
  piece->data = reader_bytes(payload, piece->size);
  return piece->size <= SNAPSHOT_CHUNK && checksum(piece->data, piece->size) == sum ? 0 : ERR_CORRUPT;
}

static int decode_body(struct reader *head, struct reader *payload, struct wire_scratch *scratch,
                       struct wire_message *message) {
  switch (message->type) {
  case WIRE_APPEND:
    return decode_append(head, payload, scratch, message);
  case WIRE_APPEND_RESULT:
    decode_append_result(head, &message->raft);
    return 0;
  case WIRE_VOTE:
    decode_vote(head, &message->raft);
    return message->raft.request_vote.candidate_id == message->sender ? 0 : ERR_CORRUPT;
  case WIRE_VOTE_RESULT:
    decode_vote_result(head, &message->raft);
    return 0;
  case WIRE_TIMEOUT_NOW:
    decode_timeout_now(head, &message->raft);
    return 0;
  case WIRE_MANIFEST:
    return decode_manifest(head, &message->manifest);
  case WIRE_PIECES:
    decode_pieces(head, &message->pieces);
    return 0;
  case WIRE_PIECE:
    return decode_piece(head, payload, &message->piece);
  case WIRE_TERM_QUERY:
  case WIRE_TERM_REPLY:
    message->query.round = reader_le64(head);
    message->query.term = reader_le64(head);
    return 0;
  case WIRE_READ_QUERY:
  case WIRE_READ_REPLY:
    message->read.round = reader_le64(head);
    message->read.term = reader_le64(head);
    message->read.index = reader_le64(head);
    message->read.index_term = reader_le64(head);
    return 0;
  }
  return ERR_BAD_INPUT;
}

int wire_decode(const void *frame, size_t size, uint64_t cluster, struct wire_scratch *scratch,
                struct wire_message *message) {
  const unsigned char *at = frame;
  *message = (struct wire_message){0};
  if (size < WIRE_HEADER)
    return ERR_CORRUPT;
  const uint32_t head_size = le32_load(at + 28);
  if (head_size < WIRE_HEADER || head_size > size || le64_load(at) != checksum(at + 8, head_size - 8))
    return ERR_CORRUPT;
  if (le64_load(at + 8) != cluster || at[24] != WIRE_VERSION)
    return ERR_BAD_INPUT;
  message->sender = le64_load(at + 16);
  message->type = (enum wire_type)at[25];
  struct reader head = reader_make(at + WIRE_HEADER, head_size - WIRE_HEADER);
  struct reader payload = reader_make(at + head_size, size - head_size);
  int status = message->sender == 0 ? ERR_CORRUPT : decode_body(&head, &payload, scratch, message);
  if (status == 0 && (head.failed || reader_left(&head) != 0 || reader_left(&payload) != 0)) {
    wire_release(message);
    status = ERR_CORRUPT;
  }
  return status;
}

void wire_release(struct wire_message *message) {
  if (message->type == WIRE_MANIFEST) {
    free(message->manifest.files);
    message->manifest.files = NULL;
  }
}

void wire_scratch_free(struct wire_scratch *scratch) {
  free(scratch->raft_entries);
  free(scratch->entries);
  *scratch = (struct wire_scratch){0};
}
