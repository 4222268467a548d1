/* sessions.c: what the clients do, and the history of it: workloads/session.c in the modelled world.
 *
 *   RESTING --think, draw, record--> BUSY --answer, record--> RESTING, or NUMBERLESS after an info
 *
 * All clients work in bursts with silences in between, the same for all: in a burst they meet at the same
 * names, and silence costs nothing to simulate. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "histories/histories.h"
#include "simulator/client.h"
#include "simulator/cluster_internal.h"
#include "workloads/workloads.h"

#define NUMBERS_SPARE 4 /* for clients that meet an info */
#define RETRY_NS (50 * NS_PER_MS)
#define THINK_LIMIT_NS NS_PER_S /* when everything has healed, and the cluster's liveness is judged */
#define THINK_HEALED_NS (500 * NS_PER_MS) /* at most, on average: liveness is not to wait for it */

enum session_state { SESSION_NUMBERLESS, SESSION_RESTING, SESSION_BUSY, SESSION_STOPPED };

struct session {
  struct sessions *all;
  size_t index;
  enum session_state state;
  struct sim_client *client, *reader; /* reader: for reads, at any node; NULL: none */
  struct random random;
  uint32_t number, sequence; /* number 0: none yet */
  uint64_t rest;             /* counts them: the end of an earlier one is void */
  struct arguments arguments;
  struct bytes text;
  uint64_t op_id;
  size_t position; /* in the history */
  bool answered;   /* since the heal */
};

struct sessions {
  struct sim_cluster *cluster;
  struct generator *generator;
  struct history *history;
  struct session *sessions;
  size_t count;
  struct sim_client *control; /* asks for client numbers */
  uint32_t next_number, number_count;
  bool reserving;
  uint64_t drawn;
  size_t next_omitted; /* in the plan */
  bool healed, stopped;
  int64_t burst_begin_ns, burst_end_ns;
  struct random pace;
  uint64_t ok, fail, info;
  struct answer_room answers;
  struct request_room *request;
  struct appointment *appointments;
};

/* An event that finds nobody when the sessions are gone. */
struct appointment {
  struct appointment *previous, *next;
  struct sessions *all;    /* NULL: gone */
  struct session *session; /* NULL: the numbers */
  uint64_t rest;
};

static void start(struct session *session);
static void provide_numbers(struct sessions *all);

/* -- time ----------------------------------------------------------------------------------------------- */

static void keep_appointment(void *owner, bool happens) {
  const struct appointment appointment = *(struct appointment *)owner;
  if (appointment.previous)
    appointment.previous->next = appointment.next;
  else if (appointment.all)
    appointment.all->appointments = appointment.next;
  if (appointment.next)
    appointment.next->previous = appointment.previous;
  free(owner);
  if (!happens || !appointment.all)
    return;
  if (!appointment.session)
    provide_numbers(appointment.all);
  else if (appointment.session->rest == appointment.rest)
    start(appointment.session);
}

static void appoint(struct sessions *all, struct session *session, int64_t at_ns) {
  struct appointment *appointment = xmalloc(sizeof *appointment);
  *appointment = (struct appointment){
      .next = all->appointments, .all = all, .session = session, .rest = session ? session->rest : 0};
  if (appointment->next)
    appointment->next->previous = appointment;
  all->appointments = appointment;
  sim_at(all->cluster->world, at_ns, keep_appointment, appointment);
}

static int64_t draw_exponential(struct random *random, int64_t mean_ns) {
  return mean_ns > 0 ? (int64_t)random_exponential(random, (double)mean_ns) : 0;
}

/* The time itself when it lies in a burst, else when the next burst begins. */
static int64_t in_burst(struct sessions *all, int64_t at_ns) {
  const struct plan *plan = all->cluster->plan;
  if (all->healed || plan->silence_ns <= 0 || plan->burst_ns <= 0)
    return at_ns;
  while (at_ns > all->burst_end_ns) {
    all->burst_begin_ns = all->burst_end_ns + draw_exponential(&all->pace, plan->silence_ns);
    all->burst_end_ns = all->burst_begin_ns + draw_exponential(&all->pace, plan->burst_ns);
  }
  return at_ns > all->burst_begin_ns ? at_ns : all->burst_begin_ns;
}

