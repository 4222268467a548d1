/* internal.h: what the rooms of master/server share. */
#ifndef ASSAY_MASTER_SERVER_INTERNAL_H
#define ASSAY_MASTER_SERVER_INTERNAL_H

#include "master/member_address.h"
#include "master/rpc/list.h"
#include "master/rpc/rpc.h"
#include "master/rpc/tls.h"
#include "master/server/server.h"

#define READ_BUFFER_SIZE (256u << 10)

struct session {
  uv_tcp_t tcp;
  uv_write_t write;
  struct server *server;
  struct tls_channel *tls; /* NULL: bytes go as they are */
  struct list link;        /* server->sessions, until closed */
  struct list dirty;       /* server->dirty while there is something to write or to resume */
  struct bytes input;      /* a frame's beginning, or whole frames that wait for room */
  struct bytes output;     /* this turn's answers */
  struct bytes leaving;    /* libuv holds them */
  bool greeted;
  bool stopped;    /* not read from: too much is in flight or not read by the client */
  bool overflowed; /* an answer was dropped, so it must be too */
  bool ending;     /* to be closed once the output has left */
  bool deaf;       /* TLS has failed: it is told why, then its end is awaited */
  bool closing;
  bool gone; /* the handle is closed; the memory stays for what is in flight */
  bool writing;
  unsigned in_flight;      /* requests the primary has not answered */
  struct snapshot *backup; /* held for this client; NULL: none */
  int64_t backup_used_ns;
  unsigned backup_reads; /* pieces of it that are being read */
  bool backup_ends;      /* it is to go when those are */
  bool taking;           /* a snapshot is being taken for it: counted in in_flight */
  size_t unread_before;  /* bytes libuv held at the last sweep */
  int64_t progress_ns;   /* when the client last read something, or greeted */
};

/* One request at the primary. */
struct ticket {
  struct session *session;
  struct ticket *next; /* in server->spare */
  uint64_t request_id;
};

struct member {
  uint64_t id;
  char *client_address;
};

struct server {
  uv_loop_t *loop;
  struct primary *primary;
  struct tls_context *tls; /* NULL: clients need none */
  uint64_t cluster, id;
  struct member *members;
  size_t member_count;
  uv_tcp_t tcp;
  uv_idle_t flush; /* active while `dirty` is not empty */
  uv_timer_t sweep;
  struct list sessions, dirty;
  size_t session_count, session_limit;
  uint64_t accepted, turned_away, dropped; /* clients, since the start */
  bool (*is_full)(void *context);
  void *full_context;
  void (*report)(void *context, struct server_report *report);
  void *report_context;
  size_t tickets; /* at the primary */
  struct ticket *spare;
  struct rpc_arena arena;        /* of the message at hand */
  struct bytes entries;          /* … if it is a listing: packed */
  struct member_address address; /* what server_member_address() said last */
  int64_t started_ns;
  int64_t complained_ns;
  unsigned handles;
  void (*closed)(void *context);
  void *closed_context;
  struct bytes plain;                 /* what TLS made of it */
  char read_buffer[READ_BUFFER_SIZE]; /* of whichever session is being read */
};

/* session.c */
void session_accept(struct server *server);
void session_close(struct session *session);
/* False: it is closing, or holds more unread answers than it may; then it is dropped at the next flush. */
bool session_takes_answer(struct session *session);
/* Writes and resumes what this turn has made ready. */
void session_flush(struct session *session);
void session_sweep(struct session *session, int64_t now_ns);
/* What was in flight for it is done: frees it, if it is gone. */
void session_release(struct session *session);
/* The session has output, or room: flush it before the loop waits again. */
void session_touch(struct session *session);

/* dispatch.c */
/* Handles one frame; false: it is malformed. */
bool dispatch_frame(struct session *session, const struct rpc_frame *frame);

/* membership.c */
/* Handles what is asked about members: true when the answer comes later. */
bool admin_answer_membership(struct session *session, const Rpc__AdminRequest *request,
                             Rpc__AdminResponse *response);
/* Where clients reach a member: in memory until the next call; "" for one that is not known. */
const char *server_member_address(struct server *server, uint64_t id);

/* dispatch.c */
struct ticket *ticket_take(struct session *session, uint64_t request_id);
/* The request is answered; the session may be gone after it. */
void ticket_give(struct ticket *ticket);

/* admin.c */
/* Handles an AdminRequest; false: it is malformed. */
bool dispatch_admin(struct session *session, const struct rpc_frame *frame);

/* backup.c */
/* Handles what is asked about snapshots: true when the answer comes later. */
bool admin_answer_snapshot(struct session *session, const Rpc__AdminRequest *request,
                           Rpc__AdminResponse *response);
/* Lets go of what is held for the client. */
void backup_drop(struct session *session);
void backup_sweep(struct session *session, int64_t now_ns);

/* dispatch.c */
/* Tells a client in a greeting, in the clear, why it is not let in; it is closed when that has left. */
void dispatch_refusal(struct session *session, const char *why);

/* server.c */
/* Says, not more often than every ten seconds, why a client was turned away. */
void server_complain(struct server *server, const char *client, const char *why);
/* No new client is taken. */
bool server_is_full(const struct server *server);
void server_flush_soon(struct server *server);
void server_release(struct server *server);

#endif
