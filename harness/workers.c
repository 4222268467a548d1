#include "harness/workers.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "harness/child.h"
#include "harness/secure.h"
#include "harness/store.h"

#define END_PATIENCE_MS 10000
#define MASTERS_MAX 64

struct one {
  struct child child;
  struct workers *workers;
  char *directory, *log;
};

struct workers {
  struct workers_options options;
  char *program;
  struct one items[WORKERS_AT_ONCE];
  size_t running;
  uv_timer_t patience;
  bool stopping;
  void (*stopped)(void *context);
  void *stopped_context;
};

static void on_timer_closed(uv_handle_t *handle) {
  struct workers *workers = handle->data;
  void (*const stopped)(void *context) = workers->stopped;
  void *const context = workers->stopped_context;
  for (size_t i = 0; i < workers->options.count; i++) {
    free(workers->items[i].directory);
    free(workers->items[i].log);
  }
  free(workers->program);
  free(workers);
  if (stopped)
    stopped(context);
}

static void free_if_over(struct workers *workers) {
  if (workers->stopping && workers->running == 0 && !uv_is_closing((uv_handle_t *)&workers->patience))
    uv_close((uv_handle_t *)&workers->patience, on_timer_closed);
}

static void on_line(struct child *child, const char *text) {
  (void)child;
  (void)text;
}

static void on_ended(struct child *child) {
  struct one *one = CONTAINER_OF(child, struct one, child);
  struct workers *workers = one->workers;
  workers->running--;
  if (!workers->stopping) {
    char how[128], text[1000];
    char *tail = file_tail(one->log, 5, "  ");
    snprintf(text, sizeof text, "%s ended with %s; the end of %s:\n%.600s", child->name,
             child_ending(child, how, sizeof how), one->log, tail[0] ? tail : "  (nothing)\n");
    free(tail);
    workers->options.died(workers->options.context, text);
  }
  free_if_over(workers);
}

static void on_patience(uv_timer_t *timer) {
  struct workers *workers = timer->data;
  for (size_t i = 0; i < workers->options.count; i++)
    child_signal(&workers->items[i].child, SIGKILL);
}

void workers_stop(struct workers *workers, void (*stopped)(void *context), void *context) {
  workers->stopping = true;
  workers->stopped = stopped;
  workers->stopped_context = context;
  for (size_t i = 0; i < workers->options.count; i++)
    child_signal(&workers->items[i].child, SIGTERM);
  uv_timer_start(&workers->patience, on_patience, END_PATIENCE_MS, 0);
  free_if_over(workers);
}

static int start_one(struct workers *workers, size_t number, struct error *error) {
  struct one *one = &workers->items[number];
  char flag[] = "--master", data_flag[] = "--data", parent_flag[] = "--with-parent", parent[16];
  struct secure_files files;
  char *arguments[12 + 2 * MASTERS_MAX] = {workers->program, parent_flag, parent, data_flag};
  size_t count = 4;
  snprintf(parent, sizeof parent, "%d", (int)getpid());
  one->workers = workers;
  one->child.line = on_line;
  one->child.ended = on_ended;
  snprintf(one->child.name, sizeof one->child.name, "worker-%zu", number + 1);
  one->directory = path_join(workers->options.directory, one->child.name);
  one->log = path_join(one->directory, "log");
  const int status = directory_make(one->directory, error);
  if (status != 0)
    return status;
  char *data = path_join(one->directory, "data");
  arguments[count++] = data;
  for (size_t i = 0; i < workers->options.master_count && i < MASTERS_MAX; i++) {
    arguments[count++] = flag;
    arguments[count++] = (char *)(uintptr_t)workers->options.masters[i];
  }
  const char *certificates = workers->options.certificates;
  for (const struct cluster_file *file = certificates ? secure_files(certificates, TLS_WORKER, &files) : NULL;
       file && file->flag; file++) {
    arguments[count++] = (char *)(uintptr_t)file->flag;
    arguments[count++] = (char *)(uintptr_t)file->path;
  }
  workers->running++;
  const int started = child_start(workers->options.loop, &one->child, arguments, one->log, error);
  if (started != 0 && !one->child.running)
    workers->running--;
  free(data);
  return started;
}

int workers_start(const struct workers_options *options, struct workers **result, struct error *error) {
  struct workers *workers = xcalloc(1, sizeof *workers);
  char *bin = program_directory();
  workers->options = *options;
  workers->program = path_join(bin ? bin : ".", "assay-worker");
  free(bin);
  uv_timer_init(options->loop, &workers->patience);
  workers->patience.data = workers;
  int status = 0;
  for (size_t i = 0; i < options->count && status == 0; i++)
    status = start_one(workers, i, error);
  if (status != 0)
    workers_stop(workers, NULL, NULL);
  else
    *result = workers;
  return status;
}
