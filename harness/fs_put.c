/* fs_put.c: `assay fs put`: a file from here into the cluster.
 *
 * The file is written under a name of its own beside PATH, block by block, each to `--replicas` workers, and
 * gets its name at the end, in one step: whoever reads PATH sees what was there, or all of what is new. A
 * block that a worker does not take goes to others. What is left when it fails is removed, or told. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/fs_data.h"
#include "master/client/data.h"

#define FAILED 1
#define REPLICAS_MAX 8
#define WORKERS_MAX 256
#define PIECE (256u << 10)

struct candidate {
  uint64_t id;
  char address[128];
  bool failed; /* did not take the block at hand */
};

struct put;

struct copy {
  struct put *put;
  const struct candidate *to;
  size_t number;              /* of the candidate */
  struct data_stream *stream; /* NULL: ended */
  bool ready;
  enum data_status status;
};

struct put {
  struct fs_data data;
  const char *local, *path;
  bool overwrite, parents;
  int64_t block_size, replicas;
  int source; /* the file, or what was spooled of standard input */
  bool spools;
  uint64_t length; /* of what was put so far */
  uint64_t block_count;
  char *name; /* beside PATH */
  bool made;
  struct candidate workers[WORKERS_MAX];
  size_t worker_count;
  struct copy copies[REPLICAS_MAX];
  char last_failure[600];
};

/* ---- workers ---- */

static void keep_workers(void *context, const struct master_answer *answer) {
  struct put *put = context;
  put->worker_count = 0;
  for (size_t i = 0; i < answer->worker_count && put->worker_count < WORKERS_MAX; i++) {
    if (!answer->workers[i].live)
      continue;
    struct candidate *worker = &put->workers[put->worker_count++];
    *worker = (struct candidate){.id = answer->workers[i].id};
    snprintf(worker->address, sizeof worker->address, "%s", answer->workers[i].address);
  }
}

/* In an order of chance, so that blocks are spread. False: too few live. */
static bool find_workers(struct put *put) {
  const int64_t until_ns = time_monotonic_ns() + put->data.timeout_ns;
  for (;;) {
    const struct master_answer answer =
        fs_data_ask(&put->data, (struct master_request){.operation = MASTER_WORKERS}, keep_workers, put);
    if (answer.outcome == MASTER_OK && put->worker_count >= (size_t)put->replicas)
      break;
    if (time_monotonic_ns() > until_ns) {
      snprintf(put->last_failure, sizeof put->last_failure,
               "%zu workers live, %" PRId64 " are needed (--replicas): start assay-worker, or wait for it",
               put->worker_count, put->replicas);
      return false;
    }
    fs_data_pause(&put->data, FS_DATA_PAUSE_NS);
  }
  struct random random;
  random_seed(&random, random_seed_from_system());
  for (size_t i = put->worker_count; i > 1; i--) {
    const size_t j = random_below(&random, i);
    const struct candidate kept = put->workers[i - 1];
    put->workers[i - 1] = put->workers[j];
    put->workers[j] = kept;
  }
  return true;
}

/* ---- one block ---- */

static void on_ready(void *context) {
  ((struct copy *)context)->ready = true;
}

static void on_ended(void *context, enum data_status status, const char *message) {
  struct copy *copy = context;
  copy->stream = NULL;
  copy->status = status;
  if (status != DATA_DONE) {
    copy->put->workers[copy->number].failed = true;
    snprintf(copy->put->last_failure, sizeof copy->put->last_failure, "%s (%s)", message,
             data_status_name(status));
  }
}

static void cancel_all(struct put *put) {
  for (size_t i = 0; i < (size_t)put->replicas; i++) {
    if (put->copies[i].stream)
      data_cancel(put->copies[i].stream);
    put->copies[i].stream = NULL;
  }
}

