#include "harness/bench/load.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "harness/bench/schedule.h"

#define STAT_FILES 1000u        /* per connection, */
#define STAT_FILES_ALL 64000u   /* and of all connections at most (or one for each) */
#define DIRECTORY_FILES 10000u  /* files that one directory gets before the next is begun */
#define PREPARE_OUTSTANDING 64u /* per connection, */
#define PREPARE_ALL 1024u       /* and of all connections at most */
#define SILENCE_NS (20 * NS_PER_S)
#define WATCH_EVERY_MS 200

struct load;

/* One connection, with a directory tree of its own: /<round>-<index>/<10000s>/<file>. */
struct lane {
  struct load *load;
  size_t index;
  uint64_t files;   /* created or being created: their names are 0 … files - 1 */
  uint64_t wanted;  /* files to prepare */
  uint64_t deleted; /* the first ones */
  unsigned busy;    /* requests of the preparation */
  bool ready;
};

/* One place for an outstanding request. */
struct slot {
  struct lane *lane;
  size_t index;
  int64_t from_ns; /* since when its request's time counts */
  bool moved;      /* rename: the file has its other name */
};

struct load {
  uv_loop_t *loop;
  const struct bench_system *system;
  struct system_cluster *cluster;
  const struct load_options *options;
  struct load_result *result;
  struct lane *lanes;
  struct slot *slots;
  struct random random;
  size_t lanes_ready, active;
  int64_t measure_ns, end_ns; /* from when, until when answers count */
  int64_t last_ns;            /* when the last answer that counts came */
  bool ran_out;               /* of files to delete */
  bool failed;
  struct error *error;
  uv_timer_t watch; /* for silence, and for what `interrupted` says */
  uint64_t watched_answers;
  int64_t watched_ns;
  /* Open loop. */
  struct schedule schedule;
  struct slot **idle; /* a ring of `slot_count` */
  size_t slot_count, idle_first, idle_count;
  int alarm;
  uv_poll_t alarm_poll;
};

static void give_up(struct load *load, const char *what, const char *why) {
  if (!load->failed)
    error_set(load->error, ERR_UNAVAILABLE, "%s: %s: %s; see the logs of the nodes", load->system->name, what,
              why);
  load->failed = true;
}

static void directory_path(const struct lane *lane, uint64_t file, char *path, size_t size) {
  snprintf(path, size, "/%" PRIu64 "-%zu/%" PRIu64, lane->load->options->round, lane->index,
           file / DIRECTORY_FILES);
}

static void suffixed_path(const struct lane *lane, uint64_t file, const char *suffix, char *path,
                          size_t size) {
  snprintf(path, size, "/%" PRIu64 "-%zu/%" PRIu64 "/file-%08" PRIu64 "%s", lane->load->options->round,
           lane->index, file / DIRECTORY_FILES, file, suffix);
}

static void file_path(const struct lane *lane, uint64_t file, char *path, size_t size) {
  suffixed_path(lane, file, "", path, size);
}

/* ---- one request ---- */

static void on_answer(void *context, const char *error);

static void make_create(struct lane *lane, struct system_request *request, char *path, size_t size) {
  request->kind = LOAD_CREATE;
  request->new_directory = lane->files % DIRECTORY_FILES == 0;
  lane->load->result->created++;
  file_path(lane, lane->files++, path, size);
}

static void make_rename(struct slot *slot, struct system_request *request, char *path, char *other,
                        size_t size) {
  file_path(slot->lane, slot->index, path, size);
  suffixed_path(slot->lane, slot->index, ".moved", other, size);
  request->path = slot->moved ? other : path;
  request->destination = slot->moved ? path : other;
  slot->moved = !slot->moved;
}

