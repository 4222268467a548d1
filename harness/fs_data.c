#include "harness/fs_data.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "harness/cluster_state.h"

#define FAILED 1

int fs_connect(uv_loop_t *loop, const struct fs_where *where, struct tls_context **tls,
               struct master_client **client, struct error *error) {
  const char *found[CLUSTER_NODES_MAX];
  struct cluster_state state;
  struct master_client_options options = {.addresses = where->addresses->items,
                                          .address_count = where->addresses->count,
                                          .request_timeout_ns = where->timeout_ns,
                                          .retry = true,
                                          .any_node = where->any_node};
  const bool given = where->addresses->count > 0;
  int status = given ? 0 : cluster_state_load(where->store, &state, error);
  if (status == 0)
    status = secure_open(where->tls_files, given ? NULL : state.certificates, tls, error);
  if (status == 0 && !given)
    status = cluster_state_join(&state, error);
  if (status != 0)
    return status;
  options.tls = *tls;
  if (!given) {
    for (size_t i = 0; i < state.count; i++)
      found[i] = state.addresses[i];
    options.addresses = found;
    options.address_count = state.count;
  }
  uv_loop_init(loop);
  return master_client_open(loop, &options, client, error);
}

void fs_data_flags(struct fs_data *data, struct flag flags[FS_DATA_FLAGS]) {
  data->store = "store";
  data->timeout_ns = 30 * NS_PER_S;
  const struct flag shared[FS_DATA_FLAGS] = {
      {"store", FLAG_STRING, &data->store, "DIR", "of the cluster that assay cluster up started", 0, 0},
      {"address", FLAG_LIST, &data->addresses, "HOST:PORT", "client port of a node; once for each node", 0,
       0},
      TLS_FLAGS(&data->tls_files),
      {"timeout", FLAG_DURATION, &data->timeout_ns, "TIME",
       "give up after so long without a primary, or a worker (default 30s)", 1e6, 3600e9},
  };
  for (size_t i = 0; i < FS_DATA_FLAGS; i++)
    flags[i] = shared[i];
}

struct waiting {
  struct master_answer answer;
  master_answer_callback *keep;
  void *context;
  uint32_t first;
  bool came;
};

static void on_answer(void *context, const struct master_answer *answer) {
  struct waiting *waiting = context;
  waiting->answer = *answer;
  if (waiting->keep)
    waiting->keep(waiting->context, answer);
  waiting->came = true;
}

static void on_reserved(void *context, uint32_t first, const struct master_answer *answer) {
  struct waiting *waiting = context;
  waiting->first = first;
  on_answer(waiting, answer);
}

static struct master_answer wait_for(struct fs_data *data, const struct waiting *waiting) {
  while (!waiting->came)
    uv_run(&data->loop, UV_RUN_ONCE);
  struct master_answer answer = waiting->answer;
  answer.value = NULL;
  answer.entries = NULL;
  answer.blocks = NULL;
  answer.numbers = NULL;
  answer.workers = NULL;
  answer.mounts = NULL;
  answer.source = NULL;
  answer.message = NULL;
  return answer;
}

struct master_answer fs_data_ask(struct fs_data *data, struct master_request request,
                                 master_answer_callback *keep, void *context) {
  struct waiting waiting = {.keep = keep, .context = context};
  if (!master_operation_is_read(request.operation))
    request.op_id = data->next_op++;
  master_client_submit(data->client, &request, on_answer, &waiting);
  return wait_for(data, &waiting);
}

int fs_data_open(struct fs_data *data, bool mutates) {
  const struct fs_where where = {data->store, &data->addresses, &data->tls_files, data->timeout_ns, false};
  struct error error;
  signal(SIGPIPE, SIG_IGN); /* a worker that goes is no end */
  if (fs_connect(&data->loop, &where, &data->tls, &data->client, &error) != 0) {
    fprintf(stderr, "%s: %s\n", data->program, error.message);
    return EXIT_HARNESS;
  }
  if (!mutates)
    return 0;
  struct waiting waiting = {0};
  master_client_reserve(data->client, 1, on_reserved, &waiting);
  const struct master_answer answer = wait_for(data, &waiting);
  data->next_op = (uint64_t)waiting.first << 32 | 1;
  if (waiting.first > 0)
    return 0;
  fprintf(stderr,
          "%s: nothing was done: no primary could be reached (%s); assay cluster status shows the nodes\n",
          data->program, master_error_name(answer.error));
  fs_data_close(data);
  return EXIT_HARNESS;
}

