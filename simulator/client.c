#include "simulator/client.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "master/client/conclude.h"
#include "master/operation.h"

#define NEVER INT64_MAX
#define CONNECT_TIMEOUT_NS (500 * NS_PER_MS)
#define LEAVE_WITHIN_NS (100 * NS_PER_MS) /* for what is in flight on a node that is not the primary */
#define BACKOFF_FIRST_NS (5 * NS_PER_MS)
#define BACKOFF_LIMIT_NS (100 * NS_PER_MS)
#define FAILED_RECENTLY_NS (500 * NS_PER_MS) /* hints at such a node are not followed */
#define FRAMES_OF_CLIENTS                                                                                    \
  (UINT64_C(1) << 40) /* their numbers in the trace, apart from those between nodes                          \
                       */

enum link_state { LINK_CLOSED, LINK_DIALLING, LINK_GREETED };

struct sim_client {
  struct sim_cluster *cluster;
  struct sim_client_options options;
  struct random random;
  struct message *messages; /* under way, either way */

  /* the connection */
  enum link_state link;
  size_t at;           /* the node it goes to, or the next will */
  uint64_t connection; /* counts them */
  uint64_t life;       /* of the node, when it was greeted */
  int64_t dialled_ns;
  uint64_t unanswered;
  int64_t quiet_since_ns; /* since when nothing came though something is unanswered; NEVER */
  int64_t leave_by_ns;    /* it said not-primary: leave when all is answered, or then; NEVER: stay */
  size_t leave_for;
  int64_t not_before_ns;
  unsigned failures, overloads;
  int64_t failed_ns[SIMULATOR_NODES_MAX];

  /* the request */
  bool busy, in_flight;
  struct request request;  /* its text is `text` */
  struct request *items;   /* of its batch */
  struct bytes text, held; /* … of its report */
  uint64_t attempt;        /* counts them: what answers an earlier one matches nothing */
  struct attempts attempts;
  int64_t deadline_ns;
  sim_client_answered *answered;
  void *context;

  int64_t wake_ns; /* the earliest event that will look what is due; NEVER */
};

/* -- messages ------------------------------------------------------------------------------------------- */

enum message_kind { MESSAGE_HELLO, MESSAGE_GREETING, MESSAGE_REQUEST, MESSAGE_ANSWER, MESSAGE_RESET };
static const char *const message_names[] = {"hello", "greeting", "request", "answer", "reset"};

/* Goes to a node, waits there for the answer, and comes back with it. */
struct message {
  struct message *previous, *next;
  struct sim_client *client; /* NULL: it is gone */
  enum message_kind kind;
  size_t node;
  uint64_t frame, connection, life, attempt;
  struct greeting greeting;
  struct request request;
  struct bytes text; /* of the request, then of the answer */
  enum answer_status status;
  uint64_t leader;
  uint32_t first_client;
  struct master_answer result;
  struct request *items; /* of the request's batch */
  struct master_entry *entries;
  struct master_block *blocks;
  uint64_t *numbers;
  uint64_t *held; /* of the request's report */
};

static struct message *new_message(struct sim_client *client, enum message_kind kind) {
  struct message *message = xcalloc(1, sizeof *message);
  message->client = client;
  message->kind = kind;
  message->node = client->at;
  message->connection = client->connection;
  message->life = client->life;
  message->attempt = client->attempt;
  message->next = client->messages;
  if (message->next)
    message->next->previous = message;
  client->messages = message;
  return message;
}

static void free_message(struct message *message) {
  if (message->previous)
    message->previous->next = message->next;
  else if (message->client)
    message->client->messages = message->next;
  if (message->next)
    message->next->previous = message->previous;
  free(message->items);
  free(message->entries);
  free(message->blocks);
  free(message->numbers);
  free(message->held);
  bytes_free(&message->text);
  free(message);
}

static int number_in_trace(const struct sim_client *client) {
  return -2 - (int)client->options.number;
}

static void note(const struct message *message, const char *kind, int to, int from) {
  struct sim_world *world = message->client->cluster->world;
  if (sim_traced(world))
    sim_tell(world, kind, to, from, message->frame, "%s", message_names[message->kind]);
}

