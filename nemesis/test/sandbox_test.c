#include <criterion/criterion.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "nemesis/test/inside.h"

/* What the body tells the test of itself. */
struct told {
  ino_t pid_namespace, net_namespace, mount_namespace;
};

static int pipe_ends[2];

static struct told look_around(void) {
  return (struct told){.pid_namespace = namespace_of("self", "pid"),
                       .net_namespace = namespace_of("self", "net"),
                       .mount_namespace = namespace_of("self", "mnt")};
}

static void tell(void) {
  const struct told told = look_around();
  CHECK(write(pipe_ends[1], &told, sizeof told) == sizeof told, "cannot tell");
}

static struct told hear(void) {
  struct told told = {0};
  cr_assert_eq(read(pipe_ends[0], &told, sizeof told), (ssize_t)sizeof told, "the body did not come so far");
  return told;
}

static int looks_right(void *context) {
  (void)context;
  struct stat root;
  CHECK(geteuid() == 0 && getegid() == 0, "uid %d", (int)geteuid());
  CHECK(getppid() == 1, "the body's parent is %d", (int)getppid());
  CHECK(processes_in(namespace_of("self", "pid")) == 2, "only init and the body are to be seen");
  CHECK(stat("/run", &root) == 0, "no /run");
  CHECK(access("/run/lock", F_OK) != 0, "the host's /run is to be seen");
  FILE *made = fopen("/run/something", "w");
  CHECK(made && fclose(made) == 0, "cannot write on /run");
  struct if_nameindex *interfaces = if_nameindex();
  CHECK(interfaces && interfaces[0].if_name && !interfaces[1].if_name, "more than the loopback");
  if_freenameindex(interfaces);
  struct error error = {0};
  CHECK(sandbox_supported(&error) == 0, "a sandbox inside a sandbox: %s", error.message);
  return 42;
}

Test(sandbox, body_is_root_alone_and_its_exit_code_comes_back) {
  for (enum user user = 0; user < USERS; user++)
    cr_assert_eq(run_inside(user, looks_right, NULL), 42);
  cr_assert(access("/run/something", F_OK) != 0, "it leaked to the host's /run");
}

static int killed_by_itself(void *context) {
  (void)context;
  raise(SIGUSR1);
  return 0;
}

Test(sandbox, signal_that_ends_the_body_is_told) {
  cr_assert_eq(run_inside(USER_AS_IS, killed_by_itself, NULL), 128 + SIGUSR1);
}

/* An orphan two levels down must be reaped: it must vanish, not stay a zombie of pid 1. */
static int makes_orphan(void *context) {
  (void)context;
  int orphan_pid[2], go[2];
  CHECK(pipe(orphan_pid) == 0 && pipe(go) == 0, "no pipe");
  const pid_t middle = fork();
  if (middle == 0) {
    const pid_t orphan = fork();
    if (orphan == 0) {
      char byte;
      close(go[1]);
      _exit(read(go[0], &byte, 1) == 0 ? 0 : 1);
    }
    _exit(write(orphan_pid[1], &orphan, sizeof orphan) == sizeof orphan ? 0 : 1);
  }
  pid_t orphan;
  CHECK(read(orphan_pid[0], &orphan, sizeof orphan) == sizeof orphan, "no orphan");
  CHECK(waitpid(middle, NULL, 0) == middle, "no middle");
  close(go[0]);
  close(go[1]);
  for (int i = 0; i < 5000 && kill(orphan, 0) == 0; i++)
    usleep(1000);
  CHECK(kill(orphan, 0) != 0, "the orphan is still there");
  return 0;
}

Test(sandbox, orphans_are_reaped) {
  cr_assert_eq(run_inside(USER_ORDINARY, makes_orphan, NULL), 0);
}

/* ---- Ends ---- */

static int ends_with_children_left(void *context) {
  (void)context;
  for (int i = 0; i < 3; i++)
    if (fork() == 0) {
      setsid();
      signal(SIGTERM, SIG_IGN);
      for (;;)
        pause();
    }
  tell();
  return 0;
}

Test(sandbox, nothing_is_left_when_the_body_ends) {
  cr_assert_eq(pipe(pipe_ends), 0);
  for (enum user user = 0; user < USERS; user++) {
    cr_assert_eq(run_inside(user, ends_with_children_left, NULL), 0);
    cr_assert_eq(processes_in(hear().pid_namespace), 0);
  }
}

static int never_ends(void *context) {
  ends_with_children_left(context);
  while (pause() != 0)
    ;
  return 0;
}

static pid_t init_pid;
static int pid_ends[2];

