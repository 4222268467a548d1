/* admin_backup.c: `assay admin journal checkpoint`, `assay admin backup`, `assay admin restore`.
 *
 * A backup is read from one node in pieces, several of them asked for ahead; each file is checked against the
 * node's checksum, and the manifest is written when all of it is on the disk. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/admin.h"
#include "harness/document.h"

#define PIECES_AHEAD 8
/* Taking a snapshot of a large state, or a piece from a slow disk. */
#define PATIENCE_NS (600 * NS_PER_S)

/* ---- journal checkpoint ---- */

static void keep_index(void *context, const struct admin_answer *answer) {
  *(uint64_t *)context = answer->backup.index;
}

/* The node of --node, or the only one, or the primary. */
static bool choose_node(struct admin *admin, size_t *which) {
  if (admin->node != 0)
    return admin_find_node(admin, which);
  for (size_t i = 0; i < admin->count; i++)
    if (admin_ask_status(admin, i) && (admin->status.role == NODE_PRIMARY || admin->count == 1)) {
      *which = i;
      return true;
    }
  admin_complain(admin, "no node is primary: name one with --node (assay admin report lists them)");
  return false;
}

static int checkpoint(struct admin *admin) {
  size_t which;
  uint64_t index = 0;
  if (!choose_node(admin, &which))
    return EXIT_HARNESS;
  admin->take = keep_index;
  admin->take_context = &index;
  const struct admin_request request = {.kind = ADMIN_CHECKPOINT};
  if (admin_ask_patiently(admin, which, &request, PATIENCE_NS))
    printf("snapshot at index %" PRIu64 "\n", index);
  else
    admin_complain(admin, "%s: %s", admin->names[which], (const char *)admin->message.data);
  return admin_exit_code(admin);
}

int admin_checkpoint_command(int argc, char **argv) {
  struct admin admin = ADMIN_INIT("assay admin journal checkpoint");
  const struct flag flags[] = {
      ADMIN_FLAGS(&admin),
      {"node", FLAG_INT, &admin.node, "N", "the number of the node (default: the primary)", 1, 9e15},
  };
  const struct flag_set set = {
      .program = admin.program,
      .summary = "Takes a snapshot on one node, so that its state is on the disk, and cuts\n"
                 "its log behind it.",
      .flags = flags,
      .count = ARRAY_SIZE(flags)};
  return admin_run(&admin, &set, argc, argv, checkpoint);
}

/* ---- backup ---- */

struct place {
  size_t file;
  uint64_t offset;
};

struct copy {
  struct admin *admin;
  size_t which;
  const char *directory;
  struct backup backup;    /* its files are own copies */
  struct place asked, due; /* what comes next */
  size_t outstanding;
  int fd; /* of the file that is due; -1: none */
  uint64_t checksum, bytes;
  bool failed;
  struct error error;
};

static void keep_backup(void *context, const struct admin_answer *answer) {
  struct copy *copy = context;
  copy->backup = answer->backup;
  struct backup_file *files = xcalloc(answer->backup.file_count + 1, sizeof *files);
  for (size_t i = 0; i < answer->backup.file_count; i++) {
    files[i] = answer->backup.files[i];
    files[i].name = xstrdup(answer->backup.files[i].name);
  }
  copy->backup.files = files;
}

static void free_backup(struct copy *copy) {
  for (size_t i = 0; i < copy->backup.file_count; i++)
    free((char *)(uintptr_t)copy->backup.files[i].name);
  free((struct backup_file *)(uintptr_t)copy->backup.files);
}

static void fail_errno(struct copy *copy, const char *what) {
  copy->failed = true;
  error_set_errno(&copy->error, ERR_IO, "cannot %s %s/%s", what, copy->directory,
                  copy->backup.files[copy->due.file].name);
}

static void open_due(struct copy *copy) {
  const char *name = copy->backup.files[copy->due.file].name;
  if (name[0] == '\0' || name[0] == '.' || strchr(name, '/')) {
    copy->failed = true;
    error_set(&copy->error, ERR_CORRUPT, "the node named a file that has no proper name");
    return;
  }
  char *path = path_join(copy->directory, name);
  copy->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  free(path);
  copy->checksum = 0;
  if (copy->fd < 0)
    fail_errno(copy, "create");
}

