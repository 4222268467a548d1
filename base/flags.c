#include "base/flags.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t flags_name_distance(const char *a, const char *b) {
  size_t row[65];
  const size_t columns = strlen(b);
  if (columns > 64)
    return SIZE_MAX;
  for (size_t j = 0; j <= columns; j++)
    row[j] = j;
  for (size_t i = 1; a[i - 1] != '\0'; i++) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= columns; j++) {
      const size_t above = row[j];
      size_t best = diagonal + (a[i - 1] != b[j - 1]);
      if (above + 1 < best)
        best = above + 1;
      if (row[j - 1] + 1 < best)
        best = row[j - 1] + 1;
      row[j] = best;
      diagonal = above;
    }
  }
  return row[columns];
}

static const struct flag *find_flag(const struct flag_set *set, const char *name) {
  for (size_t i = 0; i < set->count; i++)
    if (strcmp(set->flags[i].name, name) == 0)
      return &set->flags[i];
  return NULL;
}

static int unknown_flag(const struct flag_set *set, const char *name, struct error *error) {
  const char *nearest = NULL;
  size_t best = 4;
  for (size_t i = 0; i < set->count; i++) {
    const size_t distance = flags_name_distance(name, set->flags[i].name);
    if (distance < best) {
      best = distance;
      nearest = set->flags[i].name;
    }
  }
  if (nearest)
    return error_set(error, ERR_BAD_INPUT, "unknown flag --%s; did you mean --%s? (%s --help lists all)",
                     name, nearest, set->program);
  return error_set(error, ERR_BAD_INPUT, "unknown flag --%s; %s --help lists all", name, set->program);
}

static int parse_scaled(const struct flag *flag, const char *text, double *value, struct error *error) {
  struct unit {
    const char *name;
    double factor;
  };
  static const struct unit durations[] = {{"", 1e9}, {"s", 1e9},  {"ms", 1e6},   {"us", 1e3},
                                          {"ns", 1}, {"m", 60e9}, {"h", 3600e9}, {NULL, 0}};
  static const struct unit sizes[] = {{"", 1},       {"K", 1024.0}, {"M", 1048576.0},
                                      {"G", 0x1p30}, {"T", 0x1p40}, {NULL, 0}};
  static const struct unit plain[] = {{"", 1}, {NULL, 0}};
  char *end;
  errno = 0;
  const double number = strtod(text, &end);
  const struct unit *unit = flag->kind == FLAG_DURATION ? durations : flag->kind == FLAG_SIZE ? sizes : plain;
  while (unit->name && strcmp(unit->name, end) != 0)
    unit++;
  if (end == text || errno != 0 || !unit->name || !isfinite(number))
    return error_set(error, ERR_BAD_INPUT, "--%s takes %s, not '%s'", flag->name,
                     flag->kind == FLAG_DURATION ? "a duration such as 30s, 250ms or 2m"
                     : flag->kind == FLAG_SIZE   ? "a size such as 64K, 16M or 2G"
                                                 : "a number",
                     text);
  *value = number * unit->factor;
  return 0;
}

static int check_bounds(const struct flag *flag, double value, const char *text, struct error *error) {
  const bool bounded = flag->low != 0 || flag->high != 0;
  const bool integral = flag->kind != FLAG_DOUBLE;
  if (bounded && (value < flag->low || value > flag->high)) {
    const double scale = flag->kind == FLAG_DURATION ? 1e9 : 1;
    return error_set(error, ERR_BAD_INPUT, "--%s %s is out of range: %g to %g%s", flag->name, text,
                     flag->low / scale, flag->high / scale, flag->kind == FLAG_DURATION ? " seconds" : "");
  }
  if (integral && (value < -9.2e18 || value > 9.2e18 || value != floor(value)))
    return error_set(error, ERR_BAD_INPUT, "--%s takes a whole number, not '%s'", flag->name, text);
  return 0;
}

static int parse_int(const struct flag *flag, const char *text, struct error *error) {
  char *end;
  errno = 0;
  const long long value = strtoll(text, &end, 10);
  if (end == text || *end != '\0' || errno != 0)
    return error_set(error, ERR_BAD_INPUT, "--%s takes a whole number, not '%s'", flag->name, text);
  const int status = check_bounds(flag, (double)value, text, error);
  if (status == 0)
    *(int64_t *)flag->target = value;
  return status;
}

