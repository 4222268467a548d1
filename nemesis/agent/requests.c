/* requests.c: what an agent can be asked. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "nemesis/agent/agent_internal.h"
#include "nemesis/agent/protocol.h"
#include "nemesis/link/netem.h"

#define END_PATIENCE_MS 10000
#define ARGUMENTS_MAX 256

static const char *text_of(const json_t *request, const char *key) {
  return json_string_value(json_object_get(request, key));
}

static int64_t number_of(const json_t *request, const char *key) {
  return json_integer_value(json_object_get(request, key));
}

/* ---- hello ---- */

/* Which build of Assay this is: both ends of a connection can compare. */
static void add_build(json_t *answer) {
  struct bytes program = {0};
  char text[20];
  file_read("/proc/self/exe", &program, NULL);
  snprintf(text, sizeof text, "%016llx", (unsigned long long)checksum(program.data, program.size));
  bytes_free(&program);
  json_object_set_new(answer, "build", json_string(text));
}

static int find_master(struct agent *agent, const char *given, struct error *error) {
  char *beside = program_directory();
  agent->master = given ? path_absolute(given) : path_join(beside ? beside : ".", "assay-master");
  free(beside);
  if (access(agent->master, X_OK) == 0)
    return 0;
  return error_set_errno(error, ERR_NOT_FOUND,
                         "%s cannot be executed: put the master there, or name its place with --master",
                         agent->master);
}

static int open_clock(struct agent *agent, const json_t *request, struct error *error) {
  if (!json_is_true(json_object_get(request, "own_clock")))
    return error_set(error, ERR_UNSUPPORTED,
                     "its clock may be others' as well: give --clocks own if it is the node's alone");
  const int status = host_clock_open(&agent->clock, &host_clock_kernel, error);
  if (status != 0)
    agent->clock.calls = NULL;
  return status;
}

static json_t *lack(int status, const struct error *why) {
  return status == 0 ? json_null() : json_string(why->message);
}

/* What this host cannot do, with the reason; null for what it can. */
static json_t *lacks(struct agent *agent, const json_t *request) {
  struct error error = {0};
  json_t *all = json_object();
  json_object_set_new(all, "filter", lack(agent_lacks_filter(agent, &error), &error));
  json_object_set_new(all, "clock", lack(open_clock(agent, request, &error), &error));
  json_object_set_new(all, "shape",
                      lack(agent_open_shapes(agent, text_of(request, "address"), &error), &error));
  return all;
}

/* The directory of another cluster that comes back stays; what it is of is no longer noted. */
static int take_over(struct agent *agent, const char *directory, struct error *error) {
  struct leftovers before;
  int status = leftovers_load(&before, error);
  if (status == 0)
    status = leftovers_clear(&before, agent->network, error);
  if (status == 0 && !before.keep)
    status = leftovers_remove(&before, error);
  leftovers_free(&before);
  if (status != 0)
    return status;
  agent->left.directory = xstrdup(directory);
  char *data = path_join(directory, "data");
  status = leftovers_save(&agent->left, error);
  if (status == 0)
    status = directory_make(data, error);
  free(data);
  return status;
}

/* For root alone, never to be read by others for a moment. */
static int write_file(const char *path, const json_t *text, struct error *error) {
  unlink(path);
  const int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  const ssize_t size = (ssize_t)json_string_length(text);
  int status = 0;
  if (file < 0 || write(file, json_string_value(text), (size_t)size) != size)
    status = error_set_errno(error, ERR_IO, "cannot write %s", path);
  if (file >= 0)
    close(file);
  return status;
}

static int write_files(const struct agent *agent, const json_t *request, struct error *error) {
  const char *name;
  json_t *text;
  json_object_foreach(json_object_get(request, "files"), name, text) {
    if (name[0] == '.' || name[0] == '\0' || strchr(name, '/') || !json_is_string(text))
      return error_set(error, ERR_BAD_INPUT, "'%s' is not the name of a file, or not a text", name);
    char *path = path_join(agent->left.directory, name);
    const int status = write_file(path, text, error);
    free(path);
    if (status != 0)
      return status;
  }
  return 0;
}

