#include "histories/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static int failed(const struct output *output, int cause, struct error *error) {
  errno = cause;
  if (cause == ENOSPC || cause == EDQUOT || cause == EFBIG)
    return error_set_errno(error, ERR_NO_SPACE, "%s cannot be written; make room on its file system",
                           output->path);
  return error_set_errno(error, ERR_IO, "%s cannot be written", output->path);
}

int output_open(struct output *output, const char *path, struct error *error) {
  const int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (descriptor < 0)
    return error_set_errno(error, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s cannot be created", path);
  *output = (struct output){.descriptor = descriptor, .path = xstrdup(path)};
  return 0;
}

int output_flush(struct output *output, struct error *error) {
  size_t done = 0;
  while (done < output->buffer.size) {
    const ssize_t written = write(output->descriptor, output->buffer.data + done, output->buffer.size - done);
    if (written < 0 && errno == EINTR)
      continue;
    if (written < 0)
      return failed(output, errno, error);
    done += (size_t)written;
  }
  bytes_clear(&output->buffer);
  return 0;
}

void output_abandon(struct output *output) {
  close(output->descriptor);
  free(output->path);
  bytes_free(&output->buffer);
}

int output_close(struct output *output, struct error *error) {
  int result = output_flush(output, error);
  /* Pipes and character devices know no synchronisation: that is no failure. */
  if (result == 0 && fdatasync(output->descriptor) != 0 && errno != EINVAL && errno != EROFS)
    result = failed(output, errno, error);
  output_abandon(output);
  return result;
}
