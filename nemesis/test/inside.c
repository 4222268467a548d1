#include "nemesis/test/inside.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define NOBODY 65534

int run_as(enum user user, int (*function)(void *context), void *context) {
  fflush(NULL);
  const pid_t pid = fork();
  if (pid == 0) {
    if (user == USER_ORDINARY && geteuid() == 0) {
      CHECK(setresgid(NOBODY, NOBODY, NOBODY) == 0, "%s", strerror(errno));
      CHECK(setresuid(NOBODY, NOBODY, NOBODY) == 0, "%s", strerror(errno));
      /* What exec would do: the process may look at itself in /proc. */
      prctl(PR_SET_DUMPABLE, 1);
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that is killed leaves nothing behind */
    const int code = function(context);
    fflush(NULL);
    _exit(code);
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
    ;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

struct inside {
  int (*body)(void *context);
  void *context;
};

static int in_sandbox(void *context) {
  const struct inside *inside = context;
  struct error error = {0};
  int status = -1;
  CHECK(sandbox_run(inside->body, inside->context, NULL, &status, &error) == 0, "%s", error.message);
  return status;
}

int run_inside(enum user user, int (*body)(void *context), void *context) {
  struct inside inside = {body, context};
  return run_as(user, in_sandbox, &inside);
}

char *scratch_make(void) {
  char path[] = "/tmp/assay-nemesis-test-XXXXXX";
  if (!mkdtemp(path) || chmod(path, 0777) != 0)
    return NULL;
  return xstrdup(path);
}

void scratch_remove(char *directory) {
  directory_remove(directory, NULL);
  free(directory);
}

int scratch_empty(void *directory) {
  char *nodes = path_join(directory, "nodes");
  const int status = directory_remove(nodes, NULL);
  free(nodes);
  return status;
}

ino_t namespace_of(const char *pid, const char *kind) {
  char path[128];
  struct stat info;
  snprintf(path, sizeof path, "/proc/%s/ns/%s", pid, kind);
  return stat(path, &info) == 0 ? info.st_ino : 0;
}

size_t processes_in(ino_t pid_namespace) {
  DIR *processes = opendir("/proc");
  size_t count = 0;
  for (struct dirent *entry; processes && (entry = readdir(processes));)
    if (isdigit((unsigned char)entry->d_name[0]) && namespace_of(entry->d_name, "pid") == pid_namespace)
      count++;
  if (processes)
    closedir(processes);
  return count;
}

char *test_program(const char *name) {
  char *directory = program_directory(), *path = path_join(directory, name);
  free(directory);
  return path;
}