void fs_data_close(struct fs_data *data) {
  master_client_close(data->client, NULL, NULL);
  uv_run(&data->loop, UV_RUN_DEFAULT);
  uv_loop_close(&data->loop);
  tls_context_free(data->tls);
}

int fs_data_failed(const struct fs_data *data, const char *path, const struct master_answer *answer) {
  switch (answer->outcome) {
  case MASTER_OK:
    return 0;
  case MASTER_FAIL:
    fprintf(stderr, "%s: %s: %s\n", data->program, path, fs_explain(answer->error));
    return FAILED;
  case MASTER_UNCHECKED:
    if (answer->error == MASTER_ERROR_OVERLOADED) {
      fprintf(
          stderr,
          "%s: %s: nothing was done: the primary has too much to do, or cannot read a mounted directory: its log "
          "says so\n",
          data->program, path);
      break;
    }
    fprintf(stderr, "%s: %s: no primary could be reached (%s); assay cluster status shows the nodes\n",
            data->program, path, master_error_name(answer->error));
    break;
  case MASTER_INFO:
    fprintf(stderr, "%s: %s: unknown whether it was done, or will be (%s): look with assay fs stat\n",
            data->program, path, master_error_name(answer->error));
    break;
  }
  return EXIT_HARNESS;
}

static void on_timer(uv_timer_t *timer) {
  *(bool *)timer->data = true;
  uv_close((uv_handle_t *)timer, NULL);
}

void fs_data_pause(struct fs_data *data, int64_t ns) {
  uv_timer_t timer;
  bool over = false;
  uv_timer_init(&data->loop, &timer);
  timer.data = &over;
  uv_update_time(&data->loop);
  uv_timer_start(&timer, on_timer, (uint64_t)(ns / NS_PER_MS), 0);
  while (!over || uv_is_active((uv_handle_t *)&timer))
    uv_run(&data->loop, UV_RUN_ONCE);
  uv_run(&data->loop, UV_RUN_NOWAIT); /* the timer is closed before it goes out of scope */
}

int fs_data_parse(const struct flag_set *set, int wanted, int argc, char **argv) {
  int given;
  const int code = flags_parse_or_exit_code(set, argc, argv, &given);
  if (code >= 0 || given == wanted)
    return code;
  fprintf(stderr, "%s takes %s, not %d arguments\n", set->program, set->positional, given);
  return EXIT_USAGE;
}

/* ---- workers ---- */

struct data_target fs_data_target(struct fs_data *data, const char *address) {
  return (struct data_target){
      .loop = &data->loop, .address = address, .timeout_ns = data->timeout_ns, .tls = data->tls};
}

struct live_workers {
  char (*addresses)[128];
  size_t count;
};

static void keep_live(void *context, const struct master_answer *answer) {
  struct live_workers *live = context;
  live->addresses = xrealloc(live->addresses, (answer->worker_count + 1) * sizeof *live->addresses);
  live->count = 0;
  for (size_t i = 0; i < answer->worker_count; i++)
    if (answer->workers[i].live)
      snprintf(live->addresses[live->count++], sizeof *live->addresses, "%s", answer->workers[i].address);
}

bool fs_data_try_workers(struct fs_data *data, char failure[600],
                         enum attempt (*attempt)(void *context, const char *address), void *context) {
  const int64_t until_ns = time_monotonic_ns() + data->timeout_ns;
  struct live_workers live = {0};
  enum attempt last = ATTEMPT_FAILED;
  for (;;) {
    snprintf(failure, 600, "no worker lives: start assay-worker with the --mount-root of the masters");
    fs_data_ask(data, (struct master_request){.operation = MASTER_WORKERS}, keep_live, &live);
    bool refused = live.count > 0;
    for (size_t i = 0; i < live.count && last != ATTEMPT_DONE && last != ATTEMPT_USELESS; i++) {
      last = attempt(context, live.addresses[i]);
      refused &= last == ATTEMPT_REFUSED;
    }
    if (last == ATTEMPT_DONE || last == ATTEMPT_USELESS || refused || time_monotonic_ns() > until_ns)
      break;
    fs_data_pause(data, FS_DATA_PAUSE_NS);
  }
  free(live.addresses);
  return last == ATTEMPT_DONE;
}

void fs_data_keep_source(void *context, const struct master_answer *answer) {
  char **source = context;
  free(*source);
  *source = answer->source && answer->source[0] != '\0' ? xstrdup(answer->source) : NULL;
}
