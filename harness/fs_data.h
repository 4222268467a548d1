/* fs_data.h: what the commands of `assay fs` that move data share: they ask one thing after the other, and
 * wait. */
#ifndef ASSAY_HARNESS_FS_DATA_H
#define ASSAY_HARNESS_FS_DATA_H

#include <uv.h>

#include "base/base.h"
#include "harness/secure.h"
#include "master/client/client.h"

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

#endif
