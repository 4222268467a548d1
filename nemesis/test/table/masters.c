/* masters.c: see masters.h. */
#include "nemesis/test/table/masters.h"

#include <string.h>

#include "nemesis/test/inside.h"

#define POLL_MS 200
#define PATIENCE_NS (60 * NS_PER_S)

struct masters {
  struct bed *bed;
  uv_timer_t poll, question;
  bool asked;
  size_t node; /* that is asked */
  struct members_request request;
  char address[64];
  members_callback *callback;
  void *callback_context;
  int leader;
  uint64_t term; /* of our counting: it rises with each leader that is seen */
  int handles;
};

/* ---- The command ---- */

#define ALL_NODES SIZE_MAX

/* Runs it at one node, or at all that run; its exit code, and what it printed. */
static int quorum(const struct bed *bed, size_t asked, struct bytes *output, const char *arguments) {
  struct bytes command = {0};
  char *program = test_program("../bin/assay"), part[4096];
  bytes_append_format(&command, "%s admin journal quorum %s", program, arguments);
  for (size_t i = 0; i < cluster_size(bed->cluster); i++)
    if (asked == ALL_NODES ? cluster_node_pid(bed->cluster, i) >= 0 : i == asked)
      bytes_append_format(&command, " --address %s", cluster_client_address(bed->cluster, i));
  bytes_append_format(&command, " 2>&1");
  bytes_append_u8(&command, 0);
  FILE *pipe = popen((const char *)command.data, "re");
  CHECK(pipe, "cannot run %s", program);
  for (size_t got; (got = fread(part, 1, sizeof part, pipe)) > 0;)
    bytes_append(output, part, got);
  const int status = pclose(pipe);
  bytes_append_u8(output, 0);
  bytes_free(&command);
  free(program);
  return status;
}

/* False when nobody leads, or nobody answers. */
static bool look(const struct bed *bed, size_t asked, struct members *members) {
  struct bytes output = {0};
  *members = (struct members){.leader = -1};
  const bool ran = quorum(bed, asked, &output, "info --json") == 0;
  json_t *object = ran ? json_loads((const char *)output.data, 0, NULL) : NULL, *member;
  bytes_free(&output);
  size_t at;
  members->leader = (int)json_integer_value(json_object_get(object, "leader")) - 1;
  members->index = (uint64_t)json_integer_value(json_object_get(object, "index"));
  members->committed = json_is_true(json_object_get(object, "committed"));
  json_array_foreach(json_object_get(object, "members"), at, member) {
    const json_int_t node = json_integer_value(json_object_get(member, "node"));
    const char *role = json_string_value(json_object_get(member, "role"));
    CHECK(node >= 1 && node <= CLUSTER_NODES_MAX && role, "no member");
    members->seats[node - 1] = strcmp(role, "voter") == 0 ? SEAT_VOTER : SEAT_STANDBY;
  }
  json_decref(object);
  return asked == ALL_NODES ? members->leader >= 0 : ran;
}

bool masters_look_at(const struct bed *bed, size_t node, struct members *members) {
  return look(bed, node, members);
}

struct members masters_look(struct bed *bed) {
  const int64_t give_up_ns = time_monotonic_ns() + PATIENCE_NS;
  struct members members;
  while (!look(bed, ALL_NODES, &members) || !members.committed) {
    CHECK(time_monotonic_ns() < give_up_ns, "no leader tells the members");
    bed_turn(bed);
  }
  return members;
}

/* ---- What the nemesis asks ---- */

