/* A cluster of one node whose host is this one: the agent is there without ssh, in a sandbox of the test's
 * own. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "nemesis/agent/leftovers.h"
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

TestSuite(agent, .init = setup, .fini = teardown, .timeout = 60);

/* The echo node listens where it is told to, which is on this host's loopback. */
static int open_cluster(uv_loop_t *loop, uint64_t id, bool keep, struct cluster **cluster,
                        struct error *error) {
  static const char *const hosts[] = {"n1=here,127.0.0.1", NULL};
  char *program = test_program("assay-echo-node"), *ssh = test_program("assay-agent-here");
  char *remote = path_join(directory, "remote");
  const struct cluster_options options = {.provider = PROVIDER_SSH,
                                          .nodes = 1,
                                          .master = program,
                                          .directory = directory,
                                          .cluster_id = id,
                                          .keep = keep,
                                          .hosts = {.hosts = hosts, .ssh = ssh, .directory = remote}};
  signal(SIGPIPE, SIG_IGN);
  CHECK(uv_loop_init(loop) == 0, "no loop");
  const int status = cluster_new(loop, &options, cluster, error);
  free(program);
  free(ssh);
  free(remote);
  return status;
}

static struct cluster *make(uv_loop_t *loop, uint64_t id) {
  struct cluster *cluster;
  struct error error = {0};
  CHECK(open_cluster(loop, id, false, &cluster, &error) == 0, "%s", error.message);
  CHECK(cluster_start(cluster, 0, &error) == 0, "%s", error.message);
  return cluster;
}

