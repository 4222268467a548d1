/* fs.c: `assay fs`: one file-system operation on a running cluster, by hand.
 *
 * Exit codes: 0 done, 1 the operation failed and took no effect, 3 the cluster could not be reached or the
 * outcome is unknown, 64 wrong usage. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/base.h"
#include "harness/commands.h"
#include "harness/document.h"
#include "harness/fs_batch.h"
#include "harness/fs_data.h"
#include "harness/secure.h"
#include "harness/settings.h"
#include "master/client/client.h"

#define FAILED 1

/* One operation: what the flags said, and what came back. */
struct session {
  const char *name;    /* "mkdir" */
  const char *subject; /* what messages say it is about: a path, a block, a file of operations */
  const char *store;
  struct flag_list addresses;
  struct tls_files tls_files;
  bool json;
  int64_t if_version, length, worker, timeout_ns;
  const char *reads; /* --reads of what reads */
  bool reads_any;
  struct master_request request;

  uv_loop_t loop;
  struct tls_context *tls; /* NULL: without */
  struct master_client *client;
  int exit_code;
};

/* ---- What people read ---- */

const char *fs_explain(enum master_error error) {
  switch (error) {
  case MASTER_ERROR_INVALID:
    return "invalid: paths are absolute, without empty, '.' or '..' parts; '/' cannot be changed; a directory "
           "cannot move below itself; a file's length is the sum of its blocks'; a block is committed with one "
           "length";
  case MASTER_ERROR_NOT_FOUND:
    return "no such file or directory (--parents makes missing directories)";
  case MASTER_ERROR_NOT_DIRECTORY:
    return "not a directory";
  case MASTER_ERROR_IS_DIRECTORY:
    return "is a directory";
  case MASTER_ERROR_EXISTS:
    return "exists already";
  case MASTER_ERROR_NOT_EMPTY:
    return "directory not empty (--recursive removes what is in it)";
  case MASTER_ERROR_ALREADY_COMPLETED:
    return "completed already";
  case MASTER_ERROR_BLOCK_UNCOMMITTED:
    return "a block of it is not committed";
  case MASTER_ERROR_VERSION_MISMATCH:
    return "another version than --if-version";
  default:
    return master_error_name(error);
  }
}

static int exit_code_of(const struct master_answer *answer) {
  switch (answer->outcome) {
  case MASTER_OK:
    return 0;
  case MASTER_FAIL:
    return FAILED;
  case MASTER_UNCHECKED:
  case MASTER_INFO:
    break;
  }
  return EXIT_HARNESS;
}

static void complain(const struct session *session, const struct master_answer *answer) {
  fprintf(stderr, "assay fs %s: ", session->name);
  switch (answer->outcome) {
  case MASTER_OK:
    break;
  case MASTER_FAIL:
    fprintf(stderr, "%s%s%s: ", session->subject, session->request.destination ? " -> " : "",
            session->request.destination ? session->request.destination : "");
    if (session->request.operation == MASTER_BATCH)
      fprintf(stderr, "nothing was done, because of operation %zu: ", answer->at + 1);
    fprintf(stderr, "%s", fs_explain(answer->error));
    if (answer->error == MASTER_ERROR_VERSION_MISMATCH)
      fprintf(stderr, ": it has version %" PRIu64, answer->version);
    break;
  case MASTER_UNCHECKED:
    if (answer->message) {
      fprintf(stderr, "%s: nothing was done: %s", session->subject, answer->message);
      break;
    }
    fprintf(stderr,
            "nothing was done: no primary could be reached (%s); assay cluster status shows the nodes",
            master_error_name(answer->error));
    break;
  case MASTER_INFO:
    fprintf(stderr, "unknown whether it was done, or will be (%s): look with assay fs stat",
            master_error_name(answer->error));
    break;
  }
  fputc('\n', stderr);
}

static const char *kind_of(bool is_file) {
  return is_file ? "file" : "dir";
}

static json_t *entries_json(const struct master_answer *answer) {
  json_t *entries = json_array();
  for (size_t i = 0; i < answer->entry_count; i++)
    json_array_append_new(entries, json_pack("{s:s, s:s, s:I}", "name", answer->entries[i].name, "kind",
                                             kind_of(answer->entries[i].is_file), "creator",
                                             (json_int_t)answer->entries[i].creator));
  return entries;
}

