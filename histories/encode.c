/* encode.c: formats lines straight into the buffer; no intermediate form, no locale. */
#include "histories/encode.h"

#include <string.h>

#include "histories/json.h"

static inline char *room(struct bytes *out, size_t size) {
  if (out->capacity - out->size < size)
    bytes_reserve(out, size);
  return (char *)out->data + out->size;
}

static inline void put(struct bytes *out, const char *data, size_t size) {
  memcpy(room(out, size), data, size);
  out->size += size;
}

/* A string literal; its size is known when compiling. */
#define PUT(out, literal) put(out, literal, sizeof(literal) - 1)

static void put_word(struct bytes *out, const char *word) {
  bytes_append(out, word, strlen(word));
}

void encode_unsigned(struct bytes *out, uint64_t value) {
  char digits[20];
  size_t size = 0;
  do
    digits[size++] = (char)('0' + value % 10);
  while (value /= 10);
  char *at = room(out, size);
  for (size_t i = 0; i < size; i++)
    at[i] = digits[size - 1 - i];
  out->size += size;
}

static void put_signed(struct bytes *out, int64_t value) {
  if (value < 0)
    PUT(out, "-");
  encode_unsigned(out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

/* The longest a byte becomes: \u001f. */
#define WORST_ESCAPE 6

static size_t escape_byte(char *at, unsigned char byte) {
  static const char letters[] = "\"\\bfnrt", bytes[] = "\"\\\b\f\n\r\t";
  static const char hexadecimal[] = "0123456789abcdef";
  const char *found = byte ? strchr(bytes, byte) : NULL;
  at[0] = '\\';
  if (found) {
    at[1] = letters[found - bytes];
    return 2;
  }
  memcpy(at + 1, "u00", 3);
  at[4] = hexadecimal[byte >> 4];
  at[5] = hexadecimal[byte & 15];
  return 6;
}

/* The text is walked in place; what is neither plain nor UTF-8 is rewritten. */
void encode_string(struct bytes *out, struct text text) {
  char *start = room(out, text.size * WORST_ESCAPE + 2), *to = start;
  const char *at = text.data, *end = at + text.size;
  *to++ = '"';
  while (at < end) {
    const unsigned char byte = (unsigned char)*at;
    if (byte < 0x20 || byte == '"' || byte == '\\') {
      to += escape_byte(to, byte);
      at++;
    } else if (byte < 0x80) {
      *to++ = *at++;
    } else {
      size_t length = utf8_length(at, (size_t)(end - at));
      memcpy(to, length ? at : "\xEF\xBF\xBD", length ? length : 3);
      to += length ? length : 3;
      at += length ? length : 1;
    }
  }
  *to++ = '"';
  out->size += (size_t)(to - start);
}

static void put_boolean(struct bytes *out, bool value) {
  if (value)
    PUT(out, "true");
  else
    PUT(out, "false");
}

/* The comma before every member but the first of an object. */
static inline void separate(struct bytes *out, bool *first) {
  if (!*first)
    PUT(out, ",");
  *first = false;
}

static void put_arguments(struct bytes *out, const struct arguments *arguments);

static void put_batch(struct bytes *out, const struct arguments *batch) {
  PUT(out, "\"operations\":[");
  for (size_t i = 0; i < batch->item_count; i++) {
    if (i > 0)
      PUT(out, ",");
    PUT(out, "{\"f\":\"");
    put_word(out, operation_name(batch->items[i].kind));
    PUT(out, "\",\"value\":");
    put_arguments(out, &batch->items[i]);
    PUT(out, "}");
  }
  PUT(out, "]");
}

static void put_commit_block(struct bytes *out, const struct arguments *arguments) {
  PUT(out, "\"block\":");
  encode_unsigned(out, arguments->block);
  PUT(out, ",\"length\":");
  encode_unsigned(out, arguments->length);
  PUT(out, ",\"worker\":");
  encode_unsigned(out, arguments->worker);
}

static void put_rename(struct bytes *out, const struct arguments *arguments) {
  PUT(out, "\"src\":");
  encode_string(out, arguments->path);
  PUT(out, ",\"dst\":");
  encode_string(out, arguments->destination);
}

static void put_path_operation(struct bytes *out, const struct arguments *arguments) {
  PUT(out, "\"path\":");
  encode_string(out, arguments->path);
  if (arguments->kind == OPERATION_SET) {
    PUT(out, ",\"value\":");
    encode_string(out, arguments->value);
  }
  if (arguments->has_if_version) {
    PUT(out, ",\"if_version\":");
    encode_unsigned(out, arguments->if_version);
  }
  if (arguments->kind == OPERATION_COMPLETE) {
    PUT(out, ",\"length\":");
    encode_unsigned(out, arguments->length);
  }
  if (arguments->parents)
    PUT(out, ",\"parents\":true");
  if (arguments->exist_ok)
    PUT(out, ",\"exist_ok\":true");
  if (arguments->overwrite)
    PUT(out, ",\"overwrite\":true");
  if (arguments->recursive)
    PUT(out, ",\"recursive\":true");
}

static void put_arguments(struct bytes *out, const struct arguments *arguments) {
  PUT(out, "{");
  switch (arguments->kind) {
  case OPERATION_BATCH:
    put_batch(out, arguments);
    break;
  case OPERATION_COMMIT_BLOCK:
    put_commit_block(out, arguments);
    break;
  case OPERATION_RENAME:
    put_rename(out, arguments);
    break;
  default:
    put_path_operation(out, arguments);
    break;
  }
  PUT(out, "}");
}

static void put_number_member(struct bytes *out, bool *first, const char *name, uint64_t value) {
  separate(out, first);
  put_word(out, name);
  encode_unsigned(out, value);
}

static void put_kind(struct bytes *out, enum inode_kind kind) {
  if (kind == INODE_FILE)
    PUT(out, "\"kind\":\"file\"");
  else
    PUT(out, "\"kind\":\"dir\"");
}

static void put_entries(struct bytes *out, const struct answer *answer) {
  PUT(out, "\"entries\":[");
  for (size_t i = 0; i < answer->entry_count; i++) {
    const struct list_entry *entry = &answer->entries[i];
    if (i > 0)
      PUT(out, ",");
    PUT(out, "{\"name\":");
    encode_string(out, entry->name);
    if (entry->has_kind) {
      PUT(out, ",");
      put_kind(out, entry->kind);
    }
    if (entry->has_creator) {
      PUT(out, ",\"creator\":");
      encode_unsigned(out, entry->creator);
    }
    PUT(out, "}");
  }
  PUT(out, "]");
}

static void put_blocks(struct bytes *out, const struct answer *answer) {
  PUT(out, "\"blocks\":[");
  for (size_t i = 0; i < answer->block_entry_count; i++) {
    const struct block_entry *block = &answer->blocks[i];
    if (i > 0)
      PUT(out, ",");
    PUT(out, "{\"block\":");
    encode_unsigned(out, block->block);
    if (block->committed) {
      PUT(out, ",\"length\":");
      encode_unsigned(out, block->length);
    }
    PUT(out, "}");
  }
  PUT(out, "]");
}

static void put_answer(struct bytes *out, const struct answer *answer);

static void put_answers(struct bytes *out, const struct answer *answer) {
  PUT(out, "\"answers\":[");
  for (size_t i = 0; i < answer->item_count; i++) {
    if (i > 0)
      PUT(out, ",");
    put_answer(out, &answer->items[i]);
  }
  PUT(out, "]");
}

/* The members that are lists. */
static void put_wide_members(struct bytes *out, bool *first, const struct answer *answer) {
  if (answer->seen & SEEN_ENTRIES) {
    separate(out, first);
    put_entries(out, answer);
  }
  if (answer->seen & SEEN_BLOCKS) {
    separate(out, first);
    put_blocks(out, answer);
  }
  if (answer->seen & SEEN_ANSWERS) {
    separate(out, first);
    put_answers(out, answer);
  }
}

static void put_answer(struct bytes *out, const struct answer *answer) {
  bool first = true;
  const unsigned seen = answer->seen;
  PUT(out, "{");
  if (seen & SEEN_KIND) {
    separate(out, &first);
    put_kind(out, answer->inode_kind);
  }
  if (seen & SEEN_CREATOR)
    put_number_member(out, &first, "\"creator\":", answer->creator);
  if (seen & SEEN_VERSION)
    put_number_member(out, &first, "\"version\":", answer->version);
  if (seen & SEEN_VALUE) {
    separate(out, &first);
    PUT(out, "\"value\":");
    encode_string(out, answer->value);
  }
  if (seen & SEEN_COMPLETED) {
    separate(out, &first);
    PUT(out, "\"completed\":");
    put_boolean(out, answer->completed);
  }
  if (seen & SEEN_LENGTH)
    put_number_member(out, &first, "\"length\":", answer->length);
  if (seen & SEEN_BLOCK_COUNT)
    put_number_member(out, &first, "\"blocks\":", answer->block_count);
  if (seen & SEEN_CHILD_COUNT)
    put_number_member(out, &first, "\"children\":", answer->child_count);
  if (seen & SEEN_EXISTS) {
    separate(out, &first);
    PUT(out, "\"exists\":");
    put_boolean(out, answer->exists);
  }
  if (seen & SEEN_BLOCK)
    put_number_member(out, &first, "\"block\":", answer->block);
  if (seen & (SEEN_ENTRIES | SEEN_BLOCKS | SEEN_ANSWERS))
    put_wide_members(out, &first, answer);
  PUT(out, "}");
}

static void put_error(struct bytes *out, const struct answer *answer) {
  PUT(out, ",\"error\":{\"code\":\"");
  put_word(out, answer_name(answer->code));
  PUT(out, "\"");
  bool first = false;
  if (answer->seen & SEEN_VERSION)
    put_number_member(out, &first, "\"version\":", answer->version);
  if (answer->seen & SEEN_AT)
    put_number_member(out, &first, "\"at\":", answer->at);
  PUT(out, "}");
}

/* {"index":7,"time":1200,"process":3 */
static void put_head(struct bytes *out, const struct line_head *head) {
  PUT(out, "{\"index\":");
  encode_unsigned(out, head->index);
  PUT(out, ",\"time\":");
  put_signed(out, head->time_ns);
  PUT(out, ",\"process\":");
  put_signed(out, head->process);
}

static void put_operation(struct bytes *out, enum operation_kind kind, uint64_t op_id) {
  PUT(out, ",\"f\":\"");
  put_word(out, operation_name(kind));
  PUT(out, "\"");
  if (op_id) {
    PUT(out, ",\"op\":");
    encode_unsigned(out, op_id);
  }
}

void encode_invoke(struct bytes *out, const struct line_head *head, const struct arguments *arguments) {
  put_head(out, head);
  PUT(out, ",\"type\":\"invoke\"");
  put_operation(out, arguments->kind, head->op_id);
  PUT(out, ",\"value\":");
  put_arguments(out, arguments);
  PUT(out, "}\n");
}

void encode_complete(struct bytes *out, const struct line_head *head, enum outcome outcome,
                     enum operation_kind kind, const struct answer *answer, int32_t node, uint64_t term,
                     uint64_t commit) {
  static const char *const types[] = {
      [OUTCOME_OK] = ",\"type\":\"ok\"",
      [OUTCOME_FAIL] = ",\"type\":\"fail\"",
      [OUTCOME_INFO] = ",\"type\":\"info\"",
  };
  put_head(out, head);
  put_word(out, types[outcome]);
  put_operation(out, kind, head->op_id);
  if (outcome == OUTCOME_OK) {
    PUT(out, ",\"value\":");
    put_answer(out, answer);
  } else {
    put_error(out, answer);
  }
  bool first = false;
  if (node >= 0)
    put_number_member(out, &first, "\"node\":", (uint64_t)node);
  if (term)
    put_number_member(out, &first, "\"term\":", term);
  if (commit)
    put_number_member(out, &first, "\"commit\":", commit);
  PUT(out, "}\n");
}

void encode_nemesis(struct bytes *out, uint64_t index, int64_t time_ns, bool start, struct text f,
                    struct text value) {
  PUT(out, "{\"index\":");
  encode_unsigned(out, index);
  PUT(out, ",\"time\":");
  put_signed(out, time_ns);
  PUT(out, ",\"process\":\"nemesis\",\"type\":\"");
  put_word(out, start ? "invoke" : "info");
  PUT(out, "\",\"f\":");
  encode_string(out, f);
  if (value.data) {
    PUT(out, ",\"value\":");
    put(out, value.data, value.size);
  }
  PUT(out, "}\n");
}

int encode_json(struct bytes *out, const char *value, const char *what, struct error *error) {
  const size_t size = strlen(value), start = out->size;
  put(out, value, size);
  *room(out, 1) = '\0';
  char *copy = (char *)out->data + start;
  /* Strings hold no raw newline, so every newline of valid JSON stands between two tokens. */
  for (size_t i = 0; i < size; i++)
    if (copy[i] == '\n')
      copy[i] = ' ';
  if (json_is_valid(copy, size))
    return 0;
  out->size = start;
  return error_set(error, ERR_BAD_INPUT, "%s is not JSON: %.200s", what, value);
}

int encode_header(struct bytes *out, const char *model, const char *members, struct error *error) {
  struct bytes object = {0};
  int result = encode_json(&object, members ? members : "{}", "the header of a history", error);
  struct json json = json_make((const char *)object.data, object.size);
  if (result == 0 && json_peek(&json) != '{')
    result = error_set(error, ERR_BAD_INPUT, "the header of a history is not a JSON object: %.200s", members);
  if (result == 0) {
    PUT(out, "{\"history\":1,\"model\":");
    encode_string(out, text_of(model));
    json_begin_object(&json);
    if (json_peek(&json) != '}')
      PUT(out, ",");
    put(out, json.at, (size_t)(json.end - json.at));
    PUT(out, "\n");
  }
  bytes_free(&object);
  return result;
}
