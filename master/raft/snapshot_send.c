/* snapshot_send.c: a snapshot to a follower that needs entries this node no longer has.
 *
 *   leader                                         follower
 *     │── MANIFEST: index, term, membership, files ──▶│ begins; again and again, until it is done
 *     │◀─ PIECES: "missing from (file, offset) on" ───│ what it has of an earlier attempt is not missing
 *     │── PIECE, PIECE, … (few in flight) ───────────▶│ stores, then asks for the next; when none came
 *     │◀─ PIECES … ───────────────────────────────────│ for a while, for the same again
 *     │◀─ PIECES: everything is here, installed ──────│
 *     │◀─ raft's AppendEntries result ────────────────│ goes on as usual
 *
 * raft believes that its InstallSnapshot message carries it all, takes the follower's rejections of
 * heartbeats in the meantime for a failure, and sends the message again: each time the manifest goes out once
 * more, which is what a follower that lost it, or restarted, needs.
 *
 * Pace. Pieces share a connection with heartbeats and entries. As many are in flight as do not make each
 * other wait longer than a heartbeat: one more after each that came through in time, half as many after one
 * that did not. One is read at a time, off the loop. */
#include <inttypes.h>
#include <stdlib.h>

#include "master/raft/driver.h"

/* An offer nobody asks for is closed, so that the log can be cut again: soon when nothing was ever asked,
 * later when the follower may come back to a transfer half done. */
#define OFFER_UNHEARD_NS (INT64_C(1000) * 1000 * 1000)
#define OFFER_IDLE_NS (INT64_C(10) * 1000 * 1000 * 1000)
/* Pieces on the way to one follower. */
#define PIECES_AT_FIRST 2
#define PIECES_IN_FLIGHT 16

struct offer {
  struct driver *driver;
  uint64_t peer;
  bool abandoned;            /* to be closed when it opens, or when its read ends */
  struct snapshot *snapshot; /* NULL while it opens */
  struct wire_manifest manifest;
  struct bytes configuration;
  uint64_t next_file, next_offset; /* not sent yet */
  uint64_t end_file;               /* the follower has this one already, or there is none */
  struct wire_pieces asked;        /* last */
  bool heard;
  int64_t heard_ns; /* or opened */
  /* the piece that is being read, at the place that was next then */
  bool reading;
  uint64_t read_file, read_offset;
  size_t read_size;
  unsigned char *piece; /* SNAPSHOT_CHUNK */
  /* pace */
  unsigned window;
  bool probing; /* whether it is waited for that the follower asks for what follows this place: */
  uint64_t probe_file, probe_offset;
  int64_t probe_ns, shortest_ns; /* since then; the shortest such time, 0: none yet */
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
  if (offer->snapshot && !offer->reading)
    free_offer(offer);
  else
    offer->abandoned = true;
  driver->compact_wanted = true;
  driver_wake(driver);
}

void driver_drop_offers(struct driver *driver) {
  for (size_t i = 0; i < driver->peer_count; i++) {
    drop_offer(driver, driver->peers[i]);
    driver->peers[i]->catching_up = false;
  }
}

bool driver_takes_snapshot(const struct driver *driver) {
  bool takes = driver->forcing;
  for (size_t i = 0; i < driver->peer_count; i++)
    takes = takes || (driver->peers[i]->offer && !driver->peers[i]->offer->snapshot);
  return takes;
}

bool driver_sends_snapshot(const struct driver *driver) {
  for (size_t i = 0; i < driver->peer_count; i++)
    if (driver->peers[i]->offer && driver->peers[i]->offer->snapshot)
      return true;
  return false;
}

/* A follower that was sent a snapshot needs the entries behind it: were they cut off at once, under load, it
 * would need the next snapshot, and so on. */