static int assign(const struct flag *flag, const char *text, struct error *error) {
  double number = 0;
  int status = 0;
  switch (flag->kind) {
  case FLAG_BOOL:
    if (!text || strcmp(text, "true") == 0)
      *(bool *)flag->target = true;
    else if (strcmp(text, "false") == 0)
      *(bool *)flag->target = false;
    else
      return error_set(error, ERR_BAD_INPUT, "--%s takes true or false, not '%s'", flag->name, text);
    return 0;
  case FLAG_STRING:
    *(const char **)flag->target = text;
    return 0;
  case FLAG_INT:
    return parse_int(flag, text, error);
  case FLAG_LIST: {
    struct flag_list *list = flag->target;
    if (list->count == sizeof list->items / sizeof list->items[0])
      return error_set(error, ERR_BAD_INPUT, "--%s is given too often (64 times at most)", flag->name);
    list->items[list->count++] = text;
    return 0;
  }
  case FLAG_DOUBLE:
  case FLAG_DURATION:
  case FLAG_SIZE:
    status = parse_scaled(flag, text, &number, error);
    if (status == 0)
      status = check_bounds(flag, number, text, error);
    if (status != 0)
      return status;
    if (flag->kind == FLAG_DOUBLE)
      *(double *)flag->target = number;
    else
      *(int64_t *)flag->target = (int64_t)number;
    return 0;
  }
  return 0;
}

static void print_help(const struct flag_set *set) {
  printf("usage: %s%s%s%s\n\n%s\n", set->program, set->count ? " [flags]" : "", set->positional ? " " : "",
         set->positional ? set->positional : "", set->summary);
  if (set->count == 0)
    return;
  printf("\nflags:\n");
  for (size_t i = 0; i < set->count; i++) {
    const struct flag *flag = &set->flags[i];
    char left[80];
    snprintf(left, sizeof left, "--%s%s%s", flag->name, flag->placeholder ? " " : "",
             flag->placeholder ? flag->placeholder : "");
    printf("  %-28s %s\n", left, flag->help);
  }
  printf("  %-28s %s\n", "--help", "print this");
}

int flags_parse(const struct flag_set *set, int argc, char **argv, int *positional_count, bool *help,
                struct error *error) {
  int kept = 0;
  bool only_positional = false;
  *help = false;
  for (int i = 1; i < argc; i++) {
    char *argument = argv[i];
    if (only_positional || strncmp(argument, "--", 2) != 0) {
      if (!only_positional && argument[0] == '-' && argument[1] != '\0')
        return error_set(error, ERR_BAD_INPUT,
                         "unknown flag %s: flags begin with two dashes (%s --help lists all)", argument,
                         set->program);
      argv[1 + kept++] = argument;
      continue;
    }
    if (argument[2] == '\0') {
      only_positional = true;
      continue;
    }
    if (strcmp(argument, "--help") == 0) {
      *help = true;
      print_help(set);
      return 0;
    }
    char name[64];
    const char *equals = strchr(argument, '=');
    const size_t length = equals ? (size_t)(equals - argument - 2) : strlen(argument + 2);
    snprintf(name, sizeof name, "%.*s", (int)(length < 63 ? length : 63), argument + 2);
    const struct flag *flag = find_flag(set, name);
    if (!flag)
      return unknown_flag(set, name, error);
    const char *value = equals ? equals + 1 : NULL;
    if (!value && flag->kind != FLAG_BOOL) {
      if (i + 1 >= argc)
        return error_set(error, ERR_BAD_INPUT, "--%s needs a value: --%s %s", name, name,
                         flag->placeholder ? flag->placeholder : "VALUE");
      value = argv[++i];
    }
    const int status = assign(flag, value, error);
    if (status != 0)
      return status;
  }
  *positional_count = kept;
  if (kept > 0 && !set->positional)
    return error_set(error, ERR_BAD_INPUT, "%s takes no argument '%s'; %s --help shows its flags",
                     set->program, argv[1], set->program);
  return 0;
}

int flags_parse_or_exit_code(const struct flag_set *set, int argc, char **argv, int *positional_count) {
  struct error error = {0};
  bool help;
  if (flags_parse(set, argc, argv, positional_count, &help, &error) != 0) {
    fprintf(stderr, "%s: %s\n", set->program, error.message);
    return EXIT_USAGE;
  }
  return help ? 0 : -1;
}