/* Sends the next request of the slot's connection; its time counts from `from_ns`. */
static void send_request(struct slot *slot, int64_t from_ns) {
  struct lane *lane = slot->lane;
  struct load *load = lane->load;
  char path[128], other[128];
  struct system_request request = {.kind = load->options->item.kind, .path = path};
  if (request.kind == LOAD_MIXED)
    request.kind = mixed_kind((unsigned)random_below(&load->random, 100));
  switch (request.kind) {
  case LOAD_CREATE:
    make_create(lane, &request, path, sizeof path);
    break;
  case LOAD_LIST:
    directory_path(lane, 0, path, sizeof path);
    break;
  case LOAD_RENAME:
    make_rename(slot, &request, path, other, sizeof path);
    break;
  case LOAD_DELETE:
    file_path(lane, lane->deleted++, path, sizeof path);
    break;
  case LOAD_SET:
    request.value = "a value of a few words";
    /* fall through */
  default:
    file_path(lane, random_below(&load->random, lane->wanted), path, sizeof path);
  }
  slot->from_ns = from_ns;
  load->system->submit(load->cluster, lane->index, &request, on_answer, slot);
}

static bool deleted_all(const struct lane *lane) {
  return lane->load->options->item.kind == LOAD_DELETE && lane->deleted == lane->wanted;
}

/* ---- the closed loop ---- */

static void send_at_once(struct slot *slot, int64_t now_ns) {
  struct load *load = slot->lane->load;
  const bool ran_out = deleted_all(slot->lane);
  if (now_ns >= load->end_ns || ran_out) {
    load->ran_out = load->ran_out || ran_out;
    load->active--;
    return;
  }
  send_request(slot, now_ns);
}

/* ---- the open loop ---- */

static void set_alarm(struct load *load, int64_t at_ns) {
  const struct itimerspec when = {.it_value = {.tv_sec = at_ns / NS_PER_S, .tv_nsec = at_ns % NS_PER_S}};
  timerfd_settime(load->alarm, TFD_TIMER_ABSTIME, &when, NULL);
}

static void put_idle(struct load *load, struct slot *slot) {
  load->idle[(load->idle_first + load->idle_count++) % load->slot_count] = slot;
}

static struct slot *take_idle(struct load *load) {
  struct slot *slot = load->idle[load->idle_first];
  load->idle_first = (load->idle_first + 1) % load->slot_count;
  load->idle_count--;
  return slot;
}

/* Ends the open loop: what should have been sent by now and was not is told, and not forgotten. */
static void end_schedule(struct load *load) {
  int64_t due_ns;
  while (schedule_take(&load->schedule, load->end_ns - 1, &due_ns))
    if (due_ns >= load->measure_ns) {
      load->result->unsent++;
      histogram_add(&load->result->latencies, (uint64_t)(load->end_ns - due_ns));
    }
  load->active -= load->idle_count;
  load->idle_count = 0;
}

/* Sends what is due, as far as there are places for it. */
static void send_due(struct load *load) {
  const int64_t now_ns = time_monotonic_ns();
  int64_t due_ns;
  while (now_ns < load->end_ns && load->idle_count > 0) {
    struct slot *slot = load->idle[load->idle_first];
    if (deleted_all(slot->lane)) {
      load->ran_out = true;
      take_idle(load);
      load->active--;
      continue;
    }
    if (!schedule_take(&load->schedule, now_ns, &due_ns)) {
      set_alarm(load, due_ns < load->end_ns ? due_ns : load->end_ns);
      return;
    }
    send_request(take_idle(load), due_ns);
  }
  if (now_ns >= load->end_ns)
    end_schedule(load);
}

static void on_alarm(uv_poll_t *poll, int status, int events) {
  struct load *load = poll->data;
  uint64_t times;
  (void)status;
  (void)events;
  if (read(load->alarm, &times, sizeof times) == (ssize_t)sizeof times && !load->failed)
    send_due(load);
}

/* ---- answers ---- */

static void count_answer(struct load *load, const struct slot *slot, int64_t now_ns, const char *error) {
  struct load_result *result = load->result;
  const bool within = now_ns >= load->measure_ns && now_ns < load->end_ns;
  const bool counts =
      load->options->rate > 0 ? slot->from_ns >= load->measure_ns && slot->from_ns < load->end_ns : within;
  result->answered++;
  if (error && (within || counts)) {
    result->failed++;
    result->first_error = error;
  }
  if (!error && within)
    result->done++;
  if (!error && counts)
    histogram_add(&result->latencies, (uint64_t)(now_ns - slot->from_ns));
  if (within)
    load->last_ns = now_ns;
}