static void note_end(const struct message *message, bool arrives, bool at_node) {
  const int node = (int)message->node, client = number_in_trace(message->client);
  note(message, arrives ? "deliver" : "drop", at_node ? node : client, at_node ? client : node);
}

static void send_message(struct message *message, bool to_node, void (*arrive)(void *owner, bool happens)) {
  struct sim_client *client = message->client;
  const int node = (int)message->node, from = number_in_trace(client);
  message->frame = FRAMES_OF_CLIENTS + ++client->cluster->client_frames;
  note(message, "send", to_node ? from : node, to_node ? node : from);
  sim_client_message(client->cluster->world, client->options.number, message->node, to_node, arrive, message);
}

/* -- at the node ---------------------------------------------------------------------------------------- */

static void arrive_at_client(void *owner, bool happens);

/* Whoever sends to a process that is gone is told so by its machine. */
static void reset(struct message *message) {
  message->kind = MESSAGE_RESET;
  send_message(message, false, arrive_at_client);
}

static struct slice copy_text(struct bytes *text, struct slice slice) {
  char *at = (char *)text->data + text->size;
  if (slice.size > 0)
    memcpy(at, slice.data, slice.size);
  at[slice.size] = '\0';
  text->size += slice.size + 1;
  return (struct slice){at, slice.size};
}

static size_t text_size(const struct request *request) {
  size_t size = request->path.size + request->destination.size + request->value.size + 3;
  for (size_t i = 0; i < request->item_count; i++)
    size += text_size(&request->items[i]);
  return size;
}

static void copy_strings(struct bytes *text, struct request *request) {
  request->path = copy_text(text, request->path);
  request->destination = copy_text(text, request->destination);
  request->value = copy_text(text, request->value);
}

/* A copy whose text is in `text`; its items, NULL without any, are the caller's to free. */
static struct request *copy_request(struct bytes *text, const struct request *from, struct request *to) {
  *to = *from;
  bytes_clear(text);
  bytes_reserve(text, text_size(from));
  copy_strings(text, to);
  if (from->item_count == 0)
    return NULL;
  struct request *items = xcalloc(from->item_count, sizeof *items);
  for (size_t i = 0; i < from->item_count; i++) {
    items[i] = from->items[i];
    copy_strings(text, &items[i]);
  }
  to->items = items;
  return items;
}

/* The text of the request is not needed any more. */
static void copy_answer(struct message *message, const struct answer *answer) {
  size_t size = answer->value.size + 1;
  for (size_t i = 0; i < answer->entry_count; i++)
    size += answer->entries[i].name.size + 1;
  bytes_clear(&message->text);
  bytes_reserve(&message->text, size);
  message->status = answer->status;
  message->leader = answer->leader;
  message->first_client = answer->first_client;
  message->result = (struct master_answer){.node = message->node + 1,
                                           .term = answer->term,
                                           .commit = answer->commit,
                                           .creator = answer->creator,
                                           .version = answer->version,
                                           .is_file = answer->is_file,
                                           .completed = answer->completed,
                                           .exists = answer->exists,
                                           .length = answer->length,
                                           .block_count = answer->block_count,
                                           .child_count = answer->child_count,
                                           .entry_count = answer->entry_count,
                                           .block = answer->block,
                                           .block_entry_count = answer->block_entry_count,
                                           .at = answer->at,
                                           .number_count = answer->number_count};
  message->result.value = copy_text(&message->text, answer->value).data;
  message->entries = xcalloc(answer->entry_count + 1, sizeof *message->entries);
  message->result.entries = message->entries;
  for (size_t i = 0; i < answer->entry_count; i++)
    message->entries[i] =
        (struct master_entry){.name = copy_text(&message->text, answer->entries[i].name).data,
                              .is_file = answer->entries[i].is_file,
                              .creator = answer->entries[i].creator};
  message->blocks = xcalloc(answer->block_entry_count + 1, sizeof *message->blocks);
  message->result.blocks = message->blocks;
  for (size_t i = 0; i < answer->block_entry_count; i++)
    message->blocks[i] = (struct master_block){.block = answer->blocks[i].block,
                                               .length = answer->blocks[i].length,
                                               .committed = answer->blocks[i].committed};
  const bool reported = message->request.code == OP_WORKER_REPORT;
  const uint64_t *numbers = reported ? answer->gone : answer->numbers;
  message->result.number_count = reported ? answer->gone_count : answer->number_count;
  message->numbers = xcalloc(message->result.number_count + 1, sizeof *message->numbers);
  message->result.numbers = message->numbers;
  for (size_t i = 0; i < message->result.number_count; i++)
    message->numbers[i] = numbers[i];
}

