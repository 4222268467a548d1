/* The data plane: a server of blocks and its clients on one loop, over real connections on loopback. */
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/base.h"
#include "master/client/data.h"
#include "master/worker/block_store.h"
#include "master/worker/data_server.h"

static char directory[64], address[32];
static uv_loop_t loop;
static struct block_store *store;
static struct data_server *server;
static bool takes_blocks;
static size_t stored, lost;

static bool may_write(void *context, char *why, size_t size) {
  (void)context;
  if (!takes_blocks)
    snprintf(why, size, "not now, says the test");
  return takes_blocks;
}

static void on_stored(void *context, uint64_t block) {
  (void)context;
  cr_assert(block_store_has(store, block));
  stored++;
}

static void on_lost(void *context, uint64_t block) {
  (void)context;
  cr_assert(!block_store_has(store, block));
  lost++;
}

static void begin_with(uint64_t capacity) {
  struct error error;
  snprintf(directory, sizeof directory, "/tmp/assay-data-XXXXXX");
  cr_assert(mkdtemp(directory));
  signal(SIGPIPE, SIG_IGN);
  uv_loop_init(&loop);
  takes_blocks = true;
  stored = lost = 0;
  cr_assert_eq(block_store_open(directory, capacity, &store, &error), 0, "%s", error.message);
  cr_assert_eq(block_store_set_identity(store, 9, 4, &error), 0);
  const struct data_server_options options = {.loop = &loop,
                                              .address = "127.0.0.1:0",
                                              .store = store,
                                              .may_write = may_write,
                                              .stored = on_stored,
                                              .lost = on_lost};
  cr_assert_eq(data_server_open(&options, &server, &error), 0, "%s", error.message);
  snprintf(address, sizeof address, "127.0.0.1:%u", data_server_port(server));
}

static void begin(void) {
  begin_with(0);
}

static void end(void) {
  data_server_close(server, NULL, NULL);
  uv_run(&loop, UV_RUN_DEFAULT);
  cr_assert_eq(uv_loop_close(&loop), 0);
  block_store_close(store);
  directory_remove(directory, NULL);
}

TestSuite(data, .init = begin, .fini = end);

/* ---- clients ---- */

struct stream {
  struct data_stream *stream;
  const unsigned char *bytes;
  size_t size, at;
  size_t stop_at; /* cancelled there; SIZE_MAX: never */
  struct random *random;
  struct bytes got;
  bool over;
  enum data_status status;
  char message[300];
};

static struct data_target target(uint64_t cluster) {
  return (struct data_target){.loop = &loop, .address = address, .cluster = cluster};
}

static void on_ended(void *context, enum data_status status, const char *message) {
  struct stream *stream = context;
  cr_assert(!stream->over);
  stream->over = true;
  stream->status = status;
  snprintf(stream->message, sizeof stream->message, "%s", message);
}

static void on_ready(void *context) {
  struct stream *stream = context;
  for (bool ready = true; ready;) {
    if (stream->at >= stream->stop_at) {
      stream->over = true;
      data_cancel(stream->stream);
      return;
    }
    if (stream->at == stream->size) {
      data_write_finish(stream->stream);
      return;
    }
    size_t piece = 1 + random_below(stream->random, random_chance(stream->random, 0.5) ? 3000 : 400000);
    piece = piece < stream->size - stream->at ? piece : stream->size - stream->at;
    ready = data_write_piece(stream->stream, stream->bytes + stream->at, piece);
    stream->at += piece;
  }
}

static bool on_piece(void *context, const void *data, size_t size) {
  struct stream *stream = context;
  bytes_append(&stream->got, data, size);
  if (stream->got.size < stream->stop_at)
    return true;
  stream->over = true;
  return false;
}

static void begin_write(struct stream *stream, uint64_t block, const unsigned char *bytes, size_t size,
                        size_t stop_at, struct random *random) {
  struct error error;
  const struct data_target to = target(9);
  *stream = (struct stream){.bytes = bytes, .size = size, .stop_at = stop_at, .random = random};
  cr_assert_eq(data_write_begin(&to, block, on_ready, on_ended, stream, &stream->stream, &error), 0);
}

static void await(const struct stream *stream) {
  while (!stream->over)
    uv_run(&loop, UV_RUN_ONCE);
}

static void read_range(struct stream *stream, uint64_t block, uint64_t offset, uint64_t length) {
  struct error error;
  const struct data_target to = target(9);
  *stream = (struct stream){.stop_at = SIZE_MAX};
  cr_assert_eq(
      data_read_begin(&to, block, offset, length, on_piece, on_ended, stream, &stream->stream, &error), 0);
  await(stream);
}

