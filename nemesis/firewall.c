/* firewall.c: see firewall.h.
 *
 * libnftables works on the network namespace of the process that calls it, and ends that process when netlink
 * fails it. So every job is done by a short-lived child that joins the node's namespace and writes what it
 * found into a pipe: a first byte, '+' or '-', then the kernel's listing as JSON (libnftables-json(5)) or the
 * error. The children of all nodes work at the same time. */
#include "nemesis/firewall.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <nftables/libnftables.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define TABLE "assay"
#define TIMEOUT_MS 10000

struct worker {
  pid_t pid;
  int output;
  struct bytes said;
};

/* ---- In the child ---- */

__attribute__((noreturn)) static void say(int to, char sign, const char *text) {
  size_t left = strlen(text);
  bool failed = write(to, &sign, 1) != 1;
  while (left > 0 && !failed) {
    const ssize_t done = write(to, text, left);
    failed = done < 0 && errno != EINTR;
    if (done > 0) {
      text += done;
      left -= (size_t)done;
    }
  }
  _exit(failed ? 1 : 0);
}

__attribute__((noreturn)) static void work(int network, const char *commands, int output) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (setns(network, CLONE_NEWNET) != 0)
    say(output, '-', "cannot join the network namespace");
  struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
  if (!nft || nft_ctx_buffer_output(nft) != 0 || nft_ctx_buffer_error(nft) != 0)
    say(output, '-', "out of memory");
  if (commands && nft_run_cmd_from_buffer(nft, commands) != 0)
    say(output, '-', nft_ctx_get_error_buffer(nft));
  nft_ctx_output_set_flags(nft, NFT_CTX_OUTPUT_JSON);
  if (nft_run_cmd_from_buffer(nft, "list ruleset ip") != 0)
    say(output, '-', nft_ctx_get_error_buffer(nft));
  say(output, '+', nft_ctx_get_output_buffer(nft));
}

/* ---- Around it ---- */

static int worker_start(struct worker *worker, int network, const char *commands, struct error *error) {
  int ends[2];
  *worker = (struct worker){.pid = -1, .output = -1};
  if (pipe2(ends, O_CLOEXEC) != 0)
    return error_set_errno(error, ERR_IO, "cannot make a pipe");
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  worker->pid = fork();
  if (worker->pid == 0)
    work(network, commands, ends[1]);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  close(ends[1]);
  worker->output = ends[0];
  return worker->pid > 0 ? 0 : error_set_errno(error, ERR_IO, "cannot start a process for the packet filter");
}

/* Reads until the child has said all, ends it, and leaves what it said, NUL-terminated. */
static int worker_finish(struct worker *worker, int64_t deadline_ns, struct error *error) {
  int status = 0;
  for (bool more = worker->pid > 0; more;) {
    const int64_t left_ms = (deadline_ns - time_monotonic_ns()) / NS_PER_MS;
    struct pollfd ready = {.fd = worker->output, .events = POLLIN};
    const int count = poll(&ready, 1, left_ms > 0 ? (int)left_ms : 0);
    if (count < 0 && errno == EINTR)
      continue;
    ssize_t got = -1;
    if (count > 0)
      got = read(worker->output, bytes_reserve(&worker->said, 65536), 65536);
    else
      status = error_set(error, ERR_TIMEOUT, "the packet filter did not answer within %d ms", TIMEOUT_MS);
    if (got > 0)
      worker->said.size += (size_t)got;
    more = got > 0;
  }
  if (worker->pid > 0) {
    kill(worker->pid, SIGKILL);
    while (waitpid(worker->pid, NULL, 0) < 0 && errno == EINTR)
      ;
  }
  if (worker->output >= 0)
    close(worker->output);
  bytes_append_u8(&worker->said, '\0');
  return status;
}

/* "ip saddr HOST counter packets N … drop": fills in host and packets, or returns false. */
static bool parse_rule(json_t *rule, const char **host, uint64_t *packets) {
  json_t *item, *expressions = json_object_get(rule, "expr");
  size_t i;
  bool drops = false;
  *host = NULL;
  *packets = 0;
  json_array_foreach(expressions, i, item) {
    json_t *match = json_object_get(item, "match"), *counter = json_object_get(item, "counter");
    if (match)
      *host = json_string_value(json_object_get(match, "right"));
    if (counter)
      *packets = (uint64_t)json_integer_value(json_object_get(counter, "packets"));
    drops = drops || json_object_get(item, "drop");
  }
  return *host && drops;
}