/* The file that is due is whole: on the disk and as the node said, or the copy has failed. */
static void end_due(struct copy *copy) {
  if (fsync(copy->fd) != 0)
    fail_errno(copy, "sync");
  close(copy->fd);
  copy->fd = -1;
  if (!copy->failed && copy->checksum != copy->backup.files[copy->due.file].checksum) {
    copy->failed = true;
    error_set(&copy->error, ERR_CORRUPT, "%s came with a wrong checksum: is the node's disk sound?",
              copy->backup.files[copy->due.file].name);
  }
  copy->due = (struct place){.file = copy->due.file + 1};
}

/* Goes over empty files, too, to one that waits for a piece. */
static void step_files(struct copy *copy) {
  while (!copy->failed && copy->due.file < copy->backup.file_count) {
    if (copy->fd < 0)
      open_due(copy);
    else if (copy->due.offset == copy->backup.files[copy->due.file].size)
      end_due(copy);
    else
      return;
  }
}

static void take_piece(struct copy *copy, const void *data, size_t size) {
  const uint64_t left = copy->backup.files[copy->due.file].size - copy->due.offset;
  if (size != (left < copy->backup.chunk ? left : copy->backup.chunk)) {
    copy->failed = true;
    error_set(&copy->error, ERR_CORRUPT, "a piece of the wrong size came");
    return;
  }
  if (pwrite(copy->fd, data, size, (off_t)copy->due.offset) != (ssize_t)size) {
    fail_errno(copy, "write");
    return;
  }
  copy->checksum = checksum_fold(copy->checksum, data, size);
  copy->due.offset += size;
  copy->bytes += size;
  step_files(copy);
}

/* Answers come in the order of questions: one connection, and the node answers each at once. */
static void on_piece(void *context, const struct admin_answer *answer) {
  struct copy *copy = context;
  copy->outstanding--;
  if (copy->failed)
    return;
  if (answer->status == ADMIN_DONE) {
    take_piece(copy, answer->data, answer->size);
    return;
  }
  copy->failed = true;
  error_set(&copy->error, ERR_UNAVAILABLE, "%s", answer->message);
}

static bool ask_more(struct copy *copy) {
  struct place *asked = &copy->asked;
  while (asked->file < copy->backup.file_count && asked->offset >= copy->backup.files[asked->file].size)
    *asked = (struct place){.file = asked->file + 1};
  if (asked->file == copy->backup.file_count)
    return false;
  const struct admin_request request = {
      .kind = ADMIN_BACKUP_READ, .file = (uint32_t)asked->file, .offset = asked->offset};
  master_client_admin(copy->admin->client, copy->which, &request, PATIENCE_NS, on_piece, copy);
  copy->outstanding++;
  asked->offset += copy->backup.chunk;
  return true;
}

static void copy_files(struct copy *copy) {
  if (copy->backup.chunk == 0 || copy->backup.file_count == 0) {
    copy->failed = true;
    error_set(&copy->error, ERR_CORRUPT, "the node offered an empty backup");
    return;
  }
  step_files(copy);
  for (;;) {
    while (!copy->failed && copy->outstanding < PIECES_AHEAD && ask_more(copy))
      ;
    if (copy->outstanding == 0)
      break;
    uv_run(&copy->admin->loop, UV_RUN_ONCE);
  }
  if (copy->fd >= 0)
    close(copy->fd);
}

static int write_manifest(struct copy *copy) {
  struct bytes text = {0};
  master_backup_manifest(&text, &copy->backup);
  char *path = path_join(copy->directory, MASTER_BACKUP_MANIFEST);
  int status = directory_sync(copy->directory, &copy->error);
  if (status == 0)
    status = file_replace(path, text.data, text.size, &copy->error);
  free(path);
  bytes_free(&text);
  return status;
}

/* The directory must be new: nothing that is there already is ever touched. */
static bool make_directory(struct admin *admin, const char *path) {
  if (mkdir(path, 0755) == 0)
    return true;
  admin_complain(
      admin, errno == EEXIST ? "%s exists already: give a directory that does not" : "cannot make %s", path);
  return false;
}

static void print_result(const struct copy *copy, bool json) {
  char bytes[COUNT_TEXT_SIZE];
  if (!json) {
    printf("%s: cluster %" PRIu64 " at index %" PRIu64 ", %zu files, %s bytes\n", copy->directory,
           copy->backup.cluster, copy->backup.index, copy->backup.file_count,
           count_text((int64_t)copy->bytes, bytes));
    return;
  }
  json_t *object = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}", "directory", copy->directory, "cluster",
                             (json_int_t)copy->backup.cluster, "index", (json_int_t)copy->backup.index,
                             "term", (json_int_t)copy->backup.term, "files",
                             (json_int_t)copy->backup.file_count, "bytes", (json_int_t)copy->bytes);
  document_print_line(object);
  json_decref(object);
}

