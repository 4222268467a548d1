#include "harness/bench_load.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "master/client/client.h"

#define LIST_ENTRIES 100u      /* in the directory that is listed */
#define STAT_FILES 1000u       /* per connection */
#define DELETE_RATE 60000u     /* files prepared for each second of deleting, over all connections */
#define DIRECTORY_FILES 10000u /* files that one directory gets before the next is begun */
#define PREPARE_OUTSTANDING 64u
#define REQUEST_TIMEOUT_NS (20 * NS_PER_S)

static const char *const names[LOAD_KINDS] = {"create", "stat", "list", "rename", "delete", "set", "mixed"};

const char *load_name(enum load_kind kind) {
  return names[kind];
}

int load_kind_of(const char *name, size_t size) {
  for (int kind = 0; kind < LOAD_KINDS; kind++)
    if (strlen(names[kind]) == size && memcmp(names[kind], name, size) == 0)
      return kind;
  return -1;
}

struct load;

/* One connection, with a client number and a directory tree of its own: /<round>-<index>/<10000s>/<file>. */
struct lane {
  struct load *load;
  struct master_client *client;
  size_t index;
  uint32_t number;
  uint32_t sequence;
  uint64_t files;   /* created or being created: their names are 0 … files - 1 */
  uint64_t wanted;  /* files to prepare */
  uint64_t deleted; /* the first ones */
  unsigned busy;    /* requests of the preparation */
};

/* One place of the closed loop. */
struct slot {
  struct lane *lane;
  size_t index;
  int64_t asked_ns;
  bool moved; /* rename: the file has its other name */
};

struct load {
  uv_loop_t *loop;
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
};

static void give_up(struct load *load, const char *what, const struct master_answer *answer) {
  if (!load->failed)
    error_set(load->error, ERR_UNAVAILABLE, "%s: %s; see the logs of the nodes", what,
              master_error_name(answer->error));
  load->failed = true;
}

