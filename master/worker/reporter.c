#include "master/worker/reporter.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "master/client/worker_calls.h"

#define LEASE_UNKNOWN_NS (10 * NS_PER_S)
#define HEARTBEATS_PER_LEASE 4
#define ROUND_NS (600 * NS_PER_S) /* through all blocks, at most */
#define HURRY_NS (5 * NS_PER_MS)  /* between reports when there is something to tell */
#define RETRY_NS (500 * NS_PER_MS)
#define COMPLAIN_EVERY_NS (10 * NS_PER_S)

struct reporter {
  struct reporter_options options;
  struct master_client *client;
  char *address;
  struct random random;
  uint64_t nonce;
  uv_timer_t timer;
  bool asking;     /* one question at a time */
  bool registered; /* the primary knows us, as far as we know */
  bool told;       /* options.registered was called */
  bool closing;
  unsigned handles; /* timer, client, removals */
  uint64_t epoch;
  int64_t lease_ns;
  int64_t asked_ns;    /* when what is being asked was asked */
  int64_t answered_ns; /* the newest `asked_ns` that a primary has answered */
  int64_t complained_ns;
  struct bytes news, losses;     /* block ids to be told, native order */
  size_t news_sent, losses_sent; /* … of them in the report under way, bytes */
  size_t at;                     /* where the round through all blocks is */
  bool first_round;
  void (*closed)(void *context);
  void *closed_context;
};

static void ask(struct reporter *reporter);

/* ---- ends ---- */

static void release(void *context) {
  struct reporter *reporter = context;
  if (--reporter->handles > 0)
    return;
  void (*const closed)(void *context) = reporter->closed;
  void *const closed_context = reporter->closed_context;
  bytes_free(&reporter->news);
  bytes_free(&reporter->losses);
  free(reporter->address);
  free(reporter);
  if (closed)
    closed(closed_context);
}

static void on_timer_closed(uv_handle_t *handle) {
  release(handle->data);
}

void reporter_close(struct reporter *reporter, void (*closed)(void *context), void *context) {
  reporter->closing = true;
  reporter->closed = closed;
  reporter->closed_context = context;
  uv_close((uv_handle_t *)&reporter->timer, on_timer_closed);
  master_client_close(reporter->client, release, reporter);
}

/* ---- when ---- */

static void on_timer(uv_timer_t *timer) {
  ask(timer->data);
}

static void ask_in(struct reporter *reporter, int64_t delay_ns) {
  if (reporter->closing)
    return;
  uv_update_time(reporter->options.loop);
  uv_timer_start(&reporter->timer, on_timer, (uint64_t)((delay_ns + NS_PER_MS - 1) / NS_PER_MS), 0);
}

/* So that many workers do not come at once, for ever. */
static int64_t jittered(struct reporter *reporter, int64_t delay_ns) {
  return random_between(&reporter->random, delay_ns * 8 / 10, delay_ns * 12 / 10);
}

static int64_t next_report_ns(struct reporter *reporter) {
  if (reporter->first_round || reporter->news.size > 0 || reporter->losses.size > 0)
    return HURRY_NS;
  const size_t count = block_store_count(reporter->options.store);
  const int64_t for_round_ns = ROUND_NS / (int64_t)(count / WORKER_REPORT_LIMIT + 1);
  const int64_t for_lease_ns = reporter->lease_ns / HEARTBEATS_PER_LEASE;
  return jittered(reporter, for_round_ns < for_lease_ns ? for_round_ns : for_lease_ns);
}

/* What can be told at once is. */
static void hurry(struct reporter *reporter) {
  if (!reporter->asking && reporter->registered)
    ask_in(reporter, HURRY_NS);
}

/* ---- the lease ---- */

bool reporter_may_write(struct reporter *reporter, char *why, size_t size) {
  const int64_t silent_ns = (int64_t)uv_hrtime() - reporter->answered_ns;
  if (reporter->told && silent_ns <= reporter->lease_ns)
    return true;
  if (!reporter->told)
    snprintf(why, size, "it takes no blocks: it is not registered with a primary yet");
  else
    snprintf(
        why, size,
        "it takes no blocks: no primary has answered it for %.1f s (its lease is %.1f s), so nobody is told "
        "what it has; write to another worker, and look at the network between it and the masters",
        (double)silent_ns * 1e-9, (double)reporter->lease_ns * 1e-9);
  return false;
}

