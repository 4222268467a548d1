/* names.c: the words of a history: operations, answer codes. */
#include <assert.h>
#include <string.h>

#include "histories/histories.h"

#define NAME(literal)                                                                                        \
  { literal, sizeof(literal) - 1 }

static const struct text operation_names[OPERATION_KINDS] = {
    [OPERATION_MKDIR] = NAME("mkdir"),         [OPERATION_CREATE] = NAME("create"),
    [OPERATION_COMPLETE] = NAME("complete"),   [OPERATION_DELETE] = NAME("delete"),
    [OPERATION_RENAME] = NAME("rename"),       [OPERATION_SET] = NAME("set"),
    [OPERATION_ADD_BLOCK] = NAME("add-block"), [OPERATION_COMMIT_BLOCK] = NAME("commit-block"),
    [OPERATION_STAT] = NAME("stat"),           [OPERATION_LIST] = NAME("list"),
    [OPERATION_EXISTS] = NAME("exists"),       [OPERATION_BLOCKS] = NAME("blocks"),
    [OPERATION_BATCH] = NAME("batch"),
};

static const struct text answer_names[ANSWER_CODES] = {
    [ANSWER_OK] = NAME("ok"),
    [ANSWER_INVALID] = NAME("invalid"),
    [ANSWER_NOT_FOUND] = NAME("not-found"),
    [ANSWER_NOT_DIRECTORY] = NAME("not-directory"),
    [ANSWER_IS_DIRECTORY] = NAME("is-directory"),
    [ANSWER_EXISTS] = NAME("exists"),
    [ANSWER_NOT_EMPTY] = NAME("not-empty"),
    [ANSWER_ALREADY_COMPLETED] = NAME("already-completed"),
    [ANSWER_BLOCK_UNCOMMITTED] = NAME("block-uncommitted"),
    [ANSWER_VERSION_MISMATCH] = NAME("version-mismatch"),
    [ANSWER_NOT_PRIMARY] = NAME("not-primary"),
    [ANSWER_OVERLOADED] = NAME("overloaded"),
    [ANSWER_REFUSED] = NAME("refused"),
    [ANSWER_TIMEOUT] = NAME("timeout"),
    [ANSWER_CONNECTION_LOST] = NAME("connection-lost"),
    [ANSWER_UNAVAILABLE] = NAME("unavailable"),
    [ANSWER_OTHER] = NAME("other"),
};

static int find(const struct text *names, int count, struct text name) {
  for (int i = 0; i < count; i++)
    if (names[i].size == name.size && memcmp(names[i].data, name.data, name.size) == 0)
      return i;
  return -1;
}

const char *operation_name(enum operation_kind kind) {
  return (unsigned)kind < OPERATION_KINDS ? operation_names[kind].data : NULL;
}

int operation_kind_of(struct text name) {
  return find(operation_names, OPERATION_KINDS, name);
}

bool operation_is_mutation(enum operation_kind kind) {
  return kind != OPERATION_STAT && kind != OPERATION_LIST && kind != OPERATION_EXISTS &&
         kind != OPERATION_BLOCKS;
}

const char *answer_name(enum answer_code code) {
  assert((unsigned)code < ANSWER_CODES);
  return answer_names[code].data;
}

int answer_code_of(struct text name) {
  return find(answer_names, ANSWER_CODES, name);
}

struct text text_of(const char *string) {
  return (struct text){string, string ? strlen(string) : 0};
}

bool text_equal(struct text a, struct text b) {
  if (!a.data || !b.data)
    return !a.data && !b.data;
  return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}