/* True when all can take a piece; false when one has ended, which it must not yet. */
static bool await_ready(struct put *put) {
  for (;;) {
    size_t ready = 0;
    for (size_t i = 0; i < (size_t)put->replicas; i++) {
      if (!put->copies[i].stream)
        return false;
      ready += put->copies[i].ready;
    }
    if (ready == (size_t)put->replicas)
      return true;
    uv_run(&put->data.loop, UV_RUN_ONCE);
  }
}

static bool await_end(struct put *put) {
  for (size_t i = 0; i < (size_t)put->replicas; i++)
    data_write_finish(put->copies[i].stream);
  for (size_t i = 0; i < (size_t)put->replicas; i++) {
    while (put->copies[i].stream)
      uv_run(&put->data.loop, UV_RUN_ONCE);
    if (put->copies[i].status != DATA_DONE)
      return false;
  }
  return true;
}

static bool begin_copies(struct put *put, uint64_t block) {
  struct error error;
  size_t worker = 0;
  for (size_t i = 0; i < (size_t)put->replicas; i++, worker++) {
    while (worker < put->worker_count && put->workers[worker].failed)
      worker++;
    if (worker == put->worker_count)
      return false;
    struct copy *copy = &put->copies[i];
    *copy = (struct copy){.put = put, .to = &put->workers[worker], .number = worker};
    const struct data_target target = fs_data_target(&put->data, copy->to->address);
    if (data_write_begin(&target, block, on_ready, on_ended, copy, &copy->stream, &error) != 0) {
      copy->stream = NULL;
      put->workers[worker].failed = true;
      snprintf(put->last_failure, sizeof put->last_failure, "%.500s", error.message);
      return false;
    }
  }
  return true;
}

/* From `offset` of the source. 1: sent. 0: a worker did not take it. -1: the source cannot be read. */
static int send_block(struct put *put, uint64_t block, uint64_t offset, uint64_t length) {
  static unsigned char piece[PIECE];
  if (!begin_copies(put, block))
    return 0;
  for (uint64_t sent = 0; sent < length;) {
    if (!await_ready(put))
      return 0;
    const size_t wanted = length - sent < PIECE ? (size_t)(length - sent) : PIECE;
    const ssize_t got = pread(put->source, piece, wanted, (off_t)(offset + sent));
    if (got <= 0) {
      snprintf(put->last_failure, sizeof put->last_failure, "%s: %s", put->local,
               got == 0 ? "it became shorter while it was read" : strerror(errno));
      return -1;
    }
    for (size_t i = 0; i < (size_t)put->replicas; i++)
      put->copies[i].ready = data_write_piece(put->copies[i].stream, piece, (size_t)got);
    sent += (uint64_t)got;
    uv_run(&put->data.loop, UV_RUN_NOWAIT);
  }
  return await_ready(put) && await_end(put);
}

/* Every worker is tried once, and then again as long as there is time. */
static bool place_block(struct put *put, uint64_t block, uint64_t offset, uint64_t length) {
  const int64_t until_ns = time_monotonic_ns() + put->data.timeout_ns;
  bool first = true;
  for (;;) {
    if (!find_workers(put))
      return false;
    for (size_t tries = 0; tries < put->worker_count; tries++) {
      const int sent = send_block(put, block, offset, length);
      if (sent == 1)
        return true;
      cancel_all(put);
      if (sent < 0)
        return false;
    }
    if (!first && time_monotonic_ns() > until_ns)
      return false;
    first = false;
    fs_data_pause(&put->data, FS_DATA_PAUSE_NS);
  }
}

/* ---- the source ---- */

/* Standard input cannot be read twice, and a block may have to be sent twice: it goes through a file without
 * a name. */
static int64_t spool(struct put *put) {
  static unsigned char piece[PIECE];
  int64_t length = 0;
  if (ftruncate(put->source, 0) != 0)
    return -1;
  while (length < put->block_size) {
    const size_t wanted = put->block_size - length < PIECE ? (size_t)(put->block_size - length) : PIECE;
    const ssize_t got = read(STDIN_FILENO, piece, wanted);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return -1;
    if (got == 0)
      break;
    if (pwrite(put->source, piece, (size_t)got, length) != got)
      return -1;
    length += got;
  }
  return length;
}