static void answered(struct reporter *reporter, const struct worker_answer *answer) {
  reporter->answered_ns = reporter->asked_ns;
  if (answer->lease_ns > 0)
    reporter->lease_ns = answer->lease_ns;
}

/* Not answered, or refused: again, a little later. */
static void try_again(struct reporter *reporter, const char *what, enum master_error error) {
  const int64_t now_ns = (int64_t)uv_hrtime();
  if (now_ns - reporter->complained_ns > COMPLAIN_EVERY_NS) {
    reporter->complained_ns = now_ns;
    log_warn("no primary answers the worker's %s (%s); it goes on trying", what, master_error_name(error));
  }
  ask_in(reporter, jittered(reporter, RETRY_NS));
}

/* ---- blocks that are gone ---- */

struct removal {
  uv_work_t work;
  struct reporter *reporter;
  char **paths;
  size_t count;
};

static void on_remove(uv_work_t *work) {
  struct removal *removal = work->data;
  for (size_t i = 0; i < removal->count; i++)
    unlink(removal->paths[i]); /* what a crash brings back is reported again */
}

static void after_remove(uv_work_t *work, int cancelled) {
  struct removal *removal = work->data;
  (void)cancelled;
  for (size_t i = 0; i < removal->count; i++)
    free(removal->paths[i]);
  free(removal->paths);
  release(removal->reporter);
  free(removal);
}

static void remove_gone(struct reporter *reporter, const uint64_t *gone, size_t count) {
  struct removal *removal = xcalloc(1, sizeof *removal);
  removal->reporter = reporter;
  removal->paths = xcalloc(count, sizeof(char *));
  for (size_t i = 0; i < count; i++) {
    char *path = block_store_path(reporter->options.store, gone[i]);
    if (block_store_removed(reporter->options.store, gone[i]))
      removal->paths[removal->count++] = path;
    else
      free(path);
  }
  log_info("%zu blocks belong to no file any more: removed, the first is %" PRIu64, removal->count, gone[0]);
  removal->work.data = removal;
  reporter->handles++;
  uv_queue_work(reporter->options.loop, &removal->work, on_remove, after_remove);
}

/* ---- reporting ---- */

static void on_report(void *context, const struct worker_answer *answer) {
  struct reporter *reporter = context;
  reporter->asking = false;
  if (reporter->closing)
    return;
  if (answer->outcome != MASTER_OK) {
    if (reporter->first_round)
      reporter->at = 0; /* what was not told is told in the next round, but a first round is to be whole */
    try_again(reporter, "heartbeat", answer->error);
    return;
  }
  answered(reporter, answer);
  if (answer->gone_count > 0)
    remove_gone(reporter, answer->gone, answer->gone_count);
  if (!answer->registered) {
    reporter->registered = false;
    ask(reporter);
    return;
  }
  bytes_consume(&reporter->news, reporter->news_sent);
  bytes_consume(&reporter->losses, reporter->losses_sent);
  if (reporter->at == 0)
    reporter->first_round = false;
  ask_in(reporter, next_report_ns(reporter));
}

static size_t first_ids(const struct bytes *ids, uint64_t *out) {
  const size_t count = ids->size / 8;
  const size_t taken = count < WORKER_REPORT_LIMIT ? count : WORKER_REPORT_LIMIT;
  if (taken > 0)
    memcpy(out, ids->data, 8 * taken);
  return taken;
}

static void report(struct reporter *reporter) {
  uint64_t held[WORKER_REPORT_LIMIT], removed[WORKER_REPORT_LIMIT];
  struct block_store *store = reporter->options.store;
  uint64_t cluster, worker;
  block_store_identity(store, &cluster, &worker);
  const size_t news = first_ids(&reporter->news, held), losses = first_ids(&reporter->losses, removed);
  reporter->news_sent = 8 * news;
  reporter->losses_sent = 8 * losses;
  const size_t room = WORKER_REPORT_LIMIT - news;
  const size_t of_round = room > 0 ? block_store_some(store, &reporter->at, held + news, room) : 0;
  const struct worker_report content = {.worker = worker,
                                        .epoch = reporter->epoch,
                                        .free_bytes = block_store_free(store),
                                        .stored_bytes = block_store_stored(store),
                                        .held = held,
                                        .held_count = news + of_round,
                                        .removed = removed,
                                        .removed_count = losses};
  master_client_report(reporter->client, &content, on_report, reporter);
}

