/* pack.c: `assay pack`: a run as one file, for a bug report. tar does the packing, as a child of ours that no
 * shell has a say in; the file appears under its name when all of it is written. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "harness/commands.h"
#include "harness/document.h"
#include "harness/pack_readme.h"
#include "harness/program.h"
#include "harness/store.h"

/* A run with its data is gigabytes at most; a disk that hangs must not hang us. */
#define TAR_PATIENCE_NS (3600 * NS_PER_S)

struct pack_settings {
  const char *store, *output;
  bool with_data, force, json;
};

struct pack {
  const struct pack_settings *settings;
  char *run;              /* absolute */
  char name[256];         /* of the directory in the pack */
  char output[PATH_MAX];  /* what will be there */
  char partial[PATH_MAX]; /* what is there until then */
  const char *compress;   /* tar's flag */
};

static bool ends_with(const char *text, const char *end) {
  const size_t size = strlen(text), length = strlen(end);
  return size > length && strcmp(text + size - length, end) == 0;
}

/* TEST-TIME, in characters that are the same in every file system and to tar's --transform. */
static void name_pack(struct pack *pack) {
  const char *time = strrchr(pack->run, '/'), *test = time;
  while (test > pack->run && test[-1] != '/')
    test--;
  snprintf(pack->name, sizeof pack->name, "%.*s-%s", (int)(time - test), test, time + 1);
  for (char *at = pack->name; *at; at++)
    if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", *at))
      *at = '_';
}

static int name_output(struct pack *pack, struct error *error) {
  const char *wanted = pack->settings->output;
  const int length = wanted ? snprintf(pack->output, sizeof pack->output, "%s", wanted)
                            : snprintf(pack->output, sizeof pack->output, "%s.tar.gz", pack->name);
  if (length >= (int)sizeof pack->output - 32)
    return error_set(error, ERR_BAD_INPUT, "--output: the path is too long");
  if (ends_with(pack->output, ".tar.gz") || ends_with(pack->output, ".tgz"))
    pack->compress = "--gzip";
  else if (ends_with(pack->output, ".tar.zst"))
    pack->compress = "--zstd";
  else
    return error_set(error, ERR_BAD_INPUT, "--output %s: the name ends with .tar.gz or .tar.zst", wanted);
  if (!pack->settings->force && file_exists(pack->output))
    return error_set(error, ERR_IO,
                     "%s is there already: name another with --output, or replace it with --force",
                     pack->output);
  snprintf(pack->partial, sizeof pack->partial, "%.*s.part%d", (int)sizeof pack->output - 32, pack->output,
           (int)getpid());
  return 0;
}

/* The first line that tar wrote to its standard error. */
static void first_complaint(int file, char *out, size_t size) {
  const ssize_t got = pread(file, out, size - 1, 0);
  out[got > 0 ? got : 0] = '\0';
  out[strcspn(out, "\n")] = '\0';
}

static int run_tar(const struct pack *pack, const char *readme_directory, int output, struct error *error) {
  char transform[sizeof pack->name + 32], complaint[300] = "";
  snprintf(transform, sizeof transform, "--transform=s,^\\.,%s,S", pack->name);
  const char *const fixed[] = {"tar",
                               "--create",
                               "--file=-",
                               pack->compress,
                               "--sparse",
                               "--sort=name",
                               "--owner=0",
                               "--group=0",
                               "--numeric-owner",
                               "--anchored",
                               "--no-wildcards-match-slash",
                               transform};
  char *argv[ARRAY_SIZE(fixed) + 8];
  size_t count = 0;
  for (; count < ARRAY_SIZE(fixed); count++)
    argv[count] = (char *)fixed[count];
  if (!pack->settings->with_data)
    argv[count++] = (char *)"--exclude=./nodes/*/data";
  const char *const places[] = {"-C", readme_directory, "./README", "-C", pack->run, "."};
  for (size_t i = 0; i < ARRAY_SIZE(places); i++)
    argv[count++] = (char *)places[i];
  argv[count] = NULL;
  FILE *errors = tmpfile();
  if (!errors)
    return error_set_errno(error, ERR_IO, "cannot make a temporary file");
  int wait_status = 0;
  int status = program_run(argv, NULL, output, fileno(errors), TAR_PATIENCE_NS, &wait_status, error);
  first_complaint(fileno(errors), complaint, sizeof complaint);
  fclose(errors);
  if (status == ERR_NOT_FOUND)
    return error_set(error, ERR_NOT_FOUND, "there is no tar on this machine: install the package tar");
  if (status != 0)
    return status;
  /* 1: a file changed while it was read, as those of a run do that goes on. */
  if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 1)
    fprintf(stderr, "assay pack: %s changed while it was packed: %s\n", pack->run, complaint);
  else if (!WIFEXITED(wait_status) || WEXITSTATUS(wait_status) != 0)
    return error_set(error, ERR_IO,
                     "cannot pack %s into %s: %s; is there room, and may you read all of the run?", pack->run,
                     pack->output, complaint[0] ? complaint : "tar was interrupted");
  return 0;
}

