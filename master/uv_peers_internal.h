/* uv_peers_internal.h: what uv_peers.c (connections that this node makes, and who is there) and uv_incoming.c
 * (those that others make) share. */
#ifndef ASSAY_MASTER_UV_PEERS_INTERNAL_H
#define ASSAY_MASTER_UV_PEERS_INTERNAL_H

#include "master/uv_world_internal.h"

/* A connection begins with a hello: size, then magic, cluster, sender, receiver, 0, the sender's address,
 * checksum. */
#define HELLO_SIZE (48 + MEMBER_ADDRESS_SIZE)
#define HELLO_WORD UINT64_C(0x726565507341) /* "AsPeer" */
#define HELLO_VERSION UINT64_C(2)           /* of all that peers say to each other */
#define HELLO_MAGIC (HELLO_VERSION << 48 | HELLO_WORD)
#define FRAME_LIMIT (64u << 20)

/* -- uv_peers.c -- */
/* True, and then not for a while: who is refused comes again at once. */
bool peers_may_complain(struct uv_world *world);
/* A node has said hello, and where it can be reached. */
void peers_note_caller(struct uv_world *world, uint64_t sender, const char *address);

/* -- uv_incoming.c -- */
int peers_listen(struct uv_world *world, const struct uv_world_member *member,
                 const struct sockaddr_storage *address, struct error *error);
/* Closes those that do not say who they are. */
void peers_watch_incoming(struct uv_world *world, int64_t now_ns);
void peers_close_incoming(struct uv_world *world);

#endif
