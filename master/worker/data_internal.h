/* data_internal.h: what the files of the data server share. */
#ifndef ASSAY_WORKER_DATA_INTERNAL_H
#define ASSAY_WORKER_DATA_INTERNAL_H

#include "master/rpc/list.h"
#include "master/rpc/rpc.h"
#include "master/rpc/tls.h"
#include "master/worker/block_file.h"
#include "master/worker/data_server.h"
#include "master/worker/under_file.h"

#define READ_BUFFER_SIZE (64u << 10)

struct data_server {
  struct data_server_options options;
  uv_tcp_t tcp;
  uv_timer_t sweep;
  struct list sessions;
  size_t session_count;
  unsigned handles; /* sessions, and two of its own */
  struct rpc_arena arena;
  int64_t complained_ns; /* of TLS; 0: never */
  void (*closed)(void *context);
  void *closed_context;
  char read_buffer[READ_BUFFER_SIZE];
};

enum job { JOB_NONE, JOB_ADD, JOB_FINISH, JOB_READ };

struct session {
  uv_tcp_t tcp;
  uv_write_t write;
  uv_work_t work;
  struct data_server *server;
  struct tls_channel *tls; /* NULL: bytes go as they are */
  struct list link;
  struct bytes input, output, leaving;
  bool greeted, stopped, ending, closing, gone;
  bool deaf;    /* TLS has failed: it is told why, then its end is awaited */
  bool sending; /* libuv holds `leaving` */
  int64_t progress_ns;

  enum job job; /* on a thread: what is below is its own then */
  uint64_t request_id;
  uint64_t block;
  int status;
  struct error error;
  struct bytes data;
  /* -- a block being written -- */
  bool taking;  /* from BEGIN to END */
  bool refused; /* … and what comes is passed over */
  struct block_writer *writer;
  char *temporary, *directory, *path;
  uint64_t reserved;
  uint64_t length, sum; /* that END told */
  /* -- a block being read -- */
  bool giving;
  struct block_reader *reader;
  uint64_t offset, left;
  /* -- instead of a block, a file of the under-store -- */
  struct bytes under_path; /* empty: a block */
  struct under_writer *under_writer;
  int under_file; /* being read; 0: none */
};

/* data_server.c */
/* Work that waits can go on, or the session is to be closed. */
void session_go_on(struct session *session);
void session_drop(struct session *session, const char *why);
void session_close(struct session *session);

/* data_session.c */
/* False: it is malformed. */
bool session_dispatch(struct session *session, const struct rpc_frame *frame);
/* Tells a client in a greeting why it is not let in; it is closed when that has left. */
void session_refuse(struct session *session, const char *why);
/* The client has taken everything: the next piece. */
void session_drained(struct session *session);
/* Frees what its request holds; no job is under way. */
void session_clean(struct session *session);

#endif
