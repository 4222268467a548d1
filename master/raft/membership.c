/* membership.c: who the peers are.
 *
 * The latest configuration in the log counts, committed or not (dissertation, §4.1); raft keeps it, and goes
 * back when it is cut off. What follows from it for this driver (whom to query, where frames go) is brought
 * up to date after each step that noted or dropped one. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "master/raft/driver.h"

struct driver_peer *driver_peer(struct driver *driver, uint64_t id) {
  for (size_t i = 0; i < driver->peer_count; i++)
    if (driver->peers[i]->id == id)
      return driver->peers[i];
  return NULL;
}

struct driver_peer *driver_meet(struct driver *driver, uint64_t id) {
  struct driver_peer *peer = driver_peer(driver, id);
  if (peer)
    return peer;
  peer = xcalloc(1, sizeof *peer);
  *peer = (struct driver_peer){.id = id, .driver = driver};
  snprintf(peer->address, sizeof peer->address, "%" PRIu64, id);
  driver->peers = xrealloc(driver->peers, (driver->peer_count + 1) * sizeof(struct driver_peer *));
  driver->peers[driver->peer_count++] = peer;
  return peer;
}

static const struct raft_server *find_server(const struct driver *driver, uint64_t id) {
  const struct raft_configuration *configuration = &driver->raft.configuration;
  for (unsigned i = 0; i < configuration->n; i++)
    if (configuration->servers[i].id == id)
      return &configuration->servers[i];
  return NULL;
}

const struct raft_server *driver_own_server(const struct driver *driver) {
  return find_server(driver, driver->options.id);
}

bool driver_is_voter(const struct raft_server *server) {
  return server && server->role == RAFT_VOTER;
}

bool driver_is_sole_voter(const struct driver *driver) {
  const struct raft_configuration *configuration = &driver->raft.configuration;
  for (unsigned i = 0; i < configuration->n; i++)
    if (configuration->servers[i].id != driver->options.id && driver_is_voter(&configuration->servers[i]))
      return false;
  return driver_is_voter(driver_own_server(driver));
}

/* A vote request that nobody made. */
void driver_raise_term(struct driver *driver) {
  struct raft_message message = {
      .type = RAFT_REQUEST_VOTE, .server_id = driver->options.id, .server_address = "nobody"};
  message.request_vote = (struct raft_request_vote){.version = 2,
                                                    .term = raft_current_term(&driver->raft) + 1,
                                                    .candidate_id = driver->options.id,
                                                    .disrupt_leader = true};
  driver_step(driver, &(struct raft_event){.type = RAFT_RECEIVE, .receive.message = &message}, NULL);
}

struct kept_configuration driver_keep_configuration(struct driver *driver) {
  struct kept_configuration kept = {.index = driver->raft.configuration_uncommitted_index};
  struct raft_buffer encoded;
  if (kept.index == 0)
    return kept;
  const int status = raft_configuration_encode(&driver->raft.configuration, &encoded);
  assert(status == 0);
  driver_decode_configuration(encoded.base, encoded.len, &kept.configuration);
  raft_free(encoded.base);
  return kept;
}

void driver_restore_configuration(struct driver *driver, struct kept_configuration *kept) {
  struct raft *raft = &driver->raft;
  const bool cut_off = kept->index > 0 && raft->configuration_uncommitted_index == 0 &&
                       raft->configuration_committed_index < kept->index && raft_state(raft) == RAFT_FOLLOWER;
  if (kept->index == 0)
    return;
  if (!cut_off) {
    raft_configuration_close(&kept->configuration);
    return;
  }
  raft_configuration_close(&raft->configuration);
  raft->configuration = kept->configuration;
}

/* -- peers ---------------------------------------------------------------------------------------------- */

static void take_member(struct driver *driver, const struct raft_server *server) {
  struct driver_peer *peer = driver_meet(driver, server->id);
  peer->member = true;
  peer->voter = driver_is_voter(server);
  snprintf(peer->address, sizeof peer->address, "%s", server->address);
  driver->world->meet(driver->world->context, server->id, server->address);
}

void driver_update_membership(struct driver *driver) {
  if (driver->membership_seen == wal_configuration_changes(driver->wal))
    return;
  driver->membership_seen = wal_configuration_changes(driver->wal);
  const struct raft_configuration *configuration = &driver->raft.configuration;
  for (size_t i = 0; i < driver->peer_count; i++) {
    struct driver_peer *peer = driver->peers[i];
    if (peer->member && !find_server(driver, peer->id)) {
      peer->member = peer->voter = false;
      driver->world->meet(driver->world->context, peer->id, NULL);
    }
  }
  for (unsigned i = 0; i < configuration->n; i++)
    if (configuration->servers[i].id != driver->options.id)
      take_member(driver, &configuration->servers[i]);
}

/* -- the door ------------------------------------------------------------------------------------------- */

static enum journal_member_role role_of(const struct raft_server *server) {
  return server->role == RAFT_VOTER     ? MEMBER_VOTER
         : server->role == RAFT_STANDBY ? MEMBER_STANDBY
                                        : MEMBER_SPARE;
}

static void describe_member(struct driver *driver, const struct raft_server *server,
                            struct journal_member *member) {
  *member = (struct journal_member){.id = server->id, .role = role_of(server), .heard_ns = -1};
  snprintf(member->address, sizeof member->address, "%s", server->address);
  raft_index match = 0;
  if (!driver_leads(driver))
    return;
  if (server->id == driver->options.id) {
    member->match_index = wal_persisted_index(driver->wal);
    member->heard_ns = 0;
    return;
  }
  const struct driver_peer *peer = driver_peer(driver, server->id);
  if (raft_match_index(&driver->raft, server->id, &match) == 0)
    member->match_index = match;
  if (peer && peer->heard_ns > 0)
    member->heard_ns = driver_now_ns(driver) - peer->heard_ns;
}

void driver_membership(const struct journal *journal, struct journal_membership *membership) {
  struct driver *driver = CONTAINER_OF((struct journal *)(uintptr_t)journal, struct driver, door);
  membership->index = membership->term = membership->count = 0;
  membership->committed = false;
  if (!driver->raft_open)
    return;
  const struct raft_configuration *configuration = &driver->raft.configuration;
  wal_configuration_at(driver->wal, wal_last_index(driver->wal), &membership->index);
  membership->term = wal_term_at(driver->wal, membership->index);
  membership->committed =
      membership->index > 0 && membership->index <= (uint64_t)raft_commit_index(&driver->raft);
  for (unsigned i = 0; i < configuration->n && i < JOURNAL_MEMBERS_MAX; i++)
    describe_member(driver, &configuration->servers[i], &membership->members[membership->count++]);
}

const char *driver_member_address(const struct journal *journal, uint64_t id) {
  const struct driver *driver = CONTAINER_OF((struct journal *)(uintptr_t)journal, struct driver, door);
  const struct raft_server *server = driver->raft_open ? find_server(driver, id) : NULL;
  return server ? server->address : "";
}
