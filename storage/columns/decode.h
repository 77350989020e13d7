/*
 * Request body → frame, in one pass: NDJSON, JSON array and CSV are parsed
 * straight into column buffers and checked against the table's schema and rules.
 *
 * There are two kinds of fault. A *body error* (broken array, header, size,
 * depth, encoding) refuses the whole body: an error code with place and reason,
 * nothing kept. A *record error* rejects one record: it leaves no trace in the
 * frame and is noted in `struct decode_errors` with line, JSON pointer, code,
 * message and the raw bytes of the record. No message contains a value.
 *
 * Forms of values, JSON / CSV text:
 *   integer, long   number without fraction and exponent (1, not 1.0 or 1e2) /
 *                   -?[0-9]+ (leading zeros allowed)
 *   double          finite number / the same grammar
 *   decimal(p,s)    number, or string with one; refused when digits would be lost
 *   boolean         true, false / true, false, 1, 0
 *   date            "YYYY-MM-DD"
 *   timestamp       RFC 3339 with zone
 *   binary          base64 with padding
 *   string          string without U+0000 / text; empty without quotes is null
 *                   for every type, "" is the empty string
 *   struct          object with its fields, those left out null / the same JSON in the cell
 *   array           array / likewise
 *   map             object, its names the keys as CSV text has them, each once / likewise
 * A lone surrogate escape and U+0000 are record errors (invalid_character).
 *
 * `_op` (member or CSV column) names the operation of one record. A delete
 * needs its key fields, and the sequence field where the table has one; its
 * other fields are checked for name and type only. Append tables take inserts.
 */
#pragma once

#include "storage/base/arena.h"
#include "storage/base/err.h"
#include "storage/base/span.h"
#include "storage/columns/frame.h"
#include "storage/columns/schema.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DECODE_DEPTH_MAX = 32,              /* nesting of JSON, the record itself included */
    DECODE_RECORDS_MAX = 1000000,       /* default of records_max */
    DECODE_RECORD_BYTES_MAX = 4 << 20,  /* default of record_bytes_max */
    DECODE_FRAME_BYTES_MAX = 1 << 30,   /* default of frame_bytes_max */
    DECODE_BODY_BYTES_MAX = 1 << 30,    /* of one body after inflation */
    DECODE_RECORD_ERRORS_MAX = 8,       /* errors kept of one record */
    DECODE_ERRORS_FULL_MAX = 20000,     /* errors kept before a record keeps its first only */
    DECODE_ERRORS_BYTES_MAX = 64 << 20, /* text of all errors kept */
    DECODE_PARTITIONS_MAX = 2000,       /* of one body: each is a file of its own to be written */
    DECODE_REJECTED_RECORDS_MIN = 1000, /* a body may always have this many rejected records */
    DECODE_REJECTED_PERCENT_MAX = 10,   /* and beyond that this share of what it has */
};

enum decode_format {
    DECODE_NDJSON,     /* one object a line; LF or CRLF; blank lines are skipped */
    DECODE_JSON_ARRAY, /* an array of objects, or one object alone */
    DECODE_CSV,        /* RFC 4180 with a header line; blank lines are skipped */
};

struct decode_options {
    enum decode_format format;
    enum frame_operation operation; /* of records that carry no `_op` */
    int64_t records_max;            /* 0 = DECODE_RECORDS_MAX */
    int64_t record_bytes_max;       /* of one raw record; 0 = DECODE_RECORD_BYTES_MAX */
    int64_t frame_bytes_max;        /* of the value slots; 0 = DECODE_FRAME_BYTES_MAX */
    /* of a piece of a longer stream (split.h) */
    bool is_part;        /* the start of the stream was looked at already: no byte order mark */
    int64_t line_offset; /* added to every number of a line or element */
};

