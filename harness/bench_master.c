/* bench_master.c: `assay bench master`: a fresh cluster on loopback with real fsyncs, closed-loop clients,
 * and how quiet the machine was meanwhile. Runs of all cases take turns, so that a noisy minute spoils no
 * case alone. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "harness/bench.h"
#include "harness/bench_load.h"
#include "harness/bench_machine.h"
#include "harness/settings.h"
#include "master/client/client.h"
#include "nemesis/nemesis.h"

#define CASES_MAX 32u
#define RUNS_MAX 99
#define START_WITHIN_NS (20 * NS_PER_S)
#define DEFAULT_CASES                                                                                        \
  "create:64x1,create:8x32,stat:64x1,stat:8x32,list:8x32,rename:8x32,delete:8x32,mixed:8x32"

struct run_figures {
  double per_second, p50_us, p99_us;
  double cpu_us; /* processor time of masters and clients an answer, which noise of others moves little */
};

struct bench_case {
  char name[64];
  struct load_options load;
  struct run_figures runs[RUNS_MAX];
  uint64_t failed;
  const char *first_error;
};

/* Over all runs: how far the machine was from quiet. */
struct noise {
  double spin_least, spin_most; /* us */
  double syncs[2 * RUNS_MAX * CASES_MAX];
  size_t sync_count;
  double foreign_sum, foreign_most; /* shares of the machine */
  size_t foreign_count;
};

struct bench {
  const char *cases_text, *master, *directory;
  int64_t time_ns, warm_up_ns, nodes, runs;
  bool json, disks;
  struct bench_case cases[CASES_MAX];
  size_t case_count;
  uv_loop_t loop;
  uv_signal_t signals[2];
  bool interrupted;
  struct cluster *cluster;
  const char *addresses[CLUSTER_NODES_MAX];
  char master_path[4096];
  char work[4096]; /* where the nodes live */
  struct noise noise;
};

/* ---- the command line ---- */

static int parse_case(struct bench *bench, const char *text, size_t size, struct error *error) {
  const char *colon = memchr(text, ':', size);
  const int kind = load_kind_of(text, colon ? (size_t)(colon - text) : size);
  unsigned connections = 0, outstanding = 0;
  int used = 0;
  if (kind < 0 || !colon || sscanf(colon, ":%5ux%5u%n", &connections, &outstanding, &used) != 2 ||
      colon + used != text + size || connections < 1 || outstanding < 1 || connections > 4096 ||
      outstanding > 4096)
    return error_set(
        error, ERR_BAD_INPUT,
        "--case: '%.*s' is none; a case is an operation (create, stat, list, rename, delete, set, "
        "mixed), connections x outstanding requests on each, as in create:8x32",
        (int)size, text);
  if (bench->case_count == CASES_MAX)
    return error_set(error, ERR_BAD_INPUT, "--case: more than %u cases", CASES_MAX);
  struct bench_case *item = &bench->cases[bench->case_count++];
  snprintf(item->name, sizeof item->name, "%s:%ux%u", load_name((enum load_kind)kind), connections,
           outstanding);
  item->load = (struct load_options){
      .kind = (enum load_kind)kind, .connections = connections, .outstanding = outstanding};
  return 0;
}

static int parse_cases(struct bench *bench, struct error *error) {
  const char *at = bench->cases_text;
  for (;;) {
    const size_t size = strcspn(at, ",");
    const int status = parse_case(bench, at, size, error);
    if (status != 0 || at[size] == '\0')
      return status;
    at += size + 1;
  }
}

