/* frame_print.c: frames between journals in words, for whoever looks on. */
#include <inttypes.h>
#include <stdio.h>

#include "master/raft/raft_journal.h"
#include "master/raft/wire.h"

#define CLUSTER_OFFSET 8 /* of the header: behind the checksum */

static void print_append(const struct raft_append_entries *append, char *out, size_t size) {
  if (append->n_entries == 0)
    snprintf(out, size, "heartbeat term %llu, after %llu/%llu, commit %llu", append->term,
             append->prev_log_index, append->prev_log_term, append->leader_commit);
  else if (append->n_entries == 1)
    snprintf(out, size, "append term %llu, %llu/%llu after %llu/%llu, commit %llu", append->term,
             append->prev_log_index + 1, append->entries[0].term, append->prev_log_index,
             append->prev_log_term, append->leader_commit);
  else
    snprintf(out, size, "append term %llu, %llu…%llu/%llu after %llu/%llu, commit %llu", append->term,
             append->prev_log_index + 1, append->prev_log_index + append->n_entries,
             append->entries[append->n_entries - 1].term, append->prev_log_index, append->prev_log_term,
             append->leader_commit);
}

static void print_append_result(const struct raft_append_entries_result *result, char *out, size_t size) {
  if (result->rejected != 0)
    snprintf(out, size, "refuses append at %llu, term %llu, last %llu", result->rejected, result->term,
             result->last_log_index);
  else
    snprintf(out, size, "appended up to %llu, term %llu", result->last_log_index, result->term);
}

static void print_raft(const struct raft_message *message, char *out, size_t size) {
  const struct raft_request_vote *vote = &message->request_vote;
  const struct raft_request_vote_result *answer = &message->request_vote_result;
  switch (message->type) {
  case RAFT_APPEND_ENTRIES:
    print_append(&message->append_entries, out, size);
    break;
  case RAFT_APPEND_ENTRIES_RESULT:
    print_append_result(&message->append_entries_result, out, size);
    break;
  case RAFT_REQUEST_VOTE:
    snprintf(out, size, "%s term %llu? log ends %llu/%llu%s", vote->pre_vote ? "pre-vote" : "vote",
             vote->term, vote->last_log_index, vote->last_log_term, vote->disrupt_leader ? ", disrupts" : "");
    break;
  case RAFT_REQUEST_VOTE_RESULT:
    snprintf(out, size, "%s %s term %llu", answer->pre_vote ? "pre-vote" : "vote",
             answer->vote_granted ? "granted," : "refused,", answer->term);
    break;
  default:
    snprintf(out, size, "time-out now, term %llu", message->timeout_now.term);
  }
}

static void print_message(const struct wire_message *message, char *out, size_t size) {
  switch (message->type) {
  case WIRE_MANIFEST:
    snprintf(out, size, "snapshot %" PRIu64 "/%" PRIu64 " offered, term %" PRIu64 ", %zu files",
             message->manifest.index, message->manifest.index_term, message->manifest.term,
             message->manifest.file_count);
    break;
  case WIRE_PIECES:
    snprintf(out, size, "wants file %" PRIu64 " from %" PRIu64 "%s", message->pieces.file,
             message->pieces.offset, message->pieces.again ? " again" : "");
    break;
  case WIRE_PIECE:
    snprintf(out, size, "file %" PRIu64 " at %" PRIu64 ", %zu bytes", message->piece.file,
             message->piece.offset, message->piece.size);
    break;
  case WIRE_TERM_QUERY:
    snprintf(out, size, "which term? round %" PRIu64 ", mine %" PRIu64, message->query.round,
             message->query.term);
    break;
  case WIRE_TERM_REPLY:
    snprintf(out, size, "term %" PRIu64 ", round %" PRIu64, message->query.term, message->query.round);
    break;
  case WIRE_READ_QUERY:
    snprintf(out, size, "what is committed? round %" PRIu64 ", term %" PRIu64, message->read.round,
             message->read.term);
    break;
  case WIRE_READ_REPLY:
    snprintf(out, size, "read index %" PRIu64 ", round %" PRIu64 ", term %" PRIu64, message->read.index,
             message->read.round, message->read.term);
    break;
  default:
    print_raft(&message->raft, out, size);
  }
}

void raft_frame_print(const void *frame, size_t frame_size, char *out, size_t size) {
  struct wire_scratch scratch = {0};
  struct wire_message message;
  const uint64_t cluster =
      frame_size >= WIRE_HEADER ? le64_load((const unsigned char *)frame + CLUSTER_OFFSET) : 0;
  if (wire_decode(frame, frame_size, cluster, &scratch, &message) != 0) {
    snprintf(out, size, "not understood");
  } else {
    print_message(&message, out, size);
    if (message.type == WIRE_APPEND && message.raft.append_entries.n_entries > 0)
      batch_drop(message.raft_entries[0].batch);
    wire_release(&message);
  }
  wire_scratch_free(&scratch);
}
