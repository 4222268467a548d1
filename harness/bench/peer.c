#include "harness/bench/peer.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness/store.h"

/* `setpriv --pdeathsig KILL -- argv…` */
#define STARTER_WORDS 4u
#define ARGUMENTS_MAX 64u

#define ASK_EVERY_NS (100 * NS_PER_MS)
#define ASK_SECONDS 1
#define ASK_STEP 16384u
#define ANSWER_MAX (1u << 20)

char *peer_find_program(const char *peer, const char *program, struct error *error) {
  const char *at = getenv("PATH");
  while (at && *at) {
    const size_t size = strcspn(at, ":");
    char *directory = strndup(at, size);
    char *path = directory ? path_join(directory, program) : NULL;
    free(directory);
    if (path && access(path, X_OK) == 0)
      return path;
    free(path);
    at += size + (at[size] == ':');
  }
  error_set(error, ERR_UNSUPPORTED,
            "--peers: %s needs the program %s, which is not in $PATH: run ci/setup peers", peer, program);
  return NULL;
}

void peer_init(struct peer *peer, const char *name, const struct system_options *options) {
  *peer = (struct peer){.options = options, .name = name};
}

/* As the provider host does it (nemesis/provider/host.c): a socket that is bound and never listens keeps the
 * port from everybody but a node, which binds it with SO_REUSEADDR as well. */
int peer_port(struct peer *peer, int *port, struct error *error) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  const int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert(peer->port_count < PEER_PORTS_MAX);
  if (fd < 0)
    return error_set_errno(error, ERR_IO, "cannot make a socket");
  peer->ports[peer->port_count++] = fd;
  if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
      bind(fd, (struct sockaddr *)&address, size) != 0 ||
      getsockname(fd, (struct sockaddr *)&address, &size) != 0)
    return error_set_errno(error, ERR_IO, "cannot reserve a port on 127.0.0.1");
  *port = ntohs(address.sin_port);
  return 0;
}

static void on_line(struct child *child, const char *text) {
  (void)child; /* what matters goes to the log */
  (void)text;
}

static void on_ended(struct child *child) {
  (void)child; /* peer_check and peer_end look at `running` */
}

int peer_start(struct peer *peer, char *const *argv, struct error *error) {
  assert(peer->started < CLUSTER_NODES_MAX);
  char *words[ARGUMENTS_MAX] = {"setpriv", "--pdeathsig", "KILL", "--"};
  size_t count = 0;
  while (argv[count]) {
    assert(STARTER_WORDS + count + 1 < ARGUMENTS_MAX);
    words[STARTER_WORDS + count] = argv[count];
    count++;
  }
  const size_t index = peer->started++;
  struct child *node = &peer->nodes[index];
  snprintf(node->name, sizeof node->name, "%s-%zu", peer->name, index + 1);
  snprintf(peer->logs[index], sizeof peer->logs[index], "%s/log-%zu", peer->options->directory, index + 1);
  node->line = on_line;
  node->ended = on_ended;
  return child_start(peer->options->loop, node, words, peer->logs[index], error);
}

int peer_check(const struct peer *peer, struct error *error) {
  for (size_t i = 0; i < peer->started; i++) {
    if (peer->nodes[i].running)
      continue;
    char ending[128];
    char *tail = file_tail(peer->logs[i], 5, "  ");
    const int status = error_set(error, ERR_UNAVAILABLE, "%s ended with %s; the end of its log:\n%.400s",
                                 peer->nodes[i].name, child_ending(&peer->nodes[i], ending, sizeof ending),
                                 tail[0] ? tail : "  (nothing)");
    free(tail);
    return status;
  }
  return 0;
}

size_t peer_pids(const struct peer *peer, pid_t pids[CLUSTER_NODES_MAX]) {
  size_t count = 0;
  for (size_t i = 0; i < peer->started; i++)
    if (peer->nodes[i].running)
      pids[count++] = peer->nodes[i].process.pid;
  return count;
}

void peer_end(struct peer *peer) {
  for (size_t i = 0; i < peer->started; i++)
    child_signal(&peer->nodes[i], SIGKILL);
  for (size_t i = 0; i < peer->started; i++)
    while (peer->nodes[i].running)
      uv_run(peer->options->loop, UV_RUN_ONCE);
  for (size_t i = 0; i < peer->port_count; i++)
    close(peer->ports[i]);
  peer->started = peer->port_count = 0;
}

static void pause_for(uv_loop_t *loop, int64_t time_ns) {
  const int64_t until_ns = time_monotonic_ns() + time_ns;
  while (time_monotonic_ns() < until_ns)
    uv_run(loop, UV_RUN_ONCE);
}

bool peer_ask(int port, const char *question, struct bytes *answer) {
  const struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  const struct timeval patience = {.tv_sec = ASK_SECONDS};
  const size_t size = strlen(question);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ssize_t got = -1;
  bytes_clear(answer);
  if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0 &&
      connect(fd, (const struct sockaddr *)&address, sizeof address) == 0 &&
      send(fd, question, size, MSG_NOSIGNAL) == (ssize_t)size)
    do {
      got = recv(fd, bytes_reserve(answer, ASK_STEP), ASK_STEP, 0);
      answer->size += got > 0 ? (size_t)got : 0;
    } while (got > 0 && answer->size < ANSWER_MAX);
  if (fd >= 0)
    close(fd);
  bytes_append_u8(answer, 0);
  return got >= 0;
}

int peer_await(struct peer *peer, peer_leader *leader_of, void *context, size_t *leader,
               struct error *error) {
  const int64_t until_ns = time_monotonic_ns() + SYSTEM_START_WITHIN_NS;
  while (!leader_of(context, leader)) {
    const int status = peer_check(peer, error);
    if (status != 0)
      return status;
    if (*peer->options->interrupted)
      return error_set(error, ERR_UNAVAILABLE, "interrupted");
    if (time_monotonic_ns() > until_ns)
      return error_set(error, ERR_TIMEOUT, "%s found no leader within %d s; its logs are in %s", peer->name,
                       (int)(SYSTEM_START_WITHIN_NS / NS_PER_S), peer->options->directory);
    pause_for(peer->options->loop, ASK_EVERY_NS);
  }
  return 0;
}