/* -1: go on; else an exit code. */
static int parse(struct bench *bench, int argc, char **argv, struct error *error) {
  const struct flag flags[] = {
      {"case", FLAG_STRING, &bench->cases_text, "CASE,…",
       "operation:connections x outstanding, e.g. create:8x32", 0, 0},
      {"time", FLAG_DURATION, &bench->time_ns, "TIME", "measured time of a run (5s)", 100e6, 3600e9},
      {"warm-up", FLAG_DURATION, &bench->warm_up_ns, "TIME", "load before each measurement (500ms)", 0,
       600e9},
      {"runs", FLAG_INT, &bench->runs, "N", "runs of each case; medians are shown (5)", 1, RUNS_MAX},
      {"nodes", FLAG_INT, &bench->nodes, "N", "masters (3)", 1, CLUSTER_NODES_MAX},
      {"directory", FLAG_STRING, &bench->directory, "DIR",
       "where the nodes keep their data ($TMPDIR or /tmp)", 0, 0},
      {"disks", FLAG_BOOL, &bench->disks, NULL,
       "with the disks that can fail under the nodes, as in a run with faults of disks", 0, 0},
      {"master", FLAG_STRING, &bench->master, "FILE", "the assay-master to measure (beside assay)", 0, 0},
      {"json", FLAG_BOOL, &bench->json, NULL, "one JSON object a case", 0, 0},
  };
  const struct flag_set set = {"assay bench master",
                               "Measures a fresh cluster on loopback, real fsyncs included.", NULL, flags,
                               ARRAY_SIZE(flags)};
  int positional;
  const int exit_code = flags_parse_or_exit_code(&set, argc, argv, &positional);
  if (exit_code >= 0)
    return exit_code;
  if (parse_cases(bench, error) != 0) {
    fprintf(stderr, "assay bench master: %s\n", error->message);
    return EXIT_USAGE;
  }
  if (!bench->directory)
    bench->directory = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
  return -1;
}

/* ---- the cluster ---- */

static void on_signal(uv_signal_t *handle, int number) {
  (void)number;
  struct bench *bench = handle->data;
  bench->interrupted = true;
}

static void watch_signals(struct bench *bench) {
  static const int numbers[] = {SIGINT, SIGTERM};
  for (size_t i = 0; i < ARRAY_SIZE(bench->signals); i++) {
    uv_signal_init(&bench->loop, &bench->signals[i]);
    bench->signals[i].data = bench;
    uv_signal_start(&bench->signals[i], on_signal, numbers[i]);
    uv_unref((uv_handle_t *)&bench->signals[i]);
  }
}

static int make_cluster(struct bench *bench, struct error *error) {
  int status = settings_find_program(bench->master, "assay-master", "master", bench->master_path,
                                     sizeof bench->master_path, error);
  if (status != 0)
    return status;
  snprintf(bench->work, sizeof bench->work, "%s/assay-bench-XXXXXX", bench->directory);
  if (!mkdtemp(bench->work)) {
    bench->work[0] = '\0';
    return error_set_errno(error, ERR_IO, "cannot make a directory in %s", bench->directory);
  }
  const struct cluster_options options = {.provider = PROVIDER_HOST,
                                          .needs = bench->disks ? CAPABILITY_BIT(CAN_DISK) : 0,
                                          .nodes = (size_t)bench->nodes,
                                          .master = bench->master_path,
                                          .directory = bench->work};
  status = cluster_new(&bench->loop, &options, &bench->cluster, error);
  if (status == 0 && bench->disks && cluster_lacks(bench->cluster, CAN_DISK))
    status = error_set(error, ERR_UNSUPPORTED, "%s", cluster_lacks(bench->cluster, CAN_DISK));
  for (size_t node = 0; status == 0 && node < options.nodes; node++) {
    bench->addresses[node] = cluster_client_address(bench->cluster, node);
    status = cluster_start(bench->cluster, node, error);
  }
  return status;
}

static void unmake_cluster(struct bench *bench) {
  for (size_t i = 0; i < ARRAY_SIZE(bench->signals); i++)
    uv_close((uv_handle_t *)&bench->signals[i], NULL);
  if (bench->cluster)
    cluster_free(bench->cluster);
  while (uv_run(&bench->loop, UV_RUN_DEFAULT)) {
  }
  if (bench->work[0] != '\0')
    directory_remove(bench->work, NULL);
}

static void on_first_number(void *context, uint32_t first, const struct master_answer *answer) {
  int *state = context;
  (void)first;
  *state = answer->outcome == MASTER_OK ? 1 : -1;
}

/* Waits until the cluster answers. */
static int await_primary(struct bench *bench, struct error *error) {
  const struct master_client_options options = {.addresses = bench->addresses,
                                                .address_count = (size_t)bench->nodes,
                                                .request_timeout_ns = START_WITHIN_NS,
                                                .retry = true};
  struct master_client *client;
  int state = 0;
  const int status = master_client_open(&bench->loop, &options, &client, error);
  if (status != 0)
    return status;
  master_client_reserve(client, 1, on_first_number, &state);
  while (state == 0 && !bench->interrupted)
    uv_run(&bench->loop, UV_RUN_ONCE);
  master_client_close(client, NULL, NULL);
  if (state > 0)
    return 0;
  if (bench->interrupted)
    return error_set(error, ERR_UNAVAILABLE, "interrupted");
  return error_set(error, ERR_TIMEOUT, "the cluster found no primary within %d s: see %s/nodes/n1/log",
                   (int)(START_WITHIN_NS / NS_PER_S), bench->work);
}