static json_t *blocks_json(const struct master_answer *answer, bool places) {
  json_t *blocks = json_array();
  for (size_t i = 0; i < answer->block_entry_count; i++) {
    json_t *block = json_pack("{s:I}", "block", (json_int_t)answer->blocks[i].block);
    if (answer->blocks[i].committed)
      json_object_set_new(block, "length", json_integer((json_int_t)answer->blocks[i].length));
    if (places) {
      json_t *workers = json_array();
      for (size_t j = 0; j < answer->blocks[i].worker_count; j++) {
        const struct master_worker *worker = &answer->workers[answer->blocks[i].workers[j]];
        json_array_append_new(
            workers, json_pack("{s:I, s:s}", "worker", (json_int_t)worker->id, "address", worker->address));
      }
      json_object_set_new(block, "workers", workers);
    }
    json_array_append_new(blocks, block);
  }
  return blocks;
}

/* One object an operation, empty where it answers nothing. */
static json_t *answers_json(const struct master_request *batch, const struct master_answer *answer) {
  json_t *answers = json_array();
  for (size_t i = 0; i < batch->item_count && i < answer->number_count; i++) {
    const enum master_operation operation = batch->items[i].operation;
    json_t *object = json_object(), *number = json_integer((json_int_t)answer->numbers[i]);
    if (operation == MASTER_MKDIR || operation == MASTER_CREATE)
      json_object_set(object, "creator", number);
    if (operation == MASTER_COMPLETE || operation == MASTER_SET)
      json_object_set(object, "version", number);
    json_decref(number);
    json_array_append_new(answers, object);
  }
  return answers;
}

static void add_answer(json_t *object, const struct master_request *request,
                       const struct master_answer *answer) {
  switch (request->operation) {
  case MASTER_MKDIR:
  case MASTER_CREATE:
    json_object_set_new(object, "creator", json_integer((json_int_t)answer->creator));
    break;
  case MASTER_COMPLETE:
  case MASTER_SET:
    json_object_set_new(object, "version", json_integer((json_int_t)answer->version));
    break;
  case MASTER_STAT: {
    json_t *members =
        json_pack("{s:s, s:I, s:I, s:s, s:b, s:I, s:I, s:I}", "kind", kind_of(answer->is_file), "creator",
                  (json_int_t)answer->creator, "version", (json_int_t)answer->version, "value",
                  answer->value ? answer->value : "", "completed", answer->completed, "length",
                  (json_int_t)answer->length, "blocks", (json_int_t)answer->block_count, "children",
                  (json_int_t)answer->child_count);
    json_object_update(object, members);
    json_decref(members);
    if (answer->source && answer->source[0] != '\0')
      json_object_set_new(object, "source", json_string(answer->source));
    break;
  }
  case MASTER_LIST:
    json_object_set_new(object, "version", json_integer((json_int_t)answer->version));
    json_object_set_new(object, "entries", entries_json(answer));
    break;
  case MASTER_EXISTS:
    json_object_set_new(object, "exists", json_boolean(answer->exists));
    break;
  case MASTER_ADD_BLOCK:
    json_object_set_new(object, "block", json_integer((json_int_t)answer->block));
    break;
  case MASTER_BLOCKS:
  case MASTER_LOCATE:
    json_object_set_new(object, "blocks", blocks_json(answer, request->operation == MASTER_LOCATE));
    break;
  case MASTER_BATCH:
    json_object_set_new(object, "answers", answers_json(request, answer));
    break;
  case MASTER_DELETE:
  case MASTER_RENAME:
  case MASTER_COMMIT_BLOCK:
  case MASTER_WORKERS:
  case MASTER_MOUNT:
  case MASTER_UNMOUNT:
  case MASTER_MOUNTS:
  case MASTER_PERSISTED:
    break;
  }
}

static void print_json(const struct session *session, const struct master_answer *answer) {
  static const char *const outcomes[] = {"ok", "fail", "fail", "info"};
  json_t *object =
      json_pack("{s:s, s:s, s:s, s:I, s:I, s:I}", "operation", session->name, "path", session->subject,
                "outcome", outcomes[answer->outcome], "node", (json_int_t)answer->node, "term",
                (json_int_t)answer->term, "commit", (json_int_t)answer->commit);
  if (answer->outcome == MASTER_OK)
    add_answer(object, &session->request, answer);
  else
    json_object_set_new(object, "error", json_string(master_error_name(answer->error)));
  if (session->request.operation == MASTER_BATCH && answer->outcome == MASTER_FAIL)
    json_object_set_new(object, "at", json_integer((json_int_t)answer->at));
  document_print_line(object);
  json_decref(object);
}

