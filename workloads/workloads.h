/* workloads.h: the door of workloads/: what clients do, and the client process that does it and records it.
 */
#ifndef ASSAY_WORKLOADS_H
#define ASSAY_WORKLOADS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"
#include "histories/histories.h"

/* ---- Generators: pure, seeded, no I/O; the simulator uses them too ---- */

struct generator;

struct generator_options {
  const char *workload; /* one of workload_list() */
  uint64_t seed;
  uint64_t shard;       /* which of several generators of one run this is: its working sets are its own … */
  uint64_t shard_count; /* … unless `shared` */
  bool shared;          /* all shards work on the same paths */
  uint64_t operations_per_set; /* after so many operations the working set rotates to new directories; 0:
                                  default */
};

/* The names of all workloads with a line of what each does; ends with NULL names. */
struct workload_description {
  const char *name, *summary;
};
const struct workload_description *workload_list(void);
/* "mixed, register, …": what to say to whoever named another. */
const char *workload_list_names(void);

#define WORKLOAD_BATCH_MAX 6 /* operations that generators draw into one batch, at most */

/* ERR_BAD_INPUT for an unknown workload, with the known ones in the message. */
int generator_new(const struct generator_options *options, struct generator **generator, struct error *error);
void generator_free(struct generator *generator);

/* Draws the next operation for logical client `client`. The text of `arguments` is valid until the next call.
 */
void generator_next(struct generator *generator, size_t client, struct arguments *arguments);

/* Tells the generator how an operation it drew ended (for if_version and for names that now exist). */
void generator_learn(struct generator *generator, size_t client, const struct arguments *arguments,
                     enum outcome outcome, const struct answer *answer);

/* ---- Between histories and the master's client (master/client/client.h) ---- */

struct master_request;
struct master_answer;

/* A copy of drawn arguments, whose text is the generator's until the next draw: `kept` points into `text`. */
void arguments_keep(const struct arguments *drawn, struct bytes *text, struct arguments *kept);
/* The same, without op id and items, pointing into `arguments`. */
void arguments_fill_request(const struct arguments *arguments, struct master_request *request);

/* A request that points into `arguments`, and a batch's operations, which are `items`. */
struct request_room;
struct request_room *request_room_new(void); /* to free() */
const struct master_request *arguments_to_request(const struct arguments *arguments, uint64_t op_id,
                                                  struct request_room *room);

/* Room for the parts of answers to list, blocks and batch; all zero is a valid empty one. */
struct answer_room {
  struct list_entry *entries;
  size_t entry_capacity;
  struct block_entry *blocks;
  size_t block_capacity;
  struct answer items[WORKLOAD_BATCH_MAX];
};
void answer_room_free(struct answer_room *room);

/* What a history records of the master's answer to `arguments`; `answer` points into `from` and into `room`.
 */
enum outcome answer_of_master(const struct arguments *arguments, const struct master_answer *from,
                              struct answer_room *room, struct answer *answer);

/* ---- The client process: `assay client` ---- */

struct client_options {
  const char *const *addresses; /* as master_client_options.addresses */
  size_t address_count;
  const char *workload;
  const char *history; /* path of the history this process writes */
  uint64_t seed;
  int64_t clients; /* logical clients of this process, one connection and one outstanding operation each */
  int64_t shard, shard_count; /* which client process this is, of how many */
  double rate;                /* operations a second of the whole process; 0: as fast as it goes */
  int64_t time_ns;            /* 0: until stopped */
  int64_t operations;         /* 0: no bound */
  int64_t operations_per_set;
  int64_t request_timeout_ns;
  bool reads_any; /* clients read at any node, each beginning with one of its own, not at the primary alone */
  struct tls_context *tls; /* as master_client_options.tls */
};

/* Runs until its time is over, its operations are done, SIGTERM comes or standard input closes; then waits
 * for what is outstanding, bounded by the request time-out. Prints one JSON object a line on standard output:
 * {"event": "ready"} once a first operation succeeded, {"event": "stats", "ok": …, "fail": …, "info": …,
 * "operations": …, "last_ok_ns": …} four times a second, {"event": "done", …} at the end; an error as
 * {"event": "error", "message": …}. Returns an exit code. The history is complete on disk when it returns. */
int client_run(const struct client_options *options);

#endif
