#include "checker/verify/verify.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "checker/verify/specification.h"

/* A certificate while it is checked. */
struct check {
  const struct history *history;
  struct verification *verification;
  struct specification *specification;
  bool *placed; /* of each operation */
  uint32_t
      latest_invoke; /* the last invocation of those placed so far, as a position in the order of events */
  uint64_t latest_operation; /* whose that is */
};

static bool refuse(struct check *check, uint64_t index, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Always returns false. */
static bool refuse(struct check *check, uint64_t index, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(check->verification->message, sizeof check->verification->message, format, arguments);
  va_end(arguments);
  check->verification->accepted = false;
  check->verification->index = index;
  return false;
}

/* The position of the operation whose invocation has this index; `count` when there is none. Invocations
 * stand in the order of their indexes. */
static size_t find_operation(const struct history *history, uint64_t index) {
  size_t low = 0, high = history->count;
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (history->operations[middle].invoke_index < index)
      low = middle + 1;
    else
      high = middle;
  }
  return low < history->count && history->operations[low].invoke_index == index ? low : history->count;
}

/* ---- Answers ---- */

static bool entries_fit(const struct answer *recorded, const struct answer *right) {
  if (recorded->entry_count != right->entry_count)
    return false;
  for (size_t i = 0; i < recorded->entry_count; i++) {
    const struct list_entry *a = &recorded->entries[i], *b = &right->entries[i];
    if (!text_equal(a->name, b->name) || (a->has_kind && a->kind != b->kind) ||
        (a->has_creator && a->creator != b->creator))
      return false;
  }
  return true;
}

static bool blocks_fit(const struct answer *recorded, const struct answer *right) {
  if (recorded->block_entry_count != right->block_entry_count)
    return false;
  for (size_t i = 0; i < recorded->block_entry_count; i++) {
    const struct block_entry *a = &recorded->blocks[i], *b = &right->blocks[i];
    if (a->block != b->block || a->committed != b->committed || (a->committed && a->length != b->length))
      return false;
  }
  return true;
}

/* Every member that the client saw is as the specification says; what it did not see may be anything. */
static bool answer_fits(const struct answer *recorded, const struct answer *right) {
  const unsigned seen = recorded->seen;
  if (recorded->code != right->code || (seen & ~right->seen) != 0)
    return false;
  if (((seen & SEEN_CREATOR) && recorded->creator != right->creator) ||
      ((seen & SEEN_VERSION) && recorded->version != right->version) ||
      ((seen & SEEN_KIND) && recorded->inode_kind != right->inode_kind) ||
      ((seen & SEEN_VALUE) && !text_equal(recorded->value, right->value)) ||
      ((seen & SEEN_COMPLETED) && recorded->completed != right->completed) ||
      ((seen & SEEN_LENGTH) && recorded->length != right->length) ||
      ((seen & SEEN_BLOCK_COUNT) && recorded->block_count != right->block_count) ||
      ((seen & SEEN_CHILD_COUNT) && recorded->child_count != right->child_count) ||
      ((seen & SEEN_EXISTS) && recorded->exists != right->exists) ||
      ((seen & SEEN_BLOCK) && recorded->block != right->block) ||
      ((seen & SEEN_AT) && recorded->at != right->at))
    return false;
  if ((seen & SEEN_ENTRIES) && !entries_fit(recorded, right))
    return false;
  if ((seen & SEEN_BLOCKS) && !blocks_fit(recorded, right))
    return false;
  if (!(seen & SEEN_ANSWERS))
    return true;
  for (size_t i = 0; i < recorded->item_count; i++)
    if (i >= right->item_count || !answer_fits(&recorded->items[i], &right->items[i]))
      return false;
  return recorded->item_count == right->item_count;
}

/* An ok, or an error that observed the state: its answer is known and must be right. */
static bool is_definite(const struct operation *operation) {
  return operation->outcome == OUTCOME_OK ||
         (operation->outcome == OUTCOME_FAIL && answer_is_observation(operation->answer.code));
}

/* ---- The steps ---- */

