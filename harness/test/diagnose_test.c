#include <criterion/criterion.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>

#include "harness/diagnose.h"

static char directory[] = "/tmp/assay-diagnose-XXXXXX";

static void make_directory(void) {
  cr_assert_not_null(mkdtemp(directory));
}

static void remove_directory(void) {
  directory_remove(directory, NULL);
}

TestSuite(diagnose, .init = make_directory, .fini = remove_directory);

static void put(const char *room, const char *name, const void *data, size_t size) {
  char *parent = path_join(directory, room), *path = path_join(parent, name);
  cr_assert_eq(directory_make(parent, NULL), 0);
  cr_assert_eq(file_replace(path, data, size, NULL), 0);
  free(path);
  free(parent);
}

static void put_elf(const char *room, const char *name, unsigned char type) {
  Elf64_Ehdr header = {.e_type = type};
  memcpy(header.e_ident, ELFMAG, SELFMAG);
  put(room, name, &header, sizeof header);
}

static bool there(const char *name) {
  char *path = path_join(directory, name);
  const bool found = file_exists(path);
  free(path);
  return found;
}

static void fill(void) {
  put_elf("nodes/n1", "strange.name", ET_CORE);
  put_elf("nodes/n2", "core", ET_EXEC);
  put("nodes/n2", "log", "core\n", 5);
  put("logs", "stacks-n2.txt", "=== \n", 5);
  put("logs", "nemesis.log", "", 0);
}

Test(diagnose, what_there_is_and_is_not_is_written_down) {
  struct diagnosis diagnosis;
  struct bytes notes = {0};
  fill();
  diagnose_begin(&diagnosis, "/bin/the-master");
  diagnose_write(&diagnosis, directory);
  char *path = path_join(directory, "diagnostics.txt");
  cr_assert_eq(file_read(path, &notes, NULL), 0);
  bytes_append_u8(&notes, 0);
  const char *text = (const char *)notes.data;
  cr_expect(strstr(text, "nodes/n1/strange.name: a core") && strstr(text, "gdb /bin/the-master /tmp"), "%s",
            text);
  cr_expect_null(strstr(text, "nodes/n2"), "a program is no core: %s", text);
  cr_expect_not_null(strstr(text, "logs/stacks-n2.txt: "), "%s", text);
  cr_expect_null(strstr(text, "nemesis.log"), "%s", text);
  cr_expect_not_null(strstr(text, "kernel.log: "), "%s", text);
  cr_expect(there("kernel.log"));
  bytes_free(&notes);
  free(path);
}

Test(diagnose, without_a_core_it_says_so) {
  struct diagnosis diagnosis;
  struct bytes notes = {0};
  diagnose_begin(&diagnosis, "/bin/the-master");
  diagnose_write(&diagnosis, directory);
  char *path = path_join(directory, "diagnostics.txt");
  cr_assert_eq(file_read(path, &notes, NULL), 0);
  cr_expect_eq(memcmp(notes.data, "cores: no", 9), 0, "%.*s", (int)notes.size, (const char *)notes.data);
  bytes_free(&notes);
  free(path);
}

Test(diagnose, a_run_that_ended_well_keeps_logs_only) {
  struct diagnosis diagnosis;
  fill();
  diagnose_begin(&diagnosis, "/bin/the-master");
  diagnose_discard(&diagnosis, directory);
  cr_expect(!there("nodes/n1/strange.name") && !there("logs/stacks-n2.txt"));
  cr_expect(there("nodes/n2/core") && there("nodes/n2/log") && there("logs/nemesis.log"));
  cr_expect(!there("diagnostics.txt") && !there("kernel.log"));
}

Test(diagnose, where_cores_go_is_known) {
  static const char *const here[] = {"core", "core.%p", "%e-%t.core"};
  static const char *const elsewhere[] = {"|/usr/lib/systemd/systemd-coredump %P", "/var/cores/%p",
                                          "cores/%p", ""};
  char text[400];
  for (size_t i = 0; i < ARRAY_SIZE(here); i++)
    cr_expect_null(diagnose_core_pattern(here[i], text, sizeof text), "%s", here[i]);
  for (size_t i = 0; i < ARRAY_SIZE(elsewhere); i++)
    cr_expect_not_null(diagnose_core_pattern(elsewhere[i], text, sizeof text), "%s", elsewhere[i]);
}
