/* The world on libuv, for real: a disk thread, sockets on loopback, and three journals over it. */
#include "master/uv_world.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "master/raft/raft_journal.h"
#include "master/rpc/certificates.h"

#define NODES 3

static char *make_directory(void) {
  char template[] = "/tmp/assay-world-XXXXXX";
  cr_assert(mkdtemp(template));
  return xstrdup(template);
}

static uint16_t free_port(void) {
  const int socket_fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  cr_assert_eq(bind(socket_fd, (struct sockaddr *)&address, size), 0);
  cr_assert_eq(getsockname(socket_fd, (struct sockaddr *)&address, &size), 0);
  close(socket_fd);
  return ntohs(address.sin_port);
}

static void set_true(void *context) {
  *(bool *)context = true;
}

/* Runs the loop until `done`, 20 s at most. */
static void await(uv_loop_t *loop, const bool *done) {
  const int64_t until_ns = time_monotonic_ns() + 20 * NS_PER_S;
  while (!*done && time_monotonic_ns() < until_ns)
    uv_run(loop, UV_RUN_ONCE);
  cr_assert(*done, "nothing happened for 20 s");
}

static void close_world(uv_loop_t *loop, struct uv_world *world) {
  bool closed = false;
  uv_world_close(world, set_true, &closed);
  await(loop, &closed);
}

/* -- one world --------------------------------------------------------------------------------------------
 */

struct single {
  uv_loop_t loop;
  char *directory;
  struct uv_world_member member;
  struct uv_world *world;
  const struct world *door;
};

static void open_single(struct single *single) {
  log_open("test", LOG_LEVEL_ERROR);
  uv_loop_init(&single->loop);
  single->directory = make_directory();
  single->member = (struct uv_world_member){.id = 1, .host = "127.0.0.1", .port = free_port()};
  const struct uv_world_options options = {
      .directory = single->directory, .id = 1, .members = &single->member, .member_count = 1, .cluster = 9};
  struct error error;
  cr_assert_eq(uv_world_new(&single->loop, &options, &single->world, &error), 0, "%s", error.message);
  single->door = uv_world_world(single->world);
}

static void close_single(struct single *single) {
  close_world(&single->loop, single->world);
  directory_remove(single->directory, NULL);
  free(single->directory);
  cr_assert_eq(uv_loop_close(&single->loop), 0, "a handle is left open");
}

struct answer {
  bool done;
  int status;
  struct disk_file *file;
  int order;
};

static int answers;

static void on_created(void *owner, int status, struct disk_file *file) {
  struct answer *answer = owner;
  *answer = (struct answer){.done = true, .status = status, .file = file, .order = ++answers};
}

static void on_done(void *owner, int status) {
  struct answer *answer = owner;
  *answer = (struct answer){.done = true, .status = status, .order = ++answers};
}

Test(uv_world, files_are_written_read_and_removed_in_order) {
  struct single single;
  open_single(&single);
  const struct world *door = single.door;
  struct answer created = {0}, again = {0}, written = {0}, fetched = {0};
  door->disk_create(door->context, "one", 4096, on_created, &created);
  door->disk_create(door->context, "one", 4096, on_created, &again);
  await(&single.loop, &again.done);
  cr_assert_eq(created.status, 0);
  cr_assert_eq(again.status, ERR_IO, "the name exists");
  struct iovec vectors[2000];
  char letters[2000];
  for (size_t i = 0; i < 2000; i++) {
    letters[i] = (char)('a' + i % 26);
    vectors[i] = (struct iovec){.iov_base = &letters[i], .iov_len = 1};
  }
  char back[2000];
  door->disk_write(created.file, 100, vectors, 2000, on_done, &written);
  door->disk_fetch(created.file, 100, back, sizeof back, on_done, &fetched);
  await(&single.loop, &fetched.done);
  cr_assert_eq(written.status, 0);
  cr_assert_eq(fetched.status, 0);
  cr_assert_lt(written.order, fetched.order);
  cr_assert_arr_eq(back, letters, sizeof back);
  struct answer beyond = {0};
  door->disk_fetch(created.file, 4000, back, 200, on_done, &beyond);
  await(&single.loop, &beyond.done);
  cr_assert_eq(beyond.status, ERR_IO);
  cr_assert_eq(door->disk_settle(created.file, 100, NULL, 500, NULL), 0);
  cr_assert_eq(door->disk_settle(created.file, 4000, letters, 90, NULL), 0);
  struct bytes content = {0};
  cr_assert_eq(door->disk_read(door->context, "one", &content, NULL), 0);
  cr_assert_eq(content.size, 4096);
  cr_assert_eq(content.data[599], 0);
  cr_assert_eq(content.data[600], letters[500]);
  cr_assert_arr_eq(content.data + 4000, letters, 90);
  bytes_free(&content);
  door->disk_close(created.file);
  door->disk_remove(door->context, "one");
  close_single(&single);
}