static void watch_catching_up(struct driver *driver, struct driver_peer *peer) {
  raft_index match = 0;
  if (!peer->catching_up)
    return;
  const bool known =
      raft_state(&driver->raft) == RAFT_LEADER && raft_match_index(&driver->raft, peer->id, &match) == 0;
  if (known && match > peer->caught_up_to) {
    peer->caught_up_to = match;
    peer->progress_ns = driver_now_ns(driver);
  }
  const uint64_t half = driver->options.snapshot_trailing / 2;
  const uint64_t enough = half > FOLLOWER_ENTRIES ? half : FOLLOWER_ENTRIES;
  const bool here = known && wal_last_index(driver->wal) - match <= enough;
  if (known && !here && driver_now_ns(driver) - peer->progress_ns <= OFFER_IDLE_NS)
    return;
  peer->catching_up = false;
  driver->compact_wanted = true;
  driver_wake(driver);
}

void driver_expire_offers(struct driver *driver) {
  for (size_t i = 0; i < driver->peer_count; i++) {
    struct driver_peer *peer = driver->peers[i];
    const struct offer *offer = peer->offer;
    watch_catching_up(driver, peer);
    if (offer && offer->snapshot &&
        driver_now_ns(driver) - offer->heard_ns > (offer->heard ? OFFER_IDLE_NS : OFFER_UNHEARD_NS)) {
      log_info("node %" PRIu64 " asks for nothing of the snapshot at index %" PRIu64 " any more", peer->id,
               offer->manifest.index);
      drop_offer(driver, peer);
    }
  }
}

bool driver_log_is_needed(const struct driver *driver) {
  bool needed = driver->offers > 0;
  for (size_t i = 0; i < driver->peer_count; i++)
    needed = needed || driver->peers[i]->catching_up;
  return needed;
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
  *offer = (struct offer){
      .driver = driver, .peer = to, .heard_ns = driver_now_ns(driver), .window = PIECES_AT_FIRST};
  offer->piece = xmalloc(SNAPSHOT_CHUNK);
  peer->offer = offer;
  peer->catching_up = false;
  driver->offers++;
  driver->opens++;
  driver->snapshots_begun++;
  driver->state_machine->snapshot_open(driver->state_machine->context, opened, offer);
}

static bool place_before(uint64_t file_a, uint64_t offset_a, uint64_t file_b, uint64_t offset_b) {
  return file_a < file_b || (file_a == file_b && offset_a < offset_b);
}

static bool at_end(const struct offer *offer) {
  return offer->next_file >= offer->end_file;
}

/* Files of no bytes have no pieces. */
static void skip_empty(struct offer *offer) {
  while (!at_end(offer) && offer->next_offset >= offer->manifest.files[offer->next_file].size) {
    offer->next_file++;
    offer->next_offset = 0;
  }
}

static void send_piece(struct driver *driver, struct offer *offer) {
  const struct wire_message message = {.type = WIRE_PIECE,
                                       .piece = {.transfer = offer->manifest.transfer,
                                                 .file = offer->read_file,
                                                 .offset = offer->read_offset,
                                                 .data = offer->piece,
                                                 .size = offer->read_size}};
  struct iovec vectors[2] = {{0}, {.iov_base = offer->piece, .iov_len = offer->read_size}};
  driver_send_payload(driver, offer->peer, &message, vectors, 2);
  offer->next_offset += offer->read_size;
  skip_empty(offer);
  if (offer->probing)
    return;
  offer->probing = true;
  offer->probe_file = offer->next_file;
  offer->probe_offset = offer->next_offset;
  offer->probe_ns = driver_now_ns(driver);
}

/* Pieces between the place that was asked for and what is not sent yet; counting stops at the limit. */
static unsigned pieces_in_flight(const struct driver *driver, const struct offer *offer) {
  unsigned pieces = 0;
  uint64_t file = offer->asked.file, offset = offer->asked.offset;
  while (pieces < PIECES_IN_FLIGHT && place_before(file, offset, offer->next_file, offer->next_offset) &&
         file < offer->manifest.file_count) {
    if (offset >= offer->manifest.files[file].size) {
      file++;
      offset = 0;
      continue;
    }
    offset += driver->options.piece_size;
    pieces++;
  }
  return pieces;
}