static bool is_done(const struct session *session) {
  const struct sessions *all = session->all;
  if (all->stopped)
    return true;
  return all->healed ? session->answered : all->drawn >= all->cluster->plan->operations;
}

static void rest(struct session *session) {
  struct sessions *all = session->all;
  session->state = is_done(session) ? SESSION_STOPPED : SESSION_RESTING;
  session->rest++;
  if (session->state == SESSION_STOPPED)
    return;
  const int64_t mean_ns = all->cluster->plan->think_ns;
  const bool brief = all->healed && mean_ns > THINK_HEALED_NS;
  const int64_t think_ns = draw_exponential(&session->random, brief ? THINK_HEALED_NS : mean_ns);
  const int64_t now_ns = sim_now_ns(all->cluster->world);
  appoint(all, session, in_burst(all, now_ns + 1 + think_ns));
}

/* -- numbers -------------------------------------------------------------------------------------------- */

static uint32_t block_size(const struct sessions *all) {
  return (uint32_t)all->count + NUMBERS_SPARE;
}

static void reserved(void *context, const struct master_answer *answer, uint32_t first) {
  struct sessions *all = context;
  if (answer->outcome != MASTER_OK) {
    appoint(all, NULL, sim_now_ns(all->cluster->world) + RETRY_NS);
    return;
  }
  all->reserving = false;
  all->next_number = first;
  all->number_count = block_size(all);
  provide_numbers(all);
}

static void provide_numbers(struct sessions *all) {
  bool wanted = false;
  for (size_t i = 0; i < all->count; i++) {
    struct session *session = &all->sessions[i];
    if (session->state != SESSION_NUMBERLESS)
      continue;
    wanted = true;
    if (all->number_count == 0)
      break;
    all->number_count--;
    session->number = all->next_number++;
    session->sequence = 0;
    rest(session);
    wanted = false;
  }
  if (!wanted || all->stopped)
    return;
  all->reserving = true;
  sim_client_reserve(all->control, block_size(all), reserved, all);
}

static void await_number(struct session *session) {
  session->state = SESSION_NUMBERLESS;
  if (!session->all->reserving)
    provide_numbers(session->all);
}

/* -- an operation --------------------------------------------------------------------------------------- */

static void fold_text(struct sim_world *world, struct text text) {
  if (text.data)
    sim_fold(world, checksum(text.data, text.size));
}

static void fold_answer(struct sim_world *world, enum outcome outcome, const struct answer *answer) {
  sim_fold(world, (uint64_t)outcome << 32 | (uint64_t)answer->code);
  if (outcome != OUTCOME_OK)
    return;
  sim_fold(world, answer->creator);
  sim_fold(world, answer->version << 2 | (uint64_t)answer->exists << 1 | answer->completed);
  sim_fold(world, answer->length << 16 ^ answer->child_count);
  fold_text(world, answer->value);
  for (size_t i = 0; i < answer->entry_count; i++) {
    fold_text(world, answer->entries[i].name);
    sim_fold(world, answer->entries[i].creator);
  }
  for (size_t i = 0; i < answer->block_entry_count; i++)
    sim_fold(world, answer->blocks[i].block ^ answer->blocks[i].length << 1 ^ answer->blocks[i].committed);
  for (size_t i = 0; i < answer->item_count; i++)
    sim_fold(world, answer->items[i].creator ^ answer->items[i].version);
}

