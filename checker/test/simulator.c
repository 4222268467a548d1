#include "checker/test/simulator.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checker/test/naive.h"

enum stage { STAGE_IDLE, STAGE_ASKED, STAGE_ANSWERED };

struct client {
  enum stage stage;
  size_t position;
  struct answer answer;
  int64_t process;
};

struct world {
  const struct simulation *simulation;
  struct random random;
  struct history *history;
  struct naive_tree *server, *old;
  struct client *clients;
  uint64_t next_op_id;
  bool defect_done;
  /* The built-in workload. */
  char path[64], destination[64], value[32];
  /* A mutation to be done a second time, or done and refused. */
  size_t again;
  bool again_due;
  int64_t again_countdown;
  char *ghost; /* a path that was removed */
};

const char *defect_name(enum defect defect) {
  static const char *const names[] = {"none",       "stale-read",  "lost-write", "duplicate",
                                      "dirty-read", "half-delete", "ghost",      "local-reads"};
  return names[defect];
}

/* ---- The built-in workload: everything, over few names ---- */

static struct text draw_name(struct world *world, char *room, size_t size) {
  const struct simulation *simulation = world->simulation;
  const size_t set = world->history->count / simulation->rotation;
  const uint64_t directory = random_below(&world->random, 4);
  const int length = snprintf(room, size, "/w%zu/d%" PRIu64 "/f%" PRIu64, set, directory,
                              random_below(&world->random, simulation->files));
  return (struct text){room, (size_t)length};
}

static struct text draw_directory(struct world *world, char *room, size_t size) {
  const size_t set = world->history->count / world->simulation->rotation;
  const int length = snprintf(room, size, "/w%zu/d%" PRIu64, set, random_below(&world->random, 4));
  return (struct text){room, (size_t)length};
}

static void draw_mixed(struct world *world, struct arguments *asked) {
  static const enum operation_kind kinds[] = {
      OPERATION_CREATE, OPERATION_CREATE, OPERATION_CREATE, OPERATION_CREATE,  OPERATION_DELETE,
      OPERATION_DELETE, OPERATION_RENAME, OPERATION_RENAME, OPERATION_SET,     OPERATION_SET,
      OPERATION_SET,    OPERATION_STAT,   OPERATION_STAT,   OPERATION_STAT,    OPERATION_STAT,
      OPERATION_LIST,   OPERATION_LIST,   OPERATION_EXISTS, OPERATION_COMPLETE};
  *asked = (struct arguments){.kind = kinds[random_below(&world->random, ARRAY_SIZE(kinds))]};
  asked->path = draw_name(world, world->path, sizeof world->path);
  if (world->history->count % world->simulation->rotation < 40) {
    asked->kind = OPERATION_MKDIR;
    asked->parents = true;
    asked->path = draw_directory(world, world->path, sizeof world->path);
    return;
  }
  switch (asked->kind) {
  case OPERATION_LIST:
    asked->path = draw_directory(world, world->path, sizeof world->path);
    break;
  case OPERATION_RENAME:
    asked->destination = draw_name(world, world->destination, sizeof world->destination);
    break;
  case OPERATION_SET: {
    const int length = snprintf(world->value, sizeof world->value, "v%" PRIu64, world->next_op_id);
    asked->value = (struct text){world->value, (size_t)length};
    asked->has_if_version = random_chance(&world->random, 0.2);
    asked->if_version = asked->has_if_version ? 1 + random_below(&world->random, 3) : 0;
    break;
  }
  case OPERATION_CREATE:
    asked->overwrite = random_chance(&world->random, 0.15);
    break;
  case OPERATION_DELETE:
    if (random_chance(&world->random, 0.1)) {
      asked->path = draw_directory(world, world->path, sizeof world->path);
      asked->recursive = true;
    }
    break;
  default:
    break;
  }
  if (random_chance(&world->random, 0.03)) { /* directories that a delete took come back */
    *asked = (struct arguments){.kind = OPERATION_MKDIR, .exist_ok = random_chance(&world->random, 0.5)};
    asked->path = draw_directory(world, world->path, sizeof world->path);
  }
}

/* ---- The server and its defects ---- */

static struct text keep(struct world *world, struct text text) {
  return history_text(world->history, text.data, text.size);
}

static void keep_texts(struct world *world, struct answer *answer) {
  answer->value = keep(world, answer->value);
  for (size_t i = 0; i < answer->entry_count; i++)
    answer->entries[i].name = keep(world, answer->entries[i].name);
}

static void execute_on_copy(struct world *world, const struct naive_tree *tree,
                            const struct operation *operation, struct answer *answer) {
  struct naive_tree *copy = naive_tree_copy(tree);
  naive_execute(copy, &operation->arguments, operation->op_id, answer);
  keep_texts(world, answer);
  naive_tree_free(copy);
}

