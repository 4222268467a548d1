#include "master/server/test/nodes.h"

#include <arpa/inet.h>
#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"

static struct {
  size_t count;
  char directory[64];
  unsigned ports[NODES_MAX][2]; /* peers, clients */
  char addresses[NODES_MAX][32];
  const char *address_list[NODES_MAX];
  pid_t pids[NODES_MAX];
  const char *const *flags;
} set;

/* Holds all ports at once, so that they differ. */
static void choose_ports(void) {
  int sockets[NODES_MAX * 2];
  const size_t wanted = set.count * 2;
  for (size_t i = 0; i < wanted; i++) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    sockets[i] = socket(AF_INET, SOCK_STREAM, 0);
    const bool bound = bind(sockets[i], (struct sockaddr *)&address, size) == 0 &&
                       getsockname(sockets[i], (struct sockaddr *)&address, &size) == 0;
    assert(bound);
    (void)bound;
    set.ports[i / 2][i % 2] = ntohs(address.sin_port);
  }
  for (size_t i = 0; i < wanted; i++)
    close(sockets[i]);
}

void nodes_make(size_t count) {
  assert(count <= NODES_MAX);
  set.count = count;
  set.flags = NULL;
  snprintf(set.directory, sizeof set.directory, "/tmp/assay-master-test-XXXXXX");
  const char *made = mkdtemp(set.directory);
  assert(made);
  (void)made;
  choose_ports();
  for (size_t node = 0; node < count; node++) {
    snprintf(set.addresses[node], sizeof set.addresses[node], "127.0.0.1:%u", set.ports[node][1]);
    set.address_list[node] = set.addresses[node];
    set.pids[node] = 0;
  }
}

void nodes_unmake(void) {
  for (size_t node = 0; node < set.count; node++)
    nodes_kill(node);
  directory_remove(set.directory, NULL);
}

const char *nodes_directory(void) {
  return set.directory;
}

const char *const *nodes_addresses(void) {
  return set.address_list;
}

const char **nodes_arguments(size_t node) {
  static char id[16], data[96], members[NODES_MAX][64];
  static const char *arguments[24 + 2 * NODES_MAX];
  size_t count = 0;
  snprintf(id, sizeof id, "%zu", node + 1);
  snprintf(data, sizeof data, "%s/n%zu", set.directory, node + 1);
  arguments[count++] = "--id";
  arguments[count++] = id;
  arguments[count++] = "--data";
  arguments[count++] = data;
  arguments[count++] = "--cluster-id";
  arguments[count++] = "77";
  for (size_t i = 0; i < set.count; i++) {
    snprintf(members[i], sizeof members[i], "%zu=127.0.0.1:%u:%u", i + 1, set.ports[i][0], set.ports[i][1]);
    arguments[count++] = "--member";
    arguments[count++] = members[i];
  }
  for (const char *const *flag = set.flags; flag && *flag; flag++)
    arguments[count++] = *flag;
  assert(count < sizeof arguments / sizeof *arguments);
  arguments[count] = NULL;
  return arguments;
}

/* A child that runs assay-master and dies with us. */
static pid_t spawn(const char *const *arguments, int error_output) {
  char *program = path_join(getenv("ASSAY_BIN") ? getenv("ASSAY_BIN") : "bin", "assay-master");
  const char *all[64] = {program};
  for (size_t i = 0; arguments[i]; i++)
    all[i + 1] = arguments[i];
  const pid_t pid = fork();
  assert(pid >= 0);
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(error_output, STDERR_FILENO);
    execv(program, (char *const *)(uintptr_t)all);
    _exit(127);
  }
  free(program);
  return pid;
}

void nodes_start(size_t node) {
  assert(set.pids[node] == 0);
  char path[96];
  snprintf(path, sizeof path, "%s/n%zu.log", set.directory, node + 1);
  const int log = open(path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0644);
  set.pids[node] = spawn(nodes_arguments(node), log);
  close(log);
}

bool nodes_has_ended(size_t node) {
  siginfo_t info = {0};
  return waitid(P_PID, (id_t)set.pids[node], &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
}

static int end(size_t node, int signal_number) {
  int status = 0;
  if (set.pids[node] == 0)
    return 0;
  kill(set.pids[node], signal_number);
  waitpid(set.pids[node], &status, 0);
  set.pids[node] = 0;
  return status;
}

pid_t nodes_pid(size_t node) {
  return set.pids[node];
}

void nodes_flags(const char *const *flags) {
  set.flags = flags;
}

void nodes_kill(size_t node) {
  end(node, SIGKILL);
}

int nodes_stop(size_t node) {
  return end(node, SIGTERM);
}

int nodes_run(const char *const *arguments, char *output, size_t output_size) {
  int ends[2], status = 0;
  size_t size = 0;
  if (pipe2(ends, O_CLOEXEC) != 0)
    return -1;
  const pid_t pid = spawn(arguments, ends[1]);
  close(ends[1]);
  for (ssize_t got;
       size < output_size - 1 && (got = read(ends[0], output + size, output_size - 1 - size)) > 0;)
    size += (size_t)got;
  output[size] = '\0';
  close(ends[0]);
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