static void print_stat(const char *path, const struct master_answer *answer) {
  printf("path       %s\nkind       %s\nversion    %" PRIu64 "\ncreator    %" PRIu64 "\nvalue      %s\n",
         path, kind_of(answer->is_file), answer->version, answer->creator,
         answer->value ? answer->value : "");
  if (answer->is_file)
    printf("length     %" PRIu64 "\nblocks     %" PRIu64 "\ncompleted  %s\n", answer->length,
           answer->block_count, answer->completed ? "yes" : "no");
  if (answer->source && answer->source[0] != '\0')
    printf("source     %s\n", answer->source);
  else
    printf("children   %" PRIu64 "\n", answer->child_count);
}

static void print_place(const struct master_answer *answer, const struct master_block *block) {
  printf("%20" PRIu64 " %14" PRIu64 "%s", block->block, block->length,
         block->worker_count == 0 ? " nowhere" : "");
  for (size_t i = 0; i < block->worker_count; i++) {
    const struct master_worker *worker = &answer->workers[block->workers[i]];
    printf(" %" PRIu64 "@%s", worker->id, worker->address);
  }
  putchar('\n');
}

static void print_text(const struct session *session, const struct master_answer *answer) {
  switch (session->request.operation) {
  case MASTER_STAT:
    print_stat(session->request.path, answer);
    break;
  case MASTER_EXISTS:
    printf("%s\n", answer->exists ? "true" : "false");
    break;
  case MASTER_SET:
  case MASTER_COMPLETE:
    printf("version %" PRIu64 "\n", answer->version);
    break;
  case MASTER_ADD_BLOCK:
    printf("block %" PRIu64 "\n", answer->block);
    break;
  case MASTER_BLOCKS:
    for (size_t i = 0; i < answer->block_entry_count; i++)
      if (answer->blocks[i].committed)
        printf("%20" PRIu64 " %14" PRIu64 "\n", answer->blocks[i].block, answer->blocks[i].length);
      else
        printf("%20" PRIu64 " %14s\n", answer->blocks[i].block, "uncommitted");
    break;
  case MASTER_LOCATE:
    for (size_t i = 0; i < answer->block_entry_count; i++)
      print_place(answer, &answer->blocks[i]);
    break;
  case MASTER_BATCH:
    printf("%zu operations done\n", session->request.item_count);
    break;
  default:
    break;
  }
}

/* ---- ls: the names are of one instant; what each is costs one more question and may be newer ---- */

struct listed {
  struct session *session;
  char *name;
  bool is_file;
  uint64_t creator;
  struct master_answer stat; /* value and entries not kept */
  bool asked;
};

struct listing {
  struct listed *items;
  size_t count, left;
};

static struct listing listing;

static void print_listing(const char *path) {
  const char *directory = strcmp(path, "/") == 0 ? "" : path;
  printf("%zu item%s\n", listing.count, listing.count == 1 ? "" : "s");
  for (size_t i = 0; i < listing.count; i++) {
    const struct listed *item = &listing.items[i];
    const struct master_answer *stat = &item->stat;
    char size[48] = "-";
    if (stat->outcome == MASTER_OK && stat->is_file)
      snprintf(size, sizeof size, "%" PRIu64 "%s", stat->length, stat->completed ? "" : " (open)");
    else if (stat->outcome == MASTER_OK)
      snprintf(size, sizeof size, "%" PRIu64 " in it", stat->child_count);
    printf("%c %8" PRIu64 " %14s %20" PRIu64 "  %s/%s\n", item->is_file ? '-' : 'd', stat->version, size,
           item->creator, directory, item->name);
    free(item->name);
  }
  free(listing.items);
}

static void on_child(void *context, const struct master_answer *answer) {
  struct listed *item = context;
  struct session *session = item->session;
  item->stat = *answer;
  item->stat.value = NULL;
  item->stat.entries = NULL;
  if (--listing.left > 0)
    return;
  print_listing(session->request.path);
  master_client_close(session->client, NULL, NULL);
}

