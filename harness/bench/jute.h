/* jute.h: the part of ZooKeeper's protocol that the benchmark speaks, as bytes: a frame is its length and a
 * record of big-endian numbers and counted strings (ZooKeeper's zookeeper.jute, 3.8).
 *
 * Ours, because ZooKeeper's C client either runs two threads for each connection or reads every answer with
 * two system calls and a wait of its own: on a machine that clients and servers share, that would be held
 * against ZooKeeper. Pure. */
#ifndef ASSAY_HARNESS_BENCH_JUTE_H
#define ASSAY_HARNESS_BENCH_JUTE_H

#include "base/base.h"

#define JUTE_FRAME_MAX (16u << 20)

/* Each appends one frame. Nodes are made with no data, open to everybody; versions are not compared. */
void jute_connect(struct bytes *out, int32_t timeout_ms);
void jute_ping(struct bytes *out);
void jute_create(struct bytes *out, int32_t xid, const char *path);
void jute_delete(struct bytes *out, int32_t xid, const char *path);
void jute_get(struct bytes *out, int32_t xid, const char *path);
void jute_set(struct bytes *out, int32_t xid, const char *path, const char *value);
void jute_children(struct bytes *out, int32_t xid, const char *path);
void jute_sync(struct bytes *out, int32_t xid, const char *path);

/* The size of the frame at the beginning of the data, its length included; 0: it is not all there yet;
 * SIZE_MAX: it is longer than JUTE_FRAME_MAX, or has a negative length. */
size_t jute_frame(const unsigned char *data, size_t size);

/* The answer to jute_connect: false: it is none, or the session was refused. */
bool jute_connected(const unsigned char *frame, size_t size);

#define JUTE_XID_PING (-2)
#define JUTE_XID_EVENT (-1)

struct jute_answer {
  int32_t xid;
  int32_t error; /* 0: none */
};
/* Of any other frame; false: it is too short to be one. */
bool jute_answer(const unsigned char *frame, size_t size, struct jute_answer *answer);

/* How many children an answer to jute_children tells, every name read; -1: it is none. */
int64_t jute_children_count(const unsigned char *frame, size_t size);

const char *jute_error_name(int32_t error); /* NULL for 0 */

#endif