static void tell(struct session *session, const char *kind, const struct operation *operation) {
  struct sim_world *world = session->all->cluster->world;
  char text[400];
  if (!sim_traced(world))
    return;
  if (operation)
    operation_print(operation, text, sizeof text);
  else
    arguments_print(&session->arguments, text, sizeof text);
  sim_tell(world, kind, -2 - (int)session->index, -1, 0, "%" PRIu32 "-%" PRIu32 " %s", session->number,
           (uint32_t)session->op_id, text);
}

static void count(struct sessions *all, enum outcome outcome) {
  if (outcome == OUTCOME_OK)
    all->ok++;
  else if (outcome == OUTCOME_FAIL)
    all->fail++;
  else
    all->info++;
}

static void answered(void *context, const struct master_answer *from, uint32_t first_client) {
  static const char *const kinds[] = {"ok", "fail", "info"};
  (void)first_client;
  struct session *session = context;
  struct sessions *all = session->all;
  struct sim_world *world = all->cluster->world;
  struct answer answer;
  const enum outcome outcome = answer_of_master(&session->arguments, from, &all->answers, &answer);
  history_complete(all->history, session->position, outcome, &answer, sim_now_ns(world));
  struct operation *operation = &all->history->operations[session->position];
  operation->node = from->node ? (int32_t)from->node : -1;
  operation->term = from->term;
  operation->commit = from->commit;
  fold_answer(world, outcome, &answer);
  tell(session, kinds[outcome], operation);
  count(all, outcome);
  if (all->cluster->reports && outcome == OUTCOME_OK && session->arguments.kind == OPERATION_ADD_BLOCK)
    reports_learn(all->cluster->reports, from->block);
  generator_learn(all->generator, session->index, &session->arguments, outcome, &answer);
  if (from->outcome == MASTER_OK || from->outcome == MASTER_FAIL)
    session->answered = true;
  if (outcome == OUTCOME_INFO && !is_done(session))
    await_number(session);
  else
    rest(session);
}

/* What the shrinker took out is drawn like the others. */
static bool is_omitted(struct sessions *all) {
  const struct plan *plan = all->cluster->plan;
  const uint64_t number = all->drawn++;
  while (all->next_omitted < plan->omitted_count && plan->omitted[all->next_omitted] < number)
    all->next_omitted++;
  return !all->healed && all->next_omitted < plan->omitted_count &&
         plan->omitted[all->next_omitted] == number;
}

static void start(struct session *session) {
  struct sessions *all = session->all;
  struct sim_world *world = all->cluster->world;
  struct arguments drawn;
  if (session->state != SESSION_RESTING)
    return;
  if (is_done(session)) {
    session->state = SESSION_STOPPED;
    return;
  }
  generator_next(all->generator, session->index, &drawn);
  if (is_omitted(all)) {
    rest(session);
    return;
  }
  arguments_keep(&drawn, &session->text, &session->arguments);
  session->op_id = 0;
  if (operation_is_mutation(drawn.kind))
    session->op_id = (uint64_t)session->number << 32 | ++session->sequence;
  session->position =
      history_invoke(all->history, session->number, session->op_id, &session->arguments, sim_now_ns(world));
  sim_fold(world, session->op_id << 8 | (uint64_t)drawn.kind);
  fold_text(world, session->arguments.path);
  tell(session, "invoke", NULL);
  session->state = SESSION_BUSY;
  struct sim_client *client =
      session->reader && !operation_is_mutation(drawn.kind) ? session->reader : session->client;
  sim_client_submit(client, arguments_to_request(&session->arguments, session->op_id, all->request), answered,
                    session);
}

/* -- life ----------------------------------------------------------------------------------------------- */

/* As workloads/session.c has it: two clients of each group know one node only, each pair other ones, and
 * neighbours prefer different nodes. */
static bool knows_one_node(size_t client) {
  return client % 8 == 5 || client % 8 == 6;
}

