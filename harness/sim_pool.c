#include "harness/sim_pool.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness/bugs.h"

/* Seeds a worker is given ahead, so that it never waits for the parent to wake up. */
#define AHEAD 2
/* Results that wait for those of lower seeds. */
#define WINDOW 4096
#define TICK_MS 100

struct worker {
  pid_t pid; /* 0: none */
  int socket, words;
  uint64_t queue[AHEAD]; /* seeds it was given and has not answered */
  size_t queued;
  int64_t began_ns; /* at queue[0] */
  bool overstayed;
};

struct pool {
  const struct pool_options *options;
  struct pool_totals *totals;
  struct worker workers[SIM_JOBS_MAX];
  struct seed_record *window; /* by seed % WINDOW */
  bool *waiting;
  uint64_t again[SIM_JOBS_MAX * AHEAD]; /* given to a worker that died before it began them */
  size_t again_count;
  uint64_t next, last, commit; /* to give; the last to give; the next whose result counts */
  bool finished;
  int64_t began_ns;
};

static volatile sig_atomic_t stop_asked;

static void on_stop(int number) {
  (void)number;
  stop_asked = 1;
}

/* ---- Kinds ---- */

enum {
  KIND_NONE,
  KIND_INVARIANT,
  KIND_HISTORY,
  KIND_LIVENESS,
  KIND_FATAL,
  KIND_CRASH,
  KIND_STUCK,
  KIND_UNKNOWN
};

const char *pool_kind_name(size_t kind) {
  static const char *const names[POOL_KINDS] = {"none",  "invariant", "history", "liveness",
                                                "fatal", "crash",     "stuck",   "unknown"};
  assert(kind < POOL_KINDS);
  return names[kind];
}

static size_t kind_of(const struct seed_record *record) {
  static const size_t kinds[] = {[EVIDENCE_NONE] = KIND_NONE,       [EVIDENCE_INVARIANT] = KIND_INVARIANT,
                                 [EVIDENCE_HISTORY] = KIND_HISTORY, [EVIDENCE_LIVENESS] = KIND_LIVENESS,
                                 [EVIDENCE_FATAL] = KIND_FATAL,     [EVIDENCE_UNKNOWN] = KIND_UNKNOWN};
  return record->stuck ? KIND_STUCK : record->signal != 0 ? KIND_CRASH : kinds[record->evidence];
}

const char *seed_kind(const struct seed_record *record) {
  return pool_kind_name(kind_of(record));
}

bool seed_failed(const struct seed_record *record) {
  const size_t kind = kind_of(record);
  return kind != KIND_NONE && kind != KIND_UNKNOWN;
}

struct seed_record seed_record_of(uint64_t seed, const struct simulation_result *result, int64_t cpu_ns) {
  struct seed_record record = {.seed = seed,
                               .evidence = result->evidence,
                               .at = result->at,
                               .digest = result->digest,
                               .transitions = result->transitions,
                               .at_ns = result->at_ns,
                               .simulated_ns = result->simulated_ns,
                               .cpu_ns = cpu_ns,
                               .operations = result->operations,
                               .ok = result->ok,
                               .fail = result->fail,
                               .info = result->info,
                               .elections = result->elections,
                               .snapshots_sent = result->snapshots_sent,
                               .crashes = result->crashes};
  snprintf(record.invariant, sizeof record.invariant, "%s", result->invariant);
  snprintf(record.text, sizeof record.text, "%s", result->text);
  memcpy(record.faults, result->faults, sizeof record.faults);
  return record;
}

/* ---- In a worker ---- */

void pool_become_worker(int words, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent)
    _exit(EXIT_HARNESS);
  const struct rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  signal(SIGINT, SIG_IGN);
  signal(SIGTERM, SIG_DFL);
  if (words >= 0)
    dup2(words, STDERR_FILENO);
  log_open("sim", LOG_LEVEL_ERROR);
}

static int64_t cpu_now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

