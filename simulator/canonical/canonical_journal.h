/* canonical_journal.h: the door of simulator/canonical: a journal on libraft 0.15.0, which Debian bookworm
 * ships.
 *
 * It passes the same door as master/raft does (master/journal.h) and takes the same options, but the Raft
 * inside is canonical's of 2022, callbacks and all, driven through a `struct raft_io` of ours. It exists to
 * be tested: see docs/canonical-raft-0.15.md for what is wrong with it. Only programs that do not link
 * libraft 0.22 can hold it, for both libraries export the same names. */
#ifndef ASSAY_SIMULATOR_CANONICAL_JOURNAL_H
#define ASSAY_SIMULATOR_CANONICAL_JOURNAL_H

#include "master/raft/raft_journal.h"

/* As raft_journal_new(). `segment_size` and `cache_size` mean nothing here: the log is one file, and libraft
 * keeps all of it in memory. */
struct journal *canonical_journal_new(const struct raft_journal_options *options, const struct world *world,
                                      const struct state_machine *state);

/* Puts a frame between such journals into words: "append, term 3: entries 35/3 to 36/3 after 34/2, committed
 * 32", where 35/3 is the entry at index 35 of term 3. */
void canonical_frame_print(const void *frame, size_t frame_size, char *out, size_t size);

#endif
