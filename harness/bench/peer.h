/* peer.h: the processes of a peer's cluster: found, given ports, started, ended by pid. They die with us, by
 * PR_SET_PDEATHSIG, and with the sandbox that we are in. */
#ifndef ASSAY_HARNESS_BENCH_PEER_H
#define ASSAY_HARNESS_BENCH_PEER_H

#include <uv.h>

#include "base/base.h"
#include "harness/bench/system.h"
#include "harness/child.h"

#define PEER_PORTS_MAX (3 * CLUSTER_NODES_MAX)

struct peer {
  const struct system_options *options;
  const char *name; /* "etcd" */
  struct child nodes[CLUSTER_NODES_MAX];
  char logs[CLUSTER_NODES_MAX][4096];
  size_t started;
  int ports[PEER_PORTS_MAX]; /* sockets of ours that hold them */
  size_t port_count;
};

/* The path of a program in $PATH; to free(). ERR_UNSUPPORTED with the cure. */
char *peer_find_program(const char *peer, const char *program, struct error *error);

void peer_init(struct peer *peer, const char *name, const struct system_options *options);

/* A free port of 127.0.0.1 that nobody else is given before peer_end, though a node may listen there. */
int peer_port(struct peer *peer, int *port, struct error *error);

/* Starts the next node; its words go to <directory>/log-<N>. argv[0] is a path; ends with NULL. */
int peer_start(struct peer *peer, char *const *argv, struct error *error);

/* ERR_UNAVAILABLE with the end of its log when a node has ended. */
int peer_check(const struct peer *peer, struct error *error);

size_t peer_pids(const struct peer *peer, pid_t pids[CLUSTER_NODES_MAX]);

/* Kills all nodes, waits for their ends, gives the ports back. */
void peer_end(struct peer *peer);

/* Sends `question` to a port of 127.0.0.1 and reads up to the end of what comes; NUL-terminated in `answer`.
 * Blocks for a second at most, for questions of a moment. False: nobody there, or nothing said. */
bool peer_ask(int port, const char *question, struct bytes *answer);

/* Tells which node leads; false: none yet, or not all nodes follow. */
typedef bool peer_leader(void *context, size_t *leader);

/* Waits for a leader, at most SYSTEM_START_WITHIN_NS and as long as no node has ended. */
int peer_await(struct peer *peer, peer_leader *leader_of, void *context, size_t *leader, struct error *error);

#endif