/* Counts the rules of our table; each must be a wanted one unless nothing is said of that. */
static int parse_listing(const char *listing, struct firewall_job *job, bool compare, struct error *error) {
  json_error_t where;
  json_t *item, *root = json_loads(listing, 0, &where);
  size_t i, matched = 0, foreign = 0;
  bool table_found = false;
  json_array_foreach(json_object_get(root, "nftables"), i, item) {
    json_t *rule = json_object_get(item, "rule"), *table = json_object_get(item, "table");
    if (table)
      table_found = table_found || strcmp(json_string_value(json_object_get(table, "name")), TABLE) == 0;
    if (!rule || strcmp(json_string_value(json_object_get(rule, "table")), TABLE) != 0)
      continue;
    const char *host;
    uint64_t packets;
    job->rules_found++;
    bool wanted = false;
    if (parse_rule(rule, &host, &packets)) {
      job->packets_dropped += packets;
      for (size_t k = 0; k < job->dropped_count; k++)
        wanted = wanted || strcmp(job->dropped_hosts[k], host) == 0;
    }
    if (wanted)
      matched++;
    else
      foreign++;
  }
  /* A table without rules drops nothing but is still ours to take away. */
  if (table_found && job->rules_found == 0)
    job->rules_found = 1;
  const bool readable = root && json_is_array(json_object_get(root, "nftables"));
  json_decref(root);
  if (!readable)
    return error_set(error, ERR_IO, "node %s: the kernel's list of rules cannot be read", job->name);
  if (compare && (matched != job->dropped_count || foreign > 0 || table_found != (job->dropped_count > 0)))
    return error_set(error, ERR_IO,
                     "node %s: %zu rules were to be set, but the kernel lists %zu of them and %zu others",
                     job->name, job->dropped_count, matched, foreign);
  return 0;
}

/* Deleting a table that is not there is an error, so it is made before; all of it is one transaction. */
static void write_commands(const struct firewall_job *job, struct bytes *commands) {
  bytes_append_format(commands, "add table ip " TABLE "\ndelete table ip " TABLE "\n");
  if (job->dropped_count > 0) {
    bytes_append_format(commands, "add table ip " TABLE "\n"
                                  "add chain ip " TABLE
                                  " input { type filter hook input priority 0; policy accept; }\n");
    for (size_t i = 0; i < job->dropped_count; i++)
      bytes_append_format(commands, "add rule ip " TABLE " input ip saddr %s counter drop\n",
                          job->dropped_hosts[i]);
  }
}

static int run(struct firewall_job *jobs, size_t count, bool replace, struct error *error) {
  struct worker workers[CLUSTER_NODES_MAX];
  struct error first = {0};
  const int64_t deadline_ns = time_monotonic_ns() + TIMEOUT_MS * NS_PER_MS;
  for (size_t i = 0; i < count; i++) {
    struct bytes commands = {0};
    jobs[i].rules_found = 0;
    jobs[i].packets_dropped = 0;
    if (replace)
      write_commands(&jobs[i], &commands);
    worker_start(&workers[i], jobs[i].network, (const char *)commands.data, first.code ? NULL : &first);
    bytes_free(&commands);
  }
  for (size_t i = 0; i < count; i++) {
    struct error *report = first.code ? NULL : &first;
    int status = worker_finish(&workers[i], deadline_ns, report);
    const char *said = (const char *)workers[i].said.data;
    if (status == 0 && workers[i].pid > 0 && said[0] == '+')
      parse_listing(said + 1, &jobs[i], replace, report);
    else if (status == 0 && workers[i].pid > 0)
      error_set(report, ERR_IO, "node %s: the packet filter failed: %s", jobs[i].name,
                said[0] == '-' ? said + 1 : "it ended early; does the kernel have nf_tables?");
    bytes_free(&workers[i].said);
  }
  return first.code ? error_set(error, first.code, "%s", first.message) : 0;
}

int firewall_replace(struct firewall_job *jobs, size_t count, struct error *error) {
  return run(jobs, count, true, error);
}

int firewall_list(struct firewall_job *jobs, size_t count, struct error *error) {
  return run(jobs, count, false, error);
}
