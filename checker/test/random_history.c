#include "checker/test/random_history.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checker/test/naive.h"

#define CLIENTS_MAX 4
#define OPERATIONS_MAX 12

/* What a run draws from, drawn itself: narrow choices make conflicts, wide ones make variety. */
struct taste {
  size_t clients, operations;
  size_t path_count;
  const char *paths[8];
  uint32_t weights[OPERATION_KINDS];
  uint64_t values; /* how many different ones */
  double unknown, refused, absent, perturbed;
  double unknown_effect; /* of unknown ones that do take effect */
  double insist;         /* to draw again what would fail on the server as it is */
  double linger;         /* to leave a client alone at its turn: makes operations overlap more */
  bool noise;            /* answers are made up altogether */
};

struct maker {
  struct random random;
  struct taste taste;
  struct history *history;
  uint64_t next_op_id;
  uint64_t blocks[OPERATIONS_MAX];
  size_t block_count;
  char text[64];
  char value[16];
  char destination[64];
  struct arguments items[3];
};

static const char *const paths[] = {"/a",   "/a/f", "/a/g", "/b", "/b/f", "/a/d", "/a/d/f", "/f",
                                    "/b/d", "/",    "/a//", "",   "/c",   "/a/.", "/b/g",   "/a/d/g"};

static uint64_t below(struct maker *maker, uint64_t bound) {
  return random_below(&maker->random, bound);
}

static bool chance(struct maker *maker, double probability) {
  return random_chance(&maker->random, probability);
}

static struct text draw_path(struct maker *maker) {
  return text_of(maker->taste.paths[below(maker, maker->taste.path_count)]);
}

static enum operation_kind draw_kind(struct maker *maker, bool item) {
  while (true) {
    uint64_t total = 0;
    for (int i = 0; i < OPERATION_KINDS; i++)
      total += maker->taste.weights[i];
    uint64_t at = below(maker, total);
    int kind = 0;
    while (at >= maker->taste.weights[kind])
      at -= maker->taste.weights[kind++];
    const bool mutation = operation_is_mutation((enum operation_kind)kind);
    if (!item || (mutation && kind != OPERATION_ADD_BLOCK && kind != OPERATION_BATCH))
      return (enum operation_kind)kind;
    if (chance(maker, 0.05))
      return OPERATION_MKDIR;
  }
}

static struct text value_of(struct maker *maker, uint64_t number) {
  char value[16];
  const int size = number == 0 ? 0 : snprintf(value, sizeof value, "v%" PRIu64, number);
  return history_text(maker->history, value, (size_t)size);
}

static void draw_arguments(struct maker *maker, struct arguments *asked, bool item) {
  *asked = (struct arguments){.kind = draw_kind(maker, item)};
  asked->path = draw_path(maker);
  asked->parents = chance(maker, 0.2);
  asked->exist_ok = chance(maker, 0.3);
  asked->overwrite = chance(maker, 0.2);
  asked->recursive = chance(maker, 0.4);
  switch (asked->kind) {
  case OPERATION_RENAME:
    asked->destination = draw_path(maker);
    break;
  case OPERATION_SET:
    asked->value = value_of(maker, below(maker, maker->taste.values));
    asked->has_if_version = chance(maker, 0.2);
    asked->if_version = asked->has_if_version ? 1 + below(maker, 3) : 0;
    break;
  case OPERATION_COMPLETE:
    asked->length = below(maker, 3);
    break;
  case OPERATION_COMMIT_BLOCK:
    asked->block =
        maker->block_count > 0 && chance(maker, 0.95) ? maker->blocks[below(maker, maker->block_count)] : 99;
    asked->length = 1 + below(maker, 2);
    break;
  case OPERATION_BATCH:
    asked->item_count = below(maker, 4);
    asked->items = maker->items;
    for (size_t i = 0; i < asked->item_count; i++)
      draw_arguments(maker, &maker->items[i], true);
    asked->path = (struct text){0};
    break;
  default:
    break;
  }
}

static void draw_taste(struct maker *maker) {
  struct taste *taste = &maker->taste;
  taste->clients = 2 + below(maker, CLIENTS_MAX - 1);
  taste->operations = 4 + below(maker, OPERATIONS_MAX - 3);
  taste->path_count = 1 + below(maker, ARRAY_SIZE(taste->paths));
  const bool near = chance(maker, 0.7); /* the first few paths of the table are closely related */
  for (size_t i = 0; i < taste->path_count; i++)
    taste->paths[i] = i == 0 ? "/a" : paths[below(maker, near ? 7 : ARRAY_SIZE(paths))];
  for (int i = 0; i < OPERATION_KINDS; i++)
    taste->weights[i] = chance(maker, 0.3) ? 0 : 1 + (uint32_t)below(maker, 4);
  taste->weights[OPERATION_MKDIR] += 3;
  taste->weights[OPERATION_CREATE] += 1;
  taste->values = chance(maker, 0.5) ? 3 : 100;
  const double some[] = {0, 0, 0.1, 0.3};
  taste->unknown = some[below(maker, 4)];
  taste->refused = some[below(maker, 4)] / 3;
  taste->absent = some[below(maker, 4)];
  taste->perturbed = some[below(maker, 4)];
  taste->unknown_effect = (double)below(maker, 3) / 2;
  taste->insist = chance(maker, 0.3) ? 0 : 0.9;
  taste->linger = chance(maker, 0.5) ? 0 : 0.5;
  taste->noise = chance(maker, 0.1);
}

