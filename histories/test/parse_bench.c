/* parse_bench: how fast histories are read and written. Not a test: it prints figures.
 *
 *   parse_bench [FILE]     reads FILE, or a history of a million lines that it makes up, several times over
 */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "histories/histories.h"

#define CLIENTS 64
#define OPERATIONS 500000
#define ROUNDS 5

static void make_arguments(struct random *random, char *path, size_t size, struct arguments *arguments) {
  static const enum operation_kind kinds[] = {OPERATION_CREATE, OPERATION_SET,  OPERATION_STAT,
                                              OPERATION_STAT,   OPERATION_LIST, OPERATION_DELETE};
  snprintf(path, size, "/w%" PRIu64 "/d%" PRIu64 "/f%" PRIu64, random_below(random, 50),
           random_below(random, 4), random_below(random, 8));
  *arguments =
      (struct arguments){.kind = kinds[random_below(random, ARRAY_SIZE(kinds))], .path = text_of(path)};
  if (arguments->kind == OPERATION_SET)
    arguments->value = text_of("v17-2003");
}

static void make_answer(struct random *random, enum operation_kind kind, struct answer *answer,
                        struct list_entry *entries) {
  *answer = (struct answer){.creator = UINT64_C(4294967296) * 7 + random_below(random, 9999),
                            .version = random_below(random, 99),
                            .inode_kind = INODE_FILE,
                            .value = text_of("v17-2003")};
  if (kind == OPERATION_STAT)
    answer->seen = SEEN_CREATOR | SEEN_KIND | SEEN_VERSION | SEEN_VALUE | SEEN_COMPLETED | SEEN_LENGTH |
                   SEEN_BLOCK_COUNT | SEEN_CHILD_COUNT;
  else if (kind == OPERATION_CREATE)
    answer->seen = SEEN_CREATOR;
  else if (kind == OPERATION_SET)
    answer->seen = SEEN_VERSION;
  else if (kind == OPERATION_LIST) {
    answer->seen = SEEN_VERSION | SEEN_ENTRIES;
    answer->entries = entries;
    answer->entry_count = random_below(random, 5);
    for (size_t i = 0; i < answer->entry_count; i++)
      entries[i] = (struct list_entry){text_of("f3"), answer->creator, INODE_FILE, true, true};
  }
}

/* What this process has used: on a machine that others use too, it says more than the time that went by. */
static double cpu_seconds(void) {
  struct timespec used;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

/* Returns 0, or an exit code. */
static int make_history(const char *path) {
  struct random random;
  random_seed(&random, 1);
  struct error error;
  struct history_writer *writer;
  if (history_writer_open(path, "fs", NULL, &writer, &error) != 0)
    return fprintf(stderr, "%s\n", error.message), EXIT_HARNESS;
  const int64_t start_ns = time_monotonic_ns();
  struct list_entry entries[5];
  int result = 0;
  for (int64_t i = 0; i < OPERATIONS && result == 0; i++) {
    char text[64];
    struct arguments arguments;
    struct answer answer;
    make_arguments(&random, text, sizeof text, &arguments);
    make_answer(&random, arguments.kind, &answer, entries);
    const uint64_t op_id = operation_is_mutation(arguments.kind) ? UINT64_C(4294967296) * 7 + (uint64_t)i : 0;
    result = history_write_invoke(writer, i % CLIENTS, op_id, &arguments, 123456789012345 + i * 2, &error);
    if (result == 0)
      result = history_write_complete(writer, i % CLIENTS, op_id, OUTCOME_OK, arguments.kind, &answer,
                                      123456789012346 + i * 2, 1, 3, (uint64_t)i + 1, &error);
  }
  const double seconds = (double)(time_monotonic_ns() - start_ns) / NS_PER_S;
  if (result == 0)
    result = history_writer_close(writer, &error);
  if (result != 0)
    return fprintf(stderr, "%s\n", error.message), EXIT_HARNESS;
  printf("written: %d operations, %.2f us an operation\n", OPERATIONS, seconds * 1e6 / OPERATIONS);
  return 0;
}

static double file_size(const char *path) {
  FILE *file = fopen(path, "r");
  if (!file)
    return 0;
  fseek(file, 0, SEEK_END);
  const double size = (double)ftell(file);
  fclose(file);
  return size;
}

/* Returns 0, or an exit code. */
static int read_once(const char *path) {
  struct history *history;
  struct error error;
  const double start = cpu_seconds();
  const int64_t start_ns = time_monotonic_ns();
  if (history_read(path, &history, NULL, &error) != 0)
    return fprintf(stderr, "%s\n", error.message), EXIT_HARNESS;
  const double elapsed = (double)(time_monotonic_ns() - start_ns) / NS_PER_S, used = cpu_seconds() - start;
  const double megabytes = file_size(path) / 1e6;
  printf("read: %zu operations, %.1f MB in %.3f s: %.0f MB/s; %.0f MB a second of processor time\n",
         history->count, megabytes, elapsed, megabytes / elapsed, megabytes / used);
  history_free(history);
  return 0;
}

int main(int argc, char **argv) {
  char own[64];
  snprintf(own, sizeof own, "/tmp/parse-bench-%ld.jsonl", (long)getpid());
  int result = argc > 1 ? 0 : make_history(own);
  for (int round = 0; round < ROUNDS && result == 0; round++)
    result = read_once(argc > 1 ? argv[1] : own);
  if (argc == 1)
    unlink(own);
  return result;
}
