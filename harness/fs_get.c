/* fs_get.c: `assay fs get` and `cat`: a file from the cluster to here, block after block, each from whichever
 * of its workers gives it: where one fails, another goes on. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "harness/fs_data.h"
#include "master/client/data.h"

#define FAILED 1

struct part {
  uint64_t block, length;
  size_t first_worker, worker_count; /* of `addresses` */
};

struct get {
  struct fs_data *data;
  const char *path, *local; /* local NULL: standard output */
  int target;
  struct random random; /* whom to ask first */
  struct part *parts;
  size_t part_count;
  char (*addresses)[128];
  size_t address_count;
  /* of the block being read */
  uint64_t got;
  struct data_stream *stream;
  enum data_status status;
  bool cannot_write;
  int write_error;
  char last_failure[600];
  uint64_t length; /* of a file of the under-store */
  char *source;    /* where the under-store has the file; NULL: nowhere */
};

/* ---- where it is ---- */

static void keep_places(void *context, const struct master_answer *answer) {
  struct get *get = context;
  size_t places = 0;
  for (size_t i = 0; i < answer->block_entry_count; i++)
    places += answer->blocks[i].worker_count;
  get->parts = xrealloc(get->parts, (answer->block_entry_count + 1) * sizeof *get->parts);
  get->addresses = xrealloc(get->addresses, (places + 1) * sizeof *get->addresses);
  get->part_count = answer->block_entry_count;
  get->address_count = 0;
  for (size_t i = 0; i < get->part_count; i++) {
    const struct master_block *block = &answer->blocks[i];
    get->parts[i] = (struct part){.block = block->block,
                                  .length = block->length,
                                  .first_worker = get->address_count,
                                  .worker_count = block->worker_count};
    for (size_t j = 0; j < block->worker_count; j++)
      snprintf(get->addresses[get->address_count++], sizeof *get->addresses, "%s",
               answer->workers[block->workers[j]].address);
  }
}

static struct master_answer locate(struct get *get) {
  return fs_data_ask(get->data, (struct master_request){.operation = MASTER_LOCATE, .path = get->path},
                     keep_places, get);
}

/* ---- one block ---- */

static bool write_all(struct get *get, const unsigned char *at, size_t size) {
  while (size > 0) {
    const ssize_t done = write(get->target, at, size);
    if (done < 0 && errno == EINTR)
      continue;
    if (done < 0) {
      get->cannot_write = true;
      get->write_error = errno;
      return false;
    }
    at += done;
    size -= (size_t)done;
  }
  return true;
}

static bool on_piece(void *context, const void *data, size_t size) {
  struct get *get = context;
  const bool written = write_all(get, data, size);
  get->got += size;
  if (!written)
    get->stream = NULL; /* which this ends */
  return written;
}

static void on_ended(void *context, enum data_status status, const char *message) {
  struct get *get = context;
  get->stream = NULL;
  get->status = status;
  if (status != DATA_DONE)
    snprintf(get->last_failure, sizeof get->last_failure, "%s (%s)", message, data_status_name(status));
}

/* What is left of a block, from one worker. */
static bool read_from(struct get *get, const struct part *part, const char *address) {
  struct error error;
  const struct data_target target = fs_data_target(get->data, address);
  get->status = DATA_FAILED;
  if (data_read_begin(&target, part->block, get->got, part->length - get->got, on_piece, on_ended, get,
                      &get->stream, &error) != 0) {
    snprintf(get->last_failure, sizeof get->last_failure, "%.500s", error.message);
    return false;
  }
  while (get->stream)
    uv_run(&get->data->loop, UV_RUN_ONCE);
  return get->status == DATA_DONE && get->got == part->length;
}

/* Right after another master became primary it has yet to hear of the workers: so it is asked again for a
 * while. */
static bool read_block(struct get *get, size_t number) {
  const int64_t until_ns = time_monotonic_ns() + get->data->timeout_ns;
  const uint64_t block = get->parts[number].block;
  get->got = 0;
  snprintf(get->last_failure, sizeof get->last_failure, "no live worker has it");
  for (;;) {
    const struct part part = get->parts[number];
    if (part.length == get->got)
      return true;
    const size_t first = part.worker_count ? random_below(&get->random, part.worker_count) : 0;
    for (size_t i = 0; i < part.worker_count; i++) {
      const size_t worker = part.first_worker + (first + i) % part.worker_count;
      if (read_from(get, &part, get->addresses[worker]))
        return true;
      if (get->cannot_write)
        return false;
    }
    if (time_monotonic_ns() > until_ns)
      return false;
    fs_data_pause(get->data, FS_DATA_PAUSE_NS);
    const struct master_answer answer = locate(get);
    if (answer.outcome == MASTER_FAIL || number >= get->part_count || get->parts[number].block != block) {
      snprintf(get->last_failure, sizeof get->last_failure, "the file was removed or replaced meanwhile");
      return false;
    }
  }
}

/* ---- a file that only the under-store has ---- */

