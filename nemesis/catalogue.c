/* catalogue.c: all faults there are, found by name and by family. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "nemesis/fault.h"

static size_t catalogue(const struct fault **faults) {
  size_t count = 0;
  assert(partition_fault_count + process_fault_count <= FAULTS_MAX);
  for (size_t i = 0; i < partition_fault_count; i++)
    faults[count++] = &partition_faults[i];
  for (size_t i = 0; i < process_fault_count; i++)
    faults[count++] = &process_faults[i];
  return count;
}

const struct fault_description *fault_list(void) {
  static struct fault_description list[FAULTS_MAX + 1];
  const struct fault *faults[FAULTS_MAX];
  const size_t count = catalogue(faults);
  for (size_t i = 0; i < count; i++)
    list[i] = faults[i]->description;
  list[count] = (struct fault_description){0};
  return list;
}

/* "families: partition, pause, kill; faults: partition-primary, …" */
static void name_all(struct bytes *text) {
  const struct fault *faults[FAULTS_MAX];
  const size_t count = catalogue(faults);
  bytes_append_format(text, "none, all");
  for (size_t i = 0; i < count; i++)
    if (i == 0 || strcmp(faults[i]->description.family, faults[i - 1]->description.family) != 0)
      bytes_append_format(text, ", %s", faults[i]->description.family);
  for (size_t i = 0; i < count; i++)
    bytes_append_format(text, ", %s", faults[i]->description.name);
}

/* Marks what `word` selects; false when it is unknown. */
static bool select_word(const char *word, const struct fault **faults, size_t count, bool *selected) {
  bool known = strcmp(word, "none") == 0;
  for (size_t i = 0; i < count; i++) {
    if (strcmp(word, "all") != 0 && strcmp(word, faults[i]->description.family) != 0 &&
        strcmp(word, faults[i]->description.name) != 0)
      continue;
    selected[i] = true;
    known = true;
  }
  return known;
}

int catalogue_select(const char *list, const struct fault **faults, size_t *count, struct error *error) {
  const struct fault *all[FAULTS_MAX];
  const size_t all_count = catalogue(all);
  bool selected[FAULTS_MAX] = {false};
  char *copy = xstrdup(list), *rest = copy;
  int status = 0;
  for (char *word; status == 0 && (word = strsep(&rest, ","));) {
    word += strspn(word, " ");
    word[strcspn(word, " ")] = '\0';
    if (select_word(word, all, all_count, selected))
      continue;
    struct bytes known = {0};
    name_all(&known);
    status = error_set(error, ERR_BAD_INPUT, "unknown fault '%s'; known: %s", word, (const char *)known.data);
    bytes_free(&known);
  }
  free(copy);
  *count = 0;
  for (size_t i = 0; status == 0 && i < all_count; i++)
    if (selected[i])
      faults[(*count)++] = all[i];
  return status;
}

int nemesis_check_families(const char *families, struct error *error) {
  const struct fault *faults[FAULTS_MAX];
  size_t count;
  return catalogue_select(families, faults, &count, error);
}