/* ---- registering ---- */

static void on_registered(void *context, const struct worker_answer *answer) {
  struct reporter *reporter = context;
  uint64_t cluster, worker;
  reporter->asking = false;
  if (reporter->closing)
    return;
  block_store_identity(reporter->options.store, &cluster, &worker);
  if (answer->outcome == MASTER_FAIL) { /* a state that does not know the number: of an older backup */
    log_warn("the cluster has not given the number %" PRIu64 " to anybody: the worker takes a new one",
             worker);
    struct error error;
    if (block_store_set_identity(reporter->options.store, cluster, 0, &error) != 0)
      reporter->options.fatal(reporter->options.context, &error);
    else
      ask_in(reporter, RETRY_NS);
    return;
  }
  if (answer->outcome != MASTER_OK) {
    try_again(reporter, "registration", answer->error);
    return;
  }
  answered(reporter, answer);
  reporter->epoch = answer->epoch;
  reporter->registered = true;
  reporter->first_round = true;
  reporter->at = 0;
  bytes_clear(&reporter->losses); /* nobody believes that we have them */
  log_info("registered with node %" PRIu64 " as worker %" PRIu64 " of cluster %" PRIu64 ", %zu blocks",
           answer->node, worker, cluster, block_store_count(reporter->options.store));
  if (!reporter->told)
    reporter->options.registered(reporter->options.context, cluster, worker);
  reporter->told = true;
  ask(reporter);
}

static void register_worker(struct reporter *reporter, uint64_t worker) {
  const struct worker_registration registration = {.worker = worker,
                                                   .address = reporter->address,
                                                   .capacity = block_store_capacity(reporter->options.store),
                                                   .nonce = reporter->nonce};
  master_client_register_worker(reporter->client, &registration, on_registered, reporter);
}

static void on_number(void *context, uint32_t first, const struct master_answer *answer) {
  struct reporter *reporter = context;
  struct error error;
  reporter->asking = false;
  if (reporter->closing)
    return;
  if (first == 0) {
    try_again(reporter, "request for a number", answer->error);
    return;
  }
  if (block_store_set_identity(reporter->options.store, master_client_cluster(reporter->client), first,
                               &error) != 0)
    reporter->options.fatal(reporter->options.context, &error);
  else
    ask(reporter);
}

static void ask(struct reporter *reporter) {
  uint64_t cluster, worker;
  if (reporter->asking || reporter->closing)
    return;
  reporter->asking = true;
  reporter->asked_ns = (int64_t)uv_hrtime();
  uv_timer_stop(&reporter->timer);
  block_store_identity(reporter->options.store, &cluster, &worker);
  if (worker == 0)
    master_client_reserve(reporter->client, 1, on_number, reporter);
  else if (!reporter->registered)
    register_worker(reporter, worker);
  else
    report(reporter);
}

/* ---- what the data server tells ---- */

static void append_id(struct bytes *ids, uint64_t block) {
  bytes_append(ids, &block, sizeof block);
}

void reporter_added(struct reporter *reporter, uint64_t block) {
  append_id(&reporter->news, block);
  hurry(reporter);
}

void reporter_lost(struct reporter *reporter, uint64_t block) {
  append_id(&reporter->losses, block);
  hurry(reporter);
}

int reporter_open(const struct reporter_options *options, struct reporter **result, struct error *error) {
  struct reporter *reporter = xcalloc(1, sizeof *reporter);
  uint64_t cluster, worker;
  reporter->options = *options;
  reporter->lease_ns = LEASE_UNKNOWN_NS;
  reporter->complained_ns = (int64_t)uv_hrtime();
  block_store_identity(options->store, &cluster, &worker);
  const int status =
      master_client_open(options->loop,
                         &(struct master_client_options){.tls = options->tls,
                                                         .addresses = options->masters,
                                                         .address_count = options->master_count,
                                                         .cluster = cluster,
                                                         .retry = true},
                         &reporter->client, error);
  if (status != 0) {
    free(reporter);
    return status;
  }
  reporter->address = xstrdup(options->address);
  random_seed(&reporter->random, random_seed_from_system());
  reporter->nonce = random_next(&reporter->random) | 1;
  uv_timer_init(options->loop, &reporter->timer);
  reporter->timer.data = reporter;
  reporter->handles = 2;
  *result = reporter;
  ask(reporter);
  return 0;
}
