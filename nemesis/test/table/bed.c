/* bed.c: see bed.h. */
#include "nemesis/test/table/bed.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "nemesis/test/inside.h"
#include "nemesis/test/table/masters.h"

#define ANSWER_WITHIN_MS 10000
#define RESEND_MS 50
#define HEARD_WITHIN_MS 5000
#define HEALED_WITHIN_MS 60000

/* ---- What the nemesis tells ---- */

static void note_problem(struct bed *bed, const char *what, const json_t *event) {
  char *text = json_dumps(event, JSON_COMPACT);
  snprintf(bed->problem, sizeof bed->problem, "%s: %s", what, text);
  free(text);
}

static void keep(json_t **kept, json_t *event) {
  json_decref(*kept);
  *kept = json_incref(event);
}

static void on_fault(struct bed *bed, json_t *event, const char *phase) {
  if (strcmp(phase, "installed") == 0)
    keep(&bed->installed, event);
  else if (strcmp(phase, "healed") == 0)
    keep(&bed->healed, event);
  else if (strcmp(phase, "stuck") == 0)
    note_problem(bed, "a heal is stuck", event);
  else if (strcmp(phase, "act") == 0)
    bed->acts++;
  if (strcmp(phase, "act") == 0 && json_object_get(event, "reason"))
    note_problem(bed, "an act has failed", event);
}

static void on_event(void *context, const char *text) {
  struct bed *bed = context;
  json_t *event = json_loads(text, 0, NULL);
  CHECK(event, "%s", text);
  const char *kind = json_string_value(json_object_get(event, "event"));
  const char *state = json_string_value(json_object_get(event, "state"));
  if (strcmp(kind, "fault") == 0)
    on_fault(bed, event, json_string_value(json_object_get(event, "phase")));
  else if (strcmp(kind, "node") != 0)
    note_problem(bed, "the nemesis has failed", event);
  else if (strcmp(state, "died") == 0)
    note_problem(bed, "a node died", event);
  json_decref(event);
  uv_stop(&bed->loop); /* somebody may have waited for this */
}

/* ---- Life ---- */

static void on_deadline(uv_timer_t *timer) {
  (void)timer; /* it has woken the loop */
}

static void set_deadline(struct bed *bed, int64_t at_ns) {
  const int64_t left_ns = at_ns - time_monotonic_ns();
  uv_update_time(&bed->loop);
  uv_timer_start(&bed->deadline, on_deadline, left_ns > 0 ? (uint64_t)(left_ns / NS_PER_MS) + 1 : 0, 0);
}

/* Runs the loop once, until `give_up_ns` at the most. */
static bool wait_until(struct bed *bed, int64_t give_up_ns) {
  if (time_monotonic_ns() >= give_up_ns)
    return false;
  set_deadline(bed, give_up_ns);
  uv_run(&bed->loop, UV_RUN_ONCE);
  uv_timer_stop(&bed->deadline);
  return true;
}

static void start_nodes(struct bed *bed) {
  char reply[BED_REPLY_SIZE];
  struct error error = {0};
  for (size_t i = 0; i < BED_NODES; i++)
    CHECK(cluster_start(bed->cluster, i, &error) == 0, "%s", error.message);
  for (size_t i = 0; i < BED_NODES; i++) {
    bed_must_ask(bed, i, reply, "who");
    bed->pids[i] = cluster_node_pid(bed->cluster, i);
    nemesis_note_node(bed->nemesis, i,
                      &(struct node_facts){.known = true, .primary = i == BED_PRIMARY, .term = 1});
  }
}

/* The same program under another name. */
static char *copy_program(const char *program, const char *directory) {
  char *path = path_join(directory, BED_OLD_PROGRAM);
  struct bytes content = {0};
  struct error error = {0};
  CHECK(file_read(program, &content, &error) == 0, "%s", error.message);
  CHECK(file_replace(path, content.data, content.size, &error) == 0, "%s", error.message);
  CHECK(chmod(path, 0755) == 0, "cannot make %s a program", path);
  bytes_free(&content);
  return path;
}

void bed_open(struct bed *bed, const struct bed_options *wanted) {
  const bool masters = wanted->needs & CAPABILITY_BIT(CAN_MEMBERS);
  /* The command that asks them takes its time, the more so in builds that look after themselves. */
  static const char *const unhurried[] = {"--election-timeout", "3000", "--heartbeat", "200", NULL};
  char *program = test_program(masters ? "../bin/assay-master" : "assay-echo-node"),
       *history = path_join(wanted->directory, "nemesis.jsonl");
  char *old = copy_program(program, wanted->directory);
  const struct cluster_options cluster = {.provider = PROVIDER_NETNS,
                                          .link = wanted->link,
                                          .seed = 1,
                                          .needs = wanted->needs,
                                          .nodes = BED_NODES,
                                          .master = program,
                                          .old_master = old,
                                          .extra = masters ? unhurried : NULL,
                                          .directory = wanted->directory};
  const struct nemesis_options options = {.families = "none", .seed = 1, .history = history};
  struct error error = {0};
  *bed = (struct bed){0};
  CHECK(uv_loop_init(&bed->loop) == 0, "no loop");
  uv_timer_init(&bed->loop, &bed->deadline);
  CHECK(cluster_new(&bed->loop, &cluster, &bed->cluster, &error) == 0, "%s", error.message);
  CHECK(nemesis_new(&bed->loop, bed->cluster, &options, on_event, bed, &bed->nemesis, &error) == 0, "%s",
        error.message);
  if (masters)
    bed->masters = masters_open(bed);
  else
    start_nodes(bed);
  nemesis_start(bed->nemesis);
  free(history);
  free(old);
  free(program);
}

