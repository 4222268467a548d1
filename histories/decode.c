#include "histories/decode.h"

#include <assert.h>
#include <string.h>

/* Names are a few bytes: a call to memcmp would cost more than this. */
static inline bool same_name(struct text a, struct text b) {
  if (a.size != b.size)
    return false;
  for (size_t i = 0; i < a.size; i++)
    if (a.data[i] != b.data[i])
      return false;
  return true;
}

static unsigned find_member(struct members *members, const struct json_string *key) {
  char room[32];
  const struct text name = json_resolve(key, room, sizeof room);
  for (size_t tries = 0, at = members->expected; tries < members->count; tries++, at++) {
    if (at >= members->count)
      at = 0;
    if (same_name(members->list[at].name, name)) {
      members->expected = at + 1;
      return members->list[at].bit & members->known;
    }
  }
  return 0;
}

unsigned members_next(struct json *json, struct members *members) {
  struct json_string key;
  while (json_next_member(json, &key)) {
    const unsigned member = find_member(members, &key);
    if (member == 0) {
      json_skip(json, NULL);
    } else if (!json_null(json)) {
      if ((members->present & member) == 0) {
        members->present |= member;
        return member;
      }
      json_fail(json, "the member stands twice");
    }
  }
  return 0;
}

/* What was gathered in the scratch memory becomes an array of the history's. */
static void *keep_gathered(struct decoder *decoder, size_t item_size, size_t *count) {
  const struct bytes *scratch = &decoder->scratch;
  *count = scratch->size / item_size;
  void *kept = history_allocate(decoder->history, scratch->size);
  if (scratch->size > 0)
    memcpy(kept, scratch->data, scratch->size);
  return kept;
}

bool decode_text(struct decoder *decoder, struct text *text) {
  struct json_string string;
  if (!json_take_string(&decoder->json, &string))
    return false;
  *text = history_text(decoder->history, string.raw.data, string.raw.size);
  if (string.escaped) {
    /* Resolving never makes a string longer, so its copy has room. */
    char *copy = (char *)text->data;
    text->size = json_unescape(&string, copy);
    copy[text->size] = '\0';
  }
  return true;
}

/* ---- Arguments ---- */

enum argument_member {
  HAS_PATH = 1 << 0,
  HAS_SOURCE = 1 << 1,
  HAS_DESTINATION = 1 << 2,
  HAS_VALUE = 1 << 3,
  HAS_PARENTS = 1 << 4,
  HAS_EXIST_OK = 1 << 5,
  HAS_OVERWRITE = 1 << 6,
  HAS_RECURSIVE = 1 << 7,
  HAS_IF_VERSION = 1 << 8,
  HAS_LENGTH = 1 << 9,
  HAS_BLOCK = 1 << 10,
  HAS_WORKER = 1 << 11,
  HAS_OPERATIONS = 1 << 12,
};

static const struct member argument_members[] = {
    MEMBER("path", HAS_PATH),
    MEMBER("src", HAS_SOURCE),
    MEMBER("dst", HAS_DESTINATION),
    MEMBER("value", HAS_VALUE),
    MEMBER("if_version", HAS_IF_VERSION),
    MEMBER("parents", HAS_PARENTS),
    MEMBER("exist_ok", HAS_EXIST_OK),
    MEMBER("overwrite", HAS_OVERWRITE),
    MEMBER("recursive", HAS_RECURSIVE),
    MEMBER("length", HAS_LENGTH),
    MEMBER("block", HAS_BLOCK),
    MEMBER("worker", HAS_WORKER),
    MEMBER("operations", HAS_OPERATIONS),
};

