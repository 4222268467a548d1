#include <criterion/criterion.h>
#include <string.h>

#include "base/base.h"

static int64_t nodes = 3, duration = 0, size = 0;
static double rate = 0;
static bool json = false;
static const char *store = "store";
static struct flag_list peers;

static const struct flag flags[] = {
    {"nodes", FLAG_INT, &nodes, "N", "masters", 1, 9},
    {"time", FLAG_DURATION, &duration, "T", "how long", 0, 3600e9},
    {"memory", FLAG_SIZE, &size, "BYTES", "memory", 0, 0},
    {"rate", FLAG_DOUBLE, &rate, "N", "rate", 0, 0},
    {"json", FLAG_BOOL, &json, NULL, "JSON", 0, 0},
    {"store", FLAG_STRING, &store, "DIR", "where", 0, 0},
    {"peer", FLAG_LIST, &peers, "P", "peer", 0, 0},
};
static const struct flag_set set = {"test", "tests", "FILE…", flags, ARRAY_SIZE(flags)};

static int parse(char **argv, int argc, int *kept, struct error *error) {
  bool help;
  return flags_parse(&set, argc, argv, kept, &help, error);
}
#define PARSE(kept, error, ...)                                                                              \
  parse((char *[]){"test", __VA_ARGS__, NULL}, (int)ARRAY_SIZE(((char *[]){"test", __VA_ARGS__})), kept,     \
        error)

Test(flags, every_kind_is_parsed) {
  int kept;
  struct error error = {0};
  char *argv[] = {"test",       "a", "--nodes", "5", "--time=250ms", "--memory", "64K", "--json",
                  "--rate=2.5", "b", "--peer",  "x", "--peer",       "y",        "--",  "--nodes",
                  NULL};
  cr_assert_eq(parse(argv, 16, &kept, &error), 0, "%s", error.message);
  cr_assert(nodes == 5 && duration == 250 * NS_PER_MS && size == 65536 && json && rate == 2.5);
  cr_assert(peers.count == 2 && strcmp(peers.items[1], "y") == 0);
  cr_assert_eq(kept, 3);
  cr_assert_str_eq(argv[1], "a");
  cr_assert_str_eq(argv[2], "b");
  cr_assert_str_eq(argv[3], "--nodes");
}

Test(flags, errors_name_the_flag_and_the_cure) {
  int kept;
  struct error error = {0};
  cr_assert_eq(PARSE(&kept, &error, "--node", "3"), ERR_BAD_INPUT);
  cr_assert(strstr(error.message, "--nodes"), "%s", error.message);
  cr_assert_eq(PARSE(&kept, &error, "--nodes", "12"), ERR_BAD_INPUT);
  cr_assert(strstr(error.message, "1 to 9"), "%s", error.message);
  cr_assert_eq(PARSE(&kept, &error, "--nodes", "3x"), ERR_BAD_INPUT);
  cr_assert_eq(PARSE(&kept, &error, "--nodes"), ERR_BAD_INPUT);
  cr_assert_eq(PARSE(&kept, &error, "--time", "soon"), ERR_BAD_INPUT);
  cr_assert(strstr(error.message, "30s"), "%s", error.message);
  cr_assert_eq(PARSE(&kept, &error, "--json=maybe"), ERR_BAD_INPUT);
  cr_assert_eq(PARSE(&kept, &error, "-v"), ERR_BAD_INPUT);
}