static void on_answer(void *context, const char *error) {
  struct slot *slot = context;
  struct load *load = slot->lane->load;
  const int64_t now_ns = time_monotonic_ns();
  if (load->failed)
    return;
  count_answer(load, slot, now_ns, error);
  if (load->options->rate == 0) {
    send_at_once(slot, now_ns);
  } else {
    put_idle(load, slot);
    send_due(load);
  }
}

static void begin_loop(struct load *load) {
  const int64_t now_ns = time_monotonic_ns();
  const struct load_case *item = &load->options->item;
  load->measure_ns = now_ns + load->options->warm_up_ns;
  load->end_ns = load->measure_ns + load->options->time_ns;
  load->active = load->slot_count;
  load->schedule = (struct schedule){.start_ns = now_ns, .rate = load->options->rate};
  /* What the mixed load creates must not swell the directory that it lists. */
  for (size_t i = 0; item->kind == LOAD_MIXED && i < item->connections; i++)
    load->lanes[i].files = DIRECTORY_FILES;
  /* One slot of each connection after the other: an open loop takes them in this order. */
  for (size_t j = 0; j < item->outstanding; j++)
    for (size_t i = 0; i < item->connections; i++) {
      struct slot *slot = &load->slots[i * item->outstanding + j];
      if (load->options->rate > 0)
        put_idle(load, slot);
      else
        send_at_once(slot, now_ns);
    }
  if (load->options->rate > 0)
    send_due(load);
}

/* ---- preparation: the files that the load works on ---- */

static void prepare_more(struct lane *lane);

/* What each connection gets of something: `each`, but not more than `all` together, and one at least. */
static unsigned share_of(const struct load *load, unsigned each, unsigned all) {
  const unsigned share = all / load->options->item.connections;
  return share < 1 ? 1 : share < each ? share : each;
}

static void on_prepared(void *context, const char *error) {
  struct lane *lane = context;
  if (lane->load->failed)
    return;
  if (error)
    give_up(lane->load, "cannot create the files to work on", error);
  lane->load->result->answered++;
  lane->busy--;
  prepare_more(lane);
}

static void prepare_more(struct lane *lane) {
  struct load *load = lane->load;
  char path[128];
  const unsigned most = share_of(load, PREPARE_OUTSTANDING, PREPARE_ALL);
  while (!load->failed && lane->files < lane->wanted && lane->busy < most) {
    struct system_request request = {.path = path};
    make_create(lane, &request, path, sizeof path);
    lane->busy++;
    load->system->submit(load->cluster, lane->index, &request, on_prepared, lane);
  }
  if (lane->busy == 0 && !lane->ready) {
    lane->ready = true;
    load->lanes_ready++;
  }
}

static uint64_t files_wanted(const struct load *load) {
  const struct load_options *options = load->options;
  const double seconds = (double)(options->warm_up_ns + options->time_ns) / NS_PER_S;
  const double rate = options->rate > 0 ? (double)options->rate : load->system->rate;
  switch (options->item.kind) {
  case LOAD_CREATE:
    return 1;
  case LOAD_STAT:
  case LOAD_SET:
    return share_of(load, STAT_FILES, STAT_FILES_ALL);
  case LOAD_RENAME:
    return options->item.outstanding;
  case LOAD_DELETE:
    return 1 + (uint64_t)(seconds * rate) / options->item.connections;
  default:
    return options->item.names;
  }
}

/* ---- */

static void on_lost(void *context, const char *why) {
  give_up(context, "a connection was lost", why);
}