/* Answers of a process that ends go nowhere; the connection ends with it. */
static void answered_by_primary(void *context, const struct answer *answer) {
  struct message *message = context;
  if (!message->client || !cluster_serves(message->client->cluster, message->node, message->life)) {
    free_message(message);
    return;
  }
  cluster_check_answer(message->client->cluster, message->node, &message->request, answer);
  copy_answer(message, answer);
  message->kind = MESSAGE_ANSWER;
  send_message(message, false, arrive_at_client);
}

static void arrive_at_node(void *owner, bool happens) {
  struct message *message = owner;
  if (!message->client) {
    free_message(message);
    return;
  }
  struct sim_cluster *cluster = message->client->cluster;
  const bool hello = message->kind == MESSAGE_HELLO;
  note_end(message, happens, true);
  if (hello ? !sim_cluster_up(cluster, message->node)
            : !cluster_serves(cluster, message->node, message->life)) {
    reset(message);
  } else if (!happens) {
    free_message(message);
  } else if (hello) {
    message->greeting = cluster_greet(cluster, message->node);
    message->kind = MESSAGE_GREETING;
    send_message(message, false, arrive_at_client);
  } else {
    cluster_ask(cluster, message->node, &message->request, answered_by_primary, message);
  }
}

/* -- where to go ---------------------------------------------------------------------------------------- */

static size_t node_count(const struct sim_client *client) {
  return client->cluster->plan->nodes;
}

/* How far the node is from the client's first, in its ring. */
static size_t place_of(const struct sim_client *client, size_t node) {
  return (node + node_count(client) - client->options.first) % node_count(client);
}

static size_t node_after(const struct sim_client *client, size_t node) {
  return (client->options.first + (place_of(client, node) + 1) % client->options.count) % node_count(client);
}

static size_t next_node(const struct sim_client *client, uint64_t leader, int64_t now_ns) {
  if (!client->options.any_node && leader > 0 && leader <= node_count(client)) {
    const size_t hinted = (size_t)leader - 1;
    if (hinted != client->at && place_of(client, hinted) < client->options.count &&
        now_ns - client->failed_ns[hinted] > FAILED_RECENTLY_NS)
      return hinted;
  }
  return node_after(client, client->at);
}

/* One round through all nodes is free; then 5, 10 … 100 ms, less up to a half by chance. */
static void move_to(struct sim_client *client, size_t node, int64_t now_ns) {
  client->at = node;
  client->failures++;
  if (client->failures < client->options.count)
    return;
  const unsigned rounds = client->failures - (unsigned)client->options.count;
  int64_t delay_ns = BACKOFF_FIRST_NS << (rounds < 5 ? rounds : 5);
  if (delay_ns > BACKOFF_LIMIT_NS)
    delay_ns = BACKOFF_LIMIT_NS;
  delay_ns -= random_between(&client->random, 0, delay_ns / 2);
  client->not_before_ns = now_ns + delay_ns;
}

static void close_link(struct sim_client *client) {
  client->link = LINK_CLOSED;
  client->connection++;
  client->unanswered = 0;
  client->quiet_since_ns = NEVER;
  client->leave_by_ns = NEVER;
}

static void lose_in_flight(struct sim_client *client, enum master_error how) {
  if (client->in_flight)
    attempt_lost(&client->attempts, how);
  client->in_flight = false;
}

static void fail(struct sim_client *client, enum master_error how, int64_t now_ns) {
  close_link(client);
  client->failed_ns[client->at] = now_ns;
  move_to(client, node_after(client, client->at), now_ns);
  lose_in_flight(client, how);
}

