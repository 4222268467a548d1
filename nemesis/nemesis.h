/* nemesis.h: the door of nemesis/: where nodes live, and what hurts them.
 *
 * Three layers: a *sandbox* (namespaces in which nothing can leak to the host), a *cluster* (the node
 * processes and their network, made by a provider) and the *nemesis* (a seeded planner and the executors of
 * its faults). Faults act on what the cluster made and on nothing else. */
#ifndef ASSAY_NEMESIS_H
#define ASSAY_NEMESIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "base/base.h"

#define CLUSTER_NODES_MAX 9

/* ---- Sandbox ---- */

/* Runs `body` in new user (not for root, who needs none), mount, pid and network namespaces, with /proc of
 * its own, a tmpfs on /run, loopback up, as the child of a small pid 1 that reaps orphans. Everything in
 * there dies with it: when `body` returns, when the caller is killed (-9 included), the kernel ends every
 * process inside and takes back every namespace, mount, link and rule.
 *
 * Waits. The inside is a session of its own: a Ctrl-C in the terminal reaches the caller only. The first
 * SIGINT, SIGTERM or SIGHUP that the caller gets is passed to `body` (SIGHUP as SIGTERM) and to nobody else
 * in there; one that comes a second or more later ends everything at once. *status gets the exit code of
 * `body`, or 128 + the signal that ended it or the sandbox. ERR_UNSUPPORTED with the reason and the cure when
 * this machine does not allow it. `on_started`, may be NULL, is told the pid (as the caller sees it) whose
 * namespaces others may join. The caller must have one thread. */
int sandbox_run(int (*body)(void *context), void *context, void (*on_started)(void *context, pid_t pid),
                int *status, struct error *error);

/* Joins the user, network and mount namespaces of a sandbox's pid 1, for a command that talks to its cluster.
 * The working directory stays. The calling process must be single-threaded. ERR_NOT_FOUND when it is gone. */
int sandbox_join(pid_t pid, struct error *error);

/* 0 when sandboxes work here; else ERR_UNSUPPORTED with why and what to do. */
int sandbox_supported(struct error *error);

/* ---- Cluster ---- */

enum provider { PROVIDER_NETNS, PROVIDER_HOST, PROVIDER_SSH };

/* What a provider may be able to do to its nodes, beside signalling their processes. */
enum capability {
  CAN_FILTER,    /* drop packets between nodes */
  CAN_SHAPE,     /* delay, lose, duplicate, reorder, corrupt and slow them down */
  CAN_DISK,      /* let disks fail, and lose what was not synced */
  CAN_CLOCK,     /* shift a node's clock */
  CAN_LIMIT,     /* take memory, processor time or descriptors away */
  CAN_OLD_BUILD, /* start nodes with an older program */
  CAN_SNAPSHOT,  /* have them take snapshots every few hundred entries */
  CAN_MEMBERS,   /* change the members of the journal */
  CAN_SPARE,     /* start a further node */
  CAPABILITIES,
};
#define CAPABILITY_BIT(capability) (1u << (capability))

/* What joins the nodes of PROVIDER_NETNS. */
enum link_kind {
  LINK_AUTO, /* the cheapest that can do what is needed */
  LINK_VETH, /* veth pairs on a bridge: they have shapes if the kernel has sch_netem */
  LINK_TAP,  /* TAP devices and a switch of ours: they have shapes anywhere, and a record of the traffic */
};

/* How the hosts of PROVIDER_SSH are reached. Not owning what it points to. */
struct cluster_hosts {
  const char *const *hosts; /* one for each node: "n1=[user@]host[:port][,address]"; NULL-terminated */
  const char *ssh;          /* NULL: ssh. Another program must take what ssh takes */
  const char *config;       /* ssh's -F; NULL: none */
  const char *agent;        /* the agent's command line there; NULL: assay agent, through sudo if need be */
  bool own_clocks;          /* each host is a machine whose clock may be set wrong */
  const char *directory;    /* below which a node has its own there; NULL: /var/lib/assay */
};

/* 0 when every node has a host whose address is known; else ERR_BAD_INPUT with the cure. */
int cluster_check_hosts(const struct cluster_hosts *hosts, size_t nodes, struct error *error);

/* That node has a host, whose address is known. */
bool cluster_has_host(const struct cluster_hosts *hosts, size_t node);

/* The command that, when a cluster is gone, fetches what it has left on the host of a node, as a tar on
 * standard output, or removes it; to be freed with cluster_command_free. */