static uint64_t next_op_id(struct lane *lane) {
  return (uint64_t)lane->number << 32 | ++lane->sequence;
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

/* ---- the closed loop ---- */

static void ask(struct slot *slot);

static void on_answer(void *context, const struct master_answer *answer) {
  struct slot *slot = context;
  struct load *load = slot->lane->load;
  const int64_t now_ns = time_monotonic_ns();
  load->result->answered++;
  if (now_ns >= load->measure_ns && now_ns < load->end_ns) {
    if (answer->outcome == MASTER_OK) {
      histogram_add(&load->result->latencies, (uint64_t)(now_ns - slot->asked_ns));
    } else {
      load->result->failed++;
      load->result->first_error = master_error_name(answer->error);
    }
    load->last_ns = now_ns;
  }
  ask(slot);
}

static void ask_create(struct slot *slot, struct master_request *request, char *path, size_t size) {
  request->operation = MASTER_CREATE;
  request->parents = true;
  file_path(slot->lane, slot->lane->files++, path, size);
}

static void ask_stat(struct slot *slot, struct master_request *request, char *path, size_t size) {
  request->operation = MASTER_STAT;
  file_path(slot->lane, random_below(&slot->lane->load->random, slot->lane->wanted), path, size);
}

static void ask_list(struct slot *slot, struct master_request *request, char *path, size_t size) {
  request->operation = MASTER_LIST;
  directory_path(slot->lane, 0, path, size);
}

static void ask_set(struct slot *slot, struct master_request *request, char *path, size_t size) {
  request->operation = MASTER_SET;
  request->value = "a value of a few words";
  file_path(slot->lane, random_below(&slot->lane->load->random, slot->lane->wanted), path, size);
}

static void ask_rename(struct slot *slot, struct master_request *request, char *path, char *other,
                       size_t size) {
  request->operation = MASTER_RENAME;
  file_path(slot->lane, slot->index, path, size);
  suffixed_path(slot->lane, slot->index, ".moved", other, size);
  request->path = slot->moved ? other : path;
  request->destination = slot->moved ? path : other;
  slot->moved = !slot->moved;
}

/* What a busy file system does: mostly reads. */
static enum load_kind draw_mixed(struct random *random) {
  const uint64_t face = random_below(random, 100);
  return face < 50 ? LOAD_STAT : face < 60 ? LOAD_LIST : face < 85 ? LOAD_CREATE : LOAD_SET;
}

static void ask(struct slot *slot) {
  struct lane *lane = slot->lane;
  struct load *load = lane->load;
  char path[128], other[128];
  struct master_request request = {.path = path};
  enum load_kind kind = load->options->kind;
  const bool ran_out = kind == LOAD_DELETE && lane->deleted == lane->wanted;
  slot->asked_ns = time_monotonic_ns();
  if (slot->asked_ns >= load->end_ns || ran_out) {
    load->ran_out = load->ran_out || ran_out;
    load->active--;
    return;
  }
  if (kind == LOAD_MIXED)
    kind = draw_mixed(&load->random);
  switch (kind) {
  case LOAD_CREATE:
    ask_create(slot, &request, path, sizeof path);
    break;
  case LOAD_STAT:
    ask_stat(slot, &request, path, sizeof path);
    break;
  case LOAD_LIST:
    ask_list(slot, &request, path, sizeof path);
    break;
  case LOAD_SET:
    ask_set(slot, &request, path, sizeof path);
    break;
  case LOAD_RENAME:
    ask_rename(slot, &request, path, other, sizeof path);
    break;
  default:
    request.operation = MASTER_DELETE;
    file_path(lane, lane->deleted++, path, sizeof path);
  }
  if (request.operation < MASTER_STAT)
    request.op_id = next_op_id(lane);
  master_client_submit(lane->client, &request, on_answer, slot);
}

static void begin_loop(struct load *load) {
  const size_t slots = load->options->connections * load->options->outstanding;
  load->measure_ns = time_monotonic_ns() + load->options->warm_up_ns;
  load->end_ns = load->measure_ns + load->options->time_ns;
  load->active = slots;
  /* What the mixed load creates must not swell the directory that it lists. */
  for (size_t i = 0; load->options->kind == LOAD_MIXED && i < load->options->connections; i++)
    load->lanes[i].files = DIRECTORY_FILES;
  for (size_t i = 0; i < slots; i++)
    ask(&load->slots[i]);
}

/* ---- preparation: a number, then the files that the load works on ---- */

static void prepare_more(struct lane *lane);

static void on_prepared(void *context, const struct master_answer *answer) {
  struct lane *lane = context;
  if (answer->outcome != MASTER_OK)
    give_up(lane->load, "cannot create the files to work on", answer);
  lane->load->result->answered++;
  lane->busy--;
  prepare_more(lane);
}

static void prepare_more(struct lane *lane) {
  char path[128];
  while (!lane->load->failed && lane->files < lane->wanted && lane->busy < PREPARE_OUTSTANDING) {
    file_path(lane, lane->files++, path, sizeof path);
    const struct master_request request = {
        .operation = MASTER_CREATE, .op_id = next_op_id(lane), .path = path, .parents = true};
    lane->busy++;
    master_client_submit(lane->client, &request, on_prepared, lane);
  }
  if (lane->busy == 0)
    lane->load->lanes_ready++;
}

static void on_reserved(void *context, uint32_t first, const struct master_answer *answer) {
  struct load *load = context;
  if (answer->outcome != MASTER_OK)
    give_up(load, "the cluster gives no client numbers", answer);
  for (size_t i = 0; i < load->options->connections; i++) {
    load->lanes[i].number = first + (uint32_t)i;
    prepare_more(&load->lanes[i]);
  }
}

static uint64_t files_wanted(const struct load_options *options) {
  const double seconds = (double)(options->warm_up_ns + options->time_ns) / NS_PER_S;
  switch (options->kind) {
  case LOAD_CREATE:
    return 1;
  case LOAD_STAT:
  case LOAD_SET:
    return STAT_FILES;
  case LOAD_RENAME:
    return options->outstanding;
  case LOAD_DELETE:
    return 1 + (uint64_t)(seconds * DELETE_RATE) / options->connections;
  default:
    return LIST_ENTRIES;
  }
}

/* ---- */

static int open_lanes(struct load *load) {
  const struct load_options *options = load->options;
  for (size_t i = 0; i < options->connections; i++) {
    const struct master_client_options client = {.addresses = options->addresses,
                                                 .address_count = options->address_count,
                                                 .request_timeout_ns = REQUEST_TIMEOUT_NS,
                                                 .retry = true};
    struct lane *lane = &load->lanes[i];
    const int status = master_client_open(load->loop, &client, &lane->client, load->error);
    if (status != 0)
      return status;
    lane->load = load;
    lane->index = i;
    lane->wanted = files_wanted(options);
    for (size_t j = 0; j < options->outstanding; j++)
      load->slots[i * options->outstanding + j] = (struct slot){.lane = lane, .index = j};
  }
  return 0;
}

static void on_lane_closed(void *context) {
  --*(size_t *)context;
}

static void close_lanes(struct load *load) {
  size_t open = 0;
  for (size_t i = 0; i < load->options->connections; i++)
    if (load->lanes[i].client) {
      open++;
      master_client_close(load->lanes[i].client, on_lane_closed, &open);
    }
  while (open > 0)
    uv_run(load->loop, UV_RUN_ONCE);
}

static bool goes_on(struct load *load) {
  if (*load->options->interrupted && !load->failed) {
    error_set(load->error, ERR_UNAVAILABLE, "interrupted");
    load->failed = true;
  }
  return !load->failed;
}

int load_run(uv_loop_t *loop, const struct load_options *options, struct load_result *result,
             struct error *error) {
  struct load load = {.loop = loop, .options = options, .result = result, .error = error};
  load.lanes = xcalloc(options->connections, sizeof *load.lanes);
  load.slots = xcalloc(options->connections * options->outstanding, sizeof *load.slots);
  random_seed(&load.random, options->round);
  *result = (struct load_result){0};
  int status = open_lanes(&load);
  if (status == 0) {
    master_client_reserve(load.lanes[0].client, (uint32_t)options->connections, on_reserved, &load);
    while (goes_on(&load) && load.lanes_ready < options->connections)
      uv_run(loop, UV_RUN_ONCE);
    if (!load.failed)
      begin_loop(&load);
    while (goes_on(&load) && load.active > 0)
      uv_run(loop, UV_RUN_ONCE);
    result->seconds = (double)((load.ran_out ? load.last_ns : load.end_ns) - load.measure_ns) / NS_PER_S;
    status = load.failed ? ERR_UNAVAILABLE : 0;
  }
  load.end_ns = 0;
  close_lanes(&load);
  free(load.lanes);
  free(load.slots);
  return status;
}
