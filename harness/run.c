/* run.c: `assay run`: the outer process. It takes no part in the test: it prepares the store, waits until the
 * sandbox is gone, and has judged what was recorded. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "base/base.h"
#include "harness/collect.h"
#include "harness/commands.h"
#include "harness/conductor.h"
#include "harness/diagnose.h"
#include "harness/document.h"
#include "harness/judge.h"
#include "harness/secure.h"
#include "harness/store.h"
#include "harness/summary.h"
#include "harness/vagrant.h"
#include "harness/verdict.h"

/* ---- Before ---- */

static json_t *command_line_json(int argc, char **argv) {
  json_t *line = json_array();
  json_array_append_new(line, json_string("assay"));
  for (int i = 0; i < argc; i++)
    json_array_append_new(line, json_string(argv[i]));
  return line;
}

static json_t *machine_json(void) {
  struct utsname name;
  uname(&name);
  return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "host", name.nodename, "kernel", name.release,
                   "kernel_version", name.version, "architecture", name.machine, "processors",
                   (json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "memory_bytes",
                   (json_int_t)sysconf(_SC_PHYS_PAGES) * (json_int_t)sysconf(_SC_PAGESIZE));
}

static json_t *versions_json(void) {
  return json_pack("{s:s, s:s, s:s, s:s}", "assay", ASSAY_VERSION, "libraft", ASSAY_LIBRAFT_VERSION, "libuv",
                   uv_version_string(), "jansson", jansson_version_str());
}

static int write_parameters(const struct settings *settings, json_t *line, const char *command,
                            const char *run, struct error *error) {
  char stamp[32];
  const time_t now = time(NULL);
  struct tm utc;
  gmtime_r(&now, &utc);
  strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &utc);
  json_t *test = settings_to_json(settings);
  json_object_set_new(test, "began", json_string(stamp));
  json_object_set_new(test, "began_monotonic_ns", json_integer((json_int_t)time_monotonic_ns()));
  json_object_set_new(test, "command_line", line);
  json_object_set_new(test, "command", json_string(command));
  json_object_set_new(test, "versions", versions_json());
  json_object_set_new(test, "machine", machine_json());
  char *path = path_join(run, "test.json");
  const int status = document_write(path, test, error);
  free(path);
  json_decref(test);
  return status;
}

/* ---- The run phase ---- */

/* A stop signal this soon after the first is the same request told twice, as in a sandbox. */
#define FORCE_AFTER_NS NS_PER_S

/* Waits for the process; the first stop signal is passed on, a later one ends it at once. */
static void wait_beside(pid_t pid, const sigset_t *awaited) {
  int64_t asked_ns = 0;
  while (waitpid(pid, NULL, WNOHANG) == 0) {
    int number = 0;
    sigwait(awaited, &number);
    if (number == SIGCHLD)
      continue;
    if (asked_ns == 0) {
      asked_ns = time_monotonic_ns();
      kill(pid, SIGTERM);
    } else if (time_monotonic_ns() - asked_ns >= FORCE_AFTER_NS) {
      kill(pid, SIGKILL);
    }
  }
}

/* Without a sandbox: a process all the same, in a session of its own, that ends with this one. What it
 * started ends when its standard input does. */
static int run_beside(struct conduct_plan *plan, struct error *error) {
  sigset_t awaited, before;
  sigemptyset(&awaited);
  sigaddset(&awaited, SIGINT);
  sigaddset(&awaited, SIGTERM);
  sigaddset(&awaited, SIGHUP);
  sigaddset(&awaited, SIGCHLD);
  sigprocmask(SIG_BLOCK, &awaited, &before);
  fflush(NULL);
  const pid_t parent = getpid(), pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
      _exit(EXIT_HARNESS);
    setsid();
    sigprocmask(SIG_SETMASK, &before, NULL);
    _exit(conduct(plan));
  }
  const int status = pid < 0 ? error_set_errno(error, ERR_IO, "cannot start a process") : 0;
  if (pid > 0)
    wait_beside(pid, &awaited);
  sigprocmask(SIG_SETMASK, &before, NULL);
  return status;
}

static int run_phase(struct conduct_plan *plan, struct error *error) {
  if (plan->settings->provider != PROVIDER_NETNS)
    return run_beside(plan, error);
  int exit_code = 0;
  return sandbox_run(conduct, plan, NULL, &exit_code, error);
}

/* ---- After ---- */

/* What the masters stored is of use only to whoever looks for what went wrong. */
static void remove_data(const struct settings *settings, const char *run) {
  for (int64_t i = 1; i <= settings->nodes; i++) {
    char path[PATH_MAX];
    struct error error = {0};
    snprintf(path, sizeof path, "%s/nodes/n%d/data", run, (int)i);
    if (directory_remove(path, &error) != 0)
      log_warn("%s", error.message);
  }
}