static void open_session(struct sessions *all, size_t index) {
  const size_t nodes = all->cluster->plan->nodes;
  struct sim_client_options options = {.number = index,
                                       .first = knows_one_node(index) ? (index / 8 * 2 + index % 2) % nodes
                                                                      : index % nodes,
                                       .count = knows_one_node(index) ? 1 : nodes};
  all->sessions[index] =
      (struct session){.all = all, .index = index, .client = sim_client_new(all->cluster, &options)};
  options.any_node = true;
  if (index < all->cluster->plan->any_readers)
    all->sessions[index].reader = sim_client_new(all->cluster, &options);
  sim_stream(all->cluster->world, "session", index, &all->sessions[index].random);
}

struct sessions *sessions_new(struct sim_cluster *cluster) {
  const struct plan *plan = cluster->plan;
  struct sessions *all = xcalloc(1, sizeof *all);
  struct error error;
  all->cluster = cluster;
  all->count = plan->clients;
  all->history = history_new();
  sim_stream(cluster->world, "pace", 0, &all->pace);
  struct random workload;
  sim_stream(cluster->world, "workload", 0, &workload);
  const struct generator_options options = {.workload = plan->workload,
                                            .seed = random_next(&workload),
                                            .operations_per_set = plan->operations_per_set};
  const int status = generator_new(&options, &all->generator, &error);
  assert(status == 0 && "a plan's workload is one that there is");
  all->request = request_room_new();
  all->sessions = xcalloc(all->count, sizeof *all->sessions);
  for (size_t i = 0; i < all->count; i++)
    open_session(all, i);
  all->control =
      sim_client_new(cluster, &(struct sim_client_options){.number = all->count, .count = plan->nodes});
  all->burst_end_ns = draw_exponential(&all->pace, plan->burst_ns);
  provide_numbers(all);
  return all;
}

void sim_sessions_free(struct sessions *all) {
  for (struct appointment *at = all->appointments, *next; at; at = next) {
    next = at->next;
    *at = (struct appointment){0};
  }
  for (size_t i = 0; i < all->count; i++) {
    sim_client_free(all->sessions[i].client);
    if (all->sessions[i].reader)
      sim_client_free(all->sessions[i].reader);
    bytes_free(&all->sessions[i].text);
  }
  sim_client_free(all->control);
  generator_free(all->generator);
  history_free(all->history);
  answer_room_free(&all->answers);
  free(all->request);
  free(all->sessions);
  free(all);
}

static void session_node_died(struct session *session, size_t node) {
  sim_client_node_died(session->client, node);
  if (session->reader)
    sim_client_node_died(session->reader, node);
}

void sessions_node_died(struct sessions *all, size_t node) {
  for (size_t i = 0; i < all->count; i++)
    session_node_died(&all->sessions[i], node);
  sim_client_node_died(all->control, node);
}

void sessions_healed(struct sessions *all) {
  all->healed = true;
  for (size_t i = 0; i < all->count; i++) {
    struct session *session = &all->sessions[i];
    session->answered = false;
    if (session->state == SESSION_RESTING)
      rest(session);
    else if (session->state == SESSION_STOPPED)
      await_number(session);
  }
}

void sessions_stop(struct sessions *all) {
  all->stopped = true;
}

size_t sessions_waiting(const struct sessions *all, char *names, size_t size) {
  size_t waiting = 0, length = 0;
  if (size > 0)
    *names = '\0';
  for (size_t i = 0; i < all->count; i++) {
    if (all->sessions[i].answered || knows_one_node(i))
      continue;
    waiting++;
    if (length < size)
      length += (size_t)snprintf(names + length, size - length, "%s%zu", waiting > 1 ? ", " : "", i + 1);
  }
  return waiting;
}

void sessions_report(struct sessions *all, struct simulation_result *result) {
  result->operations = all->history->count;
  result->ok = all->ok;
  result->fail = all->fail;
  result->info = all->info;
}

const struct history *sessions_history(const struct sessions *all) {
  return all->history;
}

struct history *sessions_take_history(struct sessions *all) {
  struct history *taken = all->history;
  all->history = NULL;
  return taken;
}
