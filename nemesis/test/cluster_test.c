#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "nemesis/node.h"
#include "nemesis/test/inside.h"
#include "nemesis/test/probe.h"

static char *directory;

static void setup(void) {
  directory = scratch_make();
  cr_assert(directory);
}

static void teardown(void) {
  scratch_remove(directory);
}

TestSuite(cluster, .init = setup, .fini = teardown);

static struct cluster *make(uv_loop_t *loop, enum provider provider, size_t nodes) {
  char *program = test_program("assay-echo-node");
  const struct cluster_options options = {
      .provider = provider, .nodes = nodes, .master = program, .directory = directory};
  struct cluster *cluster;
  struct error error = {0};
  CHECK(uv_loop_init(loop) == 0, "no loop");
  CHECK(cluster_new(loop, &options, &cluster, &error) == 0, "%s", error.message);
  free(program);
  for (size_t i = 0; i < nodes; i++)
    CHECK(cluster_start(cluster, i, &error) == 0, "%s", error.message);
  return cluster;
}

static void unmake(uv_loop_t *loop, struct cluster *cluster) {
  cluster_free(cluster);
  uv_run(loop, UV_RUN_DEFAULT);
  CHECK(uv_loop_close(loop) == 0, "handles are left on the loop");
}

/* Waits until a node's log holds the text, at most 10 s. */
static void await_log(const char *node, const char *text) {
  struct bytes path = {0};
  bytes_append_format(&path, "%s/nodes/%s/log", directory, node);
  for (int attempt = 0; attempt < 1000; attempt++) {
    struct bytes content = {0};
    file_read((const char *)path.data, &content, NULL);
    const bool found = content.size > 0 && memmem(content.data, content.size, text, strlen(text));
    bytes_free(&content);
    if (found) {
      bytes_free(&path);
      return;
    }
    usleep(10000);
  }
  CHECK(false, "%s never logged '%s'", node, text);
}

/* ---- Links ---- */

static int random_links(void *context) {
  const size_t nodes = *(const size_t *)context;
  uv_loop_t loop;
  struct cluster *cluster = make(&loop, PROVIDER_NETNS, nodes);
  struct probe *probe = probe_new(cluster);
  struct error error = {0};
  struct random random;
  random_seed(&random, nodes);
  bool hears[CLUSTER_NODES_MAX * CLUSTER_NODES_MAX];
  for (int round = 0; round < 12; round++) {
    const double density = round == 0 ? 1 : round == 1 ? 0 : random_unit(&random);
    size_t cut = 0;
    for (size_t i = 0; i < nodes * nodes; i++) {
      hears[i] = random_chance(&random, density) || i % (nodes + 1) == 0;
      cut += !hears[i];
    }
    CHECK(cluster_set_links(cluster, hears, &error) == 0, "%s", error.message);
    CHECK(cluster_links_clear(cluster, &error) == (cut == 0), "%zu links are cut", cut);
    probe_expect(probe, hears);
    size_t rules;
    uint64_t dropped;
    CHECK(cluster_count_rules(cluster, &rules, &dropped, &error) == 0, "%s", error.message);
    CHECK(rules == cut && dropped == cut, "%zu cut, %zu rules, %zu dropped", cut, rules, (size_t)dropped);
  }
  memset(hears, true, sizeof hears);
  CHECK(cluster_set_links(cluster, hears, &error) == 0, "%s", error.message);
  CHECK(cluster_links_clear(cluster, &error), "%s", error.message);
  probe_expect(probe, hears);
  probe_free(probe);
  unmake(&loop, cluster);
  return 0;
}

Test(cluster, links_are_exactly_what_was_set_and_clients_never_cut) {
  for (enum user user = 0; user < USERS; user++) {
    size_t sizes[] = {1, 2, 3, 5};
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
      cr_assert_eq(run_inside(user, random_links, &sizes[i]), 0);
    cr_assert_eq(run_as(user, scratch_empty, directory), 0);
  }
}

static int links_outlive_restarts(void *context) {
  (void)context;
  uv_loop_t loop;
  struct cluster *cluster = make(&loop, PROVIDER_NETNS, 3);
  struct probe *probe = probe_new(cluster);
  struct error error = {0};
  const bool hears[] = {true, false, true, true, true, false, true, true, true};
  CHECK(cluster_set_links(cluster, hears, &error) == 0, "%s", error.message);
  for (size_t i = 0; i < 3; i++) {
    CHECK(cluster_kill(cluster, i, &error) == 0, "%s", error.message);
    CHECK(cluster_start(cluster, i, &error) == 0, "%s", error.message);
  }
  probe_expect(probe, hears);
  probe_free(probe);
  unmake(&loop, cluster);
  return 0;
}