static void note_pid(void *context, pid_t pid) {
  (void)context;
  CHECK(write(pid_ends[1], &pid, sizeof pid) == sizeof pid, "cannot tell");
}

static int runs_for_ever(void *context) {
  struct error error = {0};
  int status;
  CHECK(sandbox_run(never_ends, context, note_pid, &status, &error) == 0, "%s", error.message);
  return status;
}

/* Starts a process whose sandbox runs for ever; returns it, with init_pid and *told set. */
static pid_t start_for_ever(int (*function)(void *), struct told *told) {
  cr_assert(pipe(pipe_ends) == 0 && pipe(pid_ends) == 0);
  const pid_t outer = fork();
  if (outer == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    _exit(run_as(USER_AS_IS, function, NULL));
  }
  cr_assert_eq(read(pid_ends[0], &init_pid, sizeof init_pid), (ssize_t)sizeof init_pid);
  *told = hear();
  return outer;
}

static pid_t parent_of(pid_t pid) {
  char path[64], line[512];
  int parent = 0;
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  FILE *file = fopen(path, "r");
  if (file && fgets(line, sizeof line, file))
    sscanf(strrchr(line, ')') + 2, "%*c %d", &parent);
  if (file)
    fclose(file);
  return parent;
}

static size_t mount_count(void) {
  FILE *file = fopen("/proc/self/mountinfo", "r");
  size_t count = 0;
  for (int c; (c = fgetc(file)) != EOF;)
    count += c == '\n';
  fclose(file);
  return count;
}

Test(sandbox, kill_9_of_the_caller_leaves_nothing) {
  const size_t mounts = mount_count();
  struct told told;
  prctl(PR_SET_CHILD_SUBREAPER, 1); /* so that the orphaned init is ours to bury */
  const pid_t outer = start_for_ever(runs_for_ever, &told);
  cr_assert_geq(processes_in(told.pid_namespace), 4);
  const int ended = (int)syscall(SYS_pidfd_open, init_pid, 0);
  cr_assert_geq(ended, 0);
  const pid_t caller = parent_of(init_pid);
  cr_assert(caller > 1 && parent_of(caller) == outer);
  cr_assert_eq(kill(caller, SIGKILL), 0);
  struct pollfd ready = {.fd = ended, .events = POLLIN};
  cr_assert_eq(poll(&ready, 1, 10000), 1, "init outlives its caller");
  waitpid(outer, NULL, 0);
  cr_assert_eq(waitpid(init_pid, NULL, 0), init_pid);
  cr_assert_eq(processes_in(told.pid_namespace), 0);
  cr_assert_eq(mount_count(), mounts);
  close(ended);
}

/* ---- Stop signals ---- */

static volatile sig_atomic_t stops_seen;

static void count_stop(int number) {
  (void)number;
  stops_seen = stops_seen + 1;
}

/* Heals for a while after the first request; a second request in that time is a failure. */
static int stops_cleanly(void *context) {
  (void)context;
  struct sigaction action = {.sa_handler = count_stop};
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
  tell();
  while (stops_seen == 0)
    poll(NULL, 0, 1);
  for (int i = 0; i < 100; i++)
    poll(NULL, 0, 3);
  return stops_seen == 1 ? 7 : 8;
}

static int runs_until_stopped(void *context) {
  struct error error = {0};
  int status;
  CHECK(sandbox_run(stops_cleanly, context, note_pid, &status, &error) == 0, "%s", error.message);
  return status;
}

Test(sandbox, stop_signals_reach_the_body_once) {
  const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
  for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
    struct told told;
    int status;
    const pid_t outer = start_for_ever(runs_until_stopped, &told);
    const pid_t caller = parent_of(init_pid);
    kill(caller, numbers[i]);
    poll(NULL, 0, 50); /* far less than a second: the same request again */
    kill(caller, numbers[i]);
    waitpid(outer, &status, 0);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 7, "signal %d: status %x", numbers[i], status);
  }
}

static int ignores_stop(void *context) {
  signal(SIGTERM, SIG_IGN);
  signal(SIGINT, SIG_IGN);
  return never_ends(context);
}

static int runs_stubbornly(void *context) {
  struct error error = {0};
  int status;
  CHECK(sandbox_run(ignores_stop, context, note_pid, &status, &error) == 0, "%s", error.message);
  return status;
}

static int leads_a_group(void *context) {
  CHECK(setpgid(0, 0) == 0, "no group");
  return runs_until_stopped(context);
}

Test(sandbox, ctrl_c_in_the_terminal_reaches_the_body_once) {
  struct told told;
  int status;
  const pid_t outer = start_for_ever(leads_a_group, &told);
  /* What the terminal does: everybody in the foreground group gets it. */
  cr_assert_eq(kill(-parent_of(init_pid), SIGINT), 0);
  waitpid(outer, &status, 0);
  cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 7, "status %x", status);
}