static void leave(struct sim_client *client, int64_t now_ns) {
  const size_t node = client->leave_for;
  close_link(client);
  move_to(client, node, now_ns);
  lose_in_flight(client, MASTER_ERROR_CONNECTION_LOST);
}

static void refused_by_node(struct sim_client *client, uint64_t leader, int64_t now_ns) {
  client->leave_for = next_node(client, leader, now_ns);
  if (client->leave_by_ns == NEVER)
    client->leave_by_ns = now_ns + LEAVE_WITHIN_NS;
}

/* Sending goes on after 1, 2, 4 … 64 ms. */
static void slow_down(struct sim_client *client, int64_t now_ns) {
  const int64_t until_ns = now_ns + (NS_PER_MS << (client->overloads < 6 ? client->overloads : 6));
  if (client->not_before_ns >= until_ns)
    return;
  client->overloads++;
  client->not_before_ns = until_ns;
}

/* -- what is due ---------------------------------------------------------------------------------------- */

static void dial(struct sim_client *client, int64_t now_ns) {
  client->link = LINK_DIALLING;
  client->dialled_ns = now_ns;
  send_message(new_message(client, MESSAGE_HELLO), true, arrive_at_node);
}

static void send_request(struct sim_client *client, int64_t now_ns) {
  client->attempt++;
  struct message *message = new_message(client, MESSAGE_REQUEST);
  message->items = copy_request(&message->text, &client->request, &message->request);
  if (client->request.held_count > 0) {
    message->held = xmalloc(client->held.size);
    memcpy(message->held, client->held.data, client->held.size);
    message->request.held = message->held;
  }
  if (client->unanswered++ == 0)
    client->quiet_since_ns = now_ns;
  client->in_flight = true;
  send_message(message, true, arrive_at_node);
}

static bool has_fallen_silent(const struct sim_client *client, int64_t now_ns) {
  if (client->link == LINK_DIALLING)
    return now_ns - client->dialled_ns >= CONNECT_TIMEOUT_NS;
  return client->quiet_since_ns != NEVER &&
         now_ns - client->quiet_since_ns >= client->cluster->plan->attempt_timeout_ns;
}

static void finish(struct sim_client *client, const struct master_answer *answer, uint32_t first_client) {
  client->busy = client->in_flight = false;
  client->answered(client->context, answer, first_client);
}

static int64_t next_due_ns(const struct sim_client *client) {
  int64_t next_ns = client->leave_by_ns;
  if (client->busy && client->deadline_ns < next_ns)
    next_ns = client->deadline_ns;
  if (client->link == LINK_DIALLING && client->dialled_ns + CONNECT_TIMEOUT_NS < next_ns)
    next_ns = client->dialled_ns + CONNECT_TIMEOUT_NS;
  if (client->quiet_since_ns != NEVER &&
      client->quiet_since_ns + client->cluster->plan->attempt_timeout_ns < next_ns)
    next_ns = client->quiet_since_ns + client->cluster->plan->attempt_timeout_ns;
  const bool held_back =
      client->busy && !client->in_flight && client->link != LINK_DIALLING && client->leave_by_ns == NEVER;
  if (held_back && client->not_before_ns < next_ns)
    next_ns = client->not_before_ns;
  return next_ns;
}

static void wake(void *owner, bool happens);

/* Waking early is harmless: what is due is looked at again. */
static void arm(struct sim_client *client) {
  const int64_t next_ns = next_due_ns(client);
  if (next_ns >= client->wake_ns)
    return;
  client->wake_ns = next_ns;
  sim_at(client->cluster->world, next_ns, wake, new_message(client, MESSAGE_RESET));
}