static int open_source(struct put *put) {
  put->spools = strcmp(put->local, "-") == 0;
  if (put->spools) {
    FILE *file = tmpfile();
    put->source = file ? fileno(file) : -1;
  } else {
    put->source = open(put->local, O_RDONLY | O_CLOEXEC);
  }
  struct stat info;
  if (put->source >= 0 && fstat(put->source, &info) == 0 && S_ISREG(info.st_mode))
    return 0;
  fprintf(stderr, "assay fs put: cannot read %s: %s\n", put->local,
          put->source < 0 ? strerror(errno) : "it is no file (give - for standard input)");
  return EXIT_USAGE;
}

/* Bytes of the next block; 0: there is none; -1: an error. */
static int64_t next_block(struct put *put) {
  if (put->spools)
    return spool(put);
  struct stat info;
  if (fstat(put->source, &info) != 0)
    return -1;
  const int64_t left = info.st_size - (int64_t)put->length;
  return left <= 0 ? 0 : left < put->block_size ? left : put->block_size;
}

/* ---- the file ---- */

static int failed(const struct put *put, const struct master_answer *answer) {
  return fs_data_failed(&put->data, put->path, answer);
}

static int put_block(struct put *put, int64_t length) {
  struct master_answer answer = fs_data_ask(
      &put->data, (struct master_request){.operation = MASTER_ADD_BLOCK, .path = put->name}, NULL, NULL);
  if (answer.outcome != MASTER_OK)
    return failed(put, &answer);
  const uint64_t block = answer.block;
  put->block_count++;
  if (!place_block(put, block, put->spools ? 0 : put->length, (uint64_t)length)) {
    fprintf(stderr, "assay fs put: %s: no worker takes block %" PRIu64 " of it: %s\n", put->path,
            put->block_count, put->last_failure);
    return FAILED;
  }
  answer = fs_data_ask(&put->data,
                       (struct master_request){.operation = MASTER_COMMIT_BLOCK,
                                               .block = block,
                                               .length = (uint64_t)length,
                                               .worker = put->copies[0].to->id},
                       NULL, NULL);
  put->length += (uint64_t)length;
  return failed(put, &answer);
}

static int put_blocks(struct put *put) {
  for (;;) {
    const int64_t length = next_block(put);
    if (length < 0) {
      fprintf(stderr, "assay fs put: cannot read %s: %s\n", put->local, strerror(errno));
      return FAILED;
    }
    if (length == 0)
      return 0;
    const int code = put_block(put, length);
    if (code != 0)
      return code;
  }
}

struct there {
  bool file, directory;
};

static int look(struct put *put, struct there *there) {
  const struct master_answer answer = fs_data_ask(
      &put->data, (struct master_request){.operation = MASTER_STAT, .path = put->path}, NULL, NULL);
  *there = (struct there){.file = answer.outcome == MASTER_OK && answer.is_file,
                          .directory = answer.outcome == MASTER_OK && !answer.is_file};
  if (answer.outcome == MASTER_FAIL && answer.error == MASTER_ERROR_NOT_FOUND)
    return 0;
  if (answer.outcome != MASTER_OK)
    return failed(put, &answer);
  if (!there->directory && put->overwrite)
    return 0;
  fprintf(stderr, "assay fs put: %s %s\n", put->path,
          there->directory ? "is a directory" : "exists already (--overwrite replaces it)");
  return FAILED;
}