static void ask_children(struct session *session) {
  const char *directory = strcmp(session->request.path, "/") == 0 ? "" : session->request.path;
  for (size_t i = 0; i < listing.count; i++) {
    char path[8200];
    snprintf(path, sizeof path, "%s/%s", directory, listing.items[i].name);
    const struct master_request request = {.operation = MASTER_STAT, .path = path};
    master_client_submit(session->client, &request, on_child, &listing.items[i]);
  }
}

/* True when the command goes on to ask about the children. */
static bool begin_listing(struct session *session, const struct master_answer *answer) {
  listing.items = xcalloc(answer->entry_count + 1, sizeof *listing.items);
  listing.count = listing.left = answer->entry_count;
  for (size_t i = 0; i < answer->entry_count; i++)
    listing.items[i] = (struct listed){.session = session,
                                       .name = xstrdup(answer->entries[i].name),
                                       .is_file = answer->entries[i].is_file,
                                       .creator = answer->entries[i].creator};
  if (listing.count == 0) {
    print_listing(session->request.path);
    return false;
  }
  ask_children(session);
  return true;
}

/* ---- Asking ---- */

static void on_answer(void *context, const struct master_answer *answer) {
  struct session *session = context;
  session->exit_code = exit_code_of(answer);
  bool more = false;
  if (session->json)
    print_json(session, answer);
  if (answer->outcome != MASTER_OK)
    complain(session, answer);
  else if (!session->json && session->request.operation == MASTER_LIST)
    more = begin_listing(session, answer);
  else if (!session->json)
    print_text(session, answer);
  if (!more)
    master_client_close(session->client, NULL, NULL);
}

static void on_reserved(void *context, uint32_t first, const struct master_answer *answer) {
  struct session *session = context;
  if (first == 0) {
    /* A client number is all that could be lost, so nothing was done whatever the outcome. */
    struct master_answer nothing = *answer;
    nothing.outcome = MASTER_UNCHECKED;
    on_answer(session, &nothing);
    return;
  }
  session->request.op_id = (uint64_t)first << 32 | 1;
  master_client_submit(session->client, &session->request, on_answer, session);
}

static int connect_session(struct session *session, struct error *error) {
  const struct fs_where where = {session->store, &session->addresses, &session->tls_files,
                                 session->timeout_ns, session->reads_any};
  return fs_connect(&session->loop, &where, &session->tls, &session->client, error);
}

static int ask(struct session *session) {
  struct error error = {0};
  if (connect_session(session, &error) != 0) {
    fprintf(stderr, "assay fs %s: %s\n", session->name, error.message);
    return EXIT_HARNESS;
  }
  if (master_operation_is_read(session->request.operation))
    master_client_submit(session->client, &session->request, on_answer, session);
  else
    master_client_reserve(session->client, 1, on_reserved, session);
  uv_run(&session->loop, UV_RUN_DEFAULT);
  uv_loop_close(&session->loop);
  tls_context_free(session->tls);
  return session->exit_code;
}

/* ---- The commands ---- */

static bool parse_block(struct session *session, const char *text) {
  char *end;
  errno = 0;
  session->request.block = strtoull(text, &end, 10);
  if (errno == 0 && *text >= '0' && *text <= '9' && *end == '\0')
    return true;
  fprintf(stderr, "assay fs %s: '%s' is no block id: assay fs add-block and assay fs blocks show them\n",
          session->name, text);
  return false;
}

static int run_batch(struct session *session) {
  struct fs_batch batch;
  struct error error;
  if (fs_batch_read(session->subject, &batch, &error) != 0) {
    fprintf(stderr, "assay fs %s: %s\n", session->name, error.message);
    return EXIT_USAGE;
  }
  session->request.items = batch.requests;
  session->request.item_count = batch.count;
  const int exit_code = ask(session);
  fs_batch_free(&batch);
  return exit_code;
}

#define MAX_OWN_FLAGS 2

