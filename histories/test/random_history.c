#include "histories/test/random_history.h"

#include <criterion/criterion.h>
#include <unistd.h>

#define PROCESSES 5

static struct text random_text(struct random *random, struct history *history, size_t most) {
  static const char *const pieces[] = {
      "a",    "b",      "/",    ".",    " ",        "\"",           "\\",
      "\n",   "\t",     "\x01", "\x7f", "\xC3\xA4", "\xE2\x82\xAC", "\xF0\x9F\x90\x99",
      "name", "\\u0041"};
  struct bytes text = {0};
  const size_t count = random_below(random, most + 1);
  for (size_t i = 0; i < count; i++) {
    const char *piece = pieces[random_below(random, ARRAY_SIZE(pieces))];
    bytes_append(&text, piece, strlen(piece));
  }
  if (random_chance(random, 0.02))
    bytes_append(&text, "\0", 1);
  struct text copy = history_text(history, text.data ? (char *)text.data : "", text.size);
  bytes_free(&text);
  return copy;
}

static uint64_t random_number(struct random *random) {
  return random_next(random) >> random_below(random, 64);
}

static void random_arguments(struct random *random, struct history *history, enum operation_kind kind,
                             struct arguments *arguments);

static void random_items(struct random *random, struct history *history, struct arguments *arguments) {
  static const enum operation_kind kinds[] = {OPERATION_MKDIR,       OPERATION_CREATE, OPERATION_COMPLETE,
                                              OPERATION_DELETE,      OPERATION_RENAME, OPERATION_SET,
                                              OPERATION_COMMIT_BLOCK};
  arguments->item_count = random_below(random, 4);
  arguments->items = history_allocate(history, arguments->item_count * sizeof *arguments->items);
  for (size_t i = 0; i < arguments->item_count; i++)
    random_arguments(random, history, kinds[random_below(random, ARRAY_SIZE(kinds))], &arguments->items[i]);
}

static void random_arguments(struct random *random, struct history *history, enum operation_kind kind,
                             struct arguments *arguments) {
  *arguments = (struct arguments){.kind = kind};
  if (kind != OPERATION_COMMIT_BLOCK && kind != OPERATION_BATCH)
    arguments->path = random_text(random, history, 12);
  switch (kind) {
  case OPERATION_MKDIR:
    arguments->parents = random_chance(random, 0.5);
    arguments->exist_ok = random_chance(random, 0.5);
    break;
  case OPERATION_CREATE:
    arguments->parents = random_chance(random, 0.5);
    arguments->overwrite = random_chance(random, 0.5);
    break;
  case OPERATION_COMPLETE:
    arguments->length = random_number(random);
    break;
  case OPERATION_DELETE:
    arguments->recursive = random_chance(random, 0.5);
    break;
  case OPERATION_RENAME:
    arguments->destination = random_text(random, history, 12);
    break;
  case OPERATION_SET:
    arguments->value = random_text(random, history, 5);
    arguments->has_if_version = random_chance(random, 0.5);
    arguments->if_version = arguments->has_if_version ? random_number(random) : 0;
    break;
  case OPERATION_COMMIT_BLOCK:
    arguments->length = random_number(random);
    arguments->block = random_number(random);
    arguments->worker = random_number(random);
    break;
  case OPERATION_BATCH:
    random_items(random, history, arguments);
    break;
  default:
    break;
  }
}

static void random_entries(struct random *random, struct history *history, struct answer *answer) {
  answer->entry_count = random_below(random, 4);
  answer->entries = history_allocate(history, answer->entry_count * sizeof *answer->entries);
  for (size_t i = 0; i < answer->entry_count; i++) {
    struct list_entry *entry = &answer->entries[i];
    *entry = (struct list_entry){.name = random_text(random, history, 3),
                                 .has_kind = random_chance(random, 0.8),
                                 .has_creator = random_chance(random, 0.8)};
    if (entry->has_kind && random_chance(random, 0.5))
      entry->kind = INODE_FILE;
    if (entry->has_creator)
      entry->creator = random_number(random);
  }
}

static void random_blocks(struct random *random, struct history *history, struct answer *answer) {
  answer->block_entry_count = random_below(random, 4);
  answer->blocks = history_allocate(history, answer->block_entry_count * sizeof *answer->blocks);
  for (size_t i = 0; i < answer->block_entry_count; i++) {
    const bool committed = random_chance(random, 0.5);
    answer->blocks[i] = (struct block_entry){.block = random_number(random),
                                             .committed = committed,
                                             .length = committed ? random_number(random) : 0};
  }
}