static bool answers_differ(enum operation_kind kind, const struct answer *x, const struct answer *y) {
  return !naive_agrees(kind, x, y);
}

/* A read of an older state; counts only when the answer is another than that of now. */
static bool stale_read(struct world *world, const struct operation *operation, struct client *client) {
  if (operation_is_mutation(operation->arguments.kind) || operation->arguments.kind == OPERATION_EXISTS)
    return false;
  struct answer now, old;
  execute_on_copy(world, world->server, operation, &now);
  execute_on_copy(world, world->old, operation, &old);
  const bool differ = old.code == ANSWER_OK && answers_differ(operation->arguments.kind, &now, &old);
  if (differ)
    client->answer = old;
  else
    naive_answer_free(&old);
  naive_answer_free(&now);
  return differ;
}

static bool ghost(struct world *world, const struct operation *operation, struct client *client) {
  if (operation->arguments.kind != OPERATION_LIST)
    return false;
  struct answer now, old;
  execute_on_copy(world, world->server, operation, &now);
  execute_on_copy(world, world->old, operation, &old);
  const bool differ = now.code == ANSWER_OK && old.code == ANSWER_OK && old.entry_count > 0 &&
                      answers_differ(OPERATION_LIST, &now, &old);
  if (differ) { /* today's version, yesterday's names */
    old.version = now.version;
    client->answer = old;
  } else {
    naive_answer_free(&old);
  }
  naive_answer_free(&now);
  return differ;
}

static bool lost_write(struct world *world, const struct operation *operation, struct client *client) {
  const enum operation_kind kind = operation->arguments.kind;
  if (kind != OPERATION_CREATE && kind != OPERATION_SET)
    return false;
  execute_on_copy(world, world->server, operation, &client->answer);
  if (client->answer.code == ANSWER_OK)
    return true;
  naive_answer_free(&client->answer);
  return false;
}

static bool half_delete(struct world *world, const struct operation *operation, struct client *client) {
  const struct arguments *asked = &operation->arguments;
  if (asked->kind != OPERATION_DELETE || !asked->recursive)
    return false;
  struct answer listed;
  struct arguments list = {.kind = OPERATION_LIST, .path = asked->path};
  naive_execute(world->server, &list, 0, &listed);
  const bool fit = listed.code == ANSWER_OK && listed.entry_count > 1;
  if (fit) {
    char path[128];
    const int length = snprintf(path, sizeof path, "%.*s/%.*s", (int)asked->path.size, asked->path.data,
                                (int)listed.entries[0].name.size, listed.entries[0].name.data);
    struct arguments part = {.kind = OPERATION_DELETE, .path = {path, (size_t)length}, .recursive = true};
    naive_execute(world->server, &part, operation->op_id, &client->answer);
  }
  naive_answer_free(&listed);
  return fit;
}

/* A replica that lags answers a third of the clients. */
static bool local_read(struct world *world, const struct operation *operation, struct client *client) {
  const bool local = (client - world->clients) % 3 == 0 && !operation_is_mutation(operation->arguments.kind);
  if (local)
    execute_on_copy(world, world->old, operation, &client->answer);
  return local;
}

/* The mutation happens now, is seen for a while, and then is gone: the client is told it was refused. */
static bool apply_defect(struct world *world, const struct operation *operation, struct client *client) {
  switch (world->simulation->defect) {
  case DEFECT_STALE_READ:
    return stale_read(world, operation, client);
  case DEFECT_LOCAL_READS:
    return local_read(world, operation, client);
  case DEFECT_GHOST:
    return ghost(world, operation, client);
  case DEFECT_LOST_WRITE:
    return lost_write(world, operation, client);
  case DEFECT_HALF_DELETE:
    return half_delete(world, operation, client);
  case DEFECT_DUPLICATE:
    if (operation->arguments.kind != OPERATION_SET || operation->arguments.has_if_version)
      return false;
    naive_execute(world->server, &operation->arguments, operation->op_id, &client->answer);
    world->again = client->position;
    world->again_due = client->answer.code == ANSWER_OK;
    world->again_countdown = 6 * (int64_t)world->simulation->clients;
    return world->again_due;
  case DEFECT_DIRTY_READ:
    if (operation->arguments.kind != OPERATION_SET || operation->arguments.has_if_version)
      return false;
    naive_execute(world->server, &operation->arguments, operation->op_id, &client->answer);
    if (client->answer.code != ANSWER_OK)
      return true;
    client->answer = (struct answer){.code = ANSWER_NOT_PRIMARY};
    return true;
  default:
    return false;
  }
}