static int hello(struct agent *agent, const json_t *request, json_t *answer, struct error *error) {
  const char *directory = text_of(request, "directory"), *node = text_of(request, "node");
  if (number_of(request, "protocol") != AGENT_PROTOCOL)
    return error_set(error, ERR_UNSUPPORTED,
                     "assay " ASSAY_VERSION
                     " on this host speaks protocol %d: install the same version on both",
                     AGENT_PROTOCOL);
  if (!directory || directory[0] != '/' || !node || agent->left.directory)
    return error_set(error, ERR_BAD_INPUT, "hello comes once, with a node and an absolute directory");
  if (geteuid() != 0)
    return error_set(
        error, ERR_UNSUPPORTED,
        "the agent must be root here: log in as root, or allow the user sudo without a password");
  snprintf(agent->node, sizeof agent->node, "%s", node);
  agent->left.keep = json_is_true(json_object_get(request, "keep"));
  int status = find_master(agent, text_of(request, "master"), error);
  if (status == 0)
    status = leftovers_lock(error);
  if (status == 0)
    status = take_over(agent, directory, error);
  if (status == 0)
    status = write_files(agent, request, error);
  if (status != 0)
    return status;
  struct utsname name;
  uname(&name);
  add_build(answer);
  json_object_set_new(answer, "protocol", json_integer(AGENT_PROTOCOL));
  json_object_set_new(answer, "version", json_string(ASSAY_VERSION));
  json_object_set_new(answer, "host", json_string(name.nodename));
  json_object_set_new(answer, "kernel", json_string(name.release));
  json_object_set_new(answer, "master", json_string(agent->master));
  json_object_set_new(answer, "lacks", lacks(agent, request));
  return 0;
}

/* ---- The node's process ---- */

static void end_process(struct agent *agent) {
  struct error error = {0};
  if (agent->process.pid < 0)
    return;
  process_signal(&agent->process, SIGKILL, NULL);
  if (process_await_end(&agent->process, END_PATIENCE_MS, &error) == 0)
    process_reap(&agent->process);
  else
    log_error("%s", error.message);
}

static int start(struct agent *agent, const json_t *request, json_t *answer, struct error *error) {
  const char *program = text_of(request, "program");
  char *argv[ARGUMENTS_MAX + 2] = {(char *)(uintptr_t)(program ? program : agent->master)};
  const json_t *arguments = json_object_get(request, "arguments"), *argument;
  size_t i;
  if (agent->process.pid >= 0)
    return error_set(error, ERR_NOT_FOUND, "cannot start node %s: it runs", agent->node);
  if (json_array_size(arguments) > ARGUMENTS_MAX)
    return error_set(error, ERR_BAD_INPUT, "more than %d arguments", ARGUMENTS_MAX);
  json_array_foreach(arguments, i, argument) {
    const char *text = json_string_value(argument);
    if (!text)
      return error_set(error, ERR_BAD_INPUT, "an argument is no text");
    argv[i + 1] = (char *)(uintptr_t)text; /* execve() changes none, whatever its type says */
  }
  const struct process_options options = {.argv = argv, .directory = agent->left.directory, .network = -1};
  int status = process_start(&agent->process, &options, error);
  agent->life++;
  if (status == 0)
    status = leftovers_note_process(&agent->left, agent->process.pid, error);
  if (status != 0)
    end_process(agent);
  json_object_set_new(answer, "pid", json_integer(agent->process.pid));
  json_object_set_new(answer, "life", json_integer((json_int_t)agent->life));
  return status;
}

static int need_process(const struct agent *agent, struct error *error) {
  return agent->process.pid >= 0 ? 0 : error_set(error, ERR_NOT_FOUND, "node %s does not run", agent->node);
}

static int send_signal(struct agent *agent, const json_t *request, json_t *answer, struct error *error) {
  (void)answer;
  const int status = need_process(agent, error);
  return status != 0 ? status : process_signal(&agent->process, (int)number_of(request, "number"), error);
}

static int await_stopped(struct agent *agent, const json_t *request, json_t *answer, struct error *error) {
  (void)answer;
  const int status = need_process(agent, error);
  return status != 0 ? status
                     : process_await_stopped(&agent->process, (int)number_of(request, "timeout_ms"), error);
}

static int wipe(struct agent *agent, const json_t *request, json_t *answer, struct error *error) {
  (void)request;
  (void)answer;
  if (agent->process.pid >= 0)
    return error_set(error, ERR_NOT_FOUND, "cannot wipe the disk of %s: it runs", agent->node);
  char *data = path_join(agent->left.directory, "data");
  const int status = directory_clear(data, error);
  free(data);
  return status;
}

