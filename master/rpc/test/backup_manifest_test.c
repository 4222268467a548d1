/* A manifest is read as it was written; a changed byte, a cut or a foreign text is refused. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "master/rpc/backup_manifest.h"

static struct snapshot_file files[] = {
    {.name = "000012.sst", .size = 1 << 20, .checksum = 0x0123456789abcdef},
    {.name = "CURRENT", .size = 16, .checksum = 7},
    {.name = "empty", .size = 0, .checksum = 0},
};
static const struct backup_manifest written = {
    .cluster = UINT64_MAX, .index = 1234, .term = 5, .files = files, .file_count = ARRAY_SIZE(files)};

static int read_back(const struct bytes *text, struct backup_manifest *manifest, struct error *error) {
  *error = (struct error){0};
  return backup_manifest_read(text->data, text->size, manifest, error);
}

Test(backup_manifest, is_read_as_it_was_written) {
  struct bytes text = {0};
  struct backup_manifest manifest;
  struct error error;
  backup_manifest_write(&text, &written);
  cr_assert_eq(read_back(&text, &manifest, &error), 0, "%s", error.message);
  cr_assert_eq(manifest.cluster, UINT64_MAX);
  cr_assert_eq(manifest.index, 1234);
  cr_assert_eq(manifest.term, 5);
  cr_assert_eq(manifest.file_count, ARRAY_SIZE(files));
  for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
    cr_assert_str_eq(manifest.files[i].name, files[i].name);
    cr_assert_eq(manifest.files[i].size, files[i].size);
    cr_assert_eq(manifest.files[i].checksum, files[i].checksum);
  }
  backup_manifest_free(&manifest);
  bytes_free(&text);
}

Test(backup_manifest, any_other_byte_and_any_cut_is_refused) {
  struct bytes text = {0};
  struct backup_manifest manifest;
  struct error error;
  backup_manifest_write(&text, &written);
  struct random random;
  random_seed(&random, 3);
  for (size_t i = 0; i < text.size; i++) {
    const unsigned char was = text.data[i];
    text.data[i] = (unsigned char)(was + 1 + random_below(&random, 255));
    cr_assert_lt(read_back(&text, &manifest, &error), 0, "byte %zu", i);
    cr_assert_str_neq(error.message, "");
    text.data[i] = was;
  }
  const size_t size = text.size;
  for (text.size = 0; text.size < size; text.size++)
    cr_assert_lt(read_back(&text, &manifest, &error), 0, "cut at %zu", text.size);
  bytes_append_u8(&text, '\n');
  cr_assert_lt(read_back(&text, &manifest, &error), 0);
  bytes_free(&text);
}

Test(backup_manifest, names_lead_nowhere_else) {
  const char *const names[] = {"../up", ".hidden", "a/b", "manifest", "."};
  for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
    struct snapshot_file file = {.size = 1};
    snprintf(file.name, sizeof file.name, "%s", names[i]);
    struct bytes text = {0};
    struct backup_manifest manifest;
    struct error error;
    backup_manifest_write(&text, &(struct backup_manifest){.files = &file, .file_count = 1});
    cr_assert_eq(read_back(&text, &manifest, &error), ERR_CORRUPT, "%s", names[i]);
    cr_assert(strstr(error.message, "line 5"), "%s", error.message);
    bytes_free(&text);
  }
}

Test(backup_manifest, another_format_is_told_apart_from_damage) {
  const char text[] = "assay-backup 2\n";
  struct backup_manifest manifest;
  struct error error;
  cr_assert_eq(backup_manifest_read(text, sizeof text - 1, &manifest, &error), ERR_BAD_INPUT);
  cr_assert(strstr(error.message, "format"), "%s", error.message);
}