static void take_effect(struct world *world, struct client *client) {
  const struct operation *operation = &world->history->operations[client->position];
  const bool time = world->history->count > world->simulation->operations * 6 / 10;
  client->stage = STAGE_ANSWERED;
  if (world->simulation->defect != DEFECT_NONE && time && !world->defect_done &&
      apply_defect(world, operation, client)) {
    world->defect_done = world->simulation->defect != DEFECT_LOCAL_READS &&
                         (client->answer.code == ANSWER_OK || client->answer.code == ANSWER_NOT_PRIMARY);
  } else {
    naive_execute(world->server, &operation->arguments, operation->op_id, &client->answer);
    keep_texts(world, &client->answer);
  }
}

static void repeat_due_mutation(struct world *world) {
  if (!world->again_due || --world->again_countdown > 0)
    return;
  const struct operation *operation = &world->history->operations[world->again];
  struct answer answer;
  naive_execute(world->server, &operation->arguments, operation->op_id, &answer);
  naive_answer_free(&answer);
  world->again_due = false;
}

/* ---- Clients ---- */

static void learn(struct world *world, struct client *client, enum outcome outcome) {
  const struct workload_source *source = world->simulation->source;
  if (source && source->learn)
    source->learn(source->context, (size_t)(client - world->clients),
                  &world->history->operations[client->position].arguments, outcome, &client->answer);
}

static void complete(struct world *world, struct client *client) {
  const enum answer_code code = client->answer.code;
  const enum outcome outcome = code == ANSWER_OK ? OUTCOME_OK : OUTCOME_FAIL;
  history_complete(world->history, client->position, outcome, &client->answer, 0);
  learn(world, client, outcome);
  naive_answer_free(&client->answer);
  client->stage = STAGE_IDLE;
}

static void lose(struct world *world, struct client *client) {
  if (client->stage == STAGE_ANSWERED)
    naive_answer_free(&client->answer);
  client->answer = (struct answer){.code = ANSWER_TIMEOUT};
  history_complete(world->history, client->position, OUTCOME_INFO, &client->answer, 0);
  learn(world, client, OUTCOME_INFO);
  client->stage = STAGE_IDLE;
  client->process += (int64_t)world->simulation->clients;
}

static void ask(struct world *world, struct client *client) {
  struct arguments asked;
  const struct workload_source *source = world->simulation->source;
  if (source)
    source->draw(source->context, (size_t)(client - world->clients), &asked);
  else
    draw_mixed(world, &asked);
  client->position = history_invoke(world->history, client->process, world->next_op_id++, &asked, 0);
  client->stage = STAGE_ASKED;
}

static void turn(struct world *world, struct client *client) {
  const double unknown = world->simulation->unknown / 2;
  switch (client->stage) {
  case STAGE_IDLE:
    ask(world, client);
    return;
  case STAGE_ASKED:
    if (random_chance(&world->random, unknown))
      lose(world, client);
    else
      take_effect(world, client);
    return;
  case STAGE_ANSWERED:
    if (random_chance(&world->random, unknown) && client->answer.code != ANSWER_NOT_PRIMARY)
      lose(world, client);
    else
      complete(world, client);
    return;
  }
}

static void storm(struct world *world) {
  for (size_t i = 0; i < world->simulation->clients; i++) {
    struct client *client = &world->clients[i];
    if (client->stage == STAGE_ASKED && random_chance(&world->random, 0.5))
      take_effect(world, client);
    if (client->stage != STAGE_IDLE && client->answer.code != ANSWER_NOT_PRIMARY)
      lose(world, client);
  }
}

static void refresh_old_state(struct world *world) {
  naive_tree_free(world->old);
  world->old = naive_tree_copy(world->server);
}

struct history *simulate(const struct simulation *simulation) {
  struct world world = {.simulation = simulation, .history = history_new(), .next_op_id = 1};
  random_seed(&world.random, simulation->seed);
  world.server = naive_tree_new();
  world.old = naive_tree_new();
  world.clients = xcalloc(simulation->clients, sizeof *world.clients);
  for (size_t i = 0; i < simulation->clients; i++)
    world.clients[i].process = (int64_t)i;
  size_t next_storm = simulation->operations / (simulation->storms + 1);
  size_t next_copy = simulation->operations * 6 / 10 - simulation->clients * 6;
  while (world.history->count < simulation->operations) {
    turn(&world, &world.clients[random_below(&world.random, simulation->clients)]);
    repeat_due_mutation(&world);
    if (simulation->storms > 0 && world.history->count >= next_storm) {
      storm(&world);
      next_storm += simulation->operations / (simulation->storms + 1);
    }
    if (simulation->defect != DEFECT_NONE && world.history->count >= next_copy && !world.defect_done) {
      refresh_old_state(&world);
      next_copy += simulation->clients * 20;
    }
  }
  for (size_t i = 0; i < simulation->clients; i++)
    if (world.clients[i].stage == STAGE_ANSWERED)
      naive_answer_free(&world.clients[i].answer);
  free(world.clients);
  naive_tree_free(world.server);
  naive_tree_free(world.old);
  return world.history;
}