/* ---- runs ---- */

static size_t node_pids(const struct bench *bench, pid_t *pids) {
  for (size_t node = 0; node < (size_t)bench->nodes; node++)
    pids[node] = cluster_node_pid(bench->cluster, node);
  return (size_t)bench->nodes;
}

static int probe_machine(struct bench *bench, struct error *error) {
  struct noise *noise = &bench->noise;
  struct machine_probe probe;
  const int status = machine_probe(bench->work, &probe, error);
  if (status != 0)
    return status;
  if (noise->sync_count == 0 || probe.spin_us < noise->spin_least)
    noise->spin_least = probe.spin_us;
  if (probe.spin_us > noise->spin_most)
    noise->spin_most = probe.spin_us;
  noise->syncs[noise->sync_count++] = probe.sync_us;
  return 0;
}

static int run_once(struct bench *bench, struct bench_case *item, size_t run, uint64_t round,
                    struct error *error) {
  struct machine_time before, after;
  struct load_result *result = xmalloc(sizeof *result);
  pid_t pids[CLUSTER_NODES_MAX];
  const size_t pid_count = node_pids(bench, pids);
  item->load.warm_up_ns = bench->warm_up_ns;
  item->load.time_ns = bench->time_ns;
  item->load.addresses = bench->addresses;
  item->load.address_count = (size_t)bench->nodes;
  item->load.interrupted = &bench->interrupted;
  item->load.round = round;
  int status = probe_machine(bench, error);
  if (status == 0)
    status = machine_time(pids, pid_count, &before, error);
  if (status == 0)
    status = load_run(&bench->loop, &item->load, result, error);
  if (status == 0)
    status = machine_time(pids, pid_count, &after, error);
  if (status == 0) {
    const double foreign = machine_foreign_share(&before, &after);
    struct noise *noise = &bench->noise;
    noise->foreign_sum += foreign;
    noise->foreign_most = fmax(noise->foreign_most, foreign);
    noise->foreign_count++;
    item->runs[run] = (struct run_figures){
        .per_second = (double)result->latencies.count / result->seconds,
        .p50_us = (double)histogram_quantile(&result->latencies, 0.5) / NS_PER_US,
        .p99_us = (double)histogram_quantile(&result->latencies, 0.99) / NS_PER_US,
        .cpu_us = result->answered ? (after.ours - before.ours) * 1e6 / (double)result->answered : 0,
    };
    item->failed += result->failed;
    item->first_error = result->first_error ? result->first_error : item->first_error;
  }
  free(result);
  return status;
}

