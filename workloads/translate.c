/* translate.c: the same operation as a history tells it and as the master's client is asked it. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "master/client/client.h"
#include "workloads/workloads.h"

/* ---- Arguments that last ---- */

static size_t text_size(const struct arguments *arguments) {
  return arguments->path.size + arguments->destination.size + arguments->value.size + 3;
}

static struct text keep_text(char **at, struct text from) {
  if (!from.data)
    return from;
  const struct text kept = {*at, from.size};
  memcpy(*at, from.data, from.size + 1);
  *at += from.size + 1;
  return kept;
}

static void keep_texts(char **at, struct arguments *arguments) {
  arguments->path = keep_text(at, arguments->path);
  arguments->destination = keep_text(at, arguments->destination);
  arguments->value = keep_text(at, arguments->value);
}

/* The items of a batch, then all text. */
void arguments_keep(const struct arguments *drawn, struct bytes *text, struct arguments *kept) {
  size_t size = text_size(drawn) + drawn->item_count * sizeof *drawn;
  for (size_t i = 0; i < drawn->item_count; i++)
    size += text_size(&drawn->items[i]);
  bytes_clear(text);
  struct arguments *items = (struct arguments *)bytes_reserve(text, size);
  char *at = (char *)(items + drawn->item_count);
  *kept = *drawn;
  keep_texts(&at, kept);
  for (size_t i = 0; i < drawn->item_count; i++) {
    items[i] = drawn->items[i];
    keep_texts(&at, &items[i]);
  }
  kept->items = drawn->item_count > 0 ? items : NULL;
}

/* ---- Requests ---- */

struct request_room {
  struct master_request request, items[WORKLOAD_BATCH_MAX];
};

struct request_room *request_room_new(void) {
  return xcalloc(1, sizeof(struct request_room));
}

static const enum master_operation operations[OPERATION_KINDS] = {
    [OPERATION_MKDIR] = MASTER_MKDIR,         [OPERATION_CREATE] = MASTER_CREATE,
    [OPERATION_COMPLETE] = MASTER_COMPLETE,   [OPERATION_DELETE] = MASTER_DELETE,
    [OPERATION_RENAME] = MASTER_RENAME,       [OPERATION_SET] = MASTER_SET,
    [OPERATION_ADD_BLOCK] = MASTER_ADD_BLOCK, [OPERATION_COMMIT_BLOCK] = MASTER_COMMIT_BLOCK,
    [OPERATION_STAT] = MASTER_STAT,           [OPERATION_LIST] = MASTER_LIST,
    [OPERATION_EXISTS] = MASTER_EXISTS,       [OPERATION_BLOCKS] = MASTER_BLOCKS,
    [OPERATION_BATCH] = MASTER_BATCH,
};

void arguments_fill_request(const struct arguments *arguments, struct master_request *request) {
  *request = (struct master_request){
      .operation = operations[arguments->kind],
      .path = arguments->path.data,
      .destination = arguments->destination.data,
      .value = arguments->value.data,
      .parents = arguments->parents,
      .exist_ok = arguments->exist_ok,
      .overwrite = arguments->overwrite,
      .recursive = arguments->recursive,
      .has_if_version = arguments->has_if_version,
      .if_version = arguments->if_version,
      .length = arguments->length,
      .block = arguments->block,
      .worker = arguments->worker,
  };
}

const struct master_request *arguments_to_request(const struct arguments *arguments, uint64_t op_id,
                                                  struct request_room *room) {
  assert(arguments->item_count <= WORKLOAD_BATCH_MAX);
  arguments_fill_request(arguments, &room->request);
  room->request.op_id = op_id;
  for (size_t i = 0; i < arguments->item_count; i++)
    arguments_fill_request(&arguments->items[i], &room->items[i]);
  room->request.items = room->items;
  room->request.item_count = arguments->item_count;
  return &room->request;
}

/* ---- Answers ---- */

static const unsigned observed[OPERATION_KINDS] = {
    [OPERATION_MKDIR] = SEEN_CREATOR,
    [OPERATION_CREATE] = SEEN_CREATOR,
    [OPERATION_COMPLETE] = SEEN_VERSION,
    [OPERATION_SET] = SEEN_VERSION,
    [OPERATION_ADD_BLOCK] = SEEN_BLOCK,
    [OPERATION_STAT] = SEEN_KIND | SEEN_CREATOR | SEEN_VERSION | SEEN_VALUE | SEEN_COMPLETED | SEEN_LENGTH |
                       SEEN_BLOCK_COUNT | SEEN_CHILD_COUNT,
    [OPERATION_LIST] = SEEN_VERSION | SEEN_ENTRIES,
    [OPERATION_EXISTS] = SEEN_EXISTS,
    [OPERATION_BLOCKS] = SEEN_BLOCKS,
    [OPERATION_BATCH] = SEEN_ANSWERS,
};

