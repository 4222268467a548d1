/* translate.c: the same operation as a history tells it and as the master's client is asked it. */
#include <assert.h>
#include <string.h>

#include "master/client/client.h"
#include "workloads/workloads.h"

void arguments_keep(const struct arguments *drawn, struct bytes *text, struct arguments *kept) {
  bytes_clear(text);
  const size_t path = drawn->path.size + 1, destination = drawn->destination.size + 1,
               value = drawn->value.size + 1;
  char *at = (char *)bytes_reserve(text, path + destination + value);
  *kept = *drawn;
  const struct {
    const struct text *from;
    struct text *to;
  } copies[] = {
      {&drawn->path, &kept->path}, {&drawn->destination, &kept->destination}, {&drawn->value, &kept->value}};
  for (size_t i = 0; i < ARRAY_SIZE(copies); i++)
    if (copies[i].from->data) {
      memcpy(at, copies[i].from->data, copies[i].from->size + 1);
      copies[i].to->data = at;
      at += copies[i].from->size + 1;
    }
}

static enum master_operation wire_operation(enum operation_kind kind) {
  switch (kind) {
  case OPERATION_MKDIR:
    return MASTER_MKDIR;
  case OPERATION_CREATE:
    return MASTER_CREATE;
  case OPERATION_COMPLETE:
    return MASTER_COMPLETE;
  case OPERATION_DELETE:
    return MASTER_DELETE;
  case OPERATION_RENAME:
    return MASTER_RENAME;
  case OPERATION_SET:
    return MASTER_SET;
  case OPERATION_STAT:
    return MASTER_STAT;
  case OPERATION_LIST:
    return MASTER_LIST;
  default:
    assert(kind == OPERATION_EXISTS);
    return MASTER_EXISTS;
  }
}

void arguments_to_request(const struct arguments *arguments, uint64_t op_id, struct master_request *request) {
  *request = (struct master_request){
      .operation = wire_operation(arguments->kind),
      .op_id = op_id,
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
  };
}

static const unsigned observed[OPERATION_KINDS] = {
    [OPERATION_MKDIR] = SEEN_CREATOR,
    [OPERATION_CREATE] = SEEN_CREATOR,
    [OPERATION_COMPLETE] = SEEN_VERSION,
    [OPERATION_SET] = SEEN_VERSION,
    [OPERATION_STAT] = SEEN_KIND | SEEN_CREATOR | SEEN_VERSION | SEEN_VALUE | SEEN_COMPLETED | SEEN_LENGTH |
                       SEEN_BLOCK_COUNT | SEEN_CHILD_COUNT,
    [OPERATION_LIST] = SEEN_VERSION | SEEN_ENTRIES,
    [OPERATION_EXISTS] = SEEN_EXISTS,
};

/* The master's errors and a history's answer codes stand in the same order. */
_Static_assert(MASTER_ERROR_NONE == (int)ANSWER_OK &&
                   MASTER_ERROR_VERSION_MISMATCH == (int)ANSWER_VERSION_MISMATCH &&
                   MASTER_ERROR_REFUSED == (int)ANSWER_REFUSED && MASTER_ERROR_OTHER == (int)ANSWER_OTHER,
               "a master's error is a history's answer code");

static void copy_entries(const struct master_answer *from, struct entry_room *room, struct answer *to) {
  if (from->entry_count > room->capacity) {
    room->capacity = from->entry_count * 2;
    room->entries = xrealloc(room->entries, room->capacity * sizeof *room->entries);
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

enum outcome answer_of_master(enum operation_kind kind, const struct master_answer *from,
                              struct entry_room *room, struct answer *to) {
  *to = (struct answer){.code = (enum answer_code)from->error};
  if (from->outcome == MASTER_INFO) {
    if (!answer_is_indefinite(to->code))
      to->code = ANSWER_OTHER;
    return OUTCOME_INFO;
  }
  if (from->outcome != MASTER_OK) {
    assert(to->code != ANSWER_OK && !answer_is_indefinite(to->code));
    if (to->code == ANSWER_VERSION_MISMATCH) {
      to->seen = SEEN_VERSION;
      to->version = from->version;
    }
    return OUTCOME_FAIL;
  }
  assert(to->code == ANSWER_OK);
  to->seen = observed[kind];
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
  if (to->seen & SEEN_ENTRIES)
    copy_entries(from, room, to);
  return OUTCOME_OK;
}
