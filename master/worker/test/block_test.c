/* Blocks on a disk: every byte that differs and every cut is noticed, and a crash leaves nothing half. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "master/rpc/block_sum.h"
#include "master/worker/block_file.h"
#include "master/worker/block_store.h"

static char directory[64];

static void begin(void) {
  snprintf(directory, sizeof directory, "/tmp/assay-block-XXXXXX");
  cr_assert(mkdtemp(directory));
}

static void end(void) {
  directory_remove(directory, NULL);
}

TestSuite(block, .init = begin, .fini = end);

static char *in(const char *name) {
  return path_join(directory, name);
}

static unsigned char *content(size_t size, uint64_t seed) {
  struct random random;
  random_seed(&random, seed);
  unsigned char *bytes = xmalloc(size + 8);
  for (size_t i = 0; i < size; i += 8)
    le64_store(bytes + i, random_next(&random));
  return bytes;
}

/* As a client works it out: in one go, chunk by chunk. */
static uint64_t sum_of(const unsigned char *bytes, size_t size) {
  uint64_t whole = 0;
  for (size_t at = 0; at < size; at += BLOCK_CHUNK)
    whole = block_sum_fold(whole, checksum(bytes + at, size - at < BLOCK_CHUNK ? size - at : BLOCK_CHUNK));
  return whole;
}

/* In random pieces. */
static int write_block(uint64_t block, const unsigned char *bytes, size_t size, struct random *random,
                       uint64_t sum, const char *name, struct error *error) {
  char *temporary = in("temporary");
  struct block_writer *writer;
  cr_assert_eq(block_writer_open(temporary, block, &writer, error), 0);
  for (size_t at = 0; at < size;) {
    const size_t largest = random_chance(random, 0.5) ? 1000 : 200000;
    size_t piece = 1 + random_below(random, largest);
    piece = piece < size - at ? piece : size - at;
    cr_assert_eq(block_writer_add(writer, bytes + at, piece, error), 0);
    at += piece;
    cr_assert_eq(block_writer_length(writer), at);
  }
  const int status = block_writer_finish(writer, size, sum, directory, name, error);
  cr_assert(!file_exists(temporary));
  free(temporary);
  return status;
}

static int read_range(const char *path, uint64_t block, uint64_t offset, size_t size, struct bytes *data,
                      struct error *error) {
  struct block_reader *reader;
  const int status = block_reader_open(path, block, &reader, error);
  if (status != 0)
    return status;
  const int got = block_reader_read(reader, offset, size, data, error);
  block_reader_close(reader);
  return got;
}

Test(block, what_was_written_is_read_in_any_range) {
  struct random random;
  random_seed(&random, 5);
  const size_t sizes[] = {0, 1, 65535, 65536, 65537, 131072, 200001};
  char *path = in("b");
  struct error error;
  for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
    const size_t size = sizes[i];
    unsigned char *bytes = content(size, i);
    cr_assert_eq(write_block(7, bytes, size, &random, sum_of(bytes, size), "b", &error), 0, "%s",
                 error.message);
    struct stat info;
    cr_assert_eq(stat(path, &info), 0);
    cr_assert_eq((uint64_t)info.st_size, block_file_size(size));
    for (int range = 0; range < 50; range++) {
      struct bytes data = {0};
      const size_t offset = random_below(&random, size + 1), want = random_below(&random, size + 100);
      cr_assert_eq(read_range(path, 7, offset, want, &data, &error), 0, "%s", error.message);
      cr_assert_eq(data.size, want < size - offset ? want : size - offset);
      cr_assert(data.size == 0 || memcmp(data.data, bytes + offset, data.size) == 0);
      bytes_free(&data);
    }
    free(bytes);
  }
  free(path);
}

Test(block, what_arrives_otherwise_is_not_kept) {
  struct random random;
  random_seed(&random, 6);
  unsigned char *bytes = content(1000, 1);
  char *path = in("b");
  struct error error;
  cr_assert_eq(write_block(7, bytes, 1000, &random, sum_of(bytes, 1000) + 1, "b", &error), ERR_BAD_INPUT);
  cr_assert(!file_exists(path));
  free(bytes);
  free(path);
}

