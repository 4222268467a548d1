/* master.c: `assay bench master`: fresh clusters on loopback with real fsyncs, Assay's own and its peers, the
 * same load on each, and how quiet the machine was meanwhile. Runs of all cases and systems take turns, so
 * that a noisy minute spoils none alone. All of it is in a sandbox where the machine allows one, so that
 * nothing is left however it ends. */
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "harness/bench.h"
#include "harness/bench/load.h"
#include "harness/bench/machine.h"
#include "harness/bench/report.h"
#include "harness/bench/schedule.h"
#include "harness/bench/system.h"
#include "harness/bench/work.h"
#include "harness/settings.h"

#define DEFAULT_CASES                                                                                        \
  "create:64x1,create:8x32,stat:64x1,stat:8x32,list:8x32,rename:8x32,delete:8x32,mixed:8x32"
#define CLUSTER_NAMES_MAX 1000000u      /* then a cluster makes room for a fresh one */
#define FRESH_WARM_UP_NS (3 * NS_PER_S) /* beside peers, that compile as they go */
#define HEARTBEAT_MS 50
#define DESCRIPTORS_BESIDE 256u
#define TRIES_MAX 3 /* of one run, when a peer loses a connection */

static const struct bench_system *const peers[] = {&system_etcd, &system_zookeeper, &system_plain};

struct bench_cluster {
  const struct bench_system *system;
  struct system_options options;
  struct system_cluster *cluster; /* NULL: none now */
  char *directory;
  uint64_t round;
  uint64_t names; /* made in it, and perhaps deleted again */
  bool warm;
};

struct bench {
  const char *cases_text, *peers_text, *master, *directory, *histogram, *reads;
  int64_t time_ns, warm_up_ns, nodes, runs, rate;
  bool json, disks, reads_any, tls;
  struct load_case cases[CASES_MAX];
  size_t case_count;
  struct bench_cluster clusters[SYSTEMS_MAX];
  size_t cluster_count;
  struct bench_row *rows; /* [a case * cluster_count + a cluster] */
  uv_loop_t loop;
  uv_signal_t signals[2];
  uv_timer_t heartbeat;
  bool interrupted;
  char master_path[4096];
  struct work work;
  struct noise noise;
};

/* ---- the command line ---- */

static int add_peer(struct bench *bench, const char *name, size_t size, struct error *error) {
  for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
    if (strlen(peers[i]->name) != size || memcmp(peers[i]->name, name, size) != 0)
      continue;
    for (size_t j = 0; j < bench->cluster_count; j++)
      if (bench->clusters[j].system == peers[i])
        return error_set(error, ERR_BAD_INPUT, "--peers: %s is named twice", peers[i]->name);
    bench->clusters[bench->cluster_count++].system = peers[i];
    return 0;
  }
  return error_set(error, ERR_BAD_INPUT, "--peers: '%.*s' is none; known are etcd, zookeeper and plain",
                   (int)size, name);
}

static int parse_peers(struct bench *bench, struct error *error) {
  bench->clusters[bench->cluster_count++].system = &system_assay;
  for (const char *at = bench->peers_text; at;) {
    const size_t size = strcspn(at, ",");
    const int status = add_peer(bench, at, size, error);
    if (status != 0)
      return status;
    at = at[size] == ',' ? at + size + 1 : NULL;
  }
  return 0;
}

