#include "workloads/generator.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPERATIONS_PER_SET_DEFAULT 2000
#define READER_EVERY 4

static const struct workload *const workloads[] = {
    &workload_mixed, &workload_register, &workload_names,
    &workload_moves, &workload_blocks,   &workload_batches,
};

struct generator {
  const struct workload *workload;
  struct generator_options options; /* `workload` is not kept */
  struct random random;
  struct working_set *groups;
  size_t group_count;
  struct note *notes; /* one a client */
  size_t note_count;
  /* The text of the operation drawn last, and of its items if it is a batch. */
  struct drawn_text text, item_texts[WORKLOAD_BATCH_MAX];
  struct arguments items[WORKLOAD_BATCH_MAX];
};

const struct workload_description *workload_list(void) {
  static struct workload_description list[ARRAY_SIZE(workloads) + 1];
  for (size_t i = 0; i < ARRAY_SIZE(workloads); i++)
    list[i] = workloads[i]->description;
  return list;
}

const char *workload_list_names(void) {
  static char names[256];
  char *at = names;
  for (size_t i = 0; i < ARRAY_SIZE(workloads); i++) {
    const size_t left = (size_t)(names + sizeof names - at);
    const int size = snprintf(at, left, "%s%s", i ? ", " : "", workloads[i]->description.name);
    assert(size > 0 && (size_t)size < left);
    at += size;
  }
  return names;
}

static const struct workload *find_workload(const char *name, struct error *error) {
  for (size_t i = 0; i < ARRAY_SIZE(workloads); i++)
    if (name && strcmp(workloads[i]->description.name, name) == 0)
      return workloads[i];
  error_set(error, ERR_BAD_INPUT, "unknown workload \"%s\"; known are %s", name ? name : "",
            workload_list_names());
  return NULL;
}

int generator_new(const struct generator_options *options, struct generator **generator,
                  struct error *error) {
  const struct workload *workload = find_workload(options->workload, error);
  if (!workload)
    return ERR_BAD_INPUT;
  assert(options->shard_count == 0 || options->shard < options->shard_count);
  struct generator *made = xcalloc(1, sizeof *made);
  made->workload = workload;
  made->options = *options;
  made->options.workload = NULL;
  if (made->options.operations_per_set == 0)
    made->options.operations_per_set = OPERATIONS_PER_SET_DEFAULT;
  /* Shards of one run share the seed and still draw differently. */
  random_seed(&made->random, options->seed ^ (options->shard + 1) * UINT64_C(0x9E3779B97F4A7C15));
  *generator = made;
  return 0;
}

void generator_free(struct generator *generator) {
  if (!generator)
    return;
  free(generator->groups);
  free(generator->notes);
  free(generator);
}

/* ---- Text ---- */

static char *put_text(char *at, const char *text) {
  while (*text)
    *at++ = *text++;
  return at;
}

static char *put_number(char *at, uint64_t number) {
  char digits[20];
  size_t size = 0;
  do
    digits[size++] = (char)('0' + number % 10);
  while (number /= 10);
  while (size > 0)
    *at++ = digits[--size];
  return at;
}

static struct text place_path(const struct working_set *set, const char *relative, char *room) {
  assert(set->top_size + (relative ? strlen(relative) : 0) + 2 <= PATH_ROOM);
  memcpy(room, set->top, set->top_size);
  char *end = room + set->top_size;
  if (relative) {
    *end++ = '/';
    end = put_text(end, relative);
  }
  *end = '\0';
  return (struct text){room, (size_t)(end - room)};
}

void draw_path(struct draw *draw, const char *relative) {
  draw->arguments->path = place_path(draw->set, relative, draw->text->path);
}

void draw_destination(struct draw *draw, const char *relative) {
  draw->arguments->destination = place_path(draw->set, relative, draw->text->destination);
}

void draw_value(struct draw *draw) {
  const struct generator *generator = draw->generator;
  const uint64_t shards = generator->options.shard_count ? generator->options.shard_count : 1;
  char *value = draw->text->value, *at = put_text(value, "v");
  at = put_number(at, generator->options.shard + shards * draw->client);
  at = put_text(at, "-");
  at = put_number(at, ++draw->note->values);
  *at = '\0';
  draw->arguments->value = (struct text){value, (size_t)(at - value)};
}

/* ---- Drawing ---- */

enum operation_kind draw_kind(struct random *random, const struct weight *weights, size_t count) {
  uint64_t sum = 0;
  for (size_t i = 0; i < count; i++)
    sum += weights[i].weight;
  uint64_t at = random_below(random, sum);
  size_t i = 0;
  while (at >= weights[i].weight)
    at -= weights[i++].weight;
  return weights[i].kind;
}

void draw_batch(struct draw *draw, size_t count, void (*draw_item)(struct draw *item, size_t index)) {
  struct generator *generator = draw->generator;
  assert(count <= WORKLOAD_BATCH_MAX);
  draw->arguments->kind = OPERATION_BATCH;
  draw->arguments->items = generator->items;
  draw->arguments->item_count = count;
  for (size_t i = 0; i < count; i++) {
    struct note note = *draw->note;
    struct draw item = *draw;
    generator->items[i] = (struct arguments){.kind = OPERATION_STAT};
    item.arguments = &generator->items[i];
    item.text = &generator->item_texts[i];
    item.note = &note;
    draw_item(&item, i);
    draw->note->values = note.values;
  }
}