static struct seed_record run_seed(const struct pool_options *options, uint64_t seed) {
  struct plan drawn = {0};
  struct error error = {0};
  const int64_t began_ns = cpu_now_ns();
  if (!options->plan && plan_draw(seed, &options->draw, &drawn, &error) != 0) {
    fprintf(stderr, "%s\n", error.message);
    _exit(EXIT_HARNESS);
  }
  struct simulation_result result = {0};
  simulate(options->plan ? options->plan : &drawn, &options->simulation, &result);
  const struct seed_record record = seed_record_of(seed, &result, cpu_now_ns() - began_ns);
  simulation_result_free(&result);
  if (!options->plan)
    plan_free(&drawn);
  return record;
}

static _Noreturn void work(const struct pool_options *options, int socket) {
  if (options->bug)
    bugs_enable(options->bug);
  uint64_t seed;
  while (recv(socket, &seed, sizeof seed, 0) == (ssize_t)sizeof seed) {
    if (ftruncate(STDERR_FILENO, 0) == 0)
      lseek(STDERR_FILENO, 0, SEEK_SET);
    const struct seed_record record = run_seed(options, seed);
    if (send(socket, &record, sizeof record, MSG_NOSIGNAL) != (ssize_t)sizeof record)
      _exit(EXIT_HARNESS);
  }
  _exit(0);
}

/* ---- Workers, from outside ---- */

static int start_worker(struct pool *pool, struct worker *worker, struct error *error) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
    return error_set_errno(error, ERR_IO, "cannot make a socket to a worker");
  const int words = memfd_create("words", MFD_CLOEXEC);
  fflush(NULL);
  const pid_t parent = getpid(), pid = fork();
  if (pid == 0) {
    pool_become_worker(words, parent);
    /* A socket of another worker that stayed open here would hide that worker's end from the parent. */
    for (size_t i = 0; i < pool->options->jobs; i++)
      if (pool->workers[i].pid != 0)
        close(pool->workers[i].socket);
    close(pair[0]);
    work(pool->options, pair[1]);
  }
  close(pair[1]);
  if (pid < 0) {
    close(pair[0]);
    close(words);
    return error_set_errno(error, ERR_IO, "cannot start a process");
  }
  *worker = (struct worker){.pid = pid, .socket = pair[0], .words = words};
  return 0;
}

void pool_last_words(int words, char *out, size_t size) {
  char tail[2048];
  out[0] = '\0';
  struct stat info;
  const off_t end = fstat(words, &info) == 0 ? info.st_size : 0;
  const off_t from = end > (off_t)sizeof tail - 1 ? end - (off_t)sizeof tail + 1 : 0;
  ssize_t length = end > 0 ? pread(words, tail, sizeof tail - 1, from) : 0;
  while (length > 0 && tail[length - 1] == '\n')
    length--;
  if (length <= 0)
    return;
  tail[length] = '\0';
  const char *line = strrchr(tail, '\n');
  snprintf(out, size, "%s", line ? line + 1 : tail);
}

static void close_worker(struct worker *worker) {
  close(worker->socket);
  close(worker->words);
  worker->pid = 0;
}

/* ---- Results, in the order of seeds ---- */

static void count_record(struct pool_totals *totals, const struct seed_record *record) {
  const size_t kind = kind_of(record);
  const uint64_t pair[2] = {record->seed, record->digest};
  totals->digest = checksum_fold(totals->digest, pair, sizeof pair);
  if (seed_failed(record) && totals->failed++ == 0)
    totals->first_failed = record->seed;
  totals->unknown += kind == KIND_UNKNOWN;
  totals->kinds[kind]++;
  totals->seeds++;
  totals->transitions += record->transitions;
  totals->operations += record->operations;
  totals->ok += record->ok;
  totals->fail += record->fail;
  totals->info += record->info;
  totals->elections += record->elections;
  totals->snapshots_sent += record->snapshots_sent;
  totals->crashes += record->crashes;
  for (size_t i = 0; i < SIMULATED_FAULTS; i++)
    totals->faults[i] += record->faults[i];
  totals->simulated_ns += record->simulated_ns;
  totals->cpu_ns += record->cpu_ns;
}

