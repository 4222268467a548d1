#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "harness/commands.h"

static void print_commands(FILE *out, const char *program, const char *summary,
                           const struct command *commands, size_t count) {
  fprintf(out, "usage: %s COMMAND [flags]\n\n%s\n\ncommands:\n", program, summary);
  for (size_t i = 0; i < count; i++)
    if (commands[i].summary)
      fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
  fprintf(out, "\n%s COMMAND --help shows the flags of a command.\n", program);
}

static int unknown_command(const char *program, const struct command *commands, size_t count,
                           const char *name) {
  const char *nearest = NULL;
  size_t best = 4;
  for (size_t i = 0; i < count; i++) {
    const size_t far = flags_name_distance(name, commands[i].name);
    if (far < best) {
      best = far;
      nearest = commands[i].name;
    }
  }
  if (nearest)
    fprintf(stderr, "%s: unknown command '%s'; did you mean '%s %s'? (%s --help lists all)\n", program, name,
            program, nearest, program);
  else
    fprintf(stderr, "%s: unknown command '%s'; %s --help lists all\n", program, name, program);
  return EXIT_USAGE;
}

static const struct command *find_command(const struct command *commands, size_t count, const char *name) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(commands[i].name, name) == 0)
      return &commands[i];
  return NULL;
}

int command_dispatch(const char *program, const char *summary, const struct command *commands, size_t count,
                     int argc, char **argv) {
  if (argc < 2) {
    print_commands(stderr, program, summary, commands, count);
    return EXIT_USAGE;
  }
  const char *name = argv[1];
  if (strcmp(name, "--help") == 0 || strcmp(name, "help") == 0) {
    if (argc < 3) {
      print_commands(stdout, program, summary, commands, count);
      return 0;
    }
    const struct command *about = find_command(commands, count, argv[2]);
    if (!about)
      return unknown_command(program, commands, count, argv[2]);
    char help[] = "--help";
    char *arguments[] = {argv[2], help, NULL};
    return about->run(2, arguments);
  }
  const struct command *command = find_command(commands, count, name);
  if (!command)
    return unknown_command(program, commands, count, name);
  return command->run(argc - 1, argv + 1);
}

int cluster_command_flags(const char *program, const char *summary, const char *positional, int *argc,
                          char **argv, const char **store, bool *json) {
  const struct flag flags[] = {
      {"store", FLAG_STRING, store, "DIR", "where assay cluster up put it (default store)", 0, 0},
      {"json", FLAG_BOOL, json, NULL, "one JSON object", 0, 0},
  };
  const struct flag_set set = {.program = program,
                               .summary = summary,
                               .positional = positional,
                               .flags = flags,
                               .count = ARRAY_SIZE(flags)};
  int count = 0;
  const int code = flags_parse_or_exit_code(&set, *argc, argv, &count);
  *argc = 1 + count;
  return code;
}
