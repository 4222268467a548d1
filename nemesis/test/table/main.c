/* main.c: the program assay-fault-table: proves the faults of the catalogue one by one and prints the table.
 *
 * Its exit code is 0 when every fault that was asked for is proved, or lacks what it needs and may; 77 when
 * all of them lack it; 1 when a proof falls short or there is none; 64 for wrong usage. */
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>

#include "nemesis/test/inside.h"
#include "nemesis/test/table/table.h"

#define EXIT_SKIPPED 77

/* Where a proof allows it. */
#define LOOKS 3

static const struct proof_table *const tables[] = {&partition_proofs, &process_proofs,  &lifecycle_proofs,
                                                   &link_proofs,      &clock_proofs,    &disk_proofs,
                                                   &snapshot_proofs,  &resource_proofs, &membership_proofs};

/* In the order of enum capability. */
static const char *const capability_names[CAPABILITIES] = {
    "filter", "link", "disk", "clock", "resource", "old-build", "snapshot", "members", "spare"};
static const char *const verdict_names[VERDICTS] = {"broke off", "holds", "FALLS SHORT", "lacking"};

struct settings {
  const char *fault, *families, *require, *complete, *link, *expect_link;
  bool list, json;
};

static const struct proof *find_proof(const char *fault) {
  for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
    for (size_t k = 0; k < tables[i]->count; k++)
      if (strcmp(tables[i]->proofs[k].fault, fault) == 0)
        return &tables[i]->proofs[k];
  return NULL;
}

void row_expect(struct row *row, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(row->expected, sizeof row->expected, format, arguments);
  va_end(arguments);
}

void row_found(struct row *row, enum phase phase, bool holds, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(row->cells[phase].text, sizeof row->cells[phase].text, format, arguments);
  va_end(arguments);
  row->cells[phase].holds = holds;
}

/* ---- One fault ---- */

struct task {
  const struct proof *proof;
  const struct fault *fault;
  const struct settings *settings;
  const char *directory;
  struct row *row; /* shared with the sandbox */
};

static void fall_short(struct row *row, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void fall_short(struct row *row, const char *format, ...) {
  va_list arguments;
  if (row->verdict == FALLS_SHORT)
    return; /* the first reason is the cause */
  row->verdict = FALLS_SHORT;
  va_start(arguments, format);
  vsnprintf(row->reason, sizeof row->reason, format, arguments);
  va_end(arguments);
}

static bool is_lacking(const struct bed *bed, const struct fault *fault, struct row *row) {
  for (int i = 0; i < CAPABILITIES; i++) {
    const char *why =
        fault->needs & CAPABILITY_BIT(i) ? cluster_lacks(bed->cluster, (enum capability)i) : NULL;
    if (!why)
      continue;
    row->verdict = LACKING;
    row->lacks |= CAPABILITY_BIT(i);
    snprintf(row->reason, sizeof row->reason, "%s", why);
  }
  return row->verdict == LACKING;
}

static void look(struct bed *bed, const struct task *task, enum phase phase) {
  static const char *const when[PHASES] = {"before it was installed", "while it was present",
                                           "after it was healed"};
  struct row *row = task->row;
  row->again = true;
  for (int looks = 0; looks < LOOKS && row->again && !row->cells[phase].holds; looks++) {
    row->again = false;
    task->proof->measure(bed, phase, row);
  }
  if (!row->cells[phase].holds)
    fall_short(row, "%s the probe did not find what it should", when[phase]);
}

static void note_link(const struct bed *bed, const struct task *task) {
  const char *kind = cluster_link_kind(bed->cluster), *wanted = task->settings->expect_link;
  snprintf(task->row->link, sizeof task->row->link, "%s", kind);
  if (wanted && (task->fault->needs & CAPABILITY_BIT(CAN_SHAPE)) && strcmp(kind, wanted) != 0)
    fall_short(task->row, "the links are %s, not %s", kind, wanted);
}

static enum link_kind link_of(const struct settings *settings) {
  if (settings->link && strcmp(settings->link, "tap") == 0)
    return LINK_TAP;
  return settings->link && strcmp(settings->link, "veth") == 0 ? LINK_VETH : LINK_AUTO;
}

static int prove(void *context) {
  const struct task *task = context;
  struct row *row = task->row;
  struct error error = {0};
  struct bed bed;
  const struct bed_options options = {task->directory, task->fault->needs, link_of(task->settings)};
  bed_open(&bed, &options);
  note_link(&bed, task);
  if (is_lacking(&bed, task->fault, row)) {
    bed_close(&bed);
    return 0;
  }
  look(&bed, task, BEFORE);
  if (!bed_install(&bed, task->fault->description.name, task->proof->told, &error)) {
    fall_short(row, "not installed: %s", error.message);
  } else {
    if (task->fault->at_primary && !bed_is_target(&bed, BED_PRIMARY))
      fall_short(row, "it was not aimed at the primary");
    look(&bed, task, DURING);
    if (bed_heal(&bed, &error))
      look(&bed, task, AFTER);
    else
      fall_short(row, "not healed: %s", error.message);
  }
  bed_close(&bed);
  if (bed.problem[0] != '\0')
    fall_short(row, "%s", bed.problem);
  if (row->verdict == BROKE_OFF)
    row->verdict = HOLDS;
  return 0;
}

static void prove_in_sandbox(const struct settings *settings, const struct fault *fault, struct row *row) {
  struct task task = {
      .proof = find_proof(fault->description.name), .fault = fault, .settings = settings, .row = row};
  if (!task.proof) {
    fall_short(row, "no proof: write one in nemesis/test/table/");
    return;
  }
  char *directory = scratch_make();
  CHECK(directory, "cannot make a directory under /tmp");
  task.directory = directory;
  const int code = run_inside(USER_AS_IS, prove, &task);
  if (code != 0 || row->verdict == BROKE_OFF) {
    row->verdict = BROKE_OFF;
    snprintf(row->reason, sizeof row->reason, "the proof ended with %d; what it said stands above", code);
  }
  scratch_remove(directory);
}

/* ---- The table ---- */

static const char *probe_of(const struct fault *fault) {
  const struct proof *proof = find_proof(fault->description.name);
  return proof ? proof->probe : "";
}

static void print_line(const char *fault, const char *probe, const char *expected, const char *before,
                       const char *during, const char *after, const char *verdict) {
  printf("%-25s %-34s %-35s %-25s %-26s %-25s %s\n", fault, probe, expected, before, during, after, verdict);
}

static void print_row(const struct fault *fault, const struct row *row) {
  print_line(fault->description.name, probe_of(fault), row->expected, row->cells[BEFORE].text,
             row->cells[DURING].text, row->cells[AFTER].text, verdict_names[row->verdict]);
  if (row->reason[0] != '\0')
    printf("  %s\n", row->reason);
  fflush(stdout);
}

static void print_json(json_t *object) {
  char *text = json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER);
  printf("%s\n", text);
  fflush(stdout);
  free(text);
  json_decref(object);
}