void draw_if_version(struct draw *draw, double probability, int object) {
  const uint64_t version = draw->set->versions[object];
  if (version == 0 || !random_chance(draw->random, probability))
    return;
  draw->arguments->has_if_version = true;
  draw->arguments->if_version = version;
}

uint64_t seen_version(const struct arguments *arguments, enum outcome outcome, const struct answer *answer) {
  if (outcome == OUTCOME_INFO || !(answer->seen & SEEN_VERSION))
    return arguments->kind == OPERATION_CREATE && outcome == OUTCOME_OK ? 1 : 0;
  return answer->version;
}

static void begin_set(struct generator *generator, size_t group, uint64_t number) {
  struct working_set *set = &generator->groups[group];
  *set = (struct working_set){.number = number};
  char *at = put_text(set->top, "/w");
  if (!generator->options.shared)
    at = put_number(at, generator->options.shard);
  at = put_text(at, "-");
  at = put_number(at, group);
  at = put_text(at, "-");
  at = put_number(at, number);
  set->top_size = (size_t)(at - set->top);
  if (generator->workload->begin)
    generator->workload->begin(set);
}

/* One client in READER_EVERY only reads. A client that writes leaves a primary that was cut from its quorum
 * with its first write, which goes unanswered; one that only reads stays for as long as it is answered, and
 * so sees whether that primary goes on answering when another one has taken over. Readers neither make nor
 * use up working sets. */
static bool is_reader(size_t client) {
  return client % READER_EVERY == READER_EVERY - 1;
}

/* The working set of a client's group, and the client's note; both are made when they are new. */
static struct working_set *set_of(struct generator *generator, size_t client, struct note **note) {
  const size_t group = client / GROUP_SIZE;
  if (group >= generator->group_count) {
    generator->groups = xrealloc(generator->groups, (group + 1) * sizeof *generator->groups);
    while (generator->group_count <= group)
      begin_set(generator, generator->group_count++, 0);
  }
  if (client >= generator->note_count) {
    generator->notes = xrealloc(generator->notes, (client + 1) * sizeof *generator->notes);
    memset(generator->notes + generator->note_count, 0,
           (client + 1 - generator->note_count) * sizeof *generator->notes);
    generator->note_count = client + 1;
  }
  *note = &generator->notes[client];
  return &generator->groups[group];
}

/* One of the things that the set still needs. The first missing one mostly: what stands later may need it. */
static void draw_setup(struct draw *draw, const struct workload *workload) {
  size_t step = draw->set->made_count;
  if (random_chance(draw->random, 0.5))
    step += random_below(draw->random, workload->setup_count - step);
  while (draw->set->made[step])
    step = step + 1 < workload->setup_count ? step + 1 : draw->set->made_count;
  draw->note->step = (int)step;
  draw->arguments->kind = workload->setup[step].kind;
  draw->arguments->parents = true;
  draw_path(draw, workload->setup[step].path);
}

static void draw_anything(struct draw *draw, const struct workload *workload) {
  struct note *note = draw->note;
  *note =
      (struct note){.set = draw->set->number, .step = -1, .object = -1, .other = -1, .values = note->values};
  *draw->arguments = (struct arguments){.kind = OPERATION_STAT};
  if (!is_reader(draw->client) && draw->set->made_count < workload->setup_count)
    draw_setup(draw, workload);
  else
    workload->draw(draw);
}

void generator_next(struct generator *generator, size_t client, struct arguments *arguments) {
  const struct workload *workload = generator->workload;
  struct note *note;
  struct working_set *set = set_of(generator, client, &note);
  const bool reader = is_reader(client);
  if (!reader && set->drawn++ == generator->options.operations_per_set) {
    begin_set(generator, client / GROUP_SIZE, set->number + 1);
    set->drawn = 1;
  }
  struct draw draw = {generator, &generator->random, set, note, arguments, &generator->text, client};
  do
    draw_anything(&draw, workload);
  while (reader && operation_is_mutation(arguments->kind));
  assert(arguments->kind == OPERATION_COMMIT_BLOCK || arguments->kind == OPERATION_BATCH ||
         arguments->path.data);
}

void generator_learn(struct generator *generator, size_t client, const struct arguments *arguments,
                     enum outcome outcome, const struct answer *answer) {
  const struct workload *workload = generator->workload;
  struct note *note;
  struct working_set *set = set_of(generator, client, &note);
  if (note->set != set->number)
    return;
  if (note->step < 0) {
    if (workload->learn && (outcome == OUTCOME_OK || outcome == OUTCOME_FAIL))
      workload->learn(set, note, arguments, outcome, answer);
    return;
  }
  if (outcome == OUTCOME_OK || (outcome == OUTCOME_FAIL && answer->code == ANSWER_EXISTS))
    set->made[note->step] = true;
  while (set->made_count < workload->setup_count && set->made[set->made_count])
    set->made_count++;
}
