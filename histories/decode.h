/* decode.h: arguments and answers out of JSON. */
#ifndef ASSAY_HISTORIES_DECODE_H
#define ASSAY_HISTORIES_DECODE_H

#include "histories/histories.h"
#include "histories/json.h"

/* What decoding needs beside the text: where to put strings and lists, and memory to gather lists in. */
struct decoder {
  struct json json;
  struct history *history;
  struct bytes scratch;
};

/* Each reads the value that comes next. False: json.problem says why not. Members that the operation does not
 * know are stepped over; null is the same as absent. `arguments` and `answer` must be zero. */
bool decode_arguments(struct decoder *decoder, enum operation_kind kind, struct arguments *arguments);
/* `asked` is what the operation was asked to do. */
bool decode_answer(struct decoder *decoder, const struct arguments *asked, struct answer *answer);
/* The `error` member of a completion: {"code": …, "version": …, "at": …}, or the code alone. The code of
 * anything else becomes ANSWER_OK, of a word that is not known ANSWER_OTHER. */
bool decode_error(struct decoder *decoder, struct answer *answer);

bool decode_text(struct decoder *decoder, struct text *text);

/* A member's name and the bit that stands for it. */
struct member {
  struct text name;
  unsigned bit;
};

#define MEMBER(literal, bit)                                                                                 \
  { {literal, sizeof(literal) - 1}, bit }

/* The members of an object while it is read. */
struct members {
  const struct member *list;
  size_t count;
  unsigned known;   /* bits of those that mean something here */
  unsigned present; /* bits of those that were met */
  size_t expected;  /* where in the list the next one is looked for first: they mostly come in its order */
};

#define MEMBERS(array, bits)                                                                                 \
  { .list = (array), .count = ARRAY_SIZE(array), .known = (bits) }

/* Goes to the next member that means something, steps over all others and over null, and returns its bit; 0
 * at the end of the object, and when json->problem says what is wrong, such as a member that stands twice. */
unsigned members_next(struct json *json, struct members *members);

#endif