static int finish(const struct settings *settings, const struct case_file *file,
                  struct diagnosis *diagnosis) {
  FILE *out = settings->json ? stderr : stdout;
  fprintf(out, "checking the history\n");
  fflush(out);
  json_t *result = judge(file);
  const int exit_code = verdict_result_exit_code(result);
  if (file->outcome->cluster_made)
    collect(settings, file->run, exit_code != EXIT_VALID);
  if (exit_code == EXIT_VALID) {
    remove_data(settings, file->run);
    diagnose_discard(diagnosis, file->run);
  } else {
    diagnose_write(diagnosis, file->run);
  }
  summary_print(out, result);
  if (settings->json)
    document_print_line(result);
  json_decref(result);
  return exit_code;
}

static int begin(const struct settings *settings, const char *run) {
  FILE *out = settings->json ? stderr : stdout;
  fprintf(out, "%lld nodes (%s), %lld clients in %lld processes, workload %s%s, nemesis %s, seed %lld\n",
          (long long)settings->nodes, provider_name(settings->provider), (long long)settings->clients,
          (long long)settings->client_processes, settings->workload,
          settings->reads_any ? ", reads at any node" : "", settings->nemesis, (long long)settings->seed);
  if (settings->provider_reason[0] != '\0')
    fprintf(out, "no partitions, nodes are plain processes on loopback, because: %s\n",
            settings->provider_reason);
  fprintf(out, "%s\n", run);
  fflush(out);
  return 0;
}

static int run(const struct settings *settings, json_t *line, char **directory, char *command,
               struct error *error) {
  int status = store_run_new(settings->store, settings->name, directory, error);
  if (status != 0)
    json_decref(line);
  else
    status = write_parameters(settings, line, command, *directory, error);
  if (status != 0)
    return status;
  if (settings->provider == PROVIDER_NETNS && strncmp(*directory, "/run/", 5) == 0)
    return error_set(
        error, ERR_BAD_INPUT,
        "%s lies below /run, which nodes in a sandbox do not see: name another place with --store",
        settings->store);
  struct conduct_outcome *outcome =
      mmap(NULL, sizeof *outcome, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (outcome == MAP_FAILED)
    return error_set_errno(error, ERR_NO_MEMORY, "cannot map memory to share with the run");
  begin(settings, *directory);
  struct diagnosis diagnosis;
  diagnose_begin(&diagnosis, settings->master_path[0] ? settings->master_path : "assay-master");
  struct conduct_plan plan = {.settings = settings, .run = *directory, .outcome = outcome};
  struct error cause = {0};
  char *certificates = path_join(*directory, "tls");
  if ((settings->tls && secure_make(certificates, settings->time_ns, &cause) != 0) ||
      run_phase(&plan, &cause) != 0) {
    outcome->ending = CONDUCT_FAILED;
    snprintf(outcome->message, sizeof outcome->message, "%s", cause.message);
  }
  directory_remove(certificates, NULL); /* nobody is left who needs the keys */
  free(certificates);
  const struct case_file file = {
      .settings = settings, .run = *directory, .command = command, .outcome = outcome};
  const int exit_code = finish(settings, &file, &diagnosis);
  munmap(outcome, sizeof *outcome);
  return exit_code;
}

int run_command(int argc, char **argv) {
  struct settings settings;
  json_t *line = command_line_json(argc, argv);
  char **given = xcalloc((size_t)argc, sizeof *given); /* parsing moves them */
  memcpy((void *)given, (void *)argv, (size_t)argc * sizeof *given);
  const int code = settings_parse(&settings, argc, argv);
  if (code < 0 && settings.delegated) {
    struct error error = {0};
    vagrant_delegate(&settings, argc, given, &error);
    fprintf(stderr, "assay run: %s\n", error.message);
  }
  free((void *)given);
  if (code >= 0 || settings.delegated) {
    json_decref(line);
    return code >= 0 ? code : EXIT_HARNESS;
  }
  struct error error = {0};
  char *directory = NULL, *command = settings_command(&settings);
  int exit_code = run(&settings, line, &directory, command, &error);
  if (exit_code < 0) {
    fprintf(stderr, "assay run: %s\n", error.message);
    if (settings.json) {
      json_t *result = verdict_failure(directory ? directory : "", command, settings.seed, error.message);
      document_print_line(result);
      json_decref(result);
    }
    exit_code = EXIT_HARNESS;
  }
  free(directory);
  free(command);
  return exit_code;
}