static void store_file(const char *path, const struct bytes *file) {
  FILE *out = fopen(path, "wb");
  cr_assert(out && fwrite(file->data, 1, file->size, out) == file->size);
  fclose(out);
}

static void expect_corrupt(const char *path, size_t at) {
  struct bytes data = {0};
  struct error error = {0};
  cr_assert_eq(read_range(path, 7, 0, 1u << 20, &data, &error), ERR_CORRUPT, "byte %zu", at);
  cr_assert(strstr(error.message, path), "%s", error.message);
  bytes_free(&data);
}

Test(block, every_damaged_byte_and_every_cut_is_noticed) {
  struct random random;
  random_seed(&random, 7);
  const size_t size = BLOCK_CHUNK + 300;
  unsigned char *bytes = content(size, 3);
  char *path = in("b");
  struct error error;
  struct bytes file = {0};
  cr_assert_eq(write_block(7, bytes, size, &random, sum_of(bytes, size), "b", &error), 0);
  cr_assert_eq(file_read(path, &file, &error), 0);
  for (size_t at = 0; at < file.size; at += at < 100 || at > file.size - 400 ? 1 : 97) {
    const unsigned char kept = file.data[at];
    file.data[at] ^= (unsigned char)(1u << random_below(&random, 8));
    store_file(path, &file);
    expect_corrupt(path, at);
    file.data[at] = kept;
  }
  const size_t whole = file.size;
  for (file.size = 0; file.size < whole; file.size += file.size < 100 || file.size > whole - 100 ? 1 : 89) {
    store_file(path, &file);
    expect_corrupt(path, file.size);
  }
  file.size = whole;
  bytes_append_u8(&file, 0);
  store_file(path, &file);
  expect_corrupt(path, whole);
  file.size = whole;
  store_file(path, &file);
  struct bytes data = {0};
  cr_assert_eq(read_range(path, 7, 0, 1u << 20, &data, &error), 0);
  cr_assert_eq(read_range(path, 8, 0, 1, &data, &error), ERR_CORRUPT, "another block");
  bytes_free(&data);
  bytes_free(&file);
  free(bytes);
  free(path);
}

/* A part that is damaged does not keep others from being read; a sound one is not believed without its sums.
 */
Test(block, a_range_is_verified_by_the_chunks_it_touches) {
  struct random random;
  random_seed(&random, 8);
  const size_t size = 3 * BLOCK_CHUNK;
  unsigned char *bytes = content(size, 3);
  char *path = in("b");
  struct error error;
  struct bytes file = {0}, data = {0};
  cr_assert_eq(write_block(7, bytes, size, &random, sum_of(bytes, size), "b", &error), 0);
  cr_assert_eq(file_read(path, &file, &error), 0);
  file.data[64 + BLOCK_CHUNK + 5] ^= 1;
  store_file(path, &file);
  cr_assert_eq(read_range(path, 7, 0, BLOCK_CHUNK, &data, &error), 0);
  cr_assert_eq(read_range(path, 7, 2 * BLOCK_CHUNK, BLOCK_CHUNK, &data, &error), 0);
  cr_assert_eq(read_range(path, 7, BLOCK_CHUNK - 1, 2, &data, &error), ERR_CORRUPT);
  bytes_free(&data);
  bytes_free(&file);
  free(bytes);
  free(path);
}

/* ---- the store ---- */

static struct block_store *open_store(uint64_t capacity) {
  struct block_store *store;
  struct error error;
  cr_assert_eq(block_store_open(directory, capacity, &store, &error), 0, "%s", error.message);
  return store;
}