static int write_partial(const struct pack *pack, const char *readme_directory, struct error *error) {
  const int output = open(pack->partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (output < 0)
    return error_set_errno(error, ERR_IO, "cannot create %s; name another place with --output",
                           pack->partial);
  int status = run_tar(pack, readme_directory, output, error);
  if (status == 0 && fsync(output) != 0)
    status = error_set_errno(error, ERR_IO, "cannot write %s", pack->partial);
  close(output);
  return status;
}

static int write_pack(const struct pack *pack, struct error *error) {
  char directory[] = "/tmp/assay-pack-XXXXXX";
  if (!mkdtemp(directory))
    return error_set_errno(error, ERR_IO, "cannot make a directory in /tmp");
  struct bytes page = {0};
  pack_readme(pack->run, pack->settings->with_data, &page);
  char *readme = path_join(directory, "README");
  int status = file_replace(readme, page.data, page.size, error);
  /* A Ctrl-C ends tar; what it has written is then taken away here. */
  void (*before)(int) = signal(SIGINT, SIG_IGN);
  if (status == 0)
    status = write_partial(pack, directory, error);
  if (status == 0 && rename(pack->partial, pack->output) != 0)
    status = error_set_errno(error, ERR_IO, "cannot rename %s to %s", pack->partial, pack->output);
  if (status != 0)
    unlink(pack->partial);
  signal(SIGINT, before);
  directory_remove(directory, NULL);
  bytes_free(&page);
  free(readme);
  return status;
}

static void print(const struct pack *pack) {
  struct stat info = {0};
  stat(pack->output, &info);
  if (!pack->settings->json) {
    printf("%s  %.1f MiB\n", pack->output, (double)info.st_size / (1 << 20));
    return;
  }
  json_t *object =
      json_pack("{s:s, s:s, s:I}", "run", pack->run, "pack", pack->output, "bytes", (json_int_t)info.st_size);
  document_print_line(object);
  json_decref(object);
}

static int pack_run(const struct pack_settings *settings, const char *argument) {
  struct pack pack = {.settings = settings};
  struct error error = {0};
  int status = store_run_find(settings->store, argument, &pack.run, &error);
  if (status == 0) {
    name_pack(&pack);
    status = name_output(&pack, &error);
  }
  if (status == 0)
    status = write_pack(&pack, &error);
  if (status == 0)
    print(&pack);
  else
    fprintf(stderr, "assay pack: %s\n", error.message);
  free(pack.run);
  return status == 0 ? 0 : status == ERR_BAD_INPUT ? EXIT_USAGE : EXIT_HARNESS;
}

int pack_command(int argc, char **argv) {
  struct pack_settings settings = {.store = "store"};
  const struct flag flags[] = {
      {"output", FLAG_STRING, &settings.output, "FILE",
       "what to write, .tar.gz or .tar.zst (default TEST-TIME.tar.gz, here)", 0, 0},
      {"with-data", FLAG_BOOL, &settings.with_data, NULL,
       "also what the masters stored, as far as it was kept", 0, 0},
      {"force", FLAG_BOOL, &settings.force, NULL, "replace a file of that name", 0, 0},
      {"store", FLAG_STRING, &settings.store, "DIR", "where runs are kept (default store)", 0, 0},
      {"json", FLAG_BOOL, &settings.json, NULL, "print where the file is as a JSON object", 0, 0},
  };
  const struct flag_set set = {
      .program = "assay pack",
      .summary = "Makes one file of a run, for a bug report: a directory, TEST/TIME, or latest. Exit codes:\n"
                 "0 it is written, 3 it is not, 64 wrong usage.",
      .positional = "RUN",
      .flags = flags,
      .count = ARRAY_SIZE(flags),
  };
  int count;
  const int code = flags_parse_or_exit_code(&set, argc, argv, &count);
  if (code >= 0)
    return code;
  if (count != 1) {
    fprintf(stderr, "assay pack: which run? assay pack RUN (assay list shows them; 'latest' is one)\n");
    return EXIT_USAGE;
  }
  return pack_run(&settings, argv[1]);
}
