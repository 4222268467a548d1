/* agent.c: what `assay agent` does: on the host of one node, as root, it starts, hurts and heals what a
 * nemesis on another machine tells it to, over its standard input and output (protocol.h).
 *
 * It undoes everything when its input ends, when it is told to end by a signal, and when it has heard nothing
 * for so long that nobody can be there any more. What it leaves when it is killed, the next agent takes away.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "nemesis/agent/agent_internal.h"
#include "nemesis/agent/protocol.h"
#include "nemesis/nemesis.h"

#define SAY_PATIENCE_MS 30000

/* ---- Saying ---- */

/* A reader that reads no more must not keep the agent from ending: waits for room before every piece that a
 * pipe takes whole. */
static bool say(json_t *object) {
  char *text = json_dumps(object, JSON_COMPACT);
  json_decref(object);
  struct bytes line = {0};
  bytes_append_format(&line, "%s\n", text);
  free(text);
  size_t done = 0;
  while (done < line.size) {
    struct pollfd room = {.fd = STDOUT_FILENO, .events = POLLOUT};
    const int ready = poll(&room, 1, SAY_PATIENCE_MS);
    if (ready < 0 && errno == EINTR)
      continue;
    const size_t left = line.size - done;
    const ssize_t written =
        ready > 0 ? write(STDOUT_FILENO, line.data + done, left < 4096 ? left : 4096) : -1;
    if (written < 0)
      break;
    done += (size_t)written;
  }
  const bool said = done == line.size;
  bytes_free(&line);
  return said;
}

static bool tell_end(struct agent *agent) {
  const int wait_status = process_reap(&agent->process);
  leftovers_note_process(&agent->left, -1, NULL);
  return say(
      json_pack("{s:s, s:I, s:i}", "event", "ended", "life", (json_int_t)agent->life, "status", wait_status));
}

/* ---- Hearing ---- */

static bool answer(struct agent *agent, const char *line) {
  json_error_t where;
  struct error error = {0};
  json_t *request = json_loads(line, JSON_REJECT_DUPLICATES, &where), *answer = json_object();
  const int status =
      request ? agent_carry_out(agent, request, answer, &error)
              : error_set(&error, ERR_BAD_INPUT, "not JSON at column %d: %s", where.column, where.text);
  json_t *id = json_object_get(request, "id");
  if (request && !id) {
    if (status != 0 && status != ERR_NOT_FOUND)
      log_warn("%s", error.message);
    json_decref(request);
    json_decref(answer);
    return true;
  }
  json_object_set_new(answer, "id", id ? json_incref(id) : json_null());
  json_object_set_new(answer, "ok", json_boolean(status == 0));
  if (status != 0) {
    json_object_set_new(answer, "code", json_integer(status));
    json_object_set_new(answer, "error", json_stringn_nocheck(error.message, strlen(error.message)));
  }
  json_decref(request);
  return say(answer);
}

/* False when there is nobody any more. */
static bool hear(struct agent *agent, struct bytes *heard) {
  const ssize_t got = read(STDIN_FILENO, bytes_reserve(heard, 65536), 65536);
  if (got < 0 && errno == EINTR)
    return true;
  if (got <= 0)
    return false;
  heard->size += (size_t)got;
  size_t used = 0;
  bool there = true;
  for (char *end; there && (end = memchr(heard->data + used, '\n', heard->size - used)) != NULL;) {
    *end = '\0';
    char *line = (char *)heard->data + used;
    used = (size_t)(end + 1 - (char *)heard->data);
    there = answer(agent, line);
  }
  bytes_consume(heard, used);
  return there && heard->size <= AGENT_LINE_MAX;
}

static void serve(struct agent *agent, int signals) {
  struct bytes heard = {0};
  int64_t heard_ns = time_monotonic_ns();
  for (bool there = true; there;) {
    struct pollfd watched[] = {{.fd = STDIN_FILENO, .events = POLLIN},
                               {.fd = signals, .events = POLLIN},
                               {.fd = agent->process.pidfd, .events = POLLIN}};
    const int64_t left_ns = heard_ns + AGENT_SILENCE_MAX_NS - time_monotonic_ns();
    const int count = poll(watched, ARRAY_SIZE(watched), left_ns > 0 ? (int)(left_ns / NS_PER_MS) + 1 : 0);
    if (count == 0)
      log_error("nothing was heard for %d s: ending", (int)(AGENT_SILENCE_MAX_NS / NS_PER_S));
    there = count > 0 && watched[1].revents == 0;
    if (there && watched[2].revents != 0)
      there = tell_end(agent);
    if (there && watched[0].revents != 0) {
      heard_ns = time_monotonic_ns();
      there = hear(agent, &heard);
    }
  }
  bytes_free(&heard);
}

/* ---- Life ---- */

static int open_signals(void) {
  sigset_t ending;
  signal(SIGPIPE, SIG_IGN);
  sigemptyset(&ending);
  sigaddset(&ending, SIGINT);
  sigaddset(&ending, SIGTERM);
  sigaddset(&ending, SIGHUP);
  sigprocmask(SIG_BLOCK, &ending, NULL);
  return signalfd(-1, &ending, SFD_CLOEXEC);
}

int agent_run(void) {
  struct agent agent = {.left = {.pid = -1}, .process = {.pid = -1, .pidfd = -1}};
  agent.network = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  const int signals = open_signals();
  serve(&agent, signals);
  agent_undo(&agent);
  free(agent.master);
  leftovers_free(&agent.left);
  close(signals);
  close(agent.network);
  return 0;
}

/* ---- After a run ---- */

int agent_collect(const char *directory, bool remove) {
  struct leftovers left = {.pid = -1};
  struct error error = {0};
  const int network = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  int status = leftovers_lock(&error);
  if (status == 0)
    status = leftovers_load(&left, &error);
  if (status == 0 && (!left.directory || strcmp(left.directory, directory) != 0))
    status = error_set(&error, ERR_NOT_FOUND, "%s is not what the last run has left here", directory);
  if (status == 0)
    status = leftovers_clear(&left, network, &error);
  if (status == 0 && remove)
    status = leftovers_remove(&left, &error);
  close(network);
  leftovers_free(&left);
  if (status != 0) {
    fprintf(stderr, "assay agent: %s\n", error.message);
    return EXIT_HARNESS;
  }
  if (remove)
    return 0;
  execlp("tar", "tar", "--create", "--sparse", "--directory", directory, ".", (char *)NULL);
  fprintf(stderr, "assay agent: cannot run tar: %s\n", strerror(errno));
  return EXIT_HARNESS;
}
