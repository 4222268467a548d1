/* Frames: what is encoded is decoded again; whatever else comes is refused, and costs nothing but the frame.
 */
#include "master/raft/wire.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define CLUSTER 42

static struct bytes whole_frame(const struct wire_message *message, struct wal_entry *const *entries) {
  struct bytes head = {0};
  wire_encode(&head, CLUSTER, message, entries);
  if (message->type == WIRE_APPEND)
    for (unsigned i = 0; i < message->raft.append_entries.n_entries; i++)
      bytes_append(&head, entries[i]->data, entries[i]->size);
  if (message->type == WIRE_PIECE)
    bytes_append(&head, message->piece.data, message->piece.size);
  return head;
}

static struct raft_buffer membership(void) {
  struct raft_configuration configuration;
  raft_configuration_init(&configuration);
  raft_configuration_add(&configuration, 1, "1", RAFT_VOTER);
  raft_configuration_add(&configuration, 2, "2", RAFT_VOTER);
  struct raft_buffer encoded;
  raft_configuration_encode(&configuration, &encoded);
  raft_configuration_close(&configuration);
  return encoded;
}

static struct wal_entry make_entry(uint64_t term, uint8_t type, const void *data, size_t size) {
  return (struct wal_entry){
      .term = term, .type = type, .size = (uint32_t)size, .data = data, .checksum = checksum(data, size)};
}

/* One frame of every type. */
static size_t samples(struct bytes frames[16]) {
  size_t count = 0;
  const struct raft_buffer encoded = membership();
  struct wal_entry entries[3] = {make_entry(3, RAFT_COMMAND, "hello, world", 12),
                                 make_entry(4, RAFT_BARRIER, NULL, 0),
                                 make_entry(5, RAFT_CHANGE, encoded.base, encoded.len)};
  struct wal_entry *pointers[3] = {&entries[0], &entries[1], &entries[2]};
  struct wire_message message = {.type = WIRE_APPEND, .sender = 2};
  message.raft.append_entries = (struct raft_append_entries){
      .term = 5, .prev_log_index = 10, .prev_log_term = 3, .leader_commit = 9, .n_entries = 3};
  frames[count++] = whole_frame(&message, pointers);
  message.raft.append_entries.n_entries = 0;
  frames[count++] = whole_frame(&message, pointers);
  message = (struct wire_message){.type = WIRE_APPEND_RESULT, .sender = 2};
  message.raft.append_entries_result = (struct raft_append_entries_result){
      .term = 5, .rejected = 7, .last_log_index = 6, .features = 1, .capacity = 9};
  frames[count++] = whole_frame(&message, NULL);
  message = (struct wire_message){.type = WIRE_VOTE, .sender = 2};
  message.raft.request_vote = (struct raft_request_vote){
      .term = 5, .candidate_id = 2, .last_log_index = 6, .last_log_term = 4, .pre_vote = true};
  frames[count++] = whole_frame(&message, NULL);
  message = (struct wire_message){.type = WIRE_VOTE_RESULT, .sender = 2};
  message.raft.request_vote_result = (struct raft_request_vote_result){.term = 5, .vote_granted = true};
  frames[count++] = whole_frame(&message, NULL);
  message = (struct wire_message){.type = WIRE_TIMEOUT_NOW, .sender = 2};
  message.raft.timeout_now = (struct raft_timeout_now){.term = 5, .last_log_index = 6, .last_log_term = 4};
  frames[count++] = whole_frame(&message, NULL);
  struct snapshot_file files[2] = {{.name = "head", .size = 24, .checksum = 1}, {.name = "bulk", .size = 0}};
  message = (struct wire_message){.type = WIRE_MANIFEST, .sender = 2};
  message.manifest = (struct wire_manifest){.transfer = 1,
                                            .term = 5,
                                            .index = 100,
                                            .index_term = 4,
                                            .configuration_index = 1,
                                            .configuration = encoded.base,
                                            .configuration_size = encoded.len,
                                            .files = files,
                                            .file_count = 2};
  frames[count++] = whole_frame(&message, NULL);
  message =
      (struct wire_message){.type = WIRE_PIECES,
                            .sender = 2,
                            .pieces = {.transfer = 1, .file = 2, .offset = 3, .end_file = 4, .again = true}};
  frames[count++] = whole_frame(&message, NULL);
  message = (struct wire_message){
      .type = WIRE_PIECE,
      .sender = 2,
      .piece = {.transfer = 1, .file = 1, .offset = 4, .data = (const unsigned char *)"piece", .size = 5}};
  frames[count++] = whole_frame(&message, NULL);
  message = (struct wire_message){.type = WIRE_TERM_QUERY, .sender = 2, .query = {.round = 8, .term = 5}};
  frames[count++] = whole_frame(&message, NULL);
  message.type = WIRE_TERM_REPLY;
  frames[count++] = whole_frame(&message, NULL);
  message = (struct wire_message){.type = WIRE_READ_QUERY, .sender = 2, .read = {.round = 8, .term = 5}};
  frames[count++] = whole_frame(&message, NULL);
  message = (struct wire_message){
      .type = WIRE_READ_REPLY, .sender = 2, .read = {.round = 8, .term = 5, .index = 70, .index_term = 4}};
  frames[count++] = whole_frame(&message, NULL);
  raft_free(encoded.base);
  return count;
}

