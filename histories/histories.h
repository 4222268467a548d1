/* histories.h: the door of histories/: what a history is, how it is written and read.
 *
 * A history is what every client asked and was told: for each operation an invocation and, unless it never
 * came, a completion. On disk it is JSON lines (histories/README.md); in memory it is one `struct history`:
 * operations in the order of their invocations, each with the position of its invocation and completion in
 * the one total order of events.
 *
 *   events      0:invoke A   1:invoke B   2:ok A   3:info B        ...
 *   operations  A {invoke 0, complete 2, ok}   B {invoke 1, complete 3, info}
 *
 * All text (paths, names, values) lives in the history's arena, is NUL-terminated for convenience and carries
 * its length; it is freed with the history and not before. */
#ifndef ASSAY_HISTORIES_H
#define ASSAY_HISTORIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/base.h"

/* A run of bytes owned by somebody else. `data` NULL: absent. */
struct text {
  const char *data;
  size_t size;
};

struct text text_of(const char *string); /* absent for NULL */
bool text_equal(struct text a, struct text b);

/* The operations of the file-system specification (docs/specification.md). */
enum operation_kind {
  OPERATION_MKDIR,
  OPERATION_CREATE,
  OPERATION_COMPLETE,
  OPERATION_DELETE,
  OPERATION_RENAME,
  OPERATION_SET,
  OPERATION_ADD_BLOCK,
  OPERATION_COMMIT_BLOCK,
  OPERATION_STAT,
  OPERATION_LIST,
  OPERATION_EXISTS,
  OPERATION_BLOCKS,
  OPERATION_BATCH,
  OPERATION_KINDS
};

/* "mkdir", "commit-block", …: the `f` of a history. NULL / -1 when there is no such thing. */
const char *operation_name(enum operation_kind kind);
int operation_kind_of(struct text name);
/* False for stat, list, exists and blocks. */
bool operation_is_mutation(enum operation_kind kind);

/* The answers that are not ok. The first group are observations of the state, the second took no effect and
 * say nothing, the third may take effect at any later time. */
enum answer_code {
  ANSWER_OK,
  ANSWER_INVALID,
  ANSWER_NOT_FOUND,
  ANSWER_NOT_DIRECTORY,
  ANSWER_IS_DIRECTORY,
  ANSWER_EXISTS,
  ANSWER_NOT_EMPTY,
  ANSWER_ALREADY_COMPLETED,
  ANSWER_BLOCK_UNCOMMITTED,
  ANSWER_VERSION_MISMATCH,
  ANSWER_NOT_PRIMARY, /* from here on: fail, unchecked */
  ANSWER_OVERLOADED,
  ANSWER_REFUSED, /* the connection was refused before a byte was sent */
  ANSWER_TIMEOUT, /* from here on: info */
  ANSWER_CONNECTION_LOST,
  ANSWER_UNAVAILABLE,
  ANSWER_OTHER, /* any code this version does not know */
  ANSWER_CODES
};

const char *answer_name(enum answer_code code); /* "not-found" */
int answer_code_of(struct text name);           /* -1: unknown */
static inline bool answer_is_observation(enum answer_code code) {
  return code > ANSWER_OK && code <= ANSWER_VERSION_MISMATCH;
}
static inline bool answer_is_indefinite(enum answer_code code) {
  return code >= ANSWER_TIMEOUT;
}

enum inode_kind { INODE_DIRECTORY, INODE_FILE };

/* What an operation was asked to do. Members that its kind does not use are zero. */
struct arguments {
  enum operation_kind kind;
  struct text path; /* rename: src */
  struct text destination;
  struct text value;       /* set */
  bool parents;            /* mkdir, create */
  bool exist_ok;           /* mkdir */
  bool overwrite;          /* create */
  bool recursive;          /* delete */
  bool has_if_version;     /* set */
  uint64_t if_version;     /* set */
  uint64_t length;         /* complete, commit-block: bytes */
  uint64_t block;          /* commit-block */
  uint64_t worker;         /* commit-block; not checked */
  struct arguments *items; /* batch: `item_count` mutations, none of them add-block or batch */
  size_t item_count;
};

struct list_entry {
  struct text name;
  uint64_t creator;
  enum inode_kind kind;
  bool has_kind, has_creator;
};

struct block_entry {
  uint64_t block;
  uint64_t length;
  bool committed; /* false: the length is absent */
};

/* Which members of an answer were present; absent ones are unobserved and constrain nothing. */
enum answer_member {
  SEEN_CREATOR = 1 << 0,
  SEEN_VERSION = 1 << 1,
  SEEN_KIND = 1 << 2,
  SEEN_VALUE = 1 << 3,
  SEEN_COMPLETED = 1 << 4,
  SEEN_LENGTH = 1 << 5,
  SEEN_BLOCK_COUNT = 1 << 6,
  SEEN_CHILD_COUNT = 1 << 7,
  SEEN_ENTRIES = 1 << 8,
  SEEN_EXISTS = 1 << 9,
  SEEN_BLOCK = 1 << 10,
  SEEN_BLOCKS = 1 << 11,
  SEEN_AT = 1 << 12,
  SEEN_ANSWERS = 1 << 13,
};

struct answer {
  enum answer_code code;
  unsigned seen; /* of enum answer_member */
  uint64_t creator;
  uint64_t version;
  enum inode_kind inode_kind;
  bool completed, exists;
  struct text value;
  uint64_t length;
  uint64_t block_count;
  uint64_t child_count;
  struct list_entry *entries;
  size_t entry_count;
  uint64_t block;
  struct block_entry *blocks;
  size_t block_entry_count;
  uint64_t at;          /* a failed batch: index of the item that failed */
  struct answer *items; /* a batch that succeeded: one answer an item */
  size_t item_count;
};

