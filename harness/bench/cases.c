#include "harness/bench/cases.h"

#include <stdio.h>
#include <string.h>

static const char *const kind_names[LOAD_KINDS] = {"create", "stat", "list", "rename",
                                                   "delete", "set",  "mixed"};

const char *load_name(enum load_kind kind) {
  return kind_names[kind];
}

const char *case_name(const struct load_case *item, char out[CASE_NAME_SIZE]) {
  const int used =
      snprintf(out, CASE_NAME_SIZE, "%s:%ux%u", load_name(item->kind), item->connections, item->outstanding);
  if (item->names != NAMES_DEFAULT)
    snprintf(out + used, CASE_NAME_SIZE - (size_t)used, ":%u", item->names);
  return out;
}

enum load_kind mixed_kind(unsigned face) {
  return face < 50 ? LOAD_STAT : face < 60 ? LOAD_LIST : face < 85 ? LOAD_CREATE : LOAD_SET;
}

static bool lists(enum load_kind kind) {
  return kind == LOAD_LIST || kind == LOAD_MIXED;
}

/* The number at *at within [1, max], which is moved behind it; 0: none there. */
static unsigned number_at(const char **at, const char *end, unsigned max) {
  unsigned value = 0;
  const char *from = *at;
  while (*at < end && **at >= '0' && **at <= '9' && value <= max)
    value = 10 * value + (unsigned)(*(*at)++ - '0');
  return *at > from && value <= max ? value : 0;
}

static bool skip(const char **at, const char *end, char wanted) {
  if (*at == end || **at != wanted)
    return false;
  ++*at;
  return true;
}

static int kind_at(const char **at, const char *end) {
  for (int kind = 0; kind < LOAD_KINDS; kind++) {
    const size_t size = strlen(kind_names[kind]);
    if ((size_t)(end - *at) > size && memcmp(*at, kind_names[kind], size) == 0 && (*at)[size] == ':') {
      *at += size + 1;
      return kind;
    }
  }
  return -1;
}

static int parse_one(const char *text, size_t size, struct load_case *item, struct error *error) {
  const char *at = text, *end = text + size;
  const int kind = kind_at(&at, end);
  if (kind < 0)
    return error_set(error, ERR_BAD_INPUT,
                     "--case: '%.*s' is none; a case is an operation (create, stat, list, rename, delete, "
                     "set, mixed), connections x outstanding requests on each, as in create:8x32; or all",
                     (int)size, text);
  *item = (struct load_case){.kind = (enum load_kind)kind, .names = NAMES_DEFAULT};
  item->connections = number_at(&at, end, CONNECTIONS_MAX);
  if (item->connections == 0 || !skip(&at, end, 'x'))
    return error_set(error, ERR_BAD_INPUT, "--case: '%.*s' needs 1 to %u connections, as in %s:8x32",
                     (int)size, text, CONNECTIONS_MAX, load_name(item->kind));
  item->outstanding = number_at(&at, end, OUTSTANDING_MAX);
  if (item->outstanding == 0)
    return error_set(error, ERR_BAD_INPUT,
                     "--case: '%.*s' needs 1 to %u requests outstanding on each connection, as in %s:8x32",
                     (int)size, text, OUTSTANDING_MAX, load_name(item->kind));
  if (at < end && lists(item->kind) && skip(&at, end, ':')) {
    item->names = number_at(&at, end, NAMES_MAX);
    if (item->names == 0)
      return error_set(error, ERR_BAD_INPUT,
                       "--case: '%.*s' needs 1 to %u names in a directory, as in %s:8x32:100", (int)size,
                       text, NAMES_MAX, load_name(item->kind));
  }
  if (at < end)
    return error_set(error, ERR_BAD_INPUT,
                     "--case: '%.*s' goes on behind the case ('%.*s'); only list and mixed "
                     "take a number of names, as in list:8x32:100",
                     (int)size, text, (int)(end - at), at);
  return 0;
}

static int add(struct load_case *cases, size_t *count, const struct load_case *item, struct error *error) {
  if (*count == CASES_MAX)
    return error_set(error, ERR_BAD_INPUT,
                     "--case: more than %u cases: measure the others in a run of their own", CASES_MAX);
  cases[(*count)++] = *item;
  return 0;
}

static int add_all(struct load_case *cases, size_t *count, struct error *error) {
  static const unsigned shapes[][2] = {{1, 1}, {64, 1}, {8, 32}, {8, 128}};
  int status = 0;
  for (int kind = 0; kind < LOAD_KINDS; kind++)
    for (size_t i = 0; status == 0 && i < ARRAY_SIZE(shapes); i++)
      status =
          add(cases, count,
              &(struct load_case){(enum load_kind)kind, shapes[i][0], shapes[i][1], NAMES_DEFAULT}, error);
  return status;
}

int cases_parse(const char *text, struct load_case cases[CASES_MAX], size_t *count, struct error *error) {
  *count = 0;
  for (;;) {
    const size_t size = strcspn(text, ",");
    struct load_case item;
    int status;
    if (size == 3 && memcmp(text, "all", 3) == 0) {
      status = add_all(cases, count, error);
    } else {
      status = parse_one(text, size, &item, error);
      if (status == 0)
        status = add(cases, count, &item, error);
    }
    if (status != 0 || text[size] == '\0')
      return status;
    text += size + 1;
  }
}
