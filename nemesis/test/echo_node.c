/* echo_node.c: stands in for a master: takes its flags, and tells whom it hears.
 *
 * On its client port (UDP) it answers "send TOKEN" by sending TOKEN from its peer port to every other
 * member's, then "sent"; "heard" by the last token of each member, in order, "-" for none; and all that
 * questions.h lists. A question that begins with a number, "#17 heard", is carried out once, however often it
 * comes: its answer is kept until one with a greater number comes. With `--deaf yes` the node does not hear
 * SIGTERM. */
#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nemesis/test/questions.h"

#define MEMBERS_MAX 9

struct member {
  struct sockaddr_in peer, client;
  char heard[32];
};

static struct member members[MEMBERS_MAX + 1];
static int member_count, own_id;
static const char *data_directory = ".";

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

static void tell_heard(char *reply, size_t size) {
  size_t length = 0;
  for (int id = 1; id <= member_count; id++)
    length += (size_t)snprintf(reply + length, size - length, "%s ", members[id].heard);
}

static void send_token(int peer_socket, const char *token) {
  for (int id = 1; id <= member_count; id++)
    if (id != own_id)
      sendto(peer_socket, token, strlen(token), 0, (const struct sockaddr *)&members[id].peer,
             sizeof members[id].peer);
}

static void carry_out(const char *question, int peer_socket, char *reply, size_t size) {
  if (strncmp(question, "send ", 5) == 0) {
    send_token(peer_socket, question + 5);
    snprintf(reply, size, "sent");
  } else if (strcmp(question, "heard") == 0) {
    tell_heard(reply, size);
  } else {
    question_answer(data_directory, question, reply, size);
  }
}

static void answer(int client_socket, int peer_socket) {
  static unsigned long last; /* the greatest number of a question */
  static char reply[512];    /* to the last question */
  char request[256], *question = request;
  unsigned long number = 0;
  struct sockaddr_in from = {0};
  socklen_t size = sizeof from;
  const ssize_t got =
      recvfrom(client_socket, request, sizeof request - 1, 0, (struct sockaddr *)&from, &size);
  if (got <= 0)
    return;
  request[got] = '\0';
  if (request[0] == '#') {
    number = strtoul(request + 1, &question, 10);
    question += *question == ' ';
    if (number < last)
      return; /* nobody waits for that any more */
  }
  if (number == 0 || number > last)
    carry_out(question, peer_socket, reply, sizeof reply);
  last = number > last ? number : last;
  sendto(client_socket, reply, strlen(reply), 0, (const struct sockaddr *)&from, size);
}

int main(int argc, char **argv) {
  for (int i = 1; i + 1 < argc; i += 2) {
    if (strcmp(argv[i], "--id") == 0)
      own_id = atoi(argv[i + 1]);
    else if (strcmp(argv[i], "--member") == 0)
      add_member(argv[i + 1]);
    else if (strcmp(argv[i], "--data") == 0)
      data_directory = argv[i + 1];
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