char **cluster_leftovers_command(const struct cluster_hosts *hosts, uint64_t cluster_id, size_t node,
                                 bool remove, struct error *error);
void cluster_command_free(char **argv);

/* A small file that every master is given. */
struct cluster_file {
  const char *flag; /* of the master: its path follows; NULL ends a list */
  const char *path; /* here, absolute; on another host it lies beside the node's data, for root alone */
};

struct cluster_options {
  enum provider provider;
  enum link_kind link;
  const char *pcap; /* where the nodes' and clients' traffic is recorded (implies TAP links); may be NULL */
  uint64_t seed;    /* of what happens to packets on shaped links */
  unsigned
      needs;    /* CAPABILITY_BITs that the faults to come need: what costs speed is set up for these only */
  size_t nodes; /* 1 … CLUSTER_NODES_MAX */
  const char *master;     /* path of the assay-master program */
  const char *old_master; /* of an older one, for faults that go back to it; may be NULL */
  const char
      *directory; /* nodes/<name>/ is made under it: data/, log, and what a node leaves when it crashes */
  const char *const *extra;         /* further arguments for every master, NULL-terminated; may be NULL */
  const struct cluster_file *files; /* may be NULL */
  uint64_t cluster_id;              /* --cluster-id of every master; 0: 1 */
  struct cluster_hosts hosts;       /* PROVIDER_SSH; `master` is a path there then, NULL: beside the agent */
  bool keep;                        /* PROVIDER_SSH: what is on the hosts is for a cluster that comes back */
};

enum node_state { NODE_STOPPED, NODE_RUNNING, NODE_PAUSED, NODE_DIED /* ended though nobody asked it to */ };

struct cluster;

/* NULL, or why this cluster cannot do that, with the cure: text for people. */
const char *cluster_lacks(const struct cluster *cluster, enum capability capability);

/* ---- Members of the journal ---- */

enum seat { SEAT_NONE, SEAT_STANDBY, SEAT_VOTER };

/* The members as a node tells them; nodes are indexes. */
struct members {
  int leader;     /* -1: it knows of none */
  uint64_t index; /* of the entry that says so */
  bool committed; /* else that entry may be taken back */
  enum seat seats[CLUSTER_NODES_MAX];
};

enum members_verb {
  MEMBERS_LOOK,
  MEMBERS_ADD,
  MEMBERS_PROMOTE,
  MEMBERS_DEMOTE,
  MEMBERS_REMOVE,
  MEMBERS_ELECT
};

struct members_request {
  enum members_verb verb;
  size_t node;         /* that it is about */
  const char *address; /* of MEMBERS_ADD: HOST:PEER_PORT:CLIENT_PORT; valid during the call */
};

struct members_answer {
  bool done;           /* else nothing was done, or nobody knows */
  const char *message; /* why not, for people; valid during the call */
  struct members members;
};

typedef void members_callback(void *context, const struct members_answer *answer);

/* How the nemesis asks masters, whose language only its owner speaks. */
struct members_door {
  void *context;
  /* Asks the node `asked`. The callback comes exactly once, from the loop, within some 15 s; before the
   * cluster is freed in any case. */
  void (*ask)(void *context, size_t asked, const struct members_request *request, members_callback *callback,
              void *callback_context);
};

/* Makes the network and starts nothing. PROVIDER_NETNS must be called inside a sandbox, else ERR_UNSUPPORTED.
 */
int cluster_new(uv_loop_t *loop, const struct cluster_options *options, struct cluster **cluster,
                struct error *error);
/* Ends every node and takes everything back. The loop must run once more for its handles to close. */
void cluster_free(struct cluster *cluster);

/* Opens, or with NULL shuts, the way to its masters: a question that is out is still answered then. Without
 * one CAN_MEMBERS is lacking. */
void cluster_set_members_door(struct cluster *cluster, const struct members_door *door);

/* All nodes there are: those the cluster begins with, and behind them those that may join later (of
 * CAN_SPARE, which are off until then). */
size_t cluster_size(const struct cluster *cluster);
size_t cluster_founders(const struct cluster *cluster);
/* It is to run and to be a member; false for one that may join later, or was taken out for a while. */
bool cluster_node_serves(const struct cluster *cluster, size_t node);
const char *cluster_node_name(const struct cluster *cluster, size_t node);      /* "n1" … */
const char *cluster_client_address(const struct cluster *cluster, size_t node); /* "10.23.0.1:7400" */
enum node_state cluster_node_state(const struct cluster *cluster, size_t node);
int cluster_node_exit_status(const struct cluster *cluster,
                             size_t node); /* of a node that died, as wait() tells */