/* The master's errors and a history's answer codes stand in the same order. */
_Static_assert(MASTER_ERROR_NONE == (int)ANSWER_OK &&
                   MASTER_ERROR_VERSION_MISMATCH == (int)ANSWER_VERSION_MISMATCH &&
                   MASTER_ERROR_REFUSED == (int)ANSWER_REFUSED && MASTER_ERROR_OTHER == (int)ANSWER_OTHER,
               "a master's error is a history's answer code");

void answer_room_free(struct answer_room *room) {
  free(room->entries);
  free(room->blocks);
}

static void copy_entries(const struct master_answer *from, struct answer_room *room, struct answer *to) {
  if (from->entry_count > room->entry_capacity) {
    room->entry_capacity = from->entry_count * 2;
    room->entries = xrealloc(room->entries, room->entry_capacity * sizeof *room->entries);
  }
  to->entries = room->entries;
  to->entry_count = from->entry_count;
  for (size_t i = 0; i < from->entry_count; i++)
    to->entries[i] = (struct list_entry){.name = text_of(from->entries[i].name),
                                         .kind = from->entries[i].is_file ? INODE_FILE : INODE_DIRECTORY,
                                         .creator = from->entries[i].creator,
                                         .has_kind = true,
                                         .has_creator = true};
}

static void copy_blocks(const struct master_answer *from, struct answer_room *room, struct answer *to) {
  if (from->block_entry_count > room->block_capacity) {
    room->block_capacity = from->block_entry_count * 2;
    room->blocks = xrealloc(room->blocks, room->block_capacity * sizeof *room->blocks);
  }
  to->blocks = room->blocks;
  to->block_entry_count = from->block_entry_count;
  for (size_t i = 0; i < from->block_entry_count; i++)
    to->blocks[i] = (struct block_entry){.block = from->blocks[i].block,
                                         .length = from->blocks[i].length,
                                         .committed = from->blocks[i].committed};
}

static void copy_items(const struct arguments *batch, const struct master_answer *from,
                       struct answer_room *room, struct answer *to) {
  assert(batch->item_count <= WORKLOAD_BATCH_MAX);
  to->items = room->items;
  to->item_count = from->number_count;
  if (to->item_count != batch->item_count)
    to->seen = 0; /* not the answer to this batch; it says nothing */
  for (size_t i = 0; i < to->item_count && to->seen; i++)
    room->items[i] = (struct answer){
        .seen = observed[batch->items[i].kind], .creator = from->numbers[i], .version = from->numbers[i]};
}

static void copy_failure(enum operation_kind kind, const struct master_answer *from, struct answer *to) {
  assert(to->code != ANSWER_OK && !answer_is_indefinite(to->code));
  if (!answer_is_observation(to->code))
    return;
  if (to->code == ANSWER_VERSION_MISMATCH) {
    to->seen |= SEEN_VERSION;
    to->version = from->version;
  }
  if (kind == OPERATION_BATCH) {
    to->seen |= SEEN_AT;
    to->at = from->at;
  }
}

enum outcome answer_of_master(const struct arguments *arguments, const struct master_answer *from,
                              struct answer_room *room, struct answer *to) {
  *to = (struct answer){.code = (enum answer_code)from->error};
  if (from->outcome == MASTER_INFO) {
    if (!answer_is_indefinite(to->code))
      to->code = ANSWER_OTHER;
    return OUTCOME_INFO;
  }
  if (from->outcome != MASTER_OK) {
    copy_failure(arguments->kind, from, to);
    return OUTCOME_FAIL;
  }
  assert(to->code == ANSWER_OK);
  to->seen = observed[arguments->kind];
  to->creator = from->creator;
  to->version = from->version;
  to->inode_kind = from->is_file ? INODE_FILE : INODE_DIRECTORY;
  if (to->seen & SEEN_VALUE)
    to->value = text_of(from->value ? from->value : "");
  to->completed = from->completed;
  to->length = from->length;
  to->block_count = from->block_count;
  to->child_count = from->child_count;
  to->exists = from->exists;
  to->block = from->block;
  if (to->seen & SEEN_ENTRIES)
    copy_entries(from, room, to);
  if (to->seen & SEEN_BLOCKS)
    copy_blocks(from, room, to);
  if (to->seen & SEEN_ANSWERS)
    copy_items(arguments, from, room, to);
  return OUTCOME_OK;
}
