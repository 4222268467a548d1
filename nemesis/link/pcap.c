/* pcap.c: see pcap.h. */
#include "nemesis/link/pcap.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MAGIC_NANOSECONDS 0xa1b23c4du
#define LINK_TYPE_ETHERNET 1
#define SNAPSHOT_BYTES 65535
#define BUFFER_BYTES 65536
#define BOUND_BYTES_MIN 65536

struct file_header {
  uint32_t magic;
  uint16_t major, minor;
  uint32_t reserved[2];
  uint32_t snapshot_bytes;
  uint32_t link_type;
};

struct record_header {
  uint32_t seconds, nanoseconds;
  uint32_t stored_bytes, original_bytes;
};

struct pcap {
  int fd; /* -1 once an error ended the recording */
  char *path, *old_path;
  uint64_t half_bytes, size_bytes; /* of the file, what is buffered included */
  struct bytes buffer;
};

static bool write_all(int fd, const unsigned char *data, size_t size) {
  while (size > 0) {
    const ssize_t written = write(fd, data, size);
    if (written < 0 && errno != EINTR)
      return false;
    data += written > 0 ? written : 0;
    size -= written > 0 ? (size_t)written : 0;
  }
  return true;
}

static bool begin(struct pcap *pcap) {
  const struct file_header header = {.magic = MAGIC_NANOSECONDS,
                                     .major = 2,
                                     .minor = 4,
                                     .snapshot_bytes = SNAPSHOT_BYTES,
                                     .link_type = LINK_TYPE_ETHERNET};
  pcap->size_bytes = sizeof header;
  pcap->fd = open(pcap->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  return pcap->fd >= 0 && write_all(pcap->fd, (const unsigned char *)&header, sizeof header);
}

static void give_up(struct pcap *pcap) {
  log_warn("cannot write %s: %s; no more traffic is recorded", pcap->path, strerror(errno));
  if (pcap->fd >= 0)
    close(pcap->fd);
  pcap->fd = -1;
}

int pcap_open(const char *path, uint64_t bound_bytes, struct pcap **pcap, struct error *error) {
  assert(bound_bytes >= BOUND_BYTES_MIN);
  struct pcap *made = xcalloc(1, sizeof *made);
  struct bytes old_path = {0};
  bytes_append_format(&old_path, "%s.old", path);
  made->path = xstrdup(path);
  made->old_path = (char *)old_path.data;
  made->half_bytes = bound_bytes / 2;
  if (!begin(made)) {
    error_set_errno(error, ERR_IO, "cannot write %s", path);
    pcap_close(made);
    return ERR_IO;
  }
  *pcap = made;
  return 0;
}

static void turn_over(struct pcap *pcap) {
  pcap_flush(pcap);
  if (pcap->fd < 0)
    return;
  close(pcap->fd);
  if (rename(pcap->path, pcap->old_path) != 0 || !begin(pcap))
    give_up(pcap);
}

void pcap_write(struct pcap *pcap, int64_t time_ns, const void *frame, size_t size) {
  const struct record_header header = {.seconds = (uint32_t)(time_ns / NS_PER_S),
                                       .nanoseconds = (uint32_t)(time_ns % NS_PER_S),
                                       .stored_bytes = (uint32_t)size,
                                       .original_bytes = (uint32_t)size};
  if (pcap->fd >= 0 && pcap->size_bytes + sizeof header + size > pcap->half_bytes)
    turn_over(pcap);
  if (pcap->fd < 0)
    return;
  bytes_append(&pcap->buffer, &header, sizeof header);
  bytes_append(&pcap->buffer, frame, size);
  pcap->size_bytes += sizeof header + size;
  if (pcap->buffer.size >= BUFFER_BYTES)
    pcap_flush(pcap);
}

void pcap_flush(struct pcap *pcap) {
  if (pcap->fd >= 0 && !write_all(pcap->fd, pcap->buffer.data, pcap->buffer.size))
    give_up(pcap);
  bytes_clear(&pcap->buffer);
}

int pcap_fd(const struct pcap *pcap) {
  return pcap->fd;
}

void pcap_close(struct pcap *pcap) {
  if (!pcap)
    return;
  pcap_flush(pcap);
  if (pcap->fd >= 0)
    close(pcap->fd);
  bytes_free(&pcap->buffer);
  free(pcap->path);
  free(pcap->old_path);
  free(pcap);
}