static unsigned char *content(size_t size, uint64_t seed) {
  struct random random;
  random_seed(&random, seed);
  unsigned char *bytes = xmalloc(size + 8);
  for (size_t i = 0; i < size; i += 8)
    le64_store(bytes + i, random_next(&random));
  return bytes;
}

static void expect_same(uint64_t block, const unsigned char *bytes, size_t size) {
  struct stream read;
  read_range(&read, block, 0, 0);
  cr_assert_eq(read.status, DATA_DONE, "%s", read.message);
  cr_assert_eq(read.got.size, size);
  cr_assert(size == 0 || memcmp(read.got.data, bytes, size) == 0);
  bytes_free(&read.got);
}

static void write_whole(uint64_t block, const unsigned char *bytes, size_t size) {
  struct random random;
  struct stream write;
  random_seed(&random, block);
  begin_write(&write, block, bytes, size, SIZE_MAX, &random);
  await(&write);
  cr_assert_eq(write.status, DATA_DONE, "%s", write.message);
}

#define STREAMS 24

/* Many at once, in random pieces; some break off. What was finished is there, the rest has left nothing. */
Test(data, random_pieces_and_disconnects) {
  struct random random;
  random_seed(&random, 3);
  for (int round = 0; round < 6; round++) {
    struct stream streams[STREAMS];
    unsigned char *bytes[STREAMS];
    const uint64_t base = (uint64_t)(round + 1) << 32;
    for (size_t i = 0; i < STREAMS; i++) {
      const size_t size = random_chance(&random, 0.2) ? 0 : random_below(&random, 1500000);
      bytes[i] = content(size, i);
      begin_write(&streams[i], base | (i + 1), bytes[i], size,
                  random_chance(&random, 0.3) ? random_below(&random, size + 1) : SIZE_MAX, &random);
    }
    for (size_t i = 0; i < STREAMS; i++)
      await(&streams[i]);
    for (size_t i = 0; i < STREAMS; i++) {
      struct stream read;
      if (streams[i].stop_at == SIZE_MAX) {
        cr_assert_eq(streams[i].status, DATA_DONE, "%s", streams[i].message);
        expect_same(base | (i + 1), bytes[i], streams[i].size);
        const uint64_t offset = random_below(&random, streams[i].size + 1);
        const uint64_t length = random_below(&random, streams[i].size - offset + 1);
        read_range(&read, base | (i + 1), offset, length);
        cr_assert_eq(read.status, DATA_DONE, "%s", read.message);
        cr_assert_eq(read.got.size, length ? length : streams[i].size - offset);
        cr_assert(read.got.size == 0 || memcmp(read.got.data, bytes[i] + offset, read.got.size) == 0);
      } else {
        read_range(&read, base | (i + 1), 0, 0);
        cr_assert_eq(read.status, DATA_NOT_FOUND);
      }
      bytes_free(&read.got);
      free(bytes[i]);
    }
  }
  cr_assert_eq(stored, block_store_count(store));
}

Test(data, a_reader_may_leave) {
  unsigned char *bytes = content(3000000, 1);
  write_whole(5, bytes, 3000000);
  struct error error;
  struct stream read = {.stop_at = 400000};
  const struct data_target to = target(0);
  cr_assert_eq(data_read_begin(&to, 5, 0, 0, on_piece, on_ended, &read, &read.stream, &error), 0);
  await(&read);
  bytes_free(&read.got);
  expect_same(5, bytes, 3000000);
  free(bytes);
}

Test(data, a_repeated_write_is_done_and_another_content_is_refused) {
  unsigned char *bytes = content(100000, 1);
  write_whole(5, bytes, 100000);
  write_whole(5, bytes, 100000);
  struct random random;
  struct stream write;
  random_seed(&random, 1);
  bytes[7] ^= 1;
  begin_write(&write, 5, bytes, 100000, SIZE_MAX, &random);
  await(&write);
  cr_assert_eq(write.status, DATA_REFUSED);
  cr_assert(strstr(write.message, "written once"), "%s", write.message);
  bytes[7] ^= 1;
  expect_same(5, bytes, 100000);
  free(bytes);
}