static void commit(struct pool *pool) {
  const struct pool_options *options = pool->options;
  while (!pool->finished && pool->waiting[pool->commit % WINDOW]) {
    const struct seed_record *record = &pool->window[pool->commit % WINDOW];
    assert(record->seed == pool->commit);
    pool->waiting[pool->commit % WINDOW] = false;
    count_record(pool->totals, record);
    if (options->each)
      options->each(options->context, record);
    pool->finished = pool->commit == pool->last;
    pool->commit++;
  }
}

static void receive_record(struct pool *pool, const struct seed_record *record) {
  assert(record->seed >= pool->commit && record->seed - pool->commit < WINDOW);
  pool->window[record->seed % WINDOW] = *record;
  pool->waiting[record->seed % WINDOW] = true;
  if (pool->options->stop_at_first && seed_failed(record) && record->seed < pool->last)
    pool->last = record->seed;
  commit(pool);
}

/* ---- The loop ---- */

static bool next_seed(struct pool *pool, uint64_t *seed) {
  if (pool->again_count > 0) {
    *seed = pool->again[--pool->again_count];
    return true;
  }
  if (pool->next > pool->last || pool->next - pool->commit >= WINDOW)
    return false;
  *seed = pool->next++;
  return true;
}

static void feed(struct pool *pool, struct worker *worker) {
  uint64_t seed;
  while (worker->pid != 0 && worker->queued < AHEAD && next_seed(pool, &seed)) {
    if (worker->queued == 0)
      worker->began_ns = time_monotonic_ns();
    worker->queue[worker->queued++] = seed;
    /* A worker that is gone is noticed when its socket is read. */
    (void)!send(worker->socket, &seed, sizeof seed, MSG_NOSIGNAL);
  }
}

/* The worker is gone: evidence about the seed it was at; those behind it are given to others. */
static int bury_worker(struct pool *pool, struct worker *worker, struct error *error) {
  int status = 0;
  while (waitpid(worker->pid, &status, 0) < 0 && errno == EINTR)
    continue;
  char words[400];
  pool_last_words(worker->words, words, sizeof words);
  const struct worker dead = *worker;
  close_worker(worker);
  if (dead.queued == 0 || !WIFSIGNALED(status))
    return error_set(error, ERR_IO, "a worker ended with exit code %d: %s", WEXITSTATUS(status), words);
  struct seed_record record = {.seed = dead.queue[0], .signal = WTERMSIG(status), .stuck = dead.overstayed};
  if (dead.overstayed)
    snprintf(record.text, sizeof record.text, "did not end within %lld s of wall time",
             (long long)(pool->options->seed_budget_ns / NS_PER_S));
  else
    snprintf(record.text, sizeof record.text, "signal %d (%s)%s%s", record.signal, strsignal(record.signal),
             words[0] ? ": " : "", words);
  for (size_t i = 1; i < dead.queued; i++)
    pool->again[pool->again_count++] = dead.queue[i];
  receive_record(pool, &record);
  return pool->finished ? 0 : start_worker(pool, worker, error);
}

static int hear(struct pool *pool, struct worker *worker, struct error *error) {
  struct seed_record record;
  if (recv(worker->socket, &record, sizeof record, MSG_DONTWAIT) != (ssize_t)sizeof record)
    return bury_worker(pool, worker, error);
  assert(worker->queued > 0 && record.seed == worker->queue[0]);
  worker->queued--;
  memmove(worker->queue, worker->queue + 1, worker->queued * sizeof *worker->queue);
  worker->began_ns = time_monotonic_ns();
  receive_record(pool, &record);
  return 0;
}

