#include "harness/rerun.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t start(const char *program, char *const *words, int *output) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0)
    return -1;
  fflush(NULL);
  const pid_t parent = getpid(), pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
      _exit(EXIT_HARNESS);
    const int nothing = open("/dev/null", O_RDWR);
    dup2(nothing, STDIN_FILENO);
    dup2(nothing, STDERR_FILENO);
    dup2(ends[1], STDOUT_FILENO);
    execv(program, words);
    _exit(EXIT_HARNESS);
  }
  close(ends[1]);
  *output = ends[0];
  return pid;
}

/* All it prints, until it ends; asked to end, and then made to, when it overstays. */
static void listen_to(pid_t pid, int output, int64_t patience_ns, struct bytes *said) {
  int64_t end_ns = time_monotonic_ns() + patience_ns;
  bool asked = false;
  for (;;) {
    struct pollfd waiting = {.fd = output, .events = POLLIN};
    const int ready = poll(&waiting, 1, 200);
    if (ready > 0) {
      const ssize_t got = read(output, bytes_reserve(said, 4096), 4096);
      if (got <= 0 && errno != EINTR)
        return;
      said->size += got > 0 ? (size_t)got : 0;
    }
    if (time_monotonic_ns() > end_ns) {
      kill(pid, asked ? SIGKILL : SIGTERM);
      asked = true;
      end_ns = time_monotonic_ns() + 15 * NS_PER_S;
    }
  }
}

static json_t *last_object(const struct bytes *said) {
  size_t end = said->size;
  while (end > 0 && said->data[end - 1] == '\n')
    end--;
  size_t begin = end;
  while (begin > 0 && said->data[begin - 1] != '\n')
    begin--;
  return end > begin ? json_loadb((const char *)said->data + begin, end - begin, 0, NULL) : NULL;
}

json_t *rerun(char *const *words, int64_t patience_ns, struct error *error) {
  struct bytes said = {0};
  int output = -1, ended = 0;
  char *directory = program_directory(), *program = path_join(directory ? directory : ".", "assay");
  const pid_t pid = start(program, words, &output);
  json_t *result = NULL;
  if (pid > 0) {
    listen_to(pid, output, patience_ns, &said);
    close(output);
    while (waitpid(pid, &ended, 0) < 0 && errno == EINTR)
      continue;
    result = last_object(&said);
  }
  if (!result) {
    struct bytes line = {0};
    for (char *const *word = words; *word; word++)
      bytes_append_format(&line, "%s%s", word == words ? "" : " ", *word);
    bytes_append_u8(&line, 0);
    error_set(error, ERR_IO, "%.500s ended without a result", (const char *)line.data);
    bytes_free(&line);
  }
  free(directory);
  free(program);
  bytes_free(&said);
  return result;
}