/* What each operation must be given, and what it may. */
static const struct {
  unsigned required, optional;
} signatures[OPERATION_KINDS] = {
    [OPERATION_MKDIR] = {HAS_PATH, HAS_PARENTS | HAS_EXIST_OK},
    [OPERATION_CREATE] = {HAS_PATH, HAS_PARENTS | HAS_OVERWRITE},
    [OPERATION_COMPLETE] = {HAS_PATH | HAS_LENGTH, 0},
    [OPERATION_DELETE] = {HAS_PATH, HAS_RECURSIVE},
    [OPERATION_RENAME] = {HAS_SOURCE | HAS_DESTINATION, 0},
    [OPERATION_SET] = {HAS_PATH | HAS_VALUE, HAS_IF_VERSION},
    [OPERATION_ADD_BLOCK] = {HAS_PATH, 0},
    [OPERATION_COMMIT_BLOCK] = {HAS_BLOCK | HAS_LENGTH, HAS_WORKER},
    [OPERATION_STAT] = {HAS_PATH, 0},
    [OPERATION_LIST] = {HAS_PATH, 0},
    [OPERATION_EXISTS] = {HAS_PATH, 0},
    [OPERATION_BLOCKS] = {HAS_PATH, 0},
    [OPERATION_BATCH] = {HAS_OPERATIONS, 0},
};

static const char *missing(unsigned members) {
  return members & HAS_PATH          ? "\"path\" is missing"
         : members & HAS_SOURCE      ? "\"src\" is missing"
         : members & HAS_DESTINATION ? "\"dst\" is missing"
         : members & HAS_VALUE       ? "\"value\" is missing"
         : members & HAS_BLOCK       ? "\"block\" is missing"
         : members & HAS_LENGTH      ? "\"length\" is missing"
                                     : "\"operations\" is missing";
}

static bool decode_batch_item(struct decoder *decoder, struct arguments *item) {
  struct json *json = &decoder->json;
  struct json_string key, f = {0};
  struct text value = {0};
  json_begin_object(json);
  while (json_next_member(json, &key)) {
    if (json_string_is(&key, "f"))
      json_take_string(json, &f);
    else
      json_skip(json, json_string_is(&key, "value") ? &value : NULL);
  }
  if (json->problem)
    return false;
  json->member = (struct text){0};
  char room[32];
  const int kind = f.raw.data ? operation_kind_of(json_resolve(&f, room, sizeof room)) : -1;
  if (kind < 0 || !operation_is_mutation((enum operation_kind)kind) || kind == OPERATION_BATCH ||
      kind == OPERATION_ADD_BLOCK)
    return json_fail(json,
                     "an operation of a batch needs an \"f\": a mutation other than add-block and batch");
  if (!value.data)
    return json_fail(json, "an operation of a batch lacks its \"value\"");
  const char *behind = json->at;
  json->at = value.data;
  const bool decoded = decode_arguments(decoder, (enum operation_kind)kind, item);
  if (decoded) {
    json->at = behind;
    json->first = false;
  }
  return decoded;
}

static bool decode_operations(struct decoder *decoder, struct arguments *batch) {
  struct bytes *scratch = &decoder->scratch;
  bytes_clear(scratch);
  json_begin_array(&decoder->json);
  while (json_next_element(&decoder->json)) {
    struct arguments item = {0};
    if (decode_batch_item(decoder, &item))
      bytes_append(scratch, &item, sizeof item);
  }
  batch->items = keep_gathered(decoder, sizeof *batch->items, &batch->item_count);
  return !decoder->json.problem;
}

static bool decode_argument(struct decoder *decoder, unsigned member, struct arguments *arguments) {
  struct json *json = &decoder->json;
  switch (member) {
  case HAS_PATH:
  case HAS_SOURCE:
    return decode_text(decoder, &arguments->path);
  case HAS_DESTINATION:
    return decode_text(decoder, &arguments->destination);
  case HAS_VALUE:
    return decode_text(decoder, &arguments->value);
  case HAS_PARENTS:
    return json_boolean(json, &arguments->parents);
  case HAS_EXIST_OK:
    return json_boolean(json, &arguments->exist_ok);
  case HAS_OVERWRITE:
    return json_boolean(json, &arguments->overwrite);
  case HAS_RECURSIVE:
    return json_boolean(json, &arguments->recursive);
  case HAS_IF_VERSION:
    arguments->has_if_version = true;
    return json_unsigned(json, &arguments->if_version);
  case HAS_LENGTH:
    return json_unsigned(json, &arguments->length);
  case HAS_BLOCK:
    return json_unsigned(json, &arguments->block);
  case HAS_WORKER:
    return json_unsigned(json, &arguments->worker);
  default:
    assert(member == HAS_OPERATIONS);
    return decode_operations(decoder, arguments);
  }
}