static int decode(const void *frame, size_t size, struct wire_scratch *scratch,
                  struct wire_message *message) {
  /* A copy of the exact size, so that a sanitizer sees every read beyond it. */
  void *exact = malloc(size ? size : 1);
  memcpy(exact, frame, size);
  const int status = wire_decode(exact, size, CLUSTER, scratch, message);
  if (status == 0) {
    if (message->type == WIRE_APPEND && message->raft.append_entries.n_entries > 0)
      batch_drop(message->entries[0].batch);
    wire_release(message);
  }
  free(exact);
  return status;
}

static void free_all(struct bytes *frames, size_t count, struct wire_scratch *scratch) {
  for (size_t i = 0; i < count; i++)
    bytes_free(&frames[i]);
  wire_scratch_free(scratch);
}

Test(wire, every_type_survives_the_way) {
  struct bytes frames[16];
  const size_t count = samples(frames);
  struct wire_scratch scratch = {0};
  struct wire_message message;
  for (size_t i = 0; i < count; i++) {
    cr_assert_eq(decode(frames[i].data, frames[i].size, &scratch, &message), 0, "frame %zu", i);
    cr_assert_eq(message.sender, 2);
  }
  free_all(frames, count, &scratch);
}

Test(wire, entries_survive_the_way) {
  struct bytes frames[16];
  const size_t count = samples(frames);
  struct wire_scratch scratch = {0};
  struct wire_message message;
  cr_assert_eq(wire_decode(frames[0].data, frames[0].size, CLUSTER, &scratch, &message), 0);
  const struct raft_append_entries *append = &message.raft.append_entries;
  cr_assert_eq(append->n_entries, 3);
  cr_assert_eq(append->prev_log_index, 10);
  cr_assert_eq(append->leader_commit, 9);
  cr_assert_eq(append->entries[0].type, RAFT_COMMAND);
  cr_assert_eq(append->entries[0].buf.len, 12);
  cr_assert_arr_eq(append->entries[0].buf.base, "hello, world", 12);
  cr_assert_eq(append->entries[1].type, RAFT_BARRIER);
  cr_assert_eq(append->entries[2].term, 5);
  cr_assert_eq(message.entries[2].checksum, checksum(message.entries[2].data, message.entries[2].size));
  batch_drop(message.entries[0].batch);
  free_all(frames, count, &scratch);
}