static void pump(struct sim_client *client) {
  const int64_t now_ns = sim_now_ns(client->cluster->world);
  if (client->busy && client->deadline_ns <= now_ns) {
    if (client->in_flight)
      attempt_lost(&client->attempts, MASTER_ERROR_TIMEOUT);
    const struct master_answer answer = conclude_unanswered(&client->attempts);
    finish(client, &answer, 0);
  }
  if (has_fallen_silent(client, now_ns))
    fail(client, client->link == LINK_GREETED ? MASTER_ERROR_TIMEOUT : MASTER_ERROR_REFUSED, now_ns);
  if (client->leave_by_ns != NEVER && (!client->in_flight || now_ns >= client->leave_by_ns))
    leave(client, now_ns);
  if (client->busy && !client->in_flight && now_ns >= client->not_before_ns && client->leave_by_ns == NEVER) {
    if (client->link == LINK_CLOSED)
      dial(client, now_ns);
    else if (client->link == LINK_GREETED)
      send_request(client, now_ns);
  }
  arm(client);
}

static void wake(void *owner, bool happens) {
  struct message *message = owner;
  struct sim_client *client = message->client;
  free_message(message);
  if (!client || !happens)
    return;
  if (client->wake_ns <= sim_now_ns(client->cluster->world))
    client->wake_ns = NEVER;
  pump(client);
}

/* -- what comes back ------------------------------------------------------------------------------------ */

static void greeted(struct sim_client *client, const struct message *message, int64_t now_ns) {
  client->link = LINK_GREETED;
  client->life = message->greeting.life;
  client->failed_ns[client->at] = INT64_MIN / 2;
  if (!message->greeting.serves && !client->options.any_node)
    refused_by_node(client, message->greeting.leader, now_ns);
}

static void settle(struct sim_client *client, struct message *message, enum master_error error) {
  message->result.outcome = error == MASTER_ERROR_NONE ? MASTER_OK : MASTER_FAIL;
  message->result.error = error;
  client->failures = client->overloads = 0;
  finish(client, &message->result, message->first_client);
}

static void receive(struct sim_client *client, struct message *message, int64_t now_ns) {
  client->unanswered--;
  client->quiet_since_ns = client->unanswered > 0 ? now_ns : NEVER;
  if (!client->in_flight || client->attempt != message->attempt)
    return;
  enum master_error error;
  switch (conclude_status(message->status, &error)) {
  case ATTEMPT_REFUSED:
    if (error == MASTER_ERROR_NOT_PRIMARY)
      refused_by_node(client, message->leader, now_ns);
    else
      slow_down(client, now_ns);
    attempt_refused(&client->attempts, error, message->node + 1);
    client->in_flight = false;
    return;
  case ATTEMPT_LOST:
    slow_down(client, now_ns);
    lose_in_flight(client, error);
    return;
  case ATTEMPT_SETTLED:
    settle(client, message, error);
  }
}

static void arrive_at_client(void *owner, bool happens) {
  struct message *message = owner;
  struct sim_client *client = message->client;
  if (client)
    note_end(message, happens, false);
  if (client && happens && client->connection == message->connection && client->link != LINK_CLOSED) {
    const int64_t now_ns = sim_now_ns(client->cluster->world);
    if (message->kind == MESSAGE_GREETING)
      greeted(client, message, now_ns);
    else if (message->kind == MESSAGE_ANSWER)
      receive(client, message, now_ns);
    else
      fail(client, client->link == LINK_GREETED ? MASTER_ERROR_CONNECTION_LOST : MASTER_ERROR_REFUSED,
           now_ns);
    pump(client);
  }
  free_message(message);
}

/* A process that ends closes its connections; a machine without power does not, and is silent until somebody
 * sends to what has taken its place. */
void sim_client_node_died(struct sim_client *client, size_t node) {
  if (client->link == LINK_CLOSED || client->at != node || random_chance(&client->random, 0.5))
    return;
  reset(new_message(client, MESSAGE_RESET));
}

/* -- requests ------------------------------------------------------------------------------------------- */

static void begin(struct sim_client *client, sim_client_answered *answered, void *context) {
  assert(!client->busy);
  client->busy = true;
  client->in_flight = false;
  client->attempts = attempts_none();
  client->deadline_ns = sim_now_ns(client->cluster->world) + client->cluster->plan->request_timeout_ns;
  client->answered = answered;
  client->context = context;
  pump(client);
}

static struct slice slice_of(const char *text) {
  return (struct slice){text ? text : "", text ? strlen(text) : 0};
}