Test(data, refusals_say_why) {
  unsigned char *bytes = content(100000, 1);
  struct random random;
  struct stream stream;
  random_seed(&random, 1);
  takes_blocks = false;
  begin_write(&stream, 5, bytes, 100000, SIZE_MAX, &random);
  await(&stream);
  cr_assert_eq(stream.status, DATA_REFUSED);
  cr_assert(strstr(stream.message, "says the test") && strstr(stream.message, address), "%s", stream.message);
  takes_blocks = true;
  write_whole(5, bytes, 100000);
  read_range(&stream, 5, 99999, 2);
  cr_assert_eq(stream.status, DATA_REFUSED);
  cr_assert(strstr(stream.message, "100000 bytes"), "%s", stream.message);
  read_range(&stream, 6, 0, 0);
  cr_assert_eq(stream.status, DATA_NOT_FOUND);
  struct error error;
  const struct data_target other = target(10);
  stream = (struct stream){.stop_at = SIZE_MAX};
  cr_assert_eq(data_read_begin(&other, 5, 0, 0, on_piece, on_ended, &stream, &stream.stream, &error), 0);
  await(&stream);
  cr_assert_eq(stream.status, DATA_UNREACHABLE);
  cr_assert(strstr(stream.message, "cluster 9"), "%s", stream.message);
  free(bytes);
}

Test(data, beyond_its_capacity_it_says_no_room) {
  end();
  begin_with(300000);
  unsigned char *bytes = content(400000, 1);
  struct random random;
  struct stream stream;
  random_seed(&random, 1);
  write_whole(5, bytes, 100000);
  begin_write(&stream, 6, bytes, 400000, SIZE_MAX, &random);
  await(&stream);
  cr_assert_eq(stream.status, DATA_NO_ROOM);
  cr_assert(strstr(stream.message, "--capacity"), "%s", stream.message);
  write_whole(7, bytes, 100000); /* what was set aside for it is free again */
  free(bytes);
}

Test(data, a_damaged_block_is_told_once_and_gone_then) {
  unsigned char *bytes = content(200000, 1);
  struct stream stream;
  write_whole(5, bytes, 200000);
  char *path = block_store_path(store, 5), *aside = block_store_corrupt(store, 5);
  FILE *file = fopen(path, "r+b");
  cr_assert(file && fseek(file, 150000, SEEK_SET) == 0 && fputc(bytes[150000 - 64] ^ 1, file) != EOF);
  fclose(file);
  read_range(&stream, 5, 0, 0);
  cr_assert_eq(stream.status, DATA_CORRUPT, "%s", stream.message);
  cr_assert_leq(stream.got.size, 131072, "nothing of the damaged chunk was given");
  cr_assert(stream.got.size == 0 || memcmp(stream.got.data, bytes, stream.got.size) == 0);
  cr_assert_eq(lost, 1);
  cr_assert(!file_exists(path) && file_exists(aside));
  bytes_free(&stream.got);
  read_range(&stream, 5, 0, 0);
  cr_assert_eq(stream.status, DATA_NOT_FOUND);
  write_whole(5, bytes, 200000);
  expect_same(5, bytes, 200000);
  free(path);
  free(aside);
  free(bytes);
}

/* ---- who does not keep to the protocol ---- */

static int dial(void) {
  struct sockaddr_in to = {.sin_family = AF_INET,
                           .sin_port = htons((uint16_t)data_server_port(server)),
                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  const int end = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  cr_assert(end >= 0 && connect(end, (struct sockaddr *)&to, sizeof to) == 0);
  return end;
}

/* What strangers send closes their connection and nothing else. */
Test(data, strangers_are_turned_away) {
  unsigned char *bytes = content(100000, 1);
  write_whole(5, bytes, 100000);
  struct random random;
  random_seed(&random, 9);
  for (int i = 0; i < 40; i++) {
    unsigned char noise[200];
    for (size_t j = 0; j < sizeof noise; j++)
      noise[j] = (unsigned char)random_next(&random);
    if (random_chance(&random, 0.5))
      le32_store(noise, 1 + (uint32_t)random_below(&random, 100));
    noise[4] = (unsigned char)(1 + random_below(&random, 18));
    const int end = dial();
    cr_assert_eq(send(end, noise, sizeof noise, MSG_NOSIGNAL), (ssize_t)sizeof noise);
    shutdown(end, SHUT_WR);
    for (ssize_t got = 1; got > 0;) {
      uv_run(&loop, UV_RUN_NOWAIT);
      got = recv(end, noise, sizeof noise, MSG_DONTWAIT);
      if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        got = 1;
    }
    close(end);
  }
  expect_same(5, bytes, 100000);
  free(bytes);
}