struct stopped {
  struct bed *bed;
  bool done;
};

static void on_stopped(void *context, int status, const struct error *error) {
  struct stopped *stopped = context;
  stopped->done = true;
  uv_stop(&stopped->bed->loop);
  if (status != 0)
    snprintf(stopped->bed->problem, sizeof stopped->bed->problem, "not all is healed: %.200s",
             error->message);
}

void bed_close(struct bed *bed) {
  struct stopped stopped = {.bed = bed};
  const int64_t give_up_ns = time_monotonic_ns() + HEALED_WITHIN_MS * NS_PER_MS;
  nemesis_stop(bed->nemesis, on_stopped, &stopped);
  while (!stopped.done)
    CHECK(wait_until(bed, give_up_ns), "the nemesis does not stop");
  if (bed->masters)
    masters_close(bed->masters);
  nemesis_free(bed->nemesis);
  cluster_free(bed->cluster);
  uv_close((uv_handle_t *)&bed->deadline, NULL);
  uv_run(&bed->loop, UV_RUN_DEFAULT);
  CHECK(uv_loop_close(&bed->loop) == 0, "handles are left on the loop");
  json_decref(bed->installed);
  json_decref(bed->healed);
}

/* Some faults take a while to be installed, and to be healed. */
static int await_progress(struct bed *bed, struct error *error) {
  const int64_t give_up_ns = time_monotonic_ns() + HEALED_WITHIN_MS * NS_PER_MS;
  int status;
  while ((status = nemesis_progress(bed->nemesis, bed->fault, error)) > 0)
    CHECK(wait_until(bed, give_up_ns), "the fault neither takes hold nor ends");
  return status;
}

bool bed_install(struct bed *bed, const char *fault, const char *told, struct error *error) {
  struct bytes entry = {0};
  bytes_append_format(&entry, "{\"fault\": \"%s\"%s%s}", fault, told ? ", " : "", told ? told : "");
  bytes_append_u8(&entry, 0);
  int status = nemesis_install(bed->nemesis, (const char *)entry.data, &bed->fault, error);
  if (status == 0)
    status = await_progress(bed, error);
  bytes_free(&entry);
  CHECK(status != 0 || bed->installed, "an installation that was not told");
  return status == 0;
}

bool bed_heal(struct bed *bed, struct error *error) {
  int status = nemesis_heal(bed->nemesis, bed->fault, error);
  if (status == 0)
    status = await_progress(bed, error);
  CHECK(status != 0 || bed->healed, "a heal that was not told");
  return status == 0;
}

void bed_turn(struct bed *bed) {
  uv_run(&bed->loop, UV_RUN_NOWAIT);
}

bool bed_await_acts(struct bed *bed, size_t acts, int patience_ms) {
  const int64_t give_up_ns = time_monotonic_ns() + patience_ms * NS_PER_MS;
  while (bed->acts < acts && wait_until(bed, give_up_ns))
    ;
  return bed->acts >= acts;
}

bool bed_await_over(struct bed *bed, int patience_ms) {
  const int64_t give_up_ns = time_monotonic_ns() + patience_ms * NS_PER_MS;
  while (nemesis_is_watching(bed->nemesis) && wait_until(bed, give_up_ns))
    ;
  return !nemesis_is_watching(bed->nemesis);
}

/* ---- What the fault is ---- */

static bool names(const json_t *list, size_t node) {
  char name[NODE_NAME_SIZE];
  size_t i;
  json_t *item;
  snprintf(name, sizeof name, "n%zu", node + 1);
  json_array_foreach(list, i, item) if (strcmp(json_string_value(item), name) == 0) return true;
  return false;
}

/* Whether the member `kind` says of `node` that `other` is among its. */
static bool relates(const struct bed *bed, const char *kind, size_t node, size_t other) {
  char name[NODE_NAME_SIZE];
  snprintf(name, sizeof name, "n%zu", node + 1);
  return names(json_object_get(json_object_get(bed->installed, kind), name), other);
}

double bed_number(const struct bed *bed, const char *name) {
  const json_t *number = json_object_get(json_object_get(bed->installed, "numbers"), name);
  CHECK(json_is_number(number), "the nemesis has not told %s", name);
  return json_number_value(number);
}

bool bed_is_target(const struct bed *bed, size_t node) {
  return names(json_object_get(bed->installed, "targets"), node);
}

size_t bed_targets(const struct bed *bed) {
  return json_array_size(json_object_get(bed->installed, "targets"));
}

