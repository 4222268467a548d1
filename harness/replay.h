/* replay.h: what replaying a run and shrinking its schedule share. */
#ifndef ASSAY_HARNESS_REPLAY_H
#define ASSAY_HARNESS_REPLAY_H

#include <jansson.h>

#include "base/base.h"

/* A run that was stored, and how to do it again. */
struct replayed {
  char *run;           /* its directory */
  json_t *parameters;  /* test.json */
  json_t *schedule;    /* schedule.json, or the file that was named */
  char *schedule_path; /* absolute */
};

/* `schedule`: another file than the run's own, NULL: that one. ERR_BAD_INPUT when the run tells of no command
 * (an older version made it), ERR_NOT_FOUND when there is no such run. */
int replayed_open(const char *store, const char *argument, const char *schedule, struct replayed *replayed,
                  struct error *error);
void replayed_close(struct replayed *replayed);

/* The words of `assay run` that do it again under that schedule and no other faults. `time_ns` 0: as long as
 * it was; further words are appended. NULL-terminated; to free with replayed_free_words. */
char **replayed_words(const struct replayed *replayed, const char *schedule, int64_t time_ns,
                      const char *const *further);
void replayed_free_words(char **words);

/* True when a result is a violation. */
bool replayed_is_invalid(const json_t *result);

#endif
