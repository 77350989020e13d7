/*
 * The audit trail: who did what to which record, append-only and hash-chained.
 *
 * Record:  one JSON object in one line of a segment log, members in this order,
 *          absent ones left out:
 *            seq time mono_us event principal token request action resource
 *            outcome status subjects count remote detail prev
 *          `prev` is the SHA-256 (hex) of the previous record's whole line, 64
 *          zeros for the first. Subjects are keyed hashes, never identifiers.
 * Anchor:  `<folder>/anchor` holds the sequence and hash of the last synced
 *          record under the instance's key; written after every sync, so that a
 *          truncated or replaced trail is found.
 * Promise: a record written before an answer leaves is durable within 50 ms; a
 *          caller that needs it now calls audit_sync. 16 MiB are preallocated, so
 *          that a full disk still leaves room to record what is refused.
 * Thread:  any. One background thread syncs.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/secret.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    AUDIT_SEGMENT_BYTES = 16 << 20, /* also the reserve kept for a full disk */
    AUDIT_RECORD_BYTES_MAX = 128 << 10,
    AUDIT_SYNC_WITHIN_US = 50000,
    AUDIT_BLOCKED_AFTER_US = 2000000, /* a write or sync that takes longer: unhealthy */
    AUDIT_SUBJECTS_MAX = 1000,
    AUDIT_TEXT_BYTES_MAX = 512, /* of one text member; longer ones are cut and marked with … */
};

enum audit_outcome {
    AUDIT_SUCCEEDED,
    AUDIT_DENIED, /* 401, 403 */
    AUDIT_FAILED,
};

/* What is to be recorded; texts are borrowed for the call, NULL = absent. */
struct audit_event {
    const char *event; /* "rows.read", "token.issue", "server.start"; required */
    const char *principal_id;
    const char *token_id; /* public id, never the token */
    const char *request_id;
    const char *action;   /* contract action that was decided */
    const char *resource; /* table name, batch id, … */
    enum audit_outcome outcome;
    int status;                  /* HTTP status, 0 = none */
    const char *const *subjects; /* audit_subject texts */
    size_t subjects_count;       /* <= AUDIT_SUBJECTS_MAX */
    int64_t count;               /* records returned or accepted, -1 = none */
    const char *remote;          /* address text */
    const char *detail;          /* short reason without record contents */
};

enum { AUDIT_SUBJECT_BYTES = 33 }; /* 32 hexadecimal digits and NUL */

/* The keyed hash of a member identifier, as it appears in records and logs. */
void audit_subject(const struct secret_keys *keys, struct span identifier,
                   char subject_out[AUDIT_SUBJECT_BYTES]);

struct audit_options {
    bool reads_durable; /* audit.reads=durable: audit_record waits for the sync */
};

struct audit;

/*
 * Open or create the trail, cut a torn tail, check that the chain's end agrees
 * with the anchor, and write a `trail.open` event (with the bytes cut).
 *
 *   keys  outlives the audit
 *
 * Errors:  ERR_CORRUPT the end of the chain is not what the anchor says (run fsck);
 *          ERR_NO_SPACE; ERR_IO.
 */
enum err_code audit_open(const char *folder, const struct secret_keys *keys,
                         const struct audit_options *options, struct audit **audit_out,
                         struct err *err) MUST_USE;

/* Writes `trail.close`, syncs. */
void audit_close(struct audit **audit);

/*
 * Append one record to the chain; durable within AUDIT_SYNC_WITHIN_US.
 *
 *   sequence_out  for audit_sync; may be NULL
 *
 * Errors:  ERR_NO_SPACE disk and reserve are full: the health flag falls, answer
 *          503 to everything that touches health information. A failed write
 *          ends the process.
 */
enum err_code audit_write(struct audit *audit, const struct audit_event *event,
                          int64_t *sequence_out, struct err *err) MUST_USE;

/* Return once the record `sequence` and all before it are durable. Group sync. */
void audit_sync(struct audit *audit, int64_t sequence);

/* All that is written is durable when this returns. */
void audit_sync_all(struct audit *audit);

/* A read's record: audit_write, and with reads_durable audit_sync. */
enum err_code audit_record_read(struct audit *audit, const struct audit_event *event,
                                struct err *err) MUST_USE;
/* A write's record: audit_write and audit_sync. */
enum err_code audit_record_write(struct audit *audit, const struct audit_event *event,
                                 struct err *err) MUST_USE;

/*
 * False while the sink is full (tried again every half second) or has been
 * blocked for AUDIT_BLOCKED_AFTER_US. Never blocks.
 */
bool audit_healthy(struct audit *audit);

struct audit_statistics {
    int64_t sequence;        /* of the last record */
    int64_t synced_sequence; /* of the last durable record */
    int64_t syncs_count;
    int64_t bytes;
};
void audit_statistics(struct audit *audit, struct audit_statistics *statistics_out);

/* ---- reading ---- */

struct audit_report {
    int64_t records_count;
    int64_t first_sequence;
    int64_t last_sequence;
    int64_t torn_bytes; /* of a tail that a crash cut; not tampering */
};

/*
 * Walk the whole trail: every checksum, sequence and hash, then the anchor.
 *
 *   keys  NULL = without the anchor's key: its seal is not checked, its content is
 *
 * Errors:  ERR_CORRUPT naming the first record that is wrong.
 */
enum err_code audit_verify(const char *folder, const struct secret_keys *keys,
                           struct audit_report *report_out, struct err *err) MUST_USE;

/* One record; false stops. `line` is the JSON text, borrowed for the call. */
typedef bool audit_visit_fn(void *arg, int64_t sequence, struct span line);

/* Records with sequence >= `from_sequence` in order, while the trail may be open. */
enum err_code audit_search(const char *folder, int64_t from_sequence, audit_visit_fn *visit,
                           void *arg, struct err *err) MUST_USE;

/*
 * Decode and check one line against its place in the chain (the trust boundary).
 *
 *   sequence_out  its own number
 *   prev_out      the hash it claims for its predecessor
 *
 * Errors:  ERR_CORRUPT.
 */
enum err_code audit_line_decode(struct span line, int64_t *sequence_out, uint8_t prev_out[32],
                                struct err *err) MUST_USE;
