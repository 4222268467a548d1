/* What the core costs per operation, without network, disk log or peers: evaluate, encode, apply. Prints
 * nanoseconds; not a test.
 *
 *   master-core-bench [DIRECTORY] [OPERATIONS]      with a directory the store is RocksDB */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "master/namespace.h"

#define CLIENTS 64
#define BATCH 64
#define DIRECTORIES 64
#define FILES_PER_DIRECTORY 1000

static int64_t cpu_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec * NS_PER_S + now.tv_nsec;
}

static int64_t process_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return now.tv_sec * NS_PER_S + now.tv_nsec;
}

static void wake(void *context) {
  (void)context;
}

struct bench {
  struct row_store *store;
  struct tables *tables;
  struct overlay *overlay;
  struct namespace space;
  uint64_t index, next_operation;
  struct bytes batch;
  int64_t evaluate_ns, seal_ns, apply_ns;
  uint64_t batch_bytes;
};

static void flush_batch(struct bench *bench) {
  const int64_t start = cpu_ns();
  bytes_clear(&bench->batch);
  batch_begin(&bench->batch, &(struct batch_header){.term = 1, .counters = bench->space.counters});
  overlay_seal(bench->overlay, &bench->batch);
  const int64_t sealed = cpu_ns();
  struct error error;
  if (tables_apply(bench->tables, ++bench->index, 1, bench->batch.data, bench->batch.size, &error) != 0)
    abort();
  overlay_release(bench->overlay);
  bench->apply_ns += cpu_ns() - sealed;
  bench->seal_ns += sealed - start;
  bench->batch_bytes += bench->batch.size;
  row_store_poll(bench->store);
}

static void mutate(struct bench *bench, enum operation_code code, const char *path) {
  const uint64_t number = bench->next_operation++;
  const uint64_t client = 1 + number % CLIENTS, sequence = 1 + number / CLIENTS;
  const struct request request = {.code = code,
                                  .op_id = client << 32 | sequence,
                                  .retry_floor = client << 32 | sequence,
                                  .path = {path, strlen(path)}};
  struct outcome outcome;
  namespace_evaluate(&bench->space, &request, &outcome);
  if (outcome.status != STATUS_OK)
    abort();
}

static void creates(struct bench *bench, uint64_t count) {
  char path[64];
  for (uint64_t i = 0; i < count; i += BATCH) {
    const int64_t start = cpu_ns();
    for (uint64_t j = i; j < i + BATCH; j++) {
      const uint64_t directory = j % DIRECTORIES + j / (DIRECTORIES * FILES_PER_DIRECTORY) * DIRECTORIES;
      if (j % (DIRECTORIES * FILES_PER_DIRECTORY) < DIRECTORIES) {
        snprintf(path, sizeof path, "/directory-%llu", (unsigned long long)directory);
        mutate(bench, OP_MKDIR, path);
      }
      snprintf(path, sizeof path, "/directory-%llu/file-%llu", (unsigned long long)directory,
               (unsigned long long)j);
      mutate(bench, OP_CREATE, path);
    }
    bench->evaluate_ns += cpu_ns() - start;
    flush_batch(bench);
  }
}

static double reads(struct bench *bench, enum operation_code code, uint64_t count, uint64_t files) {
  struct listing listing = {0};
  struct answer answer;
  char path[64];
  const int64_t start = cpu_ns();
  for (uint64_t i = 0; i < count; i++) {
    const uint64_t j = i * 7919 % files;
    const uint64_t directory = j % DIRECTORIES + j / (DIRECTORIES * FILES_PER_DIRECTORY) * DIRECTORIES;
    if (code == OP_LIST)
      snprintf(path, sizeof path, "/directory-%llu", (unsigned long long)directory);
    else
      snprintf(path, sizeof path, "/directory-%llu/file-%llu", (unsigned long long)directory,
               (unsigned long long)j);
    namespace_read(bench->tables, &(struct request){.code = code, .path = {path, strlen(path)}}, &answer,
                   &listing);
    if (answer.status != STATUS_OK)
      abort();
  }
  const double each = (double)(cpu_ns() - start) / (double)count;
  listing_free(&listing);
  tables_trim(bench->tables);
  return each;
}

int main(int argc, char **argv) {
  const uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) / BATCH * BATCH : 400000 / BATCH * BATCH;
  const struct store_wake waker = {wake, NULL};
  struct bench bench = {0};
  struct error error;
  if (argc < 2)
    bench.store = memory_store_new(&waker);
  else if (rocksdb_store_open(argv[1], &waker, &bench.store, &error) != 0) {
    fprintf(stderr, "%s\n", error.message);
    return EXIT_HARNESS;
  }
  const struct tables_options options = {
      .store = bench.store, .cache_size = TABLES_CACHE_SIZE_DEFAULT, .write_size = argc < 2 ? SIZE_MAX : 0};
  if (tables_open(&options, &bench.tables, &error) != 0) {
    fprintf(stderr, "%s\n", error.message);
    return EXIT_HARNESS;
  }
  bench.overlay = overlay_new();
  namespace_init(&bench.space, bench.tables, bench.overlay);
  bench.index = tables_applied(bench.tables)->index;
  struct outcome reserved;
  namespace_evaluate(&bench.space, &(struct request){.code = OP_RESERVE_CLIENTS, .count = CLIENTS},
                     &reserved);
  flush_batch(&bench);
  bench.evaluate_ns = bench.seal_ns = bench.apply_ns = 0;
  bench.batch_bytes = 0;

  const int64_t process_start = process_ns(), thread_start = cpu_ns();
  creates(&bench, count);
  bench.store->functions->drain(bench.store, false);
  const int64_t process_used = process_ns() - process_start, thread_used = cpu_ns() - thread_start;
  const double per = 1.0 / (double)count;
  printf("create    evaluate %5.0f ns   encode %5.0f ns   apply %5.0f ns   bytes in the journal %4.0f\n",
         (double)bench.evaluate_ns * per, (double)bench.seal_ns * per, (double)bench.apply_ns * per,
         (double)bench.batch_bytes * per);
  printf("create    other threads (writing behind, compaction) %5.0f ns\n",
         (double)(process_used - thread_used) * per);
  printf("stat      %5.0f ns\n", reads(&bench, OP_STAT, 1000000, count));
  printf("list      %5.0f ns   (%d names)\n", reads(&bench, OP_LIST, 2000, count), FILES_PER_DIRECTORY);
  tables_close(bench.tables);
  overlay_free(bench.overlay);
  namespace_free(&bench.space);
  bytes_free(&bench.batch);
  row_store_close(bench.store);
  return 0;
}
