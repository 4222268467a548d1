/* scale.c: `assay bench scale`: many files on a running cluster, made in steps that a script puts
 * together (ci/scale). The name of a file follows from its number alone, so that a step which was broken off
 * is gone on with by number, and any file can be asked for later.
 *
 *   /scale/<million>/<thousand>-…/<name of 12 to 40 bytes>
 *
 * Every command prints JSON lines. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "harness/bench.h"
#include "harness/bench/histogram.h"
#include "harness/commands.h"
#include "harness/secure.h"
#include "master/client/client.h"

#define DIRECTORY_FILES 1000u
#define TREE_FILES 1000000u
#define REQUEST_TIMEOUT_NS (30 * NS_PER_S)
#define RETRY_AFTER_MS 100

struct scale {
  struct flag_list addresses;
  int64_t files, from, connections, outstanding, time_ns, interval_ns, tree;
  struct tls_files tls_files;
  struct tls_context *tls; /* NULL: without */
  uv_loop_t loop;
  uv_signal_t interrupt;
  struct master_client *clients[64];
  uint32_t numbers[64], sequences[64];
  bool interrupted, reserved, failed;
  /* what is going on */
  uint64_t next, end;   /* numbers of files not asked for yet */
  size_t active;        /* requests without their answer */
  uint64_t done, there; /* answered; of those, files that were there already */
  uint64_t unknown;     /* answers that say nothing, asked again */
  const char *first_error;
  struct histogram latencies; /* ns, since the last line */
  int64_t slowest_ns, last_answer_ns, longest_gap_ns;
};

struct place {
  struct scale *scale;
  size_t lane;
  uint64_t file;
  int64_t asked_ns;
  uv_timer_t again;
};