/* Why a record is rejected; the names are part of the API. */
enum decode_code {
    DECODE_SYNTAX,            /* the line is not JSON, or its quotes are broken */
    DECODE_NOT_AN_OBJECT,     /* JSON, but not one object */
    DECODE_FIELD_COUNT,       /* CSV: more or fewer fields than the header */
    DECODE_UNKNOWN_FIELD,     /* not a field of the table */
    DECODE_DUPLICATE_FIELD,   /* named twice in one record */
    DECODE_INVALID_UTF8,      /* text that is not UTF-8 */
    DECODE_INVALID_CHARACTER, /* U+0000, a lone surrogate, a bare carriage return in CSV */
    DECODE_TYPE,              /* not a value of the field's type */
    DECODE_RANGE,             /* outside the type's range, or of minimum and maximum */
    DECODE_REQUIRED,          /* absent or null where nullable is false */
    DECODE_KEY_NULL,          /* a key field absent or null */
    DECODE_TOO_LONG,          /* over max_length, or over SCHEMA_STRING_BYTES_MAX */
    DECODE_PATTERN,           /* does not match the field's pattern */
    DECODE_ENUM,              /* not one of the field's values */
    DECODE_FORMAT,            /* breaks the field's format (npi, ndc11, …) */
    DECODE_OPERATION,         /* `_op` unknown or not allowed for this table */
    DECODE_EXPECTATION,       /* good by itself, put aside by an expectation of a job */
    DECODE_CODE_COUNT,
};
const char *decode_code_name(enum decode_code code); /* "unknown_field" */

/* One fault of one rejected record; texts belong to the struct decode_errors. */
struct decode_error {
    int64_t line; /* 1-based line the record starts at; element number in a JSON array */
    enum decode_code code;
    const char *pointer; /* JSON pointer into the record, "/quantity"; "" = the record */
    const char *message; /* names the rule and what is expected, never a value */
};

/* One rejected record: what a dead letter is made of. */
struct decode_rejected {
    int64_t line;
    enum frame_operation operation; /* its `_op` where that can be taken, else the body's */
    struct span payload;            /* the raw record without line end; borrowed from the body */
    size_t errors_first;            /* index into items; at least one */
    size_t errors_count;            /* of them kept */
    size_t errors_unkept;           /* further faults that were seen but not kept */
    bool stands_alone;              /* the payload is JSON, whatever form the body had */
};

/* Owned by the caller; zeroed before use, filled by decode_body, freed by deinit. */
struct decode_errors {
    int64_t received_count; /* records in the body; accepted + rejected */
    int64_t accepted_count; /* rows of the frame */
    int64_t rejected_count;
    struct decode_error *items;
    size_t items_count;
    struct decode_rejected *rejected; /* in order of line, then those of decode_errors_reject */
    size_t rejected_kept;             /* fewer than rejected_count only when over the limit */
    struct span csv_header; /* raw header line, borrowed from the body; empty if not CSV */
    /* private */
    size_t items_capacity;
    size_t rejected_capacity;
    struct arena texts;
};

void decode_errors_deinit(struct decode_errors *errors);

/*
 * Reject one record that was accepted: the counts change by one.
 *
 *   rejected  line, operation, payload (borrowed like the others) and stands_alone are taken
 *   error     code, pointer and message are copied
 * False: the ceiling of texts is reached, nothing is noted.
 */
bool decode_errors_reject(struct decode_errors *errors, const struct decode_rejected *rejected,
                          const struct decode_error *error) MUST_USE;

/*
 * More records were rejected than max(1,000, 10 % of those received): the
 * caller refuses the body whole. Past that point payloads are no longer kept.
 */
bool decode_errors_over_limit(const struct decode_errors *errors);

/*
 * Decode one body.
 *
 *   body        UTF-8, plain (see inflate.h), a UTF-8 byte order mark is skipped;
 *               borrowed for as long as `errors` is used
 *   frame_out   the accepted records in order of the body, lines set; may have no
 *               rows when all were rejected. frame_free it.
 *   errors      zeroed by the caller; filled on ERR_OK, left zeroed on failure
 *
 * Limits:  the body by DECODE_BODY_BYTES_MAX, the rest by `options`; time is
 *          linear in the body, memory by frame_bytes_max + the body's size.
 * Errors:  ERR_INVALID with line and reason: no records, broken JSON array, depth,
 *          CSV header (none, unknown or repeated column, key column missing), a
 *          quote never closed, UTF-16 or UTF-32, an operation that an append
 *          table does not take; ERR_TOO_LARGE naming the limit (records, their size,
 *          memory, partitions).
 * Thread:  reentrant.
 */
enum err_code decode_body(struct span body, const struct schema *schema,
                          const struct decode_options *options, struct frame **frame_out,
                          struct decode_errors *errors, struct err *err) MUST_USE;