static void on_watch(uv_timer_t *timer) {
  struct load *load = timer->data;
  const int64_t now_ns = time_monotonic_ns();
  if (*load->options->interrupted && !load->failed) {
    error_set(load->error, ERR_UNAVAILABLE, "interrupted");
    load->failed = true;
  }
  /* An open loop whose places are all idle waits for its schedule, not for an answer. */
  if (load->watched_answers != load->result->answered || load->idle_count == load->slot_count) {
    load->watched_answers = load->result->answered;
    load->watched_ns = now_ns;
  } else if (now_ns - load->watched_ns > SILENCE_NS) {
    give_up(load, "nothing was answered for 20 s", load_name(load->options->item.kind));
  }
}

static int open_alarm(struct load *load) {
  if (load->options->rate == 0)
    return 0;
  load->alarm = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  if (load->alarm < 0)
    return error_set_errno(load->error, ERR_IO, "cannot make a timer");
  uv_poll_init(load->loop, &load->alarm_poll, load->alarm);
  load->alarm_poll.data = load;
  uv_poll_start(&load->alarm_poll, UV_READABLE, on_alarm);
  return 0;
}

static void on_handle_closed(uv_handle_t *handle) {
  --*(unsigned *)handle->data;
}

static void close_handles(struct load *load) {
  unsigned open = 1;
  load->watch.data = &open;
  uv_close((uv_handle_t *)&load->watch, on_handle_closed);
  if (load->alarm >= 0) {
    open++;
    load->alarm_poll.data = &open;
    uv_close((uv_handle_t *)&load->alarm_poll, on_handle_closed);
  }
  while (open > 0)
    uv_run(load->loop, UV_RUN_ONCE);
  if (load->alarm >= 0)
    close(load->alarm);
}

static void make_lanes(struct load *load) {
  const struct load_case *item = &load->options->item;
  for (size_t i = 0; i < item->connections; i++) {
    load->lanes[i] = (struct lane){.load = load, .index = i, .wanted = files_wanted(load)};
    for (size_t j = 0; j < item->outstanding; j++)
      load->slots[i * item->outstanding + j] = (struct slot){.lane = &load->lanes[i], .index = j};
  }
}

static void run(struct load *load) {
  for (size_t i = 0; i < load->options->item.connections; i++)
    prepare_more(&load->lanes[i]);
  while (!load->failed && load->lanes_ready < load->options->item.connections)
    uv_run(load->loop, UV_RUN_ONCE);
  if (!load->failed)
    begin_loop(load);
  while (!load->failed && load->active > 0)
    uv_run(load->loop, UV_RUN_ONCE);
  load->result->seconds =
      (double)((load->ran_out ? load->last_ns : load->end_ns) - load->measure_ns) / NS_PER_S;
  if (!load->failed && load->result->seconds <= 0)
    give_up(load, "the files to delete were gone before the measured time began", "take a shorter --warm-up");
}

int load_run(uv_loop_t *loop, const struct bench_system *system, struct system_cluster *cluster,
             const struct load_options *options, struct load_result *result, struct error *error) {
  struct load load = {.loop = loop,
                      .system = system,
                      .cluster = cluster,
                      .options = options,
                      .result = result,
                      .error = error,
                      .alarm = -1,
                      .watched_ns = time_monotonic_ns()};
  load.slot_count = (size_t)options->item.connections * options->item.outstanding;
  load.lanes = xcalloc(options->item.connections, sizeof *load.lanes);
  load.slots = xcalloc(load.slot_count, sizeof *load.slots);
  load.idle = xcalloc(load.slot_count, sizeof *load.idle);
  random_seed(&load.random, options->round);
  memset(result, 0, sizeof *result);
  uv_timer_init(loop, &load.watch);
  load.watch.data = &load;
  make_lanes(&load);
  int status = open_alarm(&load);
  if (status == 0)
    status = system->open(cluster, options->item.connections, on_lost, &load, error);
  if (status == 0) {
    load.watched_ns = time_monotonic_ns();
    uv_timer_start(&load.watch, on_watch, WATCH_EVERY_MS, WATCH_EVERY_MS);
    run(&load);
  }
  if (status == 0 && load.failed)
    status = ERR_UNAVAILABLE;
  load.failed = true; /* whatever is still answered is late */
  system->close(cluster);
  close_handles(&load);
  free(load.lanes);
  free(load.slots);
  free(load.idle);
  return status;
}