static bool keeps_real_time(struct check *check, const struct operation *operation) {
  if (operation->complete_event != NO_EVENT && is_definite(operation) && check->latest_invoke != NO_EVENT &&
      operation->complete_event < check->latest_invoke)
    return refuse(check, operation->invoke_index,
                  "the operation of index %" PRIu64 " completed before that of index %" PRIu64
                  " was invoked, but stands behind it",
                  operation->invoke_index, check->latest_operation);
  if (check->latest_invoke == NO_EVENT || operation->invoke_event > check->latest_invoke) {
    check->latest_invoke = operation->invoke_event;
    check->latest_operation = operation->invoke_index;
  }
  return true;
}

static bool gives_the_answer(struct check *check, const struct operation *operation) {
  struct answer right;
  specification_execute(check->specification, &operation->arguments, operation->op_id, &right);
  check->verification->executed++;
  if (!is_definite(operation) || answer_fits(&operation->answer, &right))
    return true;
  char recorded[400], specified[400];
  operation_print(operation, recorded, sizeof recorded);
  answer_print(operation->arguments.kind, &right, specified, sizeof specified);
  return refuse(check, operation->invoke_index,
                "the operation of index %" PRIu64 " is recorded as: %s; executed here it answers: %s",
                operation->invoke_index, recorded, specified);
}

static bool place(struct check *check, uint64_t index) {
  const size_t position = find_operation(check->history, index);
  if (position == check->history->count)
    return refuse(check, index, "no invocation of the history has index %" PRIu64, index);
  if (check->placed[position])
    return refuse(check, index, "the operation of index %" PRIu64 " stands twice", index);
  check->placed[position] = true;
  const struct operation *operation = &check->history->operations[position];
  if (operation->outcome == OUTCOME_FAIL && !is_definite(operation))
    return true;
  return keeps_real_time(check, operation) && gives_the_answer(check, operation);
}

/* One line: a number, a comment or nothing. Returns 0 or ERR_BAD_INPUT; `*accepted` becomes false on a
 * refusal. */
static int read_line(struct check *check, const char *name, uint64_t number, struct text line, bool *accepted,
                     struct error *error) {
  const char *at = line.data, *end = line.data + line.size;
  while (at < end && isspace((unsigned char)*at))
    at++;
  if (at == end || *at == '#')
    return 0;
  uint64_t index = 0;
  bool good = isdigit((unsigned char)*at);
  for (; at < end && isdigit((unsigned char)*at); at++) {
    const uint64_t digit = (uint64_t)(*at - '0');
    good &= index <= (UINT64_MAX - digit) / 10;
    index = index * 10 + digit;
  }
  while (at < end && isspace((unsigned char)*at))
    at++;
  if (!good || at < end)
    return error_set(error, ERR_BAD_INPUT,
                     "%s:%" PRIu64
                     ": not the index of an invocation; a certificate has one number a line, and "
                     "comments that begin with #",
                     name, number);
  check->verification->line = number;
  *accepted = place(check, index);
  return 0;
}

static bool everything_is_placed(struct check *check) {
  check->verification->line = 0;
  for (size_t i = 0; i < check->history->count; i++) {
    const struct operation *operation = &check->history->operations[i];
    if (check->placed[i] || !is_definite(operation))
      continue;
    char text[400];
    operation_print(operation, text, sizeof text);
    return refuse(check, operation->invoke_index, "the operation of index %" PRIu64 " is missing: %s",
                  operation->invoke_index, text);
  }
  return true;
}

int verify_certificate(const struct history *history, const char *name, struct text text,
                       struct verification *verification, struct error *error) {
  *verification = (struct verification){0};
  struct check check = {.history = history,
                        .verification = verification,
                        .specification = specification_new(),
                        .placed = xcalloc(history->count + 1, sizeof(bool)),
                        .latest_invoke = NO_EVENT};
  const char *at = text.data, *end = text.data + text.size;
  bool accepted = true;
  int result = 0;
  for (uint64_t number = 1; at < end && accepted && result == 0; number++) {
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    const size_t size = (size_t)((newline ? newline : end) - at);
    result = read_line(&check, name, number, (struct text){at, size}, &accepted, error);
    at += size + 1;
  }
  if (result == 0 && accepted)
    verification->accepted = everything_is_placed(&check);
  specification_free(check.specification);
  free(check.placed);
  return result;
}