Test(cluster, links_outlive_restarts) {
  cr_assert_eq(run_inside(USER_ORDINARY, links_outlive_restarts, NULL), 0);
}

static int second_in_one_sandbox(void *context) {
  (void)context;
  uv_loop_t loop;
  struct cluster *cluster = make(&loop, PROVIDER_NETNS, 2), *second;
  const struct cluster_options options = {
      .provider = PROVIDER_NETNS, .nodes = 1, .master = "/bin/true", .directory = directory};
  struct error error = {0};
  CHECK(cluster_new(&loop, &options, &second, &error) == ERR_UNSUPPORTED, "two clusters in one sandbox");
  unmake(&loop, cluster);
  /* Once the first is gone, there is room again. */
  unmake(&loop, make(&loop, PROVIDER_NETNS, 2));
  return 0;
}

Test(cluster, one_cluster_a_sandbox) {
  cr_assert_eq(run_inside(USER_ORDINARY, second_in_one_sandbox, NULL), 0);
}

Test(cluster, netns_outside_of_a_sandbox_is_refused) {
  uv_loop_t loop;
  uv_loop_init(&loop);
  const struct cluster_options options = {
      .provider = PROVIDER_NETNS, .nodes = 1, .master = "/bin/true", .directory = directory};
  struct cluster *cluster;
  struct error error = {0};
  cr_assert_eq(cluster_new(&loop, &options, &cluster, &error), ERR_UNSUPPORTED);
  cr_assert(strstr(error.message, "sandbox"), "%s", error.message);
  uv_loop_close(&loop);
}

/* Two at once, each with other links: neither sees the other. */
struct beside {
  bool cut;
  int ready[2], go[2]; /* pipes */
};

static void meet(const struct beside *beside) {
  char byte = 0;
  CHECK(write(beside->ready[1], &byte, 1) == 1 && read(beside->go[0], &byte, 1) == 1, "no partner");
}

static int beside_another(void *context) {
  const struct beside *beside = context;
  const bool cut = beside->cut;
  uv_loop_t loop;
  struct cluster *cluster = make(&loop, PROVIDER_NETNS, 3);
  struct probe *probe = probe_new(cluster);
  struct error error = {0};
  const bool hears[9] = {true, !cut, !cut, true, true, true, true, true, true};
  CHECK(cluster_set_links(cluster, hears, &error) == 0, "%s", error.message);
  meet(beside);
  probe_expect(probe, hears);
  meet(beside);
  probe_free(probe);
  unmake(&loop, cluster);
  return 0;
}

static pid_t run_beside(struct beside *beside, enum user user) {
  const pid_t pid = fork();
  if (pid != 0)
    return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  directory = scratch_make(); /* of its own: they are different users */
  const int code = run_inside(user, beside_another, beside);
  scratch_remove(directory);
  _exit(code);
}

Test(cluster, two_sandboxes_do_not_disturb_each_other) {
  pid_t runs[2];
  struct beside beside[2] = {{.cut = false}, {.cut = true}};
  for (int i = 0; i < 2; i++) {
    cr_assert(pipe(beside[i].ready) == 0 && pipe(beside[i].go) == 0);
    runs[i] = run_beside(&beside[i], i == 0 ? USER_AS_IS : USER_ORDINARY);
    close(beside[i].ready[1]);
  }
  for (int stage = 0; stage < 2; stage++) {
    char byte = 0;
    for (int i = 0; i < 2; i++)
      cr_assert_eq(read(beside[i].ready[0], &byte, 1), 1);
    for (int i = 0; i < 2; i++)
      cr_assert_eq(write(beside[i].go[1], &byte, 1), 1);
  }
  for (int i = 0; i < 2; i++) {
    int status;
    waitpid(runs[i], &status, 0);
    cr_assert_eq(status, 0);
  }
}

/* ---- Processes ---- */

struct deaths {
  size_t count, last;
};

static void note_death(void *context, size_t node) {
  struct deaths *deaths = context;
  deaths->count++;
  deaths->last = node;
}

static char state_of(pid_t pid) {
  char path[64], line[512] = "";
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  FILE *file = fopen(path, "r");
  const char *read_line = file ? fgets(line, sizeof line, file) : NULL;
  if (file)
    fclose(file);
  return read_line ? strrchr(line, ')')[2] : '-';
}

