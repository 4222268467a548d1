/* What a running master does when it wants for descriptors or memory. */
#include <criterion/criterion.h>
#include <ctype.h>
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "base/base.h"
#include "master/client/client.h"
#include "master/server/test/nodes.h"

static uv_loop_t loop;

struct outcome {
  bool came;
  enum master_outcome outcome;
  uint32_t first;
};

static void keep(void *context, const struct master_answer *answer) {
  struct outcome *outcome = context;
  *outcome = (struct outcome){.came = true, .outcome = answer->outcome};
}

static void keep_first(void *context, uint32_t first, const struct master_answer *answer) {
  struct outcome *outcome = context;
  *outcome = (struct outcome){.came = true, .outcome = answer->outcome, .first = first};
}

static struct master_client *open_client(int64_t timeout_ns) {
  struct master_client *client;
  const struct master_client_options options = {
      .addresses = nodes_addresses(), .address_count = 1, .request_timeout_ns = timeout_ns, .retry = true};
  cr_assert_eq(master_client_open(&loop, &options, &client, NULL), 0);
  return client;
}

static uint32_t reserve(struct master_client *client) {
  struct outcome outcome = {0};
  master_client_reserve(client, 1, keep_first, &outcome);
  while (!outcome.came)
    uv_run(&loop, UV_RUN_ONCE);
  return outcome.outcome == MASTER_OK ? outcome.first : 0;
}

static enum master_outcome create(struct master_client *client, uint32_t number, uint32_t sequence) {
  char path[64];
  struct outcome outcome = {0};
  snprintf(path, sizeof path, "/f%u-%u", number, sequence);
  const struct master_request request = {
      .operation = MASTER_CREATE, .op_id = (uint64_t)number << 32 | sequence, .path = path};
  master_client_submit(client, &request, keep, &outcome);
  while (!outcome.came)
    uv_run(&loop, UV_RUN_ONCE);
  return outcome.outcome;
}

static void start(void) {
  static const char *const flags[] = {"--snapshot-threshold", "20", "--snapshot-trailing", "5", NULL};
  nodes_make(1);
  nodes_flags(flags);
  nodes_start(0);
  uv_loop_init(&loop);
}

static void finish(void) {
  uv_run(&loop, UV_RUN_DEFAULT);
  cr_assert_eq(uv_loop_close(&loop), 0);
  nodes_unmake();
}

static rlim_t highest_descriptor(pid_t pid) {
  char path[64];
  rlim_t highest = 0;
  snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
  DIR *descriptors = opendir(path);
  cr_assert(descriptors);
  for (const struct dirent *entry; (entry = readdir(descriptors));) {
    const rlim_t number = strtoull(entry->d_name, NULL, 10);
    highest = isdigit((unsigned char)entry->d_name[0]) && number > highest ? number : highest;
  }
  closedir(descriptors);
  return highest;
}

static void limit(pid_t pid, __rlimit_resource_t resource, rlim_t soft, struct rlimit *before) {
  cr_assert_eq(prlimit(pid, resource, NULL, before), 0);
  cr_assert_eq(prlimit(pid, resource, &(struct rlimit){soft, before->rlim_max}, NULL), 0);
}

Test(want, without_descriptors_it_turns_clients_away_and_goes_on) {
  start();
  struct master_client *client = open_client(20 * NS_PER_S);
  const uint32_t number = reserve(client);
  cr_assert_gt(number, 0);
  struct rlimit before;
  const pid_t pid = nodes_pid(0);
  limit(pid, RLIMIT_NOFILE, highest_descriptor(pid) + 1, &before);
  struct master_client *turned_away = open_client(NS_PER_S / 2);
  cr_expect_eq(reserve(turned_away), 0);
  /* Every twenty of them take a snapshot, which opens files. */
  for (uint32_t sequence = 1; sequence <= 400; sequence++)
    cr_assert_eq(create(client, number, sequence), MASTER_OK, "%u", sequence);
  cr_expect_eq(reserve(turned_away), 0);
  cr_assert_eq(prlimit(pid, RLIMIT_NOFILE, &before, NULL), 0);
  struct master_client *later = open_client(20 * NS_PER_S);
  cr_expect_gt(reserve(later), 0);
  cr_expect_eq(create(client, number, 401), MASTER_OK);
  master_client_close(client, NULL, NULL);
  master_client_close(turned_away, NULL, NULL);
  master_client_close(later, NULL, NULL);
  const int ended = nodes_stop(0);
  cr_expect(WIFEXITED(ended) && WEXITSTATUS(ended) == 0);
  finish();
}

/* Not by a signal: it ends as it does whenever it cannot go on, and says why. */
Test(want, without_memory_it_ends_and_says_so) {
  start();
  struct master_client *patient = open_client(20 * NS_PER_S), *client = open_client(NS_PER_S / 5);
  const uint32_t number = reserve(patient);
  cr_assert_gt(number, 0);
  struct rlimit before;
  limit(nodes_pid(0), RLIMIT_DATA, 4096, &before);
  for (uint32_t sequence = 1; !nodes_has_ended(0); sequence++)
    create(client, number, sequence);
  master_client_close(patient, NULL, NULL);
  master_client_close(client, NULL, NULL);
  const int ended = nodes_stop(0);
  cr_expect(WIFEXITED(ended) && WEXITSTATUS(ended) == EXIT_HARNESS, "wait status %d", ended);
  struct bytes log = {0};
  char *path = path_join(nodes_directory(), "n1.log");
  cr_assert_eq(file_read(path, &log, NULL), 0);
  bytes_append_u8(&log, 0);
  cr_expect(strstr((const char *)log.data, "memory"), "%s", log.data);
  bytes_free(&log);
  free(path);
  finish();
}
