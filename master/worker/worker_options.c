#include "master/worker/worker_options.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "master/rpc/rpc.h"

static bool is_loopback(const struct sockaddr_storage *address) {
  if (address->ss_family == AF_INET)
    return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 == 127;
  return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
}

static int check_address(const char *flag, const char *text, struct sockaddr_storage *address,
                         struct error *error) {
  struct error cause;
  if (rpc_parse_address(text, address, &cause) == 0)
    return 0;
  return error_set(error, ERR_BAD_INPUT, "%s: %.400s", flag, cause.message);
}

static int check(struct worker_options *options, struct error *error) {
  struct sockaddr_storage address;
  const char *known = getenv("ASSAY_LISTEN_INSECURE");
  if (!options->data)
    return error_set(error, ERR_BAD_INPUT,
                     "--data is missing: the directory that keeps this worker's blocks");
  if (options->masters.count == 0)
    return error_set(error, ERR_BAD_INPUT,
                     "--master is missing: the client port of a master; give it once for each");
  for (size_t i = 0; i < options->masters.count; i++)
    if (check_address("--master", options->masters.items[i], &address, error) != 0)
      return ERR_BAD_INPUT;
  if (options->advertise && check_address("--advertise", options->advertise, &address, error) != 0)
    return ERR_BAD_INPUT;
  if (check_address("--listen", options->listen, &address, error) != 0)
    return ERR_BAD_INPUT;
  if (tls_files_check(&options->tls, &options->with_tls, error) != 0)
    return ERR_BAD_INPUT;
  if (options->with_tls || is_loopback(&address) || options->listen_insecure ||
      (known && strcmp(known, "1") == 0))
    return 0;
  return error_set(
      error, ERR_BAD_INPUT,
      "%s is not an address of this machine alone, and without TLS a worker trusts everybody who reaches it: give it "
      "--tls-certificate, --tls-key and --tls-authority, or close that network to others and give "
      "--listen-insecure, or use 127.0.0.1",
      options->listen);
}

int worker_options_parse(struct worker_options *options, int argc, char **argv) {
  struct flag_list mount_roots = {0};
  *options = (struct worker_options){.listen = "127.0.0.1:0"};
  const struct flag flags[] = {
      {"data", FLAG_STRING, &options->data, "DIR", "where this worker keeps its blocks; made if missing", 0,
       0},
      {"master", FLAG_LIST, &options->masters, "HOST:PORT", "client port of a master; once for each", 0, 0},
      {"listen", FLAG_STRING, &options->listen, "HOST:PORT",
       "where clients connect (default 127.0.0.1:0, any free port)", 0, 0},
      {"advertise", FLAG_STRING, &options->advertise, "HOST:PORT",
       "what clients are told to connect to (default: as --listen)", 0, 0},
      {"mount-root", FLAG_LIST, &mount_roots, "DIR",
       "directories whose files it may read, and make new ones in, for mounts: those of the masters; may be repeated "
       "(default: none)",
       0, 0},
      {"capacity", FLAG_SIZE, &options->capacity, "SIZE", "bytes of blocks it may hold (default: the disk's)",
       0, 9e18},
      {"listen-insecure", FLAG_BOOL, &options->listen_insecure, NULL,
       "listen without TLS on other addresses than this machine's own (127.0.0.1, ::1): whoever reaches them may do "
       "anything",
       0, 0},
      {"with-parent", FLAG_INT, &options->parent, "PID", "end when this process does, which started it", 1,
       4e9},
      {"tls-certificate", FLAG_STRING, &options->tls.certificate, "FILE",
       "this worker's certificate (PEM), for DNS:assay-worker; with it, TLS is spoken with masters and clients",
       0, 0},
      {"tls-key", FLAG_STRING, &options->tls.key, "FILE", "its key (PEM, without a passphrase)", 0, 0},
      {"tls-authority", FLAG_STRING, &options->tls.authority, "FILE",
       "the certificates (PEM) that those of masters and clients must come from", 0, 0},
  };
  const struct flag_set set = {"assay-worker", "Keeps blocks of files for the reference master's clients.",
                               NULL, flags, ARRAY_SIZE(flags)};
  int positional;
  const int exit_code = flags_parse_or_exit_code(&set, argc, argv, &positional);
  if (exit_code >= 0)
    return exit_code;
  struct error error;
  if (check(options, &error) == 0 &&
      under_roots_set(&options->mount_roots, mount_roots.items, mount_roots.count, &error) == 0)
    return -1;
  fprintf(stderr, "assay-worker: %s (assay-worker --help shows all flags)\n", error.message);
  return EXIT_USAGE;
}
