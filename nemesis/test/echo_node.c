/* echo_node.c: stands in for a master: takes its flags, and tells whom it hears and what its clock shows.
 *
 * On its client port (UDP) it answers "send TOKEN" by sending TOKEN from its peer port to every other
 * member's, then "sent"; "heard" by the last token of each member, in order, "-" for none; and "clock" by the
 * nanoseconds of its wall clock and of its monotonic one. With `--deaf yes` it does not hear SIGTERM. */
#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MEMBERS_MAX 9

struct member {
  struct sockaddr_in peer, client;
  char heard[32];
};

static struct member members[MEMBERS_MAX + 1];
static int member_count, own_id;

static void add_member(const char *text) {
  int id, peer_port, client_port;
  char host[64];
  if (sscanf(text, "%d=%63[^:]:%d:%d", &id, host, &peer_port, &client_port) != 4 || id < 1 ||
      id > MEMBERS_MAX)
    exit(64);
  struct member *member = &members[id];
  member->peer = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)peer_port)};
  inet_pton(AF_INET, host, &member->peer.sin_addr);
  member->client = member->peer;
  member->client.sin_port = htons((uint16_t)client_port);
  snprintf(member->heard, sizeof member->heard, "-");
  member_count = id > member_count ? id : member_count;
}

static int listen_at(const struct sockaddr_in *address) {
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (bind(fd, (const struct sockaddr *)address, sizeof *address) != 0) {
    perror("bind");
    exit(3);
  }
  return fd;
}

static void hear(int peer_socket) {
  char token[32];
  struct sockaddr_in from = {0};
  socklen_t size = sizeof from;
  const ssize_t got = recvfrom(peer_socket, token, sizeof token - 1, 0, (struct sockaddr *)&from, &size);
  if (got <= 0)
    return;
  token[got] = '\0';
  for (int id = 1; id <= member_count; id++)
    if (members[id].peer.sin_addr.s_addr == from.sin_addr.s_addr &&
        members[id].peer.sin_port == from.sin_port)
      memcpy(members[id].heard, token, sizeof token);
}

static long long clock_ns(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void answer(int client_socket, int peer_socket) {
  char request[64], reply[512] = "sent";
  struct sockaddr_in from = {0};
  socklen_t size = sizeof from;
  const ssize_t got =
      recvfrom(client_socket, request, sizeof request - 1, 0, (struct sockaddr *)&from, &size);
  if (got <= 0)
    return;
  request[got] = '\0';
  if (strncmp(request, "send ", 5) == 0) {
    for (int id = 1; id <= member_count; id++)
      if (id != own_id)
        sendto(peer_socket, request + 5, strlen(request + 5), 0, (const struct sockaddr *)&members[id].peer,
               sizeof members[id].peer);
  } else if (strcmp(request, "clock") == 0) {
    snprintf(reply, sizeof reply, "%lld %lld", clock_ns(CLOCK_REALTIME), clock_ns(CLOCK_MONOTONIC));
  } else {
    size_t length = 0;
    for (int id = 1; id <= member_count; id++)
      length += (size_t)snprintf(reply + length, sizeof reply - length, "%s ", members[id].heard);
  }
  sendto(client_socket, reply, strlen(reply), 0, (const struct sockaddr *)&from, size);
}

int main(int argc, char **argv) {
  for (int i = 1; i + 1 < argc; i += 2) {
    if (strcmp(argv[i], "--id") == 0)
      own_id = atoi(argv[i + 1]);
    else if (strcmp(argv[i], "--member") == 0)
      add_member(argv[i + 1]);
    else if (strcmp(argv[i], "--deaf") == 0)
      signal(SIGTERM, SIG_IGN);
  }
  if (own_id < 1 || own_id > member_count)
    return 64;
  printf("node %d starts\n", own_id);
  fflush(stdout);
  struct pollfd sockets[] = {{.fd = listen_at(&members[own_id].peer), .events = POLLIN},
                             {.fd = listen_at(&members[own_id].client), .events = POLLIN}};
  while (poll(sockets, 2, -1) > 0) {
    if (sockets[0].revents)
      hear(sockets[0].fd);
    if (sockets[1].revents)
      answer(sockets[1].fd, sockets[0].fd);
  }
  return 3;
}