bool decode_arguments(struct decoder *decoder, enum operation_kind kind, struct arguments *arguments) {
  struct json *json = &decoder->json;
  const unsigned required = signatures[kind].required;
  struct members members = MEMBERS(argument_members, required | signatures[kind].optional);
  arguments->kind = kind;
  json_begin_object(json);
  for (unsigned member; (member = members_next(json, &members)) != 0;)
    decode_argument(decoder, member, arguments);
  if (json->problem)
    return false;
  if ((members.present & required) == required)
    return true;
  json->member = (struct text){0};
  return json_fail(json, missing(required & ~members.present));
}

/* ---- Answers ---- */

static const struct member answer_members[] = {
    MEMBER("kind", SEEN_KIND),
    MEMBER("creator", SEEN_CREATOR),
    MEMBER("version", SEEN_VERSION),
    MEMBER("value", SEEN_VALUE),
    MEMBER("completed", SEEN_COMPLETED),
    MEMBER("length", SEEN_LENGTH),
    MEMBER("blocks", SEEN_BLOCK_COUNT | SEEN_BLOCKS), /* a number or a list: as the operation has it */
    MEMBER("children", SEEN_CHILD_COUNT),
    MEMBER("entries", SEEN_ENTRIES),
    MEMBER("exists", SEEN_EXISTS),
    MEMBER("block", SEEN_BLOCK),
    MEMBER("answers", SEEN_ANSWERS),
};