/* -1: go on; else an exit code. */
static int parse(struct bench *bench, int argc, char **argv, struct error *error) {
  const struct flag flags[] = {
      {"case", FLAG_STRING, &bench->cases_text, "CASE,…",
       "operation:connections x outstanding, e.g. create:8x32 or list:8x32:100 (names); all: the whole table",
       0, 0},
      {"peers", FLAG_STRING, &bench->peers_text, "NAME,…",
       "beside it, in turns: etcd, zookeeper (ci/setup peers); with --tls also plain, the same without", 0,
       0},
      {"rate", FLAG_INT, &bench->rate, "N",
       "open loop: N requests a second in all, each timed from when it was due, so that a stall counts for "
       "all it delays (no coordinated omission); without: closed loop",
       1, RATE_MAX},
      {"time", FLAG_DURATION, &bench->time_ns, "TIME", "measured time of a run (5s)", 100e6, 3600e9},
      {"warm-up", FLAG_DURATION, &bench->warm_up_ns, "TIME", "load before each measurement (500ms)", 0,
       600e9},
      {"runs", FLAG_INT, &bench->runs, "N", "runs of each case; medians are shown (5)", 1, RUNS_MAX},
      {"nodes", FLAG_INT, &bench->nodes, "N", "nodes of each system (3)", 1, CLUSTER_NODES_MAX},
      {"reads", FLAG_STRING, &bench->reads, "WHERE",
       "stat and list at the primary, or at all of our nodes alike (primary, any; default primary)", 0, 0},
      {"directory", FLAG_STRING, &bench->directory, "DIR",
       "where the nodes keep their data ($TMPDIR or /tmp)", 0, 0},
      {"disks", FLAG_BOOL, &bench->disks, NULL,
       "with the disks that can fail under the nodes, as in a run with faults of disks", 0, 0},
      {"tls", FLAG_BOOL, &bench->tls, NULL, "everybody speaks TLS", 0, 0},
      {"master", FLAG_STRING, &bench->master, "FILE", "the assay-master to measure (beside assay)", 0, 0},
      {"histogram", FLAG_STRING, &bench->histogram, "FILE",
       "write all latencies as HdrHistogram's percentile text; of several rows to FILE.CASE.SYSTEM", 0, 0},
      {"json", FLAG_BOOL, &bench->json, NULL, "one JSON object a row", 0, 0},
  };
  const struct flag_set set = {"assay bench master",
                               "Measures a fresh cluster on loopback, real fsyncs included.", NULL, flags,
                               ARRAY_SIZE(flags)};
  int positional;
  const int exit_code = flags_parse_or_exit_code(&set, argc, argv, &positional);
  if (exit_code >= 0)
    return exit_code;
  int status = cases_parse(bench->cases_text, bench->cases, &bench->case_count, error);
  if (status == 0)
    status = parse_peers(bench, error);
  if (status == 0)
    status = settings_choose_reads(bench->reads, &bench->reads_any, error);
  if (status == 0 && bench->disks && bench->cluster_count > 1)
    status = error_set(error, ERR_BAD_INPUT,
                       "--disks and --peers exclude each other: peers have no disks that can fail");
  for (size_t i = 1; status == 0 && i < bench->cluster_count; i++)
    if (bench->clusters[i].system == &system_plain && !bench->tls)
      status = error_set(error, ERR_BAD_INPUT, "--peers plain is for --tls: without it, all of it is plain");
  if (status != 0) {
    fprintf(stderr, "assay bench master: %s\n", error->message);
    return EXIT_USAGE;
  }
  if (!bench->directory)
    bench->directory = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
  return -1;
}

/* ---- the clusters ---- */

static void on_signal(uv_signal_t *handle, int number) {
  (void)number;
  struct bench *bench = handle->data;
  bench->interrupted = true;
}

/* Whoever waits for something on the loop looks at the time and at `interrupted` so often at least. */
static void on_heartbeat(uv_timer_t *timer) {
  (void)timer;
}

static void watch_signals(struct bench *bench) {
  static const int numbers[] = {SIGINT, SIGTERM};
  for (size_t i = 0; i < ARRAY_SIZE(bench->signals); i++) {
    uv_signal_init(&bench->loop, &bench->signals[i]);
    bench->signals[i].data = bench;
    uv_signal_start(&bench->signals[i], on_signal, numbers[i]);
    uv_unref((uv_handle_t *)&bench->signals[i]);
  }
  uv_timer_init(&bench->loop, &bench->heartbeat);
  uv_timer_start(&bench->heartbeat, on_heartbeat, HEARTBEAT_MS, HEARTBEAT_MS);
  uv_unref((uv_handle_t *)&bench->heartbeat);
}

static int begin_cluster(struct bench *bench, struct bench_cluster *cluster, struct error *error) {
  cluster->directory = path_join(bench->work.path, cluster->system->name);
  cluster->options = (struct system_options){.loop = &bench->loop,
                                             .directory = cluster->directory,
                                             .nodes = (size_t)bench->nodes,
                                             .interrupted = &bench->interrupted,
                                             .master = bench->master_path,
                                             .reads_any = bench->reads_any,
                                             .disks = bench->disks,
                                             .tls = bench->tls && cluster->system == &system_assay};
  cluster->names = 0;
  cluster->warm = false;
  int status = directory_make(cluster->directory, error);
  if (status == 0)
    status = cluster->system->start(&cluster->options, &cluster->cluster, error);
  return status;
}

static void end_cluster(struct bench_cluster *cluster) {
  if (cluster->cluster)
    cluster->system->stop(cluster->cluster);
  if (cluster->directory)
    directory_remove(cluster->directory, NULL);
  free(cluster->directory);
  cluster->cluster = NULL;
  cluster->directory = NULL;
}

