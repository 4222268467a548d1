#include "harness/fs_batch.h"

#include <stdio.h>
#include <stdlib.h>

#include "histories/histories.h"
#include "workloads/workloads.h"

static int read_all(const char *path, struct bytes *content, struct error *error) {
  if (strcmp(path, "-") != 0)
    return file_read(path, content, error);
  char buffer[1 << 14];
  for (size_t size; (size = fread(buffer, 1, sizeof buffer, stdin)) > 0;)
    bytes_append(content, buffer, size);
  return ferror(stdin) ? error_set_errno(error, ERR_IO, "cannot read standard input") : 0;
}

/* Every line becomes the invocation of a batch of one, in a history of as many lines: its reader knows what
 * is wrong with it, and in which line. */
static void wrap_line(struct bytes *text, const char *line, size_t size, size_t number) {
  bytes_append_format(text,
                      "{\"index\":%zu,\"time\":%zu,\"process\":%zu,\"type\":\"invoke\",\"f\":\"batch\","
                      "\"value\":{\"operations\":[",
                      number, number, number);
  bytes_append(text, line, size);
  bytes_append_format(text, "]},\"op\":%llu}\n", (unsigned long long)(number + 1) << 32 | 1);
}

static void wrap(struct bytes *text, const struct bytes *content) {
  const char *at = (const char *)content->data, *end = at + content->size;
  for (size_t number = 0; at < end; number++) {
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    const char *line_end = newline ? newline : end;
    wrap_line(text, at, (size_t)(line_end - at), number);
    at = line_end + 1;
  }
}

static int take(struct fs_batch *batch, const char *path, struct error *error) {
  const size_t lines = batch->history->count;
  batch->requests = xcalloc(lines + 1, sizeof *batch->requests);
  for (size_t i = 0; i < lines; i++) {
    const struct arguments *line = &batch->history->operations[i].arguments;
    for (size_t j = 0; j < line->item_count; j++)
      arguments_fill_request(&line->items[j], &batch->requests[batch->count++]);
    if (batch->count > MASTER_BATCH_LIMIT)
      return error_set(error, ERR_BAD_INPUT,
                       "%s:%zu: a batch has up to %d operations: do them in several batches", path, i + 1,
                       MASTER_BATCH_LIMIT);
    if (line->item_count != 1)
      return error_set(error, ERR_BAD_INPUT, "%s:%zu: one operation a line: {\"f\": …, \"value\": {…}}", path,
                       i + 1);
  }
  return 0;
}

int fs_batch_read(const char *path, struct fs_batch *batch, struct error *error) {
  struct bytes content = {0}, text = {0};
  struct error warning;
  *batch = (struct fs_batch){0};
  int status = read_all(path, &content, error);
  if (status == 0) {
    wrap(&text, &content);
    status = history_parse(strcmp(path, "-") == 0 ? "standard input" : path, (const char *)text.data,
                           text.size, &batch->history, &warning, error);
  }
  if (status == 0)
    status = take(batch, path, error);
  if (status != 0)
    fs_batch_free(batch);
  bytes_free(&content);
  bytes_free(&text);
  return status;
}

void fs_batch_free(struct fs_batch *batch) {
  free(batch->requests);
  history_free(batch->history);
  *batch = (struct fs_batch){0};
}