static const unsigned answers[OPERATION_KINDS] = {
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

static bool decode_kind(struct json *json, enum inode_kind *kind) {
  struct json_string word;
  if (!json_take_string(json, &word))
    return false;
  *kind = json_string_is(&word, "file") ? INODE_FILE : INODE_DIRECTORY;
  return *kind == INODE_FILE || json_string_is(&word, "dir") ||
         json_fail(json, "\"dir\" or \"file\" belongs here");
}

static bool decode_entry(struct decoder *decoder, struct list_entry *entry) {
  static const struct member names[] = {
      MEMBER("name", 1),
      MEMBER("kind", 2),
      MEMBER("creator", 4),
  };
  struct json *json = &decoder->json;
  struct members members = MEMBERS(names, 1 | 2 | 4);
  json_begin_object(json);
  for (unsigned member; (member = members_next(json, &members)) != 0;) {
    if (member == 1)
      decode_text(decoder, &entry->name);
    else if (member == 2)
      entry->has_kind = decode_kind(json, &entry->kind);
    else
      entry->has_creator = json_unsigned(json, &entry->creator);
  }
  return !json->problem && (entry->name.data || json_fail(json, "an entry lacks its \"name\""));
}

static bool decode_entries(struct decoder *decoder, struct answer *answer) {
  struct bytes *scratch = &decoder->scratch;
  bytes_clear(scratch);
  json_begin_array(&decoder->json);
  while (json_next_element(&decoder->json)) {
    struct list_entry entry = {0};
    if (decode_entry(decoder, &entry))
      bytes_append(scratch, &entry, sizeof entry);
  }
  answer->entries = keep_gathered(decoder, sizeof *answer->entries, &answer->entry_count);
  return !decoder->json.problem;
}

static bool decode_block(struct json *json, struct block_entry *block) {
  static const struct member names[] = {
      MEMBER("block", 1),
      MEMBER("length", 2),
  };
  struct members members = MEMBERS(names, 1 | 2);
  json_begin_object(json);
  for (unsigned member; (member = members_next(json, &members)) != 0;)
    json_unsigned(json, member == 1 ? &block->block : &block->length);
  block->committed = members.present & 2;
  return !json->problem && ((members.present & 1) || json_fail(json, "an entry lacks its \"block\""));
}

static bool decode_blocks(struct decoder *decoder, struct answer *answer) {
  struct bytes *scratch = &decoder->scratch;
  bytes_clear(scratch);
  json_begin_array(&decoder->json);
  while (json_next_element(&decoder->json)) {
    struct block_entry block = {0};
    if (decode_block(&decoder->json, &block))
      bytes_append(scratch, &block, sizeof block);
  }
  answer->blocks = keep_gathered(decoder, sizeof *answer->blocks, &answer->block_entry_count);
  return !decoder->json.problem;
}

/* One answer for each operation of the batch. */
static bool decode_answers(struct decoder *decoder, const struct arguments *batch, struct answer *answer) {
  static const char *const problem = "a batch has as many answers as operations";
  struct json *json = &decoder->json;
  answer->items = history_allocate(decoder->history, batch->item_count * sizeof *answer->items);
  json_begin_array(json);
  while (json_next_element(json)) {
    if (answer->item_count == batch->item_count)
      return json_fail(json, problem);
    struct answer *item = &answer->items[answer->item_count];
    memset(item, 0, sizeof *item);
    if (decode_answer(decoder, &batch->items[answer->item_count], item))
      answer->item_count++;
  }
  return !json->problem && (answer->item_count == batch->item_count || json_fail(json, problem));
}

static bool decode_member(struct decoder *decoder, unsigned member, const struct arguments *asked,
                          struct answer *answer) {
  struct json *json = &decoder->json;
  switch (member) {
  case SEEN_CREATOR:
    return json_unsigned(json, &answer->creator);
  case SEEN_VERSION:
    return json_unsigned(json, &answer->version);
  case SEEN_KIND:
    return decode_kind(json, &answer->inode_kind);
  case SEEN_VALUE:
    return decode_text(decoder, &answer->value);
  case SEEN_COMPLETED:
    return json_boolean(json, &answer->completed);
  case SEEN_LENGTH:
    return json_unsigned(json, &answer->length);
  case SEEN_BLOCK_COUNT:
    return json_unsigned(json, &answer->block_count);
  case SEEN_CHILD_COUNT:
    return json_unsigned(json, &answer->child_count);
  case SEEN_EXISTS:
    return json_boolean(json, &answer->exists);
  case SEEN_BLOCK:
    return json_unsigned(json, &answer->block);
  case SEEN_ENTRIES:
    return decode_entries(decoder, answer);
  case SEEN_BLOCKS:
    return decode_blocks(decoder, answer);
  default:
    assert(member == SEEN_ANSWERS);
    return decode_answers(decoder, asked, answer);
  }
}

bool decode_answer(struct decoder *decoder, const struct arguments *asked, struct answer *answer) {
  struct json *json = &decoder->json;
  struct members members = MEMBERS(answer_members, answers[asked->kind]);
  if (json_null(json))
    return true;
  json_begin_object(json);
  for (unsigned member; (member = members_next(json, &members)) != 0;)
    decode_member(decoder, member, asked, answer);
  answer->seen |= members.present;
  return !json->problem;
}

static void note_code(const struct json_string *word, struct answer *answer) {
  char room[32];
  const int code = answer_code_of(json_resolve(word, room, sizeof room));
  answer->code = code > ANSWER_OK ? (enum answer_code)code : ANSWER_OTHER;
}

static bool decode_error_object(struct decoder *decoder, struct answer *answer) {
  static const struct member names[] = {
      MEMBER("code", 1),
      MEMBER("version", SEEN_VERSION),
      MEMBER("at", SEEN_AT),
  };
  struct json *json = &decoder->json;
  struct members members = MEMBERS(names, 1 | SEEN_VERSION | SEEN_AT);
  struct json_string word;
  json_begin_object(json);
  for (unsigned member; (member = members_next(json, &members)) != 0;) {
    if (member != 1)
      json_unsigned(json, member == SEEN_VERSION ? &answer->version : &answer->at);
    else if (json_take_string(json, &word))
      note_code(&word, answer);
  }
  answer->seen |= members.present & (SEEN_VERSION | SEEN_AT);
  return !json->problem;
}

bool decode_error(struct decoder *decoder, struct answer *answer) {
  struct json *json = &decoder->json;
  struct json_string word;
  answer->code = ANSWER_OK;
  if (json_peek(json) == '{')
    return decode_error_object(decoder, answer);
  if (json_peek(json) != '"')
    return json_skip(json, NULL);
  if (json_take_string(json, &word))
    note_code(&word, answer);
  return !json->problem;
}
