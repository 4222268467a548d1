/* What is written is what is read. */
#include <criterion/criterion.h>
#include <unistd.h>

#include "histories/test/random_history.h"

Test(roundtrip, a_saved_history_reads_back_equal) {
  const char *path = temporary_path("saved.jsonl");
  for (uint64_t seed = 0; seed < 300; seed++) {
    struct history *history = random_history(seed, 1 + seed % 60), *read = NULL;
    struct error error, warning;
    cr_assert_eq(history_save(history, path, &error), 0, "%s", error.message);
    cr_assert_eq(history_read(path, &read, &warning, &error), 0, "seed %lu: %s", seed, error.message);
    cr_assert_eq(warning.code, 0);
    assert_histories_equal(history, read);
    history_free(history);
    history_free(read);
  }
  unlink(path);
}

/* Writes what `history` holds through the streaming writer, event by event. */
static void stream(const struct history *history, const char *path) {
  struct history_writer *writer;
  struct error error;
  cr_assert_eq(history_writer_open(path, "fs", "{\"seed\": 7,\n \"nodes\": [1, 2]}", &writer, &error), 0);
  for (uint32_t event = 0; event < history->event_count; event++)
    for (size_t i = 0; i < history->count; i++) {
      const struct operation *operation = &history->operations[i];
      if (operation->invoke_event == event)
        cr_assert_eq(history_write_invoke(writer, operation->process, operation->op_id, &operation->arguments,
                                          operation->invoke_time_ns, &error),
                     0);
      else if (operation->complete_event == event)
        cr_assert_eq(history_write_complete(writer, operation->process, operation->op_id, operation->outcome,
                                            operation->arguments.kind, &operation->answer,
                                            operation->complete_time_ns, operation->node, operation->term,
                                            operation->commit, &error),
                     0);
    }
  cr_assert_eq(history_writer_close(writer, &error), 0);
}

Test(roundtrip, a_streamed_history_reads_back_equal) {
  const char *path = temporary_path("streamed.jsonl");
  for (uint64_t seed = 1000; seed < 1050; seed++) {
    struct history *history = random_history(seed, 40), *read = NULL;
    struct error error;
    stream(history, path);
    cr_assert_eq(history_read(path, &read, NULL, &error), 0, "seed %lu: %s", seed, error.message);
    assert_histories_equal(history, read);
    cr_assert_str_eq(read->header.data, "{\"history\":1,\"model\":\"fs\",\"seed\": 7,  \"nodes\": [1, 2]}");
    history_free(history);
    history_free(read);
  }
  unlink(path);
}

Test(roundtrip, the_nemesis_stands_between_the_operations) {
  const char *path = temporary_path("nemesis.jsonl");
  struct history_writer *writer;
  struct history *read;
  struct error error;
  struct arguments stat = {.kind = OPERATION_STAT, .path = text_of("/")};
  cr_assert_eq(history_writer_open(path, "fs", NULL, &writer, &error), 0);
  cr_assert_eq(history_write_invoke(writer, 3, 0, &stat, 10, &error), 0);
  cr_assert_eq(history_write_nemesis(writer, true, "partition", "{\"from\":\n[1]}", 11, &error), 0);
  cr_assert_eq(history_write_nemesis(writer, false, "partition", NULL, 12, &error), 0);
  cr_assert_eq(history_write_nemesis(writer, false, "heal", "{\"broken", 13, &error), ERR_BAD_INPUT);
  cr_assert(strstr(error.message, "nemesis"), "%s", error.message);
  struct answer answer = {.code = ANSWER_NOT_PRIMARY};
  cr_assert_eq(
      history_write_complete(writer, 3, 0, OUTCOME_FAIL, OPERATION_STAT, &answer, 14, 2, 5, 9, &error), 0);
  cr_assert_eq(history_writer_close(writer, &error), 0);
  for (int round = 0; round < 2; round++) {
    cr_assert_eq(history_read(path, &read, NULL, &error), 0, "%s", error.message);
    cr_assert_eq(read->count, 1);
    cr_assert_eq(read->nemesis_count, 2);
    cr_assert(read->nemesis[0].start && !read->nemesis[1].start);
    cr_assert_str_eq(read->nemesis[0].f.data, "partition");
    cr_assert_str_eq(read->nemesis[0].text.data, "{\"from\": [1]}");
    cr_assert_null(read->nemesis[1].text.data);
    cr_assert_eq(read->nemesis[1].index, 2);
    cr_assert_eq(read->operations[0].complete_index, 3);
    cr_assert_eq(read->operations[0].node, 2);
    cr_assert_eq(history_save(read, path, &error), 0);
    history_free(read);
  }
  unlink(path);
}

Test(roundtrip, bytes_that_are_not_utf8_never_reach_a_file) {
  const char *path = temporary_path("bytes.jsonl");
  struct history *history = history_new(), *read;
  struct error error;
  struct arguments exists = {.kind = OPERATION_EXISTS, .path = text_of("/a\xFF\xC0\x80\xED\xA0\x80z")};
  history_invoke(history, 0, 0, &exists, 0);
  cr_assert_eq(history_save(history, path, &error), 0);
  cr_assert_eq(history_read(path, &read, NULL, &error), 0, "%s", error.message);
  const char *expected = "/a\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDz";
  cr_assert_str_eq(read->operations[0].arguments.path.data, expected);
  history_free(history);
  history_free(read);
  unlink(path);
}

Test(roundtrip, a_full_disk_is_said_and_stays_said) {
  struct history_writer *writer;
  struct error error;
  cr_assert_eq(history_writer_open("/dev/full", "fs", NULL, &writer, &error), ERR_NO_SPACE);
  cr_assert(strstr(error.message, "/dev/full"), "%s", error.message);
  cr_assert_eq(history_writer_open("/no/such/directory/x", "fs", NULL, &writer, &error), ERR_NOT_FOUND);
}