static void check_process_life(uv_loop_t *loop, struct cluster *cluster, struct probe *probe) {
  struct error error = {0};
  struct deaths deaths = {0};
  cluster_watch(cluster, note_death, &deaths);
  const pid_t before = cluster_node_pid(cluster, 1);
  CHECK(cluster_node_state(cluster, 1) == NODE_RUNNING, "not running");
  CHECK(cluster_start(cluster, 1, &error) == ERR_NOT_FOUND, "started twice");
  CHECK(cluster_resume(cluster, 1, &error) == ERR_NOT_FOUND, "resumed though not paused");
  CHECK(cluster_pause(cluster, 1, &error) == 0, "%s", error.message);
  CHECK(state_of(before) == 'T' && cluster_node_state(cluster, 1) == NODE_PAUSED, "state %c",
        state_of(before));
  CHECK(cluster_pause(cluster, 1, &error) == ERR_NOT_FOUND, "paused twice");
  CHECK(cluster_resume(cluster, 1, &error) == 0, "%s", error.message);
  probe_await(probe, 1);
  CHECK(cluster_pause(cluster, 1, &error) == 0, "%s", error.message);
  CHECK(cluster_kill(cluster, 1, &error) == 0, "%s", error.message);
  CHECK(kill(before, 0) != 0 && cluster_node_state(cluster, 1) == NODE_STOPPED, "it lives");
  CHECK(cluster_kill(cluster, 1, &error) == ERR_NOT_FOUND, "killed twice");
  CHECK(cluster_start(cluster, 1, &error) == 0, "%s", error.message);
  probe_await(probe, 1);
  CHECK(cluster_node_pid(cluster, 1) != before, "the same process");
  CHECK(cluster_pause(cluster, 1, &error) == 0, "%s", error.message);
  CHECK(cluster_stop(cluster, 1, &error) == 0, "a paused node stops, too: %s", error.message);
  uv_run(loop, UV_RUN_NOWAIT);
  CHECK(deaths.count == 0, "an end that was asked for was told as a death");

  CHECK(kill(cluster_node_pid(cluster, 0), SIGABRT) == 0, "no node");
  while (deaths.count == 0)
    uv_run(loop, UV_RUN_ONCE); /* the pidfd is input to wait for */
  CHECK(deaths.count == 1 && deaths.last == 0 && cluster_node_state(cluster, 0) == NODE_DIED, "not told");
  CHECK(WTERMSIG(cluster_node_exit_status(cluster, 0)) == SIGABRT, "another end");
  CHECK(cluster_start(cluster, 0, &error) == 0, "%s", error.message);
  probe_await(probe, 0);

  /* It dies by itself just before it is killed: the finding must not get lost. */
  const pid_t victim = cluster_node_pid(cluster, 0);
  CHECK(kill(victim, SIGABRT) == 0, "no node");
  while (state_of(victim) != 'Z')
    poll(NULL, 0, 1);
  CHECK(cluster_kill(cluster, 0, &error) == 0, "%s", error.message);
  CHECK(deaths.count == 2 && cluster_node_state(cluster, 0) == NODE_STOPPED, "the death was not told");
}

static int process_life(void *context) {
  uv_loop_t loop;
  struct cluster *cluster = make(&loop, *(const enum provider *)context, 2);
  struct probe *probe = probe_new(cluster);
  check_process_life(&loop, cluster, probe);
  probe_free(probe);
  unmake(&loop, cluster);
  return 0;
}

Test(cluster, nodes_are_paused_killed_stopped_and_started) {
  enum provider provider = PROVIDER_NETNS;
  cr_assert_eq(run_inside(USER_ORDINARY, process_life, &provider), 0);
}

Test(cluster, host_provider_hurts_processes_only) {
  enum provider provider = PROVIDER_HOST;
  cr_assert_eq(run_as(USER_AS_IS, process_life, &provider), 0);
}

static int host_cannot_cut(void *context) {
  (void)context;
  uv_loop_t loop;
  struct cluster *cluster = make(&loop, PROVIDER_HOST, 3);
  struct probe *probe = probe_new(cluster);
  const bool hears[9] = {true};
  struct error error = {0};
  CHECK(cluster_set_links(cluster, hears, &error) == ERR_UNSUPPORTED, "it did");
  CHECK(strstr(error.message, "provider host cannot cut links"), "%s", error.message);
  CHECK(cluster_links_clear(cluster, &error), "%s", error.message);
  const bool all[9] = {true, true, true, true, true, true, true, true, true};
  probe_expect(probe, all);
  probe_free(probe);
  unmake(&loop, cluster);
  return 0;
}

Test(cluster, host_provider_cannot_cut_links) {
  cr_assert_eq(run_as(USER_AS_IS, host_cannot_cut, NULL), 0);
}