/* Why its host cannot be reached any more; NULL: it can. */
const char *cluster_node_lost(const struct cluster *cluster, size_t node);
pid_t cluster_node_pid(const struct cluster *cluster, size_t node);
/* Called from the loop whenever a node ends by itself; may be NULL. */
void cluster_watch(struct cluster *cluster, void (*died)(void *context, size_t node), void *context);

/* Called by cluster_stop for a node that does not end, before it is killed; may be NULL. */
void cluster_watch_hung(struct cluster *cluster, void (*hung)(void *context, size_t node), void *context);

/* A node that is off stays so: 0. */
int cluster_start(struct cluster *cluster, size_t node, struct error *error);
int cluster_kill(struct cluster *cluster, size_t node, struct error *error); /* SIGKILL, waited for */
/* SIGTERM, waited for; after 5 s SIGKILL and ERR_TIMEOUT. An end that is no clean one (neither status 0 nor
 * SIGTERM) is told to the watcher of the cluster. */
int cluster_stop(struct cluster *cluster, size_t node, struct error *error);
int cluster_pause(struct cluster *cluster, size_t node, struct error *error); /* SIGSTOP */
int cluster_resume(struct cluster *cluster, size_t node, struct error *error);
/* hears[a * nodes + b]: packets from b reach a. Replaces what was set before; the clients' side is never cut.
 * All true takes our table away. ERR_UNSUPPORTED with PROVIDER_HOST. */
int cluster_set_links(struct cluster *cluster, const bool *hears, struct error *error);
/* Every node hears every other again. */
int cluster_open_links(struct cluster *cluster, struct error *error);
/* "veth", "netem" (veth, with a kernel that can shape it) or "tap"; NULL: the nodes have no links of ours. */
const char *cluster_link_kind(const struct cluster *cluster);
/* How many rules of ours the kernel lists, and how many packets they have dropped since they were set. */
int cluster_count_rules(struct cluster *cluster, size_t *rules, uint64_t *dropped, struct error *error);
/* True when no rule of ours is left, and nothing that shapes links, checked by asking the kernel. */
bool cluster_links_clear(struct cluster *cluster, struct error *error);

/* ---- Agent: runs on the host of a node (`assay agent`), for a cluster of PROVIDER_SSH elsewhere ---- */

/* Serves the cluster at the other end of standard input and output; returns an exit code. */
int agent_run(void);

/* What cluster_leftovers_command() runs there: writes the directory that the last cluster has left as a tar
 * to standard output, or removes it. Returns an exit code. */
int agent_collect(const char *directory, bool remove);

/* ---- Planner: pure and seeded ---- */

struct fault_description {
  const char *name;   /* "partition-halves", "pause-primary", … */
  const char *family; /* "partition", "pause", "kill" */
  const char *summary;
};
const struct fault_description *fault_list(void); /* ends with NULL names */

/* Faults under one name. */
struct fault_mix {
  const char *name;
  const char *faults;               /* families and faults, comma-separated */
  int64_t interval_ns, duration_ns; /* its own tempo; 0: the nemesis's defaults */
  const char *summary;
};
const struct fault_mix *fault_mixes(void); /* ends with a NULL name */

/* ---- Nemesis: runs in a process of its own (`assay nemesis`) on one loop with the cluster ---- */

/* What is known of a node, as the caller's polling found. */
struct node_facts {
  bool known; /* it answered lately; else all below is what it said last */
  bool primary;
  uint64_t term, commit_index, applied_index, first_index, last_index;
  /* Snapshots: what it does just now, and how many such deeds it has begun since it started. */
  bool takes_snapshot, sends_snapshot, installs_snapshot;
  uint64_t snapshots_begun;
};

struct nemesis_options {
  /* Comma-separated families, faults and mixes, "all", "none"; "swarm": the seed decides which of them. See
   * nemesis_check_families. */
  const char *families;
  uint64_t seed;       /* the same seed plans the same faults in the same order */
  int64_t interval_ns; /* mean time between the heal of a fault and the next; 0: default, 1.8 s */
  int64_t duration_ns; /* mean time a fault stays; 0: default, 2.4 s */
  /* "FAULTS=30s", NULL-terminated; may be NULL: those faults leave the turns of the others and come at a pace
   * of their own, so often on average. */
  const char *const *paces;
  const char
      *schedule; /* path of a schedule to carry out beside what is drawn (docs/schedules.md); may be NULL */
  const char *history; /* path of the history that this nemesis writes: its events only */
};