static enum attempt read_under_from(void *context, const char *address) {
  struct get *get = context;
  struct error error;
  const struct data_target target = fs_data_target(get->data, address);
  get->status = DATA_FAILED;
  if (data_under_read_begin(&target, get->source, get->got, get->length - get->got, on_piece, on_ended, get,
                            &get->stream, &error) != 0) {
    snprintf(get->last_failure, sizeof get->last_failure, "%.500s", error.message);
    return ATTEMPT_FAILED;
  }
  while (get->stream)
    uv_run(&get->data->loop, UV_RUN_ONCE);
  if (get->cannot_write)
    return ATTEMPT_USELESS;
  if (get->status == DATA_REFUSED || get->status == DATA_NOT_FOUND)
    return ATTEMPT_REFUSED;
  return get->status == DATA_DONE && get->got == get->length ? ATTEMPT_DONE : ATTEMPT_FAILED;
}

/* From any worker; which of them may read it is found by asking. */
static bool read_under(struct get *get, uint64_t length) {
  get->got = 0;
  get->length = length;
  return fs_data_try_workers(get->data, get->last_failure, read_under_from, get);
}

static int get_under(struct get *get, uint64_t length) {
  if (read_under(get, length))
    return 0;
  if (get->cannot_write)
    fprintf(stderr, "%s: cannot write %s: %s\n", get->data->program,
            get->local ? get->local : "standard output", strerror(get->write_error));
  else
    fprintf(stderr, "%s: %s cannot be read from %s in the under-store: %s\n", get->data->program, get->path,
            get->source, get->last_failure);
  return FAILED;
}

static int read_file(struct get *get) {
  struct master_answer answer =
      fs_data_ask(get->data, (struct master_request){.operation = MASTER_STAT, .path = get->path},
                  fs_data_keep_source, &get->source);
  if (answer.outcome != MASTER_OK)
    return fs_data_failed(get->data, get->path, &answer);
  const bool completed = answer.completed;
  const uint64_t length = answer.length, blocks = answer.block_count;
  if (completed && blocks == 0 && length > 0 && get->source)
    return get_under(get, length);
  answer = locate(get);
  if (answer.outcome != MASTER_OK)
    return fs_data_failed(get->data, get->path, &answer);
  if (!completed || (length > 0 && blocks == 0)) {
    fprintf(stderr, "%s: %s: %s\n", get->data->program, get->path,
            completed ? "nobody keeps its data: it was completed without blocks"
                      : "it is not complete: somebody is writing it, or gave up");
    return FAILED;
  }
  for (size_t i = 0; i < get->part_count; i++) {
    if (read_block(get, i))
      continue;
    if (get->cannot_write)
      fprintf(stderr, "%s: cannot write %s: %s\n", get->data->program,
              get->local ? get->local : "standard output", strerror(get->write_error));
    else
      fprintf(stderr, "%s: %s: block %" PRIu64 " (%zu of %zu) cannot be read: %s\n", get->data->program,
              get->path, get->parts[i].block, i + 1, get->part_count, get->last_failure);
    return FAILED;
  }
  return 0;
}

static void forget(struct get *get) {
  free(get->parts);
  free(get->addresses);
  free(get->source);
}

int fs_read_file(struct fs_data *data, const char *path, int target) {
  struct get get = {.data = data, .path = path, .local = "a temporary file", .target = target};
  random_seed(&get.random, random_seed_from_system());
  const int code = read_file(&get);
  forget(&get);
  return code;
}

/* ---- the target: whole under its name, or not there ---- */

static int get_to_file(struct get *get) {
  struct bytes text = {0};
  bytes_append_format(&text, "%s.part%d", get->local, (int)getpid());
  bytes_append_u8(&text, 0);
  const char *temporary = (const char *)text.data;
  get->target = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  int code = 0;
  if (get->target < 0) {
    fprintf(stderr, "%s: cannot make %s: %s\n", get->data->program, temporary, strerror(errno));
    code = FAILED;
  } else {
    code = read_file(get);
    if ((close(get->target) != 0 || (code == 0 && rename(temporary, get->local) != 0)) && code == 0) {
      fprintf(stderr, "%s: cannot write %s: %s\n", get->data->program, get->local, strerror(errno));
      code = FAILED;
    }
    if (code != 0)
      unlink(temporary);
  }
  bytes_free(&text);
  return code;
}

static int run(const char *program, const char *summary, const char *positional, int wanted, int argc,
               char **argv) {
  struct fs_data data = {.program = program};
  struct get get = {.data = &data};
  struct flag flags[FS_DATA_FLAGS];
  fs_data_flags(&data, flags);
  const struct flag_set set = {.program = program,
                               .summary = summary,
                               .positional = positional,
                               .flags = flags,
                               .count = ARRAY_SIZE(flags)};
  int code = fs_data_parse(&set, wanted, argc, argv);
  if (code >= 0)
    return code;
  random_seed(&get.random, random_seed_from_system());
  get.path = argv[1];
  get.local = wanted == 2 && strcmp(argv[2], "-") != 0 ? argv[2] : NULL;
  get.target = STDOUT_FILENO;
  code = fs_data_open(&data, false);
  if (code != 0)
    return code;
  code = get.local ? get_to_file(&get) : read_file(&get);
  fs_data_close(&data);
  forget(&get);
  return code;
}

int get_command(int argc, char **argv) {
  return run("assay fs get", "Reads a file to here; LOCAL - is standard output.", "PATH LOCAL", 2, argc,
             argv);
}

int cat_command(int argc, char **argv) {
  return run("assay fs cat", "Prints a file.", "PATH", 1, argc, argv);
}