Test(sandbox, second_stop_signal_forces) {
  struct told told;
  int status;
  const pid_t outer = start_for_ever(runs_stubbornly, &told);
  const pid_t caller = parent_of(init_pid);
  kill(caller, SIGINT);
  poll(NULL, 0, 1100);
  cr_assert_gt(processes_in(told.pid_namespace), 0, "the first is only a request");
  kill(caller, SIGINT);
  waitpid(outer, &status, 0);
  cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 128 + SIGKILL, "status %x", status);
  cr_assert_eq(processes_in(told.pid_namespace), 0);
}

/* ---- Joining ---- */

static int joins(void *context) {
  const struct told *told = context;
  struct error error = {0};
  char before[4096], after[4096];
  CHECK(chdir("/tmp") == 0 && getcwd(before, sizeof before), "no /tmp");
  CHECK(sandbox_join(init_pid, &error) == 0, "%s", error.message);
  CHECK(getcwd(after, sizeof after) && strcmp(before, after) == 0, "the working directory moved to %s",
        after);
  /* /proc in there is of the other pid namespace and does not know us by "self". */
  CHECK(namespace_of("1", "net") == told->net_namespace, "not its /proc");
  struct if_nameindex *interfaces = if_nameindex();
  CHECK(interfaces && interfaces[0].if_name && !interfaces[1].if_name, "more than the loopback");
  return 0;
}

static int joins_nobody(void *context) {
  (void)context;
  struct error error = {0};
  CHECK(sandbox_join(999999999, &error) == ERR_NOT_FOUND, "%s", error.message);
  return 0;
}

Test(sandbox, others_join_by_pid) {
  struct told told;
  const pid_t outer = start_for_ever(runs_for_ever, &told);
  cr_assert_eq(run_as(USER_AS_IS, joins, &told), 0);
  cr_assert_eq(run_as(USER_AS_IS, joins_nobody, NULL), 0);
  kill(init_pid, SIGKILL);
  waitpid(outer, NULL, 0);
}

/* ---- Refusals ---- */

static int without_namespaces(void *context) {
  (void)context;
  /* A user namespace of our own has a limit of our own to set to nothing. */
  FILE *limit = fopen("/proc/sys/user/max_user_namespaces", "w");
  CHECK(limit && fputs("0", limit) >= 0 && fclose(limit) == 0, "cannot set the limit");
  limit = fopen("/proc/sys/user/max_net_namespaces", "w");
  CHECK(limit && fputs("0", limit) >= 0 && fclose(limit) == 0, "cannot set the limit");
  struct error error = {0};
  CHECK(sandbox_supported(&error) == ERR_UNSUPPORTED, "%s", error.message);
  CHECK(strstr(error.message, "sysctl -w user.max_"), "%s", error.message);
  return 0;
}

Test(sandbox, refusal_names_the_cure) {
  cr_assert_eq(run_inside(USER_ORDINARY, without_namespaces, NULL), 0);
}

static const char *scratch;

/* A chroot into a directory that is no mount point: the place where the kernel refuses user namespaces. */
static int in_chroot(void *context) {
  (void)context;
  struct error error = {0};
  CHECK(chdir(scratch) == 0 && mkdir("proc", 0755) == 0 && mkdir("run", 0755) == 0, "no directories");
  CHECK(mount("proc", "proc", "proc", 0, NULL) == 0, "no /proc");
  CHECK(chroot(".") == 0, "no chroot");
  CHECK(sandbox_supported(&error) == 0, "root needs no user namespace: %s", error.message);
  CHECK(access("/run/lock", F_OK) != 0, "it left the chroot");
  if (setresuid(65534, 65534, 65534) != 0)
    return 0; /* a sandbox of an ordinary user knows no other user */
  prctl(PR_SET_DUMPABLE, 1);
  CHECK(sandbox_supported(&error) == ERR_UNSUPPORTED, "the kernel allows it");
  CHECK(strstr(error.message, "leave the chroot"), "%s", error.message);
  return 0;
}

Test(sandbox, works_for_root_in_a_chroot_and_tells_others_why_not) {
  char *directory = scratch_make();
  scratch = directory;
  for (enum user user = 0; user < USERS; user++) {
    cr_assert_eq(run_inside(user, in_chroot, NULL), 0);
    char *proc = path_join(directory, "proc"), *run = path_join(directory, "run");
    cr_assert(rmdir(proc) == 0 && rmdir(run) == 0);
    free(proc);
    free(run);
  }
  scratch_remove(directory);
}