static void unmake(uv_loop_t *loop, struct cluster *cluster) {
  cluster_free(cluster);
  uv_run(loop, UV_RUN_DEFAULT);
  CHECK(uv_loop_close(loop) == 0, "handles are left on the loop");
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

/* The agent of a cluster: its node's parent. */
static pid_t agent_of(const struct cluster *cluster) {
  char path[64], line[512] = "";
  int parent = 0;
  snprintf(path, sizeof path, "/proc/%d/stat", (int)cluster_node_pid(cluster, 0));
  FILE *file = fopen(path, "r");
  CHECK(file && fgets(line, sizeof line, file), "no node");
  fclose(file);
  CHECK(sscanf(strrchr(line, ')') + 1, " %*c %d", &parent) == 1, "%s", line);
  return parent;
}

struct deaths {
  int count;
};

static void note_death(void *context, size_t node) {
  (void)node;
  ((struct deaths *)context)->count++;
}

/* ---- What is asked is done ---- */

static int lives(void *context) {
  (void)context;
  uv_loop_t loop;
  struct cluster *cluster = make(&loop, 1);
  struct probe *probe = probe_new(cluster);
  struct error error = {0};
  struct deaths deaths = {0};
  cluster_watch(cluster, note_death, &deaths);
  const pid_t first = cluster_node_pid(cluster, 0);
  probe_await(probe, 0);
  CHECK(cluster_pause(cluster, 0, &error) == 0, "%s", error.message);
  CHECK(state_of(first) == 'T', "state %c", state_of(first));
  CHECK(cluster_resume(cluster, 0, &error) == 0, "%s", error.message);
  probe_await(probe, 0);
  CHECK(cluster_pause(cluster, 0, &error) == 0, "%s", error.message);
  CHECK(cluster_kill(cluster, 0, &error) == 0, "%s", error.message);
  CHECK(state_of(first) == '-', "it lives");
  CHECK(cluster_start(cluster, 0, &error) == 0, "%s", error.message);
  probe_await(probe, 0);
  CHECK(cluster_stop(cluster, 0, &error) == 0, "%s", error.message);
  uv_run(&loop, UV_RUN_NOWAIT);
  CHECK(deaths.count == 0, "an end that was asked for was told as a death");
  CHECK(cluster_start(cluster, 0, &error) == 0, "%s", error.message);
  CHECK(kill(cluster_node_pid(cluster, 0), SIGABRT) == 0, "no node");
  while (deaths.count == 0)
    uv_run(&loop, UV_RUN_ONCE);
  CHECK(cluster_node_state(cluster, 0) == NODE_DIED && !cluster_node_lost(cluster, 0), "not told");
  CHECK(WTERMSIG(cluster_node_exit_status(cluster, 0)) == SIGABRT, "another end");
  CHECK(cluster_start(cluster, 0, &error) == 0, "%s", error.message);
  probe_await(probe, 0);
  probe_free(probe);
  unmake(&loop, cluster);
  return 0;
}

Test(agent, a_node_is_paused_killed_stopped_and_started) {
  for (enum user user = 0; user < USERS; user++) {
    cr_assert_eq(run_inside(user, lives, NULL), 0);
    cr_assert_eq(run_as(user, scratch_empty, directory), 0);
    char *remote = path_join(directory, "remote");
    directory_remove(remote, NULL);
    free(remote);
  }
}

static int cannot_start(void *context) {
  (void)context;
  uv_loop_t loop;
  struct cluster *cluster = make(&loop, 1);
  struct error error = {0};
  CHECK(cluster_kill(cluster, 0, &error) == 0, "%s", error.message);
  char *program = test_program("assay-echo-node"), *away = test_program("assay-echo-node-away");
  CHECK(rename(program, away) == 0, "cannot rename");
  const int status = cluster_start(cluster, 0, &error);
  CHECK(rename(away, program) == 0, "cannot rename back");
  CHECK(status == ERR_NOT_FOUND && strstr(error.message, program), "%s", error.message);
  CHECK(strncmp(error.message, "n1 (here): ", 11) == 0, "%s", error.message);
  free(program);
  free(away);
  unmake(&loop, cluster);
  return 0;
}

Test(agent, what_goes_wrong_there_is_said_here) {
  cr_assert_eq(run_inside(USER_AS_IS, cannot_start, NULL), 0);
}

static int fetches_the_log(void *context) {
  (void)context;
  uv_loop_t loop;
  struct cluster *cluster = make(&loop, 7);
  struct probe *probe = probe_new(cluster);
  struct bytes there = {0}, here = {0}, path = {0};
  bytes_append_format(&path, "%s/remote/7-n1/log", directory);
  probe_await(probe, 0);
  /* Longer than one answer holds, with a character that stands across the border, and with what is no text.
   */
  FILE *log = fopen((const char *)path.data, "a");
  CHECK(log, "no log");
  for (int i = 0; i < 300000; i++)
    fputs("\u00b7", log);
  fclose(log);
  CHECK(file_read((const char *)path.data, &there, NULL) == 0, "no log");
  probe_free(probe);
  unmake(&loop, cluster);
  bytes_clear(&path);
  bytes_append_format(&path, "%s/nodes/n1/log", directory);
  CHECK(file_read((const char *)path.data, &here, NULL) == 0, "the log was not fetched");
  CHECK(here.size >= there.size && memcmp(here.data, there.data, there.size) == 0,
        "%zu bytes here, %zu there", here.size, there.size);
  bytes_free(&there);
  bytes_free(&here);
  bytes_free(&path);
  return 0;
}

Test(agent, logs_come_back_to_the_byte) {
  cr_assert_eq(run_inside(USER_AS_IS, fetches_the_log, NULL), 0);
}

/* ---- What it leaves ---- */

static bool has_rules(void) {
  return system("nft list table ip assay >/dev/null 2>&1") == 0;
}

static bool left_behind(uint64_t id) {
  struct bytes path = {0};
  bytes_append_format(&path, "%s/remote/%d-n1", directory, (int)id);
  const bool there = file_exists((const char *)path.data);
  bytes_free(&path);
  return there;
}

static int is_killed(void *context) {
  (void)context;
  uv_loop_t loop;
  struct cluster *cluster = make(&loop, 1);
  struct error error = {0};
  struct deaths deaths = {0};
  cluster_watch(cluster, note_death, &deaths);
  CHECK(system("nft add table ip assay") == 0 && has_rules(), "cannot make a table");
  CHECK(!cluster_links_clear(cluster, &error), "the table is not seen");
  const pid_t node = cluster_node_pid(cluster, 0);
  CHECK(kill(agent_of(cluster), SIGKILL) == 0, "no agent");
  while (deaths.count == 0)
    uv_run(&loop, UV_RUN_ONCE);
  CHECK(cluster_node_lost(cluster, 0), "nobody says that the host is lost");
  CHECK(cluster_start(cluster, 0, &error) == ERR_UNAVAILABLE, "%s", error.message);
  unmake(&loop, cluster);
  for (int i = 0; i < 10000 && state_of(node) != '-'; i++)
    poll(NULL, 0, 1);
  CHECK(state_of(node) == '-', "the node outlives its agent");
  CHECK(has_rules() && left_behind(1), "there is nothing for the next one to clean up");
  unmake(&loop, make(&loop, 2));
  CHECK(!has_rules() && !left_behind(1), "the next agent did not clean up");
  return 0;
}

Test(agent, what_a_killed_agent_leaves_the_next_one_takes_away) {
  cr_assert_eq(run_inside(USER_AS_IS, is_killed, NULL), 0);
}

static int input_ends(void *context) {
  (void)context;
  uv_loop_t loop;
  struct cluster *cluster = make(&loop, 1);
  struct error error = {0};
  CHECK(system("nft add table ip assay") == 0, "cannot make a table");
  CHECK(cluster_pause(cluster, 0, &error) == 0, "%s", error.message);
  const pid_t node = cluster_node_pid(cluster, 0), agent = agent_of(cluster);
  unmake(&loop, cluster); /* as when the nemesis dies: all it does is to close */
  CHECK(state_of(node) == '-' && state_of(agent) == '-', "something lives");
  CHECK(!has_rules(), "the rules are left");
  return 0;
}

Test(agent, all_is_undone_when_the_connection_ends) {
  cr_assert_eq(run_inside(USER_AS_IS, input_ends, NULL), 0);
}

static int comes_back(void *context) {
  (void)context;
  uv_loop_t loop;
  struct cluster *cluster;
  struct error error = {0};
  CHECK(open_cluster(&loop, 1, true, &cluster, &error) == 0, "%s", error.message);
  unmake(&loop, cluster);
  unmake(&loop, make(&loop, 2));
  CHECK(left_behind(1), "the data of a cluster that comes back was removed");
  unmake(&loop, make(&loop, 3));
  CHECK(left_behind(1) && !left_behind(2), "the data of a cluster that does not come back was left");
  return 0;
}

Test(agent, data_is_kept_for_a_cluster_that_comes_back) {
  cr_assert_eq(run_inside(USER_AS_IS, comes_back, NULL), 0);
}

/* A process that got the number of an earlier one is none of ours. */
static int spares_strangers(void *context) {
  (void)context;
  const pid_t stranger = fork();
  if (stranger == 0)
    while (pause() != 0)
      ;
  struct leftovers left = {.pid = -1};
  struct error error = {0};
  CHECK(leftovers_note_process(&left, stranger, &error) == 0, "%s", error.message);
  struct leftovers found;
  CHECK(leftovers_load(&found, &error) == 0 && found.pid == stranger && found.begun == left.begun, "%s",
        error.message);
  const int network = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  found.begun--;
  CHECK(leftovers_clear(&found, network, &error) == 0, "%s", error.message);
  CHECK(waitpid(stranger, NULL, WNOHANG) == 0, "a stranger was ended");
  CHECK(leftovers_clear(&left, network, &error) == 0, "%s", error.message);
  CHECK(waitpid(stranger, NULL, WNOHANG) == stranger, "our own was not ended");
  close(network);
  return 0;
}

Test(agent, only_the_process_that_was_started_is_ended) {
  cr_assert_eq(run_inside(USER_AS_IS, spares_strangers, NULL), 0);
}

static int writes_down(void *context) {
  (void)context;
  struct leftovers left = {.pid = -1, .directory = xstrdup("/var/lib/assay/1-n1"), .keep = true}, found;
  const struct host_clock clock = {
      .calls = &host_clock_kernel, .wall_ns = 5, .raw_ns = 6, .tick = 10001, .frequency = -7, .rate = 1};
  struct error error = {0};
  CHECK(leftovers_note_interface(&left, "eth1", &error) == 0, "%s", error.message);
  CHECK(leftovers_load(&found, &error) == 0 && !found.clock.calls,
        "a clock that was left alone would be set");
  leftovers_free(&found);
  CHECK(leftovers_note_clock(&left, &clock, &error) == 0, "%s", error.message);
  CHECK(leftovers_load(&found, &error) == 0, "%s", error.message);
  CHECK(strcmp(found.interface, "eth1") == 0 && strcmp(found.directory, "/var/lib/assay/1-n1") == 0 &&
            found.keep,
        "not what was written");
  CHECK(found.clock.calls == clock.calls && found.clock.wall_ns == clock.wall_ns &&
            found.clock.raw_ns == clock.raw_ns && found.clock.tick == clock.tick &&
            found.clock.frequency == clock.frequency && found.clock.rate == clock.rate,
        "another clock");
  leftovers_free(&found);
  leftovers_free(&left);
  return 0;
}

Test(agent, what_is_about_to_be_done_is_written_down) {
  cr_assert_eq(run_inside(USER_AS_IS, writes_down, NULL), 0);
}

/* ---- Hosts ---- */

static void expect_hosts(const char *first, const char *second, const char *text) {
  const char *const list[] = {first, second, NULL};
  const struct cluster_hosts hosts = {.hosts = list};
  struct error error = {0};
  const int status = cluster_check_hosts(&hosts, 2, &error);
  cr_expect_eq(status, text ? ERR_BAD_INPUT : 0, "%s %s: %s", first, second, error.message);
  cr_expect(!text || strstr(error.message, text), "'%s' is not in '%s'", text, error.message);
}

Test(agent, hosts_are_checked_before_anything_is_done) {
  expect_hosts("n1=root@127.0.0.1:2222", "n2=127.0.0.2", NULL);
  expect_hosts("n2=alias,127.0.0.1", "n1=vagrant@alias:22,127.0.0.2", NULL);
  expect_hosts("n1=127.0.0.1", NULL, "node n2 has no host");
  expect_hosts("n1=127.0.0.1", "n1=127.0.0.2", "the node has one already");
  expect_hosts("127.0.0.1", "n1=127.0.0.2", "there is no NODE");
  expect_hosts("n1=", "n2=127.0.0.2", "there is no HOST");
  expect_hosts("n1=-oProxyCommand=x", "n2=127.0.0.2", "that is no HOST");
  expect_hosts("n1=127.0.0.1:0", "n2=127.0.0.2", "that is no PORT");
  expect_hosts("n1=127.0.0.1:22x", "n2=127.0.0.2", "that is no PORT");
  expect_hosts("n1=no-such-host.invalid", "n2=127.0.0.2", "ADDRESS is needed");
}
