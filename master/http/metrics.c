/* metrics.c: Prometheus' text exposition format, version 0.0.4. */
#include <inttypes.h>
#include <stdio.h>

#include "master/http/http.h"

static const char *const operation_names[STATISTICS_OPERATIONS] = {[OP_MKDIR] = "mkdir",
                                                                   [OP_CREATE] = "create",
                                                                   [OP_COMPLETE] = "complete",
                                                                   [OP_DELETE] = "delete",
                                                                   [OP_RENAME] = "rename",
                                                                   [OP_SET] = "set",
                                                                   [OP_STAT] = "stat",
                                                                   [OP_LIST] = "list",
                                                                   [OP_EXISTS] = "exists",
                                                                   [OP_RESERVE_CLIENTS] = "reserve-clients",
                                                                   [OP_ADD_BLOCK] = "add-block",
                                                                   [OP_COMMIT_BLOCK] = "commit-block",
                                                                   [OP_BLOCKS] = "blocks",
                                                                   [OP_BATCH] = "batch",
                                                                   [OP_REGISTER_WORKER] = "register-worker",
                                                                   [OP_WORKER_REPORT] = "worker-report",
                                                                   [OP_LOCATE] = "locate",
                                                                   [OP_WORKERS] = "workers",
                                                                   [OP_MOUNT] = "mount",
                                                                   [OP_UNMOUNT] = "unmount",
                                                                   [OP_MOUNTS] = "mounts",
                                                                   [OP_PERSISTED] = "persisted"};

static const char *const status_names[STATISTICS_STATUSES] = {
    [STATUS_OK] = "ok",
    [STATUS_INVALID] = "invalid",
    [STATUS_NOT_FOUND] = "not-found",
    [STATUS_NOT_DIRECTORY] = "not-directory",
    [STATUS_IS_DIRECTORY] = "is-directory",
    [STATUS_EXISTS] = "exists",
    [STATUS_NOT_EMPTY] = "not-empty",
    [STATUS_ALREADY_COMPLETED] = "already-completed",
    [STATUS_BLOCK_UNCOMMITTED] = "block-uncommitted",
    [STATUS_VERSION_MISMATCH] = "version-mismatch",
    [STATUS_NOT_PRIMARY] = "not-primary",
    [STATUS_OVERLOADED] = "overloaded",
    [STATUS_UNAVAILABLE] = "unavailable"};

/* -- the format -- */

