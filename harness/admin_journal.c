/* admin_journal.c: `assay admin journal`: the members of the journal, and what becomes of them.
 *
 * A change goes to the primary, which is looked for first. When it moves in between, the refusal names the
 * new one, and the question goes there: nothing was done by the node that refused. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/admin.h"
#include "harness/document.h"

#define FAILED 1
/* Refusals in a row that name another primary. */
#define HOPS_MAX 5
/* A node catches up before it is made a voter, and the master waits ten seconds for that. */
#define CHANGE_TIMEOUT_NS (15 * NS_PER_S)

static int exit_code_of(const struct admin *admin) {
  return admin->outcome == ADMIN_DONE ? 0 : admin->outcome == ADMIN_UNREACHABLE ? EXIT_HARNESS : FAILED;
}

/* ---- Whom to ask ---- */

/* Members that were not among the addresses, as the node at `which` has them. */
static void learn_members(struct admin *admin, size_t which) {
  admin_ask(admin, which, &(struct admin_request){.kind = ADMIN_QUORUM_INFO});
  for (size_t i = 0; i < admin->member_count && admin->count < CLUSTER_NODES_MAX; i++) {
    const char *address = admin->members[i].address;
    const char *client_port = strrchr(address, ':'), *peer_port = client_port;
    while (peer_port > address && *--peer_port != ':')
      ;
    char client_address[sizeof admin->names[0]];
    if (client_port &&
        (size_t)snprintf(client_address, sizeof client_address, "%.*s%s", (int)(peer_port - address), address,
                         client_port) < sizeof client_address &&
        master_client_add_node(admin->client, client_address) == admin->count)
      snprintf(admin->names[admin->count++], sizeof admin->names[0], "%s", client_address);
  }
}

/* The node that leads, as far as those say that answer. */
static bool look_for_primary(struct admin *admin, size_t *which, bool *answered) {
  uint64_t term = 0;
  bool found = false;
  for (size_t i = 0; i < admin->count; i++) {
    if (!admin_ask_status(admin, i))
      continue;
    const struct node_status status = admin->status;
    *answered = true;
    if (status.leader != 0 && status.leader != status.id)
      learn_members(admin, i);
    if (status.leader == status.id && status.id != 0 && status.term >= term) {
      term = status.term;
      admin->leader = status.id;
      *which = i;
      found = true;
    }
  }
  return found;
}

/* False, and said, when nobody leads. */
static bool find_primary(struct admin *admin, size_t *which) {
  bool answered = false;
  const bool found = look_for_primary(admin, which, &answered);
  if (!answered)
    admin_complain(admin, "no node answers: are the addresses right, and do the masters run?");
  else if (!found)
    admin_complain(admin,
                   "no node that answers leads: without a majority of the voters nothing can be changed; "
                   "start the voters that are down, or see assay admin journal recover --help");
  return found;
}

/* Asks the primary, wherever it goes; false when it could not be found. */
static bool ask_primary(struct admin *admin, const struct admin_request *request) {
  for (int hop = 0; hop < HOPS_MAX; hop++) {
    size_t primary;
    if (!find_primary(admin, &primary)) {
      admin->outcome = ADMIN_UNREACHABLE;
      return false;
    }
    const uint64_t asked = admin->leader;
    admin_ask(admin, primary, request);
    if (admin->outcome != ADMIN_REFUSED || admin->leader == 0 || admin->leader == asked)
      return true;
  }
  return true;
}

/* ---- info ---- */

static json_t *member_json(const struct admin_member *member, bool leader) {
  json_t *object = json_pack("{sIsssssb}", "node", (json_int_t)member->id, "address", member->address, "role",
                             quorum_role_name(member->role), "leader", leader);
  if (member->heard_ns >= 0 || leader) {
    json_object_set_new(object, "match_index", json_integer((json_int_t)member->match_index));
    json_object_set_new(object, "heard_ms", json_real((double)member->heard_ns / 1e6));
  }
  return object;
}

static void print_json(const struct admin *admin) {
  json_t *members = json_array();
  for (size_t i = 0; i < admin->member_count; i++)
    json_array_append_new(members, member_json(&admin->members[i], admin->members[i].id == admin->leader));
  json_t *object = json_pack("{sIsIsbsIso}", "leader", (json_int_t)admin->leader, "index",
                             (json_int_t)admin->membership_index, "committed", admin->membership_committed,
                             "last_index", (json_int_t)admin->last_index, "members", members);
  document_print_line(object);
  json_decref(object);
}

static void print_table(const struct admin *admin) {
  char duration[COUNT_TEXT_SIZE];
  printf("%-6s %-8s %-28s %-12s %s\n", "node", "role", "address", "entries to", "last heard");
  for (size_t i = 0; i < admin->member_count; i++) {
    const struct admin_member *member = &admin->members[i];
    const bool leads = member->id == admin->leader;
    const bool known = admin->from_leader && (member->heard_ns >= 0 || leads);
    char match[COUNT_TEXT_SIZE] = "-";
    if (known)
      snprintf(match, sizeof match, "%" PRIu64, member->match_index);
    printf("%-6" PRIu64 " %-8s %-28s %-12s %s\n", member->id, quorum_role_name(member->role), member->address,
           match,
           leads   ? "leads"
           : known ? duration_text(member->heard_ns, duration)
                   : "-");
  }
  if (!admin->membership_committed)
    printf("the change at index %" PRIu64 " is not committed yet\n", admin->membership_index);
}