enum outcome { OUTCOME_OK, OUTCOME_FAIL, OUTCOME_INFO };

/* NO_EVENT as `complete_event`: the operation has no completion in the history. */
#define NO_EVENT UINT32_MAX

struct operation {
  struct arguments arguments;
  struct answer answer; /* meaningless for OUTCOME_INFO but for its code */
  enum outcome outcome; /* OUTCOME_INFO too when no completion was recorded */
  int64_t process;
  uint64_t op_id; /* 0: none given */
  int64_t invoke_time_ns, complete_time_ns;
  uint32_t invoke_event, complete_event; /* positions in the order of all client events, dense from 0 */
  uint64_t invoke_index,
      complete_index; /* the `index` members of the two lines: what people and certificates name */
  uint64_t commit;    /* hint of the system: commit index, 0 when absent */
  uint64_t term;      /* hint, 0 when absent */
  int32_t node;       /* who answered, -1 when absent */
};

/* One line of process "nemesis". */
struct nemesis_event {
  int64_t time_ns;
  uint64_t index;
  bool start;       /* type "invoke": about to be done; else "info": done, or failed as `text` says */
  struct text f;    /* "start", "heal", "skip", … */
  struct text text; /* the `value` member as JSON text */
};

struct history_arena;

struct history {
  struct operation *operations; /* in the order of their invocations */
  size_t count;
  uint32_t event_count; /* client events: invocations and completions */
  struct nemesis_event *nemesis;
  size_t nemesis_count;
  struct text model;  /* of the header; "fs" when there is none */
  struct text header; /* the header line as it stood, absent when there was none */
  struct history_arena *arena;
};

/* ---- Building one in memory (tests, generators, the simulator, the minimiser) ---- */

struct history *history_new(void);
void history_free(struct history *history); /* NULL is fine */

/* Memory that lives as long as the history. */
void *history_allocate(struct history *history, size_t size);
struct text history_text(struct history *history, const char *data, size_t size);

/* Appends an invocation at the end of the order of events. `arguments` is copied deeply. Returns the
 * operation's position in `operations`. */
size_t history_invoke(struct history *history, int64_t process, uint64_t op_id,
                      const struct arguments *arguments, int64_t time_ns);

/* Appends the completion of operation `position`, which must be open. `answer` is copied deeply. */
void history_complete(struct history *history, size_t position, enum outcome outcome,
                      const struct answer *answer, int64_t time_ns);

/* A new history with the operations whose position has keep[position] set, in the same relative order of
 * events, their invoke_index and complete_index kept. With weaken[position] set (may be NULL) the completion
 * is dropped, so the outcome is unknown, and the operation gets a process number of its own, for its process
 * may go on. */
struct history *history_subset(const struct history *history, const bool *keep, const bool *weaken);

/* ---- Reading ---- */

/* Reads JSON lines. Every defect is ERR_BAD_INPUT (unreadable file: ERR_IO, ERR_NOT_FOUND) with "FILE:LINE:
 * what is wrong; what to do". Checks: JSON well-formed, times in order, known operations and types,
 * well-formed arguments and answers, a completion for an open invocation of its process, no invocation by a
 * process that is still open or ended in info. A last line without a newline that does not parse is a torn
 * tail: it is dropped and, when `warning` is given, said there (`warning->code` non-zero). */
int history_read(const char *path, struct history **history, struct error *warning, struct error *error);

/* As history_read, from memory; `name` stands in messages. */
int history_parse(const char *name, const char *data, size_t size, struct history **history,
                  struct error *warning, struct error *error);

/* ---- Writing ---- */

/* A streaming writer: every line is in the kernel's hands (one write) before the call returns. Lines carry
 * `index` dense from 0. Not thread-safe. */
struct history_writer;

/* Creates or truncates `path` and writes the header line. `header` is a JSON object with further members for
 * it, or NULL. */
int history_writer_open(const char *path, const char *model, const char *header,
                        struct history_writer **writer, struct error *error);
/* Each returns ERR_NO_SPACE or ERR_IO when the line could not be written whole; the writer then stays failed.
 */
int history_write_invoke(struct history_writer *writer, int64_t process, uint64_t op_id,
                         const struct arguments *arguments, int64_t time_ns, struct error *error);
int history_write_complete(struct history_writer *writer, int64_t process, uint64_t op_id,
                           enum outcome outcome, enum operation_kind kind, const struct answer *answer,
                           int64_t time_ns, int32_t node, uint64_t term, uint64_t commit,
                           struct error *error);
/* `value` is JSON text, or NULL. `start`: type "invoke", else "info". */
int history_write_nemesis(struct history_writer *writer, bool start, const char *f, const char *value,
                          int64_t time_ns, struct error *error);
int history_writer_close(struct history_writer *writer, struct error *error);

/* A whole history as JSON lines, indexes as they stand in it (counterexamples, tests). */
int history_save(const struct history *history, const char *path, struct error *error);

/* Merges histories that several processes wrote into one, ordered by time (an invocation before a completion
 * at equal times), with dense new indexes; streams, so memory does not grow with the size. Inputs must be
 * ordered themselves; torn tails are dropped. `header` as in history_writer_open. */
int history_merge(const char *const *inputs, size_t input_count, const char *output, const char *header,
                  struct error *error);

/* "stat /a/b -> ok file, creator 17, version 3": one line for people into `out`, NUL-terminated, truncated to
 * fit. */
void operation_print(const struct operation *operation, char *out, size_t size);
void arguments_print(const struct arguments *arguments, char *out, size_t size);
void answer_print(enum operation_kind kind, const struct answer *answer, char *out, size_t size);

#endif