/* ERR_BAD_INPUT naming the unknown one and the known ones. */
int nemesis_check_families(const char *families, struct error *error);
int nemesis_check_pace(const char *pace, struct error *error);

/* CAPABILITY_BITs that the faults of a list that is right need, those of a schedule in a file. */
unsigned nemesis_needs(const char *families, uint64_t seed);
int nemesis_schedule_needs(const char *path, size_t nodes, unsigned *needs, struct error *error);

struct nemesis;

/* `event` is told of everything that happens, as one JSON object (NUL-terminated text, valid during the
 * call):
 *
 * {"event": "fault", "phase": "installed" | "act" | "healed" | "skipped" | "stuck", "fault": …, "family": …,
 *  "number": pairs the phases of one fault, "targets": ["n1"], "grudge": {"n1": ["n2"]} (n1 drops what n2
 *  sends; partitions), "links": {"n1": ["n2"]} (packets from n1 to n2 are shaped), "numbers": {"delay_ms":
 * …}, "seen": (installed) {"primary": "n2", "operation": …, "log-index": …, "term": …, "election": …,
 * "snapshot": …, "since_election_ms": …}, "began_ns": (installed or skipped, if that took a while, and "seen"
 * is of then), "step": (act), "evidence": {"packets_dropped": …} (healed), "reason": (skipped, stuck),
 * "time_ns": …}
 * {"event": "node", "node": "n2", "state": "died" | "ended" | "lost" | "restarted", "reason": "signal 6
 *  (Aborted)", "time_ns": …}: "ended" is a death that a fault which is present excuses; "lost": its host
 * cannot be reached any more, which is the end of a run
 * {"event": "error", "message": …, "time_ns": …}: the harness has failed: its history cannot be written
 *
 * A node that dies unasked is told at once and started again when the next fault is healed. "act": a fault
 * of several acts (partition-stalled) has come to the next one. "stuck": a heal failed; it is tried
 * again until nemesis_stop gives up.
 *
 * Takes the cluster's watcher. The cluster must outlive the nemesis. */
int nemesis_new(uv_loop_t *loop, struct cluster *cluster, const struct nemesis_options *options,
                void (*event)(void *context, const char *json), void *context, struct nemesis **nemesis,
                struct error *error);
/* What a node is known to do, and how many operations clients have had an ok for: faults are aimed by the
 * former, and wait for events of both. */
void nemesis_note_node(struct nemesis *nemesis, size_t node, const struct node_facts *facts);
void nemesis_note_operations(struct nemesis *nemesis, uint64_t operations);
/* True while a fault waits for an event, or acts on what nodes do: then it pays to look often. */
bool nemesis_is_watching(const struct nemesis *nemesis);

/* By hand: installs the fault that `entry` tells (one entry of a schedule, as JSON; without a time it is due
 * now), or heals the one of that number (0: all). Both are done when they return, or go on. */
int nemesis_install(struct nemesis *nemesis, const char *entry, uint64_t *number, struct error *error);
int nemesis_heal(struct nemesis *nemesis, uint64_t number, struct error *error);
/* 1 while that fault (0: any) goes on being installed or healed; else 0, or, when it was skipped in the end,
 * an error with the reason. */
int nemesis_progress(const struct nemesis *nemesis, uint64_t number, struct error *error);
/* {"faults": [as in events, with "since_ms"], "nodes": [{"node", "state", "pid"}]}; text to free(). */
char *nemesis_describe(const struct nemesis *nemesis);
void nemesis_start(struct nemesis *nemesis);
/* No new fault; heals what is present; starts every node that does not run; verifies all that with the
 * kernel; then, from the loop, calls `healed` with status 0, or an error that says what could not be undone.
 * Once. */
void nemesis_stop(struct nemesis *nemesis,
                  void (*healed)(void *context, int status, const struct error *error), void *context);
/* Closes the history. Heals nothing: call nemesis_stop before, or cluster_free after. The loop must run once
 * more for its handles to close. NULL is fine. */
void nemesis_free(struct nemesis *nemesis);

#endif
