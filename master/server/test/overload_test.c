/* More is asked of a master than it can do: it refuses early, its memory stays bounded, and it goes on. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "base/base.h"
#include "master/client/client.h"
#include "master/server/test/nodes.h"

#define CLIENTS 1024
#define OUTSTANDING 128 /* of each */
#define LOAD_NS (6 * NS_PER_S)
/* Requests may take 256 MiB, rows in the cache 128, rows on their way to the store as much again, the buffers
 * of sessions 256; what the allocator keeps for later comes on top. */
#define MEMORY_LIMIT_KIB (1 << 20)

static uv_loop_t loop;
static int64_t ends_ns;
static uint64_t done, overloaded, other;

struct load {
  struct master_client *client;
  uint32_t number, sequence, outstanding;
};
static struct load loads[CLIENTS];

static void ask(struct load *load);

static void on_answer(void *context, const struct master_answer *answer) {
  struct load *load = context;
  load->outstanding--;
  done += answer->outcome == MASTER_OK;
  overloaded += answer->error == MASTER_ERROR_OVERLOADED;
  other += answer->outcome != MASTER_OK && answer->error != MASTER_ERROR_OVERLOADED;
  if (time_monotonic_ns() < ends_ns)
    ask(load);
  else if (load->outstanding == 0)
    master_client_close(load->client, NULL, NULL);
}

static void ask(struct load *load) {
  char path[64];
  load->outstanding++;
  load->sequence++;
  snprintf(path, sizeof path, "/file-%u-%u", load->number, load->sequence);
  const struct master_request request = {
      .operation = MASTER_CREATE, .op_id = (uint64_t)load->number << 32 | load->sequence, .path = path};
  master_client_submit(load->client, &request, on_answer, load);
}

static struct master_client *open_client(bool retry) {
  struct master_client *client;
  const struct master_client_options options = {.addresses = nodes_addresses(),
                                                .address_count = 1,
                                                .request_timeout_ns = 30 * NS_PER_S,
                                                .attempt_timeout_ns = 30 * NS_PER_S,
                                                .connect_timeout_ns = 10 * NS_PER_S,
                                                .retry = retry};
  cr_assert_eq(master_client_open(&loop, &options, &client, NULL), 0);
  return client;
}

static void keep_first(void *context, uint32_t first, const struct master_answer *answer) {
  cr_assert_eq(answer->outcome, MASTER_OK);
  *(uint32_t *)context = first;
}

static uint32_t reserve(uint32_t count) {
  uint32_t first = 0;
  struct master_client *client = open_client(true);
  master_client_reserve(client, count, keep_first, &first);
  while (first == 0)
    uv_run(&loop, UV_RUN_ONCE);
  master_client_close(client, NULL, NULL);
  uv_run(&loop, UV_RUN_DEFAULT);
  return first;
}

/* The most that it ever had, in KiB. */
static unsigned long peak_memory(pid_t pid) {
  char path[64], line[160];
  unsigned long peak = 0;
  snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
  FILE *file = fopen(path, "re");
  cr_assert(file);
  while (fgets(line, sizeof line, file))
    if (sscanf(line, "VmHWM: %lu", &peak) == 1)
      break;
  fclose(file);
  return peak;
}

Test(overload, is_refused_early_in_bounded_memory) {
  nodes_make(1);
  nodes_start(0);
  uv_loop_init(&loop);
  const uint32_t first = reserve(CLIENTS);
  ends_ns = time_monotonic_ns() + LOAD_NS;
  for (size_t i = 0; i < CLIENTS; i++) {
    loads[i] = (struct load){.client = open_client(false), .number = first + (uint32_t)i};
    for (size_t k = 0; k < OUTSTANDING; k++)
      ask(&loads[i]);
  }
  uv_run(&loop, UV_RUN_DEFAULT);
  const unsigned long peak = peak_memory(nodes_pid(0));
  printf("done %llu, overloaded %llu, other %llu, peak memory %lu KiB\n", (unsigned long long)done,
         (unsigned long long)overloaded, (unsigned long long)other, peak);
  cr_assert(!nodes_has_ended(0));
  cr_assert_gt(done, 1000);
  cr_assert_gt(overloaded, 0, "131 072 outstanding requests are more than it takes: nothing was tested");
  cr_assert_gt(peak, 0);
  cr_assert_lt(peak, MEMORY_LIMIT_KIB);
  cr_assert_gt(reserve(1), 0, "it goes on");
  cr_assert_eq(uv_loop_close(&loop), 0);
  cr_assert_eq(nodes_stop(0), 0);
  nodes_unmake();
}
