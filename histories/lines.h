/* lines.h: the lines of a file or of a piece of memory, one after the other, without holding the file. */
#ifndef ASSAY_HISTORIES_LINES_H
#define ASSAY_HISTORIES_LINES_H

#include <stdbool.h>

#include "base/base.h"

/* Nothing that is a history has longer lines; what has would fill the memory. */
#define LINE_MAX_SIZE ((size_t)64 << 20)

struct line_source {
  const char *name;    /* stands in messages; the caller's */
  uint64_t number;     /* of the line that was read last, from 1 */
  int descriptor;      /* -1: from memory */
  const char *at;      /* what is not handed out yet */
  size_t left;         /* so many bytes of it */
  struct bytes buffer; /* of a file; from memory, the copy of an unfinished last line */
  bool ended;          /* no more is to come behind `left` */
};

/* One line; `data[size]` is readable and is '\n'. Valid until the next call. */
struct line_text {
  const char *data;
  size_t size;
  bool finished; /* the newline stood in the file: only the last line can lack it */
};

int lines_open(struct line_source *source, const char *path, struct error *error);
void lines_from_memory(struct line_source *source, const char *name, const char *data, size_t size);
/* Returns 1, or 0 at the end, or a negative code. */
int lines_next(struct line_source *source, struct line_text *line, struct error *error);
void lines_close(struct line_source *source);

/* Nothing but white space. */
bool line_is_blank(const struct line_text *line);

#endif
