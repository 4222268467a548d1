/* fs_persist.c: `assay fs persist`: the content of a file below a mount goes into the directory that is
 * mounted, through a worker, and the master notes that it is there.
 *
 * The file appears in the directory when it is whole and durable. A repeat after any failure is harmless:
 * what is there with the same content counts as written. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/fs_data.h"
#include "master/client/data.h"

#define FAILED 1
#define PIECE (256u << 10)

struct persist {
  struct fs_data data;
  const char *path;
  char *target; /* in the under-store */
  char *source; /* where it is there already; NULL: nowhere */
  FILE *content;
  struct data_stream *stream;
  bool ready;
  enum data_status status;
  char last_failure[600];
};

static void keep_target(void *context, const struct master_answer *answer) {
  struct persist *persist = context;
  for (size_t i = 0; i < answer->mount_count && !persist->target; i++) {
    const struct master_mount *mount = &answer->mounts[i];
    const size_t size = strlen(mount->path);
    if (strncmp(persist->path, mount->path, size) != 0 || persist->path[size] != '/')
      continue;
    struct bytes text = {0};
    bytes_append_format(&text, "%s%s", mount->directory, persist->path + size);
    bytes_append_u8(&text, 0);
    persist->target = (char *)text.data;
  }
}

/* ---- one worker ---- */

static void on_ready(void *context) {
  ((struct persist *)context)->ready = true;
}

static void on_ended(void *context, enum data_status status, const char *message) {
  struct persist *persist = context;
  persist->stream = NULL;
  persist->status = status;
  if (status != DATA_DONE)
    snprintf(persist->last_failure, sizeof persist->last_failure, "%s (%s)", message,
             data_status_name(status));
}

static bool await_ready(struct persist *persist) {
  while (persist->stream && !persist->ready)
    uv_run(&persist->data.loop, UV_RUN_ONCE);
  return persist->stream != NULL;
}

static enum attempt send_to(void *context, const char *address) {
  struct persist *persist = context;
  static unsigned char piece[PIECE];
  struct error error;
  const struct data_target target = fs_data_target(&persist->data, address);
  persist->ready = false;
  persist->status = DATA_FAILED;
  if (data_under_write_begin(&target, persist->target, on_ready, on_ended, persist, &persist->stream,
                             &error) != 0) {
    persist->stream = NULL;
    snprintf(persist->last_failure, sizeof persist->last_failure, "%.500s", error.message);
    return ATTEMPT_FAILED;
  }
  rewind(persist->content);
  for (size_t size; await_ready(persist) && (size = fread(piece, 1, sizeof piece, persist->content)) > 0;) {
    persist->ready = data_write_piece(persist->stream, piece, size);
    uv_run(&persist->data.loop, UV_RUN_NOWAIT);
  }
  if (persist->stream && ferror(persist->content)) {
    data_cancel(persist->stream);
    persist->stream = NULL;
    snprintf(persist->last_failure, sizeof persist->last_failure, "the temporary file cannot be read");
    return ATTEMPT_FAILED;
  }
  if (persist->stream)
    data_write_finish(persist->stream);
  while (persist->stream)
    uv_run(&persist->data.loop, UV_RUN_ONCE);
  if (persist->status == DATA_REFUSED)
    return ATTEMPT_REFUSED;
  return persist->status == DATA_DONE ? ATTEMPT_DONE : ATTEMPT_FAILED;
}

/* ---- the file ---- */

static int complain(const struct persist *persist, const char *why) {
  fprintf(stderr, "%s: %s: %s\n", persist->data.program, persist->path, why);
  return FAILED;
}

static int persist_file(struct persist *persist) {
  struct fs_data *data = &persist->data;
  const struct master_answer file =
      fs_data_ask(data, (struct master_request){.operation = MASTER_STAT, .path = persist->path},
                  fs_data_keep_source, &persist->source);
  if (file.outcome != MASTER_OK)
    return fs_data_failed(data, persist->path, &file);
  if (!file.is_file)
    return complain(persist, "it is a directory; give a file");
  if (!file.completed)
    return complain(persist, "it is not complete: somebody is writing it, or gave up");
  if (persist->source)
    return printf("%s\n", persist->source) < 0;
  struct master_answer answer =
      fs_data_ask(data, (struct master_request){.operation = MASTER_MOUNTS}, keep_target, persist);
  if (answer.outcome != MASTER_OK)
    return fs_data_failed(data, persist->path, &answer);
  if (!persist->target)
    return complain(persist, "it lies below no mount (assay admin mounts)");
  const int code = fs_read_file(data, persist->path, fileno(persist->content));
  if (code != 0)
    return code;
  if (!fs_data_try_workers(data, persist->last_failure, send_to, persist)) { /* any that sees the directory */
    fprintf(stderr, "%s: %s cannot be written as %s of the under-store: %s\n", data->program, persist->path,
            persist->target, persist->last_failure);
    return FAILED;
  }
  answer = fs_data_ask(data,
                       (struct master_request){.operation = MASTER_PERSISTED,
                                               .path = persist->path,
                                               .destination = persist->target,
                                               .creator = file.creator},
                       NULL, NULL);
  if (answer.outcome == MASTER_FAIL && answer.error == MASTER_ERROR_NOT_FOUND)
    return complain(persist, "it was removed or replaced meanwhile; what it was is in the under-store now");
  if (answer.outcome == MASTER_OK)
    printf("%s\n", persist->target);
  return fs_data_failed(data, persist->path, &answer);
}

int persist_command(int argc, char **argv) {
  struct persist persist = {.data.program = "assay fs persist"};
  struct flag flags[FS_DATA_FLAGS];
  fs_data_flags(&persist.data, flags);
  const struct flag_set set = {
      .program = persist.data.program,
      .summary =
          "Writes a completed file below a mount into the directory that is mounted, under the same path, and "
          "prints\nwhere it is. Nothing that is there is replaced.",
      .positional = "PATH",
      .flags = flags,
      .count = ARRAY_SIZE(flags)};
  int code = fs_data_parse(&set, 1, argc, argv);
  if (code >= 0)
    return code;
  persist.path = argv[1];
  persist.content = tmpfile();
  if (!persist.content) {
    fprintf(stderr, "assay fs persist: cannot make a temporary file: %s\n", strerror(errno));
    return EXIT_HARNESS;
  }
  code = fs_data_open(&persist.data, true);
  if (code == 0) {
    code = persist_file(&persist);
    fs_data_close(&persist.data);
  }
  fclose(persist.content);
  free(persist.target);
  free(persist.source);
  return code;
}