static void family(struct bytes *page, const char *name, const char *type, const char *help) {
  bytes_append_format(page, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void counter(struct bytes *page, const char *name, uint64_t value, const char *help) {
  family(page, name, "counter", help);
  bytes_append_format(page, "%s %" PRIu64 "\n", name, value);
}

static void gauge(struct bytes *page, const char *name, uint64_t value, const char *help) {
  family(page, name, "gauge", help);
  bytes_append_format(page, "%s %" PRIu64 "\n", name, value);
}

/* `label`: `name="value"` of all its samples, or "". */
static void histogram(struct bytes *page, const char *name, const char *label,
                      const struct durations *durations) {
  const char *comma = label[0] ? "," : "", *open = label[0] ? "{" : "", *close = label[0] ? "}" : "";
  uint64_t total = 0;
  for (int i = 0; i < DURATION_BUCKETS - 1; i++) {
    total += durations->counts[i];
    bytes_append_format(page, "%s_bucket{%s%sle=\"%.9g\"} %" PRIu64 "\n", name, label, comma,
                        (double)(UINT64_C(1) << i) * 1e-6, total);
  }
  total += durations->counts[DURATION_BUCKETS - 1];
  bytes_append_format(page, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", name, label, comma, total);
  bytes_append_format(page, "%s_sum%s%s%s %.9f\n", name, open, label, close,
                      (double)durations->sum_ns * 1e-9);
  bytes_append_format(page, "%s_count%s%s%s %" PRIu64 "\n", name, open, label, close, total);
}

/* -- what there is to tell -- */

static void write_place(struct bytes *page, const struct observation *seen) {
  static const char *const roles[] = {"standby", "catching-up", "primary", "stepping-down"};
  const struct journal_status *journal = &seen->status.journal;
  family(page, "assay_build_info", "gauge", "Always 1; which program, node and cluster this is.");
  bytes_append_format(page,
                      "assay_build_info{version=\"%s\",node=\"%" PRIu64 "\",cluster=\"%" PRIu64 "\"} 1\n",
                      ASSAY_VERSION, seen->node, seen->cluster);
  family(page, "assay_role", "gauge", "1 for the role that this node has.");
  for (size_t i = 0; i < ARRAY_SIZE(roles); i++)
    bytes_append_format(page, "assay_role{role=\"%s\"} %d\n", roles[i],
                        strcmp(roles[i], observation_role(seen)) == 0);
  gauge(page, "assay_term", journal->term, "Raft term.");
  gauge(page, "assay_leader", journal->leader, "Number of the node that leads; 0 when it is not known.");
  counter(page, "assay_terms_total", seen->primary->terms,
          "Terms that began since the start, as far as this node knows: elections.");
  counter(page, "assay_promotions_total", seen->primary->promotions, "Times that this node became primary.");
  gauge(page, "assay_log_last_index", journal->last_index, "Last entry in this node's log.");
  gauge(page, "assay_log_first_index", journal->first_index, "Oldest entry that a follower can be sent.");
  gauge(page, "assay_commit_index", journal->commit_index, "Last entry known to be committed.");
  gauge(page, "assay_applied_index", seen->status.applied_index, "Last entry in the tables.");
  gauge(page, "assay_durable_index", seen->tables.durable_index,
        "Last entry in the tables that are on the disk; the log holds what is newer.");
  gauge(page, "assay_snapshot_index", journal->snapshot_index, "Last snapshot taken or installed.");
  gauge(page, "assay_inodes", seen->status.inodes, "Files and directories, the root included.");
}

/* A code that this page has no name for gets its number: no label may be there twice. */
static const char *name_of(const char *const *names, size_t number, const char *kind, char unnamed[32]) {
  if (names[number])
    return names[number];
  snprintf(unnamed, 32, "%s-%zu", kind, number);
  return unnamed;
}

static void write_operations(struct bytes *page, const struct primary_statistics *primary) {
  family(page, "assay_operations_total", "counter", "Requests of clients that were answered.");
  for (size_t code = 0; code < STATISTICS_OPERATIONS; code++)
    for (size_t status = 0; status < STATISTICS_STATUSES; status++) {
      const uint64_t count = primary->answers[code][status];
      const bool always = operation_names[code] && (status == STATUS_OK || status == STATUS_OVERLOADED);
      if (count == 0 && !always)
        continue;
      char operation[32], outcome[32];
      bytes_append_format(page, "assay_operations_total{operation=\"%s\",outcome=\"%s\"} %" PRIu64 "\n",
                          name_of(operation_names, code, "operation", operation),
                          name_of(status_names, status, "outcome", outcome), count);
    }
  family(page, "assay_operation_duration_seconds", "histogram",
         "From a request's arrival to its answer, of those answered from the tables.");
  histogram(page, "assay_operation_duration_seconds", "kind=\"read\"", &primary->reads);
  histogram(page, "assay_operation_duration_seconds", "kind=\"mutation\"", &primary->mutations);
  counter(page, "assay_standby_reads_total", primary->standby_reads,
          "Reads answered while this node was not the primary.");
  counter(page, "assay_batches_total", primary->batches, "Batches of effects appended to the log.");
  counter(page, "assay_batch_bytes_total", primary->batch_bytes, "Bytes of those batches.");
  counter(page, "assay_batches_without_room_total", primary->no_space,
          "Times that the log did not take a batch because its disk was full.");
}

static void write_log(struct bytes *page, const struct observation *seen) {
  counter(page, "assay_log_writes_total", seen->disk->writes, "Writes of the log that became durable.");
  counter(page, "assay_log_written_bytes_total", seen->disk->bytes, "Bytes of those writes.");
  family(page, "assay_log_sync_duration_seconds", "histogram", "What fdatasync took, of those writes.");
  histogram(page, "assay_log_sync_duration_seconds", "", &seen->disk->syncs);
  counter(page, "assay_log_disk_full_total", seen->disk->full, "Requests of the log that found no room.");
  counter(page, "assay_log_disk_failures_total", seen->disk->failures,
          "Requests of the log that failed otherwise.");
  gauge(page, "assay_log_disk_full", seen->status.journal.disk_full,
        "1 while the log has no room, so that nothing can be changed.");
  const struct journal_snapshots *snapshots = &seen->status.journal.snapshots;
  counter(page, "assay_snapshots_taken_total", snapshots->taken,
          "Snapshots taken, to send or to cut the log.");
  counter(page, "assay_snapshots_sent_total", snapshots->sent, "Snapshots sent to other nodes.");
  counter(page, "assay_snapshots_installed_total", snapshots->installed, "Snapshots of others installed.");
  gauge(page, "assay_snapshots_active",
        (uint64_t)snapshots->taking + snapshots->sending + snapshots->installing,
        "Snapshots being taken, sent and installed now.");
}

static void write_tables(struct bytes *page, const struct tables_statistics *tables) {
  counter(page, "assay_cache_hits_total", tables->hits, "Rows and listings found in memory.");
  counter(page, "assay_cache_misses_total", tables->misses, "Rows and listings fetched from the store.");
  counter(page, "assay_cache_evictions_total", tables->evictions, "Rows that left memory.");
  gauge(page, "assay_cache_memory_bytes", tables->memory_bytes, "Memory of all rows.");
  counter(page, "assay_table_writes_total", tables->writes, "Writes of changed rows to the store.");
  counter(page, "assay_table_written_rows_total", tables->written_rows, "Rows of those writes.");
  gauge(page, "assay_write_behind_bytes", tables->dirty_bytes + tables->frozen_bytes,
        "Changed rows that the store does not have yet.");
}

static void write_workers(struct bytes *page, const struct worker_registry_statistics *workers) {
  gauge(page, "assay_workers", workers->live, "Workers heard of within their lease; only the primary knows.");
  gauge(page, "assay_workers_lost", workers->lost, "Workers that this primary has known and lost sight of.");
  gauge(page, "assay_worker_blocks", workers->places, "Blocks on workers, once for each that has it.");
  gauge(page, "assay_worker_stored_bytes", workers->stored_bytes, "Bytes of blocks on live workers.");
  gauge(page, "assay_worker_free_bytes", workers->free_bytes, "Bytes that live workers have room for.");
  gauge(page, "assay_worker_registry_bytes", workers->memory_bytes,
        "Memory for what is known of workers and their blocks.");
  counter(page, "assay_worker_blocks_missed_total", workers->places_missed,
          "Blocks on workers that were not remembered, for want of room.");
}

static void write_process(struct bytes *page, const struct observation *seen) {
  gauge(page, "assay_sessions", seen->server.sessions, "Clients connected.");
  counter(page, "assay_sessions_accepted_total", seen->server.accepted, "Clients that were let in.");
  counter(page, "assay_sessions_refused_total", seen->server.turned_away,
          "Clients turned away for want of descriptors or sessions.");
  counter(page, "assay_sessions_dropped_total", seen->server.dropped,
          "Clients dropped for not reading, not greeting or sending what is no request.");
  gauge(page, "assay_disk_size_bytes", seen->disk_size_bytes, "Size of the data directory's file system.");
  gauge(page, "assay_disk_free_bytes", seen->disk_free_bytes, "Room left in it.");
  family(page, "process_cpu_seconds_total", "counter", "Time of processors, user and system.");
  bytes_append_format(page, "process_cpu_seconds_total %.6f\n", seen->cpu_s);
  gauge(page, "process_resident_memory_bytes", seen->resident_bytes, "Memory of the process.");
  gauge(page, "process_open_fds", seen->descriptors, "Open descriptors.");
  gauge(page, "process_max_fds", seen->descriptor_limit, "Descriptors that may be open; 0: no limit.");
  family(page, "process_start_time_seconds", "gauge", "When the process began, since the epoch.");
  bytes_append_format(page, "process_start_time_seconds %.3f\n", (double)seen->started_wall_ns * 1e-9);
}

static void write_tls(struct bytes *page, const struct observation *seen) {
  if (!seen->tls)
    return;
  counter(page, "assay_tls_handshakes_total", seen->tls->established,
          "TLS handshakes done, with nodes and clients.");
  family(page, "assay_tls_failures_total", "counter",
         "Connections that TLS refused, here or there, by the reason.");
  for (int fault = TLS_FAULT_NONE + 1; fault < TLS_FAULTS; fault++)
    bytes_append_format(page, "assay_tls_failures_total{reason=\"%s\"} %" PRIu64 "\n",
                        tls_fault_name((enum tls_fault)fault), seen->tls->faults[fault]);
  gauge(page, "assay_tls_certificate_expires_seconds", (uint64_t)seen->tls_expires_s,
        "When this node's certificate expires, since the epoch.");
}

void metrics_write(struct bytes *page, const struct observation *observation) {
  write_place(page, observation);
  write_operations(page, observation->primary);
  write_log(page, observation);
  write_tables(page, &observation->tables);
  write_workers(page, &observation->workers);
  write_tls(page, observation);
  write_process(page, observation);
}