/* The leader knows most; without one, some node that answers. */
static int show_members(struct admin *admin) {
  size_t from = 0;
  bool answered = false;
  admin->from_leader = look_for_primary(admin, &from, &answered);
  while (!admin->from_leader && from < admin->count && !admin_ask_status(admin, from))
    from++;
  if (from == admin->count || !answered) {
    admin_complain(admin, "no node answers: are the addresses right, and do the masters run?");
    return EXIT_HARNESS;
  }
  if (!admin_ask(admin, from, &(struct admin_request){.kind = ADMIN_QUORUM_INFO})) {
    admin_complain(admin, "%s", (const char *)admin->message.data);
    return exit_code_of(admin);
  }
  if (admin->member_count == 0) {
    admin_complain(admin, "the node at %s knows of no members: it waits to be added", admin->names[from]);
    return FAILED;
  }
  if (admin->json)
    print_json(admin);
  else
    print_table(admin);
  if (!admin->from_leader && !admin->json)
    printf("nobody leads: this is what the node at %s has\n", admin->names[from]);
  return 0;
}

static int info_command(int argc, char **argv) {
  struct admin admin = ADMIN_INIT("assay admin journal quorum info");
  const struct flag flags[] = {
      ADMIN_FLAGS(&admin),
      {"json", FLAG_BOOL, &admin.json, NULL, "print one JSON object instead of a table", 0, 0},
  };
  const struct flag_set set = {
      .program = admin.program,
      .summary = "Shows the members of the journal: who votes, who stands by, how far each\n"
                 "is, and when the leader last heard of it.",
      .flags = flags,
      .count = ARRAY_SIZE(flags)};
  return admin_run(&admin, &set, argc, argv, show_members);
}

/* ---- Changes ---- */

/* The one positional argument: "4", or with an address "4=127.0.0.1:7300:7400". */
static bool parse_node(struct admin *admin, const char *text, bool with_address, uint64_t *node,
                       const char **address) {
  char *end;
  *node = strtoull(text, &end, 10);
  const bool good =
      text[0] >= '1' && text[0] <= '9' && (with_address ? *end == '=' && end[1] != '\0' : *end == '\0');
  *address = with_address && good ? end + 1 : NULL;
  if (!good)
    admin_complain(admin,
                   with_address ? "takes NODE=HOST:PEER_PORT:CLIENT_PORT, not '%s'"
                                : "takes the number of a node, not '%s'",
                   text);
  return good;
}

static int tell(struct admin *admin, const char *done, uint64_t node) {
  if (admin->outcome == ADMIN_DONE && node != 0)
    printf("node %" PRIu64 " %s\n", node, done);
  else if (admin->outcome == ADMIN_DONE)
    printf("another node %s\n", done);
  else if (admin->message.size > 0)
    admin_complain(admin, "%s", (const char *)admin->message.data);
  return exit_code_of(admin);
}

/* One change; 0 or an exit code, and said. Node 0: any. */
static int change(struct admin *admin, enum admin_kind kind, uint64_t node, const char *address,
                  const char *done) {
  const struct admin_request request = {.kind = kind, .node = node, .text = address};
  if (!ask_primary(admin, &request))
    return EXIT_HARNESS;
  return tell(admin, done, node);
}

static int add(struct admin *admin, uint64_t node, const char *address, bool standby) {
  const int code = change(admin, ADMIN_QUORUM_ADD, node, address, "is a standby");
  if (code != 0 || standby)
    return code;
  return change(admin, ADMIN_QUORUM_PROMOTE, node, NULL, "is a voter");
}

/* The primary hands over before it goes, so that nobody has to wait for an election. */
static int remove_member(struct admin *admin, uint64_t node) {
  size_t primary;
  if (!find_primary(admin, &primary))
    return EXIT_HARNESS;
  if (admin->leader == node &&
      admin_ask(admin, primary, &(struct admin_request){.kind = ADMIN_QUORUM_INFO})) {
    size_t voters = 0;
    for (size_t i = 0; i < admin->member_count; i++)
      voters += admin->members[i].role == QUORUM_VOTER;
    if (voters > 1) {
      const int code = change(admin, ADMIN_QUORUM_ELECT, 0, NULL, "leads");
      if (code != 0)
        return code;
    }
  }
  return change(admin, ADMIN_QUORUM_REMOVE, node, NULL, "is no member");
}

enum verb { VERB_ADD, VERB_PROMOTE, VERB_DEMOTE, VERB_REMOVE, VERB_ELECT };

