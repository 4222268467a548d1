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

static int open_session_client(struct client_process *process, size_t client, struct master_client **opened,
                               struct error *error) {
  const struct client_options *options = process->options;
  struct master_client_options client_options = {.addresses = options->addresses,
                                                 .address_count = options->address_count,
                                                 .request_timeout_ns = options->request_timeout_ns,
                                                 .retry = true};
  if (knows_one_node(client)) {
    client_options.addresses +=
        ((size_t)options->shard + client / 8 * 2 + client % 2) % options->address_count;
    client_options.address_count = 1;
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
                                                 .retry = true};
  int result = master_client_open(&process->loop, &client_options, &process->control, error);
  process->sessions = xcalloc((size_t)options->clients, sizeof *process->sessions);
  for (size_t i = 0; i < (size_t)options->clients && result == 0; i++) {
    struct session *session = &process->sessions[i];
    session->process = process;
    session->index = i;
    result = open_session_client(process, i, &session->client, error);
    if (result != 0)
      return result;
    process->session_count++;
    session_queue_push(&process->numberless, session);
  }
  return result;
}

void sessions_close(struct client_process *process) {
  for (size_t i = 0; i < process->session_count; i++)
    master_client_close(process->sessions[i].client, NULL, NULL);
  if (process->control)
    master_client_close(process->control, NULL, NULL);
}

void sessions_free(struct client_process *process) {
  for (size_t i = 0; i < process->session_count; i++)
    bytes_free(&process->sessions[i].text);
  free(process->sessions);
  free(process->entries);
}

/* ---- An operation begins ---- */

/* The drawn text is the generator's until the next draw: the session keeps a copy. */
static void keep_arguments(struct session *session, const struct arguments *drawn) {
  struct bytes *text = &session->text;
  bytes_clear(text);
  const size_t path = drawn->path.size + 1, destination = drawn->destination.size + 1,
               value = drawn->value.size + 1;
  char *at = (char *)bytes_reserve(text, path + destination + value);
  session->arguments = *drawn;
  const struct {
    const struct text *from;
    struct text *to;
  } copies[] = {{&drawn->path, &session->arguments.path},
                {&drawn->destination, &session->arguments.destination},
                {&drawn->value, &session->arguments.value}};
  for (size_t i = 0; i < ARRAY_SIZE(copies); i++)
    if (copies[i].from->data) {
      memcpy(at, copies[i].from->data, copies[i].from->size + 1);
      copies[i].to->data = at;
      at += copies[i].from->size + 1;
    }
}

static enum master_operation wire_operation(enum operation_kind kind) {
  switch (kind) {
  case OPERATION_MKDIR:
    return MASTER_MKDIR;
  case OPERATION_CREATE:
    return MASTER_CREATE;
  case OPERATION_COMPLETE:
    return MASTER_COMPLETE;
  case OPERATION_DELETE:
    return MASTER_DELETE;
  case OPERATION_RENAME:
    return MASTER_RENAME;
  case OPERATION_SET:
    return MASTER_SET;
  case OPERATION_STAT:
    return MASTER_STAT;
  case OPERATION_LIST:
    return MASTER_LIST;
  default:
    assert(kind == OPERATION_EXISTS);
    return MASTER_EXISTS;
  }
}

static void on_answer(void *context, const struct master_answer *answer);

static void submit(struct session *session) {
  const struct arguments *arguments = &session->arguments;
  const struct master_request request = {
      .operation = wire_operation(arguments->kind),
      .op_id = session->op_id,
      .path = arguments->path.data,
      .destination = arguments->destination.data,
      .value = arguments->value.data,
      .parents = arguments->parents,
      .exist_ok = arguments->exist_ok,
      .overwrite = arguments->overwrite,
      .recursive = arguments->recursive,
      .has_if_version = arguments->has_if_version,
      .if_version = arguments->if_version,
      .length = arguments->length,
  };
  master_client_submit(session->client, &request, on_answer, session);
}

/* False when the history could not be written. */
static bool start_operation(struct client_process *process, struct session *session) {
  struct arguments drawn;
  struct error error;
  generator_next(process->generator, session->index, &drawn);
  keep_arguments(session, &drawn);
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

static const unsigned observed[OPERATION_KINDS] = {
    [OPERATION_MKDIR] = SEEN_CREATOR,
    [OPERATION_CREATE] = SEEN_CREATOR,
    [OPERATION_COMPLETE] = SEEN_VERSION,
    [OPERATION_SET] = SEEN_VERSION,
    [OPERATION_STAT] = SEEN_KIND | SEEN_CREATOR | SEEN_VERSION | SEEN_VALUE | SEEN_COMPLETED | SEEN_LENGTH |
                       SEEN_BLOCK_COUNT | SEEN_CHILD_COUNT,
    [OPERATION_LIST] = SEEN_VERSION | SEEN_ENTRIES,
    [OPERATION_EXISTS] = SEEN_EXISTS,
};

/* The master's errors and a history's answer codes stand in the same order. */
_Static_assert(MASTER_ERROR_NONE == (int)ANSWER_OK &&
                   MASTER_ERROR_VERSION_MISMATCH == (int)ANSWER_VERSION_MISMATCH &&
                   MASTER_ERROR_REFUSED == (int)ANSWER_REFUSED && MASTER_ERROR_OTHER == (int)ANSWER_OTHER,
               "a master's error is a history's answer code");

static void copy_entries(struct client_process *process, const struct master_answer *from,
                         struct answer *to) {
  if (from->entry_count > process->entry_room) {
    process->entry_room = from->entry_count * 2;
    process->entries = xrealloc(process->entries, process->entry_room * sizeof *process->entries);
  }
  to->entries = process->entries;
  to->entry_count = from->entry_count;
  for (size_t i = 0; i < from->entry_count; i++)
    to->entries[i] = (struct list_entry){.name = text_of(from->entries[i].name),
                                         .kind = from->entries[i].is_file ? INODE_FILE : INODE_DIRECTORY,
                                         .creator = from->entries[i].creator,
                                         .has_kind = true,
                                         .has_creator = true};
}

static enum outcome convert(struct client_process *process, enum operation_kind kind,
                            const struct master_answer *from, struct answer *to) {
  *to = (struct answer){.code = (enum answer_code)from->error};
  if (from->outcome == MASTER_INFO) {
    if (!answer_is_indefinite(to->code))
      to->code = ANSWER_OTHER;
    return OUTCOME_INFO;
  }
  if (from->outcome != MASTER_OK) {
    assert(to->code != ANSWER_OK && !answer_is_indefinite(to->code));
    if (to->code == ANSWER_VERSION_MISMATCH) {
      to->seen = SEEN_VERSION;
      to->version = from->version;
    }
    return OUTCOME_FAIL;
  }
  assert(to->code == ANSWER_OK);
  to->seen = observed[kind];
  to->creator = from->creator;
  to->version = from->version;
  to->inode_kind = from->is_file ? INODE_FILE : INODE_DIRECTORY;
  if (to->seen & SEEN_VALUE)
    to->value = text_of(from->value ? from->value : "");
  to->completed = from->completed;
  to->length = from->length;
  to->block_count = from->block_count;
  to->child_count = from->child_count;
  to->exists = from->exists;
  if (to->seen & SEEN_ENTRIES)
    copy_entries(process, from, to);
  return OUTCOME_OK;
}

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
  const enum outcome outcome = convert(process, kind, from, &answer);
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
