#include "workloads/test/fake_master_client.h"

#include <assert.h>
#include <stdlib.h>

#include "workloads/test/naive_tree.h"
#include "workloads/workloads.h"

struct fake_cluster fake_cluster;

static struct naive_tree tree;
static struct random randomness;
static uint32_t next_number = 100;

struct master_client {
  uv_timer_t timer;
  bool busy, any_node;
  master_answer_callback *callback;
  void *context;
  struct arguments arguments;
  struct bytes text; /* what `arguments` points into */
  uint64_t op_id;
  void (*reserved)(void *context, uint32_t first, const struct master_answer *answer);
  uint32_t count;
};

int master_client_open(uv_loop_t *loop, const struct master_client_options *options,
                       struct master_client **client, struct error *error) {
  (void)error;
  assert(options->preferred < options->address_count);
  if (!tree.nodes) {
    naive_tree_init(&tree);
    random_seed(&randomness, 5);
  }
  *client = xcalloc(1, sizeof **client);
  uv_timer_init(loop, &(*client)->timer);
  (*client)->timer.data = *client;
  (*client)->any_node = options->any_node;
  return 0;
}

static enum operation_kind kind_of(enum master_operation operation) {
  static const enum operation_kind kinds[] = {
      OPERATION_MKDIR,        OPERATION_CREATE, OPERATION_COMPLETE, OPERATION_DELETE, OPERATION_RENAME,
      OPERATION_SET,          OPERATION_STAT,   OPERATION_LIST,     OPERATION_EXISTS, OPERATION_ADD_BLOCK,
      OPERATION_COMMIT_BLOCK, OPERATION_BLOCKS, OPERATION_BATCH};
  return kinds[operation];
}

#define PARTS 64

static struct master_entry entries[PARTS];
static struct master_block blocks[PARTS];
static uint64_t numbers[PARTS];

static void answer_ok_or_fail(struct master_client *client, struct master_answer *out) {
  struct answer answer;
  assert(!client->any_node || !operation_is_mutation(client->arguments.kind));
  naive_tree_execute(&tree, &client->arguments, client->op_id, &answer);
  *out = (struct master_answer){.outcome = answer.code ? MASTER_FAIL : MASTER_OK,
                                .error = (enum master_error)answer.code,
                                .node = client->any_node ? 1 : 2,
                                .term = 3,
                                .commit = 4,
                                .creator = answer.creator,
                                .version = answer.version,
                                .is_file = answer.inode_kind == INODE_FILE,
                                .completed = answer.completed,
                                .exists = answer.exists,
                                .value = answer.value.data,
                                .entries = entries,
                                .entry_count = answer.entry_count,
                                .block = answer.block,
                                .blocks = blocks,
                                .block_entry_count = answer.block_entry_count,
                                .at = (size_t)answer.at,
                                .numbers = numbers,
                                .number_count = answer.item_count};
  for (size_t i = 0; i < answer.entry_count; i++)
    entries[i] = (struct master_entry){answer.entries[i].name.data, answer.entries[i].kind == INODE_FILE,
                                       answer.entries[i].creator};
  for (size_t i = 0; i < answer.block_entry_count; i++)
    blocks[i] = (struct master_block){.block = answer.blocks[i].block,
                                      .length = answer.blocks[i].length,
                                      .committed = answer.blocks[i].committed};
  for (size_t i = 0; i < answer.item_count; i++)
    numbers[i] = answer.items[i].seen & SEEN_CREATOR ? answer.items[i].creator : answer.items[i].version;
}

static void on_timer(uv_timer_t *timer) {
  struct master_client *client = timer->data;
  struct master_answer answer;
  client->busy = false;
  const double draw = random_unit(&randomness);
  if (draw < fake_cluster.unchecked) {
    answer = (struct master_answer){.outcome = MASTER_UNCHECKED, .error = MASTER_ERROR_NOT_PRIMARY};
  } else {
    if (draw > 0.5 * fake_cluster.unknown)
      answer_ok_or_fail(client, &answer);
    if (draw < fake_cluster.unchecked + fake_cluster.unknown)
      answer = (struct master_answer){.outcome = MASTER_INFO, .error = MASTER_ERROR_TIMEOUT};
  }
  client->callback(client->context, &answer);
}

static struct arguments arguments_of(const struct master_request *request) {
  return (struct arguments){.kind = kind_of(request->operation),
                            .path = text_of(request->path),
                            .destination = text_of(request->destination),
                            .value = text_of(request->value),
                            .parents = request->parents,
                            .exist_ok = request->exist_ok,
                            .overwrite = request->overwrite,
                            .recursive = request->recursive,
                            .has_if_version = request->has_if_version,
                            .if_version = request->if_version,
                            .length = request->length,
                            .block = request->block,
                            .worker = request->worker};
}

void master_client_submit(struct master_client *client, const struct master_request *request,
                          master_answer_callback *callback, void *context) {
  assert(!client->busy);
  client->busy = true;
  client->callback = callback;
  client->context = context;
  client->op_id = request->op_id;
  struct arguments items[WORKLOAD_BATCH_MAX], arguments = arguments_of(request);
  arguments.items = items;
  arguments.item_count = request->item_count;
  for (size_t i = 0; i < request->item_count; i++)
    items[i] = arguments_of(&request->items[i]);
  arguments_keep(&arguments, &client->text, &client->arguments);
  if (!fake_cluster.silent)
    uv_timer_start(&client->timer, on_timer, random_below(&randomness, 2), 0);
}

static void on_reserve_timer(uv_timer_t *timer) {
  struct master_client *client = timer->data;
  struct master_answer answer = {.outcome = MASTER_OK};
  uint32_t first = next_number;
  if (fake_cluster.no_numbers || fake_cluster.refusals-- > 0) {
    answer = (struct master_answer){.outcome = MASTER_INFO, .error = MASTER_ERROR_TIMEOUT};
    first = 0;
  } else {
    next_number += client->count;
  }
  client->reserved(client->context, first, &answer);
}

void master_client_reserve(struct master_client *client, uint32_t count,
                           void (*callback)(void *context, uint32_t first,
                                            const struct master_answer *answer),
                           void *context) {
  client->reserved = callback;
  client->context = context;
  client->count = count;
  uv_timer_start(&client->timer, on_reserve_timer, 0, 0);
}

static void on_closed(uv_handle_t *handle) {
  struct master_client *client = handle->data;
  bytes_free(&client->text);
  free(client);
}

void master_client_close(struct master_client *client, void (*closed)(void *context), void *context) {
  assert(!closed && !context);
  if (client->busy) {
    const struct master_answer answer = {.outcome = MASTER_INFO, .error = MASTER_ERROR_TIMEOUT};
    client->busy = false;
    client->callback(client->context, &answer);
  }
  uv_close((uv_handle_t *)&client->timer, on_closed);
}
