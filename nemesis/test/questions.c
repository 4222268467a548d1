/* questions.c: see questions.h. */
#include "nemesis/test/questions.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static long long clock_ns(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* ---- Resources ---- */

/* Opened, counted and closed again. */
static int count_descriptors(void) {
  int opened[QUESTION_DESCRIPTORS], count = 0;
  while (count < QUESTION_DESCRIPTORS && (opened[count] = open("/dev/null", O_RDONLY)) >= 0)
    count++;
  for (int i = 0; i < count; i++)
    close(opened[i]);
  return count;
}

static int count_kib(void) {
  static void *pages[QUESTION_MEMORY_KIB / 4];
  int count = 0;
  while (count < QUESTION_MEMORY_KIB / 4 &&
         (pages[count] = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) !=
             MAP_FAILED)
    count++;
  for (int i = 0; i < count; i++)
    munmap(pages[i], 4096);
  return 4 * count;
}

/* ---- Files: each is opened anew, so that nothing stays open over a loss of power ---- */

struct job {
  const char *directory, *name;
  long offset;
  size_t size;
  char letter;
  char runs[400]; /* of a read */
};

static int open_file(const struct job *job, int flags) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", job->directory, job->name);
  return open(path, flags | O_CLOEXEC, 0644);
}

static int sync_directory(const struct job *job) {
  const int fd = open(job->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const int status = fd < 0 || fsync(fd) != 0 ? errno : 0;
  if (fd >= 0)
    close(fd);
  return status;
}

static int write_file(struct job *job) {
  char *letters = malloc(job->size);
  memset(letters, job->letter, job->size);
  const int fd = open_file(job, O_WRONLY | O_CREAT);
  int status = fd < 0 || pwrite(fd, letters, job->size, job->offset) != (ssize_t)job->size ? errno : 0;
  if (fd >= 0 && close(fd) != 0 && status == 0)
    status = errno;
  free(letters);
  return status;
}

static int sync_file(struct job *job) {
  const int fd = open_file(job, O_WRONLY);
  int status = fd < 0 || fsync(fd) != 0 ? errno : 0;
  if (fd >= 0)
    close(fd);
  return status != 0 ? status : sync_directory(job);
}

static void add_run(struct job *job, size_t count, char letter) {
  const size_t length = strlen(job->runs);
  if (count > 0)
    snprintf(job->runs + length, sizeof job->runs - length, "%zu%c", count, letter ? letter : '.');
}

static int read_file(struct job *job) {
  char block[4096], letter = 0;
  size_t count = 0;
  ssize_t got = -1;
  const int fd = open_file(job, O_RDONLY);
  if (fd >= 0)
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  while (fd >= 0 && (got = read(fd, block, sizeof block)) > 0)
    for (ssize_t i = 0; i < got; i++) {
      if (count > 0 && block[i] != letter) {
        add_run(job, count, letter);
        count = 0;
      }
      letter = block[i];
      count++;
    }
  const int status = got < 0 ? errno : 0;
  add_run(job, count, letter);
  if (fd >= 0)
    close(fd);
  return status;
}

static void time_job(struct job *job, int (*function)(struct job *job), char *reply, size_t size) {
  const long long begun_ns = clock_ns(CLOCK_MONOTONIC);
  const int status = function(job);
  snprintf(reply, size, "%d %lld %s", status, clock_ns(CLOCK_MONOTONIC) - begun_ns, job->runs);
}

void question_answer(const char *data_directory, const char *question, char *reply, size_t size) {
  char name[64];
  struct job job = {.directory = data_directory, .name = name};
  if (strcmp(question, "who") == 0)
    snprintf(reply, size, "%d", (int)getpid());
  else if (strcmp(question, "clock") == 0)
    snprintf(reply, size, "%lld %lld", clock_ns(CLOCK_REALTIME), clock_ns(CLOCK_MONOTONIC));
  else if (strcmp(question, "descriptors") == 0)
    snprintf(reply, size, "%d", count_descriptors());
  else if (strcmp(question, "memory") == 0)
    snprintf(reply, size, "%d", count_kib());
  else if (sscanf(question, "write %63s %ld %zu %c", name, &job.offset, &job.size, &job.letter) == 4)
    time_job(&job, write_file, reply, size);
  else if (sscanf(question, "sync %63s", name) == 1)
    time_job(&job, sync_file, reply, size);
  else if (sscanf(question, "read %63s", name) == 1)
    time_job(&job, read_file, reply, size);
  else
    snprintf(reply, size, "what?");
}