static void on_question(uv_timer_t *timer) {
  static const char *const words[] = {[MEMBERS_ADD] = "add --standby",
                                      [MEMBERS_PROMOTE] = "promote",
                                      [MEMBERS_DEMOTE] = "demote",
                                      [MEMBERS_REMOVE] = "remove",
                                      [MEMBERS_ELECT] = "elect"};
  struct masters *masters = timer->data;
  const struct members_request *request = &masters->request;
  struct members_answer answer = {.message = "nobody leads"};
  struct bytes output = {0};
  char text[128];
  if (request->verb == MEMBERS_LOOK) {
    answer.done = look(masters->bed, ALL_NODES, &answer.members);
  } else {
    snprintf(text, sizeof text, "%s %zu%s%s", words[request->verb], request->node + 1,
             request->verb == MEMBERS_ADD ? "=" : "", request->verb == MEMBERS_ADD ? masters->address : "");
    answer.done = quorum(masters->bed, masters->node, &output, text) == 0;
    answer.message = (const char *)output.data;
  }
  masters->asked = false;
  masters->callback(masters->callback_context, &answer);
  bytes_free(&output);
}

static void ask(void *context, size_t asked, const struct members_request *request,
                members_callback *callback, void *callback_context) {
  struct masters *masters = context;
  CHECK(!masters->asked, "two questions at once");
  masters->asked = true;
  masters->node = asked;
  masters->request = *request;
  snprintf(masters->address, sizeof masters->address, "%s", request->address ? request->address : "");
  masters->callback = callback;
  masters->callback_context = callback_context;
  uv_timer_start(&masters->question, on_question, 0, 0);
}

/* ---- Who leads ---- */

static void note_leader(struct masters *masters, int leader) {
  masters->term += leader != masters->leader;
  masters->leader = leader;
  for (size_t i = 0; i < cluster_size(masters->bed->cluster); i++)
    nemesis_note_node(masters->bed->nemesis, i,
                      &(struct node_facts){.known = cluster_node_pid(masters->bed->cluster, i) >= 0,
                                           .primary = (int)i == leader,
                                           .term = masters->term});
}

static void on_poll(uv_timer_t *timer) {
  struct masters *masters = timer->data;
  struct members members;
  if (!masters->asked && look(masters->bed, ALL_NODES, &members))
    note_leader(masters, members.leader);
}

/* ---- Life ---- */

struct masters *masters_open(struct bed *bed) {
  struct masters *masters = xcalloc(1, sizeof *masters);
  struct error error = {0};
  struct bytes output = {0};
  char text[32];
  const int64_t give_up_ns = time_monotonic_ns() + PATIENCE_NS;
  *masters = (struct masters){.bed = bed, .leader = -1, .handles = 2};
  for (size_t i = 0; i < cluster_founders(bed->cluster); i++)
    CHECK(cluster_start(bed->cluster, i, &error) == 0, "%s", error.message);
  snprintf(text, sizeof text, "elect %d", BED_PRIMARY + 1);
  while (masters_look(bed).leader != BED_PRIMARY) {
    CHECK(time_monotonic_ns() < give_up_ns, "n%d does not lead: %s", BED_PRIMARY + 1,
          (const char *)output.data);
    bytes_clear(&output);
    quorum(bed, ALL_NODES, &output, text);
  }
  bytes_free(&output);
  for (size_t i = 0; i < cluster_founders(bed->cluster); i++)
    bed->pids[i] = cluster_node_pid(bed->cluster, i);
  uv_timer_init(&bed->loop, &masters->poll);
  uv_timer_init(&bed->loop, &masters->question);
  masters->poll.data = masters->question.data = masters;
  uv_timer_start(&masters->poll, on_poll, POLL_MS, POLL_MS);
  cluster_set_members_door(bed->cluster, &(struct members_door){.context = masters, .ask = ask});
  note_leader(masters, BED_PRIMARY);
  return masters;
}

static void on_closed(uv_handle_t *handle) {
  struct masters *masters = handle->data;
  if (--masters->handles == 0)
    free(masters);
}

/* What is still asked is answered, as struct members_door tells. */
void masters_close(struct masters *masters) {
  cluster_set_members_door(masters->bed->cluster, NULL);
  if (masters->asked)
    on_question(&masters->question);
  uv_close((uv_handle_t *)&masters->poll, on_closed);
  uv_close((uv_handle_t *)&masters->question, on_closed);
}
