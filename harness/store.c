#include "harness/store.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "harness/document.h"

bool store_name_valid(const char *name) {
  static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
  const size_t size = strlen(name);
  return size > 0 && size <= 100 && name[0] != '.' && strspn(name, allowed) == size &&
         strcmp(name, "latest") != 0 && strcmp(name, "cluster") != 0;
}

static int make_rooms(const char *run, struct error *error) {
  static const char *const rooms[] = {"parts", "logs", "nodes"};
  for (size_t i = 0; i < ARRAY_SIZE(rooms); i++) {
    char *room = path_join(run, rooms[i]);
    const int status = directory_make(room, error);
    free(room);
    if (status != 0)
      return status;
  }
  return 0;
}

/* A symbolic link cannot be replaced in one step but by renaming another one over it. */
static int point_latest(const char *store, const char *target, struct error *error) {
  char temporary[PATH_MAX], link[PATH_MAX];
  snprintf(temporary, sizeof temporary, "%s/.latest.%d", store, (int)getpid());
  snprintf(link, sizeof link, "%s/latest", store);
  unlink(temporary);
  if (symlink(target, temporary) != 0 || rename(temporary, link) != 0) {
    error_set_errno(error, errno == ENOSPC ? ERR_NO_SPACE : ERR_IO, "cannot point %s at %s", link, target);
    unlink(temporary);
    return error ? (int)error->code : ERR_IO;
  }
  return 0;
}

int store_run_new(const char *store, const char *test, char **run, struct error *error) {
  char parent[PATH_MAX], absolute[PATH_MAX], stamp[32], name[64], target[256];
  if (snprintf(parent, sizeof parent, "%s/%s", store, test) >= (int)sizeof parent - 100)
    return error_set(error, ERR_BAD_INPUT, "the store's path is too long: %s", store);
  int status = directory_make(parent, error);
  if (status != 0)
    return status;
  if (!realpath(parent, absolute))
    return error_set_errno(error, ERR_IO, "cannot resolve %s", parent);
  const time_t now = time(NULL);
  struct tm utc;
  gmtime_r(&now, &utc);
  strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &utc);
  char *directory = NULL;
  for (int attempt = 1; attempt < 1000; attempt++) {
    if (attempt == 1)
      snprintf(name, sizeof name, "%s", stamp);
    else
      snprintf(name, sizeof name, "%s-%d", stamp, attempt);
    directory = path_join(absolute, name);
    if (mkdir(directory, 0755) == 0)
      break;
    if (errno != EEXIST)
      status = error_set_errno(error, errno == ENOSPC ? ERR_NO_SPACE : ERR_IO, "cannot make directory %s",
                               directory);
    free(directory);
    directory = NULL;
    if (status != 0)
      return status;
  }
  if (!directory)
    return error_set(error, ERR_IO, "%s holds a thousand runs of this second: wait one", absolute);
  status = make_rooms(directory, error);
  snprintf(target, sizeof target, "%s/%s", test, name);
  if (status == 0)
    status = point_latest(store, target, error);
  if (status == 0)
    *run = directory;
  else
    free(directory);
  return status;
}

static bool is_run(const char *directory) {
  char *parameters = path_join(directory, "test.json");
  const bool found = file_exists(parameters);
  free(parameters);
  return found;
}

int store_run_find(const char *store, const char *argument, char **run, struct error *error) {
  char *below = path_join(store, argument);
  const char *const candidates[] = {argument, below};
  char absolute[PATH_MAX];
  for (size_t i = 0; i < ARRAY_SIZE(candidates); i++)
    if (realpath(candidates[i], absolute) && is_run(absolute)) {
      free(below);
      *run = xstrdup(absolute);
      return 0;
    }
  free(below);
  return error_set(error, ERR_NOT_FOUND,
                   "%s is not a run: neither it nor %s/%s holds a test.json (assay list shows the runs)",
                   argument, store, argument);
}

static int not_hidden(const struct dirent *entry) {
  return entry->d_name[0] != '.';
}

static void free_names(struct dirent **names, int count) {
  for (int i = 0; i < count; i++)
    free(names[i]);
  free(names);
}

struct run_list {
  struct store_run *runs;
  size_t count, capacity;
};

static void add_run(struct run_list *list, const char *test, const char *time, char *directory) {
  char *parameters_path = path_join(directory, "test.json");
  char *result_path = path_join(directory, "result.json");
  json_t *parameters = document_read(parameters_path, NULL);
  if (!parameters) {
    free(directory);
  } else {
    if (list->count == list->capacity) {
      list->capacity = list->capacity ? 2 * list->capacity : 16;
      list->runs = xrealloc(list->runs, list->capacity * sizeof *list->runs);
    }
    list->runs[list->count++] = (struct store_run){.directory = directory,
                                                   .test = xstrdup(test),
                                                   .time = xstrdup(time),
                                                   .parameters = parameters,
                                                   .result = document_read(result_path, NULL)};
  }
  free(parameters_path);
  free(result_path);
}

static int by_time(const void *a, const void *b) {
  const struct store_run *first = a, *second = b;
  const int order = strcmp(first->time, second->time);
  return order != 0 ? order : strcmp(first->test, second->test);
}

int store_list(const char *store, struct store_run **runs, size_t *count, struct error *error) {
  struct dirent **tests;
  const int test_count = scandir(store, &tests, not_hidden, alphasort);
  if (test_count < 0)
    return error_set_errno(error, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO,
                           "no store at %s (assay run makes one; --store names another)", store);
  struct run_list list = {0};
  for (int i = 0; i < test_count; i++) {
    if (!store_name_valid(tests[i]->d_name))
      continue;
    char *parent = path_join(store, tests[i]->d_name);
    struct dirent **times;
    const int time_count = scandir(parent, &times, not_hidden, alphasort);
    for (int j = 0; j < time_count; j++)
      add_run(&list, tests[i]->d_name, times[j]->d_name, path_join(parent, times[j]->d_name));
    if (time_count >= 0)
      free_names(times, time_count);
    free(parent);
  }
  free_names(tests, test_count);
  if (list.count > 1)
    qsort(list.runs, list.count, sizeof *list.runs, by_time);
  *runs = list.runs;
  *count = list.count;
  return 0;
}

void store_list_free(struct store_run *runs, size_t count) {
  for (size_t i = 0; i < count; i++) {
    free(runs[i].directory);
    free(runs[i].test);
    free(runs[i].time);
    json_decref(runs[i].parameters);
    json_decref(runs[i].result);
  }
  free(runs);
}

/* Logs are short lines: what the last 16 KiB hold is enough. */
char *file_tail(const char *path, size_t lines, const char *indent) {
  char window[16 << 10];
  size_t size = 0;
  FILE *file = fopen(path, "re");
  if (file) {
    if (fseek(file, -(long)sizeof window, SEEK_END) != 0)
      rewind(file);
    size = fread(window, 1, sizeof window, file);
    fclose(file);
  }
  while (size > 0 && window[size - 1] == '\n')
    size--;
  size_t start = size;
  for (size_t found = 0; start > 0; start--)
    if (window[start - 1] == '\n' && ++found == lines)
      break;
  struct bytes text = {0};
  while (start < size) {
    const char *end = memchr(window + start, '\n', size - start);
    const size_t length = end ? (size_t)(end - window) - start : size - start;
    bytes_append_format(&text, "%s%.*s\n", indent, (int)length, window + start);
    start += length + 1;
  }
  bytes_append_u8(&text, 0);
  return (char *)text.data;
}
