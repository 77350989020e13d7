/*
 * The journal: frames of accepted batches until they are in the table, and in a
 * log of its own the payloads of dead letters. A record counts from the moment
 * the catalog refers to it; what nobody refers to is garbage.
 *
 *   journal_append → batch_accept (the catalog syncs the journal before its commit, see
 *   catalog_options.before_promise; otherwise journal_sync first) → journal_settle
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/location.h"
#include "storage/base/span.h"
#include "storage/journal/segments.h"

#include <stdint.h>

enum journal_kind {
    JOURNAL_FRAMES,       /* encoded frames; <data>/journal */
    JOURNAL_DEAD_LETTERS, /* raw refused records, back to back, one log record a batch;
                             <data>/dead-letters */
};

enum {
    JOURNAL_SEGMENT_BYTES = 64 << 20,
    JOURNAL_RECORD_BYTES_MAX = 512 << 20, /* one encoded frame or one batch's refused records */
};

struct journal;

/*
 * Errors:  ERR_CORRUPT, ERR_NO_SPACE, ERR_IO.
 * Durable: a torn tail is cut.
 */
enum err_code journal_open(const char *folder, enum journal_kind kind, struct journal **journal_out,
                           struct segment_recovery *recovery_out, struct err *err) MUST_USE;
void journal_close(struct journal **journal);

/*
 * Write one record; not durable before journal_sync. Its segment is kept until
 * journal_settle, whatever the floor says: call that exactly once for every
 * successful append, when the catalog's transaction has ended either way.
 *
 * Errors:  ERR_NO_SPACE nothing is promised, try again; ERR_TOO_LARGE.
 */
enum err_code journal_append(struct journal *journal, struct span record,
                             struct location *location_out, struct err *err) MUST_USE;

/*
 * The record survives a power cut when this returns. One fdatasync serves all
 * who wait; a failed one ends the process.
 */
void journal_sync(struct journal *journal, const struct location *location);

/* journal_sync for everything appended before the call: the catalog's before_promise. */
void journal_sync_all(struct journal *journal);

void journal_settle(struct journal *journal, const struct location *location);

/* Errors: ERR_CORRUPT with segment and offset; ERR_NOT_FOUND removed; ERR_TOO_LARGE; ERR_IO. */
enum err_code journal_read(struct journal *journal, const struct location *location,
                           struct buffer *record_out, struct err *err) MUST_USE;

/* For reading many: see struct segment_reader in segments.h. */
void journal_reader_begin(const struct journal *journal, struct segment_reader *reader);

/*
 * Remove segments that nobody needs: below `floor` (batches_journal_floor or
 * dead_letters_journal_floor of the catalog) and written last more than
 * `keep_us` ago, so that a foreign overwrite of a fresh commit can be re-applied.
 */
enum err_code journal_remove_below(struct journal *journal, int64_t floor, int64_t keep_us,
                                   int64_t *removed_out, struct err *err) MUST_USE;

void journal_statistics(struct journal *journal, struct segment_statistics *statistics_out);

/* ---- without opening: fsck ---- */
const char *journal_magic(enum journal_kind kind);

/* Walk all records and count them. Errors as segments_walk. */
enum err_code journal_verify(const char *folder, enum journal_kind kind, int64_t *records_out,
                             int64_t *bytes_out, struct err *err) MUST_USE;