struct ringing {
  bool done;
  int64_t at_ns;
};

static void on_ring(void *owner) {
  struct ringing *ringing = owner;
  *ringing = (struct ringing){.done = true, .at_ns = time_monotonic_ns()};
}

Test(uv_world, timers_never_fire_early_and_can_be_moved) {
  struct single single;
  open_single(&single);
  const struct world *door = single.door;
  struct ringing ringing = {0}, never = {0};
  struct timer *timer = door->timer_new(door->context, on_ring, &ringing);
  struct timer *cleared = door->timer_new(door->context, on_ring, &never);
  const int64_t at_ns = door->now_ns(door->context) + 7 * NS_PER_MS + 300;
  door->timer_set(timer, at_ns + NS_PER_S * 100);
  door->timer_set(timer, at_ns);
  door->timer_set(cleared, at_ns - NS_PER_MS);
  door->timer_clear(cleared);
  await(&single.loop, &ringing.done);
  cr_assert_geq(ringing.at_ns, at_ns);
  cr_assert_not(never.done);
  door->timer_free(timer);
  door->timer_free(cleared);
  close_single(&single);
}

Test(uv_world, a_port_in_use_is_told) {
  struct single single;
  open_single(&single);
  char *directory = make_directory();
  const struct uv_world_options options = {
      .directory = directory, .id = 1, .members = &single.member, .member_count = 1, .cluster = 9};
  struct uv_world *second;
  struct error error;
  cr_assert_neq(uv_world_new(&single.loop, &options, &second, &error), 0);
  cr_assert(strstr(error.message, "127.0.0.1") && strstr(error.message, "stop the process"), "%s",
            error.message);
  directory_remove(directory, NULL);
  free(directory);
  close_single(&single);
}

Test(uv_world, a_directory_in_use_is_told) {
  struct single single;
  open_single(&single);
  struct uv_world_member member = single.member;
  member.port = free_port();
  const struct uv_world_options options = {
      .directory = single.directory, .id = 1, .members = &member, .member_count = 1, .cluster = 9};
  struct uv_world *second;
  struct error error;
  cr_assert_neq(uv_world_new(&single.loop, &options, &second, &error), 0);
  cr_assert(strstr(error.message, "in use by another process"), "%s", error.message);
  close_single(&single);
}

/* -- several worlds ---------------------------------------------------------------------------------------
 */

struct several {
  struct tls_context *tls[NODES]; /* NULL: without */
  char *certificates;             /* directory of them */
  uv_loop_t loop;
  char *directories[NODES];
  struct uv_world_member members[NODES];
  struct uv_world *worlds[NODES];
};

static void open_one(struct several *several, size_t node) {
  const struct uv_world_options options = {.directory = several->directories[node],
                                           .id = node + 1,
                                           .members = several->members,
                                           .member_count = NODES,
                                           .cluster = 9,
                                           .tls = several->tls[node]};
  struct error error;
  cr_assert_eq(uv_world_new(&several->loop, &options, &several->worlds[node], &error), 0, "%s",
               error.message);
}