Test(wire, every_flipped_bit_and_every_cut_is_refused) {
  struct bytes frames[16];
  const size_t count = samples(frames);
  struct wire_scratch scratch = {0};
  struct wire_message message;
  for (size_t i = 0; i < count; i++) {
    for (size_t bit = 0; bit < frames[i].size * 8; bit++) {
      frames[i].data[bit / 8] ^= (unsigned char)(1u << bit % 8);
      cr_assert_neq(decode(frames[i].data, frames[i].size, &scratch, &message), 0, "frame %zu, bit %zu", i,
                    bit);
      frames[i].data[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    for (size_t size = 0; size < frames[i].size; size++)
      cr_assert_neq(decode(frames[i].data, size, &scratch, &message), 0, "frame %zu, size %zu", i, size);
  }
  free_all(frames, count, &scratch);
}

/* Damage below the checksums: a peer of another mind, not a bad cable. */
Test(wire, frames_that_lie_do_no_harm) {
  struct bytes frames[16];
  const size_t count = samples(frames);
  struct wire_scratch scratch = {0};
  struct wire_message message;
  struct random random;
  random_seed(&random, 7);
  size_t accepted = 0;
  for (int round = 0; round < 200000; round++) {
    const struct bytes *from = &frames[random_below(&random, count)];
    struct bytes frame = {0};
    bytes_append(&frame, from->data, from->size);
    for (uint64_t changes = 1 + random_below(&random, 4); changes > 0; changes--) {
      const size_t at = 24 + (size_t)random_below(&random, frame.size - 24);
      frame.data[at] = random_chance(&random, 0.3)   ? 0xff
                       : random_chance(&random, 0.3) ? 0
                                                     : (unsigned char)random_next(&random);
    }
    const uint32_t head = le32_load(frame.data + 28);
    if (head >= 8 && head <= frame.size)
      le64_store(frame.data, checksum(frame.data + 8, head - 8));
    accepted += decode(frame.data, frame.size, &scratch, &message) == 0;
    bytes_free(&frame);
  }
  cr_assert_gt(accepted, 1000, "most of these frames reach the decoder's inside");
  free_all(frames, count, &scratch);
}

Test(wire, noise_is_refused) {
  struct random random;
  random_seed(&random, 8);
  struct wire_scratch scratch = {0};
  struct wire_message message;
  unsigned char noise[300];
  for (int round = 0; round < 100000; round++) {
    const size_t size = (size_t)random_below(&random, sizeof noise);
    for (size_t i = 0; i < size; i++)
      noise[i] = (unsigned char)random_next(&random);
    cr_assert_neq(decode(noise, size, &scratch, &message), 0);
  }
  wire_scratch_free(&scratch);
}

Test(wire, another_cluster_is_refused) {
  struct bytes frames[16];
  const size_t count = samples(frames);
  struct wire_scratch scratch = {0};
  struct wire_message message;
  for (size_t i = 0; i < count; i++)
    cr_assert_eq(wire_decode(frames[i].data, frames[i].size, CLUSTER + 1, &scratch, &message), ERR_BAD_INPUT);
  free_all(frames, count, &scratch);
}

Test(wire, memberships_are_judged_before_raft_sees_them) {
  const struct raft_buffer encoded = membership();
  unsigned char *bytes = encoded.base;
  cr_assert(wire_configuration_is_sound(bytes, encoded.len));
  struct random random;
  random_seed(&random, 9);
  for (size_t size = 0; size < encoded.len - 7; size++)
    cr_assert_not(wire_configuration_is_sound(bytes, size));
  for (int round = 0; round < 20000; round++) {
    unsigned char *copy = malloc(encoded.len);
    memcpy(copy, bytes, encoded.len);
    copy[random_below(&random, encoded.len)] = (unsigned char)random_next(&random);
    if (wire_configuration_is_sound(copy, encoded.len)) {
      struct raft_configuration configuration;
      const struct raft_buffer buffer = {.base = copy, .len = encoded.len};
      if (raft_configuration_decode(&buffer, &configuration) == 0)
        raft_configuration_close(&configuration);
    }
    free(copy);
  }
  raft_free(encoded.base);
}
