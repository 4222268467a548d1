/* admin.h: what the commands of `assay admin` share: whom to ask, and asking.
 *
 * One file a noun: admin.c (report, log-level), admin_journal.c, … Each asks single nodes, one after another,
 * and waits for each answer. */
#ifndef ASSAY_HARNESS_ADMIN_H
#define ASSAY_HARNESS_ADMIN_H

#include <uv.h>

#include "base/base.h"
#include "harness/commands.h"
#include "harness/secure.h"
#include "master/client/client.h"
#include "nemesis/nemesis.h"

/* A copy of struct quorum_member. */
struct admin_member {
  uint64_t id;
  char address[96];
  enum quorum_role role;
  uint64_t match_index;
  int64_t heard_ns;
};
#define ADMIN_MEMBERS_MAX 64

/* The nodes of a cluster, and the connections to them. */
struct admin {
  const char *program; /* "assay admin report" */
  /* flags */
  struct flag_list addresses;
  const char *store;
  struct tls_files tls_files;
  int64_t node; /* 0: not given */
  int64_t timeout_ns;
  bool json;
  bool whole;     /* what is asked of the cluster has all of the time-out, whoever answers */
  bool with_hash; /* admin_ask_status makes the node compute its state's hash */
  /* after admin_open */
  uv_loop_t loop;
  struct tls_context *tls; /* NULL: without */
  struct master_client *client;
  size_t count; /* of nodes, all there are in `addresses` or in the cluster of the store */
  char names[CLUSTER_NODES_MAX][32]; /* addresses, for people */
  /* of the last answer */
  bool answered;
  struct node_status status;
  enum admin_status outcome;
  struct bytes message, text; /* NUL-terminated */
  uint64_t leader;            /* of a refusal, and with the members */
  struct admin_member members[ADMIN_MEMBERS_MAX];
  size_t member_count;
  uint64_t membership_index, last_index;
  bool membership_committed;
  bool from_leader; /* the members are as the leader has them */
  /* Told of each answer that is done, for what is not kept here; may be NULL. */
  void (*take)(void *context, const struct admin_answer *answer);
  void *take_context;
};

#define ADMIN_INIT(name)                                                                                     \
  { .program = (name), .store = "store", .timeout_ns = 2 * NS_PER_S }

/* The flags that every command takes, beside its own. */
#define ADMIN_FLAGS(admin)                                                                                   \
  {"address",                                                                                                \
   FLAG_LIST,                                                                                                \
   &(admin)->addresses,                                                                                      \
   "HOST:PORT",                                                                                              \
   "client port of a node; once for each (default: the cluster of --store)",                                 \
   0,                                                                                                        \
   0},                                                                                                       \
      TLS_FLAGS(&(admin)->tls_files),                                                                        \
      {"store", FLAG_STRING, &(admin)->store, "DIR", "where assay cluster up put it (default store)", 0, 0}, \
  {                                                                                                          \
    "timeout", FLAG_DURATION, &(admin)->timeout_ns, "TIME", "how long to wait for an answer", 1e7, 86400e9   \
  }

/* Finds the cluster; says why not, and returns false, when it cannot. */
bool admin_open(struct admin *admin);
void admin_close(struct admin *admin);

/* The whole of a command that takes flags alone: reads them, finds the cluster, runs. The exit code. */
int admin_run(struct admin *admin, const struct flag_set *set, int argc, char **argv,
              int (*run)(struct admin *admin));

/* Asks one node for its status; false when it did not answer (role NODE_UNREACHABLE). */
bool admin_ask_status(struct admin *admin, size_t which);

/* Asks one node; the answer is in outcome, message and text until the next one. True when it is done. */
bool admin_ask(struct admin *admin, size_t which, const struct admin_request *request);

bool admin_ask_patiently(struct admin *admin, size_t which, const struct admin_request *request,
                         int64_t timeout_ns);

/* The exit code that the last answer means. */
int admin_exit_code(const struct admin *admin);

/* The node with the id of --node. Says so, and returns false, when none that answers has it. */
bool admin_find_node(struct admin *admin, size_t *which);

/* Becomes assay-master, with that flag and the arguments behind argv[0]; an exit code when it cannot. */
int admin_exec_master(const char *program_name, const char *first_flag, int argc, char **argv);

/* -- admin_journal.c -- */
int admin_journal_command(int argc, char **argv);

/* The line on standard error for a command that ends without success. */
void admin_complain(const struct admin *admin, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* -- admin_report.c, admin_backup.c -- */
int admin_report_command(int argc, char **argv);
int admin_checkpoint_command(int argc, char **argv);
int admin_backup_command(int argc, char **argv);
int admin_restore_command(int argc, char **argv);

/* -- admin_mount.c -- */
int admin_mount_command(int argc, char **argv);
int admin_unmount_command(int argc, char **argv);
int admin_mounts_command(int argc, char **argv);

#endif