static void print_row_json(const struct fault *fault, const struct row *row) {
  print_json(json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "fault", fault->description.name,
                       "family", fault->description.family, "probe", probe_of(fault), "expected",
                       row->expected, "before", row->cells[BEFORE].text, "during", row->cells[DURING].text,
                       "after", row->cells[AFTER].text, "link", row->link, "verdict",
                       verdict_names[row->verdict], "reason", row->reason));
}

struct totals {
  size_t faults, of[VERDICTS];
  unsigned lacks;
  char link[16]; /* what shaped links; "" when none was */
};

static void print_totals(const struct settings *settings, const struct totals *totals) {
  const size_t short_of = totals->of[FALLS_SHORT] + totals->of[BROKE_OFF];
  struct utsname system;
  uname(&system);
  if (settings->json)
    print_json(json_pack("{s:I, s:I, s:I, s:I, s:s, s:s}", "faults", (json_int_t)totals->faults, "hold",
                         (json_int_t)totals->of[HOLDS], "fall_short", (json_int_t)short_of, "lacking",
                         (json_int_t)totals->of[LACKING], "link", totals->link, "kernel", system.release));
  else
    printf("%zu faults: %zu hold, %zu fall short, %zu lacking; links shaped by %s; kernel %s\n",
           totals->faults, totals->of[HOLDS], short_of, totals->of[LACKING],
           totals->link[0] != '\0' ? totals->link : "nobody", system.release);
}

/* ---- What is asked for ---- */

static bool contains(const char *list, const char *word) {
  const size_t length = strlen(word);
  for (const char *at = list; at && *at; at += strcspn(at, ","), at += *at == ',')
    if (strncmp(at, word, length) == 0 && (at[length] == ',' || at[length] == '\0'))
      return true;
  return false;
}

/* Every fault has a proof, every proof a fault, and every family is among those of the list. */
static int check_complete(const char *families) {
  int code = 0;
  for (const struct fault_description *fault = fault_list(); fault->name; fault++) {
    if (!find_proof(fault->name)) {
      printf("%s has no proof: write one in nemesis/test/table/\n", fault->name);
      code = 1;
    }
    if (!contains(families, fault->family)) {
      printf("the family %s of %s is missing in nemesis/test/table/CMakeLists.txt\n", fault->family,
             fault->name);
      code = 1;
    }
  }
  for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
    for (size_t k = 0; k < tables[i]->count; k++)
      if (!catalogue_find(tables[i]->proofs[k].fault)) {
        printf("a proof of %s, which is no fault\n", tables[i]->proofs[k].fault);
        code = 1;
      }
  return code;
}

