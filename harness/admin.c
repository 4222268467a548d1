/* admin.c: `assay admin`: what an operator asks of running masters.
 *
 * Exit codes: 0 done, 1 refused or failed (nothing was done, or not all), 3 a node did not answer, 64 wrong
 * usage. */
#include "harness/admin.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/cluster_state.h"
#include "harness/document.h"

#define FAILED 1

void admin_complain(const struct admin *admin, const char *format, ...) {
  va_list arguments;
  fprintf(stderr, "%s: ", admin->program);
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
}

/* ---- Whom to ask ---- */

static int connect_nodes(struct admin *admin, struct error *error) {
  const char *addresses[CLUSTER_NODES_MAX];
  struct cluster_state state;
  const bool given = admin->addresses.count > 0;
  int status = given ? 0 : cluster_state_load(admin->store, &state, error);
  if (status == 0)
    status = secure_open(&admin->tls_files, given ? NULL : state.certificates, &admin->tls, error);
  if (status == 0 && !given)
    status = cluster_state_join(&state, error);
  if (status != 0)
    return status;
  admin->count = given ? admin->addresses.count : state.count;
  if (admin->count > CLUSTER_NODES_MAX)
    return error_set(error, ERR_BAD_INPUT, "%zu nodes are more than the %d that a cluster may have",
                     admin->count, CLUSTER_NODES_MAX);
  for (size_t i = 0; i < admin->count; i++) {
    addresses[i] = given ? admin->addresses.items[i] : state.addresses[i];
    snprintf(admin->names[i], sizeof admin->names[i], "%s", addresses[i]);
  }
  const struct master_client_options options = {.addresses = addresses,
                                                .address_count = admin->count,
                                                .attempt_timeout_ns = admin->whole ? 0 : admin->timeout_ns,
                                                .request_timeout_ns = admin->whole ? admin->timeout_ns : 0,
                                                .retry = true,
                                                .tls = admin->tls};
  uv_loop_init(&admin->loop);
  return master_client_open(&admin->loop, &options, &admin->client, error);
}

bool admin_open(struct admin *admin) {
  struct error error = {0};
  if (connect_nodes(admin, &error) == 0)
    return true;
  admin_complain(admin, "%s", error.message);
  return false;
}

void admin_close(struct admin *admin) {
  master_client_close(admin->client, NULL, NULL);
  uv_run(&admin->loop, UV_RUN_DEFAULT);
  uv_loop_close(&admin->loop);
  tls_context_free(admin->tls);
  bytes_free(&admin->message);
  bytes_free(&admin->text);
}

/* ---- Asking ---- */

static void await(struct admin *admin) {
  while (!admin->answered)
    uv_run(&admin->loop, UV_RUN_ONCE);
}

static void on_status(void *context, const struct node_status *status) {
  struct admin *admin = context;
  admin->status = *status;
  admin->answered = true;
}

bool admin_ask_status(struct admin *admin, size_t which) {
  admin->answered = false;
  master_client_status(admin->client, which, admin->with_hash, on_status, admin);
  await(admin);
  return admin->status.role != NODE_UNREACHABLE;
}

static void keep_text(struct bytes *to, const char *text) {
  bytes_clear(to);
  bytes_append(to, text, strlen(text) + 1);
}

static void keep_quorum(struct admin *admin, const struct quorum *quorum) {
  admin->leader = quorum->leader;
  admin->membership_index = quorum->index;
  admin->membership_committed = quorum->committed;
  admin->last_index = quorum->last_index;
  admin->member_count = quorum->count < ADMIN_MEMBERS_MAX ? quorum->count : ADMIN_MEMBERS_MAX;
  for (size_t i = 0; i < admin->member_count; i++) {
    const struct quorum_member *from = &quorum->members[i];
    struct admin_member *member = &admin->members[i];
    *member = (struct admin_member){
        .id = from->id, .role = from->role, .match_index = from->match_index, .heard_ns = from->heard_ns};
    snprintf(member->address, sizeof member->address, "%s", from->address);
  }
}

static void on_answer(void *context, const struct admin_answer *answer) {
  struct admin *admin = context;
  admin->outcome = answer->status;
  keep_text(&admin->message, answer->message);
  keep_text(&admin->text, answer->text);
  keep_quorum(admin, &answer->quorum);
  if (admin->take && answer->status == ADMIN_DONE)
    admin->take(admin->take_context, answer);
  admin->answered = true;
}

