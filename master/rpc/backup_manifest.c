#include "master/rpc/backup_manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define FORMAT "assay-backup 1"
#define LINE_MAX_SIZE 160

void backup_manifest_write(struct bytes *text, const struct backup_manifest *manifest) {
  const size_t begin = text->size;
  bytes_append_format(text, FORMAT "\ncluster %" PRIu64 "\nindex %" PRIu64 "\nterm %" PRIu64 "\n",
                      manifest->cluster, manifest->index, manifest->term);
  for (size_t i = 0; i < manifest->file_count; i++)
    bytes_append_format(text, "file %s %" PRIu64 " %016" PRIx64 "\n", manifest->files[i].name,
                        manifest->files[i].size, manifest->files[i].checksum);
  const uint64_t sum = checksum(text->data + begin, text->size - begin);
  bytes_append_format(text, "sum %016" PRIx64 "\n", sum);
}

/* -- reading: line by line, each in exactly one form -- */

struct lines {
  const char *begin, *at, *end;
  size_t number;
  char line[LINE_MAX_SIZE];
};

static int wrong(const struct lines *lines, struct error *error, const char *what) {
  return error_set(error, ERR_CORRUPT, "line %zu of the manifest: %s", lines->number, what);
}

static int next_line(struct lines *lines, struct error *error) {
  const size_t left = (size_t)(lines->end - lines->at);
  const char *newline = left > 0 ? memchr(lines->at, '\n', left) : NULL;
  lines->number++;
  if (!newline)
    return wrong(lines, error, "it ends too early");
  const size_t size = (size_t)(newline - lines->at);
  if (size >= sizeof lines->line || memchr(lines->at, '\0', size))
    return wrong(lines, error, "it is no text, or too long");
  memcpy(lines->line, lines->at, size);
  lines->line[size] = '\0';
  lines->at = newline + 1;
  return 0;
}

static bool read_number(const char *text, int base, uint64_t *number) {
  char again[24];
  *number = strtoull(text, NULL, base);
  snprintf(again, sizeof again, base == 16 ? "%016" PRIx64 : "%" PRIu64, *number);
  return strcmp(text, again) == 0;
}

static int take_number(struct lines *lines, const char *name, uint64_t *number, struct error *error) {
  const int status = next_line(lines, error);
  if (status != 0)
    return status;
  const size_t size = strlen(name);
  if (strncmp(lines->line, name, size) != 0 || lines->line[size] != ' ' ||
      !read_number(lines->line + size + 1, 10, number))
    return error_set(error, ERR_CORRUPT, "line %zu of the manifest: it should give the %s", lines->number,
                     name);
  return 0;
}

static bool proper_name(const char *name) {
  return name[0] != '\0' && name[0] != '.' && !strchr(name, '/') && strcmp(name, BACKUP_MANIFEST_NAME) != 0;
}

/* "file NAME SIZE SUM", in `line`. */
static bool read_file(char *line, struct snapshot_file *file) {
  *file = (struct snapshot_file){0};
  char *rest = NULL;
  const char *word = strtok_r(line, " ", &rest), *name = strtok_r(NULL, " ", &rest);
  const char *size = strtok_r(NULL, " ", &rest), *sum = strtok_r(NULL, " ", &rest);
  if (!word || !name || !size || !sum || strtok_r(NULL, " ", &rest) || strlen(name) >= sizeof file->name)
    return false;
  memcpy(file->name, name, strlen(name) + 1);
  return proper_name(name) && read_number(size, 10, &file->size) && read_number(sum, 16, &file->checksum);
}

static int take_files(struct lines *lines, struct backup_manifest *manifest, struct error *error) {
  int status;
  size_t capacity = 0;
  while ((status = next_line(lines, error)) == 0 && strncmp(lines->line, "file ", 5) == 0) {
    struct snapshot_file file;
    if (!read_file(lines->line, &file))
      return wrong(lines, error, "it should name a file, its size and its checksum");
    if (manifest->file_count == capacity) {
      capacity = capacity ? 2 * capacity : 16;
      manifest->files = xrealloc(manifest->files, capacity * sizeof *manifest->files);
    }
    manifest->files[manifest->file_count++] = file;
  }
  return status;
}

/* The last line, which is at hand; `begin` is where it begins. */
static int take_sum(const struct lines *lines, const char *begin, struct error *error) {
  uint64_t sum;
  if (strncmp(lines->line, "sum ", 4) != 0 || !read_number(lines->line + 4, 16, &sum) ||
      lines->at != lines->end)
    return wrong(lines, error, "it should be the last, with the checksum");
  if (sum != checksum(lines->begin, (size_t)(begin - lines->begin)))
    return wrong(lines, error, "the checksum is another: the manifest was changed or damaged");
  return 0;
}

int backup_manifest_read(const void *text, size_t size, struct backup_manifest *manifest,
                         struct error *error) {
  struct lines lines = {.begin = text, .at = text, .end = (const char *)text + size};
  *manifest = (struct backup_manifest){0};
  int status = next_line(&lines, error);
  if (status == 0 && strcmp(lines.line, FORMAT) != 0)
    status = error_set(error, ERR_BAD_INPUT,
                       "the manifest is not of the format '%s', which this program reads", FORMAT);
  if (status == 0)
    status = take_number(&lines, "cluster", &manifest->cluster, error);
  if (status == 0)
    status = take_number(&lines, "index", &manifest->index, error);
  if (status == 0)
    status = take_number(&lines, "term", &manifest->term, error);
  if (status == 0)
    status = take_files(&lines, manifest, error);
  if (status == 0)
    status = take_sum(&lines, lines.at - strlen(lines.line) - 1, error);
  if (status != 0)
    backup_manifest_free(manifest);
  return status;
}

void backup_manifest_free(struct backup_manifest *manifest) {
  free(manifest->files);
  *manifest = (struct backup_manifest){0};
}