static struct tls_context *certificate(const struct several *several, enum tls_role role) {
  struct certificate_paths paths;
  certificates_paths(several->certificates, role, &paths);
  const struct tls_files files = certificates_files(&paths);
  struct tls_context *context;
  struct error error;
  cr_assert_eq(tls_context_new(&files, role, &context, &error), 0, "%s", error.message);
  return context;
}

/* `roles`: of the nodes' certificates, 0: none; NULL: nobody has any. */
static void open_several_with(struct several *several, const unsigned *roles) {
  log_open("test", LOG_LEVEL_ERROR);
  *several = (struct several){.certificates = make_directory()};
  struct error error;
  cr_assert_eq(certificates_make(several->certificates, 3600 * NS_PER_S, &error), 0, "%s", error.message);
  for (size_t i = 0; i < NODES; i++)
    several->tls[i] = roles && roles[i] ? certificate(several, (enum tls_role)roles[i]) : NULL;
  uv_loop_init(&several->loop);
  for (size_t i = 0; i < NODES; i++) {
    several->directories[i] = make_directory();
    several->members[i] = (struct uv_world_member){.id = i + 1, .host = "127.0.0.1", .port = free_port()};
  }
  for (size_t i = 0; i < NODES; i++)
    open_one(several, i);
}

static const unsigned all_masters[NODES] = {TLS_MASTER, TLS_MASTER, TLS_MASTER};

static void open_several(struct several *several, bool tls) {
  open_several_with(several, tls ? all_masters : NULL);
}

static void close_several(struct several *several) {
  for (size_t i = 0; i < NODES; i++) {
    close_world(&several->loop, several->worlds[i]);
    directory_remove(several->directories[i], NULL);
    free(several->directories[i]);
    tls_context_free(several->tls[i]);
  }
  directory_remove(several->certificates, NULL);
  free(several->certificates);
  cr_assert_eq(uv_loop_close(&several->loop), 0, "a handle is left open");
}

struct inbox {
  uint64_t next; /* number of the frame that is expected */
  uint64_t bytes;
  bool done;
  uint64_t last;
};

static void on_frame(void *owner, uint64_t peer, const void *frame, size_t size) {
  struct inbox *inbox = owner;
  cr_assert_eq(peer, 1);
  const uint64_t number = le64_load(frame);
  cr_assert_geq(number, inbox->next, "frames of one connection keep their order");
  for (size_t i = 8; i < size; i++)
    cr_assert_eq(((const unsigned char *)frame)[i], (unsigned char)(number + i));
  inbox->next = number + 1;
  inbox->bytes += size;
  inbox->done = number == inbox->last;
}

static void send_number(const struct world *door, uint64_t number, size_t size) {
  unsigned char *frame = xmalloc(size);
  for (size_t i = 8; i < size; i++)
    frame[i] = (unsigned char)(number + i);
  le64_store(frame, number);
  struct iovec vectors[2] = {{.iov_base = frame, .iov_len = size / 2},
                             {.iov_base = frame + size / 2, .iov_len = size - size / 2}};
  door->send(door->context, 2, vectors, 2);
  free(frame);
}

static void await_ready(struct several *several, const struct world *door, uint64_t peer) {
  const int64_t until_ns = time_monotonic_ns() + 10 * NS_PER_S;
  while (!door->peer_ready(door->context, peer) && time_monotonic_ns() < until_ns)
    uv_run(&several->loop, UV_RUN_ONCE);
  cr_assert(door->peer_ready(door->context, peer));
}