static void add_file(struct block_store *store, uint64_t block, size_t size) {
  unsigned char *bytes = content(size, block);
  struct block_writer *writer;
  struct error error;
  char name[24], *temporary = block_store_temporary(store, block),
                 *where = block_store_directory(store, block);
  block_store_name(block, name);
  cr_assert_eq(block_writer_open(temporary, block, &writer, &error), 0);
  cr_assert_eq(block_writer_add(writer, bytes, size, &error), 0);
  cr_assert_eq(block_writer_finish(writer, size, sum_of(bytes, size), where, name, &error), 0);
  block_store_added(store, block, size);
  free(temporary);
  free(where);
  free(bytes);
}

Test(block, a_store_finds_its_blocks_again_and_clears_leftovers) {
  struct block_store *store = open_store(0);
  struct error error;
  struct block_writer *writer;
  cr_assert_eq(block_store_set_identity(store, 9, 4, &error), 0);
  for (uint64_t block = 1; block <= 20; block++)
    add_file(store, block << 32 | block, (size_t)block * 100);
  const uint64_t stored = block_store_stored(store);
  char *left = block_store_temporary(store, 99);
  cr_assert_eq(block_writer_open(left, 99, &writer, &error), 0);
  char *path = block_store_path(store, UINT64_C(3) << 32 | 3),
       *aside = block_store_corrupt(store, UINT64_C(3) << 32 | 3);
  cr_assert_eq(truncate(path, 70), 0);
  block_store_close(store); /* and a writer that never ended */
  store = open_store(0);
  cr_assert(!file_exists(left), "a leftover");
  cr_assert_eq(block_store_count(store), 19);
  cr_assert(!block_store_has(store, UINT64_C(3) << 32 | 3));
  cr_assert(!file_exists(path) && file_exists(aside), "what is cut is set aside");
  cr_assert_eq(block_store_stored(store), stored - block_file_size(300));
  uint64_t cluster, worker;
  block_store_identity(store, &cluster, &worker);
  cr_assert(cluster == 9 && worker == 4);
  free(left);
  free(path);
  free(aside);
  block_writer_abort(writer);
  block_store_close(store);
}

Test(block, one_process_has_a_store) {
  struct block_store *store = open_store(0), *other;
  struct error error;
  cr_assert_eq(block_store_open(directory, 0, &other, &error), ERR_OVERLOADED);
  cr_assert(strstr(error.message, directory));
  block_store_close(store);
}

Test(block, capacity_counts_what_is_being_written) {
  struct block_store *store = open_store(10000);
  cr_assert(block_store_reserve(store, 6000));
  cr_assert(!block_store_reserve(store, 5000));
  cr_assert_eq(block_store_free(store), 4000);
  block_store_unreserve(store, 6000);
  block_store_added(store, 5, 5000);
  cr_assert_eq(block_store_stored(store), block_file_size(5000));
  cr_assert(!block_store_reserve(store, 6000));
  cr_assert(block_store_removed(store, 5));
  cr_assert(!block_store_removed(store, 5));
  cr_assert(block_store_reserve(store, 6000));
  block_store_close(store);
}

Test(block, a_round_tells_every_block_that_stays) {
  struct block_store *store = open_store(0);
  struct random random;
  random_seed(&random, 11);
  bool here[3000] = {0}, told[3000];
  for (int i = 0; i < 6000; i++) {
    const uint64_t block = 1 + random_below(&random, 2999);
    if (random_chance(&random, 0.6)) {
      block_store_added(store, block, 10);
      here[block] = true;
    } else {
      cr_assert_eq(block_store_removed(store, block), here[block]);
      here[block] = false;
    }
  }
  memset(told, 0, sizeof told);
  size_t at = 0, all = 0;
  do {
    uint64_t ids[37];
    const size_t count = block_store_some(store, &at, ids, 37);
    for (size_t i = 0; i < count; i++) {
      cr_assert(here[ids[i]] && !told[ids[i]]);
      told[ids[i]] = true;
      all++;
    }
  } while (at != 0);
  cr_assert_eq(all, block_store_count(store));
  cr_assert_eq(memcmp(here, told, sizeof here), 0);
  block_store_close(store);
}
