/* namespace.h: the operations of docs/specification.md over the tables.
 *
 * A mutation is evaluated against the committed tables seen through the overlay of what is not committed yet;
 * its checks run in the order of the specification, and only then does it change rows, in the overlay's open
 * batch. A read sees committed tables alone.
 *
 * At most once: the first answer of every operation id, errors included, is a row of the same batch as its
 * effects. A repeat gets that answer. A client says with every operation which of its ids it may still
 * repeat; older answers are forgotten, and a repeat of those is refused, never done again. Clients that were
 * not heard of for long are forgotten whole (expiry), and their numbers are refused from then on.
 *
 * Deleting a subtree takes one step, whatever its size: its root loses its name and is noted as detached; so
 * does a file with blocks. What hung below it is reclaimed afterwards, some rows at a time
 * (namespace_reclaim). A block belongs to nobody from the moment its file, or a directory above it, was
 * detached: whoever has its id only goes up from the file to see whether the root is there.
 *
 * Directories of the under-store come in when something below one is looked at first. Until all its names are
 * there such a directory is unloaded: what would have to look at it ends with `unloaded` set, changes
 * nothing, and is done again when the names have been loaded (namespace_load). What a mount shows is as if
 * all of it had been made in one batch, the mount itself, and creators and versions say so.
 *
 * A batch is evaluated item by item over what the items before it changed; when one fails, all changes are
 * taken back out of the open batch before anything else is evaluated. */
#ifndef ASSAY_MASTER_NAMESPACE_H
#define ASSAY_MASTER_NAMESPACE_H

#include "master/operation.h"
#include "master/overlay.h"
#include "master/tables.h"
#include "master/under_store.h"

#define VALUE_SIZE_LIMIT (1u << 20)    /* bytes of an inode's value: a batch must fit into one entry */
#define RETRY_WINDOW 4096              /* answers kept of one client, at most */
#define RESERVE_LIMIT 4096             /* client numbers of one reservation, at most */
#define CLIENT_IDLE_LIMIT_S (60 * 60)  /* by counters.clock_ns */
#define BATCH_EFFECTS_LIMIT (2u << 20) /* bytes of rows that one batch changes: more is overloaded */

/* What defects of docs/bugs.md have to remember; unused where there are none. */
struct namespace_defects {
  bool trying;                /* what is evaluated may be taken back: no operation is in parts then */
  bool renaming;              /* rename-cycle: a rename looks for its destination */
  void (*cut)(void *context); /* partial-batch: what follows goes into another entry */
  void *cut_context;
  uint64_t freed_by; /* rename-early-free: op id of the rename under way, 0: none; */
  uint64_t freed_in; /* … the directory its source was in, */
  struct edge_record freed_edge;
};

/* An unloaded directory that was in the way. */
struct unloaded {
  uint64_t inode;      /* 0: none was */
  struct slice path;   /* in the request's own bytes */
  struct bytes source; /* its path in the under-store */
};

struct namespace {
  struct tables *tables;
  struct overlay *overlay;
  struct counters counters; /* with everything uncommitted */
  int64_t wall_ns;          /* what inodes changed now get as mtime */
  struct bytes scratch;
  uint64_t reclaim_inode;                /* the directory being emptied, */
  struct row_key reclaim_at;             /* … and its last edge that went */
  uint32_t expire_next;                  /* client number to look at next */
  struct unloaded unloaded;              /* set by namespace_evaluate() */
  const struct under_store *under_store; /* asked what may be mounted; NULL: nothing may */
  struct bytes source;                   /* a path being built */
  struct namespace_defects defects;
};

void namespace_init(struct namespace *space, struct tables *tables, struct overlay *overlay);
/* Back to the committed state; the overlay is cleared. */
void namespace_reset(struct namespace *space);
void namespace_free(struct namespace *space);

struct outcome {
  enum answer_status status;
  uint64_t creator, version;
  uint32_t first_client;
  uint64_t block;
  uint32_t at;       /* the item at which a batch failed */
  uint64_t *numbers; /* of a batch: room for one an item, the caller's; see struct answer */
  size_t number_count;
  const char *message; /* as in struct answer */
  bool detached;       /* a subtree is left for namespace_reclaim() */
  bool stateless;      /* holds whatever the state is: needs no commit */
  bool repeated;       /* the first answer of an operation done before */
  bool unfinished;     /* only with a defect: there is more of it to come, in entries of their own */
};

/* Evaluates a mutation. Its effects, if any, are in the overlay's open batch. Not to be believed when the
 * tables have failed. When `unloaded` names a directory afterwards nothing has changed, and the outcome says
 * nothing: the directory has to be loaded first. In a try of the tables that misses something nothing has
 * changed afterwards, and the outcome says nothing. Of `outcome` only the room for numbers is looked at. */
void namespace_evaluate(struct namespace *space, const struct request *request, struct outcome *outcome);

/* The defect rename-early-free: nobody finds the source of this rename any more, although its entry is still
 * to be made. False when there is nothing to free. */
bool namespace_free_early(struct namespace *space, const struct request *request);

struct cached_listing;

/* Entries of a listing, blocks of a file, what is told of workers; all zero is a valid empty one. */
struct listing {
  struct answer_entry *entries;
  size_t count, capacity;
  struct bytes names; /* one behind the other */
  struct answer_block *blocks;
  size_t block_count, block_capacity;
  uint64_t gone[REPORT_LIMIT];
  struct answer_worker *workers;
  size_t worker_count, worker_capacity;
  struct answer_place *places;
  size_t place_count, place_capacity;
  struct answer_mount *mounts;
  size_t mount_capacity;
  struct unloaded unloaded;     /* was in the way: then the answer says nothing */
  struct cached_listing *cache; /* only with a defect */
};
void listing_free(struct listing *listing);

/* Answers a read from committed tables; not to be believed when that was in a try that missed something.
 * `answer` points into the tables and into `listing`: valid until the
 * tables change or the listing is used again. */
void namespace_read(struct tables *tables, const struct request *request, struct answer *answer,
                    struct listing *listing);
/* The defect dirty-reads: answers from what is not committed too; false when that makes no difference. */
bool namespace_read_uncommitted(const struct namespace *space, const struct request *request,
                                struct answer *answer, struct listing *listing);

/* Puts names of an unloaded directory into the open batch, as many of them as a batch should take at once,
 * and `taken` tells how many; names that are there already are passed over, and those that are no names of
 * the namespace counted in `left_out`. False, and nothing changes, when the directory need not be loaded any
 * more: it is, or it is gone. In a try of the tables that misses something nothing changes. */
bool namespace_load(struct namespace *space, uint64_t directory, const struct under_store_entry *entries,
                    size_t count, size_t *taken, size_t *left_out);
/* All names are there. `path`: where the directory was when it was asked for. As above. */
bool namespace_load_end(struct namespace *space, uint64_t directory, struct slice path);

/* Puts the next step of reclaiming detached subtrees into the open batch. It looks at committed tables only,
 * so the step before must have been committed. False when there was nothing to do. In a try of the tables
 * that misses something it does what can be done without that. */
bool namespace_reclaim(struct namespace *space);

/* Looks at some clients and forgets those that have been idle too long. In a try of the tables that misses
 * something it goes on from there the next time. */
void namespace_expire(struct namespace *space);

#endif