/* splitmix64: a name's length and letters. */
static uint64_t mix(uint64_t z) {
  z += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

static void tree_path(uint64_t file, char *path, size_t size) {
  snprintf(path, size, "/scale/%" PRIu64, file / TREE_FILES);
}

static void file_path(uint64_t file, char *path, size_t size) {
  static const char *const kinds[] = {"part", "segment", "checkpoint", "image", "log", "shard-of-a-table"};
  const uint64_t drawn = mix(file), directory = file % TREE_FILES / DIRECTORY_FILES;
  char letters[17];
  snprintf(letters, sizeof letters, "%016" PRIx64, drawn);
  letters[4 + (drawn >> 8) % 13] = '\0';
  snprintf(path, size, "/scale/%" PRIu64 "/%03" PRIu64 "-%s/%s-%06" PRIu64 "-%s", file / TREE_FILES,
           directory, kinds[mix(file / DIRECTORY_FILES) % 6], kinds[drawn % 6], file % DIRECTORY_FILES,
           letters);
}

static uint64_t next_op_id(struct scale *scale, size_t lane) {
  return (uint64_t)scale->numbers[lane] << 32 | ++scale->sequences[lane];
}

/* -- connections -- */

static void on_signal(uv_signal_t *handle, int number) {
  (void)number;
  ((struct scale *)handle->data)->interrupted = true;
}

static void on_reserved(void *context, uint32_t first, const struct master_answer *answer) {
  struct scale *scale = context;
  scale->reserved = true;
  scale->failed = answer->outcome != MASTER_OK;
  for (size_t i = 0; i < (size_t)scale->connections; i++)
    scale->numbers[i] = first + (uint32_t)i;
}

static int open_clients(struct scale *scale, struct error *error) {
  const struct master_client_options options = {.addresses = scale->addresses.items,
                                                .address_count = scale->addresses.count,
                                                .request_timeout_ns = REQUEST_TIMEOUT_NS,
                                                .retry = true,
                                                .tls = scale->tls};
  for (size_t i = 0; i < (size_t)scale->connections; i++) {
    const int status = master_client_open(&scale->loop, &options, &scale->clients[i], error);
    if (status != 0)
      return status;
  }
  master_client_reserve(scale->clients[0], (uint32_t)scale->connections, on_reserved, scale);
  while (!scale->reserved && !scale->interrupted)
    uv_run(&scale->loop, UV_RUN_ONCE);
  if (!scale->reserved || scale->failed)
    return error_set(error, ERR_UNAVAILABLE,
                     "no node of the cluster gives client numbers: is there a primary?");
  return 0;
}

static void on_closed(void *context) {
  --*(size_t *)context;
}

static void close_clients(struct scale *scale) {
  size_t open = 0;
  for (size_t i = 0; i < (size_t)scale->connections; i++)
    if (scale->clients[i]) {
      open++;
      master_client_close(scale->clients[i], on_closed, &open);
    }
  while (open > 0)
    uv_run(&scale->loop, UV_RUN_ONCE);
  uv_close((uv_handle_t *)&scale->interrupt, NULL);
  uv_run(&scale->loop, UV_RUN_DEFAULT);
}

/* -- create -- */

static void ask_next(struct place *place);
static void ask(struct place *place);

static void on_again(uv_timer_t *timer) {
  ask(timer->data);
}

static void on_created(void *context, const struct master_answer *answer) {
  struct place *place = context;
  struct scale *scale = place->scale;
  const bool there = answer->outcome == MASTER_FAIL && answer->error == MASTER_ERROR_EXISTS;
  if (answer->outcome != MASTER_OK && !there) {
    scale->unknown++;
    scale->first_error = master_error_name(answer->error);
    scale->failed = scale->failed || answer->outcome == MASTER_FAIL;
    if (!scale->failed && !scale->interrupted) {
      uv_timer_start(&place->again, on_again, RETRY_AFTER_MS, 0);
      return;
    }
  }
  const int64_t took_ns = time_monotonic_ns() - place->asked_ns;
  histogram_add(&scale->latencies, (uint64_t)took_ns);
  scale->slowest_ns = took_ns > scale->slowest_ns ? took_ns : scale->slowest_ns;
  scale->done++;
  scale->there += there;
  scale->active--;
  ask_next(place);
}

static void ask(struct place *place) {
  struct scale *scale = place->scale;
  char path[256];
  file_path(place->file, path, sizeof path);
  const struct master_request request = {
      .operation = MASTER_CREATE, .op_id = next_op_id(scale, place->lane), .path = path, .parents = true};
  master_client_submit(scale->clients[place->lane], &request, on_created, place);
}

static void ask_next(struct place *place) {
  struct scale *scale = place->scale;
  if (scale->next == scale->end || scale->interrupted || scale->failed)
    return;
  place->file = scale->next++;
  place->asked_ns = time_monotonic_ns();
  scale->active++;
  ask(place);
}

static void print_progress(struct scale *scale, uint64_t since, int64_t time_ns) {
  printf("{\"step\": \"create\", \"files\": %" PRIu64 ", \"creates_per_second\": %.0f, \"p50_ms\": %.2f, "
         "\"p99_ms\": %.2f, \"slowest_ms\": %.1f, \"there\": %" PRIu64 ", \"asked_again\": %" PRIu64 "}\n",
         (uint64_t)scale->from + scale->done, (double)(scale->done - since) / ((double)time_ns / NS_PER_S),
         (double)histogram_quantile(&scale->latencies, 0.5) / NS_PER_MS,
         (double)histogram_quantile(&scale->latencies, 0.99) / NS_PER_MS,
         (double)scale->slowest_ns / NS_PER_MS, scale->there, scale->unknown);
  fflush(stdout);
  scale->latencies = (struct histogram){0};
  scale->slowest_ns = 0;
}

static void wake(uv_timer_t *timer) {
  (void)timer;
}

static int create_files(struct scale *scale, struct error *error) {
  const size_t places = (size_t)(scale->connections * scale->outstanding);
  struct place *all = xcalloc(places, sizeof *all);
  uv_timer_t ticker;
  uv_timer_init(&scale->loop, &ticker);
  uv_timer_start(&ticker, wake, 100, 100);
  scale->next = (uint64_t)scale->from;
  scale->end = (uint64_t)(scale->from + scale->files);
  for (size_t i = 0; i < places; i++) {
    all[i] = (struct place){.scale = scale, .lane = i % (size_t)scale->connections};
    uv_timer_init(&scale->loop, &all[i].again);
    all[i].again.data = &all[i];
    ask_next(&all[i]);
  }
  uint64_t since = 0;
  int64_t printed_ns = time_monotonic_ns();
  while (scale->active > 0) {
    uv_run(&scale->loop, UV_RUN_ONCE);
    const int64_t now_ns = time_monotonic_ns();
    if (now_ns - printed_ns < scale->interval_ns && scale->active > 0)
      continue;
    print_progress(scale, since, now_ns - printed_ns);
    since = scale->done;
    printed_ns = now_ns;
  }
  uv_close((uv_handle_t *)&ticker, NULL);
  for (size_t i = 0; i < places; i++)
    uv_close((uv_handle_t *)&all[i].again, NULL);
  uv_run(&scale->loop, UV_RUN_NOWAIT);
  free(all);
  if (scale->failed)
    return error_set(error, ERR_UNAVAILABLE, "a file could not be created: %s", scale->first_error);
  return scale->interrupted
             ? error_set(error, ERR_UNAVAILABLE, "interrupted after file %" PRIu64 ": go on with --from",
                         (uint64_t)scale->from + scale->done)
             : 0;
}

/* -- one request after the other -- */

struct one {
  bool done;
  enum master_outcome outcome;
  enum master_error error;
  int64_t took_ns;
};

struct asked {
  struct one *one;
  int64_t at_ns;
};

static void on_one(void *context, const struct master_answer *answer) {
  struct asked *asked = context;
  *asked->one = (struct one){.done = true,
                             .outcome = answer->outcome,
                             .error = answer->error,
                             .took_ns = time_monotonic_ns() - asked->at_ns};
}

static struct one ask_one(struct scale *scale, const struct master_request *request) {
  struct one one = {0};
  struct asked asked = {.one = &one, .at_ns = time_monotonic_ns()};
  master_client_submit(scale->clients[0], request, on_one, &asked);
  while (!one.done)
    uv_run(&scale->loop, UV_RUN_ONCE);
  return one;
}

static struct one stat_file(struct scale *scale, uint64_t file) {
  char path[256];
  file_path(file, path, sizeof path);
  return ask_one(scale, &(struct master_request){.operation = MASTER_STAT, .path = path});
}

/* What a client sees while something else goes on: reads of random files and writes of new ones, one at a
 * time. */
static int probe(struct scale *scale, struct error *error) {
  struct random random;
  random_seed(&random, random_seed_from_system());
  const int64_t begin_ns = time_monotonic_ns();
  uint64_t count = 0;
  int64_t slowest_ns = 0;
  while (time_monotonic_ns() - begin_ns < scale->time_ns && !scale->interrupted) {
    const bool writes = count % 2 == 1;
    const uint64_t file = random_below(&random, (uint64_t)scale->files);
    char path[64];
    snprintf(path, sizeof path, "/probe-%" PRIu32 "/%" PRIu64, scale->numbers[0], count);
    const struct master_request create = {.operation = MASTER_CREATE,
                                          .op_id = writes ? next_op_id(scale, 0) : 0,
                                          .path = path,
                                          .parents = true};
    const struct one one = writes ? ask_one(scale, &create) : stat_file(scale, file);
    if (one.outcome != MASTER_OK)
      return error_set(error, ERR_UNAVAILABLE, "%s %s: %s", writes ? "create" : "stat of file",
                       writes ? path : "", master_error_name(one.error));
    histogram_add(&scale->latencies, (uint64_t)one.took_ns);
    slowest_ns = one.took_ns > slowest_ns ? one.took_ns : slowest_ns;
    count++;
  }
  printf("{\"step\": \"probe\", \"requests\": %" PRIu64
         ", \"p50_ms\": %.2f, \"p99_ms\": %.2f, \"slowest_ms\": "
         "%.1f}\n",
         count, (double)histogram_quantile(&scale->latencies, 0.5) / NS_PER_MS,
         (double)histogram_quantile(&scale->latencies, 0.99) / NS_PER_MS, (double)slowest_ns / NS_PER_MS);
  return 0;
}

/* A million files go in one step, and none of them is seen again, while they are reclaimed and after. */
static int delete_tree(struct scale *scale, struct error *error) {
  char path[256];
  const uint64_t first = (uint64_t)scale->tree * TREE_FILES;
  tree_path(first, path, sizeof path);
  const struct one gone = ask_one(
      scale, &(struct master_request){
                 .operation = MASTER_DELETE, .op_id = next_op_id(scale, 0), .path = path, .recursive = true});
  if (gone.outcome != MASTER_OK)
    return error_set(error, ERR_UNAVAILABLE, "deleting %s: %s", path, master_error_name(gone.error));
  struct random random;
  random_seed(&random, (uint64_t)scale->tree);
  const int64_t begin_ns = time_monotonic_ns();
  uint64_t asked = 0, seen = 0;
  while (time_monotonic_ns() - begin_ns < scale->time_ns && !scale->interrupted) {
    const struct one one = stat_file(scale, first + random_below(&random, TREE_FILES));
    if (one.outcome != MASTER_FAIL || one.error != MASTER_ERROR_NOT_FOUND)
      seen++;
    histogram_add(&scale->latencies, (uint64_t)one.took_ns);
    asked++;
  }
  printf("{\"step\": \"delete\", \"path\": \"%s\", \"answer_ms\": %.2f, \"asked_since\": %" PRIu64
         ", \"still_seen\": %" PRIu64 ", \"p99_ms\": %.2f}\n",
         path, (double)gone.took_ns / NS_PER_MS, asked, seen,
         (double)histogram_quantile(&scale->latencies, 0.99) / NS_PER_MS);
  return seen == 0 ? 0 : error_set(error, ERR_CORRUPT, "files under %s are seen after it was deleted", path);
}

/* The time from now until a file can be read: of a cluster that starts. */
static int await_serving(struct scale *scale, int64_t begin_ns, struct error *error) {
  struct one one = {0};
  while (!scale->interrupted && time_monotonic_ns() - begin_ns < scale->time_ns) {
    one = stat_file(scale, (uint64_t)scale->from);
    if (one.outcome == MASTER_OK)
      break;
  }
  if (one.outcome != MASTER_OK)
    return error_set(error, ERR_TIMEOUT, "file %" PRId64 " cannot be read: %s", scale->from,
                     master_error_name(one.error));
  printf("{\"step\": \"await\", \"seconds\": %.2f}\n", (double)(time_monotonic_ns() - begin_ns) / NS_PER_S);
  return 0;
}

/* -- status -- */

struct asked_status {
  bool done;
  struct node_status status;
};

static void on_status(void *context, const struct node_status *status) {
  *(struct asked_status *)context = (struct asked_status){true, *status};
}

static int print_status(struct scale *scale, struct error *error) {
  const struct master_client_options options = {.addresses = scale->addresses.items,
                                                .address_count = scale->addresses.count,
                                                .request_timeout_ns = REQUEST_TIMEOUT_NS,
                                                .tls = scale->tls};
  const int opened = master_client_open(&scale->loop, &options, &scale->clients[0], error);
  for (size_t i = 0; opened == 0 && i < scale->addresses.count; i++) {
    struct asked_status asked = {0};
    master_client_status(scale->clients[0], i, false, on_status, &asked);
    while (!asked.done)
      uv_run(&scale->loop, UV_RUN_ONCE);
    const struct node_status *status = &asked.status;
    printf("{\"step\": \"status\", \"address\": \"%s\", \"role\": \"%s\", \"applied\": %" PRIu64
           ", \"commit\": %" PRIu64 ", \"inodes\": %" PRIu64
           ", \"taking\": %s, \"sending\": %s, \"installing\": %s, \"installed\": %" PRIu64 "}\n",
           scale->addresses.items[i], node_role_name(status->role), status->applied_index,
           status->commit_index, status->inodes, status->taking_snapshot ? "true" : "false",
           status->sending_snapshot ? "true" : "false", status->installing_snapshot ? "true" : "false",
           status->snapshots_installed);
  }
  return opened;
}

/* -- the command line -- */

static int run(struct scale *scale, const char *step, struct error *error) {
  const int64_t begin_ns = time_monotonic_ns();
  if (strcmp(step, "status") == 0)
    return print_status(scale, error);
  const int status = open_clients(scale, error);
  if (status != 0)
    return status;
  if (strcmp(step, "create") == 0)
    return create_files(scale, error);
  if (strcmp(step, "probe") == 0)
    return probe(scale, error);
  if (strcmp(step, "await") == 0)
    return await_serving(scale, begin_ns, error);
  return delete_tree(scale, error);
}

static bool is_step(const char *word) {
  static const char *const steps[] = {"create", "probe", "await", "delete", "status"};
  for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
    if (strcmp(word, steps[i]) == 0)
      return true;
  return false;
}

int bench_scale_command(int argc, char **argv) {
  struct scale *scale = xcalloc(1, sizeof *scale);
  *scale = (struct scale){.files = 1000000,
                          .connections = 8,
                          .outstanding = 128,
                          .time_ns = 10 * NS_PER_S,
                          .interval_ns = 5 * NS_PER_S};
  const struct flag flags[] = {
      {"address", FLAG_LIST, &scale->addresses, "HOST:PORT", "client port of a node; once for each node", 0,
       0},
      TLS_FLAGS(&scale->tls_files),
      {"files", FLAG_INT, &scale->files, "N", "files to create, or that were (1000000)", 1, 1e12},
      {"from", FLAG_INT, &scale->from, "N", "number of the first file (0)", 0, 1e12},
      {"connections", FLAG_INT, &scale->connections, "N", "to create with (8)", 1, 64},
      {"outstanding", FLAG_INT, &scale->outstanding, "N", "requests on each connection (128)", 1, 4096},
      {"interval", FLAG_DURATION, &scale->interval_ns, "TIME", "between two lines of create (5s)", 1e8,
       3600e9},
      {"time", FLAG_DURATION, &scale->time_ns, "TIME",
       "of probe and after delete; the most await waits (10s)", 0, 36000e9},
      {"tree", FLAG_INT, &scale->tree, "N", "which million of files to delete (0)", 0, 1e9},
  };
  const struct flag_set set = {
      "assay bench scale",
      "Steps of a measurement with many files, on a running cluster; ci/scale puts them together.",
      "create|probe|await|delete|status", flags, ARRAY_SIZE(flags)};
  int positional, exit_code = flags_parse_or_exit_code(&set, argc, argv, &positional);
  if (exit_code < 0 && (positional != 1 || !is_step(argv[1]) || scale->addresses.count == 0)) {
    fprintf(stderr,
            "assay bench scale: give one step (create, probe, await, delete or status), and the --address of "
            "each node (assay bench scale --help shows all flags)\n");
    exit_code = EXIT_USAGE;
  }
  if (exit_code < 0) {
    struct error error = {0};
    uv_loop_init(&scale->loop);
    uv_signal_init(&scale->loop, &scale->interrupt);
    scale->interrupt.data = scale;
    uv_signal_start(&scale->interrupt, on_signal, SIGINT);
    uv_unref((uv_handle_t *)&scale->interrupt);
    int status = secure_open(&scale->tls_files, NULL, &scale->tls, &error);
    if (status == 0)
      status = run(scale, argv[1], &error);
    close_clients(scale);
    tls_context_free(scale->tls);
    uv_loop_close(&scale->loop);
    if (status != 0)
      fprintf(stderr, "assay bench scale %s: %s\n", argv[1], error.message);
    exit_code = status == 0 ? 0 : status == ERR_CORRUPT ? EXIT_INVALID : EXIT_HARNESS;
  }
  free(scale);
  return exit_code;
}
