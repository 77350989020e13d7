/*
 * One leaf below a nested column as a stream of entries: its levels, and its values
 * as slots of the column they go to. Entries are decoded in stretches that are short
 * when there are many leaves, so that their memory stays within bounds.
 */
#pragma once

#include "storage/base/arena.h"
#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/parquet/column_reader.h"
#include "storage/parquet/convert.h"
#include "storage/parquet/reader_state.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What of its values a stream has in `slots`. */
enum nested_values {
    NESTED_LEVELS,    /* nothing */
    NESTED_RAW,       /* as they are decoded: by values_kind_of */
    NESTED_CONVERTED, /* slots of the column they go to, by plan */
};

struct nested_stream {
    size_t leaf; /* ordinal in the file */
    enum nested_values values;
    struct convert_plan plan; /* NESTED_CONVERTED */
    struct column_reader column;
    const struct metadata_location *locations; /* of the chunk's pages; NULL = no offset index */
    size_t locations_count;
    size_t location;      /* of the page that comes next */
    int64_t entries_left; /* of the chunk, beyond those below; without locations */
    int64_t row;          /* of the row group: that the next entry of repetition 0 begins */
    bool ended;           /* the chunk has no more entries */
    size_t capacity;      /* entries below */
    size_t count;
    size_t entry; /* next */
    size_t value; /* next in `slots` */
    uint8_t *definitions;
    uint8_t *repetitions;
    uint8_t *slots; /* spans for strings and binaries */
    struct buffer texts;
};

/* Entries that each of so many streams should hold. */
size_t nested_stream_capacity(size_t streams_count);

/* A zeroed stream becomes one of `capacity` entries; values and plan are the caller's. */
void nested_stream_init(struct nested_stream *stream, size_t leaf, size_t capacity);
void nested_stream_deinit(struct nested_stream *stream);

/*
 * Begin the chunk of a row group. `arena` holds its locations until the next one.
 * Errors: of column_reader_open and the offset index.
 */
enum err_code nested_stream_open(struct nested_stream *stream, struct parquet_reader *reader,
                                 size_t row_group, struct arena *arena, struct err *err) MUST_USE;

/*
 * Go on to the first entry of `row`, which is not before the stream's; pages between are
 * not read when the offset index says where they end.
 * Errors: ERR_CORRUPT, ERR_UNSUPPORTED of the pages and values passed over.
 */
enum err_code nested_stream_skip(struct nested_stream *stream, struct parquet_reader *reader,
                                 int64_t row, struct err *err) MUST_USE;

/*
 * Pass over so many entries, each a row of its own that is absent at `definition`.
 * Errors: ERR_CORRUPT one is not; of the pages passed over.
 */
enum err_code nested_stream_skip_absent(struct nested_stream *stream, struct parquet_reader *reader,
                                        int64_t count, uint8_t definition,
                                        struct err *err) MUST_USE;

/* Decode the next entries, when all were taken; sets `ended` when there are none. */
enum err_code nested_stream_refill(struct nested_stream *stream, struct parquet_reader *reader,
                                   struct err *err) MUST_USE;

/* Make the next entry known: definition and repetition at stream->entry, unless `ended`. */
static inline enum err_code nested_stream_peek(struct nested_stream *stream,
                                               struct parquet_reader *reader, struct err *err)
{
    return stream->entry < stream->count ? ERR_OK : nested_stream_refill(stream, reader, err);
}

/* ERR_CORRUPT: what the stream says is not what its neighbours below one column say. */
enum err_code nested_stream_disagree(const struct nested_stream *stream, struct err *err) MUST_USE;

/* Take the entry that was peeked. */
static inline void nested_stream_take(struct nested_stream *stream)
{
    stream->row += stream->repetitions[stream->entry] == 0;
    stream->value += stream->definitions[stream->entry] == stream->column.definition_max;
    stream->entry++;
}