static void carry_frames_of_all_sizes(bool tls) {
  struct several several;
  open_several(&several, tls);
  const struct world *one = uv_world_world(several.worlds[0]), *two = uv_world_world(several.worlds[1]);
  struct inbox inbox = {.last = 2000};
  two->receive(two->context, on_frame, &inbox);
  await_ready(&several, one, 2);
  uint64_t sent = 0;
  for (uint64_t number = 0; number <= 2000; number++) {
    const size_t size = number % 50 == 49 ? 300000 : 8 + (size_t)(number * 97 % 5000);
    send_number(one, number, size);
    sent += size;
    while (!one->peer_ready(one->context, 2))
      uv_run(&several.loop, UV_RUN_ONCE);
    /* The receiver is on this loop too, and a connection that nobody reads for a second is ended. */
    if (number % 50 == 0)
      uv_run(&several.loop, UV_RUN_NOWAIT);
  }
  await(&several.loop, &inbox.done);
  cr_assert_eq(inbox.bytes, sent);
  two->receive(two->context, NULL, NULL);
  close_several(&several);
}

Test(uv_world, frames_of_all_sizes_arrive_whole) {
  carry_frames_of_all_sizes(false);
}

Test(uv_world, frames_of_all_sizes_arrive_whole_through_tls) {
  carry_frames_of_all_sizes(true);
}

/* A peer that comes back is reached again within a second. */
static void connect_again(bool tls) {
  struct several several;
  open_several(&several, tls);
  const struct world *one = uv_world_world(several.worlds[0]);
  await_ready(&several, one, 2);
  close_world(&several.loop, several.worlds[1]);
  while (one->peer_ready(one->context, 2))
    uv_run(&several.loop, UV_RUN_ONCE);
  send_number(one, 1, 100);
  open_one(&several, 1);
  const struct world *two = uv_world_world(several.worlds[1]);
  struct inbox inbox = {.last = 7};
  two->receive(two->context, on_frame, &inbox);
  await_ready(&several, one, 2);
  send_number(one, 7, 100);
  await(&several.loop, &inbox.done);
  cr_assert_eq(inbox.bytes, 100, "what was sent to the dead is gone");
  two->receive(two->context, NULL, NULL);
  close_several(&several);
}

Test(uv_world, connects_again) {
  connect_again(false);
}

Test(uv_world, connects_again_through_tls) {
  connect_again(true);
}

/* Whoever else talks to the port does no harm. */
static char said[4096];

static void keep_line(void *context, enum log_level level, const char *line) {
  (void)context, (void)level;
  snprintf(said + strlen(said), sizeof said - strlen(said), "%s\n", line);
}