static const unsigned members_of[OPERATION_KINDS] = {
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
};

static void random_answer(struct random *random, struct history *history, const struct arguments *asked,
                          struct answer *answer) {
  *answer = (struct answer){.seen = members_of[asked->kind] & (unsigned)random_next(random)};
  const unsigned seen = answer->seen;
  answer->creator = seen & SEEN_CREATOR ? random_number(random) : 0;
  answer->version = seen & SEEN_VERSION ? random_number(random) : 0;
  answer->inode_kind = seen & SEEN_KIND && random_chance(random, 0.5) ? INODE_FILE : INODE_DIRECTORY;
  if (seen & SEEN_VALUE)
    answer->value = random_text(random, history, 4);
  answer->completed = seen & SEEN_COMPLETED && random_chance(random, 0.5);
  answer->length = seen & SEEN_LENGTH ? random_number(random) : 0;
  answer->block_count = seen & SEEN_BLOCK_COUNT ? random_number(random) : 0;
  answer->child_count = seen & SEEN_CHILD_COUNT ? random_number(random) : 0;
  answer->exists = seen & SEEN_EXISTS && random_chance(random, 0.5);
  answer->block = seen & SEEN_BLOCK ? random_number(random) : 0;
  if (seen & SEEN_ENTRIES)
    random_entries(random, history, answer);
  if (seen & SEEN_BLOCKS)
    random_blocks(random, history, answer);
  if (asked->kind != OPERATION_BATCH)
    return;
  answer->seen |= SEEN_ANSWERS;
  answer->item_count = asked->item_count;
  answer->items = history_allocate(history, answer->item_count * sizeof *answer->items);
  for (size_t i = 0; i < answer->item_count; i++)
    random_answer(random, history, &asked->items[i], &answer->items[i]);
}

static void random_completion(struct random *random, struct history *history, size_t position,
                              int64_t time_ns, bool *ended) {
  struct answer answer = {0};
  const double draw = random_unit(random);
  *ended = draw < 0.1;
  if (*ended) {
    answer.code = (enum answer_code)random_between(random, ANSWER_TIMEOUT, ANSWER_OTHER);
    history_complete(history, position, OUTCOME_INFO, &answer, time_ns);
  } else if (draw < 0.4) {
    answer.code = (enum answer_code)random_between(random, ANSWER_INVALID, ANSWER_REFUSED);
    if (answer.code == ANSWER_VERSION_MISMATCH && random_chance(random, 0.8)) {
      answer.seen = SEEN_VERSION;
      answer.version = random_number(random);
    }
    if (history->operations[position].arguments.kind == OPERATION_BATCH && random_chance(random, 0.8)) {
      answer.seen |= SEEN_AT;
      answer.at = random_number(random);
    }
    history_complete(history, position, OUTCOME_FAIL, &answer, time_ns);
  } else {
    random_answer(random, history, &history->operations[position].arguments, &answer);
    history_complete(history, position, OUTCOME_OK, &answer, time_ns);
  }
  struct operation *operation = &history->operations[position];
  if (random_chance(random, 0.5)) {
    operation->node = (int32_t)random_below(random, 5);
    operation->term = random_number(random);
    operation->commit = random_number(random);
  }
}

struct history *random_history(uint64_t seed, size_t operations) {
  struct random random;
  random_seed(&random, seed);
  struct history *history = history_new();
  int64_t process[PROCESSES], time_ns = random_between(&random, -5, 1000), next_process = PROCESSES;
  size_t open[PROCESSES];
  bool is_open[PROCESSES] = {false};
  for (int i = 0; i < PROCESSES; i++)
    process[i] = i - 1;
  while (history->count < operations) {
    const size_t who = random_below(&random, PROCESSES);
    time_ns += (int64_t)random_below(&random, 3);
    if (is_open[who]) {
      bool ended;
      random_completion(&random, history, open[who], time_ns, &ended);
      is_open[who] = false;
      if (ended)
        process[who] = next_process++ * INT64_C(1000003);
      continue;
    }
    struct arguments arguments;
    const enum operation_kind kind = (enum operation_kind)random_below(&random, OPERATION_KINDS);
    random_arguments(&random, history, kind, &arguments);
    const uint64_t op_id = operation_is_mutation(kind) ? (history->count + 1) * UINT64_C(7919) : 0;
    open[who] = history_invoke(history, process[who], op_id, &arguments, time_ns);
    is_open[who] = true;
  }
  return history;
}