static void piece_read(void *owner, int status, const struct error *error);

static void send_more(struct driver *driver, struct offer *offer) {
  if (offer->reading || at_end(offer) || pieces_in_flight(driver, offer) >= offer->window ||
      !driver->world->peer_ready(driver->world->context, offer->peer))
    return;
  const uint64_t left = offer->manifest.files[offer->next_file].size - offer->next_offset;
  offer->reading = true;
  offer->read_file = offer->next_file;
  offer->read_offset = offer->next_offset;
  offer->read_size = left < driver->options.piece_size ? (size_t)left : driver->options.piece_size;
  driver->opens++;
  driver->state_machine->snapshot_read(offer->snapshot, (size_t)offer->read_file, offer->read_offset,
                                       offer->piece, offer->read_size, piece_read, offer);
}

static void piece_read(void *owner, int status, const struct error *error) {
  struct offer *offer = owner;
  struct driver *driver = offer->driver;
  driver->opens--;
  offer->reading = false;
  if (offer->abandoned) {
    free_offer(offer);
    driver_closing_progress(driver);
    return;
  }
  if (driver->state != DRIVER_RUNNING)
    return;
  if (status != 0) {
    log_warn("the snapshot for node %" PRIu64 " is given up: %s", offer->peer, error->message);
    drop_offer(driver, driver_peer(driver, offer->peer));
    return;
  }
  /* Else the follower has asked for something else meanwhile. */
  if (!at_end(offer) && offer->read_file == offer->next_file && offer->read_offset == offer->next_offset)
    send_piece(driver, offer);
  send_more(driver, offer);
}

static void pace(struct driver *driver, struct offer *offer, const struct wire_pieces *pieces) {
  if (pieces->again) {
    offer->window = 1;
    offer->probing = false;
    return;
  }
  if (!offer->probing || place_before(pieces->file, pieces->offset, offer->probe_file, offer->probe_offset))
    return;
  const int64_t took_ns = driver_now_ns(driver) - offer->probe_ns;
  offer->probing = false;
  if (offer->shortest_ns == 0 || took_ns < offer->shortest_ns)
    offer->shortest_ns = took_ns;
  if (took_ns - offer->shortest_ns <= (int64_t)driver->options.heartbeat_ms * NS_PER_MS / 2)
    offer->window += offer->window < PIECES_IN_FLIGHT;
  else
    offer->window = offer->window > 1 ? offer->window / 2 : 1;
}

static void finish(struct driver *driver, struct driver_peer *peer, const struct offer *offer) {
  log_info("node %" PRIu64 " has the snapshot at index %" PRIu64, peer->id, offer->manifest.index);
  driver->snapshots_sent++;
  peer->catching_up = true;
  peer->caught_up_to = offer->manifest.index;
  peer->progress_ns = driver_now_ns(driver);
  drop_offer(driver, peer);
}

void driver_send_pieces(struct driver *driver, uint64_t from, const struct wire_pieces *pieces) {
  struct driver_peer *peer = driver_peer(driver, from);
  struct offer *offer = peer->offer;
  if (!offer || !offer->snapshot || offer->manifest.transfer != pieces->transfer)
    return;
  const bool late = offer->heard && !pieces->again &&
                    place_before(pieces->file, pieces->offset, offer->asked.file, offer->asked.offset);
  if (late)
    return;
  offer->heard = true;
  offer->heard_ns = driver_now_ns(driver);
  if (pieces->file >= offer->manifest.file_count) {
    finish(driver, peer, offer);
    return;
  }
  offer->asked = *pieces;
  offer->end_file =
      pieces->end_file < offer->manifest.file_count ? pieces->end_file : offer->manifest.file_count;
  if (pieces->again || !place_before(pieces->file, pieces->offset, offer->next_file, offer->next_offset)) {
    offer->next_file = pieces->file;
    offer->next_offset = pieces->offset;
    skip_empty(offer);
  }
  pace(driver, offer, pieces);
  send_more(driver, offer);
}
