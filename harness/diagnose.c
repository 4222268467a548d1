#include "harness/diagnose.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/document.h"

/* Calls `take` for every file of the directory RUN/<room>, by name; nothing when there is no such directory.
 */
static void each_file(const char *run, const char *room, void (*take)(void *context, const char *path),
                      void *context) {
  char *directory = path_join(run, room);
  struct dirent **entries;
  const int count = scandir(directory, &entries, NULL, versionsort);
  for (int i = 0; i < count; i++) {
    char *below = path_join(room, entries[i]->d_name);
    if (entries[i]->d_name[0] != '.')
      take(context, below);
    free(below);
    free(entries[i]);
  }
  if (count >= 0)
    free(entries);
  free(directory);
}

/* ---- What the kernel said ---- */

void diagnose_begin(struct diagnosis *diagnosis, const char *program) {
  *diagnosis = (struct diagnosis){.program = program};
  diagnosis->kernel = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (diagnosis->kernel >= 0 && lseek(diagnosis->kernel, 0, SEEK_END) >= 0)
    return;
  error_set_errno(&diagnosis->refused, ERR_IO, "cannot read /dev/kmsg");
  if (diagnosis->kernel >= 0)
    close(diagnosis->kernel);
  diagnosis->kernel = -1;
}

/* A record is "priority,sequence,microseconds,flags;text\n" and lines of key=value behind it. */
static void append_record(struct bytes *log, const char *record) {
  unsigned long long at_us = 0;
  const char *text = strchr(record, ';');
  if (text && sscanf(record, "%*u,%*u,%llu", &at_us) == 1)
    bytes_append_format(log, "[%5llu.%06llu] %.*s\n", at_us / 1000000, at_us % 1000000,
                        (int)strcspn(text + 1, "\n"), text + 1);
}

#define RECORDS_MAX 10000 /* the kernel's own buffer holds about as many */

/* Reads what has come since diagnose_begin. Returns the number of records. */
static size_t read_kernel(const struct diagnosis *diagnosis, struct bytes *log) {
  char record[8192];
  size_t count = 0;
  for (size_t turn = 0; diagnosis->kernel >= 0 && turn < RECORDS_MAX; turn++) {
    const ssize_t got = read(diagnosis->kernel, record, sizeof record - 1);
    if (got < 0 && errno == EPIPE) {
      bytes_append_format(log, "(older messages were overwritten by newer ones before they were read)\n");
      continue;
    }
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      break;
    record[got] = '\0';
    append_record(log, record);
    count++;
  }
  return count;
}

static void keep_kernel_log(const struct diagnosis *diagnosis, const char *run, struct bytes *notes) {
  struct bytes log = {0};
  struct error error = {0};
  char *path = path_join(run, "kernel.log");
  if (diagnosis->kernel < 0) {
    bytes_append_format(&log,
                        "no kernel messages: %s; run as root, or allow everybody to read them: sysctl "
                        "kernel.dmesg_restrict=0\n",
                        diagnosis->refused.message);
    bytes_append_format(notes, "kernel.log: none, because of: %s\n", diagnosis->refused.message);
  } else {
    const size_t count = read_kernel(diagnosis, &log);
    bytes_append_format(notes, "kernel.log: %zu message%s of the kernel while the run went on\n", count,
                        count == 1 ? "" : "s");
  }
  if (file_replace(path, log.data, log.size, &error) != 0)
    log_warn("%s", error.message);
  bytes_free(&log);
  free(path);
}

/* ---- Cores ---- */

const char *diagnose_core_pattern(const char *pattern, char *out, size_t size) {
  if (pattern[0] == '|')
    snprintf(out, size, "the kernel hands them to a program (%s): ask that one, coredumpctl for example",
             pattern + 1);
  else if (pattern[0] == '/')
    snprintf(out, size, "the kernel writes them to %s", pattern);
  else if (strchr(pattern, '/') || pattern[0] == '\0')
    snprintf(out, size, "the kernel's core_pattern '%s' is no plain name", pattern);
  else
    return NULL;
  return out;
}

