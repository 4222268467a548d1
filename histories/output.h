/* output.h: a file being written, and a buffer before it. */
#ifndef ASSAY_HISTORIES_OUTPUT_H
#define ASSAY_HISTORIES_OUTPUT_H

#include "base/base.h"

struct output {
  int descriptor;
  char *path;
  struct bytes buffer; /* append here, then output_flush() */
};

/* Creates or truncates `path`. */
int output_open(struct output *output, const char *path, struct error *error);

/* Hands the whole buffer to the kernel and empties it: one write(2), unless that is cut short. ERR_NO_SPACE
 * or ERR_IO when it could not be written whole: the file may then end in a part of a line. */
int output_flush(struct output *output, struct error *error);

/* Flushes, waits until the disk has it all, closes and frees, whatever fails on the way. */
int output_close(struct output *output, struct error *error);

/* Closes and frees without writing what is in the buffer. */
void output_abandon(struct output *output);

#endif