/* ---- Changing answers ---- */

static uint64_t draw_creator(struct maker *maker) {
  return below(maker, maker->next_op_id + 1);
}

static void drop_members(struct maker *maker, struct answer *answer) {
  for (unsigned bit = 1; bit <= SEEN_ANSWERS; bit <<= 1)
    if (chance(maker, maker->taste.absent))
      answer->seen &= ~bit;
  for (size_t i = 0; i < answer->entry_count; i++) {
    answer->entries[i].has_creator &= !chance(maker, maker->taste.absent);
    answer->entries[i].has_kind &= !chance(maker, maker->taste.absent);
  }
}

static void change_entries(struct maker *maker, struct answer *answer) {
  if (answer->entry_count == 0)
    return;
  const size_t at = below(maker, answer->entry_count);
  if (chance(maker, 0.4)) {
    answer->entries[at].creator = draw_creator(maker);
  } else if (chance(maker, 0.3)) {
    answer->entries[at].kind = answer->entries[at].kind == INODE_FILE ? INODE_DIRECTORY : INODE_FILE;
  } else {
    memmove(&answer->entries[at], &answer->entries[at + 1],
            (answer->entry_count - at - 1) * sizeof *answer->entries);
    answer->entry_count--;
  }
}

static void change_answer(struct maker *maker, struct answer *answer) {
  switch (below(maker, 9)) {
  case 0:
    answer->version += below(maker, 2) == 0 ? 1 : (uint64_t)-1;
    break;
  case 1:
    answer->creator = draw_creator(maker);
    break;
  case 2:
    answer->value = value_of(maker, below(maker, maker->taste.values));
    break;
  case 3:
    answer->exists = !answer->exists;
    break;
  case 4:
    answer->completed = !answer->completed;
    answer->at += below(maker, 2);
    break;
  case 5:
    answer->child_count = below(maker, 3);
    break;
  case 6:
    change_entries(maker, answer);
    break;
  case 7:
    if (answer->block_entry_count > 0) {
      answer->blocks[0].committed = !answer->blocks[0].committed;
      answer->blocks[0].length = answer->blocks[0].committed ? 1 : 0;
    }
    break;
  default:
    answer->inode_kind = answer->inode_kind == INODE_FILE ? INODE_DIRECTORY : INODE_FILE;
    break;
  }
}

/* Any error, or a success with members drawn from what is around. */
static void make_up_answer(struct maker *maker, const struct arguments *asked, struct answer *answer) {
  naive_answer_free(answer);
  *answer = (struct answer){0};
  if (chance(maker, 0.5)) {
    answer->code = (enum answer_code)(ANSWER_INVALID + below(maker, ANSWER_VERSION_MISMATCH));
    answer->version = 1 + below(maker, 3);
    answer->at = below(maker, 3);
    answer->seen = answer->code == ANSWER_VERSION_MISMATCH ? SEEN_VERSION : 0;
    answer->seen |= asked->kind == OPERATION_BATCH && chance(maker, 0.7) ? SEEN_AT : 0;
    return;
  }
  answer->seen = (unsigned)below(maker, 1 << 14) & ~(unsigned)(SEEN_ANSWERS | SEEN_ENTRIES | SEEN_BLOCKS);
  answer->creator = draw_creator(maker);
  answer->version = 1 + below(maker, 4);
  answer->inode_kind = chance(maker, 0.5) ? INODE_FILE : INODE_DIRECTORY;
  answer->value = value_of(maker, below(maker, maker->taste.values));
  answer->exists = chance(maker, 0.5);
  answer->child_count = below(maker, 3);
  answer->block = draw_creator(maker);
}

/* ---- A run ---- */

enum stage { STAGE_IDLE, STAGE_ASKED, STAGE_ANSWERED };

struct client {
  enum stage stage;
  size_t position;
  struct answer answer;
  int64_t process;
};

static void take_effect(struct maker *maker, struct naive_tree *server, struct client *client) {
  const struct operation *operation = &maker->history->operations[client->position];
  naive_execute(server, &operation->arguments, operation->op_id, &client->answer);
  client->stage = STAGE_ANSWERED;
}

/* Texts of an answer must outlive the server's next change. */
static void keep_texts(struct maker *maker, struct answer *answer) {
  answer->value = history_text(maker->history, answer->value.data, answer->value.size);
  for (size_t i = 0; i < answer->entry_count; i++)
    answer->entries[i].name =
        history_text(maker->history, answer->entries[i].name.data, answer->entries[i].name.size);
}

