#include "master/node_options.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "master/bugs.h"
#include "master/rpc/rpc.h"

#define HEARTBEATS_PER_ELECTION 6

/* ID=HOST:PEER_PORT:CLIENT_PORT */
static bool split_member(const char *text, struct node_member *member) {
  char *end;
  errno = 0;
  member->id = strtoull(text, &end, 10);
  if (*end != '=' || text[0] < '1' || text[0] > '9' || errno != 0)
    return false;
  member->text = end + 1;
  return member_address_parse(end + 1, &member->address);
}

static int parse_member(const char *text, struct node_member *member, struct error *error) {
  struct sockaddr_storage address;
  if (split_member(text, member) && rpc_parse_address(member->address.client_address, &address, NULL) == 0)
    return 0;
  return error_set(error, ERR_BAD_INPUT,
                   "--member takes ID=HOST:PEER_PORT:CLIENT_PORT with a numeric host, as in "
                   "1=127.0.0.1:7300:7400, not '%s'",
                   text);
}

static int parse_members(struct node_options *options, const struct flag_list *list, struct error *error) {
  for (size_t i = 0; i < list->count; i++) {
    struct node_member *member = &options->members[i];
    const int status = parse_member(list->items[i], member, error);
    if (status != 0)
      return status;
    for (size_t j = 0; j < i; j++) {
      if (options->members[j].id == member->id)
        return error_set(error, ERR_BAD_INPUT, "--member %" PRIu64 " is given twice", member->id);
      if (strcmp(options->members[j].text, member->text) == 0)
        return error_set(error, ERR_BAD_INPUT,
                         "members %" PRIu64 " and %" PRIu64 " have the same address, %s",
                         options->members[j].id, member->id, member->text);
    }
    if (member->id == options->id)
      options->self = member;
  }
  options->member_count = list->count;
  if (!options->self)
    return error_set(error, ERR_BAD_INPUT,
                     "no --member has the id %" PRIu64 ": give one for each node, this one included",
                     options->id);
  return 0;
}

static int parse_http(struct node_options *options, struct error *error) {
  struct error cause;
  if (!options->http || rpc_parse_address(options->http, &options->http_address, &cause) == 0)
    return 0;
  return error_set(error, ERR_BAD_INPUT, "--http: %.400s", cause.message);
}

static bool is_loopback(const struct sockaddr_storage *address) {
  if (address->ss_family == AF_INET)
    return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 == 127;
  return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
}

/* Without TLS nobody who connects is asked who he is, for metrics and health never. The nemesis, whose nodes
 * have networks of their own, says by the environment that it knows. */
static int check_exposure(const struct node_options *options, struct error *error) {
  struct sockaddr_storage clients;
  const char *known = getenv("ASSAY_LISTEN_INSECURE");
  if (options->restore || options->recover) /* it listens nowhere */
    return 0;
  if (options->listen_insecure || (known && strcmp(known, "1") == 0))
    return 0;
  const int status = rpc_parse_address(options->self->address.client_address, &clients, error);
  if (status != 0)
    return status;
  if (!options->with_tls && !is_loopback(&clients))
    return error_set(
        error, ERR_BAD_INPUT,
        "%s is not an address of this machine alone, and without TLS a master trusts everybody who reaches it: give "
        "it --tls-certificate, --tls-key and --tls-authority, or close that network to others and give "
        "--listen-insecure, or use 127.0.0.1",
        options->self->address.client_address);
  if (!options->http || is_loopback(&options->http_address))
    return 0;
  return error_set(
      error, ERR_BAD_INPUT,
      "%s is not an address of this machine alone, and metrics and health are told to everybody, TLS or "
      "not: close that network to others and give --listen-insecure, or use 127.0.0.1",
      options->http);
}

#ifdef ASSAY_BUGS
static int enable_bugs(const struct flag_list *names, struct error *error) {
  for (size_t i = 0; i < names->count; i++)
    if (!bug_enable(names->items[i]))
      return error_set(error, ERR_BAD_INPUT, "--bug: there is no bug '%s'; docs/bugs.md lists them",
                       names->items[i]);
  return 0;
}
#endif

static int check_timing(int64_t election_timeout, int64_t heartbeat, struct error *error) {
  if (heartbeat > 0 && heartbeat * 2 > election_timeout)
    return error_set(error, ERR_BAD_INPUT,
                     "--heartbeat %" PRId64 " is too long for --election-timeout %" PRId64
                     ": give at most half of it",
                     heartbeat, election_timeout);
  return 0;
}

static int require(int64_t id, int64_t cluster, const char *data, struct error *error) {
  if (id == 0)
    return error_set(error, ERR_BAD_INPUT, "--id is missing: the number of this node, 1 or more");
  if (!data)
    return error_set(error, ERR_BAD_INPUT, "--data is missing: the directory that keeps this node's data");
  if (cluster == 0)
    return error_set(error, ERR_BAD_INPUT,
                     "--cluster-id is missing: a number that all nodes of a cluster share, and no other has");
  return 0;
}