/* Parses the flags that all share and those of one command, checks the number of arguments, and asks. */
static int run(struct session *session, const char *summary, const char *positional, int wanted,
               const struct flag *own, size_t own_count, int argc, char **argv) {
  struct flag flags[8 + MAX_OWN_FLAGS];
  char program[32];
  const struct flag shared[] = {
      {"store", FLAG_STRING, &session->store, "DIR", "of the cluster that assay cluster up started", 0, 0},
      {"address", FLAG_LIST, &session->addresses, "HOST:PORT", "client port of a node; once for each node", 0,
       0},
      TLS_FLAGS(&session->tls_files),
      {"timeout", FLAG_DURATION, &session->timeout_ns, "TIME", "give up after it (default 5s)", 1e6, 3600e9},
      {"json", FLAG_BOOL, &session->json, NULL, "one JSON object", 0, 0},
  };
  size_t count = 0;
  for (size_t i = 0; i < own_count; i++)
    flags[count++] = own[i];
  if (master_operation_is_read(session->request.operation))
    flags[count++] = (struct flag){
        "reads", FLAG_STRING, &session->reads, "WHERE", "ask the primary, or any node (default primary)", 0,
        0};
  for (size_t i = 0; i < ARRAY_SIZE(shared); i++)
    flags[count++] = shared[i];
  snprintf(program, sizeof program, "assay fs %s", session->name);
  const struct flag_set set = {
      .program = program, .summary = summary, .positional = positional, .flags = flags, .count = count};
  int given;
  const int code = flags_parse_or_exit_code(&set, argc, argv, &given);
  if (code >= 0)
    return code;
  if (given != wanted) {
    fprintf(stderr, "assay fs %s takes %s, not %d arguments\n", session->name, positional, given);
    return EXIT_USAGE;
  }
  struct error error;
  if (settings_choose_reads(session->reads, &session->reads_any, &error) != 0) {
    fprintf(stderr, "assay fs %s: %s\n", session->name, error.message);
    return EXIT_USAGE;
  }
  session->subject = argv[1];
  if (session->request.operation == MASTER_BATCH)
    return run_batch(session);
  if (session->request.operation == MASTER_COMMIT_BLOCK && !parse_block(session, argv[1]))
    return EXIT_USAGE;
  if (session->request.operation != MASTER_COMMIT_BLOCK)
    session->request.path = argv[1];
  if (session->request.operation == MASTER_RENAME)
    session->request.destination = argv[2];
  if (session->request.operation == MASTER_SET)
    session->request.value = argv[2];
  session->request.length = (uint64_t)session->length;
  session->request.worker = (uint64_t)session->worker;
  session->request.has_if_version = session->if_version >= 0;
  session->request.if_version = session->if_version >= 0 ? (uint64_t)session->if_version : 0;
  return ask(session);
}

static struct session session_of(const char *name, enum master_operation operation) {
  return (struct session){.name = name,
                          .store = "store",
                          .if_version = -1,
                          .reads = "primary",
                          .timeout_ns = 5 * NS_PER_S,
                          .request.operation = operation};
}

static int mkdir_command(int argc, char **argv) {
  struct session session = session_of("mkdir", MASTER_MKDIR);
  const struct flag own[] = {
      {"parents", FLAG_BOOL, &session.request.parents, NULL, "make missing directories above it too", 0, 0},
      {"exist-ok", FLAG_BOOL, &session.request.exist_ok, NULL, "a directory that exists is fine", 0, 0},
  };
  return run(&session, "Makes a directory.", "PATH", 1, own, ARRAY_SIZE(own), argc, argv);
}

static int create_command(int argc, char **argv) {
  struct session session = session_of("create", MASTER_CREATE);
  const struct flag own[] = {
      {"parents", FLAG_BOOL, &session.request.parents, NULL, "make missing directories above it too", 0, 0},
      {"overwrite", FLAG_BOOL, &session.request.overwrite, NULL, "replace a file that exists", 0, 0},
  };
  return run(&session, "Makes an empty file, open until assay fs complete.", "PATH", 1, own, ARRAY_SIZE(own),
             argc, argv);
}

static int complete_command(int argc, char **argv) {
  struct session session = session_of("complete", MASTER_COMPLETE);
  const struct flag own[] = {
      {"length", FLAG_SIZE, &session.length, "SIZE", "the file's length in bytes (default 0)", 0, 9e18}};
  return run(&session, "Completes a file.", "PATH", 1, own, ARRAY_SIZE(own), argc, argv);
}

static int add_block_command(int argc, char **argv) {
  struct session session = session_of("add-block", MASTER_ADD_BLOCK);
  return run(&session, "Adds a block to an open file, and prints its id.", "PATH", 1, NULL, 0, argc, argv);
}