/* ---- Its clock ---- */

/* The note comes first: what is not noted would stay wrong. */
static int set_clock(struct agent *agent, const json_t *request, json_t *answer, struct error *error) {
  const struct clock_setting setting = {.offset_ns = number_of(request, "offset_ns"),
                                        .rate = json_number_value(json_object_get(request, "rate"))};
  (void)answer;
  if (!agent->clock.calls)
    return error_set(error, ERR_UNSUPPORTED, "the clock cannot be set here");
  int status = agent->left.clock.calls ? 0 : leftovers_note_clock(&agent->left, &agent->clock, error);
  return status != 0 ? status : host_clock_set(&agent->clock, &setting, error);
}

static int read_clock(struct agent *agent, const json_t *request, json_t *answer, struct error *error) {
  (void)request;
  if (!agent->clock.calls)
    return error_set(error, ERR_UNSUPPORTED, "the clock cannot be set here");
  const struct clock_setting setting = host_clock_get(&agent->clock);
  json_object_set_new(answer, "offset_ns", json_integer((json_int_t)setting.offset_ns));
  json_object_set_new(answer, "rate", json_real(setting.rate));
  return 0;
}

/* ---- Its log ---- */

/* The part may end inside a character: the rest of that comes with the next one. What is no text JSON cannot
 * carry. */
static json_t *log_text(struct bytes *part) {
  for (size_t less = 0; less < 4 && less <= part->size; less++) {
    json_t *text = json_stringn((const char *)part->data, part->size - less);
    if (!text)
      continue;
    part->size -= less;
    return text;
  }
  for (size_t i = 0; i < part->size; i++)
    if (part->data[i] >= 0x80)
      part->data[i] = '?';
  return json_stringn((const char *)part->data, part->size);
}

static int read_log(struct agent *agent, const json_t *request, json_t *answer, struct error *error) {
  char *path = path_join(agent->left.directory, "log");
  const int64_t from = number_of(request, "from");
  struct bytes text = {0};
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  const ssize_t got = fd < 0 ? -1 : pread(fd, bytes_reserve(&text, AGENT_LOG_PART), AGENT_LOG_PART, from);
  const int number = errno;
  if (fd >= 0)
    close(fd);
  int status = 0;
  if (got < 0 && number != ENOENT) {
    errno = number;
    status = error_set_errno(error, ERR_IO, "cannot read %s", path);
  }
  text.size = got > 0 ? (size_t)got : 0;
  json_t *part = log_text(&text);
  json_object_set_new(answer, "text", part);
  json_object_set_new(answer, "next", json_integer(from + (json_int_t)text.size));
  bytes_free(&text);
  free(path);
  return status;
}

static int stay(struct agent *agent, const json_t *request, json_t *answer, struct error *error) {
  (void)agent;
  (void)request;
  (void)answer;
  (void)error;
  return 0;
}

/* ---- All of them ---- */

static const struct {
  const char *name;
  int (*carry_out)(struct agent *agent, const json_t *request, json_t *answer, struct error *error);
} requests[] = {
    {"start", start},
    {"signal", send_signal},
    {"await-stopped", await_stopped},
    {"wipe", wipe},
    {"filter", agent_filter},
    {"count", agent_count_rules},
    {"shape", agent_shape},
    {"count-shapes", agent_count_shapes},
    {"set-clock", set_clock},
    {"read-clock", read_clock},
    {"log", read_log},
    {"stay", stay},
};

int agent_carry_out(struct agent *agent, const json_t *request, json_t *answer, struct error *error) {
  const char *name = text_of(request, "do");
  if (!name)
    return error_set(error, ERR_BAD_INPUT, "\"do\" is missing");
  if (strcmp(name, "hello") == 0)
    return hello(agent, request, answer, error);
  if (!agent->left.directory)
    return error_set(error, ERR_BAD_INPUT, "the first request is hello, not %.40s", name);
  for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
    if (strcmp(requests[i].name, name) == 0)
      return requests[i].carry_out(agent, request, answer, error);
  return error_set(error, ERR_UNSUPPORTED, "this agent cannot '%.40s'", name);
}

void agent_undo(struct agent *agent) {
  struct error error = {0};
  netem_close(agent->netem);
  end_process(agent);
  if (agent->left.directory && leftovers_clear(&agent->left, agent->network, &error) != 0)
    log_error("%s", error.message);
}
