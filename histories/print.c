/* print.c: operations and answers for people. */
#include <inttypes.h>
#include <string.h>

#include "histories/encode.h"

/* Paths stand as they are, unless that would be hard to read. */
static void print_path(struct bytes *out, struct text path) {
  bool plain = path.size > 0;
  for (size_t i = 0; i < path.size; i++)
    plain &= (unsigned char)path.data[i] > ' ' && path.data[i] != '"' && path.data[i] != 0x7F;
  if (plain)
    bytes_append(out, path.data, path.size);
  else
    encode_string(out, path);
}

static void print_arguments(struct bytes *out, const struct arguments *arguments) {
  bytes_append_format(out, "%s ", operation_name(arguments->kind));
  if (arguments->kind == OPERATION_BATCH) {
    bytes_append_format(out, "[");
    for (size_t i = 0; i < arguments->item_count; i++) {
      bytes_append_format(out, i ? "; " : "");
      print_arguments(out, &arguments->items[i]);
    }
    bytes_append_format(out, "]");
    return;
  }
  if (arguments->kind == OPERATION_COMMIT_BLOCK) {
    bytes_append_format(out, "%" PRIu64 " length %" PRIu64, arguments->block, arguments->length);
    return;
  }
  print_path(out, arguments->path);
  if (arguments->kind == OPERATION_RENAME) {
    bytes_append_format(out, " to ");
    print_path(out, arguments->destination);
  }
  if (arguments->kind == OPERATION_SET) {
    bytes_append_format(out, " to ");
    encode_string(out, arguments->value);
  }
  if (arguments->has_if_version)
    bytes_append_format(out, " if version %" PRIu64, arguments->if_version);
  if (arguments->kind == OPERATION_COMPLETE)
    bytes_append_format(out, " length %" PRIu64, arguments->length);
  bytes_append_format(out, "%s%s%s%s", arguments->parents ? " with parents" : "",
                      arguments->exist_ok ? " if missing" : "", arguments->overwrite ? " overwriting" : "",
                      arguments->recursive ? " recursively" : "");
}

static void print_entries(struct bytes *out, const struct answer *answer) {
  bytes_append_format(out, "[");
  for (size_t i = 0; i < answer->entry_count; i++) {
    const struct list_entry *entry = &answer->entries[i];
    bytes_append_format(out, i ? ", " : "");
    print_path(out, entry->name);
    if (entry->has_kind)
      bytes_append_format(out, "%s", entry->kind == INODE_DIRECTORY ? "/" : "");
    if (entry->has_creator)
      bytes_append_format(out, " by %" PRIu64, entry->creator);
  }
  bytes_append_format(out, "]");
}

static void print_blocks(struct bytes *out, const struct answer *answer) {
  bytes_append_format(out, "[");
  for (size_t i = 0; i < answer->block_entry_count; i++) {
    const struct block_entry *block = &answer->blocks[i];
    bytes_append_format(out, "%s%" PRIu64, i ? ", " : "", block->block);
    if (block->committed)
      bytes_append_format(out, " length %" PRIu64, block->length);
    else
      bytes_append_format(out, " uncommitted");
  }
  bytes_append_format(out, "]");
}

/* What separates the first thing said from "ok", and the others from each other. */
static void separate(struct bytes *out, bool *first) {
  bytes_append_format(out, *first ? " " : ", ");
  *first = false;
}

static void print_number(struct bytes *out, bool *first, const char *name, uint64_t value) {
  separate(out, first);
  bytes_append_format(out, "%s %" PRIu64, name, value);
}

static void print_answer(struct bytes *out, const struct answer *answer);

static void print_lists(struct bytes *out, bool *first, const struct answer *answer) {
  if (answer->seen & SEEN_ENTRIES) {
    separate(out, first);
    print_entries(out, answer);
  }
  if (answer->seen & SEEN_BLOCKS) {
    separate(out, first);
    print_blocks(out, answer);
  }
  if (answer->seen & SEEN_ANSWERS) {
    separate(out, first);
    bytes_append_format(out, "[");
    for (size_t i = 0; i < answer->item_count; i++) {
      bytes_append_format(out, i ? "; " : "");
      print_answer(out, &answer->items[i]);
    }
    bytes_append_format(out, "]");
  }
}

static void print_members(struct bytes *out, const struct answer *answer) {
  const unsigned seen = answer->seen;
  bool first = true;
  if (seen & SEEN_KIND) {
    separate(out, &first);
    bytes_append_format(out, "%s", answer->inode_kind == INODE_FILE ? "file" : "directory");
  }
  if (seen & SEEN_CREATOR)
    print_number(out, &first, "creator", answer->creator);
  if (seen & SEEN_VERSION)
    print_number(out, &first, "version", answer->version);
  if (seen & SEEN_VALUE) {
    separate(out, &first);
    bytes_append_format(out, "value ");
    encode_string(out, answer->value);
  }
  if (seen & SEEN_COMPLETED && answer->completed) {
    separate(out, &first);
    bytes_append_format(out, "completed");
  }
  if (seen & SEEN_LENGTH && (answer->length || answer->completed))
    print_number(out, &first, "length", answer->length);
  if (seen & SEEN_BLOCK_COUNT && answer->block_count)
    print_number(out, &first, "blocks", answer->block_count);
  if (seen & SEEN_CHILD_COUNT && answer->child_count)
    print_number(out, &first, "children", answer->child_count);
  if (seen & SEEN_EXISTS) {
    separate(out, &first);
    bytes_append_format(out, "%s", answer->exists ? "true" : "false");
  }
  if (seen & SEEN_BLOCK)
    print_number(out, &first, "block", answer->block);
  if (seen & SEEN_AT)
    print_number(out, &first, "at", answer->at);
  print_lists(out, &first, answer);
}

static void print_answer(struct bytes *out, const struct answer *answer) {
  bytes_append_format(out, "%s", answer_name(answer->code));
  print_members(out, answer);
}

/* Moves the text out, cut between two characters where it does not fit. */
static void deliver(struct bytes *text, char *out, size_t size) {
  if (size > 0) {
    size_t fits = text->size < size ? text->size : size - 1;
    if (fits < text->size)
      while (fits > 0 && (text->data[fits] & 0xC0) == 0x80)
        fits--;
    if (fits > 0)
      memcpy(out, text->data, fits);
    out[fits] = '\0';
  }
  bytes_free(text);
}

void arguments_print(const struct arguments *arguments, char *out, size_t size) {
  struct bytes text = {0};
  print_arguments(&text, arguments);
  deliver(&text, out, size);
}

void answer_print(enum operation_kind kind, const struct answer *answer, char *out, size_t size) {
  (void)kind; /* an answer tells by the members that were seen what it is */
  struct bytes text = {0};
  print_answer(&text, answer);
  deliver(&text, out, size);
}

void operation_print(const struct operation *operation, char *out, size_t size) {
  struct bytes text = {0};
  print_arguments(&text, &operation->arguments);
  bytes_append_format(&text, " -> ");
  if (operation->outcome == OUTCOME_FAIL)
    bytes_append_format(&text, "fail ");
  if (operation->outcome != OUTCOME_INFO)
    print_answer(&text, &operation->answer);
  else if (operation->complete_event == NO_EVENT || operation->answer.code == ANSWER_OTHER)
    bytes_append_format(&text, "unknown");
  else
    bytes_append_format(&text, "unknown (%s)", answer_name(operation->answer.code));
  deliver(&text, out, size);
}
