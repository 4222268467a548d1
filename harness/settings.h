/* settings.h: everything a person can choose about a run, checked before anything is made. */
#ifndef ASSAY_HARNESS_SETTINGS_H
#define ASSAY_HARNESS_SETTINGS_H

#include <jansson.h>

#include "base/base.h"
#include "harness/hosts.h"
#include "nemesis/nemesis.h"

#define CLIENT_PROCESSES_MAX 16

struct settings {
  const char *name; /* of the test: a directory of the store */
  int64_t nodes;
  int64_t workers;  /* assay-workers beside the masters */
  int64_t time_ns;  /* of load under faults */
  int64_t final_ns; /* of load after the last fault healed */
  const char *workload;
  const char *reads_name; /* primary, any: where clients read */
  bool reads_any;
  const char *nemesis;    /* families, faults, mixes, comma-separated; "swarm"; "none" */
  const char *schedule;   /* file of faults that are told; NULL: none */
  struct flag_list paces; /* "kill=20s" */
  int64_t fault_interval_ns, fault_duration_ns; /* 0: the nemesis's defaults */
  int64_t seed;                                 /* -1: not given */
  int64_t clients;                              /* logical ones, over all client processes */
  int64_t client_processes;
  double rate; /* operations a second over all clients; 0: as fast as they go */
  int64_t operations_per_set;
  int64_t request_timeout_ns;
  int64_t live_within_ns;    /* after the last fault healed */
  const char *provider_name; /* auto, netns, host, ssh, vagrant */
  enum provider provider;    /* what it came to */
  char provider_reason[600]; /* why auto fell back to host; "" when it did not */
  const char *link_name;     /* auto, veth, tap */
  enum link_kind link;
  bool pcap;               /* record the traffic */
  struct host_flags hosts; /* provider ssh */
  const char *vagrant_directory;
  bool delegated;     /* provider vagrant, outside of its machines: there is nothing to be done but
                         vagrant_delegate() */
  int64_t cluster_id; /* of the masters: drawn, so that none is taken for one of another run */
  const char *store;
  const char *master, *old_master; /* programs */
  const char *bug;
  int64_t cache_size;            /* of every master, bytes; below 0: its default */
  struct flag_list master_flags; /* further arguments of every master */
  int64_t floor;                 /* fewer ok operations than this: vacuous */
  int64_t time_budget_ns;
  int64_t memory_budget;
  bool tls; /* masters and everybody who talks to them: with certificates made for the run */
  bool json;
  char master_path[4096], old_master_path[4096];
};

/* Parses and checks a command line of `assay run`. Returns -1 to go on, or an exit code (message printed). */
int settings_parse(struct settings *settings, int argc, char **argv);

/* What a parameter is when nothing is said of it. */
const struct settings *settings_defaults(void);

/* Every parameter, for test.json. */
json_t *settings_to_json(const struct settings *settings);

/* The command that repeats the run: what differs from the defaults, and the seed. Text to free(), for a
 * shell. */
char *settings_command(const struct settings *settings);
/* The same as words: "assay", "run", …; NULL-terminated, words and array to free(). */
char **settings_arguments(const struct settings *settings);

/* The master's program for that provider, as settings_find_program finds it; with PROVIDER_SSH it lies on the
 * hosts: `given` if that is an absolute path, "" if it is NULL. */
int settings_find_master(const char *given, const char *flag, enum provider provider, char *path, size_t size,
                         struct error *error);

/* The program in the directory of the running one, or `given` when it is not NULL; into `path`.
 * ERR_NOT_FOUND with the cure when nothing executable is there. */
int settings_find_program(const char *given, const char *name, const char *flag, char *path, size_t size,
                          struct error *error);

/* "auto", "netns", "host" or "ssh"; for auto, `reason` (600 bytes) tells why it came to host. netns on a
 * machine that does not allow it is ERR_UNSUPPORTED. */
int settings_choose_provider(const char *name, enum provider *provider, char *reason, struct error *error);

/* ERR_BAD_INPUT when workers cannot be started with that provider. */
int settings_check_workers(int64_t workers, enum provider provider, struct error *error);

const char *provider_name(enum provider provider);

/* "primary" or "any": --reads of several commands. */
int settings_choose_reads(const char *name, bool *any, struct error *error);

/* "auto", "veth" or "tap". */
int settings_choose_link(const char *name, enum link_kind *link, struct error *error);

#endif