/* A hello as another node would send it, its checksum right. */
static void expect_refusal(uint64_t version, uint64_t cluster, uint64_t receiver, const char *why) {
  enum { HELLO = 48 + 96 };
  struct several several;
  open_several(&several, false);
  struct sockaddr_in address;
  uv_ip4_addr("127.0.0.1", several.members[1].port, &address);
  unsigned char hello[4 + HELLO] = {0};
  le32_store(hello, HELLO);
  le64_store(hello + 4, version << 48 | UINT64_C(0x726565507341));
  le64_store(hello + 12, cluster);
  le64_store(hello + 20, 3);
  le64_store(hello + 28, receiver);
  le64_store(hello + 4 + HELLO - 8, checksum(hello + 4, HELLO - 8));
  const int stranger = socket(AF_INET, SOCK_STREAM, 0);
  cr_assert_eq(connect(stranger, (struct sockaddr *)&address, sizeof address), 0);
  cr_assert_eq(write(stranger, hello, sizeof hello), sizeof hello);
  struct timeval patience = {.tv_usec = 1000};
  setsockopt(stranger, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  const struct log_sink sink = {.write = keep_line};
  said[0] = '\0';
  log_divert(&sink);
  char nothing;
  ssize_t got = -1;
  for (int round = 0; round < 2000 && got < 0; round++) {
    uv_run(&several.loop, UV_RUN_NOWAIT);
    got = read(stranger, &nothing, 1);
  }
  log_divert(NULL);
  close(stranger);
  cr_assert_eq(got, 0, "the connection is closed");
  cr_assert(strstr(said, why), "it says: %s", said);
  close_several(&several);
}

Test(uv_world, a_node_of_another_version_cluster_or_number_is_told_apart) {
  expect_refusal(1, 9, 2, "speaks version 1 of the protocol of peers is refused, this one speaks version 2");
  expect_refusal(2, 6, 2, "node 3 of cluster 6 took this for its node 2; this is node 2 of cluster");
  expect_refusal(2, 9, 1, "took this for its node 1; this is node 2 of cluster");
}

Test(uv_world, strangers_are_turned_away) {
  struct several several;
  open_several(&several, false);
  const struct world *two = uv_world_world(several.worlds[1]);
  struct inbox inbox = {.last = 1};
  two->receive(two->context, on_frame, &inbox);
  struct sockaddr_in address;
  uv_ip4_addr("127.0.0.1", several.members[1].port, &address);
  static const char *const words[] = {"GET / HTTP/1.0\r\n\r\n",
                                      "\x30\0\0\0garbage that is just as long as a hello would be......",
                                      "\xff\xff\xff\xff", "\0\0\0\0\0\0\0\0"};
  for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
    const int stranger = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(stranger, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_gt(write(stranger, words[i], i < 2 ? strlen(words[i] + 4) + 4 : 4), 0);
    struct timeval patience = {.tv_usec = 1000};
    setsockopt(stranger, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    char nothing;
    ssize_t got = -1;
    for (int round = 0; round < 2000 && got < 0; round++) {
      uv_run(&several.loop, UV_RUN_NOWAIT);
      got = read(stranger, &nothing, 1);
    }
    cr_assert_eq(got, 0, "the connection is closed");
    close(stranger);
  }
  cr_assert_eq(inbox.bytes, 0);
  two->receive(two->context, NULL, NULL);
  close_several(&several);
}

/* -- journals ---------------------------------------------------------------------------------------------
 */

struct replica {
  struct journal *journal;
  struct state_machine machine;
  bool leads;
  uint64_t applied, tokens, confirmed;
  bool *goal;
  uint64_t goal_index;
};

static void durable(void *context, uint64_t *index, uint64_t *term) {
  (void)context;
  *index = *term = 0;
}

static void committed(void *context, uint64_t index, uint64_t term, const void *data, size_t size,
                      void *token) {
  struct replica *replica = context;
  (void)term;
  (void)data;
  (void)size;
  replica->applied = index;
  replica->tokens += token != NULL;
}

static void role(void *context, enum journal_role new_role, uint64_t term, uint64_t leader) {
  struct replica *replica = context;
  (void)term;
  (void)leader;
  replica->leads = new_role == JOURNAL_LEADER;
}

static void fatal(void *context, const struct error *error) {
  (void)context;
  cr_assert_fail("%s", error->message);
}

static void confirmed(void *context, int status, uint64_t read_index) {
  struct replica *replica = context;
  (void)read_index;
  replica->confirmed += status == 0;
}

static void commit_for_real(bool tls) {
  struct several several;
  open_several(&several, tls);
  static const uint64_t members[NODES] = {1, 2, 3};
  struct replica replicas[NODES] = {0};
  for (size_t i = 0; i < NODES; i++) {
    replicas[i].machine = (struct state_machine){
        .context = &replicas[i], .durable = durable, .committed = committed, .role = role, .fatal = fatal};
    const struct raft_journal_options options = {
        .id = i + 1, .members = members, .member_count = NODES, .cluster = 9};
    replicas[i].journal = raft_journal_new(&options, uv_world_world(several.worlds[i]), &replicas[i].machine);
    struct error error;
    cr_assert_eq(replicas[i].journal->functions->start(replicas[i].journal, &error), 0, "%s", error.message);
  }
  struct replica *leader = NULL;
  const int64_t until_ns = time_monotonic_ns() + 20 * NS_PER_S;
  while (!leader && time_monotonic_ns() < until_ns) {
    uv_run(&several.loop, UV_RUN_ONCE);
    for (size_t i = 0; i < NODES; i++)
      leader = replicas[i].leads ? &replicas[i] : leader;
  }
  cr_assert(leader, "no leader within 20 s");
  char batch[20000] = {0};
  for (int i = 0; i < 500; i++) {
    cr_assert_eq(leader->journal->functions->append(leader->journal, batch, sizeof batch, batch), 0);
    leader->journal->functions->confirm(leader->journal, confirmed, leader);
    while (leader->journal->functions->in_flight(leader->journal) > 4 * sizeof batch &&
           time_monotonic_ns() < until_ns)
      uv_run(&several.loop, UV_RUN_ONCE);
  }
  const uint64_t last = leader->journal->functions->status(leader->journal).last_index;
  while ((replicas[0].applied < last || replicas[1].applied < last || replicas[2].applied < last ||
          leader->confirmed < 500) &&
         time_monotonic_ns() < until_ns)
    uv_run(&several.loop, UV_RUN_ONCE);
  cr_assert_eq(leader->tokens, 500);
  cr_assert_eq(leader->confirmed, 500);
  for (size_t i = 0; i < NODES; i++) {
    cr_assert_eq(replicas[i].applied, last);
    bool closed = false;
    replicas[i].journal->functions->close(replicas[i].journal, set_true, &closed);
    await(&several.loop, &closed);
  }
  close_several(&several);
}

Test(uv_world, three_journals_commit_for_real) {
  commit_for_real(false);
}

Test(uv_world, three_journals_commit_for_real_through_tls) {
  commit_for_real(true);
}

/* -- who has not the certificate that a member needs ------------------------------------------------------
 */

/* Runs until the log has said all of it, or 30 s are over. */
static void expect_said(struct several *several, const char *const *texts, size_t count) {
  const int64_t until_ns = time_monotonic_ns() + 30 * NS_PER_S;
  for (size_t i = 0; i < count; i++) {
    while (!strstr(said, texts[i]) && time_monotonic_ns() < until_ns)
      uv_run(&several->loop, UV_RUN_ONCE);
    cr_assert(strstr(said, texts[i]), "'%s' was not said, but: %s", texts[i], said);
  }
}

/* Node 2 has what `role` says and the others are masters: it says nothing to them, and they say why. */
static void refuse_second(unsigned role, const char *const *texts, size_t count) {
  struct several several;
  const struct log_sink sink = {.write = keep_line};
  said[0] = '\0';
  log_divert(&sink);
  open_several_with(&several, (const unsigned[NODES]){TLS_MASTER, role, TLS_MASTER});
  const struct world *one = uv_world_world(several.worlds[0]), *two = uv_world_world(several.worlds[1]);
  struct inbox inbox = {.last = 1}; /* which takes frames of node 1 alone */
  one->receive(one->context, on_frame, &inbox);
  await_ready(&several, one, 3);
  expect_said(&several, texts, count);
  for (int round = 0; round < 50; round++) {
    unsigned char frame[64] = {0};
    const struct iovec vector = {.iov_base = frame, .iov_len = sizeof frame};
    two->send(two->context, 1, &vector, 1);
    uv_run(&several.loop, UV_RUN_ONCE);
  }
  cr_assert_eq(inbox.bytes, 0);
  one->receive(one->context, NULL, NULL);
  close_several(&several);
  log_divert(NULL);
}

Test(uv_world, a_clients_certificate_does_not_make_a_member) {
  static const char *const texts[] = {
      "presents a certificate (/CN=assay-client) of another role: its subject alternative names must hold "
      "DNS:assay-master here",
      "refuses our certificate"};
  refuse_second(TLS_CLIENT, texts, ARRAY_SIZE(texts));
}

Test(uv_world, a_node_without_tls_and_those_with_it_do_not_meet) {
  static const char *const texts[] = {"does not speak TLS, without which nobody may connect here",
                                      "a node that speaks TLS is refused, this one has none"};
  refuse_second(0, texts, ARRAY_SIZE(texts));
}
