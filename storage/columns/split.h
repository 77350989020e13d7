/*
 * A body that need not fit in memory → pieces that do: a stream of NDJSON, CSV or a
 * JSON array is cut between records, and each piece is a whole body for decode_body.
 * Decoding all pieces gives the rows and record errors, with their line numbers,
 * that decoding the stream at once would give; what would refuse the stream as a
 * whole refuses the piece where it is met (pieces before it were good).
 *
 * Cuts depend on the bytes and the options alone, never on how the bytes arrived.
 * Memory is one piece, one record and what is fed at a time.
 *
 *   while (not at the end) {
 *       next(&piece, &found);
 *       if (found) { decode it } else if (more bytes) { reserve, advance } else { finish }
 *   }
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/span.h"
#include "storage/columns/decode.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct splitter_options {
    enum decode_format format;
    int64_t records_max;      /* of a piece, > 0 */
    int64_t bytes_max;        /* of a piece, > 0; one record may be larger and is then alone */
    int64_t record_bytes_max; /* of one raw record; 0 = DECODE_RECORD_BYTES_MAX */
    int64_t skip_bytes;       /* leave out what ends at or before this offset of the stream:
                                 split_piece.end of the piece to continue after */
};

struct split_piece {
    struct span body;      /* for decode_body; borrowed until the next call of any function */
    int64_t records_count; /* in it, good or not; > 0 */
    int64_t line_offset;   /* decode_options.line_offset */
    int64_t start, end;    /* of its records in the stream, in bytes */
};

struct splitter; /* one stream; one thread at a time */

/* Memory: splitter_close. */
struct splitter *splitter_open(const struct splitter_options *options);
/* Accepts NULL inside; nulls. */
void splitter_close(struct splitter **splitter);

/* Where the next `size` bytes of the stream go; then say how many came. */
uint8_t *splitter_reserve(struct splitter *splitter, size_t size);
void splitter_advance(struct splitter *splitter, size_t size);

/* Bytes held now, for budgets: a piece, a record, and what was fed and not looked at. */
size_t splitter_held_bytes(const struct splitter *splitter);

/* The stream has ended. */
void splitter_finish(struct splitter *splitter);

/*
 *   found_out  false: more bytes are needed; after splitter_finish: there is none left
 *
 * Errors:  ERR_TOO_LARGE a record over record_bytes_max; ERR_INVALID a JSON array that is
 *          broken between its elements or cut off, UTF-16 or UTF-32. Both say where.
 */
enum err_code splitter_next(struct splitter *splitter, struct split_piece *piece_out,
                            bool *found_out, struct err *err) MUST_USE;

/*
 * The format that the first bytes of a stream look like: '[' and a JSON array that
 * goes on, '{' and objects one a line, an object alone; otherwise CSV.
 *
 *   start     the more the better: up to the end of the first record
 *   is_whole  it is all there is
 */
enum decode_format split_detect(struct span start, bool is_whole);
