/* limit.c: see limit.h. */
#include "nemesis/limit.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static const __rlimit_resource_t resources[LIMITS] = {
    [LIMIT_DESCRIPTORS] = RLIMIT_NOFILE, [LIMIT_MEMORY] = RLIMIT_DATA};

static int refused(pid_t pid, const char *what, struct error *error) {
  return error_set_errno(error, errno == ESRCH || errno == ENOENT ? ERR_NOT_FOUND : ERR_IO,
                         "cannot %s process %d", what, (int)pid);
}

/* The kernel hands out the lowest number that is free and below the limit. */
static int highest_descriptor(pid_t pid, uint64_t *count, struct error *error) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
  DIR *descriptors = opendir(path);
  if (!descriptors)
    return refused(pid, "count the descriptors of", error);
  *count = 0;
  for (const struct dirent *entry; (entry = readdir(descriptors));) {
    const uint64_t number = strtoull(entry->d_name, NULL, 10) + 1;
    if (isdigit((unsigned char)entry->d_name[0]) && number > *count)
      *count = number;
  }
  closedir(descriptors);
  return 0;
}

static int writable_memory(pid_t pid, uint64_t *bytes, struct error *error) {
  char path[64];
  struct bytes text = {0};
  snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
  int status = file_read(path, &text, error);
  bytes_append_u8(&text, 0);
  const char *line = status == 0 ? strstr((const char *)text.data, "\nVmData:") : NULL;
  if (line)
    *bytes = strtoull(line + strlen("\nVmData:"), NULL, 10) * 1024;
  else if (status == 0)
    status = error_set(error, ERR_NOT_FOUND, "process %d has no memory: it has ended", (int)pid);
  bytes_free(&text);
  return status;
}

static int has_now(pid_t pid, enum limit limit, uint64_t *has, struct error *error) {
  return limit == LIMIT_DESCRIPTORS ? highest_descriptor(pid, has, error) : writable_memory(pid, has, error);
}

static int set_soft(pid_t pid, enum limit limit, uint64_t soft, struct rlimit *before, struct error *error) {
  if (prlimit(pid, resources[limit], NULL, before) != 0)
    return refused(pid, "read the limits of", error);
  const struct rlimit wanted = {.rlim_cur = soft < before->rlim_max ? soft : before->rlim_max,
                                .rlim_max = before->rlim_max};
  return prlimit(pid, resources[limit], &wanted, NULL) == 0 ? 0 : refused(pid, "set the limits of", error);
}

int limit_lower(pid_t pid, enum limit limit, uint64_t more, struct limit_before *before,
                struct error *error) {
  uint64_t has = 0;
  struct rlimit found;
  int status = has_now(pid, limit, &has, error);
  if (status == 0)
    status = set_soft(pid, limit, has + more, &found, error);
  if (status == 0 && before->pid != pid)
    *before = (struct limit_before){.pid = pid, .soft = found.rlim_cur};
  return status;
}

int limit_lift(enum limit limit, struct limit_before *before, struct error *error) {
  struct rlimit found;
  const int status = before->pid == 0 ? 0 : set_soft(before->pid, limit, before->soft, &found, error);
  if (status != 0 && status != ERR_NOT_FOUND)
    return status;
  *before = (struct limit_before){0};
  return 0;
}

int limit_look(pid_t pid, enum limit limit, uint64_t *may_have, uint64_t *has, struct error *error) {
  struct rlimit found;
  if (prlimit(pid, resources[limit], NULL, &found) != 0)
    return refused(pid, "read the limits of", error);
  *may_have = found.rlim_cur;
  return has_now(pid, limit, has, error);
}