static int start_fails(void *context) {
  (void)context;
  uv_loop_t loop;
  uv_loop_init(&loop);
  const struct cluster_options options = {
      .provider = PROVIDER_HOST, .nodes = 1, .master = "/nonexistent/master", .directory = directory};
  struct cluster *cluster;
  struct error error = {0};
  CHECK(cluster_new(&loop, &options, &cluster, &error) == 0, "%s", error.message);
  CHECK(cluster_start(cluster, 0, &error) == ERR_NOT_FOUND, "%s", error.message);
  CHECK(strstr(error.message, "/nonexistent/master"), "%s", error.message);
  CHECK(cluster_node_state(cluster, 0) == NODE_STOPPED, "it runs");
  unmake(&loop, cluster);
  return 0;
}

/* ---- Nodes that crash or hang ---- */

static void hear_hung(void *context, size_t node) {
  *(int *)context = (int)node;
}

static int one_is_deaf(void *context) {
  (void)context;
  char *program = test_program("assay-echo-node");
  const char *const extra[] = {"--deaf", "yes", NULL};
  const struct cluster_options options = {
      .provider = PROVIDER_HOST, .nodes = 1, .master = program, .directory = directory, .extra = extra};
  struct cluster *cluster;
  struct error error = {0};
  uv_loop_t loop;
  int hung = -1;
  uv_loop_init(&loop);
  CHECK(cluster_new(&loop, &options, &cluster, &error) == 0, "%s", error.message);
  CHECK(cluster_start(cluster, 0, &error) == 0, "%s", error.message);
  cluster_watch_hung(cluster, hear_hung, &hung);
  await_log("n1", "node 1 starts");
  CHECK(cluster_stop(cluster, 0, &error) == ERR_TIMEOUT, "a deaf node stopped");
  CHECK(hung == 0, "nobody was told while it hung: %d", hung);
  CHECK(cluster_node_state(cluster, 0) == NODE_STOPPED, "it was not killed");
  free(program);
  unmake(&loop, cluster);
  return 0;
}

Test(cluster, a_node_that_does_not_end_is_told_of_before_it_is_killed) {
  cr_assert_eq(run_as(USER_AS_IS, one_is_deaf, NULL), 0);
}

static int one_looks_around(void *context) {
  uv_loop_t loop;
  /* The address sanitizer would forbid cores once the node has started. */
  setenv("ASAN_OPTIONS", "disable_coredump=0", 1);
  struct cluster *cluster = make(&loop, PROVIDER_HOST, 2);
  const pid_t pid = cluster_node_pid(cluster, 1);
  char path[64], where[4096];
  (void)context;
  await_log("n2", "node 2 starts"); /* what it is given was set before */
  snprintf(path, sizeof path, "/proc/%d/cwd", (int)pid);
  const ssize_t length = readlink(path, where, sizeof where - 1);
  CHECK(length > 9 && memcmp(where + length - 9, "/nodes/n2", 9) == 0, "it works in %.*s", (int)length,
        where);
  struct rlimit limit;
  CHECK(prlimit(pid, RLIMIT_CORE, NULL, &limit) == 0, "no limits");
  CHECK(limit.rlim_cur == limit.rlim_max || limit.rlim_cur == CORE_BYTES_MAX, "cores of %llu bytes",
        (unsigned long long)limit.rlim_cur);
  unmake(&loop, cluster);
  return 0;
}

Test(cluster, a_node_works_where_its_core_is_wanted) {
  cr_assert_eq(run_as(USER_AS_IS, one_looks_around, NULL), 0);
}

Test(cluster, missing_program_is_an_error_that_names_it) {
  cr_assert_eq(run_as(USER_AS_IS, start_fails, NULL), 0);
}

/* Nodes must not outlive the process that owns them, even one killed -9. */
static int owner_ends[2];

static int owner(void *context) {
  uv_loop_t loop;
  struct cluster *cluster = make(&loop, *(const enum provider *)context, 1);
  const pid_t pid = cluster_node_pid(cluster, 0);
  CHECK(write(owner_ends[1], &pid, sizeof pid) == sizeof pid, "cannot tell");
  while (pause() != 0)
    ;
  return 0;
}

Test(cluster, nodes_die_with_their_owner) {
  enum provider provider = PROVIDER_HOST;
  cr_assert_eq(pipe(owner_ends), 0);
  const pid_t owning = fork();
  if (owning == 0)
    _exit(owner(&provider));
  pid_t node;
  cr_assert_eq(read(owner_ends[0], &node, sizeof node), (ssize_t)sizeof node);
  kill(owning, SIGKILL);
  waitpid(owning, NULL, 0);
  for (int i = 0; i < 5000 && state_of(node) != '-' && state_of(node) != 'Z'; i++)
    poll(NULL, 0, 1);
  cr_assert(state_of(node) == '-' || state_of(node) == 'Z');
}
