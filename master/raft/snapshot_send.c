/* snapshot_send.c: a snapshot to a follower that needs entries this node no longer has.
 *
 *   leader                                         follower
 *     │── MANIFEST: index, term, membership, files ──▶│ begins; again and again, until it is done
 *     │◀─ PIECES: "all before (file, offset) is here" │
 *     │── PIECE, PIECE, … (few in flight) ───────────▶│ writes; asks for the next; when none came
 *     │◀─ PIECES … ───────────────────────────────────│ for a while, for the same again
 *     │◀─ PIECES: everything is here, installed ──────│
 *     │◀─ raft's AppendEntries result ────────────────│ goes on as usual
 *
 * raft believes that its InstallSnapshot message carries it all, takes the follower's rejections of
 * heartbeats in the meantime for a failure, and sends the message again: each time the manifest goes out once
 * more, which is what a follower that lost it, or restarted, needs. */
#include <inttypes.h>
#include <stdlib.h>

#include "master/raft/driver.h"

/* An offer nobody asks for is closed, so that the log can be cut again: soon when nothing was ever asked,
 * later when the follower may come back to a transfer half done. */
#define OFFER_UNHEARD_NS (INT64_C(1000) * 1000 * 1000)
#define OFFER_IDLE_NS (INT64_C(10) * 1000 * 1000 * 1000)

struct offer {
  struct driver *driver;
  uint64_t peer;
  bool abandoned;            /* to be closed when it opens */
  struct snapshot *snapshot; /* NULL while it opens */
  struct wire_manifest manifest;
  struct bytes configuration;
  uint64_t next_file, next_offset; /* not sent yet */
  bool heard;
  int64_t heard_ns;     /* or opened */
  unsigned char *piece; /* SNAPSHOT_CHUNK */
};

static void free_offer(struct offer *offer) {
  if (offer->snapshot)
    offer->driver->state_machine->snapshot_close(offer->snapshot);
  bytes_free(&offer->configuration);
  free(offer->piece);
  free(offer);
}

static void drop_offer(struct driver *driver, struct driver_peer *peer) {
  struct offer *offer = peer->offer;
  if (!offer)
    return;
  peer->offer = NULL;
  driver->offers--;
  if (offer->snapshot)
    free_offer(offer);
  else
    offer->abandoned = true;
  driver->compact_wanted = true;
  driver_wake(driver);
}

void driver_drop_offers(struct driver *driver) {
  for (size_t i = 0; i < driver->peer_count; i++)
    drop_offer(driver, driver->peers[i]);
}

bool driver_sends_snapshot(const struct driver *driver) {
  for (size_t i = 0; i < driver->peer_count; i++)
    if (driver->peers[i]->offer && driver->peers[i]->offer->snapshot)
      return true;
  return false;
}

void driver_expire_offers(struct driver *driver) {
  for (size_t i = 0; i < driver->peer_count; i++) {
    struct driver_peer *peer = driver->peers[i];
    const struct offer *offer = peer->offer;
    if (offer && offer->snapshot &&
        driver_now_ns(driver) - offer->heard_ns > (offer->heard ? OFFER_IDLE_NS : OFFER_UNHEARD_NS))
      drop_offer(driver, peer);
  }
}

static void send_manifest(struct driver *driver, struct offer *offer) {
  offer->manifest.term = raft_current_term(&driver->raft);
  const struct wire_message message = {.type = WIRE_MANIFEST, .manifest = offer->manifest};
  driver_send(driver, offer->peer, &message);
}

static void describe(struct driver *driver, struct offer *offer) {
  struct wire_manifest *manifest = &offer->manifest;
  const struct snapshot_file *files;
  driver->state_machine->snapshot_describe(offer->snapshot, &manifest->index, &manifest->index_term, &files,
                                           &manifest->file_count);
  /* Read only: the encoder does not change them. */
  manifest->files = (struct snapshot_file *)(uintptr_t)files;
  const struct bytes *configuration =
      wal_configuration_at(driver->wal, manifest->index, &manifest->configuration_index);
  assert(configuration && manifest->index >= driver->snapshot_index && manifest->file_count <= WIRE_FILES);
  bytes_append(&offer->configuration, configuration->data, configuration->size);
  manifest->configuration = offer->configuration.data;
  manifest->configuration_size = offer->configuration.size;
  manifest->transfer = driver->next_transfer++;
}