static enum operation_code code_of(enum master_operation operation) {
  static const enum operation_code codes[] = {[MASTER_MKDIR] = OP_MKDIR,
                                              [MASTER_CREATE] = OP_CREATE,
                                              [MASTER_COMPLETE] = OP_COMPLETE,
                                              [MASTER_DELETE] = OP_DELETE,
                                              [MASTER_RENAME] = OP_RENAME,
                                              [MASTER_SET] = OP_SET,
                                              [MASTER_STAT] = OP_STAT,
                                              [MASTER_LIST] = OP_LIST,
                                              [MASTER_EXISTS] = OP_EXISTS,
                                              [MASTER_ADD_BLOCK] = OP_ADD_BLOCK,
                                              [MASTER_COMMIT_BLOCK] = OP_COMMIT_BLOCK,
                                              [MASTER_BLOCKS] = OP_BLOCKS,
                                              [MASTER_BATCH] = OP_BATCH,
                                              [MASTER_LOCATE] = OP_LOCATE,
                                              [MASTER_WORKERS] = OP_WORKERS,
                                              [MASTER_MOUNT] = OP_MOUNT,
                                              [MASTER_UNMOUNT] = OP_UNMOUNT,
                                              [MASTER_MOUNTS] = OP_MOUNTS,
                                              [MASTER_PERSISTED] = OP_PERSISTED};
  return codes[operation];
}

/* Points into `from`. */
static struct request request_of(const struct master_request *from) {
  return (struct request){.code = code_of(from->operation),
                          .op_id = from->op_id,
                          .retry_floor = from->op_id, /* the one that is outstanding */
                          .path = slice_of(from->path),
                          .destination = slice_of(from->destination),
                          .value = slice_of(from->value),
                          .parents = from->parents,
                          .exist_ok = from->exist_ok,
                          .overwrite = from->overwrite,
                          .recursive = from->recursive,
                          .has_if_version = from->has_if_version,
                          .if_version = from->if_version,
                          .length = from->length,
                          .block = from->block,
                          .worker = from->worker};
}

void sim_client_submit(struct sim_client *client, const struct master_request *from,
                       sim_client_answered *answered, void *context) {
  struct request request = request_of(from);
  request.any = client->options.any_node;
  struct request *items = xcalloc(from->item_count + 1, sizeof *items);
  for (size_t i = 0; i < from->item_count; i++)
    items[i] = request_of(&from->items[i]);
  request.items = items;
  request.item_count = from->item_count;
  free(client->items);
  client->items = copy_request(&client->text, &request, &client->request);
  free(items);
  begin(client, answered, context);
}

void sim_client_reserve(struct sim_client *client, uint32_t count, sim_client_answered *answered,
                        void *context) {
  client->request = (struct request){.code = OP_RESERVE_CLIENTS, .count = count};
  begin(client, answered, context);
}

void sim_client_report(struct sim_client *client, const uint64_t *held, size_t count,
                       sim_client_answered *answered, void *context) {
  bytes_clear(&client->held);
  bytes_append(&client->held, held, count * sizeof *held);
  client->request = (struct request){.code = OP_WORKER_REPORT, .worker = 1, .held_count = count};
  begin(client, answered, context);
}

/* -- life ----------------------------------------------------------------------------------------------- */

struct sim_client *sim_client_new(struct sim_cluster *cluster, const struct sim_client_options *options) {
  struct sim_client *client = xcalloc(1, sizeof *client);
  client->cluster = cluster;
  client->options = *options;
  client->at = options->first;
  client->not_before_ns = INT64_MIN;
  client->wake_ns = NEVER;
  for (size_t i = 0; i < SIMULATOR_NODES_MAX; i++)
    client->failed_ns[i] = INT64_MIN / 2;
  close_link(client);
  sim_stream(cluster->world, options->any_node ? "reader" : "client", options->number, &client->random);
  return client;
}

/* Messages under way find nobody. */
void sim_client_free(struct sim_client *client) {
  while (client->messages) {
    struct message *message = client->messages;
    client->messages = message->next;
    message->client = NULL;
    message->previous = message->next = NULL;
  }
  free(client->items);
  bytes_free(&client->text);
  bytes_free(&client->held);
  free(client);
}
