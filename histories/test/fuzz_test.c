/* Whatever the bytes are, the reader returns: a history or a message. Meant to be run under the sanitizers
 * too. */
#include <criterion/criterion.h>
#include <unistd.h>

#include "histories/test/random_history.h"

static void mutate(struct random *random, struct bytes *text) {
  static const char spice[] = "{}[]\",:\\u0nte-.19 \n\xC3\xFF";
  const size_t edits = 1 + random_below(random, 4);
  for (size_t i = 0; i < edits && text->size > 0; i++) {
    const size_t at = random_below(random, text->size);
    switch (random_below(random, 4)) {
    case 0:
      text->data[at] = (unsigned char)random_next(random);
      break;
    case 1:
      text->data[at] = (unsigned char)spice[random_below(random, sizeof spice - 1)];
      break;
    case 2: {
      const size_t cut =
          random_below(random, 20) < text->size - at ? random_below(random, text->size - at) % 20 : 0;
      memmove(text->data + at, text->data + at + cut, text->size - at - cut);
      text->size -= cut;
      break;
    }
    default:
      text->size = at;
      break;
    }
  }
}

Test(fuzz, mutated_histories_never_crash_the_reader) {
  const char *path = temporary_path("fuzz.jsonl");
  struct random random;
  random_seed(&random, 99);
  size_t read_well = 0;
  for (uint64_t seed = 0; seed < 40; seed++) {
    struct history *history = random_history(seed, 12);
    struct bytes whole = {0};
    struct error error;
    cr_assert_eq(history_save(history, path, &error), 0);
    cr_assert_eq(file_read(path, &whole, &error), 0);
    for (int round = 0; round < 500; round++) {
      /* In memory of its exact size, so that a sanitizer sees every step beyond it. */
      struct bytes text = {0};
      bytes_append(&text, whole.data, whole.size);
      mutate(&random, &text);
      char *exact = xmalloc(text.size + 1);
      memcpy(exact, text.data, text.size);
      exact = xrealloc(exact, text.size ? text.size : 1);
      struct history *read = NULL;
      struct error warning;
      const int result = history_parse("fuzz", exact, text.size, &read, &warning, &error);
      if (result == 0) {
        read_well++;
        if (read_well % 10 == 0)
          cr_assert_eq(history_save(read, path, &error), 0);
        history_free(read);
      } else {
        cr_assert_eq(result, ERR_BAD_INPUT);
        cr_assert(strncmp(error.message, "fuzz:", 5) == 0, "%s", error.message);
      }
      free(exact);
      bytes_free(&text);
    }
    bytes_free(&whole);
    history_free(history);
  }
  /* Both ways are taken, or this test tests nothing. */
  cr_assert(read_well > 100 && read_well < 19900, "%zu", read_well);
  unlink(path);
}