static int run_all(struct bench *bench, struct error *error) {
  int status = await_primary(bench, error);
  uint64_t round = 0;
  for (size_t run = 0; status == 0 && run < (size_t)bench->runs; run++)
    for (size_t i = 0; status == 0 && i < bench->case_count; i++) {
      if (!bench->json && isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[Krun %zu of %" PRId64 ": %s", run + 1, bench->runs, bench->cases[i].name);
      status = run_once(bench, &bench->cases[i], run, ++round, error);
    }
  if (!bench->json && isatty(STDERR_FILENO))
    fprintf(stderr, "\r\033[K");
  return status == 0 ? probe_machine(bench, error) : status;
}

/* ---- the report ---- */

static int compare_doubles(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

struct spread {
  double least, median, most;
};

static struct spread spread_of(const double *values, size_t count) {
  double *sorted = xmalloc(count * sizeof *sorted);
  memcpy(sorted, values, count * sizeof *sorted);
  qsort(sorted, count, sizeof *sorted, compare_doubles);
  const struct spread spread = {sorted[0], sorted[count / 2], sorted[count - 1]};
  free(sorted);
  return spread;
}

struct case_figures {
  struct spread per_second;
  double p50_us, p99_us, cpu_us;
};

static struct case_figures figures_of(const struct bench_case *item, size_t runs) {
  double per_second[RUNS_MAX], p50[RUNS_MAX], p99[RUNS_MAX], cpu[RUNS_MAX];
  for (size_t run = 0; run < runs; run++) {
    per_second[run] = item->runs[run].per_second;
    p50[run] = item->runs[run].p50_us;
    p99[run] = item->runs[run].p99_us;
    cpu[run] = item->runs[run].cpu_us;
  }
  return (struct case_figures){spread_of(per_second, runs), spread_of(p50, runs).median,
                               spread_of(p99, runs).median, spread_of(cpu, runs).median};
}

static void print_json(const struct bench *bench) {
  const struct noise *noise = &bench->noise;
  const struct spread sync = spread_of(noise->syncs, noise->sync_count);
  for (size_t i = 0; i < bench->case_count; i++) {
    const struct bench_case *item = &bench->cases[i];
    const struct case_figures figures = figures_of(item, (size_t)bench->runs);
    printf(
        "{\"case\": \"%s\", \"ops_per_second\": %.0f, \"p50_us\": %.0f, \"p99_us\": %.0f, \"cpu_us\": %.1f, "
        "\"ops_per_second_least\": %.0f, \"ops_per_second_most\": %.0f, \"failed\": %" PRIu64
        ", \"runs\": %" PRId64 ", \"nodes\": %" PRId64 ", \"noise\": {\"spin_ratio\": %.2f, "
        "\"fsync_us\": %.0f, \"fsync_us_most\": %.0f, \"foreign_cpu\": %.3f, \"foreign_cpu_most\": %.3f}}\n",
        item->name, figures.per_second.median, figures.p50_us, figures.p99_us, figures.cpu_us,
        figures.per_second.least, figures.per_second.most, item->failed, bench->runs, bench->nodes,
        noise->spin_most / noise->spin_least, sync.median, sync.most,
        noise->foreign_sum / (double)noise->foreign_count, noise->foreign_most);
  }
}

static void print_table(const struct bench *bench) {
  const struct noise *noise = &bench->noise;
  const struct spread sync = spread_of(noise->syncs, noise->sync_count);
  printf("%-16s %12s %23s %10s %10s %10s\n", "case", "operations/s", "least … most of runs", "p50 us",
         "p99 us", "cpu us/op");
  for (size_t i = 0; i < bench->case_count; i++) {
    const struct bench_case *item = &bench->cases[i];
    const struct case_figures figures = figures_of(item, (size_t)bench->runs);
    printf("%-16s %12.0f %10.0f … %10.0f %10.0f %10.0f %10.1f", item->name, figures.per_second.median,
           figures.per_second.least, figures.per_second.most, figures.p50_us, figures.p99_us, figures.cpu_us);
    if (item->failed > 0)
      printf("   %" PRIu64 " failed, e.g. %s", item->failed, item->first_error);
    printf("\n");
  }
  printf("\n%" PRId64 " masters and all clients on this machine; %" PRId64
         " runs of %g s each, medians; every acknowledged write is on the disks of a majority.\n",
         bench->nodes, bench->runs, (double)bench->time_ns / NS_PER_S);
  printf(
      "The machine meanwhile: others used %.0f %% of it (%.0f %% in the worst run), arithmetic took 1 to %.2f "
      "times its best, an fsync of 4 KiB %.0f us (%.0f … %.0f).\n",
      100 * noise->foreign_sum / (double)noise->foreign_count, 100 * noise->foreign_most,
      noise->spin_most / noise->spin_least, sync.median, sync.least, sync.most);
}

/* Returns an exit code. In a sandbox, if disks need one. */
static int measure(void *context) {
  struct bench *bench = context;
  struct error error = {0};
  uv_loop_init(&bench->loop);
  watch_signals(bench);
  int status = make_cluster(bench, &error);
  if (status == 0)
    status = run_all(bench, &error);
  unmake_cluster(bench);
  uv_loop_close(&bench->loop);
  if (status != 0)
    fprintf(stderr, "assay bench master: %s\n", error.message);
  else if (bench->json)
    print_json(bench);
  else
    print_table(bench);
  return status == 0 ? 0 : EXIT_HARNESS;
}

int bench_master_command(int argc, char **argv) {
  struct error error = {0};
  struct bench *bench = xcalloc(1, sizeof *bench);
  bench->cases_text = DEFAULT_CASES;
  bench->time_ns = 5 * NS_PER_S;
  bench->warm_up_ns = 500 * NS_PER_MS;
  bench->nodes = 3;
  bench->runs = 5;
  int exit_code = parse(bench, argc, argv, &error);
  if (exit_code < 0 && !bench->disks)
    exit_code = measure(bench);
  else if (exit_code < 0 && sandbox_run(measure, bench, NULL, &exit_code, &error) != 0) {
    fprintf(stderr, "assay bench master: %s\n", error.message);
    exit_code = EXIT_HARNESS;
  }
  free(bench);
  return exit_code;
}