static unsigned capabilities_named(const char *word) {
  for (int i = 0; i < CAPABILITIES; i++)
    if (strcmp(word, capability_names[i]) == 0)
      return CAPABILITY_BIT(i);
  return strcmp(word, "all") == 0 ? ~0u : 0;
}

static int read_required(const char *list, unsigned *required) {
  char *copy = xstrdup(list), *rest = copy;
  int code = 0;
  for (char *word; code == 0 && (word = strsep(&rest, ","));) {
    const unsigned named = capabilities_named(word);
    *required |= named;
    if (named == 0) {
      fprintf(stderr, "--require: '%s' is unknown; it takes all or some of:", word);
      for (int i = 0; i < CAPABILITIES; i++)
        fprintf(stderr, " %s", capability_names[i]);
      fputc('\n', stderr);
      code = EXIT_USAGE;
    }
  }
  free(copy);
  return code;
}

static int prove_all(const struct settings *settings, unsigned required) {
  struct totals totals = {0};
  struct row *row = mmap(NULL, sizeof *row, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(row != MAP_FAILED, "no memory");
  if (!settings->json)
    print_line("fault", "probe", "expected", "before", "during", "after", "");
  for (const struct fault_description *it = fault_list(); it->name; it++) {
    const struct fault *fault = catalogue_find(it->name);
    if ((settings->fault && !contains(settings->fault, it->name)) ||
        (settings->families && !contains(settings->families, it->family)))
      continue;
    *row = (struct row){0};
    prove_in_sandbox(settings, fault, row);
    (settings->json ? print_row_json : print_row)(fault, row);
    totals.faults++;
    totals.of[row->verdict]++;
    totals.lacks |= row->lacks;
    if (fault->needs & CAPABILITY_BIT(CAN_SHAPE))
      snprintf(totals.link, sizeof totals.link, "%s", row->link);
  }
  print_totals(settings, &totals);
  if (totals.faults == 0) {
    fprintf(stderr, "no fault of that name or family\n");
    return EXIT_USAGE;
  }
  if (totals.lacks & required)
    fprintf(stderr, "what is required is lacking\n");
  if (totals.of[FALLS_SHORT] + totals.of[BROKE_OFF] > 0 || (totals.lacks & required))
    return 1;
  return totals.of[LACKING] == totals.faults ? EXIT_SKIPPED : 0;
}

int main(int argc, char **argv) {
  struct settings settings = {0};
  const struct flag flags[] = {
      {"fault", FLAG_STRING, &settings.fault, "NAME,…", "prove these faults only", 0, 0},
      {"family", FLAG_STRING, &settings.families, "NAME,…", "prove these families only", 0, 0},
      {"require", FLAG_STRING, &settings.require, "WHAT,…",
       "fail when faults that need this are lacking: all, filter, link, disk, …", 0, 0},
      {"link", FLAG_STRING, &settings.link, "KIND", "what joins the nodes: auto, veth or tap", 0, 0},
      {"expect-link", FLAG_STRING, &settings.expect_link, "KIND",
       "fail when links are shaped by something else: netem or tap", 0, 0},
      {"complete", FLAG_STRING, &settings.complete, "FAMILY,…",
       "prove nothing: check that every fault has a proof and that these are all the families", 0, 0},
      {"list", FLAG_BOOL, &settings.list, NULL, "list the faults and their probes", 0, 0},
      {"json", FLAG_BOOL, &settings.json, NULL, "one JSON object a fault, and one of totals", 0, 0},
  };
  const struct flag_set set = {"assay-fault-table", "proves from outside that faults take hold and heal",
                               NULL, flags, ARRAY_SIZE(flags)};
  int positional = 0;
  unsigned required = 0;
  const int code = flags_parse_or_exit_code(&set, argc, argv, &positional);
  if (code >= 0)
    return code;
  if (settings.complete)
    return check_complete(settings.complete);
  if (settings.list) {
    for (const struct fault_description *fault = fault_list(); fault->name; fault++)
      printf("%-24s %s\n", fault->name, probe_of(catalogue_find(fault->name)));
    return 0;
  }
  if (settings.require && read_required(settings.require, &required) != 0)
    return EXIT_USAGE;
  return prove_all(&settings, required);
}
