#include "harness/pack_readme.h"

#include <stdlib.h>

#include "harness/document.h"

static const struct {
  const char *name, *what;
} rooms[] = {
    {"report.html", "all of it as one page: begin here"},
    {"result.json", "the verdict, and everything that was counted"},
    {"test.json", "parameters, seed, versions, the machine and its name, the command line"},
    {"history.jsonl",
     "every operation and every fault, by time; checked again with: assay check history.jsonl"},
    {"parts", "what each process recorded, not merged: assay check parts/client-0.jsonl"},
    {"certificate", "an order that explains every answer: assay-verify history.jsonl certificate"},
    {"counterexample.jsonl", "a smallest history that is wrong, too: assay check counterexample.jsonl"},
    {"schedule.json", "the faults that really happened, and when"},
    {"events.jsonl", "what the conductor, the nemesis and the clients said while it ran"},
    {"logs", "standard error of the nemesis and the clients; stacks-….txt: stacks of what hung"},
    {"nodes", "a directory for each master: its log, and cores if it crashed"},
    {"diagnostics.txt", "cores, stacks and kernel messages: what there is, and why the rest is missing"},
    {"kernel.log", "what the kernel said while the run went on"},
};

static json_t *read_document(const char *run, const char *name) {
  char *path = path_join(run, name);
  json_t *document = document_read(path, NULL);
  free(path);
  return document;
}

static void append_versions(struct bytes *page, const json_t *test) {
  const char *name;
  json_t *version;
  bool first = true;
  json_object_foreach(json_object_get(test, "versions"), name, version) {
    bytes_append_format(page, "%s%s %s", first ? "Versions  " : ", ", name,
                        json_is_string(version) ? json_string_value(version) : "?");
    first = false;
  }
  const json_t *machine = json_object_get(test, "machine");
  bytes_append_format(page, "%sLinux %s on %s, %lld processors\n", first ? "Versions  " : ", ",
                      document_string(machine, "kernel", "?"), document_string(machine, "architecture", "?"),
                      (long long)document_integer(machine, "processors", 0));
}

static void append_files(struct bytes *page, const char *run) {
  for (size_t i = 0; i < ARRAY_SIZE(rooms); i++) {
    char *path = path_join(run, rooms[i].name);
    if (file_exists(path))
      bytes_append_format(page, "%-21s %s\n", rooms[i].name, rooms[i].what);
    free(path);
  }
}

void pack_readme(const char *run, bool with_data, struct bytes *page) {
  json_t *test = read_document(run, "test.json"), *result = read_document(run, "result.json");
  const char *command = document_string(test, "command", NULL);
  bytes_append_format(page, "A run of Assay, packed by `assay pack`.\n\n");
  bytes_append_format(page, "Result    %s\n",
                      document_string(result, "sentence", "none: the run never came to one"));
  bytes_append_format(page, "Began     %s\n", document_string(test, "began", "at a time that is not known"));
  append_versions(page, test);
  bytes_append_format(page, "Again     %s\n\n", command ? command : "(the command is not known)");
  append_files(page, run);
  bytes_append_format(
      page, "\n%s\n",
      with_data
          ? "nodes/*/data is what the masters stored, if the run kept it."
          : "What the masters stored (nodes/*/data) is not in here: assay pack --with-data packs it, too.");
  json_decref(test);
  json_decref(result);
}
