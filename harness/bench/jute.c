#include "harness/bench/jute.h"

#include <string.h>

enum operation {
  OP_CREATE = 1,
  OP_DELETE = 2,
  OP_GET_DATA = 4,
  OP_SET_DATA = 5,
  OP_GET_CHILDREN = 8,
  OP_SYNC = 9,
  OP_PING = 11,
};

#define PASSWORD_SIZE 16u
#define PERMISSIONS_ALL 31
#define HEADER_SIZE 20u /* of an answer: length, xid, zxid, error */

static void put_32(struct bytes *out, int32_t value) {
  const uint32_t big = htobe32((uint32_t)value);
  bytes_append(out, &big, sizeof big);
}

static void put_64(struct bytes *out, int64_t value) {
  const uint64_t big = htobe64((uint64_t)value);
  bytes_append(out, &big, sizeof big);
}

static void put_text(struct bytes *out, const char *text) {
  const size_t size = strlen(text);
  put_32(out, (int32_t)size);
  bytes_append(out, text, size);
}

static int32_t get_32(const unsigned char *at) {
  uint32_t big;
  memcpy(&big, at, sizeof big);
  return (int32_t)be32toh(big);
}

/* A frame begins with its length, which is known at its end. */
static size_t begin(struct bytes *out) {
  put_32(out, 0);
  return out->size;
}

static void end(struct bytes *out, size_t start) {
  const uint32_t big = htobe32((uint32_t)(out->size - start));
  memcpy(out->data + start - sizeof big, &big, sizeof big);
}

static size_t begin_request(struct bytes *out, int32_t xid, enum operation operation) {
  const size_t start = begin(out);
  put_32(out, xid);
  put_32(out, (int32_t)operation);
  return start;
}

void jute_connect(struct bytes *out, int32_t timeout_ms) {
  static const unsigned char no_password[PASSWORD_SIZE];
  const size_t start = begin(out);
  put_32(out, 0); /* version of the protocol */
  put_64(out, 0); /* the last transaction seen */
  put_32(out, timeout_ms);
  put_64(out, 0); /* a new session */
  put_32(out, PASSWORD_SIZE);
  bytes_append(out, no_password, sizeof no_password);
  bytes_append_u8(out, 0); /* not read-only */
  end(out, start);
}

void jute_ping(struct bytes *out) {
  end(out, begin_request(out, JUTE_XID_PING, OP_PING));
}

void jute_create(struct bytes *out, int32_t xid, const char *path) {
  const size_t start = begin_request(out, xid, OP_CREATE);
  put_text(out, path);
  put_text(out, ""); /* data */
  put_32(out, 1);    /* one access rule */
  put_32(out, PERMISSIONS_ALL);
  put_text(out, "world");
  put_text(out, "anyone");
  put_32(out, 0); /* persistent */
  end(out, start);
}

void jute_delete(struct bytes *out, int32_t xid, const char *path) {
  const size_t start = begin_request(out, xid, OP_DELETE);
  put_text(out, path);
  put_32(out, -1); /* any version */
  end(out, start);
}

static void put_read(struct bytes *out, int32_t xid, enum operation operation, const char *path) {
  const size_t start = begin_request(out, xid, operation);
  put_text(out, path);
  bytes_append_u8(out, 0); /* no watch */
  end(out, start);
}

void jute_get(struct bytes *out, int32_t xid, const char *path) {
  put_read(out, xid, OP_GET_DATA, path);
}

void jute_children(struct bytes *out, int32_t xid, const char *path) {
  put_read(out, xid, OP_GET_CHILDREN, path);
}

void jute_set(struct bytes *out, int32_t xid, const char *path, const char *value) {
  const size_t start = begin_request(out, xid, OP_SET_DATA);
  put_text(out, path);
  put_text(out, value);
  put_32(out, -1); /* any version */
  end(out, start);
}

void jute_sync(struct bytes *out, int32_t xid, const char *path) {
  const size_t start = begin_request(out, xid, OP_SYNC);
  put_text(out, path);
  end(out, start);
}

size_t jute_frame(const unsigned char *data, size_t size) {
  if (size < sizeof(uint32_t))
    return 0;
  const int32_t length = get_32(data);
  if (length < 0 || length > (int32_t)JUTE_FRAME_MAX)
    return SIZE_MAX;
  const size_t whole = sizeof(uint32_t) + (size_t)length;
  return size < whole ? 0 : whole;
}

bool jute_connected(const unsigned char *frame, size_t size) {
  /* length, version, time-out, session; a refused one has the time-out 0 */
  return size >= 20 && get_32(frame + 8) > 0;
}

bool jute_answer(const unsigned char *frame, size_t size, struct jute_answer *answer) {
  if (size < HEADER_SIZE)
    return false;
  answer->xid = get_32(frame + 4);
  answer->error = get_32(frame + 16);
  return true;
}

int64_t jute_children_count(const unsigned char *frame, size_t size) {
  if (size < HEADER_SIZE + 4)
    return -1;
  const int32_t count = get_32(frame + HEADER_SIZE);
  size_t at = HEADER_SIZE + 4;
  for (int32_t i = 0; i < count; i++) {
    const int32_t length = size - at >= 4 ? get_32(frame + at) : -1;
    if (length < 0 || (size_t)length > size - at - 4)
      return -1;
    at += 4 + (size_t)length;
  }
  return count < 0 ? 0 : count;
}

const char *jute_error_name(int32_t error) {
  switch (error) {
  case 0:
    return NULL;
  case -101:
    return "no-node";
  case -110:
    return "node-exists";
  case -111:
    return "not-empty";
  case -112:
    return "session-expired";
  case -118:
    return "session-moved";
  case -127:
    return "throttled";
  default:
    return "error";
  }
}