static int backup(struct admin *admin, const char *directory) {
  struct copy copy = {.admin = admin, .directory = directory, .fd = -1};
  if (!choose_node(admin, &copy.which))
    return EXIT_HARNESS;
  if (!make_directory(admin, directory))
    return EXIT_HARNESS;
  admin->take = keep_backup;
  admin->take_context = &copy;
  const struct admin_request begin = {.kind = ADMIN_BACKUP_BEGIN}, end = {.kind = ADMIN_BACKUP_END};
  if (!admin_ask_patiently(admin, copy.which, &begin, PATIENCE_NS)) {
    copy.failed = true;
    error_set(&copy.error, ERR_UNAVAILABLE, "%s", (const char *)admin->message.data);
  }
  admin->take = NULL;
  if (!copy.failed)
    copy_files(&copy);
  if (!copy.failed)
    copy.failed = write_manifest(&copy) != 0;
  if (copy.failed) {
    admin_complain(admin, "%s: %s; nothing is kept of this backup", admin->names[copy.which],
                   copy.error.message);
    if (directory_remove(directory, &copy.error) != 0)
      admin_complain(admin, "%s", copy.error.message);
  } else {
    admin_ask(admin, copy.which, &end);
    print_result(&copy, admin->json);
  }
  free_backup(&copy);
  return copy.failed ? EXIT_HARNESS : 0;
}

int admin_backup_command(int argc, char **argv) {
  struct admin admin = ADMIN_INIT("assay admin backup");
  const struct flag flags[] = {
      ADMIN_FLAGS(&admin),
      {"node", FLAG_INT, &admin.node, "N", "the number of the node to read (default: the primary)", 1, 9e15},
      {"json", FLAG_BOOL, &admin.json, NULL, "one JSON object", 0, 0},
  };
  const struct flag_set set = {
      .program = admin.program,
      .summary =
          "Copies the whole state of a cluster, as it is on one node at one moment, into a new directory.\n"
          "The node goes on meanwhile. assay admin restore makes a cluster of it.",
      .positional = "DIRECTORY",
      .flags = flags,
      .count = ARRAY_SIZE(flags)};
  int positional;
  const int code = flags_parse_or_exit_code(&set, argc, argv, &positional);
  if (code >= 0)
    return code;
  if (positional != 1) {
    admin_complain(&admin, "takes one directory, which must not exist yet");
    return EXIT_USAGE;
  }
  char *directory = path_absolute(argv[1]);
  int exit_code = EXIT_HARNESS;
  if (admin_open(&admin)) {
    exit_code = backup(&admin, directory);
    admin_close(&admin);
  }
  free(directory);
  return exit_code;
}

/* ---- restore: the master's own work, since it knows its data ---- */

static void print_restore_help(void) {
  printf(
      "usage: assay admin restore DIRECTORY --id N --data DIR --cluster-id N --member ID=HOST:PEER:CLIENT ...\n\n"
      "Makes the data directory of one node from a backup (assay admin backup), without any running master. The\n"
      "flags are those that this node will be started with (assay-master --help). Do it for every node, with the\n"
      "same backup and the same members, before one of them is started. The data directory must not exist, or\n"
      "be empty. --cluster-id must be a new one; with --same-cluster, it may be that of the backup: no node of\n"
      "the old cluster may ever run again then.\n");
}

int admin_exec_master(const char *program_name, const char *first_flag, int argc, char **argv) {
  char *beside = program_directory();
  char *program = beside ? path_join(beside, "assay-master") : NULL;
  char name[] = "assay-master";
  char **arguments = xcalloc((size_t)argc + 3, sizeof(char *));
  size_t count = 0;
  arguments[count++] = name;
  arguments[count++] = (char *)(uintptr_t)first_flag;
  for (int i = 1; i < argc; i++)
    arguments[count++] = argv[i];
  execv(program ? program : name, arguments);
  fprintf(stderr, "%s: cannot start %s: %s\n", program_name, program ? program : name, strerror(errno));
  free(arguments);
  free(program);
  free(beside);
  return EXIT_HARNESS;
}

int admin_restore_command(int argc, char **argv) {
  if (argc < 2 || strcmp(argv[1], "--help") == 0) {
    print_restore_help();
    return argc < 2 ? EXIT_USAGE : 0;
  }
  if (argv[1][0] == '-') {
    fprintf(stderr,
            "assay admin restore: give the directory of the backup first (assay admin restore --help)\n");
    return EXIT_USAGE;
  }
  return admin_exec_master("assay admin restore", "--restore", argc, argv);
}