static const struct {
  const char *program, *summary, *positional;
} verbs[] = {
    [VERB_ADD] =
        {"assay admin journal quorum add",
         "Adds a node that was started with --join: first as standby, and when it has caught up as voter.",
         "NODE=HOST:PEER_PORT:CLIENT_PORT"},
    [VERB_PROMOTE] = {"assay admin journal quorum promote", "Makes a standby a voter, once it has caught up.",
                      "NODE"},
    [VERB_DEMOTE] = {"assay admin journal quorum demote",
                     "Makes a voter a standby: it neither votes nor counts.", "NODE"},
    [VERB_REMOVE] = {"assay admin journal quorum remove",
                     "Removes a member. The primary hands over to another node first.", "NODE"},
    [VERB_ELECT] = {"assay admin journal quorum elect",
                    "Hands leadership over to a voter, or to whichever is furthest.", "[NODE]"},
};

static int run(struct admin *admin, enum verb verb, uint64_t node, const char *address, bool standby) {
  switch (verb) {
  case VERB_ADD:
    return add(admin, node, address, standby);
  case VERB_PROMOTE:
    return change(admin, ADMIN_QUORUM_PROMOTE, node, NULL, "is a voter");
  case VERB_DEMOTE:
    return change(admin, ADMIN_QUORUM_DEMOTE, node, NULL, "is a standby");
  case VERB_REMOVE:
    return remove_member(admin, node);
  case VERB_ELECT:
    break;
  }
  return change(admin, ADMIN_QUORUM_ELECT, node, NULL, "leads");
}

static int verb_command(enum verb verb, int argc, char **argv) {
  struct admin admin = ADMIN_INIT(verbs[verb].program);
  bool standby = false;
  admin.timeout_ns = CHANGE_TIMEOUT_NS;
  const struct flag flags[] = {
      ADMIN_FLAGS(&admin),
      {"standby", FLAG_BOOL, &standby, NULL, "leave it standby", 0, 0},
  };
  const struct flag_set set = {.program = verbs[verb].program,
                               .summary = verbs[verb].summary,
                               .positional = verbs[verb].positional,
                               .flags = flags,
                               .count = ARRAY_SIZE(flags) - (verb == VERB_ADD ? 0 : 1)};
  int positional;
  const int code = flags_parse_or_exit_code(&set, argc, argv, &positional);
  if (code >= 0)
    return code;
  uint64_t node = 0;
  const char *address = NULL;
  if (positional > 1 || (positional == 0 && verb != VERB_ELECT)) {
    admin_complain(&admin, "takes %s", verbs[verb].positional);
    return EXIT_USAGE;
  }
  if (positional == 1 && !parse_node(&admin, argv[1], verb == VERB_ADD, &node, &address))
    return EXIT_USAGE;
  if (!admin_open(&admin))
    return EXIT_HARNESS;
  const int exit_code = run(&admin, verb, node, address, standby);
  admin_close(&admin);
  return exit_code;
}

static int add_command(int argc, char **argv) {
  return verb_command(VERB_ADD, argc, argv);
}

static int promote_command(int argc, char **argv) {
  return verb_command(VERB_PROMOTE, argc, argv);
}

static int demote_command(int argc, char **argv) {
  return verb_command(VERB_DEMOTE, argc, argv);
}

static int remove_command(int argc, char **argv) {
  return verb_command(VERB_REMOVE, argc, argv);
}

static int elect_command(int argc, char **argv) {
  return verb_command(VERB_ELECT, argc, argv);
}

static int quorum_command(int argc, char **argv) {
  static const struct command commands[] = {
      {"info", "show the members", info_command},
      {"add", "add a node", add_command},
      {"promote", "make a standby a voter", promote_command},
      {"demote", "make a voter a standby", demote_command},
      {"remove", "remove a member", remove_command},
      {"elect", "hand leadership over", elect_command},
  };
  return command_dispatch("assay admin journal quorum", "The members of the journal, one change at a time.",
                          commands, ARRAY_SIZE(commands), argc, argv);
}

/* The master's own work, since it knows its data. */
static int recover_command(int argc, char **argv) {
  if (argc >= 2 && strcmp(argv[1], "--help") != 0)
    return admin_exec_master("assay admin journal recover", "--recover", argc, argv);
  printf(
      "usage: assay admin journal recover --id N --data DIR --cluster-id N --member ID=HOST:PEER:CLIENT ... "
      "[--accept-loss]\n\n"
      "For a cluster that has lost a majority of its voters for good: makes the members given, this node among\n"
      "them, those of this node's journal. No master may run on the data. Without --accept-loss it only says what\n"
      "the node has: take the one with the highest term and the longest log. What the lost voters committed\n"
      "behind that is lost, and no former member may ever run again on the data it has.\n");
  return argc < 2 ? EXIT_USAGE : 0;
}

int admin_journal_command(int argc, char **argv) {
  static const struct command commands[] = {
      {"quorum", "show the members, add and remove them, hand leadership over", quorum_command},
      {"recover", "go on with other members when a majority of the voters is lost", recover_command},
      {"checkpoint", "take a snapshot on a node now, and cut its log", admin_checkpoint_command},
  };
  return command_dispatch("assay admin journal", "The journal of the masters.", commands,
                          ARRAY_SIZE(commands), argc, argv);
}