/* A descriptor for each connection and some for all else, of all that the system allows us. */
static int raise_descriptors(const struct bench *bench, struct error *error) {
  struct rlimit limit;
  rlim_t wanted = 0;
  for (size_t i = 0; i < bench->case_count; i++)
    if (bench->cases[i].connections + DESCRIPTORS_BESIDE > wanted)
      wanted = bench->cases[i].connections + DESCRIPTORS_BESIDE;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
    return error_set_errno(error, ERR_IO, "cannot tell the limit of open files");
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur < wanted)
    return error_set(error, ERR_UNSUPPORTED,
                     "--case: so many connections need %" PRIu64 " open files, the limit is %" PRIu64
                     ": raise it (ulimit -Hn) or take fewer connections",
                     (uint64_t)wanted, (uint64_t)limit.rlim_cur);
  return 0;
}

static int begin(struct bench *bench, struct error *error) {
  int status = raise_descriptors(bench, error);
  if (status == 0)
    status = settings_find_program(bench->master, "assay-master", "master", bench->master_path,
                                   sizeof bench->master_path, error);
  if (status == 0)
    status = work_open(bench->directory, &bench->work, error);
  for (size_t i = 0; status == 0 && i < bench->cluster_count; i++)
    status = begin_cluster(bench, &bench->clusters[i], error);
  return status;
}

static void end(struct bench *bench) {
  for (size_t i = 0; i < bench->cluster_count; i++)
    end_cluster(&bench->clusters[i]);
  for (size_t i = 0; i < ARRAY_SIZE(bench->signals); i++)
    uv_close((uv_handle_t *)&bench->signals[i], NULL);
  uv_close((uv_handle_t *)&bench->heartbeat, NULL);
  while (uv_run(&bench->loop, UV_RUN_DEFAULT)) {
  }
  work_close(&bench->work);
}

/* ---- runs ---- */

static int probe_machine(struct bench *bench, struct error *error) {
  struct noise *noise = &bench->noise;
  struct machine_probe probe;
  const int status = machine_probe(bench->work.path, &probe, error);
  if (status != 0)
    return status;
  if (noise->sync_count == 0 || probe.spin_us < noise->spin_least)
    noise->spin_least = probe.spin_us;
  if (probe.spin_us > noise->spin_most)
    noise->spin_most = probe.spin_us;
  noise->syncs[noise->sync_count++] = probe.sync_us;
  return 0;
}

/* Processor time of all systems, and of one with us. */
struct times {
  struct machine_time all, own;
};

static int read_times(const struct bench *bench, const struct bench_cluster *cluster, struct times *times,
                      struct error *error) {
  pid_t pids[SYSTEMS_MAX * CLUSTER_NODES_MAX];
  size_t count = 0;
  for (size_t i = 0; i < bench->cluster_count; i++)
    count += bench->clusters[i].system->pids(bench->clusters[i].cluster, pids + count);
  int status = machine_time(pids, count, &times->all, error);
  if (status == 0)
    status = machine_time(pids, cluster->system->pids(cluster->cluster, pids), &times->own, error);
  return status;
}

static double quantile_us(const struct load_result *result, double quantile) {
  return (double)histogram_quantile(&result->latencies, quantile) / NS_PER_US;
}

static void keep_figures(struct bench *bench, struct bench_row *row, size_t run,
                         const struct load_result *result, const struct times *before,
                         const struct times *after) {
  const double foreign = machine_foreign_share(&before->all, &after->all);
  struct noise *noise = &bench->noise;
  noise->foreign_sum += foreign;
  noise->foreign_most = fmax(noise->foreign_most, foreign);
  noise->foreign_count++;
  row->measured = true;
  row->runs[run] = (struct run_figures){
      .per_second = (double)result->done / result->seconds,
      .p50_us = quantile_us(result, 0.5),
      .p90_us = quantile_us(result, 0.9),
      .p99_us = quantile_us(result, 0.99),
      .p999_us = quantile_us(result, 0.999),
      .max_us = (double)result->latencies.most / NS_PER_US,
      .cpu_us = result->answered ? (after->own.ours - before->own.ours) * 1e6 / (double)result->answered : 0,
  };
  histogram_merge(&row->latencies, &result->latencies);
  row->failed += result->failed;
  row->unsent += result->unsent;
  row->first_error = result->first_error ? result->first_error : row->first_error;
}

static int load_once(struct bench *bench, struct bench_cluster *cluster, const struct load_case *item,
                     struct load_result *result, struct error *error) {
  struct load_options options = {.item = *item,
                                 .rate = (uint64_t)bench->rate,
                                 .warm_up_ns = bench->warm_up_ns,
                                 .time_ns = bench->time_ns,
                                 .interrupted = &bench->interrupted,
                                 .round = ++cluster->round};
  if (!cluster->warm && bench->cluster_count > 1 && options.warm_up_ns < FRESH_WARM_UP_NS)
    options.warm_up_ns = FRESH_WARM_UP_NS;
  const int status = load_run(&bench->loop, cluster->system, cluster->cluster, &options, result, error);
  cluster->warm = cluster->warm || status == 0;
  cluster->names += result->created;
  return status;
}

