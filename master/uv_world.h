/* uv_world.h: the world of world.h on libuv: real clocks, one disk thread, TCP between peers. */
#ifndef ASSAY_MASTER_UV_WORLD_H
#define ASSAY_MASTER_UV_WORLD_H

#include <uv.h>

#include "base/base.h"
#include "master/world.h"

struct uv_world;
struct tls_context;

struct uv_world_member {
  uint64_t id;
  const char *host; /* numeric address */
  uint16_t port;    /* for peers */
};

struct uv_world_options {
  const char *directory;                 /* where the files of world.h live; made if it is not there */
  uint64_t id;                           /* this node's */
  const struct uv_world_member *members; /* all of the cluster, this node too */
  size_t member_count;
  const char
      *address;     /* this node's, as member_address.h has it, for peers that do not know it; NULL: none */
  uint64_t cluster; /* connections of another cluster are refused */
  struct tls_context *tls; /* what nodes prove themselves to each other with; not owned. NULL: without TLS */
};

/* Opens the directory (and locks it against a second process), starts the disk thread and listens on this
 * node's port. The options are copied. A port in use, an address that is not this machine's or a directory
 * that cannot be used are errors that say so. */
int uv_world_new(uv_loop_t *loop, const struct uv_world_options *options, struct uv_world **world,
                 struct error *error);

const struct world *uv_world_world(struct uv_world *world);

/* Counted since uv_world_new; valid until it is closed. */
struct disk_statistics;
const struct disk_statistics *uv_world_disk_statistics(const struct uv_world *world);

/* Ends connections, joins the disk thread and frees; `done` comes from the loop. The journal must be closed
 * and its timers freed before. */
void uv_world_close(struct uv_world *world, void (*done)(void *context), void *context);

#endif
