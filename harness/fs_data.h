/* fs_data.h: what the commands of `assay fs` that move data share: they ask one thing after the other, and
 * wait. */
#ifndef ASSAY_HARNESS_FS_DATA_H
#define ASSAY_HARNESS_FS_DATA_H

#include <uv.h>

#include "base/base.h"
#include "harness/secure.h"
#include "master/client/client.h"
#include "master/client/data.h"

int put_command(int argc, char **argv);
int get_command(int argc, char **argv);
int cat_command(int argc, char **argv);
int persist_command(int argc, char **argv);

struct fs_data;
/* fs_get.c: writes a whole file to a descriptor. An exit code; what is wrong is printed. */
int fs_read_file(struct fs_data *data, const char *path, int target);

/* fs.c: what an error means, for people. */
const char *fs_explain(enum master_error error);

/* Which cluster: the one at `addresses`, or, when there are none, that which assay cluster up put into
 * `store`. */
struct fs_where {
  const char *store;
  const struct flag_list *addresses;
  const struct tls_files *tls_files;
  int64_t timeout_ns;
  bool any_node; /* only reads are asked, at any node */
};

/* A client of it. The loop is initialised. *tls, NULL when it has no TLS, is to be freed after the client. */
int fs_connect(uv_loop_t *loop, const struct fs_where *where, struct tls_context **tls,
               struct master_client **client, struct error *error);

struct fs_data {
  const char *program; /* "assay fs put" */
  const char *store;
  struct flag_list addresses;
  struct tls_files tls_files;
  int64_t timeout_ns; /* of one request, and of looking for a worker */
  uv_loop_t loop;
  struct tls_context *tls; /* NULL: without */
  struct master_client *client;
  uint64_t next_op; /* 0: no client number yet */
};

/* The flags that all share; `count` of them. */
#define FS_DATA_FLAGS 6
void fs_data_flags(struct fs_data *data, struct flag flags[FS_DATA_FLAGS]);

/* Reads a command line that has `wanted` arguments, those of set->positional. An exit code, or -1 to go on.
 */
int fs_data_parse(const struct flag_set *set, int wanted, int argc, char **argv);

/* Connects; with `mutates` also reserves a client number. An exit code, 0 to go on; what is wrong is printed.
 */
int fs_data_open(struct fs_data *data, bool mutates);
void fs_data_close(struct fs_data *data);

/* Asks and waits. `keep` (may be NULL) sees the answer; what is returned has no pointers. Mutations get an op
 * id. */
struct master_answer fs_data_ask(struct fs_data *data, struct master_request request,
                                 master_answer_callback *keep, void *context);

/* Prints why it is not done; the exit code that says so. `path`: what it is about. */
int fs_data_failed(const struct fs_data *data, const char *path, const struct master_answer *answer);

/* Lets the loop run for so long. */
void fs_data_pause(struct fs_data *data, int64_t ns);

/* Between two rounds of looking for a worker. */
#define FS_DATA_PAUSE_NS (200 * NS_PER_MS)

/* How a worker at that address is spoken to. */
struct data_target fs_data_target(struct fs_data *data, const char *address);

enum attempt {
  ATTEMPT_DONE,
  ATTEMPT_FAILED,
  ATTEMPT_REFUSED, /* this worker will not, however often it is asked */
  ATTEMPT_USELESS, /* no worker can help */
};
/* Tries one live worker after the other, and all of them again after a while, until it is done, is useless,
 * all refuse, or data->timeout_ns have passed. `failure` is set when none lives. */
bool fs_data_try_workers(struct fs_data *data, char failure[600],
                         enum attempt (*attempt)(void *context, const char *address), void *context);

/* Keeps where the under-store has a file: *context is a char *, NULL when it has not; freed before. */
void fs_data_keep_source(void *context, const struct master_answer *answer);

#endif
