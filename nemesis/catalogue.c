/* catalogue.c: all faults there are, found by name and by family. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "nemesis/mix.h"

static const struct fault_table *const tables[] = {&partition_faults, &process_faults,  &lifecycle_faults,
                                                   &link_faults,      &clock_faults,    &disk_faults,
                                                   &snapshot_faults,  &resource_faults, &membership_faults};

static size_t catalogue(const struct fault **faults) {
  size_t count = 0;
  for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
    for (size_t k = 0; k < tables[i]->count; k++) {
      assert(count < FAULTS_MAX);
      faults[count++] = &tables[i]->faults[k];
    }
  return count;
}

const struct fault *catalogue_find(const char *name) {
  for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
    for (size_t k = 0; k < tables[i]->count; k++)
      if (strcmp(tables[i]->faults[k].description.name, name) == 0)
        return &tables[i]->faults[k];
  return NULL;
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

/* "none, all, partition, pause, …": what a list may name, single faults aside. */
static void name_families(struct bytes *text) {
  const struct fault *faults[FAULTS_MAX];
  const size_t count = catalogue(faults);
  bytes_append_format(text, "none, all, " SWARM);
  for (const struct fault_mix *mix = fault_mixes(); mix->name; mix++)
    bytes_append_format(text, ", %s", mix->name);
  for (size_t i = 0; i < count; i++)
    if (i == 0 || strcmp(faults[i]->description.family, faults[i - 1]->description.family) != 0)
      bytes_append_format(text, ", %s", faults[i]->description.family);
}

static bool mark(const char *word, const struct fault **faults, size_t count, bool *selected) {
  bool known = false;
  for (size_t i = 0; i < count; i++) {
    if (strcmp(word, "all") != 0 && strcmp(word, faults[i]->description.family) != 0 &&
        strcmp(word, faults[i]->description.name) != 0)
      continue;
    selected[i] = true;
    known = true;
  }
  return known;
}

/* The next word of a list, without the spaces around it; NULL at its end. Changes the list. */
static char *next_word(char **rest) {
  char *word = strsep(rest, ",");
  if (word) {
    word += strspn(word, " ");
    word[strcspn(word, " ")] = '\0';
  }
  return word;
}

/* Marks what `word` selects; false when it is unknown. */
static bool select_word(const char *word, const struct fault **faults, size_t count, bool *selected) {
  if (strcmp(word, "none") == 0 || strcmp(word, SWARM) == 0 || mark(word, faults, count, selected))
    return true;
  const struct fault_mix *mix = mix_find(word);
  if (!mix)
    return false;
  char *copy = xstrdup(mix->faults), *rest = copy;
  for (char *part; (part = next_word(&rest));) {
    const bool known = mark(part, faults, count, selected);
    assert(known); /* mixes are made of what there is */
  }
  free(copy);
  return true;
}

bool catalogue_is_swarm(const char *list) {
  char *copy = xstrdup(list), *rest = copy;
  bool found = false;
  for (char *word; (word = next_word(&rest));)
    found = found || strcmp(word, SWARM) == 0;
  free(copy);
  return found;
}

int catalogue_select(const char *list, const struct fault **faults, size_t *count, struct error *error) {
  const struct fault *all[FAULTS_MAX];
  const size_t all_count = catalogue(all);
  bool selected[FAULTS_MAX] = {false};
  char *copy = xstrdup(list), *rest = copy;
  int status = 0;
  if (strcmp(list, SWARM) == 0)
    mark("all", all, all_count, selected);
  for (char *word; status == 0 && (word = next_word(&rest));) {
    if (select_word(word, all, all_count, selected))
      continue;
    struct bytes known = {0};
    name_families(&known);
    bytes_append_u8(&known, 0);
    status = error_set(error, ERR_BAD_INPUT,
                       "unknown fault '%.60s'; known: %s, and single faults (assay nemesis list shows them)",
                       word, (const char *)known.data);
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

unsigned nemesis_needs(const char *families, uint64_t seed) {
  const struct fault *faults[FAULTS_MAX];
  size_t count;
  unsigned needs = 0;
  struct tempo tempo = {0};
  catalogue_select(families, faults, &count, NULL);
  if (catalogue_is_swarm(families))
    swarm_draw(seed, faults, &count, &tempo);
  for (size_t i = 0; i < count; i++)
    needs |= faults[i]->needs;
  return needs;
}
