/* admin_mount.c: `assay admin mount`, `unmount` and `mounts`: directories of an under-store in the namespace.
 *
 * Unlike the rest of `assay admin` these are operations of the cluster, not of a node: they go to whoever is
 * primary, are journalled, and happen once. */
#include <inttypes.h>
#include <stdio.h>

#include "harness/admin.h"
#include "harness/document.h"

#define FAILED 1

struct asked {
  struct admin *admin;
  struct master_request request;
  int exit_code;
};

static void print_mounts(const struct admin *admin, const struct master_answer *answer) {
  json_t *mounts = json_array();
  for (size_t i = 0; i < answer->mount_count; i++) {
    const struct master_mount *mount = &answer->mounts[i];
    if (admin->json)
      json_array_append_new(mounts, json_pack("{s:s, s:s, s:I}", "path", mount->path, "directory",
                                              mount->directory, "creator", (json_int_t)mount->creator));
    else
      printf("%-30s %s\n", mount->path, mount->directory);
  }
  if (admin->json) {
    json_t *object = json_pack("{s:O}", "mounts", mounts);
    document_print_line(object);
    json_decref(object);
  }
  json_decref(mounts);
}

static const char *explain(const struct master_request *request, const struct master_answer *answer) {
  if (answer->message)
    return answer->message;
  switch (answer->error) {
  case MASTER_ERROR_INVALID:
    return "both are absolute paths other than /, without empty, '.' or '..' parts and without a slash at their "
           "end";
  case MASTER_ERROR_NOT_FOUND:
    return request->operation == MASTER_MOUNT ? "the directory above it does not exist (assay fs mkdir)"
                                              : "nothing is mounted there (assay admin mounts)";
  case MASTER_ERROR_NOT_DIRECTORY:
    return "a file is in the way";
  case MASTER_ERROR_EXISTS:
    return "it exists already: a mount makes its own directory";
  default:
    return master_error_name(answer->error);
  }
}

static void on_answer(void *context, const struct master_answer *answer) {
  struct asked *asked = context;
  struct admin *admin = asked->admin;
  const char *path = asked->request.path ? asked->request.path : "";
  switch (answer->outcome) {
  case MASTER_OK:
    asked->exit_code = 0;
    if (asked->request.operation == MASTER_MOUNTS)
      print_mounts(admin, answer);
    break;
  case MASTER_FAIL:
    asked->exit_code = FAILED;
    admin_complain(admin, "%s: %s", path, explain(&asked->request, answer));
    break;
  case MASTER_UNCHECKED:
    asked->exit_code = EXIT_HARNESS;
    admin_complain(admin, "nothing was done: %s",
                   answer->message ? answer->message : "no primary could be reached (assay admin report)");
    break;
  case MASTER_INFO:
    asked->exit_code = EXIT_HARNESS;
    admin_complain(admin, "unknown whether it was done, or will be (%s): look with assay admin mounts",
                   master_error_name(answer->error));
    break;
  }
  admin->answered = true;
}

static void on_reserved(void *context, uint32_t first, const struct master_answer *answer) {
  struct asked *asked = context;
  if (first == 0) {
    struct master_answer nothing = *answer;
    nothing.outcome = MASTER_UNCHECKED; /* a client number is all that could be lost */
    on_answer(asked, &nothing);
    return;
  }
  asked->request.op_id = (uint64_t)first << 32 | 1;
  master_client_submit(asked->admin->client, &asked->request, on_answer, asked);
}

static int ask(struct admin *admin, const struct master_request *request) {
  struct asked asked = {.admin = admin, .request = *request};
  admin->whole = true;
  if (!admin_open(admin))
    return EXIT_HARNESS;
  admin->answered = false;
  if (request->operation == MASTER_MOUNTS)
    master_client_submit(admin->client, request, on_answer, &asked);
  else
    master_client_reserve(admin->client, 1, on_reserved, &asked);
  while (!admin->answered)
    uv_run(&admin->loop, UV_RUN_ONCE);
  admin_close(admin);
  return asked.exit_code;
}

/* A command that takes `wanted` arguments, and flags that all share. */
static int run(struct admin *admin, enum master_operation operation, const char *summary,
               const char *positional, int wanted, int argc, char **argv) {
  const struct flag flags[] = {
      ADMIN_FLAGS(admin),
      {"json", FLAG_BOOL, &admin->json, NULL, "one JSON object", 0, 0},
  };
  const struct flag_set set = {.program = admin->program,
                               .summary = summary,
                               .positional = wanted > 0 ? positional : NULL,
                               .flags = flags,
                               .count = ARRAY_SIZE(flags) - (operation != MASTER_MOUNTS)};
  int given;
  admin->timeout_ns = 5 * NS_PER_S;
  const int code = flags_parse_or_exit_code(&set, argc, argv, &given);
  if (code >= 0)
    return code;
  if (given != wanted) {
    admin_complain(admin, "takes %s, not %d arguments", positional, given);
    return EXIT_USAGE;
  }
  return ask(admin, &(struct master_request){.operation = operation,
                                             .path = wanted > 0 ? argv[1] : NULL,
                                             .destination = wanted > 1 ? argv[2] : NULL});
}

int admin_mount_command(int argc, char **argv) {
  struct admin admin = ADMIN_INIT("assay admin mount");
  return run(
      &admin, MASTER_MOUNT,
      "Shows the directory DIR of the masters' machines as the directory PATH of the namespace. Its names "
      "are read\nwhen somebody first needs them. DIR must lie in one of the masters' --mount-root.",
      "PATH DIR", 2, argc, argv);
}

int admin_unmount_command(int argc, char **argv) {
  struct admin admin = ADMIN_INIT("assay admin unmount");
  return run(
      &admin, MASTER_UNMOUNT,
      "Takes the mount at PATH out of the namespace with everything below it, in one step. The directory "
      "that\nwas mounted stays as it is.",
      "PATH", 1, argc, argv);
}

int admin_mounts_command(int argc, char **argv) {
  struct admin admin = ADMIN_INIT("assay admin mounts");
  return run(&admin, MASTER_MOUNTS, "Shows what is mounted where.", "no arguments", 0, argc, argv);
}
