/* A node may end over a disk that failed it: while the fault is present, and for a moment after its heal. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "nemesis/test/inside.h"

static char *directory;

static void setup(void) {
  directory = scratch_make();
}

static void teardown(void) {
  scratch_remove(directory);
}

TestSuite(excuse, .init = setup, .fini = teardown);

/* What was told of nodes, in order: "ended n2, restarted n2, ". */
struct story {
  char text[512];
};

static void note(void *context, const char *json) {
  struct story *story = context;
  json_t *event = json_loads(json, 0, NULL);
  const char *state = json_string_value(json_object_get(event, "state"));
  const size_t length = strlen(story->text);
  if (state)
    snprintf(story->text + length, sizeof story->text - length, "%s %s, ", state,
             json_string_value(json_object_get(event, "node")));
  json_decref(event);
}

static void on_stopped(void *context, int status, const struct error *error) {
  CHECK(status == 0, "%s", error->message);
  uv_stop(context);
}

/* A node that ends with EXIT_HARNESS when it gets SIGUSR1. */
static char *make_program(void) {
  static const char text[] = "#!/bin/sh\ntrap 'exit 3' USR1\n: >ready\nwhile :; do sleep 0.02; done\n";
  char *path = path_join(directory, "node");
  struct error error = {0};
  CHECK(file_replace(path, text, sizeof text - 1, &error) == 0 && chmod(path, 0755) == 0, "%s",
        error.message);
  return path;
}

static void await_ready(const struct cluster *cluster, size_t node) {
  char path[512];
  snprintf(path, sizeof path, "%s/nodes/%s/ready", directory, cluster_node_name(cluster, node));
  while (unlink(path) != 0)
    usleep(1000);
}

/* It ends by itself; waits until the nemesis has told `expected`. */
static void end_node(uv_loop_t *loop, const struct cluster *cluster, size_t node, const struct story *story,
                     const char *expected) {
  await_ready(cluster, node);
  CHECK(kill(cluster_node_pid(cluster, node), SIGUSR1) == 0, "no node");
  while (strlen(story->text) < strlen(expected))
    uv_run(loop, UV_RUN_ONCE);
  CHECK(strcmp(story->text, expected) == 0, "%s", story->text);
}

static int ends(void *context) {
  (void)context;
  char *program = make_program(), *history = path_join(directory, "nemesis.jsonl");
  const struct cluster_options options = {.provider = PROVIDER_NETNS,
                                          .needs = CAPABILITY_BIT(CAN_DISK),
                                          .nodes = 3,
                                          .master = program,
                                          .directory = directory};
  const struct nemesis_options wanted = {.families = "none", .seed = 1, .history = history};
  uv_loop_t loop;
  struct cluster *cluster;
  struct nemesis *nemesis;
  struct story story = {0};
  struct error error = {0};
  uint64_t number;
  uv_loop_init(&loop);
  CHECK(cluster_new(&loop, &options, &cluster, &error) == 0, "%s", error.message);
  const char *lacks = cluster_lacks(cluster, CAN_DISK);
  CHECK(!lacks, "%s", lacks);
  for (size_t i = 0; i < 3; i++)
    CHECK(cluster_start(cluster, i, &error) == 0, "%s", error.message);
  CHECK(nemesis_new(&loop, cluster, &wanted, note, &story, &nemesis, &error) == 0, "%s", error.message);
  nemesis_start(nemesis);
  CHECK(nemesis_install(nemesis, "{\"fault\": \"disk-error-sync\", \"targets\": [\"n2\"]}", &number,
                        &error) == 0,
        "%s", error.message);
  end_node(&loop, cluster, 1, &story, "ended n2, ");
  CHECK(nemesis_heal(nemesis, number, &error) == 0, "%s", error.message);
  CHECK(strcmp(story.text, "ended n2, restarted n2, ") == 0, "%s", story.text);
  end_node(&loop, cluster, 1, &story, "ended n2, restarted n2, ended n2, restarted n2, ");
  story = (struct story){0};
  end_node(&loop, cluster, 2, &story, "died n3, "); /* nothing was wrong with its disk */
  nemesis_stop(nemesis, on_stopped, &loop);
  uv_run(&loop, UV_RUN_DEFAULT);
  nemesis_free(nemesis);
  cluster_free(cluster);
  uv_run(&loop, UV_RUN_DEFAULT);
  free(program);
  free(history);
  return 0;
}

Test(excuse, a_node_may_end_while_its_disk_fails_and_just_after) {
  cr_assert_eq(run_inside(USER_AS_IS, ends, NULL), 0);
}
