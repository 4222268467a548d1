#include "nemesis/disk/disk.h"

struct disk_counters disk_counters_sum(const struct disk_counters *a, const struct disk_counters *b) {
  return (struct disk_counters){.bytes_written = a->bytes_written + b->bytes_written,
                                .bytes_synced = a->bytes_synced + b->bytes_synced,
                                .bytes_dirty = a->bytes_dirty + b->bytes_dirty,
                                .bytes_lost = a->bytes_lost + b->bytes_lost,
                                .names_lost = a->names_lost + b->names_lost,
                                .bytes_rotten = a->bytes_rotten + b->bytes_rotten,
                                .syncs = a->syncs + b->syncs,
                                .syncs_delayed = a->syncs_delayed + b->syncs_delayed,
                                .read_errors = a->read_errors + b->read_errors,
                                .write_errors = a->write_errors + b->write_errors,
                                .sync_errors = a->sync_errors + b->sync_errors,
                                .no_space = a->no_space + b->no_space};
}

struct disk_counters disk_counters_since(const struct disk_counters *earlier,
                                         const struct disk_counters *later) {
  return (struct disk_counters){.bytes_written = later->bytes_written - earlier->bytes_written,
                                .bytes_synced = later->bytes_synced - earlier->bytes_synced,
                                .bytes_dirty = later->bytes_dirty,
                                .bytes_lost = later->bytes_lost - earlier->bytes_lost,
                                .names_lost = later->names_lost - earlier->names_lost,
                                .bytes_rotten = later->bytes_rotten - earlier->bytes_rotten,
                                .syncs = later->syncs - earlier->syncs,
                                .syncs_delayed = later->syncs_delayed - earlier->syncs_delayed,
                                .read_errors = later->read_errors - earlier->read_errors,
                                .write_errors = later->write_errors - earlier->write_errors,
                                .sync_errors = later->sync_errors - earlier->sync_errors,
                                .no_space = later->no_space - earlier->no_space};
}
