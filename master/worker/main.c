/* main.c: the program assay-worker, put together from its parts.
 *
 *   clients ─▶ data server ─▶ files (block_file.h)      reporter ─▶ primary
 *                    └───────▶ block store ◀───────────────┘
 *
 * It keeps no state that a crash could spoil: a block is whole on the disk, or it is not there. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <uv.h>

#include "base/base.h"
#include "master/worker/block_store.h"
#include "master/worker/data_server.h"
#include "master/worker/reporter.h"
#include "master/worker/worker_options.h"

struct worker {
  struct worker_options options;
  uv_loop_t loop;
  uv_signal_t terminate, interrupt, hang_up;
  struct tls_context *tls; /* NULL: without */
  struct block_store *store;
  struct data_server *server;
  struct reporter *reporter;
  char address[128];
  bool stopping;
};

/* ---- ends: sessions, then the reporter, then the store ---- */

static void on_reporter_closed(void *context) {
  struct worker *worker = context;
  uv_close((uv_handle_t *)&worker->terminate, NULL);
  uv_close((uv_handle_t *)&worker->interrupt, NULL);
  uv_close((uv_handle_t *)&worker->hang_up, NULL);
}

static void on_server_closed(void *context) {
  struct worker *worker = context;
  reporter_close(worker->reporter, on_reporter_closed, worker);
}

static void on_signal(uv_signal_t *handle, int number) {
  struct worker *worker = handle->data;
  if (worker->stopping)
    return;
  worker->stopping = true;
  log_info("stopping on signal %d", number);
  data_server_close(worker->server, on_server_closed, worker);
}

/* Certificates are renewed while it goes on. */
static void on_hang_up(uv_signal_t *handle, int number) {
  struct worker *worker = handle->data;
  struct error error = {0};
  (void)number;
  if (!worker->tls)
    log_info("there is nothing to read anew: this worker has no certificate");
  else if (tls_context_reload(worker->tls, &error) == 0)
    log_info("the certificate was read anew: it is for connections from now on");
  else
    log_error("the certificate is used as it was: %s", error.message);
}

/* Files are whole or are not there: no orderly end is needed. */
static void on_fatal(void *context, const struct error *error) {
  (void)context;
  log_error("%s", error->message);
  _exit(EXIT_HARNESS);
}

/* ---- between server and reporter ---- */

static bool may_write(void *context, char *why, size_t size) {
  return reporter_may_write(((struct worker *)context)->reporter, why, size);
}

static void on_stored(void *context, uint64_t block) {
  reporter_added(((struct worker *)context)->reporter, block);
}

static void on_lost(void *context, uint64_t block) {
  reporter_lost(((struct worker *)context)->reporter, block);
}

static void on_registered(void *context, uint64_t cluster, uint64_t id) {
  const struct worker *worker = context;
  log_info("worker %llu of cluster %llu serves blocks on %s, data in %s", (unsigned long long)id,
           (unsigned long long)cluster, worker->address, worker->options.data);
}

/* ---- beginnings ---- */

/* What clients are told: the host as it was given, with the port that the system chose. */
static void find_address(struct worker *worker) {
  const struct worker_options *options = &worker->options;
  if (options->advertise)
    snprintf(worker->address, sizeof worker->address, "%s", options->advertise);
  else
    snprintf(worker->address, sizeof worker->address, "%.*s:%u",
             (int)(strrchr(options->listen, ':') - options->listen), options->listen,
             data_server_port(worker->server));
}

static int open_worker(struct worker *worker, struct error *error) {
  const struct worker_options *options = &worker->options;
  int status = 0;
  if (options->with_tls)
    status = tls_context_new(&options->tls, TLS_WORKER, &worker->tls, error);
  if (status == 0)
    status = block_store_open(options->data, (uint64_t)options->capacity, &worker->store, error);
  if (status != 0)
    return status;
  const struct data_server_options server = {.loop = &worker->loop,
                                             .address = options->listen,
                                             .store = worker->store,
                                             .tls = worker->tls,
                                             .roots = options->mount_roots,
                                             .may_write = may_write,
                                             .stored = on_stored,
                                             .lost = on_lost,
                                             .context = worker};
  status = data_server_open(&server, &worker->server, error);
  if (status != 0)
    return status;
  find_address(worker);
  const struct reporter_options reporter = {.loop = &worker->loop,
                                            .masters = options->masters.items,
                                            .master_count = options->masters.count,
                                            .store = worker->store,
                                            .tls = worker->tls,
                                            .address = worker->address,
                                            .fatal = on_fatal,
                                            .registered = on_registered,
                                            .context = worker};
  return reporter_open(&reporter, &worker->reporter, error);
}

int main(int argc, char **argv) {
  static struct worker worker;
  struct error error;
  log_open("assay-worker", LOG_LEVEL_INFO);
  const int exit_code = worker_options_parse(&worker.options, argc, argv);
  if (exit_code >= 0)
    return exit_code;
  signal(SIGPIPE, SIG_IGN);
  if (worker.options.parent != 0) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != (pid_t)worker.options.parent) {
      log_error("the process %lld has ended, or did not start this one", (long long)worker.options.parent);
      return EXIT_HARNESS;
    }
  }
  uv_replace_allocator(xmalloc, xrealloc, xcalloc, free);
  uv_loop_init(&worker.loop);
  uv_signal_init(&worker.loop, &worker.terminate);
  uv_signal_init(&worker.loop, &worker.interrupt);
  uv_signal_init(&worker.loop, &worker.hang_up);
  worker.terminate.data = worker.interrupt.data = worker.hang_up.data = &worker;
  uv_signal_start(&worker.terminate, on_signal, SIGTERM);
  uv_signal_start(&worker.interrupt, on_signal, SIGINT);
  uv_signal_start(&worker.hang_up, on_hang_up, SIGHUP);
  if (open_worker(&worker, &error) != 0) {
    log_error("%s", error.message);
    _exit(EXIT_HARNESS);
  }
  log_info("listening on %s, %zu blocks in %s", worker.address, block_store_count(worker.store),
           worker.options.data);
  uv_run(&worker.loop, UV_RUN_DEFAULT);
  uv_loop_close(&worker.loop);
  block_store_close(worker.store);
  tls_context_free(worker.tls);
  log_info("stopped");
  return 0;
}