static void complete(struct maker *maker, struct client *client) {
  const struct arguments *asked = &maker->history->operations[client->position].arguments;
  if (maker->taste.noise && chance(maker, 0.5))
    make_up_answer(maker, asked, &client->answer);
  for (int i = 0; i < 2; i++)
    if (chance(maker, maker->taste.perturbed))
      change_answer(maker, &client->answer);
  if (chance(maker, maker->taste.perturbed / 4))
    make_up_answer(maker, asked, &client->answer);
  drop_members(maker, &client->answer);
  const enum outcome outcome = client->answer.code == ANSWER_OK ? OUTCOME_OK : OUTCOME_FAIL;
  history_complete(maker->history, client->position, outcome, &client->answer, 0);
  naive_answer_free(&client->answer);
  client->stage = STAGE_IDLE;
}

static void lose(struct maker *maker, struct client *client, enum outcome outcome, enum answer_code code) {
  if (client->stage == STAGE_ANSWERED)
    naive_answer_free(&client->answer);
  const struct answer lost = {.code = code};
  history_complete(maker->history, client->position, outcome, &lost, 0);
  client->stage = STAGE_IDLE;
  client->process += CLIENTS_MAX;
}

static bool would_fail(const struct naive_tree *server, const struct arguments *asked) {
  struct naive_tree *copy = naive_tree_copy(server);
  struct answer answer;
  naive_execute(copy, asked, UINT64_MAX, &answer);
  const bool fails = answer.code != ANSWER_OK;
  naive_answer_free(&answer);
  naive_tree_free(copy);
  return fails;
}

static void ask(struct maker *maker, const struct naive_tree *server, struct client *client) {
  struct arguments asked;
  draw_arguments(maker, &asked, false);
  for (int i = 0; i < 8 && would_fail(server, &asked) && chance(maker, maker->taste.insist); i++)
    draw_arguments(maker, &asked, false);
  const uint64_t op_id = maker->next_op_id++;
  client->position = history_invoke(maker->history, client->process, op_id, &asked, 0);
  client->stage = STAGE_ASKED;
  if (asked.kind == OPERATION_ADD_BLOCK)
    maker->blocks[maker->block_count++] = op_id;
}

static void step(struct maker *maker, struct naive_tree *server, struct client *client) {
  if (client->stage != STAGE_IDLE && chance(maker, maker->taste.linger))
    return;
  switch (client->stage) {
  case STAGE_IDLE:
    if (maker->history->count < maker->taste.operations)
      ask(maker, server, client);
    return;
  case STAGE_ASKED:
    if (chance(maker, maker->taste.refused)) {
      lose(maker, client, OUTCOME_FAIL, ANSWER_NOT_PRIMARY);
    } else if (chance(maker, maker->taste.unknown) && !chance(maker, maker->taste.unknown_effect)) {
      lose(maker, client, OUTCOME_INFO, ANSWER_TIMEOUT);
    } else {
      take_effect(maker, server, client);
      keep_texts(maker, &client->answer);
    }
    return;
  case STAGE_ANSWERED:
    if (chance(maker, maker->taste.unknown))
      lose(maker, client, OUTCOME_INFO, ANSWER_CONNECTION_LOST);
    else
      complete(maker, client);
    return;
  }
}

struct history *random_history(uint64_t seed) {
  struct maker maker = {.history = history_new(), .next_op_id = 1};
  random_seed(&maker.random, seed);
  draw_taste(&maker);
  struct naive_tree *server = naive_tree_new();
  struct client clients[CLIENTS_MAX] = {0};
  for (size_t i = 0; i < CLIENTS_MAX; i++)
    clients[i].process = (int64_t)i;
  for (int i = 0; i < 200; i++)
    step(&maker, server, &clients[below(&maker, maker.taste.clients)]);
  for (size_t i = 0; i < CLIENTS_MAX; i++)
    if (clients[i].stage == STAGE_ANSWERED)
      naive_answer_free(&clients[i].answer);
  naive_tree_free(server);
  return maker.history;
}

void random_history_print(const struct history *history) {
  for (uint32_t event = 0; event < history->event_count; event++) {
    for (size_t i = 0; i < history->count; i++) {
      const struct operation *operation = &history->operations[i];
      char line[400];
      operation_print(operation, line, sizeof line);
      if (operation->invoke_event == event)
        fprintf(stderr, "%3" PRIu32 " invoke %zu (op %" PRIu64 ")\n", event, i, operation->op_id);
      if (operation->complete_event == event)
        fprintf(stderr, "%3" PRIu32 " done   %zu: %s\n", event, i, line);
      else if (operation->invoke_event == event && operation->complete_event == NO_EVENT)
        fprintf(stderr, "           %zu: %s\n", i, line);
    }
  }
}
