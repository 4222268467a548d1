/* namespace_internal.h: what the files of the namespace share. */
#ifndef ASSAY_MASTER_NAMESPACE_INTERNAL_H
#define ASSAY_MASTER_NAMESPACE_INTERNAL_H

#include "master/namespace.h"

/* -- rows through the overlay: namespace.c -- */
bool namespace_get(struct namespace *space, enum table table, const struct row_key *key, struct slice *value);
void namespace_put_scratch(struct namespace *space, enum table table, const struct row_key *key,
                           enum row_change change);
void namespace_delete(struct namespace *space, enum table table, const struct row_key *key);
/* Marks the tables failed because of a row that no encoder made, or that must be there and is not. */
void namespace_corrupt(struct tables *tables, const char *what);
/* What was read may not be what is there: nothing that is done now will stay. */
static inline bool namespace_is_lost(const struct namespace *space) {
  return tables_failed(space->tables) || tables_missed(space->tables) > 0 || space->unloaded.inode != 0;
}

/* -- steps that are taken back when they miss something: namespace.c -- */
struct namespace_mark {
  struct counters counters;
  struct namespace_defects defects;
  size_t missed;
};
void namespace_begin(struct namespace *space, struct namespace_mark *mark);
/* False when something was missed since namespace_begin, or an unloaded directory was met: then all is as it
 * was there. */
bool namespace_end(struct namespace *space, const struct namespace_mark *mark);

/* -- inodes and paths: namespace.c -- */

/* Where a path leads: the directory that holds its last component, and what is there. */
struct place {
  uint64_t parent;          /* the deepest directory that exists */
  struct slice name;        /* the last component; empty: the path is "/" */
  struct slice missing;     /* the path from the first missing directory on; empty: none is missing */
  bool found;               /* something is at the path */
  struct edge_record child; /* … this */
};

/* … all but the last component, which may be missing; and with `parents` more than that. */
enum answer_status namespace_resolve_parent(struct namespace *space, struct slice path, bool parents,
                                            struct place *place);
enum answer_status namespace_resolve(struct namespace *space, struct slice path, struct place *place);
/* The same for an operation on files: a directory is an error. */
enum answer_status namespace_resolve_file(struct namespace *space, struct slice path, struct place *place);
/* An inode that an edge names. `value` points into the row. */
void namespace_load_inode(struct namespace *space, uint64_t inode, struct inode_record *record);
void namespace_put_inode(struct namespace *space, uint64_t inode, const struct inode_record *record,
                         enum row_change change);
void namespace_put_edge(struct namespace *space, uint64_t parent, struct slice name,
                        const struct edge_record *edge);
void namespace_delete_inode(struct namespace *space, uint64_t inode);
/* One more change of a loaded inode. */
void namespace_bump(const struct namespace *space, struct inode_record *record);
/* Makes an inode under the place, and the missing directories on the way to it. */
void namespace_make(struct namespace *space, const struct place *place, bool is_file, uint64_t op_id,
                    bool replaces);
/* Takes away an edge; one change of a directory, which has so many more children; leaves an inode without a
 * name to namespace_reclaim(). */
void namespace_delete_edge(struct namespace *space, uint64_t parent, struct slice name);
void namespace_change_directory(struct namespace *space, uint64_t directory, int children);
void namespace_detach(struct namespace *space, uint64_t inode, struct inode_record *record);
/* Whether the directory must be loaded before it is looked at; `unloaded` says so then. */
bool namespace_is_unloaded(struct namespace *space, const struct edge_record *edge, struct slice path);
/* Errors in the arguments that no state can change. */
bool namespace_malformed(const struct request *request);
/* One mutation with arguments that are not malformed, without a look at whether it is a repeat. */
enum answer_status namespace_mutate(struct namespace *space, const struct request *request,
                                    struct outcome *outcome);

/* -- blocks: namespace_blocks.c -- */
enum answer_status namespace_add_block(struct namespace *space, const struct request *request,
                                       struct outcome *outcome);
enum answer_status namespace_commit_block(struct namespace *space, const struct request *request);
/* Takes away up to `*left` blocks of a file that nobody can name, and counts them off. True when none is
 * left. */
bool namespace_drop_blocks(struct namespace *space, uint64_t inode, size_t *left);

/* Whether the root is above. An inode on the way that is gone was reclaimed already: what is detached goes
 * from its top downwards. */
bool namespace_is_attached(struct namespace *space, uint64_t parent);

/* -- workers: namespace_workers.c -- */
void namespace_register_worker(struct namespace *space, const struct request *request,
                               struct outcome *outcome);
/* Which of the blocks held do not exist. */
void namespace_read_report(struct tables *tables, const struct request *request, struct answer *answer,
                           struct listing *listing);
/* All that are registered, as the tables have them. */
void namespace_read_workers(struct tables *tables, struct answer *answer, struct listing *listing);

/* -- mounts: namespace_mounts.c -- */
void unloaded_set(struct unloaded *unloaded, uint64_t inode, struct slice path, struct slice source);
enum answer_status namespace_mount(struct namespace *space, const struct request *request,
                                   struct outcome *outcome);
enum answer_status namespace_unmount(struct namespace *space, const struct request *request,
                                     struct outcome *outcome);
enum answer_status namespace_persisted(struct namespace *space, const struct request *request);
/* Whether a mount is at the path or below it. */
bool namespace_holds_mount(struct namespace *space, struct slice path);
/* Whether both paths lie below the same mount, or below none. */
bool namespace_same_mount(struct namespace *space, struct slice a, struct slice b);

/* -- batches: namespace_batch.c -- */
enum answer_status namespace_batch(struct namespace *space, const struct request *request,
                                   struct outcome *outcome);

/* -- at most once: retries.c -- */

/* Which member of the answer is recorded, the one that operation has; NULL when it has none. */
uint64_t *outcome_number(enum operation_code code, struct outcome *outcome);

enum retry_verdict { RETRY_NEW, RETRY_REPEATED, RETRY_REFUSED };

struct retry {
  uint32_t client, sequence;
  bool known; /* the client has a row */
  struct client_record record;
};

/* Is the operation new? REPEATED fills `outcome` with the first answer. */
enum retry_verdict retry_check(struct namespace *space, const struct request *request, struct retry *retry,
                               struct outcome *outcome);
/* Notes the answer of a new operation, and forgets those that the client will not ask for again. */
void retry_record(struct namespace *space, const struct request *request, const struct retry *retry,
                  const struct outcome *outcome);
/* Allocates client numbers and introduces them. */
void clients_reserve(struct namespace *space, uint32_t count, struct outcome *outcome);

#endif