/* Gives no seed any more; those that were given are finished. */
static void stop_giving(struct pool *pool) {
  if (pool->next == pool->options->first) {
    pool->finished = true;
    return;
  }
  if (pool->last >= pool->next)
    pool->last = pool->next - 1;
  pool->finished = pool->commit > pool->last;
}

static void watch_time(struct pool *pool) {
  const struct pool_options *options = pool->options;
  const int64_t now_ns = time_monotonic_ns();
  struct pool_totals *totals = pool->totals;
  totals->wall_ns = now_ns - pool->began_ns;
  if (stop_asked && !totals->interrupted) {
    totals->interrupted = true;
    stop_giving(pool);
  }
  if (options->time_budget_ns != 0 && totals->wall_ns >= options->time_budget_ns && !totals->out_of_time &&
      pool->next <= pool->last) {
    totals->out_of_time = true;
    stop_giving(pool);
  }
  for (size_t i = 0; i < options->jobs; i++) {
    struct worker *worker = &pool->workers[i];
    if (worker->pid != 0 && worker->queued > 0 && now_ns - worker->began_ns > options->seed_budget_ns) {
      worker->overstayed = true;
      kill(worker->pid, SIGKILL);
    }
  }
}

static int loop(struct pool *pool, struct error *error) {
  const struct pool_options *options = pool->options;
  int64_t ticked_ns = 0;
  int status = 0;
  while (status == 0 && !pool->finished) {
    struct pollfd sockets[SIM_JOBS_MAX];
    for (size_t i = 0; i < options->jobs; i++) {
      feed(pool, &pool->workers[i]);
      sockets[i] =
          (struct pollfd){.fd = pool->workers[i].pid != 0 ? pool->workers[i].socket : -1, .events = POLLIN};
    }
    poll(sockets, (nfds_t)options->jobs, TICK_MS);
    for (size_t i = 0; i < options->jobs && status == 0 && !pool->finished; i++)
      if (sockets[i].fd >= 0 && sockets[i].revents != 0)
        status = hear(pool, &pool->workers[i], error);
    watch_time(pool);
    if (options->tick && time_monotonic_ns() - ticked_ns >= TICK_MS * NS_PER_MS) {
      ticked_ns = time_monotonic_ns();
      options->tick(options->context, pool->totals);
    }
  }
  return status;
}

static void end_workers(struct pool *pool) {
  for (size_t i = 0; i < pool->options->jobs; i++) {
    struct worker *worker = &pool->workers[i];
    if (worker->pid == 0)
      continue;
    kill(worker->pid, SIGKILL);
    while (waitpid(worker->pid, NULL, 0) < 0 && errno == EINTR)
      continue;
    close_worker(worker);
  }
}

int pool_run(const struct pool_options *options, struct pool_totals *totals, struct error *error) {
  assert(options->jobs >= 1 && options->jobs <= SIM_JOBS_MAX);
  assert(options->first <= options->last && options->last <= SIM_SEED_MAX);
  *totals = (struct pool_totals){0};
  struct pool pool = {.options = options,
                      .totals = totals,
                      .window = xcalloc(WINDOW, sizeof *pool.window),
                      .waiting = xcalloc(WINDOW, sizeof *pool.waiting),
                      .next = options->first,
                      .commit = options->first,
                      .last = options->last,
                      .began_ns = time_monotonic_ns()};
  struct sigaction stop = {.sa_handler = on_stop}, interrupt, terminate;
  stop_asked = 0;
  sigaction(SIGINT, &stop, &interrupt);
  sigaction(SIGTERM, &stop, &terminate);
  int status = 0;
  for (size_t i = 0; i < options->jobs && status == 0; i++)
    status = start_worker(&pool, &pool.workers[i], error);
  if (status == 0)
    status = loop(&pool, error);
  end_workers(&pool);
  totals->wall_ns = time_monotonic_ns() - pool.began_ns;
  sigaction(SIGINT, &interrupt, NULL);
  sigaction(SIGTERM, &terminate, NULL);
  free(pool.window);
  free(pool.waiting);
  return status;
}