size_t bed_first_target(const struct bed *bed) {
  size_t node = 0;
  while (node < BED_NODES && !bed_is_target(bed, node))
    node++;
  CHECK(node < BED_NODES, "a fault without targets");
  return node;
}

bool bed_hears(const struct bed *bed, size_t node, size_t other) {
  return bed->healed || !relates(bed, "grudge", node, other);
}

bool bed_shapes(const struct bed *bed, size_t from, size_t to) {
  return relates(bed, "links", from, to);
}

/* ---- Asking ---- */

static int connect_to(const char *address) {
  char host[64];
  int port;
  CHECK(sscanf(address, "%63[^:]:%d", host, &port) == 2, "%s", address);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  inet_pton(AF_INET, host, &to.sin_addr);
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  CHECK(connect(fd, (const struct sockaddr *)&to, sizeof to) == 0, "%s", address);
  return fd;
}

static bool ask_once(int fd, const char *question, int patience_ms, char *reply) {
  struct pollfd ready = {.fd = fd, .events = POLLIN};
  ssize_t got = -1;
  if (send(fd, question, strlen(question), 0) >= 0 && poll(&ready, 1, patience_ms) > 0)
    got = recv(fd, reply, BED_REPLY_SIZE - 1, 0);
  if (got >= 0)
    reply[got] = '\0';
  else
    poll(NULL, 0, 1); /* nobody listens there, or not yet */
  return got >= 0;
}

static bool ask(struct bed *bed, size_t node, int patience_ms, char *reply, const char *format,
                va_list arguments) {
  char question[256];
  const int fd = connect_to(cluster_client_address(bed->cluster, node));
  const int length = snprintf(question, sizeof question, "#%u ", ++bed->questions);
  vsnprintf(question + length, sizeof question - (size_t)length, format, arguments);
  const int64_t give_up_ns = time_monotonic_ns() + patience_ms * NS_PER_MS;
  bool answered = false;
  for (int64_t left_ns; !answered && (left_ns = give_up_ns - time_monotonic_ns()) > 0;) {
    const int left_ms = (int)(left_ns / NS_PER_MS) + 1;
    answered = ask_once(fd, question, left_ms < RESEND_MS ? left_ms : RESEND_MS, reply);
  }
  close(fd);
  return answered;
}

bool bed_ask(struct bed *bed, size_t node, int patience_ms, char reply[BED_REPLY_SIZE], const char *format,
             ...) {
  va_list arguments;
  va_start(arguments, format);
  const bool answered = ask(bed, node, patience_ms, reply, format, arguments);
  va_end(arguments);
  return answered;
}

void bed_must_ask(struct bed *bed, size_t node, char reply[BED_REPLY_SIZE], const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const bool answered = ask(bed, node, ANSWER_WITHIN_MS, reply, format, arguments);
  va_end(arguments);
  CHECK(answered, "node n%zu does not answer its clients", node + 1);
}

/* ---- Who hears whom ---- */

/* What a node has heard since, and including, the token `since`. */
static void look(struct bed *bed, size_t node, unsigned since, unsigned *tokens) {
  char reply[BED_REPLY_SIZE];
  bed_must_ask(bed, node, reply, "heard");
  char *at = reply;
  for (size_t other = 0; other < BED_NODES; other++) {
    const char *word = strsep(&at, " ");
    CHECK(word, "node n%zu tells too little: '%s'", node + 1, reply);
    const unsigned token = (unsigned)strtoul(word, NULL, 10);
    tokens[other] = token >= since ? token : 0;
  }
}

/* Every node has sent twice, so when all that shall arrive of the second time has, anything of the first that
 * should not have passed has arrived as well: frames keep their order. */
void bed_listen(struct bed *bed, bool heard[BED_NODES * BED_NODES]) {
  const unsigned first = bed->token + 1, second = bed->token + 2;
  char reply[BED_REPLY_SIZE];
  bool answers[BED_NODES];
  bed->token = second;
  memset(heard, false, BED_NODES * BED_NODES);
  for (size_t i = 0; i < BED_NODES; i++)
    answers[i] = cluster_node_state(bed->cluster, i) == NODE_RUNNING;
  for (unsigned token = first; token <= second; token++)
    for (size_t i = 0; i < BED_NODES; i++)
      if (answers[i])
        bed_must_ask(bed, i, reply, "send %u", token);
  const int64_t give_up_ns = time_monotonic_ns() + HEARD_WITHIN_MS * NS_PER_MS;
  for (size_t node = 0; node < BED_NODES; node++) {
    unsigned tokens[BED_NODES] = {0};
    for (bool complete = !answers[node]; !complete;) {
      look(bed, node, first, tokens);
      complete = true;
      for (size_t other = 0; other < BED_NODES; other++)
        complete = complete && (other == node || !answers[other] || !bed_hears(bed, node, other) ||
                                tokens[other] == second);
      complete = complete || time_monotonic_ns() > give_up_ns;
    }
    for (size_t other = 0; other < BED_NODES; other++)
      heard[node * BED_NODES + other] = tokens[other] > 0;
  }
}
