/*
 * A segment log: an append-only run of checksummed records in preallocated
 * files `<folder>/<number>.segment`, the next one made (`<folder>/next`) while the last is
 * half full. One mechanism, three users: the journal of accepted frames, the payloads of dead
 * letters, the audit trail.
 *
 * File:    header  magic 8 · format u32 · reserved u32 · number u64 · nonce u64 ·
 *                  created_at_us i64 · checksum u64 (XXH3-64 of what precedes) = 48 bytes
 *          record  mark u32 · key id u32 · payload size u32 · flags u32 ·
 *                  payload checksum u64 · header checksum u64 = 32 bytes,
 *                  payload, zeros up to a multiple of 8
 *          Little endian. The header checksum covers the segment's number and
 *          nonce and the record's offset, so that neither an older file's bytes
 *          nor a payload that imitates a record is taken for one.
 * Torn tail: what a crash left half written is found at open by size and
 *          checksums, and everything behind the last whole record is zeroed and
 *          synced before the log goes on there.
 * Thread:  all functions on an open log: any thread. Takes LOCK_RANK_JOURNAL.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/location.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    SEGMENT_HEADER_BYTES = 48,
    SEGMENT_RECORD_HEADER_BYTES = 32,
    SEGMENT_MAGIC_BYTES = 8,
    SEGMENT_RECORD_BYTES_MAX = 1 << 30, /* of one payload, whatever the options say */
};

struct segment_options {
    const char *magic;        /* 8 characters: which kind of log this is */
    int64_t segment_bytes;    /* preallocated size of a file; a larger record gets a larger file */
    int64_t record_bytes_max; /* <= SEGMENT_RECORD_BYTES_MAX */
    bool keep_reserve;        /* keep one more preallocated segment for when the disk is full */
    const char *sync_fault;   /* fault point passed at every fdatasync, or NULL */
};

/* What open found; for the log line of the start. */
struct segment_recovery {
    int64_t segments_count;
    int64_t newest;        /* its number, 0 = none */
    int64_t records_count; /* of the newest segment only: older ones are not walked */
    int64_t cut_bytes;     /* 0 = the tail was whole */
    struct location last;  /* the last whole record; segment 0 = none */
};

struct segment_log;

/*
 * Open or create the log in `folder`: reads the newest segment to its end, cuts
 * a torn tail, and goes on behind it.
 *
 *   recovery_out  may be NULL
 *
 * Errors:  ERR_CORRUPT a segment header that is not ours; ERR_NO_SPACE; ERR_IO.
 * Durable: the cut.
 */
enum err_code segments_open(const char *folder, const struct segment_options *options,
                            struct segment_log **log_out, struct segment_recovery *recovery_out,
                            struct err *err) MUST_USE;

/* Syncs what is unsynced. Accepts NULL inside; nulls. */
void segments_close(struct segment_log **log);

/*
 * Write one record behind the last; not yet durable.
 *
 * Errors:  ERR_TOO_LARGE over record_bytes_max; ERR_NO_SPACE nothing was
 *          written that counts, try again when there is space.
 *          Any other failed write ends the process.
 */
enum err_code segments_append(struct segment_log *log, struct span payload,
                              struct location *location_out, struct err *err) MUST_USE;

/*
 * Return once the record at `location` and all before it survive a power cut.
 * Group sync: one caller syncs for all who wait. A failed sync ends the process
 * (process_stop_after_io_error); there is nothing to hand back.
 *
 * Thread:  blocks for up to two fdatasyncs.
 */
void segments_sync(struct segment_log *log, const struct location *location);

/* segments_sync for everything appended before the call. */
void segments_sync_all(struct segment_log *log);

/*
 * Read one record back, checksums verified.
 *
 * Errors:  ERR_CORRUPT naming segment and offset; ERR_NOT_FOUND the segment was
 *          removed; ERR_TOO_LARGE payload_out's ceiling; ERR_IO.
 */
enum err_code segments_read(struct segment_log *log, const struct location *location,
                            struct buffer *payload_out, struct err *err) MUST_USE;

/*
 * Reading many records, best in the order in which they were written: what lies behind a record
 * is read along with it. A reader is one thread's; the log must outlive it.
 */
struct segment_reader {
    const char *folder; /* borrowed, like magic */
    const char *magic;
    int fd; /* of segment `number`; -1 = none yet */
    int64_t number;
    uint64_t nonce;
    int64_t file_bytes; /* when it was opened */
    struct buffer window;
    int64_t window_at; /* its place in the file */
};
enum { SEGMENT_WINDOW_BYTES = 64 << 10 }; /* a larger record is read by itself */

void segments_reader_begin(const struct segment_log *log, struct segment_reader *reader);
/* For a log that is not open; folder and magic are borrowed. */
void segment_reader_init(struct segment_reader *reader, const char *folder, const char *magic);
void segment_reader_deinit(struct segment_reader *reader);
/* payload_out is valid until the next read. Errors: as segments_read. */
enum err_code segment_reader_read(struct segment_reader *reader, const struct location *location,
                                  struct span *payload_out, struct err *err) MUST_USE;

/*
 * Pins: a segment with a pin is not removed. Appending pins its segment once;
 * segments_unpin gives it back when somebody else (the catalog) refers to the
 * record, or nobody ever will.
 */
void segments_unpin(struct segment_log *log, const struct location *location);

/*
 * Remove the files of segments below `segment` whose last append is older than
 * `keep_us` and that have no pins. The segment being written always stays.
 *
 *   removed_out  files removed
 */
enum err_code segments_remove_below(struct segment_log *log, int64_t segment, int64_t keep_us,
                                    int64_t *removed_out, struct err *err) MUST_USE;

/* Number of the segment the next append goes to or behind; it only grows. */
int64_t segments_tail(struct segment_log *log);

struct segment_statistics {
    int64_t segments_count;
    int64_t bytes;              /* preallocated and used */
    int64_t appends_count;      /* since open */
    int64_t syncs_count;        /* fdatasyncs since open */
    int64_t oldest_unsynced_us; /* monotonic time of the oldest append not yet durable, 0 = none */
};
void segments_statistics(struct segment_log *log, struct segment_statistics *statistics_out);

/* ---- walking a log, open elsewhere or not: fsck, audit search ---- */

/*
 * Visit one record; false stops the walk. `payload` is borrowed for the call.
 */
typedef bool segment_visit_fn(void *arg, const struct location *location, struct span payload);

/*
 * Visit every record in order from `from` (NULL = the first). Read-only.
 *
 *   torn_out  bytes of a torn tail in the newest segment, not an error; may be NULL
 *
 * Errors:  ERR_CORRUPT with segment and offset: a bad record that is not the
 *          newest segment's tail, or a missing segment number; ERR_IO.
 */
enum err_code segments_walk(const char *folder, const char *magic, const struct location *from,
                            segment_visit_fn *visit, void *arg, int64_t *torn_out,
                            struct err *err) MUST_USE;

/* Read one record of a log that is not open (fsck). Errors as segments_read. */
enum err_code segments_read_closed(const char *folder, const char *magic,
                                   const struct location *location, struct buffer *payload_out,
                                   struct err *err) MUST_USE;

/*
 * Decode one segment file's bytes: the trust boundary under the walk, without
 * I/O. `end_out` is the offset behind the last whole record.
 *
 * Errors:  ERR_CORRUPT the file header is not one of `magic` and `number`.
 */
enum err_code segment_decode(struct span file, const char *magic, int64_t number,
                             segment_visit_fn *visit, void *arg, int64_t *end_out,
                             struct err *err) MUST_USE;