int node_options_parse(struct node_options *options, int argc, char **argv) {
  struct flag_list members = {0}, mount_roots = {0};
  int64_t id = 0, cluster = 0, election_timeout = 0, heartbeat = 0, threshold = 0, trailing = 0, cache = -1;
  *options = (struct node_options){0};
#ifdef ASSAY_BUGS
  struct flag_list bugs = {0};
#endif
  const struct flag flags[] = {
      {"id", FLAG_INT, &id, "N", "number of this node", 1, 9e15},
      {"data", FLAG_STRING, &options->data, "DIR", "where this node keeps its data; made if missing", 0, 0},
      {"member", FLAG_LIST, &members, "ID=HOST:PEER:CLIENT",
       "a node and its ports; once for each, this one too", 0, 0},
      {"join", FLAG_BOOL, &options->join, NULL,
       "wait to be added to a cluster that runs (assay admin journal quorum add); only this node's --member is "
       "needed then",
       0, 0},
      {"cluster-id", FLAG_INT, &cluster, "N", "a number that all nodes of the cluster share", 1, 9e15},
      {"election-timeout", FLAG_INT, &election_timeout, "MS", "silence of the leader before an election", 10,
       60000},
      {"heartbeat", FLAG_INT, &heartbeat, "MS", "time between the leader's heartbeats", 1, 60000},
      {"recover", FLAG_BOOL, &options->recover, NULL,
       "make the members given those of this node's journal, whatever it says, and end: for voters lost for good",
       0, 0},
      {"accept-loss", FLAG_BOOL, &options->accept_loss, NULL,
       "with --recover: do it, although acknowledged operations may be lost", 0, 0},
      {"restore", FLAG_STRING, &options->restore, "DIR",
       "make the data directory of this backup (assay admin backup), and end", 0, 0},
      {"same-cluster", FLAG_BOOL, &options->same_cluster, NULL,
       "with --restore: of the cluster that it was of", 0, 0},
      {"http", FLAG_STRING, &options->http, "HOST:PORT", "serve metrics and health there (default: nowhere)",
       0, 0},
      {"listen-insecure", FLAG_BOOL, &options->listen_insecure, NULL,
       "listen without TLS on other addresses than this machine's own (127.0.0.1, ::1): whoever reaches them may do "
       "anything",
       0, 0},
      {"tls-certificate", FLAG_STRING, &options->tls.certificate, "FILE",
       "this node's certificate (PEM), for DNS:assay-master; with it, TLS is spoken with nodes and clients",
       0, 0},
      {"tls-key", FLAG_STRING, &options->tls.key, "FILE", "its key (PEM, without a passphrase)", 0, 0},
      {"tls-authority", FLAG_STRING, &options->tls.authority, "FILE",
       "the certificates (PEM) that those of nodes and clients must come from", 0, 0},
      {"snapshot-threshold", FLAG_INT, &threshold, "N", "log entries before a snapshot is taken", 1, 1e12},
      {"snapshot-trailing", FLAG_INT, &trailing, "N", "log entries kept behind a snapshot", 1, 1e12},
      {"cache-size", FLAG_SIZE, &cache, "SIZE",
       "memory for rows that the tables on disk have too (default 128M); 0: none beyond the moment", 0, 1e15},
      {"mount-root", FLAG_LIST, &mount_roots, "DIR",
       "directories of this machine that may be mounted (assay admin mount): DIR and what is below; may be repeated "
       "(default: none)",
       0, 0},
      {"worker-lease", FLAG_DURATION, &options->worker_lease_ns, "TIME",
       "silence after which a worker counts as lost (default 10s)", 100e6, 3600e9},
#ifdef ASSAY_BUGS
      {"bug", FLAG_LIST, &bugs, "NAME", "a defect to have; may be repeated", 0, 0},
#endif
  };
  const struct flag_set set = {"assay-master",
                               "A replica of the reference file-system master (Raft journal).", NULL, flags,
                               ARRAY_SIZE(flags)};
  int positional;
  const int exit_code = flags_parse_or_exit_code(&set, argc, argv, &positional);
  if (exit_code >= 0)
    return exit_code;
  options->id = (uint64_t)id;
  options->cluster = (uint64_t)cluster;
  /* One of the two alone brings the other along. */
  if (election_timeout == 0)
    election_timeout = heartbeat * HEARTBEATS_PER_ELECTION;
  if (heartbeat == 0)
    heartbeat = election_timeout / HEARTBEATS_PER_ELECTION;
  options->election_timeout_ms = (unsigned)election_timeout;
  options->heartbeat_ms = (unsigned)heartbeat;
  options->snapshot_threshold = (uint64_t)threshold;
  options->snapshot_trailing = (uint64_t)trailing;
  options->cache_size = cache < 0 ? 0 : cache == 0 ? 1 : (size_t)cache;
  struct error error;
  int status = require(id, cluster, options->data, &error);
  if (status == 0)
    status = check_timing(election_timeout, heartbeat, &error);
  if (status == 0)
    status = parse_members(options, &members, &error);
  if (status == 0 && options->recover && (options->join || options->restore))
    status = error_set(&error, ERR_BAD_INPUT, "--recover goes with neither --join nor --restore");
  if (status == 0)
    status = under_roots_set(&options->mount_roots, mount_roots.items, mount_roots.count, &error);
  if (status == 0)
    status = parse_http(options, &error);
  if (status == 0)
    status = tls_files_check(&options->tls, &options->with_tls, &error);
  if (status == 0)
    status = check_exposure(options, &error);
#ifdef ASSAY_BUGS
  if (status == 0)
    status = enable_bugs(&bugs, &error);
#endif
  if (status == 0)
    return -1;
  fprintf(stderr, "assay-master: %s (assay-master --help shows all flags)\n", error.message);
  return EXIT_USAGE;
}
