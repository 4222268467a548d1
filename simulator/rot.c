/* rot.c: what is stored decays: bits of the log flip while nobody looks. */
#include "simulator/faults.h"

#define UNTOUCHED 2 /* the segment that is written to, and one that a crash kept from being opened */
#define CLEAR 256   /* bytes behind the last that is not zero: a frame may end with zeros */

struct segment_file {
  const char *name;
  struct bytes *content;
  size_t end; /* behind the last byte that is not zero */
};

/* The log's segments that hold something, in order; returns how many, `most` at most. */
static size_t list_segments(struct sim_world *world, size_t node, struct segment_file *files, size_t most) {
  size_t count = 0;
  const char *name;
  for (size_t i = 0; (name = sim_file_name(world, node, i)) != NULL && count < most; i++) {
    struct segment_file file = {.name = name, .content = sim_file(world, node, name)};
    for (file.end = file.content->size; file.end > 0 && file.content->data[file.end - 1] == 0;)
      file.end--;
    if (strncmp(name, "log-", 4) != 0 || file.end == 0)
      continue;
    size_t to = count++;
    for (; to > 0 && strcmp(files[to - 1].name, name) > 0; to--)
      files[to] = files[to - 1];
    files[to] = file;
  }
  return count;
}

void sim_rot(struct sim_world *world, size_t node, struct random *random) {
  struct segment_file files[256];
  const size_t count = list_segments(world, node, files, ARRAY_SIZE(files));
  if (count == 0)
    return;
  const struct segment_file *file = &files[random_below(random, count)];
  const bool idle = (size_t)(file - files) + UNTOUCHED < count;
  const size_t from = idle ? 0 : file->end + CLEAR, to = idle ? file->end : file->content->size;
  if (from >= to)
    return;
  const size_t at = from + (size_t)random_below(random, to - from);
  file->content->data[at] ^= (unsigned char)(1u << random_below(random, 8));
  if (sim_traced(world))
    sim_tell(world, "fault", (int)node, -1, 0, "a bit of %s flips at byte %zu of %zu", file->name, at,
             file->end);
}