static int commit_block_command(int argc, char **argv) {
  struct session session = session_of("commit-block", MASTER_COMMIT_BLOCK);
  const struct flag own[] = {
      {"length", FLAG_SIZE, &session.length, "SIZE", "the block's length in bytes (default 0)", 0, 9e18},
      {"worker", FLAG_INT, &session.worker, "ID", "of the worker that has it (default 0: not told)", 0,
       9e18}};
  return run(&session, "Commits a block with its length.", "BLOCK", 1, own, ARRAY_SIZE(own), argc, argv);
}

static int blocks_command(int argc, char **argv) {
  struct session session = session_of("blocks", MASTER_BLOCKS);
  return run(&session, "Shows the blocks of a file, ids and lengths, in order.", "PATH", 1, NULL, 0, argc,
             argv);
}

static int locate_command(int argc, char **argv) {
  struct session session = session_of("locate", MASTER_LOCATE);
  return run(&session, "Shows the blocks of a file, ids and lengths, and the live workers that have them.",
             "PATH", 1, NULL, 0, argc, argv);
}

static int batch_command(int argc, char **argv) {
  struct session session = session_of("batch", MASTER_BATCH);
  return run(
      &session,
      "Does the operations in FILE (-: standard input), all or none, in one step. One operation a line,\n"
      "as a history has it:\n"
      "  {\"f\": \"create\", \"value\": {\"path\": \"/a/f\", \"parents\": true}}\n"
      "mkdir, create, complete, delete, rename, set and commit-block may stand in a batch.",
      "FILE", 1, NULL, 0, argc, argv);
}

static int rm_command(int argc, char **argv) {
  struct session session = session_of("rm", MASTER_DELETE);
  const struct flag own[] = {
      {"recursive", FLAG_BOOL, &session.request.recursive, NULL, "a directory with all that is in it", 0, 0}};
  return run(&session, "Removes a file or a directory, in one step.", "PATH", 1, own, ARRAY_SIZE(own), argc,
             argv);
}

static int mv_command(int argc, char **argv) {
  struct session session = session_of("mv", MASTER_RENAME);
  return run(&session, "Renames a file or a directory to a path that does not exist.", "FROM TO", 2, NULL, 0,
             argc, argv);
}

static int set_command(int argc, char **argv) {
  struct session session = session_of("set", MASTER_SET);
  const struct flag own[] = {
      {"if-version", FLAG_INT, &session.if_version, "N", "only if the version is N", 0, 9e18}};
  return run(&session, "Sets the value of a file or a directory.", "PATH VALUE", 2, own, ARRAY_SIZE(own),
             argc, argv);
}

static int stat_command(int argc, char **argv) {
  struct session session = session_of("stat", MASTER_STAT);
  return run(&session, "Shows what a path is.", "PATH", 1, NULL, 0, argc, argv);
}

static int ls_command(int argc, char **argv) {
  struct session session = session_of("ls", MASTER_LIST);
  return run(&session,
             "Lists a directory: d or -, version, children or length, creator, path. The names are of one\n"
             "instant; version and size of each are asked after that.",
             "PATH", 1, NULL, 0, argc, argv);
}

static int exists_command(int argc, char **argv) {
  struct session session = session_of("exists", MASTER_EXISTS);
  return run(&session, "Prints true or false.", "PATH", 1, NULL, 0, argc, argv);
}

int fs_command(int argc, char **argv) {
  static const struct command commands[] = {
      {"mkdir", "make a directory", mkdir_command},
      {"create", "make an empty file", create_command},
      {"complete", "complete a file", complete_command},
      {"add-block", "add a block to a file", add_block_command},
      {"commit-block", "commit a block with its length", commit_block_command},
      {"blocks", "show the blocks of a file", blocks_command},
      {"batch", "do several operations, all or none", batch_command},
      {"put", "write a file from here", put_command},
      {"get", "read a file to here", get_command},
      {"cat", "print a file", cat_command},
      {"persist", "write a file below a mount into the mounted directory", persist_command},
      {"locate", "show which workers have a file's blocks", locate_command},
      {"rm", "remove a file or a directory", rm_command},
      {"mv", "rename a file or a directory", mv_command},
      {"set", "set a value, perhaps only of a certain version", set_command},
      {"stat", "show what a path is", stat_command},
      {"ls", "list a directory", ls_command},
      {"exists", "print true or false", exists_command},
  };
  return command_dispatch("assay fs", "One file-system operation on a running cluster.", commands,
                          ARRAY_SIZE(commands), argc, argv);
}
