/* session.c: one logical client: draw, record, submit, answer, record. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "workloads/process.h"

/* Open-loop pacing may lag behind while the cluster does not answer; more than this is not caught up. */
#define LAG_MAX_NS (100 * NS_PER_MS)

void session_queue_push(struct session_queue *queue, struct session *session) {
  session->next = NULL;
  if (queue->first)
    queue->last->next = session;
  else
    queue->first = session;
  queue->last = session;
}

struct session *session_queue_pop(struct session_queue *queue) {
  struct session *session = queue->first;
  if (session)
    queue->first = session->next;
  return session;
}

int64_t process_now_ns(struct client_process *process) {
  const int64_t now_ns = time_monotonic_ns();
  process->last_event_ns = now_ns > process->last_event_ns ? now_ns : process->last_event_ns + 1;
  return process->last_event_ns;
}

/* Two clients of each group know one node only, each pair other ones: their operations wait until that node
 * is the primary. The rest find the primary wherever it is. So when a new primary appears some write to it at
 * once, while others still talk to the old one: the moment that shows a split brain. */
static bool knows_one_node(size_t client) {
  return client % 8 == 5 || client % 8 == 6;
}

static int open_session_client(struct client_process *process, size_t client, bool any_node,
                               struct master_client **opened, struct error *error) {
  const struct client_options *options = process->options;
  struct master_client_options client_options = {.addresses = options->addresses,
                                                 .address_count = options->address_count,
                                                 .request_timeout_ns = options->request_timeout_ns,
                                                 .retry = true,
                                                 .any_node = any_node,
                                                 .tls = options->tls};
  if (knows_one_node(client)) {
    client_options.addresses +=
        ((size_t)options->shard + client / 8 * 2 + client % 2) % options->address_count;
    client_options.address_count = 1;
    client_options.only_given = true;
  } else {
    /* Neighbours, who work on the same names, prefer different nodes. */
    client_options.preferred = ((size_t)options->shard + client) % options->address_count;
  }
  return master_client_open(&process->loop, &client_options, opened, error);
}

int sessions_open(struct client_process *process, struct error *error) {
  const struct client_options *options = process->options;
  struct master_client_options client_options = {.addresses = options->addresses,
                                                 .address_count = options->address_count,
                                                 .request_timeout_ns = options->request_timeout_ns,
                                                 .retry = true,
                                                 .tls = options->tls};
  int result = master_client_open(&process->loop, &client_options, &process->control, error);
  process->request = request_room_new();
  process->sessions = xcalloc((size_t)options->clients, sizeof *process->sessions);
  for (size_t i = 0; i < (size_t)options->clients && result == 0; i++) {
    struct session *session = &process->sessions[i];
    session->process = process;
    session->index = i;
    result = open_session_client(process, i, false, &session->client, error);
    if (result != 0)
      return result;
    process->session_count++;
    if (options->reads_any)
      result = open_session_client(process, i, true, &session->reader, error);
    session_queue_push(&process->numberless, session);
  }
  return result;
}

void sessions_close(struct client_process *process) {
  for (size_t i = 0; i < process->session_count; i++) {
    master_client_close(process->sessions[i].client, NULL, NULL);
    if (process->sessions[i].reader)
      master_client_close(process->sessions[i].reader, NULL, NULL);
  }
  if (process->control)
    master_client_close(process->control, NULL, NULL);
}

void sessions_free(struct client_process *process) {
  for (size_t i = 0; i < process->session_count; i++)
    bytes_free(&process->sessions[i].text);
  free(process->sessions);
  free(process->request);
  answer_room_free(&process->answers);
}

/* ---- An operation begins ---- */

static void on_answer(void *context, const struct master_answer *answer);

static void submit(struct session *session) {
  const struct master_request *request =
      arguments_to_request(&session->arguments, session->op_id, session->process->request);
  const bool reads = session->reader && master_operation_is_read(request->operation);
  master_client_submit(reads ? session->reader : session->client, request, on_answer, session);
}

/* False when the history could not be written. */
static bool start_operation(struct client_process *process, struct session *session) {
  struct arguments drawn;
  struct error error;
  generator_next(process->generator, session->index, &drawn);
  arguments_keep(&drawn, &session->text, &session->arguments);
  session->op_id = 0;
  if (operation_is_mutation(drawn.kind))
    session->op_id = (uint64_t)session->number << 32 | ++session->sequence;
  if (history_write_invoke(process->writer, session->number, session->op_id, &session->arguments,
                           process_now_ns(process), &error) != 0) {
    process_fail(process, EXIT_HARNESS, &error);
    return false;
  }
  session->state = SESSION_BUSY;
  process->busy++;
  process->started++;
  submit(session);
  return true;
}

/* How many operations may have been started by now. */
static uint64_t due_by_now(struct client_process *process) {
  const struct client_options *options = process->options;
  uint64_t due = UINT64_MAX;
  if (options->rate > 0) {
    const int64_t now_ns = time_monotonic_ns();
    const double step_ns = (double)NS_PER_S / options->rate;
    const int64_t behind_ns = now_ns - process->start_ns - (int64_t)((double)process->started * step_ns);
    if (behind_ns > LAG_MAX_NS)
      process->start_ns += behind_ns - LAG_MAX_NS;
    due = (uint64_t)((double)(now_ns - process->start_ns) / step_ns) + 1;
  }
  if (options->operations > 0 && due > (uint64_t)options->operations)
    due = (uint64_t)options->operations;
  return due;
}

void sessions_start_due(struct client_process *process) {
  if (process->stopping || !process->idle.first)
    return;
  const uint64_t due = due_by_now(process);
  while (process->started < due && process->idle.first)
    if (!start_operation(process, session_queue_pop(&process->idle)))
      return;
  if (process->options->operations > 0 && process->started >= (uint64_t)process->options->operations)
    process_stop(process);
}

/* ---- It ends ---- */

static void count(struct client_process *process, enum outcome outcome, int64_t now_ns) {
  if (outcome == OUTCOME_OK) {
    if (process->ok++ == 0)
      event_ready();
    process->last_ok_ns = now_ns;
  } else if (outcome == OUTCOME_FAIL) {
    process->fail++;
  } else {
    process->info++;
  }
}

static void on_answer(void *context, const struct master_answer *from) {
  struct session *session = context;
  struct client_process *process = session->process;
  const int64_t now_ns = process_now_ns(process);
  /* An answer that comes while everything is torn down stays out: no completion means unknown. */
  if (process->closing)
    return;
  assert(session->state == SESSION_BUSY);
  struct answer answer;
  struct error error;
  const enum operation_kind kind = session->arguments.kind;
  const enum outcome outcome = answer_of_master(&session->arguments, from, &process->answers, &answer);
  const int32_t node = from->node ? (int32_t)from->node : -1;
  if (history_write_complete(process->writer, session->number, session->op_id, outcome, kind, &answer, now_ns,
                             node, from->term, from->commit, &error) != 0) {
    process_fail(process, EXIT_HARNESS, &error);
    return;
  }
  count(process, outcome, now_ns);
  generator_learn(process->generator, session->index, &session->arguments, outcome, &answer);
  process->busy--;
  if (outcome == OUTCOME_INFO) {
    session->state = SESSION_NUMBERLESS;
    session_queue_push(&process->numberless, session);
    numbers_provide(process);
  } else {
    session->state = SESSION_IDLE;
    session_queue_push(&process->idle, session);
  }
  sessions_start_due(process);
  process_session_ended(process);
}