/* Why no core can be expected in a node's directory; NULL: it can. */
static const char *why_no_core(char *out, size_t size) {
  struct bytes content = {0};
  struct error error = {0};
  struct rlimit limit;
  const char *why = NULL;
  if (file_read("/proc/sys/kernel/core_pattern", &content, &error) != 0) {
    snprintf(out, size, "%s", error.message);
    why = out;
  } else {
    bytes_append_u8(&content, 0);
    content.data[strcspn((const char *)content.data, "\n")] = '\0';
    why = diagnose_core_pattern((const char *)content.data, out, size);
  }
  if (!why && getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_max == 0) {
    snprintf(out, size, "the hard limit for cores is 0 here: raise it (ulimit -Hc) where assay is started");
    why = out;
  }
  bytes_free(&content);
  return why;
}

static bool is_core(const char *path) {
  Elf64_Ehdr header = {0}; /* the members that are read lie the same in files of 32 bits */
  const int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
  const ssize_t got = fd < 0 ? -1 : read(fd, &header, sizeof header);
  if (fd >= 0)
    close(fd);
  return got > (ssize_t)offsetof(Elf64_Ehdr, e_machine) && memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 &&
         header.e_type == ET_CORE;
}

struct search {
  const struct diagnosis *diagnosis;
  const char *run;
  struct bytes *notes; /* NULL: what is found is removed */
  size_t cores;
};

static void take_core(void *context, const char *below) {
  struct search *search = context;
  char *path = path_join(search->run, below);
  struct stat info;
  if (is_core(path) && stat(path, &info) == 0) {
    search->cores++;
    if (!search->notes)
      unlink(path);
    else
      bytes_append_format(search->notes, "%s: a core of %.1f MiB: gdb %s %s\n", below,
                          (double)info.st_size / (1 << 20), search->diagnosis->program, path);
  }
  free(path);
}

static void take_node(void *context, const char *below) {
  struct search *search = context;
  each_file(search->run, below, take_core, search);
}

static void note_cores(const struct diagnosis *diagnosis, const char *run, struct bytes *notes) {
  struct search search = {diagnosis, run, notes, 0};
  char text[sizeof(struct error)];
  each_file(run, "nodes", take_node, &search);
  const char *why = why_no_core(text, sizeof text);
  if (search.cores == 0)
    bytes_append_format(notes, "cores: %s%s\n", why ? "none would be kept here: " : "no master left one",
                        why ? why : "");
}

/* ---- Stacks ---- */

static bool is_stacks(const char *below) {
  static const char beginning[] = "logs/stacks-";
  return strncmp(below, beginning, sizeof beginning - 1) == 0;
}

static void note_stacks(void *context, const char *below) {
  if (is_stacks(below))
    bytes_append_format(context, "%s: where it was when something took too long\n", below);
}

static void remove_stacks(void *context, const char *below) {
  char *path = path_join(context, below);
  if (is_stacks(below))
    unlink(path);
  free(path);
}

/* ---- All of it ---- */

static void end(struct diagnosis *diagnosis) {
  if (diagnosis->kernel >= 0)
    close(diagnosis->kernel);
  diagnosis->kernel = -1;
}

void diagnose_write(struct diagnosis *diagnosis, const char *run) {
  struct bytes notes = {0};
  struct error error = {0};
  char *path = path_join(run, "diagnostics.txt");
  note_cores(diagnosis, run, &notes);
  each_file(run, "logs", note_stacks, &notes);
  keep_kernel_log(diagnosis, run, &notes);
  if (file_replace(path, notes.data, notes.size, &error) != 0)
    log_warn("%s", error.message);
  bytes_free(&notes);
  free(path);
  end(diagnosis);
}

void diagnose_discard(struct diagnosis *diagnosis, const char *run) {
  struct search search = {diagnosis, run, NULL, 0};
  char *copy = xstrdup(run);
  each_file(run, "nodes", take_node, &search);
  each_file(run, "logs", remove_stacks, copy);
  free(copy);
  end(diagnosis);
}