/* Gives the file its name: alone, or in the place of what is there. */
static int name_file(struct put *put) {
  for (;;) {
    struct there there;
    const int code = look(put, &there);
    if (code != 0)
      return code;
    const struct master_request items[] = {
        {.operation = MASTER_DELETE, .path = put->path},
        {.operation = MASTER_RENAME, .path = put->name, .destination = put->path}};
    const struct master_answer answer = fs_data_ask(
        &put->data,
        there.file ? (struct master_request){.operation = MASTER_BATCH, .items = items, .item_count = 2}
                   : items[1],
        NULL, NULL);
    const bool raced = answer.outcome == MASTER_FAIL && put->overwrite &&
                       (answer.error == MASTER_ERROR_NOT_FOUND || answer.error == MASTER_ERROR_EXISTS);
    if (answer.outcome == MASTER_INFO)
      fprintf(stderr, "assay fs put: %s is complete under its other name, %s\n", put->path, put->name);
    if (!raced)
      return failed(put, &answer);
  }
}

static int put_file(struct put *put) {
  struct there there;
  int code = look(put, &there);
  if (code != 0)
    return code;
  struct bytes name = {0};
  bytes_append_format(&name, "%s.put-%" PRIx64, put->path, put->data.next_op);
  bytes_append_u8(&name, 0);
  put->name = (char *)name.data;
  struct master_answer answer = fs_data_ask(
      &put->data,
      (struct master_request){.operation = MASTER_CREATE, .path = put->name, .parents = put->parents}, NULL,
      NULL);
  put->made = answer.outcome == MASTER_OK || answer.outcome == MASTER_INFO;
  code = failed(put, &answer);
  if (code == 0)
    code = put_blocks(put);
  if (code != 0)
    return code;
  answer = fs_data_ask(
      &put->data,
      (struct master_request){.operation = MASTER_COMPLETE, .path = put->name, .length = put->length}, NULL,
      NULL);
  code = failed(put, &answer);
  if (code == 0)
    code = name_file(put);
  return code;
}

/* After a rename in doubt the name may be gone: then there is nothing to remove. */
static void clean_up(struct put *put) {
  const struct master_answer answer = fs_data_ask(
      &put->data, (struct master_request){.operation = MASTER_DELETE, .path = put->name}, NULL, NULL);
  if (answer.outcome == MASTER_OK)
    fprintf(stderr, "assay fs put: what was written of it is removed; %s is as it was\n", put->path);
  else if (answer.outcome != MASTER_FAIL)
    fprintf(
        stderr,
        "assay fs put: what was written of it may be left as %s: assay fs rm removes it; %s is as it was\n",
        put->name, put->path);
}

int put_command(int argc, char **argv) {
  struct put put = {.data.program = "assay fs put", .block_size = 64 << 20, .replicas = 1};
  struct flag flags[4 + FS_DATA_FLAGS] = {
      {"overwrite", FLAG_BOOL, &put.overwrite, NULL, "replace a file that exists, in one step", 0, 0},
      {"parents", FLAG_BOOL, &put.parents, NULL, "make missing directories above it too", 0, 0},
      {"block-size", FLAG_SIZE, &put.block_size, "SIZE", "bytes of a block (default 64M)", 1, 1e12},
      {"replicas", FLAG_INT, &put.replicas, "N", "workers that get each block (default 1)", 1, REPLICAS_MAX},
  };
  fs_data_flags(&put.data, flags + 4);
  const struct flag_set set = {.program = put.data.program,
                               .summary = "Writes a file from here; LOCAL - is standard input.",
                               .positional = "LOCAL PATH",
                               .flags = flags,
                               .count = ARRAY_SIZE(flags)};
  int code = fs_data_parse(&set, 2, argc, argv);
  if (code >= 0)
    return code;
  put.local = argv[1];
  put.path = argv[2];
  code = open_source(&put);
  if (code == 0)
    code = fs_data_open(&put.data, true);
  if (code != 0)
    return code;
  code = put_file(&put);
  if (code != 0 && put.made)
    clean_up(&put);
  fs_data_close(&put.data);
  free(put.name);
  close(put.source);
  return code;
}