static int run_once(struct bench *bench, struct bench_cluster *cluster, const struct load_case *item,
                    struct bench_row *row, size_t run, struct error *error) {
  struct times before, after;
  struct load_result *result = xmalloc(sizeof *result);
  int status = 0;
  /* Before anything is measured: the times of the old nodes are gone with them. */
  if (cluster->names > CLUSTER_NAMES_MAX) {
    end_cluster(cluster);
    status = begin_cluster(bench, cluster, error);
  }
  if (status == 0)
    status = probe_machine(bench, error);
  for (int attempt = 1; status == 0; attempt++) {
    status = read_times(bench, cluster, &before, error);
    if (status == 0)
      status = load_once(bench, cluster, item, result, error);
    if (status != ERR_UNAVAILABLE || attempt == TRIES_MAX || bench->interrupted)
      break;
    fprintf(stderr, "assay bench master: once more, because: %s\n", error->message);
    status = 0;
  }
  if (status == 0)
    status = read_times(bench, cluster, &after, error);
  if (status == 0)
    keep_figures(bench, row, run, result, &before, &after);
  free(result);
  return status;
}

static void show_progress(const struct bench *bench, size_t run, const struct load_case *item,
                          const char *system) {
  char name[CASE_NAME_SIZE];
  if (!bench->json && isatty(STDERR_FILENO))
    fprintf(stderr, "\r\033[Krun %zu of %" PRId64 ": %s, %s", run + 1, bench->runs, case_name(item, name),
            system);
}

static int run_all(struct bench *bench, struct error *error) {
  int status = 0;
  for (size_t run = 0; run < (size_t)bench->runs; run++)
    for (size_t i = 0; i < bench->case_count; i++)
      for (size_t j = 0; status == 0 && j < bench->cluster_count; j++) {
        struct bench_cluster *cluster = &bench->clusters[j];
        if (!(cluster->system->kinds & LOAD_BIT(bench->cases[i].kind)))
          continue;
        show_progress(bench, run, &bench->cases[i], cluster->system->name);
        status = run_once(bench, cluster, &bench->cases[i], &bench->rows[i * bench->cluster_count + j], run,
                          error);
      }
  if (!bench->json && isatty(STDERR_FILENO))
    fprintf(stderr, "\r\033[K");
  return status == 0 ? probe_machine(bench, error) : status;
}

static int print_report(const struct bench *bench, struct error *error) {
  const char *systems[SYSTEMS_MAX];
  for (size_t i = 0; i < bench->cluster_count; i++)
    systems[i] = bench->clusters[i].system->name;
  const struct report report = {.cases = bench->cases,
                                .case_count = bench->case_count,
                                .systems = systems,
                                .system_count = bench->cluster_count,
                                .runs = (size_t)bench->runs,
                                .nodes = (size_t)bench->nodes,
                                .time_ns = bench->time_ns,
                                .rate = (uint64_t)bench->rate,
                                .noise = &bench->noise,
                                .rows = bench->rows};
  if (bench->json)
    report_print_json(&report);
  else
    report_print_table(&report);
  return bench->histogram ? report_write_histograms(&report, bench->histogram, error) : 0;
}

/* Returns an exit code. In a sandbox, where there are any. */
static int measure(void *context) {
  struct bench *bench = context;
  struct error error = {0};
  bench->rows = xcalloc(bench->case_count * bench->cluster_count, sizeof *bench->rows);
  uv_loop_init(&bench->loop);
  watch_signals(bench);
  int status = begin(bench, &error);
  if (status == 0)
    status = run_all(bench, &error);
  end(bench);
  uv_loop_close(&bench->loop);
  if (status == 0)
    status = print_report(bench, &error);
  if (status != 0)
    fprintf(stderr, "assay bench master: %s\n", error.message);
  free(bench->rows);
  return status == 0 ? 0 : EXIT_HARNESS;
}

int bench_master_command(int argc, char **argv) {
  struct error error = {0};
  struct bench *bench = xcalloc(1, sizeof *bench);
  bench->cases_text = DEFAULT_CASES;
  bench->reads = "primary";
  bench->time_ns = 5 * NS_PER_S;
  bench->warm_up_ns = 500 * NS_PER_MS;
  bench->nodes = 3;
  bench->runs = 5;
  int exit_code = parse(bench, argc, argv, &error);
  if (exit_code < 0 && !bench->disks && sandbox_supported(NULL) != 0)
    exit_code = measure(bench);
  else if (exit_code < 0 && sandbox_run(measure, bench, NULL, &exit_code, &error) != 0) {
    fprintf(stderr, "assay bench master: %s\n", error.message);
    exit_code = EXIT_HARNESS;
  }
  free(bench);
  return exit_code;
}