static void opened(void *owner, struct snapshot *snapshot, const struct error *error) {
  struct offer *offer = owner;
  struct driver *driver = offer->driver;
  driver->opens--;
  offer->snapshot = snapshot;
  if (offer->abandoned) {
    free_offer(offer);
    driver_closing_progress(driver);
    return;
  }
  if (!snapshot) {
    log_warn("a snapshot for node %" PRIu64 " could not be taken: %s", offer->peer,
             error ? error->message : "no reason given");
    struct driver_peer *peer = driver_peer(driver, offer->peer);
    peer->offer = NULL;
    driver->offers--;
    free_offer(offer);
    return;
  }
  driver->snapshots_taken++;
  driver->snapshots_begun++;
  describe(driver, offer);
  log_info("node %" PRIu64 " is offered a snapshot at index %" PRIu64 ", %zu files", offer->peer,
           offer->manifest.index, offer->manifest.file_count);
  offer->heard_ns = driver_now_ns(driver);
  send_manifest(driver, offer);
}

void driver_offer_snapshot(struct driver *driver, uint64_t to) {
  struct driver_peer *peer = driver_peer(driver, to);
  if (peer->offer) {
    if (peer->offer->snapshot)
      send_manifest(driver, peer->offer);
    return;
  }
  struct offer *offer = xcalloc(1, sizeof *offer);
  *offer = (struct offer){.driver = driver, .peer = to, .heard_ns = driver_now_ns(driver)};
  offer->piece = xmalloc(SNAPSHOT_CHUNK);
  peer->offer = offer;
  driver->offers++;
  driver->opens++;
  driver->snapshots_begun++;
  driver->state_machine->snapshot_open(driver->state_machine->context, opened, offer);
}

static bool at_end(const struct offer *offer) {
  return offer->next_file >= offer->manifest.file_count;
}

/* Files of no bytes have no pieces. */
static void skip_empty(struct offer *offer) {
  while (!at_end(offer) && offer->next_offset >= offer->manifest.files[offer->next_file].size) {
    offer->next_file++;
    offer->next_offset = 0;
  }
}

static bool send_piece(struct driver *driver, struct offer *offer) {
  const uint64_t left = offer->manifest.files[offer->next_file].size - offer->next_offset;
  const size_t size = left < SNAPSHOT_CHUNK ? (size_t)left : SNAPSHOT_CHUNK;
  struct error error;
  if (driver->state_machine->snapshot_read(offer->snapshot, (size_t)offer->next_file, offer->next_offset,
                                           offer->piece, size, &error) != 0) {
    log_warn("the snapshot for node %" PRIu64 " is given up: %s", offer->peer, error.message);
    drop_offer(driver, driver_peer(driver, offer->peer));
    return false;
  }
  const struct wire_message message = {.type = WIRE_PIECE,
                                       .piece = {.transfer = offer->manifest.transfer,
                                                 .file = offer->next_file,
                                                 .offset = offer->next_offset,
                                                 .data = offer->piece,
                                                 .size = size}};
  struct iovec vectors[2] = {{0}, {.iov_base = offer->piece, .iov_len = size}};
  driver_send_payload(driver, offer->peer, &message, vectors, 2);
  offer->next_offset += size;
  skip_empty(offer);
  return true;
}

/* Pieces between a place that was asked for and what is not sent yet; counting stops at the limit. */
static unsigned pieces_between(const struct offer *offer, uint64_t file, uint64_t offset) {
  unsigned pieces = 0;
  while (pieces < PIECES_IN_FLIGHT && (file < offer->next_file || offset < offer->next_offset) &&
         file < offer->manifest.file_count) {
    if (offset >= offer->manifest.files[file].size) {
      file++;
      offset = 0;
      continue;
    }
    offset += SNAPSHOT_CHUNK;
    pieces++;
  }
  return pieces;
}

void driver_send_pieces(struct driver *driver, uint64_t from, const struct wire_pieces *pieces) {
  struct driver_peer *peer = driver_peer(driver, from);
  struct offer *offer = peer->offer;
  if (!offer || !offer->snapshot || offer->manifest.transfer != pieces->transfer)
    return;
  offer->heard = true;
  offer->heard_ns = driver_now_ns(driver);
  if (pieces->file >= offer->manifest.file_count) {
    log_info("node %" PRIu64 " has the snapshot at index %" PRIu64, from, offer->manifest.index);
    driver->snapshots_sent++;
    drop_offer(driver, peer);
    return;
  }
  const bool behind = pieces->file < offer->next_file ||
                      (pieces->file == offer->next_file && pieces->offset < offer->next_offset);
  if (pieces->again || !behind) {
    offer->next_file = pieces->file;
    offer->next_offset = pieces->offset - pieces->offset % SNAPSHOT_CHUNK;
    skip_empty(offer);
  }
  unsigned flying = pieces_between(offer, pieces->file, pieces->offset);
  while (flying < PIECES_IN_FLIGHT && !at_end(offer) &&
         driver->world->peer_ready(driver->world->context, from)) {
    if (!send_piece(driver, offer))
      return;
    flying++;
  }
}