static void assert_text_equal(struct text a, struct text b, size_t i) {
  cr_assert(text_equal(a, b), "operation %zu: \"%.*s\" and \"%.*s\"", i, (int)a.size, a.data, (int)b.size,
            b.data);
  cr_assert(!b.data || b.data[b.size] == '\0');
}

static void assert_arguments_equal(const struct arguments *a, const struct arguments *b, size_t i) {
  assert_text_equal(a->path, b->path, i);
  assert_text_equal(a->destination, b->destination, i);
  assert_text_equal(a->value, b->value, i);
  cr_assert(a->kind == b->kind && a->parents == b->parents && a->exist_ok == b->exist_ok &&
                a->overwrite == b->overwrite && a->recursive == b->recursive &&
                a->has_if_version == b->has_if_version && a->if_version == b->if_version &&
                a->length == b->length && a->block == b->block && a->worker == b->worker &&
                a->item_count == b->item_count,
            "operation %zu", i);
  for (size_t item = 0; item < a->item_count; item++)
    assert_arguments_equal(&a->items[item], &b->items[item], i);
}

static void assert_answers_equal(const struct answer *a, const struct answer *b, size_t i) {
  assert_text_equal(a->value, b->value, i);
  cr_assert(a->code == b->code && a->seen == b->seen && a->creator == b->creator &&
                a->version == b->version && a->inode_kind == b->inode_kind && a->completed == b->completed &&
                a->length == b->length && a->block_count == b->block_count &&
                a->child_count == b->child_count && a->exists == b->exists && a->block == b->block &&
                a->at == b->at && a->entry_count == b->entry_count &&
                a->block_entry_count == b->block_entry_count && a->item_count == b->item_count,
            "operation %zu", i);
  for (size_t entry = 0; entry < a->entry_count; entry++) {
    const struct list_entry *left = &a->entries[entry], *right = &b->entries[entry];
    assert_text_equal(left->name, right->name, i);
    cr_assert(left->has_kind == right->has_kind && left->kind == right->kind &&
                  left->has_creator == right->has_creator && left->creator == right->creator,
              "operation %zu, entry %zu", i, entry);
  }
  for (size_t block = 0; block < a->block_entry_count; block++)
    cr_assert(a->blocks[block].block == b->blocks[block].block &&
                  a->blocks[block].length == b->blocks[block].length &&
                  a->blocks[block].committed == b->blocks[block].committed,
              "operation %zu, block %zu", i, block);
  for (size_t item = 0; item < a->item_count; item++)
    assert_answers_equal(&a->items[item], &b->items[item], i);
}

void assert_histories_equal(const struct history *a, const struct history *b) {
  cr_assert_eq(a->count, b->count);
  cr_assert_eq(a->event_count, b->event_count);
  cr_assert(text_equal(a->model, b->model));
  cr_assert_eq(a->nemesis_count, b->nemesis_count);
  for (size_t i = 0; i < a->count; i++) {
    const struct operation *left = &a->operations[i], *right = &b->operations[i];
    assert_arguments_equal(&left->arguments, &right->arguments, i);
    assert_answers_equal(&left->answer, &right->answer, i);
    cr_assert(
        left->outcome == right->outcome && left->process == right->process && left->op_id == right->op_id &&
            left->invoke_time_ns == right->invoke_time_ns &&
            left->complete_time_ns == right->complete_time_ns && left->invoke_event == right->invoke_event &&
            left->complete_event == right->complete_event && left->invoke_index == right->invoke_index &&
            left->complete_index == right->complete_index && left->commit == right->commit &&
            left->term == right->term && left->node == right->node,
        "operation %zu", i);
  }
  for (size_t i = 0; i < a->nemesis_count; i++) {
    const struct nemesis_event *left = &a->nemesis[i], *right = &b->nemesis[i];
    cr_assert(left->time_ns == right->time_ns && left->index == right->index && left->start == right->start &&
                  text_equal(left->f, right->f) && text_equal(left->text, right->text),
              "nemesis event %zu", i);
  }
}

const char *temporary_path(const char *name) {
  static char path[300];
  const char *directory = getenv("TMPDIR");
  snprintf(path, sizeof path, "%s/assay-histories-%ld-%s", directory ? directory : "/tmp", (long)getpid(),
           name);
  return path;
}