bool admin_ask(struct admin *admin, size_t which, const struct admin_request *request) {
  return admin_ask_patiently(admin, which, request, 0);
}

bool admin_ask_patiently(struct admin *admin, size_t which, const struct admin_request *request,
                         int64_t timeout_ns) {
  admin->answered = false;
  master_client_admin(admin->client, which, request, timeout_ns, on_answer, admin);
  await(admin);
  return admin->outcome == ADMIN_DONE;
}

int admin_exit_code(const struct admin *admin) {
  return admin->outcome == ADMIN_DONE ? 0 : admin->outcome == ADMIN_UNREACHABLE ? EXIT_HARNESS : FAILED;
}

bool admin_find_node(struct admin *admin, size_t *which) {
  for (size_t i = 0; i < admin->count; i++) {
    if (admin_ask_status(admin, i) && admin->status.id == (uint64_t)admin->node) {
      *which = i;
      return true;
    }
  }
  admin_complain(admin, "no node that answers has the number %" PRId64 " (assay admin report lists them)",
                 admin->node);
  return false;
}

int admin_run(struct admin *admin, const struct flag_set *set, int argc, char **argv,
              int (*run)(struct admin *admin)) {
  int positional;
  const int code = flags_parse_or_exit_code(set, argc, argv, &positional);
  if (code >= 0)
    return code;
  if (!admin_open(admin))
    return EXIT_HARNESS;
  const int exit_code = run(admin);
  admin_close(admin);
  return exit_code;
}

/* ---- log-level ---- */

/* One node, or all of them: the worst exit code. */
static int ask_levels(struct admin *admin, const char *level) {
  size_t first = 0, end = admin->count;
  if (admin->node != 0) {
    if (!admin_find_node(admin, &first))
      return EXIT_HARNESS;
    end = first + 1;
  }
  int worst = 0;
  for (size_t i = first; i < end; i++) {
    const struct admin_request request = {.kind = ADMIN_LOG_LEVEL, .text = level};
    if (admin_ask(admin, i, &request))
      printf("%-22s %s\n", admin->names[i], (const char *)admin->text.data);
    else
      admin_complain(admin, "%s: %s", admin->names[i], (const char *)admin->message.data);
    const int code = admin_exit_code(admin);
    worst = code > worst ? code : worst;
  }
  return worst;
}

static int log_level_command(int argc, char **argv) {
  struct admin admin = ADMIN_INIT("assay admin log-level");
  const struct flag flags[] = {
      ADMIN_FLAGS(&admin),
      {"node", FLAG_INT, &admin.node, "N", "the number of one node (default: all)", 1, 9e15},
  };
  const struct flag_set set = {
      .program = admin.program,
      .summary = "Shows from which level on masters write messages: debug, info, warn or error; or sets it,\n"
                 "until they are started anew.",
      .positional = "[LEVEL]",
      .flags = flags,
      .count = ARRAY_SIZE(flags)};
  int positional;
  const int code = flags_parse_or_exit_code(&set, argc, argv, &positional);
  if (code >= 0)
    return code;
  enum log_level level;
  if (positional > 1 || (positional == 1 && !log_level_parse(argv[1], &level))) {
    admin_complain(&admin, "takes one level: debug, info, warn or error");
    return EXIT_USAGE;
  }
  if (!admin_open(&admin))
    return EXIT_HARNESS;
  const int exit_code = ask_levels(&admin, positional == 1 ? argv[1] : NULL);
  admin_close(&admin);
  return exit_code;
}

/* ---- The command ---- */

int admin_command(int argc, char **argv) {
  static const struct command commands[] = {
      {"journal", "the journal: its members, leadership, snapshots", admin_journal_command},
      {"report", "what each node is, has and lacks, in a table", admin_report_command},
      {"backup", "copy the state of a running node into a directory", admin_backup_command},
      {"restore", "make a node's data directory of a backup", admin_restore_command},
      {"mount", "show a directory of the masters' machines in the namespace", admin_mount_command},
      {"unmount", "take a mounted directory out of the namespace", admin_unmount_command},
      {"mounts", "what is mounted where", admin_mounts_command},
      {"log-level", "show or set from which level on masters write messages", log_level_command},
  };
  return command_dispatch("assay admin", "What an operator asks of running masters.", commands,
                          ARRAY_SIZE(commands), argc, argv);
}
